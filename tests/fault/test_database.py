#!/usr/bin/python3
"""What PostgreSQL and the way to it may do: C04, D01, D03 to D06, D08, D09,
D11, D12 of the fault matrix.

Each test prints its figures as "FIGURE D04 name=value unit …" and ends with
the checker. RAPPEL_FAULT_REPEATS multiplies what is repeated; what takes long
(three seconds a round trip, the attempts after ten seconds) is left out at 1.
"""

import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "integration")]

# pylint: disable=wrong-import-position
import checker
import harness
import load
import pool as pools
from fakesupervisor import Flusher
from faultproxy import FaultProxy
from pool import wait_for

REPEATS = int(os.environ.get("RAPPEL_FAULT_REPEATS") or 1)
KINDS = ("writer", "claimer", "keeper")
TABLES = ("workflow_instances", "action_log", "commands", "worker_pools",
          "pool_backends", "workflow_versions")
cluster = None


def figure(fault, **values):
    """name=(value, unit)"""
    print(f"FIGURE {fault} " + " ".join(
        f"{name}={value:.3g} {unit}" if isinstance(value, float)
        else f"{name}={value} {unit}"
        for name, (value, unit) in values.items()), flush=True)


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on",
                               "max_connections": "40"})
    cluster.start()


def tearDownModule():
    cluster.remove()


def accepts(where, seconds=20):
    """Waits until the server accepts; since when, by its own log."""
    def asked():
        try:
            return where.psql("SELECT 1")
        except RuntimeError:
            return None
    wait_for("the server accepts", asked, seconds)
    ready = re.findall(r"^(\S+ \S+) UTC \[\d+\] LOG:  database system is"
                       r" ready to accept", where.log(), re.M)[-1]
    return datetime.datetime.fromisoformat(ready + "+00:00").timestamp()


class DatabaseTest(unittest.TestCase):
    def setUp(self):
        self.database = cluster.create(self._testMethodName.lower()[:40])
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = None
        self.connect()
        checker.install_audit(self.connection)
        self.connection.autocommit = True
        for name in ("echo", "hold"):
            harness.register(self.conninfo, name, load.task(name))
        harness.register(self.conninfo, "fan-out", load.fan_out())
        self.load = load.Load(self.connection)

    def connect(self):
        """A new connection, after an outage."""
        given = self.load.given if self.connection is not None else 0
        self.connection = cluster.connect(self.database)
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.load = load.Load(self.connection)
        self.load.given = given

    # ---- the database ----

    def query(self, text, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def begin(self, workflow, *inputs):
        self.query("SELECT count(*) FROM rappel.start_workflows(%s,"
                   " %s::json[])", workflow,
                   [json.dumps(given) for given in inputs])

    def statuses(self):
        return dict(self.query("SELECT status, count(*)"
                               " FROM rappel.workflow_instances GROUP BY 1"))

    def wait_statuses(self, seconds=10, flusher=None, **expected):
        try:
            return wait_for(f"{expected}",
                            lambda: self.statuses() == expected, seconds)[1]
        except AssertionError as why:
            raise AssertionError(
                f"{why}: {self.statuses()}\n"
                + (flusher.log() if flusher else "")) from None

    def sessions(self, kind):
        return [row[0] for row in self.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()", f"rappel {kind}")]

    def journal_rows(self):
        return self.query("SELECT count(*) FROM rappel.action_log")[0][0]

    def triggers(self, name, condition, function):
        for (table,) in self.query(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c"
                " ON c.oid = i.inhrelid WHERE i.inhparent ="
                " 'rappel.action_log'::regclass"):
            self.query(f"CREATE TRIGGER {name} BEFORE INSERT ON"
                       f" rappel.{table} FOR EACH ROW WHEN ({condition})"
                       f" EXECUTE FUNCTION {function}")

    # ---- the flusher ----

    def flusher(self, conninfo=None, slots=4, **settings):
        flusher = Flusher(self, conninfo or self.conninfo, **settings)
        flusher.start()
        for slot in range(slots):
            flusher.hello(slot, ["echo", "sleep", "hold"])
        return flusher.wait_working()

    def proxy(self, **options):
        proxy = FaultProxy(cluster.dir, **options).start()
        self.addCleanup(proxy.stop)
        return proxy

    def check(self, flusher, seconds=20, again=False):
        """All ends as it should, and nothing is left behind."""
        try:
            wait_for("all end", lambda: self.load.open_count() == 0, seconds)
        except AssertionError as why:
            raise AssertionError(f"{why}: {self.statuses()}\n{flusher.log()}"
                                 ) from None
        self.connection.autocommit = False
        findings = (checker.journal(self.connection) +
                    checker.outputs(self.connection, load.fan_out_output) +
                    checker.successes(self.connection, load.STATES))
        self.connection.rollback()
        self.connection.autocommit = True
        self.assertEqual(findings, [], flusher.log())
        if not again:
            self.assertEqual(len(set(flusher.seen)), len(flusher.seen))
        self.stop(flusher)

    def stop(self, flusher):
        flusher.drain()
        self.assertEqual(flusher.wait_exit(3), 0, flusher.log())
        self.assertNotIn("Sanitizer", flusher.log())
        wait_for("its sessions are gone", lambda:
                 not checker.stopped(self.connection), 3)

    # ---- C04 ----

    def thousand(self, flusher, poison):
        """1,000 completions in about one batch: its round trips, and how long
        the good ones took."""
        before = dict(flusher.status)
        done = self.statuses().get("succeeded", 0)
        other = cluster.connect(self.database)
        other.cursor().execute("LOCK rappel.action_log IN EXCLUSIVE MODE")
        self.begin("echo", *[poison if n == 570 else n for n in range(1000)])
        seen = len(flusher.seen)
        wait_for("they are answered", lambda: flusher.status[
            "completions"] - before["completions"] >= 1000, 2)
        self.assertGreaterEqual(len(flusher.seen), seen)
        other.rollback()
        other.close()
        begun = time.monotonic()
        good = done + (1000 if poison is None else 999)
        wait_for("the good ones end", lambda: self.statuses().get(
            "succeeded", 0) >= good)
        took = time.monotonic() - begun
        wait_for("all end", lambda: self.load.open_count() == 0)
        time.sleep(1.1)  # a status a second
        after = flusher.status
        trips = sum(after[name] - before[name]
                    for name in ("commits", "commits_refused"))
        return trips, took

    def test_C04_poison_row(self):
        """One of 1,000 in a batch is refused: its action fails, alone."""
        self.query("CREATE FUNCTION public.refuse() RETURNS trigger"
                   " LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison %%',"
                   " new.entries USING ERRCODE = (SELECT state FROM"
                   " public.state); END $$; CREATE TABLE public.state"
                   " AS SELECT '22P05'::text AS state")
        self.triggers("refuse", "new.entries::text ~ 'poison'",
                      "public.refuse()")
        flusher = self.flusher(batch_actions_max=2000)
        plain, _ = self.thousand(flusher, None)
        worst_trips, worst = 0, 0.0
        states = ["22P05", "23514", "22021", "54000"][:2 * REPEATS]
        for n, state in enumerate(states):
            self.query("UPDATE public.state SET state = %s", state)
            trips, took = self.thousand(flusher, f"poison {n}")
            worst_trips = max(worst_trips, trips - plain)
            worst = max(worst, took)
        failed = self.query("SELECT error, cause FROM"
                            " rappel.workflow_instances"
                            " WHERE status = 'failed' ORDER BY id")
        self.assertEqual([row[0] for row in failed],
                         ["Rappel.RowRefused"] * len(states))
        for (_, cause), state in zip(failed, states):
            self.assertIn(state, cause)
        figure("C04", extra_round_trips=(worst_trips, "of 12"),
               others_late=(worst, "s of 1"))
        self.assertLessEqual(worst_trips, 12)
        self.assertLessEqual(worst, 1 + 0.5)
        # Refused and caught: the workflow goes on; with siblings in a row.
        fans = {"StartAt": "All", "States": {"All": {
            "Type": "Map", "ItemsPath": "$.items", "End": True,
            "ItemProcessor": {"StartAt": "One", "States": {"One": {
                "Type": "Task", "Resource": "echo", "End": True,
                "Catch": [{"ErrorEquals": ["Rappel.RowRefused"],
                           "ResultPath": None, "Next": "Sorry"}]},
                "Sorry": {"Type": "Pass", "Result": "sorry",
                          "End": True}}}}}}
        harness.register(self.conninfo, "fans", fans)
        self.begin("fans", *[{"items": ["a", "poison", "b", k]}
                             for k in range(20)])
        wait_for("they end", lambda: self.load.open_count() == 0)
        self.assertEqual(self.query(
            "SELECT DISTINCT status, output::text FROM"
            " rappel.workflow_instances i JOIN rappel.workflow_versions v"
            " ON v.id = i.version_id WHERE v.workflow = 'fans'"
            " AND output::jsonb -> 1 <> '\"sorry\"'"), [], flusher.log())
        self.connection.autocommit = False
        self.assertEqual(checker.journal(self.connection), [])
        self.connection.rollback()
        self.connection.autocommit = True
        self.stop(flusher)

    # ---- D01 ----

    def pool(self, conninfo=None, **settings):
        pool = pools.Pool(conninfo or self.conninfo, workers=2, **settings)
        self.addCleanup(pool.remove)
        return pool

    def crash(self, how):
        """The server goes and comes back; when it accepted."""
        if how == "backend":
            pid = self.sessions("writer")[0]
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        elif how == "postmaster":
            pid = cluster.postmaster()
            os.kill(pid, signal.SIGKILL)
            wait_for("it is gone", lambda: cluster.postmaster() is None)
            # Its children end by themselves; until then a start is refused.
            def starts():
                try:
                    return cluster.start()
                except RuntimeError:
                    return None
            wait_for("it starts", starts, 20, 0.1)
        else:
            cluster.restart(how)
        return accepts(cluster)

    def test_D01_restarts(self):
        """Restarts and crashes under load: everything goes on."""
        pool = self.pool().start()
        pool.wait_running()
        self.load.top_up(200)
        gaps, lines = [], []
        for how in ("fast", "immediate", "backend", "postmaster") * REPEATS:
            before = pool.processes()
            wait_for("it works", lambda: self.journal_rows() > 0)
            said = len(pool.log_text().splitlines())
            at = self.crash(how)
            self.connect()
            self.load.top_up(200)
            wait_for("it commits again", lambda wall=at: self.query(
                "SELECT 1 FROM rappel.action_log WHERE"
                " pg_xact_commit_timestamp(xmin) > to_timestamp(%s) LIMIT 1",
                wall))
            gaps += [max(0.0, float(self.query(
                "SELECT extract(epoch FROM min(pg_xact_commit_timestamp(xmin)"
                ")) - %s FROM rappel.action_log WHERE"
                " pg_xact_commit_timestamp(xmin) > to_timestamp(%s)",
                at, at)[0][0]))]
            wait_for("all sessions are back", lambda: all(
                self.sessions(kind) for kind in KINDS))
            lines.append(len(pool.log_text().splitlines()) - said)
            self.assertEqual(pool.processes(), before, pool.log_tail())
        figure("D01", first_commit_max=(max(gaps), "s of 1.2"),
               first_commit_median=(statistics.median(gaps), "s of 0.5"),
               log_lines_max=(max(lines), "of 20"),
               restarts=(len(gaps), "times"))
        self.assertLessEqual(max(gaps), 1.2 + 0.3, pool.log_tail())
        self.assertLessEqual(max(lines), 20, pool.log_tail(40))
        self.finish_pool(pool)

    def finish_pool(self, pool):
        wait_for("all end", lambda: self.load.open_count() == 0, 30)
        self.connection.autocommit = False
        findings = (checker.journal(self.connection) +
                    checker.outputs(self.connection, load.fan_out_output) +
                    checker.successes(self.connection, load.STATES))
        self.connection.rollback()
        self.connection.autocommit = True
        code, took = pool.stop()
        if code != 0 or took > 2:
            findings.append(f"exit status {code} after {took:.2f} s")
        findings += pool.leftovers()
        self.assertEqual(findings, [], pool.log_tail(40))

    def test_D01_at_the_wrong_moment(self):
        """Away while it starts, while it recovers, while it drains."""
        cluster.stop("immediate")
        pool = self.pool().start()
        wait_for("it waits", lambda: "database away" in pool.log_text())
        cluster.start()
        begun = time.monotonic()
        self.connect()
        pool.wait_running()
        started = time.monotonic() - begun
        self.load.top_up(300)
        wait_for("it works", lambda: self.journal_rows() > 50)
        # Its instances are being read again when the server crashes.
        pool.kill("flusher")
        time.sleep(0.15)
        cluster.restart("immediate")
        self.connect()
        wait_for("it recovers", lambda: self.load.open_count() == 0, 30)
        # And it drains while nobody answers: bounded, and goes on later.
        self.load.top_up(100)
        time.sleep(0.1)
        cluster.stop("immediate")
        code, took = pool.stop()
        cluster.start()
        self.connect()
        pool.start().wait_running()
        figure("D01", start_after_outage=(started, "s"),
               drain_while_away=(took, "s of 31"), exit_code=(code, ""))
        self.assertLessEqual(took, 31)
        self.finish_pool(pool)

    # ---- D03 ----

    def test_D03_wrong_server(self):
        """The old primary is back and first in the list; another server."""
        old = harness.Cluster({"track_commit_timestamp": "on"})
        self.addCleanup(old.remove)
        old.start()
        old.create("d03")
        harness.migrate(old.conninfo("d03"))
        harness.register(old.conninfo("d03"), "echo", load.task("echo"))
        new = harness.Cluster()
        new.user = old.user
        new.dir = tempfile.mkdtemp(prefix="rappel-pg-", dir="/tmp")
        self.addCleanup(new.remove)
        os.chmod(new.dir, 0o755)
        shutil.chown(new.dir, old.user)
        both = old.conninfo("d03").replace(f"host={old.dir}",
                                           f"host={old.dir},{new.dir}")
        flusher = self.flusher(both)
        old.stop()
        subprocess.run(["cp", "-a", old.data, new.data], check=True)
        with open(new.data + "/postgresql.conf", "a",
                  encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{new.dir}'\n")
        open(new.data + "/standby.signal", "w", encoding="ascii").close()
        shutil.chown(new.data + "/standby.signal", old.user)
        new.start()
        new.psql("SELECT pg_promote()")
        wait_for("it works on the new one", lambda: new.psql(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name"
            " LIKE 'rappel%'") == [["3"]])
        old.start()
        before = old.psql("SELECT pg_current_wal_flush_lsn(), (SELECT beat"
                          " FROM rappel.pool_heartbeats)", "d03")
        tries = 5 * REPEATS
        for _ in range(tries):
            new.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE application_name LIKE 'rappel%'")
            wait_for("it is back on the new one", lambda: new.psql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name"
                " LIKE 'rappel%'") == [["3"]])
        new.psql("SELECT rappel.start_workflow('echo', '1')", "d03")
        wait_for("it works there", lambda: new.psql(
            "SELECT status FROM rappel.workflow_instances", "d03")
            == [["succeeded"]])
        self.assertEqual(old.psql("SELECT beat FROM rappel.pool_heartbeats",
                                  "d03"), [[before[0][1]]])
        self.assertIn("its timeline is 1, this pool has seen 2",
                      flusher.log())
        figure("D03", writes_to_the_old_one=(0, f"in {tries} tries"))
        flusher.drain(1)
        self.assertEqual(flusher.wait_exit(5), 0, flusher.log())

    def test_D03_another_server(self):
        """Another system identifier is refused, the error names both."""
        other = harness.Cluster()
        self.addCleanup(other.remove)
        other.start()
        other.create(self.database)
        harness.migrate(other.conninfo(self.database))
        both = self.conninfo.replace(f"host={cluster.dir}",
                                     f"host={cluster.dir},{other.dir}")
        flusher = self.flusher(both)
        self.load.top_up(50)
        cluster.stop()
        wait_for("it refuses the other", lambda: "another server" in
                 flusher.log())
        time.sleep(0.5)
        self.assertEqual(other.psql("SELECT count(*) FROM"
                                    " rappel.worker_pools", self.database),
                         [["0"]])
        ids = [where.psql("SELECT system_identifier FROM"
                          " pg_control_system()")[0][0]
               for where in (cluster.start(), other)]
        self.connect()
        for identifier in ids:
            self.assertIn(identifier, flusher.log())
        self.check(flusher)
        # And a copy of the schema is none to begin with.
        self.query("UPDATE rappel.home SET system_identifier = '7'")
        flusher = Flusher(self, self.conninfo).start()
        self.assertEqual(flusher.wait_exit(3), 78)
        self.assertIn("rappelctl db adopt", flusher.log())
        harness.must(harness.ctl("db", "adopt", database=self.conninfo))
        self.stop(self.flusher())
        figure("D03", writes_to_another_server=(0, "rows"))

    # ---- D04 ----

    def test_D04_sessions_ended(self):
        """Each kind of session is ended and cancelled, ten times a second;
        what the database is set to must not matter to what comes back."""
        for setting in ("search_path = public", "statement_timeout = 100",
                        "standard_conforming_strings = off",
                        "default_transaction_read_only = on",
                        "default_transaction_isolation = 'serializable'",
                        "client_encoding = 'LATIN1'"):
            self.query(f"ALTER DATABASE {self.database} SET {setting}")
        flusher = self.flusher()
        self.load.top_up(200)
        until = time.monotonic() + 2 * REPEATS
        ended = 0
        while time.monotonic() < until:
            for kind in KINDS:
                how = "terminate" if ended % 2 else "cancel"
                for pid in self.sessions(kind):
                    self.query(f"SELECT pg_{how}_backend(%s)", pid)
                    ended += 1
            self.load.top_up(100)
            time.sleep(0.1)
        begun = time.monotonic()
        wait_for("all are back", lambda: all(
            len(self.sessions(kind)) == 1 for kind in KINDS), 3)
        figure("D04", ended=(ended, "sessions"),
               back=(time.monotonic() - begun, "s"), lost=(0, "completions"))
        self.query(f"ALTER DATABASE {self.database} RESET ALL")
        self.check(flusher)

    def test_D04_settings_that_do_not_hold(self):
        """A pooler's session is not ours: refused at once."""
        proxy = self.proxy()

        def lying(data):
            """Another key for cancelling, as poolers give."""
            at = data.find(b"K\0\0\0\x0c")
            return data if at < 0 else \
                data[:at + 5] + b"\0\0\0\1" + data[at + 9:]
        proxy.rewrite = lying
        flusher = Flusher(self, proxy.conninfo(self.conninfo)).start()
        begun = time.monotonic()
        self.assertEqual(flusher.wait_exit(3), 78, flusher.log())
        self.assertIn("pooler", flusher.log())
        figure("D04", pooler_refused=(time.monotonic() - begun, "s of 1"))

    # ---- D05 ----

    def beats(self, seconds):
        """The longest time between two heartbeats meanwhile."""
        longest, last, since = 0.0, None, time.monotonic()
        until = since + seconds
        while time.monotonic() < until:
            [[beat]] = self.query("SELECT max(beat) FROM"
                                  " rappel.pool_heartbeats")
            now = time.monotonic()
            if beat != last:
                last, since = beat, now
            longest = max(longest, now - since)
            time.sleep(0.02)
        return longest

    def test_D05_locked_tables(self):
        """ACCESS EXCLUSIVE on each table, every retriable error."""
        flusher = self.flusher(heartbeat="0.5s")
        deadlocks = self.query("SELECT deadlocks FROM pg_stat_database"
                               " WHERE datname = current_database()")
        late, back = 0.0, 0.0
        for table in TABLES:
            other = cluster.connect(self.database)
            self.load.top_up(60)
            other.cursor().execute(f"LOCK rappel.{table}"
                                   " IN ACCESS EXCLUSIVE MODE")
            # The fence is behind a lock of the pools' own table.
            # Longer than lock_timeout where it is the journal.
            longest = self.beats((2.3 if table == "action_log" else 0.6)
                                 * REPEATS)
            if table not in ("worker_pools", "pool_backends"):
                late = max(late, longest - 0.5)
            other.rollback()
            other.close()
            begun = time.monotonic()
            wait_for(f"it goes on after {table}",
                     lambda: self.load.open_count() == 0, 5)
            back = max(back, time.monotonic() - begun)
        self.query("CREATE TABLE public.state (state text);"
                   "CREATE FUNCTION public.refuse() RETURNS trigger"
                   " LANGUAGE plpgsql AS $$ DECLARE s text; BEGIN"
                   " SELECT state INTO s FROM public.state;"
                   " IF s IS NOT NULL THEN RAISE EXCEPTION 'not now'"
                   " USING ERRCODE = s; END IF; RETURN new; END $$")
        self.triggers("refuse", "true", "public.refuse()")
        for state in ("40001", "40P01", "55P03", "53100", "57014", "25006"):
            self.query("INSERT INTO public.state VALUES (%s)", state)
            self.load.top_up(30)
            wait_for("it is told", lambda wanted=state:
                     wanted in (flusher.status.get("trouble") or ""), 5)
            self.query("DELETE FROM public.state")
            begun = time.monotonic()
            wait_for(f"it goes on after {state}",
                     lambda: self.load.open_count() == 0, 5)
            back = max(back, time.monotonic() - begun)
        self.assertLessEqual(flusher.log().count("trying again"), 40)
        figure("D05", heartbeat_late=(late, "s of 1"),
               back=(back, "s of 2"), deadlocks=(0, ""))
        self.assertEqual(self.query(
            "SELECT deadlocks FROM pg_stat_database"
            " WHERE datname = current_database()"), deadlocks)
        self.assertLessEqual(late, 1)
        self.assertLessEqual(back, 2.5)
        self.check(flusher)

    # ---- D06 ----

    def test_D06_slow(self):
        """500 ms a round trip: larger batches, no fencing, much done."""
        spread = {"StartAt": "All", "States": {"All": {
            "Type": "Map", "ItemsPath": "$", "End": True,
            "ItemProcessor": {"StartAt": "One", "States": {
                "One": {"Type": "Task", "Resource": "echo",
                        "End": True}}}}}}
        harness.register(self.conninfo, "spread", spread)
        proxy = self.proxy()
        flusher = self.flusher(proxy.conninfo(self.conninfo))
        proxy.set(delay=0.25)
        count, items = 12, 500
        self.begin("spread", *[list(range(items))] * count)
        begun = time.monotonic()
        self.wait_statuses(30, flusher, succeeded=count)
        rate = count * items / (time.monotonic() - begun)
        if REPEATS > 1:
            proxy.set(delay=1.4)  # close to three seconds a round trip
            time.sleep(4 * REPEATS)
            self.begin("echo", 1)
            self.wait_statuses(40, flusher, succeeded=count + 1)
        proxy.clear()
        self.assertIsNone(flusher.process.poll(), flusher.log())
        fenced = flusher.log().count("fenced")
        figure("D06", rate=(rate, "actions/s of 1000"),
               false_fencing=(fenced, "of 0"))
        self.assertEqual(fenced, 0)
        self.assertGreaterEqual(rate, 1000)
        self.connection.autocommit = False
        self.assertEqual(checker.journal(self.connection), [])
        self.connection.rollback()
        self.connection.autocommit = True
        self.stop(flusher)

    # ---- D08 ----

    def end_all(self):
        self.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE application_name LIKE 'rappel %%'"
                   " AND datname = current_database()")

    def test_D08_not_let_in(self):
        """A connection limit, a new password, pg_hba: back when cured."""
        self.query("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN"
                   " PASSWORD 'one' SUPERUSER")
        hba = os.path.join(cluster.data, "pg_hba.conf")
        with open(hba, encoding="utf-8") as text:
            plain = text.read()
        self.addCleanup(self.query, "DROP ROLE guest")
        self.addCleanup(self.hba, plain)
        self.hba("local all guest scram-sha-256\n" + plain)
        secret = harness.scratch(self) + "/pass"

        def password(word):
            with open(secret, "w", encoding="ascii") as file:
                file.write(f"*:*:*:guest:{word}\n")
            os.chmod(secret, 0o600)
        password("one")
        proxy = self.proxy()
        flusher = self.flusher(proxy.conninfo(self.conninfo).replace(
            f"user={cluster.user}", "user=guest") + f" passfile={secret}")
        cures = {
            "53300": (lambda: self.query(
                "ALTER ROLE guest NOSUPERUSER CONNECTION LIMIT 0"),
                lambda: self.query(
                    "ALTER ROLE guest SUPERUSER CONNECTION LIMIT -1")),
            "28P01": (lambda: self.query("ALTER ROLE guest PASSWORD 'two'"),
                      lambda: password("two")),
            "28000": (lambda: self.hba("local all guest reject\n" + plain),
                      lambda: self.hba("local all guest scram-sha-256\n"
                                       + plain)),
        }
        worst, rate, most = 0.0, 0.0, 0
        for n, (state, (harm, cure)) in enumerate(cures.items()):
            self.load.top_up(50)
            harm()
            self.end_all()
            begun = time.monotonic()
            wait_for(f"{state} is told", lambda wanted=state: wanted in (
                flusher.status.get("trouble") or ""), 8)
            if n == 0 and REPEATS > 1:
                time.sleep(max(0, begun + 10 - time.monotonic()))
                sparse = time.monotonic()
                time.sleep(4)
                rate = proxy.attempts_since(sparse) / 4
            most = max(most, len(proxy.connections))
            cure()
            begun = time.monotonic()
            wait_for(f"it is back after {state}", lambda: all(
                self.sessions(kind) for kind in KINDS), 8)
            worst = max(worst, time.monotonic() - begun)
        figure("D08", attempts=(rate, "a second of 1"),
               back=(worst, "s of 6"), connections=(most, "of 4"))
        self.assertLessEqual(rate, 1.25)
        self.assertLessEqual(worst, 6)
        self.assertLessEqual(most, 4)
        self.check(flusher)

    def hba(self, text):
        path = os.path.join(cluster.data, "pg_hba.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        cluster.psql("SELECT pg_reload_conf()")
        time.sleep(0.1)

    # ---- D09 ----

    def test_D09_wrong_schema(self):
        """None, too old, too new, half, elsewhere, not allowed: 78, says
        which, and writes nothing."""
        worst = 0.0

        def refused(conninfo, *words):
            nonlocal worst
            begun = time.monotonic()
            flusher = Flusher(self, conninfo).start()
            self.assertEqual(flusher.wait_exit(5), 78, flusher.log())
            worst = max(worst, time.monotonic() - begun)
            for word in words:
                self.assertIn(word, flusher.log())
        empty = cluster.create("d09_empty")
        refused(cluster.conninfo(empty), "db migrate")
        refused(cluster.conninfo("d09_nowhere"), "no such database")
        [[version]] = self.query("SELECT max(version) FROM rappel.migrations")
        self.query("INSERT INTO rappel.migrations VALUES (99, 'later')")
        refused(self.conninfo, "version 99", f"needs {version} or",
                "install a newer rappel")
        self.query("BEGIN; DELETE FROM rappel.migrations;"
                   "INSERT INTO rappel.migrations VALUES (0, 'earlier');"
                   "COMMIT")
        refused(self.conninfo, "version 0", "rappelctl db migrate")
        self.query("UPDATE rappel.migrations SET version = %s", version)
        self.query("DROP TABLE rappel.commands CASCADE")
        refused(self.conninfo, "rappelctl db migrate")
        self.query("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
        self.addCleanup(self.query, "DROP ROLE guest")
        refused(self.conninfo.replace(f"user={cluster.user}", "user=guest"),
                "grant")
        refused(self.conninfo + " require_auth=md5 password=secret",
                "require_auth")
        self.assertEqual(self.query("SELECT count(*) FROM"
                                    " rappel.worker_pools"), [(0,)])
        figure("D09", refused=(worst, "s of 1"))
        self.assertLessEqual(worst, 1.5)

    # ---- D11 ----

    def test_D11_cut_commits(self):
        """The connection ends at the COMMIT: done, and not done."""
        proxy = self.proxy()
        flusher = self.flusher(proxy.conninfo(self.conninfo))
        wanted = 6 * REPEATS
        slowest = 0.0
        for cut in ("before", "after"):
            self.load.top_up(200)
            proxy.set(cut=cut, share=0.5, match="writer")
            until = proxy.cuts + wanted
            while proxy.cuts < until:
                self.load.top_up(150)
                time.sleep(0.02)
            proxy.clear()
            begun, rows = time.monotonic(), self.journal_rows()
            self.load.top_up(20)
            wait_for("it commits", lambda: self.journal_rows() > rows)
            slowest = max(slowest, time.monotonic() - begun)
        figure("D11", cuts=(proxy.cuts, "times"), back=(slowest, "s of 2"),
               unknown=(flusher.status["commits_unknown"], "commits"))
        self.assertLessEqual(slowest, 2)
        self.assertIn("commit outcome found: done", flusher.log())
        self.assertIn("commit outcome found: not done", flusher.log())
        self.check(flusher)

    # ---- D12 ----

    def latency(self, pool, stop, found):
        while not stop.is_set():
            begun = time.monotonic()
            pools.control(pool.dir, "status")
            found.append(time.monotonic() - begun)
            time.sleep(0.02)

    def test_D12_silent(self):
        """A backend stopped, the postmaster stopped, answers held."""
        proxy = self.proxy()
        pool = self.pool(proxy.conninfo(self.conninfo)).start()
        pool.wait_running()
        self.load.top_up(100)
        stop, found = threading.Event(), []
        watch = threading.Thread(target=self.latency,
                                 args=(pool, stop, found))
        watch.start()
        noticed = []
        try:
            for how in ("hold", "postmaster", "backend")[:1 + REPEATS]:
                said = pool.log_text().count("database away")
                stopped = []
                if how == "backend":
                    stopped = self.sessions("writer")
                elif how == "postmaster":
                    stopped = [cluster.postmaster(),
                               *self.sessions("writer")]
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
                if how == "hold":
                    proxy.set(hold=True, match="writer")
                begun = time.monotonic()
                self.load.top_up(150)
                try:
                    try:
                        wait_for(f"it is noticed: {how}", lambda had=said:
                                 pool.log_text().count("database away") >
                                 had, 8)
                    except AssertionError as why:
                        raise AssertionError(f"{why}\n{pool.log_tail()}"
                                             ) from None
                    noticed.append(time.monotonic() - begun)
                finally:
                    for pid in stopped:
                        pools.send_signal(pid, signal.SIGCONT)
                    proxy.clear()
                rows = self.journal_rows()
                self.load.top_up(150)
                wait_for("it goes on", lambda had=rows:
                         self.journal_rows() > had)
                wait_for("all are back", lambda: pool.log_text().count(
                    "database away") == pool.log_text().count(
                        "database back"))
        finally:
            stop.set()
            watch.join()
        found.sort()
        figure("D12", noticed=(max(noticed), "s of 5.5"),
               supervisor_p99=(found[len(found) * 99 // 100] * 1000,
                               "ms of 50"))
        self.assertLessEqual(max(noticed), 5.5)
        self.assertLessEqual(found[len(found) * 9 // 10], 0.05)
        self.finish_pool(pool)


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""What PostgreSQL and the way to it may do: C04, D04, D05, D06, D08, D09 and
D11 of the fault matrix.

Each test prints its figures as "FIGURE D04 name=value unit …" and ends with
the checker. What takes long (three seconds a round trip, the attempts after
ten seconds) is left to the full tier.
"""

import os
import statistics
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "integration")]

# pylint: disable=wrong-import-position
import checker
import harness
from databasekit import KINDS, DatabaseCase, cluster, figure
from fakesupervisor import Flusher
from patience import patience
from pool import wait_for
from tier import FULL, repeats

TABLES = ("workflow_instances", "action_log", "commands", "worker_pools",
          "pool_backends", "workflow_versions")


def setUpModule():
    cluster.start()


def tearDownModule():
    cluster.remove()


class DatabaseTest(DatabaseCase):
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
        # What comes before the lock holds may be a batch of its own.
        plain = max(self.thousand(flusher, None)[0] for _ in range(2))
        extra, worst = [], 0.0
        states = ["22P05", "23514", "22021", "54000"][:repeats(2, 4)]
        for n, state in enumerate(states):
            self.query("UPDATE public.state SET state = %s", state)
            trips, took = self.thousand(flusher, f"poison {n}")
            extra.append(trips - plain)
            worst = max(worst, took)
        failed = self.query("SELECT error, cause FROM"
                            " rappel.workflow_instances"
                            " WHERE status = 'failed' ORDER BY id")
        self.assertEqual([row[0] for row in failed],
                         ["Rappel.RowRefused"] * len(states))
        for (_, cause), state in zip(failed, states):
            self.assertIn(state, cause)
        trips = statistics.median_low(extra)
        figure("C04", len(states), extra_round_trips=(trips, "of 12"),
               others_late=(worst, "s of 1"))
        self.assertLessEqual(trips, 12)
        self.assertLessEqual(max(extra), 24)
        self.assertLessEqual(worst, patience(1 + 0.5))
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
        until = time.monotonic() + repeats(2, 60)
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
            longest = self.beats(60 if FULL else
                                 2.3 if table == "action_log" else 0.6)
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
        figure("D05", len(TABLES), heartbeat_late=(late, "s of 1"),
               back=(back, "s of 2"), deadlocks=(0, ""))
        self.assertEqual(self.query(
            "SELECT deadlocks FROM pg_stat_database"
            " WHERE datname = current_database()"), deadlocks)
        self.assertLessEqual(late, patience(1))
        self.assertLessEqual(back, patience(2.5))
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
        if FULL:
            proxy.set(delay=1.4)  # close to three seconds a round trip
            time.sleep(20)
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
        worst, rate = 0.0, None
        said = flusher.log().count("\n")
        for n, (state, (harm, cure)) in enumerate(cures.items()):
            self.load.top_up(50)
            harm()
            self.end_all()
            begun = time.monotonic()
            wait_for(f"{state} is told", lambda wanted=state: wanted in (
                flusher.status.get("trouble") or ""), 8)
            if n == 0 and FULL:
                time.sleep(max(0, begun + 10 - time.monotonic()))
                sparse = time.monotonic()
                time.sleep(4)
                rate = proxy.attempts_since(sparse) / 4
            cure()
            begun = time.monotonic()
            wait_for(f"it is back after {state}", lambda: all(
                self.sessions(kind) for kind in KINDS), 8)
            worst = max(worst, time.monotonic() - begun)
        lines = (flusher.log().count("\n") - said) / len(cures)
        figure("D08", back=(worst, "s of 6"),
               connections=(proxy.peak, "of 4"), lines=(lines, "of 20"))
        if rate is not None:
            figure("D08", attempts=(rate, "a second of 1"))
            self.assertLessEqual(rate, 1.25)
        self.assertLessEqual(worst, patience(6))
        self.assertLessEqual(proxy.peak, 4)
        self.assertLessEqual(lines, 20)
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
        self.assertLessEqual(worst, patience(1.5))

    # ---- D11 ----

    def test_D11_cut_commits(self):
        """The connection ends at the COMMIT: done, and not done."""
        proxy = self.proxy()
        # A writer that loses its session again and again waits seconds
        # between two tries: many cuts need many writers.
        flushers = [self.flusher(proxy.conninfo(self.conninfo))
                    for _ in range(repeats(1, 8))]
        wanted = repeats(6, 1000)
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
        figure("D11", wanted, cuts=(proxy.cuts, "times"),
               back=(slowest, "s of 2"),
               unknown=(sum(flusher.status["commits_unknown"]
                            for flusher in flushers), "commits"))
        self.assertLessEqual(slowest, patience(2))
        for flusher in flushers:
            self.assertIn("commit outcome found: done", flusher.log())
            self.assertIn("commit outcome found: not done", flusher.log())
        wait_for("all end", lambda: self.load.open_count() == 0, 60)
        seen = [item for flusher in flushers for item in flusher.seen]
        self.assertEqual(len(set(seen)), len(seen))
        for flusher in flushers[1:]:
            flusher.drain()
            self.assertEqual(flusher.wait_exit(3), 0, flusher.log())
        self.check(flushers[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""PostgreSQL is away, silent, or another one: D01, D03 and D12 of the fault
matrix.

Each test prints its figures as "FIGURE D01 name=value unit …" and ends with
the checker.
"""

import datetime
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
import harness
import load
import pool as pools
from databasekit import KINDS, DatabaseCase, cluster, figure
from fakesupervisor import Flusher
from patience import patience
from pool import chance, wait_for
from tier import FULL, repeats

def setUpModule():
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


class OutageTest(DatabaseCase):
    # ---- D01 ----

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
        for how in ("fast", "immediate", "backend", "postmaster") * repeats(1, 5):
            if FULL:
                time.sleep(chance.uniform(1, 40))
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
        figure("D01", len(gaps), first_commit_max=(max(gaps), "s of 1.2"),
               first_commit_median=(statistics.median(gaps), "s of 0.5"),
               log_lines_max=(max(lines), "of 20"),
               restarts=(len(gaps), "times"))
        self.assertLessEqual(max(gaps), patience(1.2 + 0.3), pool.log_tail())
        self.assertLessEqual(max(lines), 20, pool.log_tail(40))
        self.finish_pool(pool)

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
        self.assertLessEqual(took, patience(31))
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
        tries = repeats(5, 50)
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
            for how in ("hold", "postmaster", "backend")[:repeats(2, 3)]:
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
        figure("D12", len(noticed), noticed=(max(noticed), "s of 5.5"),
               supervisor_p99=(found[len(found) * 99 // 100] * 1000,
                               "ms of 50"))
        self.assertLessEqual(max(noticed), patience(5.5))
        self.assertLessEqual(found[len(found) * 9 // 10], patience(0.05))
        self.finish_pool(pool)


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""The flusher alone: what PostgreSQL and its sessions may do to it.

The supervisor is fakesupervisor.py, so that nothing but the database and
the flusher take part. Whatever happens, nothing is lost or doubled, and one
instance's trouble stays its own.
"""

import json
import os
import signal
import time
import unittest

import checker
import databasecase
import fakesupervisor
import harness
import load
from fakesupervisor import KILL, Flusher, Proxy
from patience import patience
from pool import SEED, chance, wait_for


POISON = """
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'poison' USING ERRCODE = '22023';
END
$$;
"""


setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down


class FlusherTest(databasecase.DatabaseCase):
    def setUp(self):
        super().setUp()
        for name in ("echo", "hold"):
            harness.register(self.conninfo, name, load.task(name))
        harness.register(self.conninfo, "pass", {
            "StartAt": "Only", "States": {"Only": {
                "Type": "Pass", "End": True}}})

    def flusher(self, conninfo=None, slots=2, **settings):
        flusher = Flusher(self, conninfo or self.conninfo, **settings)
        flusher.start()
        for slot in range(slots):
            flusher.hello(slot, ["echo", "sleep", "hold"])
        return flusher.wait_working()

    # ---- the database ----

    def begin(self, workflow, *inputs):
        return [row[0] for row in self.query(
            "SELECT rappel.start_workflows(%s, %s::json[])::text", workflow,
            [json.dumps(given) for given in inputs])]

    def wait_statuses(self, seconds=10, flusher=None, **expected):
        try:
            return wait_for(f"{expected}",
                            lambda: self.statuses() == expected, seconds)[1]
        except AssertionError as why:
            raise AssertionError(
                f"{why}: {self.statuses()}\n"
                + (flusher.log() if flusher else "")) from None

    def sessions(self, name):
        return [row[0] for row in self.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database()", name)]

    def other_session(self):
        other = databasecase.cluster.connect(self.database)
        self.addCleanup(other.close)
        return other

    def stop(self, flusher, seconds=2):
        flusher.drain()
        self.assertEqual(flusher.wait_exit(seconds), 0, flusher.log())
        self.assertNotIn("Sanitizer", flusher.log())
        wait_for("its sessions are gone", lambda:
                 not checker.stopped(self.connection), 3)

    # ---- one instance's trouble ----

    def test_refused_row(self):
        """A journal row that the server refuses: its action fails."""
        self.query(POISON + "CREATE TRIGGER refuse BEFORE INSERT"
                   " ON rappel.action_log_default FOR EACH ROW"
                   " WHEN (new.entries::text ~ 'poison')"
                   " EXECUTE FUNCTION public.refuse()")
        for (name,) in self.query(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c"
                " ON c.oid = i.inhrelid WHERE i.inhparent ="
                " 'rappel.action_log'::regclass"
                " AND c.relname <> 'action_log_default'"):
            self.query(f"CREATE TRIGGER refuse BEFORE INSERT ON rappel.{name}"
                       " FOR EACH ROW WHEN (new.entries::text ~ 'poison')"
                       " EXECUTE FUNCTION public.refuse()")
        flusher = self.flusher()
        self.begin("echo", *["poison" if n == 70 else n for n in range(150)])
        self.wait_statuses(succeeded=149, failed=1, flusher=flusher)
        [(given, error, cause)] = self.query(
            "SELECT input, error, cause FROM rappel.instances"
            " WHERE status = 'failed'")
        self.assertEqual((given, error), ("poison", "Rappel.RowRefused"))
        self.assertIn("22023", cause)
        self.stop(flusher)

    def test_refused_end(self):
        """An end without a row, among others' rows: that instance alone."""
        self.query(POISON + "CREATE TRIGGER refuse BEFORE UPDATE"
                   " ON rappel.workflow_instances FOR EACH ROW"
                   " WHEN (new.status = 'succeeded'"
                   " AND new.output::text ~ 'poison')"
                   " EXECUTE FUNCTION public.refuse()")
        flusher = self.flusher()
        self.begin("echo", *range(100))
        self.begin("pass", "poison", 1, 2)
        self.begin("echo", *range(100))
        self.wait_statuses(succeeded=202, blocked=1, flusher=flusher)
        self.assertEqual(self.query(
            "SELECT input FROM rappel.instances WHERE status = 'blocked'"),
            [("poison",)])
        self.stop(flusher)

    def test_refused_block(self):
        """It cannot even be set aside: the others go on."""
        self.query(POISON + "CREATE TRIGGER refuse BEFORE UPDATE"
                   " ON rappel.workflow_instances FOR EACH ROW"
                   " WHEN (new.status IN ('succeeded', 'failed', 'blocked')"
                   " AND new.input::text ~ 'poison')"
                   " EXECUTE FUNCTION public.refuse()")
        flusher = self.flusher()
        self.begin("echo", "poison")
        wait_for("it is refused", lambda: "blocked" in flusher.log())
        self.begin("echo", *range(100))
        self.wait_statuses(succeeded=100, running=1, flusher=flusher)
        # Refused again and again, but not all the time.
        self.assertLess(databasecase.cluster.log().count("poison"), 30)
        self.stop(flusher)

    def test_refused_claim(self):
        """What cannot even be claimed does not hold up the others."""
        self.query(POISON + "CREATE TRIGGER refuse BEFORE UPDATE"
                   " ON rappel.workflow_instances FOR EACH ROW"
                   " WHEN (new.status = 'running'"
                   " AND new.input::text ~ 'poison')"
                   " EXECUTE FUNCTION public.refuse()")
        flusher = self.flusher()
        self.begin("echo", *["poison" if n % 40 == 17 else n
                             for n in range(200)])
        self.wait_statuses(succeeded=195, queued=5, flusher=flusher)
        self.begin("echo", *range(50))
        self.wait_statuses(2, succeeded=245, queued=5, flusher=flusher)
        self.assertEqual(flusher.log().count("cannot be claimed"), 5)
        self.query("DROP TRIGGER refuse ON rappel.workflow_instances")
        self.stop(flusher)

    def others_end(self, flusher):
        """150 instances, each 50 within a second."""
        for _ in range(3):
            before = self.statuses().get("succeeded", 0)
            self.begin("echo", *range(50))
            _, took = wait_for("others end", lambda wanted=before + 50:
                               self.statuses().get("succeeded") == wanted)
            self.assertLess(took, patience(1), flusher.log())

    def test_held_row(self):
        """Somebody's SELECT … FOR UPDATE holds up that instance alone."""
        flusher = self.flusher()
        [held] = self.begin("hold", 1)
        flusher.wait_held(1)
        other = self.other_session()
        other.cursor().execute("SELECT FROM rappel.workflow_instances"
                               " WHERE id = %s FOR UPDATE", (held,))
        flusher.release()
        self.others_end(flusher)
        other.rollback()
        self.wait_statuses(succeeded=151, seconds=1, flusher=flusher)
        # And at a stop: it is left to a successor, nobody waits.
        flusher.holding = True
        [held] = self.begin("hold", 1)
        flusher.wait_held(1)
        other.cursor().execute("SELECT FROM rappel.workflow_instances"
                               " WHERE id = %s FOR UPDATE", (held,))
        flusher.release()
        time.sleep(0.3)
        flusher.drain()
        self.assertEqual(flusher.wait_exit(1), 0, flusher.log())
        other.rollback()
        self.assertEqual(self.query("SELECT count(*) FROM rappel.action_log"
                                    " WHERE instance_id = %s", held), [(1,)])

    def test_held_block(self):
        """Held while it is to be set aside: claims go on."""
        flusher = self.flusher()
        [held] = self.begin("hold", 1)
        flusher.wait_held(1)
        self.query("INSERT INTO rappel.action_log SELECT %s, 1, 1, now(),"
                   " '[]'", held)
        other = self.other_session()
        other.cursor().execute("SELECT FROM rappel.workflow_instances"
                               " WHERE id = %s FOR UPDATE", (held,))
        flusher.release()  # its row is there already: refused
        wait_for("it is refused", lambda: "blocked" in flusher.log())
        self.others_end(flusher)
        other.rollback()
        self.wait_statuses(succeeded=150, blocked=1, seconds=3,
                           flusher=flusher)
        self.stop(flusher)

    def test_deleted(self):
        """What an operator deleted while it ran is let go."""
        flusher = self.flusher()
        [gone, _] = self.begin("hold", 1, 2)
        flusher.wait_held(2)
        self.query("DELETE FROM rappel.workflow_instances WHERE id = %s",
                   gone)
        flusher.release()
        self.wait_statuses(succeeded=1, flusher=flusher)
        wait_for("it is forgotten", lambda:
                 flusher.status["instances_active"] == 0)
        self.stop(flusher)

    # ---- sessions and locks ----

    def begin_load(self, count):
        checker.install_audit(self.connection)
        harness.register(self.conninfo, "fan-out", load.fan_out())
        self.load = load.Load(self.connection)
        self.load.top_up(count)

    def finish_load(self, flusher, seconds=20):
        try:
            wait_for("all end", lambda: self.load.open_count() == 0, seconds)
        except AssertionError as why:
            raise AssertionError(f"{why}: {self.statuses()}\n{flusher.log()}"
                                 ) from None
        self.connection.autocommit = False
        self.assertEqual(
            checker.journal(self.connection) +
            checker.outputs(self.connection, load.fan_out_output) +
            checker.successes(self.connection, load.STATES), [],
            flusher.log())
        # No worker was lost: nothing ran a second time.
        self.assertEqual(len(set(flusher.seen)), len(flusher.seen))
        self.assertEqual({seen[2] for seen in flusher.seen}, {1})
        self.connection.rollback()
        self.connection.autocommit = True

    def test_killed_sessions(self):
        """50 of its sessions are ended at random moments under load."""
        flusher = self.flusher()
        self.begin_load(300)
        killed = 0
        while killed < 50:
            time.sleep(chance.uniform(0, 0.06))
            pids = [pid for name in ("writer", "claimer", "keeper")
                    for pid in self.sessions(f"rappel {name}")]
            if pids:
                self.query("SELECT pg_terminate_backend(%s)",
                           chance.choice(pids))
                killed += 1
            self.load.top_up(200)
        self.finish_load(flusher)
        self.stop(flusher)

    def test_unknown_outcomes(self):
        """Commits whose answer, or whose COMMIT, never arrives."""
        proxy = Proxy(self, databasecase.cluster)
        flusher = self.flusher(
            proxy.conninfo(databasecase.cluster, self.database))
        self.begin_load(300)
        proxy.judge = fakesupervisor.cut_at_random(0.3, SEED)
        while proxy.cuts < 30:
            self.load.top_up(200)
            time.sleep(0.05)
        proxy.judge = lambda name, to_server, data: True
        self.finish_load(flusher)
        self.assertGreater(flusher.status["commits_unknown"], 5)
        self.stop(flusher)

    def test_errors_of_our_own(self):
        """An error that libpq made, not the server, refuses nothing."""
        proxy = Proxy(self, databasecase.cluster)
        flusher = self.flusher(
            proxy.conninfo(databasecase.cluster, self.database))
        self.begin_load(20)
        wait_for("it works", lambda: len(flusher.seen) > 20)
        proxy.judge, left = fakesupervisor.spoil_commits(5)
        for _ in range(500):
            if left[0] == 0:
                break
            self.load.top_up(20)
            time.sleep(0.02)
        self.assertEqual(left[0], 0, flusher.log())
        self.finish_load(flusher)
        self.assertGreater(flusher.status["commits_unknown"], 0)
        self.assertEqual(flusher.status["commits_refused"], 0)
        self.stop(flusher)

    def test_lost_while_asking(self):
        """The old session does not go, and the new ones are ended too."""
        flusher = self.flusher(slots=5, db_deadline="0.5s")
        self.begin("hold", *range(5))
        flusher.wait_held(5)
        [old] = self.sessions("rappel writer")
        os.kill(old, signal.SIGSTOP)
        try:
            flusher.release()
            for _ in range(8):
                wait_for("a new session asks", lambda: [
                    pid for pid in self.sessions("rappel writer")
                    if pid != old])
                time.sleep(0.03)
                for pid in self.sessions("rappel writer"):
                    if pid != old:
                        self.query("SELECT pg_terminate_backend(%s)", pid)
                wait_for("it is gone", lambda:
                         self.sessions("rappel writer") == [old])
        finally:
            os.kill(old, signal.SIGCONT)
        self.wait_statuses(succeeded=5, seconds=5, flusher=flusher)
        self.assertEqual(len(set(flusher.seen)), 5)
        self.stop(flusher)

    def test_locked_table(self):
        """ACCESS EXCLUSIVE on the journal for 3 s: back within 2 s."""
        flusher = self.flusher()
        self.begin_load(100)
        wait_for("it works", lambda: len(flusher.seen) > 100)
        other = self.other_session()
        other.cursor().execute("LOCK rappel.action_log"
                               " IN ACCESS EXCLUSIVE MODE")
        time.sleep(3)
        other.rollback()
        self.finish_load(flusher, 3)
        self.assertEqual(flusher.status["commits_unknown"], 0)
        self.stop(flusher)

    def test_not_on_the_standby(self):
        """A commit whose wait for a standby was cancelled is none yet."""
        two = load.task("echo", Next="Then")
        del two["States"]["Only"]["End"]
        two["States"]["Then"] = load.task("echo")["States"]["Only"]
        two["States"]["Only"]["Resource"] = "hold"
        harness.register(self.conninfo, "two", two)
        flusher = self.flusher()
        self.begin("two", 1)
        flusher.wait_held(1)
        self.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.query("SELECT pg_reload_conf()")
        try:
            wait_for("the setting", lambda: self.query(
                "SHOW synchronous_standby_names") == [("nobody",)])
            time.sleep(0.2)
            flusher.release()
            wait_for("the commit waits", lambda: self.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                " AND application_name = 'rappel writer'"))
            for pid in self.sessions("rappel writer"):
                self.query("SELECT pg_cancel_backend(%s)", pid)
            time.sleep(0.7)
            self.assertEqual(len(flusher.seen), 1, flusher.log())
        finally:
            self.query("ALTER SYSTEM RESET synchronous_standby_names")
            self.query("SELECT pg_reload_conf()")
        self.wait_statuses(succeeded=1, flusher=flusher)
        self.stop(flusher)

    # ---- its other side ----

    def test_bad_hello(self):
        """A worker that says nonsense costs itself, not the pool."""
        flusher = self.flusher()
        for slot, payload in ((5, b"\x81\xa7actions\x91\x01"),
                              (6, b"\x81\xa7actions\x91\xa1\xff"),
                              (7, b"\x93\x01\x02\x03")):
            flusher.send_raw(fakesupervisor.HELLO, slot, 1, 0, payload)
        wait_for("they are to be killed", lambda: sorted(
            frame[1] for frame in flusher.frames if frame[0] == KILL)
            == [5, 6, 7])
        self.begin("echo", 1)
        self.wait_statuses(succeeded=1, flusher=flusher)
        self.stop(flusher)

    def test_supervisor_gone(self):
        """Its last flush waits, and an action passes its timeout then."""
        harness.register(self.conninfo, "timed",
                         load.task("hold", TimeoutSeconds=1))
        flusher = self.flusher()
        self.begin("timed", 1)
        self.begin("hold", 2)
        flusher.wait_held(2)
        other = self.other_session()
        other.cursor().execute("LOCK rappel.action_log"
                               " IN ACCESS EXCLUSIVE MODE")
        flusher.holding = False
        for slot, spawn, item in flusher.held:
            if item[-1] == 2:
                flusher.complete(slot, spawn, item)
        time.sleep(0.3)
        flusher.close()
        time.sleep(0.9)
        other.rollback()
        self.assertEqual(flusher.wait_exit(2), 0, flusher.log())
        wait_for("its sessions are gone", lambda:
                 not checker.stopped(self.connection), 3)
        self.assertEqual(self.statuses().get("succeeded"), 1)

    def test_no_grant(self):
        """A role that may look and not write is told so, at once."""
        self.query("DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN;"
                   " GRANT USAGE ON SCHEMA rappel TO looker;"
                   " GRANT SELECT ON ALL TABLES IN SCHEMA rappel TO looker")
        try:
            flusher = Flusher(self, self.conninfo.replace(
                f"user={databasecase.cluster.user}", "user=looker")).start()
            self.assertEqual(flusher.wait_exit(3), 78, flusher.log())
            self.assertIn("grant", flusher.log())
        finally:
            self.query("DROP OWNED BY looker; DROP ROLE looker")


if __name__ == "__main__":
    unittest.main(verbosity=2)

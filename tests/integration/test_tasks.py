#!/usr/bin/python3
"""Tasks that somebody else finishes, under their token: SQL and rappelctl.

One database and one pool for all of it, but for what ends a pool.
"""

import json
import threading
import unittest

import psycopg2

import checker
import harness
import load
import pool as pools
from checker import replay
from pool import wait_for

WAITS = ".waitForTaskToken"
ASK = load.task("echo" + WAITS, ResultPath="$.said",
                Parameters={"token.$": "$$.Task.Token", "n.$": "$.n"})
WORKFLOWS = {
    "ask": ASK,
    "caught": {"StartAt": "Ask", "States": {
        "Ask": {"Type": "Task", "Resource": "noop" + WAITS, "End": True,
                "Catch": [{"ErrorEquals": ["No"], "Next": "After"}]},
        "After": {"Type": "Pass", "End": True}}},
    "again": load.task("noop" + WAITS, Retry=[
        {"ErrorEquals": ["Again"], "IntervalSeconds": 1,
         "MaxAttempts": 1}]),
    "patient": load.task("noop" + WAITS, TimeoutSeconds=1, Retry=[
        {"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1,
         "MaxAttempts": 1}]),
    "limited": load.task("noop" + WAITS, TimeoutSeconds=1),
    "beating": load.task("noop" + WAITS, TimeoutSeconds=60,
                         HeartbeatSeconds=2),
    "long": load.task("noop" + WAITS, TimeoutSeconds=3600),
    "sleep": load.task("sleep"),
    "echo": load.task("echo"),
    "twice": {"StartAt": "One", "States": {
        "One": {"Type": "Task", "Resource": "noop" + WAITS, "Next": "Two"},
        "Two": {"Type": "Task", "Resource": "noop" + WAITS, "End": True}}},
    "wait": {"StartAt": "W", "States": {
        "W": {"Type": "Wait", "Seconds": 0, "Next": "E"},
        "E": {"Type": "Task", "Resource": "noop" + WAITS, "End": True}}},
}
NOWHERE = "0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b.1.1"
cluster = pool = conninfo = None


def setUpModule():
    global cluster, pool, conninfo
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()
    conninfo = cluster.conninfo(cluster.create("tasks"))
    harness.migrate(conninfo)
    connection = cluster.connect("tasks")
    checker.install_audit(connection)
    connection.close()
    for name, definition in WORKFLOWS.items():
        harness.register(conninfo, name, definition)
    pool = pools.Pool(conninfo, workers=2)
    pool.start().wait_running()


def tearDownModule():
    try:
        pool.stop()
        pool.remove()
    finally:
        cluster.remove()


class TaskCase(unittest.TestCase):
    def setUp(self):
        self.connection = self.connect()
        self.connection.autocommit = True

    def connect(self):
        connection = cluster.connect("tasks")
        self.addCleanup(connection.close)
        return connection

    def query(self, text, *values, connection=None):
        with (connection or self.connection).cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def begin(self, workflow, given="{}"):
        return self.query("SELECT rappel.start_workflow(%s, %s)::text",
                          workflow, given)[0][0]

    def say(self, what, token, *values, connection=None):
        """What one of the functions gives."""
        values = [json.dumps(v) if isinstance(v, (dict, list)) else v
                  for v in values]
        marks = "".join(", %s" for _ in values)
        return self.query(f"SELECT rappel.task_{what}(%s{marks})", token,
                          *values, connection=connection)[0][0]

    def refused(self, code, what, *values):
        with self.assertRaises(psycopg2.Error) as caught:
            self.say(what, *values)
        self.assertEqual(caught.exception.pgcode, code)
        self.assertTrue(caught.exception.diag.message_hint,
                        caught.exception)
        return caught.exception.diag.message_primary

    def events(self, instance):
        return [row[0] for row in self.query(
            "SELECT event FROM rappel.history WHERE instance_id = %s"
            " ORDER BY seq", instance)]

    def pending(self, instance, attempt=1, activation=1):
        """Waits until it is; its token."""
        wait_for(f"attempt {attempt} of {instance} is pending",
                 lambda: self.query(
                     "SELECT 1 FROM rappel.history WHERE event = 'pending'"
                     " AND instance_id = %s AND attempt = %s AND action = %s",
                     instance, attempt, activation))
        return f"{instance}.{activation}.{attempt}"

    def asked(self, workflow="ask", given='{"n": 7}'):
        instance = self.begin(workflow, given)
        return instance, self.pending(instance)

    def look(self, instance, *columns):
        return self.query(f"SELECT {', '.join(columns)} FROM rappel.instances"
                          " WHERE id = %s", instance)[0]

    def ended(self, instance, status="succeeded", seconds=20):
        """Waits for that end; output or error, and cause."""
        ends = ("succeeded", "failed", "timed_out", "cancelled")
        wait_for(f"{instance} ends",
                 lambda: self.look(instance, "status")[0] in ends, seconds)
        found, output, error, cause = self.look(instance, "status", "output",
                                                "error", "cause")
        self.assertEqual((found, error), (status, error), cause)
        return output if status == "succeeded" else (error, cause)

    def ctl(self, *words, code=0, **more):
        done = harness.ctl(*words, database=conninfo, **more)
        self.assertEqual(done.code, code, done)
        return done


class Answers(TaskCase):
    def test_succeed(self):
        """In the caller's transaction: nothing of it before its commit."""
        instance, token = self.asked()
        other = self.connect()
        self.assertTrue(self.say("succeed", token, {"gone": 1},
                                 connection=other))
        other.rollback()
        self.assertTrue(self.say("succeed", token, {"by": ["hand", 1.5]},
                                 connection=other))
        self.assertEqual(self.events(instance), ["pending"])
        other.commit()
        self.assertEqual(self.ended(instance),
                         {"n": 7, "said": {"by": ["hand", 1.5]}})
        rows = self.query("SELECT event, action, attempt, worker IS NULL,"
                          " run IS NULL, result::text FROM rappel.history"
                          " WHERE instance_id = %s ORDER BY seq", instance)
        self.assertEqual(rows, [
            ("pending", 1, 1, False, False, None),
            ("succeeded", 1, 1, True, True, '{"by":["hand",1.5]}')])
        self.assertFalse(self.say("succeed", token, "1"))
        self.assertFalse(self.say("fail", token))
        self.assertFalse(self.say("heartbeat", token))
        wait_for("no row is left", lambda: not self.query(
            "SELECT 1 FROM rappel.commands"))

    def test_null(self):
        instance, token = self.asked("long")
        self.assertTrue(self.say("succeed", token, None))
        self.assertIsNone(self.ended(instance))

    def test_fail(self):
        """Catch meets the error as if the action had failed with it."""
        instance, token = self.asked("caught")
        self.assertTrue(self.say("fail", token, "No", "not today"))
        self.assertEqual(self.ended(instance),
                         {"Error": "No", "Cause": "not today"})
        instance, token = self.asked("caught")
        self.assertTrue(self.say("fail", token))
        self.assertEqual(self.ended(instance, "failed")[0],
                         "States.TaskFailed")

    def test_retry(self):
        """Each attempt has its own token; the old one is worth nothing."""
        instance, first = self.asked("again")
        self.assertTrue(self.say("fail", first, "Again", ""))
        second = self.pending(instance, attempt=2)
        self.assertFalse(self.say("succeed", first, "1"))
        self.assertTrue(self.say("succeed", second, "2"))
        self.assertEqual(self.ended(instance), 2)

    def test_behind_a_wait(self):
        """Its own activation is no task's."""
        instance = self.begin("wait")
        token = self.pending(instance, activation=2)
        self.refused("RP404", "succeed", f"{instance}.1.1", "1")
        self.assertTrue(self.say("succeed", token, "1"))
        self.assertEqual(self.ended(instance), 1)

    def test_refused(self):
        instance, token = self.asked()
        for bad in ("", "what", instance, token + ".1", token.upper(),
                    f"{instance}.0.1", f"{instance}.1.x", f" {token}",
                    f"{instance}.1.99999999999999999999", None):
            self.assertIn("no task token",
                          self.refused("RP400", "succeed", bad, "1"))
        self.assertIn("no instance",
                      self.refused("RP404", "succeed", NOWHERE, "1"))
        for unknown in (f"{instance}.1.9", f"{instance}.5000000.1"):
            for what in ("fail", "heartbeat"):
                self.refused("RP404", what, unknown)
        large = json.dumps("x" * (1 << 20))
        self.assertIn("1048576",
                      self.refused("RP400", "succeed", token, large))
        self.refused("RP400", "heartbeat", token, json.dumps("x" * 4096))
        self.refused("RP400", "fail", token, "E" * 129, "")
        self.refused("RP400", "fail", token, "", "why")
        self.refused("RP400", "fail", token, "E", "x" * 32769)
        self.assertTrue(self.say("succeed", token, "1"))
        self.ended(instance)
        # Over: what was there has finished, what never was is not there.
        self.assertFalse(self.say("succeed", token, "1"))
        self.assertIn("names no attempt",
                      self.refused("RP404", "succeed", f"{instance}.2.1", "1"))

    def test_never_there(self):
        """Of an instance that ended while something may have run."""
        instance, token = self.asked()
        self.query("SELECT rappel.cancel_workflow(%s)", instance)
        self.ended(instance, "cancelled")
        for late in (token, f"{instance}.2.1"):
            self.assertFalse(self.say("succeed", late, "1"))
        self.refused("RP404", "succeed", f"{instance}.3.1", "1")

    def test_what_no_value_can_hold(self):
        """PostgreSQL takes it as JSON, a value cannot be it: that is said."""
        instance, token = self.asked("long")
        self.assertTrue(self.say("succeed", token, "[" * 40 + "]" * 40))
        error, cause = self.ended(instance, "failed")
        self.assertEqual(error, "Rappel.ResultInvalid")
        self.assertIn("nested", cause)

    def test_refused_row(self):
        """What the server will not store fails the attempt, nothing else."""
        instance, token = self.asked("caught")
        self.query("ALTER TABLE rappel.action_log ADD CONSTRAINT nothing_odd"
                   " CHECK (entries::text NOT LIKE '%%odd%%') NOT VALID")
        try:
            self.assertTrue(self.say("succeed", token, '"odd"'))
            error, cause = self.ended(instance, "failed")
        finally:
            self.query("ALTER TABLE rappel.action_log"
                       " DROP CONSTRAINT nothing_odd")
        self.assertEqual(error, "Rappel.RowRefused")
        self.assertIn("23514", cause)
        self.assertFalse(self.say("succeed", token, "1"))
        wait_for("no row is left", lambda: not self.query(
            "SELECT 1 FROM rappel.commands WHERE instance_id = %s", instance))

    def test_nul(self):
        """PostgreSQL looks into no JSON with a NUL: nobody has to know."""
        instance, first = self.asked("twice")
        said = '["a\\u0000\\u0000b", "\\\\\\u0000", "\\\\u0000"]'
        self.assertTrue(self.say("succeed", first, said))
        second = self.pending(instance, activation=2)
        self.assertFalse(self.say("fail", first))
        self.assertEqual([t["token"] for t in self.ctl(
            "task", "list", "--instance", instance, "--json").json],
            [second])
        self.assertTrue(self.say("heartbeat", second, '{"x": "\\u0000"}'))
        self.assertTrue(self.say("succeed", second, said))
        self.assertEqual(self.ended(instance), json.loads(said))
        rows = self.ctl("run", "history", instance, "--json").json
        self.assertEqual([row["result"] for row in rows if row["result"]],
                         [["a\ufffd\ufffdb", "\\\ufffd", "\\u0000"]] * 2)
        self.assertEqual(self.ctl("run", "show", instance, "--json").json
                         ["entries"], 5)

    def set_status(self, instance, status):
        """By hand, and unseen by those who look at what a pool does."""
        self.query("SET session_replication_role = replica;"
                   "UPDATE rappel.workflow_instances SET status = %s"
                   " WHERE id = %s; RESET session_replication_role",
                   status, instance)

    def test_blocked(self):
        """What is set aside is not finished; that is said, too."""
        instance, token = self.asked()
        wait_for("it is parked", lambda: self.look(instance, "status")
                 == ("waiting",))
        self.set_status(instance, "blocked")
        self.assertIn("blocked", self.refused("RP409", "succeed", token, "1"))
        self.set_status(instance, "waiting")
        self.assertTrue(self.say("succeed", token, "1"))
        self.ended(instance)


class TwoAnswer(TaskCase):
    def race(self, commit):
        """The second waits for the first; what it gets."""
        instance, token = self.asked()
        first, second = self.connect(), self.connect()
        found = []
        self.assertTrue(self.say("succeed", token, "1", connection=first))
        thread = threading.Thread(target=lambda: found.append(
            self.say("fail", token, "Other", "", connection=second)))
        thread.start()
        wait_for("the second waits", lambda: self.query(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE '%%task_fail%%'"))
        if commit:
            first.commit()
        else:
            first.rollback()
        thread.join()
        second.commit()
        return instance, found[0]

    def test_first_commits(self):
        instance, second = self.race(commit=True)
        self.assertFalse(second)
        self.assertEqual(self.ended(instance), {"n": 7, "said": 1})

    def test_first_rolls_back(self):
        instance, second = self.race(commit=False)
        self.assertTrue(second)
        self.assertEqual(self.ended(instance, "failed")[0], "Other")

    def test_many(self):
        """Of many at once exactly one wins, and its answer it is."""
        instance, token = self.asked()
        found = {}

        def answer(n):
            connection = self.connect()
            connection.autocommit = True
            found[n] = self.say("succeed", token, str(n),
                                connection=connection)

        threads = [threading.Thread(target=answer, args=(n,))
                   for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [n for n, won in found.items() if won]
        self.assertEqual(len(winners), 1, found)
        self.assertEqual(self.ended(instance)["said"], winners[0])
        self.assertEqual(self.events(instance), ["pending", "succeeded"])

    def test_not_consumed_yet(self):
        """The other answer is a row that nobody has come to."""
        instance, token = self.asked()
        other = self.connect()
        self.query("BEGIN; LOCK TABLE rappel.action_log IN EXCLUSIVE MODE",
                   connection=other)
        try:
            self.assertTrue(self.say("succeed", token, "1"))
            self.assertFalse(self.say("fail", token))
            self.assertFalse(self.say("heartbeat", token))
        finally:
            other.rollback()
        self.assertEqual(self.ended(instance)["said"], 1)

    def test_cancel(self):
        instance, token = self.asked()
        self.query("SELECT rappel.cancel_workflow(%s)", instance)
        self.ended(instance, "cancelled")
        self.assertFalse(self.say("succeed", token, "1"))


class Early(TaskCase):
    def test_before_the_answer(self):
        """The action still runs: its attempt ends, its worker does not."""
        before = pool.pids("worker")
        instance = self.begin("sleep", '{"ms": 2000}')
        wait_for("it runs", lambda: pool.status()["flusher"]
                 ["actions_running"] > 0)
        late = pool.status()["flusher"]["completions_late"]
        self.assertTrue(self.say("succeed", f"{instance}.1.1", '"early"'))
        self.assertEqual(self.ended(instance, seconds=2), "early")
        wait_for("its worker's answer is late", lambda: pool.status()
                 ["flusher"]["completions_late"] > late)
        self.assertEqual(pool.pids("worker"), before)
        self.assertEqual(self.events(instance), ["succeeded"])

    def test_heartbeat(self):
        """One for what runs in a worker is taken, and changes nothing."""
        instance = self.begin("sleep", '{"ms": 700}')
        self.assertTrue(self.say("heartbeat", f"{instance}.1.1", '{"at": 1}'))
        self.assertEqual(self.ended(instance), {"ms": 700})

    def test_fail_and_again(self):
        """The failure of an attempt that runs: the next one waits, and runs
        elsewhere."""
        instance = self.begin("again")
        self.pending(instance)
        self.assertTrue(self.say("fail", f"{instance}.1.1", "Again", ""))
        # Not dispatched yet: its delay is not over.
        wait_for("it failed", lambda: "failed" in self.events(instance))
        self.assertTrue(self.say("succeed", f"{instance}.1.2", "2"))
        self.assertEqual(self.ended(instance), 2)
        self.assertEqual(self.events(instance),
                         ["pending", "failed", "succeeded"])


class Time(TaskCase):
    def test_timeout(self):
        instance, token = self.asked("limited")
        error, cause = self.ended(instance, "failed")
        self.assertEqual(error, "States.Timeout")
        self.assertIn("TimeoutSeconds", cause)
        self.assertEqual(self.events(instance), ["pending", "fired"])
        self.assertFalse(self.say("succeed", token, "1"))
        (took,), = self.query("SELECT extract(epoch FROM ended_at -"
                              " started_at)::float FROM rappel.instances"
                              " WHERE id = %s", instance)
        self.assertGreaterEqual(took, 1)

    def test_another_attempt(self):
        """After a timeout Retry gives it one, with a token of its own."""
        instance, first = self.asked("patient")
        second = self.pending(instance, attempt=2)
        self.assertFalse(self.say("succeed", first, "1"))
        self.assertTrue(self.say("succeed", second, "2"))
        self.assertEqual(self.ended(instance), 2)
        self.assertEqual(self.events(instance),
                         ["pending", "fired", "pending", "succeeded"])

    def test_heartbeats(self):
        """They put the end off; without them it comes."""
        instance, token = self.asked("beating")
        for n in range(3):
            self.assertTrue(self.say("heartbeat", token, {"done": n}))
            wait_for("it is journaled", lambda count=n + 2:
                     len(self.events(instance)) == count)
            found = self.ctl("task", "list", "--instance", instance,
                             "--json").json
            self.assertEqual([(t["token"], t["progress"], t["state"])
                              for t in found],
                             [(token, {"done": n}, "Only")])
        last, = self.query("SELECT max(at) FROM rappel.history WHERE"
                           " instance_id = %s", instance)[0]
        self.assertEqual(self.ended(instance, "failed")[0],
                         "States.HeartbeatTimeout")
        ended, = self.look(instance, "ended_at")
        self.assertGreaterEqual((ended - last).total_seconds(), 2)
        self.assertEqual(self.query(
            "SELECT details FROM rappel.history WHERE event = 'heartbeat'"
            " AND instance_id = %s ORDER BY seq", instance),
            [({"progress": {"done": n}},) for n in range(3)])


class Parked(TaskCase):
    def parked(self, instance):
        wait_for(f"{instance} is parked",
                 lambda: self.look(instance, "status") == ("waiting",))
        return self.look(instance, "due_at", "reason")

    def test_without_time(self):
        """No timer: only what somebody says wakes it."""
        instance, token = self.asked()
        due, reason = self.parked(instance)
        self.assertIsNone(due)
        self.assertIn("task", reason)
        shown = self.ctl("run", "show", instance)
        self.assertIn("task list --instance", shown.err)
        self.assertTrue(self.say("heartbeat", token))
        wait_for("the heartbeat is journaled", lambda: self.events(instance)
                 == ["pending", "heartbeat"])
        self.parked(instance)
        self.ctl("task", "succeed", token, '{"x": 1}')
        self.assertEqual(self.ended(instance), {"n": 7, "said": {"x": 1}})

    def test_with_time(self):
        instance, token = self.asked("long")
        due, reason = self.parked(instance)
        self.assertIsNotNone(due)
        self.assertIn("at most until", reason)
        self.ctl("task", "fail", token, "--error", "No", "--cause", "late")
        self.assertEqual(self.ended(instance, "failed"), ("No", "late"))

    def test_cancel(self):
        instance, _ = self.asked()
        self.parked(instance)
        self.query("SELECT rappel.cancel_workflow(%s)", instance)
        self.ended(instance, "cancelled")


class Ctl(TaskCase):
    def test_succeed(self):
        instance, token = self.asked("long")
        done = self.ctl("task", "succeed", token, "-", "--json",
                        stdin='{"from": "stdin"}')
        self.assertEqual(done.json, {"token": token, "accepted": True})
        self.assertEqual(self.ended(instance), {"from": "stdin"})
        done = self.ctl("task", "succeed", token, code=7)
        self.assertIn("finished already", done.err)
        self.assertEqual(done.out, "")
        self.ctl("task", "fail", token, code=7)
        self.ctl("task", "heartbeat", token, code=7)

    def test_codes(self):
        instance, token = self.asked("long")
        self.assertIn("no instance",
                      self.ctl("task", "succeed", NOWHERE, code=4).err)
        self.assertIn("no task token",
                      self.ctl("task", "fail", "what", code=1).err)
        self.assertIn("not JSON",
                      self.ctl("task", "succeed", token, "{", code=1).err)
        self.assertIn("at most", self.ctl(
            "task", "heartbeat", token, "--progress",
            json.dumps("x" * 4096), code=1).err)
        self.ctl("task", "succeed", code=2)
        self.ctl("task", "succeed", token, "1", "2", code=2)
        self.ctl("task", code=2)
        self.ctl("send-task-heartbeat", token, "--progress", "[1]")
        self.ctl("send-task-failure", token, "--error", "Bad")
        self.assertEqual(self.ended(instance, "failed")[0], "Bad")
        instance, token = self.asked("long")
        self.ctl("send-task-success", token)
        self.assertIsNone(self.ended(instance))

    def test_list(self):
        instance, token = self.asked()
        found = self.ctl("task", "list", "--instance", instance[:23],
                         "--json").json
        self.assertEqual(len(found), 1)
        self.assertEqual({k: found[0][k] for k in (
            "token", "id", "workflow", "state", "action", "attempt",
            "heartbeat_at", "progress")}, {
            "token": token, "id": instance, "workflow": "ask",
            "state": "Only", "action": 1, "attempt": 1,
            "heartbeat_at": None, "progress": None})
        self.assertIn(token, self.ctl("task", "list", "-o", "name",
                                      "--limit", "0").out.split())
        self.ctl("task", "succeed", token)
        self.ended(instance)
        self.assertEqual(self.ctl("task", "list", "--instance", instance,
                                  "--json").json, [])

    def test_progress(self):
        """run show has what running attempts last said."""
        instance, token = self.asked("long")
        self.query(
            "INSERT INTO rappel.action_progress SELECT %s, 1, 1, 'Only',"
            " '{\"percent\": 40}', now(), incarnation"
            " FROM rappel.worker_pools", instance)
        found = self.ctl("run", "show", instance, "--json").json
        self.assertEqual([(p["state"], p["attempt"], p["progress"])
                          for p in found["progress"]],
                         [("Only", 1, {"percent": 40})])
        self.assertIn("percent", self.ctl("run", "show", instance).out)
        self.query("DELETE FROM rappel.action_progress")
        found = self.ctl("run", "show", instance, "--json").json
        self.assertIsNone(found["progress"])
        self.ctl("task", "succeed", token)
        self.ended(instance)
        rows = self.ctl("run", "history", instance, "--json").json
        self.assertEqual([(row["event"], row["details"]) for row in rows],
                         [("pending", None), ("succeeded", None)])

    def test_exec(self):
        """What a mock returns is the answer under the token."""
        done = harness.ctl(
            "exec", "/dev/stdin", "--input", '{"n": 1}', "--json",
            stdin=json.dumps(ASK))
        self.assertEqual(done.code, 0, done)
        said = done.json["output"]["said"]
        self.assertRegex(said["token"], r"^[0-9a-f-]{36}\.1\.1$")


class ZLifeOfThePool(TaskCase):
    """Last: these end a flusher."""

    def test_flusher_dies(self):
        """kill -9 while some are pending, parked and answered."""
        kept, kept_token = self.asked()
        wait_for("it is parked", lambda: self.look(kept, "status")
                 == ("waiting",))
        here, here_token = self.asked("beating")
        more, more_token = self.asked()
        pool.kill("flusher")
        self.assertTrue(self.say("heartbeat", here_token))
        self.assertTrue(self.say("succeed", more_token, '"meanwhile"'))
        self.assertEqual(self.ended(more)["said"], "meanwhile")
        wait_for("the heartbeat is journaled",
                 lambda: "heartbeat" in self.events(here))
        self.assertTrue(self.say("succeed", here_token, '"after"'))
        self.assertEqual(self.ended(here), "after")
        self.assertTrue(self.say("succeed", kept_token, "1"))
        self.assertEqual(self.ended(kept)["said"], 1)

    def test_stopped(self):
        """Answered while no daemon runs; the journal is in order."""
        instance, token = self.asked()
        code, _ = pool.stop()
        self.assertEqual(code, 0)
        self.ctl("task", "succeed", token, '"at night"')
        pool.start().wait_running()
        self.assertEqual(self.ended(instance)["said"], "at night")
        snapshot = replay.Snapshot(self.connect())
        self.assertEqual(checker.journal(self.connect()), [])
        self.assertEqual(replay.replay(snapshot), [])
        self.assertEqual(replay.history(self.connect(), snapshot), [])


if __name__ == "__main__":
    unittest.main()

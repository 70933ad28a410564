#!/usr/bin/python3
"""Starting, cancelling and looking, from SQL, in the caller's transaction."""

import json
import statistics
import threading
import time
import unittest

import psycopg2

import checker
import harness
import load
import pool as pools
from patience import patience
from pool import wait_for

LATENCY_MS = 50
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class SqlTest(unittest.TestCase):
    workers = 2
    oracle = False

    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = self.connect()
        checker.install_audit(self.connection)
        for action in ("noop", "echo", "sleep"):
            harness.register(self.conninfo, action, load.task(action))
        self.pool = None

    def connect(self):
        connection = cluster.connect(self.database)
        self.addCleanup(connection.close)
        return connection

    def start_pool(self, **settings):
        settings.setdefault("workers", self.workers)
        self.pool = pools.Pool(self.conninfo, **settings)
        if self.oracle:
            self.pool.use_oracle()
        self.addCleanup(self.finish, self.pool)
        self.pool.start().wait_running()
        return self.pool

    def finish(self, pool):
        """Whatever a test did, the journal and the daemon are well."""
        try:
            code, took = pool.stop(seconds=35)
            self.assertEqual(code, 0, pool.log_tail())
            self.assertEqual(pool.leftovers(), [])
            self.assertEqual(checker.journal(self.connect()) +
                             checker.stopped(self.connect()), [])
        finally:
            pool.remove()

    def query(self, text, *values, connection=None):
        connection = connection or self.connection
        with connection, connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def begin(self, workflow="noop", given="{}", **arguments):
        """An instance's id; arguments as start_workflow() names them."""
        names = "".join(f", {name} => %s" for name in arguments)
        return self.query(f"SELECT rappel.start_workflow(%s, %s{names})"
                          "::text", workflow, given,
                          *arguments.values())[0][0]

    def look(self, instance, *columns):
        return self.query(f"SELECT {', '.join(columns)}"
                          " FROM rappel.instances WHERE id = %s",
                          instance)[0]

    def status(self, instance):
        return self.look(instance, "status")[0]

    def wait_status(self, instance, status, seconds=10):
        return wait_for(f"{instance} is {status}",
                        lambda: self.status(instance) == status, seconds)[1]


class Starting(SqlTest):
    def test_rolled_back(self):
        """Like any other row: a start that is rolled back never was."""
        self.start_pool()
        cursor = self.connection.cursor()
        cursor.execute("CREATE TABLE public.business (x int)")
        self.connection.commit()
        cursor.execute("INSERT INTO public.business VALUES (1)")
        cursor.execute("SELECT rappel.start_workflow('noop', '{}',"
                       " key => 'k')::text")
        gone = cursor.fetchone()[0]
        cursor.execute("SELECT rappel.start_workflows('noop',"
                       " ARRAY['1', '2']::json[])")
        self.connection.rollback()
        cursor.execute("INSERT INTO public.business VALUES (2)")
        cursor.execute("SELECT rappel.start_workflow('noop', '{}',"
                       " key => 'k')::text")
        kept = cursor.fetchone()[0]
        self.connection.commit()
        self.assertNotEqual(gone, kept)
        self.wait_status(kept, "succeeded")
        self.assertEqual(self.query(
            "SELECT id::text FROM rappel.instances"), [(kept,)])
        self.assertEqual(self.query("SELECT count(*) FROM rappel.action_log"),
                         [(1,)])

    def test_not_before_commit(self):
        self.start_pool()
        cursor = self.connection.cursor()
        cursor.execute("SELECT rappel.start_workflow('noop')::text")
        instance = cursor.fetchone()[0]
        other = self.connect()
        later = self.query("SELECT rappel.start_workflow('noop')::text",
                           connection=other)[0][0]
        wait_for("the other one ends", lambda: self.query(
            "SELECT status FROM rappel.instances WHERE id = %s", later,
            connection=other) == [("succeeded",)])
        self.connection.commit()
        self.wait_status(instance, "succeeded", 2.5)

    def test_start_at(self):
        self.start_pool()
        at = self.query("SELECT now() + interval '1.5 seconds'")[0][0]
        instance = self.begin(start_at=at)
        past = self.begin(start_at="2001-01-01")
        never = self.begin(start_at="infinity")
        self.assertEqual(self.look(instance, "status", "due_at"),
                         ("waiting", at))
        self.wait_status(past, "succeeded")
        self.wait_status(instance, "succeeded", 4)
        started, late = self.look(instance, "started_at",
                                  "started_at - due_at IS NULL")
        self.assertGreaterEqual(started, at)
        self.assertLessEqual((started - at).total_seconds(), patience(1.2))
        self.assertTrue(late)
        self.assertEqual(self.status(never), "waiting")

    def test_priority(self):
        """Higher first, older first among equals."""
        order = [(n % 3 - 1, n) for n in range(30)]
        ids = {self.begin(priority=p, name=str(n)): (-p, n)
               for p, n in order}
        self.start_pool(instances_max=1)
        wait_for("all end", lambda: self.query(
            "SELECT count(*) FROM rappel.instances"
            " WHERE status = 'succeeded'") == [(30,)])
        claimed = [row[0] for row in self.query(
            "SELECT id::text FROM rappel.instances ORDER BY started_at")]
        self.assertEqual([ids[i] for i in claimed], sorted(ids.values()))

    def test_bulk(self):
        inputs = [json.dumps({"n": n}) for n in range(1000)]
        ids = [row[0] for row in self.query(
            "SELECT rappel.start_workflows('echo', %s::json[],"
            " priority => 3)::text", inputs)]
        self.assertEqual(len(set(ids)), 1000)
        # The order of the answer is that of the inputs, and of the ids.
        rows = dict(self.query("SELECT id::text, (input ->> 'n')::int"
                               " FROM rappel.instances"))
        self.assertEqual([rows[i] for i in ids], list(range(1000)))
        self.assertEqual(self.query(
            "SELECT rappel.start_workflows('echo', '{}'::json[])"), [])
        self.start_pool(workers=4)
        wait_for("all end", lambda: self.query(
            "SELECT count(*) FROM rappel.instances WHERE status ="
            " 'succeeded' AND output::text::jsonb = input::text::jsonb")
            == [(1000,)])

    def test_bulk_with_keys(self):
        bulk = ("SELECT rappel.start_workflows('echo', %s::json[],"
                " keys => %s::text[])::text")
        first = self.query(bulk, ["1", "2", "3"], ["a", "b", "c"])
        again = self.query(bulk, ["4", "3", "2"], ["d", "c", "b"])
        self.assertEqual(again[1:], [first[2], first[1]])
        # The same key twice in one call is the same start.
        twice = self.query(bulk, ["5", "5"], ["e", "e"])
        self.assertEqual(twice[0], twice[1])
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_instances"), [(5,)])

    def test_key_in_two_transactions(self):
        """Whoever is second waits, and gets the first one's id."""
        start = "SELECT rappel.start_workflow('echo', '1', key => 'k')::text"
        for commit in (True, False):
            with self.subTest(first_commits=commit):
                self.query("TRUNCATE rappel.idempotency_keys")
                one, two = self.connect(), self.connect()
                cursor = one.cursor()
                cursor.execute(start)
                first = cursor.fetchone()[0]
                found = []
                second = threading.Thread(target=lambda: found.extend(
                    self.query(start, connection=two)))
                second.start()
                wait_for("the second waits", lambda: self.query(
                    "SELECT 1 FROM pg_stat_activity"
                    " WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"))
                one.commit() if commit else one.rollback()
                second.join(10)
                self.assertEqual(found[0][0] == first, commit)

    def test_pinned_version(self):
        """What was started runs the version of its start, for ever."""
        def version(text):
            return harness.register(self.conninfo, "grown", {
                "StartAt": "Say", "States": {"Say": {
                    "Type": "Pass", "Result": text, "Next": "Work"},
                    "Work": {"Type": "Task", "Resource": "echo",
                             "End": True}}})
        self.assertEqual(version("one"), 1)
        old = self.begin("grown")
        due = self.begin("grown", start_at=self.query(
            "SELECT now() + interval '1 second'")[0][0])
        self.assertEqual(version("two"), 2)
        new = self.begin("grown")
        asked = self.begin("grown", version=1)
        self.start_pool()
        for instance, number, said in ((old, 1, "one"), (due, 1, "one"),
                                       (new, 2, "two"), (asked, 1, "one")):
            self.wait_status(instance, "succeeded")
            self.assertEqual(self.look(instance, "version", "output"),
                             (number, said))
        # The same text again is the version it was, and the current one.
        self.assertEqual(version("one"), 1)
        again = self.begin("grown")
        self.wait_status(again, "succeeded")
        self.assertEqual(self.look(again, "version"), (1,))

    def test_other_isolation_levels(self):
        self.start_pool()
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            connection = self.connect()
            connection.set_session(isolation_level=level)
            instance = self.query(
                "SELECT rappel.start_workflow('noop')::text",
                connection=connection)[0][0]
            self.wait_status(instance, "succeeded")

    def test_hostile_search_path(self):
        """What a caller has in front of the schema changes nothing."""
        self.query("CREATE SCHEMA evil")
        self.query("CREATE TABLE evil.workflows (workflow text,"
                   " version_id bigint)")
        self.query("CREATE FUNCTION evil.now() RETURNS timestamptz"
                   " LANGUAGE sql AS 'SELECT ''2001-01-01''::timestamptz'")
        self.query("SET search_path = evil, pg_catalog")
        self.start_pool()
        instance = self.begin()
        self.wait_status(instance, "succeeded")
        self.query("RESET search_path")


class Cancelling(SqlTest):
    def cancel(self, instance, cause=None):
        return self.query("SELECT rappel.cancel_workflow(%s, %s)", instance,
                          cause)[0][0]

    def test_each_status(self):
        queued = self.begin("sleep", '{"seconds": 86400}')
        waiting = self.begin(start_at="infinity")
        self.assertTrue(self.cancel(queued, "changed my mind"))
        self.assertTrue(self.cancel(waiting))
        pool = self.start_pool()
        for instance in (queued, waiting):
            took = self.wait_status(instance, "cancelled")
            self.assertLess(took, patience(2))
        self.assertEqual(self.look(queued, "cause"), ("changed my mind",))
        # Nothing of them was started for that.
        self.assertEqual(self.query("SELECT event FROM rappel.history"),
                         [("cancelled",), ("cancelled",)])
        self.assertEqual(
            pool.status()["flusher"]["actions_dispatched"], 0)
        # One that runs: its worker is ended, and another one is there.
        running = self.begin("sleep", '{"seconds": 86400}')
        self.wait_status(running, "running")
        wait_for("it sleeps", lambda: (pool.status().get("flusher") or {})
                 .get("actions_running") == 1)
        self.assertTrue(self.cancel(running, "enough"))
        self.assertLess(self.wait_status(running, "cancelled"), patience(2))
        self.assertEqual(self.query(
            "SELECT event, cause FROM rappel.history"
            " WHERE instance_id = %s", running), [("cancelled", "enough")])
        wait_for("the worker is free again", lambda: (
            pool.is_running() and
            pool.status()["flusher"]["actions_running"] == 0), 5)
        # One that ended, and one that never was.
        ended = self.begin()
        self.wait_status(ended, "succeeded")
        self.assertFalse(self.cancel(ended))
        with self.assertRaises(psycopg2.Error) as caught:
            self.cancel("0190a0b0-0000-7000-8000-000000000000")
        self.assertEqual(caught.exception.pgcode, "RP404")
        wait_for("commands are consumed", lambda: self.query(
            "SELECT count(*) FROM rappel.commands") == [(0,)], 3)

    def test_in_wait_and_retry(self):
        """While nothing of it runs: a Wait state, a retry's delay."""
        harness.register(self.conninfo, "waits", {
            "StartAt": "W", "States": {
                "W": {"Type": "Wait", "Seconds": 86400, "End": True}}})
        harness.register(self.conninfo, "retries", load.task(
            "fail", Retry=[{"ErrorEquals": ["States.ALL"],
                            "IntervalSeconds": 3600, "MaxAttempts": 5}]))
        harness.register(self.conninfo, "nobody", load.task("nobody-at-all"))
        self.start_pool()
        ids = [self.begin("waits"), self.begin("retries"),
               self.begin("nobody")]
        # What only waits, and for long, is parked.
        wait_for("all have begun", lambda: self.query(
            "SELECT count(*) FROM rappel.instances"
            " WHERE started_at IS NULL") == [(0,)])
        wait_for("the retry waits", lambda: self.query(
            "SELECT 1 FROM rappel.history WHERE event = 'failed'"))
        for instance in ids:
            self.assertTrue(self.cancel(instance))
            self.assertLess(self.wait_status(instance, "cancelled"),
                            patience(2))

    def test_rolled_back(self):
        self.start_pool()
        instance = self.begin("sleep", '{"seconds": 0.7}')
        self.wait_status(instance, "running")
        cursor = self.connection.cursor()
        cursor.execute("SELECT rappel.cancel_workflow(%s)", (instance,))
        self.connection.rollback()
        self.wait_status(instance, "succeeded")

    def test_twice_and_many(self):
        """Asked twice it is done once; a fan-out ends whole."""
        harness.register(self.conninfo, "wide", {
            "StartAt": "M", "States": {"M": {
                "Type": "Map", "ItemsPath": "$", "End": True,
                "ItemProcessor": {"StartAt": "S", "States": {"S": {
                    "Type": "Task", "Resource": "sleep", "End": True}}}}}})
        self.start_pool()
        instance = self.begin("wide", json.dumps([{"seconds": 0.05}] * 200))
        self.wait_status(instance, "running")
        wait_for("some items are done", lambda: self.query(
            "SELECT 1 FROM rappel.history WHERE event = 'succeeded'"))
        for _ in range(3):
            self.query("SELECT rappel.cancel_workflow(%s)", instance)
        self.wait_status(instance, "cancelled")
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.history"
            " WHERE event = 'cancelled'"), [(1,)])
        # The pool is free for others at once.
        self.assertLess(self.wait_status(self.begin(), "succeeded"),
                        patience(2))


class Looking(SqlTest):
    def test_views(self):
        harness.register(self.conninfo, "fan-out", load.fan_out())
        given = load.fan_out_input(7, 0.001)
        instance = self.begin("fan-out", json.dumps(given), name="my run",
                              priority=5)
        self.start_pool(pool_name="here")
        self.wait_status(instance, "succeeded")
        row = self.look(instance, "workflow", "version", "status",
                        "priority", "name", "input", "output", "pool",
                        "reason", "created_at <= started_at",
                        "started_at <= ended_at")
        self.assertEqual(row, (
            "fan-out", 1, "succeeded", 5, "my run", given,
            load.fan_out_output(given), None, None, True, True))
        history = self.query(
            "SELECT seq, event, state, index, attempt, result::text,"
            " worker IS NOT NULL, run >= interval '0', at"
            " FROM rappel.history WHERE instance_id = %s ORDER BY seq",
            instance)
        self.assertEqual([r[0] for r in history], list(range(1, 11)))
        self.assertEqual({r[1] for r in history}, {"succeeded"})
        self.assertEqual([r[2] for r in history],
                         ["First"] * 4 + ["Nap"] + ["Second"] * 4 + ["Last"])
        self.assertEqual(sorted(r[3] for r in history if r[2] == "First"),
                         [0, 1, 2, 3])
        for row in history:
            self.assertEqual((row[4], row[6], row[7]), (1, True, True))
            if row[2] == "First":
                self.assertEqual(json.loads(row[5]),
                                 given["items"][row[3]])
        times = [r[8] for r in history]
        self.assertEqual(times, sorted(times))

    def test_failures(self):
        harness.register(self.conninfo, "fails", load.task("fail", Retry=[
            {"ErrorEquals": ["Mine"], "IntervalSeconds": 1,
             "MaxAttempts": 1}]))
        instance = self.begin("fails", json.dumps(
            {"error": "Mine", "cause": "because"}))
        self.start_pool(pool_name="here")
        self.wait_status(instance, "running")
        self.assertEqual(self.look(instance, "pool"), ("here",))
        self.wait_status(instance, "failed")
        self.assertEqual(self.look(instance, "error", "cause", "output"),
                         ("Mine", "because", None))
        self.assertEqual(self.query(
            "SELECT event, state, attempt, error, cause, result"
            " FROM rappel.history ORDER BY seq"),
            [("failed", "Only", n, "Mine", "because", None)
             for n in (1, 2)])

    def test_a_lock_holds_up_nobody_else(self):
        """SELECT … FOR UPDATE on one instance: the others end."""
        ids = [self.begin("sleep", '{"seconds": 0.3}') for _ in range(4)]
        self.start_pool(workers=4)
        for instance in ids:
            self.wait_status(instance, "running")
        other = self.connect()
        cursor = other.cursor()
        cursor.execute("SELECT 1 FROM rappel.workflow_instances"
                       " WHERE id = %s FOR UPDATE", (ids[0],))
        for instance in ids[1:]:
            self.wait_status(instance, "succeeded", 3)
        time.sleep(0.5)
        self.assertEqual(self.status(ids[0]), "running")
        other.rollback()
        self.wait_status(ids[0], "succeeded", 1.5)
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.history"), [(4,)])


class Sharing(SqlTest):
    """Nobody waits for ever behind what takes long."""

    def test_little_room(self):
        """Some places free and the rest taken for long: they are used."""
        harness.register(self.conninfo, "nobody", load.task("nobody-at-all"))
        held = 50
        for _ in range(held):
            self.begin("nobody")
        self.start_pool(instances_max=70)
        wait_for("they hold their places", lambda: self.query(
            "SELECT count(*) FROM rappel.instances"
            " WHERE status = 'running'") == [(held,)])
        for _ in range(3):
            self.assertLess(self.wait_status(self.begin(), "succeeded"),
                            patience(2))

    def test_backlog_of_one_action(self):
        """Hundreds of slow ones are queued: others have their turns."""
        for _ in range(500):
            self.begin("sleep", '{"seconds": 0.02}')
        self.start_pool()
        wait_for("they run", lambda: self.query(
            "SELECT 1 FROM rappel.instances WHERE status = 'succeeded'"))
        self.assertLess(self.wait_status(self.begin("echo"), "succeeded"),
                        patience(2))


class Waking(SqlTest):
    oracle = True

    def test_latency(self):
        """From the commit of a start to its action in a worker, idle."""
        harness.register(self.conninfo, "first", load.task("first"))
        pool = self.start_pool()
        taken = []
        for _ in range(40):
            wait_for("the pool is idle", lambda: (pool.status().get(
                "flusher") or {}).get("idle"), 5)
            time.sleep(0.05)
            cursor = self.connection.cursor()
            cursor.execute("SELECT rappel.start_workflow('first')::text")
            instance = cursor.fetchone()[0]
            committing_us = time.time_ns() // 1000
            self.connection.commit()
            self.wait_status(instance, "succeeded")
            line = [line for line in checker.read_record(pool.record)
                    if line.instance == instance.replace("-", "")
                    and line.what == "START"][0]
            taken.append((line.wall_us - committing_us) / 1000)
        median = statistics.median(taken)
        print(f"{self.id()}: median {median:.1f} ms, worst "
              f"{max(taken):.1f} ms, {len(taken)} starts", flush=True)
        self.assertLess(median, LATENCY_MS)
        self.assertLess(max(taken), patience(1200))


if __name__ == "__main__":
    unittest.main(verbosity=2)

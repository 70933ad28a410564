#!/usr/bin/python3
"""Mistakes of people: one clear error, a documented exit code, no harm."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import psycopg2

import checker
import harness
import load
import pool as pools
from patience import patience
from pool import wait_for

FAILED, USAGE = 1, 2
NO_SUCH = 4
EX_USAGE, EX_TRY_LATER, EX_PERMISSION, EX_CONFIG = 64, 75, 77, 78
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tearDownModule():
    cluster.remove()


class BadInputTest(unittest.TestCase):
    migrated = True

    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        if self.migrated:
            harness.migrate(self.conninfo)
        self.connection = cluster.connect(self.database)
        self.addCleanup(self.connection.close)

    def make_pool(self, conninfo=None, **settings):
        settings.setdefault("shutdown_grace", "3s")
        pool = pools.Pool(conninfo or self.conninfo, workers=2, **settings)
        self.addCleanup(pool.remove)
        return pool

    def query(self, text, *values):
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    def status_of(self, instance):
        return self.query("SELECT status, reason FROM rappel.instances"
                          " WHERE id = %s", instance)[0]

    def start_workflow(self, workflow, given):
        return self.query("SELECT rappel.start_workflow(%s, %s)::text",
                          workflow, given)[0][0]

    def ctl(self, *words):
        return harness.ctl(*words, database=self.conninfo)

    def assert_refused(self, pool, code, *said, seconds=5):
        """The daemon ended by itself, said why, and left nothing."""
        found, _ = pool.wait_exit(seconds)
        self.assertEqual(found, code, pool.log_tail())
        for text in said:
            self.assertIn(text, pool.log_text())
        wait_for("nothing is left", lambda: not pool.processes(), 2)
        self.assertEqual(pool.leftovers(), [], pool.log_tail())
        # Once is enough.
        self.assertLess(len(pool.log_text().splitlines()), 20,
                        pool.log_text())

    def assert_sql_refuses(self, sqlstate, text, *values):
        with self.assertRaises(psycopg2.Error) as caught:
            self.query(text, *values)
        self.assertEqual(caught.exception.pgcode, sqlstate,
                         caught.exception)
        return str(caught.exception)


class Database(BadInputTest):
    """What the daemon says to a database it cannot work with."""

    def test_conninfo_syntax(self):
        for bad in ("host", "hosst=/tmp dbname=x", "postgresql://[::1/x",
                    "host=/tmp sslmode=nonsense"):
            with self.subTest(conninfo=bad):
                pool = self.make_pool(bad)
                pool.start()
                self.assert_refused(pool, EX_CONFIG)
                done = harness.ctl("db", "version", database=bad)
                self.assertIn(done.code, (EX_CONFIG, 6), done)

    def test_no_database_configured(self):
        pool = self.make_pool()
        del pool.env["RAPPEL_DATABASE_URL"]
        pool.start()
        self.assert_refused(
            pool, EX_CONFIG, "set RAPPEL_DATABASE_URL, or \\\"url = "
            "CONNINFO\\\" in section [database] of rappel.conf")
        self.assertFalse(os.path.exists(os.path.join(pool.dir, "lock")))

    def test_unreachable(self):
        """An outage, not a mistake: it waits, says so, and stops well."""
        with tempfile.TemporaryDirectory() as nobody:
            pool = self.make_pool(f"host={nobody} dbname=x user=x")
            pool.start()
            wait_for("it says that the database is away",
                     lambda: pool.status().get("phase") == "database-away",
                     5)
            time.sleep(1.5)
            self.assertIsNone(pool.process.poll())
            self.assertEqual(pool.log_text().count("database away"), 1,
                             pool.log_text())
            code, took = pool.stop()
            self.assertEqual(code, 0, pool.log_tail())
            self.assertLess(took, patience(1.7))
            self.assertEqual(pool.leftovers(), [])
            done = harness.ctl("db", "version",
                               database=f"host={nobody} dbname=x user=x")
            self.assertEqual(done.code, 6, done.err)

    def test_comes_later(self):
        """What was unreachable at the start is used when it is there."""
        pool = self.make_pool()
        harness.register(self.conninfo, "noop", load.task("noop"))
        self.connection.close()
        cluster.stop("fast")
        try:
            pool.start()
            wait_for("it says that the database is away",
                     lambda: pool.status().get("phase") == "database-away",
                     5)
        finally:
            cluster.start()
        self.connection = cluster.connect(self.database)
        _, took = wait_for("it works", pool.is_running, 6)
        instance = self.start_workflow("noop", "{}")
        wait_for("it runs something", lambda: self.status_of(instance)[0]
                 == "succeeded")
        print(f"{self.id()}: working {took:.2f} s after the server")

    def test_missing_database(self):
        pool = self.make_pool(cluster.conninfo("not_there"))
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "rappelctl db migrate")

    def test_unknown_user(self):
        pool = self.make_pool(self.conninfo + " user=nobody_i_know")
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "user")

    def test_user_without_rights(self):
        self.query("DROP ROLE IF EXISTS poor")
        self.query("CREATE ROLE poor LOGIN")
        pool = self.make_pool(self.conninfo + " user=poor")
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "grant")

    def test_schema_too_old(self):
        self.query("UPDATE rappel.migrations SET version = version - 2")
        pool = self.make_pool()
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "rappelctl db migrate")
        self.assertEqual(checker.stopped(self.connection), [])

    def test_schema_too_new(self):
        version = self.query("SELECT max(version) FROM rappel.migrations")
        newer = version[0][0] + 2
        self.query("INSERT INTO rappel.migrations (version, name)"
                   " VALUES (%s, 'future')", newer)
        pool = self.make_pool()
        pool.start()
        self.assert_refused(pool, EX_CONFIG, str(newer), "newer rappel")
        self.assertEqual(checker.stopped(self.connection), [])
        done = self.ctl("db", "migrate")
        self.assertEqual(done.code, EX_CONFIG, done.err)

    def test_schema_one_newer(self):
        """Migrate first, then restart: the next version must work."""
        self.query("INSERT INTO rappel.migrations (version, name)"
                   " SELECT max(version) + 1, 'next'"
                   " FROM rappel.migrations")
        pool = self.make_pool()
        pool.start().wait_running()

    def test_restored_dump(self):
        home = self.query("UPDATE rappel.home SET system_identifier = '4711'"
                          " RETURNING system_identifier")
        harness.register(self.conninfo, "noop", load.task("noop"))
        instance = self.start_workflow("noop", "{}")
        pool = self.make_pool()
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "copy", "rappelctl db adopt")
        self.assertEqual(self.status_of(instance)[0], "queued")
        self.assertEqual(checker.stopped(self.connection), [])
        self.assertEqual(self.ctl("db", "adopt").code, 0)
        self.assertNotEqual(self.query("SELECT system_identifier"
                                       " FROM rappel.home"), home)
        pool.start().wait_running()
        wait_for("it runs", lambda: self.status_of(instance)[0]
                 == "succeeded")


class NoSchema(BadInputTest):
    migrated = False

    def test_no_schema(self):
        pool = self.make_pool()
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "rappelctl db migrate")
        done = self.ctl("run", "list")
        self.assertEqual(done.code, EX_CONFIG, done.err)
        self.assertIn("db migrate", done.err)

    def test_migrate_twice(self):
        for _ in range(2):
            done = self.ctl("db", "migrate")
            self.assertEqual(done.code, 0, done.err)

    def test_migrate_half_there(self):
        """A schema of that name that is not ours stays as it was."""
        self.query("CREATE SCHEMA rappel")
        self.query("CREATE TABLE rappel.somebodys (x int)")
        done = self.ctl("db", "migrate")
        self.assertNotEqual(done.code, 0)
        self.assertNotEqual(done.err, "")
        self.assertEqual(self.query(
            "SELECT count(*) FROM pg_class WHERE relnamespace ="
            " 'rappel'::regnamespace"), [(1,)])


class Directory(BadInputTest):
    def test_second_daemon(self):
        pool = self.make_pool()
        pool.start().wait_running()
        second = pools.Pool(self.conninfo, folder=pool.folder)
        second.log_path += ".second"
        second.start()
        code, took = second.wait_exit(5)
        self.assertEqual(code, EX_TRY_LATER, second.log_tail())
        self.assertLess(took, patience(1))
        self.assertIn(str(pool.process.pid), second.log_text())
        self.assertIn("stop", second.log_text())
        self.assertEqual(second.processes(), {})
        # And the first one did not notice.
        self.assertTrue(pool.is_running())
        self.assertEqual(pool.stop()[0], 0)
        self.assertEqual(pool.leftovers(), [])

    def test_stale_socket(self):
        """Left by a life that was killed: nobody's, so taken over."""
        pool = self.make_pool()
        os.mkdir(pool.dir, 0o700)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.path.join(pool.dir, "control.sock"))
        pool.start().wait_running()
        self.assertEqual(pool.stop()[0], 0)
        self.assertEqual(pool.leftovers(), [])

    def test_socket_in_use(self):
        """Somebody listens there: it stays theirs."""
        pool = self.make_pool()
        os.mkdir(pool.dir, 0o700)
        path = os.path.join(pool.dir, "control.sock")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            pool.start()
            code, _ = pool.wait_exit(5)
            self.assertEqual(code, EX_TRY_LATER, pool.log_tail())
            self.assertIn("control.sock", pool.log_text())
            self.assertEqual(pool.processes(), {})
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)

    def test_socket_is_a_file(self):
        pool = self.make_pool()
        os.mkdir(pool.dir, 0o700)
        with open(os.path.join(pool.dir, "control.sock"), "w",
                  encoding="utf-8") as file:
            file.write("precious")
        pool.start()
        code, _ = pool.wait_exit(5)
        self.assertIn(code, (EX_TRY_LATER, EX_PERMISSION, EX_CONFIG),
                      pool.log_tail())
        self.assertIn("control.sock", pool.log_text())
        with open(os.path.join(pool.dir, "control.sock"),
                  encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious")

    def test_path_too_long_for_a_socket(self):
        pool = self.make_pool()
        pool.dir = os.path.join(pool.folder, "d" * 120)
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "ddd")

    def test_not_ours(self):
        for how in ("writable", "link", "file", "foreign"):
            with self.subTest(how=how):
                pool = self.make_pool()
                if how == "writable":
                    os.mkdir(pool.dir)
                    os.chmod(pool.dir, 0o777)
                elif how == "link":
                    os.mkdir(pool.dir + ".real", 0o700)
                    os.symlink(pool.dir + ".real", pool.dir)
                elif how == "file":
                    with open(pool.dir, "wb"):
                        pass
                else:
                    if os.getuid() != 0:
                        self.skipTest("only root can give a folder away")
                    os.mkdir(pool.dir, 0o700)
                    os.chown(pool.dir, 12345, 12345)
                pool.start()
                code, _ = pool.wait_exit(5)
                self.assertEqual(code, EX_PERMISSION, pool.log_tail())
                self.assertIn(pool.dir, pool.log_text())


class Usage(BadInputTest):
    def rappeld(self, *words, **env):
        return harness.Result(subprocess.run(
            [harness.program("rappeld"), *words],
            env=harness.clean_env(**env), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=10, check=False))

    def test_command_line(self):
        for words in (("--nonsense",), ("stray",), ("--workers",)):
            with self.subTest(words=words):
                done = self.rappeld(*words)
                self.assertEqual(done.code, EX_USAGE, done.err)
                self.assertIn("--help", done.err)

    def test_values(self):
        for words, env in ((("--workers", "0"), {}),
                           (("--workers", "many"), {}),
                           (("--shutdown-grace", "-1s"), {}),
                           ((), {"RAPPEL_LEASE": "1s"}),
                           ((), {"RAPPEL_LOG_LEVEL": "loud"})):
            with self.subTest(words=words, env=env):
                done = self.rappeld("-t", *words, **env)
                self.assertEqual(done.code, EX_CONFIG, done.err)
                self.assertEqual(len(done.err.splitlines()), 1,
                                 done.err)

    def test_file(self):
        for line, text in ((2, "[pool]\nworkerz = 3\n"),
                           (2, "[pool]\nworkers = three\n"),
                           (1, "[nonsense]\n"), (1, "workers = 3\n"),
                           (3, "[pool]\nworkers = 3\nworkers = 4\n"),
                           (2, "[pool]\nworkers\n")):
            with self.subTest(text=text), tempfile.NamedTemporaryFile(
                    "w", suffix=".conf") as file:
                file.write(text)
                file.flush()
                done = self.rappeld("-t", "-c", file.name)
                self.assertEqual(done.code, EX_CONFIG, done.err)
                self.assertIn(f"{file.name}:{line}:", done.err)

    def test_password_on_command_line(self):
        done = self.rappeld("-t", "--database", "host=x password=hunter2")
        self.assertEqual(done.code, EX_CONFIG, done.err)
        self.assertNotIn("hunter2", done.out + done.err)

    def test_missing_file(self):
        done = self.rappeld("-t", "-c", "/nonexistent/rappel.conf")
        self.assertEqual(done.code, EX_CONFIG, done.err)
        self.assertIn("/nonexistent/rappel.conf", done.err)


class Starts(BadInputTest):
    """What start_workflow and its wrappers refuse, whole."""

    def setUp(self):
        super().setUp()
        harness.register(self.conninfo, "echo", load.task("echo"))

    def assert_nothing_started(self):
        self.assertEqual(self.query(
            "SELECT (SELECT count(*) FROM rappel.workflow_instances),"
            " (SELECT count(*) FROM rappel.idempotency_keys)"), [(0, 0)])

    def test_refused_inputs(self):
        start = "SELECT rappel.start_workflow('echo', %s, key => 'k')"
        large = json.dumps("x" * (1 << 20))
        self.assert_sql_refuses("22P02", start, "{nonsense")
        self.assert_sql_refuses("RP400", start, None)
        said = self.assert_sql_refuses("RP400", start, large)
        self.assertIn("1048576", said)
        bulk = "SELECT rappel.start_workflows('echo', %s::json[])"
        self.assert_sql_refuses("RP400", bulk, ["{}", None])
        self.assert_sql_refuses("RP400", bulk, ["{}", large])
        self.assert_sql_refuses("22P02", bulk, ["{}", "{"])
        self.assert_nothing_started()

    def test_refused_arguments(self):
        self.assert_sql_refuses(
            "RP404", "SELECT rappel.start_workflow('nobody', '{}')")
        self.assert_sql_refuses(
            "RP404", "SELECT rappel.start_workflow('echo', '{}',"
            " version => 7)")
        self.assert_sql_refuses(
            "RP404", "SELECT rappel.start_workflow(NULL, '{}')")
        for priority in (40000, -40000, None):
            self.assert_sql_refuses(
                "RP400", "SELECT rappel.start_workflow('echo', '{}',"
                " priority => %s)", priority)
        self.assert_sql_refuses(
            "RP400", "SELECT rappel.start_workflows('echo',"
            " ARRAY['1', '2']::json[], keys => ARRAY['one'])")
        self.assert_nothing_started()

    def test_key_with_other_input(self):
        start = "SELECT rappel.start_workflow('echo', %s, key => 'k')::text"
        first = self.query(start, '{"a": 1}')
        self.assertEqual(self.query(start, '{"a": 1}'), first)
        said = self.assert_sql_refuses("RP409", start, '{"a": 2}')
        self.assertIn(first[0][0], said)
        self.assert_sql_refuses(
            "RP409", "SELECT rappel.start_workflows('echo',"
            " ARRAY['1', '2']::json[], keys => ARRAY['new', 'k'])")
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_instances"), [(1,)])

    def test_by_rappelctl(self):
        for words, code in (
                (("run", "start", "echo", "--input", "{"), (1, 2)),
                (("run", "start", "nobody"), (NO_SUCH,)),
                (("run", "show", "0190a0b0-0000-7000-8000-000000000000"),
                 (NO_SUCH,)),
                (("run", "cancel", "0190a0b0-0000-7000-8000-000000000000"),
                 (NO_SUCH,)),
                (("run", "show", "no-uuid"), (1, 2, NO_SUCH)),
                (("workflow", "show", "nobody"), (NO_SUCH,)),
                (("nonsense",), (USAGE,)),
                (("run", "start"), (USAGE,)),
                (("run", "list", "--status", "nonsense"), (USAGE,))):
            with self.subTest(words=words):
                done = self.ctl(*words)
                self.assertIn(done.code, code, done.err)
                self.assertEqual(done.out, "")
                self.assertNotEqual(done.err, "")
        self.ctl("run", "start", "echo", "--key", "k", "--input", "1")
        done = self.ctl("run", "start", "echo", "--key", "k", "--input", "2")
        self.assertNotEqual(done.code, 0)
        self.assertIn("other input", done.err)

    def test_input_that_no_value_can_hold(self):
        """json takes it, a value does not: that instance alone, visibly."""
        bad = [self.start_workflow("echo", text) for text in (
            "[" * 40 + "]" * 40, "1e999", "123456789012345678901234567890",
            '"\\ud800"')]
        good = self.start_workflow("echo", '{"a": "b"}')
        pool = self.make_pool()
        pool.start().wait_running()
        wait_for("the good one ends",
                 lambda: self.status_of(good)[0] == "succeeded")
        for instance in bad:
            wait_for("it is set aside or ran", lambda i=instance:
                     self.status_of(i)[0] not in ("queued", "running"))
            status, reason = self.status_of(instance)
            if status != "succeeded":
                self.assertEqual(status, "blocked")
                self.assertIn("input", reason)
        self.assertEqual(self.status_of(bad[0])[0], "blocked")
        # What is set aside can be ended.
        self.query("SELECT rappel.cancel_workflow(%s)", bad[0])
        wait_for("it is cancelled", lambda: self.status_of(bad[0])[0]
                 == "cancelled", 5)


class Payloads(BadInputTest):
    """No payload can fail a flush, or hold up anybody else."""

    def run_all(self, cases):
        """Each (workflow, input); the rows of rappel.instances."""
        ids = [self.start_workflow(*case) for case in cases]
        pool = self.make_pool()
        pool.start().wait_running()
        after = self.start_workflow("echo", '"after"')
        wait_for("what came after them ends", lambda: self.status_of(after)
                 [0] == "succeeded", 10)
        rows = []
        for instance in ids:
            wait_for("it ends", lambda i=instance: self.status_of(i)[0]
                     not in ("queued", "running", "waiting"), 10)
            rows += self.query(
                "SELECT status, output, error, cause, reason"
                " FROM rappel.instances WHERE id = %s", instance)
        return rows

    def test_values_come_back(self):
        harness.register(self.conninfo, "echo", load.task("echo"))
        values = ['"\\u0000"', '{"\\u0000": "a\\u0000b"}', "9007199254740993",
                  "-9223372036854775808", "18446744073709551615", "-0.0",
                  "1e300", "0.1", '"\\ud83d\\ude00"', '"\u202e\ufeff\x7f"',
                  "null", "[]", "{}", '""', "true", "[[[[[[]]]]]]",
                  '"' + "x" * 1000000 + '"', '{"a": {"b": [1, {"c": null}]}}']
        rows = self.run_all([("echo", value) for value in values])
        for value, row in zip(values, rows):
            with self.subTest(value=value[:50]):
                self.assertEqual(row[0], "succeeded", row[2:])
                self.assertEqual(row[1], json.loads(value))

    def test_text_that_postgresql_cannot_hold(self):
        """NUL in an error or a cause, wherever it comes from."""
        harness.register(self.conninfo, "echo", load.task("echo"))
        harness.register(self.conninfo, "state", {
            "StartAt": "Stop", "States": {"Stop": {
                "Type": "Fail", "Error": "Own", "Cause": "a\u0000b"}}})
        harness.register(self.conninfo, "path", {
            "StartAt": "Stop", "States": {"Stop": {
                "Type": "Fail", "ErrorPath": "$.error",
                "CausePath": "$.cause"}}})
        harness.register(self.conninfo, "fail", load.task("fail"))
        given = json.dumps({"error": "E\0", "cause": "a\0b"})
        rows = self.run_all([("state", "{}"), ("path", given),
                             ("fail", given)])
        for row in rows:
            self.assertEqual(row[0], "failed", row)
            self.assertRegex(row[3], "^a.b$")
        # And the journal can still be looked at.
        found = self.query("SELECT cause FROM rappel.history"
                           " WHERE event = 'failed'")
        self.assertEqual(len(found), 1)
        self.assertRegex(found[0][0], "^a.b$")

    def test_large_cause(self):
        harness.register(self.conninfo, "echo", load.task("echo"))
        harness.register(self.conninfo, "fail", load.task("fail"))
        given = json.dumps({"error": "E" * 5000, "cause": "\u00e9" * 100000})
        rows = self.run_all([("fail", given)])
        self.assertEqual(rows[0][0], "failed")


class Actions(BadInputTest):
    def test_action_that_nobody_serves(self):
        path = os.path.join(harness.scratch(self), "lonely.asl.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(load.task("nobody-serves-this"), file)
        pool = self.make_pool()
        pool.start().wait_running()
        harness.register(self.conninfo, "noop", load.task("noop"))
        # A warning at most: a worker may come later, or be elsewhere.
        done = self.ctl("workflow", "register", path)
        self.assertEqual(done.code, 0, done.err)
        lonely = self.start_workflow("lonely", "{}")
        other = self.start_workflow("noop", "{}")
        wait_for("the others go on", lambda: self.status_of(other)[0]
                 == "succeeded")
        wait_for("the reason is visible", lambda: "nobody-serves-this" in
                 (self.status_of(lonely)[1] or ""), 10)
        self.assertEqual(self.status_of(lonely)[0], "running")
        code, took = pool.stop()
        self.assertEqual((code, took < 1), (0, True), pool.log_tail())
        # A pool that serves it takes it, and the reason goes.
        pool.use_oracle()
        with open(os.path.join(pool.folder, "worker"),
                  encoding="utf-8") as file:
            wrapper = file.read()
        program = os.path.join(pool.folder, "serving.py")
        with open(os.path.join(pools.HERE, "oracleworker.py"),
                  encoding="utf-8") as file:
            served = file.read().replace('"fails")',
                                         '"fails", "nobody-serves-this")')
        with open(program, "w", encoding="utf-8") as file:
            file.write(served)
        with open(os.path.join(pool.folder, "worker"), "w",
                  encoding="utf-8") as file:
            file.write(re.sub(r"\S+oracleworker\.py", program, wrapper))
        pool.start().wait_running()
        wait_for("it runs", lambda: self.status_of(lonely)
                 == ("succeeded", None))

    def test_worker_program_that_cannot_start(self):
        pool = self.make_pool()
        pool.env["RAPPEL_WORKER"] = "/nonexistent/worker"
        pool.start()
        self.assert_refused(pool, EX_CONFIG, "/nonexistent/worker")

    def test_worker_program_that_dies(self):
        """Tried with back-off; the daemon lives and can be stopped."""
        pool = self.make_pool()
        pool.env["RAPPEL_WORKER"] = "/bin/false"
        pool.start()
        time.sleep(3)
        self.assertIsNone(pool.process.poll())
        spawns = sum(p["spawn"] for p in pool.status()["processes"]
                     if p["kind"] == "worker")
        self.assertLess(spawns, 2 * 12)
        self.assertNotEqual(pool.status()["phase"], "running")
        code, took = pool.stop()
        self.assertEqual((code, took < 1), (0, True), pool.log_tail())
        self.assertEqual(pool.leftovers(), [])


# A definition and the line that is to blame; None: any, 0: there is none.
MALFORMED = (
    ("not JSON", 3, '{\n  "StartAt": "A",\n  nonsense\n}'),
    ("cut off", None, '{"StartAt": "A", "States": {'),
    ("empty", 0, ""),
    ("an array", None, "[]"),
    ("no states", None, '{"StartAt": "A", "States": {}}'),
    ("no StartAt", None,
     '{"States": {"A": {"Type": "Succeed"}}}'),
    ("StartAt leads nowhere", 2,
     '{\n "StartAt": "Nowhere",\n'
     ' "States": {"A": {"Type": "Succeed"}}}'),
    ("Next leads nowhere", 5,
     '{"StartAt": "A", "States": {\n"A": {\n'
     '"Type": "Pass",\n\n"Next": "Nowhere"\n}}}'),
    ("no terminal state", None,
     '{"StartAt": "A", "States": {\n'
     '"A": {"Type": "Pass", "Next": "B"},\n'
     '"B": {"Type": "Pass", "Next": "A"}}}'),
    ("neither Next nor End", 2,
     '{"StartAt": "A", "States": {\n"A": {"Type": "Pass"}}}'),
    ("unknown type", 3,
     '{"StartAt": "A", "States": {\n"A": {\n"Type": "Dance",\n'
     '"End": true}}}'),
    ("unreachable state", 3,
     '{"StartAt": "A", "States": {\n"A": {"Type": "Succeed"},\n'
     '"B": {"Type": "Succeed"}}}'),
    ("state twice", 3,
     '{"StartAt": "A", "States": {\n"A": {"Type": "Succeed"},\n'
     '"A": {"Type": "Succeed"}}}'),
    ("bad path", 2,
     '{"StartAt": "A", "States": {"A": {"Type": "Pass",\n'
     '"InputPath": "$.[", "End": true}}}'),
    ("Task without Resource", 2,
     '{"StartAt": "A", "States": {\n"A": {"Type": "Task",'
     ' "End": true}}}'),
    ("nested too deep", None,
     '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true,'
     ' "Result": ' + "[" * 1000 + "]" * 1000 + "}}}"),
)


class Definitions(BadInputTest):
    def test_malformed(self):
        for what, line, text in MALFORMED:
            with self.subTest(what=what), tempfile.NamedTemporaryFile(
                    "w", suffix=".asl.json") as file:
                file.write(text)
                file.flush()
                for verb in ("validate", "register"):
                    begun = time.monotonic()
                    done = self.ctl("workflow", verb, file.name)
                    self.assertLess(time.monotonic() - begun, patience(2))
                    self.assertEqual(done.code, FAILED, done.err)
                    self.assertEqual(done.out, "")
                    self.assertIn(file.name, done.err)
                    if line == 0:
                        continue
                    place = re.search(re.escape(file.name) + r":(\d+)",
                                      done.err)
                    self.assertTrue(place, done.err)
                    if line is not None:
                        self.assertEqual(int(place.group(1)), line,
                                         done.err)
        self.assertEqual(self.query(
            "SELECT count(*) FROM rappel.workflow_versions"), [(0,)])

    def test_too_large(self):
        with tempfile.NamedTemporaryFile("w", suffix=".asl.json") as file:
            json.dump({"Comment": "x" * (17 << 20), "StartAt": "A",
                       "States": {"A": {"Type": "Succeed"}}}, file)
            file.flush()
            done = self.ctl("workflow", "register", file.name)
            self.assertEqual(done.code, FAILED, done.err)
            self.assertIn(file.name, done.err)

    def test_missing_file(self):
        done = self.ctl("workflow", "validate", "/nonexistent.asl.json")
        self.assertNotEqual(done.code, 0)
        self.assertIn("/nonexistent.asl.json", done.err)

    def test_definition_that_the_daemon_cannot_use(self):
        """Past the checks, by SQL: released with a visible reason."""
        self.query("SELECT rappel.register_checked('broken',"
                   " '{\"StartAt\": 1}', '{}')")
        harness.register(self.conninfo, "noop", load.task("noop"))
        broken = self.start_workflow("broken", "{}")
        good = self.start_workflow("noop", "{}")
        pool = self.make_pool()
        pool.start().wait_running()
        wait_for("the good one ends",
                 lambda: self.status_of(good)[0] == "succeeded")
        wait_for("the other has a reason", lambda: "cannot be used" in
                 (self.status_of(broken)[1] or ""))
        self.assertEqual(self.status_of(broken)[0], "waiting")
        self.query("SELECT rappel.cancel_workflow(%s)", broken)
        wait_for("a cancel needs no definition", lambda:
                 self.status_of(broken)[0] == "cancelled", 5)
        code, took = pool.stop()
        self.assertEqual((code, took < 1), (0, True), pool.log_tail())

    def test_journal_that_cannot_be_replayed(self):
        """Set aside with the reason; others are not touched."""
        harness.register(self.conninfo, "sleep", load.task("sleep"))
        harness.register(self.conninfo, "noop", load.task("noop"))
        ids = [self.start_workflow("sleep", '{"seconds": 86400}')
               for _ in range(2)]
        pool = self.make_pool()
        pool.start().wait_running()
        wait_for("they run", lambda: all(
            self.status_of(i)[0] == "running" for i in ids))
        pool.stop(signal.SIGINT)
        rows = ("[[1,0,77,1,0]]", "nonsense-kind")
        self.query("INSERT INTO rappel.action_log VALUES"
                   " (%s, 1, 1, now(), %s)", ids[0], rows[0])
        self.query("INSERT INTO rappel.action_log VALUES"
                   " (%s, 2, 1, now(), '[[1,0,1,1,0]]')", ids[1])
        good = self.start_workflow("noop", "{}")
        pool.start().wait_running()
        wait_for("the good one ends",
                 lambda: self.status_of(good)[0] == "succeeded")
        for instance in ids:
            wait_for("it is set aside", lambda i=instance:
                     self.status_of(i)[0] == "blocked")
            self.assertIn("journal", self.status_of(instance)[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)

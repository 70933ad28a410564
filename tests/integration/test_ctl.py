"""rappelctl: its commands, what they print, and their exit codes."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

import harness
from patience import patience

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
ONE = {"StartAt": "A", "States": {
    "A": {"Type": "Task", "Resource": "echo", "Next": "B"},
    "B": {"Type": "Pass", "End": True}}}
NOBODY = "018f0000-0000-7000-8000-000000000000"
cluster = None


def setUpModule():
    global cluster
    cluster = harness.Cluster()
    cluster.start()


def tearDownModule():
    cluster.remove()


class Case(unittest.TestCase):
    """A folder and a database of its own."""

    migrated = True

    def setUp(self):
        self.dir = harness.scratch(self)
        self.database = cluster.create(self._testMethodName[:60])
        self.conninfo = cluster.conninfo(self.database)
        if self.migrated:
            harness.migrate(self.conninfo)

    def ctl(self, *words, code=0, **more):
        more.setdefault("database", self.conninfo)
        done = harness.ctl(*words, **more)
        self.assertEqual(done.code, code, done)
        if code:
            self.assertTrue(done.err, done)
        return done

    def sql(self, text):
        return cluster.psql(text, self.database)

    def write(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content if isinstance(content, str)
                      else json.dumps(content))
        return path

    def begin(self, *words):
        return self.ctl("run", "start", "one", *words).out.strip()

    def end(self, instance, status, **columns):
        """As a daemon would leave a run that ended."""
        values = dict({"status": status, "error": None, "cause": None,
                       "output": None}, **columns)
        text = ", ".join(
            f"{name} = " + ("NULL" if value is None else f"$v${value}$v$")
            for name, value in values.items())
        self.sql(f"UPDATE rappel.workflow_instances SET {text}, "
                 "started_at = now(), ended_at = now() + '1.5 s' "
                 f"WHERE id = '{instance}'")


class UsageTest(unittest.TestCase):
    """What needs neither daemon nor database."""

    def check(self, words, code, said):
        done = harness.ctl(*words)
        self.assertEqual(done.code, code, done)
        self.assertIn(said, done.err)
        self.assertEqual(done.out, "")
        return done

    def test_wrong_usage(self):
        for words, said in (
                ([], "rappelctl help"),
                (["frob"], "unknown command"),
                (["stauts"], "rappelctl status"),
                (["run"], "rappelctl run start"),
                (["run", "lits"], "rappelctl run list"),
                (["run", "list", "--jsno"], "did you mean --json?"),
                (["run", "list", "--key", "x"], "takes no --key"),
                (["run", "list", "more"], '"more"'),
                (["run", "show"], "needs more"),
                (["run", "list", "--limit", "many"], "--limit many"),
                (["run", "list", "--status", "suceeded"], "succeeded?"),
                (["run", "list", "--since", "then"], "--since then"),
                (["run", "list", "-o", "xml"], "-o xml"),
                (["run", "list", "--color", "red"], "--color red"),
                (["run", "wait", "x", "--timeout", "soon"], "a duration"),
                (["run", "start", "x", "--timeout", "1s"], "--wait"),
                (["run", "start", "x", "--input", "1", "-i", "-"],
                 "exclude"),
                (["run", "start", "x", "--priority", "40000"], "32767"),
                (["run", "start", "x", "--at", "noon"], "--at noon"),
                (["workflow", "register", "-"], "--name")):
            with self.subTest(words=words):
                self.check(words, 2, said)

    def test_help(self):
        for words in (["help"], ["--help"], ["run", "start", "--help"],
                      ["help", "run", "start"], ["help", "run"]):
            with self.subTest(words=words):
                done = harness.ctl(*words)
                self.assertEqual((done.code, done.err), (0, ""), done)
                self.assertIn("run start", done.out)

    def test_version(self):
        self.assertEqual(harness.ctl("version", "--json").json["schema"], 2)
        self.assertEqual(harness.ctl("--version").out,
                         harness.ctl("version").out)

    def test_no_database(self):
        self.check(["run", "list"], 78, "no database is configured")

    def test_advice_repeats_how_it_was_found(self):
        """A command in it works as it stands."""
        folder = harness.scratch(self)
        self.check(["--dir", folder, "--database", "host=/nowhere user=it's",
                    "run", "list"], 6,
                   f": rappelctl --dir {folder} --database "
                   "'host=/nowhere user=it'\\''s' config show")
        # A password is not even tried, let alone repeated.
        done = self.check(["--database", "host=/nowhere password=hidden",
                           "workflow", "register", "-", "--name", "a b"], 2,
                          "rappelctl --database 'host=/nowhere password=***' "
                          "workflow register")
        self.assertNotIn("hidden", done.err)

    def test_every_command_is_documented(self):
        with open(os.path.join(harness.ROOT, "docs", "rappelctl.md"),
                  encoding="utf-8") as text:
            page = text.read()
        commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ",
                              harness.ctl("help").out, re.MULTILINE)
        self.assertGreater(len(commands), 20)
        for command in commands:
            self.assertIn(f"`{command}", page)
            for name in re.findall(r"--[a-z-]+",
                                   harness.ctl("help", *command.split()).out):
                self.assertIn(name, page, command)


class ConfigTest(unittest.TestCase):
    def setUp(self):
        self.dir = harness.scratch(self)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, 0o600)
        return path

    def show(self, *words, **env):
        return harness.must(harness.ctl("config", "show", "--json", *words,
                                        env=env)).json

    def test_origins(self):
        path = self.write("rappel.conf",
                          "[database]\nurl = dbname=filed password=x\n")
        found = self.show("-c", path)
        self.assertEqual(found["database"], "dbname=filed password=***")
        self.assertEqual(found["database_origin"], path)
        self.assertEqual(self.show(RAPPEL_CONFIG=path)["file"], path)
        found = self.show("--dir", self.dir)
        self.assertEqual((found["file"], found["dir"], found["dir_origin"]),
                         (path, self.dir, "--dir"))
        found = self.show("-c", path, RAPPEL_DATABASE_URL="dbname=env")
        self.assertEqual((found["database"], found["database_origin"]),
                         ("dbname=env", "RAPPEL_DATABASE_URL"))
        found = self.show("-c", path, "--database", "dbname=flag",
                          RAPPEL_DATABASE_URL="dbname=env")
        self.assertEqual((found["database"], found["database_origin"]),
                         ("dbname=flag", "--database"))

    def test_bad_file(self):
        path = self.write("bad.conf", "[pool]\nworkrs = 4\n")
        for words in (["config", "check"], ["config", "show"], ["status"],
                      ["run", "list"]):
            done = harness.ctl(*words, "-c", path)
            self.assertEqual((done.code, done.out), (78, ""), done)
            self.assertIn(f"{path}:2: ", done.err)
        self.assertEqual(harness.ctl("config", "check").code, 0)

    def test_secrets_stay_out_of_argv(self):
        done = harness.ctl("run", "list", "--database",
                           "dbname=x password=hush")
        self.assertEqual(done.code, 78, done)
        self.assertNotIn("hush", done.err)


MIGRATIONS = [{"version": 1, "name": "rappel"},
              {"version": 2, "name": "tasks"}]


class DatabaseTest(Case):
    migrated = False

    def test_migrate(self):
        done = self.ctl("db", "version", "--json", code=78)
        self.assertEqual(done.json, {"schema": 0, "supported": 2,
                                     "state": "missing"})
        done = self.ctl("db", "migrate", "--dry-run", "--json")
        self.assertEqual(done.json, {
            "schema_before": 0, "schema": 0, "pending": MIGRATIONS})
        self.assertIn("CREATE TABLE rappel.workflow_instances",
                      self.ctl("db", "migrate", "--print").out)
        self.ctl("db", "version", code=78)
        done = self.ctl("db", "migrate", "--json")
        self.assertEqual(done.json, {
            "schema_before": 0, "schema": 2, "applied": MIGRATIONS})
        self.assertEqual(self.ctl("db", "migrate", "--json").json["applied"],
                         [])
        self.assertIn("up to date", self.ctl("db", "migrate").err)
        self.assertEqual(self.ctl("db", "migrate", "-q").err, "")
        self.assertEqual(self.ctl("db", "version", "--json").json["state"],
                         "ok")

    def test_migrate_at_once(self):
        found = []

        def migrate():
            found.append(harness.ctl("db", "migrate", "--json",
                                     database=self.conninfo))

        threads = [threading.Thread(target=migrate) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([done.code for done in found], [0] * 4, found)
        self.assertEqual(sum(len(done.json["applied"]) for done in found),
                         len(MIGRATIONS))

    def test_failed_migration_leaves_nothing(self):
        self.sql("CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE "
                 "plpgsql AS $$ BEGIN IF tg_tag = 'CREATE VIEW' THEN RAISE "
                 "'no views today'; END IF; END $$; CREATE EVENT TRIGGER "
                 "refuse ON ddl_command_end EXECUTE FUNCTION refuse()")
        done = self.ctl("db", "migrate", code=1)
        self.assertIn("no views today", done.err)
        self.assertIn("rolled back", done.err)
        self.assertEqual(self.sql("SELECT count(*) FROM pg_namespace WHERE "
                                  "nspname = 'rappel'"), [["0"]])

    def test_schema_of_somebody_else(self):
        self.sql("CREATE SCHEMA rappel")
        self.assertIn("not rappel's",
                      self.ctl("db", "migrate", code=7).err)

    def test_versions(self):
        done = self.ctl("run", "list", code=78)
        self.assertIn("rappelctl db migrate", done.err)
        harness.migrate(self.conninfo)
        # The next version still works with us, the one after does not.
        self.sql("INSERT INTO rappel.migrations VALUES (3, 'later')")
        self.ctl("run", "list")
        self.assertIn("newer", self.ctl("db", "migrate", code=78).err)
        self.sql("INSERT INTO rappel.migrations VALUES (4, 'much later')")
        done = self.ctl("run", "list", code=78)
        self.assertIn("has version 4", done.err)
        self.assertIn("knows 2", done.err)

    def test_encoding(self):
        name = cluster.create("latin", "ENCODING LATIN1 LOCALE 'C' "
                              "TEMPLATE template0")
        done = self.ctl("db", "migrate", database=cluster.conninfo(name),
                        code=78)
        self.assertIn("LATIN1", done.err)

    def test_ordinary_owner(self):
        self.sql("DROP ROLE IF EXISTS joe; CREATE ROLE joe LOGIN; "
                 "ALTER DATABASE " + self.database + " OWNER TO joe")
        joe = self.conninfo.replace(f"user={cluster.user}", "user=joe")
        self.ctl("db", "migrate", database=joe)
        self.ctl("workflow", "register", self.write("one.asl.json", ONE),
                 database=joe)
        self.ctl("run", "start", "one", database=joe)
        self.ctl("db", "adopt", database=joe)
        self.sql("DROP ROLE IF EXISTS eve; CREATE ROLE eve LOGIN")
        eve = self.conninfo.replace(f"user={cluster.user}", "user=eve")
        self.ctl("run", "list", database=eve, code=5)

    def test_adopt(self):
        harness.migrate(self.conninfo)
        self.assertFalse(self.ctl("db", "adopt", "--json").json["changed"])
        self.sql("UPDATE rappel.home SET system_identifier = '1'")
        found = self.ctl("db", "adopt", "--json").json
        self.assertTrue(found["changed"])
        self.assertEqual(found["system_identifier_before"], "1")
        self.assertFalse(self.ctl("db", "adopt", "--json").json["changed"])

    def test_unreachable(self):
        for conninfo, code, said in (
                ("host=/nonexistent", 6, "/nonexistent"),
                (cluster.conninfo("nowhere"), 6, "createdb"),
                ("postgresql://127.0.0.1:1/x", 6, "refused"),
                (self.conninfo.replace(cluster.user, "nobody_here"), 5,
                 "role"),
                ("what ever", 78, "malformed"),
                ("host=/x port=abc", 78, "Correct the conninfo"),
                ("host=/x sslmode=never", 78, "Correct the conninfo"),
                ("host=a,b,c port=1,2", 78, "Correct the conninfo"),
                ("service=nowhere_at_all", 78, "Correct the conninfo"),
                ("host=/x require_auth=md5", 78, "require_auth")):
            with self.subTest(conninfo=conninfo):
                done = self.ctl("run", "list", database=conninfo, code=code)
                self.assertIn(said, done.err)
                self.assertEqual(done.out, "")


class WorkflowTest(Case):
    def test_register(self):
        path = self.write("my-flow.asl.json", ONE)
        done = self.ctl("workflow", "register", path, "--json")
        self.assertEqual(done.json, {"workflow": "my-flow", "version": 1,
                                     "new": True, "states": 2})
        done = self.ctl("workflow", "register", path, "--json")
        self.assertEqual((done.json["version"], done.json["new"]),
                         (1, False))
        path = self.write("my-flow.json", json.dumps(ONE, indent=1))
        self.assertEqual(self.ctl("workflow", "register", path).out,
                         "my-flow@2\n")
        done = self.ctl("workflow", "register", "-", "--name", "other",
                        stdin=json.dumps(ONE))
        self.assertEqual(done.out, "other@1\n")
        self.assertEqual(self.sql(
            "SELECT states FROM rappel.workflow_versions "
            "WHERE workflow = 'other'"), [["{A,B}"]])

    def test_odd_state_names(self):
        name = 'a "b", {c} \\ ü'
        self.ctl("workflow", "register", self.write("odd.json", {
            "StartAt": name, "States": {name: {"Type": "Succeed"}}}))
        self.assertEqual(
            json.loads(self.sql("SELECT to_json(states) FROM "
                                "rappel.workflow_versions")[0][0]), [name])

    def test_errors(self):
        path = self.write("bad.asl.json", '{"StartAt": "A", "States": {\n'
                          '"A": {"Type": "Task", "Next": "X"}}}')
        for command in ("register", "validate"):
            done = self.ctl("workflow", command, path, "--json", code=1)
            self.assertIn(f'{path}:2: state "A", field "', done.err)
            self.assertGreaterEqual(len(done.json["errors"]), 2)
        self.assertEqual(self.ctl("workflow", "list", "--json").json, [])
        self.ctl("workflow", "register", self.write("no good.json", ONE),
                 code=2)
        self.ctl("workflow", "register", self.dir + "/none.json", code=1)

    def test_validate_needs_no_database(self):
        path = self.write("one.json", ONE)
        done = self.ctl("workflow", "validate", path, database=None)
        self.assertEqual(done.out, "")
        done = self.ctl("workflow", "validate", path, "--json",
                        database=None)
        self.assertEqual(done.json, {"errors": [], "states": ["A", "B"]})

    def test_list_and_show(self):
        text = json.dumps(ONE, indent=3)
        path = self.write("one.json", text)
        self.ctl("workflow", "register", path)
        self.ctl("workflow", "register", path, "--name", "two")
        self.ctl("workflow", "register", self.write("v2.json", json.dumps(
            ONE)), "--name", "two")
        found = self.ctl("workflow", "list", "--json").json
        self.assertEqual([(w["workflow"], w["version"], w["versions"])
                          for w in found], [("one", 1, 1), ("two", 2, 2)])
        self.assertRegex(found[0]["created_at"], TIME)
        self.assertEqual(self.ctl("workflow", "list", "-o", "name").out,
                         "one\ntwo\n")
        found = self.ctl("workflow", "show", "two@1", "--json").json
        self.assertEqual((found["version"], found["current"],
                          found["definition"]), (1, False, ONE))
        self.assertEqual(self.ctl("workflow", "show", "one", "--asl").out,
                         text + "\n")
        self.assertIn("workflow list",
                      self.ctl("workflow", "show", "three", code=4).err)
        self.ctl("workflow", "show", "two@3", code=4)
        self.ctl("workflow", "show", "two@x", code=2)


class RunTest(Case):
    def setUp(self):
        super().setUp()
        harness.register(self.conninfo, "one", ONE)

    def test_start(self):
        done = self.ctl("run", "start", "one", "--input", '{"a": 1}')
        self.assertRegex(done.out, r"^[0-9a-f-]{36}\n$")
        done = self.ctl("run", "start", "one", "-i", "-", "--name", "N",
                        "--priority", "-5", "--json", stdin="[1,  2]")
        self.assertEqual((done.json["workflow"], done.json["status"]),
                         ("one", "queued"))
        self.assertEqual(self.sql(
            "SELECT input, name, priority FROM rappel.workflow_instances "
            "WHERE id = '" + done.json["id"] + "'"), [["[1,  2]", "N", "-5"]])

    def test_start_later(self):
        for at in ("1h", "+1h", time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))):
            found = self.ctl("run", "start", "one", "--at", at,
                             "--json").json
            self.assertEqual(found["status"], "waiting")
            self.assertRegex(found["due_at"], TIME)

    def test_start_with_key(self):
        first = self.begin("--key", "k", "--input", "1")
        self.assertEqual(self.begin("--key", "k", "--input", "1"), first)
        done = self.ctl("run", "start", "one", "--key", "k", "--input", "2",
                        code=7)
        self.assertIn(first, done.err)

    def test_start_what_is_not_there(self):
        done = self.ctl("run", "start", "two", code=4)
        self.assertIn("workflow register", done.err)
        self.ctl("run", "start", "one", "--version", "9", code=4)
        self.ctl("run", "start", "one", "--input", "{", code=1)
        self.assertEqual(self.ctl("run", "list", "--json").json, [])

    def test_list(self):
        ids = [self.begin("--input", str(n)) for n in range(5)]
        self.end(ids[0], "failed", error="E", cause="C")
        self.end(ids[1], "succeeded", output="1")

        def listed(*words):
            return self.ctl("run", "list", "-o", "name",
                            *words).out.split()

        self.assertEqual(listed(), ids[::-1])
        self.assertEqual(listed("--limit", "2"), ids[:2:-1])
        self.assertIn("more", self.ctl("run", "list", "--limit", "2").err)
        self.assertEqual(listed("--status", "failed,succeeded"),
                         ids[1::-1])
        self.assertEqual(listed("--workflow", "one", "--since", "1h",
                                "--limit", "0"), ids[::-1])
        self.assertEqual(listed("--since", "2100-01-01T00:00:00Z"), [])
        self.ctl("run", "list", "--workflow", "none", code=4)
        rows = self.ctl("run", "list", "--json").json
        self.assertEqual(len(rows), 5)
        self.assertEqual(rows[4]["error"], "E")
        self.assertEqual(rows[4]["seconds"], 1.5)
        lines = self.ctl("run", "list", "-o", "jsonl").out.splitlines()
        self.assertEqual([json.loads(line) for line in lines], rows)
        table = self.ctl("run", "list").out.splitlines()
        self.assertEqual(len(table), 6)
        self.assertEqual(len(self.ctl("run", "list",
                                      "--no-headers").out.splitlines()), 5)

    def test_show(self):
        first = self.begin("--input", '{"a": 1}')
        done = self.ctl("run", "show", first)
        self.assertIn("queued", done.out)
        self.assertIn("start rappeld", done.err)
        found = self.ctl("run", "show", first, "--json").json
        self.assertEqual((found["id"], found["input"], found["output"],
                          found["cancel_requested"]),
                         (first, {"a": 1}, None, False))
        self.assertRegex(found["created_at"], TIME)
        self.sql("UPDATE rappel.workflow_instances SET status = 'blocked', "
                 "reason = 'it kills workers'")
        self.assertIn("it kills workers", self.ctl("run", "show", first).out)

    def test_prefix(self):
        first, second = self.begin(), self.begin()
        self.assertEqual(self.ctl("run", "show", second.upper(),
                                  "--json").json["id"], second)
        common = os.path.commonprefix([first, second])
        done = self.ctl("run", "show", common, code=2)
        self.assertIn(first, done.err)
        self.assertIn(second, done.err)
        whole = second[:len(common) + 4]
        self.assertEqual(self.ctl("run", "show", whole, "--json").json["id"],
                         second)
        self.assertEqual(self.ctl(
            "run", "show", whole.replace("-", ""), "--json").json["id"],
            second)
        self.assertIn("run list", self.ctl("run", "show", NOBODY,
                                           code=4).err)
        for text in ("xyz", "", "'; DROP TABLE x --", first + "0"):
            self.ctl("run", "show", text, code=2)

    def test_history(self):
        first = self.begin()
        self.assertEqual(self.ctl("run", "history", first, "--json").json,
                         [])
        entries = [[1, 0, 1, 1, 0, None, 2, 1500, {"x": "ü\n"}],
                   [2, 5, 2, 1, 1, 3, 0, 10, "Err", "why"],
                   [3, 9, 3, 0]]
        self.sql("INSERT INTO rappel.action_log VALUES ("
                 f"'{first}', 1, 3, '2026-01-14 12:00:00.5Z', "
                 f"$j${json.dumps(entries)}$j$)")
        found = self.ctl("run", "history", first, "--json").json
        self.assertEqual(
            [(e["seq"], e["event"], e["state"]) for e in found],
            [(1, "succeeded", "A"), (2, "failed", "B"), (3, "fired", None)])
        self.assertEqual(found[0]["result"], {"x": "ü\n"})
        self.assertEqual(found[0]["run_seconds"], 0.0015)
        self.assertEqual(found[0]["at"], "2026-01-14T12:00:00.500000Z")
        self.assertEqual((found[1]["error"], found[1]["cause"],
                          found[1]["index"]), ("Err", "why", 3))
        self.assertEqual(
            len(self.ctl("run", "history", first).out.splitlines()), 4)
        self.assertEqual(self.ctl("run", "show", first,
                                  "--json").json["entries"], 3)

    def test_result(self):
        first = self.begin()
        done = self.ctl("run", "result", first, code=7)
        self.assertIn("run wait", done.err)
        self.end(first, "succeeded", output='{"b":1, "a":1}')
        self.assertEqual(self.ctl("run", "result", first).out,
                         '{"b":1, "a":1}\n')
        found = self.ctl("run", "result", first, "--json").json
        self.assertEqual((found["status"], found["output"]),
                         ("succeeded", {"b": 1, "a": 1}))
        self.end(first, "failed", error="E", cause="C")
        done = self.ctl("run", "result", first, code=8)
        self.assertEqual(done.out, "")
        self.assertIn("failed: E: C", done.err)
        done = self.ctl("run", "result", first, "--json", code=8)
        self.assertEqual((done.json["status"], done.json["error"]),
                         ("failed", "E"))

    def test_wait(self):
        first = self.begin()
        done = self.ctl("run", "wait", first, "--timeout", "100ms",
                        code=124)
        self.assertIn(f"run wait {first}", done.err)
        for status, code in (("succeeded", 0), ("failed", 8),
                             ("timed_out", 8), ("cancelled", 8)):
            self.sql("UPDATE rappel.workflow_instances "
                     "SET status = 'running'")
            timer = threading.Timer(0.3, self.end, [first, status],
                                    {"output": '"out"'})
            timer.start()
            done = self.ctl("run", "wait", first, "--timeout", "20s",
                            code=code)
            timer.join()
            self.assertEqual(done.out, "" if code else '"out"\n')
        self.ctl("run", "wait", NOBODY, code=4)

    def test_wait_survives_a_restart_of_the_server(self):
        first = self.begin()
        found = []
        thread = threading.Thread(target=lambda: found.append(harness.ctl(
            "run", "wait", first, "--timeout", "60s",
            database=self.conninfo)))
        thread.start()
        self.wait_for_session()
        cluster.restart("immediate")
        self.end(first, "succeeded", output="1")
        thread.join()
        self.assertEqual((found[0].code, found[0].out), (0, "1\n"), found)
        self.assertIn("went away", found[0].err)

    def wait_for_session(self):
        for _ in range(1000):
            if self.sql("SELECT 1 FROM pg_stat_activity WHERE "
                        "application_name = 'rappelctl' AND datname = "
                        "current_database() AND query LIKE '%reason%'"):
                return
            time.sleep(0.01)
        self.fail("rappelctl did not begin to wait")

    def test_interrupt(self):
        first = self.begin()
        with subprocess.Popen(
                [harness.program("rappelctl"), "run", "wait", first],
                env=harness.clean_env(RAPPEL_DATABASE_URL=self.conninfo),
                stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL)) as process:
            self.wait_for_session()
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
        self.assertEqual(process.returncode, 130, said)
        self.assertIn(f"rappelctl run wait {first}", said)
        self.assertEqual(self.sql("SELECT count(*) FROM rappel.commands"),
                         [["0"]])

    def test_cancel(self):
        first, second, third = (self.begin() for _ in range(3))
        self.ctl("run", "cancel", first, "--cause", "changed our mind")
        self.assertEqual(self.sql(
            "SELECT instance_id, kind, cause FROM rappel.commands"),
            [[first, "cancel", "changed our mind"]])
        self.assertTrue(self.ctl("run", "show", first,
                                 "--json").json["cancel_requested"])
        self.end(second, "succeeded", output="1")
        done = self.ctl("run", "cancel", second, code=7)
        self.assertIn("ended already", done.err)
        self.ctl("run", "cancel", NOBODY, code=4)
        done = self.ctl("run", "cancel", second, third, "--json", code=9)
        self.assertEqual([e["id"] for e in done.json], [third])
        done = self.ctl("run", "cancel", "-", "-o", "name",
                        stdin=f"{first}\n\n{third}\n")
        self.assertEqual(done.out, f"{first}\n{third}\n")

    def test_a_terminal_is_not_obeyed(self):
        first = self.begin("--name", "\x1b[31mred\x07")
        self.end(first, "failed", error="\x1b]0;title\x07", cause="x")
        for words in (["run", "list"], ["run", "show", first]):
            done = self.ctl(*words)
            self.assertNotIn("\x1b", done.out + done.err)
        done = self.ctl("run", "result", first, code=8)
        self.assertNotIn("\x1b", done.err)
        self.assertEqual(self.ctl("run", "show", first, "--json").json["name"],
                         "\x1b[31mred\x07")

    def test_color(self):
        self.begin()
        self.assertNotIn("\x1b", self.ctl("run", "list").out)
        self.assertIn("\x1b[1m",
                      self.ctl("run", "list", "--color", "always").out)


class DaemonTest(Case):
    """With a real daemon, or without one."""

    def setUp(self):
        super().setUp()
        self.pool = os.path.join(self.dir, "pool")

    def ctl(self, *words, **more):
        return super().ctl("--dir", self.pool, *words, **more)

    def start_daemon(self):
        log = open(os.path.join(self.dir, "log"), "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [harness.program("rappeld"), "--dir", self.pool, "--workers",
             "2"], env=harness.clean_env(RAPPEL_DATABASE_URL=self.conninfo),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)

        def end():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.addCleanup(end)
        begun = time.monotonic()
        while True:
            done = harness.ctl("--dir", self.pool, "status", "--json")
            if done.code == 0 and done.json["phase"] == "running":
                return process
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic() - begun, patience(30), done)
            time.sleep(0.05)

    def test_no_daemon(self):
        for command in ("status", "ping", "stop", "drain"):
            done = self.ctl(command, code=3)
            self.assertIn("no daemon runs", done.err)
            self.assertIn(self.pool, done.err)
            self.assertEqual(done.out, "")
        # A socket that nobody listens on any more is no daemon either.
        os.mkdir(self.pool)
        import socket  # pylint: disable=import-outside-toplevel
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(self.pool + "/control.sock")
        self.ctl("status", code=3)

    def test_something_else_listens(self):
        import socket  # pylint: disable=import-outside-toplevel
        os.mkdir(self.pool)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.pool + "/control.sock")
            server.listen()

            def answer():
                client, _ = server.accept()
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    client.recv(1000)
            thread = threading.Thread(target=answer)
            thread.start()
            done = self.ctl("ping", code=1)
            thread.join()
        self.assertIn("no rappel daemon", done.err)

    def test_life(self):
        process = self.start_daemon()
        self.ctl("ping")
        found = self.ctl("status", "--json").json
        self.assertEqual(found["pid"], process.pid)
        self.assertRegex(found["since"], r"^\d{4}-.*Z$")
        kinds = [p["kind"] for p in found["processes"]]
        self.assertEqual(kinds.count("worker"), 2)
        self.assertEqual(kinds.count("flusher"), 1)
        self.assertNotIn("_us", json.dumps(found["processes"]))
        table = self.ctl("status").out
        self.assertIn("running since", table)
        self.assertRegex(table, r"(?m)^worker +native +1 ")

        path = self.write("one.asl.json", ONE)
        self.assertNotIn("warning", self.ctl("workflow", "register",
                                             path).err)
        done = self.ctl("run", "start", "one", "--input", '{"x":1}',
                        "--wait", "--timeout", "20s")
        self.assertEqual(done.out, '{"x":1}\n')
        odd = dict(ONE, States=dict(ONE["States"], A={
            "Type": "Task", "Resource": "arn:x:unheard-of", "Next": "B"}))
        done = self.ctl("workflow", "register", self.write("odd.json", odd))
        self.assertIn('state "A": no worker here serves the action '
                      '"unheard-of"', done.err)
        waiting = self.ctl("run", "start", "odd").out.strip()
        self.ctl("run", "cancel", waiting, "--cause", "never mind")
        done = self.ctl("run", "wait", waiting, "--timeout", "20s", code=8)
        self.assertIn("was cancelled: never mind", done.err)

        self.ctl("drain")
        self.assertIsNone(process.poll())
        self.ctl("stop", "--timeout", "30s")
        self.assertIsNotNone(process.poll())
        self.assertEqual(process.returncode, 0)
        self.ctl("stop", code=3)

    def test_stop_waits_and_detaches(self):
        process = self.start_daemon()
        harness.register(self.conninfo, "nap", {
            "StartAt": "A", "States": {"A": {
                "Type": "Task", "Resource": "sleep", "End": True}}})
        self.ctl("run", "start", "nap", "--input", '{"seconds": 300}')
        for _ in range(500):
            if self.sql("SELECT 1 FROM rappel.workflow_instances "
                        "WHERE status = 'running'"):
                break
            time.sleep(0.01)
        time.sleep(0.2)
        done = self.ctl("stop", "--timeout", "300ms", code=124)
        self.assertIn("stop --now", done.err)
        self.assertIsNone(process.poll())
        self.ctl("stop", "--now", "--timeout", "10s")
        self.assertIsNotNone(process.poll())


if __name__ == "__main__":
    unittest.main()

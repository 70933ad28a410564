"""rappel.client over connections of every kind, on a real PostgreSQL without
a pool: the tests end runs themselves."""

import asyncio
import datetime
import json
import subprocess
import sys
import unittest
import uuid

import realpool
from realpool import databasecase, fakes

import psycopg
import psycopg.rows
import psycopg2
import psycopg2.extras

from rappel import client
from rappel.client import aio

tearDownModule = databasecase.tear_down

UTC = datetime.timezone.utc


def setUpModule():
    databasecase.set_up()
    databasecase.cluster.create("client")
    realpool.harness.migrate(databasecase.cluster.conninfo("client"))


class Importing(unittest.TestCase):
    def test_it_needs_neither_the_worker_nor_a_driver(self):
        found = subprocess.run(
            [sys.executable, "-B", "-c", "import rappel.client, sys; "
             "print(*sorted(sys.modules))"],
            env=fakes.environment(), stdout=subprocess.PIPE, check=True,
            encoding="utf-8").stdout.split()
        for name in ("msgpack", "psycopg", "psycopg2", "asyncio",
                     "rappel.worker", "rappel._wire", "rappel._inline"):
            self.assertNotIn(name, found)


class Client(realpool.PoolCase):
    """With psycopg 3; below the same with others."""

    def connect(self):
        return psycopg.connect(self.conninfo)

    def setUp(self):
        # One database for all of them: making one takes half a second.
        self.conninfo = databasecase.cluster.conninfo("client")
        self.connection = psycopg2.connect(self.conninfo)
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        for table in ("workflow_instances", "commands", "idempotency_keys",
                      "workflows", "workflow_versions"):
            self.query(f"DELETE FROM rappel.{table}")
        self.register("w", realpool.task("echo"))
        self.conn = self.connect()
        self.addCleanup(self.conn.close)

    def end(self, run, status="succeeded", output=None, error=None,
            cause=None):
        self.query("UPDATE rappel.workflow_instances SET status = %s,"
                   " output = %s::json, error = %s, cause = %s,"
                   " ended_at = now() WHERE id = %s::uuid", status,
                   None if output is None else json.dumps(output), error,
                   cause, run)

    def started(self, **more):
        run = client.start(self.conn, "w", {"a": 1}, **more)
        self.conn.commit()
        return run

    def test_start_is_the_transactions(self):
        run = client.start(self.conn, "w", {"order": 17})
        self.assertEqual(self.query("SELECT count(*) FROM rappel.instances"),
                         [(0,)])
        self.conn.commit()
        self.assertEqual(self.query(
            "SELECT id::text, input::text FROM rappel.instances"),
            [(run, '{"order":17}')])
        client.start(self.conn, "w")
        self.conn.rollback()
        self.assertEqual(self.query("SELECT count(*) FROM rappel.instances"),
                         [(1,)])

    def test_start_with_everything(self):
        self.register("w", realpool.task("noop"))
        at = datetime.datetime(2100, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        run = self.started(key="k", priority=-5, start_at=at, name="Åsa's",
                           version=1)
        found = client.status(self.conn, uuid.UUID(run))
        self.assertEqual(
            (found.id, found.workflow, found.version, found.status,
             found.priority, found.name, found.due_at, found.has_ended,
             found.started_at), (run, "w", 1, "waiting", -5, "Åsa's", at,
                                 False, None))
        again = self.started(key="k")
        self.assertEqual(again, run)
        with self.assertRaises(client.Conflict) as caught:
            client.start(self.conn, "w", {"a": 2}, key="k")
        self.assertIn('key "k" of workflow "w" was used', str(caught.exception))

    def test_inputs_pass_exactly(self):
        for value in ([2**64 - 1, -2**63, 0.1, 1e300, -0.0],
                      {"ä\u2028😀": "\u0001\"\\%s %(x)s"}, "x" * 200 * 1024,
                      [], False, "a\0b"):
            run = client.start(self.conn, "w", value)
            self.conn.commit()
            text = self.query("SELECT input::text FROM rappel.instances"
                              " WHERE id = %s::uuid", run)[0][0]
            self.assertEqual(json.dumps(json.loads(text)), json.dumps(value))
            self.end(run, output=value)
            self.assertEqual(json.dumps(client.result(self.conn, run)),
                             json.dumps(value))

    def test_start_many(self):
        runs = client.start_many(self.conn, "w", ({"n": n} for n in range(50)))
        self.conn.commit()
        self.assertEqual(self.query(
            "SELECT id::text FROM rappel.instances"
            " ORDER BY (input ->> 'n')::int"), [(run,) for run in runs])
        keyed = client.start_many(self.conn, "w", [1, 2], keys=["a", "b"])
        self.assertEqual(keyed, client.start_many(self.conn, "w", [1, 2],
                                                  keys=["a", "b"]))
        self.assertEqual(client.start_many(self.conn, "w", []), [])
        with self.assertRaisesRegex(client.InvalidRequest, "1 keys for 2"):
            client.start_many(self.conn, "w", [1, 2], keys=["a"])

    def test_arguments_that_are_none(self):
        for what, call in (
                ("input: .*a bytes", lambda: client.start(
                    self.conn, "w", b"x")),
                (r"inputs\[1\]: \$ is nan", lambda: client.start_many(
                    self.conn, "w", [1, float("nan")])),
                ("has no time zone", lambda: client.start(
                    self.conn, "w", start_at=datetime.datetime(2030, 1, 1))),
                ("'17' is no id of a run", lambda: client.status(
                    self.conn, "17"))):
            with self.assertRaisesRegex(client.InvalidRequest, what):
                call()
        # None of these has reached the server, which would have broken the
        # transaction. These do:
        for kind, what, call in (
                (client.InvalidRequest, "priority 40000 is not within",
                 lambda: client.start(self.conn, "w", priority=40000)),
                (client.NotFound, r'workflow "nothing" is not registered '
                 r"\(Register it: rappelctl",
                 lambda: client.start(self.conn, "nothing")),
                (client.NotFound, "there is no instance",
                 lambda: client.cancel(self.conn, uuid.UUID(int=1)))):
            with self.assertRaisesRegex(kind, what):
                call()
            self.conn.rollback()
        for call in (client.status, client.result, client.history,
                     client.wait):
            with self.assertRaisesRegex(client.NotFound, "there is no run"):
                call(self.conn, uuid.UUID(int=1))

    def test_result(self):
        run = self.started()
        with self.assertRaisesRegex(client.NotEnded, "it is queued"):
            client.result(self.conn, run)
        self.end(run, "failed", error="Card", cause="declined")
        with self.assertRaises(client.RunFailed) as caught:
            client.result(self.conn, run)
        failed = caught.exception
        self.assertEqual((failed.id, failed.status, failed.error,
                          failed.cause), (run, "failed", "Card", "declined"))
        self.assertEqual(str(failed), f"run {run} failed: Card: declined")

    def test_wait(self):
        run = self.started()
        with self.assertRaisesRegex(TimeoutError, "still queued after 0.1 s"):
            client.wait(self.conn, run, timeout=0.1)
        self.assertTrue(client._driver.is_idle(self.conn))
        self.end(run, output=5)
        self.assertEqual(client.wait(self.conn, run).status, "succeeded")
        self.assertTrue(client._driver.is_idle(self.conn))

    def test_wait_keeps_an_open_transaction(self):
        run = self.started()
        self.conn.cursor().execute("CREATE TABLE mine (a int)")
        self.addCleanup(self.query, "DROP TABLE mine")
        with self.assertRaises(TimeoutError):
            client.wait(self.conn, run, timeout=0.05)
        self.end(run)
        self.assertTrue(client.wait(self.conn, run, timeout=20).has_ended)
        self.conn.commit()
        self.assertEqual(self.query("SELECT count(*) FROM mine"), [(0,)])

    def test_wait_that_could_only_last_for_ever(self):
        run = client.start(self.conn, "w")
        with self.assertRaisesRegex(client.InvalidRequest, "has not committ"):
            client.wait(self.conn, run)
        self.conn.cursor().execute("SAVEPOINT s")
        run = client.start(self.conn, "w")
        with self.assertRaisesRegex(client.InvalidRequest, "has not committ"):
            client.wait(self.conn, run)
        self.conn.commit()
        cursor = self.conn.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with self.assertRaisesRegex(client.InvalidRequest, "isolation level"):
            client.wait(self.conn, run)

    def test_cancel_and_history(self):
        run = self.started()
        self.assertEqual(client.history(self.conn, run), [])
        self.assertIs(client.cancel(self.conn, run, "no longer"), True)
        self.conn.commit()
        self.assertEqual(self.query("SELECT kind, cause FROM rappel.commands"),
                         [("cancel", "no longer")])
        self.end(run, "cancelled")
        self.assertIs(client.cancel(self.conn, run), False)

    def test_other_errors_pass(self):
        self.conn.close()
        with self.assertRaises((psycopg.Error, psycopg2.Error)):
            client.start(self.conn, "w")


class DictRows(Client):
    def connect(self):
        return psycopg.connect(self.conninfo,
                               row_factory=psycopg.rows.dict_row)


class Psycopg2(Client):
    def connect(self):
        return psycopg2.connect(self.conninfo)


class RealDictRows(Client):
    def connect(self):
        return psycopg2.connect(
            self.conninfo, cursor_factory=psycopg2.extras.RealDictCursor)


class Autocommit(Client):
    """What is left of it where every statement is a transaction."""

    def connect(self):
        conn = super().connect()
        conn.autocommit = True
        return conn

    test_start_is_the_transactions = None
    test_wait_keeps_an_open_transaction = None
    test_wait_that_could_only_last_for_ever = None


class NoSchema(realpool.PoolCase):
    def test_both_drivers(self):
        self.query("DROP SCHEMA rappel CASCADE")
        for driver in (psycopg, psycopg2):
            conn = driver.connect(self.conninfo)
            self.addCleanup(conn.close)
            with self.assertRaisesRegex(client.SchemaMissing, "db migrate"):
                client.start(conn, "w")
            conn.rollback()
            with self.assertRaises(client.SchemaMissing):
                client.status(conn, uuid.UUID(int=1))


class Async(realpool.PoolCase):
    def test_all_of_it(self):
        self.register("w", realpool.task("echo"))
        asyncio.run(self.steps())

    async def steps(self):
        async with await psycopg.AsyncConnection.connect(
                self.conninfo) as conn:
            run = await aio.start(conn, "w", {"a": 1}, key="k")
            with self.assertRaises(client.InvalidRequest):
                await aio.wait(conn, run)
            await conn.commit()
            with self.assertRaises(TimeoutError):
                await aio.wait(conn, run, timeout=0.05)
            self.assertTrue(client._driver.is_idle(conn))
            self.assertEqual((await aio.status(conn, run)).status, "queued")
            runs = await aio.start_many(conn, "w", [1, 2])
            self.assertEqual(len(runs), 2)
            await conn.commit()
            self.assertEqual(await aio.history(conn, run), [])
            self.assertIs(await aio.cancel(conn, run), True)
            await conn.commit()
            self.query("UPDATE rappel.workflow_instances SET status ="
                       " 'succeeded', output = '[1]'")
            self.assertEqual((await aio.wait(conn, run)).status, "succeeded")
            self.assertEqual(await aio.result(conn, run), [1])
            with self.assertRaises(client.NotFound):
                await aio.start(conn, "nothing")


if __name__ == "__main__":
    unittest.main()

"""A server for a file of tests, a database for each of them.

    setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down

    class Some(databasecase.DatabaseCase): ...
"""

import unittest

import harness

cluster = None


def set_up():
    global cluster
    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()


def tear_down():
    cluster.remove()


class DatabaseCase(unittest.TestCase):
    """self.conninfo leads to a database with the schema, self.connection is
    there, each statement its own transaction."""

    def setUp(self):
        self.database = cluster.create(self._testMethodName)
        self.conninfo = cluster.conninfo(self.database)
        harness.migrate(self.conninfo)
        self.connection = cluster.connect(self.database)
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)

    def query(self, text, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def statuses(self):
        return dict(self.query("SELECT status, count(*)"
                               " FROM rappel.instances GROUP BY 1"))

"""rappeld --dev: a private PostgreSQL that lives with the daemon."""

import os
import signal
import subprocess
import time
import unittest

from patience import patience
from supervised import (DRAIN, STATUS, WORKING, Case, wait_for)


def postgres_bin():
    """Where --dev finds it; None when PostgreSQL is not installed."""
    found = [int(v) for v in os.listdir("/usr/lib/postgresql")
             if v.isdigit()] if os.path.isdir("/usr/lib/postgresql") else []
    return found and f"/usr/lib/postgresql/{max(found)}/bin"


CTL = """#!/bin/sh
echo "$@" >> "$RAPPEL_TEST_RECORD"
exec {bin}/psql -X -q -d "$RAPPEL_DATABASE_URL" \\
    -c 'create table if not exists migrated (n int)' > /dev/null || exit 6
"""


@unittest.skipIf(not postgres_bin(), "PostgreSQL is not installed")
class Dev(Case):

    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o711)
        self.ctl = os.path.join(self.folder, "ctl")
        self.record = os.path.join(self.folder, "record")
        self.write_ctl(CTL.format(bin=postgres_bin()))
        del self.env["RAPPEL_DATABASE_URL"]
        self.env.update(RAPPEL_CTL=self.ctl, RAPPEL_TEST_RECORD=self.record)

    def write_ctl(self, text):
        with open(self.ctl, "w", encoding="utf-8") as script:
            script.write(text)
        os.chmod(self.ctl, 0o755)

    def psql(self, database, sql):
        return subprocess.run(
            [postgres_bin() + "/psql", "-XAtq", "-d", database, "-c", sql],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            timeout=20, check=False).stdout.strip()

    def dev(self):
        self.start("--dev")
        peer, about = self.flusher(60)
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.hellos(peer)
        return peer, about

    def test_cluster_lives_with_the_daemon(self):
        peer, about = self.dev()
        database = about["env"]["RAPPEL_DATABASE_URL"]
        self.assertNotIn("PGHOST", about["env"])
        self.assertIn("--dev", about["argv"])
        self.assertEqual(self.psql(database, "select count(*) from migrated"),
                         "0")
        self.assertEqual(self.psql(
            database, "select current_setting('fsync') || "
            "current_setting('synchronous_commit') || "
            "current_setting('listen_addresses')"), "onon")
        with open(self.dir + "/rappel.conf", encoding="utf-8") as text:
            conf = text.read()
        self.assertIn(f'url = "{database}"', conf)
        self.assertIn(f'#     rappeld --dev --dir "{self.dir}" -c FILE\n',
                      conf)
        with open(self.record, encoding="utf-8") as text:
            self.assertEqual(text.read(),
                             f"--dir {self.dir} db migrate --quiet\n")
        self.wait_phase("running")
        self.assertEqual(self.process_of("postgres")["phase"], "ready")
        self.assertEqual(self.status()["dev"], True)

        # It dies: it is started again, and nobody else has to be.
        os.kill(self.process_of("postgres")["pid"], signal.SIGKILL)
        wait_for("postgres is back",
                 lambda: self.psql(database, "select 1") == "1", 20)
        wait_for("and known to be", lambda:
                 self.process_of("postgres")["phase"] == "ready")
        self.assertEqual(self.process_of("flusher")["restarts"], 0)

        self.psql(database, "insert into migrated values (7)")
        self.signal(signal.SIGTERM)
        peer.expect(DRAIN)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)
        self.assertEqual(sorted(os.listdir(self.dir)),
                         ["lock", "pg", "pg-socket", "pg.log",
                          "rappel.conf"])
        self.assertEqual(os.listdir(self.dir + "/pg-socket"), [])

        # Again, and killed with all its children at their own pace.
        begun = time.monotonic()
        peer, _ = self.dev()
        self.assertLess(time.monotonic() - begun, patience(5))
        self.assertEqual(self.psql(database, "select n from migrated"), "7")
        self.process.kill()
        self.process.wait()
        self.start("--dev")
        peer, _ = self.flusher(30)
        self.assertEqual(self.psql(database, "select n from migrated"), "7")
        os.remove(self.dir + "/rappel.conf")
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

        # A postmaster that outlived its daemon is stopped, not trusted.
        user = {"user": "postgres"} if os.geteuid() == 0 else {}
        stray = subprocess.Popen(
            [postgres_bin() + "/postgres", "-D", self.dir + "/pg", "-k",
             self.dir + "/pg-socket", "-c", "listen_addresses="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            **user)
        wait_for("the stray one answers",
                 lambda: self.psql(database, "select 1") == "1")
        self.start("--dev")
        peer, _ = self.flusher(30)
        self.assertIsNotNone(stray.wait(5))
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

    def test_term_while_the_cluster_is_made(self):
        for pause in (0.1, 0.5, 1.2):
            self.start("--dev", "--shutdown-grace", "100ms")
            time.sleep(pause)
            self.signal(signal.SIGTERM)
            # 1 if the flusher was there already: it is not told to go.
            code, seconds = self.exited(12)
            self.assertIn(code, (0, 1, -signal.SIGTERM))
            self.assertLess(seconds, patience(6))
        # On a quick machine one of them got as far as its flusher.
        self.forget_flushers()
        # What was half made is no obstacle.
        peer, _ = self.dev()
        self.signal(signal.SIGINT)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(10)[0], 0)

    def test_migration_that_fails(self):
        self.write_ctl("#!/bin/sh\necho 'no, not this' >&2\nexit 1\n")
        self.env["RAPPEL_DATABASE_URL"] = "host=/nowhere dbname=x"
        self.start("--dev")
        self.assertEqual(self.exited(10)[0], 78)
        self.assertIn("no, not this", self.log())
        self.assertFalse(os.path.exists(self.dir + "/pg"))


if __name__ == "__main__":
    unittest.main()

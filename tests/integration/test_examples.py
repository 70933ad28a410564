"""The example that needs workers in four languages, side by side in groups
under one daemon, and README.md's first workflow: as a reader would type what
stands there. Each language's own example has its test beside it."""

import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import unittest

import databasecase
import documents
import harness
from pool import Pool, wait_for

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down
PAGES = {
    "/": "<a href='/lamps'>lamps</a> <a href=\"/gone\">gone</a>",
    "/lamps": "all sold",
}


class Page(http.server.BaseHTTPRequestHandler):
    """The shop, on this machine alone."""

    def do_GET(self):
        text = PAGES.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "no such page").encode())

    do_HEAD = do_GET

    def log_message(self, format, *args):
        pass


def ppm(path, width, height):
    with open(path, "wb") as out:
        out.write(b"P6 %d %d 255\n" % (width, height))
        out.write(bytes(n % 256 for n in range(width * height * 3)))


@unittest.skipUnless(shutil.which("gm") and shutil.which("node"),
                     "needs the programs gm and node (scripts/setup --full)")
class FourLanguages(unittest.TestCase):

    def serve(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    def tree(self, folder):
        """A source tree with a build folder, in which nothing is ours."""
        tree = os.path.join(folder, "tree")
        os.makedirs(os.path.join(tree, "build"))
        for name in ("examples", "sdk"):
            os.symlink(os.path.join(harness.ROOT, name),
                       os.path.join(tree, name))
        for name in ("ctl", "supervisor", "meson-uninstalled"):
            os.symlink(os.path.join(harness.build_dir(), name),
                       os.path.join(tree, "build", name))
        return tree

    def start_pool(self, folder):
        """By the lines of examples/README.md; the pool and its folder are
        the test's."""
        pool = Pool("", 0)
        self.addCleanup(pool.remove)
        os.chmod(pool.folder, 0o711)
        del pool.env["RAPPEL_DATABASE_URL"]
        pool.env["RAPPEL_DEV_DIR"] = pool.dir
        self.lines = documents.blocks("examples/README.md")
        script = "\n".join(self.block(words) for words in (
            "export PATH=", "meson setup build/hash-chain", "rappeld --dev"))
        script = script.replace("/tmp/", folder + "/").replace(
            "\nrappeld --dev", f"\nexec rappeld --dev --dir {pool.dir}")
        with open(pool.log_path, "ab") as log:
            pool.process = subprocess.Popen(
                ["/bin/bash", "-euc", script], env=pool.env,
                cwd=self.tree(folder), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        pool.sessions.append(pool.process.pid)

        def ready():
            self.assertIsNone(pool.process.poll(), pool.log_tail(40))
            status = pool.status()
            groups = status.get("groups") or []
            return (status.get("phase") == "running" and len(groups) == 5 and
                    all(group["ready"] == group["workers"]
                        for group in groups))
        try:
            wait_for("all groups are ready", ready, 60)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{pool.log_tail(40)}") from None
        return pool

    def block(self, words):
        return documents.block_with(self.lines, words)

    def test_shop_report(self):
        folder = harness.scratch(self)
        photos, sales = (os.path.join(folder, name)
                         for name in ("photos", "sales"))
        os.mkdir(photos)
        os.mkdir(sales)
        for n in range(3):
            ppm(os.path.join(photos, f"lamp{n}.ppm"), 200 + n, 100)
        with open(os.path.join(photos, "torn.png"), "wb") as out:
            out.write(b"no picture")
        with open(os.path.join(sales, "may.csv"), "w",
                  encoding="utf-8") as out:
            out.write("item,price\nlamp,5\nsofa,7.5\n")
        with open(os.path.join(sales, "torn.csv"), "wb") as out:
            out.write(b"item,price\nlamp\n")
        pool = self.start_pool(folder)
        page = self.serve()
        script = self.block("export PATH=") + "\n" + self.block(
            "run start shop-report")
        for theirs, ours in (("/tmp/", folder + "/"), ("/srv/", folder + "/"),
                             ("http://127.0.0.1:8080/", page)):
            self.assertIn(theirs, script)
            script = script.replace(theirs, ours)
        done = subprocess.run(
            ["/bin/bash", "-euc", script], env=pool.env,
            cwd=os.path.join(folder, "tree"), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", timeout=60, check=False)
        self.assertEqual(done.returncode, 0,
                         f"{done.stderr}\n{pool.log_tail(40)}")
        found = json.loads(done.stdout.split("\n", 1)[1])
        self.assertEqual([one["name"] for one in found["thumbnails"]],
                         ["lamp0.ppm", "lamp1.ppm", "lamp2.ppm", "torn.png"])
        for one in found["thumbnails"][:3]:
            with open(one["thumbnail"], "rb") as image:
                self.assertEqual(image.read(8), b"\x89PNG\r\n\x1a\n")
        self.assertIsNone(found["thumbnails"][3]["thumbnail"])
        self.assertIn("may.csv", json.dumps(found["tables"]))
        self.assertIn("Ragged", json.dumps(found["tables"]))
        self.assertIn(page + "gone", json.dumps(found["links"]))
        digest = b"any text"
        for _ in range(20000):
            digest = hashlib.sha256(digest).digest()
        self.assertEqual(found["seal"], digest.hex())
        # Each language's workers serve their own share: said once a second.
        wanted = {"commands": "thumbnail", "tables": "csv.summary",
                  "links": "find-links", "chain": "hash-chain"}

        def served():
            groups = {group["name"]: group["actions"] for group in
                      pool.status()["flusher"]["groups"]}
            return all(action in groups[name]
                       for name, action in wanted.items())
        wait_for("the status names what each group serves", served, 5)
        self.assertEqual(pool.stop()[0], 0, pool.log_tail(40))
        self.assertEqual(pool.processes(), {})


class ReadMe(databasecase.DatabaseCase):

    def test_start_in_a_transaction(self):
        found = documents.blocks("README.md")
        harness.register(self.conninfo, "ship", documents.block_with(found, "StartAt"))
        sql = documents.block_with(found, "rappel.start_workflow")
        make, start, look = re.split("(?=BEGIN;)|COMMIT;", sql)
        pool = Pool(self.conninfo, 1)
        self.addCleanup(pool.remove)
        pool.start().wait_running()
        cluster = databasecase.cluster
        cluster.psql(make, self.database)
        cluster.psql(start + "ROLLBACK;", self.database)
        self.assertEqual(self.statuses(), {})
        cluster.psql(start + "COMMIT;", self.database)
        wait_for("it is shipped",
                 lambda: self.statuses() == {"succeeded": 1})
        instances, history = look.split(";")[:2]
        self.assertEqual(self.query(instances)[0][1:],
                         ("succeeded", "shipped 17"))
        self.assertEqual([row[1:5] for row in self.query(history)],
                         [("succeeded", "Ship", 1, "shipped 17")])


if __name__ == "__main__":
    unittest.main(verbosity=2)

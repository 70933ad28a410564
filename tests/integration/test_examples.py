"""The example that needs workers in four languages, side by side in groups
under one daemon. Each language's own example has its test beside it."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import unittest

import databasecase
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
class FourLanguages(databasecase.DatabaseCase):

    def serve(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    def start_pool(self, folder):
        plugin = os.path.join(folder, "hash-chain.so")
        examples = os.path.join(harness.ROOT, "examples")
        subprocess.run(
            [*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-O2",
             "-I", os.path.join(harness.ROOT, "worker", "include"), "-o",
             plugin, os.path.join(examples, "c", "hash-chain",
                                  "hash_chain.c"), "-lnettle"], check=True)
        with open(os.path.join(examples, "shop-report.conf"),
                  encoding="utf-8") as text:
            conf = text.read()
        conf = conf.replace("/srv/rappel/hash-chain.so", plugin).replace(
            "/srv/rappel", harness.ROOT)
        path = os.path.join(folder, "rappel.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(conf)
        os.chmod(path, 0o600)
        pool = Pool(self.conninfo, 0)
        self.addCleanup(pool.remove)
        pool.env["RAPPEL_CONFIG"] = path
        pool.start()

        def ready():
            groups = pool.status().get("groups") or []
            return len(groups) >= 4 and all(
                group["ready"] == group["workers"] for group in groups)
        try:
            wait_for("all groups are ready", ready, 30)
        except AssertionError as why:
            raise AssertionError(f"{why}\n{pool.log_tail(40)}") from None
        return pool

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
        with open(os.path.join(harness.ROOT, "examples",
                               "shop-report.asl.json"),
                  encoding="utf-8") as text:
            harness.register(self.conninfo, "shop-report", text.read())
        page = self.serve()
        done = harness.ctl(
            "run", "start", "shop-report", "--wait", "--timeout", "60s",
            "--json", "--input", json.dumps({
                "photos": photos, "small": os.path.join(folder, "small"),
                "sales": sales, "page": page, "seal": "a seal"}),
            database=self.conninfo)
        self.assertEqual(done.json.get("status"), "succeeded",
                         f"{done.json}\n{pool.log_tail(40)}")
        found = done.json["output"]
        self.assertEqual([one["name"] for one in found["thumbnails"]],
                         ["lamp0.ppm", "lamp1.ppm", "lamp2.ppm", "torn.png"])
        for one in found["thumbnails"][:3]:
            with open(one["thumbnail"], "rb") as image:
                self.assertEqual(image.read(8), b"\x89PNG\r\n\x1a\n")
        self.assertIsNone(found["thumbnails"][3]["thumbnail"])
        self.assertIn("may.csv", json.dumps(found["tables"]))
        self.assertIn("Ragged", json.dumps(found["tables"]))
        self.assertIn(page + "gone", json.dumps(found["links"]))
        digest = b"a seal"
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
        self.assertEqual(pool.leftovers(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

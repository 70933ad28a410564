"""examples/python/csv_summary.py: its actions one by one, and its workflow
in a real pool with real files."""

import math
import os
import sys
import tempfile
import shutil
import unittest

import realpool
from realpool import databasecase, harness

EXAMPLES = os.path.join(harness.ROOT, "examples")
sys.path.insert(0, os.path.join(EXAMPLES, "python"))

import csv_summary  # noqa: E402
from rappel.testing import ActionFailed, attempt, run  # noqa: E402

setUpModule, tearDownModule = databasecase.set_up, databasecase.tear_down

FILES = {
    "a lamp.csv": b"sku,price,count\nlamp,1.5,2\nbulb,,3\n\n",
    "big.CSV": b"n,half\n" + b"".join(b"%d,%d.5\n" % (n, n)
                                      for n in range(2500)),
    "empty.csv": b"",
    "heading only.csv": b"\xef\xbb\xbfa,b\n",
    "latin1.csv": b"name\ncaf\xe9\n",
    "ragged.csv": b"a,b\n1,2\n3\n",
    "\u00fc \u2028.csv": 'größe,"zwei\nzeilen"\n9007199254740993,1e400\n'
    "-1,2\n".encode(),
    "notes.txt": b"not,looked,at\n",
}


def make_folder(test):
    folder = tempfile.mkdtemp(prefix="rappel-csv-")
    test.addCleanup(shutil.rmtree, folder)
    for name, content in FILES.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    return folder


class Actions(unittest.TestCase):
    def test_list(self):
        folder = make_folder(self)
        self.assertEqual(
            [os.path.basename(path)
             for path in run(csv_summary.list_files, {"folder": folder})],
            sorted(set(FILES) - {"notes.txt"}))
        with self.assertRaises(ActionFailed) as caught:
            run(csv_summary.list_files, {"folder": "/no/such"})
        self.assertEqual(caught.exception.name, "NoFolder")
        self.assertTrue(caught.exception.matches("CsvError"))

    def test_summary(self):
        folder = make_folder(self)
        got = run("csv.summary", os.path.join(folder, "a lamp.csv"))
        self.assertEqual(got, {
            "file": "a lamp.csv", "rows": 2, "error": None, "columns": [
                {"name": "sku", "empty": 0, "min": None, "max": None,
                 "mean": None},
                {"name": "price", "empty": 1, "min": 1.5, "max": 1.5,
                 "mean": 1.5},
                {"name": "count", "empty": 0, "min": 2, "max": 3,
                 "mean": 2.5}]})
        big = attempt("csv.summary", os.path.join(folder, "big.CSV"))
        self.assertEqual(big.heartbeats, [{"rows": 1000}, {"rows": 2000}])
        self.assertEqual(big.result["columns"][0]["mean"], 1249.5)
        for name, error in (("latin1.csv", "NotText"),
                            ("ragged.csv", "Ragged"),
                            ("gone.csv", "Unreadable")):
            failed = attempt("csv.summary", os.path.join(folder, name)).error
            self.assertEqual((failed.name, failed.kinds[0]),
                             (error, "CsvError"))
        self.assertIn("line 3 has 1 cells, the heading 2", attempt(
            "csv.summary", os.path.join(folder, "ragged.csv")).error.cause)

    def test_numbers(self):
        for text, wanted in (("1", 1), ("-0.5", -0.5), ("1e3", 1000.0),
                             ("nan", None), ("inf", None), ("1_000", None),
                             ("", None), ("x", None), ("1e400", None),
                             (str(2**63), float(2**63)),
                             ("9" * 400, None)):
            self.assertEqual(csv_summary.number(text), wanted)
        cells = csv_summary.Cells("x")
        for _ in range(4):
            cells.add("1.7e308")
        self.assertTrue(math.isclose(cells.summary().mean, 1.7e308))


class Workflow(realpool.PoolCase):
    modules = ["csv_summary"]
    paths = (os.path.join(EXAMPLES, "python"),)

    def test_it(self):
        folder = make_folder(self)
        self.pool(workers=2)
        with open(os.path.join(EXAMPLES, "csv-summary.asl.json"),
                  encoding="utf-8") as text:
            self.register("csv-summary", text.read())
        status, report, error, cause = self.wait(
            self.start("csv-summary", {"folder": folder}))
        self.assertEqual(status, "succeeded", (error, cause))
        self.assertEqual((report["files"], report["rows"]), (5, 2504))
        self.assertEqual(report["failed"], {
            os.path.join(folder, "latin1.csv"): "NotText",
            os.path.join(folder, "ragged.csv"): "Ragged"})
        last = report["summaries"][-1]
        self.assertEqual(last["file"], "\u00fc \u2028.csv")
        self.assertEqual(last["columns"][0]["max"], 9007199254740993)
        self.assertEqual(last["columns"][1]["name"], "zwei\nzeilen")
        run_of_none = self.start("csv-summary", {"folder": "/no/such"})
        self.assertEqual(self.wait(run_of_none)[2], "NoFolder")


if __name__ == "__main__":
    unittest.main()

"""The pure parts of the benchmarks: figures, tables and charts."""

import csv
import io
import json
import os
import sys
import unittest
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

import charts  # noqa: E402
import figures  # noqa: E402
import tables  # noqa: E402

COLUMNS = (("name", "name", ""), ("rate", "rate/s", ",.0f"),
           ("noisy", "noisy", ""))
ROWS = [{"name": "a|b", "rate": 1234567.8, "noisy": True, "more": 1},
        {"name": "c, d", "rate": None, "noisy": False}]


class FiguresTest(unittest.TestCase):
    def test_percentile(self):
        values = list(range(100, 0, -1))
        self.assertEqual(figures.percentile(values, 0), 1)
        self.assertEqual(figures.percentile(values, 0.5), 51)
        self.assertEqual(figures.percentile(values, 0.99), 100)
        self.assertEqual(figures.percentile(values, 1), 100)
        self.assertEqual(figures.percentile([7], 0.99), 7)
        self.assertIsNone(figures.percentile([], 0.5))

    def test_ratio(self):
        self.assertEqual(figures.ratio(1, 4), 0.25)
        self.assertEqual(figures.ratio(0, 4), 0)
        self.assertIsNone(figures.ratio(1, 0))
        self.assertIsNone(figures.ratio(None, 1))
        self.assertIsNone(figures.ratio(1, None))

    def test_too_different(self):
        self.assertFalse(figures.too_different([]))
        self.assertFalse(figures.too_different([100, 86]))
        self.assertTrue(figures.too_different([84, 100]))

    def test_compared(self):
        found = figures.compared([100, 200, 400], [150, 200, 800])
        self.assertEqual(found, {"base": 200, "ours": 200, "ratio": 1,
                                 "ratio_min": 1, "ratio_max": 2})

    def test_histogram_percentile_is_that_of_the_values(self):
        buckets = [[1, 10], [4, 80], [16, 9], [1024, 1]]
        values = [bound for bound, count in buckets for _ in range(count)]
        for part in (0, 0.05, 0.1, 0.5, 0.89, 0.9, 0.98, 0.99, 1):
            self.assertEqual(figures.histogram_percentile(buckets, part),
                             figures.percentile(values, part), part)
        self.assertIsNone(figures.histogram_percentile([], 0.5))

    def test_histograms_add(self):
        added = figures.histograms_add([
            None, {}, {"histograms": {"commit_us": [[4, 1], [8, 2]]}},
            {"histograms": {"commit_us": [[8, 3]], "claim_us": [[1, 1]]}}])
        self.assertEqual(added, {"commit_us": [[4, 1], [8, 5]],
                                 "claim_us": [[1, 1]]})
        line, = figures.histogram_lines(added)
        self.assertIn("commit, µs: p50 8 p99 8", line)
        self.assertEqual(figures.histogram_lines({}), [])

    def test_spans(self):
        event = '{"name":"%s","ph":"X","ts":1,"dur":%d,"args":{"count":%d}}'
        whole = "[\n" + ",\n".join((event % ("apply", 10, 3),
                                    event % ("commit", 50, 7),
                                    event % ("apply", 30, 2)))
        wanted = [
            {"name": "commit", "count": 1, "seconds": 50e-6,
             "average_us": 50, "items": 7},
            {"name": "apply", "count": 2, "seconds": 40e-6,
             "average_us": 20, "items": 5}]
        for end in ("\n]\n", "", ",\n", ",\n" + (event % ("claim", 1, 1))[:30]):
            self.assertEqual(figures.spans(figures.trace_read(whole + end)),
                             wanted, end)
        self.assertEqual(figures.trace_read("[\n"), [])
        self.assertEqual(figures.trace_read(""), [])

    def test_rates(self):
        self.assertEqual(figures.rates([(0, 0), (2, 10), (2, 10), (3, 11)]),
                         [(2, 5), (3, 1)])
        self.assertEqual(figures.rates([(0, 5)]), [])


class OutputTest(unittest.TestCase):
    def test_table(self):
        self.assertEqual(tables.table(ROWS, COLUMNS),
                         "name     rate/s  noisy\n"
                         "a|b   1,234,568    yes\n"
                         "c, d          -     no\n")
        self.assertEqual(tables.table([], COLUMNS), "name  rate/s  noisy\n")

    def test_markdown(self):
        self.assertEqual(tables.markdown(ROWS, COLUMNS),
                         "| name | rate/s | noisy |\n"
                         "| --- | ---: | ---: |\n"
                         "| a\\|b | 1,234,568 | yes |\n"
                         "| c, d | - | no |\n")

    def test_json(self):
        self.assertEqual(json.loads(tables.as_json(ROWS, COLUMNS)), {
            "results": [{"name": "a|b", "rate": 1234567.8, "noisy": True},
                        {"name": "c, d", "rate": None, "noisy": False}]})

    def test_csv(self):
        found = list(csv.reader(io.StringIO(tables.as_csv(ROWS, COLUMNS))))
        self.assertEqual(found, [["name", "rate", "noisy"],
                                 ["a|b", "1234567.8", "True"],
                                 ["c, d", "", "False"]])

    def test_every_form_takes_the_same(self):
        for form in tables.FORMS.values():
            self.assertTrue(form(ROWS, COLUMNS).endswith("\n"))


class PicturesTest(unittest.TestCase):
    def elements(self, text, name):
        root = xml.etree.ElementTree.fromstring(text)
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.tag, space + "svg")
        return list(root.iter(space + name))

    def test_lines(self):
        text = charts.lines("a < b & \"c\"", {
            "one": [(0, 0), (1, 5), (2, 3)], "<two>": [(0, 1), (2, 9)]},
            "seconds", "actions/s")
        self.assertEqual(len(self.elements(text, "polyline")), 2)
        shown = [one.text for one in self.elements(text, "text")]
        self.assertIn("a < b & \"c\"", shown)
        self.assertIn("<two>", shown)

    def test_bars_stand_on_the_axis(self):
        text = charts.bars("t", [("a", 1), ("b", 0), ("c", 10)], "x", "y")
        bars = self.elements(text, "rect")[1:]
        heights = [float(bar.get("height")) for bar in bars]
        self.assertEqual(heights[1], 0)
        self.assertAlmostEqual(heights[2], 10 * heights[0], delta=1)
        for bar in bars:
            self.assertAlmostEqual(
                float(bar.get("y")) + float(bar.get("height")),
                charts.HEIGHT - charts.BOTTOM, delta=0.2)

    def test_histogram(self):
        text = charts.histogram("t", [[8, 2], [4, 1]], "µs")
        self.assertEqual(len(self.elements(text, "rect")), 3)
        self.assertIn("≤4", text)

    def test_nothing_to_draw(self):
        for text in (charts.lines("t", {}, "x", "y"),
                     charts.lines("t", {"a": []}, "x", "y"),
                     charts.lines("t", {"a": [(0, 0)]}, "x", "y"),
                     charts.bars("t", [], "x", "y"),
                     charts.histogram("t", [], "x")):
            self.elements(text, "svg")

    def test_ticks(self):
        self.assertEqual(charts.ticks(10), [0, 2, 4, 6, 8, 10])
        for top in (0.003, 1, 7, 99, 254199, 3e9):
            marks = charts.ticks(top)
            self.assertGreaterEqual(marks[-1], top)
            self.assertLess(marks[-2], top)
            self.assertLessEqual(len(marks), 6)
        self.assertEqual(charts.ticks(0)[0], 0)


if __name__ == "__main__":
    unittest.main()

"""The pure parts of the benchmarks: figures, tables, charts, what is told."""

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
import machine  # noqa: E402
import pool  # noqa: E402
import tables  # noqa: E402
import telling  # noqa: E402

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
                                 "ratio_min": 1, "ratio_max": 2,
                                 "verdict": "too few rounds"})

    def test_verdict(self):
        self.assertEqual(figures.verdict(1.01, 1.2, 4), "more")
        self.assertEqual(figures.verdict(0.8, 0.99, 4), "less")
        self.assertEqual(figures.verdict(0.99, 1.5, 4), "no difference")
        self.assertEqual(figures.verdict(1.01, 1.2, 3), "too few rounds")

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

    def test_batches(self):
        events = [{"name": "commit", "ph": "X", "dur": 1000 * n,
                   "args": {"count": n}} for n in range(10)]
        events.append({"name": "apply", "ph": "X", "dur": 1, "args": {}})
        self.assertEqual(figures.batches(events, 100),
                         [[n, n] for n in range(10)])
        self.assertEqual(figures.batches(events, 5),
                         [[n, n] for n in range(0, 10, 2)])
        self.assertEqual(figures.batches([], 5), [])

    def test_written_per_action(self):
        one = {"journal_entries": 50, "journal_rows": 20, "commits": 3,
               "claims": 2, "instances_claimed": 2, "instances_ended": 1,
               "pool": "a", "idle": False}
        self.assertEqual(figures.written_per_action([one, None, one]),
                         {"round_trips": 0.1, "commits": 0.06, "rows": 0.46})
        self.assertIsNone(figures.written_per_action([{}, None]))

    def test_rates(self):
        self.assertEqual(figures.rates([(0, 0), (2, 10), (2, 10), (3, 11)]),
                         [(2, 5), (3, 1)])
        self.assertEqual(figures.rates([(0, 5)]), [])


class MachineTest(unittest.TestCase):
    def test_cpu_times(self):
        tick = machine.TICK
        busy, stolen = machine.cpu_times(
            f"cpu {tick} {2 * tick} {3 * tick} 999 999 {4 * tick} {5 * tick} "
            f"{6 * tick} 7 8\n")
        self.assertEqual((busy, stolen), (15, 6))

    def test_complaints(self):
        quiet = {"others": 0.02, "stolen": 0.0}
        self.assertEqual(machine.complaints(quiet), [])
        for name in quiet:
            told, = machine.complaints(dict(quiet, **{name: 0.4}))
            self.assertIn("40%", told)

    def test_who_else(self):
        watch = machine.Watch()
        use = watch.until_now(1e9, 0)
        self.assertEqual(machine.complaints(use), [])


class RunTest(unittest.TestCase):
    """A report of one run, told."""

    def report(self, rate, **more):
        return dict({
            "benchmark": "queue-noop", "actions_per_s": rate,
            "options": {"instances": 10, "backlog": 0, "hosts": 1,
                        "workers": 4, "loop_size": 16, "complexity": 100},
            "limit": {"actions_per_s": 200.0, "ratio": rate / 200},
            "cpu_us_per_action": {"flusher": 2.0, "postgres writer": 1.5,
                                  "postgres claimer": 0.25},
            "written": {"round_trips": 0.1, "commits": 0.05, "rows": 0.4},
            "wal_bytes_per_action": 100.0, "exit_s": 0.01, "log_lines": 15,
            "noise": []}, **more)

    def test_row(self):
        row = telling.row(self.report(100.0))
        self.assertEqual(row["ratio"], 0.5)
        self.assertEqual(row["postgres_us"], 1.75)
        self.assertEqual(row["input_mb_per_s"], 0.01)
        self.assertIsNone(row["worker_us"])
        self.assertFalse(row["noisy"])
        self.assertLessEqual(set(row), {name for name, _, _ in
                                        telling.COLUMNS})

    def test_together(self):
        joined = telling.together([
            self.report(100.0), self.report(400.0, noise=["a neighbour"]),
            self.report(300.0)])
        self.assertEqual(
            (joined["runs"], joined["actions_per_s"],
             joined["actions_per_s_min"], joined["actions_per_s_max"],
             joined["ratio"], joined["instances"], joined["noisy"]),
            (3, 300.0, 100.0, 400.0, 1.5, 10, False))

    def test_columns_that_tell(self):
        rows = [telling.together([self.report(1.0)])]
        names = [name for name, _, _ in telling.columns_of(rows)]
        self.assertIn("actions_per_s", names)
        self.assertNotIn("worker_us", names)
        self.assertNotIn("backlog", names)

    def test_names_of_the_notes(self):
        self.assertEqual(pool.notes_names(
            {"start_unstarted_avg_seconds": 0.0012, "claims": 3}),
            {"start_unstarted_avg_us": 1200, "claims": 3})


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

    def test_level(self):
        text = charts.lines("t", {"a": [(0, 1), (1, 2)]}, "x", "y",
                            [("the limit", 100)])
        shown = [one.text for one in self.elements(text, "text")]
        self.assertIn("the limit", shown)
        self.assertIn("100", shown)  # the axis reaches it
        self.assertEqual(len(self.elements(text, "path")), 1)

    def test_dots(self):
        text = charts.dots("t", [[1, 2], [3, 4]], "x", "y")
        self.assertEqual(len(self.elements(text, "circle")), 2)

    def test_percentiles(self):
        text = charts.percentiles("t", {"a": range(1, 1001), "b": [5]}, "ms")
        shown = [one.text for one in self.elements(text, "text")]
        for name in ("fastest", "p90", "p99", "p99.9"):
            self.assertIn(name, shown)
        first, second = self.elements(text, "polyline")
        across = [float(point.split(",")[0])
                  for point in first.get("points").split()]
        self.assertEqual(across, sorted(across))
        self.assertAlmostEqual(across[-1], charts.WIDTH - charts.RIGHT,
                               delta=0.2)
        self.assertLess(len(across), 400)
        self.assertEqual(len(second.get("points").split()), 1)

    def test_nothing_to_draw(self):
        for text in (charts.lines("t", {}, "x", "y"),
                     charts.lines("t", {"a": []}, "x", "y"),
                     charts.lines("t", {"a": [(0, 0)]}, "x", "y"),
                     charts.bars("t", [], "x", "y"),
                     charts.dots("t", [], "x", "y"),
                     charts.percentiles("t", {}, "ms"),
                     charts.percentiles("t", {"a": []}, "ms"),
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

"""How a run of queue-noop, fan-out or for-loop is told: text, one row of a
table, JSON, pictures. Reads a report and nothing else."""

import json
import os
import statistics

import charts
import definitions
import figures
import tables

# What a run is: two that agree in these are runs of the same.
SHAPE = (("benchmark", "benchmark", ""), ("instances", "instances", ",d"),
         ("backlog", "kept waiting", ",d"), ("hosts", "pools", "d"),
         ("workers", "workers", "d"), ("loop_size", "size", ",d"),
         ("complexity", "bytes", ",d"))

COLUMNS = (*SHAPE, ("runs", "runs", "d"),
           ("actions_per_s", "actions/s", ",.0f"),
           ("actions_per_s_min", "least", ",.0f"),
           ("actions_per_s_max", "most", ",.0f"),
           ("limit_per_s", "limit/s", ",.0f"), ("ratio", "ratio", ".3f"),
           ("input_mb_per_s", "MB/s of input", ",.1f"),
           ("supervisor_us", "supervisor, µs", ".2f"),
           ("flusher_us", "flusher, µs", ".2f"),
           ("worker_us", "worker, µs", ".2f"),
           ("postgres_us", "PostgreSQL, µs", ".2f"),
           ("round_trips_per_action", "round trips/action", ".5f"),
           ("commits_per_action", "commits/action", ".5f"),
           ("rows_per_action", "rows/action", ".3f"),
           ("wal_bytes_per_action", "WAL bytes/action", ".0f"),
           ("exit_s", "exit, s", ".2f"), ("log_lines", "log lines", "d"),
           ("noisy", "noisy", ""))

SPANS = (("name", "span", ""), ("count", "count", ",d"),
         ("seconds", "seconds", ".3f"), ("average_us", "average µs", ".1f"),
         ("items", "items", ",d"))

STATEMENTS = (("total_us", "total µs", ",.0f"), ("calls", "calls", ",d"),
              ("mean_us", "mean µs", ",.0f"), ("plan_us", "plan µs", ",.0f"),
              ("max_us", "most µs", ",.0f"),
              ("rows", "rows", ",d"), ("wal_bytes", "WAL bytes", ",d"),
              ("statement", "statement", ""))


def row(report):
    """Of a table beside other runs; the figures of one."""
    o, cpu = report["options"], report["cpu_us_per_action"]
    limit = report.get("limit") or {}
    written = report.get("written") or {}
    return {
        "benchmark": report["benchmark"],
        **{name: o[name] for name, _, _ in SHAPE[1:]},
        "actions_per_s": report["actions_per_s"],
        "input_mb_per_s": report["actions_per_s"] * o["complexity"] / 1e6
        if o["complexity"] else None,
        "limit_per_s": limit.get("actions_per_s"),
        "ratio": limit.get("ratio"),
        **{kind + "_us": cpu.get(kind)
           for kind in ("supervisor", "flusher", "worker")},
        "postgres_us": sum(us for kind, us in cpu.items()
                           if kind.startswith("postgres")),
        "round_trips_per_action": written.get("round_trips"),
        "commits_per_action": written.get("commits"),
        "rows_per_action": written.get("rows"),
        "wal_bytes_per_action": report["wal_bytes_per_action"],
        "exit_s": report["exit_s"], "log_lines": report["log_lines"],
        "noisy": bool(report["noise"]) if "noise" in report
        else limit.get("noisy"),
    }


def together(reports):
    """One row of several runs of the same: medians, and the rates' range."""
    every = [row(report) for report in reports]
    rates = [one["actions_per_s"] for one in every]
    joined = dict(every[0])
    for name, value in joined.items():
        values = [one[name] for one in every if one[name] is not None]
        if values and isinstance(values[0], (int, float)) \
                and not isinstance(value, bool):
            middle = statistics.median(values)
            joined[name] = int(middle) if isinstance(values[0], int) \
                else middle
    return dict(joined, runs=len(reports), actions_per_s_min=min(rates),
                actions_per_s_max=max(rates),
                noisy=sum(bool(one["noisy"]) for one in every) * 2
                > len(every))


def columns_of(rows):
    """COLUMNS without those that tell nothing here: empty ones, those of the
    shape that say the same of every row, and ranges of single runs."""
    repeated = any(one.get("runs", 1) > 1 for one in rows)

    def tells(name):
        values = {one.get(name) for one in rows}
        if name in ("runs", "actions_per_s_min", "actions_per_s_max"):
            return repeated
        if name in ("benchmark", "backlog", "hosts", "loop_size",
                    "complexity"):
            return len(values) > 1
        return values != {None}

    return tuple(column for column in COLUMNS if tells(column[0]))


def shape(report):
    """What was run, in a few words."""
    o = report["options"]
    actions = definitions.actions(report["benchmark"], o["loop_size"],
                                  o.get("nesting", 1))
    return (f"{o['instances']:,} instances of {actions:,} actions, "
            f"{o['hosts']} pool{'s' if o['hosts'] > 1 else ''} of "
            f"{o['workers']} workers"
            + (f", {o['complexity']:,} bytes for each action"
               if o["complexity"] else "")
            + (f", {o['backlog']:,} kept waiting" if o["backlog"] else ""))


# ---- text ----

def text(report):
    lines = [
        f"{report['benchmark']}: {report['actions_per_s']:,.0f} actions/s "
        f"({report['actions']:,} committed in {report['elapsed_s']:.2f} s"
        + (", all instances ended)" if report["all_ended"] else ")"),
        "  " + shape(report),
    ]
    limit = report.get("limit")
    if limit:
        lines.append(
            f"  the database alone: {limit['actions_per_s']:,.0f} rows/s "
            f"(before {limit['before']['actions_per_s']:,}, after "
            f"{limit['after']['actions_per_s']:,}): ratio "
            f"{limit['ratio']:.3f}")
    if report["noise"]:
        lines.append("  TOO NOISY to count: " + "; ".join(report["noise"]))
    lines += _costs(report)
    lines += figures.histogram_lines(report["histograms"])
    lines.append(
        f"  exit {report['exit_s']:.2f} s after SIGTERM, "
        f"{report['log_lines']} log lines, memory, MiB: " + ", ".join(
            f"{name} {size / 1048576:.1f}"
            for name, size in report["memory_bytes"].items()))
    if report["feeder"]["least_waiting"] is not None:
        lines.append(
            f"  the feeder started {report['feeder']['instances']:,} "
            f"instances, {report['feeder']['cpu_s']:.2f} s of CPU; never "
            f"fewer than {report['feeder']['least_waiting']:,} waited")
    lines.append("  " + ", ".join(
        f"{name} {value}" for name, value in report["settings"].items()))
    lines += _checked(report["verification"])
    lines += _listed(report["spans"], SPANS)
    lines += _listed([dict(one, statement=one["statement"][:60])
                      for one in report["statements"][:12]], STATEMENTS)
    return "\n".join(lines) + "\n"


def _costs(report):
    cpu, written = report["cpu_us_per_action"], report["written"]
    lines = ["  CPU per action, µs: " + ", ".join(
        f"{name} {us:.2f}" for name, us in cpu.items())
        + f"; in all {sum(cpu.values()):.2f}, "
        f"{report['cpu_seconds'] / report['elapsed_s']:.2f} CPUs busy"]
    line = (f"  per action: {report['journal_rows_per_action']:.3f} journal "
            f"rows, {report['wal_bytes_per_action']:.0f} bytes of WAL")
    if written:
        line += (f", {written['rows']:.3f} rows in all, "
                 f"{written['commits']:.5f} commits, "
                 f"{written['round_trips']:.5f} round trips")
    return lines + [line]


def _checked(check):
    if check["wrong"]:
        return ["  WRONG: " + "; ".join(check["wrong"])]
    return [f"  checked: {check['journal_entries']:,} entries in "
            f"{check['journal_rows']:,} rows without gap or overlap; "
            f"{check['succeeded']:,} instances ended, "
            f"{check['checked_deeply']:,} of them read entry by entry"]


def _listed(rows, columns):
    if not rows:
        return []
    return ["  " + line for line in tables.table(rows, columns).splitlines()]


# What --json gives is the whole report.
FORMS = {
    "table": text,
    "json": lambda report: json.dumps(report) + "\n",
    "markdown": lambda report: tables.markdown([together([report])],
                                               COLUMNS),
    "csv": lambda report: tables.as_csv([together([report])], COLUMNS),
}


# ---- pictures ----

def pictures(report):
    """Of the throughput under "", others under what their file is called."""
    name, limit = report["benchmark"], report.get("limit")
    drawn = {"": charts.lines(
        f"{name}: {report['actions_per_s']:,.0f} actions/s",
        {name: report["series"]}, "seconds", "actions/s",
        [("the database alone", limit["actions_per_s"])] if limit else ())}
    if report["batches"]:
        drawn["-batches"] = charts.dots(
            f"{name}: what a batch costs", report["batches"],
            "entries in the batch", "ms from sending to durable")
    for key, title in figures.HISTOGRAMS:
        if report["histograms"].get(key):
            drawn["-" + key.replace("_", "-")] = charts.histogram(
                f"{name}: {title}", report["histograms"][key], title)
    return drawn


def draw(report, path):
    """The throughput to path, the others beside it."""
    stem, ending = os.path.splitext(path)
    for more, drawn in pictures(report).items():
        with open(stem + more + ending, "w", encoding="utf-8") as out:
            out.write(drawn)

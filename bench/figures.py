"""Figures from figures: percentiles, ratios, histograms and spans.

Pure: no clock, no processes, no database; nothing here prints.
"""

import json
import statistics

# Two measurements of the same thing should agree this well.
NOISE = 0.15
# Fewer rounds than that prove nothing.
ROUNDS_MIN = 4

HISTOGRAMS = (("commit_us", "commit, µs"), ("commit_entries",
                                            "entries a commit"),
              ("claim_us", "claim, µs"), ("action_us", "action, µs"))


def percentile(values, part):
    """By the nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def ratio(one, other):
    """None when there is nothing to compare with."""
    return one / other if one is not None and other else None


def too_different(rates):
    """Whether measurements of the same thing disagree: a busy machine."""
    return bool(rates) and max(rates) - min(rates) > NOISE * max(rates)


def compared(base, ours):
    """Ratio of the medians, and how far single rounds are from each other.

    base[n] and ours[n] ran one after the other, so their ratio is of one and
    the same state of the machine.
    """
    rounds = [ratio(o, b) for b, o in zip(base, ours)]
    low, high = min(rounds), max(rounds)
    return {"base": statistics.median(base), "ours": statistics.median(ours),
            "ratio": ratio(statistics.median(ours), statistics.median(base)),
            "ratio_min": low, "ratio_max": high,
            "verdict": verdict(low, high, len(rounds))}


def verdict(low, high, rounds):
    """Whether there is a difference: only when every round shows it in the
    same direction, which chance alone does once in 2^(rounds - 1)."""
    if rounds < ROUNDS_MIN:
        return "too few rounds"
    if low > 1:
        return "more"
    return "less" if high < 1 else "no difference"


# ---- histograms: [[upper bound, count], …], as the status has them ----

def histograms_add(statuses):
    """One map of histograms for all pools; statuses may be None."""
    sums = {}
    for status in statuses:
        for name, buckets in ((status or {}).get("histograms") or {}).items():
            into = sums.setdefault(name, {})
            for bound, count in buckets:
                into[bound] = into.get(bound, 0) + count
    return {name: [list(pair) for pair in sorted(counts.items())]
            for name, counts in sums.items()}


def histogram_percentile(buckets, part):
    """The upper bound of the bucket that holds it; None of nothing."""
    total = sum(count for _, count in buckets)
    rank = min(total - 1, int(total * part))
    for bound, count in sorted(buckets):
        if rank < count:
            return bound
        rank -= count
    return None


def histogram_lines(histograms):
    """What a report says of them."""
    told = []
    for name, title in HISTOGRAMS:
        buckets = histograms.get(name)
        if buckets:
            told.append(f"{title}: p50 {histogram_percentile(buckets, .5):,} "
                        f"p99 {histogram_percentile(buckets, .99):,}")
    return ["  at most, " + "; ".join(told)] if told else []


# ---- spans: a Chrome trace, as the flusher writes it ----

def trace_read(text):
    """The events of an array that may lack its end, or half an event."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    events = []
    for line in text.splitlines():
        line = line.strip().rstrip(",")
        if line in ("", "[", "]"):
            continue
        try:
            events.append(json.loads(line))
        except ValueError:
            break  # the process ended in the middle of it
    return events


def spans(events):
    """Per name: how many, how long in all, how long one, for how much."""
    sums = {}
    for event in events:
        if event.get("ph") != "X":
            continue
        one = sums.setdefault(event["name"], [0, 0, 0])
        one[0] += 1
        one[1] += event["dur"]
        one[2] += event.get("args", {}).get("count", 0)
    return [{"name": name, "count": count, "seconds": us / 1e6,
             "average_us": us / count, "items": items}
            for name, (count, us, items) in sorted(
                sums.items(), key=lambda pair: -pair[1][1])]


def batches(events, most):
    """[[entries, ms], …] of the commits in a trace, thinned out evenly."""
    found = [[event["args"]["count"], event["dur"] / 1000]
             for event in events if event.get("name") == "commit"
             and event.get("ph") == "X" and "args" in event]
    return found[::max(1, -(-len(found) // most))]


# ---- what the pools say they wrote ----

def written_per_action(statuses):
    """Round trips, commits and rows per journal entry; None of nothing.

    A transaction travels in one round trip (flusher/db.h), a claim is one.
    Of an instance its row is written twice: by its claim and at its end.
    """
    sums = {}
    for status in statuses:
        for name, value in (status or {}).items():
            if isinstance(value, int):
                sums[name] = sums.get(name, 0) + value
    entries = sums.get("journal_entries")
    if not entries:
        return None
    commits, claims, rows, claimed, ended = (
        sums.get(name, 0) for name in (
            "commits", "claims", "journal_rows", "instances_claimed",
            "instances_ended"))
    return {"round_trips": (commits + claims) / entries,
            "commits": commits / entries,
            "rows": (rows + claimed + ended) / entries}


def rates(samples):
    """[(seconds, total so far), …] as [(seconds, a second), …]."""
    return [(at, (total - before) / (at - since))
            for (since, before), (at, total) in zip(samples, samples[1:])
            if at > since]

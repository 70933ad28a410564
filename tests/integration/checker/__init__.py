"""What must be true, whatever was killed: an outsider's look at everything.

Shares no code with rappel. Each function gives a list of findings, as text;
an empty list is what a test wants. Needs a server with
track_commit_timestamp = on, since "before" is decided by commits.

    checker.install_audit(connection)     right after the migration
    ...                                   load, faults, the end of the load
    findings = checker.check(checker.Case(connection, pool, given=100))
    findings += checker.check_stopped(case, code, took)

| module | invariants |
| --- | --- |
| database | I03, I05 journal; I07 counts; I09, I10 fence; I16 clean |
| replay, interpreter | I04, I05, I06, I08 |
| record | I01, I02, I03, I09 by what the workers wrote down |
| processes | I11, I12, I13, I15, I18 |
| noise | I17, I21 |
| samples | I20, I22 |
"""

import time

from checker import noise, processes, replay, samples
from checker.database import (audited, clean, counters, counts,
                              disconnected, fence, handed_back,
                              install_audit, journal, outputs, successes)
from checker.record import (Line, answers, commits, leased, read_record,
                            record, rerun, runs, sent_is_written)
from checker.samples import Sampler
from patience import patience

__all__ = [
    "Case", "Line", "Sampler", "answers", "audited", "check",
    "check_stopped", "clean", "commits", "counters", "counts", "fence",
    "install_audit", "journal", "leased", "noise", "outputs", "processes",
    "read_record", "record", "replay", "rerun", "runs", "samples",
    "sent_is_written", "settle", "stopped", "successes"]


class Case:
    """What a test knows that cannot be seen from outside."""

    def __init__(self, connection, *pools, given=None, workflows=None,
                 recoveries=None, kept=False, blocked=(), hanging=("hang",),
                 canaries=(), told=(), foreign=(), crashes=False,
                 unsupported=False, expected_of=None, sampler=None,
                 per_second=100):
        self.connection = connection
        self.pools = pools          # of pool.Pool; those that ran
        self.given = given          # instances started
        self.workflows = workflows  # name to instances started
        # How often somebody who held running actions was replaced; None:
        # not counted.
        self.recoveries = recoveries
        self.kept = kept            # no completion may have been lost
        self.blocked = blocked      # ids that are meant to be set aside
        self.hanging = hanging      # actions that may run for ever
        self.canaries = canaries    # must not come out anywhere
        self.told = told            # patterns: a line of the log says so
        self.foreign = foreign      # patterns of lines not the daemon's
        self.crashes = crashes      # the fault is a crash of a process
        self.unsupported = unsupported  # definitions beyond the interpreter
        self.expected_of = expected_of  # input to output; all succeed
        self.sampler = sampler
        self.per_second = per_second  # lines of the log

    def lines(self):
        """The record of all workers, if there is one."""
        found = []
        for pool in self.pools:
            name = pool.env.get("RAPPEL_POOL_NAME")
            found += read_record(pool.record, name)
        return found


def settle(findings, seconds):
    """Asks again until there are none or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = findings()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def stopped(connection):
    """I16, after the last pool of a database has stopped as asked."""
    return handed_back(connection) + settle(
        lambda: disconnected(connection), patience(2))


def check(case, quiet_seconds=15.0):
    """All that must hold while the pools run; ≤ quiet_seconds after the last
    fault what takes time to mend may still be wrong."""
    connection = case.connection
    lines = case.lines()
    snapshot = replay.Snapshot(connection)
    findings = journal(connection)
    findings += replay.replay(snapshot, case.unsupported)
    findings += replay.history(connection, snapshot)
    findings += replay.before_dependents(snapshot, lines)
    if lines:  # some workers keep no record
        findings += rerun(connection, lines)
        findings += answers(connection, lines, case.kept)
    findings += counts(connection, case.given, case.workflows)
    if case.recoveries is not None:
        findings += runs(lines, case.recoveries)
    if audited(connection):
        findings += fence(connection)
        if any(line.pool for line in lines):
            findings += leased(connection, lines)
    if case.expected_of is not None:
        findings += outputs(connection, case.expected_of)
    findings += settle(lambda: clean(connection), quiet_seconds)

    def stuck():
        look = replay.Snapshot(connection)
        replay.replay(look, True)
        return replay.stuck(look, quiet_seconds, case.hanging,
                            case.blocked) + \
            replay.starved(connection, quiet_seconds)
    findings += settle(stuck, quiet_seconds)
    for pool in case.pools:
        if pool.process is not None and pool.process.poll() is None:
            findings += check_running(case, pool)
        findings += check_log(case, pool)
    if case.sampler is not None:
        findings += samples.truth(case.sampler.told, case.sampler.held)
    return findings


def check_running(case, pool):
    findings = processes.zombies(pool.process.pid)
    status = pool.status()
    findings += noise.secrets(repr(status), case.canaries, "status")
    flusher = status.get("flusher")
    # At rest only: a status is up to a second old.
    if flusher and status.get("phase") == "running" and \
            audited(case.connection):
        def differ():
            now = pool.status().get("flusher")
            return counters(case.connection, now) if now else []
        findings += settle(differ, 6)
    return findings


def check_log(case, pool):
    text = pool.log_text()
    return (noise.noise(text, case.per_second, case.canaries, case.foreign) +
            noise.told(text, case.told) +
            noise.reports(text, case.crashes) +
            noise.cores(pool.dir, pool.folder))


def check_stopped(case, code, took, limit=1.0, expected=(0,)):
    """All that must hold once every pool has stopped as asked."""
    findings = processes.ended(code, took, limit, expected)
    for pool in case.pools:
        findings += processes.orphans(pool.sessions, pool.folder)
        findings += processes.files(pool.dir)
        findings += check_log(case, pool)
    return findings + stopped(case.connection)

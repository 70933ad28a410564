"""What is looked at again and again while a pool runs.

I20  a fault leaves others alone     I22  rappelctl status tells the truth
"""

import threading
import time

ANSWER = """
SELECT extract(epoch FROM clock_timestamp())::float8,
	coalesce((SELECT json_object_agg(incarnation, active) FROM (
		SELECT p.incarnation, count(i.id) AS active
		FROM rappel.worker_pools p
		LEFT JOIN rappel.workflow_instances i
			ON i.owner = p.incarnation GROUP BY 1) n), '{}')
"""


class Sampler:
    """Asks the daemon and the database ten times a second, until stop().

    status: gives the daemon's answer, or {} when none answers;
    connect: gives a connection of its own to the database.
    """

    def __init__(self, status, connect, hz=10):
        self.status, self.connect, self.pause = status, connect, 1 / hz
        self.told = []   # (when, answer of the daemon)
        self.held = []   # (when, incarnation to instances; None: away)
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=ask, daemon=True)
                        for ask in (self.ask_daemon, self.ask_database)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(10)
        return self

    def ask_daemon(self):
        while not self.ending.wait(self.pause):
            begun = time.monotonic()
            answer = self.status()
            self.told.append((begun, answer))

    def ask_database(self):
        connection = None
        while not self.ending.wait(self.pause):
            found = None
            try:
                if connection is None:
                    connection = self.connect()
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(ANSWER)
                    found = cursor.fetchone()[1]
            except Exception:  # away: that is an answer too
                connection = None
            self.held.append((time.monotonic(), found))
        if connection is not None:
            connection.close()


def truth(told, held, seconds=2.0, slack=64):
    """I22: no status contradicts the database for longer than that.

    told, held: as a Sampler has them. A number contradicts when it lies
    beyond all that the database had within those seconds, and slack more,
    which is what one claim or one batch is.
    """
    findings = []
    for at, answer in told:
        flusher = answer.get("flusher") or {}
        # Only what is looked at from both sides.
        near = [found for when, found in held if abs(when - at) <= seconds]
        if not near or not held or held[0][0] > at - seconds or \
                held[-1][0] < at + seconds:
            continue
        before = [found for when, found in held
                  if at - seconds <= when <= at]
        away = all(found is None for found in before)
        phase = answer.get("phase")
        if phase == "running" and away:
            findings.append(f"status: running {seconds:g} s after the "
                            "database had gone")
        if phase == "database-away" and flusher and all(
                found is not None and flusher.get("incarnation") in found
                for found in near):
            findings.append("status: database-away while the pool is "
                            "registered and the database answers")
        numbers = [found.get(flusher.get("incarnation"), 0)
                   for found in near if found is not None]
        active = flusher.get("instances_active")
        if phase == "running" and numbers and active is not None and not (
                min(numbers) - slack <= active <= max(numbers) + slack):
            findings.append(f"status: {active} instances are active, the "
                            f"database has {min(numbers)} to {max(numbers)}")
    return findings


def processes(told, alive, seconds=2.0):
    """I22: a process that status shows as ready is there.

    alive(pid) says so now; for the last answers only.
    """
    if not told:
        return []
    last = told[-1][0]
    recent = [answer for at, answer in told if at >= last - seconds]
    findings = []
    for process in recent[-1].get("processes", ()):
        pid = process["pid"]
        shown = sum(any(p["pid"] == pid and p["phase"] == "ready"
                        for p in answer.get("processes", ()))
                    for answer in recent)
        if process["phase"] == "ready" and shown == len(recent) > 1 and \
                not alive(pid):
            findings.append(f"status: {process['kind']} {pid} is ready and "
                            "is not there")
    return findings


# ---- rates ----

def rate(connection, since, until, workflow=None):
    """Entries committed a second in that time (epoch seconds)."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(l.count), 0)"
            " FROM rappel.action_log l"
            " JOIN rappel.workflow_instances i ON i.id = l.instance_id"
            " JOIN rappel.workflow_versions v ON v.id = i.version_id"
            " WHERE pg_xact_commit_timestamp(l.xmin) BETWEEN"
            "  to_timestamp(%s) AND to_timestamp(%s)"
            " AND (%s IS NULL OR v.workflow = %s)",
            (since, until, workflow, workflow))
        return float(cursor.fetchone()[0]) / (until - since)


def isolation(quiet, disturbed, share=0.9):
    """I20: two rates of what the fault was not aimed at."""
    if disturbed >= share * quiet:
        return []
    return [f"isolation: {disturbed:.1f}/s beside the fault, {quiet:.1f}/s "
            "without it"]

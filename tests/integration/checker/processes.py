"""Processes, descriptors and files, as /proc and the file system show them.

I11  no orphan, no zombie          I12  descriptors
I13  nothing left behind           I15  how it ends
I18  what doing nothing costs
"""

import os
import time

# Exit statuses of rappeld, from docs/operations.md.
EXITS = {0: "clean", 1: "failed", 64: "usage", 70: "bug", 75: "try later",
         77: "permission", 78: "configuration"}


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


class Process:
    """One process, as it was when looked at."""

    def __init__(self, pid):
        self.pid = pid
        stat = read(f"/proc/{pid}/stat")
        self.there = ")" in stat
        if not self.there:
            return
        self.name = stat.split("(", 1)[1].rsplit(")", 1)[0]
        fields = stat.rsplit(")", 1)[1].split()
        self.state, self.parent = fields[0], int(fields[1])
        self.session, self.began = int(fields[3]), int(fields[19])

    def __repr__(self):
        return (f"process {self.pid} ({self.name}, state {self.state}, "
                f"parent {self.parent})")


def all_processes():
    found = (Process(int(name)) for name in os.listdir("/proc")
             if name.isdigit())
    return [process for process in found if process.there]


def has_tag(pid, tag):
    """Whether the pool's folder shows in what the process was given: its
    arguments, environment, folder or open files."""
    if tag in read(f"/proc/{pid}/cmdline") or \
            tag in read(f"/proc/{pid}/environ"):
        return True
    try:
        if tag in os.readlink(f"/proc/{pid}/cwd"):
            return True
    except OSError:
        pass
    return any(tag in link for link in descriptors(pid).values())


def of_pool(sessions, tag, besides=()):
    """All that belongs to a pool: of its sessions, tagged, or a descendant
    of such a process."""
    everything = {p.pid: p for p in all_processes()}
    own = {pid for pid, p in everything.items()
           if pid not in besides and pid != os.getpid() and
           (p.session in sessions or (p.state != "Z" and has_tag(pid, tag)))}
    grown = True
    while grown:
        more = {pid for pid, p in everything.items()
                if p.parent in own and pid not in own} - set(besides)
        own |= more
        grown = bool(more)
    return [everything[pid] for pid in sorted(own)]


def orphans(sessions, tag, seconds=5.0, besides=()):
    """I11: after the daemon's end everything of it is gone in that time."""
    deadline = time.monotonic() + seconds
    while True:
        left = [p for p in of_pool(sessions, tag, besides)
                if p.state != "Z"]
        if not left or time.monotonic() > deadline:
            return [f"orphan: {p} is left {seconds:g} s after the end"
                    for p in left]
        time.sleep(0.02)


def zombies(parent, seconds=1.0):
    """I11: no child of that process stays unreaped for longer."""
    def now():
        return {(p.pid, p.began): p for p in all_processes()
                if p.parent == parent and p.state == "Z"}
    first = now()
    deadline = time.monotonic() + seconds
    while first and time.monotonic() < deadline:
        time.sleep(0.05)
        left = now()
        first = {key: p for key, p in first.items() if key in left}
    return [f"zombie: {p} for more than {seconds:g} s"
            for p in first.values()]


# ---- descriptors ----

def descriptors(pid):
    """fd to what it is."""
    found = {}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            pass
    return found


def kinds(table):
    """How many of each kind; numbers of sockets and pipes differ always."""
    count = {}
    for link in table.values():
        kind = link.split("[")[0] if link.startswith(("socket:", "pipe:")) \
            else link
        count[kind] = count.get(kind, 0) + 1
    return count


def leaked_fds(before, after):
    """I12: two looks at descriptors() of one process, at rest."""
    old, new = kinds(before), kinds(after)
    return [f"descriptor: {new.get(kind, 0)} of {kind}, there were "
            f"{old.get(kind, 0)}" for kind in sorted(set(old) | set(new))
            if new.get(kind, 0) != old.get(kind, 0)]


def inherited_fds(pid, wanted=(0, 1, 2, 3, 4), own=()):
    """I12: what a worker holds that nobody meant to give it.

    own: beginnings of what its program opened itself.
    """
    usual = ("anon_inode:", *own)
    return [f"descriptor: worker {pid} holds {fd}, {link}"
            for fd, link in descriptors(pid).items()
            if fd not in wanted and not link.startswith(usual)]


# ---- what is left behind ----

def system_v(pids):
    """Semaphores, shared memory and queues made by those processes."""
    found = set()
    for kind, column in (("shm", 4), ("sem", 4), ("msg", 5)):
        for line in read(f"/proc/sysvipc/{kind}").splitlines()[1:]:
            fields = line.split()
            if kind == "shm" and int(fields[column]) in pids:
                found.add(f"{kind} {fields[1]}")
    return found


def traces(tag, words=("rappel",)):
    """Names on this machine that a pool could have left: shared memory,
    semaphores, temporary files, abstract sockets."""
    found = set()
    for folder in ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/run"):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            # A test's own folders and clusters are not the pool's.
            if any(word in name for word in words) and \
                    not (folder == "/tmp" and os.path.isdir(path)):
                found.add(path)
    for line in read("/proc/net/unix").splitlines():
        parts = line.split(None, 7)
        if len(parts) == 8 and (parts[7].startswith("@") and any(
                word in parts[7] for word in words)):
            found.add(parts[7])
    for line in read("/proc/self/mountinfo").splitlines():
        if tag in line:
            found.add("mount " + line)
    return found


def files(folder, keep=("lock", "mark")):
    """I13: what lies in a stopped pool's directory and should not."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [f"left behind: {os.path.join(folder, name)}"
            for name in sorted(names) if name not in keep]


def left_traces(before, after):
    """I13: two results of traces()."""
    return [f"left behind: {what}" for what in sorted(after - before)]


# ---- ends ----

def ended(code, took, limit, expected=(0,)):
    """I15: an exit as documented, and in time."""
    findings = []
    if code not in expected:
        findings.append(f"exit status {code} "
                        f"({EXITS.get(code, 'not documented')}), expected "
                        + " or ".join(map(str, expected)))
    if took > limit:
        findings.append(f"the end took {took:.2f} s, {limit:g} s at most")
    return findings


# ---- cost ----

class Cost:
    """CPU time and wake-ups of processes from here to findings()."""

    def __init__(self, pids):
        self.pids = list(pids)
        self.begun = time.monotonic()
        self.before = {pid: self.look(pid) for pid in self.pids}

    @staticmethod
    def look(pid):
        """Nanoseconds on a CPU, and how often it went to sleep."""
        run = read(f"/proc/{pid}/schedstat").split()
        switches = [int(line.split()[1])
                    for line in read(f"/proc/{pid}/status").splitlines()
                    if line.startswith("voluntary_ctxt_switches")]
        if not run or not switches:
            return None
        return int(run[0]), switches[0]

    def spent(self):
        """(share of one core, wake-ups per second) of all together."""
        seconds = time.monotonic() - self.begun
        cpu = wakes = 0
        for pid in self.pids:
            now = self.look(pid)
            if now is None or self.before[pid] is None:
                continue
            cpu += now[0] - self.before[pid][0]
            wakes += now[1] - self.before[pid][1]
        return cpu / 1e9 / seconds, wakes / seconds

    def findings(self, share=0.003, wakes_per_s=2.0, heartbeats_per_s=0.5):
        """I18; a heartbeat costs a few wake-ups of its own."""
        cpu, wakes = self.spent()
        limit = wakes_per_s + 4 * heartbeats_per_s
        found = []
        if cpu > share:
            found.append(f"cost: {cpu:.2%} of a core, {share:.2%} at most")
        if wakes > limit:
            found.append(f"cost: {wakes:.1f} wake-ups a second, {limit:g} "
                         "at most")
        return found

"""Running pools for a benchmark: rappeld in a folder of its own, from outside.

What is measured here is what anybody could see: /proc, the control socket
through rappelctl, the exit status and the log.
"""

import json
import os
import signal
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class PoolError(Exception):
    """A pool did not do what it should; the text says what to do."""


def _program(build, *parts):
    path = os.path.join(build, *parts)
    if not os.access(path, os.X_OK):
        raise PoolError(f"{path} is not built: run ninja -C {build}")
    return path


class Programs:
    """Where a build has its programs, and what environment they get."""

    def __init__(self, build, conninfo):
        self.rappeld = _program(build, "supervisor", "rappeld")
        self.rappelctl = _program(build, "ctl", "rappelctl")
        self.limit = _program(build, "bench", "limit")
        _program(build, "flusher", "rappel-flusher")
        _program(build, "worker", "rappel-worker")
        # A configuration of the caller must not change what is measured.
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("RAPPEL_", "PG"))}
        self.env["RAPPEL_DATABASE_URL"] = conninfo
        if os.geteuid() == 0:
            # The build may lie where nobody else can read it.
            self.env["RAPPEL_WORKER_USER"] = "root"
        for name, value in os.environ.items():
            if name.startswith("RAPPEL_BENCH_"):
                self.env["RAPPEL_" + name[len("RAPPEL_BENCH_"):]] = value

    def ctl(self, *words, folder=None):
        """What rappelctl prints; raises with what it complains of."""
        env = dict(self.env)
        if folder:
            env["RAPPEL_DIR"] = folder
        done = subprocess.run([self.rappelctl, *words], env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise PoolError(f"rappelctl {' '.join(words)} ended with "
                            f"{done.returncode}: {done.stderr.strip()}")
        return done.stdout


def notes_names(status):
    """A pool's status with its averages in µs, under the names that the
    flusher and the notes have for them; rappelctl shows seconds."""
    ending = "_avg_seconds"
    return {(name.removesuffix(ending) + "_avg_us" if name.endswith(ending)
             else name): (round(value * 1e6) if name.endswith(ending)
                          else value)
            for name, value in status.items()}


def cpu_seconds(pid):
    """User and system time of one process; None when it is gone."""
    try:
        # In nanoseconds, where the kernel keeps it; ours have one thread.
        with open(f"/proc/{pid}/schedstat", encoding="utf-8") as stat:
            return int(stat.read().split()[0]) / 1e9
    except (OSError, IndexError):
        pass
    fields = _stat(pid)
    return fields and (int(fields[11]) + int(fields[12])) / TICK


def _stat(pid):
    """The fields behind the name; the state is the first."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8",
                  errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return None


def reaped_seconds(pid):
    """The time of its children that are gone."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / TICK if fields else 0


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children",
                  encoding="utf-8") as kids:
            return [int(kid) for kid in kids.read().split()]
    except OSError:
        return []


def resident_bytes(pid):
    try:
        with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Pool:
    """One rappeld."""

    def __init__(self, programs, folder, workers, traced=False):
        self.programs = programs
        self.folder = folder
        self.workers = workers
        self.log_path = os.path.join(folder, "rappeld.log")
        self.trace_path = os.path.join(folder, "trace.json") if traced \
            else None
        self.process = None
        self.kinds = {}   # pid: supervisor, flusher or worker
        self.status = {}

    def start(self):
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        env = dict(self.programs.env, RAPPEL_DIR=self.folder,
                   RAPPEL_POOL_NAME=os.path.basename(self.folder))
        if self.trace_path:
            env["RAPPEL_TRACE_FILE"] = self.trace_path
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [self.programs.rappeld, "--workers", str(self.workers)],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def wait_running(self, seconds=20):
        """Until it says that it can work and every worker is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise PoolError("rappeld ended with "
                                f"{self.process.returncode}:\n"
                                + self.log_tail())
            try:
                self.look()
            except PoolError:
                time.sleep(0.05)
                continue
            flusher = self.status.get("flusher") or {}
            if self.status.get("phase") == "running" and \
                    flusher.get("workers_ready") == self.workers:
                return
            time.sleep(0.05)
        raise PoolError(f"rappeld was not running within {seconds} s:\n"
                        + self.log_tail())

    def look(self):
        """Its status and its processes as they are now."""
        self.status = json.loads(self.programs.ctl("status", "--json",
                                                   folder=self.folder))
        self.kinds = {self.process.pid: "supervisor"}
        for p in self.status.get("processes", []):
            if p.get("pid"):
                self.kinds[p["pid"]] = p["kind"]

    def cpu(self):
        """CPU seconds by kind of process."""
        sums = {"supervisor": 0.0, "flusher": 0.0, "worker": 0.0}
        for pid, kind in self.kinds.items():
            sums[kind] = sums.get(kind, 0) + (cpu_seconds(pid) or 0)
        return sums

    def memory(self):
        """The largest resident size by kind of process."""
        sizes = {}
        for pid, kind in self.kinds.items():
            sizes[kind] = max(sizes.get(kind, 0), resident_bytes(pid))
        return sizes

    def stop(self, seconds=60):
        """SIGTERM; how long until it was gone, and its exit status."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PoolError(f"rappeld did not end within {seconds} s of "
                            "SIGTERM:\n" + self.log_tail()) from None
        return time.monotonic() - begun, status

    def kill(self):
        """What is left of it, when something went wrong."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()
        self.process.wait()

    def leftovers(self):
        """Processes of it that are still there."""
        return [pid for pid in self.kinds
                if pid != self.process.pid and os.path.exists(f"/proc/{pid}")]

    def log_lines(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read().splitlines()

    def log_tail(self, count=15):
        return "\n".join(self.log_lines()[-count:])

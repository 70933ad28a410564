"""Pools under test: rappeld in a folder of its own, looked at from outside.

What is known of a pool here is what anybody could see: /proc, the control
socket, exit statuses, the log and the database.
"""

import os
import random
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

import msgpack

import harness
from patience import patience

HERE = os.path.dirname(os.path.abspath(__file__))
REQUEST = 30
# One kill test must be repeatable as far as it depends on us.
SEED = int(os.environ.get("RAPPEL_SEED") or time.time_ns() % 1000000)
chance = random.Random(SEED)


def wait_for(what, condition, seconds=20.0, pause=0.01):
    """Until condition() is true; what it gave, and how long it took."""
    begun = time.monotonic()
    while True:
        found = condition()
        if found:
            return found, time.monotonic() - begun
        if time.monotonic() - begun > patience(seconds):
            raise AssertionError(f"not within {seconds:g} s: {what} "
                                 f"(RAPPEL_SEED={SEED})")
        time.sleep(pause)


def session_processes(session):
    """Living processes of a session: pid to name. Zombies are dead."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8",
                      errors="replace") as text:
                name, rest = text.read().split("(", 1)[1].rsplit(")", 1)
        except (OSError, IndexError):
            continue
        fields = rest.split()
        if fields[0] != "Z" and int(fields[3]) == session:
            found[int(entry)] = name
    return found


def send_signal(pid, number):
    """True when there was somebody to send it to."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def control(folder, verb, **arguments):
    """What the daemon in that folder answers; OSError when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(5)
        link.connect(os.path.join(folder, "control.sock"))
        body = msgpack.packb([REQUEST, 0, 0, 0,
                              dict(arguments, verb=verb)])
        link.sendall(struct.pack(">I", len(body)) + body)
        got = b""
        while len(got) < 4 or len(got) < 4 + struct.unpack(">I", got[:4])[0]:
            part = link.recv(1 << 16)
            if not part:
                raise ConnectionError("the daemon closed the connection")
            got += part
    return msgpack.unpackb(got[4:])[4]


class Pool:
    """One directory, and the rappeld that runs on it now."""

    def __init__(self, database, workers=4, folder=None, **settings):
        self.folder = folder or tempfile.mkdtemp(prefix="rappel-pool-",
                                                 dir="/tmp")
        self.dir = os.path.join(self.folder, "pool")
        self.log_path = os.path.join(self.folder, "log")
        self.record = os.path.join(self.folder, "record")
        self.workers = workers
        self.process = None
        self.sessions = []
        self.env = harness.clean_env(RAPPEL_DATABASE_URL=database)
        for name, value in settings.items():
            self.env["RAPPEL_" + name.upper()] = str(value)

    def use_oracle(self):
        """From the next start on its workers keep a record."""
        program = os.path.join(self.folder, "worker")
        with open(program, "w", encoding="utf-8") as script:
            script.write(f"#!/bin/sh\nexec /usr/bin/python3 -B "
                         f"{HERE}/oracleworker.py {self.record}\n")
        os.chmod(program, 0o755)
        self.env["RAPPEL_WORKER"] = program
        return self

    def release_hanging(self):
        with open(self.record + ".release", "wb"):
            pass

    # ---- life ----

    def start(self, *flags):
        """Begins; does not wait for anything."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.program("rappeld"), "--dir", self.dir,
                 "--workers", str(self.workers), *flags],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", start_new_session=True)
        self.sessions.append(self.process.pid)
        return self

    def status(self):
        """The daemon's answer, or {} while none answers."""
        try:
            return control(self.dir, "status")
        except (OSError, ValueError):
            return {}

    def is_running(self):
        found = self.status()
        return (found.get("phase") == "running" and
                found.get("pid") == self.process.pid and
                (found.get("flusher") or {}).get("workers_ready")
                == self.workers and found)

    def wait_running(self, seconds=20):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("rappeld ended with "
                                     f"{self.process.returncode}:\n"
                                     + self.log_tail())
            return self.is_running()
        try:
            return wait_for("the pool runs", ready, seconds)[1]
        except AssertionError as why:
            raise AssertionError(f"{why}\n{self.status()}\n"
                                 + self.log_tail()) from None

    def wait_exit(self, seconds):
        """Its exit status and how long that took."""
        begun = time.monotonic()
        try:
            code = self.process.wait(patience(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"rappeld did not end within {seconds} s\n"
                                 + self.log_tail(40)) from None
        return code, time.monotonic() - begun

    def stop(self, number=signal.SIGTERM, seconds=40):
        """Exit status, and how long it took from the signal on."""
        self.process.send_signal(number)
        return self.wait_exit(seconds)

    # ---- its processes ----

    def processes(self):
        """Of every life so far: pid to kind."""
        found = {}
        for session in self.sessions:
            for pid, name in session_processes(session).items():
                if pid == session:
                    found[pid] = "supervisor"
                else:
                    found[pid] = ("flusher" if "flusher" in name
                                  else "worker")
        return found

    def pids(self, kind):
        return [pid for pid, found in self.processes().items()
                if found == kind]

    def kill(self, kind, number=signal.SIGKILL):
        """One of that kind, at random; False when there is none."""
        pids = self.pids(kind)
        return bool(pids) and send_signal(chance.choice(pids), number)

    def kill_all(self):
        """As if at once: nobody sees the others go, and acts on it."""
        found = self.processes()
        supervisors = [p for p, kind in found.items() if kind == "supervisor"]
        for pid in supervisors:
            send_signal(pid, signal.SIGSTOP)
        for pid in [*(set(found) - set(supervisors)), *supervisors]:
            send_signal(pid, signal.SIGKILL)

    # ---- what is left ----

    def leftovers(self):
        """What a daemon that is gone should not have left behind."""
        found = [f"process {pid} ({kind})"
                 for pid, kind in self.processes().items()]
        if os.path.isdir(self.dir):
            found += [f"file {name}" for name in os.listdir(self.dir)
                      if name not in ("lock", "mark")]
        return found

    def sockets(self):
        return [name for name in os.listdir(self.dir) if stat.S_ISSOCK(
            os.lstat(os.path.join(self.dir, name)).st_mode)]

    def remove(self):
        """The end of a test, however it went."""
        for pid in self.processes():
            send_signal(pid, signal.SIGCONT)
            send_signal(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        if sys.exc_info()[0] is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what it said ----

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8",
                      errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, count=25):
        return "\n".join(self.log_text().splitlines()[-count:])

"""A private PostgreSQL cluster for one benchmark run, or somebody else's.

The server's durability is never touched: fsync, synchronous_commit and
full_page_writes stay as PostgreSQL ships them. Only sizes are set, as a
sane operator would. Needs psycopg2 and the server's own programs.
"""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras

# So that Ctrl-C ends a statement that takes long.
psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)

# Sizes only.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
    "max_connections": "60",
    "jit": "off",
}

# What a reader needs to know to judge the figures.
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes",
         "wal_level", "wal_sync_method", "wal_compression", "shared_buffers",
         "max_wal_size", "checkpoint_timeout", "commit_delay", "autovacuum")


class ClusterError(Exception):
    """The cluster cannot be had; the text says what to do."""


def programs():
    """The folder of the newest installed server's programs."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"),
                   key=lambda p: int(p.split("/")[4].split(".")[0]))
    if found:
        return os.path.dirname(found[-1])
    path = shutil.which("initdb")
    if path:
        return os.path.dirname(path)
    raise ClusterError("no PostgreSQL server is installed: run scripts/setup")


def is_memory(path):
    """Whether path is on a file system without a disk below it."""
    best, kind = "", ""
    real = os.path.realpath(path)
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, where, fs, *_ = line.split()
            if (real + "/").startswith(where.rstrip("/") + "/") \
                    and len(where) >= len(best):
                best, kind = where, fs
    return kind in ("tmpfs", "ramfs")


def scratch_base():
    """Where data goes: never into memory, that would be no benchmark."""
    base = tempfile.gettempdir()
    return "/var/tmp" if is_memory(base) else base


class Cluster:
    """Made by initdb in a folder of its own, on a Unix socket only."""

    def __init__(self, settings=None):
        self.settings = dict(SETTINGS, **(settings or {}))
        self.dir = None
        self.process = None
        self.user = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        bin_dir = programs()
        self.dir = tempfile.mkdtemp(prefix="rappel-bench-",
                                    dir=scratch_base())
        demote = {}
        self.user = pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            # The server refuses to run as root.
            self.user = "postgres"
            try:
                account = pwd.getpwnam(self.user)
            except KeyError:
                raise ClusterError("there is no user postgres to run the "
                                   "server as: run scripts/setup") from None
            os.chown(self.dir, account.pw_uid, account.pw_gid)
            demote = {"user": account.pw_uid, "group": account.pw_gid,
                      "extra_groups": []}
        data = os.path.join(self.dir, "data")
        self.log_path = os.path.join(self.dir, "postgres.log")
        done = subprocess.run(
            [os.path.join(bin_dir, "initdb"), "-D", data, "-U", "rappel",
             "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd="/", check=False, **demote)
        if done.returncode != 0:
            raise ClusterError("initdb failed:\n" + done.stdout)
        with open(os.path.join(data, "postgresql.auto.conf"), "a",
                  encoding="utf-8") as conf:
            for name, value in self.settings.items():
                conf.write(f"{name} = '{value}'\n")
            conf.write("listen_addresses = ''\n")
            conf.write(f"unix_socket_directories = '{self.dir}'\n")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(bin_dir, "postgres"), "-D", data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                start_new_session=True, **demote)
        self.conninfo = f"host={self.dir} user=rappel dbname=postgres"
        deadline = time.monotonic() + 30
        while True:
            try:
                connect(self.conninfo).close()
                break
            except psycopg2.OperationalError:
                if self.process.poll() is not None \
                        or time.monotonic() > deadline:
                    with open(self.log_path, encoding="utf-8") as log:
                        raise ClusterError("PostgreSQL did not start:\n"
                                           + log.read()[-2000:]) from None
                time.sleep(0.02)
        with connect(self.conninfo) as conn, conn.cursor() as cur:
            cur.execute("COMMIT")
            cur.execute("CREATE DATABASE bench")
        self.conninfo = f"host={self.dir} user=rappel dbname=bench"

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        if self.dir is not None:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None


class Borrowed:
    """A database that is there already; nothing is stopped or removed."""

    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.process = None
        self.dir = None

    def __enter__(self):
        try:
            connect(self.conninfo).close()
        except psycopg2.OperationalError as why:
            raise ClusterError(str(why).strip()) from None
        return self

    def __exit__(self, *_):
        pass


def connect(conninfo):
    return psycopg2.connect(conninfo, application_name="rappel-bench")


def settings(conn):
    """The settings that decide what the figures mean."""
    with conn.cursor() as cur:
        cur.execute("SELECT name, current_setting(name) FROM pg_settings "
                    "WHERE name = ANY (%s)", (list(SHOWN),))
        found = dict(cur.fetchall())
    conn.rollback()
    return {name: found[name] for name in SHOWN if name in found}


@contextlib.contextmanager
def scratch(prefix):
    """A folder on a disk, gone afterwards."""
    path = tempfile.mkdtemp(prefix=prefix, dir=scratch_base())
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)

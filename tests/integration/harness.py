"""What integration tests share: programs of the build and a PostgreSQL.

    cluster = harness.Cluster({"track_commit_timestamp": "on"})
    cluster.start()
    database = cluster.create("my_test")
    harness.migrate(cluster.conninfo(database))
    harness.ctl("workflow", "list", database=cluster.conninfo(database))
    cluster.stop("immediate"); cluster.start(); cluster.stop()

A cluster listens on a Unix socket in a folder of its own only, and goes with
the process that made it. Needs no psycopg2, except for Cluster.connect().
"""

import atexit
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Where each program lies in a build tree.
FOLDERS = {"rappelctl": "ctl", "rappeld": "supervisor",
           "rappel-flusher": "flusher", "rappel-worker": "worker"}
ACCOUNT = "postgres"  # runs the server when we are root


# ---- the build ----

def build_dir():
    """The build tree: $RAPPEL_BUILD, or build/ in the source tree."""
    found = os.environ.get("RAPPEL_BUILD") or os.path.join(ROOT, "build")
    if not os.path.isdir(found):
        raise RuntimeError(f"no build tree at {found}: run meson setup, or "
                           "set RAPPEL_BUILD")
    return os.path.abspath(found)


def program(name):
    """The path of one of our programs, as it was built."""
    path = os.path.join(build_dir(), FOLDERS[name], name)
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is not built: run ninja")
    return path


def clean_env(**more):
    """The environment without any rappel or PostgreSQL configuration.

    A home of nowhere keeps away ~/.pgpass and a development pool.
    """
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("RAPPEL_", "PG", "XDG_"))}
    env["HOME"] = env["XDG_STATE_HOME"] = "/nonexistent"
    env["RAPPEL_DEV_DIR"] = "/nonexistent/rappel-dev"
    if os.geteuid() == 0:
        # Tests' programs and folders are root's; test_security has others.
        env["RAPPEL_WORKER_USER"] = "root"
    env.update(more)
    return env


# ---- rappelctl ----

class Result:
    """How a command ended; json is its parsed stdout."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def ctl(*words, database=None, env=None, stdin="", cwd=None, timeout=60):
    """Runs rappelctl; with a database that is where it works."""
    env = clean_env(**(env or {}))
    if database is not None:
        env["RAPPEL_DATABASE_URL"] = database
    return Result(subprocess.run(
        [program("rappelctl"), *map(str, words)], env=env, input=stdin,
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", timeout=timeout, check=False))


def must(result):
    """The result of a command that had to succeed."""
    if result.code != 0:
        raise AssertionError(f"rappelctl failed: {result}")
    return result


def migrate(conninfo):
    must(ctl("db", "migrate", database=conninfo))


def register(conninfo, name, definition):
    """Registers a definition, a dict or a text; the version it got."""
    text = definition if isinstance(definition, str) \
        else json.dumps(definition)
    with tempfile.NamedTemporaryFile("w", suffix=".asl.json",
                                     encoding="utf-8") as source:
        source.write(text)
        source.flush()
        return must(ctl("workflow", "register", source.name, "--name", name,
                        "--json", database=conninfo)).json["version"]


# ---- PostgreSQL ----

def server_programs():
    """The folder with initdb and postgres: the newest that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"),
                   key=lambda path: int(path.split("/")[4].split(".")[0]))
    if found:
        return os.path.dirname(found[-1])
    path = shutil.which("initdb")
    if path is None:
        raise RuntimeError("no PostgreSQL server: run scripts/setup")
    return os.path.dirname(os.path.realpath(path))


class Cluster:
    """A private cluster, made at the first start()."""

    def __init__(self, settings=None):
        self.settings = {
            "listen_addresses": "",
            "max_connections": "60",
            "shared_buffers": "64MB",
            "log_min_messages": "warning",
            # As PostgreSQL's own tests have it: processes are killed here,
            # not machines, and what they wrote the kernel has. With it a
            # crashed server takes a minute to recover beside a busy one.
            "fsync": "off",
            **(settings or {}),
        }
        self.dir = None   # short: a socket's path has 107 bytes
        self.user = None  # who owns the server and its superuser
        self.made_by = os.getpid()

    # ---- where it is ----

    @property
    def data(self):
        return os.path.join(self.dir, "data")

    def conninfo(self, database="postgres"):
        return (f"host={self.dir} port=5432 user={self.user} "
                f"dbname={database}")

    def log(self):
        """What the server said."""
        with open(os.path.join(self.dir, "log"), encoding="utf-8",
                  errors="replace") as text:
            return text.read()

    # ---- its life ----

    def _as_owner(self, *command):
        """The command, run as the owner: postgres refuses to run as root."""
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}",
                "--init-groups", *command]

    def _run(self, name, *words):
        done = subprocess.run(
            self._as_owner(os.path.join(server_programs(), name), *words),
            env=clean_env(LC_ALL="C.UTF-8"), cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        if done.returncode != 0:
            log = self.log() if os.path.exists(self.dir + "/log") else ""
            raise RuntimeError(f"{name} failed: {done.stdout}{log}")

    def _make(self):
        owner = pwd.getpwnam(ACCOUNT) if os.geteuid() == 0 \
            else pwd.getpwuid(os.geteuid())
        self.user = owner.pw_name
        self.dir = tempfile.mkdtemp(prefix="rappel-pg-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        os.chown(self.dir, owner.pw_uid, owner.pw_gid)
        atexit.register(self._remove_at_exit)
        self._run("initdb", "-D", self.data, "-U", self.user, "-A", "trust",
                  "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a",
                  encoding="utf-8") as conf:
            conf.write(f"unix_socket_directories = '{self.dir}'\n")
            for name, value in self.settings.items():
                conf.write(f"{name} = '{value}'\n")

    def start(self):
        """Starts the server and waits until it accepts connections."""
        if self.dir is None:
            self._make()
        self._run("pg_ctl", "-D", self.data, "-s", "-w", "-t", "60",
                  "-l", os.path.join(self.dir, "log"), "start")
        return self

    def is_running(self):
        return self.dir is not None and self.postmaster() is not None

    def postmaster(self):
        """The server's process id while it lives, or None."""
        try:
            with open(os.path.join(self.data, "postmaster.pid"),
                      encoding="ascii") as lines:
                pid = int(lines.readline())
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def stop(self, mode="fast"):
        """Stops the server: fast, immediate (a crash) or smart."""
        if self.is_running():
            self._run("pg_ctl", "-D", self.data, "-s", "-w", "-t", "60",
                      "-m", mode, "stop")

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def remove(self):
        """Stops it and removes its folder; nothing is left."""
        if self.dir is None:
            return
        pid = self.postmaster()
        if pid is not None:
            try:
                self.stop("immediate")
            except RuntimeError:
                os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir = None

    def _remove_at_exit(self):
        # Not in a child that was forked and ends on its own.
        if os.getpid() == self.made_by:
            self.remove()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    # ---- what is in it ----

    def psql(self, text, database="postgres"):
        """Runs SQL; the rows as lists of texts, NULL as ''."""
        done = subprocess.run(
            [shutil.which("psql") or os.path.join(server_programs(), "psql"),
             "-X", "-q", "-A", "-t", "-F", "\x1f", "-R", "\x1e",
             "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database), "-f",
             "-"], input=text, env=clean_env(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql failed: {done.stderr}")
        out = done.stdout.rstrip("\n")
        return [row.split("\x1f") for row in out.split("\x1e")] if out else []

    def create(self, database, options=""):
        """Makes a database, anew if it is there; gives its name."""
        self.psql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        self.psql(f'CREATE DATABASE "{database}" {options}')
        return database

    def connect(self, database="postgres"):
        """A psycopg2 connection."""
        import psycopg2  # pylint: disable=import-outside-toplevel
        return psycopg2.connect(self.conninfo(database))


def scratch(test, prefix="rappel-test-"):
    """A folder that goes with the test case."""
    folder = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    sys.exit("harness.py is for the tests beside it")

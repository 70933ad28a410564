"""rappeld: its children, how it stops, what it refuses, who may ask it."""

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import unittest

from patience import patience
from supervised import (AWAY, COMPLETION, DISPATCH, DRAIN, GONE, HELLO,
                        INSTANCE, KILL, REQUEST, STATUS, UNDELIVERABLE, WORKING, Case, alive,
                        wait_for)


class Life(Case):

    def test_start_work_and_stop(self):
        peer, hello = self.pool()
        self.wait_phase("running")
        found = self.status()
        self.assertEqual(found["pid"], self.process.pid)
        self.assertEqual(found["dir"], self.dir)
        self.assertEqual(found["dev"], False)
        self.assertEqual(found["flusher"], {"fake": True})
        self.assertEqual(found["left_out"], 0)
        self.assertEqual([p["phase"] for p in found["processes"]],
                         ["ready"] * 3)
        self.assertEqual(hello[1][4]["protocol"], 1)
        self.assertEqual(hello[1][4]["pid"], self.worker_pid(1))
        self.assertIn("command", hello[1][4]["actions"])
        self.dispatch(peer, hello[1], (5, "echo", {"a": [1, 2]}),
                      (6, "noop", {"b": 1}), (7, "nothing", None))
        items = []
        while len(items) < 3:
            frame = peer.expect(COMPLETION, 1)
            self.assertEqual(frame[3], len(frame[4]))
            items += frame[4]
        self.assertEqual([i[1:4] for i in items], [[INSTANCE, 7, 1]] * 3)
        self.assertEqual([(i[0], i[4], i[6]) for i in items],
                         [(5, 0, {"a": [1, 2]}), (6, 0, None),
                          (7, 1, "Rappel.UnknownAction")])
        self.signal(signal.SIGTERM)
        drain = peer.expect(DRAIN)
        self.assertEqual(drain[4], {"grace_us": 30000000})
        peer.send(["exit", 0])
        code, seconds = self.exited(5)
        self.assertEqual(code, 0)
        self.assertLess(seconds, patience(1))
        self.assertEqual(os.listdir(self.dir), ["lock"])

    def test_what_children_inherit(self):
        self.env.update(SECRET="x", PGPASSWORD="y", LANG="C")
        self.start("--database", "host=/flag")
        peer, about = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        hello = self.hellos(peer)
        self.assertEqual(about["argv"][1:],
                         ["--fd", "3", "--dir", self.dir, "--boards", "4"])
        self.assertEqual(about["env"]["RAPPEL_DATABASE_URL"], "host=/flag")
        self.assertEqual(about["env"]["PGPASSWORD"], "y")
        self.assertNotIn("SECRET", about["env"])
        pid = hello[0][4]["pid"]
        with open(f"/proc/{pid}/environ", "rb") as text:
            names = sorted(e.split(b"=")[0].decode()
                           for e in text.read().split(b"\0") if e)
        for name in names:
            self.assertIn(name, [
                "PATH", "HOME", "LANG", "TZ", "RAPPEL_LIFE", "RAPPEL_FD",
                "RAPPEL_SLOT", "RAPPEL_SPAWN", "RAPPEL_LOG_LEVEL",
                "RAPPEL_SCOREBOARD_FD", "RAPPEL_VALUE_BYTES_MAX",
                "RAPPEL_GROUP"])
        # 4 was its scoreboard, which it has mapped and closed; now it is
        # what its log opened: stderr once more, not blocking.
        fds = {n: os.readlink(f"/proc/{pid}/fd/{n}")
               for n in os.listdir(f"/proc/{pid}/fd")}
        self.assertLessEqual(set(fds), set("012345"))
        self.assertEqual(len([n for n in fds if fds[n] == fds["1"]]), 3)
        self.assertIn("pipe:", fds["1"])
        with open(f"/proc/{pid}/cmdline", "rb") as text:
            self.assertEqual(text.read(),
                             b"rappel-worker: native slot 0 spawn 1\0")
        with open(f"/proc/{pid}/status", encoding="utf-8") as text:
            status = dict(line.split(":\t") for line in
                          text.read().splitlines() if ":\t" in line)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(int(status["SigBlk"], 16), 0)
        self.assertEqual(os.getpgid(pid), pid)

    def test_a_dead_worker_is_reported_and_replaced(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "echo", 1))
        peer.expect(COMPLETION, 0)
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        begun = time.monotonic()
        gone = peer.expect(GONE)
        self.assertEqual(gone[1:4], [0, 1, 1])
        self.assertEqual(gone[4], {"reason": "killed by signal 9"})
        again = peer.expect(HELLO, 0)
        self.assertLess(time.monotonic() - begun, patience(0.5))
        self.assertEqual(again[1:3], [0, 2])
        found = self.process_of("worker", 0)
        self.assertEqual((found["restarts"], found["last_exit"]),
                         (1, "killed by signal 9"))
        # What was meant for the dead one comes back untouched.
        self.dispatch(peer, hello[0], (2, "echo", {"x": 1}))
        back = peer.expect(UNDELIVERABLE)
        self.assertEqual(back[1:4], [0, 1, 1])
        self.assertEqual(back[4][0][7], {"x": 1})
        self.assertEqual(self.run_action(peer, again, "echo", 5), [5])
        peer.send([DISPATCH, 700, 1, 0, []])
        self.assertEqual(peer.expect(UNDELIVERABLE)[1:3], [700, 1])

    def test_kill_takes_the_process_group(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[1],
                      (1, "command", {"command": ["sleep", "1000"]}))
        pid = hello[1][4]["pid"]

        def child():
            with open(f"/proc/{pid}/task/{pid}/children",
                      encoding="utf-8") as text:
                return text.read().split()
        program = int(wait_for("the program runs", child)[0])
        peer.send([KILL, 1, 1, 0, {"reason": "timeout"}])
        gone = peer.expect(GONE)
        self.assertEqual(gone[4]["reason"], "timeout")
        self.assertFalse(alive(pid))
        wait_for("the program is gone", lambda: not alive(program), 2)
        # Being killed on request is no failure: no backoff.
        self.assertEqual(peer.expect(HELLO, 1, 0.5)[2], 2)

    def test_a_flusher_that_dies_leaves_the_workers_alone(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        time.sleep(0.05)
        os.kill(self.process_of("flusher")["pid"], signal.SIGKILL)
        begun = time.monotonic()
        peer, _ = self.flusher()
        again = self.hellos(peer)
        self.assertLess(time.monotonic() - begun, patience(1))
        # How many items an earlier flusher had it run stands in the header.
        self.assertEqual([again[0][:4], again[1][:4]],
                         [[HELLO, 0, 1, 1], [HELLO, 1, 1, 0]])
        self.assertTrue(alive(hello[0][4]["pid"]))
        self.wait_phase("starting")
        peer.send([STATUS, 0, 0, WORKING, {}])
        self.wait_phase("running")
        self.assertEqual(self.run_action(peer, again[1], "echo", 1), [1])

    def test_a_fenced_flusher_is_replaced_at_once(self):
        peer, hello = self.pool()
        self.wait_phase("running")
        begun = time.monotonic()
        peer.send(["exit", 75])
        peer, _ = self.flusher()
        self.assertLess(time.monotonic() - begun, patience(0.5))
        # What its workers held is another pool's: they are new.
        self.assertEqual([h[2] for h in self.hellos(peer).values()], [2, 2])
        self.assertFalse(alive(hello[0][4]["pid"]))
        self.assertIsNone(self.process.poll())

    def test_a_killed_supervisor_leaves_nobody(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = ""
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.dispatch(peer, hello[1],
                      (1, "command", {"command": ["sleep", "1000"]}))
        time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        wait_for("everybody is gone", lambda: not self.session(), 2)
        # The next one takes over lock and socket.
        self.start()
        self.hellos(self.flusher()[0])
        self.assertEqual(self.ask("ping"), {"ok": True})

    def test_signal_storm(self):
        self.pool()
        for _ in range(200):
            for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1,
                           signal.SIGPIPE, signal.SIGALRM):
                self.signal(number)
        self.wait_phase("running")
        self.assertEqual(self.ask("ping"), {"ok": True})


class Stopping(Case):

    def test_a_worker_that_never_ends(self):
        peer, hello = self.pool("--shutdown-grace", "700ms")
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        time.sleep(0.05)
        self.signal(signal.SIGTERM)
        begun = time.monotonic()
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 700000})
        self.wait_phase("draining")
        gone = [peer.expect(GONE)[1], peer.expect(GONE)[1]]
        self.assertGreater(time.monotonic() - begun, 0.6)
        self.assertEqual(sorted(gone), [0, 1])
        peer.send(["exit", 0])
        self.assertEqual(self.exited(2)[0], 0)
        self.assertLess(time.monotonic() - begun, patience(1.7))

    def test_a_flusher_that_never_ends(self):
        peer, _ = self.pool("--shutdown-grace", "300ms")
        peer.send(["hang"])
        self.signal(signal.SIGTERM)
        code, seconds = self.exited(5)
        self.assertEqual(code, 1)
        self.assertLess(seconds, patience(1.3))
        self.assertGreater(seconds, 1.0)

    def test_the_second_term_forces(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.signal(signal.SIGTERM)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 30000000})
        begun = time.monotonic()
        self.signal(signal.SIGTERM)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 0})
        peer.expect(GONE)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)
        self.assertLess(time.monotonic() - begun, patience(1))

    def test_int_forces(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.signal(signal.SIGINT)
        peer.expect(GONE)
        peer.send(["exit", 0])
        code, seconds = self.exited(3)
        self.assertEqual(code, 0)
        self.assertLess(seconds, patience(1))

    def test_quit_kills_everything(self):
        peer, _ = self.pool()
        peer.send(["hang"])
        self.signal(signal.SIGQUIT)
        code, seconds = self.exited(3)
        self.assertEqual(code, 1)
        self.assertLess(seconds, patience(0.9))

    def test_term_before_the_flusher_says_hello(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = "1"
        self.start("--shutdown-grace", "200ms")
        self.flusher()
        self.signal(signal.SIGTERM)
        code, seconds = self.exited(3)
        self.assertEqual(code, 1)
        self.assertLess(seconds, patience(1.2))

    def test_term_at_once(self):
        for pause in (0, 0.001, 0.01, 0.03):
            self.start("--shutdown-grace", "200ms")
            wait_for("signals are handled", lambda: "starting" in self.log())
            time.sleep(pause)
            self.signal(signal.SIGTERM)
            _, seconds = self.exited(3)
            self.assertLess(seconds, patience(1.2))
            os.truncate(self.log_path, 0)

    def test_drain_keeps_the_daemon(self):
        peer, hello = self.pool()
        self.dispatch(peer, hello[0], (1, "sleep", {"ms": 300}))
        self.assertEqual(self.ask("drain"),
                         {"ok": True, "phase": "draining"})
        peer.expect(DRAIN)
        self.assertEqual(self.status()["phase"], "draining")
        peer.expect(COMPLETION)
        peer.send(["exit", 0])
        self.wait_phase("drained")
        self.assertEqual([p["phase"] for p in self.status()["processes"]],
                         ["free"] * 3)
        time.sleep(0.3)
        self.assertEqual(self.status()["phase"], "drained")
        self.assertEqual(self.ask("stop")["ok"], True)
        self.assertEqual(self.exited(3)[0], 0)

    def test_stop_verb(self):
        peer, hello = self.pool()
        self.assertEqual(self.ask("stop", grace_us=-1)["code"], 2)
        self.assertEqual(self.ask("stop", now="yes")["code"], 2)
        self.dispatch(peer, hello[0], (1, "sleep", {"seconds": 1000}))
        self.assertEqual(self.ask("stop", grace_us=60000000)["ok"], True)
        self.assertEqual(peer.expect(DRAIN)[4], {"grace_us": 60000000})
        self.assertEqual(self.ask("stop", now=True)["ok"], True)
        peer.expect(GONE)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)


class Refusing(Case):

    def test_exit_codes_of_the_flusher(self):
        for code in (75, 77, 78):
            self.start()
            peer, _ = self.flusher()
            peer.send(["exit", code])
            self.assertEqual(self.exited(3)[0], code)
            self.assertEqual(os.listdir(self.dir), ["lock"])

    def test_second_daemon(self):
        self.pool()
        found = self.run_rappeld("--dir", self.dir)
        self.assertEqual(found.returncode, 75)
        self.assertIn(f"pid {self.process.pid}", found.stderr)
        self.assertEqual(self.ask("ping"), {"ok": True})

    def test_directory(self):
        os.mkdir(self.dir)
        os.symlink(self.dir, self.folder + "/link")
        found = self.run_rappeld("--dir", self.folder + "/link")
        self.assertEqual((found.returncode, "symbolic link" in found.stderr),
                         (77, True))
        os.chmod(self.dir, 0o777)
        self.assertEqual(self.run_rappeld("--dir", self.dir).returncode, 77)
        if os.geteuid() == 0:
            os.chmod(self.dir, 0o700)
            os.chown(self.dir, 12345, 12345)
            found = self.run_rappeld("--dir", self.dir)
            self.assertEqual(found.returncode, 77)
            self.assertIn("12345", found.stderr)
            os.chown(self.dir, 0, 0)
        long = os.path.join(self.folder, "d" * 100)
        found = self.run_rappeld("--dir", long)
        self.assertEqual(found.returncode, 78)
        self.assertIn("choose a shorter", found.stderr)
        open(self.folder + "/file", "wb").close()
        found = self.run_rappeld("--dir", self.folder + "/file/x")
        self.assertEqual(found.returncode, 78)

    def test_usage_and_configuration(self):
        for args, code in ((["--help"], 0), (["-V"], 0), (["-t"], 0),
                           (["--nonsense"], 64), (["more"], 64),
                           (["-c", "/nowhere/x"], 78),
                           (["--workers", "0"], 78),
                           (["--shutdown-grace", "soon"], 78),
                           (["--database", "password=x"], 78)):
            found = self.run_rappeld(*args)
            self.assertEqual(found.returncode, code, (args, found))
        self.env["RAPPEL_WORKER"] = "/nowhere/worker"
        found = self.run_rappeld("--dir", self.dir)
        self.assertEqual(found.returncode, 78)
        self.assertIn("/nowhere/worker", found.stderr)

    def test_flusher_in_a_crash_loop_backs_off(self):
        self.env["RAPPEL_FLUSHER"] = "/bin/false"
        self.start()
        wait_for("it listens", self.status)
        time.sleep(1.5)
        restarts = self.process_of("flusher")["restarts"]
        self.assertLessEqual(restarts, 5)
        self.assertGreaterEqual(restarts, 3)
        found = self.status()
        self.assertEqual(found["phase"], "degraded")
        self.assertEqual(found["degraded"]["reason"],
                         "the flusher does not start: exit status 1")
        self.signal(signal.SIGTERM)
        self.assertEqual(self.exited(2)[0], 0)

    def test_worker_that_cannot_start_backs_off(self):
        self.env["RAPPEL_WORKER"] = "/bin/true"
        self.start()
        wait_for("it listens", self.status)
        time.sleep(1.5)
        found = self.process_of("worker")
        self.assertLessEqual(found["restarts"], 5)
        self.assertEqual(found["last_exit"], "exit status 0")


class Control(Case):

    def test_bad_requests(self):
        self.start()
        wait_for("it listens", self.status)
        for request in ({}, [], {"verb": "shutdown"}, {"verb": 1}, None):
            peer = self.control()
            peer.send([REQUEST, 0, 0, 0, request])
            frame = peer.receive()
            self.assertEqual((frame[4]["ok"], frame[4]["code"]), (False, 2))
        for raw in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.0\r\n",
                    struct.pack(">I", 65537)):
            peer = self.control()
            peer.sock.sendall(raw)
            self.assertIsNone(peer.receive())
        self.assertEqual(self.ask("ping"), {"ok": True})
        mode = os.stat(os.path.join(self.dir, "control.sock")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.dir).st_mode), 0o700)

    def test_many_and_slow_clients(self):
        self.start()
        wait_for("it listens", self.status)
        # Root alone may have more than a share of 8.
        held = [self.control() for _ in range(
            63 if os.geteuid() == 0 else 7)]
        self.assertEqual(self.ask("ping"), {"ok": True})
        begun = time.monotonic()
        self.assertIsNone(held[0].receive(8))
        self.assertGreater(time.monotonic() - begun, 4)
        self.assertLess(time.monotonic() - begun, patience(6))

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_other_users(self):
        self.start()
        wait_for("it listens", self.status)
        os.chmod(self.folder, 0o711)
        os.chmod(self.dir, 0o711)
        os.chmod(os.path.join(self.dir, "control.sock"), 0o666)
        code = ("import os, socket, sys; os.setgid(65534); "
                "os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
                "s.connect(sys.argv[1]); "
                "sys.exit(b'only root' not in s.recv(999))")
        subprocess.run([sys.executable, "-c", code,
                        os.path.join(self.dir, "control.sock")], check=True)

    def test_status_before_and_without_a_flusher(self):
        self.env["RAPPEL_TEST_NO_HELLO"] = "1"
        self.start()
        wait_for("it listens", self.status)
        self.assertEqual(self.status()["phase"], "starting")
        self.assertIsNone(self.status()["flusher"])

    def test_phases_by_health(self):
        peer, _ = self.pool()
        self.wait_phase("running")
        peer.send([STATUS, 0, 0, AWAY, {"a": 1}])
        self.wait_phase("database-away")
        peer.send([STATUS, 0, 0, WORKING, {"a": 2}])
        self.wait_phase("running")


class Notify(Case):

    def test_init_system(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.folder, "notify")
        sock.bind(path)
        sock.settimeout(5)
        self.env.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="200000")

        def until(what):
            while True:
                text = sock.recv(4096).decode()
                if what in text:
                    return
                self.assertNotEqual(text, "READY=1")
        self.start()
        peer, about = self.flusher()
        self.assertNotIn("NOTIFY_SOCKET", about["env"])
        self.hellos(peer)
        until("WATCHDOG=1")
        peer.send([STATUS, 0, 0, WORKING, {}])
        until("READY=1")
        until("STATUS=running, 2 of 2")
        until("WATCHDOG=1")
        self.signal(signal.SIGTERM)
        until("STOPPING=1")
        until("EXTEND_TIMEOUT_USEC=")
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)
        sock.close()


if __name__ == "__main__":
    unittest.main()

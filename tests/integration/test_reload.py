"""The configuration read again: whole or not at all, at any time."""

import os
import signal
import socket
import subprocess
import time
import unittest

import harness
from patience import patience
from supervised import GONE, HELLO, STATUS, WORKING, Case, wait_for

RELOADS = int(os.environ.get("RAPPEL_RELOADS", "1000"))


class Reload(Case):

    def setUp(self):
        super().setUp()
        self.conf = os.path.join(self.folder, "rappel.conf")

    def write(self, text, mode=0o600):
        with open(self.conf + ".new", "w", encoding="utf-8") as conf:
            conf.write(text)
        os.chmod(self.conf + ".new", mode)
        os.rename(self.conf + ".new", self.conf)

    def start(self, *flags):
        """Without --workers: those come from the file."""
        self.env["RAPPEL_CONFIG"] = self.conf
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [harness.program("rappeld"), "--dir", self.dir, *flags],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", start_new_session=True)
        self.seen.append(self.process.pid)
        return self

    def ctl(self, *words):
        return harness.ctl("--dir", self.dir, *words)

    def test_what_changes(self):
        self.write("[pool]\nworkers = 2\n")
        peer, hello = self.pool()
        self.write("[pool]\nworkers = 3\nshutdown_grace = 7s\n"
                   "pool_name = other\n[worker]\nworker_recycle_actions = 4\n"
                   "[flusher]\nlease = 20s\n[log]\nlog_level = debug\n")
        self.assertEqual(self.ask("reload"), {
            "ok": True,
            "changed": ["workers", "shutdown_grace", "worker_recycle_actions",
                        "log_level"],
            "at_next_start": ["pool_name", "lease"]})
        hello[2] = peer.expect(HELLO, 2)
        # The limits of those that live, too.
        self.dispatch(peer, hello[0], *[(n, "echo", n) for n in range(1, 5)])
        self.assertEqual(peer.expect(HELLO)[1], 3)
        peer.expect(GONE, 0)
        self.assertIn("level=debug comp=supervisor", self.log())
        found = self.ctl("reload", "--json")
        self.assertEqual(found.json, {"changed": [], "at_next_start": [
            "pool_name", "lease"]})
        found = self.ctl("reload")
        self.assertIn("nothing has changed now", found.err)
        self.assertIn("only after a restart of the daemon: pool_name, lease",
                      found.err)
        # What was scaled by hand stays, until the file says otherwise.
        self.assertEqual(self.ctl("scale", "1", "--json").json,
                         {"group": "native", "workers": 1, "before": 3})
        self.assertEqual(self.ask("reload")["ok"], True)
        self.assertEqual(self.status()["workers"], 1)
        self.write("[pool]\nworkers = 2\n")
        self.ask("reload")
        self.assertEqual(self.status()["workers"], 2)
        self.signal(signal.SIGTERM)
        peer.send(["exit", 0])
        self.assertEqual(self.exited(3)[0], 0)

    def test_errors_change_nothing(self):
        good = "[pool]\nworkers = 2\n"
        self.write(good)
        peer, hello = self.pool()
        for text, mode, error in (
                ("[pool]\nworkers = 3\nshutdown_gra", 0o600,
                 f'{self.conf}:3: expected "key = value"'),
                ("[pool]\nworkers = 3\nworkers_min = 1\n", 0o600,
                 f'{self.conf}:3: unknown key "workers_min"'),
                ("[pool]\nworkers = many\n", 0o600, f"{self.conf}:2: workers"),
                ("[pool]\nworkers = 65\n", 0o600,
                 f"{self.conf}:2: workers = 65 is more than the 64"),
                ("[pool]\nworkers = 0\n[group x]\nprogram = rappel-worker\n",
                 0o600, f"{self.conf}:2: workers = 0 needs a group"),
                ("[pool]\nworkers = 3\n", 0o602, "everybody may write"),
                ("[pool]\nworkers = 3\n\0", 0o600, "not a text file"),
                ("[flusher]\nlease = 1s\n", 0o600, "heartbeat")):
            with self.subTest(error):
                self.write(text, mode)
                found = self.ctl("reload")
                self.assertEqual(found.code, 1, found)
                self.assertIn(error, found.err)
                self.signal(signal.SIGHUP)
                wait_for("it is in the log", lambda: self.log().count(
                    "configuration stays as it was") % 2 == 0)
                self.assertEqual(self.status()["workers"], 2)
                self.assertEqual(self.run_action(peer, hello[0], "echo", 1),
                                 [1])
        os.unlink(self.conf)
        self.assertIn("No such file", self.ctl("reload").err)
        os.mkdir(self.conf)
        self.assertIn("Is a directory", self.ctl("reload").err)
        os.rmdir(self.conf)
        # Nothing at all is the defaults.
        self.write("")
        self.assertEqual(self.ask("reload")["changed"], ["workers"])
        self.assertEqual(self.status()["workers"], 4)

    def descriptors(self):
        try:
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except PermissionError:
            return 0  # only root may look into it

    def test_many(self):
        """E11: nothing grows, and dispatching does not stall."""
        texts = ("[pool]\nworkers = 2\nshutdown_grace = 5s\n",
                 "[pool]\nworkers = 2\nshutdown_grace = 6s\n[worker]\n"
                 "worker_recycle_age = 1h\n", "[pool]\nworkers = x\n")
        self.write(texts[0])
        peer, hello = self.pool()
        client = self.control()

        def reload():
            client.send([30, 0, 0, 0, {"verb": "reload"}])
            return client.receive()[4]
        for n in range(50):
            reload()
        fds, rss = self.descriptors(), self.rss()
        slowest = 0
        begun = time.monotonic()
        for n in range(RELOADS):
            if n % 5 == 0:
                self.write(texts[n // 5 % 3])
            reload()
            if n % 10 == 0:
                at = time.monotonic()
                self.run_action(peer, hello[0], "echo", n)
                slowest = max(slowest, time.monotonic() - at)
        seconds = time.monotonic() - begun
        grown = self.rss() - rss
        print(f"\nE11: {RELOADS} reloads in {seconds:.1f} s, RSS +{grown} "
              f"KiB, fds +{self.descriptors() - fds}, slowest action "
              f"{slowest * 1000:.1f} ms", flush=True)
        self.assertEqual(self.descriptors(), fds)
        self.assertTrue(grown < 512 or self.sanitized())
        self.assertLess(slowest, patience(0.1))

    def test_init_system_is_told(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.folder, "notify")
        sock.bind(path)
        sock.settimeout(5)
        self.env["NOTIFY_SOCKET"] = path
        self.write("[pool]\nworkers = 2\n")
        self.pool()
        texts = []
        while "READY=1" not in texts:
            texts.append(sock.recv(4096).decode())
        self.signal(signal.SIGHUP)
        texts = []
        while "READY=1" not in texts:
            texts.append(sock.recv(4096).decode())
        said = [text for text in texts if text.startswith("RELOADING=1\n")]
        self.assertRegex(said[0], r"\nMONOTONIC_USEC=\d+$")
        sock.close()


class Storms(Case):

    def test_signals_of_all_kinds(self):
        """E10: nothing is missed, and nothing ends that should not."""
        peer, hello = self.pool()
        pids = {slot: frame[4]["pid"] for slot, frame in hello.items()}
        numbers = (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE,
                   signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)
        until = time.monotonic() + 2
        sent = 0
        while time.monotonic() < until:
            for number in numbers:
                self.signal(number)
                sent += 1
            if sent % 3000 == 0:
                os.kill(pids[0], signal.SIGKILL)
                pids[0] = peer.expect(HELLO, 0)[4]["pid"]
        self.assertGreater(sent, 2000)
        os.kill(pids[1], signal.SIGKILL)
        again = peer.expect(HELLO, 1)
        self.assertEqual(self.run_action(peer, again, "echo", 1), [1])
        self.wait_phase("running")
        self.assertEqual(len([p for p in self.status()["processes"]
                              if p["phase"] == "ready"]), 3)

    def test_term_amid_a_storm(self):
        for state in ("working", "draining", "degraded", "restarting",
                      "no flusher"):
            with self.subTest(state):
                self.env.pop("RAPPEL_WORKER", None)
                self.env.pop("RAPPEL_TEST_NO_HELLO", None)
                if state == "degraded":
                    self.env["RAPPEL_WORKER"] = "/bin/false"
                if state == "no flusher":
                    self.env["RAPPEL_TEST_NO_HELLO"] = "1"
                self.start("--shutdown-grace", "300ms")
                peer, _ = self.flusher()
                peer.send([STATUS, 0, 0, WORKING, {}])
                if state not in ("degraded", "no flusher"):
                    hello = self.hellos(peer)
                    self.dispatch(peer, hello[0],
                                  (1, "sleep", {"seconds": 1000}))
                if state == "degraded":
                    self.wait_phase("degraded")
                if state == "draining":
                    self.ask("drain")
                if state == "restarting":
                    self.ask("restart")
                for n in range(300):
                    self.signal((signal.SIGHUP, signal.SIGCHLD)[n % 2])
                self.signal(signal.SIGTERM)
                begun = time.monotonic()
                while self.process.poll() is None and \
                        time.monotonic() - begun < patience(5):
                    self.signal(signal.SIGHUP)
                    time.sleep(0.001)
                took = time.monotonic() - begun
                self.process.kill()
                self.process.wait()
                self.assertLess(took, patience(1.4))
                os.truncate(self.log_path, 0)
                self.forget_flushers()


if __name__ == "__main__":
    unittest.main()

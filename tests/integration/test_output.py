"""What workers print: tagged, cut, limited; nobody who floods, or does not
read the log, slows anybody else."""

import os
import re
import signal
import subprocess
import time
import unittest

from patience import patience
from supervised import (BUILD, COMPLETION, GONE, HELLO, Case, alive, wait_for)

WORKER = os.path.join(BUILD, "worker", "rappel-worker")


class Output(Case):

    def script(self, text):
        path = os.path.join(self.folder, "worker.sh")
        with open(path, "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        self.env["RAPPEL_WORKER"] = path

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def latencies(self, seconds):
        """What a ping takes, again and again."""
        found, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            self.assertEqual(self.ask("ping"), {"ok": True})
            found.append(time.monotonic() - begun)
        return sorted(found)

    def test_lines_are_tagged(self):
        self.script("echo out; echo err >&2\n"
                    "printf 'tab\\there \"q\" \\033[31m \\377 no end'\n"
                    "printf '\\nlast' >&2\n"
                    f"[ $RAPPEL_SLOT = 1 ] && exec {WORKER}\n"
                    "exit 4\n")
        self.start()
        peer, _ = self.flusher()
        peer.expect(HELLO, 1)
        wait_for("the other ended", lambda: 'spawn=1 how="exit status 4"'
                 in self.log())
        for slot in (0, 1):
            lines = [line.split(" comp=", 1)[1] for line in
                     self.log().splitlines()
                     if f"comp=worker/{slot} " in line and "spawn=1" in line]
            tags = f"slot={slot} spawn=1"
            self.assertEqual(lines[:3], [
                f'worker/{slot} msg="out" {tags}',
                f'worker/{slot} msg="err" {tags}',
                f'worker/{slot} msg="tab\\there \\"q\\" \\x1b[31m \\xff no end"'
                f' {tags}'])
        # A line without its end is one too, when there comes no more.
        self.assertIn('comp=worker/0 msg="last" slot=0 spawn=1', self.log())
        # Until its next life prints something.
        wait_for("status has the last line", lambda: self.process_of(
            "worker", 0)["last_output"] == ["last"])

    def test_its_own_log_is_not_wrapped(self):
        peer, hello = self.pool("--log-level", "debug")
        self.dispatch(peer, hello[0], (1, "echo", 1))
        peer.expect(COMPLETION)
        os.kill(hello[0][4]["pid"], signal.SIGTERM)
        peer.expect(GONE, 0)
        # A worker cannot speak as somebody else, nor begin a line of its own.
        self.assertNotIn('msg="ts=', self.log())

    def test_its_own_keys_are_not_said_twice(self):
        self.script('echo "ts=2026-01-01T00:00:00.000Z level=info '
                    'comp=worker/$RAPPEL_SLOT msg=\\"own\\" '
                    'spawn=77 n=1"\n' f"exec {WORKER}\n")
        self.pool()
        lines = [line for line in self.log().splitlines()
                 if 'msg="own"' in line]
        self.assertEqual(sorted(line.split('msg="own"')[1]
                                for line in lines),
                         [" spawn=77 n=1 slot=0", " spawn=77 n=1 slot=1"])

    def test_nobody_speaks_as_another(self):
        fake = ('ts=2026-01-01T00:00:00.000Z level=error comp=supervisor '
                'msg="all is lost"')
        self.script(f"echo '{fake}'\nexec {WORKER}\n")
        self.pool()
        for line in self.log().splitlines():
            self.assertFalse(line.startswith(fake), line)
        self.assertEqual(self.log().count('all is lost'), 2)

    def test_a_long_line_is_cut(self):
        self.script("head -c 100000 /dev/zero | tr '\\0' x\necho; echo next\n"
                    f"exec {WORKER}\n")
        self.pool()
        wait_for("the next line", lambda: 'msg="next"' in self.log())
        longest = max(self.log().splitlines(), key=len)
        self.assertLess(len(longest), 8192 + 200)
        self.assertGreater(len(longest), 8000)
        self.assertRegex(longest, r'xxxx" slot=\d spawn=1$')
        wait_for("what is missing is told", lambda: re.search(
            r"dropped.*bytes=9\d{4}", self.log()))

    def test_a_flood(self):
        """A10: yes at full speed, while others work."""
        self.script('[ $RAPPEL_SLOT = 0 ] && yes "a line that says little" &\n'
                    f"exec {WORKER}\n")
        peer, hello = self.pool()
        time.sleep(1)
        rss, cpu, size = self.rss(), self.cpu(), os.path.getsize(self.log_path)
        begun = time.monotonic()
        times = self.latencies(3)
        seconds = time.monotonic() - begun
        grown = self.rss() - rss
        share = (self.cpu() - cpu) / seconds
        rate = (os.path.getsize(self.log_path) - size) / seconds
        p99 = times[len(times) * 99 // 100]
        print(f"\nA10: flood: log {rate / 1024:.0f} KiB/s, RSS +{grown} KiB, "
              f"CPU {share:.0%}, ping p99 {p99 * 1000:.1f} ms of "
              f"{len(times)}", flush=True)
        self.assertLess(rate, 300 << 10)
        self.assertGreater(rate, 100 << 10)
        self.assertTrue(grown < 4 << 10 or self.sanitized())
        self.assertLess(p99, patience(0.05))
        told = [line for line in self.log().splitlines()
                if "prints too much" in line]
        self.assertGreaterEqual(len(told), 3)
        self.assertLessEqual(len(told), 6)
        self.assertIn("slot=0 spawn=1 lines=", told[0])
        # Both go on working, the one that floods as well.
        for slot in (0, 1):
            self.assertEqual(self.run_action(peer, hello[slot], "echo", 7),
                             [7])

    def test_nobody_reads_the_log(self):
        """The log is a pipe whose reader has stopped."""
        reader, writer = os.pipe()
        self.script('yes "a line that says little" &\n' f"exec {WORKER}\n")
        os.mkdir(self.dir, 0o700)
        # As start() does, but with the pipe behind stderr.
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "supervisor", "rappeld"), "--dir", self.dir,
             "--workers", "2"], env=self.env, stdin=subprocess.DEVNULL,
            stdout=writer, stderr=writer, cwd="/", start_new_session=True)
        self.seen.append(self.process.pid)
        os.close(writer)
        peer, _ = self.flusher()
        hello = self.hellos(peer)
        wait_for("the pipe and what is kept are full",
                 lambda: self.status()["log_dropped"] > 1000)
        rss = self.rss()
        times = self.latencies(2)
        p99 = times[len(times) * 99 // 100]
        grown = self.rss() - rss
        dropped = self.status()["log_dropped"]
        print(f"\nA10: log not read: ping p99 {p99 * 1000:.1f} ms, RSS "
              f"+{grown} KiB, {dropped} lines dropped", flush=True)
        self.assertLess(p99, patience(0.05))
        self.assertTrue(grown < 4 << 10 or self.sanitized())
        self.assertEqual(self.run_action(peer, hello[0], "echo", 1), [1])
        # Read again, it is told what was lost, and every line is whole.
        os.set_blocking(reader, False)
        text = b""
        until = time.monotonic() + 10
        while b"log lines dropped" not in text:
            self.assertLess(time.monotonic(), until)
            try:
                text += os.read(reader, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
        os.close(reader)
        for line in text.decode().splitlines()[:-1]:
            self.assertRegex(line, r"^ts=\S+ level=\w+ comp=\S+ msg=\".*")

    def test_the_log_is_gone(self):
        """Nobody holds the other end any more: EPIPE, and no end of ours."""
        reader, writer = os.pipe()
        self.script(f"echo hello\nexec {WORKER}\n")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "supervisor", "rappeld"), "--dir", self.dir,
             "--workers", "2"], env=self.env, stdin=subprocess.DEVNULL,
            stdout=writer, stderr=writer, cwd="/", start_new_session=True)
        self.seen.append(self.process.pid)
        os.close(writer)
        os.close(reader)
        peer, _ = self.flusher()
        hello = self.hellos(peer)
        os.kill(hello[0][4]["pid"], signal.SIGKILL)
        again = peer.expect(HELLO, 0)
        self.assertEqual(self.run_action(peer, again, "echo", 1), [1])
        self.assertTrue(alive(self.process.pid))


if __name__ == "__main__":
    unittest.main()

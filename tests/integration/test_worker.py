"""rappel-worker and its built-in actions; workers that misbehave."""

import os
import socket
import struct
import sys
import time
import unittest

from patience import patience
from supervised import (CANCEL, COMPLETION, DISPATCH, GONE, HEARTBEAT, HELLO,
                        INSTANCE, KILL, STATUS, WORKING, Case, wait_for)


class Actions(Case):
    workers = 1

    def setUp(self):
        super().setUp()
        self.env["SECRET"] = "x"
        self.peer, hello = self.pool()
        self.hello = hello[0]

    def act(self, action, value):
        return self.run_action(self.peer, self.hello, action, value)

    def shell(self, script, **more):
        return self.act("command",
                        dict(more, command=["sh", "-c", script]))

    def test_small_ones(self):
        self.assertEqual(self.act("noop", {"a": 1}), [None])
        self.assertEqual(self.act("echo", [1.5, None, "ä"]),
                         [[1.5, None, "ä"]])
        self.assertEqual(self.act("fail", {"error": "My.Error",
                                           "cause": "so"}),
                         ("My.Error", "so"))
        self.assertEqual(self.act("fail", None), ("States.TaskFailed", ""))
        self.assertEqual(self.act("fail", {"error": ""})[0],
                         "Rappel.InputInvalid")
        begun = time.monotonic()
        self.assertEqual(self.act("sleep", {"seconds": 0.1, "k": 1}),
                         [{"seconds": 0.1, "k": 1}])
        self.assertGreater(time.monotonic() - begun, 0.09)
        self.assertEqual(self.act("sleep", {"ms": 1}), [{"ms": 1}])
        for bad in (None, {}, {"seconds": -1}, {"ms": "1"},
                    {"seconds": 1e300}):
            self.assertEqual(self.act("sleep", bad)[0],
                             "Rappel.InputInvalid")

    def test_quick_answers_do_not_wait_behind_slow_ones(self):
        self.dispatch(self.peer, self.hello, (1, "echo", 1),
                      (2, "sleep", {"seconds": 1}), (3, "echo", 3))
        begun = time.monotonic()
        self.assertEqual(self.peer.expect(COMPLETION)[4][0][0], 1)
        self.assertLess(time.monotonic() - begun, patience(0.5))
        got = []
        while len(got) < 2:
            got += [i[0] for i in self.peer.expect(COMPLETION)[4]]
        self.assertEqual(got, [2, 3])

    def test_command_input(self):
        self.assertEqual(
            self.act("command", {"command": ["cat"], "a": 1, "b": [2]}),
            [{"a": 1, "b": [2]}])
        self.assertEqual(
            self.act("command", {"command": ["cat"], "stdin": [1], "a": 1}),
            [[1]])
        self.assertEqual(self.act("command", {"command": ["cat"]}), [{}])
        self.assertEqual(
            self.act("command", {"command": ["cat"], "output": "text",
                                 "stdin_text": "raw\n"}), ["raw"])
        self.assertEqual(
            self.act("command", {"command": ["printf", "a\nb\n\nc\n"],
                                 "output": "lines"}), [["a", "b", "", "c"]])
        self.assertEqual(
            self.act("command", {"command": ["pwd"], "cwd": "/",
                                 "output": "text"}), ["/"])
        self.assertEqual(
            self.act("command", {"command": ["echo", 1, 2.5, True]})[0],
            "Rappel.OutputInvalid")
        self.assertEqual(self.act("command", {"command": ["echo", 12]}),
                         [12])
        for bad in (None, {}, {"command": "ls"}, {"command": []},
                    {"command": ["a\0b"]}, {"command": [None]},
                    {"command": ["ls"], "output": "xml"},
                    {"command": ["ls"], "cwd": 1},
                    {"command": ["ls"], "env": {"a=b": "c"}},
                    {"command": ["ls"], "stdin_text": 1}):
            self.assertEqual(self.act("command", bad)[0],
                             "Rappel.InputInvalid", bad)

    def test_command_environment(self):
        found = self.shell("env", output="lines",
                           env={"MINE": "1", "N": 5, "LANG": None})[0]
        env = dict(line.split("=", 1) for line in found)
        self.assertEqual(env["MINE"], "1")
        self.assertEqual(env["N"], "5")
        self.assertEqual(env["RAPPEL_RUN_ID"],
                         "00010203-0405-0607-0809-0a0b0c0d0e0f")
        self.assertEqual(
            [env["RAPPEL_" + n] for n in ("ACTION", "ATTEMPT", "TOKEN",
                                          "ACTIVATION")],
            ["command", "1", "99", "7"])
        for name in ("SECRET", "LANG", "RAPPEL_FD", "RAPPEL_SLOT",
                     "RAPPEL_DATABASE_URL", "RAPPEL_DEADLINE"):
            self.assertNotIn(name, env)
        self.assertEqual(
            self.shell("ls /proc/self/fd | wc -l")[0], 4)
        self.peer.send([DISPATCH, 0, 1, 1, [
            [99, INSTANCE, 7, 1, "command", 5000000, 0,
             {"command": ["sh", "-c", "echo $RAPPEL_DEADLINE"]}]]])
        deadline = self.peer.expect(COMPLETION)[4][0][6]
        self.assertLess(abs(deadline - time.time() - 5), 2)

    def test_command_failures(self):
        for code, name in ((1, "Rappel.Exit.1"), (64, "Rappel.Usage"),
                           (65, "Rappel.DataErr"), (70, "Rappel.Software"),
                           (75, "Rappel.TempFail"), (78, "Rappel.Config"),
                           (79, "Rappel.Exit.79")):
            self.assertEqual(self.shell(f"exit {code}"),
                             (name, f"exit status {code}"))
        self.assertEqual(self.shell("echo hm >&2; exit 75"),
                         ("Rappel.TempFail", "hm"))
        self.assertEqual(self.shell("kill -9 $$"),
                         ("Rappel.Killed", "killed by signal 9"))
        error, cause = self.act("command", {"command": ["no-such-program"]})
        self.assertEqual(error, "Rappel.CommandNotFound")
        self.assertIn("no-such-program", cause)
        self.assertEqual(self.act("command", {"command": ["/etc"]})[0],
                         "Rappel.CommandNotStarted")
        self.assertEqual(self.act("command", {"command": ["ls"],
                                              "cwd": "/nowhere"})[0],
                         "Rappel.CommandNotStarted")
        self.assertEqual(self.shell("echo '{'")[0], "Rappel.OutputInvalid")
        self.assertEqual(self.shell("printf '\\377'", output="text")[0],
                         "Rappel.OutputInvalid")
        self.assertEqual(
            self.shell("head -c 2000000 /dev/zero | tr '\\0' x",
                       output="text")[0], "Rappel.OutputTooLarge")
        self.assertEqual(self.shell("yes")[0], "Rappel.OutputTooLarge")
        error, cause = self.shell(
            "head -c 9000 /dev/zero | tr '\\0' y >&2; "
            "printf 'end\\377' >&2; exit 1")
        self.assertEqual(cause, "y" * 2044 + "end?")

    def test_command_output(self):
        self.assertEqual(self.shell("exit 0"), [None])
        self.assertEqual(self.shell("echo '{\"a\": [1, 2.5, \"x\"]}'"),
                         [{"a": [1, 2.5, "x"]}])
        # Large both ways, and a program that does not read its input.
        value = ["x" * 1000] * 900
        self.assertEqual(self.act("command", {"command": ["cat"],
                                              "stdin": value}), [value])
        self.assertEqual(self.act("command", {"command": ["true"],
                                              "stdin": value}), [None])
        # What it left in the background does not hold the action up.
        begun = time.monotonic()
        self.assertEqual(self.shell("sleep 3 & echo 1"), [1])
        self.assertLess(time.monotonic() - begun, patience(2))

    def test_stderr_goes_to_the_log(self):
        self.shell("echo from the program >&2")
        wait_for("it is in the log",
                 lambda: 'msg="from the program" slot=0' in self.log())

    def test_many(self):
        hello, done = self.hello, set()
        items = [(token, "echo", {"n": token}) for token in range(1, 20001)]
        begun = time.monotonic()
        for at in range(0, len(items), 500):
            self.dispatch(self.peer, hello, *items[at:at + 500])
            while len(done) < at:
                for item in self.peer.expect(COMPLETION)[4]:
                    self.assertEqual(item[6], {"n": item[0]})
                    done.add(item[0])
        while len(done) < len(items):
            done.update(i[0] for i in self.peer.expect(COMPLETION)[4])
        self.assertLess(time.monotonic() - begun, patience(20))

    # ---- cancelled ----

    def cancel(self, *tokens):
        self.peer.send([CANCEL, self.hello[1], self.hello[2], len(tokens),
                        list(tokens)])

    def answers(self, count):
        got = []
        while len(got) < count:
            got += self.peer.expect(COMPLETION)[4]
        return got

    def test_says_that_it_can_be_cancelled(self):
        self.assertIs(self.hello[4]["cancel"], True)

    def test_cancelled_while_it_sleeps(self):
        self.dispatch(self.peer, self.hello, (1, "echo", 1),
                      (2, "sleep", {"seconds": 1000}), (3, "echo", 3))
        self.assertEqual(self.answers(1)[0][0], 1)
        begun = time.monotonic()
        self.cancel(2)
        failed, other = self.answers(2)
        self.assertLess(time.monotonic() - begun, patience(0.5))
        self.assertEqual(failed[:5] + failed[6:],
                         [2, INSTANCE, 7, 1, 1, "Rappel.Cancelled",
                          "cancelled while it slept"])
        self.assertEqual((other[0], other[4], other[6]), (3, 0, 3))

    def test_cancelled_before_it_begins(self):
        """Dispatch and cancellation come together: nothing is run, and what
        is not named is."""
        self.dispatch(self.peer, self.hello, (1, "sleep", {"seconds": 1000}),
                      (2, "echo", 2), (3, "echo", 3))
        self.cancel(1, 3)
        got = {item[0]: item[4:5] + item[6:] for item in self.answers(3)}
        self.assertEqual(got, {
            1: [1, "Rappel.Cancelled", got[1][2]], 2: [0, 2],
            3: [1, "Rappel.Cancelled", "cancelled before it began"]})
        # A token that was answered or never was means nothing any more.
        self.cancel(1, 2, 3, 4)
        self.dispatch(self.peer, self.hello, (4, "sleep", {"ms": 1}))
        self.assertEqual(self.answers(1)[0][4], 0)

    def test_frames_that_come_while_it_sleeps_wait(self):
        self.dispatch(self.peer, self.hello, (1, "sleep", {"seconds": 1000}))
        big = "x" * (1 << 20)
        for token in range(2, 6):
            self.dispatch(self.peer, self.hello, (token, "echo", big))
        self.cancel(1)
        got = self.answers(5)
        self.assertEqual([item[0] for item in got], [1, 2, 3, 4, 5])
        self.assertEqual([item[4] for item in got], [1, 0, 0, 0, 0])
        self.assertTrue(all(item[6] == big for item in got[1:]))

    def test_sleeping_is_living(self):
        """Its state demands heartbeats; parts that are not known yet are
        ignored."""
        self.peer.send([DISPATCH, 0, 1, 1, [
            [7, INSTANCE, 7, 1, "sleep", 0, 0, {"seconds": 1000}, 300000,
             {"of": ["a later protocol"]}]]])
        for _ in range(3):
            self.assertEqual(self.peer.expect(HEARTBEAT)[3:], [1, [[7, None]]])
        self.cancel(7)
        self.assertEqual(self.answers(1)[0][6], "Rappel.Cancelled")


EVIL = """#!/usr/bin/python3 -B
import msgpack, os, socket, struct, sys, time
s = socket.socket(fileno=3)
slot, spawn = int(os.environ["RAPPEL_SLOT"]), int(os.environ["RAPPEL_SPAWN"])
def send(*parts):
    body = msgpack.packb(parts)
    s.sendall(struct.pack(">I", len(body)) + body)
def hello():
    send(1, slot, spawn, 0, {"protocol": 1, "pid": os.getpid(),
                             "actions": ["x"], "window": 4})
if spawn > 1 or slot != 0:
    hello()
    s.recv(1)
    sys.exit(0)
"""


class Evil(Case):
    """Slot 0's first life misbehaves; the rest of the pool is fine."""

    def evil(self, code):
        program = os.path.join(self.folder, "evil")
        with open(program, "w", encoding="utf-8") as text:
            text.write(EVIL + code)
        os.chmod(program, 0o755)
        self.env["RAPPEL_WORKER"] = program
        self.start()
        peer, _ = self.flusher()
        peer.send([STATUS, 0, 0, WORKING, {}])
        return peer

    def check_replaced(self, peer, reason, seconds=3):
        while True:
            frame = peer.expect(HELLO, 0, seconds)
            if frame[2] == 2:
                break
        self.assertIn(reason, self.process_of("worker", 0)["last_exit"])
        self.assertEqual(self.process_of("worker", 1)["restarts"], 0)

    def test_in_the_name_of_another(self):
        peer = self.evil("hello(); send(11, 1, 1, 0, [])\ns.recv(9)")
        self.check_replaced(peer, "another worker's name")

    def test_types_of_others(self):
        peer = self.evil("hello(); send(14, slot, spawn, 0, {})\ns.recv(9)")
        self.check_replaced(peer, "broke the protocol")

    def test_hello_twice(self):
        peer = self.evil("hello(); hello()\ns.recv(9)")
        self.check_replaced(peer, "HELLO twice")

    def test_completion_before_hello(self):
        peer = self.evil("send(11, slot, spawn, 0, [])\ns.recv(9)")
        self.check_replaced(peer, "COMPLETION before HELLO")

    def test_garbage(self):
        peer = self.evil("s.sendall(b'\\xff' * 100)\ns.recv(9)")
        self.check_replaced(peer, "broke the protocol")

    def test_half_a_frame(self):
        peer = self.evil("hello(); s.sendall(b'\\0\\0\\1\\0abc'); s.close()")
        self.check_replaced(peer, "")

    def test_closed_socket_but_alive(self):
        peer = self.evil("hello(); s.close(); os.close(3) if 0 else None\n"
                         "time.sleep(1000)")
        self.check_replaced(peer, "closed its socket and stayed")

    def test_no_hello(self):
        peer = self.evil("time.sleep(1000)")
        self.check_replaced(peer, "no HELLO within 5 s", 8)

    def test_descendant_that_holds_the_socket(self):
        peer = self.evil("hello()\nif os.fork() == 0:\n  os.setsid()\n"
                         "  time.sleep(2)\n  os._exit(0)\n"
                         "time.sleep(0.1)\nos._exit(3)")
        frame = peer.expect(GONE, 0, 3)
        self.assertEqual(frame[4]["reason"], "exit status 3")
        self.check_replaced(peer, "exit status 3")
        time.sleep(1.5)

    def test_everything_sent_arrives_before_gone(self):
        peer = self.evil(
            "hello(); s.recv(99)\nfor i in range(2000):\n"
            "  send(11, slot, spawn, 1, [[i, b'', 7, 1, 0, 1, 'x' * 1000]])\n"
            "os.kill(os.getpid(), 9)")
        self.dispatch(peer, peer.expect(HELLO, 0), (1, "x", None))
        got = []
        while True:
            frame = peer.receive()
            if frame[0] == COMPLETION:
                got += [item[0] for item in frame[4]]
            if frame[0] == GONE:
                break
        self.assertEqual(got, list(range(2000)))

    def test_never_reads(self):
        peer = self.evil("hello()\ntime.sleep(1000)")
        while peer.expect(HELLO)[1] != 0:
            pass
        big = "x" * (1 << 20)
        for token in range(40):
            peer.send([DISPATCH, 0, 1, 1,
                       [[token, INSTANCE, 1, 1, "x", 0, token, big]]])
        # The others and the flusher's orders are not held up by that.
        peer.send([KILL, 0, 1, 0, {}])
        peer.expect(GONE, 0, 3)

    def test_flusher_that_does_not_read(self):
        peer = self.evil(
            "hello(); s.recv(99)\nfor i in range(64):\n"
            "  send(11, slot, spawn, 1, [[i, b'', 7, 1, 0, 1, 'x' * 1000000]])\n"
            "s.recv(1)")
        self.dispatch(peer, peer.expect(HELLO, 0), (1, "x", None))
        time.sleep(1)  # the fake stops reading when nobody reads it
        with open(f"/proc/{self.process.pid}/status",
                  encoding="utf-8") as text:
            rss = [int(line.split()[1]) for line in text
                   if line.startswith("VmRSS")][0]
        self.assertLess(rss, (160 if self.sanitized() else 48) << 10)
        self.assertEqual(self.ask("ping"), {"ok": True})
        for token in range(64):
            self.assertEqual(peer.expect(COMPLETION)[4][0][0], token)


if __name__ == "__main__":
    unittest.main()

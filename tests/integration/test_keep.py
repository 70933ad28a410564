"""Completions are kept until they are acknowledged: across flushers, and in
the spool across daemons."""

import os
import signal
import unittest

from patience import patience
from supervised import (ACK, COMPLETION, DRAIN, HELLO, INSTANCE, KEPT, STATUS,
                        AWAY, WORKING, Case, wait_for)


class Kept(Case):

    def setUp(self):
        super().setUp()
        self.env["RAPPEL_TEST_RAW"] = "1"

    def successor(self):
        """The next flusher: what it is told before anything else."""
        peer, _ = self.flusher()
        told = peer.receive()
        self.assertEqual(told[:4], [KEPT, 0, 0, 0])
        return peer, told[4]

    def begin(self):
        self.start()
        peer, told = self.successor()
        self.assertEqual(told["frames"], 0)
        peer.send([STATUS, 0, 0, WORKING, {}])
        return peer, self.hellos(peer)

    def echo(self, peer, hello, *tokens):
        """One after the other, so one frame each."""
        for token in tokens:
            self.dispatch(peer, hello, (token, "echo", token))
            self.assertEqual(peer.expect(COMPLETION)[4][0][0], token)

    def test_the_next_flusher_gets_what_was_not_acknowledged(self):
        peer, hello = self.begin()
        self.echo(peer, hello[0], 1, 2, 3)
        peer.send([ACK, 0, 0, 2, None])
        self.dispatch(peer, hello[1], (9, "sleep", {"ms": 400}))
        wait_for("the order was passed on",
                 lambda: self.ask("ping") and True)
        peer.send(["exit", 3])
        peer, told = self.successor()
        self.assertEqual([told["frames"], told["workers"]], [1, 2])
        self.assertNotIn("spooled", told)
        kept = peer.receive()
        self.assertEqual(kept[:4], [COMPLETION, 0, 1, 1])
        item = kept[4][0]
        self.assertEqual([item[:5], item[6]], [[3, INSTANCE, 7, 1, 0], 3])
        again = self.hellos(peer)
        self.assertEqual(again[1][:4], [HELLO, 1, 1, 1])
        # What runs goes on running, and its end comes to the new one.
        self.assertEqual(peer.expect(COMPLETION)[4][0][0], 9)
        # They count in the order in which they were sent, kept ones first.
        peer.send([ACK, 0, 0, 2, None])
        peer.send(["exit", 3])
        _, told = self.successor()
        self.assertEqual([told["frames"], told["workers"]], [0, 2])

    def test_completions_while_there_is_no_flusher(self):
        peer, hello = self.begin()
        self.dispatch(peer, hello[0], (1, "sleep", {"ms": 200}))
        wait_for("the worker has it",
                 lambda: self.process_of("worker", 0)["actions"] == 1)
        os.kill(self.process_of("flusher")["pid"], signal.SIGKILL)
        peer, told = self.successor()
        while told["frames"] == 0:
            peer.send(["exit", 3])
            peer, told = self.successor()
        self.assertEqual(peer.expect(COMPLETION)[4][0][0], 1)

    def test_an_ack_of_nothing(self):
        peer, hello = self.begin()
        self.echo(peer, hello[0], 1)
        peer.send([ACK, 0, 0, 2, None])
        _, told = self.successor()
        self.assertEqual(told["frames"], 1)
        self.assertIn("ACK of what it was not sent", self.log())

    def stop(self, peer):
        self.signal(signal.SIGTERM)
        peer.expect(DRAIN)
        peer.send(["exit", 0])
        code, seconds = self.exited(5)
        self.assertEqual(code, 0, self.log())
        self.assertLess(seconds, patience(2))

    def test_the_spool_carries_them_to_the_next_daemon(self):
        peer, hello = self.begin()
        self.echo(peer, hello[0], 1, 2)
        peer.send([ACK, 0, 0, 1, None])
        peer.send([STATUS, 0, 0, AWAY, {}])
        self.stop(peer)
        self.assertEqual(sorted(os.listdir(self.dir)), ["lock", "spool"])
        mode = os.stat(os.path.join(self.dir, "spool")).st_mode & 0o777
        self.assertEqual(mode, 0o600)

        self.start()
        peer, told = self.successor()
        self.assertEqual([told["frames"], told["spooled"]], [1, 1])
        self.assertEqual(peer.expect(COMPLETION)[4][0][0], 2)
        # Until they are acknowledged the file stays, whatever happens.
        self.process.kill()
        self.process.wait()
        self.start()
        peer, told = self.successor()
        self.assertEqual(told["frames"], 1)
        self.assertEqual(peer.expect(COMPLETION)[4][0][0], 2)
        peer.send([ACK, 0, 0, 1, None])
        wait_for("the spool is gone", lambda: not os.path.exists(
            os.path.join(self.dir, "spool")))
        self.hellos(peer)
        self.stop(peer)
        self.assertEqual(os.listdir(self.dir), ["lock"])

    def test_a_damaged_spool_is_set_aside(self):
        peer, hello = self.begin()
        self.echo(peer, hello[0], 1)
        self.stop(peer)
        path = os.path.join(self.dir, "spool")
        with open(path, "rb") as file:
            good = file.read()
        damaged = [good[:-1], good + b"x", b"", good[:20],
                   b"other" + good[5:],
                   good[:-3] + bytes([good[-3] ^ 1]) + good[-2:],
                   good[:22] + b"\x09" + good[23:]]
        for content in damaged:
            with open(path, "wb") as file:
                file.write(content)
            self.start()
            peer, told = self.successor()
            self.assertEqual(told["frames"], 0)
            self.hellos(peer)
            self.assertIn("spool not usable", self.log())
            self.stop(peer)
            self.assertEqual(sorted(os.listdir(self.dir)),
                             ["lock", "spool.bad"])
            os.remove(path + ".bad")
            os.truncate(self.log_path, 0)
        os.symlink("/etc/passwd", path)
        self.start()
        _, told = self.successor()
        self.assertEqual(told["frames"], 0)
        self.assertIn("spool not usable", self.log())

    def test_a_kill_spools_what_there_is(self):
        peer, hello = self.begin()
        self.echo(peer, hello[0], 1)
        self.signal(signal.SIGQUIT)
        self.assertLess(self.exited(5)[1], patience(1))
        self.start()
        peer, told = self.successor()
        self.assertEqual(told["frames"], 1)


if __name__ == "__main__":
    unittest.main()

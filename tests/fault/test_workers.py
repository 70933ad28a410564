#!/usr/bin/python3
"""Faults A01 to A10: workers that die, hang, leave others behind or flood."""

import os
import signal
import time
import unittest

import faultkit
import load
import pool as pools
from faultkit import repeats
from pool import send_signal, wait_for

READY_NATIVE = 0.3
READY_PYTHON = 1.0
LOST_WRITTEN = 0.5  # until an action that was lost may go on elsewhere


def age(path):
    """Seconds since a file was written."""
    return time.time() - os.stat(path).st_mtime


class Deaths(faultkit.FaultTest):
    """A01, A02: whoever dies is replaced, and costs its own action only."""

    def replaced(self, pool, slot, spawn, seconds=10):
        return wait_for(f"slot {slot} is ready again",
                        lambda: pool.is_replaced(slot, spawn), seconds,
                        0.003)[1]

    def lost(self):
        return self.query("SELECT count(*) FROM rappel.history WHERE event"
                          " = 'failed' AND cause LIKE 'the worker was%%'"
                          )[0][0]

    def test_a01_native_idle(self):
        """Killed again and again, but each slot not before it lived 10 s:
        how fast those that die young are replaced is A09's business."""
        count = repeats(3, 200)
        width = min(count, 16)
        pool = self.make_pool(evil=False, workers=width)
        pool.start().wait_running()
        # One that never did any work would be taken for one that cannot.
        self.register("noop", load.task("noop"))
        self.wait_ended(self.begin("noop", count=100 * width))
        taken = []
        while len(taken) < count:
            if taken:
                time.sleep(10.1)
            for worker in pool.process_list()[:count - len(taken)]:
                send_signal(worker["pid"], signal.SIGKILL)
                taken.append(self.replaced(pool, worker["slot"],
                                           worker["spawn"]))
        self.figure("A01", "native_ready_again", taken, "s", READY_NATIVE)
        self.assertTrue(pool.log_lines("worker ended", "signal 9"))
        self.finish(pool)

    def die(self, pool, *steps, slot="any"):
        """Under load: seconds until the loss is written and a successor
        is ready."""
        self.top_up()
        before = self.lost()
        order = pool.order("work", *steps, slot=slot)
        slot, spawn, pid = self.order_taken(pool, order)
        written = None
        if steps[0][0] != "answer" or len(steps[0]) > 1:
            wait_for("the loss is written", lambda: self.lost() > before)
            written = age(order + ".by")
        self.replaced(pool, slot, spawn)
        ready = age(order + ".by")
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        return written, ready

    def test_a01_every_stage(self):
        """Each slot not before it lived 10 s, here as well."""
        width = 8 if faultkit.FULL else 4
        pool = self.make_pool(workers=width)
        pool.start().wait_running()
        self.top_up()
        written, ready = [], []
        stages = (
            [["kill", 9]],                 # S1: while it runs
            [["answer", 0, 9], ["kill", 9]],  # S2: half a result
            [["answer"], ["kill", 9]],     # S3: the result is out
        )
        for n in range(repeats(3, 200)):
            steps = stages[n % 3]
            time.sleep(10.1 if n > 0 and n % width == 0 else 0)
            with self.subTest(n=n, steps=steps, seed=pools.SEED):
                lost, again = self.die(pool, *steps, slot=n % width)
                written += [lost] if lost is not None else []
                ready.append(again)
        self.figure("A01", "loss_written", written, "s", LOST_WRITTEN)
        self.figure("A01", "python_ready_again", ready, "s", READY_PYTHON)
        self.finish(pool)
        self.count("A01", "lost_or_doubled", len(ready))

    def test_a01_unread(self):
        """S0: what it never read is no attempt, and runs elsewhere."""
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        worker = pool.process_list()[0]
        send_signal(worker["pid"], signal.SIGSTOP)
        self.progress()
        send_signal(worker["pid"], signal.SIGKILL)
        self.replaced(pool, worker["slot"], worker["spawn"])
        self.finish(pool)
        self.count("A01", "unread_lost_or_doubled", 1)

    def test_a02_ways_to_crash(self):
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        self.progress(200)
        ways = [["kill", int(number)] for number in (
            signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)]
        ways += [["exit", 0], ["exit", 3]]
        parts = {pid: faultkit.rss_bytes(pid) for kind in
                 ("supervisor", "flusher") for pid in pool.pids(kind)}
        for n in range(repeats(1, 20)):
            for way in ways:
                with self.subTest(n=n, way=way, seed=pools.SEED):
                    self.die(pool, way)
        grown = [(faultkit.rss_bytes(pid) - before) / 2 ** 20
                 for pid, before in parts.items()]
        for words in ("signal 11", "signal 7", "signal 6", "exit status 0",
                      "exit status 3"):
            self.assertTrue(pool.log_lines("worker ended", words), words)
        # Both are the processes of before: nothing of it reached them.
        self.assertEqual(set(parts), set(pool.pids("supervisor") +
                                         pool.pids("flusher")))
        self.figure("A02", "memory_grown", max(0, *grown), "MiB", 1)
        self.finish(pool)
        self.count("A02", "lost_or_doubled", 5 * repeats(1, 20))


class Hanging(faultkit.FaultTest):
    """A03 to A06: those that do not end."""

    def test_a03_stopped_while_idle(self):
        """Nothing runs, so no timeout is due: its state T tells."""
        if not faultkit.has_setting("worker_stopped"):
            self.skipTest("this rappeld does not look for stopped workers")
        limit = 15 if faultkit.FULL else 2
        pool = self.make_pool(evil=False, worker_stopped=f"{limit}s")
        pool.start().wait_running()
        gone = []
        for _ in range(repeats(1, 10)):
            worker = pool.process_list()[0]
            send_signal(worker["pid"], signal.SIGSTOP)
            begun = time.monotonic()
            wait_for("it is replaced", lambda w=worker: pool.is_replaced(
                w["slot"], w["spawn"]), limit * 2 + 5)
            gone.append(time.monotonic() - begun)
        self.figure("A03", "idle_stopped_and_replaced", gone, "s", limit + 2)
        self.finish(pool, with_load=False)

    def run_one(self, pool, *steps, timeout=1):
        """An action with a timeout, whose worker does that; how long from
        its start until its end was written, and until the worker died."""
        self.register("only", load.task("first", TimeoutSeconds=timeout))
        order = pool.order("work", *steps)
        begun = time.monotonic()
        instance = self.begin("only")
        slot, spawn, pid = pool.order_taken(order)
        wait_for("the action ended", lambda: self.statuses(instance)
                 != {"running"} and self.statuses(instance) != {"queued"},
                 timeout + 20)
        written = time.monotonic() - begun
        wait_for("its worker is gone",
                 lambda: not os.path.exists(f"/proc/{pid}"), 5)
        gone = time.monotonic() - begun
        wait_for("it is replaced", lambda: pool.is_replaced(slot, spawn))
        self.assertEqual(self.query(
            "SELECT status, error FROM rappel.workflow_instances"
            " WHERE id = %s", instance[0]), [("failed", "States.Timeout")])
        return written, gone

    def test_a03_stopped_while_busy(self):
        """SIGSTOP: the action's timeout ends it; what it says after that
        would be too late."""
        pool = self.make_pool()
        pool.start().wait_running()
        gone = [self.run_one(pool, ["stop"])[1]
                for _ in range(repeats(1, 10))]
        self.figure("A03", "stopped_and_gone", gone, "s", 1 + 2)
        self.finish(pool, with_load=False)

    def test_a04_never_ends(self):
        """A busy loop, deaf to SIGTERM; a healthy action is not touched."""
        self.register("nap", load.task("nap"))
        pool = self.make_pool()
        pool.start().wait_running()
        healthy = self.begin("nap", {"seconds": 4})
        late = []
        for n in range(repeats(2, 20)):
            written, _ = self.run_one(pool, ["spin" if n % 2 else "deaf"])
            late.append(written - 1)
        self.figure("A04", "after_the_timeout", late, "s", 2.5)
        self.assertGreater(min(late), -0.1, "before its timeout")
        self.wait_ended(healthy)
        self.assertEqual(self.query(
            "SELECT event, attempt FROM rappel.history WHERE instance_id"
            " = %s", healthy[0]), [("succeeded", 1)])
        self.finish(pool, with_load=False)
        self.count("A04", "healthy_killed", 1)

    def test_a05_stop_of_the_deaf(self):
        """Every worker hangs and ignores SIGTERM; others' results count."""
        grace = 2
        self.register("hang", load.task("hang"))
        took = []
        for _ in range(repeats(2, 10)):
            pool = self.make_pool(shutdown_grace=f"{grace}s", workers=6)
            pool.start().wait_running()
            hanging = self.begin("hang", count=4)
            wait_for("they hang", lambda: os.path.exists(pool.record) and sum(
                line.action == "hang" for line in
                faultkit.checker.read_record(pool.record)) >= 4)
            self.top_up(50)
            self.progress()
            code, seconds = pool.stop()
            self.assertEqual(code, 0, pool.log_tail())
            self.assertEqual(pool.leftovers(), [])
            took.append(seconds - grace)
            lines = [line for line in faultkit.checker.read_record(
                pool.record) if line.action in load.STAGES]
            self.assertEqual(faultkit.checker.sent_is_written(
                self.connection, lines)[:5], [])
            self.assertEqual(self.statuses(hanging), {"queued"})
            self.query("SELECT rappel.cancel_workflow(id) FROM"
                       " unnest(%s::uuid[]) id", hanging)
        self.figure("A05", "exit_after_the_grace", took, "s", 1)

    def test_a06_half_dead(self):
        """Its socket is closed and it lives on, or hangs at its exit."""
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        gone = []
        for n in range(repeats(2, 20)):
            order = pool.order("work", ["shutdown" if n % 2 else "close"],
                               ["deaf"])
            slot, spawn, pid = self.order_taken(pool, order)
            wait_for("it is gone",
                     lambda p=pid: not os.path.exists(f"/proc/{p}"), 8)
            gone.append(age(order + ".by"))
            wait_for("it is replaced",
                     lambda s=slot, n=spawn: pool.is_replaced(s, n))
        self.figure("A06", "gone", gone, "s", 2.5)
        self.finish(pool)


class Others(faultkit.FaultTest):
    """A07 to A10: what one leaves behind, eats up or cannot do at all."""

    def test_a07_grandchildren(self):
        # One that left its process group is found by who adopts it.
        kinds = ["plain", "socket", "session"] \
            if faultkit.has_setting("worker_stopped") else ["plain"]
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        gone = []
        for n in range(repeats(1, 10)):
            for kind in kinds:
                order = pool.order("work", ["fork", kind], ["sleep", 0.3],
                                   ["kill", 9])
                slot, spawn, pid = self.order_taken(pool, order)
                left = wait_for("it has a grandchild",
                                lambda: self.sleepers(pool))[0]
                wait_for("the worker died", lambda p=pid: not os.path.exists(
                    f"/proc/{p}"))
                begun = time.monotonic()
                with self.subTest(kind=kind, n=n):
                    try:
                        wait_for("they are gone", lambda found=left: not any(
                            os.path.exists(f"/proc/{p}") for p in found), 10)
                    finally:
                        for one in left:
                            send_signal(one, signal.SIGKILL)
                    gone.append(time.monotonic() - begun)
                    wait_for("it is replaced", lambda s=slot, m=spawn:
                             pool.is_replaced(s, m))
        self.figure("A07", "descendants_gone", gone, "s", 5)
        self.assertEqual(len(gone), len(kinds) * repeats(1, 10))
        self.finish(pool)

    def sleepers(self, pool):
        """Processes that the workers started."""
        found = []
        for pid in faultkit.descendants(pool.process.pid):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as text:
                    if text.read() == b"sleep\x001000\0":
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_a08_poison_action(self):
        """It kills each worker that runs it: three times, then no more."""
        self.register("poison", load.task("poison", Retry=[{
            "ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1,
            "BackoffRate": 1.0, "MaxAttempts": 50}]))
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        deaths = []
        for _ in range(repeats(1, 10)):
            instance = self.begin("poison")
            wait_for("it is set aside", lambda one=instance: self.statuses(
                one) & {"failed", "blocked"}, 30)
            deaths.append(sum(
                line.action == "poison" and line.instance ==
                instance[0].replace("-", "")
                for line in faultkit.checker.read_record(pool.record)))
            self.query("SELECT rappel.cancel_workflow(%s)", instance[0])
        self.figure("A08", "deaths", deaths, "", 3)
        self.assertEqual(set(deaths), {3})
        wait_for("all instances end", lambda: self.load.open_count() == 0,
                 faultkit.HEAL_S, 0.05)
        self.assertEqual(self.findings(with_load=False)[:9], [])
        self.assertEqual(self.stop(pool), [])

    def test_a09_cannot_start(self):
        """Missing interpreter, exit at once, no HELLO: no fork storm."""
        seconds = repeats(6, 60)
        broken = []
        for n, text in enumerate(("#!/no/such/interpreter\n",
                                  "#!/bin/sh\nexit 1\n", "\x7fELF\n")):
            pool = self.make_pool(evil=False, workers=1,
                                  name=f"broken{n}")
            program = os.path.join(pool.folder, "broken")
            with open(program, "w", encoding="latin-1") as script:
                script.write(text)
            os.chmod(program, 0o755)
            os.chmod(pool.folder, 0o755)
            pool.env["RAPPEL_WORKER"] = program
            pool.start()
            wait_for("it answers", pool.status)
            broken.append((pool, faultkit.cpu_seconds(pool.process.pid)))
        begun = time.monotonic()
        # A rate needs a time to be measured over.
        time.sleep(seconds)
        forks, busy = [], []
        for pool, before in broken:
            busy.append((faultkit.cpu_seconds(pool.process.pid) - before) /
                        (time.monotonic() - begun) * 100)
            worker = pool.worker(0)
            forks.append(worker["restarts"] + 1)
            self.assertTrue(worker["last_exit"])
            self.assertTrue(pool.log_lines("worker"))
            code, _ = pool.stop()
            self.assertEqual((code, pool.leftovers()), (0, []))
        self.figure("A09", f"forks_in_{seconds}_s", forks, "", 12)
        self.figure("A09", "supervisor_cpu", busy, "%", 2)

    def test_a10_flood_of_output(self):
        """50 MB to standard output: read, limited, and no memory."""
        if not faultkit.has_setting("worker_output_rate"):
            self.skipTest("this rappeld does not read its workers' output")
        pool = self.make_pool()
        pool.start().wait_running()
        self.top_up()
        self.progress()
        before = faultkit.rss_bytes(pool.process.pid)
        order = pool.order("work", ["say", repeats(10, 50) << 20], ["work"])
        pool.order_taken(order)
        latencies = []
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            asked = time.monotonic()
            pools.control(pool.dir, "ping")
            latencies.append((time.monotonic() - asked) * 1000)
            self.top_up()
        latencies.sort()
        self.figure("A10", "loop_p99", latencies[
            int(len(latencies) * 0.99)], "ms", 50)
        self.figure("A10", "supervisor_grown", max(0, (faultkit.rss_bytes(
            pool.process.pid) - before) / 2 ** 20), "MiB", 4)
        size = os.path.getsize(pool.log_path) / 2 ** 20
        self.figure("A10", "written_to_the_log", size, "MiB", 4)
        self.finish(pool)


if __name__ == "__main__":
    faultkit.main()

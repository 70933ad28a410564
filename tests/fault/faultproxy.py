#!/usr/bin/python3
"""A proxy in front of PostgreSQL that does to a connection what networks do.

    proxy = FaultProxy(cluster.dir)             # or tcp=True
    proxy.start()
    proxy.conninfo(cluster.conninfo(database))  # goes through it
    proxy.set(delay=0.5)                        # every connection, both ways
    proxy.set(blackhole="both", match="keeper") # only that application_name
    proxy.clear(); proxy.reset(); proxy.stop()

Faults, for connections whose application_name has match in it ("": all):

    delay       seconds that each piece travels longer, each way
    rate        bytes a second, each way
    drop_after  bytes to the server after which the connection is cut
    blackhole   "to_server", "to_client" or "both": taken and never given on
    hold        answers wait until the fault is cleared
    cut         "before": instead of forwarding a COMMIT the connection is
                cut; "after": it is forwarded, its answer is not
    share       of the COMMITs that are cut, from 0 to 1
    refuse      new connections are closed at once

As a program it is steered by lines of JSON on a Unix socket:

    faultproxy.py --target DIR --listen DIR|tcp --control SOCKET
    {"set": {"delay": 0.5}}  {"clear": true}  {"reset": true}  {"count": true}
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import struct
import tempfile
import threading
import time

NAME = re.compile(rb"application_name\0([^\0]*)\0")
DEFAULTS = {"delay": 0.0, "rate": 0, "drop_after": 0, "blackhole": "",
            "hold": False, "cut": "", "share": 1.0, "refuse": False,
            "match": ""}


class Connection:
    """One client and its server."""

    def __init__(self, proxy, reader, writer):
        self.proxy = proxy
        self.ends = {"client": (reader, writer)}
        self.name = ""
        self.to_server_bytes = 0
        self.cut_at_answer = False
        self.tasks = []

    def fault(self, name):
        rules = self.proxy.rules
        if rules["match"] not in self.name:
            return DEFAULTS[name]
        return rules[name]

    async def run(self):
        self.ends["server"] = await asyncio.open_unix_connection(
            self.proxy.target)
        queues = {way: asyncio.Queue() for way in ("to_server", "to_client")}
        self.tasks = [asyncio.ensure_future(task) for task in (
            self.take("client", "to_server", queues["to_server"]),
            self.take("server", "to_client", queues["to_client"]),
            self.give("server", "to_server", queues["to_server"]),
            self.give("client", "to_client", queues["to_client"]))]
        await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)

    def cut(self, reset=False):
        """Ends both sides; with reset by RST where the socket has one."""
        for task in self.tasks:
            task.cancel()
        for _, writer in self.ends.values():
            sock = writer.get_extra_info("socket")
            if reset and sock is not None and sock.family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))
            writer.transport.abort() if reset else writer.close()

    async def take(self, end, way, queue):
        reader = self.ends[end][0]
        while True:
            data = await reader.read(1 << 16)
            if not data:
                await queue.put((0, None))
                return
            if way == "to_server" and not self.name:
                found = NAME.search(data)
                if found:
                    self.name = found.group(1).decode()
            await queue.put((time.monotonic() + self.fault("delay"), data))

    def cuts_commit(self, way, data):
        """True: the connection ends in the place of this piece."""
        kind = self.fault("cut")
        if way == "to_client":
            return self.cut_at_answer and b"COMMIT\0" in data
        if not kind or b"\0commit\0" not in data or \
                self.proxy.chance.random() >= self.fault("share"):
            return False
        if kind == "after":
            self.cut_at_answer = True
            return False
        return True

    async def give(self, end, way, queue):
        writer = self.ends[end][1]
        while True:
            due, data = await queue.get()
            if data is None:
                await asyncio.sleep(max(0, due - time.monotonic()))
                return
            await asyncio.sleep(max(0, due - time.monotonic()))
            while way == "to_client" and self.fault("hold"):
                await asyncio.sleep(0.01)
            if self.fault("blackhole") in (way, "both"):
                continue
            if self.cuts_commit(way, data):
                self.proxy.cuts += 1
                return
            if way == "to_server":
                self.to_server_bytes += len(data)
                limit = self.fault("drop_after")
                if limit and self.to_server_bytes > limit:
                    self.proxy.cuts += 1
                    return
            if way == "to_client" and self.proxy.rewrite is not None:
                data = self.proxy.rewrite(data)
            if self.fault("rate"):
                await asyncio.sleep(len(data) / self.fault("rate"))
            writer.write(data)
            await writer.drain()


class FaultProxy:
    """Runs in a thread of its own; every method may be called from any."""

    def __init__(self, target, tcp=False, folder=None, seed=None):
        self.target = os.path.join(target, ".s.PGSQL.5432")
        self.tcp = tcp
        self.folder = folder
        self.rules = dict(DEFAULTS)
        self.chance = random.Random(seed)
        self.connections = set()
        self.accepted = []  # when, in seconds of the monotonic clock
        self.peak = 0       # of connections at the same time
        self.cuts = 0
        self.rewrite = None  # what the server says, as the client gets it
        self.port = 5432
        self.loop = asyncio.new_event_loop()
        self.server = None
        self.thread = None

    # ---- its life ----

    async def _serve(self, reader, writer):
        self.accepted.append(time.monotonic())
        if self.rules["refuse"]:
            writer.close()
            return
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        self.peak = max(self.peak, len(self.connections))
        try:
            await connection.run()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the server is away: so is the connection
        finally:
            connection.cut()
            self.connections.discard(connection)

    async def _listen(self):
        if self.tcp:
            self.server = await asyncio.start_server(
                self._serve, "127.0.0.1", 0)
            self.port = self.server.sockets[0].getsockname()[1]
            return
        if self.folder is None:
            self.folder = tempfile.mkdtemp(prefix="rappel-proxy-", dir="/tmp")
            os.chmod(self.folder, 0o755)
        self.server = await asyncio.start_unix_server(
            self._serve, os.path.join(self.folder, ".s.PGSQL.5432"))

    def start(self):
        self.loop.run_until_complete(self._listen())
        self.thread = threading.Thread(target=self.loop.run_forever,
                                       daemon=True)
        self.thread.start()
        return self

    def _call(self, function):
        """Runs it in the loop and waits for it."""
        done = threading.Event()

        def run():
            try:
                function()
            finally:
                done.set()
        self.loop.call_soon_threadsafe(run)
        if not done.wait(10):
            raise RuntimeError("the proxy does not answer")

    def stop(self):
        if self.thread is None:
            return
        self._call(self.server.close)
        self._call(self._cut_all)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.thread = None
        if not self.tcp:
            path = os.path.join(self.folder, ".s.PGSQL.5432")
            if os.path.exists(path):
                os.unlink(path)
            os.rmdir(self.folder)

    def conninfo(self, conninfo):
        """The same database, through the proxy."""
        host = "127.0.0.1" if self.tcp else self.folder
        conninfo = re.sub(r"\bhost=\S+", f"host={host}", conninfo)
        return re.sub(r"\bport=\S+", f"port={self.port}", conninfo) + \
            (" sslmode=disable" if self.tcp else "")

    # ---- faults ----

    def set(self, **rules):
        for name in rules:
            if name not in DEFAULTS:
                raise ValueError(f"no such fault: {name}")
        self._call(lambda: self.rules.update(rules))

    def clear(self):
        self._call(lambda: self.rules.update(DEFAULTS))

    def _cut_all(self, reset=False):
        for connection in list(self.connections):
            connection.cut(reset)

    def reset(self):
        """Every connection ends now, with RST on TCP."""
        self._call(lambda: self._cut_all(True))

    def attempts_since(self, at):
        """Connections that were tried since then."""
        return len([when for when in list(self.accepted) if when >= at])


# ---- as a program ----

async def _steer(proxy, reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        try:
            wish = json.loads(line)
            rules = wish.get("set", {})
            if set(rules) - set(DEFAULTS):
                raise ValueError("no such fault")
            proxy.rules.update(DEFAULTS if "clear" in wish else rules)
            if "reset" in wish:
                proxy._cut_all(True)
            answer = {"ok": True, "connections": len(proxy.connections),
                      "accepted": len(proxy.accepted), "cuts": proxy.cuts}
        except ValueError as why:
            answer = {"ok": False, "error": str(why)}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def _program(proxy, control):
    await proxy._listen()
    server = await asyncio.start_unix_server(
        lambda reader, writer: _steer(proxy, reader, writer), control)
    print(json.dumps({"host": "127.0.0.1" if proxy.tcp else proxy.folder,
                      "port": proxy.port}), flush=True)
    async with server:
        await server.serve_forever()


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--target", required=True)
    options.add_argument("--listen", required=True)
    options.add_argument("--control", required=True)
    given = options.parse_args()
    proxy = FaultProxy(given.target, tcp=given.listen == "tcp",
                       folder=None if given.listen == "tcp"
                       else given.listen)
    proxy.loop.run_until_complete(_program(proxy, given.control))


if __name__ == "__main__":
    main()

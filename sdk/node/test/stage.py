#!/usr/bin/python3
"""A PostgreSQL with the schema, and pools, for tests in JavaScript.

Started by stage.mjs with a pipe each way; says "ready CONNINFO" as JSON. Then
each line is a request, a JSON object with "do", and is answered with one:
register (name, definition), pool (program, workers, environment), groups
(sections), group (name), log, pids, end (of the pool). At the end of its input everything goes.
"""

import json
import os
import shlex
import sys

import harness
from pool import Pool

DATABASE = "node"


class Stage:
    def __init__(self):
        self.cluster = harness.Cluster().start()
        self.cluster.create(DATABASE)
        self.conninfo = self.cluster.conninfo(DATABASE)
        harness.migrate(self.conninfo)
        self.running = None

    def register(self, name, definition):
        return harness.register(self.conninfo, name, definition)

    def pool(self, program, workers=1, environment=None, settings=None):
        """Its workers are this program's, an argv."""
        self.end()
        self.running = Pool(self.conninfo, workers, **(settings or {}))
        script = os.path.join(self.running.folder, "node-worker")
        with open(script, "w", encoding="utf-8") as out:
            out.write("#!/bin/sh\n")
            for key, value in (environment or {}).items():
                out.write(f"export {key}={shlex.quote(str(value))}\n")
            out.write(f"exec {shlex.join(program)}\n")
        os.chmod(script, 0o755)
        self.running.env["RAPPEL_WORKER"] = script
        self.running.start()
        self.running.wait_running()

    def groups(self, sections, workers=0):
        """A pool with these groups: name to keys of its section."""
        self.end()
        self.running = Pool(self.conninfo, workers)
        conf = os.path.join(self.running.folder, "rappel.conf")
        with open(conf, "w", encoding="utf-8") as text:
            for name, keys in sections.items():
                text.write(f"[group {name}]\n")
                for key, value in keys.items():
                    words = value if isinstance(value, str) \
                        else shlex.join(map(str, value))
                    text.write(f"{key} = {words}\n")
        os.chmod(conf, 0o600)
        self.running.env["RAPPEL_CONFIG"] = conf
        self.running.start()

    def group(self, name):
        """What rappelctl status has of it, or {}."""
        for group in self.running.status().get("groups", ()):
            if group["name"] == name:
                return {"ready": group.get("ready"), "told": str(group)}
        return {}

    def log(self):
        return self.running.log_text()

    def pids(self):
        return self.running.pids("worker")

    def end(self):
        if self.running is not None:
            self.running.remove()
        self.running = None

    def close(self):
        self.end()
        self.cluster.remove()


def main():
    stage = Stage()
    try:
        host, port, user, database = (
            part.split("=", 1)[1] for part in stage.conninfo.split(" "))
        print(json.dumps({"host": host, "port": int(port), "user": user,
                          "database": database}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = getattr(stage, request.pop("do"))(**request)
                print(json.dumps({"answer": answer}), flush=True)
            except Exception as error:  # pylint: disable=broad-except
                print(json.dumps({"error": str(error)}), flush=True)
    finally:
        stage.close()


if __name__ == "__main__":
    main()

"""The load generator wrk, told by a script in requests/ what to send."""

import json
import subprocess
from pathlib import Path

from process import fail

SCRIPTS = Path(__file__).resolve().parent / "requests"
CONNECTIONS = 64


def wrk(*arguments, **more):
    """Whole seconds, because wrk takes no part of one."""
    return Running(*arguments, **more).result()


def on(server, port, path, seconds, *arguments, **more):
    """The same, with what the answers took of the server's processor."""
    before = server.processor_seconds()
    load = wrk(port, path, seconds, *arguments, **more)
    return load | {"per_cpu": load["requests"] / (server.processor_seconds() - before)}


class Running:
    """A load while something else is measured. `refusals` says that some answers may be refusals."""

    def __init__(self, port, path, seconds, arguments=(), script="fixed.lua", headers=(), connections=CONNECTIONS,
                 refusals=False, scheme="http"):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script]
        command += [part for header in headers for part in ("-H", header)]
        command += [f"{scheme}://127.0.0.1:{port}{path}", "--", *map(str, arguments)]
        self.path, self.refusals = path, refusals
        self.child = subprocess.Popen(command, cwd=SCRIPTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        said, complaints = self.child.communicate()
        if self.child.returncode != 0:
            fail(f"wrk failed: {complaints or said}")
        load = json.loads(said.splitlines()[-1])
        if load["broken"] or (load["bad_status"] and not self.refusals):
            fail(f"{self.path}: {load['bad_status']} answers with a wrong status, {load['broken']} broken off")
        return load | {"rate": load["requests"] / load["seconds"]}

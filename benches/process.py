"""Programs of ours: where they run, what they take, and that they end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


class Process:
    """A program on some processors. It is ended by its own identifier when the `with` block ends.

    `folder` is where it runs and where its log is. `user` is whose rights it has, if not this one's.
    """

    ending = signal.SIGTERM

    def __init__(self, command, processors, folder, talks=False, user=None, environment=()):
        self.command, self.processors, self.folder, self.talks, self.user = command, processors, folder, talks, user
        # Nothing of the caller's settings: DATABASE_URL or KEYWHEEL_LOG would change what is measured.
        self.environment = {"PATH": os.environ.get("PATH", "")} | dict(environment)
        self.log = folder / f"{Path(command[0]).name}.log"

    def __enter__(self):
        pipe = subprocess.PIPE if self.talks else subprocess.DEVNULL
        with open(self.log, "ab") as log, on_processors(self.processors):
            self.child = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdin=pipe, stdout=pipe, stderr=log, text=True,
                **(self.user or {}),
            )
        return self

    def __exit__(self, *_):
        self.child.send_signal(self.ending)
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def ask(self, *words):
        """Says a line and reads what is answered, which is JSON."""
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            fail(f"{self.command[0]} ended:\n{self.log.read_text()}")
        return json.loads(answer)

    def wait_for(self, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.child.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return
            time.sleep(0.001)
        fail(f"{self.command[0]} does not answer on port {port}:\n{self.log.read_text()}")

    def processor_seconds(self):
        """Time of all threads on the processor, those that have ended included, to the nanosecond."""
        # What clock_getcpuclockid(3) would say, which Python has for itself alone.
        return time.clock_gettime((~self.child.pid << 3) | 2)

    def kept_waiting_seconds(self):
        """Time that threads which could have run waited for a processor, because others had it."""
        threads = Path(f"/proc/{self.child.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9

    @contextlib.contextmanager
    def undisturbed(self):
        """In the block nobody else gets a processor that this program can use; says whether we have the right to that."""
        try:
            self.schedule(os.SCHED_FIFO, 1)
        except PermissionError:
            yield False
            return
        try:
            yield True
        finally:
            self.schedule(os.SCHED_OTHER, 0)

    def schedule(self, policy, priority):
        for thread in Path(f"/proc/{self.child.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(priority))

    def memory(self):
        """Resident memory in MiB: all of it, the part that is not the program's own file, and the most there ever was."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines())
        return {key: int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon", "VmHWM")}


@contextlib.contextmanager
def on_processors(processors):
    """What is started in the block inherits them, and so begins where it stays."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def say(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def fail(text):
    sys.exit(f"bench: {text}")

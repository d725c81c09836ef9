"""Programs under test: each is started, watched and ended by its own identifier."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def fail(text):
    sys.exit(f"chaos: {text}")


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def await_that(what, seconds, every=0.01):
    """Seconds until `what()` is true, or None if that takes too long."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if what():
            return time.monotonic() - begun
        time.sleep(every)
    return None


class Node:
    """A keywheel that can be killed, stopped and started again, on the same ports. `is_alive` says whether it has to answer.
    `limits` are of the process, `group` is a control group in which it runs."""

    def __init__(self, binary, folder, settings, limits=(), stderr=None, group=None):
        self.binary, self.folder, self.limits, self.stderr, self.group = binary, folder, limits, stderr, group
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.management = free_ports(2)
        self.settings = {"PATH": os.environ.get("PATH", "")} | settings | {
            "KEYWHEEL_LISTEN": f"127.0.0.1:{self.port}",
            "KEYWHEEL_MANAGEMENT_LISTEN": f"127.0.0.1:{self.management}",
            "KEYWHEEL_SHUTDOWN_DELAY": "0s",
        }
        self.settings.setdefault("KEYWHEEL_ISSUER", f"http://127.0.0.1:{self.port}")
        self.child, self.is_alive, self.life, self.log = None, False, 0, folder / "keywheel.log"

    def start(self, seconds=30):
        """Seconds from its start until it was ready."""

        def limited():
            for which, most in self.limits:
                resource.setrlimit(which, (most, most))
            if self.group:
                (self.group / "cgroup.procs").write_text(str(os.getpid()))

        begun = time.monotonic()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [self.binary, "serve"], cwd=self.folder, env=self.settings, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self.stderr or log, preexec_fn=limited if self.limits or self.group else None,
            )
        while time.monotonic() - begun < seconds:
            if self.child.poll() is not None:
                return None
            if self.is_ready():
                took = time.monotonic() - begun
                self.is_alive = True
                return took
            time.sleep(0.002)
        return None

    def must_start(self):
        took = self.start()
        if took is None:
            lines = self.log.read_text(errors="replace").splitlines()[-5:] if self.log.exists() else []
            self.kill()
            fail("keywheel does not serve:\n" + "\n".join(lines))
        return took

    def is_ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.fetch("/readyz", timeout=2)[0] == 200
        return False

    def fetch(self, path, timeout=5, public=False):
        port = self.port if public else self.management
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def metrics(self, name):
        """The samples of a metric: labels as they stand, and the value."""
        samples = {}
        for line in self.fetch("/metrics")[1].decode().splitlines():
            if line.startswith((name + "{", name + " ")):
                labels, value = line[len(name):].rsplit(" ", 1)
                samples[labels] = float(value)
        return samples

    def may_end(self):
        """From now on, at any time: nobody counts on its answers."""
        self.is_alive, self.life = False, self.life + 1

    def kill(self):
        self.may_end()
        if self.child and self.child.poll() is None:
            self.child.kill()
        if self.child:
            self.child.wait()

    def pause(self):
        self.may_end()
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)
        self.is_alive = True

    def end(self):
        """Asks it to end, as a supervisor does; whether it did with status 0."""
        self.is_alive = False
        if self.child is None or self.child.poll() is not None:
            return False
        self.child.send_signal(signal.SIGCONT)
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(15) == 0
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return False

    def command(self, *arguments, given=None, check=True):
        ran = subprocess.run(
            [self.binary, *arguments, "--output", "json"], cwd=self.folder, env=self.settings, input=given,
            capture_output=True, text=True,
        )
        if check and ran.returncode != 0:
            fail(f"keywheel {' '.join(arguments[:2])}: {ran.stderr}")
        return json.loads(ran.stdout) if ran.returncode == 0 and ran.stdout.strip() else None

    def memory(self):
        """Resident memory in KiB that is not the program's own file."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


def install(program, *packages):
    """Installs Debian's packages if `program` is missing. True when it is there then."""
    import shutil

    if shutil.which(program) or Path(program).exists():
        return True
    if os.geteuid() != 0:
        return False
    # Debian starts what it installs. This is how it is told not to.
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    finally:
        if mine:
            policy.unlink()
    return bool(shutil.which(program) or Path(program).exists())

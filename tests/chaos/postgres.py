"""A private PostgreSQL that is as careful as one in production, and can be hurt."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from processes import await_that, fail, free_ports


def programs():
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    anywhere = shutil.which("initdb")
    if not found and not anywhere:
        fail("PostgreSQL is missing: run scripts/install-missing")
    return found[-1].parent if found else Path(anywhere).resolve().parent


def rights():
    """PostgreSQL refuses to be root: then it is a user without rights."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Postgres:
    """On loopback alone and without a password: nothing is in it but what is made up here."""

    def __init__(self, folder, options=()):
        self.folder, self.options, self.child = folder, options, None
        [self.port] = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        self.user = rights()
        if self.user:
            os.chown(folder, self.user["user"], self.user["group"])
        self.data = folder / "data"
        made = subprocess.run(
            [programs() / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=1"],
            cwd=folder, capture_output=True, text=True, **self.user,
        )
        if made.returncode != 0:
            fail(f"initdb: {made.stderr}")

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        """Seconds until it answers."""
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100", "shared_buffers=64MB", "min_wal_size=2MB",
                   "max_wal_size=16MB", *self.options]
        arguments = [part for option in options for part in ("-c", option)]
        with open(self.folder.parent / "postgres.log", "ab") as log:
            # A group of its own: an interrupt at the terminal is for the harness.
            self.child = subprocess.Popen(
                [programs() / "postgres", "-D", self.data, "-p", str(self.port), *arguments], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0, **self.user,
            )
        took = await_that(self.answers, 60)
        if took is None:
            fail(f"PostgreSQL does not answer: {self.folder.parent}/postgres.log")
        return took

    def answers(self):
        ready = [programs() / "pg_isready", "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, stdout=subprocess.DEVNULL).returncode == 0

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast, connections are ended. SIGQUIT: immediate, as a crash. SIGKILL: a crash."""
        if how == signal.SIGKILL:
            self.pause()
            for process in self.all():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, how)
        else:
            self.child.send_signal(how)
        self.child.wait()

    def pause(self):
        for process in self.all():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)

    def resume(self):
        for process in self.all():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def all(self):
        """The postmaster, which makes no more of them once it is stopped, and its children."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        return [self.child.pid, *map(int, children.read_text().split())]

    def sql(self, text):
        asked = [programs() / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-XAtqc", text]
        environment = {"PGOPTIONS": "-c default_transaction_read_only=off", "PATH": os.environ["PATH"]}
        ran = subprocess.run(asked, capture_output=True, text=True, env=environment, timeout=60)
        if ran.returncode != 0:
            fail(f"psql: {ran.stderr}")
        return ran.stdout.strip()

    def end(self):
        if self.is_running():
            self.resume()
            self.child.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(20)
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()

"""A private PostgreSQL that is as careful as one in production, and gone afterwards."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

from process import Process, fail, free_ports, on_processors


class Postgres(Process):
    """It runs beside the load, as if it were another machine, with fsync on and nothing relaxed.

    It listens on loopback alone and asks for no password: nothing is in it but what is made up here.
    """

    # Asks it to end without waiting for those who are connected.
    ending = signal.SIGINT

    def __init__(self, stage, folder):
        self.programs, self.processors = programs(), {stage.load}
        [self.port] = free_ports(1)
        folder.mkdir()
        user = rights()
        if user:
            os.chown(folder, user["user"], user["group"])
            # The folder above is this user's alone; to pass through it is enough.
            folder.parent.chmod(0o711)
        data = folder / "data"
        self.run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", user=user, cwd=folder)
        command = [self.programs / "postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "shared_buffers=512MB", "-c", "fsync=on", "-c", "synchronous_commit=on"]
        super().__init__(command, self.processors, folder, user=user)

    def __enter__(self):
        super().__enter__()
        try:
            self.wait_for(self.port)
            # It listens before it is ready.
            deadline = time.monotonic() + 30
            while self.tried("pg_isready", "-q", *self.address()).returncode != 0 and time.monotonic() < deadline:
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def database(self, name):
        """The URL of a new database."""
        self.run("createdb", *self.address(), name)
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def spent(self, database):
        """Seconds of its processor so far, that database's commits and size in bytes, and bytes of the log."""
        figures = "SELECT xact_commit, pg_database_size(datname), pg_current_wal_lsn() - '0/0' FROM pg_stat_database WHERE datname = current_database()"
        # What sessions have counted is told after a second, and the question is a commit of its own.
        time.sleep(1.2)
        commits, size, log = self.tried("psql", *self.address(), "-d", database, "-Atc", figures).stdout.strip().split("|")
        mine = [self.child.pid, *map(int, Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split())]
        return {"processor": sum(map(ran, mine)), "commits": int(commits), "size": int(size), "log": int(log)}

    def address(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def run(self, program, *arguments, **more):
        self.said(program, *arguments, **more)

    def said(self, program, *arguments, **more):
        ran = self.tried(program, *arguments, **more)
        if ran.returncode != 0:
            fail(f"{program} failed:\n{ran.stderr or ran.stdout}")
        return ran.stdout

    def tried(self, program, *arguments, user=None, cwd="/"):
        command = [self.programs / program, *arguments]
        with on_processors(self.processors):
            return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **(user or {}))


def ran(process):
    """Seconds that a process has had of a processor."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
    return 0


def programs():
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    anywhere = shutil.which("initdb")
    if not found and not anywhere:
        fail("PostgreSQL is missing: run scripts/install-missing, or leave out what needs it with --only")
    return found[-1].parent if found else Path(anywhere).resolve().parent


def rights():
    """PostgreSQL refuses to be root: then it is a user without rights."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

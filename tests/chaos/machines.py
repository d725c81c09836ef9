"""The machine: full disks, and clocks that are set."""

import contextlib
import math
import sqlite3
import tempfile
import time
from pathlib import Path

from faults import done_under_load, were_refused, within
from processes import Node, install
from world import POSTGRES, SQLITE, Impossible, World

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
HOUR, YEAR = 3_600, 365 * 86_400


def disk_full(binary, scale):
    """The file system of the database has no byte left, and then it has."""
    rows = []
    for database, size in ((SQLITE, 32), (POSTGRES, 128)):

        def act(load):
            since = time.monotonic()
            world.fill()
            for _ in range(scale.of(3, 15)):
                time.sleep(1)
                # What a write-ahead log has given back is filled again.
                world.fill()
            broken = were_refused(load, since)
            world.make_room()
            back = time.monotonic()
            if world.postgres and not world.postgres.is_running():
                world.postgres.start()
            measured, late = within("room → serving", load.served_after(back), 10.0)
            return measured, broken + late

        with World(binary, database, disk=size) as world:
            row = done_under_load(world, "the disk of the database is full", "writes get 503, the key set is answered, served ≤ 10 s after there is room, the database is whole", act)
            world.node.end()
            if database == SQLITE:
                with contextlib.closing(sqlite3.connect(world.room / "keywheel.db")) as opened:
                    [(whole,)] = opened.execute("PRAGMA integrity_check").fetchall()
                if whole != "ok":
                    row.broken.append(f"integrity_check: {whole}")
                row.measured.append(f"integrity_check: {whole}")
            rows.append(row)
    return rows


def log_full(binary, scale):
    """The file system of the log is full: standard error is a file that cannot grow."""

    def act(load):
        time.sleep(scale.of(3, 15))
        counts = load.history.counts()
        broken = [f"{kind} is answered" for kind in ("refresh", "client_credentials") if counts[kind, "503"] or counts[kind, "unknown"]]
        [dropped] = world.node.metrics("keywheel_log_lines_dropped_total").values()
        return [f"{dropped:.0f} lines left out and counted"], broken + ([] if dropped else ["lines that are left out are counted"])

    with open("/dev/full", "wb") as full, World(binary, SQLITE, stderr=full) as world:
        return [done_under_load(world, "the disk of the log is full", "everything is answered as ever; lines are left out and counted", act)]


def clock(binary, scale):
    """The clock of the node is set by an hour and by a year, forth and back; PostgreSQL's is right."""
    if not install(FAKETIME, "faketime"):
        raise Impossible("libfaketime is missing: apt-get install faketime")
    rows = []
    for database in (POSTGRES, SQLITE):
        with ClockWorld(binary, database) as world:

            def act(load):
                before, begun = len(world.keys()), time.monotonic()
                for seconds in (HOUR, -HOUR, YEAR, -YEAR):
                    world.set_clock(seconds)
                    time.sleep(scale.of(4, 25))
                    world.set_clock(0)
                    time.sleep(scale.of(2, 10))
                made, expected = len(world.keys()) - before, math.ceil((time.monotonic() - begun) / 12) + 1
                broken = [] if made <= expected else [f"{made} keys were made where {expected} were due"]
                if database == POSTGRES:
                    broken += world.starts_by_a_wrong_clock()
                return [f"{made} keys made, {expected} due at most"], broken

            what = "the node's clock is set by ±1 h and ±1 y"
            holds = "tokens bear the right time and are verified; keys turn when they are due and no more often; no login ends"
            rows.append(done_under_load(world, what, holds, act))
    return rows


class ClockWorld(World):
    """Its node's clock can be set; the time since the machine was started cannot."""

    def __init__(self, binary, database):
        self.file = Path(tempfile.gettempdir(), f"keywheel-chaos-clock-{time.monotonic_ns()}")
        self.set_clock(0)
        lies = {
            "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }
        super().__init__(binary, database, settings=lies)

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.file.unlink(missing_ok=True)

    def set_clock(self, seconds):
        self.file.write_text(f"{seconds:+d}\n")

    def starts_by_a_wrong_clock(self):
        """A node that starts with the wrong time refuses to."""
        self.set_clock(HOUR)
        settings = {name: value for name, value in self.node.settings.items() if "LISTEN" not in name}
        other = Node(self.binary, self.folder / "wrong", settings)
        took = other.start(10)
        other.kill()
        self.set_clock(0)
        return [] if took is None else ["a node whose clock is wrong when it starts does not serve"]



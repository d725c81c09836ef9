"""keywheel is killed, stands still, or is short of what the system gives."""

import contextlib
import http.client
import os
import random
import resource
import socket
import statistics
import time
from pathlib import Path

from faults import done_under_load, within
from processes import await_that
from world import POSTGRES, SLOWER_TURNS, SQLITE, Impossible, World

RULES = "the rules above"
# In seconds, and one more.
AFTERWARDS = 6


def kills(binary, scale, database):
    """`kill -9` at random, and in the middle of turns."""
    number = scale.of(12, 200)
    dice = random.Random(number)

    def act(load):
        times, in_turns = [], 0
        for count in range(number):
            due = world.next_turn() if count % 10 == 0 else None
            if due is not None and 0 < due < scale.of(4, 13):
                # The next but one is made as soon as this one signs.
                time.sleep(due + dice.uniform(0, 0.4))
                in_turns += 1
            else:
                time.sleep(dice.uniform(0.05, 0.8))
            world.node.kill()
            times.append(world.node.must_start())
        measured, broken = within("ready again, at worst", max(times), 1.0)
        measured.append(f"{number} kills, {in_turns} of them at a turn; ready again in the median after {statistics.median(times):.2f} s")
        states = [key["state"] for key in world.node.command("keys", "list")]
        if states.count("active") != 1 or states.count("next") != 1:
            broken.append(f"one key signs and one is next: {states}")
        return measured, broken

    with World(binary, database) as world:
        return [done_under_load(world, "`kill -9` at random and at turns of the key", f"{RULES}; ready again within 1 s", act)]


def kill_sqlite(binary, scale):
    return kills(binary, scale, SQLITE)


def kill_postgres(binary, scale):
    return kills(binary, scale, POSTGRES)


def pause_node(binary, scale):
    """SIGSTOP: what a machine does that is moved to another host."""
    rows = []
    for database, nodes in ((POSTGRES, 2), (SQLITE, 1)):
        seconds = scale.of(5, 30)

        def act(load):
            world.node.pause()
            time.sleep(seconds)
            world.node.resume()
            took = load.served_after(time.monotonic())
            # For five seconds a token that comes again may be a request that waited for the node, and ends no login.
            time.sleep(AFTERWARDS)
            return within("served again", took, 5.0)

        with World(binary, database, nodes=nodes, settings=SLOWER_TURNS) as world:
            what = f"a node stands still for {seconds} s (SIGSTOP)" + (", another one goes on" if nodes > 1 else "")
            rows.append(done_under_load(world, what, f"{RULES}; what a lost answer said is told again afterwards", act))
    return rows


def few_files(binary, scale):
    """A process that may open few files, and somebody who takes them all."""

    def fetched():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return world.node.fetch("/.well-known/jwks.json", timeout=2, public=True)[0] == 200

    def act(load):
        begun = time.monotonic()
        with contextlib.ExitStack() as held:
            for _ in range(400):
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_connection(("127.0.0.1", world.node.port), timeout=0.2))
            time.sleep(scale.of(3, 10))
            broken = [] if load.history.first_ok("refresh", begun) else ["who was connected before is served"]
        took = load.served_after(time.monotonic())
        measured, late = within("new connections served", await_that(fetched, 30, 0.1), 10.0)
        measured += within("served again", took, 5.0)[0]
        return measured, broken + late

    with World(binary, POSTGRES, limits=[(resource.RLIMIT_NOFILE, 768)]) as world:
        holds = "the process lives; who is connected is served; new connections as soon as there are files again"
        return [done_under_load(world, "768 open files at most, and 400 idle connections", holds, act)]


def little_memory(binary, scale):
    """The system gives no more memory; a supervisor starts the process again if it ends."""

    def act(load):
        status = open(f"/proc/{world.node.child.pid}/status").read()
        size = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmSize"))) * 1024
        world.node.may_end()
        resource.prlimit(world.node.child.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        begun, ends, times = time.monotonic(), 0, []
        flood = [socket.socket() for _ in range(200)]
        for one in flood:
            with contextlib.suppress(OSError):
                one.settimeout(0.2)
                one.connect(("127.0.0.1", world.node.port))
                one.sendall(b"POST /oauth2/token HTTP/1.1\r\nHost: k\r\nContent-Length: 16000\r\n\r\n" + b"x" * 8_000)
        while time.monotonic() - begun < scale.of(4, 15):
            time.sleep(0.02)
            if world.node.child.poll() is not None:
                ends += 1
                times.append(world.node.must_start())
        for one in flood:
            one.close()
        if world.node.child.poll() is None:
            world.node.is_alive = True
            resource.prlimit(world.node.child.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        measured, broken = within("ready again, at worst", max(times, default=0.0), 2.0)
        return [f"ended {ends}×", *measured], broken

    with World(binary, SQLITE) as world:
        holds = "started anew by its supervisor within 2 s if it ends; no token accepted twice"
        return [done_under_load(world, "no more memory than it has (RLIMIT_AS), and half-sent requests", holds, act)]


def out_of_memory(binary, scale):
    """The kernel kills the process for its memory, again and again; a supervisor starts it again."""
    group = Path(f"/sys/fs/cgroup/memory/keywheel-chaos-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        raise Impossible("no control group for memory can be made here") from error

    def act(load):
        limit, times = group / "memory.limit_in_bytes", []
        for _ in range(scale.of(2, 20)):
            world.node.may_end()
            used = int((group / "memory.usage_in_bytes").read_text())
            flood = []
            with contextlib.suppress(OSError):
                limit.write_text(str(used + 256 * 1024))
            deadline = time.monotonic() + 5
            while world.node.child.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    flood.append(socket.create_connection(("127.0.0.1", world.node.port), timeout=0.2))
                    flood[-1].sendall(b"POST /oauth2/token HTTP/1.1\r\nHost: k\r\nContent-Length: 16000\r\n\r\n" + b"x" * 15_000)
            limit.write_text("-1")
            for one in flood:
                one.close()
            if world.node.child.poll() is not None:
                times.append(world.node.must_start())
            world.node.is_alive = True
            time.sleep(0.5)
        measured, broken = within("ready again, at worst", max(times, default=None), 2.0)
        return [f"killed {len(times)}×", *measured], broken

    try:
        with World(binary, SQLITE, group=group) as world:
            holds = "started anew by its supervisor within 2 s; no token accepted twice"
            return [done_under_load(world, "killed by the kernel for its memory (control group)", holds, act)]
    finally:
        group.rmdir()


def blocked_log(binary, scale):
    """Standard error is a pipe that is full and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n" * 4096)
    os.set_blocking(writing, True)

    def act(load):
        begun = time.monotonic()
        wrong = 0
        with contextlib.closing(socket.create_connection(("127.0.0.1", world.node.port))) as one:
            one.settimeout(5)
            while time.monotonic() - begun < scale.of(4, 20):
                one.sendall(b"POST /oauth2/token HTTP/1.1\r\nHost: k\r\nContent-Length: 0\r\n\r\n")
                wrong += one.recv(4096).startswith(b"HTTP/1.1 4")
                time.sleep(0.005)
        counts = load.history.counts()
        broken = [f"{kind} is not answered" for kind in ("refresh", "client_credentials") if any(
            counts[kind, outcome] for outcome in ("503", "unknown"))]
        return [f"{wrong} refusals that are to be logged"], broken

    try:
        with World(binary, SQLITE, stderr=writing) as world:
            holds = "everything is answered as ever; lines that do not fit are left out and counted"
            return [done_under_load(world, "the log is a pipe that nobody reads", holds, act)]
    finally:
        os.close(reading)
        os.close(writing)

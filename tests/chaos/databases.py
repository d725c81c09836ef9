"""The database is restarted, cut off, slow, torn, read-only, or stands still."""

import signal
import time

from faults import done_under_load, were_refused, within
from world import POSTGRES, World

HOLDS = "the rules above"
# The pool's, and those who ask whether it is over: the first ones, and one every few minutes.
MOST_HANGING = 2 * (8 + 4)


def restart(binary, scale):
    """It ends in three ways, is away for a while, and comes back."""
    rows = []
    for how, called in ((signal.SIGINT, "fast"), (signal.SIGQUIT, "immediate"), (signal.SIGKILL, "kill -9")):

        def act(load):
            measured, broken = [], []
            for _ in range(scale.of(1, 3)):
                since = time.monotonic()
                world.postgres.stop(how)
                time.sleep(scale.of(2, 12))
                broken += were_refused(load, since)
                world.postgres.start()
                took, late = within("back → serving", load.served_after(time.monotonic()), 5.0)
                measured, broken = measured + took, broken + late
            return measured, broken

        with World(binary, POSTGRES) as world:
            rows.append(done_under_load(world, f"PostgreSQL is stopped ({called}) and started", f"{HOLDS}; served ≤ 5 s after it is back", act))
    return rows


def black_hole(binary, scale):
    """Packets vanish: connections stay and nothing comes."""
    seconds = scale.of(9, 30)

    def act(load):
        world.proxy.silent = True
        begun = time.monotonic()
        time.sleep(seconds)
        # By now it is known: nobody waits any more.
        late = load.history.counts()
        ops = [op for op in load.history.ops if op.op == "refresh" and op.start > time.monotonic() - 2]
        world.proxy.silent = False
        took = load.served_after(time.monotonic())
        slowest = max((op.end - op.start for op in ops), default=0)
        measured, broken = within("back → serving", took, 5.0)
        measured += [f"503 after {slowest * 1000:.0f} ms at most, once it was known"]
        first = max((op.end - op.start for op in load.history.ops if op.op == "refresh" and op.start < begun + 1), default=0)
        measured += [f"{first:.1f} s for those whose statement was under way"]
        broken += were_refused(load) + ([] if slowest < 1.0 else ["once it is known, 503 at once"])
        return measured, broken

    with World(binary, POSTGRES, proxied=True) as world:
        return [done_under_load(world, f"the network to PostgreSQL is a black hole for {seconds} s", f"{HOLDS}; no waiting once it is known; served ≤ 5 s after", act)]


def slow(binary, scale):
    """Every piece is late."""

    def act(load):
        world.proxy.delay = (0.05, 0.5)
        time.sleep(scale.of(6, 30))
        world.proxy.delay = (0, 0)
        return within("served at the usual pace", load.served_after(time.monotonic()), 5.0)

    with World(binary, POSTGRES, proxied=True) as world:
        return [done_under_load(world, "every packet to and from PostgreSQL is 50–500 ms late", HOLDS, act)]


def torn(binary, scale):
    """Connections are reset, cut in the middle of an answer, and half closed."""

    def act(load):
        for flaws in (("reset",), ("cut",), ("half",), ("reset", "cut", "half")):
            world.proxy.flaws, world.proxy.chance = flaws, 0.02
            time.sleep(scale.of(2, 15))
            world.proxy.reset_all()
        world.proxy.flaws = ()
        return within("served", load.served_after(time.monotonic()), 5.0)

    with World(binary, POSTGRES, proxied=True) as world:
        return [done_under_load(world, "2 % of the packets reset, cut in half or half close their connection", HOLDS, act)]


def read_only(binary, scale):
    """The primary takes no writes for a while."""

    def act(load):
        set_to = lambda how: (world.postgres.sql(f"ALTER SYSTEM SET default_transaction_read_only = {how}"), world.postgres.sql("SELECT pg_reload_conf()"))
        since = time.monotonic()
        set_to("on")
        time.sleep(scale.of(3, 20))
        broken = were_refused(load, since)
        counts = load.history.counts(since)
        if counts["client_credentials", "503"]:
            broken.append("services get tokens")
        set_to("off")
        measured, late = within("writable → serving", load.served_after(time.monotonic()), 5.0)
        return measured, broken + late

    with World(binary, POSTGRES) as world:
        return [done_under_load(world, "PostgreSQL is read-only", f"{HOLDS}; services get tokens all the time", act)]


def standby_gone(binary, scale):
    """The synchronous standby is away: what is written is on the primary's disk and must not be called so, and everything can be read."""
    seconds = scale.of(8, 60)

    def act(load):
        def wait_for(standbys):
            world.postgres.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'")
            world.postgres.sql("SELECT pg_reload_conf()")

        wait_for("gone")
        since, hanging = time.monotonic(), 0
        while time.monotonic() - since < seconds:
            time.sleep(1)
            hanging = max(hanging, int(world.postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")))
        broken = were_refused(load, since)
        # Those that were on their way when it went may have been told in time.
        told = load.history.counts(since + 2)["refresh", "ok"]
        if told:
            broken.append(f"{told} exchanges were called done that no standby has")
        if hanging > MOST_HANGING:
            broken.append(f"{hanging} sessions wait for the standby")
        wait_for("")
        measured, late = within("back → serving", load.served_after(time.monotonic()), 5.0)
        return [*measured, f"{hanging} sessions at most waited for the standby"], broken + late

    with World(binary, POSTGRES, nodes=2) as world:
        return [done_under_load(world, f"the synchronous standby is away for {seconds} s", f"{HOLDS}; services get tokens all the time; served ≤ 5 s after", act)]


def pause(binary, scale):
    """All processes of PostgreSQL stand still."""
    seconds = scale.of(8, 30)

    def act(load):
        since = time.monotonic()
        world.postgres.pause()
        time.sleep(seconds)
        world.postgres.resume()
        took = load.served_after(time.monotonic())
        measured, broken = within("back → serving", took, 5.0)
        return measured, broken + were_refused(load, since)

    with World(binary, POSTGRES) as world:
        return [done_under_load(world, f"PostgreSQL stands still for {seconds} s (SIGSTOP)", f"{HOLDS}; served ≤ 5 s after", act)]

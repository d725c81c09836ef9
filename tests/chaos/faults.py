"""What all faults have in common: they are done under load, and judged by what was answered."""

import time
from typing import NamedTuple

from history import OK, REFUSED, UNKNOWN


class Row(NamedTuple):
    """What came of a fault. `broken` is empty when all that must hold did."""

    fault: str
    database: str
    holds: str
    measured: list
    broken: list


class Scale(NamedTuple):
    """How long it may take."""

    short: bool

    def of(self, short, long):
        return short if self.short else long


def done_under_load(world, fault, holds, act, **load):
    """Does `act` under load and judges everything that was answered. `act` returns what it measured and what was wrong."""
    with world.load(**load) as running:
        begun = time.monotonic()
        measured, broken = act(running)
        left = running.all_live()
        seconds = time.monotonic() - begun
    broken = [*broken, *running.history.violations()]
    broken += [f"{name} was not refreshed any more" for name in left[:3]]
    broken += world.replayed_tokens_are_refused(running)
    counts = running.history.counts()
    told = lambda kind: "/".join(str(counts[kind, outcome]) for outcome in (OK, REFUSED, UNKNOWN))
    measured = [
        *measured,
        f"in {seconds:.0f} s refreshes {told('refresh')}, client credentials {told('client_credentials')}, logins {told('login')} (answered/503/no answer)",
        f"key set {running.fetches['ok']} of {running.fetches['ok'] + running.fetches['failed']}",
    ]
    return Row(fault, world.database, holds, measured, broken)


def within(what, took, most):
    """A measured time and, if it is too long, what is wrong."""
    if took is None:
        return [f"{what}: never"], [f"{what} within {most} s"]
    return [f"{what}: {took:.2f} s"], [] if took <= most else [f"{what} within {most} s: {took:.2f} s"]


def were_refused(load, since=0.0):
    """That people were told to come back: else the fault did nothing."""
    return [] if load.history.counts(since)["refresh", REFUSED] else ["nobody was answered 503: the fault had no effect"]

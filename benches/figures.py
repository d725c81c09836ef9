"""What was measured, as lines of a table and bars of a picture."""

from dataclasses import dataclass
from statistics import median


@dataclass
class Row:
    """A line of the table; `goal` says what was to be reached and whether it was."""

    name: str
    value: str
    goal: str = ""


@dataclass
class Bar:
    """A ratio with a goal: how much of the bare cost is reached."""

    name: str
    values: list
    aim: float

    def row(self, name):
        return Row(name, ratio(self.values), at_least(self.values, self.aim))


def spread(values, digits=",.0f", unit=""):
    return f"{median(values):{digits}}{unit} ({min(values):{digits}} … {max(values):{digits}})"


def ratio(values):
    return spread(values, ".3f")


def share(measured):
    """How much of the time something that never waits ran: well below one, others were busy, and what is said by rate is not
    worth much, because a server of many threads gets more of a contended processor than a signer of one."""
    return ratio([one["rate"] / one["per_cpu"] for one in measured])


def milliseconds(values):
    return spread(values, ".2f", " ms")


def at_least(values, aim):
    return verdict(f"≥ {aim:.2f}", median(values) >= aim)


def at_most(value, aim, unit):
    return verdict(f"≤ {aim:.4g} {unit}", value <= aim)


def verdict(aim, reached):
    return f"{aim}: reached" if reached else f"{aim}: **missed**"

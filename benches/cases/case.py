"""What all cases have in common."""

from figures import Row, ratio
from keywheel import Keywheel


class Case:
    """Something to be measured in rounds: first `prepare` starts what is needed, then each `measure` is a round.

    Both sides of a ratio are measured in the same round, that which is compared before and after, so that a busy neighbour
    or a lower clock hits both alike.
    """

    # In seconds or in numbers: for --quick, and in full.
    rounds = (4, 15)

    def __init__(self, stage):
        self.stage, self.measured = stage, []

    def of(self, quick_and_full):
        return quick_and_full[0 if self.stage.quick else 1]

    def prepare(self, stack):
        """Starts what is needed; `stack` ends it."""
        raise NotImplementedError

    def measure(self):
        """One round: what was measured, by name."""
        raise NotImplementedError

    def bars(self):
        """Ratios with goals."""
        return []

    def aims(self):
        """Lines of the report that have a goal."""
        return []

    def information(self):
        """Lines of the report that have none."""
        return []

    def remarks(self):
        """Sentences below the table."""
        return []

    def each(self, figure):
        return [figure(one) for one in self.measured]

    def nodes(self, name, database=lambda number: "sqlite://keywheel.db"):
        """A keywheel of each kind that is compared, usually one; not started yet."""
        folder = self.stage.folder
        return [
            Keywheel(self.stage, binary, folder / f"{name}-{number}", database(number))
            for number, binary in enumerate(self.stage.binaries)
        ]

    def against(self, what, key, figure="per_cpu"):
        """With --against: this keywheel's figure as a multiple of the other's."""
        if len(self.stage.binaries) < 2:
            return []
        values = self.each(lambda one: one[key][0][figure] / one[key][1][figure])
        return [Row(f"{what} ÷ the other keywheel's", ratio(values))]

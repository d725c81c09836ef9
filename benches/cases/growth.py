"""How long a refresh token is looked for among many."""

from statistics import median

from cases.case import Case
from figures import Row, at_most, milliseconds
from limits import Bare
from postgres import Postgres

# Token families: with --quick, and in full.
FAMILIES = (100_000, 1_000_000)
# Most milliseconds that of a hundred lookups ninety-nine take.
PATIENCE = 2


class Growth(Case):
    """One thread after the other thing: what is measured is the database, not how it shares itself out."""

    rounds = (4, 6)

    def prepare(self, stack):
        stage, self.families = self.stage, self.of(FAMILIES)
        postgres = stack.enter_context(Postgres(stage, stage.folder / "postgres-growth"))
        urls = {"PostgreSQL": postgres.database("growth"), "SQLite": "sqlite://growth.db"}
        self.stores = {}
        for name, url in urls.items():
            self.stores[name] = stack.enter_context(Bare(stage, stage.folder / f"growth-{name}", "store", url))
            self.stores[name].ask("fill", self.families, 0, 0)
            # What is read for the first time comes from the disk.
            self.stores[name].ask("find", 1, 1)

    def measure(self):
        seconds = self.of((1, 2))
        return {
            name: {work: store.ask(work, 1, seconds) for work in ("find", "rotate")} for name, store in self.stores.items()
        }

    def aims(self):
        for name in self.stores:
            waits = self.each(lambda one: one[name]["find"]["p99_ms"])
            what = f"**A lookup among {self.families:,} families on {name}**, p99"
            yield Row(what, milliseconds(waits), at_most(median(waits), PATIENCE, "ms"))

    def information(self):
        for name in self.stores:
            yield Row(f"A lookup there on {name}, p50", milliseconds(self.each(lambda one: one[name]["find"]["p50_ms"])))
            yield Row("… a rotation, p50", milliseconds(self.each(lambda one: one[name]["rotate"]["p50_ms"])))
            yield Row("… a rotation, p99", milliseconds(self.each(lambda one: one[name]["rotate"]["p99_ms"])))

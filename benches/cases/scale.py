"""What a million clients and users and ten million refresh tokens change, against a thousand of each."""

import random
from statistics import median

import crowd
from cases.case import Case
from figures import Row, milliseconds, ratio, spread, verdict
from keywheel import TOKEN, Keywheel
from limits import Bare
from offered import offered, without_pause
from postgres import Postgres

# Clients, and as many users and families of refresh tokens, each with ten generations: with --quick, and in full.
FEW, MANY = 1_000, (100_000, 1_000_000)
GENERATIONS = 10
# Part of the families that have expired and are swept.
EXPIRED = 0.1
# How many times as long the slowest in a hundred may take among many as among few.
TIMES = 1.2
# Clients that ask after a start: all of the few. Of each start's latencies the middle one counts, for the tenth slowest of a thousand
# is one of those that the machine itself held up.
ASKING, STARTS = 1_000, 5
# What is done in a round: its name in the report, and whether it has a goal, which requests have. One thing after the other: what is
# measured is a database, not how it shares itself out.
WORKS = {
    "looked_up": ("A token of a client that is looked up", True),
    "known": ("A token of a client that is known", True),
    "refresh": ("A refresh", True),
    "find": ("The lookup of any refresh token, alone", False),
    "rotate": ("The rotation of any refresh token, alone", False),
}


class Scale(Case):
    rounds = (4, 8)

    def prepare(self, stack):
        stage, folder = self.stage, self.stage.folder
        postgres = stack.enter_context(Postgres(stage, folder / "postgres-scale"))
        self.sizes, self.servers, self.stores = {"few": FEW, "many": self.of(MANY)}, {}, {}
        self.random = random.Random(0)
        for size, number in self.sizes.items():
            name = f"scale_{size}"
            databases = {
                "SQLite": ("sqlite://keywheel.db", crowd.Sqlite(folder / f"SQLite-{size}" / "keywheel.db")),
                "PostgreSQL": (postgres.database(name), crowd.OnPostgres(postgres, name)),
            }
            for kind, (url, database) in databases.items():
                home = folder / f"{kind}-{size}"
                self.servers[kind, size] = Keywheel(stage, stage.binaries[0], home, url)
                crowd.fill(database, number, users=number)
                store = stack.enter_context(Bare(stage, home, "store", url))
                self.stores[kind, size] = store
                expired = int(number * EXPIRED)
                store.ask("fill", number - expired, GENERATIONS - 1, expired)
                store.ask("find", 1, 1)

    def measure(self):
        starts = [{key: self.asked(*key) for key in self.servers} for _ in range(STARTS)]
        return {key: middle([start[key] for start in starts]) | self.worked(*key) for key in self.servers}

    def asked(self, kind, size):
        """Clients that nobody has seen since the start, and then once more."""
        node = self.servers[kind, size]
        file = crowd.requests(node, self.stage.folder / "scale.requests", self.random.sample(range(self.sizes[size]), ASKING))
        measured = {"start": node.start_to_first_token()}
        with node:
            measured["at_rest"] = node.server.memory()["VmRSS"]
            for work in ("looked_up", "known"):
                measured[work] = offered(node.server, self.stage, node.port, file, without_pause(ASKING), connections=1)
            measured["after"] = node.server.memory()["VmRSS"]
        return measured

    def worked(self, kind, size):
        node, store, seconds = self.servers[kind, size], self.stores[kind, size], self.of((1, 2))
        measured = {}
        with node:
            tokens = self.stage.folder / "scale.tokens"
            # One is never sent: wrk asks for a request before it begins.
            tokens.write_text("\n".join(node.refresh_tokens(2)) + "\n")
            measured["refresh"] = node.load(TOKEN, self.of((1, 2)), node.application, tokens, script="chain.lua", connections=1)
        for work in ("find", "rotate"):
            measured[work] = store.ask(work, 1, seconds)
        measured["sweep"] = store.ask("sweep", seconds / 4)
        return measured

    def kinds(self):
        return dict.fromkeys(kind for kind, _ in self.servers)

    def times(self, kind, work, figure):
        return self.each(lambda one: one[kind, "many"][work][figure] / one[kind, "few"][work][figure])

    def aims(self):
        for kind in self.kinds():
            for work, (name, has_goal) in WORKS.items():
                if has_goal:
                    times = self.times(kind, work, "p99_ms")
                    goal = verdict(f"≤ {TIMES}", median(times) <= TIMES)
                    yield Row(f"**{name} on {kind}, among many ÷ among few**, p99", ratio(times), goal)

    def information(self):
        for kind in self.kinds():
            for work, (name, has_goal) in WORKS.items():
                yield Row(f"{name} on {kind}, among many ÷ among few, p50", ratio(self.times(kind, work, "p50_ms")))
                if not has_goal:
                    yield Row("… p99", ratio(self.times(kind, work, "p99_ms")))
            for size, number in self.sizes.items():
                yield from self.among(kind, size, f"Among {number:,} on {kind}")

    def among(self, kind, size, where):
        def figures(*keys):
            def figure(one):
                for key in ((kind, size), *keys):
                    one = one[key]
                return one

            return self.each(figure)

        for work, (name, _) in WORKS.items():
            p50, p99 = (milliseconds(figures(work, figure)) for figure in ("p50_ms", "p99_ms"))
            yield Row(f"{where}: {name[0].lower()}{name[1:]}, p50; p99", f"{p50}; {p99}")
        yield Row(f"{where}: start to a token", spread(figures("start"), unit=" ms"))
        yield Row(f"{where}: memory at rest; after {ASKING:,} clients", f"{mebibytes(figures('at_rest'))}; {mebibytes(figures('after'))}")
        swept = [count / seconds for count, seconds in zip(figures("sweep", "count"), figures("sweep", "seconds")) if count]
        if swept:
            waits = [wait for wait in figures("sweep", "p99_ms") if wait is not None]
            yield Row(f"{where}: expired rows swept per second; p99 of a thousand", f"{spread(swept)}; {milliseconds(waits)}")

    def remarks(self):
        yield (
            f"Among N means: N clients, N users and N families of refresh tokens with {GENERATIONS} generations each, of which "
            f"{EXPIRED:.0%} have expired. Sweeping comes last in a round, so there is less of it in each."
        )


def middle(starts):
    """Of each figure, the median of all starts."""
    figures = {name: median(start[name] for start in starts) for name in ("start", "at_rest", "after")}
    for work in ("looked_up", "known"):
        figures[work] = {figure: median(start[work][figure] for start in starts) for figure in ("p50_ms", "p99_ms")}
    return figures


def mebibytes(values):
    return spread(values, ".1f", " MiB")

"""Refreshes against the statements and the signature that they are made of."""

from statistics import median

from cases.case import Case
from figures import Bar, Row, ratio, share, spread, verdict
from keywheel import TOKEN
from limits import Bare, mean
from load import CONNECTIONS
from postgres import Postgres

# Part of the lower of the two limits that is to be reached on PostgreSQL.
POSTGRES_AIM = 0.75
# Times a writer that commits each rotation by itself, that those reach who wait together on SQLite, unless they are more than can be
# signed for.
SQLITE_AIM = 4
# As many as the server has connections to PostgreSQL.
POOL = 8


class Refresh(Case):
    rounds = (4, 10)

    def prepare_on(self, stack, databases, bare):
        """A database for each server, and one for the statements alone."""
        self.signer = stack.enter_context(Bare(self.stage, self.stage.folder / f"{self.name}-sign", "sign"))
        self.store = stack.enter_context(Bare(self.stage, self.stage.folder / f"{self.name}-bare", "store", bare))
        # A family for each connection: as many as there are in the servers' databases.
        self.store.ask("fill", CONNECTIONS, 0, 0)
        self.keywheels = [stack.enter_context(node) for node in self.nodes(self.name, databases)]

    def limits(self):
        """What a refresh is made of, each without the other."""
        return {"sign": self.signer.measure(self.of((0.4, 0.6)))} | {
            name: self.store.measure(*order, self.of((0.6, 1))) for name, order in self.orders.items()
        }

    def measure(self):
        before = self.limits()
        refreshes = [self.refreshes(number, node) for number, node in enumerate(self.keywheels)]
        after = self.limits()
        return {name: mean([before[name], after[name]]) for name in before} | {"refreshes": refreshes}

    def refreshes(self, number, node):
        tokens = self.stage.folder / f"{self.name}-{number}.tokens"
        # Logins that are not measured: what a load does not use up is unknown to the next one.
        tokens.write_text("\n".join(node.refresh_tokens(CONNECTIONS + 1)) + "\n")
        return node.load(TOKEN, self.of((2, 3)), node.application, tokens, script="chain.lua")

    def ratios(self, limit):
        return self.each(lambda one: one["refreshes"][0]["rate"] / limit(one))

    def common(self):
        loads = self.each(lambda one: one["refreshes"][0])
        return [
            Row(f"Refreshes per second on {self.database}", spread([load["rate"] for load in loads])),
            Row("… per second of the server's processor", spread([load["per_cpu"] for load in loads])),
            Row("… ÷ bare signatures, by processor time", ratio(self.each(by_processor))),
            Row("… bare signatures per second in the same rounds", spread(self.each(lambda one: one["sign"]["rate"]))),
            Row("… part of its processor that the signer got", share(self.each(lambda one: one["sign"]))),
        ]


def by_processor(one):
    return one["refreshes"][0]["per_cpu"] / one["sign"]["per_cpu"]


class RefreshOnPostgres(Refresh):
    name, database = "refresh-postgres", "PostgreSQL"
    orders = {"statements": ("refresh", POOL)}

    def prepare(self, stack):
        server = stack.enter_context(Postgres(self.stage, self.stage.folder / "postgres"))
        self.prepare_on(stack, lambda number: server.database(f"keywheel{number}"), server.database("bare"))

    def bars(self):
        values = self.ratios(lambda one: min(one["statements"]["rate"], one["sign"]["rate"]))
        return [Bar("refresh on PostgreSQL ÷ bare", values, POSTGRES_AIM)]

    def aims(self):
        return [bar.row("**Refreshes on PostgreSQL ÷ the lower of bare statements and bare signatures**") for bar in self.bars()]

    def information(self):
        statements = self.each(lambda one: one["statements"])
        return [
            *self.common(),
            Row(f"… bare statements per second, {POOL} threads", spread([load["rate"] for load in statements])),
            Row("… per second of their own processor", spread([load["per_cpu"] for load in statements])),
            *self.against("Refreshes on PostgreSQL", "refreshes", "rate"),
        ]


class RefreshOnSqlite(Refresh):
    name, database = "refresh-sqlite", "SQLite"
    orders = {"single": ("rotate", 1), "together": ("rotate", CONNECTIONS)}

    def prepare(self, stack):
        self.prepare_on(stack, lambda number: "sqlite://keywheel.db", "sqlite://bare.db")

    def aims(self):
        times = self.each(lambda one: one["together"]["rate"] / one["single"]["rate"])
        what = f"**Rotations on SQLite of {CONNECTIONS} threads that share commits ÷ a single writer that commits each**"
        beyond = self.each(lambda one: one["together"]["rate"] / one["sign"]["rate"])
        reached = median(times) >= SQLITE_AIM or median(beyond) >= 1
        return [Row(what, ratio(times), verdict(f"≥ {SQLITE_AIM}, or as many as signatures", reached))]

    def information(self):
        rates = {name: self.each(lambda one: one[name]["rate"]) for name in self.orders}
        return [
            *self.common(),
            Row(
                f"Rotations of {CONNECTIONS} threads that share commits ÷ bare signatures",
                ratio(self.each(lambda one: one["together"]["rate"] / one["sign"]["rate"])),
            ),
            Row("Whole refreshes on SQLite ÷ bare signatures", ratio(self.ratios(lambda one: one["sign"]["rate"]))),
            Row("… rotations per second of a single writer that commits each", spread(rates["single"])),
            Row(f"… of {CONNECTIONS} threads whose rotations share commits", spread(rates["together"])),
            *self.against("Refreshes on SQLite", "refreshes", "rate"),
        ]

"""Revocations of both kinds of token against the statements that they are."""

from urllib.parse import urlencode

from cases.case import Case
from figures import Row, ratio, spread
from keywheel import Keywheel
from limits import Bare, mean
from load import CONNECTIONS
from offered import offered, posted, without_pause
from postgres import Postgres
from process import fail

REVOKE = "/oauth2/revoke"
# Families for the statements alone.
FAMILIES = 20_000
# As many as the server has connections to PostgreSQL; on SQLite those who wait together share a commit.
THREADS = {"SQLite": CONNECTIONS, "PostgreSQL": 8}
# What a token of a kind is ended by: the load, and the statements.
KINDS = {"access": "bar", "refresh": "revoke"}
# Tokens in a round: with --quick, and in full.
COUNTS = {"access": (2_000, 5_000), "refresh": (120, 400)}


class Revocation(Case):
    """Each token is ended once, while it is good. Refresh tokens are few, because each of them is a login first."""

    rounds = (2, 6)

    def prepare(self, stack):
        stage, folder = self.stage, self.stage.folder
        postgres = stack.enter_context(Postgres(stage, folder / "postgres-revocation"))
        urls = {
            "SQLite": ("sqlite://keywheel.db", "sqlite://bare.db"),
            "PostgreSQL": (postgres.database("revocation"), postgres.database("bare")),
        }
        self.stores, self.servers = {}, {}
        for name, (server, bare) in urls.items():
            self.stores[name] = stack.enter_context(Bare(stage, folder / f"revocation-bare-{name}", "store", bare))
            self.stores[name].ask("fill", FAMILIES, 0, 0)
            node = Keywheel(stage, stage.binaries[0], folder / f"revocation-{name}", server)
            self.servers[name] = stack.enter_context(node)

    def measure(self):
        return {name: {kind: self.revocations(name, kind) for kind in KINDS} for name in self.servers}

    def revocations(self, name, kind):
        node, store = self.servers[name], self.stores[name]
        file, count = self.stage.folder / f"revocation-{name}.requests", self.of(COUNTS[kind])
        if kind == "access":
            holder, tokens = node.service, node.access_tokens(count)
        else:
            holder, tokens = node.application, node.refresh_tokens(count)
        lines = (posted(kind, REVOKE, holder, urlencode({"token": token})) for token in tokens)
        file.write_text("\n".join(lines) + "\n")
        order, seconds = (KINDS[kind], THREADS[name]), self.of((0.3, 0.6))
        before = store.measure(*order, seconds)
        load = offered(node.server, self.stage, node.port, file, without_pause(count))
        after = store.measure(*order, seconds)
        if node.introspect(holder, tokens[-1])["active"]:
            fail("a token that was revoked is active")
        return {"load": load, "statements": mean([before, after])}

    def information(self):
        for name in self.servers:
            for kind in KINDS:
                measured = self.each(lambda one: one[name][kind])
                loads = [one["load"] for one in measured]
                yield Row(f"Revocations of {kind} tokens per second on {name}", spread([load["rate"] for load in loads]))
                yield Row("… per second of the server's processor", spread([load["per_cpu"] for load in loads]))
                statements = [one["statements"] for one in measured]
                threads = THREADS[name]
                yield Row(f"… bare statements per second, {threads} threads", spread([one["rate"] for one in statements]))
                yield Row("… ÷ bare statements", ratio([one["load"]["rate"] / one["statements"]["rate"] for one in measured]))

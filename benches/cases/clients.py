"""Tokens of many clients, whom the server knows already or has to look up."""

import crowd
from cases.case import Case
from figures import Bar, Row, ratio, spread
from keywheel import Keywheel
from limits import Bare, mean
from offered import offered, posted, without_pause
from postgres import Postgres

# All of them fit into the server's memory.
MANY = 10_000
# Tokens of a single client that are compared with theirs.
FEWER = 4_000
# Part of bare signatures that is to be reached, as for one client.
AIM = 0.88
STATEMENTS = "keywheel_database_statements_total"


class Clients(Case):
    """Each client asks once, and then once more; the server has just been started, and knows none of them the first time."""

    rounds = (2, 6)

    def prepare(self, stack):
        stage, folder = self.stage, self.stage.folder
        self.signer = stack.enter_context(Bare(stage, folder / "clients-sign", "sign"))
        postgres = stack.enter_context(Postgres(stage, folder / "postgres-clients"))
        self.servers = {
            "SQLite": Keywheel(stage, stage.binaries[0], folder / "clients-sqlite"),
            "PostgreSQL": Keywheel(stage, stage.binaries[0], folder / "clients-postgres", postgres.database("clients")),
        }
        crowd.fill(crowd.Sqlite(folder / "clients-sqlite" / "keywheel.db"), MANY)
        crowd.fill(crowd.OnPostgres(postgres, "clients"), MANY)
        self.files = {}
        for name, node in self.servers.items():
            many = crowd.requests(node, folder / f"{name}.many", range(MANY))
            one = folder / f"{name}.one"
            one.write_text(posted("token", "/oauth2/token", node.service, crowd.FORM) + "\n")
            self.files[name] = {"cold": many, "warm": many, "one": one}

    def measure(self):
        return {name: self.on(name) for name in self.servers}

    def on(self, name):
        node, measured = self.servers[name], {}
        before = self.signer.measure(self.of((0.4, 0.6)))
        with node:
            for how, file in self.files[name].items():
                statements = node.metric(STATEMENTS)
                count = FEWER if how == "one" else MANY
                measured[how] = offered(node.server, self.stage, node.port, file, without_pause(count))
                measured[how]["statements"] = (node.metric(STATEMENTS) - statements) / count
            measured["memory"] = node.server.memory()["VmRSS"]
        after = self.signer.measure(self.of((0.4, 0.6)))
        return measured | {"sign": mean([before, after])}

    def ratios(self, name, how, to):
        return self.each(lambda one: one[name][how]["per_cpu"] / one[name][to]["per_cpu"])

    def bars(self):
        return [Bar(f"tokens of {MANY:,} clients ÷ signatures", self.ratios("SQLite", "warm", "sign"), AIM)]

    def aims(self):
        return [bar.row(f"**Tokens of {MANY:,} clients ÷ signatures**, by processor time, each known") for bar in self.bars()]

    def information(self):
        for name in self.servers:
            yield Row(f"On {name}: tokens of one client ÷ signatures, by the same load", ratio(self.ratios(name, "one", "sign")))
            yield Row(f"… of {MANY:,} clients, known ÷ of one client", ratio(self.ratios(name, "warm", "one")))
            yield Row("… looked up first, after a start ÷ known", ratio(self.ratios(name, "cold", "warm")))
            yield Row(
                "… statements for a token of a client that is looked up; known",
                "; ".join(f"{self.statements(name, how):.2f}" for how in ("cold", "warm")),
            )
            memory = self.each(lambda one: one[name]["memory"])
            yield Row(f"… memory with {MANY:,} clients known", spread(memory, ".1f", " MiB"))

    def statements(self, name, how):
        return max(self.each(lambda one: one[name][how]["statements"]))

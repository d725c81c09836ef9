"""Tokens of clients from other servers, in turns with keywheel's on the same processor."""

from statistics import median

from cases.case import Case
from figures import Row, at_least, spread
from keywheel import TOKEN
from limits import Bare, mean
from peers import FORM, Peer, Server, install, pinned
from postgres import Postgres
from process import fail, say
from stage import said_by

DJANGO = "django-oauth-toolkit"
HASHED = f"{DJANGO}, as shipped"


class Others(Case):
    """One worker each. PostgreSQL, which the last one writes each token to, has the other processor, and its time is not counted."""

    rounds = (3, 7)

    def prepare(self, stack):
        [self.keywheel, *_] = self.nodes("others")
        stack.enter_context(self.keywheel)
        self.signer = stack.enter_context(Bare(self.stage, self.stage.folder / "others-sign", "sign"))
        self.servers, self.missing, reasons = {}, {}, {}
        postgres = stack.enter_context(Postgres(self.stage, self.stage.folder / "postgres-others"))
        for name, peer in peers(postgres).items():
            installed = self.stage.folder / f"installed-{peer.folder}"
            if peer.folder not in reasons:
                say(f"Others: installing {peer.folder}")
                reasons[peer.folder] = install(peer, installed)
            if reasons[peer.folder]:
                self.missing[name] = reasons[peer.folder]
                continue
            folder = self.stage.folder / f"peer-{name.replace(' ', '-')}"
            server = stack.enter_context(Server(self.stage, peer, installed, folder))
            server.tokens(1)
            self.servers[name] = server
        if not self.servers:
            fail(f"no other server could be installed: {self.missing}")

    def measure(self):
        node, seconds = self.keywheel, self.of((2, 4))
        signing = self.signer.measure(self.of((0.6, 1)))
        before = node.load(TOKEN, seconds, node.service, FORM)
        measured = {name: server.tokens(seconds) for name, server in self.servers.items()}
        after = node.load(TOKEN, seconds, node.service, FORM)
        own = {key: (before[key] + after[key]) / 2 for key in before}
        self.memory = {name: server.memory() for name, server in self.servers.items()}
        sign = mean([signing, self.signer.measure(self.of((0.6, 1)))])
        return {"sign": sign, "keywheel": own} | measured

    def times(self, name, of="keywheel"):
        return self.each(lambda one: one[of]["per_cpu"] / one[name]["per_cpu"])

    def aims(self):
        for name, server in self.servers.items():
            if server.peer.aim:
                times = self.times(name)
                yield Row(f"**Tokens ÷ those of {name}**, by processor time", spread(times, ".2f"), at_least(times, server.peer.aim))

    def information(self):
        for name in ["keywheel", *self.servers]:
            yield Row(f"Tokens per processor second: {name}", spread(self.each(lambda one: one[name]["per_cpu"]), ",.1f"))
            if name in self.servers:
                if not self.servers[name].peer.aim:
                    yield Row("… keywheel's ÷ these", spread(self.times(name), ".2f"))
                yield Row("… bare signatures ÷ these, which nobody exceeds", spread(self.times(name, "sign"), ".2f"))
                yield Row("… memory of all its processes, shared pages once", f"{self.memory[name]:.0f} MiB")
            p99 = median(self.each(lambda one: one[name]["p99_ms"]))
            yield Row("… per second; p99", f"{median(self.each(lambda one: one[name]['rate'])):,.1f}; {p99:,.0f} ms")

    def remarks(self):
        for name, reason in self.missing.items():
            yield f"Not measured: {name}, because it could not be installed ({reason})."
        node, python = said_by("node", "--version"), said_by("python3", "--version")
        versions = [f"oidc-provider {pinned('oidc-provider', 'oidc-provider')} on Node.js {node}"]
        versions += [f"Authlib {pinned('authlib', 'Authlib')}", f"{DJANGO} {pinned(DJANGO, DJANGO)} on {python}"]
        yield f"{', '.join(versions)}. How they are set up, and how fair that is, is said in benches/peers/."


def peers(postgres):
    def django(secret_is):
        database = f"django_{secret_is}"
        postgres.database(database)
        return {"PEER_POSTGRES_PORT": str(postgres.port), "PEER_DATABASE": database, "PEER_SECRET_IS": secret_is}

    return {
        "oidc-provider": Peer("oidc-provider", "/token", 2),
        "Authlib": Peer("authlib", "/token", 5),
        HASHED: Peer(DJANGO, "/token/", 100, 4, django("hashed")),
        f"{DJANGO}, secret not hashed": Peer(DJANGO, "/token/", None, 4, django("plain")),
    }

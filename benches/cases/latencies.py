"""How long each kind of request takes at a rate that does not wait for the server, which is below what it can do."""

from statistics import median
from urllib.parse import urlencode

import crowd
from cases.case import Case
from cases.documents import METADATA
from cases.introspection import DISTINCT
from cases.offered_tokens import PART
from cases.reuse import WINDOW
from cases.revocation import REVOKE
from figures import Row, milliseconds
from keywheel import INTROSPECTION, JWKS, TOKEN, USERS, Keywheel, login
from load import CONNECTIONS
from offered import evenly, fetched, offered, posted, refreshed, without_pause
from postgres import Postgres

# Clients that are known, each of which asks in its turn.
CLIENTS = 10_000
JWKS_304 = "key set, 304"


class Kind:
    """A kind of request: its name, which server is asked, how many of them take about a second at full load, and what writes so many
    into lines. `lasting` says that the same lines can be sent again."""

    def __init__(self, name, node, count, lines, lasting=True):
        self.name, self.node, self.count, self.lines, self.lasting = name, node, count, lines, lasting
        self.written = None

    def file(self, folder, count):
        if self.written is None or not self.lasting:
            self.written = folder / "latencies.requests" if not self.lasting else folder / f"latencies-{self.name}.requests"
            self.written.write_text("\n".join(self.lines(self.node, count)) + "\n")
        return self.written


class Latencies(Case):
    """First as many as the server answers, one after the other on each connection, and then 70 % of these, due evenly."""

    rounds = (2, 5)

    def prepare(self, stack):
        stage, folder = self.stage, self.stage.folder
        [binary, *_] = stage.binaries
        postgres = stack.enter_context(Postgres(stage, folder / "postgres-latencies"))
        self.on = {
            "SQLite": Keywheel(stage, binary, folder / "latencies-sqlite"),
            "PostgreSQL": Keywheel(stage, binary, folder / "latencies-postgres", postgres.database("latencies")),
            "ES256": Keywheel(stage, binary, folder / "latencies-es256", settings={"KEYWHEEL_SIGNING_ALG": "ES256"}),
        }
        sqlite = self.on["SQLite"]
        crowd.fill(crowd.Sqlite(folder / "latencies-sqlite" / "keywheel.db"), CLIENTS)
        arguments = ["--grant", "client_credentials", "--scope", "read write", "--token-reuse-window", WINDOW]
        self.replicas = sqlite.create_client("replicas", *arguments)
        for node in self.on.values():
            stack.enter_context(node)
        self.etag = sqlite.fetch(JWKS)[1]["ETag"]
        self.kinds = list(self.all_kinds())

    def all_kinds(self):
        sqlite = self.on["SQLite"]
        yield Kind(f"token, {CLIENTS:,} clients in turn", sqlite, 2 * CLIENTS, self.tokens_of_many)
        yield Kind("token that is given again", sqlite, 40_000, lambda _node, _: [token(self.replicas)])
        yield Kind("token with ES256", self.on["ES256"], 20_000, lambda node, _: [token(node.service)])
        yield Kind("login", sqlite, 40, lambda node, _: logins(node))
        yield Kind(f"introspection, {DISTINCT:,} access tokens in turn", sqlite, 20_000, access_tokens)
        yield Kind("introspection of a refresh token", sqlite, 12_000, lambda node, _: [asked(node.application, node.refresh_tokens(1)[0])])
        for name in ("SQLite", "PostgreSQL"):
            node = self.on[name]
            yield Kind(f"refresh on {name}", node, 3_000, lambda node, _: refreshes(node), lasting=False)
            yield Kind(f"revocation of an access token on {name}", node, 1_000, revocations, lasting=False)
        yield Kind("key set", sqlite, 40_000, lambda _node, _: [fetched("key set", JWKS)])
        yield Kind(JWKS_304, sqlite, 40_000, lambda _node, _: [fetched(JWKS_304, JWKS, 304, **{"If-None-Match": self.etag})])
        yield Kind("metadata", sqlite, 40_000, lambda _node, _: [fetched("metadata", METADATA)])

    def tokens_of_many(self, node, _):
        return crowd.requests(node, self.stage.folder / "latencies.crowd", range(CLIENTS)).read_text().splitlines()

    def measure(self):
        return {kind.name: self.at_part_of_full_load(kind) for kind in self.kinds}

    def at_part_of_full_load(self, kind):
        full = self.load(kind, kind.count, without_pause(kind.count))["rate"]
        # A second is too short for what comes a few times in it.
        rate, seconds = PART * full, self.of((1, 3)) if full > 500 else self.of((4, 10))
        count = int(rate * seconds) + 1
        return self.load(kind, count, evenly(rate, seconds))

    def load(self, kind, count, pace):
        return offered(kind.node.server, self.stage, kind.node.port, kind.file(self.stage.folder, count), pace)

    def information(self):
        for kind in self.kinds:
            measured = self.each(lambda one: one[kind.name])
            p50, p99 = ([one[figure] for one in measured] for figure in ("p50_ms", "p99_ms"))
            rate = median(one["rate"] for one in measured)
            yield Row(
                f"At {PART:.0%} of full load, p50; p99: {kind.name}, {rate:,.0f} a second", f"{milliseconds(p50)}; {milliseconds(p99)}"
            )

    def remarks(self):
        yield (
            f"At {PART:.0%} of full load, requests are due evenly, and what each takes counts from when it was due. Documents and tokens "
            "that are given again are limited by the load generator, which has one processor as the server has."
        )


def token(authorization):
    return posted("token", TOKEN, authorization, crowd.FORM)


def logins(node):
    # Each user from a block of addresses of their own, as the throttle sees it.
    for number in range(USERS):
        address = f"10.{number // 250}.{number % 250}.1"
        yield posted("login", TOKEN, node.application, urlencode(login(number)), **{"X-Forwarded-For": address})


def asked(authorization, token):
    return posted("introspection", INTROSPECTION, authorization, urlencode({"token": token}))


def access_tokens(node, _):
    return [asked(node.resource_server, token) for token in node.access_tokens(DISTINCT)]


def refreshes(node):
    return [refreshed("refresh", node.application, token) for token in node.refresh_tokens(CONNECTIONS)]


def revocations(node, count):
    tokens = node.access_tokens(count)
    return [posted("revocation", REVOKE, node.service, urlencode({"token": token})) for token in tokens]

"""What each kind of request costs the database: its processor, statements and commits, and what it writes to its log."""

import time
from urllib.parse import urlencode

from cases.case import Case
from figures import Row, spread
from keywheel import INTROSPECTION, TOKEN, login
from load import CONNECTIONS
from postgres import Postgres

# How long nothing is asked of a node, for what it costs to be there.
QUIET = 5


class Database(Case):
    rounds = (3, 7)

    def prepare(self, stack):
        self.server = stack.enter_context(Postgres(self.stage, self.stage.folder / "database-postgres"))
        self.url = self.server.database("keywheel")
        [self.node] = [stack.enter_context(node) for node in self.nodes("database", lambda number: self.url)]

    def measure(self):
        number = self.of((100, 200))
        logins = [urlencode(login(user)) for user in range(number)]
        answers = []

        def post(path, caller, forms):
            answers.append(self.node.post(path, caller, forms))
            return len(forms)

        application, resource = self.node.application, self.node.resource_server
        measured = {"login": self.cost(lambda: post(TOKEN, application, logins))}
        tokens = [answer["refresh_token"] for answer in answers.pop()]
        refreshed = [urlencode({"grant_type": "refresh_token", "refresh_token": token}) for token in tokens]
        measured["first refresh"] = self.cost(lambda: post(TOKEN, application, refreshed))
        named = [urlencode({"token": answer["refresh_token"]}) for answer in answers.pop()]
        measured["alone"] = self.cost(lambda: self.one_after_the_other(login(0), number))
        measured["introspection"] = self.cost(lambda: post(INTROSPECTION, resource, named))
        measured["revocation"] = self.cost(lambda: post("/oauth2/revoke", application, named))
        chain = self.stage.folder / "database.tokens"
        chain.write_text("\n".join(self.node.refresh_tokens(CONNECTIONS + 1)) + "\n")
        loaded = lambda: self.node.load(TOKEN, 2, application, chain, script="chain.lua")["requests"]
        measured["refresh"] = self.cost(loaded)
        load = lambda: self.node.load(TOKEN, 2, self.node.service, "grant_type=client_credentials")["requests"]
        measured["token"] = self.cost(load)
        measured["quiet"] = self.cost(lambda: time.sleep(QUIET) or QUIET)
        return measured

    def one_after_the_other(self, form, number):
        for _ in range(number + 1):
            [answer] = self.node.post(TOKEN, self.node.application, [urlencode(form)])
            form = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
        return number

    def cost(self, work):
        """Of one request: seconds of the database's processor, statements, commits, bytes of its log, and bytes by which it grows."""
        before = self.spent()
        number = work()
        after = self.spent()
        return {key: (after[key] - before[key]) / number for key in before}

    def spent(self):
        return self.server.spent("keywheel") | {"statements": self.node.metric("keywheel_database_statements_total")}

    def information(self):
        return [
            Row(f"The database for {WHAT[name]}: processor; statements; commits; log; growth", self.told(name)) for name in self.measured[0]
        ]

    def told(self, name):
        of = lambda key, scale, digits, unit: spread(
            self.each(lambda one: one[name][key] * scale), digits, unit
        )
        return "; ".join([of("processor", 1e6, ",.0f", " µs"), of("statements", 1, ".2f", ""), of("commits", 1, ".2f", ""), of("log", 1, ",.0f", " B"), of("size", 1, ",.0f", " B")])


WHAT = {
    "login": "a login",
    "first refresh": "the first refresh after a login, one at a time",
    "alone": "another refresh, one at a time",
    "refresh": f"a refresh among {CONNECTIONS} at once",
    "introspection": "an introspection of a refresh token",
    "revocation": "a revocation of a refresh token",
    "token": "a client's token",
    "quiet": "a node that nobody asks anything, in a second",
}

"""The key set against static bytes from a bare actix-web."""

import load
from cases.case import Case
from figures import Bar, Row, spread
from keywheel import JWKS
from limits import Static, mean

AIM = 0.85


class Documents(Case):
    def prepare(self, stack):
        self.keywheels = [stack.enter_context(node) for node in self.nodes("jwks")]
        body, headers = self.keywheels[0].fetch(JWKS)
        self.unchanged = [f"If-None-Match: {headers['ETag']}"]
        self.static = stack.enter_context(Static(self.stage, self.stage.folder / "static", body))

    def measure(self):
        before = self.static.documents(JWKS, 1)
        jwks = [load.on(node.server, node.port, JWKS, 1) for node in self.keywheels]
        after = self.static.documents(JWKS, 1)
        first = self.keywheels[0]
        unchanged = load.on(first.server, first.port, JWKS, 1, headers=self.unchanged)
        return {"static": mean([before, after]), "jwks": jwks, "unchanged": unchanged}

    def bars(self):
        return [Bar("key set ÷ static bytes", self.each(lambda one: one["jwks"][0]["per_cpu"] / one["static"]["per_cpu"]), AIM)]

    def aims(self):
        return [bar.row("**Key set ÷ static bytes**, by processor time") for bar in self.bars()]

    def information(self):
        return [
            Row("Per processor second: static bytes from bare actix-web", spread(self.each(lambda one: one["static"]["per_cpu"]))),
            Row("… key set, 200", spread(self.each(lambda one: one["jwks"][0]["per_cpu"]))),
            Row("… key set, 304", spread(self.each(lambda one: one["unchanged"]["per_cpu"]))),
            *self.against("Key set", "jwks"),
        ]

"""Introspection against the verification of one signature."""

from urllib.parse import urlencode

from cases.case import Case
from figures import Bar, Row, ratio, spread
from keywheel import INTROSPECTION
from limits import Bare, mean
from process import fail

AIM = 0.80
# Tokens that are asked about in turn, so that none comes again soon.
DISTINCT = 2_000


class Introspection(Case):
    def prepare(self, stack):
        self.verifier = stack.enter_context(Bare(self.stage, self.stage.folder / "verify", "verify"))
        self.keywheels = [stack.enter_context(node) for node in self.nodes("introspection")]
        self.questions = [self.ask(number, node) for number, node in enumerate(self.keywheels)]

    def ask(self, number, node):
        """What will be asked of a server, after a look at whether it answers that the tokens are active."""
        access_tokens, [refresh_token] = node.access_tokens(DISTINCT), node.refresh_tokens(1)
        asked = [(node.resource_server, token) for token in (access_tokens[0], access_tokens[-1])]
        for caller, token in [*asked, (node.application, refresh_token)]:
            if not node.introspect(caller, token)["active"]:
                fail("introspection does not know a token that was just given out")
        distinct = self.stage.folder / f"introspection-{number}.forms"
        distinct.write_text("".join(form(token) + "\n" for token in access_tokens))
        return {"one": form(access_tokens[0]), "distinct": distinct, "refresh": form(refresh_token)}

    def measure(self):
        verifying, seconds = self.of((0.4, 0.6)), self.of((1, 1))
        before = self.verifier.measure(verifying)
        one = [
            node.load(INTROSPECTION, seconds, node.resource_server, questions["one"])
            for node, questions in zip(self.keywheels, self.questions)
        ]
        after = self.verifier.measure(verifying)
        first, questions = self.keywheels[0], self.questions[0]
        return {
            "verify": mean([before, after]),
            "one": one,
            "distinct": first.load(INTROSPECTION, seconds, first.resource_server, questions["distinct"], script="turns.lua"),
            "refresh": first.load(INTROSPECTION, seconds, first.application, questions["refresh"]),
        }

    def bars(self):
        values = self.each(lambda one: one["one"][0]["per_cpu"] / one["verify"]["per_cpu"])
        return [Bar("introspection ÷ verification", values, AIM)]

    def aims(self):
        return [bar.row("**Introspections of an access token ÷ verifications**, by processor time") for bar in self.bars()]

    def information(self):
        loads = self.each(lambda one: one["one"][0])
        distinct = self.each(lambda one: one["distinct"]["per_cpu"] / one["verify"]["per_cpu"])
        return [
            Row(f"The same with {DISTINCT:,} tokens in turn", ratio(distinct)),
            Row("Per processor second: bare verifications", spread(self.each(lambda one: one["verify"]["per_cpu"]))),
            Row("… introspections of one access token", spread([load["per_cpu"] for load in loads])),
            Row(f"… of {DISTINCT:,} access tokens in turn", spread(self.each(lambda one: one["distinct"]["per_cpu"]))),
            Row("… of a refresh token", spread(self.each(lambda one: one["refresh"]["per_cpu"]))),
            *self.against("Introspections", "one"),
        ]


def form(token):
    return urlencode({"token": token})

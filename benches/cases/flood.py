"""What more token requests than can be signed leave of the server for those who read keys."""

import time
from statistics import median

from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_most, milliseconds, spread
from keywheel import JWKS, TOKEN
from load import Running
from offered import Offer, evenly, fetched

# Most milliseconds that of a hundred key sets ninety-nine take.
PATIENCE = 20
# Connections that ask for tokens: as many as wait in line, and more.
WAITING, TOO_MANY = 320, 900
# Key sets a second, due evenly.
READS = 200


class Flood(Case):
    rounds = (2, 5)

    def prepare(self, stack):
        [self.keywheel, *_] = self.nodes("flood")
        stack.enter_context(self.keywheel)
        self.requests = self.stage.folder / "flood.requests"
        self.requests.write_text(fetched("key set", JWKS) + "\n")

    def measure(self):
        return {"waiting": self.under(WAITING), "too_many": self.under(TOO_MANY)}

    def under(self, connections):
        node = self.keywheel
        headers = [f"Authorization: {node.service}"]
        flood = Running(node.port, TOKEN, 3, [FORM], headers=headers, connections=connections, refusals=True)
        time.sleep(0.5)
        keys = Offer(self.stage, node.port, self.requests, evenly(READS, 2), connections=4).result()
        flood = flood.result()
        answered = (flood["requests"] - flood["bad_status"]) / flood["seconds"]
        return {"keys": keys["p99_ms"], "answered": answered, "refused": flood["bad_status"] / flood["seconds"]}

    def aims(self):
        keys = self.each(lambda one: one["too_many"]["keys"])
        return [
            Row(
                f"**A key set while {TOO_MANY} connections ask for tokens**, p99",
                milliseconds(keys),
                at_most(median(keys), PATIENCE, "ms"),
            )
        ]

    def information(self):
        def figures(name):
            return self.each(lambda one: one["too_many"][name])

        return [
            Row("… tokens per second meanwhile", spread(figures("answered"))),
            Row("… requests turned away per second", spread(figures("refused"))),
            Row(f"A key set while {WAITING} do, p99", milliseconds(self.each(lambda one: one["waiting"]["keys"]))),
            Row("… tokens per second meanwhile", spread(self.each(lambda one: one["waiting"]["answered"]))),
        ]

"""What becomes of tokens when five times as many are due as can be signed."""

import time
from statistics import median

from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_least, at_most, milliseconds, ratio, spread
from keywheel import JWKS, TOKEN
from limits import Static
from load import Running
from offered import Offer, at_random, fetched, offered, posted

# How many times what can be done is asked for, and over how many connections: more than stand in line and are being refused.
TIMES, CONNECTIONS = 5, 1_000
# What is to be left of the tokens; the longest that a refusal takes, in ms, and that it takes until all is as before, in s.
LEFT, TELL, RECOVER = 0.8, 50, 5
# A key set and a health check among all that.
PATIENCE = 50


class Overload(Case):
    rounds = (2, 7)

    def prepare(self, stack):
        [self.keywheel, *_] = self.nodes("overload")
        stack.enter_context(self.keywheel)
        self.requests = self.stage.folder / "overload.requests"
        self.requests.write_text(posted("token", TOKEN, self.keywheel.service, FORM) + "\n")
        refusal = b'{"error":"temporarily_unavailable"}'
        self.static = stack.enter_context(Static(self.stage, self.stage.folder / "static-refusal", refusal))
        self.static_requests = self.stage.folder / "overload-static.requests"
        self.static_requests.write_text(fetched("static", "/") + "\n")

    def measure(self):
        node, seconds = self.keywheel, self.of((3, 5))
        full = node.load(TOKEN, 2, node.service, FORM)
        pace = at_random(TIMES * full["rate"], seconds)
        flood = Offer(self.stage, node.port, self.requests, pace, connections=CONNECTIONS, refusals=True)
        time.sleep(1)
        others = [Running(port, path, 1, connections=1) for port, path in ((node.port, JWKS), (node.management, "/livez"))]
        keys, health = [one.result()["p99_ms"] for one in others]
        metrics = self.took(lambda: node.fetch("/metrics", node.management))
        flood = flood.result()
        ended = time.monotonic()
        while self.took(lambda: node.access_tokens(1)) > 10e3 / full["rate"] and time.monotonic() < ended + 60:
            time.sleep(0.01)
        recovered = time.monotonic() - ended
        # What a server that signs nothing needs for as many answers as those beyond full load.
        pace = at_random((TIMES - 1) * full["rate"], seconds)
        bare = offered(self.static, self.stage, self.static.port, self.static_requests, pace, connections=CONNECTIONS)
        return {
            "left_by_bare": 1 - bare["rate"] / bare["per_cpu"],
            "offered": flood["rate"] / full["rate"],
            "kept": flood["statuses"]["200"]["requests"] / flood["seconds"] / full["rate"],
            "granted": flood["statuses"]["200"]["p99_ms"],
            "refused": flood["statuses"].get("503", {"p99_ms": 0.0})["p99_ms"],
            "others": set(flood["statuses"]) - {"200", "503"},
            "recovered": recovered,
            "keys": keys,
            "health": health,
            "metrics": metrics,
        }

    @staticmethod
    def took(act):
        """In milliseconds."""
        begun = time.monotonic()
        act()
        return 1e3 * (time.monotonic() - begun)

    def aims(self):
        def figures(name):
            return self.each(lambda one: one[name])

        what = f"**{TIMES} times as many tokens due as can be signed**"
        seconds = spread(figures("recovered"), ".2f", " s")
        alive = max(map(max, zip(figures("keys"), figures("health"), figures("metrics"))))
        return [
            Row(f"{what}: tokens ÷ those at full load", ratio(figures("kept")), at_least(figures("kept"), LEFT)),
            Row("… a refusal, p99", milliseconds(figures("refused")), at_most(median(figures("refused")), TELL, "ms")),
            Row("… until tokens are given as before", seconds, at_most(max(figures("recovered")), RECOVER, "s")),
            Row("… key set, health, metrics meanwhile, the slowest p99", f"{alive:.2f} ms", at_most(alive, PATIENCE, "ms")),
        ]

    def information(self):
        left = ratio(self.each(lambda one: one["left_by_bare"]))
        yield Row(f"… what {TIMES - 1} times as many answers of bare actix-web would leave of the processor", left)
        yield Row("… requests that were sent ÷ those at full load", ratio(self.each(lambda one: one["offered"])))
        yield Row("… a token, p99", milliseconds(self.each(lambda one: one["granted"])))
        yield Row("… a key set, p99", milliseconds(self.each(lambda one: one["keys"])))
        yield Row("… a health check, p99", milliseconds(self.each(lambda one: one["health"])))

    def remarks(self):
        others = set().union(*self.each(lambda one: one["others"]))
        return [f"Under overload there were answers with other statuses: {', '.join(sorted(others))}."] if others else []

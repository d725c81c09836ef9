"""Tokens that are given again: what is left of a token's cost when nothing is signed for it."""

from statistics import median

from cases.case import Case
from cases.tokens import counted
from figures import Row, spread, verdict

# Answers for each second of the server's processor.
AIM = 35_000
# As long as no measurement takes: half of a token's life.
WINDOW = "30m"


class Reuse(Case):
    def prepare(self, stack):
        # Another keywheel may not know the window.
        self.keywheel = self.nodes("reuse")[0]
        self.replicas = self.keywheel.create_client(
            "replicas", "--grant", "client_credentials", "--scope", "read write", "--token-reuse-window", WINDOW
        )
        stack.enter_context(self.keywheel)

    def measure(self):
        return counted(self.keywheel, self.of((1, 2)), self.replicas, "tokens_reused")

    def aims(self):
        answers = self.each(lambda one: one["per_cpu"])
        reached = median(answers) >= AIM
        return [Row("**Tokens given again**, per processor second", spread(answers), verdict(f"≥ {AIM:,}", reached))]

    def information(self):
        return [
            Row("… per second", spread(self.each(lambda one: one["rate"]))),
            Row("… signatures in all rounds", f"{sum(self.each(lambda one: one['signatures'])):.0f}"),
        ]

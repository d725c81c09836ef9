"""Tokens of a server that signs with another algorithm than RS256."""

from statistics import median

from cases.case import Case
from cases.tokens import counted
from figures import Row, spread, verdict
from keywheel import Keywheel

# Tokens with ES256 for each second of the server's processor.
AIM = 15_000
ALGORITHMS = ("RS256", "PS256", "ES256")


class Algorithms(Case):
    def prepare(self, stack):
        [binary, *_] = self.stage.binaries
        self.keywheels = {
            alg: stack.enter_context(
                Keywheel(self.stage, binary, self.stage.folder / f"alg-{alg}", settings={"KEYWHEEL_SIGNING_ALG": alg})
            )
            for alg in ALGORITHMS
        }

    def measure(self):
        return {alg: counted(node, self.of((1, 2))) for alg, node in self.keywheels.items()}

    def of_alg(self, alg):
        return self.each(lambda one: one[alg]["per_cpu"])

    def aims(self):
        tokens = self.of_alg("ES256")
        reached = median(tokens) >= AIM
        return [Row("**Tokens signed with ES256**, per processor second", spread(tokens), verdict(f"≥ {AIM:,}", reached))]

    def information(self):
        return [Row(f"… with {alg}", spread(self.of_alg(alg))) for alg in ("RS256", "PS256")]

"""Tokens of clients against bare signatures; and what the process takes before anybody asks anything of it."""

import time
from statistics import median

from cases.case import Case
from figures import Bar, Row, at_least, at_most, ratio, share, spread, verdict
from keywheel import TOKEN
from limits import Bare, mean

# Parts of bare signatures that are to be reached, by processor time and by rate.
AIM, BY_RATE = 0.92, 0.88
# Most memory at rest in MiB (20 MB), and most milliseconds from the start to a token.
MEMORY, START = 19, 60
FORM = "grant_type=client_credentials"
COUNTED = ("signatures", "tokens_reused", "database_statements")


class Tokens(Case):
    def prepare(self, stack):
        self.signer = stack.enter_context(Bare(self.stage, self.stage.folder / "sign", "sign"))
        self.keywheels = self.nodes("tokens")
        first = self.keywheels[0]
        self.starts = [first.start_to_first_token() for _ in range(self.of((5, 10)))]
        for node in self.keywheels:
            stack.enter_context(node)
        # What the ticker alone asks of the database.
        statements, begun = first.metric("keywheel_database_statements_total"), time.monotonic()
        time.sleep(self.of((3, 5)))
        statements = first.metric("keywheel_database_statements_total") - statements
        self.ticker = statements / (time.monotonic() - begun)
        self.at_rest = first.server.memory()

    def measure(self):
        signing, seconds = self.of((0.4, 0.6)), self.of((1, 2))
        before = self.signer.measure(signing)
        tokens = [counted(node, seconds) for node in self.keywheels]
        after = self.signer.measure(signing)
        self.after_load = self.keywheels[0].server.memory()
        return {"sign": mean([before, after]), "tokens": tokens}

    def bars(self):
        self.by_rate = self.each(lambda one: one["tokens"][0]["rate"] / one["sign"]["rate"])
        by_processor = self.each(lambda one: one["tokens"][0]["per_cpu"] / one["sign"]["per_cpu"])
        return [Bar("tokens ÷ signatures", by_processor, AIM)]

    def aims(self):
        [by_processor] = self.bars()
        loads = self.each(lambda one: one["tokens"][0])
        self.tokens, self.statements = (sum(load[name] for load in loads) for name in ("signatures", "database_statements"))
        self.ticked = self.ticker * sum(load["wall"] for load in loads)
        # A tick falls on this or that side of either end of a measurement.
        beyond = self.statements - self.ticked
        per_token = 0 if beyond <= len(loads) else beyond / self.tokens
        memory, start = self.at_rest["VmRSS"], median(self.starts)
        return [
            by_processor.row("**Tokens ÷ signatures**, by processor time"),
            Row("**Tokens ÷ signatures**, by rate", ratio(self.by_rate), at_least(self.by_rate, BY_RATE)),
            Row("**Database statements per token**, warm cache", f"{per_token:.2g}", verdict("0", per_token == 0)),
            Row("**Memory at rest**", mebibytes(self.at_rest), at_most(memory, MEMORY, "MiB")),
            Row("**Start to a token**, keys present", spread(self.starts, unit=" ms"), at_most(start, START, "ms")),
        ]

    def information(self):
        return [
            Row("Memory after that load", mebibytes(self.after_load)),
            Row("Tokens per second", spread(self.each(lambda one: one["tokens"][0]["rate"]))),
            Row("Per processor second: bare signatures", spread(self.each(lambda one: one["sign"]["per_cpu"]))),
            Row("… part of its processor that the signer got", share(self.each(lambda one: one["sign"]))),
            Row("… tokens", spread(self.each(lambda one: one["tokens"][0]["per_cpu"]))),
            *self.against("Tokens", "tokens"),
        ]

    def remarks(self):
        yield (
            f"{self.tokens:.0f} tokens were issued while {self.statements:.0f} statements went to the database, of which "
            f"about {self.ticked:.0f} are the once-a-second look at the change feed."
        )


def counted(node, seconds, client=None, answers="signatures"):
    """The server's own count, over exactly the time that its processor time is taken over."""
    before = [node.metric(f"keywheel_{name}_total") for name in COUNTED]
    begun, processor = time.monotonic(), node.server.processor_seconds()
    load = node.load(TOKEN, seconds, client or node.service, FORM)
    wall, processor = time.monotonic() - begun, node.server.processor_seconds() - processor
    counts = {name: node.metric(f"keywheel_{name}_total") - count for name, count in zip(COUNTED, before)}
    return load | counts | {"per_cpu": counts[answers] / processor, "wall": wall}


def mebibytes(memory):
    return f"{memory['VmRSS']:.1f} MiB, {memory['RssAnon']:.1f} MiB of them its own data"

"""What 2 000 clients that dribble and do not read leave of the server for others."""

from statistics import median

from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_most, milliseconds, ratio, spread
from keywheel import TOKEN
from offered import evenly, offered, posted
from slow import SlowClients

# How many, and how many times as long the slowest token in a hundred may take.
CLIENTS, TIMES = 2_000, 2
# Part of the rate at full load that the others ask for.
PART = 0.5


class SlowOnes(Case):
    rounds = (2, 7)

    def prepare(self, stack):
        [self.keywheel, *_] = self.nodes("slow")
        stack.enter_context(self.keywheel)
        self.requests = self.stage.folder / "slow.requests"
        self.requests.write_text(posted("token", TOKEN, self.keywheel.service, FORM) + "\n")

    def measure(self):
        node, seconds = self.keywheel, self.of((6, 15))
        rate = PART * node.load(TOKEN, 1, node.service, FORM)["rate"]
        load = (node.server, self.stage, node.port, self.requests)
        alone = offered(*load, evenly(rate, seconds))
        with SlowClients(node.port, CLIENTS) as slow:
            among = offered(*load, evenly(rate, seconds))
        return {"alone": alone, "among": among, "cut_off": slow.cut_off / seconds, "memory": node.server.memory()["VmRSS"]}

    def aims(self):
        times = self.each(lambda one: one["among"]["p99_ms"] / one["alone"]["p99_ms"])
        what = f"**Tokens among {CLIENTS} clients that dribble and do not read**, p99 ÷ p99 without them"
        return [Row(what, ratio(times), at_most(median(times), TIMES, "times"))]

    def information(self):
        yield Row("… p99 among them", milliseconds(self.each(lambda one: one["among"]["p99_ms"])))
        yield Row("… p99 without them", milliseconds(self.each(lambda one: one["alone"]["p99_ms"])))
        yield Row("… of them cut off a second", spread(self.each(lambda one: one["cut_off"]), ".0f"))
        yield Row("… memory of the server", spread(self.each(lambda one: one["memory"]), ".0f", " MiB"))

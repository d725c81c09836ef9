"""How long tokens take at a rate that does not wait for the server, which is below what it can do."""

import signal
import threading
import time
from statistics import median

from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_most, milliseconds, ratio, spread
from keywheel import TOKEN
from limits import Static
from offered import at_random, evenly, fetched, offered, posted

# Part of the rate at full load that is asked for, and how many times the service time the slowest in a hundred may take.
PART, TIMES = 0.7, 5
PACES = {"even": evenly, "random": at_random}
# For how long the toy is stopped, in seconds, of how many, and at what rate it is asked.
STOP, LONG, SLOWLY = 0.2, 2, 1_000


class OfferedTokens(Case):
    rounds = (3, 10)

    def prepare(self, stack):
        folder = self.stage.folder
        [self.keywheel, *_] = self.nodes("offered")
        stack.enter_context(self.keywheel)
        self.requests = folder / "tokens.requests"
        self.requests.write_text(posted("token", TOKEN, self.keywheel.service, FORM) + "\n")
        self.toy = self.try_out(stack.enter_context(Static(self.stage, folder / "toy", b"{}")))

    def try_out(self, toy):
        """Whether the generator does what it is for, with a server that costs nothing: it holds its rate, and tells of a server
        that stood still, although few requests were under way when it did."""
        requests = self.stage.folder / "toy.requests"
        requests.write_text(fetched("toy", "/") + "\n")
        calm = offered(toy, self.stage, toy.port, requests, evenly(SLOWLY, LONG))
        with stopped(toy):
            told = offered(toy, self.stage, toy.port, requests, evenly(SLOWLY, LONG))
        return {"calm": calm, "told": told}

    def measure(self):
        node, seconds = self.keywheel, self.of((2, 4))
        full = node.load(TOKEN, 1, node.service, FORM)
        rate = PART * full["rate"]
        measured = {"full": full} | {name: self.offered(pace(rate, seconds)) for name, pace in PACES.items()}
        with node.server.undisturbed() as self.has_the_right:
            return measured | {"undisturbed": self.offered(evenly(rate, seconds))}

    def offered(self, pace):
        server = self.keywheel.server
        kept, begun = server.kept_waiting_seconds(), time.monotonic()
        load = offered(server, self.stage, self.keywheel.port, self.requests, pace)
        kept = server.kept_waiting_seconds() - kept
        return load | {"kept_waiting": kept / (time.monotonic() - begun)}

    def services(self, name, figure):
        """The figure in service times of the same round."""
        return self.each(lambda one: one[name][figure] * one["full"]["rate"] / 1e3)

    def aims(self):
        times = self.services("undisturbed", "p99_ms")
        what = f"**Tokens at {PART:.0%} of the rate at full load, due evenly**, p99 ÷ service time, {self.how()}"
        return [Row(what, spread(times, ".2f"), at_most(median(times), TIMES, "service times"))]

    def how(self):
        return "nobody takes the server's processor" if self.has_the_right else "others may take the server's processor"

    def information(self):
        service = self.each(lambda one: 1e3 / one["full"]["rate"])
        yield Row("… service time: 1 ÷ the rate at full load", milliseconds(service))
        kinds = {"undisturbed": f"due evenly, {self.how()}", "even": "due evenly, others may take it", "random": "due at random"}
        for name, due in kinds.items():
            waits = {figure: self.each(lambda one: one[name][figure]) for figure in ("p50_ms", "p99_ms", "late_p99_ms")}
            yield Row(f"… {due}, p50", milliseconds(waits["p50_ms"]))
            yield Row(f"… {due}, p99", milliseconds(waits["p99_ms"]))
            if name != "undisturbed":
                yield Row(f"… {due}, p99 ÷ service time", spread(self.services(name, "p99_ms"), ".2f"))
            yield Row("… … how late the generator woke up, p99", milliseconds(waits["late_p99_ms"]))
            kept = self.each(lambda one: one[name]["kept_waiting"])
            yield Row("… … part of the time that others had the server's processor and it waited for it", ratio(kept))
        toy, held = self.toy, self.each(lambda one: one["even"]["rate"] / (PART * one["full"]["rate"]))
        yield Row("The generator: part of the asked rate that it held", spread(held, ".3f"))
        yield Row("… with a server that costs nothing", f"{toy['calm']['rate'] / SLOWLY:.3f}")
        yield Row(
            f"… p99 when that is stopped for {STOP * 1e3:.0f} ms of {LONG} s",
            f"{toy['told']['p99_ms']:.0f} ms; {toy['calm']['p99_ms']:.2f} ms when not",
        )


class stopped:
    """Stops a server of ours once, in the middle of what happens in the block."""

    def __init__(self, server):
        self.server = server
        self.thread = threading.Thread(target=self.stop)

    def __enter__(self):
        self.thread.start()

    def stop(self):
        time.sleep(LONG / 2)
        self.server.child.send_signal(signal.SIGSTOP)
        time.sleep(STOP)
        self.server.child.send_signal(signal.SIGCONT)

    def __exit__(self, *_):
        self.thread.join()

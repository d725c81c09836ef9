"""What a flood of logins leaves of the server for others."""

import os
import time
from statistics import median
from urllib.parse import urlencode

from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_most, milliseconds, spread
from keywheel import TOKEN, USERS, Keywheel, login
from load import Running, wrk
from offered import Offer, evenly, posted

# Most milliseconds that of a hundred tokens for clients ninety-nine take.
PATIENCE = 100
# Memory of one password hash in MiB, of which each processor needs one, with a fifth for what comes and goes with it.
HASH, ALLOWANCE = 19, 1.2
# Connections that ask for tokens, and how many a second are due, evenly.
ASKING, ASKED = 20, 100
# Logins at a time of which none is turned away.
FEW = 8


class Logins(Case):
    """The server has all processors, as it would, and the load generators share them."""

    rounds = (2, 5)

    def prepare(self, stack):
        stage = self.stage
        self.processors = stage.processors
        node = Keywheel(stage, stage.binaries[0], stage.folder / "logins", processors=self.processors)
        os.sched_setaffinity(0, self.processors)
        stack.callback(os.sched_setaffinity, 0, {stage.load})
        self.keywheel = stack.enter_context(node)
        time.sleep(1)
        self.at_rest = node.server.memory()["VmRSS"]
        self.file = stage.folder / "logins.forms"
        (stage.folder / "tokens.forms").write_text(FORM + "\n")
        self.requests = stage.folder / "logins.requests"
        self.requests.write_text(posted("token", TOKEN, node.service, FORM) + "\n")
        # As many connections, without a single password.
        wrk(node.port, TOKEN, 2, [stage.folder / "tokens.forms"], "turns.lua", [f"Authorization: {node.service}"], USERS + ASKING)
        self.base = node.server.memory()["VmHWM"]
        # Each user from a block of addresses of their own, as the throttle sees it.
        forms = [f"10.{number // 250}.{number % 250}.1 {urlencode(login(number))}" for number in range(USERS)]
        self.file.write_text("\n".join(forms) + "\n")

    def measure(self):
        node, seconds = self.keywheel, self.of((5, 9))
        calm = self.tokens(self.of((2, 3)))
        few = self.logins(self.of((2, 3)), FEW).result()
        flood = self.logins(seconds + 2, USERS)
        time.sleep(1)
        flooded = self.tokens(seconds)
        memory = node.server.memory()["VmHWM"]
        return {"calm": calm, "few": few, "flooded": flooded, "flood": flood.result(), "memory": memory}

    def logins(self, seconds, connections):
        node = self.keywheel
        headers = [f"Authorization: {node.application}"]
        return Running(node.port, TOKEN, seconds, [self.file], "turns.lua", headers, connections, refusals=connections > FEW)

    def tokens(self, seconds):
        node = self.keywheel
        return Offer(self.stage, node.port, self.requests, evenly(ASKED, seconds), ASKING).result()

    def aims(self):
        slow = self.each(lambda one: one["flooded"]["p99_ms"])
        memory, most = max(one["memory"] for one in self.measured), self.base + len(self.processors) * HASH * ALLOWANCE
        return [
            Row(
                f"**A client's token while {USERS} logins are under way**, p99",
                milliseconds(slow),
                at_most(median(slow), PATIENCE, "ms"),
            ),
            Row(
                "**Memory at its highest meanwhile**",
                f"{memory:.1f} MiB; {self.base:.1f} MiB for as many connections without logins, {self.at_rest:.1f} MiB at rest",
                at_most(memory, most, f"MiB (the same without logins + {len(self.processors)} × {HASH} MiB × {ALLOWANCE})"),
            ),
        ]

    def information(self):
        answered = self.each(lambda one: (one["flood"]["requests"] - one["flood"]["bad_status"]) / one["flood"]["seconds"])
        refused = self.each(lambda one: one["flood"]["bad_status"] / one["flood"]["seconds"])
        return [
            Row("… the same token without the flood, p99", milliseconds(self.each(lambda one: one["calm"]["p99_ms"]))),
            Row("… in the flood, p50", milliseconds(self.each(lambda one: one["flooded"]["p50_ms"]))),
            Row("… such tokens per second", spread(self.each(lambda one: one["flooded"]["rate"]))),
            Row(f"Logins per second, {FEW} at a time", spread(self.each(lambda one: one["few"]["rate"]))),
            Row("… in the flood", spread(answered)),
            Row("… turned away per second", spread(refused)),
        ]

    def remarks(self):
        yield (
            f"For the flood the server has {len(self.processors)} processors and as many workers, and the load generators run on "
            "the same: what they take, it lacks."
        )

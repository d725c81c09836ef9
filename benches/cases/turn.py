"""Everything at once, at a rate that does not wait for the server, while its key turns."""

import json
import random
import threading
import time
from statistics import median
from urllib.parse import urlencode

import verifier
from cases.case import Case
from cases.tokens import FORM
from figures import Row, at_most, milliseconds, spread, verdict
from keywheel import INTROSPECTION, JWKS, TOKEN
from offered import Offer, evenly, fetched, offered, posted, without_pause
from process import fail

# Of the mix: so many of each kind in twenty requests.
MIX = {"token": 8, "introspection": 6, "key set": 6}
# Part of the rate at full load that is asked for.
PART = 0.7
# Seconds between two tokens that are verified, and the most memory under load in MiB (64 MB).
BETWEEN, MEMORY = 0.02, 61
# Tokens that are asked about.
ASKED = 200


class Turn(Case):
    """The resource server fetches the key set before the turn and never again: a planned turn has to do without."""

    rounds = (2, 6)

    def prepare(self, stack):
        [self.keywheel, *_] = self.nodes("turn")
        stack.enter_context(self.keywheel)
        node, self.file = self.keywheel, self.stage.folder / "mixed.requests"
        self.old = node.access_tokens(ASKED)
        shuffled = random.Random(1)
        kinds = [kind for kind, number in MIX.items() for _ in range(number)] * ASKED
        shuffled.shuffle(kinds)
        self.file.write_text("\n".join(self.request(kind, shuffled) for kind in kinds) + "\n")

    def request(self, kind, shuffled):
        node = self.keywheel
        if kind == "token":
            return posted(kind, TOKEN, node.service, FORM)
        if kind == "key set":
            return fetched(kind, JWKS)
        return posted(kind, INTROSPECTION, node.resource_server, urlencode({"token": shuffled.choice(self.old)}))

    def measure(self):
        node, seconds = self.keywheel, self.of((4, 8))
        full = offered(node.server, self.stage, node.port, self.file, without_pause(self.of((6_000, 20_000))))
        pace = evenly(PART * full["rate"], seconds)
        calm = offered(node.server, self.stage, node.port, self.file, pace)
        load, sample = Offer(self.stage, node.port, self.file, pace), Sample(node)
        with sample:
            time.sleep(seconds / 2)
            begun = time.monotonic()
            node.command("keys", "rotate", "--now")
            turning = load.result()
        sample.judge()
        if not all(node.introspect(node.resource_server, token)["active"] for token in self.old[:10]):
            fail("a token from before the turn is no longer active")
        memory = node.server.memory()["VmHWM"]
        return {"full": full, "calm": calm, "turning": turning, "sample": sample, "took": sample.first_new - begun, "memory": memory}

    def aims(self):
        samples = self.each(lambda one: one["sample"])
        verified, refused = (sum(getattr(sample, name) for sample in samples) for name in ("verified", "refused"))
        memory = max(self.each(lambda one: one["memory"]))
        what = f"**Tokens before and after a turn that the key set from before it does not verify**, of {verified + refused}"
        yield Row(what, str(refused), verdict("0", refused == 0))
        yield Row("**Memory at its highest under mixed load**", f"{memory:.1f} MiB", at_most(memory, MEMORY, "MiB"))

    def information(self):
        yield Row("Mixed requests per second at full load", spread(self.each(lambda one: one["full"]["rate"])))
        for kind in MIX:
            for what, name in {"without a turn": "calm", "with a turn in the middle": "turning"}.items():
                waits = self.each(lambda one: one[name]["kinds"][kind]["p99_ms"])
                yield Row(f"… at {PART:.0%} of that, {kind}, p99 {what}", milliseconds(waits))
        took = [seconds * 1e3 for seconds in self.each(lambda one: one["took"])]
        yield Row("From the command to turn to the first token of the new key", spread(took, unit=" ms"))

    def remarks(self):
        parts = ", ".join(f"{number} × {kind}" for kind, number in MIX.items())
        samples = self.each(lambda one: one["sample"])
        before, after = (median([getattr(sample, name) for sample in samples]) for name in ("before", "after"))
        yield (
            f"The mix is {parts} in {sum(MIX.values())} requests. Of each turn {before:.0f} tokens of the key before it and "
            f"{after:.0f} of the key after it were verified."
        )


class Sample:
    """Tokens that are fetched one after the other and verified with the set that was fetched first, and then with the last one."""

    def __init__(self, node):
        self.node, self.tokens = node, []
        self.set_before = self.key_set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.gather)

    def key_set(self):
        return json.loads(self.node.fetch(JWKS)[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def gather(self):
        while not self.stop.wait(BETWEEN):
            [token] = self.node.access_tokens(1)
            self.tokens.append((time.monotonic(), token))

    def judge(self):
        set_after, kids = self.key_set(), [verifier.kid(token) for _, token in self.tokens]
        if not kids or len(set(kids)) != 2:
            fail(f"the key did not turn once: {len(set(kids))} keys signed {len(kids)} tokens")
        good = [all(verifier.verifies(token, keys) for keys in (self.set_before, set_after)) for _, token in self.tokens]
        self.verified, self.refused = sum(good), len(good) - sum(good)
        self.before = kids.count(kids[0])
        self.after = len(kids) - self.before
        self.first_new = self.tokens[self.before][0]

"""What was asked and answered, and whether that can be: the rules that hold whatever is done to keywheel."""

import collections
import hashlib
import threading
from typing import NamedTuple

OK, REFUSED, UNKNOWN, WRONG = "ok", "503", "unknown", "wrong"


class Op(NamedTuple):
    """One request. `token` and `successor` are hashes: no token is kept."""

    client: str
    op: str
    token: str
    start: float
    end: float
    outcome: str
    successor: str = ""
    detail: str = ""


def hashed(token):
    return hashlib.sha256(token.encode()).hexdigest()[:16] if token else ""


class History:
    """Everything in the order in which it was answered."""

    def __init__(self):
        self.ops, self.lock, self.broken = [], threading.Lock(), []

    def add(self, op):
        with self.lock:
            self.ops.append(op)

    def broke(self, rule):
        """A rule that somebody saw broken while it happened."""
        with self.lock:
            self.broken.append(rule)

    def first_ok(self, kind, since):
        """When the first request that began after `since` was answered as asked."""
        found = None
        with self.lock:
            for op in reversed(self.ops):
                if op.end < since:
                    break
                if op.op == kind and op.outcome == OK and op.start >= since:
                    found = op.end
        return found

    def counts(self, since=0.0):
        """How often each kind of request ended how."""
        counts = collections.Counter()
        with self.lock:
            for op in self.ops:
                if op.start >= since:
                    counts[op.op, op.outcome] += 1
        return counts

    def violations(self):
        """The rules that were broken, each with its first few cases."""
        broken = collections.defaultdict(list)
        successors = collections.defaultdict(set)
        with self.lock:
            ops, seen = list(self.ops), list(self.broken)
        for op in ops:
            if op.outcome == WRONG:
                broken[f"{op.op} is answered as asked, or 503 with Retry-After"].append(f"{op.client}: {op.detail}")
            if op.op == "refresh" and op.outcome == OK:
                successors[op.token].add(op.successor)
        for token, made in successors.items():
            if len(made) > 1:
                broken["a refresh token has one successor"].append(f"{token}: {sorted(made)}")
        for rule in seen:
            broken[rule].append("")
        return [" ".join([f"{rule}: {len(cases)}×", *filter(None, ["; ".join(filter(None, cases[:3]))])]) for rule, cases in broken.items()]

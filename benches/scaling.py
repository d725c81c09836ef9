#!/usr/bin/env python3
"""Nodes that refresh on one PostgreSQL, in simulation: what happens when there are more of them than can be measured on one machine.

A discrete simulation of what src/http/line.rs, src/storage/couriers.rs and PostgreSQL's group commit do, fed with the costs that
`scripts/bench --only refresh --only database` measures. It draws no conclusion about anything else.
"""

import argparse
import random
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

# As in src/storage/couriers.rs.
COURIERS, BATCH = 2, 128


@dataclass
class Costs:
    """In seconds."""

    # Of a node's processor for one refresh, signature included.
    node: float
    # Of the database's processor for a statement, and for each refresh in it.
    statement: float
    rotation: float
    # From one end of the network to the other.
    way: float
    # To make the log durable.
    flush: float


class Simulation:
    """Some nodes with processors of their own, and a database with some, under refreshes that come at random."""

    def __init__(self, costs, nodes, processors, database, rate, seconds, seed=1):
        self.costs, self.rate, self.seconds = costs, rate, seconds
        self.random, self.events, self.count = random.Random(seed), [], 0
        self.lines = [deque() for _ in range(nodes)]
        self.idle = [processors] * nodes
        self.carried = [deque() for _ in range(nodes)]
        self.couriers = [COURIERS] * nodes
        self.statements, self.free = deque(), database
        self.commits, self.flushing = [], False
        self.waits, self.batches = [], []
        self.busy = {"nodes": 0.0, "database": 0.0, "log": 0.0}
        self.capacity = {"nodes": nodes * processors, "database": database, "log": 1}

    def at(self, when, what, *arguments):
        self.count += 1
        heappush(self.events, (when, self.count, what, arguments))

    def run(self):
        self.at(0.0, self.arrive)
        while self.events:
            now, _, what, arguments = heappop(self.events)
            if now > self.seconds:
                break
            what(now, *arguments)
        return self

    def arrive(self, now):
        self.at(now + self.random.expovariate(self.rate), self.arrive)
        node = self.random.randrange(len(self.lines))
        self.lines[node].append(now)
        self.sign(now, node)

    def sign(self, now, node):
        """The line for signatures of a node."""
        while self.idle[node] and self.lines[node]:
            self.idle[node] -= 1
            self.busy["nodes"] += self.costs.node
            self.at(now + self.costs.node, self.signed, node, self.lines[node].popleft())

    def signed(self, now, node, came):
        self.idle[node] += 1
        self.carried[node].append(came)
        self.carry(now, node)
        self.sign(now, node)

    def carry(self, now, node):
        """A courier takes all that waits."""
        while self.couriers[node] and self.carried[node]:
            self.couriers[node] -= 1
            waiting = self.carried[node]
            batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
            self.batches.append(len(batch))
            self.at(now + self.costs.way, self.ask, node, batch)

    def ask(self, now, node, batch):
        self.statements.append((node, batch))
        self.execute(now)

    def execute(self, now):
        while self.free and self.statements:
            self.free -= 1
            node, batch = self.statements.popleft()
            cost = self.costs.statement + self.costs.rotation * len(batch)
            self.busy["database"] += cost
            self.at(now + cost, self.executed, node, batch)

    def executed(self, now, node, batch):
        self.free += 1
        self.commits.append((node, batch))
        self.flush(now)
        self.execute(now)

    def flush(self, now):
        """One write to the disk makes durable all that wait for it when it begins."""
        if self.commits and not self.flushing:
            self.flushing, together, self.commits = True, self.commits, []
            self.busy["log"] += self.costs.flush
            self.at(now + self.costs.flush, self.flushed, together)

    def flushed(self, now, together):
        self.flushing = False
        for node, batch in together:
            self.at(now + self.costs.way, self.answered, node, batch)
        self.flush(now)

    def answered(self, now, node, batch):
        self.couriers[node] += 1
        self.waits.extend(now - came for came in batch)
        self.carry(now, node)

    def told(self):
        """Refreshes a second, milliseconds at p50 and p99, refreshes a statement, and how busy everything is."""
        waits = sorted(self.waits) or [0.0]
        share = {name: self.busy[name] / (self.capacity[name] * self.seconds) for name in self.busy}
        return {
            "rate": len(self.waits) / self.seconds,
            "p50": 1e3 * waits[len(waits) // 2],
            "p99": 1e3 * waits[int(len(waits) * 0.99)],
            "together": sum(self.batches) / max(1, len(self.batches)),
        } | share


def main():
    options = understood()
    micro = 1e-6
    costs = Costs(
        options.node * micro, options.statement * micro, options.rotation * micro, options.way * micro, options.flush * micro
    )
    print(f"| nodes of {options.processors} processors | offered | answered | p50 | p99 | refreshes a statement | nodes busy | database busy | log busy |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for nodes in options.nodes:
        offered = options.load * nodes * options.processors / costs.node
        # So many that percentiles are steady, whatever the rate.
        seconds = options.refreshes / offered
        told = Simulation(costs, nodes, options.processors, options.database, offered, seconds).run().told()
        print(
            f"| {nodes} | {offered:,.0f} | {told['rate']:,.0f} | {told['p50']:.2f} ms | {told['p99']:.2f} ms | {told['together']:.1f} "
            f"| {told['nodes']:.0%} | {told['database']:.0%} | {told['log']:.0%} |"
        )


def understood():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    arguments.add_argument("--processors", type=int, default=2, help="of each node")
    arguments.add_argument("--database", type=int, default=8, help="processors of the database")
    arguments.add_argument("--load", type=float, default=0.7, help="part of what the nodes can sign that is asked for")
    arguments.add_argument("--refreshes", type=int, default=200_000, help="how many are simulated for each line")
    arguments.add_argument("--node", type=float, required=True, help="microseconds of a node's processor for a refresh")
    arguments.add_argument("--statement", type=float, required=True, help="microseconds of the database's processor for a statement")
    arguments.add_argument("--rotation", type=float, required=True, help="microseconds more for each refresh in it")
    arguments.add_argument("--way", type=float, default=100, help="microseconds from a node to the database")
    arguments.add_argument("--flush", type=float, default=500, help="microseconds until the log is durable")
    return arguments.parse_args()


if __name__ == "__main__":
    main()

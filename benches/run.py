"""The measurement from beginning to end."""

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import report
from cases import CASES, ONLY_NAMED
from process import say
from stage import ROOT, Stage, build, machine, need_disk, need_wrk, processors

STORED = ROOT / "docs" / "benchmarks"


def main(description):
    # Ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = understood(description)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Thousands of connections, on both sides.
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    mine = processors()
    need_wrk()
    bare, keywheel = build()
    binaries = [options.binary or keywheel] + ([options.against] if options.against else [])
    begun = time.monotonic()
    os.sched_setaffinity(0, {mine[1]})
    with tempfile.TemporaryDirectory(prefix="keywheel-bench-") as folder:
        need_disk(folder)
        stage = Stage(options.quick, Path(folder), bare, binaries, mine[0], mine[1], set(mine))
        known = CASES | ONLY_NAMED
        names = (options.only or list(CASES)) + (["peers"] if options.peers else [])
        cases = [case(stage) for name in dict.fromkeys(names) for case in known[name]]
        for case in cases:
            with contextlib.ExitStack() as stack:
                measure(case, stack)
        facts = machine(folder)
    say("")
    text = report.markdown(cases, facts, how(options, time.monotonic() - begun))
    print(text)
    if options.write:
        STORED.mkdir(parents=True, exist_ok=True)
        (STORED / "latest.md").write_text(text)
        (STORED / "latest.svg").write_text(report.chart(cases))
        print(f"stored in {STORED.relative_to(ROOT)}/", file=sys.stderr)


def understood(description):
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help="fewer and shorter rounds: about six minutes")
    arguments.add_argument("--peers", action="store_true", help="install other servers in a temporary folder and measure them too")
    arguments.add_argument("--only", action="append", choices=CASES | ONLY_NAMED, help="measure this alone (repeatable)")
    arguments.add_argument("--write", action="store_true", help="store the result in docs/benchmarks/")
    arguments.add_argument("--binary", type=Path, help="measure this keywheel instead of building one")
    arguments.add_argument("--against", type=Path, help="measure this other keywheel in the same rounds")
    return arguments.parse_args()


def measure(case, stack):
    name = type(case).__name__
    say(f"{name}: preparing")
    case.prepare(stack)
    rounds = case.of(case.rounds)
    for number in range(rounds):
        say(f"{name}: round {number + 1} of {rounds}")
        case.measured.append(case.measure())


def how(options, seconds):
    words = ["scripts/bench"] + (["--quick"] if options.quick else []) + (["--peers"] if options.peers else [])
    words += [word for name in options.only or [] for word in ("--only", name)]
    return (
        f"`{' '.join(words)}`, {seconds:.0f} s. The server has one processor and one worker, the load 64 kept connections and another\n"
        "processor, which PostgreSQL shares. Median (lowest … highest) of the rounds; the two sides of a ratio are of one round."
    )

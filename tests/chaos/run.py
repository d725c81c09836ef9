"""Faults on purpose: what is done to keywheel under load, what must hold all the same, and how soon it serves again."""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import crashes  # noqa: E402
import databases  # noqa: E402
import machines  # noqa: E402
import patroni  # noqa: E402
import soak  # noqa: E402
from faults import Scale  # noqa: E402
from postgres import programs  # noqa: E402
from processes import fail, say  # noqa: E402
from world import Impossible  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/faults.md"
BEGIN, END = "<!-- measured: scripts/chaos --write -->", "<!-- end -->"

FAULTS = {
    "kill-sqlite": crashes.kill_sqlite,
    "kill-postgres": crashes.kill_postgres,
    "pause-node": crashes.pause_node,
    "restart": databases.restart,
    "black-hole": databases.black_hole,
    "slow": databases.slow,
    "torn": databases.torn,
    "read-only": databases.read_only,
    "standby-gone": databases.standby_gone,
    "pause-postgres": databases.pause,
    "disk-full": machines.disk_full,
    "log-full": machines.log_full,
    "log-blocked": crashes.blocked_log,
    "clock": machines.clock,
    "files": crashes.few_files,
    "memory": crashes.little_memory,
    "oom": crashes.out_of_memory,
    "soak": soak.soak,
    "patroni": patroni.fail_over,
}
# Those that fit into two minutes, for each submission.
SHORT = ["kill-sqlite", "kill-postgres", "restart", "black-hole", "torn", "read-only", "standby-gone", "log-blocked", "log-full"]
# Those that install what they need, or take long.
ON_REQUEST = ["soak", "patroni"]


def main():
    options = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    options.add_argument("faults", nargs="*", metavar="NAME", help=f"one of {', '.join(FAULTS)}; all but {' and '.join(ON_REQUEST)} when none is named")
    options.add_argument("--short", action="store_true", help="less of each, and without names only those that fit into two minutes")
    options.add_argument("--binary", type=Path, help="the keywheel to hurt; a release build of this tree otherwise")
    options.add_argument("--write", action="store_true", help="put the rows into docs/faults.md")
    chosen = options.parse_args()
    unknown = [name for name in chosen.faults if name not in FAULTS]
    if unknown:
        options.error(f"no fault is called {unknown[0]}: {', '.join(FAULTS)}")
    # Ended or interrupted, it still ends what it started.
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: sys.exit(130))
    names = chosen.faults or (SHORT if chosen.short else [name for name in FAULTS if name not in ON_REQUEST])
    binary = chosen.binary or built()
    begun, passed, failed, rows = time.monotonic(), 0, 0, []
    for name in names:
        say(f"{name} …")
        try:
            made = FAULTS[name](binary.resolve(), Scale(chosen.short))
        except Impossible as reason:
            say(f"{name}: left out, {reason}")
            continue
        for row in made:
            rows.append(row)
            passed, failed = passed + (not row.broken), failed + bool(row.broken)
            say(f"{name} on {row.database}: {'holds' if not row.broken else 'BROKEN'}; {'; '.join(row.measured)}")
            for rule in row.broken:
                print(f"  broken: {rule}", file=sys.stderr, flush=True)
        if chosen.write:
            # At once, lest the next fault takes this one's figures with it.
            write(made)
    print(table(rows))
    say(f"{time.monotonic() - begun:.0f} s")
    print(f"{passed} passed, {failed} failed")
    sys.exit(bool(failed))


def built():
    if subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT).returncode != 0:
        fail("keywheel cannot be built")
    return ROOT / "target/release/keywheel"


def table(rows):
    lines = ["| what is done | database | what must hold | measured |", "| --- | --- | --- | --- |"]
    for row in rows:
        verdict = "" if not row.broken else "**broken: " + "; ".join(row.broken) + "**; "
        lines.append(f"| {row.fault} | {row.database} | {row.holds} | {verdict}{'; '.join(row.measured)} |".replace("\n", " "))
    return "\n".join(lines)


def write(rows):
    """Puts the rows between the marks, each in the place of the one with the same fault and database."""
    text = DOCUMENT.read_text()
    head, rest = text.split(BEGIN)
    old, tail = rest.split(END)
    key = lambda line: tuple(cell.strip() for cell in line.split("|")[1:3])
    lines = {key(line): line for line in old.splitlines() if line.startswith("| ") and not line.startswith(("| what", "| ---"))}
    lines |= {key(line): line for line in table(rows).splitlines()[2:]}
    body = "\n".join([*table([]).splitlines(), *lines.values()])
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{machine()}\n\n{body}\n\n{END}{tail}")


def machine():
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    version = subprocess.run([programs() / "postgres", "--version"], capture_output=True, text=True).stdout.split()[2]
    return (
        f"Measured {time.strftime('%Y-%m-%d')} on {os.cpu_count()} processors ({model}), Linux {platform.release().split('-')[0]}, "
        f"PostgreSQL {version}, clients and databases on the same machine."
    )


if __name__ == "__main__":
    main()

"""Where it is measured: the machine, its processors, and the programs that are built for it."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from process import fail, say

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Stage:
    """What every case is given."""

    quick: bool
    folder: Path
    # The program of the bare costs, and the keywheels that are measured.
    bare: Path
    binaries: list
    # The processor of the server, that of the load, and all of them.
    server: int
    load: int
    processors: set = field(default_factory=set)


def processors():
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        fail("two processors are needed: one for the server, one for the load")
    return mine


def need_wrk():
    if shutil.which("wrk"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        fail("wrk, the load generator, is missing: install it (apt-get install wrk) and run this again")
    say("installing wrk")
    if subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], stdout=subprocess.DEVNULL).returncode != 0:
        fail("wrk could not be installed: run apt-get update, or install it by other means")


def need_disk(folder):
    """In memory nothing waits for a disk, and a commit would cost nothing."""
    kind = said_by("stat", "--file-system", "--format=%T", folder)
    if kind in ("tmpfs", "ramfs"):
        fail(f"{folder} is in memory, where commits cost nothing: set TMPDIR to a folder on a disk")


def build():
    """The bench comes first: it leaves behind a server with the features of the test crates, which nobody runs."""
    target = json.loads(cargo("metadata", "--format-version=1", "--no-deps"))["target_directory"]
    built = cargo("build", "--release", "--bench", "bare", "--message-format=json").splitlines()
    artifacts = [message for message in map(json.loads, built) if message.get("reason") == "compiler-artifact"]
    [bare] = [one["executable"] for one in artifacts if one["target"]["name"] == "bare" and one.get("executable")]
    cargo("build", "--release", "--bin", "keywheel")
    return Path(bare), Path(target) / "release" / "keywheel"


def cargo(*arguments):
    ran = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        fail("cargo failed: see above")
    return ran.stdout


def said_by(*command):
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def machine(folder):
    """What a reader has to know to compare the figures with others."""
    info = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in info.items()}
    # aws-lc signs more than twice as fast with these instructions.
    ifma = "with" if "avx512ifma" in info.get("flags", "").split() else "without"
    changed = " and changes" if said_by("git", "status", "--porcelain", "src", "Cargo.lock") else ""
    # What follows names the machine.
    [kernel, *_] = platform.release().split("-")
    return {
        "Processor": f"{info.get('model name', platform.machine())}, {os.cpu_count()} cores, {ifma} AVX-512 IFMA",
        "Kernel": f"{kernel}; databases on {said_by('stat', '--file-system', '--format=%T', folder)}",
        "Compiler": said_by("rustc", "--version"),
        "Commit": said_by("git", "rev-parse", "--short", "HEAD") + changed,
    }

"""Three quarters of an hour with a key turn every minute: nothing fails, and in the second half memory does not grow."""

import struct
import subprocess
import tempfile
import time
from pathlib import Path

from faults import done_under_load
from processes import say
from world import POSTGRES, SLOWER_TURNS, World

# In KiB for each turn: a key that has retired leaves its certificate, and what is known of it.
OF_A_TURN = 8
# In KiB a minute. An allocator that keeps what was freed touches a page more now and then; in the first half, where connections are
# renewed and the keys of twenty turns gather, many more.
OF_THE_ALLOCATOR = 20


def soak(binary, scale):
    minutes = scale.of(1, 45)

    def act(load):
        keys, begun, samples = len(world.keys()), time.monotonic(), []
        while (passed := time.monotonic() - begun) < minutes * 60:
            time.sleep(5)
            samples.append((passed / 60, world.node.memory(), live(world.node)))
            if len(samples) % 24 == 0:
                say(f"soak: {passed / 60:.0f} min, {samples[-1][1]} KiB, {samples[-1][2]} KiB of them in use")
        turns = len(world.keys()) - keys
        # Caches and the set of keys fill in the first half.
        half = samples[len(samples) // 2 :]
        measured, broken = [f"{minutes} min, {turns} turns"], []
        for what, place, most in (("resident", 1, OF_THE_ALLOCATOR), ("in use", 2, OF_A_TURN * turns / minutes)):
            if half[0][place] is None:
                continue
            slope, error = line([(sample[0], sample[place]) for sample in half])
            measured.append(f"{what} {half[0][place] / 1024:.2f} → {half[-1][place] / 1024:.2f} MiB, slope in the second half {slope:+.1f} ± {error:.1f} KiB/min")
            if not scale.short and slope - 3 * error > most:
                broken.append(f"the memory that is {what} grows by {slope:.0f} KiB a minute")
        counts = load.history.counts()
        failed = {kind: number for kind, number in counts.items() if kind[1] != "ok"}
        if failed:
            broken.append(f"everything is answered: {failed}")
        return measured, broken

    with tempfile.TemporaryDirectory() as folder, World(binary, POSTGRES, settings=SLOWER_TURNS | counting(Path(folder))) as world:
        return [done_under_load(world, "nothing: a soak with a turn every minute", "everything is answered, every token verified, memory does not grow", act, pause=0.03)]


def counting(folder):
    """Settings with which a node tells what it has allocated and not freed; none where there is no C compiler."""
    made = subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", folder / "live.so", Path(__file__).with_name("live.c")], capture_output=True)
    return {"LD_PRELOAD": str(folder / "live.so"), "LIVE_FILE": str(folder / "live")} if made.returncode == 0 else {}


def live(node):
    """That, in KiB; None where it is not told, as by a program without a dynamic linker."""
    file = Path(f"{node.settings.get('LIVE_FILE')}.{node.child.pid}")
    return struct.unpack_from("q", file.read_bytes())[0] // 1024 if file.exists() else None


def line(samples):
    """The slope of the straight line through the samples, and its standard error."""
    number = len(samples)
    mean = [sum(sample[axis] for sample in samples) / number for axis in (0, 1)]
    spread = sum((x - mean[0]) ** 2 for x, _ in samples)
    slope = sum((x - mean[0]) * (y - mean[1]) for x, y in samples) / spread
    rest = sum((y - mean[1] - slope * (x - mean[0])) ** 2 for x, y in samples)
    return slope, (rest / max(number - 2, 1) / spread) ** 0.5

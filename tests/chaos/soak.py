"""Twenty minutes with a key turn every minute: nothing fails, and memory does not grow."""

import time

from faults import done_under_load
from processes import say
from world import POSTGRES, SLOWER_TURNS, World


def soak(binary, scale):
    minutes = scale.of(1, 20)

    def act(load):
        keys, begun, samples = len(world.keys()), time.monotonic(), []
        while (passed := time.monotonic() - begun) < minutes * 60:
            time.sleep(5)
            samples.append((passed / 60, world.node.memory()))
            if len(samples) % 24 == 0:
                say(f"soak: {passed / 60:.0f} min, {samples[-1][1]} KiB")
        turns = len(world.keys()) - keys
        # Caches and the set of keys fill in the first half.
        half = samples[len(samples) // 2 :]
        slope, error = line(half)
        measured = [f"{minutes} min, {turns} turns", f"{half[0][1] / 1024:.1f} → {half[-1][1] / 1024:.1f} MiB, slope in the second half {slope:+.1f} ± {error:.1f} KiB/min"]
        broken = [] if scale.short or slope < max(3 * error, 50) else [f"memory grows by {slope:.0f} KiB a minute"]
        counts = load.history.counts()
        failed = {kind: number for kind, number in counts.items() if kind[1] != "ok"}
        if failed:
            broken.append(f"everything is answered: {failed}")
        return measured, broken

    with World(binary, POSTGRES, settings=SLOWER_TURNS) as world:
        return [done_under_load(world, "nothing: a soak with a turn every minute", "everything is answered, every token verified, memory does not grow", act, pause=0.03)]


def line(samples):
    """The slope of the straight line through the samples, and its standard error."""
    number = len(samples)
    mean = [sum(sample[axis] for sample in samples) / number for axis in (0, 1)]
    spread = sum((x - mean[0]) ** 2 for x, _ in samples)
    slope = sum((x - mean[0]) * (y - mean[1]) for x, y in samples) / spread
    rest = sum((y - mean[1] - slope * (x - mean[0])) ** 2 for x, y in samples)
    return slope, (rest / max(number - 2, 1) / spread) ** 0.5

"""The bare costs that keywheel is measured against: one program, in Rust like keywheel and with its libraries."""

import contextlib

import load
from process import Process, free_ports


class Bare(Process):
    """The program as something that takes orders: `bare sign`, `bare verify`, `bare hash`, `bare store URL`."""

    def __init__(self, stage, folder, *arguments):
        folder.mkdir(exist_ok=True)
        super().__init__([stage.bare, *arguments], {stage.server}, folder, talks=True)

    def measure(self, *order):
        """What came of the order, per second on the clock and on the processor."""
        before = self.processor_seconds()
        done = self.ask(*order)
        processor = self.processor_seconds() - before
        return done | {"rate": done["count"] / done["seconds"], "per_cpu": done["count"] / processor}


class Static(Process):
    """actix-web with one handler that returns the same bytes; without any, it says that nothing has changed."""

    def __init__(self, stage, folder, body=None):
        folder.mkdir(exist_ok=True)
        [self.port] = free_ports(1)
        command = [stage.bare, "serve", f"127.0.0.1:{self.port}"]
        if body is not None:
            (folder / "body").write_bytes(body)
            command.append(folder / "body")
        super().__init__(command, {stage.server}, folder)

    def __enter__(self):
        super().__enter__()
        with contextlib.ExitStack() as unless_ready:
            unless_ready.push(self)
            self.wait_for(self.port)
            unless_ready.pop_all()
        return self

    def documents(self, path, seconds, **more):
        return load.on(self, self.port, path, seconds, **more)


def mean(measured):
    """Of what was measured before and after that which is compared with it."""
    return {key: sum(one[key] for one in measured) / len(measured) for key in ("rate", "per_cpu")}

"""A TCP proxy that does to connections what networks do: it delays, keeps silent, resets, closes halves and cuts in the middle."""

import collections
import contextlib
import random
import selectors
import socket
import struct
import threading
import time


class Proxy:
    """In front of one port of this machine, on a thread of its own. What it does can be changed at any time.

    `silent`: connections stay, new ones are accepted, and nothing is passed on (a black hole). `delay`: seconds by which every
    piece is late, a pair for at least and at most. `flaws`: kinds of damage, one of which befalls a piece now and then, with the
    chance `chance`: "reset", "cut" (half of the piece, then the end), "half" (the server's side ends, the client's does not).
    """

    def __init__(self, port):
        self.target = port
        self.silent, self.delay, self.flaws, self.chance = False, (0, 0), (), 0.0
        self.dice = random.Random(1)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.pairs, self.resetting, self.ended = set(), False, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def reset_all(self):
        """Resets what is connected now."""
        self.resetting = True

    def end(self):
        self.ended = True
        self.thread.join(5)

    def run(self):
        while not self.ended:
            for key, _ in self.selector.select(0.02):
                if key.data is None:
                    self.accept()
                elif not self.silent:
                    key.data.read(key.fileobj, self)
            if self.silent:
                # What is readable stays so, and must not keep this loop busy.
                time.sleep(0.01)
            if self.resetting:
                self.resetting = False
                for pair in list(self.pairs):
                    pair.reset(self)
            now = time.monotonic()
            for pair in list(self.pairs):
                pair.pass_on(now, self)
        for pair in list(self.pairs):
            pair.reset(self)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=1)
            except OSError:
                linger(near)
                near.close()
                return
            self.pairs.add(Pair(near, far, self.selector))


class Pair:
    """A client's connection and the one to the server."""

    def __init__(self, near, far, selector):
        self.near, self.far = near, far
        self.pieces = collections.deque()
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ, self)

    def read(self, one, proxy):
        try:
            piece = one.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            return self.reset(proxy)
        due = time.monotonic() + proxy.dice.uniform(*proxy.delay)
        self.pieces.append((due, self.far if one is self.near else self.near, piece))
        if not piece:
            with contextlib.suppress(KeyError, ValueError):
                proxy.selector.unregister(one)

    def pass_on(self, now, proxy):
        while self.pieces and self.pieces[0][0] <= now and not proxy.silent:
            _, to, piece = self.pieces.popleft()
            flaw = proxy.dice.choice(proxy.flaws) if proxy.flaws and proxy.dice.random() < proxy.chance else None
            if flaw == "reset":
                return self.reset(proxy)
            try:
                if flaw == "half":
                    self.near.shutdown(socket.SHUT_WR)
                elif not piece:
                    to.shutdown(socket.SHUT_WR)
                    if to is self.near:
                        return self.close(proxy)
                else:
                    to.setblocking(True)
                    to.sendall(piece[: len(piece) // 2] if flaw == "cut" else piece)
                    to.setblocking(False)
            except OSError:
                return self.reset(proxy)
            if flaw == "cut":
                return self.close(proxy)

    def reset(self, proxy):
        for one in (self.near, self.far):
            with contextlib.suppress(OSError):
                linger(one)
        self.close(proxy)

    def close(self, proxy):
        for one in (self.near, self.far):
            with contextlib.suppress(KeyError, ValueError):
                proxy.selector.unregister(one)
            one.close()
        proxy.pairs.discard(self)


def linger(one):
    """Its close is a reset."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

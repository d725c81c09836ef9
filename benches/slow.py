"""Clients that hold connections and give nothing for it: heads and bodies that dribble in, and answers that are not read."""

import contextlib
import heapq
import selectors
import socket
import threading
import time

from process import fail

HEAD = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: "
BODY = (
    b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8000\r\n\r\n"
)
READS = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200
FIRST = (HEAD, BODY, READS)
# So often each of them sends a byte more, in seconds.
EVERY = 4


class SlowClients:
    """So many of them while the block lasts, each at a time of its own; who is cut off comes again at once."""

    def __init__(self, port, number):
        self.port, self.number = port, number
        self.ended, self.all_here, self.cut_off = threading.Event(), threading.Event(), 0
        self.thread = threading.Thread(target=self.go_on)

    def __enter__(self):
        self.selector, self.clients = selectors.DefaultSelector(), {}
        begun = time.monotonic()
        self.due = [(begun + EVERY * number / self.number, number) for number in range(self.number)]
        self.thread.start()
        if not self.all_here.wait(60):
            fail(f"of {self.number} slow clients only {len(self.clients)} could connect")
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        for client in self.clients.values():
            client.close()
        self.selector.close()

    def begin(self, number):
        first, client = FIRST[number % len(FIRST)], socket.socket()
        if first is READS:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(("127.0.0.1", self.port))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.send(first)
        self.clients[number] = client
        if first is not READS:
            # Who does not read learns of the end when it writes.
            self.selector.register(client, selectors.EVENT_READ, number)
        if len(self.clients) == self.number:
            self.all_here.set()

    def go_on(self):
        while not self.ended.is_set():
            for key, _ in self.selector.select(max(0, self.due[0][0] - time.monotonic())):
                self.again(key.data)
            while self.due[0][0] <= time.monotonic():
                due, number = self.due[0]
                heapq.heapreplace(self.due, (due + EVERY, number))
                self.dribble(number)

    def dribble(self, number):
        if number not in self.clients:
            return self.begin(number)
        try:
            self.clients[number].send(b"x")
        except BlockingIOError:
            pass
        except OSError:
            self.again(number)

    def again(self, number):
        client = self.clients[number]
        if FIRST[number % len(FIRST)] is not READS:
            self.selector.unregister(client)
        client.close()
        self.cut_off += 1
        self.begin(number)

"""Sends the corpus of malformed requests to a server, directly or through a proxy, and looks at what becomes of everybody else.

    run.py DESCRIPTION

DESCRIPTION is a JSON file: `address` of the server, `clients` (the first is the sender, the others are those who come after), `pid`
of the server, `proxy` (null, haproxy, nginx or apache), `seed`, and `tries`: how many requests go through the proxy. It prints what it
did, and ends with a status that is not zero when a rule was broken.

The rules: no answer of the server has a status of 500 or more; none hangs; whoever comes after a malformed request, on its
connection or on the one that a proxy used for it, gets the answer to the own request and no other; and the server lives, and does
not grow. Of a hundred answers a proxy may lose one, which it says with a status of its own.
"""

import asyncio
import base64
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from corpus import FORM, GRANT, TOKEN, Client, Corpus, Malformed
from proxies import PROXIES, Proxy

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
#: Longest until a request was answered, or its connection closed: the body has ten seconds, and others share the processor.
PATIENCE = 20
#: Requests under way at once.
AT_ONCE = 96
#: How much more memory the server may hold afterwards, in MiB.
GROWTH = 48


class Broken(Exception):
    """A rule was broken."""


def good(client: Client) -> bytes:
    """A token request of somebody who did nothing wrong."""
    lines = ["Host: a", FORM, client.basic(), f"Content-Length: {len(GRANT)}"]
    return "\r\n".join([f"POST {TOKEN} HTTP/1.1", *lines, "", GRANT]).encode()


def owner(body: bytes) -> str | None:
    """The client that an answer gives a token to."""
    try:
        payload = json.loads(body)["access_token"].split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["client_id"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes] | None:
    """The next answer whole, or None when the connection was closed before it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        return status, body
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError):
        return None


class Session:
    """One connection."""

    def __init__(self, address: tuple[str, int]):
        self.address = address

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(*self.address, limit=1 << 20)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass  # What was answered before the connection was closed is still to be read.

    async def rest(self, patience: float) -> tuple[bytes, bool]:
        """What comes until the connection is closed, or nothing comes for so long; and whether it was closed."""
        got = b""
        while True:
            try:
                more = await asyncio.wait_for(self.reader.read(65_536), patience)
            except asyncio.TimeoutError:
                return got, False
            except ConnectionError:
                return got, True
            if not more:
                return got, True
            got += more


async def own_token(address: tuple[str, int], client: Client) -> None:
    """Asserts that somebody gets a token of their own on a connection of their own."""
    async with Session(address) as session:
        await session.send(good(client))
        got = await asyncio.wait_for(answer(session.reader), PATIENCE)
        check_own(got, client)


def check_own(got: tuple[int, bytes] | None, client: Client) -> None:
    if got is None:
        raise Broken(f"{client.client_id} was not answered")
    status, body = got
    if status != 200 or owner(body) != client.client_id:
        raise Broken(f"{client.client_id} got {status} {body[:300]!r}, which is for {owner(body)}")


class Direct:
    """Everything to the server itself, many at once."""

    def __init__(self, address: tuple[str, int], clients: list[Client]):
        self.address, self.clients = address, clients
        self.statuses: Counter = Counter()

    async def run(self, corpus: list[Malformed]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, malformed: Malformed) -> None:
            async with gate:
                try:
                    await self.send(malformed, self.clients[number % len(self.clients)])
                except Exception as broken:
                    raise Broken(f"{malformed.name}: {malformed.data[:2_000]!r}: {broken!r}") from broken

        await asyncio.gather(*(one(number, malformed) for number, malformed in enumerate(corpus)))

    async def send(self, malformed: Malformed, after: Client) -> None:
        async with Session(self.address) as session:
            await session.send(malformed.data)
            first, closed = await self.first(session)
            more, closed = (b"", True) if closed else await session.rest(0.05)
            statuses = [int(status) for status in STATUS.findall(first + more)]
            self.statuses.update(statuses or ["closed"])
            if any(status >= 500 for status in statuses):
                raise Broken(f"answered with {statuses}")
            final = [status for status in statuses if status != 100]
            if malformed.expect is not None and malformed.followed:
                if final[:1] != [malformed.expect]:
                    raise Broken(f"answered with {statuses}, and {malformed.expect} is right")
            elif malformed.expect is not None:
                if final != [malformed.expect] or not (closed or (await session.rest(2))[1]):
                    raise Broken(f"answered with {statuses}, and {malformed.expect} and the end are right")
            elif final and not closed:
                # Whoever gets this connection next.
                await session.send(good(after))
                got = await asyncio.wait_for(answer(session.reader), PATIENCE)
                # What the sender left over may spoil the request, and must not answer it.
                if got is not None and not 400 <= got[0] < 500:
                    check_own(got, after)

    async def first(self, session: Session) -> tuple[bytes, bool]:
        """What comes first, and whether the connection was closed after it."""
        begun, got = time.monotonic(), b""
        while not any(status != b"100" for status in STATUS.findall(got)):
            more, closed = await session.rest(0.1)
            got += more
            if closed:
                return got, True
            if time.monotonic() - begun > PATIENCE:
                raise Broken(f"neither answered nor closed after {PATIENCE} s: {got!r}")
        return got, False


class Behind:
    """One after the other through a proxy that uses its few connections to the server again and again."""

    def __init__(self, proxy: Proxy, clients: list[Client]):
        self.proxy, self.clients = proxy, clients
        self.statuses: Counter = Counter()
        self.lost = 0

    async def run(self, corpus: list[Malformed], tries: int) -> None:
        waiting: list[Session] = []
        async with Session(self.proxy.address) as kept:
            for number in range(tries):
                malformed, after = corpus[number % len(corpus)], self.clients[number % len(self.clients)]
                try:
                    session = await Session(self.proxy.address).__aenter__()
                    await session.send(malformed.data)
                    got, _ = await session.rest(0.02)
                    self.statuses.update(int(status) for status in STATUS.findall(got)[:1])
                    # Those that the proxy is still waiting for stay while others come.
                    waiting.append(session)
                    async with Session(self.proxy.address) as fresh:
                        await self.own(fresh, after)
                    await self.own(kept, after)
                except Exception as broken:
                    said = f"{broken!r}; the proxy says: {self.proxy.said()}"
                    raise Broken(f"after {malformed.name}: {malformed.data[:2_000]!r}: {said}") from broken
                if len(waiting) > 16:
                    waiting.pop(0).writer.close()
        for session in waiting:
            session.writer.close()
        if self.lost > max(2, tries // 100):
            raise Broken(f"{self.lost} answers were lost: {self.proxy.said()}")

    async def own(self, session: Session, client: Client) -> None:
        """Asserts that somebody gets a token of their own. A proxy that says it lost an answer is asked again, and it is counted: it may
        meet a connection in the moment in which the server closes it, and does not repeat a POST by itself."""
        for _ in range(3):
            await session.send(good(client))
            got = await asyncio.wait_for(answer(session.reader), PATIENCE)
            if got is None or got[0] not in (502, 503, 504):
                break
            self.lost += 1
        check_own(got, client)


def memory(pid: int) -> float:
    """What a process holds, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def main(description: dict) -> None:
    host, port = description["address"].rsplit(":", 1)
    address = (host, int(port))
    sender, *others = [Client(client["client_id"], client["client_secret"]) for client in description["clients"]]
    made = Corpus(sender, description["seed"])
    begun, before = time.monotonic(), 0.0
    for _ in range(20):
        await asyncio.gather(*(own_token(address, client) for client in others))
    before = memory(description["pid"])
    if description["proxy"] is None:
        direct, corpus = Direct(address, others), made.all()
        await direct.run(corpus)
        sent, statuses = len(corpus), direct.statuses
    else:
        # The smuggling requests again and again between all others.
        corpus, smuggling = made.all(), made.smuggling()
        mixed = [request for other in corpus[len(smuggling) :] for request in (other, made.random.choice(smuggling))]
        sent = description["tries"] or len(corpus) + len(smuggling)
        chosen = (smuggling + mixed) if description["tries"] else corpus
        with tempfile.TemporaryDirectory() as folder:
            with PROXIES[description["proxy"]](Path(folder), address) as proxy:
                behind = Behind(proxy, others)
                await behind.run(chosen, sent)
                statuses = behind.statuses
                statuses["lost"] = behind.lost
    for client in others:
        await own_token(address, client)
    grown = memory(description["pid"]) - before
    if grown > GROWTH:
        raise Broken(f"the server holds {grown:.1f} MiB more than before")
    by = description["proxy"] or "directly"
    told = ", ".join(f"{count} × {status}" for status, count in statuses.most_common())
    print(f"malformed ({by}): {sent} requests, {told}; {grown:+.1f} MiB; {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    try:
        asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
    except Broken as broken:
        sys.exit(f"malformed: {broken}")

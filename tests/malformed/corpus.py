"""Requests that are malformed, or that two readers of HTTP could understand in two ways.

Deterministic: the same seed gives the same requests. What is written by hand comes first, then what a grammar of mutations makes of
good requests, then good requests with single bytes altered.
"""

import base64
import random
from dataclasses import dataclass

TOKEN = "/oauth2/token"
GRANT = "grant_type=client_credentials"
FORM = "Content-Type: application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Malformed:
    """Bytes to send, and what must come of them: a status after which the connection closes, or just nothing bad."""

    name: str
    data: bytes
    expect: int | None = None
    #: Whether a whole request follows, which the library answers although it said that the connection is closed (decision 38).
    followed: bool = False


@dataclass(frozen=True)
class Client:
    """Who sends them."""

    client_id: str
    secret: str

    def basic(self) -> str:
        pair = f"{self.client_id}:{self.secret}".encode()
        return "Authorization: Basic " + base64.b64encode(pair).decode()


def request(start: str, lines: list[str], body: str | bytes = b"", end: str = "\r\n") -> bytes:
    """A request of a start line, header lines and a body."""
    head = end.join([start, *lines, "", ""]).encode("latin-1")
    return head + (body.encode("latin-1") if isinstance(body, str) else body)


def chunk(data: str, size: str | None = None) -> str:
    return f"{size if size is not None else format(len(data), 'x')}\r\n{data}\r\n"


LAST = "0\r\n\r\n"


class Corpus:
    """All requests of one sender."""

    def __init__(self, client: Client, seed: int):
        self.client = client
        self.random = random.Random(seed)

    # What is sent after, or inside of, the first request: whoever gets the answer to it was deceived.
    def second(self) -> str:
        return f"POST {TOKEN} HTTP/1.1\r\nHost: a\r\n{FORM}\r\n{self.client.basic()}\r\nContent-Length: {len(GRANT)}\r\n\r\n{GRANT}"

    def post(self, lines: list[str], body: str = "", version: str = "HTTP/1.1", end: str = "\r\n") -> bytes:
        """A token request, good but for these lines and this body."""
        return request(f"POST {TOKEN} {version}", ["Host: a", FORM, self.client.basic(), *lines], body, end)

    def smuggling(self) -> list[Malformed]:
        """The twenty-four that are sent through proxies, too."""
        second, post = self.second(), self.post
        hidden = f"{LAST}{second}"
        inside = chunk(second) + LAST
        of_hidden, chunked = f"Content-Length: {len(hidden)}", "Transfer-Encoding: chunked"
        found = [
            ("length before chunked", post([of_hidden, chunked], hidden), 400),
            ("chunked before length", post([chunked, "Content-Length: 4"], inside), 400),
            ("two lengths", post([f"Content-Length: {len(second)}", "Content-Length: 0"], second), 400),
            ("length zero first", post(["Content-Length: 0", f"Content-Length: {len(second)}"], second), 400),
            ("list of lengths", post([f"Content-Length: 0, {len(second)}"], second), 400),
            ("chunked and identity", post([of_hidden, f"{chunked}, identity"], hidden), 400),
            ("a coding that nobody knows", post([of_hidden, "Transfer-Encoding: xchunked"], hidden), 400),
            ("vertical tab after the coding", post([of_hidden, f"{chunked}\x0b"], hidden), 400),
            ("tab before the coding", post([of_hidden, "Transfer-Encoding:\tchunked"], hidden), 400),
            ("space before the colon", post([of_hidden, "Transfer-Encoding : chunked"], hidden), 400),
            ("folded coding", post([of_hidden, "Transfer-Encoding:", " chunked"], hidden), 400),
            ("coding after a bare line feed", post([of_hidden, "X-A: a\nTransfer-Encoding: chunked"], hidden), 400),
            ("coding after a bare return", post([of_hidden, "X-A: a\rTransfer-Encoding: chunked"], hidden), 400),
            ("two codings", post([of_hidden, chunked, "Transfer-Encoding: x"], hidden), 400),
            ("chunked in HTTP/1.0", post([of_hidden, chunked, "Connection: keep-alive"], hidden, "HTTP/1.0"), 400),
            ("name with an underscore", post([of_hidden, "Transfer_Encoding: chunked"], hidden), None),
            ("length with a sign", post([f"Content-Length: +{len(second)}"], second), 400),
            ("upgrade with a length", post(["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"], second), 400),
            (
                "upgrade to HTTP/2",
                post(["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Content-Length: 0"], second),
                400,
            ),
            ("size after a bare line feed", post([chunked], f"5;a\n{second}\r\n{LAST}"), 400),
            ("size that overflows", post([chunked], chunk("a", "10000000000000001") + hidden), 400),
            ("size with a prefix", post([chunked], chunk(GRANT, f"0x{len(GRANT):x}") + hidden), 400),
            (
                "body of a GET",
                request("GET /livez HTTP/1.1", ["Host: a", f"Content-Length: {len(second)}"], second),
                None,
            ),
            (
                "expectation in two words",
                post(["Expect: x 100-continue", f"Content-Length: {len(second)}"], second),
                None,
            ),
        ]
        followed = "upgrade to HTTP/2"
        return [Malformed(f"smuggling: {name}", data, expect, name == followed) for name, data, expect in found]

    def by_hand(self) -> list[Malformed]:
        """One for each way of framing, naming and sizing a request that has an answer of its own."""
        post, second = self.post, self.second()
        get = lambda *lines: request("GET /livez HTTP/1.1", list(lines))
        found: list[tuple[str, bytes, int | None]] = []
        for length in ["+4", "-1", "0x4", "4.0", "4 4", "4,", ";4", "", "four", "18446744073709551616", "9" * 40]:
            found.append((f"length {length}", post([f"Content-Length: {length}"], "a=b&"), 400))
        for coding in ["identity", "gzip", "chunked, chunked", "gzip, chunked", "chunked;q=1", '"chunked"', "", ",chunked", "chunked,"]:
            found.append((f"coding {coding}", post([f"Transfer-Encoding: {coding}"], LAST), 400))
        for size in ["", "0x5", "-5", "+5", "5g", "g", "1" * 17, "5\n", " 5", "\x005"]:
            found.append((f"chunk size {size!r}", post(["Transfer-Encoding: chunked"], chunk("a=b&c", size) + LAST), 400))
        for line in ["X-A : b", ": b", "X-A", "X A: b", " X-A: b", "X-A: a\0b", "X-A: a\rb", "X\0A: b", "X-A: a\x7fb", "X-A: a\r\n folded"]:
            found.append((f"line {line!r}", get("Host: a", line), 400))
        for lines in [[], ["Host: a", "Host: a"], ["Host: a", "Host: b"], ["Host: a, b"], ["Host: a b"], ["Host: a/b"], ["Host: a@b"]]:
            found.append((f"hosts {lines}", get(*lines), 400))
        for start in ["GET http://b/livez HTTP/1.1", "GET  /livez HTTP/1.1", "GET /livez  HTTP/1.1", "GET /livez HTTP/2.0", "GET /livez HTTP/1,1"]:
            found.append((start, request(start, ["Host: a"]), 400))
        for start in ["GET /livez", "GET", "", " GET /livez HTTP/1.1", "G\0T /livez HTTP/1.1", "GET /li\0vez HTTP/1.1", "GET / livez HTTP/1.1"]:
            found.append((f"start {start!r}", request(start, ["Host: a"]), None))
        found += [
            ("greeting of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 400),
            ("greeting of TLS", bytes.fromhex("16030100f8010000f40303") + bytes(range(240)), 400),
            ("97 lines", get("Host: a", *["X: y"] * 96), 431),
            ("a head that is too long", b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ".ljust(131_072, b"x"), 431),
            ("a target that is too long", request("GET /" + "x" * 65_600 + " HTTP/1.1", ["Host: a"]), 400),
            ("a length beyond the limit", post(["Content-Length: 16385"]), 413),
            ("a length beyond any limit", post(["Content-Length: 18446744073709551615"]), 413),
            ("chunks beyond the limit", post(["Transfer-Encoding: chunked"], chunk("x" * 4_096) * 5), 413),
            ("expectation beyond the limit", post(["Expect: 100-continue", "Content-Length: 1000000"]), 413),
            ("compressed", post(["Content-Encoding: gzip", "Content-Length: 4"], "\x1f\x8b\x08\x00"), 415),
            ("a trailer with a coding", post(["Transfer-Encoding: chunked"], f"{chunk(GRANT)}0\r\nTransfer-Encoding: x\r\n\r\n"), None),
            ("a trailer with a bare line feed", post(["Transfer-Encoding: chunked"], f"{chunk(GRANT)}0\r\nX: a\nY: b\r\n\r\n"), None),
            ("a long extension", post(["Transfer-Encoding: chunked"], f"1d;{'e' * 65_536}\r\n{GRANT}\r\n{LAST}"), None),
            ("no last chunk", post(["Transfer-Encoding: chunked"], chunk(GRANT)), None),
            ("less than its length", post(["Content-Length: 400"], GRANT), None),
            ("half a head", b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\n", None),
            ("nothing but line ends", b"\r\n" * 1_000, None),
            ("nothing but nul", b"\0" * 1_000, None),
        ]
        for method in ["TRACE", "TRACK", "PUT", "CONNECT", "get", "POSTPOST", "X" * 5_000, "M-SEARCH"]:
            found.append((f"method {method[:10]}", request(f"{method} {TOKEN} HTTP/1.1", ["Host: a"]), None))
        for name in ["/token/", "//oauth2/token", "/oauth2/token%00", "/oauth2/token;x", "/..;/oauth2/token", "/%2e%2e/oauth2/token", "*"]:
            found.append((f"path {name}", request(f"POST {name} HTTP/1.1", ["Host: a", "Content-Length: 0"]), None))
        strangers = ["X-Forwarded-Host: evil", "Forwarded: host=evil", "X-Original-URL: /admin", "X-HTTP-Method-Override: POST"]
        found.append(("what strangers say", request("GET /livez HTTP/1.1", ["Host: a", *strangers]) + second.encode(), None))
        return [Malformed(f"by hand: {name}", data, expect) for name, data, expect in found]

    # The grammar: a request is a start line, lines, a body and line ends, and each of them has its mutations.
    def mutated(self) -> Malformed:
        """A request of which one to three parts are replaced by what is nearly one."""
        choose = self.random.choice
        parts = {
            "method": "POST",
            "target": TOKEN,
            "version": "HTTP/1.1",
            "framing": [f"Content-Length: {len(GRANT)}"],
            "lines": [],
            "body": GRANT,
            "end": "\r\n",
        }
        names = []
        for _ in range(self.random.randint(1, 3)):
            name, mutate = choose(MUTATIONS)
            mutate(parts, self, choose)
            names.append(name)
        start = f"{parts['method']} {parts['target']} {parts['version']}"
        lines = ["Host: a", FORM, self.client.basic(), *parts["lines"], *parts["framing"]]
        if choose([True, False]):
            lines.reverse()
        data = request(start, lines, parts["body"], parts["end"])
        if choose([True, False, False]):
            data += self.second().encode()
        return Malformed("mutated: " + ", ".join(names), data)

    def altered(self) -> Malformed:
        """A good request with a few bytes flipped, put in, left out or repeated."""
        body = self.random.choice([None, chunk(GRANT) + LAST])
        framing = f"Content-Length: {len(GRANT)}" if body is None else "Transfer-Encoding: chunked"
        data = bytearray(self.post([framing], body or GRANT))
        special = b"\r\n\0\t :;,\x0b\x7f\xff0a"
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(data))
            act = self.random.randrange(5)
            if act == 0:
                data[at] ^= 1 << self.random.randrange(8)
            elif act == 1:
                data[at:at] = bytes([self.random.choice(special)])
            elif act == 2:
                del data[at : at + self.random.randint(1, 4)]
            elif act == 3:
                data[at:at] = data[at : at + self.random.randint(1, 40)]
            else:
                data[at] = self.random.choice(special)
        return Malformed("altered", bytes(data))

    def all(self, mutated: int = 300, altered: int = 150) -> list[Malformed]:
        """Everything: what is written by hand, and so many of each other kind."""
        made = [self.mutated() for _ in range(mutated)] + [self.altered() for _ in range(altered)]
        return self.smuggling() + self.by_hand() + made


def put(part: str, values: list) -> tuple:
    """Replaces a part by one of these."""
    return (part, lambda parts, corpus, choose: parts.__setitem__(part, choose(values)))


def add(values: list[str]) -> tuple:
    """Adds a header line."""
    return ("line", lambda parts, corpus, choose: parts.__setitem__("lines", [*parts["lines"], choose(values)]))


def chunked(parts: dict, corpus: Corpus, choose) -> None:
    size = choose(["1d", "1D", "0001d", "1d ", " 1d", "1d;a", "1d;a=b", '1d;a="b"', "1c", "1e", "", "-1d", "0x1d", "1d\n", "1d\r"])
    last = choose(["0", "00", "0;a", "", "-0", "0 "])
    trailer = choose(["", "X: y\r\n", "Content-Length: 9\r\n", "X: y\n", "X\r\n", ": y\r\n"])
    parts["framing"] = [choose(CODINGS)]
    end = choose(["\r\n", "\n", "", "\r"])
    parts["body"] = f"{size}\r\n{GRANT}{end}{last}\r\n{trailer}\r\n"


def both(parts: dict, corpus: Corpus, choose) -> None:
    parts["framing"] = [choose(LENGTHS), choose(CODINGS)]


CODINGS = [
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding:  chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding: 'chunked'",
]
NUMBERS = ["0", "29", "28", "30", "029", "29 ", "\t29", "29,29", "29, 30", "2 9", "1e1", "-0", "0x1d", "\xd9\xa2"]
LENGTHS = [f"Content-Length: {number}" for number in NUMBERS]
LINES = [
    "Connection: close, keep-alive",
    "Connection: content-length",
    "Connection: upgrade",
    "Connection: \0",
    "Keep-Alive: timeout=99999999999",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "Expect: ",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "TE: trailers, deflate;q=0.5",
    "Trailer: Content-Length",
    "Content-Encoding: identity",
    "Content-Encoding: gzip",
    "Content-Type: text/plain",
    "Host: b",
    "Host: a:99999",
    "Authorization: Basic",
    "Authorization: Bearer x",
    "Range: bytes=0-0,1-1,2-2",
    "Cookie: " + "a=b; " * 500,
    "X-Forwarded-For: 127.0.0.1",
    "X-Long: " + "x" * 20_000,
    "X\x80Y: z",
    "X: \xff\xfe",
    "X:",
    "x" * 9_000 + ": y",
]
MUTATIONS = [
    put("method", ["post", "GET", "HEAD", "OPTIONS", "PUT", "POST\t", "P OST", "", "\0", "POST\r\n", "CONNECT", "TRACE", "X" * 300]),
    put(
        "target",
        ["/", "*", "", "//", "/\xff", "a:1", "/" + "x" * 9_000]
        + [f"{before}{TOKEN}" for before in ["http://a", "http://b", "https://a@b"]]
        + [f"{TOKEN}{after}" for after in [f"?{GRANT}", "?client_secret=x", "#x", " x", "\0", "%zz"]],
    ),
    put("version", ["HTTP/1.0", "HTTP/1.2", "HTTP/2", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", " HTTP/1.1", "HTTP/1.1\t", "HTTP/11", "", "HTTP/-1.1"]),
    put("framing", [[line] for line in LENGTHS] + [[]]),
    put("framing", [[one, other] for one in LENGTHS[:6] for other in LENGTHS[:4]]),
    ("coding", chunked),
    ("coding", chunked),
    ("both", both),
    put("body", ["", GRANT * 2, GRANT[:5], "\0" * 29, "%" * 29, "&" * 29, "grant_type=%ff%fe%00&x=1&&&&&", "{\"grant_type\":\"password\"}"]),
    put("end", ["\n", "\r\r\n", "\r", "\n\r", "\r\n\r"]),
    add(LINES),
    add(LINES),
    put("lines", [["X: y"] * count for count in (90, 97, 200)]),
]

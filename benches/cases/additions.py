"""What TLS in the process and traces add to a token, and what strangers who only shake hands leave of it for others."""

import contextlib
import http.server
import subprocess
import threading
import time
from statistics import quantiles

from cases.case import Case
from cases.tokens import FORM
from figures import Row, milliseconds, ratio, spread
from keywheel import JWKS, TOKEN, Keywheel, answer_to
from load import Running
from offered import FORM_TYPE
from process import fail, free_ports

# Parts of the requests that are traced.
RATIOS = (0.01, 1)
# Tokens a second that somebody asks for over a kept connection while others shake hands, and for how many seconds.
ASKED, SECONDS = 100, (4, 8)
CLOSE = ("Connection: close",)


class Additions(Case):
    """Servers of one build in turns."""

    rounds = (4, 10)

    def prepare(self, stack):
        stage, folder = self.stage, self.stage.folder
        collector = stack.enter_context(Collector())
        binary = stage.binaries[0]
        self.nodes = {"clear": Keywheel(stage, binary, folder / "clear")}
        for kind in ("ec", "rsa"):
            self.nodes[kind] = Keywheel(stage, binary, folder / f"tls-{kind}", tls=certificate(folder, kind))
        for part in RATIOS:
            telemetry = {
                "KEYWHEEL_TELEMETRY_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
                "KEYWHEEL_TELEMETRY_SAMPLE_RATIO": str(part),
            }
            self.nodes[part] = Keywheel(stage, binary, folder / f"traced-{part}", settings=telemetry)
        for node in self.nodes.values():
            stack.enter_context(node)

    def measure(self):
        seconds = self.of((1, 2))
        # First, while no node has traces left to send.
        measured = self.among_strangers(self.nodes["ec"])
        for name, node in self.nodes.items():
            measured[name] = {"kept": node.load(TOKEN, seconds, node.service, FORM)}
            if name in ("clear", "ec"):
                measured[name]["new"] = node.load(TOKEN, seconds, node.service, FORM, headers=CLOSE)
        everything = self.nodes[RATIOS[-1]]
        measured["lost"] = everything.metric("keywheel_spans_dropped_total") / max(1, sum(map(everything.metric, SPANS)))
        time.sleep(2)
        return measured

    def among_strangers(self, node):
        """How long tokens take over one connection, and how many come."""
        strangers = Running(node.port, JWKS, self.of(SECONDS) + 1, headers=CLOSE, scheme="https")
        time.sleep(0.5)
        among = paced(node, self.of(SECONDS))
        return {"among": among, "handshakes": strangers.result()["rate"]}

    def information(self):
        def of_clear(name, how="kept"):
            return ratio(self.each(lambda one: one[name][how]["per_cpu"] / one["clear"][how]["per_cpu"]))

        yield Row("Tokens over TLS ÷ tokens in clear, by processor time, over kept connections", of_clear("ec"))
        yield Row("… with an RSA certificate", of_clear("rsa"))
        yield Row("… each over a connection of its own", of_clear("ec", "new"))
        for part in RATIOS:
            yield Row(f"Tokens when {part:.0%} of the requests are traced ÷ tokens without traces, by processor time", of_clear(part))
        yield Row("… part of the spans that was lost, for want of room in the queue", ratio(self.each(lambda one: one["lost"])))
        handshakes = spread(self.each(lambda one: one["handshakes"]))
        yield Row("A flood of handshakes: strangers' connections a second, each for one key set", handshakes)
        yield Row("… a token over a kept connection meanwhile, p99", milliseconds(self.each(lambda one: one["among"])))


SPANS = ("keywheel_spans_exported_total", "keywheel_spans_dropped_total")


def paced(node, seconds):
    """The slowest in a hundred of the tokens that are due at a fixed pace, from when they were due, in ms."""
    headers = {"Authorization": node.service, "Content-Type": FORM_TYPE}
    with contextlib.closing(node.connection()) as connection:
        took, begun = [], time.monotonic()
        for number in range(ASKED * seconds):
            due = begun + number / ASKED
            time.sleep(max(0, due - time.monotonic()))
            answer_to(connection, "POST", TOKEN, FORM, headers)
            took.append(1e3 * (time.monotonic() - due))
    return quantiles(took, n=100)[-1]


def certificate(folder, kind):
    """The files of a certificate and its key."""
    files = folder / f"{kind}.pem", folder / f"{kind}.key"
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-newkey", *key]
    ran = subprocess.run([*command, "-out", files[0], "-keyout", files[1]], capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"openssl makes no certificate: {ran.stderr}")
    files[1].chmod(0o600)
    return files


class Collector:
    """Takes traces and throws them away."""

    def __enter__(self):
        [self.port] = free_ports(1)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Taking)
        threading.Thread(target=self.server.serve_forever).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass

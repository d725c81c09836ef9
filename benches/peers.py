"""Other servers, from their public packages, set up by what lies in peers/: `setup FOLDER` installs one, `serve FOLDER PORT` starts it."""

import contextlib
import http.client
import json
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import load
import verifier
from offered import FORM_TYPE, basic
from process import Process, fail, free_ports

SETUPS = Path(__file__).resolve().parent / "peers"
FORM = "grant_type=client_credentials"
# The client that each of them has.
SERVICE = basic("service", "a-secret-of-forty-three-characters-or-more-0")
# Longest time that an installation may take, in seconds.
PATIENCE = 600


@dataclass
class Peer:
    """One of them: its folder, where its tokens are, how many times as many keywheel is to issue, and how it is to be started."""

    folder: str
    path: str
    aim: float = None
    # Those that would wait for half a minute ask no more at a time.
    connections: int = load.CONNECTIONS
    environment: dict = field(default_factory=dict)


def pinned(folder, package):
    """The version that is installed."""
    files = [file for name in ("package.json", "requirements.txt") if (file := SETUPS / folder / name).exists()]
    return re.search(rf'{package}(?:==|": ")([\w.]+)', files[0].read_text())[1]


def install(peer, into):
    """Why it could not be installed; nothing when it could."""
    try:
        ran = subprocess.run([SETUPS / peer.folder / "setup", into], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"not installed within {PATIENCE} s"
    if ran.returncode != 0:
        return ((ran.stderr or ran.stdout).strip().splitlines() or ["no reason given"])[-1]
    return None


class Server(Process):
    """One of them on the server's processor."""

    def __init__(self, stage, peer, installed, folder):
        folder.mkdir()
        [self.port] = free_ports(1)
        self.peer = peer
        # HOME: what caches something there does so in its own folder.
        environment = peer.environment | {"HOME": str(folder)}
        command = [SETUPS / peer.folder / "serve", installed, str(self.port)]
        super().__init__(command, {stage.server}, folder, environment=environment)

    def __enter__(self):
        super().__enter__()
        with contextlib.ExitStack() as unless_ready:
            unless_ready.push(self)
            self.wait_for(self.port)
            self.first_token()
            unless_ready.pop_all()
        return self

    def first_token(self):
        """It has to be what keywheel's is: a JWT with an RSA signature of 2048 bits over SHA-256."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("POST", self.peer.path, FORM, {"Authorization": SERVICE, "Content-Type": FORM_TYPE})
            answer = connection.getresponse()
            content = answer.read()
        if answer.status != 200:
            fail(f"{self.peer.folder} answered {answer.status}: {content.decode(errors='replace')}")
        head, _, signature = json.loads(content)["access_token"].split(".")
        if json.loads(verifier.decoded(head))["alg"] != "RS256" or len(verifier.decoded(signature)) != 256:
            fail(f"{self.peer.folder} does not sign as it should")

    def tokens(self, seconds):
        more = {"headers": [f"Authorization: {SERVICE}"], "connections": self.peer.connections}
        measured = load.on(self, self.port, self.peer.path, seconds, [FORM], **more)
        # What it was still busy with is not to be taken from the next one.
        time.sleep(0.2)
        return measured

    def processor_seconds(self):
        """Of the workers too."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in descendants(self.child.pid))

    def memory(self):
        """Resident memory in MiB of all of it, each page counted once."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in descendants(self.child.pid))
        lines = (line.split() for text in rollups for line in text.splitlines())
        return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024


def descendants(pid):
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from descendants(int(child))

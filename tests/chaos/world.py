"""A place of its own for each fault: a folder, a database, nodes, clients, people who have signed in, and load."""

import contextlib
import random
import subprocess
import tempfile
import time
from pathlib import Path

from load import TOKEN, Connection, Load, basic, signed_in
from postgres import Postgres
from processes import Node
from proxy import Proxy

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
# The shortest that the policy of keys admits: a key is published eleven seconds before it signs.
FAST_TURNS = {
    "KEYWHEEL_SIGNING_PERIOD": "12s",
    "KEYWHEEL_SIGNING_JWKS_MAX_AGE": "1s",
    "KEYWHEEL_SIGNING_SLOWEST_VERIFIER": "1s",
    "KEYWHEEL_TOKENS_ACCESS_TTL": "60s",
    "KEYWHEEL_WORKERS": "2",
}
# A key is published longer before it signs than a node stands still.
SLOWER_TURNS = {
    "KEYWHEEL_SIGNING_PERIOD": "60s",
    "KEYWHEEL_SIGNING_JWKS_MAX_AGE": "10s",
    "KEYWHEEL_SIGNING_SLOWEST_VERIFIER": "10s",
}


class World:
    """What a fault is done to. `proxied`: nodes reach PostgreSQL through a `Proxy`. `disk`: the SQLite database, or PostgreSQL's data
    folder, is on a small file system of its own, of so many MiB. `url`: the database is there already."""

    def __init__(self, binary, database=POSTGRES, nodes=1, proxied=False, disk=None, url=None, sessions=18, settings=None, postgres_options=(), **of_nodes):
        self.binary, self.database, self.number, self.proxied, self.disk = binary, database, nodes, proxied, disk
        self.sessions_wanted, self.settings, self.of_nodes = sessions, FAST_TURNS | (settings or {}), of_nodes
        self.postgres_options, self.url = postgres_options, url
        self.postgres = self.proxy = None
        self.nodes, self.dice = [], random.Random(7)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keywheel-chaos-")))
            # PostgreSQL's user has to pass through it.
            self.folder.chmod(0o711)
            self.room = self.folder / "room"
            self.room.mkdir()
            if self.disk:
                self.mount(stack)
            url = self.set_up_database(stack)
            self.set_up_nodes(stack, url)
            self.everything = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.everything.close()

    def mount(self, stack):
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.disk}m,mode=0755", "tmpfs", self.room]
        if subprocess.run(command, capture_output=True).returncode != 0:
            raise Impossible("no file system can be mounted here")
        stack.callback(subprocess.run, ["umount", "-l", self.room], check=False)

    def set_up_database(self, stack):
        if self.url:
            return self.url
        if self.database == SQLITE:
            return f"sqlite://{self.room}/keywheel.db"
        self.postgres = Postgres(self.room / "postgres", self.postgres_options)
        stack.callback(self.postgres.end)
        self.postgres.start()
        if not self.proxied:
            return self.postgres.url
        self.proxy = Proxy(self.postgres.port)
        stack.callback(self.proxy.end)
        return self.postgres.url.replace(f":{self.postgres.port}/", f":{self.proxy.port}/")

    def set_up_nodes(self, stack, url):
        settings = {"DATABASE_URL": url, "KEYWHEEL_KEYS_DIR": str(self.folder / "keys")} | self.settings
        for number in range(self.number):
            node = Node(self.binary, self.folder / f"node{number}", settings, **self.of_nodes)
            settings["KEYWHEEL_ISSUER"] = node.settings["KEYWHEEL_ISSUER"]
            self.nodes.append(node)
        first = self.nodes[0]
        client = lambda name, *grants: basic(first.command("client", "create", name, "--id", name, "--scope", "read write", *grants))
        self.clients = {
            "service": client("service", "--grant", "client_credentials"),
            "shop": client("shop", "--grant", "password", "--grant", "refresh_token"),
            "gateway": client("gateway", "--grant", "client_credentials", "--introspect"),
        }
        first.command("user", "create", "alice", "--password-stdin", given="correct horse")
        for node in self.nodes:
            stack.callback(node.end)
            node.must_start()
        self.sessions = signed_in(first, self.clients, self.sessions_wanted)

    @property
    def node(self):
        return self.nodes[0]

    def load(self, **more):
        return Load(self.nodes, self.clients, self.sessions, **more)

    def fill(self):
        """Leaves no byte of the small file system."""
        filler = self.room / "filler"
        with open(filler, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def make_room(self):
        (self.room / "filler").unlink(missing_ok=True)

    def next_turn(self):
        """Seconds until the next key begins to sign, as a node says."""
        due = [value for labels, value in self.node.metrics("keywheel_signing_key_activation_timestamp_seconds").items() if 'state="next"' in labels]
        return min(due) - time.time() if due else None

    def keys(self):
        """The identifiers of all keys there ever were."""
        return [key["kid"] for key in self.node.command("keys", "list")]

    def replayed_tokens_are_refused(self, load):
        """A token that was used twice ago ends its login, also after all that was done. Returns what is wrong."""
        wrong = []
        with contextlib.closing(Connection(self.nodes)) as connection:
            for session in load.sessions[:3]:
                old, newest = session.before, session.token
                post = lambda token: connection.post(TOKEN, self.clients["shop"], grant_type="refresh_token", refresh_token=token)
                status, _, content = post(newest)
                if status != 200:
                    wrong.append(f"{session.name}: the newest token is answered {status} {content[:80]}")
                    continue
                statuses = [post(token)[0] for token in (old, newest)]
                if statuses != [400, 400]:
                    wrong.append(f"{session.name}: tokens that were used are answered {statuses}")
        return wrong


class Impossible(Exception):
    """The fault cannot be made on this machine; the message says why."""

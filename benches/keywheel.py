"""A keywheel to be measured, with a database, keys, clients and users of its own."""

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import time
from urllib.parse import urlencode

import load
from process import Process, fail, free_ports

TOKEN, INTROSPECTION, JWKS = "/oauth2/token", "/oauth2/introspect", "/.well-known/jwks.json"
AUDIENCE = "https://api.example.com"
USERS = 200
PASSWORD = "correct horse"
# The password as keywheel hashes it today, so that each login costs what it will cost.
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$HmkejobWF4VuqCQ4WIcqUA$5cQ+E6atGPZBiYebaCcUYsd8SoicRlgAAitrqLVVCdY"


class Keywheel:
    """One worker on the server's processor, unless it is told to have more; over TLS, if it is given a certificate and its key."""

    def __init__(self, stage, binary, folder, database="sqlite://keywheel.db", processors=None, settings=(), tls=None):
        folder.mkdir()
        self.folder, self.binary = folder, binary.resolve()
        self.scheme = "https" if tls else "http"
        processors = processors or {stage.server}
        self.port, self.management = free_ports(2)
        if tls:
            settings = dict(settings) | dict(zip(("KEYWHEEL_TLS_CERTIFICATE", "KEYWHEEL_TLS_PRIVATE_KEY"), map(str, tls)))
        settings = dict(settings) | {
            "DATABASE_URL": database,
            "KEYWHEEL_ISSUER": f"{self.scheme}://127.0.0.1:{self.port}",
            "KEYWHEEL_LISTEN": f"127.0.0.1:{self.port}",
            "KEYWHEEL_MANAGEMENT_LISTEN": f"127.0.0.1:{self.management}",
            "KEYWHEEL_WORKERS": str(len(processors)),
            "KEYWHEEL_SHUTDOWN_DELAY": "0s",
            # Its memory is measured, and not by root alone.
            "KEYWHEEL_CORE_DUMPS": "true",
            # Longer than any measurement.
            "KEYWHEEL_TOKENS_ACCESS_TTL": "1h",
            # The load says from which address each login comes: of one alone they would be taken for guesses.
            "KEYWHEEL_TRUSTED_PROXIES": "127.0.0.1",
        }
        self.server = Process([self.binary, "serve"], processors, folder, environment=settings)
        reaches = ["--scope", "read write", "--audience", AUDIENCE]
        self.service = self.create_client("service", "--grant", "client_credentials", *reaches)
        self.application = self.create_client("application", "--grant", "password", "--grant", "refresh_token", *reaches)
        self.resource_server = self.create_client("resource", "--grant", "client_credentials", "--introspect", *reaches)
        self.import_users()
        with self.server:  # the first start makes the keys
            self.server.wait_for(self.port)

    def create_client(self, name, *arguments):
        """The client's credentials as the value of `Authorization`."""
        client = json.loads(self.command("client", "create", name, *arguments, "--output", "json"))
        pair = f"{client['client_id']}:{client['client_secret']}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def import_users(self):
        lines = [json.dumps({"username": user(number), "password_hash": PASSWORD_HASH}) for number in range(USERS)]
        (self.folder / "users.jsonl").write_text("\n".join(lines) + "\n")
        self.command("user", "import", "users.jsonl")

    def command(self, *arguments):
        ran = subprocess.run(
            [self.binary, *arguments], cwd=self.folder, env=self.server.environment, capture_output=True, text=True
        )
        if ran.returncode != 0:
            fail(f"keywheel {' '.join(arguments[:2])} failed:\n{ran.stderr}")
        return ran.stdout

    def start_to_first_token(self):
        """Milliseconds from the start of the process to a token, keys present and caches cold."""
        begun = time.perf_counter()
        with self.server:
            self.server.wait_for(self.port)
            self.access_tokens(1)
            return (time.perf_counter() - begun) * 1e3

    def __enter__(self):
        with contextlib.ExitStack() as unless_ready:
            unless_ready.enter_context(self.server)
            self.server.wait_for(self.port)
            self.access_tokens(1)
            unless_ready.pop_all()
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)

    def access_tokens(self, number):
        """So many access tokens of the service."""
        answers = self.post(TOKEN, self.service, [urlencode({"grant_type": "client_credentials"})] * number)
        return [answer["access_token"] for answer in answers]

    def refresh_tokens(self, number):
        """So many logins, each with a refresh token."""
        forms = [urlencode(login(number % USERS)) for number in range(number)]
        return [answer["refresh_token"] for answer in self.post(TOKEN, self.application, forms)]

    def introspect(self, caller, token):
        [answer] = self.post(INTROSPECTION, caller, [urlencode({"token": token})])
        return answer

    def post(self, path, authorization, forms):
        """The answers to forms that are posted one after the other, over one connection."""
        headers = {"Authorization": authorization, "Content-Type": "application/x-www-form-urlencoded"}
        with contextlib.closing(self.connection()) as connection:
            return [json.loads(answer_to(connection, "POST", path, form, headers)[0]) for form in forms]

    def fetch(self, path, port=None):
        """A document and its headers."""
        with contextlib.closing(self.connection(port)) as connection:
            return answer_to(connection, "GET", path)

    def connection(self, port=None):
        port = port or self.port
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        # The certificate was made a moment ago, by ourselves.
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=ssl._create_unverified_context())

    def metric(self, name):
        text = self.fetch("/metrics", self.management)[0].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith((name + " ", name + "{")))

    def load(self, path, seconds, authorization, *arguments, headers=(), **more):
        """What wrk measures, with what it took of the server's processor."""
        headers = [f"Authorization: {authorization}", *headers]
        return load.on(self.server, self.port, path, seconds, arguments, headers=headers, scheme=self.scheme, **more)


def answer_to(connection, *request):
    connection.request(*request)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        fail(f"{request[0]} {request[1]} was answered {answer.status}: {content.decode(errors='replace')}")
    return content, answer.headers


def user(number):
    return f"user{number}"


def login(number):
    return {"grant_type": "password", "username": user(number), "password": PASSWORD}

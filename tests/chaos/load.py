"""Clients that behave as real ones do, while keywheel does not: services, people's logins and sessions, introspection, a verifier."""

import base64
import contextlib
import http.client
import json
import random
import socket
import threading
import time
from urllib.parse import urlencode

import jws
from history import OK, REFUSED, UNKNOWN, WRONG, History, Op, hashed

TOKEN, INTROSPECTION, JWKS = "/oauth2/token", "/oauth2/introspect", "/.well-known/jwks.json"
# Longer than keywheel takes for any answer, and shorter than the ten seconds in which a lost one is fetched again.
PATIENCE = 8


def basic(client):
    pair = f"{client['client_id']}:{client['client_secret']}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


class Connection:
    """One keep-alive connection, made anew after each failure, to the first node that is alive or to the next one after a failure."""

    def __init__(self, nodes, timeout=PATIENCE):
        self.nodes, self.timeout, self.connection, self.at = nodes, timeout, None, 0
        # Of the node, when the connection was made.
        self.life = None

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body; raises OSError or HTTPException when there was no answer."""
        try:
            if self.connection is None:
                node = self.nodes[self.at % len(self.nodes)]
                self.life = node.life
                self.connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=self.timeout)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            content = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, answer.headers, content
        except (OSError, http.client.HTTPException):
            self.close()
            self.at += 1
            raise

    def post(self, path, authorization, **form):
        headers = {"Authorization": authorization, "Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, urlencode(form), headers)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def judged(status, headers, content):
    """How an answer is to be taken when it is not a success."""
    if status == 503 and headers.get("Retry-After") and b"temporarily_unavailable" in content:
        return REFUSED, ""
    if status == 408:
        # It stood still while it was reading what was asked: nothing was done.
        return UNKNOWN, ""
    return WRONG, f"{status} {content[:120].decode(errors='replace')}"


class Session:
    """What one login has: its newest refresh token, and the one before."""

    def __init__(self, name, token):
        self.name, self.token, self.before, self.refreshed = name, token, None, 0.0


class Load:
    """Threads that ask until the `with` block ends. Each request goes into the history."""

    def __init__(self, nodes, clients, sessions, refreshers=6, services=2, pause=0.005):
        self.nodes, self.clients, self.sessions = nodes, clients, sessions
        self.refreshers, self.services, self.pause = refreshers, services, pause
        self.history, self.ended, self.held, self.lately = History(), threading.Event(), {}, None
        self.wrong_clock = False
        self.fetches = {"ok": 0, "failed": 0, "longest": 0.0}

    def __enter__(self):
        shares = [self.sessions[number :: self.refreshers] for number in range(self.refreshers)]
        jobs = [(self.refresh, share) for share in shares if share] + [(self.service, number) for number in range(self.services)]
        jobs += [(self.introspect, 0), (self.sign_in, 0), (self.watch, 0)]
        self.threads = [threading.Thread(target=self.work, args=job, daemon=True) for job in jobs]
        for thread in self.threads:
            thread.start()
        deadline = time.monotonic() + 10
        while self.history.first_ok("refresh", 0) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return self

    def __exit__(self, *exception):
        self.ended.set()
        for thread in self.threads:
            thread.join(PATIENCE + 5)

    def work(self, job, argument):
        """A client that breaks down proves nothing."""
        try:
            job(argument)
        except Exception as error:
            self.history.broke(f"the clients of this harness do what they should ({type(error).__name__}: {error})")
            raise

    def tried(self, connection, kind, client, presented, path, authorization, **form):
        """The answer as JSON, if it was one, recorded."""
        start = time.monotonic()
        try:
            status, headers, content = connection.post(path, authorization, **form)
        except (OSError, http.client.HTTPException) as error:
            self.history.add(Op(client, kind, hashed(presented), start, time.monotonic(), UNKNOWN, "", type(error).__name__))
            return None
        end = time.monotonic()
        if status != 200:
            outcome, detail = judged(status, headers, content)
            self.history.add(Op(client, kind, hashed(presented), start, end, outcome, "", detail))
            return None
        answer = json.loads(content)
        self.history.add(Op(client, kind, hashed(presented), start, end, OK, hashed(answer.get("refresh_token"))))
        return answer

    def refresh(self, sessions):
        """Refreshes one session after the other. Who gets no answer asks again with the same token."""
        connection = Connection(self.nodes)
        form = {"grant_type": "refresh_token"}
        while not self.ended.is_set():
            failed = False
            for session in sessions:
                if self.ended.is_set():
                    break
                answer = self.tried(
                    connection, "refresh", session.name, session.token, TOKEN, self.clients["shop"], refresh_token=session.token, **form
                )
                if answer is None:
                    failed = True
                else:
                    session.before, session.token, session.refreshed = session.token, answer["refresh_token"], time.monotonic()
                    self.verify(answer["access_token"])
                time.sleep(self.pause)
            if failed:
                time.sleep(0.1)

    def service(self, number):
        connection, dice = Connection(self.nodes), random.Random(number)
        while not self.ended.is_set():
            answer = self.tried(
                connection, "client_credentials", f"service-{number}", "", TOKEN, self.clients["service"], grant_type="client_credentials"
            )
            if answer is None:
                time.sleep(0.05)
            else:
                self.verify(answer["access_token"])
                if self.lately is None or time.monotonic() - self.lately[1] > 5:
                    self.lately = answer["access_token"], time.monotonic()
            time.sleep(self.pause * dice.random() * 2)

    def introspect(self, _):
        # A resource server is shown the same token again and again.
        connection = Connection(self.nodes)
        while not self.ended.is_set():
            time.sleep(self.pause * 4)
            if self.lately is None or time.monotonic() - self.lately[1] > 20:
                continue
            answer = self.tried(connection, "introspect", "gateway", "", INTROSPECTION, self.clients["gateway"], token=self.lately[0])
            if answer is not None and answer["active"] is not True:
                self.history.broke("a token that lives is active")

    def sign_in(self, _):
        """People, with the right password. That nobody could judge it must not be held against them afterwards."""
        connection = Connection(self.nodes)
        form = {"grant_type": "password", "username": "alice", "password": "correct horse"}
        while not self.ended.is_set():
            self.tried(connection, "login", "alice", "", TOKEN, self.clients["shop"], **form)
            time.sleep(0.2)

    def watch(self, _):
        """Holds the set as a verifier does, and asks every live node for it."""
        connections = [Connection([node], timeout=3) for node in self.nodes]
        while not self.ended.is_set():
            for node, connection in zip(self.nodes, connections):
                before, start = (node.is_alive, node.life), time.monotonic()
                if connection.life != node.life:
                    # It led to a process that is gone, if the node was started again before anybody noticed.
                    connection.close()
                try:
                    status, _, content = connection.ask("GET", JWKS)
                    fine = status == 200
                except (OSError, http.client.HTTPException):
                    fine = False
                if fine:
                    self.held = jws.keys_of(content)
                    self.fetches["ok"] += 1
                    self.fetches["longest"] = max(self.fetches["longest"], time.monotonic() - start)
                elif before == (True, node.life) and node.is_alive:
                    self.fetches["failed"] += 1
                    self.history.broke("a live node answers with its key set")
            time.sleep(0.05)

    def verify(self, token):
        """With the set that is held, whatever it lacks: nothing is fetched for a key that is not in it."""
        if not self.held:
            return
        try:
            jws.claims_of(token, self.held, time.time())
        except jws.Refused as refused:
            self.history.broke(f"every token is verified with the set that is held ({refused})")

    def served_after(self, since, seconds=60):
        """Seconds from `since` until somebody who asked after it got a new refresh token; None if that takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (end := self.history.first_ok("refresh", since)) is not None:
                return end - since
            time.sleep(0.01)
        return None

    def all_live(self, seconds=40):
        """Waits until every session was refreshed anew; those that were not."""
        since = time.monotonic()
        deadline = since + seconds
        while time.monotonic() < deadline and any(session.refreshed < since for session in self.sessions):
            time.sleep(0.05)
        return [session.name for session in self.sessions if session.refreshed < since]


def signed_in(node, clients, number):
    """So many logins."""
    sessions = []
    with contextlib.closing(Connection([node])) as connection:
        for name in range(number):
            status, _, content = connection.post(TOKEN, clients["shop"], grant_type="password", username="alice", password="correct horse")
            assert status == 200, content
            sessions.append(Session(f"session-{name}", json.loads(content)["refresh_token"]))
    return sessions

"""The load generator `bare offer`: requests that are due at fixed instants, and count from then on."""

import base64
import json
import subprocess

from keywheel import TOKEN
from process import fail

FORM_TYPE = "application/x-www-form-urlencoded"


def posted(kind, path, authorization, form, status=200, **headers):
    """A line of a file of requests: a form. Requests of a kind are counted together."""
    return line(kind, "POST", path, headers | {"Authorization": authorization, "Content-Type": FORM_TYPE}, form, status)


def fetched(kind, path, status=200, **headers):
    return line(kind, "GET", path, headers, "", status)


def refreshed(kind, authorization, token):
    """A refresh token that is exchanged, and then the one that was given for it, and so on: a line for each connection."""
    headers = {"Authorization": authorization, "Content-Type": FORM_TYPE}
    form = "grant_type=refresh_token&refresh_token={refresh_token}"
    return line(kind, "POST", TOKEN, headers, form, 200, chain={"member": "refresh_token", "first": token})


def line(kind, method, path, headers, body, status, **more):
    request = {"kind": kind, "method": method, "path": path, "headers": headers, "body": body, "status": status}
    return json.dumps(request | more)


def basic(name, secret):
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def credentials(authorization):
    return base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":", 1)


def evenly(rate, seconds):
    return "even", f"{rate:.3f}", seconds


def at_random(rate, seconds):
    """As from many who know nothing of each other."""
    return "random", f"{rate:.3f}", seconds


def without_pause(count):
    """Each as soon as a connection is free; then a request counts from when it is sent."""
    return "closed", count


class Offer:
    """A load while something else goes on. `refusals` says that some answers may be refusals."""

    def __init__(self, stage, port, requests, pace, connections=64, refusals=False):
        self.refusals = refusals
        command = [stage.bare, "offer", f"127.0.0.1:{port}", requests, connections, *pace]
        self.child = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def result(self):
        said, complaints = self.child.communicate()
        if self.child.returncode != 0:
            fail(f"the load generator failed: {complaints or said}")
        load = json.loads(said)
        if load["unsent"] or (load["bad_status"] and not self.refusals):
            fail(f"{load['bad_status']} answers with a wrong status, {load['unsent']} requests left unsent: {said}")
        return load | {"rate": load["requests"] / load["seconds"]}


def offered(server, *arguments, **more):
    """What became of a load, with what the answers took of the server's processor; the rest as for `Offer`."""
    before = server.processor_seconds()
    load = Offer(*arguments, **more).result()
    return load | {"per_cpu": load["requests"] / (server.processor_seconds() - before)}

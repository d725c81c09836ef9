"""What the Python clients share: the description of the running server, and a way to say which rule failed.

The description is one JSON object, in the file named by the first argument or on standard input:

    issuer, token_endpoint, jwks_uri        of the server
    introspection_endpoint, revocation_endpoint
    alg                                     what the server signs with
    client_id, client_secret                a client as it is registered by default, with the scopes `read` and `write`
    audience                                the one audience registered for it
    simplejwt {client_id, client_secret}    a client with the claim profile simplejwt and the same audience
    elsewhere {client_id, client_secret}    a client with the claim profile simplejwt and another audience
    people {client_id, client_secret}       a client for people (password and refresh_token), with the same scopes and audience
    people_simplejwt {…}                    the same with the claim profile simplejwt
    gateway {client_id, client_secret}      a client of the same audience that may introspect the tokens of others
    user {user_id, username, password}      somebody who signs in
    registration_endpoint                   of the server
    initial_access_token                    registers services with those scopes and that audience
"""

import base64
import json
import sys
import traceback
import urllib.error
import urllib.parse
import urllib.request


class Broken(Exception):
    """A rule does not hold; the message is the rule."""


def check(holds, rule):
    """Raises `Broken` with `rule`, a full sentence, unless it holds."""
    if not holds:
        raise Broken(rule)


def refused(expected, attempt, rule):
    """Raises `Broken` with `rule` unless `attempt()` raises one of the exceptions `expected`; returns that exception."""
    try:
        attempt()
    except expected as refusal:
        return refusal
    raise Broken(rule)


def describe():
    """The description of the running server."""
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            return json.load(file)
    return json.load(sys.stdin)


def run(program):
    """Runs `program(server)` and exits: 0 when every check holds, 1 with a sentence about the rule that failed."""
    try:
        program(describe())
    except Broken as broken:
        sys.exit(f"broken: {broken}")
    except Exception:
        traceback.print_exc()
        sys.exit("broken: the client raised an exception where it should have worked")


def fetch(url):
    """The body of a URL, and its response; redirects are refused, as the strictest verifiers do."""
    opener = urllib.request.build_opener(NoRedirect)
    with opener.open(url, timeout=10) as response:
        check(response.status == 200, f"{url} answers 200, not {response.status}.")
        return response.read(), response


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        raise Broken(f"{req.full_url} answers without a redirect, not {code}.")


def token_response(server, client=None, **parameters):
    """A token response for `client` (the plain one by default), fetched with nothing but the standard library."""
    status, answer = post(
        server["token_endpoint"], client or server, **{"grant_type": "client_credentials", **parameters}
    )
    check(status == 200, f"The token endpoint answers 200, not {status} {answer}.")
    return answer


def post(url, client, **parameters):
    """The status and the JSON of what `url` answers to a form that `client` sends."""
    pair = ":".join(urllib.parse.quote_plus(client[half]) for half in ("client_id", "client_secret"))
    request = urllib.request.Request(
        url,
        data=urllib.parse.urlencode(parameters).encode(),
        headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


def tampered(token):
    """The token with another subject under the same signature."""
    header, claims, signature = token.split(".")
    altered = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    altered["sub"] = altered["user_id"] = "somebody-else"
    claims = base64.urlsafe_b64encode(json.dumps(altered).encode()).rstrip(b"=").decode()
    return ".".join([header, claims, signature])

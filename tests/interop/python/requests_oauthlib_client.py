"""requests-oauthlib and oauthlib: raw Basic, and a changed scope is an exception."""

import os

# oauthlib refuses an http token endpoint otherwise, also on the loopback address.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests  # noqa: E402
from checks import check, refused, run  # noqa: E402
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidScopeError  # noqa: E402
from requests.auth import HTTPBasicAuth  # noqa: E402
from requests_oauthlib import OAuth2Session  # noqa: E402


def program(server):
    for scope in (["read"], ["read", "write"], ["write", "read"], None):
        # A scope in the answer that differs from the requested one raises a Warning here.
        token = fetch_token(server, scope, auth=HTTPBasicAuth(server["client_id"], server["client_secret"]))
        check(token["token_type"] == "Bearer", 'token_type is "Bearer".')
        check(set(token["scope"]) == set(scope or ["read", "write"]), "The granted scope is the requested one, or all.")
        check(token["expires_in"] > 0 and "expires_at" in token, "The answer says when the token expires.")

    by_name = dict(client_id=server["client_id"], client_secret=server["client_secret"])
    fetch_token(server, ["read"], **by_name)
    fetch_token(server, ["read"], include_client_id=True, auth=HTTPBasicAuth(*by_name.values()))
    fetch_token(server, ["read"], include_client_id=True, **by_name)

    refused(
        InvalidScopeError,
        lambda: fetch_token(server, ["read", "not-registered"], **by_name),
        "A scope that is not registered is invalid_scope.",
    )
    refused(
        InvalidClientError,
        lambda: fetch_token(server, ["read"], client_id=server["client_id"], client_secret="wrong"),
        "A wrong secret is invalid_client.",
    )
    check_answers(server)


def fetch_token(server, scope, **how):
    client = BackendApplicationClient(client_id=server["client_id"], scope=scope)
    with OAuth2Session(client=client) as session:
        return session.fetch_token(server["token_endpoint"], **how)


def check_answers(server):
    """What oauthlib hides: statuses and headers."""
    form = {"grant_type": "client_credentials"}
    good = HTTPBasicAuth(server["client_id"], server["client_secret"])
    answer = requests.post(server["token_endpoint"], data=form, auth=good, timeout=10)
    check(answer.status_code == 200, f"Raw Basic is accepted, not {answer.status_code}.")
    check(answer.headers["Content-Type"] == "application/json", "The answer is application/json.")
    check("no-store" in answer.headers["Cache-Control"], "A token is never cached (RFC 6749 5.1).")
    bad = HTTPBasicAuth(server["client_id"], "wrong")
    answer = requests.post(server["token_endpoint"], data=form, auth=bad, timeout=10)
    check(answer.status_code == 401, f"A wrong secret is 401, not {answer.status_code}.")
    check(answer.headers.get("WWW-Authenticate", "").startswith("Basic "), "401 names the scheme that was used.")
    check(answer.json()["error"] == "invalid_client", "A wrong secret is invalid_client.")


run(program)

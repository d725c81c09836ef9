"""requests-oauthlib and oauthlib: raw Basic, a changed scope is an exception, and a session that refreshes by itself."""

import os

# oauthlib refuses an http token endpoint otherwise, also on the loopback address.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests  # noqa: E402
from checks import check, refused, run  # noqa: E402
from oauthlib.oauth2 import (  # noqa: E402
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    LegacyApplicationClient,
)
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
    check_people(server)


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


def check_people(server):
    people, user, endpoint = server["people"], server["user"], server["token_endpoint"]
    by_name = dict(client_id=people["client_id"], client_secret=people["client_secret"])
    basic = HTTPBasicAuth(*by_name.values())
    # The two ways in which a session can authenticate when it refreshes by itself: Basic from the request, or the form; what is
    # in auto_refresh_kwargs goes into the form of every refresh.
    for in_form, with_request, refresh_auth in (({}, by_name, basic), (by_name, {}, None)):
        kept = []
        client = LegacyApplicationClient(client_id=people["client_id"], scope=["read"])
        with OAuth2Session(
            client=client, auto_refresh_url=endpoint, auto_refresh_kwargs=in_form, token_updater=kept.append
        ) as session:

            def sign_in(password, session=session):
                return dict(session.fetch_token(endpoint, username=user["username"], password=password, auth=basic))

            refused(InvalidGrantError, lambda: sign_in("wrong"), "A wrong password is invalid_grant.")
            first = sign_in(user["password"])
            check(first["scope"] == ["read"], "The granted scope is the requested one.")
            check("refresh_token" in first, "A client for people gets a refresh token.")

            session.token = {**first, "expires_at": 1}
            # Any resource will do; nobody asks here for the token.
            response = session.get(server["jwks_uri"], timeout=10, **with_request)
            check(len(kept) == 1, "A session refreshes by itself when expires_at is over.")
            second = dict(kept[0])
            check(second["access_token"] != first["access_token"], "A refresh gives a new access token.")
            check(second["refresh_token"] != first["refresh_token"], "A refresh gives a new refresh token.")
            check(second["scope"] == ["read"], "A refresh gives the scope that was granted.")
            sent = response.request.headers["Authorization"]
            check(sent == f"Bearer {second['access_token']}", "The request carries the new access token.")
            session.get(server["jwks_uri"], timeout=10, **with_request)
            check(len(kept) == 1, "A session does not refresh what is valid.")

            def refresh(token, session=session):
                return dict(session.refresh_token(endpoint, refresh_token=token["refresh_token"], auth=refresh_auth))

            third = refresh(second)
            for dead, rule in (
                (first, "The old refresh token is invalid_grant after the new one was used."),
                (third, "A refresh token used again ends the newest one too."),
            ):
                refused(InvalidGrantError, lambda dead=dead: refresh(dead), rule)


run(program)

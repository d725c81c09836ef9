"""Authlib, as a client that registers itself: RFC 7591, and RFC 7592 with the registration access token as a bearer token.

Authlib has the metadata of clients as a class of its server's side, which is held against what is answered.
"""

import json

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7591 import ClientMetadataClaims
from checks import check, fetch, refused, run

METADATA = {
    "client_name": "Authlib",
    "grant_types": ["client_credentials"],
    "response_types": [],
    "redirect_uris": [],
    "scope": "read",
}


def program(server):
    metadata = json.loads(fetch(server["issuer"] + "/.well-known/oauth-authorization-server")[0])
    check(metadata["registration_endpoint"] == server["registration_endpoint"], "The metadata announces registration.")
    for method in ("client_secret_basic", "client_secret_post"):
        lead(server, {**METADATA, "token_endpoint_auth_method": method})


def lead(server, metadata):
    with bearing(server["initial_access_token"]) as registrar:
        answer = registrar.post(server["registration_endpoint"], json=metadata)
    client = document(answer, 201)
    check_information(server, metadata, client)
    check(isinstance(client["client_secret"], str), "A client is told its secret.")
    check(client["client_secret_expires_at"] == 0, "client_secret_expires_at stands beside it: 0 for never.")
    method = metadata["token_endpoint_auth_method"]
    check(token(server, client, method)["scope"] == "read", "The secret fetches a token at once.")

    url = client["registration_client_uri"]
    with bearing(client["registration_access_token"]) as itself:
        read = document(itself.get(url), 200)
        check_information(server, metadata, read)

        # RFC 7592 2.2: all of it, with what is the server's taken out.
        wider = {**metadata, "client_id": client["client_id"], "client_secret": client["client_secret"], "scope": "read write"}
        updated = document(itself.put(url, json=wider), 200)
        check_information(server, {**metadata, "scope": "read write"}, updated)
        check(token(server, client, method)["scope"] == "read write", "An update holds for the next token.")
        beyond = document(itself.put(url, json={**wider, "scope": "read admin"}), 400)
        check(beyond["error"] == "invalid_client_metadata", "Nobody gets more than the initial token allows.")

        check(itself.delete(url).status_code == 204, "DELETE answers 204.")
        gone = itself.get(url)
        check(gone.status_code == 401, f"A deleted registration answers 401, not {gone.status_code}.")
        check(gone.headers["WWW-Authenticate"].startswith("Bearer "), "A 401 challenges for a bearer token.")
    refusal = refused(OAuthError, lambda: token(server, client, method), "A deleted client gets no token.")
    check(refusal.error == "invalid_client", f"A deleted client is invalid_client, not {refusal.error}.")


def bearing(token):
    return OAuth2Session(token={"access_token": token, "token_type": "Bearer"})


def document(answer, status):
    check(answer.status_code == status, f"The answer is {status}, not {answer.status_code} {answer.text}.")
    check(answer.headers["Content-Type"] == "application/json", "The answer is application/json.")
    return answer.json()


def check_information(server, metadata, client):
    """The client information response (RFC 7591 3.2.1, RFC 7592 3)."""
    check(metadata.items() <= client.items(), f"Everything that was registered is answered: {client}")
    check(client["audience"] == [server["audience"]], "What was left out is what the initial token allows.")
    check(isinstance(client["client_id_issued_at"], int), "client_id_issued_at is an integer.")
    url = f"{server['registration_endpoint']}/{client['client_id']}"
    check(client["registration_client_uri"] == url, "The client is managed one segment below the endpoint.")
    check(None not in client.values(), "No member is null.")
    ClientMetadataClaims(client, {}).validate()


def token(server, client, method):
    with OAuth2Session(client["client_id"], client["client_secret"], token_endpoint_auth_method=method) as session:
        return session.fetch_token(server["token_endpoint"], grant_type="client_credentials")


run(program)

"""Authlib, as a client and as a resource server: metadata (RFC 8414), client_credentials, access tokens (RFC 9068); and for
people: password, refresh_token, introspection (RFC 7662), revocation (RFC 7009).
"""

import json

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from checks import check, fetch, refused, run, tampered
from joserfc import jwt
from joserfc.jwk import KeySet


def program(server):
    metadata = check_metadata(server)
    for method in ("client_secret_basic", "client_secret_post"):
        check(method in metadata["token_endpoint_auth_methods_supported"], f"The metadata lists {method}.")
        token = check_session(server, metadata, method)
        check_resource_server(server, metadata, token)
        check_people(server, metadata, method)


def check_metadata(server):
    url = get_well_known_url(server["issuer"], external=True)
    body, response = fetch(url)
    check(response.headers.get_content_type() == "application/json", "The metadata is application/json.")
    metadata = AuthorizationServerMetadata(json.loads(body))
    metadata.validate()
    check(metadata["issuer"] == server["issuer"], "The issuer of the metadata is the issuer, byte for byte.")
    for member in ("token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri"):
        check(metadata[member] == server[member], f"{member} of the metadata is where it is served.")
    for grant in ("client_credentials", "password", "refresh_token"):
        check(grant in metadata["grant_types_supported"], f"The metadata lists {grant}.")
    check(None not in metadata.values() and [] not in metadata.values(), "No member of the metadata is null or empty.")
    return metadata


def check_session(server, metadata, method):
    """An access token, fetched by a session that authenticates with `method`."""
    endpoint = metadata["token_endpoint"]
    with OAuth2Session(
        server["client_id"],
        server["client_secret"],
        token_endpoint_auth_method=method,
        token_endpoint=endpoint,
        grant_type="client_credentials",
        scope="read",
    ) as session:
        token = session.fetch_token(endpoint)
        check(token["token_type"] == "Bearer", 'token_type is "Bearer".')
        check(token["scope"] == "read", "The granted scope is the requested one.")

        # The session renews by itself, and only when the answer carried expires_in.
        first = token["access_token"]
        session.token = {**token, "expires_at": 1}
        session.ensure_active_token(session.token)
        check(session.token["access_token"] != first, "A session fetches a new token when expires_in is over.")

        refusal = refused(
            OAuthError,
            lambda: session.fetch_token(endpoint, scope="read not-registered"),
            "A scope that is not registered is refused.",
        )
        check(refusal.error == "invalid_scope", f"A scope that is not registered is invalid_scope, not {refusal.error}.")

    with OAuth2Session(server["client_id"], "wrong", token_endpoint_auth_method=method) as stranger:
        refusal = refused(
            OAuthError,
            lambda: stranger.fetch_token(endpoint, grant_type="client_credentials"),
            "A wrong secret is refused.",
        )
        check(refusal.error == "invalid_client", f"A wrong secret is invalid_client, not {refusal.error}.")
    return first


class Validator(JWTBearerTokenValidator):
    def __init__(self, server, metadata, resource_server):
        super().__init__(server["issuer"], resource_server)
        self.jwks = KeySet.import_key_set(json.loads(fetch(metadata["jwks_uri"])[0]))

    def get_jwks(self):
        return self.jwks


def check_resource_server(server, metadata, token):
    validator = Validator(server, metadata, server["audience"])
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, ["read"], request=None)
    check(claims["client_id"] == server["client_id"], "client_id is the client's.")
    refused(
        InsufficientScopeError,
        lambda: validator.validate_token(claims, ["write"], request=None),
        "The token holds no scope that was not asked for.",
    )
    refused(InvalidTokenError, lambda: validator.authenticate_token(tampered(token)), "A tampered token is refused.")
    elsewhere = Validator(server, metadata, "https://wrong.example")
    refused(
        InvalidTokenError,
        lambda: elsewhere.validate_token(elsewhere.authenticate_token(token), ["read"], request=None),
        "A token for another audience is refused.",
    )

    # Authlib's validator accepts a token without typ; joserfc shows what is there.
    header = jwt.decode(token, validator.jwks, algorithms=["RS256"]).header
    check(header["typ"] == "at+jwt", "typ is at+jwt (RFC 9068 2.1).")


def check_people(server, metadata, method):
    """One user, signed in by a session that authenticates with `method`: from the password to a stolen token and a logout."""
    user = server["user"]
    kept = []

    def keep(token, **_):
        kept.append(token)

    with (
        session_of(server["people"], metadata, method, scope="read", update_token=keep) as session,
        session_of(server["gateway"], metadata, method) as gateway,
    ):
        first = sign_in(session, user)
        check(first["scope"] == "read", "The granted scope is the requested one.")
        claims = Validator(server, metadata, server["audience"]).authenticate_token(first["access_token"])
        check(claims["sub"] == user["user_id"], "sub of a user's token is the user's id.")
        check(claims["client_id"] == server["people"]["client_id"], "client_id is the client that signed the user in.")
        check(claims["scope"] == "read", "scope is the granted scope.")

        second = dict(session.refresh_token())
        check(second["refresh_token"] != first["refresh_token"], "A refresh gives a new refresh token.")
        check(second["access_token"] != first["access_token"], "A refresh gives a new access token.")
        check(second["scope"] == "read", "A refresh gives no more scope than was granted.")
        session.token = {**second, "expires_at": 1}
        session.ensure_active_token(session.token)
        third = dict(session.token)
        check(len({token["refresh_token"] for token in (first, second, third)}) == 3, "A session refreshes by itself.")
        check(kept[-1]["refresh_token"] == third["refresh_token"], "A session hands over what it refreshed.")

        check_introspection(server, metadata, session, gateway, second, third)

        # Used again after its successor was: somebody else has it.
        refusal = refused(
            OAuthError,
            lambda: session.refresh_token(refresh_token=first["refresh_token"]),
            "The old refresh token is refused after the new one was used.",
        )
        check(refusal.error == "invalid_grant", f"A refresh token used again is invalid_grant, not {refusal.error}.")
        check_ended(metadata, session, gateway, third, "A refresh token used again")

        token = sign_in(session, user)
        for _ in range(2):
            response = session.revoke_token(
                metadata["revocation_endpoint"], token=token["refresh_token"], token_type_hint="refresh_token"
            )
            check(response.status_code == 200, f"A revocation answers 200, also when repeated, not {response.status_code}.")
        check_ended(metadata, session, gateway, token, "Revocation")

        refusal = refused(OAuthError, lambda: sign_in(session, {**user, "password": "wrong"}), "A wrong password is refused.")
        check(refusal.error == "invalid_grant", f"A wrong password is invalid_grant, not {refusal.error}.")


def session_of(client, metadata, method, **how):
    return OAuth2Session(
        client["client_id"],
        client["client_secret"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        token_endpoint=metadata["token_endpoint"],
        **how,
    )


def sign_in(session, user):
    """A copy of the token, because the session changes its own. Authlib takes the grant from the parameters."""
    return dict(session.fetch_token(username=user["username"], password=user["password"]))


def introspected(metadata, session, token, kind):
    response = session.introspect_token(metadata["introspection_endpoint"], token=token[kind], token_type_hint=kind)
    check(response.status_code == 200, f"Introspection answers 200, not {response.status_code} {response.text}.")
    return response.json()


def check_introspection(server, metadata, session, gateway, rotated, newest):
    answer = introspected(metadata, gateway, newest, "access_token")
    expected = {
        "active": True,
        "iss": server["issuer"],
        "sub": server["user"]["user_id"],
        "username": server["user"]["username"],
        "client_id": server["people"]["client_id"],
        "aud": server["audience"],
        "scope": "read",
        "token_type": "Bearer",
    }
    check(expected.items() <= answer.items(), f"Introspection describes the access token: {answer}")
    check(answer["exp"] - answer["iat"] == newest["expires_in"], "exp is iat plus expires_in.")
    check(introspected(metadata, session, newest, "refresh_token")["active"], "A client's newest refresh token is active.")
    for who, token, rule in (
        (session, rotated, "A refresh token that was exchanged is not active, and nothing is said of it."),
        (gateway, newest, "A refresh token is of no use to a resource server (RFC 7662 4)."),
    ):
        check(introspected(metadata, who, token, "refresh_token") == {"active": False}, rule)


def check_ended(metadata, session, gateway, token, what):
    inactive = introspected(metadata, gateway, token, "access_token")
    check(inactive == {"active": False}, f"{what} ends the access token for who introspects: {inactive}")
    refusal = refused(
        OAuthError, lambda: session.refresh_token(refresh_token=token["refresh_token"]), f"{what} ends the refresh token."
    )
    check(refusal.error == "invalid_grant", f"An ended refresh token is invalid_grant, not {refusal.error}.")


run(program)

"""Authlib, as a client and as a resource server: metadata (RFC 8414), client_credentials, access tokens (RFC 9068)."""

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


def check_metadata(server):
    url = get_well_known_url(server["issuer"], external=True)
    body, response = fetch(url)
    check(response.headers.get_content_type() == "application/json", "The metadata is application/json.")
    metadata = AuthorizationServerMetadata(json.loads(body))
    metadata.validate()
    check(metadata["issuer"] == server["issuer"], "The issuer of the metadata is the issuer, byte for byte.")
    for member in ("token_endpoint", "jwks_uri"):
        check(metadata[member] == server[member], f"{member} of the metadata is where it is served.")
    check("client_credentials" in metadata["grant_types_supported"], "The metadata lists client_credentials.")
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


run(program)

"""An authorization server that gives one client RS256 access tokens for client_credentials, and keeps nothing."""

import hmac

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask
from joserfc.jwk import KeySet, RSAKey

API = "https://api.example.com"
SCOPES = {"read", "write"}
# Parsed once: what reads it from a file for each token is slower.
KEYS = KeySet([RSAKey.generate_key(2048, parameters={"use": "sig", "alg": "RS256"}, auto_kid=True)])


class Client(ClientMixin):
    """The one that asks. In memory, and its secret is compared as it is: a database and a hash would cost more."""

    client_id, client_secret = "service", "a-secret-of-forty-three-characters-or-more-0"

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return " ".join(word for word in (scope or "read write").split() if word in SCOPES)

    def check_client_secret(self, client_secret):
        return hmac.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials"

    def check_response_type(self, response_type):
        return False


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return KEYS

    def get_audiences(self, client, user, scope):
        return API


CLIENT = Client()
app = Flask(__name__)
server = AuthorizationServer(
    app,
    query_client=lambda client_id: CLIENT if client_id == CLIENT.client_id else None,
    # An access token that is a JWT has to be kept no more than ours.
    save_token=lambda token, request: None,
)
server.register_grant(grants.ClientCredentialsGrant)
server.register_token_generator(
    "default", Tokens(issuer="http://127.0.0.1", expires_generator=lambda client, grant_type: 600)
)


@app.post("/token")
def token():
    return server.create_token_response()


@app.get("/jwks")
def jwks():
    return KEYS.as_dict(private=False)

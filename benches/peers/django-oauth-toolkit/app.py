"""A Django that gives one client RS256 access tokens for client_credentials, as django-oauth-toolkit is shipped.

`python app.py SECRET_IS` fills an empty database: a client whose secret is `hashed`, as it is by default, or `plain`.
"""

import os
import sys
import time
import uuid

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from jwcrypto import jwk, jwt

API = "https://api.example.com"
KEY = jwk.JWK.generate(kty="RSA", size=2048, use="sig", alg="RS256")


def access_token(request, refresh_token=False):
    """The toolkit makes random tokens and leaves JWTs to such a function; jwcrypto is what it signs its ID tokens with."""
    now = int(time.time())
    claims = {
        "iss": "http://127.0.0.1", "sub": request.client.client_id, "client_id": request.client.client_id, "aud": API,
        "iat": now, "exp": now + 600, "jti": uuid.uuid4().hex, "scope": " ".join(request.scopes),
    }
    token = jwt.JWT(header={"alg": "RS256", "typ": "at+jwt", "kid": KEY.thumbprint()}, claims=claims)
    token.make_signed_token(KEY)
    return token.serialize()


settings.configure(
    DEBUG=False,
    SECRET_KEY="nothing here is secret, and nothing is signed with this",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    # What the token endpoint needs; a project that has sessions and an admin has more.
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": os.environ["PEER_POSTGRES_PORT"],
            "NAME": os.environ["PEER_DATABASE"],
            "USER": "postgres",
            # Connections are kept, as is recommended for production.
            "CONN_MAX_AGE": 600,
        }
    },
    OAUTH2_PROVIDER={"ACCESS_TOKEN_GENERATOR": f"{__name__}.access_token", "ACCESS_TOKEN_EXPIRE_SECONDS": 600},
)

django.setup()
# Only now: what it includes has models.
urlpatterns = [path("", include("oauth2_provider.urls"))]
application = get_wsgi_application()


def fill(secret_is):
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    Application.objects.create(
        client_id="service",
        client_secret="a-secret-of-forty-three-characters-or-more-0",
        hash_client_secret=secret_is == "hashed",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
        name="service",
    )


if __name__ == "__main__":
    fill(sys.argv[1])

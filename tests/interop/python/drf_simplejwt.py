"""Django REST framework with simplejwt, which knows nothing of keywheel but the URL of its keys.

Each case is a Django project of its own, hence a process of its own: simplejwt reads its settings when it is imported.
"""

import json
import subprocess
import sys

import django
from checks import check, post, run, tampered, token_response
from django.conf import settings

CASES = ("default", "mapped")


def program(server):
    for case in CASES:
        child = subprocess.run([sys.executable, __file__, case], input=json.dumps(server), text=True, check=False)
        check(child.returncode == 0, f"Every check of the case {case} holds.")


def configure(server, case):
    names = {
        # What a project writes that was built for simplejwt's own tokens; its client has the claim profile simplejwt.
        "default": {},
        # What a project writes for plain RFC 9068 tokens.
        "mapped": {"TOKEN_TYPE_CLAIM": None, "USER_ID_CLAIM": "sub", "USER_ID_FIELD": "username"},
    }
    settings.configure(
        SECRET_KEY="not used: keywheel signs",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
        SIMPLE_JWT={
            "ALGORITHM": "RS256",
            "JWK_URL": server["jwks_uri"],
            "ISSUER": server["issuer"],
            "AUDIENCE": server["audience"],
            **names[case],
        },
    )
    django.setup()


def routes():
    """The project: one view for services, which need no row in the database, and one for users of the database."""
    from django.urls import path
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView
    from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication

    class Services(APIView):
        authentication_classes = [JWTStatelessUserAuthentication]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response({"user": request.user.id, "scope": request.auth["scope"]})

    class Users(APIView):
        authentication_classes = [JWTAuthentication]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response({"user": request.user.username})

    return [path("services", Services.as_view()), path("users", Users.as_view())]


def default(server):
    client = server["simplejwt"]
    token = token_response(server, client, scope="read")["access_token"]
    status, body = get("/services", token)
    check(status == 200, f"simplejwt accepts the token of a client with its profile: {status} {body}")
    check(body == {"user": client["client_id"], "scope": "read"}, f"user_id is the subject: {body}")
    status, body = get("/services", token_response(server)["access_token"])
    check(status == 401, "Without the profile the default claim names do not work, or this case shows nothing.")
    check_refusals(server, "/services", token)
    check_life(server)


def check_life(server):
    """The life of a user's tokens under simplejwt, with keywheel in the place of its views: obtain, use, refresh, blacklist."""
    client, user = server["people_simplejwt"], server["user"]

    # TokenObtainPairView
    pair = token_response(
        server, client, grant_type="password", username=user["username"], password=user["password"], scope="read"
    )
    check_user(server, pair)
    check_refusals(server, "/services", pair["access_token"])
    status, body = get("/services", pair["refresh_token"])
    check(status == 401, f"A refresh token opens no view: {status} {body}")

    # TokenRefreshView, with ROTATE_REFRESH_TOKENS
    refreshed = token_response(server, client, grant_type="refresh_token", refresh_token=pair["refresh_token"])
    check(refreshed["refresh_token"] != pair["refresh_token"], "A refresh gives a new refresh token.")
    check(refreshed["access_token"] != pair["access_token"], "A refresh gives a new access token.")
    check_user(server, refreshed)

    # TokenBlacklistView, which simplejwt answers with 200 and {} too
    status, body = post(server["revocation_endpoint"], client, token=refreshed["refresh_token"])
    check((status, body) == (200, {}), f"A revocation answers 200 and an empty object, not {status} {body}.")
    for token in (refreshed, pair):
        status, body = post(
            server["token_endpoint"], client, grant_type="refresh_token", refresh_token=token["refresh_token"]
        )
        check((status, body.get("error")) == (400, "invalid_grant"), f"A blacklisted refresh token is refused: {status} {body}")
    # As with simplejwt, who looks at the keys alone accepts an access token until it expires; who introspects does not.
    check_user(server, refreshed)
    status, body = post(server["introspection_endpoint"], server["gateway"], token=refreshed["access_token"])
    check((status, body) == (200, {"active": False}), f"After a revocation the access token is not active: {status} {body}")


def check_user(server, answer):
    status, body = get("/services", answer["access_token"])
    check(status == 200, f"simplejwt accepts the token of a user: {status} {body}")
    check(body["user"] == server["user"]["user_id"], f"user_id is the user's id: {body}")
    check(body["scope"] == "read", f"The scope is the one that the user signed in for, also after a refresh: {body}")


def mapped(server):
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    User.objects.create(username=server["client_id"])
    token = token_response(server, scope="read")["access_token"]
    status, body = get("/services", token)
    check(status == 200, f"simplejwt accepts a plain token when its claim names are mapped: {status} {body}")
    check(body == {"user": server["client_id"], "scope": "read"}, f"sub is the user: {body}")
    status, body = get("/users", token)
    check(status == 200, f"simplejwt finds the user of the token in the database: {status} {body}")
    check(body == {"user": server["client_id"]}, f"sub is the name of the user: {body}")
    for path in ("/services", "/users"):
        check_refusals(server, path, token)


def check_refusals(server, path, token):
    elsewhere = token_response(server, server["elsewhere"])["access_token"]
    for wrong, what in ((tampered(token), "A tampered token"), (elsewhere, "A token for another audience"), (None, "No token")):
        status, body = get(path, wrong)
        check(status == 401, f"{what} is 401, not {status} {body}")


def get(path, token):
    from rest_framework.test import APIClient

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = APIClient().get(path, headers=headers)
    return response.status_code, response.json()


def one_case(case):
    def of(server):
        configure(server, case)
        global urlpatterns
        urlpatterns = routes()
        {"default": default, "mapped": mapped}[case](server)

    return of


if len(sys.argv) > 1 and sys.argv[1] in CASES:
    run(one_case(sys.argv.pop(1)))
else:
    run(program)

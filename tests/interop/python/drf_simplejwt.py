"""Django REST framework with simplejwt, which knows nothing of keywheel but the URL of its keys.

Each case is a Django project of its own, hence a process of its own: simplejwt reads its settings when it is imported.
"""

import json
import subprocess
import sys

import django
from checks import check, run, tampered, token_response
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

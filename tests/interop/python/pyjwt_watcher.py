"""A resource server with the cache that PyJWKClient has when nobody configures it; see ../node/watcher.mjs."""

import json
import sys
import threading
import time

import jwt
from checks import describe, token_response


def main():
    server = describe()
    keys = jwt.PyJWKClient(server["jwks_uri"])
    newest = {}
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        begun = time.time()
        token = token_response(server)["access_token"]
        newest[jwt.get_unverified_header(token)["kid"]] = token
        for kid, token in newest.items():
            line = {"verifier": "PyJWKClient", "kid": kid, "at": int(time.time() * 1000), "error": verify(server, keys, token)}
            print(json.dumps(line), flush=True)
        ended.wait(max(0.0, begun + 1.0 - time.time()))


def verify(server, keys, token):
    try:
        key = keys.get_signing_key_from_jwt(token)
        jwt.decode(token, key, algorithms=["RS256"], audience=server["audience"], issuer=server["issuer"])
    except jwt.PyJWTError as error:
        return f"{type(error).__name__} {error}"


main()

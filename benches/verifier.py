"""A resource server as it should be: it verifies RS256 with a key set that it fetched once, and has nothing of keywheel in it."""

import base64
import hashlib
import json

# What is in front of a SHA-256 in a signature (RFC 8017 §9.2).
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(decoded(text), "big")


def kid(token):
    return json.loads(decoded(token.split(".")[0]))["kid"]


def verifies(token, key_set):
    """Whether one of the keys of the set signed the token."""
    signed, _, signature = token.rpartition(".")
    for key in key_set["keys"]:
        if key["kid"] == kid(token):
            modulus = number(key["n"])
            length = (modulus.bit_length() + 7) // 8
            ending = b"\0" + SHA256 + hashlib.sha256(signed.encode()).digest()
            expected = b"\0\1".ljust(length - len(ending), b"\xff") + ending
            return pow(number(signature), number(key["e"]), modulus).to_bytes(length, "big") == expected
    return False

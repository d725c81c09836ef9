"""RS256 as a resource server verifies it, with nothing but the standard library."""

import base64
import hashlib
import json

# EMSA-PKCS1-v1_5 for SHA-256 (RFC 8017 §9.2): what stands before the hash.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class Refused(Exception):
    """The token is not verified; the message says why."""


def keys_of(document):
    """The keys of a JWK set by their identifiers."""
    number = lambda text: int.from_bytes(decoded(text), "big")
    return {key["kid"]: (number(key["n"]), number(key["e"])) for key in json.loads(document)["keys"]}


def claims_of(token, keys, now, leeway=5):
    """The claims of a token that one of `keys` verifies at `now`."""
    head, body, signature = token.split(".")
    kid = json.loads(decoded(head))["kid"]
    if kid not in keys:
        raise Refused(f"key {kid[:8]} is not in the set that is held")
    modulus, exponent = keys[kid]
    size = (modulus.bit_length() + 7) // 8
    shown = pow(int.from_bytes(decoded(signature), "big"), exponent, modulus).to_bytes(size, "big")
    digest = hashlib.sha256(f"{head}.{body}".encode()).digest()
    padding = b"\xff" * (size - 3 - len(DIGEST_INFO) - len(digest))
    if shown != b"\x00\x01" + padding + b"\x00" + DIGEST_INFO + digest:
        raise Refused("the signature is wrong")
    claims = json.loads(decoded(body))
    if claims["iat"] > now + leeway:
        raise Refused(f"it is issued {claims['iat'] - now:.0f} s in the future")
    if claims["exp"] <= now - leeway:
        raise Refused(f"it expired {now - claims['exp']:.0f} s ago")
    return claims


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

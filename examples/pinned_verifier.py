"""Verifies access tokens under a pinned certificate authority: a key that the authority certified is accepted without having
been seen before, wherever it came from, and no other is. Needs PyJWT and cryptography.

    pinned_verifier.py CA_PEM JWKS_JSON ISSUER AUDIENCE TOKEN
"""

import base64
import json
import sys
from datetime import datetime, timezone

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature


class Refused(Exception):
    """The key of the token is not one of the pinned authority."""


def verify(token, jwks, pinned, issuer, audience, now=None):
    """The claims of a token. `pinned` are certificates of authorities, `jwks` is a key set from anywhere."""
    now = now or datetime.now(timezone.utc)
    kid = jwt.get_unverified_header(token).get("kid")
    jwk = next((key for key in jwks["keys"] if key["kid"] == kid), None)
    if jwk is None or len(jwk.get("x5c", [])) != 1:
        raise Refused("the set has no key of this name with one certificate")
    leaf = x509.load_der_x509_certificate(base64.b64decode(jwk["x5c"][0]))
    authority = next((authority for authority in pinned if issued(leaf, authority)), None)
    if authority is None:
        raise Refused("no pinned authority issued the certificate")
    for certificate in (leaf, authority):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Refused("a certificate is not valid now")
    extension = leaf.extensions.get_extension_for_class
    if extension(x509.BasicConstraints).value.ca or not extension(x509.KeyUsage).value.digital_signature:
        raise Refused("the certificate is not one for signatures")
    if extension(x509.SubjectAlternativeName).value.get_values_for_type(x509.UniformResourceIdentifier) != [issuer]:
        raise Refused("the certificate is of another issuer")
    key = jwt.PyJWK(jwk).key
    if key.public_numbers() != leaf.public_key().public_numbers():
        raise Refused("n and e are not the key of the certificate")
    return jwt.decode(token, key, algorithms=["RS256"], issuer=issuer, audience=audience)


def issued(leaf, authority):
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


if __name__ == "__main__":
    ca, keys, issuer, audience, token = sys.argv[1:]
    with open(ca, "rb") as ca, open(keys, encoding="utf-8") as keys:
        print(verify(token, json.load(keys), x509.load_pem_x509_certificates(ca.read()), issuer, audience))

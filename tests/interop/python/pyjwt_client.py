"""PyJWT's PyJWKClient, and `cryptography` for the certificates: what most Python resource servers do."""

import base64
import hashlib
import json
import re
import time
from datetime import datetime, timezone

import jwt
from checks import Broken, check, fetch, refused, run, tampered, token_response
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def program(server):
    answer = token_response(server, scope="read")
    check(answer.get("token_type") == "Bearer", 'token_type is "Bearer".')
    check(type(answer.get("expires_in")) is int, "expires_in is an integer.")
    check(answer.get("scope") == "read", "The answer carries the granted scope.")
    check("refresh_token" not in answer, "client_credentials gives no refresh token (RFC 6749 4.4.3).")
    check(None not in answer.values(), "No member of the answer is null.")

    header, claims = verify(server, answer["access_token"])
    check_header(server, header)
    check_claims(server, claims, answer)
    check_refusals(server, answer["access_token"])
    check_profile(server)

    body, response = fetch(server["jwks_uri"])
    check("max-age=" in (response.headers["Cache-Control"] or ""), "The JWK set says how long it may be kept.")
    check(response.headers.get_content_type() == "application/json", "The JWK set is application/json.")
    keys = json.loads(body)["keys"]
    kids = [key["kid"] for key in keys]
    check(len(keys) >= 2, "The key that signs next is published before it signs.")
    check(len(set(kids)) == len(kids), "Every kid is unique.")
    check(header["kid"] in kids, "The kid of the token is in the JWK set.")
    authority = x509.load_pem_x509_certificate(fetch(server["issuer"] + "/.well-known/keywheel/ca.pem")[0])
    for key in keys:
        check_key(server, key, authority)


def verify(server, token):
    """Header and claims, verified with the key that PyJWKClient finds by the token's kid."""
    key = jwt.PyJWKClient(server["jwks_uri"]).get_signing_key_from_jwt(token)
    verified = jwt.decode_complete(
        token,
        key,
        algorithms=[server["alg"]],
        audience=server["audience"],
        issuer=server["issuer"],
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
    )
    return verified["header"], verified["payload"]


def check_header(server, header):
    check(set(header) == {"alg", "kid", "typ"}, f"The header is alg, kid and typ alone, not {sorted(header)}.")
    check(header["alg"] == server["alg"], f"alg is {server['alg']}.")
    check(header["typ"] == "at+jwt", "typ is at+jwt (RFC 9068 2.1).")


def check_claims(server, claims, answer):
    expected = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"}
    check(set(claims) == expected, f"The claims are those of RFC 9068 2.2 with scope, not {sorted(claims)}.")
    for name in ("iss", "sub", "jti", "client_id", "scope"):
        check(isinstance(claims[name], str), f"{name} is a string.")
    for name in ("exp", "iat"):
        check(type(claims[name]) is int, f"{name} is an integer.")
    check(claims["aud"] == server["audience"], "aud is a plain string when there is one audience.")
    check(claims["sub"] == claims["client_id"] == server["client_id"], "sub is the client_id for client_credentials.")
    check(claims["scope"] == "read", "scope is the granted scope.")
    check(claims["iat"] <= time.time(), "iat is not in the future.")
    check(claims["exp"] - claims["iat"] == answer["expires_in"], "exp is iat plus expires_in.")
    again = jwt.decode(token_response(server)["access_token"], options={"verify_signature": False})
    check(again["jti"] != claims["jti"], "jti is unique.")
    check(set(again["scope"].split(" ")) == {"read", "write"}, "No scope asked means all that is registered.")


def check_refusals(server, token):
    refused(
        jwt.InvalidAudienceError,
        lambda: verify({**server, "audience": "https://wrong.example"}, token),
        "PyJWT refuses the token for another audience.",
    )
    refused(
        jwt.InvalidIssuerError,
        lambda: verify({**server, "issuer": server["issuer"] + "/"}, token),
        "The issuer is the configured one, byte for byte.",
    )
    refused(jwt.InvalidSignatureError, lambda: verify(server, tampered(token)), "PyJWT refuses a tampered token.")


def check_profile(server):
    client = server["simplejwt"]
    _, claims = verify(server, token_response(server, client)["access_token"])
    check(claims.get("token_type") == "access", 'The profile simplejwt adds "token_type": "access".')
    check(claims.get("user_id") == client["client_id"], "The profile simplejwt adds user_id, the subject.")


def check_key(server, key, authority):
    kid = key["kid"]
    check(not PRIVATE_MEMBERS & set(key), "A published key has no private member.")
    kty = "EC" if server["alg"] == "ES256" else "RSA"
    check((key["kty"], key["use"], key["alg"]) == (kty, "sig", server["alg"]), f"A key has kty {kty}, use sig and alg {server['alg']}.")
    check("key_ops" not in key, "A key has no key_ops.")
    check(kid == thumbprint(key), "kid is the RFC 7638 thumbprint.")
    public = public_key(key)

    check(len(key["x5c"]) == 1, "x5c holds the leaf alone.")
    der = base64.b64decode(key["x5c"][0], validate=True)
    leaf = x509.load_der_x509_certificate(der)
    check(leaf.public_key() == public, "The key of x5c[0] is the key.")
    check(key["x5t#S256"] == base64url(hashlib.sha256(der).digest()), "x5t#S256 is the SHA-256 of the certificate, base64url.")
    check_certificate(leaf, authority)

    pem = load_pem_public_key(fetch(f"{server['issuer']}/.well-known/keywheel/keys/{kid}.pem")[0])
    check(pem == public, "The PEM download of a kid is its public key.")


def public_key(key):
    if key["kty"] == "EC":
        check(key["crv"] == "P-256", "The curve is P-256.")
        for member in ("x", "y"):
            check(BASE64URL.fullmatch(key[member]) and len(key[member]) == 43, f"{member} is 32 octets in base64url (RFC 7518 6.2.1.2).")
        x, y = (int.from_bytes(base64.urlsafe_b64decode(key[member] + "="), "big") for member in ("x", "y"))
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    public = RSAPublicNumbers(integer(key, "e"), integer(key, "n")).public_key()
    check(public.key_size >= 2048, "A key has 2048 bits or more.")
    return public


def check_certificate(leaf, authority):
    try:
        leaf.verify_directly_issued_by(authority)
    except Exception as error:
        raise Broken(f"The certificate is issued directly by the CA of /.well-known/keywheel/ca.pem: {error!r}") from error
    now = datetime.now(timezone.utc)
    for certificate in (leaf, authority):
        current = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
        check(current, "Certificates are valid now, also of keys that are only published.")
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    check(usage.digital_signature and not usage.key_cert_sign, "The key usage of the leaf is digitalSignature.")
    check(basic_constraints(authority).ca, "The CA certificate is one of a CA.")
    check(not basic_constraints(leaf).ca, "The leaf is no CA.")
    check(authority.public_bytes(Encoding.DER) != leaf.public_bytes(Encoding.DER), "The leaf is not the CA itself.")


def basic_constraints(certificate):
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def thumbprint(key):
    """RFC 7638: SHA-256 over the required members, in lexicographic order, without whitespace."""
    required = ("crv", "kty", "x", "y") if key["kty"] == "EC" else ("e", "kty", "n")
    members = {name: key[name] for name in required}
    return base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def integer(key, member):
    text = key[member]
    check(BASE64URL.fullmatch(text), f"{member} is base64url without padding.")
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    check(octets[0] != 0, f"{member} has no leading zero octet (RFC 7518 6.3.1.1).")
    return int.from_bytes(octets, "big")


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


run(program)

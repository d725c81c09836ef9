"""examples/pinned_verifier.py: who pinned the authority accepts a key that it has never seen, and nothing that only looks like one.

The description holds, besides what checks.py says: ca, the pinned certificate as it was before the keys turned; verifier, the
example; before and after, a token of each side of the turn.
"""

import base64
import copy
import datetime
import importlib.util
import json
import subprocess
import sys
import tempfile

import jwt
from checks import check, fetch, refused, run, tampered
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


def program(server):
    example = load(server["verifier"])
    pinned = x509.load_pem_x509_certificates(server["ca"].encode())
    jwks = json.loads(fetch(server["jwks_uri"])[0])
    kids = [jwt.get_unverified_header(server[token])["kid"] for token in ("before", "after")]
    check(kids[0] != kids[1], "The keys turned between the two tokens.")

    def verify(token=server["after"], keys=jwks, authorities=pinned, issuer=server["issuer"], now=None):
        return example.verify(token, keys, authorities, issuer, server["audience"], now)

    for token in ("before", "after"):
        claims = verify(server[token])
        check(claims["client_id"] == server["client_id"], "A key is accepted by its certificate alone, also one never seen.")
    command_line(server, jwks)

    def refuses(rule, **bad):
        refused(example.Refused, lambda: verify(**bad), rule)

    def forged(change):
        """The key set with another entry for the key that signed the newer token."""
        keys = copy.deepcopy(jwks)
        change(next(key for key in keys["keys"] if key["kid"] == kids[1]))
        return keys

    lookalike, stolen = authority(pinned[0].subject)
    refuses("A certificate of another authority is refused, also under the same name.", authorities=[lookalike])
    leaf = sign(lookalike, stolen, kids[1], server["issuer"], own_key := new_key())
    refuses("A key that somebody else certified is refused.", keys=forged(lambda key: replace(key, own_key, leaf)))
    refuses("Nothing pinned means nothing accepted.", authorities=[])
    refuses("The certificate names the issuer.", issuer="https://other.example")
    older = next(key for key in jwks["keys"] if key["kid"] == kids[0])
    refuses("A certificate of another key is refused.", keys=forged(lambda key: key.update(x5c=older["x5c"])))
    refuses("A key without certificate is refused.", keys=forged(lambda key: key.pop("x5c")))
    root = base64.b64encode(pinned[0].public_bytes(Encoding.DER)).decode()
    refuses("The authority itself is no signing key.", keys=forged(lambda key: key.update(x5c=[root])))
    refuses("A chain of two is refused.", keys=forged(lambda key: key["x5c"].append(root)))
    for years in (-30, 30):
        then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=365 * years)
        refuses("A certificate is refused before and after its time.", now=then)
    refused(jwt.InvalidSignatureError, lambda: verify(tampered(server["after"])), "A tampered token is refused.")


def load(path):
    specification = importlib.util.spec_from_file_location("pinned_verifier", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def command_line(server, jwks):
    with tempfile.NamedTemporaryFile("w") as ca, tempfile.NamedTemporaryFile("w") as keys:
        ca.write(server["ca"])
        ca.flush()
        json.dump(jwks, keys)
        keys.flush()
        arguments = [server["verifier"], ca.name, keys.name, server["issuer"], server["audience"], server["after"]]
        output = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    check(server["client_id"] in output.stdout, f"The example is a program, too: {output.stderr}")


def new_key():
    return rsa.generate_private_key(65537, 2048)


def authority(name):
    """An authority of somebody else under a name."""
    key = new_key()
    certificate = (
        builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )
    return certificate, key


def sign(authority, authority_key, kid, issuer, key):
    """A certificate with everything that one of keywheel has, but of another authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kid)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(issuer)])
    usage = [name == "digital_signature" for name in USAGES]
    return (
        builder(subject, authority.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*usage), critical=True)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    " encipher_only decipher_only"
).split()


def builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),
        not_valid_after=now + datetime.timedelta(days=1),
    )


def replace(jwk, key, certificate):
    numbers = key.public_key().public_numbers()
    for member, number in (("n", numbers.n), ("e", numbers.e)):
        octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
        jwk[member] = base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    jwk["x5c"] = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]


run(program)

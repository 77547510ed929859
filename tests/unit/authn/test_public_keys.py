"""Key files are read as kube-apiserver reads them, every mistake with its place and without the key."""

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from proxy.authn.public_keys import InvalidKeyFile, parse_public_keys
from proxy.authn.signing_keys import SigningKeys
from tests.support.credentials import Authority, encode

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = Authority()
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PLAIN = serialization.NoEncryption()

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def private_pem(key: PrivateKey, file_format: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(PEM, file_format, PLAIN)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(PEM, SPKI)


def key_id(key: PrivateKey) -> str:
    """As kube-apiserver makes it."""
    der = key.public_key().public_bytes(serialization.Encoding.DER, SPKI)
    return encode(hashlib.sha256(der).digest()).decode()


def holds(keys: SigningKeys, key: PrivateKey, algorithm: str) -> bool:
    return len(list(keys.candidates(key_id(key), algorithm))) == 1


@pytest.mark.parametrize(
    ("pem", "key", "algorithm"),
    [
        (public_pem(RSA), RSA, "RS256"),
        (private_pem(RSA, serialization.PrivateFormat.TraditionalOpenSSL), RSA, "RS256"),
        (private_pem(RSA, serialization.PrivateFormat.PKCS8), RSA, "RS256"),
        (public_pem(EC), EC, "ES256"),
        (private_pem(EC, serialization.PrivateFormat.TraditionalOpenSSL), EC, "ES256"),
        (private_pem(EC, serialization.PrivateFormat.PKCS8), EC, "ES256"),
        (AUTHORITY.pem, AUTHORITY.key, "ES256"),
    ],
)
def test_every_form_of_a_key_is_its_public_key(pem: bytes, key: PrivateKey, algorithm: str) -> None:
    keys = parse_public_keys({"sa.pub": pem})
    assert holds(keys, key, algorithm)
    assert not any(candidate.algorithm_name == "RS512" for candidate in keys.candidates(None, "RS512"))


@pytest.mark.parametrize(("curve", "algorithm"), [(ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")])
def test_the_curve_says_the_algorithm(curve: ec.EllipticCurve, algorithm: str) -> None:
    key = ec.generate_private_key(curve)
    keys = parse_public_keys({"sa.pub": public_pem(key)})
    assert holds(keys, key, algorithm)
    assert not list(keys.candidates(None, "ES256"))


def test_several_keys_in_several_files_with_text_between() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    first = b"# the old key\n" + public_pem(RSA) + parameters + private_pem(EC, serialization.PrivateFormat.PKCS8)
    keys = parse_public_keys({"a.pem": first, "b.pem": AUTHORITY.pem + public_pem(RSA)})
    assert [holds(keys, RSA, "RS256"), holds(keys, EC, "ES256"), holds(keys, AUTHORITY.key, "ES256")] == [True] * 3


def test_all_mistakes_are_told_without_the_keys() -> None:
    short = rsa.generate_private_key(65537, 1024)
    edwards = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(PEM, SPKI)
    koblitz = public_pem(ec.generate_private_key(ec.SECP256K1()))
    broken = b"-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----\n"
    with pytest.raises(InvalidKeyFile) as raised:
        parse_public_keys({"a": b"nothing", "b": public_pem(short) + edwards, "c": b"\n" + broken + koblitz})
    assert str(raised.value).splitlines() == [
        "a: no public key, private key or certificate in PEM",
        "b:1: an RSA key must have 2048 to 8192 bits",
        "b:7: neither an RSA nor an elliptic curve key",
        "c:2: the key cannot be read",
        "c:5: the curve of a key must be P-256, P-384 or P-521",
    ]


def test_an_encrypted_key_cannot_be_read() -> None:
    pem = RSA.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    with pytest.raises(InvalidKeyFile, match=r"^a:1: the key cannot be read$"):
        parse_public_keys({"a": pem})

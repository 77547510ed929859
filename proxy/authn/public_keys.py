"""Public keys from PEM files, as kube-apiserver reads `--service-account-key-file`: public keys, keys of certificates
and the public halves of private keys, several in a file. A key's id is kube-apiserver's: the SHA-256 of its DER.

Each counts for the one algorithm that kube-apiserver signs with by such a key. Other blocks (`EC PARAMETERS`) are
passed over. Stricter than upstream: a block that looks like a key and cannot be used is an error.

Source: k8s.io/client-go/util/keyutil ParsePublicKeysPEM; k8s.io/kubernetes/pkg/serviceaccount (jwt.go
keyIDFromPublicKey, openidmetadata.go algorithmFromPublicKey)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from proxy.authn.signing_keys import CURVE_ALGORITHMS, MAX_KEYS, MAX_RSA_BITS, MIN_RSA_BITS, SigningKeys

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_CURVES: Final[Mapping[str, str]] = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class InvalidKeyFile(ValueError):
    """A key file cannot be used. Says where, never what stands there."""


def parse_public_keys(files: Mapping[str, bytes]) -> SigningKeys:
    """The keys of all files together, PEM by name. Raises InvalidKeyFile, a line for each mistake."""
    keys: dict[str, PyJWK] = {}
    mistakes: list[str] = []
    for name, content in files.items():
        blocks = [block for block in _BLOCK.finditer(content) if _is_key(block[1])]
        if not blocks:
            mistakes.append(f"{name}: no public key, private key or certificate in PEM")
        for block in blocks:
            try:
                key = _jwk(_public_key(block[1], block[0]))
                keys.setdefault(key.key_id or "", key)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                line = content.count(b"\n", 0, block.start()) + 1
                problem = str(error) if isinstance(error, InvalidKeyFile) else "the key cannot be read"
                mistakes.append(f"{name}:{line}: {problem}")
    if len(keys) > MAX_KEYS:
        mistakes.append(f"more than {MAX_KEYS} keys")
    if mistakes:
        raise InvalidKeyFile("\n".join(mistakes))
    return SigningKeys(tuple(keys.values()))


def _is_key(label: bytes) -> bool:
    return label.endswith(b"KEY") or label == b"CERTIFICATE"


def _public_key(label: bytes, pem: bytes) -> _PublicKey:
    key: object
    if label == b"CERTIFICATE":
        key = x509.load_pem_x509_certificate(pem).public_key()
    elif label.endswith(b"PRIVATE KEY"):
        key = serialization.load_pem_private_key(pem, password=None).public_key()
    else:
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise InvalidKeyFile("neither an RSA nor an elliptic curve key")
    return key


def _jwk(key: _PublicKey) -> PyJWK:
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise InvalidKeyFile(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
        algorithm, members = "RS256", RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        curve = _CURVES.get(key.curve.name)
        if curve is None:
            raise InvalidKeyFile("the curve of a key must be P-256, P-384 or P-521")
        (algorithm,), members = CURVE_ALGORITHMS[curve], ECAlgorithm.to_jwk(key, as_dict=True)
    return PyJWK({**members, "kid": _key_id(key)}, algorithm=algorithm)


def _key_id(key: _PublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(sha256(der).digest()).rstrip(b"=").decode()

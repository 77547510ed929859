"""The signing keys of one issuer, read from its JWK Set: which keys may have signed a token with this `kid` and `alg`.

Only the asymmetric algorithms of the allow list exist here. Dropped: symmetric keys, private keys, keys for encryption,
RSA keys too short or absurdly long, a key whose `alg` is not one of its type's.

Source: RFC 7517; k8s.io/apiserver/plugin/pkg/authenticator/token/oidc (allowed algorithms, `kid`)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWK, PyJWTError

from proxy.authn.strict_json import parse_object

RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
}
ALLOWED_ALGORITHMS: Final = frozenset(RSA_ALGORITHMS).union(*CURVE_ALGORITHMS.values())

# Issuers publish two to five. A token without `kid` is tried against all, before anyone is authenticated.
MAX_KEYS: Final = 32
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192


class SigningKeys:
    """An immutable set of public keys. Two of them are the same answer only when they are the same object."""

    def __init__(self, keys: tuple[PyJWK, ...]) -> None:
        self._keys = keys

    def has_key_id(self, key_id: str) -> bool:
        """True when some key has this id."""
        return any(key.key_id == key_id for key in self._keys)

    def candidates(self, key_id: str | None, algorithm: str) -> Iterator[PyJWK]:
        """The keys that may have made a signature: those named `key_id`, or all where the token names none."""
        for key in self._keys:
            if key.algorithm_name == algorithm and (key_id is None or key.key_id == key_id):
                yield key


def parse_signing_keys(jwk_set: bytes) -> SigningKeys:
    """Reads a JWK Set. Raises ValueError when it is none, holds no usable key, or more than MAX_KEYS keys."""
    entries = parse_object(jwk_set).get("keys")
    if not isinstance(entries, list):
        raise ValueError("no `keys`")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"more than {MAX_KEYS} keys")
    keys = tuple(key for entry in entries if isinstance(entry, dict) for key in _keys_of(entry))
    if not keys:
        raise ValueError("no usable signing key")
    return SigningKeys(keys)


def _keys_of(jwk: dict[str, object]) -> Iterator[PyJWK]:
    """One PyJWK for each algorithm the key may be used with: PyJWT binds a key without `alg` to one of them only."""
    if jwk.get("use", "sig") != "sig" or "d" in jwk or not isinstance(jwk.get("kid", ""), str):
        return
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return
    for algorithm in _algorithms_of(jwk):
        if jwk.get("alg") in (None, algorithm):
            try:
                key = PyJWK(jwk, algorithm=algorithm)
            except (PyJWTError, ValueError, TypeError, KeyError):
                return
            if not isinstance(key.key, rsa.RSAPublicKey) or MIN_RSA_BITS <= key.key.key_size <= MAX_RSA_BITS:
                yield key


def _algorithms_of(jwk: dict[str, object]) -> tuple[str, ...]:
    if jwk.get("kty") == "RSA":
        return RSA_ALGORITHMS
    if jwk.get("kty") == "EC":
        return CURVE_ALGORITHMS.get(str(jwk.get("crv")), ())
    return ()

"""The claims of a verified JWT become a User.

Nothing is converted: a claim of another type than asked for refuses the token. Stricter than upstream: an issuer names
nobody `system:…`, as user or group, unless the configured prefix itself says so; distributed claims are refused, since
a User without its groups would be another User.

Source: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.authn.authentication_config import JwtAuthenticator, PrefixedClaim
from proxy.authn.user import CREDENTIAL_ID_EXTRA, User, is_valid_identity

RESERVED_PREFIX: Final = "system:"


class ClaimRefused(ValueError):
    """A claim is missing, of the wrong type, or not allowed to name what it names."""


def user_from_claims(claims: Mapping[str, object], authenticator: JwtAuthenticator) -> User:
    """The user an authenticator sees in the claims of a token of its issuer. Raises ClaimRefused."""
    for required in authenticator.required_claims:
        if claims.get(required.claim) != required.value:
            raise ClaimRefused(f"`{required.claim}` is not as required")
    return User(
        name=_username(claims, authenticator.username),
        uid="" if authenticator.uid_claim is None else _identity(_text(claims, authenticator.uid_claim)),
        groups=() if authenticator.groups is None else _groups(claims, authenticator.groups),
        extra=_credential_id(claims),
    )


def _username(claims: Mapping[str, object], mapping: PrefixedClaim) -> str:
    if mapping.claim == "email" and claims.get("email_verified", True) is not True:
        raise ClaimRefused("the email is not verified")
    return _prefixed(mapping.prefix, _text(claims, mapping.claim))


def _groups(claims: Mapping[str, object], mapping: PrefixedClaim) -> tuple[str, ...]:
    """An absent claim and null are no groups, one string is one group."""
    value = claims.get(mapping.claim)
    if value is None:
        distributed = claims.get("_claim_names")
        if distributed is not None and (not isinstance(distributed, dict) or mapping.claim in distributed):
            raise ClaimRefused("the groups are somewhere else")
        return ()
    groups = [value] if isinstance(value, str) else value
    if not isinstance(groups, list):
        raise ClaimRefused(f"`{mapping.claim}` is no list")
    return tuple(_prefixed(mapping.prefix, group) for group in groups)


def _credential_id(claims: Mapping[str, object]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if "jti" not in claims:
        return ()
    return ((CREDENTIAL_ID_EXTRA, (_identity(f"JTI={_text(claims, 'jti')}"),)),)


def _text(claims: Mapping[str, object], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not value:
        raise ClaimRefused(f"`{claim}` is no text")
    return value


def _prefixed(prefix: str, value: object) -> str:
    """The prefix counts on the whole name: `sys` and `tem:masters` do not make a reserved one either."""
    if not isinstance(value, str) or not value:
        raise ClaimRefused("a name is no text")
    name = prefix + value
    if name.startswith(RESERVED_PREFIX) and not prefix.startswith(RESERVED_PREFIX):
        raise ClaimRefused("a name is reserved")
    return _identity(name)


def _identity(text: str) -> str:
    if not is_valid_identity(text):
        raise ClaimRefused("a name is no plain text")
    return text

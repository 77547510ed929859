"""The payload of a service account's token that the cluster signed: valid now, and whose.

| | bound token (TokenRequest) | legacy token (Secret) |
| - | - | - |
| `iss` | a configured issuer | `kubernetes/serviceaccount` |
| the account | in `kubernetes.io` | in `kubernetes.io/serviceaccount/…` |
| ends | at `exp`, which it must have | never, unless it says so |
| extra | pod, node, credential id | none |

`sub` and the other claims must name the same account (upstream takes a bound token's from `kubernetes.io` alone). No
`aud` means the API's own audiences. Whether the account, and the pod, node or Secret that the token is bound to, still
exist is not in the token: only the API server knows.

Source: k8s.io/kubernetes/pkg/serviceaccount (claims.go, legacy.go);
k8s.io/apiserver/pkg/authentication/serviceaccount/util.go (UserInfo)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from proxy.authn.claims import ClaimRefused
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.registered_claims import audiences_of, expiry_of, refusal_of_times
from proxy.authn.service_account_name import service_account_groups, split_service_account_name
from proxy.authn.user import User, is_valid_identity

LEGACY_ISSUER: Final = "kubernetes/serviceaccount"

_EXTRA_PREFIX = "authentication.kubernetes.io/"
_LEGACY_PREFIX = "kubernetes.io/serviceaccount/"


class BoundTokens:
    """Judges the tokens of a configured issuer."""

    def judge(self, claims: Mapping[str, object], now: float) -> Authenticated | Refused:
        """The outcome for claims that the issuer signed, at `now` (seconds since the epoch)."""
        if "exp" not in claims:
            return Refused(RefusalKind.BEARER_CLAIMS)
        return _judge(claims, now, _bound_user)


class LegacyTokens:
    """Judges the tokens that were made for a Secret."""

    def judge(self, claims: Mapping[str, object], now: float) -> Authenticated | Refused:
        """As BoundTokens."""
        return _judge(claims, now, _legacy_user)


def _judge(
    claims: Mapping[str, object], now: float, user_of: Callable[[Mapping[str, object]], User]
) -> Authenticated | Refused:
    refusal = refusal_of_times(claims, now)
    if refusal is not None:
        return Refused(refusal)
    audiences = audiences_of(claims)
    if audiences is None:
        return Refused(RefusalKind.BEARER_CLAIMS)
    try:
        return Authenticated(user_of(claims), expiry_of(claims), audiences or None)
    except ClaimRefused:
        return Refused(RefusalKind.BEARER_CLAIMS)


def _bound_user(claims: Mapping[str, object]) -> User:
    private = _object(claims, "kubernetes.io")
    account = _object(private, "serviceaccount")
    extra: dict[str, str] = {}
    if "pod" in private:
        pod = _object(private, "pod")
        extra |= {"pod-name": _text(pod, "name"), "pod-uid": _text(pod, "uid")}
    if "node" in private:
        node = _object(private, "node")
        extra |= {"node-name": _text(node, "name"), "node-uid": _text(node, "uid")}
    if "secret" in private:
        _text(_object(private, "secret"), "name")
    if "jti" in claims:
        extra["credential-id"] = f"JTI={_text(claims, 'jti')}"
    return _user(claims, _text(private, "namespace"), _text(account, "name"), _text(account, "uid"), extra)


def _legacy_user(claims: Mapping[str, object]) -> User:
    _text(claims, f"{_LEGACY_PREFIX}secret.name")
    return _user(
        claims,
        _text(claims, f"{_LEGACY_PREFIX}namespace"),
        _text(claims, f"{_LEGACY_PREFIX}service-account.name"),
        _text(claims, f"{_LEGACY_PREFIX}service-account.uid"),
        {},
    )


def _user(claims: Mapping[str, object], namespace: str, name: str, uid: str, extra: Mapping[str, str]) -> User:
    subject = _text(claims, "sub")
    if split_service_account_name(subject) != (namespace, name):
        raise ClaimRefused("`sub` is another account, or none")
    return User(
        name=subject,
        uid=uid,
        groups=service_account_groups(namespace),
        extra=tuple((f"{_EXTRA_PREFIX}{key}", (extra[key],)) for key in sorted(extra)),
    )


def _object(claims: Mapping[str, object], claim: str) -> Mapping[str, object]:
    value = claims.get(claim)
    if not isinstance(value, dict):
        raise ClaimRefused(f"`{claim}` is no object")
    return value


def _text(claims: Mapping[str, object], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not is_valid_identity(value):
        raise ClaimRefused(f"`{claim}` is no plain text")
    return value

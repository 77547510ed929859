"""Impersonation by a client: whom its Impersonate-* headers ask to be, and what it must be allowed for that.

Stricter than upstream where headers could be read in two ways: a name that only folds to one of these, one that nobody
knows, a user or uid given twice or empty, and what could not travel on as it is, are refused.

Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation (the legacy mode, verb `impersonate`)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from proxy.api.status import BadRequest
from proxy.authn.service_account_name import service_account_groups, split_service_account_name
from proxy.authn.user import ANONYMOUS_USER, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, User, is_valid_identity

_USER, _GROUP, _UID = b"impersonate-user", b"impersonate-group", b"impersonate-uid"
_EXTRA_PREFIX = b"impersonate-extra-"
_AUTHENTICATION_GROUP = "authentication.k8s.io"
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpersonationCheck:
    """Something the caller must be allowed to `impersonate`, as a resource: `users` named `bob`."""

    api_group: str = ""
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Impersonation:
    """Whom the client asks to be; `checks` in upstream's order, all of which must be allowed to the client itself."""

    user: User
    checks: tuple[ImpersonationCheck, ...]


def parse_impersonation(headers: Iterable[tuple[bytes, bytes]]) -> Impersonation | None:
    """What the Impersonate-* headers of a request ask for, None without one. `headers` are in lower case.

    Raises BadRequest.
    """
    users: list[str] = []
    uids: list[str] = []
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    values = {_USER: users, _UID: uids, _GROUP: groups}
    for name, value in headers:
        if name in values:
            values[name].append(_identity(value))
        elif name.startswith(_EXTRA_PREFIX):
            extra.setdefault(_extra_key(name[len(_EXTRA_PREFIX) :]), []).append(_identity(value))
        elif name.replace(b"_", b"-").startswith(b"impersonate-"):
            raise BadRequest("unknown impersonation header")
    if not (users or uids or groups or extra):
        return None
    if len(users) > 1 or len(uids) > 1:
        raise BadRequest("Impersonate-User or Impersonate-Uid is given more than once")
    if not users:
        raise BadRequest("impersonation was requested without impersonating a user name")
    wanted = User(
        name=users[0],
        uid=uids[0] if uids else "",
        groups=tuple(groups),
        extra=tuple((key, tuple(extra[key])) for key in sorted(extra)),
    )
    return Impersonation(user=_with_implied_groups(wanted), checks=_checks(wanted))


def _identity(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("an impersonation header is not UTF-8") from error
    if not is_valid_identity(text):
        raise BadRequest("an impersonation header is empty, too long, or has invisible characters in it")
    return text


def _extra_key(escaped: bytes) -> str:
    """Header names have no case, so a key in upper case would not reach the API server as it is."""
    if _BAD_ESCAPE.search(escaped):
        raise BadRequest("the key of an Impersonate-Extra header has a bad escape")
    key = _identity(unquote_to_bytes(escaped))
    if key != key.lower():
        raise BadRequest("the key of an Impersonate-Extra header is not in lower case")
    return key


def _checks(wanted: User) -> tuple[ImpersonationCheck, ...]:
    account = split_service_account_name(wanted.name)
    if account is None:
        checks = [ImpersonationCheck(resource="users", name=wanted.name)]
    else:
        checks = [ImpersonationCheck(resource="serviceaccounts", namespace=account[0], name=account[1])]
    if wanted.uid:
        checks.append(ImpersonationCheck(api_group=_AUTHENTICATION_GROUP, resource="uids", name=wanted.uid))
    checks.extend(ImpersonationCheck(resource="groups", name=group) for group in wanted.groups)
    checks.extend(
        ImpersonationCheck(api_group=_AUTHENTICATION_GROUP, resource="userextras", subresource=key, name=value)
        for key, values in wanted.extra
        for value in values
    )
    return tuple(checks)


def _with_implied_groups(wanted: User) -> User:
    """The groups as given; a service account without any has its own. Everybody is authenticated or is not."""
    groups = wanted.groups
    account = split_service_account_name(wanted.name)
    if account is not None and not groups:
        groups = service_account_groups(account[0])
    if wanted.name == ANONYMOUS_USER:
        implied = UNAUTHENTICATED_GROUP
    else:
        implied = AUTHENTICATED_GROUP if UNAUTHENTICATED_GROUP not in groups else UNAUTHENTICATED_GROUP
    if implied not in groups:
        groups = (*groups, implied)
    return User(name=wanted.name, uid=wanted.uid, groups=groups, extra=wanted.extra)

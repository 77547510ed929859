"""The User: who is calling, as every later step sees them.

Source: k8s.io/apiserver/pkg/authentication/user
"""

from __future__ import annotations

from dataclasses import dataclass

ANONYMOUS_USER = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
CREDENTIAL_ID_EXTRA = "authentication.kubernetes.io/credential-id"

# A name travels on as one header value (impersonation) and one field of a log line; no directory has longer ones.
MAX_IDENTITY_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A caller. `groups` keep the credential's order. `extra` is sorted by key; each key has its values in order."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def extra_values(self, key: str) -> tuple[str, ...]:
        """The values of one extra key, empty when absent."""
        for name, values in self.extra:
            if name == key:
                return values
        return ()


ANONYMOUS = User(name=ANONYMOUS_USER, groups=(UNAUTHENTICATED_GROUP,))
"""Who shows no credential, where that is enough."""


def with_authenticated_group(user: User) -> User:
    """Adds `system:authenticated`, as a login does. Source: authentication/group/authenticated_group_adder.go."""
    if user.name == ANONYMOUS_USER or {AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP} & set(user.groups):
        return user
    return User(name=user.name, uid=user.uid, groups=(*user.groups, AUTHENTICATED_GROUP), extra=user.extra)


def is_valid_identity(text: str) -> bool:
    """True for what may be a user name, uid, group or extra value.

    Stricter than upstream: control and invisible characters and outer white space are refused, since a header field
    drops them on the way to the upstream, where `alice ` would then be `alice`.
    """
    return text.isprintable() and text == text.strip() and 0 < len(text.encode()) <= MAX_IDENTITY_BYTES

"""Impersonation headers: how the proxy tells the API server for whom it asks.

Source: k8s.io/client-go/transport/round_trippers.go impersonatingRoundTripper, headerKeyEscape
"""

from __future__ import annotations

from proxy.authn.user import User

_LEGAL_IN_NAME = frozenset("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def impersonation_headers(user: User) -> list[tuple[str, str]]:
    """The headers that make a request to the API server one of `user`."""
    headers = [("Impersonate-User", user.name)]
    if user.uid:
        headers.append(("Impersonate-Uid", user.uid))
    headers.extend(("Impersonate-Group", group) for group in user.groups)
    headers.extend((f"Impersonate-Extra-{_escaped(key)}", value) for key, values in user.extra for value in values)
    return headers


def _escaped(key: str) -> str:
    """Percent-encodes every byte that may not stand in a header name, and `%` itself."""
    return "".join(
        character if character in _LEGAL_IN_NAME else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in key
    )

"""TokenReview, as its client: the question to another server whose a token is, and what of the answer counts.

Stricter than upstream's webhook authenticator: where audiences were asked for, the answer must name one of them, since
a server that names none did not look; an answer with an error authenticates nobody, whatever else stands in it; nor
does one that names nobody, or the anonymous user.

Source: k8s.io/apiserver/plugin/pkg/authenticator/token/webhook; k8s.io/api/authentication/v1 (TokenReviewStatus)
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.api.reviews import TokenSpec, TokenStatus, UserInfo
from proxy.authn.bearer_token import MAX_TOKEN_BYTES
from proxy.authn.outcome import Authenticated, RefusalKind, Refused
from proxy.authn.user import ANONYMOUS_USER, UNAUTHENTICATED_GROUP, User, is_valid_identity, with_authenticated_group

_API_VERSION: Final = "authentication.k8s.io/v1"
_KIND: Final = "TokenReview"


class _Review(msgspec.Struct):
    kind: str
    apiVersion: str  # noqa: N815 (the wire's own name)
    status: TokenStatus


_decode = msgspec.json.Decoder(_Review).decode


class NoReview(ValueError):
    """What was answered is no TokenReview."""


def is_reviewable(token: bytes) -> bool:
    """False for what nobody issues as a token: it is not worth a question."""
    return 0 < len(token) <= MAX_TOKEN_BYTES and token.isascii() and token.decode("ascii").isprintable()


def review_request(token: bytes, audiences: tuple[str, ...]) -> bytes:
    """The question, in JSON, for a reviewable token."""
    spec = TokenSpec(token=token.decode("ascii"), audiences=audiences)
    return msgspec.json.encode({"kind": _KIND, "apiVersion": _API_VERSION, "spec": spec})


def read_review(body: bytes, audiences: tuple[str, ...]) -> Authenticated | Refused:
    """What the answer to a question with these audiences says. Raises NoReview."""
    try:
        review = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoReview("the answer is no TokenReview") from error
    if (review.kind, review.apiVersion) != (_KIND, _API_VERSION):
        raise NoReview("the answer is no TokenReview")
    status = review.status
    user = _user(status.user)
    if not status.authenticated or status.error or user is None:
        return Refused(RefusalKind.BEARER_REVIEW_DENIED)
    if not audiences:
        return Authenticated(user, expires_at=None)
    common = tuple(audience for audience in audiences if audience in status.audiences)
    if not common:
        return Refused(RefusalKind.BEARER_AUDIENCE)
    return Authenticated(user, expires_at=None, audiences=common)


def _user(info: UserInfo) -> User | None:
    """None for one who may not be a user here."""
    values = [value for values in info.extra.values() for value in values]
    names = [info.username, *info.groups, *info.extra, *values, *([info.uid] if info.uid else [])]
    if not all(map(is_valid_identity, names)):
        return None
    if info.username == ANONYMOUS_USER or UNAUTHENTICATED_GROUP in info.groups:
        return None
    return with_authenticated_group(
        User(name=info.username, uid=info.uid, groups=info.groups, extra=tuple(sorted(info.extra.items())))
    )

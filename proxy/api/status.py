"""API errors as Kubernetes `Status` objects: one exception class for each reason the proxy answers with.

A StatusError carries everything that its HTTP answer needs. Messages are upstream's own where upstream has one.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_HTML = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match.group().decode())


class StatusCause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of `details.causes`."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`details` of a Status. `kind` is the resource name without subresource, as upstream writes it."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retryAfterSeconds: int = 0  # noqa: N815 (the wire's own name)


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A `Status`, its fields in the order upstream prints."""

    kind: str
    apiVersion: str  # noqa: N815
    metadata: dict[str, str]
    status: str
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int


class StatusError(Exception):
    """An answer that is not success. Subclasses fix `code` and `reason`; `details` None leaves them out."""

    code: int = 500
    reason: str = "InternalError"

    def __init__(self, message: str, *, details: StatusDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    @property
    def retry_after_seconds(self) -> int:
        """Seconds for the Retry-After header; 0 means no header."""
        return self.details.retryAfterSeconds if self.details else 0

    @property
    def closes_connection(self) -> bool:
        """True where the connection must not be used again: the request's end is not known for sure."""
        return False

    def status(self) -> Status:
        """The Status object of this error."""
        return Status(
            kind="Status",
            apiVersion="v1",
            metadata={},
            status="Failure",
            message=self.message,
            reason=self.reason,
            details=self.details,
            code=self.code,
        )

    def body(self) -> bytes:
        """The Status as upstream's compact JSON: messages repeat input, so what HTML would read is escaped."""
        return _HTML.sub(_escape, msgspec.json.encode(self.status())) + b"\n"


class BadRequest(StatusError):
    """400: the request cannot be understood."""

    code = 400
    reason = "BadRequest"


class MalformedRequest(BadRequest):
    """400 where the framing itself is in doubt, so that the connection is closed with the answer."""

    @property
    def closes_connection(self) -> bool:
        return True


class Unauthorized(StatusError):
    """401, with one text for all causes."""

    code = 401
    reason = "Unauthorized"

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Forbidden(StatusError):
    """403 with Kubernetes' sentence about the caller's own request."""

    code = 403
    reason = "Forbidden"


class NotFound(StatusError):
    """404."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(StatusError):
    """405."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, message: str = "the server does not allow this method on the requested resource") -> None:
        super().__init__(message, details=StatusDetails())


class NotAcceptable(StatusError):
    """406: no media type of Accept can be produced."""

    code = 406
    reason = "NotAcceptable"


class Expired(StatusError):
    """410: the resourceVersion or continue token is too old; the client lists again."""

    code = 410
    reason = "Expired"


class RequestEntityTooLarge(StatusError):
    """413: the body is over its bound."""

    code = 413
    reason = "RequestEntityTooLarge"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"Request entity too large: limit is {limit_bytes}", details=StatusDetails())

    @property
    def closes_connection(self) -> bool:
        return True


class TargetTooLong(StatusError):
    """414: the request target is over its bound."""

    code = 414
    reason = "RequestURITooLong"

    @property
    def closes_connection(self) -> bool:
        return True


class UnsupportedMediaType(StatusError):
    """415: a body of a type that is not read here."""

    code = 415
    reason = "UnsupportedMediaType"

    def __init__(self, accepted: Sequence[str]) -> None:
        super().__init__(
            "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
        )


class Invalid(StatusError):
    """422: well formed, but a value is not allowed."""

    code = 422
    reason = "Invalid"


class TooManyRequests(StatusError):
    """429."""

    code = 429
    reason = "TooManyRequests"


class HeadersTooLarge(StatusError):
    """431: the header section is over its bound."""

    code = 431
    reason = "RequestHeaderFieldsTooLarge"

    @property
    def closes_connection(self) -> bool:
        return True


class InternalError(StatusError):
    """500 without detail: a bug, logged where it was caught."""

    code = 500
    reason = "InternalError"


class NotImplementedYet(StatusError):
    """501: part of the Kubernetes API that this proxy does not serve yet."""

    code = 501
    reason = "NotImplemented"


class ServiceUnavailable(StatusError):
    """503 with Retry-After: the upstream is away, or refuses the proxy's own identity."""

    code = 503
    reason = "ServiceUnavailable"

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message, details=StatusDetails(retryAfterSeconds=retry_after_seconds))


class Timeout(StatusError):
    """504."""

    code = 504
    reason = "Timeout"


def too_large_resource_version(requested: int, current: int) -> Timeout:
    """The 504 for a resourceVersion of the future. Source: storage/errors.go NewTooLargeResourceVersionError."""
    return Timeout(
        f"Timeout: Too large resource version: {requested}, current: {current}",
        details=StatusDetails(
            causes=(StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version"),),
            retryAfterSeconds=1,
        ),
    )


def too_old_resource_version(requested: int, oldest: int) -> Expired:
    """The 410 of a watch that starts before the history. Source: apiserver storage/cacher/watch_cache.go."""
    return Expired(f"too old resource version: {requested} ({oldest})")

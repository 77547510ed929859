"""What goes wrong between the proxy and the API server, as the StatusError that its caller is answered with.

The one place that maps upstream trouble. A refusal of the proxy's own identity is never passed on as the 401 or 403
of the caller, who would read it as theirs.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

import httpx
import msgspec

from proxy.api import status as api
from proxy.upstream.response import UpstreamResponse

MAX_RETRY_AFTER_SECONDS = 3600  # more is not a hint any more, and nothing guarantees that upstream is sane


_log = logging.getLogger(__name__)


class ConfigError(Exception):
    """A setting with which the proxy cannot start; one line that names the file or flag first."""


class UpstreamUnavailable(api.ServiceUnavailable):
    """503: no answer came from the API server, or not all of it."""


class UpstreamIdentityRefused(api.ServiceUnavailable):
    """503: the API server refuses the proxy itself. `upstream_message` names the proxy's user: for the log only."""

    def __init__(self, status: int, upstream_message: str) -> None:
        super().__init__(f"the API server refuses the proxy's own identity ({status})")
        self.upstream_message = upstream_message


class UpstreamResponseTooLarge(api.InternalError):
    """500: an answer is larger than what the proxy is prepared to hold."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"the API server's answer is larger than {max_body_bytes} bytes")


def error_from_transport(error: httpx.TransportError) -> api.StatusError:
    """The StatusError for an exchange that failed; 429 where the proxy's own queue to upstream is full."""
    match error:
        case httpx.PoolTimeout():
            return api.TooManyRequests(
                "too many requests are waiting for the API server", details=api.StatusDetails(retryAfterSeconds=1)
            )
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return UpstreamUnavailable(f"the API server cannot be reached: {error}")
        case httpx.TimeoutException():
            return UpstreamUnavailable(f"the API server does not answer: {error}")
        case httpx.LocalProtocolError():
            return api.BadRequest(f"the request cannot be sent to the API server: {error}")
        case _:
            return UpstreamUnavailable(f"the connection to the API server broke: {error}")


def status_error_from_response(response: UpstreamResponse) -> api.StatusError:
    """The StatusError for an answer that is not the one hoped for, of any status and with any body.

    A Status of upstream keeps its code, reason, message, details and Retry-After. 401, 403 and whatever no API server
    answers a read with become 503.
    """
    parsed = _parse_status(response.body)
    if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        _log.warning("the API server refuses the proxy's own identity (%d): %r", response.status, parsed.message)
        return UpstreamIdentityRefused(response.status, parsed.message)
    if response.status < HTTPStatus.BAD_REQUEST or (parsed.kind != "Status" and response.status >= 500):
        return api.ServiceUnavailable(
            f"the API server answered {response.status} without a Status",
            retry_after_seconds=_retry_after_seconds(response.headers) or 1,
        )
    details = parsed.details or api.StatusDetails()
    if not 0 < details.retryAfterSeconds <= MAX_RETRY_AFTER_SECONDS:
        details = msgspec.structs.replace(details, retryAfterSeconds=_retry_after_seconds(response.headers))
    return _status_error(
        code=response.status,
        reason=parsed.reason,
        message=parsed.message or _GENERIC_MESSAGES.get(response.status, f"the API server answered {response.status}"),
        details=None if details == api.StatusDetails() else details,
    )


class _ParsedStatus(msgspec.Struct, frozen=True):
    kind: str = ""
    message: str = ""
    reason: str = ""
    details: api.StatusDetails | None = None


_NO_STATUS = _ParsedStatus()
_decode_status = msgspec.json.Decoder(_ParsedStatus).decode

# Source: k8s.io/apimachinery/pkg/api/errors NewGenericServerResponse
_GENERIC_MESSAGES = {
    400: "the server rejected our request for an unknown reason",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
}

_CLASSES: dict[int, type[api.StatusError]] = {
    error_class.code: error_class
    for error_class in (
        api.BadRequest,
        api.NotFound,
        api.NotAcceptable,
        api.Expired,
        api.TargetTooLong,
        api.Invalid,
        api.TooManyRequests,
        api.HeadersTooLarge,
        api.InternalError,
        api.NotImplementedYet,
        api.Timeout,
    )
}


def _parse_status(body: bytes) -> _ParsedStatus:
    try:
        parsed = _decode_status(body)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _NO_STATUS
    return parsed if parsed.kind == "Status" else _NO_STATUS


def _status_error(*, code: int, reason: str, message: str, details: api.StatusDetails | None) -> api.StatusError:
    error: api.StatusError
    if code == HTTPStatus.SERVICE_UNAVAILABLE:
        error = api.ServiceUnavailable(message)
        error.details = details or error.details
    elif code == HTTPStatus.METHOD_NOT_ALLOWED:
        error = api.MethodNotAllowed(message)
        error.details = details
    else:
        error = _CLASSES.get(code, api.StatusError)(message, details=details)
    error.code = code
    if reason or type(error) is api.StatusError:  # a class of its own knows its reason
        error.reason = reason
    return error


def _retry_after_seconds(headers: httpx.Headers) -> int:
    text = headers.get("retry-after", "")
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return min(seconds, MAX_RETRY_AFTER_SECONDS)

"""Refusals of writes: the Status reasons that only a server with storage gives.

Source: k8s.io/apimachinery/pkg/api/errors/errors.go
"""

from __future__ import annotations

from proxy.api.status import Expired, NotFound, Status, StatusDetails, StatusError
from proxy.devserver.kinds import Kind


class Conflict(StatusError):
    """409: the object is not the one the caller read."""

    code = 409
    reason = "Conflict"


class AlreadyExists(StatusError):
    """409: the name is taken."""

    code = 409
    reason = "AlreadyExists"


class RequestEntityTooLarge(StatusError):
    """413: the body is over its bound."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    """415: the body is in a format the server does not read."""

    code = 415
    reason = "UnsupportedMediaType"


class ContinueExpired(Expired):
    """410 for a page whose list is no longer known; `metadata.continue` goes on at the current state."""

    def __init__(self, continue_token: str) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list."
        )
        self._continue_token = continue_token

    def status(self) -> Status:
        """The Status, with the token that goes on."""
        status = super().status()
        return Status(
            kind=status.kind,
            apiVersion=status.apiVersion,
            metadata={"continue": self._continue_token},
            status=status.status,
            message=status.message,
            reason=status.reason,
            code=status.code,
        )


def details_of(kind: Kind, name: str) -> StatusDetails:
    """`details` naming one object."""
    return StatusDetails(name=name, group=kind.gvr.group, kind=kind.gvr.resource)


def not_found(kind: Kind, name: str) -> NotFound:
    """The 404 for one object."""
    return NotFound(f'{kind.qualified_resource} "{name}" not found', details=details_of(kind, name))


def already_exists(kind: Kind, name: str) -> AlreadyExists:
    """The 409 for a creation under a taken name."""
    return AlreadyExists(f'{kind.qualified_resource} "{name}" already exists', details=details_of(kind, name))


def modified_since(kind: Kind, name: str) -> Conflict:
    """The 409 for an update of a version that is not the current one."""
    return Conflict(
        f'Operation cannot be fulfilled on {kind.qualified_resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details=details_of(kind, name),
    )

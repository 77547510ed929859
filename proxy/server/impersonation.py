"""Impersonation at work: a request of one user in the name of another, for as long as that is allowed.

Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from proxy.authn.client_impersonation import Impersonation, ImpersonationCheck, parse_impersonation
from proxy.authn.user import User
from proxy.authz.decision import Attributes
from proxy.server.authority import Authority
from proxy.server.exchange import Exchange
from proxy.server.open_streams import OpenStream, OpenStreams
from proxy.server.permits import permit_or_raise
from proxy.watch.session import EndReason

_VERB = "impersonate"


class Impersonator:
    """Tells in whose name a request is made."""

    def __init__(self, authority: Authority, streams: OpenStreams) -> None:
        self._authority = authority
        self._streams = streams

    def acting_user(self, exchange: Exchange, caller: User) -> AbstractContextManager[User]:
        """The user whom the request is of: the caller, or whom it may impersonate.

        The answer is cut off when the caller loses that permission meanwhile. Raises BadRequest, Forbidden,
        ServiceUnavailable.
        """
        impersonation = parse_impersonation(exchange.headers)
        return nullcontext(caller) if impersonation is None else self._impersonated(exchange, caller, impersonation)

    @contextmanager
    def _impersonated(self, exchange: Exchange, caller: User, impersonation: Impersonation) -> Iterator[User]:
        def end(reason: EndReason) -> None:
            if reason is EndReason.SCOPE_CHANGED:
                exchange.connection.abort()

        permits = [permit_or_raise(self._authority, caller, _attributes(check)) for check in impersonation.checks]
        opened = [OpenStream(permit, end) for permit in permits]
        for stream in opened:
            self._streams.add(stream)
        try:
            yield impersonation.user
        finally:
            for stream in opened:
                self._streams.remove(stream)


def _attributes(check: ImpersonationCheck) -> Attributes:
    return Attributes(
        verb=_VERB,
        is_resource_request=True,
        api_group=check.api_group,
        api_version="v1",
        resource=check.resource,
        subresource=check.subresource,
        namespace=check.namespace,
        name=check.name,
    )

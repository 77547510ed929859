"""Answers the reviews: `kubectl auth can-i`, `can-i --list`, `whoami`, and servers that ask about others.

They come from the policy in force, never from upstream, which would tell of its own policy and of the proxy; those of
tokens come from the authentication of this very port.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from proxy.api.groups import ApiResource
from proxy.api.media_types import FILTERED_MEDIA_TYPES, negotiate
from proxy.api.review_decoding import decode_review
from proxy.api.review_validation import check_access_review, metadata_in
from proxy.api.reviews import (
    AccessSpec,
    AccessStatus,
    ReviewType,
    RulesSpec,
    SelfAccessSpec,
    TokenSpec,
    TokenStatus,
    encode_review,
)
from proxy.api.status import BadRequest
from proxy.authn.bearer_token import parse_authorization
from proxy.authn.outcome import Refused
from proxy.authn.user import User
from proxy.authz.decision import Permit
from proxy.authz.rbac import reads_objects
from proxy.authz.reviews import (
    access_status,
    reviewed_attributes,
    reviewed_user,
    rules_status,
    self_status,
    user_info,
)
from proxy.server.authentication import AuthenticationService
from proxy.server.authority import Authority
from proxy.server.exchange import Exchange
from proxy.upstream.discovery import DiscoveryCache

MAX_REVIEW_BYTES = 256 * 1024
"""Far more than the groups of any user need; reading one is work on the loop."""

_CREATED = 201


class ReviewHandler:
    """Serves permitted creations of reviews. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        authentication: AuthenticationService,
        authority: Authority,
        discovery: DiscoveryCache,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._authentication = authentication
        self._authority = authority
        self._discovery = discovery
        self._clock = clock

    async def serve(self, exchange: Exchange, permit: Permit, asked: ReviewType) -> None:
        """Answers a review. Raises StatusErrors before the answer has begun."""
        accept = exchange.header(b"accept")
        negotiate(accept, verb="create", include_object="", offered=FILTERED_MEDIA_TYPES, convertible=False)
        version, namespace = permit.attributes.api_version, permit.attributes.namespace
        review = decode_review(
            await exchange.read_body(MAX_REVIEW_BYTES), exchange.header(b"content-type"), asked, version
        )
        metadata = metadata_in(namespace, review.metadata)
        match review.spec:
            case SelfAccessSpec() as spec:
                check_access_review(asked, metadata, spec)
                status = await self._access_status(permit.user, spec)
                body = encode_review(asked, version, metadata=metadata, spec=spec, status=status)
            case RulesSpec(namespace=""):
                raise BadRequest("no namespace on request")
            case RulesSpec() as spec:
                rules = rules_status(self._authority.state, permit.user, spec.namespace)
                body = encode_review(asked, version, metadata={}, spec=RulesSpec(), status=rules)
            case TokenSpec(token=""):
                raise BadRequest("token is required for TokenReview in authentication")
            case TokenSpec() as spec:
                token_status = await self._token_status(spec)
                body = encode_review(asked, version, metadata={}, spec=spec, status=token_status)
            case None:
                created = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                status_of_caller = self_status(permit.user)
                body = encode_review(
                    asked, version, metadata={"creationTimestamp": created}, spec=None, status=status_of_caller
                )
        await exchange.respond(_CREATED, body)

    async def _token_status(self, spec: TokenSpec) -> TokenStatus:
        """As if a request had come with this token. Why it is refused is not told, as in a 401."""
        token = parse_authorization([b"Bearer " + spec.token.encode()])
        if token is None:
            return TokenStatus()
        outcome = await self._authentication.authenticate_token(token, spec.audiences, self._clock())
        if isinstance(outcome, Refused):
            return TokenStatus(error="invalid bearer token")
        return TokenStatus(authenticated=True, user=user_info(outcome.user), audiences=outcome.audiences or ())

    async def _access_status(self, caller: User, spec: SelfAccessSpec) -> AccessStatus:
        attributes = reviewed_attributes(spec)
        if reads_objects(attributes) and not attributes.namespace:
            namespaced = await self._is_namespaced(attributes.api_group, attributes.resource)
            attributes = msgspec.structs.replace(attributes, namespaced=namespaced)
        user = reviewed_user(spec) if isinstance(spec, AccessSpec) else caller
        return access_status(self._authority.decide(user, attributes), spec)

    async def _is_namespaced(self, group: str, resource: str) -> bool:
        """As discovery says, in whatever version; `*` and what is not served count as cluster-scoped."""
        if "*" in (group, resource):
            return False
        found = self._find(group, resource)
        if found is None:
            await self._discovery.refresh()
            found = self._find(group, resource)
        return found is not None and found.namespaced

    def _find(self, group: str, resource: str) -> ApiResource | None:
        resources = self._discovery.catalog.resources.items()
        return next((found for gvr, found in resources if (gvr.group, gvr.resource) == (group, resource)), None)

"""RequestRecord: what became of one request, filled in by those who know and told once at its end."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.api.groups import ApiResource
from proxy.api.request_target import ParsedRequest
from proxy.authn.outcome import RefusalKind
from proxy.authn.user import User
from proxy.authz.decision import Decision, Permit
from proxy.telemetry.watch_counts import WatchCounts


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request. None and empty: not known, or not come to.

    `received_at` is in seconds since the epoch. `target` is raw. `request` is its parse, `resource` what discovery
    knows of what it names. `caller` is who authenticated, `user` in whose name the request is made. `decision` is the
    last one taken; `forbidden` says that the proxy answered 403, whatever had been decided before it knew the object.
    `code` is that of the answer's head.
    """

    audit_id: str
    received_at: float = 0.0
    method: str = ""
    target: bytes = b""
    source_ip: str = ""
    user_agent: str = ""
    request: ParsedRequest | None = None
    resource: ApiResource | None = None
    refusal: RefusalKind | None = None
    caller: User | None = None
    user: User | None = None
    decision: Decision | None = None
    forbidden: bool = False
    code: int = 0
    watch: WatchCounts | None = None

    @property
    def shows_a_part(self) -> bool:
        """True for a list or watch of which the caller sees only what its scope allows."""
        return (
            isinstance(self.decision, Permit)
            and not self.decision.scope.everything
            and self.decision.attributes.verb in ("list", "watch")
        )

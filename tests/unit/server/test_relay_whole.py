"""An object that is relayed whole: allowed when upstream is asked, and looked at again right before it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.api.request_target import parse_request
from proxy.api.status import InternalError, ServiceUnavailable
from proxy.authn.user import User
from proxy.policy.compile import compile_policy
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.authority import Authority
from proxy.server.open_streams import OpenStreams
from proxy.server.permits import permit_or_raise
from proxy.server.relay_handler import RelayHandler
from proxy.upstream.lister import Lister
from tests.support.fake_api_server import Call, FakeApiServer
from tests.support.fake_connection import FakeExchange
from tests.support.policies import asking, binding, policy, role, rule, user_subject
from tests.support.simulated_time import let_others_run, loop_time, run_simulated

ALICE = User(name="alice")
TARGET = b"/api/v1/namespaces/team/pods/pod"
GET_POD = asking("get", "pods", namespace="team", name="pod")
POD = b'{"kind":"Pod"}\n'
MAX_BODY_BYTES = 1024


def reader(*resources: str) -> PolicySnapshot:
    granted = [rule("get", resource) for resource in resources]
    return compile_policy(policy(role("reader", *granted), binding("reader", "reader", user_subject("alice"))))


class Get:
    """A get that waits for upstream."""

    def __init__(self, authority: Authority, client: FakeExchange, call: Call, serving: asyncio.Task[None]) -> None:
        self.authority = authority
        self.client = client
        self.call = call
        self.serving = serving

    @property
    def answered(self) -> list[tuple[int, dict[bytes, bytes], bytes]]:
        return self.client.connection.answered

    async def refused(self, error: type[Exception]) -> str:
        """The message of what is raised; nothing was written then."""
        with pytest.raises(error) as raised:
            await self.serving
        assert self.answered == []
        assert not self.client.exchange.started
        return str(raised.value)


@asynccontextmanager
async def asked(*, expires_at: float | None = None) -> AsyncIterator[Get]:
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        authority = Authority(reader("pods"), Lister(server.client, tasks), clock=loop_time, strict=False)
        relay = RelayHandler(server.client, authority, OpenStreams(), clock=loop_time, impersonate=True)
        client = FakeExchange(expires_at=expires_at)
        client.exchange.headers.append((b"accept", b"application/json"))
        client.exchange.request = parse_request("GET", TARGET)
        permit = permit_or_raise(authority, ALICE, GET_POD)
        serving = asyncio.ensure_future(relay.serve_whole(client.exchange, permit, MAX_BODY_BYTES))
        yield Get(authority, client, await server.next_call(), serving)


def test_the_answer_goes_on_as_it_came_with_its_length_and_without_upstreams_own_headers() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.call.answer(
                POD, headers={"Content-Type": "application/json", "Audit-Id": "theirs", "Connection": "x", "X": "1"}
            )
            await get.serving
        [(status, headers, body)] = get.answered
        assert (status, body) == (200, POD)
        assert headers.pop(b"audit-id") == get.client.exchange.audit.audit_id.encode()
        assert headers == {
            b"cache-control": b"no-cache, private",
            b"content-length": b"%d" % len(POD),
            b"content-type": b"application/json",
        }
        assert get.client.exchange.audit.code == 200

    run_simulated(conversation())


def test_an_upstream_status_keeps_its_code() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.call.refuse(404, "NotFound")
            await get.serving
        assert get.answered[0][0] == 404

    run_simulated(conversation())


def test_who_lost_the_permission_while_upstream_was_asked_gets_nothing() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.authority.use_policy(reader("configmaps"))
            get.call.answer(POD)
            assert "authorization changed" in await get.refused(ServiceUnavailable)

    run_simulated(conversation())


def test_who_lost_the_permission_while_the_connection_was_full_gets_nothing() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.client.connection.stop_reading()
            get.call.answer(POD)
            await let_others_run()
            get.authority.use_policy(reader("configmaps"))
            get.client.connection.read_on()
            assert "authorization changed" in await get.refused(ServiceUnavailable)

    run_simulated(conversation())


def test_another_policy_that_still_allows_it_changes_nothing() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.authority.use_policy(reader("pods", "configmaps"))
            get.call.answer(POD)
            await get.serving
        assert get.answered[0][2] == POD

    run_simulated(conversation())


def test_a_credential_that_ended_while_upstream_was_asked_shows_nothing() -> None:
    async def conversation() -> None:
        async with asked(expires_at=loop_time() + 5) as get:
            await asyncio.sleep(5)
            get.call.answer(POD)
            assert "ended before it was answered" in await get.refused(ServiceUnavailable)

    run_simulated(conversation())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_the_proxy_itself_is_not_passed_on(status: int) -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.call.refuse(status, "Forbidden", "watchkeeper-proxy may not")
            assert "watchkeeper-proxy" not in await get.refused(ServiceUnavailable)

    run_simulated(conversation())


def test_an_object_beyond_its_bound_is_not_relayed() -> None:
    async def conversation() -> None:
        async with asked() as get:
            get.call.answer(b"x" * (MAX_BODY_BYTES + 1))
            await get.refused(InternalError)

    run_simulated(conversation())

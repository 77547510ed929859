"""What is looked at before each part of a filtered answer is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.api.status import Forbidden, ServiceUnavailable
from proxy.authn.user import User
from proxy.policy.compile import compile_policy
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.authority import Authority
from proxy.server.credential import Credential
from proxy.server.permits import guard_of, permit_or_raise
from proxy.upstream.lister import Lister
from tests.support.fake_api_server import FakeApiServer
from tests.support.policies import asking, binding, policy, role, rule, user_subject
from tests.support.simulated_time import loop_time, run_simulated

ALICE = User(name="alice", groups=("system:authenticated",))
LIST_PODS = asking("list", "pods")


def snapshot(*namespaces: str) -> PolicySnapshot:
    bindings = (binding(f"in-{each}", "reader", user_subject("alice"), namespace=each) for each in namespaces)
    return compile_policy(policy(role("reader", rule("list", "pods")), *bindings))


@asynccontextmanager
async def stage() -> AsyncIterator[Authority]:
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        yield Authority(snapshot("team-a"), Lister(server.client, tasks), clock=loop_time, strict=False)


def test_an_answer_goes_on_while_scope_and_credential_are_what_they_were() -> None:
    async def talk() -> None:
        async with stage() as authority:
            permit = permit_or_raise(authority, ALICE, LIST_PODS)
            check = guard_of(authority, permit, Credential(loop_time() + 10))
            check()
            authority.use_policy(snapshot("team-a", "team-b"))
            with pytest.raises(ServiceUnavailable, match="authorization changed"):
                check()
            authority.use_policy(snapshot())
            with pytest.raises(Forbidden):
                check()

    run_simulated(talk())


@pytest.mark.parametrize("revoked", [True, False])
def test_an_answer_does_not_go_on_without_the_credential(revoked: bool) -> None:
    """A list may take its reader minutes: a token that is refused meanwhile ends it, as one that expires does."""

    async def talk() -> None:
        async with stage() as authority:
            credential = Credential(loop_time() + 10)
            check = guard_of(authority, permit_or_raise(authority, ALICE, LIST_PODS), credential)
            check()
            if revoked:
                credential.revoke()
            else:
                await asyncio.sleep(10)
            with pytest.raises(ServiceUnavailable, match="credential ended"):
                check()

    run_simulated(talk())

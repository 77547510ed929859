"""The authority: what is in force, from which moment, and what a client may go on from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from proxy.api.status import ServiceUnavailable
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Denied, Permit, Undecided
from proxy.authz.namespaces import NamespaceLabels
from proxy.policy.compile import compile_policy
from proxy.policy.model import Binding, Dialect
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.authority import Authority
from proxy.server.permits import permit_or_raise, renewed
from proxy.upstream.lister import Lister
from tests.support.fake_api_server import FakeApiServer
from tests.support.policies import asking, binding, labels, policy, role, rule, user_subject
from tests.support.simulated_time import let_others_run, loop_time, run_simulated
from tests.support.versions import PODS

ALICE = User(name="alice", groups=("system:authenticated",))
LIST_PODS = asking("list", "pods")
READER = role("reader", rule("get list watch", "pods"), dialect=Dialect.WATCHKEEPER)


def in_namespaces(*namespaces: str, expires: float | None = None) -> Binding:
    return binding(
        f"in-{'-'.join(namespaces)}",
        "reader",
        user_subject("alice"),
        dialect=Dialect.WATCHKEEPER,
        namespaces=namespaces,
        expires=expires,
    )


def snapshot(*bindings: Binding) -> PolicySnapshot:
    return compile_policy(policy(READER, *bindings))


TEAM_A = snapshot(in_namespaces("team-a"))
TEAM_B = snapshot(in_namespaces("team-b"))
BOTH = snapshot(in_namespaces("team-a", "team-b"))
NOBODY = snapshot()


@asynccontextmanager
async def stage(policy_now: PolicySnapshot = TEAM_A) -> AsyncIterator[tuple[Authority, FakeApiServer]]:
    server = FakeApiServer()
    async with asyncio.TaskGroup() as tasks:
        yield Authority(policy_now, Lister(server.client, tasks), clock=loop_time, strict=False), server


def permit(authority: Authority, attributes: Attributes = LIST_PODS) -> Permit:
    return permit_or_raise(authority, ALICE, attributes)


async def settle(authority: Authority, server: FakeApiServer, rv: int) -> None:
    settling = asyncio.ensure_future(authority.settle(PODS))
    (await server.next_call()).answer_list(rv)
    await settling


def test_a_policy_takes_effect_at_once_and_its_observers_hear_of_it_in_the_same_step() -> None:
    async def talk() -> None:
        async with stage() as (authority, _):
            scopes = []
            authority.observe(lambda: scopes.append(authority.decide(ALICE, LIST_PODS)))
            before = permit(authority)
            authority.use_policy(TEAM_B)
            (seen,) = scopes
            assert isinstance(seen, Permit)
            assert seen.scope != before.scope
            assert renewed(authority, before).scope == seen.scope
            assert renewed(authority, before).activation > before.activation

    run_simulated(talk())


def test_the_same_policy_again_is_no_activation() -> None:
    async def talk() -> None:
        async with stage() as (authority, _):
            heard: list[None] = []
            authority.observe(lambda: heard.append(None))
            authority.use_policy(snapshot(in_namespaces("team-a")))
            assert heard == []

    run_simulated(talk())


def test_a_binding_ends_at_its_second_whether_or_not_anybody_asks() -> None:
    async def talk() -> None:
        expiring = snapshot(in_namespaces("team-a", expires=loop_time() + 10))
        async with stage(expiring) as (authority, _), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(authority.run())
            heard: list[float] = []
            authority.observe(lambda: heard.append(loop_time()))
            began = loop_time()
            await asyncio.sleep(9.9)
            assert isinstance(authority.decide(ALICE, LIST_PODS), Permit)
            await asyncio.sleep(0.1)
            assert isinstance(authority.decide(ALICE, LIST_PODS), Denied)
            await asyncio.sleep(1)
            (at,) = heard
            assert 10 <= at - began <= 10.5
            running.cancel()

    run_simulated(talk())


def test_unknown_namespace_labels_leave_the_question_open() -> None:
    async def talk() -> None:
        selecting = binding(
            "teams",
            "reader",
            user_subject("alice"),
            dialect=Dialect.WATCHKEEPER,
            namespace_selector=labels(team="a"),
        )
        async with stage(snapshot(selecting)) as (authority, _):
            assert isinstance(authority.decide(ALICE, LIST_PODS), Undecided)
            with pytest.raises(ServiceUnavailable):
                permit(authority)
            authority.use_namespaces(NamespaceLabels({"x": {"team": "a"}}))
            assert isinstance(authority.decide(ALICE, LIST_PODS), Permit)
            authority.use_namespaces(None)
            assert isinstance(authority.decide(ALICE, LIST_PODS), Undecided)

    run_simulated(talk())


def test_labels_that_are_what_they_were_change_nothing() -> None:
    """A list of namespaces made anew is no reason to ask for resourceVersions again."""

    async def talk() -> None:
        async with stage() as (authority, _):
            authority.use_namespaces(NamespaceLabels({"x": {"team": "a"}}))
            activation = authority.state.activation
            authority.use_namespaces(NamespaceLabels({"x": {"team": "a"}}))
            assert authority.state.activation == activation
            authority.use_namespaces(NamespaceLabels({"x": {"team": "b"}}))
            assert authority.state.activation == activation + 1

    run_simulated(talk())


def test_a_caller_is_told_to_come_again_while_every_read_is_overtaken() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            settling = asyncio.ensure_future(authority.settle(PODS))
            number = 0
            while not settling.done():
                call = await server.next_call()
                authority.use_policy((TEAM_A, TEAM_B)[(number := number + 1) % 2])
                call.answer_list(10 + number)
                await let_others_run()
            assert isinstance(settling.exception(), ServiceUnavailable)
            await settle(authority, server, 100)

    run_simulated(talk())


def test_the_first_answer_after_an_activation_waits_for_the_resource_version() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            await settle(authority, server, 10)
            await authority.settle(PODS)
            assert server.waiting == 0, "known"
            authority.use_policy(TEAM_B)
            await settle(authority, server, 12)

    run_simulated(talk())


def test_a_read_that_an_activation_overtakes_is_not_taken_for_the_new_state() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            settling = asyncio.ensure_future(authority.settle(PODS))
            call = await server.next_call()
            authority.use_policy(TEAM_B)
            call.answer_list(10)
            await let_others_run()
            assert not settling.done()
            (await server.next_call()).answer_list(15)
            await settling
            assert not authority.may_resume(permit(authority), PODS, "12")
            assert authority.may_resume(permit(authority), PODS, "16")

    run_simulated(talk())


def test_a_resource_version_that_cannot_be_read_is_no_answer() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            settling = asyncio.ensure_future(authority.settle(PODS))
            (await server.next_call()).fail(httpx.ConnectError("refused"))
            with pytest.raises(ServiceUnavailable):
                await settling
            await settle(authority, server, 10)

    run_simulated(talk())


def test_a_stream_resumes_under_its_own_scope_only() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            await settle(authority, server, 10)
            authority.hand_out(permit(authority), PODS, "")
            assert authority.may_resume(permit(authority), PODS, "11")
            authority.use_policy(BOTH)
            await settle(authority, server, 20)
            assert not authority.may_resume(permit(authority), PODS, "11")
            assert not authority.may_resume(permit(authority), PODS, "20")
            assert not authority.may_hand_out(permit(authority), PODS, "19")
            authority.hand_out(permit(authority), PODS, "")
            assert authority.may_resume(permit(authority), PODS, "20")

    run_simulated(talk())


def test_a_caller_that_was_refused_meanwhile_holds_nothing_to_go_on_from() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            await settle(authority, server, 10)
            authority.use_policy(NOBODY)
            await settle(authority, server, 20)
            authority.use_policy(TEAM_A)
            await settle(authority, server, 30)
            assert authority.may_resume(permit(authority), PODS, "15")
            assert not authority.may_resume(permit(authority), PODS, "25")
            assert authority.may_resume(permit(authority), PODS, "35")

    run_simulated(talk())


def test_a_watch_goes_on_from_what_a_list_of_the_same_place_showed() -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            await settle(authority, server, 10)
            authority.hand_out(permit(authority, asking("list", "pods")), PODS, "")
            assert authority.may_resume(permit(authority, asking("watch", "pods")), PODS, "10")
            elsewhere = permit(authority, asking("watch", "pods", namespace="team-a"))
            assert not authority.may_resume(elsewhere, PODS, "10")

    run_simulated(talk())


@pytest.mark.parametrize("rv", ["", "0", "x"])
def test_nobody_resumes_from_what_is_no_resource_version(rv: str) -> None:
    async def talk() -> None:
        async with stage() as (authority, server):
            await settle(authority, server, 10)
            assert not authority.may_resume(permit(authority), PODS, rv)

    run_simulated(talk())

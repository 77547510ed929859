"""Two authorities that serve the same clients, as workers do: what one has shown may be resumed at the other or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.authn.user import User
from proxy.authz.namespaces import NamespaceLabels
from proxy.policy.compile import compile_policy
from proxy.policy.model import Dialect
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.authority import Authority
from proxy.server.peers import DIGEST_BYTES, Board, Peers
from proxy.server.permits import permit_or_raise
from proxy.upstream.lister import Lister
from tests.support.fake_api_server import FakeApiServer
from tests.support.policies import asking, binding, group_subject, policy, role, rule, user_subject
from tests.support.simulated_time import loop_time, run_simulated
from tests.support.versions import PODS

ALICE = User(name="alice", groups=("system:authenticated",))
ALICE_OF_TEAM_B = User(name="alice", groups=("system:authenticated", "team-b"))
LIST = asking("list", "pods")
READER = role("reader", rule("get list watch", "pods"), dialect=Dialect.WATCHKEEPER)
ONE, OTHER = b"1" * DIGEST_BYTES, b"2" * DIGEST_BYTES


def snapshot(*namespaces: str) -> PolicySnapshot:
    subject = user_subject("alice")
    bound = binding("bound", "reader", subject, dialect=Dialect.WATCHKEEPER, namespaces=namespaces)
    group = group_subject("team-b")
    of_group = binding("of-group", "reader", group, dialect=Dialect.WATCHKEEPER, namespaces=["team-b"])
    return compile_policy(policy(READER, bound, of_group))


class Member:
    """One worker's authority, with an API server of its own to answer it."""

    def __init__(self, board: Board, number: int, tasks: asyncio.TaskGroup) -> None:
        self.peers = Peers(board, number)
        self._server = FakeApiServer()
        lister = Lister(self._server.client, tasks)
        self.authority = Authority(snapshot("team-a"), lister, clock=loop_time, strict=False, peers=self.peers)
        self.peers.serve()

    async def settle(self, rv: int) -> None:
        """Reads the resource, which is at `rv`."""
        settling = asyncio.ensure_future(self.authority.settle(PODS))
        (await self._server.next_call()).answer_list(rv)
        await settling

    def lists(self, user: User, rv: int) -> None:
        self.authority.hand_out(permit_or_raise(self.authority, user, LIST), PODS, str(rv))

    def resumes(self, rv: int, user: User = ALICE) -> bool:
        return self.authority.may_resume(permit_or_raise(self.authority, user, LIST), PODS, str(rv))


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Member, Member]]:
    """Both have read the resource at 10."""
    board = Board(2)
    async with asyncio.TaskGroup() as tasks:
        one, other = (Member(board, number, tasks) for number in range(2))
        for each in (one, other):
            await each.settle(10)
        yield one, other


def test_what_one_worker_showed_is_resumed_at_the_other() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            assert one.resumes(11)
            assert other.resumes(11)

    run_simulated(talk())


def test_a_caller_that_comes_to_the_other_worker_with_other_groups_lists_again() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.lists(ALICE, 11)
            assert other.resumes(11, ALICE)
            assert not other.resumes(11, ALICE_OF_TEAM_B)
            other.lists(ALICE_OF_TEAM_B, 12)
            assert one.resumes(12, ALICE_OF_TEAM_B)
            assert not one.resumes(12, ALICE)

    run_simulated(talk())


def test_while_workers_decide_by_different_policies_neither_resumes() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.authority.use_policy(snapshot("team-a", "team-b"))
            await one.settle(20)
            await other.settle(20)
            assert not one.resumes(21)
            assert not other.resumes(21)

    run_simulated(talk())


def test_what_the_last_worker_showed_under_the_old_policy_is_not_resumed_at_the_first() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.authority.use_policy(snapshot("team-a", "team-b"))
            await one.settle(20)
            # until here the other may have shown what the old policy shows, at 30
            other.authority.use_policy(snapshot("team-a", "team-b"))
            await one.settle(30)
            await other.settle(30)
            assert not one.resumes(25)
            assert not one.resumes(30)
            assert one.resumes(31)
            assert other.resumes(31)

    run_simulated(talk())


def test_what_was_settled_before_a_peer_changed_does_not_count_until_it_is_settled_again() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.authority.use_policy(snapshot("team-b"))
            one.authority.use_policy(snapshot("team-a"))
            assert not other.resumes(11)
            assert not other.resumes(11)
            await other.settle(20)
            assert other.resumes(21)

    run_simulated(talk())


def test_labels_of_namespaces_are_part_of_what_workers_must_agree_on() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.authority.use_namespaces(NamespaceLabels({"team-a": {"env": "prod"}}))
            await other.settle(20)
            assert not other.resumes(21)
            other.authority.use_namespaces(NamespaceLabels({"team-a": {"env": "prod"}}))
            await other.settle(30)
            assert other.resumes(31)

    run_simulated(talk())


def test_a_look_at_a_peer_is_no_news_for_that_peer() -> None:
    async def talk() -> None:
        async with two() as (one, other):
            one.authority.use_policy(snapshot("team-b"))
            await other.settle(20)
            assert not one.peers.have_changed()

    run_simulated(talk())


def test_what_a_dead_worker_changed_still_counts_and_its_state_does_not() -> None:
    board = Board(2)
    one, other = Peers(board, 0), Peers(board, 1)
    for each in (one, other):
        each.publish(ONE)
        each.serve()
    other.publish(OTHER)
    board.bury(1)
    assert one.have_changed()
    assert one.agree()


def test_a_worker_that_does_not_serve_yet_is_no_news() -> None:
    board = Board(2)
    one = Peers(board, 0)
    one.publish(ONE)
    one.serve()
    starting = Peers(board, 1)
    starting.publish(OTHER)
    starting.publish(ONE)
    assert not one.have_changed()
    assert one.agree()
    starting.serve()
    assert not one.have_changed()
    assert one.agree()


def test_a_worker_that_began_with_another_state_counts_even_when_it_dies_at_once() -> None:
    board = Board(2)
    one = Peers(board, 0)
    one.publish(ONE)
    one.serve()
    other = Peers(board, 1)
    other.publish(OTHER)
    other.serve()
    board.bury(1)
    assert one.have_changed()

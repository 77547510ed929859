"""Open streams, and what ends them from outside."""

from __future__ import annotations

import asyncio

from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Permit, Undecided
from proxy.authz.forbidden import denied
from proxy.authz.scope import EVERYTHING, NOTHING, Scope
from proxy.server.open_streams import DRAIN_BOUND_SECONDS, OpenStream, OpenStreams
from proxy.watch.session import EndReason
from tests.support.policies import asking
from tests.support.simulated_time import loop_time, run_simulated

PODS = asking("watch", "pods")
SERVICES = asking("watch", "services")


def permit(name: str, attributes: Attributes = PODS, scope: Scope = EVERYTHING) -> Permit:
    return Permit(user=User(name=name), attributes=attributes, scope=scope, activation=1, reason="")


class Ended:
    """The ends of a stream."""

    def __init__(self, streams: OpenStreams, of: Permit) -> None:
        self.reasons: list[EndReason] = []
        self.stream = OpenStream(of, self.reasons.append)
        streams.add(self.stream)


def test_exactly_the_streams_whose_scope_changed_end() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        kept = Ended(streams, permit("alice"))
        narrowed = Ended(streams, permit("alice", SERVICES))
        refused = Ended(streams, permit("bob"))
        unknown = Ended(streams, permit("carol"))

        def decide(user: User, attributes: Attributes) -> Decision:
            if user.name == "bob":
                return denied(user, attributes, "")
            if user.name == "carol":
                return Undecided(message="who knows")
            return permit(user.name, attributes, NOTHING if attributes == SERVICES else EVERYTHING)

        assert streams.reconsider(decide) == 3
        assert kept.reasons == []
        assert narrowed.reasons == refused.reasons == unknown.reasons == [EndReason.SCOPE_CHANGED]

    run_simulated(talk())


def test_each_stream_is_told_to_observers_once_when_it_is_taken_out() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        gone: list[OpenStream] = []
        streams.observe_ends(gone.append)
        one, other = Ended(streams, permit("alice")), Ended(streams, permit("bob"))
        streams.remove(one.stream)
        streams.remove(one.stream)
        assert gone == [one.stream]
        assert list(streams) == [other.stream]

    run_simulated(talk())


def test_equal_questions_are_decided_once() -> None:
    async def talk() -> None:
        streams, asked = OpenStreams(), []
        for _ in range(10):
            Ended(streams, permit("alice"))

        def decide(user: User, attributes: Attributes) -> Decision:
            asked.append(user.name)
            return permit(user.name, attributes)

        assert streams.reconsider(decide) == 0
        assert asked == ["alice"]

    run_simulated(talk())


def test_a_stream_may_leave_while_it_is_ended() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        for _ in range(3):
            stream = OpenStream(permit("alice"), lambda reason: leave())
            streams.add(stream)

        def leave() -> None:
            for each in list(streams._streams):
                streams.remove(each)

        streams.reconsider(lambda user, attributes: denied(user, attributes, ""))
        assert len(streams) == 0

    run_simulated(talk())


def test_a_stream_that_has_left_is_not_ended() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        gone = Ended(streams, permit("alice"))
        streams.remove(gone.stream)
        streams.remove(gone.stream)
        await streams.drain()
        assert gone.reasons == []

    run_simulated(talk())


def test_a_drain_waits_for_the_last_stream() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        loop = asyncio.get_running_loop()
        for seconds in (1.0, 3.0):
            stream = OpenStream(permit("alice"), lambda reason: None)
            streams.add(stream)
            loop.call_later(seconds, streams.remove, stream)
        began = loop_time()
        await streams.drain()
        assert loop_time() - began == 3.0

    run_simulated(talk())


def test_a_drain_does_not_wait_for_ever() -> None:
    async def talk() -> None:
        streams = OpenStreams()
        stuck = Ended(streams, permit("alice"))
        began = loop_time()
        await streams.drain()
        assert loop_time() - began == DRAIN_BOUND_SECONDS
        assert stuck.reasons == [EndReason.DRAIN]

    run_simulated(talk())

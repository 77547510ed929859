"""The truth: every version of every pod, as a watch directly at the API server tells it."""

import threading
from bisect import bisect_right
from types import TracebackType
from typing import NamedTuple, Self

import httpx

from tests.support.polling import poll
from tests.support.question import Json, Key
from tests.support.watching import WatchStream

CATCH_UP_SECONDS = 30.0
_PODS = "/api/v1/pods"


class Version(NamedTuple):
    """What a pod became by the write at `rv`: None when it was deleted."""

    rv: int
    key: Key
    pod: Json | None


class Recorder:
    """Records from the moment it is entered; `client` sees everything and belongs to the caller."""

    def __init__(self, client: httpx.Client) -> None:
        self.versions: list[Version] = []
        self._client = client
        self._changed = threading.Condition()
        self._stream: WatchStream | None = None

    def __enter__(self) -> Self:
        body = self._client.get(_PODS).raise_for_status().json()
        self.versions = [Version(0, _key(pod), pod) for pod in body["items"]]
        self._follow(body["metadata"]["resourceVersion"])
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.__exit__(exc_type, exc, traceback)

    def resume(self) -> None:
        """Go on after a fault in which nobody wrote: what there is must be what was."""
        assert self._stream is not None
        self._collect()
        body = self._client.get(_PODS).raise_for_status().json()
        now = {_key(pod): pod["metadata"]["resourceVersion"] for pod in body["items"]}
        then = {key: pod["metadata"]["resourceVersion"] for key, pod in state_at(self.versions).items()}
        assert now == then, "somebody wrote while the API server was away, or the record has a gap"
        self._stream.__exit__(None, None, None)
        self._follow(body["metadata"]["resourceVersion"])

    def wait_for(self, rv: int) -> None:
        """Return when the record is complete up to the write of a pod at `rv`."""
        poll(
            lambda: self._collect() >= rv,
            timeout_seconds=CATCH_UP_SECONDS,
            failure=lambda: f"the record ends before {rv}",
        )

    def _follow(self, rv: str) -> None:
        self._stream = WatchStream(self._client, _PODS, {"resourceVersion": rv})
        self._taken = 0

    def _collect(self) -> int:
        """Takes in what has come; returns how far the record goes."""
        assert self._stream is not None
        events = self._stream.events
        while self._taken < len(events):
            event = events[self._taken]
            self._taken += 1
            assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
            pod = event["object"]
            rv = int(pod["metadata"]["resourceVersion"])
            self.versions.append(Version(rv, _key(pod), None if event["type"] == "DELETED" else pod))
        return self.versions[-1].rv if self.versions else 0


def state_at(versions: list[Version], rv: int | None = None) -> dict[Key, Json]:
    """The pods at `rv`, None for the newest state."""
    end = len(versions) if rv is None else bisect_right(versions, rv, key=lambda version: version.rv)
    state: dict[Key, Json] = {}
    for version in versions[:end]:
        apply(state, version)
    return state


def apply(state: dict[Key, Json], version: Version) -> None:
    """Makes the state what it is after one more version."""
    if version.pod is None:
        state.pop(version.key, None)
    else:
        state[version.key] = version.pod


def _key(pod: Json) -> Key:
    return (pod["metadata"]["namespace"], pod["metadata"]["name"])

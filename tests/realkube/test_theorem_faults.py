"""The theorem through faults of the API server, of etcd, and of the way to them, while many clients watch.

One proxy and its clients live through all of them; each time they recover by themselves. At every event, list and
bookmark each client has exactly what it may see, and none is doubled or out of order: see tests/support/theorem.py.
"""

import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.realkube.test_theorem import everybody, finish
from tests.support.binaries import Binaries
from tests.support.control_plane import Component
from tests.support.identities import ADMIN
from tests.support.polling import poll
from tests.support.realkube import RealCluster
from tests.support.theorem_stage import Stage

pytestmark = pytest.mark.timeout(240, func_only=True)

WRITES = 12
ANSWERS = 5  # a fault that is answered is met so many times before it ends
ANSWER_SECONDS = 30.0

_HTML = b"<html>bad gateway</html>"
_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
_HALF = b'{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","names'
_STATUS = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"etcd","reason":"InternalError","code":500}'


def whole(status: bytes, body: bytes, *headers: bytes) -> bytes:
    fields = b"".join(header + b"\r\n" for header in (*headers, b"Content-Length: %d" % len(body)))
    return b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


FAULTY_ANSWERS = {
    "429": whole(b"429 Too Many Requests", b"", b"Retry-After: 1"),
    "500 of something before it": whole(b"500 Internal Server Error", _HTML),
    "502": whole(b"502 Bad Gateway", _HTML),
    "garbage with status 200": whole(b"200 OK", _HTML),
    "no HTTP": b"\x00\x01\x02 oops\r\n\r\n",
    "nothing": b"",
    "half a JSON and a clean end": _CHUNKED + chunk(_HALF) + b"0\r\n\r\n",
    "half a JSON and a cut": _CHUNKED + chunk(_HALF),
    "half a chunk": _CHUNKED + chunk(_HALF)[:40],
    "a body shorter than promised": whole(b"200 OK", _HALF).replace(b"Length: ", b"Length: 9"),
    "an event of no known kind": _CHUNKED + chunk(b'{"type":"RENAMED","object":{}}\n') + b"0\r\n\r\n",
}


@pytest.fixture(scope="module")
def cluster(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of this module's own: it is killed and frozen."""
    with RealCluster(tmp_path_factory.mktemp("faulty-theorem"), real_binaries) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def whole_play(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(cluster, tmp_path_factory.mktemp("play"), everybody, seed=8, watch_delay_ms=0) as stage:
        stage.play(30)
        yield stage
        finish(stage)


@pytest.fixture
def stage(whole_play: Stage) -> Iterator[Stage]:
    """Everybody is there and in the middle of something; after the test everybody recovers, and is judged."""
    whole_play.resume_all()
    whole_play.settle()
    whole_play.write(WRITES)
    yield whole_play
    print(f"\nrecovered after {whole_play.recover():.1f} s, {whole_play.judged} states so far")
    whole_play.play(10)
    whole_play.settle()


def test_every_connection_is_cut(stage: Stage) -> None:
    for _ in range(3):
        stage.link.cut()
        stage.write(WRITES)


def test_every_watch_is_cut_in_the_middle_of_an_event(stage: Stage) -> None:
    for _ in range(3):
        stage.link.cut_mid_frame()
        stage.write(WRITES)


def test_everything_freezes(stage: Stage) -> None:
    stage.link.freeze()
    stage.write(WRITES)
    stage.link.thaw()


def test_watches_freeze_in_the_middle_of_an_event_while_reads_go_on(stage: Stage) -> None:
    stage.link.freeze_mid_frame()
    stage.write(WRITES)
    for replica in stage.replicas[:4]:
        replica.reconnect()
    stage.write(WRITES)
    stage.link.thaw()


def test_watches_freeze_in_the_middle_of_an_event_and_are_cut_there(stage: Stage) -> None:
    stage.link.freeze_mid_frame()
    stage.write(WRITES)
    stage.link.cut()
    stage.link.thaw()


def test_connections_are_refused(stage: Stage) -> None:
    stage.link.refuse()
    try:
        stage.write(WRITES)
        unavailable(stage)
    finally:
        stage.link.accept()


@pytest.mark.parametrize("answer", FAULTY_ANSWERS.values(), ids=FAULTY_ANSWERS.keys())
def test_the_answer_to_watches_is(stage: Stage, answer: bytes) -> None:
    faulty(stage, answer, watches_only=True)


@pytest.mark.parametrize("name", ["429", "502", "garbage with status 200", "nothing", "a body shorter than promised"])
def test_the_answer_to_everything_is(stage: Stage, name: str) -> None:
    faulty(stage, FAULTY_ANSWERS[name], watches_only=False)


def test_the_answer_to_watches_is_a_500_of_the_api_servers_own(stage: Stage) -> None:
    faulty(stage, whole(b"500 Internal Server Error", _STATUS, b"Content-Type: application/json"), watches_only=True)


def test_the_api_server_is_killed(stage: Stage) -> None:
    stage.restart_api_server(signal.SIGKILL)


def test_the_api_server_is_frozen(stage: Stage, cluster: RealCluster) -> None:
    frozen(stage, cluster, Component.KUBE_APISERVER)


def test_etcd_is_frozen(stage: Stage, cluster: RealCluster) -> None:
    frozen(stage, cluster, Component.ETCD)


def test_etcd_is_killed(stage: Stage, cluster: RealCluster) -> None:
    stage.without_writes(cluster.kill_etcd)


def test_etcd_is_compacted_under_open_watches(stage: Stage, cluster: RealCluster) -> None:
    cluster.compact()
    stage.write(WRITES)


def test_what_the_proxy_missed_was_compacted_away(stage: Stage, cluster: RealCluster) -> None:
    """It comes back to an API server that knows nothing of where it was: 410, and everything is listed anew."""
    stage.link.refuse()
    try:
        stage.write(WRITES)
        stage.restart_api_server(signal.SIGKILL)
        cluster.compact()
        stage.write(WRITES)
    finally:
        stage.link.accept()


def faulty(stage: Stage, answer: bytes, *, watches_only: bool) -> None:
    stage.link.answer(answer, watches_only=watches_only)
    stage.write(WRITES)
    poll(
        lambda: stage.link.answered >= ANSWERS,
        timeout_seconds=ANSWER_SECONDS,
        failure=lambda: f"the proxy asked {stage.link.answered} times only",
    )
    stage.link.answer(None)


def frozen(stage: Stage, cluster: RealCluster, component: Component) -> None:
    """Frozen, with open connections, until somebody has waited in vain."""

    def freeze() -> None:
        cluster.pause(component)
        try:
            with stage.proxy.client(ADMIN, timeout=httpx.Timeout(2.0)) as client:
                with pytest.raises(httpx.ReadTimeout):
                    client.get("/api/v1/nodes")
        finally:
            cluster.go_on(component)

    stage.without_writes(freeze)


def unavailable(stage: Stage) -> None:
    with stage.proxy.client(ADMIN) as client:
        poll(
            lambda: client.get("/api/v1/nodes").status_code == 503,
            timeout_seconds=ANSWER_SECONDS,
            failure=lambda: "it is served without an API server",
        )

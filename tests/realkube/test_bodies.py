"""Bodies in every framing: the same bytes make the same answer, and what stands around them says nothing.

An access review is answered by the proxy itself, which therefore reads its body.
"""

import gzip
import json
import ssl
from collections.abc import Callable, Iterator

import pytest

from proxy.server.relay_handler import MAX_BODY_BYTES
from tests.support.grants import EVERYTHING, grant
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient, RawResponse, request_bytes
from tests.support.realkube import RealCluster

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
PODS = "/api/v1/namespaces/default/pods"
QUESTION = json.dumps({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}).encode()
Connect = Callable[[], RawClient]
JSON = ("Content-Type", "application/json")
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture(scope="module")
def connect(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """Connections of somebody who may do everything."""
    context: ssl.SSLContext = real_cluster.pki.client_context(real_cluster.client_certificate("root"))
    policies = {"root.yaml": grant("root", *EVERYTHING)}
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("bodies"), policies) as proxy:
        yield lambda: RawClient(proxy.port, context)


def chunks(body: bytes, *, extension: bytes = b"", size: int = 7) -> bytes:
    """The body in chunks, without the last one."""
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)


def post(client: RawClient, headers: list[tuple[str, str]], sent: bytes, target: str = REVIEWS) -> RawResponse:
    client.send(request_bytes(target, method="POST", headers=[JSON, *headers]) + sent)
    return client.read_response(method="POST")


def answers(response: RawResponse) -> bool:
    """True for the answer to QUESTION, as its caller may list pods somewhere."""
    return response.status == 201 and response.json["status"]["allowed"] is True


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ([("Content-Length", str(len(QUESTION)))], QUESTION),
        ([CHUNKED], chunks(QUESTION) + b"0\r\n\r\n"),
        ([CHUNKED], chunks(QUESTION, size=1) + b"0\r\n\r\n"),
        ([("Transfer-Encoding", "Chunked")], chunks(QUESTION) + b"0\r\n\r\n"),
        ([CHUNKED], chunks(QUESTION, extension=b";name=value") + b"0;last\r\n\r\n"),
        ([CHUNKED], chunks(QUESTION, extension=b';name="quoted; text"') + b"0\r\n\r\n"),
        ([CHUNKED], chunks(QUESTION) + b"0\r\nContent-Type: application/yaml\r\n\r\n"),
        ([CHUNKED], chunks(QUESTION) + b"0\r\nImpersonate-User: nobody\r\nX: y\r\n\r\n"),
        ([CHUNKED, ("Trailer", "Authorization")], chunks(QUESTION) + b"0\r\nAuthorization: Bearer x\r\n\r\n"),
        ([("Content-Length", str(len(QUESTION))), ("Content-MD5", "x"), ("Digest", "x")], QUESTION),
    ],
)
def test_framing_extensions_and_trailers_change_nothing(
    connect: Connect, headers: list[tuple[str, str]], sent: bytes
) -> None:
    """And the next request on the connection is where it should be."""
    with connect() as client:
        assert answers(post(client, headers, sent))
        assert client.request(PODS).status == 200


@pytest.mark.parametrize("trailer", ["Content-Length: 0", "Transfer-Encoding: identity", "Transfer-Encoding: chunked"])
def test_a_trailer_that_would_change_the_framing_is_none(connect: Connect, trailer: str) -> None:
    with connect() as client:
        response = post(client, [CHUNKED], chunks(QUESTION) + f"0\r\n{trailer}\r\n\r\n".encode())
        assert (response.status, response.closes) == (400, True)
        assert client.read_until_closed() == b""


def test_a_client_that_waits_to_be_told_to_go_on_is_told_so_when_it_may(connect: Connect) -> None:
    with connect() as client:
        headers = [JSON, ("Content-Length", str(len(QUESTION))), ("Expect", "100-continue")]
        client.send(request_bytes(REVIEWS, method="POST", headers=headers))
        assert client.read_head()[0] == 100
        client.send(QUESTION)
        assert answers(client.read_response(method="POST"))


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, x", ""])
def test_other_expectations_are_nobodys(connect: Connect, expectation: str) -> None:
    with connect() as client:
        length = ("Content-Length", str(len(QUESTION)))
        assert answers(post(client, [length, ("Expect", expectation)], QUESTION))


@pytest.mark.parametrize("target", [REVIEWS, PODS])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_its_bound_is_refused_unread(connect: Connect, target: str, declared: bool) -> None:
    """Declared or not; the connection ends, for the rest of the body is still to come."""
    with connect() as client:
        if declared:
            response = post(client, [("Content-Length", str(MAX_BODY_BYTES + 1))], b"", target)
        else:
            piece = b" " * 65536
            response = post(client, [CHUNKED], chunks(piece * (MAX_BODY_BYTES // 65536 + 1), size=65536), target)
        assert (response.status, response.json["reason"]) == (413, "RequestEntityTooLarge")
        assert client.read_until_closed() == b""


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "aws-chunked"])
def test_a_compressed_question_is_never_unpacked(connect: Connect, coding: str) -> None:
    """A few hundred bytes would be a gibibyte; the API server does not unpack requests either."""
    bomb = gzip.compress(gzip.compress(b" " * 100_000_000))
    with connect() as client:
        response = post(client, [("Content-Length", str(len(bomb))), ("Content-Encoding", coding)], bomb)
        assert (response.status, response.json["reason"]) == (400, "BadRequest")
        assert client.request(PODS).status == 200


@pytest.mark.parametrize(
    "types",
    [
        ["application/json", "application/vnd.kubernetes.protobuf"],
        ["application/json;charset=utf-7"],
        ["application/json\t"],
        ["Application/JSON"],
    ],
)
def test_the_first_content_type_counts_and_its_parameters_do_not(connect: Connect, types: list[str]) -> None:
    headers = [("Content-Type", each) for each in types]
    with connect() as client:
        sent = [*headers, ("Content-Length", str(len(QUESTION)))]
        client.send(request_bytes(REVIEWS, method="POST", headers=sent) + QUESTION)
        assert answers(client.read_response(method="POST"))

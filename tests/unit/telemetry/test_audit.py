"""Audit events: what they say of a request, and what they never say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.request_target import parse_request
from proxy.api.status import StatusDetails
from proxy.authn.user import User
from proxy.authz.decision import Denied, Permit
from proxy.authz.scope import EVERYTHING, Grant, Scope
from proxy.policy.namespace_set import NamespaceSet
from proxy.telemetry.audit import MAX_USER_AGENT_CHARACTERS, RESPONSE_COMPLETE, audit_line
from proxy.telemetry.request_record import RequestRecord
from proxy.telemetry.scope_text import MAX_SCOPE_CHARACTERS, scope_text
from tests.support.policies import asking

ALICE = User(name="alice", uid="1", groups=("team-a",), extra=(("example.org/key", ("a", "b")),))
BOB = User(name="bob")
TEAM_A = Scope(
    False,
    frozenset(
        [Grant(namespaces=NamespaceSet(frozenset({"team-a"})), names=None, field_selector=None, label_selector=None)]
    ),
)


def record(target: bytes = b"/api/v1/namespaces/team-a/pods/x", **fields: Any) -> RequestRecord:
    return RequestRecord(
        audit_id="id", received_at=1.5, method="GET", target=target, request=parse_request("GET", target), **fields
    )


def unparsed(target: bytes, method: str = "GET") -> RequestRecord:
    return RequestRecord(audit_id="id", method=method, target=target, code=400)


def permit(scope: Scope, verb: str = "list") -> Permit:
    return Permit(user=ALICE, attributes=asking(verb, "pods"), scope=scope, activation=1, reason="RBAC: allowed")


def told(of: RequestRecord) -> dict[str, Any]:
    line = audit_line(of, RESPONSE_COMPLETE, 2.25)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    event: dict[str, Any] = json.loads(line)
    return event


def test_an_event_tells_who_asked_for_what_and_when() -> None:
    assert told(record(caller=ALICE, user=ALICE, source_ip="10.0.0.1", user_agent="kubectl/1", code=200)) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "id",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/team-a/pods/x",
        "verb": "get",
        "user": {"username": "alice", "uid": "1", "groups": ["team-a"], "extra": {"example.org/key": ["a", "b"]}},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/1",
        "objectRef": {"resource": "pods", "namespace": "team-a", "name": "x", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "1970-01-01T00:00:01.500000Z",
        "stageTimestamp": "1970-01-01T00:00:02.250000Z",
    }


def test_a_request_in_another_name_tells_both() -> None:
    event = told(record(caller=ALICE, user=BOB))
    assert (event["user"]["username"], event["impersonatedUser"]) == ("alice", {"username": "bob"})


def test_a_client_that_left_before_its_answer_has_no_response_status() -> None:
    assert "responseStatus" not in told(record(caller=ALICE, user=ALICE))


def test_the_uri_is_the_one_that_was_understood() -> None:
    """Not what the client wrote: what it means, with what is not understood left out."""
    event = told(record(b"/api/v1/p%6fds/?watch&no=such&labelSelector=a%3Db"))
    assert event["requestURI"] == "/api/v1/pods?watch=true&labelSelector=a%3Db"
    assert event["verb"] == "watch"


@pytest.mark.parametrize(
    "name", ["token", "access_token", "id_token", "X-Amz-Signature", "PASSWORD", "api_key", "apikey", "clientSecret"]
)
def test_what_is_relayed_to_a_pod_is_told_without_its_credentials(name: str) -> None:
    target = f"/api/v1/namespaces/a/pods/x/proxy/y?{name}=hunter2&page=1".encode()
    assert told(record(target))["requestURI"] == "/api/v1/namespaces/a/pods/x/proxy/y?page=1"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/api//pods?token=hunter2", "/api//pods"),
        (b"/api//pods;token=hunter2", "/api//pods"),
        (b"/api//pods%3Ftoken=hunter2", "/api//pods"),
        (b"/api//pods#hunter2", "/api//pods"),
        (b"https://alice:hunter2@host/api", ""),
        (b"hunter2:443", ""),
        (b"*", ""),
        (b'/api/\x00\n\xff"//', '/api/%00%0A%FF"//'),
    ],
)
def test_what_could_not_be_understood_is_told_up_to_its_query(target: bytes, shown: str) -> None:
    assert told(unparsed(target)).get("requestURI") == shown


def test_a_request_that_was_not_understood_names_its_method_and_no_user() -> None:
    event = told(unparsed(b"//", method="BREW"))
    assert (event["verb"], event["user"]) == ("brew", {})
    assert "objectRef" not in event


def test_what_is_endless_is_cut() -> None:
    assert len(told(unparsed(b"/" * 8000))["requestURI"]) == 1024
    agent = told(record(user_agent="x" * 30_000))["userAgent"]
    assert agent == "x" * MAX_USER_AGENT_CHARACTERS + "...TRUNCATED"


def test_a_line_break_in_a_header_makes_no_second_event() -> None:
    assert told(record(user_agent='a"}\n{"kind":"Event"}\r\n\x85\u2028'))["userAgent"].startswith('a"}\n')


def test_a_permitted_read_tells_what_allowed_it_and_how_much() -> None:
    assert told(record(decision=permit(TEAM_A)))["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "RBAC: allowed",
        "watchkeeper.io/scope": "namespaces=team-a",
        "watchkeeper.io/filtered": "true",
    }


def test_a_write_has_no_scope() -> None:
    annotations = told(record(decision=permit(EVERYTHING, "create")))["annotations"]
    assert set(annotations) == {"authorization.k8s.io/decision", "authorization.k8s.io/reason"}


def test_a_denial_is_told_with_its_reason() -> None:
    denied = Denied(message="no", details=StatusDetails(), reason='RBAC: role "x" not found')
    assert told(record(decision=denied, forbidden=True))["annotations"] == {
        "authorization.k8s.io/decision": "forbid",
        "authorization.k8s.io/reason": 'RBAC: role "x" not found',
    }


def test_an_object_outside_of_the_scope_is_a_denial_that_says_why() -> None:
    """The client is told nothing of this."""
    annotations = told(record(decision=permit(TEAM_A, "get"), forbidden=True))["annotations"]
    assert annotations["authorization.k8s.io/decision"] == "forbid"
    assert "scope" in annotations["authorization.k8s.io/reason"]


def test_a_refused_impersonation_says_so() -> None:
    annotations = told(record(caller=ALICE, forbidden=True))["annotations"]
    assert "impersonate" in annotations["authorization.k8s.io/reason"]


def test_a_scope_reads_the_same_whatever_the_order_it_was_made_in() -> None:
    grants = [
        Grant(namespaces=NamespaceSet(frozenset({"b", "a"}), frozenset({"c-*"})), names=None,
              field_selector=None, label_selector=None),
        Grant(namespaces=None, names=frozenset({"y", "x"}), field_selector=None, label_selector=None),
    ]  # fmt: skip
    texts = {scope_text(Scope(False, frozenset(each))) for each in (grants, grants[::-1])}
    assert texts == {"names=x,y | namespaces=a,b,c-*"}


def test_a_scope_of_thousands_of_namespaces_stays_a_short_text() -> None:
    names = frozenset(f"namespace-{number}" for number in range(5000))
    grant = Grant(namespaces=NamespaceSet(names), names=None, field_selector=None, label_selector=None)
    text = scope_text(Scope(False, frozenset([grant])))
    assert len(text) == MAX_SCOPE_CHARACTERS
    assert text.endswith("…")

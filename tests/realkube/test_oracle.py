"""The oracle: thousands of random requests, asked of the real server with RBAC and of the proxy with the same policy.

Statuses, bodies and the headers that matter are equal, or differ in a way that docs/differences.md names. In
`--list-mode filter` a list or watch that upstream refuses as a whole shows exactly the objects that the real server
allows one by one.

WATCHKEEPER_ORACLE_SEED and WATCHKEEPER_ORACLE_REQUESTS repeat a failure, or look further.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.binaries import Binaries
from tests.support.identities import Identity
from tests.support.oracle.answers import Answer, read
from tests.support.oracle.asked import Asked
from tests.support.oracle.callers import NOBODY, PARTIAL, READER, ROOT
from tests.support.oracle.differences import DIFFERENCES, WHOLE_READS
from tests.support.oracle.generator import Requests
from tests.support.oracle.judge import Judge, Wrong
from tests.support.oracle.parts import Parts
from tests.support.oracle.shrinking import shrink
from tests.support.oracle.world import World, fingerprint, oracle_world

SEED = int(os.environ.get("WATCHKEEPER_ORACLE_SEED", "2026"))
REQUESTS = int(os.environ.get("WATCHKEEPER_ORACLE_REQUESTS", "2000"))
_PARALLEL = 8  # a watch lasts a second, and a resourceVersion of the future three
_SHOWN = 5
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"


class Asking:
    """What both modes are asked, and how the real server answered."""

    def __init__(self, world: World) -> None:
        self.world = world
        requests = Requests(SEED, rv=world.rv, token=world.token)
        self.asked = [next(requests) for _ in range(REQUESTS)]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            self.direct: Sequence[Answer] = list(pool.map(lambda each: read(world.direct.ask(each)), self.asked))

    def judged_by(self, judge: Judge) -> list[Wrong]:
        """Every answer of a proxy that is neither equal nor different on purpose."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return [wrong for wrong in pool.map(judge.judge, self.asked, self.direct) if wrong is not None]


@pytest.fixture(scope="module")
def asking(real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """A cluster, a strict proxy and a filtering one, all with the policy of the seed."""
    with oracle_world(tmp_path_factory.mktemp("oracle"), real_binaries, SEED) as world:
        before = fingerprint(world.cluster)
        yield Asking(world)
        assert fingerprint(world.cluster) == before, "a request changed something: what came after was no comparison"


def strict_judge(asking: Asking) -> Judge:
    return Judge(asking.world.direct, asking.world.strict, None)


def filtering_judge(asking: Asking) -> Judge:
    return Judge(asking.world.direct, asking.world.filtering, Parts(asking.world.cluster, asking.world.direct))


def check(wrong: list[Wrong], judge: Judge) -> None:
    shown = "\n".join(str(shrink(each, judge)) for each in wrong[:_SHOWN])
    assert not wrong, f"seed {SEED}, {REQUESTS} requests: {len(wrong)} answers differ, such as\n{shown}"


def test_strict_every_answer_is_the_real_servers_own(asking: Asking) -> None:
    judge = strict_judge(asking)
    check(asking.judged_by(judge), judge)
    assert judge.seen[""] > REQUESTS // 2, judge.seen


def test_filtering_what_is_refused_as_a_whole_shows_what_is_allowed_one_by_one(asking: Asking) -> None:
    judge = filtering_judge(asking)
    check(asking.judged_by(judge), judge)
    assert judge.seen[""] > REQUESTS // 2, judge.seen
    assert judge.seen["a list or watch that is allowed in part"] > REQUESTS // 200, judge.seen


def test_the_requests_are_not_all_refused(asking: Asking) -> None:
    allowed = sum(200 <= answer.status < 300 for answer in asking.direct)
    assert allowed > REQUESTS // 20, f"{allowed} of {REQUESTS} requests were allowed: hardly anything was compared"
    assert len({answer.status for answer in asking.direct}) > 8


def get(target: str, *headers: tuple[str, str], caller: Identity | None = ROOT, body: bytes = b"") -> Asked:
    return Asked(caller=caller, method="GET", target=target, headers=headers, body=body)


def review(plural: str, kind: str, *headers: tuple[str, str], caller: Identity) -> Asked:
    spec = {"resourceAttributes": {"verb": "list", "resource": "pods"}, **({} if "Self" in kind else {"user": "x"})}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    target = f"/apis/authorization.k8s.io/v1/{plural}"
    return Asked(caller=caller, method="POST", target=target, headers=headers, body=json.dumps(body).encode())


MAPS = "/api/v1/configmaps"
BROKEN = Asked(  # kube-apiserver 1.36 panics over this
    caller=ROOT,
    method="POST",
    target="/apis/samples.example/v1/planets?dryRun=All",
    headers=(("Content-Type", PROTOBUF),),
    body=b"text",
)

CASES: Mapping[str, Asked] = {
    "path with an empty, `.` or `..` segment, `%2F`, `%25`, or a control character": get("//api/v1/configmaps"),
    "`/watch/` paths": get("/api/v1/watch/configmaps?timeoutSeconds=1"),
    "`;` in a query; a parameter given twice": get(f"{MAPS}?limit=1&limit=2"),
    "target that is no path, not UTF-8, or not percent-encoded as it should be": get(f"{MAPS}?limit=%"),
    "method that Kubernetes has no verb for": Asked(caller=NOBODY, method="PROPFIND", target=MAPS),
    "no credentials": get("/version", caller=None),
    "a body on GET or HEAD": get(MAPS, body=b"{}"),
    "an empty, repeated or oddly spelled `Impersonate-*` header; one without a user": get(
        MAPS, ("Impersonate-Group", "system:masters")
    ),
    "`timeout` that is not a duration": get(f"{MAPS}?timeout=x"),
    "406": get(MAPS, ("Accept", "text/plain")),
    "errors of negotiation and of `includeObject`": get(
        f"{MAPS}?includeObject=Bad&resourceVersionMatch=Other", ("Accept", TABLE)
    ),
    "impersonation": get(MAPS, ("Impersonate-User", "admin"), caller=NOBODY),
    "API server away": BROKEN,
    "errors that are found here": get(MAPS, ("Accept", "application/yaml"), caller=NOBODY),
    "`Accept` that names protobuf or YAML and also JSON": get(MAPS, ("Accept", f"{PROTOBUF},application/json")),
    "SelfSubjectAccessReview of what would be answered in part": review(
        "selfsubjectaccessreviews", "SelfSubjectAccessReview", caller=PARTIAL
    ),
    "review bodies in YAML; answers in protobuf": review(
        "selfsubjectaccessreviews", "SelfSubjectAccessReview", ("Accept", PROTOBUF), caller=READER
    ),
    "`managedFields` of a review, its query and its forms": review(
        "subjectaccessreviews", "SubjectAccessReview", caller=ROOT
    ),
    "field selector without a field (`=`, `=x`)": get(f"{MAPS}?fieldSelector=%3Dx"),
    "`Accept: application/*`": get(MAPS, ("Accept", "application/*")),
    "`resourceVersion=0` with `limit`, on events": get("/api/v1/events?resourceVersion=0&limit=1"),
    "a resourceVersion that is no number, on a watch": get(f"{MAPS}?watch=1&resourceVersion=x"),
    "HEAD of a watch of custom resources": Asked(
        caller=ROOT, method="HEAD", target="/apis/samples.example/v1/planets?watch=1&timeoutSeconds=1"
    ),
    "negative `timeoutSeconds` of a watch": get(f"{MAPS}?watch=1&timeoutSeconds=-1"),
    "a list or watch that is allowed in part": get(MAPS, caller=PARTIAL),
    "list or watch of a kind that cannot be listed or watched": get("/api/v1/bindings", caller=PARTIAL),
    "media types": get(MAPS, ("Accept", "application/yaml"), caller=PARTIAL),
    "`continue`": get(f"{MAPS}?limit=1&continue=garbage", caller=PARTIAL),
}


@pytest.mark.parametrize("name", CASES)
def test_each_difference_is_still_one(asking: Asking, name: str) -> None:
    judge = filtering_judge(asking)
    wrong = judge.judge(CASES[name])
    assert wrong is None, str(wrong)
    assert judge.seen == {name: 1}


FOUND: Mapping[str, Asked] = {
    "HEAD of a path, which the proxy itself may not": Asked(caller=ROOT, method="HEAD", target="/livez"),
    "HEAD of a custom resource, which is served": Asked(
        caller=ROOT, method="HEAD", target="/apis/samples.example/v1/planets"
    ),
    "HEAD of a built-in one, which is not": Asked(caller=ROOT, method="HEAD", target=MAPS),
    "HEAD of what is allowed in part": Asked(caller=PARTIAL, method="HEAD", target=MAPS),
    "field manager of a client without a name": Asked(
        caller=ROOT,
        method="POST",
        target="/api/v1/namespaces/oracle-a/configmaps?dryRun=All",
        headers=(("Content-Type", "application/json"),),
        body=b'{"metadata": {"name": "new"}}',
    ),
    "namespaced object without a namespace": get("/api/v1/pods/web", ("Accept", "text/plain"), caller=PARTIAL),
    "object of a kind that cannot be got": get("/api/v1/bindings/web", caller=PARTIAL),
    "metadata of an empty list": get(
        "/api/v1/namespaces/oracle-c/pods",
        ("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    ),
    "bad field before bad resourceVersion": get(f"{MAPS}?resourceVersion=x&fieldSelector=spec.color%3Dred"),
    "bad field before bad resourceVersion, watched": get(
        f"{MAPS}?watch=1&resourceVersion=x&fieldSelector=spec.color%3Dred"
    ),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_the_oracle_has_found_stays_equal(asking: Asking, found: str) -> None:
    for judge in (strict_judge(asking), filtering_judge(asking)):
        wrong = judge.judge(FOUND[found])
        assert wrong is None, str(wrong)
        assert set(judge.seen) <= {"", "406", "errors that are found here"}, judge.seen


def test_a_watch_from_before_the_proxy_is_told_to_list_again(asking: Asking) -> None:
    """Nobody knows what the caller saw then. A path that no other request has gone before: no version is known yet."""
    before = int(asking.world.rv) - 20
    judge = strict_judge(asking)
    wrong = judge.judge(get(f"/api/v1/secrets?watch=1&timeoutSeconds=1&resourceVersion={before}"))
    assert wrong is None, str(wrong)
    assert judge.seen == {"resuming a watch under another scope than it had": 1}


def test_each_difference_is_documented_and_has_a_case() -> None:
    documented = re.findall(r"^\| (.+?) \| ", DOCUMENT.read_text(), re.MULTILINE)
    names = [*(each.name for each in DIFFERENCES), *WHOLE_READS]
    assert [name for name in names if name not in documented] == []
    assert set(names) == {*CASES, "resuming a watch under another scope than it had"}

"""`kubectl auth` and `kubectl --as` through the proxy: its own policy's answers, the server's where they can agree."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import httpx
import pytest

from tests.realkube.random_rbac import NAMESPACES, Manifest, RandomRbac
from tests.support import protobuf_writer
from tests.support.grants import EVERYTHING, RBAC, grant, rule, scoped_grant
from tests.support.identities import ADMIN, Identity
from tests.support.kubectl import KubectlStream, kubectl
from tests.support.manifests import pod
from tests.support.proxy_process import ProxyProcess
from tests.support.raw_client import RawClient
from tests.support.realkube import RealCluster

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"
QUESTIONS = 40  # for each policy
SEED = 777

ALICE = Identity(name="alice")
NODE1 = Identity(name="node1")
NOBODY = Identity(name="nobody")
DAVE = Identity(name="dave", groups=("support",))
GENERATED = [RandomRbac(f"rv{number}", random.Random(SEED + number)) for number in range(8)]


@cache
def generated_manifests() -> list[Manifest]:
    """Without the aggregated roles, which no controller fills here: their bindings name no role.

    `y` must be quoted in a policy file, which the writer of ours does not do.
    """
    manifests = [each for one in GENERATED for each in one.manifests() if "aggregationRule" not in each]
    loaded: list[Manifest] = json.loads(json.dumps(manifests).replace('"y"', '"z"'))
    return loaded


def policies() -> dict[str, Sequence[Manifest]]:
    everybody: Manifest = {"kind": "Group", "apiGroup": RBAC, "name": "system:authenticated"}
    return {
        "everybody.yaml": [
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "basic"},
                "rules": [
                    rule("selfsubjectaccessreviews", "selfsubjectrulesreviews", groups=["authorization.k8s.io"],
                         verbs=["create"]),
                    rule("selfsubjectreviews", groups=["authentication.k8s.io"], verbs=["create"]),
                    {"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/version"], "verbs": ["get"]},
                ],
            },
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "basic"},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "basic"},
                "subjects": [everybody],
            },
        ],
        "admin.yaml": grant("admin", *EVERYTHING),
        "alice.yaml": [
            *grant("alice", rule("pods"), namespace="review-a"),
            *grant("alice", rule("configmaps", verbs=["create"]), namespace="review-b"),
        ],
        "node1.yaml": scoped_grant("node1", rule("pods", fieldSelector="spec.nodeName=review-node")),
        "dave.yaml": grant(
            "dave",
            rule("users", verbs=["impersonate"], resourceNames=["alice"]),
            rule("groups", verbs=["impersonate"], resourceNames=["dev"]),
        ),
        "generated.yaml": generated_manifests(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """The proxy, and a pod in each of two namespaces."""
    for namespace in ("review-a", "review-b"):
        real_cluster.create_namespace(namespace)
        real_cluster.create(pod("web", namespace, node="review-node"))
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("reviews"), policies()) as process:
        yield process
    for namespace in ("review-a", "review-b"):
        real_cluster.delete_namespace(namespace)


@pytest.fixture(scope="module")
def generated(real_cluster: RealCluster) -> Iterator[None]:
    """The generated policies, in force on the server, too."""
    for namespace in NAMESPACES:
        real_cluster.create_namespace(namespace)
    for manifest in generated_manifests():
        real_cluster.create(manifest)
    sentinel = Identity(name="review-sentinel")  # what reached the authorizer later than all of them
    real_cluster.grant(sentinel, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])
    real_cluster.grant(
        sentinel, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}], namespace=NAMESPACES[0]
    )
    yield
    for namespace in NAMESPACES:
        real_cluster.delete_namespace(namespace)


@pytest.mark.parametrize(
    ("identity", "question", "answer"),
    [
        (ALICE, ("list", "pods", "-A"), "yes"),  # filtered
        (ALICE, ("watch", "pods", "-A"), "yes"),
        (ALICE, ("list", "pods", "-n", "review-a"), "yes"),
        (ALICE, ("list", "pods", "-n", "review-b"), "no"),
        (ALICE, ("create", "configmaps", "-n", "review-b"), "yes"),
        (ALICE, ("create", "configmaps", "-A"), "no"),  # only reads are filtered
        (ALICE, ("list", "secrets", "-A"), "no"),
        (ALICE, ("list", "nodes"), "no"),
        (ALICE, ("get", "/version"), "yes"),
        (ALICE, ("get", "/metrics"), "no"),
        (ALICE, ("*", "*"), "no"),
        (NODE1, ("list", "pods", "-A"), "yes"),
        (NODE1, ("get", "pods/web", "-n", "review-a"), "yes"),
        (NODE1, ("get", "pods", "--subresource=log", "-n", "review-a"), "no"),
        (ADMIN, ("*", "*"), "yes"),
    ],
)
def test_can_i_answers_as_the_request_would_be(
    proxy: ProxyProcess, identity: Identity, question: tuple[str, ...], answer: str
) -> None:
    done = kubectl(proxy.kubeconfig(identity), "auth", "can-i", *question)
    assert done.stdout.split()[:1] == [answer], done.stderr
    assert done.returncode == (0 if answer == "yes" else 1)


def test_can_i_list_prints_the_rules_of_the_caller(proxy: ProxyProcess) -> None:
    done = kubectl(proxy.kubeconfig(ALICE, namespace="review-a"), "auth", "can-i", "--list", "--no-headers")
    assert done.returncode == 0, done.stderr
    assert "incomplete" not in done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "pods [] [] [get list watch]" in lines
    assert "[/version] [] [get]" in lines
    assert not any(line.startswith(("configmaps", "secrets")) for line in lines)


def test_whoami_shows_what_the_server_itself_would_show(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    caller = Identity(name="erin", groups=("team-a", "dev"))
    ours, theirs = (_ask(each, caller, "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}) for each in
                    (proxy, real_cluster))  # fmt: skip
    assert ours.keys() == theirs.keys()
    assert ours["status"] == theirs["status"]
    done = kubectl(proxy.kubeconfig(caller), "auth", "whoami")
    assert done.returncode == 0, done.stderr
    assert "erin" in done.stdout
    assert "[team-a dev system:authenticated]" in done.stdout
    assert "X509SHA256=" in done.stdout


def test_questions_about_others_get_the_servers_own_answer(
    proxy: ProxyProcess, real_cluster: RealCluster, generated: None
) -> None:
    """Under the same policies."""
    allowed = 0
    with proxy.client(ADMIN) as ours, real_cluster.client(ADMIN) as theirs:
        for one in GENERATED:
            for _ in range(QUESTIONS):
                spec = one.question()
                answers = [
                    _post(each, f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec}) for each in (ours, theirs)
                ]
                assert answers[0]["status"]["allowed"] == answers[1]["status"]["allowed"], (spec, answers)
                assert answers[0]["spec"] == answers[1]["spec"]
                allowed += answers[0]["status"]["allowed"]
    assert allowed > len(GENERATED), "hardly any question was allowed: nothing was compared"


def test_a_server_that_asks_about_a_filtered_user_is_told_no(proxy: ProxyProcess) -> None:
    """It would show alice the pods of all namespaces. She herself is told yes: she gets hers from the proxy."""
    asked = {"resourceAttributes": {"verb": "list", "resource": "pods"}}
    about_alice = {"user": "alice", **asked}
    status = _ask(proxy, ADMIN, f"{AUTHORIZATION}/subjectaccessreviews", {"spec": about_alice})["status"]
    assert status == {"allowed": False, "reason": "only a part of what was asked is visible"}
    status = _ask(proxy, ALICE, f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": asked})["status"]
    assert status["allowed"]
    assert status["reason"].endswith("; only a part of what was asked is visible")


def test_rules_are_those_the_server_knows(proxy: ProxyProcess, real_cluster: RealCluster, generated: None) -> None:
    compared = 0
    for one in GENERATED:
        spec = one.question()
        caller = Identity(name=spec.get("user") or f"{one.prefix}-none", groups=tuple(spec.get("groups", ())))
        if caller.name.startswith("system:"):
            continue
        for namespace in NAMESPACES:
            ours = _rules(proxy, caller, namespace, "resourceRules")
            assert ours == _rules(real_cluster, caller, namespace, "resourceRules")
            compared += ours.total()
            # Upstream shows the paths of roles that are bound in the namespace, too: nobody is allowed them by that.
            paths = _rules(proxy, caller, namespace, "nonResourceRules")
            assert paths == _rules(real_cluster, caller, "default", "nonResourceRules")
    assert compared


REFUSED: list[tuple[str, Any]] = [
    ("selfsubjectaccessreviews", {}),
    ("selfsubjectaccessreviews", {"spec": {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/x"}}}),
    ("selfsubjectaccessreviews", {"spec": {"resourceAttributes": {"fieldSelector": {}, "labelSelector": {
        "rawSelector": "a", "requirements": [{"key": "a", "operator": "In"}]}}}}),
    ("selfsubjectaccessreviews/x", {"spec": {"resourceAttributes": {}}}),
    ("subjectaccessreviews", {"spec": {"resourceAttributes": {}}}),
    ("namespaces/default/subjectaccessreviews", {"spec": {"user": "u", "resourceAttributes": {}}}),
    ("localsubjectaccessreviews", {"spec": {"user": "u", "resourceAttributes": {}}}),
    ("namespaces/default/localsubjectaccessreviews", {"spec": {"user": "u", "resourceAttributes": {}}}),
    ("namespaces/default/localsubjectaccessreviews", {"metadata": {"namespace": "x"}, "spec": {"user": "u"}}),
    ("namespaces/default/localsubjectaccessreviews", {"spec": {"user": "u", "nonResourceAttributes": {}}}),
    ("selfsubjectrulesreviews", {"spec": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "review"), REFUSED)
def test_what_is_no_question_is_refused_as_the_server_does(
    proxy: ProxyProcess, real_cluster: RealCluster, path: str, review: Manifest
) -> None:
    with proxy.client(ADMIN) as ours, real_cluster.client(ADMIN) as theirs:
        answers = [each.post(f"{AUTHORIZATION}/{path}", json=review) for each in (ours, theirs)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json() == answers[1].json()


def test_a_review_is_no_table(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    with proxy.client(ADMIN) as ours, real_cluster.client(ADMIN) as theirs:
        for accept, code in ((table, 406), (f"{table},application/json", 201)):
            for each in (ours, theirs):
                headers = {"accept": accept}
                answer = each.post(f"{AUTHORIZATION}/selfsubjectaccessreviews", json=review, headers=headers)
                assert answer.status_code == code, answer.text


def test_protobuf_is_read_and_json_is_answered(proxy: ProxyProcess) -> None:
    body = protobuf_writer.envelope(
        "authorization.k8s.io/v1", "SelfSubjectAccessReview", [(2, [(1, [(1, "review-a"), (2, "list"), (5, "pods")])])]
    )
    url, headers = f"{AUTHORIZATION}/selfsubjectaccessreviews", {"content-type": PROTOBUF}
    with proxy.client(ALICE) as client:
        answer = client.post(url, content=body, headers={**headers, "accept": f"{PROTOBUF}, */*"})
        assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
        assert answer.json()["status"]["allowed"]
        assert client.post(url, content=body, headers={**headers, "accept": PROTOBUF}).status_code == 406
        assert client.post(url, content=body[:-1], headers=headers).status_code == 400
        assert client.post(url, content=body + b"\x0a\xff", headers=headers).status_code == 400
        assert client.post(url, content=bytes(300_000), headers=headers).status_code == 413


def test_a_review_needs_leave_to_be_created(proxy: ProxyProcess) -> None:
    with proxy.client(ALICE) as client:
        for path in ("subjectaccessreviews", "namespaces/review-a/localsubjectaccessreviews"):
            answer = client.post(f"{AUTHORIZATION}/{path}", json={})
            assert answer.status_code == 403
            assert 'cannot create resource "' in answer.json()["message"]


def test_reviews_are_never_relayed(proxy: ProxyProcess, real_cluster: RealCluster) -> None:
    before = len(real_cluster.audit_events())
    with proxy.client(ADMIN) as client:
        assert client.delete(f"{AUTHORIZATION}/selfsubjectaccessreviews").status_code == 405
        assert client.put(f"{AUTHORIZATION}/selfsubjectaccessreviews/x", json={}).status_code == 404
        assert client.post("/apis/authentication.k8s.io/v1/tokenreviews", json={}).status_code == 400
        assert client.post("/apis/authentication.k8s.io/v1/tokenreviews/x", json={}).status_code == 404
        assert client.post("/apis/authentication.k8s.io/v1beta1/selfsubjectreviews", json={}).status_code == 404
    assert [
        each["requestURI"] for each in real_cluster.audit_events()[before:] if "reviews" in each["requestURI"]
    ] == []


def test_as_shows_exactly_what_the_other_user_sees(proxy: ProxyProcess) -> None:
    own = kubectl(proxy.kubeconfig(DAVE), "get", "pods", "-A", "-o", "name")
    assert "forbidden" in own.stderr
    done = kubectl(proxy.kubeconfig(DAVE), "get", "pods", "-A", "--no-headers", "--as", "alice", "--as-group", "dev")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"review-a"}
    asked = kubectl(proxy.kubeconfig(DAVE), "auth", "can-i", "list", "pods", "-A", "--as", "alice")
    assert asked.stdout.strip() == "yes"
    shown = kubectl(proxy.kubeconfig(DAVE), "auth", "whoami", "--as", "alice", "--as-group", "dev")
    assert "[dev system:authenticated]" in shown.stdout
    assert "X509SHA256" not in shown.stdout


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        (
            {"Impersonate-User": "admin"},
            'users "admin" is forbidden: User "dave" cannot impersonate resource "users" in API group "" '
            "at the cluster scope",
        ),
        (
            {"Impersonate-User": "alice", "Impersonate-Group": "system:masters"},
            'groups "system:masters" is forbidden: User "dave" cannot impersonate resource "groups" in API group "" '
            "at the cluster scope",
        ),
        (
            {"Impersonate-User": "alice", "Impersonate-Uid": "7"},
            'uids.authentication.k8s.io "7" is forbidden: User "dave" cannot impersonate resource "uids" '
            'in API group "authentication.k8s.io" at the cluster scope',
        ),
        (
            {"Impersonate-User": "alice", "Impersonate-Extra-Scopes": "x"},
            'userextras.authentication.k8s.io "x" is forbidden: User "dave" cannot impersonate resource '
            '"userextras/scopes" in API group "authentication.k8s.io" at the cluster scope',
        ),
        (
            {"Impersonate-User": "system:serviceaccount:review-a:default"},
            'serviceaccounts "default" is forbidden: User "dave" cannot impersonate resource "serviceaccounts" '
            'in API group "" in the namespace "review-a"',
        ),
    ],
)
def test_every_part_of_another_identity_must_be_allowed(
    proxy: ProxyProcess, headers: dict[str, str], sentence: str
) -> None:
    with proxy.client(DAVE) as client:
        answer = client.get("/api/v1/namespaces/review-a/pods", headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (403, sentence)


def test_as_is_refused_by_kubectl_where_it_is_not_allowed(proxy: ProxyProcess) -> None:
    done = kubectl(proxy.kubeconfig(DAVE), "get", "pods", "-A", "--as", "admin")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error from server (Forbidden)" in done.stderr


def test_impersonation_headers_are_refused_in_odd_forms_and_never_passed_on(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    before = len(real_cluster.audit_events())
    context = real_cluster.pki.client_context(real_cluster.client_certificate("dave", DAVE.groups))
    for headers in (
        [("Impersonate_User", "admin")],
        [("Impersonate-User", "alice"), ("Impersonate_Group", "system:masters")],
        [("Impersonate-User", "alice"), ("Impersonate-User", "admin")],
        [("Impersonate-Group", "dev")],
        [("Impersonate-User", "")],
        [("Impersonate-Other", "x"), ("Impersonate-User", "alice")],
    ):
        with RawClient(proxy.port, context) as client:
            assert client.request("/api/v1/namespaces/review-a/pods", headers=headers).status == 400
    with RawClient(proxy.port, context) as client:
        allowed = [("Impersonate-User", "alice"), ("Connection", "Impersonate-User, keep-alive")]
        assert client.request("/api/v1/namespaces/review-a/pods", headers=allowed).status == 200
        assert client.request("/api/v1/namespaces/review-a/pods").status == 403
    assert [each for each in real_cluster.audit_events()[before:] if "impersonatedUser" in each] == []


def test_a_watch_in_the_name_of_another_ends_with_the_leave_to_impersonate(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    """What alice herself may see has not changed."""
    arguments = ("get", "pods", "-n", "review-a", "--watch", "--no-headers", "--as", "alice")
    with KubectlStream(proxy.kubeconfig(DAVE), *arguments) as stream:
        stream.take_until(lambda line: line.startswith("web"))
        proxy.write_policies({name: each for name, each in policies().items() if name != "dave.yaml"})
        try:
            real_cluster.create(pod("after", "review-a"))
            stream.wait()
            assert not any(line.startswith("after") for line in stream.lines)
        finally:
            proxy.write_policies(policies())


def _post(client: httpx.Client, path: str, review: Manifest) -> Manifest:
    answer = client.post(path, json=review)
    assert answer.status_code == 201, answer.text
    document: Manifest = answer.json()
    return document


def _ask(server: ProxyProcess | RealCluster, caller: Identity, path: str, review: Manifest) -> Manifest:
    with server.client(caller) as client:
        return _post(client, path, review)


def _rules(server: ProxyProcess | RealCluster, caller: Identity, namespace: str, which: str) -> Counter[str]:
    """The rules of a caller that not everybody has."""
    review = {"spec": {"namespace": namespace}}
    of_caller, of_nobody = (
        Counter(
            map(_canonical, _ask(server, each, f"{AUTHORIZATION}/selfsubjectrulesreviews", review)["status"][which])
        )
        for each in (caller, NOBODY)
    )
    return of_caller - of_nobody


def _canonical(rule: Manifest) -> str:
    return str(sorted((name, sorted(values)) for name, values in rule.items()))

"""RBAC as the real server decides it: random policies and questions, without one difference.

The policies go into the cluster through its API and into ours through the policy loader. No controller-manager fills
the aggregated roles here, so the server gets them with the rules that ours were expanded to.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from proxy.api.go_text import quote
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Denied, Permit
from proxy.authz.rbac import authorize
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import PolicySet
from proxy.policytools.access_review import read_access_review
from tests.realkube.random_rbac import NAMESPACES, Manifest, RandomRbac
from tests.support.expanded_rbac import expanded, load
from tests.support.identities import Identity
from tests.support.realkube import RealCluster

POLICIES = 60
QUESTIONS = 60  # for each policy
SEED = 20260
RULES = ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},)


@pytest.fixture(scope="module")
def policies(real_cluster: RealCluster) -> Iterator[dict[RandomRbac, PolicySet]]:
    """Every policy, in force on the server."""
    for namespace in NAMESPACES:
        real_cluster.create_namespace(namespace)
    loaded = {}
    for number in range(POLICIES):
        generated = RandomRbac(f"p{number}", random.Random(SEED + number))
        manifests = generated.manifests()
        loaded[generated] = load(manifests)
        for manifest in manifests:
            real_cluster.create(expanded(manifest, loaded[generated]))
    # Each kind reaches the authorizer in the order of its changes: behind the last one of each kind all are there.
    real_cluster.grant(Identity(name="rbac-sentinel"), RULES)
    real_cluster.grant(Identity(name="rbac-sentinel"), RULES, namespace=NAMESPACES[0])
    yield loaded
    for namespace in NAMESPACES:
        real_cluster.delete_namespace(namespace)


def decide(policy: PolicySet, user: User, asked: Attributes, *, strict: bool) -> Permit | Denied:
    state = AuthorizationState(snapshot=compile_policy(policy), namespaces=None, effective_at=0.0, activation=1)
    decision = authorize(state, user, asked, strict=strict)
    assert isinstance(decision, Permit | Denied)
    return decision


def review(cluster: RealCluster, spec: Manifest) -> Manifest:
    status: Manifest = cluster.create(
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    )["status"]
    return status


def without_order(reason: str) -> list[str]:
    """The roles that a refusal misses; the server tells them in no order."""
    return sorted(reason.removeprefix("RBAC: ").strip("[]").split(", "))


def test_thousands_of_questions_get_the_servers_own_answer(
    real_cluster: RealCluster, policies: dict[RandomRbac, PolicySet]
) -> None:
    allowed = 0
    for generated, policy in policies.items():
        alone = [replace(policy, bindings=(binding,)) for binding in policy.bindings]
        for _ in range(QUESTIONS):
            spec = generated.question()
            user, asked = read_access_review(json.dumps(spec).encode())
            theirs = review(real_cluster, spec)
            for strict in (False, True):
                ours = decide(policy, user, asked, strict=strict)
                whole = isinstance(ours, Permit) and ours.scope.everything
                assert whole == theirs["allowed"], (spec, theirs, policy)
            allowed += theirs["allowed"]
            reason = theirs.get("reason", "")
            if theirs["allowed"]:
                assert reason in {decide(each, user, asked, strict=False).reason for each in alone}, spec
            elif isinstance(ours := decide(policy, user, asked, strict=True), Denied):
                assert without_order(reason) == without_order(ours.reason), spec
    assert allowed > POLICIES * QUESTIONS // 20, "hardly any question was allowed: nothing was compared"


def test_a_refused_request_reads_as_the_servers_own(
    real_cluster: RealCluster, policies: dict[RandomRbac, PolicySet]
) -> None:
    """The whole sentence and its details, from the server's answers to real requests."""
    caller = Identity(name='rbac <nobody> & "co"')
    requests = {
        "/api/v1/pods": Attributes(verb="list", is_resource_request=True, resource="pods", namespaced=True),
        "/api/v1/namespaces/rbac-a/pods/x/log": Attributes(
            verb="get",
            is_resource_request=True,
            resource="pods",
            subresource="log",
            namespace="rbac-a",
            name="x",
            namespaced=True,
        ),
        "/apis/apps/v1/namespaces/rbac-a/deployments/%3Cx%3E": Attributes(
            verb="get",
            is_resource_request=True,
            api_group="apps",
            resource="deployments",
            namespace="rbac-a",
            name="<x>",
            namespaced=True,
        ),
        "/metrics": Attributes(verb="get", is_resource_request=False, path="/metrics"),
    }
    with real_cluster.client(caller) as client:
        for target, asked in requests.items():
            theirs = client.get(target).json()
            ours = decide(PolicySet(), User(name=caller.name), asked, strict=False)
            assert isinstance(ours, Denied)
            assert theirs["message"] == ours.message, quote(target)
            assert theirs["details"] == {
                key: value
                for key, value in (
                    ("name", ours.details.name),
                    ("group", ours.details.group),
                    ("kind", ours.details.kind),
                )
                if value
            }

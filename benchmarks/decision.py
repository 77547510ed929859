"""What one authorization decision costs with 10,000 bindings, when each question differs from the one before.

Run: `python -m benchmarks.decision`. The baseline, in the same run, looks at every binding for each question.
A question across namespaces is answered with a scope that joins what every binding of the user and its groups grants.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.support.report import Figure, Report, RowResult
from proxy.api.selectors import FieldSelector, FieldTerm, LabelOperator, LabelRequirement, LabelSelector
from proxy.authn.user import User
from proxy.authz.decision import Attributes, Decision, Permit
from proxy.authz.namespaces import NamespaceLabels
from proxy.authz.rbac import authorize
from proxy.authz.state import AuthorizationState
from proxy.policy.compile import compile_policy
from proxy.policy.model import (
    Binding,
    Dialect,
    PolicyRule,
    PolicySet,
    Position,
    Role,
    RoleRef,
    Subject,
    SubjectKind,
)
from proxy.policy.snapshot import resource_keys

QUICK = "--questions 200 --repetitions 1"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 0.5
"""What it takes on a quiet machine with two cores."""

BINDINGS = 10_000
USERS = 10_000
NAMESPACES = 1_000
TEAMS = 500
BASELINE_QUESTIONS = 100
RESOURCES = (
    "pods",
    "services",
    "configmaps",
    "secrets",
    "endpoints",
    "events",
    "serviceaccounts",
    "replicationcontrollers",
)
VERBS = ("get", "list", "watch", "create", "delete")
HERE = Position("benchmark.yaml", 1, 1)
SEED = 5  # the same policy and questions in every run


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the CPU time of a decision with its spread, and the ratio to the baseline."""
    options = _options(arguments)
    report = Report("decision", {"bindings": BINDINGS, "users": USERS, **vars(options)})
    chance = random.Random(SEED)
    policy = _policy(chance)
    started = time.process_time()
    snapshot = compile_policy(policy)
    compiling = time.process_time() - started
    namespaces = NamespaceLabels({f"ns-{n}": {"team": f"t{n % TEAMS}"} for n in range(NAMESPACES)})
    state = AuthorizationState(snapshot=snapshot, namespaces=namespaces, effective_at=0.0, activation=1)
    questions = list(_questions(chance, options.questions))

    def decide(user: User, asked: Attributes) -> Decision:
        return authorize(state, user, asked, strict=False)

    permitted = sum(isinstance(decide(*question), Permit) for question in questions)
    roles = {(role.dialect, role.name): role for role in policy.roles}
    report.figure("compiling the policy", Figure([compiling * 1000]), "ms")
    report.figure("questions, all different, that are permitted", Figure([100 * permitted / len(questions)]), "%")
    for name, asked in (
        ("in one namespace", [question for question in questions if question[1].namespace]),
        ("across namespaces", [question for question in questions if not question[1].namespace]),
    ):
        slow: list[float] = []
        fast: list[float] = []
        for _ in range(options.repetitions):
            few = asked[:BASELINE_QUESTIONS]
            slow.append(_microseconds(lambda user, each: _scan(roles, policy.bindings, user, each), few))
            fast.append(_microseconds(decide, asked))
        each = sorted(_each(state, asked))
        report.figure(f"every binding looked at, {name}", Figure(slow), "µs")
        report.figure(f"p99 of a decision {name}", Figure([each[len(each) * 99 // 100]]), "µs")
        report.limit(f"a decision {name}", Figure(fast), "µs", bar=20)
    return report.result


def _policy(chance: random.Random) -> PolicySet:
    roles = [_role(f"reader-{n}", chance.sample(RESOURCES, 3), Dialect.RBAC) for n in range(50)]
    roles += [_role(f"own-{n}", chance.sample(RESOURCES, 2), Dialect.WATCHKEEPER, scoped=True) for n in range(50)]
    bindings: list[Binding] = []
    for n in range(BINDINGS):
        match n % 20:
            case 0:  # a user, cluster-wide
                bindings.append(_binding(n, _user(chance.randrange(USERS)), Dialect.RBAC))
            case 1 | 2:  # a team, in the namespaces of a pattern and a label
                labels = LabelSelector((LabelRequirement("team", LabelOperator.IN, (f"t{n % TEAMS}",)),))
                bindings.append(
                    _binding(
                        n, _team(chance.randrange(TEAMS)), Dialect.WATCHKEEPER, globs=("ns-1*", "ns-2*"), labels=labels
                    )
                )
            case 3:  # every node, its own objects
                bindings.append(_binding(n, _subject(SubjectKind.USER, f"kind-{n}:{{node}}"), Dialect.WATCHKEEPER))
            case 4 | 5 | 6 | 7:  # a team, in one namespace
                bindings.append(
                    _binding(
                        n, _team(chance.randrange(TEAMS)), Dialect.RBAC, namespace=f"ns-{chance.randrange(NAMESPACES)}"
                    )
                )
            case _:  # a user, in one namespace
                bindings.append(
                    _binding(
                        n, _user(chance.randrange(USERS)), Dialect.RBAC, namespace=f"ns-{chance.randrange(NAMESPACES)}"
                    )
                )
    return PolicySet(roles=tuple(roles), bindings=tuple(bindings))


def _role(name: str, resources: Sequence[str], dialect: Dialect, *, scoped: bool = False) -> Role:
    rules = [
        PolicyRule(
            verbs=("get", "list", "watch"),
            api_groups=("",),
            resources=(resource,),
            field_selector=FieldSelector((FieldTerm("spec.nodeName", False, "${node}"),)) if scoped else None,
            position=HERE,
        )
        for resource in resources
    ]
    return Role(
        dialect=dialect, namespace="", name=name, labels=(), rules=tuple(rules), aggregation=None, position=HERE
    )


def _binding(
    number: int,
    subject: Subject,
    dialect: Dialect,
    *,
    namespace: str = "",
    globs: tuple[str, ...] | None = None,
    labels: LabelSelector | None = None,
) -> Binding:
    scoped = dialect is Dialect.WATCHKEEPER and globs is None
    role = f"own-{number % 50}" if scoped else f"reader-{number % 50}"
    return Binding(
        dialect=dialect,
        namespace=namespace,
        name=f"b{number}",
        subjects=(subject,),
        role_ref=RoleRef(
            dialect=Dialect.WATCHKEEPER if scoped else Dialect.RBAC, kind="ClusterRole", name=role, position=HERE
        ),
        namespaces=globs,
        namespace_selector=labels,
        position=HERE,
    )


def _subject(kind: SubjectKind, name: str) -> Subject:
    return Subject(kind=kind, name=name, position=HERE)


def _user(number: int) -> Subject:
    return _subject(SubjectKind.USER, f"user-{number % USERS}")


def _team(number: int) -> Subject:
    return _subject(SubjectKind.GROUP, f"team-{number % TEAMS}")


def _questions(chance: random.Random, count: int) -> Iterator[tuple[User, Attributes]]:
    for n in range(count):
        number = chance.randrange(USERS)
        name = f"kind-{20 * chance.randrange(BINDINGS // 20) + 3}:n{n}" if n % 10 == 0 else f"user-{number}"
        groups = (f"team-{number % TEAMS}", f"team-{n % TEAMS}", "system:authenticated")
        yield (
            User(name=name, groups=groups),
            Attributes(
                verb=chance.choice(VERBS),
                is_resource_request=True,
                api_version="v1",
                resource=chance.choice(RESOURCES),
                namespace=f"ns-{chance.randrange(NAMESPACES)}" if chance.random() < 0.5 else "",
                namespaced=True,
            ),
        )


def _scan(
    roles: Mapping[tuple[Dialect, str], Role], bindings: Sequence[Binding], user: User, asked: Attributes
) -> bool:
    """Kubernetes' own way: every binding is looked at until a rule allows."""
    keys = set(resource_keys(asked.api_group, asked.resource, asked.subresource))
    for binding in bindings:
        if binding.namespace not in ("", asked.namespace):
            continue
        for subject in binding.subjects:
            if subject.name == user.name or subject.name in user.groups:
                for rule in roles[binding.role_ref.dialect, binding.role_ref.name].rules:
                    named = {(group, resource) for group in rule.api_groups for resource in rule.resources}
                    if asked.verb in rule.verbs and named & keys:
                        return True
    return False


def _microseconds(decide: Callable[[User, Attributes], object], questions: Sequence[tuple[User, Attributes]]) -> float:
    started = time.process_time()
    for user, asked in questions:
        decide(user, asked)
    return (time.process_time() - started) / len(questions) * 1e6


def _each(state: AuthorizationState, questions: Sequence[tuple[User, Attributes]]) -> Iterator[float]:
    for user, asked in questions:
        started = time.process_time()
        authorize(state, user, asked, strict=False)
        yield (time.process_time() - started) * 1e6


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=7)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])

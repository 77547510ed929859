"""What one authorization decision costs with 10,000 bindings, when each question differs from the one before.

Run: `python -m benchmarks.decision`. The baseline, in the same run, looks at every binding for each question.
A question across namespaces is answered with a scope that joins what every binding of the user and its groups grants.
"""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

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

BINDINGS = 10_000
USERS = 10_000
NAMESPACES = 1_000
TEAMS = 500
QUESTIONS = 20_000
BASELINE_QUESTIONS = 100
REPEATS = 7
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


def main() -> None:
    """Prints the machine, the CPU time of a decision with its spread, and the ratio to the baseline."""
    chance = random.Random(SEED)
    policy = _policy(chance)
    started = time.process_time()
    snapshot = compile_policy(policy)
    compiling = time.process_time() - started
    namespaces = NamespaceLabels({f"ns-{n}": {"team": f"t{n % TEAMS}"} for n in range(NAMESPACES)})
    state = AuthorizationState(snapshot=snapshot, namespaces=namespaces, effective_at=0.0, activation=1)
    questions = list(_questions(chance))

    def decide(user: User, asked: Attributes) -> Decision:
        return authorize(state, user, asked, strict=False)

    permitted = sum(isinstance(decide(*question), Permit) for question in questions)
    one = [question for question in questions if question[1].namespace]
    across = [question for question in questions if not question[1].namespace]
    roles = {(role.dialect, role.name): role for role in policy.roles}
    few = one[:BASELINE_QUESTIONS]
    slow = [_microseconds(lambda user, asked: _scan(roles, policy.bindings, user, asked), few) for _ in range(REPEATS)]

    print(f"machine: {_processor()}, Python {platform.python_version()}")
    print(f"policy: {len(policy.bindings)} bindings, {len(policy.roles)} roles, compiled in {compiling * 1000:.0f} ms")
    print(f"questions: {len(questions)}, all different, {permitted / len(questions):.0%} permitted")
    print(f"baseline, every binding looked at: {_summary(slow)} µs each")
    for name, asked_here in (("in one namespace", one), ("across namespaces", across)):
        fast = [_microseconds(decide, asked_here) for _ in range(REPEATS)]
        each = sorted(_each(state, asked_here))
        ratio = statistics.median(fast) / statistics.median(slow)
        print(f"{name}: {_summary(fast)} µs each, p99 {each[len(each) * 99 // 100]:.0f} µs, ratio {ratio:.4f}")


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


def _questions(chance: random.Random) -> Iterator[tuple[User, Attributes]]:
    for n in range(QUESTIONS):
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


def _summary(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()

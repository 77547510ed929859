"""check: everything there is to say about a set of policy files, at a given time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.policy.findings import Finding, Severity, quoted
from proxy.policy.load import read_policies
from proxy.policy.model import Binding, PolicyRule
from proxy.policytools.builtin_resources import groups_of, is_namespaced

_BEYOND_RESOURCES = frozenset({"*", "groups", "users"})
"""What is no resource of the core group, and still has its place in rules: the last two for impersonation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """`findings` sorted by position; `roles` and `bindings` count what could be read."""

    findings: tuple[Finding, ...]
    files: int
    roles: int
    bindings: int

    def count(self, severity: Severity) -> int:
        """How many findings have a severity."""
        return sum(finding.severity is severity for finding in self.findings)


def check(files: Mapping[str, bytes], now: float) -> CheckResult:
    """Loads the files. Warnings besides: a binding that has expired by `now` (seconds since the epoch), a resource that
    the core group does not have."""
    read = read_policies(files)
    expired = [_expired_finding(binding) for binding in read.policy.bindings if _has_expired(binding, now)]
    unknown = [finding for role in read.policy.roles for rule in role.rules for finding in _unknown_resources(rule)]
    return CheckResult(
        findings=tuple(sorted((*read.findings, *expired, *unknown), key=lambda finding: finding.position)),
        files=len(files),
        roles=len(read.policy.roles),
        bindings=len(read.policy.bindings),
    )


def _unknown_resources(rule: PolicyRule) -> Iterator[Finding]:
    """Of the core group alone everything is known: nobody can add to it."""
    if rule.api_groups != ("",):
        return
    for resource in rule.resources:
        name = resource.partition("/")[0]
        if name in _BEYOND_RESOURCES or is_namespaced("", name) is not None:
            continue
        others = [f"apiGroup {quoted(group)}" for group in groups_of(name)]
        others += [quoted(plural) for plural in (f"{name}s", f"{name}es") if is_namespaced("", plural) is not None]
        hint = f", did you mean {' or '.join(others)}?" if others else ""
        message = f'apiGroup `""` has no resource {quoted(name)}, which grants nothing{hint}'
        yield Finding(position=rule.position, severity=Severity.WARNING, message=message)


def _has_expired(binding: Binding, now: float) -> bool:
    return binding.expires is not None and binding.expires <= now


def _expired_finding(binding: Binding) -> Finding:
    return Finding(
        position=binding.position,
        severity=Severity.WARNING,
        message=f"{binding.kind} {quoted(binding.name)} has expired and grants nothing",
    )

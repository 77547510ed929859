"""check: everything there is to say about a set of policy files, at a given time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.policy.findings import Finding, Severity, quoted
from proxy.policy.load import read_policies
from proxy.policy.model import Binding


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
    """Loads the files; a binding that has expired by `now` (seconds since the epoch) is a warning besides."""
    read = read_policies(files)
    expired = [_expired_finding(binding) for binding in read.policy.bindings if _has_expired(binding, now)]
    return CheckResult(
        findings=tuple(sorted((*read.findings, *expired), key=lambda finding: finding.position)),
        files=len(files),
        roles=len(read.policy.roles),
        bindings=len(read.policy.bindings),
    )


def _has_expired(binding: Binding, now: float) -> bool:
    return binding.expires is not None and binding.expires <= now


def _expired_finding(binding: Binding) -> Finding:
    return Finding(
        position=binding.position,
        severity=Severity.WARNING,
        message=f"{binding.kind} {quoted(binding.name)} has expired and grants nothing",
    )

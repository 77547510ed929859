"""Loading: policy files, as bytes, become a PolicySet or findings.

Pure: bytes in, values out. Nothing is raised for anything a file may hold, every mistake of every file is told, and
the order of files and documents means nothing.

INVARIANT: a set of files with an error gives no policy at all (tests/unit/policy/test_load.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.policy.aggregation import aggregate
from proxy.policy.bindings import read_binding
from proxy.policy.findings import Finding, FindingLog, Severity
from proxy.policy.manifests import Manifest, read_manifests
from proxy.policy.model import Binding, PolicySet, Role
from proxy.policy.references import check_duplicates, check_references
from proxy.policy.roles import read_role
from proxy.policy.template_places import check_template_places
from proxy.policy.yaml_nodes import read_documents

NO_POLICY = PolicySet()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files say, with aggregated roles filled in; `policy` is empty when there is an error."""

    policy: PolicySet
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """True when the files must not be used."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def load_policies(files: Mapping[str, bytes]) -> Loaded:
    """Reads a set of files, given by their names as findings shall call them."""
    read = read_policies(files)
    return Loaded(NO_POLICY, read.findings) if read.has_errors else read


def read_policies(files: Mapping[str, bytes]) -> Loaded:
    """As load_policies, but `policy` holds what could be understood beside the errors: to check, never to decide by."""
    log = FindingLog()
    manifests = [
        manifest
        for file in sorted(files)
        for document in read_documents(file, files[file], log)
        for manifest in read_manifests(document, log)
    ]
    for manifest in manifests:
        check_template_places(manifest, log)
    check_duplicates(manifests, log)
    policy = aggregate(_read_objects(manifests, log))
    check_references(policy, log)
    return Loaded(policy, log.sorted())


def _read_objects(manifests: list[Manifest], log: FindingLog) -> PolicySet:
    roles: list[Role] = []
    bindings: list[Binding] = []
    for manifest in manifests:
        if manifest.kind.endswith("Role"):
            role = read_role(manifest, log)
            if not manifest.is_misplaced:
                roles.append(role)
        else:
            binding = read_binding(manifest, log)
            if binding is not None and not manifest.is_misplaced:
                bindings.append(binding)
    return PolicySet(roles=tuple(roles), bindings=tuple(bindings))

"""Loading: policy files, as bytes, become a PolicySet or findings.

Pure: bytes in, values out. Nothing is raised for anything a file may hold, every mistake of every file is told, and
the order of files and documents means nothing.

INVARIANT: a set of files with an error gives no policy at all (tests/unit/policy/test_load.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from proxy.policy.aggregation import aggregate
from proxy.policy.bindings import read_binding
from proxy.policy.findings import Finding, FindingLog, Severity
from proxy.policy.manifests import Manifest, read_manifests
from proxy.policy.model import Binding, PolicySet, Role
from proxy.policy.references import Declared, check_duplicates, check_references
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """One file, read by itself: what it declares, what could be understood of it, and what is wrong within it."""

    declared: tuple[Declared, ...]
    roles: tuple[Role, ...]
    bindings: tuple[Binding, ...]
    findings: tuple[Finding, ...]


ReadFile: TypeAlias = Callable[[str, bytes], FileRead]
"""Reads a file, given by its name and content. The same two give the same FileRead."""


def read_file(file: str, content: bytes) -> FileRead:
    """Reads one file."""
    log = FindingLog()
    manifests = [
        manifest for document in read_documents(file, content, log) for manifest in read_manifests(document, log)
    ]
    for manifest in manifests:
        check_template_places(manifest, log)
    roles, bindings = _read_objects(manifests, log)
    declared = tuple(Declared(each.dialect, each.kind, each.namespace, each.name, each.position) for each in manifests)
    return FileRead(declared=declared, roles=roles, bindings=bindings, findings=log.sorted())


def load_policies(files: Mapping[str, bytes], read: ReadFile = read_file) -> Loaded:
    """Reads a set of files, given by their names as findings shall call them."""
    loaded = read_policies(files, read)
    return Loaded(NO_POLICY, loaded.findings) if loaded.has_errors else loaded


def read_policies(files: Mapping[str, bytes], read: ReadFile = read_file) -> Loaded:
    """As load_policies, but `policy` holds what could be understood beside the errors: to check, never to decide by."""
    log = FindingLog()
    parts = [read(file, files[file]) for file in sorted(files)]
    for part in parts:
        log.extend(part.findings)
    check_duplicates((declared for part in parts for declared in part.declared), log)
    policy = aggregate(
        PolicySet(
            roles=tuple(role for part in parts for role in part.roles),
            bindings=tuple(binding for part in parts for binding in part.bindings),
        )
    )
    check_references(policy, log)
    return Loaded(policy, log.sorted())


def _read_objects(manifests: list[Manifest], log: FindingLog) -> tuple[tuple[Role, ...], tuple[Binding, ...]]:
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
    return tuple(roles), tuple(bindings)

"""The revision of a policy: a short digest of everything that decisions depend on.

Positions, comments, the labels of roles and the order of files and documents are left out: they change no decision.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from proxy.policy.model import Binding, PolicySet, Role

_REVISION_CHARACTERS = 16  # 64 bits: two revisions of one installation never meet by accident


def policy_revision(policy: PolicySet) -> str:
    """Hexadecimal digits, stable across restarts and machines."""
    contents = [_encode(_role_content(role)) for role in policy.roles]
    contents += [_encode(_binding_content(binding)) for binding in policy.bindings]
    return sha256(b"\n".join(sorted(contents))).hexdigest()[:_REVISION_CHARACTERS]


_encode = msgspec.json.Encoder().encode


def _role_content(role: Role) -> tuple[object, ...]:
    rules = [
        (
            rule.verbs,
            rule.api_groups,
            rule.resources,
            rule.resource_names,
            rule.non_resource_urls,
            rule.field_selector,
            rule.label_selector,
        )
        for rule in role.rules
    ]
    return (role.dialect, role.kind, role.namespace, role.name, rules)


def _binding_content(binding: Binding) -> tuple[object, ...]:
    reference = binding.role_ref
    return (
        binding.dialect,
        binding.kind,
        binding.namespace,
        binding.name,
        [(subject.kind, subject.name, subject.namespace) for subject in binding.subjects],
        (reference.dialect, reference.kind, reference.name),
        binding.namespaces,
        binding.namespace_selector,
        binding.expires,
    )

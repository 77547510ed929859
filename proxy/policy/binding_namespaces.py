"""The `namespaces` of a ClusterRoleBinding: names, globs and templates.

An entry with a template stands for one name. In a glob `*` stands for any characters; there is no other wildcard.
"""

from __future__ import annotations

import re

from proxy.policy.fields import Fields
from proxy.policy.findings import FindingLog, quoted
from proxy.policy.manifest_selectors import check_template
from proxy.policy.names import namespace_problem
from proxy.policy.templates import is_template, parse_template
from proxy.policy.yaml_nodes import ScalarNode

_GLOB = re.compile("[a-z0-9*-]+")
_GLOB_CHARACTERS = frozenset("*?[]")
_NAME_PART = re.compile("[a-z0-9-]*")


def read_namespaces(binding: Fields, log: FindingLog) -> tuple[str, ...] | None:
    """The entries of `namespaces`, None when absent. Entries with a mistake are left out after their finding."""
    if "namespaces" not in binding:
        return None
    if binding.is_empty("namespaces"):
        log.warning(binding.key_position("namespaces"), "`namespaces` is empty, so this binding grants nothing")
    return tuple(entry.text for entry in binding.texts("namespaces") if _is_valid_entry(entry, log))


def _is_valid_entry(entry: ScalarNode, log: FindingLog) -> bool:
    if is_template(entry.text):
        return check_template(entry.text, entry.position, log) and _has_literal_name_parts(entry, log)
    if _GLOB_CHARACTERS & set(entry.text):
        if _GLOB.fullmatch(entry.text):
            return True
        log.error(entry.position, f"invalid glob {quoted(entry.text)}, expected a namespace name with `*`")
        return False
    if problem := namespace_problem(entry.text):
        log.error(entry.position, f"namespace {quoted(entry.text)} {problem}")
        return False
    return True


def _has_literal_name_parts(entry: ScalarNode, log: FindingLog) -> bool:
    """A template's value is a name, never a glob: glob characters beside it would be taken for a glob by a reader."""
    for part in parse_template(entry.text):
        if not isinstance(part, str) or _NAME_PART.fullmatch(part):
            continue
        if _GLOB_CHARACTERS & set(part):
            log.error(entry.position, f"{quoted(entry.text)} mixes a glob and a template, expected one or the other")
        else:
            log.error(entry.position, f"{quoted(entry.text)} cannot become the name of a namespace")
        return False
    return True

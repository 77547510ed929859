"""Patches: JSON merge patch (RFC 7396) and JSON patch (RFC 6902) on decoded JSON. Nothing is changed in place.

A strategic merge patch is applied as a merge patch: lists are replaced whole, which is enough for labels, annotations
and scalars, what `kubectl label`, `annotate` and `scale` send.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from proxy.api.status import BadRequest, Invalid

JSON_PATCH = "application/json-patch+json"
MERGE_PATCHES = frozenset({"application/merge-patch+json", "application/strategic-merge-patch+json"})


def apply_merge_patch(target: object, patch: object) -> Any:
    """The patched value: a null removes a key, anything but an object replaces what was there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


def apply_json_patch(target: object, patch: object) -> Any:
    """The patched value. Raises BadRequest for what is no JSON patch, Invalid where an operation does not apply."""
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise BadRequest("a JSON patch is a list of operations")
    document = deepcopy(target)
    for operation in patch:
        try:
            document = _apply(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Invalid(f"the server rejected our request due to an error in our request: {error!r}") from error
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(document, path, deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _at(document, path)
            return _at_parent(document, path, lambda parent, key: parent.__setitem__(key, deepcopy(operation["value"])))
        case "test":
            if _at(document, path) != operation["value"]:
                raise ValueError(f"testing value {operation['path']} failed")
            return document
        case "copy":
            return _add(document, path, deepcopy(_at(document, _pointer(operation["from"]))))
        case "move":
            source = _pointer(operation["from"])
            value = _at(document, source)
            return _add(_remove(document, source), path, value)
        case other:
            raise ValueError(f"unexpected kind: {other}")


def _pointer(text: str) -> list[str]:
    if not text.startswith("/"):
        raise ValueError(f"`{text}` is no path below the object")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _at_parent(document: Any, path: list[str], act: Callable[[Any, Any], object]) -> Any:
    parent = _at(document, path[:-1])
    act(parent, int(path[-1]) if isinstance(parent, list) else path[-1])
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    parent = _at(document, path[:-1])
    if not isinstance(parent, list):
        parent[path[-1]] = value
    elif path[-1] == "-":
        parent.append(value)
    elif 0 <= int(path[-1]) <= len(parent):
        parent.insert(int(path[-1]), value)
    else:
        raise IndexError(path[-1])
    return document


def _remove(document: Any, path: list[str]) -> Any:
    return _at_parent(document, path, lambda parent, key: parent.__delitem__(key))

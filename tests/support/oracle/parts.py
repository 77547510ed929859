"""What a caller may see of a list or watch that is allowed in part, as the real server says it piece by piece.

The answer that a caller who sees everything gets is taken, and of each object in it the real server is asked whether
this caller may list it there, by its name. What is left is what a filtering proxy owes.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from tests.support.oracle.answers import Answer, read
from tests.support.oracle.asked import Asked
from tests.support.oracle.callers import ROOT
from tests.support.oracle.sides import Side
from tests.support.realkube import RealCluster

_COLLECTION = re.compile(r"/(?:api|apis/([^/]+))/([^/]+)(?:/namespaces/([^/]+))?/([^/]+)/?")
_OBJECTS = "application/json"


@dataclass(frozen=True, slots=True)
class Question:
    """The attributes of a list or watch."""

    verb: str
    group: str
    version: str
    namespace: str
    resource: str


def collection_question(asked: Asked) -> Question | None:
    """What a GET asks of a collection; None for all else."""
    match = _COLLECTION.fullmatch(unquote(asked.path))
    if match is None or asked.method != "GET":
        return None
    group, version, namespace, resource = match.groups()
    watch = asked.first("watch")
    verb = "list" if watch is None or watch == "0" or watch.lower() == "false" else "watch"
    return Question(verb, group or "", version, namespace or "", resource)


class Parts:
    """Knows what is to be seen, by asking the real server; remembers what it said."""

    def __init__(self, cluster: RealCluster, direct: Side) -> None:
        self._cluster = cluster
        self._direct = direct
        self._allowed: dict[tuple[object, ...], bool] = {}
        self._lock = threading.Lock()

    def whole(self, asked: Asked) -> Answer:
        """The same question, asked by somebody who may see everything."""
        return self._as_root(asked, asked.target)

    def visible(self, asked: Asked, question: Question, whole: Answer) -> Any:
        """The body that the caller is owed, of a whole answer with status 200."""
        limit = int(asked.first("limit") or 0) if question.verb == "list" else 0
        if asked.first("resourceVersion") == "0":
            limit = 0
        target = re.sub(r"([?&])limit=[^&]*", r"\1", asked.target)
        pieces = _pieces(self._as_root(asked, target).body if limit else whole.body)
        metadata = replace(asked, headers=(("Accept", _OBJECTS),))
        described = _pieces(self._as_root(metadata, target).body)
        assert len(pieces) == len(described), (asked, len(pieces), len(described))
        user, groups = acting_user(asked)
        seen = [
            piece
            for piece, each in zip(pieces, described, strict=True)
            if _is_mark(each) or self._may(user, groups, question, _metadata(each))
        ]
        return _put_together(whole.body, seen[:limit] if limit > 0 else seen, more=0 < limit < len(seen))

    def _as_root(self, asked: Asked, target: str) -> Answer:
        headers = tuple(pair for pair in asked.headers if not pair[0].lower().startswith("impersonate-"))
        return read(self._direct.ask(replace(asked, caller=ROOT, target=target, headers=headers)))

    def _may(self, user: str, groups: tuple[str, ...], question: Question, metadata: dict[str, Any]) -> bool:
        name = metadata["name"]
        place = name if question.resource == "namespaces" else metadata.get("namespace", "")
        key = (user, groups, question, place, name)
        with self._lock:
            if key not in self._allowed:
                self._allowed[key] = self._review(user, groups, question, place, name)
            return self._allowed[key]

    def _review(self, user: str, groups: tuple[str, ...], question: Question, place: str, name: str) -> bool:
        attributes = {
            "verb": question.verb,
            "group": question.group,
            "version": question.version,
            "resource": question.resource,
            "namespace": place,
            "name": name,
        }
        spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return bool(self._cluster.create(review)["status"]["allowed"])


def acting_user(asked: Asked) -> tuple[str, tuple[str, ...]]:
    """The name and the groups of whom a request is of: the caller, or whom it impersonates."""
    assert asked.caller is not None
    name, groups = asked.caller.name, asked.caller.groups
    impersonated = asked.header("impersonate-user")
    if impersonated:
        name = impersonated
        groups = tuple(value for key, value in asked.headers if key.lower() == "impersonate-group")
        account = name.removeprefix("system:serviceaccount:").split(":")
        if not groups and len(account) == 2:
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
    return name, (*groups, "system:authenticated")


def _pieces(body: Any) -> list[Any]:
    """The events of a watch, the rows of a Table or the items of a list."""
    if isinstance(body, list | bytes):
        return list(body)  # of a watch without an event there are no bytes
    found = body["rows"] if body.get("kind") == "Table" else body["items"]
    return list(found or ())


def _is_mark(piece: Any) -> bool:
    return piece.get("type") == "BOOKMARK"


def _metadata(piece: Any) -> dict[str, Any]:
    whole = piece["object"] if "type" in piece and "object" in piece else piece
    metadata: dict[str, Any] = whole["metadata"]
    return metadata


def _put_together(body: Any, pieces: list[Any], *, more: bool) -> Any:
    if isinstance(body, list | bytes):
        return pieces or b""
    name = "rows" if body.get("kind") == "Table" else "items"
    if body.get("kind") == "PartialObjectMetadataList" and not pieces:
        return {**body, "metadata": {}, name: None}
    return {**body, "metadata": {"continue": "there"} if more else {}, name: pieces}

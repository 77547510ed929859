"""Random writes to objects of several kinds in a few namespaces, from one seed, some of them many at once.

Labels and selected fields move, so that objects come into selectors and leave them; names come back after a deletion.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.support.manifests import Manifest, config_map, pod
from tests.support.objects import RefusedError
from tests.support.realkube import RealCluster
from tests.support.samples import CRD_GROUP, secret, widget

_APPS = ("a", "b", "c")
_NAMES = ("one", "two", "three", "four", "five")
_MARK = "mark"
_APPLY = "application/apply-patch+yaml"
_AT_ONCE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing:
    """A resource that changes: its collection, the field selectors that its mark fits, and whether it is a CRD's."""

    root: str
    plural: str
    fields: tuple[str, ...]
    namespaced: bool = True
    custom: bool = False

    def path(self, namespace: str = "") -> str:
        """The collection in a namespace, or everywhere."""
        return f"{self.root}/namespaces/{namespace}/{self.plural}" if namespace else f"{self.root}/{self.plural}"


CHANGING: Sequence[Changing] = (
    Changing(root="/api/v1", plural="configmaps", fields=("metadata.name!=two", "metadata.name=mark")),
    Changing(root="/api/v1", plural="secrets", fields=("type=Opaque",)),
    Changing(root="/api/v1", plural="pods", fields=("status.phase=Pending", "spec.nodeName=node1")),
    Changing(root=f"/apis/{CRD_GROUP}/v1", plural="widgets", fields=("spec.color=red",), custom=True),
    Changing(
        root=f"/apis/{CRD_GROUP}/v1", plural="planets", fields=("metadata.name!=one",), namespaced=False, custom=True
    ),
)
LABEL_SELECTORS = ("app=a", "app in (a,b)", "app!=c", "app,!gone")
"""All of them fit a mark."""


class Changes:
    """What happens to the objects in `namespaces`."""

    def __init__(self, cluster: RealCluster, namespaces: Sequence[str], chance: random.Random) -> None:
        self._cluster = cluster
        self._namespaces = namespaces
        self._chance = chance
        self._number = 0

    def play(self, count: int) -> None:
        """So many writes, one after the other or in bursts. One that meets what is not there does nothing."""
        while count > 0:
            size = self._chance.choice((1, 1, 1, _AT_ONCE))
            acts = [self._act() for _ in range(size)]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._do, acts))
            count -= size

    def mark(self) -> dict[tuple[str, str], str]:
        """Changes the mark of each kind and namespace; the resourceVersion of each, in the order they were written."""
        self._number += 1
        written = {}
        for kind in CHANGING:
            for namespace in self._namespaces if kind.namespaced else ("",):
                made = self._object(kind, namespace, _MARK, "a", fits=True)
                made["metadata"]["annotations"] = {"number": str(self._number)}
                try:
                    answer = self._cluster.patch(made, {"metadata": made["metadata"]})
                except RefusedError:
                    answer = self._cluster.create(made)
                written[kind.plural, namespace] = answer["metadata"]["resourceVersion"]
        return written

    def _act(self) -> tuple[str, Changing, Manifest]:
        kind = self._chance.choice(CHANGING)
        namespace = self._chance.choice(self._namespaces) if kind.namespaced else ""
        self._number += 1
        made = self._object(kind, namespace, self._chance.choice(_NAMES), self._chance.choice(_APPS), fits=None)
        made["metadata"]["annotations"] = {"number": str(self._number)}
        act = self._chance.choice(
            ("create", "create", "patch", "patch", "replace", "apply", "phase", "delete", "sweep")
        )
        return act, kind, made

    def _do(self, chosen: tuple[str, Changing, Manifest]) -> None:
        act, kind, made = chosen
        try:
            match act:
                case "create":
                    self._cluster.create(made)
                case "patch":
                    self._cluster.patch(made, {"metadata": made["metadata"]})
                case "replace" if kind.plural != "pods":
                    self._cluster.replace(made)
                case "apply":
                    self._apply(made)
                case "phase" if kind.plural == "pods":
                    phase = "Running" if made["metadata"]["labels"]["app"] == "b" else "Pending"
                    self._cluster.patch(made, {"status": {"phase": phase}}, subresource="status")
                case "delete":
                    self._cluster.delete(made)
                case "sweep":
                    query = {"labelSelector": f"app={made['metadata']['labels']['app']},mark!=yes"}
                    place = made["metadata"].get("namespace", "")
                    self._cluster.admin.delete(kind.path(place), params={**query, "gracePeriodSeconds": "0"})
        except RefusedError as error:
            assert error.code in (404, 409), error

    def _apply(self, made: Manifest) -> None:
        parameters = {"fieldManager": "changes", "force": "true"}
        answer = self._cluster.admin.patch(
            self._cluster.path(made), json=made, params=parameters, headers={"content-type": _APPLY}
        )
        assert answer.status_code in (200, 201, 409, 422), answer.text  # a pod's spec stays as it is

    def _object(self, kind: Changing, namespace: str, name: str, app: str, *, fits: bool | None) -> Manifest:
        """An object; `fits` None leaves to chance whether it fits the field selectors."""
        red = fits or self._chance.random() < 0.5
        labels = {"app": app} | ({"mark": "yes"} if name == _MARK else {})
        match kind.plural:
            case "configmaps":
                return config_map(name, namespace, labels=labels, data={"n": str(self._number), "odd": "<\u2028&>"})
            case "secrets":
                made = secret(name, namespace)
                made["metadata"]["labels"] = labels
                return made
            case "pods":
                return pod(name, namespace, labels=labels, node="node1" if red else None)
            case "widgets":
                return widget(name, namespace, color="red" if red else "blue", size=self._number, labels=labels)
        metadata = {"name": name, "labels": labels}
        return {"apiVersion": f"{CRD_GROUP}/v1", "kind": "Planet", "metadata": metadata, "spec": {"n": self._number}}

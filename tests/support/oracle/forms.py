"""Random headers and bodies: what is accepted, what is sent and in which form, and in whose name."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

from tests.support.oracle.asked import Header
from tests.support.oracle.contents import NAMESPACES, Resource

PROTOBUF = "application/vnd.kubernetes.protobuf"
_JSON = "application/json"
_META = "g=meta.k8s.io"

_ACCEPTS = (
    *(_JSON, "*/*", f"{_JSON};as=Table;v=v1;{_META}", f"{_JSON};as=Table;v=v1beta1;{_META}"),
    f"{_JSON};as=Table;v=v1;{_META},{_JSON};as=Table;v=v1beta1;{_META},{_JSON}",
    *(f"{_JSON};as=PartialObjectMetadata;v=v1;{_META}", f"{_JSON};as=PartialObjectMetadataList;v=v1;{_META}"),
    *(f"{_JSON};as=PartialObjectMetadataList;v=v1beta1;{_META}", f"{PROTOBUF};as=PartialObjectMetadata;v=v1;{_META}"),
    *(PROTOBUF, "application/yaml", "application/cbor", f"{PROTOBUF},{_JSON}", "application/yaml,*/*;q=0.1"),
    *(
        "application/*",
        "text/plain",
        "text/html",
        "image/png",
        "application/json;q=0",
        f"{_JSON};q=0.5,{PROTOBUF};q=0.9",
    ),
    *(f"{_JSON};as=Table;v=v2;{_META}", f"{_JSON};as=Chair;v=v1;{_META}", f"{_JSON};as=Table", "garbage", ";;", ","),
    *(
        f"{_JSON};stream=watch",
        f"{_JSON};charset=utf-8",
        f"{_JSON};as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
    ),
    *(f"{_JSON};profile=x", f"{_JSON};as=Table;v=v1;g=meta.k8s.io;q=0.1,*/*", "application/json, text/plain, */*", ""),
)
_AGENTS = ("client-go/1", "kubectl/v1.36.3 (linux/amd64)", "curl/8.0", "Mozilla/5.0", "Wget/1", "python")
_PATCHES = {
    "application/merge-patch+json": {"metadata": {"labels": {"patched": "yes"}}},
    "application/strategic-merge-patch+json": {"metadata": {"annotations": {"patched": "<yes>"}}},
    "application/json-patch+json": [{"op": "add", "path": "/metadata/labels", "value": {"patched": "yes"}}],
}
_APPLY = "application/apply-patch+yaml"
_BROKEN = (b"", b"{", b"[]", b"null", b'"text"', b"{}", b"k8s\x00garbage", b"\xff\xfe", b'{"kind":1}', b"a: b")
_IMPERSONATIONS: tuple[tuple[Header, ...], ...] = (
    (("Impersonate-User", "oracle-u0"),),
    (("Impersonate-User", "oracle-u1"), ("Impersonate-Group", "oracle-g1")),
    (("Impersonate-User", "oracle-u2"), ("Impersonate-Group", "oracle-g0"), ("Impersonate-Group", "oracle-g2")),
    (("Impersonate-User", "system:serviceaccount:oracle-a:robot"),),
    (("Impersonate-User", "system:serviceaccount:oracle-b:robot"), ("Impersonate-Group", "oracle-g1")),
    (("Impersonate-User", "system:anonymous"),),
    (("Impersonate-User", "oracle-u0"), ("Impersonate-Group", "system:unauthenticated")),
    (("Impersonate-User", "oracle-u0"), ("Impersonate-Uid", "7")),
    (("Impersonate-User", "oracle-u0"), ("Impersonate-Extra-scopes", "view"), ("Impersonate-Extra-scopes", "edit")),
    (("Impersonate-User", "oracle-u0"), ("Impersonate-Extra-example.com%2Fkey", "v")),
    (("Impersonate-Group", "oracle-g1"),),
    (("Impersonate-Extra-scopes", "view"),),
    (("Impersonate-User", "admin"), ("Impersonate-Group", "system:masters")),
    (("Impersonate-User", "somebody <else>"),),
    (("Impersonate-User", ""),),
    (("Impersonate-User", "oracle-u0"), ("Impersonate-User", "oracle-u1")),
)


class RandomForms:
    """Headers and bodies out of one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def headers(self, *, impersonates: bool) -> list[Header]:
        """Those of every request."""
        chosen: list[Header] = []
        if not self._one_in(4):
            accept = _JSON if self._one_in(3) else self._chance.choice(_ACCEPTS)
            chosen.append(("Accept", accept))
        if self._one_in(3):
            chosen.append(("User-Agent", self._chance.choice(_AGENTS)))
        if self._one_in(2 if impersonates else 60):
            chosen += self._chance.choice(_IMPERSONATIONS)
        return chosen

    def write(self, method: str, path: str, resource: Resource | None) -> tuple[list[Header], bytes]:
        """The headers that describe the body, and the body."""
        if method == "DELETE":
            return self._deletion()
        if "review" in path:
            return [("Content-Type", _JSON)], _dumps(self._review(path))
        if method == "PATCH":
            return self._patch(path, resource)
        body = _dumps(self._object(method, path, resource))
        media_type = self._chance.choices(
            (_JSON, PROTOBUF, "application/yaml", "text/plain", "", "application/cbor"), (14, 1, 2, 1, 1, 1)
        )[0]
        if media_type == "application/yaml":
            body = yaml.safe_dump(json.loads(body)).encode()
        if self._one_in(10):
            body = self._chance.choice(_BROKEN)
        return self._typed(media_type), body

    def _deletion(self) -> tuple[list[Header], bytes]:
        """DeleteOptions, or none: those of the query count then. No other body is sent: it might really delete."""
        if not self._one_in(3):
            return [], b""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]}
        more = ({}, {"gracePeriodSeconds": 0}, {"preconditions": {"uid": "x"}}, {"propagationPolicy": "Bad"})
        body = _dumps({**options, **self._chance.choice(more)})
        return self._typed(self._chance.choice((_JSON, _JSON, "application/yaml", "text/plain", ""))), body

    def _patch(self, path: str, resource: Resource | None) -> tuple[list[Header], bytes]:
        kind = self._chance.choice((*_PATCHES, _APPLY, "application/apply-patch+cbor", _JSON, "", "text/plain"))
        if self._one_in(10):
            return self._typed(kind), self._chance.choice(_BROKEN)
        if kind == _APPLY:
            return self._typed(kind), yaml.safe_dump(self._object("PATCH", path, resource)).encode()
        return self._typed(kind), _dumps(_PATCHES.get(kind, _PATCHES["application/merge-patch+json"]))

    def _object(self, method: str, path: str, resource: Resource | None) -> Any:
        """An object of the resource where there is one, or nearly."""
        manifests = resource.manifests if resource is not None else {}
        if not manifests:
            metadata = {"name": self._chance.choice(("web", "new"))}
            return {
                "apiVersion": "v1",
                "kind": self._chance.choice(("ConfigMap", "Pod", "Status")),
                "metadata": metadata,
            }
        fitting = [key for key in manifests if path.endswith(f"/{key.partition('/')[2]}") and key.split("/")[0] in path]
        made = json.loads(json.dumps(manifests[self._chance.choice(fitting or list(manifests))]))
        for namespace in NAMESPACES:
            if f"/namespaces/{namespace}/" in path and "namespace" in made["metadata"] and not self._one_in(12):
                made["metadata"]["namespace"] = namespace
        if method == "POST" and not self._one_in(4):
            made["metadata"]["name"] = "new"
        match self._chance.randrange(14):
            case 0:
                made["kind"] = "Nothing"
            case 1:
                made["apiVersion"] = "nothing.example/v1"
            case 2:
                made["metadata"]["resourceVersion"] = "1"
            case 3:
                made["unknown"] = {"field": 1}
            case 4:
                made["metadata"]["labels"] = {"bad label": "x"}
            case 5:
                del made["metadata"]["name"]
                made["metadata"]["generateName"] = "made-"
        return made

    def _review(self, path: str) -> Any:
        version = path.split("/")[2]
        plural = path.rsplit("/", 1)[1]
        kind = {
            "selfsubjectaccessreviews": "SelfSubjectAccessReview",
            "selfsubjectrulesreviews": "SelfSubjectRulesReview",
            "subjectaccessreviews": "SubjectAccessReview",
            "localsubjectaccessreviews": "LocalSubjectAccessReview",
            "selfsubjectreviews": "SelfSubjectReview",
        }.get(plural, "SelfSubjectReview")
        review: dict[str, Any] = {"apiVersion": f"{version}/v1", "kind": kind}
        if kind == "SelfSubjectRulesReview":
            review["spec"] = {"namespace": self._chance.choice((*NAMESPACES, ""))}
        elif kind != "SelfSubjectReview":
            attributes = {
                "verb": self._chance.choice(("get", "list", "create", "*", "delete")),
                "resource": self._chance.choice(("pods", "configmaps", "nodes", "*")),
                "namespace": "oracle-a" if kind.startswith("Local") else self._chance.choice((*NAMESPACES, "")),
            }
            review["spec"] = {"resourceAttributes": attributes}
            if not kind.startswith("Self"):
                review["spec"]["user"] = f"oracle-u{self._chance.randrange(4)}"
                review["spec"]["groups"] = [f"oracle-g{self._chance.randrange(3)}"]
        return review

    def _typed(self, media_type: str) -> list[Header]:
        return [("Content-Type", media_type)] if media_type else []

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()

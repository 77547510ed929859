"""What a client asks about pods, in which form, and how it reads the answers.

Every form is brought to the same: a key, a resourceVersion where one is shown, and the content that the form shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Json = dict[str, Any]
Key = tuple[str, str]


class Shown(NamedTuple):
    """One object as an answer shows it: `rv` is "" and `content` None where the form leaves them out."""

    key: Key
    rv: str
    content: Json | None


class Form(Enum):
    """The forms of an answer; the value is what a Table includes, "" for all else."""

    OBJECT = "object"
    METADATA = "metadata"
    TABLE_OBJECT = "table Object"
    TABLE_METADATA = "table Metadata"
    TABLE_NONE = "table None"

    def accept(self, *, watch: bool) -> str:
        """The Accept header of a watch, or of a list."""
        match self:
            case Form.OBJECT:
                return "application/json"
            case Form.METADATA:
                kind = "PartialObjectMetadata" if watch else "PartialObjectMetadataList"
            case _:
                kind = "Table"
        return f"application/json;as={kind};g=meta.k8s.io;v=v1"

    @property
    def parameters(self) -> dict[str, str]:
        """The query parameters."""
        return {"includeObject": self.value.removeprefix("table ")} if self.value.startswith("table") else {}

    def key(self, pod: Json) -> Key:
        """The key of a whole pod in answers of this form: a row without its object has a name only."""
        metadata = pod["metadata"]
        return ("" if self is Form.TABLE_NONE else metadata["namespace"], metadata["name"])

    def content(self, pod: Json) -> Json | None:
        """What answers of this form show of a whole pod."""
        match self:
            case Form.OBJECT | Form.TABLE_OBJECT:
                return without_type(pod)
            case Form.METADATA | Form.TABLE_METADATA:
                metadata: Json = pod["metadata"]
                return metadata
            case Form.TABLE_NONE:
                return None

    def read_list(self, body: Json) -> Iterator[Shown]:
        """The objects of a list, or of one page; the API server writes none of them as null."""
        if "table" in self.value:
            assert body["kind"] == "Table", body["kind"]
            return (self._read_row(row, "") for row in body["rows"] or ())
        assert body["kind"] == ("PodList" if self is Form.OBJECT else "PartialObjectMetadataList"), body["kind"]
        return (self._read_object(item) for item in body["items"] or ())

    def read_event(self, body: Json) -> Shown:
        """The object of an ADDED, MODIFIED or DELETED event."""
        if "table" not in self.value:
            assert body["kind"] == ("Pod" if self is Form.OBJECT else "PartialObjectMetadata"), body["kind"]
            return self._read_object(body)
        assert body["kind"] == "Table", body["kind"]
        [row] = body["rows"]
        return self._read_row(row, body["metadata"]["resourceVersion"])

    def ends_initial_events(self, body: Json) -> bool:
        """True for the object of the bookmark that ends the initial events."""
        metadata = body["metadata"]
        if body["kind"] == "Table" and body["rows"]:
            metadata = body["rows"][0]["object"]["metadata"]
        return bool(metadata.get("annotations", {}).get(INITIAL_EVENTS_END) == "true")

    def _read_object(self, body: Json) -> Shown:
        metadata = body["metadata"]
        content = without_type(body) if self in (Form.OBJECT, Form.TABLE_OBJECT) else metadata
        return Shown((metadata["namespace"], metadata["name"]), metadata["resourceVersion"], content)

    def _read_row(self, row: Json, rv: str) -> Shown:
        if self is Form.TABLE_NONE:
            assert row["object"] is None, row["object"]
            return Shown(("", row["cells"][0]), rv, None)
        shown = self._read_object(row["object"])
        assert row["cells"][0] == shown.key[1], row["cells"]
        assert rv in ("", shown.rv), f"the table is at {rv}, its object at {shown.rv}"
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A collection of pods: all (`namespace` "") or those of a namespace, narrowed by the client's own selectors.

    A selector is equalities by label or field path.
    """

    form: Form = Form.OBJECT
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        selectors = [f"{key}={value}" for key, value in (*self.labels, *self.fields)]
        return " ".join([self.namespace or "*", self.form.value, *selectors])

    @property
    def path(self) -> str:
        """The URL path."""
        return f"/api/v1/namespaces/{self.namespace}/pods" if self.namespace else "/api/v1/pods"

    @property
    def parameters(self) -> dict[str, str]:
        """The query parameters that make the question."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        texts = {name: ",".join(f"{key}={value}" for key, value in terms) for name, terms in selectors.items() if terms}
        return self.form.parameters | texts

    def concerns(self, pod: Json) -> bool:
        """True when the question asks for this pod, whoever asks."""
        metadata = pod["metadata"]
        return (
            self.namespace in ("", metadata["namespace"])
            and all(metadata.get("labels", {}).get(key) == value for key, value in self.labels)
            and all(scalar_fields(pod).get(path, "") == value for path, value in self.fields)
        )


def scalar_fields(pod: Json) -> Mapping[str, str]:
    """The fields of a pod that selectors of these tests name; what is absent is left out."""
    values = {
        "spec.nodeName": pod["spec"].get("nodeName"),
        "status.phase": pod["status"].get("phase"),
    }
    return {path: value for path, value in values.items() if value is not None}


def without_type(pod: Json) -> Json:
    """The object without `kind` and `apiVersion`, which lists leave out."""
    return {name: value for name, value in pod.items() if name not in ("kind", "apiVersion")}

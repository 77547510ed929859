"""Files that are what they were are not read again, and nothing else is different."""

from __future__ import annotations

from proxy.policy.load import FileRead, load_policies, read_file
from proxy.policy.remembered_files import RememberedFiles

ROLE = b"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %b}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""
FILES = {"a.yaml": ROLE % b"a", "b.yaml": ROLE % b"b", "bad.yaml": b"kind: [", "empty.yaml": b""}


class Reader:
    """Keeps the names of the files that are really read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def read(self, file: str, content: bytes) -> FileRead:
        self.names.append(file)
        return read_file(file, content)

    def take(self) -> list[str]:
        taken, self.names = sorted(self.names), []
        return taken


def test_only_what_has_changed_is_read() -> None:
    reader = Reader()
    remembered = RememberedFiles(reader.read)
    load_policies(FILES, remembered.read)
    assert reader.take() == sorted(FILES)
    load_policies({**FILES, "b.yaml": ROLE % b"c"}, remembered.read)
    assert reader.take() == ["b.yaml"]


def test_what_is_loaded_is_what_would_be_without() -> None:
    remembered = RememberedFiles()
    sets = [
        FILES,
        {"a.yaml": FILES["a.yaml"], "b.yaml": FILES["b.yaml"]},
        {"a.yaml": FILES["a.yaml"], "b.yaml": FILES["a.yaml"]},  # a duplicate, which only the set shows
        {"b.yaml": FILES["a.yaml"]},
        {"a.yaml": FILES["bad.yaml"]},
    ]
    for files in (*sets, *sets):
        assert load_policies(files, remembered.read) == load_policies(files)


def test_a_file_that_is_gone_is_forgotten() -> None:
    reader = Reader()
    remembered = RememberedFiles(reader.read)
    load_policies(FILES, remembered.read)
    remembered.keep_only({"a.yaml"})
    reader.take()
    load_policies(FILES, remembered.read)
    assert reader.take() == ["b.yaml", "bad.yaml", "empty.yaml"]

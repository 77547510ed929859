"""Which files of a folder are read, and that a mounted ConfigMap is one of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.policy import folder
from proxy.policy.folder import PolicyFolderError, read_policy_folder


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_yaml_and_json_files_are_read_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/deep/er.json", "C.YAML", "notes.txt", "README.md", "x.yaml.bak"):
        write(tmp_path / name, name)
    files = read_policy_folder(tmp_path)
    assert list(files) == ["C.YAML", "a/deep/er.json", "a/z.yml", "b.yaml"]
    assert files["a/z.yml"] == b"a/z.yml"


def test_policy_tests_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a.yaml", "tests.yaml", "a/tests.yaml", ".hidden.yaml", ".git/x.yaml"):
        write(tmp_path / name)
    (tmp_path / ".#a.yaml").symlink_to("nobody@nowhere")  # the lock of an editor, a link to nothing
    assert list(read_policy_folder(tmp_path)) == ["a.yaml"]


def test_a_mounted_config_map_is_read_through_its_links(tmp_path: Path) -> None:
    """Kubernetes links each key to `..data/key`, and `..data` to a folder that is replaced as a whole."""
    write(tmp_path / "..2024_01_01" / "roles.yaml", "old")
    write(tmp_path / "..2024_01_02" / "roles.yaml", "new")
    (tmp_path / "..data").symlink_to("..2024_01_01")
    (tmp_path / "roles.yaml").symlink_to("..data/roles.yaml")
    assert read_policy_folder(tmp_path) == {"roles.yaml": b"old"}
    (tmp_path / "..data_tmp").symlink_to("..2024_01_02")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert read_policy_folder(tmp_path) == {"roles.yaml": b"new"}


def test_a_linked_folder_is_read_and_a_loop_ends(tmp_path: Path) -> None:
    write(tmp_path / "other" / "a.yaml")
    policies = tmp_path / "policies"
    write(policies / "b.yaml")
    (policies / "linked").symlink_to(tmp_path / "other")
    (policies / "loop").symlink_to(policies)
    (tmp_path / "other" / "loop").symlink_to(tmp_path / "other")
    assert list(read_policy_folder(policies)) == ["b.yaml", "linked/a.yaml"]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyFolderError, match=r"^[^\n]*missing: no such file or directory$"):
        read_policy_folder(tmp_path / "missing")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PolicyFolderError, match="not a directory"):
        read_policy_folder(write(tmp_path / "a.yaml"))


def test_a_folder_without_policies_is_an_error(tmp_path: Path) -> None:
    """An unmounted volume must not read as a policy that says nothing."""
    write(tmp_path / "README.md")
    with pytest.raises(PolicyFolderError, match="holds no policy file"):
        read_policy_folder(tmp_path)


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("gone.yaml")
    with pytest.raises(PolicyFolderError, match=r"b\.yaml: no such file or directory"):
        read_policy_folder(tmp_path)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(PolicyFolderError, match=r"a\.yaml: is not a regular file"):
        read_policy_folder(tmp_path)


def test_sizes_and_counts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.yaml", "12345")
    write(tmp_path / "b.yaml", "12345")
    for bound, value, message in (
        ("MAX_FILE_BYTES", 4, "is larger than 4 bytes"),
        ("MAX_TOTAL_BYTES", 9, "holds more than 9 bytes"),
        ("MAX_FILES", 1, "holds more than 1 policy files"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(folder, bound, value)
            with pytest.raises(PolicyFolderError, match=message):
                read_policy_folder(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(folder, "MAX_FILE_BYTES", 5)
        patched.setattr(folder, "MAX_TOTAL_BYTES", 10)
        patched.setattr(folder, "MAX_FILES", 2)
        assert len(read_policy_folder(tmp_path)) == 2


def test_a_file_name_cannot_break_the_line_of_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a\nb.yaml").write_text("x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")).write_text("x")
    assert set(read_policy_folder(tmp_path)) == {"a\\nb.yaml", "\\xff.yaml"}


def test_files_whose_names_print_alike_are_an_error(tmp_path: Path) -> None:
    """One would stand for both."""
    (tmp_path / "a\nb.yaml").write_text("x")
    (tmp_path / "a\\nb.yaml").write_text("y")
    with pytest.raises(PolicyFolderError, match="two files that print as"):
        read_policy_folder(tmp_path)


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    with pytest.raises(PolicyFolderError, match=r"a\.yaml: too many levels of symbolic links"):
        read_policy_folder(tmp_path)


def test_a_file_of_unknown_size_is_read_whole() -> None:
    """As on file systems that make up files when they are read."""
    assert folder._read_file("/proc/self/status").startswith(b"Name:")


def test_a_linked_folder_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    """Left out, what it grants would be taken from its users."""
    write(tmp_path / "a.yaml")
    (tmp_path / "team").symlink_to("/tmp/" + "x" * 300 + "/policies")
    with pytest.raises(PolicyFolderError, match="team: file name too long"):
        read_policy_folder(tmp_path)

"""The policy folder, read again: a good set is put in force, a bad one leaves the last good one serving."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from proxy.policy.remembered_files import RememberedFiles
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.policy_reloader import InvalidPolicy, PolicyReloader, read_policy

ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""


def write(folder: Path, name: str, text: str = ROLE) -> None:
    (folder / "policy.yaml").write_text(text.replace("NAME", name))


class Serving:
    """A reloader, and what it put in force."""

    def __init__(self, folder: Path) -> None:
        remembered = RememberedFiles()
        first, digest = read_policy(folder, remembered)
        self.in_force = [first]
        self.reloader = PolicyReloader(folder, digest, self._use, remembered)
        self.used = asyncio.Event()

    def _use(self, snapshot: PolicySnapshot) -> None:
        self.in_force.append(snapshot)
        self.used.set()

    @property
    def roles(self) -> list[str]:
        return [role.name for role in self.in_force[-1].policy.roles]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "first")
    return tmp_path


def test_a_good_change_is_put_in_force(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        write(folder, "second")
        assert await serving.reloader.reload()
        assert serving.roles == ["second"]

    asyncio.run(talk())


def test_observers_are_told_whether_what_the_folder_says_is_in_force(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        told: asyncio.Queue[bool] = asyncio.Queue()
        serving.reloader.observe(told.put_nowait)
        running = asyncio.ensure_future(serving.reloader.run())
        write(folder, "second")
        serving.reloader.ask()
        assert await told.get()
        (folder / "policy.yaml").write_text("kind: [")
        serving.reloader.ask()
        while await told.get():
            pass  # the watcher may have seen the first change a second time
        running.cancel()

    asyncio.run(talk())


def test_files_that_say_the_same_are_not_put_in_force_again(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        write(folder, "first")
        assert await serving.reloader.reload()
        assert len(serving.in_force) == 1

    asyncio.run(talk())


@pytest.mark.parametrize("bad", ["kind: [", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nverbs: x\n"])
def test_a_bad_change_leaves_the_last_good_policy_serving_and_says_where_it_is_wrong(
    folder: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        write(folder, "bad", bad)
        assert not await serving.reloader.reload()
        assert serving.roles == ["first"]
        assert len(serving.in_force) == 1
        assert any("policy.yaml:" in record.message for record in caplog.records)
        write(folder, "repaired")
        assert await serving.reloader.reload()
        assert serving.roles == ["repaired"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(talk())


def test_a_bad_change_that_is_taken_back_is_as_if_it_had_not_been(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        write(folder, "bad", "kind: [")
        assert not await serving.reloader.reload()
        write(folder, "first")
        assert await serving.reloader.reload()
        assert len(serving.in_force) == 1

    asyncio.run(talk())


def test_one_bad_file_keeps_the_good_ones_beside_it_out_too(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        write(folder, "second")
        (folder / "other.yaml").write_text("kind: [")
        assert not await serving.reloader.reload()
        assert serving.roles == ["first"]

    asyncio.run(talk())


def test_a_folder_that_is_gone_leaves_the_last_good_policy_serving(folder: Path) -> None:
    async def talk() -> None:
        serving = Serving(folder)
        shutil.rmtree(folder)
        assert not await serving.reloader.reload()
        assert serving.roles == ["first"]

    asyncio.run(talk())


def test_a_folder_that_was_never_there_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy):
        read_policy(tmp_path / "nowhere", RememberedFiles())


def test_every_mistake_has_a_line_of_its_own(folder: Path) -> None:
    write(
        folder,
        "x",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\nrules: [{}, {}]\n",
    )
    with pytest.raises(InvalidPolicy) as raised:
        read_policy(folder, RememberedFiles())
    lines = str(raised.value).splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("policy.yaml:4:") for line in lines)


def test_a_mounted_configmap_that_is_swapped_by_a_symbolic_link_is_read_when_asked(tmp_path: Path) -> None:
    """As kubelet does it: `policy.yaml` → `..data/policy.yaml`, and `..data` is replaced by a rename."""

    async def talk() -> None:
        mount = tmp_path / "mount"
        for name in ("first", "second"):
            (mount / f"..{name}").mkdir(parents=True)
            write(mount / f"..{name}", name)
        (mount / "..data").symlink_to("..first")
        (mount / "policy.yaml").symlink_to("..data/policy.yaml")
        serving = Serving(mount)
        assert serving.roles == ["first"]
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(serving.reloader.run())
            (mount / "..new").symlink_to("..second")
            (mount / "..new").rename(mount / "..data")
            serving.reloader.ask()
            await serving.used.wait()
            running.cancel()
        assert serving.roles == ["second"]

    asyncio.run(talk())

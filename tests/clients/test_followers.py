"""Every client library as it comes, under callers who may see a part: what its program holds is exactly that part."""

from collections.abc import Iterable

import pytest

from tests.clients.program import LIBRARIES, Item, Library, Program, Said
from tests.clients.stage import (
    ALICE,
    BLUE,
    CALLERS,
    GREEN,
    LENA,
    POLICIES,
    RED,
    SECRET,
    Caller,
    Stage,
    namespaced_policy,
)
from tests.support.manifests import config_map

AT_FIRST = ("one", "two", "three", "four", "five")
every_library = pytest.mark.parametrize("library", LIBRARIES, indirect=True, ids=str)


def begun(stage: Stage, library: Library, caller: Caller) -> Program:
    """A program that follows what the caller may see, started on a stage with objects that are visible and not."""
    stage.create(caller, *AT_FIRST)
    stage.create(caller, "unseen-one", "unseen-two", visible=False)
    return Program(library, stage.kubeconfig(caller), "--resource", caller.resource)


def assert_shown(items: Iterable[Item], caller: Caller) -> None:
    """Nothing of what is hidden, and no content that hides."""
    for item in items:
        assert caller.may_see(item), item
        assert not item["value"].startswith(SECRET), item


def told(said: Iterable[Said]) -> list[tuple[str, str, str]]:
    """(type, name, resourceVersion) of the events."""
    items = [(each["type"], each["object"]) for each in said if each["said"] == "event"]
    return [(kind, item["name"], item["resourceVersion"]) for kind, item in items]


@every_library
@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_what_is_listed_and_watched_is_exactly_the_visible_part(stage: Stage, library: Library, caller: Caller) -> None:
    """Listed over all namespaces, in pages where there is a choice; then the events of the API server itself."""
    with begun(stage, library, caller) as program, stage.direct_watch(caller) as direct:
        stage.settle(program, caller)
        tells_pages = library.name in ("kubernetes", "kubernetes-asyncio")
        assert {said["pages"] for said in program.said if "pages" in said} == ({3} if tells_pages else set())
        got = [item for said in program.said if said["said"] == "got" for item in said["items"]]
        assert {(item["namespace"], item["name"]): item["resourceVersion"] for item in got} in (
            {},
            stage.truth(caller),
        )
        stage.create(caller, "unseen", visible=False)
        stage.create(caller, "new")
        program.take_name("new", "ADDED")
        stage.change(caller, "unseen", visible=False)
        stage.change(caller, "new")
        program.take_name("new", "MODIFIED")
        if caller.hide is not None:
            stage.move(caller, "new", caller.hide)
            program.take_name("new", "DELETED")
            stage.change(caller, "new")
            stage.move(caller, "new", caller.reveal)
            program.take_name("new", "ADDED")
        stage.delete(caller, "unseen", visible=False)
        stage.delete(caller, "new")
        program.take_name("new", "DELETED")
        stage.create(caller, "last")
        program.take_name("last", "ADDED")
        expected = stage.told_directly(direct, caller, until="last")
        assert told(program.said)[-len(expected) :] == expected
        stage.settle(program, caller)
        assert_shown(program.shown(), caller)


@every_library
def test_a_cut_connection_loses_and_doubles_nothing(stage: Stage, library: Library) -> None:
    """What happens in between is told when the client is back, at the place where it was."""
    with begun(stage, library, LENA) as program:
        stage.settle(program, LENA)
        begins = len(program.said)
        stage.cable.pull()
        try:
            stage.create(LENA, "unseen", visible=False)
            stage.create(LENA, "new", "gone")
            stage.change(LENA, "one")
            stage.delete(LENA, "two")
            stage.delete(LENA, "gone")
            stage.move(LENA, "three", LENA.hide)
            stage.cluster.patch(LENA.manifest("unseen-one", visible=False), LENA.reveal or {})
        finally:
            stage.cable.plug()
        stage.settle(program, LENA)
        stage.create(LENA, "last")
        program.take_name("last", "ADDED")
        stage.settle(program, LENA)
        assert_shown(program.shown(), LENA)
        if library.resumes:
            assert not {"listed", "expired"} & {said["said"] for said in program.said[begins:]}


@every_library
def test_a_client_that_comes_back_too_late_begins_again(stage: Stage, library: Library) -> None:
    """Another process of the proxy cannot know what was shown before it: 410, and the client lists."""
    with begun(stage, library, LENA) as program:
        stage.settle(program, LENA)
        stage.cable.pull()
        try:
            stage.move(LENA, "three", LENA.hide)
            stage.delete(LENA, "two")
            stage.create(LENA, "new")
            stage.proxy.stop()
            stage.proxy.start()
        finally:
            stage.cable.plug()
        stage.settle(program, LENA)
        stage.change(LENA, "new")
        program.take_name("new", "MODIFIED")
        stage.settle(program, LENA)
        assert_shown(program.shown(), LENA)
        if not library.begins_again:
            assert [said["said"] for said in program.said if said["said"] in ("listed", "expired")] == [
                "listed",
                "expired",
                "listed",
            ]


@every_library
def test_a_change_of_the_policy_is_followed(stage: Stage, library: Library) -> None:
    """Less in one namespace and more in another at once; then everything, and then as before."""
    policy = {**POLICIES, "alice.yaml": namespaced_policy("alice", BLUE, GREEN)}
    for space in (BLUE, GREEN):
        stage.cluster.create(config_map("there", space, data={"value": "shown"}))
    with begun(stage, library, ALICE) as program:
        stage.settle(program, ALICE)
        stage.write_policies(policy)
        stage.change(ALICE, "one")
        stage.cluster.patch(ALICE.manifest("two", visible=True), {"data": {"value": SECRET}})
        stage.settle(program, ALICE, (BLUE, GREEN))
        stage.cluster.create(config_map("more", GREEN, data={"value": "shown"}))
        program.take_name("more")
        assert not any(item["value"].startswith(SECRET) for item in program.shown())
        stage.cluster.patch(ALICE.manifest("two", visible=True), {"data": {"value": "shown"}})
        stage.write_policies({**POLICIES, "alice.yaml": namespaced_policy("alice", RED, BLUE, GREEN)})
        stage.settle(program, ALICE, (RED, BLUE, GREEN))
        stage.restore()
        stage.settle(program, ALICE)
        stage.create(ALICE, "last")
        program.take_name("last")
        stage.settle(program, ALICE)
        assert not any(item["value"].startswith(SECRET) for item in program.shown())

"""client-go's informer by the requests it sends: it gets what it asks for, and never has to fall back on another."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.clients.program import INFORMERS, TAKE_SECONDS, Library, Program
from tests.clients.stage import ALICE, LENA, POLICIES, Stage
from tests.support.polling import poll

either_informer = pytest.mark.parametrize("library", INFORMERS, indirect=True, ids=str)

Query = dict[str, str]


def queries(program: Program, begin: int = 0) -> list[Query]:
    """The query of each request since, in order."""
    return [dict(parse_qsl(urlsplit(said["url"]).query)) for said in program.said[begin:] if said["said"] == "request"]


def is_synced(said: dict[str, object]) -> bool:
    return said["said"] == "synced"


@either_informer
def test_an_informer_syncs_by_the_requests_it_prefers(stage: Stage, library: Library) -> None:
    """With WatchList one watch that begins with the state; without it a list, and a watch from there."""
    stage.create(LENA, "one", "two")
    with Program(library, stage.kubeconfig(LENA)) as program:
        program.take_until(is_synced)
        stage.create(LENA, "new")
        program.take_name("new", "ADDED")
        asked = queries(program)
    if library.name == "client-go-watch-list":
        [only] = asked
        assert (only["watch"], only["sendInitialEvents"], only["resourceVersionMatch"]) == (
            "true",
            "true",
            "NotOlderThan",
        )
    else:
        listed, watched = asked
        assert "watch" not in listed
        assert watched["watch"] == "true"
        assert int(watched["resourceVersion"]) > 0


@either_informer
def test_an_informer_that_was_cut_off_resumes_and_does_not_list(stage: Stage, library: Library) -> None:
    with Program(library, stage.kubeconfig(LENA)) as program:
        program.take_until(is_synced)
        stage.create(LENA, "one")
        program.take_name("one", "ADDED")
        begin = len(program.said)
        stage.cable.pull()
        stage.create(LENA, "two")
        stage.cable.plug()
        program.take_name("two", "ADDED")
        stage.settle(program, LENA)
        asked = queries(program, begin)
    held = program.said[begin - 1]["object"]["resourceVersion"]
    assert {(query.get("watch"), query.get("sendInitialEvents"), query["resourceVersion"]) for query in asked} == {
        ("true", None, held)
    }


@either_informer
def test_an_informer_that_may_see_nothing_waits_until_it_may_again(stage: Stage, library: Library) -> None:
    """403 is what client-go tries again; what it holds by then is what it was shown before, and no more."""
    stage.create(ALICE, "one", "two")
    with Program(library, stage.kubeconfig(ALICE)) as program:
        program.take_until(is_synced)
        stage.create(ALICE, "last")
        program.take_name("last", "ADDED")
        begin = len(program.said)
        stage.write_policies({name: policy for name, policy in POLICIES.items() if name != "alice.yaml"})
        stage.delete(ALICE, "one")
        stage.create(ALICE, "three")
        poll(  # the watch that ended, and one more that was refused
            lambda: len(queries(program, begin)) >= 2,
            timeout_seconds=TAKE_SECONDS,
            failure=lambda: f"the informer does not come back: {program.said[begin:]}",
        )
        assert not any("object" in said for said in program.said[begin:])
        stage.restore()
        stage.settle(program, ALICE)


@either_informer
@pytest.mark.parametrize("client", ["dynamic", "metadata"])
def test_untyped_informers_hold_the_same(stage: Stage, library: Library, client: str) -> None:
    """The dynamic one decodes JSON, that of metadata asks for PartialObjectMetadata, in protobuf if it could."""
    stage.create(LENA, "one", "two", "three")
    stage.create(LENA, "unseen", visible=False)
    with Program(library, stage.kubeconfig(LENA), "--client", client) as program:
        program.take_until(is_synced)
        stage.settle(program, LENA)
        stage.move(LENA, "two", LENA.hide)
        program.take_name("two", "DELETED")
        stage.cluster.patch(LENA.manifest("unseen", visible=False), LENA.reveal or {})
        program.take_name("unseen", "ADDED")
        stage.settle(program, LENA)
        assert all(LENA.may_see(item) for item in program.shown())


def test_the_pager_of_client_go_gets_full_pages(stage: Stage, informer_binary: Path) -> None:
    """Hidden objects leave no gaps: five visible ones, among as many hidden, are two pages of two and one of one."""
    for name in ("a", "b", "c", "d", "e"):
        stage.create(ALICE, name)
        stage.create(ALICE, name, visible=False)
    pager = INFORMERS[0].built(informer_binary)
    with Program(pager, stage.kubeconfig(ALICE), "--page-size", "2") as program:
        assert program.wait() == 0
    assert [item["name"] for item in program.shown()] == ["a", "b", "c", "d", "e"]
    asked = queries(program)
    assert [query["limit"] for query in asked] == ["2", "2", "2"]
    assert ["continue" in query for query in asked] == [False, True, True]

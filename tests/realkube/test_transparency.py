"""Who may see everything gets what a direct connection gives: the same bytes, statuses and messages.

What differs on purpose is in docs/differences.md: the resourceVersion of a list that comes from the cache, the columns
of an age (printed at another second), the empty fields of bookmarks, and headers about upstream's own work.
"""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest

from tests.support.grants import EVERYTHING, grant
from tests.support.identities import Identity
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.samples import KINDS, PLANETS, WIDGETS, Kind, install, samples, uninstall

ROOT = Identity(name="root")
SPACE = "transparent"
FUTURE = "999999999"

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
TABLE_V1BETA1 = "application/json;as=Table;v=v1beta1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v="
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v="
PROTOBUF = "application/vnd.kubernetes.protobuf"
KUBECTL = f"{TABLE},{TABLE_V1BETA1},application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """A connection through the proxy, and one straight to the API server."""

    proxy: httpx.Client
    direct: httpx.Client

    def ask(
        self, path: str, parameters: Mapping[str, str] | None = None, **headers: str
    ) -> tuple[httpx.Response, httpx.Response]:
        """The answers of both to one request."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        through, straight = (
            side.get(path, params=parameters or {}, headers=sent) for side in (self.proxy, self.direct)
        )
        return through, straight


@pytest.fixture(scope="module")
def sides(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Objects of every kind, a proxy and the two connections."""
    for definition in (WIDGETS, PLANETS):
        install(real_cluster, definition)
    real_cluster.create_namespace(SPACE)
    for manifest in samples(SPACE):
        real_cluster.create(manifest)
    policies = {"root.yaml": grant("root", *EVERYTHING)}
    directory = tmp_path_factory.mktemp("transparency")
    with ProxyProcess(real_cluster, directory, policies) as process, process.client(ROOT) as proxy:
        yield Sides(proxy=proxy, direct=real_cluster.admin)
    for definition in (WIDGETS, PLANETS):
        uninstall(real_cluster, definition)
    real_cluster.delete_namespace(SPACE)


def list_rv(sides: Sides, path: str) -> str:
    rv: str = sides.direct.get(path, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
    return rv


def names(kind: Kind, sides: Sides) -> tuple[str, str]:
    """The namespace and name of some object of the kind."""
    item = sides.direct.get(kind.path(SPACE if kind.namespaced else "")).json()["items"][0]["metadata"]
    return item.get("namespace", ""), item["name"]


def without_ages(text: str) -> Any:
    """A Table without what is printed anew each second."""
    table = json.loads(text)
    if table["kind"] != "Table":
        return table
    columns = table["columnDefinitions"]
    aged = [index for index, column in enumerate(columns or []) if column["name"] in ("Age", "Last Seen", "First Seen")]
    for row in table["rows"]:
        for index in aged:
            row["cells"][index] = "-"
    return table


RV = re.compile(rb'("metadata":\s*\{\s*"resourceVersion":\s*)"\d+"')

REPRESENTATIONS: list[dict[str, str]] = [
    {"accept": "application/json"},
    {"accept": "*/*"},
    {"accept": "application/yaml"},
    {"accept": PROTOBUF},
    {"accept": "application/json", "user-agent": "curl/8.0"},
    {"accept": "application/json", "user-agent": "Mozilla/5.0 (X11)"},
]
METADATA_REPRESENTATIONS = [f"{METADATA}v1", f"{METADATA}v1beta1", f"{METADATA_LIST}v1", f"{METADATA_LIST}v1beta1"]
METADATA_REPRESENTATIONS += [each.replace("application/json", PROTOBUF) for each in METADATA_REPRESENTATIONS[::2]]


def shape(answer: httpx.Response, kind: Kind) -> Any:
    """What has to be equal of a list: the bytes, but for the resourceVersion; of custom resources what they say.

    Their members are in another order here, and an empty continue token is left out.
    """
    if not kind.custom or not answer.is_success or answer.headers["content-type"] != "application/json":
        return RV.sub(rb"\1", answer.content)
    listed = json.loads(answer.content)
    metadata = {name: value for name, value in listed["metadata"].items() if value and name != "resourceVersion"}
    return {**listed, "metadata": metadata}


def same(through: httpx.Response, straight: httpx.Response, *, tables: bool = False) -> None:
    """The same answer: status, type and body, byte by byte where no age is printed."""
    assert (through.status_code, through.headers.get("content-type")) == (
        straight.status_code,
        straight.headers.get("content-type"),
    ), f"{straight.request.url} {straight.request.headers['accept']}: {through.text[:500]} / {straight.text[:500]}"
    if straight.is_error and straight.headers["content-type"] == "application/json":
        assert through.json() == straight.json()  # upstream indents errors of negotiation
    elif tables and straight.is_success:
        assert without_ages(through.text) == without_ages(straight.text), straight.request.url
    else:
        assert through.content == straight.content, (
            f"{straight.request.url} {straight.request.headers['accept']}: "
            f"{through.content[:600]!r} / {straight.content[:600]!r}"
        )


def same_list(through: httpx.Response, straight: httpx.Response, kind: Kind) -> None:
    """The same list, but for the order of members where the kind is custom."""
    if straight.status_code == 406:  # the words differ, see below
        assert through.status_code == 406
    elif kind.custom:
        assert through.status_code == straight.status_code
        assert shape(through, kind) == shape(straight, kind)
    else:
        same(through, straight)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_object_is_the_same_in_every_representation(sides: Sides, kind: Kind) -> None:
    namespace, name = names(kind, sides)
    for path in (kind.path(namespace, name), kind.path(namespace, "absent")):
        for headers in REPRESENTATIONS:
            same(*sides.ask(path, **headers))
        for accept in METADATA_REPRESENTATIONS:
            same(*sides.ask(path, accept=accept))
        for pretty in ("1", "0", "true", "no"):
            same(*sides.ask(path, {"pretty": pretty}, accept="application/json", user_agent="curl/8.0"))
        for accept, include in product((TABLE, TABLE_V1BETA1, KUBECTL), ("", "None", "Metadata", "Object", "Bad")):
            same(*sides.ask(path, {"includeObject": include} if include else {}, accept=accept), tables=True)
        for rv in ("0", "x"):
            same(*sides.ask(path, {"resourceVersion": rv}, accept="application/json"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_list_at_one_resource_version_is_the_same_in_every_representation(sides: Sides, kind: Kind) -> None:
    for path in (kind.path(), kind.path(SPACE)) if kind.namespaced else (kind.path(),):
        exact = {"resourceVersion": list_rv(sides, path), "resourceVersionMatch": "Exact"}
        for headers in REPRESENTATIONS:
            same_list(*sides.ask(path, exact, **headers), kind)
        for accept in METADATA_REPRESENTATIONS:
            same_list(*sides.ask(path, exact, accept=accept), kind)
        for pretty in ("1", "0"):
            asked = {**exact, "pretty": pretty}
            same_list(*sides.ask(path, asked, accept="application/json", user_agent="curl/8.0"), kind)
        for accept, include in product((TABLE, TABLE_V1BETA1, KUBECTL), ("", "None", "Metadata", "Object", "Bad")):
            chosen = {"includeObject": include} if include else {}
            same(*sides.ask(path, {**exact, **chosen}, accept=accept), tables=True)


@pytest.mark.parametrize("kind", [each for each in KINDS if each.resource != "leases"], ids=str)
def test_a_list_is_the_same_but_for_its_resource_version(sides: Sides, kind: Kind) -> None:
    """From the cache it may be of an older version; on a quiet resource the items are the same bytes."""
    limited = {"resourceVersion": "0", "limit": "1"}  # upstream caches no events, and obeys the limit there
    path = kind.path()
    for options in ({}, {"resourceVersion": "0"}, *([limited] if kind.resource != "events" else [])):
        for accept in ("application/json", f"{METADATA_LIST}v1", f"{METADATA_LIST}v1beta1"):
            for agent in ("client", "curl/8.0"):
                through, straight = sides.ask(path, options, accept=accept, user_agent=agent)
                assert through.status_code == straight.status_code == 200
                assert shape(through, kind) == shape(straight, kind), (path, options, accept)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]], ids=str)
def test_who_takes_json_as_well_gets_json_from_the_shared_cache(sides: Sides, kind: Kind) -> None:
    """Upstream would answer in the type named first, which here would cost a read of its own for each client."""
    for asked in (f"{PROTOBUF},application/json", f"{PROTOBUF}, */*"):
        for options in ({}, {"watch": "1", "timeoutSeconds": "1"}):
            through = sides.proxy.get(kind.path(), params=options, headers={"accept": asked})
            straight = sides.direct.get(kind.path(), params=options, headers={"accept": "application/json"})
            assert through.headers["content-type"] == "application/json"
            if not options:
                assert shape(through, kind) == shape(straight, kind)
            else:
                assert [json.loads(line) for line in through.text.splitlines()] == [
                    json.loads(line) for line in straight.text.splitlines()
                ]


def test_metadata_in_a_list_decodes_as_the_protobuf_that_was_wanted(sides: Sides) -> None:
    """client-go's metadata client would rather have protobuf, in which items of a list have no kind of their own."""
    of = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    for wanted, members in ((f"{PROTOBUF}{of},application/json{of}", ["metadata"]), (f"application/json{of}", None)):
        answer = sides.proxy.get(KINDS[0].path(), headers={"accept": wanted})
        items = answer.json()["items"]
        assert items
        for item in items:
            assert list(item) == (members or ["kind", "apiVersion", "metadata"])


def test_what_no_clause_fits_is_refused_with_the_same_status(sides: Sides) -> None:
    """The message lists what could have been had; upstream has three sentences for that, depending on who noticed."""
    for path, watch in product((KINDS[0].path(), KINDS[-1].path()), ({}, {"watch": "1"})):
        for accept in ("text/plain", "application/xml", "application/json;as=Chair;v=v1;g=meta.k8s.io"):
            through, straight = sides.ask(path, watch, accept=accept)
            assert through.status_code == straight.status_code == 406
            assert through.json()["reason"] == straight.json()["reason"] == "NotAcceptable"


def outcome(answer: httpx.Response) -> tuple[int, str, str, list[str], bool]:
    """Status, reason, message, names of the items, and whether there is more; no resourceVersion of this moment."""
    body = answer.json()
    if not answer.is_success:
        message = re.sub(r"current: \d+", "current: N", body["message"])
        return answer.status_code, body.get("reason", ""), message, [], False
    listed = [item["metadata"]["name"] for item in body["items"]]
    return answer.status_code, "", "", listed, bool(body["metadata"].get("continue"))


def api_version(kind: Kind) -> str:
    """As objects have it."""
    return kind.root.removeprefix("/apis/").removeprefix("/api/")


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[-2]], ids=str)
def test_every_combination_of_list_options_has_the_same_outcome(
    sides: Sides, kind: Kind, real_cluster: RealCluster
) -> None:
    """kube-apiserver's own test of these (testListOptions) goes over resourceVersion, match, limit and continue."""
    path = kind.path(SPACE)
    some = real_cluster.admin.get(path).json()["items"][0]
    typed = {**some, "apiVersion": api_version(kind), "kind": KIND_NAMES[kind.resource]}
    for number in range(3):
        real_cluster.apply({**typed, "metadata": {"name": f"more-{number}", "namespace": SPACE}})
    rv = list_rv(sides, path)
    tokens = [each.json()["metadata"]["continue"] for each in sides.ask(path, {"limit": "1"})]

    def ask(combination: tuple[str, str, str, str]) -> tuple[Any, Any]:
        version, match, limit, token = combination
        answers = []
        for side, own in zip((sides.proxy, sides.direct), tokens, strict=True):
            given = {
                "resourceVersion": version,
                "resourceVersionMatch": match,
                "limit": limit,
                "continue": own if token == "own" else token,
            }
            answers.append(outcome(side.get(path, params={name: value for name, value in given.items() if value})))
        return answers[0], answers[1]

    combinations = list(
        product(
            ("", "0", rv, FUTURE, "x", "-1", "18446744073709551616"),
            ("", "Exact", "NotOlderThan", "Other"),
            ("", "0", "1", "100", "x"),
            ("", "own", "garbage", "aGFsbG8"),
        )
    )
    with ThreadPoolExecutor(_PARALLEL) as pool:
        outcomes = dict(zip(combinations, pool.map(ask, combinations), strict=True))
    different = {combination: pair for combination, pair in outcomes.items() if pair[0] != pair[1]}
    if kind.resource == "events":  # upstream caches none: it obeys a limit that it ignores elsewhere
        different = {each: pair for each, pair in different.items() if (each[0], each[3]) != ("0", "")}
    assert not different, "\n".join(f"{each}: {pair}" for each, pair in different.items())


_PARALLEL = 24  # a resourceVersion of the future makes upstream wait for three seconds

KIND_NAMES = {"configmaps": "ConfigMap", "events": "Event", "widgets": "Widget"}


# One of each sort: each takes three seconds, as a watch lasts a second at least.
_WATCHED = (
    "configmaps",
    "events",
    "namespaces",
    "pods",
    "deployments",
    "customresourcedefinitions",
    "widgets",
    "planets",
)
WATCHED = [each for each in KINDS if each.resource in _WATCHED]


def watched(client: httpx.Client, path: str, options: Mapping[str, str], accept: str) -> list[bytes]:
    """The frames of a watch of one second, without bookmarks. A broken end raises."""
    parameters = {"watch": "1", "timeoutSeconds": "1", **options}
    answer = client.get(path, params=parameters, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    if not answer.headers["content-type"].startswith("application/json"):
        return [answer.headers["content-type"].encode(), answer.content]
    return [line for line in answer.content.splitlines(keepends=True) if not line.startswith(b'{"type":"BOOKMARK"')]


def comparable(lines: list[bytes], accept: str) -> list[Any]:
    """Events as they are, and of Tables what does not change each second."""
    if "as=PartialObjectMetadata" in accept and PROTOBUF not in accept:
        return [json.loads(line) for line in lines]  # of custom resources the members are in another order
    if "as=Table" not in accept:
        return list(lines)
    events = [json.loads(line) for line in lines]
    ages = [
        index
        for index, column in enumerate(events[0]["object"]["columnDefinitions"])
        if column["name"] in ("Age", "Last Seen", "First Seen")
    ]
    for event in events:
        for row in event["object"]["rows"]:
            row["cells"] = [cell for index, cell in enumerate(row["cells"]) if index not in ages]
    return events


@pytest.mark.parametrize("kind", WATCHED, ids=str)
def test_a_watch_is_the_same_in_every_representation(sides: Sides, kind: Kind, real_cluster: RealCluster) -> None:
    path = kind.path(SPACE if kind.namespaced else "")
    item = kind.path(*names(kind, sides))
    rv = list_rv(sides, path)
    for number in range(3):
        change = {"metadata": {"annotations": {"change": f"<{number}>"}}}
        changed = real_cluster.admin.patch(item, json=change, headers={"content-type": "application/merge-patch+json"})
        assert changed.is_success
    accepts = ["application/json", f"{METADATA}v1", f"{METADATA}v1beta1", TABLE, TABLE_V1BETA1]
    if not kind.custom:
        accepts += [PROTOBUF, f"{METADATA}v1".replace("application/json", PROTOBUF)]
    options: list[dict[str, str]] = [{"resourceVersion": rv}]
    options += [{"resourceVersion": rv, "includeObject": include} for include in ("None", "Object")]
    options += [{}, {"resourceVersion": "0"}, {"resourceVersion": "0", "allowWatchBookmarks": "1"}]
    asked = [
        (side, path, each, accept)
        for each, accept in product(options, accepts)
        if "Table" in accept or "includeObject" not in each
        if accept.startswith("application/json") or "allowWatchBookmarks" not in each
        for side in (sides.proxy, sides.direct)
    ]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        frames = list(pool.map(lambda each: watched(*each), asked))
    for at in range(0, len(asked), 2):
        accept = asked[at][3]
        assert comparable(frames[at], accept) == comparable(frames[at + 1], accept), asked[at][1:]

"""Who may see everything gets what a direct connection gives: the same bytes, statuses and messages.

What differs on purpose is in docs/differences.md: the resourceVersion of a list that comes from the cache, the columns of
an age (printed at another second), the empty fields of bookmarks, and headers about upstream's own work.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest

from tests.support.grants import EVERYTHING, grant
from tests.support.identities import Identity
from tests.support.manifests import config_map, pod
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
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("transparency"), policies) as process:
        with process.client(ROOT) as proxy:
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


REPRESENTATIONS: list[dict[str, str]] = [
    {"accept": "application/json"},
    {"accept": "*/*"},
    {"accept": "application/yaml"},
    {"accept": PROTOBUF},
    {"accept": f"{PROTOBUF},application/json"},
    {"accept": f"{PROTOBUF}, */*"},
    {"accept": "text/plain"},
    {"accept": "application/json", "user-agent": "curl/8.0"},
    {"accept": "application/json", "user-agent": "Mozilla/5.0 (X11)"},
]
METADATA_REPRESENTATIONS = [f"{METADATA}v1", f"{METADATA}v1beta1", f"{METADATA_LIST}v1", f"{METADATA_LIST}v1beta1"]
METADATA_REPRESENTATIONS += [each.replace("application/json", PROTOBUF) for each in METADATA_REPRESENTATIONS[::2]]


def same(through: httpx.Response, straight: httpx.Response, *, tables: bool = False) -> None:
    """The same answer: status, type and body, byte by byte where no age is printed."""
    assert (through.status_code, through.headers.get("content-type")) == (
        straight.status_code,
        straight.headers.get("content-type"),
    ), f"{straight.request.url} {straight.request.headers['accept']}: {through.text[:500]} / {straight.text[:500]}"
    if tables and straight.is_success:
        assert without_ages(through.text) == without_ages(straight.text), straight.request.url
    else:
        assert through.content == straight.content, (
            f"{straight.request.url} {straight.request.headers['accept']}: "
            f"{through.content[:600]!r} / {straight.content[:600]!r}"
        )


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
        for rv in ("0", FUTURE, "x"):
            through, straight = sides.ask(path, {"resourceVersion": rv}, accept="application/json")
            assert (through.status_code, reason(through)) == (straight.status_code, reason(straight)), path


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_list_at_one_resource_version_is_the_same_in_every_representation(sides: Sides, kind: Kind) -> None:
    for path in (kind.path(), kind.path(SPACE)) if kind.namespaced else (kind.path(),):
        exact = {"resourceVersion": list_rv(sides, path), "resourceVersionMatch": "Exact"}
        for headers in REPRESENTATIONS:
            same(*sides.ask(path, exact, **headers))
        for accept in METADATA_REPRESENTATIONS:
            same(*sides.ask(path, exact, accept=accept))
        for pretty in ("1", "0"):
            same(*sides.ask(path, {**exact, "pretty": pretty}, accept="application/json", user_agent="curl/8.0"))
        for accept, include in product((TABLE, TABLE_V1BETA1, KUBECTL), ("", "None", "Metadata", "Object", "Bad")):
            chosen = {"includeObject": include} if include else {}
            same(*sides.ask(path, {**exact, **chosen}, accept=accept), tables=True)


RV = re.compile(rb'("metadata":\s*\{\s*"resourceVersion":\s*)"\d+"')


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_list_is_the_same_but_for_its_resource_version(sides: Sides, kind: Kind) -> None:
    """From the cache it may be of an older version; on a quiet resource the items are the same bytes."""
    if kind.resource == "leases":
        pytest.skip("the API server's own lease changes all the time")
    path = kind.path()
    for options in ({}, {"resourceVersion": "0"}, {"resourceVersion": "0", "limit": "1"}):
        for accept in ("application/json", f"{METADATA_LIST}v1", f"{METADATA_LIST}v1beta1"):
            for agent in ("client", "curl/8.0"):
                through, straight = sides.ask(path, options, accept=accept, user_agent=agent)
                assert through.status_code == straight.status_code == 200
                assert RV.sub(rb"\1", through.content) == RV.sub(rb"\1", straight.content), (path, options, accept)


def reason(answer: httpx.Response) -> tuple[str, str]:
    """The reason and message of an error, without resourceVersions of this moment."""
    if answer.is_success:
        return "", ""
    status = answer.json()
    return status.get("reason", ""), re.sub(r"current: \d+", "current: N", status["message"])

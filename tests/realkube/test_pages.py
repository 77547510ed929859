"""Pages of a filtered list: walked as kubectl does, joined they are the whole list, and they give nothing else away."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.binaries import Binaries
from tests.support.grants import EVERYTHING, grant, rule, scoped_grant
from tests.support.identities import Identity
from tests.support.kubectl import kubectl
from tests.support.manifests import Manifest, config_map
from tests.support.polling import poll
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster

SPACES = ("pages-a", "pages-a-b", "pages-c")
PER_SPACE = 24
PATH = "/api/v1/configmaps"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

CONFIG_MAPS = rule("configmaps")
POLICIES = {
    "few.yaml": scoped_grant("few", rule("configmaps", labelSelector={"matchLabels": {"seen": "yes"}})),
    "discovery.yaml": grant("few", {"nonResourceURLs": ["/api", "/apis", "/api/*", "/apis/*"], "verbs": ["get"]}),
    "two.yaml": [*grant("two", CONFIG_MAPS, namespace="pages-c"), *grant("two", CONFIG_MAPS, namespace="pages-a")],
    "glob.yaml": scoped_grant("glob", CONFIG_MAPS, namespaces=["pages-a*"]),
    "none.yaml": scoped_grant("none", rule("configmaps", labelSelector={"matchLabels": {"seen": "never"}})),
    "root.yaml": grant("root", *EVERYTHING),
}
CALLERS = ["few", "two", "glob", "none"]


def populate(cluster: RealCluster) -> None:
    """Objects of which the caller `few` sees every eighth."""
    for space in SPACES:
        cluster.create_namespace(space)
        for number in range(PER_SPACE):
            labels = {"seen": "yes" if number % 8 == 3 else "no", "odd": str(number % 2)}
            cluster.create(config_map(f"cm-{number:03}", space, labels=labels, data={"n": str(number)}))


@pytest.fixture(scope="module")
def proxy(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    populate(real_cluster)
    with ProxyProcess(real_cluster, tmp_path_factory.mktemp("pages"), POLICIES) as process:
        yield process
    for space in SPACES:
        for number in range(PER_SPACE):
            real_cluster.delete(config_map(f"cm-{number:03}", space, data={}))
        real_cluster.delete_namespace(space)


@pytest.fixture(params=CALLERS)
def client(proxy: ProxyProcess, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with proxy.client(Identity(name=request.param)) as client:
        yield client


def walk(client: httpx.Client, parameters: dict[str, str], accept: str = "application/json") -> list[dict[str, Any]]:
    """All pages of a list."""
    pages: list[dict[str, Any]] = []
    token = ""
    while token or not pages:
        # The rest of a list is asked for without its resourceVersion, as client-go's pager does.
        asked = {**{name: value for name, value in parameters.items() if "ersion" not in name}, "continue": token}
        answer = client.get(PATH, params=asked if token else parameters, headers={"accept": accept})
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        token = pages[-1]["metadata"].get("continue", "")
    return pages


def keys(items: list[Manifest]) -> list[tuple[str, str]]:
    return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]


@pytest.mark.parametrize("limit", [1, 2, 7, 500])
def test_the_pages_are_the_list(client: httpx.Client, limit: int) -> None:
    """Each page but the last is full, however many hidden objects lie between; all are of one resourceVersion."""
    for selector in ({}, {"labelSelector": "odd=1"}, {"fieldSelector": "metadata.name!=cm-003"}):
        whole = client.get(PATH, params=selector).json()["items"]
        pages = walk(client, {**selector, "limit": str(limit)})
        assert [item for page in pages for item in page["items"]] == whole
        assert [len(page["items"]) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert not whole or pages[-1]["items"], "a last page without objects tells that hidden ones follow"
        assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1


def test_a_list_counts_no_hidden_objects(client: httpx.Client) -> None:
    for page in walk(client, {"limit": "2"}):
        assert page["metadata"].keys() <= {"resourceVersion", "continue"}


@pytest.mark.parametrize("accept", [TABLE, METADATA_LIST], ids=["table", "metadata"])
def test_pages_have_every_representation(client: httpx.Client, accept: str) -> None:
    whole = [item["metadata"] for item in client.get(PATH).json()["items"]]
    pages = walk(client, {"limit": "3"}, accept)
    items = [item for page in pages for item in page.get("items") or [row["object"] for row in page.get("rows") or []]]
    assert [item["metadata"] for item in items] == whole
    if accept == TABLE:
        assert all(page["columnDefinitions"] for page in pages)


def test_pages_of_an_exact_resource_version_do_not_see_what_came_after(
    proxy: ProxyProcess, real_cluster: RealCluster
) -> None:
    with proxy.client(Identity(name="two")) as client:
        before = client.get(PATH).json()
        late = config_map("cm-000-late", "pages-a", data={})
        real_cluster.create(late)
        at = {"resourceVersion": before["metadata"]["resourceVersion"], "limit": "5"}
        for match in ({}, {"resourceVersionMatch": "Exact"}):
            pages = walk(client, {**at, **match})
            assert [item for page in pages for item in page["items"]] == before["items"]
        started = client.get(PATH, params={"limit": "1"}).json()
        real_cluster.delete(late)
        rest = client.get(PATH, params={"limit": "500", "continue": started["metadata"]["continue"]}).json()["items"]
        assert ("pages-a", "cm-000-late") in keys(started["items"] + rest)


def test_a_token_can_be_read_by_nobody(proxy: ProxyProcess) -> None:
    """Upstream's own names the last key that was scanned, which may be a hidden object's."""
    with proxy.client(Identity(name="few")) as client:
        token = client.get(PATH, params={"limit": "1"}).json()["metadata"]["continue"]
    opened = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for secret in (b"cm-0", b"pages", b"meta.k8s.io"):
        assert secret not in opened


def test_a_token_is_good_for_its_caller_and_request_only(proxy: ProxyProcess) -> None:
    with proxy.client(Identity(name="few")) as few, proxy.client(Identity(name="two")) as two:
        token = few.get(PATH, params={"limit": "1"}).json()["metadata"]["continue"]
        tampered = ("B" if token[0] == "A" else "A") + token[1:]
        attempts = [
            (two, PATH, {"continue": token}),
            (few, "/api/v1/namespaces/pages-a/configmaps", {"continue": token}),
            (few, PATH, {"continue": token, "labelSelector": "odd=1"}),
            (few, PATH, {"continue": token, "fieldSelector": "metadata.name!=x"}),
            (few, PATH, {"continue": tampered}),
            (few, PATH, {"continue": token[:-2]}),
            (few, PATH, {"continue": "x" * 6000}),
        ]
        for client, path, parameters in attempts:
            answer = client.get(path, params={"limit": "1", **parameters})
            assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest"), parameters
        refused = few.get(PATH, params={"continue": token, "resourceVersion": "5"})
        assert refused.json()["message"] == "specifying resource version is not allowed when using continue"
        assert few.get(PATH, params={"continue": token, "resourceVersion": "0", "limit": "1"}).status_code == 200


def test_a_change_of_policy_between_two_pages_expires_the_token(real_cluster: RealCluster, proxy: ProxyProcess) -> None:
    """The page would go on in another list than the one it began in."""
    other = {
        **POLICIES,
        "few.yaml": scoped_grant("few", rule("configmaps", labelSelector={"matchLabels": {"odd": "1"}})),
    }
    with proxy.client(Identity(name="few")) as few, proxy.client(Identity(name="two")) as two:
        token, unconcerned = (
            client.get(PATH, params={"limit": "1"}).json()["metadata"]["continue"] for client in (few, two)
        )
        proxy.write_policies(other)
        try:
            answer = few.get(PATH, params={"limit": "1", "continue": token})
            assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")
            assert "continue" not in answer.json()["metadata"]
            assert two.get(PATH, params={"limit": "1", "continue": unconcerned}).status_code == 200
        finally:
            proxy.write_policies(POLICIES)


def next_page(proxy: ProxyProcess, name: str, token: str = "") -> httpx.Response:
    """One object of the list of the caller `name`."""
    with proxy.client(Identity(name=name)) as client:
        return client.get(PATH, params={"limit": "1", **({"continue": token} if token else {})})


def test_a_token_of_another_scope_expires_also_where_that_saw_everything(proxy: ProxyProcess) -> None:
    """A caller who sees everything has upstream's tokens, which are no good for anybody else, and the other way round.

    410 has clients begin a new list; upstream's own 400 would have them give up.
    """
    ours, upstreams = (next_page(proxy, name).json()["metadata"]["continue"] for name in ("few", "root"))
    promoted = {**POLICIES, "few.yaml": [], "discovery.yaml": grant("few", *EVERYTHING)}
    proxy.write_policies(promoted)
    try:
        assert next_page(proxy, "few", upstreams).status_code == 200
        answers = [next_page(proxy, "few", ours)]
    finally:
        proxy.write_policies(POLICIES)
    answers.append(next_page(proxy, "few", upstreams))
    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")


def test_replicas_that_share_a_key_go_on_with_each_others_lists(
    real_cluster: RealCluster, proxy: ProxyProcess, tmp_path: Path
) -> None:
    """And without it a token of another replica, or of before a restart, has expired."""
    key = tmp_path / "continue.key"
    key.write_text("0123456789abcdef" * 4)
    flags = ["--continue-key-file", str(key)]
    with ProxyProcess(real_cluster, tmp_path / "one", POLICIES, flags=flags) as one:
        first = next_page(one, "two").json()
        token = first["metadata"]["continue"]
        with one.client(Identity(name="two")) as client:
            whole = keys(client.get(PATH).json()["items"])
    with ProxyProcess(real_cluster, tmp_path / "another", POLICIES, flags=flags) as another:
        second = next_page(another, "two", token)
        assert keys(first["items"] + second.json()["items"]) == whole[:2]
        assert next_page(another, "few", token).status_code == 400, "bound to its caller as ever"
    expired = next_page(proxy, "two", token)
    assert (expired.status_code, expired.json()["reason"]) == (410, "Expired")


def test_kubectl_walks_the_pages(proxy: ProxyProcess) -> None:
    shown = kubectl(proxy.kubeconfig(Identity(name="few")), "get", "configmaps", "-A", "-o", "name", "--chunk-size=1")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == ["configmap/cm-003", "configmap/cm-011", "configmap/cm-019"] * len(SPACES)


def test_a_compaction_between_two_pages_expires_the_token(
    real_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Upstream's 410 comes with a token of its own for an inconsistent rest, which must not reach the caller."""
    directory = tmp_path_factory.mktemp("compacting")
    flags = ("--etcd-compaction-interval=1s", "--feature-gates=ListFromCacheSnapshot=false")
    with RealCluster(directory, real_binaries, extra_flags=flags) as cluster:
        populate(cluster)
        with ProxyProcess(cluster, directory / "proxy", POLICIES) as proxy:
            for name in ("few", "two", "root"):
                with proxy.client(Identity(name=name)) as client:
                    token = client.get(PATH, params={"limit": "1"}).json()["metadata"]["continue"]

                    def expired(client: httpx.Client = client, token: str = token) -> httpx.Response | None:
                        cluster.apply(config_map("tick", "default", data={}))
                        answer = client.get(PATH, params={"limit": "1", "continue": token})
                        return answer if answer.status_code == 410 else None

                    answer = poll(expired, timeout_seconds=30, failure=lambda: "the token never expires")
                    status = answer.json()
                    assert (status["reason"], status["code"]) == ("Expired", 410)
                    assert status["message"].startswith("The provided continue parameter is too old")
                    if name != "root":
                        assert status["metadata"] == {}
                        assert json.dumps(status).count("meta.k8s.io") == 0

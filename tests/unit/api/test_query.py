"""Only parameters that a request of the kind understands are kept, and each once."""

import pytest

from proxy.api.query import Query, parse_boolean, parse_query
from proxy.api.request_target import parse_request
from proxy.api.status import BadRequest

EVERYTHING = "watch=1&limit=1&container=c&dryRun=All&force=1&resourceVersion=1&pretty=1&verbose=1&x=1&follow=1"


def kept(method: str, path: str, query: str = EVERYTHING) -> list[str]:
    return [name for name, _ in parse_request(method, f"{path}?{query}".encode()).query.pairs]


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("GET", "/api/v1/pods", ["watch", "limit", "resourceVersion", "pretty"]),
        ("HEAD", "/api/v1/pods", ["watch", "limit", "resourceVersion", "pretty"]),
        ("GET", "/api/v1/namespaces/a/pods/p", ["resourceVersion", "pretty"]),
        ("GET", "/api/v1/namespaces/a/pods/p/status", ["resourceVersion", "pretty"]),
        ("GET", "/api/v1/namespaces/a/pods/p/log", ["container", "pretty", "follow"]),
        ("POST", "/api/v1/namespaces/a/pods/p/exec", ["container"]),
        ("POST", "/api/v1/namespaces/a/pods", ["dryRun", "pretty"]),
        ("POST", "/api/v1/namespaces/a/pods/p/eviction", ["dryRun", "pretty"]),
        ("PATCH", "/api/v1/namespaces/a/pods/p", ["dryRun", "force", "pretty"]),
        ("DELETE", "/api/v1/namespaces/a/pods/p", ["dryRun", "resourceVersion", "pretty"]),
        ("DELETE", "/api/v1/namespaces/a/pods", ["watch", "limit", "dryRun", "resourceVersion", "pretty"]),
        ("OPTIONS", "/api/v1/pods", ["pretty"]),
        ("GET", "/healthz", ["pretty", "verbose"]),
    ],
)
def test_what_a_request_of_its_kind_does_not_understand_is_dropped(method: str, path: str, names: list[str]) -> None:
    assert kept(method, path) == names


def test_a_proxied_request_keeps_its_query_whole() -> None:
    assert kept("GET", "/api/v1/namespaces/a/services/s/proxy/x", "a=1&a=2&watch=no&watch") == [
        "a",
        "a",
        "watch",
        "watch",
    ]


def test_repeatable_parameters_may_be_repeated() -> None:
    query = parse_request("GET", b"/api/v1/namespaces/a/pods/p/exec?command=sh&command=-c&stdin=1").query
    assert query.all("command") == ("sh", "-c")
    assert kept("GET", "/readyz", "exclude=etcd&exclude=log") == ["exclude", "exclude"]


@pytest.mark.parametrize(
    "path", ["/api/v1/namespaces/a/pods/p/log?container=a&container=b", "/healthz?timeout=1&timeout=2"]
)
def test_a_parameter_with_one_value_is_not_given_twice(path: str) -> None:
    with pytest.raises(BadRequest, match="is given twice"):
        parse_request("GET", path.encode())


def test_the_first_value_counts_and_empty_is_a_value() -> None:
    query = Query((("a", ""), ("a", "2"), ("b", "3")))
    assert (query.first("a"), query.first("b"), query.first("c")) == ("", "3", None)
    assert query.all("a") == ("", "2")


def test_keys_are_case_sensitive_and_decoded() -> None:
    assert parse_query(b"A+b=c%3Dd&a%20b&=x") == Query((("A b", "c=d"), ("a b", ""), ("", "x")))


@pytest.mark.parametrize(
    ("value", "true"),
    [
        *[(value, True) for value in ("", "1", "true", "no", "off", "f", "00")],
        *[(value, False) for value in ("0", "false", "FALSE", "fAlse", "falſe")],
    ],
)
def test_all_spellings_but_zero_and_false_are_true(value: str, true: bool) -> None:
    assert parse_boolean(value) is true

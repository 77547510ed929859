"""Accept headers lead where upstream's negotiation leads."""

import pytest

from proxy.api.media_types import (
    FILTERED_MEDIA_TYPES,
    PLAIN_JSON,
    Form,
    IncludeObject,
    MediaType,
    Representation,
    negotiate,
    wants_pretty,
)
from proxy.api.query import Query, parse_query
from proxy.api.status import BadRequest, NotAcceptable

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
KUBECTL_GET = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
EVERY_TYPE = tuple(MediaType)
PROTOBUF = "application/vnd.kubernetes.protobuf"


def filtered(accept: str, verb: str = "list", include_object: str = "") -> Representation:
    return negotiate(accept, verb=verb, include_object=include_object, offered=FILTERED_MEDIA_TYPES)


def media_type(accept: str) -> MediaType:
    return negotiate(accept, verb="list", include_object="", offered=EVERY_TYPE).media_type


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "*",
        "application/*",
        "application/json",
        "application/json;stream=watch",
        "application/json;unknown=1",
        "application/json;sv=v1",
        "application/json;q=0",
        f"{PROTOBUF},application/json",
        f"{PROTOBUF}, */*",
        f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        "application/yaml, application/json",
        "text/html, */*;q=0.1",
        f"{TABLE}x,application/json",
        "application/json;as=Table;g=other;v=v1,application/json",
        "application/json;as=Other;g=meta.k8s.io;v=v1,application/json",
        "application/json;g=meta.k8s.io;v=v1,application/json",
    ],
)
def test_a_filtered_read_is_json_where_any_clause_allows_it(accept: str) -> None:
    assert filtered(accept) == PLAIN_JSON


@pytest.mark.parametrize(
    "accept",
    [
        PROTOBUF,
        "application/yaml",
        "text/html",
        "json",
        "application/",
        "application/json/x",
        "application/json;stream=other",
        "application/json;sv=v2",
        "application/json;as=Other;g=meta.k8s.io;v=v1",
        "application/json;as=Table;g=meta.k8s.io;v=v2",
        "APPLICATION/JSON",
        f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1",
        " ",
        ",",
    ],
)
def test_a_filtered_read_is_not_acceptable_where_no_clause_allows_json(accept: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        filtered(accept)
    assert caught.value.message == "only the following media types are accepted: application/json"


def test_a_watch_is_told_the_stream_types() -> None:
    with pytest.raises(NotAcceptable) as caught:
        filtered(PROTOBUF, verb="watch")
    assert caught.value.message == "only the following media types are accepted: application/json;stream=watch"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", MediaType.JSON),
        ("*/*", MediaType.JSON),
        (f"{PROTOBUF},application/json", MediaType.PROTOBUF),
        ("application/json;q=0.5,application/yaml;q=0.9", MediaType.YAML),
        ("application/json;q= 1,application/yaml;q=0.1", MediaType.YAML),
        ("application/json;q=x,application/yaml;q=0.1", MediaType.YAML),
        ("*/*, application/yaml;q=0.5", MediaType.YAML),
        ("application/*, application/yaml;q=0.5", MediaType.YAML),
        ("application/yaml;stream=watch, application/json", MediaType.JSON),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/yaml;as=Table;g=meta.k8s.io;v=v1", MediaType.YAML),
        (",".join(["text/x"] * 20 + ["application/json;q=0.1", "application/yaml;q=0.2"]), MediaType.YAML),
    ],
)
def test_quality_counts_and_a_specific_type_precedes_a_wildcard(accept: str, expected: MediaType) -> None:
    """That a wildcard of full quality comes after a specific type of half is upstream's own reading."""
    assert media_type(accept) is expected


def test_a_wildcard_of_the_subtype_precedes_one_of_the_type() -> None:
    assert filtered("*/*,application/*;q=0.1;as=Table;g=meta.k8s.io;v=v1").form is Form.TABLE


def test_past_twelve_clauses_quality_comes_before_wildcards() -> None:
    """Upstream's sort is a different one there, and its order of such clauses a matter of chance."""
    wildcard_first = "*/*,application/yaml;q=0.5"
    assert media_type(wildcard_first) is MediaType.YAML
    assert media_type("text/x," * 12 + wildcard_first) is MediaType.JSON


@pytest.mark.parametrize(
    ("include_object", "expected"),
    [
        ("", IncludeObject.METADATA),
        ("Metadata", IncludeObject.METADATA),
        ("Object", IncludeObject.OBJECT),
        ("None", IncludeObject.NONE),
    ],
)
def test_kubectl_gets_a_table(include_object: str, expected: IncludeObject) -> None:
    assert filtered(KUBECTL_GET, include_object=include_object) == Representation(
        form=Form.TABLE, media_type=MediaType.JSON, meta_version="v1", include_object=expected
    )


def test_a_table_of_the_older_version_is_given_where_it_is_asked_for() -> None:
    assert filtered("application/json;as=Table;v=v1beta1;g=meta.k8s.io").meta_version == "v1beta1"


def test_an_unknown_include_object_is_refused_for_a_table_only() -> None:
    with pytest.raises(BadRequest) as caught:
        filtered(TABLE, include_object="foo<")
    assert caught.value.message == (
        r'Unable to convert to Table as requested: includeObject: Invalid value: "foo\u003c": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )
    assert filtered("application/json", include_object="foo<") == PLAIN_JSON


@pytest.mark.parametrize(
    ("accept", "verb"), [(METADATA, "get"), (METADATA, "watch"), (METADATA_LIST, "list"), (f" {METADATA} ", "get")]
)
def test_metadata_alone_is_given_where_it_fits(accept: str, verb: str) -> None:
    assert filtered(accept, verb) == Representation(
        form=Form.PARTIAL_METADATA, media_type=MediaType.JSON, meta_version="v1"
    )


@pytest.mark.parametrize(
    ("accept", "verb", "message"),
    [
        (METADATA, "list", "you requested PartialObjectMetadata, but the requested object is a list"),
        (METADATA_LIST, "get", "you requested PartialObjectMetadataList, but the requested object is not a list"),
        (
            f"{METADATA},application/json",
            "list",
            "you requested PartialObjectMetadata, but the requested object is a list",
        ),
    ],
)
def test_metadata_of_the_wrong_number_is_not_acceptable(accept: str, verb: str, message: str) -> None:
    """Upstream notices after it has negotiated: the next clause is not tried."""
    with pytest.raises(NotAcceptable) as caught:
        filtered(accept, verb)
    assert caught.value.message == message


def test_what_cannot_be_converted_is_shown_as_itself_or_not_at_all() -> None:
    shown = negotiate(f"{TABLE}, */*", verb="create", include_object="", offered=[MediaType.JSON], convertible=False)
    assert shown == PLAIN_JSON
    with pytest.raises(NotAcceptable):
        negotiate(TABLE, verb="create", include_object="", offered=[MediaType.JSON], convertible=False)


def test_a_header_of_thousands_of_clauses_is_negotiated() -> None:
    assert filtered("*/*," * 8000 + "application/json") == PLAIN_JSON


@pytest.mark.parametrize(
    ("query", "user_agent", "pretty"),
    [
        ("", "kubectl/v1.36.3", False),
        ("", "curl/8", True),
        ("", "Wget/1", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("", "Mozilla/4.0", False),
        ("", "my curl", False),
        ("pretty=0", "curl/8", False),
        ("pretty=false", "curl/8", False),
        ("pretty=yes", "curl/8", False),
        ("pretty=", "curl/8", True),
        ("pretty=1", "kubectl", True),
        ("pretty=True", "kubectl", True),
        ("pretty=tRUE", "kubectl", False),
    ],
)
def test_a_person_gets_indented_json(query: str, user_agent: str, pretty: bool) -> None:
    assert wants_pretty(parse_query(query.encode()), user_agent) is pretty
    assert wants_pretty(Query(()), "") is False

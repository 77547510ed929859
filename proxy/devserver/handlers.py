"""Requests and their answers, without I/O: a request is answered at once, or by a Watcher that its caller streams.

Source: k8s.io/apiserver/pkg/endpoints/handlers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from proxy.api.status import BadRequest, MethodNotAllowed, NotFound, StatusDetails, StatusError
from proxy.devserver.discovery import HEALTH_PATHS, document
from proxy.devserver.errors import UnsupportedMediaType
from proxy.devserver.kinds import Body, Kind
from proxy.devserver.media import Form, negotiate
from proxy.devserver.options import is_true, parse_query, parse_read_options, parse_selection
from proxy.devserver.patches import JSON_PATCH, MERGE_PATCHES, apply_json_patch, apply_merge_patch
from proxy.devserver.reads import read_list, read_object
from proxy.devserver.representation import ListMetadata, Representation
from proxy.devserver.routes import Target, parse_target
from proxy.devserver.storage import Storage, Version
from proxy.devserver.watches import Watcher
from proxy.devserver.writes import Writer

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
_GET_OPTIONS = ("resourceVersion", "includeObject")  # those of a list that a get has too


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A whole request. `path` is percent-decoded, header names are lower case."""

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole response. `retry_after_seconds` 0 is no such header."""

    status: int
    content_type: str
    body: bytes
    retry_after_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Api:
    """The API over one storage."""

    storage: Storage
    writer: Writer
    clock: Callable[[], datetime]

    @classmethod
    def over(cls, storage: Storage, clock: Callable[[], datetime], random: Random) -> Api:
        """An API whose names and uids come from `random`."""
        return cls(storage, Writer(storage, clock, random), clock)

    def answer(self, request: Request) -> Answer | Watcher:
        """Serves one request. Errors of the API are answers; any other exception is a bug."""
        try:
            return self._route(request)
        except StatusError as error:
            return error_answer(error)

    def _route(self, request: Request) -> Answer | Watcher:
        if request.path in HEALTH_PATHS:
            return Answer(status=200, content_type=TEXT, body=b"ok")
        if found := document(request.path, request.headers.get("accept", "")):
            content_type, body = found
            return Answer(status=200, content_type=content_type, body=_json(body))
        target = parse_target(request.path)
        if target is None:
            raise NotFound("the server could not find the requested resource", details=StatusDetails())
        if target.subresource == "log":
            return self._log(target, request)
        if not target.name:
            return self._collection(target, request)
        return self._object(target, request)

    def _collection(self, target: Target, request: Request) -> Answer | Watcher:
        kind, query = target.kind, parse_query(request.query)
        match request.method:
            case "GET":
                return self._list_or_watch(target, request)
            case "POST" if target.namespace or not kind.namespaced:
                version = self.writer.create(
                    kind, target.namespace, _read_body(request), with_status=False, dry_run=_is_dry_run(query)
                )
                return self._written(version, kind, request, status=201)
            case "DELETE" if target.namespace or not kind.namespaced:
                return self._delete_collection(target, query)
        raise MethodNotAllowed

    def _object(self, target: Target, request: Request) -> Answer:
        kind, query = target.kind, parse_query(request.query)
        where = (kind, target.namespace, target.name)
        dry_run = _is_dry_run(query)
        match request.method:
            case "GET":
                form = _form(request, is_list=False)
                options = parse_read_options({key: value for key, value in query.items() if key in _GET_OPTIONS})
                version = read_object(self.storage, *where, options.rv)
                shown = Representation(kind=kind, form=form, include_object=options.include_object)
                return _json_answer(200, shown.encode_object(version, self.clock()))
            case "PUT":
                body = _read_body(request)
                version = self.writer.replace(*where, body, subresource=target.subresource, dry_run=dry_run)
                return self._written(version, kind, request, status=200)
            case "PATCH":
                version = self.writer.patch(
                    *where, _read_patch(request), subresource=target.subresource, dry_run=dry_run
                )
                return self._written(version, kind, request, status=200)
            case "DELETE" if not target.subresource:
                version = self.writer.delete(*where, preconditions=_read_preconditions(request), dry_run=dry_run)
                return Answer(status=200, content_type=JSON, body=_json(_deleted(kind, version)))
        raise MethodNotAllowed

    def _list_or_watch(self, target: Target, request: Request) -> Answer | Watcher:
        query = parse_query(request.query)
        form = _form(request, is_list=not is_true(query, "watch"))
        options = parse_read_options(query)
        selection = parse_selection(query, target.kind, target.namespace)
        representation = Representation(kind=target.kind, form=form, include_object=options.include_object)
        if options.watch:
            return Watcher(
                storage=self.storage,
                selection=selection,
                representation=representation,
                options=options,
                clock=self.clock,
            )
        versions, metadata = read_list(self.storage, selection, options)
        return _json_answer(200, representation.encode_list(versions, metadata, self.clock()))

    def _delete_collection(self, target: Target, query: dict[str, str]) -> Answer:
        selection = parse_selection(query, target.kind, target.namespace)
        deleted = [
            self.writer.delete(target.kind, *version.key, preconditions={}, dry_run=_is_dry_run(query))
            for version in self.storage.current(target.kind.gvr)
            if selection.matches(version.body)
        ]
        representation = Representation(kind=target.kind, form=Form.OBJECT, include_object="")
        metadata = ListMetadata(self.storage.rv, "", None)
        return _json_answer(200, representation.encode_list(deleted, metadata, self.clock()))

    def _log(self, target: Target, request: Request) -> Answer:
        if request.method != "GET":
            raise MethodNotAllowed
        version = read_object(self.storage, target.kind, target.namespace, target.name, None)
        line = f"{version.body['metadata']['creationTimestamp']} {target.namespace}/{target.name} started\n"
        return Answer(status=200, content_type=TEXT, body=line.encode())

    def _written(self, version: Version, kind: Kind, request: Request, *, status: int) -> Answer:
        shown = Representation(kind=kind, form=_form(request, is_list=False), include_object="Metadata")
        return _json_answer(status, shown.encode_object(version, self.clock()))


def error_answer(error: StatusError) -> Answer:
    """The answer that an error is."""
    return Answer(
        status=error.code, content_type=JSON, body=error.body(), retry_after_seconds=error.retry_after_seconds
    )


def _form(request: Request, *, is_list: bool) -> Form:
    return negotiate(request.headers.get("accept", ""), is_list=is_list)


def _is_dry_run(query: Mapping[str, str]) -> bool:
    return query.get("dryRun") == "All"


def _read_body(request: Request) -> Body:
    if _content_type(request) not in (JSON, ""):
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {JSON}"
        )
    return _decode_object(request.body)


def _read_patch(request: Request) -> Callable[[Body], Any]:
    content_type = _content_type(request)
    if content_type == JSON_PATCH:
        operations = _decode(request.body)
        return lambda body: apply_json_patch(body, operations)
    if content_type in MERGE_PATCHES:
        merge = _decode_object(request.body)
        return lambda body: apply_merge_patch(body, merge)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join([JSON_PATCH, *sorted(MERGE_PATCHES)])
    )


def _read_preconditions(request: Request) -> Mapping[str, str]:
    if not request.body:
        return {}
    preconditions: Mapping[str, str] = _read_body(request).get("preconditions") or {}
    return preconditions


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the object provided is unrecognized: {error}") from error


def _decode_object(body: bytes) -> Body:
    decoded = _decode(body)
    if not isinstance(decoded, dict):
        raise BadRequest("the object provided is unrecognized: not a JSON object")
    return decoded


def _deleted(kind: Kind, version: Version) -> Body:
    uid = version.body["metadata"]["uid"]
    details = StatusDetails(name=version.key[1], group=kind.gvr.group, kind=kind.gvr.resource, uid=uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _json(body: object) -> bytes:
    return msgspec.json.encode(body) + b"\n"


def _json_answer(status: int, raw: bytes) -> Answer:
    return Answer(status=status, content_type=JSON, body=raw + b"\n")

"""The deliberate differences of a single request, each by the first cell of its row in docs/differences.md.

A predicate looks at a request and at the two answers that differ, the direct one first. It is as narrow as its row, and
knows nothing of the proxy's own code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.support.oracle.answers import Answer
from tests.support.oracle.asked import Asked
from tests.support.oracle.sides import DROPPED

Predicate = Callable[[Asked, Answer, Answer], bool]

IN_PART = "a list or watch that is allowed in part"
NOT_READABLE = "list or watch of a kind that cannot be listed or watched"
MEDIA_TYPES = "media types"
CONTINUE = "`continue`"
WHOLE_READS = (IN_PART, NOT_READABLE, MEDIA_TYPES, CONTINUE)
"""Found by asking more than one question, see judge."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REPEATABLE = ("command", "dryRun", "exclude", "ports")
_REFUSED_IN_PATH = re.compile(rb"[\0-\x1f\x7f]|%(00|25|2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_A_TARGET = re.compile(r"[^!-~]|[\\#]")


@dataclass(frozen=True, slots=True)
class Difference:
    """`name` is the first cell of the row."""

    name: str
    explains: Predicate


def explained(asked: Asked, direct: Answer, through: Answer) -> str | None:
    """The name of the difference that explains two answers, None when nothing does."""
    return next((each.name for each in DIFFERENCES if each.explains(asked, direct, through)), None)


def _odd_path(asked: Asked, direct: Answer, through: Answer) -> bool:
    path = asked.path.encode()
    segments = unquote_to_bytes(path.removesuffix(b"/")).split(b"/")[1:]
    odd = any(segment in (b"", b".", b"..") for segment in segments) or _REFUSED_IN_PATH.search(path)
    return through.status == 400 and bool(odd)


def _watch_path(asked: Asked, direct: Answer, through: Answer) -> bool:
    return through.status == 400 and re.match(r"/(api|apis/[^/]+)/[^/]+/watch(/|$)", asked.path) is not None


def _odd_query(asked: Asked, direct: Answer, through: Answer) -> bool:
    names = [name for name, _ in asked.query if name not in _REPEATABLE]
    return through.status == 400 and (";" in asked.raw_query or len(names) != len(set(names)))


def _odd_target(asked: Asked, direct: Answer, through: Answer) -> bool:
    target = asked.target
    is_text = True
    try:
        unquote_to_bytes(target).decode()
    except UnicodeDecodeError:
        is_text = False
    odd = not target.startswith("/") or _NOT_A_TARGET.search(target) or _BAD_ESCAPE.search(target)
    return through.status == 400 and (bool(odd) or not is_text)


def _odd_method(asked: Asked, direct: Answer, through: Answer) -> bool:
    return through.status == 405 and asked.method not in _METHODS


def _no_credentials(asked: Asked, direct: Answer, through: Answer) -> bool:
    return through.status == 401 and asked.caller is None


def _body_on_get(asked: Asked, direct: Answer, through: Answer) -> bool:
    return through.status == 400 and asked.method in ("GET", "HEAD") and bool(asked.body)


def _odd_impersonation(asked: Asked, direct: Answer, through: Answer) -> bool:
    users = [value for name, value in asked.headers if name.lower() == "impersonate-user"]
    return (
        through.status == 400
        and any(name.lower().startswith("impersonate-") for name, _ in asked.headers)
        and (len(users) != 1 or not users[0])
    )


def _timeout(asked: Asked, direct: Answer, through: Answer) -> bool:
    told = "invalid timeout" in str(direct.body) or asked.method == "HEAD"
    return direct.status == 400 and bool(asked.first("timeout")) and told


def _not_acceptable(asked: Asked, direct: Answer, through: Answer) -> bool:
    if (direct.status, through.status) == (406, 406):
        return asked.method == "HEAD" or direct.reason == through.reason
    accept = asked.header("accept")
    late = "as=PartialObjectMetadata" in accept or ("yaml" in accept and asked.first("watch") is not None)
    if direct.status == 406:  # custom resources have no protobuf
        return through.status >= 400 and "protobuf" in accept and "/samples.example/" in asked.path
    return through.status == 406 and late  # upstream notices after it has looked at the options


def _include_object(asked: Asked, direct: Answer, through: Answer) -> bool:
    return (
        through.status == 400 <= direct.status
        and "includeObject" in through.message
        and (asked.first("includeObject") == "Bad")
    )


def _constrained_impersonation(asked: Asked, direct: Answer, through: Answer) -> bool:
    return direct.status == through.status == 403 and re.search("impersonate(-on)?:", str(direct.body)) is not None


def _dropped(asked: Asked, direct: Answer, through: Answer) -> bool:
    return direct.status == DROPPED and through.status == 503


def _own_error(asked: Asked, direct: Answer, through: Answer) -> bool:
    """The same Status, which upstream may write as YAML or protobuf and with a Warning, or indent."""
    if direct.status != through.status or direct.status < 400 or through.media_type != "application/json":
        return False
    if asked.method == "HEAD" or direct.media_type.endswith("protobuf"):
        return True
    return bool(direct.body == through.body)


def _json_preferred(asked: Asked, direct: Answer, through: Answer) -> bool:
    if direct.status == 406 and asked.first("watch") is not None and "yaml" in asked.header("accept"):
        return through.status == 200  # upstream takes the clause of YAML, and has no YAML for a watch
    same = direct.status == through.status < 300
    return same and through.media_type == "application/json" and direct.media_type != "application/json"


def _partial_review(asked: Asked, direct: Answer, through: Answer) -> bool:
    is_self = _is_review(asked) and "/selfsubjectaccessreviews" in asked.path
    return is_self and through.status == 201 and "only a part" in str(through.body)


def _review_form(asked: Asked, direct: Answer, through: Answer) -> bool:
    wanted = asked.header("accept")
    forms = "yaml" in wanted or "protobuf" in wanted
    return _is_review(asked) and through.status == 406 and forms


def _review_options(asked: Asked, direct: Answer, through: Answer) -> bool:
    """The answer is the same but for what handles writes of objects that are stored."""
    if not _is_review(asked) or through.status not in (201, 400):
        return False
    if direct.status == 406:
        return "as=" in asked.header("accept")
    if direct.status == through.status == 201 and isinstance(direct.body, dict):
        if direct.body["kind"] == "PartialObjectMetadata":
            return "as=" in asked.header("accept")
        same = _reviewed(direct.body) == _reviewed(through.body)
        return same and _urls(through.body) <= _urls(direct.body)
    options = ("fieldValidation", "fieldManager", "dryRun")
    return direct.status in (400, 422) and any(asked.first(name) is not None for name in options)


def _is_review(asked: Asked) -> bool:
    return asked.method == "POST" and asked.path.rstrip("/").endswith("reviews")


def _reviewed(body: Any) -> Any:
    """Which of several bindings is the reason is left to chance, and so is the order of rules."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    left_out = ("reason", "evaluationError", "nonResourceRules")
    status = {name: value for name, value in body.get("status", {}).items() if name not in left_out}
    if "resourceRules" in status:
        status["resourceRules"] = _set_of(status["resourceRules"])
    return {**body, "metadata": metadata, "status": status}


def _urls(body: Any) -> set[str]:
    """Upstream lists also what a RoleBinding names, which grants no URL."""
    return _set_of(body.get("status", {}).get("nonResourceRules") or ())


def _set_of(rules: Sequence[Any]) -> set[str]:
    return {json.dumps(rule) for rule in rules}


def _fieldless(asked: Asked, direct: Answer, through: Answer) -> bool:
    selectors = [value for name, value in asked.query if name == "fieldSelector"]
    terms = [term for value in selectors for term in value.split(",")]
    return through.status == 400 and any(term.startswith("=") for term in terms)


def _any_application(asked: Asked, direct: Answer, through: Answer) -> bool:
    return direct.status == 406 and asked.header("accept") == "application/*"


def _events_limited(asked: Asked, direct: Answer, through: Answer) -> bool:
    limited = asked.first("resourceVersion") == "0" and asked.first("limit") is not None
    return direct.status == through.status == 200 and limited and asked.path.endswith("/events")


def _watch_version(asked: Asked, direct: Answer, through: Answer) -> bool:
    return direct.status == 500 and through.status == 400 and asked.first("watch") is not None


def _head_of_watch(asked: Asked, direct: Answer, through: Answer) -> bool:
    return asked.method == "HEAD" and through.status == 405 and "/samples.example/" in asked.path and _is_watch(asked)


def _negative_timeout(asked: Asked, direct: Answer, through: Answer) -> bool:
    return direct.status == through.status == 200 and asked.first("timeoutSeconds") == "-1" and _is_watch(asked)


def _resumed(asked: Asked, direct: Answer, through: Answer) -> bool:
    expired = isinstance(through.body, list) and through.body[-1].get("object", {}).get("reason") == "Expired"
    return direct.status == through.status == 200 and expired and _is_watch(asked)


def _is_watch(asked: Asked) -> bool:
    return asked.first("watch") is not None and bool(asked.first("resourceVersion") or asked.first("timeoutSeconds"))


DIFFERENCES: Sequence[Difference] = (
    Difference("path with an empty, `.` or `..` segment, `%2F`, `%25`, or a control character", _odd_path),
    Difference("`/watch/` paths", _watch_path),
    Difference("`;` in a query; a parameter given twice", _odd_query),
    Difference("target that is no path, not UTF-8, or not percent-encoded as it should be", _odd_target),
    Difference("method that Kubernetes has no verb for", _odd_method),
    Difference("no credentials", _no_credentials),
    Difference("a body on GET or HEAD", _body_on_get),
    Difference("an empty, repeated or oddly spelled `Impersonate-*` header; one without a user", _odd_impersonation),
    Difference("`timeout` that is not a duration", _timeout),
    Difference("406", _not_acceptable),
    Difference("errors of negotiation and of `includeObject`", _include_object),
    Difference("impersonation", _constrained_impersonation),
    Difference("API server away", _dropped),
    Difference("errors that are found here", _own_error),
    Difference("`Accept` that names protobuf or YAML and also JSON", _json_preferred),
    Difference("SelfSubjectAccessReview of what would be answered in part", _partial_review),
    Difference("review bodies in YAML; answers in protobuf", _review_form),
    Difference("`managedFields` of a review, its query and its forms", _review_options),
    Difference("field selector without a field (`=`, `=x`)", _fieldless),
    Difference("`Accept: application/*`", _any_application),
    Difference("`resourceVersion=0` with `limit`, on events", _events_limited),
    Difference("a resourceVersion that is no number, on a watch", _watch_version),
    Difference("HEAD of a watch of custom resources", _head_of_watch),
    Difference("negative `timeoutSeconds` of a watch", _negative_timeout),
    Difference("resuming a watch under another scope than it had", _resumed),
)

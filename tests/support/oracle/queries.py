"""Random queries: options that fit the request, options that do not, and nonsense."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from urllib.parse import quote

FUTURE = "999999999"

_LABELS = (
    "app=web",
    "app",
    "!app",
    "app in (web,lone)",
    "tier notin (one)",
    "app=web,tier=one",
    "app==lone",
    "app!=web",
)
_BAD_LABELS = (
    "app=",
    "app=web,",
    ",",
    "=",
    "app in web",
    "app in ()",
    "a b",
    "-x",
    "app>1",
    "app>x",
    "x/y/z=1",
    "app=\u00fc",
)
_FIELDS = ("metadata.name=web", "metadata.name=settings", "metadata.name!=web", "metadata.namespace=oracle-a",
           "spec.nodeName=node1", "status.phase=Pending", "spec.color=red", "type=Opaque", "spec.unschedulable=true",
           "metadata.name=oracle-a", "metadata.name=web,metadata.namespace=oracle-b", "involvedObject.kind=Pod",
           "spec.color=red,metadata.name=web")  # fmt: skip
_BAD_FIELDS = ("metadata.name", "=", "metadata.name=a=b", "nothing=1", ",", "metadata.name=..", "metadata.name=a/b",
               "metadata.name==", "spec.nodeName>1", "metadata.labels.app=web", r"metadata.name=a\b", "=x")  # fmt: skip
_OLD_TOKEN = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9"  # of an inconsistent rest, from `a` on
_BOOLEANS = ("1", "true", "TRUE", "0", "false", "False", "", "no", "yes", "garbage", "t")

_VALUES: Mapping[str, Sequence[str]] = {
    "labelSelector": (*_LABELS, *_LABELS, *_BAD_LABELS, ""),
    "fieldSelector": (*_FIELDS, *_FIELDS, *_BAD_FIELDS, ""),
    "limit": ("1", "2", "500", "0", "-1", "x", "", "9223372036854775808", "1.5", " 1", "+1"),
    "resourceVersion": ("0", "RV", "RV", "RV", "x", "-1", "", "18446744073709551616", FUTURE, "1", "00"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "Other", "exact", ""),
    "continue": ("garbage", "aGFsbG8", "", "TOKEN", "TOKEN", _OLD_TOKEN),
    "timeoutSeconds": ("1", "1", "x", "", "1.5", "-1", "99999999999999999999"),
    "sendInitialEvents": _BOOLEANS,
    "allowWatchBookmarks": _BOOLEANS,
    "pretty": ("1", "true", "0", "false", "x", ""),
    "timeout": ("10s", "1m", "x", "-1s", "0", "", "10", "100h"),
    "includeObject": ("None", "Metadata", "Object", "Bad", ""),
    "fieldManager": ("oracle", "", "x" * 200, "a\u0007b", "kubectl edit"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "strict", "", "Bad"),
    "gracePeriodSeconds": ("0", "1", "x", "-1", ""),
    "propagationPolicy": ("Background", "Foreground", "Orphan", "Bad", ""),
    "orphanDependents": ("true", "false", "x"),
    "force": ("true", "false", "x", ""),
    "follow": ("false",),
    "container": ("main", "none", ""),
    "tailLines": ("1", "x", "-1"),
    "limitBytes": ("1", "0", "x"),
    "previous": ("true", "x"),
    "command": ("ls",),
    "verbose": ("", "1", "0"),
    "exclude": ("etcd", "nothing"),
    "unknown": ("1", "", "a&b"),
    "Watch": ("1",),
    "watch ": ("1",),
    "LIMIT": ("1",),
}  # fmt: skip
_READ = ("labelSelector", "fieldSelector", "limit", "resourceVersion", "resourceVersionMatch", "continue", "pretty",
         "includeObject", "allowWatchBookmarks", "sendInitialEvents", "timeoutSeconds", "timeout")  # fmt: skip
_WRITE = ("fieldManager", "fieldValidation", "pretty", "force", "timeout", "gracePeriodSeconds", "propagationPolicy",
          "orphanDependents", "labelSelector", "fieldSelector", "limit", "resourceVersion")  # fmt: skip
_RAW = ("a;b=1", "limit=1;watch=1", "%zz=1", "limit=%", "%FF=1", "=", "&&", "limit", "pretty", "x=%00", "x=a%0ab", "?")


class RandomQueries:
    """A stream of query strings; `rv` and `token` are a resourceVersion and a continue token that may be used."""

    def __init__(self, chance: random.Random, *, rv: str, token: str) -> None:
        self._chance = chance
        self._placeholders = {"RV": rv, "TOKEN": token}

    def read(self) -> str:
        """For a GET: a list, a get or a watch, which lasts a second if it begins at all."""
        pairs = self._pairs(_READ, most=4)
        watch = None
        if self._one_in(12):
            watch = self._chance.choice(("1", "true", "true", "TRUE", "", "garbage", "yes", "0", "false"))
            pairs.insert(self._chance.randint(0, len(pairs)), f"watch={watch}")
        if not any(pair.startswith("timeoutSeconds=") for pair in pairs):
            pairs.append("timeoutSeconds=1")
        return self._spoiled(pairs)

    def write(self, *, dry_run: str) -> str:
        """For everything else; `dry_run` is there in any case, so that nothing is changed."""
        pairs = [*self._pairs(_WRITE, most=3), f"dryRun={dry_run}", "timeoutSeconds=1"]
        return self._spoiled(pairs)

    def other(self) -> str:
        """For a URL that is no resource."""
        return self._spoiled(self._pairs(("verbose", "exclude", "pretty", "timeout", "unknown"), most=2))

    def _pairs(self, usual: Sequence[str], *, most: int) -> list[str]:
        number = self._chance.choices(range(most + 1), [4, 4, 3, 2, 1][: most + 1])[0]
        names = self._chance.sample(usual, number)
        if self._one_in(12):
            names.append(self._chance.choice(list(_VALUES)))
        return [f"{quote(name)}={self._value(name)}" for name in dict.fromkeys(names)]

    def _value(self, name: str) -> str:
        chosen = self._chance.choice(_VALUES[name])
        if chosen == FUTURE and not self._one_in(5):
            chosen = "0"  # upstream waits three seconds for the future
        return quote(self._placeholders.get(chosen, chosen), safe="")

    def _spoiled(self, pairs: list[str]) -> str:
        if pairs and self._one_in(25):
            pairs.append(self._chance.choice(pairs).partition("=")[0] + "=1" if self._one_in(2) else pairs[0])
        if self._one_in(25):
            pairs.insert(0, self._chance.choice(_RAW))
        return "&".join(pairs)

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

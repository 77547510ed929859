"""The random requests of the oracle, from one seed. No request changes anything: what might is a dry run."""

from __future__ import annotations

import random

from tests.support.identities import Identity
from tests.support.oracle.asked import WRITES, Asked, Header
from tests.support.oracle.callers import IMPERSONATOR, NOBODY, PARTIAL, READER, ROOT, STRANGER, TOKENS, USERS
from tests.support.oracle.contents import Resource
from tests.support.oracle.forms import RandomForms
from tests.support.oracle.paths import RandomPaths
from tests.support.oracle.queries import RandomQueries

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY")
_WEIGHTS = (58, 5, 9, 8, 9, 7, 2, 1, 1, 1)


class Requests:
    """A stream of requests; `rv` and `token` are a resourceVersion and a continue token of the cluster."""

    def __init__(self, seed: int, *, rv: str, token: str) -> None:
        self._chance = random.Random(seed)
        self._paths = RandomPaths(self._chance)
        self._queries = RandomQueries(self._chance, rv=rv, token=token)
        self._forms = RandomForms(self._chance)

    def __next__(self) -> Asked:
        path, resource = self._paths.path()
        method = self._chance.choices(_METHODS, _WEIGHTS)[0]
        if "review" in path and self._chance.random() < 0.8:
            method = "POST"
        caller = self._caller()
        headers: list[Header] = self._forms.headers(impersonates=caller in (IMPERSONATOR, ROOT))
        if caller is not None and caller.token is None and self._chance.random() < 0.02:
            headers.append(("Authorization", "Bearer garbage"))
        body = b""
        if method in WRITES:
            described, body = self._forms.write(method, path, resource)
            headers += described
        elif method == "GET" and self._chance.random() < 0.005:
            body = b"{}"
        query = self._query(method, resource)
        return Asked(
            caller=caller,
            method=method,
            target=f"{path}?{query}" if query else path,
            headers=tuple(headers),
            body=body,
            chunked=method in WRITES and self._chance.random() < 0.05,
        )

    def _query(self, method: str, resource: Resource | None) -> str:
        if method not in ("GET", "HEAD"):
            return self._queries.write(dry_run=self._chance.choices(("All", "Bad"), (30, 1))[0])
        if resource is None and self._chance.random() < 0.7:
            return f"{self._queries.other()}&timeoutSeconds=1"
        return self._queries.read()

    def _caller(self) -> Identity | None:
        kind = self._chance.choices(
            ("user", "root", "reader", "token", "impersonator", "partial", "nobody", "stranger", "anonymous"),
            (42, 22, 11, 8, 7, 3, 3, 2, 2),
        )[0]
        match kind:
            case "user":
                return self._chance.choice(USERS)
            case "token":
                return self._chance.choice(TOKENS)
            case "anonymous":
                return None
            case _:
                return {
                    "root": ROOT,
                    "reader": READER,
                    "impersonator": IMPERSONATOR,
                    "partial": PARTIAL,
                    "nobody": NOBODY,
                    "stranger": STRANGER,
                }[kind]

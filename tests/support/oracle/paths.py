"""Random paths: most name something, some name nothing, some are spelled as no client would."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.support.oracle.contents import EVERY_NAMESPACE, RESOURCES, Resource

_WEIGHTY = ("configmaps", "pods", "secrets", "deployments", "widgets", "namespaces", "nodes", "planets")
_NON_RESOURCE = (
    *("/", "/api", "/api/", "/api/v1", "/apis", "/apis/", "/apis/apps", "/apis/apps/v1", "/apis/apps/v1/", "/api/v2"),
    *("/apis/samples.example", "/apis/samples.example/v1", "/apis/nothing.example", "/apis/nothing.example/v1"),
    *("/version", "/version/", "/healthz", "/healthz/", "/healthz/ping", "/healthz/etcd", "/livez", "/livez/ping"),
    *("/readyz", "/readyz/nothing", "/openapi/v3", "/openapi/v3/api", "/openapi/v3/apis/batch/v1"),
    *("/.well-known/openid-configuration", "/openid/v1/jwks", "/logs", "/logs/", "/debug/pprof", "/nothing", "/ui"),
    *("/robots.txt", "/favicon.ico", "/swagger.json", "/index.html", "/API/v1/pods", "/apis/apps/v1/deployments"),
)
_REVIEWS = (
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authorization.k8s.io/v1/namespaces/oracle-a/localsubjectaccessreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
)
_WRONG = ("podz", "pods.v1", "Pods", "pod", "widget", "configmaps,secrets", "*", "nodes", "deployments", "nothing")
_ROOTS = ("/api/v1", "/api/v2", "/apis/apps/v1", "/apis/apps/v1beta1", "/apis/none.example/v1", "/apis/batch/v2")
_SUBRESOURCES = ("status", "scale", "log", "nothing", "finalize", "token", "proxy", "approval", "Status")


class RandomPaths:
    """A stream of paths out of one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def path(self) -> tuple[str, Resource | None]:
        """A path, and the resource it is of where it is of one."""
        kind = self._chance.choices(("plain", "url", "review", "wrong", "odd"), (72, 9, 2, 6, 11))[0]
        if kind == "url":
            return self._chance.choice(_NON_RESOURCE), None
        if kind == "review":
            return self._chance.choice(_REVIEWS), None
        if kind == "wrong":
            return self._wrong(), None
        path, resource = self._plain()
        return (path, resource) if kind == "plain" else (self._odd(path), resource)

    def _plain(self) -> tuple[str, Resource]:
        resource = self._chance.choice(RESOURCES)
        if self._one_in(2):
            plural = self._chance.choice(_WEIGHTY)
            resource = next(each for each in RESOURCES if each.plural == plural)
        namespace = ""
        if resource.namespaced and not self._one_in(3):
            namespace = self._chance.choices((*EVERY_NAMESPACE, "default", "oracle-none"), (6, 6, 1, 1, 1))[0]
        elif not resource.namespaced and self._one_in(30):
            namespace = "oracle-a"  # in no namespace: nobody serves that
        name = ""
        if (namespace or not resource.namespaced or self._one_in(10)) and self._one_in(2):
            name = self._chance.choice((*resource.names, *resource.names, "absent", "Bad_Name"))
        subresource = ""
        if name and self._one_in(4):
            subresource = self._chance.choice((*resource.subresources, *resource.subresources, *_SUBRESOURCES[:4]))
            if self._one_in(6):
                subresource += self._chance.choice(("/deeper", "/http:web:80/", "/a/b"))
        return resource.path(namespace, name, subresource), resource

    def _wrong(self) -> str:
        path = self._chance.choice(_ROOTS)
        if self._one_in(2):
            path += f"/namespaces/{self._chance.choice(EVERY_NAMESPACE)}"
        path += f"/{self._chance.choice(_WRONG)}"
        if self._one_in(2):
            path += f"/{self._chance.choice(('web', 'x', 'settings'))}"
        if self._one_in(4):
            path += f"/{self._chance.choice(_SUBRESOURCES)}"
        return path

    def _odd(self, path: str) -> str:
        """The same path in a spelling that servers read in different ways."""
        segments = path.split("/")
        at = self._chance.randrange(1, len(segments))
        some = segments[at]
        match self._chance.randrange(14):
            case 0:
                return path + "/"
            case 1:
                return "/".join([*segments[:at], "", *segments[at:]])
            case 2:
                return "/".join(
                    [*segments[:at], self._chance.choice((".", "..", "%2e", "%2E%2e", "...")), *segments[at:]]
                )
            case 3:
                segments[at] = f"%{ord(some[0]):02x}{some[1:]}"
            case 4:
                segments[at] = some + self._chance.choice(("%2F", "%2f", "%5C", "%25", "%2500", "%00", "%0a", "%0d%0a"))
            case 5:
                segments[at] = some + self._chance.choice(
                    ("%20", "+", "%C3%BC", "%FF", "%zz", "%", "%7f", "%1b", "%23")
                )
            case 6:
                segments[at] = some + self._chance.choice(
                    (";x", ";", ":", "@", "!", "'", "(", "*", ",", "=", "&", "~", "$")
                )
            case 7:
                segments[at] = self._chance.choice((some.upper(), some.capitalize(), some + ".", "." + some, some * 30))
            case 8 | 9:
                return "/".join([*segments[: _after_root(segments)], "watch", *segments[_after_root(segments) :]])
            case 10:
                return "/".join([*segments[: _after_root(segments)], "proxy", *segments[_after_root(segments) :]])
            case 11:
                return "/" + path
            case 12:
                return self._chance.choice(
                    (f"https://localhost{path}", f"{path}#top", path[1:], f"{path}\\", f"{path}|")
                )
            case _:
                return self._chance.choice(
                    ("//", "///", "/?", "/api//v1", "/apis//", "/..", "/./", "/%2e%2e/api/v1", "*")
                ).rstrip("?")
        return "/".join(segments)

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0


def _after_root(segments: Sequence[str]) -> int:
    return 4 if segments[1] == "apis" else 3

"""One request of the oracle: what is sent, byte for byte, and how a person repeats it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.support.identities import Identity

Header = tuple[str, str]

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`caller` None shows no credential. `target` is as on the wire, `chunked` how the body is framed."""

    caller: Identity | None
    method: str
    target: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    chunked: bool = False

    @property
    def path(self) -> str:
        """The path as it is sent."""
        return self.target.partition("?")[0]

    @property
    def raw_query(self) -> str:
        """What follows the `?`."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The pairs of the query, decoded; those that cannot be are left as they are."""
        return parse_qsl(self.raw_query, keep_blank_values=True, errors="replace")

    def first(self, parameter: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for name, value in self.query if name == parameter), None)

    def header(self, name: str) -> str:
        """The first value of a header, "" without one."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def as_bytes(self) -> bytes:
        """The request on the wire."""
        fields = [("Host", "localhost"), *self.headers]
        body = self.body
        if self.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif self.body or self.method in WRITES:
            fields.append(("Content-Length", str(len(body))))
        if self.caller is not None and self.caller.token is not None:
            fields.append(("Authorization", f"Bearer {self.caller.token}"))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"{self.method} {self.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

    def as_curl(self, url: str) -> str:
        """A line for a shell; the caller's certificate stands as its name and groups."""
        words = ["curl", "--path-as-is", "-X", self.method, f"{url}{self.target}"]
        for name, value in self.headers:
            words += ["-H", f"{name}: {value}"]
        if self.body:
            words += ["--data-binary", repr(self.body)[2:-1]]
        who = "anonymous" if self.caller is None else f"{self.caller.name} {list(self.caller.groups)}"
        return f"{shlex.join(words)}   # as {who}"

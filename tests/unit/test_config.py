"""Flags that are more than a word."""

from __future__ import annotations

import pytest

from proxy.config import HostPort, host_port
from proxy.upstream.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9100", HostPort("127.0.0.1", 9100)),
        ("[::1]:0", HostPort("::1", 0)),
        (":9100", HostPort("", 9100)),
        ("localhost:65535", HostPort("localhost", 65535)),
        (None, None),
    ],
)
def test_an_address_to_listen_on_is_host_and_port(text: str | None, address: HostPort | None) -> None:
    assert host_port(text, "--flag") == address


@pytest.mark.parametrize("text", ["", "9100", "host", "host:", "host:x", "host:65536", "host:-1", "::1:80", "host:²"])
def test_anything_else_is_an_error_that_names_the_flag(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--flag: `{text}` is not HOST:PORT$"):
        host_port(text, "--flag")

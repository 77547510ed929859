"""Where the API server is: what is accepted as an address, and the two sources beside a kubeconfig."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from proxy.upstream.config import ServerAddress, config_from_flags, in_cluster_config, parse_server
from proxy.upstream.errors import ConfigError


def address(scheme: str, host: str, port: int, base_path: str = "") -> ServerAddress:
    return ServerAddress(scheme=scheme, host=host, port=port, base_path=base_path)


@pytest.mark.parametrize(
    ("text", "expected", "origin"),
    [
        ("https://API.example.com", address("https", "api.example.com", 443), "https://api.example.com:443"),
        ("https://10.0.0.1:6443/", address("https", "10.0.0.1", 6443), "https://10.0.0.1:6443"),
        (
            "https://xn--bcher-kva.example",
            address("https", "xn--bcher-kva.example", 443),
            "https://xn--bcher-kva.example:443",
        ),
        ("https://[fd00::1]:6443", address("https", "fd00::1", 6443), "https://[fd00::1]:6443"),
        ("https://r/k8s/clusters/c-1/", address("https", "r", 443, "/k8s/clusters/c-1"), "https://r:443"),
        ("http://127.0.0.1:8001", address("http", "127.0.0.1", 8001), "http://127.0.0.1:8001"),
        ("http://127.9.9.9", address("http", "127.9.9.9", 80), "http://127.9.9.9:80"),
        ("http://[::1]:8001", address("http", "::1", 8001), "http://[::1]:8001"),
        ("http://localhost:8001", address("http", "localhost", 8001), "http://localhost:8001"),
    ],
)
def test_an_address_is_read_from_a_url(text: str, expected: ServerAddress, origin: str) -> None:
    assert parse_server(text, where="--upstream") == expected
    assert expected.origin == origin
    assert httpx.URL(origin).raw_host == expected.host.encode(), "requests are for the host that was configured"


@pytest.mark.parametrize(
    "text",
    ["http://10.0.0.1", "http://api.example.com", "http://[fd00::1]", "http://127.0.0.1.example.com", "http://0.0.0.0",
     "http://localhost.example.com", "http://[::ffff:10.0.0.1]"],
)  # fmt: skip
def test_plain_http_leaves_this_machine_never(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--upstream: .*plain http is for loopback addresses only"):
        parse_server(text, where="--upstream")


@pytest.mark.parametrize(
    "text",
    ["", "api.example.com", "localhost:8080", "//host", "ftp://host", "unix:///run/api.sock", "https://", "https:///x",
     "https://user@host", "https://user:secret@host", "https://host:0", "https://host:99999", "https://host:x",
     "https://host?x=1", "https://host#x", "https://host/a/../b", "https://host/./b", "https://host//b",
     "https://host/%2e%2e", "https://ho st", "https://host\r\nX: y", "https://host/\x00", "https://[::1", "https://[host]",
     "https://ho*st", "http://2130706433", "https://a..b", "https://999.1.1.1", "https://0x7f.1", "https://1.2.3",
     "https://" + "a" * 64, "https://" + "a." * 130 + "a", "https://-host", "https://host\\@evil", "https://hôst", "https://[fe80::1%25eth0]"],
)  # fmt: skip
def test_an_address_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_server(text, where="--upstream")
    message = str(raised.value)
    assert message.startswith("--upstream: ")
    assert message.isprintable(), "one line"
    assert "secret" not in message


def test_a_client_certificate_needs_its_key_beside_it() -> None:
    with pytest.raises(ConfigError, match=r"^--upstream-client-cert-file needs --upstream-client-key-file"):
        config_from_flags(url="https://host", client_cert_file=Path("tls.crt"))
    with pytest.raises(ConfigError, match=r"^--upstream-client-key-file needs --upstream-client-cert-file"):
        config_from_flags(url="https://host", client_key_file=Path("tls.key"))


@pytest.mark.parametrize(
    ("host", "origin"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_finds_the_api_server_by_its_environment(host: str, origin: str) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
    config = in_cluster_config(environment, Path("/sa"))
    assert config.server.origin == origin
    assert config.ca == Path("/sa/ca.crt")
    assert config.token_file == Path("/sa/token")


@pytest.mark.parametrize("environment", [{}, {"KUBERNETES_SERVICE_HOST": "h"}, {"KUBERNETES_SERVICE_PORT": "443"}])
def test_outside_of_a_cluster_the_error_says_what_to_give(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"--upstream-kubeconfig or --upstream"):
        in_cluster_config(environment)

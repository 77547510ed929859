"""Flags that are more than a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import (
    HostPort,
    ServiceAccountConfig,
    host_port,
    read_service_account_keys,
    service_account_config,
)
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


def test_service_accounts_are_off_without_their_flags() -> None:
    assert service_account_config((), ()) is None
    config = service_account_config(("https://a", "https://b"), (Path("sa.pub"),))
    assert config == ServiceAccountConfig(issuers=("https://a", "https://b"), key_files=(Path("sa.pub"),))


@pytest.mark.parametrize(
    ("issuers", "key_files", "message"),
    [
        ((), (Path("sa.pub"),), "^--service-account-issuer is missing"),
        (("",), (), "^--service-account-issuer should not be an empty string$"),
        (("https://a", "https://a"), (), "^--service-account-issuer: `https://a` is already specified$"),
        (("kubernetes/serviceaccount",), (), "^--service-account-issuer: `kubernetes/serviceaccount` is the issuer of"),
    ],
)
def test_flags_of_service_accounts_that_cannot_be_meant_are_errors(
    issuers: tuple[str, ...], key_files: tuple[Path, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        service_account_config(issuers, key_files)


def test_a_key_file_that_cannot_be_used_is_an_error_with_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "sa.pub"
    broken.write_text("nothing")
    for path, message in ((broken, f"{broken}: no public key"), (tmp_path / "none", "--service-account-key-file: can")):
        with pytest.raises(ConfigError, match=f"^{message}"):
            read_service_account_keys(ServiceAccountConfig(issuers=("https://a",), key_files=(path,)))

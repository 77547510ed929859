"""Kubeconfigs as kubectl, kubeadm and cloud providers write them, and what of them is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.upstream.config import UpstreamConfig
from proxy.upstream.errors import ConfigError
from proxy.upstream.kubeconfig import load_kubeconfig, parse_kubeconfig

PEM = b"-----BEGIN CERTIFICATE-----\n"


def kubeconfig(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "dev",
        "contexts": [
            {"name": "other", "context": {"cluster": "nowhere", "user": "nobody"}},
            {"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    return yaml.safe_dump({**document, **more}).encode()


def parse(content: bytes) -> UpstreamConfig:
    return parse_kubeconfig(content, source="admin.conf", base_directory=Path("/etc/k"))


def refused(content: bytes) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(content)
    message = str(raised.value)
    assert message.startswith("admin.conf:")
    assert message.isprintable(), "one line"
    return message


def test_the_current_context_names_cluster_and_user() -> None:
    config = parse(kubeconfig({"tls-server-name": "kubernetes"}, {"token": "t0ken"}))
    assert config.server.origin == "https://api:6443"
    assert config.tls_server_name == "kubernetes"
    assert config.token == "t0ken"
    assert config.ca is None, "no certificate-authority means the system's roots"
    assert "t0ken" not in repr(config)


def test_relative_paths_start_at_the_folder_of_the_kubeconfig() -> None:
    config = parse(
        kubeconfig(
            {"certificate-authority": "pki/ca.crt"},
            {"client-certificate": "u.crt", "client-key": "/abs/u.key", "tokenFile": "../token"},
        )
    )
    assert config.ca == Path("/etc/k/pki/ca.crt")
    assert config.client_certificate == Path("/etc/k/u.crt")
    assert config.client_key == Path("/abs/u.key")
    assert config.token_file == Path("/etc/k/../token")


def test_inline_data_wins_over_a_file() -> None:
    data = base64.b64encode(PEM).decode()
    key = base64.b64encode(b"the key").decode()
    config = parse(
        kubeconfig(
            {"certificate-authority": "ca.crt", "certificate-authority-data": data},
            {
                "client-certificate-data": data,
                "client-certificate": "u.crt",
                "client-key-data": f"{key[:5]}\n{key[5:]}",
            },
        )
    )
    assert config.ca == config.client_certificate == PEM
    assert config.client_key == b"the key"
    assert "the key" not in repr(config)


@pytest.mark.parametrize(
    ("cluster", "user", "field"),
    [
        ({"insecure-skip-tls-verify": True}, {}, "clusters[c].cluster.insecure-skip-tls-verify"),
        ({"proxy-url": "socks5://h"}, {}, "clusters[c].cluster.proxy-url"),
        ({}, {"exec": {"command": "aws"}}, "users[u].user.exec"),
        ({}, {"exec": {}}, "users[u].user.exec"),
        ({}, {"auth-provider": {"name": "gcp"}}, "users[u].user.auth-provider"),
        ({}, {"username": "admin", "password": "s3cret"}, "users[u].user.username"),
        ({}, {"password": "s3cret"}, "users[u].user.username"),
        ({}, {"as": "root"}, "users[u].user.as"),
        ({}, {"as-groups": ["system:masters"]}, "users[u].user.as"),
        ({"server": "http://api:8080"}, {}, "clusters[c].cluster.server"),
        ({"server": ""}, {}, "clusters[c].cluster.server"),
        ({"certificate-authority-data": "%%%"}, {}, "clusters[c].cluster.certificate-authority-data"),
        ({}, {"client-certificate": "u.crt"}, "users[u].user.client-certificate"),
        ({}, {"client-key-data": "YQ=="}, "users[u].user.client-key"),
    ],
)
def test_what_is_not_supported_is_refused_by_file_and_field(
    cluster: dict[str, Any], user: dict[str, Any], field: str
) -> None:
    message = refused(kubeconfig(cluster, user))
    assert message.startswith(f"admin.conf: {field}")
    assert "s3cret" not in message


def test_a_flag_that_is_written_out_as_false_is_no_refusal() -> None:
    assert parse(kubeconfig({"insecure-skip-tls-verify": False}, {"exec": None})).token is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "admin.conf: not a kubeconfig"),
        (b"[]", "admin.conf: not a kubeconfig"),
        (b"a: [", "admin.conf:2:1: not YAML"),
        (b"\xff\xfe\xfa", "admin.conf: not YAML"),
        (b"a: \x00", "admin.conf: not YAML"),
        (b"a: !!python/object/apply:os.system [id]", "admin.conf:1:4: not YAML"),
        (b"clusters: 1", "admin.conf: not a kubeconfig"),
        (b"a: 2026-99-99", "admin.conf: not a kubeconfig"),
        (b"{}", "admin.conf: current-context: not set"),
        (b"clusters: null\ncontexts: null\nusers: null\ncurrent-context: ''\n", "admin.conf: current-context: not set"),
        (
            kubeconfig().replace(b"current-context: dev", b"current-context: x"),
            "admin.conf: contexts: there is none named `x`",
        ),
        (kubeconfig(clusters=[]), "admin.conf: clusters: there is none named `c`"),
        (kubeconfig(users=None), "admin.conf: users: there is none named `u`"),
        (kubeconfig(user={"token": 1}), "admin.conf: not a kubeconfig"),
    ],
)
def test_what_is_no_kubeconfig_gives_one_clear_line(content: bytes, message: str) -> None:
    assert refused(content).startswith(message)


def test_a_context_without_a_user_is_anonymous() -> None:
    content = kubeconfig(contexts=[{"name": "dev", "context": {"cluster": "c"}}])
    assert parse(content) == parse(kubeconfig())


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"admin\.conf: cannot be read: No such file or directory$"):
        load_kubeconfig(tmp_path / "admin.conf")


def test_a_file_is_read_with_its_own_folder_as_base(tmp_path: Path) -> None:
    (tmp_path / "admin.conf").write_bytes(kubeconfig({"certificate-authority": "ca.crt"}))
    assert load_kubeconfig(tmp_path / "admin.conf").ca == tmp_path / "ca.crt"

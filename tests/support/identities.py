"""Who calls: the name, the groups and the means of proof, and the kubeconfig that carries them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.pki import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller. With a token it proves itself by that, without one by a client certificate."""

    name: str
    groups: tuple[str, ...] = ()
    token: str | None = None


ADMIN = Identity(name="admin", groups=("system:masters",))
TOKEN_USERS = (
    Identity(name="admin", groups=("system:masters",), token="admin-token"),
    Identity(name="alice", groups=("team-a",), token="alice-token"),
    Identity(name="bob", groups=("team-b",), token="bob-token"),
    Identity(name="node1", groups=("nodes",), token="node1-token"),
)


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca_file: Path,
    credential: Certificate | str,
    namespace: str = "default",
) -> Path:
    """A kubeconfig with one context; `credential` is a client certificate or a bearer token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "user", "user": _user(credential)}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user", "namespace": namespace}}],
        "current-context": "context",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _user(credential: Certificate | str) -> dict[str, Any]:
    if isinstance(credential, str):
        return {"token": credential}
    return {"client-certificate": str(credential.cert_file), "client-key": str(credential.key_file)}

"""Where the real kube-apiserver, etcd and kubectl are.

`$KUBEBUILDER_ASSETS` is looked in first, as envtest does, then the folder that `tests/realkube/build.sh` fills.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HOW_TO_GET_THEM = "needs real kube-apiserver: run `make realkube`"

_GO_MODULE = Path(__file__).parents[1] / "realkube" / "go.mod"


class BinariesMissingError(Exception):
    """At least one of the binaries is in none of the folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Absolute paths of executables."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path


@cache
def find_binaries() -> Binaries:
    """The binaries the tests run against; raises BinariesMissingError, which says how to get them."""
    return Binaries(
        kube_apiserver=find_binary("kube-apiserver"),
        etcd=find_binary("etcd"),
        kubectl=find_binary("kubectl"),
    )


def find_binary(name: str) -> Path:
    """One executable, also those that few tests need (`kube-controller-manager`, `kubemark`)."""
    folders = [Path(os.environ["KUBEBUILDER_ASSETS"])] if os.environ.get("KUBEBUILDER_ASSETS") else []
    folders.append(build_folder())
    for folder in folders:
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            return path.absolute()
    raise BinariesMissingError(f"{HOW_TO_GET_THEM} (no `{name}` in {', '.join(map(str, folders))})")


def build_folder() -> Path:
    """The folder `tests/realkube/build.sh` fills; the two must agree."""
    if explicit := os.environ.get("WATCHKEEPER_REALKUBE_DIR"):
        return Path(explicit)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "watchkeeper" / "realkube" / _kubernetes_version()


def _kubernetes_version() -> str:
    match = re.search(r"^\s*k8s\.io/kubernetes (v[0-9.]+)$", _GO_MODULE.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{_GO_MODULE}: no version of k8s.io/kubernetes")
    return match[1]

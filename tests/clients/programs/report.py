"""What the programs beside this file take and say: a kubeconfig in, a line of JSON on stdout for each thing seen.

    {"said": "listed", "items": [OBJECT...]}     what it holds from now on; `pages` is how many there were
    {"said": "got", "items": [OBJECT...]}        a list that it does not go on from
    {"said": "event", "type": "ADDED", "object": OBJECT}
    {"said": "broken", "why": "..."}     the connection is gone; it comes back
    {"said": "expired"}                  it was told 410, and begins again

An OBJECT is its namespace, name, resourceVersion, labels and `value`: of a ConfigMap `data.value`, of a Pod its node.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

RETRY_SECONDS = 0.2  # between two attempts while the connection is refused
PAGE_SIZE = 2  # small against what there is, so that there are pages


def options() -> argparse.Namespace:
    """`kubeconfig` and `resource` (`configmaps` or `pods`)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--resource", choices=("configmaps", "pods"), default="configmaps")
    return parser.parse_args()


def say(said: str, **more: Any) -> None:
    """One line of what is seen."""
    print(json.dumps({"said": said, **more}), flush=True)


def described(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object as JSON has it, reduced to what the tests compare."""
    metadata = raw["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "resourceVersion": metadata["resourceVersion"],
        "labels": dict(metadata.get("labels") or {}),
        "value": raw.get("data", {}).get("value") or raw.get("spec", {}).get("nodeName") or "",
    }

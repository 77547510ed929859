"""Reading policy: thousands of documents at the start, and an edit of one file while they are in force.

Each file is a team's: Roles with their RoleBindings, one of them with a selector. An edit is timed from the rename of
the new file until the proxy's own reloader has put it in force. Beside it: the same files read by PyYAML's C loader.

Run: `python -m benchmarks.policy_load`
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from benchmarks.support.report import Figure, Report, RowResult
from benchmarks.support.stage import READ, WATCHKEEPER
from proxy.interpreter import settle_interpreter
from proxy.policy.remembered_files import RememberedFiles
from proxy.policy.snapshot import PolicySnapshot
from proxy.server.policy_reloader import PolicyReloader, read_policy
from tests.support.manifests import role, role_binding

QUICK = "--documents 60 --repetitions 1 --edits 2"
"""The smallest run that still does everything; its figures mean nothing."""

MINUTES = 1.0
"""What it takes on a quiet machine with two cores."""

_DOCUMENTS_A_FILE = 10
_EDIT_SECONDS = 120.0  # bounds an edit that is never seen


def run(arguments: Sequence[str]) -> RowResult:
    """Prints the time to load, and that of an edit."""
    options = _options(arguments)
    report = Report("policy_load", vars(options))
    with tempfile.TemporaryDirectory(prefix="watchkeeper-policies-") as directory:
        folder = Path(directory) / "policies"
        folder.mkdir()
        files = [folder / f"team-{number}.yaml" for number in range(options.documents // _DOCUMENTS_A_FILE)]
        for number, file in enumerate(files):
            file.write_text(_team(number, "pods"))
        plain: list[float] = []
        loading: list[float] = []
        for _ in range(options.repetitions):
            plain.append(_seconds(lambda: [list(yaml.load_all(f.read_bytes(), yaml.CSafeLoader)) for f in files]))
            loading.append(_seconds(lambda: read_policy(folder, RememberedFiles())))
        edits = asyncio.run(_edit(folder, files, options.edits))
    report.figure("the same files read by PyYAML alone", Figure(plain), "s")
    report.limit(f"loading {options.documents} documents", Figure(loading), "s", bar=5)
    report.limit("an edit of one file, until it is in force", Figure(edits), "s", bar=0.2)
    return report.result


async def _edit(folder: Path, files: Sequence[Path], edits: int) -> list[float]:
    """Seconds of each edit."""
    in_force = asyncio.Event()
    remembered = RememberedFiles()
    snapshot, digest = read_policy(folder, remembered)
    settle_interpreter()  # as the proxy does once it has read its policy
    revisions = [snapshot.revision]

    def use(newest: PolicySnapshot) -> None:
        revisions.append(newest.revision)
        in_force.set()

    reloader = PolicyReloader(folder, digest, use, remembered)
    following = asyncio.ensure_future(reloader.run())
    took: list[float] = []
    try:
        await asyncio.sleep(1)  # the folder is watched
        for number in range(edits):
            file = files[number % len(files)]
            staged = folder.parent / "staged"
            staged.write_text(_team(files.index(file), f"edit-{number}"))
            in_force.clear()
            started = time.perf_counter()
            staged.replace(file)
            async with asyncio.timeout(_EDIT_SECONDS):
                await in_force.wait()
            took.append(time.perf_counter() - started)
    finally:
        following.cancel()
    if len(set(revisions)) != edits + 1:
        raise SystemExit("an edit was not a change")
    return took


def _team(number: int, resource: str) -> str:
    documents: list[dict[str, object]] = []
    for part in range(_DOCUMENTS_A_FILE // 2):
        name = f"team-{number}-{part}"
        if part:
            rules = [{"apiGroups": [""], "resources": [resource, "configmaps"], "verbs": list(READ)}]
            documents += [role(name, rules, name), role_binding(name, user=f"user-{number}", namespace=name)]
            continue
        rule = {"apiGroups": [""], "resources": [resource], "verbs": list(READ)}
        own = {**role(name, [{**rule, "labelSelector": {"matchLabels": {"team": name}}}], None)}
        binding = role_binding(name, user=f"user-{number}", namespace=None)
        for each in (own, binding):
            each["apiVersion"] = f"{WATCHKEEPER}/v1alpha1"
        binding["roleRef"] = {"apiGroup": WATCHKEEPER, "kind": "ClusterRole", "name": name}
        documents += [own, {**binding, "namespaces": [f"team-{number}-*"]}]
    return yaml.dump_all(documents, Dumper=yaml.CSafeDumper)


def _seconds(read: Callable[[], object]) -> float:
    started = time.perf_counter()
    read()
    return time.perf_counter() - started


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--edits", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(sys.argv[1:])

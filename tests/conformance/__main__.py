"""Kubernetes' own e2e tests, directly and through the proxy: `python -m tests.conformance`.

Each side has a cluster of its own with a controller-manager, a scheduler and a hollow kubelet, which speak to its API
server, and both run at the same time; through the proxy the user is a cluster-admin of `policies/cluster-admin`.
Exits with 1 if anything that passes directly does not through the proxy, or if nothing passed.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.results import PASSED, Result, broken_by_the_proxy, read_report, table
from tests.conformance.suite import FILES, SKIPPED
from tests.support import processes
from tests.support.binaries import find_binaries, find_binary
from tests.support.components import hollow_kubelet, kube_controller_manager, kube_scheduler
from tests.support.identities import ADMIN
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import IMPERSONATION_RULES, PROXY_RULES, TOKEN_REVIEW_RULES, RealCluster

_POLICIES = Path(__file__).parents[2] / "policies"
_FOLDERS = ("cluster-admin", "discovery")  # the second for those whom tests impersonate, as any cluster has it
_SERVER_FLAGS = ("--etcd-compaction-interval=20s",)  # a test waits until its continue token has expired
_FLAGS = (
    "--provider=skeleton",
    "--allowed-not-ready-nodes=-1",
    "--num-nodes=0",
    "--minStartupPods=0",
    "--dump-logs-on-failure=false",
    "--ginkgo.no-color",
    "--ginkgo.v",
    "--ginkgo.seed=1",
    "--ginkgo.timeout=30m",
    "--ginkgo.flake-attempts=2",  # the table tells which tests took the second
)


def main() -> int:
    """Runs both sides and compares them."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--focus", default="", help="only tests whose full name this regular expression finds")
    parser.add_argument("--directory", type=Path, help="where logs and reports are kept; a temporary folder otherwise")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        else:
            directory = arguments.directory.absolute()
        with ThreadPoolExecutor(max_workers=2) as sides:
            runs = [
                sides.submit(_run_side, directory / name, arguments.focus, through_proxy=name == "proxy")
                for name in ("direct", "proxy")
            ]
            direct, proxied = (run.result() for run in runs)
    return _report(direct, proxied)


def _report(direct: dict[str, Result], proxied: dict[str, Result]) -> int:
    print(*table(direct, proxied), sep="\n")
    print("\nnot run:", *(f"  {pattern}\n      {reason}" for pattern, reason in SKIPPED.items()), sep="\n")
    broken = broken_by_the_proxy(direct, proxied)
    passed = [name for name, result in direct.items() if result.state == PASSED]
    print(f"\n{len(passed)} of {len(direct)} pass directly, {len(passed) - len(broken)} of these through the proxy")
    print(*(f"  BROKEN: {name}" for name in broken), sep="\n")
    return 1 if broken or not passed else 0


def _run_side(directory: Path, focus: str, *, through_proxy: bool) -> dict[str, Result]:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(RealCluster(directory, find_binaries(), extra_flags=_SERVER_FLAGS))
        admin = cluster.kubeconfig(ADMIN)
        stack.enter_context(kube_controller_manager(cluster, admin, directory / "kube-controller-manager"))
        stack.enter_context(kube_scheduler(admin, directory / "kube-scheduler"))
        stack.enter_context(hollow_kubelet("hollow", admin, directory / "hollow-kubelet"))
        if through_proxy:
            cluster.grant(cluster.proxy_identity, [*PROXY_RULES, *IMPERSONATION_RULES, *TOKEN_REVIEW_RULES])
            flags = ["--token-review", "--audit-log-path", str(directory / "proxy" / "audit.log")]
            proxy = stack.enter_context(ProxyProcess(cluster, directory / "proxy", _policies(), flags=flags))
            admin = proxy.kubeconfig(ADMIN)
        return _run_tests(directory, admin, focus)


def _policies() -> dict[str, list[Any]]:
    return {
        path.name: list(yaml.safe_load_all(path.read_text()))
        for folder in _FOLDERS
        for path in (_POLICIES / folder).glob("*.yaml")
    }


def _run_tests(directory: Path, kubeconfig: Path, focus: str) -> dict[str, Result]:
    report, log = directory / "report.json", directory / "e2e.log"
    command: list[str | Path] = [
        find_binary("e2e.test"),
        *_FLAGS,
        f"--kubeconfig={kubeconfig}",
        f"--kubectl-path={find_binary('kubectl')}",
        f"--ginkgo.json-report={report}",
        f"--ginkgo.focus={focus}",
        *(f"--ginkgo.focus-file={file}" for file in FILES),
        *(f"--ginkgo.skip={pattern}" for pattern in SKIPPED),
    ]
    started = time.monotonic()
    with log.open("wb") as output:
        process = processes.spawn(command, stdout=output, stderr=subprocess.STDOUT, cwd=directory)
        process.wait()
    print(f"{directory.name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    if not report.exists():
        raise RuntimeError(f"e2e.test ended with {process.returncode} and no report\n{processes.log_tail(log)}")
    return read_report(report)


if __name__ == "__main__":
    sys.exit(main())

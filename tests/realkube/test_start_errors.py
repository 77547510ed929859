"""Starting and stopping `watchkeeper serve`: a mistake is one clear line and a status that is not 0, no traceback.

Mistakes are made in this process, which is what the command does without the second that it takes to start.
"""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli.serve import serve
from tests.support.grants import grant, rule
from tests.support.identities import Identity
from tests.support.manifests import config_map
from tests.support.polling import poll
from tests.support.ports import LOOPBACK, ReservedPort
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchStream

WATCHKEEPER = Path(sys.executable).parent / "watchkeeper"
POLICIES = {"alice.yaml": grant("alice", rule("configmaps"), namespace="default")}
_RUN_SECONDS = 60.0

Flags = dict[str, str | None]


@pytest.fixture
def flags(real_cluster: RealCluster, tmp_path: Path) -> Flags:
    """Flags with which the proxy starts; None takes one away."""
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "alice.yaml").write_text(yaml.safe_dump_all(POLICIES["alice.yaml"]))
    certificate = real_cluster.pki.server()
    return {
        "policies": str(policies),
        "upstream-kubeconfig": str(real_cluster.kubeconfig(real_cluster.proxy_identity)),
        "bind-address": LOOPBACK,
        "secure-port": "0",
        "tls-cert-file": str(certificate.cert_file),
        "tls-private-key-file": str(certificate.key_file),
        "client-ca-file": str(real_cluster.ca_file),
    }


def arguments(flags: Mapping[str, str | None]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items() if value is not None]


def run(flags: Mapping[str, str | None]) -> tuple[int, list[str]]:
    """Runs it to its end; status and lines of stderr. What it does not report itself is raised."""
    done = CliRunner().invoke(serve, arguments(flags))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr.splitlines()


def fails(flags: Mapping[str, str | None]) -> str:
    """The one line that says why it does not start."""
    status, lines = run(flags)
    assert status != 0
    errors = [line for line in lines if line and not line.startswith(("Usage: ", "Try "))]
    assert len(errors) == 1, lines
    assert errors[0].startswith(("watchkeeper: ", "Error: "))
    return errors[0]


def test_a_mistake_ends_the_process_with_one_line_and_a_status(flags: Flags) -> None:
    """The same through the command itself."""
    argv = [str(WATCHKEEPER), "serve", *arguments({**flags, "tls-cert-file": "/no/such/file"})]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_RUN_SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "/no/such/file" in done.stderr


def test_workers_that_cannot_start_end_the_process_with_the_reason(flags: Flags) -> None:
    argv = [str(WATCHKEEPER), "serve", "--workers=2", *arguments({**flags, "tls-cert-file": "/no/such/file"})]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_RUN_SECONDS, check=False)
    assert done.returncode == 1
    (line,) = set(done.stderr.splitlines())
    assert line.startswith("watchkeeper: ")
    assert "/no/such/file" in line


def test_workers_do_not_share_the_standard_output_for_audit_lines(flags: Flags) -> None:
    assert "--audit-log-path" in fails({**flags, "workers": "2", "audit-log-path": "-"})


@pytest.mark.parametrize(
    "name", ["policies", "upstream-kubeconfig", "tls-cert-file", "tls-private-key-file", "client-ca-file"]
)
def test_a_missing_file_is_named(flags: Flags, name: str) -> None:
    assert "/no/such/file" in fails({**flags, name: "/no/such/file"})


@pytest.mark.parametrize("name", ["token-auth-file", "authentication-config", "continue-key-file", "config"])
def test_a_missing_optional_file_is_named(flags: Flags, name: str) -> None:
    assert "/no/such/file" in fails({**flags, name: "/no/such/file"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secure-port": "70000"}, "70000"),
        ({"secure-port": "https"}, "https"),
        ({"list-mode": "lenient"}, "lenient"),
        ({"no-such-flag": "1"}, "--no-such-flag"),
        ({"policies": None}, "--policies"),
        ({"tls-cert-file": None}, "--tls-cert-file"),
        ({"client-ca-file": None}, "nobody could authenticate"),
        ({"upstream": "https://127.0.0.1:1"}, "--upstream-kubeconfig"),
        ({"upstream-kubeconfig": None, "upstream-ca-file": "/tmp/ca"}, "--upstream"),
        ({"upstream-kubeconfig": None}, "run in a pod"),
        ({"watch-bookmark-interval": "0"}, "0"),
        ({"max-cache-bytes": "0"}, "0"),
        ({"bind-address": "192.0.2.1"}, "192.0.2.1"),
        ({"bind-address": "not an address"}, "not an address"),
    ],
    ids=str,
)
def test_a_wrong_flag_is_named(flags: Flags, changes: Flags, said: str) -> None:
    assert said in fails({**flags, **changes})


def test_files_that_hold_something_else_are_named(flags: Flags, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense: [")
    for name in ("tls-cert-file", "tls-private-key-file", "upstream-kubeconfig", "authentication-config", "config"):
        assert "nonsense" in fails({**flags, name: str(nonsense)}), name
    assert "at least 32 random bytes" in fails({**flags, "continue-key-file": str(nonsense)})
    for name in ("client-ca-file", "token-auth-file"):
        fails({**flags, name: str(nonsense)})


def test_every_mistake_of_a_policy_is_said_with_its_position(flags: Flags) -> None:
    assert flags["policies"] is not None
    bad = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: x, namespace: y}\nrulez: []\n"
    worse = "apiVersion: watchkeeper.io/v1alpha1\nkind: ClusterRole\nmetadata: {name: x}\nrules:\n- verbs: [fly]\n"
    (Path(flags["policies"]) / "bad.yaml").write_text(bad)
    (Path(flags["policies"]) / "worse.yaml").write_text(worse)
    status, lines = run(flags)
    assert status == 1
    assert [line for line in lines if "bad.yaml:4:1: " in line]
    assert [line for line in lines if "worse.yaml:5:" in line]
    assert all(re.match(r"watchkeeper: \S+\.yaml:\d+:\d+: ", line) for line in lines), lines


def test_an_upstream_that_is_not_there_is_named(flags: Flags, real_cluster: RealCluster) -> None:
    port = ReservedPort()
    try:
        kubeconfig = real_cluster.kubeconfig(real_cluster.proxy_identity, server=f"https://{LOOPBACK}:{port.number}")
        assert "the API server cannot be reached" in fails({**flags, "upstream-kubeconfig": str(kubeconfig)})
    finally:
        port.release()


def test_an_upstream_that_does_not_know_the_proxy_is_told_from_one_that_is_away(
    flags: Flags, real_cluster: RealCluster
) -> None:
    kubeconfig = real_cluster.kubeconfig(Identity(name="nobody", token="unknown-token"))
    assert "refuses the proxy's own identity" in fails({**flags, "upstream-kubeconfig": str(kubeconfig)})


def test_a_port_in_use_is_named(flags: Flags) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in fails({**flags, "secure-port": port})


def test_a_kubeconfig_with_an_exec_plugin_is_refused_and_nothing_executed(
    flags: Flags, real_cluster: RealCluster, tmp_path: Path
) -> None:
    trace = tmp_path / "executed"
    path = real_cluster.kubeconfig(real_cluster.proxy_identity)
    config = yaml.safe_load(path.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [str(trace)]}
    config["users"][0]["user"] = {"exec": plugin}
    path.write_text(yaml.safe_dump(config))
    assert "exec" in fails({**flags, "upstream-kubeconfig": str(path)})
    assert not trace.exists()


def test_settings_of_a_file_are_flags_and_flags_win(flags: Flags, tmp_path: Path) -> None:
    settings = tmp_path / "serve.yaml"
    from_file = {name: value for name, value in flags.items() if name != "secure-port"}
    settings.write_text(yaml.safe_dump({**from_file, "bind-address": "192.0.2.1", "list-mode": "strict"}))
    assert "192.0.2.1" in fails({"config": str(settings), "secure-port": "0"})
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in fails({"config": str(settings), "bind-address": LOOPBACK, "secure-port": port})
    settings.write_text(yaml.safe_dump({**from_file, "no-such-setting": 1}))
    assert "no-such-setting" in fails({"config": str(settings)})
    settings.write_text("- a list\n")
    assert "serve.yaml" in fails({"config": str(settings)})


@pytest.fixture
def proxy(real_cluster: RealCluster, tmp_path: Path) -> Iterator[ProxyProcess]:
    with ProxyProcess(real_cluster, tmp_path / "proxy", POLICIES) as process:
        yield process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_open_watches_cleanly_and_exits_with_0(proxy: ProxyProcess, signum: signal.Signals) -> None:
    with proxy.client(Identity(name="alice")) as client:
        streams = [WatchStream(client, "/api/v1/configmaps", {}) for _ in range(5)]
        assert proxy.stop(signum=signum) == 0
        for stream in streams:
            with stream:
                assert stream.wait_ended() is None
    assert "Traceback" not in proxy.log.read_text()


def test_a_stop_does_not_wait_for_a_client_that_reads_nothing(proxy: ProxyProcess) -> None:
    cluster = proxy.cluster
    big = config_map("big", "default", data={"filler": "x" * 500_000})
    cluster.create(big)
    try:
        context = cluster.pki.client_context(cluster.client_certificate("alice"))
        plain = socket.create_connection((LOOPBACK, proxy.port))
        with context.wrap_socket(plain, server_hostname=LOOPBACK) as connection:
            connection.sendall(b"GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(16)
            for number in range(12):  # more than the kernel's buffers and the proxy's own take
                cluster.patch(big, {"data": {"number": str(number)}})
            assert proxy.stop() == 0
    finally:
        cluster.delete(big)


def test_a_sighup_reads_the_policy_again_and_the_proxy_goes_on(proxy: ProxyProcess) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    with proxy.client(Identity(name="alice")) as client:
        assert client.get(path).status_code == 200
        (proxy.policies / "alice.yaml").write_text("")
        proxy.signal(signal.SIGHUP)
        poll(lambda: client.get(path).status_code == 403, timeout_seconds=20, failure=proxy.log.read_text)

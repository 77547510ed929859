"""A real etcd and kube-apiserver on loopback, for as long as a `with` block.

RBAC is on, the PKI is the cluster's own, every request is in an audit log. There is no kubelet, scheduler or
controller-manager unless a test starts one (`components`): pods are created unguarded by service accounts and stay as a
test leaves them, aggregated ClusterRoles stay empty, deleted namespaces stay until `delete_namespace` finalizes them.
"""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.binaries import Binaries
from tests.support.control_plane import Component, ControlPlane
from tests.support.identities import ADMIN, Identity, write_kubeconfig
from tests.support.manifests import role, role_binding
from tests.support.objects import Objects
from tests.support.pki import Certificate, Pki
from tests.support.polling import poll

PROXY = Identity(name="watchkeeper")
PROXY_RULES: Sequence[Mapping[str, Sequence[str]]] = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    {"nonResourceURLs": ["*"], "verbs": ["get"]},
)
# What it needs beside to act in a caller's name. RBAC knows no `userextras/*`: that would be the one key `*`.
IMPERSONATION_RULES: Sequence[Mapping[str, Sequence[str]]] = (
    {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
)
# And to have tokens reviewed.
TOKEN_REVIEW_RULES: Sequence[Mapping[str, Sequence[str]]] = (
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
)

START_SECONDS = 90.0  # two processes on a busy machine; five seconds on an idle one
_GRANT_SECONDS = 10.0
_REQUEST_SECONDS = 30.0


class RealCluster(Objects):
    """One cluster with its data, certificates and logs in `directory`; its object methods act as `admin`.

    `url` and all certificates stay the same across `stop` and `start`. `token_users` are the identities with a token
    that the API server knows. `extra_flags` are kube-apiserver's own and come last.
    """

    def __init__(
        self,
        directory: Path,
        binaries: Binaries,
        *,
        token_users: Sequence[Identity] = (),
        extra_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.pki = Pki(directory / "pki")
        self.ca_file = self.pki.ca_file
        self.proxy_identity = PROXY
        self._client_certificates: dict[tuple[str, tuple[str, ...]], Certificate] = {}
        self._kubeconfigs = 0
        self._control_plane = ControlPlane(
            directory, binaries, self.pki, token_users=token_users, extra_flags=extra_flags
        )
        self.url = self._control_plane.url
        self.audit_log = self._control_plane.audit_log
        self.service_account_key = self._control_plane.service_account_key
        self.admin = self.client(ADMIN)
        super().__init__(self.admin)

    def __enter__(self) -> Self:
        try:
            self.start()
            self.grant(self.proxy_identity, PROXY_RULES)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def start(self) -> None:
        """Start what does not run, and return when the API server is ready."""
        self._control_plane.start()
        poll(
            self._is_ready,
            timeout_seconds=START_SECONDS,
            failure=lambda: f"kube-apiserver is not ready\n{self._control_plane.log_tails()}",
        )

    def stop(self, *, signum: signal.Signals = signal.SIGTERM) -> None:
        """Stop the API server, with SIGKILL as a crash does; etcd goes on. Connections are refused until `start`."""
        self._control_plane.stop(signum=signum)

    def restart(self, *, signum: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start the API server: its watch cache is new, the objects and resourceVersions are not."""
        self.stop(signum=signum)
        self.start()

    def kill_etcd(self) -> None:
        """Kill etcd, as a crash does, and start it again: the API server goes on, and waits for it."""
        self._control_plane.stop_etcd(signum=signal.SIGKILL)
        self.start()

    def pause(self, component: Component) -> None:
        """Freeze a process; what it has promised to do waits, its connections stay open."""
        self._control_plane.signal(component, signal.SIGSTOP)

    def go_on(self, component: Component) -> None:
        """Let it go on, and return when the API server is ready."""
        self._control_plane.signal(component, signal.SIGCONT)
        self.start()

    def compact(self) -> None:
        """Have etcd forget all versions of all objects but the newest."""
        self._control_plane.compact()

    def back_up(self) -> Path:
        """A backup of everything; the API server is restarted for it."""
        self.stop()
        self._control_plane.stop_etcd(signum=signal.SIGTERM)
        backup = self._control_plane.back_up()
        self.start()
        return backup

    def restore(self, backup: Path) -> None:
        """Go back to a backup; resourceVersions go back with it."""
        self.stop()
        self._control_plane.stop_etcd(signum=signal.SIGTERM)
        self._control_plane.restore(backup)
        self.start()

    def client(self, identity: Identity | None) -> httpx.Client:
        """A client the caller closes; None is anonymous."""
        certificate, headers = None, {}
        if identity is not None and identity.token is not None:
            headers["authorization"] = f"Bearer {identity.token}"
        elif identity is not None:
            certificate = self.client_certificate(identity.name, identity.groups)
        return httpx.Client(
            base_url=self.url,
            verify=self.pki.client_context(certificate),
            headers=headers,
            timeout=_REQUEST_SECONDS,
            trust_env=False,
        )

    def client_certificate(self, common_name: str, groups: Sequence[str] = ()) -> Certificate:
        """The certificate of this user, the same for the same name and groups."""
        key = (common_name, tuple(groups))
        if key not in self._client_certificates:
            self._client_certificates[key] = self.pki.client(common_name, groups)
        return self._client_certificates[key]

    def kubeconfig(
        self,
        identity: Identity,
        *,
        server: str | None = None,
        ca_file: Path | None = None,
        namespace: str = "default",
    ) -> Path:
        """A new kubeconfig; `server` and `ca_file` None are this cluster's, else for example a proxy's in front."""
        self._kubeconfigs += 1
        return write_kubeconfig(
            self.directory / f"{self._kubeconfigs}.kubeconfig",
            server=server or self.url,
            ca_file=ca_file or self.ca_file,
            credential=identity.token or self.client_certificate(identity.name, identity.groups),
            namespace=namespace,
        )

    def grant(
        self, identity: Identity, rules: Sequence[Mapping[str, Sequence[str]]], *, namespace: str | None = None
    ) -> None:
        """Bind the user to a role of their name with exactly these rules, and return when they are in force.

        `namespace` None is cluster-wide.
        """
        self.apply(role(identity.name, rules, namespace))
        self.apply(role_binding(identity.name, user=identity.name, namespace=namespace))
        for attributes in _attributes(rules, namespace):
            self._wait_until_allowed(identity, attributes)

    def audit_events(self) -> list[dict[str, Any]]:
        """The audit Events so far, oldest first. One for a response is there before the response has ended."""
        *whole_lines, _being_written = self.audit_log.read_text().split("\n")
        return [json.loads(line) for line in whole_lines]

    def _wait_until_allowed(self, identity: Identity, attributes: Mapping[str, Any]) -> None:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": identity.name, "groups": list(identity.groups), **attributes},
        }
        poll(
            lambda: self.create(review)["status"]["allowed"],
            timeout_seconds=_GRANT_SECONDS,
            failure=lambda: f"`{identity.name}` is not allowed {attributes}",
        )

    def _is_ready(self) -> bool:
        self._control_plane.check()
        try:
            return all(self.admin.get(path).is_success for path in ("/readyz", "/api/v1/namespaces/default"))
        except httpx.TransportError:
            return False

    def _close(self) -> None:
        self.admin.close()
        self._control_plane.close()


def _attributes(
    rules: Sequence[Mapping[str, Sequence[str]]], namespace: str | None
) -> Iterator[dict[str, dict[str, str]]]:
    """Every question the rules answer, literally: RBAC grants `*` only to `*`, so it may be asked for itself."""
    for rule in rules:
        for verb, path in product(rule["verbs"], rule.get("nonResourceURLs", ())):
            yield {"nonResourceAttributes": {"verb": verb, "path": path}}
        for verb, group, resource, name in product(
            rule["verbs"], rule.get("apiGroups", ()), rule.get("resources", ()), rule.get("resourceNames") or ("",)
        ):
            attributes = {"verb": verb, "group": group, "namespace": namespace or "", "name": name}
            attributes["resource"], _, attributes["subresource"] = resource.partition("/")
            yield {"resourceAttributes": attributes}

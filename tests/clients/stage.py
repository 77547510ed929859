"""What the clients look at: four namespaces of objects, and three callers who each may see a part of them.

What a caller may see is said three times: in the policy, as a question the real API server answers for an admin, and as
a condition on what a program shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.clients.program import Item, Program
from tests.clients.programs.report import described
from tests.support.cable import Cable
from tests.support.grants import grant, rule, scoped_grant
from tests.support.identities import Identity
from tests.support.manifests import Manifest, config_map, pod
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.realkube import RealCluster
from tests.support.watching import WatchStream

SPACES = RED, BLUE, GREEN, GREY = ("clients-red", "clients-blue", "clients-green", "clients-grey")
SECRET = "hidden"  # every content that nobody may be shown begins so
SETTLE_SECONDS = 60.0  # bounds a hang: client-go waits up to thirty before it tries again what was refused

_EXAMPLES = Path(__file__).parents[2] / "policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A user with a scope. `question` and `spaces` (None: all) select for an admin what the user may see.

    `reveal` and `hide` are merge patches that move an
    object into its scope and out of it, with the subresource they are for; None where a namespace decides.
    """

    name: str
    resource: str
    policy: Sequence[Manifest]
    may_see: Callable[[Item], bool]
    spaces: Sequence[str] | None = None
    question: Mapping[str, str] = field(default_factory=dict)
    reveal: Mapping[str, Any] | None = None
    hide: Mapping[str, Any] | None = None
    subresource: str = ""
    by_token: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{'token' if self.by_token else 'certificate'}"

    @property
    def identity(self) -> Identity:
        """With the token or for the certificate."""
        return Identity(name=self.name, token=f"{self.name}-secret" if self.by_token else None)

    def manifest(self, name: str, *, visible: bool) -> Manifest:
        """An object of this caller's resource that it may see, or may not."""
        if self.resource == "pods":
            return pod(name, RED, node="node1" if visible else "node2")
        space = RED if visible or self.spaces is None else GREY
        labels = {} if self.spaces or not visible else {"tier": "front"}
        return config_map(name, space, labels=labels, data={"value": "shown" if visible else SECRET})


def namespaced_policy(user: str, *spaces: str) -> list[Manifest]:
    """ConfigMaps of these namespaces, in Kubernetes' own dialect."""
    return [each for space in spaces for each in grant(user, rule("configmaps"), namespace=space)]


def example_policy(path: str) -> list[Manifest]:
    """The objects of a file of `policies/`."""
    return list(yaml.safe_load_all((_EXAMPLES / path).read_text()))


ALICE = Caller(
    name="alice",
    resource="configmaps",
    policy=namespaced_policy("alice", RED, BLUE),
    may_see=lambda item: item["namespace"] in (RED, BLUE),
    spaces=(RED, BLUE),
)
LENA = Caller(
    name="lena",
    resource="configmaps",
    policy=scoped_grant("lena", rule("configmaps", labelSelector={"matchLabels": {"tier": "front"}})),
    may_see=lambda item: item["labels"].get("tier") == "front",
    question={"labelSelector": "tier=front"},
    reveal={"metadata": {"labels": {"tier": "front"}}, "data": {"value": "shown"}},
    hide={"metadata": {"labels": {"tier": "back"}}, "data": {"value": SECRET}},
    by_token=True,
)
NODE1 = Caller(
    name="node1",
    resource="pods",
    policy=scoped_grant("node1", rule("pods", fieldSelector="spec.nodeName=node1,status.phase!=Failed")),
    may_see=lambda item: item["value"] == "node1",
    question={"fieldSelector": "spec.nodeName=node1,status.phase!=Failed"},
    reveal={"status": {"phase": "Running"}},
    hide={"status": {"phase": "Failed", "reason": SECRET}},
    subresource="status",
)
CALLERS = (ALICE, LENA, NODE1)
POLICIES: Mapping[str, Sequence[Manifest]] = {
    **{f"{caller.name}.yaml": caller.policy for caller in CALLERS},
    "discovery.yaml": example_policy("discovery/discovery.yaml"),
}


def tokens() -> list[Identity]:
    """Of all callers, for the proxy's token file."""
    return [Identity(name=caller.name, token=f"{caller.name}-secret") for caller in CALLERS]


class Stage:
    """The cluster, the proxy and the cable to it; writes are the admin's, on the real API server."""

    def __init__(self, cluster: RealCluster, proxy: ProxyProcess, cable: Cable) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.cable = cable
        self._policies = POLICIES

    def kubeconfig(self, caller: Caller) -> Path:
        """Of the way through the cable."""
        return self.cluster.kubeconfig(caller.identity, server=self.cable.url)

    def clear(self) -> None:
        """Delete all objects of the callers' resources."""
        for resource in {caller.resource for caller in CALLERS}:
            for space in SPACES:
                path = f"/api/v1/namespaces/{space}/{resource}"
                params = {"gracePeriodSeconds": "0"}
                self.cluster.admin.delete(path, params=params).raise_for_status()

    def restore(self) -> None:
        """The policy that every test begins with."""
        if self._policies is not POLICIES:
            self.write_policies(POLICIES)

    def write_policies(self, policies: Mapping[str, Sequence[Manifest]]) -> None:
        """Returns when they are in force."""
        self._policies = policies
        self.proxy.write_policies(policies)

    def create(self, caller: Caller, *names: str, visible: bool = True) -> None:
        """Objects the caller may see, or may not."""
        for name in names:
            self.cluster.create(caller.manifest(name, visible=visible))

    def change(self, caller: Caller, name: str, *, visible: bool = True) -> None:
        """Set a label that says nothing."""
        mark = {"metadata": {"labels": {"changed": "yes"}}}
        self.cluster.patch(caller.manifest(name, visible=visible), mark)

    def delete(self, caller: Caller, name: str, *, visible: bool = True) -> None:
        """At once."""
        self.cluster.delete(caller.manifest(name, visible=visible))

    def move(self, caller: Caller, name: str, change: Mapping[str, Any] | None) -> None:
        """Apply the caller's `reveal` or `hide` to an object."""
        assert change is not None
        self.cluster.patch(caller.manifest(name, visible=True), change, subresource=caller.subresource)

    def truth(self, caller: Caller, spaces: Sequence[str] | None = None) -> dict[tuple[str, str], str]:
        """What the real API server has of what the caller may see: resourceVersions by namespace and name."""
        listed = self.cluster.admin.get(f"/api/v1/{caller.resource}", params=dict(caller.question)).json()["items"]
        chosen = spaces or caller.spaces
        items = [described(each) for each in listed]
        return {
            (item["namespace"], item["name"]): item["resourceVersion"]
            for item in items
            if chosen is None or item["namespace"] in chosen
        }

    def direct_watch(self, caller: Caller) -> WatchStream:
        """An admin's watch of the same question, on the real API server, from now on."""
        path = f"/api/v1/{caller.resource}"
        rv = self.cluster.admin.get(path, params={"limit": "1"}).json()["metadata"]["resourceVersion"]
        return WatchStream(self.cluster.admin, path, {**caller.question, "resourceVersion": rv})

    def told_directly(self, watch: WatchStream, caller: Caller, *, until: str) -> list[tuple[str, str, str]]:
        """(type, name, resourceVersion) of the events that concern the caller, up to the object named `until`."""
        watch.take_until(lambda event: bool(event["object"]["metadata"]["name"] == until))
        return [
            (event["type"], metadata["name"], metadata["resourceVersion"])
            for event in watch.events
            if (metadata := event["object"]["metadata"]) and metadata["namespace"] in (caller.spaces or SPACES)
        ]

    def settle(self, program: Program, caller: Caller, spaces: Sequence[str] | None = None) -> None:
        """Return when the program's copy is the truth."""
        truth = self.truth(caller, spaces)

        def is_settled() -> bool:
            program.check()
            held = {key: item["resourceVersion"] for key, item in dict(program.copy.items).items()}
            if program.library.keeps_the_vanished:
                held = {key: rv for key, rv in held.items() if key in truth}
            return held == truth

        poll(
            is_settled,
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: (
                f"{program.library} holds {program.copy.items}, there is {truth}\n{program.said[-5:]}\n"
                f"{log_tail(program.errors)}"
            ),
        )

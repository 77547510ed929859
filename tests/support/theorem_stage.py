"""The stage of the theorem: a cluster, a proxy, replicas that watch through it, and a workload of random operations.

One thread acts; the replicas run in threads of their own. `settle` is where the play stops: everything written is known
to be in force, every replica is as far as the cluster, and what they saw since is judged.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from proxy.policy.load import load_policies
from tests.support.identities import ADMIN, Identity
from tests.support.link import Link
from tests.support.manifests import Manifest, pod
from tests.support.manifests import namespace as namespace_manifest
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.question import Question
from tests.support.realkube import RealCluster
from tests.support.recorder import Recorder
from tests.support.replica import Replica
from tests.support.theorem import SECRET, Court
from tests.support.theorem_policies import CANARY, NODES, STAGES, TEAMS, TIERS, TOKENS, Policies
from tests.support.watching import WatchStream
from tests.support.worlds import Era, Worlds

SETTLE_SECONDS = 40.0  # bounds a hang; a replica relists within a second
BOOKMARK_SECONDS = "0.2"
EXPIRES_SECONDS = 2

_MAX_PODS = 5  # in one namespace
_PHASES = ("Pending", "Running", "Succeeded", "Failed")
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"

Ask = tuple[tuple[Identity, ...], Question]


class Stage:
    """One play; a context manager. `questions` are the replicas, each with its credentials.

    `watch_delay_ms` None puts the proxy straight in front of the cluster, else behind a link on which watches lag.
    """

    _plays = 0

    def __init__(
        self,
        cluster: RealCluster,
        directory: Path,
        questions: Callable[[str], Sequence[Ask]],
        *,
        seed: int,
        watch_delay_ms: int | None = None,
    ) -> None:
        Stage._plays += 1
        self.prefix = f"play{Stage._plays}-"
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.replicas: list[Replica] = []
        self._cluster = cluster
        self._directory = directory
        self._questions = questions(self.prefix)
        self._watch_delay_ms = watch_delay_ms
        self._chance = random.Random(seed)
        self._policies = Policies(self._chance, self.prefix)
        self._labels: dict[str, dict[str, str]] = {}
        self._pods: dict[tuple[str, str], Manifest] = {}
        self._secrets = 0
        self._written = 0
        self._expires: float | None = None
        self._files: dict[str, Sequence[Manifest]] = {}
        self._link: Link | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exits.close()

    def _open(self) -> None:
        cluster = self._cluster
        for each in cluster.admin.get("/api/v1/namespaces").raise_for_status().json()["items"]:
            self._labels[each["metadata"]["name"]] = each["metadata"].get("labels", {})
        self._worlds = Worlds([Era(self._labels_now(), 0)])
        self._exits.callback(self._clean_up)
        for name in ("team-a", "team-b", "team-c", "other-a", "marks"):
            self._create_namespace(self.prefix + name)
        self._marker = pod("mark", self.prefix + "marks")
        cluster.create(self._marker)
        upstream = None
        if self._watch_delay_ms is not None:
            certificate = cluster.client_certificate(cluster.proxy_identity.name)
            self._link = Link(cluster.url, cluster.pki, certificate, watch_delay_ms=self._watch_delay_ms)
            upstream = self._exits.enter_context(self._link).url
        self._recorder = self._exits.enter_context(Recorder(cluster.admin))
        self._next_policy(expires=False)
        flags = ("--watch-bookmark-interval", BOOKMARK_SECONDS)
        self.proxy = ProxyProcess(cluster, self._directory, self._files, upstream=upstream, flags=flags, tokens=TOKENS)
        self._exits.enter_context(self.proxy)
        self._canary = self.proxy.client(CANARY)
        self._exits.callback(self._canary.close)
        self._admin = self.proxy.client(ADMIN)
        self._exits.callback(self._admin.close)
        self._court = Court(self._worlds, self._recorder.versions)
        for _ in range(12):
            self.create_pod()
        for number, (callers, question) in enumerate(self._questions):
            replica = Replica(
                callers,
                question,
                connect=self.proxy.client,
                tick=lambda: self._worlds.tick,
                written=lambda: self._written,
                seed=f"{self.seed}/{number}",
            )
            self.replicas.append(self._exits.enter_context(replica))

    def _clean_up(self) -> None:
        for key in list(self._pods):
            self._cluster.delete(self._pods[key])
        if hasattr(self, "_marker"):
            self._cluster.delete(self._marker)
        for name in [each for each in self._labels if each.startswith(self.prefix)]:
            self._cluster.delete_namespace(name)

    # --- what can happen ---

    def play(self, operations: int) -> None:
        """So many random operations, with a stop now and then."""
        acts = [act for act, weight in self._acts for _ in range(weight)]
        for _ in range(operations):
            act = self._chance.choice(acts)
            self.counts[act.__name__.strip("_")] += 1
            act()

    @property
    def _acts(self) -> Sequence[tuple[Callable[[], None], int]]:
        return (
            (self.create_pod, 12),
            (self._relabel_pod, 14),
            (self._bind_pod, 8),
            (self._change_phase, 12),
            (self._delete_pod, 7),
            (self._recreate_pod, 4),
            (self._relabel_namespace, 6),
            (self._come_or_go_namespace, 2),
            (self.change_policy, 7),
            (self._change_policy_and_go_on, 5),
            (self._let_expire, 1),
            (self._spoil_policy, 1),
            (self._reconnect, 5),
            (self._rewind, 4),
            (self._start_over, 4),
            (self._crowd, 4),
            (self._overtake, 0 if self._link is None else 3),
            (self._pause, 4),
            (self._resume, 5),
            (self._switch, 2),
            (self.settle, 3),
        )

    def create_pod(self) -> None:
        """A new pod somewhere, if there is room."""
        place = self._chance.choice(self._places())
        free = [name for name in (f"p{slot}.{place}" for slot in range(_MAX_PODS)) if (place, name) not in self._pods]
        if free:
            self._create_pod(place, self._chance.choice(free))

    def _create_pod(self, place: str, name: str) -> None:
        node = self._chance.choice((None, *NODES))
        manifest = pod(name, place, labels=self._pod_labels(), node=node)
        manifest["metadata"]["annotations"] = {SECRET: self._secret()}
        self._wrote(self._cluster.create(manifest))
        self._pods[place, name] = manifest

    def _relabel_pod(self) -> None:
        if manifest := self._any_pod():
            labels = {"tier": None, "app": None} | self._pod_labels()
            change = {"metadata": {"labels": labels, "annotations": {SECRET: self._secret()}}}
            self._wrote(self._cluster.patch(manifest, change))

    def _bind_pod(self) -> None:
        manifest = self._any_pod()
        if manifest is None or "nodeName" in manifest["spec"]:
            return
        node = self._chance.choice(NODES)
        metadata = {"name": manifest["metadata"]["name"], "annotations": {SECRET: self._secret()}}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"kind": "Node", "name": node},
        }
        response = self._cluster.admin.post(f"{self._cluster.path(manifest)}/binding", json=binding)
        response.raise_for_status()
        manifest["spec"]["nodeName"] = node

    def _change_phase(self) -> None:
        if manifest := self._any_pod():
            change: Manifest = {"metadata": {"annotations": {SECRET: self._secret()}}}
            change["status"] = {"phase": self._chance.choice(_PHASES)}
            self._wrote(self._cluster.patch(manifest, change, subresource="status"))

    def _delete_pod(self) -> None:
        if manifest := self._any_pod():
            self._cluster.delete(manifest)
            del self._pods[_key(manifest)]

    def _recreate_pod(self) -> None:
        manifest = self._any_pod()
        if manifest is not None and manifest["metadata"]["namespace"] in self._places():
            self._cluster.delete(manifest)
            self._create_pod(*_key(manifest))

    def _relabel_namespace(self) -> None:
        place = self._chance.choice(self._places())
        key, values = self._chance.choice((("team", TEAMS), ("stage", STAGES)))
        value = self._chance.choice((None, *values))
        labels = {**self._labels[place], key: value}
        self._labels[place] = {each: text for each, text in labels.items() if text is not None}
        self._worlds.begin_labels(self._labels_now())
        self._cluster.patch(namespace_manifest(place), {"metadata": {"labels": {key: value}}})

    def _come_or_go_namespace(self) -> None:
        name = f"{self.prefix}new"
        if name not in self._labels:
            self._create_namespace(name)
            return
        del self._labels[name]  # its pods stay, since there is no controller
        self._worlds.begin_labels(self._labels_now())
        self._cluster.delete_namespace(name)

    def _create_namespace(self, name: str) -> None:
        labels = {}
        if self._chance.random() < 0.7:
            labels["team"] = self._chance.choice(TEAMS)
        if self._chance.random() < 0.7:
            labels["stage"] = self._chance.choice(STAGES)
        self._labels[name] = {**labels, _NAMESPACE_LABEL: name}
        self._worlds.begin_labels(self._labels_now())
        self._cluster.create_namespace(name, labels=labels)

    def change_policy(self) -> None:
        """Another policy; returns when it is in force."""
        self._change_policy_and_go_on()
        self._await_policy()

    def _change_policy_and_go_on(self) -> None:
        self._next_policy(expires=False)
        self.proxy.write_policies(self._files, wait=False)

    def _let_expire(self) -> None:
        self._next_policy(expires=True)
        self.proxy.write_policies(self._files, wait=False)

    def _spoil_policy(self) -> None:
        self._await_policy()
        refused = self.proxy.log.read_text().count("stays in force")
        self.proxy.write_policies(self._policies.spoilt(), wait=False)
        poll(
            lambda: self.proxy.log.read_text().count("stays in force") > refused,
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: f"the mistake is not noticed\n{log_tail(self.proxy.log)}",
        )
        self.create_pod()
        self.proxy.write_policies(self._files, wait=False)

    def _reconnect(self) -> None:
        self._chance.choice(self.replicas).reconnect()

    def _rewind(self) -> None:
        self._chance.choice(self.replicas).reconnect(rewind=True)

    def _start_over(self) -> None:
        replica = self._chance.choice(self.replicas)
        replica.pause()
        replica.start_over()

    def _crowd(self) -> None:
        """All clients of a user start over while a change is on its way to the proxy, and pods change meanwhile."""
        crowd = self._clients_of_one_user()
        for replica in crowd:
            replica.pause()
        self._chance.choice((self._relabel_namespace, self._relabel_namespace, self._change_policy_and_go_on))()
        self._relabel_pod()
        for replica in crowd:
            replica.start_over()
        self._relabel_pod()

    def _overtake(self) -> None:
        """A policy comes into force while reads of some, and of all clients of a user, are on their way upstream."""
        assert self._link is not None
        self._await_policy()
        overtaken = [*self._clients_of_one_user(), *self._chance.sample(self.replicas, 3)]
        for replica in overtaken:
            replica.pause()
        self._link.freeze()
        answered = {replica: len(replica.verdicts) for replica in overtaken}
        for replica in overtaken:
            replica.start_over()
        poll(
            lambda: all(each.is_waiting or len(each.verdicts) > answered[each] for each in overtaken),
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: f"they do not ask: {[each.progress for each in overtaken if not each.is_waiting]}",
        )
        self._next_policy(expires=False)
        self.proxy.write_policies(self._files)
        self._worlds.confirm_policy(self._mark(), time.time())
        self._relabel_pod()
        self._link.thaw()

    def _clients_of_one_user(self) -> list[Replica]:
        name = self._chance.choice([each.caller.name for each in self.replicas])
        return [each for each in self.replicas if each.caller.name == name]

    def _switch(self) -> None:
        self._chance.choice([each for each in self.replicas if len(each.callers) > 1]).reconnect(switch=True)

    def _pause(self) -> None:
        self._chance.choice(self.replicas).pause()

    def _resume(self) -> None:
        if paused := [each for each in self.replicas if each.is_paused]:
            self._chance.choice(paused).resume()

    # --- where the play stops ---

    def settle(self) -> None:
        """Returns when all that was written is in force and every replica on stage is as far; judges what they saw."""
        confirmed = self._confirm()
        now = time.time()
        self._worlds.confirm(confirmed, now)
        tick = self._worlds.tick
        rv = self._mark()
        self._recorder.wait_for(rv)
        poll(
            lambda: all(each.is_paused or each.is_settled(rv, tick) for each in self.replicas),
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: (
                "not as far as the cluster: "
                + str([each.progress for each in self.replicas if not each.is_settled(rv, tick)])
                + f" of {rv}\n{log_tail(self.proxy.log)}"
            ),
        )
        findings = self._court.findings(self.replicas)
        assert not findings, f"seed {self.seed}: " + "\n".join(finding[:1500] for finding in findings[:5])

    def resume_all(self) -> None:
        """Everybody back on stage."""
        for replica in self.replicas:
            replica.resume()

    def leaks(self) -> list[str]:
        """What stood in answers to somebody who was never to see it."""
        return self._court.leaks(self.replicas)

    @property
    def judged(self) -> int:
        """How many states were compared with the truth."""
        return self._court.judged

    def total(self, what: str) -> int:
        """How often something happened to all replicas together."""
        return sum(each.counts[what] for each in self.replicas)

    def restart_proxy(self, signum: signal.Signals) -> None:
        """The proxy goes and comes back, under the newest policy."""
        self.proxy.stop(signum=signum)
        self.proxy.start()

    def restart_api_server(self) -> None:
        """The API server goes and comes back while nobody writes."""
        self._recorder.wait_for(self._mark())
        self._cluster.restart()
        self._recorder.resume()

    def _confirm(self) -> int:
        """Returns the resourceVersion of a write before which all that was written had come into force."""
        self._await_policy()
        return self._await_namespaces()

    def _await_policy(self) -> None:
        if self._expires is not None:
            poll(
                lambda: self._expires is not None and time.time() > self._expires,
                timeout_seconds=SETTLE_SECONDS,
                failure=lambda: "time stands still",
            )
        poll(
            lambda: self._canary.get(self._policies.epoch_path).status_code == HTTPStatus.NOT_FOUND,
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: f"the policy does not come into force\n{log_tail(self.proxy.log)}",
        )

    def _await_namespaces(self) -> int:
        """The proxy has heard of all namespaces: its own shared watch of them tells of one write more."""
        place = namespace_manifest(f"{self.prefix}marks")
        while True:
            listed = self._admin.get("/api/v1/namespaces").raise_for_status().json()["metadata"]["resourceVersion"]
            patch = {"metadata": {"annotations": {"mark": self._secret()}}}
            rv = int(self._cluster.patch(place, patch)["metadata"]["resourceVersion"])
            if self._hears_of_namespaces(listed, rv):
                return rv

    def _hears_of_namespaces(self, start: str, rv: int) -> bool:
        """Waits for the event of the write at `rv`; False when the watch ends before."""
        with WatchStream(self._admin, "/api/v1/namespaces", {"resourceVersion": start}) as watch:
            try:
                watch.take_until(lambda event: int(event["object"]["metadata"].get("resourceVersion", 0)) >= rv)
            except EOFError:
                return False
        return True

    def _mark(self) -> int:
        patch = {"metadata": {"annotations": {SECRET: self._secret()}}}
        return self._wrote(self._cluster.patch(self._marker, patch))

    def _next_policy(self, *, expires: bool) -> None:
        self._expires = float(int(time.time()) + EXPIRES_SECONDS) if expires else None
        self._files = dict(self._policies.change(expires=self._expires))
        text = {name: yaml.safe_dump_all(list(each)).encode() for name, each in self._files.items()}
        loaded = load_policies(text)
        assert not loaded.has_errors, loaded.findings
        self._worlds.begin_policy(loaded.policy, self._expires)

    # --- small things ---

    def _wrote(self, answer: Manifest) -> int:
        self._written = int(answer["metadata"]["resourceVersion"])
        return self._written

    def _places(self) -> list[str]:
        return [name for name in self._labels if name.startswith(self.prefix) and name != f"{self.prefix}marks"]

    def _any_pod(self) -> Manifest | None:
        live = [each for each in self._pods.values() if each["metadata"]["namespace"] in self._labels]
        return self._chance.choice(live) if live else None

    def _pod_labels(self) -> dict[str, str]:
        labels = {"tier": self._chance.choice((None, *TIERS)), "app": self._chance.choice(("a", "b"))}
        return {key: value for key, value in labels.items() if value is not None}

    def _labels_now(self) -> dict[str, dict[str, str]]:
        return {name: dict(labels) for name, labels in self._labels.items()}

    def _secret(self) -> str:
        self._secrets += 1
        return f"secret-{self._secrets}"


def _key(manifest: Manifest) -> tuple[str, str]:
    return (manifest["metadata"]["namespace"], manifest["metadata"]["name"])

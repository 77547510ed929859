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
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from proxy.policy.load import load_policies
from tests.support.identities import ADMIN, Identity
from tests.support.in_force import InForce
from tests.support.link import Link
from tests.support.manifests import Manifest
from tests.support.polling import poll
from tests.support.processes import log_tail
from tests.support.proxy_process import ProxyProcess
from tests.support.question import Question
from tests.support.realkube import RealCluster
from tests.support.recorder import Recorder
from tests.support.replica import Replica
from tests.support.theorem import Court
from tests.support.theorem_policies import TOKENS, Policies
from tests.support.theorem_workload import Workload
from tests.support.worlds import Era, Worlds

SETTLE_SECONDS = 40.0  # bounds a hang; a replica relists within a second
BOOKMARK_SECONDS = "0.2"
EXPIRES_SECONDS = 2

CONNECTIONS = 12
"""To several workers: that all go to one of two happens once in 2,000 times."""

_PODS = "/api/v1/pods"

Ask = tuple[tuple[Identity, ...], Question]


class Stage:
    """One play; a context manager. `questions` are the replicas, each with its credentials.

    `workers` are the processes of the proxy.
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
        flags: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        Stage._plays += 1
        self.prefix = f"play{Stage._plays}-"
        self.seed = seed
        self.cluster = cluster
        self.counts: Counter[str] = Counter()
        self.replicas: list[Replica] = []
        self._directory = directory
        self._questions = questions(self.prefix)
        self._watch_delay_ms = watch_delay_ms
        self._flags = flags
        self._workers = workers
        self._chance = random.Random(seed)
        self._policies = Policies(self._chance, self.prefix)
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
        cluster = self.cluster
        found = cluster.admin.get("/api/v1/namespaces").raise_for_status().json()["items"]
        labels = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in found}
        self._worlds = Worlds([Era(labels, 0)])
        self._workload = Workload(cluster, self._worlds, self._chance, prefix=self.prefix, labels=dict(labels))
        self._exits.callback(self._workload.tear_down)
        self._workload.set_up()
        upstream = None
        if self._watch_delay_ms is not None:
            certificate = cluster.client_certificate(cluster.proxy_identity.name)
            self._link = Link(cluster.url, cluster.pki, certificate, watch_delay_ms=self._watch_delay_ms)
            upstream = self._exits.enter_context(self._link).url
        self._recorder = self._exits.enter_context(Recorder(cluster.admin))
        self._next_policy(expires=False)
        flags = ("--watch-bookmark-interval", BOOKMARK_SECONDS, "--workers", str(self._workers), *self._flags)
        self.proxy = ProxyProcess(cluster, self._directory, self._files, upstream=upstream, flags=flags, tokens=TOKENS)
        self._exits.enter_context(self.proxy)
        self._in_force = self._exits.enter_context(
            InForce(self.proxy, connections=1 if self._workers == 1 else CONNECTIONS)
        )
        self._court = Court(self._worlds, self._recorder.versions)
        for number, (callers, question) in enumerate(self._questions):
            replica = Replica(
                callers,
                question,
                connect=self.proxy.client,
                tick=lambda: self._worlds.tick,
                written=lambda: self._workload.written,
                seed=f"{self.seed}/{number}",
            )
            self.replicas.append(self._exits.enter_context(replica))

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
            *self._workload.acts,
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
        self._workload.create_pod()
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
        self._chance.choice(
            (self._workload.relabel_namespace, self._workload.relabel_namespace, self._change_policy_and_go_on)
        )()
        self._workload.relabel_pod()
        for replica in crowd:
            replica.start_over()
        self._workload.relabel_pod()

    def _overtake(self) -> None:
        """A policy comes into force while reads of some, and of all clients of a user, are on their way upstream."""
        assert self._link is not None
        self._await_policy()
        overtaken = [*self._clients_of_one_user(), *self._chance.sample(self.replicas, 3)]
        for replica in overtaken:
            replica.pause()
        self._link.freeze()
        answered = {replica: len(replica.copy.verdicts) for replica in overtaken}
        for replica in overtaken:
            replica.start_over()
        poll(
            lambda: all(each.is_waiting or len(each.copy.verdicts) > answered[each] for each in overtaken),
            timeout_seconds=SETTLE_SECONDS,
            failure=lambda: f"they do not ask: {[each.progress for each in overtaken if not each.is_waiting]}",
        )
        self._next_policy(expires=False)
        self.proxy.write_policies(self._files)
        self._worlds.confirm_policy(self._workload.mark(), time.time())
        self._workload.relabel_pod()
        self._link.thaw()

    def _clients_of_one_user(self) -> list[Replica]:
        name = self._chance.choice([each.copy.caller.name for each in self.replicas])
        return [each for each in self.replicas if each.copy.caller.name == name]

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
        self._await_policy()
        confirmed = self._in_force.await_namespaces(self._workload.mark_namespace)
        self._worlds.confirm(confirmed, time.time())
        tick = self._worlds.tick
        rv = self._workload.mark()
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
        return sum(each.copy.counts[what] for each in self.replicas)

    def restart_proxy(self, signum: signal.Signals) -> None:
        """The proxy goes and comes back, under the newest policy."""
        self.proxy.stop(signum=signum)
        self.proxy.start()

    def restart_api_server(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """The API server goes and comes back while nobody writes."""
        self.without_writes(lambda: self.cluster.restart(signum=signum))

    def without_writes(self, fault: Callable[[], None]) -> None:
        """A fault in which the record of the truth may break off: nobody writes meanwhile."""
        self._recorder.wait_for(self._workload.mark())
        fault()
        self._recorder.resume()

    def write(self, writes: int) -> None:
        """So many random writes of objects, and nothing else."""
        acts = [act for act, weight in self._workload.acts for _ in range(weight)]
        for _ in range(writes):
            self._chance.choice(acts)()

    def recover(self) -> float:
        """Waits until the proxy serves and everybody is as far as the cluster, and judges; how many seconds it took."""
        began = time.monotonic()
        with self.proxy.client(ADMIN) as client:

            def is_served() -> bool:
                with client.stream("GET", _PODS, params={"watch": "1"}) as watch:
                    return watch.is_success and client.get(_PODS).is_success

            poll(
                is_served,
                timeout_seconds=SETTLE_SECONDS,
                failure=lambda: f"the proxy does not serve\n{log_tail(self.proxy.log)}",
            )
        self.settle()
        return time.monotonic() - began

    @property
    def link(self) -> Link:
        """The link between the proxy and the cluster, of a play that has one."""
        assert self._link is not None
        return self._link

    def _await_policy(self) -> None:
        self._in_force.await_policy(self._policies.epoch_path, self._expires)

    def _next_policy(self, *, expires: bool) -> None:
        self._expires = float(int(time.time()) + EXPIRES_SECONDS) if expires else None
        self._files = dict(self._policies.change(expires=self._expires))
        text = {name: yaml.safe_dump_all(list(each)).encode() for name, each in self._files.items()}
        loaded = load_policies(text)
        assert not loaded.has_errors, loaded.findings
        self._worlds.begin_policy(loaded.policy, self._expires)

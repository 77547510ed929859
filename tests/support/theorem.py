"""The theorem: what replicas saw, compared with the part of the truth that was theirs to see.

A state is right when it equals the authorised subset of the pods at its resourceVersion, whole, under one world that
may have been in force. So a ghost (something that should be gone) or a hole (something that should be there) is a
finding, also where each of two worlds would explain a part.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.support.identities import Identity
from tests.support.question import Form, Json, Key, Question, Shown
from tests.support.recorder import Version, apply
from tests.support.replica import Replica
from tests.support.strict_copy import Secrets, Sighting, State, Verdict
from tests.support.worlds import Judge, World, Worlds

SECRET = "secret"


class Court:
    """Compares. `versions` is the truth, and grows; what it says of an answer it says once."""

    def __init__(self, worlds: Worlds, versions: Sequence[Version]) -> None:
        self.judged = 0
        self._worlds = worlds
        self._versions = versions
        self._judge = Judge()
        self._same: dict[int, tuple[Shown, Json]] = {}

    def findings(self, replicas: Iterable[Replica]) -> list[str]:
        """What is wrong with what the replicas saw since the last time; all of it must be in the truth by now."""
        found = [breach for replica in replicas for breach in replica.breaches]
        waiting = []
        for replica in replicas:
            copy = replica.copy
            taken, copy.sightings = copy.sightings, []
            waiting += [(sighting, copy.question, caller) for caller, sighting in taken]
            verdicts, copy.verdicts = copy.verdicts[:-1], copy.verdicts[-1:]
            found += [
                text for caller, verdict in verdicts if (text := self._try_verdict(caller, copy.question, verdict))
            ]
        waiting.sort(key=lambda each: each[0].seen.rv or 0)
        state: dict[Key, Json] = {}
        position = 0
        for sighting, question, caller in waiting:
            rv = sighting.seen.rv or 0
            while position < len(self._versions) and self._versions[position].rv <= rv:
                apply(state, self._versions[position])
                position += 1
            if text := self._try_sighting(caller, question, sighting, state):
                found.append(text)
        self.judged += len(waiting)
        return found

    def leaks(self, replicas: Iterable[Replica]) -> list[str]:
        """Which secrets stood in answers to somebody who was never to see the version of the pod that carries them."""
        carriers: dict[str, list[Json]] = defaultdict(list)
        for version in self._versions:
            if version.pod is not None:
                carriers[version.pod["metadata"].get("annotations", {}).get(SECRET, "")].append(version.pod)
        found = []
        for replica in replicas:
            taken, replica.copy.secrets = replica.copy.secrets, []
            for caller, secrets in taken:
                leaked = self._leaked(caller, replica.copy.question, secrets, carriers)
                if leaked:
                    found.append(f"{replica.name}: {sorted(leaked)} in an answer {secrets.seen}")
        return found

    def _leaked(
        self, caller: Identity, question: Question, secrets: Secrets, carriers: dict[str, list[Json]]
    ) -> set[str]:
        worlds = list(self._worlds.possible(secrets.seen))
        return {
            mark
            for mark in secrets.marks
            if not any(self._judge.sees(world, caller, question, pod) for pod in carriers[mark] for world in worlds)
        }

    def _try_verdict(self, caller: Identity, question: Question, verdict: Verdict) -> str | None:
        worlds = self._worlds.possible(verdict.seen)
        if any(self._judge.may_ask(world, caller, question) is verdict.allowed for world in worlds):
            return None
        return f"{caller.name} {question} was {'let in' if verdict.allowed else 'refused'}, {verdict.seen}"

    def _try_sighting(
        self, caller: Identity, question: Question, sighting: Sighting, truth: dict[Key, Json]
    ) -> str | None:
        differences = []
        for world in self._worlds.possible(sighting.seen):
            difference = self._difference(world, caller, question, sighting.state, truth)
            if difference is None:
                return None
            differences.append(difference)
        return f"{caller.name} {question}, {sighting.what} {sighting.seen}: {' | '.join(differences)}"

    def _difference(
        self, world: World, caller: Identity, question: Question, state: State, truth: dict[Key, Json]
    ) -> str | None:
        form = question.form
        expected = {form.key(pod): pod for pod in truth.values() if self._judge.sees(world, caller, question, pod)}
        if expected.keys() != state.keys():
            ghosts, holes = sorted(state.keys() - expected.keys()), sorted(expected.keys() - state.keys())
            return f"ghosts {[state[key][:2] for key in ghosts]}, holes {holes}"
        stale = [key for key, shown in state.items() if not self._is_same(form, shown, expected[key])]
        return f"other content of {stale}" if stale else None

    def _is_same(self, form: Form, shown: Shown, pod: Json) -> bool:
        if self._same.get(id(shown), (shown, None))[1] is pod:
            return True
        same = shown.rv in ("", pod["metadata"]["resourceVersion"]) and shown.content == form.content(pod)
        if same:
            self._same[id(shown)] = (shown, pod)
        return same

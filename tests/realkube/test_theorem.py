"""The theorem on a real cluster: what a client has is what it may see, at every moment it can name.

Random policies, users and workloads, seeded. Every list, event and bookmark that a replica receives names a
resourceVersion; there its state must equal the authorised subset of the true state, under one policy and one set of
namespace labels that may have been in force. The truth comes from a watch directly at the API server, the subset from
the one-page specification in tests/spec.
"""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.identities import ADMIN
from tests.support.question import Form, Question
from tests.support.realkube import RealCluster
from tests.support.theorem_policies import ALICE, CAROL_A, CAROL_B, GUS, LENA, MIA, NADIA, NOBODY, NODE1
from tests.support.theorem_stage import Ask, Stage

pytestmark = pytest.mark.timeout(240, func_only=True)

ALL = Question()
LAG_MS = 300


def everybody(prefix: str) -> Sequence[Ask]:
    """Every user with a cluster-wide question, and every form and way to narrow a question for some of them."""
    return (
        *(((user,), ALL) for user in (ADMIN, ALICE, NODE1, LENA, NADIA, GUS, MIA, NOBODY)),
        ((CAROL_A, CAROL_B), ALL),
        ((ALICE,), Question(form=Form.METADATA)),
        ((NODE1,), Question(form=Form.TABLE_OBJECT)),
        ((NADIA,), Question(form=Form.TABLE_METADATA)),
        ((GUS,), Question(form=Form.TABLE_NONE)),
        ((ALICE,), Question(namespace=f"{prefix}team-a")),
        ((NADIA,), Question(namespace=f"{prefix}team-b")),
        ((LENA,), Question(labels=(("app", "a"),))),
        ((ADMIN,), Question(form=Form.METADATA, fields=(("spec.nodeName", "node1"),))),
        ((MIA,), Question(fields=(("status.phase", "Running"),))),
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_each_replica_equals_its_authorised_subset_at_every_bookmark(
    real_cluster: RealCluster, tmp_path: Path, seed: int
) -> None:
    """And at every event and list in between."""
    with Stage(real_cluster, tmp_path, everybody, seed=seed) as stage:
        stage.play(300)
        finish(stage)


@pytest.mark.parametrize("seed", [15])
def test_each_replica_equals_its_authorised_subset_whichever_worker_serves_it(
    real_cluster: RealCluster, tmp_path: Path, seed: int
) -> None:
    """A replica lists at one worker and watches at another, and comes back to either."""
    with Stage(real_cluster, tmp_path, everybody, seed=seed, workers=2) as stage:
        stage.play(200)
        finish(stage)


@pytest.mark.parametrize("seed", [3, 4])
def test_each_replica_equals_its_authorised_subset_when_watches_lag(
    real_cluster: RealCluster, tmp_path: Path, seed: int
) -> None:
    """A proxy that hears of a change later than a fresh read shows it mixes up nothing."""
    with Stage(real_cluster, tmp_path, everybody, seed=seed, watch_delay_ms=LAG_MS) as stage:
        stage.play(200)
        finish(stage)


def test_each_replica_equals_its_authorised_subset_across_restarts_of_the_proxy(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """Graceful or not: what a client brings back from before is either continued rightly or refused."""
    with Stage(real_cluster, tmp_path, everybody, seed=5) as stage:
        for signum in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            stage.play(40)
            stage.restart_proxy(signum)
        stage.play(40)
        finish(stage)


def test_each_replica_equals_its_authorised_subset_across_a_restart_of_the_api_server(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    """The proxy's own watches break off and come back."""
    with Stage(real_cluster, tmp_path, everybody, seed=6) as stage:
        stage.play(60)
        stage.restart_api_server()
        stage.play(60)
        finish(stage)


def test_no_replica_ever_sees_an_object_outside_its_scope(real_cluster: RealCluster, tmp_path: Path) -> None:
    """Every version of a pod carries a secret: none is in any byte that is sent to somebody who may not see it."""
    with Stage(real_cluster, tmp_path, everybody, seed=7, watch_delay_ms=LAG_MS) as stage:
        stage.play(200)
        finish(stage)
        leaks, secrets = stage.leaks(), stage.total("secrets")
        assert secrets
        assert not leaks, "\n".join(leaks[:5])


def finish(stage: Stage) -> None:
    """Settles with everybody there, and makes sure that something happened at all."""
    stage.resume_all()
    stage.settle()
    happened = {what: stage.total(what) for what in ("ADDED", "MODIFIED", "DELETED", "bookmarks", "410", "forbidden")}
    print(f"seed {stage.seed}: {stage.judged} states, {dict(stage.counts)}, {happened}")
    assert all(happened.values()), happened

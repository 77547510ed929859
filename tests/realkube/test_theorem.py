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


def finish(stage: Stage) -> None:
    """Settles with everybody there, and makes sure that something happened at all."""
    stage.resume_all()
    stage.settle()
    print(f"seed {stage.seed}: {stage.judged} states, {dict(stage.counts)}")
    for what in ("ADDED", "MODIFIED", "DELETED", "bookmarks", "410", "rewinds", "forbidden", "pages"):
        assert stage.total(what), f"nothing of `{what}` happened"

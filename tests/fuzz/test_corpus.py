"""Every kept input through its harness, without the fuzzer: what was found once stays repaired.

Beside it, inputs near the kept ones, so that the harnesses' statements are also tried where no fuzzer is installed.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.registry import CORPUS, HARNESSES, kept_inputs

MAX_CORPUS_BYTES = 1024 * 1024
MAX_INPUTS = 99
ALL_INPUTS = [pytest.param(name, path, id=f"{name}/{path.name}") for name in HARNESSES for path in kept_inputs(name)]
NAMES = pytest.mark.parametrize("name", HARNESSES)
NEARBY_EXAMPLES = 60


@cache
def contents(name: str) -> list[bytes]:
    """What the kept inputs of a harness hold."""
    return [path.read_bytes() for path in kept_inputs(name)]


@pytest.mark.parametrize(("name", "path"), ALL_INPUTS)
def test_a_kept_input_holds(name: str, path: Path) -> None:
    HARNESSES[name](path.read_bytes())


@NAMES
@given(data=st.data())
@settings(max_examples=NEARBY_EXAMPLES, deadline=None)
def test_what_is_near_a_kept_input_holds(name: str, data: st.DataObject) -> None:
    """A kept input with a piece cut out and a piece of another, or anything, in its place."""
    whole, other = data.draw(st.sampled_from(contents(name))), data.draw(st.sampled_from(contents(name)))
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    other_start = data.draw(st.integers(0, len(other)))
    other_end = data.draw(st.integers(other_start, min(len(other), other_start + 20)))
    piece = data.draw(st.just(other[other_start:other_end]) | st.binary(max_size=4))
    HARNESSES[name](whole[:start] + piece + whole[end:])


@NAMES
@given(data=st.binary(max_size=200))
@settings(max_examples=NEARBY_EXAMPLES, deadline=None)
def test_any_bytes_hold(name: str, data: bytes) -> None:
    HARNESSES[name](data)


@NAMES
def test_a_corpus_is_kept_small(name: str) -> None:
    """It is read by people and run by every check: what covers nothing new is not kept."""
    assert 0 < len(kept_inputs(name)) <= MAX_INPUTS


def test_the_corpus_is_of_the_harnesses_and_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)
    assert sum(path.stat().st_size for name in HARNESSES for path in kept_inputs(name)) < MAX_CORPUS_BYTES


def test_make_fuzz_runs_every_harness() -> None:
    makefile = (CORPUS.parents[2] / "Makefile").read_text()
    listed = re.search(r"^FUZZ_TARGETS := (.*)$", makefile, re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) == set(HARNESSES)

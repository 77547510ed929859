"""What e2e.test reports, and the comparison of two runs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PASSED = "passed"
_NOT_RUN = frozenset({"skipped", "pending"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One test. `state` is ginkgo's: `passed`, `failed`, `panicked`, `timedout`, `interrupted`, `skipped`."""

    state: str
    attempts: int
    seconds: float
    message: str


def read_report(path: Path) -> dict[str, Result]:
    """The tests that began, by their full names, from `--ginkgo.json-report`."""
    results = {}
    for suite in json.loads(path.read_text()):
        for spec in suite["SpecReports"]:
            message = spec.get("Failure", {}).get("Message", "")
            if spec["LeafNodeType"] != "It" or (spec["State"] in _NOT_RUN and not message):
                continue  # a hook of the suite, or a test that was not asked for
            name = " ".join([*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]])
            attempts = spec["NumAttempts"]
            results[name] = Result(
                state=spec["State"], attempts=attempts, seconds=spec["RunTime"] / 1e9, message=message
            )
    return results


def broken_by_the_proxy(direct: Mapping[str, Result], proxied: Mapping[str, Result]) -> list[str]:
    """Names of what passes directly and does not through the proxy; what did not begin there did not pass."""
    return [
        name
        for name, result in direct.items()
        if result.state == PASSED and (name not in proxied or proxied[name].state != PASSED)
    ]


def table(direct: Mapping[str, Result], proxied: Mapping[str, Result]) -> Iterator[str]:
    """A line for each test, the failed ones last with what they said."""
    names = sorted(direct.keys() | proxied.keys(), key=lambda name: (_rank(direct, proxied, name), name))
    yield f"{'direct':>16}  {'proxy':>16}  test"
    for name in names:
        yield f"{_cell(direct.get(name))}  {_cell(proxied.get(name))}  {name}"
        for side, results in (("direct", direct), ("proxy", proxied)):
            if name in results and results[name].state not in {PASSED, *_NOT_RUN}:
                yield f"    {side}: {' '.join(results[name].message.split())[:600]}"


def _rank(direct: Mapping[str, Result], proxied: Mapping[str, Result], name: str) -> int:
    return int(any(side[name].state not in {PASSED, *_NOT_RUN} for side in (direct, proxied) if name in side))


def _cell(result: Result | None) -> str:
    if result is None:
        return f"{'did not begin':>16}"
    again = f" ({result.attempts})" if result.attempts > 1 else ""
    return f"{result.state + again:>9}{result.seconds:>6.1f}s".rjust(16)

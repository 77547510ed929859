"""What the comparison of two runs calls broken."""

import json
from pathlib import Path

from tests.conformance.results import Result, broken_by_the_proxy, read_report, table

GOOD = Result(state="passed", attempts=1, seconds=1.0, message="")
BAD = Result(state="failed", attempts=2, seconds=2.0, message="no\nluck")


def test_what_passes_directly_and_not_through_the_proxy_is_broken() -> None:
    direct = {"a": GOOD, "b": GOOD, "c": GOOD, "d": BAD}
    assert broken_by_the_proxy(direct, {"a": GOOD, "b": BAD, "d": BAD}) == ["b", "c"]
    assert broken_by_the_proxy(direct, dict.fromkeys("abcd", GOOD)) == []


def test_the_table_ends_with_what_failed_and_why() -> None:
    lines = list(table({"a": BAD, "z": GOOD}, {"a": BAD, "z": GOOD}))
    assert [line.split()[-1] for line in lines] == ["test", "z", "a", "luck", "luck"]
    assert lines[2].split() == ["failed", "(2)", "2.0s", "failed", "(2)", "2.0s", "a"]


def test_a_report_gives_the_tests_that_began(tmp_path: Path) -> None:
    def spec(name: str, state: str, kind: str = "It", **failure: str) -> dict[str, object]:
        return {
            "ContainerHierarchyTexts": ["Watchers"],
            "LeafNodeText": name,
            "LeafNodeType": kind,
            "State": state,
            "NumAttempts": 1,
            "RunTime": 1_500_000_000,
            "Failure": failure,
        }

    specs = [spec("watch", "passed"), spec("not asked", "skipped"), spec("hook", "passed", kind="ReportAfterSuite")]
    specs.append(spec("off", "skipped", Message="the feature is off"))
    report = tmp_path / "report.json"
    report.write_text(json.dumps([{"SpecReports": specs}]))
    assert read_report(report) == {
        "Watchers watch": Result(state="passed", attempts=1, seconds=1.5, message=""),
        "Watchers off": Result(state="skipped", attempts=1, seconds=1.5, message="the feature is off"),
    }

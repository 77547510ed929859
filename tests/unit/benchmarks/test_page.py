"""The page that is made from what the rows gave."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.support.machine import Stamp
from benchmarks.support.page import BEGIN, END, write_page
from benchmarks.support.report import Check, Curve, RowResult
from benchmarks.support.results import merge, read_results, write_results

STAMP = Stamp(machine="2 × CPU", python="3.11", commit="abc", date="2026-01-01 00:00 UTC", load_average=0.1)


def result(row: str, value: float, *, void: str = "") -> RowResult:
    check = Check(name="cost", unit="×", value=value, low=value, high=value * 2, bar=1.0)
    curve = Curve(title="CPU", x="watchers", y="µs", series={"proxy": [(50, [value, 2.0]), (5000, [9.0])]})
    return RowResult(row=row, parameters="n 1", stamp=STAMP, void=void, checks=[check], curves=[curve])


def page(directory: Path) -> Path:
    path = directory / "performance.md"
    path.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    return path


def test_only_what_is_between_the_markers_is_replaced(tmp_path: Path) -> None:
    path = page(tmp_path)
    write_page(path, [result("fanout", 0.5)])
    written = path.read_text()
    assert written.startswith(f"before\n\n{BEGIN}\n")
    assert written.endswith(f"{END}\n\nafter\n")
    assert "old" not in written
    write_page(path, [result("fanout", 0.5)])
    assert path.read_text() == written


def test_a_bar_that_is_not_reached_says_so(tmp_path: Path) -> None:
    path = page(tmp_path)
    write_page(path, [result("fanout", 0.5), result("memory", 1.5), result("index", 0.5, void="a gap\nmore")])
    assert "| `fanout` | cost | 0.5 (0.5 – 1) × | ≤ 1 | yes |" in path.read_text()
    assert "| `memory` | cost | 1.5 (1.5 – 3) × | ≤ 1 | **no** |" in path.read_text()
    assert "| `index` | void: a gap | | | no |" in path.read_text()


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("text\n")
    with pytest.raises(ValueError, match="markers"):
        write_page(path, [result("fanout", 0.5)])
    assert path.read_text() == "text\n"


def test_every_plot_is_whole_xml_and_linked(tmp_path: Path) -> None:
    path = page(tmp_path)
    write_page(path, [result("a<b", 0.5)])
    plots = sorted((tmp_path / "performance").glob("*.svg"))
    assert [plot.name for plot in plots] == ["a<b-1.svg", "bars.svg"]
    for plot in plots:
        ElementTree.parse(plot)
        assert f"(performance/{plot.name})" in path.read_text()


def test_a_curve_without_positive_values_is_drawn_as_such(tmp_path: Path) -> None:
    path = page(tmp_path)
    empty = result("row", 0.5)
    empty.curves = [Curve(title="CPU", x="watchers", y="µs", series={"proxy": [(50, [0.0])]})]
    write_page(path, [empty])
    assert "no values" in (tmp_path / "performance" / "row-1.svg").read_text()


def test_a_run_of_some_rows_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_results(path) == []
    write_results(path, [result("a", 1.0), result("gone", 1.0), result("b", float("inf"))])
    merged = merge(read_results(path), [result("a", 2.0)], ["b", "a"])
    assert [(each.row, each.checks[0].value) for each in merged] == [("b", float("inf")), ("a", 2.0)]

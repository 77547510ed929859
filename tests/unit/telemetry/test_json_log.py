"""JSON logs: one object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import sys

from proxy.telemetry.json_log import formatter


def formatted(message: str, *arguments: object, **fields: object) -> str:
    record = logging.LogRecord("proxy.x", logging.WARNING, "x.py", 1, message, arguments, None)
    for name, value in fields.items():
        setattr(record, name, value)
    return formatter("json").format(record)


def test_a_record_is_an_object_with_its_time_level_logger_and_message() -> None:
    assert json.loads(formatted("policy %s is in force", "abc", created=1.5)) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "level": "warning",
        "logger": "proxy.x",
        "message": "policy abc is in force",
    }


def test_a_trace_stays_on_the_line_of_its_record() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = formatted("bug", exc_info=sys.exc_info())
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: two\nlines")


def test_bytes_that_are_not_utf_8_are_logged_all_the_same() -> None:
    """A file name may hold them."""
    assert json.loads(formatted("cannot read %s", "\udcff"))["message"] == "cannot read \\udcff"


def test_text_is_the_other_form() -> None:
    record = logging.LogRecord("proxy.x", logging.INFO, "x.py", 1, "hello", (), None)
    assert formatter("text").format(record).endswith("INFO proxy.x: hello")

"""Log records as one JSON object a line, for `--log-format json`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_encode = msgspec.json.Encoder().encode


class JsonFormatter(logging.Formatter):
    """`time` (RFC 3339, UTC), `level`, `logger`, `message`, and `exception` with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _unicode(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = _unicode(self.formatException(record.exc_info))
        return _encode(fields).decode()


def formatter(log_format: str) -> logging.Formatter:
    """The formatter of `--log-format`: `text` or `json`."""
    return JsonFormatter() if log_format == "json" else logging.Formatter(TEXT_FORMAT)


def _unicode(text: str) -> str:
    """Text that UTF-8 can carry: file names may hold bytes that are not."""
    return text.encode("utf-8", "backslashreplace").decode()

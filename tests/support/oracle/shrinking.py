"""Makes a request that is answered wrongly as plain as it can be and still is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.support.oracle.asked import Asked
from tests.support.oracle.judge import Judge, Wrong


def shrink(wrong: Wrong, judge: Judge) -> Wrong:
    """Leaves out what the difference does not need: headers, query parameters, the body."""
    shorter: Wrong | None = wrong
    while shorter is not None:
        wrong = shorter
        shorter = next(filter(None, map(judge.judge, _plainer(wrong.asked))), None)
    return wrong


def _plainer(asked: Asked) -> Iterator[Asked]:
    """The request with one thing less. A dry run stays one, and a watch stays short."""
    for index in range(len(asked.headers)):
        yield replace(asked, headers=asked.headers[:index] + asked.headers[index + 1 :])
    pairs = asked.raw_query.split("&")
    for index, pair in enumerate(pairs):
        if not pair.startswith(("dryRun=", "timeoutSeconds=")):
            rest = "&".join(pairs[:index] + pairs[index + 1 :])
            yield replace(asked, target=f"{asked.path}?{rest}")
    if asked.body and asked.method != "DELETE":
        yield replace(asked, body=b"")

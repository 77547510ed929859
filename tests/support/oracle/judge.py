"""Judges two answers to one request: equal, different on purpose by the name of the difference, or wrong."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from tests.support.oracle.answers import Answer, differing, read
from tests.support.oracle.asked import Asked
from tests.support.oracle.differences import (
    CONTINUE,
    IN_PART,
    MEDIA_TYPES,
    NOT_READABLE,
    explained,
)
from tests.support.oracle.parts import Parts, collection_question
from tests.support.oracle.sides import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A difference that nothing explains. `owed` is what the proxy should have answered."""

    asked: Asked
    direct: Side
    proxy: Side
    owed: Answer
    through: Answer

    def __str__(self) -> str:
        return (
            f"\n{self.asked.as_curl(self.direct.url)}\n  owed {self.owed}"
            f"\n{self.asked.as_curl(self.proxy.url)}\n  got  {self.through}"
            f"\n  first difference: {differing(self.owed.body, self.through.body)}"
        )


class Judge:
    """Compares a proxy with the real server. `parts` None: the proxy is strict, and may show nothing in part.

    `seen` counts the differences by name; "" are equal answers.
    """

    def __init__(self, direct: Side, proxy: Side, parts: Parts | None) -> None:
        self.seen: Counter[str] = Counter()
        self._direct = direct
        self._proxy = proxy
        self._parts = parts

    def judge(self, asked: Asked, direct: Answer | None = None) -> Wrong | None:
        """Asks the proxy, and the server where its answer is not given. None for what is right."""
        if direct is None:
            direct = read(self._direct.ask(asked))
        through = read(self._proxy.ask(asked))
        if direct == through:
            self.seen[""] += 1
            return None
        name, owed = explained(asked, direct, through), direct
        if name is None and self._parts is not None and direct.status == 403 != through.status:
            name, owed = self._in_part(self._parts, asked, direct, through)
        if name is None:
            return Wrong(asked=asked, direct=self._direct, proxy=self._proxy, owed=owed, through=through)
        self.seen[name] += 1
        return None

    def _in_part(self, parts: Parts, asked: Asked, direct: Answer, through: Answer) -> tuple[str | None, Answer]:
        """The name of the difference, if it is right, and what is owed."""
        question = collection_question(asked)
        if question is None:
            return None, direct
        whole = parts.whole(asked)
        if through.status == 406 and not re.search(r"application/json|\*/\*", asked.header("accept")):
            return MEDIA_TYPES, whole
        if whole.status != 200:
            if whole == through:
                return IN_PART, whole
            if whole.status in (404, 405) and through.status == 405:
                return NOT_READABLE, whole
            if whole.status == 400 and through.status in (400, 410) and "continue" in through.message:
                return CONTINUE, whole
            return explained(asked, whole, through), whole
        if whole.media_type != "application/json":
            return explained(asked, whole, through), whole
        if asked.first("continue"):
            return (CONTINUE if through.status in (400, 410) else None), whole
        owed = replace(whole, body=parts.visible(asked, question, whole))
        return (IN_PART if owed == through else None), owed

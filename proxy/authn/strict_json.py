"""JSON of others, read so that it has one meaning: what two readers could take for two things is an error."""

from __future__ import annotations

import json
import math
from typing import NoReturn


def parse_object(content: bytes) -> dict[str, object]:
    """One JSON object in UTF-8.

    Raises ValueError for anything else, for a name that comes twice in an object at any depth, NaN, Infinity, a number
    beyond a float's range, and nesting or digits beyond what Python reads.
    """
    try:
        value = json.loads(
            content.decode(), object_pairs_hook=_unique_names, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _unique_names(members: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(members)
    if len(unique) != len(members):
        raise ValueError("a name comes twice")
    return unique


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number

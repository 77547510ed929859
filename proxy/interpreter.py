"""What a long-lived server asks of the interpreter: little cycle collection, deep nesting, freed memory given back."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_NEW_OBJECTS_PER_COLLECTION = 20_000
"""Garbage in cycles (tracebacks, mostly) is bounded by this many objects, some MiB; Python's own 700 is for scripts."""

_MAX_NESTING = 12_000
"""An object may be nested as deep as the API server takes it (Go's encoding/json: 10,000): one that could not be read
would end the watch of its resource for everybody. Python's own 1,000 is too little; the C stack holds far more."""


_M_MMAP_THRESHOLD = -3  # of malloc.h
_MMAP_THRESHOLD_BYTES = 256 * 1024
"""What each TLS connection reads into: mapped by itself, it is given back when the connection ends, and its untouched
pages cost nothing. glibc's threshold would grow with the first such block that is freed, so that later ones lie between
others. A lower one has the parts of large lists mapped and unmapped, a fifth of what such a list costs."""


def settle_interpreter() -> None:
    """Called once everything is built: the cycle collector looks at new objects only from then on, and less often.

    What a request makes is freed by its reference counts: a collection every few requests finds nothing, and each of
    the whole heap is a step of the loop that grows with the policy and the caches (docs/performance.md, Gets).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION, 20, 20)
    sys.setrecursionlimit(_MAX_NESTING)
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)

"""The mark a busy object carries, by which its watchers tell what they got: object, number of the update, and when.

It is the value of a ConfigMap's key or of a pod's annotation named `benchmark`. Updates of an object count from 1.
Who reads it: benchmarks/load/watcher.go.
"""

from __future__ import annotations

KEY = "benchmark"


def write_mark(name: str, number: int, sent_ns: int) -> bytes:
    """The value, without quotes; JSON needs no escape in it. `sent_ns` is the wall clock, in nanoseconds."""
    return b"%b %d %d" % (name.encode(), number, sent_ns)

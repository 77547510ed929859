"""Runs one harness under a coverage-guided fuzzer, from the kept corpus. Started by `make fuzz`, one process each.

What it learns goes to build/fuzz/NAME, and an input that fails to build/fuzz/NAME.failures: such a file joins the kept
corpus together with the repair. `--merge` adds to the kept corpus what covers code that no kept input does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

MAX_INPUT_BYTES = 4096  # long enough for every construct; bounds in bytes have tests of their own
ONE_INPUT_SECONDS = 10  # no input of that size may take longer
MEMORY_MIB = 2048


def main() -> None:
    """`python -m tests.fuzz.run NAME --for SECONDS`; ends with a status other than 0 when an input fails."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("--for", type=int, default=60, dest="seconds")
    parser.add_argument("--merge", action="store_true")
    options, from_fuzzer = parser.parse_known_args()
    with atheris.instrument_imports(include=["proxy"]):
        from tests.fuzz.registry import CORPUS, HARNESSES  # its imports are what is instrumented
    learned = Path("build/fuzz") / options.name
    failures = learned.with_suffix(".failures")
    for folder in (learned, failures):
        folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={ONE_INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={failures}/",
        "-print_final_stats=1",
    ]
    kept = CORPUS / options.name
    if from_fuzzer:
        arguments = from_fuzzer
    elif options.merge:
        arguments += ["-merge=1", str(kept), str(learned)]
    else:
        arguments += [f"-max_total_time={options.seconds}", str(learned), str(kept)]
    command = f"{sys.executable} -m tests.fuzz.run {options.name}"  # a merge starts it again, with arguments of its own
    atheris.Setup([command, *arguments], HARNESSES[options.name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

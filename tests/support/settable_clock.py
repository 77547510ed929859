"""A wall clock that can be set for one process while it runs, by libfaketime; its monotonic clock stays as it is."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

_LIBRARY = "*/faketime/libfaketimeMT.so.1"


class SettableClock:
    """Give `environment` to a process. Skips, or fails where nothing may be skipped, without libfaketime."""

    def __init__(self, directory: Path) -> None:
        found = sorted(Path("/usr/lib").glob(_LIBRARY))
        if not found:
            missing = "needs libfaketime: apt-get install faketime"
            if os.environ.get("WATCHKEEPER_REQUIRE_REALKUBE") == "1":
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)
        self._file = directory / "clock"
        self.jump(0)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on the process is so many seconds ahead of the truth; negative: behind."""
        staged = self._file.with_suffix(".new")
        staged.write_text(f"{seconds:+d}\n")
        staged.replace(self._file)

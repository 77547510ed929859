"""Every metric stands on the page that operators read."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r'"(watchkeeper_[a-z_]+)"')


def test_every_metric_is_explained() -> None:
    """A family of counters is listed with the suffix it is scraped with."""
    page = (ROOT / "docs" / "telemetry.md").read_text()
    names = {name for path in (ROOT / "proxy" / "telemetry").glob("*.py") for name in METRIC.findall(path.read_text())}
    assert len(names) > 15
    assert sorted(name for name in names if f"`{name}" not in page) == []

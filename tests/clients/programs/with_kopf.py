"""The `kopf` framework: an operator that is told of every object; kopf lists, watches and begins again by itself."""

from typing import Any

import kopf
from report import described, options, say


@kopf.on.event(options().resource)
async def tell(event: Any, **_: Any) -> None:
    """`type` is None for what was there at the beginning."""
    say("event", type=event["type"] or "LISTED", object=described(event["object"]))


kopf.run(clusterwide=True, standalone=True)

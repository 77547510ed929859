"""An operator as kopf's documentation begins: it greets what is created, follows changes, and says goodbye.

kopf remembers what it has handled in annotations of the object, and holds it back by a finalizer until the goodbye:
all of these are patches in the operator's own name.
"""

from typing import Any

import kopf
from report import say


@kopf.on.create("configmaps", labels={"greet": "yes"})
async def greet(name: str, patch: kopf.Patch, **_: Any) -> None:
    """Once for each object."""
    patch.metadata.annotations["example.test/greeted"] = name
    say("greeted", name=name)


@kopf.on.update("configmaps", labels={"greet": "yes"}, field="data.value")
async def follow(name: str, old: str, new: str, **_: Any) -> None:
    """The values before and after."""
    say("followed", name=name, old=old, new=new)


@kopf.on.delete("configmaps", labels={"greet": "yes"})
async def bid_goodbye(name: str, **_: Any) -> None:
    """Before the object goes."""
    say("left", name=name)


kopf.run(clusterwide=True, standalone=True)

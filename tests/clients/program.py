"""A program that uses a client library, as a child process, and the strict copy that its reports make.

The programs are in `programs/` and `informer/`: written as the library's own documentation has it, in an environment of
their own, with a kubeconfig as all there is to tell them. What they saw comes as lines of JSON (`programs/report.py`).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support import processes
from tests.support.following import Follower

PROGRAMS = Path(__file__).parent / "programs"
TAKE_SECONDS = 60.0  # bounds a hang: client-go waits up to thirty before it tries again what was refused
_STOP_SECONDS = 10.0

Said = dict[str, Any]
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A client library: how its program is started, and what it does that others do not.

    `begins_again` is True where the library itself lists again when it is told 410; elsewhere its program does, and
    chooses the size of pages. `resumes` tells whether it comes back at the resourceVersion it had. `keeps_the_vanished`
    is True for one that begins again without telling which objects are gone. An informer has a `command` once it is
    built.
    """

    name: str
    command: tuple[str | Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    begins_again: bool = False
    resumes: bool = True
    keeps_the_vanished: bool = False

    @property
    def is_informer(self) -> bool:
        """True for client-go."""
        return bool(self.environment)

    def built(self, binary: Path) -> "Library":
        """The informer that is this binary."""
        return replace(self, command=(binary,))

    def __str__(self) -> str:
        return self.name


def python_library(name: str, **traits: bool) -> Library:
    """One whose program is `programs/with_NAME.py`."""
    program = PROGRAMS / f"with_{name.replace('-', '_')}.py"
    return Library(name=name, command=(sys.executable, program), **traits)


PYTHON_LIBRARIES = (
    python_library("kubernetes"),
    python_library("kubernetes-asyncio"),
    python_library("lightkube"),
    python_library("kr8s", begins_again=True, resumes=False),
    python_library("kopf", begins_again=True, keeps_the_vanished=True),
)
INFORMERS = tuple(
    Library(name=f"client-go-{how}", environment={"KUBE_FEATURE_WatchListClient": value}, begins_again=True)
    for how, value in (("list", "false"), ("watch-list", "true"))
)
LIBRARIES = (*PYTHON_LIBRARIES, *INFORMERS)


@dataclass(slots=True)
class Copy:
    """What a program holds, by namespace and name: a breach of the order of events raises AssertionError."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)

    def take(self, said: Said) -> None:
        """Apply one report."""
        if said["said"] == "listed":
            self.items = {_key(item): item for item in said.get("items", ())}
            assert len(self.items) == len(said.get("items", ())), f"an object is listed twice: {said}"
        elif said["said"] == "event":
            self._apply(said["type"], said["object"])

    def _apply(self, kind: str, item: Item) -> None:
        key, held = _key(item), self.items.get(_key(item))
        match kind:
            case "LISTED":
                self.items[key] = item
            case "ADDED":
                assert held is None, f"added twice: {item}"
                self.items[key] = item
            case "MODIFIED":
                assert held is not None, f"changed, and never added: {item}"
                assert int(held["resourceVersion"]) <= int(item["resourceVersion"]), f"back in time: {item}"
                self.items[key] = item
            case "DELETED":
                assert held is not None, f"deleted, and never added: {item}"
                del self.items[key]
            case _:
                raise AssertionError(f"an event of type {kind}")


class Program:
    """One run; a context manager. `said` is everything it has reported so far, `errors` is a file with its stderr."""

    def __init__(self, library: Library, kubeconfig: Path, *arguments: str) -> None:
        self.library = library
        self.copy = Copy()
        self.errors = kubeconfig.with_suffix(f".{library.name}.log")
        home = kubeconfig.with_suffix(".home")
        home.mkdir(exist_ok=True)
        environment = {"HOME": str(home), "PATH": os.environ.get("PATH", ""), "KUBECONFIG": str(kubeconfig)}
        with self.errors.open("ab") as errors:
            self._process = processes.spawn(
                [*library.command, "--kubeconfig", kubeconfig, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=home,
                env={**environment, **library.environment},
            )
        assert self._process.stdout is not None
        self._follower = Follower(_reports(self._process.stdout, self.copy))
        self.said: list[Said] = self._follower.items

    def take_until(self, predicate: Callable[[Said], bool]) -> list[Said]:
        """The reports not taken yet, up to and with the first for which `predicate` is true; raises as a Follower."""
        try:
            return self._follower.take_until(predicate, timeout=TAKE_SECONDS)
        except (TimeoutError, EOFError) as error:
            error.add_note(f"{self.library}'s stderr:\n{processes.log_tail(self.errors)}")
            raise

    def take_name(self, name: str, *kinds: str) -> list[Said]:
        """Up to and with the event of these types (none: any), or the list, that shows the object of this name."""
        return self.take_until(lambda said: _shows(said, name, kinds))

    def check(self) -> None:
        """Raises the AssertionError of a breach."""
        if isinstance(self._follower.failure, AssertionError):
            raise self._follower.failure

    def wait(self) -> int:
        """Wait until it ends by itself; its exit status."""
        status = self._process.wait(TAKE_SECONDS)
        self._follower.join()
        return status

    def shown(self) -> Iterator[Item]:
        """Every version of every object it was shown."""
        for said in list(self.said):
            yield from said.get("items", ())
            if "object" in said:
                yield said["object"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        processes.stop(self._process, signum=signal.SIGTERM, timeout_seconds=_STOP_SECONDS)
        self._follower.join()
        if exc is None:
            self.check()


def _reports(stdout: IO[bytes], copy: Copy) -> Iterator[Said]:
    """Each report, applied to the copy."""
    with stdout:
        for line in stdout:
            said = json.loads(line)
            copy.take(said)
            yield said


def _key(item: Item) -> tuple[str, str]:
    return item["namespace"], item["name"]


def _shows(said: Said, name: str, kinds: Sequence[str]) -> bool:
    if said["said"] == "listed" and not kinds:
        return any(item["name"] == name for item in said.get("items", ()))
    return said["said"] == "event" and said["object"]["name"] == name and (not kinds or said["type"] in kinds)

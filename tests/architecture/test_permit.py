"""Rules of the whole tree that no type checker knows: who may make a Permit, read the clock, know uvicorn."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "proxy"
MAX_LINES = 300

MAY_KNOW_UVICORN = {
    "proxy/server/protocol.py": "the clients' connections",
    "proxy/server/listener.py": "the server around them",
    "proxy/server/admin_server.py": "the port of metrics and health, which no client of the API reaches",
    "proxy/devserver/server.py": "the development server shares only the vocabulary",
}

MAY_READ_THE_CLOCK = {
    "proxy/clock.py": "it owns the clock",
    "proxy/cli/certs.py": "a command is its own root: it tells the time to what it calls",
    "proxy/cli/demo.py": "as above",
    "proxy/cli/devserver.py": "as above",
    "proxy/cli/policy.py": "as above",
    "proxy/cli/policy_questions.py": "as above",
    "proxy/devserver/server.py": "the development server shares only the vocabulary",
}

WALL_CLOCK = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}

Module = tuple[str, str, ast.Module]


def modules() -> list[Module]:
    """(path from the root, text, tree) of every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        found.append((path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return found


MODULES = modules()


def name_of(node: ast.expr) -> str:
    """The last name of `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def makes_a_permit(tree: ast.AST) -> bool:
    """By its constructor under whatever name, by copying one with changes, or by decoding one."""
    names = {"Permit"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == "Permit" and alias.asname
    }
    for call in calls(tree):
        if name_of(call.func) in names:
            return True
        if name_of(call.func) in {"replace", "__replace__", "partial", "convert", "decode", "Decoder", "__new__"}:
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any("permit" in name_of(each).lower() for each in given):
                return True
    return any(
        isinstance(node, ast.ClassDef) and any(name_of(base) in names for base in node.bases) for node in ast.walk(tree)
    )


def imports(tree: ast.AST) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and name_of(node.func) in {"import_module", "__import__"}:
            found |= {str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant)}
    return found


def reads_the_wall_clock(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time" and {each.name for each in node.names} & {"time"}:
            return True
        if isinstance(node, ast.Attribute) and (name_of(node.value), node.attr) in WALL_CLOCK:
            return True
    return False


def test_only_authorization_makes_a_permit() -> None:
    assert {path for path, _, tree in MODULES if makes_a_permit(tree)} == {"proxy/authz/rbac.py"}


@pytest.mark.parametrize(
    "code",
    [
        "Permit(user=user)",
        "decision.Permit(user=user)",
        "from proxy.authz.decision import Permit as P\nP(user=user)",
        "dataclasses.replace(permit, scope=EVERYTHING)",
        "msgspec.structs.replace(self.permit, scope=EVERYTHING)",
        "copy.replace(stream.permit, scope=EVERYTHING)",
        "functools.partial(Permit, scope=EVERYTHING)",
        "msgspec.convert(data, type=Permit)",
        "object.__new__(Permit)",
        "class Better(Permit): ...",
    ],
)
def test_every_way_to_make_a_permit_is_seen(code: str) -> None:
    assert makes_a_permit(ast.parse(code))


def test_only_what_listens_knows_uvicorn() -> None:
    assert {path for path, _, tree in MODULES if "uvicorn" in imports(tree)} <= MAY_KNOW_UVICORN.keys()


def test_the_wall_clock_is_read_in_one_place_and_by_commands() -> None:
    assert {path for path, _, tree in MODULES if reads_the_wall_clock(tree)} <= MAY_READ_THE_CLOCK.keys()


@pytest.mark.parametrize(
    "code", ["time.time()", "datetime.now(UTC)", "datetime.datetime.now()", "from time import time", "Clock(time.time)"]
)
def test_every_look_at_the_wall_clock_is_seen(code: str) -> None:
    assert reads_the_wall_clock(ast.parse(code))


def test_every_module_says_what_it_is() -> None:
    assert [path for path, _, tree in MODULES if not ast.get_docstring(tree)] == []


def test_every_module_is_of_a_size_to_read_or_says_why_not() -> None:
    assert [
        path
        for path, text, tree in MODULES
        if text.count("\n") > MAX_LINES and "Longer than" not in (ast.get_docstring(tree) or "")
    ] == []

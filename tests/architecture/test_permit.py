"""A path around authorization is a type error as long as nothing else makes a Permit."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "proxy"
MAKER = PACKAGE / "authz" / "rbac.py"


def makes_a_permit(source: str) -> bool:
    """True when the source calls `Permit`, by its name or as an attribute of its module."""
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "Permit")
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "Permit")
        )
        for node in ast.walk(ast.parse(source))
    )


def test_only_rbac_makes_a_permit() -> None:
    makers = [path for path in PACKAGE.rglob("*.py") if makes_a_permit(path.read_text())]
    assert makers == [MAKER]


def test_a_permit_is_found_however_it_is_named() -> None:
    assert makes_a_permit("decision.Permit(user=user)")
    assert not makes_a_permit("match decision:\n    case Permit():\n        pass")

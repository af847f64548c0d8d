"""The typing stubs of the extensions say what the extensions hold."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUBS = sorted((ROOT / "mlkit").rglob("_*.pyi"))


def public(names) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def declared(body: list[ast.stmt]) -> set[str]:
    """List the public names that a stub's module or class body declares."""
    names = [node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    names += [ast.unparse(node.target) for node in body if isinstance(node, ast.AnnAssign)]
    assigned = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return public([*names, *map(ast.unparse, assigned)])


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)
def test_a_stub_declares_what_its_extension_holds(stub):
    name = ".".join(stub.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    body = ast.parse(stub.read_text()).body
    assert public(vars(module)) == {each for each in declared(body) if hasattr(module, each)}
    for node in body:
        if isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            assert public(vars(getattr(module, node.name))) == declared(node.body), node.name

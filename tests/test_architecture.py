"""The rules of who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mlkit"
WORKLOADS = {"bandit", "pairs", "bpmn", "image"}
FILES = sorted(PACKAGE.rglob("*.py"))
EMPTY_NAMES = {"utils", "util", "common", "helpers", "misc"}


def imports(path: Path) -> Iterator[str]:
    """List the modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(path: Path) -> str:
    """Name the part of mlkit that a file belongs to: cli, a workload, or core."""
    top = path.relative_to(PACKAGE).parts[0]
    return top if top in WORKLOADS | {"cli"} else "core"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    here = layer(path)
    for name in imports(path):
        target = name.split(".")[1] if name.startswith("mlkit.") else None
        if here != "cli":
            assert name.split(".")[0] not in {"typer", "rich"}, f"{path} imports {name}"
            # python -m mlkit is the command line by another name
            assert target != "cli" or path.name == "__main__.py", f"{path} imports {name}"
        if here in WORKLOADS:
            assert target not in WORKLOADS - {here}, f"{path} imports {name}"
        if here == "core":
            assert target not in WORKLOADS, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path):
    if layer(path) == "cli":
        return
    calls = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    named = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not named & {"print", "exit", "quit", "input"}
    assert "sys.exit" not in {ast.unparse(call) for call in calls}


def test_only_the_engine_module_knows_docker():
    users = {
        path.name for path in FILES if any(name.split(".")[0] == "docker" for name in imports(path))
    }
    assert users <= {"engine.py"}


def test_no_module_has_an_empty_name():
    assert not [path for path in FILES if path.stem in EMPTY_NAMES]


def test_the_version_is_stated_once():
    root = PACKAGE.parent
    assert 'dynamic = ["version"]' in (root / "pyproject.toml").read_text()
    assert "VERSION" not in (root / "CMakeLists.txt").read_text().split("project(")[1].split(")")[0]

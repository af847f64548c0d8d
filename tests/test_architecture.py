"""The rules of who may import whom, read from the source.

`violations` is a function of a path and a source, so that its own test can plant what is forbidden.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

PACKAGE = Path(__file__).parents[1] / "mlkit"
FILES = sorted(PACKAGE.rglob("*.py"))
EMPTY_NAMES = {"utils", "util", "common", "helpers", "misc"}

WORKLOADS = {"bandit", "pairs", "bpmn", "image"}
# Rooms that workloads share, each above the core and below the workloads.
SHARED = {"web", "storage", "streams", "workers"}

# The folder or file below mlkit/ that may import a driver; nobody else may.
DRIVERS = {
    "typer": "cli",
    "rich": "cli",
    "docker": "image/run/engine.py",
    "uvicorn": "web",
    "uvloop": "web",
    "httptools": "web",
    "starlette": "web",
    "sqlite3": "storage",
    "psycopg": "storage",
    "confluent_kafka": "streams",
    "influxdb": "streams/influx.py",
    "redis": "bandit/stores/redis",
    "obstore": "storage",
    "argon2": "web",
    "authlib": "web",
    "joserfc": "web",
    "opentelemetry": "bpmn/server/telemetry.py",
}
# Pure rooms: what of mlkit they may import, beside their own room and mlkit.errors.
PURE = {
    # Forms and values are pure themselves: what a form accepts, how a value is written.
    "bpmn/engine": (
        "mlkit.bpmn.definition",
        "mlkit.bpmn.expressions",
        "mlkit.bpmn.people",
        "mlkit.workers.child.values",
    ),
    # JavaScript has an engine of its own, which sees values and nothing else.
    "bpmn/expressions": (
        "mlkit.bpmn.definition",
        "mlkit.workers.child.javascript",
        "mlkit.workers.child.values",
    ),
    "bpmn/decisions/evaluation.py": ("mlkit.bpmn.decisions", "mlkit.bpmn.expressions"),
    "bandit/evaluation": (),
    "bandit/policies": (
        "mlkit.bandit.arrays",
        "mlkit.bandit.distribution",
        "mlkit.bandit.propensities",
        "mlkit.bandit.sampler",
    ),
    "pairs/strategy/strategy.py": ("mlkit.pairs._pair_strategy", "mlkit.pairs.strategy"),
}
IMPURE_MODULES = {
    "asyncio", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "socket",
    "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip


def imports(source: str) -> Iterator[str]:
    """Yield the modules that a source imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(path: PurePosixPath) -> str:
    """Return the layer of a file below mlkit/: cli, a workload, a shared room, or core."""
    top = path.parts[0]
    return top if top in WORKLOADS | SHARED | {"cli"} else "core"


def is_below(path: PurePosixPath, place: str) -> bool:
    """Return whether a file is a place, or lies in it."""
    return str(path).removesuffix(".py") == place.removesuffix(".py") or str(path).startswith(
        place + "/"
    )


def violations(path: PurePosixPath, source: str) -> list[str]:
    """Return the rules that a file below mlkit/ breaks by what it imports."""
    return [
        broken
        for name in imports(source)
        for rule in (breaks_direction, breaks_drivers, breaks_purity)
        if (broken := rule(path, name))
    ]


def breaks_direction(path: PurePosixPath, name: str) -> str | None:
    """cli -> workload -> shared rooms -> core, and never back or across."""
    if name.startswith("."):
        return f"{path}: relative import"
    if not name.startswith("mlkit.") or str(path) == "__main__.py":
        return None
    here, target = layer(path), name.split(".")[1]
    forbidden = {
        "cli": set(),
        "core": WORKLOADS | SHARED | {"cli"},
    }.get(here, {"cli"} | (WORKLOADS - {here} if here in WORKLOADS else WORKLOADS))
    return f"{path} ({here}) imports {name}" if target in forbidden else None


def breaks_drivers(path: PurePosixPath, name: str) -> str | None:
    """Each driver has one importer."""
    driver = name.split(".")[0]
    if driver not in DRIVERS:
        return None
    if is_below(path, DRIVERS[driver]):
        return None
    return f"{path} imports {driver}, which belongs to {DRIVERS[driver]}"


def breaks_purity(path: PurePosixPath, name: str) -> str | None:
    """Pure rooms see no clock, files, network, or randomness that is not given."""
    room = next((room for room in PURE if is_below(path, room)), None)
    if room is None:
        return None
    own = "mlkit." + room.removesuffix(".py").replace("/", ".")
    if name.startswith("mlkit."):
        allowed = ("mlkit.errors", own, *PURE[room])
        if not any(name == each or name.startswith(each + ".") for each in allowed):
            return f"{path} (pure) imports {name}"
    elif name.split(".")[0] in IMPURE_MODULES:
        return f"{path} (pure) imports {name}"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_keep_the_rules(path):
    assert violations(PurePosixPath(path.relative_to(PACKAGE)), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("pairs/screen/ranking.py", "from mlkit.bandit import sampler"),
        ("pairs/screen/ranking.py", "def f():\n    import mlkit.bpmn.engine.state"),
        ("web/server.py", "from mlkit import bpmn"),
        ("workers/pool.py", "from mlkit.bpmn.engine import events"),
        ("files.py", "from mlkit.web import application"),
        ("image/slim.py", "from mlkit.cli.output import Output"),
        ("bandit/sampler.py", "import rich.table"),
        ("image/keep/plan.py", "import docker"),
        ("pairs/settings.py", "from uvicorn import Config"),
        ("bpmn/runtime/runner.py", "import sqlite3"),
        ("bandit/server/writer.py", "def f():\n    import sqlite3"),
        ("bpmn/engine/step.py", "import time"),
        ("bandit/evaluation/intervals.py", "from random import random"),
        ("bandit/policies/thompson.py", "import secrets"),
        ("bandit/policies/linear.py", "from mlkit.bandit.server import model"),
        ("bpmn/engine/behaviors/user.py", "from random import random"),
        ("bpmn/engine/behaviors/user.py", "from mlkit.bpmn.runtime import session"),
        ("bpmn/engine/state.py", "from mlkit.files import replacing"),
        ("bpmn/engine/state.py", "from . import events"),
    ],
)
def test_a_forbidden_import_is_found(path, planted):
    assert violations(PurePosixPath(path), planted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path):
    if layer(PurePosixPath(path.relative_to(PACKAGE))) == "cli":
        return
    calls = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    named = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not named & {"print", "exit", "quit", "input"}
    assert "sys.exit" not in {ast.unparse(call) for call in calls}


def test_no_module_has_an_empty_name():
    assert not [path for path in FILES if path.stem in EMPTY_NAMES]


def test_the_version_is_stated_once():
    root = PACKAGE.parent
    assert 'dynamic = ["version"]' in (root / "pyproject.toml").read_text()
    assert "VERSION" not in (root / "CMakeLists.txt").read_text().split("project(")[1].split(")")[0]

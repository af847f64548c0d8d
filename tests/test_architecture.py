"""The rules of who may import whom, read from the source.

`violations` is a function of a path and a source, so that its own test can plant what is forbidden.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "mlkit"
FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES = {PurePosixPath(path.relative_to(PACKAGE)): path.read_text() for path in FILES}
EMPTY_NAMES = {"utils", "util", "common", "helpers", "misc"}

WORKLOADS = {"bandit", "pairs", "bpmn", "image"}
# Rooms that workloads share, each above the core and below the workloads.
SHARED = {"web", "storage", "streams", "workers"}

# The folder or file below mlkit/ that may import a driver; nobody else may.
DRIVERS = {
    "typer": "cli",
    "rich": "cli",
    "docker": "image/run/engine",
    "uvicorn": "web",
    "uvloop": "web",
    "httptools": "web",
    "starlette": "web",
    "sqlite3": "storage",
    "psycopg": "storage",
    "confluent_kafka": "streams",
    "influxdb": "streams/influx.py",
    "dask": "pairs/cluster.py",
    "distributed": "pairs/cluster.py",
    "redis": "bandit/stores/redis",
    "obstore": "storage",
    "argon2": "web",
    "authlib": "web",
    "joserfc": "web",
    "opentelemetry": "bpmn/server/telemetry.py",
}
# Back ends behind a protocol: the one file outside of the back end that may import it.
BACK_ENDS = {
    "mlkit.bpmn.journal.sql": "bpmn/journal/__init__.py",
    "mlkit.storage.postgresql": "storage/database.py",
    "mlkit.storage.sqlite": "storage/database.py",
    "mlkit.streams.embedded": "streams/__init__.py",
    "mlkit.streams.kafka": "streams/__init__.py",
}
# What puts the rooms of its workload together.
WHOLES = ("mlkit.image.slim",)
# Pure rooms: what of mlkit they may import, beside their own room and mlkit.errors.
PURE = {
    # Values are pure themselves: how one is written.
    "bpmn/engine": (
        "mlkit.bpmn.definition",
        "mlkit.bpmn.expressions",
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
        "mlkit.bandit._regression",
        "mlkit.bandit.arrays",
        "mlkit.bandit.distribution",
        "mlkit.bandit.propensities",
        "mlkit.bandit.sampler",
    ),
    "pairs/strategy/strategy.py": ("mlkit.pairs._pair_strategy", "mlkit.pairs.strategy"),
    "pairs/screen/significance.py": ("mlkit.pairs.screen.cointegration", "mlkit.pairs.settings"),
    "pairs/backtest/metrics.py": (),
    "pairs/feeds/assembly.py": ("mlkit.pairs.defaults", "mlkit.pairs.feeds.records"),
    "pairs/jobs/join.py": (
        "mlkit.pairs.defaults",
        "mlkit.pairs.feeds.records",
        "mlkit.pairs.jobs.rows",
    ),
    "pairs/live/limits.py": (),
}
IMPURE_MODULES = {
    "asyncio", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "socket",
    "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip


IMPURE_CALLS = (".now", ".today", ".utcnow", ".default_rng", ".random.seed")


class Contents(NamedTuple):
    """What the rules ask of a source."""

    imports: list[str]
    """The modules that it imports, at any depth, and what it imports from them."""
    calls: list[ast.expr]
    """What it calls."""
    defaults: list[tuple[str, object]]
    """The parameters and fields whose default is written as a number or text."""


@cache
def read(source: str) -> Contents:
    """Return what a source holds; it is parsed once for all rules."""
    found = Contents([], [], [])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found.calls.append(node.func)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.imports.extend(imported(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.defaults.extend(defaults(node))
    return found


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the modules that a statement imports, and what it imports from them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    else:
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
    names = read(source).imports
    return [broken for name in names for rule in RULES if (broken := rule(path, name))]


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


def breaks_rooms(path: PurePosixPath, name: str) -> str | None:
    """What puts the rooms of a workload together is imported by none of them."""
    is_whole = any(f"{name}.".startswith(f"{each}.") for each in WHOLES)
    if is_whole and len(path.parts) > 2 and layer(path) in WORKLOADS:
        return f"{path} imports {name}, which stands above it"
    return None


def breaks_protocols(path: PurePosixPath, name: str) -> str | None:
    """A back end is reached by what opens it; all others, its protocol too, see the protocol."""
    for back_end, opener in BACK_ENDS.items():
        if name == back_end or name.startswith(back_end + "."):
            room = back_end.removeprefix("mlkit.").replace(".", "/")
            if not is_below(path, room) and str(path) != opener:
                return f"{path} imports {name}, which only {opener} opens"
    return None


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


RULES = (breaks_direction, breaks_drivers, breaks_rooms, breaks_protocols, breaks_purity)


def impure_calls(path: PurePosixPath, source: str) -> list[str]:
    """Return the calls of a pure file that read a clock, a file or a seed of their own."""
    if not any(is_below(path, room) for room in PURE):
        return []
    named = (ast.unparse(call) for call in read(source).calls)
    return [each for each in named if each == "open" or each.endswith(IMPURE_CALLS)]


def test_pure_files_call_no_clock():
    found = {path: impure_calls(path, source) for path, source in SOURCES.items()}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize("planted", ["datetime.now(UTC)", "open('x')", "np.random.default_rng()"])
def test_an_impure_call_is_found(planted):
    assert impure_calls(PurePosixPath("bpmn/engine/step.py"), planted)
    assert not impure_calls(PurePosixPath("bpmn/runtime/runner.py"), planted)


def test_imports_keep_the_rules():
    assert [each for item in SOURCES.items() for each in violations(*item)] == []


@pytest.mark.parametrize(
    ("path", "planted"),
    [
        ("pairs/screen/ranking.py", "from mlkit.bandit import sampler"),
        ("pairs/screen/ranking.py", "def f():\n    import mlkit.bpmn.engine.state"),
        ("web/server.py", "from mlkit import bpmn"),
        ("workers/pool.py", "from mlkit.bpmn.engine import events"),
        ("files.py", "from mlkit.web import application"),
        ("image/slim.py", "from mlkit.cli.output import Output"),
        ("image/run/side_by_side.py", "from mlkit.image.slim import original_argv"),
        ("bandit/sampler.py", "import rich.table"),
        ("image/keep/plan.py", "import docker"),
        ("pairs/settings.py", "from uvicorn import Config"),
        ("bpmn/runtime/runner.py", "import sqlite3"),
        ("bandit/server/processes/writer.py", "def f():\n    import sqlite3"),
        (
            "bpmn/journal/protocol.py",
            "if TYPE_CHECKING:\n    from mlkit.bpmn.journal.sql.index import SqlIndex",
        ),
        ("pairs/jobs/run.py", "from mlkit.streams import kafka"),
        ("bpmn/journal/parts.py", "from mlkit.bpmn.journal.sql import index"),
        ("bpmn/runtime/session.py", "from mlkit.bpmn.journal.sql.journal import SqlJournal"),
        ("bpmn/engine/step.py", "import time"),
        ("bandit/evaluation/intervals.py", "from random import random"),
        ("bandit/policies/thompson.py", "import secrets"),
        ("bandit/policies/linear.py", "from mlkit.bandit.server.learning import model"),
        ("bpmn/engine/behaviors/user.py", "from random import random"),
        ("bpmn/engine/behaviors/user.py", "from mlkit.bpmn.runtime import session"),
        ("bpmn/engine/state.py", "from mlkit.files import replacing"),
        ("bpmn/engine/state.py", "from . import events"),
    ],
)
def test_a_forbidden_import_is_found(path, planted):
    assert violations(PurePosixPath(path), planted)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_found_outside_its_place(driver):
    assert violations(PurePosixPath("pairs/settings.py"), f"from {driver} import anything")


@pytest.mark.parametrize("room", PURE)
@pytest.mark.parametrize("planted", ["import time", "from mlkit.files import replacing"])
def test_an_impure_import_is_found_in_each_pure_room(room, planted):
    path = room if room.endswith(".py") else f"{room}/any.py"
    assert violations(PurePosixPath(path), planted)


def test_only_the_command_line_prints_or_exits():
    found = {path: talking(source) for path, source in SOURCES.items() if layer(path) != "cli"}
    assert {path: calls for path, calls in found.items() if calls} == {}


def talking(source: str) -> set[str]:
    """Return the calls by which a source prints, reads a terminal or exits."""
    calls = read(source).calls
    plain = {each.id for each in calls if isinstance(each, ast.Name)}
    exits = [each for each in calls if isinstance(each, ast.Attribute) and each.attr == "exit"]
    dotted = {ast.unparse(each) for each in exits}
    return plain & {"print", "exit", "quit", "input"} | dotted & {"sys.exit"}


# These mean nothing, or the same everywhere.
NEUTRAL = {None, "", "auto", "text", -1, 0, 1, 2}


def defaults(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> Iterator[tuple[str, object]]:
    """Yield the parameters or fields whose default is written as a number or text."""
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, written(field.value)
        return
    given = [*node.args.posonlyargs, *node.args.args]
    pairs = [
        *zip(given[::-1], node.args.defaults[::-1], strict=False),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    yield from ((name.arg, written(value)) for name, value in pairs)


def written(value: ast.expr | None) -> object:
    """Return a number or a text that stands in the source, also as `4 << 20`; None for all else."""
    if value is None or any(isinstance(each, ast.Name) for each in ast.walk(value)):
        return None
    if not isinstance(value, ast.Constant | ast.BinOp):
        return None
    return eval(compile(ast.Expression(value), "", "eval"))


def stated_twice(sources: dict[PurePosixPath, str]) -> dict[tuple[str, object], set[str]]:
    """Return the defaults of options that another file of the same workload, or core, has too."""
    found: dict[tuple[str, object], set[str]] = {}
    for path, source in sources.items():
        for name, value in read(source).defaults:
            if value not in NEUTRAL:
                found.setdefault((name, value), set()).add(str(path))
    return {
        default: paths
        for default, paths in found.items()
        if len({path.removeprefix("cli/").split("/")[0] for path in paths}) < len(paths)
        and any(path.startswith("cli/") for path in paths)
    }


def test_defaults_of_options_are_stated_once():
    assert stated_twice(SOURCES) == {}


@pytest.mark.parametrize(
    "beneath", ["class Settings:\n    port: int = 8000", "def serve(*, port=8000): ..."]
)
def test_a_default_that_is_stated_twice_is_found(beneath):
    option = "def serve(port: Annotated[int, typer.Option()] = 8000): ..."
    places = PurePosixPath("cli/bandit/serve.py"), PurePosixPath("bandit/server/settings.py")
    assert stated_twice(dict(zip(places, (option, beneath), strict=True)))
    once = "class Settings:\n    port: int = PORT"
    assert not stated_twice(dict(zip(places, (option, once), strict=True)))


def test_no_module_has_an_empty_name():
    assert not [path for path in FILES if path.stem in EMPTY_NAMES]


def test_no_room_has_more_files_than_one_reads_in_a_row():
    sizes = Counter(path.parent for path in FILES)
    assert [str(room) for room, files in sizes.items() if files > 40] == []


def test_the_version_is_stated_once():
    root = PACKAGE.parent
    assert 'dynamic = ["version"]' in (root / "pyproject.toml").read_text()
    assert "VERSION" not in (root / "CMakeLists.txt").read_text().split("project(")[1].split(")")[0]

"""Lint: find everything that would stop or surprise a run, before it starts."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder
from importlib.metadata import entry_points
from pathlib import Path

from mlkit.bpmn.definition.model import Call, Callable, Definitions, FlowNode, Process, Script
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.engine.graph import nodes, scopes
from mlkit.bpmn.expressions import javascript
from mlkit.bpmn.lint import rules
from mlkit.errors import BadData, MlkitError, ServiceUnavailable
from mlkit.workers import r

# What must be installed, by the rule of the problem.
_MISSING = {
    "script.r": "install r-base-core and r-cran-jsonlite",
    "script.javascript": "pip install 'mlkit[javascript]'",
}


def lint(
    definitions: Definitions,
    folder: Path,
    tasks: Mapping[str, str] | None = None,
    rscript: str | None = None,
    external: bool = False,
) -> list[Problem]:
    """Find all problems of a file, errors first, by line.

    Args:
        definitions: The file.
        folder: Where it is; modules of callables may stand there.
        tasks: Names of callables bound by the caller, to `module:function`.
        rscript: The interpreter of scripts in R.
        external: Whether external workers may do the tasks that are for them.
    """
    found = list(definitions.problems)
    if not definitions.processes:
        found.append(Problem("process.none", "error", definitions.file, 0, "there is no process"))
    running = executable(definitions)
    if len(running) > 1 and not definitions.collaboration:
        message = 'several processes and no pools: mark all but one isExecutable="false"'
        line = definitions.processes[-1].line
        found.append(Problem("process.several", "error", definitions.file, line, message))
    everything = {each.id: each for each in (*running, *definitions.called.values())}
    for process in everything.values():
        found += rules.check(process)
        for node in nodes(process.body):
            if not (external and is_external(node, folder, tasks or {})):
                found += _work(node, folder, tasks or {}, rscript or "Rscript")
            found += _check_call(node, definitions)
        for node in (heard for scope in scopes(process.body) for heard in scope.listening()):
            found += _work(node, folder, tasks or {}, rscript or "Rscript")
    return sorted(found, key=lambda each: (each.severity, each.line, each.rule))


def executable(definitions: Definitions) -> tuple[Process, ...]:
    """Return the processes of a file that are to run.

    Those marked executable, where some are; all where none is (as bpmn.io writes it). What a
    call activity of the file calls runs when it is called.
    """
    marked = tuple(each for each in definitions.processes if each.executable)
    found = marked or definitions.processes
    return tuple(each for each in found if each.id not in definitions.called) or found[:1]


def require_sound(problems: list[Problem], file: str) -> None:
    """Refuse a file with errors.

    Raises:
        ServiceUnavailable: It needs R.
        BadData: It has other errors; the message names the first, the hint shows the rest.
    """
    errors = [each for each in problems if each.severity == "error"]
    if not errors:
        return
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    message = f"{file}:{first.line}: {first.element}: {first.message} [{first.rule}]{more}"
    for rule, hint in _MISSING.items():
        if all(each.rule == rule for each in errors):
            raise ServiceUnavailable(message, hint=hint)
    raise BadData(message, hint=f"`mlkit bpmn lint {file}` shows all problems")


def _work(
    node: FlowNode, folder: Path, tasks: Mapping[str, str], rscript: str
) -> Iterator[Problem]:
    for work in node.works:
        yield from _one_work(node, work, folder, tasks, rscript)


def _one_work(
    node: FlowNode, work: object, folder: Path, tasks: Mapping[str, str], rscript: str
) -> Iterator[Problem]:
    if isinstance(work, Script) and work.format == "r":
        problem = r.lacking(rscript)
        if problem is not None:
            yield rules.wrong("script.r", node, problem)
    elif isinstance(work, Script) and work.format == "javascript":
        try:
            javascript.check(work.source)
        except MlkitError as error:
            missing = isinstance(error, ServiceUnavailable)
            yield rules.wrong(
                "script.javascript" if missing else "script.syntax", node, error.message
            )
    elif isinstance(work, Script):
        try:
            compile(inspect.cleandoc("\n" + work.source), node.id, "exec")
        except (SyntaxError, ValueError) as error:
            yield rules.wrong(
                "script.syntax", node, f"line {getattr(error, 'lineno', 1)}: {error.args[0]}"
            )
        except (RecursionError, MemoryError):
            yield rules.wrong("script.syntax", node, "it nests too deeply to be read")
    elif isinstance(work, Callable) and resolve(work.name, folder, tasks) is None:
        hint = f"bind it by --task {work.name}=module:function"
        problem = f"{work.name!r} is not a Python callable"
        if work.decision:
            problem = f"the DMN decision {work.name!r} cannot be run"
        rule = "task.decision" if work.decision else "task.unbound"
        yield rules.wrong(rule, node, f"{problem}: {hint}")


def is_external(node: FlowNode, folder: Path, tasks: Mapping[str, str]) -> bool:
    """Return whether external workers may do a task: it is for them, and no callable does it."""
    work = node.work
    if isinstance(work, Script):
        return work.external is not None
    if not isinstance(work, Callable) or work.external is None:
        return False
    return resolve(work.name, folder, tasks) is None


def _check_call(node: FlowNode, definitions: Definitions) -> Iterator[Problem]:
    if not isinstance(node.work, Call):
        return
    if node.work.chosen is not None:
        if not node.work.choices:
            message = "there is no process to choose in this file or in one beside it"
            yield rules.wrong("call.missing", node, message)
    elif node.work.process not in definitions.called:
        yield rules.wrong("call.missing", node, f"there is no process {node.work.process!r}")


def resolve(name: str, folder: Path, tasks: Mapping[str, str]) -> str | None:
    """Find the `module:function` that a task's name stands for; None where there is none."""
    place = tasks.get(name, name)
    if ":" not in place:
        return _load_entry_points().get(name)
    return place if _exists(place.partition(":")[0], folder) else None


def _exists(module: str, folder: Path) -> bool:
    """Return whether a module can be imported; packages above it are not run to find out."""
    if module == "os.path":  # a name that `os` gives to a module, not a file below it
        return True
    importlib.invalidate_caches()  # a file that was written a moment ago counts
    places: list[str] | None = [str(folder), *sys.path]
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = None if places is None else _spec(name, places)
        if found is None:
            return False
        places = _places(found)
    return True


def _spec(name: str, places: list[str]) -> ModuleSpec | None:
    if name in sys.builtin_module_names:
        return BuiltinImporter.find_spec(name)
    try:
        return PathFinder.find_spec(name, places)
    except (ImportError, ValueError):
        return None


def _places(found: ModuleSpec) -> list[str] | None:
    locations = found.submodule_search_locations
    return None if locations is None else list(locations)


@functools.cache
def _load_entry_points() -> dict[str, str]:
    """Return the entry points for tasks, as they are when a process first asks."""
    return {each.name: each.value for each in entry_points(group="mlkit.bpmn")}

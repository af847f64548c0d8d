"""Strategies in files: `FILE.py:CLASS`, and the record of which one a run used."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.strategy.strategy import Reference, Strategy


def reference(strategy: Strategy) -> Reference:
    """Describe which strategy an object is."""
    return strategy.loaded_from or Reference(type(strategy).__qualname__)


def load(text: str) -> Strategy:
    """Load a strategy from `FILE.py:CLASS`, or `FILE.py` if it has one strategy only.

    The file runs as Python code, and its class is called without arguments.

    Raises:
        UsageError: CLASS is missing and the file has several, or it is not a strategy.
        InputMissing: The file cannot be read.
        BadData: The file or the class cannot be run; the message has file and line.
    """
    head, colon, tail = text.rpartition(":")
    file, name = (head, tail) if colon and tail.isidentifier() else (text, "")
    try:
        code = Path(file).read_bytes()
    except OSError as error:
        raise InputMissing(f"{file}: cannot be read: {error.strerror}",
                           hint="a strategy is FILE.py:CLASS") from error  # fmt: skip
    kind = _choose(file, name, _strategies(_run(file, code)))
    try:
        strategy = kind()
    except (Exception, SystemExit) as error:
        raise BadData(f"{file}: {kind.__name__}(): {describe(error, file)}",
                      hint="the class is called without arguments") from error  # fmt: skip
    strategy.loaded_from = Reference(kind.__name__, file, hashlib.sha256(code).hexdigest())
    return strategy


def reload(recorded: Reference) -> Strategy:
    """Load the strategy of a recorded run.

    Raises:
        InputMissing: Its file cannot be read.
        BadData: It was not a file, or the file has changed.
    """
    if recorded.file is None:
        raise BadData(f"the strategy {recorded.name} was given as a Python object",
                      hint="a run can be repeated if its strategy is FILE.py:CLASS")  # fmt: skip
    strategy = load(f"{recorded.file}:{recorded.name}")
    if reference(strategy).sha256 != recorded.sha256:
        raise BadData(f"{recorded.file}: the strategy has changed since the run",
                      hint="restore the file, or start a new run")  # fmt: skip
    return strategy


def _run(file: str, code: bytes) -> ModuleType:
    module = ModuleType(f"mlkit_strategy_{Path(file).stem}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(code, file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise BadData(f"{file}: {describe(error, file)}") from error
    return module


def _strategies(module: ModuleType) -> dict[str, type[Strategy]]:
    return {
        name: each for name, each in vars(module).items()
        if isinstance(each, type) and issubclass(each, Strategy)
        and each.__module__ == module.__name__
    }  # fmt: skip


def _choose(file: str, name: str, found: dict[str, type[Strategy]]) -> type[Strategy]:
    if name in found:
        return found[name]
    if not name and len(found) == 1:
        return next(iter(found.values()))
    hint = f"it has {', '.join(found)}" if found else "derive a class from mlkit.pairs.Strategy"
    problem = f"no strategy {name}" if name else "which strategy?" if found else "no strategy"
    raise UsageError(f"{file}: {problem}", hint=hint)


def describe(error: BaseException, file: str) -> str:
    """Describe an exception in one line, with the last line of `file` that it passed."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {error.msg}"
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {' '.join(str(error).split())}"

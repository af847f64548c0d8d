"""Run JavaScript in an engine of its own, which sees what it is given and nothing else.

There are no files, modules, network or timers in it. Values go in and come out as JSON.

This file uses the standard library and the package quickjs-ng.
"""

from __future__ import annotations

import json
import math
import os
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

PACKAGE = "quickjs-ng"
MEMORY = 256  # MiB, for a script task
MAX_STACK = 1 << 20
_EXACT = 2**53  # the numbers of JavaScript are doubles
_NAME = re.compile(r"[^\W\d][\w$]*")
# Of a failure, where the script was; of what is broken, where it is.
_PLACE = re.compile(r"at (?:<eval> \()?<input>:(\d+)")
_INTERRUPTED = "InternalError: interrupted"
_CHANGES = ("setVariable", "setVariableLocal", "removeVariable")
_SEES_ALL = {"eval", "Function", "getVariables", "getVariableNames"}


class JavaScriptError(Exception):
    """A script that is broken, failed, or reached a limit."""


class TookTooLong(JavaScriptError):
    """A script that reached the limit of processor time."""


class Thrown(Exception):
    """A BPMN error that a script threw."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Thrown.__name__ = "BpmnError"


class Ran(NamedTuple):
    """What a script left.

    Attributes:
        value: The value of its last statement, as it travels.
        changes: Variables that it set or removed: what it called, the name, the value.
        printed: What it printed.
    """

    value: Any
    changes: list[tuple[str, str, Any]]
    printed: str


def lacking() -> str | None:
    """Return what JavaScript lacks here; None where it can run."""
    try:
        import quickjs  # noqa: F401
    except ImportError:
        return f"JavaScript needs the package {PACKAGE}"
    return None


def find_referenced(source: str) -> frozenset[str] | None:
    """Return every name that a script mentions, also in text; None where it may see all."""
    names = frozenset(_NAME.findall(source))
    return None if names & _SEES_ALL else names


def check(source: str) -> None:
    """Read a script without running it.

    Raises:
        JavaScriptError: It is broken.
    """
    _evaluate(_context(64), f"void new Function({json.dumps(source)})", shift=2)


def run(
    source: str, variables: dict[str, Any], facts: dict[str, Any], memory: int, seconds: float
) -> Ran:
    """Run a script to its end.

    Args:
        source: What it is.
        variables: What it sees, as it travels; a name that is not among them is unknown.
        facts: What `execution` knows: `id`, ..., and `now`, in milliseconds since 1970.
        memory: A limit, in MiB.
        seconds: A limit of processor time; 0 for none.

    Raises:
        JavaScriptError: It failed, or reached a limit.
        TookTooLong: It reached the limit of time.
        Thrown: It threw a BPMN error.
    """
    context = _context(memory)
    given = {"source": source, "variables": _encode(variables), "facts": facts}
    context.eval(_prelude())
    if seconds:
        context.set_time_limit(seconds)
    text = _evaluate(context, f"__run({json.dumps(json.dumps(given))})")
    try:
        found = json.loads(text)
        if "error" in found:
            raise Thrown(str(found["error"]["code"]), str(found["error"]["message"]))
        changes = [(str(kind), str(name), _decode(each)) for kind, name, each in found["changes"]]
        ran = Ran(_decode(found["value"]), changes, str(found["printed"]))
    except (ValueError, TypeError, LookupError, RecursionError):
        raise JavaScriptError("its results cannot be read") from None
    if any(kind not in _CHANGES for kind, _, _ in changes):
        raise JavaScriptError("its results cannot be read")
    return ran


def _context(memory: int) -> Any:
    import quickjs

    context = quickjs.Context()
    context.set_memory_limit(memory << 20)
    context.set_max_stack_size(MAX_STACK)
    return context


def _evaluate(context: Any, text: str, shift: int = 0) -> str:
    import quickjs

    try:
        return str(context.eval(text))
    except (quickjs.JSException, RecursionError, MemoryError) as error:
        text = str(error)
        kind = TookTooLong if text.startswith(_INTERRUPTED) else JavaScriptError
        raise kind(_message(text, shift)) from None


def _message(text: str, shift: int) -> str:
    """Return the first line of an error, with the line of the script where it is known."""
    message = text.strip().splitlines()[0] if text.strip() else ""
    if message in ("", "null", "InternalError: out of memory"):
        return "it takes too much memory"
    if message == _INTERRUPTED:
        return "it takes too much time"
    places = _PLACE.findall(text)
    line = int(places[0]) - shift if places else 0
    return f"line {line}: {message}" if line > 0 else message


@lru_cache
def _prelude() -> str:
    with open(os.path.join(os.path.dirname(__file__), "prelude.js"), encoding="utf-8") as file:
        return file.read()


def _encode(value: Any) -> Any:
    """Write what JSON or doubles do not hold in a form that the prelude reads."""
    if type(value) is int and abs(value) > _EXACT:
        return {"$int": str(value)}
    if isinstance(value, list):
        return [_encode(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag == "$decimal":
            return _encode(_number(Decimal(content)))
        if tag in ("$long", "$short"):
            return _encode(int(content))
        if tag in ("$date", "$time", "$duration"):
            return content
    return {key: _encode(each) for key, each in value.items()}


def _number(value: Decimal) -> Any:
    whole = value.is_finite() and value.adjusted() < 4000 and value == value.to_integral_value()
    if whole:
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else {"$float": repr(number)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["$int"]:
        return int(value["$int"])
    return {key: _decode(each) for key, each in value.items()}

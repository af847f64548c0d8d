"""Expressions and small scripts in JavaScript, for conditions, listeners and parameters.

They are evaluated again whenever an instance is replayed, so that they know one moment and no
chance: `Date` stands still, and `Math.random` is refused. Their time is limited only when something
happens: that a script took too long is an event of the journal, and a replay, which must come to
the same end on any machine, runs what has ended before without looking at a clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mlkit.bpmn.expressions.evaluator import Lookup
from mlkit.bpmn.expressions.tree import MAX_LENGTH, ExpressionError, TimeLimit, UnknownVariable
from mlkit.errors import PackageMissing
from mlkit.workers.child.javascript import (
    JavaScriptError,
    Thrown,
    TookTooLong,
    find_referenced,
    lacking,
    run,
)
from mlkit.workers.child.javascript import check as check_syntax
from mlkit.workers.child.values import pack, unpack

NAMES = ("javascript", "ecmascript", "js", "graal.js", "nashorn", "application/javascript",
         "text/javascript", "application/ecmascript", "text/ecmascript")  # fmt: skip
MEMORY = 64
SECONDS = 2
_FACTS = ("id", "processInstanceId", "processBusinessKey", "businessKey", "processDefinitionId",
          "currentActivityId", "currentActivityName", "eventName")  # fmt: skip


def check(text: str) -> None:
    """Read a script.

    Raises:
        ExpressionError: It is broken, or too long.
        ServiceUnavailable: There is no engine for it.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    _require()
    try:
        check_syntax(text)
    except JavaScriptError as error:
        raise ExpressionError(text, 0, str(error)) from None


def evaluate(text: str, lookup: Lookup, now: datetime) -> Any:
    """Return the value of a script's last statement, and set the variables that it sets.

    Raises:
        ExpressionError: It is broken, fails, or reaches a limit.
        TimeLimit: It takes too much time.
        ServiceUnavailable: There is no engine for it.
    """
    _require()
    names = find_referenced(text)
    known = getattr(lookup, "names", None)
    names = names if names is not None or known is None else known()
    seen = _look_up(names or frozenset(), lookup)
    facts = {
        "now": int(now.timestamp() * 1000),
        "execution": {name: _or_none(lookup, f"execution.{name}") for name in _FACTS},
        "listening": True,
    }
    try:
        seconds = 0 if getattr(lookup, "replays", False) else SECONDS
        ran = run(text, seen, facts, MEMORY, seconds)
    except Thrown as error:
        problem = f"it throws the BPMN error {error.code!r}, which only a script task can"
        raise ExpressionError(text, 0, problem) from None
    except TookTooLong as error:
        raise TimeLimit(text, 0, str(error)) from None
    except JavaScriptError as error:
        kind = UnknownVariable if str(error).endswith("is not defined") else ExpressionError
        raise kind(text, 0, str(error)) from None
    _assign(text, ran.changes, lookup)
    return unpack(ran.value)


def _require() -> None:
    problem = lacking()
    if problem is not None:
        raise PackageMissing.of(problem, "javascript")


def _look_up(names: frozenset[str], lookup: Lookup) -> dict[str, Any]:
    found = {}
    for name in names:
        try:
            found[name] = pack(lookup(name))
        except KeyError:
            continue
    return found


def _or_none(lookup: Lookup, name: str) -> Any:
    try:
        return lookup(name)
    except KeyError:
        return None


def _assign(text: str, changes: list[tuple[str, str, Any]], lookup: Lookup) -> None:
    assign = getattr(lookup, "assign", None)
    if changes and assign is None:
        raise ExpressionError(text, 0, "no variable can be set here")
    for kind, name, value in changes:
        assert assign is not None
        assign(kind, name, unpack(value))

"""Conditional start events of deployed processes: what begins when a data store changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.engine.variables import require_boolean
from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Begun, StoreChange
from mlkit.bpmn.runtime.deployment import Starter
from mlkit.errors import MlkitError
from mlkit.workers.child.values import unpack

logger = logging.getLogger("mlkit.bpmn")


def take_changes(journal: Journal, starter: Starter) -> list[Begun]:
    """Take the changes of data stores, inside a transaction; return what they have begun.

    A start event begins an instance each time that its condition becomes true: it is looked at
    before and after each change of a store that it mentions. The instance gets, as variables, the
    values of the stores that the condition was made of.
    """
    changes = journal.schedules.take_changes()
    if not changes:
        return []
    expecting = [
        (process, element, mentioned, expression)
        for process, element, mentioned in journal.schedules.conditions()
        for expression in _conditions(journal, starter, process, element)
    ]
    found: list[Begun] = []
    for change, before, after in _moments(journal, changes):
        for process, element, mentioned, expression in expecting:
            if change.name in mentioned and not _holds(process, expression, before.copy()):
                seen = after.copy()
                if _holds(process, expression, seen):
                    found.append(Begun(process, element, "", seen.looked_up))
    return found


def _conditions(
    journal: Journal, starter: Starter, process: str, element: str
) -> Iterator[Expression]:
    try:
        engine = starter.engine(journal, journal.deployments.require(process))
    except MlkitError as error:
        logger.error("%s: %s", process, error.message)
        return
    behavior = engine.graph.behaviors.get(element)
    event = None if behavior is None else behavior.node.event
    for each in () if event is None else event.of_kind("conditional"):
        if each.expression is not None:
            yield each.expression


class _Stores:
    """The data stores at one moment, as an expression looks them up.

    Attributes:
        looked_up: The values that were asked for, as they are stored.
    """

    def __init__(self, journal: Journal, known: dict[str, Any]) -> None:
        self._journal = journal
        self._known = known
        self.looked_up: dict[str, Any] = {}

    def copy(self) -> _Stores:
        """Return the same stores, with nothing looked up yet."""
        return _Stores(self._journal, self._known)

    def changed(self, name: str, value: Any) -> _Stores:
        """Return the stores as they are when one of them has another value."""
        return _Stores(self._journal, {**self._known, name: value})

    def __call__(self, name: str) -> Any:
        """Return what a store holds, null where nobody has set it.

        Raises:
            KeyError: It is no store, but something of an instance.
        """
        if not name.isidentifier():
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._journal.stores.get([name])[name]
        value = self._known[name]
        if value is not None:
            self.looked_up[name] = value
        return unpack(value)

    def names(self) -> frozenset[str]:
        """Return the names that are known."""
        return frozenset(self._known)


def _moments(
    journal: Journal, changes: list[StoreChange]
) -> list[tuple[StoreChange, _Stores, _Stores]]:
    """Return what the stores were before and after each change, oldest first."""
    now = _Stores(journal, {each.name: each.later for each in changes})
    found = []
    for each in reversed(changes):
        after = now.changed(each.name, each.later)
        now = after.changed(each.name, each.earlier)
        found.append((each, now, after))
    return found[::-1]


def _holds(process: str, expression: Expression, stores: _Stores) -> bool:
    """Return whether a condition holds; one that fails does not, and is logged."""
    at = datetime.fromtimestamp(time.time(), UTC)
    try:
        if expression.language in ("juel", "javascript"):
            return require_boolean(expression, expression.evaluate(stores, at))
        return expression.holds(stores, at)
    except (MlkitError, ArithmeticError, ValueError, TypeError, LookupError) as error:
        message = error.message if isinstance(error, MlkitError) else str(error)
        logger.warning("%s: the condition of its start event: %s", process, message)
        return False

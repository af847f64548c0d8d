"""A decision as the work of a business rule task: an expression like any other."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlkit.bpmn.decisions.evaluation import DecisionError, Evaluation
from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.decisions.model import Decision, Table
from mlkit.bpmn.decisions.record import record
from mlkit.bpmn.expressions import Expression, Lookup
from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.interchange import Unfit, leave

_NO_NAME = re.compile(r"\W+")
MAPPINGS = ("singleEntry", "singleResult", "collectEntries", "resultList")
# As Flowable maps it: an object of the variables to set.
VARIABLES = "variables"


@dataclass(frozen=True, slots=True)
class DecisionCall(Expression):
    """A decision; its inputs are the process variables of their names, `_` for spaces.

    Attributes:
        decisions: The model.
        mapping: How the result is mapped, as Camunda 7 names it; empty for the value as it is.
        must_match: Whether no result is a failure.
    """

    decisions: Decisions | None = None
    mapping: str = ""
    must_match: bool = False

    def check(self) -> None:
        """Do nothing: the model was checked when it was read."""

    def evaluate(self, lookup: Lookup, now: datetime) -> Any:
        """Return the mapped result.

        Raises:
            ExpressionError: The decision fails: an input is of another type or not allowed, rules
                contradict the hit policy, the mapping does not fit, or a limit is reached.
        """
        assert self.decisions is not None
        evaluation = Evaluation(self.decisions.loaded, self._inputs(lookup), now)
        keep = getattr(lookup, "note_decision", None)
        try:
            found = self._value(evaluation)
        except DecisionError as error:
            if keep is not None:
                keep(record(self.text, evaluation, None, error.problem))
            raise
        if keep is not None:
            keep(record(self.text, evaluation, found))
        return found

    def _value(self, evaluation: Evaluation) -> Any:
        assert self.decisions is not None
        try:
            found = evaluation.decide(self.decisions.find(self.text))
        except DecisionError as error:
            raise self._error(error.problem) from error
        if evaluation.trace.notes:
            raise self._error(evaluation.trace.notes[0])
        try:
            return self._map_result(leave(evaluation.run, found))
        except (LimitReached, Unfit) as error:
            raise self._error(str(error)) from error

    def _error(self, problem: str) -> DecisionError:
        return DecisionError(f"decision {self.text}", problem)

    def _inputs(self, lookup: Lookup) -> dict[str, Any]:
        assert self.decisions is not None
        found = {}
        for name in self.decisions.known_inputs:
            for spelled in (name, _NO_NAME.sub("_", name)):
                with contextlib.suppress(KeyError):
                    found[name] = lookup(spelled)
                    break
        return found

    def _map_result(self, value: Any) -> Any:
        if not self.mapping:
            return value
        rows = _rows(value)
        if self.must_match and not rows:
            raise self._error("no rule matches")
        results = [each if isinstance(each, dict) else {self._output(): each} for each in rows]
        if self.mapping == VARIABLES:
            several = isinstance(value, list)
            found = {self.text: results} if several else results[0] if results else {}
            return {_NO_NAME.sub("_", name): each for name, each in found.items()}
        if self.mapping == "resultList":
            return results
        if self.mapping == "collectEntries":
            return [self._entry(each) for each in results]
        if len(results) > 1:
            raise self._error(f"{self.mapping}: there are {len(results)} results")
        if not results:
            return None
        return results[0] if self.mapping == "singleResult" else self._entry(results[0])

    def _entry(self, result: dict[str, Any]) -> Any:
        if len(result) != 1:
            raise self._error(f"{self.mapping}: a result has {len(result)} entries")
        return next(iter(result.values()))

    def _output(self) -> str:
        """Return the name of the only output."""
        return self._outputs()[0]

    def _outputs(self) -> list[str]:
        """Return the names of the outputs; the decision's own where they have none."""
        assert self.decisions is not None
        element = self.decisions.find(self.text)
        if isinstance(element, Decision) and isinstance(element.logic, Table):
            named = [each.name for each in element.logic.outputs if each.name]
            return named or [element.variable.name]
        return [element.variable.name]

    @property
    def variables(self) -> frozenset[str]:
        """The variables that the result sets, where it is mapped to variables."""
        return frozenset(_NO_NAME.sub("_", each) for each in (*self._outputs(), self.text))


def _rows(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

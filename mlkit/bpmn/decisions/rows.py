"""Decide each row of a table: columns are inputs, results become columns, failures too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.bpmn.decisions import table_files
from mlkit.bpmn.decisions.evaluation import Evaluation
from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.decisions.model import Context, Decision, Element, Table
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.tree import ExpressionError
from mlkit.errors import BadData
from mlkit.progress import Progress
from mlkit.unpacking import UnpackLimits

_REPORT = 1000
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
ERROR = "error"
Cell = Callable[[Any], Any]


class Summary(NamedTuple):
    """What came of a table.

    Attributes:
        rows: How many rows were decided.
        failed: How many of them could not be.
        first: The first of these, with its place in the file; empty if there is none.
    """

    rows: int
    failed: int
    first: str


def decide_rows(
    decisions: Decisions,
    name: str,
    table: Path,
    target: Path,
    inputs: Mapping[str, Any],
    progress: Progress,
    begin: Callable[[list[str]], None] = lambda columns: None,
    limits: UnpackLimits | None = None,
) -> Summary:
    """Decide each row of a CSV or Parquet file, and write the rows with the results.

    A cell of a CSV file is text where its input is a text, an empty cell is null, and others are
    read as JSON. A result with several outputs fills a column for each; the column `error` has
    why a row failed.

    Args:
        decisions: The model.
        name: The decision.
        table: The file; a header names the columns. Parquet, if its name ends so; `-`: CSV.
        target: Where the rows are written; Parquet, if its name ends so; `-`: CSV.
        inputs: Values of inputs that no column has.
        progress: Called with how far the file is read, and how far it goes.
        begin: Called with the names of the columns.
        limits: How much the file may unpack to.

    Raises:
        InputMissing: The table cannot be read.
        BadData: It has no header, the same column twice, or rows of another width.
    """
    element = decisions.find(name)
    now = datetime.now(UTC)
    outputs = _outputs(decisions, element)
    count = failed = 0
    first = ""
    with table_files.reading(table, limits) as source:
        begin(source.columns)
        known = _columns(decisions, source)
        added = _find_added(name, [*outputs, ERROR], source.columns)
        with table_files.writing(target, source, added) as write:
            for count, row in enumerate(source.rows, 1):
                values = {**inputs, **{key: read(row[at]) for at, key, read in known}}
                found, error = _decide(decisions, element, values, now)
                if error:
                    failed += 1
                    first = first or f"{source.place(count)}: {error}"
                write(row, [*_results(outputs, found), error or None])
                if count % _REPORT == 0:
                    progress(*source.done(count))
    return Summary(count, failed, first)


def _decide(
    decisions: Decisions, element: Element, values: Mapping[str, Any], now: datetime
) -> tuple[Any, str]:
    """Return the value of a row, and why it has none."""
    evaluation = Evaluation(decisions.loaded, values, now)
    try:
        found = evaluation.decide(element)
    except ExpressionError as error:
        return None, error.message
    notes = evaluation.trace.notes
    return found, notes[0] if notes else ""


def _columns(decisions: Decisions, source: table_files.Source) -> list[tuple[int, str, Cell]]:
    """Return the columns that are inputs: the place, the name, and how a cell is read."""
    known, texts = set(decisions.known_inputs), decisions.text_inputs

    def reader(name: str) -> Cell:
        if source.is_typed:
            return lambda value: value
        return str if name in texts else _cell

    return [(at, name, reader(name)) for at, name in enumerate(source.columns) if name in known]


def _cell(text: str) -> Any:
    if _NUMBER.fullmatch(text):
        return number(text)
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(text: str) -> Any:
    """Refuse what Python reads as a number and JSON does not know."""
    raise ValueError(text)


# -- results -----------------------------------------------------------------------------------


def _outputs(decisions: Decisions, element: Element) -> list[str]:
    """Return the entries of a decision's result, or nothing if it is not a context."""
    logic = element.logic if isinstance(element, Decision) else None
    if isinstance(logic, Table) and len(logic.outputs) > 1 and logic.is_single:
        return [each.name for each in logic.outputs]
    if isinstance(logic, Context) and all(variable for variable, _ in logic.entries):
        return [variable.name for variable, _ in logic.entries if variable]
    declared = decisions.loaded.types.get(element.variable.type_ref)
    return list(declared.entries) if declared.name == "context" else []


def _find_added(decision: str, outputs: list[str], columns: list[str]) -> list[str]:
    """Return the names of the columns that are added; what is there already stays as it is."""
    own = [decision, *outputs] if outputs == [ERROR] else outputs
    names = [f"{decision}.{each}" if each in columns else each for each in own]
    if taken := set(names) & set(columns):
        raise BadData(f"there is a column {sorted(taken)[0]!r} already")
    return names


def _results(outputs: list[str], found: Any) -> list[Any]:
    if not outputs:
        return [found]
    return [found.get(each) for each in outputs] if type(found) is dict else [None] * len(outputs)

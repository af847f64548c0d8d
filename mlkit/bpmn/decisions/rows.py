"""Decide each row of a table: columns are inputs, results become columns."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from mlkit.bpmn.decisions.answers import shown
from mlkit.bpmn.decisions.load import Decisions
from mlkit.errors import BadData, InputMissing
from mlkit.files import replacing
from mlkit.progress import Progress

_REPORT = 1000


def decide_rows(
    decisions: Decisions,
    name: str,
    table: Path,
    target: Path,
    inputs: Mapping[str, Any],
    progress: Progress,
    begin: Callable[[list[str]], None] = lambda columns: None,
) -> int:
    """Decide each row of a CSV file, and write the rows with the results.

    A cell is text where its input is a text, an empty cell is null, and others are read as JSON. A
    result that is a context fills a column for each entry.

    Args:
        decisions: The model.
        name: The decision.
        table: The file; a header names the columns.
        target: Where the rows are written.
        inputs: Values of inputs that no column has.
        progress: Called with the number of rows that are done.
        begin: Called with the names of the columns.

    Returns:
        The number of rows.

    Raises:
        InputMissing: The table cannot be read.
        BadData: It has no header, or rows of another width; a decision reaches a limit.
    """
    texts = decisions.text_inputs
    now = datetime.now(UTC)
    count = 0
    with _opened(table) as source, replacing(target) as raw:
        sink = TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        reader = csv.reader(source)
        header = next(reader, None)
        if not header:
            raise BadData(f"{table}: no header that names the inputs")
        begin(header)
        writer: csv.DictWriter[str] | None = None
        for count, cells in enumerate(reader, 1):
            if len(cells) != len(header):
                raise BadData(f"{table}:{reader.line_num}: {len(cells)} cells, not {len(header)}")
            row = dict(zip(header, cells, strict=True))
            values = {key: _cell(text, key in texts) for key, text in row.items()}
            found = decisions.evaluate(name, {**inputs, **values}, now).value
            results = _results(name, found)
            if writer is None:
                writer = csv.DictWriter(sink, [*header, *(k for k in results if k not in header)])
                writer.writeheader()
            known = {key: each for key, each in results.items() if key in set(writer.fieldnames)}
            writer.writerow({**row, **known})
            if count % _REPORT == 0:
                progress(count)
        sink.detach()
    return count


@contextmanager
def _opened(table: Path) -> Iterator[IO[str]]:
    if str(table) == "-":
        yield sys.stdin
        return
    try:
        with table.open(newline="", encoding="utf-8-sig") as source:
            yield source
    except OSError as error:
        raise InputMissing(f"{table}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{table}: no UTF-8") from error


def _cell(text: str, is_text: bool) -> Any:
    if is_text:
        return text
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _results(name: str, found: Any) -> dict[str, str]:
    if type(found) is dict:
        return {key: _written(each) for key, each in found.items()}
    return {name: _written(found)}


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if type(value) is str else shown(value)

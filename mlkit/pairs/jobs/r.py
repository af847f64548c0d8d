"""Jobs in R: one isolated process of R, with an environment for each running copy of the file.

A state is kept as R has it, types and attributes included (`mlkit.workers.r_values`): lists,
vectors, factors, times, matrices and data frames, or an environment of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlkit.errors import BadData, InputMissing
from mlkit.pairs.jobs import rows
from mlkit.pairs.jobs.file import (
    FRAME,
    FUNCTIONS,
    RETURNED,
    JobRaised,
    require_kind,
    require_names,
)
from mlkit.pairs.jobs.rows import Row
from mlkit.streams import Record
from mlkit.workers import r_values
from mlkit.workers.r_session import Loaded, RError, RSession
from mlkit.workers.r_values import CHARACTER, DOUBLE, INTEGER, LIST, NULL, Vector


class RFile:
    """A job in R; see `mlkit.pairs.jobs.file.JobFile`.

    Args:
        path: The file.
        key: The field by which records are partitioned.
        program: The interpreter.

    Raises:
        InputMissing: It cannot be read.
        BadData: It cannot be run, or lacks `process`.
        ServiceUnavailable: There is no such interpreter.
    """

    def __init__(self, path: str, key: str, program: str) -> None:
        self.path, self.key, self._program = path, key, program
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
        self.session = RSession(program)
        try:
            self._spare: Loaded | None = self._load()
            self.kind = self._check(self._spare)
        except BaseException:
            self.session.close()
            raise

    def _load(self) -> Loaded:
        try:
            return self.session.load(self.path)
        except RError as error:
            line = f"line {error.lines[-1]}: " if error.lines else ""
            message = error.message.removeprefix(f"{self.path}:")
            raise BadData(f"{self.path}: {line}{message}") from error

    def _check(self, loaded: Loaded) -> str:
        for name in FUNCTIONS:
            if loaded.modes.get(name, "function") != "function":
                raise BadData(f"{self.path}: {name} is not a function")
        require_names(self.path, loaded.modes.keys())
        if "RECORDS" not in loaded.modes:
            return FRAME
        kind = r_values.decode(self.session.keep(loaded.number, "RECORDS"))
        require_kind(self.path, kind.items[0] if len(kind.items) == 1 else list(kind.items))
        return str(kind.items[0])

    def start(self, state: bytes | None = None) -> RTask:
        """Run the file and its `setup()`; see `JobFile.start`."""
        if not self.session.is_alive:
            self.session.close()
            self.session, self._spare = RSession(self._program), None
        loaded, self._spare = self._spare or self._load(), None
        return RTask(self, loaded, state)

    def close(self) -> None:
        """End the process of R."""
        self.session.close()


class RTask:
    """A running copy of a job in R; see `mlkit.pairs.jobs.file.Task`."""

    def __init__(self, file: RFile, loaded: Loaded, state: bytes | None) -> None:
        self._file, self._session, self._loaded = file, file.session, loaded
        if "setup" in loaded.modes:
            self._run("setup")
        if state is not None:
            self._recover(state)

    def _recover(self, state: bytes) -> None:
        if "snapshot" not in self._loaded.modes:
            try:
                self._session.restore(self._loaded.number, "state", state)
            except RError as error:
                raise _unreadable(error) from error
        if "recover" in self._loaded.modes:
            self._run("recover", r_values.Encoded(state))

    def _run(self, name: str, *arguments: Any) -> None:
        try:
            self._session.run(self._loaded.number, name, *arguments)
        except RError as error:
            if error.refused:
                raise _unreadable(error) from error
            self._fail(name, error)

    def _call(self, name: str, *arguments: Any) -> Vector:
        try:
            return self._session.call(self._loaded.number, name, *arguments)
        except RError as error:
            self._fail(name, error)

    def _fail(self, name: str, error: RError) -> NoReturn:
        path = self._file.path
        if error.refused:
            raise BadData(f"{path}: {name}() returned {error.message}", hint=RETURNED) from error
        line = f"line {error.lines[-1]}: " if error.lines else ""
        raise JobRaised(f"{path}: {name}(): {line}{error.message}", error.trace) from error

    def process_plain(self, records: Sequence[Record], *, shared: bool) -> None:
        """Return None: R gets rows; see `Task.process_plain`."""

    def process(self, given: Sequence[Row]) -> list[Row]:
        """Hand rows to the job; see `Task.process`."""
        if self._file.kind == FRAME:
            return self._records(self._call("process", frame(given)))
        try:
            single = [one(row) for row in given]
            found = self._session.each(self._loaded.number, "process", single)
        except RError as error:
            self._fail("process", error)
        return [row for each in found for row in self._records(each)]

    def _records(self, returned: Vector) -> list[Row]:
        path, key = self._file.path, self._file.key
        found = records(returned)
        if found is None:
            kind = returned.classes[-1] if returned.classes else r_values.NAMES[returned.kind]
            raise BadData(f"{path}: process() returned a {kind}", hint=RETURNED)
        try:
            return [rows.of_mapping(each, key, n) for n, each in enumerate(found)]
        except BadData as error:
            raise BadData(f"{path}: process() returned {error.message}") from error

    def state(self) -> bytes | None:
        """Return what has to be kept; see `Task.state`."""
        modes = self._loaded.modes
        if "snapshot" not in modes and "state" not in modes:
            return None
        name = "snapshot" if "snapshot" in modes else "state"
        try:
            return bytes(self._session.keep(self._loaded.number, name, call=name == "snapshot"))
        except RError as error:
            if not error.refused:
                self._fail(name, error)
            raise BadData(
                f"{self._file.path}: {error.message.replace('value', name, 1)}"
            ) from error


def _unreadable(error: RError) -> BadData:
    return BadData(f"the state of the job cannot be read: {error.message}")


def frame(given: Sequence[Row]) -> Vector:
    """Return rows as a data.frame; a column for each field, NA where a row has none."""
    names = list(dict.fromkeys(name for row in given for name in row))
    columns = [_column(name, [row.get(name) for row in given]) for name in names]
    attributes = {
        "names": Vector(CHARACTER, names), "class": Vector(CHARACTER, ["data.frame"]),
        "row.names": Vector(INTEGER, [None, -len(given)]),
    }  # fmt: skip
    return Vector(LIST, columns, attributes)


def one(row: Row) -> Vector:
    """Return a row as a list with names."""
    fields = [_moments([each]) if name == "time" else each for name, each in row.items()]
    return Vector(LIST, fields, {"names": Vector(CHARACTER, list(row))})


def _column(name: str, cells: list[Any]) -> Vector:
    return _moments(cells) if name == "time" else r_values.vector(cells)


def _moments(times: list[int]) -> Vector:
    seconds = Vector(DOUBLE, [each / 1e9 for each in times])
    classes = Vector(CHARACTER, ["POSIXct", "POSIXt"])
    return seconds._replace(attributes={"class": classes, "tzone": Vector(CHARACTER, ["UTC"])})


def records(returned: Vector) -> list[dict[str, Any]] | None:
    """Return a data.frame, a list with names or a list of them as records; None if it is none."""
    if returned.kind == NULL:
        return []
    if "data.frame" in returned.classes:
        columns = [_cells(each) for each in returned.items]
        return [
            dict(zip(returned.names, cells, strict=True)) for cells in zip(*columns, strict=True)
        ]
    if returned.kind != LIST:
        return None
    if returned.names:
        return [_fields(returned)]
    if all(each.kind == LIST and each.names for each in returned.items):
        return [_fields(each) for each in returned.items]
    return None


def _fields(row: Vector) -> dict[str, Any]:
    return {str(name): _value(each) for name, each in zip(row.names, row.items, strict=True)}


def _value(found: Vector) -> Any:
    """Return a value of a record: a vector of one element is that element."""
    if found.kind == LIST and found.names:
        return _fields(found)
    cells = _cells(found)
    return cells[0] if found.kind not in (NULL, LIST) and len(cells) == 1 else cells or None


def _cells(column: Vector) -> list[Any]:
    """Return the elements of a vector as they are in records."""
    if column.kind == LIST:
        return [_value(each) for each in column.items]
    if "factor" in column.classes:
        levels = column.attributes["levels"].items
        return [None if each is None else levels[each - 1] for each in column.items]
    if "POSIXct" in column.classes:
        return _times(column.items, 10**6)
    if "Date" in column.classes:
        return _times(column.items, 86_400 * 10**6)
    return list(column.items)


def _times(items: Sequence[float | None], microseconds: int) -> list[Any]:
    """Return times to the microsecond, which is what a double of seconds can hold."""
    known = np.array([np.nan if each is None else each for each in items], float) * microseconds
    whole = np.where(np.abs(known) < 2**62, np.round(known), np.nan)
    return [
        np.datetime64("NaT") if each != each else np.datetime64(int(each) * 1000, "ns")
        for each in whole.tolist()
    ]

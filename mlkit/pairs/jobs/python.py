"""Jobs in Python.

A job is the operator's own code, as a strategy is: it runs in the process of the command, with the
operator's rights.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlkit.errors import BadData, InputMissing, Interrupted
from mlkit.pairs.defaults import KEY
from mlkit.pairs.jobs import columns, rows, states
from mlkit.pairs.jobs.file import FRAME, FUNCTIONS, RETURNED, JobRaised, require_kind, require_names
from mlkit.pairs.jobs.rows import Row
from mlkit.pairs.strategy.file import describe
from mlkit.streams import Message, Record

_NUMBERS = count(1)


class PythonFile:
    """A file with `process(data)`, and at will `setup()`, `recover(state)` and `snapshot()`.

    Args:
        path: The file.
        key: The field by which records are partitioned.

    Raises:
        InputMissing: It cannot be read.
        BadData: It cannot be run, or lacks `process`; the message has file and line.
    """

    def __init__(self, path: str, key: str = KEY) -> None:
        self.path, self.key = path, key
        self._code = _compile(path)
        self._spare: ModuleType | None = self._module()
        _require_functions(path, self._spare)

    def _module(self) -> ModuleType:
        module = ModuleType(f"mlkit_job_{Path(self.path).stem}_{next(_NUMBERS)}")
        module.__file__ = self.path
        sys.modules[module.__name__] = module  # dataclasses look their module up
        try:
            with contextlib.redirect_stdout(sys.stderr):
                exec(self._code, module.__dict__)
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            raise BadData(f"{self.path}: {describe(error, self.path)}") from error
        return module

    def start(self, state: bytes | None = None) -> PythonTask:
        """Run the file and its `setup()`, and restore a state into it.

        Raises:
            JobRaised: `setup()` or `recover()` raised.
            BadData: The state is damaged.
        """
        module, self._spare = self._spare or self._module(), None
        return PythonTask(self, module, state)

    def close(self) -> None:
        """Do nothing: copies are modules of this process."""


def _compile(path: str) -> CodeType:
    try:
        return compile(Path(path).read_bytes(), path, "exec")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise BadData(f"{path}: {describe(error, path)}") from error


def _require_functions(path: str, module: ModuleType) -> None:
    for name in FUNCTIONS:
        if not callable(getattr(module, name, len)):
            raise BadData(f"{path}: {name} is not a function")
    require_names(path, {name for name in FUNCTIONS if hasattr(module, name)})
    require_kind(path, getattr(module, "RECORDS", FRAME))
    if not hasattr(module, "snapshot") and type(getattr(module, "state", {})) is not dict:
        raise BadData(f"{path}: state is not a dictionary", hint="state = {}, or def snapshot()")


class PythonTask:
    """A running copy of a job's file, with the state of the keys that it has seen.

    Args:
        file: The file.
        module: What running it made.
        state: What `state` returned before; None: it starts afresh.
    """

    def __init__(self, file: PythonFile, module: ModuleType, state: bytes | None) -> None:
        self._file, self._module = file, module
        self._call("setup")
        if state is not None:
            self._recover(states.decode(state))

    def _recover(self, restored: Any) -> None:
        if not hasattr(self._module, "snapshot") and isinstance(restored, dict):
            # The file's functions may hold the dictionary itself: it stays the same object.
            kept = self._module.__dict__.setdefault("state", {})
            kept.clear()
            kept.update(restored)
        self._call("recover", restored)

    def _call(self, name: str, *arguments: Any) -> Any:
        function: Callable[..., Any] | None = getattr(self._module, name, None)
        if function is None:
            return None
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output has results only
                return function(*arguments)
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            raise self._raised(name, error) from error

    def _raised(self, name: str, error: BaseException) -> JobRaised:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != self._file.path:
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
        path = self._file.path
        return JobRaised(f"{path}: {name}(): {describe(error, path)}", text)

    def process(self, given: Sequence[Row]) -> list[Row]:
        """Hand rows of one partition to the job, in their order, and return what it returns.

        Raises:
            JobRaised: `process` raised.
            BadData: It returned something that is not records.
        """
        if self._takes_frames:
            return self._records(self._call("process", rows.frame(given)))
        return [
            made for row in given for made in self._records(self._call("process", rows.single(row)))
        ]

    def process_plain(self, records: Sequence[Record], *, shared: bool) -> list[Message] | None:
        """Hand plain records to a job of data frames; see `Task.process_plain`."""
        import pandas as pd

        key = self._file.key
        data = columns.frame(records, key, shared=shared) if self._takes_frames else None
        if data is None:
            return None
        returned = self._call("process", data)
        made = columns.messages(returned, key) if isinstance(returned, pd.DataFrame) else None
        if made is not None:
            return made
        return [rows.message(row, key) for row in self._records(returned)]

    @property
    def _takes_frames(self) -> bool:
        return bool(getattr(self._module, "RECORDS", FRAME) == FRAME)

    def _records(self, returned: Any) -> list[Row]:
        import pandas as pd

        key = self._file.key
        try:
            if returned is None:
                return []
            if isinstance(returned, pd.DataFrame):
                return rows.of_frame(returned, key)
            if isinstance(returned, Mapping):
                return [rows.of_mapping(returned, key)]
            if isinstance(returned, list) and all(isinstance(each, Mapping) for each in returned):
                return [rows.of_mapping(each, key, n) for n, each in enumerate(returned)]
        except BadData as error:
            raise BadData(f"{self._file.path}: process() returned {error.message}") from error
        except RecursionError as error:
            raise BadData(f"{self._file.path}: process() returned a value within itself") from error
        kind = type(returned).__qualname__
        raise BadData(
            f"{self._file.path}: process() returned a {kind}",
            hint=RETURNED,
        )

    def state(self) -> bytes | None:
        """Return what has to be kept; None for a job without state.

        Raises:
            JobRaised: `snapshot()` raised.
            BadData: It cannot be kept.
        """
        kept = self._call("snapshot") if hasattr(self._module, "snapshot") else self._dictionary()
        try:
            return None if kept is None else states.encode(kept)
        except BadData as error:
            raise BadData(f"{self._file.path}: {error.message}", hint=error.hint) from error

    def _dictionary(self) -> dict[str, Any] | None:
        kept = getattr(self._module, "state", None)
        if kept is not None and type(kept) is not dict:
            raise BadData("state has become something that is not a dictionary")
        return kept

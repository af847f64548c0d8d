"""Run a script in R: JSON there and back, data frames as RDS files.

This file uses the standard library only; data frames need pandas and pyreadr.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from datetime import date
from typing import Any

import values  # type: ignore[import-not-found]
from artifacts import Artifacts, Damaged  # type: ignore[import-not-found]

_DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "driver.R")
_START = "sys.source(commandArgs(TRUE)[[1]], new.env(parent = globalenv()))"
_PR_SET_PDEATHSIG = 1
_EXACT = 2**53  # doubles, the numbers of R, hold all whole numbers up to here
_BEYOND = "holds whole numbers beyond 2^53: they are integer64 in R (package bit64), or text"
# What R must know of a stored data frame, beside where it is.
_FIELDS = ("zones", "ordered", "units", "whole", "dim", "named")
_KEPT = ("whole", "dim", "named")
_MAX_DIGITS = 4000
_PRCTL = ctypes.CDLL(None).prctl


class RError(Exception):
    """A script that R could not run to its end."""


class Thrown(Exception):
    """A BPMN error that a script threw."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Thrown.__name__ = "BpmnError"
RError.__module__ = "builtins"  # so that what is printed does not name this file


class Program:
    """An interpreter of R.

    Args:
        path: The program.
        cpu: Seconds of processor time for a script, 0 for no limit.
        scratch: Where files may lie while a script runs.

    Attributes:
        peak: The most memory that the last script had, in bytes.
    """

    def __init__(self, path: str, cpu: int, scratch: str) -> None:
        self.path = path
        self.cpu = cpu
        self.scratch = scratch
        self.peak = 0

    def start(self, folder: str) -> int:
        """Run the script of a folder to its end; return its exit status."""
        sys.stdout.flush()
        command = [self.path, "--vanilla", "-e", _START, _DRIVER, folder]
        process = subprocess.Popen(command, preexec_fn=self._limit)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.peak = usage.ru_maxrss * 1024
        return process.returncode

    def _limit(self) -> None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.cpu:
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (self.cpu, hard))

    def describe_end(self, status: int) -> str:
        """Return by what R ended that left no result."""
        if status == -signal.SIGXCPU:
            return f"stopped after {self.cpu} s of processor time (--cpu)"
        died = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"R ended with {died}"


def run(program: Program, job: dict[str, Any], artifacts: Artifacts) -> tuple[dict[str, Any], str]:
    """Run a script; return what it publishes, and warnings about what it does not.

    Raises:
        RError: It failed.
        Thrown: It threw a BPMN error.
    """
    with tempfile.TemporaryDirectory(dir=program.scratch) as folder:
        variables, skipped = _pass_values(job["variables"], artifacts, folder)
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
            json.dump({**job, "variables": variables}, file)
        status = program.start(folder)
        try:
            with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
                result = json.load(file)
        except OSError:
            raise RError(program.describe_end(status)) from None
        if result["outcome"] == "error":
            raise Thrown(result["code"], result["message"])
        if result["outcome"] == "failed":
            raise RError(result["message"])
        found = result.get("variables", {})
        return {name: _take(each, artifacts) for name, each in found.items()}, skipped


def _pass_values(
    packed: dict[str, Any], artifacts: Artifacts, folder: str
) -> tuple[dict[str, Any], str]:
    passed, skipped = {}, ""
    for number, (name, value) in enumerate(packed.items()):
        if isinstance(value, dict) and "$artifact" in value:
            try:
                passed[name] = _artifact(value, artifacts, os.path.join(folder, f"{number}.rds"))
            except Damaged as error:
                raise Damaged(f"{name}: {error}") from error
            except Exception as error:  # it may not be needed
                skipped += f"warning: {name} is not passed to R: {error}\n"
        else:
            passed[name] = _exact(value)
        if _is_beyond(passed.get(name)):
            skipped += f"warning: {name} {_BEYOND}\n"
    return passed, skipped


def _exact(value: Any) -> Any:
    """Write whole numbers that R has none for as text, with a tag; tags of clients as values."""
    if type(value) is int and abs(value) > _EXACT:
        return {"$whole": [str(value)]}
    if isinstance(value, list):
        numbers = [each for each in value if each is not None]
        large = any(type(each) is int and abs(each) > _EXACT for each in numbers)
        if large and all(type(each) is int for each in numbers):
            return {"$whole": [None if each is None else str(each) for each in value]}
        return [_exact(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in _TAGS:
        return _untag(value)
    return {name: _exact(each) for name, each in value.items()}


_TAGS = {"$decimal", "$short", "$long", "$json", "$null", "$xml", "$object"}


def _untag(value: dict[str, Any]) -> Any:
    """Read a tag that R does not know; a decimal that is a whole number beyond 2^53, as one."""
    found = values.unpack(value)
    if "$decimal" not in value:
        return _exact(values.pack(found))
    if not found.is_finite() or abs(found) <= _EXACT or found.adjusted() > _MAX_DIGITS:
        return value
    return _exact(int(found)) if found == found.to_integral_value() else value


def _is_beyond(value: Any) -> bool:
    """Return whether a value that is passed holds whole numbers beyond 2^53."""
    if isinstance(value, list):
        return any(map(_is_beyond, value))
    if not isinstance(value, dict):
        return False
    if "$rds" in value:
        return bool(value.get("whole"))
    return "$whole" in value or any(map(_is_beyond, value.values()))


def _artifact(reference: dict[str, Any], artifacts: Artifacts, path: str) -> Any:
    if reference.get("format") == "rds":
        known = {key: reference[key] for key in _KEPT if reference.get(key)}
        return {"$rds": artifacts.path(reference), **known}
    if reference.get("format") == "file":  # what reads a file in R takes its path
        return artifacts.path(reference)
    value = artifacts.load(reference)
    columns = _columns(value)
    if columns is not None:
        return {**_frame(columns[0], path), **columns[1]}
    return _exact(values.pack(value.tolist() if hasattr(value, "tolist") else value))


def _columns(value: Any) -> tuple[Any, dict[str, Any]] | None:
    """Return a data frame, an array or a series with names as a data frame, and what it is."""
    kind = type(value).__name__
    if kind == "DataFrame":
        return value, {}
    if importlib.util.find_spec("pyreadr") is None:
        return None  # then they are lists
    if kind == "ndarray" and value.ndim > 1:
        return _frame_of({"value": value.ravel(order="F")}), {"dim": list(value.shape)}
    if kind == "Series" and type(value.index).__name__ != "RangeIndex":
        names = [str(each) for each in value.index]
        return _frame_of({"name": names, "value": value.to_numpy()}), {"named": True}
    return None


def _frame_of(columns: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def _frame(frame: Any, path: str) -> dict[str, Any]:
    """Write a data frame; pyreadr writes moments as text, so their columns are named beside."""
    import pyreadr  # type: ignore[import-untyped]

    columns = {at: frame.iloc[:, at - 1] for at in range(1, frame.shape[1] + 1)}
    kinds = {at: each.dtype for at, each in columns.items()}
    found = {
        "zones": {at: _zone(each) for at, each in kinds.items() if each.kind == "M"},
        "durations": [at for at, each in kinds.items() if each.kind == "m"],
        "ordered": [at for at, each in kinds.items() if getattr(each, "ordered", False)],
        "integers": [at for at, each in columns.items() if _is_short(each)],
        "dates": [at for at, each in columns.items() if _has_dates(each)],
        "whole": [at for at, each in columns.items() if _is_long(each)],
    }
    written = frame.copy(deep=False)
    written.columns = [str(each) for each in frame.columns]
    for at, each in columns.items():
        if at in found["whole"]:
            written.isetitem(at - 1, each.astype("string").astype(object))
        elif each.dtype.kind in "Mm":
            written.isetitem(at - 1, _plain(each))
    pyreadr.write_rds(path, written, datetimeformat="%Y-%m-%d %H:%M:%S.%f")
    return {"$rds": path, **found}


def _zone(kind: Any) -> str:
    """Name a zone for R; a column without one is in UTC there."""
    name = str(getattr(kind, "tz", None))
    return name if "/" in name else "UTC" if name == "None" else "Etc/UTC"


def _plain(column: Any) -> Any:
    """Turn what pyreadr would write wrongly into moments in UTC and seconds."""
    if column.dtype.kind == "m":
        return column.dt.total_seconds()
    aware = getattr(column.dtype, "tz", None) is not None
    return column.dt.tz_convert("UTC").dt.tz_localize(None) if aware else column


def _is_short(column: Any) -> bool:
    """Return whether R's integers, of 32 bits, can hold a column."""
    whole = column.dtype.kind in "iu" and not hasattr(column.dtype, "categories")
    return whole and bool(column.dropna().between(-(2**31) + 1, 2**31 - 1).all())


def _is_long(column: Any) -> bool:
    """Return whether a column holds whole numbers that no double has."""
    whole = column.dtype.kind in "iu" and not hasattr(column.dtype, "categories")
    return whole and not bool(column.dropna().between(-_EXACT, _EXACT).all())


def _has_dates(column: Any) -> bool:
    return column.dtype.kind == "O" and any(type(each) is date for each in column)


def _take(value: Any, artifacts: Artifacts) -> Any:
    if isinstance(value, list):
        return [_take(each, artifacts) for each in value]
    if not isinstance(value, dict):
        return value
    if "$rds" in value:
        columns = {key: value[key] for key in _FIELDS if value.get(key)}
        return artifacts.store_rds(value["$rds"], {"kind": value["kind"], **columns})
    if "$integer" in value:
        return int(value["$integer"])
    if "$float" in value:
        return values.pack(float(value["$float"]))
    return {name: _take(each, artifacts) for name, each in value.items()}

"""Run a script in R: JSON there and back, data frames as RDS files.

This file uses the standard library only; data frames need pandas and pyreadr.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import date
from typing import Any

import values  # type: ignore[import-not-found]
from artifacts import Artifacts  # type: ignore[import-not-found]

_DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "driver.R")
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl


class RError(Exception):
    """A script that R could not run to its end."""


class Thrown(Exception):
    """A BPMN error that a script threw."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


Thrown.__name__ = "BpmnError"


def run(
    program: str, job: dict[str, Any], artifacts: Artifacts, scratch: str
) -> tuple[dict[str, Any], str]:
    """Run a script; give what it publishes, and warnings about what it does not.

    Raises:
        RError: It failed.
        Thrown: It threw a BPMN error.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        variables, skipped = _passed(job["variables"], artifacts, folder)
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
            json.dump({**job, "variables": variables}, file)
        sys.stdout.flush()
        done = subprocess.run(
            [program, "--vanilla", _DRIVER, folder], check=False, preexec_fn=_die_with_parent
        )
        try:
            with open(os.path.join(folder, "result.json"), encoding="utf-8") as file:
                result = json.load(file)
        except OSError:
            raise RError(f"R ended with exit status {done.returncode}") from None
        if result["outcome"] == "error":
            raise Thrown(result["code"], result["message"])
        if result["outcome"] == "failed":
            raise RError(result["message"])
        found = result.get("variables", {})
        return {name: _taken(each, artifacts) for name, each in found.items()}, skipped


def _die_with_parent() -> None:
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _passed(
    packed: dict[str, Any], artifacts: Artifacts, folder: str
) -> tuple[dict[str, Any], str]:
    passed, skipped = {}, ""
    for number, (name, value) in enumerate(packed.items()):
        if isinstance(value, dict) and "$artifact" in value:
            try:
                passed[name] = _artifact(value, artifacts, os.path.join(folder, f"{number}.rds"))
            except (ImportError, TypeError, values.Unstorable) as error:
                skipped += f"warning: {name} is not passed to R: {error}\n"
        else:
            passed[name] = value
    return passed, skipped


def _artifact(reference: dict[str, Any], artifacts: Artifacts, path: str) -> Any:
    if reference.get("format") == "rds":
        return {"$rds": artifacts.path(reference)}
    value = artifacts.load(reference)
    if type(value).__name__ == "DataFrame":
        return _frame(value, path)
    return values.pack(value.tolist() if hasattr(value, "tolist") else value)


def _frame(frame: Any, path: str) -> dict[str, Any]:
    """Write a data frame; pyreadr writes moments as text, so their columns are named beside."""
    import pyreadr  # type: ignore[import-untyped]

    pyreadr.write_rds(path, frame, datetimeformat="%Y-%m-%d %H:%M:%S.%f")
    times = [str(each) for each in frame.columns if frame[each].dtype.kind == "M"]
    dates = [
        str(each)
        for each in frame.columns
        if frame[each].dtype == object and frame[each].map(_is_date).any()
    ]
    return {"$rds": path, "times": times, "dates": dates}


def _is_date(value: Any) -> bool:
    return type(value) is date


def _taken(value: Any, artifacts: Artifacts) -> Any:
    if isinstance(value, list):
        return [_taken(each, artifacts) for each in value]
    if not isinstance(value, dict):
        return value
    if "$rds" in value:
        return artifacts.store_rds(value["$rds"], value["kind"])
    if "$float" in value:
        return values.pack(float(value["$float"]))
    return {name: _taken(each, artifacts) for name, each in value.items()}

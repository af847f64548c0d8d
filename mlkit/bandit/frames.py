"""Data frames in and out: logs and posteriors of pandas' frames, and posteriors as frames.

A frame goes the way of a file, through a temporary one, so that the same rows are refused with the
same messages. pandas is imported when a frame is returned, not before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet

from mlkit.bandit.logs.log import Columns
from mlkit.bandit.posteriors import file, fitting
from mlkit.bandit.posteriors.posterior import Header, Posteriors
from mlkit.errors import BadData, UsageError

if TYPE_CHECKING:
    import pandas as pd

_NAME = "data frame"


def fit(log: pd.DataFrame, columns: Columns, header: Header, **settings: Any) -> Posteriors:
    """Fit posteriors to a log: a row per reward.

    Args:
        log: The columns that `columns` names.
        columns: Their names.
        header: The model's name, prior and shrinkage; its source is filled in.
        settings: The keyword arguments of `fitting.fit`.

    Raises:
        UsageError: The log is not a frame.
        BadData: The log lacks a column, has a bad row, or none at all.
    """
    with _as_file(log, "log", ".parquet") as path:
        return fitting.fit([path], columns, header, **settings)


def posteriors(frame: pd.DataFrame) -> Posteriors:
    """Take posteriors from a frame, checked as those of a file are.

    Args:
        frame: A row per arm or per context and arm, with `arm`, `a`, `b`, and, where they are
            known, `context` (missing in the row of an arm), `pulls` and the other columns of a CSV.

    Raises:
        UsageError: It is not a frame.
        BadData: It lacks a column, or has a bad row.
    """
    with _as_file(frame, "frame", ".csv") as path:
        return file.read(path)


def of_posteriors(posteriors: Posteriors) -> pd.DataFrame:
    """Return a row per arm, then per context and arm: `context`, `arm`, `a`, `b` and `pulls`."""
    return pa.Table.from_batches(posteriors.batches()).to_pandas()


@contextmanager
def _as_file(frame: Any, name: str, suffix: str) -> Iterator[Path]:
    """Write a frame for the block, in whose errors it has the name of a frame."""
    if not hasattr(frame, "to_csv") or not hasattr(frame, "columns"):
        raise UsageError(f"{name}: is a {type(frame).__name__}, expected a pandas data frame")
    with tempfile.TemporaryDirectory(prefix="mlkit-bandit-") as folder:
        path = Path(folder) / f"{_NAME}{suffix}"
        try:
            if suffix == ".csv":
                frame.to_csv(path, index=False)
            else:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                pyarrow.parquet.write_table(table, path)
            yield path
        except pa.ArrowException as error:
            raise BadData(f"{_NAME}: {error}") from error
        except BadData as error:
            raise BadData(error.message.replace(str(path), _NAME), hint=error.hint) from error

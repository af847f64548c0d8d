"""The option `--report` of commands that write a page with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _writable(path: Path | None) -> Path | None:
    """Refuse, before any work is done, what no page can be written to."""
    from mlkit.errors import InputMissing, UsageError
    from mlkit.files import check_name

    if path is None:
        return None
    hint = "name a file, such as report.html"
    if str(path) == "-":
        raise UsageError("--report -: a page goes to a file", hint=hint)
    check_name(path)
    if path.is_dir():
        raise UsageError(f"--report {path}: a directory", hint=hint)
    if not path.parent.is_dir():
        raise InputMissing(f"--report {path}: there is no directory {path.parent}")
    return path


ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        callback=_writable,
        help=("Write an HTML report with charts, in one self-contained file."),
    ),
]

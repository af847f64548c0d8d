"""Pages of reports: one file that holds all it shows, for screens of any width and for paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlkit import __version__
from mlkit.files import replacing

FRAME = Path(__file__).parent / "templates"
"""Templates for all: `page.html` to extend, with its style, and `parts.html`."""
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def write(path: Path, text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    with replacing(path) as file:
        # A name from a damaged file may hold half a surrogate pair.
        file.write(text.encode("utf-8", errors="replace"))


def render(
    folder: Path,
    template: str,
    context: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
) -> str:
    """Fill a template; every value that is not a picture is escaped.

    Args:
        folder: The workload's templates.
        template: One of them.
        context: What it shows.
        filters: How it shows it, beside `number`, `digits` and `percent`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, FRAME]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "digits": digits, "percent": percent, **filters}
    return environment.get_template(template).render(version=__version__, **context)


def number(given: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Return a number with thousands separated; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    text = f"{given:{'+' if signed else ''},.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def digits(given: float | None, most: int) -> str:
    """Return a number with that many significant digits; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    return f"{given:.{most}g}".replace("-", MINUS)


def percent(given: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Return a share in percent; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    return f"{number(100.0 * given, digits, signed=signed)}\N{NO-BREAK SPACE}%"

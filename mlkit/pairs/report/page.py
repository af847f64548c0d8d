"""Fill a report's template and write the page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mlkit import __version__
from mlkit.files import replacing
from mlkit.pairs.prices import Prices

TEMPLATES = Path(__file__).parents[1] / "templates"
NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def write(path: Path, template: str, context: dict[str, Any]) -> None:
    """Write a page, whole or not at all; what it shows is escaped.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    text = render(template, context)
    with replacing(path) as file:
        # A ticker from a damaged file may hold half a surrogate pair.
        file.write(text.encode("utf-8", errors="replace"))


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template; every value that is no picture is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "words": words,
        "shade": shade,
        "value": value,
        "digits": digits,
    }
    return environment.get_template(template).render(version=__version__, **context)


def universe(prices: Prices) -> dict[str, Any]:
    """Say which prices a page is about."""
    return {
        "source": prices.source,
        "sha256": prices.content_hash,
        "tickers": prices.tickers,
        "bars": len(prices),
        "first": str(prices.zoned[0]),
        "last": str(prices.zoned[-1]),
        "repairs": [str(each) for each in prices.repairs],
    }


def number(given: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Give a number with thousands separated; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    text = f"{given:{'+' if signed else ''},.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("+-")


def digits(given: float | None, most: int) -> str:
    """Give a number with so many significant digits; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    return f"{given:.{most}g}".replace("-", MINUS)


def percent(given: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Give a share in percent; a dash if there is none."""
    if given is None or not math.isfinite(given):
        return NONE
    return f"{number(100.0 * given, digits, signed=signed)}\N{NO-BREAK SPACE}%"


def words(name: str) -> str:
    """Give a field's name as people write it."""
    return name.replace("_", " ")


def value(given: Any) -> str:
    """Give a setting as the command line would take it."""
    if given is None:
        return "none"
    if isinstance(given, bool):
        return "yes" if given else "no"
    return f"{given:,.10g}" if isinstance(given, int | float) else str(given)


def shade(given: float | None, most: float) -> str:
    """Give the opacity of a heat map's cell: 0 at 0, growing to 0.75 at the largest value."""
    if given is None or not most > 0.0 or not math.isfinite(given):
        return "0"
    return f"{0.75 * min(abs(given) / most, 1.0):.2f}"

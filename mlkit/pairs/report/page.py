"""Fill a report's template and write the page."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlkit import page
from mlkit.pairs.prices.prices import Prices

TEMPLATES = Path(__file__).parent / "templates"


def write(path: Path, template: str, context: dict[str, Any]) -> None:
    """Write a page, whole or not at all; what it shows is escaped.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, render(template, context))


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template; every value that is not a picture is escaped."""
    filters: dict[str, Callable[..., Any]] = {
        "moment": moment,
        "words": words,
        "shade": shade,
        "value": value,
    }
    return page.render(TEMPLATES, template, context, filters)


def universe(prices: Prices) -> dict[str, Any]:
    """Name the prices that a page is about."""
    return {
        "source": prices.source,
        "sha256": prices.content_hash,
        "tickers": prices.tickers,
        "bars": len(prices),
        "first": str(prices.zoned[0]),
        "last": str(prices.zoned[-1]),
        "repairs": [str(each) for each in prices.repairs],
    }


def moment(text: str) -> str:
    """Return a timestamp of ISO 8601 to the minute, in its own zone."""
    return text[:16].replace("T", " ")


def words(name: str) -> str:
    """Return a field's name as people write it."""
    return name.replace("_", " ")


def value(given: Any) -> str:
    """Return a setting as the command line would take it."""
    if given is None or given == {}:
        return "none"
    if isinstance(given, dict):
        return ", ".join(f"{name}: {each}" for name, each in given.items())
    if isinstance(given, bool):
        return "yes" if given else "no"
    return f"{given:,.10g}" if isinstance(given, int | float) else str(given)


def shade(given: float | None, most: float) -> str:
    """Return the opacity of a heat map's cell: 0 at 0, growing to 0.75 at the largest value."""
    if given is None or not most > 0.0 or not math.isfinite(given):
        return "0"
    return f"{0.75 * min(abs(given) / most, 1.0):.2f}"

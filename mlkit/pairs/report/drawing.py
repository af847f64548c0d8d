"""Draw curves as SVG that takes its colours from the page.

No text of the user's enters a picture: tickers, which may hold anything, stand in the page
around it. Text inside is numbers and dates.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Vector = NDArray[np.float64]
Draw = Callable[["Figure"], None]

WIDE, NARROW = 860, 380
"""Widths of a picture on a desk and on a phone, in points."""


class Ink(StrEnum):
    """A colour of the page's style sheet: it is drawn as a stand-in and replaced."""

    TEXT = "#0000a1"
    MUTED = "#0000a2"
    GRID = "#0000a3"
    FIRST = "#0000a4"
    SECOND = "#0000a5"
    THIRD = "#0000a6"
    GAIN = "#0000a7"
    LOSS = "#0000a8"


STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": Ink.TEXT.value,
    "axes.labelcolor": Ink.MUTED.value,
    "axes.labelsize": 10.0,
    "axes.edgecolor": Ink.GRID.value,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.xmargin": 0.01,
    "grid.color": Ink.GRID.value,
    "grid.linewidth": 0.6,
    "xtick.color": Ink.GRID.value,
    "ytick.color": Ink.GRID.value,
    "xtick.labelcolor": Ink.MUTED.value,
    "ytick.labelcolor": Ink.MUTED.value,
    "lines.linewidth": 1.2,
    "patch.linewidth": 0.0,
    "hatch.linewidth": 0.6,
}
MARGINS = {"left": 46, "right": 8, "top": 8, "bottom": 22}


class Album:
    """Draws the pictures of one page, whose elements' ids must not collide."""

    def __init__(self) -> None:
        self._count = 0

    def picture(self, draw: Draw, width: int, height: int, **margins: int) -> Markup:
        """Draw on an empty figure; give an `<svg>` that fills the width it is given."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self._count += 1
        with mpl.rc_context({**STYLE, "svg.hashsalt": "mlkit"}):
            figure = Figure(figsize=(width / 72.0, height / 72.0), dpi=72.0)
            canvas = FigureCanvasSVG(figure)
            edge = MARGINS | margins
            figure.subplots_adjust(
                edge["left"] / width, edge["bottom"] / height,
                1.0 - edge["right"] / width, 1.0 - edge["top"] / height,
            )  # fmt: skip
            draw(figure)
            file = io.StringIO()
            canvas.print_svg(file, metadata={"Date": None})
        return Markup(_inline(file.getvalue(), f"p{self._count}"))  # noqa: S704

    def responsive(self, draw: Draw, height: int, **margins: int) -> Markup:
        """Draw twice, for a desk and for a phone; the style sheet shows one of them."""
        wide = self.picture(draw, WIDE, height, **margins)
        narrow = self.picture(draw, NARROW, height, **margins)
        return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(wide, narrow)


def _inline(text: str, prefix: str) -> str:
    """Cut a file's parts away, shorten numbers, and hand colours and fonts to the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="patch_1">.*?</g>', "", text, count=1, flags=re.DOTALL)  # background
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", text)
    for ink in Ink:
        text = text.replace(ink.value, f"var(--{ink.name.lower()})")
    return re.sub(r"\n\s*", "\n", _rename(text, prefix))


def _rename(text: str, prefix: str) -> str:
    """Drop ids that nothing refers to; make the others unique on the page and short."""
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    names = {name: f"{prefix}-{number}" for number, name in enumerate(used)}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", text)
    return re.sub(r'(href="#|url\(#)([^")]+)', lambda m: m[1] + names[m[2]], text)


def decimate(values: Vector, buckets: int = 400) -> NDArray[np.intp]:
    """Choose the positions of each bucket's lowest and highest value, and both ends.

    A curve through them looks like the whole one, since no extreme is lost.
    """
    count = len(values)
    step = math.ceil(count / buckets)
    if step <= 2:
        return np.arange(count)
    padded = np.full(step * math.ceil(count / step), np.nan)
    padded[:count] = values
    rows = padded.reshape(-1, step)
    empty = np.isnan(rows)
    starts = np.arange(len(rows)) * step
    lows = starts + np.where(empty, np.inf, rows).argmin(axis=1)
    highs = starts + np.where(empty, -np.inf, rows).argmax(axis=1)
    return np.unique(np.concatenate([lows, highs, [0, count - 1]]))


def line(axes: Axes, values: Vector, ink: Ink, **style: Any) -> None:
    """Draw a curve over bars 0, 1, ..."""
    kept = decimate(values)
    axes.plot(kept, values[kept], color=ink.value, solid_joinstyle="round", **style)


def area(axes: Axes, low: Vector, high: Vector, ink: Ink, alpha: float = 0.15) -> None:
    """Fill between two curves over bars 0, 1, ..."""
    kept = np.union1d(decimate(low, 200), decimate(high, 200))
    axes.fill_between(kept, low[kept], high[kept], color=ink.value, alpha=alpha, linewidth=0.0)


def date_ticks(axes: Axes, dates: Sequence[str] | NDArray[np.str_], most: int) -> None:
    """Mark where a year, month, day or hour begins; bars are evenly spaced, nights left out."""
    texts = np.asarray(dates).astype("U16")
    for length in (4, 7, 10, 13, 16):
        heads = texts.astype(f"U{length}")
        starts = np.flatnonzero(np.concatenate(([False], heads[1:] != heads[:-1])))
        if len(starts) >= 3:
            break
    starts = starts[:: math.ceil(max(len(starts), 1) / most)]
    axes.set_xticks(starts, [_date_label(text, length) for text in texts[starts]])


def _date_label(text: str, length: int) -> str:
    return text[:length] if length <= 10 else text[5:].replace("T", " ")


def most_ticks(figure: Figure) -> int:
    """Say how many dates fit below a picture."""
    return max(3, int(figure.get_figwidth() * 72.0 / 90.0))

"""Draw curves as SVG that takes its colours and fonts from the page.

A report may hold hundreds of pictures. Plotting libraries take a tenth of a second and fifty
kilobytes for each, or a megabyte of script for all; these few shapes take neither. No text of the
user's enters a picture: what is in one is numbers, dates and fixed names. Tickers and ids of
arms, which may hold anything, are in the page around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Ticks = Sequence[tuple[float, str]]

WIDE, NARROW = 860, 380
"""Widths of a picture on a desk and on a phone, in points."""

TOP, BOTTOM, GAP = 8.0, 22.0, 16.0
"""Points above the first panel, below the last one for its labels, and between two."""


@dataclass(frozen=True)
class Scale:
    """Where a value lies on the page, in points."""

    x: Callable[[Vector], Vector]
    y: Callable[[Vector], Vector]
    top: float
    bottom: float


@dataclass
class Panel:
    """A coordinate system of its own y axis; `Picture` stacks them over one x axis.

    Attributes:
        height: In points.
        most: The most labels on the y axis, or nearly.
        form: Turns a label's value into text; None writes it as short as its step allows.
        ticks: Labels of the y axis if they are not to be chosen.
        step: The least step between labels that are chosen.
    """

    height: float
    most: int = 5
    form: Callable[[float], str] | None = None
    ticks: Ticks | None = None
    step: float = 0.0
    _low: float = math.inf
    _high: float = -math.inf
    _shapes: list[Callable[[Scale], str]] = field(default_factory=list)

    def include(self, *values: float) -> None:
        """Stretch the y axis so that it holds these values."""
        self._low, self._high = min(self._low, *values), max(self._high, *values)

    def line(self, values: Vector, style: str, buckets: int = 400) -> None:
        """Draw a curve over bars 0, 1, ...; NaN leaves a gap."""
        kept = decimate(values, buckets)
        self.curve(kept.astype(float), values[kept], style)

    def curve(self, x: Vector, y: Vector, style: str) -> None:
        """Draw a curve through points; NaN leaves a gap."""
        self._cover(y)
        self._trace("line " + style, lambda scale: _polyline(scale.x(x), scale.y(y)))

    def level(self, value: float, end: float, style: str, start: float = 0.0) -> None:
        """Draw a horizontal line from x = `start` to `end`."""
        self.curve(np.array([start, end]), np.array([value, value]), style)

    def area(self, low: Vector, high: Vector, style: str, start: int = 0) -> None:
        """Fill between two curves over bars `start`, ..., both of them finite."""
        low, high = low[start:], high[start:]
        self._cover(low)
        self._cover(high)
        kept = np.union1d(decimate(low, 200), decimate(high, 200))
        x = np.concatenate([kept, kept[::-1]]) + float(start)
        y = np.concatenate([low[kept], high[kept][::-1]])
        self._trace("area " + style, lambda scale: _polyline(scale.x(x), scale.y(y)) + "z")

    def columns(self, edges: Vector, heights: Vector, style: str) -> None:
        """Draw a histogram's columns, or bars from 0 up or down."""
        self._cover(np.append(heights, 0.0))

        def shapes(scale: Scale) -> str:
            left, right = scale.x(edges[:-1]), scale.x(edges[1:])
            return _boxes(left + 0.4, right - 0.4, scale.y(heights), scale.y(np.zeros(1))[0])

        self._add("area " + style, shapes)

    def bands(self, starts: Vector, ends: Vector, style: str) -> None:
        """Tint stretches of bars from top to bottom."""
        self._add(
            "area " + style,
            lambda scale: _boxes(
                scale.x(starts), scale.x(ends), np.full(len(starts), scale.top), scale.bottom
            ),
        )

    def rules(self, bars: Vector, style: str) -> None:
        """Draw lines from top to bottom."""
        self._add(
            "line " + style,
            lambda scale: "".join(
                f"M{x:.1f} {scale.top:.1f}V{scale.bottom:.1f}" for x in scale.x(bars)
            ),
        )

    def marks(self, bars: Vector, values: Vector, shape: str, style: str) -> None:
        """Mark points by one of `SHAPES`."""
        drawn = SHAPES[shape]
        self._add(
            "mark " + style,
            lambda scale: "".join(
                f"M{x:.1f} {y:.1f}{drawn}"
                for x, y in zip(scale.x(bars), scale.y(values), strict=True)
            ),
        )

    def _cover(self, values: Vector) -> None:
        finite = values[np.isfinite(values)]
        if len(finite):
            self.include(float(finite.min()), float(finite.max()))

    def _add(self, style: str, path: Callable[[Scale], str]) -> None:
        self._shapes.append(lambda scale: f'<path class="{style}" d="{path(scale)}"/>')

    def _trace(self, style: str, path: Callable[[Scale], str]) -> None:
        self._shapes.append(
            lambda scale: f'<path class="{style}" transform="scale(.1)" d="{path(scale)}"/>'
        )

    def draw(self, x: Callable[[Vector], Vector], left: float, right: float, top: float) -> str:
        """Write the axis and the shapes of a panel whose upper edge lies at `top`."""
        low, high = self._range()
        bottom = top + self.height

        def y(values: Vector) -> Vector:
            return bottom - (values - low) / (high - low) * self.height

        scale = Scale(x, y, top, bottom)
        axis = [
            f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.1f}"/>'
            f'<text class="tick y" x="{left - 6:.1f}" y="{at + 3.6:.1f}">{label}</text>'
            for value, label in self._labels(low, high)
            for at in y(np.array([value]))
        ]
        return "\n".join([*axis, *(shape(scale) for shape in self._shapes)])

    def _range(self) -> tuple[float, float]:
        if not math.isfinite(self._low) or self._low == self._high == 0.0:
            return 0.0, 1.0
        room = 0.04 * (self._high - self._low) or 0.5 * abs(self._high) or 0.5
        low = self._low if self._low == 0.0 else self._low - room
        return low, self._high if self._high == 0.0 else self._high + room

    def _labels(self, low: float, high: float) -> Ticks:
        if self.ticks is not None:
            return [tick for tick in self.ticks if low <= tick[0] <= high]
        values, digits = even_ticks(low, high, self.most, self.step)
        form = self.form or (lambda value: format_signed(value, digits))
        return [(value, form(value)) for value in values]


SHAPES = {
    "up": "m0-3.8l3.6 6.2h-7.2z",
    "down": "m0 3.8l3.6-6.2h-7.2z",
    "dot": "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z",
}
"""Marks, as they are drawn from their middle."""


def picture(
    panels: Sequence[Panel],
    span: tuple[float, float],
    ticks: Ticks,
    width: float = NARROW,
    left: float = 42.0,
) -> Markup:
    """Stack panels over one x axis; return an `<svg>` that fills the width it is given.

    Args:
        panels: From top to bottom.
        span: The first and the last value of the x axis.
        ticks: Values of the x axis and their labels: no text of the user's.
        width: In points.
        left: Points left of the panels, for their labels.
    """
    right = width - 8.0
    first, last = span

    def x(values: Vector) -> Vector:
        return left + (values - first) / ((last - first) or 1.0) * (right - left)

    parts, top = [], TOP
    for panel in panels:
        parts.append(panel.draw(x, left, right, top))
        top += panel.height + GAP
    bottom = top - GAP
    parts += [_x_label(float(x(np.array([at]))[0]), bottom, label, width) for at, label in ticks]
    inside = "\n".join(parts)
    box = f"0 0 {width:g} {bottom + BOTTOM:g}"
    return Markup(f'<svg viewBox="{box}" aria-hidden="true">\n{inside}\n</svg>')


def responsive(draw: Callable[[float], Markup]) -> Markup:
    """Draw twice, for a desk and for a phone; the page's style sheet shows one of them."""
    text = '<div class="wide">{}</div><div class="narrow">{}</div>'
    return Markup(text).format(draw(WIDE), draw(NARROW))


def _x_label(at: float, bottom: float, label: str, width: float) -> str:
    half = 3.1 * len(label)
    place = min(max(at, half), width - half)
    return (
        f'<path class="grid" d="M{at:.1f} {bottom:.1f}v4"/>'
        f'<text class="tick x" x="{place:.1f}" y="{bottom + 16:.1f}">{label}</text>'
    )


def _polyline(x: Vector, y: Vector) -> str:
    """Write points as a path in tenths of a point, each relative to the one before.

    NaN begins a new line.
    """
    words, pen, before = [], "m", (0.0, 0.0)
    for across, down in np.rint(10.0 * np.column_stack([x, y])).tolist():
        if math.isfinite(down):
            words.append(f"{pen}{across - before[0]:.0f} {down - before[1]:.0f}")
            pen, before = " ", (across, down)
        else:
            pen = "m"
    return "".join(words).replace(" -", "-")


def _boxes(left: Vector, right: Vector, high: Vector, low: float) -> str:
    return "".join(
        f"M{a:.1f} {low:.1f}V{top:.1f}H{b:.1f}V{low:.1f}z"
        for a, b, top in zip(left.tolist(), right.tolist(), high.tolist(), strict=True)
    )


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


def even_ticks(low: float, high: float, most: int, least: float = 0.0) -> tuple[list[float], int]:
    """Choose at most `most` round values in a range, and the digits that their step needs."""
    power = 10.0 ** (math.floor(math.log10((high - low) / most)) - 1)
    for step in (power * times for times in (10, 20, 25, 50, 100, 200, 250, 500, 1000)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most and step >= least:
            break
    values = [place * step for place in range(first, last + 1)]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return values, digits + (round(step / 10.0**-digits, 6) % 1.0 > 0.0)


def log_ticks(low: float, high: float) -> Ticks:
    """Label 1, 2, 5, 10, ... on an axis of natural logarithms, or evenly on a narrow one."""
    powers = range(math.floor(low / math.log(10.0)), math.ceil(high / math.log(10.0)) + 1)
    values = [times * 10.0**power for power in powers for times in (1.0, 2.0, 5.0)]
    if sum(low <= math.log(value) <= high for value in values) < 3:
        values, _ = even_ticks(math.exp(low), math.exp(high), 5)
    return [(math.log(value), f"{value:,g}") for value in values if value > 0.0]


def format_signed(value: float, digits: int) -> str:
    """Write a number with thousands separated and a true minus sign."""
    text = f"{value:,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text.lstrip("-")


def shares(value: float) -> str:
    """Write a share in percent."""
    return f"{value * 100:.4g}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")


def number_ticks(low: float, high: float, width: float) -> Ticks:
    """Label an x axis of numbers."""
    values, digits = even_ticks(low, high, int(width / 60.0))
    return [(value, format_signed(value, digits)) for value in values]


def date_ticks(dates: Iterable[str], width: float) -> Ticks:
    """Label where a year, month, day, hour or minute begins; bars are evenly spaced.

    Nights and weekends take no room, whatever the length of a bar.
    """
    texts = np.asarray(list(dates)).astype("U16")
    most = max(3, int(width / 85.0))
    starts = np.arange(0)
    for length in (4, 7, 10, 13, 16):
        heads = texts.astype(f"U{length}")
        starts = np.flatnonzero(np.concatenate(([False], heads[1:] != heads[:-1])))
        if len(starts) >= 3:
            break
    starts = starts[:: math.ceil(max(len(starts), 1) / most)]
    return [(float(at), _date_label(str(texts[at]), length)) for at in starts]


def _date_label(text: str, length: int) -> str:
    return text[:length] if length <= 10 else text[5:].replace("T", " ")

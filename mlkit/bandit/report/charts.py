"""The pictures of an evaluation: estimates, weights, overlap, and rewards over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.evaluation import Ends, Estimate
from mlkit.drawing import (
    Panel,
    Ticks,
    Vector,
    date_ticks,
    even_ticks,
    log_ticks,
    picture,
    responsive,
    shares,
)

DRAWN = ("replay", "ips", "clipped", "snips", "dm", "dr", "switch-dr", "mrdr")
"""Estimators of the reward per row; those of slates have another scale."""
ARMS = 60
"""Arms in the picture of the overlap."""
BLOCKS = 40
"""Points of a curve over time."""
LEAST_WEIGHT = 1e-9
"""Smaller weights are drawn as this one."""
_ROW, _BINS = 24.0, 40
_LATEST = 253402300799.0  # the end of the year 9999: the last that a label can show


def estimates(found: Sequence[Estimate], names: Mapping[str, str], own: Estimate) -> Markup | None:
    """Draw the estimates with their intervals, over what the log's own policy earned."""
    drawn = [each for each in found if each.estimator in DRAWN and each.value is not None]
    low, high = _span([*drawn, own])
    if not drawn or not math.isfinite(high - low):
        return None
    places = range(len(drawn) - 1, -1, -1)
    ticks = [(float(at), names[each.estimator]) for at, each in zip(places, drawn, strict=True)]
    panel = Panel(_ROW * len(drawn), ticks=ticks)
    panel.include(-0.6, len(drawn) - 0.4)
    if own.bootstrap is not None:
        starts, ends = np.split(np.array(own.bootstrap), 2)
        panel.bands(starts, ends, "muted faint")
    if own.value is not None:
        panel.rules(np.array([own.value]), "muted dash")
    for at, each in zip(places, drawn, strict=True):
        _interval(panel, float(at), each, (low, high))
    return responsive(
        lambda width: picture([panel], (low, high), _ticks(low, high, width - 110), width, 100.0)
    )


def _interval(panel: Panel, at: float, found: Estimate, span: Ends) -> None:
    for ends, style in ((found.bernstein, "first dot"), (found.bootstrap, "first bold")):
        if ends is not None:
            cut = np.clip(np.array(ends), *span)
            panel.curve(cut, np.array([at, at]), style)
    panel.marks(np.array([found.value]), np.array([at]), "dot", "first")


def _span(found: Sequence[Estimate]) -> Ends:
    """Return the range of the values and their bootstrap intervals, and some room."""
    ends = [end for each in found for end in (each.value, *(each.bootstrap or ()))]
    known = [end for end in ends if end is not None and math.isfinite(end)] or [0.0]
    low, high = min(known), max(known)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


def _ticks(low: float, high: float, width: float) -> Ticks:
    values, _ = even_ticks(low, high, max(2, int(width / 75.0)))
    return [(value, f"{value:.4g}".replace("-", "\N{MINUS SIGN}")) for value in values]


def weights(weight: Vector) -> Markup | None:
    """Draw histograms of the weights above 0: of rows, and of the weight that these carry."""
    above = weight[weight > 0]
    if not len(above):
        return None
    places = np.log(np.maximum(above, LEAST_WEIGHT))
    low, high = float(places.min()), float(places.max())
    if high - low < 0.1:
        low, high = low - 0.5, high + 0.5
    panels = []
    for shown, style in ((np.ones(len(above)), "first"), (above / above.max(), "second")):
        heights, edges = np.histogram(places, _BINS, (low, high), weights=shown / shown.sum())
        panels.append(Panel(90.0, most=3, form=shares))
        panels[-1].columns(edges, heights, style)
    ticks = log_ticks(low, high)
    return responsive(
        lambda width: picture(panels, (low, high), _thin(ticks, (low, high), width), width)
    )


def _thin(ticks: Ticks, span: Ends, width: float) -> Ticks:
    inside = [each for each in ticks if span[0] <= each[0] <= span[1]]
    return inside[:: max(1, math.ceil(len(inside) / (width / 60.0)))]


def logged_shares(decisions: Decisions) -> Vector:
    """Return the share of the log's rows that show each arm, shape (arms,)."""
    counts = np.bincount(decisions.arm, minlength=len(decisions.arms))
    return np.asarray(counts / len(decisions))


def overlap(by_policy: Vector, by_log: Vector) -> Markup:
    """Draw the shares of the arms that the policy shows most, with those of the log."""
    order = np.argsort(-by_policy, kind="stable")[:ARMS]
    panel = Panel(150.0, form=shares)
    ranks = np.arange(len(order), dtype=np.float64) + 1.0
    panel.columns(np.append(ranks, len(order) + 1.0) - 0.5, by_policy[order], "first")
    panel.include(*map(float, by_log[order]))
    panel.marks(ranks, by_log[order], "dot", "second")
    span = (0.5, len(order) + 0.5)
    ticks = [(float(place), str(place)) for place in (1, *range(5, len(order) + 1, 5))]
    return responsive(lambda width: picture([panel], span, _thin(ticks, span, width), width))


def over_time(reward: Vector, weight: Vector, time: Vector | None) -> Markup:
    """Draw the log's mean reward with its band, and the policy's SNIPS, by blocks of rows.

    Args:
        reward: What each row earned, shape (rows,).
        weight: Its weight, shape (rows,).
        time: When, in seconds since 1970; None: rows are in the order of time.
    """
    order = np.arange(len(reward)) if time is None else np.argsort(time, kind="stable")
    blocks = np.array_split(order, min(BLOCKS, len(order)))
    mean = np.array([reward[rows].mean() for rows in blocks])
    error = np.array([1.96 * reward[rows].std() / len(rows) ** 0.5 for rows in blocks])
    panel = Panel(170.0, form=lambda value: f"{value:.3g}".replace("-", "\N{MINUS SIGN}"))
    panel.area(mean - error, mean + error, "muted faint")
    panel.line(mean, "muted bold")
    panel.line(np.array([_snips(reward[rows], weight[rows]) for rows in blocks]), "first bold")
    span = (0.0, max(1.0, len(blocks) - 1.0))
    starts = np.array([rows[0] for rows in blocks])
    return responsive(lambda width: picture([panel], span, _moments(starts, time, width), width))


def _snips(reward: Vector, weight: Vector) -> float:
    most = float(weight.max())
    scaled = weight / most if most else weight
    return float((scaled * reward).sum() / scaled.sum()) if most else math.nan


def _moments(starts: Vector, time: Vector | None, width: float) -> Ticks:
    """Label blocks by the time, or the number, of their first row."""
    if time is not None:
        seconds = np.clip(time[starts], 0.0, _LATEST).astype(np.int64).astype("datetime64[s]")
        return date_ticks(map(str, seconds), width)
    step = max(1, math.ceil(len(starts) / (width / 85.0)))
    return [(float(at), f"{starts[at] + 1:,}") for at in range(0, len(starts), step)]

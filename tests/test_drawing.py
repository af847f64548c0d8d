"""Curves as SVG: no extreme is lost, labels are round, and nothing but numbers is written."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlkit.drawing import (
    Panel,
    date_ticks,
    decimate,
    even_ticks,
    format_signed,
    log_ticks,
    picture,
)

SERIES = arrays(
    float, st.integers(1, 3000), elements=st.floats(-1e9, 1e9) | st.just(float("nan"))
)  # fmt: skip


def path_points(path):
    """Follow a path of relative moves; return its absolute points in points."""
    points, here = [], np.zeros(2)
    for numbers in re.findall(r"m([^m]*)", path):
        steps = np.array(re.findall(r"-?\d+", numbers), dtype=float).reshape(-1, 2)
        for step in steps:
            here = here + step
            points.append(here / 10.0)
    return np.array(points)


@given(SERIES, st.integers(5, 400))
def test_decimation_keeps_both_ends_and_every_extreme(values, buckets):
    kept = decimate(values, buckets)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(2 * buckets + 2, 2)
    if not np.isnan(values).all():
        assert np.nanmax(values[kept]) == np.nanmax(values)
        assert np.nanmin(values[kept]) == np.nanmin(values)


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e6), st.integers(2, 10))
def test_labels_are_few_round_and_within(low, span, most):
    values, digits = even_ticks(low, low + span, most)
    assert 1 <= len(values) <= most
    steps = np.diff(values)
    assert steps == pytest.approx(np.full(len(steps), steps[0] if len(steps) else 0), rel=1e-6)
    assert values[0] >= low - 1e-6 * span
    assert values[-1] <= low + span * (1 + 1e-6)
    assert len({format_signed(value, digits) for value in values}) == len(values)


def test_counts_have_no_labels_between_whole_numbers():
    assert even_ticks(0.0, 1.0, 4, 1.0)[0] == [0.0, 1.0]


def test_a_logarithmic_axis_has_labels_even_where_prices_hardly_move():
    low, high = np.log(99.0), np.log(103.0)
    labels = [label for value, label in log_ticks(low, high) if low <= value <= high]
    assert labels == ["99", "100", "101", "102", "103"]


def test_a_curve_is_where_its_values_are():
    panel = Panel(100.0)
    panel.line(np.array([0.0, 10.0, np.nan, 10.0, 5.0]), "first")
    svg = ET.fromstring(picture([panel], (0.0, 4.0), [], width=150.0, left=42.0))
    (path,) = [each.get("d") for each in svg.iter("path") if "line" in each.get("class")]
    x, y = path_points(path).T
    assert x == pytest.approx([42.0, 67.0, 117.0, 142.0])
    assert y[1] == y[2]
    assert y[0] - y[3] == pytest.approx((y[0] - y[1]) / 2, abs=0.1)
    assert path.count("m") == 2


@pytest.mark.parametrize("values", [[np.nan, np.nan], [3.0, 3.0], [np.inf, 1.0], [0.0, 0.0]])
def test_nothing_constant_or_infinite_breaks_a_picture(values):
    panel = Panel(50.0)
    panel.line(np.array(values), "first")
    text = picture([panel], (0.0, 1.0), [])
    ET.fromstring(text)
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize(
    ("first", "last", "unit", "labels"),
    [
        ("2000-01-01", "2006-01-01", "D", ["2001", "2003", "2005"]),
        ("2020-01-15", "2020-05-01", "D", ["2020-02", "2020-03", "2020-04"]),
        ("2020-01-15T09", "2020-01-19T12", "h", ["2020-01-16", "2020-01-18"]),
        ("2020-01-15T09:30", "2020-01-15T12:30", "m", ["01-15 10:00", "01-15 11:00",
         "01-15 12:00"]),
    ],
)  # fmt: skip
def test_dates_are_labelled_where_their_unit_begins(first, last, unit, labels):
    dates = np.arange(first, last, dtype=f"M8[{unit}]").astype(str)
    assert [label for _, label in date_ticks(dates, 255.0)] == labels


def test_a_series_too_short_for_its_dates_still_has_a_picture():
    assert date_ticks(["2020-01-01"], 400.0) == []

"""What a run has written of itself, damaged: an error of one line, no traceback."""

from __future__ import annotations

import json

import pytest
from pairs.backtests import PAIRS, SETTINGS
from pairs.live_runs import begin, plan_of
from pairs.markets import cointegrated

from mlkit.errors import BadData, InputMissing


@pytest.fixture
def folder(tmp_path):
    return begin(tmp_path / "run", plan_of(cointegrated(5, bars=50), SETTINGS, PAIRS))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pairs", [{"y": 1, "x": "B"}]),
        ("tickers", ["A", []]),
        ("strategy", {}),
        ("delisted_after", 1e300),
        ("bars_per_year", "text"),
        ("settings", []),
        ("limits", None),
        ("unknown", 1),
    ],
)
def test_a_plan_that_cannot_be_read_is_bad_data(folder, name, value):
    path = folder.path / "live.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(BadData) as caught:
        folder.plan()
    assert caught.value.message.startswith(f"{path}: not the plan of a live run: ")


@pytest.mark.parametrize("text", ["null", "[]", "[" * 100_000])
def test_a_plan_of_another_kind_is_bad_data(folder, text):
    (folder.path / "live.json").write_text(text)
    with pytest.raises(BadData, match=r"live\.json: not"):
        folder.plan()


@pytest.mark.parametrize("text", ["null", "[]", "{}", "[" * 100_000])
def test_a_status_that_cannot_be_read_shows_no_run(folder, text):
    (folder.path / "status.json").write_text(text)
    with pytest.raises(InputMissing, match="no live run"):
        folder.status()

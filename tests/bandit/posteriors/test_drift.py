"""Recent rates against old ones: tests of arms, and what many arms make of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from mlkit.bandit.posteriors.drift import Moments, adjust, p_values

NOW = 1.7e9
DAY = 86400.0


def moments(*rewards):
    rows = [np.asarray(each, float) for each in rewards]
    sums = [[each.size, each.sum(), (each**2).sum()] for each in rows]
    return Moments(*np.array(sums, float).T)


def test_the_tests_are_those_of_scipy():
    generator = np.random.default_rng(3)
    many = generator.random((2, 400)) < np.array([[0.2], [0.35]])
    few = [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0]
    money = generator.normal(3, 2, 40), generator.normal(4, 1, 30)
    old, recent = (moments(many[n], few[n], money[n], [1.0] if n else []) for n in (0, 1))
    p = p_values(old, recent)
    table = [[row.sum(), row.size - row.sum()] for row in many]
    assert p[0] == pytest.approx(stats.chi2_contingency(table, correction=False)[1], rel=1e-9)
    assert p[1] == pytest.approx(stats.fisher_exact([[1, 5], [4, 1]])[1], rel=1e-12)
    assert p[2] == pytest.approx(stats.ttest_ind(*money, equal_var=False)[1], rel=1e-9)
    assert np.isnan(p[3])  # nothing to compare with
    q = adjust(p)
    assert np.isnan(q[3])
    assert (q[:3] >= p[:3]).all()


def write_logs(path):
    """Write a log of 40 arms that stay as they are and one that falls, in two periods."""
    generator = np.random.default_rng(7)
    lines = ["item,click,when"]
    for arm in range(41):
        for number in range(600):
            is_recent = number % 2
            rate = 0.1 if arm == 40 and is_recent else 0.3
            moment = datetime.fromtimestamp(NOW - 10 * DAY + is_recent * 9 * DAY + number, UTC)
            lines.append(f"a{arm},{generator.random() < rate:d},{moment.isoformat()}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_arm_that_changed_is_found_among_many(tmp_path, mlkit):
    log, model = write_logs(tmp_path / "log.csv"), tmp_path / "m.parquet"
    columns = ("--arm", "item", "--reward", "click", "--time", "when")
    mlkit("fit", log, *columns, "-o", model)
    found = json.loads(mlkit("show", model, "--drift", log, *columns, "--json").stdout)
    assert (found["changed"], found["arms_total"]) == (1, 41)
    first, second = found["arms"][0], found["arms"][1]
    assert (first["arm"], first["old_pulls"], first["recent_pulls"]) == ("a40", 300, 300)
    assert first["recent_mean"] < 0.2 < first["old_mean"]
    assert first["q"] < 0.001 < 0.05 < second["q"]
    shown = mlkit("show", model, "--drift", log, *columns, "--top", "3")
    assert "a40" in shown.stdout
    assert "1 of 41 arms changed after" in shown.stderr
    # As of the end of the old period, nothing has changed.
    early = mlkit("show", model, "--drift", log, *columns, "--recent", "5m", "--json",
                  "--as-of", str(NOW - 9.9 * DAY))  # fmt: skip
    assert json.loads(early.stdout)["changed"] == 0


def test_what_is_missing_is_said(tmp_path, mlkit):
    log, model = write_logs(tmp_path / "log.csv"), tmp_path / "m.parquet"
    columns = ("--arm", "item", "--reward", "click")
    mlkit("fit", log, *columns, "-o", model)
    assert "--time COL" in mlkit("show", model, "--drift", log, *columns, code=2).stderr
    assert "--drift LOG" in mlkit("show", model, "--recent", "1d", code=2).stderr
    timed = (*columns, "--time", "when", "--recent", "90d")
    assert "no rewards before" in mlkit("show", model, "--drift", log, *timed, code=65).stderr

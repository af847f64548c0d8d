"""Posteriors that forget: by their formula, in fit and in the table, whatever the order."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit._posterior_table import PosteriorTable
from mlkit.bandit.logs.log import Columns
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.fitting import fit
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.posterior import Header, Prior
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.learning.tables import load_table
from mlkit.errors import BadData, UsageError

DAY = 86400.0
COLUMNS = Columns("arm", "reward", "context", time="time")
PRIOR, SHRINKAGE = (1.0, 3.0), 10.0
HEADER = Header("m", Prior(*PRIOR), SHRINKAGE)

rows = st.lists(
    st.tuples(
        st.sampled_from([None, "u", "v"]),
        st.sampled_from("xyz"),
        st.sampled_from([0.0, 0.25, 1.0]),
        st.floats(0, 3000 * DAY).map(lambda time: 1.7e9 + round(time, 3)),
    ),
    min_size=1,
    max_size=30,
)


def expected(found, half_life, at):
    """Return (context, arm) -> (a, b, pulls), by the definition."""
    arms, pairs = {}, {}
    for context, arm, reward, time in found:
        weight = 2 ** -((at - time) / half_life)
        for key in [(None, arm), (context, arm)][: 1 if context is None else 2]:
            kept = arms if key[0] is None else pairs
            a, b, pulls = kept.get(key, (0.0, 0.0, 0))
            kept[key] = a + weight * reward, b + weight * (1 - reward), pulls + 1
    arms = {key: (PRIOR[0] + a, PRIOR[1] + b, n) for key, (a, b, n) in arms.items()}
    for (context, arm), (a, b, pulls) in pairs.items():
        own = arms[None, arm]
        start = [SHRINKAGE * each / (own[0] + own[1]) for each in own[:2]]
        arms[context, arm] = start[0] + a, start[1] + b, pulls
    return arms


def by_key(posteriors):
    found = [row for batch in posteriors.batches() for row in batch.to_pylist()]
    return {(r["context"], r["arm"]): (r["a"], r["b"], r["pulls"]) for r in found}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key


def write_log(path, found):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["context", "arm", "reward", "time"])
        writer.writerows((context or "", *rest) for context, *rest in found)
    return path


@given(found=rows, half_life=st.sampled_from([60.0, DAY, 7 * DAY, 1e9]), later=st.floats(0, 1e7))
@settings(max_examples=15, deadline=None)
def test_fit_and_the_table_of_a_server_have_the_numbers_of_the_formula(
    found, half_life, later, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("aging")
    at = max(time for *_, time in found) + later
    wanted = expected(found, half_life, at)
    log = write_log(directory / "log.csv", found)
    same(by_key(fit([log], COLUMNS, HEADER, half_life=half_life, as_of=at)), wanted)
    # A server that starts from a file without arms, receives them in order, and is killed midway.
    start = directory / "start.parquet"
    file.write(
        fit(
            [write_log(directory / "0.csv", [(None, "other", 1, 1.7e9)])],
            COLUMNS,
            HEADER,
            half_life=half_life,
        ),
        start,
    )
    journal = Journal(directory / "journal.sqlite")
    numbers = iter(range(1000))
    table = load_table(start, lambda: directory / f"table-{next(numbers)}", None, None)
    for place, (context, arm, reward, time) in enumerate(sorted(found, key=lambda row: row[3])):
        change = Change(Kind.REWARD, context, arm, reward, at=time)
        journal.append([change])
        table.apply(change)
        if place == len(found) // 2:
            with journal.transaction():
                table.compact(journal)
                journal.end_compaction()
    again = load_table(start, lambda: directory / f"table-{next(numbers)}", None, None)
    again.restore(journal)
    for each in (table.table, again.table):
        served = {(None, arm): each.arm(arm, at=at) for _, arm, *_ in found}
        pairs = {(row[0], row[1]) for row in found if row[0] is not None}
        same(served | {key: each.pair(*key, at=at) for key in pairs}, wanted)
    journal.close()


def test_everything_returns_to_the_prior_and_a_put_arm_too(tmp_path):
    table = PosteriorTable.create(
        str(tmp_path / "t"),
        arms=9,
        contexts=9,
        posteriors=9,
        id_bytes=99,
        prior=PRIOR,
        shrinkage=SHRINKAGE,
        half_life=DAY,
        base=0.0,
    )
    table.put_arm("x", 101.0, 0.5, 100, at=0.0)
    table.add_reward("u", "x", 1.0, at=0.0)
    assert table.arm("x", at=0.0) == (102, 0.5, 101)
    assert table.arm("x", at=DAY) == (1 + 101 / 2, 3 - 2.5 / 2, 101)
    assert table.arm("x", at=2000 * DAY) == (*PRIOR, 101)
    fetched = table.fetch("u", ["x", "nobody"], at=2000 * DAY)
    assert fetched.a.tolist() == [SHRINKAGE / 4, 1.0]
    assert fetched.b.tolist() == [SHRINKAGE * 3 / 4, 3.0]
    now = table.fetch("u", ["x"])  # without a time: that of the clock, which is long after
    assert now.a.tolist() == [SHRINKAGE / 4]


def test_a_reward_that_is_withdrawn_leaves_no_trace(tmp_path):
    for number, half_life in enumerate([0.0, DAY, math.inf]):
        table = PosteriorTable.create(
            str(tmp_path / f"{number}"),
            arms=9,
            contexts=9,
            posteriors=9,
            id_bytes=99,
            prior=PRIOR,
            shrinkage=SHRINKAGE,
            half_life=half_life,
            base=0.0,
        )
        table.add_reward("u", "x", 1.0, at=5.0)
        before = table.arm("x", at=9.0), table.pair("u", "x", at=9.0)
        table.add_reward("u", "x", 0.25, at=7.0)
        assert table.add_reward("u", "x", 0.25, at=7.0, withdrawn=True)
        assert table.arm("x", at=9.0) == pytest.approx(before[0], rel=1e-15)
        assert table.pair("u", "x", at=9.0) == pytest.approx(before[1], rel=1e-15)
        assert not table.add_reward(None, "nobody", 1.0, withdrawn=True)


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_the_file_keeps_how_posteriors_age(tmp_path, name):
    log = write_log(tmp_path / "log.csv", [("u", "x", 1, "2026-11-01T00:00:00Z")])
    fitted = fit([log], COLUMNS, HEADER, half_life=7 * DAY)
    assert fitted.forgetting == Forgetting(7 * DAY, 1793491200.0)
    file.write(fitted, tmp_path / name)
    found = file.read(tmp_path / name)
    assert found.forgetting == fitted.forgetting
    assert by_key(found) == by_key(fitted)


def test_times_of_rows_are_iso_or_seconds_and_a_bad_one_is_named(tmp_path):
    times = ["2026-11-01T00:00:00Z", "1793491200", "2026-11-01 01:00:00+01:00"]
    log = write_log(tmp_path / "log.csv", [(None, "x", 1, time) for time in times])
    found = fit([log], COLUMNS, HEADER, half_life=DAY)
    assert by_key(found)[None, "x"] == (4.0, 3.0, 3)
    bad = write_log(tmp_path / "bad.csv", [(None, "x", 1, times[0]), (None, "x", 1, "noon")])
    with pytest.raises(BadData, match=r"line 3: time is .*, expected ISO 8601"):
        fit([bad], COLUMNS, HEADER, half_life=DAY)
    with pytest.raises(UsageError, match="later"):
        fit([log], COLUMNS, HEADER, half_life=DAY, as_of=1793491199.0)
    with pytest.raises(UsageError, match="no times"):
        fit([log], Columns("arm", "reward"), HEADER, half_life=DAY)


def test_old_rows_weigh_nothing_and_break_nothing(tmp_path):
    log = write_log(tmp_path / "log.csv", [(None, "x", 1, 0), (None, "x", 1, 1.7e9)])
    assert by_key(fit([log], COLUMNS, HEADER, half_life=60.0))[None, "x"] == (2.0, 3.0, 2)
    assert np.isfinite(fit([log], COLUMNS, HEADER, half_life=1e10).arms["a"].to_numpy()).all()

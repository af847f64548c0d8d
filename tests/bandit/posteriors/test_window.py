"""Posteriors of a window of hours: by the definition, in fit, in the server and after restarts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit.logs.log import Columns
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.fitting import fit
from mlkit.bandit.posteriors.posterior import Header, Prior
from mlkit.bandit.posteriors.window import Buckets
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.learning.tables import load_table

HOUR = 3600.0
COLUMNS = Columns("arm", "reward", "context", time="time")
PRIOR, SHRINKAGE = (1.0, 3.0), 10.0
HEADER = Header("m", Prior(*PRIOR), SHRINKAGE)
BEGIN = 472_222 * HOUR

rows = st.lists(
    st.tuples(
        st.sampled_from([None, "u", "v"]),
        st.sampled_from("xy"),
        st.sampled_from([0.0, 0.1, 1.0]),
        st.floats(0, 12 * HOUR).map(lambda time: BEGIN + round(time, 3)),
    ),
    min_size=1,
    max_size=25,
)


def expected(found, hours, at):
    """Return (context, arm) -> (a, b, pulls), of what is in the window."""
    kept = [row for row in found if row[3] // HOUR > at // HOUR - hours]
    sums = {}
    for context, arm, reward, _ in kept:
        for key in dict.fromkeys([(None, arm), (context, arm)]):
            a, b, pulls = sums.get(key, (0.0, 0.0, 0))
            sums[key] = a + reward, b + 1 - reward, pulls + 1
    whole = {}
    for (context, arm), (a, b, pulls) in sorted(sums.items(), key=lambda each: each[0][0] or ""):
        start = PRIOR
        if context is not None:
            own = whole[None, arm]
            start = tuple(SHRINKAGE * each / (own[0] + own[1]) for each in own[:2])
        whole[context, arm] = start[0] + a, start[1] + b, pulls
    return whole


def write_log(path, found):
    lines = [f"{context or ''},{arm},{reward},{time!r}" for context, arm, reward, time in found]
    path.write_text("\n".join(["context,arm,reward,time", *lines]) + "\n")
    return path


def by_key(posteriors):
    found = [row for batch in posteriors.batches() for row in batch.to_pylist()]
    return {(r["context"], r["arm"]): (r["a"], r["b"], r["pulls"]) for r in found}


def served(table, keys):
    rows = {key: table.arm(key[1]) if key[0] is None else table.pair(*key) for key in keys}
    return {key: row for key, row in rows.items() if row is not None}


def same(found, wanted):
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key
    for key in found.keys() - wanted.keys():  # nothing of it is in the window
        assert found[key][2] == 0


@given(found=rows, hours=st.integers(1, 8), later=st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_fit_and_the_table_of_a_server_have_what_is_in_the_window(
    found, hours, later, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("window")
    found = sorted(found, key=lambda row: row[3])
    at = found[-1][3] + later * HOUR
    wanted = expected(found, hours, at)
    log = write_log(directory / "log.csv", found)
    whole = fit([log], COLUMNS, HEADER, window=hours, as_of=at)
    same(by_key(whole), wanted)
    # A server starts from a part of the log, gets the rest, and is killed midway.
    half = (len(found) + 1) // 2
    start = directory / "start.parquet"
    part = write_log(directory / "part.csv", found[:half])
    file.write(fit([part], COLUMNS, HEADER, window=hours), start)
    assert by_key(file.read(start)) == by_key(fit([part], COLUMNS, HEADER, window=hours))
    journal = Journal(directory / "journal.sqlite")
    paths = (directory / f"table-{number}" for number in itertools.count())
    table = load_table(start, paths.__next__, None, None, None)
    late = found[half:][::-1]
    for place, (context, arm, reward, time) in enumerate(late):
        change = Change(Kind.REWARD, context, arm, reward, at=time)
        journal.append([change])
        table.apply(change)
        if place == len(late) // 2:
            table.expire(time)
            with journal.transaction():
                table.compact(journal)
                journal.end_compaction()
    again = load_table(start, paths.__next__, None, None, None)
    again.restore(journal)
    journal.close()
    keys = {key for context, arm, *_ in found for key in [(None, arm), (context, arm)]}
    for each in (table, again):
        each.expire(at)
        same(served(each.table, keys), wanted)
    for each in (again, table):
        each.expire(at + 100 * HOUR)
        assert each.table.arm(found[0][1]) == (*PRIOR, 0)


def test_changes_of_arms_and_withdrawals_by_hour(tmp_path):
    start = tmp_path / "start.parquet"
    log = write_log(tmp_path / "log.csv", [("u", "x", 1.0, BEGIN)])
    file.write(fit([log], COLUMNS, HEADER, window=4), start)
    paths = (tmp_path / f"table-{number}" for number in itertools.count())
    table = load_table(start, paths.__next__, None, None, None)
    before = table.table.arm("x"), table.table.pair("u", "x")
    reward = Change(Kind.REWARD, "u", "x", 0.25, at=BEGIN + HOUR)
    assert table.apply(reward)
    assert table.apply(reward._replace(kind=Kind.WITHDRAW))
    assert (table.table.arm("x"), table.table.pair("u", "x")) == before
    assert not table.apply(Change(Kind.PUT, None, "y", 5.0, 9.0, 3, at=BEGIN))
    assert table.table.arm("y") == (5, 9, 3)
    assert table.apply(Change(Kind.REMOVE, None, "x"))
    assert not table.apply(reward)
    assert not table.apply(Change(Kind.PUT, None, "x", *PRIOR, 0, at=BEGIN))
    assert table.apply(reward)
    assert table.table.arm("x") == (1.25, 3.75, 1)
    table.expire(BEGIN + 4 * HOUR)
    assert table.table.arm("y") == (*PRIOR, 0)
    assert table.table.arm("x") == (1.25, 3.75, 1)


def test_a_reward_taken_back_after_its_arm_was_put_anew_counts_for_nothing():
    buckets = Buckets(24)
    buckets.set((None, "x"), [(BEGIN // HOUR + 2, 4.0, 6.0, 10)])
    for _ in range(20):
        buckets.take((None, "x"), BEGIN, 0.0, 1.0)
    assert buckets.sum((None, "x")) == (4.0, 6.0, 10)
    buckets.add((None, "x"), BEGIN, 1.0, 0.0, 1)
    for _ in range(3):
        buckets.take((None, "x"), BEGIN, 1.0, 0.0)
    assert buckets.sum((None, "x")) == (4.0, 6.0, 10)

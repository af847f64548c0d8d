"""The store: a table from a posteriors file, a larger one, and back to a file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit._posterior_table import PosteriorTable
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import SCHEMA, Header, Posteriors, Prior
from mlkit.bandit.stores.memory_mapped import Capacity, export, grow, load
from mlkit.bandit.stores.store import PosteriorReader
from mlkit.errors import BadData, InputMissing

IDS = st.text(min_size=1, max_size=8, alphabet=st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(1e-300, 1e15)
ROWS = st.tuples(NUMBERS, NUMBERS, st.integers(0, 2**32 - 1))


def table_of(rows) -> pa.Table:
    lines = [dict(zip(SCHEMA.names, (*key, *row), strict=True)) for key, row in rows.items()]
    return pa.Table.from_pylist(lines, SCHEMA)


def write(path: Path, rows, prior=(1.0, 3.0), shrinkage=8.0) -> None:
    """Write {(context, arm): (a, b, pulls)} as a posteriors file."""
    header = Header("model", Prior(*prior), shrinkage)
    file.write_batches(header, table_of(rows).to_batches(), path)


def rows_of(table: PosteriorTable):
    rows = [row for batch in export(table) for row in batch.to_pylist()]
    return {(row["context"], row["arm"]): (row["a"], row["b"], row["pulls"]) for row in rows}


ROWS_OF_TWO = {
    (None, "a"): (1.0, 2.0, 1),
    (None, "b"): (3.0, 4.0, 2),
    ("u", "a"): (5.0, 6.0, 3),
}


@given(arms=st.dictionaries(IDS, ROWS), contexts=st.lists(IDS, max_size=5), data=st.data())
@settings(max_examples=40)
def test_a_file_comes_back_from_the_table_as_it_was(arms, contexts, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    pairs = st.tuples(st.sampled_from(contexts), st.sampled_from(sorted(arms)))
    known = st.dictionaries(pairs, ROWS) if arms and contexts else st.just({})
    rows = {(None, arm): row for arm, row in arms.items()} | data.draw(known)
    write(directory / "posteriors.parquet", rows)
    header, table = load(directory / "posteriors.parquet", directory / "table")
    assert header.model == "model"
    assert (table.prior, table.shrinkage) == ((1.0, 3.0), 8.0)
    assert rows_of(table) == rows
    grown = grow(table, directory / "grown")
    assert rows_of(grown) == rows
    assert all(grown.capacity()[name] > table.used()[name] for name in vars(Capacity()))


@pytest.mark.parametrize("name", ["posteriors.parquet", "posteriors.csv"])
def test_every_format_of_posteriors_can_be_loaded(tmp_path, name):
    write(tmp_path / name, ROWS_OF_TWO)
    _, table = load(tmp_path / name, tmp_path / "table")
    assert rows_of(table) == ROWS_OF_TWO
    reader: PosteriorReader = PosteriorTable.open(str(tmp_path / "table"))
    assert reader.fetch("u", ["a", "b", "c"]).a.tolist() == [5, 3, 1]


def test_an_exported_table_is_a_posteriors_file(tmp_path):
    write(tmp_path / "before.parquet", ROWS_OF_TWO)
    header, table = load(tmp_path / "before.parquet", tmp_path / "table")
    table.add_reward("v", "b", 1.0)
    file.write_batches(header, export(table), tmp_path / "after.parquet")
    after: Posteriors = file.read(tmp_path / "after.parquet")
    assert after.of("v").to_pylist()[1] == {
        "arm": "b",
        "a": 8 * 3 / 7 + 1,
        "b": 8 * 4 / 7,
        "pulls": 1,
    }
    assert after.arms.to_pylist()[1] == {"arm": "b", "a": 4.0, "b": 4.0, "pulls": 3}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(None, "a"), (None, "a")], "row 1: arm 'a' is there already"),
        ([(None, "a"), ("u", "a"), ("u", "a")], "row 1: arm 'a' has a posterior for this context"),
        ([("u", "a")], "row 0: arm 'a' has no posterior of its own"),
    ],
)
def test_a_bad_file_leaves_no_table(tmp_path, rows, message):
    lines = [{"context": context, "arm": arm, "a": 1, "b": 1, "pulls": 0} for context, arm in rows]
    batch = pa.RecordBatch.from_pylist(lines, SCHEMA)
    file.write_batches(Header("m"), [batch], tmp_path / "bad.parquet")
    with pytest.raises(BadData, match=message) as raised:
        load(tmp_path / "bad.parquet", tmp_path / "table")
    assert raised.value.hint
    assert not (tmp_path / "table").exists()


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputMissing):
        load(tmp_path / "absent.parquet", tmp_path / "table")


def test_a_large_file_is_loaded_in_batches_and_reported(tmp_path):
    n = 30_000
    rows = {(None, f"arm-{i}"): (1.0 + i, 1.0, i) for i in range(300)}
    rows |= {(f"user-{i // 30}", f"arm-{i % 300}"): (2.0 + i, 1.0, i) for i in range(n)}
    batches = table_of(rows).to_batches(max_chunksize=7000)
    file.write_batches(Header("m"), batches, tmp_path / "large.parquet")
    seen = []
    _, table = load(
        tmp_path / "large.parquet",
        tmp_path / "table",
        progress=lambda done, total=None: seen.append((done, total)),
    )
    assert seen[-1] == (n + 300, n + 300)
    assert rows_of(table) == rows


def test_a_full_table_grows_and_goes_on(tmp_path):
    write(tmp_path / "posteriors.parquet", ROWS_OF_TWO)
    _, table = load(tmp_path / "posteriors.parquet", tmp_path / "0")
    table.remove_arm("b")
    grown = grow(table, tmp_path / "1", factor=1)
    assert grown.removed_arms() == ["b"]
    assert not grown.add_reward(None, "b", 1.0)
    assert grown.capacity()["arms"] >= 1024
    assert grown.add_reward("new", "a", 1.0)
    assert table.pair("new", "a") is None

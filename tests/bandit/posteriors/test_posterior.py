"""The arithmetic of posteriors, and their file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import (
    SCHEMA,
    Header,
    Posteriors,
    Prior,
    SourceFile,
    shrunk,
    update,
)
from mlkit.errors import BadData, InputMissing, UsageError

parameters = st.floats(1e-300, 1e15)


def encodable(text):
    try:
        return 0 < len(text.encode()) <= 256
    except UnicodeEncodeError:
        return False


ids = st.text(min_size=1, max_size=60).filter(encodable)


def arms_table(rows):
    return pa.Table.from_pylist(rows, SCHEMA.remove(0))


@st.composite
def posterior_sets(draw):
    numbers = {"a": parameters, "b": parameters, "pulls": st.integers(0, 2**62)}
    arm = st.fixed_dictionaries({"arm": ids, **numbers})
    pair = st.fixed_dictionaries({"context": ids, "arm": ids, **numbers})
    arms = draw(st.lists(arm, min_size=1, max_size=5, unique_by=lambda row: row["arm"]))
    pairs = draw(st.lists(pair, max_size=5, unique_by=lambda row: (row["context"], row["arm"])))
    return Posteriors(
        model=draw(ids),
        prior=Prior(draw(parameters), draw(parameters)),
        shrinkage=draw(st.floats(1e-6, 1e15)),
        source=(SourceFile("clicks.csv", 10, 1, "ab12"),),
        arms=arms_table(arms),
        contexts=pa.Table.from_pylist(pairs, SCHEMA),
    )


def same(one, other):
    return one.arms.equals(other.arms) and one.contexts.equals(other.contexts)


@settings(max_examples=40)
@given(posterior_sets())
def test_parquet_loses_nothing(tmp_path_factory, posteriors):
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    file.write(posteriors, path)
    found = file.read(path)
    assert found.header() == posteriors.header()
    assert same(found, posteriors)


@settings(max_examples=40)
@given(posterior_sets())
def test_csv_loses_nothing_but_the_source(tmp_path_factory, posteriors):
    path = tmp_path_factory.mktemp("p") / "p.csv"
    file.write(posteriors, path)
    found = file.read(path)
    assert (found.model, found.prior) == (posteriors.model, posteriors.prior)
    assert found.shrinkage == posteriors.shrinkage
    assert same(found, posteriors)


@given(posterior_sets(), st.integers(1, 4))
def test_batches_are_the_rows_in_order(posteriors, rows):
    table = pa.Table.from_batches(posteriors.batches(rows), SCHEMA)
    assert table["arm"].to_pylist() == [
        *posteriors.arms["arm"].to_pylist(),
        *posteriors.contexts["arm"].to_pylist(),
    ]


@given(parameters, parameters, st.lists(st.floats(0, 1), max_size=20))
def test_rewards_at_once_are_rewards_one_by_one(a, b, rewards):
    at_once = update(a, b, float(np.sum(rewards)), float(len(rewards)))
    for reward in rewards:
        a, b = update(a, b, reward, 1.0)
    assert at_once == pytest.approx((a, b), rel=1e-12)


@given(st.floats(1e-6, 1e9), st.floats(1e-6, 1e9), st.floats(1e-3, 1e6))
def test_a_context_starts_at_the_arms_mean_with_the_weight_of_the_shrinkage(a, b, shrinkage):
    start = shrunk(a, b, shrinkage)
    assert sum(start) == pytest.approx(shrinkage)
    assert start[0] / sum(start) == pytest.approx(a / (a + b))
    assert min(start) > 0


@pytest.fixture
def handmade(tmp_path):
    """Return a function that writes text as a posteriors CSV."""

    def write(text):
        path = tmp_path / "p.csv"
        path.write_text(text)
        return path

    return write


def test_a_handmade_csv_needs_three_columns_only(handmade):
    found = file.read(handmade("a,b,arm\n1,2,x\n"))
    assert found.header() == Header("p", Prior(1.0, 1.0), 100.0)
    assert found.arms.to_pylist() == [{"arm": "x", "a": 1.0, "b": 2.0, "pulls": 0}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("arm,a\nx,1\n", "no column 'b'"),
        ("arm,a,b\nx,1,2\ny,0,1\n", "line 3: a is 0.0, expected a number in [1e-300, 1e15]"),
        ("arm,a,b\nx,1,2e15\n", "line 2: b is 2000000000000000.0"),
        ("arm,a,b\nx,nan,2\n", "line 2: a is nan"),
        ("arm,a,b\nx,,2\n", "line 2: a is missing"),
        ("arm,a,b\n,1,2\n", "line 2: arm is missing"),
        (f"arm,a,b\n{'é' * 129},1,2\n", "line 2: arm is 'é"),
        ("arm,a,b,pulls\nx,1,2,-1\n", "line 2: pulls is -1"),
        ("arm,a,b,pulls\nx,1,2,1.5\n", "line 2: pulls is '1.5', expected a whole number"),
        ('arm,a,b\n\n"x\ny",1,2\n\nz,?,1\n', "line 6: a is '?', expected a number"),
        ("arm,a,b\nx,1,2\nx,3,4\n", "line 3: the arm 'x' appears twice"),
        ("context,arm,a,b\nu,x,1,2\nu,x,1,2\n", "line 3: the arm 'x' in the context 'u'"),
        ("arm,a,b\nx,1,2\ny,1\n", "line 3: 2 fields, expected 3"),
        ("arm,a,b,contxt\nx,1,2,u\n", "unknown column 'contxt'"),
        ("arm,a,a,b\nx,1,1,2\n", "two columns 'a'"),
        ("arm,a,b,model\nx,1,2,m\ny,1,2,n\n", "line 3: model is 'n', and 'm' in the first row"),
        ("arm,a,b,shrinkage\nx,1,2,0\n", "shrinkage: 0.0"),
    ],
)
def test_bad_posteriors_are_refused_with_their_place(handmade, text, message):
    with pytest.raises(BadData) as error:
        file.read(handmade(text))
    assert str(error.value).startswith(str(handmade(text)))
    assert message in str(error.value)


def parquet(path, rows, metadata=None):
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_parquet_of_others_is_read(tmp_path):
    rows = [{"arm": 7, "a": 1, "b": 2, "more": "x"}]
    found = file.read(parquet(tmp_path / "p.parquet", rows))
    assert found.arms.to_pylist() == [{"arm": "7", "a": 1.0, "b": 2.0, "pulls": 0}]


def test_a_bad_row_of_parquet_is_named(tmp_path):
    rows = [{"arm": "x", "a": 1.0, "b": 2.0}, {"arm": "y", "a": 1.0, "b": -2.0}]
    with pytest.raises(BadData, match=r"p.parquet: row 2: b is -2.0"):
        file.read(parquet(tmp_path / "p.parquet", rows))


def test_a_newer_version_is_refused(tmp_path):
    metadata = {"mlkit.posteriors": json.dumps({"version": 4})}
    path = parquet(tmp_path / "p.parquet", [{"arm": "x", "a": 1.0, "b": 2.0}], metadata)
    with pytest.raises(BadData, match="posteriors of version 4"):
        file.read(path)


@pytest.mark.parametrize("metadata", ["{", "[]", "{}", '{"version": 1}', '{"version": "x"}'])
def test_damaged_metadata_is_refused(tmp_path, metadata):
    rows = [{"arm": "x", "a": 1.0, "b": 2.0}]
    path = parquet(tmp_path / "p.parquet", rows, {"mlkit.posteriors": metadata})
    with pytest.raises(BadData, match="damaged metadata"):
        file.read(path)


def test_a_truncated_parquet_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    file.write(Posteriors("m"), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadData, match=r"p\.parquet: "):
        file.read(path)


def test_a_missing_file_is_input_missing(tmp_path):
    for name in ("p.csv", "p.parquet"):
        with pytest.raises(InputMissing, match="No such file"):
            file.read(tmp_path / name)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "p.parquet"
    file.write(Posteriors("old"), path)
    bad = Posteriors("new", arms=arms_table([{"arm": "x", "a": -1.0, "b": 1.0, "pulls": 0}]))
    with pytest.raises(BadData, match=r"row 1: a is -1\.0"):
        file.write(bad, path)
    assert file.read(path).model == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown format"):
        file.write(Posteriors("m"), tmp_path / "p.xlsx")


@pytest.mark.parametrize("prior", [(0.0, 1.0), (1.0, 2e15), (float("nan"), 1.0)])
def test_a_prior_out_of_range_is_refused(prior):
    with pytest.raises(UsageError, match="prior: "):
        Header("m", Prior(*prior))


def test_a_context_sees_its_own_posteriors_and_else_the_arms():
    arms = [{"arm": arm, "a": 1.0, "b": 9.0, "pulls": 8} for arm in ("x", "y")]
    own = [{"context": "u", "arm": "y", "a": 3.0, "b": 9.0, "pulls": 2}]
    posteriors = Posteriors("m", arms=arms_table(arms), contexts=pa.Table.from_pylist(own, SCHEMA))
    assert posteriors.of("u").column("a").to_pylist() == [1.0, 3.0]
    assert posteriors.of(None).column("a").to_pylist() == [1.0, 1.0]
    with pytest.raises(BadData, match="no posteriors of the context 'v'"):
        posteriors.of("v")


def test_the_hash_is_that_of_the_bytes(tmp_path):
    path = Path(tmp_path / "x")
    path.write_bytes(b"abc")
    assert file.content_hash(path).startswith("ba7816bf8f01cfea")

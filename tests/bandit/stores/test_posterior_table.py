"""The posterior table against a dict, across processes, and against damaged files."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from processes import started

from mlkit.bandit._posterior_table import PosteriorTable, TableFull, ThompsonSampler

PRIOR = (1.0, 3.0)
SHRINKAGE = 8.0
LARGE = {"arms": 2000, "contexts": 500, "posteriors": 2000, "id_bytes": 1 << 20}


def create(path: Path, **capacity: int) -> PosteriorTable:
    return PosteriorTable.create(str(path), **(LARGE | capacity), prior=PRIOR, shrinkage=SHRINKAGE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def table(path):
    return create(path)


def buffers(ids):
    data = [each.encode() for each in ids]
    offsets = np.cumsum([0, *map(len, data)])
    return offsets, np.frombuffer(b"".join(data), np.uint8)


# A model


class Model:
    """What a table holds, as dicts."""

    def __init__(self):
        self.arms: dict[str, list[float]] = {}
        self.pairs: dict[tuple[str, str], list[float]] = {}
        self.removed: set[str] = set()

    def remove(self, arm):
        self.arms.pop(arm)
        self.removed.add(arm)
        self.pairs = {pair: row for pair, row in self.pairs.items() if pair[1] != arm}

    def reward(self, context, arm, reward):
        own = self.arms.setdefault(arm, [*PRIOR, 0])
        if context is not None:
            start = [SHRINKAGE * own[0] / sum(own[:2]), SHRINKAGE * own[1] / sum(own[:2]), 0]
            self.add(self.pairs.setdefault((context, arm), start), reward)
        self.add(own, reward)

    @staticmethod
    def add(row, reward):
        row[:] = row[0] + reward, row[1] + (1 - reward), row[2] + 1

    def parameters(self, context, arm):
        row = self.pairs.get((context, arm)) or self.arms.get(arm)
        return tuple(row[:2]) if row else PRIOR


IDS = st.sampled_from(["a", "b", "a\0", "\0a", "😀", "ä" * 128, "x" * 256, "x" * 255, "x" * 33])
CONTEXTS = st.none() | IDS
REWARDS = st.sampled_from([0.0, 1.0, 0.25])
PARAMETERS = st.floats(1e-300, 1e14)


class TableMachine(RuleBasedStateMachine):
    """Any changes: the table, a reader and a grown copy agree with the model."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name, "table")
        self.table = create(self.path)
        self.reader = PosteriorTable.open(str(self.path))
        self.model = Model()

    def teardown(self):
        self.directory.cleanup()

    @rule(arm=IDS, a=PARAMETERS, b=PARAMETERS, pulls=st.integers(0, 10))
    def put_arm(self, arm, a, b, pulls):
        self.table.put_arm(arm, a, b, pulls)
        self.model.removed.discard(arm)
        self.model.arms[arm] = [a, b, pulls]

    @rule(arm=IDS)
    def remove_arm(self, arm):
        known = arm in self.model.arms
        assert self.table.remove_arm(arm) == known
        if known:
            self.model.remove(arm)

    @rule(context=CONTEXTS, arm=IDS, reward=REWARDS)
    def add_reward(self, context, arm, reward):
        counted = self.table.add_reward(context, arm, reward)
        assert counted == (arm not in self.model.removed)
        if counted:
            self.model.reward(context, arm, reward)

    @rule()
    def grow(self):
        grown = create(self.path.with_suffix(".grown"))
        grown.copy(self.table)
        self.check(grown)

    @rule(context=CONTEXTS, candidates=st.lists(IDS, max_size=20))
    def fetch(self, context, candidates):
        fetched = self.reader.fetch(context, candidates)
        expected = [self.model.parameters(context, arm) for arm in candidates]
        assert list(zip(fetched.a, fetched.b, strict=True)) == expected
        assert fetched.candidates == tuple(candidates)
        assert fetched.unknown_arms == sum(arm not in self.model.arms for arm in candidates)
        pairs = sum((context, arm) in self.model.pairs for arm in candidates)
        assert fetched.unknown_contexts == (0 if context is None else len(candidates) - pairs)

    @rule(after=CONTEXTS, limit=st.integers(0, 5))
    def page(self, after, limit):
        ids = sorted(arm for arm in self.model.arms if after is None or arm > after)[:limit]
        assert [row[0] for row in self.reader.arms(after, limit)] == ids

    @invariant()
    def agrees(self):
        self.check(self.reader)

    def check(self, table):
        assert table.arms(limit=99) == [
            (arm, *self.model.arms[arm]) for arm in sorted(self.model.arms)
        ]
        for (context, arm), row in self.model.pairs.items():
            assert table.pair(context, arm) == tuple(row)
        assert set(table.removed_arms()) == self.model.removed
        contexts, arms, *columns = table.export_contexts(0, 10_000)
        assert len(columns[0]) == len(self.model.pairs) == len(contexts[0]) - 1 == len(arms[0]) - 1
        for context in (None, "a"):
            every = table.fetch(context, None)
            found = dict(zip(every.candidates, zip(every.a, every.b, strict=True), strict=True))
            assert found == {arm: self.model.parameters(context, arm) for arm in self.model.arms}


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


# Loading


def test_many_rows_are_found_again(table, path):
    arms = [f"arm-{i}" for i in range(1500)]
    contexts = [f"user-{i % 300}" for i in range(1500)]
    a, b, pulls = np.arange(1.0, 1501), np.full(1500, 2.0), np.arange(1500.0)
    table.load_arms(buffers(arms), a, b, pulls)
    table.load_contexts(buffers(contexts), buffers(arms), a + 0.5, b, pulls)
    reader = PosteriorTable.open(str(path))
    assert reader.fetch(None, arms[::-1]).a.tolist() == a[::-1].tolist()
    for i in range(0, 1500, 100):
        assert reader.pair(contexts[i], arms[i]) == (a[i] + 0.5, 2.0, i)
    fetched = reader.fetch("user-7", arms)
    assert fetched.unknown_contexts == 1495
    assert np.count_nonzero(fetched.a == a + 0.5) == 5


@pytest.mark.parametrize("column", ["a", "b"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, 1e-301, 1.1e15])
def test_a_bad_parameter_is_named_before_anything_is_loaded(table, column, bad):
    values = {"a": np.ones(3), "b": np.ones(3), "pulls": np.zeros(3)}
    values[column] = np.array([1.0, bad, bad])
    with pytest.raises(ValueError, match=rf"{column}\[1\]"):
        table.load_arms(buffers(["x", "y", "z"]), **values)
    assert table.arms() == []


def test_repeated_rows_and_pairs_without_an_arm_are_refused(table):
    ones = [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]
    with pytest.raises(ValueError, match="row 1: arm 'x' is there already"):
        table.load_arms(buffers(["x", "x"]), *ones)
    with pytest.raises(ValueError, match="row 1: arm 'x' has a posterior for this context"):
        table.load_contexts(buffers(["u", "u"]), buffers(["x", "x"]), *ones)
    with pytest.raises(ValueError, match="row 0: arm 'y' has no posterior"):
        table.load_contexts(buffers(["u", "u"]), buffers(["y", "x"]), *ones)


@pytest.mark.parametrize("offsets", [[0, 5], [-1, 2], [2, 1], []])
def test_offsets_outside_of_the_data_are_refused(table, offsets):
    data = np.frombuffer(b"abc", np.uint8)
    with pytest.raises(ValueError, match="ids"):
        table.load_arms((np.array(offsets, np.int32), data), [1.0], [1.0], [0.0])


# Ids


@pytest.mark.parametrize("size", range(258))
def test_ids_of_every_length(table, size):
    arm, other = "é" * (size // 2) + "x" * (size % 2), "é" * (size // 2) + "y" * (size % 2)
    if size in (0, 257):
        for change in (lambda: table.put_arm(arm, 2, 3), lambda: table.add_reward(arm, "a", 1)):
            with pytest.raises(ValueError, match=f"this one has {size}"):
                change()
        with pytest.raises(ValueError, match=rf"candidates\[1\]: .*this one has {size}"):
            table.fetch(None, ["a", arm])
        return
    table.put_arm(arm, 2, 3)
    table.add_reward(arm, arm, 1)
    assert table.arm(arm) == (3, 3, 1)
    assert table.pair(arm, arm) is not None
    if arm != other:
        assert table.arm(other) is None


def test_a_lone_surrogate_is_a_value_error_with_its_index(table):
    with pytest.raises(ValueError, match=r"candidates\[2\]: a lone surrogate"):
        table.fetch(None, ["a", "b", "\ud800"])
    with pytest.raises(ValueError, match="context: a lone surrogate"):
        table.fetch("\udfff", ["a"])
    with pytest.raises(ValueError, match="arm: a lone surrogate"):
        table.put_arm("\ud800", 1, 1)


@pytest.mark.parametrize("candidates", [["a", 1], ["a", b"a"], ["a", None]])
def test_a_candidate_that_is_no_str_is_a_type_error(table, candidates):
    with pytest.raises(TypeError, match=r"candidates\[1\]"):
        table.fetch(None, candidates)


# Rewards


@pytest.mark.parametrize("reward", [-0.01, 1.01, math.nan, math.inf])
def test_a_reward_outside_of_0_to_1_changes_nothing(table, reward):
    with pytest.raises(ValueError, match="reward"):
        table.add_reward(None, "a", reward)
    assert table.arm("a") is None


def test_parameters_stop_at_the_largest_that_the_sampler_takes(table):
    table.put_arm("a", 1e15, 1.0)
    table.add_reward("u", "a", 1.0)
    assert table.arm("a") == (1e15, 1.0, 1)


def test_an_arm_that_comes_back_has_lost_its_pairs(table):
    table.add_reward("u", "a", 1.0)
    assert table.remove_arm("a")
    assert not table.add_reward("u", "a", 1.0)
    table.put_arm("a", 5, 5)
    assert table.pair("u", "a") is None
    assert table.fetch("u", ["a"]).a.tolist() == [5]


# Capacity


@pytest.mark.parametrize(
    ("small", "change"),
    [
        ({"arms": 1}, lambda table: table.put_arm("new", 1, 1)),
        ({"contexts": 1}, lambda table: table.add_reward("v", "a", 1)),
        ({"posteriors": 1}, lambda table: table.add_reward("v", "a", 1)),
        ({"id_bytes": 4}, lambda table: table.put_arm("four", 1, 1)),
        ({"arms": 1}, lambda table: table.add_reward("v", "new", 1)),
    ],
)
def test_a_full_table_says_so_and_stays_as_it_was(path, small, change):
    table = create(path, **small)
    table.put_arm("a", 1, 1)
    table.add_reward("u", "a", 1)
    before = table.used(), table.arms(), table.pair("u", "a")
    with pytest.raises(TableFull, match="full"):
        change(table)
    assert (table.used(), table.arms(), table.pair("u", "a")) == before
    table.add_reward("u", "a", 1)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_every_capacity_can_be_used_up(path, n):
    table = create(path, arms=n, contexts=n, posteriors=n, id_bytes=16 * n)
    for i in range(n):
        table.put_arm(f"{i:08}", 1, 1)
        table.add_reward(f"{i:08}", f"{i:08}", 1)
    assert table.used() == table.capacity()
    assert table.fetch("0" * 8, [f"{i:08}" for i in range(n)]).unknown_contexts == n - 1


def test_an_empty_table_answers(path):
    table = create(path, arms=0, contexts=0, posteriors=0, id_bytes=0)
    assert table.fetch("u", ["a"]).a.tolist() == [PRIOR[0]]
    assert len(table.fetch("u", None)) == 0


def test_sizes_prior_and_shrinkage_out_of_range(path):
    for capacity in ({"arms": 1 << 33}, {"id_bytes": 1 << 40}):
        with pytest.raises(ValueError, match="table holds"):
            create(path, **capacity)
    for prior, shrinkage in (((0, 1), 1), ((1, math.nan), 1), ((1, 1), 0)):
        with pytest.raises(ValueError, match=r"prior|shrinkage"):
            PosteriorTable.create(str(path), **LARGE, prior=prior, shrinkage=shrinkage)
    assert not path.exists()


# Files


def test_a_reader_keeps_the_file_that_is_replaced(table, path):
    table.put_arm("old", 2, 2)
    reader = PosteriorTable.open(str(path))
    create(path).put_arm("new", 3, 3)
    assert reader.arm("old") == (2, 2, 0)
    assert PosteriorTable.open(str(path)).arm("new") == (3, 3, 0)


def test_only_the_owner_may_read_the_file(table, path):
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reader_cannot_change_a_table(table, path):
    reader = PosteriorTable.open(str(path))
    changes = (lambda: reader.put_arm("a", 1, 1), lambda: reader.remove_arm("a"))
    for change in (*changes, lambda: reader.add_reward(None, "a", 1)):
        with pytest.raises(RuntimeError, match="reading only"):
            change()


def test_missing_files_and_directories_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        PosteriorTable.open(str(tmp_path / "absent"))
    with pytest.raises(IsADirectoryError):
        PosteriorTable.open(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        create(tmp_path / "absent" / "table")


@pytest.mark.parametrize("content", [b"", b"mlkitPT\n", bytes(100_000), b"PAR1" * 5000])
def test_a_foreign_file_is_a_value_error(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a posterior table"):
        PosteriorTable.open(str(path))


@pytest.mark.parametrize("change", [-1, -64, -4096, 1, 4096])
def test_a_file_of_another_length_is_a_value_error(table, path, change):
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(ValueError, match="truncated"):
        PosteriorTable.open(str(path))


HEADER_BYTES = 8 + 4 + 4 + 4 * 8 + 5 * 8 + 35 * 8 + 8


@given(bit=st.integers(0, HEADER_BYTES * 8 - 1))
@settings(max_examples=200)
def test_no_flipped_bit_of_the_header_goes_unnoticed(bit, tmp_path_factory):
    path = tmp_path_factory.mktemp("flipped") / "table"
    create(path, arms=1, contexts=1, posteriors=1, id_bytes=8)
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a posterior table"):
        PosteriorTable.open(str(path))


@given(seed=st.integers(0, 2**32), damage=st.floats(0, 1))
@settings(max_examples=60)
def test_a_damaged_body_never_crashes_a_reader(seed, damage, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "table"
    table = create(path, arms=20, contexts=20, posteriors=40, id_bytes=400)
    ids = [f"{i:04}" for i in range(20)]
    for i in range(40):
        table.add_reward(ids[i % 7], ids[i % 20], 1)
    content = np.fromfile(path, np.uint8)
    rng = np.random.default_rng(seed)
    hit = rng.random(len(content)) < damage
    hit[:HEADER_BYTES] = False
    content[hit] = rng.integers(0, 256, hit.sum())
    content.tofile(path)
    reader = PosteriorTable.open(str(path))
    for context in (None, *ids[:8]):
        for candidates in (ids, None):
            fetched = reader.fetch(context, candidates)
            ThompsonSampler(1).top_k(fetched, 5)
    reader.arms(), reader.removed_arms(), reader.export_arms(), reader.export_contexts(0, 100)


# Processes


def test_readers_in_other_processes_see_whole_changes_at_once(path):
    table = create(path)
    command = [sys.executable, str(Path(__file__).with_name("watch_table.py")), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(started(command, **pipes)) for _ in range(2)]
        assert [reader.stdout.readline() for reader in readers] == ["ready\n", "ready\n"]
        for _ in range(20):
            for i in range(400):
                if table.arm(f"arm-{i}") is None:
                    table.put_arm(f"arm-{i}", 8.0, 8.0)
                table.add_reward("u", f"arm-{i}", 1.0)
        results = [json.loads(reader.communicate(timeout=180)[0]) for reader in readers]
    assert [fault for _, fault in results] == ["", ""]
    assert PosteriorTable.open(str(path)).arm("arm-399") == (28, 8, 20)

"""The table of a server: many changes at once do what each does by itself."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.learning.tables import GrowingTable
from mlkit.bandit.stores import memory_mapped
from mlkit.bandit.stores.memory_mapped import Capacity


@pytest.fixture
def open_table(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_mapped, "SPARE", Capacity(4, 4, 8, 100))
    posteriors = tmp_path / "posteriors.csv"
    posteriors.write_text("context,arm,a,b,pulls\n,x,1,2,3\n,y,2,2,4\n")
    paths = (tmp_path / f"table-{number}" for number in itertools.count())
    return lambda **options: GrowingTable(posteriors, paths.__next__, since=1e9, **options)


def make_changes(seed):
    generator = random.Random(seed)
    for number in range(120):
        arm = generator.choice("xyz")
        context = generator.choice([None, f"u{number % 17}"])
        at, reward = 1e9 + 60.0 * number, generator.random()
        examined = generator.choice([None, None, 0.5])
        kind = generator.choice([Kind.REWARD] * 4 + [Kind.WITHDRAW])
        yield Change(kind, context, arm, reward, examined, at=at)


OPTIONS = {
    "plain": {},
    "half-life": {"half_life": 600.0},
    "window": {"window": 1},
    "kept": {"half_life": math.inf},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("prior", [None, (5.0, 6.0)])
def test_changes_together_do_what_each_does(open_table, options, prior):
    together, single = open_table(**options), open_table(**options)
    for table in (together, single):
        table.new_arm_prior = prior
    for seed in range(4):
        changes = list(make_changes(seed))
        if seed == 2:
            changes.insert(40, Change(Kind.REMOVE, None, "x"))
        expected = [single.apply(each) for each in changes]
        assert together.apply_all(changes) == expected
        assert together.apply_all([]) == []
    pairs = itertools.product([None, *(f"u{number}" for number in range(17))], "xyz")
    found = [[table.table.stored(*each) for table in (together, single)] for each in pairs]
    assert all(one == other for one, other in found)
    assert together.table.size() == single.table.size()
    assert together.table.size()[1] > 8

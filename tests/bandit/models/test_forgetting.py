"""Models of policies that forget: by the formula, in fit and in the server, in any order."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mlkit.bandit.logs.log import Columns
from mlkit.bandit.models import file, fitting
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.learning.served_model import ServedModel
from mlkit.bandit.stores.shared_model import SharedModel
from mlkit.errors import UsageError

COLUMNS = Columns("arm", "reward", time="time")
HALF_LIFE = 3600.0
NOW = 1.7e9
FORGET = (
    *("gamma-poisson:shape=2,rate=3", "normal:mean=5,kappa=2,a=2,b=3", "bayes-ucb", "ucb1"),
    *("kl-ucb", "softmax", "epsilon-greedy", "top-two", "top-two:of=gamma-poisson"),
)


def events():
    draw = random.Random(5)
    times = sorted(NOW - draw.uniform(0, 40 * HALF_LIFE) for _ in range(80))
    return [
        ("xyz"[number % 3], float(draw.random() < 0.4), time) for number, time in enumerate(times)
    ]


def write_log(path, rows):
    lines = [f"{arm},{reward},{time!r}" for arm, reward, time in rows]
    path.write_text("\n".join(["arm,reward,time", *lines]) + "\n")
    return path


def state(model, arm):
    row = model.place(arm)
    return {name: values[row] for name, values in catalog.arrays(model.policy).items()}


def same(found, wanted):
    for arm in "xyz":
        for name, value in state(wanted, arm).items():
            assert state(found, arm)[name] == pytest.approx(value, rel=1e-12, abs=1e-15), (
                arm,
                name,
            )
        assert found.pulls[found.place(arm)] == wanted.pulls[wanted.place(arm)]


def by_definition(spec, rows, at):
    """Learn all rewards at once, each with the weight of its age."""
    model = PolicyModel(ModelHeader("m", spec))
    places = [model.place(arm) if model.knows(arm) else model.name(arm) for arm, *_ in rows]
    weights = [2 ** -((at - time) / HALF_LIFE) for *_, time in rows]
    model.policy.update(places, [reward for _, reward, _ in rows], None, weights)
    model.pulls += np.bincount(places, minlength=model.pulls.size)
    return model


@pytest.mark.parametrize("text", FORGET)
def test_fit_serve_and_a_restart_have_the_numbers_of_the_formula(text, tmp_path):
    spec, rows, at = catalog.parse(text), events(), NOW + HALF_LIFE
    wanted = by_definition(spec, rows, at)
    log, header = write_log(tmp_path / "log.csv", rows), ModelHeader("m", spec)
    fitted = fitting.fit([log], COLUMNS, header, half_life=HALF_LIFE, as_of=at)
    same(fitted, wanted)
    path = tmp_path / "model.parquet"
    file.write(fitted, path)
    found = file.read(path)
    assert found.header.forgetting == Forgetting(HALF_LIFE, at)
    same(found, wanted)
    # A server starts from the first rewards, and gets the rest one by one, one of them late.
    early, rest = rows[:20], rows[20:]
    rest.append(rest.pop(7))
    first = fitting.fit(
        [write_log(tmp_path / "0.csv", early)], COLUMNS, header, half_life=HALF_LIFE
    )
    file.write(first, tmp_path / "first.parquet")
    journal, numbers = Journal(tmp_path / "journal.sqlite"), itertools.count()
    paths = (tmp_path / f"table-{number}" for number in numbers)
    served = ServedModel(tmp_path / "first.parquet", None, paths.__next__)
    for number, (arm, reward, time) in enumerate(rest):
        change = Change(Kind.REWARD, None, arm, reward, at=time)
        journal.append([change])
        assert served.apply(change)
        if number == 30:
            with journal.transaction():
                served.compact(journal)
                journal.end_compaction()
    served.show()
    again = ServedModel(tmp_path / "first.parquet", None, None)
    again.restore(journal)
    journal.close()
    reader = SharedModel.open(served.path)
    for model in (served.model, again.model, reader.read(lambda model: model.as_of(at))):
        same(model.as_of(at), wanted)
    mistake = Change(Kind.WITHDRAW, None, *rest[3][:2], at=rest[3][2])
    again.apply(mistake)
    corrected = again.model.as_of(at)
    kept = early + rest[:3] + rest[4:]
    for arm in "xyz":
        for name, value in state(by_definition(spec, kept, at), arm).items():
            assert state(corrected, arm)[name] == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("text", FORGET)
def test_in_the_end_nothing_is_known(text):
    spec = catalog.parse(text)
    model = PolicyModel(ModelHeader("m", spec, forgetting=Forgetting(HALF_LIFE, NOW)))
    place = model.put("x")
    for number in range(5):
        model.learn(place, 1.0, None, NOW + number)
    old = model.as_of(NOW + 5000 * HALF_LIFE)
    fresh = spec.make(1)
    for name, values in catalog.arrays(fresh).items():
        assert state(old, "x")[name] == pytest.approx(values[0], abs=1e-300)
    assert np.isfinite(old.policy.expected([place])).all()


@pytest.mark.parametrize("text", ["explore-then-commit", "lin-ts", "lin-ucb", "logistic"])
def test_others_refuse_by_name(text):
    spec = catalog.parse(text)
    assert not spec.forgets
    schema = FeatureSchema(("x",)) if spec.has_features else FeatureSchema()
    with pytest.raises(UsageError, match=f"{text} does not forget"):
        ModelHeader("m", spec, schema, (), Forgetting(HALF_LIFE, NOW))


def test_a_reward_of_an_arm_without_its_features_is_left_out(tmp_path):
    header = ModelHeader("m", catalog.parse("lin-ucb:shared=true"), FeatureSchema(("x",), ("z",)))
    model = PolicyModel(header)
    model.put("a", {"z": 1.0})
    file.write(model, tmp_path / "model.parquet")
    served = ServedModel(tmp_path / "model.parquet", None, None)
    assert not served.apply(Change(Kind.REWARD, None, "unknown", 1.0, features=b'{"x": 1}'))
    assert served.apply(Change(Kind.REWARD, None, "a", 1.0, features=b'{"x": 1}'))

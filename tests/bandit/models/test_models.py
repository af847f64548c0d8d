"""Models: policies with named arms, fitted from logs and kept in files."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import csv
from typer.testing import CliRunner

from mlkit.bandit.logs import compaction
from mlkit.bandit.logs.log import Columns
from mlkit.bandit.models import file, fitting, loading
from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.errors import BadData, UsageError

SPECS = [
    *("gamma-poisson:shape=2.0", "normal:kappa=0.5,mean=3.0", "bayes-ucb", "kl-ucb:c=3.0", "ucb1"),
    *("epsilon-greedy:decay=0.5,scale=3.0", "softmax:temperature=0.3", "explore-then-commit"),
    *("top-two:of=normal,share=0.7", "lin-ts:scale=0.5", "lin-ucb:alpha=2.0,shared=true"),
    "logistic:ridge=2.0,shared=true",
]
ROWS = [(arm, reward, x) for arm in "abc" for reward, x in ((1, 0.5), (0, -1.5), (1, 2.0))]


@pytest.fixture(params=SPECS)
def model(request):
    return learned(request.param)


def learned(text):
    spec = catalog.parse(text)
    contexts = ("x", "y") if spec.has_features else ()
    arms = ("z",) if spec.is_shared else ()
    found = PolicyModel(ModelHeader("m", spec, FeatureSchema(contexts, arms)))
    for number, arm in enumerate("abc"):
        found.put(arm, {"z": number} if arms else None)
    for arm, reward, x in ROWS:
        features = {"x": x, "y": -x * x} if contexts else None
        found.learn(found.place(arm), reward, features)
    return found


def context_of(model):
    return {"x": 0.3, "y": 1.0} if model.header.features.context else None


def test_the_text_of_a_policy_is_read_back():
    for text in SPECS:
        assert str(catalog.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("lin-tz", "lin-ts"),
        ("ucb1:alpha=2", "exploration"),
        ("ucb1:exploration=x", None),
        ("ucb1:exploration=-1", None),
        ("ucb1:exploration", None),
        ("top-two:of=ucb1", "thompson"),
        ("lin-ts:shared=maybe", None),
    ],
)
def test_what_is_no_policy_is_refused(text, hint):
    with pytest.raises(UsageError) as error:
        catalog.parse(text)
    assert hint is None or hint in error.value.hint


def test_a_file_has_the_model_to_the_last_bit(model, tmp_path):
    path = tmp_path / "model.parquet"
    file.write(model, path)
    back = file.read(path)
    assert back.header == model.header
    assert back.ids == model.ids
    for place in range(3):
        row = model.row(place)
        assert catalog.pack(back.policy, row) == catalog.pack(model.policy, row)
    context, places = context_of(model), model.present()
    for seed in range(3):
        one, other = (each.rank(places, 2, seed, context) for each in (model, back))
        assert_array_equal(one.arms, other.arms)
        assert_array_equal(one.scores, other.scores)
    again = tmp_path / "again.parquet"
    file.write(back, again)
    assert again.read_bytes() == path.read_bytes()


def test_arms_are_added_without_changing_what_is_known(model):
    is_shared = model.header.spec.is_shared
    before = [catalog.pack(model.policy, model.row(place)) for place in range(3)]
    for number in range(40):
        model.put(f"new {number}", {"z": number} if is_shared else None)
    assert [catalog.pack(model.policy, model.row(place)) for place in range(3)] == before
    assert len(model) == 43


def test_a_removed_arm_starts_anew(model):
    if model.header.spec.is_shared:
        return  # It has no state of an arm.
    fresh = catalog.pack(model.header.spec.make(1, model.header.features.dimension), 0)
    assert model.remove("b")
    assert not model.remove("b")
    assert model.place("b") is None
    assert model.knows("b")
    place = model.put("b")
    assert catalog.pack(model.policy, place) == fresh
    assert model.pulls[place] == 0


def test_ranks_are_frequencies(model):
    context, places = context_of(model), model.present()
    if model.header.spec.name == "top-two":
        with pytest.raises(UsageError, match="k = 1"):
            model.ranks(places, places[:2], 2, context)
        return
    shown = model.rank(places, 2, 0, context).arms
    found = model.ranks(places, shown, 2, context)
    draws = 100 if found.slate == 1 else 1500  # one that leaves nothing to chance needs few
    drawn = np.array([model.rank(places, 2, seed, context).arms for seed in range(draws)])
    counted = np.stack([(drawn == arm).mean(axis=0) for arm in shown])
    assert_allclose(found.ranks, counted, atol=0.07)  # more than 5 standard errors
    assert found.slate == pytest.approx((drawn == shown).all(axis=1).mean(), abs=0.07)
    whole = model.ranks(places, places, 3, context)
    assert_allclose(whole.ranks.sum(axis=0), 1, atol=1e-7)
    assert_allclose(whole.ranks.sum(axis=1), 1, atol=1e-7)


# Features


def test_features_have_to_be_declared_and_right():
    schema = FeatureSchema(("age", "country"), categories=("country",), hashed=8)
    assert_array_equal(schema.context_vector({"age": 0}), np.zeros(8))
    unread = ({"age": [1]}, {"country": ["DE"]}, {"country": {"a": 1}})
    for wrong in ({"agee": 1}, {"age": "old"}, {"country": 3}, {"age": float("inf")}, *unread):
        with pytest.raises(BadData):
            schema.context_vector(wrong)
    with pytest.raises(BadData, match="missing"):
        FeatureSchema(("age", "height")).context_vector({"age": 3})
    with pytest.raises(UsageError, match="hash"):
        FeatureSchema(("country",), categories=("country",))


def test_a_policy_and_its_features_have_to_fit():
    for spec, schema in (
        ("ucb1", FeatureSchema(("x",))),
        ("lin-ts", FeatureSchema(("x",), ("z",))),
        ("lin-ts:shared=true", FeatureSchema(("x",))),
    ):
        with pytest.raises(UsageError):
            ModelHeader("m", catalog.parse(spec), schema)


# The commands


def run(*arguments):
    from mlkit.cli.main import app

    return CliRunner().invoke(app, ["bandit", *map(str, arguments)])


@pytest.fixture
def log(tmp_path):
    generator, path = np.random.default_rng(1), tmp_path / "log.csv"
    lines = ["item,click,age,country"]
    for _ in range(400):
        arm, age = generator.choice(["a", "b"]), generator.uniform(-1, 1)
        click = generator.random() < (0.5 + (0.4 if arm == "a" else -0.4) * age)
        lines.append(f"{arm},{int(click)},{age:.4f},{generator.choice(['DE', 'FR', ''])}")
    path.write_text("\n".join(lines))
    return path


def fitted(log, *options):
    model = log.parent / "model.parquet"
    columns = ("--arm", "item", "--reward", "click")
    result = run("fit", log, *columns, *options, "-o", model)
    assert result.exit_code == 0, result.output
    return model


def test_a_fitted_linear_model_solves_the_ridge_regression(log):
    model = file.read(fitted(log, "--policy", "lin-ucb:ridge=2", "--features", "age"))
    rows = [line.split(",") for line in log.read_text().splitlines()[1:]]
    for arm in "ab":
        mine = [(float(age), float(click)) for name, click, age, _ in rows if name == arm]
        x = np.array([[1, age] for age, _ in mine])
        y = np.array([click for _, click in mine])
        weights = np.linalg.solve(x.T @ x + 2 * np.eye(2), x.T @ y)
        assert_allclose(model.policy.weights.mean[model.place(arm)], weights, rtol=1e-9)


def test_context_decides_what_is_shown_and_sampled(log):
    model = fitted(log, "--policy", "lin-ts", "--features", "age")
    for age, best in ((0.9, "a"), (-0.9, "b")):
        shown = json.loads(run("show", model, "--features", f'{{"age": {age}}}', "--json").stdout)
        assert shown["arms"][0]["arm"] == best
        assert shown["arms"][0]["share"] > 0.99
        drawn = run("sample", model, "--features", f'{{"age": {age}}}', "--json", "--seed", "1")
        assert json.loads(drawn.stdout)["draws"][0][0]["arm"] == best


def test_a_shared_model_knows_arms_without_rewards(log, tmp_path):
    arms = tmp_path / "arms.csv"
    arms.write_text("arm,price,brand\na,1,x\nb,2,y\nnew,0,x\n")
    options = ("--features", "age", "--categories", "country,brand", "--hash", "16")
    spec = "logistic:shared=true"
    model = fitted(log, "--policy", spec, *options, "--arm-features", arms)
    context = '{"age": 0.5, "country": "DE"}'
    shown = json.loads(run("show", model, "--features", context, "--json").stdout)
    assert {row["arm"] for row in shown["arms"]} == {"a", "b", "new"}
    assert sum(row["share"] for row in shown["arms"]) == pytest.approx(1)


def test_beta_posteriors_serve_policies_of_the_same_counts(log):
    model = fitted(log)
    shown = run("show", model, "--policy", "ucb1", "--json")
    assert json.loads(shown.stdout)["policy"] == "ucb1"
    ucb = loading.load(model, "ucb1")
    assert ucb.policy.means.total == 400
    for policy, code in (("normal", 2), ("nonsense", 2), ("thompson:a=3", 2)):
        assert run("show", model, "--policy", policy).exit_code == code


def test_what_does_not_fit_is_a_clear_error(log):
    columns = ("--arm", "item", "--reward", "click")
    for options, code in (
        (("--features", "age"), 2),
        (("--policy", "lin-ts", "--features", "agge"), 65),
        (("--policy", "lin-ts", "--features", "country"), 65),
        (("--policy", "ucb1", "--prior", "1,9"), 2),
        (("--policy", "ucb1", "--features", "age"), 2),
    ):
        result = run("fit", log, *columns, *options, "-o", log.parent / "m.parquet")
        assert result.exit_code == code, result.output
    model = fitted(log, "--policy", "ucb1")
    assert run("quantile", model, "--p", "0.5").exit_code == 65
    assert run("show", model, "--context", "u1").exit_code == 2
    assert run("show", model, "--policy", "kl-ucb").exit_code == 2


def test_progress_is_that_of_all_logs_together(tmp_path):
    paths = [tmp_path / name for name in ("1.csv", "2.csv")]
    for path in paths:
        path.write_text("arm,reward\nx,1\ny,0\n")
    reported = []
    header = ModelHeader("clicks", catalog.parse("ucb1"))
    fitting.fit(
        paths, Columns("arm", "reward"), header, progress=lambda *each: reported.append(each)
    )
    size = sum(path.stat().st_size for path in paths)
    assert reported[-1] == (size, size)
    assert reported == sorted(reported)


def test_logs_without_a_good_row_say_that_bad_ones_were_skipped(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("arm,reward\nx,much\n")
    header = ModelHeader("clicks", catalog.parse("ucb1"))
    with pytest.raises(BadData, match="no rewards") as refused:
        fitting.fit([path], Columns("arm", "reward"), header, skip_bad_rows=True)
    assert "1 bad rows were skipped" in refused.value.hint


def test_a_damaged_model_is_refused(log):
    path = fitted(log, "--policy", "lin-ts", "--features", "age")
    table = pq.read_table(path)
    row = table.column_names.index("state_precision")
    for value in ([[0.0] * 4] * 2, [[1.0]] * 2, [None] * 2, [[float("nan")] * 4] * 2):
        column = pa.array(value, pa.list_(pa.float64()))
        damaged = table.set_column(row, "state_precision", column)
        pq.write_table(damaged.replace_schema_metadata(table.schema.metadata), path)
        with pytest.raises(BadData, match="row 1"):
            file.read(path)


def test_logs_of_a_server_are_learned_with_the_features_that_arms_had(tmp_path):
    """With those of the model where the log has none; also what is taken back, or counts as 0."""
    lines = [
        {"type": "feedback", "event_id": "1", "arm": "a", "reward": 1.0, "arm_features": {"z": 5}},
        {"type": "feedback", "event_id": "2", "arm": "b", "reward": 0.5, "arm_features": None},
        {"type": "feedback", "event_id": "3", "arm": "b", "reward": 1.0, "arm_features": {"z": -2}},
        {
            "type": "amendment",
            "event_id": "4",
            "reward": 0.25,
            "replaced": {
                "arm": "b",
                "reward": 1.0,
                "features": {"x": 2},
                "arm_features": {"z": -2},
            },
        },
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line | {"features": {"x": 2.0}}) + "\n" for line in lines))
    spec, schema = catalog.parse("lin-ucb:shared=true"), FeatureSchema(("x",), ("z",))
    own = {name: np.array([float(place)]) for place, name in enumerate("ab")}
    found = fitting.fit([log], None, ModelHeader("m", spec, schema), own)
    wanted = PolicyModel(ModelHeader("m", spec, schema))
    for name, vector in own.items():
        wanted.put(name, {"z": float(vector[0])})
    for arm, reward, x, z in (("a", 1.0, 2.0, 5.0), ("b", 0.5, 2.0, 1.0), ("b", 0.25, 2.0, -2.0)):
        wanted.learn(wanted.place(arm), reward, {"x": x}, arm={"z": z})
    assert_allclose(found.policy.weights.mean, wanted.policy.weights.mean, rtol=1e-9)
    assert_allclose(found.vectors[:2], [[0.0], [1.0]])


def served_lines():
    """Return the log of a server with features of contexts and arms, from a feature store."""
    for number, (x, a, b) in enumerate([(2.0, 5.0, None), (-1.0, 0.5, 3.0), (4.0, None, None)]):
        of_arms = {name: {"z": z} for name, z in (("a", a), ("b", b)) if z is not None}
        shown = ["b", "a"] if number else ["a", "b"]
        about = {"context": f"u{number}", "features": {"x": x}}
        yield {
            "type": "decision",
            "at": f"2026-11-24T09:30:0{number}Z",
            "decision_id": f"d{number}",
            "arms": shown,
            "scores": [0.5, 0.25],
            "policy": "lin-ucb",
            "version": "1",
            "k": 2,
            "seed": 1,
            "source": "policy",
            "candidates": ["a", "b"],
            "propensities": None,
            "first": None,
            "arm_features": of_arms,
        } | about
        yield {
            "type": "feedback",
            "event_id": f"d{number}:{shown[0]}",
            "decision_id": f"d{number}",
            "arm": shown[0],
            "reward": 0.25 * (number + 1),
            "at": f"2026-11-24T09:31:0{number}Z",
            "time": 1e9 + number,
            "arm_features": of_arms.get(shown[0]),
        } | about


@pytest.mark.parametrize("form", ["compacted", "implied", "csv", "candidates"])
def test_a_compacted_log_is_learned_as_the_logs_of_the_server_are(tmp_path, form):
    log, table = tmp_path / "log.jsonl", tmp_path / "log.parquet"
    log.write_text("".join(json.dumps(line) + "\n" for line in served_lines()))
    compaction.compact([log], table)
    spec, schema = catalog.parse("lin-ucb:shared=true"), FeatureSchema(("x",), ("z",))
    header, own = ModelHeader("m", spec, schema), {"a": np.zeros(1), "b": np.ones(1)}
    columns = Columns("arm", "reward", "context")
    if form == "csv":
        rows = pq.read_table(table).drop_columns(["candidates"])
        table = tmp_path / "log.csv"
        csv.write_csv(rows.filter(rows["reward"].is_valid()), table)
    elif form == "candidates":
        pq.write_table(pq.read_table(table).drop_columns(["arm_features"]), table)
    elif form == "implied":
        columns = None
    found = fitting.fit([table], columns, header, own)
    wanted = fitting.fit([log], None, header, own)
    assert_allclose(found.policy.weights.mean, wanted.policy.weights.mean, rtol=1e-12)
    assert found.pulls[:2].tolist() == wanted.pulls[:2].tolist() == [1, 2]


@pytest.mark.parametrize("column", ["features", "arm_features", "candidate_features"])
def test_a_json_column_that_is_none_is_located(tmp_path, column):
    table = pa.table({"arm": ["a", "a"], "reward": [1.0, 0.0], column: ["{}", "[1]"]})
    if column != "features":
        table = table.append_column("x", pa.array([1.0, 2.0]))
    path = tmp_path / "log.parquet"
    pq.write_table(table, path)
    header = ModelHeader("m", catalog.parse("lin-ucb:shared=true"), FeatureSchema(("x",), ("z",)))
    with pytest.raises(BadData, match=rf"row 2: {column} is '\[1\]', expected a JSON object"):
        fitting.fit([path], Columns("arm", "reward"), header, {"a": np.zeros(1)})


def test_features_of_an_arm_that_a_model_cannot_read_are_named(tmp_path):
    line = {"type": "feedback", "event_id": "1", "arm": "a", "reward": 1.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(line | {"arm_features": {"z": "red"}}))
    spec, schema = catalog.parse("lin-ucb:shared=true"), FeatureSchema((), ("z",))
    own = {"a": np.zeros(1)}
    with pytest.raises(BadData, match=r"log.jsonl: features of the arm: 'z' is 'red'"):
        fitting.fit([tmp_path / "log.jsonl"], None, ModelHeader("m", spec, schema), own)

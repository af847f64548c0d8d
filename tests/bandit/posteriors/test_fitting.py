"""From logs to posteriors."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bandit.logs.log import Columns
from mlkit.bandit.posteriors import file, tally
from mlkit.bandit.posteriors.fitting import fit
from mlkit.bandit.posteriors.posterior import Header, Prior
from mlkit.errors import BadData, InputMissing, UsageError

COLUMNS = Columns("arm", "reward", "context")
HEADER = Header("m", Prior(1.0, 3.0), 10.0)


@pytest.fixture
def log(tmp_path):
    """Return a function that writes a log file."""

    def write(content, name="log.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def by_key(posteriors):
    """Return (context, arm) -> (a, b, pulls), of the arms' own rows as well."""
    rows = [row for batch in posteriors.batches() for row in batch.to_pylist()]
    return {(r["context"], r["arm"]): (r["a"], r["b"], r["pulls"]) for r in rows}


def expected(rows, prior=(1.0, 3.0), shrinkage=10.0):
    """Fit as the textbook says, one row after the other."""
    arms = defaultdict(lambda: (*prior, 0))
    for _, arm, reward in rows:
        a, b, pulls = arms[arm]
        arms[arm] = a + reward, b + 1 - reward, pulls + 1
    pairs = {}
    for context, arm, reward in rows:
        if context is not None:
            a, b, _ = arms[arm]
            start = shrinkage * a / (a + b), shrinkage * b / (a + b), 0
            a, b, pulls = pairs.get((context, arm), start)
            pairs[context, arm] = a + reward, b + 1 - reward, pulls + 1
    return {(None, arm): row for arm, row in arms.items()} | pairs


def test_one_click_of_a_user_moves_the_arm_of_the_user_by_one_pull(log):
    found = by_key(fit([log("arm,reward,context\nx,1,u\nx,0,\n")], COLUMNS, HEADER))
    assert found[None, "x"] == (2.0, 4.0, 2)
    assert found["u", "x"] == pytest.approx((10 / 3 + 1, 20 / 3, 1))


rewards = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
log_rows = st.lists(
    st.tuples(st.sampled_from([None, "u", "v", "é"]), st.sampled_from("xyz"), rewards), min_size=1
)


@settings(max_examples=40)
@given(log_rows, st.integers(1, 5))
def test_fit_is_the_textbook_update_for_any_log_and_buffer(tmp_path_factory, rows, buffered):
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    columns = dict(zip(("context", "arm", "reward"), zip(*rows, strict=True), strict=True))
    schema = pa.schema([("context", pa.string()), ("arm", pa.string()), ("reward", pa.float64())])
    pq.write_table(pa.table(columns, schema), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "_BUFFER_ROWS", buffered)
        patch.setattr("mlkit.bandit.logs.readers._PARQUET_ROWS", 3)
        found = by_key(fit([path], COLUMNS, HEADER))
    wanted = expected(rows)
    assert found.keys() == wanted.keys()
    for key, row in found.items():
        assert row == pytest.approx(wanted[key], rel=1e-12)


CSV = "arm,reward,context\n7,1,1\n8,0.5,2\n7,0,\n"


def test_all_formats_say_the_same(log, tmp_path):
    table = pa.table({"arm": [7, 8, 7], "reward": [1, 0.5, 0], "context": [1, 2, None]})
    pq.write_table(table, tmp_path / "log.parquet")
    events = [
        {"event_id": str(i), "arm": arm, "reward": reward, "context": context}
        for i, (arm, reward, context) in enumerate([("7", 1, "1"), ("8", 0.5, "2"), ("7", 0, None)])
    ]
    lines = "".join(json.dumps({"type": "feedback", "at": "x"} | each) + "\n" for each in events)
    paths = [
        log(CSV),
        log(gzip.compress(CSV.encode()), "log.csv.gz"),
        log("\ufeff" + CSV.replace("\n", "\r\n"), "windows.csv"),
        tmp_path / "log.parquet",
        log(lines, "log.jsonl"),
        log(gzip.compress(lines.encode()), "log.jsonl.gz"),
    ]
    first, *others = (fit([path], COLUMNS, HEADER) for path in paths)
    assert len(first.arms) == 2
    assert len(first.contexts) == 2
    for other in others:
        assert other.arms.equals(first.arms)
        assert other.contexts.equals(first.contexts)


def test_the_source_names_each_log_with_its_rows_and_hash(log):
    path = log(CSV)
    (source,) = fit([path], COLUMNS, HEADER).source
    digest = hashlib.sha256(CSV.encode()).hexdigest()
    assert (source.name, source.rows, source.skipped) == ("log.csv", 3, 0)
    assert source.sha256 == digest


def test_the_same_log_gives_the_same_bytes(log, tmp_path):
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    for path in paths:
        file.write(fit([log(CSV)], COLUMNS, HEADER), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


BAD_ROWS = [
    ("x,2,u", "reward is '2', expected a number in [0, 1]"),
    ("x,-0.1,u", "reward is '-0.1'"),
    ("x,nan,u", "reward is 'nan'"),
    ("x,,u", "reward is missing"),
    ("x,often,u", "reward is 'often'"),
    (",1,u", "arm is missing, expected 1 to 256 bytes"),
    ('"",1,u', "arm is ''"),
    (f"{'a' * 257},1,u", "arm is 'aaa"),
    (f"x,1,{'é' * 129}", "context is 'ééé"),
    ("x,1", "2 fields, expected 3"),
    ("x,1,u,", "4 fields, expected 3"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_named_by_its_line_or_skipped(log, row, message):
    """Blank lines and line breaks in quotes count as lines, as in an editor."""
    path = log(f'arm,reward,context\n\n"x\n1",1,u\n{row}\nx,0,u\n')
    with pytest.raises(BadData) as error:
        fit([path], COLUMNS, HEADER)
    assert f"log.csv: line 5: {message}" in str(error.value)
    assert "--skip-bad-rows" in error.value.hint
    (source,) = fit([path], COLUMNS, HEADER, skip_bad_rows=True).source
    assert (source.rows, source.skipped) == (2, 1)


def test_a_bad_row_of_a_later_block_has_the_right_line(log):
    lines = ["arm,reward,context", *(f"arm-{i:060},1,u" for i in range(200_000)), "x,2,u"]
    with pytest.raises(BadData, match=r"line 200002: reward is '2'"):
        fit([log("\n".join(lines))], COLUMNS, HEADER)


def test_a_bad_row_of_parquet_is_named_by_its_row(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"arm": ["x", "y"], "reward": [1.0, None]}), path)
    with pytest.raises(BadData, match=r"log\.parquet: row 2: reward is missing"):
        fit([path], Columns("arm", "reward"), HEADER)


def test_arms_that_are_no_ids_are_refused(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"arm": [1.5], "reward": [1.0]}), path)
    with pytest.raises(BadData, match="column 'arm' is double"):
        fit([path], Columns("arm", "reward"), HEADER)


FEEDBACK = '{"type":"feedback","event_id":"e1","arm":"x","reward":1,"context":"u","new":[1]}\n'
DECISION = '{"type":"decision","decision_id":"d","context":null,"arms":["x"],"scores":[0.5]}\n'


def test_an_event_counts_once_over_all_logs(log):
    paths = [log(FEEDBACK + DECISION + FEEDBACK, "1.jsonl"), log(FEEDBACK, "2.jsonl")]
    assert by_key(fit(paths, None, HEADER))[None, "x"] == (2.0, 3.0, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"type":"feedback","ev', "truncated"),
        ("\n", "truncated"),
        ('{"type":"other"}\n', "Invalid value 'other'"),
        ('{"type":"feedback","event_id":"e2","arm":"x","reward":"1"}\n', "$.reward"),
        ('{"type":"feedback","event_id":"e2","arm":"x","reward":1.5}\n', "reward is 1.5"),
        ('{"type":"feedback","event_id":"e2","reward":1}\n', "missing required field `arm`"),
    ],
)
def test_a_bad_line_is_named_or_skipped(log, line, message):
    path = log(DECISION + FEEDBACK + line, "log.jsonl")
    with pytest.raises(BadData) as error:
        fit([path], None, HEADER)
    assert "log.jsonl: line 3: " in str(error.value)
    assert message in str(error.value)
    (source,) = fit([path], None, HEADER, skip_bad_rows=True).source
    assert (source.rows, source.skipped) == (1, 1)


def test_a_bad_line_of_any_bytes_is_refused(log):
    with pytest.raises(BadData, match="line 1: "):
        fit([log(FEEDBACK.encode().replace(b'"x"', b'"\xff"'), "log.jsonl")], None, HEADER)


def test_a_missing_column_says_which_are_there(log):
    with pytest.raises(BadData, match="no column 'context'") as error:
        fit([log("arm,reward,contxt\nx,1,u\n")], COLUMNS, HEADER)
    assert error.value.hint == "did you mean 'contxt'? the columns are arm, reward, contxt"


def test_a_csv_needs_columns(log):
    with pytest.raises(UsageError, match="--arm and --reward"):
        fit([log(CSV)], None, HEADER)


def test_a_missing_log_is_found_before_the_others_are_read(log, tmp_path):
    bad = log("no,such,columns\n")
    with pytest.raises(InputMissing, match=r"nowhere\.csv"):
        fit([bad, tmp_path / "nowhere.csv"], COLUMNS, HEADER)


@pytest.mark.parametrize("cut", [10, 40])
def test_a_truncated_gzip_is_refused(log, cut):
    packed = gzip.compress(CSV.encode() * 3)
    with pytest.raises(BadData, match="damaged gzip"):
        fit([log(packed[:cut], "log.csv.gz")], COLUMNS, HEADER)


@pytest.mark.parametrize(
    ("content", "message"), [("", "empty"), ("arm,reward,context\n", "no rew")]
)
def test_a_log_without_rewards_is_refused(log, content, message):
    with pytest.raises(BadData, match=message):
        fit([log(content)], COLUMNS, HEADER)


def test_progress_ends_at_the_size_of_all_logs(log):
    reported = []
    paths = [log(CSV), log(gzip.compress(CSV.encode()), "2.csv.gz")]
    fit(paths, COLUMNS, HEADER, progress=lambda *each: reported.append(each))
    size = sum(path.stat().st_size for path in paths)
    assert reported[-1] == (size, size)
    assert reported == sorted(reported)


def test_the_bundled_log_has_the_clicks_that_a_count_finds(repository):
    path = repository / "examples" / "bandit" / "random_men.csv.gz"
    with gzip.open(path, "rt") as file:
        lines = [line.split(",") for line in file.read().splitlines()[1:]]
    found = fit([path], Columns("item_id", "click", "segment"), HEADER)
    clicks = sum(int(line[3]) for line in lines)
    assert len(found.arms) == 34
    assert sum(found.arms["pulls"].to_pylist()) == sum(found.contexts["pulls"].to_pylist())
    assert found.arms["a"].to_numpy().sum() == 34 * 1.0 + clicks


@pytest.mark.parametrize(
    "content",
    [
        "arm;reward;context\nx;True;u\ny;False;\n",
        "arm\treward\tcontext\nx\tTRUE\tu\ny\tfalse\t\n",
        'arm,reward,context\n"x",true,u\ny,0,\n',
        "arm;reward;context\rx;True;u\ry;False;\r",
    ],
)
def test_separators_and_truth_values_are_read_as_found(log, content):
    found = by_key(fit([log(content)], COLUMNS, HEADER))
    assert found[None, "x"] == (2.0, 3.0, 1)
    assert found[None, "y"] == (1.0, 4.0, 1)
    assert ("u", "x") in found


def test_a_separator_can_be_stated(log):
    columns = Columns("arm", "reward", separator="|")
    assert by_key(fit([log("arm|reward\nx,;|1\n")], columns, HEADER))[None, "x,;"][2] == 1


def test_an_event_id_counts_once_in_all_logs(log, tmp_path):
    text = "arm,reward,id\nx,1,1\nx,0,2\nx,1,1\n"
    pq.write_table(pa.table({"arm": ["x"] * 2, "reward": [1, 0], "id": [2, 3]}), tmp_path / "l.pq")
    logs = [log(text), log(text, "again.csv"), tmp_path / "l.pq"]
    columns = Columns("arm", "reward", event_id="id")
    assert by_key(fit(logs, columns, HEADER))[None, "x"] == (2.0, 5.0, 3)
    with pytest.raises(BadData, match="line 3: event is missing, expected an id"):
        fit([log("arm,reward,id\nx,1,1\nx,0,\n")], columns, HEADER)


def test_rewards_are_scaled_and_arms_left_out(log):
    path = log("arm,reward\nx,50\ny,100\nx,0\n")
    columns = Columns("arm", "reward")
    found = by_key(fit([path], columns, HEADER, reward_scale=100.0, excluded=["y"]))
    assert found == {(None, "x"): (1.5, 4.5, 2)}
    with pytest.raises(BadData, match=r"line 3: reward is '100', expected a number in \[0, 50\]"):
        fit([path], columns, HEADER, reward_scale=50.0)
    with pytest.raises(UsageError, match="reward-scale"):
        fit([path], columns, HEADER, reward_scale=0.0)

"""Scripts in R, and data frames between R and Python."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from commands import run_mlkit

from mlkit.bpmn.definition.referenced_names import find_referenced
from mlkit.workers.pool import Limits, ScriptPool

HEAD = '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">'


@pytest.fixture
def run(need_program, tmp_path):
    """Run one script in R with some variables."""
    need_program("Rscript")
    pool = ScriptPool(1, artifacts=tmp_path / "artifacts")

    def go(source, **variables):
        pool.submit(
            {
                "kind": "r", "source": source, "result": None, "element": "t", "instance": "i",
                "iteration": "", "attempt": 1, "key": "i/t/", "variables": variables,
                "folder": "", "work": "",
            }
        )  # fmt: skip
        while True:
            for result in pool.wait(None):
                return result

    yield go
    pool.close()


def test_values_go_there_and_back(run):
    done = run(
        "n <- n + 1L; half <- n / 2; words <- rev(words); m$b <- TRUE; nothing <- NULL\n"
        "third <- 1/3; gone <- NA; day <- day + 1; when <- when + 60; big <- 2^53; same <- same\n"
        'kind <- factor("x"); .hidden <- 1; f <- function() 1; text <- "é\\"\\n"',
        n=1, words=["a", "b"], m={"a": 1.5}, same=[1, 2, 3],
        day={"$date": "2024-02-28"}, when={"$datetime": "2024-01-01T00:00:00+01:00"},
    )  # fmt: skip
    assert done.outcome == "completed", done.stderr
    assert done.variables == {
        "n": 2, "half": 1, "words": ["b", "a"], "m": {"a": 1.5, "b": True}, "nothing": None,
        "third": 1 / 3, "gone": None, "day": {"$date": "2024-02-29"},
        "when": {"$datetime": "2023-12-31T23:01:00.000000+00:00"}, "big": 2**53, "kind": "x",
        "text": 'é"\n',
    }  # fmt: skip


def test_vectors_of_moments_and_lists_of_one_are_json_too(run):
    done = run(
        'days <- as.Date(c("2024-02-29", NA)); one <- I("a")\n'
        'wait <- as.difftime(2, units = "mins")\n'
        'times <- c("2024-07-01 10:00:00", "2024-01-01 10:00:00"); zone <- "America/New_York"\n'
        "when <- as.POSIXct(times, tz = zone); rm(times, zone)"
    )
    assert done.variables == {
        "days": [{"$date": "2024-02-29"}, None], "one": ["a"], "wait": {"$duration": 120},
        "when": [{"$datetime": "2024-07-01T14:00:00.000000+00:00"},
                 {"$datetime": "2024-01-01T15:00:00.000000+00:00"}],
    }  # fmt: skip


def test_whole_numbers_beyond_those_of_doubles_never_change(run):
    done = run(
        "seen <- c(as.character(n), as.character(many), as.character(m$deep), as.character(d))\n"
        "stopifnot(is.na(many[2]), fine == 2^53)\n"
        "exact <- 2^52 + 1; whole <- structure(0, class = 'integer64')\n"
        "registerS3method('as.character', 'integer64', envir = baseenv(),\n"
        "  function(x, ...) '-9223372036854775807')",
        n=2**53 + 1, many=[1, None, 2**63], m={"deep": -(2**53) - 1}, fine=2**53,
        d={"$decimal": "9007199254740993"},
    )  # fmt: skip
    assert done.outcome == "completed", done.stderr
    assert done.variables == {
        "seen": ["9007199254740993", "1", None, "9223372036854775808", "-9007199254740993",
                 "9007199254740993"],
        "exact": 2**52 + 1, "whole": -(2**63) + 1,
    }  # fmt: skip
    assert type(done.variables["exact"]) is int
    for name in ("n", "many", "m", "d"):
        assert f"warning: {name} holds whole numbers beyond 2^53" in done.stderr
    assert "fine" not in done.stderr


def test_names_that_would_be_taken_for_tags_stay_in_r(run):
    done = run('odd <- list("$date" = "never")')
    assert done.variables["odd"]["kind"] == "list"


def test_a_script_sees_nothing_of_what_runs_it(run):
    done = run('seen <- exists("job") || exists("folder") || exists("to_json")')
    assert done.variables == {"seen": False}


def test_what_it_prints_is_kept(run):
    done = run('cat("hello\\n"); message("careful")')
    assert (done.stdout, done.stderr) == ("hello\n", "careful\n")


def test_a_bpmn_error_is_thrown_and_another_error_is_a_failure(run):
    thrown = run('bpmn_error("NO_DATA", "nothing came")')
    assert (thrown.outcome, thrown.code, thrown.message) == ("error", "NO_DATA", "nothing came")
    failed = run('stop("oops")')
    assert (failed.outcome, failed.message) == ("failed", "RError: oops")
    broken = run("1 +")
    assert broken.outcome == "failed"
    ended = run("quit(status = 3)")
    assert ended.message == "RError: R ended with exit status 3"
    assert ended.stderr == "RError: R ended with exit status 3\n"
    assert ended.peak > 10_000_000


def test_the_processor_limit_is_that_of_the_script_alone(need_program):
    need_program("Rscript")
    pool = ScriptPool(1, limits=Limits(cpu=2))
    job = {"result": None, "element": "t", "instance": "i", "iteration": "", "attempt": 1,
           "key": "i/t/", "variables": {}, "folder": "", "work": ""}  # fmt: skip
    try:
        burn = "import time\nwhile time.process_time() < 1.2: pass"
        pool.submit({**job, "kind": "script", "source": burn})
        pool.submit({**job, "kind": "r", "source": "while (proc.time()[[1]] < 2.6) {}"})
        found = []
        while len(found) < 2:
            found += pool.wait(None)
    finally:
        pool.close()
    assert found[1].message == "RError: stopped after 2 s of processor time (--cpu)"


def test_execution_gives_the_key_and_variables_by_name(run):
    done = run('execution$setVariable("y", execution$getVariable("x") * 2)\nkey <- execution$key',
               x=4)  # fmt: skip
    assert done.variables == {"y": 8, "key": "i/t/"}


def test_only_the_variables_that_a_script_mentions_travel():
    assert find_referenced("y <- paste(x, 'z')", "r") == {"y", "paste", "x", "z"}
    assert find_referenced("y <- get('x')", "r") is None
    assert find_referenced("y = frame.query('a > @limit')", "python") >= {"frame", "limit"}
    assert find_referenced("globals()['x']", "python") is None


PIPELINE = """{head}<process id="p"><startEvent id="s"/>
<scriptTask id="load"><script>
import pandas
frame = pandas.DataFrame({{
    "day": pandas.to_datetime(["2024-01-01", "2024-01-02", None]),
    "group": pandas.Categorical(["a", "b", "a"]),
    "x": [1.0, None, 3.0], "name": ["é", None, "b"],
}})
</script></scriptTask>
<scriptTask id="fit" scriptFormat="R"><script>
stopifnot(is.factor(frame$group), inherits(frame$day, "POSIXct"), is.na(frame$x[2]))
summary &lt;- aggregate(x ~ group, data = frame, FUN = mean)
frame$twice &lt;- frame$x * 2
model &lt;- lm(x ~ 1, data = frame)
</script></scriptTask>
<scriptTask id="check" scriptFormat="python"><script>
missing = int(frame["twice"].isna().sum())
groups = list(summary["group"])
mean = float(summary["x"][0])
kind = str(frame["group"].dtype)
</script></scriptTask>
<scriptTask id="again" scriptFormat="R"><script>level &lt;- coef(model)[[1]]</script></scriptTask>
<endEvent id="e"/>{flows}</process></definitions>"""


def test_data_frames_pass_between_python_and_r_with_their_lineage(need_program, tmp_path):
    need_program("Rscript")
    names = ["s", "load", "fit", "check", "again", "e"]
    flows = "".join(
        f'<sequenceFlow id="f{at}" sourceRef="{a}" targetRef="{b}"/>'
        for at, (a, b) in enumerate(pairwise(names))
    )
    (tmp_path / "a.bpmn").write_text(PIPELINE.format(head=HEAD, flows=flows))

    def mlkit(*arguments):
        done = run_mlkit("bpmn", *arguments, "--json", cwd=tmp_path)
        return done, json.loads(done.stdout or "null")

    done, document = mlkit("run", "a.bpmn")
    assert done.returncode == 0, done.stdout + done.stderr
    variables = document["variables"]
    assert (variables["missing"], variables["groups"], variables["mean"]) == (1, ["a"], 2.0)
    assert variables["kind"] == "category"
    assert variables["level"] == pytest.approx(2.0)
    made = {(each["name"], each["by"]): each for each in
            mlkit("artifacts", document["instance"])[1]["artifacts"]}  # fmt: skip
    assert set(made) == {
        ("frame", "load"), ("frame", "fit"), ("summary", "fit"), ("model", "fit")
    }  # fmt: skip
    assert made["frame", "fit"]["from"] == [made["frame", "load"]["artifact"]]
    assert made["model", "fit"]["kind"] == "lm"


MAKE_FRAME = """
import datetime, pandas
day = datetime.date(2024, 2, 29)
frame = pandas.DataFrame({
    "whole": pandas.array([1, None, 3], dtype="Int64"), "large": [2**40, 2, 3],
    "truth": pandas.array([True, None, False], dtype="boolean"), "x": [1.5, None, float("inf")],
    "text": ["a\\"q", "\u4e2d", None], "day": [day, None, day],
    "level": pandas.Categorical(["lo", "hi", None], categories=["lo", "mid", "hi"], ordered=True),
    "plain": pandas.to_datetime(["2024-01-01 10:00:00.123456", None, "1960-05-05 00:00:00.5"]),
    "zoned": pandas.to_datetime(["2024-07-01 10:00", None, "2024-01-05"], format="mixed"),
    "took": pandas.to_timedelta(["1 days", "2 hours", None]),
}, index=["r1", "r2", "r3"])
frame["zoned"] = frame["zoned"].dt.tz_localize("Europe/Berlin")
empty = frame.iloc[:0]
"""
SEE_FRAME = """
stopifnot(
  identical(frame$whole, c(1L, NA, 3L)), is.numeric(frame$large), is.ordered(frame$level),
  identical(levels(frame$level), c("lo", "mid", "hi")), identical(rownames(frame)[1], "r1"),
  format(frame$zoned[1], "%H:%M %Z") == "10:00 CEST", is.na(frame$zoned[2]), is.na(frame$day[2]),
  as.numeric(frame$zoned[1]) == as.numeric(as.POSIXct("2024-07-01 08:00", tz = "UTC")),
  identical(as.numeric(frame$took, units = "hours"), c(24, 2, NA)),
  identical(frame$truth, c(TRUE, NA, FALSE)), nrow(empty) == 0, is.ordered(empty$level))
frame$more <- 1:3
"""


def test_a_frame_that_comes_back_from_r_is_the_same(need_program, tmp_path):
    need_program("Rscript")
    pandas = pytest.importorskip("pandas")
    pool = ScriptPool(1, artifacts=tmp_path)

    def play(kind, source, **variables):
        pool.submit({"kind": kind, "source": source, "result": None, "element": "t", "work": "",
                     "instance": "i", "iteration": "", "attempt": 1, "key": "i/t/", "folder": "",
                     "variables": variables})  # fmt: skip
        (done,) = pool.wait(None) or pool.wait(None)
        assert done.outcome == "completed", done.stderr
        return done.variables

    try:
        made = play("script", MAKE_FRAME)
        seen = play("r", SEE_FRAME, frame=made["frame"], empty=made["empty"])
        kept = play("script", "frame['last'] = 1", frame=seen["frame"])["frame"]
    finally:
        pool.close()
    before, after = (pandas.read_pickle(tmp_path / each["$artifact"], compression=None)
                     for each in (made["frame"], kept))  # fmt: skip
    assert list(after.pop("more")) == [1, 2, 3]
    assert list(after.pop("last")) == [1, 1, 1]
    pandas.testing.assert_index_equal(before.index, after.index, check_names=False)
    for name in before:
        one, other = before[name].reset_index(drop=True), after[name].reset_index(drop=True)
        pandas.testing.assert_series_equal(one, other, check_dtype=name != "large")


MAKE_SHAPES = """
import numpy, pandas
matrix = numpy.array([[1.5, 2], [numpy.nan, 4], [5, 6]])
words = numpy.array([["a", "é"], ["c", "d"]])
cube = numpy.arange(24).reshape(2, 3, 4)
weights = pandas.Series([0.25, 0.75], index=["KO", "PEP"])
large = pandas.DataFrame({"id": [2**53 + 1, 2]})
wide = numpy.array([[2**53 + 1]])
"""
SEE_SHAPES = """
stopifnot(identical(dim(matrix), c(3L, 2L)), matrix[1, 2] == 2, is.na(matrix[2, 1]),
  identical(words[1, ], c("a", "é")), identical(dim(cube), c(2L, 3L, 4L)),
  cube[2, 3, 4] == 23, cube[1, 2, 3] == 6, identical(weights, c(KO = 0.25, PEP = 0.75)),
  as.character(large$id[1]) == "9007199254740993",
  as.character(wide[1, 1]) == "9007199254740993")
twice <- 2 * matrix; flags <- matrix > 4.5; upper <- toupper(words); weights <- rev(weights)
cube <- cube[, , 1:2]; labels <- c(a = "x", b = NA)
prices <- matrix(1:4, 2, dimnames = list(c("r1", "r2"), c("KO", "PEP")))
"""
USE_SHAPES = """
assert (twice[2] == [10, 12]).all() and twice.shape == (3, 2), twice
assert upper.tolist() == [["A", "É"], ["C", "D"]] and cube[1, 2, 1] == 21, cube
assert dict(weights) == {"PEP": 0.75, "KO": 0.25} and list(labels.index) == ["a", "b"], labels
assert prices.loc["r2", "PEP"] == 4 and flags[:, 1].tolist() == [False, False, True], flags
assert flags[1, 0] is None
total = float(prices["KO"].sum())
"""
AGAIN_SHAPES = """
stopifnot(identical(dim(twice), c(3L, 2L)), identical(names(labels), c("a", "b")),
  identical(prices["r2", "PEP"], 4L), is.na(labels[["b"]]),
  identical(names(weights), c("PEP", "KO")))
"""


def test_matrices_arrays_and_vectors_with_names_stay_what_they_are(need_program, tmp_path):
    need_program("Rscript")
    pytest.importorskip("pyreadr")
    pool = ScriptPool(1, artifacts=tmp_path)
    known: dict[str, object] = {}
    try:
        for kind, source in [("script", MAKE_SHAPES), ("r", SEE_SHAPES), ("script", USE_SHAPES),
                             ("r", AGAIN_SHAPES)]:  # fmt: skip
            pool.submit({"kind": kind, "source": source, "result": None, "element": "t", "work": "",
                         "instance": "i", "iteration": "", "attempt": 1, "key": "i/t/",
                         "folder": "", "variables": dict(known)})  # fmt: skip
            (done,) = pool.wait(None) or pool.wait(None)
            assert done.outcome == "completed", done.stderr
            known |= done.variables
    finally:
        pool.close()
    assert known["total"] == 3.0
    assert known["labels"]["kind"] == "named vector"


def test_without_r_a_diagram_that_needs_it_does_not_start(tmp_path):
    (tmp_path / "a.bpmn").write_text(
        f'{HEAD}<process id="p"><startEvent id="s"/><scriptTask id="t" scriptFormat="R">'
        '<script>1</script></scriptTask><sequenceFlow id="f" sourceRef="s" targetRef="t"/>'
        "</process></definitions>"
    )
    done = run_mlkit("bpmn", "run", "a.bpmn", "--rscript", "/no/Rscript", cwd=tmp_path)
    assert done.returncode == 69
    assert "r-base-core" in done.stderr
    assert not (tmp_path / ".mlkit").exists()

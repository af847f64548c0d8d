"""Sessions of R: calls there and back, and values that are kept exactly."""

from __future__ import annotations

import math

import pytest

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.workers.r_session import RError, RSession
from mlkit.workers.r_values import ENVIRONMENT, Vector, decode, encode

FUNCTIONS = """
kept <- NULL
shared <- new.env()
same <- function(value) value
made <- function(text) { kept <<- eval(parse(text = text)); invisible(kept) }
equals <- function(text) identical(kept, eval(parse(text = text)))
fill <- function() { shared$a <- 1:3; shared$b <- "x"; function() 1 }
sum_of <- function() sum(shared$a)
fail <- function(x) {
  x + 1

  x + "a"
}
outer <- function(x) fail(x)
"""


@pytest.fixture(scope="module")
def session(need_program, tmp_path_factory):
    """Load the functions above into a session for all tests."""
    need_program("Rscript")
    file = tmp_path_factory.mktemp("r") / "functions.R"
    file.write_text(FUNCTIONS)
    found = RSession()
    loaded = found.load(str(file))
    assert (loaded.modes["same"], loaded.modes["kept"]) == ("function", "NULL")
    yield found, loaded.number
    found.close()


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (1.0 / 3.0, [1.0 / 3.0]),
        ([1, None, 5e-324], [1.0, math.nan, 5e-324]),
        ([10**400, 1.0], [math.inf, 1.0]),
        (["é", None, 'a"\n'], ["é", None, 'a"\n']),
        ("a\0b", ["ab"]),
        ([True, None, False], [True, None, False]),
        (None, []),
    ],
)
def test_values_of_python_come_back(session, value, items):
    r, file = session
    assert repr(list(r.call(file, "same", value).items)) == repr(items)


def test_lists_within_lists_come_back(session):
    r, file = session
    back = r.call(file, "same", {"a": [1, "x", {"b": []}], "": True})
    assert list(back.names) == ["a", ""]
    number, text, inner = back.items[0].items
    assert (number.items, text.items, list(inner.names)) == ([1.0], ["x"], ["b"])


@pytest.mark.parametrize(
    "text",
    [
        "c(0.1, NA, NaN, Inf, -Inf, -0, 5e-324, pi)",
        "c(a = 1L, b = NA)",
        "c(TRUE, NA)",
        "c('x', NA, 'NA', '', '\\u00e9')",
        "list(1, 'a', NULL, list(b = list()), c = NA)",
        "data.frame(x = c(1.5, NA), f = factor(c('u', 'v')), t = as.POSIXct('2024-02-29', 'UTC'))",
        "as.Date('2024-02-29')",
        "matrix(1:6, 2, dimnames = list(NULL, c('a', 'b', 'c')))",
        "structure(list(1), class = 'own', more = list(k = 1i))",
        "as.raw(0:255)",
        "numeric(0)",
        "NULL",
    ],
)
def test_what_is_kept_is_restored_identical(session, text):
    r, file = session
    r.run(file, "made", text)
    kept = r.keep(file, "kept")
    r.run(file, "made", "0")
    r.restore(file, "kept", kept)
    assert r.call(file, "equals", text).items == [True]


def test_an_environment_stays_the_same_one(session):
    r, file = session
    r.run(file, "fill")
    kept = r.keep(file, "shared")
    r.restore(file, "shared", encode(Vector(ENVIRONMENT, ())))
    assert r.call(file, "sum_of").items == [0]
    r.restore(file, "shared", kept)
    assert r.call(file, "sum_of").items == [6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("list(a = list(2, mean))", r"value\$a\[\[2\]\]: a function cannot be kept"),
        ("list(new.env())", r"value\[\[1\]\]: a environment cannot be kept"),
        ("y ~ x", "value: a formula cannot be kept"),
    ],
)
def test_what_is_no_data_is_refused(session, text, message):
    r, file = session
    r.run(file, "made", text)
    with pytest.raises(RError, match=message) as refused:
        r.keep(file, "kept")
    assert refused.value.refused


def test_damaged_bytes_are_refused_and_the_session_goes_on(session):
    r, file = session
    r.run(file, "made", "list(a = 1:3, b = c('x', NA), c = list(d = factor('u')))")
    kept = r.keep(file, "kept")
    hostile = [kept[:end] for end in range(len(kept))]
    hostile += [b"\xff" * 40, b"\5" + b"\xff\xff\xff\x7f", b"\5\1\0\0\0" * 20_000]
    for each in hostile:
        with pytest.raises(BadData):
            decode(each)
        with pytest.raises(RError):
            r.restore(file, "kept", each)
    assert r.call(file, "same", 1).items == [1.0]


def test_an_error_has_the_lines_of_the_file(session):
    r, file = session
    with pytest.raises(RError, match="non-numeric argument") as raised:
        r.call(file, "outer", 1)
    assert raised.value.lines == [14, 12]
    assert "functions.R, line 14: fail(x)\n" in raised.value.trace
    assert not raised.value.refused


def test_the_end_of_r_is_reported_and_what_it_prints_is_no_result(need_program, tmp_path, capfd):
    need_program("Rscript")
    (tmp_path / "job.R").write_text(
        "f <- function(x) { print('here'); x }; g <- function() quit(status = 3)"
    )
    r = RSession()
    try:
        file = r.load(str(tmp_path / "job.R")).number
        assert r.call(file, "f", "x").items == ["x"]
        with pytest.raises(RError, match="R ended with exit status 3"):
            r.call(file, "g")
        assert not r.is_alive
    finally:
        r.close()
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", '[1] "here"\n')


def test_an_interpreter_that_is_not_there_is_named():
    with pytest.raises(ServiceUnavailable, match="no-such-r: No such file") as raised:
        RSession("no-such-r")
    assert "--rscript" in raised.value.hint

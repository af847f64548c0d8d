"""FEEL as a language: what the kit's literals do not reach."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.bpmn.expressions import Expression, ExpressionError, evaluator
from mlkit.bpmn.expressions.feel import compile_expression, compile_tests
from mlkit.bpmn.expressions.feel.budget import MAX_WORK
from mlkit.bpmn.expressions.feel.tagged import tag

NOW = datetime(2026, 1, 2, tzinfo=UTC)
N = {n: {"n": str(n)} for n in range(20)}


def value(text, **variables):
    return compile_expression(text, variables).evaluate_tagged(variables.__getitem__, NOW)


def passes(cell, asked, **variables):
    return compile_tests(cell, variables).evaluate_tagged(variables.__getitem__, NOW, asked)


@pytest.mark.parametrize(
    ("cell", "asked", "expected"),
    [
        ("-", 1, True), ("< 5, 7", 7, True), ("< 5, 7", 6, False), ("not(1, 2)", 3, True),
        ("not(1, 2)", 2, False), ("[1..3]", 3, True), ("]1..3[", 3, False), ('"a","b"', "b", True),
        ("? > 1 and ? < 3", 2, True), ("null", None, True), ("not(null)", 1, True),
        ("[1, 2]", 2, True), ("limit", 4, True), ("< limit", 4, False), ("> 1", "a", None),
        ("!= 4", 3, True), ("= 4", 4, True), ("odd(?)", 3, True), ("true", True, True),
        ('starts with(?, "a")', "ab", True), ("limit > 3", "anything", True),
        ("[[1..2], [5..6]]", 5, True), ("{a: 1}", {"a": 1}, True),
    ],
)  # fmt: skip
def test_unary_tests(cell, asked, expected):
    assert passes(cell, asked, limit=4) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("order total + 1", N[6]), ("a-b * 2", N[14]), ("{x y: 1, z: x y + 1}.z", N[2]),
        ("person.first name", "Ann"), ("[{a b: 1}, {a b: 3}][a b > 2].a b", [N[3]]),
        ("{date: 1, r: date + 1}.r", N[2]), ("for line item in [1] return line item", [N[1]]),
        ("function(first one) first one", {"f": 1}), ("count", {"n": "9"}),
    ],
)  # fmt: skip
def test_names_with_spaces_and_operators(text, expected):
    variables = {"order total": 5, "a-b": 7, "person": {"first name": "Ann"}, "count": 9}
    assert value(text, **variables) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('@"2024-03-31T01:30:00@Europe/Paris" + @"PT1H"',
         {"dt": "2024-03-31T03:30:00@Europe/Paris"}),
        ('@"2024-03-31T02:30:00@Europe/Paris"', {"dt": "2024-03-31T03:30:00@Europe/Paris"}),
        ('@"2024-10-27T02:30:00@Asia/Tokyo" + @"PT1H" > @"2024-10-27T02:30:00@Asia/Tokyo"', True),
        ('@"2024-07-01T10:00:00@Europe/Paris" = @"2024-07-01T08:00:00Z"', True),
        ('@"2024-03-30T12:00:00@Europe/Paris" + @"P1D"',
         {"dt": "2024-03-31T13:00:00@Europe/Paris"}),
        ('@"-0044-03-15".weekday', N[4]), ("log(0)", None), ("10 ** 7000", None),
        ("before(1, 10)", True), ("[1..10] = [1..10]", True),
        ('"\\u0041\\U01F600" = "A😀"', True), ('range("[1..5)").end included', False),
        ("sort([3, 1, 2], function(a, b) a > b)", [N[3], N[2], N[1]]),
        ("sort([3, null], function(a, b) a < b)", None),
        ("{f: function(n) if n < 2 then 1 else n * f(n - 1), r: f(3)}.r", N[6]),
        ('(function(n: number) n)("a")', None), ("(function(n: list<number>) n)(1)", [N[1]]),
        ('to json({a: [1, null, @"2024-01-01"]})', '{"a":[1,null,"2024-01-01"]}'),
        ('from json("{\\"a\\": 1.50}").a', {"n": "1.5"}), ("assert(1, 1 > 2)", None),
        ('matches("a1", "[\\w-[\\d]]+[0-9]")', True), ('replace("ab", "(a)(b)", "$2$1")', "ba"),
        ('matches("abab", "^(ab)\\1$")', True), ('matches("a", "(?=a)")', None),
        ("5 in (> 3, null)", True), ("[1..3] instance of range<number>", True),
        ('[1, "a"] instance of list<number>', False),
        ('for d in @"2024-01-30"..@"2024-01-31" return d.day', [{"n": "3E+1"}, {"n": "31"}]),
        ('1 = "1"', None),
        ('matches("a{1001}", "a{1001}", "q")', True), ('matches("a", "a{00001}")', True),
        ("modulo(10 ** 35, 3)", N[1]), ("modulo(-10 ** 35, 3)", N[2]),
        ("modulo(10 ** 35, -3)", {"n": "-2"}), ("modulo(1e20, 3e-20)", {"n": "1E-20"}),
        ("modulo(9e34, 7)", N[1]), ("modulo(1e6144, 7e-6143)", {"n": "5E-6143"}),
        ('split("ab", "")', ["a", "b", ""]), ("[1, 2, 3][-1]", N[3]), ("100[1]", {"n": "1E+2"}),
    ],
)  # fmt: skip
def test_the_language(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize("text", ["len([1])", "'a'", "unheard of(1)", "abs(1, 2)"])
def test_in_a_pipeline_a_call_that_can_have_no_value_is_an_error_with_its_place(text):
    with pytest.raises(ExpressionError, match="at character"):
        Expression(f"={text}", "feel").check()


def test_values_of_python_enter_and_leave():
    moment = datetime(2024, 6, 1, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    assert (
        Expression("=m.timezone", "feel").evaluate({"m": moment}.__getitem__, NOW)
        == "Europe/Berlin"
    )
    assert Expression("=m", "feel").evaluate({"m": moment}.__getitem__, NOW) == moment
    assert Expression("=[x, x = null]", "feel").evaluate({"x": float("inf")}.__getitem__, NOW) == [
        None, True,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[1..3]", "function(a) a", '@"12345-01-01"', '@"PT0.000000001S"'])
def test_what_no_variable_can_hold_is_an_error(text):
    with pytest.raises(ExpressionError, match="variable"):
        Expression(f"={text}", "feel").evaluate({}.__getitem__, NOW)


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        ("^a{1001}$", "more than 1,000 times"), ("(a{100}){20}", "more than 1,000 times"),
        ("a{0,2000}", "more than 1,000 times"), (f"a{{{'9' * 5000}}}", "more than 1,000 times"),
        ("(a)\\\\1{1001}", "more than 1,000 times"), ("(" * 70 + "a" + ")" * 70, "60 levels"),
        ("\\\\p{L}{1000}" * 20, "memory"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["matches(x, PATTERN)", 'replace(x, PATTERN, "b")'])
def test_a_pattern_beyond_a_limit_is_an_error_with_its_place(pattern, limit, call):
    written = "p" if len(pattern) > 4000 else f'"{pattern}"'
    text = f"x = null or\n {call}".replace("PATTERN", written)
    with pytest.raises(ExpressionError, match=rf"at character 14: .*{limit}"):
        value(text, x="a", p=pattern)


SHARED = "{a0: [1, 1], " + ", ".join(f"a{n}: [a{n - 1}, a{n - 1}]" for n in range(1, 31))


@pytest.mark.parametrize(
    "text",
    [
        SHARED + ", b: a30 = a30}", SHARED + ", b: distinct values(a30)}", SHARED + ", b: a30.x}",
        SHARED + ", b: string(a30)}", SHARED + ", b: to json(a30)}", SHARED + ", b: flatten(a30)}",
        SHARED + "}",
        'for i in 1..40 return if i = 1 then "aaaaaaaa" else partial[-1] + partial[-1]',
        "for i in 1..40 return if i = 1 then [1] else concatenate(partial[-1], partial[-1])",
        "for x in 1..1e9 return x", "{f: function(n) f(n), r: f(1)}",
        'matches("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "(a*)*\\1b")',
        "for i in 1..1000000 return log(i)", "string(for i in 1..1000 return 1e6144)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("work", [MAX_WORK // 10, pytest.param(MAX_WORK, marks=pytest.mark.slow)])
def test_bombs_end_in_an_error(text, work):
    with pytest.raises(ExpressionError):
        compile_expression(text, {})._evaluate_with({}.__getitem__, NOW, work, tag)


@pytest.mark.parametrize(
    "text",
    ["mean(1e999999999, 1)", "10 ** 999999999", "date(1e6000, 1, 1)",
     'number("1e999999999")', '@"P1D" / 1e-6000', "2 ** 1e9"],
)  # fmt: skip
def test_huge_exponents_are_null(text):
    assert value(text) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("[[0] * 1000000] * 1000000", "python"), ("str([[0] * 1000000] * 500)", "python"),
        ("join([''] * 100000, 'x' * 100000)", "python"), ("int(big)", "python"),
        ("9 ** 4000 * 9 ** 4000", "python"), ("floor(big)", "python"),
        ("${big.toString()}", "juel"),
        ("shared == shared", "python"), ("shared in shared", "python"),
        ("sorted(shared)", "python"),
        ("${shared == shared}", "juel"), ("${shared}", "juel"), ("a ${shared} b", "juel"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("part", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_the_other_dialects_are_bounded_too(text, language, part, monkeypatch):
    from decimal import Decimal

    monkeypatch.setattr(evaluator, "MAX_WORK", evaluator.MAX_WORK // part)
    shared = [1]
    for _ in range(40):
        shared = [shared, shared]
    variables = {"shared": shared, "big": Decimal("1e999999999")}
    if text == "${big.toString()}":
        assert Expression(text, language).evaluate(variables.__getitem__, NOW) == "1E+999999999"
        return
    with pytest.raises(ExpressionError):
        Expression(text, language).evaluate(variables.__getitem__, NOW)


@given(st.text(alphabet='x1.5+-*/()[]{}<>=!:,"@?\\ \n' + "forinetusmyqdcpbl", max_size=60))
def test_any_text_is_an_expression_or_an_error(text):
    with suppress(ExpressionError):
        value(text, x=3)
    with suppress(ExpressionError):
        passes(text, 3, x=3)


def test_eval_prints_values_and_warns():
    from typer.testing import CliRunner

    from mlkit.cli.main import app

    runner = CliRunner()
    found = runner.invoke(app, ["bpmn", "eval", "prices[1] + 0.5", "--var", "prices=[1]"])
    assert (found.exit_code, found.stdout) == (0, "1.5\n")
    found = runner.invoke(app, ["bpmn", "eval", "foo(1)"])
    assert found.exit_code == 0
    assert "null" in found.stdout
    assert "there is no function 'foo'" in found.stderr
    found = runner.invoke(app, ["bpmn", "eval", "[18..65], > 80", "--unary", "42"])
    assert found.stdout == "true\n"
    found = runner.invoke(app, ["bpmn", "eval", "1 +"])
    assert found.exit_code == 65


def test_eval_answers_lines():
    from typer.testing import CliRunner

    from mlkit.cli.main import app

    asked = [
        {"id": 1, "expr": "x + d.year", "context": {"x": 1.5, "d": {"@": 'date("2024-01-01")'}}},
        {"id": 2, "expr": "< 5, 7", "unary": True, "input": 7},
        {"id": 3, "expr": "1 +"},
        {"id": 4, "expr": '@"P14M"'},
    ]
    lines = "\n".join(["no json", *map(json.dumps, asked)])
    found = CliRunner().invoke(app, ["bpmn", "eval", "--lines"], input=lines)
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert "error" in answers[0]
    assert answers[1:3] == [{"id": 1, "value": {"n": "2025.5"}}, {"id": 2, "value": True}]
    assert answers[3]["id"] == 3
    assert "character 4" in answers[3]["error"]
    assert answers[4] == {"id": 4, "value": {"ym": "P14M"}}

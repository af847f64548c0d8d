"""Expressions: each dialect's semantics, and what none of them may do."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.bpmn.expressions import Expression, ExpressionError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = {
    "n": 3, "f": 0.5, "s": "text", "none": None, "yes": True, "items": [1, 2, 3], "empty_": [],
    "order": {"total": 9, "lines": [{"price": 1}, {"price": 5}]}, "day": date(2026, 3, 4),
}  # fmt: skip


def value(text, language, **more):
    return Expression(text, language).evaluate(lambda name: {**VALUES, **more}[name], NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n + 1", 4), ("n > 2 and not f > 1", True), ("1 < n <= 3", True), ("'a' in s", False),
        ("items[0] + items[-1]", 4), ("order.total if n else 0", 9), ("order['total'] // 2", 4),
        ("len(items) == size(items)", True), ("contains(s, 'ex')", True), ("s.upper()", "TEXT"),
        ("[n, {'k': n}]", [3, {"k": 3}]), ("none is None", True), ("max(items)", 3),
        ("day.year", 2026), ("today() < date('2027-01-01')", True), ("2 ** 10", 1024),
    ],
)  # fmt: skip
def test_python(text, expected):
    assert value(text, "python") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${n + 1}", 4), ("#{n}", 3), ("Dear ${s}, ${n}!", "Dear text, 3!"), ("plain", "plain"),
        ("${'1' + 2}", 3), ("${'3' == n}", True), ("${none + 1}", 1), ("${empty empty_}", True),
        ("${not empty s && n ge 3}", True), ("${n > 2 ? 'big' : 'small'}", "big"),
        ("${order.lines[1].price}", 5), ("${items.size() mod 2 == 1}", True), ("${!yes}", False),
        ("${items.contains(2) or false}", True), ("${'true' == yes}", True),
        ("${none == null}", True),
        ("a ${'}'} b", "a } b"),
    ],
)  # fmt: skip
def test_juel(text, expected):
    assert value(text, "juel") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=n + 1", 4), ("=0.1 + 0.2 = 0.3", True), ("=items[1]", 1), ("=items[-1]", 3),
        ("=items[item > 1]", [2, 3]), ("=order.lines[price > 2].price", [5]), ("=items[9]", None),
        ("=missing", None), ("=missing.deep", None), ("=none + 1", None), ("=none < 1", None),
        ("=null = null", True), ('="a" + "b"', "ab"), ('="a" < 1', None), ("=not(yes)", False),
        ('=if n > 2 then "x" else "y"', "x"), ("=none and false", False),
        ("=none or true", True),
        ("=n between 1 and 3 and yes", True), ("=list contains(items, 2)", True),
        ("=string length(s)", 4), ('={a: 1, "b c": [2]}', {"a": 1, "b c": [2]}), ("=1 / 0", None),
        ("=2 ** 3", 8), ("=-n", -3), ('=@"2026-01-02"', date(2026, 1, 2)),
    ],
)  # fmt: skip
def test_feel(text, expected):
    assert value(text, "feel") == expected


def test_feel_counts_in_decimals_and_answers_in_json_numbers():
    assert value("=0.1 * 3", "feel") == 0.3
    assert value("=d * 2", "feel", d=Decimal("0.15")) == 0.3


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("().__class__", "python"), ("__import__('os')", "python"), ("open('x')", "python"),
        ("(lambda: 1)()", "python"), ("[x for x in items]", "python"), ("s.format(n)", "python"),
        ("f'{n}'", "python"), ("9 ** 9 ** 9", "python"), ("'a' * 10 ** 9", "python"),
        ("exec('1')", "python"), ("s.__len__()", "python"), ("order._x", "python"),
        ("${s.class}", "juel"), ("${execution.getEngine()}", "juel"), ("${n", "juel"),
        ("${n +}", "juel"), ("=for x in items return x", "feel"), ("=", "feel"), ("=1 1", "feel"),
        ("unknown", "python"), ("${unknown}", "juel"), ("n +", "python"), ("'%s' % n", "python"),
        ("(" * 200 + "1" + ")" * 200, "feel"), ("-" * 500 + "1", "juel"),
        ("+".join("1" * 300), "feel"), ("[" * 2000 + "]" * 2000, "python"), ("1" * 5000, "feel"),
    ],
)  # fmt: skip
def test_refused(text, language):
    text = f"${{{text}}}" if language == "juel" and "{" not in text else text
    with pytest.raises(ExpressionError, match="at character"):
        value(text, language)


def test_an_error_names_the_expression_and_the_position():
    with pytest.raises(ExpressionError, match=r"'n > missing' at character 5: .* 'missing'"):
        value("n > missing", "python")


def test_work_is_limited():
    text = "+".join(["sum(big)"] * 3)
    assert value(text, "python", big=list(range(10))) == 135
    deep = "=a[item > 0][item > 0][item > 0]"
    with pytest.raises(ExpressionError, match="too much work"):
        value(deep, "feel", a=list(range(50_000)))


@given(st.text(max_size=60), st.sampled_from(["python", "juel", "feel"]))
def test_any_text_gives_a_value_or_an_expression_error(text, language):
    with suppress(ExpressionError):
        Expression(text, language).evaluate(lambda name: VALUES[name], NOW)


@given(st.text(alphabet="n1+-*/()[]{}<>=!&|.?: '\"\\$#,@ifthenelse", max_size=40))
def test_operator_soup(text):
    for language, written in (("python", text), ("juel", f"${{{text}}}"), ("feel", f"={text}")):
        with suppress(ExpressionError):
            Expression(written, language).evaluate(lambda name: VALUES[name], NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\${n}", "${n}"), (r"cost: \#{n}, ${n}", "cost: #{n}, 3"),
        ("${s.equals('text')}", True), ("${items.get(1)}", 2), ("${items.get(7)}", None),
    ],
)  # fmt: skip
def test_juel_escapes_and_the_methods_that_people_write(text, expected):
    assert value(text, "juel") == expected


def test_empty_is_a_function_in_python():
    assert value("empty(empty_) and not empty(items)", "python") is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=n in [1..3]", True), ("=n in [1..3)", False), ("=n in (3..5]", False),
        ("=n in ]2..3]", True), ("=n in [1..n * 2] and yes", True), ("=n in [1, 2, 3]", True),
        ("=n in (1, 2)", False), ("=n in items", True), ("=n in (items)", True),
        ("=n in []", False), ("=none in [1..3]", None),
        ('=day in [date("2026-01-01")..today()]', False),
        ("=if n in [1..3] then 1 else 2", 1), ("=(n in [1..3]) = true", True),
    ],
)  # fmt: skip
def test_feel_intervals(text, expected):
    assert value(text, "feel") == expected


@pytest.mark.parametrize("text", ["=n in [1..", "=n in [1..3", "=n in ]1]", "=n in [1..3}"])
def test_a_broken_interval_is_told(text):
    with pytest.raises(ExpressionError):
        value(text, "feel")


def test_nested_ins_cost_no_more_than_their_length():
    with suppress(ExpressionError):
        value("=" + "n in (" * 55 + "1" + ")" * 55, "feel")

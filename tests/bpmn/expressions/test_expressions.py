"""Expressions: each dialect's semantics, and what none of them may do."""

from __future__ import annotations

import inspect
import sys
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=for x in items return x * 2", [2, 4, 6]), ("=for x in 1..3, y in 1..x return x * y",
        [1, 2, 4, 3, 6, 9]), ("=for x in 3..1 return x", [3, 2, 1]),
        ("=for x in none return x", None),
        ("=for i in 0..4 return if i < 2 then 1 else partial[-1] + partial[-2]", [1, 1, 2, 3, 5]),
        ("=for line in order.lines return line.price", [1, 5]), ("=for x in n return x + 1", [4]),
        ("=some x in items satisfies x > 2", True), ("=every x in items satisfies x > 2", False),
        ("=some x in empty_ satisfies true", False), ("=every x in empty_ satisfies false", True),
        ("=some x in items satisfies x > missing", None), ("=every x in none satisfies x", None),
        ("=some x in items, y in items satisfies x + y = 6", True),
        ("=some x in [1, null] satisfies x > 0", True),
        ("=(every x in items satisfies x > 0) and yes",
        True), ("=for item in order.lines[price > 2] return item.price", [5]),
    ],
)  # fmt: skip
def test_feel_iterates(text, expected):
    assert value(text, "feel") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=items[count(items)]", 3), ("=items[n - 1]", 2), ("=items[0]", None), ("=items[1.0]", 1),
        ("=items[f]", None), ('=["ab", "b"][contains(item, "a")]', ["ab"]),
        ("=n instance of number", True), ("=s instance of number", False),
        ("=none instance of Any", False), ("=day instance of date", True),
        ("=day instance of date and time", False), ("=yes instance of number", False),
        ("=order instance of context and items instance of list", True),
    ],
)  # fmt: skip
def test_feel_positions_and_types(text, expected):
    assert value(text, "feel") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Most are examples of the standard (DMN 1.4, 10.3.4).
        ('=substring("foobar", 3)', "obar"), ('=substring("foobar", 3, 3)', "oba"),
        ('=substring("foobar", -2, 1)', "a"), ('=substring before("foobar", "bar")', "foo"),
        ('=substring after("foobar", "ob")', "ar"), ('=substring after("foobar", "x")', ""),
        ('=replace("abcd", "(ab)|(a)", "[1=$1][2=$2]")', "[1=ab][2=]cd"),
        ('=replace("a.b", "\\\\.", "$")', None), ('=matches("foobar", "^fo*b")', True),
        ('=matches("FOO", "foo", "i")', True), ('=split("John Doe", "\\\\s")', ["John", "Doe"]),
        ('=split("a;b;c;;", ";")', ["a", "b", "c", "", ""]),
        ('=extract("a1b22", "[0-9]+")', ["1", "22"]),
        ('=string join(["a", null, "b"], ", ")', "a, b"), ('=upper case("aBc4")', "ABC4"),
        ("=string(1.10) + string(true)", "1.10true"), ("=string(null)", None),
        ('=string([1, "a", {b: 2}])', '[1, "a", {b: 2}]'), ('=string(@"P1DT90M")', "P1DT1H30M"),
        ('=number("1 000,5", " ", ",")', 1000.5), ('=number("x")', None), ('=number("1_0")', None),
        ("=decimal(1/3, 2)", 0.33), ("=decimal(2.5, 0)", 2), ("=floor(-1.5)", -2),
        ("=round half up(5.125, 2)", 5.13), ("=round up(-5.5, 0)", -6), ("=modulo(-12, 5)", 3),
        ("=modulo(12, -5)", -3), ("=sqrt(16)", 4), ("=odd(5) and even(-2)", True),
        ("=abs(-10)", 10),
        ("=list contains([1, null], null)", True), ("=list contains([true], 1)", False),
        ("=mean([2, 3, 5, 11])", 5.25), ("=median([6, 1, 2, 3])", 2.5),
        ("=mode([6, 3, 9, 6, 6])", [6]),
        ("=stddev([2, 4, 7, 5])", Decimal("2.081665999466132735282297706979931")),
        ("=sum([0.1, 0.2])", 0.3),
        ("=sum([])", None), ("=min([])", None), ("=product([2, 3, 4])", 24),
        ("=all([true, null])", None),
        ("=any([false, true, null])", True), ("=sublist([4, 5, 6], 1, 2)", [4, 5]),
        ("=append([1], 2, 3)", [1, 2, 3]), ("=concatenate([1, 2], [3])", [1, 2, 3]),
        ("=insert before([1, 3], 1, 2)", [2, 1, 3]), ("=remove([1, 2, 3], 2)", [1, 3]),
        ("=reverse(items)", [3, 2, 1]), ("=index of([1, 2, 3, 2], 2)", [2, 4]),
        ("=union([1, 2], [2, 3])", [1, 2, 3]), ("=distinct values([1, true, 1, 1.0])", [1, True]),
        ("=duplicate values([1, 2, 1, 3, 3])", [1, 3]),
        ("=flatten([[1, 2], [[3]], 4])", [1, 2, 3, 4]),
        ("=sort([3, 1, 2])", [1, 2, 3]), ("=sort(items, function(x, y) x > y)", [3, 2, 1]),
        ('=get value({a: {b: 2}}, ["a", "b"])', 2), ('=get value({a: 1}, "x")', None),
        ("=get entries({a: 1})", [{"key": "a", "value": 1}]),
        ('=context put({a: 1}, "b", 2)', {"a": 1, "b": 2}),
        ("=context merge([{a: 1}, {a: 2, b: 3}])", {"a": 2, "b": 3}),
        ('=context([{key: "a", value: 1}])', {"a": 1}), ("=get or else(missing, 1)", 1),
        ("=date(2026, 3, 4) = day", True), ("=day of week(day)", "Wednesday"),
        ("=month of year(day)", "March"), ("=week of year(day)", 10), ("=day of year(day)", 63),
        ('=string(last day of month(date("2028-02-05")))', "2028-02-29"),
        ('=date and time(day, time("10:00:00")).hour', 10), ('=time("25:00:00")', None),
        ('=@"2026-01-02T00:00:00Z" = now()', True), ('=date("2026-02-30")', None),
        ("=count(null)", None), ("=substring(null, 1)", None),
        ('=day + duration("P1D") > day', True),
    ],
)  # fmt: skip
def test_feel_functions(text, expected):
    found = value(text, "feel")
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(
    "text",
    [
        "=some x in items", "=for in items return 1", "=for x items return 1",
        "=n instance of house",
        "=substring()", '=contains("a")', "=unheard of(1)", "=some x in items return x",
    ],
)  # fmt: skip
def test_feel_that_is_broken_is_told_before_it_runs(text):
    with pytest.raises(ExpressionError, match="at character"):
        Expression(text, "feel").check()


@pytest.mark.parametrize(
    "text",
    [
        "=for x in 1..1000000000 return x", "=count(for x in 1..1000, y in 1..1000 return x)",
        "=for x in 1..20000 return big", "=flatten(for x in 1..2000 return big)",
        "=string join(for x in 1..2000 return string(big))",
        "=string(for x in 1..2000 return big)",
        '=replace(string join(for x in 1..900 return "aaaaaaaaa"), "a", string(big))',
    ],
)  # fmt: skip
def test_loops_cannot_take_all_time_or_memory(text):
    with pytest.raises(ExpressionError, match="too"):
        value(text, "feel", big=list(range(1000)))


def test_no_pattern_takes_long():
    assert value('=matches(s, "^(a+)+$")', "feel", s="a" * 50_000 + "b") is False


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
        ("${n +}", "juel"), ("=for x in items", "feel"), ("=function(x) x", "feel"),
        ("=", "feel"), ("=1 1", "feel"),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=for i in 1..3 return i", [1, 2, 3]),
        ("=for i in 3..1 return i", [3, 2, 1]),
        ("=for x in [1, 2], y in [10, 20] return x + y", [11, 21, 12, 22]),
        ("=for x in [[1], [2, 3]], y in x return y", [1, 2, 3]),
        ("=(for x in items return x)[1]", 1), ("=for x in missing return x", None),
        ("=every x in [] satisfies false", True),
        ("=some x in items satisfies x > n and yes", False),
        ("=some l in order.lines satisfies l.price = 5", True),
        ("=if some x in items satisfies x = 2 then 1 else 0", 1),
        ("=items[item = n - 1]", [2]), ("=items[-1 * 1]", 3),
        ("=order.lines[price = 5][1].price", 5), ("=n in < 5", True), ("=n in > 5", False),
        ("=s instance of string and yes", True),
        ("=now() instance of date", False),
        ("=now() instance of date and time", True), ("=none instance of list", False),
        ("=(none instance of string) or yes", True), ("=order instance of context", True),
    ],
)  # fmt: skip
def test_feel_iterates_filters_and_asks_for_types(text, expected):
    assert value(text, "feel") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count(items)", 3), ("sum(items)", 6), ("sum(1, 2.5)", 3.5), ("mean(items)", 2),
        ("median([8, 1, 3])", 3), ("product([2, 3])", 6), ("count(none)", None),
        ("sum(prices) = 0.3", True), ("list contains(prices, 0.1)", True), ("0.1 in prices", True),
        ("prices[1] = 0.1", True), ("missing in items", False), ("1 in missing", None),
        ("string(yes)", "true"), ("string(1.50)", "1.50"), ("string(none)", None),
        ('string(date("2026-01-02"))', "2026-01-02"), ('number("1.5") + 1', 2.5),
        ('"a" + 1', None), ("yes + 1", None), ('3 * "a"', None),
        ('substring("foobar", -3, 2)', "ba"),
        ('substring before("a=b", "=")', "a"), ('substring after("a=b", "=")', "b"),
        ('contains(s, "ex")', True), ("upper case(s)", "TEXT"), ('trim(" a ")', "a"),
        ('matches("ab12", "[a-z]+[0-9]{2}")', True), ('matches(none, "a")', None),
        ('matches("AB", "b", "i")', True), ('split("a;b;c", ";")', ["a", "b", "c"]),
        ('replace("abcd", "(ab)|(cd)", "[$1$2]")', "[ab][cd]"),
        ('string join(["a", "b"], "-")', "a-b"), ('is blank(" ")', True),
        ("decimal(1.005, 2)", 1), ("ceiling(1.1)", 2),
        ("round up(1.12, 1)", 1.2),
        ("round half up(2.5, 0)", 3), ("round half down(2.5, 0)", 2),
        ("abs(-n)", 3), ("odd(n)", True),
        ("append(items, 4)", [1, 2, 3, 4]), ("concatenate(items, [4], [5])", [1, 2, 3, 4, 5]),
        ("distinct values([1, 2, 1, [1], [1]])", [1, 2, [1]]), ("duplicate values([1, 2, 1])", [1]),
        ("flatten([1, [2, [3]]])", [1, 2, 3]),
        ("sublist(items, 2, 1)", [2]), ("insert before(items, 1, 0)", [0, 1, 2, 3]),
        ("remove(items, 2)", [1, 3]), ("index of(items, 2)", [2]),
        ("union(items, [3, 4])", [1, 2, 3, 4]),
        ("all([true, none])", None), ("any([false, true])", True), ("is empty([])", True),
        ("sort(items, function(a, b) a > b)", [3, 2, 1]),
        ("sort(order.lines, function(a, b) a.price > b.price)[1].price", 5),
        ('get value({a: {b: 1}}, ["a", "b"])', 1),
        ("context merge([{a: 1}, {b: 2}])", {"a": 1, "b": 2}), ("get or else(none, 1)", 1),
        ('date("2026-03-04").weekday', 3), ("day.year", 2026),
        ('date(date and time("2026-03-04T10:00:00Z"))', date(2026, 3, 4)),
        ('date and time("2026-03-04T10:30:00").minute', 30), ('time("10:30:00").hour', 10),
        ('day + duration("P2D")', date(2026, 3, 6)), ('duration("PT1H30M").minutes', 30),
        ('duration("P1D") * 2 = duration("P2D")', True),
        ('day - date("2026-03-01") = duration("P3D")', True),
        ("last day of month(day)", date(2026, 3, 31)),
        ("today() > day", False), ("string length(none)", None), ("upper case(5)", None),
    ],
)  # fmt: skip
def test_more_feel_functions(text, expected):
    assert value(f"={text}", "feel", prices=[0.1, 0.2]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "for x in 1..1000000 return x", "for x in big return for y in big return y",
        "for x in 1..1000 return count(concatenate(big, big))", "function(a) a", "[function(a) a]",
        "for x in 1..3 return partial", "some x in 1..1000, y in 1..1000 satisfies false",
        "for x in big return sort(big, function(a, b) a > b)",
    ],
)  # fmt: skip
def test_hostile_feel_is_refused(text):
    with pytest.raises(ExpressionError, match="at character"):
        value(f"={text}", "feel", big=list(range(50_000)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${s.substring(1)}", "ext"), ("${s.substring(0, 2)}", "te"), ("${s.indexOf('x')}", 2),
        ("${order.missing}", None), ("${order.missing.deep}", None), ("${none.x == null}", True),
        ("${items[7]}", None), ("${order['total']}", 9), ("${order.containsKey('total')}", True),
        ("${execution.getVariable('n') + 1}", 4), ("${execution.getVariable('gone')}", None),
        ("${execution.hasVariable('gone')}", False), ("${-7 % 3}", -1),
        ("${7 mod -3}", 1), ("${s.replace('t', 'T')}", "TexT"),
        ("${s.toString().equalsIgnoreCase('TEXT')}", True), ("${empty order.missing}", True),
    ],
)  # fmt: skip
def test_juel_takes_the_methods_of_java_and_the_nulls_of_its_resolvers(text, expected):
    assert value(text, "juel") == expected


def test_deep_data_is_an_error_of_the_expression():
    deep = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(ExpressionError):
        value("=flatten(deep)", "feel", deep=deep)


def test_a_duration_of_months_is_added_and_leaves_as_text():
    assert value('=day + duration("P1M")', "feel") == date(2026, 4, 4)
    assert value('=duration("P14M")', "feel") == "P1Y2M"


@pytest.mark.parametrize("language", ["juel", "python", "feel"])
@pytest.mark.parametrize("frames", [40, 60, 90, 120, 200, 400])
def test_how_deep_the_caller_is_decides_over_no_other_error(language, frames):
    """An expression near the limit of depth is read, or refused for it."""
    text = "(" * 45 + f"{frames}" + ")" * 45
    text = {"juel": f"${{{text}}}", "feel": f"={text}"}.get(language, text)
    deep = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(deep + frames)
    try:
        with suppress(ExpressionError):
            Expression(text, language).check()
    finally:
        sys.setrecursionlimit(limit)

"""What lint says of decision models: gaps, overlaps, rules that never match, broken references."""

from __future__ import annotations

from decimal import Decimal

import pytest
from bpmn.decisions.tables import doubts, load, table
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlkit.cli.main import app


def test_a_broken_cell_is_told_with_rule_and_column(tmp_path):
    problems = load(tmp_path, table([("1", 2), ("1 +", "foo(")])).problems
    assert [each.where for each in problems] == ["d, rule 2, column 'x'", "d, rule 2, output 'o0'"]


def test_gaps_overlaps_and_rules_that_never_match_are_found_with_an_example(tmp_path):
    assert doubts(tmp_path, table([("< 5", 1), ("[5..8)", 2), ("> 8", 3)])) == [
        "no rule matches x = 8"
    ]
    assert doubts(tmp_path, table([("<= 5", 1), (">= 5", 2)])) == ["rules 1 and 2 both match x = 5"]
    assert doubts(tmp_path, table([("<= 5", 1), (">= 5", 1)], "ANY")) == []
    assert doubts(tmp_path, table([("-", 1), ("3", 2)], "FIRST")) == [
        "rule 2 can never match: rule 1 comes first, as for x = 3"
    ]
    assert "no rule matches x = 0" in doubts(tmp_path, table([("1", 1)]))
    assert doubts(tmp_path, table([("true", 1)])) == ["no rule matches x = false"]
    assert "any other text" in doubts(tmp_path, table([('"a"', 1), ('"b"', 2)]))[0]
    assert "not analysed" in doubts(tmp_path, table([("? > 1", 1)]))[0]
    found = CliRunner().invoke(app, ["bpmn", "lint", str(tmp_path / "model.dmn")])
    assert found.exit_code == 0
    assert "not analysed" in found.stdout


UNCLEAR = "gaps and overlaps are not analysed: rule 1, column 'x', is not a constant"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (['< @"2024-03-01"', '> @"2024-03-01"'], ['no rule matches x = @"2024-03-01"']),
        (['date("2024-01-01"), <= @"2023-12-31"', '> @"2024-01-01"'], []),
        (['<= @"12:00:00"', '>= @"12:00:00"'], ['rules 1 and 2 both match x = @"12:00:00"']),
        (['< @"2024-01-01T00:00:00"', '>= date and time("2024-01-01T00:00:00")'], []),
        (["not(3)", "3"], []), (["not([1..3])", "[1..2)", "(2..3]"], ["no rule matches x = 2"]),
        (["1, > 5", "<= 5"], ["rules 1 and 2 both match x = 1"]),
        (["not(true)", "true"], []), (["null, < 3", ">= 3"], []),
        (['not("a", "b")', '"a"'], ['no rule matches x = "b"']),
        (["? > 1", "1"], [UNCLEAR]), (['@"10:00:00Z"'], [UNCLEAR]),
    ],
)  # fmt: skip
def test_dates_truth_values_and_negations_are_analysed(tmp_path, rules, expected):
    body = table([(test, number) for number, test in enumerate(rules)])
    assert doubts(tmp_path, body) == expected


def test_a_rule_that_never_has_priority_is_named_with_an_input(tmp_path):
    values = '<outputValues><text>"high", "low"</text></outputValues>'
    rules = [("-", '"high"'), ("> 5", '"low"')]
    assert doubts(tmp_path, table(rules, "PRIORITY", values=values)) == [
        "rule 2 can never be chosen: rule 1 has priority, as for x = 6"
    ]


def test_a_rule_that_no_value_passes_is_named_with_its_column(tmp_path):
    found = doubts(tmp_path, table([("(1..1]", 1), ("-", 2)], "FIRST"))
    assert found == ["rule 1 can never match: no value of column 'x' passes"]


def test_outputs_that_their_column_refuses_are_named(tmp_path):
    values = '<outputValues><text>"a", "b"</text></outputValues>'
    body = table([("< 1", '"c"'), (">= 1", '"a"')], values=values)
    assert doubts(tmp_path, body) == ['"c" is not one of "a", "b"']
    typed = body.replace('<output name="o0">' + values, '<output name="o0" typeRef="number">')
    assert doubts(tmp_path, typed) == ['"c" is not a number', '"a" is not a number']


def problems(tmp_path, body):
    return [(each.severity, each.message) for each in load(tmp_path, body).problems]


def test_a_name_that_nothing_defines_is_a_warning(tmp_path):
    body = (
        '<decision id="d" name="d"><variable name="d" typeRef="number"/>'
        "<literalExpression><text>{}</text></literalExpression></decision>"
    )
    assert problems(tmp_path, body.format("income * 2")) == [
        ("warning", "'income' is neither required nor defined: it is null")
    ]
    assert problems(tmp_path, body.format("sum(for n in [1, 2] return n)")) == []
    assert problems(tmp_path, body.format("count([{a: 1}][a > 0])")) == []


def test_services_without_their_decision_and_types_of_themselves_are_errors(tmp_path):
    service = '<decisionService id="s" name="s"><outputDecision href="#gone"/></decisionService>'
    assert problems(tmp_path, service) == [("error", "what it requires is missing: '#gone'")]
    circle = (
        '<itemDefinition name="a"><typeRef>b</typeRef></itemDefinition>'
        '<itemDefinition name="b"><typeRef>a</typeRef></itemDefinition>'
    )
    assert ("error", "the type is defined by itself") in problems(tmp_path, circle)


def test_values_that_a_type_allows_limit_a_column(tmp_path):
    kind = '<itemDefinition name="tSide"><typeRef>string</typeRef><allowedValues><text>"l", "r"'
    kind += "</text></allowedValues></itemDefinition>"
    typed = table([('"l"', 1)]).replace("<inputExpression>", '<inputExpression typeRef="tSide">')
    assert doubts(tmp_path, kind + typed) == ['no rule matches x = "r"']


def test_a_cell_that_compares_with_another_type_is_named(tmp_path):
    typed = table([("1", 1), ('"b"', 2)]).replace(
        "<inputExpression>", '<inputExpression typeRef="number">'
    )
    (problem, _) = load(tmp_path, typed).analyse()
    assert problem.where == "d, rule 2, column 'x'"
    assert problem.message == "a number is compared with a string"


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 4), st.booleans(), st.booleans()),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_the_analysis_of_dates_is_that_of_each_day(tmp_path_factory, rows):
    def day(number):
        return f'@"2024-02-{number:02d}"'

    tests = [
        (("not({})" if negated else "{}").format(
            f"[{day(low)}..{day(low + more)}]" + (f", {day(15)}" if extra else "")))
        for low, more, negated, extra in rows
    ]  # fmt: skip
    found = doubts(tmp_path_factory.mktemp("t"), table([(each, 1) for each in tests]))
    counts = [
        sum((low <= each <= low + more or (extra and each == 15)) != negated
            for low, more, negated, extra in rows)
        for each in range(30)
    ]  # fmt: skip
    assert any("no rule matches" in each for each in found) == (0 in counts)
    assert any("both match" in each for each in found) == (max(counts) > 1)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=5))
def test_gaps_and_overlaps_are_those_of_brute_force(tmp_path_factory, rows):
    spans = [(min(row), max(row)) for row in rows]
    rules = [(f"[{low}..{high}]", 1) for low, high in spans]
    found = doubts(tmp_path_factory.mktemp("t"), table(rules))
    tried = [Decimal(n) / 4 for n in range(-8, 40)]
    counts = [sum(low <= each <= high for low, high in spans) for each in tried]
    assert any("no rule matches" in each for each in found) == (0 in counts)
    assert any("both match" in each for each in found) == (max(counts) > 1)

"""Tables of decisions: hit policies, types, requirements, hostile models."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from bpmn.decisions.tables import HEAD, ROLLOUT, load, table
from hypothesis import given
from hypothesis import strategies as st

from mlkit.bpmn import Decisions
from mlkit.bpmn.expressions.feel import compile_tests
from mlkit.errors import BadData

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULES = [("< 10", 1), ("> 5", 2), ("7", 3), ("20", 1)]


@pytest.mark.parametrize(
    ("policy", "more", "x", "expected"),
    [
        ("UNIQUE", "", 3, 1), ("UNIQUE", "", 6, None), ("FIRST", "", 6, 1), ("ANY", "", 3, 1),
        ("ANY", "", 6, None), ("RULE ORDER", "", 7, [1, 2, 3]), ("COLLECT", "", 7, [1, 2, 3]),
        ("COLLECT", 'aggregation="SUM"', 7, 6), ("COLLECT", 'aggregation="MIN"', 7, 1),
        ("COLLECT", 'aggregation="MAX"', 7, 3), ("COLLECT", 'aggregation="COUNT"', 7, 3),
        ("PRIORITY", "", 7, 3), ("OUTPUT ORDER", "", 7, [3, 1, 2]), ("U", "", 3, 1),
    ],
)  # fmt: skip
def test_hit_policies(tmp_path, policy, more, x, expected):
    values = "<outputValues><text>3, 1, 2</text></outputValues>"
    decisions = load(tmp_path, table(RULES, policy, more=more, values=values))
    assert decisions.decide(x=x) == expected


POLICIES = {
    "UNIQUE": lambda found: found[0] if len(found) == 1 else None,
    "ANY": lambda found: found[0] if len(set(found)) == 1 else None,
    "FIRST": lambda found: found[0] if found else None,
    "PRIORITY": lambda found: min(found, key=ORDER.index) if found else None,
    "RULE ORDER": lambda found: found or None,
    "OUTPUT ORDER": lambda found: sorted(found, key=ORDER.index) or None,
    "COLLECT": lambda found: found,
    "COLLECT SUM": lambda found: sum(found) if found else None,
    "COLLECT MIN": lambda found: min(found, default=None),
    "COLLECT MAX": lambda found: max(found, default=None),
    "COLLECT COUNT": len,
}
ORDER = [2, 0, 3, 1]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), max_size=8),
    st.integers(0, 9),
    st.sampled_from(sorted(POLICIES)),
)
def test_tables_say_what_a_slow_and_obvious_evaluator_says(tmp_path_factory, rows, x, policy):
    rules = [(f"[{min(a, b)}..{max(a, b)}]", found) for a, b, found in rows]
    matched = [found for a, b, found in rows if min(a, b) <= x <= max(a, b)]
    name, _, aggregation = policy.partition(" ") if policy.startswith("C") else (policy, "", "")
    more = f'aggregation="{aggregation}"' if aggregation else ""
    values = "<outputValues><text>2, 0, 3, 1</text></outputValues>"
    body = table(rules, name, more=more, values=values)
    found = load(tmp_path_factory.mktemp("t"), body).decide(x=x)
    assert found == POLICIES[policy](matched)


CELLS = [
    "-", "1", "1, 3", "< 3", ">= 3", "[1..3]", "(1..3)", "]1..3[", "(1..1]", "-2", '"a"',
    '"a", "b"',
    "true", "null", "not(1)", "? = 3", "x + 1", "> 2, 1", '"a", 1', "[1, 3]", '@"2024-01-01"',
]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(CELLS), st.integers(0, 9)), max_size=8),
    st.sampled_from([1, 2, 3, 4, -2, 2.5, "a", "b", True, False, None, [1], [1, 3]]),
)
def test_constants_are_found_as_if_each_cell_was_evaluated(tmp_path_factory, rows, x):
    decisions = load(tmp_path_factory.mktemp("t"), table(rows, "COLLECT"))
    expected = [
        found
        for text, found in rows
        if text == "-" or compile_tests(text, ["x"]).condition({"x": x}.__getitem__, NOW, x)
    ]
    assert decisions.decide(x=x) == expected


def test_defaults_and_several_outputs(tmp_path):
    default = "<defaultOutputEntry><text>0</text></defaultOutputEntry>"
    decisions = load(tmp_path, table([("1", 2, 3)], outputs=2, values=default))
    assert decisions.decide(x=1) == {"o0": 2, "o1": 3}
    assert decisions.decide(x=5) == {"o0": 0, "o1": 0}


def test_a_value_of_another_type_is_null_and_noted():
    found = Decisions(ROLLOUT).evaluate("Rollout", {"model accuracy": "high", "region": "EU"})
    assert "'model accuracy' is \"high\", not a number" in "".join(found.trace.notes)
    found = Decisions(ROLLOUT).evaluate("Rollout", {"model accuracy": 1, "region": "ASIA"})
    assert found.value is None


def test_what_requires_itself_or_is_missing_is_told(tmp_path):
    circle = (
        '<decision id="a" name="a"><informationRequirement><requiredDecision href="#b"/>'
        '</informationRequirement></decision><decision id="b" name="b"><informationRequirement>'
        '<requiredDecision href="#a"/></informationRequirement></decision>'
    )
    with pytest.raises(BadData, match="requires itself"):
        load(tmp_path, circle)
    missing = load(tmp_path, circle.replace('href="#a"', 'href="#gone"'))
    assert [each.where for each in missing.problems] == ["b"]


@pytest.mark.parametrize(
    "text",
    [
        "", "no xml", "<a/>", '<!DOCTYPE x [<!ENTITY a "b">]><definitions/>', HEAD,
        f'{HEAD}<decision id="a" name="a"/><decision id="a" name="b"/></definitions>',
        f'{HEAD}<import name="i" namespace="nowhere"/></definitions>',
        HEAD + '<decision id="a" name="a">' + "<list>" * 300 + "</list>" * 300
        + "</decision></definitions>",
    ],
)  # fmt: skip
def test_hostile_files_are_refused(tmp_path, text):
    path = tmp_path / "model.dmn"
    path.write_text(text)
    with pytest.raises(BadData):
        Decisions(path)


def test_functions_that_never_end_reach_a_limit(tmp_path):
    body = (
        '<businessKnowledgeModel id="f" name="f"><encapsulatedLogic><formalParameter name="n"/>'
        "<literalExpression><text>f(n + 1)</text></literalExpression></encapsulatedLogic>"
        '</businessKnowledgeModel><decision id="d" name="d"><knowledgeRequirement>'
        '<requiredKnowledge href="#f"/></knowledgeRequirement><literalExpression><text>f(1)</text>'
        "</literalExpression></decision>"
    )
    with pytest.raises(BadData, match="nest too deeply"):
        load(tmp_path, body).decide()


def test_python_gets_values_of_python():
    found = Decisions(ROLLOUT).decide(**{"model accuracy": Decimal("0.95"), "region": "US"})
    assert found == {"deploy": True, "share": 0.5}


def test_rules_beyond_the_first_block_of_the_index_are_found(tmp_path):
    rules = [(number, number) for number in range(5000)] + [("[4000..4001]", -1), ("-", -2)]
    decisions = load(tmp_path, table(rules, "COLLECT"))
    assert decisions.decide(x=1) == [1, -2]
    assert decisions.decide(x=2048) == [2048, -2]
    assert decisions.decide(x=4001) == [4001, -1, -2]
    assert decisions.decide(x=5000) == [-2]

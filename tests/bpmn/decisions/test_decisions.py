"""Decisions: hit policies, types, requirements, hostile models, the command."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlkit.bpmn import Decisions
from mlkit.bpmn.expressions.feel import compile_tests
from mlkit.cli.main import app
from mlkit.errors import BadData

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ROLLOUT = Path(__file__).parent / "rollout.dmn"
HEAD = '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" namespace="u">'


def load(tmp_path, body, name="model.dmn"):
    path = tmp_path / name
    path.write_text(f"{HEAD}{body}</definitions>")
    return Decisions(path)


def table(rules, policy="UNIQUE", outputs=1, more="", values=""):
    """Write a decision with a table of one input `x`; a rule is (test, output, ...)."""
    columns = "".join(f'<output name="o{n}">{values}</output>' for n in range(outputs))
    rows = "".join(
        f"<rule><inputEntry><text>{cell(test)}</text></inputEntry>"
        + "".join(f"<outputEntry><text>{cell(each)}</text></outputEntry>" for each in found)
        + "</rule>"
        for test, *found in rules
    )
    return (
        '<inputData id="x" name="x"/><decision id="d" name="d"><informationRequirement>'
        '<requiredInput href="#x"/></informationRequirement>'
        f'<decisionTable hitPolicy="{policy}" {more}><input><inputExpression><text>x</text>'
        f"</inputExpression></input>{columns}{rows}</decisionTable></decision>"
    )


def cell(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;")


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


def test_a_broken_cell_is_told_with_rule_and_column(tmp_path):
    problems = load(tmp_path, table([("1", 2), ("1 +", "foo(")])).problems
    assert [each.where for each in problems] == ["d, rule 2, column 'x'", "d, rule 2, output 'o0'"]


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


def test_decide_prints_the_value_and_the_rules():
    asked = ["bpmn", "decide", str(ROLLOUT), "--var", "model accuracy=0.97", "--var", "region=EU"]
    found = CliRunner().invoke(app, [*asked, "--explain"])
    assert found.exit_code == 0
    assert "{deploy: true, share: 0.1}" in found.stdout
    assert "rules that matched: 1" in found.stdout
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert document["value"] == {"c": {"deploy": True, "share": {"n": "0.1"}}}
    assert document["matched"][0]["rules"] == [1]


def test_decide_answers_lines_and_rows(tmp_path):
    asked = {"id": 1, "decision": "Risk", "context": {"model accuracy": {"@": "0.95"}}}
    lines = json.dumps(asked) + "\nbroken\n" + json.dumps({"id": 2, "decision": "gone"})
    found = CliRunner().invoke(app, ["bpmn", "decide", str(ROLLOUT), "--lines"], input=lines)
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert answers[0] == {"id": 1, "value": "low"}
    assert "error" in answers[1]
    assert "there is no decision 'gone'" in answers[2]["error"]
    rows = tmp_path / "rows.csv"
    rows.write_text("model accuracy,region\n0.95,US\n0.5,EU\n")
    asked = ["bpmn", "decide", str(ROLLOUT), "--table", str(rows), "-o", str(tmp_path / "out.csv")]
    assert CliRunner().invoke(app, asked).exit_code == 0
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [each["share"] for each in found] == ["0.5", "0"]


def test_python_gets_values_of_python():
    found = Decisions(ROLLOUT).decide(**{"model accuracy": Decimal("0.95"), "region": "US"})
    assert found == {"deploy": True, "share": 0.5}


def doubts(tmp_path, body):
    return [each.message for each in load(tmp_path, body).analyse()]


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
    assert doubts(tmp_path, body) == ['"c" is none of "a", "b"']
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


def test_rules_beyond_the_first_block_of_the_index_are_found(tmp_path):
    rules = [(number, number) for number in range(5000)] + [("[4000..4001]", -1), ("-", -2)]
    decisions = load(tmp_path, table(rules, "COLLECT"))
    assert decisions.decide(x=1) == [1, -2]
    assert decisions.decide(x=2048) == [2048, -2]
    assert decisions.decide(x=4001) == [4001, -1, -2]
    assert decisions.decide(x=5000) == [-2]


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


PROCESS = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
 targetNamespace="t"><process id="P" isExecutable="true"><startEvent id="s"/>
 <sequenceFlow id="f1" sourceRef="s" targetRef="t"/><businessRuleTask id="t" {attributes}>{inside}
 </businessRuleTask><sequenceFlow id="f2" sourceRef="t" targetRef="e"/><endEvent id="e"/></process>
 </definitions>"""


def run(tmp_path, attributes, inside="", **variables):
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(PROCESS.format(attributes=attributes, inside=inside))
    asked = ["bpmn", "run", str(tmp_path / "p.bpmn"), "--no-input", "--json", "--state"]
    given = [f"--var={name}={json.dumps(value)}" for name, value in variables.items()]
    return json.loads(CliRunner().invoke(app, [*asked, str(tmp_path / "state"), *given]).stdout)


@pytest.mark.parametrize(
    ("decision", "mapping", "expected"),
    [
        ("risk", "singleEntry", "low"), ("risk", "singleResult", {"Risk": "low"}),
        ("risk", "collectEntries", ["low"]), ("risk", "resultList", [{"Risk": "low"}]),
        ("rollout", "singleResult", {"deploy": True, "share": 0.1}),
    ],
)  # fmt: skip
def test_a_business_rule_task_decides(tmp_path, decision, mapping, expected):
    attributes = (
        f'camunda:decisionRef="{decision}" camunda:resultVariable="r" '
        f'camunda:mapDecisionResult="{mapping}"'
    )
    values = {"model_accuracy": 0.97, "region": "EU"}
    assert run(tmp_path, attributes, **values)["variables"]["r"] == expected


def test_zeebes_called_decision(tmp_path):
    called = '<zeebe:calledDecision decisionId="rollout" resultVariable="r"/>'
    inside = f"<extensionElements>{called}</extensionElements>"
    found = run(tmp_path, "", inside, model_accuracy=0.2, region="EU")
    assert found["variables"]["r"] == {"deploy": False, "share": 0}


def test_a_decision_that_fails_is_an_incident_that_names_it(tmp_path):
    attributes = 'camunda:decisionRef="rollout" camunda:resultVariable="r"'
    found = run(tmp_path, attributes, model_accuracy=0.97, region="ASIA")
    assert "decision rollout" in found["incidents"][0]["message"]
    assert "'region'" in found["incidents"][0]["message"]


def test_the_history_keeps_inputs_rules_and_outputs_of_each_decision(tmp_path):
    called = 'camunda:decisionRef="rollout" camunda:resultVariable="r" '
    called += 'camunda:mapDecisionResult="singleResult"'
    found = run(tmp_path, called, model_accuracy=0.97, region="EU")
    (kept,) = found["decisions"]
    assert kept["element"] == "t"
    assert kept["inputs"] == {"model accuracy": 0.97, "region": "EU"}
    assert kept["decided"] == {"Risk": "low", "Rollout": {"deploy": True, "share": 0.1}}
    assert [each["rules"] for each in kept["matched"] if each["decision"] == "Rollout"] == [[1]]
    assert kept["output"] == {"deploy": True, "share": 0.1}
    for command in ("show", "history"):
        asked = ["bpmn", command, found["instance"], "--state", str(tmp_path / "state")]
        assert "Rollout: rule 1" in CliRunner().invoke(app, asked).stdout
        printed = CliRunner().invoke(app, [*asked, "--json"]).stdout
        (shown,) = json.loads(printed)["decisions"]
        assert {name: shown[name] for name in kept} == kept


def test_a_decision_that_fails_is_kept_with_its_rules_and_inputs(tmp_path):
    (tmp_path / "m.dmn").write_text(f"{HEAD}{table([('< 9', 1), ('> 1', 2)])}</definitions>")
    called = 'camunda:decisionRef="d" camunda:resultVariable="r"'
    found = run(tmp_path, called, x=5)
    message = "rules 1, 2 match x = 5, but the hit policy is UNIQUE"
    assert message in found["incidents"][0]["message"]
    assert message in found["decisions"][0]["error"]


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ({"inputs": {"region": "EU"}, "required": {"Risk": "low"}, "rules": {"Rollout": [1]}}, ""),
        ({"rules": {"Rollout": [2]}}, "rules of Rollout: expected [2], is [1]"),
        ({"output": 1}, "expected 1"),
        ({"error": "no rule"}, "expected the error 'no rule', is null"),
        ([{}, {}], "expected 2, there are 1"),
    ],
)
def test_scenarios_see_what_was_decided(tmp_path, expected, difference):
    called = 'camunda:decisionRef="rollout" camunda:resultVariable="r"'
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(PROCESS.format(attributes=called, inside=""))
    scenario = {
        "diagram": "p.bpmn", "variables": {"model_accuracy": 0.97, "region": "EU"},
        "expect": {"decisions": {"t": expected}},
    }  # fmt: skip
    (tmp_path / "s.json").write_text(json.dumps(scenario))
    played = CliRunner().invoke(app, ["bpmn", "test", str(tmp_path / "s.json")])
    assert played.exit_code == bool(difference)
    assert difference in played.stdout


def test_an_instance_keeps_the_model_that_it_began_with(tmp_path):
    body = PROCESS.format(
        attributes='camunda:decisionRef="risk" camunda:resultVariable="r"', inside=""
    )
    ask = '<userTask id="u"/><sequenceFlow id="f0" sourceRef="u" targetRef="t"/>'
    body = body.replace('targetRef="t"/><business', f'targetRef="u"/>{ask}<business')
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(body)
    state = ["--state", str(tmp_path / "state")]
    asked = ["bpmn", "run", str(tmp_path / "p.bpmn"), "--no-input", "--json", *state]
    waiting = json.loads(CliRunner().invoke(app, [*asked, "--var", "model_accuracy=1"]).stdout)
    (tmp_path / "rollout.dmn").unlink()
    task = waiting["waiting"][0]["task"]
    done = CliRunner().invoke(app, ["bpmn", "complete", task, *state, "--json"])
    assert json.loads(done.stdout)["variables"]["r"] == [{"Risk": "low"}]


def flowable(*fields):
    """Write a service task as Flowable's modeler does; a field is (name, kind, text)."""
    inside = "".join(
        f'<flowable:field name="{name}"><flowable:{kind}><![CDATA[{text}]]></flowable:{kind}>'
        "</flowable:field>"
        for name, kind, text in fields
    )
    return f"<extensionElements>{inside}</extensionElements>"


def run_flowable(tmp_path, *fields, model="", **variables):
    body = PROCESS.replace("businessRuleTask", "serviceTask")
    body = body.replace(" id=", ' xmlns:flowable="http://flowable.org/bpmn" id=', 1)
    (tmp_path / "rollout.dmn").write_text(model or ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    path.write_text(body.format(attributes='flowable:type="dmn"', inside=flowable(*fields)))
    state = ["--state", str(tmp_path / "state")]
    given = [f"--var={name}={json.dumps(value)}" for name, value in variables.items()]
    done = CliRunner().invoke(app, ["bpmn", "run", str(path), "--json", *state, *given])
    return done, json.loads(done.stdout) if done.stdout.startswith("{") else {}


KEY = "decisionTableReferenceKey"


@pytest.mark.parametrize(
    "field",
    [(KEY, "string", "rollout"), (KEY, "expression", "rollout"), (KEY, "string", "\nrollout ")],
)
def test_flowables_dmn_task_sets_a_variable_for_each_output(tmp_path, field):
    _, found = run_flowable(tmp_path, field, model_accuracy=0.97, region="EU")
    assert (found["variables"]["deploy"], found["variables"]["share"]) == (True, 0.1)


def test_flowables_dmn_task_collects_several_results_under_the_decisions_id(tmp_path):
    model = f"{HEAD}{table([('> 1', 1), ('> 2', 2)], 'COLLECT')}</definitions>"
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=3)
    assert found["variables"]["d"] == [{"o0": 1}, {"o0": 2}]
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=0)
    assert found["variables"]["d"] == []


def test_flowables_dmn_task_may_demand_that_a_rule_matches(tmp_path):
    model = f"{HEAD}{table([('> 1', 1)])}</definitions>"
    flag = ("decisionTaskThrowErrorOnNoHits", "string", "true")
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), flag, model=model, x=0)
    assert "decision d" in found["incidents"][0]["message"]
    assert "no rule matches" in found["incidents"][0]["message"]
    done, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=0)
    assert done.exit_code == 0
    assert "o0" not in found["variables"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], f"no field '{KEY}'"), ([(KEY, "expression", "${rule}")], "is computed"),
        ([(KEY, "string", "none")], "the DMN decision 'none' cannot be run"),
    ],
)  # fmt: skip
def test_flowables_dmn_task_without_a_decision_is_refused(tmp_path, fields, message):
    done, _ = run_flowable(tmp_path, *fields)
    assert done.exit_code == 65
    assert message in done.stderr


@pytest.mark.parametrize(
    ("asked", "unmet"),
    [
        ('Binding="version" camunda:decisionRefVersion="3"', "binding 'version'"),
        ('Binding="versionTag" camunda:decisionRefVersionTag="a"', "version tag 'a'"),
        ('Binding="oldest"', "binding 'oldest'"), ('Version="3"', "version '3'"),
        ('TenantId="acme"', "tenant 'acme'"),
        ('Binding="latest"', ""), ('Binding="deployment"', ""),
    ],
)  # fmt: skip
def test_a_version_that_cannot_be_honoured_is_an_error(tmp_path, asked, unmet):
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    attributes = f'camunda:decisionRef="rollout" camunda:decisionRef{asked}'
    path.write_text(PROCESS.format(attributes=attributes, inside=""))
    found = CliRunner().invoke(app, ["bpmn", "lint", str(path)])
    assert found.exit_code == (1 if unmet else 0)
    assert unmet in found.output


@pytest.mark.parametrize(
    ("asked", "unmet"),
    [
        ('bindingType="versionTag" versionTag="v1"', "no model has it with the version tag 'v1'"),
        ('bindingType="deployment"', ""), ('bindingType="latest"', ""),
    ],
)  # fmt: skip
def test_zeebes_bindings(tmp_path, asked, unmet):
    called = f'<zeebe:calledDecision decisionId="rollout" resultVariable="r" {asked}/>'
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    inside = f"<extensionElements>{called}</extensionElements>"
    path.write_text(PROCESS.format(attributes="", inside=inside))
    found = CliRunner().invoke(app, ["bpmn", "lint", str(path)])
    assert found.exit_code == (1 if unmet else 0)
    assert unmet in found.output


TAGGED = (
    'camunda:decisionRef="d" camunda:resultVariable="r" camunda:mapDecisionResult="singleEntry" '
    'camunda:decisionRefBinding="versionTag" camunda:decisionRefVersionTag="v2"'
)
CALLED = (
    '<zeebe:calledDecision decisionId="d" resultVariable="r" bindingType="versionTag" '
    'versionTag="v2"/>'
)


@pytest.mark.parametrize(
    ("attributes", "inside"),
    [
        (TAGGED, ""),
        ("", f"<extensionElements>{CALLED}</extensionElements>"),
    ],
)  # fmt: skip
def test_a_version_tag_chooses_among_the_models_beside_the_diagram(tmp_path, attributes, inside):
    spaces = ' xmlns:camunda="http://camunda.org/schema/1.0/dmn"'
    zeebe = ' xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'
    tagged = table([("-", 2)]).replace(
        '<decision id="d"', '<decision camunda:versionTag="v2" id="d"'
    )
    other = table([("-", 1)]).replace(
        '<decision id="d" name="d">',
        '<decision id="d" name="d"><extensionElements><zeebe:versionTag value="v1"/>'
        "</extensionElements>",
    )
    for name, body in (("one", other), ("two", tagged)):
        head = HEAD.replace(" name=", f"{spaces}{zeebe} name=", 1)
        (tmp_path / f"{name}.dmn").write_text(f"{head}{body}</definitions>")
    found = run(tmp_path, attributes, inside, x=1)
    assert found["variables"]["r"] == 2
    assert found["decisions"][0]["model"] == "two.dmn"


@pytest.mark.parametrize("attribute", ["stringValue", "expression"])
def test_flowables_fields_may_be_attributes(tmp_path, attribute):
    field = f'<flowable:field name="{KEY}" {attribute}="rollout"/>'
    body = PROCESS.replace("businessRuleTask", "serviceTask")
    body = body.replace(" id=", ' xmlns:flowable="http://flowable.org/bpmn" id=', 1)
    inside = f"<extensionElements>{field}</extensionElements>"
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    path.write_text(body.format(attributes='flowable:type="dmn"', inside=inside))
    asked = ["bpmn", "run", str(path), "--json", "--state", str(tmp_path / "state")]
    done = CliRunner().invoke(app, [*asked, "--var=model_accuracy=0.2", "--var=region=EU"])
    assert json.loads(done.stdout)["variables"]["deploy"] is False


def test_inputs_that_are_missing_or_unknown_are_named(tmp_path):
    def warnings_of(*arguments):
        return CliRunner().invoke(app, ["bpmn", *map(str, arguments)]).stderr

    accuracy = ("--var", "model accuracy=0.97")
    assert warnings_of("decide", ROLLOUT, *accuracy) == "warning: no value for 'region': null\n"
    assert warnings_of("decide", ROLLOUT, *accuracy, "--var", "region=EU") == ""
    wrong = ("--var", "accuracy=1", "--var", "region=EU", "-o", tmp_path / "x.svg")
    found = warnings_of("render", ROLLOUT, *wrong)
    assert "the model has no input 'accuracy'" in found
    assert "no value for 'model accuracy'" in found
    (tmp_path / "rows.csv").write_text("region,note\nEU,x\n")
    found = warnings_of("decide", ROLLOUT, "--table", tmp_path / "rows.csv")
    assert found.startswith("warning: no value for 'model accuracy': null\n1 row decided: ")


def test_contexts_are_printed_as_a_table_and_other_values_as_themselves(tmp_path):
    given = ["--var", "model accuracy=0.95", "--var", "region=US"]
    found = CliRunner().invoke(app, ["bpmn", "decide", str(ROLLOUT), *given])
    assert found.exit_code == 0
    heads, values = (
        [each.strip() for each in line.replace("┃", "│").split("│")[1:-1]]
        for line in found.stdout.splitlines()[1:4:2]
    )
    assert dict(zip(heads, values, strict=True)) == {"deploy": "true", "share": "0.5"}
    load(tmp_path, table([("-", '"[b]x"')]))
    plain = CliRunner().invoke(app, ["bpmn", "decide", str(tmp_path / "model.dmn"), "--var", "x=1"])
    assert plain.stdout == '"[b]x"\n'

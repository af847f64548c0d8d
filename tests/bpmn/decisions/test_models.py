"""Models of other shapes than the kit's: imports, long chains, functions that call each other."""

from __future__ import annotations

import pytest

from mlkit.bpmn import Decisions
from mlkit.errors import BadData

DMN = "https://www.omg.org/spec/DMN/20230324/MODEL/"
OLD = "http://www.omg.org/spec/DMN/20151101/dmn.xsd"


def write(folder, name, body, dmn=DMN, more=""):
    text = f'<definitions xmlns="{dmn}" id="m" name="{name}" namespace="urn:{name}" {more}>'
    (folder / f"{name}.dmn").write_text(f"{text}{body}</definitions>")
    return folder / f"{name}.dmn"


def literal(text):
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<literalExpression><text>{text}</text></literalExpression>"


def decision(name, logic, *requires, kind=""):
    """Requires are `input:`, `decision:` or `knowledge:` with a reference."""
    parts = []
    for each in requires:
        what, _, href = each.partition(":")
        group = "knowledge" if what == "Knowledge" else "information"
        parts.append(f'<{group}Requirement><required{what} href="{href}"/></{group}Requirement>')
    variable = f'<variable name="{name}" typeRef="{kind}"/>' if kind else ""
    logic = logic if logic.startswith("<") else literal(logic)
    return f'<decision id="{name}" name="{name}">{variable}{"".join(parts)}{logic}</decision>'


def data(name, kind="Any"):
    variable = f'<variable name="{name}" typeRef="{kind}"/>'
    return f'<inputData id="{name}" name="{name}">{variable}</inputData>'


def function(name, parameter, body, knows):
    return (
        f'<businessKnowledgeModel id="{name}" name="{name}"><encapsulatedLogic>'
        f'<formalParameter name="{parameter}"/>{literal(body)}</encapsulatedLogic>'
        f'<knowledgeRequirement><requiredKnowledge href="#{knows}"/></knowledgeRequirement>'
        "</businessKnowledgeModel>"
    )


def table(policy, outputs, *rules, column=""):
    rows = "".join(
        f"<rule><inputEntry><text>{test}</text></inputEntry>"
        f"<outputEntry><text>{result}</text></outputEntry></rule>"
        for test, result in rules
    )
    return (
        f'<decisionTable hitPolicy="{policy}"><input><inputExpression><text>x</text>'
        f"</inputExpression>{column}</input>{outputs}{rows}</decisionTable>"
    )


def levels(folder):
    kinds = (
        '<itemDefinition name="tLevel"><typeRef>string</typeRef>'
        '<allowedValues><text>"high", "low"</text></allowedValues></itemDefinition>'
    )
    body = kinds + data("base", "number") + decision("double", "base * 2", "Input:#base")
    write(folder, "levels", body)
    write(folder, "seven", decision("seven", "7"))


def importing(name, other):
    return f'<import name="{name}" namespace="urn:{other}" importType="{DMN}"/>'


def test_functions_may_call_each_other(tmp_path):
    body = function("even", "n", "if n = 0 then true else odd(n - 1)", "odd")
    body += function("odd", "n", "if n = 0 then false else even(n - 1)", "even")
    body += decision("answer", "even(7)", "Knowledge:#even")
    assert Decisions(write(tmp_path, "m", body)).decide("answer") is False


def test_functions_that_never_end_are_refused(tmp_path):
    body = function("loop", "n", "loop(n)", "loop")
    body += decision("answer", "loop(1)", "Knowledge:#loop")
    with pytest.raises(BadData, match="nest too deeply"):
        Decisions(write(tmp_path, "m", body)).decide("answer")


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_chain_of_decisions_is_decided(tmp_path, backwards):
    chain = [decision("d0", "1")]
    chain += [decision(f"d{n}", f"d{n - 1} + 1", f"Decision:#d{n - 1}") for n in range(1, 400)]
    path = write(tmp_path, "m", "".join(chain[::-1] if backwards else chain))
    assert Decisions(path).decide("d399") == 400


def test_decisions_that_require_themselves_by_others_are_refused(tmp_path):
    body = decision("a", "b", "Decision:#b") + decision("b", "a", "Decision:#a")
    with pytest.raises(BadData, match="requires itself"):
        Decisions(write(tmp_path, "m", body))


def test_several_imports_may_have_no_name(tmp_path):
    levels(tmp_path)
    body = importing("", "levels") + importing("", "seven") + data("level", "tLevel")
    body += decision(
        "sum", "double + seven", "Decision:urn:levels#double", "Decision:urn:seven#seven"
    )
    body += decision("same", "level", "Input:#level")
    found = Decisions(write(tmp_path, "m", body))
    assert found.problems == ()
    assert found.decide("sum", base=5) == 17
    assert found.decide("same", level="high") == "high"
    assert found.decide("same", level="other") is None


def test_inputs_of_an_import_may_be_entries_of_its_context(tmp_path):
    levels(tmp_path)
    body = importing("the levels", "levels")
    body += decision("sum", "the levels.double + 1", "Decision:urn:levels#double")
    found = Decisions(write(tmp_path, "m", body))
    assert found.decide("sum", **{"the levels": {"base": 5}}) == 11
    assert found.decide("sum", **{"the levels.base": 6}) == 13


def test_a_prefix_of_a_type_is_the_import_of_its_namespace(tmp_path):
    levels(tmp_path)
    body = importing("lib", "levels") + data("level", "other:tLevel")
    body += decision("same", "level", "Input:#level")
    found = Decisions(write(tmp_path, "m", body, OLD, 'xmlns:other="urn:levels"'))
    assert found.problems == ()
    assert found.decide("same", level="low") == "low"
    assert found.decide("same", level="other") is None


@pytest.mark.parametrize("kind", ["lib.tLevel", "tOwn"])
def test_the_order_of_outputs_is_that_of_their_type_wherever_it_is(tmp_path, kind):
    levels(tmp_path)
    own = '<itemDefinition name="tOwn"><typeRef>lib.tLevel</typeRef></itemDefinition>'
    rules = table("PRIORITY", f'<output typeRef="{kind}"/>', ("-", '"low"'), ("-", '"high"'))
    body = importing("lib", "levels") + own + data("x") + decision("best", rules, "Input:#x")
    assert Decisions(write(tmp_path, "m", body)).decide("best", x=1) == "high"


def test_a_result_that_is_no_output_value_is_null_for_a_reason(tmp_path):
    outputs = "<output><outputValues><text>1, 2</text></outputValues></output>"
    rules = table("UNIQUE", outputs, ("1", "2"), ("2", "99"), ("3", "[1, 2]"))
    body = data("x") + decision("result", rules, "Input:#x")
    found = Decisions(write(tmp_path, "m", body))
    assert found.decide("result", x=1) == 2
    assert found.decide("result", x=3) == [1, 2]
    decided = found.evaluate("result", {"x": 2})
    assert decided.value is None
    assert decided.trace.notes == ["result: rule 2, output: 99 is not one of 1, 2"]


@pytest.mark.parametrize(("values", "result"), [("1, 2", None), ("1, 2, null", 7)])
def test_null_is_no_input_value_unless_it_is_listed(tmp_path, values, result):
    column = f"<inputValues><text>{values}</text></inputValues>"
    rules = table("FIRST", "<output/>", ("-", "7"), column=column)
    found = Decisions(write(tmp_path, "m", data("x") + decision("d", rules, "Input:#x")))
    assert found.decide("d") == result
    assert bool(found.evaluate("d", {}).trace.notes) is (result is None)


def test_each_item_of_a_list_is_one_of_the_input_values(tmp_path):
    column = "<inputValues><text>1, 2, 3</text></inputValues>"
    rules = table(
        "FIRST", "<output/>", ("list contains(?, 2)", "true"), ("-", "false"), column=column
    )
    found = Decisions(write(tmp_path, "m", data("x") + decision("has", rules, "Input:#x")))
    assert found.decide("has", x=[1, 2]) is True
    assert found.decide("has", x=[1, 3]) is False
    assert found.decide("has", x=[1, 4]) is None


def test_a_date_is_a_date_and_time_where_one_is_wanted(tmp_path):
    body = decision("moment", '@"2024-01-01"', kind="date and time")
    body += decision("same", 'moment = @"2024-01-01T00:00:00Z"', "Decision:#moment")
    assert Decisions(write(tmp_path, "m", body)).decide("same") is True


def test_a_column_has_the_type_of_the_input_that_it_names(tmp_path):
    kinds = (
        '<itemDefinition name="tRegion"><typeRef>string</typeRef>'
        '<allowedValues><text>"EU", "US"</text></allowedValues></itemDefinition>'
    )
    rules = table("UNIQUE", "<output/>", ('"EU"', "1"))
    body = kinds + data("x", "tRegion") + decision("share", rules, "Input:#x")
    found = Decisions(write(tmp_path, "m", body)).analyse()
    assert [each.message for each in found] == ['no rule matches x = "US"']


def test_a_cell_of_another_type_than_the_input_that_its_column_names_is_a_problem(tmp_path):
    rules = table("UNIQUE", "<output/>", ('"EU"', "1"), ("-", "2"))
    body = data("x", "number") + decision("share", rules, "Input:#x")
    found = Decisions(write(tmp_path, "m", body)).analyse()
    assert found[0].message == "a number is compared with a string"


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [("number", True), ("Any", True), ("string", False), ("number, number", False)],
)
def test_a_function_is_of_the_type_of_its_parameters(tmp_path, wanted, fits):
    text = f"(function(x: number) x + 1) instance of function&lt;{wanted}> -> number"
    logic = f"<literalExpression><text>{text}</text></literalExpression>"
    assert Decisions(write(tmp_path, "m", decision("fits", logic))).decide("fits") is fits

"""Forms of form-js: found beside the diagram, asked, and refused field by field."""

from __future__ import annotations

import json
import re

import pytest
from commands import run_mlkit

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.people.tasks import describe, fill, waiting
from mlkit.bpmn.runtime.diagrams import engine_of
from mlkit.errors import BadData
from tests.cli.terminal import bpmn_on_a_terminal

FORM = {
    "id": "review",
    "type": "default",
    "schemaVersion": 16,
    "components": [
        {"type": "text", "text": "# Review"},
        {"type": "textfield", "key": "owner", "label": "Owner", "validate": {"required": True}},
        {"type": "textfield", "key": "mail", "validate": {"validationType": "email"}},
        {
            "type": "group",
            "components": [
                {
                    "type": "number",
                    "key": "share",
                    "defaultValue": 0,
                    "validate": {"min": 0, "max": 1},
                },
                {"type": "number", "key": "count", "decimalDigits": 0},
            ],
        },
        {
            "type": "select",
            "key": "level",
            "values": [{"label": "Low", "value": "low"}, {"label": "High", "value": "high"}],
        },
        {
            "type": "checklist",
            "key": "tags",
            "values": [{"label": "A", "value": "a"}, {"label": "B", "value": "b"}],
        },
        {"type": "datetime", "subtype": "date", "key": "day", "dateLabel": "Day"},
        {"type": "checkbox", "key": "ok", "label": "Fine?", "defaultValue": False},
        {"type": "textarea", "key": "note", "validate": {"pattern": "^[a-z ]*$", "maxLength": 9}},
        {"type": "textfield", "key": "seen", "readonly": True},
    ],
}
CAMUNDA = 'xmlns:camunda="http://camunda.org/schema/1.0/bpmn"'
ZEEBE = 'xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'


def diagram(task, vendor=CAMUNDA, beside=""):
    return (
        f'<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" {vendor}>'
        f'<process id="p" isExecutable="true">{beside}<startEvent id="s"/>'
        f'<userTask id="u"{task}</userTask><endEvent id="e"/>'
        '<sequenceFlow id="f1" sourceRef="s" targetRef="u"/>'
        '<sequenceFlow id="f2" sourceRef="u" targetRef="e"/></process></definitions>'
    )


LINKS = {
    "formKey": diagram(' camunda:formKey="camunda-forms:deployment:review.form">'),
    "bare key": diagram(' camunda:formKey="review.form">'),
    "formRef": diagram(' camunda:formRef="review" camunda:formRefBinding="latest">'),
    "formId": diagram(
        '><extensionElements><zeebe:formDefinition formId="review"/></extensionElements>', ZEEBE
    ),
    "embedded": diagram(
        "><extensionElements><zeebe:formDefinition"
        ' formKey="camunda-forms:bpmn:f1"/></extensionElements>',
        ZEEBE,
        f'<extensionElements><zeebe:userTaskForm id="f1"><![CDATA[{json.dumps(FORM)}]]>'
        "</zeebe:userTaskForm></extensionElements>",
    ),
}


@pytest.fixture
def mlkit(tmp_path):
    (tmp_path / "review.form").write_text(json.dumps(FORM))

    def run(*arguments):
        return run_mlkit("bpmn", *arguments, cwd=tmp_path)

    return run


@pytest.fixture
def found(tmp_path):
    def problems(xml):
        definitions = parse_text(xml.encode(), tmp_path / "d.bpmn")
        return [
            f"{each.severity} {each.rule}: {each.message}" for each in lint(definitions, tmp_path)
        ]

    return problems


@pytest.mark.parametrize("link", LINKS)
def test_a_form_is_found_and_its_values_are_checked(mlkit, tmp_path, link):
    (tmp_path / "d.bpmn").write_text(LINKS[link])
    ran = mlkit("run", "d.bpmn", "--var", "owner=ann", "--var", "tags=a", "--json")
    assert ran.returncode == 3, ran.stderr
    (open_,) = json.loads(ran.stdout)["waiting"]
    defaults = {each["id"]: each["default"] for each in open_["form"]}
    assert defaults == {
        "owner": "ann", "mail": None, "share": "0", "count": None, "level": None, "tags": "a",
        "day": None, "ok": "false", "note": None, "seen": None,
    }  # fmt: skip

    (tmp_path / "review.form").unlink()  # the instance has its own copy
    wrong = {
        "owner": "", "mail": "nobody", "share": "2", "count": "1.5", "level": "mid",
        "tags": "a,c", "day": "soon", "ok": "maybe", "note": "<script>", "seen": "x", "odd": "1",
    }  # fmt: skip
    given = [word for name, value in wrong.items() for word in ("--set", f"{name}={value}")]
    refused = mlkit("complete", open_["task"], *given)
    assert refused.returncode == 65
    for problem in (
        "owner: is required", "mail: 'nobody' does not match", "share: more than max 1",
        "count: '1.5' is not a long", "level: 'mid' is not one of low, high",
        "tags: 'c' is not one of a, b",
        "day: 'soon' is not a date", "ok: 'maybe' is not a boolean",
        "note: '<script>' does not match",
        "seen: is read-only", "odd: no such field",
    ):  # fmt: skip
        assert problem in refused.stderr

    right = {
        "mail": "ann@example.org", "share": "0.5", "count": "3", "level": "high", "tags": "b,a",
        "day": "2026-01-31", "ok": "yes", "note": "fine",
    }  # fmt: skip
    given = [word for name, value in right.items() for word in ("--set", f"{name}={value}")]
    done = mlkit("complete", open_["task"], *given, "--json")
    assert done.returncode == 0, done.stderr
    variables = json.loads(done.stdout)["variables"]
    assert variables["owner"] == "ann"
    assert (variables["share"], variables["count"]) == (0.5, 3)
    assert (variables["level"], variables["tags"]) == ("high", ["b", "a"])
    assert variables["ok"] is True
    assert "2026-01-31" in str(variables["day"])


def one(kind, **rest):
    """A form of one component."""
    return json.dumps({"components": [{"type": kind, "key": "x", **rest}]})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "error form.broken: the form a.form: line 1, column 2"),
        ("[1]", "it is not a form-js form"),
        pytest.param("[" * 100_000, "it is not a form-js form", id="deep"),
        (one("signature"), "error form.type: the form a.form: field 'x': no type 'signature'"),
        (one("dynamiclist", label="L"), "form.name: the form a.form: list 'L': it has no path"),
        (json.dumps({"components": [{"type": "textfield", "key": "a b"}]}), "error form.name"),
        (
            json.dumps(
                {
                    "components": [
                        {
                            "type": "group",
                            "path": "$x",
                            "components": [{"type": "textfield", "key": "a"}],
                        }
                    ]
                }
            ),
            "error form.name: the form a.form: field 'a': '$x' is not the name of a variable",
        ),
        (one("textfield", validate={"pattern": "("}), "form.pattern: the form a.form: field 'x'"),
        (one("textfield", conditional={"hide": "=1 +"}), "form.expression: the form a.form: fiel"),
        (one("textfield", conditional={"hide": "=evil()"}), "there is no function 'evil'"),
        (one("expression"), "form.expression: the form a.form: field 'x': it has no expression"),
        (one("select"), "error form.options: the form a.form: field 'x': it has no options"),
    ],
)
def test_a_form_that_cannot_be_asked_is_told_by_lint(found, tmp_path, text, problem):
    (tmp_path / "a.form").write_text(text)
    assert any(problem in each for each in found(diagram(' camunda:formKey="a.form">')))


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ('formKey="no.form"', "error form.missing: the form no.form: No such"),
        ('formKey="../../x.form"', "it is not beside the diagram"),
        ('formRef="other"', "no .form file has it as its id"),
    ],
)
def test_a_form_that_is_missing_is_told_by_lint(found, link, problem):
    assert any(problem in each for each in found(diagram(f" camunda:{link}>")))


def test_two_forms_of_one_id_are_an_error(found, tmp_path):
    for name in ("a.form", "b.form"):
        (tmp_path / name).write_text(json.dumps(FORM))
    xml = LINKS["formRef"]
    assert any("a.form and b.form have it as its id" in each for each in found(xml))


RICH = {
    "id": "order",
    "components": [
        {"type": "select", "key": "kind", "validate": {"required": True},
         "values": [{"label": "Private", "value": "private"}, {"label": "Firm", "value": "firm"}]},
        {"type": "textfield", "key": "tax_id", "validate": {"required": True},
         "conditional": {"hide": '=kind != "firm"'}},
        {"type": "group", "label": "Address", "path": "address",
         "conditional": {"hide": '=kind = "private"'}, "components": [
             {"type": "textfield", "key": "street", "validate": {"required": True}},
             {"type": "textfield", "key": "state", "conditional": {"hide": '=this.street = "x"'}},
         ]},
        {"type": "select", "key": "region", "valuesKey": "regions"},
        {"type": "number", "key": "price", "validate": {"min": 0, "max": "=limit"}},
        {"type": "number", "key": "amount", "decimalDigits": 0, "serializeToString": True},
        {"type": "expression", "key": "total", "expression": "=price * 2"},
        {"type": "textfield", "key": "why", "readonly": "=price < 10"},
        {"type": "dynamiclist", "path": "items", "components": [
            {"type": "textfield", "key": "name", "validate": {"required": True}},
            {"type": "number", "key": "size", "validate": {"max": 5}},
        ]},
        {"type": "checkbox", "key": "fast"},
        {"type": "textfield", "key": "note"},
    ],
}  # fmt: skip


@pytest.fixture
def task(tmp_path):
    """The waiting task of a form, with variables; `fill` gives its values or its problems."""

    def make(form=RICH, **variables):
        (tmp_path / "a.form").write_text(json.dumps(form))
        xml = diagram(' camunda:formKey="a.form">')
        engine = engine_of(parse_text(xml.encode(), tmp_path / "d.bpmn"))
        state = engine.create()
        engine.apply(state, Start(variables), 0.0)
        return waiting("i", engine, state)[0]

    return make


def refused(task, given):
    with pytest.raises(BadData) as caught:
        fill(task, given)
    return caught.value.message


PRIVATE = {"kind": "private", "price": "20", "region": "north"}


def test_a_hidden_field_is_neither_asked_nor_required_nor_taken(task):
    open_ = task(regions=["north"], limit=50)
    assert [each["id"] for each in describe(open_)][:3] == ["kind", "address.street",
                                                              "address.state"]  # fmt: skip
    values = fill(open_, PRIVATE)
    assert "tax_id" not in values
    assert "address" not in values
    assert "tax_id: is hidden" in refused(open_, {**PRIVATE, "tax_id": "1"})
    firm = {**PRIVATE, "kind": "firm"}
    message = refused(open_, firm)
    assert "tax_id: is required" in message
    assert "address.street: is required" in message


def test_a_group_with_a_path_makes_an_object_and_a_condition_sees_it(task):
    open_ = task(regions=["north"], limit=50)
    firm = {**PRIVATE, "kind": "firm", "tax_id": "1"}
    given = {"address.street": "Main St", "address.state": "OR"}
    assert fill(open_, firm | given)["address"] == {"street": "Main St", "state": "OR"}
    whole = {"address": {"street": "Main St"}}
    assert fill(open_, firm | whole)["address"] == {"street": "Main St", "state": None}
    assert "address.state: is hidden" in refused(open_, firm | {**given, "address.street": "x"})


def test_a_part_of_an_object_is_filled_in_before(task):
    open_ = task(address={"street": "Oak"}, kind="firm")
    assert open_.defaults == {"kind": "firm", "address.street": "Oak"}


def test_options_limits_and_locks_come_out_of_data(task):
    open_ = task(regions=[{"value": "n", "label": "North"}, "south"], limit=30)
    message = refused(open_, {**PRIVATE, "price": 31})
    assert "region: 'north' is not one of n, south" in message
    assert "price: more than max 30" in message
    right = {**PRIVATE, "region": "n", "price": 9}
    assert "why: is read-only" in refused(open_, {**right, "why": "cheap"})
    assert fill(open_, {**right, "price": 11, "why": "dear"})["why"] == "dear"


def test_computed_and_textual_values(task):
    values = fill(task(regions=["north"], limit=30), {**PRIVATE, "amount": "7"})
    assert values["total"] == 40
    assert values["amount"] == "7"
    assert "amount: 'x' is not a long" in refused(task(), {**PRIVATE, "amount": "x"})
    assert "total: is read-only" in refused(task(), {**PRIVATE, "total": 1})


def test_the_rows_of_a_list_are_checked_one_by_one(task):
    open_ = task(regions=["north"], limit=30)
    rows = [{"name": "a", "size": "2"}, {"name": "b"}]
    expected = [{"name": "a", "size": 2.0}, {"name": "b", "size": None}]
    assert fill(open_, {**PRIVATE, "items": rows})["items"] == expected
    message = refused(open_, {**PRIVATE, "items": [{"name": "a"}, {"size": 9, "odd": 1}]})
    assert "items: row 2: odd: no such field, name: is required, size: more than max 5" in message
    assert "items: is not a list" in refused(open_, {**PRIVATE, "items": "a,b"})


def test_what_is_left_empty_is_null_and_an_unchecked_box_is_false(task):
    values = fill(task(regions=["north"], limit=30), PRIVATE)
    assert (values["note"], values["fast"]) == (None, False)


def test_a_pattern_that_backtracks_without_end_does_not_hang_who_fills_the_form(task):
    form = {"components": [{"type": "textfield", "key": "a", "validate": {"pattern": "^(a|a)*$"}}]}
    assert "a: takes too long to compare" in refused(task(form), {"a": "a" * 60 + "!"})
    assert fill(task(form), {"a": "aa"}) == {"a": "aa"}


@pytest.mark.parametrize("text", ["1_0", "\u0663", "0x10", "1e999", "nan", "", "9" * 5000])
def test_only_plain_numbers_are_numbers(task, text):
    form = {"components": [{"type": "number", "key": "n", "decimalDigits": 0,
                            "validate": {"required": True}}]}  # fmt: skip
    assert refused(task(form), {"n": text}).startswith("task i/2: n: ")


def test_a_read_only_field_that_shows_no_variable_gives_its_default(task):
    form = {"components": [{"type": "textfield", "key": "a", "readonly": True,
                            "defaultValue": "fixed"}]}  # fmt: skip
    assert fill(task(form), {}) == {"a": "fixed"}
    assert fill(task(form, a="known"), {}) == {}


@pytest.mark.parametrize("value", [{"$date": "x"}, {"$float": "y"}, [1], {"a": {"b": 1}}])
def test_a_value_of_the_wrong_shape_is_refused(task, value):
    assert "note: " in refused(task(regions=["north"], limit=30), {**PRIVATE, "note": value})


SCRIPTS = (
    "${1 + 1}", "=1 + 1", "#{x}", "__import__('os').system('touch owned')", "<script>a</script>",
    "'); import os; os._exit(1)", "{{ 7 * 7 }}", "\x1b[2J",
)  # fmt: skip


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_value_that_is_a_script_stays_text(task, text):
    values = fill(task(regions=["north"], limit=30), {**PRIVATE, "note": text})
    assert values["note"] == text.strip()


def test_a_value_that_is_a_script_runs_nowhere(mlkit, tmp_path):
    """Not in the form shown next, nor a condition, a mapping, a script or the picture."""
    xml = diagram(' camunda:assignee="${note}" camunda:formKey="a.form">').replace(
        '<endEvent id="e"/>',
        '<scriptTask id="w" name="W"><script>seen = note</script></scriptTask><endEvent id="e"/>',
    ).replace('sourceRef="u" targetRef="e"/>', 'sourceRef="u" targetRef="w"/>'
              '<sequenceFlow id="f3" sourceRef="w" targetRef="e"><conditionExpression>'
              "${note == seen}</conditionExpression></sequenceFlow>")  # fmt: skip
    (tmp_path / "a.form").write_text(one("textfield").replace('"x"', '"note"'))
    (tmp_path / "d.bpmn").write_text(xml)
    for text in SCRIPTS[:-1]:
        ran = json.loads(mlkit("run", "d.bpmn", "--var", f"note={text}", "--json").stdout)
        assert ran["waiting"][0]["assignee"] == text
        assert ran["waiting"][0]["form"][0]["default"] == text
        done = mlkit("complete", ran["waiting"][0]["task"], "--set", f"note={text}", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["variables"] == {"note": text, "seen": text}
    assert not (tmp_path / "owned").exists()


def test_a_terminal_asks_only_for_what_is_shown_by_the_answers_so_far(tmp_path):
    form = {"components": [each for each in RICH["components"]
                           if each.get("key") in ("kind", "tax_id", "total", "price", "why")
                           or each.get("path") == "items"]}  # fmt: skip
    (tmp_path / "a.form").write_text(json.dumps(form))
    (tmp_path / "d.bpmn").write_text(diagram(' camunda:formKey="a.form">'))
    answers = ["firm", "T1", "6", "y", "bolt", "3", "n"]
    printed, code = bpmn_on_a_terminal(["run", "d.bpmn", "--var", "limit=50"], tmp_path, answers)
    assert code == 0, printed
    assert printed.index("kind") < printed.index("tax_id") < printed.index("price")
    assert "why" not in printed  # read-only below 10
    answers = ["", "private", "60", "x", "20", "dear", "n"]
    again, code = bpmn_on_a_terminal(["run", "d.bpmn", "--var", "limit=50"], tmp_path, answers)
    assert code == 0, again
    assert "tax_id" not in again
    assert re.findall(r"error: (.*?)\s*\n", again) == [
        "kind: is required", "price: more than max 50", "price: 'x' is not a double"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["Infinity", "-Infinity", "NaN"])
def test_words_that_json_has_not_are_text(text):
    from mlkit.cli.bpmn.options import pairs

    assert pairs([f"x={text}"], "--var") == {"x": text}


@pytest.mark.parametrize("text", ["1e400", "-1e999999999", '{"a": [1e400]}'])
def test_numbers_that_cannot_be_kept_are_refused(text):
    from mlkit.cli.bpmn.options import pairs

    with pytest.raises(BadData, match=r"1\.8e308"):
        pairs([f"x={text}"], "--var")

"""Forms of form-js: found beside the diagram, asked, and refused field by field."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mlkit.bpmn.parser import parse_text
from mlkit.bpmn.validation import lint

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
        return subprocess.run(
            [sys.executable, "-m", "mlkit", "bpmn", *map(str, arguments)],
            capture_output=True, text=True, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL,
        )  # fmt: skip

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
    (waiting,) = json.loads(ran.stdout)["waiting"]
    defaults = {each["id"]: each["default"] for each in waiting["form"]}
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
    refused = mlkit("complete", waiting["task"], *given)
    assert refused.returncode == 65
    for problem in (
        "owner: is required", "mail: 'nobody' does not match", "share: more than max 1",
        "count: '1.5' is no long", "level: 'mid' is none of low, high", "tags: 'c' is none of a, b",
        "day: 'soon' is no date", "ok: 'maybe' is no boolean", "note: '<script>' does not match",
        "seen: is read-only", "odd: no such field",
    ):  # fmt: skip
        assert problem in refused.stderr

    right = {
        "mail": "ann@example.org", "share": "0.5", "count": "3", "level": "high", "tags": "b,a",
        "day": "2026-01-31", "ok": "yes", "note": "fine",
    }  # fmt: skip
    given = [word for name, value in right.items() for word in ("--set", f"{name}={value}")]
    done = mlkit("complete", waiting["task"], *given, "--json")
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
        ("[1]", "it is no form-js form"),
        pytest.param("[" * 100_000, "it is no form-js form", id="deep"),
        (one("signature"), "error form.type: the form a.form: field 'x': no type 'signature'"),
        (one("group", path="a"), "group 'a': fields in a path are not supported"),
        (one("textfield", validate={"pattern": "("}), "form.pattern: the form a.form: field 'x'"),
        (one("textfield", conditional={"hide": "=true"}), "warning form.conditional: the form"),
        (one("select", valuesKey="all"), "warning form.options: the form a.form: field 'x'"),
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

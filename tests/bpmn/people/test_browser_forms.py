"""A browser, a terminal and a program get the same answers from a form."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.people import browser_forms
from mlkit.bpmn.people.forms import Entry
from mlkit.bpmn.people.masking import NO_MASK
from mlkit.bpmn.server.task_form import Submitted, read_given
from mlkit.errors import ServiceUnavailable
from mlkit.web.paths import Upload

NAMES = st.sampled_from(["a", "b", "c.d", "c.e", "f"])
TEXTS = st.sampled_from(
    ["", "1", "2.5", "x", "true", "no", "2026-02-03", "red", "blue", "nan", "<b>", "a\r\nb"]
) | st.text(max_size=5)
FIELDS = st.builds(
    FormField,
    id=NAMES,
    label=st.text(max_size=5),
    type=st.sampled_from(["string", "long", "double", "boolean", "date", "enum", "list"]),
    required=st.booleans(),
    readonly=st.booleans(),
    options=st.just({"red": "Red", "blue": "Blue"}),
    limits=st.sampled_from([{}, {"min": 2.0}, {"maxlength": 3.0}]),
    hidden=st.sampled_from([(), (Expression('=a = "x"', "feel"),)]),
)
FORMS = st.lists(FIELDS, max_size=4, unique_by=lambda field: field.id).map(tuple)
SUBMITTED = st.dictionaries(
    NAMES.map(lambda name: browser_forms.PREFIX + name), st.lists(TEXTS, max_size=3), max_size=5
)


def keep(value):
    raise AssertionError("no field takes files")


def entry(form, values):
    return Entry(form, values, {}, {})


def test_a_file_that_cannot_be_stored_now_keeps_the_other_fields():
    def refuse(value):
        raise ServiceUnavailable("s3://bucket: it is away")

    form = (FormField("note", "Note", "string"), FormField("doc", "Document", "file"))
    upload = Upload("field.doc", "a.pdf", b"pdf")
    prefix = browser_forms.PREFIX
    submitted = Submitted({f"{prefix}note": ["seen"], f"{prefix}doc": [upload]})
    values, (problem,) = read_given(form, submitted, refuse, NO_MASK)
    assert values == {"note": "seen", "doc": None}
    assert problem.startswith("the file was not stored: ")
    values, problems = read_given(form, submitted, lambda value: {"name": value.name}, NO_MASK)
    assert (values["doc"], problems) == ({"name": "a.pdf"}, [])


@settings(deadline=None, max_examples=80)
@given(FORMS, SUBMITTED)
def test_what_a_browser_sends_is_checked_as_what_a_program_gives(form, submitted):
    submitted = {name: values for name, values in submitted.items() if values}
    given_values = browser_forms.read_submitted(form, submitted, keep)
    found, values = browser_forms.drop_hidden(form, given_values, lambda it: entry(form, it))
    assert found.values() == entry(form, values).values()
    shown = {each.id for each in found.list_shown() if not each.readonly}
    assert set(values) <= shown
    # Nothing that the form itself sends is refused as unknown, hidden or read-only.
    for problem in found.values()[1]:
        assert "no such field" not in problem
        assert "is hidden" not in problem
        assert "is read-only" not in problem


@settings(deadline=None, max_examples=80)
@given(FORMS, SUBMITTED)
def test_what_was_filled_in_is_shown_again_and_sends_the_same(form, submitted):
    submitted = {name: values for name, values in submitted.items() if values}
    first = browser_forms.read_submitted(form, submitted, keep)
    found, _ = browser_forms.drop_hidden(form, first, lambda it: entry(form, it))
    problems = browser_forms.problems_by_field(found.values()[1])
    again: dict[str, list[str]] = {}
    for each in browser_forms.inputs(found, problems):
        if each.kind == "checkbox":
            again[each.name] = ["true"] if each.value else []
        elif each.kind in ("checklist", "radio"):
            again[each.name] = [name for name in each.options if name in each.chosen]
        elif each.kind == "select":
            again[each.name] = [each.value] if each.value in each.options else [""]
        elif each.kind != "output":
            again[each.name] = [each.value]
        assert bool(each.problem) == (each.name.removeprefix("field.") in problems)
    second = browser_forms.read_submitted(form, again, keep)
    kept, _ = browser_forms.drop_hidden(form, second, lambda it: entry(form, it))
    if not problems:
        assert kept.values() == found.values()


def test_rows_are_added_filled_and_removed():
    row = FormField("price", "Price", "double", required=True)
    form = (FormField("items", "Items", "rows", fields=(row,)),)
    added = browser_forms.read_submitted(form, {"add": ["field.items"]}, keep)
    assert added == {"items": [{}]}
    sent = {
        "field.items.row": ["0", "1", "x"],
        "field.items.0.price": ["1.5"],
        "field.items.1.price": ["2"],
    }
    assert browser_forms.read_submitted(form, sent, keep) == {
        "items": [{"price": "1.5"}, {"price": "2"}]
    }
    less = browser_forms.read_submitted(form, {**sent, "remove": ["field.items.0"]}, keep)
    assert less == {"items": [{"price": "2"}]}
    (shown,) = browser_forms.inputs(entry(form, {"items": [{"price": "x"}]}))
    assert shown.rows[0][0].problem == "'x' is not a double"


def test_a_form_with_one_boolean_is_decided_by_two_buttons():
    yes = FormField("yes", "Yes?", "boolean")
    assert browser_forms.decision_field(()) == ""
    assert browser_forms.decision_field((yes, FormField("a", "A"))) == "yes"
    assert browser_forms.decision_field((yes, FormField("no", "No?", "boolean"))) is None
    assert browser_forms.decision_field((FormField("a", "A"),)) is None


def test_a_file_is_accepted_only_as_one_that_was_uploaded():
    form = (FormField("doc", "Doc", "file"),)
    stored = {"$artifact": "a" * 64, "format": "file", "name": "x", "kind": "os.system"}
    values, problems = entry(form, {"doc": stored}).values()
    assert problems == []
    assert values["doc"]["kind"] == "file"
    for wrong in ({**stored, "format": "pickle"}, {**stored, "$artifact": "../x"}, "text", [1],
                  {"$artifact": "a" * 64}):  # fmt: skip
        assert entry(form, {"doc": wrong}).values()[1] == ["doc: is not an uploaded file"]

"""Typed variables of Camunda 7 to stored values and back."""

from __future__ import annotations

import pytest

from mlkit.bpmn.server.engine_rest.errors import RestError
from mlkit.bpmn.server.engine_rest.typed import check_name, content, decode, encode
from mlkit.workers.child.values import unpack

FILE = {"filename": "a b.txt", "mimeType": "text/plain", "encoding": "UTF-8"}
OBJECT = {"objectTypeName": "java.util.HashMap", "serializationDataFormat": "application/json"}
SAME = [
    ("String", "é", {}, "é"),
    ("Boolean", True, {}, True),
    ("Integer", -(2**31), {}, -(2**31)),
    ("Short", 5, {}, 5),
    ("Long", 5, {}, 5),
    ("Long", 2**40, {}, 2**40),
    ("Double", 5.0, {}, 5.0),
    ("Bytes", "YWIA", {}, b"ab\0"),
    ("Json", '{"a":[1,2.5]}', {}, {"a": [1, 2.5]}),
    ("Json", '"text"', {}, "text"),
    ("Json", '{"$a": 1}', {}, {"$a": 1}),
    ("Xml", "<a>1</a>", {}, "<a>1</a>"),
    ("Object", '{"a": 1}', OBJECT, {"a": 1}),
    ("Null", None, {}, None),
    ("Integer", None, {}, None),
    ("Date", "2013-01-23T11:42:42.123+0000", {}, None),
]


@pytest.mark.parametrize(("kind", "value", "info", "seen"), SAME)
def test_a_typed_variable_comes_back_and_scripts_see_its_value(kind, value, info, seen):
    kept = decode({"type": kind, "value": value, "valueInfo": info})
    assert encode(kept).document == {"type": kind, "value": value, "valueInfo": info}
    if kind != "Date":
        assert unpack(kept) == seen


def test_a_file_is_shown_without_its_bytes_and_downloaded():
    kept = decode({"type": "file", "value": "aGVsbG8=", "valueInfo": FILE})
    assert encode(kept).document == {"type": "File", "value": None, "valueInfo": FILE}
    assert content(kept) == (b"hello", FILE)
    assert unpack(kept) == b"hello"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, "Integer"), (2**31, "Long"), (1.5, "Double"), ("x", "String"), (True, "Boolean"),
     (None, "Null"), ([1], "Json"), ({"a": None}, "Json")],
)  # fmt: skip
def test_a_variable_without_a_type_gets_one(value, kind):
    assert encode(decode({"value": value})).type == kind


@pytest.mark.parametrize(
    ("kind", "value"),
    [("Integer", 2**31), ("Integer", 1.5), ("Integer", True), ("Integer", "x"), ("Short", 70000),
     ("Long", 2**63), ("Double", "x"), ("Boolean", "yes"), ("Date", "2013-01-23"),
     ("Bytes", "***"), ("Json", "{bad"), ("Xml", "<a"), ("Null", 5), ("Wrong", 1),
     ("Xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind, value):
    with pytest.raises(RestError) as refused:
        decode({"type": kind, "value": value})
    assert refused.value.status == 400


def test_objects_are_shown_as_json_where_that_is_asked_for():
    kept = decode({"type": "Object", "value": '{"a":1}', "valueInfo": OBJECT})
    assert encode(kept, deserialized=True).value == {"a": 1}


@pytest.mark.parametrize("name", ["", "_x", "$date", "a\nb", "x" * 300])
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(RestError):
        check_name(name)


def test_values_of_scripts_have_types_too():
    assert encode({"$decimal": "2.5"}).document["value"] == 2.5
    assert encode({"$date": "2030-05-06"}).value == "2030-05-06T00:00:00.000+0000"
    assert encode([1, {"$datetime": "2030-05-06T01:02:03+02:00"}]).value == (
        '[1,"2030-05-05T23:02:03.000+0000"]'
    )

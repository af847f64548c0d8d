"""Typed variables of Camunda 7 to stored values and back.

A client writes a variable as `{"value": ..., "type": ..., "valueInfo": {...}}`
(https://docs.camunda.org/rest/camunda-bpm-platform/7.24/). What Python has a type for is stored as
that; of the rest (a Short, an Object of Java as JSON, a file) the stored value keeps the type
beside the value, so that the next client gets what the first one gave. Scripts and expressions see
the plain value.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid
from mlkit.errors import BadData
from mlkit.workers.child.values import Unstorable, pack, unpack

JSON = "application/json"
ARTIFACT = "application/x-mlkit-artifact"
"""The format of a value that is stored beside the journal, and that clients do not get."""
MAX_NAME = 255
_DATE = "%Y-%m-%dT%H:%M:%S.%f%z"
_FILE = ("filename", "mimeType", "encoding")
_LIMITS = {"Short": 2**15, "Integer": 2**31, "Long": 2**63}
_JAVA = {
    "Boolean": "java.lang.Boolean", "Short": "java.lang.Short", "Integer": "java.lang.Integer",
    "Long": "java.lang.Long", "Double": "java.lang.Double", "String": "java.lang.String",
    "Date": "java.util.Date", "Bytes": "[B", "File": "[B",
    "Null": "javax.lang.model.type.NullType", "Json": "JSON text", "Xml": "XML text",
    "Object": "java.lang.String",
}  # fmt: skip


class Typed(NamedTuple):
    """A variable as clients see it."""

    type: str
    value: Any
    info: Mapping[str, Any] = MappingProxyType({})

    @property
    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"type": self.type, "value": self.value, "valueInfo": dict(self.info)}


# -- what clients give ---------------------------------------------------------------------


def decode_variables(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variables of a request, as they are stored.

    Raises:
        RestError: A name or a value is wrong.
    """
    found = {}
    for name, each in (given or {}).items():
        if not isinstance(each, Mapping):
            raise invalid(f"variable {name!r:.80} is not an object with a value")
        found[check_name(name)] = decode(each)
    return found


def check_name(name: str) -> str:
    """Return the name of a variable.

    Raises:
        RestError: No variable may have it.
    """
    if not name or len(name) > MAX_NAME or name[0] in "_$" or not name.isprintable():
        raise invalid(
            f"variable {name!r:.80}: a name has 1 to {MAX_NAME} characters and begins with"
            " neither '_' nor '$'"
        )
    return name


def decode(given: Mapping[str, Any]) -> Any:
    """Return a typed variable as it is stored.

    Raises:
        RestError: The type is not known, or the value is not of that type.
    """
    value, kind = given.get("value"), given.get("type")
    if not kind:
        return _decode_untyped(value)
    kind = str(kind)[:1].upper() + str(kind)[1:]
    read = _READERS.get(kind)
    if read is None:
        raise RestError(400, "RestException", f"Unsupported value type '{kind}'")
    if value is None:
        return None if kind == "Null" else {"$null": kind}
    info = given.get("valueInfo")
    try:
        return read(value, info if isinstance(info, Mapping) else {})
    except (ValueError, TypeError, OverflowError, binascii.Error, BadData, RecursionError):
        problem = f"Cannot convert value '{_format(value)}' of type '{kind}' to java type"
        raise invalid(f"{problem} {_JAVA[kind]}") from None


def _format(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


def _decode_untyped(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _LIMITS["Long"]:
        raise invalid(f"Cannot convert value '{value}' of type 'Long' to java type java.lang.Long")
    try:
        return pack(value)
    except Unstorable:
        return {"$json": json.dumps(value, ensure_ascii=False)}


def _integer(kind: str, tag: str | None) -> Callable[[Any, Mapping[str, Any]], Any]:
    def read(value: Any, info: Mapping[str, Any]) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = int(value)
        if not -_LIMITS[kind] <= number < _LIMITS[kind]:
            raise ValueError
        natural = tag is None or (kind == "Long" and not _is_integer(number))
        return number if natural else {tag: number}

    return read


def _is_integer(number: int) -> bool:
    return -_LIMITS["Integer"] <= number < _LIMITS["Integer"]


def _double(value: Any, info: Mapping[str, Any]) -> Any:
    if isinstance(value, bool):
        raise ValueError
    return pack(float(value))


def _boolean(value: Any, info: Mapping[str, Any]) -> bool:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError
    return value


def _string(value: Any, info: Mapping[str, Any]) -> str:
    if isinstance(value, list | dict):
        raise ValueError
    return value if isinstance(value, str) else _format(value)


def moment(text: Any) -> datetime:
    """Read a moment as Camunda writes it: `2013-01-23T13:42:42.123+0200`.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str) or len(text) != len("2013-01-23T13:42:42.123+0200"):
        raise ValueError(text)
    return datetime.strptime(text, _DATE)


def _date(value: Any, info: Mapping[str, Any]) -> Any:
    return pack(moment(value).astimezone(UTC))


def _base64(value: Any) -> str:
    base64.b64decode(value, validate=True)
    return str(value)


def _bytes(value: Any, info: Mapping[str, Any]) -> Any:
    return {"$bytes": _base64(value)}


def _file(value: Any, info: Mapping[str, Any]) -> Any:
    if not info.get("filename"):
        message = "Cannot create file without valueInfo."
        raise RestError(500, "IllegalArgumentException", message)
    kept = {name: str(info[name]) for name in _FILE if info.get(name)}
    return {"$file": {**kept, "content": _base64(value)}}


def _json(value: Any, info: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        raise ValueError
    found = json.loads(value)
    if isinstance(found, list | dict):
        try:
            return pack(found)
        except Unstorable:
            pass
    return {"$json": value}


def _xml(value: Any, info: Mapping[str, Any]) -> Any:
    xml_documents.parse(value.encode(), "the value")
    return {"$xml": value}


def _object(value: Any, info: Mapping[str, Any]) -> Any:
    """Keep an object of Java in the form that its client has written; only JSON can be read."""
    kind, form = info.get("objectTypeName"), info.get("serializationDataFormat")
    if form == JSON and kind and not isinstance(value, str):
        # What a client has got with `deserializeValues` it sends back like that.
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, str) or not kind or not form:
        raise refused_object(value, form, kind)
    if form == JSON:
        json.loads(value)
    return {"$object": {"text": value, "type": str(kind), "format": str(form)}}


def refused_object(value: Any, form: Any, kind: Any) -> RestError:
    """Return the error of an object that does not state what it is."""
    text = f"{len(value)} chars" if isinstance(value, str) else "no text"
    return RestError(
        500,
        "RestException",
        "Cannot find serializer for value 'ObjectValue [value=null, isDeserialized=false,"
        f" serializationDataFormat={form or 'null'}, objectTypeName={kind or 'null'},"
        f" serializedValue={text}, isTransient=false]'.",
        0,
    )


def _null(value: Any, info: Mapping[str, Any]) -> None:
    raise ValueError


_READERS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "Boolean": _boolean, "Short": _integer("Short", "$short"), "Integer": _integer("Integer", None),
    "Long": _integer("Long", "$long"), "Double": _double, "String": _string, "Date": _date,
    "Bytes": _bytes, "File": _file, "Null": _null, "Json": _json, "Xml": _xml, "Object": _object,
}  # fmt: skip


# -- what clients get ----------------------------------------------------------------------


def encode(value: Any, deserialized: bool = False) -> Typed:
    """Return a stored value as clients see it.

    Args:
        value: As it is stored.
        deserialized: Whether an object in JSON is shown as JSON, instead of as text.
    """
    if isinstance(value, dict):
        return _encode_mapping(value, deserialized)
    if value is None:
        return Typed("Null", None)
    if isinstance(value, bool):
        return Typed("Boolean", value)
    if isinstance(value, int):
        return _encode_number(value)
    if isinstance(value, float):
        return Typed("Double", value)
    return Typed("String", value) if isinstance(value, str) else Typed("Json", _text(value))


def _encode_number(value: int) -> Typed:
    if _is_integer(value):
        return Typed("Integer", value)
    fits = -_LIMITS["Long"] <= value < _LIMITS["Long"]
    return Typed("Long", value) if fits else Typed("String", str(value))


def _encode_mapping(value: dict[str, Any], deserialized: bool) -> Typed:
    if "$artifact" in value:
        kind = str(value.get("type", value.get("kind", "object")))
        info = {"objectTypeName": kind, "serializationDataFormat": ARTIFACT}
        return Typed("Object", None, info)
    if len(value) == 1:
        ((tag, content),) = value.items()
        show = _SHOWN.get(tag)
        if show is not None:
            return show(content, deserialized)
    return Typed("Json", _text(value))


def _encode_object(content: dict[str, Any], deserialized: bool) -> Typed:
    shown = content["text"]
    if deserialized and content["format"] == JSON:
        shown = json.loads(shown)
    info = {"objectTypeName": content["type"], "serializationDataFormat": content["format"]}
    return Typed("Object", shown, info)


def _encode_file(content: dict[str, Any], deserialized: bool) -> Typed:
    info = {name: content[name] for name in _FILE if name in content}
    return Typed("File", None, info)


def format_time(found: datetime | float) -> str:
    """Write a moment as Camunda does; a number is seconds since 1970."""
    if not isinstance(found, datetime):
        found = datetime.fromtimestamp(found, UTC)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return f"{found.replace(tzinfo=None).isoformat(timespec='milliseconds')}+0000"


def _midnight(text: str) -> str:
    return format_time(datetime.combine(date.fromisoformat(text), time(), UTC))


def _plain(kind: str, read: Callable[[Any], Any]) -> Callable[[Any, bool], Typed]:
    return lambda content, deserialized: Typed(kind, read(content))


_SHOWN: dict[str, Callable[[Any, bool], Typed]] = {
    "$float": _plain("Double", str),
    "$decimal": _plain("Double", float),
    "$datetime": _plain("Date", lambda text: format_time(datetime.fromisoformat(text))),
    "$date": _plain("Date", _midnight),
    "$time": _plain("String", str),
    "$duration": _plain("String", lambda seconds: f"PT{seconds:g}S"),
    "$bytes": _plain("Bytes", str),
    "$short": _plain("Short", int),
    "$long": _plain("Long", int),
    "$json": _plain("Json", str),
    "$xml": _plain("Xml", str),
    "$null": lambda kind, deserialized: Typed(kind, None, _null_info(kind)),
    "$file": _encode_file,
    "$object": _encode_object,
}


def _null_info(kind: str) -> dict[str, Any]:
    unknown = {"objectTypeName": None, "serializationDataFormat": None}
    return unknown if kind == "Object" else {}


def _text(value: Any) -> str:
    return json.dumps(
        unpack(value), default=_encode_part, ensure_ascii=False, separators=(",", ":")
    )


def _encode_part(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def content(value: Any) -> tuple[bytes, dict[str, Any]] | None:
    """Return the bytes of a variable, with its file name and types; None where it has none."""
    if isinstance(value, dict) and set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"]), {}
    if isinstance(value, dict) and set(value) == {"$file"}:
        kept = {name: each for name, each in value["$file"].items() if name != "content"}
        return base64.b64decode(value["$file"]["content"]), kept
    return None

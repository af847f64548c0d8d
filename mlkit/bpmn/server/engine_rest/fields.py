"""The fields of a request: a JSON body, or a query with the same names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mlkit.bpmn.engine.printed import Printed
from mlkit.bpmn.server.engine_rest import typed
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid
from mlkit.web.application import Request

_DECODER = msgspec.json.Decoder()
_MOST = 100


class Fields:
    """Named values; those that are not known are ignored, as Camunda does.

    Args:
        values: By name; of a query all are texts.
        is_query: Whether they are those of a query.
    """

    def __init__(self, values: Mapping[str, Any], is_query: bool = False) -> None:
        self.values = values
        self.is_query = is_query

    def wrong(self, name: str, why: str) -> RestError:
        """Return the error of a value that cannot be used."""
        value = self.values.get(name)
        place = "query parameter" if self.is_query else "field"
        return invalid(f"Cannot set {place} '{name}' to value '{value}': {why}")

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "it is not text")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of texts; in a query they are separated by commas."""
        value = self.values.get(name)
        if isinstance(value, str) and self.is_query:
            return tuple(value.split(","))
        if value is not None and not (
            isinstance(value, list) and all(isinstance(each, str) for each in value)
        ):
            raise self.wrong(name, "it is not a list of texts")
        return None if value is None else tuple(value)

    def number(self, name: str) -> int | None:
        """Return a whole number."""
        value = self.values.get(name)
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                raise self.wrong(name, f"Cannot convert value {value} to a number") from None
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.wrong(name, "it is not a whole number")
        if value is not None and not -(2**63) <= value < 2**63:
            raise self.wrong(name, "it is too large")
        return value

    def flag(self, name: str) -> bool:
        """Return whether something is asked for."""
        value = self.values.get(name)
        if isinstance(value, str) and value in ("true", "false"):
            return value == "true"
        if value is not None and not isinstance(value, bool):
            why = f"Cannot convert value {value} to java type java.lang.Boolean"
            raise self.wrong(name, why)
        return bool(value)

    def moment(self, name: str) -> datetime | None:
        """Return a moment."""
        value = self.values.get(name)
        try:
            return None if value is None else typed.moment(value)
        except ValueError:
            why = f'Cannot convert value "{value}" to java type java.util.Date'
            raise self.wrong(name, why) from None

    def items(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.wrong(name, "it is not a list of objects")
        return [Fields(each) for each in value]

    def variables(self, name: str) -> dict[str, Any]:
        """Return typed variables as they are stored."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "it is not an object of variables")
        return typed.decode_variables(value)


def body(request: Request) -> Fields:
    """Return the fields of a JSON body; none of an empty one.

    Raises:
        RestError: 415: it is of another type; 400: it is not a JSON object.
    """
    kinds = [value for name, value in request.scope["headers"] if name == b"content-type"]
    if kinds and kinds[0].partition(b";")[0].strip().lower() != b"application/json":
        raise RestError(415, "NotSupportedException", "HTTP 415 Unsupported Media Type")
    if not request.body.strip():
        return Fields({})
    try:
        found = _DECODER.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise invalid("the body is not a JSON object")
    return Fields(found)


def printed_of(given: Fields) -> Printed | None:
    """Return what a worker of mlkit has printed: the field `log`; None where there is none.

    Raises:
        RestError: 400: it is something else.
    """
    if given.values.get("log") is None:
        return None
    try:
        return msgspec.convert(given.values["log"], Printed).shorten()
    except msgspec.ValidationError as error:
        raise invalid(f"log: {error}") from None


def query(request: Request) -> Fields:
    """Return the fields of the query.

    Raises:
        RestError: 400: it cannot be read.
    """
    raw: bytes = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST
        )
    except ValueError:
        raise invalid("the query cannot be read") from None
    return Fields(dict(pairs), is_query=True)

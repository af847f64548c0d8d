"""The parser of FEEL types, as `instance of` and parameters have them."""

from __future__ import annotations

from mlkit.bpmn.expressions.feel.token_reader import FeelReader
from mlkit.bpmn.expressions.feel.types import SIMPLE, Type
from mlkit.bpmn.expressions.tree import ExpressionError

_TYPES = sorted((tuple(each.split()) for each in SIMPLE), key=len, reverse=True)


def parse_type(reader: FeelReader) -> Type:
    """Parse a type, as `instance of` and parameters have it."""
    declared = _parse_declared_type(reader)
    if declared is not None:
        return declared
    reader.deeper()
    name = _parse_type_name(reader)
    found = Type(name)
    if name in ("list", "range") and reader.accept("<"):
        found = Type(name, (parse_type(reader),))
        reader.expect(">")
    elif name == "context" and reader.accept("<"):
        found = Type(name, entries=_parse_entry_types(reader))
    elif name == "function" and reader.accept("<"):
        parts = _parse_part_types(reader)
        found = Type(name, parts, result=parse_type(reader) if reader.accept("->") else None)
    reader.depth -= 1
    return found


def _parse_declared_type(reader: FeelReader) -> Type | None:
    """Parse the name of a type that a decision model defines."""
    count, name = reader.names.match_type(reader.tokens, reader.index)
    reader.index += count
    return reader.names.types[name] if count else None


def _parse_type_name(reader: FeelReader) -> str:
    for words in _TYPES:
        if reader.words(*words):
            reader.index += len(words)
            return " ".join(words)
    raise ExpressionError(reader.text, reader.token.position, "there is no such type")


def _parse_part_types(reader: FeelReader) -> tuple[Type, ...]:
    parts: list[Type] = []
    while not reader.accept(">"):
        if parts:
            reader.expect(",")
        parts.append(parse_type(reader))
    return tuple(parts)


def _parse_entry_types(reader: FeelReader) -> dict[str, Type]:
    entries: dict[str, Type] = {}
    while not reader.accept(">"):
        if entries:
            reader.expect(",")
        name = reader.name_until((":",))
        reader.expect(":")
        entries[name] = parse_type(reader)
    return entries

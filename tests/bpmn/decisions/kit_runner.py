"""Run the models of the public compatibility kit with their test cases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.expressions.feel.temporal import (
    parse_date,
    parse_date_time,
    parse_duration,
    parse_time,
)
from mlkit.errors import MlkitError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_READERS = {
    "string": str, "decimal": Decimal, "double": Decimal, "integer": Decimal, "long": Decimal,
    "boolean": lambda text: text.strip() in ("true", "1"), "date": parse_date, "time": parse_time,
    "dateTime": parse_date_time, "duration": parse_duration, "dayTimeDuration": parse_duration,
    "yearMonthDuration": parse_duration,
}  # fmt: skip


class Outcome(NamedTuple):
    """What a result of a test case was, beside what is expected."""

    case: str
    found: Any
    expected: Any
    passed: bool


def local(node: Any) -> str:
    return etree.QName(node).localname


def attribute(node: Any, name: str) -> str | None:
    return next((v for k, v in node.attrib.items() if etree.QName(k).localname == name), None)


def value_of(node: Any) -> Any:
    """Return the value that an element of a test case holds."""
    for each in node.iterchildren(etree.Element):
        if local(each) == "list":
            return [value_of(item) for item in each]
        if local(each) == "value":
            return _simple(each)
        if local(each) == "expected":
            return value_of(each)
    components = [each for each in node.iterchildren() if local(each) == "component"]
    return {each.get("name"): value_of(each) for each in components} if components else None


def _simple(node: Any) -> Any:
    if attribute(node, "nil") == "true":
        return None
    kind = (attribute(node, "type") or "string").rpartition(":")[2]
    return _READERS[kind](node.text or "")


def run_file(path: Path) -> Iterator[Outcome]:
    """Run all test cases of a file."""
    root = etree.parse(str(path), etree.XMLParser(remove_comments=True)).getroot()
    model = path.parent / root.findtext("{*}modelName").strip()
    decisions = Decisions(model)
    for case in root.iterchildren("{*}testCase"):
        inputs = {each.get("name"): value_of(each) for each in case.iterchildren("{*}inputNode")}
        for result in case.iterchildren("{*}resultNode"):
            name = case.get("invocableName") or result.get("name")
            found = _decide(decisions, name, inputs)
            if isinstance(found, dict) and name != result.get("name") and _is_one_of(case):
                found = found[result.get("name")]
            expected = value_of(result)
            yield Outcome(
                f"{case.get('id')} {result.get('name')}", found, expected, is_same(found, expected)
            )


def _is_one_of(case: Any) -> bool:
    """Return whether a case expects several outputs of a service, each by its name."""
    return len(list(case.iterchildren("{*}resultNode"))) > 1


def _decide(decisions: Decisions, name: str, inputs: dict[str, Any]) -> Any:
    """Return the value; what fails counts as null, as in the kit."""
    try:
        return decisions.evaluate(name, inputs, NOW).value
    except MlkitError:
        return None


def is_same(found: Any, expected: Any) -> bool:
    """Compare as the kit does: numbers to eight digits."""
    if type(expected) is Decimal and type(found) is Decimal:
        return abs(found - expected) <= Decimal("1e-8") * max(1, abs(expected))
    if type(expected) is not type(found):
        return False
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(is_same, found, expected))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            is_same(found[name], each) for name, each in expected.items()
        )
    return bool(found == expected)

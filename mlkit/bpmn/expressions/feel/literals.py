"""Ranges out of texts, for `range("[1..5)")`: their ends are literals."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.expressions.feel.arithmetic import negative
from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.comparison import compare
from mlkit.bpmn.expressions.feel.parser import Parser
from mlkit.bpmn.expressions.feel.scope import Names
from mlkit.bpmn.expressions.feel.temporal import (
    parse_date,
    parse_date_time,
    parse_duration,
    parse_temporal,
    parse_time,
)
from mlkit.bpmn.expressions.feel.values import Range, Refused
from mlkit.bpmn.expressions.tree import ExpressionError, Node

_MAKERS = {
    "date": parse_date, "time": parse_time, "date and time": parse_date_time,
    "duration": parse_duration,
}  # fmt: skip


def read_range(run: Run, text: str) -> Range:
    """Return the range of a text.

    Raises:
        Refused: It is none, an end is not a literal, or the ends have no order.
    """
    run.charge(len(text))
    if len(text) > 400 or not text.strip().startswith(("[", "(", "]")):
        raise Refused
    low_text, divider, high_text = text.strip()[1:-1].partition("..")
    closing = text.strip()[-1:]
    if not divider or closing not in ("]", ")", "["):
        raise Refused
    low, high = _end(low_text), _end(high_text)
    if low is None and high is None:
        raise Refused
    if low is not None and high is not None and compare("le", low, high) is not True:
        raise Refused
    opening = text.strip()[0] == "["
    return Range(opening and low is not None, low, high, closing == "]" and high is not None)


def _end(text: str) -> Any:
    """Return the value of an end; nothing there is no bound."""
    if not text.strip():
        return None
    try:
        return _value(Parser(text, Names(functions=_MAKERS)).parse())
    except ExpressionError:
        raise Refused from None


def _value(node: Node) -> Any:
    if node.op == "literal" and type(node.value) is not bool and node.value is not None:
        return node.value
    if node.op == "neg":
        return negative(_value(node.children[0]))
    if node.op == "temporal":
        return parse_temporal(str(node.value))
    if node.op == "call" and len(node.children) == 2 and node.children[0].value in _MAKERS:
        argument = node.children[1]
        if argument.op == "literal" and type(argument.value) is str:
            return _MAKERS[str(node.children[0].value)](argument.value)
    raise Refused

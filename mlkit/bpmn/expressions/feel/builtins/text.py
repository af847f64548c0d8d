"""Functions of texts (DMN 1.5, 10.3.4.3), with some of Camunda 8."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.arguments import index, items, text
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.numbers import whole
from mlkit.bpmn.expressions.feel.regex import Pattern, compile_pattern
from mlkit.bpmn.expressions.feel.values import Refused

TEXT: Table = {}


@declare(TEXT, "substring", "string, start position, length?")
def _substring(run: Run, string: Any, start: Any, length: Any = None) -> str:
    at = index(start, len(text(string)))
    if length is None:
        return str(string[at:])
    if whole(length) < 1:
        raise Refused
    return str(string[at : at + whole(length)])


@declare(TEXT, "string length", "string")
def _length(run: Run, string: Any) -> Decimal:
    return Decimal(len(text(string)))


@declare(TEXT, "upper case", "string")
def _upper(run: Run, string: Any) -> str:
    return text(string).upper()


@declare(TEXT, "lower case", "string")
def _lower(run: Run, string: Any) -> str:
    return text(string).lower()


@declare(TEXT, "substring before", "string, match")
def _before(run: Run, string: Any, match: Any) -> str:
    whole_text, part = text(string), text(match)
    head, found, _ = whole_text.partition(part) if part else ("", "", "")
    return head if found else ""


@declare(TEXT, "substring after", "string, match")
def _after(run: Run, string: Any, match: Any) -> str:
    return text(string).partition(match)[2] if text(match) else text(string)


@declare(TEXT, "contains", "string, match")
def _contains(run: Run, string: Any, match: Any) -> bool:
    return text(match) in text(string)


@declare(TEXT, "starts with", "string, match")
def _starts(run: Run, string: Any, match: Any) -> bool:
    return text(string).startswith(text(match))


@declare(TEXT, "ends with", "string, match")
def _ends(run: Run, string: Any, match: Any) -> bool:
    return text(string).endswith(text(match))


@declare(TEXT, "trim", "string")
def _trim(run: Run, string: Any) -> str:
    return text(string).strip()


@declare(TEXT, "is blank", "string")
def _is_blank(run: Run, string: Any) -> bool:
    return not text(string).strip()


@declare(TEXT, "string join", "list, delimiter?")
def _join(run: Run, parts: Any, delimiter: Any = None) -> str:
    between = "" if delimiter is None else text(delimiter)
    texts = [text(each) for each in items(parts) if each is not None]
    run.charge_text(sum(map(len, texts)) + len(texts) * len(between))
    return between.join(texts)


# -- regular expressions -----------------------------------------------------------------------


def _pattern(run: Run, pattern: Any, flags: Any, string: Any) -> Pattern:
    run.charge(20 + (len(text(string)) * (1 + len(text(pattern)) // 8) >> 4))
    return compile_pattern(pattern, "" if flags is None else text(flags))


@declare(TEXT, "matches", "input, pattern, flags?")
def _matches(run: Run, string: Any, pattern: Any, flags: Any = None) -> bool:
    found = _pattern(run, pattern, flags, string).search(run, string, 0)
    return found is not None


@declare(TEXT, "replace", "input, pattern, replacement, flags?")
def _replace(run: Run, string: Any, pattern: Any, new: Any, flags: Any = None) -> str:
    compiled = _pattern(run, pattern, flags, string)
    if compiled.search(run, "", 0) is not None:
        raise Refused  # XPath: a pattern that matches nothing at all is an error.
    template = [("", text(new))] if compiled.literal else _template(text(new), compiled.groups)
    parts: list[str] = []
    at = 0
    for start, end, groups in compiled.find_all(run, string):
        parts.append(string[at:start])
        parts += [groups[int(kind)] or "" if kind else piece for kind, piece in template]
        run.charge_text(sum(map(len, parts[-1 - len(template) :])))
        at = end
    return _join_parts(run, [*parts, string[at:]])


def _template(new: str, groups: int) -> list[tuple[str, str]]:
    """Split a replacement into texts and `$` with the number of a group, longest first."""
    parts: list[tuple[str, str]] = []
    at = 0
    while at < len(new):
        if new[at] == "\\":
            if new[at + 1 : at + 2] not in ("\\", "$"):
                raise Refused
            parts.append(("", new[at + 1]))
            at += 2
        elif new[at] == "$":
            number = _group_number(new, at + 1, groups)
            parts.append((number if int(number) <= groups else "", ""))
            at += 1 + len(number)
        else:
            parts.append(("", new[at]))
            at += 1
    return parts


def _group_number(new: str, at: int, groups: int) -> str:
    number = new[at : at + 1]
    if not (number.isascii() and number.isdigit()):
        raise Refused
    while new[at + len(number) : at + len(number) + 1] in tuple("0123456789"):
        longer = new[at : at + len(number) + 1]
        if int(longer) > groups:
            break
        number = longer
    return number


@declare(TEXT, "split", "string, delimiter")
def _split(run: Run, string: Any, delimiter: Any) -> list[str]:
    compiled = _pattern(run, delimiter, None, string)
    if compiled.search(run, "", 0) is not None:
        return _split_letters(run, compiled, string)
    parts: list[str] = []
    at = 0
    for start, end, _ in compiled.find_all(run, string):
        run.charge(1)
        parts.append(string[at:start])
        at = end
    return [*parts, string[at:]]


def _split_letters(run: Run, compiled: Pattern, string: str) -> list[str]:
    """Split where nothing at all is a delimiter: between any two characters."""
    parts: list[str] = []
    at = 0
    for start, end, _ in compiled.find_all(run, string):
        run.charge(1)
        if end > 0:
            parts.append(string[at:start])
            at = end
    return [*parts, string[at:]]


@declare(TEXT, "extract", "input, pattern")
def _extract(run: Run, string: Any, pattern: Any) -> list[str]:
    found = _pattern(run, pattern, None, string).find_all(run, string)
    return [string[start:end] for start, end, _ in found]


def _join_parts(run: Run, parts: list[str]) -> str:
    run.charge_text(sum(map(len, parts)))
    return "".join(parts)

"""The built-in functions of FEEL on text (DMN 1.4, 10.3.4.3), with some of Camunda 8."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.dialects import MAX_TEXT, OperationError, kind

_FLAGS = {"i": "(?i)", "s": "(?s)", "m": "(?m)", "x": "(?x)"}


def index_at(position: Any, length: int, inclusive: bool = False) -> int:
    """Turn a position that counts from 1, or from the end if negative, into an index."""
    at = int(position) - 1 if position > 0 else length + int(position)
    if not position or not 0 <= at < length + inclusive:
        raise IndexError(f"no position {position}")
    return at


def checked(value: Any) -> str:
    """Give a text as it is.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {kind(value)}")
    return value


def _substring(text: str, start: Any, length: Any = None) -> str:
    begin = index_at(start, len(checked(text)), inclusive=True)
    if length is not None and length < 1:
        raise ValueError("no length")
    return text[begin:] if length is None else text[begin : begin + int(length)]


def _before(text: str, match: str) -> str:
    head, found, _ = checked(text).partition(match) if match else ("", "", "")
    return head if found else ""


def _after(text: str, match: str) -> str:
    return checked(text).partition(match)[2] if match else checked(text)


def _pattern(pattern: str, flags: str = "") -> Any:
    # Linear in the text whatever the pattern: instances replay, so no clock may decide.
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile("".join(_FLAGS[each] for each in flags or "") + pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is no regular expression") from error


def _matches(text: str, pattern: str, flags: str = "") -> bool:
    return _pattern(pattern, flags).search(checked(text)) is not None


def _replace(text: str, pattern: str, new: str, flags: str = "") -> str:
    if len(checked(text)) * (len(new) + 1) > MAX_TEXT:
        raise OperationError("the result may be too long")

    def fill(match: Any) -> str:
        parts = new.split("$")
        groups = match.re.groups
        return parts[0] + "".join(_group(match, each, groups) for each in parts[1:])

    return str(_pattern(pattern, flags).sub(fill, text))


def _group(match: Any, text: str, groups: int) -> str:
    number = text[:1]
    if not number.isdecimal() or int(number) > groups:
        return "$" + text
    return (match.group(int(number)) or "") + text[1:]


def _split(text: str, delimiter: str) -> list[str]:
    return list(_pattern(delimiter).split(checked(text)))


def _extract(text: str, pattern: str) -> list[str]:
    return [match.group(0) for match in _pattern(pattern).finditer(checked(text))]


def _join(items: list[Any], delimiter: str = "", prefix: str = "", suffix: str = "") -> str:
    parts = [each for each in items if each is not None]
    if sum(map(len, parts)) + len(parts) * len(delimiter or "") > MAX_TEXT:
        raise OperationError("the result is too long")
    return (prefix or "") + (delimiter or "").join(parts) + (suffix or "")


def _shown(value: Any) -> Any:
    """Give a value as FEEL writes it; null stays null."""
    return value if value is None or isinstance(value, str) else _written(value)


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Decimal):
        return format(value.normalize() if value else Decimal(0), "f")
    if isinstance(value, datetime | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _written_duration(value)
    if isinstance(value, list):
        return _limited(f"[{', '.join(map(_inner, value))}]")
    if isinstance(value, dict):
        return _limited(
            "{" + ", ".join(f"{key}: {_inner(each)}" for key, each in value.items()) + "}"
        )
    return str(value)


def _inner(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _written(value)


def _limited(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise OperationError("the result is too long")
    return text


def _written_duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    exact = f"{seconds}.{value.microseconds:06d}".rstrip("0").rstrip(".")
    clock = "".join(
        f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (exact, "S"))
        if number not in (0, "0")
    )  # fmt: skip
    days = f"{value.days}D" if value.days else ""
    return f"{sign}P{days}{'T' if clock else ''}{clock}" if days or clock else "PT0S"


TEXT: dict[str, Callable[..., Any]] = {
    "string": _shown,
    "substring": _substring, "string length": lambda text: len(checked(text)),
    "upper case": lambda text: checked(text).upper(),
    "lower case": lambda text: checked(text).lower(),
    "substring before": _before, "substring after": _after, "replace": _replace,
    "contains": lambda text, part: checked(part) in checked(text),
    "starts with": lambda text, part: checked(text).startswith(part),
    "ends with": lambda text, part: checked(text).endswith(part),
    "matches": _matches, "split": _split, "extract": _extract, "string join": _join,
    "trim": lambda text: checked(text).strip(), "is blank": lambda text: not checked(text).strip(),
}  # fmt: skip

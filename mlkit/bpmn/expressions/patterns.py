"""Regular expressions out of diagrams, with a bound on the work that they may take."""

from __future__ import annotations

import re
from functools import lru_cache

from mlkit.bpmn.expressions.dialects import OperationError

MAX_STEPS = 100_000_000
MAX_TEXT = 10_000
_FLAGS = {"i": re.IGNORECASE, "s": re.DOTALL, "m": re.MULTILINE, "x": re.VERBOSE}
# An escaped character, a set, the beginning or end of a group, a repetition, or any other one.
_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|[*+?]|\{\d*,?\d*\}|.", re.DOTALL)


@lru_cache(maxsize=256)
def _compiled(pattern: str, flags: str) -> tuple[re.Pattern[str], int]:
    """Compile a pattern, and count what in it may match in several lengths."""
    if set(flags) - set(_FLAGS):
        raise OperationError(f"{flags!r} are no flags of a pattern")
    try:
        compiled = re.compile(pattern, sum(_FLAGS[each] for each in set(flags)))
    except (re.error, RecursionError, OverflowError) as error:
        raise OperationError(f"{pattern!r} is no pattern: {error}") from error
    return compiled, _repetitions(pattern)


def _repetitions(pattern: str) -> int:
    """Count the repetitions of a pattern.

    Raises:
        OperationError: One repeats a group that holds another, or a choice: such patterns take
            a time that doubles with each character.
    """
    count, last, closed = 0, "", False
    depth = [False]
    for part in _PARTS.findall(pattern):
        repeats = part in ("*", "+", "?") or (part[0] == "{" and part[-1] == "}" and len(part) > 2)
        if repeats and last not in ("", "(", "|"):
            if last == ")" and closed:
                raise OperationError(f"{pattern!r} repeats what repeats")
            count += 1
            depth[-1] = True
        elif part == "(":
            depth.append(False)
        elif part == ")" and len(depth) > 1:
            closed = depth.pop()
            depth[-1] = depth[-1] or closed
        elif part == "|":
            depth[-1] = True
        last = part
    return count


def compiled(pattern: str, flags: str, text: str) -> re.Pattern[str]:
    """Give a pattern that is ready to be looked for in a text.

    Raises:
        OperationError: It is no pattern, or could take too long for this text.
    """
    found, repetitions = _compiled(pattern, flags)
    tries = 0 if pattern.startswith("^") else 1
    if len(text) > MAX_TEXT or (len(text) + 1) ** (repetitions + tries) > MAX_STEPS:
        raise OperationError(f"{pattern!r} takes too much work for {len(text)} characters")
    return found

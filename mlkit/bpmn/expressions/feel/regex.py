r"""Regular expressions of XPath (XPath and XQuery Functions 3.1, 5.6): parsed here, run by RE2.

RE2 takes time linear in the text whatever the pattern. It has no back references; patterns with
one are matched by a counted search (`backtracking`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mlkit.bpmn.expressions.feel.backtracking import search
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.regex_parser import (
    REPEATED,
    Piece,
    RegexParser,
    has_reference,
    render,
)
from mlkit.bpmn.expressions.feel.values import Refused

Groups = list[str | None]
Found = tuple[int, int, Groups]
_FLAGS = frozenset("smixq")
# The message of RE2 about patterns that are right and beyond its limits.
_LIMITS = {"repetition size": REPEATED, "too large": "the pattern takes too much memory"}


class Pattern:
    """A compiled pattern.

    Attributes:
        groups: How many groups it has.
        literal: Whether its text stands for itself (flag `q`).
    """

    def __init__(self, compiled: Any, tree: Piece | None, groups: int, flags: str) -> None:
        self._compiled = compiled
        self._tree = tree
        self._flags = flags
        self.groups = groups
        self.literal = "q" in flags

    def search(self, run: Run, text: str, start: int) -> Found | None:
        """Return the first match from a place on: its start, end and groups, the whole as 0."""
        if self._tree is not None:
            return search(run, self._tree, self.groups, self._flags, text, start)
        found = self._compiled.search(text, start)
        if found is None:
            return None
        return found.start(), found.end(), [found.group(), *found.groups()]

    def find_all(self, run: Run, text: str) -> Iterator[Found]:
        """Yield all matches that do not overlap."""
        if self._tree is None:
            for found in self._compiled.finditer(text):
                run.charge(10)
                yield found.start(), found.end(), [found.group(), *found.groups()]
            return
        at = 0
        while at <= len(text) and (match := self.search(run, text, at)) is not None:
            yield match
            at = max(match[1], match[0] + 1)


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, flags: str) -> Pattern:
    """Return a pattern, ready to match.

    Raises:
        Refused: It is none, or has an unknown flag.
        LimitReached: It nests too deeply, repeats too often, or would take too much memory.
    """
    import re2

    if not _FLAGS.issuperset(flags):
        raise Refused
    if "q" in flags:
        source, groups, tree = re2.escape(pattern), 0, None
    else:
        parser = RegexParser(pattern, flags)
        parsed = parser.parse()
        source, groups = "", parser.groups
        tree = parsed if has_reference(parsed) else None
        source = "" if tree else render(parsed, "s" in flags)
    if tree is not None:
        return Pattern(None, tree, groups, flags)
    mode = "".join(each for each in "im" if each in flags)
    return Pattern(_compile(f"(?{mode})" * bool(mode) + source), None, groups, flags)


def _compile(source: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as error:
        for told, problem in _LIMITS.items():
            if told in str(error):
                raise LimitReached(problem) from error
        raise Refused from error

"""A counted search for patterns with back references, which no linear algorithm matches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlkit.bpmn.expressions.feel.budget import LimitReached, Run

if TYPE_CHECKING:
    from mlkit.bpmn.expressions.feel.regex_parser import Piece

Spans = tuple[tuple[int, int] | None, ...]
After = Callable[[int, Spans], tuple[int, Spans] | None]
_MAX_LEVELS = 150


def search(
    run: Run, tree: Piece, groups: int, flags: str, text: str, start: int
) -> tuple[int, int, list[str | None]] | None:
    """Return the first match from a place on: its start, end and groups, the whole as 0.

    Raises:
        LimitReached: It takes too many steps, or too many levels.
    """
    search_ = _Search(run, text, flags)
    for at in range(start, len(text) + 1):
        found = search_.match(tree, at, (None,) * (groups + 1), lambda end, spans: (end, spans))
        if found is not None:
            end, spans = found
            parts = [None if each is None else text[each[0] : each[1]] for each in spans[1:]]
            return at, end, [text[at:end], *parts]
    return None


class _Search:
    def __init__(self, run: Run, text: str, flags: str) -> None:
        self.run = run
        self.text = text
        self.flags = flags
        self.level = 0

    def match(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        """Match a piece at a place, and then what comes after it."""
        self.run.charge(4)
        self.level += 1
        if self.level > _MAX_LEVELS:
            raise LimitReached("the pattern with a back reference takes too many levels")
        try:
            found: tuple[int, Spans] | None = getattr(self, f"_{piece.kind}")(
                piece, at, spans, after
            )
            return found
        finally:
            self.level -= 1

    def _class(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        inside = at < len(self.text) and piece.value.holds(self.text[at], "i" in self.flags)
        return after(at + 1, spans) if inside else None

    def _dot(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        inside = at < len(self.text) and ("s" in self.flags or self.text[at] not in "\n\r")
        return after(at + 1, spans) if inside else None

    def _start(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        fits = at == 0 or ("m" in self.flags and self.text[at - 1] == "\n")
        return after(at, spans) if fits else None

    def _end(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        fits = at == len(self.text) or ("m" in self.flags and self.text[at] == "\n")
        return after(at, spans) if fits else None

    def _reference(
        self, piece: Piece, at: int, spans: Spans, after: After
    ) -> tuple[int, Spans] | None:
        span = spans[piece.value]
        wanted = "" if span is None else self.text[span[0] : span[1]]
        found = self.text[at : at + len(wanted)]
        self.run.charge(len(wanted) >> 4)
        same = found.lower() == wanted.lower() if "i" in self.flags else found == wanted
        return after(at + len(wanted), spans) if same else None

    def _group(self, piece: Piece, at: int, spans: Spans, after: After) -> tuple[int, Spans] | None:
        number = piece.value

        def close(end: int, inner: Spans) -> tuple[int, Spans] | None:
            if number:
                inner = (*inner[:number], (at, end), *inner[number + 1 :])
            return after(end, inner)

        return self.match(piece.parts[0], at, spans, close)

    def _sequence(
        self, piece: Piece, at: int, spans: Spans, after: After, first: int = 0
    ) -> tuple[int, Spans] | None:
        if first == len(piece.parts):
            return after(at, spans)
        return self.match(
            piece.parts[first],
            at,
            spans,
            lambda end, inner: self._sequence(piece, end, inner, after, first + 1),
        )

    def _choice(
        self, piece: Piece, at: int, spans: Spans, after: After
    ) -> tuple[int, Spans] | None:
        for each in piece.parts:
            found = self.match(each, at, spans, after)
            if found is not None:
                return found
        return None

    def _repeat(
        self, piece: Piece, at: int, spans: Spans, after: After, done: int = 0
    ) -> tuple[int, Spans] | None:
        low, high, greedy = piece.value

        def again(end: int, inner: Spans) -> tuple[int, Spans] | None:
            if end == at and done >= low:
                return None  # Nothing was matched: going on would never end.
            return self._repeat(piece, end, inner, after, done + 1)

        def more() -> tuple[int, Spans] | None:
            if high is not None and done >= high:
                return None
            return self.match(piece.parts[0], at, spans, again)

        if done < low:
            return more()
        found = more() if greedy else after(at, spans)
        if found is not None:
            return found
        return after(at, spans) if greedy else more()

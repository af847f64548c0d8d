"""Whether a text is one that an original might have written, with the noise of its runs masked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

VARIES = re.compile(r"0x[0-9a-f]+|\d+|[0-9a-f]{8,}", re.IGNORECASE)
WORDS = re.compile(r"[\w#]+|\s+|[^\w\s#]")
SHORT = 1_000
"""Characters of a text that may be noise altogether."""
MOST = 1_000
"""Words between a common beginning and a common end of which any may have moved."""
Shared = tuple[list[str], set[int]]
"""The words that lists share, and before which of them something else stood."""


def alike(originals: Sequence[str], candidate: str) -> bool:
    """Return whether a text is one that the original might have given.

    What all its texts share has to be there, in that order; between may stand anything where
    they differ, and nothing else where they do not. Long texts that share less than their half
    tell nothing, and no other text is like them.
    """
    if candidate in originals:
        return True
    if len(set(originals)) == 1:
        return False
    # Numbers are masked only after the literal comparison: one that never varied in the original
    # is compared as it is, and a wrong price is not excused as a changing one.
    masked = [mask(each) for each in originals]
    if mask(candidate) in masked:
        return True
    pieces = template(masked)
    shortest = min(map(len, masked))
    if shortest > SHORT and 2 * sum(map(len, pieces)) < shortest:
        return False
    return fits(pieces, mask(candidate))


def template(texts: Sequence[str]) -> list[str]:
    """Return the pieces that texts share, in order; where one ends, something differs.

    The first piece begins each of the texts and the last one ends it; both may be empty.
    """
    lists = [WORDS.findall(text) for text in texts]
    shared, gaps = _in_place(lists) or _in_order(lists)
    ends = [0, *sorted(gaps), len(shared)]
    return ["".join(shared[begin:end]) for begin, end in pairwise(ends)]


def fits(pieces: Sequence[str], text: str) -> bool:
    """Return whether a text consists of pieces, in order, with anything between them.

    The leftmost place of each is as good as any other, so this takes a time in proportion to the
    text; an expression with as many gaps might not come back.
    """
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    at, end = len(first), len(text) - len(last)
    if not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= end


def _in_place(lists: list[list[str]]) -> Shared | None:
    """Compare word by word, where most words have the same place in all lists."""
    if len(set(map(len, lists))) > 1:
        return None
    shared: list[str] = []
    gaps = set()
    for word, *others in zip(*lists, strict=True):
        if all(each == word for each in others):
            shared.append(word)
        else:
            gaps.add(len(shared))
    return (shared, gaps) if 2 * len(shared) >= len(lists[0]) else None


def _in_order(lists: list[list[str]]) -> Shared:
    shared = lists[0]
    gaps: set[int] = set()
    for words in lists[1:]:
        shared, gaps = _common(shared, gaps, words)
    return shared, gaps


def _common(shared: list[str], gaps: set[int], words: list[str]) -> Shared:
    """Narrow what some lists share to what one more list shares with them.

    A gap means "something else may be here". It arises where either list has words that the other
    has not, and every gap of before remains one, at the place to which the words around it moved:
    a text that was once seen to vary there is not taken for a constant because one more text
    happens to agree.
    """
    kept: list[str] = []
    apart: set[int] = set()
    here, there = 0, 0
    for a, b, size in _blocks(shared, words):
        if a > here or b > there or any(here < each <= a for each in gaps):
            apart.add(len(kept))
        apart |= {len(kept) + each - a for each in gaps if a <= each <= a + size}
        kept += shared[a : a + size]
        here, there = a + size, b + size
    return kept, apart


def _blocks(one: list[str], other: list[str]) -> list[tuple[int, int, int]]:
    """List what two lists share: where in the one, where in the other, how much.

    Beginning and end are compared first: what is between takes the square of its length.
    """
    most = min(len(one), len(other))
    head = next((n for n in range(most) if one[n] != other[n]), most)
    tail = next((n for n in range(most - head) if one[-1 - n] != other[-1 - n]), most - head)
    inner, outer = one[head : len(one) - tail], other[head : len(other) - tail]
    found = []
    if max(len(inner), len(outer)) <= MOST:
        matcher = SequenceMatcher(None, inner, outer, autojunk=False)
        found = [(head + a, head + b, size) for a, b, size in matcher.get_matching_blocks()]
    return [(0, 0, head), *found, (len(one) - tail, len(other) - tail, tail)]


def mask(text: str) -> str:
    """Replace numbers and hexadecimal words, which vary from run to run."""
    return VARIES.sub("#", text)

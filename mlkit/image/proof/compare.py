"""Comparing how two containers behave, with the noise of the original masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer

Verdict = Literal["equal", "improved", "broken"]
Effect = Literal["broken", "improved", "noted"]
VARIES = re.compile(r"0x[0-9a-f]+|\d+|[0-9a-f]{8,}", re.IGNORECASE)
WORDS = re.compile(r"[\w#]+|\s+|[^\w\s#]")
SHORT = 1_000
"""Characters of a text that may be noise altogether."""
MOST = 1_000
"""Words between a common beginning and a common end of which any may have moved."""
ALARM = re.compile(r"error|traceback|no such file|not found|cannot|exception|fatal", re.IGNORECASE)
SLOWER = 2.0
"""A time is broken beyond so many times the original's ..."""
SLACK = 1.0
"""... and so many seconds more."""
ATTEMPTS = 3
"""How often a candidate that is only slow is run."""
TIMES = {"ready time", "stop time"}
ITS_OWN = "address of the host"
"""What each container has of its own; other names lead where they led before."""
FAILED_LOOK_UP = "failed look-up"
"""How a path that the candidate lacks is reported."""
OWN_HEADERS = {"date", "age", "expires", "set-cookie", "server-timing"}
OF_TIMES = (": etag", ": last-modified")
"""Headers that follow from the times of files."""


@dataclass(frozen=True)
class Difference:
    """Something that the two did not do alike.

    Attributes:
        what: What was compared.
        original: What the original did.
        candidate: What the other one did.
        effect: Whether that is worse, better, or only worth telling.
    """

    what: str
    original: str
    candidate: str
    effect: Effect


def compare(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    """List what a candidate does otherwise than every run of the original did.

    Args:
        originals: Fresh runs of the original; what differs among them is noise.
        candidate: A run of the other image.
    """
    found = [*_life(originals, candidate), *_stopping(originals, candidate)]
    found += [*_standing(originals, candidate), *_finding(originals, candidate)]
    for number, answers in enumerate(zip(*(each.answers for each in originals), strict=True)):
        found += _answers(answers, candidate.answers[number] if candidate.answers else None)
    return [*found, *_log(originals, candidate)]


def settle(
    originals: Sequence[Observation],
    original: Callable[[], Observation],
    candidate: Callable[[], Observation],
) -> tuple[Observation, list[Difference]]:
    """Run a candidate and compare; run both again where only times differ.

    Args:
        originals: Runs of the original.
        original: Runs it once more.
        candidate: Runs the candidate.
    """
    runs = list(originals)
    for _ in range(ATTEMPTS):
        theirs = candidate()
        differences = compare(runs, theirs)
        broken = {each.what for each in differences if each.effect == "broken"}
        if not broken or broken - TIMES:
            break
        runs.append(original())
    return theirs, differences


def verdict(differences: Sequence[Difference]) -> Verdict:
    """Sum up: broken if anything is, else improved if anything is."""
    effects = {each.effect for each in differences}
    return "broken" if "broken" in effects else "improved" if "improved" in effects else "equal"


def missing(paths: Sequence[str]) -> list[Difference]:
    """Report failed look-ups of a candidate: evidence, and by itself no break."""
    return [Difference(FAILED_LOOK_UP, "there", path, "noted") for path in paths]


def _life(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    codes = {each.exit_code for each in originals}
    if candidate.problem:
        return [Difference("start", "starts", candidate.problem, "broken")]
    found = []
    if candidate.exit_code not in codes:
        effect = _better(candidate.works and not any(each.works for each in originals))
        ours = ", ".join(sorted(map(_ending, codes)))
        found.append(Difference("ending", ours, _ending(candidate.exit_code), effect))
    slowest = max(each.ready for each in originals)
    if candidate.ready > max(SLOWER * slowest, slowest + SLACK):
        times = f"{slowest:.1f} s", f"{candidate.ready:.1f} s"
        found.append(Difference("ready time", *times, "broken"))
    return [*found, *_health(originals, candidate)]


def _health(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    states = {each.healthy for each in originals}
    if candidate.healthy in states:
        return []
    ours, theirs = _state(originals[0].healthy), _state(candidate.healthy)
    return [Difference("health check", ours, theirs, _better(candidate.healthy is True))]


def _state(healthy: bool | None) -> str:
    return {None: "not run", True: "healthy", False: "unhealthy"}[healthy]


def _better(yes: bool) -> Literal["improved", "broken"]:
    return "improved" if yes else "broken"


def _ending(code: int | None) -> str:
    return "stays up" if code is None else f"exit code {code}"


def _stopping(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    found = []
    stops = [each.stop for each in originals if each.stop is not None]
    if stops and candidate.stop is not None:
        slowest = max(stops)
        times = f"{slowest:.1f} s", f"{candidate.stop:.1f} s"
        if candidate.stop > max(SLOWER * slowest, slowest + SLACK):
            found.append(Difference("stop time", *times, "broken"))
        if all(each.killed for each in originals) and not candidate.killed:
            found.append(Difference("SIGTERM", "ignored", "stops", "improved"))
    most = max(each.zombies for each in originals)
    left = max(each.orphans for each in originals)
    if candidate.zombies > 2 * most:  # their number varies with the moment
        found.append(Difference("zombies", str(most), str(candidate.zombies), "broken"))
    elif most and not candidate.zombies:
        found.append(Difference("zombies", str(most), "0", "improved"))
    elif left and not candidate.orphans:
        found.append(Difference("zombies of process 1", str(left), "0", "improved"))
    return found


def _standing(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    """Compare as whom, where and with which variables the app runs."""
    apps = [each.app for each in originals if each.app]
    theirs = candidate.app
    if not apps or theirs is None:
        return []
    found = []
    if theirs.user not in {each.user for each in apps}:
        found.append(Difference("user", apps[0].user, theirs.user, "broken"))
    places = {each.directory for each in apps} - {None}
    if places and theirs.directory and theirs.directory not in places:
        found.append(Difference("directory", min(map(str, places)), theirs.directory, "broken"))
    unknown = any(_unknown(each.look.get("user", "")) for each in originals)
    variables = [each.environment for each in apps]
    return [*found, *_variables(variables, theirs.environment, unknown)]


def _unknown(user: str) -> bool:
    """Return whether a user has no name."""
    return user.split(" ")[2:3] == ["-"]


def _variables(
    originals: list[dict[str, str]], theirs: dict[str, str], unknown: bool
) -> list[Difference]:
    """Compare variables; their values may be secrets, and are not shown.

    The engine takes HOME from `/etc/passwd`: a user whom the original does not know has none.
    """
    found = []
    effect: Effect
    if not all(originals) or not theirs:  # not to be seen
        return []
    for name in sorted(set(theirs).union(*originals)):
        values = {each.get(name) for each in originals}
        value = theirs.get(name)
        if value in values or (len(values) > 1 and value is not None):
            continue
        effect = "noted" if name == "HOME" and unknown else "broken"
        ours = "not set" if values == {None} else "set"
        told = "not set" if value is None else "another value" if ours == "set" else "set"
        found.append(Difference(f"variable {name}", ours, told, effect))
    return found


def _finding(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    """Compare what programs find: certificates, the time zone, users, addresses."""
    looks = [each.look for each in originals if each.look]
    if not looks or not candidate.look:
        return []
    found = []
    for name, value in looks[0].items():
        values = {each.get(name, "") for each in looks}
        theirs = candidate.look.get(name, "")
        varies = len(values) > 1 or name == ITS_OWN
        if theirs in values or (varies and mask(theirs) in set(map(mask, values))):
            continue
        effect: Effect = "noted" if _more(name, value, theirs) else "broken"
        found.append(Difference(name, value, theirs or "nothing", effect))
    return found


def _more(name: str, ours: str, theirs: str) -> bool:
    """Return whether a program finds more than before: certificates, addresses, its user's name."""
    if name == "certificates":
        return int(theirs or 0) > int(ours or 0)
    if name.startswith("address"):
        return set(ours.split(" ")) < set(theirs.split(" "))
    same = theirs.split(" ")[:2] == ours.split(" ")[:2]
    return name == "user" and _unknown(ours) and same


def _answers(originals: Sequence[Answer], candidate: Answer | None) -> list[Difference]:
    one, what = originals[0], f"probe {originals[0].probe}"
    if candidate is None:
        return [Difference(what, _said(one), "not asked", "broken")]
    held = {each.held for each in originals}
    if candidate.held not in held:
        return [Difference(what, _said(one), _said(candidate), _better(candidate.held))]
    if candidate.status not in {each.status for each in originals}:
        return [Difference(what, _said(one), _said(candidate), "broken")]
    if one.explored and len({each.body for each in originals}) > 1:
        return []  # nobody has asked for it, and it says something else each time
    return [*_headers(originals, candidate, what), *_body(originals, candidate, what)]


def _said(answer: Answer) -> str:
    status = "" if answer.status is None else f" {answer.status}"
    return f"holds{status}" if answer.held else answer.problem or f"fails{status}"


def _headers(originals: Sequence[Answer], candidate: Answer, what: str) -> list[Difference]:
    names = {name for each in (*originals, candidate) for name in each.headers} - OWN_HEADERS
    if len({each.body for each in originals}) > 1:
        names.discard("content-length")  # that of a body that varies varies with it
    found = []
    for name in sorted(names):
        values = [each.headers.get(name, "(none)") for each in originals]
        theirs = candidate.headers.get(name, "(none)")
        if not alike(values, theirs):
            found.append(Difference(f"{what}: {name}", values[0], theirs, "broken"))
    return found


def _body(originals: Sequence[Answer], candidate: Answer, what: str) -> list[Difference]:
    bodies = [each.body.decode(errors="replace") for each in originals]
    theirs = candidate.body.decode(errors="replace")
    if candidate.body in {each.body for each in originals}:
        return []
    if len({each.body for each in originals}) > 1 and alike(bodies, theirs):
        return []
    pair = _first_difference(bodies[0], theirs)
    return [Difference(f"{what}: body", *pair, "broken")]


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


Shared = tuple[list[str], set[int]]
"""The words that lists share, and before which of them something else stood."""


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

    A gap says "something else may be here". It arises where either list has words that the other
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


def _first_difference(a: str, b: str) -> tuple[str, str]:
    at = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    begin = max(0, at - 20)
    return repr(a[begin : begin + 80]), repr(b[begin : begin + 80])


def mask(text: str) -> str:
    """Replace numbers and hexadecimal words, which vary from run to run."""
    return VARIES.sub("#", text)


def _log(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    known = {mask(line) for each in originals for line in each.log.splitlines()}
    new = [line for line in candidate.log.splitlines() if mask(line) not in known]
    alarms = [line for line in new if ALARM.search(line)]
    if alarms:
        return [Difference("log", "no such line", alarms[0].strip(), "broken")]
    return [Difference("log", "no such line", new[0].strip(), "noted")] if new else []

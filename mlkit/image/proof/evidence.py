"""What was compared: every aspect with what the original and the result did, equal ones too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlkit.image.proof.compare import Difference
from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer


@dataclass(frozen=True)
class Evidence:
    """One aspect of behaviour.

    Attributes:
        what: What was compared.
        original: What the original did.
        candidate: What the other one did.
        effect: How that was judged.
    """

    what: str
    original: str
    candidate: str
    effect: Literal["equal", "broken", "improved", "noted"]


def evidence(
    originals: Sequence[Observation], candidate: Observation, differences: Sequence[Difference]
) -> list[Evidence]:
    """List what was compared: the differences first, the worst of them on top."""
    order = ("broken", "improved", "noted")
    found = [
        Evidence(each.what, each.original, each.candidate, each.effect)
        for each in sorted(differences, key=lambda each: order.index(each.effect))
    ]
    named = tuple(each.what for each in differences)
    return found + [
        each for each in _aspects(originals, candidate) if not _is_named(each.what, named)
    ]


def _is_named(what: str, named: tuple[str, ...]) -> bool:
    return any(each == what or each.startswith(f"{what}: ") for each in named)


def _aspects(originals: Sequence[Observation], candidate: Observation) -> Iterator[Evidence]:
    if candidate.problem:
        return
    yield _of("ending", originals, candidate, lambda each: _ending(each.exit_code))
    yield _times("ready time", [each.ready for each in originals], candidate.ready)
    for number, answer in enumerate(originals[0].answers):
        answers = [each.answers[number] for each in originals]
        theirs = candidate.answers[number] if number < len(candidate.answers) else None
        said = _describe_answer(theirs) if theirs else "not asked"
        yield Evidence(
            f"probe {answer.probe}", _join(map(_describe_answer, answers)), said, "equal"
        )
    if any(each.healthy is not None for each in originals):
        yield _of("health check", originals, candidate, lambda each: _health(each.healthy))
    stops = [each.stop for each in originals if each.stop is not None]
    if stops and candidate.stop is not None:
        yield _times("stop time", stops, candidate.stop)
    yield _of("zombies", originals, candidate, lambda each: str(each.zombies))
    yield from _within(originals, candidate)


def _within(originals: Sequence[Observation], candidate: Observation) -> Iterator[Evidence]:
    """Return what a process within the container sees; variables are counted, not shown."""
    apps, theirs = [each.app for each in originals if each.app], candidate.app
    if apps and theirs:
        places = _join(each.directory or "unknown" for each in apps)
        yield Evidence("directory", places, theirs.directory or "unknown", "equal")
    looks = [each.look for each in originals if each.look]
    for name in looks[0] if looks and candidate.look else ():
        ours = _join(each.get(name, "nothing") for each in looks)
        yield Evidence(name, ours, candidate.look.get(name, "nothing"), "equal")


def _of(
    what: str,
    originals: Sequence[Observation],
    candidate: Observation,
    say: Callable[[Observation], str],
) -> Evidence:
    return Evidence(what, _join(map(say, originals)), say(candidate), "equal")


def _times(what: str, ours: Sequence[float], theirs: float) -> Evidence:
    low, high = f"{min(ours):.1f}", f"{max(ours):.1f}"
    span = low if low == high else f"{low} to {high}"
    return Evidence(what, f"{span} s", f"{theirs:.1f} s", "equal")


def _join(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _ending(code: int | None) -> str:
    return "stays up" if code is None else f"exit code {code}"


def _health(healthy: bool | None) -> str:
    return {None: "not run", True: "healthy", False: "unhealthy"}[healthy]


def _describe_answer(answer: Answer) -> str:
    parts = ["holds" if answer.held else answer.problem or "fails"]
    if answer.status is not None:
        parts.append(str(answer.status))
    if answer.body:
        parts.append(f"{len(answer.body):,} bytes")
    return ", ".join(parts)

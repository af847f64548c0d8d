"""Comparing how two containers behave, with the noise of the original masked.

No aspect has a tolerance of its own. The original runs several times, and whatever these runs do
differently is noise: a candidate may do what any of them did. Only where all of them agree is a
candidate held to it exactly. So an app with random output needs no configuration, and an app
without any gets no slack.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlkit.image.proof.likeness import alike, mask
from mlkit.image.run.observation import Observation
from mlkit.image.run.probe import Answer

Verdict = Literal["equal", "improved", "broken"]
Effect = Literal["broken", "improved", "noted"]
Run = Callable[[], Observation]
ALARM = re.compile(r"error|traceback|no such file|not found|cannot|exception|fatal", re.IGNORECASE)
# Both bounds have to be exceeded: twice a tenth of a second is a busy scheduler, and one second
# more than a minute is a busy disk.
SLOWER = 2.0
"""Factor of the original's time beyond which a time is broken, if also beyond `SLACK`."""
SLACK = 1.0
"""Seconds more than the original's time beyond which a time is broken, if also beyond `SLOWER`."""
# A slow run may be the machine's fault, a fast one is no accident: a candidate that is only slow
# is measured again beside the original, under the same load, and the best of each is compared.
ATTEMPTS = 5
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


def in_turn(original: Run, candidate: Run) -> tuple[Observation, Observation]:
    """Run two one after the other."""
    return original(), candidate()


def compare(
    originals: Sequence[Observation],
    candidate: Observation,
    timed: Sequence[Observation] | None = None,
) -> list[Difference]:
    """List what a candidate does otherwise than every run of the original did.

    Args:
        originals: Fresh runs of the original; what differs among them is noise.
        candidate: A run of the other image.
        timed: Those whose times count; None: all.
    """
    found = [*_life(originals, candidate), *_stopping(originals, candidate)]
    found += _times(originals if timed is None else timed, candidate)
    found += [*_standing(originals, candidate), *_finding(originals, candidate)]
    for number, answers in enumerate(zip(*(each.answers for each in originals), strict=True)):
        found += _answers(answers, candidate.answers[number] if candidate.answers else None)
    return [*found, *_log(originals, candidate)]


def settle(
    originals: Sequence[Observation],
    original: Run,
    candidate: Run,
    both: Callable[[Run, Run], tuple[Observation, Observation]] = in_turn,
) -> tuple[Observation, list[Difference]]:
    """Run a candidate and compare; where its times differ, measure both under the same load.

    Whatever else any of its runs does otherwise than all of the original's stays a difference.

    Args:
        originals: Runs of the original.
        original: Runs it once more.
        candidate: Runs the candidate.
        both: Runs the two, at the same time if that is allowed.
    """
    theirs, ours = [candidate()], list[Observation]()
    last, differences = theirs[0], compare(originals, theirs[0])
    while _is_slow(differences, last) and len(theirs) < ATTEMPTS:
        measured = both(original, candidate)
        ours.append(measured[0])
        theirs.append(measured[1])
        last = _with_best_times(theirs[-1], *theirs[1:-1])  # the first run had another load
        best = _with_best_times(ours[-1], *ours[:-1])
        differences = compare([*originals, *ours], last, [best])
        known = {each.what for each in differences}
        breaks = _breaks([*originals, *ours], theirs[:-1])
        differences += [each for what, each in breaks.items() if what not in known]
    return last, differences


def _is_slow(differences: Sequence[Difference], candidate: Observation) -> bool:
    """Return whether times are broken, and by nothing that explains them, such as no answer."""
    broken = {each.what for each in differences if each.effect == "broken"}
    return bool(broken & TIMES) and (candidate.works or broken <= TIMES)


def _breaks(
    originals: Sequence[Observation], candidates: Sequence[Observation]
) -> dict[str, Difference]:
    """Return what some runs of a candidate break, times apart, by what was compared."""
    found = [each for run in candidates for each in compare(originals, run)]
    return {each.what: each for each in found if each.effect == "broken" and each.what not in TIMES}


def _with_best_times(last: Observation, *others: Observation) -> Observation:
    """Return a run with the best times of several."""
    runs = [last, *others]
    stops = [each.stop for each in runs if each.stop is not None]
    ready = min(each.ready for each in runs)
    return replace(last, ready=ready, stop=None if last.stop is None else min(stops))


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
    return [*found, *_health(originals, candidate)]


def _times(originals: Sequence[Observation], candidate: Observation) -> Iterator[Difference]:
    """Compare with the slowest run of the original that had the machine for itself, if any had."""
    quiet = [each for each in originals if not each.crowded] or originals
    stops = [each.stop for each in quiet if each.stop is not None]
    pairs = [("ready time", max(each.ready for each in quiet), candidate.ready)]
    if stops and candidate.stop is not None:
        pairs.append(("stop time", max(stops), candidate.stop))
    for what, slowest, theirs in pairs if not candidate.problem else ():
        if theirs > max(SLOWER * slowest, slowest + SLACK):
            yield Difference(what, f"{slowest:.1f} s", f"{theirs:.1f} s", "broken")


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
    stopped = candidate.stop is not None and any(each.stop is not None for each in originals)
    if stopped and all(each.killed for each in originals) and not candidate.killed:
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
    if not all(originals) or not theirs:  # an inspector without the right to read them
        return []
    for name in sorted(set(theirs).union(*originals)):
        values = {each.get(name) for each in originals}
        value = theirs.get(name)
        # A variable that varies among the originals (a host name, a token) may have any value.
        if value in values or (len(values) > 1 and value is not None):
            continue
        effect = "noted" if name == "HOME" and unknown else "broken"
        ours = "not set" if values == {None} else "set"
        shown = "not set" if value is None else "another value" if ours == "set" else "set"
        found.append(Difference(f"variable {name}", ours, shown, effect))
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
        return [Difference(what, _describe_answer(one), "not asked", "broken")]
    held = {each.held for each in originals}
    if candidate.held not in held:
        return [
            Difference(
                what, _describe_answer(one), _describe_answer(candidate), _better(candidate.held)
            )
        ]
    if candidate.status not in {each.status for each in originals}:
        return [Difference(what, _describe_answer(one), _describe_answer(candidate), "broken")]
    if one.explored and len({each.body for each in originals}) > 1:
        return []  # nobody has asked for it, and its output differs each time
    return [*_headers(originals, candidate, what), *_body(originals, candidate, what)]


def _describe_answer(answer: Answer) -> str:
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
            effect: Effect = (
                "noted" if name == "etag" and _same_file(originals, candidate) else "broken"
            )
            found.append(Difference(f"{what}: {name}", values[0], theirs, effect))
    return found


def _same_file(originals: Sequence[Answer], candidate: Answer) -> bool:
    """Return whether only an ETag can differ: some servers make it of the number of the inode."""
    times = {each.headers.get("last-modified") for each in (*originals, candidate)}
    return len(times) == 1 and None not in times and candidate.body == originals[0].body


def _body(originals: Sequence[Answer], candidate: Answer, what: str) -> list[Difference]:
    bodies = [each.body.decode(errors="replace") for each in originals]
    theirs = candidate.body.decode(errors="replace")
    if candidate.body in {each.body for each in originals}:
        return []
    if len({each.body for each in originals}) > 1 and alike(bodies, theirs):
        return []
    pair = _first_difference(bodies[0], theirs)
    return [Difference(f"{what}: body", *pair, "broken")]


def _first_difference(a: str, b: str) -> tuple[str, str]:
    at = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    begin = max(0, at - 20)
    return repr(a[begin : begin + 80]), repr(b[begin : begin + 80])


def _always(originals: Sequence[Observation]) -> list[str]:
    """List the lines, numbers masked, that all runs have written."""
    lines = [dict.fromkeys(mask(each.log).splitlines()) for each in originals]
    return [line for line in lines[0] if all(line in other for other in lines[1:])]


def _log(originals: Sequence[Observation], candidate: Observation) -> list[Difference]:
    known = {mask(line) for each in originals for line in each.log.splitlines()}
    ended = all(each.exit_code is not None for each in (*originals, candidate))
    lacking = [line for line in _always(originals) if line not in mask(candidate.log)]
    # The log of a server depends on timing, so a line may be missing; that of a command which
    # ends by itself is its result.
    if ended and lacking:
        return [Difference("output", lacking[0].strip(), "no such line", "broken")]
    new = [line for line in candidate.log.splitlines() if mask(line) not in known]
    alarms = [line for line in new if ALARM.search(line)]
    if alarms:
        return [Difference("log", "no such line", alarms[0].strip(), "broken")]
    return [Difference("log", "no such line", new[0].strip(), "noted")] if new else []

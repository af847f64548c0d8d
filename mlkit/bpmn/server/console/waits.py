"""Why an instance waits, and for whom or what, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlkit.bpmn.people.directory import Directory

_ENDS = {"completed": "It completed", "cancelled": "It was cancelled", "failed": "It failed"}
Document = Mapping[str, Any]


def sentence(shown: Document, directory: Directory) -> str:
    """Return the sentence.

    Args:
        shown: The instance, as `Service.show` describes it.
        directory: The people, for their names.
    """
    state = shown["state"]
    if state in _ENDS:
        return f"{_ENDS[state]} at {format_time(shown['ended'])}{_error(shown['error'])}."
    if state == "suspended":
        return "It is suspended: nothing of it begins until somebody resumes it."
    if shown["incidents"]:
        return _describe_stop(shown["incidents"])
    stalled = [each for each in shown["waiting"] if each["for"] == "store"]
    if stalled:
        return _waiting(stalled, directory)
    working = [name_element(each) for each in shown["tokens"] if each["status"] == "working"]
    if working:
        return f"It runs {_join_names(working)}."
    if shown["waiting"]:
        return _waiting(shown["waiting"], directory)
    return "It is about to continue."


def _error(error: Mapping[str, str] | None) -> str:
    if error is None:
        return ""
    parts = [error.get("code", ""), _line(error.get("message", "")).rstrip(".")]
    return "".join(f": {each}" for each in parts if each)


def _describe_stop(incidents: Sequence[Document]) -> str:
    first, more = incidents[0], len(incidents) - 1
    others = f" and at {more} more place{'' if more == 1 else 's'}" if more else ""
    message = _line(str(first["message"])).rstrip(".")
    return f"It stopped at {name_element(first)}{others} and needs somebody: {message}."


def _waiting(waiting: Sequence[Document], directory: Directory) -> str:
    shown = [f"{reason(each, directory)} (at {name_element(each)})" for each in waiting[:3]]
    more = f", and for {len(waiting) - 3} more" if len(waiting) > 3 else ""
    return f"It waits for {'; for '.join(shown)}{more}."


def reason(each: Document, directory: Directory) -> str:
    """Return for whom or what one activity waits."""
    match each["for"]:
        case "person":
            return _people(each, directory)
        case "timer":
            return f"the time {format_time(each['due'])}"
        case "retry":
            return f"the next attempt, at {format_time(each['due'])}"
        case "message":
            key = f" with the key {each['key']!r}" if each["key"] else ""
            return f"the message {each['message']!r}{key}"
        case "signal":
            return f"the signal {each['signal']!r}"
        case "condition":
            return "its condition to hold"
        case "worker":
            return f"an external worker of the topic {each['topic']!r}"
        case "store":
            return f"the store of values and files, which is away: {_line(each['message'])}"
        case "start":
            return f"somebody to start one of {', '.join(each['activities']) or 'its activities'}"
    return "one of several events"


def _people(each: Document, directory: Directory) -> str:
    if each["assignee"] is not None:
        wanted = [each["assignee"]]
    else:
        wanted = [*each["users"], *each["groups"]]
    return " or ".join(map(directory.name_of, wanted)) or "anybody"


def name_element(each: Document) -> str:
    """Return what people call an element."""
    return str(each.get("name") or each["element"])


def format_time(at: str | None) -> str:
    """Return a time as pages have it."""
    return f"{at[:19].replace('T', ' ')} UTC" if at else "an unknown time"


def _line(text: str) -> str:
    lines = [each.strip() for each in text.splitlines() if each.strip()]
    found = lines[0] if lines else ""
    return found if len(found) <= 300 else f"{found[:300]}..."


def _join_names(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(names)

"""What the `mlkit bpmn` commands print about instances and tasks."""

from __future__ import annotations

import time
from datetime import datetime
from shlex import quote
from typing import Any

import typer

from mlkit.cli.bpmn.place import Where
from mlkit.cli.output import Output
from mlkit.errors import printable

_EXIT_CODES = {"completed": 0, "waiting": 3, "running": 3, "interrupted": 3, "suspended": 3}


def conclude(
    found: dict[str, Any], where: Where, as_json: bool, output: Output, code: int | None = None
) -> None:
    """Print the state of an instance, and leave with its exit code, or with `code`."""
    if found["state"] == "running":
        output.note(f"instance {found['instance']} runs in another process")
    if as_json:
        Output.document("bpmn.instance", 1, found)
    else:
        _tell(found, where, output)
    code = _EXIT_CODES.get(found["state"], 1) if code is None else code
    if code:
        raise typer.Exit(code)


def _tell(found: dict[str, Any], where: Where, output: Output) -> None:
    Output.line(f"{found['instance']}  {found['state']}")
    options = where.options
    if found["error"] and found["error"]["message"]:
        code = found["error"]["code"]
        what = f"error {code}" if code else found["state"]
        output.note(f"{what}: {found['error']['message']}")
    if found["state"] == "suspended":
        output.note(f"`mlkit bpmn unsuspend {found['instance']}{options}` lets it continue")
    for each in found["incidents"]:
        output.note(f"incident at {each['element']}: {each['message']}")
    if found["incidents"]:
        output.note(f"`mlkit bpmn logs {found['instance']}{options}` shows what was printed")
        output.note(f"`mlkit bpmn retry {found['instance']}{options}` tries again")
    for each in found["waiting"]:
        output.note(printable(_waiting({"instance": found["instance"], **each}, where)))


def _waiting(each: dict[str, Any], place: Where) -> str:
    where = place.options
    label = each["name"] or each["element"]
    if each["for"] == "person":
        fields = [field for field in each["form"] if not field["readonly"]]
        values = " ".join(f"--set {quote(field['id'])}=..." for field in fields)
        command = f"mlkit bpmn complete {each['task']}{where} {values}"
        needed = [field for field in fields if field["required"] or field["type"] == "boolean"]
        if [field["type"] for field in needed] in ([], ["boolean"]):
            command = f"mlkit bpmn approve {each['task']}{where}"
        return f"waiting for {who_may(each)}: {label}: `{command}`"
    if each["for"] == "message":
        key = f" --key {quote(each['key'])}" if each["key"] else ""
        return f"waiting at {label}: `mlkit bpmn message {quote(each['message'])}{key}{where}`"
    if each["for"] == "signal":
        return f"waiting at {label}: `mlkit bpmn signal {quote(each['signal'])}{where}`"
    if each["for"] == "worker":
        return f"waiting at {label} for an external worker of topic {each['topic']!r}"
    if each["for"] == "start":
        names = ", ".join(each["activities"])
        command = f"mlkit bpmn start {each['instance']} ELEMENT{where}"
        return f"waiting at {label} for somebody to start {names}: `{command}`"
    if each["for"] in ("condition", "several"):
        return f"waiting at {label} for {each['for'].replace('several', 'one of several events')}"
    resume = "" if place.is_server else f": `mlkit bpmn resume{where}`"
    return f"waiting at {label} until {each['due']}{resume}"


def who_may(each: dict[str, Any]) -> str:
    """Write who may do a user task."""
    return each["assignee"] or ", ".join([*each["users"], *each["groups"]]) or "anybody"


def ago(at: float | str) -> str:
    """Write how long ago something was, in seconds since 1970 or ISO 8601."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at).timestamp()
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"

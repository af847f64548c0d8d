"""`mlkit bpmn list, show, history, logs, stores, ...`: instances and what they did."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bpmn.options import (
    STATE,
    Cpu,
    Env,
    Instance,
    JournalUrl,
    Memory,
    Person,
    State,
    Timeout,
    acting,
    ago,
    conclude,
    reading,
    serving,
    settings_of,
)
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from mlkit.bpmn.journal.records import Row


def show_rows(rows: list[Row], json: bool) -> None:
    """Print a list of instances."""
    from mlkit.bpmn.definition.timers import instant

    if json:
        fields = [
            {
                "instance": each.id, "process": each.process, "state": each.phase,
                "business_key": each.key, "created": instant(each.created),
                "updated": instant(each.updated),
            }
            for each in rows
        ]  # fmt: skip
        Output.document("bpmn.list", 1, {"instances": fields})
        return
    for each in rows:
        Output.line(f"{each.id}  {each.phase:<11}  {each.process}  {ago(each.updated)}")


@examples(
    "mlkit bpmn list",
    "mlkit bpmn list --json | jq '.instances[].state'",
)
def list_(state: State = STATE, journal: JournalUrl = None, json: Json = False) -> None:
    """List the instances of a state folder, oldest first."""
    from mlkit.bpmn.journal import open_journal

    opened = open_journal(state, url=journal)
    try:
        rows = opened.rows()
    finally:
        opened.close()
    show_rows(rows, json)
    for each in rows:
        each.require_readable(state)


@examples(
    "mlkit bpmn show 3f2a",
    "mlkit bpmn show 3f2a --json | jq .tokens",
)
def show(
    instance: Instance, state: State = STATE, journal: JournalUrl = None, json: Json = False
) -> None:
    """Show where an instance's tokens are, its variables, and what it waits for."""
    from mlkit.bpmn.runtime.documents import document, open_nodes

    with reading(state, journal) as session:
        row = session.journal.find(instance)
        found = document(session, row)
        tokens = open_nodes(session.engine(row), session.state(row))
    if json:
        Output.document("bpmn.show", 1, {**found, "tokens": tokens})
        return
    Output.line(f"{found['instance']}  {found['process']}  {found['state']}")
    if found["error"]:
        Output.line(f"  {found['error']['code']}  {found['error']['message']}")
    for each in tokens:
        Output.line(f"  {each['status']:<9} {each['name'] or each['element']}")
    for name, value in found["variables"].items():
        Output.line(f"  {name} = {_short(value)}")
    for each in found["decisions"]:
        Output.line(f"  {each['name'] or each['element']} decided: {_decided(each)}")


def _decided(found: dict[str, Any]) -> str:
    """Return a decision in a line: what it said, from which inputs, by which rules."""
    result = found["error"] or f"{found['decision']} = {_short(found['output'])}"
    inputs = ", ".join(f"{name} = {_short(value)}" for name, value in found["inputs"].items())
    rules = "; ".join(
        f"{each['decision']}: {_numbered(each['rules'])}" for each in found["matched"]
    )
    return f"{result}" + (f" from {inputs}" if inputs else "") + (f" ({rules})" if rules else "")


def _numbered(rules: list[int]) -> str:
    if not rules:
        return "no rule"
    return ("rule " if len(rules) == 1 else "rules ") + ", ".join(map(str, rules))


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."


@examples(
    "mlkit bpmn history 3f2a",
    "mlkit bpmn history 3f2a --json",
)
def history(
    instance: Instance, state: State = STATE, journal: JournalUrl = None, json: Json = False
) -> None:
    """Show the flow nodes that an instance went through, in order, and what was decided."""
    from mlkit.bpmn.runtime.documents import history as ended

    with reading(state, journal) as session:
        row = session.journal.find(instance)
        found = list(ended(session.journal, row, session.engine(row)))
    if json:
        trace = [each for each in found if "decision" not in each]
        decisions = [each for each in found if "decision" in each]
        fields = {"instance": row.id, "trace": trace, "decisions": decisions}
        Output.document("bpmn.history", 1, fields)
        return
    for each in found:
        text = _decision(each) if "decision" in each else _passed(each)
        Output.line(f"{each['at']}  {text}")


def _passed(each: dict[str, Any]) -> str:
    who = f"  by {each['by']}" if each["by"] else ""
    return f"{each['event']:<10}  {each['type']:<22} {_label(each)}{who}"


def _decision(each: dict[str, Any]) -> str:
    event = "failed" if each["error"] else "decided"
    return f"{event:<10}  {'decision':<22} {_label(each)}: {_decided(each)}"


def _label(each: dict[str, Any]) -> str:
    return f"{each['name'] or each['element']}" + (
        f" [{each['iteration']}]" if each["iteration"] else ""
    )


@examples(
    "mlkit bpmn logs 3f2a",
    "mlkit bpmn logs 3f2a --json | jq .logs",
)
def logs(
    instance: Instance, state: State = STATE, journal: JournalUrl = None, json: Json = False
) -> None:
    """Show what each attempt at a task printed, its duration and its peak memory."""
    from mlkit.bpmn.definition.timers import instant

    with reading(state, journal) as session:
        row = session.journal.find(instance)
        found = session.journal.logs(row)
    if json:
        fields = [{**each._asdict(), "ended": instant(each.ended)} for each in found]
        Output.document("bpmn.logs", 1, {"instance": row.id, "logs": fields})
        return
    for each in found:
        iteration = f" [{each.iteration}]" if each.iteration else ""
        cost = f"{each.duration:.3f} s, {each.peak / 1e6:.0f} MB"
        head = f"== {each.element}{iteration}, attempt {each.attempt}: {each.outcome}, {cost}"
        sys.stdout.write(f"{head}\n{_ended(each.stdout)}{_ended(each.stderr)}")


def _ended(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


@examples(
    "mlkit bpmn artifacts 3f2a",
    "mlkit bpmn artifacts 3f2a --json",
)
def artifacts(
    instance: Instance, state: State = STATE, journal: JournalUrl = None, json: Json = False
) -> None:
    """List the stored values of an instance: which task made each, and from which others."""
    from mlkit.bpmn.runtime.documents import artifacts as find

    with reading(state, journal) as session:
        row = session.journal.find(instance)
        found = find(session.journal, row)
    if json:
        Output.document("bpmn.artifacts", 1, {"instance": row.id, "artifacts": found})
        return
    names = {each["artifact"]: each["name"] for each in found}
    for each in found:
        made = f"by {each['by']}, attempt {each['attempt']}" if "by" in each else "given"
        sources = ", ".join(names.get(name, name[:12]) for name in each.get("from", []))
        origin = f" from {sources}" if sources else ""
        kind = f"{each['kind']}, {_amount(each['size'])}"
        Output.line(f"{each['artifact'][:12]}  {each['name']}  {kind}, {made}{origin}")


def _amount(size: int) -> str:
    """Write a number of bytes in the unit that fits."""
    for unit, bytes_ in (("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} B"


@examples(
    "mlkit bpmn stores",
    "mlkit bpmn stores --json | jq .stores",
)
def stores(state: State = STATE, journal: JournalUrl = None, json: Json = False) -> None:
    """List the data stores of a state folder, and which instance set each last."""
    from mlkit.bpmn.definition.timers import instant
    from mlkit.bpmn.journal import open_journal

    opened = open_journal(state, url=journal)
    try:
        found = opened.stores.all()
    finally:
        opened.close()
    if json:
        fields = [{**each._asdict(), "updated": instant(each.updated)} for each in found]
        Output.document("bpmn.stores", 1, {"stores": fields})
        return
    for each in found:
        origin = f"by {each.instance}, {ago(each.updated)}"
        Output.line(f"{each.name} = {_short(each.value)}  ({origin})")


@examples(
    "mlkit bpmn cancel 3f2a",
    "mlkit bpmn cancel 3f2a --reason late",
)
def cancel(
    context: typer.Context,
    instance: Instance,
    reason: Annotated[str, typer.Option(help="Kept with the instance.")] = "",
    person: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """End an instance."""
    with serving(state, journal) as service:
        row = service.cancel(instance, reason, acting(person))
        conclude(service.session, row, json, of(context), code=0)


@examples(
    "mlkit bpmn retry 3f2a",
    "mlkit bpmn retry 3f2a --timeout 600",
)
def retry(
    context: typer.Context,
    instance: Instance,
    incident: Annotated[
        int, typer.Option(min=0, max=MOST, help="Its number (0: all of the instance).")
    ] = 0,
    person: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006 - typer's way to say "none given"
    json: Json = False,
) -> None:
    """Try incidents again, with other limits where they are given.

    Exits as `run` does.
    """
    settings = settings_of(None, (None, None), (timeout, cpu, memory, tuple(env)), journal)
    with serving(state, journal, settings) as service:
        row = service.retry(instance, incident, acting(person))
        conclude(service.session, row, json, of(context))


@examples(
    "mlkit bpmn check",
    "mlkit bpmn check --json",
)
def check(state: State = STATE, journal: JournalUrl = None, json: Json = False) -> None:
    """Look for damage in a state folder; exits 1 where there is some.

    Replays every instance, and reads all that the journal keeps and the stored values.
    """
    from mlkit.bpmn.runtime.inspection import damage

    with reading(state, journal) as session:
        found = damage(session)
    if json:
        Output.document("bpmn.check", 1, {"damage": found})
    else:
        for each in found:
            Output.line(each)
        if not found:
            Output.line(f"{state}: no damage")
    if found:
        raise typer.Exit(1)

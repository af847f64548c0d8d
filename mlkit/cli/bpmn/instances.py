"""`mlkit bpmn list, show, history, logs, stores, ...`: instances and what they did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

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
    find_person,
    reading,
    settings_of,
)
from mlkit.cli.bpmn.place import Place, asking, choose_server, listing, refuse_limits, with_place
from mlkit.cli.bpmn.results import ago, conclude
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of


def show_rows(found: list[dict[str, Any]], json: bool, output: Output) -> None:
    """Print a list of instances."""
    if json:
        Output.document("bpmn.list", 1, {"instances": found})
        return
    if not found:
        output.note("no instances")
    for each in found:
        line = f"{each['instance']}  {each['state']:<11}  {each['process']}"
        Output.line(f"{line}  {ago(each['updated'])}")


@examples(
    "mlkit bpmn list",
    "mlkit bpmn list --server http://127.0.0.1:8080 --json | jq '.instances[].state'",
)
@with_place
def list_(
    context: typer.Context,
    *,
    place: Place,
    json: Json = False,
) -> None:
    """List the instances of a state folder or a server, oldest first."""
    with listing(context, place) as backend:
        show_rows(backend.instances(), json, of(context))


@examples(
    "mlkit bpmn show 3f2a",
    "mlkit bpmn show 3f2a --json | jq .tokens",
)
@with_place
def show(
    context: typer.Context,
    *,
    instance: Instance,
    place: Place,
    json: Json = False,
) -> None:
    """Show where an instance's tokens are, its variables, and what it waits for."""
    with asking(context, place) as (backend, _):
        found = backend.show(instance)
    if json:
        Output.document("bpmn.show", 1, found)
        return
    Output.line(f"{found['instance']}  {found['process']}  {found['state']}")
    if found["error"]:
        Output.line(f"  {found['error']['code']}  {found['error']['message']}")
    stalled = {
        each["id"]: f" (it waits for the store: {each['message']})"
        for each in found["waiting"]
        if each["for"] == "store"
    }
    for each in found["tokens"]:
        Output.line(
            f"  {each['status']:<9} {each['name'] or each['element']}"
            f"{_format_arrived(each)}{stalled.get(each['id'], '')}"
        )
    for name, value in found["variables"].items():
        Output.line(f"  {name} = {_short(value)}")
    for each in found["decisions"]:
        Output.line(f"  {each['name'] or each['element']} decided: {_format_decision(each)}")


def _format_arrived(token: dict[str, Any]) -> str:
    if token["status"] != "joining":
        return ""
    return f" (a token by {len(token['arrived'])} of {token['incoming']} flows: it waits for more)"


def _format_decision(found: dict[str, Any]) -> str:
    """Return a decision in a line: its result, from which inputs, by which rules."""
    result = found["error"] or f"{found['decision']} = {_short(found['output'])}"
    inputs = ", ".join(f"{name} = {_short(value)}" for name, value in found["inputs"].items())
    rules = "; ".join(
        f"{each['decision']}: {_format_rules(each['rules'])}" for each in found["matched"]
    )
    return f"{result}" + (f" from {inputs}" if inputs else "") + (f" ({rules})" if rules else "")


def _format_rules(rules: list[int]) -> str:
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
@with_place
def history(
    context: typer.Context,
    *,
    instance: Instance,
    place: Place,
    json: Json = False,
) -> None:
    """Show the flow nodes that an instance went through, in order, and its decisions."""
    with asking(context, place) as (backend, _):
        found = backend.history(instance)
    if json:
        Output.document("bpmn.history", 1, found)
        return
    for each in _in_order(found["trace"], found["decisions"]):
        text = _decision(each) if "decision" in each else _format_passed(each)
        Output.line(f"{each['at']}  {text}")


def _in_order(
    trace: list[dict[str, Any]], decisions: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield flow nodes, each with the decisions before it."""
    left = list(reversed(decisions))
    for position, each in enumerate(trace):
        while left and left[-1]["after"] <= position:
            yield left.pop()
        yield each
    yield from reversed(left)


def _format_passed(each: dict[str, Any]) -> str:
    who = f"  by {each['by']}" if each["by"] else ""
    return f"{each['event']:<10}  {each['type']:<22} {_label(each)}{who}"


def _decision(each: dict[str, Any]) -> str:
    event = "failed" if each["error"] else "decided"
    return f"{event:<10}  {'decision':<22} {_label(each)}: {_format_decision(each)}"


def _label(each: dict[str, Any]) -> str:
    return f"{each['name'] or each['element']}" + (
        f" [{each['iteration']}]" if each["iteration"] else ""
    )


@examples(
    "mlkit bpmn logs 3f2a",
    "mlkit bpmn logs 3f2a --json | jq .logs",
)
@with_place
def logs(
    context: typer.Context,
    *,
    instance: Instance,
    place: Place,
    json: Json = False,
) -> None:
    """Show what each attempt at a task printed, its duration, its peak memory and its host.

    A running attempt is shown with the last lines that it has printed, a second late.
    """
    with asking(context, place) as (backend, _):
        found = backend.logs(instance)
    if json:
        Output.document("bpmn.logs", 1, found)
        return
    for each in found["logs"]:
        iteration = f" [{each['iteration']}]" if each["iteration"] else ""
        cost = f"{each['duration']:.3f} s, {each['peak'] / 1e6:.0f} MB"
        task = f"{each['element']}{iteration}, attempt {each['attempt']}"
        printed = _end_line(each["stdout"]) + _end_line(each["stderr"])
        where = f", on {each['host']}" if each.get("host") else ""
        sys.stdout.write(f"== {task}: {each['outcome']}, {cost}{where}\n{printed}")
    for each in found.get("running", []):
        iteration = f" [{each['iteration']}]" if each["iteration"] else ""
        printed = _end_line(each["stdout"]) + _end_line(each["stderr"])
        task = f"{each['element']}{iteration}, attempt {each['attempt']}"
        sys.stdout.write(f"== {task}: runs since {each['began']}, on {each['host']}\n{printed}")


def _end_line(text: str) -> str:
    return text if text.endswith("\n") or not text else f"{text}\n"


@examples(
    "mlkit bpmn artifacts 3f2a",
    "mlkit bpmn artifacts 3f2a --json",
)
@with_place
def artifacts(
    context: typer.Context,
    *,
    instance: Instance,
    place: Place,
    json: Json = False,
) -> None:
    """List the stored values of an instance, the task that made each, and their origins."""
    with asking(context, place) as (backend, _):
        found = backend.artifacts(instance)
    if json:
        Output.document("bpmn.artifacts", 1, found)
        return
    names = {each["artifact"]: each["name"] for each in found["artifacts"]}
    for each in found["artifacts"]:
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
@with_place
def stores(
    context: typer.Context,
    *,
    place: Place,
    json: Json = False,
) -> None:
    """List the data stores, and which instance set each last."""
    with listing(context, place) as backend:
        found = backend.stores()
    if json:
        Output.document("bpmn.stores", 1, {"stores": found})
        return
    if not found:
        of(context).note("no data store has a value")
    for each in found:
        by = "" if each["instance"] is None else f"by {each['instance']}, "
        origin = f"{by}{ago(each['updated'])}"
        Output.line(f"{each['name']} = {_short(each['value'])}  ({origin})")


@examples(
    "mlkit bpmn retries",
    "mlkit bpmn retries --process training --json | jq '.retries[].message'",
)
@with_place
def retries(
    context: typer.Context,
    *,
    place: Place,
    process: Annotated[str | None, typer.Option(help="List only tasks of this definition.")] = None,
    element: Annotated[str | None, typer.Option(help="List only tasks at this element.")] = None,
    json: Json = False,
) -> None:
    """List the tasks that wait for another attempt, and why the last one failed."""
    with listing(context, place) as backend:
        found = backend.retries(process, element)
    if json:
        Output.document("bpmn.retries", 1, {"retries": found})
        return
    if not found:
        of(context).note("no task waits for another attempt")
    for each in found:
        task = f"{each['instance']}/{each['incident']}  {each['process']}  {each['element']}"
        when = f"attempt {each['attempt']} failed, the next one at {each['due']}"
        Output.line(f"{task}  {when}: {each['message']}")


@examples(
    "mlkit bpmn cancel 3f2a",
    "mlkit bpmn cancel 3f2a --reason late",
)
@with_place
def cancel(
    context: typer.Context,
    *,
    instance: Instance,
    reason: Annotated[str, typer.Option(help="Reason, recorded with the instance.")] = "",
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """End an instance."""
    with asking(context, place) as (backend, where):
        found = backend.cancel(instance, reason, find_person(person))
        conclude(found, where, json, of(context), code=0)


@examples(
    "mlkit bpmn suspend 3f2a",
    'mlkit bpmn suspend 3f2a --reason "the prices are wrong"',
)
@with_place
def suspend(
    context: typer.Context,
    *,
    instance: Instance,
    reason: Annotated[str, typer.Option(help="Reason, recorded with the instance.")] = "",
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Suspend an instance: nothing of it starts until `unsuspend`.

    Running scripts may finish. Timers do not fire, user tasks are not listed, messages and signals
    are kept; variables can be changed, and the instance can be cancelled.
    """
    with asking(context, place) as (backend, where):
        found = backend.suspend(instance, reason, find_person(person))
        conclude(found, where, json, of(context), code=0)


@examples(
    "mlkit bpmn unsuspend 3f2a",
    "mlkit bpmn unsuspend 3f2a --server http://127.0.0.1:8080",
)
@with_place
def unsuspend(
    context: typer.Context,
    *,
    instance: Instance,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Let a suspended instance continue, with everything that has arrived.

    Exits as `run` does.
    """
    with asking(context, place) as (backend, where):
        found = backend.unsuspend(instance, find_person(person))
        conclude(found, where, json, of(context))


@examples(
    "mlkit bpmn retry 3f2a",
    "mlkit bpmn retry 3f2a --timeout 600",
)
@with_place
def retry(
    context: typer.Context,
    *,
    instance: Instance,
    incident: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST,
            help="Number of the incident, or of a task that waits for another attempt (see"
            " `retries`); 0 for all incidents of the instance.",
        ),
    ] = 0,
    person: Person = None,
    place: Place,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006 - typer's way to express "none given"
    json: Json = False,
) -> None:
    """Retry incidents, or begin a waiting attempt now, optionally with other limits.

    Exits as `run` does.
    """
    settings = settings_of(None, (None, None), (timeout, cpu, memory, tuple(env)), place.journal)
    if choose_server(context, place):
        refuse_limits(timeout, memory, cpu, env)
    with asking(context, place, settings) as (backend, where):
        found = backend.retry(instance, incident, find_person(person))
        conclude(found, where, json, of(context))


@examples(
    "mlkit bpmn check",
    "mlkit bpmn check --json",
)
def check(state: State = STATE, journal: JournalUrl = None, json: Json = False) -> None:
    """Check a state folder for damage; exits 1 if there is any.

    Replays every instance, and reads the whole journal and all stored values.
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

"""Rules about data: two branches that run at once and set the same variable."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import combinations

from mlkit.bpmn.decisions.call import DecisionCall
from mlkit.bpmn.definition.model import (
    Call,
    Callable,
    Computed,
    FlowNode,
    Loop,
    Person,
    Scope,
    Script,
)
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.engine import graph
from mlkit.bpmn.lint.rules.place import Place

MOST_STEPS = 1_000_000
"""Nodes that are looked at; beyond that, in enormous files, nothing more is reported."""
_SPLITS = ("parallelGateway", "inclusiveGateway", "complexGateway")
_OWN_SCOPE = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
_R_NAME = re.compile(
    r"^[ \t]*([A-Za-z][\w.]*)(?:[ \t]*(?:<-|=(?!=))|[$@\[][^\n#]*?<-)", re.MULTILINE
)
_CHANGES = frozenset((
    "add", "append", "clear", "discard", "extend", "fill", "insert", "pop", "popitem", "remove",
    "reverse", "setdefault", "sort", "update",
))  # fmt: skip


def writes(place: Place) -> Iterator[Problem]:
    """Return which variables two branches set that run at once: the last commit wins."""
    body = place.body
    setters: dict[str, list[str]] = {}
    for node in body.nodes.values():
        for name in find_written(node):
            setters.setdefault(name, []).append(node.id)
    shared = {name: each for name, each in setters.items() if len(each) > 1}
    if not shared:
        return
    reported = set()
    for parted in branches(body):
        for one, other in combinations(parted, 2):
            for name, nodes in shared.items():
                mine = [each for each in nodes if each in one - other]
                theirs = [each for each in nodes if each in other - one]
                if mine and theirs and (name, mine[0], theirs[0]) not in reported:
                    reported.add((name, mine[0], theirs[0]))
                    yield _problem(body.nodes[theirs[0]], name, mine[0])


def _problem(node: FlowNode, name: str, other: str) -> Problem:
    message = f"{name!r} is set here and by {other!r}, which may run at once: the last one wins"
    return Problem("data.race", "warning", node.id, node.line, message)


def branches(body: Scope) -> Iterator[list[set[str]]]:
    """Yield, for each place where tokens part, the nodes that each of them can reach."""
    steps = MOST_STEPS
    boundary_events: dict[str, list[FlowNode]] = {}
    for node in body.nodes.values():
        if node.attached_to and not node.interrupting:
            boundary_events.setdefault(node.attached_to, []).append(node)
    for node in body.nodes.values():
        ways = [body.flows[each].target for each in node.outgoing]
        found = [_find_reachable(body, [each]) for each in ways] if _parts(node, body) else []
        if node.id in boundary_events:
            found.append({node.id} | _find_reachable(body, ways))
            for boundary in boundary_events[node.id]:
                found.append(
                    _find_reachable(body, [body.flows[e].target for e in boundary.outgoing])
                )
        steps -= sum(map(len, found))
        if steps < 0:
            return
        if len(found) > 1:
            yield found


def _parts(node: FlowNode, body: Scope) -> bool:
    """Return whether several of the flows that leave a node can get a token at once."""
    if len(node.outgoing) < 2 or node.type in ("exclusiveGateway", "eventBasedGateway"):
        return False
    plain = (body.flows[each].condition is None for each in node.outgoing)
    return node.type in _SPLITS or all(plain)


def _find_reachable(body: Scope, starts: list[str]) -> set[str]:
    seen: set[str] = set()
    queue = list(starts)
    while queue:
        name = queue.pop()
        if name not in seen and name in body.nodes:
            seen.add(name)
            queue += [body.flows[each].target for each in body.nodes[name].outgoing]
    return seen


_SET_NAME = re.compile(r"""setVariable\(\s*["'](\w+)["']""")


def find_written(node: FlowNode) -> set[str]:
    """Return the variables that an activity sets in the scope around it, as far as can be seen."""
    if isinstance(node.loop, Loop):
        return {node.loop.output_collection} if node.loop.output_collection else set()
    if node.outputs:
        return {name for name, _ in node.outputs}
    work = node.work
    inner = {name for name, _ in node.inputs} | set(node.reads)
    found: set[str] = set()
    if isinstance(work, Script):
        found = _find_set_names(work)
    elif isinstance(work, Person):
        found = {each.id.partition(".")[0] for each in work.form}
    if isinstance(work, Script | Callable | Computed) and work.result:
        found.add(work.result)
    if isinstance(work, Computed) and isinstance(work.expression, DecisionCall) and work.spreads:
        found |= work.expression.variables
    return {each for each in found if not each.startswith("_")} - inner


def attached(place: Place) -> Iterator[Problem]:
    """Find documents of user tasks that nothing in the diagram sets or writes.

    Callables, calls and messages may bring any name: diagrams that have them are not checked.
    """
    wanted = [(node, name) for node in place.body.nodes.values() for name in _documents(node)]
    if not wanted:
        return
    everything = list(graph.nodes(place.process.body))
    if any(map(_brings_anything, everything)):
        return
    known = set().union(*map(find_written, everything), *(set(each.reads) for each in everything))
    known |= {name for each in everything if each.body for name in each.body.initial()}
    known |= set(place.process.body.initial())
    texts = [each.work.source for each in everything if isinstance(each.work, Script)]
    for node, name in wanted:
        if name.partition(".")[0] not in known and not any(name in text for text in texts):
            message = f"mlkit:attach: nothing in the diagram sets or writes {name!r}"
            yield Problem("attach.unknown", "warning", node.id, node.line, message)


def _brings_anything(node: FlowNode) -> bool:
    received = node.event is not None and node.event.kind in ("message", "signal")
    return received or isinstance(node.work, Callable | Call)


def _documents(node: FlowNode) -> tuple[str, ...]:
    return node.work.attach if isinstance(node.work, Person) else ()


def _find_set_names(work: Script) -> set[str]:
    read = {"r": _of_r, "javascript": _of_javascript}.get(work.format, _of_python)
    return read(work.source)


def _of_r(source: str) -> set[str]:
    return set(_R_NAME.findall(source))


def _of_javascript(source: str) -> set[str]:
    return set(_SET_NAME.findall(source))


def _of_python(source: str) -> set[str]:
    """Return the names that a script binds, or changes the inside of, at the top level."""
    try:
        queue: list[ast.AST] = [ast.parse(inspect.cleandoc("\n" + source))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found: set[str] = set()
    modules: set[str] = set()  # `os.remove(path)` changes no variable
    while queue:
        node = queue.pop()
        if isinstance(node, _OWN_SCOPE):
            continue
        target: ast.AST = node
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        changed = isinstance(getattr(node, "ctx", None), ast.Store)
        if changed and isinstance(target, ast.Name):
            found.add(target.id)
        by_call = _find_changed(node)
        if by_call is not None:
            found.add(by_call)
        modules |= _find_imported(node)
        queue += ast.iter_child_nodes(node)
    return found - modules


def _find_changed(node: ast.AST) -> str | None:
    """Return the name that a statement like `rows.append(1)` changes, or that `execution` sets."""
    match node:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id="execution"), attr="setVariable"),
                args=[ast.Constant(value=str(name)), *_],
            )
        ):
            return name
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))):
            return name if method in _CHANGES else None
    return None


def _find_imported(node: ast.AST) -> set[str]:
    names = node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
    return {each.asname or each.name.partition(".")[0] for each in names}

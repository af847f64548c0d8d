"""Decision tables at random: every hit policy, constants and expressions, defaults and orders."""

from __future__ import annotations

import random
from typing import NamedTuple
from xml.sax.saxutils import escape

HEAD = (
    '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" '
    'namespace="https://example.org/{number}">'
)
POLICIES = ("UNIQUE", "ANY", "FIRST", "PRIORITY", "RULE ORDER", "OUTPUT ORDER", "COLLECT")
AGGREGATIONS = ("", "SUM", "COUNT", "MIN", "MAX")
VALUES = {
    "number": ["0", "1", "2", "3", "4.5", "-1"],
    "string": ['"a"', '"b"', '"c"', '"d"'],
    "boolean": ["true", "false"],
    "date": ['@"2024-01-31"', '@"2024-02-29"', '@"2024-03-01"'],
}
OUTPUTS = ['"x"', '"y"', '"z"']


class Case(NamedTuple):
    """A decision of a model, and the values of its inputs as FEEL."""

    decision: str
    context: str


def model(source: random.Random, number: int, count: int, asked: int) -> tuple[str, list[Case]]:
    """Return a model with some tables, and questions for each."""
    kinds = list(VALUES)
    data = "".join(
        f'<inputData id="{kind}" name="my {kind}"><variable name="my {kind}" typeRef="{kind}"/>'
        "</inputData>"
        for kind in kinds
    )
    decisions, cases = [], []
    for at in range(count):
        chosen = source.sample(kinds, source.randint(1, 3))
        decisions.append(_decision(source, f"d{at}", chosen))
        cases += [Case(f"d{at}", _context(source)) for _ in range(asked)]
    return f"{HEAD.format(number=number)}{data}{''.join(decisions)}</definitions>", cases


def _context(source: random.Random) -> str:
    values = (f"my {kind}: {source.choice(each)}" for kind, each in VALUES.items())
    return f"{{{', '.join(values)}}}"


def _decision(source: random.Random, name: str, kinds: list[str]) -> str:
    policy = source.choice(POLICIES)
    aggregation = source.choice(AGGREGATIONS) if policy == "COLLECT" else ""
    sums = bool(aggregation)
    ordered = policy in ("PRIORITY", "OUTPUT ORDER")
    outputs = 1 if aggregation else source.choice([1, 1, 2])
    needs = "".join(
        f'<informationRequirement><requiredInput href="#{kind}"/></informationRequirement>'
        for kind in kinds
    )
    inputs = "".join(
        f'<input><inputExpression typeRef="{kind}"><text>my {kind}</text></inputExpression></input>'
        for kind in kinds
    )
    # Lists of results, and rows of which only some outputs have a default: others differ there.
    default = not sums and policy in POLICIES[:4] and source.random() < 0.4
    columns = "".join(
        _output(source, f"o{at}" if outputs > 1 else "", sums, ordered, default)
        for at in range(outputs)
    )
    rules = "".join(
        f"<rule>{''.join(_entry('inputEntry', _test(source, kind)) for kind in kinds)}"
        + "".join(_entry("outputEntry", _value(source, sums, at)) for _ in range(outputs))
        + "</rule>"
        for at in range(source.randint(1, 6))
    )
    more = f' aggregation="{aggregation}"' if aggregation else ""
    return (
        f'<decision id="{name}" name="{name}"><variable name="{name}"/>{needs}'
        f'<decisionTable hitPolicy="{policy}"{more}>{inputs}{columns}{rules}'
        "</decisionTable></decision>"
    )


def _entry(tag: str, text: str) -> str:
    return f"<{tag}><text>{escape(text)}</text></{tag}>"


def _value(source: random.Random, sums: bool, rule: int) -> str:
    # No number twice: Kie counts those that differ, the standard counts all.
    return str(source.randint(-3, 9) * 10 + rule) if sums else source.choice(OUTPUTS)


def _output(source: random.Random, name: str, sums: bool, ordered: bool, default: bool) -> str:
    called = f' name="{name}"' if name else ""
    order = ", ".join(source.sample(OUTPUTS, 3))
    values = f"<outputValues><text>{order}</text></outputValues>" if ordered else ""
    entry = _entry("defaultOutputEntry", source.choice(OUTPUTS)) if default else ""
    return f'<output{called} typeRef="{"number" if sums else "string"}">{values}{entry}</output>'


def _test(source: random.Random, kind: str) -> str:
    one, two = source.choice(VALUES[kind]), source.choice(VALUES[kind])
    if kind in ("string", "boolean"):
        forms = ["-", one, f"not({one})", f"{one}, {two}"]
        forms += ["string length(?) = 1", f"? = {one}"] if kind == "string" else [f"? or {one}"]
        return source.choice(forms)
    low, high = sorted((one, two), key=VALUES[kind].index) if kind == "date" else _sorted(one, two)
    signs = [f"{sign} {one}" for sign in ("<", "<=", ">", ">=")]
    spans = [f"{start}{low}..{high}{end}" for start in "[(]" for end in "])["]
    forms = ["-", one, f"{one}, {two}", f"not({one})", f"not({source.choice(spans)})"]
    forms += [source.choice(signs), source.choice(spans), f"{one}, {source.choice(signs)}"]
    forms += [f"? in ({source.choice(spans)})", f"? != {one}"]
    return source.choice(forms)


def _sorted(one: str, two: str) -> tuple[str, str]:
    low, high = sorted((one, two), key=float)
    return low, high

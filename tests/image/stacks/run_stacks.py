"""Slim whole stacks, probed on `/` only, and ask them for what was not probed: `make test-stacks`.

A result that is called equal or improved, and is not, is a false success: there must be none.
An honest refusal costs a user an hour; a false success costs the next release.
`pytest -s tests/image/stacks/run_stacks.py -k NAME` runs one; images stay in the engine as
`mlkit-stack-*` until the end, and longer with MLKIT_KEEP_STACKS=1. With MLKIT_STACKS=FILE each
result is appended to a file as a line of JSON, so that a stop loses none;
`benchmarks/image/stacks.py FILE` makes a table of it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from image.stacks import stack

MOST_REFUSALS = 0.04
"""The share of stacks that may be refused."""


@pytest.fixture(scope="session")
def rows():
    """Collect what came of all stacks, and print it as a table."""
    found = []
    yield found
    print("\nstack             profile   verdict    before    after  works  seconds")
    for each in found:
        sizes = f"{each['before'] / 1e6:7.1f} {each['after'] / 1e6:8.1f}"
        works = f"{each['works']:2}/{each['asked']:2} {each['seconds']:8.1f}"
        print(f"{each['stack']:17} {each['profile']:9} {each['verdict']:9} {sizes}  {works}")


@pytest.fixture(scope="module", params=stack.NAMES)
def subject(request):
    """Return a stack, its image, and what that answers, the same to every asking."""
    name = request.param
    definition = stack.read(name)
    if lacks := stack.missing(definition):
        pytest.skip(f"needs the program {lacks}")
    image = stack.build(name)
    ours = stack.ask(image, definition)
    assert not stack.failing(definition, ours), "a question that the original fails shows nothing"
    assert not stack.differing(ours, stack.ask(image, definition)), "a question without one answer"
    yield name, definition, image, ours
    if not os.environ.get("MLKIT_KEEP_STACKS"):
        for tag in ("original", "balanced", "safe"):
            stack.docker("image", "rm", "--force", f"mlkit-stack-{name}:{tag}", check=False)


@pytest.mark.parametrize("profile", ["balanced", "safe"])
def test_no_false_success(subject, profile, rows):
    name, definition, image, ours = subject
    result = stack.slim(image, definition, profile)
    broken = {} if result.code else stack.differing(ours, stack.ask(result.image, definition))
    row = {"stack": name, "profile": profile, **result.figures(len(ours), len(broken))}
    rows.append(row)
    _record(row)
    if result.code:
        pytest.xfail(f"refused: {result.problem}")
    assert not broken


def _record(row):
    if path := os.environ.get("MLKIT_STACKS"):
        with Path(path).open("a") as file:
            file.write(json.dumps(row) + "\n")


def test_few_are_refused(rows):
    refused = sum(row["verdict"] == "refused" for row in rows)
    assert refused <= MOST_REFUSALS * max(len(rows), 50)

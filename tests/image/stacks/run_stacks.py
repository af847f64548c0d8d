"""Slim whole stacks, probed on `/` only, and ask them for what was not probed: `make test-stacks`.

A result that is called equal or improved, and is not, is a false success: there must be none.
An honest refusal costs a user an hour; a false success costs the next release.
`pytest -s tests/image/stacks/run_stacks.py -k NAME` runs one; images stay in the engine as
`mlkit-stack-*` until the end, and longer with MLKIT_KEEP_STACKS=1.
"""

from __future__ import annotations

import os

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
    for row in found:
        print(row)


@pytest.fixture(scope="module", params=stack.NAMES)
def subject(request):
    """Return a stack, its image, and what that answers."""
    name = request.param
    definition = stack.read(name)
    if lacks := stack.missing(definition):
        pytest.skip(f"needs the program {lacks}")
    image = stack.build(name)
    yield name, definition, image, stack.ask(image, definition)
    if not os.environ.get("MLKIT_KEEP_STACKS"):
        for tag in ("original", "balanced", "safe"):
            stack.docker("image", "rm", "--force", f"mlkit-stack-{name}:{tag}", check=False)


@pytest.mark.parametrize("profile", ["balanced", "safe"])
def test_no_false_success(subject, profile, rows):
    name, definition, image, ours = subject
    result = stack.slim(image, definition, profile)
    if result.code:
        rows.append(result.row(name, profile, 0, len(ours)))
        pytest.xfail(f"refused: {result.problem}")
    theirs = stack.ask(result.image, definition)
    broken = {
        line: (said, theirs.get(line))
        for line, said in ours.items()
        if line not in theirs or not stack.alike(said, theirs[line])
    }
    rows.append(result.row(name, profile, len(ours) - len(broken), len(ours)))
    assert not broken


def test_few_are_refused(rows):
    refused = sum("refused" in row for row in rows)
    assert refused <= MOST_REFUSALS * max(len(rows), 50)

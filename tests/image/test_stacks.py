"""Whole stacks that are quick to build, slimmed by one probe: `make test-stacks` takes them all."""

from __future__ import annotations

import pytest
from image.stacks import stack

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["go-fiber", "python-programs", "user-writes"])
def test_no_route_of_a_result_differs(debian, need_program, name):
    definition = stack.read(name)
    for program in definition.get("needs", ()):
        need_program(program)
    image = stack.build(name, debian)
    try:
        result = stack.slim(image, definition, "balanced")
        assert not result.code, result.problem
        if definition.get("dies"):
            assert result.document["verdict"] == "improved"
            codes = [each["code"] for each in result.document["findings"]]
            assert "pid1-dies" in codes, "its children end when process 1 is their parent"
        ours, theirs = stack.ask(image, definition), stack.ask(result.image, definition)
        assert not stack.failing(definition, ours)
        assert not stack.differing(ours, theirs)
    finally:
        for each in (image, image.replace(":original", ":balanced")):
            stack.docker("image", "rm", "--force", each, check=False)

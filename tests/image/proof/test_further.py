"""A command that ends by itself is asked for its help, and what that says is compared."""

from __future__ import annotations

import pytest

from mlkit.image.command.entrypoint import parse
from mlkit.image.proof.further import Further, asks_help
from mlkit.image.run.observation import Observation

ENDED = Observation(exit_code=0)


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ({"Entrypoint": ["/tool"], "Cmd": ["count", "x"]}, [["--help"]]),
        ({"Cmd": ["/tool", "count"]}, [["/tool", "count", "--help"]]),
        ({"Cmd": ["/tool", "--help"]}, []),
        ({"Cmd": ["/bin/sh", "-c", "tool | sort"]}, []),
    ],
)
def test_a_command_that_ends_is_asked_for_its_help(config, arguments):
    assert asks_help(parse(config), ENDED) == arguments


@pytest.mark.parametrize("code", [None, 1])
def test_a_server_and_what_fails_are_not(code):
    assert asks_help(parse({"Cmd": ["/tool"]}), Observation(exit_code=code)) == []


def test_help_that_lacks_a_line_is_a_break():
    text = "usage: tool\n  count  counts lines\n  --help  shows this\n"
    ours = Observation(exit_code=0, log=text)
    further = Further(["--help"], [lambda: ours, lambda: ours], lambda: ours)
    assert further.compare(lambda: ours) == []
    lacking = Observation(exit_code=0, log=text.replace("  count  counts lines\n", ""))
    (found,) = further.compare(lambda: lacking)
    assert found.what.startswith("run --help: ")
    assert found.effect == "broken"

"""Entrypoints: shell form, exec form, and what the shell is needed for."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.image.command.entrypoint import parse, plain_words, shell_line


@pytest.mark.parametrize(
    ("config", "argv", "converted"),
    [
        ({"Entrypoint": ["/app"], "Cmd": ["-v"]}, ("/app", "-v"), False),
        ({"Entrypoint": ["/bin/sh", "-c", "./app -v"], "Cmd": ["x"]}, ("./app", "-v"), True),
        ({"Cmd": ["/bin/sh", "-c", "exec python3 'a b.py'"]}, ("python3", "a b.py"), True),
        ({"Entrypoint": ["tini", "--"], "Cmd": ["app"]}, ("tini", "--", "app"), False),
    ],
)
def test_a_command_that_uses_nothing_of_the_shell_becomes_exec_form(config, argv, converted):
    command = parse(config)
    assert command.argv == argv
    assert command.converted is converted


@pytest.mark.parametrize(
    "line",
    ["a && b", "a; b", "$APP x", "A=1 app", "a > f", "cd /x", "a *.txt", 'a "$@"', "a 'open"],
)
def test_a_line_that_uses_the_shell_keeps_it(line):
    command = parse({"Entrypoint": ["/bin/sh", "-c", line]})
    assert command.argv == ("/bin/sh", "-c", line)
    assert line in command.shell


@given(st.lists(st.text("ab '\"x-", min_size=1, max_size=5), min_size=1, max_size=4))
def test_plain_words_are_those_that_a_shell_passes(words):
    line = shlex.join(["printf", "%s\\n", *words])
    found = plain_words(line)
    if found is not None:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        assert done.stdout == "".join(f"{word}\n" for word in found[2:])


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["/bin/bash", "-o", "pipefail", "-c", "app x"], "app x"),
        (["sh", "-ec", "app"], None),
        (["bash", "-l", "-c", "app"], None),
        (["sh", "-c"], None),
        (["app", "-c", "x"], None),
    ],
)
def test_options_of_a_shell_before_its_line(argv, line):
    assert shell_line(argv) == line

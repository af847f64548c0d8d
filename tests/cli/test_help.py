"""What `--help` says, in which order, and where its text goes."""

from __future__ import annotations

import os
import re
import sys

import pytest
import typer

from mlkit.cli.groups import LazyGroup
from mlkit.cli.main import app
from tests.cli.commands import LEAVES
from tests.cli.terminal import on_a_terminal

FIRST = {
    "bandit": ["fit", "show", "sample", "serve"],
    "pairs": ["screen", "fit", "backtest", "sweep"],
    "bpmn": ["run", "test", "lint"],
    "image": ["slim", "compare"],
    "image base": ["build", "list"],
}
CODES = re.compile(r"\x1b\[[0-9;]*m")
FRAMES = "\u256d\u256e\u2502\u2570\u256f"
INTEGERS = [
    (name, option)
    for name, command in LEAVES.items()
    for option in command.params
    if option.type_descriptor.annotation is int
]


def members(group, name="mlkit"):
    """List (full name, help line, command) of all that lazy groups hold, groups too."""
    for each, (_, line) in group.members.items():
        command = group.get_command(typer.Context(group), each)
        yield f"{name} {each}", line, command
        if isinstance(command, LazyGroup):
            yield from members(command, f"{name} {each}")


@pytest.mark.parametrize(
    ("line", "command"),
    [pytest.param(*rest, id=name) for name, *rest in members(typer.main.get_command(app))],
)
def test_a_help_line_is_the_first_of_the_command_s_own_help(line, command):
    assert command.help.splitlines()[0] == line


@pytest.mark.parametrize("group", FIRST)
def test_commands_are_listed_in_the_order_of_their_use(mlkit, group):
    text = mlkit(*group.split(), "--help").stdout.partition("Commands:")[2]
    listed = re.findall(r"^  (\w+)", text, re.MULTILINE)
    in_order = [name for name in listed if name in FIRST[group]]
    assert in_order == FIRST[group]
    assert listed[0] == FIRST[group][0]


def test_help_in_a_pipe_is_plain_text_with_its_headings_and_whole_examples(mlkit):
    text = mlkit("pairs", "backtest", "--help").stdout
    assert not re.search("[\x1b\u2500-\u257f]", text)
    headings = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert headings[:2] == ["Arguments", "Options"]
    assert {"Rule", "Signal", "Costs"} < set(headings)
    assert headings[-1] == "Examples"
    assert (
        "\n  mlkit pairs backtest examples/pairs/us_large_caps.csv.gz --pair KO,PEP"
        " --formation 504\n" in text
    )


def help_on_a_terminal(words, directory, columns, **variables):
    """Return the help for a terminal of so many columns."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **variables}
    command = [sys.executable, "-m", "mlkit", *words, "--help"]
    return on_a_terminal(command, environment, directory)[0].replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("words", "columns"),
    [((), 80), (("bandit",), 60), (("bandit", "fit"), 100), (("pairs", "backtest"), 80)],
)
def test_help_on_a_terminal_has_frames_and_says_what_it_says_in_a_pipe(
    words, columns, mlkit, tmp_path
):
    coloured = help_on_a_terminal(words, tmp_path, columns)
    assert "\x1b[1;36m--help\x1b[0m" in coloured
    text = CODES.sub("", coloured)
    framed = [line for line in text.splitlines() if line and line[0] in "\u256d\u2502\u2570"]
    assert {len(line) for line in framed} == {columns}
    frames = text.replace("\u2500", "").translate({ord(each): None for each in FRAMES})
    plain = mlkit(*words, "--help").stdout  # with other breaks, and colons after headings
    assert re.sub(r"[\s:]", "", frames) == re.sub(r"[\s:]", "", plain)


def test_help_has_no_colours_where_none_are_wanted_and_ascii_where_nothing_else_is_there(tmp_path):
    assert "\x1b" not in help_on_a_terminal(("bandit",), tmp_path, 80, NO_COLOR="1")
    text = help_on_a_terminal(("bandit",), tmp_path, 80, PYTHONIOENCODING="ascii")
    assert text.isascii()
    assert re.search(r"^\+- Commands -+\+$", CODES.sub("", text), re.MULTILINE)


def test_a_group_on_a_terminal_lists_every_command_in_full(tmp_path):
    text = CODES.sub("", help_on_a_terminal(("bandit",), tmp_path, 120))
    for name, line, _ in members(typer.main.get_command(app)):
        if name.startswith("mlkit bandit ") and name.count(" ") == 2:
            assert re.search(rf"\b{name.split()[-1]} +{re.escape(line)}", text), name


@pytest.mark.parametrize("words", [(), ("bandit",), ("pairs", "screen"), ("image", "base", "list")])
def test_help_leaves_the_variables_to_the_documentation(mlkit, words):
    assert "env var" not in mlkit(*words, "--help").stdout


def test_a_variable_sets_an_option_that_help_does_not_name_it_for(mlkit):
    done = mlkit("bandit", "show", "x", env={**os.environ, "MLKIT_BANDIT_SHOW_TOP": "none"})
    assert done.returncode == 2
    assert "'--top'" in done.stderr


def test_an_option_that_is_needed_is_missed(mlkit):
    done = mlkit("bandit", "fit", "log.csv")
    assert done.returncode == 2
    assert "Missing option '--output' / '-o'" in done.stderr


@pytest.mark.parametrize(
    "option", [pytest.param(option, id=f"{name} {option.name}") for name, option in INTEGERS]
)
def test_every_integer_has_a_maximum(option):
    """Seeds are what the server takes too: 64 bits without a sign."""
    assert option.max is not None
    assert option.max == 2**64 - 1 if option.name == "seed" else option.max < 2**63


@pytest.mark.parametrize("option", ["--draws", "--top", "--seed"])
def test_a_number_beyond_the_maximum_is_a_usage_error(mlkit, option):
    done = mlkit("bandit", "show", "posteriors.csv", option, "99999999999999999999")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: Invalid value for '{option}'")

"""`mlkit bpmn eval`: the value of an expression, as a pipeline or a decision table would see it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlkit.cli.bpmn.options import pairs, variables_file
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.expressions.playground import Playground

Language = Literal["feel", "juel", "python", "javascript"]


@examples(
    "mlkit bpmn eval 'sum(prices) > 100' --var 'prices=[60, 50]'",
    "mlkit bpmn eval '[18..65], > 80' --unary 42",
)
def evaluate(
    context: typer.Context,
    expression: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPRESSION]", help="The expression; - reads it from standard input."
        ),
    ] = None,
    language: Annotated[Language, typer.Option(help="Language of the expression.")] = "feel",
    var: Annotated[
        list[str],
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help="Process variable; a JSON value keeps its type (repeatable).",
        ),
    ] = [],  # noqa: B006
    vars_: Annotated[
        Path | None,
        typer.Option("--vars", metavar="FILE", help="File with a JSON object of variables."),
    ] = None,
    unary: Annotated[
        str | None,
        typer.Option(
            metavar="INPUT",
            help=("Input to test; the expression is then a cell of a decision table."),
        ),
    ] = None,
    lines: Annotated[
        bool,
        typer.Option(
            "--lines", help=("Read JSON Lines from standard input, and answer each at once.")
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Print the value of an expression, in FEEL's notation.

    A call that has no value is null, and is reported on standard error. With --lines, each line
    is an object with `id`, `expr`, and perhaps `context`, `unary` (true: a cell) and `input`; the
    answer has `id` and `value` (tagged by its type) or `error`.
    """
    from mlkit.bpmn.expressions.playground import Playground

    if lines:
        if expression is not None or unary is not None or var or vars_:
            raise UsageError("--lines reads expressions and variables from standard input")
        _answer_lines(language)
        return
    if expression is None:
        raise UsageError("Missing argument 'EXPR'", hint="`mlkit bpmn eval '1 + 2'`")
    text = sys.stdin.read() if expression == "-" else expression
    variables = {**variables_file(vars_), **pairs(var, "--var")}
    asked = None if unary is None else pairs([f"input={unary}"], "--unary")["input"]
    playground = Playground(language, variables, datetime.now(UTC))
    _print(playground, text, asked, unary is not None, json, of(context))


def _print(
    playground: Playground, text: str, asked: Any, unary: bool, json: bool, output: Output
) -> None:
    found = playground.tests(text, asked) if unary else playground.value(text)
    for problem in found.problems:
        output.note(f"warning: {problem}")
    if json:
        Output.document("bpmn.eval", 1, {"value": found.tagged})
    else:
        Output.line(found.text)


def _answer_lines(language: str) -> None:
    from mlkit.bpmn.expressions.playground import answer

    for line in sys.stdin.buffer:
        if line.strip():
            sys.stdout.write(answer(line, language, datetime.now(UTC)) + "\n")
            sys.stdout.flush()

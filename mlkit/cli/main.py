"""The `mlkit` command: global options, settings, the groups, and the handling of errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from mlkit import __version__
from mlkit.cli.groups import LazyGroup
from mlkit.cli.output import Output
from mlkit.config import find, load
from mlkit.errors import MlkitError


class RootGroup(LazyGroup):
    """The groups of `mlkit`; one that is not listed here has not landed."""

    members: ClassVar[dict[str, tuple[str, str]]] = {
        "bandit": ("mlkit.cli.bandit.app:app", "Fit, inspect and serve Thompson-sampling bandits."),
        "pairs": ("mlkit.cli.pairs.app:app", "Find pairs of securities, fit and backtest them."),
        "bpmn": ("mlkit.cli.bpmn.app:app", "Run BPMN diagrams as durable pipelines."),
        "image": ("mlkit.cli.image.app:app", "Slim container images, and prove that they work."),
        "doctor": ("mlkit.cli.doctor:app", "Show what this machine offers each workload."),
    }

    def invoke(self, ctx: Any) -> Any:
        """Apply the global options and run the command; turn an MlkitError into an exit."""
        ctx.obj = Output(quiet=ctx.params["quiet"], debug=ctx.params["debug"])
        try:
            _apply_settings(ctx)
            return super().invoke(ctx)
        except MlkitError as error:
            ctx.obj.fail(error)


def _apply_settings(ctx: Any) -> None:
    path = ctx.params["config"] or find(Path.cwd())
    if path is not None:
        ctx.meta["settings"] = path
        ctx.default_map = load(path)


app = typer.Typer(
    cls=RootGroup,
    name="mlkit",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "MLKIT", "help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mlkit {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file (default: ./mlkit.toml)."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results and errors only.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Production machine-learning workloads from one command."""


def main() -> None:
    """Run `mlkit` and leave with the documented exit code."""
    try:
        app(prog_name="mlkit")
    except Exception as bug:  # what is not an MlkitError is a defect of ours: exit 70
        Output(debug="--debug" in sys.argv).fail(bug)


if __name__ == "__main__":
    main()

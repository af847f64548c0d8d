"""What `mlkit --help` imports: start-up time is the sum of imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("numpy", "pandas", "scipy", "pyarrow", "lxml", "docker", "uvicorn", "msgspec"),
    *("rich.table", "rich.console", "asyncio", "http"),
}
CONVERSION = {"pydantic", "rich", "typer.rich_utils"}
"""What typer loads to convert values, and would load to draw frames."""


def modules_after(*arguments: str, terminal: bool = False) -> set[str]:
    """Run `mlkit`, which may take its pipe for a terminal, and list the modules that it loaded."""
    code = (
        "import sys\n"
        f"sys.stdout.isatty = lambda: {terminal}\n"
        f"sys.argv = ['mlkit', *{arguments!r}]\n"
        "from mlkit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_loads_nothing_heavy():
    assert not modules_after("--help") & HEAVY


def test_version_loads_nothing_heavy():
    assert not modules_after("--version") & HEAVY


def test_a_group_s_help_loads_no_workload():
    assert "numpy" not in modules_after("doctor", "--help")


def commands_of(loaded: set[str], workload: str) -> set[str]:
    """Return the modules of a workload's commands that were loaded: all but the table."""
    room = f"mlkit.cli.{workload}."
    return {name for name in loaded if name.startswith(room)} - {f"{room}app"}


@pytest.mark.parametrize("workload", ["bandit", "pairs", "bpmn", "image"])
def test_help_of_a_workload_loads_none_of_its_commands(workload):
    loaded = modules_after(workload, "--help")
    assert f"mlkit.cli.{workload}.app" in loaded
    assert not commands_of(loaded, workload)
    assert not loaded & (HEAVY | CONVERSION)


@pytest.mark.parametrize(
    ("workload", "command", "shared"),
    [
        ("bandit", "fit", {"documents", "durations"}),
        ("pairs", "screen", {"cluster", "source"}),
        ("bpmn", "lint", {"options"}),
        ("bpmn", "run", {"options", "place", "results"}),
        ("image", "diff", {"options", "text"}),
    ],
)
def test_help_of_a_command_loads_no_other(workload, command, shared):
    loaded = modules_after(workload, command, "--help")
    named = {f"mlkit.cli.{workload}.{each}" for each in {command} | shared}
    assert commands_of(loaded, workload) == named
    assert not loaded & (HEAVY | CONVERSION)


def test_frames_of_help_on_a_terminal_are_drawn_without_rich():
    loaded = modules_after("pairs", "backtest", "--help", terminal=True)
    assert "mlkit.cli.frames" in loaded
    assert not loaded & (HEAVY | CONVERSION)


def test_a_list_of_instances_loads_no_engine(tmp_path):
    from mlkit.bpmn.journal import open_journal

    open_journal(tmp_path, create=True).close()
    loaded = modules_after("bpmn", "list", "--state", str(tmp_path))
    assert "mlkit.bpmn.journal.sql.journal" in loaded
    assert not loaded & {"mlkit.bpmn.engine.engine", "mlkit.bpmn.definition.parser", "lxml"}


def test_a_server_of_predictions_loads_no_data_frames():
    code = "import sys, mlkit.bandit.server.api.endpoints\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "scipy.stats", "statsmodels"} & set(done.stdout.split())

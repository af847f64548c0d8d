"""What `mlkit --help` imports: start-up time is the sum of imports."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    *("numpy", "pandas", "scipy", "pyarrow", "lxml", "docker", "uvicorn", "msgspec"),
    *("rich.table", "rich.console", "asyncio", "http"),
}


def modules_after(*arguments: str) -> set[str]:
    """Run `mlkit` and list the modules that it loaded."""
    code = (
        "import sys\n"
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


def test_a_list_of_instances_loads_no_engine(tmp_path):
    from mlkit.bpmn.journal import open_journal

    open_journal(tmp_path, create=True).close()
    loaded = modules_after("bpmn", "list", "--state", str(tmp_path))
    assert "mlkit.bpmn.journal.sqlite.journal" in loaded
    assert not loaded & {"mlkit.bpmn.engine.engine", "mlkit.bpmn.definition.parser", "lxml"}

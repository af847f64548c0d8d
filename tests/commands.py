"""Runs of `mlkit`: each a process of its own, forked where the imports have been made before.

Most of what a command costs is imports. The standard library's fork server makes them once for a
process of pytest.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlkit

# Read when something is imported: where a command's differ, it gets a new interpreter.
AT_IMPORT = ("PYTHON", "LD_", "OPENBLAS_", "OMP_", "MALLOC_", "FORCE_COLOR", "PY_COLORS",
             "GITHUB_ACTIONS", "TERMINAL_WIDTH", "MLKIT_SIMD", "LANG", "LC_", "TZ")  # fmt: skip
STREAMS = ("stdin", "stdout", "stderr")
# What commands import when they need it. Nothing here starts a thread when it is imported.
LIBRARIES = ["typer._adapters", "numpy", "scipy.stats", "scipy.special", "scipy.linalg", "pandas",
             "pyarrow.csv", "pyarrow.pandas_compat", "pyarrow.parquet", "lxml.etree", "rich.table",
             "rich.progress", "uvicorn", "starlette.applications"]  # fmt: skip
_ENVIRONMENT = dict(os.environ)
_SERVER = multiprocessing.get_context("forkserver")


def _own_modules() -> list[str]:
    found = pkgutil.walk_packages(mlkit.__path__, "mlkit.", onerror=lambda name: None)
    return [each.name for each in found if not each.name.endswith("__main__")]


def run_mlkit(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `mlkit`, as `subprocess.run` with captured text would.

    Args:
        arguments: The command's words.
        options: Those of `subprocess.run`.
    """
    words = [str(each) for each in arguments]
    simple = options.keys() <= {"cwd", "env", "input", "timeout", "check"}
    if simple and _at_import(options.get("env") or os.environ) == _at_import(_ENVIRONMENT):
        return _fork(words, options)
    usual = {"capture_output": True, "text": True, "check": False}
    return subprocess.run([sys.executable, "-m", "mlkit", *words], **(usual | options))


def _at_import(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_IMPORT)}


def _fork(words: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    timeout = options.get("timeout")
    with tempfile.TemporaryDirectory(prefix="mlkit-streams-") as folder:
        given, out, err = streams = [Path(folder) / name for name in STREAMS]
        for each in streams:
            each.touch()
        given.write_text(options.get("input") or "", "utf-8")
        place = str(options.get("cwd") or Path.cwd())
        environment = dict(options.get("env") or os.environ)
        process = _SERVER.Process(target=_become, args=(words, streams, place, environment))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout or 0.0)
        done = subprocess.CompletedProcess(
            ["mlkit", *words], process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
        )
    if options.get("check"):
        done.check_returncode()
    return done


def _become(
    words: list[str], streams: list[Path], folder: str, environment: Mapping[str, str]
) -> None:
    """Do in a forked child what `python -m mlkit` does."""
    import mlkit.cli.main as command

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, (name, path) in enumerate(zip(STREAMS, streams, strict=True)):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
        errors = "backslashreplace" if name == "stderr" else "strict"
        made = open(number, "r" if number == 0 else "w", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    sys.argv = [str(Path(mlkit.__path__[0]) / "__main__.py"), *words]
    try:
        command.main()
    finally:
        atexit._run_exitfuncs()  # children of a fork server end without


_SERVER.set_forkserver_preload(["__main__", *_own_modules(), *LIBRARIES])

"""Tracing where the engine refuses some of it, with a real Docker Engine."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest

from mlkit.errors import ServiceUnavailable
from mlkit.image.filesystem.inventory import Entry, FileSystem
from mlkit.image.run import tracing
from mlkit.image.run.observation import Runner, Settings, Tools
from mlkit.image.run.trace import Trace, read_document
from mlkit.image.run.tracing import with_links

QUICK = ("--watch", "0.5", "--patience", "60", "--json")
SCRIPT = """
import os, sys
os.stat("/etc/debian_version")
open("/etc/issue").close()
print(os.getppid())
"""


def document(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_links_that_lead_to_what_was_opened_count_as_opened():
    files = FileSystem()
    for path in ("usr/lib/real/x.so", "usr/lib/other/y.so"):
        files.add(Entry(path, "file", 0o644))
    links = {"lib": "usr/lib", "usr/lib/x.so": "real/x.so", "y": "/usr/lib/other", "z": "/gone"}
    for path, target in links.items():
        files.add(Entry(path, "symlink", 0o777, target=target))
    seen = Trace(frozenset({"/usr/lib/real/x.so"}), method="fanotify")
    found = with_links(seen, files)
    assert found.opened == {"/usr/lib/real/x.so", "/usr/lib/x.so", "/lib"}
    assert found.method == "fanotify"


def test_the_way_of_the_run_that_saw_less_is_told():
    seen = Trace(frozenset({"/a"})) | Trace(frozenset({"/b"}), method="fanotify")
    assert (seen.opened, seen.method) == ({"/a", "/b"}, "fanotify")
    assert (seen | Trace(method="none")).method == "none"
    assert read_document(seen.document()) == seen
    with pytest.raises(ValueError, match="method"):
        read_document(seen.document() | {"method": "guess"})


@pytest.fixture(scope="module")
def image(build, debian):
    """Return an image whose script opens one file and looks at another."""
    text = f'FROM {debian}\nCOPY app.py /srv/app.py\nCMD ["python3", "/srv/app.py"]\n'
    return build(text, app_py=SCRIPT)


@pytest.fixture
def traced(engine, image):
    """Run the image traced, in a way."""

    def run(tracer):
        with ExitStack() as stack:
            tools = stack.enter_context(Tools(engine))
            settings = Settings(watch=5.0, tracer=tracer)
            return Runner(engine, tools, settings).run(
                image, ["python3", "/srv/app.py"], traced=True
            )

    return run


@pytest.mark.slow
def test_ptrace_sees_looks_and_fanotify_opened_files_only(traced):
    full, opened = traced("ptrace"), traced("fanotify")
    assert full.exit_code == opened.exit_code == 0
    for run in (full, opened):
        assert {"/srv/app.py", "/etc/issue"} <= run.trace.opened
    assert "/etc/debian_version" in full.trace.statted
    assert full.trace.orphaned is False
    assert full.trace.missed
    assert not opened.trace.statted | opened.trace.missed
    assert "/usr/bin/python3.11" in opened.trace.opened
    assert "/etc/passwd" not in opened.trace.opened, "only what this container opens is told"


@pytest.mark.slow
def test_what_the_engine_refuses_is_gone_without(traced, monkeypatch):
    weak = [replace(way, capabilities=()) for way in tracing.WAYS]
    monkeypatch.setattr(tracing, "WAYS", (weak[0], tracing.WAYS[1]))
    assert traced("auto").trace.method == "fanotify"
    with pytest.raises(ServiceUnavailable, match="ptrace is refused: ptrace: "):
        traced("ptrace")
    monkeypatch.setattr(tracing, "WAYS", weak)
    run = traced("auto")
    assert run.exit_code == 0
    assert run.trace == Trace(method="none")


@pytest.mark.slow
@pytest.mark.parametrize("tracer", ["fanotify", "none"])
def test_slimming_without_ptrace_says_so_everywhere(mlkit, image, tmp_path, tracer):
    command = ["image", "slim", image, "--probe=exit:0", f"--tracer={tracer}", "--dry-run"]
    options = [*QUICK[:-1], "--report=r.html"]
    found = document(mlkit(*command, *options, "--json", timeout=300))
    assert found["verdict"] == "equal"
    assert found["traced_by"] == tracer
    (warning,) = found["warnings"]
    assert "only the comparison supports it" in warning
    assert warning in (tmp_path / "r.html").read_text()
    if tracer == "none":
        done = mlkit(*command, "--profile=tight", *options, timeout=300)
        assert done.returncode == 69
        assert "profile tight keeps what is traced" in done.stderr

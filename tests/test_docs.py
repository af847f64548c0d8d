"""The documentation says what the code does: its examples run, its reference is current."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import program_folder

from mlkit.cli.reference import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = [
    page if page.name == "README.md" else pytest.param(page, marks=pytest.mark.slow)
    for page in PAGES
    if page.name != "cli.md"
]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(block: str) -> str:
    """Return the commands of a console block (`$ command`, `> ` goes on) as a shell script."""
    lines = block.splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith(("$ ", "> ")))


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_in_order(page, tmp_path):
    """Run a page's examples from top to bottom in a directory that holds only `examples/`."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    folders = [str(program_folder()), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": ":".join(folders)}
    for language, block in BLOCK.findall(page.read_text()):
        script = ["bash", "-euo", "pipefail", "-c", commands(block)]
        command = script if language == "console" else [sys.executable, "-c", block]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}:\n{block}\n{done.stdout}{done.stderr}"


def test_the_command_reference_is_current():
    text = (ROOT / "docs" / "cli.md").read_text()
    assert text == reference(), "run `make reference`"
    cut = re.findall(r"^\* `[a-z-]+`: .*\.\.\.$", text, re.MULTILINE)
    assert cut == [], "summaries of commands are whole"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_files_that_answer_questions_of_newcomers_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:mlkit|cpp)/[\w./]+\.\w+)`", page.partition("## Where is")[2])
    assert len(named) > 12
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_the_walks_through_the_code_pass_files_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    walks = page.partition("## Four walks")[2].partition("\n## ")[0]
    passed = set(re.findall(r"[a-z_]+(?:/[a-z_]+)+", walks))
    places = [ROOT / "mlkit", ROOT]
    missing = [
        each for each in sorted(passed) if not any(list(place.glob(f"{each}*")) for place in places)
    ]
    assert len(passed) > 30
    assert missing == []

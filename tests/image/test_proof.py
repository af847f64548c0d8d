"""No false success: a result answers what was not traced as the original does, or is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from image.cases import CASES, Case

from mlkit.image.base import init_program
from mlkit.image.compare import compare
from mlkit.image.inventory import Inventory
from mlkit.image.observation import Observation, Runner, Settings, Tools
from mlkit.image.opening import opened
from mlkit.image.probe import parse
from mlkit.image.slim import Options, Slimmer, original_argv

pytestmark = pytest.mark.slow
APPS = Path(__file__).parent / "apps"
EXAMPLES = Path(__file__).parents[2] / "examples" / "image"


@pytest.fixture(scope="session")
def tools(engine):
    """Give the image of our programs."""
    with Tools(engine) as made:
        yield made


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """Give a folder with all apps, compiled, to build images from."""
    folder = tmp_path_factory.mktemp("apps") / "context"
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("own.js", "module.mjs"):
        (folder / "lib" / name).chmod(0o644)
    for output, source, *options in (
        ("prefork", EXAMPLES / "prefork.c", "-static"),
        ("late", APPS / "late.c", "-O1"),
        ("plugin.so", APPS / "plugin.c", "-shared", "-fPIC"),
    ):
        subprocess.run(["cc", *options, "-o", folder / output, source], check=True)
    return folder


@pytest.fixture(scope="session")
def wheels(context):
    """Put the wheels of a virtual environment beside the apps."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
    command += ["--python-version=3.11", "--dest", context / "wheels", "numpy<2.3", "PyYAML"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs wheels of NumPy and PyYAML: {done.stderr.strip()[-200:]}")


@dataclass(frozen=True)
class Subject:
    """A case whose image is built, with how the original answers what is not traced.

    Attributes:
        case: The case.
        name: Of the image in the engine.
        inventory: Its files.
        runner: Runs it with the probes of the slimming.
        late: Runs it with the others.
        originals: How it answers those.
    """

    case: Case
    name: str
    inventory: Inventory
    runner: Runner
    late: Runner
    originals: list[Observation]


@pytest.fixture(scope="module", params=CASES)
def subject(request, engine, tools, context, debian):
    """Build the image of a case."""
    case = CASES[request.param]
    if "wheels" in case.dockerfile:
        request.getfixturevalue("wheels")
    node = request.getfixturevalue("node") if "{node}" in case.dockerfile else ""
    text = case.dockerfile.replace("{debian}", debian).replace("{node}", node)
    (context / "Dockerfile").write_text(text.replace("{{", "{").replace("}}", "}"))
    with ExitStack() as stack:
        name = engine.build(context)
        stack.callback(engine.remove_image, name)
        inventory = stack.enter_context(opened(name))
        runner, late = (
            Runner(engine, tools, Settings([parse(each, []) for each in probes], patience=15,
                                           watch=case.watch), init_program())
            for probes in (case.traced, case.late)
        )  # fmt: skip
        late = replace(late, settings=replace(late.settings, watch=0))
        argv, init = original_argv(inventory), case.starts[:1] == ("/tini",)
        originals = [late.run(name, argv, init=init) for _ in range(2)]
        assert all(each.works for each in originals), originals
        yield Subject(case, name, inventory, runner, late, originals)


@pytest.mark.parametrize("profile", ["balanced", "safe"])
def test_a_result_answers_what_was_not_traced(subject, profile, tmp_path):
    case = subject.case
    options = Options(profile=profile)
    slimmer = Slimmer(subject.runner, subject.inventory, subject.name, options, tmp_path)
    with closing(slimmer):
        slimmed = slimmer.run()
        assert slimmed.verdict == case.verdict, slimmed.differences
        assert tuple(slimmed.command[: len(case.starts)]) == case.starts
        theirs = subject.late.run(slimmed.built.image, slimmed.command)
    broken = [each for each in compare(subject.originals, theirs) if each.effect == "broken"]
    assert not broken, broken
    assert slimmed.built.size < max(subject.inventory.size, 3e6)

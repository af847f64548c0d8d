"""Slim whole stacks, probed on `/` only, and ask them for what was not probed: `make test-stacks`.

A result that is called equal or improved, and is not, is a false success: there must be none.
An honest refusal costs a user an hour; a false success costs the next release.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

STACKS = Path(__file__).parent
NAMES = sorted(path.parent.name for path in STACKS.glob("*/stack.toml"))
MOST_REFUSALS = 0.04
"""The share of stacks that may be refused."""


def mlkit(*arguments):
    """Run a command; return its exit code and its document."""
    command = [sys.executable, "-m", "mlkit", "image", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, {"error": done.stderr}


@pytest.fixture(scope="session")
def results():
    """Collect what came of all stacks, and print it as a table."""
    rows = []
    yield rows
    for row in rows:
        print("{:18} {:9} {:9} {:6.1f} -> {:6.1f} MB  {}".format(*row))


def built(name, stack, tmp_path):
    """Build a stack's image."""
    folder = tmp_path / name
    shutil.copytree(STACKS / name, folder)
    if "build" in stack:
        if shutil.which(stack["needs"]) is None:
            pytest.skip(f"needs the program {stack['needs']}")
        subprocess.run(["bash", "-c", stack["build"]], cwd=folder, check=True)
    base, image = f"mlkit-stack-base:{os.getpid()}", f"mlkit-stack-{name}:{os.getpid()}"
    packages = ",".join(["ca-certificates", "tzdata", *stack["packages"]])
    root = tmp_path / "root.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"]
    subprocess.run([*command, "bookworm", root], check=True)
    subprocess.run(["docker", "import", root, base], check=True, capture_output=True)
    root.unlink()
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    build = ["docker", "build", "--quiet", "--build-arg", f"BASE={base}", "--tag", image, folder]
    subprocess.run(build, check=True, capture_output=True, env=environment)
    return image, base


def removed(*images):
    for image in images:
        subprocess.run(
            ["docker", "image", "rm", "--force", image], check=False, capture_output=True
        )


@pytest.mark.parametrize("profile", ["balanced", "safe"])
@pytest.mark.parametrize("name", NAMES)
def test_no_false_success(name, profile, tmp_path, results):
    if shutil.which("mmdebstrap") is None or shutil.which("docker") is None:
        pytest.skip("needs mmdebstrap and a Docker Engine")
    stack = tomllib.loads((STACKS / name / "stack.toml").read_text())
    image, base = built(name, stack, tmp_path)
    slim = f"mlkit-stack-{name}-slim:{os.getpid()}"
    with contextlib.ExitStack() as cleaning:
        cleaning.callback(removed, slim, image, base)
        probe = f"http:{stack['port']}/"
        code, found = mlkit("slim", image, "-t", slim, "--profile", profile, "--probe", probe)
        if code:
            results.append((name, profile, "refused", 0, 0, found.get("error", found)))
            pytest.xfail(f"refused: {found.get('differences', found)}")
        late = [f"--probe=http:{stack['port']}{path}" for path in stack["late"]]
        _, compared = mlkit("compare", image, slim, f"--probe={probe}", *late)
        size = found["size"]
        broken = [each for each in compared["differences"] if each["effect"] == "broken"]
        row = found["verdict"], size["before"] / 1e6, size["after"] / 1e6, broken or "all work"
        results.append((name, profile, *row))
        assert compared["verdict"] in {"equal", "improved"}, broken


def test_few_are_refused(results):
    refused = sum(row[2] == "refused" for row in results)
    assert refused <= MOST_REFUSALS * max(len(results), 25)

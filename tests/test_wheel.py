"""The wheel, as a newcomer gets it: built, installed into an empty environment, tried."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.alone]


def check(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


BUILT = "with the tools of this environment"
ISOLATED = pytest.param("with tools that pip fetches", marks=pytest.mark.nightly)


@pytest.fixture(scope="module", params=[BUILT, ISOLATED])
def wheel(request, tmp_path_factory):
    """Build the wheel; what `pip install .` has compiled is compiled again by other tools only."""
    target = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "-w", target]
    if request.param == BUILT:
        pytest.importorskip("scikit_build_core")
        options += ["--no-build-isolation", "--check-build-dependencies"]
    check(sys.executable, "-m", "pip", "wheel", *options, ROOT)
    return next(target.glob("mlkit-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Install the wheel into an empty environment."""
    target = tmp_path_factory.mktemp("environment")
    check(sys.executable, "-m", "venv", target)
    check(target / "bin" / "pip", "install", "--quiet", "--no-compile", wheel)
    return target / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mlkit"}
    assert not [name for name in names if name.endswith((".cpp", ".hpp", ".a"))]
    assert "mlkit/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_source_distribution_holds_what_its_tests_need(tmp_path):
    pytest.importorskip("scikit_build_core")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    check(sys.executable, "-c", code, tmp_path, cwd=ROOT)
    with tarfile.open(next(tmp_path.glob("mlkit-*.tar.gz"))) as file:
        folders = {name.split("/")[1] for name in file.getnames()}
    assert folders >= {"benchmarks", "constraints", "cpp", "docs", "examples", "mlkit", "tests"}


def test_the_installed_command_works(environment, tmp_path):
    assert check(environment / "mlkit", "--version", cwd=tmp_path).startswith("mlkit ")
    assert "baseline" in check(environment / "mlkit", "doctor", "--json", cwd=tmp_path)


def test_the_installed_sampler_works_on_each_instruction_set(environment, tmp_path):
    code = (
        "import os, numpy as np\n"
        "from mlkit import _simd\n"
        "from mlkit.bandit import BetaSampler\n"
        "draws = set()\n"
        "for isa in _simd.available():\n"
        "    os.environ['MLKIT_SIMD'] = isa\n"
        "    draws.add(BetaSampler(7).sample(np.full(9, 2.0), 3.0).tobytes())\n"
        "assert len(draws) == 1\n"
    )
    check(environment / "python", "-c", code, cwd=tmp_path)


def test_the_dependencies_are_consistent(environment):
    check(environment / "pip", "check")

"""The kernels: equal bits on every instruction set, and nothing shared between their objects."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mlkit import _simd
from mlkit.bandit import BetaSampler

COMPARISON = r"""
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>
#include "beta/kernel.hpp"
namespace mlkit::beta { MLKIT_DECLARE_KERNEL(wide) }
using namespace mlkit::beta;
int main() {
  std::vector<double> a, b;
  std::uint64_t state = 1;
  const auto parameter = [&](double low, double high) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return std::pow(10.0, low + (high - low) * (state >> 11) * 0x1p-53);
  };
  for (int i = 0; i < 300003; ++i) {
    const double low = i % 3 == 0 ? -300 : i % 3 == 1 ? -3 : 0, high = i % 3 == 1 ? 1 : 15;
    a.push_back(parameter(low, high));
    b.push_back(parameter(low, high));
  }
  std::vector<double> narrow(a.size()), eight(a.size());
  baseline::sample(Key{{7, 9}}, 0, a.data(), b.data(), narrow.data(), a.size());
  wide::sample(Key{{7, 9}}, 0, a.data(), b.data(), eight.data(), a.size());
  std::puts(std::memcmp(narrow.data(), eight.data(), 8 * a.size()) == 0 ? "equal" : "different");
}
"""
FLAGS = ["-std=c++20", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-w"]


def mixed_parameters(n=60_001):
    rng = np.random.default_rng(11)
    low, high = np.array([[-300, 15], [-3, 1], [0, 7]])[rng.integers(0, 3, n)].T
    return 10 ** rng.uniform(low, high), 10 ** rng.uniform(low, high)


def test_instruction_sets_give_equal_bits(monkeypatch):
    a, b = mixed_parameters()
    found = []
    for name in _simd.available():
        monkeypatch.setenv("MLKIT_SIMD", name)
        found.append(BetaSampler(12).sample(a, b))
    for other in found[1:]:
        assert_array_equal(other.view(np.uint64), found[0].view(np.uint64))


def test_an_instruction_set_that_is_missing_is_refused(monkeypatch):
    monkeypatch.setenv("MLKIT_SIMD", "mmx")
    with pytest.raises(ValueError, match="MLKIT_SIMD=mmx: this machine offers baseline"):
        BetaSampler(1).sample(1.0, 1.0)


@pytest.fixture
def build(repository, need_program, tmp_path):
    """Compile sources of cpp/ and give the result's path."""
    compiler, cpp = need_program("g++"), repository / "cpp"

    def run(target, *arguments):
        command = [compiler, *FLAGS, f"-I{cpp}", *map(str, arguments), "-o", tmp_path / target]
        subprocess.run(command, check=True, cwd=cpp, timeout=300)
        return tmp_path / target

    return run


@pytest.mark.slow
def test_eight_lanes_give_the_bits_of_two(build, tmp_path):
    """The lanes of AVX-512, in portable code, for machines without it."""
    (tmp_path / "main.cpp").write_text(COMPARISON)
    objects = [
        build(f"{name}.o", "-c", "beta/kernel.cpp", f"-DMLKIT_ISA={name}", f"-DMLKIT_ISA_{name}")
        for name in ("baseline", "wide")
    ]
    program = build("main", "random/ziggurat_tables.cpp", tmp_path / "main.cpp", *objects)
    assert subprocess.check_output([program], text=True) == "equal\n"


def isa_flags(repository, name):
    text = (repository / "cpp" / "kernels.cmake").read_text()
    return re.search(rf"MLKIT_FLAGS_{name}\s+([^)]*)\)", text)[1].split()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["avx2", "avx512"])
@pytest.mark.parametrize(
    ("source", "functions"),
    [
        ("beta/kernel.cpp", {"beta::{}::sample", "beta::{}::valid_stretches"}),
        ("strategy/series_kernel.cpp", {"strategy::{}::kernel"}),
    ],
)
def test_a_kernel_shares_no_code_and_uses_exact_operations_only(
    build, repository, need_program, source, functions, name
):
    if "avx2" not in _simd.available():
        pytest.skip("needs an x86-64 machine")
    define = [f"-DMLKIT_ISA={name}", f"-DMLKIT_ISA_{name}"]
    made = build("kernel.o", "-c", source, *isa_flags(repository, name), *define)
    symbols = subprocess.check_output([need_program("nm"), "-C", made], text=True)
    visible = set(re.findall(r"^[0-9a-f]+ [A-Zu-w] (.*)\(", symbols, re.MULTILINE))
    assert visible == {f"mlkit::{each.format(name)}" for each in functions}
    code = subprocess.check_output([need_program("objdump"), "-d", made], text=True)
    assert "vsqrtpd" in code
    assert not re.search(r"vfn?m(add|sub)|vrsqrt|vrcp|<(log|exp|pow)", code)


@pytest.mark.slow
def test_the_tables_are_those_that_the_script_computes(repository):
    pytest.importorskip("mpmath")
    folder = repository / "cpp" / "random"
    script = [sys.executable, folder / "make_tables.py"]
    computed = subprocess.check_output(script, text=True, timeout=300)
    assert computed == (folder / "ziggurat_tables.cpp").read_text()

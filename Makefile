# make demo   build, install and run the main job of every workload on the bundled examples
# make test   run the test suite (under 10 minutes)
# make test-all   the same and the tests marked slow
# make test-stacks   slim whole stacks, and ask them for what was not probed
# make test-sanitize   the native code under sanitizers
# make dev    an editable install with the tools that CONTRIBUTING.md names
# make check  formatting, lint, types
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp mlkit -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: demo test test-all test-slow test-stacks dev check reference system-packages clean

demo: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

# A file of tests stays in one process: its tests share servers and engines.
test: $(VENV)/.installed-test system-packages
	$(PYTEST) -m "not slow" --numprocesses auto --dist loadfile

# Most slow tests wait for containers, so that two run at once; those that look at
# the whole engine, or measure, run alone.
test-slow: $(VENV)/.installed-test system-packages
	bash .ci/with-engine bash -c '\
	  $(PYTEST) -m "slow and not alone" --numprocesses 2 --dist worksteal && \
	  $(PYTEST) -m "slow and alone"'

# Whole stacks are slimmed and asked for what was not probed: needs a Docker Engine, and minutes.
test-stacks: $(VENV)/.installed-test system-packages
	$(PYTEST) -s tests/image/stacks/run_stacks.py

test-all: test test-slow

# The native code under AddressSanitizer and UndefinedBehaviorSanitizer: the tests that call it.
SANITIZED := build/sanitized
NATIVE_TESTS := tests/bandit/test_sampler.py tests/bandit/test_distribution.py \
  tests/bandit/test_thompson_sampler.py tests/bandit/stores/test_posterior_table.py \
  tests/pairs/screen/test_cointegration.py tests/pairs/screen/test_unit_root.py \
  tests/pairs/backtest/test_sweep.py tests/pairs/strategy tests/pairs/live \
  tests/bandit/test_propensities.py
SANITIZED_RUN := LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(CURDIR)/$(SANITIZED)/package PYTHONSAFEPATH=1
test-sanitize: $(VENV)/.installed-test
	$(BIN)/pip install --quiet cmake ninja 'pybind11>=3.0,<4'
	$(BIN)/cmake -G Ninja -S . -B $(SANITIZED)/cmake -DMLKIT_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" >/dev/null
	$(BIN)/cmake --build $(SANITIZED)/cmake
	rm -rf $(SANITIZED)/package && mkdir -p $(SANITIZED)/package && cp -r mlkit $(SANITIZED)/package/
	$(BIN)/cmake --install $(SANITIZED)/cmake --prefix $(SANITIZED)/package >/dev/null
	$(SANITIZED_RUN) $(BIN)/python -c 'import mlkit.bandit._beta_sampler as m; assert "sanitized" in m.__file__'
	$(SANITIZED_RUN) $(PYTEST) -q -m "not slow" -p no:cacheprovider $(NATIVE_TESTS)

dev: $(BIN)/python
	$(BIN)/pip install --quiet scikit-build-core 'pybind11>=3.0,<4' cmake ninja
	$(BIN)/pip install --quiet --no-build-isolation --config-settings=cmake.define.MLKIT_WERROR=ON --editable '.[dev]'
	touch $(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-check
	$(BIN)/pre-commit install

NATIVE := $(shell git ls-files 'cpp/*.cpp' 'cpp/*.hpp' 'cpp/*.c' 'cpp/*.h')
check: $(VENV)/.installed-check
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: $(VENV)/.installed
	$(BIN)/python -m mlkit.cli.reference > docs/cli.md

# A missing package is counted by the tests that skip for it; with MLKIT_REQUIRE_ALL it is an error.
system-packages:
	@bash .ci/system-packages system-packages.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet .
	touch $@

$(VENV)/.installed-test: $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	$(BIN)/pip install --quiet clang-format==23.1.5 'ruff>=0.9' 'mypy>=1.14'
	touch $@

clean:
	rm -rf build dist $(VENV)

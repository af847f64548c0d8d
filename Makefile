# make demo   build, install and run the main job of every workload on the bundled examples
# make test   run the test suite (about 7 minutes on 2 cores)
# make test-all   the same and the tests marked slow
# make test-slow   the tests marked slow, without those marked nightly
# make test-nightly   the tests marked nightly: what the others test, with more seeds, kills and sizes
# make test-stacks   slim whole stacks, and ask them for what was not probed
# make test-keycloak   log in at a real Keycloak, in a real browser
# make test-sanitize   the native code under sanitizers
# make dev    an editable install with the tools that CONTRIBUTING.md names
# make check  formatting, lint, types, defects in the native code
# make docs   the documentation as a site with search, in build/site
# make lock   choose the newest versions of all dependencies, in constraints/
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# The modules of tests are kept as they are rewritten: the next of these runs need not do it again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest
SOURCES := pyproject.toml CMakeLists.txt $(shell find cpp mlkit -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: demo test test-all test-slow test-nightly test-stacks test-keycloak sanitized test-sanitize dev check check-native \
  check-style check-types docs lock reference system-packages clean
# With --jobs it names a pipe of the job server, which programs other than make do not inherit.
unexport MAKEFLAGS

demo: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

# A file of tests stays in one process: its tests share servers and engines. Some wait, for servers
# and for what is killed: three processes keep two cores busy.
test: $(VENV)/.installed-test system-packages
	$(PYTEST) -m "not slow" --numprocesses $$((3 * $$(nproc) / 2)) --dist loadfile --durations 20

test-slow: $(VENV)/.installed-test system-packages
	bash .ci/with-engine bash .ci/slow-tests $(BIN)/pytest

test-nightly: $(VENV)/.installed-test system-packages
	bash .ci/with-engine $(PYTEST) -m nightly

# Whole stacks are slimmed and asked for what was not probed: needs a Docker Engine, and minutes.
test-stacks: $(VENV)/.installed-test system-packages
	$(PYTEST) --timeout 0 -s tests/image/stacks/run_stacks.py

# Logins at a Keycloak that Maven fetches (180 MB) and Java builds once: needs a minute, or more where it is busy.
test-keycloak: $(VENV)/.installed-test system-packages
	$(PYTEST) --timeout 0 tests/bpmn/server/run_keycloak.py

test-all: test test-slow

# The native code under AddressSanitizer and UndefinedBehaviorSanitizer: the tests that call it.
SANITIZED := build/sanitized
NATIVE_TESTS := tests/bandit/test_sampler.py tests/bandit/test_distribution.py \
  tests/bandit/test_thompson_sampler.py tests/bandit/stores/test_posterior_table.py \
  tests/bandit/server/decisions/test_direct.py \
  tests/pairs/screen/test_cointegration.py tests/pairs/screen/test_unit_root.py \
  tests/pairs/backtest/test_sweep.py tests/pairs/strategy \
  tests/pairs/live/test_live_engine.py tests/pairs/live/test_monitor.py \
  tests/pairs/jobs/test_job_columns.py tests/pairs/jobs/test_job_sessions.py \
  tests/bandit/simulation tests/bandit/policies/test_many_rows.py \
  tests/bandit/test_propensities.py \
  tests/image/command/test_launch.py tests/image/command/test_script.py \
  tests/image/command/test_health.py tests/image/run/test_tools.py
# Inputs of each of two seeds, one a core.
FUZZED := 150000
SANITIZED_RUN := LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(CURDIR)/$(SANITIZED)/package PYTHONSAFEPATH=1
sanitized: $(VENV)/.installed-test
	$(BIN)/cmake -G Ninja -S . -B $(SANITIZED)/cmake -DMLKIT_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" >/dev/null
	$(BIN)/cmake --build $(SANITIZED)/cmake

test-sanitize: sanitized
	rm -rf $(SANITIZED)/package && mkdir -p $(SANITIZED)/package && cp -r mlkit $(SANITIZED)/package/
	$(BIN)/cmake --install $(SANITIZED)/cmake --prefix $(SANITIZED)/package >/dev/null
	$(SANITIZED_RUN) $(BIN)/python -c 'import mlkit.bandit._beta_sampler as m; assert "sanitized" in m.__file__'
	printf '%s\n' 1 2 | xargs -P 2 -n 1 $(SANITIZED)/cmake/cpp/fuzz_parsers $(FUZZED)
	$(SANITIZED_RUN) $(PYTEST) -q -m "not slow" -p no:cacheprovider -n 2 --dist loadfile $(NATIVE_TESTS)

dev: $(BIN)/python constraints/dev.txt
	$(INSTALL) constraints/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation \
	  --config-settings=cmake.define.MLKIT_WERROR=ON --editable .
	touch $(VENV)/.installed $(VENV)/.installed-test
	$(BIN)/pre-commit install

NATIVE := $(shell git ls-files 'cpp/*.cpp' 'cpp/*.hpp' 'cpp/*.c' 'cpp/*.h')
check: check-native check-style check-types

check-native: $(VENV)/.installed-test
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	bash .ci/cppcheck

check-style: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.installed-test
	$(BIN)/mypy

reference: $(VENV)/.installed
	$(BIN)/python -m mlkit.cli.reference > docs/cli.md

# A missing package is counted by the tests that skip for it; with MLKIT_REQUIRE_ALL it is an error.
system-packages:
	@bash .ci/system-packages system-packages.txt

# Dependencies are those that were tested, to the byte: pip verifies the hashes in constraints/.
# A module is compiled when it is first imported: most of theirs never are.
INSTALL := $(BIN)/pip install --quiet --no-compile --require-hashes --requirement
# pip works on one core: the package is compiled beside it. Both end before a failure of either counts.
define INSTALL_WITH_PACKAGE
$(INSTALL) constraints/build.txt
rm -rf build/wheel
$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel . & \
  $(INSTALL) $(1); installed=$$?; wait $$! && exit $$installed
$(BIN)/pip install --quiet --no-deps --force-reinstall build/wheel/mlkit-*.whl
endef

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) constraints/build.txt constraints/run.txt | $(BIN)/python
	$(call INSTALL_WITH_PACKAGE,constraints/run.txt)
	touch $@

$(VENV)/.installed-test: $(SOURCES) constraints/build.txt constraints/dev.txt | $(BIN)/python
	$(call INSTALL_WITH_PACKAGE,constraints/dev.txt)
	$(BIN)/pip check
	touch $(VENV)/.installed $@

docs: $(VENV)/.installed-test
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/site

LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
lock: $(BIN)/python
	$(BIN)/pip install --quiet uv
	$(LOCK) pyproject.toml --group build --output-file constraints/run.txt
	$(LOCK) pyproject.toml --extra dev --group build --output-file constraints/dev.txt
	$(LOCK) --group pyproject.toml:build --constraint constraints/dev.txt --output-file constraints/build.txt

clean:
	rm -rf build dist $(VENV)

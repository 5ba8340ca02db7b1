# Every target does all the set-up it needs, in .venv: nothing to install or activate before.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
DEVICE  ?= auto
DATA    ?= data
TEST_PROCESSES ?= 2
RUN     := $(BIN)/resrepro run --device $(DEVICE) --data-dir $(DATA)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all check figures reproduce-all wheel lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY)  ## the virtual environment, with the versions of constraints.txt

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) found, 3.11 or later needed: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(READY)  ## see the degradation and its cure: four small nets on the CPU, no download
	$(BIN)/resrepro run quickstart --device cpu

test: $(READY)  ## the quick tests: CPU, offline, a few minutes on two cores
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

test-all: $(READY)  ## all tests, those marked slow too
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --run-slow

check: $(READY)  ## lint, types, quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

figures: $(READY)  ## every figure and table, and the report, from results/
	$(BIN)/resrepro plot all --format png,pdf
	@for number in 1 2 3 4 5 6; do $(BIN)/resrepro table $$number || exit 1; done
	$(BIN)/resrepro report

reproduce-all: $(READY)  ## the paper's experiments that can run, then the figures; goes on where it was stopped
	$(RUN) all
	$(MAKE) figures

wheel: $(READY)  ## dist/*.whl, experiments included
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

lock: $(READY)  ## write constraints.txt anew from the virtual environment
	@{ echo "# Exact versions of the set-up ('make'); pyproject.toml has the ranges. Made by: make lock"; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## remove the virtual environment and caches; results stay
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache

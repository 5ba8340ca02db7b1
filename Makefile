# Every target does all the set-up it needs, in .venv: nothing to install or activate before.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
DOCS    := .venv-docs
PIP     := $(BIN)/python -m pip install --disable-pip-version-check
UV      := $(shell command -v uv)
ifdef TORCH  # such as cpu: uv knows where PyTorch's builds are
SIZE    := 2 GB on the disk without CUDA, 6 GB with it
INSTALL := $(if $(UV),,$(PIP) uv && )$(or $(UV),$(BIN)/uv) pip install --python $(BIN)/python --torch-backend $(TORCH)
else
SIZE    := 6 GB on the disk with the CUDA build of PyTorch, 2 GB without: make setup TORCH=cpu
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(PIP))
endif
DEVICE  ?= auto
DATA    ?= $(or $(RESREPRO_DATA),data)
TEST_PROCESSES ?= 2
RUN     := $(BIN)/resrepro run --device $(DEVICE) --data-dir $(DATA)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all crash check figures reproduce-all wheel lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY)  ## create the virtual environment, with the versions of constraints.txt

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) found, 3.11 or later needed: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "setting up $(VENV): $(SIZE)"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(READY)  ## show the degradation and its cure: train four small nets on the CPU, without a download
	$(BIN)/resrepro run quickstart --device cpu --jobs 4

test: $(READY)  ## run the quick tests: on the CPU, offline, in about 5 minutes on two cores
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

test-all: $(READY)  ## run all tests, those marked slow too
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --run-slow

crash: $(READY)  ## kill, fill the disk, cut the power, change bytes; then type the command again: half an hour
	PYTHONPATH=.:tests $(BIN)/python -m crash.campaign --processes $(TEST_PROCESSES)

check: $(READY)  ## check lint and types, and run the quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

figures: $(READY)  ## draw every figure and table, and write the report, from results/
	$(BIN)/resrepro plot all --format png,pdf
	@for number in 1 2 3 4 5 6; do $(BIN)/resrepro table $$number || exit 1; done
	$(BIN)/resrepro report

reproduce-all: $(READY)  ## train all experiments of the paper that can run, then draw the figures; resumes if stopped
	$(RUN) all
	$(MAKE) figures

.PHONY: docs docs-pages

docs-pages: $(READY)  ## write the generated pages of docs/ again
	@for tool in tools/generate_*.py; do $(BIN)/python $$tool || exit 1; done

docs: $(DOCS)/.ready  ## build the site in site/ from README.md and docs/; serves offline
	$(DOCS)/bin/python tools/build_site.py

$(DOCS)/.ready: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	@touch $@

wheel: $(READY)  ## build dist/*.whl, with the experiments
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

lock: $(READY)  ## write constraints.txt again, from the virtual environment
	@{ echo "# Exact versions of the set-up ('make'); pyproject.toml has the ranges. Made by: make lock"; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## remove the virtual environments, caches and built files; results stay
	rm -rf $(VENV) $(DOCS) dist site .site .cache .mypy_cache .pytest_cache .ruff_cache

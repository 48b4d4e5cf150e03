# fnx: `make` lists the targets. Each target does its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.PHONY: help setup run test test-all coverage mutants lint types format bench docs wheel dist clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

# Made again when what is installed changes. Compiled now, for an environment may forbid Python to
# write bytecode later, and then torch and lightning take half a minute to import, every time.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and f"fnx needs Python 3.11 to 3.13; this is {v[0]}.{v[1]} (set PYTHON=…)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

setup: $(STAMP) ## Make .venv and install fnx into it

run: $(STAMP) ## Run the embedded default: real weights on real images, no network
	$(BIN)/python -m fnx

# One thread for each of the two processes: more would wait for each other. One that has no tests
# left takes some of the other's, so that a file of long ones does not end the run alone.
test: $(STAMP) ## Run the tests (a few minutes, two at a time; ARGS= for pytest)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-all: $(STAMP) ## Run the tests, the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow or not slow' $(ARGS)

coverage: $(STAMP) ## Run the tests and list the branches that none enters
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-context=test --cov-report=term --junit-xml=.coverage.xml

mutants: $(STAMP) ## Change the code at random places and list what no test notices (SEED=, NUMBER=, BELOW=)
	test -f .coverage.xml || $(MAKE) coverage
	$(BIN)/python tests/mutants.py --seed $(or $(SEED),0) --number $(or $(NUMBER),100) $(BELOW)

lint: $(STAMP) ## Check style, formatting and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check the types
	$(BIN)/mypy --strict src

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure against what a user would use instead
	$(BIN)/python -m pytest benchmarks/test_*.py --benchmark-only -m 'slow or not slow'

docs: $(STAMP) ## Build the documentation into site/: run its notebooks, check its links
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --constraint constraints.txt --editable '.[demo,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(STAMP) ## Build the wheel into dist/
	$(BIN)/python -m hatchling build --target wheel

dist: $(STAMP) ## Build wheels and source distributions of fnx and its plugin packages into dist/
	$(BIN)/python -m hatchling build --directory $(CURDIR)/dist
	for plugin in plugins/*/; do (cd $$plugin && $(CURDIR)/$(BIN)/python -m hatchling build --directory $(CURDIR)/dist) || exit 1; done

clean: ## Remove what the targets made, but not outputs/
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
HOME_FLAG := $(if $(DRIVETRAIN_HOME),,--home .drivetrain)
# Real drive logs to ingest beside the synthetic ones; LOGS= for none.
LOGS ?= $(wildcard ../shared/data/logs)

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

# The stamp is written last, so an interrupted installation starts again. torch goes first: with it in place nothing
# else pulls another build of it.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name it with PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[infra,data,train,edge,dev]'
	touch $@

.PHONY: install
install: $(STAMP) ## Make .venv with every extra

.PHONY: demo
demo: $(STAMP) ## From raw drive logs to a verified, signed bundle
	$(BIN)/drivetrain demo $(HOME_FLAG) $(addprefix --logs ,$(LOGS))

.PHONY: lint
lint: $(STAMP) ## Style, types, import contracts, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

.PHONY: test
test: lint ## Everything: lint, types, import contracts, every test
	$(BIN)/pytest -n 2 --dist loadfile -m "not soak"

.PHONY: test-fast
test-fast: $(STAMP) ## The tests that need no server, no training and no compiler
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not soak"

.PHONY: soak
soak: $(STAMP) ## The long series of faults: kills at random moments, compared with undisturbed runs
	$(BIN)/pytest -m soak

.PHONY: constraints
constraints: ## Write constraints.txt from what .venv holds
	{ sed -n '/^#/p;/^[^#]/q' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

.PHONY: clean
clean: ## Delete the virtual environment; the home folder stays
	rm -rf $(VENV)

# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Python 3.11, where it has another name or is not on PATH.
PYTHON ?= python3.11
export PYTHON
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# checkov's own environment: it pins an older boto3 than the platform has.
TOOLS_STAMP := .venv-tools/.installed .venv-focus/.installed
HOME_FLAG := $(if $(DRIVETRAIN_HOME),,--home .drivetrain)
# One folder of real drive logs to ingest beside the synthetic ones; LOGS= for none.
LOGS ?= $(wildcard ../shared/data/logs)

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo
	@echo '  LOGS=DIR             with demo: ingest a folder of your own drive logs too'
	@echo '  DRIVETRAIN_HOME=DIR  with demo: write there instead of .drivetrain'
	@echo '  PYTHON=PROGRAM       the Python 3.11 to install with'

# A program of its own: it has to survive being killed, and to be waited for by a second make.
$(STAMP): pyproject.toml constraints.txt
	@.ci/install

.PHONY: install
install: $(STAMP) ## Make .venv with every extra

.venv-tools/.installed: policies/requirements.txt
	@.ci/tools

.venv-focus/.installed: tests/cost/focus/validator-requirements.txt
	@.ci/tools

.PHONY: tools
tools: $(STAMP) $(TOOLS_STAMP) ## checkov in .venv-tools, focus-validator in .venv-focus; terraform too where there is none, by its digest
	@$(BIN)/drivetrain infra tools

.PHONY: demo
demo: export LOGS := $(LOGS)
demo: $(STAMP) ## From raw drive logs to a verified, signed bundle
	@$(BIN)/drivetrain demo $(HOME_FLAG) $${LOGS:+--logs "$$LOGS"}

.PHONY: lint
lint: $(STAMP) ## Style, types, import contracts, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

.PHONY: test
# Three at once on two cores: much of the time is waiting for servers. The demo end to end, the longest, is to start early.
test: lint $(TOOLS_STAMP) ## Everything: lint, types, import contracts, every test
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not soak"

.PHONY: test-fast
test-fast: $(STAMP) ## The tests that need no server, no training and no compiler
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not soak"

.PHONY: bench
bench: export ONLY := $(ONLY)
bench: export JSON := $(JSON)
bench: $(STAMP) ## Reading and decoding against other libraries: one table; ONLY=mdf4,mcap chooses, JSON=FILE keeps it
	@$(BIN)/python -m tests.bench $${ONLY:+--only "$$ONLY"} $${JSON:+--json "$$JSON"}

.PHONY: soak
soak: $(STAMP) ## The long series of faults: kills at random moments, compared with undisturbed runs
	$(BIN)/pytest -m soak

# The environment of plan, apply, destroy and drift; `local` is an emulator on this machine.
ENV ?= local
INFRA = $(BIN)/drivetrain infra
# STACK="a b": these stacks and all that they take from, instead of every stack.
STACKS = $(foreach stack,$(STACK),--only $(stack))

.PHONY: plan apply destroy drift manifests kubeconfig upgrade-check drill
plan: $(STAMP) ## What would change in ENV (local), what it costs, what policy says; STACK="a b" for some stacks alone
	@$(INFRA) plan --env $(ENV) $(HOME_FLAG) $(STACKS)
apply: $(STAMP) ## Apply the approved plan of ENV
	@$(INFRA) apply --env $(ENV) $(HOME_FLAG) $(STACKS)
destroy: $(STAMP) ## Take everything in ENV away
	@$(INFRA) destroy --env $(ENV) $(HOME_FLAG) $(STACKS)
drift: $(STAMP) ## What was changed outside in ENV
	@$(INFRA) drift --env $(ENV) $(HOME_FLAG) $(STACKS)
manifests: $(STAMP) ## Write the objects of ENV's clusters as YAML into MANIFESTS (build/manifests/ENV)
	@$(INFRA) manifests --env $(ENV) --out "$(or $(MANIFESTS),build/manifests/$(ENV))"
kubeconfig: $(STAMP) ## Write a kubeconfig for yourself; PERSON=admin for more than looking
	@$(INFRA) kubeconfig --env $(ENV) $(HOME_FLAG) $(if $(PERSON),--as $(PERSON)) $(if $(ROLE),--role $(ROLE)) $(if $(REGION),--region $(REGION))
upgrade-check: $(STAMP) ## What a step of Kubernetes would replace, and what goes with it: EKS=1.36
	@$(INFRA) upgrade-check --env $(ENV) --to "$(or $(EKS),$(error name the version: make upgrade-check EKS=1.36))"
drill: $(STAMP) ## Restore drill of the metadata, timed against ENV's RTO; ROWS= adds rows to the copy
	@$(INFRA) drill --env $(ENV) $(HOME_FLAG) $(if $(ROWS),--rows $(ROWS))

.PHONY: constraints
constraints: ## Write constraints.txt from what .venv holds
	{ sed -n '/^#/p;/^[^#]/q' constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

.PHONY: clean
clean: ## Delete the virtual environments; the home folder stays
	rm -rf $(VENV) .venv-tools .venv-focus

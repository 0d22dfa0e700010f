# Everything a developer runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
PYTHON ?= python3
# What is imported is compiled once, not by each of the hundreds of processes that tests start; container images often switch
# that off.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}'

$(UV):
	@echo "Setting up uv $(UV_VERSION) in .tools (once)"
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@echo "Setting up Python packages in .venv"
	@$(UV) sync --quiet --locked --python $(PYTHON)
	@touch $@

.PHONY: setup
setup: .venv/.synced ## Set up .venv with everything that the other targets need

.PHONY: demo
demo: .venv/.synced ## See the main job on a real cluster: alert to resolved Incident (KEEP=1 leaves it running)
	@$(BIN)/python hack/demo $(if $(KEEP),--keep)

.PHONY: test
test: .venv/.synced cluster ## Run every test, those on a real cluster included
	@PATH=.cluster/bin:$$PATH KUBECONFIG=$$($(PYTHON) hack/cluster kubeconfig) kubectl apply -f crds >/dev/null
	@echo "Groups of tests run side by side; each prints its results when it is done"
	@rm -f .venv/.tests-failed
	@$(MAKE) --no-print-directory --jobs=4 --keep-going --output-sync=target test-e2e test-unit test-faults test-cluster || touch .venv/.tests-failed
	@PYTHONPATH=hack:. $(BIN)/python -m tests.e2e.leaving
	@test ! -e .venv/.tests-failed

.PHONY: test-policies test-unit test-e2e test-faults test-cluster
test-policies: # they take the policies away for a moment, so nothing else on the cluster runs beside them
	@$(BIN)/pytest -q -m cluster tests/approval_policy

test-unit: # in one process: the groups beside it need the rest of the machine
	@$(BIN)/pytest -q -m 'not cluster' --ignore=tests/proofs/field

test-e2e: test-policies
	@$(BIN)/pytest -q -m cluster tests/e2e

test-faults: test-policies
	@$(BIN)/pytest -q -m cluster tests/proofs/faults tests/proofs/rounds

test-cluster: test-policies
	@$(BIN)/pytest -q -m cluster --ignore=tests/e2e --ignore=tests/approval_policy \
		--ignore=tests/proofs/faults --ignore=tests/proofs/rounds --ignore=tests/proofs/field

.PHONY: unit
unit: .venv/.synced ## Run the tests that need no cluster
	@$(BIN)/pytest -n 2 -m 'not cluster'

.PHONY: check
check: .venv/.synced ## Check style and types, and run the tests of the pure core (a minute; before each commit)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n 2 tests/core

.PHONY: faults rounds storm siege field bench explore mutants
faults: .venv/.synced cluster ## Kill, cut and garble at every write of every example: nothing lost, nothing doubled (resumes; ALL=1: each fault at each call)
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.faults $(if $(ONLY),--only $(ONLY))

rounds: .venv/.synced cluster ## Two operators: kill, halt and cut off the leader in every stage
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.rounds --page

storm: .venv/.synced cluster ## 10,000 alerts while the operator is killed; the receiver under abuse
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.storm

siege: .venv/.synced cluster ## One namespace does all that could stop the operator, in a Pod with the chart's limits: nobody else notices
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.siege

field: .venv/.synced cluster ## What takes minutes on a real cluster: Jobs that fail in twelve ways, and the like (ONLY=words: some of them)
	@PATH=.cluster/bin:$$PATH KUBECONFIG=$$($(PYTHON) hack/cluster kubeconfig) kubectl apply -f crds >/dev/null
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.field $(if $(ONLY),--only "$(ONLY)")

bench: .venv/.synced cluster ## Measure beside a bare client and a textbook kopf operator, and write docs/benchmarks.md
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.bench

explore: .venv/.synced ## Walk the whole state machine, breadth first
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.explore

mutants: .venv/.synced ## Remove every guard of core and engine in turn: a test has to fail
	@PYTHONPATH=hack:. $(BIN)/python -m proofs.mutants

.PHONY: lint
lint: .venv/.synced ## Check style, types, layers and generated files, and show the shape of the code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@MYPYPATH=hack/cluster $(BIN)/mypy -p devcluster
	@MYPYPATH=hack/demo $(BIN)/mypy -p demonstration
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m incident_operator.crdgen --check
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/python hack/shape.py

.PHONY: generate
generate: .venv/.synced ## Write crds/, the chart's copies, docs/schemas/, docs/fields.md and tables of the docs from models and policies
	@$(BIN)/python -m incident_operator.crdgen
	@$(BIN)/python docs/generate.py

.PHONY: format
format: .venv/.synced ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: cluster
cluster: ## Start the local Kubernetes (CLUSTER=local|kind|existing)
	@$(PYTHON) hack/cluster up

.PHONY: cluster-down
cluster-down: ## Stop the local Kubernetes, keeping its data
	@$(PYTHON) hack/cluster down

.PHONY: cluster-reset
cluster-reset: ## Stop the local Kubernetes and remove all of it
	@$(PYTHON) hack/cluster reset

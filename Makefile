# Every path is relative, so that the checkout may live in a folder with spaces in its name.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run reset seed stack stack-status stack-restart events test test-faults check-invariants lint format lock contracts images test-rolling test-restore test-compose test-races test-stories test-simulation bench

PYTHON ?= python3
export PYTHON
# One folder or file of tests, such as services/catalog/tests; everything when empty.
T ?=
SERVICE ?= all
DO ?= list
# Faults whose name has this in it; all of them when empty.
ONLY ?=
SIZE ?= 300
ROUNDS ?= 1000
# For `make test-simulation`: how long, or which schedule again, and which of its steps to leave out.
SECONDS ?= 60
SEED ?=
WITHOUT ?=
STORIES ?= 200

packages := chassis accounts catalog cart orders payments gateway razorpay_simulator embedded localservers stack
tests := chassis/tests $(wildcard services/*/tests) gateway/tests $(wildcard simulators/*/tests) \
	$(wildcard deploy/*/tests) deploy/compose deploy/observability tests
python := .venv/bin/python

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

run:  ## Start all of Haat, with nothing but Python on the machine (PORT, SIMULATOR_PORT, MANAGEMENT_PORT, HAAT_DATA)
	@requirements/install.sh embedded && exec $(python) -m embedded

reset:  ## Wipe what `make run` has stored
	@requirements/install.sh embedded && exec $(python) -m embedded reset

seed:  ## Fill the catalogue of `make run` with SIZE products (make seed SIZE=100000)
	@requirements/install.sh embedded && exec $(python) -m embedded seed --size $(SIZE)

stack:  ## Start the same shop distributed: a process per service, RabbitMQ (CATALOG_REPLICAS=2, ORDERS_ROLE=split)
	@requirements/install.sh dev && exec $(python) -m stack

stack-status:  ## Tell how the processes of `make stack` are
	@$(python) -m stack status

events:  ## Events of `make stack`: make events SERVICE=orders DO="list | show ID | replay ID | drop ID | republish --since 2h"
	@$(python) -m stack events $(SERVICE) $(DO)

stack-restart:  ## Replace the processes of PART one after the other, as a rolling update does (PART=catalog)
	@$(python) -m stack restart $(PART)

test:  ## Prove it all on a real PostgreSQL and RabbitMQ, or one folder of it (make test T=services/catalog/tests)
	@requirements/install.sh dev
	@requirements/kubectl.sh
ifeq ($(T),)
	@$(python) -m tests.alone
	@$(python) -m localservers.with_rabbitmq $(python) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
		$(filter-out services/%,$(tests))
	@$(python) -m tests.with_stack sh -c '$(python) -m pytest -q tests/e2e && $(python) -m tests.faults --short'
else
	@$(python) -m pytest -q $(T)
endif

test-faults:  ## Hurt a busy stack in every way we know, and check its books each time (make test-faults ONLY=killed SEED=7)
	@requirements/install.sh dev
	@$(python) -m tests.faults --only "$(ONLY)" $(SEED:%=--seed %)

check-invariants:  ## Check the books of the shop that is open (HAAT_DATA, SIMULATOR_PORT)
	@requirements/install.sh dev
	@$(python) -m tests.invariants

lint:  ## Check style, types and imports
	@requirements/install.sh dev
	@$(python) -m ruff check --quiet
	@$(python) -m ruff format --check --quiet
	@$(python) -m mypy $(packages:%=-p %)
	@for folder in $(tests); do $(python) -m mypy "$$folder" || exit 1; done
	@$(python) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo
	@for service in services/*/; do (cd "$$service" && ../../$(python) -c \
		'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo) || exit 1; done
	@.venv/bin/hadolint gateway/Dockerfile services/*/Dockerfile simulators/*/Dockerfile
	@$(python) -m yamllint --strict .yamllint.yaml docker-compose.yml deploy
	@if docker compose version >/dev/null 2>&1; then docker compose --profile demo --profile observability config --quiet; fi

format:  ## Put every file in the one format
	@requirements/install.sh dev
	@$(python) -m ruff check --quiet --fix-only
	@$(python) -m ruff format --quiet

lock:  ## Write the lock files anew (make lock UPGRADE=--upgrade takes newer versions)
	@requirements/install.sh dev
	@requirements/lock.sh $(UPGRADE)

contracts:  ## Write the snapshots of every API and event anew
	@requirements/install.sh dev
	@$(python) -m tests.contracts.write

test-races:  ## Let captures race cancels and expiries, ROUNDS of each (make test-races ROUNDS=1000)
	@requirements/install.sh dev
	@ROUNDS=$(ROUNDS) $(python) -m pytest -q tests/proof/test_races.py

test-stories:  ## Hold the shop against the model, STORIES of it from a SEED (make test-stories STORIES=500 SEED=7)
	@requirements/install.sh dev
	@STORIES=$(STORIES) SEED=$(SEED) $(python) -m pytest -q tests/proof/test_state_machine.py

images:  ## Build the image of every service, the gateway and the simulator
	@docker compose --profile demo build accounts catalog cart orders payments gateway simulator

test-rolling:  ## Replace every process of a busy shop, twice, the second time by a newer release (about 6 minutes)
	@requirements/install.sh dev
	@$(python) -m tests.rolling

test-restore:  ## Lose the databases and the broker of a busy shop, and restore it from backups, twice (about 3 minutes)
	@requirements/install.sh dev
	@$(python) -m tests.restore

test-compose:  ## Prove the journeys against the demo in containers (needs a Docker engine)
	@requirements/install.sh dev
	@$(python) -m tests.deploy.with_compose $(python) -m pytest -q tests/e2e

test-simulation:  ## Simulate shops in virtual time on every core (SECONDS=600), or one again (SEED=7)
	@requirements/install.sh dev
	@$(python) -m tests.simulation --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(WITHOUT),--without $(WITHOUT))

bench:  ## Measure, and write the results below bench/
	@requirements/install.sh dev
	@$(python) -m bench

# What can be made of one part alone, in an environment of its own that holds no other service. A part's Makefile
# names itself and includes this: `make -C services/catalog test` needs the checkout and nothing that was built before.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install test lint format run build image clean

root := $(patsubst %/requirements/part.mk,%,$(lastword $(MAKEFILE_LIST)))
package ?= $(part)
PYTHON ?= python3
export PYTHON
# One file of tests, such as tests/test_stock.py; all of them when empty.
T ?= tests
python := .venv/bin/python
# The style is one for all parts; only the import rules are the part's own.
rules := $(root)/pyproject.toml

help:  ## List what can be made of this part alone
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(root)/requirements/part.mk

install:  ## Install this part, the chassis and what tests them into .venv, and nothing else of ours
	@$(root)/requirements/install.sh $(part)

test: install  ## Test it, on a PostgreSQL of its own where it needs one (make test T=tests/test_….py)
	@$(python) -m pytest -q -c $(rules) --rootdir . $(T)

lint: install  ## Check its style, types and imports
	@$(python) -m ruff check --quiet
	@$(python) -m ruff format --check --quiet
	@$(python) -m mypy --config-file $(rules) -p $(package)
	@$(python) -m mypy --config-file $(rules) tests
	@if grep -q '^\[tool\.importlinter\]' pyproject.toml; then \
		$(python) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-logo; fi
	@.venv/bin/hadolint Dockerfile

format: install  ## Put its files in the one format
	@$(python) -m ruff check --quiet --fix-only
	@$(python) -m ruff format --quiet

run: install  ## Run it, with the variables that its README names
	@exec $(python) -m $(package)

build: install  ## Build its wheel into dist/
	@if [ -x .venv/bin/uv ]; then uv=.venv/bin/uv; else uv=$(root)/.venv/bin/uv; fi; \
		"$$uv" build --quiet --wheel --no-build-isolation --python $(python) --out-dir dist

image:  ## Build its image (needs a Docker engine)
	@docker build --file Dockerfile --tag haat-$(part) $(root)

clean:  ## Remove what was installed and built here
	@rm -rf .venv dist

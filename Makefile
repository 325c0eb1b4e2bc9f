# Two commands are all a newcomer needs: `make run` and `make test`.
# PYTHON names the interpreter for the virtual environment (3.10 or newer); ARGS is passed on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/installed  ## Run the agent against the embedded network, one cycle a minute (ARGS="--cycles 1" …)
	@exec $(BIN)/testwarden run --demo $(ARGS)

test: $(VENV)/installed-dev  ## Run all tests (ARGS="tests/unit" …)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev  ## Check style, types and the direction of imports
	@$(BIN)/ruff check src tests bench InfluxDB
	@$(BIN)/ruff format --check src tests bench InfluxDB
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## Format the code
	@$(BIN)/ruff check --fix src tests bench InfluxDB
	@$(BIN)/ruff format src tests bench InfluxDB

bench: $(VENV)/installed-dev  ## Measure, and print the figures of bench/README.md
	@$(BIN)/python bench/run.py $(ARGS)

clean:  ## Remove the virtual environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis artefacts

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("testwarden needs Python 3.10 or newer, this is %d.%d: make PYTHON=python3.x …" \
	  % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'The virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing testwarden into $(VENV) …'
	@$(PIP) install --use-pep517 -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo 'Installing testwarden and its test tools into $(VENV) …'
	@$(PIP) install --use-pep517 -e '.[dev]'
	@touch $@ $(VENV)/installed

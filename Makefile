# Each target sets up what it needs: Python 3.11+, pip and make are enough, no service has to run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXAMPLE ?= example
TEST_PROCESSES ?= 2

.PHONY: nightly test check format types imports clean ui

nightly: $(EXAMPLE)/project.yaml  ## build the embedded example where it is missing, and run the whole nightly job on it
	$(BIN)/tesserae nightly $(EXAMPLE)

$(EXAMPLE)/project.yaml: | $(STAMP)
	$(BIN)/tesserae example $(EXAMPLE) --domain digits

test: $(STAMP)  ## lint, types, import contracts and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

check: test

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(STAMP)
	$(BIN)/tesserae ui $(EXAMPLE)

$(STAMP): pyproject.toml infra/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet -c infra/constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(EXAMPLE)

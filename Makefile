# Two commands do everything, on a machine with nothing but Python 3.11 or newer:
#   make demo   the environment, then the whole path on real data
#   make test   the environment, then every check and test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint fast clean

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" tools/demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m "not slow"
	$(BIN)/python -m pytest -q -m slow

# The everyday loop: no sweeps.
fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -q -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff format --check resnetc tests benchmarks tools
	$(BIN)/ruff check resnetc tests benchmarks tools
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/resnetc fmt --check specs
	$(BIN)/resnetc check --paper $(wildcard specs/*resnet*.rnet)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

clean:
	rm -rf build dist demo runs

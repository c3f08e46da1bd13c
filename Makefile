# Two commands do everything, on a machine with nothing but Python 3.11 or newer:
#   make demo   the environment, then the whole path on real data
#   make test   the environment, then every check and test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two workers with one thread each: torch's threads would otherwise wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -q

.PHONY: demo test lint fast clean

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" tools/demo

test: $(STAMP) lint
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow

# The everyday loop: no sweeps.
fast: $(STAMP)
	$(PYTEST) -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff format --no-cache --check resnetc tests benchmarks tools
	$(BIN)/ruff check --no-cache resnetc tests benchmarks tools
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

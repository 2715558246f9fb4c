# Two commands for a fresh machine with python3 (3.11+, with venv) and make:
#   make demo    set up and run the main job on the embedded scene
#   make test    set up and run the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: demo ingest-demo test test-slow test-hunt chaos lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m jobs.demo --out demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# An S3-compatible server, ten small scenes in two layouts, two ticks that overlap, and the catalogue they leave.
ingest-demo: $(VENV)/.installed-dev
	$(BIN)/python -m tests.demos.ingest_demo --out ingest-demo

# New random examples for every property: to find what the gate's fixed ones do not. A thousand, or the property's own number.
test-hunt: $(VENV)/.installed-dev
	KESTREL_HYPOTHESIS=hunt $(BIN)/python -m pytest tests/property tests/unit

# The whole drill: drivers, actors, nodes, disks, stores and tiles fail on a scene of several hundred tiles; prints a table.
chaos: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m chaos tests/chaos

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml infra/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c infra/constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -q -c infra/constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo *.egg-info

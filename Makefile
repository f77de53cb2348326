# `make run` and `make test` need Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What tagging spends its time in, compiled where there is a C compiler; without one the sources run (hatch_build.py).
COMPILED := build/.compiled
SOURCES := hark/compiled.py hatch_build.py hark/core/draft.py hark/core/tokens.py $(wildcard enrich/*.py)

.PHONY: run test check format chaos lock second-opinion clean

run: $(COMPILED)
	$(BIN)/hark demo

# Two files at a time: most of the time goes into waiting for servers, disks and processes.
test: $(COMPILED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chaos: $(COMPILED)
	$(BIN)/python -m pytest -m chaos tests/chaos -s

# The locks name no index address: versions and hashes alone. The second one is installed on top of the first, and agrees
# with it; it has what the first has not.
COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --python-version 3.11 --extra confluent --extra parquet --extra postgres --group dev pyproject.toml
lock: $(READY)
	$(BIN)/python -m pip install -q uv
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra second-opinion --group second-opinion -c requirements.lock -o requirements-second-opinion.lock

# torch and transformers for `hark train --second-opinion` and what it makes: some gigabytes, so not a part of `make run`.
second-opinion: $(READY)
	$(BIN)/python -m pip install -q --require-hashes -r requirements-second-opinion.lock

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $(READY)

$(COMPILED): $(READY) $(SOURCES)
	$(BIN)/python hatch_build.py
	@mkdir -p build && touch $@

clean:
	rm -rf $(VENV) build hark/compiled.json enrich/*.so hark/core/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis

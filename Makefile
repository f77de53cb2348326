# `make run` and `make test` need Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test check format chaos lock second-opinion clean

run: $(READY)
	$(BIN)/hark demo

# Two files at a time: most of the time goes into waiting for servers, disks and processes.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chaos: $(READY)
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

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

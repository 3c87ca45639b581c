# Two commands: `make demo` shows what huaxiang does, `make test` proves it. `make check`: format, lint, types, imports.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check docs lock clean

demo: .venv/.ready
	$(BIN)/huaxiang demo --folder demo-shop

test: .venv/.ready-dev
	@bash scripts/apt-needs.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "huaxiang needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.ready: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.ready-dev: requirements-dev.lock .venv/.ready
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -r requirements-dev.lock
	@touch $@

# Write the reference pages of docs/ anew from the code.
docs: .venv/.ready-dev
	$(BIN)/python scripts/reference.py

# Write the lock files anew from pyproject.toml: every package at the exact version tried together.
lock:
	$(PYTHON) scripts/lock.py

clean:
	rm -rf .venv demo-shop dist

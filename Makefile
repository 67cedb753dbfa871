# make demo         installs into .venv and runs the whole story on a simulated genome
# make test         installs and runs the tests;  make check: style, types, floors
# make install      .venv with dnalm and everything it can use;  PYTHON=python3.12 chooses the Python
# make test-slow    the long tests;  make test-gpu: those that need CUDA
# make bench        measures everything into bench/results;  BENCH=step: one case;  BENCH_FLAGS="--threads 1"
# make bench-gpu    measures the pretraining step on CUDA, and larger batches and models
# make docs         makes the pages of docs/ from the run records in docs/records and from bench/results
# make clean        removes what these made, .venv included

PYTHON = python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

.PHONY: install install-dev demo test test-slow test-gpu check bench bench-gpu docs clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "dnalm needs Python 3.11 or newer; $(PYTHON) is: `$(PYTHON) --version 2>&1 | head -n 1`"; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing dnalm into .venv (a few minutes; torch is the large part)"
	@$(PYTHON) -m venv .venv
	@$(PIP) -e ".[all]"
	@touch $@

install-dev: .venv/installed-dev

.venv/installed-dev: .venv/installed
	@echo "Installing the tools for tests and checks into .venv"
	@$(PIP) -e ".[all,dev]"
	@touch $@

demo: install
	$(BIN)/dnalm demo

test: install-dev
	$(BIN)/python -m pytest -q -n auto --dist worksteal

test-slow: install-dev
	$(BIN)/python -m pytest -q -m slow

test-gpu: install-dev
	$(BIN)/python -m pytest -q -m gpu

check: install-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict dnalm
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_architecture.py

BENCH =
BENCH_FLAGS =

bench: install
	$(BIN)/python -m bench $(BENCH) $(BENCH_FLAGS)

bench-gpu: install
	$(BIN)/python -m bench $(or $(BENCH),step large) --device cuda --compile $(BENCH_FLAGS)

docs: install
	$(BIN)/python -m docs.make

clean:
	rm -rf .venv demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find dnalm tests bench runs -name __pycache__ -type d -prune -exec rm -rf {} +

# Two commands do everything on a fresh machine: `make demo` and `make test`.
# An active virtual environment is used as it is; without one, .venv is made here.
PYTHON ?= python3
VENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),$(CURDIR)/.venv)
BIN := $(VENV)/bin
STAMP := $(VENV)/.hyperct_pipeline_installed

.PHONY: help setup demo test test-slow test-nightly check format bench ui viz

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## install everything at the pinned versions

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: setup  ## write the synthetic archive, train, evaluate, and say where to look
	$(BIN)/kedro run --pipelines=phantom
	$(BIN)/kedro run
	@echo
	@echo "Done. Where to look next:"
	@echo "  report        data/08_reporting/report.html"
	@echo "  experiments   make ui     (MLflow on http://127.0.0.1:5000)"
	@echo "  lineage       make viz    (Kedro-Viz on http://127.0.0.1:4141)"

test: setup  ## the fast tests
	$(BIN)/pytest -n 2

test-slow: setup  ## the whole chain, real CT, servers, a fresh clone
	$(BIN)/pytest -m slow -n 2 --dist loadfile

test-nightly: setup  ## minutes each: coverage of intervals, a real CT at the published size
	$(BIN)/pytest -m nightly

check: setup  ## ruff, mypy --strict, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## the measurements of docs/benchmarks.md
	$(BIN)/python benchmarks/phantom_learning.py
	$(BIN)/python benchmarks/precision.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/low_rank.py
	$(BIN)/python benchmarks/volume_store.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/study_workers.py
	$(BIN)/python benchmarks/harmonize.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/adapter_analysis.py

ui: setup  ## MLflow in the browser, loopback only
	$(BIN)/mlflow --env-file .env ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000 --workers 1

viz: setup  ## Kedro-Viz in the browser, loopback only
	$(BIN)/kedro viz run --host 127.0.0.1

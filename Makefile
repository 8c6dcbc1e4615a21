# make demo   a whole small study on synthesised speech, in minutes, without a download of data or models
# make test   all tests
# make lint   style and types
# make coverage   all tests, and which lines they reach
# make clean  remove what the tools left; studies (runs/), embeddings (cache/) and .venv stay
#
# Each makes .venv itself where there is none. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Written last, so that an installation that broke off is tried again.
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ser-probe needs Python 3.11 or newer; '$(PYTHON)' is not one. Name one with: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "No virtual environment could be made; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,egemaps,sample,vad,augment,search,ecapa,peft,onnx,stats]'
	@touch $@

demo: $(STAMP)
	$(BIN)/ser-probe run configs/quickstart.yaml

# One thread per worker: processes that each use all processors wait for each other. Tests of one file stay together,
# so that a study that several look at is run once.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Not part of the tests: counting lines slows them down.
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=ser_probe --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find ser_probe tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# make demo   a whole small study on synthesised speech, in minutes, without a download of data or models
# make test   all tests
# make newest the quick tests with the newest releases that pyproject.toml allows, in .venv-newest
# make lock   write constraints.txt anew, where pyproject.toml asks for something else; UPGRADE=1 takes the newest
# make lint   style and types
# make coverage   all tests, and which lines they reach
# make clean  remove what the tools left; studies (runs/), embeddings (cache/) and .venv stay
#
# demo, test, coverage and lint make .venv themselves where there is none, with the releases of constraints.txt, which
# pass all tests together. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= 3

VENV := .venv
BIN := $(VENV)/bin
# Written last, so that an installation that broke off is tried again.
STAMP := $(VENV)/.installed
EXTRAS := dev,egemaps,sample,vad,augment,search,ecapa,peft,onnx,stats,excel
LOCK := constraints.txt
comma := ,
NEWEST := .venv-newest
# The quick part of the tests: where other packages are called, each kind of call once.
NEWEST_TESTS := tests/test_packages.py tests/audio/test_load.py tests/audio/test_speech.py tests/models/test_loading.py \
  tests/models/test_precision.py tests/models/test_lora.py tests/models/test_frame_pooling.py \
  tests/embeddings/test_store.py tests/embeddings/test_opensmile_sets.py tests/training/test_trainer.py
UV := build/uv

.DEFAULT_GOAL := help
.PHONY: help demo test newest coverage lint lock clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

# A Python that will do, and an environment of its own.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ser-probe needs Python 3.11 or newer; '$(PYTHON)' is not one. Name one with: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(1) || { \
	  echo "No virtual environment could be made; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
endef

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

$(STAMP): pyproject.toml $(LOCK)
	$(call make_venv,$(VENV))
	$(BIN)/python $(PIP_INSTALL) --constraint $(LOCK) --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	$(BIN)/ser-probe run configs/quickstart.yaml

# One thread per worker: processes that each use all processors wait for each other. One worker more than the two
# processors they are meant for, since tests also wait: for processes they start, and for signals. Those processes find
# the modules compiled, whatever the shell says of that.
test: $(STAMP)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Not part of the tests: counting lines slows them down.
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov=ser_probe --cov-report=term

# What a user gets who installs without the lock. Upgraded each time: that is what it is for.
newest:
	$(call make_venv,$(NEWEST))
	$(NEWEST)/bin/python $(PIP_INSTALL) --upgrade --upgrade-strategy eager --editable '.[$(EXTRAS)]'
	$(NEWEST)/bin/python -m pip freeze --exclude-editable > $(NEWEST)/versions.txt
	$(NEWEST)/bin/ser-probe doctor
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(NEWEST_TESTS)

# One file for all platforms and Pythons: uv writes what holds for some only with the condition. What is locked stays
# as it is where the ranges allow, but for UPGRADE=1. Run the tests afterwards: they are what the lock promises.
lock:
	$(call make_venv,$(UV))
	$(UV)/bin/python $(PIP_INSTALL) uv
	$(UV)/bin/uv pip compile --quiet --universal --no-config --python-version 3.11 $(if $(UPGRADE),--upgrade) \
	  --no-annotate --custom-compile-command 'make lock' $(patsubst %,--extra %,$(subst $(comma), ,$(EXTRAS))) \
	  --output-file $(LOCK) pyproject.toml

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find ser_probe tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Every target sets up what it needs; `make test` works on a fresh clone.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUNS ?= runs/full
BUDGET ?= 5m
SEEDS ?= 0 1 2
DEMO ?= demo
RECORD ?=
SUDO ?= $(shell test "$$(id -u)" = 0 || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint docs bench bench-peer bench-full results system clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## the main job from end to end, on data inside dependencies; writes demo/
	$(BIN)/galenic demo -o $(DEMO)

# A worker a core, each with one thread of its own: threads of several workers would wait for each other.
test: $(READY)  ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(READY)  ## the tests of minutes, which CI leaves out
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(READY)  ## build the documentation; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# The peers live apart: their own pins must not reach galenic's environment.
.cache/bench-monai/.ready: benchmarks/requirements-monai.txt $(READY)
	test -x .cache/bench-monai/bin/python || $(PYTHON) -m venv .cache/bench-monai
	.cache/bench-monai/bin/python -m pip install --quiet -r benchmarks/requirements-monai.txt -e '.[images]'
	touch $@

.cache/bench-keras/.ready: benchmarks/requirements-keras.txt $(READY)
	test -x .cache/bench-keras/bin/python || $(PYTHON) -m venv .cache/bench-keras
	.cache/bench-keras/bin/python -m pip install --quiet -r benchmarks/requirements-keras.txt
	touch $@

bench: $(READY) .cache/bench-monai/.ready .cache/bench-keras/.ready  ## speed beside MONAI and Keras; RECORD=--record keeps the figures
	$(BIN)/python benchmarks/startup.py $(RECORD)
	$(BIN)/python benchmarks/loading.py $(RECORD)
	test -f .cache/bench-unet2015/provenance.json || $(BIN)/python benchmarks/parity_unet2015.py $(RECORD)
	$(BIN)/python benchmarks/turns.py benchmarks/unet2015.toml $(if $(RECORD),,--no-record) \
		--set keras_python=.cache/bench-keras/bin/python --set model=.cache/bench-unet2015
	$(BIN)/python benchmarks/window.py --monai-python .cache/bench-monai/bin/python $(RECORD)

bench-peer: $(READY) .cache/bench-monai/.ready  ## hippocampus in turn with MONAI, same time, three seeds; an hour
	$(BIN)/python benchmarks/hippocampus.py --seeds $(SEEDS) --peer-python .cache/bench-monai/bin/python \
		--out runs/peer $(RECORD)

bench-full: $(READY)  ## every task with three seeds; resumable, hours long
	$(BIN)/python benchmarks/full.py --budget $(BUDGET) --seeds $(SEEDS) --out $(RUNS)
	$(BIN)/python benchmarks/results.py

results: $(READY)  ## write docs/reference/results.md from the measured lines
	$(BIN)/python benchmarks/results.py

system:  ## optional: the DICOM checker dciodvfy, by which the tests validate what is written
	$(SUDO) apt-get install -y dicom3tools

clean:  ## remove what was built; keeps .venv, runs and data
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis demo

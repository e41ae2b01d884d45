# make demo   compare dense attention with Sparse VideoGen on the bundled model and say where the page is
# make test   the test suite
# make check  lint, types
# make bench  the kernel table on this machine
# Each verb creates .venv if it is missing and installs what it needs from the pins. PYTHON picks the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
DEMO ?= demo

.PHONY: demo test slow check bench clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "videosieve needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/videosieve compare --model shapes-s --methods svg,spatial_only,temporal_only --output $(DEMO)

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q

slow: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -m slow

check: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) $(DEMO)

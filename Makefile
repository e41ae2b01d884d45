# make demo   compare dense attention with Sparse VideoGen on the bundled model and say where the page is
# make test   the test suite
# make test-plain  the kernel tests once more, against an installation that was made without a compiler
# make check  lint, types, and the documentation builds
# make docs   the documentation as a site: site/index.html
# make bench  the kernel table on this machine
# Each verb creates .venv if it is missing and installs what it needs from the pins. PYTHON picks the interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
DEMO ?= demo
PLAIN := $(VENV)/plain

# Two workers fill the smallest machine that tests it; a worker has one thread, for tiny tensors leave nothing to share among
# threads, and threads that wait for a core spin. Tests of several threads ask for them themselves. What the tests of a file
# share is made once, so a file stays in one worker; files are taken in the order in which one process would run them. A
# worker that dies ends the run, instead of leaving it waiting.
WORKERS ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

NATIVE := setup.py $(wildcard videosieve/native/*.[ch]pp videosieve/native/*.h)

.PHONY: demo test test-plain slow check docs bench clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "videosieve needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all]"
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/videosieve compare --model shapes-s --methods svg,spatial_only,temporal_only --output $(DEMO)

test: $(INSTALLED_DEV)
	$(ONE_THREAD) $(BIN)/python -m pytest -q $(PARALLEL)

test-plain: $(INSTALLED_DEV)
	rm -rf $(PLAIN) build
	CC=false CXX=false $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(PLAIN) .
	! find $(PLAIN) -name '*.so' | grep .
	cd $(PLAIN) && ../bin/python -c 'import videosieve; assert videosieve.__file__.startswith("$(abspath $(PLAIN))"), videosieve'
	PYTHONPATH=$(abspath $(PLAIN)):$(CURDIR) $(ONE_THREAD) \
		$(BIN)/pytest -q $(PARALLEL) tests/kernels tests/methods tests/test_run.py -k "not triton"

slow: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -q -m slow

check: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs: $(INSTALLED_DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo 'open site/index.html, or with search: $(BIN)/python -m http.server -d site'

bench: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.native $(BENCH_ARGS)

clean:
	rm -rf $(VENV) $(DEMO) site

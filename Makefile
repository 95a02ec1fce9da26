# make quickstart   install, then train and evaluate the quickstart
# make test         install, then the fast tests          make test-all   the slow ones too
# make chromium     what the tests of tests/ui and of MiniWoB++ need; without it they are skipped       make minecraft  likewise, those of Minecraft
# make lint         ruff, mypy, import-linter              make bench      what benchmarks/ claims, measured again
# make docs         install what it needs, then build the pages into build/site
SHELL := /bin/sh
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p $(NEW_ENOUGH) 2>/dev/null; then echo $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
EDITABLE := $(foreach p,$(PLUGINS),-e $(patsubst %/,%,$(dir $(p))))

# One thread per process: there is a process per core already, and more threads make small models slower.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export MLFLOW_DISABLE_TELEMETRY ?= true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup quickstart chromium minecraft test test-all lint docs bench clean
.DELETE_ON_ERROR:

setup: $(STAMP)

# torch first and pinned: a range would pull a build for GPUs, several GB, onto a machine without one.
$(STAMP): pyproject.toml constraints.txt $(PLUGINS)
	@test -n "$(PYTHON)" || { echo "crossagent needs Python 3.11 or newer; install it, or call: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) $(NEW_ENOUGH) || { echo "crossagent needs Python 3.11 or newer; $(PYTHON) is older"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "could not make $(VENV): on Debian and Ubuntu install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt -e '.[dev]' $(EDITABLE)
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt -e '.[docs]'
	@touch $@

quickstart: $(STAMP)
	$(BIN)/crossagent run recipes/quickstart.yaml

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

chromium: $(STAMP)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get update || true; } && timeout 60 apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	|| timeout 60 $(BIN)/playwright install chromium >/dev/null 2>&1 \
	|| echo "no Chromium could be installed: tests/ui will be skipped"

minecraft: $(STAMP)
	@timeout 300 $(BIN)/crossagent minecraft install || echo "the tests of embedded Minecraft will be skipped"

# TRL is compared with, and Ray used, where they can be installed; without them those tests are skipped, with the reason.
test-all: $(DOCS_STAMP) chromium minecraft
	$(BIN)/python -c 'import trl' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt -e '.[differential]' || true
	$(BIN)/python -c 'import ray' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt -e '.[ray]' || true
	$(BIN)/python -m pytest -q -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS_STAMP)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python benchmarks/quickstart.py
	$(BIN)/python benchmarks/viewer.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/pool.py
	$(BIN)/python benchmarks/fault_storm.py
	$(BIN)/python benchmarks/rollout_vs_trl.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/constrained.py
	$(BIN)/python benchmarks/craftworld.py --json benchmarks/craftworld.json

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

# Everything a person types here. `make demo` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PLUGINS := $(wildcard plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo run test test-long coverage check lint types bench profile docs data clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): pyproject.toml constraints.txt $(PLUGINS)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -e '.[dev,rich,uvloop]' $(foreach p,$(PLUGINS),-e $(dir $(p)))
	@touch $@

demo: $(STAMP) ## the main job on real input, checked field by field
	$(BIN)/python -m tests.demo

run: $(STAMP) ## the same hub, left running
	$(BIN)/esplanade run

test: $(STAMP) ## the whole test-suite
	$(BIN)/python -m pytest

test-long: $(STAMP) ## the larger profiles of the property and fault tests
	ESPLANADE_PROFILE=long $(BIN)/python -m pytest --timeout=1800

coverage: $(STAMP) ## how much of each plugin its own tests run: 95 % at least
	@for plugin in $(notdir $(patsubst %/pyproject.toml,%,$(PLUGINS))); do \
	  echo "== $$plugin"; \
	  $(BIN)/python -m coverage run --source=plugins/$$plugin/esplanade_$$plugin \
	    -m pytest --ignore=plugins/$$plugin/tests/test_conformance.py plugins/$$plugin/tests || exit 1; \
	  $(BIN)/python -m coverage report || exit 1; \
	done

lint: $(STAMP) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

check: lint types test ## everything CI runs

bench: $(STAMP) ## benchmarks as ratios to their limits
	$(BIN)/python -m tests.bench

profile: $(STAMP) ## where the hub's time goes: make profile ROW=backlog
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[profile]'
	PATH="$(BIN):$$PATH" $(BIN)/python -m tests.bench.profile $(ROW)

docs: $(STAMP) ## write the generated reference, the JSON Schema and their like anew
	$(BIN)/python -m tests.regenerate

data: $(STAMP) ## make tests/data/people.csv anew (seeded, so the same each time)
	$(BIN)/python tests/data/make_people.py

clean: ## remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage build dist *.db *.db-wal *.db-shm

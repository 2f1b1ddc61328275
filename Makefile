# Everything that a developer or a machine runs. Needs Python 3.11 or newer, make, and node for the client tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet
HASHED := $(PIP_INSTALL) --require-hashes

# Tests wait more than they compute. Each process has a PostgreSQL and a gateway of its own.
JOBS ?= 2
AT_ONCE = $(if $(filter-out 1,$(JOBS)),--numprocesses $(JOBS) --dist worksteal)

NODE_FOLDERS := $(patsubst %/package.json,%,$(wildcard tests/*/package.json tests/*/*/package.json))
NODE_STAMPS := $(NODE_FOLDERS:%=.make/%)

# Tests start programs of ours by the hundred; none of them need compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve serve-s3 test test-long test-all soak bench lint format lock clean FORCE

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: .make/server ## Serve http://127.0.0.1:8080/files/ on ./data (PORT= and DATA= change both)
	@exec $(BIN)/tuspy-server $(if $(PORT),--port '$(PORT)') $(if $(DATA),--data '$(DATA)')

serve-s3: .make/trial ## Serve the same on a PostgreSQL and an S3 gateway of its own, in ./data-s3 (PORT= and DATA=)
	@exec $(BIN)/python -m trial $(if $(PORT),--port '$(PORT)') $(if $(DATA),--data '$(DATA)')

test: .make/test $(NODE_STAMPS) ## Run the tests, but the long ones (ARGS= goes to pytest, JOBS= at once)
	$(BIN)/python -m pytest -m "not long and not soak" $(AT_ONCE) $(ARGS)

test-long: .make/test $(NODE_STAMPS) ## Run the long tests alone
	$(BIN)/python -m pytest -m long $(AT_ONCE) $(ARGS)

test-all: test test-long ## Run all tests, the long ones too

soak: .make/test $(NODE_STAMPS) ## Eight uploads of 1 GiB at once: memory stays bounded
	$(BIN)/python -m pytest -m soak $(ARGS)

bench: .make/test ## Our server and its peers under one load (ARGS= goes to bench, such as ARGS=--quick)
	$(BIN)/python -m bench $(ARGS)

lint: .make/test .make/lint ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .make/lint ## Rewrite the code the way lint wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One resolution for all: what the server runs with is what the tests and the type checker see.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	$(if $(UPGRADE),--upgrade)
lock: $(BIN)/python ## Make requirements/ anew from pyproject.toml (UPGRADE=1 moves every pin)
	$(PIP_INSTALL) uv
	$(COMPILE) -o requirements/server.txt pyproject.toml
	$(COMPILE) -o requirements/s3.txt -c requirements/server.txt --extra s3 pyproject.toml
	$(COMPILE) -o requirements/trial.txt -c requirements/server.txt -c requirements/s3.txt --group trial
	$(COMPILE) -o requirements/build.txt --group build
	$(COMPILE) -o requirements/test.txt -c requirements/server.txt -c requirements/s3.txt --group test
	$(COMPILE) -o requirements/lint.txt -c requirements/server.txt -c requirements/s3.txt -c requirements/test.txt --group lint

clean: ## Remove what make has set up; ./data and ./data-s3 stay
	rm -rf .make $(VENV) $(NODE_FOLDERS:%=%/node_modules)

# Set-up, each step once for each state of its lock file.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "tuspy-server needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

.make/server: requirements/server.txt requirements/build.txt pyproject.toml $(BIN)/python
	$(HASHED) -r requirements/server.txt -r requirements/build.txt
	$(PIP_INSTALL) --no-build-isolation --no-deps --editable .
	@mkdir -p $(@D) && touch $@

.make/s3: requirements/s3.txt .make/server
	$(HASHED) -r requirements/s3.txt
	@mkdir -p $(@D) && touch $@

.make/trial: requirements/trial.txt .make/s3
	$(HASHED) -r requirements/trial.txt
	@mkdir -p $(@D) && touch $@

.make/test: requirements/test.txt .make/s3
	$(HASHED) -r requirements/test.txt
	@mkdir -p $(@D) && touch $@

.make/lint: requirements/lint.txt .make/server
	$(HASHED) -r requirements/lint.txt
	@mkdir -p $(@D) && touch $@

define NODE_RULE
.make/$(1): $(1)/package.json $(1)/package-lock.json $(if $(wildcard $(1)/node_modules),,FORCE)
	@command -v npm >/dev/null || { echo "the tests of $(1) need node and npm on the PATH" >&2; exit 1; }
	npm ci --prefix $(1) --no-audit --no-fund --loglevel=error
	@mkdir -p $$(@D) && touch $$@
endef
$(foreach folder,$(NODE_FOLDERS),$(eval $(call NODE_RULE,$(folder))))

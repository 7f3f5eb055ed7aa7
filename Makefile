# Everything needs Python 3.11 or later and make, nothing else. `make run` is the way in.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
CONFIG ?= config.example.yaml
# Half of what the tests do is waiting: for disks, servers and processes.
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help run test check bench lock schema format clients mysql clean

help: ## shows this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST)

run: $(RUNTIME) ## serves the demo shop on http://127.0.0.1:8400
	@exec $(BIN)/holdfast serve --config $(CONFIG)

test: $(DEV) ## runs the whole test suite
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(DEV) ## format, lint, types, import rules, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: $(DEV) ## runs the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

format: $(DEV) ## formats and fixes what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(DEV) ## writes docs/config.schema.json anew
	$(BIN)/python -m gateway.config.published > docs/config.schema.json

# Universal: one file serves every platform and every Python from 3.11 on. The project is built
# without isolation, so what builds it is locked too.
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --python-version 3.11 --custom-compile-command "make lock" $(UPGRADE)

lock: $(VENV)/.created ## resolves the dependencies anew (UPGRADE=--upgrade for newer versions)
	$(BIN)/python -m pip install --quiet "uv>=0.13"
	printf 'hatchling\neditables\n' | $(UV_COMPILE) pyproject.toml - -o requirements.lock
	printf 'hatchling\neditables\n' | $(UV_COMPILE) --group dev --constraint requirements.lock pyproject.toml - \
		-o requirements-dev.lock
	$(UV_COMPILE) --group clients -o requirements-clients.lock

mysql: var/mysql/.fetched ## fetches MySQL for its tests, where Debian's unstable can be reached

var/mysql/.fetched: tests/fixtures/mysql_server.py | $(DEV)
	$(BIN)/python -m tests.fixtures.mysql_server
	@touch $@

# What the acceptance tests of the MCP side run: clients and servers of others. Needs npm.
clients: var/clients/.installed var/node/.installed ## installs the clients and servers of others

var/clients/.installed: requirements-clients.lock
	$(PYTHON) -m venv var/clients
	var/clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-deps -r requirements-clients.lock
	@touch $@

var/node/.installed: tests/fixtures/mcp/node/package.json
	mkdir -p var/node
	cp tests/fixtures/mcp/node/package.json var/node/
	npm install --prefix var/node --ignore-scripts --no-audit --no-fund --silent
	@touch $@

clean: ## removes the virtual environment and caches, never var/
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Holdfast needs Python 3.11 or later; this is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments (on Debian: apt install python3-venv)." >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# A stamp is written last, so an interrupted installation is done again.
define install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(1)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

$(RUNTIME): requirements.lock pyproject.toml | $(VENV)/.created
	$(call install,requirements.lock)

$(DEV): requirements-dev.lock pyproject.toml | $(VENV)/.created
	$(call install,requirements-dev.lock)
	@touch $(RUNTIME)

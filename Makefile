# Every target makes .venv itself; a machine needs python3 (3.11 or newer), make and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-brokerage
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
PYTEST_ARGS ?=
TESTS ?= test
# So many processes run tests, each file in one of them; make test WORKERS=0 runs them here, one after the other. The
# fault tests, which start dozens of processes at a time and measure how soon these recover, run by themselves.
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --ignore tests/faults
FAULTS = $(BIN)/python -m pytest tests/faults

.PHONY: run test coverage fuzz long attack storm mutants check format lint types imports bench interop lock supergraph docs explorer clean

run: $(RUN_STAMP)
	$(BIN)/python -m brokerage up $(ARGS)

test: $(STAMP)
ifeq ($(PYTEST_ARGS),)
	$(FAULTS)
	$(PYTEST)
else
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)
endif

# The tests, measured: branches of all three packages, in the processes that tests start as well. pytest's own line comes
# last. Below the floor in pyproject.toml (fail_under), or with a failed test, it fails.
coverage: $(STAMP)
	rm -rf .coverage
	$(FAULTS)
	$(PYTEST) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

# Random operations against one big schema, a third of them with @defer, beyond what the suite does:
# make fuzz ARGS="--operations 100000". Then nulls that end the parts they stand in.
fuzz: $(STAMP)
	$(BIN)/python -m tests.execution $(ARGS)
	TRIFOLIO_DEFERRED_OPERATIONS=3000 $(BIN)/python -m pytest tests/execution/test_incremental_nulls.py

# All that random tests can find in half an hour, with a new seed each time; make test runs a small part, always the same.
long: $(STAMP)
	$(BIN)/python -m tests.execution --operations 20000 --random 200 $(ARGS)
	$(BIN)/python -m tests.execution --operations 3000 --random 100 --deferring $(ARGS)
	$(BIN)/python -m tests.execution --operations 3000 --random 100 --over-http $(ARGS)
	$(BIN)/python -m tests.execution --operations 1000 --random 100 --over-http --deferring $(ARGS)
	TRIFOLIO_DEFERRED_OPERATIONS=3000 $(BIN)/python -m pytest tests/execution/test_incremental_nulls.py
	TRIFOLIO_COMPILED_OPERATIONS=10000 $(BIN)/python -m pytest tests/shared/test_graphql_execution.py
	$(BIN)/python -m tests.composer --sets 20000
	TRIFOLIO_SCHEMATHESIS_EXAMPLES=100 $(BIN)/python -m pytest tests/openapi/test_schemathesis.py
	TRIFOLIO_EVERY_POINT=1 $(BIN)/python -m pytest tests/faults/test_listeners.py

# What attackers send, for longer than the suite does; then against a router on a socket, whose event loop is measured:
# make attack ARGS="--number 50000 --seconds 3600". It fails where the loop stands still, or memory grows.
attack: $(STAMP)
	TRIFOLIO_ATTACK_ROUNDS=5 $(BIN)/python -m pytest tests/attacks
	$(BIN)/python -m tests.attacks $(ARGS)

# The fault tests at length: five minutes of kills on each database, twenty backups in a storm, a minute of restarts,
# every interference at every point, every preemption of every race, five thousand seeds of network faults.
storm: $(STAMP)
	TRIFOLIO_STORM_SECONDS=300 TRIFOLIO_BACKUPS=20 TRIFOLIO_INTERFERENCES=all TRIFOLIO_RACES=all \
	  TRIFOLIO_NETWORK_SEEDS=5000 TRIFOLIO_RESTART_SECONDS=60 \
	  $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

# Mistakes planted in a copy of the services: which test catches each.
mutants: $(STAMP)
	$(BIN)/python -m tests.faults.mutants

# make check TESTS=coverage measures the tests as well, and takes twice as long.
check: format lint types imports $(TESTS)

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

# What the router costs alone, and the brokerage as a whole, in under five minutes; `make bench ARGS=--help` says what
# there is, beside other routers too. ARGS=--publish writes docs/performance.md and its plots.
bench: $(BENCH_STAMP)
	$(BIN)/python -m bench $(ARGS)

# Apollo's composition and gateway on our schemas, and clients of others on our answers in parts and our subscriptions;
# then random subgraphs, as the composer and the planners of others judge them. It needs Node 20:
# make interop ARGS="--sets 20000"
interop: $(STAMP)
	$(BIN)/python -m bench.interop
	$(BIN)/python -m tests.composer --judges --sets 1000 $(ARGS)

# The lock files hold pinned versions only: no registry is named, so they install from whichever one a machine uses.
# What is pinned stays, as far as the requirements allow; for newer versions: make lock ARGS=--upgrade
lock:
	$(PYTHON) tools/lock.py $(ARGS)

clean:
	rm -rf $(VENV) router/build router/dist router/*.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Trifolio needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): $(VENV)/bin/python requirements-brokerage.lock router/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-brokerage.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./router
	@touch $@

$(STAMP): $(RUN_STAMP) requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.lock
	@touch $@

$(BENCH_STAMP): $(STAMP) requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.lock
	@touch $@

# The schemas that the subgraphs' code states, and the supergraph that they compose to; tests prove that all are current.
supergraph: $(STAMP)
	$(BIN)/python -m tools.schemas
	$(BIN)/trifolio compose --config supergraph.yaml --output supergraph.graphql

# The pages that are made from the code: the services' error codes, the names of the package; tests prove them current.
docs: $(STAMP)
	$(BIN)/python -m tools.error_codes
	$(BIN)/python -m tools.api_page

# The explorer's build is committed; only who changes explorer/ needs Node.
explorer:
	npm --prefix explorer ci
	npm --prefix explorer run build

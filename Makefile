# livecard: `make demo` shows it, `make test` tests it; both install what they need into .venv first.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
LOCK := requirements-dev.txt
INSTALL_ARGS ?=
PYTEST_ARGS ?=
# Most tests wait for engines and processes, so more workers than cores.
TEST_WORKERS ?= 6
LOCK_ARGS ?=
AUDIT_ARGS ?=

# The first interpreter that runs and is new enough; override with `make PYTHON=/path/to/python3 …`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

.PHONY: help install demo test lint generated format generate audit sim bench bench-growth chaos fuzz lock engines-start engines-stop engines-status clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with the locked dependencies and the `livecard` command

$(STAMP): $(LOCK) pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "livecard needs Python 3.11 or newer with its venv module, and none of python3.13, python3.12," >&2; \
		echo "python3.11, python3 is one. Install it (Debian, Ubuntu: python3 and python3-venv)," >&2; \
		echo "or name it: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || { echo "making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing the $$(grep -c == $(LOCK)) dependencies locked in $(LOCK) (the first time takes a minute)"
	@$(PIP) $(INSTALL_ARGS) --require-hashes --only-binary :all: --requirement $(LOCK)
	@echo "installing livecard from this folder: edits count at once"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@echo "done, on $$($(PY) --version): $(VENV)/bin/livecard"
	@touch $@

demo: install ## play a group task against the simulated WeChat and watch it live
	@$(VENV)/bin/livecard demo

test: install ## run the tests, on real engines where they can be found or started
	$(PY) -m pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: install ## style, types, import directions, generated files, contracts that keep their word
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_layout.py
	@$(MAKE) --no-print-directory generated

generated: install ## compare the generated files with the code, and contracts with the last release's
	$(PY) -m contracts.generate --check
	$(PY) -m scripts.compatibility
	$(PY) -m scripts.diagrams --check

format: install ## format the code and apply safe fixes
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

generate: install ## write the generated files anew (schemas, AsyncAPI, field reference, diagrams, snippets)
	$(PY) -m contracts.generate
	$(PY) -m scripts.diagrams

audit: install ## look for known vulnerabilities in the locked dependencies (AUDIT_ARGS=--strict)
	$(PY) -m scripts.audit $(AUDIT_ARGS)

SIM_ARGS ?=

sim: install ## the services under every fault in virtual time: half a minute on each store (SIM_ARGS="--seconds 3600")
	$(PY) -m tests.verification.sim --store dict $(SIM_ARGS)
	$(PY) -m tests.verification.sim --store sqlite $(SIM_ARGS)

BENCH_STAMP := $(VENV)/.installed-bench
BENCH_LOCK := requirements-bench.txt

$(BENCH_STAMP): $(BENCH_LOCK) $(STAMP)
	@$(PIP) --require-hashes --only-binary :all: --requirement $(BENCH_LOCK)
	@touch $@

bench: $(BENCH_STAMP) ## how fast, beside peers in the same run: seven benchmarks in less than six minutes (docs/performance.md)
	@$(PY) -m scripts.engines install --redis || echo "Celery on Redis will not run" >&2
	$(PY) -m benchmarks

bench-growth: $(BENCH_STAMP) ## a million activities, recovery from kill -9, fairness among apps, processes that join and leave
	$(PY) -m benchmarks growth recovery fairness joining

CHAOS_ARGS ?=

chaos: install ## ten minutes of kills, cuts and lies on three brokers, then every card is judged (CHAOS_ARGS="--seed 7")
	$(PY) -m tests.verification.chaos $(CHAOS_ARGS)

FUZZ_ARGS ?=

fuzz: install ## 100,000 hostile records between good ones, each accounted for (FUZZ_ARGS="--records 1000000")
	$(PY) -m tests.verification.fuzz $(FUZZ_ARGS)

lock: install ## resolve the dependencies anew into the two lock files (LOCK_ARGS=--upgrade for newer ones)
	$(PY) -m scripts.lock $(LOCK_ARGS)

engines-start: install ## start Apache Kafka and PostgreSQL of our own, print how to reach them
	@$(PY) -m scripts.engines start

engines-stop: install ## stop those engines and remove their data
	@$(PY) -m scripts.engines stop

engines-status: install ## tell which engines run
	@$(PY) -m scripts.engines status

clean: ## remove caches and .venv
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Everything a person or CI does here, one target a verb. `make` alone prints this list.
# Needs only make and Python >= 3.11; everything else comes into .venv from the locks, checked by hash.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help up install exchange dev test check suite long lint types fmt lock bench sim drill load soak audit fuzz docs screenshots tail restart status clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

up: .venv/.runtime ## install, then run everything with a demonstration; Ctrl-C ends it cleanly
	$(BIN)/holdfast up --demo

test: lint ## install what tests need; linters, types, layers, fifty simulated worlds, the whole suite
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target types sim WORLDS="--seeds 50"
	$(MAKE) --no-print-directory suite

check: test ## the same; what CI runs

suite: .venv/.dev ## the tests alone, four files at a time
	$(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder

long: .venv/.dev ## the tests of minutes that `make test` leaves out: executors killed, paused and silent as processes
	$(BIN)/python -m pytest -n 2 --dist loadscope -m long

lint: .venv/.dev ## style, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

fmt: .venv/.dev ## format, and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev ## the speed table, as ratios to the bare path in the same run
	$(BIN)/python -m benchmarks --out docs/benchmarks

sim: .venv/.dev ## two minutes of simulated worlds with faults; a failure is shrunk and explained
	$(BIN)/holdfast sim $(or $(WORLDS),--seeds 100000 --for 120)

drill: .venv/.dev ## break a running Holdfast for two minutes while it trades; longer: make drill MINUTES=10
	$(BIN)/holdfast drill --minutes $(or $(MINUTES),2)

load: .venv/.dev ## bursts, slow parts, a full bus: figures into docs/benchmarks (a quarter of an hour)
	$(BIN)/python -m benchmarks.load --out docs/benchmarks

soak: .venv/.dev ## an hour at half of the highest rate: does anything grow?
	$(BIN)/python -m benchmarks.soak --out docs/benchmarks

audit: .venv/.audit ## known faults of what is installed to run; says so where their list cannot be reached
	@mkdir -p var && rm -f var/audit.json; \
	$(BIN)/pip-audit --require-hashes --disable-pip --progress-spinner off --format json --output var/audit.json -r requirements.lock 2>var/audit.log; \
	code=$$?; if [ ! -s var/audit.json ] || grep -q skip_reason var/audit.json; then tail -n 1 var/audit.log; \
	echo "audit: NOT DONE. The list of known faults cannot be reached from here, or not for every package; nothing is said."; \
	elif [ $$code -eq 0 ]; then echo "audit: nothing is known against any version in requirements.lock"; \
	else cat var/audit.json; echo; echo "audit: something is known against what is listed with vulns above"; exit $$code; fi

fuzz: .venv/.fuzz ## every decoder, guided by coverage, for three minutes (Linux)
	mkdir -p var/fuzz && $(BIN)/python -m tests.fuzz.atheris_decoders -max_total_time=180 -max_len=4096 -artifact_prefix=var/fuzz/ var/fuzz

docs: .venv/.exchange ## write again what is generated: .env.example, docs/streams.md, docs/metrics.md, docs/licences.md
	$(BIN)/holdfast config --example > .env.example.new && mv .env.example.new .env.example
	$(BIN)/holdfast docs

screenshots: .venv/.dev ## the dashboard's pictures in docs/images, by real Chromium (CHROMIUM=/path if not on PATH)
	$(BIN)/python -m tests.browser.screenshots

tail: .venv/.runtime ## follow a stream: make tail S=fill
	$(BIN)/holdfast tail $(S)

restart: .venv/.runtime ## restart one service: make restart S=executor
	$(BIN)/holdfast restart $(S)

status: .venv/.runtime ## what is held, and whether it is protected
	$(BIN)/holdfast status

lock: .venv/.dev ## resolve dependencies again into the locks
	$(LOCK) pyproject.toml --extra services --group dev --output-file requirements-dev.lock
	$(LOCK) --group audit --constraints requirements-dev.lock --output-file requirements-audit.lock --extra services pyproject.toml
	$(LOCK) --group fuzz --constraints requirements-dev.lock --output-file requirements-fuzz.lock --extra services pyproject.toml
	printf 'hatchling>=1.25\neditables\n' | $(LOCK) pyproject.toml - --extra services --constraints requirements-dev.lock --output-file requirements.lock
	printf 'hatchling>=1.25\neditables\n' | $(LOCK) pyproject.toml - --extra services --extra exchange --constraints requirements-dev.lock --output-file requirements-exchange.lock

install: .venv/.runtime ## only install what running needs
exchange: .venv/.exchange ## also install what speaks with real exchanges (ccxt)
dev: .venv/.dev ## only install what developing needs

clean: ## remove the environment and caches; data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find libs services tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is built anew when its lock changes, and extended for development.
.venv/.runtime: requirements.lock
	@test -n "$(PYTHON)" || { echo "Holdfast needs Python 3.11 or newer; none was found. Name one: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q libs services  # once, and not in every process of the first start
	@touch $@

.venv/.exchange: requirements-exchange.lock .venv/.runtime
	$(PIP) install --quiet --require-hashes -r requirements-exchange.lock
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.audit: requirements-audit.lock .venv/.dev
	$(PIP) install --quiet --require-hashes -r requirements-audit.lock
	@touch $@

.venv/.fuzz: requirements-fuzz.lock .venv/.dev
	$(PIP) install --quiet --require-hashes -r requirements-fuzz.lock
	@touch $@

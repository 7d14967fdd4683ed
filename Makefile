# Everything works from a fresh clone; on Debian, as root, missing programs are installed on the way.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:

BIN := .venv/bin
INSTALLED := .venv/.installed
FLEET ?= demo
PARTS ?=
OPTIONS ?=

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): pyproject.toml tools/setup
	tools/setup

.PHONY: setup
setup: $(INSTALLED) ## Make .venv with gpuprep and its development tools

# --- see it work ---------------------------------------------------------------------------------

.PHONY: demo
demo: $(INSTALLED) ## Prepare six throw-away hosts from bare to proven, and check that it happened
	@echo "demo, 1 of 2: build and boot the hosts; the first time takes minutes"
	$(BIN)/python -m sandbox up --fleet demo
	@echo "demo, 2 of 2: prepare them, and check what happened; minutes on bare hosts"
	$(BIN)/python -m sandbox.demo

.PHONY: demo-workshop
demo-workshop: $(INSTALLED) ## Launch, prepare, train and convert on a throw-away host, with a stand-in for Faceswap, or FACESWAP_REPOSITORY=PATH
	$(BIN)/python -m sandbox.workshop

.PHONY: sandbox-up
sandbox-up: $(INSTALLED) ## Start throw-away hosts (FLEET=demo)
	$(BIN)/python -m sandbox up --fleet $(FLEET)

.PHONY: sandbox-down
sandbox-down: $(INSTALLED) ## Stop all throw-away hosts
	$(BIN)/python -m sandbox down

.PHONY: gpu-proof
gpu-proof: $(INSTALLED) ## Climb the whole ladder on this machine's GPU; the proof goes to docs/proof
	$(BIN)/python -m tools.gpu_proof

# --- quality -------------------------------------------------------------------------------------

.PHONY: test
test: $(INSTALLED) ## Lint, types, unit, contract and integration tests, Molecule (under 45 minutes)
	tools/test

.PHONY: test-full
test-full: $(INSTALLED) ## The same and the slow ones: real builds, real reboots, real cuDNN
	tools/test --full

.PHONY: test-quick
test-quick: $(INSTALLED) ## Lint, types, unit and contract tests only (no hosts)
	tools/test --quick

.PHONY: bench
bench: $(INSTALLED) .cache/bench/.installed ## Measure gpuprep beside ssh, pyinfra and plain tasks (PARTS, OPTIONS); writes docs/performance.md
	$(BIN)/python -m bench $(PARTS) $(OPTIONS)

# What it is compared with, and what draws the plot: in an environment of their own.
.cache/bench/.installed: pyproject.toml
	python3 -m venv .cache/bench
	.cache/bench/bin/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.cache/bench/bin/pip install --quiet --disable-pip-version-check --group bench
	touch $@

.PHONY: lint
lint: $(INSTALLED) ## Ruff, mypy, import-linter, vulture, yamllint, ansible-lint, ansible-test sanity
	tools/lint

.PHONY: docs
docs: $(INSTALLED) ## Write again what is generated: role READMEs, reference pages
	$(BIN)/python -m tools.docs

.PHONY: dist
dist: $(INSTALLED) ## Build wheel, sdist and collection tarball into dist/
	$(BIN)/python -m build --quiet --outdir dist
	$(BIN)/ansible-galaxy collection build --force --output-path dist

.PHONY: clean
clean: ## Remove what was made here (hosts first: make sandbox-down)
	rm -rf .venv .cache .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

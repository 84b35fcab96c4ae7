# Looparr. Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST ?= $(BIN)/pytest

# Real pods take root; without it their tests are skipped.
LEVEL := controlplane

.PHONY: help demo test check generate lock setup programs lint types contracts generated unit e2e e2e-kind

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Debian and Ubuntu keep what `python -m venv` needs in a package of its own.
have_venv = $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null
as_root = $(if $(filter 0,$(shell id -u)),,sudo -n)
define get_venv
{ \
	if command -v apt-get >/dev/null && $(as_root) true 2>/dev/null; then \
		echo "Installing python3-venv with apt-get, which this Python lacks ..."; \
		{ $(as_root) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv || \
			{ $(as_root) env DEBIAN_FRONTEND=noninteractive apt-get update -qq && $(as_root) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; }; } >/dev/null; \
	fi; \
	$(have_venv) || { \
		echo "$(PYTHON) cannot make virtual environments: run 'sudo apt-get install python3-venv make', or set PYTHON=python3.x" >&2; \
		exit 1; \
	}; \
}
endef

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Looparr needs Python 3.11 or newer: set PYTHON=python3.x")'
	@$(have_venv) || $(get_venv)
	@echo "Installing the pinned Python packages into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.ready ## install the Python packages into .venv

programs: setup ## get qBittorrent and the Kubernetes programs (the first build takes about 6 minutes)
	@$(BIN)/looparr sandbox binaries --install --level $(LEVEL)

demo: programs ## real torrents, a real API server, `kubectl get loops` (ARGS=--once ends by itself)
	@$(BIN)/looparr demo $(ARGS)

test e2e: LEVEL := $(if $(E2E_KUBECONFIG),controlplane,$(if $(filter 0,$(shell id -u)),node,controlplane))

test: programs lint types contracts generated ## everything: lint, types, contracts, generated files and all tests
	@$(PYTEST) -q -n 2 --dist loadfile tests $(ARGS)

e2e: programs ## the stories of tests/e2e alone; with E2E_KUBECONFIG and E2E_HOST on a cluster of yours
	@$(PYTEST) -q tests/e2e $(ARGS)

e2e-kind: programs ## the stories with pods on a kind cluster of their own (needs Docker)
	@BIN=$(BIN) tests/e2e/kind.sh $(ARGS)

check: setup lint types contracts generated unit ## the part of `make test` that takes less than a minute

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.ready
	@$(BIN)/mypy

contracts: $(VENV)/.ready
	@$(BIN)/lint-imports

generated: $(VENV)/.ready
	@$(BIN)/python -m looparr.manifests --check

unit: $(VENV)/.ready
	@$(PYTEST) -q -n 2 tests/unit

generate: setup ## write crds/ and the chart's rules anew from the models
	@$(BIN)/python -m looparr.manifests

lock: setup ## pin the newest versions that fit, with hashes, naming no index
	@$(BIN)/uv pip compile pyproject.toml --extra sandbox --group dev --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-header --upgrade -q -o requirements.lock

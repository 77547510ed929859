.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_TARGETS := http_requests request_target list_options accept impersonation label_selector field_selector http_response watch_events list_body protobuf review bearer_token certificate_subject policy authentication_config token_file signing_keys continue_token

.PHONY: help venv demo test check format lint types contracts policies realkube conformance fuzz soak bench lock wheel clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed  ## .venv with locked dependencies and the watchkeeper command

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: venv  ## The demo: what four identities see of one watch (FOR=15 ends it after 15 seconds, PORT=9443)
	@$(BIN)/watchkeeper demo $(if $(FOR),--for $(FOR)) $(if $(PORT),--port $(PORT))

test: venv  ## The tests
	$(BIN)/python -m pytest

check: venv lint types contracts policies  ## Format, lint, types, import contracts, policies, tests with coverage
	$(BIN)/python -m pytest --cov=proxy --cov-report=term:skip-covered --cov-fail-under=80

format: venv  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv
	$(BIN)/mypy

contracts: venv
	$(BIN)/lint-imports

policies: venv
	$(BIN)/watchkeeper policy check --strict policies

realkube:  ## Build Kubernetes' components and etcd for the tests (8 minutes, once)
	tests/realkube/build.sh

fuzz: venv  ## Fuzz each parser for a minute (FOR=seconds, TARGET=name)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@for target in $(or $(TARGET),$(FUZZ_TARGETS)); do \
	    $(BIN)/python -m tests.fuzz.run $$target --for $(or $(FOR),60) || exit 1; \
	done

soak: venv  ## A proxy on a real cluster, visited and disturbed: what is left of it (FOR=600 seconds; needs realkube)
	$(BIN)/python -m tests.soak.soak --seconds $(or $(FOR),600)

conformance: venv realkube  ## Kubernetes' own e2e tests, directly and through the proxy
	tests/realkube/build.sh e2e.test
	$(BIN)/python -m tests.conformance

bench: venv  ## What it costs, into docs/performance.md (25 minutes on a quiet machine; ROW="watch_fanout …" for some)
	$(BIN)/python -m benchmarks $(ROW)

lock: venv  ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --group pyproject.toml:fuzz --output-file requirements-fuzz.lock

wheel: venv  ## Build the wheel into dist/
	$(BIN)/uv build --wheel

clean:
	rm -rf $(VENV) dist .coverage .mypy_cache .ruff_cache .pytest_cache

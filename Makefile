# `make help` lists what there is. Everything runs inside .venv, made from the locked versions.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOR ?=
# Half of what the tests do is to wait for processes: two workers for each of two cores.
WORKERS ?= 4
VERIFY ?= ../shared/verify
PART ?= full

.DEFAULT_GOAL := help

## venv: only the environment; .venv/bin/keepalive exists after it
venv: $(VENV)/.made

$(VENV)/.made: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "keepalive needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt install python3-venv" >&2; exit 1; }
	@test ! -e $(VENV) || rm -r $(VENV)
	@echo "Making $(VENV) from the locked versions (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

## run: a local Cloudflare emulator and the real daemon against it, with faults on the way (FOR=30s ends by itself)
run: venv
	@$(BIN)/keepalive demo $(if $(FOR),--for $(FOR))

## test: the whole test suite
test: venv
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# The commands as whole processes take half of the time, and what they alone would cover is little.
## cover: branch coverage of the suite without tests/system; fails under 90 % for the package or 100 % for the core
cover: venv
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/system --cov=keepalive --cov-branch --cov-report=
	@$(BIN)/python -m coverage report --fail-under=90
	@$(BIN)/python -m coverage report --include='keepalive/core/*' --fail-under=100

## check: format, lint, types, imports, dependencies
check: venv
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .

## format: let ruff write the code the way `check` wants it
format: venv
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

## bench: keepalive beside a bare aiohttp loop and the official SDK, one core each (7 minutes; the machine has to be quiet)
bench: venv
	@$(BIN)/python -m benchmarks.contest

## bench-quick: the same in under a minute, and less exact
bench-quick: venv
	@$(BIN)/python -m benchmarks.contest --quick --rounds 1

## bench-crowds: what the real daemon takes of a machine, from 40 targets to 100,000 (13 minutes)
bench-crowds: venv
	@$(BIN)/python -m benchmarks.crowd 40 1500 3000 15000 90000 100000

## bench-long: the daemon under faults, at its end, and with slow clients, in real time (50 minutes)
bench-long: venv
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.metrics
	@$(BIN)/python -m benchmarks.slow_clients

## bench-tail: the tail while its connections are killed, its output is blocked, and as fast as it goes (35 minutes)
bench-tail: venv
	@$(BIN)/python -m benchmarks.tail_kills
	@$(BIN)/python -m benchmarks.tail_blocked
	@$(BIN)/python -m benchmarks.tail_throughput

## promises: every fault that must lapse nobody, in full: 100 phases, or a day of virtual time (some minutes)
promises: venv
	@$(BIN)/python -m benchmarks.promises --workers $(WORKERS)

## soak: the real daemon for two hours, in which a week of heartbeats and faults passes (FOR=10m for less)
soak: venv
	@$(BIN)/python -m benchmarks.soak $(if $(FOR),--for $(FOR))

## kills: real daemons killed 100 times with absences of up to 20 s, then rapidly, then in a loop (15 minutes)
kills: venv
	@$(BIN)/python -m benchmarks.kill rounds
	@$(BIN)/python -m benchmarks.kill rapid
	@$(BIN)/python -m benchmarks.kill loop

## faults: the catalogue of faults (docs/reliability.md), with those that take long or need a superuser (3 minutes)
faults: venv
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -o 'python_files=test_*.py long_*.py' tests/faults

## audit: asks the vulnerability database about the locked versions (needs a network)
audit: venv
	@$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/run.txt

## image: the container image, by whichever of docker, podman and buildah is here
image:
	@engine=$$(command -v docker || command -v podman || command -v buildah) || { echo "make image needs docker, podman or buildah" >&2; exit 1; }; \
	"$$engine" build --build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' keepalive/_version.py) \
	  --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) -t keepalive:dev .

## verify-systemd: the units, under systemd 252 and 257 booted for it (PART=quick: systemd-analyze)
verify-systemd: venv
	@VERIFY="$(VERIFY)" deploy/verify/systemd.sh $(PART)

## verify-container: the image and the compose files, built and run by real engines (PART=quick only lints them)
verify-container: venv
	@VERIFY="$(VERIFY)" deploy/verify/container.sh $(PART)

## verify-kubernetes: the manifests, built, validated and their pods played by a real engine (PART=quick plays none)
verify-kubernetes: venv
	@VERIFY="$(VERIFY)" deploy/verify/kubernetes.sh $(PART)

## verify-prometheus: the rules, alerts and dashboard, by promtool, Grafana's types and a real Prometheus (PART=quick: promtool)
verify-prometheus: venv
	@deploy/verify/prometheus.sh $(PART)

## lock: newest versions that fit pyproject.toml, with hashes, for every Python from 3.11
lock: venv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade pyproject.toml -o requirements/run.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra speed -c requirements/run.txt pyproject.toml -o requirements/speed.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group build -o requirements/build.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra speed --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt

## clean: removes what make made
clean:
	@rm -rf $(VENV) dist build .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | awk -F': ' '{printf "  make %-17s %s\n", $$1, substr($$0, length($$1) + 3)}'

.PHONY: venv run test cover check format bench bench-quick bench-crowds bench-long bench-tail promises soak kills faults audit image verify-systemd verify-container verify-kubernetes verify-prometheus lock clean help

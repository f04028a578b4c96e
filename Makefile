# The commands of the project; each first sees to it that .venv holds the locked packages.
#
#   make demo [SWITCH=freeswitch]   the whole story on a simulated cluster (or on an installed FreeSWITCH)
#   make up / make down             leave a system running, and end it
#   make test                       everything that must be true: style, layers, types, tests
#   make live                       the switch tests against a real FreeSWITCH: SEATLINE_FREESWITCH=/opt/freeswitch
#   make bench                      measure; writes build/bench.json
#   make lint | check | format      style and layers | these and types | put the style right
#   make clean                      remove everything the above have made in the checkout

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

SWITCH ?= simulator
PYTHON := .venv/bin/python

# Another project's Python paths must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# Where there is no home to keep caches in, they stay in the checkout.
ifneq ($(shell [ -n "$$HOME" ] && [ -d "$$HOME" ] && [ -w "$$HOME" ] && echo yes),yes)
export HOME := $(CURDIR)/.tools/home
export UV_CACHE_DIR ?= $(CURDIR)/.tools/uv-cache
$(shell mkdir -p .tools/home)
endif

# The stamp is out of date when the lock changes; it is worth nothing after the checkout or the Python has moved.
STAMP := .venv/.place
ifneq ($(shell cat $(STAMP) 2>/dev/null && $(PYTHON) -c "" 2>/dev/null && echo works),$(CURDIR) works)
.PHONY: $(STAMP)
endif

.PHONY: help demo up down test live bench lint check format clean

help:
	@sed -n 's/^#   //p' Makefile

$(STAMP): uv.lock pyproject.toml infra/bootstrap
	@infra/bootstrap

# $(call quietly,name,command): one line when it is fine, all it said when it is not.
quietly = mkdir -p build && \
	if $(2) >build/$(1).log 2>&1; then echo "$(1): fine"; \
	else status=$$?; cat build/$(1).log; echo "$(1): failed" >&2; exit $$status; fi

demo: $(STAMP)
	@.venv/bin/seatline demo --switch $(SWITCH)

up: $(STAMP)
	@.venv/bin/seatline up

down: $(STAMP)
	@.venv/bin/seatline down

# Needed where the checkout is not a git repository, whose .gitignore ruff would follow.
NOT_OURS := --extend-exclude .tools --extend-exclude build --extend-exclude var

lint: $(STAMP)
	@$(call quietly,ruff-check,.venv/bin/ruff check $(NOT_OURS))
	@$(call quietly,ruff-format,.venv/bin/ruff format --check $(NOT_OURS))
	@$(call quietly,lint-imports,.venv/bin/lint-imports)

check: lint
	@$(call quietly,basedpyright,.venv/bin/basedpyright)

# Three workers on two cores: one of them mostly waits for phones, nodes and time-outs of tests/live. The types are
# checked beside them, by one process on what is left of the cores; a wrong type fails `make test` as a test does.
test: lint
	@$(call quietly,basedpyright,nice .venv/bin/basedpyright) & types=$$!; \
	$(PYTHON) -m pytest -n 3; tests=$$?; \
	wait $$types && exit $$tests

live: $(STAMP)
	@if [ -z "$$SEATLINE_FREESWITCH" ]; then \
		echo "make live: set SEATLINE_FREESWITCH to the prefix of an installed FreeSWITCH 1.10 or 1.11," \
			"such as SEATLINE_FREESWITCH=/opt/freeswitch make live" >&2; exit 2; fi
	@$(PYTHON) -m pytest tests/live -n 0 --switch freeswitch

bench: $(STAMP)
	@mkdir -p build
	@$(PYTHON) -m tests.bench

format: $(STAMP)
	@.venv/bin/ruff check --fix --quiet $(NOT_OURS) || true
	@.venv/bin/ruff format --quiet $(NOT_OURS)

clean:
	@if [ -d var ] && [ -x .venv/bin/seatline ]; then \
		.venv/bin/seatline down || echo "make clean: that did not end what runs; going on" >&2; fi
	@if [ -d var ] && [ -x $(PYTHON) ]; then $(PYTHON) -m infra.kit.embedded_postgres remove var; fi
	@rm -rf build var .venv .tools .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

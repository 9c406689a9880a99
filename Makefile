# netdiag is one file: there is nothing to build and nothing to install.  PYTHON chooses who runs.

PYTHON   ?= python3
FAULT    ?=
ENV      ?= root-all
JOBS     ?= 8
VERSIONS  = 3.6 3.7 3.8 3.9 3.10 3.11 3.12 3.13
PYENV     = $(or $(PYENV_ROOT),$(HOME)/.pyenv)

# The interpreter of a version, by path; a shim on the PATH counts only when it really runs.
python    = $(or $(lastword $(sort $(wildcard $(PYENV)/versions/$(1).*/bin/python3))),$(shell \
            python$(1) -c 'import sys; print(sys.executable)' 2>/dev/null))
# Everything but the lab and what else needs its network.
UNITS     = $(filter-out test_lab test_oracles test_fleet,$(basename $(notdir $(wildcard tests/test_*.py))))
SOURCES   = netdiag.py $(wildcard tests/*.py tests/lab/*.py)

export PYTHONDONTWRITEBYTECODE = 1

help:
	@echo "make test                the whole suite, the lab in two environments with it (root)"
	@echo "make lab                 every fault in every environment, on 3.6 and 3.13 (about an hour)"
	@echo "make lab FAULT=NAME      the report of one fault; ENV=nobody-none says as whom, with what"
	@echo "make bench               times and memory against the usual commands, with limits (root)"
	@echo "make small >small.py     a copy for little memory: 25 MiB instead of 55, same output"
	@echo "make lint                compile without writing, pyflakes and ruff if there, shape test"
	@echo "make pythons             the tests without the lab under every Python 3.6 to 3.13 found"
	@echo "make which VERSION=3.6   the interpreter that is used for a version"
	@echo "PYTHON=/path/to/python3 chooses the interpreter, JOBS=N the faults at a time."

test:
	NETDIAG_LAB_JOBS=$(JOBS) $(PYTHON) -W error -B -m unittest discover -s tests -t tests

lab:
ifeq ($(FAULT),)
	$(PYTHON) -B tests/lab/run.py --jobs $(JOBS) \
	    --python $(or $(foreach v,3.6 3.13,$(call python,$(v))),$(PYTHON))
else
	@$(PYTHON) -B tests/lab/run.py --fault $(FAULT) --env $(ENV) --show
endif

bench:
	$(PYTHON) -B tests/bench.py

small:
	@$(PYTHON) -B tests/small.py

lint:
	@$(PYTHON) -W error -B -c 'import pathlib, sys; [compile(pathlib.Path(f).read_bytes(), f, \
	    "exec") for f in sys.argv[1:]]' $(SOURCES)
	@if pyflakes --version >/dev/null 2>&1; then pyflakes $(SOURCES); \
	    else echo "pyflakes is not installed"; fi
	@if ruff --version >/dev/null 2>&1; then ruff check --isolated --no-cache --quiet \
	    --select E4,E7,E9,F $(SOURCES); \
	    else echo "ruff is not installed"; fi
	@if test -e tests/test_shape.py; then cd tests && $(PYTHON) -W error -B -m unittest test_shape; \
	    else echo "no shape test"; fi

pythons:
	@failed=; $(foreach v,$(VERSIONS),$(call units,$(v),$(call python,$(v)))) \
	    if test "$$failed"; then echo "failed under:$$failed"; exit 1; fi

units     = if test "$(2)"; then echo "== Python $(1): $(2)"; (cd tests && \
            $(2) -W error -B -m unittest $(UNITS)) || failed="$$failed $(1)"; \
            else echo "== Python $(1): missing"; fi;

which:
	@test "$(call python,$(VERSION))" && echo "$(call python,$(VERSION))"

.PHONY: help test lab bench small lint pythons which

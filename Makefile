# make demo   the demonstration; needs no PyTorch and no download of weights
# make check       style, types, and who may import whom; part of make test
# make test        the tests, with the versions of constraints.txt; COVERAGE=1 counts the lines that they run, in twice the time
# make test-slow   those that take minutes: kills at many moments, memory of long screens, every example and notebook
# make faults      a thousand faults: damage, kills, full disks, two writers; prints the table of docs/reliability.md
# make accelerators   what the compilers of GPUs and TPUs make of the programs; needs neither, but their plugins (400 MB)
# make gpu         on a machine with a GPU: parity, times, and times beside the released package, in ten minutes
# make docs        the documentation as a site in site/; warnings are errors
# make wheel       source distribution and wheel in dist/
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python -m
CONSTRAINTS ?= constraints.txt
INSTALL = $(RUN) pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS)
PYTEST = $(RUN) pytest -n 2 --dist loadfile --durations=10
# What is not about numbers is compiled with few optimisations, in a fifth of the time.
QUICKLY = JAX_DISABLE_MOST_OPTIMIZATIONS=1 XLA_FLAGS="$$($(VENV)/bin/python tests/compiled.py)"
# What is, to the digit or the bit, is compiled as users compile.
AS_USERS = tests/parity tests/test_synthesis.py::test_targets_do_not_touch_one_another

demo: $(VENV)/demo.installed
	$(VENV)/bin/fnn-jax demo

check: $(VENV)/test.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-cache

test: check
	$(QUICKLY) $(PYTEST) -m "not slow" --ignore tests/parity $(if $(COVERAGE),--cov --cov-report=)
	$(PYTEST) -m "not slow" tests/parity $(if $(COVERAGE),--cov --cov-append --cov-report=term:skip-covered)

test-slow: $(VENV)/test.installed $(VENV)/plugins.installed
	$(QUICKLY) $(PYTEST) -m slow $(AS_USERS:%=--deselect=%)
	$(PYTEST) -m slow $(AS_USERS)

faults: $(VENV)/test.installed
	$(VENV)/bin/python benchmarks/faults.py

accelerators: $(VENV)/plugins.installed
	PYTHONPATH=$(abspath $(VENV)/plugins) $(VENV)/bin/python benchmarks/accelerators.py

gpu: $(VENV)/test.installed
	$(INSTALL) 'jax[cuda13]'
	$(VENV)/bin/python benchmarks/run.py --device

docs: $(VENV)/test.installed
	$(QUICKLY) $(RUN) sphinx --fail-on-warning --keep-going --quiet -c docs . site

wheel: $(VENV)/test.installed
	$(RUN) build --no-isolation

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/test.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(INSTALL) -e '.[test]'
	touch $@

# Where pip cannot have them, what needs them is left out, and says so.
$(VENV)/plugins.installed: $(VENV)/test.installed
	$(INSTALL) --no-deps --upgrade --target $(VENV)/plugins $$($(VENV)/bin/python benchmarks/plugins.py) \
		|| echo "No plugins for GPUs and TPUs: what is compiled for them is left out."
	touch $@

.PHONY: demo check test test-slow faults accelerators gpu docs wheel

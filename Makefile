# make demo   the demonstration; needs no PyTorch and no download of weights
# make test   the tests, with the versions of constraints.txt
# make test-slow   those that take minutes: kills at many moments, memory of long screens
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python -m
INSTALL = $(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt

demo: $(VENV)/demo.installed
	$(VENV)/bin/fnn-jax demo

test: $(VENV)/test.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(VENV)/test.installed
	$(RUN) pytest -m slow

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/test.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[test]' setuptools
	touch $@

.PHONY: demo test test-slow

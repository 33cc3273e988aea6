# make demo: install into .venv and run the main job on embedded data (CPU, minutes).
# make test: install and run the test suite, but for the slow tests.
# make test-slow: these: runs that are killed again and again, processes side by side, runs of every method, experiments.
# make plan-check: compile a training step and samplers for 16 TPU chips, without a TPU.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export JAX_PLATFORMS ?= cpu

.PHONY: demo test test-slow lint plan-check clean

$(VENV)/.core: setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/drf demo --out runs/demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# In an environment of its own: with libtpu installed, JAX looks for TPUs wherever it is not told not to.
$(VENV)/.tpu: $(VENV)/.core
	test -x $(VENV)/tpu/bin/python || $(PYTHON) -m venv $(VENV)/tpu
	$(VENV)/tpu/bin/python -m pip install --quiet --disable-pip-version-check -e '.[tpu]' beartype pytest
	touch $@

plan-check: $(VENV)/.tpu
	$(VENV)/tpu/bin/python -m pytest tests/plan/test_tpu.py

clean:
	rm -rf $(VENV) build dist *.egg-info

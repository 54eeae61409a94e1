# Two commands on a fresh machine: `make full` and `make test`. Both set up .venv first; a second call installs nothing.
# `make test-slow` and `make docs-check` run what takes long, `make lint` and `make soak` are for those who change the code.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# A CPU-only machine takes a CPU build of torch with: make setup TORCH_INDEX=<URL of PyTorch's CPU wheel index>
TORCH_INDEX ?=
PIP_FLAGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
STAMP := $(VENV)/.installed
# Processes of `make test`: two, or as many as there are cores. A file of tests stays in one, all tests on Ray in the same.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(2, os.cpu_count() or 1))')

.PHONY: setup full test test-slow docs-check soak lint clean

setup: $(STAMP)

# torch first and by exact version: asked for by range, pip would pick the newest build with its CUDA stack.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("skeleton-ray needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check $(PIP_FLAGS) "$$(grep '^torch==' constraints.txt)"
	$(PY) -m pip install -q --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

full: setup
	$(PY) -m pipelines.cluster.launch --config tune_configs/full_demo.yaml --out runs/demo

test: setup
	$(PY) -m ruff check .
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -m "not slow and not long" -n $(JOBS) --dist loadscope --no-loadscope-reorder

# One after another: whole pipelines, kills, faulty stores. They fill both cores by themselves, and some watch a clock.
test-slow: setup
	$(PY) -m pytest -m "slow and not long"

# The commands of README and docs that take many minutes; $$SKELETON_SHARED or ../shared holds the real data.
docs-check: setup
	$(PY) -m pytest -m long tests/docs

# Hours of faults: killed workers, drivers and nodes, hangs, a failing S3, a full disk. Each part adds to runs/soak.
soak: setup
	$(PY) benchmarks/soak.py --part all --work runs/soak --out benchmarks/results/soak.md

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) runs

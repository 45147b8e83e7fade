# Each target makes .venv as it needs it. `make PYTHON=/path/to/python` takes another Python.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = .venv/bin/python -m pip --disable-pip-version-check -q
BUILT_FROM = pyproject.toml setup.py $(wildcard csrc/*.c csrc/*.h csrc/*.inc csrc/build_cffi.py refsgd/kernels/contract.py)

# A file is tested in one process, so that few kernels are compiled twice.
PYTEST = .venv/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test quick lint bench docs wheel clean

demo: .venv/with-plot
	.venv/bin/python -m refsgd demo --plot demo.png

test: .venv/with-test
	$(PYTEST) -m "not slow"

# No other processes, nothing that Numba compiles.
quick: .venv/with-test
	$(PYTEST) -m "not slow and not process and not numba"

lint: .venv/with-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python csrc/build_cffi.py --warnings

# Peers that are not there are named and skipped: .venv/bin/pip install -e ".[bench]" brings them, some gigabytes.
bench: .venv/with-test
	.venv/bin/python asv_bench/table.py

docs: .venv/with-docs
	.venv/bin/python -m sphinx -q -W docs docs/_build/html

# The wheel is built from the sdist. `repair` adds the OpenMP runtime, which no manylinux tag lets a wheel
# take from the system.
wheel: .venv/with-dev
	rm -rf dist
	REFSGD_REQUIRE_C=1 .venv/bin/python -m build -q
	PATH=$$PWD/.venv/bin:$$PATH .venv/bin/auditwheel repair --only-plat -w dist dist/*-linux_*.whl
	rm dist/*-linux_*.whl
	.venv/bin/auditwheel show dist/*.whl

clean:
	rm -rf .venv build dist *.egg-info docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis demo.png
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f refsgd/_kernels* csrc/constants.h

# One stamp an extra; an edit of the C sources builds the extension anew.
.venv/with-%: .venv/bin/python $(BUILT_FROM)
	@echo "Installing refsgd[$*] into .venv ..."
	@$(PIP) install -e ".[$*]" --config-settings editable_mode=compat
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "refsgd needs Python 3.11 or newer, got $$($(PYTHON) -V 2>&1); try make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu:" >&2; \
	      $(PYTHON) -c 'import sys; print("    apt install python%d.%d-venv" % sys.version_info[:2])' >&2; exit 1; }
	@$(PYTHON) -m venv .venv

# Every target sets itself up: the stamp is renewed when the pins or setup.py change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# `make demo CPU=1`: PyTorch without CUDA, from where its makers keep such builds; else the usual ones.
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
CPU_BUILDS = $(INSTALL) --timeout 10 --retries 1 --no-deps --index-url $(CPU_INDEX) torch torchvision \
	|| echo "$(CPU_INDEX) does not answer or has not these builds; the usual builds are taken" >&2

SECONDS ?= 120

# Writers of files for phones want older versions of a few packages, so they have an environment of their own.
MOBILE := .venv-mobile
OLDER := ^(typing_extensions|typing-inspection|pydantic|pydantic_core|anyio|certifi)==

.PHONY: mobile test-mobile demo test test-processors test-slow test-long fuzz lint types check bench docs wheel sbom clean

demo: $(STAMP)
	$(BIN)/python cli.py finetune dogs

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-processors: $(STAMP)
	$(BIN)/python tests/processors.py $(SETTINGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not long" -n auto --dist loadfile

mobile: $(MOBILE)/.installed

test-mobile: $(MOBILE)/.installed
	$(MOBILE)/bin/python -m pytest -m "slow or not slow" tests/apps/export/mobile tests/apps/engine/inference/mobile

test-long: $(STAMP)
	$(BIN)/python -m pytest -m long -n auto --dist loadfile

fuzz: $(STAMP)
	$(BIN)/python tests/fuzz --seconds $(SECONDS) $(FUZZ)

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	$(BIN)/python -m benchmarks family --out build/bench
	$(BIN)/python -m benchmarks speed --out build/bench

docs: $(STAMP)
	$(BIN)/python -c 'import mkdocs, material, mkdocstrings' 2>/dev/null || $(INSTALL) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

sbom: $(STAMP)
	mkdir -p build
	$(BIN)/python -m pip inspect --local > build/sbom.json

clean:
	rm -rf $(VENV) $(MOBILE) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(STAMP): setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mobilenet-apps needs Python 3.11 or newer; run: make PYTHON=python3.11")'
	$(if $(CPU),$(CPU_BUILDS))
	$(INSTALL) -e '.[dev]'
	touch $(STAMP)

$(MOBILE)/.installed: setup.py constraints.txt
	test -x $(MOBILE)/bin/python || $(PYTHON) -m venv $(MOBILE)
	grep -vE '$(OLDER)' constraints.txt > $(MOBILE)/constraints.txt
	$(MOBILE)/bin/python -m pip install --quiet --disable-pip-version-check -c $(MOBILE)/constraints.txt -e '.[dev,mobile]'
	touch $@

# Every target sets itself up: the stamp is renewed when the pins or setup.py change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SECONDS ?= 120

# Writers of files for phones want older versions of a few packages, so they have an environment of their own.
MOBILE := .venv-mobile
OLDER := ^(typing_extensions|typing-inspection|pydantic|pydantic_core|anyio|certifi)==

.PHONY: mobile test-mobile demo test test-processors test-slow test-long fuzz lint types check bench wheel sbom clean

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

$(MOBILE)/.installed: setup.py constraints.txt
	test -x $(MOBILE)/bin/python || $(PYTHON) -m venv $(MOBILE)
	grep -vE '$(OLDER)' constraints.txt > $(MOBILE)/constraints.txt
	$(MOBILE)/bin/python -m pip install --quiet --disable-pip-version-check -c $(MOBILE)/constraints.txt -e '.[dev,mobile]'
	touch $@

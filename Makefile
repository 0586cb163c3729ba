# `make demo` and `make test` set everything up by themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check calibrate clean

demo: .venv/installed
	$(BIN)/placebo study run studies/demo.toml --out runs/demo --workers 2

test: .venv/tools
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/ty check
	$(BIN)/lint-imports

calibrate: .venv/installed
	$(BIN)/python benchmarks/calibrate.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/tools: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[frames,lora,trl,dev]'
	touch $@

clean:
	rm -rf .venv runs dist

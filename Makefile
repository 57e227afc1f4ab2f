PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready  ## Distill, prune, quantize and measure one model, on digits
	$(BIN)/python run.py

test: .venv/ready  ## Run all tests
	$(BIN)/python -m pytest

lint: .venv/ready  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove what runs left here: multirun/ and mlruns/ (the store stays)
	rm -rf multirun mlruns

# torch and torchvision in one command of their own: pip then takes them as they were pinned
.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q $$(grep -E '^torch(vision)?==' constraints.txt)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= openvino,executorch
# a worker begins with its share in order, so that it makes what a file shares once
SIDE_BY_SIDE = -n logical --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-zoo lint store store-clean docs wheel completion clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready  ## Distill, prune, quantize and measure one model, on digits
	$(BIN)/python run.py

test: .venv/ready  ## Run the quick tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not zoo"

test-slow: .venv/ready  ## Run the slow ones: processes killed, disks full, servers gone
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow

test-zoo: .venv/ready  ## Prune, save and lower every classifier of torchvision, and networks as people write them
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m zoo tests/test_zoo.py tests/test_habits.py

lint: .venv/ready  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

store: .venv/ready  ## List what the store keeps, its size and what made it
	$(BIN)/python -m paredown.store_command list

store-clean: .venv/ready  ## Tell what DAYS=30 unused would free; YES=1 removes it
	$(BIN)/python -m paredown.store_command clean --days $(or $(DAYS),30) $(if $(YES),--yes)

docs: .venv/ready  ## Build the pages into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: .venv/ready  ## Build dist/paredown-*.whl: conf/ is inside, and the command paredown
	$(BIN)/python -m pip wheel -q --no-deps -w dist .

completion:  ## Print the line that completes options in bash, groups and keys included
	@echo 'eval "$$(python run.py -sc install=bash)"'

clean:  ## Remove what runs left here: multirun/ and mlruns/ (the store stays)
	rm -rf multirun mlruns

# torch and torchvision in one command of their own: pip then takes them as they were pinned;
# Python compiles what it imports: all of 400 MB would take more than a minute
.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-compile $$(grep -E '^torch(vision)?==' constraints.txt)
	$(BIN)/pip install -q --no-compile -c constraints.txt -e '.[dev,$(EXTRAS)]'
	touch $@

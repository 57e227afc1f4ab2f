PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= openvino,executorch
# of a package index that has torch, such as PyTorch's own of CPU wheels; none: pip's
TORCH_INDEX ?=
CAN_RUN := 'import sys; sys.exit(sys.version_info < (3, 11))'
new_enough = $(shell $(1) -c $(CAN_RUN) 2>/dev/null && echo yes)
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

store: .venv/ready  ## List what the store keeps, its size and what made it, and what mlruns/ takes
	$(BIN)/python -m paredown.store.command list

store-clean: .venv/ready  ## Tell what DAYS=30 unused and runs deleted in MLflow would free; YES=1 removes it
	$(BIN)/python -m paredown.store.command clean --days $(or $(DAYS),30) $(if $(YES),--yes)

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
	$(if $(call new_enough,$(PYTHON)),,$(error PYTHON must be Python 3.11 or newer, got $(PYTHON); name another: make run PYTHON=/PATH/python3.11))
	$(if $(wildcard $(BIN)/python),$(if $(call new_enough,$(BIN)/python),,$(error .venv must be Python 3.11 or newer; remove it: rm -r .venv)))
	@echo "installing some 200 packages into .venv: $(if $(TORCH_INDEX),about 3 GB with a torch for CPUs alone,about 7 GB with the torch for GPUs that PyPI has; TORCH_INDEX=URL takes one for CPUs). It takes minutes, as fast as the line is"
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --no-compile $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) $$(grep -E '^torch(vision)?==' constraints.txt)
	$(BIN)/pip install --no-compile -c constraints.txt -e '.[dev,$(EXTRAS)]'
	touch $@

# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The official v2 evaluator, compared with ours in tests; without its dependencies, of which open3d alone is 1 GB.
V2_EVALUATOR := bucketed-scene-flow-eval==2.0.25
PLAIN := kernels models stages
BASE ?= HEAD
# Columns of `make experiments`: the numbers that people quote, and every parameter in which experiments differ.
HEADLINE ?= model\.bucketed\.dynamic\.mean|model\.threeway\.(mean|dynamic_iou)$$
SECTIONS := data|simulate|catalog|ingest|ground|truth|dynamic|cluster|quality|teach|train|predict|evaluate|submit|render
DATASET ?= sensor

.DEFAULT_GOAL := help
.PHONY: help setup setup-test repro catalog download test test-full gpu-check compare experiments recompute gate check verify faults \
  prune share push explain default-weights lint format deps docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Create .venv and install what the pipeline needs (idempotent)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else \
	  f"error: Python 3.11 or 3.12 is needed and {sys.executable} is {v[0]}.{v[1]}; run make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25'
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable .
	touch $@

setup-test: $(VENV)/.ready-test

$(VENV)/.ready-test: $(VENV)/.ready
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,cuda]'
	$(BIN)/python -m pip install --quiet --no-deps $(V2_EVALUATOR)
	touch $@

repro: setup ## Run the whole pipeline: raw logs to metrics/val.json and report/index.html
	@python -m stages.check --mend
	dvc repro || { python -m stages.check --obstacles; exit 1; }
	@python -m stages.evaluation.show
	@python -m stages.explain --changes
	@echo 'pictures and more: report/index.html'

download: setup ## Fetch AV2 logs without cameras: `make download SPLIT=val LOGS=5 [DATASET=lidar]`, into AV2_ROOT
	@test -n "$(SPLIT)" || { echo "error: say which split, as in make download SPLIT=val LOGS=5"; exit 1; }
	@python -m stages.download --dataset $(DATASET) --split $(SPLIT) --logs "$(LOGS)"

catalog: setup ## List the raw logs anew: the way to say that real logs were added or removed
	dvc repro simulate
	for split in train val test; do dvc repro --force --single-item catalog@$$split || exit 1; done

test: setup-test ## Run the tests that need no GPU, no system service and no long time
	python -m pytest

test-full: setup-test ## Run all tests: the long ones too, and those that need a GPU or a system service where there is one
	$(BIN)/python -m pip install --quiet --editable '.[test-full]'
	python -m pytest -m "slow or not slow"

gpu-check: setup-test ## Test kernels and training on a GPU, the kernels under compute-sanitizer too, and time them (needs AV2_ROOT)
	@python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("error: torch sees no CUDA device here")'
	python -m pytest -m gpu tests/kernels tests/models
	for tool in memcheck racecheck; do PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
	  compute-sanitizer --tool $$tool --error-exitcode 1 python -m tests.kernels.sanitize || exit 1; done
	python -m tests.kernels.benchmark metrics/benchmarks/kernels.json
	python -m tests.models.benchmark metrics/benchmarks/training.json

compare: setup ## Train SeFlow, DeFlow and FastFlow3D on the current data as experiments; one table in metrics/compare.md
	@python -m stages.compare

experiments: setup ## Table of experiments: headline numbers and the parameters that differ; FORMAT=--md or --csv
	@dvc exp show --only-changed --keep '$(HEADLINE)' --drop '(?!(Experiment|Created|State|(?:$(SECTIONS))\.))' $(FORMAT)

recompute: setup ## Compute everything (or STAGE=name) anew, nothing from cache or store, and say if it came out the same
	rm -rf .scratch/recompute
	SCENEFLOW_STORE=.scratch/recompute dvc repro --force $(if $(STAGE),--single-item $(STAGE))
	rm -rf .scratch/recompute
	@git diff --exit-code --stat HEAD -- dvc.lock 'metrics/*.json' ':!metrics/benchmarks' \
	  && echo "every digest is the one that was committed"

gate: setup ## Compare the metric files with those of revision BASE (HEAD); fails when a number got worse
	@python -m stages.gate --base $(BASE)

check: setup ## Check without data that dvc.lock agrees with code and parameters, and what the remote holds
	@python -m stages.check

verify: setup ## Read every artifact in the cache; what is damaged is removed, and `make repro` makes it again
	@python -m stages.verify

faults: setup-test ## Kill the pipeline at random 200 times, resumable; results in metrics/benchmarks/kills.jsonl
	python -m tests.faults.kills --kills 200 --results metrics/benchmarks/kills.jsonl

prune: setup ## Show the store; what may go by UNUSED=1, OLDER=30 (days) or KEEP_GB=100; DELETE=1 removes it
	@python -m stages.prune $(if $(UNUSED),--unused) $(if $(OLDER),--older-than $(OLDER)) \
	  $(if $(KEEP_GB),--keep-gb $(KEEP_GB)) $(if $(DELETE),--delete)

share: setup ## Share artifacts with a team: `make share URL=/mnt/store`, s3://… or ssh://…; commit .dvc/config afterwards
	@test -n "$(URL)" || { echo "error: say where, as in make share URL=/mnt/team/sceneflow"; exit 1; }
	@dvc remote remove --local share 2>/dev/null || true  # what a remote of another kind was told
	dvc remote add --force --default share $(URL)
	dvc remote modify share verify true

push: setup ## Send artifacts, run cache and metric files to the shared remote; ALL=1: of experiments and earlier runs too
	@python -m stages.push $(if $(ALL),--all)

explain: setup ## Tell which data, parameters and code made metrics/val.json (or FILE), also of REV=experiment
	@python -m stages.explain $(FILE) $(if $(REV),--rev $(REV))

default-weights: setup ## Make the weights of the last run the default ones of `python -m stages.estimate`; commit them
	@python -m stages.estimation.default_weights

lint: setup-test ## Check style and types
	ruff check .
	ruff format --check .
	mypy $(PLAIN)

deps: setup-test ## Write the code dependencies of dvc.yaml from the imports
	python -m tests.pipeline.dependencies

docs: setup-test ## Write docs/parameters.md from the comments of params.yaml
	python -m tests.docs.parameters

format: setup-test ## Put the code into the project's layout
	ruff format .
	ruff check --fix .

clean: ## Remove everything that can be made again: artifacts, store, caches and .venv
	rm -rf $(VENV) .scratch .dvc/cache .dvc/tmp report .pytest_cache .mypy_cache .ruff_cache
	rm -rf data/*/train data/*/val data/*/test data/*/.*.partial data/curves data/weights/*.safetensors

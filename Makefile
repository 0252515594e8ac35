# Every target makes its own .venv first, so each one works alone on a fresh machine.
# Another Python: `make lab PYTHON=python3.12`.

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.PHONY: help run lab test check notebooks retrain bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## execute every notebook; the results go to build/
	$(BIN)/python run.py

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

test: $(READY)  ## every test, and every notebook against its committed output, with the shipped weights
	RETRAIN=0 $(BIN)/pytest

check: $(READY)  ## the fast loop: style and quick unit tests, no notebook is run, no browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest tests -m "not browser and not slow"

notebooks: $(READY)  ## execute the notebooks and write outputs and the README's picture back, to be committed
	$(BIN)/python run.py --in-place
	cp build/predictions.png docs/

retrain: $(READY)  ## train every shipped model from scratch, into models/
	RETRAIN=1 $(BIN)/python run.py
	RETRAIN=1 $(BIN)/python benchmarks/best_classifier.py
	$(BIN)/python -m helpers.repeat
	@echo 'models/ is new. The outputs in notebooks/ are still of the old weights: `make notebooks` renews them.'

bench: $(READY)  ## measure this machine: one table, also written to benchmarks/results/
	$(BIN)/python benchmarks/table.py

clean:  ## remove results and caches; .venv, data and weights stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis */__pycache__

# Touched last: an installation that was interrupted starts over.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("This needs Python 3.11 or newer; \
	$(PYTHON) is %d.%d. If there is a newer one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

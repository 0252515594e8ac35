# Every target makes its own .venv first, so each one works alone on a fresh machine.
# Another Python: `make lab PYTHON=python3.12`.

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

# One thread each, for processes that share the cores. UMAP's numba would set OpenMP to as many threads as there are
# cores, which then wait for each other: trainings after it took 30 times as long.
ALONE := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# As on other processors, whose matrix products round otherwise.
AVX2   := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(ALONE)
SSE4   := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(ALONE)
# As many files at once as there are cores, each on one thread.
ALONGSIDE := -n auto --maxprocesses 4 --dist loadscope

.PHONY: help run lab test check portable sse4 avx2 stress scratch notebooks retrain bench gpu site lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## execute every notebook; the results go to build/
	$(BIN)/python tools/run.py

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=. --FileContentsManager.preferred_dir=notebooks \
		$(if $(filter 0,$(shell id -u)),--allow-root)

test: $(READY)  ## every test, and every notebook against its committed output, with the shipped weights
	RETRAIN=0 $(ALONE) $(BIN)/pytest $(ALONGSIDE) -m "not browser"
	RETRAIN=0 $(BIN)/pytest tests -m browser

check: $(READY)  ## the fast loop: style and quick unit tests, no notebook is run, no browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry . benchmarks tests tools
	$(BIN)/mypy
	$(ALONE) $(BIN)/pytest $(ALONGSIDE) tests -m "not browser and not slow"

portable: sse4 avx2  ## the notebooks that amplify rounding against their outputs, as on older processors

sse4: $(READY)
	RETRAIN=0 $(SSE4) $(BIN)/pytest $(ALONGSIDE) notebooks/01_data.ipynb notebooks/05_guided_generation.ipynb

# Without AVX-512 this machine is one of the older processors itself, and `make test` was that run.
avx2: $(READY)
	! grep -qs avx512f /proc/cpuinfo || \
		RETRAIN=0 $(AVX2) $(BIN)/pytest $(ALONGSIDE) $(or $(NOTEBOOKS),notebooks/0[02-9]_*.ipynb)

stress: $(READY)  ## the hardship tests at full length: 100,000 damaged files, 100 killed saves
	$(BIN)/pytest --stress tests/test_idx.py tests/test_checkpoints.py tests/test_explorer.py

scratch: $(READY)  ## every model trained from scratch in a folder that is thrown away: do the assertions still hold?
	models=$$(mktemp -d) && trap 'rm -rf "$$models"' EXIT && RETRAIN=1 MODELS_DIR=$$models \
		$(BIN)/pytest --nbval-lax $(or $(NOTEBOOKS),notebooks/0[1-9]*.ipynb notebooks/00_explore.ipynb)

notebooks: $(READY)  ## execute the notebooks and write outputs and the README's picture back, to be committed
	$(BIN)/python tools/run.py --in-place
	cp build/predictions.png docs/

retrain: $(READY)  ## train every shipped model from scratch, into models/
	RETRAIN=1 $(BIN)/python tools/run.py
	RETRAIN=1 $(BIN)/python benchmarks/best_classifier.py
	$(BIN)/python tools/sweep.py
	@echo 'models/ is new. The outputs in notebooks/ are still of the old weights: `make notebooks` renews them.'

bench: $(READY)  ## measure this machine, and rivals of the explorer: one table, also in benchmarks/results/
	$(BIN)/python benchmarks/table.py

gpu: $(READY)  ## on a machine with a GPU: checks, notebooks and measurements in one go, without a network
	$(BIN)/python benchmarks/gpu.py

site: $(READY)  ## the series as pages with live explorers, from the committed outputs, in build/site/
	$(BIN)/python tools/build_site.py

lock: $(READY)  ## write down the version of every package that is installed, to be committed
	sed -n '/^#/p' constraints.txt > constraints.tmp
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu//' >> constraints.tmp
	mv constraints.tmp constraints.txt

clean:  ## remove results and caches; .venv, data and weights stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis */__pycache__

# Touched last: an installation that was interrupted starts over.
$(READY): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("This needs Python 3.11 or newer; \
	$(PYTHON) is %d.%d. If there is a newer one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

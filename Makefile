PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The tests start Python some hundred times: what it compiles is kept, also where the environment says
# otherwise, as in many containers. To compile the package takes a quarter of the CPU of a short run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test faults lint docs pictures dist schema matrix truth truth-quick truth-generated simulate peers

# A table of the examples and one failure; ARGS=-v prints all that pytest prints.
demo: $(VENV)/installed
	@$(BIN)/python examples/demo.py $(ARGS)

# A worker for each core; ARGS="-n 0" runs in one process.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# All entries of the tables of faults, of which `make test` runs a part.
faults: $(VENV)/installed
	ALL_FAULTS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m faults $(ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site, in build/docs; a warning is an error.
docs: $(VENV)/installed
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs

# The README's pictures, from what the plugin prints and writes. Needs Chromium.
pictures: $(VENV)/installed
	$(BIN)/python docs/pictures/draw.py
	$(BIN)/python docs/pictures/wall_clock.py

# The sdist and the wheel, checked and tried in fresh environments.
dist: $(VENV)/installed
	$(BIN)/python .ci/dist.py

# The published schema of the JSON report, generated from the classes of the record.
schema: $(VENV)/installed
	$(BIN)/python -m pytest_nonblocking.reporting.json_report \
	    > pytest_nonblocking/reporting/report.schema.json

# The tests that depend on the interpreter (the analysis does not), on every CPython found and with the
# lowest versions.
matrix:
	$(PYTHON) .ci/matrix.py $(ARGS) -n 2 \
	    tests/unit tests/e2e/test_loops.py tests/plugin/test_plain_functions.py \
	    --ignore tests/unit/analysis

# All conditions on every CPython found, six times. Takes hours; resumes where it stopped.
truth: $(VENV)/installed
	$(BIN)/python benchmarks/truth/run.py --markdown docs/truth.md
	$(BIN)/python benchmarks/quoted.py

# A quarter of the cases under all conditions on one CPython. Takes five minutes.
truth-quick: $(VENV)/installed
	rm -rf build/truth/quick
	$(BIN)/python benchmarks/truth/run.py --results build/truth/quick --every 4 \
	    --repetitions 1 --python "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

# The stopping rule and the bounds on a simulated machine: how often they pass, fail or are undecided.
simulate: $(VENV)/installed
	$(BIN)/python benchmarks/simulation/run.py --seeds 1000 --write docs/operating-curve.md
	$(BIN)/python benchmarks/quoted.py

# Random endpoints, by seed. ARGS="--validate" confirms their labels without the plugin,
# ARGS="--count 300 --condition busy --first-seed 0" judges them. Resumes where it stopped.
truth-generated: $(VENV)/installed
	$(BIN)/python benchmarks/truth/generated/laboratory.py $(ARGS)

# Other tools on the same cases.
peers: $(VENV)/installed
	$(BIN)/python benchmarks/peers/run.py --write docs/peers.md
	$(BIN)/python benchmarks/quoted.py

$(VENV)/installed: pyproject.toml
	@echo "Installing into $(VENV), once …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --group dev --editable '.[all]'
	@touch $@

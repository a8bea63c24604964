# make install   the command zoo, in .venv (does nothing the second time)
# make demo      fine-tune a real backbone on real images, and say where its card is
# make lint      style, imports and types
# make test-fast less than a minute of tests, for the inner loop: names, options, tables, metrics, floors
# make test      lint, and the tests: of what takes long, a sample
# make test-slow what takes long: kills, crashes, fuzz, every architecture
# make fuzz      many more odd inputs, others each time: FUZZ=450 of them for each test
# make corpus   the test files of other projects against independent readers: fetches some hundred megabytes, needs ImageMagick
# make coverage  which lines the tests of `make test` run, into htmlcov/
# make lowest    the quick tests with the oldest versions that pyproject.toml admits, in .venv-lowest
# make wheel     the wheel and the source distribution, into dist/
# make mutants   break each promised rule, one at a time, and see that its tests fail
# make bench     zoo and its peers on the same images, into benchmarks/RESULTS.md: an hour or two on an idle machine

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --constraint constraints.txt

.PHONY: install demo lint test test-fast test-slow coverage lowest wheel fuzz corpus mutants bench

install: .venv/installed

# torch comes first and alone: it is by far the largest, and what follows then finds the version that it needs.
.venv/installed: pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PIP) torch torchvision
	$(PIP) --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/zoo finetune tf_efficientnet_lite0 --freeze backbone --image-size 128

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

FAST := $(addprefix tests/,test_config.py test_floors.py test_strategy.py test_keywords.py test_types.py test_errors.py test_plugins.py \
	evaluation data/test_tables.py data/test_values.py data/test_transforms.py data/test_folders_of_images.py \
	data/test_archives.py adaptation/test_heads.py content/test_recipes.py)
test-fast: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(FAST)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow --timeout 3600

coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov zoo --cov-report term --cov-report html

lowest:
	$(BIN)/uv venv --quiet --allow-existing .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist loadfile -m "not slow" $(FAST)

wheel: install
	$(BIN)/python -m build --no-isolation

FUZZ ?= 450
fuzz: install
	OMP_NUM_THREADS=1 ZOO_FUZZ_EXAMPLES=$(FUZZ) $(BIN)/python -m pytest -n 2 tests/fuzz --timeout 3600

CORPUS ?= images audio tables
corpus: install
	$(PIP) --editable '.[corpus]'
	$(BIN)/python tests/corpus/run.py $(CORPUS)

mutants: install
	$(BIN)/python tests/mutants/run.py

# Needs Debian's package dataset-fashion-mnist, or --data digits.
bench: install
	$(PIP) --editable '.[bench]'
	$(BIN)/python -m benchmarks.run --rounds 3
	$(BIN)/python -m benchmarks.run --data digits
	$(BIN)/python -m benchmarks.run --growth --fine-tuning

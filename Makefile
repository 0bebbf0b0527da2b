# make demo | make test | make check    each does all the set-up it needs: the virtual environment .venv, and as root
#                                       on a Debian-like machine also the system packages that a napari window needs.
# PYTHON=/path/to/python3.13            another interpreter than the first of at least 3.11 (after make clean: a sound
#                                       .venv is kept)
# ARGS="-k sentinel"                    further arguments for pytest

SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?=
ARGS ?=

venv := .venv
python := $(venv)/bin/python
pip := $(python) -m pip --disable-pip-version-check --no-input
set_up := pyproject.toml constraints.txt

# Qt wants a private folder for its sockets; a machine without a desktop session has none.
ifndef XDG_RUNTIME_DIR
export XDG_RUNTIME_DIR := $(CURDIR)/$(venv)/runtime
endif

.PHONY: help
help:
	@echo 'make demo         draw specimens, train, classify and picture the window, all in ./demo'
	@echo 'make test         run the tests (ARGS="-k name" picks some)'
	@echo 'make check        lint, format, types, import contracts and the plugin manifest'
	@echo 'make screenshots  draw the pictures of docs/ anew'
	@echo 'make install      only the set-up: .venv with all of the above'
	@echo 'make clean        remove .venv, caches and builds; ./demo stays, for it may hold labels of yours'

.PHONY: demo
demo: $(venv)/.installed system
	$(python) scripts/demo.py

.PHONY: test
test: $(venv)/.installed system
	LIBGL_ALWAYS_SOFTWARE=1 $(python) -m pytest $(ARGS)

.PHONY: check
check: $(venv)/.installed-checks system
	$(venv)/bin/ruff check
	$(venv)/bin/ruff format --check
	$(venv)/bin/mypy
	$(venv)/bin/lint-imports
	$(venv)/bin/npe2 validate napari-ctc --imports

.PHONY: screenshots
screenshots: $(venv)/.installed system
	LIBGL_ALWAYS_SOFTWARE=1 $(python) docs/make_screenshots.py

.PHONY: install
install: $(venv)/.installed $(venv)/.installed-checks system

.PHONY: clean
clean:
	rm -rf $(venv) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests docs benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked each time, for it takes no time when nothing is missing; before .venv, for Debian packs a part of venv separately.
.PHONY: system
system:
	@scripts/system-packages "$$(scripts/choose-python $(PYTHON) 2>/dev/null)"
	@[ ! -d $(venv) ] || mkdir -p -m 700 $(venv)/runtime

# A virtual environment whose interpreter is gone is made anew; a sound one is kept.
$(venv)/.installed: $(set_up) | system
	@chosen=$$(scripts/choose-python $(PYTHON)) && \
	if ! $(python) -c 'import pip' </dev/null >/dev/null 2>&1; then \
	    echo "Making $(venv) with $$chosen" && "$$chosen" -m venv --clear $(venv); \
	fi
	@mkdir -p -m 700 $(venv)/runtime
	@echo 'Installing napari-ctc and the tested set of its dependencies into $(venv): some minutes the first time'
	@$(pip) install --quiet --progress-bar off -c constraints.txt --upgrade pip
	$(pip) install --quiet --progress-bar off -c constraints.txt --build-constraint constraints.txt -e '.[all]' --group test
	@touch $@

$(venv)/.installed-checks: $(venv)/.installed
	$(pip) install --quiet --progress-bar off -c constraints.txt --group check
	@touch $@

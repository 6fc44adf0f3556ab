# Two commands for a fresh clone; all they need is Python 3.11 or newer, git and make.
#   make demo   run the example suite and verify its signed report
#   make test   run the test suite on one Python
# Everything else is tox: .venv/bin/tox list

TOX := .venv/bin/tox
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11

.PHONY: demo demo-parallel test lint types docs clean

demo: $(TOX)
	$(TOX) run -q -e demo

test: $(TOX)
	$(TOX) run -q -e py

lint types docs demo-parallel: $(TOX)
	$(TOX) run -q -e $@

clean:
	rm -rf .venv .tox

$(TOX):
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.11 or newer among: $(PYTHONS)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3 demo" >&2; \
	  exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python cannot make an environment: it comes without venv or ensurepip." >&2; \
	  echo "Debian, Ubuntu: apt-get install python3-venv   Others: install a complete Python 3.11 or newer." >&2; \
	  exit 1; \
	fi; \
	echo "Setting up .venv with tox, once ..."; \
	rm -rf .venv && "$$python" -m venv .venv \
	  && .venv/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.23' \
	  || { rm -rf .venv; \
	       echo "tox could not be installed into .venv: see the message above (network, proxy, package index)." >&2; \
	       exit 1; }

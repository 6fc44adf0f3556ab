"""What all tests share."""

import os
import sys

pytest_plugins = ["pytester"]

# These tests start hundreds of Python processes: where none may keep bytecode, each compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

"""What all tests share."""

import os
import sys

pytest_plugins = ["pytester"]

# Hundreds of processes of Python are started by these tests: where none may keep bytecode, each compiles all it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

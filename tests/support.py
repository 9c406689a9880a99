"""What every test needs: the program as a module, the corpus, and honest skipping."""

import importlib.util
import os
import sys
import unittest

sys.dont_write_bytecode = True

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "corpus")


def load():
    """Import netdiag.py by path, once; NETDIAG_FORMATS names another file to load instead."""
    path = os.environ.get("NETDIAG_FORMATS") or os.path.join(ROOT, "netdiag.py")
    if "netdiag" not in sys.modules:
        spec = importlib.util.spec_from_file_location("netdiag", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["netdiag"] = module
        spec.loader.exec_module(module)
    return sys.modules["netdiag"]


def need(condition, reason):
    """Skip the test where the condition does not hold; under CI that is a failure."""
    if not condition:
        if os.environ.get("CI"):
            raise AssertionError("needed under CI: " + reason)
        raise unittest.SkipTest(reason)

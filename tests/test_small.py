"""What needs little memory: the copy of small.py, and the file once Python has compiled it."""

import json
import os
import py_compile
import runpy
import shutil
import subprocess
import sys
import tempfile
import types
import unittest

import small
import support

netdiag = support.load()
MEMORY_MIB = 40
# Linux hands a parent's peak down to its child, so one that is small itself has to start it.
METER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0)
sys.exit(status)
"""


class Copy(unittest.TestCase):
    """The copy beside the file that it was made from."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="netdiag-test-")
        self.addCleanup(scratch.cleanup)
        self.path = os.path.join(scratch.name, "small.py")
        with open(self.path, "wb") as stream:
            small.write(stream)

    def run_program(self, program, *argv, **named):
        """One run to its end -> Run."""
        named.setdefault("stdin", subprocess.DEVNULL)
        return support.finish(subprocess.Popen(
            [sys.executable, "-W", "error", "-B", program] + list(argv), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **named))

    def test_same_words(self):
        """What asks nothing of a machine prints the same, with the same status."""
        for argv in (["--version"], ["--help"], ["explain", "tcp.refused"], ["--no-such-option"]):
            ours, theirs = (self.run_program(program, *argv)
                            for program in (self.path, support.PROGRAM))
            self.assertEqual(ours, theirs, argv)
            self.assertTrue(ours.out or ours.err, argv)

    def test_same_verdict(self):
        """As a file and from standard input."""
        target = "127.0.0.1:%d" % support.closed_port()
        with open(self.path, "rb") as stream:
            for run in (self.run_program(self.path, "--json", target),
                        self.run_program("-", "--json", target, stdin=stream)):
                self.assertEqual((run.status, run.err), (1, ""))
                verdict = json.loads(run.out)["targets"][0]["verdict"]
                self.assertEqual(verdict["code"], "tcp.refused")

    def test_lines(self):
        """A traceback names the lines of netdiag.py."""
        def lines_of(names):
            return {name: value.__code__.co_firstlineno for name, value in names.items()
                    if isinstance(value, types.FunctionType)}
        found = lines_of(runpy.run_path(self.path))
        self.assertIn("main", found)
        self.assertEqual(found, lines_of(vars(netdiag)))

    def peak_mib(self, *command):
        """Peak memory of a Python with this target refused."""
        support.need(sys.platform == "linux", "ru_maxrss has other units elsewhere")
        run = self.run_program("-c", METER, sys.executable, *command + (
            "127.0.0.1:%d" % support.closed_port(),), cwd=os.path.dirname(self.path))
        self.assertEqual(run.status, 1, run.err)
        return float(run.out)

    def test_memory(self):
        """A target under the limit for which the copy is made; the file itself needs more."""
        self.assertLess(self.peak_mib(self.path), MEMORY_MIB)

    def test_memory_compiled(self):
        """Nor does the file itself need more once Python has kept it compiled."""
        program = shutil.copy(support.PROGRAM, os.path.dirname(self.path))
        py_compile.compile(program, doraise=True)
        self.assertLess(self.peak_mib("-m", "netdiag"), MEMORY_MIB)

    def test_three_quotes(self):
        """A text that cannot be held in three quotes is refused."""
        with self.assertRaises(ValueError):
            small.small("VERSION = 1%s\n'''%s    pass\n" % (small.FIRST, small.LAST))


if __name__ == "__main__":
    unittest.main()

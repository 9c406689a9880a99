"""README.md: short, and true about the command line.  test_shape.py compares its tables of codes
and probes with the registries."""

import re
import unittest

import support

netdiag = support.load()


def readme():
    """The text of README.md."""
    with open(support.README, encoding="utf-8") as handle:
        return handle.read()


class Readme(unittest.TestCase):
    """What stands there against what the program has."""

    def test_short(self):
        """Nobody reads more."""
        self.assertLess(len(readme().splitlines()), 330)

    def test_options(self):
        """Every option has its place, and none is invented."""
        rows = "\n".join(re.findall(r"^\| `-.*$", readme(), re.M))
        told = set(re.findall(r"(?<![\w-])--?[a-z0-9][a-z-]*", rows)) - {"-h", "--help"}
        known = {flag for flags, _ in netdiag.OPTION_TABLE for flag in flags}
        self.assertEqual(told, known)

    def test_exit_statuses(self):
        """The statuses are those of room 10."""
        part = readme().split("## Exit status")[1].split("##")[0]
        self.assertEqual(sorted(map(int, re.findall(r"\*\*(\d+)\*\*", part))), sorted((
            netdiag.EXIT_OK, netdiag.EXIT_FAULT, netdiag.EXIT_UNDECIDED, netdiag.EXIT_USAGE,
            netdiag.EXIT_INTERRUPTED)))

    def test_named_tests_exist(self):
        """A test that is named as the guard of a rule or a probe is there."""
        for name in re.findall(r"`(test_\w+(?:\.\w+)*)`", readme()):
            found = unittest.defaultTestLoader.loadTestsFromName(name)
            self.assertGreater(found.countTestCases(), 0, name)


if __name__ == "__main__":
    unittest.main()

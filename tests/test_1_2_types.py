"""Rooms 1 and 2: knobs are plain and explained; the words are those of the contract."""

import re
import unittest

import support

netdiag = support.load()
UNITS = ("_S", "_MS", "_LIMIT", "_TTL", "_HOPS", "_BYTES", "_SYNS", "_SIZE", "_MSS", "_V4")
COUNTS = ("_MARK", "MAX_", "_POKES", "_WAVE", "_AT_ONCE", "RETRIES", "_SENDS", "PADDING", "BORN",
          "_MANY", "_LINES", "EPHEMERAL", "UNDELIVERED", "_MOST", "_TURNS", "_OUTAGES", "_FILES",
          "_TARGETS")

def knobs():
    """[(name, value text, comment)] of room 1."""
    with open(support.PROGRAM, encoding="utf-8") as stream:
        room = stream.read().split("\n# == 1 ")[1].split("\n# == 2 ")[0].split("\n", 1)[1]
    return re.findall(r"(?m)^(\w+) = (.*?)(?:\s+# (.*))?$", room)


AGES = tuple("CERT_SOON_S CLOCK_SKEW_S HALF_OPEN_S STATE_HOLDS_S LOG_AGE_S CLOSING_S IDLE_S".split())
# Modes that run until they are told otherwise: their own time, not ours.
MODES = tuple("STAND_IN_S STAND_IN_IDLE_S WATCH_S WATCH_GENTLE_S CAPTURE_S".split())


class Knobs(unittest.TestCase):
    """Thresholds and waiting times, one a line."""

    def test_plain(self):
        """A number (or a word), no logic."""
        for name, text, _ in knobs():
            self.assertRegex(text, r'^([\d. *<]+|"[^"]*")$', name)

    def test_names_have_units(self):
        """The unit of a number is in its name."""
        for name, text, _ in knobs():
            if not text.startswith('"'):
                self.assertTrue(name.endswith(UNITS) or any(word in name for word in COUNTS), name)

    def test_nothing_waits_too_long(self):
        """No single wait is longer than the time for everything."""
        for name, _, _ in knobs():
            if name.endswith("_S") and name not in AGES + MODES:
                self.assertLessEqual(getattr(netdiag, name), netdiag.DEADLINE_S, name)

    def test_every_read_is_bounded(self):
        """Limits exist and are small enough for a small machine."""
        for name in ("BYTES_LIMIT", "FILE_LIMIT", "OUTPUT_LIMIT", "REPORT_LIMIT"):
            self.assertTrue(0 < getattr(netdiag, name) <= 1 << 24, name)


class Words(unittest.TestCase):
    """Outcomes, places and confidences of the contract."""

    def test_words(self):
        """In the order of the contract."""
        self.assertEqual(netdiag.OUTCOMES, tuple(
            "ok timeout refused unreachable denied unknown".split()))
        self.assertEqual(netdiag.PLACES, tuple(
            "client client_network transit server_network server service dns proxy".split()))
        self.assertEqual(netdiag.SURE, ("certain", "likely", "possible"))

    def test_places_have_words_and_owners(self):
        """Everybody can be named who is asked to do something."""
        self.assertEqual(set(netdiag.PLACE_WORDS), set(netdiag.PLACES))
        self.assertEqual(set(netdiag.PLACE_OWNER), set(netdiag.PLACES))

    def test_protocols(self):
        """Each row: port, transport, TLS, who speaks first; ports lead back to a protocol."""
        for name, row in netdiag.PROTOCOLS.items():
            self.assertTrue(row.port is None or 0 < row.port < 65536, name)
            self.assertIn(row.transport, ("tcp", "udp"))
            self.assertIsInstance(row.tls, bool)
            self.assertTrue(row.greeting_s is None or row.greeting_s >= netdiag.GREETING_S, name)
        for port, name in netdiag.PORT_PROTOCOL.items():
            self.assertEqual(netdiag.PROTOCOLS[name].port, port, name)
        for port, name in ((443, "https"), (80, "http"), (22, "ssh"), (5432, "postgresql"),
                           (25, "smtp"), (3306, "mysql"), (53, "dns")):
            self.assertEqual(netdiag.PORT_PROTOCOL[port], name)

    def test_answers(self):
        """An Answer needs its first three parts only."""
        row = netdiag.Answer("tcp", "a", "ok")
        self.assertEqual((row.value, row.via, tuple(row.tried), row.ms), (None, None, (), None))

    def test_one_way_to_fail(self):
        """A parser's failure and a wrong command line are different things."""
        self.assertFalse(issubclass(netdiag.NotMine, netdiag.Usage))
        self.assertFalse(issubclass(netdiag.Usage, netdiag.NotMine))


if __name__ == "__main__":
    unittest.main()

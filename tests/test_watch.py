"""Mode watch: a target that works, one that never does, one that comes and goes."""

import io
import json
import re
import signal
import threading
import time
import unittest
from unittest import mock

import support

netdiag = support.load()
HERE = "127.0.0.1"


class WatchCase(unittest.TestCase):
    """Runs of `watch` on loopback."""

    def watch(self, port, *argv, **named):
        """A run to its end -> (document, run)."""
        run = support.netdiag_run("watch", "tcp://%s:%d" % (HERE, port), "--json", *argv, **named)
        self.assertNotIn("Traceback", run.err)
        self.assertNotIn("Warning", run.err)
        return json.loads(run.out), run

    def facts(self, document):
        """Its log."""
        row, = [row for row in document["evidence"] if row["probe"] == "checks"]
        return row["value"]

    def check_proof(self, document):
        """Every proof is an id of the evidence."""
        known = {row["id"] for row in document["evidence"]}
        for finding in document["targets"][0]["findings"]:
            self.assertLessEqual(set(finding["proof"]), known)
            self.assertTrue(finding["proof"])


class Steady(WatchCase):
    """Always the same."""

    def test_ok(self):
        """It never failed."""
        with support.Server(support.silent) as server:
            document, run = self.watch(server.port, "--for", "2s")
        target, = document["targets"]
        self.assertEqual((run.status, document["mode"], target["verdict"]["code"]),
                         (0, "watch", "ok"))
        self.assertGreaterEqual(self.facts(document)["checks"], 2)
        self.assertEqual(target["findings"], [])

    def test_ok_text(self):
        """The text report of a target that never failed: there is no diagnosis to show."""
        with support.Server(support.silent) as server:
            run = support.netdiag_run("watch", "tcp://%s:%d" % (HERE, server.port), "--for", "1s")
        self.assertEqual(run.status, 0)
        self.assertRegex(run.out, "OK  ok, certain\\n  .* answered all .*\\n\\nCHECKS\\n")

    def test_always_refused(self):
        """It always failed: that code, as the diagnosis at the beginning of the outage said it."""
        document, run = self.watch(support.closed_port(), "--for", "2s")
        target, = document["targets"]
        self.assertEqual((run.status, target["verdict"]["code"]), (1, "tcp.refused"))
        facts = self.facts(document)
        self.assertEqual((len(facts["outages"]), facts["failed"]), (1, facts["checks"]))
        self.check_proof(document)

    def test_few_packets(self):
        """A check is a handshake and its end: no trace, no echo, no size probes."""
        with support.Server(support.silent) as server:
            document, _ = self.watch(server.port, "--for", "3s")
        self.assertLessEqual(document["packets_sent"], 5 * self.facts(document)["checks"])

    def test_text(self):
        """Log lines while it runs, then the report; nothing wide, nothing raw."""
        run = support.netdiag_run("watch", "tcp://%s:%d" % (HERE, support.closed_port()),
                                  "--for", "1s")
        self.assertEqual(run.status, 1)
        self.assertRegex(
            run.out, r"(?s)\Awatching .*\n  \d\d:\d\d:\d\d-.*FAULT  tcp.refused.*CHECKS")
        self.assertRegex(run.out, r"\A[\n -~]*\Z")
        self.assertLessEqual(max(map(len, run.out.splitlines())), 80)

    def test_wrong(self):
        """One target, one line, 64."""
        for argv in ((), ("a", "b"), ("x y",), (HERE + ":1", "--for", "x")):
            run = support.netdiag_run("watch", *argv)
            self.assertEqual((run.status, run.out), (64, ""), argv)
            self.assertEqual(run.err.count("\n"), 1)

    def test_ctrl_c(self):
        """The summary of what was learnt, then 130."""
        with support.Server(support.silent) as server:
            child = support.start("watch", "tcp://%s:%d" % (HERE, server.port), "--for", "60s")
            child.stdout.readline()
            time.sleep(1.5)
            child.send_signal(signal.SIGINT)
            run = support.finish(child)
        self.assertEqual(run.status, 130, run.err)
        self.assertNotIn("Traceback", run.err)
        self.assertRegex(run.out, r"answered all \d checks")

    def test_gentle(self):
        """sshd penalises, MySQL blocks who connects without a login."""
        pace = {text: netdiag.pace_s(netdiag.read_target(text)) for text in (
            "x:80", "ssh://x:2222", "x:22", "smtp://x", "mysql://x", "https://x")}
        self.assertEqual([pace[text] for text in ("x:80", "https://x")], [1, 1])
        self.assertTrue(all(pace[text] >= 10 for text in ("ssh://x:2222", "x:22", "smtp://x")))
        self.assertGreaterEqual(pace["mysql://x"], 60)


class InTurns(WatchCase):
    """Works now and then."""

    def test_intermittent(self):
        """A service that goes away and comes back: when, and what failed."""
        port, over = support.closed_port(), threading.Event()

        def flap():
            while not over.is_set():
                with support.Server(support.silent, port=port):
                    over.wait(1.8)
                over.wait(1.8)
        thread = threading.Thread(target=flap)
        thread.start()
        try:
            document, run = self.watch(port, "--for", "8s")
        finally:
            over.set()
            thread.join(10)
        target, = document["targets"]
        self.assertEqual((run.status, target["verdict"]["code"]), (1, "intermittent"))
        facts = self.facts(document)
        self.assertGreaterEqual(len(facts["outages"]), 1)
        self.assertEqual({outage["code"] for outage in facts["outages"]}, {"tcp.refused"})
        self.assertTrue(0 < facts["failed"] < facts["checks"])
        found = {finding["code"]: finding for finding in target["findings"]}
        self.assertEqual(set(found), {"intermittent", "tcp.refused"})
        self.assertTrue(re.match(r"\d\d:\d\d:\d\d-\d\d:\d\d:\d\d", found["tcp.refused"]["summary"]))
        self.check_proof(document)


class Log(unittest.TestCase):
    """The outage log, without a network."""

    def test_redacted(self):
        """Lines that are told meanwhile are not masked: --redact has none."""
        out = io.StringIO()
        self.assertIs(netdiag.live_stream(support.options(), out), out)
        self.assertIsNone(netdiag.live_stream(support.options(redact=True), out))

    def test_bounded(self):
        """MAX_OUTAGES are kept, the first ones and the last; the others are counted."""
        facts = {"outages": [], "more_outages": 0}
        verdict = netdiag.Verdict("tcp.refused", ["service"], "certain", "No.", ["Yes."], None)
        system = support.FakeSystem()
        report = netdiag.unseen(netdiag.read_target("192.0.2.1:1"), {})._replace(
            verdict=verdict, complete=True)
        with mock.patch.multiple(netdiag, diagnose=lambda *_: report,
                                 gather=lambda *_: ({}, True)):
            for _ in range(netdiag.MAX_OUTAGES + 7):
                netdiag.begin_outage(report, report.target, [{}, None], facts, system,
                                     support.options())
        self.assertEqual((len(facts["outages"]), facts["more_outages"]),
                         (netdiag.MAX_OUTAGES, 7))


if __name__ == "__main__":
    unittest.main()

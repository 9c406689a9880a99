"""Mode merge: reports of two ends, of many hosts, of two times; pasted, cut short, hostile."""

import copy
import json
import os
import random
import re
import time
import unittest
from unittest import mock

import support

netdiag = support.load()
CLIENT, SERVER, OTHER = "192.0.2.10", "203.0.113.10", "203.0.113.77"
SILENT = dict(code="tcp.filtered", suspects=["server", "server_network"], confidence="likely")
REFUSED = dict(code="tcp.refused", suspects=["service", "server"], confidence="likely")
NOON = "2026-11-21T12:00:%02d+00:00"


def row(probe, value, outcome="ok", subject="x", mark=""):
    """One piece of evidence."""
    return {"id": mark + "e1", "probe": probe, "subject": subject, "outcome": outcome,
            "value": value, "via": "test", "tried": [], "ms": 1.0}


def report(mode="target", name="web1", own=(CLIENT,), goal="db.example", port=5432, evidence=(),
           goals=(SERVER,), started=NOON % 0, elapsed_s=9.7, **verdict):
    """A report as render_json writes it, of one target."""
    verdict = dict(dict(code="ok", suspects=[], confidence="certain", summary="It is so.", fix=[],
                        ask=None), **verdict)
    return {"schema": 1, "netdiag": {"version": "0.1.0", "sha256": None}, "mode": mode,
            "started": started, "elapsed_s": elapsed_s, "complete": True,
            "host": {"name": name, "addresses": list(own)},
            "targets": [{"target": "%s:%d" % (goal or "port", port), "host": goal, "port": port,
                         "protocol": "tcp", "addresses": list(goals), "verdict": verdict,
                         "findings": [], "unjudged": [], "path": []}],
            "evidence": list(evidence), "transcript": []}


def client(source=CLIENT, **parts):
    """A client's report, with its source address as evidence."""
    parts.setdefault("evidence", [row("egress", {"src": source, "via": None, "dev": "eth0"})])
    return report(**dict(dict(own=[source]), **parts))


def server(half_open=(), peers=(), listens=True, **parts):
    """A server's report: its listener, and who was seen half open or connected."""
    listeners = [{"addr": "0.0.0.0", "port": 5432, "proto": "tcp"}] * listens
    seen = {"5432": {"half_open": dict(half_open), "peers": {a: "ESTABLISHED" for a in peers}}}
    return report(**dict(dict(mode="server", name="db1", own=[SERVER], goal=None, goals=[],
                              evidence=[row("sockets", {"listeners": listeners}, subject="tcp"),
                                        row("watch", seen, subject="tcp")]), **parts))


def capture(*flows, **parts):
    """A capture of the server's."""
    flows = [dict({"client": CLIENT, "client_port": 4000, "server": SERVER, "server_port": 5432,
                   "syn": 3, "synack": 0, "handshake": False}, **flow) for flow in flows]
    return dict(report(mode="capture", name="db1", own=[SERVER], goal=None, goals=[],
                       evidence=[row("capture", {})], **parts), flows=flows)


class MergeCase(unittest.TestCase):
    """Reports in, one document out."""

    def merge(self, *reports, **named):
        """The document of `merge --json` on these reports, each in a file."""
        status = named.pop("status", None)
        with support.folder() as path:
            files = []
            for number, text in enumerate(reports):
                files.append(os.path.join(path, "%d.json" % number))
                with open(files[-1], "w") as stream:
                    stream.write(text if isinstance(text, str) else json.dumps(text, indent=1))
            run = support.netdiag_run("merge", "--json", *files)
        self.assertNotIn("Traceback", run.err)
        document = json.loads(run.out)
        if status is not None:
            self.assertEqual(run.status, status, run.out[:800])
        return document

    def verdict(self, *reports):
        """The verdict on the only target of some reports."""
        target, = self.merge(*reports)["targets"]
        return target["verdict"]

    def check(self, code, *reports):
        """The verdict must have this code; it comes back."""
        found = self.verdict(*reports)
        self.assertEqual(found["code"], code, found["summary"])
        return found


class TwoEnds(MergeCase):
    """The verdict that neither end can give, and its look-alikes."""

    def test_forward(self):
        """Silence here; there a listener that looked at the same time and saw nothing."""
        found = self.check("oneway.forward", client(**SILENT), server())
        self.assertEqual((found["confidence"], found["suspects"]), ("likely", ["server_network"]))

    def test_not_forward(self):
        """Another time, nobody listening or known to, another client half open, one connected."""
        self.check("undecided", client(**SILENT), server(started="2026-11-21T14:00:00+00:00"))
        self.check("undecided", client(**SILENT), server(started="2026-11-21T11:00:00+00:00"))
        self.check("tcp.filtered", client(**SILENT), server(listens=False))
        self.check("tcp.filtered", client(**SILENT), server([(OTHER, 2), ("203.0.113.78", 2)]))
        self.check("tcp.filtered", client(**SILENT), server(peers=[CLIENT]))
        self.check("ok", client(), server())

    def test_too_far_apart_says_so(self):
        """The reason, and what to run."""
        found = self.verdict(client(**SILENT), server(started="2026-11-21T14:00:00+00:00"))
        self.assertIn("119 min apart", found["summary"])
        self.assertIn("netdiag.py server 5432", found["fix"][0])

    def test_reverse(self):
        """The SYN has arrived: half open there, or answered in a capture."""
        for seen in (server([(CLIENT, 3)], code="handshake.incomplete"), server([(CLIENT, 0)]),
                     server([("::ffff:" + CLIENT, 3)]), capture({"synack": 3})):
            found = self.check("oneway.reverse", client(**SILENT), seen)
            self.assertEqual(found["confidence"], "certain")

    def test_not_reverse(self):
        """A handshake that was completed; a client that works."""
        self.check("tcp.filtered", client(**SILENT), capture({"synack": 1, "handshake": True}))
        self.check("ok", client(), server([(CLIENT, 3)], code="handshake.incomplete"))

    def test_lost_behind_the_handshake(self):
        """The client's connection opens, the server waits for the ACK: it is the way there."""
        opened = {"state": "open", "local": CLIENT, "greeting": None}
        for code in ("http.no_response", "oneway.forward"):
            mute = client(code=code, suspects=["service"], evidence=[row("tcp", opened)])
            for end in (server(half_open={CLIENT: 3}), capture({"syn": 1, "synack": 3})):
                self.check("oneway.forward", mute, end)
        self.check("http.no_response", client(code="http.no_response", evidence=[
            row("tcp", opened)]), server(half_open={OTHER: 3}))
        plain = client(evidence=[row("tcp", opened)])      # ok: of plain TCP no more was asked
        plain["targets"][0]["protocol"] = "tcp"
        incomplete = dict(code="handshake.incomplete", suspects=["server_network"])
        self.check("oneway.forward", plain, server(half_open={CLIENT: 3}, **incomplete))
        self.check("ok", plain, server(half_open={OTHER: 3}, **incomplete))
        self.check("ok", plain, server(half_open={CLIENT: 1}))      # one of its probes, on a busy host

    def test_nat(self):
        """One stranger half open at that time may be this client behind NAT: likely, and said;
        on a busy server it may be anybody."""
        target, = self.merge(client(**SILENT), server([(OTHER, 3)]))["targets"]
        self.assertEqual((target["verdict"]["code"], target["verdict"]["confidence"]),
                         ("oneway.reverse", "likely"))
        self.assertIn("path.nat", [f["code"] for f in target["findings"]])
        busy = self.verdict(client(**SILENT), server([(OTHER, 3)], peers=["203.0.113.5"]))
        self.assertEqual(busy["confidence"], "possible")

    def test_nat_by_shared_packets(self):
        """The same SYN in two captures: another address there, and clocks an hour apart."""
        flow = {"isn": 77, "synack": 3, "syn": 3, "handshake": False}
        here = dict(client(mode="capture", **SILENT), flows=capture(
            dict(flow, began_s=1795262400.0))["flows"])
        there = capture(dict(flow, client=OTHER, began_s=1795266000.0),
                        started="2026-11-21T13:00:00+00:00")
        target, = self.merge(here, there)["targets"]
        self.assertEqual((target["verdict"]["code"], target["verdict"]["confidence"]),
                         ("oneway.reverse", "likely"))
        self.assertIn(OTHER, " ".join(f["summary"] for f in target["findings"]
                                      if f["code"] == "path.nat"))

    def test_dropped_at_the_server(self):
        """The SYN comes and nothing leaves."""
        found = self.check("tcp.filtered", client(**SILENT), capture({"synack": 0}))
        self.assertEqual((found["suspects"], found["confidence"]), (["server"], "certain"))

    def test_captured_nothing(self):
        """A capture at the server without the SYN; without the right to capture it says nothing."""
        self.check("oneway.forward", client(**SILENT), capture())
        blind = dict(capture(), evidence=[row("capture", None, "denied")])
        self.check("tcp.filtered", client(**SILENT), blind)

    def test_server_says_why(self):
        """Its own fault explains what the client sees, and not what works or was long ago."""
        for code in netdiag.SERVER_FAULTS:
            fault = server(code=code, suspects=["server"], summary="That is why.", listens=False)
            found = self.check(code, client(**SILENT), fault)
            self.assertIn("That is why.", found["summary"])
            self.assertEqual(found["suspects"], ["server"])
        self.check("ok", client(), fault)
        fault["started"] = "2026-11-21T18:00:00+00:00"
        self.check("undecided", client(**SILENT), fault)

    def test_box_in_between(self):
        """Refused, though the server listens and saw nothing; not where nobody listens."""
        found = self.check("tcp.refused", client(**REFUSED), server())
        self.assertEqual(found["suspects"], ["server_network", "transit"])
        found = self.check("tcp.refused", client(**REFUSED), server(listens=False))
        self.assertEqual(found["suspects"], ["service", "server"])
        found = self.check("tcp.rejected", client(
            code="tcp.rejected", suspects=["transit"], confidence="certain"), server())
        self.assertIn("box in between", found["summary"])
        found = self.check("tcp.rejected", client(
            code="tcp.rejected", suspects=["server"], confidence="certain"), server())
        self.assertEqual(found["suspects"], ["server"])
        found = self.check("tcp.rejected", client(     # in the server's name, which sent nothing
            code="tcp.rejected", suspects=["server"], confidence="certain"), capture())
        self.assertEqual(found["suspects"], ["server_network", "transit"])

    def test_other_target(self):
        """Reports about different services are not joined, and that is said."""
        for wrong in (server(own=["203.0.113.99"], name="db9"), server(port=80)):
            document = self.merge(client(**SILENT), wrong)
            target, = document["targets"]
            self.assertEqual(target["verdict"]["code"], "tcp.filtered")
            self.assertEqual(len(document["group"]["not_joined"]), 1)

    def test_joined_by_name(self):
        """A server behind a translated address has another one, and the name that was asked."""
        goal = dict(goal="db1.example", goals=["198.51.100.5"])
        self.check("oneway.forward", client(**dict(SILENT, **goal)), server(own=["10.0.0.5"]))

    def test_stand_in(self):
        """`listen` there: what arrived, by its greeting under another address."""
        evidence = [row("arrivals", {"arrivals": [], "half_open": {}})]
        listen = report(mode="listen", name="db1", own=[SERVER], goal=SERVER, code="undecided",
                        evidence=evidence)
        self.check("oneway.forward", client(**SILENT), listen)
        evidence[0]["value"]["half_open"] = {CLIENT: 2}
        self.check("oneway.reverse", client(**SILENT), listen)

    def test_udp(self):
        """A stand-in for UDP saw the datagram, or did not; `server` cannot see datagrams at all;
        a stand-in for TCP is none for UDP."""
        silent = client(code="udp.no_reply", suspects=["service"], confidence="possible")
        silent["targets"][0]["protocol"] = "udp"
        self.check("udp.no_reply", silent, server())
        for came, code in (([], "oneway.forward"), ([{"from": CLIENT}], "oneway.reverse")):
            listen = report(mode="listen", name="db1", own=[SERVER], goal=SERVER, evidence=[
                row("arrivals", {"arrivals": came, "half_open": {}})])
            self.check("udp.no_reply", silent, listen)
            listen["targets"][0]["protocol"] = "udp"
            self.check(code, silent, listen)

    def test_bare_reports(self):
        """Reports that hold no more than the contract promises: the verdicts still tell."""
        bare = dict(server(evidence=[]), evidence=[])
        self.check("oneway.forward", client(evidence=[], **SILENT), bare)
        bare = server(evidence=[], code="handshake.incomplete", suspects=["transit"])
        self.check("oneway.reverse", client(evidence=[], **SILENT), bare)

    def test_merged_already(self):
        """A merged report among the reports would count everything twice."""
        self.assertIn("merged already", self.merge(client(), client(mode="merge"))[
            "group"]["unusable"].popitem()[1])

    def test_text_of_two_ends(self):
        """The text names both ends; no control character, no long line."""
        with support.folder() as path:
            for name, document in (("c", client(**SILENT)), ("s", server())):
                with open(os.path.join(path, name), "w") as stream:
                    json.dump(document, stream)
            run = support.netdiag_run("merge", "--from", path)
        self.assertEqual(run.status, 1)
        self.assertRegex(run.out, r"(?s)FAULT  oneway.forward.*ENDS.*client.*web1.*server.*db1")
        self.assertLessEqual(max(map(len, run.out.splitlines())), 80)


class ManyAndTwice(MergeCase):
    """Hosts by targets, and the same twice."""

    def fleet(self, bad):
        """Reports of 4 hosts about 3 targets; `bad(host, target)` says which fail."""
        return [client("10.0.%d.7" % host, name="web%d" % host, goal="db%d.example" % target,
                       goals=["203.0.113.%d" % target], **(SILENT if bad(host, target) else {}))
                for host in range(4) for target in range(3)]

    def test_matrix(self):
        """One target a pair, and one verdict for the group."""
        document = self.merge(*self.fleet(lambda host, target: target == 1), status=1)
        self.assertEqual(len(document["targets"]), 12)
        group = document["group"]
        self.assertEqual(group["matrix"]["codes"], [["ok", "tcp.filtered", "ok"]] * 4)
        self.assertEqual(group["common"][0]["value"], "db1.example:5432")
        self.assertEqual((group["verdict"]["code"], group["verdict"]["confidence"]),
                         ("tcp.filtered", "likely"))

    def test_common_host(self):
        """One host fails everywhere: its side."""
        group = self.merge(*self.fleet(lambda host, _: host == 2))["group"]
        self.assertEqual(group["common"][0]["what"], "host")
        self.assertEqual(group["verdict"]["suspects"][0], "client")

    def test_nothing_in_common(self):
        """Failures here and there: no place is made up."""
        group = self.merge(*self.fleet(lambda host, target: host == target))["group"]
        self.assertEqual(group["verdict"]["confidence"], "possible")
        self.assertEqual([row for row in group["common"] if not row["fine"]], [])

    def test_all_fine(self):
        """Nothing fails."""
        document = self.merge(*self.fleet(lambda *_: False), status=0)
        self.assertEqual(document["group"]["verdict"]["code"], "ok")

    def test_containers_of_one_name(self):
        """Four hosts called localhost are four."""
        rows = self.fleet(lambda host, target: False)
        for document in rows:
            document["host"]["name"] = "localhost"
        self.assertEqual(len(self.merge(*rows)["group"]["matrix"]["hosts"]), 4)

    def test_change(self):
        """Two runs of one host and target: what changed since it worked."""
        way = {"src": CLIENT, "via": "192.0.2.1", "dev": "eth0"}
        before = client(evidence=[row("egress", way)], started="2026-11-20T12:00:00+00:00")
        now = client(evidence=[row("egress", dict(way, via="192.0.2.2"))], **SILENT)
        for order in ((before, now), (now, before)):
            target, = self.merge(*order)["targets"]
            self.assertEqual(target["verdict"]["code"], "tcp.filtered")
            finding, = target["findings"]
            self.assertEqual(finding["code"], "report.changed")
            self.assertIn("via 192.0.2.1, eth0", finding["summary"])
        target, = self.merge(before, dict(before, started=NOON % 0))["targets"]
        self.assertEqual(target["findings"], [])

    def test_speed(self):
        """1,000 reports, of 250 hosts about 4 targets, in under 5 s."""
        filler = [row("counters", dict.fromkeys(map(str, range(300)), 7)) for _ in range(8)]
        with support.folder() as path:
            for number in range(1000):
                bad = SILENT if 100 <= number < 140 else {}
                document = client("10.%d.%d.7" % (9 if bad else 1, number // 4), name="web%d" % (
                    number // 4), goal="db%d.example" % (number % 4), **bad)
                document["evidence"] += filler
                with open(os.path.join(path, "%d.json" % number), "w") as stream:
                    json.dump(document, stream, indent=1)
            with open(os.path.join(path, "broken.json"), "w") as stream:
                stream.write('{"schema": 1,')
            began = time.monotonic()
            run = support.netdiag_run("merge", "--from", path)
            took_s = time.monotonic() - began
        self.assertLess(took_s, 5)
        self.assertIn("40 of 1000 fail", run.out)
        self.assertIn("broken.json", run.out)
        self.assertLessEqual(max(map(len, run.out.splitlines())), 80)


class Files(MergeCase):
    """What is no report, and reports in other wrappings."""

    def test_unusable(self):
        """One clear line that names the file, and 64."""
        with support.folder() as path:
            name = os.path.join(path, "x.json")
            whole = json.dumps(client())
            for text, why in (("", "no netdiag report"), ("{}", "no netdiag report"),
                              (whole[:400], "cut short"), ("hello", "no netdiag report"),
                              ("\x00\xff\x1b[31m", "no netdiag report"),
                              (json.dumps(client(code="\x1b[31m")), "code")):
                with open(name, "w", encoding="utf-8") as stream:
                    stream.write(text)
                run = support.netdiag_run("merge", name)
                self.assertEqual((run.status, run.out), (64, ""), text[:40])
                self.assertEqual(run.err.count("\n"), 1, run.err)
                self.assertIn("x.json", run.err)
                self.assertIn(why, run.err)
            for argv in ((os.path.join(path, "absent"),), (path,), (), ("--from", path + "/no")):
                run = support.netdiag_run("merge", *argv)
                self.assertEqual((run.status, run.out), (64, ""))
                self.assertEqual(run.err.count("\n"), 1, run.err)

    def test_usable_beside_unusable(self):
        """The rest is merged, the other is named."""
        document = self.merge(client(), "nothing")
        self.assertEqual([os.path.basename(path) for path in document["group"]["unusable"]],
                         ["1.json"])

    def test_packed(self):
        """A text report with -v carries its JSON; quoted and pasted it is found."""
        port = support.closed_port()
        run = support.netdiag_run("-v", "tcp://127.0.0.1:%d" % port)
        self.assertLessEqual(max(map(len, run.out[run.out.index(
            netdiag.PACKED[0]):].splitlines())), 80)
        pasted = "Hello,\n" + "".join("> %s\r\n" % line for line in run.out.splitlines())
        found, = netdiag.parse_reports(pasted)
        self.assertEqual((found["code"], found["port"]), ("tcp.refused", port))
        with self.assertRaises(netdiag.NotMine):
            netdiag.parse_reports(re.sub("[a-e]", "f", pasted))

    def test_evidence_is_no_report(self):
        """A text's own evidence holds objects with `targets` (iptables'): they spoil nothing."""
        text = "e24 rules/iptables ok {\"targets\": {}}\n" + json.dumps(client(**SILENT))
        self.assertEqual([r["code"] for r in netdiag.parse_reports(text)], [SILENT["code"]])

    def test_damaged_beside_whole(self):
        """One report of a file that cannot be read takes nothing from the other."""
        damaged = dict(client(), started="some day")
        text = json.dumps(damaged) + json.dumps(client(**SILENT))
        self.assertEqual(len(netdiag.parse_reports(text)), 1)
        with self.assertRaisesRegex(netdiag.NotMine, "cannot be read"):
            netdiag.parse_reports(json.dumps(damaged))

    def test_wrapped(self):
        """Several documents in one text, log lines between them, Ansible's wrapping, UTF-16."""
        one, two = (json.dumps(client(name=name), indent=1) for name in ("a", "b"))
        for text in (one + two, "[%s, %s]" % (one, two), "x {\n%s\n---\n%s\n}" % (one, two),
                     'web | CHANGED => {"rc": 0, "stdout": %s}\n{"stdout": %s}' % (
                         json.dumps(one), json.dumps("warning\n" + two))):
            self.assertEqual([found["host"] for found in netdiag.parse_reports(text)], ["a", "b"])
        with support.folder() as path:
            name = os.path.join(path, "x")
            with open(name, "wb") as stream:
                stream.write(one.encode("utf-16"))
            self.assertEqual(support.netdiag_run("merge", name).status, 0)

    def test_standard_input(self):
        """A report through a pipe."""
        run = support.netdiag_run("merge", "-", feed=json.dumps(client()).encode())
        self.assertEqual(run.status, 0, run.err)

    def test_own_reports(self):
        """What netdiag writes is read, with several targets in one document too."""
        ports = [support.closed_port(), support.closed_port()]
        run = support.netdiag_run("--json", *["tcp://127.0.0.1:%d" % port for port in ports])
        self.assertEqual([found["port"] for found in netdiag.parse_reports(run.out)], ports)
        self.assertTrue(all(found["sources"] for found in netdiag.parse_reports(run.out)))


class Hostile(unittest.TestCase):
    """Reports that somebody made to hurt."""

    VALUES = (None, 0, -1, 10 ** 30, 1e999, float("nan"), "", "x" * 5000, "\x1b[31m", [], {}, [[]],
              {"a": 1}, True, "2026-13-99T00:00:00+00:00", "127.0.0.1", "\ud800")

    def places(self, value, at=()):
        """The way to every part of a document."""
        if at:
            yield at
        parts = value.items() if isinstance(value, dict) else \
            enumerate(value) if isinstance(value, list) else ()
        for key, part in parts:
            yield from self.places(part, at + (key,))

    def damaged(self, document, places, dice):
        """The document with some parts exchanged or gone."""
        damaged = copy.deepcopy(document)
        for _ in range(dice.randint(1, 4)):
            *way, last = dice.choice(places)
            part = damaged
            try:
                for key in way:
                    part = part[key]
                if dice.random() < 0.2:
                    del part[last]
                else:
                    part[last] = dice.choice(self.VALUES)
            except (KeyError, IndexError, TypeError):
                pass
        return json.dumps(damaged)

    def garbled(self, text, dice):
        """The text with some characters exchanged, and perhaps cut."""
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(text))
            text = text[:at] + dice.choice(("", "{", '"', "\0", "[", "\u2028", "9" * 40)) \
                + text[at + 1:]
        return text[:dice.randrange(len(text))] if dice.random() < 0.2 else text

    def judged(self, text, options, system):
        """All that merge prints of a text; None where it is no report."""
        try:
            rows = netdiag.parse_reports(text)
        except netdiag.NotMine:
            return None
        rows = [netdiag.Answer("report", "f", "ok", found) for found in rows]
        groups, spare = netdiag.join_reports(rows)
        reports = [netdiag.report_of(netdiag.target_of(group[0].value), {"report": group}, {},
                                     system, options, 0, path=group[0].value["path"])
                   for group in groups]
        for found in reports:
            self.assertEqual([row for row in found.unjudged if "crash" in row["why"]], [])
        group = netdiag.group_json(reports, spare, {})
        return netdiag.render_merged(reports, group) + netdiag.render_json(
            reports, "x", 1, None, [], 0, group=group)

    def test_mutations(self):
        """5,000 mutated reports: no traceback, no control character, bounded time."""
        dice, system = random.Random(7), support.FakeSystem()
        options = support.options(mode="merge")
        first, second = client(**SILENT), dict(capture({"isn": 1, "began_s": 5}), mode="server")
        document = dict(first, flows=second["flows"], targets=first["targets"] + second["targets"],
                        evidence=first["evidence"] + server([(CLIENT, 1)])["evidence"] + [
                            row("tcp", {"state": "open", "greeting": "netdiag listen 1 you="}),
                            row("lookup", ["1.2.3.4"]), row("http", {"status": 200})])
        document["targets"][0]["path"] = [{"ttl": 1, "address": "192.0.2.1", "rtt_ms": 1.0,
                                           "place": "client_network"}]
        places, text = list(self.places(document)), json.dumps(document, indent=1)
        began, read = time.monotonic(), 0
        for turn in range(5000):
            out = self.judged(self.damaged(document, places, dice) if turn % 3 else
                              self.garbled(text, dice), options, system)
            if out:
                read += 1
                self.assertRegex(out, r"\A[\n -~]*\Z")
        self.assertGreater(read, 1000)
        self.assertLess(time.monotonic() - began, 30)

    def test_bounded_time(self):
        """Texts made to be slow, deep or large."""
        packed = netdiag.pack_report(" " * (80 << 20))
        for text in ('{"schema":' * 100000, '{"' * 1000000, '{"a":{}} ' * 100000, "[" * 100000,
                     '{ "schema": 1, "targets": [' * 50000, "> " * 500000, packed * 3,
                     '{"stdout": %s}' % json.dumps('{"stdout": "{"}' * 1000),
                     '{"x": %s}' % ("9" * 1000000)):
            began = time.monotonic()
            with self.assertRaises(netdiag.NotMine):
                netdiag.parse_reports(text)
            self.assertLess(time.monotonic() - began, 3, text[:40])

    def test_large_file(self):
        """A file without end is not read to its end."""
        run = support.netdiag_run("merge", "/dev/zero")
        self.assertEqual(run.status, 64)
        self.assertIn("larger than", run.err)

    def test_special_files_in_a_folder(self):
        """A pipe in the folder would be waited for for ever."""
        with support.folder() as path:
            os.mkfifo(os.path.join(path, "pipe"))
            os.symlink("/dev/zero", os.path.join(path, "zero"))
            with open(os.path.join(path, "good.json"), "w") as stream:
                json.dump(client(), stream)
            self.assertEqual(support.netdiag_run("merge", "--from", path).status, 0)


class Pieces(unittest.TestCase):
    """Small functions of their own."""

    def test_iso_epoch(self):
        """Offsets count, fractions do not."""
        for text, epoch in (("1970-01-02T00:00:00+00:00", 86400), ("1970-01-02T00:00:00Z", 86400),
                            ("1970-01-02T09:30:00.5+09:30", 86400),
                            ("1970-01-01T20:30:00-0330", 86400)):
            self.assertEqual(netdiag.iso_epoch(text), epoch)

    def test_files_bounded(self):
        """No more files than MAX_REPORT_FILES."""
        with support.folder() as path, mock.patch.object(netdiag, "MAX_REPORT_FILES", 3):
            for number in range(5):
                open(os.path.join(path, str(number)), "w").close()
            system = netdiag.System(support.options())
            self.assertEqual(len(system.report_files(path)), 3)

    def test_version_words(self):
        """The markers of a packed report are lines of plain text."""
        for line in netdiag.PACKED:
            self.assertTrue(re.match(r"-- [ -~]{10,70} --\Z", line))


if __name__ == "__main__":
    unittest.main()

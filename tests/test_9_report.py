"""Room 9: values in, text out; what a report must hold however it came about."""

import json
import re
import unittest

import support

netdiag = support.load()
HOSTILE = u"\x1b[31mred\x1b]0;title\x07\r\n\u202e\u2028\x00\x9b\x7f\u30cd\ud800" + "x" * 400
RAW = HOSTILE.encode("utf-8", "replace")
TARGETS = {"A": "192.0.2.1:443", "N": "https://web.example/path", "-": None}


def make_target(answers, options):
    """The Target that the first answer of a case stands for."""
    wish = answers[0].value
    if not wish["host"]:
        return netdiag.THIS_HOST
    return netdiag.Target(answers[0].subject, wish["host"], wish["port"], wish["protocol"],
                          wish["transport"], wish["tls"], wish["path"], wish["user"],
                          wish["literal"], wish["mode"])


def make_report(answers, complete=True, **changes):
    """A report as diagnose() makes it, out of answers that are there."""
    options = support.options(**changes)
    answers = support.number(answers)
    verdict, findings, unjudged = netdiag.judge(answers)
    return netdiag.Report(make_target(answers, options), verdict, findings, unjudged,
                          netdiag.path_of(answers), netdiag.timings_of(answers), answers, 1.0,
                          complete)


def rendered(answers, complete=True, **changes):
    """The whole document of one report, as the program would print it."""
    command = {"argv": ["ip", "addr"], "status": 0, "ms": 1.0, "output": "one\n" + HOSTILE + "\n"}
    return support.rendered([make_report(answers, complete, **changes)], [command], **changes)


def scenarios():
    """Every case of every rule, with the host's own probes beside it."""
    host = ('identity/self ok ; marks/self ok ; iface/eth0 ; iface/lo loopback=true'
            ' inet=["127.0.0.1/8"] ; route/A ok via=G ; egress/A ok via=G ; ping/A ok')
    for case in support.all_cases():
        answers = support.read_case(case.text)
        known = {(row.probe, row.subject) for row in answers}
        more = [row for row in support.read_case(host)[1:]
                if (row.probe, row.subject) not in known]
        yield case.rule, answers + more


def hostile_certificate():
    """A certificate with a subject, an issuer and names that want to hurt."""
    return dict(support.CERTIFICATE, subject=[["CN", HOSTILE], ["O", HOSTILE]],
                issuer=[["CN", HOSTILE]], san=[["DNS", HOSTILE], ["URI", HOSTILE]])


def hostile_answers():
    """What parsers and room 4 make of hostile bytes, as answers of a run."""
    head = b"HTTP/1.1 404 " + RAW[:90].replace(b"\r\n", b"") + b"\r\nServer: " \
        + RAW.replace(b"\r\n", b"") + b"\r\nLocation: /" + RAW.replace(b"\r\n", b"") + b"\r\n\r\n"
    raw = {"stage": "http", "ended": None, "data": head, "error": None}
    flight = netdiag.parse_tls_flight({"data": RAW, "ended": "closed"})
    rows = support.read_case("target/N ok tls=true protocol=https sni=web.example ;"
                             ' lookup/N ok ["192.0.2.1"] ; tcp/A ok after=data ; tls/A ok'
                             " ended=untrusted verify_code=20")
    for row in rows:
        if row.probe == "tls":
            row.value["chain"] = [hostile_certificate()]
            row.value["error"] = netdiag.printable(HOSTILE)
        if row.probe == "tcp":
            row.value["greeting"] = netdiag.printable(RAW[:300])
    return rows + [
        support.make_answer("http", "192.0.2.1", "ok", netdiag.parse_http_exchange(raw)),
        support.make_answer("hello", "192.0.2.1 named", "ok", flight),
        support.make_answer("dns", "192.0.2.53 A web.example", "ok", dict(
            support.DNS, answers=[{"name": HOSTILE, "type": "CNAME", "ttl": 1, "data": HOSTILE}])),
        support.make_answer("ping", "192.0.2.1", "unknown", None)._replace(
            tried=(("ping", netdiag.printable(HOSTILE)),)),
        support.make_answer("identity", "self", "ok", dict(
            support.BLANKS["identity"], name=netdiag.printable(HOSTILE)))]


def codes_in(findings):
    """The codes of JSON findings."""
    return {finding["code"] for finding in findings}


def unwrapped(text):
    """Text without its line breaks and indents, for looking up sentences."""
    return " ".join(text.split())


class Shape(unittest.TestCase):
    """Columns, characters, order."""

    def check_text(self, text, name):
        """80 columns (the quoted output of commands aside), printable ASCII, no trailing blanks."""
        report = text.partition("\nTRANSCRIPT")[0]
        for line in report.splitlines():
            self.assertLessEqual(len(line), 80, "%s: %r" % (name, line))
        self.assertRegex(text, r"\A[\n -~]*\Z", name)
        self.assertTrue(text.endswith("\n"))

    def test_all_cases(self):
        """Every case of every rule, short and with -v."""
        for name, answers in scenarios():
            self.check_text(rendered(answers), name)
        for name, answers in list(scenarios())[::5]:
            self.check_text(rendered(answers, verbose=True), name)

    def test_hostile(self):
        """Banners, certificates, headers, DNS names and command output cannot hurt a terminal."""
        for changes in ({}, {"verbose": True}, {"brief": True}, {"ticket": True},
                        {"redact": True}):
            text = rendered(hostile_answers(), **changes)
            self.assertRegex(text, r"\A[\n -~]*\Z", changes)
            self.assertNotIn("\x1b", text)
        self.check_text(rendered(hostile_answers()), "hostile")
        self.assertRegex(rendered(hostile_answers(), json=True), r"\A[\n -~]*\Z")

    def test_verdict_comes_first(self):
        """A title and at most five lines; the code and how sure it is in the first of them."""
        for name, answers in scenarios():
            for complete in (True, False):
                text = rendered(answers, complete)
                block = text.split("\n\n")[0].splitlines()
                verdict = netdiag.judge(answers)[0]
                self.assertIn(verdict.code, block[1], name)
                self.assertIn(verdict.confidence, block[1], name)
                self.assertLessEqual(len(block), 6 + (not complete), "%s: %s" % (name, block))

    def test_suspects_are_named(self):
        """The first suspect stands in the verdict's lines."""
        for name, answers in scenarios():
            verdict = netdiag.judge(answers)[0]
            if verdict.suspects and verdict.code not in ("ok", "undecided"):
                block = rendered(answers).split("\n\n")[0]
                place = verdict.suspects[0]
                self.assertRegex(unwrapped(block), place.replace("_", "[_ ]"), name)

    def test_cut_short_is_said(self):
        """A report that was cut short says so at its head."""
        answers = support.read_case("tcp/A timeout")
        self.assertIn("cut short", rendered(answers, False).split("\n\n")[0])
        self.assertNotIn("cut short", rendered(answers, True).split("\n\n")[0])

    def test_nothing_is_lost(self):
        """Summary and advice stand in the report in full, however short the head is."""
        for name, answers in scenarios():
            text = unwrapped(rendered(answers))
            for finding in netdiag.judge(answers)[1]:
                self.assertIn(unwrapped(finding.fix[0])[:60], text, name)
                self.assertIn(unwrapped(finding.summary)[:60], text, name)

    def test_not_tested(self):
        """What could not be asked is listed with its reason."""
        row = support.make_answer("ping", "192.0.2.1", "unknown", None)._replace(
            tried=(("ping", "ping: not installed"), ("echo", "not permitted (EACCES)")))
        text = unwrapped(rendered(support.read_case("tcp/A timeout") + [row]))
        self.assertIn("not permitted (EACCES)", text)

    def test_brief(self):
        """One line, with target, code and place."""
        for name, answers in scenarios():
            text = rendered(answers, brief=True)
            self.assertEqual(text.count("\n"), 1, name)
            self.assertIn(netdiag.judge(answers)[0].code[:20], text, name)

    def test_colour_is_decoration(self):
        """Colours only when told; without them the words are the same."""
        for name, answers in list(scenarios())[:30]:
            plain = rendered(answers, color="never")
            painted = rendered(answers, color="always")
            self.assertNotIn("\x1b", plain)
            self.assertIn("\x1b[", painted)
            self.assertEqual(re.sub(r"\x1b\[[0-9;]*m", "", painted), plain, name)

    def test_ticket(self):
        """The ticket has a line for what every network team asks, filled or left blank."""
        text = rendered(support.read_case("tcp/A timeout ; egress/A ok via=G ; iface/eth0"))
        ticket = text.partition("TICKET")[2]
        for word in ("client", "server", "protocol", "time", "gateway", "VLAN"):
            self.assertRegex(ticket, r"(?m)^\s+%s\b.*:" % word)
        self.assertIn(support.OWN, ticket)
        self.assertIn("____", ticket)

    def test_same_twice(self):
        """The same answers give the same text."""
        for name, answers in list(scenarios())[:40]:
            self.assertEqual(rendered(answers), rendered(answers), name)


class Bricks(unittest.TestCase):
    """The small tools of the layout."""

    def test_wrap(self):
        """No line is longer than 80 columns, even for a word that is."""
        for text in ("word " * 60, "x" * 300, "", "a " + "y" * 200 + " b"):
            for line in netdiag.wrap(text, "        ", "  - "):
                self.assertLessEqual(len(line), 80)

    def test_shorten(self):
        """Cut text says so and fits."""
        self.assertEqual(netdiag.shorten("abc", 3), "abc")
        self.assertEqual(len(netdiag.shorten("x" * 99, 20)), 20)

    def test_explain(self):
        """The manual page of each cause that has a rule."""
        for code in sorted({c for r in netdiag.RULES.values() for c in r.codes}):
            text = netdiag.render_explain(code)
            self.assertTrue(text.startswith(code + "\n"), code)
            self.assertRegex(text, r"\A[\n -~]*\Z")
            self.assertNotRegex(text, r"\{[a-z_]+")
            for line in text.splitlines():
                self.assertLessEqual(len(line), 80, line)
        with self.assertRaises(netdiag.NotMine):
            netdiag.render_explain("no.such_code")

    def test_explain_own_rule_first(self):
        """A rule of its own explains a code; a rule of many codes is one line below it."""
        text = netdiag.render_explain("tcp.refused")
        self.assertEqual(text.count("  says:"), 3)         # of a target, by a box, of a capture
        self.assertRegex(text, r"\n\n  also said by: The redirect [^\n]*\n\Z")
        self.assertEqual(netdiag.render_explain("firewall.local").count("  says:"), 8)
        self.assertNotIn("also said by", netdiag.render_explain("tls.handshake_cut"))

    def test_request(self):
        """The request is the first clause of the advice where it fits; the rule's own stays."""
        for fix, ask, wanted in (
                ("Get an address: check DHCP.", None, "Get an address."),
                ("Is `a; b` up? Look.", None, "Is `a; b` up?"),
                ("Renew it (the file is not enough).", None, "Renew it."),
                ("Let ICMP (3/4; v6 2/0) pass, please.", None,
                 "Let ICMP (3/4; v6 2/0) pass, please."),
                ("See http://x:1/ now", None, "See http://x:1/ now"), ("x" * 80, None,
                                                                      "the request is in the ticket."),
                ("Open it.", "May I?", "May I?")):
            verdict = netdiag.Verdict("tcp.refused", ["dns"], "likely", "s", [fix],
                                      {"who": "the DNS team", "text": ask or fix})
            self.assertEqual(netdiag.request_words(verdict), "the DNS team - " + wanted)


# -- JSON: section 3 of the contract ---------------------------------------------------------------

NUMBER, TEXT, MAYBE_TEXT, FLAG = (int, float), str, (str, type(None)), bool
MAYBE_NUMBER, MAYBE_INT, MAYBE_FLAG = (int, float, type(None)), (int, type(None)), \
    (bool, type(None))
VERDICT = {"code": TEXT, "suspects": [TEXT], "confidence": TEXT, "summary": TEXT, "fix": [TEXT],
           "ask": (dict, type(None))}
FINDING = {"code": TEXT, "severity": TEXT, "suspects": [TEXT], "confidence": TEXT, "summary": TEXT,
           "fix": [TEXT], "proof": [TEXT]}
SCHEMA = {
    "schema": int, "netdiag": {"version": TEXT, "sha256": MAYBE_TEXT}, "mode": TEXT,
    "started": TEXT, "elapsed_s": NUMBER, "complete": FLAG,
    "host": {"name": MAYBE_TEXT, "system": MAYBE_TEXT, "user": MAYBE_TEXT, "root": MAYBE_FLAG,
             "python": MAYBE_TEXT, "container": (bool, str, type(None)), "addresses": [TEXT]},
    "targets": [{
        "target": TEXT, "host": MAYBE_TEXT, "port": MAYBE_INT, "protocol": MAYBE_TEXT,
        "addresses": [TEXT], "verdict": VERDICT, "findings": [FINDING],
        "unjudged": [{"question": TEXT, "why": TEXT}],
        "path": [{"ttl": int, "address": MAYBE_TEXT, "rtt_ms": MAYBE_NUMBER,
                  "place": MAYBE_TEXT}],
        "timings_ms": {"dns": MAYBE_NUMBER, "tcp": MAYBE_NUMBER, "tls": MAYBE_NUMBER,
                       "first_byte": MAYBE_NUMBER}}],
    "evidence": [{"id": TEXT, "probe": TEXT, "subject": TEXT, "outcome": TEXT, "value": object,
                  "via": MAYBE_TEXT, "tried": list, "ms": MAYBE_NUMBER}],
    "transcript": [{"argv": [TEXT], "status": MAYBE_INT, "ms": NUMBER, "output": TEXT}]}


def misfits(value, shape, path="$"):
    """One line for each place where a document is not as the shape says; keys may be more."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield "%s: %r is no object" % (path, value)
            return
        for key in sorted(shape):
            if key not in value:
                yield "%s.%s is missing" % (path, key)
            else:
                yield from misfits(value[key], shape[key], path + "." + key)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield "%s: %r is no list" % (path, value)
            return
        for place, item in enumerate(value):
            yield from misfits(item, shape[0], "%s[%d]" % (path, place))
    elif not isinstance(value, shape) or isinstance(value, bool) and shape in (
            int, NUMBER, MAYBE_NUMBER, MAYBE_INT):
        yield "%s: %r" % (path, value)


def document(answers, complete=True):
    """The JSON document of one report, parsed."""
    return json.loads(rendered(answers, complete, json=True))


class Json(unittest.TestCase):
    """The document has every key of the contract, with the right types."""

    def test_schema(self):
        """Every case of every rule."""
        for name, answers in scenarios():
            self.assertEqual(list(misfits(document(answers), SCHEMA)), [], name)

    def test_words(self):
        """Severities, confidences, places and outcomes are those of the contract."""
        for name, answers in scenarios():
            found = document(answers)
            for row in found["targets"][0]["findings"] + [found["targets"][0]["verdict"]]:
                self.assertIn(row.get("severity", "fail"), ("fail", "warn", "info"))
                self.assertIn(row["confidence"], ("certain", "likely", "possible"), name)
                self.assertLessEqual(set(row["suspects"]), set(netdiag.PLACES), name)
            for row in found["evidence"]:
                self.assertIn(row["outcome"], netdiag.OUTCOMES)
            self.assertEqual(found["schema"], 1)
            self.assertRegex(found["started"], r"^\d{4}-\d\d-\d\dT.*[+-]\d\d:\d\d$")

    def test_ask(self):
        """A fault says who must do what."""
        for name, answers in scenarios():
            verdict = document(answers)["targets"][0]["verdict"]
            if verdict["code"] not in ("ok", "undecided"):
                self.assertTrue(verdict["ask"]["who"], name)
                self.assertTrue(verdict["ask"]["text"], name)
                self.assertTrue(verdict["fix"], name)

    def test_proof_exists(self):
        """Each finding has a proof, and each proof is in the evidence, once."""
        for name, answers in scenarios():
            found = document(answers)
            ids = [row["id"] for row in found["evidence"]]
            self.assertEqual(len(ids), len(set(ids)), name)
            for finding in found["targets"][0]["findings"]:
                self.assertTrue(finding["proof"], name)
                self.assertLessEqual(set(finding["proof"]), set(ids), name)

    def test_same_codes(self):
        """Text and JSON name the same codes, and the same verdict."""
        known = {code for r in netdiag.RULES.values() for code in r.codes}
        known |= set(netdiag.OTHER_CODES)
        for name, answers in scenarios():
            found = document(answers)["targets"][0]
            text = rendered(answers)
            section = text.partition("\nFINDINGS")[2].split("\n\n")[0]
            listed = set(re.findall(r"(?m)^  (?:fail|warn|info)\s+(\S+)", section))
            self.assertEqual(listed, codes_in(found["findings"]), name)
            self.assertIn(found["verdict"]["code"], text.splitlines()[1], name)
            self.assertLessEqual(listed, known | {found["verdict"]["code"]}, name)

    def test_cut_short(self):
        """complete is false when the run was cut short or interrupted."""
        answers = support.read_case("tcp/A timeout")
        for complete, wanted in ((True, True), (False, False), (None, False)):
            self.assertIs(document(answers, complete)["complete"], wanted)

    def test_several_targets(self):
        """One document, one row per target, evidence ids that do not collide."""
        reports = [make_report(answers) for _, answers in list(scenarios())[:5]]
        found = json.loads(support.rendered(reports, json=True))
        self.assertEqual(len(found["targets"]), 5)
        ids = [row["id"] for row in found["evidence"]]
        self.assertEqual(len(ids), len(set(ids)))
        for row in found["targets"]:
            for finding in row["findings"]:
                self.assertLessEqual(set(finding["proof"]), set(ids))

    def test_numbers_are_numbers(self):
        """No NaN, no infinity, no numbers in quotes where they are known."""
        def refuse(word):
            raise AssertionError(word)
        for name, answers in scenarios():
            json.loads(rendered(answers, json=True), parse_constant=refuse)


class ExitStatus(unittest.TestCase):
    """0 fine, 1 a fault, 3 undecided or cut short, 130 interrupted."""

    def status(self, *cases):
        """The status of reports out of (case, complete)."""
        return netdiag.exit_status([make_report(support.read_case(text), complete)
                                    for text, complete in cases])

    def test_statuses(self):
        """The worst of all targets counts, and an interrupt before all."""
        fine, fault, silent = ("tcp/A ok", True), ("tcp/A refused", True), ("target/A ok", True)
        for cases, wanted in (((fine,), 0), ((fault,), 1), ((silent,), 3), ((fine, fault), 1),
                              ((fine, silent), 3), ((fault, silent), 1),
                              ((("tcp/A ok", False),), 3), ((("tcp/A refused", False),), 1),
                              ((("tcp/A refused", None),), 130)):
            self.assertEqual(self.status(*cases), wanted, cases)

    def test_warnings_are_allowed(self):
        """A warning beside a working target is status 0."""
        case = ('target/N ok ; lookup/N ok ["192.0.2.1"] ; dns/R,A,N timeout ;'
                ' dns/S,A,N ok addresses=["192.0.2.1"] ; tcp/A ok')
        self.assertEqual(self.status((case, True)), 0)


if __name__ == "__main__":
    unittest.main()

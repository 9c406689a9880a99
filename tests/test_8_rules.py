"""Room 8: the cases in the rules' docstrings, and what must hold for all rules together."""

import copy
import itertools
import json
import random
import re
import unittest

import support

netdiag = support.load()
SEED = 20261121
ROUNDS = 400                    # combinations of cases in the property tests
PROTECTED = ("target",)         # without a target there is nothing to judge
# The first resolver is asked first; the last of several answers about one subject counts.
IN_ORDER = ("dns", "general_dns", "http", "redirects")
OTHER_MODES = re.compile(r"(arrivals|checks|report)/")     # never beside the probes of a target
# Of two resolvers that contradict each other one is gone: what the other says is all that is seen.
# A clear ClientHello that got further than the handshake tells another story than its alert alone;
# without its own addresses this host cannot know that an ICMP error is its own.
ACCEPTED = {("dns ok", "dns.not_found"), ("dns ok", "dns.no_address"), ("hello ok", "tls.version"),
            ("interfaces ok", "tcp.rejected")}


def found_by(rule, case):
    """The findings of one rule on one case, and what judge() says of crashes."""
    with support.only_rules(rule):
        _, findings, unjudged = netdiag.judge(support.read_case(case))
    return findings, [row for row in unjudged if "crashed" in row["why"]]


class Cases(unittest.TestCase):
    """Each rule fires where its docstring says so, and is quiet where it says so."""

    def check(self, kind):
        """All cases of one kind."""
        for case in support.all_cases():
            if case.kind != kind:
                continue
            with self.subTest(rule=case.rule, case=case.text):
                findings, crashed = found_by(case.rule, case.text)
                self.assertEqual(crashed, [])
                self.assertEqual(bool(findings), kind == "fires",
                                 [finding.summary for finding in findings])

    def test_fires(self):
        """`fires:` gives at least one finding of that very rule."""
        self.check("fires")

    def test_quiet(self):
        """`quiet:` gives none."""
        self.check("quiet")

    def test_whole_findings(self):
        """What fires has words without holes, places and a confidence of the contract, proof."""
        for case in support.all_cases():
            for finding in found_by(case.rule, case.text)[0] if case.kind == "fires" else ():
                with self.subTest(rule=case.rule, case=case.text):
                    self.check_finding(finding)

    def check_finding(self, finding):
        """One finding keeps the contract of section 2."""
        self.assertNotRegex(finding.code, "[{}]")
        self.assertIn(finding.severity, ("fail", "warn", "info"))
        self.assertIn(finding.confidence, netdiag.SURE)
        self.assertTrue(finding.suspects)
        self.assertLessEqual(set(finding.suspects), set(netdiag.PLACES))
        self.assertTrue(finding.proof)
        self.assertTrue(all(row.id for row in finding.proof))
        for words in [finding.summary] + finding.fix + [finding.ask]:
            self.assertNotRegex(words, r"\bNone\b|\{[a-z_]+\}")

    def test_cases_judged_by_all(self):
        """No case makes any rule crash."""
        for case in support.all_cases():
            with self.subTest(rule=case.rule, case=case.text):
                unjudged = netdiag.judge(support.read_case(case.text))[2]
                self.assertEqual([r for r in unjudged if "crashed" in r["why"]], [])


# -- combinations ----------------------------------------------------------------------------------

def combined(texts):
    """One set of answers out of several cases: the first target and answer of a subject stay."""
    rows = {}
    for text in texts:
        for row in support.read_case(text):
            key = (row.probe, "-" if row.probe == "target" else row.subject)
            rows.setdefault(key, row)
    modes = {row.value["mode"] for row in rows.values() if row.probe == "target"}
    scopes = {"server": ("server", "port"), "capture": ("capture", "closing")}.get(
        *modes, ("target",))                                               # one run has one mode
    return support.number(row for row in rows.values() if row.probe == "target"
                          or scope_of(row.probe) in ("host",) + scopes)


def scope_of(name):
    """When a probe runs; the flows are a view of what `capture` brings, and GIVEN is always there."""
    if name in netdiag.PROBES:
        return netdiag.PROBES[name].scope
    return "closing" if name == "flow" else "host"


def scenarios(rounds=ROUNDS, seed=SEED):
    """Seeded combinations: every single case, then cases two to four at a time."""
    texts = [case.text for case in support.all_cases()]
    for text in texts:
        yield combined([text])
    dice = random.Random(seed)
    texts = [text for text in texts if not OTHER_MODES.search(text)]
    for _ in range(rounds):
        yield combined(dice.sample(texts, dice.randint(2, 4)))


def shown(answers):
    """A scenario in the notation of the evidence, short enough for a message."""
    return " ; ".join("%s/%s %s" % (row.probe, row.subject.replace(" ", ","), row.outcome)
                      for row in answers)


def certain_fails(findings):
    """The codes that are said with certainty to be faults."""
    return {f.code for f in findings if f.severity == "fail" and f.confidence == "certain"}


def mentioned(findings):
    """The codes that a report names at all, explained consequences included."""
    return {f.code for f in findings} | {code for f in findings for code in f.consequences}


def possible(answers):
    """Could one run have given all these answers?  Cases drawn together may contradict."""
    table = support.as_table(answers)
    wish = table["target"][0].value
    named = table["lookup"] + table["dns"] + table["hosts_file"]
    open_ones = {row.subject for row in table["tcp"] if row.outcome == "ok"}
    talks = [row for name in ("tls", "http", "hello", "small", "peer", "sizes")
             for row in table[name]]
    broken = [row for row in table["route"] + table["egress"] if row.value["error"]]
    dead = [row for row in table["neighbor"] if row.value["state"] != "REACHABLE"]
    failed_tls = any(row.value["ended"] != "done" for row in table["tls"])
    return not (
        named and wish["literal"] or wish["host"] and not wish["literal"] and not table["lookup"]
        or open_ones and (broken or dead or table["knock"])
        or table["tcp"] and talks and not open_ones
        or failed_tls and any(row.value["status"] for row in table["http"])
        or "flow" in table and (table["tcp"] or talks))


def accusations():
    """(what was removed, what was added, scenario) where less evidence accuses more."""
    for answers in filter(possible, scenarios()):
        before = explained(mentioned(netdiag.judge(answers)[1]))
        for place, row in enumerate(answers):
            if row.probe in PROTECTED:
                continue
            rest = answers[:place] + answers[place + 1:]
            removed = "%s %s" % (row.probe, row.outcome)
            for code in sorted(certain_fails(netdiag.judge(rest)[1]) - before):
                if (removed, code) not in ACCEPTED:
                    yield removed, code, shown(answers)


# What the verbs of room 4 can say for a probe; the others say `ok` or `unknown`.
ANY = ("ok", "timeout", "refused", "unreachable", "denied")
OUTCOMES_OF = {name: ANY for name in (
    "knock tcp control_tcp other_ports dns general_dns udp tls peer hello small http transfer"
    " redirects tunnel").split()}
OUTCOMES_OF.update({name: ("ok", "denied") for name in (
    "ping trace_udp trace_tcp trace_icmp sizes retries resends").split()})
OUTCOMES_OF["lookup"] = ("ok", "refused", "timeout")
OUTCOMES_OF["route"] = OUTCOMES_OF["egress"] = ("ok", "unreachable")
SUBJECTS = {"dns": "192.0.2.53 A web.example", "general_dns": "192.0.2.53 A example.com",
            "lookup": "web.example", "hosts_file": "web.example", "clock": "self",
            "identity": "self", "marks": "self", "proxy_env": "self", "interfaces": "all",
            "interfaces_now": "all", "neighbors": "all", "counters": "all", "routes": "ipv4",
            "policy": "ipv4", "resolv_conf": "resolv.conf", "neighbor": "192.0.2.1 eth0",
            "segment": "192.0.2.1 eth0", "hello": "192.0.2.1 named", "sizes": "192.0.2.1 1500",
            "other_ports": "192.0.2.1 80",
            "tunnel": "192.0.2.8:3128", "redirects": "http://x.example/"}


def crashes(answers):
    """What judge() says of rules that crashed."""
    return [row for row in netdiag.judge(answers)[2] if "crashed" in row["why"]]


def shuffled(answers, dice):
    """All answers in another order; those of an IN_ORDER probe keep theirs among themselves."""
    mixed = list(answers)
    dice.shuffle(mixed)
    queues = {name: iter([row for row in answers if row.probe == name]) for name in IN_ORDER}
    return [next(queues[row.probe]) if row.probe in queues else row for row in mixed]


class Properties(unittest.TestCase):
    maxDiff = None
    """What holds for every set of answers."""

    def test_less_evidence_accuses_no_more(self):
        """Removing one answer never adds a certain fault that was not named before."""
        examples = {}
        for removed, code, scenario in accusations():
            examples.setdefault((code, removed), scenario)
        self.assertEqual([], ["%s appears without [%s], in: %s" % (code, removed, scenario)
                              for (code, removed), scenario in sorted(examples.items())])

    def test_order_of_probes(self):
        """The verdict does not depend on which probe answered first."""
        dice = random.Random(SEED)
        for answers in scenarios(80):
            names = [row.probe for row in answers]
            dice.shuffle(names)
            mixed = sorted(answers, key=lambda row: names.index(row.probe))
            self.assertEqual(netdiag.judge(answers)[0], netdiag.judge(mixed)[0], shown(answers))

    def test_order_of_answers(self):
        """The cause does not depend on which subject answered first (but see IN_ORDER)."""
        dice = random.Random(SEED)
        for answers in scenarios(80):
            mixed = shuffled(answers, dice)
            one, other = netdiag.judge(answers)[0], netdiag.judge(mixed)[0]
            self.assertEqual((one.code, one.confidence), (other.code, other.confidence),
                             shown(answers))

    def test_pure(self):
        """The same answers twice: the same result, and the answers are as they were."""
        for answers in scenarios(80):
            kept = copy.deepcopy(answers)
            first = netdiag.judge(answers)
            self.assertEqual(answers, kept)
            self.assertEqual(repr(first), repr(netdiag.judge(answers)))

    def test_unknown_is_not_judged(self):
        """An answer that is unknown says as much as one that is not there."""
        for answers in scenarios(60):
            for place, row in enumerate(answers):
                if row.probe in PROTECTED:
                    continue
                silent = row._replace(outcome="unknown", value=None)
                rest = answers[:place] + answers[place + 1:]
                without = netdiag.judge(rest)
                unknown = netdiag.judge(answers[:place] + [silent] + answers[place + 1:])
                self.assertEqual(repr(without[:2]), repr(unknown[:2]), shown(answers))

    def test_unknown_with_a_value(self):
        """Even a value beside `unknown` is never looked at."""
        for answers in scenarios(0):
            blind = [row if row.probe == "target" else row._replace(outcome="unknown")
                     for row in answers]
            verdict, findings, _ = netdiag.judge(blind)
            self.assertEqual(findings, [], shown(answers))
            self.assertIn(verdict.code, ("ok", "undecided"))

    def test_nothing_known_is_not_fine(self):
        """No evidence about a target is no reason to call it fine."""
        verdict = netdiag.judge(support.read_case("target/A ok"))[0]
        self.assertEqual(verdict.code, "undecided")

    def test_no_crash(self):
        """No combination makes a rule crash."""
        for answers in scenarios():
            crashed = [row for row in netdiag.judge(answers)[2] if "crashed" in row["why"]]
            self.assertEqual(crashed, [], shown(answers))

    def test_no_shape_crashes(self):
        """Rules bear every shape that room 4 brings: other outcomes, answers without a value."""
        dice, found = random.Random(SEED), {}
        for answers in scenarios():
            place = dice.randrange(len(answers))
            row = answers[place]
            for outcome in OUTCOMES_OF.get(row.probe, ("ok",)) if row.probe != "target" else ():
                other = list(answers)
                other[place] = row._replace(outcome=outcome, value=support.blank(
                    row.probe, outcome, row.subject))
                for crash in crashes(other):
                    found.setdefault((crash["question"], crash["why"]), "%s %s in: %s" % (
                        row.probe, outcome, shown(answers)))
        self.assertEqual(found, {})

    def test_all_probes_at_once(self):
        """An answer of every probe, in every outcome: no rule crashes."""
        dice, found = random.Random(SEED), set()
        for _ in range(200):
            rows = [support.read_case("target/%s ok" % dice.choice("AN"))[0]]
            for probe in netdiag.PROBES:
                subject = SUBJECTS.get(probe, "192.0.2.1")
                outcome = dice.choice(OUTCOMES_OF.get(probe, ("ok",)))
                rows.append(support.make_answer(probe, subject, outcome,
                                                support.blank(probe, outcome, subject)))
            found.update((crash["question"], crash["why"])
                         for crash in crashes(support.number(rows)))
        self.assertEqual(found, set())

    def test_verdict_is_a_finding(self):
        """The verdict is ok, undecided, or the code of a finding that is in the report."""
        for answers in scenarios():
            verdict, findings, _ = netdiag.judge(answers)
            codes = {finding.code for finding in findings}
            self.assertIn(verdict.code, codes | {"ok", "undecided"}, shown(answers))
            if any(finding.severity == "fail" for finding in findings):
                self.assertNotIn(verdict.code, ("ok", "undecided"), shown(answers))


def always_hidden():
    """{code: the codes that every rule of this code explains away}."""
    hides = {}
    for rule in netdiag.RULES.values():
        for code in rule.codes:
            hides[code] = hides.get(code, set(rule.hides)) & set(rule.hides)
    return hides


def explained(codes):
    """The codes, and all that these explain away in turn."""
    hides, found = always_hidden(), set()
    while not codes <= found:
        found |= codes
        codes = codes.union(*(hides.get(code, set()) for code in codes))
    return found


def concerns(cause, other):
    """Do two findings speak of the same address?"""
    return not cause.scope or not other.scope or set(cause.scope) & set(other.scope)


class Hiding(unittest.TestCase):
    """Causes stand before consequences."""

    def test_no_consequence_beside_its_cause(self):
        """What a cause explains is not a finding of its own any more."""
        hides = always_hidden()
        for answers in scenarios():
            findings = netdiag.judge(answers)[1]
            for cause, other in itertools.permutations(findings, 2):
                beside = (cause.severity == "fail" and other.severity == "fail"
                          and other.code in hides.get(cause.code, ())
                          and concerns(cause, other))
                self.assertFalse(beside, "%s beside its cause %s in: %s" % (
                    other.code, cause.code, shown(answers)))

    def test_nothing_vanishes(self):
        """What is hidden is named by a finding that still stands."""
        for answers in scenarios(60):
            findings = netdiag.judge(answers)[1]
            for rule in list(netdiag.RULES):
                with support.only_rules(rule):
                    alone = netdiag.judge(answers)[1]
                lost = {f.code for f in alone} - explained(mentioned(findings))
                self.assertEqual(lost, set(), "%s: %s" % (rule, shown(answers)))

    def test_twins(self):
        """One cause seen in two flows: neither hides the other, so that none would be left."""
        forged = "flow/A ok state=reset foreign_rst=[false,true] ttl=[64,60] rst_ttl=[null,62]"
        verdict = netdiag.judge(support.read_case(
            "target/- ok host=null mode=capture protocol=tcp ; %s ; %s" % (forged, forged)))[0]
        self.assertEqual(verdict.code, "tcp.reset")

    def test_known_causes(self):
        """Some pairs that the contract names: the cause is the verdict, the rest is explained."""
        for text, cause, consequence in (
                ("iface/eth0 up=false ; route/A ok error=ENETUNREACH ; tcp/A unreachable"
                 " errno=ENETUNREACH", "link.down", "route.missing"),
                ("egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED ; tcp/A timeout ;"
                 " trace_udp/A ok", "gateway.silent", "path.dead_end"),
                ("tls/A ok ended=stalled ; http/A ok status=null ended=silent",
                 "tls.handshake_stalled", "http.no_response")):
            verdict, findings, _ = netdiag.judge(support.read_case(text))
            self.assertEqual(verdict.code, cause, text)
            explained = [c for f in findings if f.code == cause for c in f.consequences]
            self.assertIn(consequence, explained, text)


# -- judgements that the contract of section 2 demands ---------------------------------------------

WORKS = "tcp/A ok"
VERDICTS = (
    # case, code, first suspect (None: not looked at)
    ("tcp/A refused icmp=3/3@A", "tcp.rejected", "server"),
    ("tcp/A refused icmp=3/13@G ; trace_udp/A ok"
     ' hops=[{"ttl":1,"address":"G","kind":"hop"},{"ttl":4,"address":"A","kind":"reply"}]',
     "tcp.rejected", "client_network"),
    ("tcp/A unreachable icmp=3/13@203.0.113.3 ; trace_udp/A ok"
     ' hops=[{"ttl":1,"address":"G","kind":"hop"},{"ttl":3,"address":"203.0.113.3","kind":"hop"},'
     '{"ttl":4,"address":"A","kind":"reply"}]', "tcp.rejected", "server_network"),
    ("iface/eth0 ; tcp/A denied immediate=true ; egress/A ok", "firewall.local", "client"),
    ("knock/A denied errno=EADDRNOTAVAIL", "host.exhausted", "client"),
    ("tcp/A ok ; http/A ok status=503", "http.gateway_error", "service"),
    ("tcp/A ok ; http/A ok status=404", "http.client_error", None),
    ("udp/A timeout ; target/A ok protocol=udp transport=udp", "udp.no_reply", None),
    ("tcp/A ok ; clock/self ok epoch=1000 ; tls/A ok ended=untrusted verify_code=9"
     " cert.not_before=1700000000", "clock.skewed", "client"),
    (WORKS, "ok", None),
    # The layer that was asked for could not be looked at: that is not fine.
    ("target/N ok protocol=https tls=true sni=web.example ; lookup/N ok [\"192.0.2.1\"] ;"
     " tcp/A ok ; tls/A unknown ; http/A unknown", "undecided", None),
    ("target/N ok protocol=http ; lookup/N ok [\"192.0.2.1\"] ; tcp/A ok ; http/A unknown",
     "undecided", None),
    ("target/N ok protocol=https ; through/N,via,P ok ; page/N,via,P ok status=502",
     "http.gateway_error", "service"),
    ("target/N ok protocol=https ; tcp/A ok ; tls/A ok ; http/A ok ; through/N,via,P ok ;"
     " page/N,via,P ok status=502", "http.gateway_error", "proxy"),
    ("target/A ok protocol=ssh greeting_s=4 ; tcp/A unknown ; knock/A ok", "undecided", None),
    ("tcp/A ok ; tls/A ok ; http/A ok ; clock/self ok epoch=1999999999", "ok", None),
)


class Verdicts(unittest.TestCase):
    """Scenarios whose verdict the contract fixes."""

    def test_verdicts(self):
        """Code and first suspect of each scenario."""
        for text, code, place in VERDICTS:
            with self.subTest(case=text):
                verdict = netdiag.judge(support.read_case(text))[0]
                self.assertEqual(verdict.code, code)
                if place:
                    self.assertEqual(verdict.suspects[0], place)

    def test_one_family_fails(self):
        """A family that fails beside one that opens is a warning: the verdict is ok, or about what
        the address that gets further meets."""
        for more, code in (("", "ok"), ("protocol=http ; http/A ok status=404", "http.client_error")):
            text = "target/N ok " + more + (' ; lookup/N ok ["192.0.2.1", "2001:db8::1"] ;'
                                            " tcp/A ok ; tcp/2001:db8::1 refused")
            verdict, findings, _ = netdiag.judge(support.read_case(text))
            self.assertEqual(verdict.code, code)
            self.assertIn(("tcp.refused", "warn"), [(f.code, f.severity) for f in findings])

    def test_warnings_do_not_stop(self):
        """A warning beside a working connection is not the verdict."""
        text = ('target/N ok ; lookup/N ok ["192.0.2.1"] ; dns/R,A,N timeout ;'
                ' dns/S,A,N ok addresses=["192.0.2.1"] ; tcp/A ok')
        verdict, findings, _ = netdiag.judge(support.read_case(text))
        self.assertEqual(verdict.code, "ok")
        self.assertIn("dns.slow", [f.code for f in findings])

    def test_one_failure_alone_is_not_certain(self):
        """Silence without any contrast is never said to be certain."""
        verdict = netdiag.judge(support.read_case("tcp/A timeout"))[0]
        self.assertNotEqual(verdict.confidence, "certain")

    def test_end_of_an_alias(self):
        """What does not exist, or has no address, is the name at the end of the CNAMEs."""
        def links(*names):
            return json.dumps([{"name": name, "type": "CNAME", "data": data}
                               for name, data in zip(names, names[1:])])
        web, b, c = "web.example", "b.example", "c.example"
        for chain, rcode, code, name in (
                (links(web, b, "C.example", c), "NXDOMAIN", "dns.not_found", c),
                (links(web, b), "NOERROR", "dns.no_address", b),
                (links(web, b, web), "NOERROR", "dns.no_address", b),
                (links(), "NXDOMAIN", "dns.not_found", None)):
            text = "lookup/N refused error=EAI_NONAME ; dns/R,A,N ok rcode=%s answers=%s" % (
                rcode, chain)
            verdict = netdiag.judge(support.read_case(text))[0]
            said = "%s (where the alias %s leads)" % (name, web) if name else web
            self.assertEqual(verdict.code, code)
            self.assertIn("The name %s " % said, verdict.summary)
    def test_rate_limit(self):
        """What a rate limit does is known by what vanishes while the client hangs."""
        case = ('port/80 client=192.0.2.10 watched_s=9 ; listener/0.0.0.0 ; iface/eth0 ; rules/nft '
                'ok bases=[{"backend":"nf_tables","family":"inet","table":"t","chain":"i","hook":'
                '"input","priority":0,"policy":"accept","chains":{"i":["limit rate over 1/second '
                'drop"]},"sets":{}}] ; grown//proc/net/snmp ok IpInReceives=9 IpInDelivers=%d'
                ' ; watch/tcp ok 80=%s')
        for delivered, seen, code, severity in (
                (3, '{"half_open":{"192.0.2.10":2}}', "firewall.local", "fail"),
                (3, '{"peers":{"192.0.2.10":1}}', "ok", "warn"),
                (9, '{"peers":{"192.0.2.10":1}}', "ok", "info")):
            verdict, findings, _ = netdiag.judge(support.read_case(case % (delivered, seen)))
            self.assertEqual((verdict.code, findings[0].code, findings[0].severity),
                             (code, "firewall.local", severity))

    def test_captures(self):
        """What a capture in which nothing failed shows, and that its words are true."""
        for flows, code, words in (
                ("state=reset ended_by=client bytes=[80,90]", "ok", "none failed"),
                ("state=reset ended_by=server bytes=[80,90]", "undecided", "whether it works"),
                ("state=reset ended_by=client bytes=[80,0]", "undecided", "whether it works"),
                ("state=partial ttl=[64,null] bytes=[80,0]", "undecided", "one direction"),
                ("state=opening ttl=[64,null]", "undecided", "whether it works"),
                ("state=closed ended_by=client bytes=[80,90] ; flow/A ok state=refused", "ok",
                 "warnings tell of others")):
            verdict = netdiag.judge(support.read_case(
                "target/- ok host=null mode=capture protocol=tcp ; capture/file ok ; flow/A ok "
                + flows))[0]
            self.assertEqual(verdict.code, code, flows)
            self.assertIn(words, verdict.summary)
        alone = ("target/- ok host=null mode=capture protocol=tcp ; flow/A ok state=silent syn=4"
                 " ttl=[64,null] ; flow/A ok bytes=[9,9] client=")
        for client, code in (("A", "path.dead_end"), ("192.0.2.77", "ok")):
            self.assertEqual(netdiag.judge(support.read_case(alone + client))[0].code, code)
        for more, words in (("", "could be read"), (' protocols={"ip":9,"tcp":9}', "cut before"),
                            (' protocols={"arp":9}', "whether it works")):
            verdict = netdiag.judge(support.read_case(
                "target/- ok host=null mode=capture protocol=tcp ; capture/file ok via=file"
                + more))[0]
            self.assertIn(words, verdict.summary)

    def test_hosts_file_is_the_cause(self):
        """The hosts file is the verdict when its address fails and the resolvers' works."""
        text = ('target/N ok ; lookup/N ok ["192.0.2.7"] ;'
                ' hosts_file/N ok [{"address":"192.0.2.7","names":["web.example"]}] ;'
                ' dns/R,A,N ok addresses=["192.0.2.8"] ; tcp/192.0.2.7 timeout ;'
                " control_tcp/192.0.2.8 ok")
        self.assertEqual(netdiag.judge(support.read_case(text))[0].code, "dns.hosts_override")


class Notation(unittest.TestCase):
    """The reader of the notation itself."""

    def rows(self, text):
        """{probe: (subject, outcome, value)} of a case."""
        return {r.probe: (r.subject, r.outcome, r.value) for r in support.read_case(text)}

    def test_names(self):
        """Short names stand for addresses; the A of a question is a record type."""
        rows = self.rows('dns/R,A,N timeout ; egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED')
        self.assertEqual(rows["dns"][0], "192.0.2.53 A web.example")
        self.assertEqual(rows["egress"][2]["via"], "198.51.100.1")
        self.assertEqual(rows["neighbor"][2]["ip"], "198.51.100.1")
        self.assertEqual(rows["target"][2]["host"], "web.example")

    def test_values(self):
        """Values are JSON where they parse as JSON, else plain words."""
        rows = self.rows('http/A ok status=null ended=silent ; icmp/x ok ; tcp/A refused'
                         ' icmp=3/1@G ms=3080')
        self.assertIsNone(rows["http"][2]["status"])
        self.assertEqual(rows["http"][2]["ended"], "silent")
        self.assertEqual(rows["tcp"][2]["icmp"][0]["from"], "198.51.100.1")
        self.assertEqual(rows["tcp"][2]["ms"], 3080)

    def test_blanks_in_json(self):
        """A JSON value may hold blanks."""
        rows = self.rows('hello/A,bare ok client_cert=["Some CA"] version=TLSv1')
        self.assertEqual(rows["hello"][2]["client_cert"], ["Some CA"])
        self.assertEqual(rows["hello"][2]["version"], "TLSv1")

    def test_interfaces(self):
        """Several iface/ rows are one answer."""
        rows = self.rows("iface/eth0 up=false ; iface/docker0 inet=[]")
        self.assertEqual([r["name"] for r in rows["interfaces"][2]["interfaces"]],
                         ["eth0", "docker0"])

    def test_nonsense(self):
        """What is no case is an error and no silent pass."""
        for text in ("tcp/A", "tcp/A perhaps", "tcp/A ok after", "lookup/N ok x=1"):
            with self.assertRaises(ValueError, msg=text):
                support.read_case(text)

    def test_every_probe_has_a_blank(self):
        """A new probe needs its unremarkable answer in tests/support.py."""
        self.assertEqual(set(netdiag.PROBES) - set(support.BLANKS), set())


if __name__ == "__main__":
    unittest.main()

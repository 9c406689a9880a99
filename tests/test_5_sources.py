"""Room 5: the fallback policy as a truth table.

Fall back while the question could not be asked (command missing, not permitted, output not
understood, a crash of ours); a timeout, a refusal or an ICMP error is an answer.
"""

import inspect
import itertools
import unittest

import support

netdiag = support.load()


def crash(raw):
    """A parser with a bug."""
    raise AttributeError("bug")


def not_mine(raw):
    """A parser that does not recognise the output."""
    raise netdiag.NotMine("strange")


# what a source does: (outcome and raw answer of the verb, parser, could the question be asked?)
BEHAVIOURS = {
    "ok": (("ok", "text"), None, True),
    "parsed": (("ok", "text"), str.upper, True),
    "timeout": (("timeout", None), None, True),
    "refused": (("refused", {"error": "ECONNREFUSED"}), None, True),
    "unreachable": (("unreachable", {"error": "EHOSTUNREACH"}), None, True),
    "missing": (("unknown", "ip: not installed"), None, False),
    "not permitted": (("denied", "raw sockets: EPERM"), None, False),
    "not understood": (("ok", "text"), not_mine, False),
    "crash": (("ok", "text"), crash, False),
}


def put(*names):
    """Ask one question with sources that behave so -> (answer, the system)."""
    verbs = {"verb%d" % n: BEHAVIOURS[name][0] for n, name in enumerate(names)}
    system = support.FakeSystem(**verbs)
    sources = [netdiag.native("verb%d" % n, n, parse=BEHAVIOURS[name][1])
               for n, name in enumerate(names)]
    return netdiag.answer("probe", netdiag.ask("subject", *sources), system, None), system


class Policy(unittest.TestCase):
    """One policy, in one place."""

    def test_truth_table(self):
        """All pairs and triples: each source is asked only while none before it could be."""
        for count in (1, 2, 3):
            for names in itertools.product(sorted(BEHAVIOURS), repeat=count):
                with self.subTest(sources=names):
                    self.check(names)

    def check(self, names):
        """One row of the table."""
        answered = [n for n, name in enumerate(names) if BEHAVIOURS[name][2]]
        wanted = answered[0] + 1 if answered else len(names)
        row, system = put(*names)
        self.assertEqual([verb for verb, _ in system.calls],
                         ["verb%d" % n for n in range(wanted)])
        self.assertEqual(len(row.tried), wanted - 1 if answered else wanted)
        if answered:
            self.assertEqual(row.outcome, BEHAVIOURS[names[answered[0]]][0][0])
            self.assertEqual(row.via, "verb%d" % answered[0])
        else:
            self.assertIn(row.outcome, ("unknown", "denied"))
            self.assertIsNone(row.value)

    def test_value(self):
        """The value is what the parser made of the answer."""
        self.assertEqual(put("ok")[0].value, "text")
        self.assertEqual(put("missing", "parsed")[0].value, "TEXT")

    def test_not_understood_is_unknown(self):
        """Strange output never becomes an answer, and the report can say why."""
        row = put("not understood")[0]
        self.assertEqual((row.outcome, row.value), ("unknown", None))
        self.assertIn("strange", row.tried[0][1])

    def test_crash_is_a_line(self):
        """A bug in a parser is a line in the report."""
        row = put("crash")[0]
        self.assertEqual(row.outcome, "unknown")
        self.assertIn("bug", row.tried[0][1])

    def test_denied_with_facts(self):
        """EPERM on a connection is what was seen there: the facts stay."""
        system = support.FakeSystem(knock=("denied", {"errno": "EPERM"}))
        row = netdiag.answer("knock", netdiag.ask("a", netdiag.native("knock", "a", 1)), system,
                             None)
        self.assertEqual((row.outcome, row.value), ("denied", {"errno": "EPERM"}))

    def test_tried_is_printable(self):
        """What a broken command printed cannot reach the terminal raw."""
        system = support.FakeSystem(run=("unknown", "\x1b[31mred\n"))
        row = netdiag.answer("p", netdiag.ask("s", netdiag.tool(str, "ip")), system, None)
        self.assertRegex(row.tried[0][1], r"\A[ -~]*\Z")

    def test_unparsed_text_is_no_value(self):
        """A command that was killed leaves no half output as the value of its answer."""
        system = support.FakeSystem(run=("timeout", "half of a li"))
        row = netdiag.answer("ping", netdiag.ask("a", netdiag.tool(netdiag.parse_ping, "ping")),
                             system, None)
        self.assertNotIsInstance(row.value, str)

    def test_nothing_to_ask(self):
        """A question without any source is unknown."""
        row = netdiag.answer("p", netdiag.ask("s"), support.FakeSystem(), None)
        self.assertEqual((row.outcome, row.value), ("unknown", None))


class Kinds(unittest.TestCase):
    """The ways to ask are plain data."""

    def test_via(self):
        """A tool is named by its command, the others by their verb."""
        for source, via in ((netdiag.tool(str, "ip", "addr"), "ip"),
                            (netdiag.text_file(str, "/proc/x"), "read"),
                            (netdiag.native("clock"), "clock")):
            system = support.FakeSystem(**{source.verb: ("ok", "x")})
            row = netdiag.answer("p", netdiag.ask("s", source), system, None)
            self.assertEqual((row.outcome, row.via), ("ok", via))

    def test_timeout_goes_down(self):
        """--timeout reaches the verbs that wait; without it the verb's own default holds."""
        seen = []

        def told(*_, **named):
            seen.append(named)
            return "ok", {}
        for timeout_s in (None, 1.5):
            for verb in ("echo", "clock"):
                netdiag.answer("p", netdiag.ask("s", netdiag.native(verb)),
                               support.FakeSystem(**{verb: told}), timeout_s)
        self.assertEqual(seen, [{}, {}, {"timeout_s": 1.5}, {}])

    def test_every_talk_takes_a_timeout(self):
        """Every verb that a probe uses exists in room 4; --timeout limits those that talk."""
        verbs = {source.verb for question in all_questions() for source in question.sources}
        self.assertLessEqual(TALKS & verbs, {verb for verb in verbs if "timeout_s" in
                             inspect.signature(getattr(netdiag.System, verb)).parameters})
        self.assertGreater(len(TALKS & verbs), 8)

    def test_arguments_fit_their_verbs(self):
        """What probes hand to a verb are arguments that it takes."""
        for question in all_questions():
            for source in question.sources:
                verb = inspect.signature(getattr(netdiag.System, source.verb))
                verb.bind(None, *source.args, **source.named)

    def test_no_shell(self):
        """Commands are lists of words, and none of them is a shell."""
        for question in all_questions():
            for source in question.sources:
                if source.verb == "run":
                    argv = source.args[0]
                    self.assertIsInstance(argv, list)
                    self.assertTrue(all(isinstance(word, str) for word in argv))
                    self.assertNotIn(argv[0], ("sh", "bash", "sudo", "su", "env"))

    def test_interface_names(self):
        """Netlink's interface indexes become names."""
        source = netdiag.kernel(lambda messages: {"routes": [{"dev_index": 2}, {"dev_index": 9}]})
        value = source.parse({"messages": [], "names": {2: "eth0"}})
        self.assertEqual([row["dev"] for row in value["routes"]], ["eth0", None])


LIVELY = (
    'target/N ok protocol=https tls=true sni=web.example path=/ proxy=http://192.0.2.8:3128 ;'
    ' lookup/N ok ["192.0.2.1","192.0.2.7","2001:db8::1"] ; resolv_conf/resolv.conf ok'
    ' nameservers=["127.0.0.53","192.0.2.53"] ; route/A ok via=G ; egress/A ok via=G ;'
    " iface/eth0 ; tcp/A ok ; tcp/192.0.2.7 timeout ; tcp/2001:db8::1 refused ; knock/A ok ;"
    " knock/192.0.2.7 timeout ; knock/2001:db8::1 refused ; dns/R,A,N timeout ;"
    " tls/A ok ended=untrusted ; http/A ok status=302 location=/b ; udp/A ok ;"
    ' hosts_file/N ok [{"address":"192.0.2.9","names":["web.example"]}] ;'
    ' trace_udp/2001:db8::1 ok hops=[{"ttl":3,"address":"2001:db8::1","kind":"reply",'
    '"from_ttl":62}] ; sizes/A,1500 ok answered=false ; sizes/A,576 ok size=576'
    " ; control_tcp/192.0.2.8 ok")
TALKS = set("run netlink resolve query echo datagram knock tls hello http fetch tunnel socks page"
            " through ssh_keys exchange".split())
QUIET = ("target/A ok protocol=dns transport=udp port=53", "target/- ok host=null mode=host",
         "target/N ok ; lookup/N timeout ; dns/R,A,N ok addresses=[\"192.0.2.7\"]")


def all_questions():
    """The questions of all probes in several situations."""
    for case in (LIVELY,) + QUIET:
        for name in netdiag.PROBES:
            yield from support.questions(name, case)


if __name__ == "__main__":
    unittest.main()

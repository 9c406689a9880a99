"""Room 7: gathering in order and in time, look-ups over answers, and the notation of evidence."""

import json
import threading
import time
import unittest

import support

netdiag = support.load()


class Clocked(support.FakeSystem):
    """A fake machine with a real clock; `interrupt` stands for Ctrl-C in the main thread."""

    interrupt = None

    def monotonic(self):
        """Real time, or the interrupt once it is wanted."""
        if self.interrupt and self.interrupt.is_set() \
                and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return time.monotonic()


def probe(name, needs=(), optional=(), verb="clock", subjects=("self",), function=None):
    """A probe that asks one verb about some subjects."""
    def ask(**_):
        for subject in subjects:
            yield netdiag.ask(subject, netdiag.native(verb, name, subject))
    return netdiag.Probe(name, function or ask, tuple(needs), tuple(optional), "target", False)


def gather(items, system=None, known=None, seconds=10.0, **changes):
    """Gather with a fake machine that answers everything at once."""
    system = system or Clocked(clock=("ok", {}))
    return netdiag.gather(items, known or {}, system, support.options(**changes),
                          time.monotonic() + seconds)


def outcomes(done):
    """{probe: [outcomes]}."""
    return {name: [row.outcome for row in rows] for name, rows in done.items()}


class Order(unittest.TestCase):
    """Needs first, the rest side by side."""

    def test_needs_come_first(self):
        """A probe runs when those that it needs have answered, and gets their answers."""
        seen = {}

        def last(first, second):
            seen["rows"] = first + second
            yield netdiag.ask("self", netdiag.native("clock", "last", "self"))
        system = Clocked(clock=("ok", {"x": 1}))
        done, complete = gather([probe("last", ("first", "second"), function=last),
                                 probe("second", ("first",)), probe("first")], system)
        self.assertTrue(complete)
        self.assertEqual([args[0] for _, args in system.calls], ["first", "second", "last"])
        self.assertEqual([row.probe for row in seen["rows"]], ["first", "second"])
        self.assertEqual(done["last"][0].value, {"x": 1})

    def test_known_answers(self):
        """What is known already is handed on and not asked again."""
        row = support.make_answer("first", "self", "ok", 7)
        system = Clocked(clock=("ok", {}))
        done, _ = gather([probe("second", ("first",))], system, {"first": [row]})
        self.assertEqual((done["first"], len(system.calls)), ([row], 1))

    def test_side_by_side(self):
        """Probes that do not need each other run at the same time; so do their questions."""
        barrier = threading.Barrier(4)

        def clock(*_):
            barrier.wait(10)
            return "ok", {}
        done, complete = gather([probe("one", subjects=("a", "b")), probe("two", subjects="cd")],
                                Clocked(clock=clock))
        self.assertTrue(complete)
        self.assertEqual(outcomes(done), {"one": ["ok", "ok"], "two": ["ok", "ok"]})
        self.assertEqual([row.subject for row in done["two"]], ["c", "d"])

    def test_no_circles(self):
        """The needs of all probes can be put in an order."""
        waiting = {name: set(item.needs) - {"wish"} for name, item in netdiag.PROBES.items()}
        while waiting:
            ready = [name for name, needs in waiting.items() if not needs & set(waiting)]
            self.assertTrue(ready, "a circle among %s" % sorted(waiting))
            for name in ready:
                del waiting[name]

    def test_every_need_is_a_probe(self):
        """A need that nobody answers would never let its probe run."""
        for name, item in netdiag.PROBES.items():
            self.assertLessEqual(set(item.needs) | set(item.optional),
                                 set(netdiag.PROBES) | {"wish"}, name)

    def test_rules_look_at_what_there_is(self):
        """A rule, and a view, looks at answers of probes that exist, or at views."""
        known = set(netdiag.PROBES) | set(netdiag.VIEWS) | set(netdiag.GIVEN)
        self.assertEqual(set(netdiag.PROBES) & set(netdiag.VIEWS), set())
        for rule in netdiag.RULES.values():
            self.assertLessEqual(set(rule.sees) | {rule.each or "target"}, known, rule.name)
        for name, function in netdiag.VIEWS.items():
            self.assertLessEqual(set(netdiag.parameters(function)), known, name)

    def test_views_are_used(self):
        """Every view is looked at by a rule, another view or the verdict."""
        seen = {"tunnels", "goals", "environment"}           # by judge() itself
        for rule in netdiag.RULES.values():
            seen.update(rule.sees, [rule.each])
        for function in netdiag.VIEWS.values():
            seen.update(netdiag.parameters(function))
        self.assertEqual(set(netdiag.VIEWS) - seen, set())

    def test_circle_ends(self):
        """Even a circle does not hang: its probes are unknown."""
        done, _ = gather([probe("one", ("two",)), probe("two", ("one",)), probe("three")])
        self.assertEqual(outcomes(done), {"one": ["unknown"], "two": ["unknown"],
                                          "three": ["ok"]})


class Trouble(unittest.TestCase):
    """Deadlines, crashes and Ctrl-C."""

    def test_deadline(self):
        """At the deadline what has not answered is unknown; what has answered stays."""
        release = threading.Event()

        def clock(name, _):
            if name == "slow":
                release.wait(20)
            return "ok", {}
        began = time.monotonic()
        done, complete = gather([probe("slow"), probe("quick"), probe("after", ("slow",))],
                                Clocked(clock=clock), seconds=0.4)
        self.assertLess(time.monotonic() - began, 4)
        release.set()
        self.assertIs(complete, False)
        self.assertEqual(outcomes(done), {"slow": ["unknown"], "quick": ["ok"],
                                          "after": ["unknown"]})
        self.assertIn("cut short", str(done["slow"][0].tried))

    def test_crash_becomes_a_line(self):
        """A broken probe is one line; the others answer, and so do those that need it."""
        def broken():
            raise KeyError("bug")
            yield
        done, complete = gather([probe("broken", function=broken), probe("fine"),
                                 probe("after", ("broken",))])
        self.assertTrue(complete)
        self.assertEqual(outcomes(done), {"broken": ["unknown"], "fine": ["ok"], "after": ["ok"]})
        self.assertIn("bug", str(done["broken"][0].tried))

    def test_crash_is_reported(self):
        """The report lists it under what was not tested."""
        row = support.make_answer("tcp", "-", "unknown", None)._replace(
            tried=(("", "crashed: KeyError: 'bug'"),))
        unjudged = netdiag.judge(support.read_case("target/A ok") + [row])[2]
        self.assertIn("bug", str(unjudged))

    def test_crash_in_a_verb(self):
        """A crash of room 4 is a line as well."""
        def clock(*_):
            raise ZeroDivisionError("bug")
        done, _ = gather([probe("one")], Clocked(clock=clock))
        self.assertEqual(outcomes(done), {"one": ["unknown"]})
        self.assertIn("bug", str(done["one"][0].tried))

    def test_interrupt(self):
        """Ctrl-C ends the gathering; what has answered stays."""
        begun, release = threading.Event(), threading.Event()

        def clock(name, _):
            if name == "slow":
                begun.set()
                release.wait(20)
            return "ok", {}
        system = Clocked(clock=clock)
        system.interrupt = begun
        done, complete = gather([probe("quick"), probe("slow", ("quick",))], system)
        release.set()
        self.assertIsNone(complete)
        self.assertEqual(outcomes(done), {"quick": ["ok"], "slow": ["unknown"]})

    def test_endless_steps(self):
        """A probe that never stops asking is stopped."""
        def endless():
            while True:
                yield [netdiag.ask("self", netdiag.native("clock", "x", "y"))]
        item = probe("endless", function=endless)._replace(steps=True)
        done, complete = gather([item], seconds=20)
        self.assertTrue(complete)
        self.assertLess(len(done["endless"]), 1000)


class Choice(unittest.TestCase):
    """--only and --skip."""

    def names(self, **changes):
        """The probes that are asked in a run for a closed port."""
        system = Clocked(knock=("refused", {"state": "error", "errno": "ECONNREFUSED", "ms": 0,
                                            "immediate": False}),
                         settle=("refused", support.blank("tcp", "refused", "192.0.2.1")))
        wish = support.read_case("target/A ok")
        done, _ = gather(netdiag.PROBES.values(), system, {"target": wish}, 20, **changes)
        return {name for name, rows in done.items()
                if any("switched off" not in str(row.tried) for row in rows)}

    def test_everything(self):
        """Without a choice nothing is switched off."""
        self.assertLessEqual({"knock", "tcp", "ping", "route", "trace_tcp"}, self.names())

    def test_skip(self):
        """What is skipped is not asked; the rest goes on."""
        names = self.names(skip=("ping", "trace_tcp"))
        self.assertFalse(names & {"ping", "trace_tcp"})
        self.assertLessEqual({"knock", "tcp", "route"}, names)

    def test_only(self):
        """--only tcp asks about the connection, and so also what that needs; nothing more."""
        names = self.names(only=("tcp",))
        self.assertLessEqual({"tcp", "knock"}, names)
        self.assertFalse(names & {"ping", "trace_udp", "trace_tcp", "other_ports", "sizes"})

    def test_switched_off_is_no_complaint(self):
        """What the user left out is not a question that could not be asked."""
        row = support.make_answer("ping", "-", "unknown", None)._replace(
            tried=(("", "switched off"),))
        self.assertNotIn("switched off", str(netdiag.judge(
            support.read_case("target/A ok") + [row])[2]))


# -- save and load ---------------------------------------------------------------------------------

ODD_VALUES = (
    None, [], {}, 0, 1.5, True, "word", "two words", [1, 2], ["a b", "c"], [{"a": 1}],
    [{"a": 1}, {"b": [2, {"c": None}]}], {"a": {"b": {"c": []}}}, [[], {}], {"k": "x {y} [z]"},
    {"text": "quote \" back \\ line\n"}, {u"\u30cd": u"\u30c3\x1b\x00"}, [None], {"a": 'x ; y'},
    [{"address": "192.0.2.7", "names": ["a", "b"]}, {"address": "::1", "names": []}])


class Notation(unittest.TestCase):
    """Evidence saved as lines comes back equal."""

    def round_trip(self, row):
        """Save and load one answer."""
        line, = netdiag.evidence_lines([row])
        self.assertNotIn("\n", line)
        self.assertRegex(line, r"\A[ -~]+\Z")
        return support.read_evidence(line)

    def test_values(self):
        """Any JSON value."""
        for value in ODD_VALUES:
            with self.subTest(value=value):
                row = self.round_trip(netdiag.Answer("tcp", "a b", "ok", value))
                self.assertEqual(row[:4], ("tcp", "a b", "ok", value))

    def test_outcomes(self):
        """Every outcome word, with and without a value."""
        for outcome in netdiag.OUTCOMES:
            for value in (None, {"a": 1}):
                row = self.round_trip(netdiag.Answer("tcp", "a", outcome, value))
                self.assertEqual((row.outcome, row.value), (outcome, value))

    def test_subjects(self):
        """Addresses, names, URLs with slashes and commas, blanks."""
        for subject in ("192.0.2.1", "2001:db8::1%eth0", "192.0.2.1 80", "-", "a A b.example",
                        "http://x.example/a/b?***", "http://x.example/a,b", "this host"):
            with self.subTest(subject=subject):
                row = self.round_trip(netdiag.Answer("redirects", subject, "ok", {"a": 1}))
                self.assertEqual(row.subject, subject)

    def test_cases(self):
        """Every answer of every rule's case."""
        for case in support.all_cases():
            for row in support.read_case(case.text):
                with self.subTest(rule=case.rule, answer=row.probe):
                    self.assertEqual(self.round_trip(row)[:4], row[:4])

    def test_verdict_after_load(self):
        """Judging what was loaded gives what judging what was seen gave."""
        for case in support.all_cases():
            answers = support.read_case(case.text)
            with self.subTest(rule=case.rule):
                loaded = support.number([self.round_trip(row)._replace(ms=row.ms)
                                         for row in answers])
                self.assertEqual(netdiag.judge(loaded)[0], netdiag.judge(answers)[0])

    def test_real_values_are_json(self):
        """What room 4 brings where a connection fails is JSON as it is: no bytes in it."""
        port, system = support.closed_port(), netdiag.System(support.options())
        here = "127.0.0.1"
        for verb, args in (("tls", (here, port, None)), ("hello", (here, port, None)),
                           ("http", (here, port, False, None, b"x")),
                           ("fetch", ("http://%s:%d/" % (here, port),)),
                           ("tunnel", (support.proxy_at(here, port), "web.example", 443)),
                           ("knock", (here, port)), ("settle", (here, port, 0.1))):
            with self.subTest(verb=verb):
                question = netdiag.ask("s", netdiag.native(verb, *args))
                row = netdiag.answer("p", question, system, None)
                self.assertEqual(row.outcome, "refused")
                json.dumps(row.value)
        system.close()


class Numbers(unittest.TestCase):
    """Answers are numbered in the order of the probes."""

    def test_ids(self):
        """Ids are unique, and the target comes first."""
        done = {"tcp": support.read_case("tcp/A ok")[1:],
                "ping": support.read_case("ping/A ok")[1:],
                "target": support.read_case("target/A ok")}
        rows = netdiag.number_answers(done)
        self.assertEqual(rows[0].probe, "target")
        self.assertEqual(len({row.id for row in rows}), 3)


# -- the path and its places -----------------------------------------------------------------------

def trace(*routers, **named):
    """A trace to A through these routers (None: silent); end= says how it ended."""
    hops = [{"ttl": ttl, "address": router, "kind": "hop"}
            for ttl, router in enumerate(routers, 1) if router]
    if named.get("end"):
        hops.append({"ttl": len(routers) + 1, "address": "192.0.2.1", "kind": named["end"]})
    value = dict(support.TRACE, hops=hops, mode=named.get("mode", "udp"))
    return support.make_answer("trace_udp", "192.0.2.1", "ok", value)


class Places(unittest.TestCase):
    """Where a hop is (section 2 of the contract)."""

    def test_place_of(self):
        """Hop 1 is the client's network, the last before the target the server's."""
        for ttl, far, places in (
                (0, 5, ["client"]), (1, 5, ["client_network"]), (2, 5, ["transit"]),
                (3, 5, ["transit"]), (4, 5, ["server_network"]), (5, 5, ["server"]),
                (1, 3, ["client_network"]), (2, 3, ["server_network"])):
            self.assertEqual(netdiag.place_of(ttl, far)[:1], places, (ttl, far))

    def test_one_router_is_both(self):
        """With one router only, it is the client's network and the server's."""
        self.assertEqual(set(netdiag.place_of(1, 2)), {"client_network", "server_network"})

    def test_distance(self):
        """The target is as far as its first own answer."""
        for end, far in (("reply", 3), ("open", 3), (None, None)):
            self.assertEqual(netdiag.distance([trace("10.0.0.1", "10.0.0.2", end=end)],
                                              "192.0.2.1"), far)
        self.assertEqual(netdiag.distance([trace(end="reply")], "192.0.2.9"), None)

    def test_hop_table(self):
        """Routers of all traces to one address; the target is none of them."""
        traces = [trace("10.0.0.1", None, "10.0.0.3"), trace("10.0.0.1", "10.0.0.2", end="reply")]
        self.assertEqual(netdiag.hop_table(traces, "192.0.2.1"),
                         {1: "10.0.0.1", 2: "10.0.0.2", 3: "10.0.0.3"})
        self.assertEqual(netdiag.last_hop(traces, "192.0.2.1"), 3)
        self.assertEqual(netdiag.last_hop([], "192.0.2.1"), 0)

    def test_senders(self):
        """Who sent an ICMP error says where it is."""
        traces = [trace("10.0.0.1", "10.0.0.2", "10.0.0.3", end="reply")]
        for sender, place in (("10.0.0.1", "client_network"), ("10.0.0.2", "transit"),
                              ("10.0.0.3", "server_network"), ("192.0.2.1", "server"),
                              ("198.51.100.9", "client")):
            found = netdiag.sender_places(sender, "192.0.2.1", traces, {"198.51.100.9"})
            self.assertEqual(found[0], place, sender)

    def test_path(self):
        """The path of the report: silent hops too, the target last."""
        answers = [trace("10.0.0.1", None, "10.0.0.3", end="reply")]
        rows = netdiag.path_of(answers)
        self.assertEqual([row["ttl"] for row in rows], [1, 2, 3, 4])
        self.assertEqual([row["address"] for row in rows],
                         ["10.0.0.1", None, "10.0.0.3", "192.0.2.1"])
        self.assertEqual([row["place"] for row in rows],
                         ["client_network", "transit", "server_network", "server"])

    def test_path_ends_with_who_says_no(self):
        """A router that says no, and not that the TTL ran out, is the last hop."""
        row = trace("10.0.0.1")
        no = {"ttl": 2, "address": "10.0.0.2", "kind": "icmp", "type": 3, "code": 0}
        rows = netdiag.path_of([row._replace(value=dict(row.value, end=no))])
        self.assertEqual([row["address"] for row in rows], ["10.0.0.1", "10.0.0.2"])

    def test_path_of_a_loop(self):
        """In a loop a router stays in the place where it was met first."""
        rows = netdiag.path_of([trace("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2")])
        self.assertEqual([row["place"] for row in rows],
                         ["client_network", "transit", "client_network", "transit"])


if __name__ == "__main__":
    unittest.main()

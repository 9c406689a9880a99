"""Room 6: given these answers, these questions are asked (values compared, nothing is sent)."""

import unittest

import support

netdiag = support.load()
V6 = "2001:db8::1"


def asked(name, case, reply=None):
    """[(subject, verb, arguments)] of a probe: the first way to ask each question."""
    return [(question.subject, question.sources[0].verb, question.sources[0].args)
            for question in support.questions(name, case, reply)]


class Registry(unittest.TestCase):
    """The probes as data."""

    def test_needs_are_probes(self):
        """Every need, wanted or optional, is a probe (or what was asked for)."""
        for item in netdiag.PROBES.values():
            for need in list(item.needs) + list(item.optional):
                self.assertIn(need, list(netdiag.PROBES) + ["wish"], item.name)

    def test_names(self):
        """Each probe has a name, a sentence about itself, and a scope."""
        for name, item in netdiag.PROBES.items():
            self.assertEqual(item.function.__name__, "probe_" + name)
            self.assertTrue((item.function.__doc__ or "").strip(), name)
            self.assertIn(item.scope, ("host", "target", "server", "port", "capture", "closing"))

    def test_host_probes_need_no_target(self):
        """What is asked once for this host cannot depend on a target."""
        for item in netdiag.PROBES.values():
            if item.scope == "host":
                for need in item.needs:
                    self.assertEqual(netdiag.PROBES[need].scope, "host", item.name)

    def test_nothing_known(self):
        """With a target and no answer at all every probe still only asks or stays quiet."""
        for target in ("target/A ok", "target/N ok", "target/- ok host=null mode=host",
                       "target/A ok transport=udp protocol=dns port=53",
                       "target/N ok protocol=https tls=true"):
            for name in netdiag.PROBES:
                with self.subTest(probe=name, target=target):
                    for question in support.questions(name, target):
                        self.assertTrue(question.subject)
                        self.assertTrue(question.sources)

    def test_every_way_is_a_verb(self):
        """Each source names a verb of room 4."""
        for name in netdiag.PROBES:
            for question in support.questions(name, "target/N ok"):
                for source in question.sources:
                    self.assertTrue(hasattr(netdiag.System, source.verb), source.verb)


class Names(unittest.TestCase):
    """Look-ups are asked for names only."""

    def test_lookup(self):
        """A name is looked up, in the wanted family; a literal is not."""
        self.assertEqual(asked("lookup", "target/N ok family=6"),
                         [("web.example", "resolve", ("web.example", 6))])
        for case in ("target/A ok", "target/- ok host=null mode=host", "target/N ok connect_to=192.0.2.9"):
            self.assertEqual(asked("lookup", case), [], case)

    def test_resolvers_directly(self):
        """Every configured resolver, both record types, past the stub."""
        rows = asked("dns", 'target/N ok ; resolv_conf/resolv.conf ok nameservers=["R","S"]')
        self.assertEqual([row[0] for row in rows], [
            "192.0.2.53 A web.example", "192.0.2.53 AAAA web.example",
            "192.0.2.54 A web.example", "192.0.2.54 AAAA web.example"])
        self.assertEqual(rows[0][1:], ("query", ("192.0.2.53", "web.example", "A")))

    def test_three_resolvers_at_most(self):
        """As many as glibc asks; what is no address is not asked."""
        rows = asked("dns", "target/N ok ; resolv_conf/resolv.conf ok nameservers="
                     '["192.0.2.1","bad","192.0.2.2","192.0.2.3","192.0.2.4"]')
        self.assertEqual({row[0].split()[0] for row in rows},
                         {"192.0.2.1", "192.0.2.2", "192.0.2.3"})

    def test_search_list(self):
        """A short name is asked for with the search list, in the resolver's order."""
        rows = asked("dns", 'target/N ok host=web ; resolv_conf/resolv.conf ok'
                     ' search=["corp.example","lab.example"]')
        names = [row[2][1] for row in rows if row[2][2] == "A"]
        self.assertEqual(names, ["web.corp.example", "web.lab.example", "web"])

    def test_no_resolver_for_a_literal(self):
        """Nobody is asked about an address."""
        case = "target/A ok ; resolv_conf/resolv.conf ok"
        self.assertEqual(asked("dns", case) + asked("hosts_file", case), [])

    def test_no_third_party(self):
        """Only the configured resolvers are asked, in every situation."""
        for case in ("target/N ok ; resolv_conf/resolv.conf ok nameservers=[]",
                     "target/N ok", "target/- ok host=null mode=host"):
            self.assertEqual(asked("dns", case) + asked("general_dns", case), [], case)

    def test_general_name(self):
        """One general name, only where this host's resolvers are in doubt."""
        conf = " ; resolv_conf/resolv.conf ok"
        rows = asked("general_dns", "target/N ok ; dns/R,A,N ok rcode=SERVFAIL" + conf)
        self.assertEqual([row[0] for row in rows],
                         ["192.0.2.53 A " + netdiag.GENERAL_NAME])
        self.assertEqual(asked("general_dns", "target/N ok ; dns/R,A,N ok" + conf), [])


class Way(unittest.TestCase):
    """Routes and neighbours of the very addresses that matter."""

    def test_route_of_the_target(self):
        """The decision for each address, from the wanted source."""
        rows = asked("route", 'target/N ok source=192.0.2.9 ; lookup/N ok ["192.0.2.1","%s"] ;'
                     " resolv_conf/resolv.conf ok" % V6)
        self.assertEqual([row[0] for row in rows], ["192.0.2.1", V6])
        self.assertEqual(rows[0][2][0],
                         ["ip", "route", "get", "192.0.2.1", "from", "192.0.2.9"])

    def test_route_of_the_resolvers(self):
        """Without an address of the target the way to the resolvers is looked at."""
        rows = asked("route", "target/N ok ; lookup/N refused ; resolv_conf/resolv.conf ok")
        self.assertEqual([row[0] for row in rows], ["192.0.2.53"])

    def test_routes_without_commands(self):
        """Each question about the way has a fallback that needs no command."""
        for name, case in (("route", "target/A ok ; resolv_conf/resolv.conf ok"),
                           ("egress", "route/A ok via=G"), ("interfaces", "target/A ok"),
                           ("neighbor", "egress/A ok via=G ; tcp/A timeout"),
                           ("ping", "target/A ok ; egress/A ok"),
                           ("trace_udp", "target/A ok ; knock/A timeout")):
            for question in support.questions(name, case):
                verbs = [source.verb for source in question.sources]
                self.assertTrue(set(verbs) - {"run"}, name)

    def test_egress(self):
        """Asked again with the source that the kernel chose, where there is a way at all."""
        rows = asked("egress", "route/A ok src=192.0.2.9")
        self.assertIn("192.0.2.9", rows[0][2][0])
        self.assertEqual(asked("egress", "route/A ok error=ENETUNREACH src=null"), [])

    def test_neighbor(self):
        """The gateway's state behind a gateway, the target's own on the segment."""
        for case, subject in (("egress/A ok via=G ; tcp/A timeout", "198.51.100.1 eth0"),
                              ("egress/A ok ; tcp/A timeout", "192.0.2.1 eth0")):
            self.assertEqual(support.subjects("neighbor", case), [subject])
        for case in ("egress/A ok dev=lo", "egress/A ok error=EINVAL type=blackhole",
                     "egress/A ok type=local"):
            self.assertEqual(support.subjects("neighbor", case + " ; tcp/A timeout"), [], case)

    def test_segment_only_in_silence(self):
        """Others on the segment are not disturbed while the target answers."""
        way = "iface/eth0 ; egress/A ok via=G ; resolv_conf/resolv.conf ok ; "
        self.assertEqual(support.subjects("segment", way + "knock/A ok"), [])
        rows = asked("segment", way + "knock/A timeout")
        self.assertEqual([row[:2] for row in rows], [("198.51.100.1 eth0", "poke")])
        poked = rows[0][2][0]
        self.assertIn("198.51.100.1", poked)
        self.assertNotIn(support.OWN, poked)
        self.assertLessEqual(len(poked), netdiag.SEGMENT_POKES + 1)
        self.assertTrue(all(a.startswith("198.51.100.") for a in poked))


class Packets(unittest.TestCase):
    """Few packets, and only to addresses of the target and its path."""

    def test_knock(self):
        """Every address on the wanted port; families in turn; no more than the limit."""
        many = ["192.0.2.%d" % n for n in range(1, 20)] + [V6]
        case = "target/N ok port=8443 knock_port=8443 ; lookup/N ok %s" % (
            str(many).replace("'", '"'))
        rows = asked("knock", case)
        self.assertEqual(len(rows), netdiag.MAX_ADDRESSES)
        self.assertEqual([row[0] for row in rows[:2]], ["192.0.2.1", V6])
        self.assertEqual(rows[0][1:], ("knock", ("192.0.2.1", 8443)))

    def test_family(self):
        """-4 and -6 keep the other family out."""
        for family, left in ((4, ["192.0.2.1"]), (6, [V6])):
            case = 'target/N ok family=%d ; lookup/N ok ["192.0.2.1","%s"]' % (family, V6)
            self.assertEqual(support.subjects("knock", case), left)

    def test_connect_to(self):
        """--connect-to names the only address."""
        self.assertEqual(support.subjects("knock", "target/N ok connect_to=192.0.2.9"),
                         ["192.0.2.9"])

    def test_no_knock_for_udp(self):
        """A UDP target is not knocked on by TCP, and a TCP target gets no datagram."""
        udp = "target/A ok transport=udp protocol=dns port=53 knock_port=53"
        self.assertEqual(support.subjects("knock", udp), [])
        self.assertEqual(support.subjects("udp", udp), ["192.0.2.1"])
        self.assertEqual(support.subjects("udp", "target/A ok"), [])

    def test_udp_questions(self):
        """A datagram that a healthy server of the protocol answers."""
        for protocol in ("dns", "ntp", "snmp", "udp"):
            rows = asked("udp", "target/A ok transport=udp protocol=%s port=9" % protocol)
            self.assertTrue(rows[0][2][2], protocol)

    def test_settle(self):
        """Each knock is followed up; the server that speaks first is waited for longer."""
        rows = asked("tcp", "knock/A ok")
        self.assertEqual(rows, [("192.0.2.1", "settle", ("192.0.2.1", 443, netdiag.LISTEN_S))])
        rows = asked("tcp", "target/A ok greeting_s=4 ; knock/A ok")
        self.assertEqual(rows[0][2][2], netdiag.GREETING_S)

    def test_traces(self):
        """This port is traced when it does not open; echo only when it is silent."""
        for outcome, tcp, icmp in (("ok", 0, 0), ("timeout", 1, 1), ("refused", 1, 0)):
            case = "knock/A " + outcome
            self.assertEqual(len(support.subjects("trace_tcp", case)), tcp, outcome)
            self.assertEqual(len(support.subjects("trace_icmp", case)), icmp, outcome)

    def test_no_trace_of_what_never_left(self):
        """An error at once is this host's own: nothing is sent after it."""
        self.assertEqual(support.subjects("trace_tcp", "knock/A unreachable immediate=true"), [])

    def test_other_ports(self):
        """Other ports only of a silent host, few, and never the one in question."""
        rows = asked("other_ports", "knock/A timeout")
        self.assertTrue(1 <= len(rows) <= 3)
        self.assertNotIn(443, [row[2][1] for row in rows])
        self.assertEqual(asked("other_ports", "knock/A ok"), [])

    def test_ssh_is_not_hammered(self):
        """sshd penalises repeated connections: no second round on its port."""
        ssh = "target/A ok protocol=ssh port=22 knock_port=22 ; knock/A timeout ; tcp/A ok"
        for name in ("retries", "resends"):
            if name in netdiag.PROBES:
                self.assertEqual(support.subjects(name, ssh), [], name)

    def test_ping(self):
        """The target and its gateway."""
        rows = support.subjects("ping", "target/A ok ; egress/A ok via=G")
        self.assertEqual(rows, ["192.0.2.1", "198.51.100.1"])

    def test_control(self):
        """Where the hosts file gives another address, the resolvers' is tried as well."""
        names = ('lookup/N ok ["192.0.2.7"] ; dns/R,A,N ok addresses=["192.0.2.8"] ;'
                 ' hosts_file/N ok [{"address":"192.0.2.7","names":["WEB.example"]}]')
        self.assertEqual(support.subjects("control_tcp", names), ["192.0.2.8"])
        self.assertEqual(support.subjects(
            "control_tcp", names.replace("192.0.2.8", "192.0.2.7")), [])

    def test_targets_only(self):
        """Packets go to the target, its gateway, the configured resolvers and the proxy."""
        allowed = {"192.0.2.1", "198.51.100.1", "192.0.2.53", "192.0.2.8"}
        for name in netdiag.PROBES:
            for question in support.questions(name, LIVELY):
                for source in question.sources:
                    if source.verb in SENDING:
                        whom = source.args[0]
                        self.assertIn(whom["host"] if source.verb == "tunnel" else whom, allowed,
                                      (name, source.verb))


SENDING = ("knock", "settle", "echo", "datagram", "query", "trace", "tls", "hello", "http",
           "tunnel", "fits", "attempts", "reset_ttl", "reset_by_us")
LIVELY = ('target/N ok proxy=http://192.0.2.8:3128 protocol=https tls=true sni=web.example ;'
          ' lookup/N ok ["192.0.2.1"] ; resolv_conf/resolv.conf ok ; egress/A ok via=G ;'
          " knock/A timeout ; tcp/A timeout ; dns/R,A,N timeout")


OPEN = "knock/A ok ; tcp/A ok"


class Talks(unittest.TestCase):
    """What is spoken above TCP."""

    def test_tls(self):
        """TLS is spoken where the target wants it, on connections that opened."""
        target = "target/A ok tls=true protocol=https sni=web.example"
        rows = asked("tls", target + " ; " + OPEN)
        self.assertEqual(rows, [("192.0.2.1", "tls", (
            "192.0.2.1", 443, "web.example", True, (), ("h2", "http/1.1"), None))])
        self.assertEqual(asked("tls", target + " ; knock/A refused ; tcp/A refused"), [])
        self.assertEqual(asked("tls", "target/A ok ; " + OPEN), [])

    def test_hello_after_failure(self):
        """A clear ClientHello, with and without the name, only after a failed handshake."""
        self.assertEqual(support.subjects("hello", "tls/A ok"), [])
        self.assertEqual(support.subjects("hello", "tls/A ok ended=alert"),
                         ["192.0.2.1 named", "192.0.2.1 bare"])
        self.assertEqual(support.subjects("hello", "target/A ok sni=null ; tls/A ok ended=alert"),
                         ["192.0.2.1 bare"])

    def test_small_after_a_stall(self):
        """Small segments only where the talk stalled."""
        self.assertEqual(support.subjects("small", "tls/A ok ended=stalled"), ["192.0.2.1"])
        for ended in ("done", "closed", "reset", "untrusted"):
            self.assertEqual(support.subjects("small", "tls/A ok ended=" + ended), [])

    def test_peer(self):
        """The chain is fetched without verification when it could not be verified."""
        rows = asked("peer", "tls/A ok ended=untrusted")
        self.assertEqual(rows[0][2][3], False)
        self.assertEqual(asked("peer", "tls/A ok"), [])

    def test_http(self):
        """HEAD first; GET where HEAD is not liked, and not after a plain answer."""
        case = "target/N ok protocol=http port=80 path=/x ; " + OPEN
        methods = {200: ["HEAD"], 302: ["HEAD"], 404: ["HEAD", "GET"], 405: ["HEAD", "GET"]}
        for status, wanted in methods.items():
            rows = asked("http", case, support.told("http", status=status))
            words = [row[2][4].split(b" ")[:2] for row in rows]
            self.assertEqual(words, [[m.encode(), b"/x"] for m in wanted], status)
        self.assertEqual(asked("http", "target/A ok ; " + OPEN), [])

    def test_host_header(self):
        """The name stays in Host and SNI when another address is connected to."""
        rows = asked("http", "target/N ok protocol=https tls=true sni=web.example"
                     " connect_to=192.0.2.1 ; " + OPEN)
        self.assertIn(b"Host: web.example\r\n", rows[0][2][4])
        self.assertEqual(rows[0][2][3], "web.example")

    def test_redirects(self):
        """Followed one by one, each once, only http and https, and not for ever."""
        case = "target/N ok protocol=http port=80 ; http/A ok status=302 location=/next"
        rows = asked("redirects", case, support.told("redirects", status=200))
        self.assertEqual([row[2] for row in rows], [("http://web.example:80/next", "HEAD", 4)])
        circle = support.told("redirects", status=302, location="/next")
        self.assertEqual(len(asked("redirects", case, circle)), 1)
        fresh = support.told("redirects", status=302, location="/next", cookies=["a"])
        self.assertEqual(len(asked("redirects", case, fresh)), 2)      # it may know us now
        missing = support.told("redirects", status=405)
        self.assertEqual([row[2][1] for row in asked("redirects", case, missing)], ["HEAD", "GET"])
        count = iter(range(100))

        def endless(question):
            parts = dict(status=301, location="/%d" % next(count))
            return support.told("redirects", **parts)(question)
        self.assertLessEqual(len(asked("redirects", case, endless)), netdiag.REDIRECT_LIMIT)

    def test_redirects_elsewhere(self):
        """A Location with another scheme is not followed."""
        for location in ("file:///etc/passwd", "ftp://x.example/", "gopher://x.example/"):
            case = "target/N ok protocol=http port=80 ; http/A ok status=302 location=" + location
            self.assertEqual(asked("redirects", case), [])

    def test_redirect_subject_has_no_secret(self):
        """What goes into the report about a redirect is masked and printable."""
        case = ("target/N ok protocol=http port=80 ; http/A ok status=302"
                ' location="http://me:secret@x.example/?token=secret"')
        for subject in support.subjects("redirects", case, support.told("redirects")):
            self.assertNotIn("secret", subject)

    def test_proxy(self):
        """The proxy that applies is asked for a tunnel, and only for HTTP, and not around it."""
        env = ' ; proxy_env/self ok https={"host":"192.0.2.8","port":3128,"url":"x",' \
              '"variable":"https_proxy","scheme":"http"}'
        https = "target/N ok protocol=https tls=true" + env
        self.assertEqual(asked("tunnel", https), [
            ("192.0.2.8:3128", "tunnel", (
                {"host": "192.0.2.8", "port": 3128, "url": "x", "variable": "https_proxy",
                 "scheme": "http"}, "web.example", 443))])
        for bypass in ('no_proxy=["web.example"]', 'no_proxy=[".example"]', 'no_proxy=["*"]',
                       'no_proxy=["example"]', 'no_proxy=["web.example:443"]'):
            self.assertEqual(asked("tunnel", https + " " + bypass), [], bypass)
        for stays in ('no_proxy=["other.example"]', 'no_proxy=["web.example:80"]',
                      'no_proxy=["eb.example"]', 'no_proxy=[""]'):
            self.assertEqual(len(asked("tunnel", https + " " + stays)), 1, stays)
        self.assertEqual(asked("tunnel", "target/N ok protocol=ssh" + env), [])
        rows = asked("tunnel", "target/N ok protocol=http port=80 path=/x proxy=http://p.example:1 ;"
                     " proxy_env/self ok")              # plain HTTP: the page, as clients ask for it
        self.assertEqual(rows[0][2][-2:], ("/x", "HEAD"))

    def test_proxy_option(self):
        """--proxy wins over the variables, for every protocol."""
        rows = asked("tunnel", "target/N ok protocol=ssh proxy=http://192.0.2.9:8080 ;"
                     " proxy_env/self ok")
        self.assertEqual([row[0] for row in rows], ["192.0.2.9:8080"])

    def test_proxy_variables(self):
        """Lower case wins, HTTP_PROXY is ignored (httpoxy), nothing secret is kept."""
        value = netdiag.parse_proxy_variables({
            "https_proxy": "http://me:secret@a.example:1", "HTTPS_PROXY": "http://b.example:2",
            "no_proxy": "a, b"})
        self.assertEqual((value["https"]["host"], value["https"]["port"]), ("a.example", 1))
        names = support.questions("proxy_env", "target/A ok")[0].sources[0].args
        self.assertIn("http_proxy", names)
        self.assertNotIn("HTTP_PROXY", names)
        self.assertNotIn("secret", repr(value))
        self.assertEqual([w for w in value["no_proxy"] if w], ["a", "b"])


if __name__ == "__main__":
    unittest.main()

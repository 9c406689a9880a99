"""Room 3: every parser against the corpus, the fixtures, foreign outputs and mangled text."""

import glob
import json
import os
import random
import re
import time
import unittest

import support

formats = support.load()
FIXTURES = os.path.join(support.TESTS, "fixtures")

FOLDERS = ("ping ip_addr ip_link ifconfig ip_route route netstat_rn ip_rule ip_neigh arp "
           "traceroute tracepath mtr dig ssh "
           "openssl_s_client iptables_S iptables_save nft_list_ruleset ss netstat_an lsof lldpctl "
           "sshd_log").split()
FILES = ("resolv_conf hosts nsswitch proc_arp proc_route proc_ipv6_route proc_net_dev "
         "proc_counters snmp6").split()
# Folders whose command prints what the parser of another one reads.
PARSER_OF = {"ip_link": "ip_addr", "iptables_S": "iptables_save", "netstat_rn": "route", "snmp6": "proc_counters"}

# Facts of the corpus that its own text or README contradicts: file -> paths not compared, and why.
DOUBTFUL = {
    # "64 hops max" is printed behind "from <address>"; the fact says null.
    "traceroute/freebsd-12-traceroute6": ("max_hops",),
    "traceroute/macos-10.14-traceroute6-mult-addresses": ("max_hops",),
    "traceroute/linux-richtr-linux-3": ("max_hops",),
    # The heading is there, with two blanks in it; the facts say null.
    "traceroute/linux-generic-traceroute1": ("target", "target_ip", "max_hops", "reached"),
    # The sentence "Only the root user can specify the Z flag" became a route.
    "netstat_rn/aix-ohai": ("routes",),
    # "inet 10.16.132.213 --> ..." on a point-to-point link is an address; the fact has none.
    "ifconfig/mixed-macos-linux-facter": ("interfaces[13].inet",),
    # Rows whose flow hash is 0 are left out there.
    "netstat_an/macos-10.14-netstat-An": ("udp",),
    # Lines of Solaris and of keyboard-interactive count once there, and publickey's not at all.
    "sshd_log/mixed-syslog-fail2ban-sshd": ("counts.failed_keyboard", "failed_by_ip", "note"),
}

# Families whose outputs resemble each other: they may read each other's texts.
RELATED = ({"ip_addr", "ip_link"}, {"route", "netstat_rn"}, {"arp", "proc_arp"},
           {"traceroute", "tracert"}, {"iptables_S", "iptables_save"}, {"dig", "host", "nslookup"})


def read(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "replace")


def parse(folder, text):
    return getattr(formats, "parse_" + PARSER_OF.get(folder, folder))(text)


def cases(top, folders):
    """(case name, folder, text, facts) of every pair of files below the folder."""
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(top, folder, "*.json"))):
            expected = json.loads(read(path))
            yield (folder + "/" + os.path.basename(path)[:-5], folder,
                   read(path[:-5] + ".txt"), expected["facts"])


def differences(want, got, path=""):
    """One line per difference; keys that only the parser has are welcome."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted(want):
            if key not in got:
                yield "{}.{}: missing, want {!r}".format(path, key, want[key])
            else:
                yield from differences(want[key], got[key], path + "." + key)
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for index, (one, other) in enumerate(zip(want, got)):
            yield from differences(one, other, "{}[{}]".format(path, index))
    elif want != got:
        yield "{}: want {!r}, got {!r}".format(path, want, got)


def corpus_cases():
    support.need(os.path.isdir(support.CORPUS), "no corpus at " + support.CORPUS)
    return list(cases(support.CORPUS, FOLDERS))


class Facts(unittest.TestCase):
    """Each recorded output gives the facts that stand beside it."""

    def check(self, name, folder, text, facts):
        doubtful = DOUBTFUL.get(name, ())
        with self.subTest(name):
            found = [line for line in differences(facts, parse(folder, text))
                     if not any(line.startswith("." + path) for path in doubtful)]
            self.assertFalse(found, "\n" + "\n".join(found))

    def test_corpus(self):
        for case in corpus_cases():
            self.check(*case)

    def test_fixtures(self):
        found = list(cases(FIXTURES, FOLDERS + FILES))
        self.assertTrue(found)
        for case in found:
            self.check(*case)

    def test_every_fixture_has_both_files(self):
        names = glob.glob(os.path.join(FIXTURES, "*", "*.*"))
        self.assertEqual({name[:-4] for name in names if name.endswith(".txt")},
                         {name[:-5] for name in names if name.endswith(".json")})

    def test_every_parser_has_a_fixture_or_a_corpus_folder(self):
        parsers = {name[6:] for name in dir(formats) if name.startswith("parse_")}
        self.assertLessEqual({PARSER_OF.get(f, f) for f in FOLDERS + FILES}, parsers)
        self.assertFalse([name for name in FILES if not glob.glob(
            os.path.join(FIXTURES, name, "*.json"))])


class Languages(unittest.TestCase):
    """Shapes that the corpus lacks: (parser, text, facts that must come out). Written by hand."""

    PING_FR = ("\nEnvoi d'une requête 'ping' sur example.com [192.0.2.7] avec 32 octets de données :\n"
               "Réponse de 192.0.2.7 : octets=32 temps=12 ms TTL=57\n"
               "Délai d'attente de la demande dépassé.\n\n"
               "Statistiques Ping pour 192.0.2.7:\n"
               "    Paquets : envoyés = 2, reçus = 1, perdus = 1 (perte 50%),\n"
               "Durée approximative des boucles en millisecondes :\n"
               "    Minimum = 12ms, Maximum = 14ms, Moyenne = 13ms\n")
    PING_DE = ("\nPing wird ausgeführt für 192.0.2.7 mit 32 Bytes Daten:\n"
               "Antwort von 192.0.2.1: Zielhost nicht erreichbar.\n"
               "Zeitüberschreitung der Anforderung.\n\nPing-Statistik für 192.0.2.7:\n"
               "    Pakete: Gesendet = 2, Empfangen = 1, Verloren = 1\n    (50% Verlust),\n")
    PING_ZH = ("\n正在 Ping example.com [192.0.2.7] 具有 32 字节的数据:\n"
               "来自 192.0.2.7 的回复: 字节=32 时间<1ms TTL=64\n请求超时。\n\n"
               "192.0.2.7 的 Ping 统计信息:\n"
               "    数据包: 已发送 = 2，已接收 = 1，丢失 = 1 (50% 丢失)，\n"
               "往返行程的估计时间(以毫秒为单位):\n    最短 = 0ms，最长 = 2ms，平均 = 1ms\n")
    PING_ES = ("\nHaciendo ping a 192.0.2.7 con 32 bytes de datos:\n"
               "Respuesta desde 192.0.2.1: TTL expirado en tránsito.\n"
               "Respuesta desde 192.0.2.1: Host de destino inaccesible.\n"
               "Tiempo de espera agotado para esta solicitud.\n")
    PING_COMMA = ("PING a (192.0.2.7) 56(84) Bytes an Daten.\n"
                  "64 Bytes von 192.0.2.7: icmp_seq=1 ttl=64 Zeit=0,045 ms\n\n"
                  "--- a Ping-Statistiken ---\n"
                  "1 Pakete übertragen, 1 empfangen, 0% Paketverlust, Zeit 0 ms\n"
                  "rtt min/avg/max/mdev = 0,045/0,045/0,045/0,000 ms\n")
    PING_BIG = ("PING 192.0.2.7 (192.0.2.7) 1472(1500) bytes of data.\n"
                "From gw.example (192.0.2.1) icmp_seq=1 Frag needed and DF set (mtu = 1300)\n"
                "ping: local error: message too long, mtu=1300\n"
                "From 192.0.2.1: icmp_seq=3 Redirect Host(New nexthop: 192.0.2.2)\n")
    PING6_NO_ROUTE = ("PING 2001:db8::7(2001:db8::7) 56 data bytes\n"
                      "From 2001:db8::1 icmp_seq=1 Destination unreachable: No route\n"
                      "From 2001:db8::1 icmp_seq=2 Destination unreachable: Address unreachable\n")
    TRACERT_DE = ("\nRoutenverfolgung zu example.com [192.0.2.7]\nüber maximal 30 Hops:\n\n"
                  "  1    <1 ms    <1 ms    <1 ms  fritz.box [192.168.178.1]\n"
                  "  2     *        *        *     Zeitüberschreitung der Anforderung.\n"
                  "  3  192.0.2.1  meldet: Zielhost nicht erreichbar.\n\nAblaufverfolgung beendet.\n")
    TRACERT_ZH = ("\n通过最多 30 个跃点跟踪\n到 example.com [192.0.2.7] 的路由:\n\n"
                  "  1    <1 毫秒   <1 毫秒   <1 毫秒 192.168.1.1 \n"
                  "  2     3 ms     *        2 ms  192.0.2.7 \n\n跟踪完成。\n")
    TRACE_BSD = ("traceroute to example.com (192.0.2.7), 64 hops max, 52 byte packets\n"
                 " 1  gw (192.0.2.1)  1.5 ms\n    192.0.2.2 (192.0.2.2)  2.5 ms *\n"
                 " 2  192.0.2.7 (192.0.2.7)  3.0 ms  3.1 ms !X  3.2 ms\n")
    NSLOOKUP_OLD = ("Server:    192.0.2.53\nAddress 1: 192.0.2.53 dns.lab.example\n\n"
                    "Name:      web.lab.example\nAddress 1: 192.0.2.10 web.lab.example\n"
                    "Address 2: 2001:db8::10\n")
    NSLOOKUP_NX = ("Serveur :   UnKnown\nAddress:  192.0.2.53\n\n"
                   "*** UnKnown ne parvient pas à trouver nx.example : Non-existent domain\n")
    DIG_920 = (";; UDP setup with 192.0.2.53#53(192.0.2.53) for a failed: network unreachable.\n"
               ";; no servers could be reached\n")
    IFCONFIG_OPENBSD = ("em0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n"
                        "\tlladdr 02:00:00:00:00:01\n\tindex 1 priority 0 llprio 3\n"
                        "\tmedia: Ethernet autoselect\n\tstatus: no carrier\n"
                        "\tinet 192.0.2.2 netmask 0xffffff00 broadcast 192.0.2.255\n")
    NETSTAT_FREEBSD = ("Routing tables\n\nInternet:\n"
                       "Destination        Gateway            Flags     Netif Expire\n"
                       "default            192.0.2.1          UGS         em0\n"
                       "192.0.2.0/24       link#1             U           em0\n")
    DIG_NO_SERVER = "dig: couldn't get address for 'ns.lab.example': not found\n"
    MTR_RAW_ERROR = "mtr-packet: Failure to open IPv4 sockets: Permission denied\n"
    EXPECTED = (
        ("ping", PING_FR, {"target": "example.com", "target_ip": "192.0.2.7", "sent": 2,
                           "received": 1, "loss_pct": 50.0, "echo_replies": 1, "rtt_min_ms": 12.0,
                           "rtt_avg_ms": 13.0, "rtt_max_ms": 14.0,
                           "errors": [{"kind": "timeout", "from": None, "count": 1}]}),
        ("ping", PING_DE, {"target": "192.0.2.7", "received": 1, "echo_replies": 0, "loss_pct": 50.0,
                           "reached": False, "errors": [
                               {"kind": "host_unreachable", "from": "192.0.2.1", "count": 1},
                               {"kind": "timeout", "from": None, "count": 1}]}),
        ("ping", PING_ZH, {"target": "example.com", "sent": 2, "echo_replies": 1, "loss_pct": 50.0,
                           "rtt_min_ms": 0.0, "rtt_avg_ms": 1.0, "rtt_max_ms": 2.0}),
        ("ping", PING_ES, {"errors": [
            {"kind": "ttl_exceeded", "from": "192.0.2.1", "count": 1},
            {"kind": "host_unreachable", "from": "192.0.2.1", "count": 1},
            {"kind": "timeout", "from": None, "count": 1}]}),
        ("ping", PING_COMMA, {"sent": 1, "received": 1, "loss_pct": 0.0, "echo_replies": 1,
                              "rtt_avg_ms": 0.045}),
        ("ping", PING_BIG, {"errors": [
            {"kind": "packet_too_big", "from": "192.0.2.1", "count": 1},
            {"kind": "local_message_too_long", "from": None, "count": 1}]}),
        ("ping", PING6_NO_ROUTE, {"errors": [
            {"kind": "net_unreachable", "from": "2001:db8::1", "count": 1},
            {"kind": "host_unreachable", "from": "2001:db8::1", "count": 1}]}),
        ("traceroute", TRACE_BSD, {"reached": True, "hops": [
            {"ttl": 1, "addrs": ["192.0.2.1", "192.0.2.2"], "names": ["gw"],
             "rtts_ms": [1.5, 2.5], "timeouts": 1},
            {"ttl": 2, "annotations": ["!X"]}]}),
        ("ifconfig", IFCONFIG_OPENBSD, {"interfaces": [
            {"name": "em0", "mac": "02:00:00:00:00:01", "carrier": False, "state": "no carrier",
             "inet": ["192.0.2.2/24"]}]}),
        ("netstat_rn", NETSTAT_FREEBSD, {"routes": [
            {"dst": "default", "via": "192.0.2.1", "dev": "em0"},
            {"dst": "192.0.2.0/24", "via": None, "gateway_raw": "link#1", "dev": "em0"}]}),
        ("dig", DIG_920, {"status": None, "error": "local_net_unreachable"}),
        ("dig", DIG_NO_SERVER, {"status": None, "error": "server_name_not_found", "queries": 0}),
        ("mtr", MTR_RAW_ERROR, {"hops": [], "error": "permission_denied"}),
        ("ip_route", "RTNETLINK answers: Network is unreachable\n",
         {"routes": [], "error": "Network is unreachable"}),
        ("ip_route", "default \n\tnexthop via 192.0.2.1 dev eth0 weight 1 \n"
                     "\tnexthop via 192.0.2.2 dev eth0 weight 1 \n192.0.2.0/24 dev eth0 scope link \n",
         {"routes": [{"dst": "default", "type": "unicast", "nexthops": [
             {"via": "192.0.2.1", "dev": "eth0"}, {"via": "192.0.2.2", "dev": "eth0"}]},
                     {"dst": "192.0.2.0/24", "dev": "eth0"}]}),
        ("ip_neigh", "fe80::1 dev eth0 lladdr 02:00:00:00:00:01 router STALE\n192.0.2.9 dev e0 proxy",
         {"entries": [{"router": True, "state": "STALE"}, {"proxy": True, "state": None}]}),
        ("tracepath", " 1?: [LOCALHOST]     pmtu 1500\n 1:  no reply\n 2:  192.0.2.7   1.5ms asymm  3 \n"
                      "     Too many hops: pmtu 1500\n     Resume: pmtu 1500 \n",
         {"error": "too_many_hops", "hops": [{"ttl": 1, "timeouts": 1},
                                             {"ttl": 2, "addrs": ["192.0.2.7"], "names": []}]}),
    )

    def test_languages_and_versions(self):
        for folder, text, facts in self.EXPECTED:
            with self.subTest(folder + ": " + text[:50]):
                found = list(differences(facts, parse(folder, text)))
                self.assertFalse(found, "\n" + "\n".join(found))

    def test_command_not_found(self):
        for folder in ("ping traceroute tracepath mtr dig").split():
            facts = parse(folder, "bash: {}: command not found\n".format(folder))
            self.assertIn("command_not_found", json.dumps(facts))


class NotMine(unittest.TestCase):
    """What another command printed is refused, not read into nonsense."""

    FOREIGN = ("hello world", "{}", "<html><body>502 Bad Gateway</body></html>",
               "Segmentation fault", "Permission denied, please try again.", "1 2 3 4 5 6 7 8",
               "a: b\nc: d\n", "\x00\x01\x02\x7f", "\x1b[0m",
               "Mon Jan  1 00:00:00 UTC 2024", "total 0\ndrwxr-xr-x 2 root root 40 Jan 1 .")

    def test_foreign_text(self):
        for folder in FOLDERS + [name for name in FILES if name != "resolv_conf"]:
            for text in self.FOREIGN:
                if folder == "nsswitch" and text.startswith("a:"):
                    continue
                with self.subTest(folder=folder, text=text):
                    self.assertRaises(formats.NotMine, parse, folder, text)

    def test_blank_text(self):
        for folder in FOLDERS + FILES:
            with self.subTest(folder):
                if "parse_" + PARSER_OF.get(folder, folder) in formats.BLANK_IS_EMPTY:
                    parse(folder, "")
                else:
                    self.assertRaises(formats.NotMine, parse, folder, "")
                    self.assertRaises(formats.NotMine, parse, folder, " \r\n\t\n")

    def test_other_commands(self):
        others = FOLDERS + ["ss", "netstat_an", "iptables_S", "nmcli", "ipconfig", "route_print",
                            "tcpdump", "openssl_s_client", "sshd_log", "lldpctl", "lsof"]
        support.need(os.path.isdir(support.CORPUS), "no corpus at " + support.CORPUS)
        for name, folder, text, facts in cases(support.CORPUS, others):
            for reader in FOLDERS:
                related = any({folder, reader} <= family for family in RELATED)
                if reader == folder or related or not text.strip() or facts.get("error") \
                        or facts.get("errors"):
                    continue
                with self.subTest(reader + " reads " + name):
                    self.assertRaises(formats.NotMine, parse, reader, text)


def mutate(rng, text):
    """One to three random injuries."""
    for _ in range(rng.randint(1, 3)):
        lines, spot = text.split("\n"), rng.randrange(len(text) + 1)
        text = rng.choice((
            lambda: text[:spot],
            lambda: text[spot:],
            lambda: text[:spot] + text[spot + rng.randint(1, 9):],
            lambda: text[:spot] + chr(rng.choice((0, 7, 9, 27, 37, 47, 58, 0x661, 0x2028, 0x3000,
                                                  0xd800, 0x1f600, rng.randrange(0x300)))) +
            text[spot:],
            lambda: "\n".join(rng.sample(lines, len(lines))),
            lambda: "\n".join(line for line in lines for _ in range(rng.choice((1, 1, 2)))),
            lambda: re.sub(r"[0-9]+", lambda _: str(rng.choice((0, -1, 10 ** 30, "x"))), text,
                           count=rng.randint(1, 9)),
            lambda: text.replace(rng.choice(" :.\n/"), rng.choice(("", " ", "\t", ": ", "%"))),
            lambda: "".join(reversed(text)) if rng.random() < .1 else text.swapcase(),
        ))()
    return text


class Mangled(unittest.TestCase):
    """Whatever the text, a parser returns JSON-able facts or raises NotMine, soon."""

    ROUNDS = int(os.environ.get("N", "6000"))

    def give(self, folder, text):
        try:
            json.dumps(parse(folder, text), allow_nan=False)
        except formats.NotMine:
            pass
        except Exception as error:
            self.fail("parse_{}({!r}) raised {!r}".format(folder, text[:2000], error))

    def test_mutations(self):
        rng = random.Random(int(os.environ.get("SEED", "3")))
        texts = [(folder, text[:3000]) for _, folder, text, _ in cases(FIXTURES, FOLDERS + FILES)]
        if os.path.isdir(support.CORPUS):
            texts += [(folder, text[:3000]) for _, folder, text, _ in corpus_cases()]
        for _ in range(self.ROUNDS):
            folder, text = rng.choice(texts)
            self.give(folder, mutate(rng, text))

    def test_long_lines(self):
        units = ("= 1", "1 ms ", "* ", "a", "0", ":", "f:", "::", "1.", " ", "\t", "(", "[", "[a] ",
                 "x (1.1.1.1) ", "1 a, 1 a, ", "PING ", "!", "; ", "\n ", "\n1: ", "-->", "<", "%",
                 "1:: ", "%a ", "\n 1  1 ms ", "ab ", "1 1 ", "ttl ", "ms", "\\", "name ", '"a":1,')
        for folder in FOLDERS + FILES:
            start = time.time()
            for unit in units:
                for head in ("", "PING a (1.1.1.1)\n"):
                    self.give(folder, head + unit * (5000 // len(unit)))
            self.assertLess(time.time() - start, 10, folder)


if __name__ == "__main__":
    unittest.main()

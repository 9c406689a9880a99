"""Mode `server`: ports as words, wire formats, and real services and faults in two namespaces.

The server's namespace has 192.0.2.1 and 2001:db8::1, the client's .2; all faults are made at once,
each on a port of its own, so that one run as each user judges them all.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import support

sys.path.insert(1, os.path.join(support.TESTS, "lab"))
import launch                                                      # noqa: E402

netdiag = support.load()


# -- the words of the command line -----------------------------------------------------------------

class Ports(unittest.TestCase):
    """What a PORT may be."""

    def test_ports(self):
        """Numbers, transports, services; a well-known port has its protocol."""
        for text, port, transport, protocol in (
                ("443", 443, "tcp", "https"), ("https", 443, "tcp", "https"),
                ("53/udp", 53, "udp", "dns"), ("53/tcp", 53, "tcp", "dns"),
                ("dns", 53, "udp", "dns"), ("8080", 8080, "tcp", "tcp"),
                ("5353/udp", 5353, "udp", "udp"), ("443/udp", 443, "udp", "udp"),
                ("postgres", 5432, "tcp", "postgresql"), ("SSH", 22, "tcp", "ssh")):
            found = netdiag.read_port(text)
            self.assertEqual((found.port, found.transport, found.protocol, found.mode),
                             (port, transport, protocol, "server"), text)

    def test_nonsense(self):
        """One clear line and 64."""
        for text in ("0", "65536", "nosuch", "80/sctp", "80/", "", "1.5", "[::1]:80", "tcp", "8 0",
                     "\x1b[31m", "99999999999999999999"):
            run = support.netdiag_run("server", text)
            self.assertEqual((run.status, run.out), (64, ""), text)
            self.assertRegex(run.err, r"\Anetdiag: port [ -~]+\n\Z")
        self.assertEqual(support.netdiag_run("server", "80", "--client", "web").status, 64)

    def test_listening_targets(self):
        """One for each port; UDP sockets of clients are none, and no listener is one, too."""
        rows = [{"proto": proto, "port": port} for proto, port in (
            ("tcp", 80), ("tcp", 80), ("udp", 53), ("udp", 40000), ("tcp", 40000))]
        value = {"listeners": [r for r in rows if r["proto"] == "tcp"],
                 "udp": [r for r in rows if r["proto"] == "udp"], "tcp_states": {}}
        shared = {"sockets": [netdiag.Answer("sockets", "tcp", "ok", value)]}
        self.assertEqual([t.text for t in netdiag.listening_targets(shared)],
                         ["port 53/udp", "port 80/tcp", "port 40000/tcp"])
        none = netdiag.listening_targets({"sockets": netdiag.unasked("sockets", "no")})
        self.assertEqual([(t.port, t.mode) for t in none], [(None, "server")])


class Questions(unittest.TestCase):
    """What is asked, and how often the port itself is touched."""

    def test_self_connections(self):
        """Loopback and one own address, sshd once; a port of the overview not at all."""
        for case, wanted in (
                ("port/80 ; listener/0.0.0.0 ; iface/eth0", ["127.0.0.1", support.OWN]),
                ("port/22 ; listener/0.0.0.0 port=22 ; iface/eth0", ["127.0.0.1"]),
                ("port/80 ; listener/127.0.0.1 ; iface/eth0", ["127.0.0.1"]),
                ("port/80 ; listener/2001:db8::1", ["2001:db8::1"]),
                ("port/80 asked=false ; listener/0.0.0.0", []), ("port/80 ; sockets/tcp ok", [])):
            self.assertEqual(support.subjects("loop", case), wanted, case)

    def test_only_where_nobody_listens(self):
        """Other namespaces and stopped units matter where nobody listens; unknown is not nobody."""
        for name in ("elsewhere", "units"):
            self.assertEqual(support.subjects(name, "port/80 ; listener/0.0.0.0"), [])
            self.assertEqual(support.subjects(name, "port/80 ; sockets/tcp unknown"), [])
            self.assertEqual(len(support.subjects(name, "port/80 ; sockets/tcp ok")), 1)

    def test_way_back(self):
        """To the client, then with the source chosen; without a client to those who hang."""
        self.assertEqual(support.subjects("back", "port/80 client=192.0.2.9"),
                         ["192.0.2.9", "192.0.2.9 from"])
        hanging = 'port/80 ; listener/0.0.0.0 ; watch/tcp ok 80={"half_open":{"192.0.2.7":2}}'
        self.assertEqual(support.subjects("back", hanging), ["192.0.2.7", "192.0.2.7 from"])

    def test_next_hops_of_the_way_back(self):
        """Their state is asked for, by gateway and interface."""
        case = "port/80 client=192.0.2.9 ; back/192.0.2.9 ok via=G dev=eth0"
        self.assertEqual(support.subjects("hops", case), ["198.51.100.1 eth0"])

    def test_own_address_where_nobody_listens(self):
        """A rule may send on what comes there; loopback proves nothing."""
        self.assertEqual(support.subjects("loop", "port/80 ; sockets/tcp ok ; iface/eth0"),
                         ["198.51.100.9"])

    def test_rules_are_read_twice_or_not(self):
        """Counters are compared only where rules could be read at all."""
        self.assertTrue(support.subjects("rules_now", "port/80 ; rules/nft ok ; watch/tcp ok"))
        self.assertEqual(support.subjects("rules_now", "port/80 ; rules/nft unknown"), [])

    def test_rules_of_the_old_iptables(self):
        """Its tables are asked for unless the kernel's own list of them is there and blank."""
        asked = {row.subject: row.sources for row in netdiag.PROBES["rules"].function()}
        for kind, path in (("iptables", "/proc/net/ip_tables_names"),
                           ("ip6tables", "/proc/net/ip6_tables_names")):
            self.assertEqual(asked[kind + " legacy"][0].args[0], path)

    def test_each_socket_has_its_own_queue(self):
        """Sixteen sockets (SO_REUSEPORT) with one connection each are not a full queue of five."""
        row = {"port": 80, "state": "LISTEN", "remote": "0.0.0.0", "remote_port": 0, "waiting": 1,
               "limit": 5, "dropped": 0, "inode": 1, "resent": 0}
        for rows, wanted in (([row] * 16, (1, 5)), ([row, dict(row, waiting=6)], (6, 5)),
                             ([dict(row, limit=0), row], (1, 0)), ([dict(row, limit=None)], (1, None))):
            ports = {}
            netdiag.note_sockets(ports, rows)
            self.assertEqual((ports["80"]["waiting"], ports["80"]["limit"]), wanted)

    def test_queues_are_of_tcp(self):
        """53/udp is not judged by the queue of 53/tcp."""
        full = ('%s ; listener/0.0.0.0 port=53 ; sockets/udp ok udp=[{"addr":"0.0.0.0","port":53}]'
                ' ; watch/tcp ok 53={"waiting":9,"limit":2}')
        for port, code in (("port/53", "listen.backlog_full"), ("port/53 transport=udp", "ok")):
            answers = support.read_case(full % port)
            self.assertEqual(netdiag.judge(answers)[0].code, code)

    def test_ok_is_certain_only_where_the_rules_say_so(self):
        """A rule in doubt: likely; and a connection to itself that fails then counts."""
        rule = ('port/80 ; listener/0.0.0.0 ; iface/eth0 ; watch/tcp ok 80={"waiting":0,"limit":9}'
                ' ; rules/nft ok bases=[{"backend":"nf_tables","family":"inet","table":"t",'
                '"chain":"i","hook":"input","priority":0,"policy":"accept","chains":{"i":["%s"]},'
                '"sets":{}}] tables=[]')
        for text, wanted in (
                (rule % "tcp dport 80 accept", ("ok", "certain")),
                (rule % "ip saddr 192.0.2.1 drop", ("ok", "likely")),
                (rule % "ip saddr 192.0.2.1 drop" + " ; loop/127.0.0.1 ok open=0 silent=1",
                 ("firewall.local", "possible")),
                (rule % "tcp dport 80 accept" + " ; loop/127.0.0.1 ok open=0 silent=1",
                 ("ok", "likely"))):
            verdict = netdiag.judge(support.read_case(text))[0]
            self.assertEqual((verdict.code, verdict.confidence), wanted, text)

    def test_a_closed_firewall_is_no_fault_of_the_overview(self):
        """What nobody asked about may be closed by a policy: a warning; a rule of its own counts."""
        chain = ('port/80%s ; listener/0.0.0.0 ; iface/eth0 inet=["192.0.2.1/24"]'
                 ' inet6=["2001:db8::9/64"] ; rules/nft ok tables=[] bases=[{"backend":"nf_tables",'
                 '"family":"inet","table":"t","chain":"i","hook":"input","priority":0,'
                 '"policy":"drop","chains":{"i":["%s"]},"sets":{}}]')
        for asked, rule, wanted in (("", "tcp dport 22 accept", "firewall.local"),
                                    (" asked=false", "tcp dport 22 accept", "ok"),
                                    (" asked=false", "tcp dport 80 drop", "firewall.local")):
            verdict, findings, _ = netdiag.judge(support.read_case(chain % (asked, rule)))
            self.assertEqual(verdict.code, wanted, rule)
            self.assertIn("firewall.local", [row.code for row in findings])
        both = support.read_case((chain % ("", "tcp dport 80 drop")).replace("0.0.0.0", "*"))
        self.assertIn("from clients, in", netdiag.judge(both)[0].summary)

    def test_sources_agree(self):
        """The same sockets from ss, /proc/net/tcp and lsof wait on the same port."""
        texts = (("ss", "LISTEN 0 5 127.0.0.1:80 0.0.0.0:*"), ("proc_sockets", (
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
            "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 9 1")),
                 ("lsof", "nginx 7 root 3u IPv4 9 0t0 TCP 127.0.0.1:80 (LISTEN)"),
                 ("netstat_an", "Active Internet connections\n"
                                "tcp 0 0 127.0.0.1:80 0.0.0.0:* LISTEN 7/nginx"))
        for name, text in texts:
            rows = getattr(netdiag, "parse_" + name)(text)["listeners"]
            self.assertEqual([(r["addr"], r["port"]) for r in rows], [("127.0.0.1", 80)], name)


# -- wire formats: the build side is here ----------------------------------------------------------

def tlv(kind, body):
    """One TLV of LLDP."""
    return struct.pack("!H", kind << 9 | len(body)) + body


LLDP = (b"\1\x80\xc2\0\0\x0e" + b"\2\0\0\0\0\1" + b"\x88\xcc" + tlv(1, b"\4\2\0\0\0\0\1")
        + tlv(2, b"\5Gi1/0/8") + tlv(3, b"\0\x78") + tlv(4, b"desk 12") + tlv(5, b"sw1\x1b[2J")
        + tlv(7, b"\0\x14\0\4") + tlv(8, b"\5\1\xc0\0\2\7\2\0\0\0\1\0")
        + tlv(127, b"\0\x80\xc2\1\0\x92") + tlv(0, b""))


def cdp_tlv(kind, body):
    """One TLV of CDP, whose length counts its head."""
    return struct.pack("!HH", kind, 4 + len(body)) + body


CDP = (b"\1\0\x0c\xcc\xcc\xcc\2\0\0\0\0\1\0\x60\xaa\xaa\3\0\0\x0c\x20\0\2\xb4\0\0"
       + cdp_tlv(1, b"sw2") + cdp_tlv(2, b"\0\0\0\1\1\1\xcc\0\4\xc0\0\2\x08")
       + cdp_tlv(3, b"Fa0/1") + cdp_tlv(10, b"\0\x07"))


class Wire(unittest.TestCase):
    """LLDP, CDP and SOCK_DIAG."""

    def test_lldp(self):
        """Every field that lldpctl shows, safe to print."""
        found = netdiag.parse_lldp(LLDP, "eth0")
        self.assertEqual(found, {
            "local_if": "eth0", "via": "LLDP", "chassis_id": "mac 02:00:00:00:00:01",
            "sysname": "sw1\\x1b[2J", "sysdescr": None, "port_id": "ifname Gi1/0/8", "ttl": 120,
            "port_descr": "desk 12", "vlan": 146, "mgmt_ips": ["192.0.2.7"],
            "capabilities_on": ["Bridge"]})

    def test_cdp(self):
        """The same of CDP."""
        found = netdiag.parse_cdp(CDP, "eth0")
        self.assertEqual([found[key] for key in "sysname port_id vlan ttl mgmt_ips".split()],
                         ["sw2", "ifname Fa0/1", 7, 180, ["192.0.2.8"]])

    def test_injured_frames(self):
        """Any bytes end in facts or in NotMine."""
        for frame, read in ((LLDP, netdiag.parse_lldp), (CDP, netdiag.parse_cdp)):
            for place in range(len(frame)):
                for injured in (frame[:place], frame[:place] + b"\xff" + frame[place + 1:],
                                frame[:place] + b"\0" + frame[place + 1:]):
                    try:
                        json.dumps(read(injured))
                    except netdiag.NotMine:
                        pass

    def test_sock_diag(self):
        """A listener with a queue, an IPv6 socket that takes no IPv4."""
        four = struct.pack("!BBBBHH", socket.AF_INET, 10, 0, 0, 80, 0) + bytes(
            [192, 0, 2, 1]).ljust(48, b"\0") + struct.pack("=4I", 3, 2, 7, 99)
        six = struct.pack("!BBBBHH", socket.AF_INET6, 10, 0, 0, 81, 0) + bytes(48) + struct.pack(
            "=4I", 0, 9, 0, 5) + struct.pack("=HHB3x", 5, 11, 1)
        rows = netdiag.parse_sock_diag([(20, four), (20, six)], "tcp")["listeners"]
        self.assertEqual([(r["addr"], r["port"], r["waiting"], r["limit"], r["uid"], r["inode"],
                           r["only_v6"]) for r in rows],
                         [("192.0.2.1", 80, 3, 2, 7, 99, False), ("::", 81, 0, 9, 0, 5, True)])
        self.assertRaises(netdiag.NotMine, netdiag.parse_sock_diag, [(20, four[:30])], "tcp")

    def test_proc_words(self):
        """The words of an IPv6 address stand in host order; UDP tells its drops."""
        heading = "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid "
        zero, one = "0" * 8, "%08X" % struct.unpack("=I", b"\0\0\0\1")[0]
        rest = "%s:0000 07 00000000:00000000 00:00000000 00000000 7 0 9 1 0 3\n" % (zero * 4)
        text = heading + "timeout inode ref pointer drops\n 0: %s:0050 %s" % (zero * 3 + one, rest)
        row, = netdiag.parse_proc_sockets(text)["udp"]
        self.assertEqual((row["addr"], row["port"], row["dropped"], row["uid"]), ("::1", 80, 3, 7))

    def test_looks(self):
        """What several looks at the sockets add up to."""
        def row(state, remote="0.0.0.0", **more):
            return dict({"port": 80, "state": state, "remote": remote, "remote_port": 9,
                         "waiting": 0, "limit": 5, "dropped": 0, "inode": 1, "resent": 0}, **more)
        ports = {}
        netdiag.note_sockets(ports, [row("LISTEN", waiting=2, dropped=4), row("CLOSE_WAIT"),
                                     row("ESTABLISHED", "192.0.2.9", inode=0)])
        netdiag.note_sockets(ports, [row("LISTEN", waiting=3, dropped=6), row("CLOSE_WAIT"),
                                     row("CLOSE_WAIT"), row("ESTABLISHED", "192.0.2.9", inode=0),
                                     row("SYN_RECV", "::ffff:192.0.2.5", resent=2)])
        seen = ports["80"]
        self.assertEqual((seen["waiting"], seen["dropped"] + seen["last_dropped"],
                          seen["most"]["CLOSE_WAIT"], seen["fewest"]["CLOSE_WAIT"]), (2, 2, 2, 1))
        self.assertEqual(seen["half_open"], {"192.0.2.5": 2})
        self.assertEqual(seen["unaccepted"], {("192.0.2.9", 9)})


class Logs(unittest.TestCase):
    """Lines, their time, and whether they belong to now."""

    def test_times(self):
        """Syslog, ISO, nginx and apache; a line without a time has none."""
        for text, when in (
                ("Nov 21 16:29:00 box sshd[1]: x", [None, 11, 21, 16, 29, 0]),
                ("Nov  1 06:09:00 box sshd[1]: x", [None, 11, 1, 6, 9, 0]),
                ("2026-11-21T16:29:00.1+00:00 box", [2026, 11, 21, 16, 29, 0]),
                ("2026/11/21 16:29:00 [error] 7#7", [2026, 11, 21, 16, 29, 0]),
                ("[Sat Nov 21 16:29:00.5 2026] [core:error]", [None, 11, 21, 16, 29, 0]),
                ("error", None)):
            self.assertEqual(netdiag.log_time(text), when, text)

    def test_recent(self):
        """A quarter of an hour, over New Year as well; a line without a time counts."""
        for when, local, wanted in (
                ([None, 11, 21, 16, 20, 0], "2026-11-21T16:30:00+00:00", True),
                ([None, 11, 21, 16, 10, 0], "2026-11-21T16:30:00+00:00", False),
                ([None, 12, 31, 23, 59, 0], "2027-01-01T00:01:00+00:00", True),
                ([2025, 11, 21, 16, 29, 0], "2026-11-21T16:30:00+00:00", False),
                (None, "2026-11-21T16:30:00+00:00", True)):
            self.assertEqual(netdiag.is_recent({"when": when}, local), wanted, when)

    def test_whose(self):
        """A line is a client's where it names that very address."""
        for text, address, wanted in (
                ("from 192.0.2.1 port 4", "192.0.2.1", True), ("from 192.0.2.1.", "192.0.2.1", True),
                ("[192.0.2.1]:4 on", "192.0.2.1", True), ("client: 192.0.2.1,", "192.0.2.1", True),
                ("::ffff:192.0.2.1 port", "192.0.2.1", True), ("192.0.2.1:80", "192.0.2.1", True),
                ("from 192.0.2.10 port", "192.0.2.1", False), ("1192.0.2.1", "192.0.2.1", False),
                ("2001:db8::1 port", "2001:db8::1", True), ("2001:db8::1f", "2001:db8::1", False),
                ("2001:db8::1:2", "2001:db8::1", False)):
            self.assertEqual(netdiag.names_address(text, address), wanted, text)

    def test_secrets(self):
        """Queries and logins in a quoted line are masked, and control characters escaped."""
        text = netdiag.parse_log('2026/11/21 16:29:00 [error] 7#7: failed "GET /a?token=s3cret&b=c'
                                 ' HTTP/1.1", upstream: "http://u:s3cret@192.0.2.3/" \x1b[2J #1')
        self.assertNotIn("s3cret", text["lines"][0]["text"])
        self.assertNotIn("\x1b", text["lines"][0]["text"])
        self.assertIn("7#7", text["lines"][0]["text"])

    def test_users_are_known(self):
        """The user of a line stands by itself as well: --redact masks it in the line by that."""
        for words, user in (("User bob from 192.0.2.9 not allowed because not listed", "bob"),
                            ("Invalid user eve from 192.0.2.9 port 40", "eve")):
            found = netdiag.log_reader("sshd")("Nov 21 17:00:00 box sshd[7]: " + words)
            self.assertEqual(found["lines"][0]["user"], user)
            self.assertNotIn(user, [text for key, text in netdiag.leaves(found) if not key])

    def test_forged_address(self):
        """The last address of a line is the peer's; a name may hold another."""
        line = ("Nov 21 16:29:00 box sshd[7]: Failed password for invalid user x from 192.0.2.66"
                " from 192.0.2.9 port 40 ssh2")
        self.assertEqual(netdiag.sshd_words(line),
                         ("failed_password", "x from 192.0.2.66", "192.0.2.9"))


# -- two namespaces --------------------------------------------------------------------------------

SERVER, CLIENT, STRANGER = "192.0.2.1", "192.0.2.2", "203.0.113.9"
SERVICES = """
import os, resource, socket, sys, threading, time
def listen(address, port, backlog=16, only_v6=0):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        sock.setsockopt(41, 26, only_v6)
    sock.bind((address, port)); sock.listen(backlog)
    return sock
kept = []
def serve(sock, keep=False):
    while True:
        peer = sock.accept()[0]
        kept.append(peer) if keep else peer.close()
"""
ALL = SERVICES + """
for address, port in (("0.0.0.0", 8001), ("127.0.0.1", 8002), ("0.0.0.0", 8006), ("::", 8007),
                      ("0.0.0.0", 8008), ("192.0.2.1", 8013), ("::", 8014), ("0.0.0.0", 8015)):
    threading.Thread(target=serve, args=(listen(address, port),), daemon=True).start()
threading.Thread(target=serve, args=(listen("0.0.0.0", 8009), True), daemon=True).start()
mute = [listen("::", 8004, 16, 1), listen("0.0.0.0", 8005, 1)]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 5353))
print("up", flush=True); time.sleep(300)
"""
STOPPED = SERVICES + 'sock = listen("0.0.0.0", 8010)\nprint("up", flush=True)\ntime.sleep(300)'
EXHAUSTED = SERVICES + """
sock = listen("0.0.0.0", 8011)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
try:
    while True: kept.append(open("/dev/null"))
except OSError: pass
print("up", flush=True); time.sleep(300)
"""
ELSEWHERE = SERVICES + 'sock = listen("0.0.0.0", 28712)\nprint("up", flush=True)\ntime.sleep(300)'
KNOCKS = """
import socket, time
kept = []
def knock(port, count, end=False):
    for _ in range(count):
        sock = socket.socket(); sock.setblocking(False); sock.connect_ex(("192.0.2.1", port))
        kept.append(sock)
for port, count in ((8005, 4), (8008, 1), (8010, 1)):
    knock(port, count)
for _ in range(12):
    socket.create_connection(("192.0.2.1", 8009), 5).close()
print("up", flush=True); time.sleep(300)
"""
RULES = """
table inet netdiag {
  chain input {
    type filter hook input priority 5; policy accept;
    tcp dport 8006 counter drop
    iifname "eth0" tcp dport 8007 counter reject with tcp reset
  }
  chain output {
    type filter hook output priority 5; policy accept;
    oifname "eth0" tcp sport 8015 counter drop
  }
}
"""
CUT = """
table ip cut {
  chain input {
    type filter hook input priority 0; policy accept;
    tcp sport 8008 drop
  }
}
"""
NGINX = """
daemon off; master_process off; pid FOLDER/nginx.pid; error_log FOLDER/error.log;
events { } http { access_log off; client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p;
fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
server { listen 8080; listen [::]:8080; } }
"""
# {port: (what root is told, what nobody is told)}; None: ok, but with a warning of that code.
WANTED = {
    "8001": ("ok", "ok"), "8002": ("listen.loopback_only",) * 2,
    "8004": ("listen.other_address",) * 2, "8005": ("listen.backlog_full",) * 2,
    "8006": ("firewall.local",) * 2, "8007": ("firewall.local", "ok"),
    "8008": ("handshake.incomplete",) * 2, "8009": ("ok", "ok"),
    "8010": ("service.silent",) * 2, "8011": ("host.exhausted", "ok"),
    "28712": ("listen.none",) * 2, "8013": ("ok", "ok"), "8014": ("ok", "ok"),
    "8015": ("firewall.local", "ok"),
    "5353/udp": ("ok", "ok"), "5354/udp": ("listen.none",) * 2, "8080": ("ok", "ok"),
    "22": ("ok", "ok")}


class Namespaces(unittest.TestCase):
    """A server with every fault, and its client."""

    @classmethod
    def setUpClass(cls):
        """Two namespaces with a cable between them, services and faults in them."""
        absent = [name for name in ("ip", "nft", "nginx", "sshd", "ssh-keygen", "unshare")
                  if not shutil.which(name, path=launch.PATH)]
        support.need(os.geteuid() == 0, "namespaces need root")
        support.need(not absent, "not installed: " + " ".join(absent))
        cls.names = ["nds%d%s" % (os.getpid(), end) for end in "sc"]
        cls.children, cls.stack = [], support.folder()
        cls.folder = cls.stack.__enter__()
        os.chmod(cls.folder, 0o755)
        try:
            cls.make_network()
            cls.start_services()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        """Everything that was started ends, everything that was made goes."""
        for child in cls.children:
            os.kill(child.pid, signal.SIGCONT)
            child.kill()
            child.communicate()
        for name in cls.names:
            subprocess.call(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        cls.stack.__exit__(None, None, None)

    @classmethod
    def make_network(cls):
        """eth0 in both; the server has a default route to nobody, and rules."""
        server, client = cls.names
        for words in (
                "netns add " + server, "netns add " + client,
                "link add nd%d netns %s type veth peer name eth0 netns %s" % (
                    os.getpid(), server, client),
                "-n %s link set nd%d name eth0" % (server, os.getpid()),
                "-n %s addr add 192.0.2.1/24 dev eth0" % server,
                "-n %s addr add 192.0.2.2/24 dev eth0" % client,
                "-n %s addr add 2001:db8::1/64 dev eth0 nodad" % server,
                "-n %s link set lo up" % server, "-n %s link set lo up" % client,
                "-n %s link set eth0 up" % server, "-n %s link set eth0 up" % client):
            subprocess.check_call(["ip"] + words.split())
        for name, rules in ((server, RULES), (client, CUT)):
            subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules.encode(),
                           check=True)

    @classmethod
    def start(cls, name, argv, word=b"up"):
        """A child in a namespace, once it has said that it listens."""
        child = subprocess.Popen(["ip", "netns", "exec", name] + argv, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        cls.children.append(child)
        line = b"-"
        while line and word not in line:
            line = child.stdout.readline()
        assert line, "%s does not start" % argv
        return child

    @classmethod
    def start_services(cls):
        """Python's listeners, nginx, sshd, and the client's knocks."""
        server, client = cls.names
        python = [sys.executable, "-B", "-c"]
        with open(cls.folder + "/nginx.conf", "w") as stream:
            stream.write(NGINX.replace("FOLDER", cls.folder))
        subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                               cls.folder + "/key"])
        for script in (ALL, EXHAUSTED):
            cls.start(server, python + [script])
        stopped = cls.start(server, python + [STOPPED])
        cls.start(client, python + [ELSEWHERE])
        cls.start(server, ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /run && mkdir -m 755"
                           " /run/sshd && exec /usr/sbin/sshd -D -e -f /dev/null -p 22 -h "
                           + cls.folder + "/key"], b"listening on ::")
        nginx = subprocess.Popen(["ip", "netns", "exec", server, "nginx", "-c",
                                  cls.folder + "/nginx.conf"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        cls.children.append(nginx)
        until = time.monotonic() + 10
        while not os.path.exists(cls.folder + "/nginx.pid") and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(stopped.pid, signal.SIGSTOP)
        cls.start(client, python + [KNOCKS])
        time.sleep(1.2)                   # the SYN/ACK of 8008 is sent again after one second

    def judge(self, user, *argv):
        """One run in the server's namespace -> (exit status, document)."""
        spec = {"user": user, "home": sys.base_prefix, "mask": None, "nofile": None, "env": {},
                "argv": [os.path.realpath(sys.executable), "-W", "error", "-B", "-", "server",
                         "--json"] + list(argv)}
        with open(support.PROGRAM) as program:
            run = subprocess.run(
                ["ip", "netns", "exec", self.names[0], sys.executable, "-B", os.path.join(
                    support.TESTS, "lab", "launch.py"), json.dumps(spec)],
                stdin=program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(run.stderr, b"")
        return run.returncode, json.loads(run.stdout.decode())

    def side_by_side(self, *runs):
        """Several runs at once -> what `judge` says of each, in their order."""
        found = [None] * len(runs)

        def work(place):
            found[place] = self.judge(*runs[place])
        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(runs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertNotIn(None, found)
        return found

    def check(self, document, place):
        """Each port has the verdict that this user is owed, and a target as the contract wants."""
        for word, target in zip(WANTED, document["targets"]):
            with self.subTest(port=word, user=place):
                verdict = target["verdict"]
                self.assertEqual(verdict["code"], WANTED[word][place], verdict["summary"])
                self.assertEqual(str(target["port"]), word.partition("/")[0])
                self.assertNotIn("crashed", json.dumps(target["unjudged"]))
        codes = {t["port"]: {f["code"]: f for f in t["findings"]} for t in document["targets"]}
        self.assertEqual(codes[8009]["service.error"]["severity"], "warn")
        self.assertEqual(codes[8001], {})
        self.assertEqual(codes[22], {})
        return {t["port"]: t["verdict"] for t in document["targets"]}

    def test_1_verdicts(self):
        """Every fault and every healthy port: as root, as nobody, and without any command."""
        argv = list(WANTED) + ["--client", CLIENT]
        root, nobody, bare = self.side_by_side(
            ("root",) + tuple(argv), ("nobody",) + tuple(argv),
            ("nobody", "--no-tools") + tuple(argv))
        for place, (status, document) in ((0, root), (1, nobody), (1, bare)):
            self.assertEqual((status, document["mode"]), (1, "server"))
            verdicts = self.check(document, place)
            self.assertEqual(verdicts[8008]["suspects"],
                             ["server_network", "transit", "client_network"])
            self.assertEqual(verdicts[8006]["suspects"][0], "server")
            self.assertEqual(verdicts[8005]["suspects"][0], "service")
        verdicts = self.check(root[1], 0)
        self.assertIn('tcp dport 8006', verdicts[8006]["summary"])
        self.assertRegex(verdicts[28712]["summary"], r"another network namespace \(nds\d+c\)")
        self.assertIn("nginx (pid ", verdicts[8080]["summary"])
        told = json.dumps(nobody[1]["targets"][0]["unjudged"])
        self.assertIn("only root sees", told)
        self.assertIn("rules of this host's firewalls", told)

    def test_2_way_back(self):
        """A client to whom no route leads; a healthy port is fine without a client, exit 0."""
        stranger, nobody, healthy = self.side_by_side(
            ("root", "8001", "--client", STRANGER), ("nobody", "8001", "--client", STRANGER),
            ("nobody", "8001", "8013", "5353/udp", "8080", "22"))
        for status, document in (stranger, nobody):
            verdict = document["targets"][0]["verdict"]
            self.assertEqual((status, verdict["code"], verdict["suspects"]),
                             (1, "route.return_missing", ["server"]))
        self.assertEqual(healthy[0], 0, [t["verdict"] for t in healthy[1]["targets"]])

    def test_3_overview(self):
        """Without PORT: all listeners; loopback alone is no fault there; the table fits."""
        status, document = self.judge("root")
        ids = [row["id"] for row in document["evidence"]]
        self.assertEqual(len(ids), len(set(ids)))
        proofs = {name for t in document["targets"] for f in t["findings"] for name in f["proof"]}
        self.assertEqual(proofs - set(ids), set())
        asked = [row["probe"] for row in document["evidence"]]
        self.assertEqual(asked.count("watch"), 1, "once for all ports")
        rows = netdiag.report_rows(document)
        self.assertTrue(rows[-1]["listens"], "merge reads it for each target")
        codes = {t["port"]: t["verdict"]["code"] for t in document["targets"]}
        self.assertEqual((status, codes[8001], codes[8002], codes[8005], codes[8006]),
                         (1, "ok", "ok", "listen.backlog_full", "firewall.local"))
        run = subprocess.run(["ip", "netns", "exec", self.names[0], sys.executable, "-B",
                              support.PROGRAM, "server"], stdout=subprocess.PIPE, timeout=60)
        lines = run.stdout.decode().splitlines()
        self.assertEqual(lines[0], "LISTENERS")
        table = lines[:lines.index("")]
        self.assertTrue(all(len(line) <= 80 for line in table), table)
        self.assertRegex("\n".join(table), r"tcp  127\.0\.0\.1 +8002 python3?\S* \d+ root .* ok")

    def test_4_undelivered(self):
        """As nobody, while the client tries: packets come and are not delivered."""
        knocks = self.start(self.names[1], [sys.executable, "-B", "-c", (
            "import socket, time\nprint('up', flush=True)\n"
            "for _ in range(20):\n  s = socket.socket(); s.setblocking(False)\n"
            "  s.connect_ex(('192.0.2.1', 8007)); time.sleep(0.3)")])
        status, document = self.judge("nobody", "8006", "--client", CLIENT, "--for", "2s")
        knocks.kill()
        self.assertEqual((status, document["targets"][0]["verdict"]["code"]), (1, "firewall.local"))

    def test_4_interrupted(self):
        """Ctrl-C while it watches: what was seen until then, and status 130."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.names[0], sys.executable, "-B", support.PROGRAM, "server",
             "--json", "8002", "8006", "28712", "--client", CLIENT, "--for", "30s"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(3)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=20)
        document = json.loads(out.decode())
        self.assertEqual((child.returncode, document["complete"]), (130, False))
        self.assertEqual([t["verdict"]["code"] for t in document["targets"]],
                         [WANTED[word][0] for word in ("8002", "8006", "28712")])

    def test_5_switch(self):
        """LLDP and CDP, heard as root."""
        script = ("import socket, sys, time\nprint('up', flush=True)\n"
                  "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))\n"
                  "for _ in range(30):\n  s.send(bytes.fromhex(sys.argv[1])); time.sleep(0.2)")
        speaker = self.start(self.names[1], [sys.executable, "-B", "-c", script, LLDP.hex()])
        _, document = self.judge("root", "8001", "--lldp", "3s", "--skip", "watch")
        speaker.kill()
        heard = [row for row in document["evidence"] if row["probe"] == "switch"]
        self.assertEqual([n["port_id"] for n in heard[0]["value"]["neighbors"]],
                         ["ifname Gi1/0/8"])


if __name__ == "__main__":
    unittest.main()

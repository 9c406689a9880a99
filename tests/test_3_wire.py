"""Room 3, wire formats: DNS, netlink, DER, TLS, HTTP, ICMP; built, parsed, and mutated.

Certificates are made on the fly with `openssl`, and what it says of them is compared.  Whatever
bytes a parser gets, only NotMine may come out.
"""

import base64
import calendar
import hashlib
import hmac
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import time
import unittest

import support

netdiag = support.load()
SEED = 20261121
MUTATIONS = 400                 # of each sample
NotMine = netdiag.NotMine


# -- samples: DNS ----------------------------------------------------------------------------------

def dns_name(name):
    """A name as uncompressed labels."""
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def record(name, kind, data, ttl=300):
    """One resource record; `name` is bytes, as labels or as a pointer."""
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def reply(name, qtype, records, flags=0x8180, ident=7, answers=None):
    """A DNS reply with these records in its answer section."""
    count = len(records) if answers is None else answers
    head = struct.pack("!6H", ident, flags, 1, count, 0, 0)
    return head + dns_name(name) + struct.pack("!HH", qtype, 1) + b"".join(records)


POINTER = b"\xc0\x0c"                                     # to the question's name
CHAIN = reply("www.example", 1, [
    record(POINTER, 5, dns_name("web.example")),
    record(dns_name("web.example"), 1, socket.inet_aton("192.0.2.7")),
    record(dns_name("web.example"), 1, socket.inet_aton("192.0.2.8"))])


class Dns(unittest.TestCase):
    """RFC 1035 questions and replies."""

    def test_query_round_trip(self):
        """What is asked is what a server reads: our own parser understands our own question."""
        for name in ("web.example", "a", "xn--bcher-kva.example", "x" * 63 + ".example", ""):
            for qtype in netdiag.QTYPES:
                packet = netdiag.build_dns_query(name, qtype, 4711)
                answered = packet[:2] + b"\x81\x80" + packet[4:]
                facts = netdiag.parse_dns(answered)
                self.assertEqual(facts["question"], {"name": name, "type": qtype})
                self.assertEqual((facts["id"], facts["rcode"]), (4711, "NOERROR"))

    def test_query_bytes(self):
        """One question, recursion desired, one EDNS record that allows 1,232 bytes."""
        packet = netdiag.build_dns_query("web.example", "AAAA", 0x1234)
        self.assertEqual(struct.unpack("!6H", packet[:12]), (0x1234, 0x100, 1, 0, 0, 1))
        self.assertEqual(packet[12:], dns_name("web.example") + b"\0\x1c\0\1"
                         + b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0))

    def test_idn(self):
        """A name beyond ASCII goes out as IDNA."""
        packet = netdiag.build_dns_query(u"b\xfccher.example", "A", 1)
        self.assertIn(b"\x0dxn--bcher-kva\x07example\0", packet)

    def test_impossible_names(self):
        """A name that DNS cannot carry is NotMine."""
        for name in ("a..b", "x" * 64 + ".example", ".".join(["x" * 60] * 5), u"\xfc" * 80):
            with self.assertRaises(NotMine, msg=name):
                netdiag.build_dns_query(name, "A", 1)

    def test_cname_chain(self):
        """The chain is kept and the addresses are those of its end."""
        facts = netdiag.parse_dns(CHAIN)
        self.assertEqual([r["type"] for r in facts["answers"]], ["CNAME", "A", "A"])
        self.assertEqual(facts["answers"][0]["data"], "web.example")
        self.assertEqual(facts["addresses"], ["192.0.2.7", "192.0.2.8"])

    def test_ipv6(self):
        """An AAAA record is an IPv6 address."""
        packet = reply("web.example", 28, [record(
            POINTER, 28, socket.inet_pton(socket.AF_INET6, "2001:db8::7"))])
        self.assertEqual(netdiag.parse_dns(packet)["addresses"], ["2001:db8::7"])

    def test_rcodes(self):
        """The words for the result, known and unknown."""
        for number, word in ((0, "NOERROR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED")):
            packet = reply("x.example", 1, [], flags=0x8180 | number)
            self.assertEqual(netdiag.parse_dns(packet)["rcode"], word)
        self.assertEqual(netdiag.parse_dns(reply("x", 1, [], flags=0x818b))["rcode"], "11")

    def test_flags(self):
        """Truncated, authoritative and recursion are told apart."""
        for flags, key in ((0x8200, "truncated"), (0x8400, "authoritative"),
                           (0x8080, "recursion")):
            facts = netdiag.parse_dns(reply("x.example", 1, [], flags=flags))
            self.assertEqual([k for k in ("truncated", "authoritative", "recursion")
                              if facts[k]], [key])

    def test_truncated_in_a_record(self):
        """A truncated reply may end inside a record; another reply may not."""
        whole = reply("www.example", 1, [record(POINTER, 1, b"\xc0\0\2\7")] * 3, flags=0x8380)
        self.assertEqual(len(netdiag.parse_dns(whole[:-5])["answers"]), 2)
        with self.assertRaises(NotMine):
            netdiag.parse_dns(whole[:2] + b"\x81\x80" + whole[4:-5])

    def test_pointer_loops(self):
        """Pointers to themselves, to each other and past the end are NotMine."""
        head = struct.pack("!6H", 1, 0x8180, 1, 0, 0, 0)
        for name in (b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xff\xff", b"\x3fabc", b"\xc0"):
            with self.assertRaises(NotMine, msg=repr(name)):
                netdiag.parse_dns(head + name + b"\0\1\0\1")

    def test_no_reply(self):
        """A question, a short packet, nothing: NotMine."""
        for packet in (b"", b"\0" * 11, netdiag.build_dns_query("x.example", "A", 1)):
            with self.assertRaises(NotMine):
                netdiag.parse_dns(packet)

    def test_exchange(self):
        """What is no DNS reply is MALFORMED, and that is an answer."""
        raw = {"reply": b"hello", "over": "udp", "strays": 2}
        facts = netdiag.parse_dns_exchange(raw)
        self.assertEqual((facts["rcode"], facts["strays"]), ("MALFORMED", 2))
        facts = netdiag.parse_dns_exchange(dict(raw, reply=CHAIN))
        self.assertEqual((facts["rcode"], len(facts["addresses"])), ("NOERROR", 2))

    def test_search_list(self):
        """ndots decides whether the name itself or the search list comes first."""
        names = netdiag.search_names
        self.assertEqual(names("web", ["a.example", "b.example."], 1),
                         ["web.a.example", "web.b.example", "web"])
        self.assertEqual(names("web.x", ["a.example"], 1), ["web.x", "web.x.a.example"])
        self.assertEqual(names("web.x", ["a.example"], 5), ["web.x.a.example", "web.x"])
        self.assertEqual(names("web.", ["a.example"], 1), ["web"])


# -- samples: netlink ------------------------------------------------------------------------------

def attribute(kind, data):
    """One netlink attribute, padded to four bytes."""
    raw = struct.pack("=HH", 4 + len(data), kind) + data
    return raw + b"\0" * (-len(raw) % 4)


def link(index, name, flags, *attributes):
    """RTM_NEWLINK."""
    return 16, struct.pack("=BBHiII", 0, 0, 1, index, flags, 0) + attribute(
        3, name.encode() + b"\0") + b"".join(attributes)


def address_message(index, cidr, family=socket.AF_INET):
    """RTM_NEWADDR."""
    text, _, length = cidr.partition("/")
    return 20, struct.pack("=BBBBI", family, int(length), 0, 0, index) + attribute(
        2, socket.inet_pton(family, text))


def route_message(kind=1, length=0, table=254, flags=0, attributes=b"", family=socket.AF_INET):
    """RTM_NEWROUTE."""
    return 24, struct.pack("=8BI", family, length, 0, 0, table, 3, 0, kind, flags) + attributes


LINKS = [link(1, "lo", 0x10049), link(2, "eth0", 0x11043, attribute(1, bytes(range(6))),
                                      attribute(4, struct.pack("=I", 1400))),
         link(3, "eth1", 0x1003), link(4, "br0", 0x1002, attribute(18, attribute(1, b"bridge\0"))),
         address_message(2, "192.0.2.10/24"),
         address_message(2, "2001:db8::10/64", socket.AF_INET6),
         address_message(99, "192.0.2.99/24")]
ROUTES = [route_message(attributes=attribute(5, socket.inet_aton("192.0.2.1"))
                        + attribute(4, struct.pack("=i", 2))),
          route_message(length=24, attributes=attribute(1, socket.inet_aton("198.51.100.0"))
                        + attribute(4, struct.pack("=i", 3))
                        + attribute(8, attribute(2, struct.pack("=I", 1300)))),
          route_message(kind=6, length=32, attributes=attribute(
              1, socket.inet_aton("203.0.113.9")))]
NEIGHBORS = [(28, struct.pack("=BBHiHBB", 2, 0, 0, 2, state, 0, 1) + attribute(
    1, socket.inet_aton("192.0.2.%d" % state)) + attribute(2, bytes(range(6))))
    for state in (2, 32, 4, 64)]
RULES = [(32, struct.pack("=8BI", 2, 0, 24, 0, 254, 0, 0, 1, 0) + attribute(
    2, socket.inet_aton("10.0.0.0")) + attribute(6, struct.pack("=I", 100))
    + attribute(15, struct.pack("=I", 4000))),
    (32, struct.pack("=8BI", 2, 32, 0, 0, 0, 0, 0, 8, 0) + attribute(
        1, socket.inet_aton("203.0.113.9")))]


class Netlink(unittest.TestCase):
    """rtnetlink messages give the shapes that the commands give."""

    def test_interfaces(self):
        """Flags, carrier, MTU, MAC, kind and addresses."""
        rows = {r["name"]: r for r in netdiag.parse_netlink_interfaces(LINKS)["interfaces"]}
        self.assertEqual(sorted(rows), ["br0", "eth0", "eth1", "lo"])
        self.assertTrue(rows["lo"]["loopback"])
        eth0 = rows["eth0"]
        self.assertEqual((eth0["up"], eth0["carrier"], eth0["mtu"], eth0["mac"]),
                         (True, True, 1400, "00:01:02:03:04:05"))
        self.assertEqual((eth0["inet"], eth0["inet6"]), (["192.0.2.10/24"], ["2001:db8::10/64"]))
        self.assertEqual((rows["eth1"]["up"], rows["eth1"]["carrier"]), (True, False))
        self.assertEqual((rows["br0"]["up"], rows["br0"]["kind"]), (False, "bridge"))

    def test_routes(self):
        """Default route, a network with a path MTU, a blackhole."""
        rows = netdiag.parse_netlink_routes(ROUTES)["routes"]
        self.assertEqual((rows[0]["dst"], rows[0]["via"], rows[0]["dev_index"]),
                         ("default", "192.0.2.1", 2))
        self.assertEqual((rows[1]["dst"], rows[1]["via"], rows[1]["mtu"]),
                         ("198.51.100.0/24", None, 1300))
        self.assertEqual((rows[2]["type"], rows[2]["dst"]), ("blackhole", "203.0.113.9/32"))

    def test_cloned_routes_in_a_dump(self):
        """A learned path MTU is no route of the table."""
        rows = netdiag.parse_netlink_routes([route_message(flags=0x200)])["routes"]
        self.assertEqual(rows, [])

    def test_neighbors(self):
        """States as words; NOARP entries are nobody's neighbours."""
        rows = netdiag.parse_netlink_neighbors(NEIGHBORS)["entries"]
        self.assertEqual([(r["ip"], r["state"]) for r in rows], [
            ("192.0.2.2", "REACHABLE"), ("192.0.2.32", "FAILED"), ("192.0.2.4", "STALE")])
        self.assertEqual(rows[0]["mac"], "00:01:02:03:04:05")

    def test_rules(self):
        """A rule with a source and a table; a rule that refuses."""
        rows = netdiag.parse_netlink_rules(RULES)["rules"]
        self.assertEqual((rows[0]["from"], rows[0]["priority"], rows[0]["table"]),
                         ("10.0.0.0/24", 100, 4000))
        self.assertEqual((rows[1]["to"], rows[1]["action"]), ("203.0.113.9/32", "prohibit"))

    def test_route_query(self):
        """The question for one address has the address, and the source where there is one."""
        body = netdiag.build_route_query("192.0.2.7")
        self.assertEqual(body[:4], struct.pack("=4B", socket.AF_INET, 32, 0, 0))
        self.assertEqual(netdiag.netlink_attributes(body, 12), {1: socket.inet_aton("192.0.2.7")})
        body = netdiag.build_route_query("2001:db8::1%eth0", "2001:db8::2")
        self.assertEqual(sorted(netdiag.netlink_attributes(body, 12)), [1, 2])
        body = netdiag.build_route_query("192.0.2.7", None, 5)
        self.assertEqual(netdiag.netlink_attributes(body, 12)[4], struct.pack("=I", 5))

    def test_route_words(self):
        """`ip route get` and the errno that a connection would meet."""
        for text, error in (("RTNETLINK answers: Network is unreachable\n", "ENETUNREACH"),
                            ("RTNETLINK answers: No route to host\n", "EHOSTUNREACH"),
                            ("RTNETLINK answers: Invalid argument\n", "EINVAL"),
                            ("RTNETLINK answers: Permission denied\n", "EACCES")):
            self.assertEqual(netdiag.parse_route_answer(text)["error"], error)
        found = netdiag.parse_route_answer(
            "203.0.113.1 via 192.0.2.1 dev eth0 src 192.0.2.10 uid 0 \n    cache \n")
        self.assertEqual((found["via"], found["dev"], found["src"], found["error"]),
                         ("192.0.2.1", "eth0", "192.0.2.10", None))


class Icmp(unittest.TestCase):
    """Echo requests and the names of errors."""

    def test_checksum(self):
        """The ones' complement sum over an echo request is all ones (RFC 1071)."""
        for size in (0, 8, 24, 1472):
            packet = netdiag.build_echo(4, 0xbeef, 0xfffe, size)
            total = sum(struct.unpack("!%dH" % (len(packet) // 2), packet))
            while total >> 16:
                total = (total >> 16) + (total & 0xffff)
            self.assertEqual(total, 0xffff)
            self.assertEqual(len(packet), 8 + size // 8 * 8)

    def test_fields(self):
        """Type, identifier and sequence are where RFC 792 and 4443 want them."""
        for version, kind in ((4, 8), (6, 128)):
            packet = netdiag.build_echo(version, 0x1234, 9)
            self.assertEqual(struct.unpack("!BBHHH", packet[:8])[::3], (kind, 0x1234))
            self.assertEqual(packet[6:8], b"\0\x09")

    def test_words(self):
        """Every kind that a rule looks for has a name, and unknown ones have their numbers."""
        known = netdiag.NET_UNREACHABLE | netdiag.HOST_UNREACHABLE | netdiag.REJECTED \
            | netdiag.TIME_EXCEEDED
        self.assertLessEqual(known, set(netdiag.ICMP_WORDS))
        error = {"type": 3, "code": 13}
        self.assertEqual(netdiag.icmp_words("192.0.2.1", error),
                         "administratively prohibited (3/13)")
        self.assertIn("(3/99)", netdiag.icmp_words("192.0.2.1", {"type": 3, "code": 99}))

    def test_sets_of_the_contract(self):
        """The kinds stand for the codes of section 2."""
        self.assertEqual(netdiag.NET_UNREACHABLE, {(4, 3, 0), (4, 3, 6), (4, 3, 11), (6, 1, 0)})
        self.assertLessEqual({(4, 3, 1), (6, 1, 3)}, netdiag.HOST_UNREACHABLE)
        self.assertLessEqual({(4, 3, 3), (4, 3, 9), (4, 3, 10), (4, 3, 13), (6, 1, 1), (6, 1, 4),
                              (6, 1, 5), (6, 1, 6)}, netdiag.REJECTED)
        groups = [netdiag.NET_UNREACHABLE, netdiag.HOST_UNREACHABLE, netdiag.REJECTED,
                  netdiag.TIME_EXCEEDED]
        self.assertEqual(len(set().union(*groups)), sum(map(len, groups)))


# -- certificates ----------------------------------------------------------------------------------

def openssl(*words, **named):
    """Run openssl; its output."""
    child = subprocess.run(("openssl",) + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           input=named.get("feed"))
    if child.returncode:
        raise AssertionError("openssl %s: %s" % (words[0], child.stderr.decode("utf-8", "replace")))
    return child.stdout


BASE = """[req]
distinguished_name = name
prompt = no
string_mask = {mask}
utf8 = yes
x509_extensions = extensions
[name]
{name}
[extensions]
{extensions}
"""
MANY = ",".join("DNS:h%d.example" % n for n in range(180))
# name: (subject lines, extension lines, string mask, key, (not before, not after) or None)
PLAIN = "CN = web.example"
CERTIFICATES = {
    "plain": (PLAIN, "subjectAltName = DNS:web.example", "utf8only", "rsa", None),
    "wildcard": ("CN = *.web.example", "subjectAltName = DNS:*.web.example,DNS:web.example",
                 "utf8only", "ec", None),
    "top_level": ("CN = *.example", "subjectAltName = DNS:*.example", "utf8only", "ec", None),
    "ip": (PLAIN, "subjectAltName = IP:192.0.2.7,IP:2001:db8::7,DNS:web.example", "utf8only",
           "ec", None),
    "idn": ("CN = xn--bcher-kva.example", "subjectAltName = DNS:xn--bcher-kva.example",
            "utf8only", "ec", None),
    "utf8": (u"CN = web.example\nO = \u30cd\u30c3\u30c8\nL = M\xfcnchen", "", "utf8only", "ec",
             None),
    "bmp": (u"CN = web.example\nO = \u30cd\u30c3\u30c8", "", "MASK:0x800", "ec", None),
    "teletex": (u"CN = web.example\nO = M\xfcnchen", "", "MASK:0x4", "ec", None),
    "universal": (u"CN = web.example\nO = \u30cd\u30c3\u30c8", "", "MASK:0x100", "ec", None),
    "printable": ("CN = web.example\nC = JP\nO = Example", "", "pkix", "ec", None),
    "many": (PLAIN, "subjectAltName = " + MANY, "utf8only", "ec", None),
    "other_names": (PLAIN, "subjectAltName = email:a@b.example,URI:https://x.example/,RID:1.2.3,"
                    "DNS:web.example,dirName:name", "utf8only", "ec", None),
    "ca": ("CN = Some CA\nO = Some", "basicConstraints = critical,CA:true", "utf8only", "rsa",
           None),
    "not_ca": (PLAIN, "basicConstraints = CA:false\n"
               "authorityInfoAccess = caIssuers;URI:http://ca.example/ca.crt", "utf8only", "ec",
               None),
    "ocsp_only": (PLAIN, "authorityInfoAccess = OCSP;URI:http://ocsp.example/", "utf8only", "ec",
                  None),
    "ed25519": (PLAIN, "subjectAltName = DNS:web.example", "utf8only", "ed25519", None),
    "past_2049": (PLAIN, "", "utf8only", "ec", ("20200101000000Z", "20510203040506Z")),
    "far": (PLAIN, "", "utf8only", "ec", ("20510101000000Z", "99991231235959Z")),
    "old": (PLAIN, "", "utf8only", "ec", ("19510101000000Z", "19991231235959Z")),
    "odd": ("CN = web.example\nOU = a\\, b\nx.1.2.3.4 = strange\nDC = example\n"
            "emailAddress = me@x.example", "1.2.3.4.5 = ASN1:UTF8String:hello", "utf8only", "ec",
            None),
    "no_cn": ("O = Only Org", "subjectAltName = DNS:web.example", "utf8only", "ec", None),
}
KEYS = {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        "ed25519": ("ed25519",)}


class Factory:
    """Makes the certificates once, in a folder that the class removes."""

    def __init__(self, path):
        self.path = path
        self.made = {}

    def key(self, kind):
        """The path of one key of a kind; keys are made once."""
        path = os.path.join(self.path, kind + ".key")
        if not os.path.exists(path):
            algorithm = {"rsa": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                         "ec": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
                         "ed25519": ("ED25519",)}[kind]
            openssl("genpkey", "-algorithm", *(algorithm + ("-out", path)))
        return path

    def config(self, name, row):
        """The path of the openssl configuration of one certificate."""
        path = os.path.join(self.path, name + ".cnf")
        with open(path, "wb") as stream:
            stream.write(BASE.format(name=row[0], extensions=row[1], mask=row[2]).encode("utf-8"))
        return path

    def der(self, name):
        """One self-signed certificate of the table as DER."""
        if name not in self.made:
            row = CERTIFICATES[name]
            config, key = self.config(name, row), self.key(row[3])
            pem = openssl("req", "-new", "-x509", "-config", config, "-key", key, "-days", "30")
            if row[4]:
                pem = self.dated(name, pem, row[4])
            self.made[name] = openssl("x509", "-outform", "DER", feed=pem)
        return self.made[name]

    def dated(self, name, pem, dates):
        """The same certificate with other dates, signed by `openssl ca`."""
        for file, text in (("index.txt", b""), ("serial", b"1001\n"), (name + ".old", pem)):
            with open(os.path.join(self.path, file), "wb") as stream:
                stream.write(text)
        config = os.path.join(self.path, "ca.cnf")
        with open(config, "w") as stream:
            stream.write(CA_CONFIG.format(folder=self.path))
        key = self.key("ec")
        request = os.path.join(self.path, name + ".csr")
        openssl("req", "-new", "-config", os.path.join(self.path, name + ".cnf"), "-key", key,
                "-out", request)
        return openssl("ca", "-batch", "-config", config, "-keyfile", key, "-selfsign",
                       "-notext", "-in", request, "-startdate", dates[0], "-enddate", dates[1])


CA_CONFIG = """[ca]
default_ca = here
[here]
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
organizationName = optional
"""


def openssl_facts(der):
    """What openssl says of a certificate, in the words of parse_certificate."""
    text = openssl("x509", "-inform", "DER", "-noout", "-serial", "-dates", "-fingerprint",
                   "-sha256", "-ext", "subjectAltName", "-nameopt", "utf8,sep_multiline,sname",
                   "-subject", feed=der).decode("utf-8")
    dates = [re.search(word + r"=(\w{3}) +(\d+) (\S+) (\d+) GMT", text).groups()
             for word in ("notBefore", "notAfter")]
    return {"serial": re.search(r"serial=([0-9A-F]+)", text).group(1).lower().lstrip("0"),
            "sha256": re.search(r"ingerprint=(\S+)", text).group(1).replace(":", "").lower(),
            "dates": [epoch_of(*date) for date in dates],
            "san": re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)}


def epoch_of(month, day, clock, year):
    """Seconds since 1970 of an openssl date."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return calendar.timegm((int(year), months.index(month) + 1, int(day))
                           + tuple(map(int, clock.split(":"))))


def plain_address(text):
    """An address in its one spelling, other texts as they are."""
    version = netdiag.is_address(text)
    if not version:
        return text
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, text))


class Certificates(unittest.TestCase):
    """parse_certificate against what openssl says."""

    @classmethod
    def setUpClass(cls):
        """Somewhere to keep keys."""
        support.need(shutil.which("openssl"), "no openssl command")
        cls.keep = support.folder()
        cls.factory = Factory(cls.keep.__enter__())

    @classmethod
    def tearDownClass(cls):
        """The folder goes."""
        cls.keep.__exit__(None, None, None)

    def facts(self, name):
        """Our facts of one certificate."""
        return netdiag.parse_certificate(self.factory.der(name))

    def test_as_openssl(self):
        """Serial, dates, digest and alternative names are those that openssl reads."""
        for name in sorted(CERTIFICATES):
            with self.subTest(certificate=name):
                ours, theirs = self.facts(name), openssl_facts(self.factory.der(name))
                self.assertEqual(ours["serial"], theirs["serial"])
                self.assertEqual([ours["not_before"], ours["not_after"]], theirs["dates"])
                self.assertEqual(ours["sha256"], theirs["sha256"])
                names = [text for kind, text in ours["san"] if kind in ("DNS", "IP")]
                self.assertEqual(names, [plain_address(text) for text in theirs["san"]])
                self.assertTrue(ours["self_issued"])
                self.assertEqual(ours["subject"], ours["issuer"])

    def test_strings(self):
        """Names in UTF8String, BMPString, UniversalString, TeletexString and PrintableString."""
        for name, wanted in (("utf8", u"\u30cd\u30c3\u30c8"), ("bmp", u"\u30cd\u30c3\u30c8"),
                             ("universal", u"\u30cd\u30c3\u30c8"), ("teletex", u"M\xfcnchen"),
                             ("printable", "Example")):
            with self.subTest(certificate=name):
                self.assertIn(["O", wanted], self.facts(name)["subject"])

    def test_odd_names(self):
        """Types without a name keep their number; commas and mail addresses are text."""
        subject = self.facts("odd")["subject"]
        self.assertIn(["1.2.3.4", "strange"], subject)
        self.assertIn(["DC", "example"], subject)
        self.assertIn(["OU", "a, b"], subject)
        self.assertIn(["emailAddress", "me@x.example"], subject)

    def test_empty_subject(self):
        """A certificate without any subject, named by its SAN alone."""
        facts = netdiag.parse_certificate(self.without_subject())
        self.assertEqual(facts["subject"], [])
        self.assertTrue(netdiag.name_matches(facts, "web.example"))
        self.assertEqual(netdiag.name_text(facts["subject"]), "(empty name)")
        self.assertFalse(facts["self_issued"])

    def without_subject(self):
        """Signed by another, with an empty subject."""
        key = self.factory.key("ec")
        config = self.factory.config("empty", ("", "subjectAltName = critical,DNS:web.example",
                                               "utf8only", "ec", None))
        request = openssl("req", "-new", "-config", config, "-key", key, "-subj", "/")
        folder = self.factory.path
        for file, raw in (("issuer.der", self.factory.der("plain")), ("empty.csr", request)):
            with open(os.path.join(folder, file), "wb") as stream:
                stream.write(raw)
        return openssl("x509", "-req", "-in", os.path.join(folder, "empty.csr"), "-CA",
                       os.path.join(folder, "issuer.der"), "-CAform", "DER", "-CAkey",
                       self.factory.key("rsa"), "-set_serial", "5", "-days", "9", "-extfile",
                       config, "-extensions", "extensions", "-outform", "DER")

    def test_extensions(self):
        """CA or not, and where its issuer can be fetched (OCSP alone does not say)."""
        self.assertTrue(self.facts("ca")["ca"])
        self.assertFalse(self.facts("not_ca")["ca"])
        self.assertTrue(self.facts("not_ca")["aia"])
        self.assertFalse(self.facts("ocsp_only")["aia"])
        self.assertIsNone(self.facts("utf8")["ca"] or None)

    def test_matching(self):
        """RFC 6125: wildcards stand for one label, addresses match addresses only."""
        for name, host, fits in (
                ("plain", "web.example", True), ("plain", "WEB.example.", True),
                ("plain", "other.example", False), ("wildcard", "a.web.example", True),
                ("wildcard", "a.b.web.example", False), ("wildcard", "web.example", True),
                ("ip", "192.0.2.7", True), ("ip", "2001:DB8:0::7", True),
                ("ip", "192.0.2.8", False), ("plain", "192.0.2.7", False),
                ("idn", u"b\xfccher.example", True), ("idn", u"b\xfccher.example.", True),
                ("no_cn", "web.example", True), ("other_names", "b.example", False),
                ("utf8", "web.example", True), ("many", "h179.example", True)):
            with self.subTest(certificate=name, host=host):
                self.assertIs(netdiag.name_matches(self.facts(name), host), fits)

    def test_no_wildcard_for_a_top_level_domain(self):
        """`*.example` would stand for every site under a top-level domain: nobody accepts it."""
        self.assertFalse(netdiag.name_matches(self.facts("top_level"), "web.example"))

    def test_san_only(self):
        """Where there is a SAN the CN does not count."""
        facts = dict(self.facts("plain"), san=[["DNS", "else.example"]])
        self.assertFalse(netdiag.name_matches(facts, "web.example"))

    def test_hostile_names_are_printable(self):
        """Control characters in a subject never come out raw."""
        text = netdiag.name_text([["CN", u"\x1b[31mred\n\u202e\0\x9b"]])
        self.assertRegex(text, r"\A[ -~]+\Z")

    def test_no_certificate(self):
        """Cut short at every length, and foreign bytes: NotMine."""
        der = self.factory.der("plain")
        for end in range(len(der) - 300):
            with self.assertRaises(NotMine):
                netdiag.parse_certificate(der[:end])
        for raw in (b"", b"0", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\0" * 40,
                    b"\x30\x03\x30\x01\x30", b"hello"):
            with self.assertRaises(NotMine, msg=repr(raw)):
                netdiag.parse_certificate(raw)

    def test_mutations(self):
        """Only NotMine may escape from a mangled certificate."""
        for name in sorted(CERTIFICATES):
            only_not_mine(self, netdiag.parse_certificate, self.factory.der(name), 150, name)

    def test_flights(self):
        """A server's flight with real certificates: the chain, and nothing but NotMine."""
        chain = [self.factory.der("plain"), self.factory.der("ca")]
        data = flight(chain)
        facts = netdiag.parse_tls_flight({"data": data, "ended": "done"})
        self.assertEqual([len(facts["chain"]), facts["version"], facts["cipher"]],
                         [2, "TLSv1.2", "0xc02f"])
        self.assertEqual(facts["chain"][1]["ca"], True)
        self.assertEqual(facts["client_cert"], ["Some CA"])
        only_not_mine(self, lambda raw: netdiag.parse_tls_flight({"data": raw, "ended": "closed"}),
                      data, MUTATIONS, "flight")
        handshake = {"ended": "done", "error": None, "chain": chain}
        self.assertEqual(len(netdiag.parse_handshake(handshake)["chain"]), 2)


# -- samples: TLS ----------------------------------------------------------------------------------

def handshake_message(kind, body):
    """One handshake message."""
    return bytes([kind]) + struct.pack("!I", len(body))[1:] + body


def tls_record(kind, payload, version=0x303):
    """One TLS record."""
    return struct.pack("!BHH", kind, version, len(payload)) + payload


def certificate_list(chain):
    """The body of a Certificate message."""
    rows = b"".join(struct.pack("!I", len(der))[1:] + der for der in chain)
    return struct.pack("!I", len(rows))[1:] + rows


SOME_CA = bytes.fromhex("3012311030") + b"\x0e\x06\x03\x55\x04\x03\x0c\x07Some CA"
SERVER_HELLO = struct.pack("!H", 0x303) + b"r" * 32 + b"\0" + b"\xc0\x2f\0"
REQUEST = b"\1\1" + b"\0\2\4\1" + struct.pack("!HH", len(SOME_CA) + 2, len(SOME_CA)) + SOME_CA


def flight(chain, split=900):
    """ServerHello, Certificate, CertificateRequest, HelloDone; messages run across records."""
    body = handshake_message(2, SERVER_HELLO) + handshake_message(11, certificate_list(chain)) \
        + handshake_message(13, REQUEST) + handshake_message(14, b"")
    return b"".join(tls_record(22, body[n:n + split]) for n in range(0, len(body), split))


def read_hello(packet):
    """A ClientHello, read independently of the program -> {version, suites, extensions}."""
    kind, _, length = struct.unpack_from("!BHH", packet)
    if kind != 22 or len(packet) != 5 + length or packet[5] != 1:
        raise AssertionError("not one ClientHello")
    if int.from_bytes(packet[6:9], "big") != length - 4:
        raise AssertionError("wrong handshake length")
    body, found = packet[9:], {}
    at = 35 + body[34]
    count = struct.unpack_from("!H", body, at)[0]
    suites = struct.unpack_from("!%dH" % (count // 2), body, at + 2)
    at += 2 + count
    at += 1 + body[at]
    if struct.unpack_from("!H", body, at)[0] != len(body) - at - 2:
        raise AssertionError("wrong extensions length")
    at += 2
    while at < len(body):
        number, size = struct.unpack_from("!HH", body, at)
        found[number] = body[at + 4:at + 4 + size]
        at += 4 + size
    return {"version": body[:2], "suites": suites, "extensions": found}


class Tls(unittest.TestCase):
    """ClientHellos and the first flight of a server."""

    def test_hello(self):
        """A well-formed ClientHello with the name in it; none for no name."""
        facts = read_hello(netdiag.build_client_hello(u"b\xfccher.example", b"r" * 32))
        name = b"xn--bcher-kva.example"
        self.assertEqual(facts["extensions"][0], struct.pack(
            "!HBH", len(name) + 3, 0, len(name)) + name)
        self.assertEqual(facts["version"], b"\3\3")
        self.assertIn(0xc02f, facts["suites"])
        self.assertNotIn(0, read_hello(netdiag.build_client_hello(None, b"r" * 32))["extensions"])

    def test_real_server_reads_it(self):
        """OpenSSL itself understands our ClientHello and answers with its first flight."""
        try:
            import ssl
        except ImportError:
            self.skipTest("no ssl")
        support.need(shutil.which("openssl"), "no openssl command")
        with support.folder() as path:
            der = Factory(path).der("plain")
            pem = os.path.join(path, "cert.pem")
            with open(pem, "w") as stream:
                stream.write(ssl.DER_cert_to_PEM_cert(der))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem, os.path.join(path, "rsa.key"))
            answer = self.server_flight(ssl, context)
        facts = netdiag.parse_tls_flight({"data": answer, "ended": "done"})
        self.assertEqual((facts["version"], facts["alert"]), ("TLSv1.2", None))
        self.assertEqual(facts["chain"][0], netdiag.parse_certificate(der))
        self.assertTrue(netdiag.flight_is_over(answer))

    def server_flight(self, ssl, context):
        """What an in-memory OpenSSL server sends after our ClientHello."""
        hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
        hello.write(netdiag.build_client_hello("web.example", os.urandom(32)))
        server = context.wrap_bio(hello, answer, server_side=True)
        with self.assertRaises(ssl.SSLWantReadError):
            server.do_handshake()
        return answer.read()

    def test_alert(self):
        """An alert instead of a hello, by its name."""
        data = tls_record(21, b"\2\x70")
        facts = netdiag.parse_tls_flight({"data": data, "ended": "closed"})
        self.assertEqual(facts["alert"], [2, "unrecognized_name"])
        self.assertTrue(netdiag.flight_is_over(data))
        facts = netdiag.parse_tls_flight({"data": tls_record(21, b"\2\xee"), "ended": "closed"})
        self.assertEqual(facts["alert"], [2, "238"])

    def test_not_tls(self):
        """Plain text in answer to a ClientHello."""
        for data, speaks in ((b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"), (b"HTTP/1.1 400 Bad\r\n", "http"),
                             (b"220 mail.example ESMTP\r\n", "smtp")):
            facts = netdiag.parse_tls_flight({"data": data, "ended": "closed"})
            self.assertEqual(facts["speaks"], speaks)
            self.assertTrue(facts["not_tls"])
            self.assertTrue(netdiag.flight_is_over(data))

    def test_one_byte_at_a_time(self):
        """A flight is over with its last byte and not before, however it is cut."""
        data = flight([b"", b""])
        for end in range(len(data)):
            self.assertFalse(netdiag.flight_is_over(data[:end]), end)
        self.assertTrue(netdiag.flight_is_over(data))

    def test_nothing(self):
        """No bytes are no flight, and no error."""
        facts = netdiag.parse_tls_flight({"data": b"", "ended": "silent"})
        self.assertEqual((facts["version"], facts["chain"], facts["ended"]), (None, [], "silent"))

    def test_alerts_in_words(self):
        """OpenSSL's sentences of several versions give the alert's name."""
        for text, name in (
                ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1)",
                 "protocol_version"),
                ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure (_ssl.c:1)",
                 "handshake_failure"),
                ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] ssl/tls alert handshake failure (_ssl.c:1)",
                 "handshake_failure"),
                ("[SSL: TLSV1_UNRECOGNIZED_NAME] tlsv1 unrecognized name (_ssl.c:1)",
                 "unrecognized_name"),
                ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required",
                 "certificate_required"),
                ("[Errno 104] Connection reset by peer", None)):
            with self.subTest(text=text):
                raw = {"ended": "alert", "error": text, "chain": []}
                self.assertEqual(netdiag.parse_handshake(raw)["alert"], name)


# -- HTTP ------------------------------------------------------------------------------------------

def exchange(data, **more):
    """parse_http_exchange on these bytes."""
    return netdiag.parse_http_exchange(dict({"stage": "http", "ended": None, "data": data}, **more))


class Http(unittest.TestCase):
    """Requests, heads, dates, and where redirects lead."""

    def test_request(self):
        """One request line, Host with a port only where it is not the default."""
        for host, port, secure, wanted in (
                ("web.example", 80, False, "web.example"),
                ("web.example", 443, True, "web.example"),
                ("web.example", 8080, False, "web.example:8080"),
                ("2001:db8::1", 443, True, "[2001:db8::1]"),
                (u"b\xfccher.example", 80, False, "xn--bcher-kva.example")):
            lines = netdiag.build_http_request("HEAD", "/a?b", host, port, secure).split(b"\r\n")
            self.assertEqual(lines[0], b"HEAD /a?b HTTP/1.1")
            self.assertIn(b"Host: " + wanted.encode(), lines)
            self.assertEqual(lines[-2:], [b"", b""])

    def test_nothing_injected(self):
        """A path out of a Location header cannot add a header or end the request line."""
        for path in ("/x\r\nEvil: 1", "/x\nEvil: 1", "/x\rEvil: 1", "/x HTTP/1.0\r\n\r\nGET /"):
            try:
                packet = netdiag.build_http_request("GET", path, "web.example", 80, False)
            except NotMine:
                continue
            lines = re.split(b"[\r\n]+", packet)
            self.assertEqual(lines[0].count(b" "), 2, path)
            self.assertTrue(lines[1].startswith(b"Host: "), path)

    def test_head(self):
        """Status, reason and headers; names in any case; both line ends."""
        for end in (b"\r\n", b"\n"):
            data = end.join([b"HTTP/1.1 503 Service  Unavailable", b"SERVER: nginx", b"X: a:b",
                             b"nonsense", b"server: second", b"", b"body: no"])
            head = netdiag.parse_http_head(data)
            self.assertEqual((head["status"], head["reason"]), (503, "Service  Unavailable"))
            self.assertEqual(head["headers"], {"server": "nginx", "x": "a:b"})

    def test_status_lines(self):
        """HTTP/2 in the line, no reason, and what is no HTTP."""
        self.assertEqual(netdiag.parse_http_head(b"HTTP/2 200\r\n\r\n")["status"], 200)
        for data in (b"", b"HTTP/1.1", b"HTTP/1.1 20 OK\r\n", b"ICY 200 OK\r\n", b"\x16\3\1\0\2"):
            with self.assertRaises(NotMine, msg=repr(data)):
                netdiag.parse_http_head(data)

    def test_exchange(self):
        """A status where one came, the first bytes where another protocol answered."""
        facts = exchange(b"HTTP/1.1 301 Moved\r\nLocation: /x?token=secret\r\n"
                         b"Set-Cookie: id=secret\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\r\n")
        self.assertEqual((facts["status"], facts["not_http"]), (301, None))
        self.assertEqual(facts["location"], "/x?token=secret")
        self.assertEqual(facts["date"], 1795219200)
        self.assertNotIn("secret", json.dumps(facts["headers"]))
        self.assertNotIn("set-cookie", facts["headers"])
        other = exchange(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.assertEqual((other["status"], other["speaks"]), (None, "ssh"))
        self.assertEqual(exchange(b"")["status"], None)

    def test_wants_tls(self):
        """A 400 in which a server says that it wanted TLS."""
        body = b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port"
        self.assertTrue(exchange(body)["wants_tls"])
        self.assertFalse(exchange(b"HTTP/1.1 400 Bad Request\r\n\r\nno")["wants_tls"])

    def test_control_characters(self):
        """Nothing in a head can move the cursor."""
        facts = exchange(b"HTTP/1.1 200 \x1b[31mOK\r\nServer: \x1b]0;evil\x07\xff\x9b\r\n\r\n")
        for text in (facts["reason"], facts["headers"]["server"]):
            self.assertRegex(text, r"\A[ -~]*\Z")

    def test_dates(self):
        """The preferred form of RFC 9110, and None for anything else."""
        self.assertEqual(netdiag.parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777)
        for text in (None, "", "yesterday", "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Foo 1994"
                     " 08:49:37 GMT", "0"):
            self.assertIsNone(netdiag.parse_http_date(text))

    def test_wants_tls(self):
        """A page that only talks of an HTTPS server does not ask for one."""
        words = b"HTTP/1.1 %d x\r\nServer: HTTPS server\r\n\r\n"
        for status, wanted in ((400, True), (200, False), (302, False)):
            raw = {"data": words % status, "ended": "closed", "chain": []}
            self.assertIs(netdiag.parse_http_exchange(raw)["wants_tls"], wanted)

    def test_wants_cert(self):
        """nginx asks for a client certificate by a page, once the handshake is over."""
        for words, wanted in (("No required SSL certificate was sent", True), ("no", False)):
            raw = {"data": b"HTTP/1.1 400 x\r\n\r\n" + words.encode(), "ended": "closed"}
            self.assertIs(netdiag.parse_http_exchange(raw)["wants_cert"], wanted)

    def test_answer_time(self):
        """A cache's answer is as old as its Age says: no sign of a wrong clock (RFC 9111 4.2.3)."""
        date = {"date": "Sun, 06 Nov 1994 08:49:37 GMT"}
        self.assertEqual(netdiag.answer_time(date), 784111777)
        self.assertEqual(netdiag.answer_time(dict(date, age="3600")), 784115377)
        self.assertEqual(netdiag.answer_time(dict(date, age="old")), 784111777)
        self.assertIsNone(netdiag.answer_time({"age": "3600"}))

    def test_join(self):
        """Absolute, scheme-relative, root-relative and relative locations (RFC 3986)."""
        base = "https://web.example:8443/a/b?c"
        for location, wanted in (
                ("http://x.example/", "http://x.example/"),
                ("//x.example/y", "https://x.example/y"),
                ("/y", "https://web.example:8443/y"), ("y", "https://web.example:8443/a/y"),
                ("HTTP://x.example/", "HTTP://x.example/"), ("app:done", "app:done"),
                ("./y:z", "https://web.example:8443/a/./y:z")):
            self.assertEqual(netdiag.join_url(base, location), wanted)
        self.assertEqual(netdiag.join_url("http://web.example", "y"), "http://web.example/y")

    def test_sni(self):
        """Names go into SNI, addresses do not, the root dot does not."""
        self.assertEqual(netdiag.sni_for("web.example."), "web.example")
        self.assertIsNone(netdiag.sni_for("192.0.2.1"))
        self.assertIsNone(netdiag.sni_for("2001:db8::1"))


class Ssh(unittest.TestCase):
    """The key exchange as far as the host key, known_hosts, and the words of `ssh`."""

    KEY = b"".join(netdiag.counted(part, "!I") for part in (b"ssh-ed25519", b"k" * 32))
    LISTS = ["curve25519-sha256,kex-strict-s", "ssh-ed25519,rsa-sha2-256", "aes128-ctr",
             "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""]

    def kexinit(self, **changes):
        """A server's identification and KEXINIT; changes: {index of a list: text}."""
        lists = [changes.get("l%d" % n, text).encode() for n, text in enumerate(self.LISTS)]
        payload = b"\x14" + b"c" * 16 + b"".join(netdiag.counted(text, "!I") for text in lists) + b"\0" * 5
        return b"SSH-2.0-OpenSSH_9.2p1 x\r\n" + netdiag.ssh_packet(payload)

    def facts(self, data):
        return netdiag.parse_ssh_exchange({"data": data, "ended": "done"})

    def test_packets(self):
        """Whole blocks of eight, four bytes of padding at least; rests are left alone."""
        for size in range(40):
            packet = netdiag.ssh_packet(b"p" * size)
            self.assertEqual(len(packet) % 8, 0)
            self.assertGreaterEqual(packet[4], 4)
            data = b"SSH-2.0-x\r\n" + packet + packet[:-1]
            self.assertEqual(list(netdiag.ssh_packets(data)), [b"p" * size])

    def test_key(self):
        """Type, fingerprint as ssh-keygen -l prints it, and the base64 of known_hosts."""
        reply = netdiag.ssh_packet(b"\x1f" + netdiag.counted(self.KEY, "!I") + b"rest")
        facts = self.facts(self.kexinit() + reply)
        self.assertEqual((facts["banner"], facts["key_type"], facts["lacks"]),
                         ("SSH-2.0-OpenSSH_9.2p1 x", "ssh-ed25519", []))
        self.assertEqual(base64.b64decode(facts["key"]), self.KEY)
        self.assertEqual(base64.b64decode(facts["sha256"] + "="),
                         hashlib.sha256(self.KEY).digest())

    def test_nothing_in_common(self):
        """Each kind of algorithm is compared with what a current client takes."""
        for index, kind in ((0, "kex"), (1, "host_key"), (2, "cipher"), (4, "mac")):
            facts = self.facts(self.kexinit(**{"l%d" % index: "old-one"}))
            self.assertEqual(facts["lacks"], [kind])

    def test_farewell(self):
        """A disconnect before the key exchange, and a banner alone."""
        words = b"\1\0\0\0\2" + netdiag.counted(b"Too many", "!I") + b"\0\0\0\0"
        facts = self.facts(b"SSH-2.0-x\r\n" + netdiag.ssh_packet(words))
        self.assertEqual((facts["disconnect"], facts["key"], facts["lacks"]), ("Too many", None, []))
        self.assertEqual(self.facts(b"SSH-2.0-x\r\n")["offers"], {})

    def test_first_message(self):
        """Our half of an exchange by curve or by Diffie-Hellman, as the server's list wants it."""
        curve = netdiag.build_kex_init(self.kexinit(), b"s" * 32)
        group = netdiag.build_kex_init(self.kexinit(l0="diffie-hellman-group14-sha1"), b"s" * 32)
        sizes = [len(next(netdiag.uncounted(p[1:]))) for data in (curve, group)
                 for p in netdiag.ssh_packets(b"SSH-2.0-x\n" + data)]
        self.assertEqual(sizes, [32, 97])

    def test_known_hosts(self):
        """Plain, with a port, hashed, by pattern; comments and markers."""
        digest = hmac.new(b"salt", b"h.example", "sha1").digest()
        hashed = "|1|%s|%s" % tuple(base64.b64encode(x).decode() for x in (b"salt", digest))
        text = "# c\nh.example,192.0.2.1 t k1\n[h.example]:2222 t k2\n%s t k3\n" \
            "@revoked *.example t k4\n" % hashed
        rows = netdiag.parse_known_hosts(text)
        self.assertEqual([row["marker"] for row in rows], [None, None, None, "@revoked"])
        for host, port, keys in (("h.example", 22, ["k1", "k3", "k4"]), ("192.0.2.1", 22, ["k1"]),
                                 ("h.example", 2222, ["k2"]), ("other", 22, [])):
            self.assertEqual([r["key"] for r in rows if netdiag.knows_host(r, host, port)], keys)
        self.assertEqual(netdiag.parse_known_hosts(""), [])

    def test_garbage(self):
        """Any bytes end in facts or in NotMine."""
        rng = random.Random(22)
        whole = self.kexinit() + netdiag.ssh_packet(b"\x1f" + netdiag.counted(self.KEY, "!I"))
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 9)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                json.dumps(self.facts(bytes(data[:rng.randrange(len(data))])))
            except netdiag.NotMine:
                pass


class FirstWords(unittest.TestCase):
    """What services answer to a client's first words, and which of them are refusals."""

    def test_answers(self):
        """Answers recorded from real servers (see tests/lab/services.py)."""
        for speaks, refuses, data in (
                ("redis", None, b"+PONG\r\n"), ("redis", None, b"-NOAUTH Authentication required."),
                ("redis", "service.error", b"-DENIED Redis is running in protected mode"),
                ("redis", "service.error", b"-LOADING Redis is loading the dataset in memory"),
                ("redis", None, b"-ERR unknown command 'version'"),
                ("memcached", None, b"VERSION 1.6.18\r\n"),
                ("memcached", "service.error", b"ERROR Too many open connections\r\n"),
                ("postgresql", None, b"R\0\0\0\x17\0\0\0\nSCRAM-SHA-256\0\0"),
                ("postgresql", "service.error", b"E\0\0\0\x90SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf"
                 b" entry for host \"192.0.2.10\"\0"),
                ("postgresql", None, b"E\0\0\0\x40SFATAL\0C28000\0Mrole \"netdiag\" does not exist\0"),
                ("mqtt", None, b"\x20\2\0\0"), ("mqtt", "service.error", b"\x20\2\0\3"),
                ("postgresql", "service.error", b"E\0\0\0\x40SFATAL\0C28000\0Mconnection requires a"
                 b" valid client certificate\0"),
                ("redis", None, b"-ERR operation not permitted\r\n"),          # a login, before 2.8
                ("ldap", "service.error", b"0\x24\2\1\0x\x1f\x0a\1\x34\4\0\4\0\x8a\x161.3.6.1.4.1"
                 b".1466.20036"),                                     # a notice of disconnection
                ("ldap", None, b"0\x0c\2\1\1a\7\x0a\1\0\4\0\4\0"),
                ("ldap", "service.error", b"0\x0c\2\1\1a\7\x0a\1\x33\4\0\4\0"),
                ("kafka", None, b"\0\0\0\x1a\0\0\0n\0\0"), ("socks", None, b"\5\0"),
                ("rdp", None, b"\3\0\0\x13\x0e\xd0\0\0\x124\0"), ("amqp", None, b"\1\0\0\0\0\1\xc3"),
                ("http2", None, b"\0\0\x12\4\0\0\0\0\0"), ("tls", None, b"\x15\3\3\0\2\2F"),
                ("smtp", "service.error", b"554 no"), ("smtp", "service.error", b"451 too busy"),
                ("mysql", "service.error", b"F\0\0\0\xffj\4Host '192.0.2.10' is not allowed")):
            facts = netdiag.read_first_words(data)
            self.assertEqual((facts["speaks"], facts["refuses"]), (speaks, refuses), data)
            self.assertRegex(facts["greeting"], r"\A[ -~]*\Z")

    def test_words_of_binary_protocols(self):
        """Of MySQL's greeting the version is shown, of LDAP's refusal what it means."""
        for words, data in (("8.0.36", b"J\0\0\0\x0a8.0.36\0\7\0\0\0salt"),
                            ("LDAP result 51: busy", b"0\x0c\2\1\1a\7\x0a\1\x33\4\0\4\0"),
                            ("MQTT return code 3: server unavailable", b"\x20\2\0\3")):
            self.assertEqual(netdiag.read_first_words(data)["greeting"], words)

    def test_words_of_a_database(self):
        """Of PostgreSQL's error the sentence is shown, not its fields."""
        facts = netdiag.read_first_words(b"E\0\0\0\x40SFATAL\0C57P03\0Mthe database is starting up\0")
        self.assertEqual((facts["greeting"], facts["refuses"]),
                         ("the database is starting up", "service.error"))

    def test_words_are_known(self):
        """Whoever is spoken to has an answer that is recognised, and a scheme."""
        for protocol in netdiag.FIRST_WORDS:
            self.assertIn(protocol, dict(netdiag.FIRST_BYTES))
            self.assertTrue(protocol in netdiag.PROTOCOLS or protocol == "socks")
        self.assertLessEqual(set(netdiag.STARTTLS), set(netdiag.PROTOCOLS))

    def test_datagrams(self):
        """A kiss of death, a clock that is not set; and a healthy answer."""
        ntp = bytearray(48)
        for first, stratum, word, refuses in ((0x1c, 2, b"abcd", None), (0xdc, 16, b"INIT", 1),
                                              (0xdc, 0, b"DENY", 1)):
            ntp[0], ntp[1], ntp[12:16] = first, stratum, word
            facts = netdiag.parse_datagram({"reply": bytes(ntp)})
            self.assertEqual(facts["refuses"], refuses and "service.error")

    def test_socks(self):
        """What is said to a SOCKS 5 proxy, with and without a login; what its answers mean."""
        plain = netdiag.build_socks("h.example", 443, b"")
        self.assertEqual([say for say, _ in plain], [b"\5\1\0", b"\5\1\0\3\x09h.example\1\xbb"])
        login = netdiag.build_socks("h.example", 443, b"me:pw")
        self.assertEqual([say for say, _ in login][:2], [b"\5\1\2", b"\1\2me\2pw"])
        for said, status in ((None, 200), (b"\5\xff", 407), (b"\5\2\0\1", 403), (b"\5\5\0\1", 502),
                             (b"", None), (b"HTTP/1.1 400", 400)):
            value = netdiag.parse_socks({"stage": "http", "said": said})
            self.assertEqual(value["status"], status, said)
        value = netdiag.parse_socks({"stage": "http", "said": b"", "step": 1})
        self.assertEqual(value["status"], 504)                   # silent about the target only
        value = netdiag.parse_socks({"stage": "http", "said": None, "ended": None,
                                     "data": b"HTTP/1.1 404 Not Found\r\n\r\n"})
        self.assertEqual((value["status"], value["page"]), (200, 404))


class FirstBytes(unittest.TestCase):
    """Which protocol greets, and which greeting is a refusal."""

    def test_guesses(self):
        """The first bytes of real servers."""
        for data, name in (
                (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"), (b"220 x ESMTP Postfix\r\n", "smtp"),
                (b"220 (vsFTPd 3.0.5)\r\n", "ftp"), (b"+OK Dovecot ready.\r\n", "pop3"),
                (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "imap"), (b"RFB 003.008\n", "vnc"),
                (b"J\0\0\0\x0a8.0.36\0rest", "mysql"), (b"\xff\xfd\x18\xff\xfd\x20", "telnet"),
                (b"HTTP/1.1 400 Bad Request\r\n", "http"), (b"\x15\3\1\0\2\2\x46", "tls"),
                (b"-NOAUTH Authentication required.\r\n", "redis"), (b"<!DOCTYPE html>", "http"),
                (b"hello", None), (b"", None)):
            self.assertEqual(netdiag.guess_protocol(data), name, repr(data))


# -- text from outside -----------------------------------------------------------------------------

class Text(unittest.TestCase):
    """What goes into a report is printable ASCII, and without secrets."""

    def test_printable(self):
        """Every character of Unicode's first plane and all bytes come out as printable ASCII."""
        whole = "".join(chr(n) for n in range(0x10000)) + "\U0001f600"
        self.assertRegex(netdiag.printable(whole, 1 << 20), r"\A[ -~]*\Z")
        self.assertRegex(netdiag.printable(bytes(range(256)), 999), r"\A[ -~]*\Z")
        self.assertEqual(netdiag.printable("a\x1b\n"), "a\\x1b\\n")

    def test_limit(self):
        """Long text is cut, and says so."""
        self.assertLessEqual(len(netdiag.printable("x" * 5000)), 303)
        self.assertTrue(netdiag.printable("x" * 5000).endswith("..."))

    def test_secrets(self):
        """User parts and queries of URLs are masked."""
        for url in ("http://user:secret@h.example/", "http://secret@h.example",
                    "https://h.example/a?token=secret", "//a:secret@h/", "/x?secret",
                    "http://a:se@cret:secret@h.example/", "http://h/#x?secret"):
            self.assertNotIn("secret", netdiag.hide_secret(url), url)

    def test_endpoints(self):
        """The ways to write host and port."""
        for text, wanted in (("h", ("h", None)), ("h:1", ("h", "1")), ("::1", ("::1", None)),
                             ("[::1]:22", ("::1", "22")), ("[::1]", ("::1", None)),
                             ("h:", ("h", "")), ("fe80::1%eth0", ("fe80::1%eth0", None))):
            self.assertEqual(netdiag.read_endpoint(text), wanted, text)
        for text in ("[::1", "[h]:1", "[::1]x", "a:b:c", "1:2:3:4"):
            with self.assertRaises(NotMine, msg=text):
                netdiag.read_endpoint(text)

    def test_urls(self):
        """Scheme, user (without a password), host, port, path; a query may follow the host at once."""
        parts = netdiag.read_url("HTTPS://me:x@h.example:8443/a/b?c#d")
        self.assertEqual(parts, {"scheme": "https", "user": "me", "host": "h.example",
                                 "port": "8443", "path": "/a/b?c"})
        self.assertEqual(netdiag.read_url("http://h.example?x")["host"], "h.example")
        self.assertEqual(netdiag.read_url("user@h")["user"], "user")


# -- mutations -------------------------------------------------------------------------------------

def mutated(sample, dice):
    """The sample with a few bytes changed, removed, repeated or cut off."""
    data = bytearray(sample)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(data) + 1)
        action = dice.randrange(5)
        if action == 0 and place < len(data):
            data[place] = dice.choice((0, 1, 0x7f, 0x80, 0xc0, 0xff, dice.randrange(256)))
        elif action == 1:
            data[place:place] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 4)))
        elif action == 2:
            del data[place:place + dice.randint(1, 9)]
        elif action == 3:
            data[place:place] = data[place:place + 20]
        else:
            del data[place:]
    return bytes(data)


def only_not_mine(test, parse, sample, rounds, name):
    """Feed mutations of the sample; anything that escapes but NotMine fails the test."""
    dice = random.Random("%s %s" % (SEED, name))
    for _ in range(rounds):
        raw = mutated(sample, dice)
        try:
            parse(raw)
        except NotMine:
            continue
        except Exception as error:
            test.fail("%s: %r from %s" % (name, error, raw.hex()))


def netlink_parser(parse, kind):
    """A netlink parser that takes one payload."""
    return lambda raw: parse([(kind, raw)])


SAMPLES = (
    ("dns", netdiag.parse_dns, CHAIN),
    ("dns query", netdiag.parse_dns, netdiag.build_dns_query("web.example", "A", 1)),
    ("dns exchange", lambda raw: netdiag.parse_dns_exchange(
        {"reply": raw, "over": "udp", "strays": 0}), CHAIN),
    ("links", netlink_parser(netdiag.parse_netlink_interfaces, 16), LINKS[1][1]),
    ("addresses", lambda raw: netdiag.parse_netlink_interfaces([LINKS[1], (20, raw)]), LINKS[4][1]),
    ("routes", netlink_parser(netdiag.parse_netlink_routes, 24), ROUTES[1][1]),
    ("neighbors", netlink_parser(netdiag.parse_netlink_neighbors, 28), NEIGHBORS[0][1]),
    ("rules", netlink_parser(netdiag.parse_netlink_rules, 32), RULES[0][1]),
    ("flight", lambda raw: netdiag.parse_tls_flight({"data": raw, "ended": "closed"}),
     tls_record(22, handshake_message(2, SERVER_HELLO) + handshake_message(13, REQUEST))),
    ("flight is over", netdiag.flight_is_over, flight([])),
    ("handshake", lambda raw: netdiag.parse_handshake(
        {"ended": "alert", "error": raw.decode("latin-1"), "chain": [raw]}),
     b"[SSL: TLSV1_ALERT] tlsv1 alert protocol version"),
    ("http head", netdiag.parse_http_head, b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\nbody"),
    ("http exchange", exchange, b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nDate: Sat, 21 Nov 2026"
                                b" 00:00:00 GMT\r\n\r\nbody"),
    ("http date", lambda raw: netdiag.parse_http_date(raw.decode("latin-1")),
     b"Sat, 21 Nov 2026 00:00:00 GMT"),
    ("guess", netdiag.guess_protocol, b"220 x ESMTP\r\n"),
    ("route words", lambda raw: netdiag.parse_route_answer(raw.decode("latin-1")),
     b"203.0.113.1 via 192.0.2.1 dev eth0 src 192.0.2.10 uid 0 \n    cache mtu 1400 \n"),
    ("url", lambda raw: netdiag.read_url(raw.decode("latin-1")), b"https://me@h.example:8443/a?b"),
    ("endpoint", lambda raw: netdiag.read_endpoint(raw.decode("latin-1")), b"[2001:db8::1]:443"),
    ("proxy variables", lambda raw: netdiag.parse_proxy_variables(
        {"http_proxy": raw.decode("latin-1"), "no_proxy": raw.decode("latin-1")}),
     b"http://me:x@proxy.example:3128/"),
    ("name", lambda raw: netdiag.dns_labels(raw.decode("latin-1")), b"b\xfccher.web.example"),
)


class Mutations(unittest.TestCase):
    """Whatever bytes come, only NotMine may escape."""

    def test_mutations(self):
        """Seeded mutations of a good sample of every wire format."""
        for name, parse, sample in SAMPLES:
            with self.subTest(format=name):
                only_not_mine(self, parse, sample, MUTATIONS, name)

    def test_noise(self):
        """Random bytes, and runs of one byte."""
        dice = random.Random(SEED)
        for name, parse, _ in SAMPLES:
            for size in (0, 1, 2, 7, 40, 600):
                noise = bytes(dice.randrange(256) for _ in range(size))
                for raw in (noise, b"\0" * size, b"\xff" * size, b"\xc0" * size, b"0" * size):
                    with self.subTest(format=name, raw=raw[:40].hex()):
                        try:
                            parse(raw)
                        except NotMine:
                            pass

    def test_large_input_is_quick(self):
        """A hostile peer cannot make a parser spin: 64 KB of any pattern within a second."""
        patterns = (b"\xc0\x0c", b"\0", b"HTTP/1.1 200 OK\r\n", b"\x16\3\3\0\1\1", b"a.",
                    b"a: b\r\n", b"\x30\x80", b"\x30\x82\xff\xff", b" ", b"//@", b"[",
                    b"\x08\0\1\0abcd")
        for name, parse, _ in SAMPLES:
            for pattern in patterns:
                raw = (pattern * (65536 // len(pattern)))
                began = time.process_time()
                try:
                    parse(raw)
                except NotMine:
                    pass
                spent_s = time.process_time() - began
                self.assertLess(spent_s, 1.5, "%s on %r" % (name, pattern))

    def test_many_dns_records(self):
        """A reply that promises 65,535 records is read within bounds."""
        packet = reply("x.example", 1, [record(POINTER, 1, b"\xc0\0\2\7")] * 300, answers=65535)
        self.assertLessEqual(len(netdiag.parse_dns(packet)["answers"]), 300)


if __name__ == "__main__":
    unittest.main()

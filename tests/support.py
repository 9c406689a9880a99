"""What every test needs: the program as a module, the corpus, honest skipping, and the notation.

The notation of the rules' cases (docstring lines `fires:` and `quiet:`) is read here, see
`read_case`; BLANKS holds the unremarkable answer of each probe, of which a case changes parts.
"""

import collections
import contextlib
import copy
import errno
import importlib.util
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
# A shell's background job ignores Ctrl-C, and what it starts as well: not these tests' children.
signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "corpus")
PROGRAM = os.environ.get("NETDIAG_FORMATS") or os.path.join(ROOT, "netdiag.py")
README = os.path.join(ROOT, "README.md")


def load():
    """Import netdiag.py by path, once; NETDIAG_FORMATS names another file to load instead."""
    if "netdiag" not in sys.modules:
        spec = importlib.util.spec_from_file_location("netdiag", PROGRAM)
        module = importlib.util.module_from_spec(spec)
        sys.modules["netdiag"] = module
        spec.loader.exec_module(module)
    return sys.modules["netdiag"]


def need(condition, reason):
    """Skip the test where the condition does not hold; under CI that is a failure."""
    if not condition:
        if os.environ.get("CI"):
            raise AssertionError("needed under CI: " + reason)
        raise unittest.SkipTest(reason)


# -- the words of the notation ---------------------------------------------------------------------

NAMES = {"A": "192.0.2.1", "G": "198.51.100.1", "R": "192.0.2.53", "S": "192.0.2.54",
         "N": "web.example", "P": "192.0.2.8:3128", "C": "198.51.100.9"}
OWN = NAMES["C"]
SIDE = {"hosts": ["files", "dns"]}
TEXTS = ("greeting", "reply", "reason", "error", "not_http", "not_tls", "text")   # never numbers

TARGET = {"host": "192.0.2.1", "literal": 4, "port": 443, "knock_port": 443, "protocol": "tcp",
          "transport": "tcp", "tls": False, "path": None, "sni": None, "family": 0,
          "source": None, "connect_to": None, "proxy": None, "greeting_s": None, "cafile": None,
          "interface": None, "bound": False, "user": None, "mode": "target", "client": None,
          "asked": True, "watched_s": None, "file": None, "upgrade": False}
LISTENER = {"proto": "tcp", "addr": "0.0.0.0", "port": 80, "waiting": 0, "limit": 128, "uid": 0,
            "inode": 7, "only_v6": None, "dropped": 0}
WATCHED = {"most": {}, "fewest": {}, "half_open": {}, "peers": {}, "waiting": 0, "limit": 128,
           "dropped": 0, "unaccepted": 0}
PROCESS = {"name": "nginx", "pid": 5, "user": "root", "state": "S", "unit": None, "limit": 1024,
           "container": None, "descriptors": 9, "wrapped": False}
INTERFACE = {"name": "eth0", "index": 2, "up": True, "carrier": True, "loopback": False,
             "inet": [OWN + "/24"], "inet6": [], "mac": None, "mtu": 1500, "state": "UP"}
CERTIFICATE = {"subject": [["CN", "web.example"]], "issuer": [["CN", "Some CA"]],
               "san": [["DNS", "web.example"]], "not_before": 0, "not_after": 9999999999,
               "ca": False, "aia": False, "self_issued": False, "serial": "1", "sha256": "00"}
ROUTE = {"type": "unicast", "dev": "eth0", "via": None, "src": OWN, "table": None, "mtu": None,
         "error": None}
DNS = {"id": 1, "rcode": "NOERROR", "truncated": False, "authoritative": False,
       "recursion": True, "question": None, "answers": [], "addresses": [], "over": "udp",
       "strays": 0}
TCP_INFO = {"state": 7, "retrans": 1, "total_retrans": 2, "rtt_us": 0}
TCP = {"state": "open", "errno": None, "immediate": False, "icmp": [], "ms": 1.0,
       "info": {"state": 1, "total_retrans": 0, "rtt_us": 900}, "waited_s": 0.4, "after": "open",
       "greeting": None, "speaks": None, "refuses": None, "local": OWN}
KNOCK = {"settled": True, "state": "open", "errno": None, "ms": 1.0}
TRACE = {"mode": "udp", "port": 33434, "hops": [], "end": None, "sent_to_ttl": 10}
TLS = {"ended": "done", "error": None, "reason": None, "verify_code": None,
       "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384",
       "chain": [CERTIFICATE], "alert": None, "ms": 3.0, "cut": None,
       "store": {"file": None, "loaded": 140, "owners": []}}
FLIGHT = {"version": "TLSv1.2", "cipher": "0xc02f", "chain": [CERTIFICATE], "client_cert": None,
          "alert": None, "not_tls": None, "ended": "done", "bytes": 3000}
HTTP = {"stage": "http", "error": None, "connect_ms": 1.0, "tls_ms": None, "first_byte_ms": 2.0,
        "ended": None, "info": {}, "status": 200, "reason": "OK", "version": "1.1",
        "headers": {}, "not_http": None, "date": None, "location": None, "wants_tls": False,
        "cookies": [], "bytes": 200}
UDP = {"reply": None, "icmp": [], "error": None, "sent": 2, "ms": None}
PING = {"sent": 1, "received": 1, "reached": True, "rtt_avg_ms": 1.0, "errors": []}

CAPTURE = {"packets": 9, "problem": None, "flows": [], "protocols": {}, "states": {},
           "dropped": 0, "seconds": 30.0, "via": "AF_PACKET"}
STUCK = {"sender": "server", "bytes": 80, "again": 3, "missing": False, "passed": 0, "acked": 9}
FLOW = dict(dict.fromkeys((
    "packets syn syn_retransmits synack synack_retransmits rst fin retransmits reordered"
    " zero_window duplicate_acks").split(), 0), protocol="tcp", client=OWN, client_port=50000,
    server="192.0.2.1", server_port=443, state="established", icmp=[], rtt_ms=0.5, syn_s=[0.0],
    handshake=False, ended_by=None, mss=[1460, 1460], scale=[7, 7], ttl=[64, 60],
    rst_ttl=[None, 60], bytes=[0, 0], foreign_rst=[False, False], seen_at=None, quiet_s=0.0,
    isn=1, stuck=None, silent=None, began_s=0.0, copies={},
    lasted_s=None, window=[900, 900], idle_s=0, unanswered=False)

# probe: the value of its unremarkable answer; for other outcomes see FAILED.
BLANKS = {
    "target": TARGET,
    "identity": {"name": "box", "system": "Linux 6.1", "user": "me", "root": False,
                 "raw_sockets": False, "python": "3.11.2"},
    "marks": {}, "clock": {"epoch": 5000, "utc": "1970-01-01T01:23:20+00:00",
                           "local": "1970-01-01T01:23:20+00:00"},
    "interfaces": {"interfaces": [INTERFACE]}, "interfaces_now": {"interfaces": [INTERFACE]},
    "counters": {}, "moved": {}, "conntrack": {"entries": 0}, "cut_ttl": {"ttl": None, "far": 4},
    "words": {"stage": "http", "ended": None, "error": None, "bytes": 0, "greeting": "",
              "speaks": None, "refuses": None},
    "known_hosts": [], "ssh": {"banner": "SSH-2.0-x", "offers": {}, "key_type": "ssh-ed25519",
                               "key": "AAAA", "sha256": "x", "disconnect": None, "ended": "done",
                               "auth_methods": None, "lacks": []},
    "other_source": {"state": "open", "errno": None, "ms": 0.5, "other": "198.51.100.8"},
    "marked": {"tried": 1, "open": 0, "silent": 0, "resent": 0},
    "routes": {"routes": [], "error": None}, "policy": {"rules": []},
    "resolv_conf": {"nameservers": ["192.0.2.53"], "used": ["192.0.2.53"], "search": [],
                    "options": {}},
    "proxy_env": {"no_proxy": [""], "kubernetes": False},
    "lookup": ["192.0.2.1"], "hosts_file": [], "dns": DNS, "general_dns": DNS,
    "route": ROUTE, "egress": ROUTE,
    "neighbor": {"ip": None, "dev": None, "state": "REACHABLE", "mac": None},
    "unused": {"ip": None, "dev": None, "state": "STALE", "mac": None},
    "neighbors": {"entries": [], "error": None}, "segment": {},
    "knock": KNOCK, "control_tcp": KNOCK, "other_ports": KNOCK, "tcp": TCP,
    "unheard": {"idle": 0, "sent": 6, "lost": 0, "resets": 0}, "ping": PING,
    "trace_udp": TRACE, "trace_tcp": dict(TRACE, mode="tcp", port=443),
    "trace_icmp": dict(TRACE, mode="icmp", port=0),
    "sizes": {"size": 1500, "answered": True, "mtu": None, "from": None, "by": "echo"},
    "tls": TLS, "peer": TLS, "hello": FLIGHT, "small": FLIGHT, "large": FLIGHT,
    "secure": FLIGHT,
    "versions": FLIGHT, "stores": TLS, "through": TLS, "page": HTTP, "http": HTTP,
    "redirects": HTTP, "tunnel": HTTP, "spare_proxy": HTTP, "proxy_alone": HTTP, "transfer": HTTP,
    "udp": UDP,
    "retries": {"tried": 4, "open": 4, "silent": 0, "resent": 0, "refused": 0},
    "resends": {"tried": 4, "open": 4, "silent": 0, "resent": 0, "refused": 0},
    "sockets": {"listeners": [], "udp": [], "tcp_states": {}},
    "owners": {"inodes": {"7": 5}, "processes": {"5": PROCESS}, "users": {"0": "root"}},
    "rules": {"bases": [], "tables": []}, "rules_now": {"bases": [], "tables": []},
    "watch": {"80": WATCHED}, "grown": {},
    "wrappers": {"rules": []}, "limits": {}, "kernel_log": {"lines": []}, "switch": {"neighbors": [], "error": None},
    "elsewhere": {"listeners": [], "namespaces": 0}, "units": [], "back": ROUTE,
    "hops": {"ip": None, "dev": None, "state": "REACHABLE", "mac": None}, "returning": ROUTE,
    "loop": {"tried": 1, "open": 1, "silent": 0, "resent": 0}, "logs": {"lines": []},
    "reset_ttl": {"ttl": None, "host_ttl": 64, "by_us": None}, "capture": CAPTURE, "flow": FLOW,
    "waiting": 30, "dropped": {},
    "exchange": {"greeting": "", "bytes": 3000, "arrived": True, "back_bytes": 3000,
                 "ended": "done"},
    "arrivals": {"arrivals": [], "half_open": {}, "turned_away": 0,
                 "interrupted": False, "error": None},
    "checks": {"checks": 60, "failed": 0, "outages": []},
    "report": {"role": "client", "mode": "target", "host": "box", "addresses": [OWN],
               "target": "192.0.2.1:443", "goal": "192.0.2.1", "port": 443, "protocol": "tcp",
               "goals": ["192.0.2.1"], "code": "ok", "summary": "It is so.", "fix": [],
               "suspects": [], "confidence": "certain", "began_s": 5000, "ended_s": 5010,
               "flows": [], "path": [], "sources": [OWN], "listens": None, "captured": False,
               "half_open": {}, "peers": [], "arrivals": None, "greeted": None, "facts": {}},
}
ERRNOS = {"refused": "ECONNREFUSED", "unreachable": "EHOSTUNREACH", "denied": "EPERM"}


NO_TLS = {"ended": "no_connection", "error": "ETIMEDOUT", "chain": [], "version": None,
          "verify_code": None, "reason": None}
NO_HTTP = {"stage": "connect", "error": "ETIMEDOUT", "data": "", "connect_ms": None,
           "tls_ms": None, "first_byte_ms": None, "ended": None, "info": {}}
NO_LOOKUP = {"stage": "lookup", "error": "EAI_NONAME", "data": ""}
NO_FLIGHT = {"data": "", "ended": "no_connection"}
NO_UDP = {"reply": None, "icmp": [], "error": None, "sent": 3, "strays": 0, "ms": None}
# What room 4 brings where the outcome is not `ok`: it comes past the parsers.  None: no value.
FAILED = {
    "tls": NO_TLS, "peer": NO_TLS, "hello": NO_FLIGHT, "small": NO_FLIGHT, "large": NO_FLIGHT,
    "secure": NO_FLIGHT,
    "versions": NO_FLIGHT, "stores": NO_TLS, "through": NO_TLS, "page": NO_HTTP, "http": NO_HTTP,
    "transfer": NO_HTTP, "redirects": NO_LOOKUP, "tunnel": NO_HTTP, "spare_proxy": NO_HTTP,
    "proxy_alone": NO_LOOKUP,
    "dns": dict(NO_UDP, over="udp"), "general_dns": dict(NO_UDP, over="udp"), "udp": NO_UDP,
    "lookup": {"error": "EAI_NONAME", "text": "no"},
    "exchange": None, "ping": None, "trace_udp": None, "trace_tcp": None, "trace_icmp": None,
    "sizes": None,
    "retries": None, "resends": None, "ssh": {"ended": "no_connection"}, "words": NO_HTTP}


def failed_connection(probe, outcome):
    """A knock or a connection that did not open."""
    value = copy.deepcopy(BLANKS[probe])
    if outcome == "timeout":
        value.update(state="silent" if probe == "tcp" else "trying", ms=None)
    else:
        value.update(state="error", errno=ERRNOS.get(outcome))
    if probe == "tcp":
        value.update(after=None, local=None, info=TCP_INFO if outcome == "timeout" else {})
    return value


def blank(probe, outcome, subject):
    """The unremarkable value of one answer."""
    if outcome == "unknown":
        return None
    if outcome != "ok" and probe in ("tcp", "knock", "control_tcp", "other_ports"):
        return failed_connection(probe, outcome)
    if outcome != "ok" and probe in FAILED:
        value = copy.deepcopy(FAILED[probe])
        if value and value.get("error"):
            value["error"] = ERRNOS.get(outcome, "ETIMEDOUT") if probe != "lookup" else \
                "ETIMEDOUT" if outcome == "timeout" else "EAI_NONAME"
        return value
    value = copy.deepcopy(BLANKS.get(probe, {}))
    if probe == "resolv_conf" and subject == "nsswitch":
        return copy.deepcopy(SIDE)
    if probe in ("neighbor", "hops", "unused"):
        value["ip"], value["dev"] = (subject.split() + [None])[:2]
    return value


# -- the reader of the notation --------------------------------------------------------------------

WORD = re.compile(r"(^|//)(%s)(?=$|[/:])" % "|".join(NAMES))
SUBJECT_WORD = re.compile(r"(?<![\w.-])(%s)(?![\w.-])" % "|".join(NAMES))


def spelled(value):
    """A value with the short names in it spelled out."""
    if isinstance(value, str):
        return WORD.sub(lambda found: found.group(1) + NAMES[found.group(2)], value)
    if isinstance(value, list):
        return [spelled(item) for item in value]
    if isinstance(value, dict):
        return {key: spelled(item) for key, item in value.items()}
    return value


def spelled_subject(probe, text):
    """A subject: commas are blanks, short names are spelled out; the A of a question stays."""
    words = text.split(",")
    for place, word in enumerate(words):
        if probe in ("dns", "general_dns") and place == 1:
            continue
        words[place] = SUBJECT_WORD.sub(lambda found: NAMES[found.group(1)], word)
    return " ".join(words)


def scan_value(text):
    """The value at the start of `text` and what lies behind it; plain words end at a blank."""
    if text[:1] in ('{', '[', '"'):
        value, end = json.JSONDecoder().raw_decode(text)
        return value, text[end:]
    word, _, rest = text.partition(" ")
    try:
        return json.loads(word), rest
    except ValueError:
        return word, rest


def scan_changes(text):
    """`key=value key=value` -> [(key, value)]."""
    changes, rest = [], text.strip()
    while rest:
        key, sign, rest = rest.partition("=")
        if not sign or " " in key.strip():
            raise ValueError("not a change: %r in %r" % (key, text))
        value, rest = scan_value(rest)
        changes.append((key.strip(), spelled(value)))
        rest = rest.strip()
    return changes


def icmp_value(text):
    """'3/1@198.51.100.1' -> the ICMP errors of an answer."""
    kind, code, sender = re.match(r"(\d+)/(\d+)@(\S+)$", text).groups()
    return [{"type": int(kind), "code": int(code), "from": spelled(sender), "ttl": None,
             "origin": "icmp", "mtu": None}]


def change(value, changes):
    """The value with single parts changed; -> (value, ms of the answer itself or None)."""
    ms = None
    for key, new in changes:
        if key == "icmp":
            value["icmp"] = icmp_value(new)
        elif key.startswith("stuck."):
            value["stuck"] = dict(value["stuck"] or STUCK, **{key[6:]: new})
        elif key.startswith("cert."):
            value["chain"][0][key[5:]] = new
        elif not isinstance(value, dict) or key == "ms" and "ms" not in value:
            if key != "ms":
                raise ValueError("no part %r in %r" % (key, value))
            ms = new
        else:
            value[key] = str(new) if key in TEXTS and isinstance(new, (int, float)) else new
    return value, ms


def read_answer(text):
    """One answer of a case -> (probe, subject, outcome, value, ms)."""
    head, _, rest = text.strip().partition(" ")
    probe, _, subject = head.partition("/")
    if probe == "iface":
        words = re.sub(r"^ok(\s|$)", "", rest.strip())
        row, _ = change(dict(copy.deepcopy(INTERFACE), name=subject), scan_changes(words))
        return "interfaces", "all", "ok", {"interfaces": [row]}, None
    if probe == "listener":
        row, _ = change(dict(LISTENER, addr=subject), scan_changes(rest))
        return "sockets", "tcp", "ok", dict(BLANKS["sockets"], listeners=[row]), None
    outcome, _, rest = rest.strip().partition(" ")
    if outcome not in load().OUTCOMES:
        raise ValueError("no outcome in %r" % text)
    subject = spelled_subject(probe, subject)
    if probe == "watch":                   # what a case says of a port is added to what is usual
        ports = dict(scan_changes(rest))
        return probe, subject, outcome, {
            port: dict(WATCHED, **seen) for port, seen in ports.items()}, None
    if probe == "owners":                  # and of a process to the usual one
        value, _ = change(blank(probe, outcome, subject), scan_changes(rest))
        value["processes"] = {pid: dict(PROCESS, **row) for pid, row in value["processes"].items()}
        return probe, subject, outcome, value, None
    if rest[:1] in ("{", "["):
        return probe, subject, outcome, spelled(json.loads(rest)), None
    value, ms = change(blank(probe, outcome, subject), scan_changes(rest))
    return probe, subject, outcome, value, ms


def default_target(rows, changes):
    """The target's value for a case: the literal, or the name where names are its matter."""
    named = any(NAMES["N"] in row[1].split() for row in rows if row[0] != "target")
    secure = any(row[0] in ("tls", "hello", "peer") for row in rows)
    value = copy.deepcopy(TARGET)
    if named:
        value.update(host=NAMES["N"], literal=0)
    if secure:
        value.update(tls=True, sni=NAMES["N"])
    return dict(value, **dict(changes))


def target_row(text, rows):
    """The target of a case, from its `target/...` text (None: the default)."""
    head, _, rest = (text or "target/A ok").partition(" ")
    subject = spelled_subject("target", head.partition("/")[2])
    rest = rest.strip().partition(" ")[2]
    value = default_target(rows, ())
    if subject == NAMES["N"]:
        value.update(host=NAMES["N"], literal=0)
    changes = dict(json.loads(rest) if rest[:1] == "{" else scan_changes(rest))
    if changes.get("host", True) is None:
        value.update(literal=0, port=None, knock_port=None, protocol=None)
    value.update(spelled(changes))
    return "target", subject, "ok", value, None


def join_interfaces(rows):
    """Several `iface/NAME` rows are one answer."""
    links = [row for row in rows if row[:2] == ("interfaces", "all") and row[3]]
    merged = [link for row in links for link in row[3]["interfaces"]]
    others = [row for row in rows if row[:2] != ("interfaces", "all") or not row[3]]
    return ([("interfaces", "all", "ok", {"interfaces": merged}, None)] if links else []) + others


SERVER = r"target/- ok host=null mode=server protocol=http transport=tcp port=\1"   # port/80


def read_case(text):
    """A case in the notation -> [Answer], numbered, with the target and, where named, the clock."""
    parts = [re.sub(r"^port/(\d+)", SERVER, part.strip())
             for part in re.split(r"\s;\s", " " + text + " ") if part.strip()]
    targets = [part for part in parts if part.startswith("target/")]
    rows = [read_answer(part) for part in parts if not part.startswith("target/")]
    if not targets and any(NAMES["N"] in row[1].split() for row in rows):
        targets = ["target/N ok"]
    if not targets and any(row[0] == "flow" for row in rows):
        targets = ["target/- ok host=null mode=capture protocol=tcp"]
    rows = [target_row(targets[0] if targets else None, rows)] + join_interfaces(rows)
    return number([make_answer(*row) for row in rows])


def make_answer(probe, subject, outcome, value, ms=None):
    """An Answer as a probe would have given it."""
    return load().Answer(probe, subject, outcome, value, "test", (), 1.0 if ms is None else ms,
                         None)


def number(answers):
    """The answers with ids, in their order."""
    return [row._replace(id="e%d" % place) for place, row in enumerate(answers, 1)]


def as_table(answers):
    """{probe: [answers]} of a list, with an entry for every probe."""
    return load().by_probe(answers)


def read_evidence(line):
    """One line of `evidence_lines` (or of a report) -> Answer: the notation as it was saved."""
    head, outcome, value = line.split(" ", 2)
    probe, _, subject = head.partition("/")
    subject = subject.replace(",", " ").replace("%2C", ",").replace("%25", "%")
    return load().Answer(probe, subject, outcome, json.loads(value))


def docstring_cases(docstring):
    """[(kind, text)] of a rule's docstring; a line that ends in ' ;' goes on in the next."""
    cases, open_line = [], False
    for line in (docstring or "").splitlines():
        found = re.match(r"\s*(fires|quiet):\s*(.*)", line)
        if found:
            cases.append([found.group(1), found.group(2).rstrip()])
        elif open_line:
            cases[-1][1] += " " + line.strip()
        open_line = bool(cases) and line.rstrip().endswith(" ;")
    return [(kind, text) for kind, text in cases]


Case = collections.namedtuple("Case", "rule kind text")


def all_cases():
    """Every case of every rule."""
    return [Case(name, kind, text) for name, rule in load().RULES.items()
            for kind, text in docstring_cases(rule.function.__doc__)]


@contextlib.contextmanager
def only_rules(*names):
    """The program with these rules alone."""
    netdiag = load()
    before = netdiag.RULES.copy()
    netdiag.RULES.clear()
    netdiag.RULES.update((name, before[name]) for name in names)
    try:
        yield netdiag
    finally:
        netdiag.RULES.clear()
        netdiag.RULES.update(before)


# -- questions of probes ---------------------------------------------------------------------------

def drive(questions, reply):
    """All questions of a generator, lists of them too; each is answered by reply(question)."""
    asked = []
    try:
        step = next(questions)
        while True:
            many = isinstance(step, list)
            asked += step if many else [step]
            step = questions.send([reply(q) for q in step] if many else reply(step))
    except StopIteration:
        return asked


def told(probe, **parts):
    """A reply for drive(): the unremarkable answer of a probe, changed."""
    def reply(question):
        value = blank(probe, "ok", question.subject)
        if parts:
            value.update(parts)
        return make_answer(probe, question.subject, "ok", value)
    return reply


def questions(name, case, reply=None):
    """The questions of one probe, given the answers of a case -> [Ask]."""
    netdiag = load()
    table = as_table(read_case(case))
    item = netdiag.PROBES[name]
    table["wish"] = table["target"][0].value
    needs = {need: table[need] for need in list(item.needs) + list(item.optional)}
    return drive(item.function(**needs), reply or told(name))


def subjects(name, case, reply=None):
    """What one probe asks about, given a case."""
    return [question.subject for question in questions(name, case, reply)]


class FakeSystem:
    """A machine that answers as told: {verb: (outcome, raw) or a function of the arguments}."""

    def __init__(self, **verbs):
        self.verbs = verbs
        self.calls = []
        self.packets = 0
        self.transcript = []
        self.clock_s = 0.0

    def monotonic(self):
        """A clock that goes forward when it is looked at."""
        self.clock_s += 0.001
        return self.clock_s

    def now(self):
        """A fixed date."""
        return 1800000000.0

    def own_digest(self):
        """None: nothing was read."""
        return None

    def wants_color(self, _):
        """No."""
        return False

    def __getattr__(self, verb):
        if verb.startswith("_"):
            raise AttributeError(verb)

        def put(*args, **named):
            self.calls.append((verb, args))
            told = self.verbs.get(verb, ("unknown", "not there"))
            return told(*args, **named) if callable(told) else told
        return put


def rendered(reports, transcript=(), **changes):
    """The document that the program would print about some reports."""
    system = FakeSystem()
    system.transcript = list(transcript)
    return load().render_document(reports, system, options(**changes),
                                  "2026-11-21T10:00:00+00:00", 0.0)


def options(**changes):
    """The options of an empty command line, changed."""
    known = load().read_arguments([])[0]
    return known._replace(**changes)


# -- running the program ---------------------------------------------------------------------------

Run = collections.namedtuple("Run", "status out err")


def lonely():
    """The words that put a command into an empty network of its own; [] where we may not."""
    words = ["unshare", "-n" if os.getuid() == 0 else "-rn"]
    try:
        allowed = subprocess.call(words + ["true"], stderr=subprocess.DEVNULL) == 0
    except OSError:
        allowed = False
    return words if allowed else []


def start(*argv, **named):
    """A run of netdiag.py with the current interpreter, as a Popen with pipes.

    alone=True: in an empty network, so that nothing can be sent anywhere.
    """
    front = lonely() if named.pop("alone", False) else []
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **named.pop("env", {}))
    named.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(front + [sys.executable, "-W", "error", PROGRAM] + list(argv),
                            stdout=named.pop("stdout", subprocess.PIPE),
                            stderr=subprocess.PIPE, env=environment, **named)


def finish(child, feed=None, timeout_s=40):
    """The end of a run -> Run; a run that hangs is killed and fails the test."""
    try:
        out, err = child.communicate(feed, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise AssertionError("netdiag did not end within %s s" % timeout_s)
    return Run(child.returncode, (out or b"").decode("utf-8"), (err or b"").decode("utf-8"))


def netdiag_run(*argv, **named):
    """Run netdiag.py to its end."""
    feed = named.pop("feed", None)
    if feed is not None:
        named["stdin"] = subprocess.PIPE
    return finish(start(*argv, **named), feed)


@contextlib.contextmanager
def folder():
    """A temporary folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="netdiag-test-") as path:
        yield path


# -- servers on loopback ---------------------------------------------------------------------------

class Server:
    """A TCP server on loopback: `serve(connection)` runs for each client, in a thread each."""

    def __init__(self, serve, host="127.0.0.1", port=0):
        self.serve = serve
        self.open = []
        self.threads = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))
        self.sock.listen(64)
        self.host, self.port = self.sock.getsockname()[:2]

    def __enter__(self):
        self.begin(self.accept)
        return self

    def begin(self, work, *args):
        """Run something beside."""
        thread = threading.Thread(target=work, args=args)
        thread.daemon = True
        thread.start()
        self.threads.append(thread)

    def accept(self):
        """Take clients until the listening socket is shut down."""
        while True:
            try:
                connection = self.sock.accept()[0]
            except OSError:
                return
            self.open.append(connection)
            self.begin(self.handle, connection)

    def handle(self, connection):
        """One client; what it does to us does not matter."""
        connection.settimeout(20)
        try:
            self.serve(connection)
        except OSError:
            pass

    def __exit__(self, *_):
        self.sock.shutdown(socket.SHUT_RDWR)
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(20)
        for sock in self.open + [self.sock]:
            sock.close()


def speaks(*turns):
    """A server that says its turns, (wait for the client first?, words), and hears out the end."""
    def serve(connection):
        for wait, words in turns:
            if wait:
                connection.recv(4096)
            connection.sendall(words)
        while connection.recv(4096):
            pass
    return serve


def says(*data):
    """A server that sends this, and then waits for the client's end."""
    return speaks(*[(False, part) for part in data])


def answers(data, heard=None):
    """A server that waits for a request (it goes to the list `heard`), answers and closes."""
    def serve(connection):
        request = connection.recv(4096)
        if heard is not None:
            heard.append(request)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    return serve


def tls_server(path):
    """serve() that speaks TLS with a fresh self-signed certificate -> (serve, certificate file)."""
    import ssl
    certificate, key = make_certificate(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection):
        with context.wrap_socket(connection, server_side=True,
                                 do_handshake_on_connect=False) as tls:
            tls.do_handshake()                   # within: one that fails is closed as well
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if tls.recv(4096) else b"")
            tls.recv(10)
    return serve, certificate


def closes(connection):
    """A server that closes at once."""
    connection.close()


def resets(connection):
    """A server that resets at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def resets_later(connection):
    """A server that resets when it has been spoken to."""
    connection.recv(4096)
    resets(connection)


silent = says()


def closed_port(kind=socket.SOCK_STREAM, host="127.0.0.1"):
    """A port of loopback on which nothing listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, kind)) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


def has_ipv6():
    """Can this machine use ::1?"""
    try:
        with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def may_bind_low():
    """May we listen on port 53 of a loopback address?"""
    try:
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind(("127.77.0.1", 53))
        return True
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM, errno.EADDRINUSE,
                                   errno.EADDRNOTAVAIL)


def read_capture(records, own=None, until_s=None, client=None):
    """Records -> what a report tells of a capture."""
    return load().capture_value(load().follow_records(records, client), own, until_s, client)


def pcap_file(records, *link):
    """The bytes of a capture file."""
    return load().build_pcap(*link) + b"".join(map(load().build_pcap_record, records))


def proxy_at(host, port, scheme="http"):
    """A proxy as `read_proxy` knows it."""
    return {"host": host, "port": port, "variable": "x_proxy", "scheme": scheme}


def make_certificate(path, name="web.example", names="DNS:web.example,IP:127.0.0.1"):
    """A self-signed certificate in a folder -> (certificate file, key file)."""
    certificate, key = os.path.join(path, "cert.pem"), os.path.join(path, "key.pem")
    config = os.path.join(path, "openssl.cnf")
    with open(config, "w") as stream:
        stream.write("[req]\ndistinguished_name=n\nprompt=no\nx509_extensions=e\n[n]\nCN=%s\n"
                     "[e]\nsubjectAltName=%s\nbasicConstraints=CA:true\n" % (name, names))
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "60", "-config", config, "-keyout", key, "-out", certificate],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return certificate, key


def open_descriptors():
    """The descriptors of this process, as {number: what it is}."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[number] = os.readlink("/proc/self/fd/" + number)
    return found


def is_gone(pid):
    """True when a process has ended; a zombie of our own has not, one that is init's has."""
    try:
        with open("/proc/%d/stat" % pid) as stream:
            state, parent = stream.read().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX" and int(parent) != os.getpid()


def wait_gone(pid, seconds=3):
    """Wait until a process has ended."""
    until = time.monotonic() + seconds
    while not is_gone(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return is_gone(pid)

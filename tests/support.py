"""What every test needs: the program as a module, the corpus, honest skipping, and the notation.

The notation of the rules' cases (docstring lines `fires:` and `quiet:`) is read here, see `read_case`;
BLANKS holds the unremarkable answer of each probe, of which a case changes single parts.
"""

import collections
import contextlib
import copy
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

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


# -- the words of the notation ------------------------------------------------------------------------

NAMES = {"A": "192.0.2.1", "G": "198.51.100.1", "R": "192.0.2.53", "S": "192.0.2.54",
         "N": "web.example", "P": "192.0.2.8:3128"}
OWN = "198.51.100.9"
SIDE = {"hosts": ["files", "dns"]}
TEXTS = ("greeting", "reply", "reason", "error", "not_http", "not_tls", "text")   # never numbers

TARGET = {"host": "192.0.2.1", "literal": 4, "port": 443, "knock_port": 443, "protocol": "tcp",
          "transport": "tcp", "tls": False, "path": None, "sni": None, "family": 0,
          "source": None, "connect_to": None, "proxy": None, "speaks_first": False,
          "user": None}
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
       "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "alpn": None,
       "chain": [CERTIFICATE], "alert": None, "ms": 3.0,
       "store": {"file": None, "directory": None, "loaded": 140, "owners": []}}
FLIGHT = {"version": "TLSv1.2", "cipher": "0xc02f", "chain": [CERTIFICATE], "client_cert": None,
          "alert": None, "not_tls": None, "ended": "done", "bytes": 3000}
HTTP = {"stage": "http", "error": None, "connect_ms": 1.0, "tls_ms": None, "first_byte_ms": 2.0,
        "ended": None, "info": {}, "status": 200, "reason": "OK", "version": "1.1",
        "headers": {}, "not_http": None, "date": None, "location": None, "wants_tls": False,
        "bytes": 200}
UDP = {"reply": None, "icmp": [], "error": None, "sent": 2, "ms": None}
PING = {"sent": 1, "received": 1, "reached": True, "rtt_avg_ms": 1.0, "errors": []}

# probe: the value of its unremarkable answer; what depends on the outcome is in `by_outcome`.
BLANKS = {
    "target": TARGET,
    "identity": {"name": "box", "system": "Linux 6.1", "user": "me", "root": False,
                 "raw_sockets": False, "python": "3.11.2"},
    "marks": {}, "clock": {"epoch": 5000, "utc": "1970-01-01T01:23:20+00:00",
                           "local": "1970-01-01T01:23:20+00:00"},
    "interfaces": {"interfaces": [INTERFACE]}, "interfaces_now": {"interfaces": [INTERFACE]},
    "counters": {},
    "routes": {"routes": [], "error": None}, "policy": {"rules": []},
    "resolv_conf": {"nameservers": ["192.0.2.53"], "used": ["192.0.2.53"], "search": [],
                    "options": {}},
    "proxy_env": {"no_proxy": [""], "kubernetes": False},
    "lookup": ["192.0.2.1"], "hosts_file": [], "dns": DNS, "general_dns": DNS,
    "route": ROUTE, "egress": ROUTE,
    "neighbor": {"ip": None, "dev": None, "state": "REACHABLE", "mac": None},
    "neighbors": {"entries": [], "error": None}, "segment": {},
    "knock": KNOCK, "control_tcp": KNOCK, "other_ports": KNOCK, "tcp": TCP,
    "counts_before": {}, "counts_after": {}, "ping": PING,
    "trace_udp": TRACE, "trace_tcp": dict(TRACE, mode="tcp", port=443),
    "trace_icmp": dict(TRACE, mode="icmp", port=0),
    "sizes": {"size": 1500, "answered": True, "mtu": None, "from": None, "by": "echo"},
    "tls": TLS, "peer": TLS, "hello": FLIGHT, "small": FLIGHT,
    "http": HTTP, "redirects": HTTP, "tunnel": HTTP, "udp": UDP,
}
ERRNOS = {"refused": "ECONNREFUSED", "unreachable": "EHOSTUNREACH", "denied": "EPERM"}


def by_outcome(probe, outcome):
    """The parts of an unremarkable answer that are different where the outcome is not `ok`."""
    if probe in ("tcp", "knock", "control_tcp", "other_ports"):
        silent = {"state": "silent" if probe == "tcp" else "trying", "ms": None}
        failed = {"state": "error", "errno": ERRNOS.get(outcome)}
        change = silent if outcome == "timeout" else failed
        if probe == "tcp":
            change.update(after=None, local=None, info=TCP_INFO if outcome == "timeout" else {})
        return change
    if probe in ("dns", "general_dns"):
        return {"icmp": [], "error": ERRNOS.get(outcome)}
    if probe == "lookup":
        return {"error": "ETIMEDOUT" if outcome == "timeout" else "EAI_NONAME", "text": "no"}
    if probe in ("tls", "peer"):
        return {"ended": "no_connection", "chain": [], "version": None, "cipher": None}
    if probe in ("http", "redirects", "tunnel"):
        return {"stage": "connect", "status": None, "error": ERRNOS.get(outcome, "ETIMEDOUT")}
    return {"error": ERRNOS.get(outcome)} if probe == "udp" else {}


def blank(probe, outcome, subject):
    """The unremarkable value of one answer."""
    if outcome == "unknown":
        return None
    value = copy.deepcopy(BLANKS.get(probe, {}))
    if probe == "resolv_conf" and subject == "nsswitch":
        return copy.deepcopy(SIDE)
    if probe == "neighbor":
        value["ip"], value["dev"] = (subject.split() + [None])[:2]
    if outcome != "ok":
        if probe in ("dns", "general_dns", "lookup"):
            value = {}
        value.update(copy.deepcopy(by_outcome(probe, outcome)))
    return value


# -- the reader of the notation -------------------------------------------------------------------------

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
        elif key.startswith("cert."):
            value["chain"][0][key[5:]] = new
        elif not isinstance(value, dict):
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
    outcome, _, rest = rest.strip().partition(" ")
    if outcome not in load().OUTCOMES:
        raise ValueError("no outcome in %r" % text)
    subject = spelled_subject(probe, subject)
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
    changes = json.loads(rest).items() if rest[:1] == "{" else scan_changes(rest)
    value.update(spelled(dict(changes)))
    return "target", subject, "ok", value, None


def join_interfaces(rows):
    """Several `iface/NAME` rows are one answer."""
    links = [row for row in rows if row[:2] == ("interfaces", "all") and row[3]]
    merged = [link for row in links for link in row[3]["interfaces"]]
    others = [row for row in rows if row[:2] != ("interfaces", "all") or not row[3]]
    return ([("interfaces", "all", "ok", {"interfaces": merged}, None)] if links else []) + others


def read_case(text):
    """A case in the notation -> [Answer], numbered, with the target and, where named, the clock."""
    parts = [part.strip() for part in re.split(r"\s;\s", " " + text + " ") if part.strip()]
    targets = [part for part in parts if part.startswith("target/")]
    rows = [read_answer(part) for part in parts if not part.startswith("target/")]
    if not targets and any(NAMES["N"] in row[1].split() for row in rows):
        targets = ["target/N ok"]
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


# -- questions of probes -----------------------------------------------------------------------------------

def drive(questions, reply):
    """All questions of a generator; each is answered by reply(question) where it listens."""
    asked = []
    try:
        question = next(questions)
        while True:
            asked.append(question)
            question = questions.send(reply(question))
    except StopIteration:
        return asked


def questions(name, case, reply=lambda question: None):
    """The questions of one probe, given the answers of a case -> [Ask]."""
    netdiag = load()
    table = as_table(read_case(case))
    item = netdiag.PROBES[name]
    needs = {need: table[need] for need in list(item.needs) + list(item.optional)}
    return drive(item.function(**needs), reply)


def subjects(name, case, reply=lambda question: None):
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

    def __getattr__(self, verb):
        if verb.startswith("_"):
            raise AttributeError(verb)

        def put(*args, **named):
            self.calls.append((verb, args))
            told = self.verbs.get(verb, ("unknown", "not there"))
            return told(*args, **named) if callable(told) else told
        return put


def options(**changes):
    """The options of an empty command line, changed."""
    known = load().read_arguments([])[0]
    return known._replace(**changes)


# -- running the program -------------------------------------------------------------------------------------

Run = collections.namedtuple("Run", "status out err")


def start(*argv, **named):
    """A run of netdiag.py with the current interpreter, as a Popen with pipes."""
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **named.pop("env", {}))
    named.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([sys.executable, "-W", "error", PROGRAM] + list(argv),
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

#!/usr/bin/env python3
"""netdiag - "it won't connect": what is wrong, where, how sure, and who must do what.

One file, Python 3.6 or newer, standard library only.  Copy it or pipe it onto the machine:

    python3 netdiag.py web.example:443        python3 - web.example:443 < netdiag.py

The file is read from top to bottom in the order in which data flows:

    == 1 knobs      thresholds and waiting times
    == 2 types      the words that the other rooms share
    == 3 formats    bytes and text in, values out: commands, kernel files, wire formats
    == 4 system     the only code that touches the machine
    == 5 sources    ordered ways to ask one question, and the one fallback policy
    == 6 probes     what to ask, in the order of the layers
    == 7 evidence   gathering answers side by side, and looking things up in them
    == 8 rules      what the answers mean
    == 9 report     values in, text out
    == 10 cli       options, modes, exit status

Two laws, each kept by a test.  (1) Only room 4 touches the machine; only room 10 prints and exits.
(2) "I could not ask" is never "the answer is no": a rule is not judged on `unknown`.
"""
import collections
import os
import re
import socket
import struct
import sys
import time

VERSION = "0.1.0"

# == 1 knobs: thresholds and waiting times, one a line =============================================

FIRST_LOOK_S = 1.15          # one SYN resend (1.0 s, RFC 6298) has left: TCP_INFO tells the rest
PATIENCE_S = 3.35            # four SYNs out, and a failed ARP/ND here or at the far end (3.08 s)
LISTEN_S = 0.35              # how long a fresh connection is watched: a close, a reset, early data
GREETING_S = 4.0             # a server that speaks first has this long (reverse look-ups delay it)
STALE_NEIGHBOR_S = 9.0       # DELAY 5 s + PROBE 3 s: a cached neighbor that died is FAILED then
SEGMENT_WAIT_S = 1.25        # two ARP requests (1 s apart) unanswered
SEGMENT_POKES = 24           # addresses asked for when the gateway is silent
TRACE_MAX_TTL = 20           # far enough for any company; the internet rarely needs more
TRACE_WAVE = 4               # TTLs sent at once: a Linux router answers 6 at once, then 1 a second
TRACE_WAVE_S = 0.22          # pause between waves
TRACE_WAIT_S = 0.85          # a TCP probe must be closed before its SYN is sent again at 1.0 s
TRACE_QUIET_HOPS = 5         # so many silent TTLs in a row end a trace
LOOKUP_S = 5.6               # glibc gives the first resolver 5 s, then asks the next
DNS_WAIT_S = 2.4             # three datagrams unanswered:
DNS_SENDS = 3                # one lost datagram must not condemn a resolver
DNS_SLOW_MS = 2000           # a look-up that a person notices
PING_WAIT_S = 1.0
SIZE_WAIT_S = 0.5            # for an unfragmentable packet, sent twice; or three RTTs where longer
SMALL_BYTES = 1280           # IPv6's minimum MTU (RFC 8200): every path carries it
RETRIES = 3                  # more connections where the first met silence or loss
RETRY_WAIT_S = 2.15          # two resends each
UNHEARD_SYNS = 4             # more than a noisy segment brings in
UNHEARD_S = 0.25             # one window of that count
CUT_WAIT_S = 0.3             # for the reset of a box on the way, which is nearer than the server
RESENT_MS = 900              # a handshake this slow had its SYN sent again (RTO 1 s, RFC 6298)
TLS_WAIT_S = 3.0
HTTP_WAIT_S = 4.0            # first byte; applications may think for a while
DRIP_S = 1.5                 # a head that comes in drops: its first line is enough then
UDP_WAIT_S = 1.6             # two datagrams
PROXY_WAIT_S = 3.5
COMMAND_S = 3.0              # any installed command
DEADLINE_S = 9.7             # everything for one target: nobody waits longer for a first answer
LARGE_HELLO_BYTES = 1300     # of padding: more than one packet, as with an ML-KEM key share
MAX_STORES = 2               # other trust stores that are tried
PADDING = 3000               # bytes of a request that does not fit one packet (nginx allows 8 k)
SSH_MARK = 72                # DSCP AF21, with which OpenSSH marks a session (ssh_config, IPQoS)
CLAMP_MSS = 536              # every IPv4 path carries it (RFC 9293), and IPv6 ones all the more
MAX_ADDRESSES = 6            # addresses of a name that are knocked on
MAX_TALKS = 4                # addresses on which TLS and HTTP are spoken
MAX_SEARCH = 3               # search suffixes tried against the resolvers themselves
REDIRECT_LIMIT = 8
CLOCK_SKEW_S = 300           # Kerberos gives up at 5 minutes; certificates soon after
CERT_SOON_S = 14 * 86400     # "expiring"
BYTES_LIMIT = 65536          # of any one conversation
FILE_LIMIT = 1 << 20         # bytes of any file that is read
OUTPUT_LIMIT = 60000         # characters of one command's output that are kept
WIDE_PREFIX_V4 = 16          # a mask this wide or wider puts far hosts on the own segment
BORN = 1795219200            # 2026-11-21: a clock that shows less is wrong
GENERAL_NAME = "example.com" # asked only of the configured resolvers: "this name" or "all names"?
TARGETS_AT_ONCE = 12
STAND_IN_S = 600             # `listen` without --for
MAX_ARRIVALS = 1000          # connections or datagrams that it takes in all,
STAND_IN_AT_ONCE = 32        # and at one time
MAX_PATTERNS = 4             # patterns that it answers on one connection
HALF_OPEN_LOOK_S = 0.5       # between two looks at connections that are not complete
STAND_IN_IDLE_S = 20.0       # a client that says nothing for so long is left
PATTERN_BYTES = 3000         # there and back: two full packets and more
PATTERN_LIMIT = 16384
PATTERN_WAIT_S = 2.0         # three resends of what was lost (RTO 0.2 s, doubling)
WATCH_S = 300                # `watch` without --for
WATCH_PACE_S = 1.0           # one cheap check in so long;
WATCH_GENTLE_S = 10.0        # of sshd, which penalises connections without a login
MAX_OUTAGES = 50             # that are kept; later ones are counted
REPORT_LIMIT = 8 << 20       # bytes of a file with reports, and of what is packed in it
MAX_REPORT_FILES = 20000     # of a folder
MAX_REPORT_TARGETS = 2000    # of one report,
MAX_REPORT_FLOWS = 2000      # and flows
HALF_OPEN_S = 55             # Linux keeps a half-open connection so long (5 resends, 63 s)
STATE_HOLDS_S = 3600         # a rule, a route or a listener is believed to have been so before
CLOCK_STEP_S = 1.5           # reports have whole seconds

# == 2 types: the words that the other rooms share =================================================

Target = collections.namedtuple(
    "Target", "text host port protocol transport tls path user literal mode")
Options = collections.namedtuple(
    "Options", "mode family numeric timeout_s deadline_s source interface connect_to sni no_sni"
    " proxy cafile only skip no_tools json brief verbose color output redact lang targets ticket"
    " set client for_s lldp port udp bind write read from_dir")
Source = collections.namedtuple("Source", "verb args parse")
Ask = collections.namedtuple("Ask", "subject sources")
Answer = collections.namedtuple("Answer", "probe subject outcome value via tried ms id")
Finding = collections.namedtuple(
    "Finding", "code severity suspects confidence summary fix ask proof scope consequences layer")
Verdict = collections.namedtuple("Verdict", "code suspects confidence summary fix ask")
Report = collections.namedtuple(
    "Report", "target verdict findings unjudged path timings_ms answers elapsed_s complete")
Answer.__new__.__defaults__ = (None, None, (), None, None)
Target.__new__.__defaults__ = ("target",)

OUTCOMES = ("ok", "timeout", "refused", "unreachable", "denied", "unknown")
PLACES = ("client", "client_network", "transit", "server_network", "server", "service", "dns",
          "proxy")
SURE = ("certain", "likely", "possible")
PLACE_WORDS = {
    "client": "this host", "client_network": "this host's gateway, switch or firewall",
    "transit": "the network in between", "server_network": "the server's gateway or firewall",
    "server": "the server and its own firewall", "service": "the program on the server",
    "dns": "the name service", "proxy": "the proxy"}
PLACE_OWNER = {
    "client": "the administrator of this host", "client_network": "the network team of this site",
    "transit": "the network team (transit)", "server_network": "the network team of the server",
    "server": "the administrator of the server", "service": "the owner of the service",
    "dns": "the DNS team", "proxy": "the proxy team"}

# protocol: (port, transport, TLS at once, the server speaks first)
PROTOCOLS = {name: (int(port) or None, transport, tls, first) for transport, tls, first, names in (
    ("tcp", False, False, "tcp:0 http:80 ldap:389 postgresql:5432 redis:6379 mongodb:27017"
     " amqp:5672 mqtt:1883 kafka:9092 memcached:11211 rdp:3389 telnet:23"
     " zookeeper:2181 xmpp:5222"),
    ("tcp", True, False, "tls:0 https:443 ldaps:636 rediss:6380 amqps:5671 mqtts:8883"),
    ("tcp", False, True, "ssh:22 sftp:22 smtp:25 submission:587 imap:143 pop3:110 ftp:21"
     " mysql:3306 vnc:5900"),
    ("tcp", True, True, "smtps:465 imaps:993 pop3s:995 ftps:990"),
    ("udp", False, False, "udp:0 dns:53 ntp:123 snmp:161 syslog:514"))
    for name, port in (pair.split(":") for pair in names.split())}
SAME_PROTOCOL = {"postgres": "postgresql", "mariadb": "mysql", "ws": "http", "wss": "https"}
PORT_PROTOCOL = {row[0]: name for name, row in sorted(PROTOCOLS.items(), reverse=True)
                 if row[0] and row[1] == "tcp"}
PORT_PROTOCOL.update({22: "ssh", 53: "dns", 123: "ntp", 161: "snmp"})


class NotMine(Exception):
    """A parser does not recognise these bytes: the one way in which a parser fails."""


class Usage(Exception):
    """The command line is wrong: one clear line and exit status 64."""

# == 3 formats: bytes and text in, values out =====================================================
#
# Every parser returns JSON-able facts or raises NotMine. None = the text does not say; [] = the
# text says there is none.  Patterns are written without nested repeats: any text ends in O(n).

# These print nothing, successfully, where there is nothing to list; config files may be empty.
BLANK_IS_EMPTY = {"parse_" + name for name in (
    "known_hosts ip_neigh arp ip_route ifconfig resolv_conf hosts nsswitch softnet"
    " conntrack_stat").split()}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def guarded(read):
    """Make NotMine the only way in which a reader of foreign bytes fails."""
    def parse(*args, **named):
        try:
            return read(*args, **named)
        except (ValueError, LookupError, AttributeError, TypeError, StopIteration, OverflowError,
                struct.error) as error:
            raise NotMine("%s: %r" % (read.__name__, error))
    return parse


def parser(read):
    """`guarded` for text; blank text is not mine unless BLANK_IS_EMPTY has the parser's name."""
    def parse(text):
        mine(text.strip() or read.__name__ in BLANK_IS_EMPTY, "blank")
        return guarded(read)(text.replace("\r\n", "\n").lstrip("\ufeff"))
    return parse


def mine(condition, why=""):
    """Raise NotMine unless the condition holds; return it."""
    if not condition:
        raise NotMine(why)
    return condition


# -- words, numbers, addresses --------------------------------------------------------------------

def word_rows(text):
    """The words of each line that is not blank."""
    return [words for words in map(str.split, text.splitlines()) if words]


def pairs(words):
    """["mtu", "1500", "state", "UP"] -> {"mtu": "1500", ...}: each word with the one after it."""
    return dict(zip(words, words[1:]))


def to_int(word):
    """Decimal word -> int; anything else -> None."""
    return int(word) if re.match(r"-?[0-9]{1,18}\Z", word or "") else None


def to_float(word):
    """"0.045", "0,045" or "33%" -> float; anything else -> None."""
    word = (word or "").rstrip("%").replace(",", ".")
    return float(word) if re.match(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?\Z", word) else None


def find(pattern, text):
    """The first group of the first match, or None."""
    found = re.search(pattern, text)
    return found.group(1) if found else None


def find_kind(table, text):
    """The first kind of ((kind, pattern), ...) whose pattern is in the lower-cased text."""
    text = text.lower()
    return next((kind for kind, pattern in table if re.search(pattern, text, re.M)), None)


def is_address(word):
    """4 or 6 for an IP literal (a zone such as %eth0 is allowed on IPv6), 0 for anything else."""
    host, _, zone = word.partition("%")
    version = 6 if ":" in host else 4
    try:
        socket.inet_pton(FAMILY[version], host)
    except (OSError, ValueError):
        return 0
    return version if not zone or version == 6 else 0


def first_address(line):
    """The first address in a sentence, without its punctuation, or None."""
    words = re.findall(r"[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?", line)
    spellings = (form for word in words for form in (word, word.rstrip(".:"), word.strip(".:")))
    return next((form for form in spellings if form != "::" and is_address(form)), None)


def to_mac(word):
    """"0:1c:42:0:0:8" or "00-1C-42-00-00-08" -> "00:1c:42:00:00:08"; no MAC -> None."""
    parts = re.split("[:-]", (word or "").lower())
    valid = 6 <= len(parts) <= 20 and all(re.match(r"[0-9a-f]{1,2}\Z", part) for part in parts)
    return ":".join(part.zfill(2) for part in parts) if valid else None


def mask_length(mask):
    """"255.255.0.0", "0xffff0000" or "ffff0000" -> 16; None for what is no netmask."""
    if is_address(mask or "") == 4:
        mask = socket.inet_aton(mask).hex()
    digits = find(r"^(?:0x)?([0-9a-fA-F]{8})$", mask or "")
    bits = "{:032b}".format(int(digits, 16)) if digits else "01"
    return None if "01" in bits else bits.count("1")


def destination(word, length=None):
    """The one spelling of a route's destination: "default" for length 0, else word/length."""
    if word in "default 0.0.0.0/0 ::/0 [::]/0".split() or length == 0:
        return "default"
    return word if length is None else "{}/{}".format(word, length)


def route_row(dst, via, dev, metric, **more):
    """A route of a table with columns, where a sign may stand for no gateway or device."""
    via, dev = (None if word in "0.0.0.0 * - :: [::]".split() else word for word in (via, dev))
    return dict(dst=dst, via=via, dev=dev, src=None, metric=metric, **more)


def ip(text):
    """ipaddress object of an address or CIDR's address part, without zone."""
    import ipaddress
    return ipaddress.ip_address(re.split("[%/]", text)[0])


def in_network(address, cidr):
    """True when `address` lies in `cidr` (an address with prefix length)."""
    import ipaddress
    try:
        return ip(address) in ipaddress.ip_interface(cidr.partition("%")[0]).network
    except ValueError:
        return False


def printable(text, limit=300):
    """Bytes or text from outside, safe for a terminal and a ticket: all but ASCII is escaped."""
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("utf-8", "replace")
    text = str(text)
    out = "".join(c if " " <= c <= "~" else c.encode("unicode_escape", "replace").decode("ascii")
                  for c in text[:limit])
    return out + ("..." if len(text) > limit else "")


def endpoint(host, port):
    """'host:port', with brackets around an IPv6 address."""
    return "%s:%d" % ("[%s]" % host if ":" in host else host, port)


def hide_secret(url):
    """A URL without its user part and query: they may hold passwords and tokens."""
    return re.sub(r"[?#]\S*", "?***", re.sub(r"//[^/\s]*@", "//***@", url))


def read_endpoint(text):
    """'host', 'host:port', '[v6]:port', 'v6' -> (host, port text or None)."""
    if is_address(text) == 6:
        return text, None
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        mine(bracket and is_address(host) == 6 and (not rest or rest.startswith(":")),
             "brackets are for an IPv6 address, as in [2001:db8::1]:443")
        return host, rest[1:] if rest else None
    host, colon, port = text.partition(":")
    mine(":" not in port, "more than one colon: an IPv6 address with a port is written [addr]:port")
    return host, port if colon else None


def read_url(text):
    """'scheme://user@host:port/path' -> dict; each part None where it is absent."""
    scheme, rest = text.split("://", 1) if "://" in text else ("", text)
    authority, path = re.match("([^/?#]*)([^#]*)", rest).groups()
    user, at, endpoint = authority.rpartition("@")
    host, port = read_endpoint(endpoint)
    return {"scheme": scheme.lower() or None, "user": user if at else None, "host": host,
            "port": port, "path": re.sub(r"^\?", "/?", path) or None}


def numbered(text):
    """"1 unicast 2 local" -> {1: "unicast", 2: "local"}."""
    return {int(number): word for number, word in re.findall(r"(\S+) (\S+)", text)}


def counted(body, form="!H"):
    """`body` behind its length, as binary protocols want it."""
    return struct.pack(form, len(body)) + body


def uncounted(body, offset=0, width=4):
    """The items that stand in `body` from `offset` on, each behind its length of `width` bytes."""
    while offset + width <= len(body):
        start = offset + width
        offset = start + int.from_bytes(body[offset:start], "big")
        yield body[start:offset]


# -- the words for errors: the first row that matches names the error, so order matters -----------

def kinds(rows):
    """Rows kind=pattern, on lines or two blanks apart -> [[kind, pattern], ...] for `find_kind`."""
    return [row.split("=", 1) for row in re.split(r"\s*\n\s*|\s{2,}", rows.strip())]


SILENCE = kinds(r"""
timeout=no answer yet|request timeout|timed.out|délai d.attente|zeitüberschreitung|esgotado o tempo
timeout=tiempo de espera agotado|richiesta scaduta|превышен интервал|시간이 만료|タイムアウト|请求超时|要求等候逾時""")
COMMON_ERRORS = kinds(r"""
command_not_found=command not found|not recognized as an internal|: not found$
usage=^\s*usage\b|unrecognized option|invalid option|bad option|unknown option
unknown_host=name resolution|name or service not known|unknown host|bad address '|nicht aufgelöst
unknown_host=nodename nor servname|no address associated|could not find host|name lookup failure
unknown_host=(?:cannot|can't|unable to|failed to) resolve|impossible de résoudre|pas pu trouver l
unknown_host=no se puede resolver|no pudo encontrar el host|konnte host|名.{0,80}を解決できません|が見つかりません
unknown_host=[无無]法解析|找不到主[机機]
permission_denied=enough privileges|socket.{0,40}(?:operation not permitted|permission)
permission_denied=permission denied|lacking privilege|raw socket|are you root
local_not_permitted=operation not permitted
local_net_unreachable=network (?:is )?(?:unreachable|down)""")
# A refusal says more than the silence after it.
TOOL_ERRORS = kinds(r"""
no_such_device=no such device|cannot find device|device not found|unknown interface
no_such_device=failed to resolve interface|(?:device|interface) \S{1,40} does not exist
server_name_not_found=couldn't get address for
refused=connection refused""") + COMMON_ERRORS + kinds(r"""
no_route=no route to host|host unreachable
send_failed=send failed
too_many_hops=too many hops
usage=is not a legal name|invalid query
timeout=no servers could be reached|no response from server""") + SILENCE
PING_LOCAL = SILENCE + kinds(r"""
broadcast_refused=do you want to ping broadcast
reverse_lookup_failed=getnameinfo|gethostbyaddr
bad_source=so_bindtodevice|unknown iface|bind: |can't bind|assign requested address|no such device
local_no_route=no route to host
local_host_down=host is down
local_message_too_long=message too long
local_invalid_argument=(?:connect|sendmsg|sendto|packet): invalid argument
general_failure=general failure|transmit failed|défaillance générale|allgemeiner fehler
general_failure=error general|一般エラー|一般故障|常规故障""") + COMMON_ERRORS + kinds(
    r"usage=usage\b|invalid argument|bad value")
PING_NETWORK = kinds(r"""
ttl_exceeded=time (?:to live )?exceeded|ttl[^=]{1,40}(?:exp|期限|過期|过期)|durée de vie|gültigkeitsdauer
packet_too_big=frag(?:mentation)? needed|packet too big|fragment(?:ed|é|iert|ar)\b|断片化|拆分数据包
host_prohibited=host prohibited|code: 10
net_prohibited=net prohibited|code: 9
admin_prohibited=packet filtered|prohibited|ingress/egress policy|code: 13
port_unreachable=port unreachable|joindre le port|zielport|puerto de destino|ポートに到達|目标端口
protocol_unreachable=protocol unreachable|joindre le protocole|zielprotokoll|protocolo de destino
protocol_unreachable=プロトコルに到達|目标协议
net_unreachable=net(?:work)? unreachable|net unknown|unreachable: no route|reject route
net_unreachable=joindre le réseau|zielnetz|red de destino|ネットワークに到達|目标网
host_unreachable=(?:host|address) unreachable|host unknown|joindre l.hôte|zielhost|host de destino
host_unreachable=ホストに到達|目标主机|目的地主機""")


def tool_error(text, words, facts, head=None):
    """None beside facts, else the error; a text without head and words of the tool is not mine."""
    error = None if facts else find_kind(TOOL_ERRORS, text)
    mine(facts or head or error and re.search(words, text), "neither facts nor an error")
    return error


# -- ping, traceroute, tracepath, mtr -------------------------------------------------------------

def ping_head(lines):
    """(target, address) out of the first line: POSIX, BSD ping6, or Windows in any language."""
    for line in lines:
        bsd6 = find(r"^\s*PING6?\([^)]*\) \S+ --> (\S+)", line)
        posix = re.match(r"\s*PING ([^\s(]*) ?\((?:\S* \()?([^()\s]+)\)", line)
        if bsd6 or posix:
            return (bsd6, bsd6) if bsd6 else (posix.group(1) or None, posix.group(2))
        if re.search(r"(?i)ping|пакетами", line) and line.rstrip().endswith((":", "：")):
            named = re.search(r"([^\s\[\]]{1,255}) \[([0-9A-Fa-f:.]{2,45}(?:%\w+)?)\]", line)
            return named.groups() if named else (first_address(line),) * 2
    return None, None


def ping_line(line):
    """One line between head and summary: (error kind, sender), ("reply", None) or (None, None)."""
    sender = first_address(line)
    reply = re.search(r"(?i)(?:ttl|hlim|hop limit)=[0-9]|[=<] ?[0-9.,]{1,12} ?(?:ms|мс)", line)
    if sender and reply:
        return "reply", None
    if not sender or re.match(r"\s*(?:\w+-)?ping6?:", line):
        return find_kind(PING_LOCAL + PING_NETWORK, line), None
    kind = find_kind(PING_NETWORK, line)
    return kind, kind and (find(r"\(([^()\s]+)\)", line.split("icmp_seq")[0]) or sender)


def ping_summary(text):
    """The facts of the last lines, found by their shape: Windows translates the words."""
    posix = re.search(r"(?m)^ *([0-9]+) [^0-9,%\n]{1,40}, ([0-9]+) [^0-9,%\n]{1,40}(,.*)", text)
    times = re.search(r"= ?([0-9.,]+)/([0-9.,]+)/([0-9.,]+)(?:/[0-9.,]+)? ?ms", text)
    # Windows: a line of three numbers (sent, received, lost), another of minimum, maximum, average.
    rows = re.findall("(?m)^[^=\n]*" + r"= ([0-9]{1,9})(?![0-9.])[^=\n]*" * 3 + "$", text)
    counts, spread = (rows + [(None, None, None)] * 2)[:2]
    sent, received, rest = posix.groups() if posix else counts[:2] + ("",)
    loss = find(r"([0-9.]{1,12})%", rest) or find(r"[(（][^()0-9]{0,20}([0-9]{1,3}) ?%", text)
    low, mean, high = times.groups() if times else (spread[0], spread[2], spread[1])
    return {"sent": to_int(sent), "received": to_int(received), "loss_pct": to_float(loss),
            "duplicates": to_int(find(r"\+([0-9]+) dup", rest)) or 0,
            "summary_errors": to_int(find(r"\+([0-9]+) err", rest)) or 0,
            "rtt_min_ms": to_float(low), "rtt_avg_ms": to_float(mean), "rtt_max_ms": to_float(high)}


@parser
def parse_ping(text):
    """ping and ping6 of iputils, BusyBox, inetutils, BSD, macOS; Windows in any language, where
    `received` counts unreachables too; `echo_replies` is None under -q."""
    lines, summary = text.splitlines(), ping_summary(text)
    target, address = ping_head(lines)
    recognized = target or address or summary["sent"] is not None
    counts = collections.Counter(ping_line(line) for line in lines if recognized or re.search(
        r"(?i)\bping|^(?:connect|socket|usage)\b", line))
    errors = [{"kind": kind, "from": sender, "count": count}
              for (kind, sender), count in counts.items() if kind not in (None, "reply")]
    mine(recognized or errors and "traceroute" not in text, "neither head, summary nor error")
    quiet = summary["received"] and not errors                                      # ping -q
    replies = counts["reply", None] or (None if quiet else 0)
    return dict(summary, target=target, target_ip=address, echo_replies=replies, errors=errors,
                reached=bool(replies or quiet))


TIMED = r"[0-9.]{1,9} ?ms|(?:^|\s)\*(?:\s|$)"
MTR_COLUMNS = "Loss% Snt Last Avg Best Wrst StDev".split()
MTR_FACTS = "loss_pct sent last_ms avg_ms best_ms worst_ms stdev_ms".split()


def read_hop(hops, ttl, words):
    """Add times, marks and hosts ("name (address)", a bare word first) to a new hop or the last."""
    if ttl is not None:
        hops.append(dict(ttl=int(ttl), addrs=[], names=[], rtts_ms=[], timeouts=0, annotations=[]))
    hop = hops[-1]
    for position, (word, after) in enumerate(zip(words, words[1:] + [""])):
        time = re.match(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms)?$", word)
        address = word if is_address(word) else find(r"^[\[(]([^\[\]()\s]+)[\])]$", after)
        if word == "*":
            hop["timeouts"] += 1
        elif time and (time.group(2) or after == "ms"):
            hop["rtts_ms"].append(float(time.group(1)))
        elif re.match(r"!|(?:F=[0-9]+|reached)$", word):
            hop["annotations"].append(word)
        elif re.match(r"[\w:]", word) and not time and (address or position == 0):
            for key, found in (("names", None if is_address(word) else word), ("addrs", address)):
                hop[key] += [found] if found and found not in hop[key] else []


@parser
def parse_traceroute(text):
    """traceroute and traceroute6 of Linux, BusyBox, inetutils, BSD, macOS; hops as `read_hop`."""
    head = re.search(r"(?m)^ *traceroute6? to (\S+) +\(([^()\s]+)\)(.*)", text)
    (target, address, rest), hops = head.groups() if head else (None, None, ""), []
    for line in text.splitlines():
        ttl, told = re.match(r"(?:\s*([0-9]{1,3})(?: +-)? +(?=\S))?(.*)", line).groups()
        timed = re.search(TIMED, line) and "hops max" not in line
        begins = re.match(r"[*\[]|\S+\s+\(|" + TIMED, told) or is_address(re.split(r"\s", told)[0])
        # A line without a TTL (BSD, a second responder) continues the last hop.
        if timed and (begins if ttl else hops and line[0].isspace()):
            read_hop(hops, ttl, told.split())
    answered = [hop["addrs"] for hop in hops if hop["addrs"]] or [[]]
    words = r"(?im)traceroute|cmdline arg|not handled|^socket"
    return {"target": target, "target_ip": address, "hops": hops,
            "error": tool_error(text, words, hops, head),
            "max_hops": to_int(find("([0-9]+) hops max", rest)),
            "reached": None if hops and address is None else address in answered[-1]}


@parser
def parse_tracepath(text):
    """tracepath and tracepath6 of iputils; `pmtu` is of the Resume line, else the last one."""
    hops, steps = [], re.findall(r"(?m)^ *([0-9]{1,3})(?:\?:|: ) *(\S.*)$", text)
    for ttl, rest in steps:
        # A new pmtu is news of a router on the way, no answer to this TTL: tracepath asks again.
        if not re.search(r"\[LOCALHOST\]|\bpmtu [0-9]", rest):
            words = rest.replace("no reply", "*").replace("send failed", "").split()
            read_hop(hops, None if hops and hops[-1]["ttl"] == int(ttl) else ttl, words)
            hops[-1]["annotations"] += re.findall("send failed", rest)
    resume, error = find(r"Resume:( .*)", text) or "", find_kind(TOOL_ERRORS, text)
    mine(resume or error and "tracepath" in text or any(
        re.search(r"LOCALHOST|no reply|ms\b|send fail", rest) for _, rest in steps))
    pmtus = re.findall("pmtu ([0-9]{1,6})", resume or text)
    return {"hops": hops, "pmtu": int(pmtus[-1]) if pmtus else None, "error": error,
            "reached": any("reached" in hop["annotations"] for hop in hops),
            "hops_to_target": to_int(find(r"hops ([0-9]+)", resume)),
            "back": to_int(find(r"back ([0-9]+)", resume))}


def mtr_rows(text):
    """(TTL, host, {column: word}) of each hop; the columns are those of the heading."""
    if text.startswith("Mtr_Version"):
        heading, *table = [re.split("[,;]", line) for line in text.splitlines() if line.strip()]
        return [(row["Hop"], row["Ip"], row) for row in (dict(zip(heading, r)) for r in table)]
    if re.match(r'\s*\{\s*"report"', text):
        hubs = [dict(re.findall(r'"([^"]{1,9})": *"?([^",\n}]*)', hub)) for hub in text.split("{")]
        return [(hub["count"].strip(), hub["host"], hub) for hub in hubs if "host" in hub]
    heading, found = (find(r"(?m)^.*(Loss%.*(?:Snt|Avg).*)$", text) or "").split(), []
    for ttl, rest in re.findall(
            r"(?m)^ *([0-9]{1,3})\. *(?:\|--)? *(?:AS(?:[0-9]+|\?\?\?) +)?(\S.*)$", text):
        # The numbers stand right, the host is what is left; a waiting hop has no numbers.
        host, *numbers = rest.rsplit(None, len(heading))
        known = len(numbers) == len(heading) and None not in map(to_float, numbers)
        found.append((ttl, host if known else rest, dict(zip(heading, numbers)) if known else {}))
    return found if heading else []


@parser
def parse_mtr(text):
    """mtr 0.85 to 0.95: report, CSV (-C), JSON (-j), screen; `addr` is None where none answered."""
    hops = []
    for ttl, host, columns in mtr_rows(text):
        silent = "???" in host or "waiting for reply" in host
        name, address = host.split()[0], find(r"\(([^()\s]+)\)\s*$", host) or host.split()[-1]
        hops.append({"ttl": int(ttl), "name": None if silent or is_address(name) else name,
                     "addr": None if silent or not is_address(address) else address})
        for column, key in zip(MTR_COLUMNS, MTR_FACTS):
            read = to_int if key == "sent" else to_float
            hops[-1][key] = None if silent and "_ms" in key else read(columns.get(column))
    return {"hops": hops,
            "error": tool_error(text, r"(?m)^.{0,20}\bmtr\b", hops or "Loss%" in text)}


# -- interfaces, routes, rules, neighbours --------------------------------------------------------

ADDRESS_FLAGS = "secondary temporary tentative deprecated dadfailed optimistic".split()
# "2: eth0@if3: <UP,...>", and of ip -br: "eth0@if3 UP 10.0.0.2/24" and "eth0 UP 00:..:01 <...>".
IP_HEAD = re.compile(
    r"(?:([0-9]+): )?([^\s:@]+)(?:@([^\s:]+))?(?:(?=: <| +inet)|\s+(UP|DOWN|UNKNOWN|DORMANT"
    r"|LOWERLAYERDOWN|NOTPRESENT|TESTING)(?= +[0-9a-fA-F:.]{4}| +<| *$))(.*)")


def new_interface(name, flags, **known):
    """An interface and what its flag list says (None: it is not printed); inet*: CIDR words."""
    words = re.split(r"[\s,]+", flags or "")
    return dict({
        "name": name, "up": None if flags is None else "UP" in words, "state": None, "mac": None,
        "inet": [], "inet6": [],
        "carrier": "LOWER_UP" in words if {"LOWER_UP", "NO-CARRIER"} & set(words) else None,
        "loopback": "LOOPBACK" in words or re.match(r"lo[0-9]*$", name) is not None}, **known)


def ip_interface(line):
    """The interface that a first line of ip addr or ip link begins, or None."""
    found = IP_HEAD.match(line)
    if not found or not (found.group(1) or found.group(4)):
        return None
    index, name, parent, state, rest = found.groups()
    words, facts = rest.split(), pairs(rest.split())
    return new_interface(
        name, find(r"<([^<>]*)>", rest), index=to_int(index), mtu=to_int(facts.get("mtu")),
        state=state or facts.get("state"), mac=to_mac("".join(words[:1])), parent=parent,
        master=facts.get("master"))


def add_ip_addresses(interface, words):
    """Those of "inet 10.8.0.6 peer 10.8.0.5/32 scope global", or of a line of ip -br."""
    for spot, address in enumerate(words):
        before, rest = words[spot - 1], words[spot + 1:]
        if not is_address(address.partition("/")[0]) or before in ("peer", "brd", "any", "metric"):
            continue
        family, longest = ("inet6", "128") if ":" in address else ("inet", "32")
        peer = rest[1] if rest[:1] == ["peer"] else ""
        if "/" not in address:
            address += "/" + (peer.partition("/")[2] or longest)
        interface[family].append(address)
        flags = [flag for flag in ADDRESS_FLAGS if flag in rest]
        for key, fact in (("peers", peer), ("flags_of", flags)):
            if fact:
                interface.setdefault(key, {})[address] = fact


@parser
def parse_ip_addr(text):
    """ip addr and ip link of iproute2, BusyBox (-s, -d, -o, -br, -4, -6), as `new_interface`."""
    interfaces = []
    for line in text.replace("\\", "\n").splitlines():
        found, words = ip_interface(line.rstrip()), line.split() or [""]
        if found and not (interfaces and interfaces[-1]["name"] == found["name"]):
            interfaces.append(found)
        if interfaces and (found or words[0] in ("inet", "inet6")):  # ip -o: on each line its name
            add_ip_addresses(interfaces[-1], words)
        elif interfaces and words[0].startswith("link/"):
            interfaces[-1].update(link=words[0][5:].strip("[]"), mac=to_mac("".join(words[1:2])))
    words = r"(?m)^ip\b|\bip:|netlink|^Device\b|Cannot find device|No such device"
    return {"interfaces": interfaces, "error": tool_error(text, words, interfaces)}


def ifconfig_interface(block):
    """A block that starts "eth0: flags=..<UP> mtu 1500" or "eth0  Link encap:Ethernet"."""
    name, head = re.match(r"(\S+?)(: flags=[^<\s]*<.*|\s+Link encap:.*)", block).groups()
    flags = find(r"<([^<>]*)>", head) or find(r"(?m)^(.*)\bMTU:[0-9]", block) or ""
    status, running = find(r"(?m)^\s+status: (.*)", block), "RUNNING" in flags
    interface = new_interface(
        name, flags, running=running, state=status,
        mtu=to_int(find(r"\b(?:mtu |MTU:)([0-9]+)", block)), mac=to_mac(find(
            r"(?m)(?:^\s+(?:ether|lladdr|address:|infiniband)|Link encap:.*) (\S+:\S+)", block)))
    # The media status where BSD prints it, else RUNNING, which says nothing of a down link.
    flag = running if interface["up"] else None
    interface["carrier"] = status in "active associated running".split() if status else flag
    for family, address, rest in re.findall(
            r"(?m)^\s+(inet6?)(?: \S*(?:adr|dr|Adresse):)?\s*([0-9a-fA-F:.]+)(.*)", block):
        word = find(r"(?:/|prefixlen |netmask |[Mm]as[a-z]{1,4}:)(\w\S*)", rest)
        lengths = to_int(word), mask_length(word), 128 if family == "inet6" else 32
        if is_address(address):
            length = next(length for length in lengths if length is not None)
            interface[family].append("{}/{}".format(address, length))
    return interface


@parser
def parse_ifconfig(text):
    """ifconfig of net-tools (old, new, -s), BusyBox, BSD, macOS, Solaris; `state` is "status:"."""
    blocks, *table = re.split(r"(?m)^Iface +MTU.*\n", text)
    interfaces = [ifconfig_interface(block) for block in re.split(r"\n(?=\S)", blocks)
                  if re.match(r"\S+(?:: flags=[^<\s]*<|\s+Link encap:)", block)]
    interfaces += [new_interface(
        name, "UP" if "U" in flags else "", mtu=to_int(mtu), loopback="L" in flags,
        carrier="R" in flags if "U" in flags else None)
        for name, mtu, *_, flags in word_rows("".join(table))]
    told = interfaces or table or not text.strip()
    return {"interfaces": interfaces, "error": tool_error(text, "ifconfig|interface", told)}


ROUTE_TYPES = "unicast local broadcast multicast anycast blackhole unreachable prohibit throw nat"
ROUTE_FLAGS = "linkdown onlink pervasive dead offload trap".split()
ROUTE_KEYS = set("via dev proto scope src metric table from nhid error".split())
COLUMN_NAMES = dict(Flag="Flags", Met="Metric", If="Iface", Netif="Iface", Interface="Iface")
NUD_STATES = set("REACHABLE STALE DELAY PROBE FAILED INCOMPLETE PERMANENT NOARP NONE".split())
ARP_FORMS = (
    # "host (10.0.0.1) at 0:1:2:3:4:5 [ether] PERM on eth0"; arp -n; arp -a of Windows
    r"\s*(?P<host>\S+) \((?P<ip>[^()\s]+)\) at (?P<mac>\S+)(?P<rest>.*)",
    r"(?P<host>\S+) +(?:\w+ +(?P<mac>[0-9A-Fa-f:]{11,59}) +(?=[CMP])|\(incomplete\))"
    r"(?P<rest>.*) (?P<dev>\S+)\s*$", r"\s*(?P<ip>[0-9.]+)\s+(?P<mac>\w\w-\S+)\s+(?P<rest>.*)")


def ip_route_line(words):
    """The words of one route of iproute2 -> route without nexthops; None for another line."""
    typed = words[0] in ROUTE_TYPES.split()
    dst, *rest = words[typed:] or [""]
    # A type may stand alone with its destination; lladdr is of ip neigh, lookup of ip rule.
    known = ROUTE_KEYS.intersection(rest) if rest else typed
    strange = NUD_STATES.union(["lladdr", "lookup"]).intersection(rest)
    if not known or strange or not (dst == "default" or is_address(dst.partition("/")[0])):
        return None
    facts = pairs(rest)
    return dict(
        {key: facts.get(key) for key in "via dev src table from".split()},
        dst=destination(dst), type=words[0] if typed else "unicast", mtu=to_int(facts.get("mtu")),
        metric=to_int(facts.get("metric")), flags=[flag for flag in ROUTE_FLAGS if flag in rest])


@parser
def parse_ip_route(text):
    """ip route and ip route get of iproute2 and BusyBox; `nexthops` where printed."""
    error = find(r"(?m)^(?:ip: |RTNETLINK answers: |Error: |(?=Cannot find|Device ))+(.*)$", text)
    routes, strange = [], 0
    for words in word_rows(text.replace("\\", "\n").replace("via inet6 ", "via ")):
        facts, route = pairs(words), ip_route_line(words)
        if route:
            routes.append(route)
        elif words[0] == "nexthop" and routes:
            hop = {"via": facts.get("via"), "dev": facts.get("dev")}
            routes[-1].setdefault("nexthops", []).append(hop)
        elif words[0] == "cache" and routes:
            routes[-1]["mtu"] = to_int(facts.get("mtu")) or routes[-1]["mtu"]
        else:
            strange += 1
    mine(error or not text.strip() or routes and strange <= len(routes), "hardly any route")
    return {"routes": routes, "error": error}


@parser
def parse_route(text):
    """netstat -r, route (-n, -e, -ee, -6) of net-tools and BusyBox; netstat -r of BSD and macOS."""
    routes, columns, family = [], [], 4
    for line in text.replace("Next Hop", "Gateway").splitlines():
        words = line.split()
        row = dict(zip(columns, words))
        if re.match(r"\s*(?:Kernel IP|\(?Internet)", line):
            family = 6 if "v6" in line or "net6" in line else 4
        elif words[:1] == ["Destination"] and "Gateway" in words:
            columns = [COLUMN_NAMES.get(word, word) for word in words]
        elif len(row) >= 4 and re.match(r"[A-Z!][\w!]*$", row["Flags"]):
            gateway, length = row["Gateway"], mask_length(row.get("Genmask"))
            mine("Genmask" not in row or length is not None, "netmask")
            on_link = gateway.startswith("link#") or to_mac(gateway)
            routes.append(route_row(
                destination(row["Destination"], length), None if on_link else gateway,
                row.get("Iface"), to_int(row.get("Metric")), family=family, flags=row["Flags"],
                **({} if "Kernel I" in text else {"gateway_raw": gateway})))
    mine(columns, "no heading")
    return {"routes": routes}


@parser
def parse_ip_rule(text):
    """ip rule of iproute2 and BusyBox; `action`: lookup, goto, nop or a kind of refusal."""
    rules = []
    for priority, rest in re.findall(r"(?m)^([0-9]+):\s+(.*)$", text):
        facts = pairs(rest.split() + [""])
        action = find(r"\b(blackhole|unreachable|prohibit|goto|nop|lookup)\b", rest)
        mine("from" in facts and action, rest)
        rules.append({key: facts.get(key) for key in "from to iif oif fwmark".split()})
        rules[-1].update({"priority": int(priority), "action": action, "not": "not" in facts,
                          "table": facts.get("lookup", facts.get("table"))})
    return {"rules": mine(rules)}


@parser
def parse_ip_neigh(text):
    """ip neigh of iproute2 and BusyBox, -s and "show proxy" (state None) too; blank: no entries."""
    rows, entries = word_rows(text), []
    for address, *words in rows:
        states, facts = [word for word in words if word in NUD_STATES], pairs(words)
        if is_address(address) and (states or "proxy" in words):
            entries.append({
                "ip": address, "mac": to_mac(facts.get("lladdr")), "dev": facts.get("dev"),
                "state": states[-1] if states else None, "router": "router" in words,
                "proxy": "proxy" in words})
    mine(2 * len(entries) >= len(rows) or find_kind(TOOL_ERRORS, text) == "no_such_device",
         "most lines are strange")
    return {"entries": entries}


@parser
def parse_arp(text):
    """arp (-a, -n) of net-tools, BusyBox, BSD, macOS, AIX, and Windows in any language."""
    entries, device = [], None
    for line in text.splitlines():
        device = first_address(line) if re.search(r" --- 0x[0-9a-fA-F]", line) else device
        found = next(filter(None, (re.match(form, line) for form in ARP_FORMS)), None)
        facts = found.groupdict() if found else {"mac": None}
        mac, host, ip_word = to_mac(facts["mac"]), facts.get("host"), facts.get("ip")
        if not (mac or host) or not is_address(ip_word or "::"):
            continue
        state = "complete" if mac else "incomplete"
        if re.match(r"(?i)dyn|din|dyı|動|动|дин|동", facts["rest"]):
            state = "dynamic"
        elif host is None or re.search(r"\b(?:(?i:perm)|C?MP?\b)", facts["rest"]):
            state = "permanent"
        entries.append({"ip": ip_word or host, "mac": mac, "state": state,
                        "dev": facts.get("dev") or find(r"\bon (\S+)", facts["rest"]) or device,
                        "hostname": None if is_address(host or "::") or host == "?" else host})
    mine(entries or device or not text.strip() or re.search(
        r"(?i)HWtype|no match found|no entry|no arp entries|ARP .{0,12}(?:見つかりません|trouvée)", text))
    return {"entries": entries}


# -- dig, configuration files, kernel files -------------------------------------------------------

RECORD = (r"(?m)^([^\s;]\S*)[ \t]+([0-9]{1,10})[ \t]+(?:IN|CH|HS|ANY|NONE)[ \t]+([A-Z0-9]+)[ \t]+"
          r"(\S.*)")
SHORT_ANSWER = (r'(?:[0-9]+ ){0,4}\S*\.$|"[^"]|\S+\. \S+\. [0-9 ]+$|[0-9]+ [a-z]+ "|[0-9]+ \S+ \w+='
                r'|[0-9]+ [0-9]+ [0-9]+ [0-9A-F]{16}')


def dig_records(text):
    """[{name, ttl, type, data}] of the lines that are records in the form of zone files."""
    return [{"name": name, "ttl": int(ttl), "type": kind, "data": data.strip()}
            for name, ttl, kind, data in re.findall(RECORD, text)]


@parser
def parse_dig(text):
    """dig of BIND 9.9 to 9.20, +short, +noall, zone transfers; counts: `authority`, `queries`."""
    _, *messages = text.split("->>HEADER<<-")
    message = (messages or [text])[0]
    section = dict(re.findall(r"(?ms)^;; (\w+) SECTION:\n(.*?)(?:^\s*$|\Z)", message))
    error = None if messages else find_kind(TOOL_ERRORS, text)
    answers = dig_records(section.get("ANSWER", "") if messages or error else text)
    if not (messages or error or answers):                                          # +short
        lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != ";"]
        short = all(is_address(line) or re.match(SHORT_ANSWER, line) for line in lines)
        answers = [dict(name=None, ttl=None, type=None, data=line) for line in lines if short]
    mine(messages or answers or "<<>>" in text or error and re.search(r"(?m)^;; |\bdig\b", text))
    question = re.match(r";(?P<name>\S+)\s+\S+\s+(?P<type>\S+)", section.get("QUESTION", ""))
    flags = find(r"(?mi)^;; flags: ?([a-z ]*)", message)
    time = re.search(r"Query time: ([0-9]{1,9}) ([mu])sec", message)
    return {"status": find(r"status: (\w+)", message) if messages else None, "error": error,
            "server": find(r"(?m)^;; SERVER: ([^#\s]+)", message), "queries": len(messages),
            "query_time_ms": time and int(time.group(1)) // (1000 if time.group(2) == "u" else 1),
            "question": question and question.groupdict(), "answers": answers,
            "flags": None if flags is None else flags.split(),
            "authority": len(dig_records(section.get("AUTHORITY", "")))}


@parser
def parse_resolv_conf(text):
    """/etc/resolv.conf as glibc reads it: caps on options, at most three servers `used`."""
    servers, search, options, strange = [], [], {}, 0
    caps = {"ndots": 15, "timeout": 30, "attempts": 5}
    for key, *values in word_rows(text):
        if key == "nameserver":
            servers += values[:1]
        elif key in ("search", "domain"):
            search = values[:1] if key == "domain" else values
        elif key == "options":
            for name, _, value in (word.partition(":") for word in values):
                number, cap = to_int(value), caps.get(name, 1 << 30)
                options[name.replace("-", "_")] = True if number is None else min(number, cap)
        else:
            strange += key[0] not in "#;" and key != "sortlist"
    mine(2 * strange <= len(text.splitlines()), "most lines are strange")
    used = [word for word in servers if is_address(word)][:3] or ["127.0.0.1"]
    return {"nameservers": servers, "used": used, "search": search, "options": options}


@parser
def parse_hosts(text):
    """/etc/hosts -> [{address, names}], in order (the first match wins)."""
    rows = word_rows(re.sub("#.*", "", text))
    hosts = [dict(address=word, names=names) for word, *names in rows if names and is_address(word)]
    mine(hosts or not rows, "no entry")
    return hosts


@parser
def parse_nsswitch(text):
    """/etc/nsswitch.conf -> {"hosts": ["files", "mdns4_minimal", "[NOTFOUND=return]", "dns"]}."""
    found = [re.match(r"\s*([a-z_0-9]+):\s*(.*)", line).groups()
             for line in re.sub("#.*", "", text).splitlines() if line.strip()]
    return {key: re.findall(r"\[[^\[\]]*\]|[^\s\[\]]+", value) for key, value in found}


def hex_ip(digits):
    """An address of /proc/net: IPv4 is a number of this machine, IPv6 stands byte for byte."""
    raw = bytes.fromhex(digits)
    return mine(address_text(struct.pack("=I", int(digits, 16)) if len(raw) == 4 else raw))


@parser
def parse_proc_arp(text):
    """/proc/net/arp: facts as parse_arp (flags 0x2 complete, 0x4 permanent)."""
    heading, *rows = word_rows(text)
    mine(heading[:2] == ["IP", "address"], "heading")
    states = "incomplete complete permanent permanent".split()
    return {"entries": [
        {"ip": address, "mac": to_mac(mac) if int(flags, 16) & 6 else None, "dev": device,
         "state": states[int(flags, 16) >> 1 & 3], "hostname": None}
        for address, _, flags, mac, _, device in rows]}


@parser
def parse_proc_route(text):
    """/proc/net/route (main IPv4 table): facts as parse_ip_route; a reject is unreachable."""
    heading, *rows = word_rows(text)
    mine(heading[:2] == ["Iface", "Destination"], "heading")
    mine(all(mask_length(hex_ip(row[7])) is not None for row in rows), "netmask")
    return {"error": None, "routes": [
        route_row(destination(hex_ip(dst), mask_length(hex_ip(mask))), hex_ip(via), device,
                  int(metric), type="unreachable" if int(flags, 16) & 0x200 else "unicast")
        for device, dst, via, flags, _, _, metric, mask, *_ in rows]}


@parser
def parse_proc_ipv6_route(text):
    """/proc/net/ipv6_route: facts as parse_ip_route, all tables in one; cached routes left out."""
    types = ((0x200, "unreachable"), (0x80000000, "local"), (0x100000, "anycast"))  # RTF_
    return {"error": None, "routes": [
        route_row(destination(hex_ip(dst), int(length, 16)), hex_ip(via), device, int(metric, 16),
                  type=next((kind for bit, kind in types if int(flags, 16) & bit),
                            "multicast" if dst.startswith("ff") else "unicast"))
        for dst, length, _, _, via, metric, _, _, flags, device in word_rows(text)
        if not int(flags, 16) & 0x01000000]}


@parser
def parse_proc_net_dev(text):
    """/proc/net/dev -> {ifname: {rx_bytes, rx_packets, ..., tx_carrier, tx_compressed}}."""
    columns = (
        "rx_bytes rx_packets rx_errors rx_dropped rx_fifo rx_frame rx_compressed rx_multicast "
        "tx_bytes tx_packets tx_errors tx_dropped tx_fifo tx_collisions tx_carrier tx_compressed")
    heading, _, *rows = word_rows(text.replace(":", " "))     # old kernels: "eth0:1234", no blank
    mine(heading[0] == "Inter-|" and all(len(row) == 17 for row in rows))
    return {name: dict(zip(columns.split(), map(int, row))) for name, *row in rows}


@parser
def parse_proc_counters(text):
    """/proc/net/snmp, netstat and snmp6: {"TcpRetransSegs": 3, "Ip6InReceives": 12, ...}."""
    alone = re.findall(r"(?m)^([A-Z][A-Za-z]+6[A-Z]\w*)\s+([0-9]+)$", text)            # snmp6
    counters = {name: int(value) for name, value in alone}
    for prefix, *lines in re.findall(r"(?m)^(\w+):(.*)\n\1:(.*)$", text):
        names, values = map(str.split, lines)
        mine(len(names) == len(values), prefix)
        counters.update((prefix + name, int(value)) for name, value in zip(names, values))
    return mine(counters, "no counter")


@parser
def parse_softnet(text):
    """/proc/net/softnet_stat, a row of hexadecimal numbers a CPU: packets that were too many."""
    rows = [[int(word, 16) for word in row] for row in word_rows(text)]
    return {"SoftnetDropped": sum(row[1] for row in rows),
            "SoftnetTimesqueezeErrors": sum(row[2] for row in rows)}


@parser
def parse_conntrack_stat(text):
    """/proc/net/stat/nf_conntrack, the same below a heading: {"ConntrackDrop": 0, ...}."""
    heading, *rows = word_rows(text) or [[]]
    return {"Conntrack" + name.title(): sum(int(row[place], 16) for row in rows)
            for place, name in enumerate(heading)}


# -- netlink (linux/netlink.h, linux/rtnetlink.h) and ICMP ----------------------------------------

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE = 18, 22, 26, 30, 34
NUD = numbered("1 INCOMPLETE 2 REACHABLE 4 STALE 8 DELAY 16 PROBE 32 FAILED 128 PERMANENT")
RTN_NAMES = numbered("1 unicast 2 local 3 broadcast 5 multicast 6 blackhole 7 unreachable"
                     " 8 prohibit 9 throw")


def netlink_attributes(payload, start=0):
    """The attribute list of a netlink message: {type: bytes}, b"" where absent; the first wins."""
    found = collections.defaultdict(bytes)
    while start + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, start)
        found.setdefault(kind & 0x3fff, payload[start + 4:start + length])
        start += (max(length, 4) + 3) & ~3
    return found


def netlink_rows(messages, wanted, form):
    """The fields of the header, then the attributes, of each message of the wanted kind."""
    size = struct.calcsize(form)
    for kind, payload in messages:
        if kind == wanted and len(payload) >= size:
            yield struct.unpack_from(form, payload) + (netlink_attributes(payload, size),)


def address_text(raw, length=None):
    """An address of 4 or 16 bytes as text, with a prefix length or without; None for no address."""
    version = {4: 4, 16: 6}.get(len(raw))
    text = version and socket.inet_ntop(FAMILY[version], raw)
    return text if length is None or not text else "%s/%d" % (text, length)


def mac_text(raw):
    """A link-layer address as text; None for what is no MAC."""
    return to_mac(":".join("%02x" % byte for byte in raw))


def netlink_number(raw):
    """A 32-bit attribute in host order; None where it is absent."""
    return struct.unpack_from("=I", raw)[0] if len(raw) >= 4 else None


@guarded
def parse_netlink_interfaces(messages):
    """RTM_NEWLINK and RTM_NEWADDR payloads, as (kind, payload) -> the shape of `parse_ip_addr`."""
    links = collections.OrderedDict()
    for index, flags, found in netlink_rows(messages, 16, "=4xiI4x"):
        kinds = netlink_attributes(found[18])[1]              # IFLA_LINKINFO: 'bridge', 'veth' ...
        name, kind = (raw.rstrip(b"\0").decode("ascii", "replace") for raw in (found[3], kinds))
        links[index] = {                                      # IFF_UP, _LOOPBACK, _LOWER_UP
            "name": name, "up": bool(flags & 1), "loopback": bool(flags & 8),
            "carrier": bool(flags & 0x10000), "kind": kind or None, "mac": mac_text(found[1]),
            "mtu": netlink_number(found[4]), "inet": [], "inet6": []}
    for length, flags, index, found in netlink_rows(messages, 20, "=xBBxI"):
        cidr = address_text(found[2] or found[1], length)
        if cidr and index in links:
            links[index]["inet6" if ":" in cidr else "inet"].append(cidr)
            if flags & 8:                                     # IFA_F_DADFAILED
                links[index].setdefault("flags_of", {})[cidr] = ["dadfailed"]
    return {"interfaces": list(links.values())}


@guarded
def parse_netlink_routes(messages, cloned=False):
    """RTM_NEWROUTE payloads -> the shape of `parse_ip_route`, `dev` as an interface index."""
    return {"routes": [
        {"dst": destination(address_text(found[1]) or "default", length),
         "type": RTN_NAMES.get(kind, str(kind)), "via": address_text(found[5]),
         "table": netlink_number(found[15]) or table, "dev_index": netlink_number(found[4]),
         "src": address_text(found[7]), "metric": netlink_number(found[6]),
         "mtu": netlink_number(netlink_attributes(found[8])[2])}
        for length, table, kind, flags, found in netlink_rows(messages, 24, "=xB2xB2xBI")
        if cloned or not flags & 0x200]}                  # RTM_F_CLONED: a learned path MTU


def build_route_query(address, source=None):
    """The body of RTM_GETROUTE: which way would a packet to `address` go (from `source`)?"""
    family, bits = FAMILY[is_address(address)], 128 if ":" in address else 32
    body = struct.pack("=3B9x", family, bits, bits if source else 0)
    for kind, text in enumerate(filter(None, (address, source)), 1):       # RTA_DST, RTA_SRC
        raw = socket.inet_pton(family, text.partition("%")[0])
        body += struct.pack("=HH", 4 + len(raw), kind) + raw
    return body


@guarded
def parse_netlink_neighbors(messages):
    """RTM_NEWNEIGH payloads -> the shape of `parse_ip_neigh`, `dev` as an interface index."""
    return {"entries": [
        {"ip": address_text(found[1]), "dev_index": index, "state": NUD[state],
         "mac": mac_text(found[2])}
        for index, state, found in netlink_rows(messages, 28, "=4xiH2x")
        if address_text(found[1]) and state in NUD]}       # not NOARP: nobody is asked for it


@guarded
def parse_netlink_rules(messages):
    """RTM_NEWRULE payloads -> the shape of `parse_ip_rule` (what netdiag reads of it)."""
    return {"rules": [
        {"priority": netlink_number(found[6]) or 0, "from": address_text(found[2], bits) or "all",
         "to": address_text(found[1], to_bits), "table": netlink_number(found[15]) or table,
         "action": RTN_NAMES.get(action) if action != 1 else None}
        for to_bits, bits, table, action, found in netlink_rows(messages, 32, "=xBBxB2xB4x")]}


ROUTE_ERRORS = kinds("""
    ENETUNREACH=network.*unreachable   EHOSTUNREACH=no route|host.*unreachable
    EACCES=not permitted|permission denied   EINVAL=invalid argument   ENETDOWN=network.*down""")


def parse_route_answer(text):
    """`ip route get ADDRESS`: the kernel's choice as a `route_answer`, or a connection's errno."""
    error = find_kind(ROUTE_ERRORS, text)
    if error and re.search(r"(?i)rtnetlink|\A.{0,69}unreachable", text):
        return dict(route_answer({}), error=error)
    return route_answer(mine(parse_ip_route(text)["routes"], "no route in the answer")[0])


def route_answer(row):
    """One route row as the answer to 'which way?'; a row that refuses carries its errno."""
    refusal = {"blackhole": "EINVAL", "unreachable": "EHOSTUNREACH", "prohibit": "EACCES"}
    found = {key: row.get(key) for key in "dev via src table mtu".split()}
    return dict(found, type=row.get("type") or "unicast", error=refusal.get(row.get("type")))


ICMP_WORDS = {(version, kind, code): words for version, kind, names in (
    (4, 3, "network unreachable|host unreachable|protocol unreachable|port unreachable"
           "|fragmentation needed||network unknown|host unknown||network prohibited"
           "|host prohibited|network unreachable for this type of service"
           "|host unreachable for this type of service|administratively prohibited"),
    (4, 11, "time to live exceeded"), (6, 2, "packet too big"), (6, 3, "hop limit exceeded"),
    (6, 1, "no route|administratively prohibited|beyond scope of source address"
           "|address unreachable|port unreachable|source address failed policy|reject route"))
    for code, words in enumerate(names.split("|")) if words}
NET_UNREACHABLE, HOST_UNREACHABLE, REJECTED, TIME_EXCEEDED = (
    {tuple(map(int, kind.split("/"))) for kind in kinds.split()} for kinds in (
        "4/3/0 4/3/6 4/3/11 6/1/0", "4/3/1 4/3/7 4/3/12 6/1/3",
        "4/3/2 4/3/3 4/3/9 4/3/10 4/3/13 6/1/1 6/1/2 6/1/4 6/1/5 6/1/6", "4/11/0 6/3/0"))


def icmp_kind(address, error):
    """(version, type, code) of an ICMP error record about a packet to `address`."""
    return (6 if ":" in address else 4, error.get("type"), error.get("code"))


def icmp_words(address, error):
    """The name of an ICMP error, with its numbers: 'port unreachable (3/3)'."""
    kind = icmp_kind(address, error)
    return "%s (%s/%s)" % ((ICMP_WORDS.get(kind, "unreachable"),) + kind[1:])


def short_at(data, offset=0):
    """The 16-bit number at an offset, in network order."""
    return struct.unpack_from("!H", data, offset)[0]


def quoted_mss(segment):
    """The MSS in a SYN that an ICMP error quotes: who rewrote it on the way is seen by hop."""
    options = segment[20:(segment[12] >> 4) * 4] if len(segment) > 20 else b""
    while len(options) >= 4 and options[0] != 2:
        options = options[1 if options[0] == 1 else max(options[1], 2):]
    return short_at(options, 2) if len(options) >= 4 else None


def is_echo_reply(packet, version, header, sequence):
    """Is this the reply to our echo (a raw socket sees all)?  `header` bytes of IP come first."""
    icmp, kind = packet[header:], 129 if version == 6 else 0
    return icmp[6:16] == struct.pack("!H", sequence) + b"netdiag!" and icmp[0] == kind


def build_echo(version, ident, sequence, size=24):
    """An ICMP echo request; the checksum counts only for raw IPv4 sockets (RFC 792)."""
    packet = struct.pack("!BBHHH", 128 if version == 6 else 8, 0, 0, ident, sequence)
    packet += (b"netdiag!" * size)[:size - size % 2]
    total = sum(struct.unpack("!%dH" % (len(packet) // 2), packet))
    return packet[:2] + struct.pack("!H", -total % 0xffff) + packet[4:]


# -- DNS (RFC 1035, 6891) -------------------------------------------------------------------------

QTYPE_NAMES = numbered("1 A 2 NS 5 CNAME 6 SOA 12 PTR 28 AAAA")
QTYPES = {name: number for number, name in QTYPE_NAMES.items()}
RCODES = numbered("0 NOERROR 1 FORMERR 2 SERVFAIL 3 NXDOMAIN 4 NOTIMP 5 REFUSED")


@guarded
def dns_labels(name):
    """A host name as wire labels; NotMine for a name that DNS cannot carry."""
    raw = dns_bytes(name.rstrip("."))
    labels = raw.split(b".") if raw else []
    mine(len(raw) <= 253 and all(1 <= len(label) <= 63 for label in labels),
         "not a DNS name: a label is empty or longer than 63")
    return b"".join(counted(label, "B") for label in labels) + b"\0"


def build_dns_query(name, qtype, ident):
    """One question with recursion desired; EDNS advertises what fits every path (1,232 bytes)."""
    return struct.pack("!6H", ident, 0x100, 1, 0, 0, 1) + dns_labels(name) \
        + struct.pack("!HHBHHIH", QTYPES[qtype], 1, 0, 41, 1232, 0, 0)


def read_dns_name(packet, offset):
    """A possibly compressed name -> (text, offset behind it); loops and overruns are NotMine."""
    labels, behind = [], None
    for _ in range(168):                                  # 127 labels, 40 pointers, and the end
        length = packet[offset]
        if not length:
            return ".".join(labels), behind or offset + 1
        if length >= 0xc0:
            behind = behind or offset + 2
            offset = short_at(packet, offset) & 0x3fff
        else:
            offset += 1 + length
            mine(length < 64 and offset <= len(packet), "DNS label past the end")
            labels.append(packet[offset - length:offset].decode("latin-1"))
    raise NotMine("DNS pointer loop")


@guarded
def read_dns_record(packet, offset):
    """One resource record -> (dict, offset behind it)."""
    name, offset = read_dns_name(packet, offset)
    kind, length = struct.unpack_from("!H6xH", packet, offset)
    start, behind, value = offset + 10, offset + 10 + length, None
    mine(behind <= len(packet), "DNS record data past the end")
    if (kind, length) in ((1, 4), (28, 16)):
        value = address_text(packet[start:behind])
    elif kind in (2, 5, 12):
        value = read_dns_name(packet, start)[0]
    return {"name": name, "type": QTYPE_NAMES.get(kind, str(kind)), "data": value}, behind


@guarded
def parse_dns(packet):
    """A DNS reply as facts; `answers` keep the CNAME chain, `addresses` are the A and AAAA data."""
    ident, flags, questions, answers = struct.unpack_from("!4H", packet)
    mine(len(packet) >= 12 and flags & 0x8000 and questions <= 4, "not a DNS reply")
    offset, question, rows = 12, None, []
    for _ in range(questions):
        name, offset = read_dns_name(packet, offset)
        qtype, _ = struct.unpack_from("!HH", packet, offset)
        question, offset = {"name": name, "type": QTYPE_NAMES.get(qtype, str(qtype))}, offset + 4
    for _ in range(min(answers, 200)):
        try:
            row, offset = read_dns_record(packet, offset)
        except NotMine:
            mine(flags & 0x200, "DNS record past the end")
            break                        # a truncated reply may end inside a record
        rows.append(row)
    return {"id": ident, "rcode": RCODES.get(flags & 15, str(flags & 15)),
            "truncated": bool(flags & 0x200), "authoritative": bool(flags & 0x400),
            "recursion": bool(flags & 0x80), "question": question, "answers": rows,
            "addresses": [r["data"] for r in rows if r["type"] in ("A", "AAAA") and r["data"]]}


def parse_dns_exchange(raw):
    """What room 4 brings from a resolver ({reply, over, strays}); MALFORMED if it is none."""
    try:
        value = parse_dns(raw["reply"])
    except NotMine:
        value = dict(parse_dns(b"\0\0\x80" + b"\0" * 9), rcode="MALFORMED")
    if value["truncated"] and raw["over"] == "udp" and not value["addresses"]:
        value["rcode"] = "TRUNCATED"          # and TCP, which would have brought the rest, failed
    return dict(value, over=raw["over"], strays=raw["strays"])


def search_names(name, search, ndots):
    """The absolute names that a stub resolver tries for `name`, in its order (resolv.conf(5))."""
    if name.endswith("."):
        return [name[:-1]]
    suffixed = ["%s.%s" % (name, suffix.strip(".")) for suffix in search[:MAX_SEARCH] if suffix]
    return [name] + suffixed if name.count(".") >= ndots else suffixed + [name]


# -- X.509 and TLS (X.690, RFC 5280, 5246, 8446) --------------------------------------------------

OID_NAMES = dict(re.findall(
    r"(\S+)=(\S+)", "2.5.4.3=CN 2.5.4.6=C 2.5.4.7=L 2.5.4.8=ST 2.5.4.10=O 2.5.4.11=OU"
    " 2.5.4.5=serialNumber 1.2.840.113549.1.9.1=emailAddress 0.9.2342.19200300.100.1.25=DC"))
STRING_TYPES = {12: "utf-8", 28: "utf-32-be", 30: "utf-16-be"}


def der_items(data, depth=0):
    """The DER elements in `data`, or so many levels inside the first: [(tag, value), ...]."""
    offset, items = 0, []
    while offset < len(data):
        tag, length = data[offset], data[offset + 1]
        offset += 2
        if length & 0x80:
            count = length & 0x7f
            mine(1 <= count <= 4, "DER length")
            length = int.from_bytes(data[offset:offset + count], "big")
            offset += count
        mine(offset + length <= len(data), "DER element past the end")
        items.append((tag, data[offset:offset + length]))
        offset += length
    return der_items(items[0][1], depth - 1) if depth and items else items


def read_oid(raw):
    """An object identifier as dotted text."""
    arcs = [0]
    for byte in raw:
        arcs[-1] = arcs[-1] << 7 | byte & 127
        if byte < 128:
            arcs.append(0)
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first] + arcs[1:-1]))


def read_name(parts):
    """A distinguished name, as the DER elements of its parts -> [[type, text], ...]."""
    rows = []
    for pair in [pair for _, names in parts for _, pair in der_items(names)]:
        (_, kind), (tag, text) = der_items(pair)[:2]
        oid, coding = read_oid(kind), STRING_TYPES.get(tag, "latin-1")
        rows.append([OID_NAMES.get(oid, oid), text.decode(coding, "replace")])
    return rows


def read_time(tag, raw):
    """UTCTime (two-digit year: 50-99 are 19xx) or GeneralizedTime -> seconds since 1970."""
    if tag == 23:
        raw = (b"19" if raw >= b"50" else b"20") + raw
    return epoch_of(*re.match(rb"(\d{4})" + 5 * rb"(\d\d)" + b"Z$", raw).groups())


def iso_epoch(text):
    """ISO 8601 with an offset ("2026-11-21T12:00:00+09:00") -> seconds since 1970."""
    moment = re.match(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?"
                      r"(?:Z|([+-]\d\d):?(\d\d))$", text).groups()
    hours, minutes = int(moment[6] or 0), int((moment[6] or "+")[0] + (moment[7] or "0"))
    return epoch_of(*moment[:6]) - hours * 3600 - minutes * 60


def epoch_of(*moment):
    """Year, month ... second in UTC -> seconds since 1970; time.strptime would load 0.8 MB."""
    year, month, day, hour, minute, second = map(int, moment)
    mine(0 < month < 13 and 0 < day < 32, "no such day")
    year -= month < 3                          # years that begin in March end with the leap day
    days = year * 365 + year // 4 - year // 100 + year // 400 + (153 * ((month - 3) % 12) + 2) // 5
    return ((days + day - 719469) * 24 + hour) * 3600 + minute * 60 + second


@guarded
def parse_certificate(data):
    """A DER certificate as facts; times are seconds since 1970, names [[type, text], ...]."""
    fields = der_items(data, 2)
    if fields[0][0] == 0xa0:                         # the version, absent in version 1
        del fields[0]
    (_, serial), _, (_, issuer), (_, validity), (_, subject) = fields[:5]
    begin, end = (read_time(tag, raw) for tag, raw in der_items(validity)[:2])
    parts = [der_items(part) for _, part in der_items(dict(fields[5:]).get(0xa3, b""), 1)]
    extensions = collections.defaultdict(bytes, ((read_oid(p[0][1]), p[-1][1]) for p in parts))
    names = [["DNS", raw.decode("latin-1")] if tag == 0x82 else ["IP", address_text(raw)]
             for tag, raw in der_items(extensions["2.5.29.17"], 1) if tag in (0x82, 0x87)]
    return {"issuer": read_name(der_items(issuer)), "subject": read_name(der_items(subject)),
            "not_before": begin, "not_after": end, "serial": "%x" % int.from_bytes(serial, "big"),
            "self_issued": issuer == subject, "sha256": sha256(data).hexdigest(),
            "san": [name for name in names if name[1]],
            "ca": any(tag == 1 and any(raw) for tag, raw in der_items(extensions["2.5.29.19"], 1)),
            "aia": b"\x2b\x06\x01\x05\x05\x07\x30\x02" in extensions["1.3.6.1.5.5.7.1.1"]}


def sha256(data):
    """SHA-256 by Python's own code (3.12 renamed it): hashlib loads 4 MB of OpenSSL for it."""
    for name in ("_sha2", "_sha256", "hashlib"):
        try:
            return __import__(name).sha256(data)
        except ImportError:
            pass


def name_text(parts):
    """A distinguished name in one line, the most telling part first; safe to print."""
    wanted = dict(reversed(parts))
    text = wanted.get("CN") or wanted.get("O") or ", ".join("%s=%s" % tuple(p) for p in parts)
    return printable(text or "(empty name)", 80)


def names_of(certificate):
    """The host names and addresses that a certificate is for (the CN where it has no SAN)."""
    return [text for _, text in certificate["san"]] or [
        text for kind, text in certificate["subject"] if kind == "CN"]


def name_matches(certificate, host):
    """RFC 6125: does the certificate name `host`?  A wildcard stands for one whole left label."""
    names = [name.rstrip(".").lower() for name in names_of(certificate)]
    if is_address(host):
        return any(is_address(name) and ip(name) == ip(host) for name in names)
    host = dns_ascii(host.rstrip(".").lower())
    parent = host.partition(".")[2]
    return host in names or "." in parent and "*." + parent in names


TLS_VERSIONS = numbered("768 SSLv3 769 TLSv1 770 TLSv1.1 771 TLSv1.2 772 TLSv1.3")
ALERTS = numbered("0 close_notify 10 unexpected_message 20 bad_record_mac 40 handshake_failure 42"
                  " bad_certificate 43 unsupported_certificate 44 certificate_revoked 45"
                  " certificate_expired 46 certificate_unknown 47 illegal_parameter 48 unknown_ca"
                  " 49 access_denied 50 decode_error 51 decrypt_error 70 protocol_version 71"
                  " insufficient_security 80 internal_error 86 inappropriate_fallback 109"
                  " missing_extension 110 unsupported_extension 112 unrecognized_name 116"
                  " certificate_required 120 no_application_protocol")
CLIENT_SUITES = bytes.fromhex(               # behind no session, before no compression
    "00 002c c02b c02f c02c c030 cca9 cca8 009e 009f c023 c027 c009 c013 c00a"
    " c014 009c 009d 003c 003d 002f 0035 000a 00ff 0100")
CLIENT_EXTENSIONS = bytes.fromhex(           # groups, point formats, signature algorithms
    "000a 000a 0008 001d 0017 0018 0019  000b 0002 0100"
    " 000d 0018 0016 0403 0804 0401 0503 0805 0501 0603 0806 0601 0203 0201")


def build_client_hello(server_name, random, version=0x303, padding=0):
    """A ClientHello of at most TLS 1.2, where certificates come back in clear (RFC 5246).

    `padding` bytes (RFC 7685) make it as large as post-quantum key shares do.
    """
    extensions = CLIENT_EXTENSIONS + (b"\0\x15" + counted(b"\0" * padding) if padding else b"")
    if server_name:
        name = counted(dns_ascii(server_name).encode("ascii"))
        extensions = b"\0\0" + counted(counted(b"\0" + name)) + extensions
    body = struct.pack("!H", version) + random + CLIENT_SUITES + counted(extensions)
    return b"\x16\3\1" + counted(b"\1\0" + counted(body))


def dns_bytes(name):
    """A host name in ASCII (IDNA, RFC 3490); UnicodeError where it has no such form."""
    return name.encode("ascii" if all(c < "\x80" for c in name) else "idna")


def dns_ascii(name):
    """The same as text; a name that cannot be encoded comes back escaped."""
    try:
        return dns_bytes(name).decode("ascii")
    except UnicodeError:
        return printable(name)


def is_not_tls(data):
    """True when these bytes begin no TLS record."""
    return len(data) >= 2 and (not 20 <= data[0] <= 23 or data[1] != 3)


def handshake_messages(data):
    """Handshake messages across records: (type, body), and alerts as (-1, (level, number))."""
    behind, pending = 0, b""
    while True:
        head, start = data[behind:behind + 5], behind + 5
        behind = start + int.from_bytes(head[3:], "big")
        if is_not_tls(head) or behind > len(data):
            return                                        # not all of the record has come
        if head[0] == 21 and behind - start == 2:
            yield -1, tuple(data[start:behind])
        pending += data[start:behind] if head[0] == 22 else b""
        while len(pending) >= 4 + int.from_bytes(pending[1:4], "big"):
            end = 4 + int.from_bytes(pending[1:4], "big")
            yield pending[0], pending[4:end]
            pending = pending[end:]


def flight_is_over(data):
    """True when a server's first flight has ended: hello done, an alert, or not TLS at all."""
    return is_not_tls(data) or any(kind in (-1, 14) for kind, _ in handshake_messages(data))


def talk_facts(raw, **facts):
    """What room 4 brings from a talk, with facts in place of its bytes, which are counted."""
    value = dict(raw, bytes=len(raw["data"]), **facts)
    del value["data"]
    return value


@guarded
def parse_tls_flight(raw):
    """What a server sent after a clear ClientHello; `client_cert`: names of accepted CAs."""
    data, absent = raw["data"], dict.fromkeys("version cipher client_cert alert not_tls".split())
    value = talk_facts(raw, chain=[], **absent)
    if is_not_tls(data):
        return dict(value, not_tls=printable(data[:200]), speaks=guess_protocol(data))
    for kind, body in handshake_messages(data):
        if kind == -1:
            value["alert"] = [body[0], ALERTS.get(body[1], str(body[1]))]
        elif kind == 2:
            number, cipher = short_at(body), short_at(body, 35 + body[34])
            value.update(version=TLS_VERSIONS.get(number, hex(number)), cipher="0x%04x" % cipher)
        elif kind == 11:
            value["chain"] += map(parse_certificate, uncounted(body, 3, 3))
        elif kind == 13:                  # whose client certificates the server accepts
            offset = 1 + body[0]
            if value["version"] == "TLSv1.2":
                offset += 2 + short_at(body, offset)
            value["client_cert"] = [name_text(read_name(der_items(name, 1)))
                                    for name in uncounted(body, offset + 2, 2)]
    return value


def read_chain(ders):
    """The certificates of a chain as facts, up to the first that nobody can read."""
    chain = []
    for der in ders:
        try:
            chain.append(parse_certificate(der))
        except NotMine:
            break
    return chain


@guarded
def parse_handshake(raw):
    """What room 4 brings from a handshake of the `ssl` module, `chain` parsed and `alert` named."""
    # OpenSSL's own text ("tlsv1 alert ..." of 1.x): `reason` lies on 3.6 and 3.7 for newer codes.
    text = find(r"((?:alert|tlsv1[03]?|sslv3) [a-z_ ]+)", (raw.get("error") or "").lower()) or ""
    told = (name for name in ALERTS.values() if name in text.replace(" ", "_"))
    return dict(raw, chain=read_chain(raw["chain"]), alert=next(told, None))


OPENSSL_FAILURES = kinds(r"""
    unknown_host=name or service not known|nodename nor servname|bio_lookup|gethostbyname
    refused=connection refused   no_route=no route to host   verify_failed=certificate verify failed
    not_tls=wrong version number|unknown protocol|http request   reset=econnreset|connection reset
    alert_protocol_version=alert protocol version|unsupported protocol|number 70|legacy sigalg
    alert_handshake_failure=alert handshake failure|alert number 40
    eof=unexpected eof|eof while reading|read 0 bytes|handshake has read 0 bytes""")
OPENSSL_ENDS = {None: "done", "not_tls": "not_tls", "reset": "reset", "eof": "closed"}


def openssl_handshake(facts):
    """What openssl s_client printed, in the shape of `parse_handshake`."""
    import base64
    refused = {"refused": "ECONNREFUSED", "no_route": "EHOSTUNREACH"}.get(facts["failure"])
    ended = "untrusted" if facts["verify_errors"] or facts["handshake"] and not facts[
        "verify_ok"] else OPENSSL_ENDS.get(facts["failure"], "alert")
    code = facts["verify_errors"][0]["code"] if facts["verify_errors"] else facts["verify_code"]
    return parse_handshake(dict(
        ended="no_connection" if refused else ended, reason=None, cipher=facts["cipher"],
        error=refused or (facts["failure"] or "").replace("_", " "), version=facts["protocol"],
        verify_code=code, alpn=None, ms=None,
        chain=[base64.b64decode(block) for block in facts["chain"]]))


@parser
def parse_openssl_s_client(text):
    """openssl s_client of OpenSSL 0.9.8 to 3 and LibreSSL, -brief too; `chain` in base64."""
    connected = "CONNECTED(" in text or "CONNECTION ESTABLISHED" in text
    failure = find_kind(OPENSSL_FAILURES, text)
    mine(connected or failure and re.search(r":error:|s_client|BIO_|connect:errno", text))
    version = find(r"Protocol(?: +| version): (\S+)", text) or find(r"New, ([^,(]+),", text)
    cipher = find(r"(?:Cipher is|Ciphersuite:|Cipher\s+:) (?!\(NONE\)|0000)(\S+)", text)
    code = re.search(r"(?i)verify return code: ([0-9]+) \((.*)\)", text)
    errors = re.findall(r"verify error:num=([0-9]+):(.*)", text)
    blocks = re.findall(r"-BEGIN CERTIFICATE-+([\w+/=\s]+)-+END ", text, re.A)
    chain_length = len(re.findall(r"(?m)^ *[0-9]+ s:", text)) or None
    done = bool(cipher) and (failure is None or failure in ("eof", "reset") and code is not None)
    ok = "Verification: OK" in text if code is None else code.group(1) == "0" and not errors
    return {"connected": connected, "handshake": done, "protocol": cipher and version,
            "cipher": cipher, "verify_code": to_int(code and code.group(1)),
            "verify_text": code and code.group(2), "failure": None if done else failure or "eof",
            "verify_errors": [{"code": int(n), "text": words} for n, words in errors],
            "subject": find(r"(?m)^(?:subject=|Peer certificate: ?)(.*)", text),
            "issuer": find(r"(?m)^issuer=(.*)", text), "chain_length": chain_length,
            "verify_ok": ok if done or errors else None,
            "chain": blocks}


# -- HTTP (RFC 9110, 9112), and the first words of other protocols --------------------------------

KEPT_HEADERS = ("server via location date content-type www-authenticate proxy-authenticate"
                " retry-after x-cache cf-ray x-served-by allow").split()
PLAIN_ON_TLS = rb"(?i)plain http request|https port|speaking plain http|requires tls"
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"


def final_answer(data):
    """An answer without its interim ones, 100 and 103 (RFC 9110 15.2; 101 is the final one)."""
    return re.sub(rb"\A(?:HTTP/1\.\d 1(?!01)\d\d\b[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n)+", b"", data)


def parse_http_head(data):
    """Status line and headers -> {status, reason, headers: {lower name: text}}."""
    match = mine(re.match(rb"HTTP/\d(?:\.\d)? (\d{3})(?: ([^\r\n]*))?\r?\n", data), "no HTTP")
    head, headers = re.split(rb"\r?\n\r?\n", data)[0].decode("latin-1"), {}
    for name, text in re.findall(r"(?m)^([^:\n]{1,60}):(.{0,2000})", head[match.end():])[:200]:
        headers.setdefault(name.strip().lower(), text.strip())
    return {"status": int(match.group(1)), "reason": printable(match.group(2) or b"", 80),
            "headers": headers}


def build_http_request(method, path, host, port, secure, padding=0):
    """A request that a careful browser could have sent; one connection, no body, no cookies."""
    name = "[%s]" % host if ":" in host else dns_ascii(host)
    name += "" if port == (443 if secure else 80) else ":%d" % port
    path = re.sub(r"[^!-~]", lambda c: "%%%02X" % (ord(c.group(0)) & 255), path)
    more = "X-Padding: %s\r\n" % ("n" * padding) if padding else ""
    return ("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: netdiag/%s\r\nAccept: */*\r\n"
            "Connection: close\r\n%s\r\n" % (method, path, name, VERSION, more)).encode(
                "ascii", "replace")


def sni_for(host):
    """The name for SNI: none for an address (RFC 6066)."""
    return None if is_address(host) else dns_ascii(host.rstrip("."))


@guarded
def parse_http_exchange(raw):
    """The answer to one request: `status` None where nothing came, `not_http` where no HTTP."""
    data, value = final_answer(raw["data"]), talk_facts(
        raw, status=None, not_http=None, chain=read_chain(raw.get("chain", ())))
    if not data or raw["ended"] in ("closed", "reset") and data.startswith(b"HTTP/1") \
            and not re.search(rb"\r?\n\r?\n", data):
        return value                                  # nothing, or a head that ends in the middle
    try:
        value.update(parse_http_head(data))
    except NotMine:
        return dict(value, not_http=printable(data[:200]), speaks=guess_protocol(data))
    every = value["headers"]
    return dict(
        value, location=every.get("location"), date=parse_http_date(every.get("date")),
        headers={k: printable(hide_secret(every[k])) for k in KEPT_HEADERS if k in every},
        wants_tls=bool(re.search(PLAIN_ON_TLS, data)))


def parse_http_date(text):
    """An HTTP date -> seconds since 1970, or None (RFC 9110 5.6.7, the preferred form)."""
    found = re.match(r"\w{3}, (0[1-9]|[12]\d|3[01]) (" + MONTHS
                     + r") (\d{4}) (\d\d):(\d\d):(\d\d) GMT", text or "")
    if not found:
        return None
    day, month, year, *clock = found.groups()
    return epoch_of(year, MONTHS.index(month) // 4 + 1, day, *clock)


def join_url(base, location):
    """The URL that a Location header leads to, seen from `base` (both absolute http URLs)."""
    if re.match(r"[a-z][a-z0-9+.-]*://", location, re.I):
        return location
    scheme, site, folder = re.match(r"([^:]+:)(//[^/?#]*)((?:/[^?#]*)?/)?", base).groups()
    if location.startswith("//"):
        return scheme + location
    return scheme + site + ("" if location.startswith("/") else folder or "/") + location


# What a client may say first, without credentials, and a healthy server answers.
FIRST_WORDS = {
    "redis": b"PING\r\n", "memcached": b"version\r\n", "zookeeper": b"srvr", "socks": b"\5\1\0",
    # AMQP 0-9-1, CONNECT of MQTT 3.1.1, ApiVersions 0, anonymous bind, X.224 connection request
    "amqp": b"AMQP\0\0\x09\1", "mqtt": b"\x10\x13\0\4MQTT\4\2\0\x3c\0\7netdiag",
    "kafka": b"\0\0\0\x11\0\x12\0\0\0\0\0n\0\7netdiag", "ldap": b"0\x0c\2\1\1`\7\2\1\3\4\0\x80\0",
    "rdp": b"\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
    "postgresql": b"\0\0\0'\0\3\0\0user\0netdiag\0database\0netdiag\0\0",
    "mongodb": b"4\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x1f\0\0\0"     # OP_MSG {hello: 1}
               b"\x10hello\0\1\0\0\0\2$db\0\6\0\0\0admin\0\0"}
FIRST_BYTES = kinds(r"""
    ssh=SSH-\d   http=HTTP/\d   pop3=\+OK   vnc=RFB \d   smtp=220[ -][^\r\n]*(?i:smtp|mail)
    smtp=[45]\d\d[ -]   ftp=220[ -]   imap=\* (OK|PREAUTH|BYE)   tls=[\x14-\x17]\x03[\x00-\x04]
    mysql=(?s)...\x00(\x0a[\x20-\x7e]+\x00|\xff)   redis=\+PONG|-(NOAUTH|DENIED|ERR|LOADING|MISCONF)
    http=(?is)\s*<(!doctype|html)   telnet=\xff[\xfb-\xfe]   mongodb=(?s).{12}\xdd\x07\x00\x00
    postgresql=(?s)[ER]\x00\x00..   memcached=VERSION |ERROR   socks=\x05[\x00-\x02\xff]$
    zookeeper=Zookeeper version|srvr is not|This ZooKeeper   amqp=\x01\x00\x00\x00\x00
    another AMQP=AMQP   mqtt=\x20\x02[\x00\x01][\x00-\x05]$   rdp=(?s)\x03\x00..[\x06-\x0e]\xd0
    kafka=(?s)\x00...\x00\x00\x00n   ldap=(?s)0.{1,5}\x02\x01\x01a   xmpp=<\?xml|<stream:stream
    http2=(?s)\x00\x00.\x04\x00\x00\x00\x00\x00""")
GREETS_AS = dict(re.findall(r"(\S+)=(\S+)", "smtps=smtp imaps=imap pop3s=pop3 ftps=ftp amqps=amqp"
                            " mqtts=mqtt ldaps=ldap rediss=redis submission=smtp sftp=ssh"))
# The service itself says no.  A login that it asks for is none: that one works.
REFUSALS = kinds(r"""
    ssh.throttled=(?i)not allowed at this time|exceeded maxstartups|too many
    service.error=[45]\d\d[ -]|\* BYE|ERROR Too many|This ZooKeeper   service.error=(?s)...\x00\xff
    service.error=-(ERR(?! unknown| wrong)|DENIED|LOADING|MISCONF)|\x20\x02[^\n]\x03$
    service.error=(?s)E\x00\x00.*?(C53300|C57P0|no pg_hba|pg_hba\.conf rejects)
    service.error=(?s)0.{1,5}\x02\x01\x01a.{1,5}\x0a\x01[\x33-\x35]""")


def guess_protocol(data, table=FIRST_BYTES):
    """The protocol whose first bytes these are: the name in the first row that matches, or None."""
    text = data.decode("latin-1")
    return next((name for name, pattern in table if re.match(pattern, text)), None)


def read_first_words(data):
    """What a service says first: {greeting (safe to print), speaks, refuses: a code or None}."""
    told = re.search(rb"\x00M([^\x00]+)", data) if data[:1] == b"E" else None    # PostgreSQL
    return {"greeting": printable(told.group(1) if told else data[:300]),
            "speaks": guess_protocol(data), "refuses": guess_protocol(data, REFUSALS)}


def parse_datagram(raw):
    """What room 4 brings from a UDP port; `refuses` where NTP itself says no (RFC 5905)."""
    reply, greeting = raw["reply"], ""
    if len(reply) == 48 and reply[0] & 7 == 4 and reply[1] in (0, 16):
        greeting = "stratum %d %s" % (reply[1], printable(reply[12:16]))
    return dict(raw, reply=printable(reply[:200]), greeting=greeting,
                refuses="service.error" if greeting else None)


def parse_first_words(raw):
    """What room 4 brings from a talk that began with FIRST_WORDS."""
    return talk_facts(raw, **read_first_words(raw["data"]))


SOCKS_REPLIES = dict(enumerate("general failure|not allowed|network unreachable|host unreachable"
                               "|connection refused|TTL expired".split("|"), 1))


def build_socks(host, port, login):
    """What to say to a SOCKS 5 proxy (RFC 1928, 1929), with what it says where it agrees."""
    user, _, password = login.partition(b":")
    name = dns_ascii(host).encode("ascii", "replace")
    credentials = b"\1" + counted(user, "B") + counted(password, "B")
    connect = b"\5\1\0\3" + counted(name, "B") + struct.pack("!H", port)
    first = ((b"\5\1\2", rb"\x05\x02"), (credentials, rb"(?s).\x00"))
    return (first if login else ((b"\5\1\0", rb"\x05\x00"),)) + ((connect, rb"\x05\x00"),)


def parse_socks(raw):
    """What room 4 brings from a SOCKS proxy, in the terms of HTTP: 200, 403, 407 or 502."""
    said, told = raw.get("said", b""), (407, "wants another login")
    if not said:                                     # None: it agreed to everything
        told = (200, "OK") if said is None else (None, None)
    elif said[:1] != b"\5":
        told = 502, "no SOCKS 5"
    elif len(said) > 2 and said[1] in SOCKS_REPLIES:
        told = 403 if said[1] == 2 else 502, SOCKS_REPLIES[said[1]]
    return {"stage": raw["stage"], "error": raw.get("error"), "ended": raw.get("ended"),
            "status": told[0], "reason": told[1]}


# Up to where TLS begins: (what to say, what the answer must be like).  RFC 3207, 2595, 4217, 4511,
# 6120; PostgreSQL's SSLRequest; MySQL's, where the greeting has the flag CLIENT_SSL (0x0800).
STARTTLS = {
    "smtp": ((b"", rb"220[ -]"), (b"EHLO netdiag.invalid\r\n", rb"(?s).*250[ -]STARTTLS"),
             (b"STARTTLS\r\n", rb"220")),
    "imap": ((b"", rb"\* (OK|PREAUTH)"), (b"a STARTTLS\r\n", rb"(?s).*a OK")),
    "pop3": ((b"", rb"\+OK"), (b"STLS\r\n", rb"\+OK")),
    "ftp": ((b"", rb"220[ -]"), (b"AUTH TLS\r\n", rb"234")),
    "ldap": ((b"0\x1d\2\1\1w\x18\x80\x161.3.6.1.4.1.1466.20037",
              rb"(?s)0.{1,5}\x02\x01\x01x.{1,5}\x0a\x01\x00"),),
    "postgresql": ((b"\0\0\0\x08\4\xd2\x16\x2f", rb"S"),),
    "mysql": ((b"", rb"(?s)...\x00\x0a[^\x00]+\x00.{12}\x00.[\x08-\x0f\x18-\x1f\x28-\x2f\x38-\x3f"
               rb"\x48-\x4f\x58-\x5f\x68-\x6f\x78-\x7f\x88-\x8f\x98-\x9f\xa8-\xaf\xb8-\xbf"
               rb"\xc8-\xcf\xd8-\xdf\xe8-\xef\xf8-\xff]"),
              (b" \0\0\1\0\x8a\0\0\0\0\0\1!" + b"\0" * 23, None)),
    "xmpp": ((b"<stream:stream to='HOST' xmlns='jabber:client' version='1.0'"
              b" xmlns:stream='http://etherx.jabber.org/streams'>", rb"(?s).*<starttls"),
             (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", rb"<proceed"))}
WHOLE_LINE = rb"(?m)^(?:\d{3} |\+OK|-ERR|a (?:OK|NO|BAD)|\* (?:OK|BYE)).*\n"


# -- netdiag's own words: the greeting of `listen`, its pattern, and reports ----------------------

def build_greeting(arrival):
    """What `listen` says first, before any client has spoken: how the connection arrived."""
    return ("netdiag listen 1 you=%s me=%s ttl=%s mss=%s at=%s\r\n" % (
        endpoint(arrival["from"], arrival["port"]), endpoint(*arrival["me"]),
        arrival["ttl"], arrival["mss"], arrival["at"])).encode("ascii", "replace")


@guarded
def read_greeting(text):
    """The greeting of `listen`, or NotMine -> {"you", "port", "ttl", "mss", "at_s"}."""
    words = re.match(r"netdiag listen 1 ([ -~]{20,250})", text).group(1)
    told = dict(word.split("=", 1) for word in words.replace("\\r\\n", "").split())
    you, port = read_endpoint(told["you"])
    return {"you": mine(is_address(you) and you), "port": int(port), "ttl": to_int(told["ttl"]),
            "mss": to_int(told["mss"]), "at_s": iso_epoch(told["at"])}


def greeting_of(row):
    """What `listen` said in a connection or a datagram, or None: another service answers there."""
    try:
        return read_greeting(said(row, "greeting") or said(row, "reply"))
    except NotMine:
        return None


@guarded
def read_syn(packet):
    """A SYN with its IP header as it arrived (TCP_SAVED_SYN) -> {"ttl", "mss"}."""
    six = packet[0] >> 4 == 6
    return {"ttl": packet[7 if six else 8],
            "mss": quoted_mss(packet[40 if six else (packet[0] & 15) * 4:])}


def half_open_peers(text, port):
    """/proc/net/tcp, tcp6: {address: SYN/ACKs sent again} of half-open connections to a port."""
    rows = [words for words in word_rows(text)[1:] if len(words) > 6 and words[3] == "03"
            and words[1].endswith(":%04X" % port)]
    found = {}
    for words in rows:                            # one or four numbers of this machine each
        raw = b"".join(struct.pack("=I", int(part, 16)) for part in re.findall(
            ".{8}", words[2].partition(":")[0]))
        peer = address_text(raw).replace("::ffff:", "")
        found[peer] = max(int(words[6], 16), found.get(peer, 0))
    return found


def build_pattern(word, size):
    """A line of netdiag's, and so many bytes behind it."""
    return b"netdiag %s %d\n" % (word, size), b"0123456789abcdef" * (size // 16) + b"." * (
        size % 16)


def read_pattern(word, data):
    """(bytes announced, bytes that came) of a pattern; (None, 0): this is no line of netdiag's."""
    head = re.match(rb"netdiag %s ([0-9]{1,5})\n" % word, data)
    return (int(head.group(1)), len(data) - head.end()) if head else (None, 0)


def pattern_is_whole(word):
    """Has a pattern come as far as it was announced, or something else that is no pattern?"""
    def is_whole(data):
        size, came = read_pattern(word, data)
        return size is not None and (came >= size or size > PATTERN_LIMIT)
    return is_whole


PACKED = "-- report for `netdiag.py merge` (JSON, zlib, base64) --", "-- end of the report --"


def pack_report(text):
    """A JSON report as lines for the end of a text one: `merge` finds it there when pasted."""
    import base64
    import zlib
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
    return "\n".join([PACKED[0]] + re.findall(".{1,76}", packed) + [PACKED[1], ""])


def unpack_reports(text):
    """The JSON texts that `pack_report` has put into a text, quote marks before lines or not."""
    import base64
    import zlib
    room = REPORT_LIMIT
    for block in text.split(PACKED[0])[1:MAX_REPORT_TARGETS]:
        lines = [line.strip("> |\t\r") for line in block.partition(PACKED[1])[0].splitlines()]
        mine(room > 0, "its packed reports are too large")
        try:
            raw = zlib.decompressobj().decompress(base64.b64decode("".join(lines)), room)
        except (ValueError, zlib.error) as error:
            raise NotMine("its packed report is damaged: %s" % error)
        room -= len(raw)
        yield raw.decode("utf-8", "replace")


def json_documents(text):
    """The JSON objects in a text: all of it, or what stands between other lines, one or several.

    Ansible's `script` module gives its own object, with the report in `stdout`.
    """
    import json
    reader = json.JSONDecoder(                    # int() of a million digits takes a minute
        parse_int=lambda word: int(word) if len(word) < 19 else float(word))
    starts, at = [found.start() for found in re.finditer(r'\{(?=\s{0,20}")', text)], 0
    for turn, start in enumerate(starts):
        if start < at or turn > at / 50 + 400:    # inside the last one; many that are none
            continue
        try:
            document, at = reader.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        inner = document.get("stdout")
        if "targets" in document:
            yield document
        elif isinstance(inner, str) and inner != text:
            yield from json_documents(inner)


def parse_reports(text):
    """netdiag's reports in a file: JSON, or text that carries it -> [what merge needs of each
    target]; NotMine says why there are none."""
    parts = (part for texts in ([text], unpack_reports(text)) for part in texts)
    found = [row for part in parts for document in json_documents(part)
             for row in report_rows(document)]
    return mine(found, "no netdiag report in it" + (
        ": it is cut short" if re.match(r'\s*\{\s*"schema"', text) else ""))


@guarded
def report_rows(document):
    """One report -> a row for each of its targets: who saw what of which service, and when."""
    host, marked = document["host"], {}
    mine(document["mode"] != "merge", "it is merged already")
    began_s, rows = iso_epoch(document["started"]), []
    flows = [flow_row(flow) for flow in (document.get("flows") or [])[:MAX_REPORT_FLOWS]]
    for row in document["evidence"]:
        marked.setdefault(find(r"^(t\d{1,5}\.)e\d", row["id"]), []).append(row)
    marked.setdefault("t1.", marked.get(None, []))        # a lone target has no marks
    for number, target in enumerate(document["targets"][:MAX_REPORT_TARGETS], 1):
        result = target["verdict"]
        code = mine(re.match(r"[a-z]{2,20}(\.[a-z_]{2,30})?\Z", result["code"]), "no code").group()
        port = target.get("port")
        mine(not port or int(port) in range(65536), "no port")
        rows.append(dict(
            seen_of(marked.get("t%d." % number, []), port), flows=flows, path=path_rows(target),
            role=None, mode=word_of(document["mode"], 20), target=word_of(target["target"], 200),
            host=word_of(host.get("name") or "?", 60), port=int(port) if port else None,
            addresses=addresses_of(host.get("addresses")),
            goal=word_of(target.get("host") or "-", 200),
            protocol=word_of(target.get("protocol") or "tcp", 20),
            goals=addresses_of(target.get("addresses")), code=code,
            summary=word_of(result["summary"], 600), fix=[
                word_of(text, 600) for text in result["fix"][:3]],
            suspects=[place for place in PLACES if place in result["suspects"]],
            confidence=mine(result["confidence"] in SURE and result["confidence"]),
            began_s=began_s, ended_s=began_s + min(1e6, float(document.get("elapsed_s") or 0))))
        rows[-1]["suspects"].sort(key=result["suspects"].index)       # likeliest first
    return rows


def path_rows(target):
    """The hops in a foreign report, as `path_of` has them."""
    return [{"ttl": int(hop["ttl"]), "rtt_ms": None, "place": hop["place"], "mss": None,
             "address": word_of(hop["address"], 60) if hop["address"] else None}
            for hop in (target.get("path") or [])[:64] if hop["place"] in PLACES]


def word_of(text, limit):
    """A text of a foreign report, safe to print; NotMine for what is no text."""
    return printable(mine(isinstance(text, str) and text, "no text where one belongs"), limit)


def addresses_of(words):
    """The addresses in a list of a foreign report."""
    return unique(word for word in (words or [])[:200]
                  if isinstance(word, str) and is_address(word))


def flow_row(flow):
    """What merge needs of one flow of a capture."""
    row = {key: int(flow.get(key) or 0) for key in "client_port server_port syn synack isn".split()}
    return dict(row, client=word_of(flow["client"], 60), server=word_of(flow["server"], 60),
                handshake=bool(flow.get("handshake")), began_s=float(flow.get("began_s") or 0))


def seen_of(evidence, port):
    """What of a report's evidence matters beside another report.

    listens (None: nobody looked); captured; half_open {address: SYN/ACKs sent again}; peers and
    arrivals [address]; greeted: what `listen` said; facts {what: text}, for another run's.
    """
    seen = {"sources": [], "listens": None, "captured": False, "half_open": {}, "peers": [],
            "arrivals": None, "greeted": None, "facts": {}}
    for row in evidence[:5000]:
        read = SEEN_IN.get(row.get("probe"))
        if read and (row.get("outcome") == "ok" or read is see_tcp):
            try:
                guarded(read)(seen, row["value"], port)
            except NotMine:
                pass                              # another version's report: the rest still counts
    return seen


def see_sockets(seen, value, port):
    """A server's sockets: does it listen, and who waits for the end of a handshake?"""
    rows = [row for row in value.get("sockets") or value["listeners"] if row["port"] == port]
    seen["listens"] = bool(seen["listens"]) or any(
        row.get("state", "LISTEN") == "LISTEN" for row in rows)
    see_peers(seen, {"half_open": {row["remote"]: row["resent"] for row in rows
                                   if row.get("state") == "SYN_RECV"}}, port)


def see_peers(seen, value, port):
    """Who talks to a port, and whose handshake is half done: how often its SYN/ACK was resent."""
    value = value.get(str(port), value)
    for address, again in list(value["half_open"].items())[:200]:
        for name in addresses_of([address.replace("::ffff:", "")]):
            seen["half_open"][name] = max(seen["half_open"].get(name, 0), int(again or 0))
    seen["peers"] += addresses_of([a.replace("::ffff:", "") for a in value.get("peers", ())])


def see_arrivals(seen, value, port):
    """Who came to a stand-in."""
    seen.update(arrivals=addresses_of([row["from"] for row in value["arrivals"]]), listens=True)
    see_peers(seen, value, port)


def see_tcp(seen, value, port):
    """A connection of the client: its own address, and what a stand-in said of it."""
    seen["sources"] += addresses_of([value.get("local")])
    seen["facts"]["TCP"] = word_of(value["state"], 20)
    seen["greeted"] = read_greeting(value["greeting"])


def see_route(seen, value, port):
    """The way that a client's packets take out of it."""
    seen["sources"] += addresses_of([value.get("src")])
    seen["facts"]["route"] = "via %s, %s, from %s" % tuple(
        word_of(value.get(key) or "-", 60) for key in ("via", "dev", "src"))


def fact(name, read):
    """Keep one fact of an answer under a name, as text."""
    def keep(seen, value, port):
        seen["facts"][name] = word_of(str(read(value)), 200)
    return keep


SEEN_IN = {
    "sockets": see_sockets, "arrivals": see_arrivals, "tcp": see_tcp, "egress": see_route,
    "watch": see_peers, "capture": lambda seen, value, port: seen.update(captured=True),
    "lookup": fact("addresses of the name", lambda value: ", ".join(sorted(value))),
    "resolv_conf": fact("resolvers", lambda value: ", ".join(value["nameservers"])),
    "http": fact("HTTP status", lambda value: value["status"]),
    "tls": fact("certificate", lambda value: value["chain"][0]["sha256"][:16]),
    "identity": fact("system", lambda value: value["system"]),
    "proxy_env": fact("proxy", lambda value: sorted(
        key for key in value if value[key] and key not in ("no_proxy", "kubernetes")))}


# -- SSH (RFC 4253, 5656) -------------------------------------------------------------------------
# Far enough to see the host key, which the reply to our key exchange carries in clear.

SSH_IDENT = "SSH-2.0-netdiag_%s\r\n" % VERSION
SSH_COMMON = {    # what an OpenSSH 9 client accepts; the older rest is only to get an answer
    "kex": "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "ecdh-sha2-nistp521,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,"
    "mlkem768x25519-sha256,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,"
    "diffie-hellman-group18-sha512,diffie-hellman-group14-sha256",
    "host_key": "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
    "rsa-sha2-512,rsa-sha2-256",
    "cipher": "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,"
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "mac": "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com,"
    "hmac-sha2-512-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,"
    "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha1,hmac-sha1-etm@openssh.com"}
SSH_KEX = "curve25519-sha256,curve25519-sha256@libssh.org,diffie-hellman-group14-sha256," \
    "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1"


def ssh_packet(payload):
    """A packet before encryption: lengths, payload, at least four bytes of padding."""
    padding = 4 + (-len(payload) - 9) % 8
    return struct.pack("!IB", len(payload) + padding + 1, padding) + payload + b"\0" * padding


def ssh_packets(data):
    """The payloads of the whole packets in `data`, behind a server's identification."""
    offset = data.find(b"\n", max(data.find(b"SSH-"), 0)) + 1
    while 0 < offset <= len(data) - 5:
        length, padding = struct.unpack_from("!IB", data, offset)
        start, offset = offset + 5, offset + 4 + length
        if length > 35000 or offset > len(data):
            return
        yield data[start:offset - padding]


def build_kexinit(cookie, host_keys):
    """SSH_MSG_KEXINIT that any server can agree with, asking for host keys of these types first."""
    keys = SSH_COMMON["host_key"] + ",ssh-rsa,ssh-dss"
    keys = ",".join(unique(host_keys + keys.split(",")))
    ciphers, macs = SSH_COMMON["cipher"] + ",aes128-cbc,3des-cbc", SSH_COMMON["mac"] + ",hmac-md5"
    lists = (SSH_KEX, keys, ciphers, ciphers, macs, macs, "none", "none", "", "")
    strings = b"".join(counted(text.encode(), "!I") for text in lists)
    return ssh_packet(b"\x14" + cookie + strings + b"\0" * 5)


def build_kex_init(data, secret):
    """SSH_MSG_KEX_ECDH_INIT (or DH's) for the method that both sides' lists choose."""
    offered = read_kexinit(data).get("kex", ())
    method = next((name for name in SSH_KEX.split(",") if name in offered), "")
    return ssh_packet(b"\x1e" + counted(secret if "25519" in method else b"\1" + secret * 3, "!I"))


def read_kexinit(data):
    """The algorithms that a server offers: {"kex": [...], "host_key": [...], ...}; {} if none."""
    payload = next((said for said in ssh_packets(data) if said[:1] == b"\x14"), b"")
    lists = [text.decode("latin-1").split(",") for text in uncounted(payload[17:-5])]
    return dict(zip("kex host_key cipher cipher_back mac mac_back".split(), lists))


@guarded
def parse_ssh_exchange(raw):
    """What a server shows before any secret; `lacks`: kinds of algorithm without a common one."""
    import base64
    data, offers = raw["data"], read_kexinit(raw["data"])
    lacks = sorted(kind for kind in set(offers) & set(SSH_COMMON)
                   if not set(SSH_COMMON[kind].split(",")) & set(offers[kind]))
    banner = printable(data[max(data.find(b"SSH-"), 0):].partition(b"\n")[0].strip())
    value = talk_facts(raw, offers=offers, lacks=lacks, banner=banner, key=None, disconnect=None)
    for payload in ssh_packets(data):
        if payload[:1] == b"\x1f":
            key = next(uncounted(payload[1:]))
            digest = base64.b64encode(sha256(key).digest()).decode()
            value.update(key=base64.b64encode(key).decode(), sha256=digest.rstrip("="),
                         key_type=next(uncounted(key)).decode("latin-1"))
        elif payload[:1] == b"\1":
            value["disconnect"] = printable(next(uncounted(payload[5:])), 200)
    return value


@parser
def parse_known_hosts(text):
    """known_hosts of OpenSSH (sshd(8)) -> [{hosts, type, key, marker}], comments left out."""
    rows = re.findall(r"(?m)^(@\S+)?[ \t]*([^@#\s]\S*)[ \t]+(\S+)[ \t]+(\S+)", text)
    return [dict(hosts=hosts, type=kind, key=key, marker=marker or None)
            for marker, hosts, kind, key in rows]


def known_as(host, port):
    """The name under which known_hosts has a server: with its port where that is not 22."""
    return host if port == 22 else "[%s]:%s" % (host, port)


def knows_host(row, host, port):
    """Is a line of known_hosts about this host?  Names may be hashed (HMAC-SHA1) or patterns."""
    import base64
    import hmac
    name = known_as(host, port)
    if row["hosts"].startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in row["hosts"].split("|")[2:4])
        except ValueError:                        # a damaged line is about nobody
            return False
        return hmac.new(salt, name.encode(), "sha1").digest() == digest
    patterns = [re.escape(word).replace(r"\*", ".*").replace(r"\?", ".")
                for word in row["hosts"].lower().split(",")]
    return any(re.match(pattern + "$", name.lower()) for pattern in patterns)


SSH_ENDINGS = kinds(r"""
    hostkey_changed=host identification has changed|host key for .{1,200} has changed
    hostkey_unknown=host key verification failed|no .{1,40} host key is known
    no_matching_kex=no matching key exchange   no_matching_cipher=no matching cipher
    no_matching_hostkey=no matching host key   no_matching_mac=no matching mac
    too_many_auth_failures=too many authentication failures
    auth_denied=permission denied \(|no more authentication methods|no supported authent
    banner_timeout=timed out during banner
    not_ssh=bad remote protocol|invalid format|protocol (?:major|version) .{0,40}differ
    not_ssh=banner line 0:|ssh_exchange_identification: (?!read|conn|write)
    unknown_host=could not resolve|name or service not known|nodename nor servname
    timeout=(?:connection|operation) timed out   refused=connection refused
    no_route=no route to host   net_unreachable=network is unreachable
    closed_by_remote=connection closed by|closed by remote host   reset=connection reset
    ok=authenticated to |exit status 0|authentication succeeded""")


@parser
def parse_ssh(text):
    """ssh -v of OpenSSH; `outcome` is one of SSH_ENDINGS, `lacks`: kinds without a common one."""
    found = re.search(r"Connecting to (\S+) \[([^\]]+)\] port ([0-9]+)", text)
    mine(found or re.search(r"(?m)^(?:ssh|debug1|OpenSSH|kex_exchange|.{1,80}: Permission)", text))
    host, address, port = found.groups() if found else (None, None, None)
    outcome, methods = mine(find_kind(SSH_ENDINGS, text)), re.findall(
        r"(?:s that can continue: |Permission denied \()([\w,-]+)", text)
    key = re.search(r"Server host key: (\S+) (?:SHA256:)?(\S+)", text)
    kind = outcome.partition("no_matching_")[2]
    return {"outcome": outcome, "host": host, "ip": address, "port": to_int(port),
            "tcp_connected": "Connection established" in text,
            "server_banner": find(r"remote software version (.*)", text),
            "auth_methods": methods[-1].split(",") if methods else None,
            "lacks": [kind.replace("hostkey", "host_key")] if kind else [],
            "detail": find(r"Their offer: (.*)", text),
            "key_type": key and key.group(1), "sha256": key and key.group(2)}


# == 4 system: the only code that touches the machine =============================================
#
# Socket numbers that Python does not name, from linux/in.h, in6.h, tcp.h, errqueue.h.  Timeouts are
# never set with settimeout() where an error queue is read: Python would then retry EAGAIN.

# Options of IPv4 and of IPv6, as (level, number).
RECVERR = (0, 11), (41, 25)
SEND_TTL = (0, 2), (41, 16)
RECV_TTL = (0, 12), (41, 51)
RECEIVED_TTL = (0, 2), (41, 52)      # as which the kernel delivers it
MTU_DISCOVER = (0, 10), (41, 23)
MIN_TTL = (0, 21), (41, 73)
MARK = (0, 1), (41, 67)              # IP_TOS, IPV6_TCLASS
TCP_MAXSEG = (6, 2), (6, 2)
TCP_SAVE_SYN, TCP_SAVED_SYN = (6, 27), (6, 28)
BIND_DEVICE, TCP_INFO, MSG_ERRQUEUE = (1, 25), (6, 11), 0x2000
TCP_INFO_FIELDS = {
    "unacked": 24, "retrans": 36, "rtt_us": 68, "total_retrans": 100, "segs_out": 136}
TLS_ENDINGS = (                      # of exceptions: their type, errno and text
    ("stalled", "^timeout"),
    ("closed", "eof occurred|unexpected eof|zero return|ssleoferror|sslzeroreturnerror"),
    ("reset", "econnreset|epipe|econnaborted"), ("untrusted", "certificate[ _]verify[ _]failed"),
    ("not_tls", "wrong version number|unknown protocol|http request|record layer failure"
                "|packet length too long"))
HANDSHAKE = dict(dict.fromkeys("error reason verify_code version cipher store alpn ms".split()),
                 ended="no_connection", chain=[])
UNHEARD_COUNTERS = (("/proc/net/snmp", "Ip", "IpForwDatagrams"),
                    ("/proc/net/snmp6", "Ip6", "Ip6OutForwDatagrams"))
ECHO_ID = os.getpid() & 0xffff
NO_HOP = dict.fromkeys(("address", "ms", "type", "code"))
NO_SSL = "this Python has no ssl module"
TRUST_STORES = ("/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt"
                " /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem").split()     # Debian, Fedora, SUSE, BSD


def errno_name(number):
    """'ECONNREFUSED' for its number; None for None (socket.timeout before 3.10 has no errno)."""
    import errno
    return errno.errorcode.get(number, str(number)) if number is not None else None


def outcome_of(name):
    """The outcome word for an errno name of a connection or a datagram."""
    if name in ("ECONNREFUSED", "ECONNRESET"):
        return "refused"
    if name in ("EPERM", "EACCES", "EMFILE", "ENFILE", "EADDRNOTAVAIL"):
        return "denied"
    return "timeout" if name in (None, "ETIMEDOUT") else "unreachable"


def set_option(sock, option, value):
    """Set an option by its name for IPv4 or for IPv6, whichever the socket is."""
    sock.setsockopt(*option[sock.family == socket.AF_INET6], value)


def or_none(call, *args):
    """What a call returns; None where the system says no: there is less to see, nothing more."""
    try:
        return call(*args)
    except OSError:
        return None


def read_errors(sock):
    """Drain the error queue (read SO_ERROR before: it clears): what refused us and from where."""
    found = []
    while len(found) < 20:
        packet = or_none(sock.recvmsg, 2048, 512, MSG_ERRQUEUE)
        if not packet:
            break
        error = {"ttl": None}
        for level, kind, raw in packet[1]:
            if (level, kind) in RECVERR:
                number, origin, error["type"], error["code"], _, mtu = \
                    struct.unpack_from("=IBBBBI", raw)
                sender = raw[20:24] if level == 0 else raw[24:40]    # linux/errqueue.h: behind 16
                error.update({
                    "origin": "local" if origin == 1 else "icmp", "mtu": mtu or None,
                    "from": address_text(sender), "errno": errno_name(number),
                    "mss": quoted_mss(packet[0]) if sock.type == socket.SOCK_STREAM else None})
            elif (level, kind) in RECEIVED_TTL:
                error["ttl"] = struct.unpack_from("=i", raw)[0]
        if "origin" in error:
            found.append(error)
    return found


def tcp_info(sock):
    """What we read of struct tcp_info, as far as this kernel fills it; {} where there is none."""
    raw = or_none(sock.getsockopt, *TCP_INFO, 512) or b""
    return {name: struct.unpack_from("=I", raw, offset)[0]
            for name, offset in TCP_INFO_FIELDS.items() if len(raw) >= offset + 4}


def wait_for(sock, write, until):
    """Wait until the socket is readable (or writable) or an error is queued; False at `until`."""
    import select
    poller = select.poll()
    poller.register(sock, select.POLLOUT if write else select.POLLIN)
    return bool(poller.poll(max(0.0, until - time.monotonic()) * 1000))


def attempt_outcome(attempt):
    """The outcome word of an attempt; EACCES from the network (ICMPv6 1/1) is no local "no"."""
    if attempt["state"] != "error":
        return "ok" if attempt["state"] == "open" else "timeout"
    outcome = outcome_of(attempt["errno"])
    return "unreachable" if outcome == "denied" and not attempt["immediate"] else outcome


def watch_connect(attempt, until):
    """Wait for the end of a handshake; SO_ERROR is read before the queue is drained."""
    sock = attempt["sock"]
    while attempt["state"] == "trying" and wait_for(sock, True, until):   # asks once even if late
        name = errno_name(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or None)
        attempt["icmp"] += read_errors(sock)
        if name in ("ECONNRESET", "EPIPE"):            # a RST in SYN_SENT is ECONNREFUSED:
            attempt.update(state="open", reset=True)   # so this one came after the handshake
        elif name:
            attempt.update(state="error", errno=name)
        elif or_none(sock.getpeername):                # SO_ERROR is 0 before the handshake, too
            attempt["state"] = "open"
            or_none(set_option, sock, RECVERR, 0)      # it is talked on from now on: `converse`
        elif time.monotonic() >= until:
            break
        else:
            time.sleep(0.005)             # a kernel that reports neither: do not spin
        if attempt["state"] != "trying":
            attempt["ms"] = ms_since(attempt["started"], 2)
    return attempt


def converse(sock, say, seconds, enough):
    """Say something, then hear until `enough(data)`, the peer ends, or time is up; TLS or not.

    `ended` is "done", "closed", "reset", "silent" or "error"; None: it still spoke at the end.
    """
    data, first_ms, ended, failed, began = b"", None, None, None, time.monotonic()
    until = began + seconds
    try:
        sock.settimeout(seconds)              # the error queue is not read any more
        if say:
            sock.sendall(say)
        while not ended:
            left = until - time.monotonic()
            if enough(data) or len(data) >= BYTES_LIMIT:
                ended = "done"
            elif left <= 0:
                break
            else:
                sock.settimeout(left)
                more = sock.recv(8192)
                first_ms = ms_since(began) if more and not data else first_ms
                ended = None if more else "closed"
                data += more
    except OSError as error:
        sock.setblocking(False)
        data += or_none(sock.recv, 8192) or b""     # a peer that hangs up may have said why
        reset = errno_name(error.errno) in ("ECONNRESET", "EPIPE")
        ended = "silent" if isinstance(error, socket.timeout) else "reset" if reset else "error"
        failed = printable(str(error))
    return {"data": data, "ended": ended, "error": failed, "first_byte_ms": first_ms}


def abort(sock):
    """Close with a reset, so that a probe leaves no half-open connection behind."""
    if sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def load_ssl():
    """The ssl module, imported where it is needed; None in a Python that was built without it."""
    try:
        import ssl
        return ssl
    except ImportError:
        return None


def trust_store(context, cafile):
    """Which file it came from, and the owners of its first CAs (for 'who is missing?')."""
    paths = load_ssl().get_default_verify_paths()
    owners = {value for row in context.get_ca_certs()[:400] for part in row.get("subject", ())
              for key, value in part if key in ("organizationName", "commonName")}
    return {"file": cafile or paths.cafile or paths.capath or "this Python's empty trust store",
            "owners": sorted(owners)[:400]}


def peer_chain(tls):
    """The certificates the peer sent, as DER: all of them from 3.10 on, else the leaf."""
    try:
        every = getattr(tls._sslobj, "get_unverified_chain", tuple)() or ()
        return [certificate.public_bytes(2) for certificate in every] \
            or list(filter(None, [tls.getpeercert(True)]))
    except (OSError, ValueError, AttributeError):
        return []


def random_number():
    """16 bits for an id: a raw socket also sees the replies to other probes' echoes."""
    return int.from_bytes(os.urandom(2), "big")


def ms_since(began, digits=1):
    """Milliseconds since a moment of the monotonic clock."""
    return round((time.monotonic() - began) * 1000, digits)


def read_child(child, until):
    """What a child prints, up to OUTPUT_LIMIT bytes -> (bytes, True when time ran out)."""
    data = b""
    while len(data) < OUTPUT_LIMIT:
        ended, now = child.poll() is not None, time.monotonic()
        readable = wait_for(child.stdout, False, now if ended else min(until, now + 0.05))
        more = os.read(child.stdout.fileno(), 65536) if readable else b""
        data += more
        if not more and (ended or now >= until):    # a grandchild may hold the pipe for ever
            return data, not ended
        if readable and not more:
            time.sleep(0.002)                 # it has closed its output and still runs
    return data, False


def end_child(child):
    """Kill a command with all that it started, and reap it."""
    import signal
    or_none(os.killpg, child.pid, signal.SIGKILL)         # unless they have all ended
    child.wait()


def find_program(name):
    """The full path of a command; sbin counts even if PATH lacks it."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += "/usr/sbin /sbin /usr/local/sbin /usr/bin /bin".split()
    paths = [os.path.join(folder, name) for folder in folders if folder]
    return next((p for p in paths if os.path.isfile(p) and os.access(p, os.X_OK)), None)


class System:
    """The machine, as verbs: each returns (outcome, raw), never raises for what is expected."""

    def __init__(self, options):
        import threading
        self.options, self.transcript, self.attempts = options, [], {}
        self.packets = 0                  # sent to targets: to resolvers and neighbors go others
        self.children, self.closed, self.lock = set(), False, threading.Lock()
        self.contexts = {}                # of TLS, by whether they verify

    # -- here: clock, environment, files, commands

    def now(self):
        """Seconds since 1970, by this host's own clock."""
        return time.time()

    def rest(self, seconds):
        """Wait between two checks, without the connections of the last one."""
        while self.attempts:
            self.attempts.popitem()[1]["sock"].close()
        time.sleep(seconds)

    def monotonic(self):
        """A clock for durations."""
        return time.monotonic()

    def environment(self, *names, **_):
        """The wanted environment variables that are set."""
        return "ok", {name: os.environ[name] for name in names if os.environ.get(name)}

    def clock(self, timeout_s=None):
        """Seconds since 1970, in UTC and in the local zone."""
        now = time.time()
        utc = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now))
        return "ok", {"epoch": now, "utc": utc, "local": iso_time(now)}

    def identity(self, timeout_s=None):
        """Who runs this, on what: name, system, user, root, rights, Python."""
        uname, uid = os.uname(), os.getuid()
        try:
            import pwd
            user = pwd.getpwuid(uid).pw_name
        except (ImportError, KeyError):
            user = os.environ.get("USER") or str(uid)
        return "ok", {
            "name": printable(uname.nodename), "user": printable(user), "root": uid == 0,
            "system": printable(uname.sysname + " " + uname.release),
            "python": "%d.%d.%d" % sys.version_info[:3]}

    def read(self, path, absent=None, timeout_s=None):
        """A file's text, at most FILE_LIMIT bytes; `absent` where it does not exist."""
        try:
            with open(os.path.expanduser(path), "rb") as stream:
                return "ok", stream.read(FILE_LIMIT).decode("utf-8", "replace")
        except FileNotFoundError:
            return ("unknown", "%s is absent" % path) if absent is None else ("ok", absent)
        except OSError as error:
            return ("denied" if isinstance(error, PermissionError) else "unknown",
                    "%s: %s" % (path, errno_name(error.errno)))

    def marks(self, paths, timeout_s=None):
        """Short texts of marker files: {path: first line}, those that exist."""
        return "ok", {path: printable(self.read(path)[1].strip()[:200])
                      for path in paths if os.path.exists(path)}

    def run(self, argv, timeout_s=COMMAND_S):
        """A command: no shell, C locale, no standard input, killed and reaped when time is up."""
        import subprocess
        path = find_program(argv[0])
        if self.options.no_tools:
            return "unknown", "%s: commands are switched off (--no-tools)" % argv[0]
        if not path:
            return "unknown", "%s: not installed" % argv[0]
        began = time.monotonic()
        with self.lock:                   # close() must know of every child, also of the newest
            mine(not self.closed, "the run has ended")
            try:
                child = subprocess.Popen(
                    [path] + list(argv[1:]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, start_new_session=True,
                    env=dict(os.environ, LC_ALL="C", LANG="C"))
            except OSError as error:
                return "denied", "%s: %s" % (argv[0], errno_name(error.errno))
            self.children.add(child)
        raw, late = read_child(child, began + timeout_s)
        end_child(child)
        child.stdout.close()              # only here: close() runs beside `read_child`
        self.children.discard(child)
        text = raw.decode("utf-8", "replace")[:OUTPUT_LIMIT]
        self.transcript.append({"argv": list(argv), "status": child.returncode, "output": text,
                                "ms": ms_since(began)})
        return ("timeout" if late else "ok"), text

    def netlink(self, requests, timeout_s=2.0):
        """Ask the kernel by rtnetlink, [(type, body, dump)] -> {"messages": [(kind, payload)],
        "names": {interface index: name}}, or its errno."""
        if not hasattr(socket, "AF_NETLINK"):
            return "unknown", "no netlink on this system"
        found = []
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
                sock.settimeout(timeout_s)
                for kind, body, dump in requests:
                    sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301 if dump else 1,
                                          1, 0) + body)
                    failed = read_netlink(sock, dump, found)
                    if failed:
                        return "unreachable", dict(route_answer({}), error=errno_name(failed))
            return "ok", {"messages": found, "names": dict(socket.if_nameindex())}
        except OSError as error:
            return "unknown", "netlink: %s" % errno_name(error.errno)

    def poke(self, addresses, dev, wait_s, timeout_s=None):
        """Send one empty datagram to on-link addresses, so that the kernel asks for their MAC.

        -> {address: neighbor state}.  A state is settled when it is REACHABLE or FAILED; an
        address that answered our datagram by ICMP is ANSWERED, and one that was REACHABLE before
        and said nothing is CACHED: the kernel believes in it for up to 45 s without asking.
        """
        before = self.neighbor_states()
        if before is None:
            return "unknown", "netlink does not answer"
        if [before.get(a) for a in addresses] == ["FAILED"]:
            return "ok", {addresses[0]: "FAILED"}       # our own packets have just asked in vain
        sockets, began = {a: self.poke_one(a, dev) for a in addresses}, time.monotonic()
        found, waited, unsettled = {}, 0, (None, "INCOMPLETE", "STALE", "DELAY", "PROBE")
        while waited < wait_s and any(found.get(a) in unsettled for a in addresses):
            time.sleep(0.05)
            waited, states = time.monotonic() - began, self.neighbor_states() or {}
            for address, sock in sockets.items():
                state = states.get(address)
                if state == "REACHABLE" == before.get(address):
                    state = "DELAY" if waited < SEGMENT_WAIT_S else sock and "CACHED"
                told = sock and any(error["from"] == address for error in read_errors(sock))
                if told or found.get(address) != "ANSWERED":
                    found[address] = "ANSWERED" if told else state
        for sock in filter(None, sockets.values()):
            sock.close()
        return "ok", {address: state for address, state in found.items() if state}

    def poke_one(self, address, dev):
        """A socket that has sent an empty datagram to an on-link address; None: it could not."""
        sock = or_none(self.new_socket, address, socket.SOCK_DGRAM)
        scope = (0, or_none(socket.if_nametoindex, dev) or 0) if dev and ":" in address else ()
        if sock:
            or_none(sock.connect, (address, 9) + scope)
            if or_none(sock.send, b"") is None:         # why is in the kernel's table
                sock.close()
                return None
        return sock

    def neighbor_states(self):
        """{address: state} of the kernel's neighbor table; None where netlink does not answer."""
        outcome, raw = self.netlink([(RTM_GETNEIGH, b"\0" * 12, True)])
        if outcome != "ok":
            return None
        rows = parse_netlink_neighbors(raw["messages"])["entries"]
        return {row["ip"]: row["state"] for row in rows}

    def has_interface(self, name):
        """Is there a network interface of this name?"""
        return bool(or_none(socket.if_nametoindex, name))

    def is_own(self, address):
        """Can a socket be bound to this address?"""
        try:
            with socket.socket(FAMILY[is_address(address)], socket.SOCK_DGRAM) as sock:
                sock.bind((address, 0))
        except OSError as error:
            return errno_name(error.errno) != "EADDRNOTAVAIL"
        return True

    def trust_stores(self, timeout_s=None):
        """The CA files of this host beside the one in use: the system's, certifi's, OpenSSL's."""
        ssl = load_ssl() if self.has_ssl() else None
        default = ssl and ssl.get_default_verify_paths().cafile
        used = self.options.cafile or default
        known = [os.environ.get("SSL_CERT_FILE"), default] + TRUST_STORES + [
            folder + "/certifi/cacert.pem" for folder in sys.path if folder]
        return "ok", {"used": used, "others": unique(
            path for path in known if path and path != used and os.path.isfile(path))}

    def reports(self, path, timeout_s=None):
        """The text of a file with reports (`-`: standard input), as long as REPORT_LIMIT."""
        try:
            with (sys.stdin.buffer if path == "-" else open(path, "rb")) as stream:
                raw = stream.read(REPORT_LIMIT + 1)
        except OSError as error:
            return "unknown", errno_name(error.errno)
        if len(raw) > REPORT_LIMIT:
            return "unknown", "larger than %d MB" % (REPORT_LIMIT >> 20)
        return "ok", raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8",
                                "replace")

    def report_files(self, folder):
        """The files below a folder, in their order; none that cannot be read to an end."""
        found = []
        for place, folders, names in os.walk(folder):
            folders.sort()
            found += [os.path.join(place, name) for name in sorted(names)
                      if os.path.isfile(os.path.join(place, name))]
            if len(found) >= MAX_REPORT_FILES:
                break
        return found[:MAX_REPORT_FILES]

    def check_cafile(self, path):
        """Why a CA file cannot be used, or None."""
        outcome, text = self.read(path)
        if outcome != "ok":
            return text
        import base64                     # and not ssl: 5 MB that other targets do not need
        for block in re.findall(r"-BEGIN (?:TRUSTED |X509 )?CERTIFICATE-+([^-]+)-+END ", text):
            try:
                parse_certificate(base64.b64decode(block))
                return None
            except (NotMine, ValueError):
                pass
        return "no certificates in it"

    def target_lines(self, path):
        """Targets from a file or from standard input: one a line, # begins a comment."""
        outcome, text = self.read(path) if path != "-" else (
            "ok", sys.stdin.buffer.read(FILE_LIMIT).decode("utf-8", "replace"))
        if outcome != "ok":
            raise Usage("--targets: %s" % text)
        return list(filter(None, (line.partition("#")[0].strip() for line in text.splitlines())))

    def save(self, path, text):
        """Write a report that only its owner may read; what stood in the way, or None."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                if os.path.isfile(path):              # never the mode of /dev/null
                    os.chmod(path, 0o600)
                stream.write(text)
        except OSError as error:
            return "%s: %s" % (printable(path, 100), errno_name(error.errno))
        return None

    def hush(self):
        """Standard output takes no more: say nothing of it, not even at interpreter exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def wants_color(self, stream):
        """Colour only on a terminal that has it and when nobody said no (no-color.org)."""
        return bool(stream and stream.isatty() and not os.environ.get("NO_COLOR")
                    and os.environ.get("TERM") not in (None, "dumb"))

    def own_digest(self):
        """SHA-256 of this very file; None when it came through a pipe."""
        try:
            with open(__file__, "rb") as stream:
                return sha256(stream.read()).hexdigest()
        except (NameError, OSError):
            return None

    def close(self):
        """End what still runs: children are killed and reaped, sockets closed."""
        with self.lock:
            self.closed = True
        for child in list(self.children):
            end_child(child)
        for attempt in list(self.attempts.values()):
            attempt["sock"].close()

    # -- names

    def resolve(self, name, family, timeout_s=LOOKUP_S):
        """The system's own answer (hosts file, nsswitch, stub and all): getaddrinfo, timed."""
        import threading
        found = []

        def look_up():
            try:
                rows = socket.getaddrinfo(dns_bytes(name), None, FAMILY.get(family, 0),
                                          socket.SOCK_STREAM)
                found.append(("ok", unique(row[4][0] for row in rows)))
            except (OSError, UnicodeError) as error:
                names = {getattr(socket, key): key for key in dir(socket) if key[:4] == "EAI_"}
                found.append(("refused", {
                    "error": names.get(getattr(error, "errno", None), type(error).__name__),
                    "text": printable(getattr(error, "strerror", None) or error)}))
        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(timeout_s)
        return found[0] if found else (
            "timeout", {"error": "ETIMEDOUT", "text": "no answer in %.1f s" % timeout_s})

    def query(self, server, name, qtype, timeout_s=DNS_WAIT_S):
        """One question to one resolver over UDP; over TCP (RFC 7766) if the answer was cut."""
        packet = build_dns_query(name, qtype, random_number())
        outcome, raw = self.udp(server, 53, packet, timeout_s, DNS_SENDS, lambda reply: (
            reply[:2] == packet[:2] and reply[2:3] >= b"\x80"))       # QR: a response
        raw["over"] = "udp"
        if outcome == "ok" and raw["reply"][2] & 2:
            _, facts = self.say_once(server, 53, counted(packet), timeout_s, lambda data: (
                len(data) >= 2 + int.from_bytes(data[:2], "big") > 2))
            if facts["data"][2:]:
                raw.update(reply=facts["data"][2:], over="tcp")
        elif outcome == "timeout" and raw["strays"]:
            return "ok", dict(raw, reply=b"")        # somebody answers, but not this question
        return outcome, raw

    # -- packets: datagrams, echo, traces

    def new_socket(self, address, kind, proto=0):
        """A non-blocking socket that keeps the ICMP errors it meets, bound as the options say."""
        version, options = is_address(address), self.options
        sock = socket.socket(FAMILY[version], kind, proto)
        try:
            sock.setblocking(False)
            or_none(set_option, sock, RECVERR, 1)           # not Linux: errno only
            or_none(set_option, sock, RECV_TTL, 1)
            if options.interface:
                sock.setsockopt(*BIND_DEVICE, options.interface.encode() + b"\0")
            if options.source and is_address(options.source) == version:
                sock.bind((options.source, 0))
        except OSError:
            sock.close()
            raise
        return sock

    def udp(self, address, port, payload, wait_s, sends, accept=bool, option=None, sock=None):
        """A datagram (or an echo, by its `sock`), sent `sends` times until there is an answer."""
        facts = {"reply": None, "icmp": [], "error": None, "sent": 0, "strays": 0, "ms": None}
        began = time.monotonic()
        try:
            sock = sock or self.new_socket(address, socket.SOCK_DGRAM)
            if option:
                set_option(sock, *option)
            sock.connect((address, port))
            for turn in range(1, sends + 1):
                sock.send(payload)
                facts["sent"] = turn
                while wait_for(sock, False, began + wait_s * turn / sends):
                    facts.update(icmp=read_errors(sock), ms=ms_since(began, 2))
                    if facts["icmp"]:
                        facts["error"] = facts["icmp"][-1]["errno"]
                        return outcome_of(facts["error"]), facts
                    reply = sock.recv(65535)
                    if accept(reply):
                        return "ok", dict(facts, reply=reply)
                    facts["strays"] += 1
            return "timeout", dict(facts, ms=None)
        except OSError as error:
            facts.update(error=errno_name(error.errno), icmp=read_errors(sock) if sock else [])
            return outcome_of(facts["error"]), facts
        finally:
            if sock:
                sock.close()

    def echo(self, address, timeout_s=PING_WAIT_S):
        """ICMP echo without the ping command."""
        outcome, raw = self.ask_echo(address, timeout_s, 1)
        if not raw:
            return "denied", "ICMP sockets are not permitted"
        self.packets += raw["sent"]
        came = outcome == "ok"
        return "ok", {"sent": raw["sent"], "received": int(came), "reached": came,
                      "rtt_avg_ms": raw["ms"] if came else None, "errors": raw["icmp"]}

    def ask_echo(self, address, wait_s, sends, size=24, option=None):
        """An echo with `size` bytes of data -> as `udp`; (None, None): nobody may send one."""
        sock, header = or_none(self.echo_socket, address) or (None, 0)
        if not sock:
            return None, None
        version, number = is_address(address), random_number()
        return self.udp(
            address, 0, build_echo(version, ECHO_ID, number, size), wait_s, sends,
            lambda reply: is_echo_reply(reply, version, header, number), option, sock)

    def echo_socket(self, address):
        """(socket, bytes of IP header to skip): SOCK_DGRAM first, then SOCK_RAW."""
        proto, header = (58, 0) if ":" in address else (1, 20)
        sock = or_none(self.new_socket, address, socket.SOCK_DGRAM, proto)
        return (sock, 0) if sock else (self.new_socket(address, socket.SOCK_RAW, proto), header)

    def datagram(self, address, port, payload, timeout_s=UDP_WAIT_S):
        """One UDP question, sent twice: a reply, an ICMP error, or silence."""
        outcome, facts = self.udp(address, port, payload, timeout_s, 2)
        self.packets += facts["sent"]
        return outcome, facts

    def trace(self, address, port, mode, timeout_s=None):
        """Send probes with rising TTL (all unprivileged) -> {"mode", "port", "hops", "end"}.

        The kind of a hop is `hop` (time exceeded), `reply`, `open`, `refused`, `icmp` (another
        ICMP error) or `error`; the end is the lowest TTL of any kind but `hop` and `error`.
        """
        probes, hops = [], {}
        try:
            for last in range(TRACE_WAVE, TRACE_MAX_TTL + 1, TRACE_WAVE):
                for ttl in range(last - TRACE_WAVE + 1, last + 1):
                    probes.append(self.trace_probe(address, port, mode, ttl))
                heard = [ttl for ttl, hop in hops.items() if hop["kind"] != "error"]
                done = last - max(heard, default=0) >= TRACE_QUIET_HOPS \
                    or last + TRACE_WAVE > TRACE_MAX_TTL
                pause_s = TRACE_WAIT_S if done else TRACE_WAVE_S
                end = collect_trace(probes, hops, time.monotonic() + pause_s)
                if done or end:
                    break
        except OSError as error:
            return "denied", "%s trace: %s" % (mode, errno_name(error.errno))
        finally:
            for probe in probes:
                abort(probe["sock"])
        rows = [hops[ttl] for ttl in sorted(hops) if not end or ttl <= end["ttl"]]
        return "ok", {"mode": mode, "port": port, "hops": rows, "end": end}

    def trace_probe(self, address, port, mode, ttl):
        """One probe of a trace on its way, an attempt with more facts; OSError: no such socket."""
        probe = {"ttl": ttl, "mode": mode, "address": address, "number": random_number()}
        sock, payload = None, b""
        if mode == "icmp":
            sock, probe["header"] = self.echo_socket(address)
            payload = build_echo(is_address(address), ECHO_ID, probe["number"])
        elif mode == "udp":
            sock, payload = self.new_socket(address, socket.SOCK_DGRAM), b"netdiag"
            port += ttl
        return dict(self.start_connect(address, port, (SEND_TTL, ttl), sock, payload), **probe)

    # -- TCP and above

    def start_connect(self, address, port, option=None, sock=None, payload=b""):
        """Send a SYN, or a payload by `sock` -> an attempt; its `sock` is None: none to be had."""
        attempt = {"sock": sock, "started": time.monotonic(), "state": "trying", "errno": None,
                   "immediate": False, "icmp": [], "ms": None}
        try:
            sock = attempt["sock"] = sock or self.new_socket(address, socket.SOCK_STREAM)
            if option:
                set_option(sock, *option)
            code = sock.connect_ex((address, port))
            if payload and not code:
                sock.send(payload)
        except (OSError, OverflowError, ValueError) as error:      # no such option, port or zone
            code = getattr(error, "errno", None) or 22             # EINVAL
        if code and errno_name(code) != "EINPROGRESS":
            attempt.update(state="error", errno=errno_name(code), immediate=True, ms=0.0)
        else:                                                      # or nothing has left
            self.packets += 1
        return attempt

    def knock(self, address, port, timeout_s=FIRST_LOOK_S):
        """Send the SYN and look for FIRST_LOOK_S; the connection is kept for `settle`."""
        attempt = self.start_connect(address, port)
        if attempt["sock"]:
            self.attempts[address, port] = attempt
        watch_connect(attempt, attempt["started"] + FIRST_LOOK_S)
        return attempt_outcome(attempt), {
            key: attempt[key] for key in ("state", "errno", "immediate", "ms")}

    def settle(self, address, port, listen_s, timeout_s=None):
        """What became of a knock: the end of the handshake, then what the peer does unasked."""
        attempt = self.attempts.get((address, port))
        if attempt is None:
            return "unknown", "no connection was begun"
        watch_connect(attempt, attempt["started"] + (self.options.timeout_s or PATIENCE_S))
        sock, info = attempt["sock"], self.count(attempt["sock"])
        facts = dict(dict.fromkeys(("after", "greeting", "speaks", "refuses", "local")), info=info,
                     waited_s=round(time.monotonic() - attempt["started"], 2))
        facts.update({key: attempt[key] for key in ("state", "errno", "immediate", "icmp", "ms")})
        if attempt["state"] == "open":
            facts["local"] = (or_none(sock.getsockname) or [None])[0]
            seconds = listen_s + 2e-6 * (info.get("rtt_us") or 0)
            heard = converse(sock, b"", seconds, greeting_is_whole)
            after = "open" if heard["ended"] in (None, "silent") else heard["ended"]
            facts["after"] = "reset" if attempt.get("reset") else after
            if heard["data"]:
                facts.update(read_first_words(heard["data"]), after="data", ended=heard["ended"])
        elif attempt["state"] == "trying":
            facts["state"] = "silent"
        sock.close()
        return attempt_outcome(attempt), facts

    def count(self, sock):
        """The tcp_info of a connection, whose packets after the SYN are counted."""
        info = tcp_info(sock) if sock else {}
        self.packets += info.get("segs_out", 1) - 1
        return info

    def open_tcp(self, address, port, seconds, option=None):
        """A connection for a conversation -> (outcome, socket or None, errno name or None)."""
        attempt = self.start_connect(address, port, option)
        sock = watch_connect(attempt, attempt["started"] + seconds)["sock"]
        if attempt["state"] == "open":
            return "ok", sock, None
        abort(sock)
        failed = attempt["errno"] or "ETIMEDOUT"
        return outcome_of(failed), None, failed

    def say_once(self, address, port, say, seconds, enough, option=None):
        """Connect, say one thing, hear the answer, close -> (outcome, facts of `converse`)."""
        outcome, sock, _ = self.open_tcp(address, port, seconds, option)
        if not sock:
            return outcome, {"data": b"", "ended": "no_connection"}
        with sock:
            return outcome, converse(sock, say, seconds, enough)

    def has_ssl(self):
        """Can this Python speak TLS?  One thread at a time: an import that fails is not atomic."""
        with self.lock:
            return bool(load_ssl())

    def tls_context(self, *kind):
        """A client context; verification of the name is done by rule, not by OpenSSL's wording."""
        verify, alpn, cafile = kind
        with self.lock:                   # made once: each one loads 140 CAs
            if kind not in self.contexts:
                ssl = load_ssl()
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                if not verify:
                    context.verify_mode = ssl.CERT_NONE
                elif cafile:
                    context.load_verify_locations(cafile=cafile)
                else:
                    context.load_default_certs()
                if alpn:
                    context.set_alpn_protocols(alpn)
                self.contexts[kind] = context
            return self.contexts[kind]

    def handshake(self, sock, server_name, steps, seconds, verify, alpn=(), cafile=None):
        """TLS behind the `steps` of STARTTLS -> (the socket now, raw for `parse_handshake`)."""
        facts, other = dict(HANDSHAKE, ended="done"), say_in_turn(sock, steps, seconds)
        cafile = cafile or self.options.cafile
        if other is not None:
            return sock, dict(facts, ended="not_offered", error=printable(other[:200]))
        began = time.monotonic()
        try:
            context = self.tls_context(verify, alpn, cafile)
            sock.settimeout(seconds)
            sock = context.wrap_socket(   # bytes, or ssl would load its tables of Unicode for it
                sock, server_hostname=(server_name or "").encode("ascii", "replace") or None,
                do_handshake_on_connect=False)
            sock.do_handshake()
            facts.update(version=sock.version(), cipher=(sock.cipher() or [None])[0],
                         chain=peer_chain(sock), alpn=sock.selected_alpn_protocol())
        except (OSError, ValueError) as error:
            words = (type(error).__name__, errno_name(getattr(error, "errno", None)), error)
            facts.update(ended=find_kind(TLS_ENDINGS, "%s %s %s" % words) or "alert",
                         error=printable(str(error)),
                         reason=getattr(error, "reason", None) and printable(error.reason),
                         verify_code=getattr(error, "verify_code", None))
        if facts["ended"] == "untrusted":
            facts["store"] = trust_store(context, cafile)
        return sock, dict(facts, ms=ms_since(began))

    def tls(self, address, port, server_name, verify=True, steps=(), alpn=(), cafile=None,
            timeout_s=TLS_WAIT_S):
        """A handshake by the ssl module; facts as `handshake`, and the connection's tcp_info."""
        if not self.has_ssl():
            return "unknown", NO_SSL
        outcome, sock, failed = self.open_tcp(address, port, timeout_s)
        if not sock:
            return outcome, dict(HANDSHAKE, error=failed)
        sock, facts = self.handshake(sock, server_name, steps, timeout_s, verify, alpn, cafile)
        with sock:
            return "ok", dict(facts, info=self.count(sock))

    def hello(self, address, port, server_name, clamp=None, version=0x303, padding=0,
              timeout_s=TLS_WAIT_S):
        """A clear ClientHello by hand: what the server really sends back, before any secret."""
        request = build_client_hello(server_name, os.urandom(32), version, padding)
        return self.say_once(address, port, request, timeout_s, flight_is_over,
                             clamp and (TCP_MAXSEG, clamp))

    def http(self, address, port, secure, server_name, request, clamp=None, whole=False,
             verify=False, steps=(), timeout_s=HTTP_WAIT_S):
        """One request on a connection of its own; raw for `parse_http_exchange`."""
        if secure and not self.has_ssl():
            return "unknown", NO_SSL
        option = clamp and (TCP_MAXSEG, clamp)
        outcome, sock, failed = self.open_tcp(address, port, PATIENCE_S, option)
        facts = {"stage": "connect", "error": failed, "tls_ms": None, "first_byte_ms": None,
                 "ended": None, "data": b"", "info": {}}
        if not sock:
            return outcome, facts
        if secure:
            alpn = ("http/1.1",) if b" HTTP/1.1\r\n" in request else ()
            sock, made = self.handshake(sock, server_name, steps, TLS_WAIT_S, verify, alpn)
            if made["ended"] == "untrusted" and not made["verify_code"]:      # 3.6 keeps it back
                made["chain"] = self.tls(address, port, server_name, False)[1]["chain"]
            facts.update({key: made[key] for key in ("error", "verify_code", "ended", "alpn")},
                         stage="tls", tls_ms=made["ms"], chain=made["chain"])
        with sock:
            if steps and not secure:              # all that there is to say to a SOCKS proxy
                facts.update(stage="http", said=say_in_turn(sock, steps, timeout_s))
            elif facts["ended"] in (None, "done"):
                late = time.monotonic() + DRIP_S
                heard = converse(sock, request, timeout_s, lambda data: data and not whole and (
                    b"\r\n\r\n" in final_answer(data) or not b"HTTP/".startswith(data[:5])
                    or b"\n" in final_answer(data) and time.monotonic() > late))
                facts.update(heard, stage="http", info=self.count(sock))
                if facts["ended"] == "done" and not whole:
                    facts["ended"] = None         # a head may be all that is wanted
        return outcome, facts

    def fetch(self, url, timeout_s=HTTP_WAIT_S):
        """Follow one redirect, by HEAD; raw for `parse_http_exchange`."""
        parts = read_url(url)
        host, secure = parts["host"], parts["scheme"] == "https"
        port = int(parts["port"] or (443 if secure else 80))
        request = build_http_request("HEAD", parts["path"] or "/", host, port, secure)
        return self.http_by_name(host, self.options.family, port, secure, request, timeout_s)

    def http_by_name(self, host, family, port, secure, request, timeout_s, steps=()):
        """Look the host up, then ask its first address; `stage` says how far that got."""
        outcome, found = self.resolve(host, family, 3.0)
        if outcome != "ok":
            return outcome, {"stage": "lookup", "error": found["error"], "data": b"", "ended": None}
        return self.http(found[0], port, secure, sni_for(host), request, verify=True, steps=steps,
                         timeout_s=timeout_s)

    def aside(self):
        """The same machine for a talk with a proxy, whose packets are not the target's."""
        twin = System(self.options)
        twin.contexts = self.contexts
        return twin

    def proxy_login(self, variable):
        """User and password in a proxy's URL, as bytes: they never leave this room."""
        url = self.options.proxy if variable == "--proxy" else os.environ.get(variable) or ""
        return re.sub(b"%([0-9a-fA-F]{2})", lambda m: bytes.fromhex(m.group(1).decode()),
                      (find(r"//([^/]*)@", full_url(url)) or "").encode())

    def tunnel(self, proxy_host, proxy_port, variable, host, port, timeout_s=PROXY_WAIT_S):
        """Ask a proxy for a tunnel (CONNECT, RFC 9110 9.3.6); raw for `parse_http_exchange`."""
        import base64
        login = self.proxy_login(variable)
        name = endpoint(host, port)
        request = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n" % (name, name)
        if login:
            request += "Proxy-Authorization: Basic %s\r\n" % base64.b64encode(login).decode()
        return self.aside().http_by_name(proxy_host, 0, proxy_port, False,
                                         (request + "\r\n").encode("ascii", "replace"), timeout_s)

    def socks(self, proxy_host, proxy_port, variable, host, port, timeout_s=PROXY_WAIT_S):
        """The same asked of a SOCKS 5 proxy; raw for `parse_socks`: what it said instead of yes."""
        steps = build_socks(host, port, self.proxy_login(variable))
        return self.aside().http_by_name(
            proxy_host, 0, proxy_port, False, b"", timeout_s, steps)

    def ssh_keys(self, address, port, host_keys, mark, timeout_s=GREETING_S):
        """A key exchange with sshd, marked as ssh marks its packets; for `parse_ssh_exchange`."""
        outcome, sock, _ = self.open_tcp(address, port, PATIENCE_S, mark and (MARK, mark))
        if not sock:
            return outcome, {"data": b"", "ended": "no_connection"}
        with sock:
            hello = SSH_IDENT.encode() + build_kexinit(os.urandom(16), host_keys)
            facts = converse(sock, hello, timeout_s, read_kexinit)
            data = facts["data"]
            if facts["ended"] == "done":
                answer = build_kex_init(data, os.urandom(32))
                facts = converse(sock, answer, timeout_s, lambda more: any(
                    said[:1] in (b"\x1f", b"\1") for said in ssh_packets(data + more)))
                data += facts["data"]
            self.count(sock)
        return "ok", {"data": data, "ended": facts["ended"]}

    def cut_ttl(self, address, port, server_name, far, timeout_s=None):
        """The lowest TTL at which a ClientHello is answered by a reset: who cuts, by its distance.

        Each of `far` connections is opened in full, then says hello with a TTL that ends earlier
        (the server never sees it).  A "ttl" of None: only the server itself cuts.
        """
        hello = build_client_hello(server_name, os.urandom(32))
        for ttl in range(1, min(far, TRACE_MAX_TTL)):
            _, sock, failed = self.open_tcp(address, port, RETRY_WAIT_S)
            if not sock:
                return "unknown", "connect: %s" % failed
            set_option(sock, SEND_TTL, ttl)
            ended = converse(sock, hello, CUT_WAIT_S, flight_is_over)["ended"]
            self.packets += 2
            set_option(sock, SEND_TTL, 64)                  # the farewell has to arrive
            abort(sock)
            if ended in ("reset", "closed"):
                return "ok", {"ttl": ttl, "far": far}
        return "ok", {"ttl": None, "far": far}

    def volley(self, address, port, wait_s, options):
        """Connections at once, each with its option set, watched for so long, then cut off."""
        began = time.monotonic()
        attempts = [self.start_connect(address, port, option) for option in options]
        for attempt in attempts:
            watch_connect(attempt, began + wait_s)
            attempt["resent"] = self.count(attempt["sock"]).get("total_retrans") or 0
            abort(attempt["sock"])
        return attempts

    def connect_again(self, address, port, count, mark=None, timeout_s=None):
        """`count` connections at once, from as many source ports, watched for two resends."""
        attempts = self.volley(address, port, RETRY_WAIT_S, [mark and (MARK, mark)] * count)
        if not all(attempt["sock"] for attempt in attempts):
            return "denied", "connect: %s" % attempts[-1]["errno"]
        states = [attempt["state"] for attempt in attempts]
        resent = [a for a in attempts if a["state"] == "open" and a["resent"]]
        return "ok", {"tried": count, "open": states.count("open"),
                      "silent": states.count("trying"), "resent": len(resent)}

    def unheard(self, address, port, timeout_s=None):
        """Packets received, not delivered: in a window without SYNs of ours, then in one with."""
        path, word, forwarded = UNHEARD_COUNTERS[is_address(address) == 6]
        lost = []
        for pause_s, syns in ((0, 0), (UNHEARD_S, 0), (0, UNHEARD_SYNS)):
            time.sleep(pause_s)
            self.volley(address, port, UNHEARD_S, [None] * syns)
            outcome, text = self.read(path)
            if outcome != "ok":
                return "unknown", text
            counts = parse_proc_counters(text)
            lost.append(counts[word + "InReceives"] - counts[word + "InDelivers"]
                        - counts.get(forwarded, 0))
        return "ok", {"idle": lost[1] - lost[0], "lost": lost[2] - lost[1], "sent": UNHEARD_SYNS}

    def reset_ttl(self, address, port, host_ttl, far, timeout_s=None):
        """The TTL with which this port's reset arrives, by IP_MINTTL (no privilege is needed):
        connections whose minimum is above it hang, the others are refused."""
        asked = range(host_ttl, min(255, host_ttl + min(far, 12)) + 1)
        attempts = self.volley(address, port, SIZE_WAIT_S, [(MIN_TTL, ttl) for ttl in asked])
        for attempt in attempts:
            if attempt["immediate"] and attempt["errno"] != "ECONNREFUSED":
                return "unknown", "IP_MINTTL: %s" % attempt["errno"]
        answered = [ttl for ttl, a in zip(asked, attempts) if a["errno"] == "ECONNREFUSED"]
        return "ok", {"ttl": max(answered, default=None), "host_ttl": host_ttl, "far": far}

    def fits(self, address, size, wait_s, timeout_s=None):
        """Does an unfragmentable packet of `size` bytes get an answer?  By echo, or by UDP."""
        room, whole, by = size - (48 if ":" in address else 28), (MTU_DISCOVER, 3), "echo"
        outcome, raw = self.ask_echo(address, wait_s, 2, room, whole)
        if not raw:                               # a closed UDP port answers as well
            outcome, raw = self.udp(address, 33999, bytes(room), wait_s, 2, bool, whole)
            by = "udp"
        self.packets += raw["sent"]
        last, big = (raw["icmp"] or [{}])[-1], raw["error"] == "EMSGSIZE"
        if raw["error"] and not raw["sent"] and not big:
            return "denied", "size probe: %s" % raw["error"]
        return "ok", {"size": size, "mtu": last.get("mtu") if big else None,
                      "from": last.get("from"), "by": by,
                      "answered": outcome == "ok" or not big and last.get("from") == address}

    # -- the stand-in of `listen`, and what its client says

    def exchange(self, address, port, clamp, timeout_s=PATTERN_WAIT_S):
        """A pattern of several packets to `listen` and back -> who got how much of it."""
        outcome, sock, _ = self.open_tcp(address, port, PATIENCE_S, clamp and (TCP_MAXSEG, clamp))
        if not sock:
            return outcome, None
        with sock:
            greeting = converse(sock, b"", GREETING_S, greeting_is_whole)["data"]
            heard = converse(sock, b"".join(build_pattern(b"size", PATTERN_BYTES)), timeout_s,
                             pattern_is_whole(b"got"))
            self.count(sock)
        size, came = read_pattern(b"got", heard["data"])
        return "ok", {"greeting": printable(greeting), "bytes": PATTERN_BYTES, "back_bytes": came,
                      "arrived": size is not None, "ended": heard["ended"]}

    def stand_in(self, address, port, udp, seconds, tell):
        """Be the service that is not there, until time or the number of arrivals is up.

        `tell` hears of each arrival at once, and first None: it listens.  Ctrl-C ends it.
        """
        facts = {"arrivals": [], "half_open": {}, "turned_away": 0, "interrupted": False,
                 "error": None}
        until, talks, look_at = time.monotonic() + seconds, [], 0
        try:
            sock = passive_socket(address, port, udp)
        except OSError as error:
            name = errno_name(error.errno)
            return "denied", dict(facts, error=name)
        with sock:
            try:
                tell(None)
                while len(facts["arrivals"]) < MAX_ARRIVALS and time.monotonic() < until:
                    if look_at <= time.monotonic():
                        look_at = time.monotonic() + HALF_OPEN_LOOK_S
                        self.see_half_open(0 if udp else port, facts["half_open"])
                    row = wait_for(sock, False, min(until, look_at)) and (
                        self.hear(sock, facts) if udp else self.receive(sock, talks, facts))
                    if row:
                        tell(row)
            except KeyboardInterrupt:
                facts["interrupted"] = True
            for _, client in talks:
                or_none(client.shutdown, socket.SHUT_RDWR)
        return "ok", facts

    def see_half_open(self, port, found):
        """Add who has sent a SYN to a port and has not (or not yet) heard the answer."""
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            for peer, again in half_open_peers(self.read(path, "")[1], port).items():
                found[peer] = max(again, found.get(peer, 0))

    def arrival(self, sock, peer, **facts):
        """One row of the stand-in's log: who came, when, to which address of this host."""
        host, me = (row[0].replace("::ffff:", "") for row in (peer, sock.getsockname()))
        return dict({"at": iso_time(self.now()), "from": host, "port": peer[1], "ttl": None,
                     "mss": None, "me": [me, sock.getsockname()[1]], "bytes": 0, "ended": None},
                    **facts)

    def hear(self, sock, facts):
        """One datagram to the stand-in; netdiag's own are answered, MAX_ARRIVALS at most, and no
        others: the answer is larger than the question, whose sender may be a forged one."""
        packet = or_none(sock.recvmsg, 65535, 512)
        if not packet:
            return None
        ttls = [struct.unpack_from("=i", raw)[0] for level, kind, raw in packet[1]
                if (level, kind) in RECEIVED_TTL]
        row = self.arrival(sock, packet[3], bytes=len(packet[0]), ttl=(ttls or [None])[0])
        facts["arrivals"].append(row)
        if packet[0] == b"netdiag\n":
            or_none(sock.sendto, build_greeting(row), packet[3])
        return row

    def receive(self, sock, talks, facts):
        """One connection to the stand-in, which is talked to in a thread of its own."""
        import threading
        client, peer = or_none(sock.accept) or (None, None)
        if not client:
            return None
        talks[:] = [talk for talk in talks if talk[0].is_alive()]
        try:
            syn = read_syn(or_none(client.getsockopt, *TCP_SAVED_SYN, 512))
        except NotMine:
            syn = {}                              # this kernel does not keep it
        row = self.arrival(client, peer, **syn)
        facts["arrivals"].append(row)
        if len(talks) >= STAND_IN_AT_ONCE:
            facts["turned_away"] += 1
            abort(client)
        else:
            thread = threading.Thread(target=attend, args=(client, row), daemon=True)
            talks.append((thread, client))
            thread.start()
        return row


def passive_socket(address, port, udp):
    """A bound socket that takes connections, or datagrams, and keeps how they arrived."""
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    sock = socket.socket(FAMILY[is_address(address)], kind)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not udp)
        or_none(set_option, sock, RECV_TTL, 1)
        sock.bind((address, port))
        if not udp:
            or_none(sock.setsockopt, *TCP_SAVE_SYN, 1)
            sock.listen(STAND_IN_AT_ONCE)
    except OSError:
        sock.close()
        raise
    return sock


def attend(client, row):
    """Talk to one client of the stand-in: greet it, and send back the patterns that it sends.

    The line goes alone before the pattern: a small packet says that the large ones have arrived.
    """
    with client:
        say = build_greeting(row)
        for _ in range(MAX_PATTERNS + 1):
            heard = converse(client, say, STAND_IN_IDLE_S, pattern_is_whole(b"size"))
            row.update(bytes=row["bytes"] + len(heard["data"]), ended=heard["ended"])
            size, _ = read_pattern(b"size", heard["data"])
            if heard["ended"] != "done" or size is None or size > PATTERN_LIMIT:
                break
            line, say = build_pattern(b"got", size)
            or_none(client.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            or_none(client.sendall, line)


def say_in_turn(sock, steps, seconds):
    """Say each of ((what to say, what the answer is like), ...); None, or the wrong answer."""
    for say, wanted in steps:
        right = re.compile(wanted or b"")
        data = converse(sock, say, seconds, lambda heard: right.match(heard) or re.search(
            WHOLE_LINE, heard) or heard[1:] and heard[:1] == b"\5")["data"]
        if not right.match(data):
            return data
    return None


def greeting_is_whole(data):
    """A greeting line has ended; protocols without lines are taken as they come."""
    return b"\n" in data or len(data) > 512 or len(data) > 4 and (
        data[:1] in b"\xff\x15\x16" or data[3:4] == b"\0")


def read_netlink(sock, dump, found):
    """Append one request's answers to `found`; the errno of a refusal, else 0."""
    while True:
        packet, offset = sock.recv(1 << 17), 0
        while offset + 16 <= len(packet):
            length, kind = struct.unpack_from("=IH", packet, offset)
            payload = packet[offset + 16:offset + length]
            offset += (max(length, 16) + 3) & ~3
            if kind == 3:                                     # NLMSG_DONE
                return 0
            if kind == 2:                                     # NLMSG_ERROR, 0 is an acknowledgement
                return -struct.unpack_from("=i", payload)[0]
            found.append((kind, payload))
        if not dump:
            return 0


def trace_end(hops):
    """The lowest TTL whose answer is not "time exceeded", or None."""
    return next((hops[ttl] for ttl in sorted(hops)
                 if hops[ttl]["kind"] not in ("hop", "error")), None)


def collect_trace(probes, hops, until):
    """Gather answers of outstanding probes until all came, the end is known, or time is up."""
    import select
    poller, waiting = select.poll(), {}
    for probe in [probe for probe in probes if probe["ttl"] not in hops]:
        if probe["errno"]:
            hops[probe["ttl"]] = dict(
                NO_HOP, ttl=probe["ttl"], kind="error", errno=probe["errno"])
        else:
            waiting[probe["sock"].fileno()] = probe
            writable = select.POLLOUT if probe["mode"] == "tcp" else 0
            poller.register(probe["sock"], select.POLLIN | writable)
    end = trace_end(hops)
    while waiting and time.monotonic() < until and not (
            end and min(probe["ttl"] for probe in waiting.values()) > end["ttl"]):
        for descriptor, _ in poller.poll(max(1, (until - time.monotonic()) * 1000)):
            hop = trace_answer(waiting[descriptor])
            if hop:
                hops[hop["ttl"]] = hop
                poller.unregister(descriptor)
                del waiting[descriptor]
        end = trace_end(hops)
    return end


def trace_answer(probe):
    """The hop that answered one probe, or None when there was nothing to read after all."""
    sock, mode, address, kind = probe["sock"], probe["mode"], probe["address"], "reply"
    hop = dict(NO_HOP, ttl=probe["ttl"], address=address, from_ttl=None,
               ms=ms_since(probe["started"], 2))
    errors = watch_connect(probe, 0)["icmp"] if mode == "tcp" else read_errors(sock)
    if errors:
        error = errors[0]
        hop.update({key: error[key] for key in ("type", "code", "errno", "mss")},
                   address=error["from"], from_ttl=error["ttl"])
        if icmp_kind(address, error) in TIME_EXCEEDED:
            kind = "hop"
        elif mode != "udp" or error["from"] != address:
            kind = "icmp"
    elif mode == "tcp":
        kind = "refused" if probe["errno"] == "ECONNREFUSED" else probe["state"]
        hop["errno"] = probe["errno"]
    else:
        packet = or_none(sock.recv, 2048)
        if packet is None or mode == "icmp" and not is_echo_reply(
                packet, is_address(address), probe["header"], probe["number"]):
            return None
    return None if kind == "trying" else dict(hop, kind=kind)


def iso_time(epoch):
    """Local time with its offset, ISO 8601."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(epoch))
    return text[:-2] + ":" + text[-2:]


# == 5 sources: ordered ways to ask one question, and the one fallback policy =====================

def tool(parse, *argv):
    """Ask an installed command; `parse` reads what it printed."""
    return Source("run", (list(argv),), parse)


def text_file(parse, path, absent=None):
    """Ask a kernel or configuration file; `absent` is the text that a missing file stands for."""
    return Source("read", (path, absent), parse)


def native(verb, *args, **named):
    """Ask by a verb of room 4 that needs no command; `parse=` where its raw answer is bytes."""
    return Source(verb, args, named.get("parse"))


def kernel(parse, *requests):
    """Ask rtnetlink; `parse` reads [(kind, payload)]; interface indexes become names."""
    def named(raw):
        value = parse(raw["messages"])
        for row in [row for rows in value.values() for row in rows if "dev_index" in row]:
            row["dev"] = raw["names"].get(row.pop("dev_index"))
        return value
    return Source("netlink", (list(requests),), named)


def ask(subject, *sources):
    """One question about one subject, with the ways to ask it, best first."""
    return Ask(subject, sources)


def answer(probe_name, question, system, timeout_s):
    """Put one question: fall back while it could not be asked; refusal and silence are answers."""
    began, tried, refusal = system.monotonic(), [], None
    outcome, value, via = "unknown", None, None
    for source in question.sources:
        via = source.args[0][0] if source.verb == "run" else source.verb
        outcome, value = put(source, system, timeout_s)
        if outcome not in ("unknown", "denied"):
            break
        tried.append([via, printable(value) if isinstance(value, str) else outcome])
        if isinstance(value, dict):
            refusal = refusal or (outcome, value, via)
    if outcome == "unknown" and refusal:          # why it was denied says more
        outcome, value, via = refusal
    if outcome != "ok" and isinstance(value, str):
        value = None                          # a reason, or half of an output: no facts
    ms = round((system.monotonic() - began) * 1000, 1)
    return Answer(probe_name, question.subject, outcome, value, via, tried, ms, None)


def put(source, system, timeout_s):
    """One way of asking -> (outcome, value); what is not understood is `unknown`, not `no`."""
    limit = {"timeout_s": timeout_s} if timeout_s else {}
    try:
        outcome, raw = getattr(system, source.verb)(*source.args, **limit)
        if source.parse and (outcome == "ok" or isinstance(raw, dict) and "data" in raw):
            raw = source.parse(raw)           # a talk that failed has facts of the same shape
        elif isinstance(raw, dict):
            raw = {key: item for key, item in raw.items() if not isinstance(item, bytes)}
        return outcome, raw
    except NotMine as error:
        return "unknown", "not understood: %s" % error
    except Exception as error:                    # a crash in a probe becomes a line in the report
        return "unknown", "crashed: %s: %s" % (type(error).__name__, error)


# == 6 probes: what to ask, in the order of the layers =============================================
#
#   host      identity  marks  clock  interfaces  counters  routes  policy  resolv_conf  proxy_env
#   name      lookup  hosts_file  dns  general_dns
#   way       route  egress  neighbor  segment
#   packets   knock -> tcp      ping  trace_*  other_ports  sizes  retries  marked
#   talk      words  ssh  tls  hello  http  redirects  udp  tunnel
#
# A parameter is a need: the probe runs when those probes have answered.  A parameter with a default
# is used when its answers happen to be there.  `wish` is what was asked for: always there.  A probe
# without needs is about this host, and asked once for all targets.  SCOPES says what a mode asks.

Probe = collections.namedtuple("Probe", "name function needs optional scope steps")
PROBES = {}
# Answers that no probe of rooms 6 asks for: what was wished, and what the modes listen, watch and
# merge begin with.
GIVEN = ("target", "arrivals", "checks", "report")
# {mode: (scopes of the probes that are asked once, scope of those that are asked for each target)}
SCOPES = {"host": (("host",), "target"), "target": (("host",), "target"),
          "server": (("host", "server"), "port")}


def register(name, function, needy, steps=False, scope=None):
    """Add a probe; the parameters of `needy` name its needs, `scope` when it runs (SCOPES)."""
    names = needy.__code__.co_varnames[:needy.__code__.co_argcount]
    split = len(names) - len(needy.__defaults__ or ())
    PROBES[name] = Probe(name, function, names[:split], names[split:],
                         scope or ("target" if names else "host"), steps)


def probe(function, scope=None, steps=False):
    """Register a generator of questions."""
    register(function.__name__[len("probe_"):], function, function, steps, scope)
    return function


def stepwise(function):
    """Register a generator of lists of questions: each list is answered before the next."""
    return probe(function, steps=True)


def asks(name, means, questions, scope=None):
    """Register a probe that is one expression, falsy where there is nothing to ask."""
    def function(**needs):
        for question in questions(**needs) or ():
            yield question
    function.__name__, function.__doc__ = "probe_" + name, means
    register(name, function, questions, scope=scope)


# -- this host -------------------------------------------------------------------------------------

asks("identity", "Who runs this, on which system, with which rights.",
     lambda: [ask("self", native("identity"))])
asks("marks", "Marks of containers, virtual machines and clouds, which change the advice.",
     lambda: [ask("self", native("marks", (
         "/.dockerenv /run/.containerenv /run/systemd/container /sys/hypervisor/type"
         " /var/run/secrets/kubernetes.io/serviceaccount/namespace /sys/class/dmi/id/sys_vendor"
         " /sys/class/dmi/id/product_name /sys/class/dmi/id/bios_vendor"
         " /sys/class/dmi/id/chassis_asset_tag").split()))])
asks("clock", "This host's own clock.", lambda: [ask("self", native("clock"))])
asks("interfaces", "State, carrier, MTU, MAC and addresses of the interfaces.", lambda: [
     ask("all", tool(parse_ip_addr, "ip", "addr", "show"),
         kernel(parse_netlink_interfaces, dump(RTM_GETLINK, 16), dump(RTM_GETADDR, 8)),
         tool(parse_ifconfig, "ifconfig", "-a"))])
asks("interfaces_now",
     "The interfaces once more when a connection failed: the link may have changed meanwhile.",
     lambda tcp: len(met(tcp, "ok")) < len(tcp) and PROBES["interfaces"].function())
asks("conntrack",
     "How full the table of tracked connections is; a full one drops every new connection.",
     lambda: [ask(name, text_file(parser(lambda text: {"entries": int(text)}),
                                  "/proc/sys/net/netfilter/nf_conntrack_" + name, "0"))
              for name in ("count", "max")])
asks("counters", "What the kernel has counted so far: see `probe_moved`.",
     lambda: [ask(path, text_file(parse, path, absent)) for path, parse, absent in COUNTER_FILES])
asks("routes", "The routing tables, for their default routes.", lambda: [
     ask("ipv" + version, tool(parse_ip_route, "ip", "-" + version, "route", "show"),
         kernel(parse_netlink_routes, dump(RTM_GETROUTE, 12, family)),
         text_file(parse, path), tool(parse_route, "route", "-n", "-" + version))
     for version, family, parse, path in (
         ("4", socket.AF_INET, parse_proc_route, "/proc/net/route"),
         ("6", socket.AF_INET6, parse_proc_ipv6_route, "/proc/net/ipv6_route"))])
asks("policy", "Policy routing rules.", lambda: [ask(
     "ipv4", tool(parse_ip_rule, "ip", "rule", "show"),
     kernel(parse_netlink_rules, dump(RTM_GETRULE, 12, socket.AF_INET)))])


@stepwise
def probe_resolv_conf():
    """The configured resolvers: resolv.conf, and the upstreams of a local stub."""
    conf, _ = yield [ask("resolv.conf", text_file(parse_resolv_conf, "/etc/resolv.conf", "")),
                     ask("nsswitch", text_file(parse_nsswitch, "/etc/nsswitch.conf", ""))]
    if any(server.startswith("127.") for server in said(conf, "nameservers") or ()):
        path = "/run/systemd/resolve/resolv.conf"
        yield [ask("upstream", text_file(parse_resolv_conf, path, ""))]


asks("proxy_env", "The proxy variables.", lambda: [ask("self", native(
     "environment", *PROXY_VARIABLES, "no_proxy", "NO_PROXY", "KUBERNETES_SERVICE_HOST",
     parse=parse_proxy_variables))])


# -- the name --------------------------------------------------------------------------------------

asks("lookup", "The system's own answer for the name (hosts file, search list, stub and all).",
     lambda wish: wish["host"] and not wish["literal"] and not wish["connect_to"] and [
         ask(wish["host"], native("resolve", wish["host"], wish["family"]))])
asks("hosts_file", "What the hosts file says about the name.",
     lambda wish: wish["host"] and not wish["literal"] and [
         ask(wish["host"], text_file(parse_hosts, "/etc/hosts", ""))])
asks("dns", "The name asked of every configured resolver directly, past stub and cache.",
     lambda wish, resolv_conf: wish["host"] and not wish["literal"] and not wish["connect_to"]
     and dns_questions(resolv_conf, wish["host"], "A", "AAAA"))
asks("general_dns",
     "One general name, asked only of the configured resolvers: this name, or all names?",
     lambda wish, resolv_conf, dns: (
         not wish["host"] or dns and not saying(dns, "rcode", "NOERROR", "NXDOMAIN"))
     and dns_questions(resolv_conf, GENERAL_NAME + ".", "A"))       # absolute: no search list


# -- the way ---------------------------------------------------------------------------------------

asks("route",
     "The kernel's route decision for these very addresses, or for the resolvers' without any.",
     lambda wish, resolv_conf, lookup, dns=(): [
         ask(address, *route_sources(address, wish["source"]))
         for address in addresses(wish, lookup, dns) or resolvers(resolv_conf)])
asks("egress",
     "The route decision again, now with the source address it chose (policy rules look at it).",
     lambda route: [ask(row.subject, *route_sources(row.subject, row.value["src"]))
                    for row in succeeded(route) if row.value["src"] and not row.value["error"]])
asks("neighbor", "Layer-2 state of the next hop; a hop that nobody has heard from is asked again.",
     lambda egress, tcp: [ask("%s %s" % (hop, dev), *neighbor_sources(hop, dev, tcp))
                          for hop, dev in next_hops(egress)])
asks("neighbors", "Everybody else whom this host knows on its segments.",
     lambda egress, tcp: [ask("all", *neighbor_tables())])
asks("segment",
     "Others on the segment, asked for at layer 2 when the next hop has not answered in time.",
     lambda egress, knock, interfaces, resolv_conf, hosts_file=(): [
         ask("%s %s" % (hop, dev), native("poke", others + [hop], dev, SEGMENT_WAIT_S))
         for hop, dev in next_hops(egress) if not met(knock, "ok", "refused")
         for others in [segment_candidates(hop, dev, interfaces, resolvers(resolv_conf))]
         if others])


# -- packets ---------------------------------------------------------------------------------------

asks("knock", "A SYN to every address; what came back in the first second.",
     lambda wish, lookup, dns=(): wish["transport"] == "tcp" and wish["knock_port"] and each(
         "knock", addresses(wish, lookup, dns), wish["knock_port"]))
asks("tcp", "What became of each connection: errno, ICMP and its sender, TCP_INFO, first bytes.",
     lambda wish, knock: each(
         "settle", [row for row in knock if row.outcome != "unknown"], wish["knock_port"],
         GREETING_S if wish["speaks_first"] and not wish["tls"] else LISTEN_S))
asks("unheard",
     "Packets that this host receives and does not deliver: does it drop the answers itself?",
     lambda wish, tcp, retries: each(
         "unheard", saying(one_of_each(tcp, "timeout")[:1], "icmp", []), wish["knock_port"]))
asks("control_tcp",
     "Addresses that only the resolvers give, where the hosts file gave another one.",
     lambda wish, lookup, dns, hosts_file: wish["transport"] == "tcp" and wish["port"] and each(
         "knock", [a for a in dns_addresses(dns) if hosts_rows(hosts_file, wish["host"])
                   and a not in addresses(wish, lookup)][:2], wish["port"]))
asks("ping", "Echo to the target and to the gateway; silence proves nothing.",
     lambda wish, lookup, egress, dns=(): [
         ask(address, tool(parse_ping, "ping", "-n", "-c", "1", "-W", "1", address),
             native("echo", address)) for address in unique(addresses(wish, lookup, dns) + [
                 hop for hop, _ in next_hops(egress)])[:MAX_ADDRESSES]])
asks("trace_udp", "How far packets get: UDP to closed ports with rising TTL.",
     lambda wish, knock, lookup, dns=(): [
         ask(address, native("trace", address, 33434, "udp"),
             tool(parse_traceroute, "traceroute", "-n", "-q", "1", "-w", "1", address),
             tool(parse_tracepath, "tracepath", "-n", address),
             tool(parse_mtr, "mtr", "-n", "-r", "-c", "1", address))
         for address in [row.subject for row in one_of_each(
             knock, "ok", "timeout", "refused", "unreachable")]
         or addresses(wish, lookup, dns)[:2 if wish["transport"] == "udp" else 0]])
asks("trace_tcp", "Where this very port stops: connections to it with rising TTL.",
     lambda wish, knock: each("trace", saying(
         one_of_each(knock, "timeout", "refused", "unreachable"), "immediate", None, False),
         wish["knock_port"], "tcp"))
asks("trace_icmp",
     "Where echo gets to, when the port is silent and UDP did not get to the only such host.",
     lambda knock, trace_udp: len(one_of_each(knock, "timeout")) == 1 and each(
         "trace", [row for row in one_of_each(knock, "timeout")
                   if not distance(trace_udp, row.subject)], 0, "icmp"))
asks("other_ports", "Other ports of the same host, when this one is silent: is the host alive?",
     lambda wish, knock: [
         ask("%s %d" % (row.subject, port), native("knock", row.subject, port))
         for row, count in zip(one_of_each(knock, "timeout", "unreachable"), (3, 2))
         for port in [p for p in (443, 80, 22, 33435) if p != wish["knock_port"]][:count]])


@stepwise
def probe_sizes(knock, egress):
    """Do packets as large as the first link allows get through?  Large, small; twice over."""
    rows = [row for row in talking(knock) if not is_next_door(egress, row.subject)][:2]
    for small in (None, SMALL_BYTES, None, SMALL_BYTES, None):
        sizes = [small or (about(egress, r.subject) or {}).get("mtu") or 1500 for r in rows]
        answers = yield [ask("%s %d" % (r.subject, size), native(
            "fits", r.subject, size, max(SIZE_WAIT_S, 0.003 * (r.value["ms"] or 0))))
            for r, size in zip(rows, sizes)]
        rows = [r for r, a in zip(rows, answers) if a.value and (
            a.value["answered"] if small else not a.value["answered"] and not a.value["mtu"])]


asks("retries", "More connections from other source ports, when the first is silent or was resent.",
     lambda wish, knock: retry([r for r in one_of_each(knock, "timeout", "ok") if
                                r.outcome == "timeout" or r.value["ms"] > RESENT_MS], wish))


@probe
def probe_resends(wish, tcp, tls, http, sizes, retries):
    """The same when something that works had to be sent again, or was lost once."""
    rows = []
    for row in one_of_each(tcp, "ok"):
        talks = rows_about([row] + tls + http, row.subject)
        resent = saying(talks, "stage", "connect") or any(
            (said(talk, "info") or {}).get("total_retrans") for talk in talks)
        large = {r.value["answered"] for r in rows_about(succeeded(sizes), row.subject)
                 if r.value["size"] > SMALL_BYTES}
        if (resent or large == {True, False}) and not rows_about(retries, row.subject):
            rows.append(row)
    yield from retry(rows, wish)


asks("marked", "A connection marked as ssh marks its packets, where a plain one works.",
     lambda wish, tcp: wish["protocol"] not in ("ssh", "sftp") and each(
         "connect_again", saying(met(tcp, "ok")[:1], "after", "open", "data"),
         wish["knock_port"], 1, SSH_MARK))


@probe
def probe_moved(wish, counters, tcp, retries, tls, http):
    """Which counters moved meanwhile: support only, for others use this host as well."""
    for path, parse, absent in COUNTER_FILES if wish["host"] else ():
        before = about(counters, path)
        if before:
            yield ask(path, then(text_file(parse, path, absent), lambda now, before=before: {
                name: count - before.get(name, 0) for name, count in now.items()
                if re.search(TELLING, name) and count != before.get(name, 0)}))


@probe
def probe_reset_ttl(wish, tcp, trace_udp):
    """From how far a reset comes: its TTL, against that of the host's own ICMP."""
    for row in saying(met(tcp, "refused"), "icmp", []):
        for hop in [hop for hop in hops_to(trace_udp, row.subject) if hop["ttl"] > 1
                    and hop.get("kind") == "reply" and hop.get("from_ttl")][:1]:
            yield from each("reset_ttl", [row], wish["knock_port"], hop["from_ttl"], hop["ttl"])


# -- above TCP -------------------------------------------------------------------------------------

@probe
def probe_words(wish, tcp, tls):
    """The first words of the protocol's own client, where the server waits for them."""
    words = FIRST_WORDS.get(GREETS_AS.get(wish["protocol"], wish["protocol"]))
    steps, fine = tls_steps(wish), ["done"] + ["untrusted"] * (not wish["tls"])
    secured = [row.subject for row in saying(tls, "ended", *fine)]
    for row in saying(talking(tcp)[:1 if steps else None], "after", "open") if words else ():
        secure = row.subject in secured        # pg_hba.conf may know encrypted connections only
        if secure or not wish["tls"]:
            yield from each("http", [row], wish["port"], secure, wish["sni"], words, None, False,
                            False, steps if secure else (), parse=parse_first_words)


asks("known_hosts", "What this user and this host know of the server's key.",
     lambda wish: wish["protocol"] in ("ssh", "sftp") and [
         ask(path, text_file(parse_known_hosts, path, ""))
         for path in ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")])


@probe
def probe_ssh(wish, tcp, known_hosts):
    """One look behind sshd's banner: with a user by ssh itself, else its key and algorithms."""
    user, port = wish["user"], wish["port"]
    login = ["-p", str(port), "%s@%s" % (user, wish["host"]), "true"]
    own = [tool(parse_ssh, *SSH_ONCE + login)] if user else []
    types = [row["type"] for row in known_keys(known_hosts, wish)]
    for row in saying(talking(tcp), "speaks", "ssh")[:wish["protocol"] in ("ssh", "sftp")]:
        yield ask(row.subject, *own + [native("ssh_keys", row.subject, port, types, None
                                              if user else SSH_MARK, parse=parse_ssh_exchange)])


asks("tls",
     "The TLS handshake, verified against this host's trust store; on plain ports by STARTTLS.",
     lambda wish, tcp: handshakes(wish, talking(tcp) if wish["tls"] else [
         row for row in talking(tcp)[:1] if tls_steps(wish) and not said(row, "refuses")]))
asks("hello",
     "A clear ClientHello after a failed handshake: the chain, the alert, what the port speaks.",
     lambda wish, tls: [
         ask("%s %s" % (row.subject, "named" if name else "bare"),
             native("hello", row.subject, wish["port"], name, parse=parse_tls_flight))
         for row in wish["tls"] and saying(tls, "ended", "untrusted")[:1] + [
             row for row in tls if said(row, "ended") not in ("done", "untrusted")] or ()
         for name in unique([wish["sni"] or None, None])])
asks("versions", "After a refusal: which old versions does the server still offer?",
     lambda wish, hello: [
         ask("%s %s" % (host_of(row), TLS_VERSIONS[version]), native(
             "hello", host_of(row), wish["port"], wish["sni"], None, version,
             parse=parse_tls_flight))
         for row in saying(hello, "chain", [])[:1] for version in (0x300, 0x301, 0x302)
         if said(row, "alert")])
asks("cut_ttl",
     "A handshake that is cut, with TTLs too small to reach the server: does a box cut it?",
     lambda wish, tls, trace_udp, ping: [
         ask(row.subject, native("cut_ttl", row.subject, wish["port"], wish["sni"], far))
         for row in saying(tls, "ended", "reset", "closed")[:wish["tls"]]
         for far in [distance(trace_udp, row.subject)] if far and far > 1])
asks("small", "A stalled handshake once more with small segments (TCP_MAXSEG): is it the size?",
     lambda wish, tls: each("hello", saying(tls, "ended", "stalled")[:2 * wish["tls"]],
                            wish["port"], wish["sni"], CLAMP_MSS, parse=parse_tls_flight))


@stepwise
def probe_http(wish, tcp, tls):
    """One HTTP request, where TLS (which comes first) does not fail: HEAD, then GET."""
    cut = saying(tls, "ended", "stalled", "reset", "closed", "alert")
    rows = talking(tcp) if wish["protocol"] in ("http", "https") else ()
    heads = yield http_questions(wish, [r for r in rows if not rows_about(cut, r.subject)], "HEAD")
    yield http_questions(wish, [
        row for row in heads if head_failed(row) and not wants_http2(row, tls)], "GET")


@stepwise
def probe_transfer(wish, http, sizes):
    """A larger exchange both ways where large packets seem to vanish, then with small segments."""
    rows = [row for row in succeeded(latest(http)) if row.subject in size_suspects(sizes)]
    whole = yield http_questions(wish, rows, "GET", None, PADDING)
    yield http_questions(wish, saying(whole, "ended", "silent"), "GET", CLAMP_MSS, PADDING)


@stepwise
def probe_exchange(wish, tcp):
    """A pattern of several packets both ways, where netdiag's `listen` stands in; if it is lost,
    once more with small segments."""
    rows = [row for row in talking(tcp)[:2] if greeting_of(row)]
    whole = yield list(each("exchange", rows, wish["port"], None))
    yield [ask(row.subject + " clamped", native("exchange", row.subject, wish["port"], CLAMP_MSS))
           for row in succeeded(whole) if row.value["back_bytes"] < PATTERN_BYTES]


@stepwise
def probe_redirects(wish, http):
    """Where redirects lead: each one asked on its own host, up to REDIRECT_LIMIT."""
    for step in latest(http)[:1]:
        urls = ["%s://%s%s" % (wish["protocol"], endpoint(wish["host"], wish["port"]),
                               wish["path"] or "/")]
        while redirect_of(step) and len(urls) <= REDIRECT_LIMIT:
            url = join_url(urls[-1], redirect_of(step))
            if url in urls[1:] or not re.match("https?://", url):
                return
            urls.append(url)
            step, = yield [ask(hide_secret(printable(url, 200)),
                               native("fetch", url, parse=parse_http_exchange))]


asks("udp", "A datagram to the port: a reply, an ICMP error, or silence.",
     lambda wish, lookup, dns=(): wish["transport"] == "udp" and wish["port"] and each(
         "datagram", addresses(wish, lookup, dns), wish["port"],
         UDP_QUESTIONS.get(wish["protocol"], b"netdiag\n"), parse=parse_datagram))
asks("tunnel", "The proxy that applies to this target, asked for a tunnel.",
     lambda wish, proxy_env: tunnel_asks(wish, proxy_for(wish, proxy_env)))
asks("spare_proxy",
     "A configured proxy that NO_PROXY keeps us from, asked for a tunnel where no way is open.",
     lambda wish, proxy_env, tcp: tcp and not met(tcp, "ok", "refused") and not proxy_for(
         wish, proxy_env) and tunnel_asks(wish, named_proxy(wish, proxy_env)))


@stepwise
def probe_large(wish, tls):
    """A ClientHello as large as post-quantum keys make it; the same but small where that fails."""
    for row in saying(tls, "ended", "done")[:wish["tls"]]:
        for size, padding in (("large", LARGE_HELLO_BYTES), ("small", 0)):
            answers = yield [ask("%s %s" % (row.subject, size), native(
                "hello", row.subject, wish["port"], wish["sni"], None, 0x303, padding,
                parse=parse_tls_flight))]
            if said(answers[0], "version") or said(answers[0], "alert"):
                break


@stepwise
def probe_stores(wish, tls):
    """A certificate of an unknown CA, verified with the other trust stores of this host."""
    for row in [r for r in saying(tls, "ended", "untrusted")
                if said(r, "verify_code") not in (9, 10)][:1]:      # no store mends a date
        found, = yield [ask("self", native("trust_stores"))]
        for path in (said(found, "others") or [])[:MAX_STORES]:
            yield [question._replace(subject=path) for question in handshakes(
                wish, [row], True, path)]


asks("peer", "The peer's certificate when it could not be verified: a handshake that does not ask.",
     lambda wish, tls, hello: handshakes(wish, [
         row for row in saying(tls, "ended", "untrusted")
         if not any(said(h, "chain") for h in rows_about(hello, row.subject) if not (
             wish["sni"] and h.subject.endswith(" bare")))], False))


def parse_link_counters(text):
    """/proc/net/dev, flat: {"eth0 rx_errors": 0, ...}."""
    rows = parse_proc_net_dev(text).items()
    return {"%s %s" % (name, key): number for name, row in rows for key, number in row.items()}


# (file, its parser, what stands for it where it is absent: None is told in the report)
COUNTER_FILES = (("/proc/net/snmp", parse_proc_counters, None),
                 ("/proc/net/netstat", parse_proc_counters, None),
                 ("/proc/net/snmp6", parse_proc_counters, None),
                 ("/proc/net/dev", parse_link_counters, None),
                 ("/proc/net/softnet_stat", parse_softnet, ""),
                 ("/proc/net/stat/nf_conntrack", parse_conntrack_stat, ""))
# Loss, refusal and exhaustion; the rest counts what works.
TELLING = (r"Retrans|Timeouts|Drop|Fail|Err|err|NoRoutes|DestUnreach|Discards|TimeExcds|PathFilter"
           r"|TooBig|Overflow|_dropped|_carrier")
SSH_ONCE = ("ssh -v -o BatchMode=yes -o ConnectTimeout=5 -o ConnectionAttempts=1"
            " -o StrictHostKeyChecking=yes -o UpdateHostKeys=no").split()
PROXY_VARIABLES = "http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY".split()
# First words of a UDP protocol: something that a healthy server answers.
UDP_QUESTIONS = {
    "dns": build_dns_query("", "NS", 0x6e64),
    "ntp": b"\x1b" + b"\0" * 47,                        # version 3, client (RFC 5905)
    "snmp": bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b"
                          "060102010101000500")}       # get sysDescr.0, community public


# -- what the probes have in common ----------------------------------------------------------------

def about(answers, subject):
    """The value of the one answer about `subject`, or None."""
    return next((a.value for a in answers if a.subject == subject and a.outcome == "ok"), None)


def dump(kind, size, family=0):
    """An rtnetlink request for a whole table; its body begins with the address family."""
    return kind, struct.pack("=B", family).ljust(size, b"\0"), True


def dns_questions(resolv_conf, host, *types):
    """Questions to every resolver; dig is tried where this process may send nothing itself."""
    conf = about(resolv_conf, "resolv.conf") or {"search": (), "options": {}}
    names = search_names(host, conf["search"], conf["options"].get("ndots") or 1)
    for server in resolvers(resolv_conf):
        for name, qtype in [(name, qtype) for name in names for qtype in types]:
            dig = tool(parse_dig, "dig", "+time=1", "+tries=2", "@" + server, name, qtype)
            yield ask("%s %s %s" % (server, qtype, name), native(
                "query", server, name, qtype, parse=parse_dns_exchange), then(dig, dig_reply))


def dig_reply(facts):
    """What dig printed, in the shape of `parse_dns_exchange`."""
    rows = facts["answers"]
    return dict(facts, rcode=mine(facts["status"], "dig got no answer"), over="dig", strays=0,
                addresses=[r["data"] for r in rows if r["type"] in ("A", "AAAA")])


def succeeded(answers):
    """The answers that say `ok`."""
    return [a for a in answers if a.outcome == "ok" and a.value is not None]


def latest(answers):
    """The last answer for each subject (a probe in steps may ask one subject twice)."""
    return list({a.subject: a for a in answers}.values())


def resolvers(resolv_conf):
    """The resolvers that are asked directly: at most three, as glibc does, and a stub's own."""
    conf, upstream = (list(filter(is_address, (about(resolv_conf, name) or {}).get(
        "nameservers", ()))) for name in ("resolv.conf", "upstream"))
    return unique(conf[:3] + upstream[:2])


def dns_addresses(dns):
    """All addresses in the resolvers' direct answers, without repeats."""
    return unique(a for row in succeeded(dns) for a in row.value["addresses"])


def hosts_rows(hosts_file, name):
    """Addresses that the hosts file gives for `name`."""
    return [row["address"] for part in hosts_file for row in part.value or ()
            if (name or "").lower() in map(str.lower, row["names"])]


def addresses(wish, lookup, dns=()):
    """The addresses to try: the literal, else the system's answer, else the resolvers' own."""
    found = [a for row in succeeded(lookup) for a in row.value]
    if wish["connect_to"] or wish["literal"]:
        found = [wish["connect_to"] or wish["host"]]
    elif not found and met(lookup, "timeout"):
        found = dns_addresses(dns)
    families = [[a for a in found if is_address(a) == version] for version in (4, 6)
                if wish["family"] in (None, 0, version)]
    return [a for turn in range(len(found)) for family in families       # a limit cuts neither off
            for a in family[turn:turn + 1]][:MAX_ADDRESSES]


def then(source, change):
    """The same source with a change made to what its parser reads."""
    return source._replace(parse=lambda raw: change(source.parse(raw)))


def route_sources(address, source):
    """The ways to ask for one route decision (a source of the other family does not count)."""
    source = source if source and is_address(source) == is_address(address) else None

    def decision(messages):                       # an answer to a question is marked as cloned
        routes = parse_netlink_routes(messages, cloned=True)["routes"]
        return {"routes": mine(routes, "no route in the answer")[:1]}

    def with_source(value):
        row = route_answer(value["routes"][0]) if "routes" in value else value
        return dict(row, src=row["src"] or source)
    words = ["ip", "route", "get", address] + (["from", source] if source else [])
    asked = kernel(decision, (RTM_GETROUTE, build_route_query(address, source), False))
    return [then(way, with_source) for way in (tool(parse_route_answer, *words), asked)]


def next_hops(egress):
    """(next hop, interface) of each route that leaves by a link."""
    ways = [(row.value["via"] or row.subject, row.value["dev"])
            for row in saying(egress, "type", "unicast") if not row.value["error"]]
    return unique((hop, dev) for hop, dev in ways if dev not in (None, "lo"))


def neighbor_tables(*hop):
    """The ways to ask for the neighbor table (the command can be asked for one hop only)."""
    return [tool(parse_ip_neigh, "ip", "neigh", "show", *hop),
            kernel(parse_netlink_neighbors, dump(RTM_GETNEIGH, 12)),
            text_file(parse_proc_arp, "/proc/net/arp"), tool(parse_arp, "arp", "-an")]


def neighbor_sources(hop, dev, tcp):
    """The ways to ask for the state of one neighbor; a doubtful one is provoked and awaited."""
    def row_of(value):
        rows = [row for row in value["entries"] if row["ip"] == hop]
        row = mine(rows, "%s is not in the table" % hop)[0]
        return dict(row, dev=row.get("dev") or dev)
    doubtful = not met(tcp, "ok", "refused") and not any(said(row, "icmp") for row in tcp)
    wait_s = STALE_NEIGHBOR_S - PATIENCE_S if doubtful and tcp else PATIENCE_S
    poke = [native("poke", [hop], dev, wait_s, parse=lambda states: {"entries": [
        dict(ip=hop, state=state, mac=None) for state in states.values() if state]})]
    tables = neighbor_tables(hop)
    return [then(way, row_of) for way in (poke + tables if doubtful else tables + poke)]


def segment_candidates(hop, dev, interfaces, servers):
    """Addresses of others that may live on the segment of `dev`: a bounded, educated guess."""
    import ipaddress
    nets = [ipaddress.ip_interface(cidr) for row in all_links(interfaces) if row["name"] == dev
            for cidr in row["inet"] + row["inet6"]
            if in_network(hop, cidr) and not cidr.startswith("fe80")]
    found = [s for s in servers for net in nets if in_network(s, str(net))]
    for net in nets[:1]:
        first, last, own = int(net.network[0]), int(net.network[-1]), int(net.ip)
        base = 16 if net.version == 6 else 10    # people write these digits in hexadecimal
        steps = [int(word, base) for word in "1 2 3 4 5 10 11 20 21 30 50 100 200".split()]
        wanted = [own + n for n in (1, -1, 2, -2, steps[5])] + [first + n for n in steps] + [
            last - n for n in (1, 2, 5) if net.version == 4]
        found += [str(ipaddress.ip_address(n)) for n in wanted if first < n < last and n != own]
    return [a for a in unique(found) if a != hop][:SEGMENT_POKES]


def one_of_each(rows, *outcomes):
    """The first address of each family among these outcomes: what is asked of it costs packets."""
    found = {is_address(row.subject): row for row in reversed(met(rows, *outcomes))}
    return [row for row in rows if row in found.values()]


def each(verb, rows, *args, parse=None):
    """Ask a verb of these addresses, or of those that these answers are about."""
    for address in [getattr(row, "subject", row) for row in rows]:
        yield ask(address, native(verb, address, *args, parse=parse))


def retry(rows, wish):
    """More connections to one address of each family; sshd would penalise that."""
    port = wish["knock_port"]
    for row, count in zip(rows, (RETRIES + 1 - len(rows), 1)) if port != 22 else ():
        yield from each("connect_again", [row], port, count)


def talking(tcp):
    """The connections that opened, as many as are spoken on."""
    return met(tcp, "ok")[:MAX_TALKS]


def wants_http2(row, tls):
    """Does this server speak HTTP/2 only?  It chooses h2 where that is offered, else nothing."""
    mute = said(row, "stage") == "http" and said(row, "ended") == "closed" and not any(
        said(row, key) for key in ("status", "alpn", "not_http"))
    no_overlap = "no application protocol" in (said(row, "error") or "").replace("_", " ").lower()
    return said(row, "speaks") == "http2" or (mute or no_overlap) and bool(
        saying(rows_about(tls, row.subject), "alpn", "h2"))


def head_failed(row):
    """Is HEAD's answer one that GET may better?  Some servers dislike or mishandle HEAD."""
    value = row.value or {}
    return value.get("stage") == "http" and (value["status"] in (400, 403, 404, 405, 500, 501, 503)
        or not value["status"] and value["ended"] in ("closed", "reset"))


def size_suspects(sizes):
    """Addresses where a small unfragmentable packet was answered and a large one vanished."""
    rows = succeeded(sizes)
    small = {host_of(r) for r in rows if r.value["answered"] and r.value["size"] <= SMALL_BYTES}
    return sorted(small - {host_of(r) for r in rows if r.value["size"] > SMALL_BYTES
                           and (r.value["answered"] or r.value["mtu"])})


def tunnel_asks(wish, proxy):
    """A proxy asked for a tunnel to the target, in its own protocol; nothing without a proxy."""
    if proxy and proxy["host"]:
        socks = (proxy["scheme"] or "").startswith("socks")
        yield ask("%s:%d" % (proxy["host"], proxy["port"]), native(
            "socks" if socks else "tunnel", proxy["host"], proxy["port"], proxy["variable"],
            wish["host"], wish["port"], parse=parse_socks if socks else parse_http_exchange))


def tls_steps(wish):
    """What has to be said on a plain port before TLS may begin; () where there is no such way."""
    protocol = GREETS_AS.get(wish["protocol"], wish["protocol"])
    name = dns_ascii(wish["host"] or "").encode("ascii", "replace")
    return tuple((say.replace(b"HOST", name), wanted) for say, wanted in STARTTLS.get(protocol, ())
                 if not wish["tls"])


def handshakes(wish, rows, verify=True, cafile=None):
    """The handshake that this target stands for, with each of these; by openssl without `ssl`."""
    alpn = ("h2", "http/1.1") if wish["protocol"] == "https" else ()
    name = ["-servername", wish["sni"]] if wish["sni"] else ["-noservername"]
    store = cafile or wish["cafile"]
    name += ["-CAfile", store] if store else []
    name += ["-starttls", STARTTLS_WORDS.get(wish["protocol"], wish["protocol"])] if tls_steps(
        wish) else []
    for address in [row.subject for row in rows]:
        command = ["openssl", "s_client", "-showcerts", "-connect", endpoint(
            address, wish["port"])] + name
        other = [then(tool(parse_openssl_s_client, *command), openssl_handshake)]
        yield ask(address, native(
            "tls", address, wish["port"], wish["sni"], verify, tls_steps(wish), alpn, cafile,
            parse=parse_handshake), *other * (not wish["bound"]))    # it knows no --source


STARTTLS_WORDS = {"submission": "smtp", "postgresql": "postgres"}    # s_client(1), -starttls


def known_keys(known_hosts, wish):
    """The rows of known_hosts files that are about this target."""
    return [row for part in succeeded(known_hosts) for row in part.value
            if knows_host(row, wish["host"], wish["port"])]


def http_questions(wish, rows, method, clamp=None, padding=0):
    """This target's request, asked of each of these; `padding` makes it more than one packet."""
    request = rows and build_http_request(method, wish["path"] or "/", wish["host"], wish["port"],
                                          wish["tls"], padding)
    return [ask(row.subject + (" clamped" if clamp else ""), native(
        "http", row.subject, wish["port"], wish["tls"], wish["sni"], request, clamp, bool(padding),
        parse=parse_http_exchange)) for row in rows]


def redirect_of(step):
    """The Location of a redirecting answer, else None."""
    return said(step, "location") if said(step, "status") in (301, 302, 303, 307, 308) else None


@guarded
def parse_proxy_variables(raw):
    """{scheme: {host, port, url (masked), ...}}; HTTP_PROXY in capitals is ignored (httpoxy)."""
    value = {"no_proxy": re.split(r"[,\s]+", raw.get("no_proxy") or raw.get("NO_PROXY") or ""),
             "kubernetes": "KUBERNETES_SERVICE_HOST" in raw}
    for variable in filter(raw.get, PROXY_VARIABLES):
        scheme = variable.lower().partition("_")[0]
        value.setdefault(scheme, read_proxy(raw[variable], variable))
    return value


def full_url(url):
    """A proxy as people write it, with its scheme: without one its password would not be seen."""
    return url if "://" in url else "http://" + url


def read_proxy(url, variable):
    """One proxy URL -> {host, port, url, variable, scheme}; host None where it is nonsense."""
    url = full_url(url)
    try:
        parts = read_url(url)
        port = int(parts["port"] or {"https": 443, "http": 80}.get(parts["scheme"], 1080))
    except (NotMine, ValueError):
        parts, port = dict.fromkeys(("host", "scheme")), None
    return dict(host=parts["host"] or None, port=port, url=printable(hide_secret(url)),
                variable=variable, scheme=parts["scheme"])


def named_proxy(wish, proxy_env):
    """The proxy that the variables name for this protocol (only HTTP uses them), or falsy."""
    known = about(proxy_env, "self") or {}
    return wish["protocol"] in ("http", "https") and (
        known.get(wish["protocol"]) or known.get("all"))


def proxy_for(wish, proxy_env):
    """The proxy that applies to this target, or None."""
    if wish["proxy"]:
        return read_proxy(wish["proxy"], "--proxy")
    found = not wish["connect_to"] and named_proxy(wish, proxy_env)
    return found if found and found["host"] and not bypasses(
        wish, about(proxy_env, "self")["no_proxy"]) else None


def bypasses(wish, no_proxy):
    """NO_PROXY in its common dialects: *, suffix, leading dot, address, CIDR, also with a port."""
    host = wish["host"].rstrip(".").lower()
    for rule in map(str.lower, no_proxy):
        if rule == "*" or "/" in rule and wish["literal"] and in_network(host, rule):
            return True
        try:
            name, port = read_endpoint(rule)
        except NotMine:
            continue
        name = name.lstrip("*.")
        if name and port in (None, str(wish["port"])) and (
                host == name or not wish["literal"] and host.endswith("." + name)):
            return True
    return False


# == 7 evidence: gathering answers side by side, and looking things up in them =====================

def run_probe(item, needs, system, timeout_s):
    """Put all questions of one probe: side by side, or step by step with answers sent back."""
    questions, answers, sent = item.function(**needs), [], None

    def put_all(rows):
        return side_by_side(lambda row: answer(item.name, row, system, timeout_s), list(rows))
    if not item.steps:
        return put_all(questions)
    try:
        while len(answers) < 40:
            sent = put_all(questions.send(sent))
            answers += sent
    except StopIteration:
        pass
    return answers


def side_by_side(work, items, at_once=None):
    """Put what `work` makes of each item in its place; several at a time, each in a thread."""
    import threading
    places = iter(range(len(items)))

    def run():
        for place in places:                      # one step of a range is atomic: threads share it
            items[place] = work(items[place])
    if len(items) < 2:
        run()
        return items
    threads = [threading.Thread(target=run, daemon=True) for _ in items[:at_once]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return items


def gather(items, known, system, options, until, progress=None):
    """Run probes side by side, in the order of their needs -> ({name: answers}, in time?)."""
    import queue
    import threading
    off, results, running, complete = unwanted(options), queue.Queue(), set(), True
    waiting = {item.name: item for item in items if item.name not in off}
    done = {item.name: unasked(item.name, "switched off") for item in items if item.name in off}
    done.update(known)

    def work(item, needs):
        try:
            answers = run_probe(item, needs, system, options.timeout_s)
        except Exception as error:                # a broken probe is a line in the report
            answers = unasked(item.name, "crashed: %s: %s" % (type(error).__name__, error))
        results.put((item.name, answers))
    try:
        while waiting or running:
            for item in [i for i in waiting.values() if done.keys() | {"wish"} >= set(i.needs)]:
                needs = {need: known["target"][0].value if need == "wish" else [
                    a for a in done.get(need, ()) if a.subject != "-"]
                    for need in item.needs + item.optional}
                running.add(waiting.pop(item.name).name)
                threading.Thread(target=work, args=(item, needs), daemon=True).start()
            if not running:
                break                             # needs that nobody answers: see the shape test
            if progress:
                progress(sorted(running))
            name, done[name] = results.get(timeout=max(0.01, until - system.monotonic()))
            running.discard(name)
    except queue.Empty:
        complete = False
    except KeyboardInterrupt:
        complete = None
    done.update((name, unasked(name, "cut short")) for name in [*running, *waiting])
    return done, complete


def unasked(name, why):
    """The answers of a probe that was not run, or not to its end: only why."""
    return [Answer(name, "-", "unknown", None, None, (("", why),))]


def unwanted(options):
    """The probes that --only (with all that those need) and --skip switch off."""
    names = {"identity", "clock", "interfaces", "resolv_conf", "lookup", *options.only}
    for _ in PROBES:                                    # needs have needs of their own
        names.update(*(PROBES[name].needs for name in names & PROBES.keys()))
    return {name for name in PROBES if options.only and name not in names or name in options.skip}


def number_answers(done):
    """All answers in the order of the probes, each with its id."""
    rows = [a for name in [*GIVEN, *PROBES] for a in done.get(name, ())]
    return [row._replace(id="e%d" % number) for number, row in enumerate(rows, 1)]


def by_probe(answers):
    """{probe name: [answers]}; every registered probe has an entry."""
    table = {name: [] for name in [*GIVEN, *PROBES]}
    for row in answers:
        table.setdefault(row.probe, []).append(row)
    return table


def evidence_lines(answers):
    """Answers in the notation of the rule cases: probe/subject outcome value."""
    import json
    for row in answers:
        subject = row.subject.replace("%", "%25").replace(",", "%2C").replace(" ", ",")
        yield "%s/%s %s %s" % (row.probe, subject, row.outcome, json.dumps(
            public(row.value), sort_keys=True, default=str))


def public(value):
    """A value without secrets: user parts and queries of URLs and paths are masked."""
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(item) for item in value]
    secret = isinstance(value, str) and re.search("://|^/", value)
    return hide_secret(value) if secret else value


# -- looking things up: the path and its places ----------------------------------------------------

def hops_to(traces, address):
    """The hops of every trace to `address`, one trace after the other."""
    return [hop for r in rows_about(traces, address) for hop in (r.value or {}).get("hops") or ()]


def hop_table(traces, address):
    """{ttl: address} of the routers on the way, from every trace to `address`."""
    return {hop["ttl"]: hop_address(hop)
            for hop in reversed(hops_to(traces, address))                # the first trace wins
            if hop.get("kind", "hop") == "hop" and hop_address(hop) not in (None, "", address)}


def hop_address(hop):
    """The router of one hop, in the shape of a trace or of a traceroute command."""
    return hop.get("address") or hop.get("addr") or (hop.get("addrs") or [None])[0]


def distance(traces, address):
    """Number of the hop that is the target itself, or None when no trace got there."""
    return min((hop["ttl"] for hop in hops_to(traces, address) if hop.get("kind") in (
        "reply", "open") or hop.get("kind") in ("icmp", None) and hop_address(hop) == address),
               default=None)


def last_hop(traces, address):
    """The highest TTL at which a router said "time exceeded" (0: none did)."""
    return max([0, *hop_table(traces, address)])


def place_of(ttl, target_ttl):
    """Where hop `ttl` is: 1 is the client's, the last before the target the server's network."""
    if ttl <= 0 or target_ttl and ttl >= target_ttl:
        return ["client" if ttl <= 0 else "server"]
    if ttl == 1:
        return ["client_network", "server_network"][:2 if target_ttl == 2 else 1]
    if target_ttl:
        return ["server_network" if ttl == target_ttl - 1 else "transit"]
    return ["transit", "server_network"] if ttl == 2 else ["server_network", "transit"]


def sender_places(sender, address, traces, own):
    """The places that an ICMP sender may be at, likeliest first."""
    if sender in own or sender == address:
        return ["client" if sender in own else "server"]
    far, hops = distance(traces, address), sorted(hop_table(traces, address).items())
    ends = [said(row, "end") or {} for row in rows_about(traces, address)]
    ttls = [ttl for ttl, router in hops if router == sender]      # or it answers no TTL but this:
    ttls += [end["ttl"] for end in ends if end.get("address") == sender and end["kind"] == "icmp"]
    return place_of(ttls[0], far) if ttls else unique(
        place_of(last_hop(traces, address) + 1, far) + ["server_network", "transit"])


def all_links(interfaces):
    """The rows of all interfaces."""
    return (about(interfaces, "all") or {}).get("interfaces", [])


def own_addresses(interfaces):
    """This host's own addresses."""
    return {cidr.partition("/")[0] for row in all_links(interfaces)
            for cidr in row["inet"] + row["inet6"]} | {"127.0.0.1", "::1"}


def interface_named(interfaces, name):
    """The row of one interface, or None."""
    return next((row for row in all_links(interfaces) if row["name"] == name), None)


def found_addresses(table):
    """The addresses that were tried, else those that the look-up gave."""
    return unique([r.subject for r in table["tcp"] + table["udp"]]
                  or [a for r in table["report"][:1] for a in r.value["goals"]]
                  or [a for r in succeeded(table["lookup"]) for a in r.value])


def path_of(answers):
    """The hops of the first traced address: [{ttl, address, rtt_ms, place}], silent ones too."""
    done = by_probe(answers)
    traces = [r for r in done["trace_tcp"] + done["trace_udp"] + done["trace_icmp"] if r.value]
    address = traces[0].subject if traces else None
    far, routers = distance(traces, address), hop_table(traces, address)
    mss, times = {}, {}
    for hop in reversed(hops_to(traces, address)):
        mss[hop["ttl"]] = mss.get(hop["ttl"]) or hop.get("mss")
        times[hop["ttl"], hop_address(hop)] = hop.get("ms") or (hop.get("rtts_ms") or [None])[0]
    if far:
        routers[far] = address
    return [{"ttl": ttl, "address": routers.get(ttl), "rtt_ms": times.get((ttl, routers.get(ttl))),
             "place": place_of(ttl, far)[0], "mss": mss.get(ttl)}
            for ttl in range(1, 1 + (far or max(routers, default=0)))]


def timings_of(answers):
    """Milliseconds of each phase; None where there was none."""
    table = by_probe(answers)

    def first(name, key):
        return next((row.value[key] for row in succeeded(table[name])
                     if said(row, key) is not None), None)
    return {"dns": next((r.ms for r in table["lookup"] if r.outcome != "unknown"), None),
            "tcp": first("tcp", "ms"), "tls": first("tls", "ms") or first("http", "tls_ms"),
            "first_byte": first("http", "first_byte_ms")}


# -- reports of others: two ends, two times --------------------------------------------------------

def read_files(paths, system):
    """Report files -> (answers `report`, one for each target in them; {path: why not})."""
    rows, useless = [], collections.OrderedDict()
    for path in paths:
        question = ask(path, native("reports", path, parse=parse_reports))
        row = answer("report", question, system, None)
        if row.outcome == "ok":
            rows += [row._replace(value=value) for value in row.value]
        else:
            useless[path] = row.tried[-1][1].replace("not understood: ", "") if row.tried else "?"
    return rows, useless


def host_key(value):
    """Which host a report comes from: containers may share a name, and have other addresses."""
    return value["host"], min(value["addresses"], key=is_address, default="?")


def tell_apart(rows):
    """The rows with their hosts' addresses behind names that several hosts have."""
    keys = {host_key(row.value) for row in rows}
    often = collections.Counter(name for name, _ in keys)
    return [row._replace(value=dict(row.value, host="%s (%s)" % host_key(row.value)))
            if often[row.value["host"]] > 1 else row for row in rows]


def is_server_end(value):
    """Does a report look at the service from the service's own host?"""
    own, servers = set(value["addresses"]), {flow["server"] for flow in value["flows"]}
    return value["mode"] in ("server", "listen") or value["mode"] == "capture" and bool(
        own & set(value["goals"]) or value["goal"] == "-" and (not servers or own & servers))


def join_reports(rows):
    """Answers `report` -> ([the answers about one host and target, each with its role], the
    servers' answers that belong to none).  Without any client, the servers speak for themselves."""
    rows = sorted(tell_apart(rows), key=lambda row: row.value["began_s"])
    ends, clients = collections.OrderedDict(), collections.OrderedDict()
    for row in rows:
        value = row.value
        if is_server_end(value):
            for name in unique([re.split("[ .]", value["host"])[0]] + value["addresses"]
                               + value["goals"]):
                ends.setdefault((name, value["port"]), []).append(row)
        else:
            clients.setdefault((host_key(value), value["goal"], value["port"]), []).append(row)
    groups = [with_roles(runs, ends) for runs in clients.values()]
    used = {row.subject for group in groups for _, row in group}     # files
    spare = [row for row in rows if is_server_end(row.value) and row.subject not in used]
    if not groups:
        groups, spare = [[("client", row)] for row in spare], []
    return [[row._replace(value=dict(row.value, role=role)) for role, row in group]
            for group in groups], spare


def with_roles(runs, ends):
    """A client's last run, the one to compare it with, the server's reports nearest in time."""
    last = runs[-1].value
    other = [run for run in runs[:-1] if (run.value["code"] == "ok") != (last["code"] == "ok")]
    here = last["addresses"] if any(a in ("127.0.0.1", "::1") for a in last["goals"]) else []
    names = unique(last["goals"] + here + [last["goal"].partition(".")[0]] + [
        flow["server"] for flow in last["flows"]])
    found = {}
    for row in [row for name in names for port in (last["port"], None)
                for row in ends.get((name, port), ())]:
        if row.value["mode"] == "listen" and is_udp(row.value) != is_udp(last):
            continue
        best = found.setdefault(row.value["mode"], row)
        if apart_s(last, row.value) < apart_s(last, best.value):
            found[row.value["mode"]] = row
    return [("client", runs[-1])] + [("before", row) for row in (other or runs[:-1])[-1:]] + [
        ("server", row) for row in found.values()]


def is_udp(value):
    """Is a report about a UDP service?"""
    return value["protocol"] in PROTOCOLS and PROTOCOLS[value["protocol"]][1] == "udp"


def clock_offset_s(client, server):
    """How far the server's clock is ahead of the client's, by what both have seen; else 0."""
    for ours, theirs in shared_flows(client, server):
        return theirs["began_s"] - ours["began_s"]
    told = client["greeted"]
    if told and server["mode"] == "listen":
        return min(0, told["at_s"] - client["began_s"]) + max(0, told["at_s"] - client["ended_s"])
    return 0


def shared_flows(client, server):
    """[(flow, flow)] that both have captured: the same SYN has the same number, behind NAT too."""
    known = {flow["isn"]: flow for flow in client["flows"] if flow["isn"] and flow["began_s"]}
    return [(known[flow["isn"]], flow) for flow in server["flows"]
            if flow["isn"] in known and flow["began_s"]]


def apart_s(client, server):
    """Seconds between the ends of two reports' times; 0 where they overlap."""
    offset_s = clock_offset_s(client, server)
    return max(0, server["began_s"] - offset_s - client["ended_s"],
               client["began_s"] - server["ended_s"] + offset_s)


def with_role(report, role):
    """The reports that have this part in what was joined."""
    return [row for row in report if row.value["role"] == role]


def ends_of(report):
    """The client's report beside each of the server's: who they are, how far apart in time, and
    whether the server looked when a SYN of the client would have been seen."""
    for first, row in [(first, row) for first in with_role(report, "client")
                       for row in with_role(report, "server")]:
        client, server = first.value, row.value
        offset_s = clock_offset_s(client, server)
        yield row._replace(value=dict(
            client=client, server=server, apart_s=apart_s(client, server), proof=[first, row],
            here=set(client["sources"] + client["addresses"]),
            witnessed=server["began_s"] - offset_s <= client["ended_s"] + HALF_OPEN_S
            and server["ended_s"] - offset_s >= client["began_s"] - CLOCK_STEP_S))


def differences(before, now):
    """What two runs of one host and target saw differently: {what: (then, now)}."""
    facts = [dict(run["facts"], way=" ".join(hop["address"] or "*" for hop in run["path"]))
             for run in (before, now)]
    found = {name: (facts[0][name], facts[1][name]) for name in sorted(facts[0])
             if name in facts[1] and facts[0][name] != facts[1][name]}
    # A trace to a host that fails is shorter: that is the failure, and no change of the way.
    if found.get("way") and min(found["way"], key=len) in max(found["way"], key=len):
        del found["way"]
    return found


# == 8 rules: what the answers mean ===============================================================
#
# A rule's parameters name what it looks at: the answers of a probe without those that are
# `unknown`, or one of the VIEWS; where there are none it says nothing.  With `each` it judges one
# answer at a time, `row`, and returns what its words need to blame it (True: nothing), or not.
#
# Its card begins with its codes (where there are several it says `code=` when it fires) and holds
# `where` the fault usually is, what it `hides` as its consequences, its words, and the cases that
# prove it (run as tests): where it `fires` and is `quiet`, both after what is `given`; answers are
# parted by ` ; ` in the notation of the evidence, where key=value changes one part of an
# unremarkable answer (tests/support.py; A is the target, G its gateway, R and S resolvers, N a
# name, P a proxy).  A finding about one address has it as `scope`.

Rule = collections.namedtuple(
    "Rule", "name codes function sees each where severity hides says fix ask sure layer")
RULES = collections.OrderedDict()
CARD = re.compile(r"\s+(where|each|severity|sure|hides|means|says|fix|ask|given|fires|quiet): ")
# What `hides` says in capitals, from the port upwards; AWAY needs the way out of this host.
CODE_GROUPS = dict(line.split(": ") for line in """\
PORTS: tcp.refused tcp.rejected tcp.filtered tcp.reset tcp.closed udp.closed udp.no_reply
PORT_ONLY: PORTS path.dead_end
PATH: path.net_unreachable path.host_unreachable path.loop path.mtu_blackhole path.loss
DNS: dns.unconfigured dns.unreachable dns.failing dns.not_found dns.no_address dns.slow
CERTIFICATE: tls.expired tls.not_yet_valid tls.self_signed tls.untrusted_ca tls.incomplete_chain
TLS: CERTIFICATE tls.name_mismatch tls.version tls.cipher tls.client_cert tls.sni tls.not_tls
HTTP: http.client_error http.server_error http.gateway_error http.no_response http.not_http
WEB: HTTP http.redirect_loop http.https_expected
ABOVE_TCP: TLS tls.handshake_cut tls.handshake_stalled WEB
SERVICE: ABOVE_TCP service.silent service.unexpected service.error
THROUGH: PORT_ONLY PATH SERVICE
BEYOND: THROUGH proxy.unreachable
AWAY: BEYOND DNS dns.inconsistent""".splitlines())

ALIVE = ("REACHABLE", "ANSWERED", "complete")       # what a neighbor that answers looks like,
DEAD = ("FAILED", "INCOMPLETE", "incomplete")       # one that does not,
BELIEVED = ("CACHED", "DELAY", "PROBE")             # and one that was not asked lately


def parameters(function):
    """The names of a function's parameters."""
    return function.__code__.co_varnames[:function.__code__.co_argcount]


def codes_of(words):
    """The codes that a card names, those of its groups too."""
    return [code for word in words.split() for code in (
        codes_of(CODE_GROUPS[word]) if word in CODE_GROUPS else [word])]


def rule(card):
    """Register a rule by its card."""
    codes, *parts = CARD.split(card)
    lines = [(key, " ".join(text.split())) for key, text in zip(parts[::2], parts[1::2])]
    has = dict(dict(severity="fail", sure="certain", hides="", means=""), **dict(lines))
    given = has["given"] + " ; " if "given" in has else ""
    cases = ["%s: %s" % (key, given + text) for key, text in lines if key in ("fires", "quiet")]

    def register(function):
        sees, each = parameters(function), has.get("each")
        function.__doc__ = "\n    ".join([function.__doc__ or has["means"], ""] + cases)
        RULES[function.__name__] = Rule(
            function.__name__, codes.split(), function, sees[1:] if each else sees, each,
            has["where"].split(), has["severity"], codes_of(has["hides"]), has["says"],
            has["fix"], has.get("ask"), has["sure"], len(RULES))
        return function
    return register


def sign(card, judge):
    """Register a rule that judges one answer in a single expression."""
    judge.__name__ = "rule_%s_%s" % (
        card.split()[0].replace(".", "_"), re.search(r"each: (\w+)", card).group(1))
    rule(card)(judge)


class Seen(dict):
    """Usable answers by probe, and views of them, each made when it is first looked at."""

    def __missing__(self, name):
        self[name] = VIEWS[name](*[self[need] for need in parameters(VIEWS[name])])
        return self[name]


# -- this host (link, address, route, firewall) and its segment -----------------------------------

@rule("""link.down  where: client  hides: AWAY address.missing route.missing gateway.silent
      segment.isolated neighbor.silent firewall.local
    says: The interface {dev} is {state}: nothing can leave this host by it.
    fix: `ip link set {dev} up`; check its cable, switch port or virtual network card.
    fires: iface/eth0 up=false ; route/A ok error=ENETUNREACH
    quiet: iface/eth0 ; route/A ok error=ENETUNREACH""")
def rule_link_down(wish, interfaces, interfaces_now, failing):
    """The interface that should carry the connection is down or has no carrier."""
    proof = succeeded(interfaces_now) or interfaces
    down = [link for link in real_links(proof) if not is_up(link)]
    only = [] if usable_links(proof) else down         # nothing else leads out
    for row in failing if wish["host"] else proof:
        found = [d for d in down if d["name"] == said(row, "dev") and not is_local_bridge(d)]
        if not wish["host"] or said(row, "error"):
            found = wish["host"] and [d for d in down if d["inet"] or d["inet6"]] or only
        for link in found[:1]:
            yield blame(row, proof, dev=link["name"], state="switched off (down)"
                        if not link["up"] else "without carrier (no cable or peer)")


@rule("""address.missing  where: client
    hides: AWAY route.missing route.overlap gateway.silent host.exhausted
    says: {dev} is up but has no usable IPv{version} address, so {address} cannot be reached.
    fix: Get an address: check the DHCP lease or the static configuration of {dev}.
    fires: iface/eth0 inet=["169.254.7.7/16"] ; route/A ok error=ENETUNREACH
    quiet: iface/eth0 ; route/A ok error=ENETUNREACH""")
def rule_address_missing(wish, interfaces, failing, tcp):
    """No interface has an address of the needed family (169.254/16 and fe80::/10 are none)."""
    links = [link["name"] for link in real_links(interfaces) if is_up(link)]
    own = [address for link in all_links(interfaces) for address in far_reaching(link)]
    if links and wish["mode"] != "target" and not own:
        yield dict(dev=links[0], version="4 or 6", address="anything", proof=interfaces)
    for row in failing if links else ():
        version = is_address(row.subject)
        no_port = saying(rows_about(tcp, row.subject), "errno", "EADDRNOTAVAIL")
        if (row.value["error"] or no_port) and version not in map(is_address, own):
            yield blame(row, interfaces, dev=links[0], version=version,
                        severity="info" if version == 6 and not wish["literal"] else "fail")


@rule("""address.missing  where: client  severity: warn  hides: AWAY route.missing
    says: Another host on the segment of {dev} already uses {twin} (duplicate address detection), so
      this host may not.
    fix: Give {dev} another address, or find the other host.
    fires: iface/eth0 flags_of={"2001:db8:1::10/64":["tentative","dadfailed"]}
    quiet: iface/eth0 flags_of={"2001:db8:1::10/64":["tentative"]}""")
def rule_address_duplicate(interfaces, failing):
    """The kernel keeps an IPv6 address for which somebody else answered unused (RFC 4862 5.4)."""
    hit = [row for row in failing if is_address(row.subject) == 6]
    for link in real_links(interfaces):
        for cidr in [c for c, flags in (link.get("flags_of") or {}).items()
                     if "dadfailed" in flags]:
            yield dict(blame(hit[0], severity="fail") if hit else {}, dev=link["name"],
                       twin=cidr.partition("/")[0], proof=hit[:1] + interfaces)


@rule("""route.missing  where: client  hides: gateway.silent AWAY
    says: This host has no route to {address} (network unreachable, at once).
    fix: Add the default route or the missing route: see `ip route`; is the VPN up?
    fires: route/A ok error=ENETUNREACH   quiet: route/A ok""")
def rule_route_missing(wish, failing, tcp, routes):
    """The kernel finds no route: ENETUNREACH at once, and no packet is sent."""
    table = [r for part in succeeded(routes) for r in part.value["routes"]]
    if routes and wish["mode"] == "host" and not any(
            r["dst"] == "default" and r.get("type") in (None, "unicast") for r in table):
        yield dict(address="anything beyond its own segments: no default route", proof=routes)
    for row in saying(failing, "error", "ENETUNREACH", "ENETDOWN", "ESRCH"):
        yield blame(row, rows_about(tcp, row.subject))


@rule("""route.overlap  where: client  each: ways  sure: likely
    hides: BEYOND neighbor.silent gateway.silent segment.isolated
    says: {address} falls into a local range, {net} on {dev}, and nobody answers for it there.
    fix: Compare `ip route get {address}` with the ranges used here; change those or the mask.
    fires: iface/br-1 inet=["192.0.2.9/16"] ; egress/A ok dev=br-1 ; neighbor/A,br-1 ok state=FAILED
    quiet: iface/eth0 ; egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED""")
def rule_route_overlap(row, interfaces, neighbor, tcp, trace_udp):
    """A bridge, container or VPN range, or too wide a mask, catches a far address."""
    dev, goal, talks = row.value["dev"], row.subject, rows_about(tcp, row.subject)
    link = interface_named(interfaces, dev) or {"name": dev, "inet": [], "inet6": []}
    bridge = is_local_bridge(link)
    nets = [c for c in link["inet"] + link["inet6"] if in_network(goal, c)]
    wide = [c for c in nets if ":" not in c and int(c.partition("/")[2] or 32) <= WIDE_PREFIX_V4]
    dead = [r for r in saying(neighbor, "state", *DEAD) if r.value["ip"] == goal]
    mute = met(talks, "timeout") if bridge and not hop_table(trace_udp, goal) else []
    if row.value["via"] or met(talks, "ok") or not (mute or dead and (wide or bridge)):
        return None
    return dict(net=(nets or ["a route of its own"])[0], dev=dev, proof=dead + mute,
                confidence="likely" if dead and bridge else "possible")


sign("""route.blocked  where: client  each: failing  hides: AWAY
    means: A blackhole, unreachable or prohibit route: EINVAL, EHOSTUNREACH or EACCES at once.
    says: This host's own routing refuses {address}: a {kind} route or rule.
    fix: Find it with `ip route show table all | grep {kind}` and `ip rule`; remove it.
    fires: route/A ok error=EINVAL   quiet: route/A ok error=ENETUNREACH""",
    lambda row, tcp: row.value["error"] in BLOCKING_ROUTES and dict(
        kind=BLOCKING_ROUTES[row.value["error"]], proof=rows_about(tcp, row.subject)))
sign("""host.exhausted  where: client  each: knock  hides: AWAY
    means: The kernel refuses a new socket or port: EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS.
    says: This host has run out of {what} ({errno}, before any packet was sent).
    fix: {cure}   fires: knock/A denied errno=EMFILE   quiet: knock/A denied errno=EACCES""",
    lambda row: EXHAUSTED.get(said(row, "errno")))
sign("""host.exhausted  where: client  each: silent  sure: likely  hides: AWAY firewall.local
    means: The connection table of netfilter is full; the kernel log says 'table full'.
    says: This host tracks as many connections as it may ({full}): new ones are dropped.
    fix: Raise net.netfilter.nf_conntrack_max, or find who opens so many (`conntrack -L`).
    fires: conntrack/count ok entries=65536 ; conntrack/max ok entries=65536 ; tcp/A timeout
    quiet: conntrack/count ok entries=100 ; conntrack/max ok entries=65536 ; tcp/A timeout""",
    lambda row, conntrack, full: full and dict(full=full, proof=conntrack))


@rule("""firewall.local  where: client  hides: AWAY gateway.silent segment.isolated
    says: This host's own firewall stops the way to {address}: {how}.
    fix: Allow {address} port {port} here (`nft list ruleset`, `iptables -S OUTPUT`).
    fires: tcp/A timeout info={"retrans":0,"total_retrans":3}
    fires: iface/eth0 ; tcp/A refused icmp=3/3@198.51.100.9
    quiet: tcp/A timeout info={"retrans":1,"total_retrans":3}
    quiet: iface/eth0 ; tcp/A refused icmp=3/3@A""")
def rule_firewall_local(tcp, stopped, udp, dns):
    """Refused by our own address, EPERM, or packets that never left (tcpi_retrans stays 0)."""
    forbidden = "sending is not permitted (EPERM)"
    for row in [r for r in tcp if r.subject in stopped]:
        yield blame(row, how=stopped[row.subject])
    for row in saying(udp, "error", "EPERM"):
        yield blame(row, how=forbidden)
    mute = saying(dns, "error", "EPERM")
    if mute and len(mute) == len(dns):
        yield dict(address="the resolver " + host_of(mute[0]), port=53, how=forbidden, proof=mute)


sign("""firewall.local  where: client  each: undelivered  sure: likely  hides: BEYOND
    means: Packets come and are not delivered, with our SYNs and not without: INPUT, rp_filter.
    says: Answers arrive at this host and its own {what} drops them ({lost} packets received and
      not delivered while {address} seemed silent).
    fix: {cure}   given: tcp/A timeout   fires: unheard/A ok idle=0 sent=6 lost=6
    quiet: unheard/A ok idle=4 sent=6 lost=7""",
    lambda row, moved: row.value["lost"] - row.value["idle"] >= row.value["sent"] - 1 and dict(
        INBOUND[any(said(m, "TcpExtIPReversePathFilter") for m in moved)], proof=moved))
sign("""segment.isolated  where: client_network client  each: silent_hops  sure: likely
    hides: gateway.silent neighbor.silent AWAY  means: At layer 2 everybody who was asked fails.
    says: Nobody on the segment of {dev} answers: neither {hop} nor any of {count} others.
    fix: Wrong VLAN, subnet or cable? Compare {dev} with a working neighbor; check the switch.
    given: egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED
    fires: segment/G,eth0 ok a=FAILED b=FAILED c=INCOMPLETE d=FAILED
    quiet: segment/G,eth0 ok a=FAILED b=REACHABLE c=INCOMPLETE d=FAILED""",
    lambda row, tcp, segment: row.value["count"] >= 4 and not row.value["answering"]
    and hop_silence(row, segment + tcp))
sign("""gateway.silent  where: client_network client  each: silent_hops  hides: AWAY
    means: Without the gateway nothing leaves the segment.
    says: The gateway {hop} does not answer on {dev} (layer 2: {state}).
    fix: Check the gateway's address in the route, that router, and the VLAN of {dev}.
    ask: Is the router {hop} up, and does it have an interface in this VLAN?
    given: egress/A ok via=G   fires: neighbor/G,eth0 ok state=FAILED
    quiet: neighbor/G,eth0 ok state=REACHABLE""",
    lambda row, tcp, gateways: row.value["ip"] in gateways and hop_silence(
        row, tcp, "certain" if row.value["company"] else "likely"))
sign("""neighbor.silent  where: server client_network  each: silent_hops  sure: likely  hides: AWAY
    means: The target should be next door, and nobody answers ARP or neighbor discovery for it.
    says: {hop} is on this host's own segment ({dev}) and does not answer at layer 2 ({state}).
    fix: Is {hop} up and in the VLAN of {dev}? If it is elsewhere, the mask or a route is wrong.
    fires: egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED
    quiet: egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED""",
    lambda row, tcp, goals: row.value["ip"] == row.subject in goals
    and row.value["state"] in DEAD and hop_silence(row, tcp))


# -- the name -------------------------------------------------------------------------------------

@rule("""dns.unconfigured  where: client  hides: dns.unreachable dns.failing dns.not_found
    says: No resolver is configured: /etc/resolv.conf names none, so no name can be looked up.
    fix: Add a `nameserver` line to /etc/resolv.conf, or repair what writes it (DHCP).
    fires: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf ok nameservers=[]
    fires: target/- ok host=null mode=host ; resolv_conf/resolv.conf ok nameservers=[]
    quiet: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf ok
    quiet: lookup/N ok ["192.0.2.7"] ; resolv_conf/resolv.conf ok nameservers=[]""")
def rule_dns_unconfigured(wish, resolv_conf, lookup):
    """resolv.conf is absent or names nobody; glibc then asks 127.0.0.1."""
    conf, failed = about(resolv_conf, "resolv.conf"), [r for r in lookup if r.outcome != "ok"]
    if conf and not conf.get("nameservers") and (failed or wish["mode"] == "host"):
        yield dict(proof=failed + resolv_conf)


@rule("""dns.unreachable  where: dns transit
    says: No configured resolver answers ({servers}): {how}.
    fix: Is the resolver's address right and port 53 allowed on the way? Try `dig @{server} {name}`.
    ask: Is the resolver {server} up, and may this host ask it?
    fires: lookup/N refused error=EAI_AGAIN ; dns/R,A,N timeout
    quiet: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok rcode=NXDOMAIN""")
def rule_dns_unreachable(wish, dns, general_dns, lookup, own, gateways):
    """Silence or ICMP from every resolver; the system's look-up failed as well."""
    rows = dns or (general_dns if wish["mode"] == "host" else [])
    if not rows or met(rows, "ok") or succeeded(lookup):
        return
    servers = unique(map(host_of, rows))
    errors = [(host_of(r), e) for r in rows for e in said(r, "icmp") or () if e["from"] not in own]
    how, places = "silence", ["dns", "transit", "server_network"]
    for server, error in errors[:1]:
        sender = error["from"]
        how = "%s says %s" % (sender, icmp_words(sender, error))
        places = ["dns"] if sender == server else [
            "client_network" if sender in gateways else "transit", "dns"]
    if not errors and met(rows, "refused"):
        how, places = "its port is closed", ["dns"]
    if servers[0].startswith("127."):
        places = ["dns", "client"]
    yield dict(servers=", ".join(servers), server=servers[0], how=how, suspects=places, proof=rows,
               name=wish["host"] or GENERAL_NAME, confidence="certain" if errors else "likely")


@rule("""dns.failing  where: dns  hides: dns.unreachable
    says: The resolver {server} answers {rcode} for {name}{contrast}.
    fix: Ask the operator of {server}: {advice}.
    ask: Why does {server} answer {rcode} for {name}?
    fires: lookup/N refused error=EAI_AGAIN ; dns/R,A,N ok rcode=SERVFAIL
    quiet: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok rcode=NXDOMAIN""")
def rule_dns_failing(wish, dns, lookup, general_dns):
    """SERVFAIL, REFUSED or nonsense, and no resolver that knows better."""
    rows = succeeded(dns) or (succeeded(general_dns) if wish["mode"] == "host" else [])
    if not rows or saying(rows, "rcode", "NOERROR", "NXDOMAIN") or (
            wish["host"] and not met(lookup, "refused", "timeout")):
        return
    contrast, advice = "", "may this host use it, and does it reach its upstream"
    if saying(general_dns, "rcode", "NOERROR"):
        contrast = ", and answers other names"
        advice = "the zone of this name is broken (lame delegation, DNSSEC)"
    server, _, name = rows[0].subject.split()[:3]
    yield dict(server=server, rcode=rows[0].value["rcode"], name=name, contrast=contrast,
               advice=advice, proof=rows)


sign("""dns.failing  where: client  each: unresolved  sure: likely
    means: A direct question works and getaddrinfo does not: stub, nsswitch or cache on this host.
    says: The resolvers know {host} ({known}), but this host's own look-up fails ({error}).
    fix: Look at /etc/nsswitch.conf (hosts: files dns), a local cache (nscd), /etc/resolv.conf.
    fires: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok addresses=["192.0.2.7"]
    quiet: lookup/N ok ["192.0.2.7"] ; dns/R,A,N ok addresses=["192.0.2.7"]""",
    lambda row, dns, known: known and dict(known=known[0], proof=dns))
sign("""dns.not_found  where: dns  each: unresolved
    means: NXDOMAIN from the resolvers: every name that the search list allows is unknown.
    says: The name {host} does not exist ({who} NXDOMAIN).
    fix: Check the spelling and the search list; if the name is new, ask for the record.
    ask: Please create or correct the record {host}.
    given: lookup/N refused error=EAI_NONAME   fires: dns/R,A,N ok rcode=NXDOMAIN
    quiet: dns/R,A,N ok""",
    lambda row, dns, absent: (
        absent or not dns and row.value["error"] == "EAI_NONAME") and dict(
            who=host_of(absent[0]) + " says" if absent else "the look-up says", proof=dns,
            confidence="certain" if absent else "likely"))
sign("""dns.no_address  where: dns  each: unresolved  means: NOERROR, no address of that family.
    says: The name {host} exists but has no {kind}.
    fix: Ask for the missing record of {host}, or use the family or name that has one.
    given: lookup/N refused error=EAI_NONAME   fires: dns/R,A,N ok
    quiet: dns/R,A,N ok rcode=NXDOMAIN""",
    lambda row, wish, dns, known: not known and saying(
        dns, "rcode", "NOERROR") and dict(kind=ADDRESS_KINDS[wish["family"]], proof=dns))
sign("""dns.slow  where: dns  each: lookup  severity: warn  sure: likely
    means: A dead first resolver costs its whole timeout at every look-up; a slow one costs less.
    says: Looking up {host} took {seconds:.1f} s{dead}.
    fix: Put a resolver that answers first in /etc/resolv.conf, or repair the slow one.
    given: lookup/N ok ["192.0.2.7"]
    fires: dns/R,A,N timeout ; dns/S,A,N ok addresses=["192.0.2.7"]
    quiet: dns/S,A,N ok addresses=["192.0.2.7"]""",
    lambda row, dns, dead_first: (dead_first or (row.ms or 0) > DNS_SLOW_MS) and (
        row.outcome == "ok" or succeeded(dns)) and dict(
            seconds=(row.ms or 0) / 1000, proof=dead_first, dead="; the first resolver, %s, is"
            " silent" % host_of(dead_first[0]) if dead_first else ""))


@rule("""dns.failing  where: dns  each: lookup  sure: likely  hides: THROUGH
    says: The resolvers give {host} the address {bogus}, which is {meaning}.
    fix: Is {host} on a block list, or its record wrong? Compare with another resolver.
    fires: lookup/N ok ["127.0.0.1"] ; dns/R,A,N ok addresses=["127.0.0.1"]
    quiet: lookup/N ok ["192.0.2.7"] ; dns/R,A,N ok addresses=["192.0.2.7"]""")
def rule_dns_bogus(row, wish, known, tcp):
    """A sinkhole or nonsense: no other host has a loopback or unspecified address."""
    for address in row.value if row.outcome == "ok" and "." in (wish["host"] or "") else ():
        if address in known and not met(rows_about(tcp, address), "ok"):
            if re.match(r"127\.|0\.0\.0\.0$|::1?$", address):
                return dict(bogus=address, meaning="this host itself")
            if any(in_network(address, net) for net in PRIVATE_NETWORKS):
                return dict(bogus=address, severity="info", hides="", meaning="private: right only"
                            " inside the network that it belongs to (VPN, split DNS?)")
    return None


@rule("""dns.hosts_override  where: client  severity: warn  hides: BEYOND
    says: /etc/hosts gives {host} the address {address}; the resolvers say {other}{so}.
    fix: Remove or correct the line for {host} in /etc/hosts.
    given: hosts_file/N ok [{"address":"A","names":["N"]}]   fires: dns/R,A,N ok addresses=["G"]
    quiet: dns/R,A,N ok addresses=["A"]""")
def rule_dns_hosts_override(wish, hosts_file, dns, tcp, control_tcp):
    """The hosts file wins over DNS; it is the cause when its address fails and DNS's works."""
    ours, theirs = hosts_rows(hosts_file, wish["host"]), dns_addresses(dns)
    same = set(map(is_address, ours)) & set(map(is_address, theirs))
    if not same or set(ours) & set(theirs):
        return
    failed = [r for r in tcp if r.subject in ours and r.outcome != "ok"]
    better = met(control_tcp, "ok")
    words = dict(severity="warn", so="", hides="")
    if failed and better and not met(tcp, "ok"):
        words = dict(severity="fail", so=", and only that one answers")
    yield dict(words, address=ours[0], other=", ".join(theirs[:3]),
               proof=hosts_file + failed + better)


@rule("""dns.inconsistent  where: dns  severity: warn  sure: likely
    says: The resolvers disagree about {name}: {views}.
    fix: Ask the operators of both; one of them has old or private data.
    given: dns/R,A,N ok addresses=["192.0.2.7"]   fires: dns/S,A,N ok rcode=NXDOMAIN
    quiet: dns/S,A,N ok addresses=["192.0.2.7"]""")
def rule_dns_inconsistent(dns):
    """Two configured resolvers give different answers to the same question."""
    questions = collections.OrderedDict()
    for row in saying(succeeded(dns), "rcode", "NOERROR", "NXDOMAIN"):
        questions.setdefault(tuple(row.subject.split()[1:3]), []).append(row)
    for (_, name), rows in questions.items():
        first, *others = [set(row.value["addresses"]) for row in rows]
        if any(not found & first for found in others if found or first):
            yield dict(name=name, proof=rows, views="; ".join("%s says %s" % (
                host_of(r), ", ".join(r.value["addresses"][:2]) or r.value["rcode"]) for r in rows))
            return


# -- the way and the port -------------------------------------------------------------------------

@rule("""path.loop  where: transit  each: icmp_errors  hides: PORT_ONLY
    says: Packets to {address} go round in circles{between}: {router} says their TTL ran out.
    fix: Correct the routes of {routers}: each sends {address} to the other.
    fires: tcp/A unreachable icmp=11/0@G   quiet: tcp/A unreachable icmp=3/1@G""")
def rule_path_loop(row, traces):
    """Time exceeded at full TTL (ICMP 11/0, ICMPv6 3/0): a routing loop."""
    hops = hop_table(traces, row.subject)
    routers = list(hops.values())
    again = sorted({a for a in routers if routers.count(a) > 1})
    places = ["client_network"] * (hops.get(1) in again) + ["transit", "server_network"]
    return row.value["kind"] in TIME_EXCEEDED and dict(
        sender_facts(row, traces), suspects=places,
        between=", between %s" % " and ".join(again) if again else "",
        routers=" and ".join(again or [row.value["router"]]))


sign("""path.net_unreachable  where: transit  each: icmp_errors  hides: PORT_ONLY
    means: A router has no route: ICMP 3/0, 3/6, 3/11; ICMPv6 1/0.
    says: {router} has no route to {address} ({words}).
    fix: Correct the route of {router} to the network of {address}.
    fires: tcp/A unreachable icmp=3/0@G   quiet: tcp/A unreachable icmp=3/9@G""",
    lambda row, traces: row.value["kind"] in NET_UNREACHABLE and sender_facts(row, traces))
sign("""path.host_unreachable  where: server server_network  each: asked_in_vain  hides: PORT_ONLY
    means: The last router asked for the server's MAC in vain: ICMP 3/1 (v6 1/3) after about 3 s.
    says: The last router, {router}, says that {address} does not answer there ({words} after
      {seconds:.1f} s).
    fix: Is {address} up and in the right VLAN? Check from a host next to it.
    fires: tcp/A unreachable icmp=3/1@G ms=3080   quiet: tcp/A unreachable icmp=3/13@G""",
    lambda row, traces: dict(sender_facts(row, traces, "server server_network", is_late(row)),
        seconds=(row.value["ms"] or 0) / 1000, confidence="certain" if is_late(row) else "likely"))
sign("""tcp.rejected  where: server_network  each: rejections  hides: path.dead_end
    means: An ICMP 'no' with its sender, who is the firewall: 3/3, 3/9, 3/10, 3/13; v6 1/1, 1/4-6.
    says: A firewall rejects {protocol} port {port} on {address}: {router} answers '{words}'{own}.
    fix: Allow {here} to {address} port {port} in the rules of {router}.
    fires: tcp/A refused icmp=3/3@A   quiet: tcp/A refused""",
    lambda row, wish, traces, alive: not (wish["port"] is None and row.subject in alive) and dict(
        sender_facts(row, traces), protocol=row.probe,
        own=" (the server's own firewall)" * (row.value["router"] == row.subject)))


@rule("""tcp.refused  where: service server  each: connections  hides: path.loss
    says: {address} refuses port {port} with a real reset: {why}.
    fix: {where}, `ss -ltnp sport = :{port}` shows who listens. Start the service, let it listen on
      {address}, or correct the port.
    fires: tcp/A refused   quiet: tcp/A refused icmp=3/3@A""")
def rule_tcp_refused(row, stopped, own, trace_tcp, other_traces, reset_ttl):
    """A RST and no ICMP: nothing listens there, or a box on the way answers in its place."""
    if row.outcome != "refused" or row.value["icmp"] or row.subject in stopped:
        return None
    far = distance(other_traces, row.subject)
    boxes = reset_hops(row.subject, trace_tcp, reset_ttl, far)
    where, places, sure = "On the server", ["service", "server"], "likely"
    why = "nothing listens there, or a firewall answers in its place"
    if row.subject in own:
        where, places, sure = "On this host", ["service"], "certain"
        why = "nothing listens there on this host"
    elif boxes:
        places, sure = unique(p for hop in boxes for p in place_of(hop, far)), "certain"
        why = "it comes from hop %s, before the server (hop %d): a firewall" % (
            " or ".join(map(str, boxes)), far)
    return dict(why=why, where=where, suspects=places, confidence=sure,
                proof=rows_about(trace_tcp + reset_ttl, row.subject))


@rule("""tcp.filtered  where: server server_network  each: silent  sure: likely
    hides: path.dead_end
    says: Port {port} on {address} is silent ({syns} SYNs in {seconds:.1f} s), though
      {contrast}{where}.
    fix: Allow {here} to {address} port {port} at {spots}. On the server `tcpdump -ni any tcp port
      {port} and host {here}` shows whether the SYN arrives.
    given: tcp/A timeout   fires: other_ports/A,80 refused   quiet: other_ports/A,80 timeout""")
def rule_tcp_filtered(row, wish, trace_tcp, other_traces, ping, other_ports, egress, present):
    """This port is silent while the host answers otherwise, or other packets get further."""
    address = row.subject
    stop, further = last_hop(trace_tcp, address), last_hop(other_traces, address)
    contrast = present.get(address)
    if not contrast and further > stop and trace_tcp:
        contrast = "other packets get to hop %d and this port only to hop %d" % (further, stop)
    if not contrast or wish["port"] is None:
        return None
    far, traced = distance(other_traces, address), rows_about(trace_tcp, address)
    places, where = ["server", "server_network"], ""
    if is_next_door(egress, address):
        places = ["server"]
    elif traced and (stop < far - 1 if far else further > stop):
        places = unique(place_of(max(stop, 1), far) + place_of(stop + 1, far))
        where = "; it is lost at hop " + ("%d or %d" % (stop, stop + 1) if stop else "1")
    return dict(contrast=contrast, where=where, suspects=places,
                spots=" or ".join(PLACE_WORDS[place] for place in places),
                syns=1 + (row.value["info"].get("total_retrans") or 0),
                seconds=row.value.get("waited_s") or PATIENCE_S,
                proof=rows_about(other_traces + ping + other_ports, address))


@rule("""path.dead_end  where: transit server_network server  each: silent  sure: likely
    says: Nothing answers beyond {where}: no protocol gets an answer from {address}.
    fix: Is the server up? There, `tcpdump -ni any host {here}` decides: nothing arrives (lost
      going), or the answer is lost (its gateway, the way back).
    ask: Packets from {here} to {address} are lost behind {where}: please look there.
    given: tcp/A timeout   fires: trace_udp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]
    quiet: trace_udp/A ok hops=[{"ttl":2,"address":"A","kind":"reply"}]""")
def rule_path_dead_end(row, traces, present):
    """Silence by every protocol; the last router that still answers is the last known as good."""
    address, last = row.subject, last_hop(traces, row.subject)
    where = "hop %d, %s" % (last, hop_table(traces, address)[last]) if last else \
        "this host's first hop"
    places = ["client_network", "transit", "server_network", "server"][:3 if last else 4]
    if last > 1:
        places = unique(place_of(last, None) + ["server_network", "server"])
    return address not in present and dict(where=where, suspects=places, proof=rows_about(
        traces, address), confidence="likely" if last else "possible")


@rule("""path.mtu_blackhole  where: transit server_network client_network
    hides: tls.handshake_stalled http.no_response service.silent path.loss
    says: Small packets pass and large ones vanish on the way to {address}: {how}.
    fix: Let ICMP 'fragmentation needed' (3/4; v6 2/0) pass, or clamp the MSS at the tunnel:
      `iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu`.
    fires: tls/A ok ended=stalled ; small/A ok ended=done ; hello/A,bare ok ended=silent
    fires: transfer/A ok ended=silent bytes=9 ; transfer/A,clamped ok ended=closed
    quiet: tls/A ok ended=stalled ; small/A ok ended=silent ; hello/A,bare ok ended=silent
    quiet: tls/A ok ended=stalled ; small/A ok ended=done ; hello/A,bare ok ended=done""")
def rule_path_mtu_blackhole(tls, small, hello, full_size, transfer):
    """A talk stalls with full-size segments and works with small ones (RFC 2923)."""
    how = "the talk stalls, and works with small segments (MSS %d)" % CLAMP_MSS
    for row in saying(tls + full_size, "ended", "stalled", "silent"):
        clamped = succeeded(rows_about(transfer, row.subject + " clamped"))
        cured = saying(rows_about(small, row.subject), "ended", "done") + [
            r for r in saying(clamped, "ended", "closed", "done")
            if r.value["bytes"] > (said(row, "bytes") or 0)]
        again = {said(r, "ended") for r in rows_about(hello, row.subject)}     # in full size
        if cured and (row.probe == "transfer" or again and "done" not in again):
            yield blame(row, cured, how=how)


sign("""path.mtu_blackhole  where: transit server_network client_network  each: patterns
    means: A pattern of full-size packets to netdiag's `listen` is lost, one of small ones is not.
    says: Small packets pass and large ones vanish {way}.
    fix: Let ICMP 'fragmentation needed' (3/4; v6 2/0) pass, or clamp the MSS at the tunnel of that
      direction.
    given: exchange/A,clamped ok   fires: exchange/A ok arrived=false back_bytes=0
    fires: exchange/A ok back_bytes=536   quiet: exchange/A ok   quiet: exchange/A timeout""",
    lambda row, exchange: row.value["back_bytes"] < row.value["bytes"] and any(
        small.value["back_bytes"] == small.value["bytes"]
        for small in succeeded(rows_about(exchange, row.subject)) if small != row) and dict(
            proof=rows_about(exchange, row.subject), way="on the way back from %s: it got all, and"
            " its answer stops after %d bytes" % (row.subject, row.value["back_bytes"])
            if row.value["arrived"] else "on the way to %s" % row.subject))
sign("""path.far_end path.nat  where: client_network transit  each: far_ends  severity: info
    means: The greeting of netdiag's `listen` says how the connection arrived there.
    says: The far end, a netdiag listener, saw this connection come from {you} port {you_port}
      (TTL {ttl}, MSS {mss}){nat}.
    fix: The path works; allow lists at the far end must name {you}.
    fires: tcp/A ok local=A greeting="netdiag listen 1 you=203.0.113.7:5 me=A:80 ttl=57 mss=1380
      at=2026-11-21T12:00:00+00:00"
    quiet: tcp/A ok greeting="SSH-2.0-x"   quiet: tcp/A ok""",
    lambda row, own: dict(
        row.value, code="path.nat" if row.value["nat"] else "path.far_end",
        nat=": an address that this host does not have, so NAT is on the way" * row.value["nat"]))
sign("""path.mtu_blackhole
    where: transit server_network client_network  each: outsized  severity: warn  sure: possible
    means: A full-size echo vanishes, a small one is answered (replies to UDP are rate limited).
    says: Packets of full size to {address} get no answer and no ICMP 'too big', smaller ones do:
      large transfers may hang.
    fix: Try a large transfer; if it hangs, clamp the MSS or let ICMP 3/4 pass.
    given: sizes/A,576 ok size=576 answered=true   fires: sizes/A,1500 ok size=1500 answered=false
    quiet: sizes/A,1500 ok size=1500 answered=false mtu=1400""",
    lambda row, sizes, full_size, retries: not rows_about(
        saying(full_size, "ended", "closed", "done") + succeeded(retries), row.subject) and dict(
            proof=rows_about(sizes, row.subject)))


@rule("""path.loss  where: transit client_network server_network  severity: warn  sure: likely
    says: Packets to {address} port {port} are lost: of {tried} connections {silent} got no answer
      and {resent} only after the SYN was sent again.
    fix: Run `mtr -T -P {port} {address}` from both ends: loss up to the last hop is real.
    given: tcp/A timeout   fires: retries/A ok tried=4 open=3 silent=1 resent=0
    quiet: retries/A ok tried=4 open=0 silent=4 resent=0""")
def rule_path_loss(retries, resends, tcp, tls, http):
    """Several connections from several source ports: some work at once, some late, some never."""
    for row in succeeded(retries + resends):
        value, first = row.value, rows_about(tcp, row.subject)
        talks = first + rows_about(tls + http, row.subject)
        gone = met(first, "timeout") + saying(talks, "stage", "connect")
        mute = gone + [t for t in saying(talks, "ended", "silent", "stalled")
                       if (t.value.get("info") or {}).get("unacked")]        # by the peer's kernel
        late = [t for t in met(talks, "ok") if (said(t, "info") or {}).get("total_retrans")
                and t not in mute]
        lost = value["silent"] + value["resent"] + len(mute) + sum(
            talk.value["info"]["total_retrans"] for talk in late)
        words = dict(severity="fail", hides="tcp.filtered path.dead_end http.no_response"
                     " tls.handshake_stalled") if mute else dict(hides="")
        # One late packet is none: a router drops the first while it asks for a MAC address.
        if (gone or lost > 1) and (value["open"] or met(first, "ok")):
            yield blame(row, first + mute, confidence="likely" if lost > 1 else "possible",
                        silent=value["silent"] + len(mute), resent=value["resent"] + len(late),
                        tried=value["tried"] + max(1, len(mute + late)), **words)


sign("""tcp.filtered
    where: transit server_network client_network  each: lost_mark  severity: warn  sure: likely
    means: A plain SYN is answered, and one with the mark that ssh gives its packets is not.
    says: Packets to {address} that carry ssh's mark (DSCP AF21) get no answer; plain ones do.
    fix: Let the routers clear such marks, not drop such packets; until then `ssh -o IPQoS=none`.
    fires: marked/A ok tried=1 silent=1   fires: target/A ok protocol=ssh ; ssh/A timeout
    quiet: marked/A ok tried=1 open=1   quiet: target/A ok protocol=ssh ; ssh/A ok""",
    lambda row, retries, resends: not rows_about(retries + resends, row.subject) and (
        dict(scope=None, severity="fail") if row.probe == "ssh" else True))
sign("""tcp.reset tcp.closed  where: service server  each: ended  hides: SERVICE
    means: Accepted, then RST or FIN before a byte: allow list, dead back end, full service.
    says: {address} accepts port {port} and {how} at once, before any data.
    fix: See the service's log: an allow list, a full service or a dead back end does this.
    fires: tcp/A ok after=reset   fires: tcp/A ok after=closed
    quiet: tcp/A ok after=data greeting=SSH-2.0-x   quiet: tcp/A ok""",
    lambda row: said(row, "after") in ("reset", "closed") and dict(
        {} if row.probe == "tcp" else dict(scope=None, confidence="likely"),
        code="tcp." + row.value["after"], how=ENDINGS[row.value["after"]]))
sign("""udp.closed  where: service server  each: udp
    means: Port unreachable from the target itself (its stack, or a REJECT that looks the same).
    says: {address} says that nothing listens on UDP port {port} ({words}).
    fix: Start the service or correct the port: `ss -lunp` on the server.
    fires: udp/A refused icmp=3/3@A   quiet: udp/A unreachable icmp=3/13@G""",
    lambda row: (said(row, "icmp") or [{}])[0].get("from") == row.subject and dict(
        words=icmp_words(row.subject, row.value["icmp"][0])))
sign("""udp.no_reply
    where: service server server_network  each: udp  severity: warn  sure: possible
    means: Silence: the service may not answer such a datagram, or something drops it.
    says: No reply from UDP port {port} on {address}: that may be fine, or a filter, or nobody.
    fix: Ask with the service's own client; watch there: `tcpdump -ni any udp port {port}`.
    fires: udp/A timeout   quiet: udp/A ok reply=x""", lambda row: row.outcome == "timeout")


# -- TLS ------------------------------------------------------------------------------------------

@rule("""clock.skewed  where: client  severity: warn
    hides: tls.expired tls.not_yet_valid tls.expiring
    says: This host's clock is wrong: it shows {here_time} UTC, {witness}.
    fix: Set the clock (chrony, systemd-timesyncd, `date -u`): certificates depend on it.
    fires: clock/self ok epoch=946684800   quiet: clock/self ok epoch=1999999999""")
def rule_clock_skewed(clock, now, http, chains):
    """The local time is before this program was made, or far from the server's Date header."""
    far = [r for r in succeeded(http) if clock and r.value.get("date")
           and abs(r.value["date"] - now) > CLOCK_SKEW_S]
    early = clock and now < BORN - 86400
    if not far and not early:
        return
    cause = any(untimely(chain, now) for chain in chains.values())
    witness = "which is before this program was made"
    if far:
        there = far[0].value["date"]
        cause = cause and not all(untimely(chain, there) for chain in chains.values())
        witness = "the server's clock %s" % utc_text(there)
    words = dict(severity="fail", hides="tls.expired tls.not_yet_valid") if cause else dict(
        hides="", confidence="certain" if early else "likely")
    yield dict(words, here_time=utc_text(now), witness=witness, proof=clock + far)


def cert(card):
    """Register a rule whose judgement is one of the `distrust`; only the words differ."""
    code = card.split()[0]
    sign(card + """ each: handshakes  given: clock/self ok epoch=5000
         means: One way in which a certificate is not trusted (RFC 5280).""",
         lambda row, hello, distrust, trusting: (row.subject, code) in distrust and dict(
             distrust[row.subject, code], proof=rows_about(hello, row.subject),
             others=", but %s does" % trusting[0] if trusting else ""))


cert("""tls.expired  where: service
    says: The certificate of {address} for {name} expired on {date}.
    fix: Renew it and reload the service (a renewed file on disk is not enough).
    ask: Renew the certificate of {name}.
    fires: tls/A ok ended=untrusted verify_code=10 cert.not_after=4000   quiet: tls/A ok""")
cert("""tls.not_yet_valid  where: service client
    says: The certificate of {address} for {name} is valid only from {date}.
    fix: Check this host's clock first, then the certificate.
    fires: tls/A ok ended=untrusted verify_code=9 cert.not_before=6000   quiet: tls/A ok""")
cert("""tls.self_signed  where: service
    says: The certificate of {address} ({name}) is self-signed: nobody vouches for it.
    fix: Install a certificate of a CA that the clients trust; or give this one with --cafile.
    fires: tls/A ok ended=untrusted verify_code=18 cert.self_issued=true
    quiet: tls/A ok ended=untrusted verify_code=20""")
cert("""tls.incomplete_chain  where: service  sure: likely
    says: {address} sends its certificate without the intermediate '{issuer}', so the chain ends.
    fix: Let the server send the whole chain (certificate, then intermediates) and reload it.
    fires: tls/A ok ended=untrusted verify_code=20 cert.aia=true
    quiet: tls/A ok ended=untrusted verify_code=20 cert.self_issued=true""")
cert("""tls.untrusted_ca  where: service client  sure: likely
    says: The certificate of {address} ({name}) is by '{issuer}', a CA that {store} does not
      hold{others}.
    fix: If that CA is yours, trust it here or give --cafile; if not, who inspects this traffic?
    ask: Is '{issuer}' the CA of your certificate for {name}? If not, somebody inspects the traffic.
    fires: tls/A ok ended=untrusted verify_code=20   quiet: tls/A ok""")
cert("""tls.name_mismatch  where: service
    says: The certificate of {address} is for {names}, not for {wanted}.
    fix: Use a name that the certificate holds, or add {wanted} to it; is this the right address?
    fires: tls/A ok cert.san=[["DNS","other.example"]]   quiet: tls/A ok""")
cert("""tls.expiring  where: service  severity: warn
    says: The certificate of {address} for {name} expires in {days} days, on {date}.
    fix: Renew it now.   fires: tls/A ok cert.not_after=90000   quiet: tls/A ok""")
sign("""tls.handshake_stalled  where: service server server_network  each: handshakes  sure: likely
    hides: WEB  means: Silence after the ClientHello.
    says: {address} says nothing after the ClientHello (TCP is open).
    fix: Is the service hung, or the port's protocol another? Else suspect MTU or a filter.
    fires: tls/A ok ended=stalled   quiet: tls/A ok ended=closed""",
    lambda row: row.value["ended"] == "stalled")


@rule("""tls.not_tls  where: service  each: handshakes
    hides: tls.handshake_cut tls.handshake_stalled service.unexpected WEB
    says: Port {port} on {address} does not speak TLS: it answers in {kind}{words}.
    fix: Use the plain protocol on this port, or the service's TLS port.
    fires: tls/A ok ended=not_tls   quiet: tls/A ok ended=closed""")
def rule_tls_not_tls(row, wish, hello, tcp):
    """The answer to a ClientHello is no TLS record, or a plain greeting came first."""
    early = [t for t in rows_about(tcp, row.subject) if said(t, "greeting")]
    clear = [h for h in rows_about(hello, row.subject) if said(h, "not_tls")]
    if row.value["ended"] != "not_tls" and (
            row.value["ended"] == "done" or not early + clear or not wish["tls"]):
        return None
    told = (early + clear + [row])[0]
    words = (said(told, "greeting") or said(told, "not_tls") or "")[:60].strip()
    return dict(kind=(said(told, "speaks") or "").upper() or "plain text", proof=clear + early,
                words=' ("%s")' % words if words else "")


@rule("""tls.client_cert tls.version tls.sni tls.cipher tls.handshake_cut
    where: service client  each: handshakes  sure: likely  hides: WEB
    says: {address} ends the TLS handshake: {why}.
    fix: {cure}
    ask: The TLS handshake with {address} port {port} fails ({why}): what does your log say?
    fires: tls/A ok ended=alert alert=handshake_failure ; hello/A,bare ok client_cert=["CA"]
    fires: tls/A ok ended=alert alert=protocol_version
    fires: tls/A ok ended=alert alert=unrecognized_name
    fires: tls/A ok ended=alert alert=handshake_failure   fires: tls/A ok ended=reset
    quiet: tls/A ok ended=stalled   quiet: tls/A ok ended=not_tls   quiet: tls/A ok
    quiet: tls/A ok ended=reset ; tcp/A ok after=reset   quiet: tls/A ok ended=untrusted""")
def rule_tls_refused(row, hello, versions, http, tcp, cut_ttl):
    """An alert, reset or close in the handshake, told apart by what a clear ClientHello meets."""
    late = [h for h in rows_about(http, row.subject) if "certificate required" in (
        said(h, "error") or "").replace("_", " ").lower()]
    gone = saying(rows_about(tcp, row.subject), "after", "reset", "closed")
    if not late and (gone or row.value["ended"] not in ("alert", "reset", "closed")):
        return None
    clear = rows_about(hello, row.subject)
    code, why = handshake_refusal(
        row.value, {h.subject.split()[1]: h.value for h in succeeded(clear)}, late,
        [r.value["version"] for r in versions if r.subject.endswith(" %s" % said(r, "version"))])
    places, sure, cure = HANDSHAKES[code]
    for box in [r for r in rows_about(cut_ttl, row.subject) if said(r, "ttl")]:
        code, sure, ttl, far = "tls.handshake_cut", "certain", box.value["ttl"], box.value["far"]
        places = " ".join(place_of(max(ttl - 1, 1), far) + place_of(ttl, far))
        why = "a box before it (hop %s of %d) cuts it, the ClientHello never got to the server" % (
            "%d or %d" % (ttl - 1, ttl) if ttl > 1 else "1", far)
        clear = [box]
    return dict(code=code, why=why, cure=cure, suspects=unique(places.split()), confidence=sure,
                proof=late + clear)


sign("""tls.large_hello  where: service server_network  each: large  severity: warn  sure: likely
    means: Some boxes drop a ClientHello of more than one packet, as post-quantum keys make it.
    says: {address} port {port} {how} when the ClientHello is large; a small one is answered.
    fix: New browsers and OpenSSL 3.5 send such ones: mend that server or the box before it.
    given: tls/A ok ; large/A,small ok   fires: large/A,large ok ended=reset version=null
    quiet: large/A,large ok""",
    lambda row, large, outsized: row.subject.endswith("large") and row.outcome == "ok"
    and not (row.value["version"] or row.value["alert"])
    and any(said(r, "version") for r in rows_about(large, host_of(row) + " small"))
    and host_of(row) not in [r.subject for r in outsized]
    and dict(address=host_of(row), scope=host_of(row), how=ENDINGS.get(row.value["ended"], "ends")))
HANDSHAKES = {
    "tls.client_cert": ("client service", "certain", "Configure the client's certificate and key;"
                        " netdiag has none to offer."),
    "tls.version": ("service client", "certain", "Let the server offer TLS 1.2 or 1.3; old versions"
                    " are off here for a reason."),
    "tls.sni": ("service", "certain", "Is this name configured there as a virtual host? Is this the"
                " right address?"),
    "tls.cipher": ("service client", "likely", "Compare what both sides offer (`openssl s_client"
                   " -connect`); widen the server's list."),
    "tls.handshake_cut": ("service server_network transit", "likely", "Look at the service's log."
                          " If it saw nothing, a filter on the way cuts TLS (or this name):"
                          " compare with another name, from another network.")}


def handshake_refusal(value, clear, late, accepted):
    """(code, why) of a refused handshake; `clear`: what clear ClientHellos met, by their names.

    `accepted`: the old versions with which the server answered.
    The module's texts differ with Python and OpenSSL; the server's own bytes do not.
    """
    text, alert = "%s %s" % (value.get("error"), value.get("reason")), value.get("alert")
    named, bare = clear.get("named"), clear.get("bare")
    asked = [c["client_cert"] for c in clear.values() if c["client_cert"] is not None]
    offered = unique(accepted + [c["version"] for c in clear.values() if c["version"]])
    if late or asked or alert == "certificate_required":
        names = " of %s" % ", ".join(asked[0][:2]) if asked and asked[0] else ""
        return "tls.client_cert", "it demands a client certificate%s and got none" % names
    if alert == "protocol_version" or value["ended"] == "alert" and (
            set(offered) & {"SSLv3", "TLSv1", "TLSv1.1"} or re.search(
                "(?i)unsupported.protocol|legacy.sigalg|version too low|no protocols", text)):
        old = [o for o in offered if o in ("SSLv3", "TLSv1", "TLSv1.1")]
        return "tls.version", "no common version" + (
            ", it offers %s, which this host refuses" % " and ".join(old) if old else "")
    answers_bare = bool(bare and bare["chain"])
    if alert == "unrecognized_name" or named and answers_bare and not named["chain"]:
        return "tls.sni", "it refuses the name that was asked for" + (
            ", and answers without one" if answers_bare else "")
    weak = re.search(r"(?i)dh.key.too.small|no.ciphers|wrong.cipher|ee.key.too.small", text)
    if value["ended"] == "alert" and (weak or alert in (
            "handshake_failure", "insufficient_security")):
        return "tls.cipher", "no common cipher or parameter (%s)" % (alert or weak.group(0))
    how = {"reset": "with a reset", "closed": "by closing the connection"}.get(
        value["ended"], "with the alert '%s'" % (alert or value.get("error")))
    small = ", though it answers a smaller one (is it the size?)" if any(
        c["chain"] for c in clear.values()) else ""
    return "tls.handshake_cut", how + " after the ClientHello" + small


# -- HTTP, greetings, proxy -----------------------------------------------------------------------

sign("""http.https_expected  where: client  each: http  hides: http.client_error http.not_http
    means: A 400 that says so, or a TLS record as the answer to a plain request.
    says: Port {port} on {address} wants HTTPS, and plain HTTP was spoken to it.
    fix: Use https:// for this port.
    fires: http/A ok status=400 wants_tls=true   quiet: http/A ok status=400""",
    lambda row, wish: not wish["tls"] and (said(row, "wants_tls") or said(row, "speaks") == "tls"))
sign("""http.no_response  where: service server  each: exchanges  sure: likely
    means: The connection opens, the request goes out, and no whole head of a reply comes.
    says: {address} takes the HTTP request and {how} {when}.
    fix: Is the application hung or crashing? Look at its log and its load on the server.
    fires: http/A ok status=null ended=silent
    quiet: http/A ok status=null ended=closed not_http=hello""",
    lambda row: row.value["stage"] == "http" and not (row.value["status"] or row.value["not_http"])
    and dict(how=ENDINGS.get(row.value["ended"], "ends"), when="in the middle of its answer"
             if row.value["bytes"] else "without an answer"))
sign("""http.not_http  where: service  each: exchanges  means: The bytes that came back are no HTTP.
    says: Port {port} on {address} does not speak HTTP: it answers {kind}"{words}".
    fix: Is this the right port? Use the client of the protocol that answers there.
    fires: http/A ok status=null not_http=hello   quiet: http/A ok status=200""",
    lambda row: row.value.get("not_http") and dict(
        kind=(row.value["speaks"].upper() + " ") if row.value.get("speaks") else "",
        words=row.value["not_http"][:60]))
sign("""http.redirect_loop  where: service  each: redirects
    means: A Location that was there before, or more than REDIRECT_LIMIT steps.
    says: The redirects of {host} lead in a circle or never end ({count} steps, last to {url}).
    fix: Correct the redirect rules: often http/https or the name behind a proxy that ends TLS.
    given: http/A ok status=302 location=/b   fires: redirects/http://A/b ok status=302 location=/a
    quiet: redirects/http://A/b ok status=200""",
    lambda row, redirects: row is redirects[-1] and redirect_of(row) and dict(
        count=len(redirects), url=row.subject, proof=redirects[:-1]))
sign("""dns.not_found tls.handshake_cut tls.expired tls.untrusted_ca http.no_response tcp.refused
    path.host_unreachable path.net_unreachable tcp.filtered
    where: service  each: redirects  sure: likely
    means: A redirect whose own host cannot be looked up, reached or trusted.
    says: The redirect to {url} leads nowhere: {stage} fails ({error}).
    fix: Correct the redirect's address, or repair the host that it names.
    fires: redirects/http://gone.example/ refused stage=lookup error=EAI_NONAME status=null
    quiet: redirects/http://there.example/ ok status=200""",
    lambda row, now: said(row, "stage") in STAGES and not said(row, "status") and dict(
        code=([code for code, _, _ in untimely(said(row, "chain") or [], now or 0)] + [
            STAGES[said(row, key)] for key in ("verify_code", "ended", "error", "stage")
            if said(row, key) in STAGES])[0],
        url=row.subject, error=said(row, "error") or said(row, "ended")))
sign("""service.silent  where: service  each: mute  sure: likely
    means: Connected, and no word from a server that speaks first, or to a client's first words.
    says: {address} accepts port {port} and stays silent; {protocol} servers {usual}.
    fix: Is the service hung? There, `ss -ltnp sport = :{port}` shows who holds the port.
    fires: target/A ok protocol=ssh speaks_first=true ; tcp/A ok
    fires: target/A ok protocol=redis ; words/A ok ended=silent   quiet: tcp/A ok
    quiet: words/A ok ended=closed""",
    lambda row, wish: dict(protocol=wish["protocol"].upper(), usual="speak first"
        if row.probe == "tcp" else "answer a client's first words"))
sign("""service.error ssh.throttled  where: service  each: spoken
    means: A greeting that is a refusal: SMTP 554, IMAP BYE, MySQL host not allowed, sshd penalties.
    says: The service on {address} port {port} itself says no: "{words}".
    fix: Read its words; the service's log says more.
    ask: It refuses {here}: why, and what does its log say?
    given: target/A ok protocol=smtp   fires: tcp/A ok after=data greeting=554 refuses=service.error
    quiet: tcp/A ok after=data greeting=220""",
    lambda row, wish: wish["protocol"] != "tcp" and said(row, "refuses") and dict(
        code=row.value["refuses"], words=row.value["greeting"][:100].strip()))


@rule("""ssh.host_key  where: server client  each: ssh
    says: The SSH host key of {address} ({key_type} SHA256:{digest}) is not that known for {host}.
    fix: If not set up anew, another machine answers: check the address before any password is
      typed. If it was: `ssh-keygen -R '{entry}' -f {file}`.
    ask: Was {host} reinstalled, or has its address moved?
    given: target/N ok port=22 ; known_hosts/f ok [{"hosts":"N","type":"t","key":"y"}]
    fires: ssh/A ok key=x key_type=t   fires: ssh/A ok outcome=hostkey_changed
    quiet: ssh/A ok key=y key_type=t   quiet: ssh/A ok outcome=ok""")
def rule_ssh_host_key(row, wish, known_hosts):
    """The key differs from that of the same type in known_hosts."""
    files = {part.subject: [k["key"] for k in known_keys([part], wish)
                            if k["type"] == said(row, "key_type")] for part in known_hosts}
    other = [file for file, keys in files.items() if keys and said(row, "key") not in keys + [None]]
    return (other or said(row, "outcome") == "hostkey_changed") and dict(
        key_type=said(row, "key_type"), digest=said(row, "sha256"), scope=None,
        entry=known_as(wish["host"], wish["port"]), file=(other or ["~/.ssh/known_hosts"])[0])


sign("""ssh.algorithm  where: service client  each: ssh  means: No algorithm in common (RFC 4253).
    says: sshd on {address} has no {kinds} in common with a current client; it offers {offers}.
    fix: Update the server; until then let this client use an old one (`ssh -o {option}=+...`).
    fires: ssh/A ok lacks=["kex"]   quiet: ssh/A ok""",
    lambda row: said(row, "lacks") and dict(
        scope=None, kinds=", ".join(row.value["lacks"]),
        option=SSH_OPTIONS.get(row.value["lacks"][0], "..."),
        offers=", ".join((said(row, "offers") or {}).get(row.value["lacks"][0], ["others"])[:3])))
sign("""ssh.host_key  where: client  each: ssh  severity: info
    means: ssh logs in nowhere whose key it does not know (StrictHostKeyChecking=yes).
    says: {user}'s login at {address} was not tried: its host key is not in known_hosts here.
    fix: Compare its fingerprint with that on the server; `ssh -p {port} {user}@{host}` accepts it.
    given: target/A ok user=me   fires: ssh/A ok outcome=hostkey_unknown
    quiet: ssh/A ok outcome=ok""",
    lambda row, wish: said(row, "outcome") == "hostkey_unknown" and dict(
        user=wish["user"], scope=None))
sign("""ssh.denied  where: service client  each: ssh
    means: Key exchange done, login refused; a password, where one is offered, was not tried.
    says: sshd on {address} refuses {user} with the keys of this host; it offers {methods}.
    fix: Is the user right, and the public key in its authorized_keys? sshd's log names the reason.
    given: target/A ok user=me   fires: ssh/A ok outcome=auth_denied auth_methods=["publickey"]
    quiet: ssh/A ok outcome=ok""",
    lambda row, wish: said(row, "outcome") in ("auth_denied", "too_many_auth_failures") and dict(
        user=wish["user"], scope=None, methods=", ".join(said(row, "auth_methods") or ["nothing"]),
        severity="info" if {"password", "keyboard-interactive"} & set(
            said(row, "auth_methods") or ()) else "fail"))
sign("""proxy.unreachable  where: proxy client  each: tunnel  hides: THROUGH DNS dns.inconsistent
    means: The configured proxy does not accept a connection, or has no address.
    says: The proxy {proxy} ({variable}) applies to {host} and cannot be used: {how} ({error}).
    fix: Correct or unset {variable}{bypass}, or repair the proxy.
    ask: Is the proxy {proxy} up, and may this host use it?
    given: target/N ok proxy=http://192.0.2.8:3128
    fires: tunnel/P refused stage=connect status=null   quiet: tunnel/P ok status=200""",
    lambda row, proxy: proxy and not said(row, "status") and dict(
        proxy=row.subject, variable=proxy["variable"],
        bypass="" if proxy["variable"] == "--proxy" else ", add the target to NO_PROXY",
        how={"lookup": "its name has no address", "connect": "no connection"}.get(
            said(row, "stage"), "no HTTP answer"),
        error=said(row, "error") or said(row, "ended")))
sign("""proxy.required  where: client proxy  each: spare_proxy  hides: AWAY
    means: The way out leads only through a proxy, which the variables do not let this target use.
    says: {host} is not reached directly, but would be by the proxy {proxy}: NO_PROXY forbids it.
    fix: Take {host} out of NO_PROXY, or give --proxy.
    fires: spare_proxy/P ok status=200   quiet: spare_proxy/P ok status=403""",
    lambda row: said(row, "status") == 200 and dict(proxy=row.subject))
sign("""proxy.denied  where: proxy  each: tunnel  hides: AWAY  means: CONNECT is met by 403 or 407.
    says: The proxy {proxy} refuses {host}: HTTP {status} {reason}.
    fix: 403: the proxy's rules forbid it. 407: it asks for a login. Ask the proxy team.
    ask: Please allow {here} to reach {host}:{port} through {proxy}.
    fires: tunnel/P ok status=407   quiet: tunnel/P ok status=200""",
    lambda row: said(row, "status") in (403, 407) and dict(proxy=row.subject))
sign("""http.captive  where: client_network proxy  each: exchanges  sure: likely
    hides: http.server_error http.redirect_loop
    means: A gateway that wants a login first answers every request itself (RFC 6585, 8910).
    says: A login page of the network answers in place of {host}: {how}.
    fix: Log in to the network (captive portal) in a browser, then try again.
    ask: Please exempt this host from the captive portal.
    fires: http/A ok status=511   fires: http/A ok status=302 location=http://portal.example/login
    quiet: http/A ok status=503   quiet: http/A ok status=302 location=https://www.example/login""",
    lambda row, wish: not wish["tls"] and (
        said(row, "status") == 511 and dict(how="HTTP 511")
        or PORTAL.match(redirect_of(row) or "") and dict(
            how="it redirects to " + hide_secret(printable(redirect_of(row), 80)))))


@rule("""http.client_error http.gateway_error http.server_error proxy.denied
    where: service client  each: exchanges
    says: {address} answers HTTP {status} {reason} for {path}: {meaning}.
    fix: {cure}
    ask: {address} answers {status} for {path} at {when} UTC: what does the log say?
    fires: target/A ok path=/missing ; http/A ok status=404   fires: http/A ok status=502
    quiet: http/A ok status=401   quiet: http/A ok status=302""")
def rule_http_status(row, wish, now):
    """4xx: request or rights; 502, 503, 504: the front works, its back end does not; other 5xx."""
    status, path = row.value["status"] or 0, wish["path"] or "/"
    if status < 400 or status == 401 and path == "/":      # a working server that asks for a login
        return None
    usual, places, code = (500, ("service",), "http.server_error") if status >= 500 else (
        400, ("service", "client"), "http.client_error")
    meaning, cure = STATUS_WORDS.get(status) or STATUS_WORDS[usual]
    server = row.value["headers"].get("server") or "the front"
    if status in (403, 407) and re.search("(?i)squid|proxy", server):
        code, places, meaning = "proxy.denied", ("proxy",), "a proxy on the way forbids it"
    return dict(status=status, path=hide_secret(path), meaning=meaning,
                code="http.gateway_error" if status in (502, 503, 504) else code, suspects=places,
                when="that time" if now is None else utc_text(now), cure=cure.format(
                    address=row.subject, front=server))


@rule("""service.unexpected  where: service  each: spoken  hides: http.not_http
    says: Port {port} on {address} does not speak {wanted}: {speaks} answers ("{words}").
    fix: Is this the right port and host? Another program holds it.
    given: target/A ok protocol=ssh   fires: tcp/A ok after=data speaks=smtp greeting=220
    quiet: tcp/A ok after=data speaks=ssh greeting=SSH-2.0-x""")
def rule_service_unexpected(row, wish):
    """The greeting is that of another protocol than the one asked for."""
    wanted = GREETS_AS.get(wish["protocol"], wish["protocol"])
    if wanted in ("tcp", "tls") or wish["tls"] and row.probe == "tcp":
        return None
    speaks, words = said(row, "speaks"), row.value["greeting"]
    garbage = not speaks and (wanted == "http" or row.probe == "words")  # http.not_http says it
    either = {speaks, wanted} == {"smtp", "ftp"} and words[:3] == "220" \
        and not re.search("(?i)smtp|ftp", words)         # a bare 220 may be both
    return not (garbage or either or speaks == wanted or row.value.get("refuses")) and dict(
        wanted=wish["protocol"].upper(), words=words[:60].strip(),
        speaks=speaks.upper() if speaks else "something else")


# -- reports of two ends, and of two times --------------------------------------------------------

sign("""listen.none listen.loopback_only listen.other_address listen.backlog_full firewall.local
    route.return_missing host.exhausted tcp.refused
    where: service server  each: ends  hides: oneway.forward oneway.reverse
    means: The server's own report names the fault that the client sees.
    says: {client} sees {seen}, and the report of {server} says why: {why}
    fix: {cure} Do that on {server}.
    given: report/c ok role=client code=tcp.refused
    fires: report/s ok role=server mode=server code=listen.none fix=["Start it."]
    fires: report/s ok role=server mode=capture code=tcp.refused
    quiet: report/s ok role=server mode=server code=listen.none began_s=99999 ended_s=99999
    quiet: report/s ok role=server mode=server code=ok""", lambda row: server_fault(row))
sign("""handshake.incomplete  where: server_network transit client_network  each: arrivals
    means: SYNs arrive and are answered again and again, and no handshake is completed.
    says: SYNs from {peers} arrive and are answered, and the answers are lost on the way back: no
      handshake was completed.
    fix: Follow the way back to {peers}: the gateway of this host, asymmetric routes, firewalls that
      did not see the SYN.
    fires: arrivals/x ok half_open={"192.0.2.1":3}   quiet: arrivals/x ok half_open={"192.0.2.1":0}
    quiet: arrivals/x ok half_open={"192.0.2.1":3} arrivals=[{"from":"192.0.2.1"}]""",
    lambda row: bool(lost_answers(row)) and dict(
        scope=None, peers=", ".join(lost_answers(row)[:5])))
sign("""intermittent  where: server_network service transit  each: lapses
    means: `watch` saw it work and fail in turns; the other findings carry what failed when.
    says: {target} works now and then: {failed} of {checks} checks failed, in {count} outages of
      {seconds:.0f} s in all: {kinds}.
    fix: See what happened at those times: {times}.
    fires: checks/A ok checks=60 failed=5 outages=[{"from":5000,"to":5006,"code":"tcp.refused",
      "suspects":["service"]}]
    quiet: checks/A ok   quiet: checks/A ok checks=5 failed=5 outages=[{"from":5000,"to":5006,
      "code":"tcp.refused","suspects":["service"]}]""",
    lambda row: 0 < row.value["failed"] < row.value["checks"] and dict(
        lapse_words(row.subject, row.value["outages"]), scope=None))
sign("""oneway.reverse  where: server_network transit client_network  each: ends
    hides: oneway.forward
    means: The server answers this client's SYNs, and the client hears nothing.
    says: What {client} sends arrives at {server} port {port}{how}; the answer does not come back.
    fix: Follow the way from {server} back to {came}: its gateway, asymmetric routes, firewalls that
      did not see the SYN.
    given: report/c ok role=client code=path.dead_end
    fires: report/s ok role=server mode=server half_open={"198.51.100.9":3}
    fires: report/s ok role=server mode=capture flows=[{"client":"198.51.100.9",
      "synack":3,"syn":3,"server_port":443,"isn":0,"handshake":false}]
    fires: report/s ok role=server mode=server half_open={"203.0.113.77":3}
    quiet: report/s ok role=server mode=server half_open={"203.0.113.7":3,"203.0.113.8":1}
    quiet: report/s ok role=server mode=server""",
    lambda row: row.value["client"]["code"] in SILENCES and answered_in_vain(row))
sign("""tcp.filtered  where: server  each: ends  hides: oneway.forward  sure: certain
    means: A capture on the server sees the SYN come and nothing leave.
    says: The SYN of {client} arrives at {server} port {port}, and {server} sends nothing back.
    fix: On {server}: `netdiag.py server {port}`: its own firewall, rp_filter, or a full queue.
    given: report/c ok role=client code=path.dead_end
    fires: report/s ok role=server mode=capture flows=[{"client":"198.51.100.9","synack":0,
      "syn":3,"server_port":443,"isn":0,"handshake":false}]
    quiet: report/s ok role=server mode=capture flows=[{"client":"203.0.113.7","synack":0,
      "syn":3,"server_port":443,"isn":0,"handshake":false}]""",
    lambda row: row.value["client"]["code"] in SILENCES and row.value["witnessed"]
    and bool(flows_from(row)) and all(
        flow["syn"] and not flow["synack"] for flow in flows_from(row)) and end_words(row))
sign("""oneway.forward  where: transit server_network client_network  each: ends  sure: likely
    means: The client's SYNs meet silence, and the listening server saw none of them meanwhile.
    says: What {client} sends does not arrive at {server} port {port}: {server} {looked} at the same
      time and saw nothing of {came}.
    fix: Follow the way from {client} to {server}: routes, the firewall before the server, its
      allow list for {came}.
    given: report/c ok role=client code=tcp.filtered suspects=["server","server_network"]
    fires: report/s ok role=server mode=server listens=true
    fires: report/s ok role=server mode=listen listens=true arrivals=["203.0.113.7"]
    quiet: report/s ok role=server mode=server listens=true half_open={"198.51.100.9":2}
    quiet: report/s ok role=server mode=server listens=true began_s=5999 ended_s=6009
    quiet: report/s ok role=server mode=server listens=false""",
    lambda row: row.value["client"]["code"] in SILENCES and unseen_by_server(row) and dict(
        end_words(row), looked=unseen_by_server(row), suspects=in_between(row)))
sign("""tcp.refused tcp.rejected  where: server_network transit  each: ends  sure: likely
    means: A refusal, though the server listens and saw nothing of this client.
    says: {client} is refused on port {port}, though {server} {looked} at the same time and saw
      nothing of {came}: a box in between says no, or another host has this address.
    fix: Find the firewall before {server} that answers for it; compare MAC addresses and TTLs.
    given: report/c ok role=client code=tcp.refused suspects=["service","server"]
    fires: report/s ok role=server mode=server listens=true
    quiet: report/s ok role=server mode=server listens=false
    quiet: report/s ok role=server mode=server listens=true began_s=5999 ended_s=6009""",
    lambda row: row.value["client"]["code"] in ("tcp.refused", "tcp.rejected")
    and said_on_the_way(row) and dict(
        end_words(row), code=row.value["client"]["code"], looked=unseen_by_server(row),
        suspects=in_between(row)))
sign("""path.nat  where: client_network transit  each: ends  severity: info
    means: The server has seen the client under an address that the client does not have.
    says: NAT is on the way: {server} saw {client} as {came}.
    fix: Rules, routes and allow lists at the server must name {came}.
    given: report/c ok role=client code=path.dead_end
    fires: report/s ok role=server mode=server half_open={"203.0.113.77":3}
    quiet: report/s ok role=server mode=server half_open={"198.51.100.9":3}""",
    lambda row: bool(seen_as(row)) and seen_as(row) not in row.value["here"] and end_words(row))
sign("""report.changed  where: client service  each: changes  severity: info
    means: Two runs of one host and target differ: what changed since it worked, or since it failed.
    says: At {when} it was {was}, now it is {code_now}. What changed in between: {what}.
    fix: Look at what changed first.
    given: report/c ok role=client code=tcp.refused began_s=9000
    fires: report/b ok role=before code=ok facts={"route":"via G"}
    quiet: report/b ok role=before code=tcp.refused""",
    lambda row: dict(
        row.value, scope=None, when=utc_text(row.value["before"]["began_s"]),
        was=row.value["before"]["code"], code_now=row.value["now"]["code"],
        what="; ".join("%s (%s -> %s)" % (name, *pair) for name, pair in row.value["what"].items())
        or "nothing that both runs have seen"))


# -- what the rules have in common ----------------------------------------------------------------

SERVER_FAULTS = ("listen.none listen.loopback_only listen.other_address listen.backlog_full"
                 " firewall.local route.return_missing host.exhausted").split()
TRAIT_PLACES = {"host": ("client", "client_network"), "source segment": ("client_network",),
                "target": ("service", "server", "server_network"),
                "target host": ("server", "server_network")}
SILENCES = ("tcp.filtered path.dead_end path.loss undecided oneway.forward intermittent"
            " udp.no_reply").split()
BLOCKING_ROUTES = {"EINVAL": "blackhole", "EHOSTUNREACH": "unreachable", "EACCES": "prohibit"}
FILES = dict(what="file descriptors", cure="Raise the limit (`ulimit -n`) or find the leak.")
EXHAUSTED = {
    "EMFILE": FILES, "ENFILE": FILES,
    "EADDRNOTAVAIL": dict(what="source ports", cure="See `ss -s`: too many connections are open or"
                          " in TIME_WAIT. Reuse them, or widen net.ipv4.ip_local_port_range."),
    "ENOBUFS": dict(what="neighbor entries or memory",
                    cure="See net.ipv4.neigh.default.gc_thresh3 and the kernel log.")}
INBOUND = {
    False: dict(what="firewall", cure="Look at this host's INPUT rules and rp_filter: is"
                " `ct state established` accepted?"),
    True: dict(what="reverse-path filter", cure="They come by another interface than the one that"
               " leads back: correct the routes, or set rp_filter=2 (`sysctl net.ipv4.conf`).")}
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
ADDRESS_KINDS = {0: "address", 4: "IPv4 address (A)", 6: "IPv6 address (AAAA)"}
MISMADE = ("tls.expired", "tls.not_yet_valid", "tls.name_mismatch")
PORTAL = re.compile(r"(?i)https?://[^/]*(portal|captive|hotspot|wifi|wlan)[^/]*/")
SSH_OPTIONS = dict(kex="KexAlgorithms", host_key="HostKeyAlgorithms", cipher="Ciphers", mac="MACs")
ENDINGS = dict(silent="stays silent", closed="closes the connection", reset="resets the connection")
STAGES = {"lookup": "dns.not_found", "tls": "tls.handshake_cut", "http": "http.no_response",
          10: "tls.expired", "untrusted": "tls.untrusted_ca", "ECONNREFUSED": "tcp.refused",
          "EHOSTUNREACH": "path.host_unreachable", "ENETUNREACH": "path.net_unreachable",
          "connect": "tcp.filtered"}
STATUS_WORDS = {int(row[0]): row[1:] for row in (line.split(" / ") for line in """\
400 / the server does not understand the request / Check the URL and the Host name.
401 / it asks for a login / Give credentials; the network works.
403 / access is forbidden / Check the rights for this URL, allow lists and the WAF.
404 / nothing is there / Check the path and the virtual host.
405 / this method is not allowed there / Use the method that it expects.
407 / a proxy asks for a login / Give the proxy's credentials.
408 / the server waited too long for the request / Look for loss on the way.
421 / this server is not for that name / Check the name, SNI and address.
429 / too many requests / Wait (Retry-After), then ask more slowly.
500 / the application failed / Look at the application's log on {address}.""".splitlines())}
STATUS_WORDS.update(dict.fromkeys((502, 503, 504), (
    "the front works, what is behind it does not", "Look at the back end of {front} on {address}:"
    " is it running, and can the front reach it? Its error log says which one.")))


def unique(items):
    """The items without repeats, in order."""
    return list(collections.OrderedDict.fromkeys(items))


def rows_about(answers, subject):
    """All answers about one subject, or about one part of it ('192.0.2.1 80')."""
    return [a for a in answers if subject in (a.subject, host_of(a))]


def host_of(row):
    """The address that the subject of an answer begins with: the host or resolver asked."""
    return row.subject.partition(" ")[0]


def met(answers, *outcomes):
    """The answers with one of these outcomes."""
    return [a for a in answers if a.outcome in outcomes]


def said(row, key):
    """What an answer says of `key`, or None."""
    return row.value.get(key) if isinstance(row.value, dict) else None


def saying(answers, key, *values):
    """The answers that say one of these values of `key`."""
    return [a for a in answers if said(a, key) in values]


def blame(row, proof=(), **holes):
    """A finding about the address that an answer is about: its scope, and the proof."""
    return dict(dict(address=row.subject, scope=row.subject, proof=[row] + list(proof)), **holes)


def utc_text(epoch):
    """Seconds since 1970 as '2026-11-21 10:00'."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(epoch))


VIRTUAL_LINKS = re.compile(r"lo$|docker|br-|virbr|veth|cni|flannel|cali|lxc|lxd|podman|dummy|sit\d|"
                           r"tunl|gre|erspan|ip6|ifb|teql|nlmon|vxlan|kube|cilium")
LOCAL_BRIDGES = re.compile(r"(docker|br-|virbr|cni|flannel|cali|lxc|lxd|podman|kube|cilium|tun|tap|"
                           r"wg|ppp|zt|tailscale|vmnet|vboxnet|nordlynx|utun)")


def real_links(interfaces):
    """Interfaces that can lead out: no loopback, no container or tunnel leftovers."""
    return [link for link in all_links(interfaces)
            if not link.get("loopback") and not VIRTUAL_LINKS.match(link["name"])]


def usable_links(interfaces):
    """Real interfaces that are up, have carrier and an address that leads beyond the link."""
    return [link for link in real_links(interfaces) if is_up(link) and far_reaching(link)]


def is_up(link):
    """Is an interface on, and not without carrier?"""
    return link["up"] and link.get("carrier") is not False


def far_reaching(link):
    """The addresses of an interface that lead beyond its link (not 169.254/16 and fe80::/10)."""
    return [] if link.get("loopback") or link["name"] == "lo" else [
        cidr.partition("/")[0] for cidr in link["inet"] + link["inet6"]
        if not re.match(r"(?i)169\.254\.|fe[89ab]", cidr)]


def is_local_bridge(link):
    """A bridge, container or VPN interface of this host, by kind or by its usual name."""
    return link.get("kind") in ("bridge", "tun", "wireguard", "ppp") or bool(
        LOCAL_BRIDGES.match(link.get("name") or ""))


def local_refusal(row, own, trace_tcp, egress):
    """How this host itself stopped a connection, in words; None where it did not."""
    value, address, info = row.value, row.subject, row.value.get("info") or {}
    for error in [e for e in value["icmp"] if e["from"] in own and address not in own][:1]:
        if icmp_kind(address, error) in HOST_UNREACHABLE and is_late(row):
            return None                           # a failed ARP, and no rule
        return "its own address answers '%s'" % icmp_words(address, error)
    if value["state"] == "silent" and not info.get("retrans", 1) and info.get("total_retrans"):
        return "the SYN is sent and dropped before it leaves (TCP_INFO)"
    if value.get("immediate") and value["errno"] in ("EPERM", "EACCES"):
        way = about(egress, address)
        by_route = not way or way["error"]
        return None if by_route else "connecting is not permitted (%s)" % value["errno"]
    if row.outcome == "refused" and not value["icmp"] and refused_at(trace_tcp, address) == 1 \
            and address not in own and not is_next_door(egress, address):
        return "the reset comes from hop 0, this host"
    return None


def is_late(row):
    """Did the refusal take as long as asking in vain for a MAC address does (about 3 s)?"""
    return (row.value["ms"] or 0) > 700


def sender_facts(row, traces, usual="", sure=False):
    """What every finding about an ICMP error from elsewhere says; `usual` places are likely too."""
    places, usual = sender_places(row.value["router"], row.subject, traces, ()), usual.split()
    return dict(proof=rows_about(traces, row.subject),
                suspects=usual if sure else unique(places + usual[::-1]))


def hop_silence(row, more, sure="likely"):
    """What every finding about a next hop that is silent says."""
    return dict(proof=more, confidence="possible" if row.value["state"] in BELIEVED else sure)


def refused_at(trace_tcp, address):
    """The lowest TTL at which a connection was refused by a RST, or None."""
    return min((hop["ttl"] for hop in hops_to(trace_tcp, address) if hop["kind"] == "refused"),
               default=None)


def reset_hops(address, trace_tcp, reset_ttl, far):
    """The hops that a reset may come from when it is not the server's; [] where it may be."""
    for row in succeeded(rows_about(reset_ttl, address)):
        nearer = (row.value["ttl"] or 0) - row.value["host_ttl"]
        if far and 0 < nearer < far:       # its TTL is higher than that of the host's own ICMP
            return [far - nearer]
    first = refused_at(trace_tcp, address)     # a Linux firewall resets behind its TTL check
    return [first - 1, first] if first and far and first < far else []


def lost_answers(row):
    """Who sent a SYN to the stand-in, was answered more than once, and never came through."""
    came = [arrival["from"] for arrival in row.value["arrivals"]]
    return [a for a, again in row.value["half_open"].items() if again and a not in came]


def end_words(row):
    """The words for the two ends of one connection, and both reports as the proof."""
    client, server = row.value["client"], row.value["server"]
    came = seen_as(row) or (client["sources"] + client["addresses"] + ["the client"])[0]
    return dict(client=client["host"], server=server["host"], scope=None, seen=client["code"],
                port=client["port"], proof=row.value["proof"], came=came)


def lapse_words(target, outages):
    """What `watch` says of its outages: how many, how long, when, of which kinds, where."""
    kinds = collections.Counter(outage["code"] for outage in outages)
    return dict(
        target=target, count=len(outages),
        seconds=sum(outage["to"] - outage["from"] for outage in outages),
        kinds=", ".join("%s (%d)" % kind for kind in kinds.most_common(4)),
        times=", ".join(time.strftime("%H:%M:%S", time.gmtime(outage["from"]))
                        for outage in outages[:4]) + " UTC",
        suspects=unique(place for outage in outages for place in outage["suspects"]))


def server_fault(row):
    """Holes of the fault that the server's report names; a capture there proves its own reset."""
    client, server = row.value["client"], row.value["server"]
    proven = server["code"] in SERVER_FAULTS or server["mode"] == "capture" \
        and server["code"] == client["code"] == "tcp.refused"
    if client["code"] == "ok" or not proven or row.value["apart_s"] > STATE_HOLDS_S:
        return None
    return dict(end_words(row), code=server["code"], why=server["summary"],
                confidence=server["confidence"], suspects=server["suspects"],
                cure=(server["fix"] or ["See its report."])[0])


def in_between(row):
    """The places between the ends that the client suspects; none: the rule's own."""
    return [place for place in row.value["client"]["suspects"] if place in PLACES[1:4]]


def said_on_the_way(row):
    """Does a refusal come from between the ends: the server saw nothing, and no end said no?"""
    client = row.value["client"]
    ends = ("client",) if client["code"] == "tcp.refused" else ("client", "server")
    return unseen_by_server(row) and client["suspects"][:1] and client["suspects"][0] not in ends


def flows_from(row):
    """The flows of this client in the server's capture."""
    shared = [theirs for _, theirs in shared_flows(row.value["client"], row.value["server"])]
    return shared or [
        flow for flow in row.value["server"]["flows"] if flow["client"] in row.value["here"]
        and flow["server_port"] in (row.value["client"]["port"], 0)]


def seen_as(row):
    """The address that the server saw of this client, or None: it saw none, or one of several."""
    client, server = row.value["client"], row.value["server"]
    peers = list(server["half_open"])
    known = [address for address in peers + server["peers"] + (server["arrivals"] or [])
             if address in row.value["here"]] + [flow["client"] for flow in flows_from(row)]
    if client["greeted"] and server["mode"] == "listen":
        return client["greeted"]["you"]
    lone = client["code"] in SILENCES and row.value["witnessed"] and not peers[1:] and [
        peer for peer in peers if server["half_open"][peer]]
    return (known or lone or [None])[0]


def answered_in_vain(row):
    """Holes of `oneway.reverse`: the server repeats its SYN/ACK to this client, or to one that may
    be this one behind NAT."""
    server, came, flows = row.value["server"], seen_as(row), flows_from(row)
    again = server["half_open"].get(came)
    vain = [flow for flow in flows if flow["synack"] and not flow["handshake"]]
    if is_udp(row.value["client"]):
        vain = came in (server["arrivals"] or ())
    elif not server["half_open"] and not flows:          # all that its report says is its verdict
        vain = server["code"] in ("handshake.incomplete", "oneway.reverse")
    if again is None and not vain or row.value["apart_s"] > STATE_HOLDS_S:
        return None
    known, quiet = came in row.value["here"], not server["peers"] and came
    how = ", which sends its SYN/ACK again and again" if again or flows else \
        ", which answers"
    return dict(                  # on a busy server a stranger that never answers may be anybody
        end_words(row), confidence="certain" if known and row.value["witnessed"] else
        "likely" if known or quiet or not came else "possible",
        how=how if known or not came else " as %s (NAT)%s" % (came, how))


def unseen_by_server(row):
    """How the server looked at the right time and saw nothing of this client; None: it did not."""
    server = row.value["server"]
    blind = is_udp(row.value["client"]) and server["mode"] == "server"     # to datagrams
    if blind or not row.value["witnessed"] or seen_as(row) or server["half_open"] \
            or server["code"] not in ("ok", "undecided", "oneway.forward"):
        return None
    listens = server["listens"] or server["listens"] is None and server["code"] == "ok" \
        and server["mode"] == "server"
    return "listens there, looked" if listens else "captured there" if server["captured"] else None


def changes_of(report):
    """The run before beside the last one, where they differ."""
    for last, row in [(last, row) for last in with_role(report, "client")
                      for row in with_role(report, "before")]:
        before, now = row.value, last.value
        what = differences(before, now)
        if what or before["code"] != now["code"]:
            yield row._replace(value=dict(
                before=before, now=now, what=what, proof=[last, row]))


def is_next_door(egress, address):
    """True when the route to `address` has no gateway."""
    return not (about(egress, address) or {"via": address})["via"]


def untimely(chain, now):
    """[(code, when, certificate)] of those in a chain whose time is not now."""
    return [("tls.expired", c["not_after"], c) if c["not_after"] < now else
            ("tls.not_yet_valid", c["not_before"], c)
            for c in chain if not c["not_before"] <= now <= c["not_after"]]


def trust_faults(value, chain, wish, now):
    """(code, holes) of what is wrong with the certificates of one handshake, told apart."""
    if now is None:
        return
    if value["ended"] in ("untrusted", "unverified"):
        dated = untimely(chain, now)
        for code, when, certificate in dated[:1]:
            yield code, dict(name=name_text(certificate["subject"]), date=utc_text(when))
        if value["ended"] == "unverified":            # by nobody: a CA's name proves nothing
            dated = dated or not (chain and chain[0]["self_issued"])
        if not dated or value["ended"] == "untrusted" and value["verify_code"] not in (None, 9, 10):
            yield chain_fault(chain, value.get("store") or {})
    for leaf in chain[:1]:
        left_s, wanted = leaf["not_after"] - now, wish.get("sni") or wish["host"]
        if 0 < left_s < CERT_SOON_S:
            yield "tls.expiring", dict(name=name_text(leaf["subject"]), days=int(left_s // 86400),
                                       date=utc_text(leaf["not_after"]))
        if wanted and not name_matches(leaf, wanted):
            names = ", ".join(printable(n, 60) for n in names_of(leaf)[:3]) or "nobody"
            yield "tls.name_mismatch", dict(names=names, wanted=wanted)


def chain_fault(chain, store):
    """Self-signed, incomplete or unknown CA: from what was sent, not from OpenSSL's number 20."""
    holes = dict(name="unknown", issuer="unknown", store=store.get("file")
                 or "this host's trust store")
    if not chain:
        return "tls.untrusted_ca", holes
    leaf, last = chain[0], chain[-1]
    holes.update(name=name_text(leaf["subject"]), issuer=name_text(last["issuer"]))
    if leaf["self_issued"]:
        return "tls.self_signed", holes
    issuer = dict(reversed([tuple(p) for p in last["issuer"]]))
    related = any(issuer.get(key) and issuer[key] in (store.get("owners") or ())
                  for key in ("O", "CN"))
    middle = re.search(r"(?i)intermediate|issuing|sub.?ca", issuer.get("CN") or "")
    if not last["self_issued"] and (related or middle or len(chain) == 1 and leaf["aia"]):
        return "tls.incomplete_chain", holes
    return "tls.untrusted_ca", holes


# -- views: what several rules look at, by the names that their parameters have -------------------

def failing_ways(wish, goals, route, tcp):
    """Route decisions that matter: of addresses that failed; of resolvers when all of them fail."""
    rows = [r for r in route if isinstance(r.value, dict) and not r.subject.startswith("127.")]
    if goals:
        return [r for r in rows if not met(rows_about(tcp, r.subject), "ok")]
    return rows[:1] if wish["host"] and all(r.value["error"] for r in rows) else []


def full_words(conntrack):
    """How full the table of tracked connections is, or None while there is room."""
    used, most = [(about(conntrack, name) or {}).get("entries") or 0 for name in ("count", "max")]
    return "%d of %d" % (used, most) if most and used > most * 0.98 else None


def is_heard(tcp, ping, other_traces, dns, general_dns):
    """Did anything at all come from a next hop or by it?"""
    asked = tcp + dns + general_dns
    return bool(met(asked, "ok", "refused")) or any(
        said(r, "icmp") or said(r, "reached") for r in asked + ping) or any(
            hop_table([r], r.subject) or distance([r], r.subject) for r in other_traces)


def silent_hops(neighbor, ways, tcp, heard, segment):
    """Next hops silent at layer 2: an answer about each failing address behind them.

    A `count` of others were asked for there too and those `answering` did; in `company` somebody
    did anywhere.  It is a guess where the kernel still believes in it, and nothing was `heard`.
    """
    found, company = [], [r for r in segment if set(r.value.values()) & set(ALIVE)]
    for row in saying(neighbor, "state", *DEAD + BELIEVED * (not heard)):
        behind = [w.subject for w in ways if (w.value["via"] or w.subject) == row.value["ip"]]
        talks = [t for t in tcp if t.value and t.subject in behind]
        outdated = met(talks, "ok") or any(
            t.value["icmp"] and t.value["icmp"][0]["from"] and t.value["errno"] != "EHOSTUNREACH"
            for t in talks)
        others = dict(about(segment, row.subject) or {}, **{row.value["ip"]: None})
        value = dict(row.value, hop=row.value["ip"], company=company, count=len(others) - 1,
                     answering=set(others.values()) & set(ALIVE))
        found += [row._replace(subject=a, value=value) for a in behind if not outdated]
    return found


def clear_handshakes(tls, hello):
    """What clear ClientHellos met where neither ssl nor openssl is there, as handshakes.

    An alert, a reset or a close may be about what our old ClientHello offers: they say nothing.
    """
    known, rows = [row.subject for row in tls], {}
    for row in [h for h in succeeded(hello) if host_of(h) not in known]:
        value = row.value
        ended = "not_tls" if value["not_tls"] else "unverified" if value["chain"] else \
            "stalled" if value["ended"] == "silent" else None
        if ended:
            rows.setdefault(host_of(row), row._replace(subject=host_of(row), value=dict(
                value, ended=ended, alert=None, error=None, reason=None, verify_code=None)))
    return list(rows.values())


def icmp_errors(tcp, udp, own):
    """Each kind of ICMP error from elsewhere: an answer with its `kind`, `router` and `words`."""
    found = collections.OrderedDict()
    for row in tcp + udp:
        for error in said(row, "icmp") or ():
            kind = icmp_kind(row.subject, error)
            if error["from"] not in own:
                found.setdefault((row.probe, row.subject, kind), row._replace(value=dict(
                    row.value, kind=kind, router=error["from"],
                    words=icmp_words(row.subject, error))))
    return list(found.values())


def environment_words(marks, proxy_env):
    """Container, cloud and Kubernetes marks in words: they say whose firewall may be meant."""
    marks, env = about(marks, "self") or {}, about(proxy_env, "self") or {}
    pod = env.get("kubernetes") or any("kubernetes" in path for path in marks)
    box = "/.dockerenv" in marks or "/run/.containerenv" in marks
    maker = " ".join(text.lower() for path, text in marks.items() if "dmi" in path)
    return "; ".join(words for seen, words in (
        (pod, "Kubernetes pod (NetworkPolicy, endpoints of the service)"),
        (box and not pod, "container (its network mode and published ports)"),
        ("amazon" in maker, "AWS: security group, network ACL"),
        ("google" in maker, "Google Cloud: VPC firewall rules"),
        ("microsoft" in maker, "Azure: network security group")) if seen)


def alive_words(ping, other_ports, other_traces):
    """{address: how we know that the host is alive, whatever the port does}."""
    words = {r.subject: "the trace reaches the host" for r in other_traces
             if distance([r], r.subject)}
    for row in reversed(met(other_ports, "ok", "refused")):
        host, _, port = row.subject.partition(" ")
        words[host] = "port %s %s" % (port, "is open" if row.outcome == "ok" else "answers")
    words.update((r.subject, "the host answers ping") for r in ping if said(r, "reached"))
    return words


VIEWS = {
    "own": own_addresses, "failing": failing_ways, "heard": is_heard, "silent_hops": silent_hops,
    "icmp_errors": icmp_errors, "alive": alive_words, "environment": environment_words,
    "full": full_words, "proxy": proxy_for, "goals": addresses,           # (the target's own)
    "wish": lambda target: target[0].value,                               # what was asked for

    "now": lambda clock: clock[0].value["epoch"] if clock else None,      # this host's time
    "ways": lambda egress: succeeded(egress),                             # routes that are taken
    "gateways": lambda ways: {way.value["via"] for way in ways} - {None},
    "unresolved": lambda lookup: met(lookup, "refused"),
    "dead_first": lambda dns: [] if not succeeded(dns) or met(            # while another answered
        rows_about(dns, host_of(dns[0])), "ok") else rows_about(dns, host_of(dns[0])),
    "absent": lambda dns: not saying(dns, "rcode", "NOERROR") and saying(dns, "rcode", "NXDOMAIN"),
    "known": lambda wish, dns: [                                          # by the resolvers
        a for a in dns_addresses(dns) if wish["family"] in (0, None, is_address(a))],
    "connections": lambda wish, tcp: tcp if wish["port"] is not None else [],   # a bare host's: no
    "silent": lambda tcp: [r for r in saying(tcp, "state", "silent") if not r.value["icmp"]],
    "undelivered": lambda silent, unheard: [
        test for row in silent for test in succeeded(rows_about(unheard, row.subject))],
    "stopped": lambda tcp, own, trace_tcp, egress: {                      # {address: how, in words}
        row.subject: how for row in tcp for how in [
            row.value and local_refusal(row, own, trace_tcp, egress)] if how},
    "asked_in_vain": lambda icmp_errors, alive: [     # by the last router, and no firewall
        r for r in icmp_errors if r.value["kind"] in HOST_UNREACHABLE
        and r.value["router"] != r.subject and (is_late(r) or r.subject not in alive)],
    "rejections": lambda icmp_errors, asked_in_vain: [  # without those of udp.closed
        r for r in icmp_errors if r.value["kind"] in REJECTED | HOST_UNREACHABLE
        and r not in asked_in_vain and (r.probe, r.value["router"]) != ("udp", r.subject)],
    "other_traces": lambda trace_udp, trace_icmp: trace_udp + trace_icmp,   # not of this port
    "traces": lambda trace_tcp, other_traces: trace_tcp + other_traces,
    "present": lambda alive, neighbor: dict(                              # at layer 2 at least
        {r.value["ip"]: "the host answers at layer 2 (ARP or neighbor discovery)"
         for r in saying(neighbor, "state", *ALIVE)}, **alive),
    "outsized": lambda sizes: [rows_about(sizes, a)[0]._replace(subject=a)
                               for a in size_suspects(saying(sizes, "by", "echo"))],
    "lapses": lambda checks: succeeded(checks),                    # (watch) all that was checked
    "ends": lambda report: list(ends_of(report)),                  # (merge) client beside server
    "changes": lambda report: list(changes_of(report)),            # and then beside now
    "full_size": lambda transfer: [r for r in transfer if r.subject == host_of(r)],   # not clamped
    "patterns": lambda exchange: [
        r for r in succeeded(exchange) if r.subject == host_of(r)],
    "far_ends": lambda tcp, udp, own: [
        row._replace(value=dict(told, you_port=told["port"], nat=told["you"] not in own | {
            said(row, "local")})) for row in tcp + udp for told in [greeting_of(row)] if told],
    "handshakes": lambda tls, hello: succeeded(tls) + clear_handshakes(tls, hello),
    "chains": lambda wish, tls, hello, peer, handshakes: {  # {address: the longest that it sent}
        row.subject: max([said(r, "chain") or [] for r in rows_about(tls + peer + [
            h for h in hello if not (wish["sni"] and h.subject.endswith(" bare"))], row.subject)],
                         key=len) for row in handshakes},
    "distrust": lambda wish, now, handshakes, chains: {                   # {(address, code): holes}
        (row.subject, code): holes
        for row in saying(handshakes, "ended", "done", "untrusted", "unverified")
        for code, holes in trust_faults(row.value, chains[row.subject], wish, now)},
    "trusting": lambda stores: [row.subject for row in saying(stores, "ended", "done")],
    "http2_only": lambda http, tls: [
        row.subject for row in latest(http) if wants_http2(row, tls)],
    "exchanges": lambda http, http2_only: [             # of HTTP/1.1
        row for row in latest(succeeded(http)) if row.subject not in http2_only],
    "spoken": lambda connections, words, udp: saying(connections, "after", "data") + [
        row for row in words + udp if said(row, "bytes") or said(row, "refuses")],
    "unanswered": lambda words: [row for row in succeeded(words) if not row.value["bytes"]
                                 and row.value["stage"] == "http"],
    "mute": lambda wish, connections, unanswered: saying(
        connections if wish["speaks_first"] and not wish["tls"] else [], "after", "open") + saying(
            unanswered, "ended", "silent"),
    "ended": lambda connections, unanswered: connections + [
        row._replace(value=dict(row.value, after=row.value["ended"])) for row in unanswered],
    "lost_mark": lambda marked, ssh: [r for r in marked if said(r, "silent")] + met(ssh, "timeout"),
    "tunnels": lambda tunnel: saying(tunnel, "status", 200)}              # proxies that let us by


LISTEN_ERRORS = {
    "EADDRINUSE": "another program listens there already (`ss -ltnp`): the service is not absent",
    "EACCES": "ports below 1024 need root", "EADDRNOTAVAIL": "it has no such address"}


# -- judging --------------------------------------------------------------------------------------

def judge(answers):
    """All rules on the answers -> (verdict, findings, unjudged); pure."""
    seen = Seen((name, [a for a in rows if a.outcome != "unknown"])
                for name, rows in by_probe(answers).items())
    found, unjudged = [], not_asked(answers)
    for item in RULES.values():
        try:
            found += [finding_of(item, holes, seen) for holes in accusations(item, seen)]
        except Exception as error:             # a broken rule is a line, and never a lost report
            unjudged.append({"question": item.name, "why": "the rule crashed: %s: %s" % (
                type(error).__name__, error)})
    findings = demote(merge(hide_consequences(found)), seen)
    return verdict(findings, seen), findings, unjudged


def accusations(item, seen):
    """What one rule says: the holes of its words, and what differs from its usual finding."""
    args = [seen[name] for name in item.sees]
    if not item.each:
        return list(item.function(*args))
    told = [(row, item.function(row, *args)) for row in seen[item.each]]
    return [blame(row, **holes if isinstance(holes, dict) else {}) for row, holes in told if holes]


def finding_of(item, holes, seen):
    """(codes that it hides, Finding); its words know the target and what the first proof says."""
    wish, scope = seen["wish"], holes.get("scope")
    code, severity = holes.get("code", item.codes[0]), holes.get("severity", item.severity)
    once = tls_steps(wish) and re.match("tls|service", code)      # asked of one address, for all
    if once or scope not in seen["goals"]:  # or about the way to a resolver
        scope = None
    sources = [way.value.get("src") for way in seen["ways"] if scope in (None, way.subject)]
    facts = holes["proof"][0].value if isinstance(holes["proof"][0].value, dict) else {}
    words = dict(facts, host=wish.get("host"), port=wish.get("port") or wish.get("knock_port"),
                 here=(sources or [None])[0] or "this host")
    words.update(holes)
    says, fix, ask = [text.format(**words) for text in (item.says, item.fix, item.ask or item.fix)]
    if code in ("tcp.filtered", "tcp.rejected", "path.dead_end") and seen["environment"]:
        fix += " Here also: %s." % seen["environment"]
    if once and code.startswith("tls.") and code not in MISMADE:
        severity = "warn"                   # STARTTLS: most clients go on without it, or unverified
    return holes["hides"].split() if "hides" in holes else item.hides, Finding(
        code, severity, list(holes.get("suspects") or item.where),
        holes.get("confidence", item.sure), says, [fix], ask, holes["proof"],
        (scope,) if scope else (), [], item.layer)


def not_asked(answers):
    """What could not be asked, and why: one line for each question."""
    pairs = unique(((PROBES[row.probe].function.__doc__ or row.probe).split("\n")[0],
                    printable("; ".join(unique(why for _, why in row.tried)), 160))
                   for row in answers
                   if row.outcome == "unknown" and row.tried and row.probe in PROBES)
    return [{"question": what, "why": why} for what, why in pairs if why != "switched off"]


def hide_consequences(found):
    """Move each finding that a cause explains into that cause's consequences."""
    hidden = set()
    for hides, cause in found:
        for _, other in found:
            same = not cause.scope or cause.scope == other.scope \
                or not other.scope and cause.code != other.code
            if same and cause.severity == "fail" and other is not cause \
                    and other.code in hides and other.severity != "info":
                cause.consequences[:] = unique(cause.consequences + [other.code])
                hidden.add(id(other))
    return [other for _, other in found if id(other) not in hidden]


def merge(findings):
    """One finding for the same code on several addresses; the others are named in its words."""
    merged = collections.OrderedDict()
    for row in findings:
        key = row.code, row.severity, tuple(row.suspects)
        first = merged.setdefault(key, row)
        if row.scope and row.scope[0] not in first.scope:
            text = first.summary.rstrip(".")
            front = text[:-1] + "," if "(also " in text else text + " (also"
            merged[key] = first._replace(
                summary="%s %s)." % (front, row.scope[0]), scope=first.scope + row.scope,
                proof=first.proof + row.proof)
    return list(merged.values())


def working_addresses(findings, seen):
    """Addresses that work at the layer asked for: open, and with no failure of their own."""
    wish, good = seen["wish"], met(seen["tcp"] + seen["udp"], "ok")
    if wish["host"] and wish["port"] is None:
        good += [r for r in seen["tcp"] if r.outcome == "refused" or r.subject in seen["alive"]]
    elif wish["protocol"] in ("http", "https"):
        spoken = [r.subject for r in latest(seen["http"]) if said(r, "status")] + seen["http2_only"]
        good = [r for r in good if r.subject in spoken]
    elif wish["tls"]:
        done = {r.subject for r in saying(seen["handshakes"], "ended", "done")}
        good = [r for r in good if r.subject in done]
    bad = {a for f in findings if f.severity == "fail" for a in f.scope}
    return [r.subject for r in good if r.subject not in bad]


def demote(findings, seen):
    """A failure of one address is a warning while another address (or the proxy) works."""
    good, excused = working_addresses(findings, seen), codes_of("AWAY") if seen["tunnels"] else ()
    return [f._replace(severity="warn") if f.severity == "fail" and (
        good and f.scope or f.code in excused) else f for f in findings]


def verdict(findings, seen):
    """One cause: the first failure in the order of the layers; else ok, or what is undecided."""
    fails = [f for f in findings if f.severity == "fail"]
    if fails:
        return finding_verdict(min(fails, key=lambda f: f.layer))
    wish, good = seen["wish"], working_addresses(findings, seen)
    if wish["mode"] in MODE_VERDICTS:
        return MODE_VERDICTS[wish["mode"]](seen)
    if wish["mode"] == "host" or good or seen["tunnels"]:
        return Verdict("ok", [], "certain", ok_words(wish, good, seen), [], None)
    telling = [f for f in findings if f.severity == "warn"
               and f.code in ("udp.no_reply", "path.loss", "dns.slow")]
    if telling:
        return finding_verdict(telling[-1])
    places, words = PLACES[:6], "Not enough was seen to name a cause for %s." % wish["host"]
    for row in succeeded(seen["tcp"])[:1]:
        above = "TLS works, and what lies above it" if saying(
            seen["handshakes"], "ended", "done") else "what lies above TCP"
        places, words = ["service"], "%s port %s opens, %s could not be tested." % (
            row.subject, wish["port"], above)
    return Verdict("undecided", list(places), "possible", words, [
        "See 'not tested' below; run again with more time (--deadline 60) or as root."], None)


def listen_verdict(seen):
    """What reached the stand-in: `ok` when anybody did."""
    facts, wish = seen["arrivals"][0].value, seen["wish"]
    place = "%s/%s" % (endpoint(wish["host"], wish["port"]), wish["transport"])
    if facts["error"]:
        return Verdict("undecided", ["client"], "certain", "This host cannot listen on %s: %s." % (
            place, LISTEN_ERRORS.get(facts["error"], facts["error"])), [
                "Choose another port or address, or run it as root."], None)
    came = collections.Counter(row["from"] for row in facts["arrivals"])
    if not came:
        return Verdict("undecided", [], "possible", "Nothing arrived at %s." % place, [
            "Run `netdiag.py %s://%s` on the client meanwhile; --bind says which address it"
            " shall reach." % (wish["transport"], endpoint(wish["host"], wish["port"]))], None)
    return Verdict("ok", [], "certain", "%s arrived at %s: %s." % (
        "A connection" if len(facts["arrivals"]) == 1 else "%d connections" % len(
            facts["arrivals"]), place, ", ".join(
                "%s (%d)" % row for row in came.most_common(5))), [], None)


def watch_verdict(seen):
    """Always the same: it always worked, or it always failed, and then how."""
    facts, wish = seen["checks"][0].value, seen["wish"]
    if not facts["checks"]:
        return Verdict("undecided", [], "possible", "It ended before the first check.", [], None)
    return Verdict("ok", [], "certain", "%s answered all %d checks in %d s, the slowest in %.0f ms."
                   % (wish["host"], facts["checks"], facts["seconds"], facts["slowest_ms"]), [],
                   None)


def traits_of(report):
    """What the report about one host and target may have in common with others: [(kind, value)],
    the kinds that say most first."""
    client = next(row.value for row in report.answers if row.probe == "report")
    source = (client["sources"] + client["addresses"] + [None])[0]
    segment = source and network_of(source)
    return unique([("target", client["target"]), ("target host", client["goal"])] + [
        ("host", client["host"])] + [("source segment", segment)] * bool(segment) + [
            ("hop", hop["address"]) for hop in client["path"][::-1]
            if hop["address"] not in client["goals"] + [None]] + [("port", client["port"])])


def network_of(address):
    """The usual segment of an address: its /24, or its /64."""
    import ipaddress
    net = "%s/%d" % (address.partition("%")[0], 64 if ":" in address else 24)
    return str(ipaddress.ip_network(net, strict=False))


def common_ground(reports):
    """What the failing reports share and the others do not -> [{what, value, failed, fine}]."""
    failed, fine = collections.OrderedDict(), collections.Counter()
    bad = sum(report.verdict.code not in NO_FAULT for report in reports)
    for report in reports:
        for trait in traits_of(report):
            if report.verdict.code in NO_FAULT:
                fine[trait] += 1
            else:
                failed[trait] = failed.get(trait, 0) + 1
    shared = [dict(what=what, value=value, failed=count, fine=fine[what, value])
              for (what, value), count in failed.items() if count == bad]
    telling = [row for row in shared if not row["fine"]]
    return telling or sorted(shared, key=lambda row: row["fine"])    # stable: see traits_of


def group_verdict(reports, common):
    """One verdict for many hosts and targets: what most of the failing ones say, and where."""
    bad = [report.verdict for report in reports if report.verdict.code not in NO_FAULT]
    unsure = [report for report in reports if report.verdict.code in ("undecided", "udp.no_reply")]
    if not bad:
        return Verdict(
            "undecided" if unsure else "ok", [], "possible" if unsure else "certain",
            "%d of %d work%s." % (len(reports) - len(unsure), len(reports), ", the others are"
                                  " undecided" if unsure else ""), [], None)
    code, count = collections.Counter(result.code for result in bad).most_common(1)[0]
    first = next(result for result in bad if result.code == code)
    words = "%d of %d fail, %s with %s" % (len(bad), len(reports), count if count < len(
        bad) else "all" if len(bad) > 1 else "it", code)
    places, sure, fix = first.suspects, "possible", first.fix
    if common and bad[1:]:
        trait = common[0]
        words += "; what they share is the %s %s" % (trait["what"], trait["value"])
        if len(bad) < len(reports) and not trait["fine"]:
            words += ", and all that lacks it works"
            places, sure = TRAIT_PLACES.get(trait["what"], places), "likely"
            fix = ["See what is special about the %(what)s %(value)s." % trait] + fix
        elif trait["fine"]:
            words += ", which %d others have too, and work" % trait["fine"]
    elif bad[1:]:
        words += "; they have nothing in common"
    owner = PLACE_OWNER.get((list(places) or ["client"])[0])
    return Verdict(code, list(places), sure, words + ". " + first.summary, fix, fix and {
        "who": owner, "text": fix[0]} or None)


def merge_verdict(seen):
    """Where both ends give no more: the client's own verdict, or why they do not fit together."""
    clients, words = with_role(seen["report"], "client"), ""
    if not clients:
        return Verdict("undecided", [], "possible", "No client has reported.", [], None)
    client = clients[0].value
    doubtful = client["code"] in SILENCES + ["tcp.refused", "tcp.rejected"]
    for row in sorted(seen["ends"], key=lambda row: row.value["apart_s"])[:1]:
        server, far_s = row.value["server"], row.value["apart_s"]
        if doubtful and not row.value["witnessed"]:
            return Verdict(
                "undecided", client["suspects"], "possible", "%s sees %s (%s), and the report of %s"
                " was made %s apart: at another time it proves nothing." % (
                    client["host"], client["target"], client["code"], server["host"],
                    "%d min" % (far_s / 60) if far_s >= 120 else "%d s" % far_s), [
                        "Run both at the same time: on the server `netdiag.py server %s --for 30s"
                        " --client %s`, meanwhile netdiag on the client." % (
                            client["port"], (client["sources"] + ["ADDRESS"])[0])], None)
        words = " (%s: %s)" % (server["host"], server["code"])
    owner = PLACE_OWNER.get((client["suspects"] or ["client"])[0])
    asked = {"who": owner, "text": client["fix"][0]} if client["fix"] else None
    return Verdict(client["code"], client["suspects"], client["confidence"],
                   client["summary"] + words, client["fix"], asked)


def finding_verdict(finding):
    """The verdict that a finding is."""
    owner = PLACE_OWNER.get(finding.suspects[0] if finding.suspects else "client")
    return Verdict(finding.code, finding.suspects, finding.confidence, finding.summary,
                   finding.fix, {"who": owner, "text": finding.ask})


def ok_words(wish, good, seen):
    """What works, in one sentence."""
    if wish["mode"] == "host":
        return "Link, address, route, gateway and resolver of this host look fine."
    if not good:
        return "%s is reached through the proxy %s." % (wish["host"], seen["tunnels"][0].subject)

    def told(probe, key):
        return [said(r, key) for r in latest(seen[probe]) if said(r, key)][:1]
    parts = [wish["host"] + (" port %s" % wish["port"] if wish["port"] else "") + " answers"]
    parts += ["%s with a trusted certificate" % version for version in told("tls", "version")]
    parts += ["HTTP %d" % status for status in told("http", "status")] or [
        '"%s"' % re.sub(r"\\r|\\n.*| you=.*", "", words)[:50] for words in told("tcp", "greeting")]
    return ", ".join(parts) + "."


# {mode: what is said where no rule found a fault}
MODE_VERDICTS = {"listen": listen_verdict, "watch": watch_verdict, "merge": merge_verdict}

# == 9 report: values in, text out =================================================================

WIDTH = 80
COLORS = {"ok": "32", "fail": "31", "warn": "33", "info": "36"}
SEVERITY_WORDS = {"fail": "a fault", "warn": "a warning", "info": "a remark"}  # the worst first
NO_FAULT = {"ok": "OK", "undecided": "UNDECIDED", "udp.no_reply": "UNDECIDED"}
PHASES = dict(dns="lookup", tcp="connect", tls="TLS", first_byte="first byte")
NOISY = ("target", "counters", "marks", "interfaces_now")
# The first clause of an advice, without a remark at its end; what stands in quotes ends nothing.
CLAUSE = re.compile(r"(?:`[^`]*`|\([^)]*\)|[^`(])+?(?:\?(?= |$)|(?=(?: \([^)]*\))?[.;:](?: |$)))")


def paint(text, kind, color):
    """Colour as decoration only: the words carry the meaning."""
    return "\033[%sm%s\033[0m" % (COLORS[kind], text) if color else text


def wrap(text, front="  ", indent=None, room=None):
    """Lines of at most WIDTH columns, hanging behind `front`; at most `room` of them."""
    import textwrap
    return textwrap.wrap(text, WIDTH, initial_indent=front, break_on_hyphens=False, max_lines=room,
                         placeholder=" ...", subsequent_indent=indent or " " * len(front)) or [""]


def fit(text, front, room):
    """At most `room` lines: all of a text, else its first clauses, else cut with a mark."""
    ends = [clause.end() for clause in CLAUSE.finditer(text)] if front != "  " else ()
    for words in [text] + [(text[:end] + ".").replace("?.", "?") for end in reversed(ends)]:
        lines = wrap(words, front)
        if len(lines) <= room:
            return lines
    lines = wrap(text, front, room=room)
    return lines[:-1] + [re.sub(r"[,;:] \.\.\.$", " ...", lines[-1])]


def shorten(text, width=WIDTH):
    """At most `width` characters, with a mark where something is missing."""
    return text if len(text) <= width else text[:max(0, width - 3)] + "..."


def render_text(report, packets, color=False):
    """The whole report: the verdict, and below it each part that has something to say."""
    table = by_probe(report.answers)
    way = next((row.value for row in succeeded(table["egress"] + table["route"])
                if not row.value["error"]), {})
    host, known = report.target.host or "-", ", ".join(found_addresses(table))
    server = host if known in ("", host) else "%s = %s" % (host, known)
    untested = [line for row in report.unjudged for line in wrap(
        "%s: %s" % (row["question"].rstrip("."), row["why"]), "  - ")]
    rows = ticket_rows(report, table, way, server, packets).items()
    ticket = [line for label, text in rows for line in wrap(
        text or "________", "  %-13s " % (label.replace("_", " ") + ":"))]
    parts = (("PATH", path_lines(report, way, server)), ("TIMES", time_lines(report.timings_ms)),
             ("FINDINGS", finding_lines(report.findings, color)),
             ("NOT TESTED", untested), ("TICKET (copy from here)", ticket))
    blocks = [verdict_lines(report, color)] + [[name] + lines for name, lines in parts if lines]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def render_mode(report, packets=0, color=False):
    """The report of a mode: with a part of its own, and a path where one was drawn from here."""
    if report.target.mode not in MODE_PARTS:
        return render_text(report, packets, color)
    name, lines = MODE_PARTS[report.target.mode](by_probe(report.answers))
    if report.target.mode == "watch" and report.verdict.code not in NO_FAULT:
        return "\n".join([render_text(report, packets, color), name] + lines) + "\n"
    parts = ((name, lines), ("FINDINGS", finding_lines(report.findings, color)))
    blocks = [verdict_lines(report, color)] + [[name] + lines for name, lines in parts if lines]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def arrival_line(row):
    """One arrival at the stand-in: when, from where, and what the network has made of it."""
    return "  %s  %-24s TTL %-4s MSS %-6s %d bytes" % (
        row["at"][11:19], endpoint(row["from"], row["port"]), row["ttl"] or "?", row["mss"] or "-",
        row["bytes"])


def clock_text(epoch):
    """The time of day of this host."""
    return iso_time(epoch)[11:19]


def outage_times(outage):
    """'12:00:05-12:00:17': from the first check that failed to the last one."""
    return "%s-%s" % (clock_text(outage["from"]), clock_text(outage["to"]))


def outage_line(outage):
    """One line of the outage log."""
    return "  %s  %s, %s: %s" % (outage_times(outage), outage["code"], outage["confidence"],
                                 outage["summary"])


def outage_lines(table):
    """The outage log of `watch`."""
    facts = table["checks"][0].value
    return ["  %d checks in %d s, %d failed" % (
        facts["checks"], facts["seconds"], facts["failed"])] + [
            line for row in facts["outages"] for line in wrap(
                outage_line(row).strip(), "  ", " " * 21)] + [
                    "  and %d more outages" % facts["more_outages"]] * bool(facts["more_outages"])


def end_lines(table):
    """Who reported what, and when: one line for each report that belongs together."""
    lines = []
    for row in table["report"]:
        value = row.value
        known = ", ".join(unique(value["sources"] + value["addresses"])[:2]) or "-"
        lines += wrap("%-7s %s  %s  %s  %s" % (
            value["role"], utc_text(value["began_s"]), value["host"] if "(" in value["host"] else
            "%s (%s)" % (value["host"], known), value["target"], value["code"]), "  ", " " * 10)
    return lines


def render_group(group, reports, color):
    """Many hosts and targets: the one verdict, the matrix, and one line for each that fails."""
    bad = [report for report in reports if report.verdict.code != "ok"]
    hosts, targets = group["matrix"]["hosts"], group["matrix"]["targets"]
    lines = [" " * 30 + " ".join("%3d" % n for n in range(1, len(targets[:12]) + 1))]
    rows = sorted(zip(hosts, group["matrix"]["codes"]), key=lambda row: not set(row[1]) - {"ok"})
    lines += ["  %-28s" % shorten(host, 28) + " ".join("%3s" % (
        "-" if code is None else "ok" if code == "ok" else "?" if code in NO_FAULT else "X")
        for code in codes[:12]) for host, codes in rows[:40]]
    lines += ["  and %d more hosts" % len(rows[40:])] * bool(rows[40:])
    lines += [""] + ["  %2d  %s" % (number, shorten(name, 72))
                     for number, name in enumerate(targets[:12], 1)]
    lines += ["  and %d more targets" % len(targets[12:])] * bool(targets[12:])
    told = ["%s: %d of those that fail have it, %d of the others" % (
        shorten("%(what)s %(value)s" % row, 40), row["failed"], row["fine"])
        for row in group["common"][:6]]
    parts = [("MATRIX", lines), ("IN COMMON", ["  " + line for line in told]), ("FAILING", [
        "  " + shorten("%-16s %-22s %s, %s: %s" % (
            host_of_report(report), report.target.text, report.verdict.code,
            report.verdict.confidence, "/".join(report.verdict.suspects[:2])), 78)
        for report in bad[:60]] + ["  and %d more" % len(bad[60:])] * bool(bad[60:]))]
    return "".join("\n%s\n%s\n" % (name, "\n".join(part)) for name, part in parts if part)


def render_merged(reports, group, color=False):
    """The report of mode `merge`: two ends in full, many as a group, and what was left out."""
    left_out = [line for text in group["not_joined"] + [
        "%s: %s" % (printable(path, 60), printable(why, 100))
        for path, why in list(group["unusable"].items())[:20]] for line in wrap(text, "  - ")]
    left_out += ["  - %d unusable files in all" % len(group["unusable"])] * (
        len(group["unusable"]) > 20)
    head = []
    if reports[1:]:
        first = reports[0]
        whole = first._replace(
            target=first.target._replace(text="%d hosts, %d targets" % (len(group["matrix"][
                "hosts"]), len(group["matrix"]["targets"])), port=None),
            verdict=Verdict(**group["verdict"]), findings=[], complete=True)
        head = ["\n".join(verdict_lines(whole, color)) + "\n" + render_group(group, reports, color)]
    shown = [report for report in reports if not reports[1:] or report.findings][:20]
    texts = head + [render_mode(report, 0, color) for report in shown]
    return ("\n" + "-" * WIDTH + "\n").join(texts) + (
        "\nNOT JOINED\n" + "\n".join(left_out) + "\n" if left_out else "")


def host_of_report(report):
    """The client of one target of a merged report."""
    return next(row.value["host"] for row in report.answers if row.probe == "report")


def group_json(reports, spare, useless):
    """What mode `merge` adds to the document: the matrix, what fails have in common, the rest."""
    hosts, targets = (unique(names) for names in zip(*[
        (host_of_report(report), report.target.text) for report in reports]))
    codes = {(host_of_report(report), report.target.text): report.verdict.code
             for report in reports}
    common = common_ground(reports)
    return dict(
        verdict=group_verdict(reports, common)._asdict(), common=common,
        matrix={"hosts": hosts, "targets": targets,
                "codes": [[codes.get((host, name)) for name in targets] for host in hosts]},
        not_joined=["The report of %s about %s (%s) is about no service that a client's report is"
                    " about." % (row.value["host"], row.value["target"], row.value["code"])
                    for row in spare[:20]], unusable=useless)


MODE_PARTS = {
    "merge": lambda table: ("ENDS", end_lines(table)),
    "watch": lambda table: ("CHECKS", outage_lines(table)),
    "listen": lambda table: ("ARRIVALS", [
        arrival_line(row) for row in table["arrivals"][0].value["arrivals"]])}


def verdict_lines(report, color):
    """Under the title at most five lines: code, place and sureness; what; do this; ask them."""
    target, result = report.target, report.verdict
    title = "%s (%s)" % (target.text, target.protocol) if target.port else target.text
    head = "%s  %s, %s" % (NO_FAULT.get(result.code, "FAULT"), result.code, result.confidence)
    if result.suspects:
        head += " at: " + " or ".join(result.suspects[:3]).replace("_", " ")
    rows = [("  ", result.summary)] + [("  do:  ", text) for text in result.fix[:1]]
    rows += [("  ask: ", request_words(result))] if result.ask else []
    lines = []
    for number, (front, text) in enumerate(rows, 1):      # the first takes most, each has a line
        lines += fit(text, front, 4 - len(lines) - len(rows) + number)
    warned = unique(f.code for f in report.findings if f.severity == "warn")
    if result.code == "ok" and warned:
        lines += wrap("with warnings, see FINDINGS: " + ", ".join(warned), room=1)
    if not report.complete:
        lines.append("  The run was cut short: this rests on what was seen until then.")
    return [shorten("netdiag %s: %s" % (VERSION, title)),
            paint(shorten(head), "ok" if result.code == "ok" else "fail", color)] + lines


def request_words(result):
    """Who is asked for what: where `do:` says it already, by its first clause if that fits."""
    who, text, clause = result.ask["who"], result.ask["text"], CLAUSE.match(result.ask["text"])
    if text in result.fix[:1]:
        text = (clause.group() + ".").replace("?.", "?") if clause else text
        text = text if len("  ask: %s - %s" % (who, text)) <= WIDTH else "please do that."
    return "%s - %s" % (who, text)


def path_lines(report, way, server):
    """The way drawn from client to service, with a mark behind the place suspected most."""
    target, result = report.target, report.verdict
    if not target.host or not report.path and result.code.startswith("dns."):
        return []
    rows = [("client", 0, way.get("src") or "", None)]
    rows += [(hop["place"], hop["ttl"], hop["address"] or "* (no answer)", hop["rtt_ms"])
             for hop in report.path]
    if rows[-1][0] != "server":
        rows.append(("server", "", shorten(server, 39), None))
    if target.port:
        rows.append(("service", "", "%s port %d" % (target.transport.upper(), target.port), None))
    here = "this host (%s)" % way["dev"] if way.get("dev") else "this host"
    told = [(hop["mss"], hop["ttl"]) for hop in report.path if hop["mss"]]
    lines = ["%4s  %-39s %9s  %s" % (ttl, name, "" if ms is None else "%.1f ms" % ms,
                                     here if place == "client" else place.replace("_", " "))
             for place, ttl, name, ms in rows]
    if result.code not in NO_FAULT and set(result.suspects[:1]) & set(PLACES[:6]):
        ranks, worst = [PLACES.index(row[0]) for row in rows], PLACES.index(result.suspects[0])
        at = max(n for n, rank in enumerate(ranks) if rank <= worst)
        lines.insert(at + (worst < 4), "   X  ---- it breaks here: %s ----" % result.code)
    lines += ["      the MSS of our SYN is lowered from %d to %d before hop %d" % (
        was, now, ttl) for (was, _), (now, ttl) in zip(told, told[1:]) if now < was]
    return lines


def time_lines(timings_ms):
    """A bar for each phase, to one scale."""
    rows = [(name, timings_ms[key]) for key, name in PHASES.items()
            if timings_ms[key] is not None]
    scale = max([ms for _, ms in rows], default=0) or 1
    return ["  %-10s %9.1f ms  %s" % (name, ms, "#" * max(1, int(50 * ms / scale)))
            for name, ms in rows]


def finding_lines(findings, color):
    """Findings, the worst first and then by layer: what was seen, how sure, what to do."""
    lines = []
    for row in sorted(findings, key=lambda f: (list(SEVERITY_WORDS).index(f.severity), f.layer)):
        head = "  %-4s  %s (%s)" % (row.severity, row.code, row.confidence)
        ids = ",".join(unique(a.id for a in row.proof if a.id))
        lines.append(paint(head, row.severity, color) + shorten(ids and "  seen in " + ids, 40))
        lines += wrap(row.summary, " " * 8) + wrap(row.fix[0], "        -> ")
        if row.consequences:
            lines += wrap("explains: " + ", ".join(row.consequences), " " * 8)
    return lines


def ticket_rows(report, table, way, server, packets):
    """{label: text} of what network teams always ask for; None where nobody can know."""
    result, target, host = report.verdict, report.target, about(table["identity"], "self") or {}
    src, dev, via = way.get("src"), way.get("dev"), way.get("via")
    link = interface_named(table["interfaces"], dev) or {"inet": [], "inet6": []}
    cidr = [c for c in link["inet"] + link["inet6"] if c.partition("/")[0] == src] or [src]
    layer_2 = [" (layer 2: %s)" % row.value["state"] for row in table["neighbor"] if row.value]
    clock = about(table["clock"], "self")
    asked = {"to": result.ask["who"], "request": result.ask["text"]} if result.ask else {}
    return dict(
        symptom="%s: %s" % (result.code, result.summary),
        sure="%s; suspected: %s" % (result.confidence, ", ".join(result.suspects) or "-"),
        **asked, client=cidr[0], client_host=host.get("name"),
        interface=dev and "%s, MAC %s, MTU %s" % (
            dev, link.get("mac") or "?", link.get("mtu") or "?"),
        VLAN=find(r"(?:\.|^vlan)(\d+)$", dev or ""),
        gateway=via + "".join(layer_2[:1]) if via else dev and "none: on the own segment",
        server=server,
        protocol="%s %d (%s)" % (target.transport.upper(), target.port, target.protocol)
        if target.port else "-",
        time=clock and "%s (%s UTC)" % (clock["local"], clock["utc"][:19]),
        route_taken=dev and "from %s by %s%s" % (src, dev, " via " + via if via else ""),
        ruled_out=ruled_out(table, result), packets_sent="about %d to the target" % packets,
        run_by="%s%s, Python %s, netdiag %s" % (
            host.get("user"), " (root)" if host.get("root") else "", host.get("python"), VERSION),
        environment=environment_words(table["marks"], table["proxy_env"]),
        location=None, switch=None, switch_port=None)


def ruled_out(table, result):
    """The layers that were seen to work, in words; None where the target itself does."""
    links = table["interfaces"]
    fine = dict(
        link=any(row["up"] and row.get("carrier") for row in real_links(links)),
        address=usable_links(links), route=saying(succeeded(table["route"]), "error", None),
        gateway=saying(table["neighbor"], "state", *ALIVE), dns=succeeded(table["lookup"]),
        tcp=succeeded(table["tcp"]), tls=saying(table["tls"], "ended", "done"))
    return "-" if result.code == "ok" else ", ".join(
        layer for layer, seen in fine.items() if seen and not result.code.startswith(layer + "."))


def render_transcript(transcript, answers, verbose):
    """What was run and what was probed without a command, so that the reader can check us."""
    lines, (height, width) = ["TRANSCRIPT"], (400, 4000) if verbose else (40, 260)
    for entry in transcript:
        lines.append("  $ %s   [status %s, %.0f ms]" % (
            shorten(" ".join(entry["argv"]), 60), entry["status"], entry["ms"]))
        lines += ["    " + printable(line.replace("\t", "  "), 200)
                  for line in entry["output"].splitlines()[:height]]
    lines.append("  Evidence (probe/subject outcome value), commands and sockets alike:")
    shown = [a for a in answers if verbose or a.value is not None and a.probe not in NOISY]
    for row, line in zip(shown, evidence_lines(shown)):
        lines += wrap("%s %s" % (row.id, printable(line, width)), "    ", "      ")
    return "\n".join(lines) + "\n"


def render_brief(report):
    """One line for one target, of at most 120 columns."""
    result = report.verdict
    return shorten("%-24s %-21s %-8s %s: %s" % (
        shorten(report.target.text, 24), result.code, result.confidence,
        "/".join(result.suspects[:2]) or "-", result.summary), 120) + "\n"


def target_json(report, mark):
    """One target as the contract names its parts; `mark` goes before the ids of its evidence."""
    findings = [dict(zip(Finding._fields[:-1], f), ask=finding_verdict(f).ask,        # no layer
                     proof=unique(mark + a.id for a in f.proof if a.id)) for f in report.findings]
    return dict(zip(("target", "host", "port", "protocol"), report.target),
                addresses=found_addresses(by_probe(report.answers)),
                verdict=report.verdict._asdict(), findings=findings, unjudged=report.unjudged,
                path=report.path, timings_ms=report.timings_ms, elapsed_s=report.elapsed_s,
                complete=report.complete, **({"client": host_of_report(report)} if
                                             report.target.mode == "merge" else {}))


def render_json(reports, started, elapsed_s, sha256, transcript, packets, **more):
    """Exactly one JSON document: the reports, and what is known of the whole run."""
    import json
    table = by_probe(reports[0].answers)
    who, marks = (about(table[name], "self") or {} for name in ("identity", "marks"))
    rows = [("t%d." % n if reports[1:] else "", report) for n, report in enumerate(reports, 1)]
    document = dict(
        schema=1, netdiag={"version": VERSION, "sha256": sha256},
        mode=reports[0].target.mode, started=started, elapsed_s=elapsed_s,
        complete=all(report.complete for report in reports),
        host=dict({key: who.get(key) for key in "name system user root python".split()},
                  container=any("dmi" not in p and "hypervisor" not in p for p in marks),
                  addresses=sorted(own_addresses(table["interfaces"]) - {"127.0.0.1", "::1"})),
        targets=[target_json(report, mark) for mark, report in rows],
        evidence=[dict(row._asdict(), id=mark + row.id, value=public(row.value))
                  for mark, report in rows for row in report.answers],
        transcript=transcript, packets_sent=packets, **more)
    return json.dumps(document, indent=1, default=str) + "\n"


NARROW_FIRST = sorted(RULES.values(), key=lambda row: len(row.codes))
HOLE = re.compile(r"(?<=[\w}])\{(?!version)\w+\}|(?<=\}')\{\w+\}|\{(\w+)[^}]*\}")
PHRASES = "advice contrast cure how meaning other speaks views what who why witness words".split()
HOLE_WORDS = dict(dict.fromkeys(PHRASES, "..."), goal="TARGET", here="CLIENT", here_time="TIME",
                  hop="NEXT HOP", version="4/6")
OTHER_CODES = {"ok": "The target works at the layer that was asked for.", "undecided": "Not enough"
               " was seen to name a cause; the report says what was not tested."}


def plain_words(template):
    """The words of a rule without a case: NAMES for its holes, ... for a phrase."""
    words = HOLE.sub(lambda hole: HOLE_WORDS.get(hole[1], (hole[1] or "").upper()), template)
    return words.replace("....", "...")


def render_explain(code):
    """The manual page of one cause, from its rules; NotMine where no such code exists."""
    rules = [row for row in NARROW_FIRST if code in row.codes]
    mine(rules or code in OTHER_CODES, "no such code: " + printable(code, 60))
    own = [row for row in rules if row.codes == [code]] or rules
    lines = [code, "=" * len(code)]
    lines += [""] + wrap(OTHER_CODES[code]) if code in OTHER_CODES else []
    for row in own:
        cure = "It depends: the report says it." if row.fix == "{cure}" else plain_words(row.fix)
        lines += [""] + wrap(" ".join(row.function.__doc__.split("fires:")[0].split()))
        for label, text in (
                ("says", plain_words(row.says)), ("do", cure),
                ("where", ", or ".join(PLACE_WORDS[p] for p in row.where)),
                ("sure", "%s; taken alone it is %s" % (row.sure, SEVERITY_WORDS[row.severity]))):
            lines += wrap(text, "  %-7s " % (label + ":"))
    for row in rules[len(own):]:
        lines += ["", shorten("  also said by: " + plain_words(row.says))]
    return "\n".join(lines) + "\n"


def render_codes():
    """Every code with its first sentence."""
    words = {code: plain_words(row.says) for row in reversed(NARROW_FIRST) for code in row.codes}
    lines = ["All causes; `netdiag.py explain CODE` is the manual page of one.", ""]
    for code, text in sorted(dict(words, **OTHER_CODES).items()):
        lines += wrap(text, "%-23s " % code)
    return "\n".join(lines) + "\n"


# == 10 cli: options, modes, exit status ===========================================================

EXIT_OK, EXIT_FAULT, EXIT_UNDECIDED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 3, 64, 130
MODES = "server capture listen watch merge explain".split()
HELP = """usage: netdiag.py [-h | --help] [options] [TARGET...]  |  explain [CODE]

examples:
  netdiag.py web.example                  is the host there?
  netdiag.py db.example:5432              a port (known ones pick the protocol)
  netdiag.py https://web.example/path     name, way, TCP, TLS and HTTP
  netdiag.py ssh://web.example [2001:db8::1]:22
  netdiag.py                              this host alone: link, route, resolver
  netdiag.py explain                      all causes by their codes
  netdiag.py explain tcp.rejected         the manual page of one cause
  ssh box python3 - web.example:443 < netdiag.py
  netdiag.py listen 8443 --bind 0.0.0.0   stand in for a service, say what arrives
  netdiag.py merge client.json server.json         what neither end could say
  netdiag.py watch https://web.example/ --for 30m  diagnose when it fails

exit status: 0 fine, 1 a fault was found, 3 undecided or cut short,
64 wrong command line, 130 interrupted (after the partial report)

options:
  --json               one JSON document (wins over --brief)
  --brief              one line per target
  -4                   IPv4 only
  -6                   IPv6 only
  -n                   no reverse look-ups (the default)
  --timeout S          for one probe
  --deadline S         for everything (default %(deadline_s)g)
  --source ADDR        connect from this address
  --interface DEV      connect by this interface
  --connect-to ADDR    connect there; SNI and Host keep the name
  --sni NAME           another name in the TLS handshake
  --no-sni             no name in the TLS handshake
  --proxy URL          use this proxy, whatever the variables say
  --cafile FILE        trust these certificates (PEM)
  --only PROBE,...     run only these probes
  --skip PROBE,...     leave these probes out
  --no-tools           run no installed command
  --targets FILE       targets from a file, one a line; - for stdin
  --redact             mask addresses and names (not yet)
  --lang en|ja         language of the report (ja: not yet)
  --ticket             only the text to send, for whom the verdict names (not yet)
  --set KEY=VALUE      fill a blank of the ticket, such as site, switch, switch_port
  --client ADDR        server, capture: the client that it is about
  --for TIME           server, capture, listen, watch: so long, such as 10s or 5m
  --lldp TIME          server: listen so long for what the switch says of itself
  --port PORT          capture: packets of this port
  --write FILE         capture: keep the packets in a file (pcap, mode 0600)
  --read FILE          capture: read such a file instead
  --udp                listen: UDP instead of TCP
  --bind ADDR          listen: on this address (default: loopback)
  --from DIR           merge: all reports of a folder
  --output FILE        write the report there (mode 0600)
  --color WHEN         auto (only on a terminal), always or never
  -v, --verbose        with all evidence and the transcript
  --version            print the version
"""
DEFAULTS = dict(mode="target", family=0, deadline_s=DEADLINE_S, lang="en", color="auto", only=(),
                skip=(), set=())
# [(its flags, what it takes or "")]: the help is the table of the options
OPTION_TABLE = [(flags.split(", "), takes) for flags, takes in re.findall(
    r"(?m)^  ((?:-\w|--[\w-]+)(?:, --\w+)?) (\S*) ", HELP)]
OPTION_NAMES = {"-4": "family", "-6": "family", "-n": "numeric", "-v": "verbose",
                "--timeout": "timeout_s", "--deadline": "deadline_s", "--for": "for_s",
                "--from": "from_dir"}
THIS_HOST = Target("this host", None, None, None, "tcp", False, None, None, 0, "host")


def read_arguments(argv):
    """The command line -> (Options, [its other words]); NotMine on anything wrong."""
    takes = {flag: what for flags, what in OPTION_TABLE for flag in flags}
    known, texts, words = dict(dict.fromkeys(Options._fields), **DEFAULTS), [], list(argv)
    if argv and argv[0] in MODES:                 # a word is a mode only as the first one
        known["mode"] = words.pop(0)
    while words:
        word = words.pop(0)
        flag, mark, value = word.partition("=")
        if word == "--":
            texts, words = texts + words, []
        elif not re.match("-.", word):
            texts.append(word)
        else:
            mine(flag in takes, "there is no option %s; see --help" % flag)
            mine((mark or words) if takes[flag] else not mark, "%s takes %s" % (
                flag, takes[flag] or "nothing"))
            if takes[flag] and not mark:
                value = words.pop(0)
            name = OPTION_NAMES.get(flag) or flag[2:].replace("-", "_")
            value = option_value(flag, takes[flag], value)
            known[name] = known[name] + value if takes[flag] == "KEY=VALUE" else value
    return Options(**known), texts


def option_value(flag, takes, value):
    """What the value of an option stands for; NotMine for what cannot be meant."""
    if takes == "S":
        mine(re.match(r"\d{1,4}(\.\d{1,6})?$", value) and 0 < float(value) <= 3600,
             "%s takes seconds, from more than 0 to 3600" % flag)
        return float(value)
    if takes == "TIME":
        number, unit = mine(re.match(r"([1-9]\d{0,5})([smh]?)$", value),
                            "%s takes a time such as 10s or 5m" % flag).groups()
        return int(number) * {"m": 60, "h": 3600}.get(unit, 1)
    if takes == "PORT":
        mine(to_int(value) in range(1, 65536), "%s takes a port from 1 to 65535" % flag)
        return int(value)
    if takes == "KEY=VALUE":
        key, mark, text = value.partition("=")
        mine(re.match(r"[a-z]\w*$", key) and text.strip(), "%s takes a name and what it is" % flag)
        return ((key, text.strip()),)
    if takes == "PROBE,...":
        return tuple(filter(None, value.split(",")))
    return value if takes else {"-4": 4, "-6": 6}.get(flag, True)


def check_options(options, system):
    """NotMine for values that cannot be meant; nothing has been run yet."""
    mine(options.lang in ("en", "ja"), "--lang takes en or ja")
    mine(options.color in ("auto", "always", "never"), "--color takes auto, always or never")
    for name in options.only + options.skip:
        mine(name in PROBES, "there is no probe %s; they are: %s" % (name, " ".join(PROBES)))
    for value, good, words in (
            (options.interface, system.has_interface, "--interface: there is no %(value)s here"),
            (options.source, is_address, "--source takes an IP address"),
            (options.connect_to, is_address, "--connect-to takes an IP address"),
            (options.client, is_address, "--client takes an IP address"),
            (options.bind, is_address, "--bind takes an IP address"),
            (options.source, system.is_own, "--source %(value)s is not an address of this host"),
            (options.proxy, lambda url: read_proxy(url, "--proxy")["host"],
             "--proxy takes a URL such as http://proxy.example:3128")):
        mine(not value or good(value), words % {"value": value})
    mine(not options.redact, "--redact is not built into this version")
    mine(options.lang == "en", "--lang ja is not built into this version")
    try:
        mine(not options.sni or check_name(options.sni))
    except NotMine as error:
        raise Usage("--sni %s: %s" % (printable(options.sni, 60), error))
    problem = options.cafile and system.check_cafile(options.cafile)
    mine(not problem, "--cafile %s: %s" % (options.cafile, problem))


def read_target(text):
    """A target as it was typed -> Target; Usage with one clear line where it is absurd."""
    mine(text.strip(), "a target is empty")
    try:
        mine(re.match(r"[^\x00-\x20\x7f-\x9f]{1,2000}\Z", text),
             "spaces, control characters or far too long")
        parts = read_url(text)
        host, scheme = parts["host"], SAME_PROTOCOL.get(parts["scheme"], parts["scheme"])
        mine(not scheme or scheme in PROTOCOLS, "unknown scheme %s://" % scheme)
        mine(is_address(host) or check_name(host))
        word = SAME_PROTOCOL.get(parts["port"], parts["port"])
        number = re.match(r"[0-9]{1,6}$", word or "")
        port = int(word) if number else PROTOCOLS.get(word, (None,))[0]
        mine(word is None or port in range(1, 65536), "a port is a number from 1 to 65535"
             + ("" if number else " or a known service"))
        protocol = scheme or PORT_PROTOCOL.get(port, "tcp")
        default, transport, tls, _ = PROTOCOLS[protocol]
        mine(port or default or not scheme, "%s:// needs a port" % scheme)
    except NotMine as error:
        raise Usage("target %s: %s" % (hide_secret(printable(text, 60)), error))
    return Target(hide_secret(printable(text, 300)), host, port or default, protocol, transport,
                  tls, parts["path"], parts["user"] if protocol in ("ssh", "sftp") else None,
                  is_address(host))


def check_name(host):
    """NotMine for a name that DNS cannot carry, and for an option in disguise; else True."""
    mine(host, "no host in it")
    mine(not host.startswith("-"), "a host does not begin with '-'")
    mine(not re.match(r"^[0-9.]+$", host), "not an IPv4 address")
    dns_labels(host)
    return mine(not re.search(r"[^\w.-]", host), "a host name has letters, digits, '-' and '.'")


def wish_of(target, options):
    """The answer that stands for the target itself: all that probes and rules may know of it."""
    host, named = target.host, target.host and not options.no_sni
    return dict(
        zip(Target._fields[1:], target[1:]), knock_port=target.port or host and 443,
        family=options.family, sni=options.sni or sni_for(host) if named else None,
        source=options.source, cafile=options.cafile,
        bound=bool(options.source or options.interface), connect_to=host and options.connect_to,
        proxy=host and options.proxy and full_url(options.proxy), client=options.client,
        speaks_first=bool(host) and PROTOCOLS[target.protocol][3])


def diagnose(target, shared, system, options, progress=None):
    """One target: gather, judge, and make the report."""
    began = system.monotonic()
    wish = Answer("target", target.text, "ok", wish_of(target, options))
    items = [item for item in PROBES.values() if item.scope == SCOPES[target.mode][1]]
    done, complete = gather(items, dict(shared, target=[wish]), system, options,
                            began + options.deadline_s, progress)
    answers = number_answers(done)
    return Report(target, *judge(answers), path_of(answers), timings_of(answers), answers,
                  round(system.monotonic() - began, 2), complete)


def main(argv=None, system=None, out=None):
    """Everything: read the command line, diagnose, print; returns the exit status."""
    argv, out = sys.argv[1:] if argv is None else argv, out or sys.stdout
    try:
        words = quick_words(argv)
        if words:
            out.write(words)
            return EXIT_OK
        options, texts = read_arguments(argv)
        system = system or System(options)
        check_options(options, system)
        mine(options.mode in RUNNERS, "the mode '%s' is not built into this version" % options.mode)
        return RUNNERS[options.mode](texts, system, options, out)
    except (Usage, NotMine) as error:
        return complain(error, EXIT_USAGE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:                      # the reader has gone, or the disk is full
        (system or System(None)).hush()
        return EXIT_OK if isinstance(error, BrokenPipeError) else complain(
            "the report could not be written: %s" % errno_name(error.errno), EXIT_UNDECIDED)
    finally:
        if system:
            system.close()


def complain(text, status=None):
    """One clear line on standard error, where there is one; -> the exit status."""
    if sys.stderr:
        sys.stderr.write("netdiag: %s\n" % printable(text, 400))
    return status


def quick_words(argv):
    """What `explain [CODE]`, --version and --help print; None for what has to be run."""
    if "-h" in argv or "--help" in argv:
        return HELP % DEFAULTS
    if argv[:1] != ["explain"]:
        return "netdiag %s\n" % VERSION if "--version" in argv else None
    mine(len(argv) < 3, "explain takes one code, such as tcp.rejected")
    return render_explain(argv[1]) if argv[1:] else render_codes()


def run_targets(texts, system, options, out):
    """Mode `target`: the way from here to each target, or this host alone; -> exit status."""
    if options.targets:
        texts += system.target_lines(options.targets)
        mine(texts, "--targets %s: there is no target in it" % options.targets)
    targets = list(map(read_target, texts)) or [THIS_HOST]
    return examine(targets[0].mode, lambda shared: targets, system, options, out)


def examine(mode, find_targets, system, options, out):
    """Ask what a mode asks once, find its targets in that, diagnose all; -> exit status."""
    began, started = system.monotonic(), iso_time(system.now())
    once = [item for item in PROBES.values() if item.scope in SCOPES[mode][0]]
    shared, complete = gather(once, {}, system, options, began + options.deadline_s)
    targets = find_targets(shared)
    watched = len(targets) == 1 and sys.stderr and sys.stderr.isatty()
    reports = [unseen(target, shared) for target in targets]
    if complete is not None:                      # else it was Ctrl-C in the first moments
        reports = diagnose_many(targets, shared, system, options, watched and show_progress)
    if watched:
        show_progress(())
    return publish(render_document(reports, system, options, started, began), reports, system,
                   options, out)


def publish(text, reports, system, options, out):
    """Print a document, or save it where --output says; -> exit status."""
    failed = options.output and system.save(options.output, text)
    if failed:
        complain("--output %s; the report follows on standard output" % failed)
    if failed or not options.output:
        out.write(text)
        out.flush()
    return exit_status(reports)


def see_host(system, options):
    """What the reports of listen, watch and merge say of the host that they come from."""
    items = [PROBES[name] for name in ("identity", "marks", "clock", "interfaces")]
    shared, complete = gather(items, {}, system, options, system.monotonic() + COMMAND_S)
    if complete is None:
        raise KeyboardInterrupt
    return shared


def report_of(target, given, shared, system, options, began, **parts):
    """A report that rests on what was given, and not on probes of its own."""
    wish = Answer("target", target.text, "ok", wish_of(target, options))
    answers = number_answers(dict(shared, target=[wish], **given))
    verdict, findings, unjudged = judge([row for row in answers if row.probe in GIVEN])
    return Report(target, verdict, findings, unjudged, parts.get("path", []), timings_of([]),
                  answers, round(system.monotonic() - began, 2), parts.get("complete", True))


def live_stream(options, out):
    """Where lines go while a mode runs: the report's own stream if it is text, else a terminal."""
    if not (options.json or options.brief or options.output):
        return out
    return sys.stderr if sys.stderr and sys.stderr.isatty() else None


def tell(line, stream):
    """One line at once, where there is somebody to read it."""
    if stream:
        stream.write(shorten(line) + "\n")
        stream.flush()


def run_listen(texts, system, options, out):
    """Mode `listen`: stand in for a service, and tell who arrives; -> exit status."""
    mine(len(texts) == 1, "listen takes one port")
    port, kind = PROTOCOLS.get(texts[0], (to_int(texts[0]),))[0], "udp" if options.udp else "tcp"
    mine(port in range(1, 65536), "listen %s: a port is a number from 1 to 65535 or a known service"
         % printable(texts[0], 60))
    address, seconds = options.bind or "127.0.0.1", options.for_s or STAND_IN_S
    began, started, stream = system.monotonic(), iso_time(system.now()), live_stream(options, out)
    place = "%s/%s" % (endpoint(address, port), kind)
    target = Target(place, address, port, kind, kind, False, None, None, is_address(address),
                    "listen")
    shared = see_host(system, options)
    first = "listening on %s for %d s; Ctrl-C ends it" % (place, seconds)
    outcome, facts = system.stand_in(address, port, options.udp, seconds, lambda row: tell(
        arrival_line(row) if row else first, stream))
    row = Answer("arrivals", place, outcome, facts, "socket")
    report = report_of(target, {"arrivals": [row]}, shared, system, options, began,
                       complete=None if facts["interrupted"] else True)
    return publish(render_document([report], system, options, started, began), [report], system,
                   options, out)


def run_watch(texts, system, options, out):
    """Mode `watch`: check for a while, diagnose what fails when it fails; -> exit status."""
    mine(len(texts) == 1, "watch takes one target")
    target, began, started = read_target(texts[0]), system.monotonic(), iso_time(system.now())
    stream = live_stream(options, out)
    tell("watching %s for %d s; Ctrl-C ends it" % (target.text, options.for_s or WATCH_S), stream)
    facts = {"checks": 0, "failed": 0, "slowest_ms": 0, "outages": [], "more_outages": 0}
    seen = [see_host(system, options), None]      # what is known of this host; the last failure
    complete = True
    try:
        while True:
            check(target, seen, facts, system, options, stream)
            left_s = began + (options.for_s or WATCH_S) - system.monotonic()
            if left_s <= 0:
                break
            system.rest(min(left_s, max(0, pace_s(target) - facts["took_s"])))
    except KeyboardInterrupt:
        complete = None
    report = watch_report(target, seen, facts, system, options, began)._replace(complete=complete)
    return publish(render_document([report], system, options, started, began), [report], system,
                   options, out)


def pace_s(target):
    """Seconds between two cheap checks; sshd penalises connections without a login, MySQL blocks a
    host after 100 of them, and others that greet may count them."""
    greets = target.port == 22 or PROTOCOLS[target.protocol][3]
    return 60 if target.protocol == "mysql" else WATCH_GENTLE_S if greets else WATCH_PACE_S


def cheap(target, options):
    """The options of a cheap check: no more than shows whether the target works."""
    wanted = ["udp" if target.transport == "udp" else "tcp"] + ["tls"] * bool(target.tls)
    return options._replace(only=tuple(wanted + ["http"] * target.protocol.startswith("http")),
                            skip=options.skip + ("sizes", "marked"))


def works(report):
    """Does a target work, as far as a cheap check can see?"""
    opened = any(row.probe == "tcp" and row.outcome == "ok" for row in report.answers)
    return report.verdict.code == "ok" or report.verdict.code == "undecided" and opened


def check(target, seen, facts, system, options, stream):
    """One cheap check, and a whole diagnosis when an outage begins."""
    began, now = system.monotonic(), system.now()
    report = diagnose(target, seen[0], system, cheap(target, options))
    if report.complete is None:
        raise KeyboardInterrupt
    facts["checks"] += 1
    lasts = [outage for outage in facts["outages"][-1:] if not outage["over"]]
    if works(report):
        facts["slowest_ms"] = max(facts["slowest_ms"], report.timings_ms["tcp"] or 0)
        for outage in lasts:
            outage["over"] = True
            tell("  %s  works again" % clock_text(now), stream)
    else:
        facts["failed"] += 1
        if not lasts:
            begin_outage(report, target, seen, facts, system, options)
            tell(outage_line(facts["outages"][-1]), stream)
        facts["outages"][-1].update(to=system.now())
    facts["took_s"] = system.monotonic() - began


def begin_outage(report, target, seen, facts, system, options):
    """Diagnose at the moment of failure; an outage that is over by then has the cheap check's."""
    system.rest(0)
    before, now = len(system.transcript), system.now()
    once = [item for item in PROBES.values() if item.scope in SCOPES["target"][0]]
    shared, asked = gather(once, {}, system, options, system.monotonic() + options.deadline_s)
    whole = diagnose(target, shared, system, options) if asked is not None else report
    seen[1] = report if works(whole) else whole
    del system.transcript[:before]                # of the last outage only
    facts["more_outages"] += len(facts["outages"]) >= MAX_OUTAGES
    result = seen[1].verdict
    facts["outages"] = facts["outages"][:MAX_OUTAGES - 1] + [dict(
        result._asdict(), over=False, **{"from": now, "to": now})]
    if whole.complete is None or asked is None:
        raise KeyboardInterrupt


def watch_report(target, seen, facts, system, options, began):
    """The report of `watch`: of a target that always failed its last diagnosis, with the log."""
    base, target = seen[1], target._replace(mode="watch")
    facts["seconds"] = round(system.monotonic() - began)
    facts.pop("took_s", None)
    answers = base.answers if base else number_answers(seen[0])
    row = Answer("checks", target.text, "ok", facts, id="e%d" % (len(answers) + 1))
    report = report_of(target, {"checks": [row]}, {}, system, options, began)
    if base and facts["failed"] == facts["checks"]:
        report = base._replace(target=target)
    kinds = collections.OrderedDict()
    for outage in facts["outages"]:
        kinds.setdefault(outage["code"], []).append(outage)
    found = [Finding(
        code, "fail", first["suspects"], first["confidence"], "%s: %s" % (
            ", ".join(map(outage_times, [first] + more[:5])), first["summary"]),
        first["fix"][:1] or ["-"], (first["ask"] or {}).get("text"), [row], (), [], layer)
             for layer, (code, (first, *more)) in enumerate(kinds.items(), len(RULES))]
    return report._replace(
        path=base.path if base else [], answers=answers + [row],
        findings=[f._replace(proof=[row]) for f in report.findings] + found
        if facts["failed"] < facts["checks"] else report.findings,
        elapsed_s=round(system.monotonic() - began, 2))


def run_merge(texts, system, options, out):
    """Mode `merge`: put the reports of two ends, or of many hosts, together; -> exit status."""
    paths = texts + (system.report_files(options.from_dir) if options.from_dir else [])
    mine(paths, "merge takes report files, or --from DIR: there is none in %s" % options.from_dir
         if options.from_dir else "merge takes report files, or --from DIR")
    began, started = system.monotonic(), iso_time(system.now())
    rows, useless = read_files(paths, system)
    mine(rows, "; ".join("%s: %s" % row for row in list(useless.items())[:3]))
    groups, spare = join_reports(rows)
    shared = gather([PROBES["identity"]], {}, system, options, began + COMMAND_S)[0]
    reports = [report_of(target_of(group[0].value), {"report": group}, {} if number else shared,
                         system, options, began, path=group[0].value["path"])
               for number, group in enumerate(groups)]
    group = group_json(reports, spare, useless)
    if options.json:
        text = render_json(reports, started, round(system.monotonic() - began, 2),
                           system.own_digest(), [], 0, group=group)
    elif options.brief:
        text = "".join(shorten("%s: %s" % (host_of_report(report), render_brief(report).strip()),
                               120) + "\n" for report in reports)
    else:
        text = render_merged(reports, group, wants_color(options, system))
    for path in [path for path in texts if path in useless]:
        complain("%s: %s" % (path, useless[path]))
    return publish(text, reports, system, options, out)


def target_of(client):
    """The target of a client's report, as one of mode `merge`."""
    protocol = client["protocol"] if client["protocol"] in PROTOCOLS else "tcp"
    _, transport, tls, _ = PROTOCOLS[protocol]
    return Target(client["target"], client["goal"], client["port"], protocol, transport, tls, None,
                  None, is_address(client["goal"]), "merge")


RUNNERS = {"target": run_targets, "listen": run_listen, "watch": run_watch, "merge": run_merge}


def show_progress(names):
    """Who is being asked: one line on standard error that vanishes again."""
    words = shorten("asking: " + ", ".join(names), WIDTH - 1) if names else ""
    sys.stderr.write("\r\033[K" + words)
    sys.stderr.flush()


def diagnose_many(targets, shared, system, options, progress=None):
    """Several targets side by side, TARGETS_AT_ONCE of them at a time, reports in their order."""
    def work(report):
        try:
            return diagnose(report.target, shared, system, options, progress)
        except Exception as error:                # costs this one report, and never the run
            why = "The diagnosis crashed: %s: %s" % (type(error).__name__, error)
            return unseen(report.target, shared, printable(why, 200), False)
    reports = [unseen(target, shared) for target in targets]
    try:
        side_by_side(work, reports, TARGETS_AT_ONCE)
    except KeyboardInterrupt:
        pass
    return list(reports)


def unseen(target, shared, why="Interrupted before it was looked at.", complete=None):
    """The report about a target that Ctrl-C left out (None), or whose diagnosis crashed (False)."""
    unjudged = [] if complete is None else [{"question": "this target", "why": why}]
    return Report(target, Verdict("undecided", [], "possible", why, [], None), [], unjudged, [],
                  timings_of([]), number_answers(shared), 0, complete)


def exit_status(reports):
    """130 interrupted, 1 a fault, 3 undecided or cut short, 0 fine."""
    codes = {report.verdict.code for report in reports}
    if any(report.complete is None for report in reports):
        return EXIT_INTERRUPTED
    if codes - set(NO_FAULT):
        return EXIT_FAULT
    return EXIT_OK if codes == {"ok"} and all(r.complete for r in reports) else EXIT_UNDECIDED


def wants_color(options, system):
    """Is the report to be coloured?"""
    return options.color == "always" or options.color == "auto" and system.wants_color(
        sys.stdout if not options.output else None)


def render_document(reports, system, options, started, began):
    """All reports as text, as brief lines or as one JSON document."""
    if options.json:
        return render_json(reports, started, round(system.monotonic() - began, 2),
                           system.own_digest(), system.transcript, system.packets)
    if options.brief:
        return "".join(render_brief(report) for report in reports)
    color = wants_color(options, system)
    texts = [render_mode(report, system.packets, color) for report in reports]
    parts = [("\n" + "-" * WIDTH + "\n").join(texts)]
    if options.verbose or reports[0].target.mode not in MODE_PARTS:
        parts.append(render_transcript(
            system.transcript, [] if reports[1:] else reports[0].answers, options.verbose))
    if options.verbose and not options.redact:
        parts.append(pack_report(render_document(
            reports, system, options._replace(json=True), started, began)))
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())

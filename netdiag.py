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
LATE_GREETING_S = 6.6        # sendmail's greet_pause has 5 s, postscreen 6 s, a dead resolver 5 s
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
TLS_WAIT_S = 3.0             # for the answer to a ClientHello,
HANDSHAKE_S = 3.9            # and for a whole handshake (less than HTTP_WAIT_S, for which a server
                             # that serves one client at a time may let another one wait)
LATE_ALERT_S = 0.1           # and two round trips: what TLS 1.3 says of a missing certificate
HTTP_WAIT_S = 4.0            # first byte; applications may think for a while
GET_WAIT_S = 2.0             # for an answer to GET where HEAD met silence for so long
DRIP_S = 1.5                 # a head that comes in drops: its first line is enough then
UDP_WAIT_S = 3.4             # two datagrams; after 3 s a router says that nobody lives there
PROXY_WAIT_S = 3.5
COMMAND_S = 3.0              # any installed command
DEADLINE_S = 9.7             # everything for one target: nobody waits longer for a first answer
LARGE_HELLO_BYTES = 1300     # of padding: more than one packet, as with an ML-KEM key share
MAX_STORES = 2               # other trust stores that are tried
PADDING = 3000               # bytes of a request that does not fit one packet (nginx allows 8 k)
SSH_MARK = 72                # DSCP AF21, with which OpenSSH marks a session (ssh_config, IPQoS)
CLAMP_MSS = 536              # every IPv4 path carries it (RFC 9293), and IPv6 ones all the more
WALKED_LIMIT = 20000         # of a firewall, for one packet
MAX_ADDRESSES = 16           # addresses of a name that are knocked on
MAX_TALKS = 4                # addresses on which TLS and HTTP are spoken
MAX_SEARCH = 3               # search suffixes tried against the resolvers themselves
REDIRECT_LIMIT = 8
CLOCK_SKEW_S = 300           # Kerberos gives up at 5 minutes; certificates soon after
CERT_SOON_S = 14 * 86400     # "expiring"
BYTES_LIMIT = 65536          # of any one conversation
FILE_LIMIT = 1 << 20         # bytes of any file that is read
OUTPUT_LIMIT = 60000         # characters of one command's output that the transcript keeps
WATCH_SOCKETS_S = 1.3           # sockets of a server: a SYN/ACK is sent again after 1.0 s
WATCH_STEP_S = 0.2
UNDELIVERED_SYNS = 2         # packets that vanish in one moment: a SYN and its repeat
FLOOD_PEERS_LIMIT = 12       # so many addresses that never answer: a flood, or all answers are lost
UNREAD_BYTES = 1 << 17       # of datagrams that nobody reads: most of the usual buffer (208 KiB)
CLOSE_WAIT_LIMIT = 10        # connections that a program does not close: more than a moment's
LOG_LIMIT = 12               # of one log that are kept
LOG_AGE_S = 900              # older lines belong to another story
TAIL_BYTES = 1 << 18         # of a log that are read
SERVED_LIMIT = 32768         # UDP ports from here on are mostly clients' (ip(7), the usual range)
PEERS_LIMIT = 200            # peers of one port that are remembered
NAMESPACES_LIMIT = 64        # other network namespaces that are looked into
WIDE_PREFIX_V4 = 16          # a mask this wide or wider puts far hosts on the own segment
BORN = 1795219200            # 2026-11-21: a clock that shows less is wrong
GENERAL_NAME = "example.com" # asked only of the configured resolvers: "this name" or "all names"?
TARGETS_AT_ONCE = 12
SNAP_BYTES = 96              # of each packet that is recorded: headers, hardly any payload
PACKET_BYTES = 1 << 18       # of one packet in a capture file (libpcap's MAXIMUM_SNAPLEN)
BLOCK_BYTES = 1 << 22        # of one block of a pcapng file
PACKETS_LIMIT = 1000000      # read of one capture; some 10 s
FLOWS_LIMIT = 5000           # followed in one capture: some 40 MB in the worst case
TOLD_LIMIT = 1000            # of them in the JSON: half of them failed ones
SHOWN_LIMIT = 12             # of them in the text
CLOSING_S = 60               # for a large file; what was recorded is there at once
CAPTURE_S = 30               # so long are packets awaited where --for does not say
CAPTURE_BUFFER_BYTES = 1 << 22     # bytes that the kernel keeps for us: 20,000 headers
EVENTS_LIMIT = 20             # SYN times and ICMP errors of one flow
FLYING_LIMIT = 16            # segments of one side that are remembered until they are acknowledged
TUNNELS_LIMIT = 6             # packets in packets
REORDER_S = 0.003            # tshark: a late segment nearer than this is reordered, not sent again
IDLE_S = 50                  # balancers forget a quiet connection after a minute, NAT later
COPY_S = 0.001               # a packet seen on several interfaces (bridge, router, -i any)
FAST_RESEND_S = 0.02         # tshark: so soon after duplicate ACKs it was sent again
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
READ_FILES_S = 9.0           # for all of them: a folder such as /proc has no end
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
    " set client for_s lldp port udp bind write read from_dir overview")
Source = collections.namedtuple("Source", "verb args parse named")
Ask = collections.namedtuple("Ask", "subject sources")
Answer = collections.namedtuple("Answer", "probe subject outcome value via tried ms id")
Finding = collections.namedtuple(
    "Finding", "code severity suspects confidence summary fix ask proof scope consequences layer")
Verdict = collections.namedtuple("Verdict", "code suspects confidence summary fix ask")
Report = collections.namedtuple(
    "Report", "target verdict findings unjudged path timings_ms answers elapsed_s complete")
Source.__new__.__defaults__ = ({},)
Answer.__new__.__defaults__ = (None, None, (), None, None)
Target.__new__.__defaults__ = ("target",)

OUTCOMES = ("ok", "timeout", "refused", "unreachable", "denied", "unknown")
SURE = ("certain", "likely", "possible")
# A place in the order of the path, what it is, and who can change something there.
PLACE_ROWS = [row.split(" / ") for row in """\
client / this host / the administrator of this host
client_network / this host's gateway, switch or firewall / the network team of this site
transit / the network in between / the network team (transit)
server_network / the server's gateway or firewall / the network team of the server
server / the server and its own firewall / the administrator of the server
service / the program on the server / the owner of the service
dns / the name service / the DNS team
proxy / the proxy / the proxy team""".splitlines()]
PLACES = tuple(place for place, _, _ in PLACE_ROWS)
PLACE_WORDS = {place: words for place, words, _ in PLACE_ROWS}
PLACE_OWNER = {place: owner for place, _, owner in PLACE_ROWS}

# tls: from the first byte on; greeting_s: so long has a server that speaks first, None: it does not
Protocol = collections.namedtuple("Protocol", "port transport tls greeting_s")
PROTOCOLS = {
    name: Protocol(int(port) or None, transport, tls, greeting_s)
    for transport, tls, greeting_s, names in (
        ("tcp", False, None, "tcp:0 http:80 ldap:389 postgresql:5432 redis:6379 mongodb:27017"
         " amqp:5672 mqtt:1883 kafka:9092 memcached:11211 rdp:3389 telnet:23"
         " zookeeper:2181 xmpp:5222"),
        ("tcp", True, None, "tls:0 https:443 ldaps:636 rediss:6380 amqps:5671 mqtts:8883"),
        ("tcp", False, GREETING_S, "ssh:22 sftp:22 imap:143 pop3:110 vnc:5900"),
        ("tcp", False, LATE_GREETING_S, "smtp:25 submission:587 ftp:21 mysql:3306"),
        ("tcp", True, GREETING_S, "smtps:465 imaps:993 pop3s:995 ftps:990"),
        ("udp", False, None, "udp:0 dns:53 ntp:123 snmp:161 syslog:514"))
    for name, port in (pair.split(":") for pair in names.split())}
SAME_PROTOCOL = {"postgres": "postgresql", "mariadb": "mysql", "ws": "http", "wss": "https"}
PORT_PROTOCOL = {row.port: name for name, row in sorted(PROTOCOLS.items(), reverse=True)
                 if row.port and row.transport == "tcp"}
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
    " conntrack_stat iptables_save nft_list_ruleset hosts_access").split()}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def guarded(read):
    """Make NotMine the only way in which a reader of foreign bytes fails."""
    def parse(*args, **named):
        try:
            return read(*args, **named)
        except (ValueError, LookupError, AttributeError, TypeError, StopIteration, OverflowError,
                RecursionError, struct.error) as error:
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


def pick(row, keys):
    """What a row has under these keys (one text), None where it has nothing."""
    return {key: row.get(key) for key in keys.split()}


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


def parameters(function):
    """The names of a function's parameters: what a probe needs, what a rule looks at."""
    return function.__code__.co_varnames[:function.__code__.co_argcount]


def first_of(items):
    """The first of some items, or None where there are none."""
    return next(iter(items), None)


def unique(items):
    """The items without repeats, in order."""
    return list(dict.fromkeys(items))


def find_kind(table, text):
    """The first kind of ((kind, pattern), ...) whose pattern is in the lower-cased text."""
    text = text.lower()
    return first_of(kind for kind, pattern in table if re.search(pattern, text, re.M))


def is_address(word):
    """4 or 6 for an IP literal (a zone such as %eth0 is allowed on IPv6), 0 for anything else."""
    host, _, zone = word.partition("%")
    version = 6 if ":" in host else 4
    try:
        socket.inet_pton(FAMILY[version], host)
    except (OSError, ValueError):
        return 0
    return version if not zone or version == 6 else 0


def usual_form(word):
    """An IPv6 address as the kernel writes it (::ffff:192.0.2.1 as IPv4); other words stay."""
    if is_address(word) != 6:
        return word
    host, percent, zone = word.partition("%")
    raw = socket.inet_pton(socket.AF_INET6, host)
    mapped = raw.startswith(bytes(10) + b"\xff\xff")
    return address_text(raw[12:]) if mapped else address_text(raw) + percent + zone


def first_address(line):
    """The first address in a sentence, without its punctuation, or None."""
    words = re.findall(r"[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,16})?", line)
    spellings = (form for word in words for form in (word, word.rstrip(".:"), word.strip(".:")))
    return first_of(form for form in spellings if form != "::" and is_address(form))


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
    return re.sub(r"[?#]\S*", "?***", re.sub(r"(//|^[^/\s@:]+:)[^/\s]*@", r"\1***@", url))


def hide_queries(text):
    """Lines of a log or an output: what may be secret in their URLs is masked, the rest stays."""
    return re.sub(r"\?[\w.%-]+=\S*", "?***", re.sub(r"//[^/\s@]*@", "//***@", text))


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
    user, at, endpoint = authority.rpartition("@")       # a password is not kept
    host, port = read_endpoint(endpoint)
    return {"scheme": scheme.lower() or None, "host": host,
            "user": user.partition(":")[0] if at else None,
            "port": port, "path": re.sub(r"^\?", "/?", path) or None}


PROXY_VARIABLES = "http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY".split()


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


def numbered(text):
    """"1 unicast 2 local" -> {1: "unicast", 2: "local"}."""
    return {int(number): word for number, word in re.findall(r"(\S+) (\S+)", text)}


def table_of(text):
    """"ESTAB=ESTABLISHED CLOSE=CLOSED" -> {"ESTAB": "ESTABLISHED", "CLOSE": "CLOSED"}."""
    return dict(word.split("=") for word in text.split())


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
usage=^[ \t]*usage\b|unrecognized option|invalid option|bad option|unknown option
unknown_host=name resolution|name or service not known|unknown host|bad address '|nicht aufgelöst
unknown_host=nodename nor servname|no address associated|could not find host|name lookup failure
unknown_host=(?:cannot|can't|unable to|failed to) resolve|impossible de résoudre|pas pu trouver l
unknown_host=no se puede resolver|no pudo encontrar el host|konnte host|名.{0,80}を解決できません|が見つかりません
unknown_host=[无無]法解析|找不到主[机機]
permission_denied=enough privileges|socket.{0,40}(?:operation not permitted|permission)
permission_denied=permission denied|lacking privilege|raw socket|(?:are you|must be) root
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
COLUMN_NAMES = table_of("Flag=Flags Met=Metric If=Iface Netif=Iface Interface=Iface")
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
        pick(facts, "via dev src table from"), dst=destination(dst),
        type=words[0] if typed else "unicast", mtu=to_int(facts.get("mtu")),
        metric=to_int(facts.get("metric")), flags=[flag for flag in ROUTE_FLAGS if flag in rest])


@parser
def parse_ip_route(text):
    """ip route and ip route get of iproute2 and BusyBox; `nexthops` where printed."""
    error = find(r"(?m)^(?:ip: |RTNETLINK answers: |Error: |(?=Cannot find|Device ))+(.*)$", text)
    routes, strange = [], 0
    text = re.sub(r"(?m)^(\S+) *\n(?=\s+nexthop )", r"unicast \1\n",
                  text.replace("\\", "\n").replace("via inet6 ", "via "))
    for words in word_rows(text):
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
        rules.append(pick(facts, "from to iif oif fwmark"))
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
        found = first_of(filter(None, (re.match(form, line) for form in ARP_FORMS)))
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


@guarded
def parse_resolv_conf(text):
    """/etc/resolv.conf as glibc reads it: caps on options, at most three servers `used`; lines that
    begin with a blank do not count, and the CR of Windows belongs to the address before it."""
    servers, search, options, strange = [], [], {}, 0
    caps = {"ndots": 15, "timeout": 30, "attempts": 5}
    for key, *values in [re.split("[ \t]+", line.rstrip(" \t")) for line in text.split("\n")]:
        if key == "nameserver":
            servers += values[:1]
        elif key in ("search", "domain"):
            search = values[:1] if key == "domain" else values
        elif key == "options":
            for name, _, value in (word.partition(":") for word in values):
                number, cap = to_int(value), caps.get(name, 1 << 30)
                options[name.replace("-", "_")] = True if number is None else min(number, cap)
        else:
            strange += key.strip()[:1] not in "#;" and key != "sortlist"
    mine(2 * strange <= len(text.splitlines()), "most lines are strange")
    used = [usual_form(word) for word in servers if is_address(word)][:3] or ["127.0.0.1"]
    return {"nameservers": servers, "used": used, "search": search, "options": options}


@parser
def parse_hosts(text):
    """/etc/hosts -> [{address, names}], in order (the first match wins)."""
    rows = word_rows(re.sub("#.*", "", text))
    hosts = [dict(address=usual_form(word), names=names)
             for word, *names in rows if names and is_address(word)]
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


def undelivered_count(counters, version):
    """Packets of this IP version that came to this host and were neither delivered nor sent on."""
    came, delivered, sent_on = (counters.get(name, 0) for name in (
        ("Ip6InReceives", "Ip6InDelivers", "Ip6OutForwDatagrams") if version == 6 else
        ("IpInReceives", "IpInDelivers", "IpForwDatagrams")))
    return came - delivered - sent_on


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
    links, masters = {}, {}
    for index, flags, found in netlink_rows(messages, 16, "=4xiI4x"):
        kinds = netlink_attributes(found[18])[1]              # IFLA_LINKINFO: 'bridge', 'veth' ...
        name, kind = (raw.rstrip(b"\0").decode("ascii", "replace") for raw in (found[3], kinds))
        links[index] = {                                      # IFF_UP, _LOOPBACK, _LOWER_UP
            "name": name, "index": index, "up": bool(flags & 1), "loopback": bool(flags & 8),
            "carrier": bool(flags & 0x10000), "kind": kind or None, "mac": mac_text(found[1]),
            "mtu": netlink_number(found[4]), "inet": [], "inet6": [], "master": None}
        masters[index] = netlink_number(found[10])            # IFLA_MASTER
    for length, flags, index, found in netlink_rows(messages, 20, "=xBBxI"):
        cidr = address_text(found[2] or found[1], length)
        if cidr and index in links:
            links[index]["inet6" if ":" in cidr else "inet"].append(cidr)
            if flags & 8:                                     # IFA_F_DADFAILED
                links[index].setdefault("flags_of", {})[cidr] = ["dadfailed"]
    for index, link in links.items():
        link["master"] = links.get(masters[index], {}).get("name")
    return {"interfaces": list(links.values())}


@guarded
def parse_netlink_routes(messages, cloned=False):
    """RTM_NEWROUTE payloads -> the shape of `parse_ip_route`, `dev` as an interface index."""
    return {"routes": [
        {"dst": destination(address_text(found[1]) or "default", length),
         "type": RTN_NAMES.get(kind, str(kind)),
         "via": address_text(found[5] or found[18][2:]),      # RTA_VIA: of the other family
         "table": netlink_number(found[15]) or table, "dev_index": netlink_number(found[4]),
         "src": address_text(found[7]), "metric": netlink_number(found[6]),
         "mtu": netlink_number(netlink_attributes(found[8])[2])}
        for length, table, kind, flags, found in netlink_rows(messages, 24, "=xB2xB2xBI")
        if cloned or not flags & 0x200]}                  # RTM_F_CLONED: a learned path MTU


def build_route_query(address, source=None, oif=None):
    """The body of RTM_GETROUTE: the way of a packet to `address` (from `source`, out by `oif`)."""
    family, bits = FAMILY[is_address(address)], 128 if ":" in address else 32
    body = struct.pack("=3B9x", family, bits, bits if source else 0)
    for kind, text in enumerate(filter(None, (address, source)), 1):       # RTA_DST, RTA_SRC
        raw = socket.inet_pton(family, text.partition("%")[0])
        body += struct.pack("=HH", 4 + len(raw), kind) + raw
    return body + (struct.pack("=HHI", 8, 4, oif) if oif else b"")              # RTA_OIF


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


TO_MANY = ("broadcast", "multicast")               # types of routes that lead to no single host
BLOCKING_ROUTES = table_of("EINVAL=blackhole EHOSTUNREACH=unreachable EACCES=prohibit")
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
    return dict(
        pick(row, "dev via src table mtu"), type=row.get("type") or "unicast", error=first_of(
            errno for errno, kind in BLOCKING_ROUTES.items() if kind == row.get("type")))


ICMP_WORDS = {(version, kind, code): words for version, kind, names in (
    (4, 3, "network unreachable|host unreachable|protocol unreachable|port unreachable"
           "|fragmentation needed||network unknown|host unknown||network prohibited"
           "|host prohibited|network unreachable for this type of service"
           "|host unreachable for this type of service|administratively prohibited"),
    (4, 11, "time to live exceeded"), (6, 2, "packet too big"), (6, 3, "hop limit exceeded"),
    (6, 1, "no route|administratively prohibited|beyond scope of source address"
           "|address unreachable|port unreachable|source address failed policy|reject route"))
    for code, words in enumerate(names.split("|")) if words}
NET_UNREACHABLE, HOST_UNREACHABLE, PORT_UNREACHABLE, REJECTED, TIME_EXCEEDED, TOO_BIG = (
    {tuple(map(int, kind.split("/"))) for kind in kinds.split()} for kinds in (
        "4/3/0 4/3/6 4/3/11 6/1/0", "4/3/1 4/3/7 4/3/12 6/1/3", "4/3/3 6/1/4",
        "4/3/2 4/3/3 4/3/9 4/3/10 4/3/13 6/1/1 6/1/2 6/1/4 6/1/5 6/1/6", "4/11/0 6/3/0",
        "4/3/4 6/2/0"))


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
    return tcp_options(segment[20:(segment[12] >> 4) * 4])[0] if len(segment) > 20 else None


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
    try:
        raw = dns_bytes(name.rstrip("."))
    except UnicodeError:
        raise NotMine("not a DNS name: it has no form in ASCII")
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

OID_NAMES = table_of(
    "2.5.4.3=CN 2.5.4.6=C 2.5.4.7=L 2.5.4.8=ST 2.5.4.10=O 2.5.4.11=OU 2.5.4.5=serialNumber"
    " 1.2.840.113549.1.9.1=emailAddress 0.9.2342.19200300.100.1.25=DC")
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
        return any(is_address(name) and ip(name) == ip(host) for kind, name in certificate["san"]
            if kind != "DNS")
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
    return dict(raw, chain=read_chain(raw["chain"]), alert=first_of(told))


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
PLAIN_ON_TLS = rb"(?i)plain http request|https (port|serv)|speaking plain http|requires tls"
WANTS_CERT = rb"(?i)ssl certificate (?:was sent|error)|client certificate"
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"


def final_answer(data):
    """An answer without its interim ones, 100 and 103 (RFC 9110 15.2; 101 is the final one)."""
    return re.sub(rb"\A(?:HTTP/1\.\d 1(?!01)\d\d\b[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n)+", b"", data)


def has_head(data):
    """Is the head of an answer there, up to its empty line?"""
    return bool(re.search(rb"\r?\n\r?\n", data))


def page_is_whole(data):
    """Does an answer say that nothing will follow?  Else its end is that of the connection."""
    head, _, body = final_answer(data).partition(b"\r\n\r\n")
    length = find(rb"(?im)^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", head)
    chunked = re.search(rb"(?im)^transfer-encoding:.*chunked", head)
    return bool(length and len(body) >= int(length) or chunked and body.endswith(b"0\r\n\r\n"))


def parse_http_head(data):
    """Status line and headers -> {status, reason, headers: {lower name: text}}."""
    match = mine(re.match(rb"HTTP/\d(?:\.\d)? (\d{3})(?: ([^\r\n]*))?\r?\n", data), "no HTTP")
    head, headers = re.split(rb"\r?\n\r?\n", data)[0].decode("latin-1"), {}
    for name, text in re.findall(r"(?m)^([^:\n]{1,60}):(.{0,2000})", head[match.end():])[:200]:
        headers.setdefault(name.strip().lower(), text.strip())
    return {"status": int(match.group(1)), "reason": printable(match.group(2) or b"", 80),
            "headers": headers}


def parse_cookies(data):
    """What an answer sets: [(name, value, domain, for https only?)]; path and age are let be."""
    head = re.split(rb"\r?\n\r?\n", data)[0].decode("latin-1")
    return [(name, value, (find(r"(?i);\s*domain=\.?([^;\s]+)", more) or "").lower(),
             bool(re.search(r"(?i);\s*secure\s*(;|$)", more))) for name, value, more in re.findall(
                 r"(?im)^set-cookie:[ \t]*([^=;\r\n]{1,99})=([^;\r\n]{0,4096})([^\r\n]*)", head)]


def build_http_request(method, path, host, port, secure, padding=0, cookies="", upgrade=False):
    """A request that a careful browser could have sent; one connection, no body.

    upgrade: to WebSocket (RFC 6455 4.1), whose servers answer 101, and 400 or 426 to all else.
    """
    name = "[%s]" % host if ":" in host else dns_ascii(host)
    name += "" if port == (443 if secure else 80) else ":%d" % port
    path = re.sub(r"[^!-~]", lambda c: "%%%02X" % (ord(c.group(0)) & 255), path)
    more = "X-Padding: %s\r\n" % ("n" * padding) if padding else ""
    more += "Cookie: %s\r\n" % cookies if cookies else ""
    more += ("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: bmV0ZGlhZyBhc2tzIG9uLg==\r\n") if upgrade else ""
    return ("%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: netdiag/%s\r\nAccept: */*\r\n"
            "Connection: %s\r\n%s\r\n" % (
                method, path, name, VERSION, "Upgrade" if upgrade else "close", more)).encode(
                "ascii", "replace")


def sni_for(host):
    """The name for SNI: none for an address (RFC 6066)."""
    return None if is_address(host) else dns_ascii(host.rstrip("."))


@guarded
def parse_http_exchange(raw):
    """The answer to one request: `status` None where nothing came, `not_http` where no HTTP."""
    data, value = final_answer(raw["data"]), talk_facts(
        raw, status=None, not_http=None, cookies=[], chain=read_chain(raw.get("chain", ())))
    if not data or raw["ended"] in ("closed", "reset", "silent") and data.startswith(
            b"HTTP/1") and not has_head(data):
        return value                                  # nothing, or a head that ends in the middle
    try:
        value.update(parse_http_head(data))
    except NotMine:
        return dict(value, not_http=printable(data[:200]), speaks=guess_protocol(data))
    every = value["headers"]
    return dict(value, location=every.get("location"), date=answer_time(every),
        cookies=unique(printable(name, 40) for name, _, _, _ in parse_cookies(data)),
        headers={k: printable(hide_secret(every[k])) for k in KEPT_HEADERS if k in every},
        wants_tls=value["status"] // 100 == 4 and bool(re.search(PLAIN_ON_TLS, data)),
        wants_cert=value["status"] in (400, 403, 495, 496) and bool(re.search(WANTS_CERT, data)))


def parse_forwarded(raw):
    """What a proxy brings of a page: 200 for whatever is not about the proxy itself; `page` is
    what it was."""
    value, own = parse_http_exchange(raw), (None, 400, 403, 405, 407, 501, 502, 503, 504)
    return dict(value, status=value["status"] if value["status"] in own else 200,
                page=value["status"])


def parse_http_date(text):
    """An HTTP date -> seconds since 1970, or None (RFC 9110 5.6.7, the preferred form)."""
    found = re.match(r"\w{3}, (0[1-9]|[12]\d|3[01]) (" + MONTHS
                     + r") (\d{4}) (\d\d):(\d\d):(\d\d) GMT", text or "")
    if not found:
        return None
    day, month, year, *clock = found.groups()
    return epoch_of(year, MONTHS.index(month) // 4 + 1, day, *clock)


def answer_time(headers):
    """When an answer came, by the server's clock: a cache leaves the Date and adds the Age."""
    age = headers.get("age", "")
    date = parse_http_date(headers.get("date"))
    return date and date + (int(age) if re.match(r"\d{1,9}$", age) else 0)


def join_url(base, location):
    """The URL that a Location header leads to, seen from `base` (both absolute http URLs)."""
    if re.match(r"[a-z][a-z0-9+.-]*:", location, re.I):
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
    ssh=(?:.{0,999}\n){0,99}?SSH-\d   http=HTTP/\d   pop3=\+OK   vnc=RFB \d
    ftp=500 OOPS:   smtp=[45]\d\d[ -]
    smtp=220[ -][^\r\n]*(?i:smtp|mail)   ftp=[12]20[ -]   imap=\* (OK|PREAUTH|BYE|NO)
    tls=[\x14-\x17]\x03[\x00-\x04]   mysql=(?s)...\x00(\x0a[\x20-\x7e]+\x00|\xff)
    http=(?is)\s*<(!doctype|html)   telnet=\xff[\xfb-\xfe]   mongodb=(?s).{12}\xdd\x07\x00\x00
    postgresql=(?s)[ER]\x00\x00..   memcached=VERSION |ERROR   socks=\x05[\x00-\x02\xff]$
    zookeeper=Zookeeper version|srvr is not|This ZooKeeper   amqp=\x01\x00\x00\x00\x00
    another AMQP=AMQP   mqtt=\x20\x02[\x00\x01][\x00-\x05]$   rdp=(?s)\x03\x00..[\x06-\x0e]\xd0
    kafka=(?s)\x00...\x00\x00\x00n   ldap=(?s)0.{1,5}\x02\x01[\x00\x01][ax]
    xmpp=<\?xml|<stream:stream
    http2=(?s)\x00\x00.[\x04\x07]\x00\x00\x00\x00\x00   redis=\+PONG|-[A-Z]{3,16}\b""")
GREETS_AS = table_of("smtps=smtp imaps=imap pop3s=pop3 ftps=ftp amqps=amqp mqtts=mqtt ldaps=ldap"
                     " rediss=redis submission=smtp sftp=ssh")
# The service itself says no.  A login that it asks for is none: that one works.
REFUSALS = kinds(r"""
    ssh.throttled=(?i)not allowed at this time|exceeded maxstartups|too many
    service.error=[45]\d\d[ -]|120[ -]|\* (BYE|NO)|ERROR Too many|This ZooKeeper|SERVER_ERR
    service.error=\x20\x02[^\n]\x03$
    service.error=-(ERR(?! unknown| wrong| operation not)|DENIED|LOADING|MISCONF|MASTERDOWN|BUSY)
    service.error=-(CLUSTERDOWN|OOM)
    service.error=(?s)E\x00\x00.*?(C53|C57P0|C58|CXX|pg_hba\.conf|server login|no more connections)
    service.error=(?s)E\x00\x00.*?(valid client certificate|server down|conn crashed|cannot connect)
    service.error=(?s)0.{1,5}\x02\x01\x00x
    service.error=(?s)...\x00\xff|0.{1,5}\x02\x01\x01a.{1,5}\x0a\x01[\x33-\x35]""")


RESULTS = {b"3": "LDAP result 51: busy", b"4": "LDAP result 52: unavailable",
           b"5": "LDAP result 53: unwilling to perform",
           b"\3": "MQTT return code 3: server unavailable"}


def guess_protocol(data, table=FIRST_BYTES):
    """The protocol whose first bytes these are: the name in the first row that matches, or None."""
    text = data.decode("latin-1")
    return first_of(name for name, pattern in table if re.match(pattern, text))


def read_first_words(data):
    """What a service says first: {greeting (safe to print), speaks, refuses: a code or None}."""
    told = re.search(rb"(?s)\AE.*?\x00M([^\x00]+)|\A...\x00\xff..(?:#.{5})?(.+)"      # PostgreSQL,
                     rb"|\A...\x00\x0a([\x20-\x7e]+)\x00"       # MySQL: a refusal, or its version
                     rb"|(?:\A|\n)(SSH-\d[^\n]*\n?)", data)      # SSH, also behind other lines
    result = re.match(rb"(?s)(?:0.{1,5}\x02\x01.[ax].{1,5}\x0a\x01|\x20\x02.)([\x33-\x35\x03])",
                      data)
    words = told.group(told.lastindex)[:300] if told else data[:300]
    return {"greeting": RESULTS[result.group(1)] if result else printable(words),
            "speaks": guess_protocol(data), "refuses": guess_protocol(data, REFUSALS)}


def parse_datagram(raw):
    """What room 4 brings from a UDP port; `refuses` where NTP itself says no (RFC 5905)."""
    reply, greeting = raw["reply"], ""
    if len(reply) == 48 and reply[0] & 7 == 4 and reply[1] in (0, 16):
        greeting = "stratum %d %s" % (reply[1], printable(reply[12:16]))
    return dict(raw, reply=printable(reply[:200]), greeting=greeting, speaks=udp_protocol(reply),
                refuses="service.error" if greeting else None)


def udp_protocol(reply):
    """Which of UDP_QUESTIONS a datagram answers, or None."""
    try:
        return parse_dns(reply) and "dns"
    except NotMine:
        ntp = len(reply) >= 48 and reply[0] & 7 in (2, 4)          # a server, or a peer
        return "ntp" if ntp else "snmp" if reply[:1] == b"0" else None


def parse_first_words(raw):
    """What room 4 brings from a talk that began with FIRST_WORDS."""
    return talk_facts(raw, chain=read_chain(raw.get("chain", ())), **read_first_words(raw["data"]))


SOCKS_REPLIES = dict(enumerate("general failure|not allowed|network unreachable|host unreachable"
                               "|connection refused|TTL expired|command not supported"
                               "|address type not supported".split("|"), 1))


def build_socks(host, port, login):
    """What to say to a SOCKS 5 proxy (RFC 1928, 1929), with what it says where it agrees."""
    user, _, password = login.partition(b":")
    name = dns_ascii(host).encode("ascii", "replace")
    credentials = b"\1" + counted(user, "B") + counted(password, "B")
    connect = b"\5\1\0\3" + counted(name, "B") + struct.pack("!H", port)
    first = ((b"\5\1\2", rb"\x05\x02"), (credentials, rb"(?s).\x00"))
    return (first if login else ((b"\5\1\0", rb"\x05\x00"),)) + ((connect, rb"\x05\x00"),)


def parse_socks(raw):
    """What room 4 brings from a SOCKS proxy, in the terms of HTTP: 200, 403, 407, 502 or 504."""
    page = parse_http_exchange(raw) if raw.get("data") else {"status": None}
    said, told = raw.get("said", b""), (407, "wants another login")
    if said is None:                                 # it agreed to everything
        told = 200, page.get("reason", "OK")
    elif not said:
        told = (504, "no word about the target") if raw.get("step") else (None, None)
    elif said[:1] != b"\5":
        told = 400, "no SOCKS 5"
    elif len(said) > 2 and said[1] in SOCKS_REPLIES:
        told = 403 if said[1] == 2 else 502, SOCKS_REPLIES[said[1]]
    return dict(page, stage=raw["stage"], error=raw.get("error"), ended=raw.get("ended"),
                page=page["status"], status=told[0], reason=told[1])


# Up to where TLS begins: (what to say, what the answer must be like).  RFC 3207, 2595, 4217, 4511,
# 6120; PostgreSQL's SSLRequest; MySQL's, where the greeting has the flag CLIENT_SSL (0x0800).
STARTTLS = {
    "smtp": ((b"", rb"(?ms).*^220 "),        # not "220-": postscreen bars who speaks too early
             (b"EHLO netdiag.invalid\r\n", rb"(?ims)(?=.*^250[ -]STARTTLS).*^250 "),
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
WHOLE_LINE = (rb"(?ms)^(?:\d{3} |\+OK|-ERR|a (?:OK|NO|BAD)|\* (?:OK|BYE))[^\n]*\n|\AN\Z"
              rb"|\A0.{1,5}\x02\x01\x01x|\A...\x00\x0a[^\x00]+\x00.{20}")    # no TLS here


# -- sockets of the whole host: netlink, /proc, ss, netstat, lsof ----------------------------------
#
# All give {"listeners": [...], "udp": [...], "tcp_states": {state: rows}}; a row has proto, addr,
# port (a name where one was printed), and where it is told v6, process, pid, uid, inode, waiting
# (connections not accepted) of at most `limit`, dropped.

SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20                         # linux/sock_diag.h
SOCKET_STATES = numbered("1 ESTABLISHED 2 SYN_SENT 3 SYN_RECV 4 FIN_WAIT1 5 FIN_WAIT2 6 TIME_WAIT"
                         " 7 CLOSED 8 CLOSE_WAIT 9 LAST_ACK 10 LISTEN 11 CLOSING 12 SYN_RECV")
STATE_ALIASES = table_of("ESTAB=ESTABLISHED LISTENING=LISTEN SYN_RCVD=SYN_RECV"
                         " SYN_RECEIVED=SYN_RECV CLOSE=CLOSED")
IDLE = (None, "CLOSED", "UNCONN")                              # of a UDP socket without a peer


def socket_state(word):
    """A state in the kernel's words, however a command spells it; None for what is none."""
    word = re.sub(r"WAIT_([12])", r"WAIT\1", word.upper().strip("()").replace("-", "_"))
    word = STATE_ALIASES.get(word, word)
    return word if word == "UNCONN" or word in SOCKET_STATES.values() else None


def socket_facts(rows):
    """Rows of sockets, from whatever source, as the facts that all sources share."""
    found, left_out = {"listeners": {}, "udp": {}}, ("state", "remote", "remote_port")
    for row in rows:
        idle = row["proto"] == "udp" and row["state"] in IDLE and not row["remote_port"]
        place = "udp" if idle else "listeners" if row["state"] == "LISTEN" else None
        if place and row["port"]:
            key = tuple(row.get(part) for part in ("addr", "port", "v6", "process", "pid", "inode"))
            found[place].setdefault(key, {k: row[k] for k in row if k not in left_out})
    states = collections.Counter(row["state"] for row in rows if row["proto"] == "tcp")
    return dict({place: list(table.values()) for place, table in found.items()},
                tcp_states=dict(states))


def socket_end(word):
    """"10.0.0.1:80", "[::]%e0:80", ":::*", BSD's "*.ssh" -> (address, port or its name or None)."""
    host, port = mine(re.match(r"(.*):([\w*-]+)$", word) or re.match(
        r"(.*)\.([\w*-]+)$", word), word).groups()
    number = port if to_int(port) is None else to_int(port)
    return re.sub(r"[\[\]]", "", host), None if port == "*" else number


def socket_row(proto, state, local, remote, **more):
    """One socket of a text; its ends as printed."""
    (addr, port), (peer, peer_port) = socket_end(local), socket_end(remote)
    return dict(proto=proto, addr=addr, port=port, state=state, remote=peer,
                remote_port=peer_port, **more)


def build_sock_diag(version, protocol, states):
    """All sockets of a family and protocol in these states: struct inet_diag_req_v2, with
    INET_DIAG_SKMEMINFO (7) asked for; -> a request of System.netlink."""
    bits = sum(1 << number for number, state in SOCKET_STATES.items() if state in states)
    return SOCK_DIAG_BY_FAMILY, struct.pack(
        "=BBBxI48x", FAMILY[version], protocol, 1 << 7 - 1, bits), True


def diag_rows(messages):
    """Sockets by SOCK_DIAG_BY_FAMILY (struct inet_diag_msg) with `remote`, `resent`, `only_v6`."""
    for kind, raw in messages:
        if kind == SOCK_DIAG_BY_FAMILY:
            family, state, _, resent, port, peer_port = struct.unpack_from("!BBBBHH", raw)
            size = 16 if family == socket.AF_INET6 else 4
            waiting, limit, uid, inode = struct.unpack_from("=4I", raw, 56)
            found = netlink_attributes(raw, 72)
            yield {"addr": address_text(raw[8:8 + size]), "port": port, "v6": size == 16,
                   "state": SOCKET_STATES.get(state), "remote": address_text(raw[24:24 + size]),
                   "remote_port": peer_port, "waiting": waiting, "limit": limit, "uid": uid,
                   "inode": inode, "resent": resent, "only_v6": bool(found[11][:1].strip(b"\0")),
                   "dropped": netlink_number(found[7][32:]),
                   "dev_index": netlink_number(raw[40:44])}          # SO_BINDTODEVICE; else 0


@guarded
def parse_sock_diag(messages, proto):
    """Sockets of a dump by netlink, see `socket_facts`; UDP has no limit, `waiting` are bytes."""
    return socket_facts([dict(row, proto=proto, limit=row["limit"] if proto == "tcp" else None)
                         for row in diag_rows(messages)])


def proc_end(text):
    """"0100007F:1F90" -> ("127.0.0.1", 8080): words in host order, the port in hexadecimal."""
    digits, _, port = text.partition(":")
    raw = b"".join(struct.pack("=I", int(digits[at:at + 8], 16)) for at in range(0, len(digits), 8))
    return mine(address_text(raw)), int(port, 16)


def proc_rows(text):
    """/proc/net/tcp, tcp6, udp, udp6 (proc_net_tcp.rst): as `diag_rows` but for the limit."""
    heading, *rows = word_rows(text)
    mine(heading[1:3] == ["local_address", "rem_address"] or heading[1:2] == ["local_address"])
    proto = "udp" if "drops" in heading else "tcp"
    for row in [row for row in rows if row[0] != "sl"]:
        (addr, port), (peer, peer_port) = proc_end(row[1]), proc_end(row[2])
        yield {"proto": proto, "addr": addr, "port": port, "state": SOCKET_STATES[int(row[3], 16)],
               "remote": peer, "remote_port": peer_port, "uid": int(row[7]), "limit": None,
               "waiting": int(row[4].partition(":")[2], 16), "inode": int(row[9]),
               "v6": len(row[1]) > 13, "resent": int(row[6], 16), "only_v6": None,
               "dropped": int(row[12]) if proto == "udp" else None}


@parser
def parse_proc_sockets(text):
    """One of these files, see `socket_facts`."""
    return socket_facts(list(proc_rows(text)))


def note_sockets(ports, rows):
    """Add one look at all TCP sockets to what earlier looks saw of each listening port."""
    table = collections.defaultdict(list)
    for row in rows:
        table[str(row["port"])].append(row)
    for port, own in table.items():
        queues = [row for row in own if row["state"] == "LISTEN"]
        if queues or port in ports:
            note_port(ports.setdefault(port, {}), own, queues)


def note_half_open(found, rows):
    """Add who has sent a SYN and not (or not yet) heard the answer, and how often it was resent."""
    for row in rows:
        if row["state"] == "SYN_RECV":
            peer = row["remote"].replace("::ffff:", "")              # IPv4 on a socket of IPv6
            found[peer] = max(row["resent"], found.get(peer, 0))


def note_port(seen, rows, queues):
    """Add one look at the sockets of a port, of which some are its queues; see watch_sockets."""
    states = collections.Counter(row["state"] for row in rows        # or it is not accepted
                                 if row["inode"] or row["state"] != "CLOSE_WAIT")
    dropped = sum(row["dropped"] or 0 for row in queues)
    worst = max(queues, key=lambda row: (row["waiting"] > (row["limit"] or 0), row["waiting"]),
                default={"waiting": 0, "limit": None})      # each socket has a queue of its own
    strangers = {(row["remote"], row["remote_port"]) for row in rows
                 if not row["inode"] and row["state"] in ("ESTABLISHED", "CLOSE_WAIT")}
    if not seen:
        seen.update(most={}, fewest=dict(states), half_open={}, peers={}, unaccepted=strangers,
                    dropped=-dropped, waiting=worst["waiting"], limit=worst["limit"])
    seen["most"].update((s, n) for s, n in states.items() if n > seen["most"].get(s, 0))
    seen["fewest"] = {state: min(n, states[state]) for state, n in seen["fewest"].items()}
    seen.update(waiting=min(seen["waiting"], worst["waiting"]), last_dropped=dropped,
                unaccepted=seen["unaccepted"] & strangers)
    note_half_open(seen["half_open"], rows)
    for row in rows:
        if row["state"] not in ("SYN_RECV", "LISTEN") and len(seen["peers"]) < PEERS_LIMIT:
            seen["peers"][row["remote"].replace("::ffff:", "")] = row["state"]


@parser
def parse_ss(text):
    """`ss -tunap` in its many widths: with or without heading, Netid, processes."""
    rows = []
    for words in word_rows(text):
        at = 0 if socket_state(words[0]) else 1
        proto = words[0] if at else "tcp"
        state = socket_state(words[at]) if len(words) > at + 4 else None
        if proto in ("tcp", "udp") and state:
            line = " ".join(words[at + 5:])
            users = [{"process": name, "pid": int(pid)} for name, pid in re.findall(
                r'"([^"]{0,60})",(?:pid=)?([0-9]{1,9})', line)]
            rows.append(socket_row(
                proto, state, words[at + 3], words[at + 4],
                waiting=to_int(words[at + 1]), limit=to_int(words[at + 2]),
                inode=to_int(find(r"\bino:(\d+)", line)), uid=to_int(find(r"\buid:(\d+)", line)),
                **dict(users[0], processes=users) if users[1:] else (users or [{}])[0]))
    mine(rows or re.search(r"(?m)^(?:Netid +)?State +Recv-Q", text), "no heading")
    return socket_facts(rows)


@parser
def parse_netstat_an(text):
    """`netstat -an` with whatever else, of Linux, BusyBox, BSD, macOS, Windows; /proc/net/tcp."""
    if "local_address" in text[:200]:
        return socket_facts(list(proc_rows(text)))
    rows, error = [], "usage" if re.search("(?m)^Usage: *netstat", text) else None
    for line in text.splitlines() if not error else ():
        words = line.split()
        at = first_of(n for n, word in enumerate(words[:3])
                      if re.match(r"(?i)(?:tcp|udp)(?:4|6|46)?$", word))
        program = re.match(r"\s*\[(.+)\]\s*$", line)            # Windows, -b: below its socket
        if at is not None:
            rows.append(netstat_row(line, words[at], words[at + 1:]))
        elif program and rows and rows[-1]["process"] is None:
            rows[-1]["process"] = program.group(1)
    mine(rows or error or re.search("(?m)^Active .*connections", text), "no heading")
    return dict(socket_facts(rows), error=error)


def netstat_row(line, proto, words):
    """One socket; the pid stands as 12/name (Linux), behind two buffer sizes (macOS), or alone."""
    queues = words[0].isdigit() and words[1].isdigit()
    local, remote, *rest = words[2 * queues:]
    state = socket_state(rest[0]) if rest else None
    pid, name = (re.findall(r"\s(\d{1,9})/(\S.*)", line) or [(None, None)])[0]
    numbers = [word for word in rest[bool(state):] if word.isdigit()]
    if not pid and (not queues or len(numbers) > 2):
        pid = numbers[2] if queues else (rest or [""])[-1]
    return socket_row(proto[:3].lower(), state, local, remote, process=name and name.strip(),
                      pid=to_int(pid), **{"v6": True} if "6" in proto else {})


@parser
def parse_lsof(text):
    """`lsof -nP -i`: COMMAND PID ... TYPE DEVICE SIZE/OFF NODE NAME, heading or not."""
    rows = []
    for words in word_rows(text):
        at = first_of(n for n, word in enumerate(words) if word in ("TCP", "UDP"))
        if at and words[1].isdigit():
            local, _, remote = mine(words[at + 1:], "no name")[0].partition("->")
            state = socket_state(" ".join(words[at + 2:]))
            kinds = [word for word in words[3:at] if word in ("IPv4", "IPv6")]
            rows.append(socket_row(
                words[at].lower(), state, local, remote or "*:*", pid=int(words[1]),
                process=re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), words[0]),
                **{"v6": True} if kinds == ["IPv6"] else {}))
    mine(rows or re.match(r"COMMAND +PID", text), "no heading")
    return socket_facts(rows)


# -- the switch's own words: lldpctl, LLDP (IEEE 802.1AB), CDP; and logs ---------------------------

LLDP_NEIGHBOR = dict(dict.fromkeys("local_if via chassis_id sysname sysdescr port_id port_descr ttl"
                                   " vlan".split()), mgmt_ips=[], capabilities_on=[])
LLDPCTL_KEYS = table_of("ChassisID=chassis_id SysName=sysname SysDescr=sysdescr PortID=port_id"
                        " PortDescr=port_descr")
LLDP_TEXTS = {4: "port_descr", 5: "sysname", 6: "sysdescr"}
LLDP_CAPABILITIES = "Other Repeater Bridge Wlan Router Tel Docsis Station".split()
LLDP_IDS = {(1, 4): "mac", (1, 5): "ip", (1, 6): "ifname", (1, 7): "local",
            (2, 1): "ifalias", (2, 3): "mac", (2, 4): "ip", (2, 5): "ifname", (2, 7): "local"}
CDP_TEXTS = {1: "sysname", 3: "port_descr", 5: "sysdescr"}


@parser
def parse_lldpctl(text):
    """`lldpctl`: {"neighbors": [who is at the other end of which interface], "error"}."""
    found, error = [], "daemon_not_running" if "unable to connect to socket" in text else None
    for part in re.split(r"(?m)^Interface: +", text)[1:]:
        head, *lines = part.splitlines()
        name, via = mine(re.match(r"(\S+), via: (\S+?),", head), "interface").groups()
        row = dict(LLDP_NEIGHBOR, local_if=name, via=via, mgmt_ips=[], capabilities_on=[])
        for line in lines[:([n for n, x in enumerate(lines) if "LLDP-MED:" in x] + [999])[0]]:
            key, _, value = (word.strip() for word in line.partition(":"))
            if key in LLDPCTL_KEYS and row[LLDPCTL_KEYS[key]] is None:
                row[LLDPCTL_KEYS[key]] = value
            elif key == "MgmtIP":
                row["mgmt_ips"].append(value)
            elif key == "Capability" and value.endswith(", on"):
                row["capabilities_on"].append(value[:-4])
            elif key == "TTL":
                row["ttl"] = to_int(value)
            elif key == "VLAN" and row["vlan"] is None:
                row["vlan"] = to_int(value.partition(",")[0])
        found.append(row)
    mine(found or error or "LLDP neighbors:" in text, "no neighbors and no heading")
    return {"neighbors": found, "error": error}


@guarded
def parse_lldp(frame, local_if=None):
    """An LLDP frame (IEEE 802.1AB: TLVs with 7 bits of type and 9 of length) as `parse_lldpctl`."""
    row, at = dict(LLDP_NEIGHBOR, local_if=local_if, via="LLDP", mgmt_ips=[]), 14
    while at + 2 <= len(frame):
        kind, length = divmod(short_at(frame, at), 512)
        body, at = frame[at + 2:at + 2 + length], at + 2 + length
        if kind == 0 or len(body) < length:
            break
        if kind in (1, 2):
            row["port_id" if kind == 2 else "chassis_id"] = lldp_id(kind, body)
        elif kind in LLDP_TEXTS:
            row[LLDP_TEXTS[kind]] = printable(body)
        elif kind == 3:
            row["ttl"] = short_at(body)
        elif kind == 7:
            on = short_at(body, 2)
            row["capabilities_on"] = [w for n, w in enumerate(LLDP_CAPABILITIES) if on >> n & 1]
        elif kind == 8 and body[1] in (1, 2):
            row["mgmt_ips"].append(address_text(body[2:1 + body[0]]))
        elif body[:4] == b"\0\x80\xc2\1" and kind == 127:      # IEEE 802.1: port VLAN ID
            row["vlan"] = short_at(body, 4)
    return mine(row["chassis_id"] and row["port_id"] and row)


def lldp_id(kind, body):
    """A chassis or port ID in the words of lldpctl: "mac 02:00:...", "ifname Gi1/0/8"."""
    word, raw = LLDP_IDS.get((kind, body[0]), "local"), body[1:]
    text = mac_text(raw) if word == "mac" else address_text(raw[1:]) if word == "ip" else None
    return "%s %s" % (word, text or printable(raw, 80))


@guarded
def parse_cdp(frame, local_if=None):
    """A CDP frame: 802.3 and SNAP (22 bytes), version, TTL, checksum; TLVs count their heads."""
    mine(frame[14:22] == b"\xaa\xaa\3\0\0\x0c\x20\0", "no CDP")
    row, at = dict(LLDP_NEIGHBOR, local_if=local_if, via="CDP", ttl=frame[23], mgmt_ips=[]), 26
    while at + 4 <= len(frame):
        kind, length = struct.unpack_from("!HH", frame, at)
        body, at = frame[at + 4:at + length], at + max(length, 4)
        if kind in CDP_TEXTS:
            row[CDP_TEXTS[kind]] = printable(body)
        elif kind == 10:
            row["vlan"] = short_at(body)
        elif kind == 2 and body[4:9] == b"\1\1\xcc\0\4":          # NLPID, IPv4
            row["mgmt_ips"].append(address_text(body[9:13]))
    return dict(mine(row["sysname"] and row), chassis_id="local " + row["sysname"],
                port_id="ifname %s" % row["port_descr"])


SSHD_LINES = kinds(r"""
accepted=^accepted \S+ for   failed=^failed \S+ for   invalid_user=^invalid user .* from
max_auth_exceeded=^maximum authentication attempts exceeded
unable_to_negotiate=^unable to negotiate   user_not_allowed=^user .* not allowed because
throttled=past maxstartups|maxstartups throttling|exceeded maxstartups|penalt
throttled=not allowed at this time|refused connect from""")
SSHD_SAYS = r"\bsshd[\w-]*\[\d+\]: "
SSHD_PEERS = (r"(?:for|user) (?:invalid user |illegal user )?(.*) from (\S+) port \d+ ssh\d",
              r"(?:for|[Uu]ser) (?:invalid user )?(.*) from (\S+)", r"()(?:with|from|by) (\S+)")
# Words of trouble in the logs of other programs: web servers, databases, mail, systemd.
TROUBLE = (r"(?i)refus|denied|fail|not allowed|too many|error|fatal|crit|emerg|exceeded|timed? ?out"
           r"|cannot|unable|limiting|worker_connections|killed|no space|banned")
LOG_TIMES = (r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)",
             r"\b(%s) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)" % MONTHS)


def sshd_words(line):
    """What a line of sshd tells -> (kind, user, address), each None where it does not.

    A user's name may hold blanks and a forged "from ADDRESS": the last one is the peer's.
    """
    text = re.sub("^error: ", "", line.partition("]: ")[2])[:400]
    kind = find_kind(SSHD_LINES, text)
    found = first_of(filter(None, (re.search(p, text) for p in SSHD_PEERS))) if kind else None
    user, address = found.groups() if found else (None, None)
    method = find(r"Failed ([\w-]+)", text) if kind == "failed" else None
    return ("failed_" + method.replace("-", "_") if method else kind, user or None,
            (address or "").strip("[]:,").partition("]:")[0] or None)


@parser
def parse_sshd_log(text):
    """What sshd logged (auth.log, secure, journal): counts by kind and address, the last lines."""
    lines = [line for line in text.splitlines() if re.search(SSHD_SAYS, line)]
    mine(lines, "no sshd in it")
    rows = [sshd_words(line) + (line,) for line in lines]
    told = [row for row in rows if row[0]]
    method = r"Accepted (\S+) for"
    return {
        "counts": dict(collections.Counter(kind for kind, *_ in told)),
        "failed_by_ip": dict(collections.Counter(
            address for kind, _, address, _ in told if kind.startswith("failed") and address)),
        "invalid_users": dict(collections.Counter(
            user for kind, user, _, _ in told if kind == "invalid_user" and user)),
        "accepted": [{"user": user, "ip": address, "method": find(method, line)}
                     for kind, user, address, line in told if kind == "accepted"],
        "lines": [{"kind": kind, "ip": address, "user": user, "text": log_text(line),
                   "when": log_time(line)} for kind, user, address, line in told[-LOG_LIMIT:]]}


def parse_log(text):
    """Any other log: the last lines that tell of trouble, in the shape of `parse_sshd_log`."""
    lines = [line for line in text.splitlines()[-400:] if re.search(TROUBLE, line)]
    return {"lines": [{"kind": "trouble", "ip": None, "text": log_text(line),
                       "when": log_time(line)} for line in lines[-LOG_LIMIT:]]}


def log_text(line):
    """A line of a log as it may be printed."""
    return printable(hide_queries(line.strip()), 240)


def log_time(line):
    """The time at the head of a log line, as its host's clock shows it: [y, m, d, H, M, S]."""
    for pattern in LOG_TIMES:
        found = re.search(pattern, line[:80])
        if found:
            words = [MONTHS.split("|").index(word) + 1 if word.isalpha() else int(word)
                     for word in found.groups()]
            return [None] * (6 - len(words)) + words
    return None


def parse_kernel_log(text):
    """Lines of the kernel's log that name drops, full tables and shortages: safe to print."""
    return {"lines": [printable(line, 160) for line in text.splitlines() if re.search(
        r"(?i)table full|flooding|out of memory|oom-kill|overflow|memory pressure|too many|dropp"
        r"|no space|link is (?:up|down)|martian|i/o error", line)][-LOG_LIMIT:]}


def parse_no_tables(text):
    """/proc/net/ip_tables_names, blank: the old iptables has no table here."""
    mine(not text.strip(), "there are tables, see iptables-save")
    return {"bases": []}


@parser
def parse_units(text):
    """`systemctl list-units --all --type=service --plain --no-legend` -> [{unit, state}]."""
    rows = [words for words in word_rows(text.replace("\u25cf", " ")) if len(words) > 3]
    return [{"unit": printable(words[0], 80), "state": words[2]} for words in rows
            if mine(re.search(r"\.\w+$", words[0]), "no unit")]


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
        if "targets" in document and "schema" in document:   # a text's evidence has targets, too
            yield document
        elif isinstance(inner, str) and inner != text:
            yield from json_documents(inner)


def parse_reports(text):
    """netdiag's reports in a file: JSON, or text that carries it -> [what merge needs of each
    target]; NotMine says why there are none."""
    parts = (part for texts in ([text], unpack_reports(text)) for part in texts)
    found, problem = [], None
    for document in (document for part in parts for document in json_documents(part)):
        try:
            found += report_rows(document)
        except NotMine as error:                  # the other reports in the file still count
            problem = "its report cannot be read: %s" % error
    return mine(found, problem or "no netdiag report in it" + (
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
    once = [row for row in marked.get("t1.", ()) if row.get("probe") in PROBES
            and PROBES[row["probe"]].scope in ONCE]                  # it stands for all targets
    for number, target in enumerate(document["targets"][:MAX_REPORT_TARGETS], 1):
        own = marked.get("t%d." % number, [])
        told = {row.get("probe") for row in own}
        own = own + [row for row in once if row["probe"] not in told]
        result = target["verdict"]
        code = mine(re.match(r"[a-z]{2,20}(\.[a-z_]{2,30})?\Z", result["code"]), "no code").group()
        port = target.get("port")
        mine(not port or int(port) in range(65536), "no port")
        rows.append(dict(
            seen_of(own, port), flows=flows, path=path_rows(target),
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


# -- rulesets of firewalls -------------------------------------------------------------------------
#
# iptables-save and nft become the same: base chains, each with the chains of its table as the
# texts of their rules.  A text is read when a packet comes to it, as rows (tests, do, alters):
# `do` is accept, drop, reject, return, "jump X", "goto X", "unknown", or "" (on to the next rule),
# `alters` the fields of the packet after it, {field: values, () for unknown}.  A test is ([field],
# negated, [[word for each field]]); UNKNOWN is not understood: nobody can tell whether it holds.

HOOKS = ("ingress", "prerouting", "input")      # that a packet to this host passes, in order
WAY_OUT = ("output", "postrouting", "egress")   # and its answer; nat looks at first packets only
PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "dstnat": -100, "filter": 0,
              "security": 50, "srcnat": 100, "out": 100}    # linux/netfilter_ipv4.h
CONNTRACK = -200                                # chains before it see no state of a connection
UNKNOWN = ([], False, None)
IPTABLES_HOOKS = {name: name.lower() for name in "PREROUTING INPUT OUTPUT POSTROUTING".split()}
IPTABLES_FIELDS = pairs(
    "-p proto -s saddr -d daddr -i iif -o oif --dport dport --dports dport --sport sport"
    " --sports sport --state state --ctstate state --ctstatus status --dst-type dst_type"
    " --src-type src_type --src-range saddr --dst-range daddr --mark mark --pkt-type pkttype"
    " --tcp-flags flags".split())
IPTABLES_PLAIN = ("-A -c --comment --validmark --loose -m tcp -m udp -m multiport"
                  " -m conntrack -m state -m comment -m addrtype -m iprange -m mark -m pkttype")
IPTABLES_DO = dict({name: "" for name in (
    "LOG NFLOG ULOG MARK CONNMARK TOS DSCP TTL HL TCPMSS CT NOTRACK AUDIT SECMARK CONNSECMARK TRACE"
    " CHECKSUM CLASSIFY SET").split()}, ACCEPT="accept", DROP="drop", REJECT="reject",
    RETURN="return", SNAT="accept", MASQUERADE="accept")
IPTABLES_ALTERS = {"MARK": {"mark": ()}, "CONNMARK": {"mark": ()}, "CT": {"state": ()},
                   "CT --notrack": {"state": ["untracked"]}, "NOTRACK": {"state": ["untracked"]}}
NFT_FIELDS = dict(row.split("=") for row in (
    "tcp dport=dport,udp dport=dport,th dport=dport,tcp sport=sport,udp sport=sport,th sport=sport,"
    "tcp flags=flags,ip saddr=saddr,ip6 saddr=saddr,ip daddr=daddr,ip6 daddr=daddr,"
    "ip protocol=proto,ip6 nexthdr=proto,meta l4proto=proto,meta protocol=ethertype,"
    "meta nfproto=family,iif=iif,iifname=iif,meta iif=iif,meta iifname=iif,ct state=state,"
    "oif=oif,oifname=oif,meta oif=oif,meta oifname=oif,"
    "ct status=status,mark=mark,meta mark=mark,meta pkttype=pkttype,fib daddr type=dst_type,"
    "fib saddr type=src_type,fib saddr . iif oif=way_back,"
    "fib saddr . mark . iif oif=way_back").split(","))
NFT_IMPLIED = {"ip": ("family", "ipv4"), "ip6": ("family", "ipv6"), "tcp": ("proto", "tcp"),
               "udp": ("proto", "udp"), "icmp": ("proto", "icmp"), "icmpv6": ("proto", "ipv6-icmp")}
NFT_BESIDE = dict({"counter": 1, "log": 1, "continue": 1}, **{name: 2 for name in (
    "packets bytes name prefix level group snaplen queue-threshold flags comment").split()})
NFT_ENDS = dict({name: name for name in "accept drop reject return jump goto".split()}, **dict(
    {name: "unknown" for name in "dnat redirect tproxy queue fwd synproxy xt vmap".split()},
    snat="accept", masquerade="accept"))        # all that may end a rule (nft(8), STATEMENTS)
NFT_NOTES = (":", "timeout", "expires", "counter", "limit", "comment")   # behind an element's key
PROTOCOL_NUMBERS = table_of("6=tcp 17=udp 1=icmp 58=ipv6-icmp icmpv6=ipv6-icmp")


def unwarned(text):
    """Without the warnings on standard error, which may stand in the middle of a line."""
    return re.sub(r"# Warning: (?:table \S+ \S+ (?:is managed|was created) by"
                  r"|ip6?tables-legacy tables present)[^\n]*\n", "", text)


@parser
def parse_iptables_save(text):
    """iptables-save, ip6tables-save (also -c), iptables -S (also -v) -> tables, targets, bases."""
    tables, chains, cut = {}, None, 0
    for line in unwarned(text).splitlines():
        chain = re.match(r"(?::|-[PN] )(\S+)(?: ([A-Z]+)| -|$)(?: \[([0-9]+)| -c ([0-9]+)|$)", line)
        rule = re.match(r"(?:\[[0-9]+:[0-9]+\] )?-A (\S+)", line)
        if line[:1] == "*" or chain and chains is None:
            chains = tables.setdefault(line[1:] if line[:1] == "*" else "(default)", {})
        if chain:
            name, policy, packets, packets_v = chain.groups()
            chains[name] = {"policy": policy, "packets": to_int(packets or packets_v), "rules": []}
        elif rule:
            chains[rule.group(1)]["rules"].append(line)
        else:
            cut += (line[:1] == "*") - (line == "COMMIT")
            mine(not tables or line[:1] in ("", "#", "*") or line == "COMMIT", "a line of another")
    mine(not cut, "cut short: a table without its COMMIT")
    return iptables_facts(text, tables)


def iptables_facts(text, tables):
    """What the tables of iptables say; `bases` is None where they could not be read, and for
    iptables -S, which does not say of which table and family it is.

    `backend` is whose rules they are: legacy, or nf_tables, whose rules nft shows as well.
    """
    head = re.search(r"(?m)^# (?:(?:Generated by|Warning:) ip6?tables|Table `)", text)
    error = tool_error(text, r"tables", tables, head or not text.strip())
    targets = [iptables_target(line)[1] or "(none)" for chains in tables.values()
               for chain in chains.values() for line in chain["rules"]]
    backend = "legacy" if "Generated by" in text and "(nf_tables)" not in text else "nf_tables"
    family = "ip6" if re.search(r"(?m)^# .*\bip6tables", text) else "ip"
    bases = [base_chain(
        backend, family, table, name, IPTABLES_HOOKS.get(name),
        100 if (table, name) == ("nat", "INPUT") else PRIORITIES.get(table, 0), chain["policy"],
        {key: row["rules"] for key, row in chains.items()}, nat=table == "nat",
        packets=chain["packets"])
             for table, chains in tables.items() for name, chain in chains.items()]
    return {"tables": {table: {name: dict(chain, rules=len(chain["rules"]))
                               for name, chain in chains.items()}
                       for table, chains in tables.items()},
            "targets": {name: targets.count(name) for name in targets}, "error": error,
            "bases": None if error or "(default)" in tables else list(filter(None, bases)),
            "backend": backend, "legacy_too": "legacy tables present" in text}


def base_chain(backend, family, table, name, hook, priority, policy, chains, nat=False, **more):
    """A base chain that a packet to this host or its answer passes; None for any other, and for
    one that is idle.

    chains: those of its table, {name: [rule]}; more: packets (that met the policy), nft's sets.
    """
    policy = (policy or "accept").lower()
    if hook not in (HOOKS if nat else HOOKS + WAY_OUT) or not chains[name] and policy == "accept":
        return None
    return dict(more, backend=backend, family=family, table=table, chain=name, hook=hook,
                priority=priority, policy=policy, chains=chains)


def iptables_options(text):
    """A rule as iptables-save writes it -> [(negated, option, [its words])]; -j takes the rest."""
    options, negated = [], False
    for word in re.findall(r'"(?:[^"\\]|\\.)*"|\S+', text.partition("-A ")[2]):
        last = options[-1][1:] if options else ("-A", [])
        if last[0] in ("-j", "-g") or last[0] == "--comment" and not last[1]:
            last[1].append(word)
        elif word == "!":
            negated = True
        elif word == "--invert":                        # of rpfilter
            options = [(row[0] or row[2] == ["rpfilter"],) + row[1:] for row in options]
        elif re.match(r"--?[a-z]", word):
            options.append((negated, word, []))
            negated = False
        else:
            last[1].append(word)
    return options


def iptables_target(text):
    """(-j or -g, the target) of a rule; (None, None) where it has none."""
    _, option, words = (iptables_options(text) or [(False, None, [])])[-1]
    return (option, words[0]) if option in ("-j", "-g") else (None, None)


def iptables_rows(text, _):
    """A rule of iptables as rows (iptables(8), iptables-extensions(8))."""
    tests = [iptables_test(*row) for row in iptables_options(text) if row[1] not in ("-j", "-g")]
    option, target = iptables_target(text)
    do = IPTABLES_DO.get(target, "%s %s" % ("goto" if option == "-g" else "jump", target))
    sent = find(r" -j (?:REDIRECT --to-ports |DNAT --to-destination :)(\d+)(?: |$)", text)
    if sent:
        return [([test for test in tests if test], "accept",
                 {"dport": [int(sent)], "status": ["dnat"]})]
    mark = find(r" -j MARK --set-xmark (0x[0-9a-f]+)/0xffffffff$", text)
    alters = {"mark": [int(mark, 0)]} if mark else IPTABLES_ALTERS.get(
        find(" -j (.*)", text), IPTABLES_ALTERS.get(target, {}))
    return [([test for test in tests if test], do if target else "", alters)]


def iptables_test(negated, option, words):
    """One option of a rule as a test, or None where it asks for nothing."""
    field = IPTABLES_FIELDS.get(option)
    if words == ["rpfilter"]:
        return ["way_back"], negated, [["exists"]]
    if not field or not words:
        plain = " ".join([option] + words if option == "-m" else [option])
        return None if " %s " % plain in " %s " % IPTABLES_PLAIN else UNKNOWN
    if field == "flags":                                # --tcp-flags MASK WANTED
        return [field], negated, [["/".join(words[::-1]).lower()]]
    words = ",".join(words).split(",")
    if option in ("--dst-type", "--src-type") and (len(words) > 1 or words == ["UNICAST"]):
        return UNKNOWN                                  # IPv6 takes both another way than IPv4
    if field in ("dport", "sport"):
        words = [word.replace(":", "-") for word in words]
    if field in ("iif", "oif"):                         # eth+ is nft's eth*
        words = [re.sub(r"\+$", "*", word) for word in words]
    return [field], negated, [[word] for word in words]


@parser
def parse_nft_list_ruleset(text):
    """`nft list ruleset` (also -a), `nft list tables` -> tables and base chains."""
    tables, bodies, body = [], [], None
    for line in re.sub(r"(?m) # handle [0-9]+$", "", unwarned(text)).splitlines():
        table = re.match(r"table (\w+) (\S+)( \{)?(?: #.* progname .*)?$", line)
        block = re.match(r"\t(\w+) (?:helper |timeout |expectation )?(\S+) \{", line)
        if table:
            tables.append(dict(zip(("family", "name", "open"), table.groups())))
            bodies.append([])
        elif block:
            body = []
            bodies[-1].append((block.group(1), block.group(2), body))
        elif line[:2] == "\t\t":
            mine(line.strip() != "}", "a chain inside a rule")
            body += [line.strip()] * (line[:11] != '\t\tcomment "')    # of the chain or set itself
        elif line == "}":
            tables[-1]["open"] = None
        elif line[:7] == "\tflags " and "dormant" in line:
            tables[-1]["dormant"] = True
        else:
            mine(not tables or line.strip() in ("", "}") or line[:1] in "#\t", "another's line")
    error = tool_error(text, r"netlink: |\(you must be root\)", tables, not text.strip())
    mine(not any(table.pop("open") for table in tables), "cut short")
    return nft_facts(zip(tables, bodies), error)


def nft_table(table, body):
    """A table and its blocks [(kind, name, [line])] -> (its facts, its base chains)."""
    blocks = {kind: [(name, lines) for key, name, lines in body if key == kind]
              for kind in ("chain", "set", "map")}
    sets = {name: find(r"(?s)elements = \{ (.*) \}", "\n".join(lines)) or ""
            for name, lines in blocks["set"] + blocks["map"]}
    heads = {name: nft_head(lines) for name, lines in blocks["chain"]}
    chains = {name: lines[1:] if heads[name]["hook"] else lines for name, lines in blocks["chain"]}
    bases = [base_chain("nf_tables", table["family"], table["name"], name, head["hook"],
                        head["priority"], head["policy"], chains, head["type"] == "nat", sets=sets,
                        devices=head["devices"])
             for name, head in heads.items() if not table.get("dormant")]
    facts = dict(table, chains=[dict(heads[name], name=name, rules=len(chains[name]))
                                for name in heads],
                 **{kind + "s": [name for name, _ in blocks[kind]] for kind in ("set", "map")})
    return facts, list(filter(None, bases))


def nft_head(lines):
    """type, hook, priority and policy of a chain: its first line, if it is a base chain."""
    found = re.match(r"type (\w+) hook (\w+) (?:devices? (.{0,200}?) )?priority (-?\w+)"
                     r"(?: ([+-]) ([0-9]+))?; ?(?:policy (\w+);)?", (lines or [""])[0])
    if not found:
        return {"type": None, "hook": None, "devices": [], "priority": None, "policy": None}
    kind, hook, devices, word, sign_, more, policy = found.groups()
    return {"type": kind, "hook": hook, "policy": policy,
            "devices": re.findall(r"[^\s={},\"]+", devices or ""),
            "priority": PRIORITIES.get(word, to_int(word)) + int((sign_ or "") + (more or "0"))}


def nft_rows(text, sets):
    """A rule of nft as rows (nft(8)); a verdict map has one for each of its elements."""
    words, tests, rows = nft_words(text), [], []
    while words:
        sent = find(r"^(?:redirect|dnat)(?: ip6?)? to :(\d+)(?: |$)", " ".join(words))
        if sent:
            return rows + [(tests, "accept", {"dport": [int(sent)], "status": ["dnat"]})]
        if words[0] in NFT_ENDS:
            do = NFT_ENDS[words[0]]
            return rows + [(tests, " ".join([do] + words[1:2] * (do in ("jump", "goto"))), {})]
        if words[0] in NFT_BESIDE:
            del words[:NFT_BESIDE[words[0]]]
            continue
        fields, implied = nft_fields(words)
        tests += [([field], False, [[word]]) for field, word in implied]
        if fields and words[:1] == ["vmap"]:
            found = nft_values(words[1:], sets)
            return rows + nft_map_rows(tests, fields, found)
        alters, test = nft_alters(fields, words), fields and nft_test(fields, words, sets)
        if not test:                                    # what follows may belong to it
            rows.append((list(tests), "", alters))
            words = nft_rest(words)
        tests.append(test or UNKNOWN)
    return rows + [(tests, "", {})]


def nft_alters(fields, words):
    """What a statement sets: {field of the packet: values, () for unknown}."""
    if words == ["notrack"]:
        return IPTABLES_ALTERS["NOTRACK"]
    names = (fields or []) if words[:1] == ["set"] else ["mark"] * ("set" in words)
    plain = [int(word, 0) for word in words[1:] if re.match("0x[0-9a-f]+$", word) and not words[2:]]
    return dict.fromkeys(names + ["state"] * ("notrack" in words), plain)


def nft_words(text):
    """A rule or the elements of a set as words; braces, commas and parentheses are words."""
    return re.findall(r'"[^"]*"|[{},()]|[^\s{},()"]+', text)


def nft_rest(words):
    """The words from the next one on that may end the rule, outside of braces."""
    depth = 0
    for place, word in enumerate(words):
        depth += (word == "{") - (word == "}")
        if not depth and word in NFT_ENDS:
            return words[place:]
    return []


def nft_fields(words):
    """The left side of a match, taken from the words -> ([field] or None, [(field, word)])."""
    fields, implied = [], []
    while words:
        implied += [NFT_IMPLIED[word] for word in words[:1] if word in NFT_IMPLIED]
        size = max(n for n in (0, 1, 2, 3, 5, 7) if not n or " ".join(words[:n]) in NFT_FIELDS)
        if not size:
            break
        fields.append(NFT_FIELDS[" ".join(words[:size])])
        del words[:size]
        if words[:1] != ["."]:
            return fields, implied
        del words[:1]
    return None, implied


def nft_test(fields, words, sets):
    """The operator and the right side of a match, taken from the words -> a test, or None."""
    mask, negated = None, False
    if words[:1] in (["&"], ["and"]):                   # `mark & 0xff == 1`, `flags & (a | b) == a`
        del words[:1]
        mask = nft_mask(words, "|")
    if words[:1] in (["=="], ["!="]):
        negated = words.pop(0) == "!="
    if not words or words[0] in ("<", ">", "<=", ">=", "!", "set", "vmap") or (
            words[1:2] == ["|"] and not mask):
        return None
    one_of = words[0] == "{" or words[0][:1] == "@"
    rows = nft_values(words, sets)
    if words[:1] == ["/"]:                              # `flags syn / fin,syn,rst,ack`
        del words[:1]
        mask = nft_mask(words, ",")
    if rows is None or not one_of and negated and len(rows) > 1:    # != a,b compares all bits
        return None
    keys = [key for key, _ in rows]
    return fields, negated, [["%s/%s" % (",".join(key[0] for key in keys), mask)]] if mask else keys


def nft_mask(words, between):
    """A mask taken from the words: one word, or several in parentheses or after commas."""
    words[:] = [word for word in words if word not in ("(", ")")]
    taken = [words.pop(0)]
    while words[:1] == [between]:
        taken.append(words[1])
        del words[:2]
    return ",".join(taken)


def nft_values(words, sets):
    """The right side of a match, taken from the words -> [([word per field], verdict)] or None."""
    word = words.pop(0)
    if word[:1] == "@":
        return nft_elements(nft_words(sets[word[1:]])) if word[1:] in sets else None
    if word == "{":
        end = words.index("}")
        taken, words[:end + 1] = words[:end], []
        return nft_elements(taken)
    taken = [word]
    while words[:1] in ([","], ["."], ["|"]):           # `== syn | ack`: both of them
        taken += [words[0].replace("|", ","), words[1]]
        del words[:2]
    return nft_elements(taken)


def nft_elements(words):
    """What stands between the braces of a set or map -> [([word per field], [verdict word])]."""
    rows, row = [], []
    for word in words + [","]:
        if word != ",":
            row.append(word)
        elif row:
            end = next((n for n, word in enumerate(row) if word in NFT_NOTES), len(row))
            verdict = row[len(row) - row[::-1].index(":"):] if ":" in row else []
            rows.append(([word.strip('"') for word in row[:end] if word != "."], verdict))
            row = []
    return rows


def nft_map_rows(tests, fields, elements):
    """The rows of a verdict map; its `*` stands for all that no other element names."""
    if elements is None:
        return [(tests, "unknown", {})]
    ends = dict(NFT_ENDS, **{"continue": ""})
    return [(tests + [(fields, False, [key])], " ".join([ends[verdict[0]]] + verdict[1:]), {})
            for key, verdict in sorted(elements, key=lambda row: row[0] == ["*"])]


def nft_facts(tables, error):
    """[(table, its blocks)] -> the facts of a ruleset; `bases` is None where it was not read."""
    rows = [nft_table(*row) for row in tables]
    return {"tables": [facts for facts, _ in rows], "error": error,
            "bases": None if error else [base for _, bases in rows for base in bases]}


def inbound_packet(transport, port, daddr, saddr, iif, way_back=()):
    """The first packet of a client to this host: for each field what it may hold, () for unknown.

    daddr, saddr: addresses of one family; iif: names of the interfaces where it may come in;
    way_back: ["exists"] where the route to the client leaves by that interface (rp_filter).
    """
    version = is_address(daddr[0])
    return {"family": ["ipv%d" % version], "ethertype": [{4: "ip", 6: "ip6"}[version]],
            "proto": [transport], "saddr": saddr, "daddr": daddr, "dport": [port], "iif": iif,
            "flags": ["syn"], "state": ["new"], "status": ["none"], "mark": [0],
            "dst_type": ["local"], "src_type": ["unicast"], "pkttype": ["unicast"],
            "way_back": way_back}


def answer_packet(packet, port):
    """What this host sends back to the client of such a packet, as far as it is known."""
    turned = table_of("saddr=daddr daddr=saddr iif=oif dst_type=src_type src_type=dst_type")
    return dict({turned.get(field, field): values for field, values in packet.items()
                 if field not in ("flags", "pkttype", "status", "way_back")},
                sport=[port], dport=(), state=["established"], flags=["syn,ack"])


def firewall_bases(rulesets):
    """The base chains of all rulesets; what iptables-nft shows is not taken from nft again.

    A backend that exists and was not read is a chain whose policy nobody knows.
    """
    bases = {}
    for base in [base for ruleset in rulesets for base in ruleset["bases"] or ()]:
        bases.setdefault(tuple(base[key] for key in "backend family table chain".split()), base)
    unread = any(ruleset.get("legacy_too") for ruleset in rulesets) and not any(
        ruleset.get("backend") == "legacy" for ruleset in rulesets)
    return list(bases.values()) + [
        base_chain("legacy", "inet", "iptables-legacy", "INPUT", "input", 1 << 31, "unknown",
                   {"INPUT": []})] * unread


def packet_fate(bases, packet, hooks=HOOKS):
    """What base chains do with a packet -> {"fate", "may", "chain", "rule", "packets", "port"}.

    fate: accept, drop, reject, or None: cannot tell, `may` has what may happen.  chain and rule
    decide, or are the first in doubt; packets is their counter, None where it need not be theirs;
    port is the one to which a redirect leads, None where there is none, or nobody knows.
    The chains are asked by hook and priority until one drops or rejects (nft(8), VERDICTS); those
    of one priority in the order in which they were made, newest first, which no command shows.
    """
    walk = {"packet": packet, "left": WALKED_LIMIT, "doubts": [], "altered": {}}
    families = ("inet", "netdev", {"ipv4": "ip", "ipv6": "ip6"}[packet["family"][0]])
    may, accepted, end = {}, (None, None), None
    for place, base in sorted((((hooks.index(base["hook"]), base["priority"]), base)
                               for base in bases if base["family"] in families
                               and base["hook"] in hooks), key=lambda row: row[0]):
        if end not in (None, place):
            break
        fates = base_fates(base, packet, walk)
        passed = fates.pop("accept", None)
        if end and fates:
            walk["doubts"] += list(fates.values())
        may = dict(fates, **may)
        end = end if passed else place
        if passed and not passed[1].endswith("policy accept"):
            accepted = passed
    if not end:
        may["accept"] = accepted
    fate = list(may)[0] if len(may) == 1 and "unknown" not in may else None
    chain, rule = may[fate] if fate else (walk["doubts"] + [may.get("unknown")])[0]
    count = find(r"(?:^\[|counter packets )([0-9]+)", rule or "")
    return {"fate": fate, "may": sorted(may), "chain": chain, "rule": rule and without_count(rule),
            "packets": None if fate and walk["doubts"] else to_int(count),
            "port": first_of(walk["altered"].get("dport", ()))}


def without_count(rule):
    """A rule without what its counter says."""
    return re.sub(r"^\[[0-9]+(?::[0-9]+)?\] | packets [0-9]+ bytes [0-9]+", "", rule)


def base_fates(base, packet, walk):
    """{what a base chain may do with the packet: (chain, rule)}, accept if it lets it pass."""
    early = base["hook"] == "ingress" or base["priority"] < CONNTRACK and base["hook"] in (
        "prerouting", "output")
    walk["packet"] = dict(packet, state=["invalid"]) if early else packet
    fates = chain_fates(base["chain"], base, walk, 0)
    if fates.pop("", None):
        count = "" if base.get("packets") is None else "[%d] " % base["packets"]
        fates.setdefault(base["policy"], (chain_name(base, base["chain"]),
                                          count + "policy " + base["policy"]))
    side, devices = {"ingress": "iif", "egress": "oif"}.get(base["hook"]), base.get("devices")
    here = not side or test_holds(([side], False, [[name] for name in devices or ()]), walk)
    if here is None:
        fates["unknown"] = list(fates.values())[0]
    return fates if here is not False else {"accept": (None, "policy accept")}


def chain_name(base, name):
    """A chain of the table of a base chain, as nft calls it."""
    return "%s %s %s" % (base["family"], base["table"], name)


def chain_fates(name, base, walk, depth):
    """{what a chain may do with the packet: (chain, rule)}; "": it ends without a verdict."""
    fates, where, doubt = {}, chain_name(base, name), False
    for text in base["chains"][name]:
        for tests, do, alters in line_rows(text, base):
            walk["left"] -= 1
            sure = both(test_holds(test, walk) for test in tests)
            if sure is False:
                continue
            walk["altered"].update(alters if sure and not doubt else dict.fromkeys(alters, ()))
            found, goes_on = line_fates(do, (where, text), base, walk, depth)
            if sure is None and found:            # what follows may not be asked
                walk["doubts"].append((where, text))
                doubt = True
            fates = dict(fates, **found) if sure else dict(found, **fates)
            if sure and not goes_on:
                return fates
    return dict({"": (where, "")}, **fates)


LINE_ROWS = {}      # {(rule, is it nft's): its rows}: each port asks for all rules again


def line_rows(text, base):
    """A rule as rows; one that makes no sense may match, and do anything."""
    try:
        if "sets" in base and "@" in text:              # it depends on what its set holds
            return guarded(nft_rows)(text, base["sets"])
        if (text, "sets" in base) not in LINE_ROWS:
            LINE_ROWS[text, "sets" in base] = guarded(
                nft_rows if "sets" in base else iptables_rows)(text, {})
        return LINE_ROWS[text, "sets" in base]
    except NotMine:
        return [([UNKNOWN], "unknown", {"mark": (), "state": ()})]


def line_fates(do, row, base, walk, depth):
    """What a rule that matches may do -> ({fate: (chain, rule)}, may the next rule be asked?)."""
    kind, _, target = do.partition(" ")
    if kind not in ("jump", "goto"):
        return {"" if do == "return" else do: row} if do else {}, not do
    if target not in base["chains"] or depth > 16 or walk["left"] < 0:     # DNAT, NFQUEUE ...
        return {"unknown": row}, False
    found = chain_fates(target, base, walk, depth + 1)
    goes_on = kind == "jump" and bool(found.pop("", None))
    return found, goes_on


def both(ways):
    """True when all are, False when one is; None when that depends on one that nobody knows."""
    ways = list(ways)
    return False if False in ways else None if None in ways else True


def test_holds(test, walk):
    """Does a test of a rule hold for the packet: True, False or None."""
    fields, negated, keys = test
    if keys is None:
        return None
    found = [True if key == ["*"] else None if len(key) != len(fields) else both(
        word_holds(field, word, walk) for field, word in zip(fields, key)) for key in keys]
    holds = True if True in found else None if None in found else False
    return holds if holds is None else holds != negated


def word_holds(field, word, walk):
    """Is a field of the packet what a word says, whichever of its possible values it has?"""
    if field == "state" and word in ("DNAT", "SNAT"):   # iptables' --ctstate has them as well
        field = "status"
    values = walk["altered"].get(field, walk["packet"].get(field, ()))
    try:
        ways = {bool(value_is(field, word, value)) for value in values}
    except (ValueError, TypeError, NotMine):            # a word that is not understood
        return None
    return ways.pop() if len(ways) == 1 else None


def value_is(field, word, value):
    """Is one value of a field what a word of a rule says?  ValueError: it is not understood."""
    low, dash, high = word.partition("-")
    if field in ("saddr", "daddr"):
        if not dash:
            return in_prefix(ip(value), word)
        low, high = ip(low), ip(high)
        return low.version == ip(value).version and low <= ip(value) <= high
    if field in ("sport", "dport"):
        low, high = (PROTOCOLS[port].port if port in PROTOCOLS else int(port)
                     for port in (low, high if dash else low))
        return low <= value <= high
    if field in ("iif", "oif"):
        mine(not word.isdigit(), "the index of an interface that is gone")
        return value == word or word.endswith("*") and value.startswith(word[:-1])
    if field in ("mark", "flags"):
        wanted, _, mask = word.lower().partition("/")
        if field == "mark":
            return value & int(mask or "-1", 0) == int(wanted, 0)
        held, looked_at = set(value.split(",")), set(mask.split(","))
        mine(mask or len(held) == 1, "any of these flags, or all, as the operator was")
        held &= held if not mask or "all" in looked_at else looked_at
        return held == set(wanted.split(",")) - {"none", "0x0"}
    word = PROTOCOL_NUMBERS.get(word.lower(), word.lower()).replace("host", "unicast")
    mine(re.match(r"[a-z][a-z0-9_-]*\Z", word) or field == "proto" and to_int(word) is not None)
    return word == value or field == "proto" and word in ("0", "all")


def in_prefix(address, word):
    """Is an address in a network, with a length or a mask of leading ones (iptables has others)?"""
    import ipaddress
    net, slash, length = word.partition("/")
    if slash and to_int(length) is None:
        length = mine(mask_length(length), "a mask with holes")
    return address in ipaddress.ip_network("%s/%s" % (net, length) if slash else net, False)


@parser
def parse_hosts_access(text):
    """/etc/hosts.allow, hosts.deny -> {"rules": [daemons, clients, options]} (hosts_access(5))."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line[:1] != "#"]
    parts = [re.findall(r"\[[^][]*\]|[^][:]+|[][:]", line) for line in lines if line.strip()]
    rows = ["".join("\n" if part == ":" else part for part in row).split("\n") for row in parts]
    mine(all(len(row) > 1 for row in rows), "a line without a colon")
    return {"rules": [[row[0].replace(",", " ").split(), row[1].replace(",", " ").split(),
                       [word.strip() for word in row[2:]]] for row in rows]}


def wrappers_allow(allow, deny, daemon, address):
    """Do TCP wrappers let a client in: True, False, or None where that hangs on its name?

    allow, deny: the rules of the two files; the first that matches decides (hosts_access(5)), or
    its own last option, allow or deny (hosts_options(5)).  Only programs with libwrap ask them.
    """
    for rules, verdict in ((allow, True), (deny, False)):
        for daemons, clients, options in rules:
            sure = both([wrapper_matches(daemons, lambda word: word in ("ALL", daemon)),
                         wrapper_matches(clients, lambda word: client_matches(word, address))])
            if sure is not False:
                return {"allow": True, "deny": False}.get(
                    (options or [""])[-1].lower(), verdict) if sure else None
    return True


def wrapper_matches(words, matches):
    """Does a list of patterns match, with what stands behind EXCEPT: True, False or None."""
    if "EXCEPT" in words:
        place = words.index("EXCEPT")
        excepted = wrapper_matches(words[place + 1:], matches)
        return both([wrapper_matches(words[:place], matches),
                     excepted if excepted is None else not excepted])
    found = [matches(word) for word in words]
    return True if True in found else None if None in found else False


def client_matches(word, address):
    """Does a client pattern match an address; None for names, files, netgroups and wildcards."""
    if word == "ALL" or word[-1:] == "." and address.startswith(word):
        return True
    word = re.sub(r"[\[\]]", "", word)
    try:
        return False if re.match(r"[0-9.]{1,12}\.\Z", word) else in_prefix(ip(address), word)
    except (ValueError, NotMine):
        return None


# -- captures (pcap, pcapng), and the flows in them ------------------------------------------------

PCAP_MAGIC = {0xa1b2c3d4: (1e6, 16), 0xa1b23c4d: (1e9, 16), 0xa1b2cd34: (1e6, 24)}  # unit, header
SECTION = b"\x0a\x0d\x0d\x0a"                             # the same in both byte orders
LINK_HEADS = {1: (12, 14), 113: (14, 16), 276: (0, 20)}   # EtherType at, length: Ethernet, cooked
BARE_LINKS = {0: 4, 108: 4, 12: 0, 14: 0, 101: 0, 228: 0, 229: 0}   # loopback, raw IP: length
TAGGED, MPLS, PPPOE = (0x8100, 0x88a8, 0x9100), 0x8847, 0x8864      # EtherTypes
ARP, IPV4, IPV6 = 0x806, 0x800, 0x86dd
IP_NUMBERS = numbered("1 icmp 6 tcp 17 udp 58 icmpv6")
IP_TUNNELS, GRE, FRAGMENT, AUTHENTICATION = (4, 41), 47, 44, 51
EXTENSIONS = (0, 43, 60, 135, 139, 140, FRAGMENT, AUTHENTICATION)   # RFC 7045
ICMP_ERRORS = {(1, 3), (1, 11), (58, 1), (58, 2), (58, 3)}
FIN, SYN, RST, ACK = 1, 2, 4, 16
FIRST_TTLS = (64, 128, 255)                               # what hosts send with
FINE_FLOWS = "established closed answered opening partial trace".split()
FLOW_COUNTS = ("packets syn syn_retransmits synack synack_retransmits rst fin retransmits reordered"
               " zero_window duplicate_acks").split()

Packet = collections.namedtuple(
    "Packet",
    "at_s protocol src sport dst dport ttl length flags seq ack window options icmp vlans ident")
Packet.__new__.__defaults__ = (None,)


def capture_records(read):
    """The records of a pcap or pcapng file: (seconds, link type, bytes, length on the wire).

    `read(n)` gives the next n bytes.  NotMine at the start: no capture; later: broken there.
    Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
    """
    head = read(4)
    if head == SECTION:
        return pcapng_records(read)
    order = first_of(o for o in "<>" if len(head) == 4 and struct.unpack(o + "I", head)[0]
                     in PCAP_MAGIC)
    mine(order, "this is no pcap or pcapng file")
    return pcap_records(read, order, *PCAP_MAGIC[struct.unpack(order + "I", head)[0]])


def pcap_records(read, order, unit, size):
    """The records of a pcap file behind its magic number; `size` is that of their headers."""
    link = struct.unpack(order + "16xI", exactly(read, 20))[0] & 0xffff
    head = read(size)
    while head:
        mine(len(head) == size, "the file ends in the head of a packet")
        second, part, kept, length = struct.unpack_from(order + "IIII", head)
        mine(kept <= PACKET_BYTES, "a packet of %d bytes cannot be" % kept)
        yield second + part / unit, link, exactly(read, kept), length
        head = read(size)


def exactly(read, count):
    """The next `count` bytes; NotMine where the file ends before."""
    data = read(count)
    mine(len(data) == count, "the file ends in the middle of a packet")
    return data


def pcapng_records(read):
    """The same of pcapng, behind its first four bytes: sections, interfaces, packet blocks."""
    order, links, kind = "<", [], SECTION
    while kind:
        mine(len(kind) == 4, "the file ends in the head of a block")
        size, used = exactly(read, 4), 8
        if kind == SECTION:
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(exactly(read, 4))
            mine(order, "a section of no byte order")
            links, used = [], 12
        number, length = struct.unpack(order + "II", kind + size)
        mine(used + 4 <= length <= BLOCK_BYTES and not length % 4, "a block cannot be so long")
        body = exactly(read, length - used)[:-4]              # its length stands behind it, too
        if number == 1:
            mine(len(body) >= 8 and len(links) < 1000, "an interface that cannot be")
            links.append((struct.unpack_from(order + "H", body)[0], tick_of(body[8:], order)))
        elif number in (2, 3, 6):
            yield pcapng_packet(number, body, order, links)
        kind = read(4)


def tick_of(options, order):
    """Ticks a second of an interface (option if_tsresol, 9): microseconds unless it says."""
    while len(options) >= 5:
        code, length = struct.unpack_from(order + "HH", options)
        if code == 9 and length == 1:
            return float((2 if options[4] & 128 else 10) ** (options[4] & 127))
        options = options[4 + (length + 3 & ~3):]
    return 1e6


@guarded
def pcapng_packet(number, body, order, links):
    """One packet block: enhanced (6), obsolete (2) or simple (3, without a time)."""
    if number == 3:
        return 0.0, links[0][0], body[4:], struct.unpack_from(order + "I", body)[0]
    place, high, low, kept, length = struct.unpack_from(
        order + ("IIIII" if number == 6 else "HxxIIII"), body)
    mine(kept <= len(body) - 20, "a packet longer than its block")
    link, ticks = links[place]
    return ((high << 32) + low) / ticks, link, body[20:20 + kept], length


def build_pcap(link=276):
    """The head of a pcap file with nanoseconds; 276: Linux cooked v2 (LINKTYPE_LINUX_SLL2)."""
    return struct.pack("=IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, PACKET_BYTES, link)


def build_pcap_record(record):
    """One record as it stands in such a file."""
    at_s, _, data, length = record
    return struct.pack("=IIII", int(at_s), int(at_s % 1 * 1e9), len(data), length) + data


def network_part(link, frame):
    """(EtherType, offset of what it is, VLAN ids) of a frame; EtherType None: unknown link."""
    if link not in LINK_HEADS:
        skip = BARE_LINKS.get(link, len(frame))
        return {4: IPV4, 6: IPV6}.get(frame[skip] >> 4), skip, ()
    at, offset = LINK_HEADS[link]
    kind, vlans = short_at(frame, at), ()
    while kind in TAGGED:
        vlans += (short_at(frame, offset) & 4095,)
        kind, offset = short_at(frame, offset + 2), offset + 4
    if kind == MPLS:
        while not frame[offset + 2] & 1:              # up to the bottom of the stack
            offset += 4
        kind, offset = IPV4 if frame[offset + 4] >> 4 == 4 else IPV6, offset + 4
    elif kind == PPPOE:
        kind, offset = IPV4 if frame[offset + 7] == 0x21 else IPV6, offset + 8
    return kind, offset, vlans


def read_packet(record):
    """One record as a Packet, down to the innermost IP; None where there is none to be read."""
    at_s, link, frame, _ = record
    kind = None
    try:
        kind, offset, vlans = network_part(link, frame)
        if kind in (IPV4, IPV6):
            return ip_packet(at_s, frame, offset, vlans)
    except (struct.error, IndexError):                # cut short
        pass
    name = {ARP: "arp", IPV4: "ip", IPV6: "ipv6"}.get(kind)
    return Packet(at_s, name, *[None] * 12, ()) if name else None


def ip_packet(at_s, data, offset, vlans, depth=0):
    """An IPv4 or IPv6 packet at `offset` (RFC 791, 8200); what is cut short has no ports."""
    if data[offset] >> 4 == 4:
        total, ident, part, ttl, number = struct.unpack_from("!2xHHHBB", data, offset)
        at, part = offset + (data[offset] & 15) * 4, part & 0x1fff
        raw = data[offset + 12:offset + 20]
        end = offset + (total or len(data) - offset)         # 0: segmentation was offloaded
    else:
        total, number, ttl = struct.unpack_from("!HBB", data, offset + 4)
        at, part, ident, raw = offset + 40, 0, None, data[offset + 8:offset + 40]
        end = at + (total or len(data) - at)
    while number in EXTENSIONS and not part:
        if number == FRAGMENT:
            part, size = short_at(data, at + 2) & 0xfff8, 8
        else:
            size = data[at + 1] * 4 + 8 if number == AUTHENTICATION else data[at + 1] * 8 + 8
        number, at = data[at], at + size
    half = len(raw) // 2
    packet = Packet(at_s, IP_NUMBERS.get(number, number), address_text(raw[:half]), None,
                    address_text(raw[half:]), None, ttl, max(0, end - at), 0, 0, 0, None, None,
                    None, vlans, ident)
    if part or not packet.src or at >= len(data):
        return packet
    inner = inner_offset(number, data, at)
    if inner and depth < TUNNELS_LIMIT:
        return ip_packet(at_s, data, inner, vlans, depth + 1)
    return transport_part(packet, number, data, at, depth)


def inner_offset(number, data, at):
    """Where the IP packet inside a tunnel begins (RFC 2003, 4213; GRE: 2784, 2890), or None."""
    if number in IP_TUNNELS:
        return at
    if number != GRE or short_at(data, at + 2) not in (IPV4, IPV6):
        return None
    return at + 4 + 4 * sum(bool(data[at] & flag) for flag in (0x80, 0x20, 0x10))


def transport_part(packet, number, data, at, depth):
    """The packet with its ports, or with what an ICMP error says: (type, code, about, MTU)."""
    if number in (6, 17) and at + 4 <= len(data):
        sport, dport = struct.unpack_from("!HH", data, at)
        if number == 17 or at + 16 > len(data):
            length = max(0, packet.length - 8) if number == 17 else 0
            return packet._replace(sport=sport, dport=dport, length=length)
        seq, ack, words, flags, window = struct.unpack_from("!IIBBH", data, at + 4)
        head = (words >> 4) * 4
        return packet._replace(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags,
                               window=window, length=max(0, packet.length - head),
                               options=data[at + 20:at + head] if flags & SYN else None)
    if (number, data[at]) in ICMP_ERRORS and at + 8 <= len(data) and depth < TUNNELS_LIMIT:
        try:
            about = ip_packet(0, data, at + 8, (), depth + 1)
        except (struct.error, IndexError):            # the quote is cut short
            about = None
        return packet._replace(icmp=(data[at], data[at + 1], about, short_at(data, at + 6)))
    return packet


def tcp_options(raw):
    """(MSS, window scale) of the options of a SYN (RFC 9293, 7323); None: it has no such option."""
    found, at = {}, 0
    while raw and at + 1 < len(raw) and raw[at]:
        size = 1 if raw[at] == 1 else max(2, raw[at + 1])
        found.setdefault(raw[at], raw[at + 2:at + size])
        at += size
    mss, scale = found.get(2, b""), found.get(3, b"")
    return (short_at(mss) if len(mss) == 2 else None), (scale[0] if len(scale) == 1 else None)


class Side:
    """One end of a flow: how far it has come, and what it says that it got (RFC 9293 3.4)."""

    __slots__ = ("isn next next_s ack ack_s window again bytes mss scale passed ttls rst_ttl resent"
                 " flying latest").split()

    def __init__(self):
        self.isn = self.next = self.ack = self.window = self.mss = self.scale = None
        self.next_s = self.ack_s = self.again = self.bytes = self.passed = 0
        self.ttls, self.rst_ttl = [], None            # of its packets but resets, and of its reset
        self.flying = []                              # (begin, end) of data not acknowledged yet
        self.resent = None                            # and of the last sent again, how often
        self.latest = []                              # its last packets: (what makes it one, when)

    @property
    def ttl(self):
        """The TTL with which its packets come; None: it has sent none."""
        return self.ttls[0] if self.ttls else self.rst_ttl

    def resets_from_elsewhere(self):
        """Has its reset come from another distance than all else (a box on the way sent it)?"""
        return bool(self.ttls and self.rst_ttl and hops_of(self.rst_ttl) not in map(
            hops_of, self.ttls))

    def saw(self, packet):
        """Is this a copy of a packet that came by a moment ago (on another interface)?"""
        one = packet.ident, packet.seq, packet.ack, packet.flags, packet.window, packet.length
        copy = any(one == other and packet.at_s - at_s < COPY_S for other, at_s in self.latest)
        self.latest = self.latest[-3:] + [(one, packet.at_s)]
        return copy

    def follow(self, packet):
        """Remember how far this end has come; True for an ACK that says the same again."""
        length, flags = packet.length, packet.flags
        same = bool(flags & ACK and not length and not flags & (SYN | FIN | RST) and packet.window
                    and packet.window == self.window and packet.seq == self.next
                    and packet.ack == self.ack)
        self.again = self.again + same if packet.ack == self.ack else 0
        if flags & ACK:
            self.ack, self.ack_s = packet.ack, packet.at_s
        self.window = packet.window
        follows = packet.seq + length + bool(flags & (SYN | FIN)) & 0xffffffff
        if self.next is None or after(follows, self.next):
            self.next, self.next_s, self.bytes = follows, packet.at_s, self.bytes + length
            if length and len(self.flying) < FLYING_LIMIT:
                self.flying.append((packet.seq, follows))
        return same

    def resend(self, packet):
        """The same data again, or other data again."""
        begin, end = packet.seq, packet.seq + packet.length & 0xffffffff
        again = self.resent[2] if self.resent and self.resent[0] == begin else 0
        self.resent = begin, end, again + 1

    def take(self, ack):
        """The other end has acknowledged up to here; `passed`: the largest segment that it got."""
        while self.flying and not after(self.flying[0][1], ack):
            begin, end = self.flying.pop(0)
            self.passed = max(self.passed, end - begin & 0xffffffff)


def hops_of(ttl):
    """How many routers a packet has passed, as hosts begin with a TTL of 64, 128 or 255."""
    return min(first - ttl for first in FIRST_TTLS if first >= ttl)


def after(number, other):
    """Is a sequence number later than another (RFC 9293 3.4: modulo 2^32)?"""
    return 0 < (number - other & 0xffffffff) < 1 << 31


def new_flow(packet):
    """A flow that begins with this packet, from the client unless it is an answer (SYN/ACK)."""
    ends = (packet.src, packet.sport), (packet.dst, packet.dport)
    (client, client_port), (server, port) = \
        ends[::-1] if packet.flags & (SYN | ACK) == SYN | ACK else ends
    return dict(dict.fromkeys(FLOW_COUNTS, 0), copies={}, protocol=packet.protocol, client=client,
                client_port=client_port, server=server, server_port=port, began_s=packet.at_s,
                vlans=packet.vlans, rtt_ms=None, idle_s=0, syn_s=[], icmp=[], handshake=False,
                ended_by=None, lasted_s=None, sides=(Side(), Side()))


def read_flows(packets, client):
    """Packets -> (flows in the order of their first packets, {protocol: packets}).

    Beside FLOWS_LIMIT flows there is as much room for the client that is asked about.
    Retransmissions are judged as tshark 4 does (packet-tcp.c), so that the numbers agree with it.
    """
    flows, current, counts = [], {}, collections.Counter()
    for packet in packets:
        for name in protocols_of(packet):
            counts[name] += 1
        if packet is not None and packet.icmp:
            add_icmp(current, packet)
        if packet is None or not packet.dport or packet.protocol == "tcp" and packet.window is None:
            continue
        key = flow_key(packet)
        flow = current.get(key)
        asked = flow and flow["sides"][not is_client(flow, packet)].isn
        if not flow or packet.flags & (SYN | ACK) == SYN and asked not in (None, packet.seq):
            if len(flows) >= FLOWS_LIMIT * (1 + (packet.src == client)):
                counts["not followed"] += 1
                continue
            flow = current[key] = new_flow(packet)
            flows.append(flow)
        add_packet(flow, packet)
    return flows, counts


def flow_key(packet):
    """What the packets of a flow have in common, in both directions."""
    return (packet.protocol,) + tuple(sorted([(packet.src, packet.sport),
                                              (packet.dst, packet.dport)]))


def is_client(flow, packet):
    """Was a packet of this flow sent by its client?"""
    return (packet.src, packet.sport) == (flow["client"], flow["client_port"])


def protocols_of(packet):
    """The protocols that one packet counts for."""
    if packet is None or not packet.src:
        return [packet.protocol] if packet else []
    return ["ipv6" if ":" in packet.src else "ip"] + (
        [packet.protocol] if isinstance(packet.protocol, str) else [])


def add_icmp(current, packet):
    """Add an ICMP error to the flow of the packet that it quotes."""
    kind, code, about, mtu = packet.icmp
    flow = current.get(flow_key(about)) if about and about.sport is not None else None
    if flow and len(flow["icmp"]) < EVENTS_LIMIT:
        flow["icmp"].append({"type": kind, "code": code, "from": packet.src, "mtu": mtu or None,
                             "about": about.src, "ttl": packet.ttl})


def add_packet(flow, packet):
    """One packet of a flow: from whom and from how far it comes.

    Copies are counted as tshark does, and apart: nothing was sent again (see `without_copies`).
    """
    by_client = is_client(flow, packet)
    side, other = flow["sides"][::1 if by_client else -1]
    copy = packet.protocol == "tcp" and side.saw(packet)
    before = {name: flow[name] for name in FLOW_COUNTS} if copy else {}
    sent, pause_s = side.bytes, packet.at_s - flow.get("ended_s", packet.at_s)
    flow["packets"] += 1
    flow["ended_s"] = packet.at_s
    if packet.flags & RST:
        side.rst_ttl = packet.ttl
    elif packet.ttl not in side.ttls and len(side.ttls) < EVENTS_LIMIT:
        side.ttls.append(packet.ttl)
    if packet.protocol == "tcp":
        add_segment(flow, side, other, by_client, packet, copy)
    else:
        side.bytes += packet.length
    flow["idle_s"] = flow["idle_s"] if side.bytes == sent else round(pause_s)
    for name, count in before.items():
        flow["copies"][name] = flow["copies"].get(name, 0) + flow[name] - count


def without_copies(flow):
    """A flow with the counts of what was sent, whatever number of interfaces saw it."""
    return dict(flow, **{name: flow[name] - count for name, count in flow["copies"].items()})


def add_segment(flow, side, other, by_client, packet, copy):
    """A TCP segment: first what it says itself, then whether it was there before."""
    flags = packet.flags
    if flags & SYN:
        add_syn(flow, side, packet, copy)
    flow["rst"] += bool(flags & RST)
    flow["fin"] += bool(flags & FIN)
    flow["zero_window"] += packet.window == 0 and not flags & (SYN | FIN | RST)
    if flags & RST and by_client and flow["syn"] and not flow["synack"]:
        other.next = None                         # what it ends is an older connection
        return
    if flags & (RST | FIN) and not flow["ended_by"]:
        flow["ended_by"] = "client" if by_client else "server"
        flow["lasted_s"] = round(packet.at_s - flow["began_s"], 3)
    if not by_client and flags & (SYN | RST) and flow["rtt_ms"] is None and flow["syn_s"]:
        flow["rtt_ms"] = round((packet.at_s - flow["syn_s"][-1]) * 1000, 3)
    if by_client and flags & (ACK | SYN | RST) == ACK and flow["synack"]:
        flow["handshake"] = True
    kind = resent_kind(side, other, packet)
    if kind:
        syn = kind == "retransmits" and flags & SYN
        flow[(("synack_" if flags & ACK else "syn_") if syn else "") + kind] += 1
        if not syn and not copy:
            side.resend(packet)
    flow["duplicate_acks"] += side.follow(packet)
    if flags & ACK:
        other.take(packet.ack)


def add_syn(flow, side, packet, copy):
    """A SYN or SYN/ACK: when, from which sequence number, with which options."""
    flow["synack" if packet.flags & ACK else "syn"] += 1
    if not packet.flags & ACK and not copy and len(flow["syn_s"]) < EVENTS_LIMIT:
        flow["syn_s"].append(packet.at_s)
    side.isn, (side.mss, side.scale) = packet.seq, tcp_options(packet.options)


def resent_kind(side, other, packet):
    """"retransmits" for a segment that was there before, "reordered" for a late one, or None."""
    length, flags, seq, last = packet.length, packet.flags, packet.seq, side.next
    if not length and not flags & (SYN | FIN) or last is None:
        return None
    before_last = seq == last - 1 & 0xffffffff
    if length <= 1 and before_last and not flags & (SYN | FIN | RST):
        return None                                            # a keep-alive
    follows = seq + length + bool(flags & (SYN | FIN)) & 0xffffffff
    if length and other.ack is not None and not after(seq + length, other.ack):
        return "retransmits"                                   # all of it was acknowledged before
    if not after(last, seq) or length > 1 and before_last:
        return None
    if other.again >= 2 and other.ack == seq and packet.at_s - other.ack_s < FAST_RESEND_S:
        return "retransmits"                                   # fast, after duplicate ACKs
    near = packet.at_s - side.next_s < REORDER_S and follows != last
    return "reordered" if near else "retransmits"


def judge_flows(flows, own, until_s):
    """Flows as plain facts: their state, where they were seen, what hangs, who stopped answering.

    An end is near when its address is one of `own`, or when no router has lowered its TTL.
    """
    ends = [(flow[end], side.ttl) for flow in flows
            for end, side in zip(("client", "server"), flow["sides"])]
    near = {end for end, ttl in ends if ttl in FIRST_TTLS} if own is None else own
    until_s = until_s or max([flow["ended_s"] for flow in flows], default=0)
    return [flow_value(flow, near, until_s) for flow in flows]


def flow_value(flow, near, until_s):
    """One flow without the working state of its ends; pairs of values are client's and server's."""
    client, server = sides = flow.pop("sides")
    place = {(True, False): "client", (False, True): "server"}.get(
        (flow["client"] in near, flow["server"] in near))
    quiet_s = max(0.0, until_s - flow.pop("ended_s"))
    flow.update({name: [getattr(side, name) for side in sides]
                 for name in ("mss", "scale", "ttl", "rst_ttl", "bytes", "window")},
                unanswered=bool(client.bytes) and client.next_s > server.next_s,
                foreign_rst=[side.resets_from_elsewhere() for side in sides],
                syn_s=[round(at_s - flow["syn_s"][0], 3) for at_s in flow["syn_s"]],
                seen_at=place, quiet_s=round(quiet_s, 3), isn=client.isn,
                stuck=stuck_part("client", client, server, until_s)
                or stuck_part("server", server, client, until_s))
    state = flow_state(without_copies(flow), client.ack is not None)
    return dict(flow, state=state, silent=silent_end(state, sides))


def stuck_part(sender, side, other, until_s):
    """What one end sent and the other does not acknowledge, or None.

    `missing`: for a while only what was sent behind it came by here; else it was sent `again` so
    many times, or the other end speaks on without it.  Before it, `acked` bytes were taken, in
    segments of up to `passed`.
    """
    if not side.flying or other.ack is None:
        return None
    begin = side.flying[0][0]
    missing = after(begin, other.ack) and until_s - side.next_s > FIRST_LOOK_S
    again = side.resent[2] if side.resent and after(side.resent[1], other.ack) else 0
    if not missing and again < 2 and other.ack_s - side.next_s < FIRST_LOOK_S:
        return None
    first, end = (other.ack, begin) if missing else (side.resent if again else side.flying[0])[:2]
    size = end - first & 0xffffffff
    return {"sender": sender, "again": again,
            "bytes": size if missing else min(size, other.mss or size),      # offloading sends more
            "missing": missing, "passed": side.passed,
            "acked": None if side.isn is None else other.ack - side.isn - 1 & 0xffffffff}


def flow_state(flow, heard):
    """How far a flow got, in a word; `heard`: the client has acknowledged something."""
    answered = flow["ttl"][1] is not None
    # Only one direction was recorded, and yet it shows that the other end has spoken.
    half = heard and not answered or flow["ttl"][0] is None and (
        flow["synack"] == 1 or flow["packets"] > flow["synack"])
    if not answered and (flow["ttl"][0] or 255) <= TRACE_MAX_TTL:
        return "trace"
    refused = [error for error in flow["icmp"] if error["about"] == flow["client"]]
    if flow["protocol"] != "tcp":
        return "answered" if answered else "rejected" if refused else "silent"
    if flow["handshake"] or half or not flow["syn"] and not flow["synack"]:
        over = "reset" if flow["rst"] and flow["ended_by"] else "closed" if flow["fin"] else None
        return over or ("established" if flow["handshake"] else "partial")
    if flow["synack"]:
        waits = flow["synack"] > 1 or flow["quiet_s"] > FIRST_LOOK_S
        return "abandoned" if flow["rst"] else "unconfirmed" if waits else "opening"
    if flow["ended_by"] == "server" and flow["rst_ttl"][1] is not None:
        return "refused"
    waits = flow["syn"] > 1 or flow["quiet_s"] > FIRST_LOOK_S
    return "rejected" if refused else "silent" if waits else "opening"


def silent_end(state, sides):
    """Which end stopped answering: "client", "server" or None."""
    if state in ("silent", "unconfirmed"):
        return "server" if state == "silent" else "client"
    unheard = [side.flying and (other.ack is None or after(side.flying[-1][1], other.ack))
               for side, other in (sides, sides[::-1])]
    return "server" if unheard[0] else "client" if unheard[1] else None


def capture_value(told, own=None, until_s=None, client=None):
    """What was followed, judged; of very many flows the client's first, failed ones and fine."""
    flows = judge_flows(told["flows"], own, until_s)
    states = collections.Counter(flow["state"] for flow in flows)
    if len(flows) > TOLD_LIMIT:
        flows.sort(key=lambda flow: flow["client"] != client)
        fine = [flow for flow in flows if is_fine(flow)]
        failed = [flow for flow in flows if not is_fine(flow)]
        flows = failed[:TOLD_LIMIT // 2] + fine[:TOLD_LIMIT // 2]
    return dict(told, flows=flows, states=states)


def is_fine(flow):
    """Is there nothing wrong with a flow, as far as its own packets tell?"""
    return flow["state"] in FINE_FLOWS and not flow["stuck"]


def follow_records(records, client):
    """The same with flows that `judge_flows` has still to judge."""
    told = {"packets": 0, "problem": None}

    def packets():
        try:
            for record in records:
                told["packets"] += 1
                yield read_packet(record)
                if told["packets"] == PACKETS_LIMIT:
                    told["problem"] = "only the first %d packets were read" % PACKETS_LIMIT
                    return
        except NotMine as error:
            told["problem"] = str(error)
    flows, protocols = read_flows(packets(), client)
    return dict(told, flows=flows, protocols=protocols)


# TCP and UDP to or from PORT, and all ICMP.  Offsets are of the network header (SKF_NET_OFF), so
# that it fits every kind of link; a fragment that is not the first has no ports.
CAPTURE_FILTER = """
    ldb 0; and 0xf0; jeq 0x40 v4 other; other: jeq 0x60 v6 no;
    v6: ldb 6; jeq 58 yes t6; t6: jeq 6 p6 u6; u6: jeq 17 p6 no;
    p6: ldh 40; jeq PORT yes d6; d6: ldh 42; jeq PORT yes no;
    v4: ldb 9; jeq 1 yes t4; t4: jeq 6 p4 u4; u4: jeq 17 p4 no;
    p4: ldh 6; jset 0x1fff no first; first: ldb 0; and 15; lsh 2; tax 0;
    ldx 0; jeq PORT yes d4; d4: ldx 2; jeq PORT yes no;
    yes: ret 0x40000; no: ret 0"""
BPF_CODES = {"ldb": 0x30, "ldh": 0x28, "ldx": 0x48, "and": 0x54, "lsh": 0x64, "tax": 7, "jeq": 0x15,
             "jset": 0x45, "ret": 6}


def build_filter(port):
    """CAPTURE_FILTER for a port as a BPF program (linux/filter.h): steps of 8 bytes."""
    steps, labels, program = [], {}, b""
    for words in map(str.split, CAPTURE_FILTER.replace("PORT", str(port)).split(";")):
        if words[0].endswith(":"):
            labels[words.pop(0)[:-1]] = len(steps)
        steps.append(words)
    for place, (name, number, *jumps) in enumerate(steps, 1):
        number = int(number, 0) + (0xfff00000 if name in ("ldb", "ldh", "ldx") else 0)
        yes, no = [labels[label] - place for label in jumps] or (0, 0)
        program += struct.pack("=HBBI", BPF_CODES[name], yes, no, number)
    return program


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
SOL_PACKET, ADD_MEMBERSHIP = 263, 1
ETH_LLDP, LLDP_GROUP = 0x88cc, bytes.fromhex("0180c200000e")
ETH_802_2, CDP_GROUP = 4, bytes.fromhex("01000ccccccc")
TCP_INFO_FIELDS = {
    "unacked": 24, "retrans": 36, "rtt_us": 68, "total_retrans": 100, "segs_out": 136,
    "unsent": 144, "window": 228}
# Of exceptions of the `ssl` module: in their type, errno and text.
TLS_ENDINGS = kinds("""
    stalled=^timeout   closed=eof occurred|unexpected eof|zero return|ssleoferror|sslzeroreturnerror
    reset=econnreset|epipe|econnaborted   untrusted=certificate[ _]verify[ _]failed
    not_tls=wrong version number|unknown protocol|http request|record layer failure
    not_tls=packet length too long""")
HANDSHAKE = dict(dict.fromkeys("error reason verify_code version cipher store alpn ms cut".split()),
                 ended="no_connection", chain=[])
ECHO_ID = os.getpid() & 0xffff
NO_HOP = dict.fromkeys(("address", "ms", "type", "code"))
NO_SSL = "this Python has no ssl module"
TLS_IN_TLS = "netdiag speaks no TLS within the TLS of an https:// proxy"
TRUST_STORES = ("/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt"
                " /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem").split()     # Debian, Fedora, SUSE, BSD


def errno_name(number):
    """'ECONNREFUSED' for its number; None for None (socket.timeout before 3.10 has no errno)."""
    import errno
    return errno.errorcode.get(number, str(number)) if number is not None else None


def failure(what, error):
    """What the system did not do, and why, as a reason: '/etc/hosts: EACCES'."""
    return "%s: %s" % (what, errno_name(error.errno))


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


def beside(work, *args):
    """Begin it in a thread -> that; None: there was none to be had (ulimit -u, -v), it is done."""
    import threading
    threading.stack_size(1 << 20)                 # the usual 8 MiB each count against ulimit -v
    thread = threading.Thread(target=work, args=args, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return work(*args)
    return thread


def read_errors(sock, sequence=None):
    """Drain the error queue (read SO_ERROR before: it clears): what refused us and from where.

    sequence: of the echo that was sent here; a raw socket is told of those of all others as well.
    """
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
        if "origin" in error and sequence in (None, int.from_bytes(packet[0][6:8], "big")):
            found.append(error)
    return found


def tcp_info(sock):
    """What we read of struct tcp_info, as far as this kernel fills it; {} where there is none.

    Without the SYNs that were sent again before an answer could be here: once a second.
    """
    raw = or_none(sock.getsockopt, *TCP_INFO, 512) or b""
    info = {name: struct.unpack_from("=I", raw, offset)[0]
            for name, offset in TCP_INFO_FIELDS.items() if len(raw) >= offset + 4}
    needless = info.get("rtt_us", 0) // 1000000
    if needless and info.get("total_retrans"):
        info["total_retrans"] = max(0, info["total_retrans"] - needless)
    return info


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
        elif name:                                     # (net.ipv4.tcp_syn_retries may be 1)
            attempt.update(state="silent" if name == "ETIMEDOUT" else "error", errno=name)
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
    until, heard = began + seconds, began
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
                heard = time.monotonic()
                first_ms = ms_since(began) if more and not data else first_ms
                ended = None if more else "closed"
                data += more
    except OSError as error:
        more, error = last_words(sock, error)
        data += more
        reset = errno_name(error.errno) in ("ECONNRESET", "EPIPE")
        ended = "reset" if reset else "closed" if type(error).__name__ == "SSLEOFError" else "error"
        if isinstance(error, socket.timeout):       # in the pause before its next byte, or silent
            ended = None if data and time.monotonic() - heard < seconds / 4 else "silent"
        failed = printable(str(error))
    return {"data": data, "ended": ended, "error": failed, "first_byte_ms": first_ms}


def last_words(sock, error):
    """What a peer that hangs up had still said, and the error that tells more: its TLS alert."""
    sock.setblocking(False)
    try:
        return sock.recv(8192), error
    except OSError as told:
        return b"", told if "alert" in str(told).lower() else error


def abort(sock):
    """Close with a reset, so that a probe leaves no half-open connection behind."""
    if sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def one_of_each_family(addresses):
    """The first address and the first of the other family: what a client falls back on."""
    first = is_address(addresses[0])
    return addresses[:1] + [a for a in addresses if is_address(a) != first][:1]


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
    """What a child prints, up to FILE_LIMIT bytes -> (bytes, True when time ran out)."""
    data = b""
    while len(data) < FILE_LIMIT:
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


def user_name(uid):
    """The name of a user, or None."""
    try:
        import pwd
        return printable(pwd.getpwuid(uid).pw_name, 40)
    except (ImportError, KeyError, OverflowError):
        return None


def find_program(name):
    """The full path of a command; sbin counts even if PATH lacks it."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += "/usr/sbin /sbin /usr/local/sbin /usr/bin /bin".split()
    paths = [os.path.join(folder, name) for folder in folders if folder]
    return first_of(p for p in paths if os.path.isfile(p) and os.access(p, os.X_OK))


class System:
    """The machine, as verbs: each returns (outcome, raw), never raises for what is expected."""

    def __init__(self, options):
        import threading
        self.options, self.transcript, self.attempts = options, [], []
        self.packets = 0                  # sent to targets: to resolvers and neighbors go others
        self.children, self.closed, self.lock = set(), False, threading.Lock()
        self.contexts = {}                # of TLS, by whether they verify
        self.cookies = {}                 # {(host or domain, name): (value, for https only?)}
        self.recording = None

    # -- here: clock, environment, files, commands

    def now(self):
        """Seconds since 1970, by this host's own clock."""
        return time.time()

    def rest(self, seconds):
        """Wait between two checks, without the connections of the last one."""
        while self.attempts:
            self.attempts.pop()["sock"].close()
        time.sleep(seconds)

    def monotonic(self):
        """A clock for durations."""
        return time.monotonic()

    def environment(self, *names):
        """The wanted environment variables that are set."""
        return "ok", {name: os.environ[name] for name in names if os.environ.get(name)}

    def clock(self):
        """Seconds since 1970, in UTC and in the local zone."""
        now = time.time()
        utc = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now))
        return "ok", {"epoch": now, "utc": utc, "local": iso_time(now)}

    def identity(self):
        """Who runs this, on what: name, system, user, root, rights, Python."""
        uname, uid = os.uname(), os.getuid()
        user = user_name(uid) or os.environ.get("USER") or str(uid)
        return "ok", {
            "name": printable(uname.nodename), "user": printable(user), "root": uid == 0,
            "system": printable(uname.sysname + " " + uname.release),
            "python": "%d.%d.%d" % sys.version_info[:3]}

    def read(self, path, absent=None):
        """A file's text, at most FILE_LIMIT bytes; `absent` where it does not exist."""
        try:
            with open(os.path.expanduser(path), "rb") as stream:
                return "ok", stream.read(FILE_LIMIT).decode("utf-8", "replace")
        except FileNotFoundError:
            return ("unknown", "%s is absent" % path) if absent is None else ("ok", absent)
        except OSError as error:
            return ("denied" if isinstance(error, PermissionError) else "unknown",
                    failure(path, error))

    def marks(self, paths):
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
        try:
            child = self.spawn([path] + list(argv[1:]), subprocess.STDOUT)
        except OSError as error:
            return "denied", failure(argv[0], error)
        raw, late = read_child(child, began + timeout_s)
        end_child(child)
        child.stdout.close()              # only here: close() runs beside `read_child`
        self.children.discard(child)
        text = raw[:FILE_LIMIT].decode("utf-8", "replace")
        self.transcript.append({
            "argv": list(argv), "status": child.returncode, "ms": ms_since(began),
            "output": hide_queries(text[:OUTPUT_LIMIT])})
        if len(raw) >= FILE_LIMIT:        # what is left out may be what matters
            return "unknown", "%s: it prints more than %d bytes" % (argv[0], FILE_LIMIT)
        return ("timeout" if late else "ok"), text

    def spawn(self, argv, stderr):
        """Start a command as `run` does; OSError, or NotMine once the run has ended."""
        import subprocess
        with self.lock:                   # close() must know of every child, also of the newest
            mine(not self.closed, "the run has ended")
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                start_new_session=True, env=dict(os.environ, LC_ALL="C", LANG="C"))
            self.children.add(child)
        return child

    def netlink(self, requests, family=0, timeout_s=2.0):
        """Ask the kernel by rtnetlink (or SOCK_DIAG), [(type, body, dump)] -> {"messages":
        [(kind, payload)], "names": {interface index: name}}, or its errno."""
        if not hasattr(socket, "AF_NETLINK"):
            return "unknown", "no netlink on this system"
        found = []
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as sock:
                sock.settimeout(timeout_s)
                for kind, body, dump in requests:
                    sock.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301 if dump else 1,
                                          1, 0) + body)
                    failed = read_netlink(sock, dump, found)
                    if failed:
                        return "unknown" if family else "unreachable", dict(
                            route_answer({}), error=errno_name(failed))
            return "ok", {"messages": found, "names": dict(socket.if_nameindex())}
        except OSError as error:
            return "unknown", failure("netlink", error)

    def poke(self, addresses, dev, wait_s):
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

    def trust_stores(self):
        """The CA files of this host beside the one in use: the system's, certifi's, OpenSSL's."""
        ssl = load_ssl() if self.has_ssl() else None
        default = ssl and ssl.get_default_verify_paths().cafile
        used = self.options.cafile or default
        known = [os.environ.get("SSL_CERT_FILE"), default] + TRUST_STORES + [
            folder + "/certifi/cacert.pem" for folder in sys.path if folder]
        return "ok", {"used": used, "others": unique(
            path for path in known if path and path != used and os.path.isfile(path))}

    def reports(self, path):
        """The text of a file with reports (`-`: standard input), as long as REPORT_LIMIT."""
        try:
            endless = os.path.isfile(path) and getattr(os, "O_NONBLOCK", 0)       # /proc/kmsg
            with (sys.stdin.buffer if path == "-" else open(
                    path, "rb", opener=lambda name, how: os.open(name, how | endless))) as stream:
                raw = stream.read(REPORT_LIMIT + 1) or b""
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
        mine(path != "-" or sys.stdin, "--targets -: standard input is closed")
        outcome, text = self.read(path) if path != "-" else (
            "ok", sys.stdin.buffer.read(FILE_LIMIT).decode("utf-8", "replace"))
        if outcome != "ok":
            raise Usage("--targets: %s" % text)
        lines = text.lstrip("\ufeff").splitlines()
        return list(filter(None, (line.partition("#")[0].strip() for line in lines)))

    def save(self, path, text):
        """Write a report that only its owner may read; what stood in the way, or None."""
        try:
            with open_private(path, "w", "utf-8") as stream:
                stream.write(text)
        except OSError as error:
            return failure(printable(path, 100), error)
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
        for attempt in list(self.attempts):
            attempt["sock"].close()
        if self.recording:
            self.recording.end()

    # -- captures

    def start_recording(self, port):
        """Record the packets of a port (None: all) from now on, until `recorded`."""
        try:
            self.recording = Recording(self, port)
        except OSError as error:
            raise Usage(failure("--write " + self.options.write, error))

    def recorded(self, own=None):
        """What was recorded, as `capture_value` tells it; unknown: why nothing could be."""
        return self.recording.end(own)

    def check_capture(self, path):
        """Why a file cannot be read as a capture, or None."""
        try:
            with open(path, "rb") as stream:
                capture_records(stream.read)
        except OSError as error:
            return errno_name(error.errno)
        except NotMine as error:
            return str(error)
        return None

    def capture_file(self, path):
        """The same of a capture file; of what cannot be read to its end as far as it goes."""
        try:
            with open(path, "rb") as stream:
                told = follow_records(capture_records(stream.read), self.options.client)
            return "ok", dict(capture_value(told, client=self.options.client), via="file",
                              dropped=None, seconds=None)
        except OSError as error:
            return "unknown", failure(path, error)

    def wait(self, seconds):
        """Let others act, as long as that is recorded."""
        if self.recording:
            self.recording.thread.join(seconds)
        return "ok", seconds

    # -- this host as a server

    def read_all(self, paths):
        """The texts of those files that exist, one behind the other; no half line of a long one."""
        told = [self.read(path, "") for path in paths]
        return next((answer for answer in told if answer[0] != "ok"),
                    ("ok", "\n".join(text[:text.rfind("\n") + 1] or text for _, text in told)))

    def owners(self, inodes, uids):
        """Who holds sockets: {"inodes": {inode: pid}, "processes": {pid: facts}, "users": {uid:
        name}}.  The descriptors of other users' processes are for root (proc(5))."""
        wanted, found, processes = set(inodes), {}, {}
        for pid in self.pids():
            folder = "/proc/%s/fd/" % pid
            links = [or_none(os.readlink, folder + name) or ""
                     for name in or_none(os.listdir, folder) or ()]
            held = {int(link[8:-1]) for link in links if link.startswith("socket:[")} & wanted
            if held:
                processes[pid] = dict(self.process(pid), descriptors=len(links))
            for inode in held:
                found.setdefault(str(inode), int(pid))            # the parent comes first
        return "ok", {"inodes": found, "processes": processes,
                      "users": {str(uid): user_name(uid) for uid in uids}}

    def pids(self):
        """The ids of all processes that are seen, the eldest first; none without /proc."""
        return sorted(filter(str.isdigit, or_none(os.listdir, "/proc") or ()), key=int)

    def sees_all(self):
        """May this user see the descriptors of everybody's processes?"""
        seen = or_none(os.listdir, "/proc/1/fd") is not None
        return ("ok", {}) if seen else ("unknown", "of other users' processes only root sees them")

    def process(self, pid):
        """A process: its name, user, state letter (proc_pid_stat(5)), unit, container, limit."""
        name, limits, groups, stat, maps = (self.read("/proc/%s/%s" % (pid, part), "")[1]
                                            for part in "comm limits cgroup stat maps".split())
        return {"name": printable(name.strip(), 40),
                "user": user_name(getattr(or_none(os.stat, "/proc/%s" % pid), "st_uid", -1)),
                "state": find(r"\) (\w) ", stat), "wrapped": "libwrap" in maps,
                "unit": find(r"([\w@.:-]+\.service)", groups),
                "container": find(r"(?:docker|libpod|crio|containerd)[-/]([0-9a-f]{12})", groups),
                "limit": to_int(find(r"Max open files\s+(\d+)", limits))}

    def elsewhere(self, transport, port):
        """Who listens on a port in other network namespaces: [{"addr", "pid", "process",
        "namespace"}]; whose processes those are only root sees."""
        own, seen, rows = or_none(os.readlink, "/proc/self/ns/net"), {None}, []
        named = {"net:[%d]" % os.stat("/run/netns/" + name).st_ino: name
                 for name in or_none(os.listdir, "/run/netns") or ()}
        for pid in self.pids():
            space = or_none(os.readlink, "/proc/%s/ns/net" % pid)
            if space in seen or space == own or len(seen) > NAMESPACES_LIMIT:
                continue
            seen.add(space)
            files = ["/proc/%s/net/%s%s" % (pid, transport, end) for end in ("", "6")]
            outcome, text = self.read_all(files)
            facts = parse_proc_sockets(text) if outcome == "ok" and text.strip() else {}
            rows += [{"addr": row["addr"], "pid": int(pid), "process": self.process(pid)["name"],
                      "namespace": named.get(space)}
                     for row in facts.get("udp" if transport == "udp" else "listeners", ())
                     if row["port"] == port]
        if not rows and self.sees_all()[0] != "ok":
            return "unknown", "other network namespaces are for root to look into"
        return "ok", {"listeners": rows, "namespaces": len(seen) - 1}

    def tcp_sockets(self):
        """All TCP sockets of this network namespace, see `diag_rows`."""
        outcome, raw = self.netlink([
            build_sock_diag(version, socket.IPPROTO_TCP, SOCKET_STATES.values())
            for version in (4, 6)], SOCK_DIAG)
        if outcome == "ok":
            return list(diag_rows(raw["messages"]))
        outcome, text = self.read_all(("/proc/net/tcp", "/proc/net/tcp6"))
        return list(proc_rows(mine(outcome == "ok" and text, "nobody tells of sockets")))

    def watch_sockets(self):
        """The sockets of all listening ports, looked at again and again for as long as --for says:
        {port: {"most", "fewest": {state: rows}, "half_open": {peer: SYN/ACKs sent again},
        "waiting": fewest not accepted, "unaccepted": the same ones all the while, "limit",
        "dropped": by this socket meanwhile, "peers": {peer: state}}}."""
        ports, until = {}, time.monotonic() + (self.options.for_s or WATCH_SOCKETS_S)
        note_sockets(ports, self.tcp_sockets())
        while time.monotonic() < until:
            time.sleep(min(WATCH_STEP_S, max(0, until - time.monotonic())))
            note_sockets(ports, self.tcp_sockets())
        for seen in ports.values():
            seen.update(dropped=seen["dropped"] + seen.pop("last_dropped"),
                        unaccepted=len(seen["unaccepted"]))
        return "ok", ports

    def tail(self, path):
        """The last TAIL_BYTES of a log file as text; one that is not there says nothing."""
        try:
            with open(path, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
                return "ok", stream.read(TAIL_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return "ok", ""
        except OSError as error:
            return "unknown", failure(path, error)

    def kernel_log(self):
        """What the kernel has logged in the last LOG_AGE_S seconds (/dev/kmsg: for root)."""
        lines, now = [], time.monotonic()
        try:
            descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            return "unknown", failure("/dev/kmsg", error)
        for _ in range(20000):                    # one record a read; EPIPE: it was overwritten
            try:
                head, _, text = os.read(descriptor, 8192).decode("utf-8", "replace").partition(";")
            except BrokenPipeError:
                continue
            except OSError:
                break
            if now - int(head.split(",")[2]) / 1e6 < LOG_AGE_S:
                lines.append(text.partition("\n")[0])
        os.close(descriptor)
        return "ok", "\n".join(lines)

    def disk(self, paths):
        """How much of each file system is free, in per cent of its blocks and of its inodes."""
        found = [(path, or_none(os.statvfs, path)) for path in paths]
        return "ok", {path: round(100.0 * min(now.f_bavail / now.f_blocks, 1 if not now.f_files
                                              else now.f_ffree / now.f_files), 1)
                      for path, now in found if now and now.f_blocks}

    def hear_switches(self):
        """What switches say of themselves (LLDP, CDP), for as long as --lldp says: as root."""
        import select
        if not self.options.lldp or not hasattr(socket, "AF_PACKET"):
            return "unknown", "root hears it with --lldp 35s"
        heard, sockets, until = {}, [], time.monotonic() + self.options.lldp
        links = [(index, name) for index, name in socket.if_nameindex() if name != "lo"]
        try:
            for protocol, group in ((ETH_LLDP, LLDP_GROUP), (ETH_802_2, CDP_GROUP)):
                sockets.append(socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)))
                for index, _ in links:            # a real card filters multicast
                    or_none(sockets[-1].setsockopt, SOL_PACKET, ADD_MEMBERSHIP,
                            struct.pack("=iHH8s", index, 0, 6, group))
            while time.monotonic() < until and {name for name, _ in heard} < {n for _, n in links}:
                left_s = max(0, until - time.monotonic())
                for sock in select.select(sockets, (), (), left_s)[0]:
                    frame, where = sock.recvfrom(4096)
                    read = parse_lldp if sock is sockets[0] else parse_cdp
                    try:
                        heard[where[0], sock] = read(frame, where[0])
                    except NotMine:
                        continue
        except OSError as error:
            return "unknown", failure("listening for LLDP and CDP", error)
        finally:
            for sock in sockets:
                sock.close()
        return "ok", {"neighbors": list(heard.values()), "error": None}

    # -- names

    def resolve(self, name, family, timeout_s=LOOKUP_S):
        """The system's own answer (hosts file, nsswitch, stub and all): getaddrinfo, timed."""
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
        thread = beside(look_up)
        if thread:
            thread.join(timeout_s)
        return found[0] if found else (
            "timeout", {"error": "ETIMEDOUT", "text": "no answer in %.1f s" % timeout_s})

    def query(self, server, name, qtype, timeout_s=DNS_WAIT_S):
        """One question to one resolver over UDP; over TCP (RFC 7766) if the answer was cut."""
        packet = build_dns_query(name, qtype, random_number())
        outcome, raw = self.udp(server, 53, packet, timeout_s, DNS_SENDS, lambda reply: (
            reply[:2] == packet[:2] and reply[2:3] >= b"\x80"         # QR: a response to this
            and (reply[4:6] != b"\0\1" or reply.lower().startswith(packet[12:-11].lower(), 12))))
        raw["over"] = "udp"
        if outcome == "ok" and raw["reply"][2] & 2:
            _, whole = self.query_tcp(server, name, qtype, timeout_s)
            if whole["reply"]:
                raw.update(reply=whole["reply"], over="tcp")
        elif outcome == "timeout" and raw["strays"]:
            return "ok", dict(raw, reply=b"")        # somebody answers, but not this question
        return outcome, raw

    def query_tcp(self, server, name, qtype, timeout_s=DNS_WAIT_S):
        """The same over TCP, which `options use-vc` in resolv.conf wants of every question."""
        packet = build_dns_query(name, qtype, random_number())
        outcome, facts = self.say_once(server, 53, counted(packet), timeout_s, lambda data: (
            len(data) >= 2 + int.from_bytes(data[:2], "big") > 2))
        mute = outcome == "ok" and not facts["data"][2:]
        return "timeout" if mute else outcome, {
            "reply": facts["data"][2:], "over": "tcp", "icmp": [], "strays": 0, "error": None}

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

    def trace(self, address, port, mode):
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
            return "denied", failure(mode + " trace", error)
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
        attempt = dict(self.start_connect(address, port), goal=(address, port))
        if attempt["sock"]:
            self.attempts.append(attempt)
        watch_connect(attempt, attempt["started"] + FIRST_LOOK_S)
        return attempt_outcome(attempt), pick(attempt, "state errno immediate ms")

    def knock_from(self, address, port, source):
        """A SYN from another address of this host, and no word more."""
        sock = self.new_socket(address, socket.SOCK_STREAM)
        try:
            sock.bind((source, 0))
        except OSError as error:
            sock.close()
            return "unknown", "bind: %s" % errno_name(error.errno)
        attempt = self.start_connect(address, port, None, sock)
        watch_connect(attempt, attempt["started"] + FIRST_LOOK_S)
        abort(sock)
        return attempt_outcome(attempt), dict(pick(attempt, "state errno ms"), other=source)

    def settle(self, address, port, listen_s, ssh=False):
        """What became of a knock; what the peer says unasked (sshd's own lines: RFC 4253 4.2)."""
        with self.lock:                   # another target may have knocked at the same port
            attempt = first_of(row for row in self.attempts if row["goal"] == (address, port))
            if attempt is None:
                return "unknown", "no connection was begun"
            attempt["goal"] = None
        watch_connect(attempt, attempt["started"] + (self.options.timeout_s or PATIENCE_S))
        sock, info = attempt["sock"], self.count(attempt["sock"])
        facts = dict(dict.fromkeys(("after", "greeting", "speaks", "refuses", "local")), info=info,
                     waited_s=round(time.monotonic() - attempt["started"], 2))
        facts.update(pick(attempt, "state errno immediate icmp ms"))
        if attempt["state"] == "open":
            facts["local"] = first_of(or_none(sock.getsockname) or ())
            seconds = listen_s + 1e-6 * (info.get("rtt_us") or 0)     # our ACK there, its word back
            heard = converse(sock, b"", seconds, lambda data: greeting_is_whole(data) and (
                not ssh or guess_protocol(data) or guess_protocol(data, REFUSALS)))
            info.update(pick(tcp_info(sock), "window"))       # a SYN proxy opens it late, or never
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
        self.packets += max(info.get("segs_out", 1) - 1, 0)       # 0: it failed at once
        return info

    def open_tcp(self, address, port, seconds, clamp=None, mark=None):
        """A connection for a conversation -> (outcome, socket or None, errno name or None).

        clamp: the MSS of its segments; mark: the TOS of its packets.
        """
        attempt = self.start_connect(
            address, port, (TCP_MAXSEG, clamp) if clamp else mark and (MARK, mark))
        sock = watch_connect(attempt, attempt["started"] + seconds)["sock"]
        if attempt["state"] == "open":
            return "ok", sock, None
        abort(sock)
        failed = attempt["errno"] or "ETIMEDOUT"
        return outcome_of(failed), None, failed

    def say_once(self, address, port, say, seconds, enough, clamp=None):
        """Connect, say one thing, hear the answer, close -> (outcome, facts of `converse`)."""
        outcome, sock, _ = self.open_tcp(address, port, seconds, clamp)
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

    def handshake(self, sock, server_name, steps, seconds, verify, alpn=(), cafile=None,
                  patience=None):
        """TLS behind the `steps` of STARTTLS -> (the socket now, raw for `parse_handshake`)."""
        facts, other = dict(HANDSHAKE, ended="done"), say_in_turn(sock, steps, patience or seconds)
        cafile = cafile or self.options.cafile
        if other:
            return sock, dict(facts, ended="not_offered", error=printable(other["data"][:200]),
                              cut=other["ended"] if other["step"] and not other["data"] else None)
        began = time.monotonic()
        try:
            context = self.tls_context(verify, alpn, cafile)
            sock.settimeout(seconds)
            sock = context.wrap_socket(   # bytes, or ssl would load its tables of Unicode for it
                sock, server_hostname=(server_name or "").encode("ascii", "replace") or None,
                do_handshake_on_connect=False)
            sock.do_handshake()
            facts.update(version=sock.version(), cipher=first_of(sock.cipher() or ()),
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
            linger=False, patience=None, timeout_s=None):
        """A handshake by the ssl module; facts as `handshake`, and the connection's tcp_info.

        linger: nothing is said afterwards, and TLS 1.3 refuses a client once it has ended.
        patience: seconds for each of the steps.
        """
        if not self.has_ssl():
            return "unknown", NO_SSL
        seconds = timeout_s or HANDSHAKE_S
        outcome, sock, failed = self.open_tcp(address, port, seconds)
        if not sock:
            return outcome, dict(HANDSHAKE, error=failed)
        sock, facts = self.handshake(sock, server_name, steps, seconds, verify, alpn, cafile,
                                     timeout_s or patience or TLS_WAIT_S)
        with sock:
            if linger and facts["version"] == "TLSv1.3":
                wait_s = LATE_ALERT_S + 2e-6 * tcp_info(sock).get("rtt_us", 0)
                late = converse(sock, b"", wait_s, bool)["error"] or ""
                facts.update(dict(ended="alert", error=late) if "alert" in late.lower() else {})
            return "ok", dict(facts, info=self.count(sock))

    def with_chain(self, facts, address, port, server_name, steps):
        """These facts of a handshake; one without trust is made once more to see the chain."""
        if facts["ended"] == "untrusted":
            facts["chain"] = self.tls(address, port, server_name, False, steps)[1]["chain"]
        return facts

    def hello(self, address, port, server_name, clamp=None, version=0x303, padding=0,
              timeout_s=TLS_WAIT_S):
        """A clear ClientHello by hand: what the server really sends back, before any secret."""
        request = build_client_hello(server_name, os.urandom(32), version, padding)
        return self.say_once(address, port, request, timeout_s, flight_is_over, clamp)

    def http(self, address, port, secure, server_name, request, clamp=None, whole=False,
             verify=False, steps=(), timeout_s=HTTP_WAIT_S):
        """One request on a connection of its own (b"": only to listen; None: not even that); raw
        for `parse_http_exchange`."""
        if secure and not self.has_ssl():
            return "unknown", NO_SSL
        outcome, sock, failed = self.open_tcp(address, port, PATIENCE_S, clamp)
        facts = {"stage": "connect", "error": failed, "tls_ms": None, "first_byte_ms": None,
                 "ended": None, "data": b"", "info": {}}
        if not sock:
            return outcome, facts
        if secure:
            alpn = ("http/1.1",) if b" HTTP/1.1\r\n" in request else ()
            sock, made = self.handshake(sock, server_name, steps, HANDSHAKE_S, verify, alpn)
            made = self.with_chain(made, address, port, server_name, steps)
            facts.update(pick(made, "error verify_code ended alpn chain"), stage="tls",
                         tls_ms=made["ms"])
        with sock:
            wrong = None
            if steps and not secure:              # to a SOCKS proxy
                wrong = say_in_turn(sock, steps, timeout_s)
                facts.update(stage="http", said=wrong and wrong["data"],
                             step=wrong and wrong["step"])
            if request is not None and not wrong and facts["ended"] in (None, "done"):
                late = time.monotonic() + DRIP_S
                heard = converse(sock, request, timeout_s, page_is_whole if whole else
                                 lambda data: data and (
                    has_head(final_answer(data)) or not b"HTTP/".startswith(data[:5])
                    or b"\n" in final_answer(data) and time.monotonic() > late))
                facts.update(heard, stage="http", info=self.count(sock))
                self.keep_cookies(request, heard["data"])
                if facts["ended"] == "done" and not whole:
                    facts["ended"] = None         # a head may be all that is wanted
        return outcome, facts

    def keep_cookies(self, request, data):
        """Hold what an answer sets until a redirect leads back (RFC 6265); it leaves no trace."""
        host = (find(r"(?m)^Host: (\[[^\]]*\]|[^:\r]+)", request.decode("latin-1")) or "").lower()
        for name, value, domain, secure in parse_cookies(data if data[:5] == b"HTTP/" else b""):
            home = domain if domain and host.endswith("." + domain) else host
            self.cookies[home, name] = value, secure

    def cookies_for(self, host, secure):
        """What a browser would send back to this host, as the text of a header."""
        return "; ".join("%s=%s" % (name, value) for (home, name), (value, safe) in list(
            self.cookies.items()) if (secure or not safe) and (
                "." + host.lower()).endswith("." + home))

    def fetch(self, url, method="HEAD", first=0, timeout_s=HTTP_WAIT_S):
        """Follow one redirect, by the family that works; raw for `parse_http_exchange`."""
        parts = read_url(url)
        host, secure = parts["host"], parts["scheme"] == "https"
        port = int(parts["port"] or (443 if secure else 80))
        request = build_http_request(method, parts["path"] or "/", host, port, secure,
                                     cookies=self.cookies_for(host, secure))
        return self.by_name(host, self.options.family, lambda address: self.http(
            address, port, secure, sni_for(host), request, verify=True, timeout_s=timeout_s), first)

    def by_name(self, host, family, talk, first=0):
        """Look the host up, then `talk` with the first address that opens -> what it returns."""
        outcome, found = self.resolve(host, family, 3.0)
        if outcome != "ok":
            return outcome, dict(HANDSHAKE, stage="lookup", error=found["error"], data=b"",
                                 ended=None)
        for address in one_of_each_family(sorted(found, key=lambda a: is_address(a) != first)):
            outcome, facts = talk(address)
            if outcome == "ok":
                break
        return outcome, facts

    def by_proxy(self, proxy, secure, request, timeout_s, steps=(), server_name=None):
        """One request to a proxy, a row of `read_proxy`, or by its tunnel after `steps` open it."""
        twin = self.aside()
        return twin.by_name(proxy["host"], 0, lambda address: twin.http(
            address, proxy["port"], secure, server_name or sni_for(proxy["host"]), request,
            verify=True, steps=steps, timeout_s=timeout_s))

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

    def proxy_request(self, variable, host, port, path=None, method="HEAD"):
        """CONNECT, or the request for the page at `path` (RFC 9110 9.3.6, RFC 9112 3.2.2)."""
        import base64
        login, name = self.proxy_login(variable), endpoint(host, port)
        if path:
            request = build_http_request(method, "http://" + name + path, host, port, False)
        else:
            text = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (name, name)
            request = text.encode("ascii", "replace")
        return request[:-2] + (b"Proxy-Authorization: Basic %s\r\n" % base64.b64encode(login)
                               if login else b"") + b"\r\n"

    def tunnel(self, proxy, host, port, path=None, method="HEAD", timeout_s=PROXY_WAIT_S):
        """Ask a proxy for a tunnel, or for the page at `path`; raw for `parse_http_exchange`."""
        request = self.proxy_request(proxy["variable"], host, port, path, method)
        return self.by_proxy(proxy, proxy["scheme"] == "https", request, timeout_s)

    def socks(self, proxy, host, port, path=None, method="HEAD", timeout_s=PROXY_WAIT_S):
        """The same asked of a SOCKS 5 proxy; raw for `parse_socks`: what it said instead of yes."""
        request = build_http_request(method, path, host, port, False) if path else None
        return self.by_proxy(
            proxy, False, request, timeout_s, self.way_through(proxy, host, port))

    def way_through(self, proxy, host, port):
        """What is said to a proxy, and heard, before its tunnel is open: SOCKS 5, or CONNECT."""
        if proxy["scheme"][:5] == "socks":
            return build_socks(host, port, self.proxy_login(proxy["variable"]))
        return (self.proxy_request(proxy["variable"], host, port),
                rb"(?s)HTTP/1\.\d 200.*?\r?\n\r?\n"),

    def page(self, proxy, host, port, server_name, request, timeout_s=HTTP_WAIT_S):
        """A request over TLS through the proxy's tunnel; raw for `parse_http_exchange`."""
        steps = self.way_through(proxy, host, port)
        return self.by_proxy(proxy, True, request, timeout_s, steps, server_name)

    def through(self, proxy, host, port, server_name, alpn, timeout_s=PROXY_WAIT_S):
        """A handshake with the target behind the proxy's tunnel; raw for `parse_handshake`."""
        if proxy["scheme"] == "https" or not self.has_ssl():
            return "unknown", TLS_IN_TLS if proxy["scheme"] == "https" else NO_SSL
        steps, twin = self.way_through(proxy, host, port), self.aside()

        def shake(address):
            outcome, facts = twin.tls(address, proxy["port"], server_name, True, steps, alpn,
                                      timeout_s=timeout_s)
            return outcome, twin.with_chain(facts, address, proxy["port"], server_name, steps)
        return twin.by_name(proxy["host"], 0, shake)

    def ssh_keys(self, address, port, host_keys, mark, timeout_s=GREETING_S):
        """A key exchange with sshd, marked as ssh marks its packets; for `parse_ssh_exchange`."""
        outcome, sock, _ = self.open_tcp(address, port, PATIENCE_S, mark=mark)
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
                again, = self.volley(address, port, CUT_WAIT_S, [(SEND_TTL, ttl)])
                if again["state"] != "open":
                    return "ok", {"ttl": ttl, "far": far}
                break                           # a SYN gets there as well: no box before the server
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

    def connect_again(self, address, port, count, mark=None):
        """`count` connections at once, from as many source ports, watched for two resends."""
        attempts = self.volley(address, port, RETRY_WAIT_S, [mark and (MARK, mark)] * count)
        if not all(attempt["sock"] for attempt in attempts):
            return "denied", "connect: %s" % attempts[-1]["errno"]
        states = [attempt["state"] for attempt in attempts]
        resent = [a for a in attempts if a["state"] == "open" and a["resent"]]
        return "ok", {"tried": count, "open": states.count("open"),
                      "silent": states.count("trying") + states.count("silent"),
                      "resent": len(resent)}

    def unheard(self, address, port):
        """Packets received and not delivered, and resets sent for what fits no connection: in a
        window without SYNs of ours, then in one with."""
        version, lost, resets = is_address(address), [], []
        for pause_s, syns in ((0, 0), (UNHEARD_S, 0), (0, UNHEARD_SYNS)):
            time.sleep(pause_s)
            self.volley(address, port, UNHEARD_S, [None] * syns)
            read = [self.read("/proc/net/snmp" + end) for end in ("", "6")[:1 + (version == 6)]]
            if read[-1][0] != "ok":
                return "unknown", read[-1][1]
            counters = [parse_proc_counters(text) for outcome, text in read if outcome == "ok"]
            lost.append(undelivered_count(counters[-1], version))
            resets.append(counters[0].get("TcpOutRsts", 0))
        return "ok", {"idle": lost[1] - lost[0], "lost": lost[2] - lost[1], "sent": UNHEARD_SYNS,
                      "resets": resets[2] - resets[1] - (resets[1] - resets[0])}

    def reset_ttl(self, address, port, host_ttl, far):
        """The TTL with which this port's reset arrives, by IP_MINTTL (no privilege is needed):
        connections whose minimum is above it hang, the others are refused."""
        asked = range(host_ttl, min(255, host_ttl + min(far, 12)) + 1)
        attempts = self.volley(address, port, SIZE_WAIT_S, [(MIN_TTL, ttl) for ttl in asked])
        for attempt in attempts:
            if attempt["immediate"] and attempt["errno"] != "ECONNREFUSED":
                return "unknown", "IP_MINTTL: %s" % attempt["errno"]
        answered = [ttl for ttl, a in zip(asked, attempts) if a["errno"] == "ECONNREFUSED"]
        return "ok", {"ttl": max(answered, default=None), "host_ttl": host_ttl, "far": far,
                      "by_us": None}

    def reset_by_us(self, address, port):
        """Do this port's resets come by loopback, each time, as those of this host's rules do?"""
        seen = []
        for syns in (0, 1, 1, 1):                 # other talk there would have to hit each moment
            self.volley(address, port, SIZE_WAIT_S, [None] * syns)
            outcome, text = self.read("/proc/net/dev")
            if outcome != "ok":
                return "unknown", text
            seen.append(parse_proc_net_dev(text).get("lo"))
        return "ok", {"by_us": all(one != other for one, other in zip(seen, seen[1:]))}

    def fits(self, address, size, wait_s):
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
        outcome, sock, _ = self.open_tcp(address, port, PATIENCE_S, clamp)
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
            return "denied", dict(facts, error=errno_name(error.errno))
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
        """Add whose handshakes with a port are half done; nobody, where no system tells."""
        try:
            note_half_open(found, [row for row in self.tcp_sockets() if row["port"] == port])
        except NotMine:
            pass

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
        row = self.arrival(sock, packet[3], bytes=len(packet[0]), ttl=first_of(ttls))
        facts["arrivals"].append(row)
        if packet[0] == b"netdiag\n":
            or_none(sock.sendto, build_greeting(row), packet[3])
        return row

    def receive(self, sock, talks, facts):
        """One connection to the stand-in, which is talked to in a thread of its own."""
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
            thread = beside(attend, client, row)
            talks.extend([(thread, client)] * bool(thread))
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


class Recording:
    """Packets that a thread follows and saves as they come, by AF_PACKET or else by tcpdump."""

    def __init__(self, system, port):
        import threading
        self.system, self.options, self.began = system, system.options, time.monotonic()
        self.ended, self.sock, self.child = threading.Event(), None, None
        self.told, self.result = follow_records((), None), None
        self.file = self.options.write and open_private(self.options.write, "wb")
        try:
            self.sock, records = open_packet_socket(port, self.options.interface), self.packets()
        except (OSError, AttributeError, ImportError) as error:       # AttributeError: not Linux
            why = errno_name(getattr(error, "errno", None)) or printable(str(error))
            records = self.dumped(port, "root or CAP_NET_RAW is needed (%s)" % why)
        self.thread = threading.Thread(target=self.follow, args=(records,), daemon=True)
        self.thread.start()

    def follow(self, records):
        """What the thread does: flows out of records, each of them saved where --write says."""
        try:
            self.told = follow_records(self.saved(records) if self.file else records,
                                       self.options.client)
        except OSError as error:                          # the disk is full
            self.told["problem"] = failure("--write " + self.options.write, error)

    def saved(self, records):
        """The same records, which are also written to the file."""
        with self.file as stream:
            head = None
            for record in records:
                head = head or stream.write(build_pcap(record[1]))
                stream.write(build_pcap_record(record))
                yield record
            head = head or stream.write(build_pcap())

    def packets(self):
        """The records of the packet socket, until `end` is called; each packet once.

        A bridge, a bond and a VLAN show a packet on several devices: the first of them counts for
        all packets between the same ends, in this direction.
        """
        devices, indexes = {}, {}
        while True:
            packet = or_none(self.sock.recvmsg, SNAP_BYTES, 256)
            if not packet:
                if self.ended.is_set():
                    return
                wait_for(self.sock, False, time.monotonic() + 0.1)
                continue
            data, extra, _, (device, protocol, kind, hardware, mac) = packet
            ends = data[12:24] if protocol == IPV4 else data[8:44]
            if protocol not in (IPV4, IPV6) or (device, kind) == ("lo", 4) \
                    or devices.setdefault(ends, device) != device:
                continue
            if len(devices) > 4 * FLOWS_LIMIT:            # a flood from invented addresses
                devices.clear()
            if device not in indexes:
                indexes[device] = or_none(socket.if_nametoindex, device) or 0
            record = cooked_record(data, extra, struct.pack(
                "!HIHBB8s", 0, indexes[device], hardware, kind, len(mac), mac), protocol)
            if self.ended.is_set() and record[0] > self.ended_s:
                return
            yield record

    def dumped(self, port, why):
        """The records of tcpdump, which may have the right that we lack; NotMine: nor has it."""
        import subprocess
        path = None if self.options.no_tools else find_program("tcpdump")
        mine(path and not self.ended.is_set(), why)
        device = self.options.interface or ("any" if sys.platform == "linux" else None)
        argv = [path, "-n", "-U", "-s", str(SNAP_BYTES), "-w", "-"]
        argv += ["-i", device] if device else []
        argv += ["port %d or icmp or icmp6" % port] if port else []
        try:
            self.child = self.system.spawn(argv, subprocess.PIPE)
            records = capture_records(self.child.stdout.read)
        except (OSError, NotMine):
            raise NotMine(why)
        yield from records

    def end(self, own=None):
        """Stop -> (outcome, what was recorded); unknown where nothing could be."""
        if not self.result:
            self.ended_s = time.time()
            self.ended.set()
            more = dict(dropped=self.stop(), via="tcpdump" if self.child else "AF_PACKET",
                        seconds=round(time.monotonic() - self.began, 1))
            value = capture_value(self.told, own, self.ended_s, self.options.client)
            failed = value["problem"] and not value["packets"]
            self.result = ("unknown", value["problem"]) if failed else ("ok", dict(value, **more))
        return self.result

    def stop(self):
        """End socket or child and the thread; how many packets the kernel could not keep for us."""
        if not self.child:
            self.thread.join(5)
        if self.sock:                     # PACKET_STATISTICS: packets, drops
            with self.sock:
                return struct.unpack("=II", self.sock.getsockopt(SOL_PACKET, 6, 8))[1]
        if not self.child:
            return None
        self.child.terminate()
        self.thread.join(5)
        end_child(self.child)
        self.system.children.discard(self.child)
        with self.child.stdout, self.child.stderr:
            words = self.child.stderr.read(4000).decode("ascii", "replace")
        return to_int(find(r"(\d+) packets? dropped by kernel", words))


def open_packet_socket(port, device):
    """A socket that gets the packets of a port (None: all), without their link header; packet(7).

    `socket` takes the protocol in network order, `bind` in the host's.  Bound to no device, packets
    slip in before the filter is there.
    """
    import ctypes
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0 if device else socket.htons(3))
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, 35, 1)             # SO_TIMESTAMPNS
        sock.setsockopt(SOL_PACKET, 8, 1)                     # PACKET_AUXDATA
        or_none(sock.setsockopt, socket.SOL_SOCKET, 33, CAPTURE_BUFFER_BYTES)       # SO_RCVBUFFORCE
        if port:
            program = build_filter(port)
            buffer = ctypes.create_string_buffer(program, len(program))
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack(               # SO_ATTACH_FILTER
                "HP", len(program) // 8, ctypes.addressof(buffer)))
        if device:
            sock.bind((device, 3))
        else:
            list(iter(lambda: or_none(sock.recv, 1), None))
    except OSError:
        sock.close()
        raise
    return sock


def cooked_record(data, extra, head, protocol):
    """A packet as a record of Linux cooked v2, with the VLAN tag that the kernel took out."""
    at_s, length = time.time(), len(data)
    for level, kind, raw in extra:
        if (level, kind) == (1, 35):
            second, nanosecond = struct.unpack("=qq" if len(raw) == 16 else "=ii", raw)
            at_s = second + nanosecond / 1e9
        elif (level, kind) == (SOL_PACKET, 8):                # linux/if_packet.h: tpacket_auxdata
            status, length, _, _, _, tag, tag_protocol = struct.unpack("=IIIHHHH", raw)
            if status & 0x10:
                data, length = struct.pack("!HH", tag, protocol) + data, length + 4
                protocol = tag_protocol or TAGGED[0]
    frame = struct.pack("!H", protocol) + head + data
    return at_s, 276, frame, max(length + 20, len(frame))


def open_private(path, mode, encoding=None):
    """A new file that only its owner may read; never the mode of /dev/null."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    stream = os.fdopen(descriptor, mode, encoding=encoding)
    if os.path.isfile(path):
        os.chmod(path, 0o600)
    return stream


def say_in_turn(sock, steps, seconds):
    """Say each of ((what to say, what the answer is like), ...); None, or the facts of `converse`
    where the answer was a wrong one, or none, with the number of the `step`."""
    for step, (say, wanted) in enumerate(steps):
        right = re.compile(wanted or b"")
        facts = converse(sock, say, seconds, lambda heard: right.match(heard) or re.search(
            WHOLE_LINE, heard) or heard[1:] and heard[:1] == b"\5")
        if not right.match(facts["data"]):
            return dict(facts, step=step)
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
    return first_of(hops[ttl] for ttl in sorted(hops) if hops[ttl]["kind"] not in ("hop", "error"))


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
    errors = watch_connect(probe, 0)["icmp"] if mode == "tcp" else read_errors(
        sock, probe["number"] if mode == "icmp" else None)
    if errors:
        error = errors[0]
        hop.update(pick(error, "type code errno mss"), address=error["from"], from_ttl=error["ttl"])
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
    return None if kind in ("trying", "silent") else dict(hop, kind=kind)


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


def native(verb, *args, parse=None, **named):
    """Ask by a verb of room 4 that needs no command; `parse=` where its raw answer is bytes."""
    return Source(verb, args, parse, named)


def kernel(parse, *requests):
    """Ask rtnetlink; `parse` reads [(kind, payload)]; interface indexes become names."""
    return Source("netlink", (list(requests),), with_names(parse))


def with_names(parse):
    """A parser of netlink messages after which the interfaces have names."""
    def named(raw):
        value = parse(raw["messages"])
        for row in [row for rows in value.values() for row in rows if "dev_index" in row]:
            row["dev"] = raw["names"].get(row.pop("dev_index"))
        return value
    return named


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
    timed = timeout_s and "timeout_s" in parameters(getattr(System, source.verb))
    named = dict(source.named, **{"timeout_s": timeout_s} if timed else {})
    try:
        outcome, raw = getattr(system, source.verb)(*source.args, **named)
        if source.parse and (outcome == "ok" or isinstance(raw, dict) and "data" in raw):
            raw = source.parse(raw)           # a talk that failed has facts of the same shape
        elif isinstance(raw, dict):
            raw = {key: item for key, item in raw.items() if not isinstance(item, bytes)}
        return outcome, raw
    except NotMine as error:
        return "unknown", "not understood: %s" % error if str(error) else "not understood"
    except Exception as error:                    # a crash in a probe becomes a line in the report
        return "unknown", "crashed: %s: %s" % (type(error).__name__, error)


# == 6 probes: what to ask, in the order of the layers =============================================
#
#   host      identity  marks  clock  interfaces  counters  routes  policy  resolv_conf  proxy_env
#   name      lookup  hosts_file  dns  general_dns
#   way       route  egress  neighbor  segment
#   packets   knock -> tcp      ping  trace_*  other_ports  sizes  retries  marked
#   talk      words  ssh  tls  hello  http  redirects  udp  tunnel  through  page
#   server    sockets -> owners  watch -> grown  rules_now      rules  wrappers  limits  switch
#   port      loop  back  logs      where nobody listens: elsewhere  units
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
          "server": (("host", "server"), "port"), "capture": (("host",), "capture")}
ONCE = ("host", "server")


def register(name, function, needy, steps=False, scope=None):
    """Add a probe; the parameters of `needy` name its needs, `scope` when it runs (SCOPES)."""
    names = parameters(needy)
    split = len(names) - len(needy.__defaults__ or ())
    PROBES[name] = Probe(name, function, names[:split], names[split:],
                         scope or ("target" if names else "host"), steps)


def probe(function, scope=None, steps=False):
    """Register a generator of questions."""
    register(function.__name__[len("probe_"):], function, function, steps, scope)
    return function


def stepwise(function, scope=None):
    """Register a generator of lists of questions: each list is answered before the next."""
    return probe(function, scope, steps=True)


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
asks("counters", "What the kernel has counted so far.",
     lambda: [ask(path, text_file(parse, path, absent)) for path, parse, absent in COUNTER_FILES])
asks("routes", "The routing tables, for their default routes.", lambda: [
     ask("ipv" + version,
         tool(parse_ip_route, "ip", "-" + version, "route", "show", "table", "all"),
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
     lambda wish, interfaces, resolv_conf, lookup, dns=(): [
         ask(address, *route_sources(address, wish["source"], bound_link(wish, interfaces)))
         for address in addresses(wish, lookup, dns) or resolvers(resolv_conf)])
asks("egress",
     "The route decision again, now with the source address it chose (policy rules look at it).",
     lambda wish, interfaces, route: [
         ask(row.subject, *route_sources(
             row.subject, row.value["src"], bound_link(wish, interfaces)))
         for row in succeeded(route) if row.value["src"] and not row.value["error"]])
asks("neighbor", "Layer-2 state of the next hop; a hop that nobody has heard from is asked again.",
     lambda egress, tcp, udp: [ask("%s %s" % (hop, dev), *neighbor_sources(hop, dev, tcp + udp))
                               for hop, dev in next_hops(egress)])
asks("unused", "Without a target: gateways by which no resolver is reached, such as IPv6's.",
     lambda wish, routes, egress: wish["mode"] == "host" and [
         ask("%s %s" % hop, *unused_sources(*hop))
         for hop in default_hops(routes) if hop not in next_hops(egress)])
asks("neighbors", "Everybody else whom this host knows on its segments.",
     lambda egress, tcp: [ask("all", *neighbor_tables())])
asks("segment",
     "Others on the segment, asked for at layer 2 when the next hop has not answered in time.",
     lambda egress, knock, udp, general_dns, interfaces, resolv_conf, hosts_file=(): [
         ask("%s %s" % (hop, dev), native("poke", others + [hop], dev, SEGMENT_WAIT_S))
         for hop, dev in next_hops(egress) if not met(knock + udp + general_dns, "ok", "refused")
         for others in [segment_candidates(hop, dev, interfaces, resolvers(resolv_conf))]
         if others])


# -- packets ---------------------------------------------------------------------------------------

asks("knock", "A SYN to every address; what came back in the first second.",
     lambda wish, lookup, dns=(): wish["transport"] == "tcp" and wish["knock_port"] and each(
         "knock", addresses(wish, lookup, dns), wish["knock_port"]))
asks("tcp", "What became of each connection: errno, ICMP and its sender, TCP_INFO, first bytes.",
     lambda wish, knock: each(
         "settle", [row for row in knock if row.outcome != "unknown"], wish["knock_port"],
         not wish["tls"] and wish["greeting_s"] or LISTEN_S,
         *[True] * (wish["protocol"] in ("ssh", "sftp"))))
asks("unheard", "Packets that this host receives and does not deliver: does it drop the answers?",
     lambda wish, tcp, retries: each("unheard", saying(
         one_of_each(tcp, "timeout"), "icmp", []), wish["knock_port"]))
asks("control_tcp",
     "Addresses that only the resolvers give, where the hosts file gave another one.",
     lambda wish, lookup, dns, hosts_file: wish["transport"] == "tcp" and wish["port"] and each(
         "knock", [a for a in dns_addresses(dns) if hosts_rows(hosts_file, wish["host"])
                   and a not in addresses(wish, lookup)][:2], wish["port"]))
asks("ping", "Echo to the target and to the gateway; silence proves nothing.",
     lambda wish, lookup, egress, dns=(): [
         ask(address, tool(parse_ping, "ping", "-n", "-c", "1", "-W", "1", *binding(
             wish, "-I", "-I") + [address]), native("echo", address))
         for address in unique(addresses(wish, lookup, dns) + [
             hop for hop, _ in next_hops(egress)])])
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
     "How far ping packets get, when the port is silent and UDP did not get to the host.",
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
    """Do packets as large as the first link allows get through?

    Large, small; twice over."""
    rows = [row for row in talking(knock) if not is_next_door(egress, row.subject)][:2]
    for small in (None, SMALL_BYTES, None, SMALL_BYTES, None):
        sizes = [small or about(egress, r.subject).get("mtu") or 1500 for r in rows]
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
    """More connections, when something that works had to be sent again, or was lost once."""
    rows = []
    for row in one_of_each(tcp, "ok"):
        talks = rows_about([row] + tls + http, row.subject)
        resent = saying(talks, "stage", "connect") or any(
            said(talk, "info", "total_retrans") for talk in talks)
        large = {r.value["answered"] for r in rows_about(succeeded(sizes), row.subject)
                 if r.value["size"] > SMALL_BYTES}
        if (resent or large == {True, False}) and not rows_about(retries, row.subject):
            rows.append(row)
    yield from retry(rows, wish)


asks("other_source", "A silent port once more from another address of the interface that is used.",
     lambda wish, tcp, egress, interfaces: not wish["source"] and [
         ask(row.subject, native("knock_from", row.subject, wish["knock_port"], source))
         for row in one_of_each(tcp, "timeout")
         for source in other_sources(row.subject, egress, interfaces)[:1]])
asks("marked", "A connection marked as ssh marks its packets, where a plain one works.",
     lambda wish, tcp: wish["protocol"] not in ("ssh", "sftp") and each(
         "connect_again", saying(met(tcp, "ok")[:1], "after", "open", "data"),
         wish["knock_port"], 1, SSH_MARK))


@probe
def probe_moved(wish, counters, tcp, retries, tls, http):
    """Which counters of this host moved meanwhile (others use it as well)."""
    yield from moved_counters(counters if wish["host"] else (), TELLING)


@probe
def probe_reset_ttl(wish, tcp, trace_udp, trace_tcp):
    """From how far a reset comes: its TTL, against that of the host's own ICMP; from this host?"""
    for row in saying(met(tcp, "refused"), "icmp", []):
        if refused_at(trace_tcp, row.subject) == 1:
            yield from each("reset_by_us", [row], wish["knock_port"])
        for hop in [hop for hop in hops_to(trace_udp, row.subject) if hop["ttl"] > 1
                    and hop.get("kind") == "reply" and hop.get("from_ttl")][:1]:
            yield from each("reset_ttl", [row], wish["knock_port"], hop["from_ttl"], hop["ttl"])


# -- above TCP -------------------------------------------------------------------------------------

@probe
def probe_words(wish, tcp, tls):
    """The first words of the protocol's own client; none where the server greets behind TLS."""
    words = FIRST_WORDS.get(GREETS_AS.get(wish["protocol"], wish["protocol"]), b"" if wish[
        "greeting_s"] and wish["tls"] else None)
    steps, fine = tls_steps(wish), ["done"] + ["untrusted"] * (not wish["tls"])
    secured = [row.subject for row in saying(tls, "ended", *fine)]
    for row in saying(talking(tcp)[:1 if steps else None], "after", "open") * (words is not None):
        secure = row.subject in secured        # pg_hba.conf may know encrypted connections only
        if secure or not wish["tls"]:
            yield from each("http", [row], wish["port"], secure, wish["sni"], words,
                            steps=steps if secure else (), parse=parse_first_words)


asks("known_hosts", "What this user and this host know of the server's key.",
     lambda wish: wish["protocol"] in ("ssh", "sftp") and [
         ask(path, text_file(parse_known_hosts, path, ""))
         for path in ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")])


@probe
def probe_ssh(wish, tcp, known_hosts):
    """One look behind sshd's banner: with a user by ssh itself, else its key and algorithms."""
    user, port = wish["user"], wish["port"]
    login = ["-p", str(port), "%s@%s" % (user, wish["host"]), "true"]
    own = [tool(parse_ssh, *SSH_ONCE + binding(wish, "-b", "-B") + login)] if user else []
    types = [row["type"] for row in known_keys(known_hosts, wish)]
    for row in saying(talking(tcp), "speaks", "ssh")[:wish["protocol"] in ("ssh", "sftp")]:
        yield ask(row.subject, *own + [native("ssh_keys", row.subject, port, types, None
                                              if user else SSH_MARK, parse=parse_ssh_exchange)])


asks("tls",
     "The TLS handshake, verified against this host's trust store; on plain ports by STARTTLS.",
     lambda wish, tcp: handshakes(wish, talking(tcp) if wish["tls"] else [
         row for row in talking(tcp)[:1] if tls_steps(wish) and not said(row, "refuses")
         and (row.ms or 0) < GREETING_S * 1000]))      # else it is mute, or lets us wait again
asks("hello",
     "A clear ClientHello after a failed handshake: the chain, the alert, what the port speaks.",
     lambda wish, tls: [ask("%s %s" % (row.subject, "named" if name else "bare"),
             native("hello", row.subject, wish["port"], name, parse=parse_tls_flight))
         for row in wish["tls"] and saying(tls, "ended", "untrusted")[:1] + [
             row for row in tls if said(row, "ended") not in ("done", "untrusted")
             or said(row, "ended") == "untrusted" and not (said(row, "chain") or "")[1:]] or ()
         for name in unique([wish["sni"] or None, None])])
asks("versions", "After a refusal: which old versions does the server still offer?",
     lambda wish, hello: [
         ask("%s %s" % (host_of(row), TLS_VERSIONS[version]), native(
             "hello", host_of(row), wish["port"], wish["sni"], version=version,
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
                            wish["port"], wish["sni"], clamp=CLAMP_MSS, parse=parse_tls_flight))


@stepwise
def probe_http(wish, tcp, tls):
    """One HTTP request, HEAD or GET (over TLS, where TLS works)."""
    cut = saying(tls, "ended", "stalled", "reset", "closed", "alert")
    rows = talking(tcp) if wish["protocol"] in ("http", "https") else ()
    heads = yield http_questions(wish, [r for r in rows if not rows_about(cut, r.subject)], "HEAD")
    yield http_questions(wish, [
        row for row in heads if head_failed(row) and not wants_http2(row, tls)], "GET")
    yield http_questions(wish, [row for row in saying(heads, "ended", "silent") if not (
        said(row, "bytes") or is_unheeded(row))], "GET", timeout_s=GET_WAIT_S)


@stepwise
def probe_transfer(wish, http, sizes):
    """A larger exchange both ways where large packets seem to vanish, then with small segments."""
    rows = [row for row in succeeded(latest(http)) if row.subject in size_suspects(sizes)]
    whole = yield http_questions(wish, rows, "GET", None, PADDING)
    yield http_questions(wish, saying(whole, "ended", "silent"), "GET", CLAMP_MSS, PADDING)


@stepwise
def probe_exchange(wish, tcp):
    """A pattern of several packets both ways, where netdiag's `listen` stands in.

    If it is lost, once more with small segments."""
    rows = [row for row in talking(tcp)[:2] if greeting_of(row)]
    whole = yield list(each("exchange", rows, wish["port"], None))
    yield [ask(row.subject + " clamped", native("exchange", row.subject, wish["port"], CLAMP_MSS))
           for row in succeeded(whole) if row.value["back_bytes"] < PATTERN_BYTES]


@stepwise
def probe_redirects(wish, http):
    """Where redirects lead: each one asked on its own host, up to REDIRECT_LIMIT; an address that
    was asked before is asked again where cookies were set meanwhile."""
    for step in latest(http)[:1]:
        urls = ["%s://%s%s" % (wish["protocol"], endpoint(wish["host"], wish["port"]),
                               wish["path"] or "/")]
        asked, cookies, first = [], set(), is_address(step.subject)
        while redirect_of(step) and len(urls) <= REDIRECT_LIMIT:
            url = join_url(urls[-1], redirect_of(step))
            asked = [] if set(said(step, "cookies")) - cookies else asked
            if url in asked or not re.match("https?://", url):
                return
            asked.append(url)
            urls.append(url)
            cookies.update(said(step, "cookies"))
            for method in ("HEAD", "GET"):
                step, = yield [ask(hide_secret(printable(url, 200)), native(
                    "fetch", url, method, first, parse=parse_http_exchange))]
                if not head_failed(step):
                    break


asks("secure", "A ClientHello where a plain talk met nothing: does the port want TLS?",
     lambda wish, tcp, words, http: wish["protocol"] not in ("tcp", "udp") and not wish["tls"] and [
         ask(row.subject, native("hello", row.subject, wish["port"], wish["sni"],
                                 timeout_s=FIRST_LOOK_S, parse=parse_tls_flight))
         for row in (saying(latest(http) + words, "bytes", 0) or wish["greeting_s"] and saying(
             tcp, "after", "open") or [])[:1]])
asks("udp", "A datagram to the port: a reply, an ICMP error, or silence.",
     lambda wish, lookup, dns=(): wish["transport"] == "udp" and wish["port"] and each(
         "datagram", addresses(wish, lookup, dns), wish["port"],
         UDP_QUESTIONS.get(wish["protocol"], b"netdiag\n"), parse=parse_datagram))


@stepwise
def probe_tunnel(wish, proxy_env):
    """The proxy that applies to this target, asked for a tunnel; for plain HTTP, the page."""
    rows = yield list(tunnel_asks(wish, proxy_for(wish, proxy_env)))
    if [page for page in forwarded(wish, rows) if head_failed(page)]:
        yield list(tunnel_asks(wish, proxy_for(wish, proxy_env), "GET"))


asks("through", "A TLS handshake with the target through the proxy's tunnel.",
     lambda wish, proxy_env, tunnel: wish["tls"] and [
         ask("%s via %s" % (wish["host"], row.subject), native(
             "through", proxy, wish["host"], wish["port"], wish["sni"], alpn_of(wish),
             parse=parse_handshake))
         for proxy in [proxy_for(wish, proxy_env)]
         for row in saying(latest(tunnel), "status", 200)])
asks("proxy_alone", "A proxy that is silent about the target, asked about itself.",
     lambda wish, proxy_env, tunnel: [
         ask(row.subject, native("fetch", "%s://%s/" % (proxy["scheme"], row.subject), "HEAD",
                                 parse=parse_http_exchange))
         for proxy in [proxy_for(wish, proxy_env)] for row in saying(tunnel, "ended", "silent")
         if proxy["scheme"] in ("http", "https") and said(row, "stage") == "http"])


@stepwise
def probe_page(wish, proxy_env, through):
    """The page through the proxy's tunnel, where TLS works there: HEAD or GET."""
    proxy = proxy_for(wish, proxy_env)
    rows = saying(through, "ended", "done") if wish["protocol"] == "https" else []
    for method in ("HEAD", "GET"):
        rows = yield [ask(row.subject, native(
            "page", proxy, wish["host"], wish["port"], wish["sni"], request_of(wish, method),
            parse=parse_http_exchange)) for row in rows]
        rows = [row for row in rows if head_failed(row)]


asks("spare_proxy",
     "A configured proxy that NO_PROXY keeps us from, asked for a tunnel where no way is open.",
     lambda wish, proxy_env, tcp: tcp and not met(tcp, "ok", "refused") and not proxy_for(
         wish, proxy_env) and tunnel_asks(wish, named_proxy(wish, proxy_env)))


@stepwise
def probe_large(wish, tls):
    """A ClientHello as large as post-quantum keys make it; the same but small where that fails."""
    for row in saying(prompt(tls), "ended", "done")[:wish["tls"]]:
        for size, padding in (("large", LARGE_HELLO_BYTES), ("small", 0)):
            answers = yield [ask("%s %s" % (row.subject, size), native(
                "hello", row.subject, wish["port"], wish["sni"], padding=padding,
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


# -- this host as a server -------------------------------------------------------------------------

asks("sockets", "Who listens on this host, on TCP and on UDP.", lambda: [
     ask(proto, diag(proto, number, state), tool(parse_ss, "ss", letters),
         native("read_all", ["/proc/net/" + proto, "/proc/net/%s6" % proto],
                parse=parse_proc_sockets),
         tool(parse_lsof, "lsof", "-nP", "-i" + proto), then(tool(
             parse_netstat_an, "netstat", "-an"), lambda facts: mine(not facts["error"] and facts)))
     for proto, number, state, letters in (
         ("tcp", socket.IPPROTO_TCP, "LISTEN", "-tlnpe"),
         ("udp", socket.IPPROTO_UDP, "CLOSED", "-ulnpe"))], "server")
asks("owners", "Which programs hold the listening sockets, with how many descriptors.",
     lambda sockets: [ask("self", native(
         "owners", [row["inode"] for row in listeners(sockets) if row.get("inode")],
         unique(row["uid"] for row in listeners(sockets) if row.get("uid") is not None))),
         ask("others", native("sees_all"))], "server")
asks("rules", "The rules of this host's firewalls, with their counters (for root to read).",
     lambda: [ask(kind + form, *sources) for kind in ("iptables", "ip6tables")
              for none in [text_file(parse_no_tables, "/proc/net/%s_tables_names" % kind[:-6], "")]
              for form, sources in (
                  ("", (ruleset(parse_iptables_save, kind + "-save", "-c"), none)),
                  (" legacy", (none, ruleset(parse_iptables_save, kind + "-legacy-save", "-c"))))]
     + [ask("nft", ruleset(parse_nft_list_ruleset, "nft", "list", "ruleset"))], "server")
asks("wrappers", "The rules of TCP wrappers, for programs with libwrap.", lambda: [
     ask(name, text_file(parse_hosts_access, "/etc/hosts." + name, ""))
     for name in ("allow", "deny")], "server")
asks("watch", "The connections of all ports, watched for a moment or for as long as --for says.",
     lambda sockets: [ask("tcp", native("watch_sockets"))], "server")
asks("rules_now", "The same rules and counters once more, after that moment.",
     lambda rules, watch: rules_read(rules) and PROBES["rules"].function(), "server")
asks("grown", "Which counters moved in that moment.",
     lambda counters, watch: moved_counters(
         counters, TELLING + "|InReceives|InDelivers|Forw|Cookie"), "server")
asks("limits", "Limits and shortages of this host: queues, files, memory, disks.", lambda: [
     ask("kernel", native("marks", [
         "/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/tcp_max_syn_backlog",
         "/proc/sys/net/ipv4/tcp_syncookies", "/proc/sys/fs/file-nr", "/proc/pressure/memory",
         "/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv4/ip_local_port_range"])),
     ask("disk", native("disk", "/ /var /var/log /tmp /run".split()))], "server")
asks("kernel_log", "What the kernel has logged lately of drops and shortages.", lambda: [
     ask("self", native("kernel_log", parse=parse_kernel_log))], "server")
asks("switch", "The switch and its port, by lldpctl or heard by LLDP and CDP (--lldp).", lambda: [
     ask("self", then(tool(parse_lldpctl, "lldpctl"), lambda facts: mine(
         not facts["error"] and facts)), native("hear_switches"))], "server")
asks("elsewhere", "Who listens on the port in another network namespace, such as a container's.",
     lambda wish, sockets: is_deserted(wish, sockets) and [ask(
         str(wish["port"]), native("elsewhere", wish["transport"], wish["port"]))], "port")
asks("units", "Services of systemd that have failed or are stopped.",
     lambda wish, sockets: is_deserted(wish, sockets) and [ask("all", tool(
         parse_units, "systemctl", "list-units", "--all", "--type=service", "--plain",
         "--no-legend", "--no-pager"), native("marks", ["/run/systemd/system"], parse=no_systemd))],
     "port")
asks("loop", "A connection of this host to its own port: it splits the program from the network.",
     lambda wish, sockets, interfaces: wish["asked"] and wish["transport"] == "tcp" and each(
         "connect_again", own_ends(wish, sockets, interfaces)[:1 + (wish["port"] != 22)],
         wish["port"], 1), "port")


def probe_back(wish, sockets, watch):
    """The way back: the kernel's route to the client, or to those whose handshakes hang."""
    seen = about(watch, "tcp").get(str(wish["port"]), {})
    hanging = [peer for peer, resent in seen.get("half_open", {}).items() if resent]
    rows = yield [ask(client, *route_sources(client, None))
                  for client in [wish["client"]] * bool(wish["client"]) or hanging[:3]]
    yield [ask(row.subject + " from", *route_sources(row.subject, row.value["src"]))
           for row in saying(rows, "error", None) if row.value["src"]]


stepwise(probe_back, "port")
asks("hops", "Layer-2 state of the next hops of the way back, as it is: nobody is asked.",
     lambda wish, back: hop_questions(back), "port")


def probe_logs(wish, sockets, owners, units):
    """The last lines of the logs that belong to the port's program, or to its stopped unit."""
    programs = programs_of(heard_on(wish, sockets), owners)
    names = {row["name"] for row in programs} or set(usual_programs(wish))
    dead = [row["unit"] for row in stopped_units(wish, units)]
    if not wish["asked"] or not wish["port"]:
        return
    for unit in unique([row["unit"] for row in programs if row["unit"]] + dead)[:3]:
        lately = [] if unit in dead else ["--since", "-15min"]
        yield ask(unit, tool(log_reader(unit), *JOURNAL + [unit] + lately))
    for name in sorted(names):
        for path in LOG_FILES.get(name, "").split():
            yield ask(path, native("tail", path, parse=log_reader(name)))


probe(probe_logs, "port")
JOURNAL = "journalctl --no-pager -o short-iso -n 200 -u".split()
LOG_FILES = {
    "sshd": "/var/log/auth.log /var/log/secure", "nginx": "/var/log/nginx/error.log",
    "apache2": "/var/log/apache2/error.log", "httpd": "/var/log/httpd/error_log",
    "mysqld": "/var/log/mysql/error.log", "mariadbd": "/var/log/mysql/error.log",
    "dovecot": "/var/log/mail.log", "master": "/var/log/mail.log",
    "haproxy": "/var/log/haproxy.log"}
# Who usually serves a protocol: the nearest thing where nobody listens.
SERVERS = {name: words.split() for names, words in (
    ("http https", "nginx apache2 httpd caddy haproxy envoy lighttpd"), ("ssh sftp", "sshd ssh"),
    ("smtp smtps submission", "master postfix exim4 sendmail"),
    ("mysql", "mysqld mariadbd mariadb"), ("imap imaps pop3 pop3s", "dovecot"),
    ("dns", "named bind9 unbound dnsmasq"),
    ("postgresql", "postgres postgresql"), ("redis", "redis-server redis"), ("ldap ldaps", "slapd"))
    for name in names.split()}


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
# First words of a UDP protocol: something that a healthy server answers.
UDP_QUESTIONS = {
    "dns": build_dns_query("", "NS", 0x6e64),
    "ntp": b"\x1b" + b"\0" * 47,                        # version 3, client (RFC 5905)
    "snmp": bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b"
                          "060102010101000500")}       # get sysDescr.0, community public


# -- captures: asked when all else has ended ------------------------------------------------------

asks("waiting", "Waiting for the packets of others.", lambda wish: wish["watched_s"] and [
     ask("self", native("wait", wish["watched_s"]))], scope="capture")
asks("capture", "The packets of the port: recorded here, or read from a file.",
     lambda wish, interfaces=(): [
         ask("file", native("capture_file", wish["file"])) if wish["file"] else
         ask("live", native("recorded", own_addresses(interfaces) if interfaces else None))],
     scope="closing")
asks("dropped", "What the kernel counted as dropped while packets were recorded.",
     lambda wish, counters=(): not wish["host"] and not wish["file"] and moved_counters(
         counters, TELLING), scope="closing")


def probe_returning(wish, capture):
    """The way back to clients whose SYNs came and were not answered, and its next hop."""
    mute = {flow["client"]: flow["server"] for row in saying(capture, "via", "AF_PACKET", "tcpdump")
            for flow in row.value["flows"] if flow["state"] == "silent"
            and flow["seen_at"] == "server" and flow["protocol"] == "tcp"}
    rows = yield [ask(client, *route_sources(client, mute[client])) for client in list(mute)[:3]]
    yield list(hop_questions(rows))


stepwise(probe_returning, "closing")


# -- what the probes have in common ----------------------------------------------------------------

def moved_counters(counters, telling):
    """The counters whose names match, asked again: what each has grown by."""
    for path, parse, absent in COUNTER_FILES:
        before = about(counters, path)
        if before:
            yield ask(path, then(text_file(parse, path, absent), lambda now, before=before: {
                name: count - before.get(name, 0) for name, count in now.items()
                if re.search(telling, name) and count != before.get(name, 0)}))


def diag(proto, number, *states):
    """Ask the kernel for its sockets in these states, of both families, by SOCK_DIAG."""
    asked = [build_sock_diag(version, number, states) for version in (4, 6)]
    return Source("netlink", (asked, SOCK_DIAG), with_names(
        lambda messages: parse_sock_diag(messages, proto)))


def ruleset(parse, *argv):
    """Ask a command for the rules of a firewall; without the right to read them it is unknown."""
    return then(tool(parse, *argv), lambda facts: mine(
        facts["bases"] is not None and facts, "not permitted: " + str(facts["error"])))


def rules_read(rules):
    """The rulesets that were read, not counting those that do not exist."""
    return [row.value for row in succeeded(rules) if "tables" in row.value]


def log_reader(name):
    """The parser for the log of a program or unit; sshd's may hold no word of it.  Users stand in
    the lines only: as keys they would be words of this program, which are never masked."""
    def read(text):
        facts = parse_sshd_log(text) if re.search(SSHD_SAYS, text) else {"lines": []}
        return {key: facts[key] for key in facts if key != "invalid_users"}
    return read if re.match(r"sshd?\b", name) else parse_log


def no_systemd(marks):
    """No unit, where systemd does not run this host."""
    mine(not marks, "systemd runs here and was not asked")
    return []


def listeners(sockets, transport=None, port=None):
    """The sockets that wait for somebody; without a port all of them."""
    places = {"tcp": ["listeners"], "udp": ["udp"]}.get(transport, ["listeners", "udp"])
    return [row for answer in succeeded(sockets) for place in places
            for row in answer.value[place] if port in (None, row["port"])]


def heard_on(wish, sockets):
    """The sockets that wait on the port that was asked about."""
    port = wish["port"] if wish["mode"] == "server" else None
    return listeners(sockets, wish["transport"], port) if port else []


def is_deserted(wish, sockets):
    """Was this port asked about, and nobody waits there?"""
    return wish["port"] and wish["asked"] and about(sockets, wish["transport"]) and not heard_on(
        wish, sockets)


def usual_programs(wish):
    """Names of programs and units that usually serve the port's protocol."""
    return SERVERS.get(wish["protocol"], [])


def stopped_units(wish, units):
    """Units that have failed, and those that usually serve the port and do not run."""
    return [row for row in rows_in(units) if row["state"] == "failed" or row["state"] == "inactive"
            and row["unit"].partition(".")[0].partition("@")[0] in usual_programs(wish)]


def programs_of(rows, owners):
    """The programs that hold these sockets, as far as this user may see: rows of `process`."""
    known = about(owners, "self") or {"inodes": {}, "processes": {}}
    pids = unique(str(known["inodes"].get(str(row.get("inode")))) for row in rows)
    return [dict(known["processes"][pid], pid=int(pid)) for pid in pids
            if pid in known["processes"]] or [
                dict(dict.fromkeys("user unit container state limit".split()), descriptors=0,
                     name=row["process"], pid=row["pid"], wrapped=False)
                for row in rows if row.get("process")][:1]


def own_ends(wish, sockets, interfaces):
    """Addresses of this host itself at which a port should answer: bound ones, else loopback;
    where nobody listens its own one, of which a rule may send on what comes (containers)."""
    rows = [row for row in heard_on(wish, sockets) if row.get("dev") in (None, "lo")]
    bound = [row["addr"] for row in rows if row["addr"] not in ANYWHERE]
    versions = {version for row in rows if row["addr"] in ANYWHERE for version in versions_of(row)}
    far = far_reaching(*usable_links(interfaces))
    if is_deserted(wish, sockets):
        return far[:1]
    return unique([a for a in ("127.0.0.1", "::1") if is_address(a) in versions][:1]
                  + [a for a in far if is_address(a) in versions][:1]
                  + [a for a in bound if is_address(a) and "%" not in a])


ANYWHERE = ("0.0.0.0", "::", "*")


def versions_of(row):
    """The IP versions whose clients a listening socket serves: `::` serves both, usually."""
    if row["addr"] == "*" or row["addr"] == "::" and not row.get("only_v6"):
        return {4, 6}
    return {is_address(row["addr"])}


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
                "query_tcp" if "use_vc" in conf["options"] else "query", server, name, qtype,
                parse=parse_dns_exchange), then(dig, dig_reply))


def dig_reply(facts):
    """What dig printed, in the shape of `parse_dns_exchange`."""
    rows = facts["answers"]
    return dict(facts, rcode=mine(facts["status"], "dig got no answer"), over="dig", strays=0,
                addresses=[r["data"] for r in rows if r["type"] in ("A", "AAAA")])


def rows_in(answers, key=None):
    """The rows in the values of these answers, or below a key of each, one behind the other."""
    return [row for a in succeeded(answers) for row in (a.value[key] if key else a.value)]


def resolvers(resolv_conf):
    """The resolvers that are asked directly: at most three, as glibc does, and a stub's own."""
    conf, upstream = (list(filter(is_address, about(resolv_conf, name).get("nameservers", ())))
                      for name in ("resolv.conf", "upstream"))
    return unique(conf[:3] + upstream[:2])


def dns_addresses(dns):
    """All addresses in the resolvers' direct answers, without repeats."""
    return unique(rows_in(dns, "addresses"))


def hosts_rows(hosts_file, name):
    """Addresses that the hosts file gives for `name`."""
    return [row["address"] for part in hosts_file for row in part.value or ()
            if (name or "").lower() in map(str.lower, row["names"])]


def addresses(wish, lookup, dns=()):
    """The addresses to try: the literal, else the system's answer, else the resolvers' own."""
    found = rows_in(lookup)
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


def bound_link(wish, interfaces):
    """The interface that --interface names, or None."""
    return wish["interface"] and interface_named(interfaces, wish["interface"])


def binding(wish, source, interface):
    """The words that tell a command of --source and --interface, by its own two options."""
    told = (source, wish["source"]), (interface, wish["interface"])
    return [word for option, value in told if value for word in (option, value)]


def route_sources(address, source, link=None):
    """The ways to ask for one route decision (a source of the other family does not count)."""
    source = source if source and is_address(source) == is_address(address) else None

    def decision(messages):                       # an answer to a question is marked as cloned
        routes = parse_netlink_routes(messages, cloned=True)["routes"]
        return {"routes": mine(routes, "no route in the answer")[:1]}

    def with_source(value):
        row = route_answer(value["routes"][0]) if "routes" in value else value
        return dict(row, src=row["src"] or source)
    words = ["ip", "route", "get", address] + (["from", source] if source else []) + (
        ["oif", link["name"]] if link else [])
    query = build_route_query(address, source, link and link.get("index"))
    asked = kernel(decision, (RTM_GETROUTE, query, False))
    return [then(way, with_source) for way in (tool(parse_route_answer, *words), asked)]


def next_hops(egress):
    """(next hop, interface) of each route that leaves by a link."""
    ways = [(row.value["via"] or host_of(row), row.value["dev"])
            for row in saying(egress, "type", "unicast") if not row.value["error"]]
    return unique((hop, dev) for hop, dev in ways if dev not in (None, "lo"))


def other_sources(address, egress, interfaces):
    """Addresses of the interface that leads to `address`, other than the one that speaks to it."""
    way = about(egress, address)
    link = interface_named(interfaces, way.get("dev")) or {"name": "lo"}
    return [a for a in far_reaching(link) if is_address(a) == is_address(address)
            and a != way.get("src")]


def default_hops(routes):
    """(gateway, interface) of the default routes of this host."""
    return unique((r["via"], r["dev"]) for r in rows_in(routes, "routes")
                  if r["dst"] == "default" and r["via"] and r["dev"])[:MAX_ADDRESSES]


def hop_questions(ways):
    """Ask what state the next hops of these ways have; {"state": None}: nobody has used them."""
    for hop, dev in next_hops({host_of(row): row for row in succeeded(ways)}.values()):
        yield ask("%s %s" % (hop, dev), *[then(way, lambda table, hop=hop, dev=dev: dict(
            first_of(row for row in table["entries"] if row["ip"] == hop) or {
                "ip": hop, "state": None, "mac": None}, dev=dev)) for way in neighbor_tables(hop)])


def neighbor_tables(*hop):
    """The ways to ask for the neighbor table (the command can be asked for one hop only)."""
    return [tool(parse_ip_neigh, "ip", "neigh", "show", *hop),
            kernel(parse_netlink_neighbors, dump(RTM_GETNEIGH, 12)),
            text_file(parse_proc_arp, "/proc/net/arp"), tool(parse_arp, "arp", "-an")]


def neighbor_sources(hop, dev, asked):
    """The ways to ask for the state of one neighbor; a doubtful one is provoked and awaited."""
    doubtful = not met(asked, "ok", "refused") and not any(said(row, "icmp") for row in asked)
    wait_s = STALE_NEIGHBOR_S - PATIENCE_S if doubtful and asked else PATIENCE_S
    poke, tables = [poke_source(hop, dev, wait_s)], neighbor_tables(hop)
    return [then(way, row_of(hop, dev)) for way in (poke + tables if doubtful else tables + poke)]


def unused_sources(hop, dev):
    """The same for one that nothing used: provoked where no table knows anything good of it."""
    return [then(way, row_of(hop, dev, DEAD)) for way in neighbor_tables(hop)] + [
        then(poke_source(hop, dev, PATIENCE_S), row_of(hop, dev))]


def poke_source(hop, dev, wait_s):
    """Make the kernel ask for a neighbor's MAC, as a neighbor table of one row."""
    return native("poke", [hop], dev, wait_s, parse=lambda states: {"entries": [
        dict(ip=hop, state=state, mac=None) for state in states.values() if state]})


def row_of(hop, dev, stale=()):
    """A reader of a neighbor table: the row of one hop, if its state is none of the `stale`."""
    def read(table):
        rows = [row for row in table["entries"] if row["ip"] == hop and row["state"] not in stale]
        row = mine(rows, "%s is not in the table" % hop)[0]
        return dict(row, dev=row.get("dev") or dev)
    return read


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


def each(verb, rows, *args, **named):
    """Ask a verb of these addresses, or of those that these answers are about."""
    for address in [getattr(row, "subject", row) for row in rows]:
        yield ask(address, native(verb, address, *args, **named))


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


def tunnel_asks(wish, proxy, method="HEAD"):
    """A proxy asked for a tunnel to the target, or for a page of plain HTTP, as all clients do (for
    CONNECT to port 80 many proxies have no leave); nothing without a proxy."""
    if proxy and proxy["host"]:
        socks = proxy["scheme"].startswith("socks")
        page = wish["protocol"] == "http" and not wish["upgrade"]
        yield ask("%(host)s:%(port)d" % proxy, native(
            "socks" if socks else "tunnel", proxy, wish["host"], wish["port"],
            *[wish["path"] or "/", method] * page, parse=parse_socks if socks else
            parse_forwarded if page else parse_http_exchange))


def forwarded(wish, tunnel):
    """The pages of plain HTTP that a proxy brought, as answers that came through it."""
    return [row._replace(probe="page", subject="%s via %s" % (wish["host"], row.subject),
                         value=dict(row.value, status=row.value["page"]))
            for row in latest(tunnel) if said(row, "page")]


def tls_steps(wish):
    """What has to be said on a plain port before TLS may begin; () where there is no such way."""
    protocol = GREETS_AS.get(wish["protocol"], wish["protocol"])
    name = dns_ascii(wish["host"] or "").encode("ascii", "replace")
    return tuple((say.replace(b"HOST", name), wanted) for say, wanted in STARTTLS.get(protocol, ())
                 if not wish["tls"])


def alpn_of(wish):
    """What is offered by ALPN, as a browser does: strict servers refuse what they do not speak."""
    return ("h2", "http/1.1") if wish["protocol"] == "https" else ()


def handshakes(wish, rows, verify=True, cafile=None):
    """The handshake that this target stands for, with each of these; by openssl without `ssl`."""
    name = ["-servername", wish["sni"]] if wish["sni"] else ["-noservername"]
    store = cafile or wish["cafile"]
    name += ["-CAfile", store] if store else []
    name += ["-starttls", STARTTLS_WORDS.get(wish["protocol"], wish["protocol"])] if tls_steps(
        wish) else []
    for address in [row.subject for row in rows]:
        command = ["openssl", "s_client", "-showcerts", "-connect", endpoint(
            address, wish["port"])] + name
        other = [then(tool(parse_openssl_s_client, *command), openssl_handshake)]
        mute = wish["protocol"] == "tls"            # nothing will be said on any connection
        yield ask(address, native(
            "tls", address, wish["port"], wish["sni"], verify, tls_steps(wish), alpn_of(wish),
            cafile, linger=mute, patience=wish["greeting_s"], parse=parse_handshake),
            *other * (not wish["bound"]))                                          # no --source


NO_TUNNEL = (400, 403, 405, 501)      # squid's own rules allow CONNECT to port 443 only
STARTTLS_WORDS = {"submission": "smtp", "postgresql": "postgres"}    # s_client(1), -starttls


def known_keys(known_hosts, wish):
    """The rows of known_hosts files that are about this target."""
    return [row for row in rows_in(known_hosts) if knows_host(row, wish["host"], wish["port"])]


def request_of(wish, method, padding=0):
    """This target's own request; WebSocket begins with a GET and nothing else (RFC 6455 4.1)."""
    return build_http_request(
        "GET" if wish["upgrade"] else method, wish["path"] or "/", wish["host"], wish["port"],
        wish["tls"], padding, upgrade=wish["upgrade"])


def http_questions(wish, rows, method, clamp=None, padding=0, timeout_s=HTTP_WAIT_S):
    """This target's request, asked of each of these; `padding` makes it more than one packet."""
    request = rows and request_of(wish, method, padding)
    return [ask(row.subject + (" clamped" if clamp else ""), native(
        "http", row.subject, wish["port"], wish["tls"], wish["sni"], request, clamp=clamp,
        whole=bool(padding), timeout_s=timeout_s, parse=parse_http_exchange)) for row in rows]


def redirect_of(step):
    """The Location of a redirecting answer, else None."""
    return said(step, "location") if said(step, "status") in (301, 302, 303, 307, 308) else None


def named_proxy(wish, proxy_env):
    """The proxy that the variables name for this protocol (only HTTP uses them), or falsy."""
    known = about(proxy_env, "self")
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
    places = iter(range(len(items)))

    def run():
        for place in places:                      # one step of a range is atomic: threads share it
            items[place] = work(items[place])
    if len(items) < 2:
        run()
        return items
    for thread in filter(None, [beside(run) for _ in items[:at_once]]):
        thread.join()
    return items


def gather(items, known, system, options, until, progress=None):
    """Run probes side by side, in the order of their needs -> ({name: answers}, in time?)."""
    import queue
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
                beside(work, item, needs)
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
    names = {"identity", "clock", "interfaces", "resolv_conf", "lookup", "capture", *options.only}
    for _ in PROBES:                                    # needs have needs of their own
        names.update(*(PROBES[name].needs for name in names & PROBES.keys()))
    return {name for name in PROBES if options.only and name not in names or name in options.skip}


def probes_of(*scopes):
    """The probes that run in these scopes, in their order."""
    return [item for item in PROBES.values() if item.scope in scopes]


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


# -- looking things up: what answers say -----------------------------------------------------------

def about(answers, subject):
    """The value of the one answer about `subject`; {} where there is none."""
    return first_of(a.value for a in answers if a.subject == subject and a.outcome == "ok") or {}


def succeeded(answers):
    """The answers that say `ok`."""
    return [a for a in answers if a.outcome == "ok" and a.value is not None]


def latest(answers):
    """The last answer for each subject (a probe in steps may ask one subject twice)."""
    return list({a.subject: a for a in answers}.values())


def rows_about(answers, subject):
    """All answers about one subject, or about one part of it ('192.0.2.1 80')."""
    return [a for a in answers if subject in (a.subject, host_of(a))]


def host_of(row):
    """The address that the subject of an answer begins with: the host or resolver asked."""
    return row.subject.partition(" ")[0]


def met(answers, *outcomes):
    """The answers with one of these outcomes."""
    return [a for a in answers if a.outcome in outcomes]


def said(row, *keys):
    """What an answer says of a key, or of a key in that; None where it says nothing."""
    value = row.value
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def saying(answers, key, *values):
    """The answers that say one of these values of `key`."""
    return [a for a in answers if said(a, key) in values]


def is_next_door(egress, address):
    """True when the route to `address` has no gateway."""
    return not (about(egress, address) or {"via": address})["via"]


def is_unheeded(row):
    """Was what we said sent again and again, without an ACK of the peer's kernel, or never sent?"""
    held = said(row, "info", "unsent") and not said(row, "info", "unacked")       # (tcp_info)
    return row.value["ended"] in ("silent", "stalled") and bool(held or said(
        row, "info", "unacked") and (said(row, "info", "total_retrans") or 0) > 1)


# -- looking things up: the path and its places ----------------------------------------------------

def hops_to(traces, address):
    """The hops of every trace to `address`, one trace after the other."""
    return [hop for r in rows_about(traces, address) for hop in (r.value or {}).get("hops") or ()]


def hop_table(traces, address):
    """{ttl: address} of the routers on the way, from every trace to `address`."""
    return {hop["ttl"]: hop_address(hop)
            for hop in reversed(hops_to(traces, address))                # the first trace wins
            if hop.get("kind", "hop") == "hop" and hop_address(hop) not in (None, "", address)}


def circle_of(traces):
    """(router, another behind it) where a trace meets the first once more; () on straight ways."""
    for trace in succeeded(traces):
        met_before = []
        for router in filter(None, map(hop_address, trace.value["hops"])):
            if router in met_before[:-1]:
                return router, met_before[met_before.index(router) + 1]
            met_before += [router] * (met_before[-1:] != [router])
    return ()


def hop_address(hop):
    """The router of one hop, in the shape of a trace or of a traceroute command."""
    return hop.get("address") or hop.get("addr") or first_of(hop.get("addrs") or ())


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
    return about(interfaces, "all").get("interfaces", [])


LOOPBACKS = ("127.0.0.1", "::1", "0.0.0.0", "::")      # the last two connect to this host as well


def own_addresses(interfaces):
    """This host's own addresses."""
    return {a for row in all_links(interfaces) for a in link_addresses(row)}.union(LOOPBACKS)


def link_addresses(link):
    """The addresses of one interface."""
    return [cidr.partition("/")[0] for cidr in link["inet"] + link["inet6"]]


def interface_named(interfaces, name):
    """The row of one interface, or None."""
    return first_of(row for row in all_links(interfaces) if row["name"] == name)


VIRTUAL_LINKS = re.compile(r"lo$|docker|br-|virbr|veth|cni|flannel|cali|lxc|lxd|podman|dummy|sit\d|"
                           r"tunl|gre|erspan|ip6|ifb|teql|nlmon|vxlan|kube|cilium")
NARROW = re.compile(r"(?i)169\.254\.|fe[89ab]")       # link-local: good on one segment only


def real_links(interfaces):
    """Interfaces that can lead out: no loopback, no container or tunnel leftovers; the end of a
    veth pair only where there is nothing else (a container, a namespace)."""
    links = [link for link in all_links(interfaces) if not link.get("loopback")]
    return [link for link in links if not VIRTUAL_LINKS.match(link["name"])] or [
        link for link in links if link["name"].startswith("veth")]


def is_up(link):
    """Is an interface on, and not without carrier?"""
    return link["up"] and link.get("carrier") is not False


def usable_links(interfaces):
    """Real interfaces that are up, have carrier and an address that leads beyond the link."""
    return [link for link in real_links(interfaces) if is_up(link) and far_reaching(link)]


def far_reaching(*links):
    """The addresses of interfaces that lead beyond their links (not 169.254/16 and fe80::/10)."""
    return [a for link in links if not link.get("loopback") and link["name"] != "lo"
            for a in link_addresses(link) if not NARROW.match(a)]


def found_addresses(table):
    """The addresses that were tried, else those that the look-up gave."""
    return unique([r.subject for r in table["tcp"] + table["udp"]]
                  or rows_in(table["report"][:1], "goals") or rows_in(table["lookup"]))


def path_of(answers):
    """The hops of the first traced address: [{ttl, address, rtt_ms, place}], silent ones too."""
    done = by_probe(answers)
    traces = [r for r in done["trace_tcp"] + done["trace_udp"] + done["trace_icmp"] if r.value]
    address = traces[0].subject if traces else None
    far, routers = distance(traces, address), hop_table(traces, address)
    mss, times = {}, {}
    for hop in reversed(hops_to(traces, address)):
        mss[hop["ttl"]] = mss.get(hop["ttl"]) or hop.get("mss")
        times[hop["ttl"], hop_address(hop)] = hop.get("ms") or first_of(hop.get("rtts_ms") or ())
    beyond = 1 + max(routers, default=0)
    ends = [said(row, "end") or {} for row in rows_about(traces, address)]
    tellers = [hop_address(hop) for hop in hops_to(traces, address) + ends
               if hop.get("kind") == "icmp" and hop["ttl"] == beyond and hop_address(hop) not in
               own_addresses(done["interfaces"]).union(routers.values(), [None, "", address])]
    if far:
        routers[far] = address
    elif tellers:                           # a router that says no, and not that the TTL ran out
        routers[beyond] = tellers[0]
    places = {}                             # in a loop a router comes again, and stays where it is
    for ttl in sorted(routers):
        places.setdefault(routers[ttl], place_of(ttl, far)[0])
    return [{"ttl": ttl, "address": routers.get(ttl), "rtt_ms": times.get((ttl, routers.get(ttl))),
             "place": places.get(routers.get(ttl), place_of(ttl, far)[0]), "mss": mss.get(ttl)}
            for ttl in range(1, 1 + (far or max(routers, default=0)))]


def timings_of(answers):
    """Milliseconds of each phase; None where there was none."""
    table = by_probe(answers)

    def first(name, key):
        return first_of(row.value[key] for row in succeeded(table[name])
                        if said(row, key) is not None)
    return {"dns": first_of(r.ms for r in table["lookup"] if r.outcome != "unknown"),
            "tcp": first("tcp", "ms"), "tls": first("tls", "ms") or first("http", "tls_ms"),
            "first_byte": first("http", "first_byte_ms")}


# -- reports of others: two ends, two times --------------------------------------------------------

def read_files(paths, system):
    """Report files -> (answers `report`, one for each target in them; {path: why not})."""
    rows, useless, end = [], {}, system.monotonic() + READ_FILES_S
    for path in paths:
        if system.monotonic() > end:
            useless[path] = "not read, it took too long"
            continue
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
    ends, clients = {}, {}
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
    return value["protocol"] in PROTOCOLS and PROTOCOLS[value["protocol"]].transport == "udp"


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


def ends_of(report):
    """The client's report beside each of the server's: who they are, how far apart in time, and
    whether the server looked when a SYN of the client would have been seen."""
    for first, row in [(first, row) for first in saying(report, "role", "client")
                       for row in saying(report, "role", "server")]:
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
# name, P a proxy, C this host; port/80 is a port of this host as a server, on which
# listener/ADDRESS waits; flow/A is a flow of a capture).  A finding about one address has it as
# `scope`.

Rule = collections.namedtuple(
    "Rule", "name codes function sees each where severity hides says fix ask sure layer")
RULES = {}
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
ABOVE_TCP: TLS tls.unacceptable tls.handshake_cut tls.handshake_stalled WEB
SERVICE: ABOVE_TCP service.silent service.unexpected service.error
THROUGH: PORT_ONLY PATH SERVICE
CLOSED: DNS tcp.filtered tcp.rejected path.dead_end path.net_unreachable
BEYOND: THROUGH proxy.unreachable
AWAY: BEYOND DNS dns.inconsistent""".splitlines())

ALIVE = ("REACHABLE", "ANSWERED", "complete")       # what a neighbor that answers looks like,
DEAD = ("FAILED", "INCOMPLETE", "incomplete")       # one that does not,
BELIEVED = ("CACHED", "DELAY", "PROBE")             # and one that was not asked lately


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
        mine(function.__name__ not in RULES, "two signs of one code need two views")
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
    fix: {cure}
    fires: iface/eth0 up=false ; route/A ok error=ENETUNREACH
    fires: iface/eth0 loopback=true up=false ; tcp/127.0.0.1 timeout
    quiet: iface/eth0 ; route/A ok error=ENETUNREACH""")
def rule_link_down(wish, interfaces, interfaces_now, failing, tcp, own):
    """The interface that should carry it is down (`ip link set`) or without carrier (cable)."""
    proof = succeeded(interfaces_now) or interfaces
    down = [link for link in real_links(proof) if not is_up(link)]
    only = [] if usable_links(proof) else down         # nothing else leads out
    for row in [r for r in tcp if r.outcome != "ok" and r.subject in own]:
        for link in [lo for lo in all_links(proof) if lo.get("loopback") and not lo["up"]]:
            yield blame(row, proof, **down_words(link))
    for row in failing if wish["host"] else proof:
        found = [d for d in all_links(proof) if d["name"] == said(row, "dev") and not (
            is_up(d) or is_local_bridge(d))]                  # the ends of veth pairs as well
        if not wish["host"] or said(row, "error"):
            found = wish["host"] and [d for d in down if d["inet"] or d["inet6"]] or only
        for link in found[:1]:
            yield blame(row, proof, **down_words(link))


def down_words(link):
    """Why nothing leaves by an interface, and what helps: it is down, or up and without a cable."""
    return dict(dev=link["name"], **dict(
        state="without carrier (no cable or peer)", cure="Check cable and switch port of %s; in a"
        " virtual machine or container, its virtual network card and the other end of that."
        % link["name"]) if link["up"] else dict(
            state="switched off (down)", cure="Run `ip link set %s up`." % link["name"]))


@rule("""address.missing  where: client
    hides: AWAY route.missing route.overlap gateway.silent host.exhausted
    says: {dev} is up but has no usable IPv{version} address, so {address} cannot be reached.
    fix: Give {dev} an address: check the DHCP lease or the static configuration.
    fires: iface/eth0 loopback=true ; route/127.0.0.1 ok ; tcp/127.0.0.1 timeout
    quiet: iface/eth0 loopback=true ; route/127.0.0.1 ok type=local ; tcp/127.0.0.1 timeout
    fires: iface/eth0 inet=["169.254.7.7/16"] ; route/A ok error=ENETUNREACH
    quiet: iface/eth0 ; route/A ok error=ENETUNREACH
    fires: iface/eth0 ; route/A ok src=169.254.7.7 ; tcp/A timeout
    quiet: iface/eth0 ; route/A ok src=169.254.7.7 ; tcp/A ok
    quiet: iface/eth0 ; route/:: ok src=fe80::7 ; tcp/:: refused
    quiet: iface/eth0 ; route/ff02::1 ok type=multicast src=fe80::7 ; tcp/ff02::1 unreachable""")
def rule_address_missing(wish, interfaces, failing, tcp, goals, route):
    """None of the needed family (169.254/16 and fe80::/10 do not count), or none that is used."""
    links = [link["name"] for link in real_links(interfaces) if is_up(link)]
    own = far_reaching(*all_links(interfaces))
    if links and wish["mode"] != "target" and not own:
        yield dict(dev=links[0], version="4 or 6", address="anything", proof=interfaces)
    for row in [r for r in saying(route, "type", "unicast") if is_loopback(r.subject)
                and met(rows_about(tcp, r.subject), "timeout", "unreachable")]:
        for lo in [link for link in all_links(interfaces) if link.get("loopback")][:1]:
            yield blame(row, interfaces, dev=lo["name"], version=is_address(row.subject))
    for row in failing if links else ():
        version = is_address(row.subject)
        no_port = saying(rows_about(tcp, row.subject), "errno", "EADDRNOTAVAIL")
        narrow = NARROW.match(said(row, "src") or "") and not NARROW.match(row.subject) \
            and row.subject not in ANYWHERE and said(row, "type") not in TO_MANY
        if narrow or (row.value["error"] or no_port) and version not in map(is_address, own):
            yield blame(row, interfaces, dev=narrow and said(row, "dev") or links[0],
                        version=version, confidence="likely" if narrow else "certain",
                        severity="info" if version == 6 and 4 in map(is_address, goals) else "fail")


@rule("""address.missing  where: client  severity: warn  hides: AWAY route.missing
    says: Another host on the segment of {dev} already uses {twin} (duplicate address detection), so
      this host may not.   fix: Give {dev} another address, or find the other host.
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
    fix: Add the missing or the default route: see `ip route`; is the VPN up?
    fires: route/A ok error=ENETUNREACH   quiet: route/A ok""")
def rule_route_missing(wish, failing, tcp, routes, policy):
    """The kernel finds no route: ENETUNREACH at once, and no packet is sent."""
    table = rows_in(routes, "routes")
    if routes and wish["mode"] == "host" and not any(
            re.match("default$|.*/[1-4]$", r["dst"]) and r.get("type") in (None, "unicast")
            for r in table):                              # 0/1 and 128/1 of VPNs, 2000::/3
        yield dict(address="anything beyond its own segments: no default route", proof=routes)
    for row in saying(failing, "error", "ENETUNREACH", "ENETDOWN", "ESRCH"):
        yield blame(row, rows_about(tcp, row.subject),       # (a rule may say so as well)
                    confidence="certain" if table and policy else "likely")


@rule("""route.missing  where: client  each: ways  sure: likely
    hides: neighbor.silent gateway.silent segment.isolated AWAY
    says: No route of {dev} leads to {address}: by --interface {dev} the kernel takes it for a
      neighbor there, and nobody answers.
    fix: Add one (`ip route add {address} via GATEWAY dev {dev}`), or leave out --interface.
    ask: Which gateway on {dev} leads there?
    given: iface/eth0 inet=["198.18.0.9/24"] ; egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED ;
      tcp/A unreachable icmp=3/1@198.51.100.9 ms=3080
    fires: target/A ok interface=eth0 ; routes/ipv4 ok routes=[{"dst":"default","dev":"eth1",
      "via":"G"}]   quiet: routes/ipv4 ok routes=[{"dst":"default","dev":"eth1","via":"G"}]
    quiet: target/A ok interface=eth0 ; routes/ipv4 ok routes=[{"dst":"default","dev":"eth0",
      "via":null}]""")
def rule_route_missing_bound(row, wish, interfaces, routes, tcp):
    """Bound to an interface without a route, the kernel asks there for the target itself."""
    dev, goal, talks = row.value["dev"], row.subject, rows_about(tcp, row.subject)
    link = interface_named(interfaces, dev) or {"inet": [], "inet6": []}
    table = [r for r in rows_in(routes, "routes") if r["dev"] == dev]
    led = [r for r in table if r["dst"] == "default" or in_network(goal, r["dst"])] + [
        c for c in link["inet"] + link["inet6"] if in_network(goal, c)]
    return wish["interface"] == dev and not row.value["via"] and not led and talks and not met(
        talks, "ok", "refused") and dict(dev=dev, proof=talks)


@rule("""address.missing  where: client client_network  each: other_source  sure: likely
    hides: AWAY gateway.silent segment.isolated neighbor.silent
    says: {address} answers when this host speaks as {other}, and not as {source}, the source that
      its routes choose: nothing at all comes back to {source}.
    fix: Correct the source that this host uses: `src` of the route (`ip route get {address}` shows
      it), or the address {source} itself.
    given: egress/A ok via=G src=198.51.100.9 ; tcp/A timeout
    fires: other_source/A ok   fires: other_source/A refused   quiet: other_source/A timeout
    quiet: other_source/A ok ; trace_udp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]""")
def rule_address_source(row, ways, traces, present):
    """Nothing comes back to the address that the kernel chose, and it does to its neighbor's."""
    sources = [way.value["src"] for way in rows_about(ways, row.subject)]
    return row.outcome in ("ok", "refused") and row.subject not in present and not last_hop(
        traces, row.subject) and sources and dict(source=sources[0])


@rule("""route.overlap  where: client  each: ways  sure: likely
    hides: BEYOND neighbor.silent gateway.silent segment.isolated
    says: {address} falls into a local range, {net} on {dev}, and nobody answers for it there.
    fix: Change the range or mask of {dev}: `ip route get {address}` shows what it covers.
    fires: iface/br-1 inet=["192.0.2.9/16"] ; egress/A ok dev=br-1 ; neighbor/A,br-1 ok state=FAILED
    fires: iface/eth0 inet=["198.18.0.9/24"] ; egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED ;
      routes/ipv4 ok routes=[{"dst":"default","dev":"eth0","via":null}]
    quiet: iface/eth0 ; egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED
    quiet: iface/tun0 inet=["198.18.0.9/24"] ; egress/A ok dev=tun0 ; tcp/A timeout ;
      routes/ipv4 ok routes=[{"dst":"0.0.0.0/1","dev":"tun0","via":null}]""")
def rule_route_overlap(row, interfaces, neighbor, tcp, trace_udp, routes):
    """A bridge, container or VPN range, too wide a mask or a bare route catches a far address."""
    dev, goal, talks = row.value["dev"], row.subject, rows_about(tcp, row.subject)
    link = interface_named(interfaces, dev) or {"name": dev, "inet": [], "inet6": []}
    bridge = is_local_bridge(link)
    nets = [c for c in link["inet"] + link["inet6"] if in_network(goal, c)]
    wide = [c for c in nets if ":" not in c and int(c.partition("/")[2] or 32) <= WIDE_PREFIX_V4]
    bare = not nets and [r for r in rows_in(routes, "routes")
                         if (r["dev"], r["via"]) == (dev, None) and r["dst"] in WORLD]
    dead = [r for r in saying(neighbor, "state", *DEAD) if r.value["ip"] == goal]
    mute = met(talks, "timeout") if bridge and not bare and not hop_table(trace_udp, goal) else []
    if row.value["via"] or met(talks, "ok") or not (mute or dead and (wide or bridge or bare)):
        return None
    net = "a default route without a gateway" if bare else (nets or ["a route of its own"])[0]
    return dict(net=net, dev=dev, proof=dead + mute,
                confidence="likely" if dead and (bridge or bare) else "possible")


sign("""route.blocked  where: client  each: failing  hides: AWAY
    means: A blackhole, unreachable or prohibit route: EINVAL, EHOSTUNREACH or EACCES at once.
    says: This host's own routing refuses {address}: a route or rule of type {kind}.
    fix: Remove that {kind} route or rule: `ip route show table all | grep {kind}` and `ip rule`
      show it.
    fires: route/A ok error=EINVAL   quiet: route/A ok error=ENETUNREACH
    fires: route/A ok ; tcp/A unreachable immediate=true errno=EHOSTUNREACH
    fires: route/A ok error=ENETUNREACH ; routes/ipv4 ok routes=[{"dst":"default","dev":"eth0",
      "via":"G"}] ; policy/ipv4 ok rules=[{"action":"unreachable","to":null}]""",
    lambda row, tcp: row.value["error"] in BLOCKING_ROUTES and said(row, "type") not in TO_MANY
    and dict(kind=BLOCKING_ROUTES[row.value["error"]], proof=rows_about(tcp, row.subject)))


@rule("""route.blocked  where: client  each: failing  hides: AWAY
    says: {address} is a {kind} address: no single host has it, and TCP cannot connect to it.
    fix: Give the address of one host; if {address} is one, the mask of {dev} is wrong.
    fires: route/A ok type=broadcast ; tcp/A unreachable immediate=true errno=ENETUNREACH
    quiet: route/A ok ; tcp/A unreachable immediate=true errno=ENETUNREACH""")
def rule_route_to_many(row, tcp):
    """The kernel refuses TCP to broadcast and multicast addresses at once (ENETUNREACH)."""
    return said(row, "type") in TO_MANY and saying(tcp, "immediate", True) and dict(
        kind=row.value["type"], proof=rows_about(tcp, row.subject))


sign("""host.exhausted  where: client  each: knock  hides: AWAY
    means: The kernel refuses a new socket or port: EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS.
    says: This host has run out of {what} ({errno}, before any packet was sent).
    fix: {cure}   fires: knock/A denied errno=EMFILE   quiet: knock/A denied errno=EACCES
    fires: iface/eth0 ; knock/A denied errno=EADDRNOTAVAIL
    quiet: iface/eth0 inet=[] ; knock/A denied errno=EADDRNOTAVAIL""",
    lambda row, interfaces: said(row, "errno") in EXHAUSTED and (
        said(row, "errno") != "EADDRNOTAVAIL" or not interfaces or any(
            is_address(row.subject) == is_address(a)          # else it is an address that lacks
            for link in all_links(interfaces) for a in link_addresses(link))) and dict(
                EXHAUSTED[row.value["errno"]], confidence="certain" if interfaces else "likely"))
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
    fires: tcp/A refused ; reset_ttl/A ok by_us=true   quiet: tcp/A refused
    quiet: tcp/A refused ; reset_ttl/A ok by_us=false
    fires: target/- ok host=null mode=host ; general_dns/R,A,N denied error=EPERM
    quiet: tcp/A timeout info={"retrans":1,"total_retrans":3}
    quiet: iface/eth0 ; tcp/A refused icmp=3/3@A""")
def rule_firewall_local(wish, tcp, stopped, udp, dns, general_dns):
    """Refused by our own address, EPERM, or packets that never left (tcpi_retrans stays 0)."""
    forbidden = "sending is not permitted (EPERM)"
    for row in [r for r in tcp if r.subject in stopped]:
        yield blame(row, how=stopped[row.subject])
    for row in saying(udp, "error", "EPERM"):
        yield blame(row, how=forbidden)
    asked = general_dns if wish["mode"] == "host" else dns
    mute = saying(asked, "error", "EPERM")
    if mute and len(mute) == len(asked):
        yield dict(address="the resolver " + host_of(mute[0]), port=53, how=forbidden, proof=mute)


sign("""firewall.local  where: client  each: undelivered  sure: likely  hides: BEYOND
    means: Packets come and are not delivered, with our SYNs and not without: INPUT, rp_filter.
    says: Answers arrive at this host and its own {what} drops them ({lost} packets received and
      not delivered while {address} seemed silent).
    fix: {cure}   given: tcp/A timeout   fires: unheard/A ok idle=0 sent=6 lost=6
    quiet: unheard/A ok idle=4 sent=6 lost=7""",
    lambda row, moved: row.value["lost"] - row.value["idle"] >= row.value["sent"] - 1 and dict(
        INBOUND[any(said(m, "TcpExtIPReversePathFilter") for m in moved)], proof=moved))
sign("""firewall.local  where: client  each: talks  sure: likely  hides: BEYOND
    means: The kernel tries in vain to send: bytes wait, the window is open, nothing is under way.
    says: The connection to {address} port {port} opens, and what is said on it stays on this host
      ({unsent} bytes wait that the peer would take): a rule here drops it.
    fix: Look at the OUTPUT rules here for one about content, size or state (`nft list ruleset`,
      `iptables -S OUTPUT`).
    ask: Which OUTPUT rule drops this?
    fires: http/A ok status=null ended=silent info={"unacked":0,"unsent":120,"window":64256}
    fires: tls/A ok ended=stalled info={"unacked":0,"unsent":517,"window":64256}
    quiet: http/A ok status=null ended=silent info={"unacked":0,"unsent":120,"window":0}
    quiet: http/A ok status=null ended=silent info={"unacked":120,"unsent":0,"window":64256}
    quiet: http/A ok info={"unacked":0,"unsent":120,"window":64256}""",
    lambda row: is_unheeded(row) and said(row, "info", "window") and not said(
        row, "info", "unacked") and dict(unsent=row.value["info"]["unsent"]))


@rule("""address.missing  where: client  each: silent_hops  sure: likely
    hides: AWAY segment.isolated gateway.silent neighbor.silent
    says: {dev} is a port of {master} and has the address itself: what comes in by {dev} is heard by
      {master} only, and so no answer is.
    fix: Move the addresses and routes of {dev} to {master}, or take {dev} out of {master}.
    ask: Move the addresses of {dev} to {master}.
    given: egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED
    fires: iface/eth0 master=br0 ; iface/br0 name=br0 inet=[] inet6=[]
    quiet: iface/eth0 ; iface/br0 name=br0 inet=[] inet6=[]
    quiet: iface/eth0 master=vrf1 ; iface/vrf1 name=vrf1 mtu=65575 inet=[] inet6=[]""")
def rule_address_on_port(row, interfaces):
    """A bridge or a bond takes all that its ports receive (a VRF does not: its MTU is 65575)."""
    link = interface_named(interfaces, row.value["dev"])
    above = link and far_reaching(link) and interface_named(interfaces, link.get("master"))
    return above and (above["mtu"] or 0) <= (link["mtu"] or 0) and not any(
        in_network(row.value["ip"], cidr) for cidr in above["inet"] + above["inet6"]) and dict(
            master=above["name"], proof=interfaces)


sign("""segment.isolated  where: client_network client  each: silent_hops  sure: likely
    hides: gateway.silent neighbor.silent AWAY  means: At layer 2 everybody who was asked fails.
    says: Nobody on the segment of {dev} answers: neither {hop} nor any of {count} others.
    fix: Is the VLAN, subnet or cable wrong? Compare {dev} with a working host; check the switch.
    given: egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED
    fires: segment/G,eth0 ok a=FAILED b=FAILED c=INCOMPLETE d=FAILED
    quiet: segment/G,eth0 ok a=FAILED b=REACHABLE c=INCOMPLETE d=FAILED
    quiet: segment/G,eth0 ok a=FAILED b=FAILED c=FAILED d=FAILED ; neighbors/all ok entries=[{
      "ip":"2001:db8:1::9","dev":"eth0","state":"REACHABLE"}]""",
    lambda row, tcp, segment: row.value["count"] >= 4 and not row.value["answering"]
    and hop_silence(row, segment + tcp))
sign("""gateway.silent  where: client_network client  each: silent_hops  hides: AWAY
    means: Without the gateway nothing leaves the segment.
    says: The gateway {hop} does not answer on {dev} (layer 2: {state}).
    fix: Check the gateway's address in the route, that router, and the VLAN of {dev}; with IPv6
      also whether a firewall here drops ICMPv6.
    ask: Is the router {hop} up? Does it have an interface in this VLAN?
    given: egress/A ok via=G   fires: neighbor/G,eth0 ok state=FAILED
    quiet: neighbor/G,eth0 ok state=REACHABLE""",
    lambda row, tcp, gateways: row.value["ip"] in gateways and hop_silence(
        row, tcp, "certain" if row.value["company"] else "likely"))
sign("""gateway.silent  where: client_network client  each: unused
    means: Without a target the gateways that nothing has used are asked for at layer 2.
    says: The gateway {ip} of a default route does not answer on {dev} (layer 2: {state}).
    fix: Is {ip} the right gateway, and is that router up? What takes this route fails, or waits.
    ask: Is the router {ip} up? Does it have an interface in this VLAN?
    fires: unused/G,eth0 ok ip=G dev=eth0 state=FAILED
    quiet: unused/G,eth0 ok ip=G dev=eth0 state=STALE""",
    lambda row, neighbor, gateways, unused: row.value["state"] in DEAD and dict(
        severity="warn" if [r for r in succeeded(neighbor + unused) if r.value["state"] not in DEAD
                            and (r in unused or r.value["ip"] in gateways)] else "fail"))
sign("""gateway.silent  where: client client_network  each: astray  sure: likely  hides: AWAY
    means: The kernel asked for a MAC in vain, and not for that of the next hop that it named.
    says: The next hop of this connection to {address} does not answer at layer 2, though the usual
      one does: a multipath route, or a rule (`ip rule`: port, mark, user), leads it elsewhere.
    fix: Correct the route or rule to that hop (`ip neigh | grep FAILED` names it).
    given: iface/eth0 ; egress/A ok via=G ; tcp/A unreachable icmp=3/1@198.51.100.9 ms=3080
    fires: neighbor/G,eth0 ok state=REACHABLE   quiet: neighbor/G,eth0 ok state=FAILED""",
    lambda row, neighbor: dict(proof=neighbor))
sign("""neighbor.silent  where: server client_network  each: silent_hops  sure: likely  hides: AWAY
    means: The target should be next door, and nobody answers ARP or neighbor discovery for it.
    says: {hop} is on this host's own segment ({dev}) and does not answer at layer 2 ({state}).
    fix: Is {hop} up and in this VLAN? If it is elsewhere, the mask or a route is wrong.
    fires: egress/A ok ; neighbor/A,eth0 ok ip=A state=FAILED
    quiet: egress/A ok via=G ; neighbor/G,eth0 ok state=FAILED""",
    lambda row, tcp, goals: row.value["ip"] == row.subject in goals
    and row.value["state"] in DEAD and hop_silence(row, tcp))


# -- the name -------------------------------------------------------------------------------------

@rule("""dns.unconfigured  where: client  hides: dns.unreachable dns.failing dns.not_found
    says: No resolver is configured: /etc/resolv.conf {flaw}, so no name can be looked up.
    fix: {cure}
    fires: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf ok nameservers=[]
    fires: target/- ok host=null mode=host ; resolv_conf/resolv.conf ok nameservers=["192.0.2.1:53"]
    fires: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf ok nameservers=["R\\r"]
    fires: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf denied
    quiet: lookup/N refused error=EAI_AGAIN ; resolv_conf/resolv.conf ok
    quiet: lookup/N ok ["192.0.2.7"] ; resolv_conf/resolv.conf ok nameservers=[]""")
def rule_dns_unconfigured(wish, resolv_conf, lookup):
    """resolv.conf is absent, not for this user, or names nobody; glibc then asks 127.0.0.1."""
    conf, failed = about(resolv_conf, "resolv.conf"), [r for r in lookup if r.outcome != "ok"]
    denied = met(rows_about(resolv_conf, "resolv.conf"), "denied")
    windows = [word for word in conf.get("nameservers", ()) if word.endswith("\r")]
    flaw, cure = first_of(words for holds, *words in (
        (denied, "is not for this user to read",
         "Let all users read /etc/resolv.conf: `chmod 644 /etc/resolv.conf`."),
        (windows, "has the line ends of Windows (CR LF), with which no address is one",
         "Give /etc/resolv.conf the line ends of Unix: `sed -i 's/\\r$//' /etc/resolv.conf`."),
        (True, "has no line that begins with `nameserver` and an address", "Name a resolver in"
         " /etc/resolv.conf (`nameserver`); or repair what writes it (DHCP).")) if holds)
    if (conf or denied) and not resolvers(resolv_conf) and (failed or wish["mode"] == "host"):
        yield dict(flaw=flaw, cure=cure, proof=failed + resolv_conf,
                   confidence="certain" if failed or not windows else "likely")     # (musl)


@rule("""dns.unreachable  where: dns transit
    says: No configured resolver answers ({servers}): {how}.
    fix: Is the resolver's address right and port 53 allowed on the way? Try `dig @{server} {name}`.
    ask: Is the resolver {server} up? May this host ask it?
    fires: lookup/N refused ; dns/R,A,N timeout ; neighbor/R,eth0 ok ip=R state=FAILED
    fires: lookup/N refused ; dns/127.0.0.53,A,N refused
    quiet: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok rcode=NXDOMAIN""")
def rule_dns_unreachable(wish, dns, general_dns, lookup, own, gateways, neighbor):
    """Silence or ICMP from every resolver; the system's look-up failed as well."""
    rows = dns or (general_dns if wish["mode"] == "host" else [])
    if not rows or met(rows, "ok") or succeeded(lookup):
        return
    servers = unique(map(host_of, rows))
    errors = [(host_of(r), e) for r in rows for e in said(r, "icmp") or () if e["from"] not in own]
    here = is_loopback(servers[0]) or servers[0] in own.union(ANYWHERE)
    closed, over_tcp = met(rows, "refused"), bool(saying(rows, "over", "tcp"))
    server, sender = (errors[0][0], errors[0][1]["from"]) if errors else (None, None)
    how, places = first_of(words for holds, *words in (
        (here and closed, "nothing listens on port 53 there, which is this host (is its stub"
         " running?)", "client dns"),
        (servers[0] in [r.value["ip"] for r in saying(neighbor, "state", *DEAD)],
         "it should be on the own segment, and is not there", "dns client"),
        (errors, errors and "%s says %s" % (sender, icmp_words(sender, errors[0][1])),
         "dns" if sender == server else "client_network dns" if sender in gateways else
         "transit dns"),
        (closed, "its port is closed", "dns"),
        (True, "silence" + " over TCP, which `options use-vc` in resolv.conf wants" * over_tcp,
         "dns transit server_network")) if holds)
    yield dict(servers=", ".join(servers), server=servers[0], how=how, proof=rows,
               suspects="dns client".split() if here and not closed else places.split(),
               name=wish["host"] or GENERAL_NAME, confidence="certain" if errors else "likely")


@rule("""dns.failing  where: dns  hides: dns.unreachable
    says: The resolver {server} answers {rcode} for {name}{contrast}.
    fix: Ask the operator of {server}: {advice}   ask: Why does {server} answer {rcode} for {name}?
    fires: lookup/N refused error=EAI_AGAIN ; dns/R,A,N ok rcode=SERVFAIL
    quiet: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok rcode=NXDOMAIN""")
def rule_dns_failing(wish, dns, lookup, general_dns):
    """SERVFAIL, REFUSED or nonsense, and no resolver that knows better."""
    rows = succeeded(dns) or (succeeded(general_dns) if wish["mode"] == "host" else [])
    if not rows or saying(rows, "rcode", "NOERROR", "NXDOMAIN") or (
            wish["host"] and not met(lookup, "refused", "timeout")):
        return
    contrast, advice = "", "may this host use it, and does it reach its upstream?"
    if saying(general_dns, "rcode", "NOERROR"):
        contrast = ", and answers other names"
        advice = "is the zone of this name broken (lame delegation, DNSSEC)?"
    server, _, name = rows[0].subject.split()[:3]
    yield dict(server=server, rcode=rows[0].value["rcode"], name=name, contrast=contrast,
               advice=advice, proof=rows)


sign("""dns.failing  where: client  each: unresolved  sure: likely
    means: A direct question works and getaddrinfo does not: stub, nsswitch or cache on this host.
    says: The resolvers know {host} ({known}), but this host's own look-up fails ({error}).
    fix: Look at /etc/nsswitch.conf (hosts: files dns); then at a local cache (nscd) and
      /etc/resolv.conf.
    fires: lookup/N refused error=EAI_NONAME ; dns/R,A,N ok addresses=["192.0.2.7"]
    quiet: lookup/N ok ["192.0.2.7"] ; dns/R,A,N ok addresses=["192.0.2.7"]
    quiet: lookup/N refused ; dns/R,A,N ok rcode=NXDOMAIN ; dns/S,A,N ok addresses=["192.0.2.7"]""",
    lambda row, dns, known, absent: known and not absent and dict(known=known[0], proof=dns))
sign("""dns.not_found  where: dns  each: unresolved
    means: NXDOMAIN from the resolvers: every name that the search list allows is unknown.
    says: The name {name} does not exist ({who} NXDOMAIN).
    fix: Check the spelling and the search list; if the name is new, ask for the record.
    ask: Please create or correct the record {name}.
    given: lookup/N refused error=EAI_NONAME   fires: dns/R,A,N ok rcode=NXDOMAIN
    fires: dns/R,A,N ok rcode=NXDOMAIN ; dns/S,A,N ok   quiet: dns/R,A,N ok""",
    lambda row, dns, absent, known, final_name: (
        absent or not dns and row.value["error"] == "EAI_NONAME") and dict(
            who=host_of(absent[0]) + ", asked first," * bool(known) + " says" if absent else
            "the look-up says", name=final_name, proof=dns,
            confidence="certain" if absent else "likely"))
sign("""dns.no_address  where: dns  each: unresolved  means: NOERROR, no address of that family.
    says: The name {name} exists but has no {kind}.
    fix: Ask for the missing record of {name}, or use the family or name that has one.
    ask: Please add the missing address record of {name}.
    given: lookup/N refused error=EAI_NONAME   fires: dns/R,A,N ok
    quiet: dns/R,A,N ok rcode=NXDOMAIN""",
    lambda row, wish, dns, known, final_name: not known and saying(dns, "rcode", "NOERROR")
    and dict(kind=ADDRESS_KINDS[wish["family"]], name=final_name, proof=dns))
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
sign("""dns.slow  where: dns client  each: unresolved  sure: likely  hides: dns.failing
    means: `options timeout` is shorter than the resolver needs: glibc hears no answer in its time.
    says: The resolver {server} knows {host} and needs {seconds:.1f} s to say so; this host waits
      for {patience} s only (`options timeout` in /etc/resolv.conf).
    fix: Repair the slow resolver, name one that answers first, or raise that timeout.
    ask: Why does {server} need {seconds:.1f} s for {host}?
    given: lookup/N refused error=EAI_AGAIN ; dns/R,A,N ok addresses=["192.0.2.7"] ms=1600
    fires: resolv_conf/resolv.conf ok options={"timeout":1}
    quiet: resolv_conf/resolv.conf ok options={"timeout":3}   quiet: resolv_conf/resolv.conf ok""",
    lambda row, known, quickest, resolv_conf: row.value["error"] == "EAI_AGAIN" and known
    and quickest and quickest.ms > 1000 * about(resolv_conf, "resolv.conf").get("options", {}).get(
        "timeout", 5) and dict(
            server=host_of(quickest), seconds=quickest.ms / 1000, proof=[quickest],
            patience=about(resolv_conf, "resolv.conf")["options"]["timeout"]))


@rule("""dns.slow  where: dns  severity: warn  sure: likely
    says: The resolver {server} is {how}, and {other} answers: {so}.
    fix: Put a resolver that answers first in /etc/resolv.conf, or repair {server}.
    given: target/- ok host=null mode=host   fires: general_dns/R,A,N timeout ; general_dns/S,A,N ok
    fires: general_dns/R,A,N ok ; general_dns/S,A,N timeout
    fires: general_dns/R,A,N ok ms=2500 ; general_dns/S,A,N ok
    quiet: general_dns/R,A,N ok ; general_dns/S,A,N ok   quiet: general_dns/R,A,N timeout""")
def rule_dns_slow_configured(wish, general_dns):
    """Without a target nothing is looked up, and what a look-up would meet is seen all the same."""
    slow = [row for row in general_dns
            if row.outcome == "timeout" or (row.ms or 0) > DNS_SLOW_MS][:wish["mode"] == "host"]
    good = [row for row in succeeded(general_dns) if host_of(row) not in map(host_of, slow)]
    for row in slow if good else ():
        first = host_of(row) == host_of(general_dns[0])
        yield dict(
            server=host_of(row), other=host_of(good[0]), proof=general_dns,
            how="silent" if row.outcome == "timeout" else "slow (%.1f s)" % (row.ms / 1000),
            so="every look-up waits for the first" if first else
            "a look-up waits for it as soon as the one before it fails")


@rule("""dns.failing  where: dns  each: lookup  sure: likely  hides: THROUGH
    says: The resolvers give {host} the address {bogus}, which is {meaning}.
    fix: Is {host} on a block list, or its record wrong? Compare with another resolver.
    fires: lookup/N ok ["127.0.0.1"] ; dns/R,A,N ok addresses=["127.0.0.1"]
    fires: lookup/N ok ["fe80::1"] ; dns/R,AAAA,N ok addresses=["fe80::1"]
    quiet: lookup/N ok ["192.0.2.7"] ; dns/R,A,N ok addresses=["192.0.2.7"]""")
def rule_dns_bogus(row, wish, known, tcp):
    """A sinkhole or nonsense: no other host has a loopback or unspecified address."""
    for address in row.value if row.outcome == "ok" and "." in (wish["host"] or "") else ():
        if address in known and not met(rows_about(tcp, address), "ok"):
            if re.match(r"127\.|0\.0\.0\.0$|::1?$|fe[89ab]", address):
                return dict(bogus=address, meaning="link-local: good on one link only, and DNS does"
                            " not say which" if address[0] == "f" else "this host itself")
            if any(in_network(address, net) for net in PRIVATE_NETWORKS):
                return dict(bogus=address, severity="info", hides="", meaning="private: right only"
                            " inside the network that it belongs to (VPN, split DNS?)")
    return None


@rule("""dns.hosts_override  where: client  severity: warn  hides: BEYOND
    says: /etc/hosts gives {host} the address {address}; the resolvers say {other}{so}.
    fix: Remove or correct the line for {host} in /etc/hosts.
    given: hosts_file/N ok [{"address":"A","names":["N"]}]   fires: dns/R,A,N ok addresses=["G"]
    quiet: dns/R,A,N ok addresses=["A"]
    quiet: dns/R,A,N ok addresses=["G"] ; lookup/N ok ["G"]""")
def rule_dns_hosts_override(wish, hosts_file, dns, tcp, control_tcp, lookup):
    """The hosts file wins over DNS; it is the cause when its address fails and DNS's works."""
    ours, theirs = hosts_rows(hosts_file, wish["host"]), dns_addresses(dns)
    same = set(map(is_address, ours)) & set(map(is_address, theirs))
    unused = [row for row in succeeded(lookup) if not set(ours) & set(row.value)]     # (nsswitch)
    if not same or set(ours) & set(theirs) or unused:
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
    questions = {}
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
    fires: tcp/A unreachable icmp=11/0@G   quiet: tcp/A unreachable icmp=3/1@G
    quiet: tcp/A unreachable icmp=11/0@G ; trace_udp/A ok hops=[{"ttl":2,"address":"G"},
      {"ttl":3,"address":"G"}]
    quiet: tcp/A unreachable icmp=11/0@G ; trace_udp/A ok hops=[{"ttl":2,"address":"G"},
      {"ttl":4,"address":"A","kind":"reply"}]""")
def rule_path_loop(row, traces, stuck_at, short_lived):
    """Time exceeded at full TTL (ICMP 11/0, ICMPv6 3/0): a routing loop."""
    again, hops = circle_of(rows_about(traces, row.subject)), hop_table(traces, row.subject)
    places = ["client_network"] * (hops.get(1) in again) + ["transit", "server_network"]
    other = row.subject in stuck_at or row in short_lived
    return row.value["kind"] in TIME_EXCEEDED and not other and dict(
        sender_facts(row, traces), confidence="certain" if again else "likely", suspects=places,
        between=", between %s" % " and ".join(again) if again else "",
        routers=" and ".join(again) or "%s together with its next hop" % row.value["router"])


@rule("""path.loop  where: transit server_network  each: silent  sure: likely  hides: PORT_ONLY
    says: Packets to {address} go round in circles, between {one} and {two}.
    fix: Correct the routes of {one} and {two}: each sends {address} to the other.
    given: tcp/A timeout state=silent
    fires: trace_udp/A ok hops=[{"ttl":2,"address":"R"},{"ttl":3,"address":"S"},
      {"ttl":4,"address":"R"}]
    quiet: trace_udp/A ok hops=[{"ttl":2,"address":"R"},{"ttl":3,"address":"R"},
      {"ttl":4,"address":"S"}]""")
def rule_path_loop_traced(row, traces):
    """A trace meets a router again behind another one; of the SYN itself nobody says so."""
    proof = rows_about(traces, row.subject)
    again = circle_of(proof)
    return again and dict(one=again[0], two=again[1], proof=proof)


sign("""path.dead_end  where: transit  each: icmp_errors  sure: likely
    means: One router at one TTL after the other says that the TTL ran out: it arrives there as 1.
    says: Packets to {address} get no farther than {router}: it says that their TTL ran out,
      whatever it was here, so a rule {where} sets it too low.
    fix: Remove that rule: look {where} for one that sets the TTL (`ip ttl set`, `-j TTL`).
    ask: Look {where} for a rule that sets the TTL too low.
    given: tcp/A unreachable icmp=11/0@G
    fires: trace_udp/A ok hops=[{"ttl":2,"address":"G"},{"ttl":3,"address":"G"}]
    quiet: trace_udp/A ok hops=[{"ttl":2,"address":"G"},{"ttl":4,"address":"G"}]""",
    lambda row, traces, stuck_at: row.value["kind"] in TIME_EXCEEDED and row.subject in stuck_at
    and dict(proof=rows_about(traces, row.subject), where="here or in the first router"
             if stuck_at[row.subject] == 1 else "before %s" % row.value["router"],
             suspects=["client", "client_network"] if stuck_at[row.subject] == 1 else
             unique(["client_network"] + place_of(stuck_at[row.subject], None))))

sign("""path.dead_end  where: client  each: short_lived  sure: likely
    means: The TTL ran out at a router beyond which packets with a larger one get: ours is small.
    says: Packets to {address} leave this host with too small a TTL: {router} says that it ran out,
      and packets with a larger one get to the host.
    fix: Set the TTL to 64: `sysctl net.ipv4.ip_default_ttl`, or net.ipv6.conf.*.hop_limit, which
      the router may advertise. Or a rule here or on the way sets it (`ip ttl set`, `-j TTL`).
    given: tcp/A unreachable icmp=11/0@G
    fires: trace_udp/A ok hops=[{"ttl":2,"address":"G"},{"ttl":4,"address":"A","kind":"reply"}]
    quiet: trace_udp/A ok hops=[{"ttl":2,"address":"G"},{"ttl":3,"address":"R"},
      {"ttl":4,"address":"G"}]""", lambda row, traces: dict(proof=rows_about(traces, row.subject)))
sign("""path.net_unreachable  where: transit  each: unrouted  sure: likely  hides: PORT_ONLY
    means: A router has no route: ICMP 3/0, 3/6, 3/11; ICMPv6 1/0.
    says: {router} has no route to {address} ({words}).
    fix: Correct the routes of {router}: none leads to {address}.
    fires: tcp/A unreachable icmp=3/0@G   quiet: tcp/A unreachable icmp=3/9@G
    quiet: tcp/A unreachable icmp=3/0@A
    quiet: tcp/A unreachable icmp=3/0@G ; ping/A ok reached=true""",
    lambda row, traces: sender_facts(row, traces))
sign("""path.host_unreachable  where: server server_network  each: asked_in_vain  hides: PORT_ONLY
    means: The last router asked for the server's MAC in vain: ICMP 3/1 (v6 1/3) after about 3 s.
    says: {teller} says that {address} does not answer there ({words} after {seconds:.1f} s).
    fix: Is {address} up and in its VLAN? Check from a host next to it; if {router} is not next to
      it, the next router on the way is silent.
    fires: tcp/A unreachable icmp=3/1@G ms=3080   quiet: tcp/A unreachable icmp=3/13@G
    fires: tcp/A unreachable icmp=3/1@A ms=3080   quiet: tcp/A unreachable icmp=3/1@A ms=9""",
    lambda row, traces: dict(sender_facts(row, traces, "server server_network", is_late(row)),
        teller="The router %s" % row.value["router"] if row.value["router"] != row.subject
        else "This very address, a NAT or balancer with a dead host behind it,",
        seconds=(row.value["ms"] or 0) / 1000, confidence="likely"))
sign("""tcp.rejected  where: server_network  each: rejections  hides: path.dead_end
    means: An ICMP 'no' with its sender, who is the firewall: 3/3, 3/9, 3/10, 3/13; v6 1/1, 1/4-6.
    says: A firewall rejects {protocol} port {port} on {address}: {router} answers '{words}'{own}.
    fix: Allow {here} to {address} port {port} in the rules of {router}.
    ask: Open port {port} for {here}: {router} rejects its packets to {address}.
    fires: tcp/A refused icmp=3/3@A   quiet: tcp/A refused
    fires: tcp/A unreachable icmp=3/0@G ; ping/A ok reached=true""",
    lambda row, wish, traces, alive: not (wish["port"] is None and row.subject in alive) and dict(
        sender_facts(row, traces), protocol=row.probe,
        confidence="likely" if row.value["kind"] in NET_UNREACHABLE else "certain",
        own=" (the server's own firewall)" * (row.value["router"] == row.subject)))


@rule("""tcp.refused  where: service server  each: refusals  sure: likely  hides: path.loss
    says: {address} refuses port {port} with a real reset: {why}.
    fix: {where}, `ss -ltnp sport = :{port}` shows who listens. Start the service, let it listen on
      {address}, or correct the port.
    ask: Let it listen on {address} port {port}; if it shall not, which port is right?
    fires: tcp/A refused   quiet: tcp/A refused icmp=3/3@A""")
def rule_tcp_refused(row, own, trace_tcp, other_traces, reset_ttl, tunnel):
    """A RST and no ICMP: nothing listens, or a box before it answers; a SOCKS proxy says so too."""
    here = row.subject in own
    proof = rows_about(trace_tcp, row.subject)
    if not here and reset_hops(row.subject, trace_tcp, reset_ttl, other_traces):
        return None
    same = saying(latest(tunnel), "reason", "connection refused")
    return dict(
        hides="path.loss" + " http.gateway_error" * bool(same), why="nothing listens there%s" % (
            " on this host" if here else ", or a firewall answers in its place"), proof=proof,
        where="On this host" if here else "On the server",
        confidence="certain" if here else "likely", suspects=["service", "server"][:2 - here])


@rule("""tcp.refused  where: server_network transit client_network  each: refusals
    hides: path.loss
    says: {address} refuses port {port} with a real reset: it comes from hop {hops}, before the
      server (hop {far}): a firewall.   fix: Allow {here} to {address} port {port} on that firewall.
    ask: Open port {port} for {here}: a firewall resets its connections to {address}.
    given: trace_udp/A ok hops=[{"ttl":4,"address":"A","kind":"reply"}] ; tcp/A refused
    fires: trace_tcp/A ok hops=[{"ttl":2,"address":"A","kind":"refused"}]
    fires: reset_ttl/A ok by_us=false ; trace_udp/A ok hops=[{"ttl":1,"address":"G"}]
    quiet: reset_ttl/A ok by_us=false ; trace_udp/A ok
    quiet: trace_tcp/A ok hops=[{"ttl":2,"kind":"refused"}] ; reset_ttl/A ok ttl=60 host_ttl=60
    quiet: trace_tcp/A ok hops=[{"ttl":4,"address":"A","kind":"refused"}]""")
def rule_tcp_refused_by_box(row, own, trace_tcp, other_traces, reset_ttl):
    """A RST that comes from nearer than the server: a box on the way answers in its place."""
    far = distance(other_traces, row.subject)
    boxes = row.subject not in own and reset_hops(row.subject, trace_tcp, reset_ttl, other_traces)
    return boxes and dict(hops=" or ".join(map(str, boxes)), far=far or "unknown", suspects=unique(
        p for hop in boxes for p in place_of(hop, far)), proof=rows_about(
            trace_tcp + reset_ttl, row.subject))


@rule("""tcp.filtered  where: server server_network  each: silent  sure: likely
    hides: path.dead_end
    says: Port {port} on {address} is silent ({syns} SYNs in {seconds:.1f} s), though
      {contrast}{where}.
    fix: Allow {here} to {address} port {port}: look at {spots}. On the server `tcpdump -ni any tcp
      port {port} and host {here}` shows whether the SYN arrives.
    ask: Open port {port} for {here}: its SYNs to {address} get no answer. If it is open, where are
      they dropped?
    given: tcp/A timeout   fires: other_ports/A,80 refused   quiet: other_ports/A,80 timeout
    fires: egress/A ok ; neighbor/A,eth0 ok ip=A state=REACHABLE
    fires: ping/A ok reached=true ; unheard/A ok resets=6
    quiet: egress/A ok ; neighbor/A,eth0 ok ip=A state=REACHABLE ;
      trace_udp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]""")
def rule_tcp_filtered(row, wish, trace_tcp, other_traces, ping, other_ports, egress, present,
                      undelivered):
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
    if is_next_door(egress, address) and not max(stop, further):      # (else by proxy ARP)
        places = ["server"]
    elif far == 1:                       # an address of our own gateway (or of whom it leads to us)
        places = ["client_network", "server"]
    elif traced and (stop < far - 1 if far else further > stop):
        places = unique(place_of(max(stop, 1), far) + place_of(stop + 1, far))
        where = "; it is lost at hop " + ("%d or %d" % (stop, stop + 1) if stop else "1")
    if [test for test in rows_about(undelivered, address) if (test.value.get("resets") or 0)
            >= test.value["sent"] - 1]:
        where += "; answers come that fit no connection and are reset here (from another address," \
            " past a NAT?)"
    return dict(contrast=contrast, where=where, suspects=places, seconds=row.value.get(
        "waited_s") or PATIENCE_S, syns=1 + (row.value["info"].get("total_retrans") or 0),
                spots=" or ".join(PLACE_WORDS[place] for place in places),
                proof=rows_about(other_traces + ping + other_ports, address))


@rule("""path.dead_end  where: transit server_network server  each: silent  sure: likely
    says: Nothing answers beyond {where}: no protocol gets an answer from {address}.
    fix: Is the server up? There, `tcpdump -ni any host {here}` decides: nothing arrives (lost
      going), or the answer is lost (its gateway, the way back).
    ask: Please look beyond {where}: {here} gets no answer from {address}.
    given: tcp/A timeout   fires: trace_udp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]
    quiet: trace_udp/A ok hops=[{"ttl":2,"address":"A","kind":"reply"}]
    fires: egress/A ok ; neighbor/A,eth0 ok ip=A state=CACHED
    quiet: egress/A ok via=G ; neighbor/G,eth0 ok ip=G state=PERMANENT""")
def rule_path_dead_end(row, traces, present, neighbor, by_hand, untraced):
    """Silence by every protocol; the last router that still answers is the last known as good."""
    address, last = row.subject, last_hop(traces, row.subject)
    beyond = last and "hop %d, %s" % (last, hop_table(traces, address)[last])
    where, places = first_of(words for holds, *words in (
        (last > 1, beyond, place_of(last, None) + ["server_network", "server"]),
        (last, beyond, ["client_network", "transit", "server_network"]),
        (saying(neighbor, "ip", address), "the switch of this host's own segment",
         ["server", "client_network", "client"]),
        (True, "this host's first hop",
         ["client_network", "transit", "server_network", "server", "client"])) if holds)
    known = address in present or rows_about(by_hand, address) or row in untraced
    return not known and dict(where=where, suspects=unique(places), proof=rows_about(
        traces, address), confidence="likely" if last else "possible")


sign("""path.dead_end  where: server server_network  each: untraced  severity: warn
    sure: possible
    means: Of one silent address of each family it is looked up how far packets get.
    says: {address} is silent as well; how far packets get was only tried with {traced}.
    fix: Begin with {traced}. On the server, `tcpdump -ni any host {here}` shows whether they come.
    ask: Is {address} up, and its port open for {here}?
    given: tcp/A timeout ; tcp/198.51.100.8 timeout
    fires: trace_tcp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]
    quiet: trace_tcp/A ok hops=[] ; trace_tcp/198.51.100.8 ok hops=[]
    quiet: trace_udp/A ok ; ping/198.51.100.8 ok""",
    lambda row, traces: dict(traced=host_of(max(traces, key=lambda trace: is_address(
        host_of(trace)) == is_address(row.subject)))))
sign("""path.dead_end  where: client_network client  each: by_hand  sure: possible
    means: A MAC address that was entered by hand is believed for ever, whoever has it now.
    says: Nothing answers beyond {ip}, this host's first hop, whose MAC address was entered by hand
      (`ip neigh` says PERMANENT).
    fix: Compare it with the one that {ip} has now. `ip neigh del {ip} dev {dev}` lets this host ask
      for it again.
    ask: Has {ip} another MAC address now?
    given: tcp/A timeout
    fires: egress/A ok via=G ; neighbor/G,eth0 ok ip=G dev=eth0 state=PERMANENT
    quiet: egress/A ok via=G ; neighbor/G,eth0 ok ip=G state=REACHABLE
    quiet: egress/A ok via=G ; neighbor/G,eth0 ok ip=G state=PERMANENT ;
      trace_udp/A ok hops=[{"ttl":1,"address":"G","kind":"hop"}]""",
    lambda row: dict(proof=[row]))


def prompt(rows):
    """Those that were answered at once: a slow server's patience is no matter of size."""
    return [row for row in rows if (row.ms or 0) < TLS_WAIT_S * 500]


@rule("""path.mtu_blackhole  where: transit server_network client_network
    hides: tls.handshake_stalled http.no_response service.silent path.loss
    says: Small packets pass and large ones vanish on the way to {address}: {how}.
    fix: Let ICMP 'too big' (3/4; v6 2/0) pass; or clamp the MSS at the tunnel:
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
        cured = prompt(saying(rows_about(small, row.subject), "ended", "done")) + [
            r for r in saying(clamped, "ended", "closed", "done")
            if r.value["bytes"] > (said(row, "bytes") or 0)]
        again = {said(r, "ended") for r in rows_about(hello, row.subject)}     # in full size
        if cured and (row.probe == "transfer" or again and "done" not in again):
            yield blame(row, cured, how=how)


sign("""path.mtu_blackhole  where: transit server_network client_network  each: patterns
    means: A pattern of full-size packets to netdiag's `listen` is lost, one of small ones is not.
    says: Small packets pass and large ones vanish {way}.
    fix: Let ICMP 'too big' (3/4; v6 2/0) pass; or clamp the MSS at the tunnel of that
      direction.   given: exchange/A,clamped ok   fires: exchange/A ok arrived=false back_bytes=0
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
      at=2026-11-21T12:00:00+00:00"   quiet: tcp/A ok greeting="SSH-2.0-x"   quiet: tcp/A ok""",
    lambda row: dict(row.value, code="path.nat" if row.value["nat"] else "path.far_end",
        mss="-" if row.value["mss"] is None else row.value["mss"],
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
    says: Packets to {address} port {port} are lost: of {tried} connections {how}.
    fix: Run `mtr -T -P {port} {address}` from both ends: loss up to the last hop is real. Without
      any, a limit on new connections does this: of the server, or a firewall before it.
    given: tcp/A timeout   fires: retries/A ok tried=4 open=3 silent=1 resent=0
    quiet: retries/A ok tried=4 open=0 silent=4 resent=0""")
def rule_path_loss(retries, resends, tcp, tls, http):
    """Several connections from several source ports: some work at once, some late, some never."""
    for row in succeeded(retries + resends):
        value, first = row.value, rows_about(tcp, row.subject)
        talks = first + rows_about(tls + http, row.subject)
        gone = met(first, "timeout") + saying(talks, "stage", "connect")
        mute = gone + [t for t in saying(talks, "ended", "silent", "stalled")
                       if said(t, "info", "unacked")]        # by the peer's kernel
        late = [t for t in met(talks, "ok") if said(t, "info", "total_retrans") and t not in mute]
        lost = value["silent"] + value["resent"] + len(mute) + sum(
            talk.value["info"]["total_retrans"] for talk in late)
        words = dict(severity="fail", hides="tcp.filtered path.dead_end http.no_response"
                     " tls.handshake_stalled") if mute else dict(hides="")
        # The first at once, others late or not at all: we may have met a limit on connections.
        none, places = value["open"] == value["resent"], ["transit", "client_network"]
        hasty = (none or not mute and not value["silent"]) and all(
            t.outcome == "ok" and t.value["ms"] < RESENT_MS for t in first)
        if hasty:
            ends = ["server_network", "server"]
            words.update(suspects=ends[::-1] + places if none else places[:1] + ends + places[1:])
        # One late packet is none: a router drops the first while it asks for a MAC address.
        if (gone or lost > 1) and (value["open"] or met(first, "ok")):
            counts = ((value["silent"] + len(mute), "got no answer"),
                      (value["resent"] + len(late), "only after the SYN was sent again"))
            yield blame(row, first + mute,
                        confidence="likely" if lost > 1 and not hasty else "possible",
                        how=" and ".join("%d %s" % pair for pair in counts if pair[0]),
                        tried=value["tried"] + max(1, len(mute + late)), **words)


sign("""tcp.filtered
    where: transit server_network client_network  each: lost_mark  severity: warn  sure: likely
    means: A plain SYN is answered, and one with the mark that ssh gives its packets is not.
    says: Packets to {address} that carry ssh's mark (DSCP AF21) get no answer; plain ones do.
    fix: Let packets with that mark pass, or clear it; until then use `ssh -o IPQoS=none`.
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
    fires: udp/A refused icmp=3/3@A   quiet: udp/A unreachable icmp=3/13@G
    quiet: udp/A unreachable icmp=3/13@A""",
    lambda row: (said(row, "icmp") or [{}])[0].get("from") == row.subject and icmp_kind(
        row.subject, row.value["icmp"][0]) in PORT_UNREACHABLE and dict(
            words=icmp_words(row.subject, row.value["icmp"][0])))


@rule("""udp.no_reply
    where: service server server_network  each: udp  severity: warn  sure: possible
    says: No reply from UDP port {port} on {address}: that may be fine, or a filter, or
      nobody{stop}.
    fix: Ask with the service's own client; watch there: `tcpdump -ni any udp port {port}`.
    ask: Does UDP port {port} hear {here}? `tcpdump -ni any udp port {port}` shows what arrives.
    fires: udp/A timeout   quiet: udp/A ok reply=x""")
def rule_udp_no_reply(row, traces, present):
    """Silence: the service may not answer such a datagram, or something drops it."""
    last, traced = last_hop(traces, row.subject), rows_about(traces, row.subject)
    if row.outcome != "timeout" or row.subject in present or not traced:
        return row.outcome == "timeout" and dict(stop="")
    if not last:
        return dict(stop="; no router on the way answers either", proof=traced, suspects=[
            "service", "server", "server_network", "transit", "client_network"])
    router = hop_table(traces, row.subject)[last]
    return dict(stop="; no trace gets beyond hop %d, %s" % (last, router),
                suspects=unique(place_of(last, None) + ["server_network", "server", "service"]),
                proof=traced)


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
             # who shows a certificate and ends no handshake has not proved that it is its own
             {"confidence": "likely"} if row.value["ended"] == "unverified" else {},
             proof=rows_about(hello, row.subject), **dict(
                 distrust[row.subject, code],
                 others=", but %s does" % trusting[0] if trusting else "")))


cert("""tls.expired  where: service
    says: The certificate of {address} for {name} expired on {date}.
    fix: Renew it and reload the service (a renewed file on disk is not enough).
    ask: Renew the certificate of {name}.
    fires: tls/A ok ended=untrusted verify_code=10 cert.not_after=4000   quiet: tls/A ok""")
cert("""tls.not_yet_valid  where: service client
    says: The certificate of {address} for {name} is valid only from {date}.
    fix: Check this host's clock first, then the certificate.
    ask: Is the certificate of {name} meant to be valid only from {date}?
    fires: tls/A ok ended=untrusted verify_code=9 cert.not_before=6000   quiet: tls/A ok""")
cert("""tls.self_signed  where: service
    says: The certificate of {address} ({name}) is self-signed: nobody vouches for it.
    fix: Install a certificate of a CA that the clients trust; or give this one with --cafile.
    ask: Install a certificate that clients trust: that of {name} is self-signed.
    fires: tls/A ok ended=untrusted verify_code=18 cert.self_issued=true
    quiet: tls/A ok ended=untrusted verify_code=20""")
cert("""tls.incomplete_chain  where: service  sure: likely
    says: {address} sends its certificate without the intermediate '{issuer}', so the chain ends.
    fix: Let the server send the whole chain: its certificate, then the intermediates; reload it.
    fires: tls/A ok ended=untrusted verify_code=20 cert.aia=true
    quiet: tls/A ok ended=untrusted verify_code=20 cert.self_issued=true""")
cert("""tls.untrusted_ca  where: service client  sure: likely
    says: The certificate of {address} ({name}) is by '{issuer}', a CA that {store} does not
      hold{others}.
    fix: If that CA is yours, trust it here or give --cafile; if not, who inspects this traffic?
    ask: Is '{issuer}' your CA? It issued the certificate that comes for {name}; if it is not,
      somebody inspects the traffic.
    fires: tls/A ok ended=untrusted verify_code=20   quiet: tls/A ok
    fires: target/N ok ; through/N,via,P ok ended=untrusted verify_code=20""")
cert("""tls.unacceptable  where: service
    says: The certificate chain of {address} ({name}) is refused by this host: '{breach}'.
    fix: Have it issued anew: for this name and for servers, RSA 2048 or more, SHA-256.
    ask: Have the certificate of {name} issued anew: clients refuse it ('{breach}').
    fires: tls/A ok ended=untrusted verify_code=26 cert.aia=true   quiet: tls/A ok""")
cert("""tls.name_mismatch  where: service
    says: The certificate of {address} is for {names}, not for {wanted}.
    fix: Use a name that the certificate holds; or add {wanted} to it. Is this the right address?
    ask: Add {wanted} to the certificate: it is for {names}.
    fires: tls/A ok cert.san=[["DNS","other.example"]]   quiet: tls/A ok
    fires: target/A ok host=A sni=null ; tls/A ok cert.san=[["DNS","A"]]""")
cert("""tls.expiring  where: service  severity: warn
    says: The certificate of {address} for {name} expires in {days} days, on {date}.
    fix: Renew it now.   fires: tls/A ok cert.not_after=90000   quiet: tls/A ok""")
sign("""tls.name_mismatch  where: service  severity: warn  each: nameless
    means: Names are looked for in subjectAltName only (RFC 9525); few clients still read the CN.
    says: The certificate of {address} names {name} as its common name only, without subjectAltName:
      browsers, Go and others refuse it.
    fix: Have it issued anew with {name} as a subjectAltName.
    fires: tls/A ok cert.san=[] cert.subject=[["CN","web.example"]]   quiet: tls/A ok""",
    lambda row, wish: dict(name=wish["sni"]))
sign("""tls.handshake_stalled  where: service server server_network  each: handshakes  sure: likely
    hides: WEB  means: Silence after the ClientHello, or in the middle of the answer.
    says: {address} {what} (TCP is open).
    fix: Is the service hung, or the port's protocol another? Else suspect MTU or a filter. If it is
      only slow, `--timeout 30 --deadline 99` waits for it.
    ask: Is the service on {address} hung or slow? TLS handshakes stall there.
    fires: tls/A ok ended=stalled   quiet: tls/A ok ended=closed""",
    lambda row, hello: row.value["ended"] == "stalled" and not is_unheeded(row) and stall_holes(
        rows_about(hello, row.subject)))


@rule("""tls.not_tls  where: service  each: handshakes
    hides: tls.handshake_cut tls.handshake_stalled service.unexpected WEB
    says: Port {port} on {address} does not speak TLS: it answers in {kind}{words}.
    fix: Use the plain protocol on this port, or the service's TLS port{stand_in}.
    fires: tls/A ok ended=not_tls   quiet: tls/A ok ended=closed
    fires: tls/A ok ended=not_tls ; tcp/A ok greeting="netdiag listen 1 you=203.0.113.7:5 me=A:80
      ttl=57 mss=1380 at=2026-11-21T12:00:00+00:00"
    """)
def rule_tls_not_tls(row, wish, hello, tcp):
    """The answer to a ClientHello is no TLS record, or a plain greeting came first."""
    early = [t for t in rows_about(tcp, row.subject) if said(t, "greeting")]
    clear = [h for h in rows_about(hello, row.subject) if said(h, "not_tls")]
    if row.value["ended"] != "not_tls" and (
            row.value["ended"] == "done" or not early + clear or not wish["tls"]):
        return None
    told = (early + clear + [row])[0]
    words = (said(told, "greeting") or said(told, "not_tls") or "")[:60].strip()
    stand_in = "; netdiag's own `listen` answers: ask tcp://%s" % endpoint(
        row.subject.split()[0], wish["port"]) if greeting_of(told) else ""
    return dict(kind=(said(told, "speaks") or "").upper() or "plain text", stand_in=stand_in,
                proof=clear + early,
                words=' ("%s")' % words if words else "")


@rule("""tls.client_cert tls.version tls.sni tls.cipher tls.handshake_cut
    where: service client  each: handshakes  sure: likely  hides: WEB
    says: {address} ends the TLS handshake: {why}.   fix: {cure}
    ask: {request}
    fires: tls/A ok ended=alert alert=handshake_failure ; hello/A,bare ok client_cert=["CA"]
    fires: tls/A ok ended=alert alert=protocol_version
    fires: tls/A ok ended=alert alert=unrecognized_name
    fires: tls/A ok ended=alert alert=handshake_failure   fires: tls/A ok ended=reset
    fires: tls/A ok ; words/A ok ended=error error="tlsv13 alert certificate required"
    quiet: tls/A ok ended=stalled   quiet: tls/A ok ended=not_tls   quiet: tls/A ok
    quiet: tls/A ok ended=reset ; tcp/A ok after=reset   quiet: tls/A ok ended=untrusted""")
def rule_tls_refused(row, wish, hello, versions, http, words, tcp, cut_ttl):
    """An alert, reset or close in the handshake, told apart by what a clear ClientHello meets."""
    late = [h for h in wish["tls"] and rows_about(http + words, row.subject) or () if re.search(
        r"(?i)certificate.required|bad.certificate", said(h, "error") or "")]
    gone = saying(rows_about(tcp, row.subject), "after", "reset", "closed")
    if not late and (gone or row.value["ended"] not in ("alert", "reset", "closed")):
        return None
    clear = rows_about(hello, row.subject)
    code, why = handshake_refusal(
        row.value, {h.subject.split()[1]: h.value for h in succeeded(clear)}, late,
        [r.value["version"] for r in versions if r.subject.endswith(" %s" % said(r, "version"))])
    unsaid = code == "tls.sni" and row.value["ended"] != "alert" and not any(
        said(h, "alert") for h in clear)              # then a filter on the way looks the same
    places, sure, cure = HANDSHAKES["tls.handshake_cut" if unsaid else code]
    if code == "tls.sni" and not wish["sni"]:
        places, cure = "client service", "Use the site's name, or give it with --sni."
        why = "it wants the name of a site (SNI), and this target has none"
    for box in [r for r in rows_about(cut_ttl, row.subject) if said(r, "ttl")]:
        code, sure, ttl, far = "tls.handshake_cut", "certain", box.value["ttl"], box.value["far"]
        places = " ".join(place_of(max(ttl - 1, 1), far) + place_of(ttl, far))
        why = "a box before it (hop %s of %d) cuts it, the ClientHello never got to the server" % (
            "%d or %d" % (ttl - 1, ttl) if ttl > 1 else "1", far)
        clear = [box]
    request = cure if code == "tls.client_cert" else (
        "Why does the TLS handshake fail? %s port %s: %s. What does your log say?" % (
            row.subject, wish["port"], why))
    return dict(code=code, why=why, cure=cure, request=request,
                confidence=sure if tcp else "likely",           # or was it reset before a byte?
                suspects=unique(places.split()), proof=late + clear)


sign("""tls.large_hello  where: service server_network  each: large  severity: warn  sure: likely
    means: Some boxes drop a ClientHello of more than one packet, as post-quantum keys make it.
    says: {address} port {port} {how} when the ClientHello is large; a small one is answered.
    fix: New browsers and OpenSSL 3.5 send such ones: mend that server or the box before it.
    given: tls/A ok ; large/A,small ok   fires: large/A,large ok ended=reset version=null
    quiet: large/A,large ok""",
    lambda row, large, outsized: row.subject.endswith("large") and row.outcome == "ok"
    and not (row.value["version"] or row.value["alert"])
    and any(said(r, "version") for r in prompt(rows_about(large, host_of(row) + " small")))
    and host_of(row) not in [r.subject for r in outsized]
    and dict(address=host_of(row), scope=host_of(row), how=ENDINGS.get(row.value["ended"], "ends")))


def stall_holes(clear):
    """How a handshake stalls, by what clear ClientHellos met: (whole, half or no answer)."""
    bare = [h for h in clear if h.subject.endswith(" bare") and said(h, "chain")]
    if bare and not any(said(h, "bytes") for h in clear if h not in bare):
        return dict(what="says nothing after a ClientHello with this name, and answers one without",
                    suspects=["service", "server_network", "transit"], proof=bare)
    half = [h for h in clear if said(h, "bytes") and said(h, "ended") == "silent"]
    return dict(proof=half, what="stops in the middle of its answer to the ClientHello" if half else
                "says nothing after the ClientHello")


def first_line(text):
    """The first line of what a service said; its line ends are escaped."""
    return re.split(r"\\[rn]", text)[0].strip() or text


def proxy_refusal(status, proxy, goal):
    """What helps against 407, which wants a login, and against 403, where its rules say no."""
    if status == 407:
        return dict(cure="Give the proxy a login: --proxy http://USER:PASSWORD@%s, or so in the"
                    " variable." % proxy, request="Which login may this host use at %s?" % proxy)
    return dict(cure="The proxy's rules forbid it: ask the proxy team to allow %s." % goal,
                request="Please allow %s: the proxy %s answers 403." % (goal, proxy))


HANDSHAKES = {
    "tls.client_cert": ("client service", "certain", "Configure a client certificate and key;"
                        " netdiag has none to offer."),
    "tls.version": ("service client", "certain", "Let the server offer TLS 1.2 or 1.3; old versions"
                    " are off here for a reason."),
    "tls.sni": ("service", "certain", "Is this name configured there as a virtual host? Is this the"
                " right address?"),
    "tls.cipher": ("service client", "likely", "Compare what both sides offer (`openssl s_client"
                   " -connect`); widen the server's list."),
    "tls.handshake_cut": ("service server_network transit", "likely", "Look at the service's log."
                          " If it saw nothing, a filter on the way cuts TLS (or this name):"
                          " compare with another name, from another network. A port that hangs up"
                          " on every client may want the PROXY protocol of a balancer before it.")}


# What servers say to a client without a certificate: the first two say nothing else.
NO_CERTIFICATE = ("certificate_required", "bad_certificate", "handshake_failure", "access_denied",
                  "certificate_unknown", "unsupported_certificate", "unknown_ca")


def handshake_refusal(value, clear, late, accepted):
    """(code, why) of a refused handshake; `clear`: what clear ClientHellos met, by their names.

    `accepted`: the old versions with which the server answered.
    The module's texts differ with Python and OpenSSL; the server's own bytes do not.
    """
    text, alert = "%s %s" % (value.get("error"), value.get("reason")), value.get("alert")
    named, bare = clear.get("named"), clear.get("bare")
    asked = [c["client_cert"] for c in clear.values() if c["client_cert"] is not None
             and (value["ended"] != "alert" or alert in NO_CERTIFICATE)]    # it may do without one
    offered = unique(accepted + [c["version"] for c in clear.values() if c["version"]])
    if late or asked or alert in NO_CERTIFICATE[:2]:
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
        return "tls.sni", "the name that was asked for is refused" + (
            ", and it answers without one" if answers_bare else "")
    weak = re.search(r"(?i)dh.key.too.small|no.ciphers|wrong.cipher|ee.key.too.small", text)
    if value["ended"] == "alert" and (weak or alert in (
            "handshake_failure", "insufficient_security")):
        return "tls.cipher", "no common cipher or parameter (%s)" % (alert or weak.group(0))
    how = {"reset": "with a reset", "closed": "by closing the connection"}.get(
        value["ended"], "with the alert '%s'" % (alert or value.get("error")))
    small = ", though it answers a smaller one (is it the size?)" if not alert and any(
        c["chain"] for c in clear.values()) else ""
    return "tls.handshake_cut", how + " after the ClientHello" + small


# -- HTTP, greetings, proxy -----------------------------------------------------------------------

sign("""http.https_expected  where: client  each: http  hides: http.client_error http.not_http
    means: A 400 that says so, or a TLS record as the answer to a plain request.
    says: Port {port} on {address} wants HTTPS, and plain HTTP was spoken to it.
    fix: Use https:// for this port.
    fires: http/A ok status=400 wants_tls=true   quiet: http/A ok status=400""",
    lambda row, wish: not wish["tls"] and (said(row, "wants_tls") or said(row, "speaks") == "tls"))
sign("""http.https_expected service.unexpected  where: service client  each: tls_only
    means: Nothing comes back to a plain talk, and a ClientHello is answered.
    says: Port {port} on {address} wants TLS: it leaves plain {protocol} without an answer.
    fix: Speak {protocol} over TLS on this port, or use the plain port.
    fires: secure/A ok   quiet: secure/A ok version=null alert=null""",
    lambda row, wish: dict(scope=None, protocol=(wish["protocol"] or "").upper(), code=(
        "http.https_expected" if wish["protocol"] == "http" else "service.unexpected")))
sign("""http.no_response  where: service server  each: exchanges  sure: likely
    means: The connection opens, the request goes out, and no whole head of a reply comes.
    says: {address} takes the HTTP request and {how} {when}.
    fix: Is the application hung or crashing? Look at its log and its load on the server. If it is
      only slow, `--timeout 30 --deadline 99` waits for it. A port that hangs up on every request
      may want the PROXY protocol of a balancer before it.
    ask: Is the application on {address} hung, crashing or slow? Its log and load will say.
    fires: http/A ok status=null ended=silent
    quiet: http/A ok status=null ended=closed not_http=hello""",
    lambda row, tls_only, http: row.value["stage"] == "http" and not (
        row.value["status"] or row.value["not_http"] or tls_only) and not is_unheeded(row) and dict(
        how=ENDINGS.get(row.value["ended"], "ends"), when="in the middle of its answer"
        if row.value["bytes"] else "without an answer" if row.value["ended"] != "silent" else
        "for %.0f s" % max((r.ms or 0) / 1000 for r in rows_about(http, row.subject))))
sign("""tls.handshake_stalled http.no_response service.silent
    where: server_network transit server service  each: talks  sure: likely
    means: The handshake of TCP is done, and the peer's kernel takes nothing of what is said then.
    says: {address} accepts the connection on port {port} and acknowledges nothing that is said then
      (sent again {again} times): what follows the SYN gets lost on the way there.
    fix: Look for a firewall that lets SYNs pass and drops what follows (asymmetric routes, a full
      connection table); on the server, `netdiag.py capture --port {port} --for 60s` shows what
      arrives, and `ss -ltn` whether the accept queue is full.
    fires: tls/A ok ended=stalled info={"unacked":1,"total_retrans":4}
    fires: http/A ok status=null ended=silent info={"unacked":1,"total_retrans":5}
    fires: target/A ok protocol=redis ; words/A ok ended=silent info={"unacked":1,"total_retrans":5}
    quiet: http/A ok status=null ended=silent info={"unacked":0,"total_retrans":2}
    quiet: http/A ok info={"unacked":1,"total_retrans":2}""",
    lambda row, egress: is_unheeded(row) and said(row, "info", "unacked") and row.value.get(
        "stage", "http") == "http" and dict(
            again=row.value["info"]["total_retrans"], code={
                "tls": "tls.handshake_stalled", "words": "service.silent"}.get(
                    row.probe, "http.no_response"),
            suspects=["server", "service"] if is_next_door(egress, row.subject) else None))
sign("""tls.handshake_stalled http.no_response service.silent
    where: server_network server service  each: shut  sure: likely
    means: The window of the peer is 0 from the first packet on: a SYN proxy that waits in vain.
    says: {address} accepts port {port} and takes not a byte (its window stays 0): a SYN proxy in
      front of the server accepts, and gets no answer from it.
    fix: Is the server behind that proxy up? Does it listen on port {port}, and may the proxy (a
      firewall, balancer or protection from floods) reach it there?
    ask: Is the server behind the SYN proxy up?
    fires: http/A ok status=null ended=silent info={"unsent":120,"window":0}
    fires: tls/A ok ended=stalled info={"unsent":517,"window":0}
    fires: target/A ok protocol=tcp ; tcp/A ok info={"window":0}
    quiet: http/A ok info={"unsent":0,"window":0}   quiet: tcp/A ok info={"window":64256}
    quiet: tcp/A ok info={"window":0} ; http/A ok""",
    lambda row: dict(code={"tls": "tls.handshake_stalled", "http": "http.no_response"}.get(
        row.probe, "service.silent")))
sign("""http.not_http  where: service  each: exchanges  means: The bytes that came back are no HTTP.
    says: Port {port} on {address} does not speak HTTP: it answers {kind}"{words}".
    fix: Is this the right port? Use the client of the protocol that answers there.
    fires: http/A ok status=null not_http=hello   quiet: http/A ok status=200""",
    lambda row: row.value.get("not_http") and dict(
        kind=(row.value["speaks"].upper() + " ") if row.value.get("speaks") else "",
        words=row.value["not_http"][:60]))
sign("""http.redirect_loop  where: service  each: redirects
    means: A Location that was there before, or more than REDIRECT_LIMIT steps.
    says: The redirects of {host} lead in a circle or never end (steps: {count}, the last to {url}).
    fix: Correct the redirect rules: often http/https or the name behind a proxy that ends TLS.
    given: http/A ok status=302 location=/b   fires: redirects/http://A/b ok status=302 location=/a
    quiet: redirects/http://A/b ok status=302 location=app:done
    quiet: redirects/http://A/b ok status=200""",
    lambda row, redirects, http: row is redirects[-1] and re.match(
        "https?://", next_url(row)) and dict(
        count=len(redirects), url=row.subject, proof=redirects[:-1], confidence="likely" if any(
            said(r, "cookies") for r in http + redirects) or len(redirects) < REDIRECT_LIMIT
            and printable(hide_secret(next_url(row)), 200) not in [
                r.subject for r in redirects] else "certain"))


@rule("""dns.not_found dns.failing tls.handshake_cut tls.expired tls.untrusted_ca tls.self_signed
    tls.incomplete_chain tls.unacceptable tls.name_mismatch tls.not_yet_valid tls.not_tls
    tls.handshake_stalled http.no_response http.not_http tcp.refused path.host_unreachable
    path.net_unreachable tcp.filtered
    where: service  each: redirects  sure: likely
    says: The redirect to {url} leads nowhere: {stage} fails ({error}).
    fix: Correct the redirect's address; or repair the host that it names.
    fires: redirects/http://gone.example/ refused stage=lookup error=EAI_NONAME status=null
    fires: redirects/https://A:80/ ok stage=tls ended=not_tls status=null
    quiet: redirects/http://there.example/ ok status=200""")
def rule_redirect_dead(row, now, redirects):
    """A redirect whose own host cannot be looked up, reached or trusted."""
    chain, wanted = said(row, "chain") or [], {"sni": None, "host": read_url(row.subject)["host"]}
    distrust = [fault for fault in trust_faults(row.value, chain, wanted, now)
                if fault[0] != "tls.expiring"] if chain else []
    if row not in latest(redirects) or said(row, "stage") not in STAGES or (
            said(row, "status") and not distrust):
        return None
    codes = [code for code, _ in distrust] + ["http.not_http"] * bool(said(row, "not_http")) + [
        STAGES[said(row, key)] for key in ("ended", "error", "stage") if said(row, key) in STAGES]
    names = ["its certificate is for " + holes["names"] for _, holes in distrust[:1]
             if "names" in holes]
    failed = said(row, "error") or said(row, "not_http") or said(row, "ended")
    known = {"EINVAL": "no such port", "tls.not_tls": "no TLS is spoken there"}
    error = first_of(names + [known.get(codes[0]) or verify_reason(failed) or failed])
    return dict(code=codes[0], url=row.subject, error=known.get(error, error),
                stage="TLS" if distrust else row.value["stage"].replace("tls", "TLS"))


sign("""service.silent  where: service  each: mute  sure: likely
    means: Connected, and no word from a server that speaks first, or to a client's first words.
    says: {address} accepts port {port} and stays silent; {protocol} servers {usual}.
    fix: Is the service hung, or does it look up this client's name? There, `ss -ltnp sport =
      :{port}` shows who holds the port.
    fires: target/A ok protocol=ssh greeting_s=4 ; tcp/A ok
    fires: target/A ok protocol=redis ; words/A ok ended=silent   quiet: tcp/A ok
    quiet: words/A ok ended=closed""",
    lambda row, wish: dict(protocol=(wish["protocol"] or "").upper(), usual="speak first"
        if wish["greeting_s"] else "answer a client's first words"))
sign("""service.error ssh.throttled  where: service  each: spoken
    means: A greeting that is a refusal: SMTP 554, IMAP BYE, MySQL host not allowed, sshd penalties.
    says: The service on {address} port {port} itself says no: "{words}".
    fix: Read its words; the service's log says more.
    ask: Why does the service refuse {here}? What does its log say?
    given: target/A ok protocol=smtp   fires: tcp/A ok after=data greeting=554 refuses=service.error
    quiet: tcp/A ok after=data greeting=220""",
    lambda row, wish: wish["protocol"] != "tcp" and said(row, "refuses") and dict(
        code=row.value["refuses"], words=first_line(row.value["greeting"][:100])))
sign("""service.error service.silent  where: service  each: handshakes  sure: likely
    means: A greeting, and then a refusal of EHLO, or of STARTTLS (RFC 3207: 454), or no word more.
    says: The mail service on {address} greets, and then {how}.
    fix: See its log: why does it turn this client away, or let it wait?
    ask: It greets {here}, and then {how}: why, and what does its log say?
    given: target/A ok protocol=smtp tls=false
    fires: tls/A ok ended=not_offered error="554 go away"
    fires: tls/A ok ended=not_offered error="" cut=closed
    fires: tls/A ok ended=not_offered error="" cut=silent
    quiet: tls/A ok ended=not_offered error="502 what?"   quiet: tls/A ok ended=not_offered error=""
    quiet: tls/A ok ended=not_offered error="250 SIZE 1000" """,
    lambda row, wish: tls_steps(wish) and wish["protocol"] in ("smtp", "submission") and (
        ENDINGS.get(said(row, "cut")) or find(
            r"\A(421|45\d|55\d)[ -]", row.value["error"] or "")) and dict(
                how=ENDINGS.get(said(row, "cut")) or 'says no: "%s"' % (
                    row.value["error"][:100].strip()),
                code="service.silent" if said(row, "cut") == "silent" else "service.error",
                severity="warn" if row.value["error"].startswith("454") else "fail"))
sign("""ssh.algorithm  where: service client  each: spoken
    means: Only 1.99 means that the server speaks 2.0 as well (RFC 4253 5.1).
    says: {address} speaks the old SSH protocol 1 only ("{words}"), and current clients none of it.
    fix: Update the server.
    given: target/A ok protocol=ssh   fires: tcp/A ok after=data speaks=ssh greeting=SSH-1.5-x
    quiet: tcp/A ok after=data speaks=ssh greeting=SSH-1.99-x""",
    lambda row, wish: wish["protocol"] in ("ssh", "sftp") and re.match(
        r"SSH-1\.(?!99)", said(row, "greeting") or "") and dict(
            words=row.value["greeting"][:60].strip()))


@rule("""ssh.host_key  where: server client  each: ssh
    says: The SSH host key of {address} is not that known for {host}: it is {key_type}
      SHA256:{digest}.
    fix: Check the address before any password is typed: if the host was not set up anew, another
      machine answers. If it was: `ssh-keygen -R '{entry}' -f {file}`.
    ask: Was {host} set up anew? Has its address moved?
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
sign("""service.error service.silent  where: service server_network transit  each: ssh  sure: likely
    means: A banner, and then no key exchange: sshd's child dies, or the way loses what follows.
    says: {address} sends its SSH banner, and where the key exchange should begin it {how}.
    fix: See sshd's log on the server (memory, disk, limits, host keys: `sshd -t`); if it saw
      nothing wrong, a filter on the way cuts SSH.
    fires: ssh/A ok ended=closed key_type=null   fires: ssh/A ok ended=silent key_type=null
    fires: ssh/A ok outcome=closed_by_remote key_type=null   quiet: ssh/A ok ended=closed
    quiet: ssh/A ok ended=silent key_type=null offers={"kex":["x"]}   quiet: ssh/A timeout""",
    lambda row: not (said(row, "key_type") or said(row, "offers") or said(row, "lacks"))
    and re.match(r"(SSH-2|SSH-1\.99|OpenSSH)",
                 said(row, "banner") or said(row, "server_banner") or "")
    and ssh_ending(row) in ENDINGS and dict(
        how=ENDINGS[ssh_ending(row)], scope=None,
        code="service.silent" if ssh_ending(row) == "silent" else "service.error"))
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
    ask: Is the proxy {proxy} up? May this host use it?
    given: target/N ok proxy=http://192.0.2.8:3128
    fires: tunnel/P refused stage=connect status=null   quiet: tunnel/P ok status=200
    fires: tunnel/P ok stage=tls status=null ended=not_tls
    quiet: tunnel/P ok status=null ended=silent ; proxy_alone/P ok status=400""",
    lambda row, proxy, proxy_alone: proxy and not said(row, "status") and not answers_alone(
        proxy_alone) and dict(
        proxy=row.subject, variable=proxy["variable"],
        bypass="" if proxy["variable"] == "--proxy" else ", add the target to NO_PROXY",
        how={"lookup": "its name has no address", "connect": "no connection",
             "tls": "TLS with it fails, is its URL rather http://?"}.get(
                 said(row, "stage"), "no HTTP answer"),
        error=said(row, "error") or said(row, "ended") or said(row, "not_http") or "nothing",
        confidence="likely" if said(row, "ended") == "silent" else "certain"))
sign("""http.gateway_error  where: proxy server service  each: proxy_alone  sure: likely
    means: A proxy that answers, but not about the target: it waits for it, longer than we do.
    says: The proxy {proxy} answers for itself, and says nothing about {host} for {seconds} s: it
      waits for the target, or for its own resolver.
    fix: Does the target answer the proxy? The proxy's log says so once its own time is up.
    ask: Can {proxy} reach {host} port {port}? It lets us wait for the answer.
    fires: tunnel/P ok status=null ended=silent ; proxy_alone/P ok status=400
    quiet: tunnel/P ok status=null ended=silent ; proxy_alone/P ok status=null stage=connect""",
    lambda row, tunnel: answers_alone([row]) and dict(
        proxy=row.subject, proof=tunnel, seconds="%.0f" % ((tunnel[-1].ms or 0) / 1000)))
sign("""proxy.required  where: client proxy  each: spare_proxy  hides: AWAY
    means: The way out leads only through a proxy, which the variables do not let this target use.
    says: {host} is not reached directly, but would be by the proxy {proxy}: NO_PROXY forbids it.
    fix: Take {host} out of NO_PROXY; or give --proxy.
    fires: spare_proxy/P ok status=200   quiet: spare_proxy/P ok status=403""",
    lambda row: said(row, "status") == 200 and dict(proxy=row.subject))
sign("""proxy.denied  where: proxy  each: barred  hides: AWAY
    means: CONNECT is met by 403 (the proxy's rules) or 407 (it wants a login).
    says: The proxy {proxy} refuses {host}: HTTP {status} {reason}.
    fix: {cure}   ask: {request}
    fires: tunnel/P ok status=407   quiet: tunnel/P ok status=200""",
    lambda row, wish: said(row, "status") in (403, 407) and dict(
        proxy=row.subject, **proxy_refusal(row.value["status"], row.subject, "%s:%s" % (
            wish["host"], wish["port"]))))
sign("""http.gateway_error proxy.unreachable proxy.denied  where: proxy  each: barred
    means: The proxy has another answer than yes, 403 or 407.
    says: The proxy {proxy} opens no way to {host}: it answers {status} {reason}.
    fix: {cure}   ask: Why does {proxy} answer {status} for {host}?
    fires: tunnel/P ok status=502   quiet: tunnel/P ok status=407
    quiet: target/N ok protocol=http ; tunnel/P ok status=502 page=502 ; http/A ok status=502""",
    lambda row: (said(row, "status") or 200) // 100 != 2
    and row.value["status"] not in (403, 407) and dict(
        dict(suspects=["proxy", "service"], confidence="likely") if said(row, "page") else {},
        proxy=row.subject, cure="The proxy does not get there: see its resolver, its way out, and"
        " the target." if row.value["status"] >= 500 else "Is it a proxy at all? Check its address"
        " and port.", code="http.gateway_error" if row.value["status"] in (500, 502, 503, 504)
        else "proxy.unreachable" if row.value["status"] in NO_TUNNEL + (404,) else "proxy.denied"))
sign("""http.captive  where: client_network proxy  each: exchanges  sure: likely
    hides: http.server_error http.redirect_loop
    means: A gateway that wants a login first answers every request itself (RFC 6585, 8910).
    says: A login page of the network answers in place of {host}: {how}.
    fix: Log in to the network (captive portal) in a browser, then try again.
    ask: Please exempt this host from the portal.
    fires: http/A ok status=511   fires: http/A ok status=302 location=http://portal.example/login
    fires: http/A ok status=302 location=http://10.0.0.1:1000/fgtauth
    quiet: http/A ok status=503   quiet: http/A ok status=302 location=https://www.example/login
    quiet: target/N ok ; http/A ok status=302 location=http://web.example/splash""",
    lambda row, wish: not wish["tls"] and (said(row, "status") == 511 and dict(how="HTTP 511")
        or PORTAL.match(redirect_of(row) or "")
        and read_url(redirect_of(row))["host"] != wish["host"] and dict(
            how="it redirects to " + hide_secret(printable(redirect_of(row), 80)),
            **dict(severity="warn", confidence="possible") if is_own_portal(wish, row) else {})))


@rule("""http.client_error http.gateway_error http.server_error proxy.denied tls.client_cert
    where: service client  each: exchanges
    says: {address} answers HTTP {status} {reason} for {path}: {meaning}.
    fix: {cure}
    ask: Why HTTP {status} for {path}? {address} answered so at {when} UTC: what does the log say?
    fires: target/A ok path=/missing ; http/A ok status=404   fires: http/A ok status=502
    fires: http/A ok status=407   fires: http/A ok status=403 headers={"server":"Zscaler/6.2"}
    fires: http/A ok status=400 wants_cert=true   fires: http/A ok status=999
    quiet: http/A ok status=401   quiet: http/A ok status=302""")
def rule_http_status(row, wish, now):
    """4xx: request or rights; 502, 503, 504: the front works, its back end does not; other 5xx."""
    path = wish["path"] or "/"
    if row.value["status"] == 401 and path == "/":         # a working server that asks for a login
        return None
    return status_holes(row, row.subject, path, now)


@rule("""http.client_error http.gateway_error http.server_error proxy.denied tls.client_cert
    where: service client  each: redirects
    says: {host} redirects to {url}, which answers HTTP {status} {reason}: {meaning}.
    fix: {cure}   ask: {url} answers {status} at {when} UTC: what does the log say?
    fires: http/A ok status=302 location=/x ; redirects/http://A/x ok status=404
    quiet: http/A ok status=302 location=/x ; redirects/http://A/x ok status=401
    quiet: http/A ok status=302 location=/x ; redirects/http://A/x ok status=200""")
def rule_http_landed(row, redirects, now):
    """The answer to which redirects lead, judged as one that was asked for directly."""
    if row is not redirects[-1] or said(row, "status") == 401:      # a page that asks for a login
        return None
    parts = read_url(row.subject)
    holes = status_holes(row, parts["host"], parts["path"] or "/", now)
    return holes and dict(holes, url=row.subject)


def is_own_portal(wish, row):
    """May it be the site's own single sign-on: by https, or a host of the target's own domain?"""
    parts = read_url(redirect_of(row))
    return parts["scheme"] == "https" or parts["host"].endswith(
        "." + (wish["host"] or "").partition(".")[2])


def status_holes(row, address, path, now):
    """What an answer of 400 and more means, in the holes of a rule's words; else None."""
    status = said(row, "status") or 0
    if status < 400:
        return None
    usual, places, code = (min(status // 100 * 100, 600), ("service",), "http.server_error") if (
        status >= 500) else (499, ("service", "client"), "http.client_error")
    meaning, cure = STATUS_WORDS.get(
        status == 400 and said(row, "wants_tls") or status) or STATUS_WORDS[usual]
    server = row.value["headers"].get("server") or "the front"
    if status == 407 or status == 403 and re.search(FILTERS, server):
        code, places, meaning = "proxy.denied", ("proxy",), (
            meaning if status == 407 else "a proxy on the way forbids it")
    if said(row, "wants_cert"):                            # nginx and IIS ask by a page
        meaning = "it demands a client certificate and got none"
        code, places, cure = "tls.client_cert", ("client", "service"), HANDSHAKES[
            "tls.client_cert"][2]
    later = " (Retry-After: %s)" % row.value["headers"].get("retry-after")
    return dict(status=status, path=hide_secret(path), meaning=meaning, suspects=places,
                reason=row.value["reason"] + later * ("retry-after" in row.value["headers"]),
                code="http.gateway_error" if status in (502, 503, 504) + ORIGIN_STATUS else code,
                when="that time" if now is None else utc_text(now), cure=cure.format(
                    address=address, front=server))


@rule("""service.unexpected  where: service  each: spoken  hides: http.not_http
    says: Port {port} on {address} does not speak {wanted}: {speaks} answers ("{words}").
    fix: Is this the right port and host? Another program holds it.
    fires: target/A ok protocol=ssh ; tcp/A ok after=data speaks=smtp greeting=220
    quiet: target/A ok protocol=ssh ; tcp/A ok after=data speaks=ssh greeting=SSH-2.0-x
    fires: target/A ok protocol=ntp transport=udp ; udp/A ok reply=hello
    quiet: target/A ok protocol=ntp transport=udp ; udp/A ok reply=x speaks=ntp
    quiet: target/A ok protocol=http ; tcp/A ok after=data speaks=http2 greeting=x
    quiet: target/A ok protocol=smtp ; tcp/A ok after=data speaks=ftp greeting="220-hi, 220 A ESMTP"
    """)
def rule_service_unexpected(row, wish):
    """The greeting is that of another protocol than the one asked for."""
    wanted = GREETS_AS.get(wish["protocol"], wish["protocol"])
    if wanted in ("tcp", "tls") or wish["tls"] and row.probe == "tcp":
        return None
    if row.probe == "udp" and wanted not in UDP_QUESTIONS:
        return None
    speaks, words = said(row, "speaks"), said(row, "greeting") or said(row, "reply") or ""
    speaks = "http" if speaks == "http2" else speaks         # gRPC: its SETTINGS come unasked
    garbage = not speaks and (wanted in ("http", "telnet") or row.probe == "words")
    either = {speaks, wanted} == {"smtp", "ftp"} and words[:3] == "220" and (
        wanted in words.lower() or speaks not in words.lower())       # a bare 220 may be both
    return not (garbage or either or speaks == wanted or row.value.get("refuses")) and dict(
        wanted=wish["protocol"].upper(), words=first_line(words[:60]),
        speaks=speaks.upper() if speaks else "something else")


# -- this host as a server ------------------------------------------------------------------------

@rule("""listen.none  where: service server
    says: Nobody listens on {transport} port {port} of this host{nearest}.   fix: {cure}{log}.
    fires: port/80 ; sockets/tcp ok   fires: port/80 ; listener/0.0.0.0 port=8080
    fires: port/80 ; sockets/tcp ok ; loop/192.0.2.10 ok open=1
    quiet: port/80 ; listener/0.0.0.0   quiet: port/80 ; listener/127.0.0.1""")
def rule_listen_none(wish, listening, sockets, owners, units, elsewhere, fates, logs, loop):
    """No socket waits on the port: clients get a reset (TCP) or a port unreachable (UDP), but
    where a rule sends them on, as those of containers do with this host's own address too."""
    asked = [row for row in succeeded(sockets) if row.subject == wish["transport"]]
    if wish["mode"] != "server" or not wish["port"] or not asked or listening:
        return
    sent_on = [fate for fate in fates if fate["port"] or re.search(TRANSLATES, fate["rule"] or "")]
    quoted = [line["text"] for row in succeeded(logs) for line in row.value["lines"][-1:]
              if row.subject in [unit["unit"] for unit in stopped_units(wish, units)]]
    away = rows_in(elsewhere, "listeners")
    opened = saying(loop, "open", 1)[:1]
    cure = "Publish the port of that container or namespace here" if away else \
        "Start the service; or correct the port that it or the client uses"
    nearest = nearest_words(wish, sockets, owners, units, elsewhere) + "".join(
        "; a rule sends it on to port %d" % fate["port"] if fate["port"] else
        '; a rule sends it elsewhere, "%s"' % line_words(fate) for fate in sent_on[:1])
    nearest += "".join("; yet a connection to %s opens: a rule sends it elsewhere" % row.subject
                       for row in opened)
    yield dict(cure=cure, nearest=nearest,
               log="; its log ends: \"%s\"" % quoted[0] if quoted else "",
               transport=wish["transport"].upper(), confidence="certain" if fates else "likely",
               severity="info" if sent_on or opened else "fail",
               proof=asked + opened + succeeded(elsewhere) + succeeded(units))


@rule("""listen.none  where: service server
    says: A rule of this host sends {transport} port {port} on to its port {sent}, and nobody
      listens there for other hosts.
    fix: Start the service on port {sent}, or correct that rule (see `iptables-save`).
    given: port/80 ; listener/0.0.0.0 ; iface/eth0 ; rules/nft ok bases=[{"backend":"nf_tables",
      "family":"ip","table":"t","chain":"p","hook":"prerouting","priority":-100,"policy":"accept",
      "chains":{"p":["redirect to :81"]},"sets":{}}]
    fires: sockets/udp ok   fires: listener/127.0.0.1 port=81   quiet: listener/0.0.0.0 port=81""")
def rule_listen_sent_on(wish, sent_on, rules, sockets):
    """A redirect leads to a port on which nobody waits for what comes from elsewhere."""
    for sent, rows in sent_on.items():
        if not rows:
            yield dict(sent=sent, transport=wish["transport"].upper(), proof=rules + sockets)


@rule("""listen.loopback_only listen.other_address  where: service server
    says: {holder} listens on {bound_to} only: {who} can reach it.
    fix: Let it listen on 0.0.0.0 and [::]{unbound}; or on the address that the clients use.
      Restart it.
    fires: port/80 ; listener/127.0.0.1   fires: port/80 client=2001:db8::5 ; listener/0.0.0.0
    fires: port/80 ; iface/eth0 ; listener/203.0.113.77
    quiet: port/80 ; listener/0.0.0.0   quiet: port/80 client=127.0.0.1 ; listener/127.0.0.1
    quiet: port/80 client=192.0.2.5 ; listener/::   quiet: port/80 ; iface/eth0 ; listener/::
    fires: port/80 client=C ; iface/eth0 ; iface/eth1 inet=["198.51.100.5/24"] ;
      back/C ok dev=eth0 ; listener/0.0.0.0 dev=eth1
    quiet: port/80 client=C ; iface/eth0 ; iface/eth1 inet=["198.51.100.5/24"] ;
      back/C ok dev=eth1 ; listener/0.0.0.0 dev=eth1
    quiet: port/80 client=C ; iface/eth0 ; iface/eth9 inet=[] ; back/C ok dev=eth0 ;
      listener/0.0.0.0 dev=eth9""")
def rule_listen_narrow(wish, listening, holder, bound_to, interfaces, back, sockets, sent_on):
    """The socket is bound to loopback, to no address of the client's family, or to none of ours;
    that does not matter where a rule sends on what comes, to a port that is heard."""
    client, far = wish["client"] or "", [r for r in listening if not is_loopback(r["addr"])]
    who = misfit(far, is_address(client), interfaces, back) if far else "no other host"
    if listening and who and not is_loopback(client) and not any(sent_on.values()):
        yield dict(code="listen.other_address" if far else "listen.loopback_only", holder=holder,
                   bound_to=bound_to, who=who, proof=sockets + back,
                   severity="fail" if wish["asked"] else "info",
                   unbound=" without SO_BINDTODEVICE" * ("%" in bound_to),
                   confidence="certain" if "behind" not in who else
                   "likely" if all(row.get("dev") for row in far) else "possible")


@rule("""listen.other_address  where: service server  severity: warn
    says: {holder} listens on {bound_to}, and not on {others} of this host.
    fix: That may be meant. If clients use another address, let it listen there too.
    fires: port/80 ; listener/198.51.100.9 ; iface/eth0 inet=["198.51.100.9/24","192.0.2.11/24"]
    fires: port/80 ; listener/:: only_v6=true ; iface/eth0 inet6=["2001:db8::9/64"]
    quiet: port/80 ; listener/0.0.0.0 ; iface/eth0   quiet: port/80 ; listener/127.0.0.1
    fires: port/80 ; listener/0.0.0.0 dev=eth1 ; iface/eth0 ; iface/eth1 inet=["198.51.100.5/24"]
    quiet: port/80 ; listener/198.51.100.9 ; iface/eth0""")
def rule_listen_one_address(wish, listening, holder, bound_to, interfaces, sockets):
    """Bound to some of this host's addresses only, or to IPv6 where it has IPv4."""
    far = [row for row in listening if not is_loopback(row["addr"])]
    held = [link for row in far for link in all_links(interfaces) if link["name"] == row.get("dev")]
    whole = {v for row in far if row["addr"] in ANYWHERE and not held for v in versions_of(row)}
    bound = {row["addr"] for row in far}.union(far_reaching(*held))
    others = [a for a in far_reaching(*usable_links(interfaces)) if a not in bound
              and is_address(a) not in whole and (is_address(a) == 4 or whole != {4})]
    if far and others and not misfit(far, 0, interfaces, ()):
        yield dict(holder=holder, bound_to=bound_to, others=", ".join(others[:3]), proof=sockets,
                   severity="warn" if wish["asked"] else "info")


@rule("""listen.backlog_full  where: service  sure: likely
    says: {holder} does not accept connections; waiting on port {port}: {waiting}{limit}{dropped}.
      New ones get no answer.
    fix: Look at the program's threads, load and log. It is stuck or too slow; if it is only slow,
      raise its backlog and net.core.somaxconn.
    given: port/80 ; listener/0.0.0.0   fires: watch/tcp ok 80={"waiting":3,"limit":2}
    fires: watch/tcp ok 80={"waiting":1,"limit":2,"dropped":4} ; grown//proc/net/netstat ok
      TcpExtListenOverflows=4   quiet: watch/tcp ok 80={"waiting":1,"limit":2,"dropped":4}
    fires: watch/tcp ok 80={"waiting":2,"limit":2} ; loop/127.0.0.1 ok open=0 silent=1
    quiet: watch/tcp ok 80={"waiting":2,"limit":2}""")
def rule_listen_backlog(watched, watch, grown, loop, holder):
    """More wait than the backlog allows: the kernel drops further SYNs, which looks like loss.

    A socket counts as dropped also SYNs that no route leads back to: an overflow has a counter.
    """
    waiting, limit, dropped = (watched.get(key) for key in ("waiting", "limit", "dropped"))
    lost = [row for row in grown if said(row, "TcpExtListenOverflows")]
    mute, known = saying(loop, "silent", 1), limit is not None
    full = known and (waiting > limit or mute and queue_fills(watched, loop))
    if full or waiting and lost and (dropped or not known):
        yield dict(holder=holder, waiting=waiting, limit=" (its backlog is %d)" % limit if known
                   else "", dropped=", SYNs dropped meanwhile: %d" % dropped if dropped else "",
                   confidence="certain" if waiting and mute or dropped else "likely",
                   proof=watch + lost + mute)


@rule("""service.silent  where: service  severity: warn  sure: likely
    says: {holder} leaves connections on port {port} unaccepted ({waiting} waiting){state}.
    fix: Look at what the program is doing (`ps`, its threads and its log); restart it.
    given: port/80 ; listener/0.0.0.0   fires: watch/tcp ok 80={"waiting":1,"limit":9}
    fires: watch/tcp ok 80={"waiting":3,"unaccepted":3,"limit":9}
    fires: listener/0.0.0.0 inode=7 ; owners/self ok inodes={"7":5} processes={"5":{"state":"T"}}
    quiet: watch/tcp ok 80={"waiting":0,"limit":9}   quiet: watch/tcp ok 80={"waiting":9,"limit":2}
    """)
def rule_not_accepting(watched, watch, listening, owners, holder):
    """Connections stay in the queue, as they will where all that could accept them is halted."""
    waiting, limit = watched.get("waiting") or 0, watched.get("limit")
    states = {row["state"] for row in programs_of(listening, owners)}
    halted, states = bool(states) and states <= {"T", "t"}, states & set(STUCK)
    if (waiting or halted) and (limit is None or waiting <= limit) and not watched.get("dropped"):
        yield dict(holder=holder, waiting=waiting, proof=watch + owners,
                   severity="fail" if states or watched["unaccepted"] else "warn",
                   state="".join(": the process is " + STUCK[state] for state in sorted(states)))


@rule("""service.silent  where: service  sure: likely
    says: {holder} does not read UDP port {port}: {waiting} bytes wait in its buffer, and {dropped}
      datagrams that found no room were dropped.
    fix: Look at what the program is doing (`ps`, its threads and its log); restart it.
    given: port/53 transport=udp
    fires: sockets/udp ok udp=[{"addr":"0.0.0.0","port":53,"waiting":213000,"dropped":9}]
    quiet: sockets/udp ok udp=[{"addr":"0.0.0.0","port":53,"waiting":213000,"dropped":0}]""")
def rule_udp_unread(wish, listening, sockets, grown, holder):
    """A full receive buffer: the kernel counts what it drops, for the socket and in all."""
    moved = [row for row in grown if said(row, "UdpRcvbufErrors") or said(row, "Udp6RcvbufErrors")]
    for row in listening if wish["transport"] == "udp" else ():
        if row.get("dropped") and (row["waiting"] or 0) >= UNREAD_BYTES // (1 + 3 * bool(moved)):
            yield dict(row, holder=holder, proof=sockets + moved)


@rule("""firewall.local  where: server  hides: BEYOND handshake.incomplete
    says: This host's firewall {fate} {transport} port {port}{whose}, in {chain} by "{rule}"{count}.
    fix: Change that rule, or put one before it that accepts; do it where these rules are written
      (ufw, firewalld, fail2ban, nft ...).   given: port/80 ; listener/0.0.0.0 ; iface/eth0
    fires: rules/nft ok bases=[{"backend":"nf_tables","family":"inet","table":"t","chain":"i",
      "hook":"input","priority":0,"policy":"drop",
      "chains":{"i":[]},"sets":{}}]   quiet: rules/nft ok
    fires: rules/nft ok bases=[{"backend":"nf_tables","family":"inet","table":"t","chain":"i",
      "hook":"input","priority":0,"policy":"drop","chains":{"i":["ct state new accept"]},"sets":{}}]
    quiet: rules/nft ok bases=[{"backend":"nf_tables","family":"inet","table":"t","chain":"i",
      "hook":"input","priority":0,"policy":"drop","chains":{"i":["accept"]},"sets":{}}]""")
def rule_firewall_inbound(wish, fates, listening, rules, rules_now, watched, grown):
    """The rules of nft and iptables, walked for the first packet of such a client.  What a rate
    limit does is not known: then it counts whether packets vanish while the client hangs."""
    lost, client = lost_meanwhile(wish, grown), wish["client"]
    hangs = lost and watched and (watched.get("half_open", {}).get(client)
                                  or client not in watched.get("peers", (client,)))
    for fate in [row for row in fates if listening or row["port"]]:
        if fate["fate"] != "accept":
            sure = {} if fate["fate"] else dict(severity="info", confidence="possible", hides="")
            if sure and lost and fate["first"]:
                sure = dict(confidence="likely", severity="fail" if hangs else "warn")
                fate = dict(fate, count=fate["count"] or " (%d packets came meanwhile and were not"
                            " delivered)" % lost)
            if fate["fate"] and not wish["asked"] and "dport" not in fate["rule"]:
                sure = dict(severity="warn")        # most rulesets close all ports but those meant
            yield dict(sure, fate=FATES[fate["fate"]], chain=fate["chain"], rule=line_words(fate),
                       count=fate["count"], whose=" " + fate["whose"],
                       transport=wish["transport"].upper(),
                       proof=rules + rules_now + grown * bool(lost))


@rule("""firewall.local  where: server  sure: likely
    hides: BEYOND handshake.incomplete
    says: {holder} listens and has room, and a connection of this host to itself ({address} port
      {port}) {how}: a local firewall stops it{unread}.
    fix: Look at the INPUT rules as root: `nft list ruleset`, `iptables-save -c`.
    given: port/80 ; listener/0.0.0.0 ; loop/127.0.0.1 ok open=0 silent=1
    fires: watch/tcp ok 80={"waiting":0,"limit":9}   fires: watch/tcp ok 80={"waiting":1,"limit":9}
    quiet: watch/tcp ok 80={"waiting":9,"limit":9}   quiet: watch/tcp ok 80={"waiting":1,"limit":0}
    """)
def rule_firewall_loop(listening, loop, watched, fates, holder):
    """The kernel completes handshakes for the program: only a filter keeps one from itself.  The
    rules may mean that, where they let clients pass or send them on; else it counts."""
    known = [fate for fate in fates if fate["fate"] in ("drop", "reject")]
    room = listening and watched and not known and not (
        queue_fills(watched, loop) or half_open_fills(watched))
    sure = all(fate["fate"] or re.search(TRANSLATES, fate["rule"] or "") for fate in fates)
    for row in saying(loop, "open", 0)[:1] if room else ():
        yield dict(holder=holder, address=row.subject, proof=[row], how="gets no answer" if said(
            row, "silent") else "is refused", severity="warn" if fates and sure else "fail",
            confidence="likely" if sure else "possible",
            unread="" if fates else " (its rules are for root to read)")


@rule("""firewall.local  where: server  hides: BEYOND
    says: {holder} turns {client} away by TCP wrappers (/etc/hosts.allow, /etc/hosts.deny).
    fix: Add `{daemon}: {client}` to /etc/hosts.allow.
    given: port/22 client=192.0.2.10 ; listener/0.0.0.0 port=22 ; owners/self ok inodes={"7":5}
      processes={"5":{"name":"sshd","wrapped":true}} ; wrappers/allow ok
    fires: wrappers/deny ok rules=[[["ALL"],["ALL"],[]]]
    quiet: wrappers/deny ok rules=[[["vsftpd"],["ALL"],[]]]
    quiet: wrappers/deny ok rules=[[["ALL"],["ALL","EXCEPT","192.0.2."],[]]]""")
def rule_wrappers(wish, listening, owners, wrappers, holder):
    """hosts_access(5), asked by programs that are linked with libwrap once they have accepted."""
    allow, deny = (about(wrappers, name) for name in ("allow", "deny"))
    for row in programs_of(listening, owners) if wish["client"] and allow and deny else ():
        if row["wrapped"] and wrappers_allow(
                allow["rules"], deny["rules"], row["name"], wish["client"]) is False:
            yield dict(holder=holder, client=wish["client"], daemon=row["name"],
                       proof=succeeded(wrappers) + owners)


@rule("""firewall.local  where: server client_network  sure: possible
    hides: BEYOND handshake.incomplete
    says: {lost} packets came and were not delivered while we looked, and nothing of {client} got to
      port {port}: a local firewall may stop them (its rules are for root to read).
    fix: Look at the INPUT rules as root: `nft list ruleset`, `iptables-save -c`.
    given: port/80 client=192.0.2.10 watched_s=9 ; listener/0.0.0.0 ; watch/tcp ok 80={}
    fires: grown//proc/net/snmp ok IpInReceives=7 IpInDelivers=3
    quiet: grown//proc/net/snmp ok IpInReceives=7 IpInDelivers=7
    quiet: grown//proc/net/snmp ok IpInReceives=7 IpForwDatagrams=7""")
def rule_firewall_undelivered(wish, watched, grown, fates):
    """While the client was said to try (--for): InReceives grows and InDelivers does not, as when
    INPUT or raw PREROUTING drops; rp_filter has a counter of its own."""
    client, lost = wish["client"], lost_meanwhile(wish, grown)
    if lost and not fates and client not in watched.get("peers", (client,)):
        yield dict(client=client, lost=lost, proof=grown)


def lost_meanwhile(wish, grown):
    """Packets that came and were not delivered while the client was said to try (--for); few: 0."""
    moved = {k: n for row in succeeded(grown) for k, n in row.value.items()}
    lost = undelivered_count(moved, is_address(wish["client"])) if wish["client"] else 0
    return lost if wish["watched_s"] and lost >= UNDELIVERED_SYNS \
        and not moved.get("TcpExtIPReversePathFilter") else 0


@rule("""route.return_missing  where: server  hides: handshake.incomplete
    says: This host has no way back to {client}: {how}.
    fix: Add the route to the client's network, or the default route; `ip route get {client}`.
    given: port/80 client=192.0.2.10   fires: back/192.0.2.10 ok error=ENETUNREACH
    fires: back/192.0.2.10 ok type=blackhole error=EINVAL   quiet: back/192.0.2.10 ok""")
def rule_return_missing(wish, back):
    """The kernel finds no route to the client, or refuses it: RTM_GETROUTE says so."""
    for row in [row for row in back if said(row, "error")][:wish["mode"] == "server"]:
        yield dict(client=host_of(row), proof=[row], how=NO_WAY.get(
            row.value["error"], row.value["error"]), severity="fail" if wish["client"] else "warn")


@rule("""route.return_missing  where: server  sure: likely
    says: SYNs to port {port} are dropped ({dropped} just now): no route leads to their
      clients{though}.
    fix: Add the default route, or the route to the clients' network; `ip route get` of a client.
    given: listener/0.0.0.0 ; grown//proc/net/snmp ok IpOutNoRoutes=3
    fires: port/80 ; watch/tcp ok 80={"dropped":3,"waiting":0}
    quiet: port/80 ; watch/tcp ok 80={"dropped":0,"waiting":0}
    quiet: port/80 ; watch/tcp ok 80={"dropped":3,"waiting":3}
    quiet: port/80 ; watch/tcp ok 80={"dropped":3} ; grown//proc/net/netstat ok
      TcpExtListenOverflows=3
    fires: port/80 client=C ; back/C ok ; watch/tcp ok 80={"dropped":3,"waiting":0}
    quiet: port/80 client=C ; back/C ok error=EINVAL ; watch/tcp ok 80={"dropped":3,"waiting":0}
    """)
def rule_return_unrouted(wish, watched, grown, back):
    """OutNoRoutes grows with the drops of the socket: of a client that nobody has named, or by a
    rule that refuses this port's answers only."""
    client, peers = wish["client"], watched.get("peers", ())
    rows = [row for row in grown if any(said(row, key) for key in OUT_NO_ROUTES)]
    queued = watched.get("waiting") or any(said(row, "TcpExtListenOverflows") for row in grown)
    known = client and any(said(row, "error") for row in back)
    if rows and watched.get("dropped") and not queued and not known:
        yield dict(dropped=watched["dropped"], proof=rows, severity="warn" if (
            client in peers if client else peers) else "fail", though="" if not client else
                   " (one leads to %s: does `ip rule` look at ports or marks?)" % client)


@rule("""route.return_missing  where: server  sure: likely  hides: handshake.incomplete
    says: This host drops packets because the way back would be another one (rp_filter), {count}
      while we looked{client}.
    fix: Correct the asymmetric route, or set net.ipv4.conf.*.rp_filter to 2 (loose).
    given: port/80 client=192.0.2.10 ; listener/0.0.0.0
    fires: grown//proc/net/netstat ok TcpExtIPReversePathFilter=3
    quiet: grown//proc/net/netstat ok TcpExtIPReversePathFilter=0""")
def rule_return_filtered(wish, watched, grown, listening):
    """Strict reverse path filtering (RFC 3704) dropped something while the port was watched."""
    busy = (wish["client"] in watched.get("peers", ())) if wish["client"] else watched.get("peers")
    for row in grown if listening else ():
        if said(row, "TcpExtIPReversePathFilter"):
            yield dict(count=row.value["TcpExtIPReversePathFilter"], proof=[row], severity="fail"
                       if wish["client"] and not busy else "warn",
                       client="; nothing of %s got here" % wish["client"] if wish["client"]
                       and not busy else "")


@rule("""handshake.incomplete  where: server server_network  sure: certain
    says: SYNs of {peer} arrive on port {port}, and the answers cannot leave: {hop}, the next hop of
      the way back on {dev}, does not answer at layer 2 (ARP or neighbor discovery).
    fix: Correct the route or rule of this host that leads there (`ip rule`, `ip route show table
      all`), or mend {hop}.   given: port/80 ; listener/0.0.0.0 ; back/192.0.2.9 ok via=G dev=eth0
    fires: watch/tcp ok 80={"half_open":{"192.0.2.9":2}} ; hops/G,eth0 ok state=FAILED
    quiet: watch/tcp ok 80={"half_open":{"192.0.2.9":2}} ; hops/G,eth0 ok state=REACHABLE
    quiet: watch/tcp ok 80={"half_open":{"192.0.2.9":0}} ; hops/G,eth0 ok state=FAILED""")
def rule_handshake_hop(wish, watched, watch, back, hops):
    """SYN_RECV, and the neighbor entry to which the SYN/ACKs would go has failed."""
    for peer, (hop, dev) in dead_hops(watched, back, hops)[:1]:
        yield dict(peer=peer, hop=hop, dev=dev, proof=watch + back + hops,
                   confidence="likely" if hop == peer else "certain", severity="fail" if
                   wish["client"] == peer or not watched["peers"] else "warn")


@rule("""handshake.incomplete  where: server_network transit client_network  sure: likely
    says: SYNs of {peers} arrive on port {port}, the SYN/ACK is sent again and again, and no ACK
      comes back{also}.
    fix: Follow the way back from here to {peer}: its gateway, asymmetric routes, firewalls with
      state. `tcpdump -ni any host {peer} and port {port}` shows the SYN/ACK leaving.
    ask: Where do the SYN/ACKs from port {port} of the server to {peer} go, and who drops them?
    given: port/80 ; listener/0.0.0.0   fires: watch/tcp ok 80={"half_open":{"192.0.2.10":2}}
    quiet: watch/tcp ok 80={"half_open":{"192.0.2.10":0}}""")
def rule_handshake_incomplete(wish, watched, watch, back, hops, loop, rules, rules_now):
    """SYN_RECV with SYN/ACKs sent again: the answer, or the ACK to it, is lost."""
    known = [peer for peer, _ in dead_hops(watched, back, hops)]
    stuck = sorted(peer for peer, resent in watched.get("half_open", {}).items()
                   if resent and peer not in known and not is_loopback(peer))
    ours = [peer for peer in stuck if peer == wish["client"]]
    others = set(watched.get("peers", ())) - set(stuck)
    dropped = stuck and dropped_meanwhile(wish, (ours or stuck)[0], rules, rules_now)
    also = "".join('; meanwhile this host itself dropped %d by "%s"' % row for row in dropped[:1])
    mute = saying(loop, "silent", 1) if half_open_fills(watched) else []
    also += "; they fill its SYN backlog, and a new connection gets no answer" * bool(mute)
    if not ours and len(stuck) >= FLOOD_PEERS_LIMIT:
        also += "; so many at once (%d) may be a flood of SYNs with forged sources" % len(stuck)
    if stuck:               # a public server always meets some that never answer
        yield dict(peers=", ".join((ours or stuck)[:3]), peer=(ours or stuck)[0], also=also,
                   suspects=["server"] * bool(dropped) + "server_network transit client_network"
                   .split(), confidence="possible" if "flood" in also else "likely",
                   proof=watch + back + rules_now * bool(dropped) + mute, severity="fail" if mute
                   or ours or not wish["client"] and not others else "warn")


@rule("""service.error  where: service  severity: warn  sure: likely
    says: {holder} does not close: {count} connections on port {port} stay in CLOSE_WAIT, long ended
      by their peers.
    fix: The program leaks connections: look at its threads; restart it, then mend it.
    given: port/80 ; listener/0.0.0.0   fires: watch/tcp ok 80={"fewest":{"CLOSE_WAIT":20}}
    quiet: watch/tcp ok 80={"fewest":{"CLOSE_WAIT":1}}""")
def rule_close_wait(watched, watch, holder):
    """CLOSE_WAIT is left only by the program's close()."""
    count = watched.get("fewest", {}).get("CLOSE_WAIT", 0)
    if count >= CLOSE_WAIT_LIMIT:
        yield dict(count=count, holder=holder, proof=watch)


@rule("""host.exhausted  where: service server  hides: AWAY
    says: {name} (pid {pid}) has {descriptors} of {limit} file descriptors open: it cannot accept
      another connection.   fix: Raise LimitNOFILE of its unit (`ulimit -n`), or find the leak.
    given: port/80 ; listener/0.0.0.0 inode=7
    fires: owners/self ok inodes={"7":5} processes={"5":{"descriptors":99,"limit":99}}
    quiet: owners/self ok inodes={"7":5} processes={"5":{"descriptors":9,"limit":99}}""")
def rule_descriptors_exhausted(listening, owners):
    """A process at its limit of descriptors gets EMFILE from accept()."""
    for row in programs_of(listening, owners):
        if row["limit"] and row["descriptors"] >= row["limit"] - 1:
            yield dict(row, proof=owners)


@rule("""host.exhausted  where: server  severity: warn  sure: likely  hides: AWAY
    says: This host runs short: {what}.   fix: {cure}
    given: port/80   fires: conntrack/count ok entries=65536 ; conntrack/max ok entries=65536
    fires: limits/disk ok /var=0.0   fires: kernel_log/self ok lines=["nf_conntrack: table full"]
    fires: grown//proc/net/netstat ok TcpExtSyncookiesSent=3
    quiet: limits/disk ok /var=30.0   quiet: kernel_log/self ok lines=["eth0: Link is Up"]""")
def rule_server_limits(wish, full, conntrack, limits, kernel_log, grown):
    """Tables, memory and disks that are full, and the kernel's own words about them."""
    if wish["mode"] != "server":
        return
    if full:
        yield dict(what="it tracks as many connections as it may (%s)" % full, proof=conntrack,
                   cure="Raise net.netfilter.nf_conntrack_max.", severity="fail")
    short = ["%s has %.1f %% free" % item for item in sorted(about(limits, "disk").items())
             if item[1] < 1]
    kernel = about(limits, "kernel")
    used, _, most = (kernel.get("/proc/sys/fs/file-nr", "").split() + [None] * 3)[:3]
    if to_int(most) and to_int(used) > to_int(most) * 0.98:
        short.append("%s of %s files are open" % (used, most))
    stalled = find(r"some avg10=([0-9.]+)", kernel.get("/proc/pressure/memory", ""))
    if (to_float(stalled) or 0) > 20:
        short.append("programs wait for memory %s %% of the time" % stalled)
    if short:
        yield dict(what="; ".join(short), cure="Make room: see `df -h -i`, `free`.", proof=limits)
    for row in grown:
        if said(row, "TcpExtSyncookiesSent"):
            yield dict(what="more handshakes are open than its SYN backlog takes (SYN cookies)",
                       cure="A flood, or answers that get lost: see `ss -tn state syn-recv`.",
                       proof=[row])
    for row in succeeded(kernel_log):
        lines = [line for line in row.value["lines"] if not re.search(r"(?i)link is up", line)
                 and find(r"\bport (?:\S*:)?(\d+)", line) in (None, str(wish["port"]))]
        if lines:
            yield dict(what='the kernel says "%s"' % lines[-1], cure="See `dmesg -T`.", proof=[row],
                       severity="warn" if wish["asked"] else "info")


@rule("""service.error ssh.throttled ssh.denied ssh.algorithm  where: service client
    severity: info  sure: possible
    says: The log {log} says{whose}: "{line}".   fix: {cure}   given: port/22
    fires: logs/auth.log ok lines=[{"kind":"throttled","ip":"A","text":"x past MaxStartups"}]
    quiet: logs/auth.log ok lines=[{"kind":"accepted","ip":"A","text":"Accepted publickey"}]""")
def rule_log_lines(wish, logs, local_time):
    """The newest line of each kind of trouble, of the last minutes, and of the client if named."""
    client = wish["client"]
    for row in succeeded(logs):
        lines = {LOG_CODES.get(line["kind"], "ssh.denied"): line for line in row.value["lines"]
                 if (not client or names_address(line["text"], client))
                 and is_recent(line, local_time)}
        for code, line in lines.items():
            if code:
                yield dict(code=code, log=row.subject, line=line["text"], proof=[row],
                           whose=" of " + client if client else "", cure=LOG_CURES[code],
                           severity="warn" if client else "info")


# -- captures: what the packets of each flow say ---------------------------------------------------
#
# `attempts` are the flows that were asked about; where probes ran beside, only `recorded` has them:
# those are judged by what the probes saw.  A flow's value is told by `flow_value`.

sign("""firewall.local  where: client client_network  each: recorded  sure: likely  hides: BEYOND
    means: Seen at the client: SYN/ACKs come, and the SYN is sent again: dropped behind the capture.
    says: The SYN/ACK of {server} reaches {client} ({synack} times), which goes on sending its SYN:
      its own firewall or reverse-path filter drops it.
    fix: Look at the INPUT rules and at rp_filter of {client}: is `ct state established` accepted?
    fires: flow/A ok seen_at=client state=unconfirmed syn=3 synack=3
    quiet: flow/A ok seen_at=server state=unconfirmed syn=3 synack=3
    quiet: flow/A ok seen_at=client state=unconfirmed syn=1 synack=3""",
    lambda row, live: row.value["state"] == "unconfirmed" and row.value["seen_at"] == "client"
    and row.value["syn"] > 1 and (live and dict(suspects=["client"]) or True))


@rule("""tcp.reset  where: transit server_network client_network  each: recorded  sure: likely
    says: A reset in the name of {end} ends the connection of {client} to port {server_port}, and it
      comes from another distance (TTL {forged}) than all else from there (TTL {genuine}): a box on
      the way sends it.
    fix: Ask who runs a firewall or inspection between {client} and {server}, {routers} hops from
      where this was recorded.
    fires: flow/A ok state=reset foreign_rst=[false,true] ttl=[64,60] rst_ttl=[null,62]
    quiet: flow/A ok state=reset rst=1 ttl=[64,60] rst_ttl=[null,60]""")
def rule_flow_reset(row):
    """A forged reset has passed another number of routers than the packets of him it names."""
    flow = row.value
    for place, end in enumerate(("client", "server")):
        if flow["foreign_rst"][place]:
            routers = hops_of(flow["rst_ttl"][place])
            near = flow["seen_at"] and not routers and [flow["seen_at"] + "_network", "transit"]
            return dict(end=flow[end], genuine=flow["ttl"][place], forged=flow["rst_ttl"][place],
                        routers=routers, suspects=near,
                        hides="tcp.reset tcp.closed tls.handshake_cut http.no_response")
    return None


sign("""oneway.forward
    where: transit client_network server_network  each: unheard_of  sure: possible
    means: On the server: nothing came from the client (or from anybody) while we listened.
    says: No packet{of} came to this host's {goal} in {seconds:.0f} s{others}.
    fix: Did the client try meanwhile? If so, its packets are lost before this host, or it asks
      another address: record at both ends (`netdiag.py capture TARGET` there) and compare.
    ask: Where do the client's packets to this host's {goal} go? Nothing came in {seconds:.0f} s.
    fires: target/- ok host=null mode=capture protocol=tcp port=443 ; capture/live ok
    quiet: target/- ok host=null mode=capture protocol=tcp port=443 ; capture/live ok ;
      flow/A ok""",
    lambda row, wish, flow: dict(of=" of " + wish["client"] if wish["client"] else "",
        goal="port %d" % wish["port"] if wish["port"] else "address",
        others=", though %s came (is there a NAT or a proxy between?)" % ", ".join(unique(
            r.value["client"] for r in flow)[:3]) if flow else ""))
sign("""oneway.forward
    where: server_network transit client_network  each: recorded  sure: likely
    hides: service.silent tls.handshake_stalled http.no_response path.loss
    means: Seen at the client: its ACK and its data do not get there.
    says: {client} gets the SYN/ACK of {server} and confirms it in vain: the SYN/ACK comes {synack}
      times, and no data is acknowledged. What follows the SYN is lost going there.
    fix: Look for a firewall that lets SYNs pass and drops what follows (asymmetric routes, a full
      connection table), and on the server at `ss -ltn`: is the accept queue full?
    fires: flow/A ok handshake=true synack=3 stuck.sender=client stuck.acked=0
    quiet: flow/A ok handshake=true synack=1 stuck.sender=client stuck.acked=0
    quiet: flow/A ok handshake=true synack=3""",
    lambda row: row.value["synack"] > 1 and row.value["handshake"] and row.value["stuck"]
    and row.value["stuck"]["sender"] == "client" and row.value["stuck"]["acked"] == 0
    and row.value["seen_at"] != "server")
sign("""listen.backlog_full  where: service server  each: attempts  sure: likely  hides: BEYOND
    means: Seen at the server: the client's ACK comes, and the SYN/ACK is sent again all the same.
    says: {client} confirms its connection to {server} port {server_port}, and the SYN/ACK is sent
      again ({synack} times) as if it had not: the accept queue of the service is full.
    fix: See `ss -ltn` (Recv-Q above Send-Q): the service does not accept, or not fast enough.
    fires: flow/A ok handshake=true synack=3 seen_at=server
    quiet: flow/A ok handshake=true synack=3 seen_at=client
    quiet: flow/A ok handshake=true synack=3 seen_at=server bytes=[5,50]""",
    lambda row: row.value["handshake"] and row.value["synack"] > 2 and not row.value["bytes"][1]
    and row.value["seen_at"] == "server")


@rule("""oneway.reverse  where: server_network transit client_network client  each: attempts
    hides: oneway.forward
    says: {server} answers the SYN of {client} to port {server_port} ({synack} times){again}: {how}.
    fix: Follow the way from {server} back to {client}: its gateway, rp_filter, asymmetric routes,
      firewalls with state that did not see the SYN.
    fires: flow/A ok seen_at=server state=unconfirmed syn=2 synack=3
    quiet: flow/A ok seen_at=client state=unconfirmed syn=2 synack=3
    quiet: flow/A ok seen_at=server state=abandoned syn=2 synack=1 rst=1""")
def rule_oneway_reverse(row, fine_flows):
    """The SYN/ACK leaves again and again; that the SYN comes again shows that it did not arrive."""
    flow, again = row.value, row.value["syn"] > 1
    if flow["state"] != "unconfirmed" or flow["seen_at"] == "client" and again:
        return None
    return dict(flow_severity(row, fine_flows), confidence="likely" if again else "possible",
                again=", and the SYN comes again (%d times)" % flow["syn"] if again else "",
                how="its answers are lost on the way back" if again else "its answers are lost on"
                " the way back, or the client's ACK on its way here, or the client has gone")


@rule("""firewall.local listen.backlog_full route.return_missing handshake.incomplete
    where: server  each: attempts  sure: likely  hides: BEYOND
    says: The SYN of {client} to port {server_port} arrives here, at {server}, {times}, and nothing
      leaves: {why}.
    fix: {cure}
    given: capture/live ok
    fires: flow/A ok seen_at=server state=silent syn=4   fires: flow/A ok seen_at=server
      state=silent syn=4 ; dropped//proc/net/snmp ok IpOutNoRoutes=4
    fires: flow/A ok seen_at=server state=silent syn=4 client=C ; returning/C ok via=G dev=eth0 ;
      returning/G,eth0 ok state=FAILED
    quiet: flow/A ok seen_at=client state=silent syn=4
    quiet: flow/A ok seen_at=server state=opening syn=1""")
def rule_flow_dropped(row, live, attempts, fine_flows, dropped_here, returning):
    """Seen at the server: SYNs come in, and neither SYN/ACK, RST nor ICMP goes out.

    The kernel's counters are about the whole host: alone they prove nothing about this port.
    """
    flow = row.value
    if not live or flow["state"] != "silent" or flow["seen_at"] != "server" \
            or flow["protocol"] != "tcp":
        return None
    code, why, cure = DROPPED_HERE[
        "queue" if dropped_here.get("TcpExtListenOverflows") and any(
            r.value["synack"] for r in saying(attempts, "server_port", flow["server_port"]))
        else "unrouted" if sum(dropped_here.get(key, 0) for key in OUT_NO_ROUTES) >= flow["syn"]
        else "hop" if dead_hop(flow["client"], returning, returning)
        else "reverse path" if dropped_here.get("TcpExtIPReversePathFilter", 0) >= flow["syn"]
        else "filter"]
    return dict(code=code, why=why, cure=cure, times=syn_times(flow),
                suspects=["server", "server_network"][:1 + (code == "handshake.incomplete")],
                **({} if code == "listen.backlog_full" else flow_severity(row, fine_flows)))


@rule("""tcp.filtered path.dead_end  where: transit server_network server  each: attempts
    sure: possible
    says: No answer to the SYN of {client} to {server} port {server_port}, sent {times}{contrast}.
    fix: Record on the server as well (`netdiag.py capture --port {server_port} --for 60s`): does
      the SYN arrive there?
    fires: flow/A ok state=silent syn=4 ttl=[64,null]
    fires: flow/A ok state=silent syn=4 seen_at=server   fires: flow/A ok state=silent syn=2
    quiet: flow/A ok state=unconfirmed syn=4 synack=1
    quiet: flow/A ok state=silent syn=4 seen_at=server ; capture/live ok
    quiet: flow/A ok state=silent protocol=udp""")
def rule_flow_silent(row, live, flow, fine_flows):
    """SYNs leave, and nothing comes back at all: lost going, lost coming back, or dropped there."""
    arrived, bare = row.value["seen_at"] == "server", row.value["ttl"][1] is not None
    if row.value["state"] != "silent" or row.value["protocol"] != "tcp" or arrived and live:
        return None
    words = dict(flow_severity(row, fine_flows), times=syn_times(row.value))
    if bare:                                      # RFC 9293 3.10.7.4 (RFC 5961): a challenge ACK
        return dict(words, code="tcp.filtered", suspects=["server", "server_network"],
                    confidence="likely", contrast=" but a bare ACK: an older connection of these"
                    " ports is still open there, or in a firewall before it")
    if arrived:
        return dict(words, suspects=["server", "server_network"], confidence="likely",
                    contrast=", though it arrives on the server's segment")
    others = [r.value["server_port"] for r in rows_about(flow, row.subject)
              if r.value["synack"] or r.value["state"] == "refused"]
    alive = "" if not others else ", though it answers others" \
        if row.value["server_port"] in others else ", though port %d there answers" % others[0]
    return dict(words, code="tcp.filtered" if others else "path.dead_end",
                confidence="likely" if others else "possible",
                contrast=alive or ", nor any other packet from there")


@rule("""tcp.refused  where: service server  each: attempts  sure: likely  hides: path.loss
    says: {server} answers the SYN of {client} with a reset{after}{ttls}: {why}.
    fix: On the server, `ss -ltnp sport = :{server_port}` shows who listens.
    fires: flow/A ok state=refused syn=1 rst=1
    quiet: flow/A ok state=reset syn=1 synack=1 rst=1""")
def rule_flow_refused(row, flow, fine_flows):
    """A RST instead of a SYN/ACK: of the server, or of a box at another distance than it."""
    if row.value["state"] != "refused":
        return None
    ttl, rtt_ms = row.value["rst_ttl"][1], row.value["rtt_ms"]
    known = {r.value["ttl"][1] for r in rows_about(flow, row.subject)
             if r.value["synack"] and r.value["ttl"][1]}
    words = dict(why="nobody listens on port %d, or a firewall says so in its place"
                 % row.value["server_port"])
    if known and hops_of(ttl) not in map(hops_of, known):
        words = dict(suspects=["transit", "server_network"], why="but its SYN/ACKs come with"
                     " TTL %d: a firewall on the way answers in its place" % min(known))
    return dict(flow_severity(row, fine_flows), ttls=" (TTL %d)" % ttl,
                after="" if rtt_ms is None else " after %g ms" % rtt_ms, **words)


@rule("""tcp.rejected path.net_unreachable path.host_unreachable path.loop udp.closed
    where: server_network transit  each: attempts  hides: path.dead_end
    says: {client} asks {server} for {protocol} port {server_port} and {router} answers
      '{words}'{unseen}.   fix: {cure}
    fires: flow/A ok state=rejected syn=1 icmp=3/13@G
    quiet: flow/A ok state=established icmp=3/4@G""")
def rule_flow_rejected(row, fine_flows):
    """A SYN or a datagram that a router, a firewall or the server itself refuses by ICMP."""
    flow = row.value
    if flow["state"] != "rejected":
        return None
    error = flow["icmp"][0]
    kind, own = icmp_kind(flow["server"], error), error["from"] == flow["server"]
    code = next((code for kinds, code in (
        (NET_UNREACHABLE, "path.net_unreachable"), (HOST_UNREACHABLE, "path.host_unreachable"),
        (TIME_EXCEEDED, "path.loop")) if kind in kinds), "tcp.rejected")
    cure = "Allow %(client)s to port %(server_port)d in the rules (or the routes) of " % flow
    cure += error["from"] + "."
    if flow["protocol"] == "udp" and code == "tcp.rejected" and own:
        code, cure = "udp.closed", "Start the service or correct the port: `ss -lunp` there."
    asked_on = own and flow["seen_at"] == "server" and flow["syn"] > 1
    return dict(flow_severity(row, fine_flows), code=code, router=error["from"], cure=cure,
                words=icmp_words(flow["server"], error), suspects=refusers(flow, error, code),
                unseen=", which the client may never see: it goes on asking" if asked_on else "")


@rule("""path.mtu_blackhole path.loss  where: transit server_network client_network  each: attempts
    sure: likely  hides: service.silent   says: Data of {sender} is {fate} {size} bytes{passed}.
    fix: {cure}
    fires: flow/A ok stuck.bytes=1448 stuck.passed=200
    fires: flow/A ok stuck.bytes=200 stuck.passed=300   fires: flow/A ok stuck.bytes=9 idle_s=300
    fires: flow/A ok stuck.bytes=1448 stuck.missing=true stuck.again=0
    quiet: flow/A ok retransmits=4   quiet: flow/A ok stuck.bytes=1448 zero_window=3""")
def rule_flow_stuck(row):
    """Segments that are sent again and again, or that never come: is it their size?"""
    flow, stuck = row.value, row.value["stuck"]
    if not stuck or flow["zero_window"]:
        return None
    told = any(icmp_kind(flow["server"], error) in TOO_BIG for error in flow["icmp"])
    large = told or stuck["bytes"] > CLAMP_MSS and stuck["passed"] < stuck["bytes"]
    idle, forgotten = idle_words(flow)
    fate = "missing in what arrives: later segments come, but not" if stuck["missing"] else (
        "acknowledged to %s bytes and stuck: %s segments of" % (
            stuck["acked"] or "no", "sent again %d times, in vain, are" % stuck["again"]
            if stuck["again"] else "not taken by the other end, which goes on, are"))
    return dict(code="path.mtu_blackhole" if large else "path.loss", sender=flow[stuck["sender"]],
                confidence="likely" if large and (told or stuck["passed"]) else "possible",
                fate=fate, size=stuck["bytes"],
                passed=", while segments of %d bytes got through" % stuck["passed"]
                * bool(stuck["passed"]) + idle,
                cure="Let ICMP 'too big' (3/4; v6 2/0) pass; or clamp the MSS at the"
                " tunnel (`--clamp-mss-to-pmtu`)." if large else forgotten or
                "Record at the other end as well: do these segments arrive there?")


def idle_words(flow):
    """(", ... of silence", what helps) of a flow whose last data came after a long pause."""
    idle_s = flow["idle_s"]
    return ("", "") if idle_s < IDLE_S else (
        ", after %d s of silence" % idle_s, "A NAT, a balancer or a firewall on the way forgets"
        " quiet connections: let TCP keepalives go out more often than every %d s." % idle_s)


@rule("""tcp.reset tcp.closed  where: service server  each: attempts  sure: likely
    says: {server} accepts the connection of {client} on port {server_port} and {how}, {when}.
    fix: {cure}
    fires: flow/A ok state=reset handshake=true rst=1 ended_by=server
    fires: flow/A ok state=closed handshake=true fin=1 ended_by=server
    quiet: flow/A ok state=closed handshake=true fin=1 ended_by=server bytes=[5,5]
    quiet: flow/A ok state=closed handshake=true fin=1 ended_by=server lasted_s=60
    fires: flow/A ok state=closed handshake=true fin=1 ended_by=server lasted_s=60 server_port=22
    quiet: flow/A ok state=closed handshake=true fin=1 ended_by=client
    fires: flow/A ok state=reset handshake=true rst=1 ended_by=server bytes=[5,5] unanswered=true
    fires: flow/A ok state=reset handshake=true rst=1 ended_by=server bytes=[5,5] unanswered=true
      idle_s=300
    quiet: flow/A ok state=reset handshake=true rst=1 ended_by=server bytes=[5,5]
    quiet: flow/A ok state=closed handshake=true fin=1 ended_by=server bytes=[5,5] unanswered=true
    quiet: flow/A ok state=reset handshake=true rst=1 ended_by=client bytes=[5,5]""")
def rule_flow_ended(row, fine_flows):
    """A handshake, and then the server's RST or FIN without a byte of its own, or a RST in answer
    to data; a client that says nothing for long (a spare connection) is sent away by any server."""
    flow = row.value
    greets = PROTOCOLS[PORT_PROTOCOL.get(flow["server_port"], "tcp")].greeting_s
    idle = not flow["bytes"][0] and (flow["lasted_s"] or 0) > GREETING_S and not greets
    cut = flow["bytes"][1] and flow["state"] == "reset" and flow["unanswered"]
    pause, forgotten = idle_words(flow)
    return flow["handshake"] and (cut or not flow["bytes"][1]) and flow["ended_by"] == "server" \
        and not idle and dict(
            flow_severity(row, fine_flows), how=ENDINGS[flow["state"]],
            when="with data of the client unanswered" + pause if cut else
            "before it has sent any data",
            suspects=["server_network", "transit", "service"] if forgotten else None,
            cure=forgotten or "See the service's log: an allow list, a full service or a dead back"
            " end does this.",
            code="tcp.reset" if flow["state"] == "reset" else "tcp.closed")


@rule("""service.silent  where: service server_network transit  each: attempts
    says: {server} acknowledges the data of {client} on port {server_port} and has sent none for
      {quiet_s:.0f} s.
    fix: Does the service hang? Look at its log; record on the server as well: does it answer?
    fires: flow/A ok handshake=true bytes=[80,0] quiet_s=6
    quiet: flow/A ok handshake=true bytes=[80,0] quiet_s=1
    quiet: flow/A ok handshake=true bytes=[80,0] quiet_s=6 ended_by=client""")
def rule_flow_mute(row, fine_flows):
    """The kernel of the server takes the request, and no answer comes by."""
    flow, near = row.value, row.value["seen_at"] == "server"
    if not flow["handshake"] or not flow["bytes"][0] or flow["bytes"][1] or flow["ended_by"] \
            or flow["silent"] or flow["quiet_s"] <= GREETING_S:
        return None
    return dict(flow_severity(row, fine_flows), confidence="likely" if near else "possible",
                suspects=["service"] if near else None)


sign("""service.silent  where: service server  each: attempts  sure: likely
    means: The receive window of the server stays closed: its program does not read.
    says: {server} takes no more data of {client} on port {server_port}: its window stays closed (0
      in {closed} packets), as the program there does not read.
    fix: Does the service hang? Look at its log, its threads and its disk.
    fires: flow/A ok handshake=true window=[900,0] zero_window=3 bytes=[80,0]
    quiet: flow/A ok handshake=true window=[900,0] zero_window=3 bytes=[80,0] ended_by=client
    quiet: flow/A ok handshake=true window=[0,900] zero_window=3 bytes=[80,90]
    quiet: flow/A ok handshake=true window=[900,0] zero_window=1 bytes=[80,90]""",
    lambda row, fine_flows: row.value["window"][1] == 0 and row.value["zero_window"] > 2
    and not row.value["ended_by"]
    and dict(flow_severity(row, fine_flows), closed=row.value["zero_window"]))
sign("""path.loss  where: transit client_network server_network  each: attempts  severity: warn
    sure: likely   means: Segments are sent again in a flow that goes on.
    says: {retransmits} of {packets} packets between {client} and {server} port {server_port} were
      sent again.
    fix: Run `mtr -T -P {server_port} {server}` from both ends: loss up to the last hop is real.
    fires: flow/A ok handshake=true packets=50 retransmits=4
    quiet: flow/A ok handshake=true packets=900 retransmits=4
    quiet: flow/A ok handshake=true packets=50 retransmits=4 icmp=3/4@G""",
    lambda row: row.value["handshake"] and not row.value["stuck"] and not any(
        icmp_kind(row.value["server"], error) in TOO_BIG for error in row.value["icmp"])
    and row.value["retransmits"] > 1 + row.value["packets"] // 100)
sign("""udp.no_reply
    where: service server server_network  each: attempts  severity: warn  sure: possible
    means: Datagrams of a protocol that answers, and no answer.
    says: No reply from {server} to {packets} datagrams of {client} to UDP port {server_port}.
    fix: {cure}
    fires: flow/A ok protocol=udp state=silent server_port=53
    fires: flow/A ok protocol=udp state=silent server_port=53 seen_at=server ; capture/live ok
    quiet: flow/A ok protocol=udp state=silent server_port=514
    quiet: flow/A ok protocol=udp state=answered server_port=53""",
    lambda row, live: (row.value["protocol"], row.value["state"]) == ("udp", "silent")
    and PORT_PROTOCOL.get(row.value["server_port"]) in UDP_QUESTIONS and (
        dict(suspects=["service", "server"], cure="They arrive here: look at the log of the service"
             " and at this host's own firewall (`netdiag.py server %d/udp`)."
             % row.value["server_port"]) if live and row.value["seen_at"] == "server" else
        dict(cure="Record at %s as well: do they arrive there, and does an answer leave?"
             % row.value["server"])))


# -- reports of two ends, and of two times --------------------------------------------------------

sign("""listen.none listen.loopback_only listen.other_address listen.backlog_full firewall.local
    route.return_missing host.exhausted tcp.refused handshake.incomplete
    where: service server  each: ends  hides: oneway.forward oneway.reverse
    means: The server's own report names the fault that the client sees.
    says: {client} sees {seen}, and the report of {server} says why: {why}
    fix: {cure} Do that on {server}.   given: report/c ok role=client code=tcp.refused
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
    says: {target} works now and then: {failed} of {checks} checks failed (outages: {count},
      {seconds:.0f} s in all): {kinds}.
    fix: See what happened at {times}.
    fires: checks/A ok checks=60 failed=5 outages=[{"from":5000,"to":5006,"code":"tcp.refused",
      "suspects":["service"]}]
    quiet: checks/A ok   quiet: checks/A ok checks=5 failed=5 outages=[{"from":5000,"to":5006,
      "code":"tcp.refused","suspects":["service"]}]""",
    lambda row: 0 < row.value["failed"] < row.value["checks"] and dict(
        lapse_words(row.subject, row.value["outages"]), scope=None))
sign("""intermittent  where: server_network service transit  each: lapse_causes
    means: What was diagnosed in the outages, once for each cause, under that cause's own code.
    says: {when}: {words}   fix: {cure}   ask: {request}
    fires: checks/A ok checks=9 failed=5 outages=[{"from":5,"to":9,"code":"tcp.refused","ask":null,
      "suspects":["service"],"confidence":"likely","summary":"It ended before the first check.",
      "fix":["Renew it now."],"when":"10:00:00-10:00:04"}]   quiet: checks/A ok
    quiet: checks/A ok checks=5 failed=5 outages=[{"code":"tcp.refused","when":"10:00:00"}]""",
    lambda row: row.value)
sign("""oneway.reverse  where: server_network transit client_network  each: ends
    hides: oneway.forward
    means: The server answers this client's SYNs, and the client hears nothing.
    says: What {client} sends arrives at {server} port {port}{how}; the answer does not come back.
    fix: Follow the way from {server} back to {came}: its gateway, asymmetric routes, firewalls that
      did not see the SYN.   given: report/c ok role=client code=path.dead_end
    fires: report/s ok role=server mode=server half_open={"198.51.100.9":3}
    fires: report/s ok role=server mode=capture flows=[{"client":"198.51.100.9",
      "synack":3,"syn":3,"server_port":443,"isn":0,"handshake":false}]
    fires: report/s ok role=server mode=server half_open={"203.0.113.77":3}
    quiet: report/s ok role=server mode=server half_open={"203.0.113.7":3,"203.0.113.8":1}
    quiet: report/s ok role=server mode=server""",
    lambda row: row.value["client"]["code"] in SILENCES
    and not has_opened(row.value["client"]) and answered_in_vain(row))
sign("""oneway.forward  where: server_network transit client_network  each: stalled_ends
    means: The client has the SYN/ACK, and the server goes on sending it: the ACK is lost.
    says: {client} gets the SYN/ACK of {server} port {port}, and what it says then does not arrive:
      the server still waits for its ACK, and sends the SYN/ACK again.
    fix: Look between {client} and {server} for a firewall that lets SYNs pass and drops what
      follows: asymmetric routes, a full connection table.
    given: report/c ok role=client code=http.no_response facts={"TCP":"open"}
    fires: report/s ok role=server mode=server half_open={"198.51.100.9":3}
    fires: report/s ok role=server mode=capture flows=[{"client":"198.51.100.9",
      "synack":3,"syn":1,"server_port":443,"isn":0,"handshake":false}]
    quiet: report/s ok role=server mode=server half_open={"203.0.113.77":3}
    quiet: report/s ok role=server mode=server""",
    lambda row: seen_as(row) and answered_in_vain(row) and dict(
        answered_in_vain(row), confidence="likely"))
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
    fires: report/s ok role=server mode=capture captured=true flows=[{"client":"203.0.113.7",
      "synack":1,"syn":1,"server_port":443,"isn":0,"handshake":true}]
    quiet: report/s ok role=server mode=capture captured=true flows=[{"client":"203.0.113.7",
      "synack":3,"syn":3,"server_port":443,"isn":0,"handshake":false}]
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
    fix: Look at what changed first.   given: report/c ok role=client code=tcp.refused began_s=9000
    fires: report/b ok role=before code=ok facts={"route":"via G"}
    quiet: report/b ok role=before code=tcp.refused""",
    lambda row: dict(row.value, scope=None, when=utc_text(row.value["before"]["began_s"]),
        was=row.value["before"]["code"], code_now=row.value["now"]["code"],
        what="; ".join("%s (%s -> %s)" % (name, *pair) for name, pair in row.value["what"].items())
        or "nothing that both runs have seen"))


# -- what the rules have in common ----------------------------------------------------------------

SERVER_FAULTS = ("listen.none listen.loopback_only listen.other_address listen.backlog_full"
                 " firewall.local route.return_missing host.exhausted").split()
TRAIT_PLACES = {"host": ("client", "client_network"), "source segment": ("client_network",),
                "target": ("service", "server", "server_network"),
                "target host": ("server", "server_network")}
STALLS = "oneway.forward tls.handshake_stalled http.no_response service.silent".split()
SILENCES = ("tcp.filtered path.dead_end path.loss undecided oneway.forward intermittent"
            " udp.no_reply").split()
RULED_OUT = table_of("EINVAL=EINVAL EHOSTUNREACH=EHOSTUNREACH ENETUNREACH=EHOSTUNREACH")
FILES = dict(what="file descriptors", cure="Raise the limit (`ulimit -n`) or find the leak.")
EXHAUSTED = {"EMFILE": FILES, "ENFILE": FILES,
    "EADDRNOTAVAIL": dict(what="source ports", cure="Reuse or close connections: too many are open"
                          " or in TIME_WAIT (`ss -s`). Or widen net.ipv4.ip_local_port_range."),
    "ENOBUFS": dict(what="neighbor entries or memory",
                    cure="See net.ipv4.neigh.default.gc_thresh3 and the kernel log.")}
INBOUND = {False: dict(what="firewall", cure="Look at the INPUT rules and rp_filter here: is"
                " `ct state established` accepted?"),
    True: dict(what="reverse-path filter", cure="They come by another interface than the one that"
               " leads back: correct the routes, or set rp_filter=2 (`sysctl net.ipv4.conf`).")}
WORLD = "default 0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1 2000::/3".split()      # (VPN programs)
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
ADDRESS_KINDS = {0: "address", 4: "IPv4 address (A)", 6: "IPv6 address (AAAA)"}
MISMADE = ("tls.expired", "tls.not_yet_valid", "tls.name_mismatch")
DROPPED_HERE = {         # why a SYN that arrives is not answered, and what to do
    "queue": (
        "listen.backlog_full",
        "others were answered, and the kernel counts SYNs that found the accept queue full",
        "See `ss -ltn` (Recv-Q above Send-Q): the service does not accept fast enough."),
    "unrouted": (
        "route.return_missing", "the kernel counts as many to which it found no route back",
        "Add the default route, or the route to the client's network."),
    "hop": (
        "handshake.incomplete", "the next hop of the way back does not answer at layer 2 (ARP or"
        " neighbor discovery)", "Correct the route or rule of this host that leads back to the"
        " client (`ip route get`, `ip rule`), or mend that hop (`ip neigh`)."),
    "reverse path": (
        "route.return_missing", "the kernel counts as many that its reverse-path filter dropped",
        "Correct the route to the client, or set rp_filter=2 (`sysctl net.ipv4.conf`)."),
    "filter": (
        "firewall.local",
        "this host's own firewall drops it (or rp_filter, no way back, a full accept queue)",
        "See `nft list ruleset` and `iptables-save`; `netdiag.py server` says more.")}
PORTAL = re.compile(
    r"(?i)https?://([^/]*(portal|captive|hotspot|wifi|wlan|securelogin|network-auth)[^/]*/"
    r"|[^/]*/(fgtauth|guest/s/|captive|hotspot|splash))")
FILTERS = r"(?i)squid|proxy\b|zscaler|blue ?coat|web ?sense|mcafee web|umbrella|ironport"
SSH_OPTIONS = table_of("kex=KexAlgorithms host_key=HostKeyAlgorithms cipher=Ciphers mac=MACs")
ENDINGS = dict(silent="stays silent", closed="closes the connection", reset="resets the connection")
SSH_CUTS = {"closed_by_remote": "closed", "reset": "reset"}            # of SSH_ENDINGS
STAGES = table_of(
    "lookup=dns.not_found tls=tls.handshake_cut http=http.no_response untrusted=tls.untrusted_ca"
    " EAI_AGAIN=dns.failing EINVAL=http.no_response not_tls=tls.not_tls"
    " stalled=tls.handshake_stalled"
    " ECONNREFUSED=tcp.refused EHOSTUNREACH=path.host_unreachable"
    " ENETUNREACH=path.net_unreachable connect=tcp.filtered")
ORIGIN_STATUS = tuple(range(520, 528)) + (530,)        # Cloudflare's own: its origin fails
STATUS_WORDS = {int(row[0]): row[1:] for row in (line.split(" / ") for line in """\
400 / the server does not understand the request / Check the URL and the Host name.
401 / it asks for a login / Give credentials; the network works.
402 / it asks for payment / See the account or the quota at that service.
403 / access is forbidden / Check the rights for this URL, allow lists and the WAF.
404 / nothing is there / Check the path and the virtual host.
405 / this method is not allowed there / Use the method that it expects.
407 / a proxy asks for a login / Give the proxy's credentials.
408 / the server waited too long for the request / Look for loss on the way.
410 / what was there is gone for good / Correct the link.
421 / this server is not for that name / Check the name, SNI and address.
426 / it wants another protocol / Use its own client (WebSocket, HTTP/2): see its Upgrade header.
429 / too many requests / Wait (Retry-After), then ask more slowly.
451 / it is barred for legal reasons / Ask its owner, or whoever filters on the way.
499 / the server refuses the request / Check the URL; the service's log says more.
500 / the application failed / Look at the application's log on {address}.
600 / HTTP has no such status / Ask its owner what it means: some sites turn robots away so.\
""".splitlines())}
STATUS_WORDS.update(dict.fromkeys((406, 411, 413, 414, 415, 417, 428, 431), (
    "it does not take a request of this form or size",
    "Compare with another client: its headers, its cookies or a proxy make the request so.")))
STATUS_WORDS.update(dict.fromkeys(ORIGIN_STATUS, (
    "the front gets no proper answer from the origin behind it", "Look at that origin server: 521"
    " is refused, 522 and 524 silent, 523 unreachable, 525 and 526 are TLS with it.")))
STATUS_WORDS[True] = ("plain HTTP comes to a port that wants HTTPS", "Let the front speak HTTPS to"
                      " its back end; or correct the redirect that leads there.")     # wants_tls
STATUS_WORDS.update(dict.fromkeys((502, 503, 504), (
    "the front works, what is behind it does not", "Look at the back end of {front} on {address}:"
    " is it running, and can the front reach it? Its error log says which one.")))
FATES = {"drop": "drops", "reject": "rejects", None: "may or may not accept"}
TRANSLATES = r"(?i)\bdnat\b|redirect|tproxy"
OUT_NO_ROUTES = ("IpOutNoRoutes", "Ip6OutNoRoutes")
STUCK = {"T": "stopped (SIGSTOP)", "t": "held by a debugger", "D": "stuck in the kernel (state D)",
         "Z": "dead (a zombie)"}
NO_WAY = {"ENETUNREACH": "no route to it (network unreachable)", "EINVAL": "a blackhole route",
          "EHOSTUNREACH": "an unreachable route", "EACCES": "a prohibit route"}
LOG_CODES = {"trouble": "service.error", "throttled": "ssh.throttled", "accepted": None,
             "unable_to_negotiate": "ssh.algorithm"}
LOG_CURES = {"service.error": "Read the log around that line.", "ssh.throttled": "Wait until the"
             " penalty ends, or raise MaxStartups and PerSourcePenalties in sshd_config.",
             "ssh.denied": "Check the user's name, its key in authorized_keys, AllowUsers.",
             "ssh.algorithm": "Bring client and server to common algorithms: `ssh -Q kex`."}


def is_loopback(address):
    """An address that only this host itself can reach."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def misfit(far, version, interfaces, back):
    """Whom sockets that are bound beyond loopback do not serve: `no ...`; None: nobody in doubt."""
    if version and not any(version in versions_of(row) for row in far):
        return "no client with IPv%d" % version
    bound, own = {row["addr"].partition("%")[0] for row in far}, own_addresses(interfaces)
    held = [interface_named(interfaces, row.get("dev")) for row in far]
    if not all(link and far_reaching(link) for link in held):          # a VRF's device has none
        held = []
    if bound & set(ANYWHERE) and not held or not all_links(interfaces):
        return None
    if not bound & own.union(ANYWHERE):
        return "no host (no interface of this one has that address)"
    facing = [interface_named(interfaces, row.value["dev"]) for row in succeeded(back)
              if row.value["dev"] not in (None, "lo")]
    facing = list(filter(None, facing))
    if facing and not any(link in held if held else bound & set(link_addresses(link))
                          for link in facing):
        return "no client behind %s, such as %s," % (facing[0]["name"], host_of(back[0]))
    return None


def nearest_words(wish, sockets, owners, units, elsewhere):
    """What comes nearest to a listener on the port, as the end of a sentence."""
    found = []
    for row in rows_in(elsewhere, "listeners")[:1]:
        found.append("%s (pid %d) does in another network namespace%s" % (
            row["process"], row["pid"], " (%s)" % row["namespace"] if row["namespace"] else ""))
    other = {"tcp": "udp", "udp": "tcp"}[wish["transport"]]
    if listeners(sockets, other, wish["port"]):
        found.append("%s port %d is open" % (other.upper(), wish["port"]))
    ports = collections.defaultdict(set)
    for row in listeners(sockets, wish["transport"]):
        for program in programs_of([row], owners):
            ports[program["name"]].add(str(row["port"]))
    found += ["%s listens on port %s" % (name, ", ".join(sorted(ports[name])[:6]))
              for name in usual_programs(wish) if name in ports]
    found += ["%s %s" % (row["unit"], "has failed" if row["state"] == "failed" else "is stopped")
              for row in stopped_units(wish, units)]
    return "".join("; " + words for words in unique(found)[:3])


def holder_words(listening, owners):
    """Who listens, in words: program and pid, else whose it is."""
    names = ["%s (pid %d%s)" % (row["name"], row["pid"], row["container"] and ", container "
             + row["container"] or "") for row in programs_of(listening, owners)]
    whose = socket_users(listening, owners)
    return ", ".join(names[:2]) or "A program" + " of user ".join([""] + whose[:1])


def socket_users(listening, owners):
    """The names of the users whose sockets these are, where they are known."""
    users = about(owners, "self").get("users", {})
    return unique(filter(None, (users.get(str(row.get("uid"))) for row in listening)))


def queue_fills(watched, loop):
    """Do those who wait at a port fill its queue, together with our own connections to it?"""
    waiting, limit = watched.get("waiting", 0), watched.get("limit")
    return waiting if limit is None else waiting + len(loop) > limit + (not waiting)


def dead_hop(client, ways, hops):
    """[(next hop, interface)] of the way back to a client, where it is dead at layer 2."""
    back = [row for row in ways if host_of(row) == client and said(row, "type")]
    return [hop for hop in next_hops(back[-1:])
            if saying(rows_about(hops, "%s %s" % hop), "state", *DEAD)]


def dead_hops(watched, ways, hops):
    """(peer, its dead next hop) of those whose handshakes hang."""
    return [(peer, hop) for peer, resent in sorted(watched.get("half_open", {}).items()) if resent
            for hop in dead_hop(peer, ways, hops)]


def half_open_fills(watched):
    """Did as many handshakes hang at a port at once as it takes (without SYN cookies)?"""
    limit = watched.get("limit")
    return limit is not None and watched["most"].get("SYN_RECV", 0) >= max(limit, 1)


def inbound_fates(wish, rules, rules_now, interfaces, back, listening):
    """What the rules do with a client's first packet, by family: rows of `packet_fate` with
    `whose` and `count`, in words; [] where no rules could be read."""
    before, after, found = rules_read(rules), rules_read(rules_now), []
    shows_all = about(rules, "nft")                                    # iptables' rules as well
    for version in (4, 6) if before and wish["mode"] == "server" else ():
        packet = packet_of_clients(version, wish, interfaces, back, listening)
        for fate in fates_of_clients(packet, wish, listening, before, after) if packet else ():
            same = [row for row in found if fate["rule"] and all(
                row[key] == fate[key] for key in ("chain", "rule", "fate"))]
            for row in same:
                row["whose"] = re.sub(" with IPv4", "", row["whose"])
            if not same and (fate["fate"] != "accept" or fate["port"] or shows_all):
                found.append(fate)
    return found


def packet_of_clients(version, wish, interfaces, back, listening):
    """What is known of the first packet of a client with IPv4 or IPv6; None where none can come."""
    client, links = wish["client"], [row for row in real_links(interfaces) if is_up(row)]
    fit = [row for row in listening if version in versions_of(row)]
    if client and is_address(client) != version or listening and not fit:
        return None
    bound = [row["addr"] for row in fit]
    if not listening or only_loopback(listening) or set(bound) & set(ANYWHERE):
        bound = far_reaching(*links)
    ours = [a for a in bound if is_address(a) == version and not is_loopback(a)]
    ways = unique(row.value["dev"] for row in succeeded(back) if row.value["dev"])
    return ours and inbound_packet(
        wish["transport"], wish["port"], ours, [client] if client else (),
        ways or [link["name"] for link in links], ["exists"] if ways else ())


def fates_of_clients(packet, wish, listening, before, after):
    """What the rules do with such a packet, and with its answers where they do not pass."""
    whose = wish["client"] or "clients with IPv%d" % is_address(packet["daddr"][0])
    inbound = fate_of(before, after, packet, HOOKS, first=True, whose="from " + whose)
    if only_loopback(listening) and not inbound["port"]:    # then only this host itself gets there
        return []
    outbound = fate_of(before, after, answer_packet(packet, inbound["port"] or wish["port"]),
                       WAY_OUT, first=False, whose="(its answers to %s)" % whose)
    then = fate_of(before, after, dict(packet, flags=["ack"], state=["established"]), HOOKS,
                   first=False, whose="(what follows the first packet of %s)" % whose)
    return [inbound] + [outbound] * (outbound["fate"] != "accept") + [then] * (
        inbound["fate"] == "accept" and then["fate"] in ("drop", "reject"))


def only_loopback(listening):
    """Does somebody listen, and on loopback alone?"""
    return bool(listening) and all(is_loopback(row["addr"]) for row in listening)


def fate_of(before, after, packet, hooks, **more):
    """`packet_fate` with `count`: what the counter of the rule says, and what it moved by."""
    fate = dict(packet_fate(firewall_bases(before), packet, hooks), count="", **more)
    if fate["packets"] is not None and after:
        packets = packet_fate(firewall_bases(after), packet, hooks)["packets"] or 0
        moved = packets - fate["packets"]
        fate["count"] = " (%d packets so far%s)" % (
            packets, ", %d of them just now" % moved if moved > 0 else "")
    return fate


def dropped_meanwhile(wish, peer, rules, rules_now):
    """[(packets, rule)] of the rules that drop or reject, may mean what this client sends to the
    port, and whose counters moved between two looks."""
    before = {key: row for key, row in counted_rules(rules)}
    walk = {"altered": {}, "packet": {"proto": [wish["transport"]], "dport": [wish["port"]],
                                      "saddr": [peer], "family": ["ipv%d" % is_address(peer)]}}
    return [(count - before[key][1], text) for key, (base, count, text) in counted_rules(rules_now)
            if key in before and count > before[key][1] and any(
                do in ("drop", "reject") and both(test_holds(test, walk) for test in tests)
                is not False for tests, do, _ in line_rows(text, base))]


def counted_rules(rules):
    """((table, chain, place), (base chain, packets, rule)) of each rule with a counter."""
    for base in firewall_bases(rules_read(rules)):
        for name, texts in base["chains"].items() if base["hook"] in HOOKS else ():
            for place, text in enumerate(texts):
                count = to_int(find(r"(?:^\[|counter packets )([0-9]+)", text))
                if count is not None:
                    yield (chain_name(base, name), place), (base, count, without_count(text))


def line_words(fate):
    """The rule that decides, safe to print."""
    return printable(" ".join((fate["rule"] or "").split()), 160)


def is_recent(line, local_time):
    """Was a log line written in the last LOG_AGE_S, by this host's clock?  True: nobody knows."""
    when = line.get("when")
    if not when or not local_time:
        return True
    now = list(map(int, re.findall(r"\d+", local_time)[:6]))
    try:
        age_s = epoch_of(*now) - epoch_of(when[0] or now[0] - (when[1] > now[1]), *when[1:])
    except NotMine:
        return True
    return age_s < LOG_AGE_S


def names_address(text, address):
    """Does a text name this very address, and not one that begins or ends like it?"""
    end = r"(?![\w:])" if ":" in address else r"(?!\w|\.\d)"
    return bool(re.search(r"(?<![\w.])%s%s" % (re.escape(address), end), text))


def blame(row, proof=(), **holes):
    """A finding about the address that an answer is about: its scope, and the proof."""
    return dict(dict(address=row.subject, scope=row.subject, proof=[row] + list(proof)), **holes)


def utc_text(epoch):
    """Seconds since 1970 as '2026-11-21 10:00'."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(epoch))


LOCAL_BRIDGES = re.compile(r"(docker|br-|virbr|cni|flannel|cali|lxc|lxd|podman|kube|cilium|tun|tap|"
                           r"wg|ppp|zt|tailscale|vmnet|vboxnet|nordlynx|utun)")


def is_local_bridge(link):
    """A bridge, container or VPN interface of this host, by kind or by its usual name."""
    return link.get("kind") in ("bridge", "tun", "wireguard", "ppp") or bool(
        LOCAL_BRIDGES.match(link.get("name") or ""))


def local_refusal(row, own, reset_ttl, egress):
    """How this host itself stopped a connection, in words; None where it did not."""
    value, address, info = row.value, row.subject, row.value.get("info") or {}
    for error in [e for e in value["icmp"] if e["from"] in own][:1]:
        if icmp_kind(address, error) in HOST_UNREACHABLE and is_late(row):
            return None                           # a failed ARP, and no rule
        return "its own address answers '%s'" % icmp_words(address, error)
    if value["state"] == "silent" and not info.get("retrans", 1) and info.get("total_retrans"):
        return "the SYN is sent and dropped before it leaves (TCP_INFO)"
    if value.get("immediate") and value["errno"] in ("EPERM", "EACCES"):
        way = about(egress, address)
        by_route = not way or way["error"]
        return None if by_route else "connecting is not permitted (%s): a rule, an IPsec policy" \
            " (`ip xfrm policy`) or a security module" % value["errno"]
    if address not in own and saying(rows_about(reset_ttl, address), "by_us", True):
        return "the reset comes from hop 0, this host: a rule resets it, or redirects it to a" \
            " port of this host where nobody listens (a local proxy?)"
    return None


def is_late(row):
    """Did the refusal take as long as asking in vain for a MAC address does (about 3 s)?"""
    return (row.value["ms"] or 0) > 700


def sender_facts(row, traces, usual="", sure=False):
    """What every finding about an ICMP error from elsewhere says; `usual` places are likely too."""
    places, usual = sender_places(row.value["router"], row.subject, traces, ()), usual.split()
    return dict(proof=rows_about(traces, row.subject),
                suspects=unique(usual + places if sure else places + usual[::-1]))


def hop_silence(row, more, sure="likely"):
    """What every finding about a next hop that is silent says."""
    return dict(proof=more, confidence="possible" if row.value["state"] in BELIEVED else sure)


def refused_at(trace_tcp, address):
    """The lowest TTL at which a connection was refused by a RST, or None."""
    return min((hop["ttl"] for hop in hops_to(trace_tcp, address) if hop["kind"] == "refused"),
               default=None)


def reset_hops(address, trace_tcp, reset_ttl, other_traces):
    """The hops that a reset may come from when it is not the server's; [] where it may be."""
    far, rows = distance(other_traces, address), succeeded(rows_about(reset_ttl, address))
    if saying(rows, "by_us", False) and 1 in hop_table(other_traces, address):
        return [1]
    for row in saying(rows, "by_us", None):
        nearer = (row.value["ttl"] or 0) - row.value["host_ttl"]
        if far and 0 <= nearer < far:      # its TTL is higher than that of the host's own ICMP
            return [far - nearer] * (nearer > 0)       # or as high: a box rewrites TTLs on the way
    first = refused_at(trace_tcp, address)     # a Linux firewall resets behind its TTL check
    return [first - 1, first] if first and far and first < far else []


def next_url(row):
    """The URL to which a redirect's own answer leads on; '' where it leads nowhere."""
    return join_url(row.subject, redirect_of(row)) if redirect_of(row) else ""


def answers_alone(proxy_alone):
    """Does the proxy that is silent about the target answer for itself?"""
    return [row for row in proxy_alone if said(row, "status") or said(row, "not_http")]


def ssh_ending(row):
    """How a look behind sshd's banner ended, whether ssh itself took it or a key exchange."""
    return SSH_CUTS.get(said(row, "outcome"), said(row, "ended"))


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


def lapse_causes(lapses):
    """Outages between working times, by cause: an answer each, with the first one's diagnosis."""
    causes = {}
    for row in [r for r in lapses if r.value["failed"] < r.value["checks"]]:
        for outage in [outage for outage in row.value["outages"] if "when" in outage]:
            causes.setdefault(outage["code"], (row, []))[1].append(outage)
    return [row._replace(value=dict(
        first, scope=None, when=", ".join(outage["when"] for outage in [first] + more[:5]),
        words=first["summary"], cure=(first["fix"] or ["-"])[0],
        request=(first["ask"] or {}).get("text") or (first["fix"] or ["-"])[0]))
        for row, (first, *more) in causes.values()]


def server_fault(row):
    """Holes of the fault that the server's report names; a capture there proves its own reset."""
    client, server = row.value["client"], row.value["server"]
    proven = server["code"] in SERVER_FAULTS or server["mode"] == "capture" \
        and server["code"] == client["code"] == "tcp.refused" \
        or server["code"] == "handshake.incomplete" and "server" in server["suspects"][:1]
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
    client, captured = row.value["client"], row.value["server"]["captured"]     # it sent nothing
    ends = ["client"] + ["server"] * (client["code"] != "tcp.refused" and not captured)
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
    return first_of(known or lone or ())


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


def has_opened(client):
    """Did a connection of the client's report open: has it got the SYN/ACK?"""
    return client["facts"].get("TCP") == "open" or any(
        flow["handshake"] for flow in client["flows"] if flow["server_port"] == client["port"])


def unseen_by_server(row):
    """How the server looked at the right time and saw nothing of this client; None: it did not."""
    server = row.value["server"]
    blind = is_udp(row.value["client"]) and server["mode"] == "server" or any(     # to datagrams
        not flow["handshake"] and flow["server_port"] == row.value["client"]["port"]
        for flow in server["flows"])                            # it may be one of these, behind NAT
    if blind or not row.value["witnessed"] or seen_as(row) or server["half_open"] \
            or server["code"] not in ("ok", "undecided", "oneway.forward"):
        return None
    listens = server["listens"] or server["listens"] is None and server["code"] == "ok" \
        and server["mode"] == "server"
    return "listens there, looked" if listens else "captured there" if server["captured"] else None


def changes_of(report):
    """The run before beside the last one, where they differ."""
    for last, row in [(last, row) for last in saying(report, "role", "client")
                      for row in saying(report, "role", "before")]:
        before, now = row.value, last.value
        what = differences(before, now)
        if what or before["code"] != now["code"]:
            yield row._replace(value=dict(
                before=before, now=now, what=what, proof=[last, row]))


def untimely(chain, now):
    """[(code, when, certificate)] of those in a chain whose time is not now."""
    return [("tls.expired", c["not_after"], c) if c["not_after"] < now else
            ("tls.not_yet_valid", c["not_before"], c)
            for c in chain if not c["not_before"] <= now <= c["not_after"]]


BREACHES = (7, 23, 24, 25, 26, 32, 34, 47, 48, 66, 67, 68, 79)      # X509_V_ERR: of a known CA


def trust_faults(value, chain, wish, now):
    """(code, holes) of what is wrong with the certificates of one handshake, told apart."""
    if now is None:
        return
    if value["ended"] in ("untrusted", "unverified"):
        dated = untimely(chain, now)
        for code, when, certificate in dated[:1]:
            name = name_text(certificate["subject"])
            yield code, dict(date=utc_text(when), name=name if certificate is chain[0] else
                             "the CA '%s' in its chain" % name)
        if value["ended"] == "unverified":            # by nobody: a CA's name proves nothing
            dated = dated or not (chain and chain[0]["self_issued"])
        if not dated or value["ended"] == "untrusted" and value["verify_code"] not in (None, 9, 10):
            yield chain_fault(chain, value.get("store") or {}, value)
    for leaf in chain[:1]:
        left_s, wanted = leaf["not_after"] - now, wish["sni"] or wish["host"]
        if 0 < left_s < CERT_SOON_S:
            yield "tls.expiring", dict(name=name_text(leaf["subject"]), days=int(left_s // 86400),
                                       date=utc_text(leaf["not_after"]))
        if wanted and not name_matches(leaf, wanted):
            names = ", ".join(printable(n, 60) for n in names_of(leaf)[:3]) or "nobody"
            if is_address(wanted) and wanted in names_of(leaf):      # who connects looks elsewhere
                names, wanted = wanted + " as a DNS name", "the IP address " + wanted
            yield "tls.name_mismatch", dict(names=names, wanted=wanted)


def chain_end(chain):
    """Where the walk from the leaf ends: to each issuer the first of its name is taken."""
    link = chain[0]
    for _ in chain:
        link = next((c for c in chain if c["subject"] == link["issuer"] != link["subject"]), link)
    return link


def verify_reason(error):
    """Why OpenSSL trusts a chain not, in its words; None where Python (3.6) keeps them back."""
    return find(r"verify failed: (.*?) *(?:\(_ssl|$)", error or "")


def chain_fault(chain, store, value):
    """Self-signed, incomplete or unknown CA: from what was sent, not from OpenSSL's number 20."""
    holes = dict(name="unknown", issuer="unknown", store=store.get("file")
                 or "this host's trust store")
    breach = value["verify_code"] in BREACHES and "tls.unacceptable"
    if not chain:
        return breach or "tls.untrusted_ca", holes
    leaf, last = chain[0], chain_end(chain)
    holes.update(name=name_text(leaf["subject"]), issuer=name_text(last["issuer"]))
    issuer, owners = dict(reversed([tuple(p) for p in last["issuer"]])), store.get("owners") or ()
    known = issuer.get("CN") in owners                # then nothing is missing but the right key
    breach = breach or known and value["verify_code"] is None and "tls.unacceptable"     # by 3.6
    if breach or leaf["self_issued"]:
        why = verify_reason(value["error"])
        if known and not why:
            holes.update(confidence="possible", suspects=["service", "client"])
            why = "this Python does not say why; was the CA '%s' made anew?" % holes["issuer"]
        return breach or "tls.self_signed", dict(holes, breach=why or "OpenSSL")
    middle = re.search(r"(?i)intermediate|issuing|sub.?ca", issuer.get("CN") or "")
    if known:
        holes["store"] += ", though it has one of that name,"
    elif not last["self_issued"] and (
            issuer.get("O") in owners or middle or len(chain) == 1 and leaf["aia"]):
        return "tls.incomplete_chain", holes
    return "tls.untrusted_ca", holes


def flow_severity(row, fine_flows):
    """A handshake that fails while others to the same port succeed is a warning: somebody's scan,
    or a fault that comes and goes.  What a host says to itself proves nothing for others."""
    works = [r for r in rows_about(fine_flows, row.subject)
             if r.value["server_port"] == row.value["server_port"]
             and r.value["client"] != r.value["server"]]
    return {"severity": "warn"} if works else {}


def refusers(flow, error, code):
    """Where an ICMP error comes from: the server, the client's first router, or farther away."""
    if error["from"] == flow["server"] or code == "path.host_unreachable":
        return ["server", "server_network"][:1 + (error["from"] != flow["server"])]
    if flow["seen_at"] == "client" and error["ttl"] in FIRST_TTLS:
        return ["client_network"]
    places = ["server_network", "transit"]
    return places if code == "tcp.rejected" else places[::-1]


def syn_times(flow):
    """How often a SYN was sent: '4 times (t+0.0, 1.0, 3.0, 7.0 s)' or 'once'."""
    times = ", ".join("%.1f" % at_s for at_s in flow["syn_s"][:6])
    return "%d times (t+%s s)" % (flow["syn"], times) if flow["syn"] > 1 else "once"


# -- views: what several rules look at, by the names that their parameters have -------------------

def failing_ways(goals, route, tcp, policy, routes):
    """Route decisions that matter: of addresses that failed; of resolvers when all of them fail."""
    rows = [r for r in route if isinstance(r.value, dict) and not r.subject.startswith("127.")]
    rows = [r._replace(value=dict(r.value, error="EHOSTUNREACH")) if is_ruled_out(
        r, policy, routes) else r for r in rows]
    if goals:
        refused = {r.subject: RULED_OUT.get(r.value["errno"]) for r in saying(
            tcp, "immediate", True)              # by a rule that knows ports, marks, users
            if not r.subject.startswith("fe8")}  # (a link-local one lacks its link)
        return [r._replace(value=dict(r.value, error=r.value["error"] or refused.get(r.subject)))
                for r in rows if not met(rows_about(tcp, r.subject), "ok")]
    return rows[:1] if all(r.value["error"] for r in rows) else []


def is_ruled_out(row, policy, routes):
    """Is there a route, and a rule of type unreachable before it?  Its error is `no route`."""
    def fits(net):
        return net in (None, "all", "default") or in_network(row.subject, net)
    usual = [r for part in succeeded(routes) for r in part.value["routes"] if fits(r["dst"])
             and r.get("type") in (None, "unicast") and r.get("table") in (None, "main", 254)]
    return row.value["error"] == "ENETUNREACH" and usual and any(
        rule["action"] == "unreachable" and fits(rule["to"])
        for part in succeeded(policy) for rule in part.value["rules"])


def full_words(conntrack):
    """How full the table of tracked connections is, or None while there is room."""
    used, most = [about(conntrack, name).get("entries") or 0 for name in ("count", "max")]
    return "%d of %d" % (used, most) if most and used > most * 0.98 else None


def is_heard(tcp, udp, other_ports, ping, other_traces, dns, general_dns):
    """Did anything at all come from a next hop or by it?"""
    asked = tcp + udp + other_ports + dns + general_dns
    return bool(met(asked, "ok", "refused")) or any(
        said(r, "icmp") or said(r, "reached") for r in asked + ping) or any(
            hop_table([r], r.subject) or distance([r], r.subject) for r in other_traces)


def silent_hops(neighbor, ways, tcp, udp, heard, segment, neighbors):
    """Next hops silent at layer 2: an answer about each failing address behind them.

    A `count` of others were asked for there too and those `answering` did, or somebody by the other
    family does; in `company` somebody did anywhere.  It is a guess where the kernel still believes
    in it, and nothing was `heard`; a UDP service may be silent, and then there is nothing to guess.
    """
    talking_on = {(e["dev"], is_address(e["ip"])) for e in rows_in(neighbors, "entries")
                  if e["state"] in ALIVE}
    found, company = [], [r for r in segment if set(r.value.values()) & set(ALIVE)]
    for row in saying(neighbor, "state", *DEAD + BELIEVED * (not heard and not udp)):
        behind = [w.subject for w in ways if (w.value["via"] or w.subject) == row.value["ip"]]
        talks = [t for t in tcp if t.value and t.subject in behind]
        outdated = met(talks, "ok") or any(
            t.value["icmp"] and t.value["icmp"][0]["from"] and t.value["errno"] != "EHOSTUNREACH"
            for t in talks)
        others = dict(about(segment, row.subject), **{row.value["ip"]: None})
        value = dict(row.value, hop=row.value["ip"], company=company, count=len(others) - 1,
                     answering=set(others.values()) & set(ALIVE) or talking_on & {
                         (row.value["dev"], 10 - is_address(row.value["ip"]))})
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
    found = {}
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
    marks, env = about(marks, "self"), about(proxy_env, "self")
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


def first_to_know(dns):
    """The answers of the first resolver that says yes or no: glibc asks no other then."""
    rows = saying(dns, "rcode", "NOERROR", "NXDOMAIN")
    return rows and rows_about(rows, host_of(rows[0]))


def final_name(host, dns):
    """A name, or that at the end of its CNAMEs in these answers, in words: what NXDOMAIN and "no
    data" are about (RFC 6604, 2); of a circle any of its names."""
    aliases = {answer["name"].lower(): answer["data"] for row in dns
               for answer in row.value["answers"] if answer["type"] == "CNAME" and answer["data"]}
    name = next(iter(aliases.values()), None)
    for _ in aliases:
        name = aliases.get(name.lower(), name)
    return "%s (where the alias %s leads)" % (name, host) if name else host


VIEWS = {
    "own": lambda interfaces, route: own_addresses(interfaces).union(
        r.subject for r in saying(route, "type", "local")),               # 127.0.1.1
    "failing": failing_ways, "heard": is_heard, "silent_hops": silent_hops,
    "icmp_errors": icmp_errors, "alive": alive_words, "environment": environment_words,
    "full": full_words, "proxy": proxy_for, "goals": addresses,           # (the target's own)
    "wish": lambda target: target[0].value,                               # what was asked for

    "now": lambda clock: clock[0].value["epoch"] if clock else None,      # this host's time
    "ways": lambda egress: succeeded(egress),                             # routes that are taken
    "gateways": lambda ways: {way.value["via"] for way in ways} - {None},
    "unresolved": lambda lookup: met(lookup, "refused"), "answering": first_to_know,
    "dead_first": lambda dns: [] if not succeeded(dns) or met(            # while another answered
        rows_about(dns, host_of(dns[0])), "ok") else rows_about(dns, host_of(dns[0])),
    "final_name": lambda wish, answering: final_name(wish["host"], answering),
    "quickest": lambda dns: min([r for r in succeeded(dns) if r.value["addresses"] and r.ms],
                                key=lambda r: r.ms, default=None),
    "absent": lambda answering: [] if saying(answering, "rcode", "NOERROR") else answering,
    "known": lambda wish, dns: [                                          # by the resolvers
        a for a in dns_addresses(dns) if wish["family"] in (0, None, is_address(a))],
    "astray": lambda tcp, own, silent_hops: [
        r for r in met(tcp, "unreachable") if is_late(r) and not rows_about(silent_hops, r.subject)
        and any(icmp_kind(r.subject, e) in HOST_UNREACHABLE and e["from"] in own
                for e in r.value["icmp"])],
    "connections": lambda wish, tcp: tcp if wish["port"] is not None else [],   # a bare host's: no
    "silent": lambda tcp: [r for r in saying(tcp, "state", "silent") if not r.value["icmp"]],
    "undelivered": lambda silent, unheard: [
        test for row in silent for test in succeeded(rows_about(unheard, row.subject))],
    "stopped": lambda tcp, own, reset_ttl, egress: {                      # {address: how, in words}
        row.subject: how for row in tcp for how in [
            row.value and local_refusal(row, own, reset_ttl, egress)] if how},
    "refusals": lambda connections, stopped: [         # by a reset, and no ICMP
        r for r in met(connections, "refused") if not r.value["icmp"] and r.subject not in stopped],
    "asked_in_vain": lambda icmp_errors, alive: [     # by the last router, and no firewall
        r for r in icmp_errors if r.value["kind"] in HOST_UNREACHABLE
        and (is_late(r) or r.subject not in alive and r.value["router"] != r.subject)],
    "unrouted": lambda icmp_errors, alive: [            # where nothing else gets there either
        r for r in icmp_errors if r.value["kind"] in NET_UNREACHABLE
        and r.subject not in alive and r.value["router"] != r.subject],
    "rejections": lambda icmp_errors, asked_in_vain, unrouted: [  # without those of udp.closed
        r for r in icmp_errors if r.value["kind"] in REJECTED | HOST_UNREACHABLE | NET_UNREACHABLE
        and r not in asked_in_vain + unrouted and (r.probe, r.value["router"]) != (
            "udp" if r.value["kind"] in PORT_UNREACHABLE else None, r.subject)],
    "other_traces": lambda trace_udp, trace_icmp: trace_udp + trace_icmp,   # not of this port
    "stuck_at": lambda traces: {                       # {address: TTL at which one router repeats}
        row.subject: ttl for row in traces for hops in [hop_table([row], row.subject)]
        for ttl in sorted(hops, reverse=True) if hops[ttl] == hops.get(ttl + 1)},
    "short_lived": lambda icmp_errors, traces, stuck_at: [    # where a larger TTL gets to the host
        row for row in icmp_errors for far in [distance(traces, row.subject)]
        if row.value["kind"] in TIME_EXCEEDED and far and row.subject not in stuck_at
        and not circle_of(rows_about(traces, row.subject)) and row.value["router"] in [
            router for ttl, router in hop_table(traces, row.subject).items() if ttl < far]],
    "traces": lambda trace_tcp, other_traces: trace_tcp + other_traces,
    "present": lambda alive, neighbor, traces: dict(    # at layer 2 at least (and not by proxy ARP)
        {r.value["ip"]: "the host answers at layer 2 (ARP or neighbor discovery)"
         for r in saying(neighbor, "state", *ALIVE) if not hop_table(traces, r.value["ip"])},
        **alive),
    "untraced": lambda silent, traces, present: [          # one address of each family is traced
        row for row in silent if row.subject not in present and traces
        and not rows_about(traces, row.subject)],
    "by_hand": lambda silent, ways, neighbor, traces, present: [       # (next hops, by address)
        entry._replace(subject=row.subject) for row in silent
        if row.subject not in present and not last_hop(traces, row.subject)
        for way in rows_about(ways, row.subject) for entry in saying(neighbor, "state", "PERMANENT")
        if entry.value["ip"] == (way.value["via"] or row.subject)],
    "outsized": lambda sizes: [rows_about(sizes, a)[0]._replace(subject=a)
                               for a in size_suspects(saying(sizes, "by", "echo"))],
    "lapses": lambda checks: succeeded(checks), "lapse_causes": lapse_causes,    # (watch)
    "ends": lambda report: list(ends_of(report)),                  # (merge) client beside server
    "stalled_ends": lambda ends: [                     # the client has the SYN/ACK, and no more
        row for row in ends for client in [row.value["client"]] if has_opened(client) and (
            client["code"] in STALLS or (client["code"], client["protocol"]) == ("ok", "tcp")
            and row.value["server"]["code"] == "handshake.incomplete")],  # (tcp: said nothing yet)
    "changes": lambda report: list(changes_of(report)),            # and then beside now
    "full_size": lambda transfer: [r for r in transfer if r.subject == host_of(r)],   # not clamped
    "patterns": lambda exchange: [r for r in succeeded(exchange) if r.subject == host_of(r)],
    "far_ends": lambda tcp, udp, own: [
        row._replace(value=dict(told, you_port=told["port"], nat=told["you"] not in own | {
            said(row, "local")})) for row in tcp + udp for told in [greeting_of(row)] if told],
    "handshakes": lambda through, tls, hello: succeeded(through + tls) + clear_handshakes(
        tls, hello),
    "chains": lambda wish, through, tls, hello, peer, handshakes: {       # {address: the longest}
        row.subject: max([said(r, "chain") or [] for r in rows_about(through + tls + peer + [
            h for h in hello if not (wish["sni"] and h.subject.endswith(" bare"))], row.subject)],
                         key=len) for row in handshakes},
    "nameless": lambda wish, handshakes, chains: [      # but for the common name
        row for row in handshakes for leaf in chains[row.subject][:1]
        if wish["sni"] and not leaf["san"] and name_matches(leaf, wish["sni"])],
    "distrust": lambda wish, now, handshakes, chains: {                   # {(address, code): holes}
        (row.subject, code): holes
        for row in saying(handshakes, "ended", "done", "untrusted", "unverified")
        for code, holes in trust_faults(row.value, chains[row.subject], wish, now)},
    "trusting": lambda stores: [row.subject for row in saying(stores, "ended", "done")],
    "http2_only": lambda http, page, tls, through: [
        row.subject for row in latest(http + page) if wants_http2(row, tls + through)],
    "barred": lambda http, tunnel: [                    # by the proxy, and not by the target
        row for row in latest(tunnel) if said(row, "status") != 200 and not (
            said(row, "page") and said(row, "page") in [said(h, "status") for h in http])],
    "brought": lambda wish, tunnel, barred: forwarded(wish, [
        row for row in latest(tunnel) if row not in barred]),
    "exchanges": lambda http, page, brought, http2_only: [       # of HTTP/1.1
        row for row in latest(succeeded(http + page)) if row.subject not in http2_only] + brought,
    "tls_only": lambda secure: [r for r in secure if said(r, "version") or said(r, "alert")],
    "spoken": lambda connections, words, udp: saying(connections, "after", "data") + [
        row for row in words + udp if said(row, "bytes") or said(row, "reply")],
    "talks": lambda tls, exchanges, words: succeeded(tls + exchanges + words),
    "shut": lambda connections, talks: [                # windows that never open
        row for row in talks + [r for r in saying(connections, "after", "open")
                                if not rows_about(talks, r.subject)]
        if said(row, "info", "window") == 0 and (row.probe == "tcp" or is_unheeded(row))],
    "unanswered": lambda words: [row for row in succeeded(words) if not row.value["bytes"]
        and row.value["stage"] == "http" and not is_unheeded(row)],
    "mute": lambda wish, connections, unanswered, tls_only, shut: [] if tls_only else [
        row for row in saying(connections, "after", "open") if wish["greeting_s"]
        and not wish["tls"] and row not in shut] + saying(unanswered, "ended", "silent"),
    "ended": lambda connections, unanswered, tls_only: (
        connections + [row._replace(value=dict(row.value, after=row.value["ended"]))
                       for row in unanswered]) * (not tls_only),
    "flow": lambda capture: [row._replace(subject=flow["server"], value=without_copies(flow))
                             for row in succeeded(capture) for flow in row.value["flows"]],
    "recorded": lambda wish, goals, flow: [            # the flows that were asked about
        r for r in flow if r.value["state"] != "trace" and (
            r.subject in goals and r.value["server_port"] == wish["knock_port"] if wish["host"] else
            wish["port"] in (None, r.value["server_port"])
            and wish["client"] in (None, r.value["client"]))],
    "attempts": lambda wish, recorded: [] if wish["host"] else recorded,
    "fine_flows": lambda attempts: [
        r for r in saying(attempts, "state", "established", "closed", "answered", "reset")
        if not r.value["stuck"] and (r.value["state"] != "reset" or r.value["ended_by"] == "client")
        and (r.value["bytes"][1] or not r.value["bytes"][0] and r.value["ended_by"] != "server")],
    "live": lambda capture: [r for r in succeeded(capture) if r.value["via"] != "file"],
    "unheard_of": lambda wish, live, attempts: [
        r for r in live if not wish["host"] and not attempts and r.value["seconds"] > FIRST_LOOK_S],
    "dropped_here": lambda dropped: {                  # while packets were recorded
        name: count for r in succeeded(dropped) for name, count in r.value.items()},
    "lost_mark": lambda marked, ssh: [r for r in marked if said(r, "silent")] + met(ssh, "timeout"),
    "tunnels": lambda tunnel: saying(latest(tunnel), "status", 200),      # proxies that let us by
    "listening": heard_on, "holder": holder_words,                        # in mode `server`:
    "bound_to": lambda listening: ", ".join(unique(
        row["addr"] + ("%" + row["dev"] if row.get("dev") else "") for row in listening)[:4]),
    "watched": lambda wish, listening, watch: about(watch, "tcp").get(
        str(wish["port"]), {}) if listening and wish["transport"] == "tcp" else {},
    "local_time": lambda clock: clock[0].value["local"] if clock else None,
    "sent_on": lambda wish, fates, sockets: {           # {port that a rule leads to: who is there}
        fate["port"]: [row for row in listeners(sockets, wish["transport"], fate["port"])
                       if not is_loopback(row["addr"])] for fate in fates if fate["port"]},
    "fates": inbound_fates}
LISTEN_ERRORS = {
    "EADDRINUSE": "another program listens there already (`ss -ltnp`): the service is not absent",
    "EACCES": "ports below 1024 need root", "EADDRNOTAVAIL": "it has no such address"}


# -- judging --------------------------------------------------------------------------------------

def judge(answers):
    """All rules on the answers -> (verdict, findings, unjudged); pure."""
    seen = usable(by_probe(answers))
    found, unjudged = [], not_asked(answers)
    for item in RULES.values():
        try:
            found += [finding_of(item, holes, seen) for holes in accusations(item, seen)]
        except Exception as error:             # a broken rule is a line, and never a lost report
            unjudged.append({"question": item.name, "why": "the rule crashed: %s: %s" % (
                type(error).__name__, error)})
    findings = doubt(demote(merge(hide_consequences(found)), seen), seen)
    return verdict(findings, seen), findings, unjudged


def usable(table):
    """{probe: answers} as rules see it: without what is not known, and with the views."""
    return Seen((name, [a for a in rows if a.outcome != "unknown"]) for name, rows in table.items())


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
    if once or scope not in seen["goals"] + [row.subject for row in seen["attempts"]]:
        scope = None                        # or about the way to a resolver
    sources = [way.value.get("src") for way in seen["ways"] if scope in (None, way.subject)]
    facts = holes["proof"][0].value
    words = dict(facts if isinstance(facts, dict) else (), host=wish["host"],
                 port=wish["port"] or wish["knock_port"], here=first_of(sources) or "this host")
    words.update(holes)
    places = list(holes.get("suspects") or item.where)
    if is_through(holes):
        places = unique(["proxy"] * is_the_proxys(code, seen) + places + ["proxy"])
    says, fix, ask = [text.format(**words) for text in (item.says, item.fix, item.ask or item.fix)]
    if wish["host"] and seen["environment"] and code in (
            "tcp.filtered", "tcp.rejected", "path.dead_end"):
        fix += " Here check also: %s." % seen["environment"]
    if once and code.startswith("tls.") and code not in MISMADE:
        severity = "warn"                   # STARTTLS: most clients go on without it, or unverified
    return holes["hides"].split() if "hides" in holes else item.hides, Finding(
        code, severity, places,
        holes.get("confidence", item.sure), says, [fix], ask, holes["proof"],
        (scope,) if scope else (), [], item.layer)


def is_the_proxys(code, seen):
    """Is the proxy suspected first: does what fails through its tunnel work on the direct way?"""
    if code.startswith("http."):
        return any((said(row, "status") or 500) < 400 for row in seen["http"])
    return code.startswith("tls.handshake") or bool(saying(seen["tls"], "ended", "done"))


def not_asked(answers):
    """What could not be asked, and why: one line for each question."""
    reasons = {}
    for row in answers:
        if row.outcome == "unknown" and row.probe in PROBES:
            what = (PROBES[row.probe].function.__doc__ or row.probe).split("\n")[0]
            reasons.setdefault(what, []).extend(why for _, why in row.tried)
        elif (row.probe, row.outcome) == ("lookup", "ok") and len(row.value) > MAX_ADDRESSES:
            reasons["Whether the other addresses of the name answer"] = [
                "only %d of %d addresses are tried" % (MAX_ADDRESSES, len(row.value))]
    return [{"question": what, "why": printable("; ".join(unique(whys)), 160)}
            for what, whys in reasons.items() if whys and whys != ["switched off"]]


def hide_consequences(found):
    """Move each finding that a cause explains into that cause's consequences."""
    hidden = set()
    for hides, cause in reversed(found):         # from the top: what is explained may explain more
        for _, other in found:
            same = not cause.scope or cause.scope == other.scope \
                or not other.scope and cause.code != other.code
            if same and cause.severity == "fail" and other.layer != cause.layer \
                    and other.code in hides and other.severity != "info":
                cause.consequences[:] = unique(
                    cause.consequences + [other.code] + other.consequences)
                hidden.add(id(other))
    return [other for _, other in found if id(other) not in hidden]


def merge(findings):
    """One finding for the same code on several addresses; the others are named in its words."""
    merged = {}
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
    if wish["mode"] == "server":
        sent_on = [row["addr"] for rows in seen["sent_on"].values() for row in rows]
        return unique(row["addr"] for row in seen["listening"]) or sent_on or [
            row.subject for row in saying(seen["loop"], "open", 1)]     # a rule sends it elsewhere
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
    """A failure of one address is a warning while another (or the proxy, which bars it) works, or
    gets further: clients try them all, and meet the failure of the one that opens."""
    opened = {row.subject for row in met(seen["tcp"], "ok")}
    further = any(f.severity == "fail" and opened.intersection(f.scope) for f in findings)
    good, excused = working_addresses(findings, seen), codes_of(
        "AWAY" if seen["tunnels"] else "CLOSED" if met(seen["tunnel"], "ok") else "")
    return [f._replace(severity="warn") if f.severity == "fail" and (
        (good or further and not opened.intersection(f.scope)) and f.scope
        or f.code in excused and not is_through(f._asdict())) else f
        for f in findings]


def is_through(finding):
    """Does a finding rest on what came back through the proxy's tunnel?"""
    return any(row.probe in ("through", "page") for row in finding["proof"])


def doubt(findings, seen):
    """Where the kernel could not keep every packet for us, what was not seen proves little; nor do
    some addresses of a name prove that none of the others works."""
    lossy = any(said(row, "dropped") for row in seen["capture"])
    untried = any(len(row.value) > MAX_ADDRESSES for row in succeeded(seen["lookup"]))
    return [f._replace(confidence="possible") if lossy and any(
        row.probe == "capture" for row in f.proof) or untried and f.scope and f.severity == "fail"
        else f for f in findings]


def verdict(findings, seen):
    """One cause: the first failure in the order of the layers; else ok, or what is undecided."""
    fails = [f for f in findings if f.severity == "fail"]
    if fails:
        return finding_verdict(min(fails, key=lambda f: f.layer))
    wish, good = seen["wish"], working_addresses(findings, seen)
    if wish["mode"] in MODE_VERDICTS and not (wish["mode"] == "capture" and wish["host"]):
        return MODE_VERDICTS[wish["mode"]](seen, findings)
    idle = wish["mode"] == "server" and not wish["port"] and seen["sockets"]
    if wish["mode"] == "host" or good or seen["tunnels"] or idle:
        served = wish["mode"] == "server" and wish["port"]
        return works_well(ok_words(wish, good, seen),
                          how_well(wish, findings, seen) if served else "certain")
    telling = [f for f in findings if f.severity == "warn"
               and f.code in ("udp.no_reply", "path.loss", "dns.slow")]
    if telling:
        return finding_verdict(telling[-1])
    places, words = PLACES[:6], "Not enough was seen to name a cause for %s." % (
        wish["host"] or seen["target"][0].subject)
    for finding in [f for f in findings if f.code == "listen.none"]:      # it is sent elsewhere
        places, words = ["service"], finding.summary + " What is there cannot be seen from here."
    for row in succeeded(seen["tcp"])[:1]:
        above = "TLS works, and what lies above it" if saying(
            seen["handshakes"], "ended", "done") else "what lies above TCP"
        places, words = ["service"], "%s port %s opens, %s could not be tested." % (
            row.subject, wish["port"], above)
    return undecided(words, "See 'not tested' below; run again with more time (--deadline 60) or as"
                     " root.", places)


def how_well(wish, findings, seen):
    """How sure it is that a port of this host is fine: the firewall, the way back, its queue."""
    warned = [f for f in findings if f.severity == "warn" and f.code in SERVER_FAULTS
              and not f.code.startswith("listen")]
    if saying(seen["loop"], "open", 0) and seen["listening"] and not warned:    # and no rule why
        return "possible"
    if came_not(wish, seen["watched"]):                   # it was said to try meanwhile
        return "likely"
    known = {fate["fate"] for fate in seen["fates"]} == {"accept"} and (
        seen["watched"] or wish["transport"] == "udp")
    return "certain" if known and not warned and not seen["sent_on"] else "likely"


def capture_verdict(seen, findings):
    """A capture in which nothing failed: does anything in it show that it works?"""
    fine, asked = len(seen["fine_flows"]), len(seen["attempts"])
    if fine:
        failed = fine < asked and any(f.severity == "warn" for f in findings)
        return works_well("%d of %d connections that were recorded went well%s." % (
            fine, asked, "; the warnings tell of others" if failed else ", and none failed"),
                          "likely")
    telling = [f for f in findings if f.code in ("udp.no_reply", "path.loss")]
    if telling:
        return finding_verdict(telling[0])
    words = "No connection was recorded that shows whether it works (%d flows)." % asked
    if asked and all(None in row.value["ttl"] and row.value["protocol"] == "tcp" and
                     row.value["state"] in ("partial", "closed", "reset")
                     for row in seen["attempts"]):
        words = "Only one direction of the traffic was recorded (%d flows)." % asked
    for row in [] if seen["flow"] else seen["capture"]:
        if {"tcp", "udp"} & set(row.value["protocols"]):
            words = "The packets are cut before their ports: record more of each (tcpdump -s 0)."
        elif row.value["packets"] and not row.value["protocols"]:
            words = "None of the packets could be read: netdiag reads Ethernet, Linux cooked and" \
                " raw IP, not radio or USB."
    live = "See 'not tested' below; record as root, longer (--for 60s), while the client tries;" \
        " `netdiag.py server %s --for 60s` needs no right." % (seen["wish"]["port"] or "PORT")
    return undecided(words if seen["capture"] else "Nothing could be recorded.",
                     "Record while the client tries, from before its first packet."
                     if seen["wish"]["file"] else live)


def listen_verdict(seen, _):
    """What reached the stand-in: `ok` when anybody did."""
    facts, wish = seen["arrivals"][0].value, seen["wish"]
    place = "%s/%s" % (endpoint(wish["host"], wish["port"]), wish["transport"])
    if facts["error"]:
        return undecided(
            "This host cannot listen on %s: %s." % (
                place, LISTEN_ERRORS.get(facts["error"], facts["error"])),
            "Choose another port or address, or run it as root.", ["client"], "certain")
    came = collections.Counter(row["from"] for row in facts["arrivals"])
    if not came:
        return undecided(
            "Nothing arrived at %s." % place, "Run `netdiag.py %s://%s` on the client meanwhile;"
            " --bind ADDR says which address it shall reach (without it only this host can)." % (
                wish["transport"], endpoint(
                "THIS_HOST" if wish["host"] in ("0.0.0.0", "::") else wish["host"], wish["port"])))
    what = "connection" if wish["transport"] == "tcp" else "datagram"
    return works_well("%s arrived at %s: %s." % (
        "A " + what if len(facts["arrivals"]) == 1 else "%d %ss" % (len(facts["arrivals"]), what),
        place, ", ".join("%s (%d)" % row for row in came.most_common(5))))


def watch_verdict(seen, _):
    """Always the same: it always worked, or it always failed, and then how."""
    facts, wish = seen["checks"][0].value, seen["wish"]
    if not facts["checks"]:
        return undecided("It ended before the first check.")
    return works_well(wish["host"] + " answered all %(checks)d checks in %(seconds)d s, the slowest"
                      " in %(slowest_ms).0f ms." % facts)


def traits_of(report):
    """What the report about one host and target may have in common with others: [(kind, value)],
    the kinds that say most first."""
    client = client_of(report)
    source = (client["sources"] + client["addresses"] + [None])[0]
    segment = source and network_of(source)
    return unique([("target", client["target"]), ("target host", client["goal"])] + [
        ("host", client["host"])] + [("source segment", segment)] * bool(segment) + [
            ("hop", hop["address"]) for hop in client["path"][::-1]
            if hop["address"] not in client["goals"] + [None]] + [("port", client["port"])])


def client_of(report):
    """What the client has reported of one target of a merged report."""
    return next(row.value for row in report.answers if row.probe == "report")


def network_of(address):
    """The usual segment of an address: its /24, or its /64."""
    import ipaddress
    net = "%s/%d" % (address.partition("%")[0], 64 if ":" in address else 24)
    return str(ipaddress.ip_network(net, strict=False))


def common_ground(reports):
    """What the failing reports share and the others do not -> [{what, value, failed, fine}]."""
    failed, fine = {}, collections.Counter()
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
        return (undecided if unsure else works_well)("%d of %d work%s." % (
            len(reports) - len(unsure), len(reports),
            ", the others are undecided" if unsure else ""))
    code, count = collections.Counter(result.code for result in bad).most_common(1)[0]
    first = next(result for result in bad if result.code == code)
    words = "%d of %d fail, %s with %s" % (len(bad), len(reports), count if count < len(
        bad) else "all" if len(bad) > 1 else "it", code)
    places, sure, fix = first.suspects, "possible", first.fix
    if common and bad[1:]:
        trait = common[0]
        words += "; what they share is the %(what)s %(value)s" % trait
        if len(bad) < len(reports) and not trait["fine"]:
            words += ", and all that lacks it works"
            places, sure = TRAIT_PLACES.get(trait["what"], places), "likely"
            fix = ["See what is special about the %(what)s %(value)s." % trait] + fix
        elif trait["fine"]:
            words += ", which %d others have too, and work" % trait["fine"]
    elif bad[1:]:
        words += "; they have nothing in common"
    return Verdict(code, list(places), sure, words + ". " + first.summary, fix,
                   ask_owner(places, fix[0]) if fix else None)


def merge_verdict(seen, _):
    """Where both ends give no more: the client's own verdict, or why they do not fit together."""
    clients, words = saying(seen["report"], "role", "client"), ""
    if not clients:
        return undecided("No client has reported.")
    client = clients[0].value
    doubtful = client["code"] in SILENCES + ["tcp.refused", "tcp.rejected"]
    for row in sorted(seen["ends"], key=lambda row: row.value["apart_s"])[:1]:
        server, far_s = row.value["server"], row.value["apart_s"]
        if doubtful and not row.value["witnessed"]:
            return undecided(
                "%s sees %s (%s), and the report of %s was made %s apart: at another time it proves"
                " nothing." % (
                    client["host"], client["target"], client["code"], server["host"],
                    "%d min" % (far_s / 60) if far_s >= 120 else "%d s" % far_s),
                "Run both at the same time: on the server `netdiag.py server %s --for 30s"
                " --client %s`, meanwhile netdiag on the client." % (
                    client["port"], (client["sources"] + ["ADDRESS"])[0]), client["suspects"])
        words = " The report of the server, %(host)s: %(code)s." % server
    return Verdict(client["code"], client["suspects"], client["confidence"],
                   client["summary"] + words, client["fix"],
                   ask_owner(client["suspects"], client["fix"][0]) if client["fix"] else None)


def finding_verdict(finding):
    """The verdict that a finding is."""
    return Verdict(finding.code, finding.suspects, finding.confidence, finding.summary,
                   finding.fix, ask_owner(finding.suspects, finding.ask))


def ask_owner(places, text):
    """The `ask` of a verdict: this of whoever owns the likeliest place."""
    return {"who": PLACE_OWNER.get((list(places) or ["client"])[0]), "text": text}


def works_well(words, sure="certain"):
    """The verdict that nothing is wrong."""
    return Verdict("ok", [], sure, words, [], None)


def undecided(words, advice=None, places=(), sure="possible"):
    """The verdict that no cause can be named."""
    return Verdict("undecided", list(places), sure, words, [advice] if advice else [], None)


def came_not(wish, watched):
    """Was nothing seen of the client at the port while it was watched (--for)?"""
    return bool(wish["client"] and wish["watched_s"] and watched) and len(
        watched["peers"]) < PEERS_LIMIT and wish["client"] not in dict(
            watched["peers"], **watched["half_open"])


def served_words(wish, seen):
    """Who serves a port of this host, and what was seen of the way to it."""
    if not wish["port"]:
        return "No program listens on this host."
    for sent in seen["sent_on"]:
        return "A rule of this host sends %s port %d on to its port %d, and somebody listens" \
            " there." % (wish["transport"].upper(), wish["port"], sent)
    for row in saying(seen["loop"], "open", 1)[:not seen["listening"]]:
        return "A connection to %s opens, though nobody listens on TCP port %d of this host: a" \
            " rule sends it elsewhere." % (row.subject, wish["port"])
    parts = ["%s listens on %s, %s port %d" % (
        seen["holder"], seen["bound_to"], wish["transport"].upper(), wish["port"])]
    parts += ["answers this host itself"] * bool(saying(seen["loop"], "open", 1))
    parts += ["has room in its queue"] * (seen["watched"].get("waiting") == 0)
    parts += ["no rule of this host's firewall stops it"] * (
        {fate["fate"] for fate in seen["fates"]} == {"accept"})
    ways = [row.value for row in seen["back"] if said(row, "error") is None and said(row, "dev")]
    parts += ["the way back to %s leaves by %s" % (wish["client"], way["dev"])
              for way in ways[:bool(wish["client"])]]
    if came_not(wish, seen["watched"]):
        parts.append("no connection of %s was seen in %d s" % (wish["client"], wish["watched_s"]))
    return ", ".join(parts) + "."


def ok_words(wish, good, seen):
    """What works, in one sentence."""
    if wish["mode"] == "host":
        return "Link, address, route, gateway and resolver of this host look fine."
    if wish["mode"] == "server":
        return served_words(wish, seen)
    if not good:
        return "%s is reached through the proxy %s." % (wish["host"], seen["tunnels"][0].subject)

    def told(probe, key):
        return [said(r, key) for r in latest(seen[probe]) if said(r, key)][:1]
    parts = [wish["host"] + (" port %s" % wish["port"] if wish["port"] else "") + " answers"]
    parts += ["%s with a trusted certificate" % version for version in told("tls", "version")]
    parts += ["HTTP %d" % status for status in told("http", "status")] or [
        '"%s"' % first_line(words.partition(" you=")[0])[:50] for words in told("tcp", "greeting")]
    return ", ".join(parts) + "."


# {mode: what is said where no rule found a fault}
MODE_VERDICTS = {"capture": capture_verdict, "listen": listen_verdict, "watch": watch_verdict,
                 "merge": merge_verdict}

# == 9 report: values in, text out =================================================================

WIDTH = 80
RULER = "\n" + "-" * WIDTH + "\n"              # between two reports
COLORS = table_of("ok=32 fail=31 warn=33 info=36")
SEVERITY_WORDS = {"fail": "a fault", "warn": "a warning", "info": "a remark"}  # the worst first
NO_FAULT = {"ok": "OK", "undecided": "UNDECIDED", "udp.no_reply": "UNDECIDED"}
PHASES = dict(dns="lookup", tcp="connect", tls="TLS", first_byte="first byte")
FLOW_TROUBLE = dict(retransmits="segments sent again", reordered="out of order",
                    zero_window="zero windows (its program does not read)")
NOISY = ("target", "counters", "marks", "interfaces_now")
# The first clause of an advice, without a remark at its end; what stands in quotes ends nothing.
CLAUSE = re.compile(r"(?:`[^`]*`|\([^)]*\)|[^`(])+?(?:\?(?= |$)|(?=(?: \([^)]*\))?[.;:](?: |$)))")
# What stays together at the end of a line: a word, or one wide character; no line begins with a
# Japanese full stop, closing bracket or small kana, none ends with an opening bracket (JIS X 4051).
PIECE = re.compile(
    "\\s*[\uff08\u300c]*(?:[^\\s\u3000-\uffef]{1,62}|[\u3000-\uffef])"
    "[\u3001\u3002\uff09\u300d\uff1a\uff1f\u30fc\u30fb\u3005\u3083\u3085\u3087\u3063"
    "\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7]*")


def paint(text, kind, color):
    """Colour as decoration only: the words carry the meaning."""
    return "\033[%sm%s\033[0m" % (COLORS[kind], text) if color else text


def columns(text):
    """The columns of a text on a terminal: East Asian wide characters take two (UAX 11)."""
    if len(text.encode("utf-8", "replace")) == len(text):
        return len(text)
    import unicodedata
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def pad(text, width):
    """The text and blanks up to `width` columns; before it where that is negative."""
    blanks = " " * (abs(width) - columns(text))
    return text + blanks if width > 0 else blanks + text


def wrap(text, front="  ", indent=None, room=None):
    """Lines of at most WIDTH columns, hanging behind `front`; at most `room` of them."""
    indent, lines, line = indent or " " * columns(front), [], ""
    for piece in PIECE.findall(text):
        if line and columns(line + piece) > WIDTH:
            lines.append(line)
            line = ""
        line = line + piece if line else (indent if lines else front) + piece.lstrip()
    lines.append(line)
    if room and len(lines) > room:
        words = PIECE.findall(lines[room - 1])
        while columns("".join(words)) > WIDTH - 4:
            words.pop()
        lines[room - 1:] = ["".join(words) + " ..."]
    return lines


def clauses(text):
    """The beginnings of an advice that end with a clause, the shortest first."""
    if "\u3002" in text:                          # the full stop of Japanese
        return [text[:stop.end()] for stop in re.finditer("\u3002", text)]
    return [(text[:clause.end()] + ".").replace("?.", "?") for clause in CLAUSE.finditer(text)]


def fit(text, front, room):
    """At most `room` lines: all of a text, else its first clauses, else cut with a mark."""
    for words in [text] + (clauses(text)[::-1] if front != "  " else []):
        lines = wrap(words, front)
        if len(lines) <= room:
            return lines
    lines = wrap(text, front, room=room)
    return lines[:-1] + [re.sub(r"[,;:] \.\.\.$", " ...", lines[-1])]


def shorten(text, width=WIDTH):
    """At most `width` columns, with a mark where something is missing."""
    if columns(text) <= width:
        return text
    text = text[:max(0, width - 3)]
    while columns(text) > width - 3:
        text = text[:-1]
    return text + "..."


def in_words(report, say):
    """The report with its sentences in the language that `say` speaks; codes stay."""
    def ask(words):
        return words and {"who": say(words["who"]), "text": say(words["text"])}
    result = report.verdict
    return report._replace(
        verdict=result._replace(summary=say(result.summary), fix=list(map(say, result.fix)),
                                ask=ask(result.ask)),
        findings=[f._replace(summary=say(f.summary), fix=list(map(say, f.fix)))
                  for f in report.findings],
        unjudged=[{"question": say(row["question"].rstrip(".")),
                   "why": "; ".join(map(say, row["why"].split("; ")))} for row in report.unjudged])


def way_of(table):
    """The route decision that counts: the last one made that did not fail, else {}."""
    return next((row.value for row in succeeded(table["egress"] + table["route"] + table["back"])
                 if not row.value["error"]), {})


def server_words(report, table):
    """'name = its addresses', or what is known of that."""
    host, known = report.target.host or "-", ", ".join(found_addresses(table))
    return host if known in ("", host) else "%s = %s" % (host, known)


def render_text(report, packets, filled=(), color=False, say=str):
    """The whole report: the verdict, and below it each part that has something to say."""
    table, report = by_probe(report.answers), in_words(report, say)
    rows = dict(asked_rows(report, table, say), **ticket_rows(report, table, packets, filled, say))
    return below_verdict(report, (
        ("FLOWS", flow_lines(report, table["capture"], say)),
        ("PATH", path_lines(report, way_of(table), server_words(report, table), say)),
        ("TIMES", time_lines(report.timings_ms, say)),
        ("FINDINGS", finding_lines(report.findings, color, say)),
        ("NOT TESTED", untested_lines(report)),
        ("TICKET (copy from here)", row_lines(rows, say))), color, say)


def below_verdict(report, parts, color, say):
    """A report as text: its verdict, and below it [(heading, lines)]."""
    return "\n".join(verdict_lines(report, color, say)) + "\n" + "".join(
        headed(name, lines, say) for name, lines in parts)


def headed(name, lines, say):
    """A part under its heading, behind a blank line; "" where it has nothing to say."""
    return "\n%s\n%s\n" % (say(name), "\n".join(lines)) if lines else ""


def untested_lines(report):
    """What could not be asked, and why."""
    return [line for row in report.unjudged for line in wrap("%(question)s: %(why)s" % row, "  - ")]


def row_lines(rows, say):
    """Labelled lines of {label: text}; an underline where only a reader can know."""
    return [line for label, text in rows.items()
            for number, part in enumerate((text or "________").split("\n"))
            for line in wrap(part, "  %s " % pad(
                "" if number else say(label.replace("_", " ")) + ":", 13))]


def places_words(suspects, say):
    """'server or server network', likeliest first."""
    return say(" or ").join(say(place.replace("_", " ")) for place in suspects)


def short_places(suspects, say):
    """'server/server_network': the same for a line of a table; the codes where it is English."""
    return "/".join(place if say is str else say(place.replace("_", " "))
                    for place in suspects[:2]) or "-"


def title_of(target, say):
    """What was looked at: 'web.example:443 (https)'."""
    text = unless_name(target.text, say)
    return "%s (%s)" % (text, target.protocol) if target.port else text


def unless_name(text, say):
    """A target in words, such as 'port 80/tcp', as `say` says it; a name stays."""
    return say(text) if " " in text else text


def render_mode(report, packets, filled, color, say):
    """The report of a mode: with a part of its own, and a path where one was drawn from here."""
    if report.target.mode not in MODE_PARTS:
        return render_text(report, packets, filled, color, say)
    name, lines = MODE_PARTS[report.target.mode](by_probe(report.answers), say)
    if report.target.mode == "watch" and report.verdict.code not in NO_FAULT:
        return render_text(report, packets, filled, color, say) + headed(name, lines, say)
    report = in_words(report, say)
    return below_verdict(report, (
        (name, lines), ("FINDINGS", finding_lines(report.findings, color, say))), color, say)


def arrival_line(row, say):
    """One arrival at the stand-in: when, from where, and what the network has made of it."""
    return "  %s  %-24s TTL %-4s MSS %-6s %s" % (
        row["at"][11:19], endpoint(row["from"], row["port"]), row["ttl"] or "?", row["mss"] or "-",
        say("%d bytes" % row["bytes"]))


def clock_text(epoch):
    """The time of day of this host."""
    return iso_time(epoch)[11:19]


def outage_times(outage):
    """'12:00:05-12:00:17': from the first check that failed to the last one."""
    return "%s-%s" % (clock_text(outage["from"]), clock_text(outage["to"]))


def outage_line(outage, say):
    """One line of the outage log."""
    return "  %s  %s, %s: %s" % (outage_times(outage), outage["code"], say(outage["confidence"]),
                                 say(outage["summary"]))


def outage_lines(table, say):
    """The outage log of `watch`."""
    facts = table["checks"][0].value
    return ["  " + say("%(checks)d checks in %(seconds)d s, %(failed)d failed" % facts)] + [
            line for row in facts["outages"] for line in wrap(
                outage_line(row, say).strip(), "  ", " " * 21)] + more_lines(
                    facts["more_outages"], "outages", say)


def more_lines(count, what, say):
    """'and 7 more hosts', where there are more than are shown."""
    return ["  " + say(("and %d more %s" % (count, what)).rstrip())] * (count > 0)


def end_lines(table, say):
    """Who reported what, and when: one line for each report that belongs together."""
    lines, width = [], max([7] + [columns(say(row.value["role"])) for row in table["report"]])
    for row in table["report"]:
        value = row.value
        known = ", ".join(unique(value["sources"] + value["addresses"])[:2]) or "-"
        role = "server" if is_server_end(value) else value["role"]     # alone it has a client's
        front = "  %s " % pad(say(role), width)
        host = value["host"] if "(" in value["host"] else "%s (%s)" % (value["host"], known)
        lines += wrap("%s  %s  %s  %s" % (utc_text(value["began_s"]), host, unless_name(
            value["target"], say), value["code"]), front)
    return lines


def group_parts(group, reports, say):
    """Many hosts and targets: the matrix, what they share, and one line for each that fails."""
    bad = [report for report in reports if report.verdict.code != "ok"]
    hosts, targets = group["matrix"]["hosts"], group["matrix"]["targets"]
    lines = [" " * 30 + " ".join("%3d" % n for n in range(1, len(targets[:12]) + 1))]
    rows = sorted(zip(hosts, group["matrix"]["codes"]), key=lambda row: not set(row[1]) - {"ok"})
    lines += ["  %-28s" % shorten(host, 28) + " ".join("%3s" % (
        "-" if code is None else "ok" if code == "ok" else "?" if code in NO_FAULT else "X")
        for code in codes[:12]) for host, codes in rows[:40]]
    lines += more_lines(len(rows[40:]), "hosts", say)
    lines += [""] + ["  %2d  %s" % (number, shorten(name, 72))
                     for number, name in enumerate(targets[:12], 1)]
    lines += more_lines(len(targets[12:]), "targets", say)
    told = ["%s: %s" % (shorten("%s %s" % (say(row["what"]), row["value"]), 40), say(
        "%(failed)d of those that fail have it, %(fine)d of the others" % row))
            for row in group["common"][:6]]
    return [("MATRIX", lines), ("IN COMMON", ["  " + line for line in told]), ("FAILING", [
        "  " + shorten("%-16s %-22s %s, %s: %s" % (
            client_of(report)["host"], report.target.text, report.verdict.code,
            say(report.verdict.confidence), short_places(report.verdict.suspects, say)), 78)
        for report in bad[:60]] + more_lines(len(bad[60:]), "", say))]


def render_merged(reports, group, filled=(), color=False, say=str):
    """The report of mode `merge`: two ends in full, many as a group, and what was left out."""
    left_out = [line for text in list(map(say, group["not_joined"])) + [
        "%s: %s" % (printable(path, 60), say(printable(why, 100)))
        for path, why in list(group["unusable"].items())[:20]] for line in wrap(text, "  - ")]
    left_out += ["  - " + say("%d unusable files in all" % len(group["unusable"]))] * (
        len(group["unusable"]) > 20)
    head = []
    if reports[1:]:
        first = reports[0]
        whole = first._replace(
            target=first.target._replace(text="hosts: %d, targets: %d" % (len(group["matrix"][
                "hosts"]), len(group["matrix"]["targets"])), port=None),
            verdict=Verdict(**group["verdict"]), findings=[], complete=True)
        head = [below_verdict(in_words(whole, say), group_parts(group, reports, say), color, say)]
    shown = [report for report in reports if not reports[1:] or report.findings][:20]
    texts = head + [render_mode(report, 0, filled, color, say) for report in shown]
    return RULER.join(texts) + headed("NOT JOINED", left_out, say)


def group_json(reports, spare, useless):
    """What mode `merge` adds to the document: the matrix, what fails have in common, the rest."""
    hosts, targets = (unique(names) for names in zip(*[
        (client_of(report)["host"], report.target.text) for report in reports]))
    codes = {(client_of(report)["host"], report.target.text): report.verdict.code
             for report in reports}
    common = common_ground(reports)
    return dict(verdict=group_verdict(reports, common)._asdict(), common=common,
        matrix={"hosts": hosts, "targets": targets,
                "codes": [[codes.get((host, name)) for name in targets] for host in hosts]},
        not_joined=["The report of %(host)s about %(target)s (%(code)s) belongs to no client's"
                    " report: another service, or another report of it is nearer in time."
                    % row.value for row in spare[:20]], unusable=useless)


MODE_PARTS = {
    "merge": lambda table, say: ("ENDS", end_lines(table, say)),
    "watch": lambda table, say: ("CHECKS", outage_lines(table, say)),
    "listen": lambda table, say: ("ARRIVALS", [
        arrival_line(row, say) for row in table["arrivals"][0].value["arrivals"]])}


def verdict_lines(report, color, say):
    """Under the title at most five lines: code, place and sureness; what; do this; ask them."""
    result = report.verdict
    rows = [("  ", result.summary)]
    rows += [("  %s " % pad(say("do:"), 4), text) for text in result.fix[:1]]
    rows += [("  %s " % pad(say("ask:"), 4), request_words(result, say))] if result.ask else []
    lines = []
    for number, (front, text) in enumerate(rows, 1):      # the first takes most, each has a line
        lines += fit(text, front, 4 - len(lines) - len(rows) + number)
    if result.ask and lines[-1].endswith(" ..."):
        lines[-1] = rows[-1][0] + elsewhere_words(result, say)
    warned = unique(f.code for f in report.findings if f.severity == "warn")
    if result.code == "ok" and warned:
        lines += wrap(say("with warnings, see FINDINGS") + ": " + ", ".join(warned), room=1)
    if not report.complete:
        lines.append("  " + say("The run was cut short: this rests on what was seen until then."))
    return [shorten("netdiag %s: %s" % (VERSION, title_of(report.target, say))),
            paint(sure_words(result, say), "ok" if result.code == "ok" else "fail", color)] + lines


def sure_words(result, say):
    """The code, how sure, and as many of the three likeliest places as a line holds."""
    line = "%s  %s, %s" % (say(NO_FAULT.get(result.code, "FAULT")), result.code,
                           say(result.confidence))
    told = ["%s %s: %s" % (line, say("at"), places_words(result.suspects[:number], say))
            for number in range(1, len(result.suspects[:3]) + 1)]
    return [text for text in [line] + told if columns(text) <= WIDTH][-1]


def request_words(result, say=str):
    """Who is asked for what: where `do:` says it already, by its first clause if that fits."""
    who, text = result.ask["who"], result.ask["text"]
    if text in result.fix[:1]:
        text = (clauses(text) or [text])[0]
        if columns("  ask: %s - %s" % (who, text)) > WIDTH:
            return elsewhere_words(result, say)
    return "%s - %s" % (who, text)


def elsewhere_words(result, say):
    """Whom to ask where the request needs more than the line that is left for it."""
    return "%s - %s" % (result.ask["who"], say("the request is in the ticket."))


def stations(report, way, server, say):
    """The stations from client to service: [(place, TTL, name, RTT in ms)]; a loop is told once."""
    rows, names = [("client", 0, way.get("src") or "", None)], [h["address"] for h in report.path]
    shown = first_of(n for n, name in enumerate(names) if name and name in names[:max(0, n - 1)]) \
        or len(names)
    rows += [(hop["place"], hop["ttl"], hop["address"] or say("* (no answer)"), hop["rtt_ms"])
             for hop in report.path[:shown + 1]]
    rows += [(hop["place"], "", say("and so on, to hop %d" % hop["ttl"]), None)
             for hop in report.path[shown + 1:][-1:]]
    if rows[-1][0] != "server":
        short = server if columns(server) <= 39 else server.split(", ")[0] + ", ..."
        rows.append(("server", "", shorten(short, 39), None))
    if report.target.port:
        port = say("%s port %d" % (report.target.transport.upper(), report.target.port))
        rows.append(("service", "", port, None))
    return rows


def path_lines(report, way, server, say):
    """The way drawn from client to service, with a mark behind the place suspected most."""
    result = report.verdict
    if not report.target.host or not report.path and result.code.startswith("dns."):
        return []
    rows = stations(report, way, server, say)
    here = say("this host") + (" (%s)" % way["dev"] if way.get("dev") else "")
    lines = ["%4s  %s %9s  %s" % (ttl, pad(name, 39), "" if ms is None else "%.1f ms" % ms,
                                  here if place == "client" else say(place.replace("_", " ")))
             for place, ttl, name, ms in rows]
    if result.code not in NO_FAULT and set(result.suspects[:1]) & set(PLACES[:6]):
        ranks, worst = [PLACES.index(row[0]) for row in rows], PLACES.index(result.suspects[0])
        at = max(n for n, rank in enumerate(ranks) if rank <= worst)
        lines.insert(at + (worst < 4), "   X  ---- %s: %s ----" % (
            say("it breaks here"), result.code))
    told = [(hop["mss"], hop["ttl"]) for hop in report.path if hop["mss"]]
    return lines + ["      " + say("the MSS of our SYN is lowered from %d to %d before hop %d" % (
        was, now, ttl)) for (was, _), (now, ttl) in zip(told, told[1:]) if now < was]


def flow_lines(report, capture, say):
    """What was recorded, and each flow told in words, the failed ones first."""
    lines = []
    for row in succeeded(capture):
        value, port, shown = row.value, report.target.port, 4 if report.target.host else SHOWN_LIMIT
        took = "" if value["seconds"] is None else " in %.1f s" % value["seconds"]
        lost = "" if value["dropped"] is None else say(", %d dropped" % value["dropped"])
        lines += wrap(say("%d packets%s by %s" % (value["packets"], took, value["via"])) + lost
                      + ": " + (say(", ").join(
                          say("{n} {state}").format(n=count, state=say(state))
                          for state, count in sorted(value["states"].items()))
                                or say("no flow")) + say("."))
        lines += wrap(say("It breaks off: %s." % value["problem"])) if value["problem"] else []
        left = value["protocols"].get("not followed")
        lines += wrap(say("%d packets belong to more flows than are followed." % left)
                      ) if left else []
        told = [without_copies(flow) for flow in value["flows"]
                if port in (None, flow["server_port"])
                and (not report.target.host or flow["state"] != "trace")]
        for flow in sorted(told, key=lambda flow: (is_fine(flow), not flow["syn"]))[:shown]:
            lines += wrap("%s > %s %s: %s" % (
                endpoint(flow["client"], flow["client_port"]), endpoint(flow["server"], flow[
                    "server_port"]), flow["protocol"].upper(), say(flow["state"])))
            lines += wrap(say("; ").join(map(say, flow_words(flow))) + say("."), "      ")
        lines += more_lines(len(told) - shown, "", say)
    return lines


def flow_words(flow):
    """What the packets of one flow were, in the order in which they matter."""
    udp, after = flow["protocol"] != "tcp", flow["rtt_ms"]
    words = ["SYN sent %s" % syn_times(flow)] if flow["syn"] else []
    answer = "SYN/ACK" if flow["synack"] else "RST" if flow["state"] == "refused" else None
    if answer:
        words.append("%s%s%s from TTL %s" % (
            answer, " %d times" % flow["synack"] if flow["synack"] > 1 else "",
            "" if after is None else " after %g ms" % after, flow["ttl"][1]))
    words += unique("ICMP %s from %s" % (icmp_words(flow["server"], error), error["from"])
                    for error in flow["icmp"])[:2]
    words += ["no answer" if flow["ttl"][1] is None else "only a bare ACK in answer"] * (
        flow["state"] == "silent")
    if flow["synack"]:
        words.append("MSS %s and %s, window scale %s and %s" % tuple(
            "-" if number is None else number for number in flow["mss"] + flow["scale"]))
    if udp or any(flow["bytes"]):
        words.append("%d packets, %d bytes there and %d back" % (
            (flow["packets"],) + tuple(flow["bytes"])))
    words += ["%d %s" % (flow[name], what) for name, what in FLOW_TROUBLE.items() if flow[name]]
    if flow["stuck"]:
        words.append("data of %s acknowledged to %s bytes and stuck (%d bytes behind that %s)" % (
            flow[flow["stuck"]["sender"]], flow["stuck"]["acked"], flow["stuck"]["bytes"],
            "never came here" if flow["stuck"]["missing"] else
            "are sent again, in vain" if flow["stuck"]["again"] else "are not acknowledged"))
    if flow["ended_by"] and flow["state"] in ("reset", "closed", "abandoned"):
        words.append("%s by %s" % (flow["state"], flow[flow["ended_by"]]))
    elif flow["silent"] and flow["state"] != "silent":
        words.append("%s stopped answering" % flow[flow["silent"]])
    return words or ["nothing that tells"]


def time_lines(timings_ms, say):
    """A bar for each phase, to one scale."""
    rows = [(name, timings_ms[key]) for key, name in PHASES.items()
            if timings_ms[key] is not None]
    scale = max([ms for _, ms in rows], default=0) or 1
    return ["  %s %9.1f ms  %s" % (pad(say(name), 10), ms, "#" * max(1, int(50 * ms / scale)))
            for name, ms in rows]


def finding_lines(findings, color, say):
    """Findings, the worst first and then by layer: what was seen, how sure, what to do."""
    lines = []
    for row in sorted(findings, key=lambda f: (list(SEVERITY_WORDS).index(f.severity), f.layer)):
        head = "  %s  %s (%s)" % (pad(say(row.severity), 4), row.code, say(row.confidence))
        ids = ",".join(unique(a.id for a in row.proof if a.id))
        lines.append(paint(head, row.severity, color) + shorten(
            ids and "  %s %s" % (say("seen in"), ids), 40))
        lines += wrap(row.summary, " " * 8) + wrap(row.fix[0], "        -> ")
        if row.consequences:
            lines += wrap(say("explains") + ": " + ", ".join(row.consequences), " " * 8)
    return lines


# -- the ticket -----------------------------------------------------------------------------------

def render_ticket(report, packets, filled, say):
    """Only the text to send: to whom, the request, and the facts that this verdict needs."""
    table, report = by_probe(report.answers), in_words(report, say)
    result, title = report.verdict, title_of(report.target, say)
    lines = [shorten("netdiag %s: %s" % (VERSION, title))]
    if result.code == "ok":
        return "\n".join(lines + wrap(say("Nothing needs to be sent: the target works."), "")
                         + wrap(result.summary, "")) + "\n"
    asked = asked_rows(report, table, say)
    request = asked.pop("request") or "________"
    rows = ticket_rows(report, table, packets, filled, say)
    return "\n".join(lines + row_lines(asked, say) + [""] + wrap(request, "")) + "\n" + headed(
        "FACTS", row_lines(rows, say), say) + headed("NOT TESTED", untested_lines(report), say)


def asked_rows(report, table, say):
    """Whom to ask for what; the first advice where nobody can be named."""
    result, clouds = report.verdict, environment_words(table["marks"], table["proxy_env"])
    if result.code == "ok":
        return {}
    ask = result.ask or {"who": None, "text": first_of(result.fix)}
    cloud = [words for words in clouds.split("; ") if ": " in words]
    if cloud and result.code in ("tcp.filtered", "tcp.rejected", "path.dead_end"):
        ask = dict(ask, who="%s, %s" % (ask["who"], say("the cloud team (%s)" % cloud[0])))
    return dict(to=ask["who"], about="%s, %s" % (result.code, title_of(report.target, say)),
                request=ask["text"])


def ticket_rows(report, table, packets, filled, say):
    """{label: text} of what its reader needs; None where nobody here can know."""
    result, target, host = report.verdict, report.target, about(table["identity"], "self")
    clock, filled = about(table["clock"], "self"), dict(filled)
    places = result.suspects and "; %s: %s" % (say("suspected"), places_words(result.suspects, say))
    seen = unique(filter(None, map(exact_words, proof_of(report))))[:SEEN_LINES]
    rows = dict(symptom="%s: %s" % (result.code, result.summary),
                sure=say(result.confidence) + (places or ""))
    rows.update(dict(seen="\n".join(seen)) if seen else {}, **how_often(table, say))
    rows.update(client_rows(table, way_of(table), host, say))
    rows.update(server=server_words(report, table), protocol="%s %d (%s)" % (
        target.transport.upper(), target.port, target.protocol) if target.port else "-")
    if result.ask and result.ask["text"] not in result.fix:
        rows.update(advice=result.fix[0])
    rows.update(TICKET_FACTS.get(result.code.partition(".")[0], way_facts)(report, table, say))
    rows.update(
        time="%s (%s UTC)" % (clock["local"], clock["utc"][:19]) if clock else None,
        ruled_out=ruled_out(table, result, say),
        packets_sent=say("about %d to the target" % packets if packets else "none to the target"),
        run_by="%s%s, Python %s, netdiag %s" % (
            host.get("user"), " (root)" if host.get("root") else "", host.get("python"), VERSION),
        environment="; ".join(map(say, environment_words(
            table["marks"], table["proxy_env"]).split("; "))) or "-",
        site=None, switch=None, switch_port=None)
    if target.mode == "server" and table["target"]:
        rows = server_rows(table, rows, packets, say)
    elif target.mode == "capture" and not target.host:        # recorded here, at the server
        here = far_reaching(*real_links(table["interfaces"]))
        came = unique(flow["client"] for flow in rows_in(table["capture"], "flows"))
        rows.update(server="%s (%s)" % (rows["client_host"], ", ".join(here[:4]) or "-"),
                    client=", ".join(came[:4]) or None)
        rows = {key: text for key, text in rows.items() if key not in HERE_ROWS + ["client_host"]}
    elif target.mode == "merge":                              # what this host knows is no matter
        rows = {key: text for key, text in rows.items() if key not in HERE_ROWS + [
            "ruled_out", "packets_sent", "environment", "run_by"]}
        rows.update(joined_rows(client_of(report)))
    return dict(rows, **filled)


def joined_rows(client):
    """The client of a merged report, and when it was."""
    known = dict(client=first_of(client["sources"] + client["addresses"]),
                 client_host=client["host"], way_there=client["facts"].get("route"),
                 time="%s UTC" % utc_text(client["began_s"]))
    return {label: text for label, text in known.items() if text}


def client_rows(table, way, host, say):
    """This host as a network team knows it: address and prefix, name, interface, VLAN, gateway."""
    src, dev, via = way.get("src"), way.get("dev"), way.get("via")
    gateless = dev and say("none: on the own segment")
    links = real_links(table["interfaces"])
    if not dev and len(links) == 1:                 # no route leads there: the only way out
        src, dev = first_of(far_reaching(links[0])), links[0]["name"]
        gateless = table["route"] and say("none: no route leads there")
    link = interface_named(table["interfaces"], dev) or {"inet": [], "inet6": []}
    cidr = [c for c in link["inet"] + link["inet6"] if c.partition("/")[0] == src] or [src]
    hop = next((row.value for row in table["neighbor"] if row.value), {})
    gateway = via and via + "".join(", %s %s" % (name, hop[key]) for key, name in (
        ("mac", "MAC"), ("state", say("layer 2:"))) if hop.get(key))
    return dict(client=cidr[0], client_host=host.get("name"),
                interface=dev and "%s, MAC %s, MTU %s" % (
                    dev, link.get("mac") or "?", link.get("mtu") or "?"),
                VLAN=find(r"(?:\.|^vlan)(\d+)$", dev or ""),
                gateway=gateway or gateless)


def proof_of(report):
    """The answers on which the verdict rests."""
    return [row for f in report.findings if f.code == report.verdict.code for row in f.proof]


def exact_words(row):
    """One answer: what was asked about what, and what came back, in the words in which it came;
    "" where it has none."""
    errors = ["%s from %s" % (icmp_words(host_of(row), e), e["from"])
              for e in said(row, "icmp") or () if e.get("from")]
    told = ["%s %s" % (key.replace("after", "then"), said(row, key)) for key in SEEN_KEYS
            if said(row, key) and (key != "after" or said(row, key) in ("reset", "closed"))
            and not (key == "reason" and said(row, "error"))      # there it is a part of the error
            and not (key in ("reply", "refuses") and said(row, "greeting"))]   # its words are there
    text = ", ".join(errors or told) or (row.outcome if row.outcome in NO_WORDS else "")
    text = re.sub(r" ?\(?_ssl\.c:\d+\)?:? ?", " ", text).rstrip()   # a line of Python's own source
    return text and printable("%s %s: %s%s" % (
        row.probe, row.subject, text, "" if row.ms is None else " (%.1f ms)" % row.ms), 200)


def how_often(table, say):
    """Of how many connections how many met what; {} where none was made."""
    first, again = table["tcp"], [
        row.value for row in succeeded(table["retries"] + table["resends"])]
    total = len(first) + sum(value["tried"] for value in again)
    counts = {key: len(met(first, outcome)) + sum(value.get(key) or 0 for value in again)
              for outcome, key in (("ok", "open"), ("refused", "refused"), ("timeout", "silent"))}
    counts["unreachable"] = total - sum(counts.values())
    syns = max([1 + (said(row, "info", "total_retrans") or 0) for row in first], default=0)
    told = [say("%d of %d connections %s" % (count, total, words))
            for words, count in counts.items() if count > 0]
    told += [say("%d SYNs in the first" % syns)] * (syns > 1)
    told += [say("datagrams to %s: %d" % (row.subject, row.value["sent"])) for row in table["udp"]
             if said(row, "sent")]
    return {"how_often": ", ".join(told)} if told else {}


def way_facts(report, table, say):
    """For a network team: the way there and the way back, as far as they are known."""
    way = way_of(table)
    hops = "".join(" > " + (hop["address"] or "*") for hop in report.path)
    return dict(way_there="%s (%s)%s" % (way.get("src"), way["dev"], hops) if way.get(
                    "dev") else "-",
                way_back=say("not visible from here: run netdiag on the server as well"))


def dns_facts(report, table, say):
    """For a DNS team: each question with its resolver, its answer and its time."""
    conf = about(table["resolv_conf"], "resolv.conf")
    return dict(
        questions="\n".join("%s: %s %s(%.1f ms)" % (
            printable(row.subject), said(row, "rcode") or row.outcome, "".join(
                address + " " for address in said(row, "addresses") or ()), row.ms or 0)
            for row in table["dns"] + table["general_dns"]) or "-",
        resolvers=printable(", ".join(conf.get("nameservers") or ()) or "-"),
        search_list=printable(", ".join(conf.get("search") or ()) or "-"))


HERE_ROWS = "interface VLAN gateway way_there way_back".split()
AWAY_ROWS = "client_host protocol ruled_out way_there how_often".split()


def server_rows(table, rows, packets, say):
    """The rows of a ticket for this host as a server: who listens, in what state, behind what."""
    seen, way = usable(table), way_of(table)
    wish, watched = seen["wish"], seen["watched"]
    programs = programs_of(seen["listening"], seen["owners"])
    switch = ([row for row in rows_in(seen["switch"], "neighbors")
               if way.get("dev") in (None, row["local_if"])] or [LLDP_NEIGHBOR])[0]
    states = sorted(watched.get("most", {}).items())
    names = far_reaching(*real_links(seen["interfaces"]))
    link = interface_named(seen["interfaces"], way.get("dev")) or {}
    own = dict({key: rows[key] for key in ("symptom", "sure") if key in rows},
        server="%s (%s)" % (rows["client_host"], ", ".join(names[:4]) or "-"),
        port="%s %s (%s)" % (wish["transport"].upper(), wish["port"], wish["protocol"]),
        listener=seen["listening"] and "%s %s %s" % (
            say(seen["holder"]), say("on"), seen["bound_to"]) or "-",
        unit=", ".join(unique(row["unit"] for row in programs if row["unit"])) or "-",
        queue=watched and say("%s waiting of %s, %d dropped meanwhile" % (
            watched["waiting"], "?" if watched["limit"] is None else watched["limit"],
            watched["dropped"])) or "-", states=", ".join("%s %d" % item for item in states) or "-",
        packets_sent=say("about %d, to itself" % packets), client=wish["client"] or say("any"),
        way_back=way.get("dev") and "%s (%s)%s" % (
            way["src"], way["dev"], " > " + way["via"] if way.get("via") else "") or "-",
        interface=rows["interface"] and rows["interface"] + "".join(
            ", %s %s" % (key, link[key]) for key in ("master", "parent") if link.get(key)),
        firewall="; ".join(unique(fate_words(fate, say) for fate in seen["fates"]))
        or ("-" if succeeded(table["rules"]) else say("not read")),
        VLAN=rows["VLAN"] or switch["vlan"] and str(switch["vlan"]),
        switch=switch["sysname"] or switch["chassis_id"],
        switch_port=switch["port_id"] and "%(port_id)s (%(port_descr)s)" % switch)
    return dict(own, **{key: text for key, text in rows.items()
                        if key not in own and key not in AWAY_ROWS})


def fate_words(fate, say):
    """What the firewall does with a client's packet, in words."""
    verb = {"accept": "accepts", None: FATES[None]}.get(fate["fate"]) or FATES[fate["fate"]]
    return say("%s %s" % (verb, fate["whose"].replace("from ", ""))) + (': %s "%s"%s' % (
        fate["chain"], line_words(fate), say(fate["count"])) if fate["rule"] else "")


def render_listeners(reports, say):
    """Everybody who listens on this host, a line each, with the verdict on the port."""
    rows = [list(map(say, ("", "address", "port", "program, pid, user", "queue", "verdict")))]
    for report in [r for r in reports if r.target.port and r.complete is not None]:
        seen, target = usable(by_probe(report.answers)), report.target
        warned = [f.code for f in report.findings if f.severity == "warn"]
        code = report.verdict.code if report.verdict.code != "ok" or not warned else warned[0]
        queue = "%s/%s" % tuple("-" if seen["watched"].get(key) is None else seen["watched"][key]
                                for key in ("waiting", "limit"))
        names = ["%s %d %s" % (row["name"], row["pid"], row["user"] or "")
                 for row in programs_of(seen["listening"], seen["owners"])]
        names += ["? ? " + name for name in socket_users(seen["listening"], seen["owners"])]
        rows.append([target.transport, seen["bound_to"], str(target.port), (names + ["?"])[0],
                     queue if target.transport == "tcp" else "-", code])
    lines = [" ".join([pad(shorten(cell, abs(width)), width) for cell, width in zip(
        row, (4, 17, -6, 20, -7))] + row[-1:]) for row in rows]
    return "\n".join([say("LISTENERS"), "  " + say("ports on this host: %d" % len(rows[1:]))]
                     + lines * bool(rows[1:])) + "\n"


def untested_once(reports, say):
    """What could not be asked of any of these reports, each question once; "" where nothing is."""
    asked = {row["question"]: row for report in reports for row in in_words(report, say).unjudged}
    return headed("NOT TESTED", untested_lines(
        reports[0]._replace(unjudged=list(asked.values()))), say)


def tls_facts(report, table, say):
    """For the owner of a certificate: its names, dates and digest, and the chain that was sent."""
    talks = succeeded(table["tls"] + table["peer"] + table["hello"])
    chain = max([said(row, "chain") or [] for row in talks], key=len, default=[])
    rows = way_facts(report, table, say)
    for leaf in chain[:1]:
        rows = dict(
            certificate="%s, SHA-256 %s" % (name_text(leaf["subject"]), leaf["sha256"]),
            names=", ".join(printable(name, 60) for name in names_of(leaf)[:8]) or "-",
            valid="%s - %s UTC" % (utc_text(leaf["not_before"]), utc_text(leaf["not_after"])),
            chain="\n".join("%s < %s" % (name_text(c["subject"]), name_text(c["issuer"]))
                            for c in chain), **rows)
    return rows


def http_facts(report, table, say):
    """For the owner of a service: status line, server software, times."""
    rows = [row for row in latest(succeeded(table["http"])) if said(row, "status")]
    return dict(answer="\n".join("%s: HTTP %s %s, Server: %s" % (
            row.subject, said(row, "status"), said(row, "reason"),
            said(row, "headers", "server") or "-") for row in rows) or "-",
        path=hide_secret(report.target.path or "/"),
        times=", ".join("%s %.1f ms" % (say(name), report.timings_ms[key])
                        for key, name in PHASES.items()
                        if report.timings_ms[key] is not None) or "-")


def proxy_facts(report, table, say):
    """For a proxy team: which proxy, by which variable, and what it answered."""
    proxies = [proxy_for(row.value, table["proxy_env"]) for row in table["target"]]
    return dict(
        proxy=", ".join("%s (%s)" % (endpoint(proxy["host"], proxy["port"]), proxy["variable"])
                        for proxy in proxies if proxy) or "-",
        answer="\n".join(filter(None, map(exact_words, table["tunnel"] + table["spare_proxy"])))
        or "-")


TICKET_FACTS = {"dns": dns_facts, "tls": tls_facts, "clock": tls_facts, "http": http_facts,
                "proxy": proxy_facts}
NO_WORDS = ("timeout", "refused", "unreachable")          # answers all the same
SEEN_LINES = 6               # answers that a ticket quotes; the others stand in the evidence
SEEN_KEYS = ("errno state after rcode status alert verify_code ended error reason greeting reply"
             " not_http not_tls refuses mac key_type sha256").split()


def ruled_out(table, result, say):
    """The layers that were seen to work, each with how; "-" where that is none or all of them."""
    links = [row for row in real_links(table["interfaces"]) if row["up"] and row.get("carrier")]
    routes = saying(succeeded(table["route"]), "error", None)
    fine = dict(
        link=[row["name"] for row in links],
        address=far_reaching(*links),
        route=[row.value["via"] or row.value["dev"] or row.subject for row in routes],
        gateway=[row.value["state"] for row in saying(table["neighbor"], "state", *ALIVE)],
        dns=rows_in(table["lookup"]),
        tcp=[row.subject for row in succeeded(table["tcp"])],
        tls=[said(row, "version") or "" for row in saying(table["tls"], "ended", "done")])
    return "-" if result.code == "ok" else ", ".join(
        "%s (%s)" % (say(layer), ", ".join(unique(seen)[:2])) for layer, seen in fine.items()
        if seen and not result.code.startswith(layer + ".")) or "-"


def render_transcript(transcript, answers, verbose, say):
    """What was run and what was probed without a command, so that the reader can check us."""
    lines, (height, width) = [say("TRANSCRIPT")], (400, 4000) if verbose else (40, 260)
    for entry in transcript:
        lines.append("  $ %s   [status %s, %.0f ms]" % (
            shorten(" ".join(entry["argv"]), 60), entry["status"], entry["ms"]))
        lines += ["    " + printable(line.replace("\t", "  "), 200)
                  for line in entry["output"].splitlines()[:height]]
    shown = [a for a in answers if verbose or a.value is not None and a.probe not in NOISY]
    lines += ["  " + say("Evidence (probe/subject outcome value), commands and sockets alike:")
              ] * bool(shown)
    for row, line in zip(shown, evidence_lines(shown)):
        lines += wrap("%s %s" % (row.id, printable(line, width)), "    ", "      ")
    return "\n".join(lines) + "\n"


def render_tickets(reports, transcript, packets, filled, options, say):
    """The tickets alone; with what was seen, where there is a fault."""
    text = RULER.join(render_ticket(report, packets, filled, say) for report in reports)
    if all(report.verdict.code == "ok" for report in reports):
        return text
    proof = [] if reports[1:] else proof_of(reports[0])
    answers = [row for row in reports[0].answers if row in proof]
    return text + "\n" + render_transcript(transcript, answers, options.verbose, say)


def render_reports(reports, transcript, packets, filled, options, color, say):
    """The reports, of a whole server those that are not ok, and the transcript behind them."""
    worth = [report for report in reports if not options.overview or report.verdict.code != "ok"]
    overview = [render_listeners(reports, say) + untested_once(reports, say)
                ] if options.overview else []
    text = RULER.join(
        overview + [render_mode(report, packets, filled, color, say) for report in worth])
    if options.verbose or worth and reports[0].target.mode not in MODE_PARTS:
        answers = [] if reports[1:] else reports[0].answers
        text += "\n" + render_transcript(transcript, answers, options.verbose, say)
    return text


def render_brief(report, say):
    """One line for one target, of at most 120 columns."""
    result, text = report.verdict, report.target.text
    if report.target.mode == "merge":
        text = "%s: %s" % (client_of(report)["host"], text)
    return shorten("%s %-21s %s %s: %s" % (
        pad(shorten(text, 24), 24), result.code, pad(say(result.confidence), 8),
        short_places(result.suspects, say), say(result.summary)), 120) + "\n"


def evidence_ids(reports):
    """[{id of an answer in a report: its id in a document of them all}]: with a mark for the
    target where there are several; what was asked once for all is the first one's."""
    asked_once, found = {}, []
    for number, report in enumerate(reports, 1):
        found.append({})
        for row in report.answers:
            name = "t%d.%s" % (number, row.id) if reports[1:] else row.id
            once = row.probe in PROBES and PROBES[row.probe].scope in ONCE
            found[-1][row.id] = asked_once.setdefault(
                (row.probe, row.subject, row.via, row.ms), name) if once else name
    return found


def target_json(report, ids):
    """One target as the contract names its parts; `ids` names its evidence in the document."""
    findings = [dict(zip(Finding._fields[:-1], f), ask=finding_verdict(f).ask,        # no layer
                     proof=unique(ids[a.id] for a in f.proof if a.id)) for f in report.findings]
    return dict(zip(("target", "host", "port", "protocol"), report.target),
                addresses=found_addresses(by_probe(report.answers)),
                verdict=report.verdict._asdict(), findings=findings, unjudged=report.unjudged,
                path=report.path, timings_ms=report.timings_ms, elapsed_s=report.elapsed_s,
                complete=report.complete, **({"client": client_of(report)["host"]} if
                                             report.target.mode == "merge" else {}))


def render_json(reports, started, elapsed_s, sha256, transcript, packets, **more):
    """Exactly one JSON document: the reports, and what is known of the whole run."""
    import json
    table = by_probe(reports[0].answers)
    who, marks = (about(table[name], "self") for name in ("identity", "marks"))
    rows = list(zip(evidence_ids(reports), reports))
    evidence = {ids[row.id]: row for ids, report in rows for row in report.answers}
    document = dict(
        schema=1, netdiag={"version": VERSION, "sha256": sha256},
        mode=reports[0].target.mode, started=started, elapsed_s=elapsed_s,
        complete=all(report.complete for report in reports),
        host=dict(pick(who, "name system user root python"),
                  container=any("dmi" not in p and "hypervisor" not in p for p in marks),
                  addresses=sorted(own_addresses(table["interfaces"]).difference(LOOPBACKS))),
        targets=[target_json(report, ids) for ids, report in rows],
        evidence=[dict(row._asdict(), id=name, value=public(row.value))
                  for name, row in evidence.items()],
        transcript=transcript, packets_sent=packets, **more)
    if document["mode"] == "capture":
        document["flows"] = rows_in(table["capture"], "flows")
    return json.dumps(document, indent=1, default=str) + "\n"


NARROW_FIRST = sorted(RULES.values(), key=lambda row: len(row.codes))
HOLE = re.compile(r"(?<=[\w}])\{(?!version)\w+\}|(?<=\}')\{\w+\}|\{(\w+)[^}]*\}")
PHRASES = ("advice after again contrast cure fate how meaning of other others passed speaks times"
           " ttls unseen views what who why witness words").split()
HOLE_WORDS = dict(dict.fromkeys(PHRASES, "..."), goal="TARGET", here="CLIENT", here_time="TIME",
                  hop="NEXT HOP", version="4/6")
OTHER_CODES = dict(line.split(" = ") for line in """\
ok = The target works at the layer that was asked for.
undecided = Not enough was seen to name a cause; the report says what was not tested.
http.gateway_error = The server answers 502, 503 or 504: what is behind the front does not work.
oneway.forward = What the client sends is lost on the way to the server.
service.error = The service itself says no, or its log does.
ssh.throttled = sshd turns this client away before it can log in.
tcp.reset = The connection is accepted, then reset before any data.
tls.cipher = Client and server have no cipher or parameter in common.
tls.client_cert = The server demands a client certificate.
tls.handshake_cut = The connection is reset or closed after the ClientHello.
tls.sni = The server refuses the name that the client sends in the handshake.
tls.version = Client and server have no TLS version in common.""".splitlines())


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
        for label, text in (("says", plain_words(row.says)), ("do", cure),
                ("where", ", or ".join(PLACE_WORDS[p] for p in row.where)),
                ("sure", "%s; taken alone it is %s" % (row.sure, SEVERITY_WORDS[row.severity]))):
            lines += wrap(text, "  %-7s " % (label + ":"))
    for row in rules[len(own):]:
        lines += [""] + wrap(plain_words(row.says), "  also said by: ", " " * 10)
    return "\n".join(lines) + "\n"


def render_codes():
    """Every code with its first sentence."""
    words = {code: plain_words(row.says) for row in reversed(NARROW_FIRST) for code in row.codes}
    lines = ["All causes; `netdiag.py explain CODE` is the manual page of one.", ""]
    for code, text in sorted(dict(words, **OTHER_CODES).items()):
        lines += wrap(text, "%-23s " % code)
    return "\n".join(lines) + "\n"


# -- masking --------------------------------------------------------------------------------------
#
# Values are masked before they are laid out: no name escapes by being cut or wrapped, columns stay
# columns, and JSON keeps its shape.  One table of masks serves a whole document.

REDACTED = ("Redacted: names, addresses, users and keys are masked; the same value has the same"
            " mask.")
# What is looked for, in this order.  A name has two labels or more, the last one of letters.
TRACES = r"""(?x)
    (?P<pem> -----BEGIN\ [^-]{1,40}-----[^-]{0,20000}-----END\ [^-]{1,40}----- )
  | (?P<key> (?<!\w) (?: (?: [0-9A-Fa-f]{2}: ){15,63}[0-9A-Fa-f]{2}
      | [0-9A-Fa-f]{8} (?: -[0-9A-Fa-f]{4} ){3} -[0-9A-Fa-f]{12}
      | (?=[0-9]{0,512}[A-Fa-f]) [0-9A-Fa-f]{12,512}
      | (?<![/+.-]) (?=[\w/+]{0,600}[0-9]) (?=[\w/+]{0,600}[a-z]) (?=[\w/+]{0,600}[A-Z])
        [A-Za-z0-9/+]{38,4000}={0,2} ) (?![\w/+]) )
  | (?P<arpa> (?<![\w.]) (?: (?: [0-9A-Fa-f]\. ){4,32} ip6 | (?: \d{1,3}\. ){1,4} in-addr )
      (?=\.arpa) )
  | (?P<mac> (?<![\w:.-]) (?: [0-9A-Fa-f]{1,2} (?P<by>[:-]) [0-9A-Fa-f]{1,2}
      (?: (?P=by) [0-9A-Fa-f]{1,2} ){4} | [0-9A-Fa-f]{4} (?: \. [0-9A-Fa-f]{4} ){2} ) (?![\w:]) )
  | (?P<v6> (?<![\w:]) (?: [0-9A-Fa-f]{0,4}: ){2,7}
      (?: \d{1,3} (?: \.\d{1,3} ){3} | [0-9A-Fa-f]{1,4} | (?<=::) ) (?: /\d{1,3}(?!\d) )? )
  | (?P<v4> (?<![\d.]) \d{1,3} (?: \.\d{1,3} ){3} (?: /\d{1,2}(?!\d) )? (?!\d) )
  | (?P<dashed> (?<!\d) \d{1,3} (?: -\d{1,3} ){3} (?!\d) )
  | (?P<hex> (?<![\w.]) [0-9A-Fa-f]{8} (?!\w) | (?<=\b0x) [0-9A-Fa-f]{8} (?!\w) )
  | (?P<user> (?<![\w.+-]) [\w.+-]{1,64} (?=@(?!openssh\.com|libssh\.org|lysator)[\w.\[-]) )
  | (?P<name> (?<![\w.-]) [\w*] [\w-]{0,62} (?: \.[\w-]{1,63} ){0,9} \.[A-Za-z][A-Za-z-]{1,62}
      (?![\w-]) )
  | (?P<known> (?i: KNOWN ) )"""
# Files, kernel settings and key names of SSH look like names and are none.
NO_NAMES = re.compile(r"(?i)net\.ip|(?:open|lib)ssh\.|lysator|localhost\.|.*\.(?:conf|py|pem|crt|so"
                      r"|service|socket|txt|json|pcap|log|sh|pub)$")
# {network: how many leading bits of an address in it stay}: the class; 128: all of it.
CLASSES = {net: int(kept) for net, kept in table_of(
    "127.0.0.0/8=32 0.0.0.0/8=32 224.0.0.0/3=32 10.0.0.0/8=8 172.16.0.0/12=12 192.168.0.0/16=16"
    " 169.254.0.0/16=16 100.64.0.0/10=10 ::/127=128 ff02::1:ff00:0/104=104 ff00::/8=128"
    " fe80::/64=64 fc00::/7=8").items()}
# What people write into rules of a firewall: it may be a person, a customer or a site.
REMARKS = re.compile(r'((?:comment|prefix) )"(?:[^"\\]|\\.)*"'
                     r'|(--(?:comment|log-prefix) )[^\s"]\S*')
MASK_TURNS = 9
# What facts are about, by their key; a * for each list in which they stand.
FACT_KINDS = table_of("user=user sni=host host=host search*=host names*=host no_proxy*=host"
                      " san**=host subject**=name issuer**=name client_cert*=name serial=key"
                      " digest=key key=key sha256=key path=path location=path")


def leaves(value, key=""):
    """(key, text) of every text in a value, under the nearest key and a * for each list in
    between (of pairs the second); the keys themselves as ("", key)."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield "", str(name)
            yield from leaves(item, str(name))
    elif hasattr(value, "_asdict"):
        yield from leaves(dict(value._asdict()), key)
    elif isinstance(value, (list, tuple)):
        for item in value[1:] if key[-1:] == "*" and len(value) == 2 else value:
            yield from leaves(item, key + "*")


def own_words(values):
    """The words of this program: a host of such a name could not be told from them."""
    words = [JAPANESE, "localhost root"] + list(PROBES) + list(PROTOCOLS)
    words += [text for row in RULES.values()
              for text in row.codes + [row.says, row.fix, row.ask or ""]]
    words += [text for key, text in leaves(values) if key == ""] + list(OTHER_CODES)
    return set(re.findall(r"[\w.-]*\w", " ".join(words).lower()))


def facts_of(values, own):
    """{text in small letters: its kind} of what a run was told or found out about who is who."""
    facts = {}
    for report in values[0]:
        who = about(by_probe(report.answers)["identity"], "self")
        facts.update({str(who.get("name")).lower(): "host", str(who.get("user")).lower(): "user"})
    for key, text in leaves(values):
        if key in FACT_KINDS:
            facts[re.split("[?#]", text.lower())[0]] = FACT_KINDS[key]
        for kind, pattern in (("user", r"[/\\](?:home|users)[/\\]([\w.-]+)"),
                              ("path", r"://[^/\s\"']+(/[^\s\"'<>?#]+)")):
            facts.update(dict.fromkeys(re.findall(pattern, text.lower()), kind))
    for name in [text for text, kind in facts.items() if kind == "host" and "." in text]:
        facts.update(dict.fromkeys(name.split(".")[:-1], "host"))
    return {text: kind for text, kind in facts.items()
            if {"key": 5, "name": 2}.get(kind, 1) < len(text) < 600 and not (
                text in own or text.isdigit() or is_address(text)
                or kind == "path" and text[:1] != "/")}


class Masks:
    """What stands for what in one document; the same document gets the same masks."""

    def __init__(self, facts, own, seed, met):
        self.facts, self.own, self.seed, self.met = facts, own, seed, met
        self.given, self.done, self.addresses, self.made = {}, {}, {}, set()
        known = "|".join(map(self.spot, sorted(facts, key=len, reverse=True))) or "(?!)"
        self.pattern = re.compile(TRACES.replace("KNOWN", known))
        self.fact = re.compile("(?i)(?P<known>%s)" % known)

    def spot(self, text):
        """The pattern that finds a fact: long ones also within other words, unless in our own."""
        alone = len(text) < 5 or any(text in word for word in self.own)
        return r"(?<![\w-])%s(?![\w-])" % re.escape(text) if alone else re.escape(text)

    def tree(self, value):
        """A value of any shape with masks in its texts."""
        if isinstance(value, str):
            if value not in self.done:
                self.done[value] = self.pattern.sub(self.mask, REMARKS.sub(
                    lambda found: (found.group(1) or found.group(2)) + '"..."', value))
            return self.done[value]
        if isinstance(value, dict):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if hasattr(value, "_fields"):
            return type(value)(*map(self.tree, value))
        return type(value)(map(self.tree, value)) if isinstance(value, (list, tuple)) else value

    def mask(self, found):
        """The mask for one match of TRACES."""
        kind, text = found.lastgroup, found.group()
        if kind in ("v4", "v6"):
            return self.address(text)
        if kind in ("key", "user", "known"):
            return self.plain(self.facts[text.lower()] if kind == "known" else kind, text)
        return getattr(self, kind)(text)

    def number(self, kind, text):
        """1 for the first text of a kind, 2 for the next; the same for the same."""
        rows = self.given.setdefault(kind, {})
        return rows.setdefault(text.lower(), len(rows) + 1)

    def plain(self, kind, text):
        """user1, key1, /path1 ...; a label of a name is the same alone and in the name."""
        if kind == "user" and text.lower() in self.own:
            return text
        if kind == "host":
            return self.name(text) if "." in text else self.label("host", text)
        return "%s%s%d" % ("/" * (kind == "path"), kind, self.number(kind, text))

    def label(self, role, text):
        """One label of a name, by the role in which it was first met: host1, domain1."""
        masks = self.given.setdefault("label", {})
        if text.lower() not in masks:
            masks[text.lower()] = "%s%d" % (role, self.number(role, text))
        return text if text[:1] in ("*", "_") else masks[text.lower()]

    def name(self, text):
        """host1.domain1.example: as many labels as before, the same where they were the same."""
        if text.lower() not in self.facts and (NO_NAMES.match(text) or text.lower() in self.own):
            return self.fact.sub(self.mask, text)
        *labels, top = text.split(".")
        number = self.number("top", top)
        roles = ["host"] * (len(labels) > 1) + ["sub"] * (len(labels) - 2) + ["domain"]
        return ".".join(map(self.label, roles, labels)) + ".example" + str(number) * (number > 1)

    def pem(self, text):
        """A PEM block: only what it is stays."""
        return "%s (key%d masked)" % (text[:text.index("-----", 5) + 5], self.number("key", text))

    def mac(self, text):
        """A MAC address without its maker (locally administered); group addresses stay such."""
        sign = re.search("[:.-]", text).group()
        parts = text.lower().split(sign)
        size = 12 // len(parts)
        digits = "".join(part.zfill(size) for part in parts)
        if set(digits) in ({"0"}, {"f"}):
            return text
        masked = "%02x000000%04x" % (2 + (int(digits[1], 16) & 1), self.number("mac", digits))
        return sign.join(masked[at:at + size] for at in range(0, 12, size))

    def arpa(self, text):
        """The name of a reverse look-up, as of the masked address."""
        *parts, zone = text.lower().split(".")
        if zone == "in-addr":
            masked = self.address(".".join((parts[::-1] + ["0"] * 4)[:4])).split(".")
        else:
            digits = "".join(parts[::-1]).ljust(32, "0")
            masked = socket.inet_pton(socket.AF_INET6, self.address(socket.inet_ntop(
                socket.AF_INET6, bytes.fromhex(digits)))).hex()
        return ".".join(list(masked)[:len(parts)][::-1] + [zone])

    def dashed(self, text):
        """An address within a word: 192-0-2-1."""
        return self.address(text.replace("-", ".")).replace(".", "-")

    def hex(self, text):
        """An IPv4 address as the kernel prints it, in the order of this machine's memory."""
        for order in (-1, 1):
            packed = bytes.fromhex(text)[::order]
            dotted = socket.inet_ntop(socket.AF_INET, packed)
            if dotted in self.met or order == -1 and not text.isdigit():
                masked = socket.inet_pton(socket.AF_INET, self.address(dotted))[::order].hex()
                return masked.upper() if text == text.upper() else masked
        return text

    def address(self, text):
        """The mask of an address, with or without the length of its prefix."""
        if text not in self.addresses:
            word, slash, length = text.partition("/")
            number = ip(word) if is_address(word) else None
            mapped = getattr(number, "ipv4_mapped", None)
            if mapped:
                out = "::ffff:" + self.address(str(mapped)) + slash + length
            elif number:
                out = self.masked(number, to_int(length)) + slash + length
            elif ":" in text:                     # 12:30:45, or an address and its port
                out = ":".join(map(self.address, text.rpartition(":")[::2]))
            else:
                out = self.plain(self.facts[text.lower()], text) if text.lower() in self.facts \
                    else text
            self.addresses[text] = out
        return self.addresses[text]

    def masked(self, number, length):
        """Another address of the same class, in the same networks, with the same last byte."""
        import ipaddress
        size, word = number.max_prefixlen, str(number)
        bits = "{:0{}b}".format(int(number), size)
        kept = first_of(kept for net, kept in CLASSES.items() if in_network(word, net))
        plain = size == 128 and int(number) & (2 ** 64 - 1) < 65536      # ::1, ::53: no EUI-64
        end = 24 if size == 32 else 64 if plain and kept != 104 else 128
        front = bits[:kept or 0]
        if kept is None:                          # a public one: 240/4, or 3fff::/20 (RFC 9637)
            known = self.number("net%d" % size, bits[:size // 4]) - 1
            front = "{:08b}".format(240 + known % 15) if size == 32 else "{:032b}".format(
                0x3fff0001 + known % 4095)
        bits_out = front + "".join(str(int(bit) ^ self.flip(bits[:at])) if at < end else bit
                                   for at, bit in enumerate(bits) if at >= len(front))
        if length is not None and length <= size and "1" not in bits[length:]:
            bits_out = bits_out[:length] + bits[length:]             # a network, and no host
        out = str(ipaddress.ip_address(int(bits_out, 2).to_bytes(size // 8, "big")))
        self.met.add(word)
        self.made.update({out} - {word})
        return out

    def flip(self, bits):
        """Is the next bit turned?  It depends on all before it, so that networks stay networks."""
        return sha256((self.seed + bits).encode()).digest()[0] & 1


def redacted(reports, *others):
    """Reports, and what else goes into a document, with masks for all that they name; pure."""
    values = (reports,) + others
    own = own_words(values)
    facts = facts_of(values, own)
    seed = sha256(repr(values).encode("utf-8", "replace")).hexdigest()
    met = set()                                   # filled by the first turn
    for turn in range(MASK_TURNS):
        masks = Masks(facts, own, "%s %d " % (seed, turn), met)
        masked = masks.tree(values)
        if turn and not masks.made & met:         # else an address would stand for another one
            break
    return masked


# -- Japanese -------------------------------------------------------------------------------------
#
# What stands in a report, and how it is said in Japanese: a rule by its name (says, fix, ask), the
# question of a probe by `?name`, any other sentence or phrase as `English = Japanese`.  {holes}
# keep their names; their contents are translated in turn where they are phrases of this table, but
# no labels (below the line) and no word in OTHERS_NAMES: a host may be called `proxy`.
# {hole+ words} is translated with those words behind it, as part of a sentence; such an entry is
# tried before the others.

ANY_HOLE = re.compile(r"\{(\w+)[^}]*\}(?:\{[^}]*\})*")      # the first of holes in a row takes all
OTHERS_NAMES = ("host name hop router proxy user url path address server wanted client sender end"
                " came holder target log chain").split()
SAID_LIMIT = 800             # characters of a sentence that is taken apart, and its holes again
QUOTES = ["line", "rule"]                         # holes that hold the words of others
# Before another sentence: when an outage was (verbatim), or how many hosts and targets fail.
HEADS = re.compile(r"((?:[\d:]{8}-[\d:]{8}[,:] )+)|\d+ of \d+ fail, .{1,300}?\. ")


def japanese():
    """{English template: Japanese template} of the table JAPANESE."""
    pairs, item = {}, None
    table = re.sub(r"(?<=[!-~])\n {4,}(?=[!-~])", " ", JAPANESE.strip("\n"))
    for line in re.sub(r"\n {4,}", "", table).replace("\n--\n", "\n").split("\n"):
        key, _, words = line.partition(" = ")
        if line[0] == "@":
            name, _, words = line[1:].partition(" ")
            item = RULES["rule_" + name]
            key = item.says
        elif line.startswith(("  fix ", "  ask ")):
            key, words = getattr(item, line[2:5]), line[6:]
        elif line[0] == "?":
            name, _, words = line[1:].partition(" ")
            key = PROBES[name].function.__doc__.split("\n")[0].rstrip(".")
        pairs[key] = words.strip()
    return {key: words for key, words in pairs.items() if ANY_HOLE.sub("", key)}


def unfilled(words, text):
    """What stands in the holes between these words when they make up a text, or None; O(n)."""
    if not (text.startswith(words[0]) and text.endswith(words[-1])):
        return None
    at, holes = len(words[0]), []
    for word in words[1:-1]:
        end = text.find(word, at)
        if end < 0:
            return None
        holes.append(text[at:end])
        at = end + len(word)
    end = len(text) - len(words[-1])
    return holes + [text[at:end]] if at <= end else None


def speaker(lang):
    """The function that says an English sentence in a language; what it does not know stays."""
    if lang == "en":
        return str
    pairs = japanese()
    labels = {line.partition(" = ")[0] for line in JAPANESE.partition("\n--\n")[2].split("\n")}
    forms = sorted(((ANY_HOLE.split(english)[::2], ANY_HOLE.findall(english), words)
                    for english, words in pairs.items()
                    if "{" in english and re.search("[^ .]", ANY_HOLE.sub("", english))),
                   key=lambda form: (form[0][-1][-1:] not in (".", "?"), "+" not in form[2],
                                     -len("".join(form[0]))))     # sentences, the narrowest first

    def say(text):
        if text in pairs or " " not in text or len(text) > SAID_LIMIT:
            return pairs.get(text, text)
        head = HEADS.match(text)
        if head:
            return (head.group(1) or say(head.group().rstrip())) + say(text[head.end():])
        listed = None if text.endswith(".") else spoken_list(text, "; ")
        if listed:
            return listed
        for words, names, template in forms:
            found = unfilled(words, text)
            if found:
                return fill(template, dict(zip(names, found)))
        return spoken_list(text, ", ") or text

    def spoken_list(text, comma):
        """A list each part of which can be said, or None."""
        parts = text.split(comma)
        told = list(map(say, parts)) if 1 < len(parts) < 10 else parts
        return pairs[", "].join(told) if all(a != b for a, b in zip(parts, told)) else None

    def fill(template, holes):
        def content(hole):
            text, more = holes.get(hole[1], ""), hole[2] or ""
            foreign = text in labels or hole[1] in QUOTES + OTHERS_NAMES * (" " not in text)
            return text if foreign else say(text + more[1:]).rstrip("\u3002." * bool(more))
        return re.sub(r"\{(\w+)(\+[^}]*)?\}", content, template)
    return say


JAPANESE = """
@link_down インターフェース{dev}は{state}です。このホストは{dev}から何も送信できません。
@address_missing {dev}は有効ですが、使えるIPv{version}アドレスがないため、{address}へ到達できません。
  fix {dev}にアドレスを設定してください。DHCPリースまたは固定設定を確認してください。
@address_duplicate {dev}のセグメントで別のホストがすでに{twin}を使用しているため（重複アドレス検出）、このホストでは使えません。
  fix {dev}に別のアドレスを設定するか、重複しているホストを特定してください。
@route_missing このホストには{address}への経路がありません（送信前に到達不能と判定）。
  fix デフォルトルートまたは不足している経路を追加してください。`ip route`とVPNの接続状態を確認してください。
@route_missing_bound {dev}には{address}への経路がありません。--interface {dev}では、カーネルがそのセグメント上の隣接ホストとみなしますが、
    誰も応答しません。
  fix 経路を追加するか（`ip route add {address} via GATEWAY dev {dev}`）、--interfaceを外してください。
  ask {dev}側でそこへ向かうゲートウェイを教えてください。
@address_source {address}は送信元が{other}なら応答しますが、このホストの経路が選ぶ送信元{source}には応答しません。
    {source}には何も返ってきません。
  fix 使用する送信元を修正してください。経路の`src`（`ip route get {address}`で表示）またはアドレス{source}自体です。
@route_overlap {address}は{dev}のローカル範囲{net}に含まれていますが、そこでは誰も応答しません。
  fix {dev}の範囲またはネットマスクを修正してください。`ip route get {address}`で、{address}がそこへ向かうことがわかります。
@route_blocked_failing このホスト自身の経路設定が{address}宛てを拒否しています（{kind}の経路またはルール）。
  fix その{kind}の経路またはルールを削除してください。`ip route show table all | grep {kind}`と`ip rule`で確認できます。
@route_to_many {address}は{kind}アドレスです。特定のホストのものではないため、TCPでは接続できません。
  fix 1台のホストのアドレスを指定してください。{address}がホストのアドレスなら、{dev}のネットマスクの誤りです。
@host_exhausted_knock このホストでは{what}が枯渇しています（{errno}、パケット送信前に失敗）。
@host_exhausted_silent このホストの接続追跡が上限に達しています（{full}）。新しい接続は破棄されます。
  fix net.netfilter.nf_conntrack_maxを引き上げてください。または、接続を大量に開いている元を調べてください（`conntrack -L`）。
@firewall_local このホスト自身のファイアウォールが{address}への通信を止めています: {how}。
  fix このホストで{address}のポート{port}への通信を許可してください。確認は`nft list ruleset`、`iptables -S OUTPUT`です。
@firewall_local_undelivered 応答はこのホストに届いていますが、このホスト自身の{what}が破棄しています
    （{address}が無応答に見えた間に、受信{lost}パケットが未配送）。
@tls_handshake_stalled_shut {address}はポート{port}で接続を受け付けますが、データを1バイトも受け取りません（ウィンドウが0のまま）。
    サーバーの手前のSYNプロキシが代わりに受け付け、サーバーからの応答を得られずにいます。
  fix そのプロキシ（ファイアウォール、ロードバランサー、DDoS対策装置）の背後のサーバーは稼働し、ポート{port}で待ち受けていますか。
    プロキシからサーバーへの通信は許可されていますか。
  ask SYNプロキシの背後のサーバーは稼働していますか。
@firewall_local_talks {address}のポート{port}への接続は開きますが、その後のデータがこのホストから出ていません
    （相手は受信できるのに{unsent}バイトが未送信）。このホストのルールがそのパケットを破棄しています。
  fix このホストのOUTPUTルールで、内容、サイズ、状態を条件とするものを確認してください（`nft list ruleset`、`iptables -S OUTPUT`）。
  ask これを破棄しているOUTPUTルールを調べてください。
@address_on_port {dev}は{master}のポートですが、アドレスが{dev}自身に設定されています。{dev}に届くパケットは{master}だけが受け取るため、
    応答が届きません。
  fix {dev}のアドレスと経路を{master}へ移すか、{dev}を{master}から外してください。
  ask {dev}のアドレスを{master}へ移してください。
@segment_isolated_silent_hops {dev}のセグメントでは誰も応答しません。{hop}のほか、問い合わせた{count}台も無応答です。
  fix VLAN、サブネット、ケーブルの誤りが疑われます。{dev}を正常なホストと比べ、スイッチを確認してください。
@gateway_silent_silent_hops ゲートウェイ{hop}が{dev}で応答しません（レイヤー2の状態: {state}）。
  fix ゲートウェイのアドレスと、そのルーターの状態、{dev}のVLANを確認してください。
    IPv6では、このホストのファイアウォールがICMPv6を破棄していないかも確認してください。
  ask ルーター{hop}は稼働していますか。このVLANにインターフェースがありますか。
@gateway_silent_unused デフォルトルートのゲートウェイ{ip}が{dev}で応答しません（レイヤー2の状態: {state}）。
  fix {ip}は正しいゲートウェイで、そのルーターは稼働していますか。この経路を使う通信は失敗するか、待たされます。
  ask ルーター{ip}は稼働していて、このVLANにインターフェースがありますか。
@gateway_silent_astray {address}へのこの接続のネクストホップがレイヤー2で応答しません。通常のものは応答するため、
    マルチパス経路か`ip rule`（ポート、マーク、ユーザー）が別のホップへ導いています。
  fix そのホップは`ip neigh | grep FAILED`でわかります。そこへ導く経路またはルールを修正してください。
@neighbor_silent_silent_hops {hop}はこのホストと同じセグメント（{dev}）にあるはずですが、レイヤー2で応答しません（{state}）。
  fix {hop}は稼働していてこのVLANにありますか。別の場所にあるなら、ネットマスクまたは経路の誤りです。
@dns_unconfigured リゾルバーが設定されていません。/etc/resolv.confは{flaw}ため、名前解決ができません。
@dns_unreachable 設定されたリゾルバーがどれも応答しません（{servers}、{how}）。
  fix リゾルバーのアドレスと、ポート53の許可を確認してください。`dig @{server} {name}`も有効です。
  ask リゾルバー{server}は稼働していますか。このホストからの問い合わせは許可されていますか。
@dns_failing リゾルバー{server}は{name}に対して{rcode}を返します{contrast}。
  fix {server}の運用者に確認: {advice}
  ask {server}が{name}に対して{rcode}を返す原因を調べてください。
@dns_failing_unresolved リゾルバーは{host}を知っています（{known}）が、このホスト自身の名前解決が失敗します（{error}）。
  fix /etc/nsswitch.confと/etc/resolv.confを確認してください。hosts行（files dns）とローカルキャッシュ（nscd）も対象です。
@dns_not_found_unresolved 名前{name}は存在しません（{who} NXDOMAIN）。
  fix 綴りと検索ドメインを確認してください。新しい名前であれば、レコードの登録を依頼してください。
  ask {name}のレコードを作成または修正してください。
@dns_no_address_unresolved 名前{name}は存在しますが、{kind}がありません。
  fix {name}のレコードの登録を依頼してください。または、登録済みのアドレス種別か名前を使ってください。
  ask {name}の不足しているアドレスレコードを登録してください。
@dns_slow_unresolved リゾルバー{server}は{host}を知っていますが、応答に{seconds}秒かかります。
    このホストは{patience}秒しか待ちません（/etc/resolv.confの`options timeout`）。
  fix 遅いリゾルバーを修復するか、応答の速いリゾルバーを先に指定するか、その待ち時間を延ばしてください。
  ask {server}が{host}の応答に{seconds}秒かかる原因を調べてください。
@dns_slow_configured リゾルバー{server}は{how}で、{other}は応答します。{so}。
  fix 応答するリゾルバーを/etc/resolv.confの先頭にするか、{server}を修復してください。
@dns_slow_lookup {host}の名前解決に{seconds}秒かかりました{dead}。
  fix 遅いリゾルバーを修復するか、順序を変えてください。先に応答するものを/etc/resolv.confの先頭に置きます。
@dns_bogus リゾルバーは{host}のアドレスとして{bogus}を返しますが、これは{meaning}です。
  fix 別のリゾルバーの回答と比べてください。{host}のブロックリスト登録またはレコードの誤りが疑われます。
@dns_hosts_override /etc/hostsは{host}を{address}としていますが、リゾルバーの回答は{other}です{so}。
  fix /etc/hostsの{host}の行を削除または修正してください。
@dns_inconsistent {name}に対するリゾルバーの回答が一致しません（{views}）。
  fix 双方の運用者に確認してください。どちらかが古いデータまたは内部専用のデータを返しています。
@path_loop_traced {address}宛てのパケットが{one}と{two}の間でループしています。
  fix {one}と{two}の経路を修正してください。{address}宛てを互いに相手へ送っています。
@path_loop {address}宛てのパケットがループしています{between}。{router}がTTL超過を返しました。
  fix {routers}の経路を修正してください。{address}宛てを互いに相手へ送っています。
@path_dead_end_icmp_errors {address}宛てのパケットは{router}より先へ進みません。送信時のTTLにかかわらずTTL超過が返るため、
    {where}のルールがTTLを低く書き換えています。
  fix そのルールを削除してください。{where}で、TTLを書き換えるもの（`ip ttl set`、`-j TTL`）を探してください。
  ask {where}で、TTLを低く書き換えるルールを探してください。
@path_dead_end_short_lived {address}宛てのパケットは小さすぎるTTLでこのホストから出ています。{router}がTTL超過を返しましたが、
    より大きいTTLのパケットは届きます。
  fix TTLを64にしてください（`sysctl net.ipv4.ip_default_ttl`、IPv6はnet.ipv6.conf.*.hop_limit、これはルーターが広告する
    こともあります）。またはこのホストか途中のルールがTTLを書き換えています（`ip ttl set`、`-j TTL`）。
@path_net_unreachable_unrouted {router}には{address}への経路がありません（{words}）。
  fix {router}の経路を修正してください。{address}への経路がありません。
@path_host_unreachable_asked_in_vain {teller}{address}はその先で応答しないと通知しています（{words}、{seconds}秒後）。
  fix {address}は稼働していて正しいVLANにありますか。隣接するホストから確認してください。
    {router}が{address}に隣接していない場合は、次のルーターが無応答です。
@tcp_rejected_rejections ファイアウォールが{address}の{protocol}ポート{port}を拒否しています。
    {router}が「{words}」を返しました{own}。
  fix {router}のルールで許可してください。対象は{here}から{address}のポート{port}への通信です。
  ask {here}のためにポート{port}を開けてください。{router}が{address}宛てのパケットを拒否しています。
@tcp_refused {address}はポート{port}への接続をRSTで拒否しています。{why}。
  fix {where}、`ss -ltnp sport = :{port}`で待ち受けの有無を確認してください。サービスを起動するか、{address}で待ち受けさせるか、
    ポート番号を訂正してください。
  ask サービスが{address}のポート{port}で待ち受けるようにするか、正しいポートを教えてください。
@tcp_refused_by_box {address}はポート{port}への接続をRSTで拒否しています。RSTはホップ{hops}からで、サーバー（ホップ{far}）より
    手前です。ファイアウォールによる拒否です。
  fix そのファイアウォールで{here}から{address}のポート{port}への通信を許可してください。
  ask {here}のためにポート{port}を開けてください。ファイアウォールが{address}への接続をRSTで切断しています。
@tcp_filtered {address}のポート{port}は無応答です（{seconds}秒間にSYN {syns}回）。一方、{contrast}{where}。
  fix {here}から{address}のポート{port}への通信を許可してください。場所は{spots}です。サーバーで
    `tcpdump -ni any tcp port {port} and host {here}`を実行すると、SYNが届いているか分かります。
  ask {here}のためにポート{port}を開けてください。{address}宛てのSYNに応答がありません。すでに許可済みなら、SYNが破棄される場所を教えてください。
@path_dead_end {where}より先は無応答です。どのプロトコルでも{address}から応答がありません。
  fix サーバーは稼働していますか。サーバーで`tcpdump -ni any host {here}`を実行すれば判別できます。何も届かなければ往路、
    応答が失われていれば復路（サーバー側ゲートウェイなど）の問題です。
  ask {where}の先の調査をお願いします。{here}は{address}から応答を得られません。
@path_dead_end_untraced {address}も無応答です。パケットがどこまで届くかは{traced}だけで調べました。
  fix {traced}から調べてください。サーバーで`tcpdump -ni any host {here}`を実行すると、届いているか分かります。
  ask {address}は稼働していますか。{here}からそのポートへの通信は許可されていますか。
@path_dead_end_by_hand このホストの最初のホップ{ip}より先は無応答です。そのMACアドレスは手動で設定されています
    （`ip neigh`でPERMANENT）。
  fix {ip}の現在のMACアドレスと比べてください。`ip neigh del {ip} dev {dev}`で、このホストは改めて問い合わせます。
  ask {ip}のMACアドレスは変わりましたか。
@path_mtu_blackhole {address}への経路で、小さいパケットは通り、大きいパケットが失われます: {how}。
  fix ICMP「fragmentation needed」を通すか、トンネルでMSSを調整してください。ICMPは3/4（IPv6は2/0）、調整は
    `iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu`です。
@path_mtu_blackhole_outsized {address}宛ての最大サイズのパケットには応答もICMP「too big」もなく、小さいものには応答があります。
    大きな転送が停止するおそれがあります。
  fix 大きな転送を試してください。停止する場合は、MSSを調整するか、ICMP 3/4を通してください。
@path_loss {address}のポート{port}宛てのパケットが失われています。接続{tried}回のうち{how}でした。
  fix 両端から`mtr -T -P {port} {address}`を実行してください。最終ホップまで続く損失が実際の損失です。
    損失がなければ、サーバーかその手前のファイアウォールが新規接続数を制限している可能性があります。
@tcp_filtered_lost_mark {address}宛ての、sshの印（DSCP AF21）が付いたパケットは無応答です。印のないものには応答があります。
  fix 途中のルーターは、この印の付いたパケットを通すか、印を消すようにしてください。当面は`ssh -o IPQoS=none`で回避できます。
@tcp_reset_ended {address}はポート{port}の接続を受け付けますが、データを送る前に直ちに{how}。
  fix サービスのログを確認してください。許可リスト、接続数の上限、バックエンドの停止が考えられます。
@udp_closed_udp {address}は、UDPポート{port}で何も待ち受けていないと通知しています（{words}）。
  fix サービスを起動するか、ポート番号を訂正してください。サーバーで`ss -lunp`を実行すると確認できます。
@udp_no_reply {address}のUDPポート{port}から応答がありません。正常な場合のほか、フィルターやサービス停止も考えられます{stop}。
  fix そのサービスのクライアントで確認してください。サーバーでは`tcpdump -ni any udp port {port}`で到着を確認できます。
  ask {here}からのデータグラムはUDPポート{port}に届いていますか。`tcpdump -ni any udp port {port}`で確認できます。
@clock_skewed このホストの時計が誤っています。表示は{here_time} UTCで、{witness}。
  fix 時計を合わせてください（chrony、systemd-timesyncd、`date -u`）。証明書の検証に影響します。
@tls_expired_handshakes {address}の証明書（{name}）は{date}に期限切れとなりました。
  fix 証明書を更新し、サービスに再読み込みさせてください。ファイルの差し替えだけでは反映されません。
  ask {name}の証明書を更新してください。
@tls_not_yet_valid_handshakes {address}の証明書（{name}）は{date}から有効です。
  fix まずこのホストの時計を、次に証明書を確認してください。
  ask {name}の証明書の有効期間は{date}からですが、意図したものですか。
@tls_self_signed_handshakes {address}の証明書（{name}）は自己署名で、第三者の保証がありません。
  fix 信頼された認証局の証明書を導入してください。または、この証明書を--cafileで指定してください。
  ask 信頼された認証局の証明書を導入してください。{name}の証明書は自己署名です。
@tls_incomplete_chain_handshakes {address}は中間証明書「{issuer}」を送らないため、証明書チェーンが途切れています。
  fix サーバーがチェーン全体を送るように設定してください。証明書、中間証明書の順とし、再読み込みが必要です。
@tls_unacceptable_handshakes {address}の証明書チェーン（{name}）はこのホストで拒否されます（{breach}）。
  fix 証明書を再発行してください。この名前のサーバー用で、RSA 2048ビット以上、SHA-256とします。
  ask {name}の証明書を再発行してください。クライアントに拒否されます（{breach}）。
@tls_untrusted_ca_handshakes {address}の証明書（{name}）の発行元「{issuer}」は、{store}に登録されていない認証局です{others}。
  fix 自組織の認証局なら、信頼済みに登録するか--cafileで指定してください。違う場合は、通信を検査している機器を確認してください。
  ask 「{issuer}」は{name}の証明書の正しい認証局ですか。違う場合、途中の機器が通信を検査しています。
@tls_name_mismatch_handshakes {address}の証明書は{names}用で、{wanted}用ではありません。
  fix 証明書にある名前を使うか、証明書に{wanted}を追加してください。宛先アドレスが正しいかも確認してください。
  ask 証明書に{wanted}を追加してください。現在は{names}用です。
@tls_name_mismatch_nameless {address}の証明書では、{name}はコモンネームのみでsubjectAltNameにはなく、ブラウザーやGoなどが拒否します。
  fix {name}をsubjectAltNameに含めて再発行してください。
@tls_expiring_handshakes {address}の証明書（{name}）は、あと{days}日、{date}に期限が切れます。
  fix 早めに更新してください。
@tls_handshake_stalled_handshakes {address}は{what}（TCPは接続済み）。
  fix サービスの停止や、別プロトコルのポートではないかを確認してください。該当しなければMTUまたはフィルターが疑われます。
    遅いだけなら、`--timeout 30 --deadline 99`で待てます。
  ask {address}のサービスが停止、または遅延していませんか。TLSハンドシェイクが途中で止まります。
@tls_not_tls {address}のポート{port}はTLSではありません。応答は{kind}{words}です。
  fix 平文のプロトコルを使うか、サービスのTLS用ポートを使ってください{stand_in}。
@tls_refused {address}がTLSハンドシェイクを打ち切ります。{why}。
@tls_large_hello_large ClientHelloが大きいと、{address}のポート{port}は{how}。小さければ応答があります。
  fix 新しいブラウザーやOpenSSL 3.5は大きなClientHelloを送ります。サーバーまたは手前の機器を修正してください。
@http_https_expected_http {address}のポート{port}はHTTPS用ですが、平文のHTTPで接続しました。
  fix このポートにはhttps://を使ってください。
@http_https_expected_tls_only {address}のポート{port}はTLS用です。平文の{protocol}には何も返さず、ClientHelloには応答します。
  fix このポートではTLS上の{protocol}を使うか、平文用のポートを使ってください。
@http_no_response_exchanges {address}はHTTP要求を受け取った後、{how}（{when}）。
  fix アプリケーションの停止や異常終了がないか、サーバーのログと負荷を確認してください。遅いだけなら`--timeout 30 --deadline 99`で応答を待てます。
    どの要求も切断するポートは、前段のロードバランサーからのPROXYプロトコルを待っているのかもしれません。
  ask {address}のアプリケーションが停止、異常終了、遅延していないか確認してください。ログと負荷が手がかりです。
@http_not_http_exchanges {address}のポート{port}はHTTPではありません。応答は{kind}「{words}」です。
  fix ポート番号を確認してください。そこで応答しているプロトコルのクライアントを使ってください。
@http_redirect_loop_redirects {host}のリダイレクトが循環しているか、終わりません（{count}段、最後は{url}）。
  fix リダイレクトの設定を修正してください。http/httpsの取り違えや、TLSを終端するプロキシの背後の名前が多い原因です。
@redirect_dead {url}へのリダイレクト先に到達できません（{stage}の段階で失敗、{error}）。
  fix リダイレクト先を訂正するか、そのホストを修復してください。
@service_silent_mute {address}はポート{port}の接続を受け付けますが、何も送りません。{protocol}サーバーは{usual}。
  fix サービスの停止か、接続元の名前の逆引き待ちではありませんか。サーバーで`ss -ltnp sport = :{port}`を実行すると、使用者が分かります。
@service_error_spoken {address}のポート{port}のサービス自身が拒否しています: 「{words}」
  fix この文言を確認してください。詳しくはサービスのログにあります。
  ask {here}からの接続が拒否されます。理由とサーバー側のログを確認してください。
@service_error_handshakes {address}のメールサービスは挨拶の後、{how}。
  fix サービスのログで、このクライアントを拒む、または待たせる理由を確認してください。
  ask {here}への挨拶の後、{how}。理由とログの内容を確認してください。
@ssh_algorithm_spoken {address}は古いSSHプロトコル1だけに対応しており（「{words}」）、現在のクライアントでは使えません。
  fix サーバーを更新してください。
@ssh_host_key {address}のSSHホスト鍵（{key_type} SHA256:{digest}）が、{host}の既知の鍵と一致しません。
  fix 再構築していないなら別のホストが応答しています。パスワードを入力する前にアドレスを確認してください。
    再構築済みなら`ssh-keygen -R '{entry}' -f {file}`を実行してください。
  ask {host}を再構築しましたか。またはアドレスを変更しましたか。
@ssh_algorithm_ssh {address}のsshdには、現行クライアントと共通の{kinds}がありません。提示されたものは{offers}です。
  fix サーバーを更新してください。当面はこのクライアントで古い方式を許可してください（`ssh -o {option}=+...`）。
@service_error_ssh {address}はSSHバナーを送りますが、鍵交換を始めるべき段階で{how}。
  fix サーバーのsshdのログを確認してください（メモリ、ディスク、上限、ホスト鍵: `sshd -t`）。
    異常がなければ、経路上のフィルターがSSHを遮断しています。
@ssh_host_key_ssh {address}への{user}のログインは試していません。ホスト鍵がこのホストのknown_hostsにないためです。
  fix 鍵の指紋をサーバー側と照合してください。`ssh -p {port} {user}@{host}`で登録できます。
@ssh_denied_ssh {address}のsshdは、このホストの鍵による{user}のログインを拒否します。提示された認証方式は{methods}です。
  fix ユーザー名と、サーバーのauthorized_keysにある公開鍵を確認してください。理由はsshdのログにあります。
@proxy_unreachable_tunnel {host}にはプロキシ{proxy}（{variable}）を使う設定ですが、利用できません。{how}（{error}）。
  fix {variable}を訂正または解除するか{bypass}、プロキシを修復してください。
  ask プロキシ{proxy}は稼働していますか。このホストからの利用は許可されていますか。
@http_gateway_error_proxy_alone プロキシ{proxy}自体は応答しますが、{host}については{seconds}秒間何も返しません。
    プロキシが相手先または自身のリゾルバーの応答を待っています。
  fix 相手先はプロキシに応答しますか。プロキシのタイムアウト後、プロキシのログで分かります。
  ask {proxy}から{host}のポート{port}に到達できますか。応答がありません。
@proxy_required_spare_proxy {host}へは直接到達できませんが、プロキシ{proxy}経由なら到達できます。NO_PROXYがこれを妨げています。
  fix NO_PROXYから{host}を外すか、--proxyを指定してください。
@proxy_denied_barred プロキシ{proxy}が{host}への接続を拒否しています（HTTP {status} {reason}）。
@http_gateway_error_barred プロキシ{proxy}が{host}への経路を開きません。応答は{status} {reason}です。
  ask {proxy}が{host}に対して{status}を返す原因を調べてください。
@http_captive_exchanges {host}の代わりに、ネットワークのログイン画面が応答しています（{how}）。
  fix ブラウザーで、ネットワークのログイン画面からログインしてください。その後、再度試してください。
  ask このホストをキャプティブポータルの対象から除外してください。
@http_status {address}は{path}に対してHTTP {status} {reason}を返します（{meaning}）。
  ask {when} UTCに、{address}が{path}に対して{status}を返しました。ログを確認してください。
@http_landed {host}は{url}へリダイレクトし、そこはHTTP {status} {reason}を返します（{meaning}）。
  ask {when} UTCに{url}が{status}を返しました。ログを確認してください。
@service_unexpected {address}のポート{port}は{wanted}ではありません。応答しているのは{speaks}です（「{words}」）。
  fix ポート番号とホストを確認してください。別のプログラムがこのポートを使っています。
?identity 実行者、システム、権限
?marks 対処が変わる環境（コンテナ、仮想マシン、クラウド）の痕跡
?clock このホストの時計
?interfaces インターフェースの状態、キャリア、MTU、MAC、アドレス
?interfaces_now 接続失敗後のインターフェースの状態（途中で変わることがあるため）
?conntrack 接続追跡テーブルの使用量（満杯だと新しい接続はすべて破棄されます）
?counters カーネルのこれまでの計数
?routes 経路表のデフォルトルート
?policy ポリシールーティングの規則
?resolv_conf 設定されたリゾルバー（resolv.confとローカルスタブの上位）
?proxy_env プロキシの環境変数
?lookup システム自身の名前解決（hosts、検索ドメイン、スタブを含む）
?hosts_file hostsファイルの記載
?dns 各リゾルバーへの直接の問い合わせ（スタブとキャッシュを経由しない）
?general_dns 一般的な名前の問い合わせ（この名前だけの問題か、すべての名前か）
?route 対象アドレスに対するカーネルの経路選択（対象がなければリゾルバー宛て）
?egress 送信元アドレスを含めた経路選択（ポリシールールが参照するため）
?neighbor 次ホップのレイヤー2の状態
?unused 対象なしの場合: IPv6など、どのリゾルバーへも使われないゲートウェイ
?neighbors セグメント上でこのホストが知っているほかのホスト
?segment 次ホップが無応答のときの、セグメント上のほかのホストの応答
?knock 各アドレスへのSYNと最初の1秒の応答
?tcp 各接続の結果（errno、ICMPと送信元、TCP_INFO、最初のデータ）
?unheard 受信したのに配送されないパケット（このホスト自身が応答を破棄していないか）
?control_tcp hostsファイルと異なる、リゾルバーだけが返すアドレス
?ping 対象とゲートウェイへのエコー（無応答でも断定はできません）
?trace_udp パケットの到達範囲（TTLを増やしながら閉じたUDPポートへ送信）
?trace_tcp このポートへの接続が止まる場所（TTLを増やしながら接続）
?trace_icmp このポートが無応答でUDPも届かない場合の、エコーの到達範囲
?other_ports このポートが無応答の場合の、同じホストのほかのポート
?sizes 最初のリンクが許す最大のパケットが届くか（大小2回ずつ）
?retries 最初の接続が無応答または再送だった場合の、別の送信元ポートからの接続
?resends 再送または損失があった場合の、追加の接続
?other_source 無応答のポートへの、同じインターフェースの別のアドレスからの再試行
?marked sshと同じ印を付けた接続（印なしでは成功する場合）
?moved 実行中に増えた計数（参考情報）
?reset_ttl RSTの送信元までの距離（TTLをそのホスト自身のICMPと比較）
?words サーバーが待っている場合の、プロトコルの最初の言葉
?known_hosts サーバーの鍵について、このユーザーとホストが知っていること
?ssh sshdのバナーの先（ユーザー指定時はsshで、それ以外は鍵と方式のみ）
?tls TLSハンドシェイク（このホストの信頼ストアで検証。平文ポートではSTARTTLS）
?hello ハンドシェイク失敗後の平文のClientHello（チェーン、アラート、プロトコル）
?versions 拒否された後の、サーバーがまだ受け付ける古いバージョン
?cut_ttl サーバーに届かないTTLでのハンドシェイク（途中の機器が切断していないか）
?secure 平文に応答がないポートへのClientHello（TLS用のポートか）
?small 停止したハンドシェイクを小さいセグメントで再試行（サイズの問題か）
?http HTTP要求1回（TLSが失敗しない場合）
?transfer 大きいパケットが失われるらしい場合の、大きな送受信
?redirects リダイレクト先への要求
?udp ポートへのデータグラム（応答、ICMPエラー、無応答）
?tunnel 適用されるプロキシへのトンネル要求
?through プロキシのトンネル経由での対象とのTLSハンドシェイク
?page プロキシのトンネル経由でのHTTP要求（TLSが成功した場合、HEADまたはGET）
?proxy_alone 相手先について応答しないプロキシ自体への要求
?spare_proxy ほかに道がない場合の、NO_PROXYで除外されたプロキシへのトンネル要求
?large 耐量子鍵と同じ大きさのClientHello（失敗時は小さいもの）
?stores 未知の認証局の証明書を、このホストのほかの信頼ストアで検証
?peer 検証できなかった証明書の取得（検証なしのハンドシェイク）
@listen_none このホストの{transport}ポート{port}では、何も待ち受けていません{nearest}。
@listen_sent_on このホストのルールが{transport}ポート{port}を自身のポート{sent}へ転送していますが、そこで外部からの接続を待ち受けているものがありません。
  fix ポート{sent}でサービスを起動するか、ルールを修正してください。`iptables-save`などで確認できます。
@listen_narrow {holder}は{bound_to}だけで待ち受けているため、{who}からは到達できません。
  fix 0.0.0.0と[::]{unbound}、またはクライアント向けアドレスで待ち受けさせてください。反映には再起動が必要です。
@listen_one_address {holder}は{bound_to}で待ち受けていますが、このホストの{others}では待ち受けていません。
  fix 意図した設定かもしれません。クライアントが別のアドレスを使う場合は、そこでも待ち受けるようにしてください。
@listen_backlog {holder}が接続を受け付けません。ポート{port}の待機数は{waiting}です。新しい接続には応答がありません。
  fix プログラムのスレッド、負荷、ログを確認してください。停止または処理の遅れが原因です。そのうえで
    backlogとnet.core.somaxconnを引き上げてください。
@not_accepting {holder}はポート{port}の接続{waiting}件を受け付けていません{state}。
@firewall_inbound このホストのファイアウォールが{transport}ポート{port}{whose}を{fate}。
    該当箇所は{chain}の「{rule}」です{count}。
  fix このルールを変更するか、その前に許可ルールを追加してください。ルールの設定元
    （ufw、firewalld、fail2ban、nftなど）で行ってください。
@udp_unread {holder}はUDPポート{port}を読み取っていません。バッファーに{waiting}バイトが滞留し、空きがないため{dropped}件が破棄されました。
  fix プログラムの状態を確認し（`ps`、スレッド、ログ）、再起動してください。
@firewall_loop {holder}は待ち受けており余裕もありますが、このホスト自身への接続（{address}のポート{port}）は{how}。
    ローカルのファイアウォールが止めています{unread}。
  fix `nft list ruleset`、`iptables-save -c`のINPUTをrootで確認してください。
@wrappers {holder}はTCP Wrappers（/etc/hosts.allow、/etc/hosts.deny）により{client}を拒否します。
  fix /etc/hosts.allowに`{daemon}: {client}`を追加してください。
@firewall_undelivered 観測中に{lost}パケットが届いたものの配送されず、{client}からポート{port}へは何も届いていません。
    ローカルのファイアウォールが止めている可能性があります（ルールの参照にはrootが必要です）。
@return_missing このホストには{client}への復路がありません（{how}）。
  fix クライアントへの経路（またはデフォルトルート）を追加してください。`ip route get {client}`で確認できます。
@return_filtered このホストは、復路が別の経路になるパケットを破棄しています（rp_filter）。観測中に{count}件です{client}。
  fix 非対称な経路を修正するか、rp_filterを2（loose）にしてください。設定はnet.ipv4.conf.*.rp_filterです。
@handshake_hop {peer}からのSYNはポート{port}に届いていますが、応答を送り出せません。{dev}側の復路の次ホップ{hop}が
    レイヤー2（ARPまたは近隣探索）で応答しないためです。
  fix そこへ導くこのホストの経路またはルールを修正するか（`ip rule`）、{hop}を復旧してください。
@handshake_incomplete {peers}からのSYNはポート{port}に届き、SYN/ACKを繰り返し再送していますが、ACKが返りません{also}。
  fix ここから{peer}への復路を確認してください。ゲートウェイ、非対称な経路、ステートフルファイアウォールが
    疑われます。`tcpdump -ni any host {peer} and port {port}`でSYN/ACKの送出を確認できます。
  ask サーバーのポート{port}から{peer}へのSYN/ACKがどこで失われているかを調べてください。
@close_wait {holder}が接続を閉じません。ポート{port}で、相手が終了済みの接続{count}件がCLOSE_WAITのままです。
  fix プログラムが接続を解放していません。スレッドを確認し、再起動したうえで修正してください。
@descriptors_exhausted {name}（pid {pid}）はファイルディスクリプター{limit}個中{descriptors}個を使用しており、
    新しい接続を受け付けられません。
  fix LimitNOFILE（`ulimit -n`）を引き上げるか、リークを調べてください。
@server_limits このホストの資源が不足しています: {what}。
@log_lines ログ{log}に記録があります{whose}: 「{line}」
?sockets このホストで待ち受けているソケット（TCPとUDP）
?owners 待ち受けソケットを持つプログラムとディスクリプター数
?rules このホストのファイアウォールのルールとカウンター（参照にはrootが必要です）
?wrappers TCP Wrappersのルール（libwrapを使うプログラム）
?watch 全ポートの接続の観測（短時間、または--forの時間）
?rules_now 観測後の同じルールとカウンター
?grown 観測中に増えた計数
?limits このホストの上限と不足（キュー、ファイル、メモリー、ディスク）
?kernel_log 破棄や不足に関する最近のカーネルログ
?switch スイッチとそのポート（lldpctl、またはLLDPとCDPの受信、--lldp）
?elsewhere ほかのネットワーク名前空間（コンテナなど）での待ち受け
?units 失敗または停止しているsystemdのサービス
?loop このホストから自ポートへの接続（プログラムの問題かネットワークの問題か）
?back 復路（クライアントまたは未完了の接続元への経路選択）
?hops 復路の次ホップのレイヤー2状態（現状のまま）
?returning 応答できなかったクライアントへの復路とその次ホップ
?logs ポートのプログラムまたは停止中のユニットのログの末尾
@firewall_local_recorded {server}のSYN/ACKは{client}に届いています（{synack}回）が、{client}はSYNを送り続けています。
    自身のファイアウォールまたはリバースパスフィルターが破棄しています。
  fix {client}のINPUTルールとrp_filterを確認してください。`ct state established`は許可されていますか。
@flow_reset {end}を名乗るRSTが{client}とポート{server_port}の接続を切断しましたが、届く距離（TTL {forged}）が
    ほかのパケット（TTL {genuine}）と異なります。途中の機器が送っています。
  fix 途中のファイアウォールまたは検査装置の管理者に確認してください。場所は{client}と{server}の間、
    記録地点から{routers}ホップです。
@oneway_forward_unheard_of {seconds}秒間、このホストの{goal}にはパケット{of}が届きませんでした{others}。
  fix その間に接続を試していたなら、手前で失われたか、宛先が違います。
    両端で記録（相手側で`netdiag.py capture TARGET`）して比べてください。
  ask このホストの{goal}宛ての、クライアントのパケットの行方を調べてください。{seconds}秒間、何も届きませんでした。
@tls_handshake_stalled_talks {address}はポート{port}で接続を受け付けますが、その後のデータに確認応答がありません（{again}回再送）。
    SYNより後のパケットが往路で失われています。
  fix SYNだけを通し、後続を破棄するファイアウォールを調べてください。非対称な経路や接続テーブルの満杯が疑われます。
    サーバーでは`netdiag.py capture --port {port} --for 60s`で何が届くか、`ss -ltn`で受け付けキューの満杯を確認してください。
@return_unrouted 確認中にポート{port}宛てのSYNが{dropped}個届きましたが、クライアントへ戻る経路がないため破棄しました{though}。
  fix デフォルトルートまたはクライアントのネットワークへの経路を追加してください。`ip route get`で確認できます。
@oneway_forward_stalled_ends {client}は{server}のポート{port}のSYN/ACKを受け取りますが、その後に送ったものが届いていません。
    サーバーはACKを待ち続け、SYN/ACKを再送しています。
  fix {client}と{server}の間で、SYNだけを通し後続を破棄するファイアウォールを探してください。
    非対称な経路や接続テーブルの満杯も確認してください。
@oneway_forward_recorded {client}は{server}のSYN/ACKを受け取り確認応答を返しますが、届いていません。
    SYN/ACKが{synack}回届き、データへの確認応答がありません。往路でSYNより後のパケットが失われています。
  fix SYNだけを通し、後続を破棄するファイアウォールを調べてください。非対称な経路や接続テーブルの満杯が疑われます。
    サーバーでは`ss -ltn`で受け付けキューの満杯を確認してください。
@listen_backlog_full_attempts {client}は{server}のポート{server_port}への接続を確認しましたが、SYN/ACKが
    {synack}回再送されています。サービスの受け付けキューが満杯です。
  fix `ss -ltn`を確認してください（Recv-QがSend-Qを超えています）。サービスの受け付けが追いついていません。
@oneway_reverse {server}はポート{server_port}への{client}のSYNに応答しています（{synack}回）{again}: {how}。
  fix {server}から{client}への復路を確認してください。ゲートウェイ、rp_filter、非対称な経路、
    SYNを見ていないステートフルファイアウォールが疑われます。
@flow_dropped {client}のSYNはポート{server_port}宛てに、{server}であるこのホストへ届きました（{times}）が、
    何も送出されません。{why}。
@flow_silent {client}から{server}のポート{server_port}へのSYN（{times}）に応答がありません{contrast}。
  fix サーバーでも記録し、SYNが届くかを確認してください。コマンドは`netdiag.py capture --port {server_port} --for 60s`です。
@flow_refused {server}は{client}のSYNにRSTを返しました{after}{ttls}: {why}。
  fix サーバーで`ss -ltnp sport = :{server_port}`の待ち受けを確認してください。
@flow_rejected {client}から{server}の{protocol}ポート{server_port}への要求に、{router}が「{words}」を返しました{unseen}。
@flow_stuck {sender}のデータが{size}バイトで{fate}{passed}。
@flow_ended {server}はポート{server_port}で{client}の接続を受け付けますが、{when}{how}。
@flow_mute {server}はポート{server_port}で{client}のデータに確認応答を返しますが、{quiet_s}秒間データを送っていません。
  fix サービスが停止していませんか。ログを確認し、サーバーでも記録して応答の有無を確認してください。
@service_silent_attempts {server}はポート{server_port}で{client}のデータをこれ以上受け取りません。
    受信ウィンドウが閉じたままです（{closed}パケットで0）。サーバーのプログラムがデータを読んでいません。
  fix サービスが停止状態になっていないか、ログ、スレッド、ディスクを確認してください。
@path_loss_attempts {client}と{server}のポート{server_port}の間で、{packets}パケット中{retransmits}パケットが再送されました。
  fix 両端から`mtr -T -P {server_port} {server}`を実行してください。最終ホップまで続く損失が実際の損失です。
@udp_no_reply_attempts {client}が{server}のUDPポート{server_port}へ送った{packets}データグラムに応答がありません。
?waiting ほかのホストのパケットの待ち受け
?capture ポートのパケット（ここでの記録、またはファイル）
?dropped 記録中にカーネルが破棄したパケットの計数
@path_mtu_blackhole_patterns {way}、小さいパケットは通り、大きいパケットが失われます。
  fix ICMP「fragmentation needed」を通すか、MSSを調整してください。ICMPは3/4（IPv6は2/0）、調整はその方向のトンネルで行います。
@path_far_end_far_ends 相手側のnetdiagは、{you}のポート{you_port}からの接続を受け取りました（TTL {ttl}、MSS {mss}）{nat}。
  fix 経路は正常です。相手側の許可リストには{you}を登録してください。
@listen_none_ends {client}では{seen}。{server}の報告: {why}
@handshake_incomplete_arrivals {peers}からのSYNは届いて応答していますが、応答が復路で失われ、接続が一度も完了していません。
  fix {peers}への復路を確認してください。このホストのゲートウェイ、非対称な経路、SYNを見ていないファイアウォールが疑われます。
@intermittent_lapses {target}は断続的にしか動作しません。確認{checks}回中{failed}回失敗し、障害は{count}回、
    合計{seconds}秒でした（{kinds}）。
  fix 次の時刻に何が起きたかを確認してください: {times}。
@oneway_reverse_ends {client}の送信は{server}のポート{port}に届きます{how}が、応答が戻りません。
  fix {server}から{came}への復路を確認してください。ゲートウェイ、非対称な経路、SYNを見ていないファイアウォールが疑われます。
@tcp_filtered_ends {client}のSYNは{server}のポート{port}に届きますが、{server}は何も返していません。
  fix {server}で`netdiag.py server {port}`を実行してください。ファイアウォール、rp_filter、キューの満杯が疑われます。
@oneway_forward_ends {client}の送信が{server}のポート{port}に届きません。{server}は同時刻に{looked}が、
    {came}からは何も届いていません。
  fix {client}から{server}への往路を確認してください。経路、サーバー手前のファイアウォール、{came}の許可リストが疑われます。
@tcp_refused_ends {client}はポート{port}で拒否されましたが、{server}は同時刻に{looked}ものの、{came}からは何も届いていません。
    途中の機器が拒否しているか、別のホストがこのアドレスを使っています。
  fix {server}の手前で代わりに応答している機器を特定してください。MACアドレスとTTLの比較が有効です。
@path_nat_ends 経路上にNATがあります。{server}には{client}が{came}として届いています。
  fix サーバーのルール、経路、許可リストには{came}を登録してください。
@report_changed_changes {when}は{was}でしたが、現在は{code_now}です。この間の変化: {what}。
  fix まず変化した点を確認してください。
?exchange netdiagの`listen`が相手の場合の、複数パケットの往復（往復で失われる場合は片道ずつ）
switched off (down) = 無効化された状態（down）
without carrier (no cable or peer) = キャリアなし（ケーブルまたは対向機器がない状態）
Run `ip link set {dev} up`. = `ip link set {dev} up`を実行してください。
Check cable and switch port of {dev}; in a virtual machine or container, its virtual network card
    and the other end of that.
    = {dev}のケーブルとスイッチポートを確認してください。仮想マシンやコンテナーでは、仮想NICとその対向側を確認してください。
anything beyond its own segments: no default route = 自セグメントの外（デフォルトルートなし）
{dev} is up but has no usable IPv4 or 6 address, so anything cannot be reached.
    = {dev}は有効ですが、使えるIPアドレスがないため、どこへも到達できません。
This host tracks as many connections as it may ({used} of {most}): new ones are dropped.
    = このホストの接続追跡が上限に達しています（{most}件中{used}件）。新しい接続は破棄されます。
The name {host} exists but has no address. = 名前{host}は存在しますが、アドレスがありません。
a route of its own = （個別の経路）
a default route without a gateway = （ゲートウェイのないデフォルトルート）
Give the proxy a login: --proxy http://USER:PASSWORD@{proxy}, or so in the variable.
    = プロキシのログイン情報を指定してください（--proxy http://USER:PASSWORD@{proxy}、または変数で同様に）。
The proxy does not get there: see its resolver, its way out, and the target.
    = プロキシから先へ到達できません。プロキシの名前解決と経路、対象を確認してください。
Is it a proxy at all? Check its address and port.
    = プロキシかどうか、アドレスとポート番号を確認してください。
Which login may this host use at {proxy}? = このホストは{proxy}でどのログインを使えますか。
The proxy's rules forbid it: ask the proxy team to allow {goal}.
    = プロキシの規則により禁止されています。プロキシ担当に{goal}の許可を依頼してください。
Please allow {goal}: the proxy {proxy} answers 403.
    = {goal}への接続を許可してください。プロキシ{proxy}が403を返しています。
Why does the TLS handshake fail? {address} port {port}: {why}. What does your log say?
    = {address}のポート{port}とのTLSハンドシェイクが失敗します: {why+}。サーバー側のログを確認してください。
{silent} got no answer = {silent}回は無応答
{resent} only after the SYN was sent again = {resent}回はSYN再送後の応答
{silent} got no answer and {resent} only after the SYN was sent again
    = {silent}回は無応答、{resent}回はSYN再送後の応答
file descriptors = ファイルディスクリプター
Raise the limit (`ulimit -n`) or find the leak.
    = 上限（`ulimit -n`）を引き上げるか、リークを調べてください。
source ports = 送信元ポート
Reuse or close connections: too many are open or in TIME_WAIT (`ss -s`). Or widen
    net.ipv4.ip_local_port_range.
    = 接続を再利用するか閉じてください。接続中またはTIME_WAITの接続が多すぎます（`ss -s`）。net.ipv4.ip_local_port_rangeを広げる方法もあります。
neighbor entries or memory = 近隣エントリーまたはメモリー
See net.ipv4.neigh.default.gc_thresh3 and the kernel log.
    = net.ipv4.neigh.default.gc_thresh3とカーネルログを確認してください。
sending is not permitted (EPERM) = 送信が許可されていません（EPERM）
its own address answers '{words}' = 自身のアドレスが「{words}」を返しました
the SYN is sent and dropped before it leaves (TCP_INFO) = SYNがホストを出る前に破棄されました（TCP_INFO）
connecting is not permitted ({errno}): a rule, an IPsec policy (`ip xfrm policy`) or a security
    module = 接続が許可されていません（{errno}）。ルール、IPsecポリシー（`ip xfrm policy`）、セキュリティモジュールが考えられます
the reset comes from hop 0, this host: a rule resets it, or redirects it to a port of this host
    where nobody listens (a local proxy?)
    = RSTの送信元はホップ0、このホスト自身です。ルールがRSTを返すか、待ち受けのない自ホストのポート（ローカルプロキシ？）へ転送しています
the resolver {server} = リゾルバー{server}
firewall = FWルール
Look at the INPUT rules and rp_filter here: is `ct state established` accepted?
    = このホストのINPUTルールとrp_filterを確認してください。`ct state established`は許可されていますか。
reverse-path filter = リバースパスフィルター
They come by another interface than the one that leads back: correct the routes, or set
    rp_filter=2 (`sysctl net.ipv4.conf`).
    = 応答が復路とは別のインターフェースに届いています。経路を修正するか、rp_filter=2にしてください（`sysctl net.ipv4.conf`）。
silence = 無応答
silence over TCP, which `options use-vc` in resolv.conf wants
    = TCPで無応答（resolv.confの`options use-vc`によりTCPで問い合わせます）
its port is closed = ポートが閉じています
nothing listens on port 53 there, which is this host (is its stub running?)
    = このホスト自身のポート53で何も待ち受けていません（ローカルのスタブリゾルバーは稼働していますか）
{sender} says {words} = {sender}の応答は{words}
{server} says = {server}の応答:
slow ({seconds} s) = 低速（{seconds}秒）
every look-up waits for the first = 名前解決のたびに待たされます
a look-up waits for it as soon as the one before it fails = 前のリゾルバーが失敗すると、その応答を待つことになります
here or in the first router = このホストまたは最初のルーター
before {router} = {router}の手前
{router} together with its next hop = {router}とその次ホップ
{contrast}; answers come that fit no connection and are reset here (from another address, past a
    NAT?)
    = {contrast+}（ただし、どの接続にも合わない応答が届き、ここでリセットしています。NATを経ずに別のアドレスから来ていませんか）
has no line that begins with `nameserver` and an address = `nameserver`で始まりアドレスを持つ行がない
is not for this user to read = このユーザーには読めない
has the line ends of Windows (CR LF), with which no address is one
    = 行末がWindows形式（CR LF）でアドレスが認識されない
Name a resolver in /etc/resolv.conf (`nameserver`); or repair what writes it (DHCP).
    = /etc/resolv.confに`nameserver`行を追加してください。自動生成なら、その仕組み（DHCP）を修復してください。
Let all users read /etc/resolv.conf: `chmod 644 /etc/resolv.conf`.
    = /etc/resolv.confの読み取りを全員に許可してください（`chmod 644 /etc/resolv.conf`）。
Give /etc/resolv.conf the line ends of Unix: `sed -i 's/\\r$//' /etc/resolv.conf`.
    = /etc/resolv.confの行末をUnix形式（LF）にしてください（`sed -i 's/\\r$//' /etc/resolv.conf`）。
it should be on the own segment, and is not there = 同じセグメントにあるはずですが、見つかりません
{server}, asked first, says = 最初に尋ねた{server}の応答:
the look-up says = 名前解決の結果:
{name}, and answers other names = {name}（ほかの名前には正常に応答）
, and answers other names = （ほかの名前には正常に応答）
may this host use it, and does it reach its upstream?
    = このホストからの利用は許可されていますか。上位サーバーに到達できていますか。
is the zone of this name broken (lame delegation, DNSSEC)?
    = この名前のゾーンが壊れていませんか（委任の不整合、DNSSEC）。
IPv4 address (A) = IPv4アドレス（A）
IPv6 address (AAAA) = IPv6アドレス（AAAA）
its certificate is for {names} = 証明書の名前は{names}です
{name} (where the alias {host} leads) = {name}（別名{host}の参照先）
; the first resolver, {server}, is silent = （先頭のリゾルバー{server}が無応答）
link-local: good on one link only, and DNS does not say which = リンクローカルで、どのリンクのものかはDNSではわかりません
this host itself = このホスト自身
private: right only inside the network that it belongs to (VPN, split DNS?)
    = プライベートアドレスで、属するネットワークの内側でのみ有効（VPN、スプリットDNSか）
{other}, and only that one answers = {other}で、応答するのはこちらだけ
Packets to {address} go round in circles, between {one} and {two}: {router} says their TTL ran out.
    = {address}宛てのパケットが{one}と{two}の間でループしています。{router}がTTL超過を返しました。
plain HTTP comes to a port that wants HTTPS = HTTPSのポートに平文のHTTPが届いています
Let the front speak HTTPS to its back end; or correct the redirect that leads there.
    = フロントからバックエンドへHTTPSで接続するか、そこへのリダイレクトを修正してください。
the CA '{name}' in its chain = チェーン内のCA「{name}」
{wanted} as a DNS name = DNS名としての{wanted}
the IP address {wanted} = IPアドレス{wanted}
network unreachable ({n}) = ネットワーク到達不能 {n}
host unreachable ({n}) = ホスト到達不能 {n}
protocol unreachable ({n}) = プロトコル到達不能 {n}
port unreachable ({n}) = ポート到達不能 {n}
fragmentation needed ({n}) = 要フラグメント化 {n}
network unknown ({n}) = 宛先ネットワーク不明 {n}
host unknown ({n}) = 宛先ホスト不明 {n}
network prohibited ({n}) = ネットワーク宛て禁止 {n}
host prohibited ({n}) = ホスト宛て禁止 {n}
network unreachable for this type of service ({n}) = サービス種別によるネットワーク到達不能 {n}
host unreachable for this type of service ({n}) = サービス種別によるホスト到達不能 {n}
administratively prohibited ({n}) = 管理上の禁止 {n}
time to live exceeded ({n}) = TTL超過 {n}
packet too big ({n}) = パケット過大 {n}
hop limit exceeded ({n}) = ホップ制限超過 {n}
no route ({n}) = 経路なし {n}
beyond scope of source address ({n}) = 送信元アドレスのスコープ外 {n}
address unreachable ({n}) = アドレス到達不能 {n}
source address failed policy ({n}) = 送信元アドレスのポリシー違反 {n}
reject route ({n}) = 拒否経路 {n}
unreachable ({n}) = 到達不能 {n}
The router {router} = ルーター{router}が、
This very address, a NAT or balancer with a dead host behind it, = 宛先自身（NATか負荷分散装置で、その先のホストが停止中）が、
 (the server's own firewall) = （サーバー自身のファイアウォール）
 (one leads to {client}: does `ip rule` look at ports or marks?)
    = （{client}への経路はあります。`ip rule`にポートやマークを見る規則がないか確認してください）
; netdiag's own `listen` answers: ask tcp://{place}
    = （応答しているのはnetdiagの`listen`です。tcp://{place}で確認してください）
On the server = サーバーで
On this host = このホストで
nothing listens there, or a firewall answers in its place
    = 待ち受けているプログラムがないか、ファイアウォールが代わりに応答しています
no such port = そのようなポート番号はありません
nothing listens there on this host = このホストのそのポートには、待ち受けているプログラムがありません
{address} refuses port {port} with a real reset: it comes from hop {one} or {two}, before the server
    (hop {far}): a firewall.
    = {address}はポート{port}への接続をRSTで拒否しています。RSTはホップ{one}または{two}からで、サーバー（ホップ{far}）より
    手前です。ファイアウォールによる拒否です。
other packets get to hop {further} and this port only to hop {stop}
    = ほかのパケットはホップ{further}まで、このポート宛てはホップ{stop}までしか届きません
the trace reaches the host = 経路調査はホストまで到達します
port {n} is open = ポート{n}は開いています
port {n} answers = ポート{n}は応答します
the host answers ping = ホストはpingに応答します
the host answers at layer 2 (ARP or neighbor discovery) = ホストはレイヤー2（ARPまたは近隣探索）で応答します
{contrast}; it is lost at hop {one} or {two} = {contrast+}（失われるのはホップ{one}または{two}）
{contrast}; it is lost at hop {one} = {contrast+}（失われるのはホップ{one}）
{spots} or the server's gateway or firewall = {spots}、またはサーバー側ゲートウェイ・ファイアウォール
{spots} or the server and its own firewall = {spots}、またはサーバー本体とそのファイアウォール
{spots} or the network in between = {spots}、または中間のネットワーク
{spots} or this host's gateway, switch or firewall = {spots}、またはこのホスト側のゲートウェイ・スイッチ・ファイアウォール
this host's gateway, switch or firewall = このホスト側のゲートウェイ・スイッチ・ファイアウォール
the network in between = 中間のネットワーク
the server's gateway or firewall = サーバー側ゲートウェイ・ファイアウォール
the server and its own firewall = サーバー本体とそのファイアウォール
the program on the server = サーバー上のプログラム
the name service = 名前解決サービス
the proxy = プロキシ
hop {n}, {router} = ホップ{n}（{router}）
; no router on the way answers either = （途中のルーターも無応答）
; no trace gets beyond hop {n}, {router} = （経路調査はホップ{n}、{router}まで）
broadcast = ブロードキャスト
multicast = マルチキャスト
Whether the other addresses of the name answer = 名前のほかのアドレスが応答するか
only {count} of {all} addresses are tried = {all}個のうち{count}個のアドレスだけを試行
this host's first hop = このホストの最初のホップ
the switch of this host's own segment = このホスト自身のセグメントのスイッチ
the talk stalls, and works with small segments (MSS {n})
    = 通信が途中で止まり、小さいセグメント（MSS {n}）では成功します
says no: "{words}" = 拒否します（「{words}」）
stays silent = 何も返しません
closes the connection = 接続を閉じます
resets the connection = 接続をリセットします
ends = 終了します
which is before this program was made = このプログラムの作成日より前です
the server's clock {time} = サーバーの時計は{time}です
unknown = 不明
this host's trust store = このホストの信頼ストア
, but {store} does = （{store}には登録されています）
nobody = なし
plain text = 平文
plain text ({words}) = 平文（{words}）
it demands a client certificate and got none = クライアント証明書が要求され、提示できませんでした
it demands a client certificate of {names} and got none
    = {names}のクライアント証明書が要求され、提示できませんでした
no common version = 共通のTLSバージョンがありません
no common version, it offers {old}, which this host refuses
    = 共通のTLSバージョンがありません（サーバーの{old}をこのホストは受け付けません）
{one} and TLSv1.1 = {one}とTLSv1.1
{one} and TLSv1 = {one}とTLSv1
it wants the name of a site (SNI), and this target has none
    = サイト名（SNI）が必要ですが、この対象には名前がありません
the name that was asked for is refused = 要求した名前が拒否されました
the name that was asked for is refused, and it answers without one
    = 要求した名前が拒否されました（名前なしでは応答します）
no common cipher or parameter ({what}) = 共通の暗号方式またはパラメーターがありません（{what}）
says nothing after the ClientHello = ClientHelloの後に何も返しません
stops in the middle of its answer to the ClientHello = ClientHelloへの応答の途中で止まります
says nothing after a ClientHello with this name, and answers one without
    = この名前のClientHelloには何も返さず、名前なしのものには応答します
with a reset after the ClientHello = ClientHelloの後にRSTが返りました
by closing the connection after the ClientHello = ClientHelloの後に接続が閉じられました
with the alert '{alert}' after the ClientHello = ClientHelloの後にアラート「{alert}」が返りました
{how} after the ClientHello, though it answers a smaller one (is it the size?)
    = {how+ after the ClientHello}（小さいClientHelloには応答するため、サイズが原因かもしれません）
a box before it (hop {one} or {two} of {far}) cuts it, the ClientHello never got to the server
    = 手前の機器（ホップ{one}または{two}、サーバーは{far}）が切断しており、ClientHelloはサーバーに届いていません
a box before it (hop {one} of {far}) cuts it, the ClientHello never got to the server
    = 手前の機器（ホップ{one}、サーバーは{far}）が切断しており、ClientHelloはサーバーに届いていません
Configure a client certificate and key; netdiag has none to offer.
    = クライアント証明書と鍵を設定してください。netdiagには提示できるものがありません。
Let the server offer TLS 1.2 or 1.3; old versions are off here for a reason.
    = サーバーでTLS 1.2または1.3を有効にしてください。古いバージョンは安全上の理由でこのホストでは無効です。
Is this name configured there as a virtual host? Is this the right address?
    = この名前のバーチャルホスト設定を確認してください。宛先アドレスが正しいかも確認してください。
Compare what both sides offer (`openssl s_client -connect`); widen the server's list.
    = 双方の対応方式を比べ、サーバー側の対応を広げてください。比較は`openssl s_client -connect`です。
Look at the service's log. If it saw nothing, a filter on the way cuts TLS (or this name): compare
    with another name, from another network. A port that hangs up on every client may want the
    PROXY protocol of a balancer before it.
    = サービスのログを確認してください。記録がなければ、途中のフィルターがTLS（またはこの名前）を切断しています。別の名前や別のネットワークと比べてください。
    どの接続も切られるなら、前段のロードバランサーのPROXYプロトコルが必要なポートかもしれません。
{address} takes the HTTP request and {how} in the middle of its answer.
    = {address}はHTTP要求を受け取った後、応答の途中で{how}。
{address} takes the HTTP request and {how} without an answer.
    = {address}はHTTP要求を受け取った後、応答せずに{how}。
{address} takes the HTTP request and stays silent in the middle of its answer.
    = {address}はHTTP要求を受け取りましたが、応答の途中で止まっています。
{address} takes the HTTP request and stays silent for {seconds} s.
    = {address}はHTTP要求を受け取った後、{seconds}秒間何も返しません。
lookup = 名前解決
connect = 接続
speak first = 通常、接続直後に挨拶を送ります
answer a client's first words = 通常、クライアントの最初の要求に応答します
others = ほかの方式
nothing = なし
its name has no address = その名前にアドレスがありません
no connection = 接続できません
no HTTP answer = HTTPの応答がありません
Use the site's name, or give it with --sni. = サイト名を使うか、--sniで指定してください。
TLS with it fails, is its URL rather http://?
    = プロキシとのTLS接続に失敗します。URLがhttp://の誤りでないか確認してください
Correct or unset {variable}, add the target to NO_PROXY, or repair the proxy.
    = {variable}を訂正または解除するか、対象をNO_PROXYに追加するか、プロキシを修復してください。
it redirects to {url} = {url}へリダイレクト
something else = 別のプログラム
Why HTTP {status} for {path}? {address} answered so at that time UTC: what does the log say?
    = {address}が{path}に対して{status}を返しました。ログを確認してください。
{url} answers {status} at that time UTC: what does the log say?
    = {url}が{status}を返しました。ログを確認してください。
a proxy on the way forbids it = 途中のプロキシが禁止しています
the server does not understand the request = サーバーが要求を理解できません
Check the URL and the Host name. = URLとHost名を確認してください。
it asks for a login = ログインが必要です
Give credentials; the network works. = 認証情報を指定してください。ネットワークは正常です。
it asks for payment = 支払いを求めています
See the account or the quota at that service. = そのサービスの契約または利用枠を確認してください。
what was there is gone for good = 対象は恒久的に削除されています
Correct the link. = リンクを訂正してください。
it wants another protocol = 別のプロトコルを求めています
Use its own client (WebSocket, HTTP/2): see its Upgrade header.
    = 専用のクライアント（WebSocket、HTTP/2）を使ってください。Upgradeヘッダーを参照してください。
it is barred for legal reasons = 法的な理由で遮断されています
Ask its owner, or whoever filters on the way.
    = サービスの担当者、または途中でフィルタリングしている管理者に確認してください。
the server refuses the request = サーバーが要求を拒否しています
Check the URL; the service's log says more. = URLを確認してください。詳しくはサービスのログにあります。
it does not take a request of this form or size = この形式または大きさの要求を受け付けません
Compare with another client: its headers, its cookies or a proxy make the request so.
    = 別のクライアントと比べてください。ヘッダー、Cookie、プロキシのいずれかが原因です。
the front gets no proper answer from the origin behind it
    = フロントが背後のオリジンから正しい応答を得られません
Look at that origin server: 521 is refused, 522 and 524 silent, 523 unreachable, 525 and 526 are TLS
    with it.
    = オリジンサーバーを確認してください。521は接続拒否、522と524は無応答、523は到達不能、525と526はオリジンとのTLSの失敗です。
access is forbidden = アクセスが禁止されています
Check the rights for this URL, allow lists and the WAF. = このURLの権限、許可リスト、WAFを確認してください。
nothing is there = 該当するものがありません
HTTP has no such status = HTTPにない状態コードです
Ask its owner what it means: some sites turn robots away so.
    = サイトの担当者に意味を確認してください。ボット対策でこう応答するサイトもあります。
no TLS is spoken there = そこではTLSが使われていません
Check the path and the virtual host. = パスとバーチャルホストを確認してください。
this method is not allowed there = この方式（メソッド）は許可されていません
Use the method that it expects. = 想定されたメソッドを使ってください。
a proxy asks for a login = プロキシがログインを求めています
Give the proxy's credentials. = プロキシの認証情報を指定してください。
the server waited too long for the request = サーバーが要求を待ちきれませんでした
Look for loss on the way. = 経路上の損失を調べてください。
this server is not for that name = このサーバーはその名前を担当していません
Check the name, SNI and address. = 名前、SNI、アドレスを確認してください。
too many requests = 要求が多すぎます
Wait (Retry-After), then ask more slowly. = Retry-Afterの時間だけ待ち、間隔を空けて要求してください。
the application failed = アプリケーションが失敗しました
Look at the application's log on {address}. = {address}でアプリケーションのログを確認してください。
the front works, what is behind it does not = フロントは正常ですが、その背後が応答しません
Look at the back end of {front} on {address}: is it running, and can the front reach it? Its error
    log says which one.
    = {address}の{front}のバックエンドを確認してください。稼働状況とフロントからの到達性は、エラーログで特定できます。
the front = フロント
{sentence} (also {others}). = {sentence+.}（{others}も同様）。
{advice} Here check also: {environment}. = {advice+}。この環境では次も確認してください: {environment}。
Kubernetes pod (NetworkPolicy, endpoints of the service)
    = Kubernetesのポッド（NetworkPolicy、サービスのエンドポイント）
container (its network mode and published ports) = コンテナ（ネットワークモードと公開ポート）
AWS: security group, network ACL = AWS（セキュリティグループ、ネットワークACL）
Google Cloud: VPC firewall rules = Google Cloud（VPCファイアウォールルール）
Azure: network security group = Azure（ネットワークセキュリティグループ）
Link, address, route, gateway and resolver of this host look fine.
    = このホストのリンク、アドレス、経路、ゲートウェイ、リゾルバーは正常です。
{host} is reached through the proxy {proxy}. = {host}へはプロキシ{proxy}経由で到達できます。
{host} answers. = {host}は応答します。
{host} port {port} answers. = {host}のポート{port}は応答します。
{host} port {port} answers, {words}. = {host+}のポート{port}は応答します（{words}）。
{version} with a trusted certificate = {version}、証明書は信頼済み
{version} with a trusted certificate, {words} = {version}、証明書は信頼済み、{words}
Not enough was seen to name a cause for {host}. = {host}の原因を特定できるだけの情報が得られませんでした。
{address} port {port} opens, TLS works, and what lies above it could not be tested.
    = {address}のポート{port}は開いておりTLSも正常ですが、その上位は試験できませんでした。
{address} port {port} opens, what lies above TCP could not be tested.
    = {address}のポート{port}は開いていますが、TCPより上位は試験できませんでした。
See 'not tested' below; run again with more time (--deadline 60) or as root.
    = 時間を延ばす（--deadline 60）か、rootで再実行してください。下の「未確認の項目」も参照してください。
Interrupted before it was looked at. = 調査の前に中断されました。
The diagnosis crashed: {why} = 診断が異常終了しました: {why}
the rule crashed: {why} = 規則が異常終了しました: {why}
this target = この対象
{tool}: not installed = {tool}は未導入
{tool}: commands are switched off (--no-tools) = {tool}は使用禁止（--no-tools）
{path} is absent = {path}がありません
no netlink on this system = このシステムにnetlinkがありません
netlink does not answer = netlinkが応答しません
no connection was begun = 接続が開始されていません
not understood: {why} = 出力を解釈できません: {why}
not understood = 出力を解釈できません
the run has ended = 実行が終了しました
open = 接続成功
refused = 拒否
silent = 無応答
unreachable = 到達不能
tcp = TCP
udp = UDP
{count} of {total} connections {words} = 接続{total}回中{count}回が{words}
{count} SYNs in the first = 1回目のSYN送信は{count}回
datagrams to {address}: {count} = {address}宛てに{count}データグラム
Nobody listens on {transport} port {port} of this host; {nearest}.
    = このホストの{transport}ポート{port}では、何も待ち受けていません（{nearest}）。
{finding}. What is there cannot be seen from here. = {finding+.}。転送先の状態はここからは分かりません。
{program} (pid {pid}) does in another network namespace ({namespace})
    = 別のネットワーク名前空間（{namespace}）では{program}（pid {pid}）が待ち受け
{program} (pid {pid}) does in another network namespace
    = 別のネットワーク名前空間では{program}（pid {pid}）が待ち受け
TCP port {port} = TCPポート{port}
UDP port {port} = UDPポート{port}
TCP port {port} is open = TCPポート{port}は開いています
UDP port {port} is open = UDPポート{port}は開いています
{program} listens on port {port} = {program}はポート{port}で待ち受け
{unit} has failed = {unit}は異常終了
{unit} is stopped = {unit}は停止中
a rule sends it on to port {port} = ルールがポート{port}へ転送
a rule sends it elsewhere, "{rule}" = ルール「{rule}」が別の宛先へ転送
yet a connection to {address} opens: a rule sends it elsewhere
    = ただし{address}への接続は成功（ルールが別の宛先へ転送）
Start the service; or correct the port that it or the client uses.
    = サービスを起動するか、双方のポート番号を確認してください。
Publish the port of that container or namespace here.
    = そのコンテナまたは名前空間のポートを、このホストで公開してください。
{cure}; its log ends: "{line}". = {cure+.}。ログの末尾: 「{line}」
A program = プログラム
A program of user {user} = ユーザー{user}のプログラム
{program} (pid {pid}, container {container}) = {program}（pid {pid}、コンテナ{container}）
no other host = ほかのホスト
no client with IPv{version} = IPv{version}のクライアント
{holder} listens on {bound_to} only: no host (no interface of this one has that address) can
    reach it.
    = {holder}は{bound_to}だけで待ち受けていますが、このアドレスを持つインターフェースがないため、どこからも到達できません。
no client behind {dev}, such as {client}, = {dev}側のクライアント（{client}など）
{count} (its backlog is {limit}) = {count}（backlogは{limit}）
{count} (its backlog is {limit}), SYNs dropped meanwhile: {dropped}
    = {count}（backlogは{limit}、その間にSYN {dropped}件を破棄）
SYNs of {peers} arrive on port {port}, the SYN/ACK is sent again and again, and no ACK comes back;
    {also}.
    = {peers}からのSYNはポート{port}に届き、SYN/ACKを繰り返し再送していますが、ACKが返りません（{also}）。
meanwhile this host itself dropped {count} by "{rule}"
    = その間にこのホスト自身がルール「{rule}」で{count}件を破棄
they fill its SYN backlog, and a new connection gets no answer
    = これらでSYNバックログが満杯になり、新しい接続には応答がありません
so many at once ({count}) may be a flood of SYNs with forged sources
    = これほど多数（{count}件）であれば、送信元を偽ったSYNの大量送信の可能性もあります
{count}, SYNs dropped meanwhile: {dropped} = {count}（その間にSYN {dropped}件を破棄）
: the process is stopped (SIGSTOP) = （プロセスは停止中、SIGSTOP）
: the process is held by a debugger = （プロセスはデバッガーが停止中）
: the process is stuck in the kernel (state D) = （プロセスはカーネル内で停止、状態D）
: the process is dead (a zombie) = （プロセスは終了済み、ゾンビ）
This host's firewall {fate} {transport} port {port} from {whose}, in {chain} by "{rule}"{count}.
    = このホストのファイアウォールが、{whose}から{transport}ポート{port}への通信を{fate}。該当箇所は{chain}の「{rule}」です{count}。
This host's firewall may or may not accept {transport} port {port} from {whose}, in {chain} by
    "{rule}"{count}.
    = このホストのファイアウォールが、{whose}から{transport}ポート{port}への通信を許可するか不明です。該当箇所は{chain}の「{rule}」です{count}。
This host's firewall {fate} {transport} port {port} (its answers to {whose}), in {chain} by
    "{rule}"{count}.
    = このホストのファイアウォールが、{transport}ポート{port}から{whose}への応答を{fate}。該当箇所は{chain}の「{rule}」です{count}。
This host's firewall {fate} {transport} port {port} (what follows the first packet of {whose}), in
    {chain} by "{rule}"{count}.
    = このホストのファイアウォールが、{whose}から{transport}ポート{port}への2番目以降のパケットを{fate}。
    該当箇所は{chain}の「{rule}」です{count}。
This host's firewall may or may not accept {transport} port {port} (its answers to {whose}), in
    {chain} by "{rule}"{count}.
    = このホストのファイアウォールが、{transport}ポート{port}から{whose}への応答を許可するか不明です。該当箇所は{chain}の「{rule}」です{count}。
drops = 破棄します
rejects = 拒否します
(its answers to {whose}) = {whose}への応答
(what follows the first packet of {whose}) = {whose}の最初のパケットに続くもの
clients = クライアント
clients with IPv{version} = IPv{version}クライアント
accepts {whose} = {whose}を許可
drops {whose} = {whose}を破棄
rejects {whose} = {whose}を拒否
may or may not accept {whose} = {whose}の許可は不明
 ({count} packets came meanwhile and were not delivered) = （この間に届いて破棄された{count}パケット）
 ({count} packets so far) = （これまでに{count}パケット）
 ({count} packets so far, {now} of them just now) = （これまでに{count}パケット、うち{now}は観測中）
gets no answer = 応答がありません
is refused = 拒否されます
 (its rules are for root to read) = （ルールの参照にはrootが必要です）
no route to it (network unreachable) = 経路なし、ネットワーク到達不能
a blackhole route = blackhole経路
an unreachable route = unreachable経路
a prohibit route = prohibit経路
; nothing of {client} got here = （{client}からは何も届いていません）
it tracks as many connections as it may ({used} of {most}) = 接続追跡が上限（{most}件中{used}件）
{disk} has {free} % free = {disk}の空きが{free} %
{used} of {most} files are open = 開いているファイルが{most}個中{used}個
programs wait for memory {share} % of the time = プログラムが時間の{share} %でメモリー待ち
more handshakes are open than its SYN backlog takes (SYN cookies)
    = 未完了のハンドシェイクがSYNバックログを超過（SYN cookies）
the kernel says "{line}" = カーネルログに「{line}」
Raise net.netfilter.nf_conntrack_max. = net.netfilter.nf_conntrack_maxを引き上げてください。
Make room: see `df -h -i`, `free`. = `df -h -i`と`free`を確認し、空きを確保してください。
A flood, or answers that get lost: see `ss -tn state syn-recv`.
    = SYNフラッドか、応答が失われています。`ss -tn state syn-recv`を確認してください。
See `dmesg -T`. = `dmesg -T`を確認してください。
 of {client} = （{client}）
Read the log around that line. = ログのこの行の前後を確認してください。
Wait until the penalty ends, or raise MaxStartups and PerSourcePenalties in sshd_config.
    = 制限の終了を待つか、sshd_configの上限を緩めてください。項目はMaxStartupsとPerSourcePenaltiesです。
Check the user's name, its key in authorized_keys, AllowUsers.
    = ユーザー名、authorized_keysの鍵、AllowUsersを確認してください。
Bring client and server to common algorithms: `ssh -Q kex`.
    = クライアントとサーバーで共通の方式を使えるようにしてください（`ssh -Q kex`）。
No program listens on this host. = このホストで待ち受けているプログラムはありません。
A rule of this host sends {transport} port {port} on to its port {sent}, and somebody listens there.
    = このホストのルールが{transport}ポート{port}を自身のポート{sent}へ転送し、そこで待ち受けがあります。
A connection to {address} opens, though nobody listens on TCP port {port} of this host: a rule
    sends it elsewhere.
    = このホストでは何も待ち受けていませんが、{address}のTCPポート{port}は応答します。ルールが別の宛先へ転送しています。
{holder} listens on {bound}, TCP port {port}. = {holder}が{bound}のTCPポート{port}で待ち受けています。
{holder} listens on {bound}, UDP port {port}. = {holder}が{bound}のUDPポート{port}で待ち受けています。
{holder} listens on {bound}, TCP port {port}, {words}.
    = {holder+}が{bound}のTCPポート{port}で待ち受けています（{words}）。
{holder} listens on {bound}, UDP port {port}, {words}.
    = {holder+}が{bound}のUDPポート{port}で待ち受けています（{words}）。
answers this host itself = このホスト自身からの接続は成功
has room in its queue = キューに余裕あり
no rule of this host's firewall stops it = このホストのファイアウォールは許可
no connection of {client} was seen in {seconds} s = {seconds}秒間に{client}からの接続なし
the way back to {client} leaves by {dev} = {client}への復路は{dev}
once = 1回
{count} times (t+{times} s) = {count}回、t+{times}秒
No packet of {client} came to this host's {goal} in {seconds} s{others}.
    = {seconds}秒間、このホストの{goal}には{client}からのパケットが届きませんでした{others}。
No packet of {client} came to this host's address in {seconds} s{others}.
    = {seconds}秒間、このホストには{client}からのパケットが届きませんでした{others}。
No packet came to this host's address in {seconds} s{others}.
    = {seconds}秒間、このホストにはパケットが届きませんでした{others}。
port {port} = ポート{port}
, though {others} came (is there a NAT or a proxy between?)
    = （{others}からは届いています。途中にNATやプロキシはありませんか）
, and the SYN comes again ({count} times) = が、SYNが再び届きます（{count}回）
its answers are lost on the way back = 応答が復路で失われています
its answers are lost on the way back, or the client's ACK on its way here, or the client has gone
    = 応答またはクライアントのACKが途中で失われたか、クライアントがすでに終了しています
this host's own firewall drops it (or rp_filter, no way back, a full accept queue)
    = このホスト自身のファイアウォールが破棄しています（またはrp_filter、戻り経路なし、受け付けキューの満杯）
the next hop of the way back does not answer at layer 2 (ARP or neighbor discovery)
    = 復路の次ホップがレイヤー2（ARPまたは近隣探索）で応答しません
Correct the route or rule of this host that leads back to the client (`ip route get`, `ip rule`), or
    mend that hop (`ip neigh`).
    = クライアントへの復路となるこのホストの経路またはルールを修正するか（`ip route get`、`ip rule`）、その次ホップを復旧してください（`ip neigh`）。
the kernel counts as many to which it found no route back = カーネルの計数では、同数に戻り経路がありません
Add the default route, or the route to the client's network. = デフォルトルートか、クライアントのネットワークへの経路を追加してください。
See `nft list ruleset` and `iptables-save`; `netdiag.py server` says more.
    = `nft list ruleset`と`iptables-save`を確認してください。`netdiag.py server`で詳しく分かります。
others were answered, and the kernel counts SYNs that found the accept queue full
    = ほかのSYNには応答しており、カーネルの計数では受け付けキューの満杯が起きています
See `ss -ltn` (Recv-Q above Send-Q): the service does not accept fast enough.
    = `ss -ltn`を確認してください（Recv-QがSend-Qを超えています）。サービスの受け付けが追いついていません。
the kernel counts as many that its reverse-path filter dropped
    = カーネルのリバースパスフィルターが同数のパケットを破棄しています
Correct the route to the client, or set rp_filter=2 (`sysctl net.ipv4.conf`).
    = クライアントへの経路を修正するか、rp_filter=2にしてください（`sysctl net.ipv4.conf`）。
before it has sent any data = データを送る前に
with data of the client unanswered = クライアントのデータに応答しないまま
, while segments of {size} bytes got through, after {n} s of silence
    = （{size}バイトのセグメントは届いています。{n}秒の無通信の後）
, after {n} s of silence = （{n}秒の無通信の後）
with data of the client unanswered, after {n} s of silence
    = {n}秒の無通信の後、クライアントのデータに応答しないまま
A NAT, a balancer or a firewall on the way forgets quiet connections: let TCP keepalives go out more
    often than every {n} s. = 途中のNAT、負荷分散装置、ファイアウォールが無通信の接続を破棄しています。TCPキープアライブを{n}秒より短い間隔にしてください。
No answer to the SYN of {client} to {server} port {port}, sent {times}, nor any other packet from
    there. = {client}から{server}のポート{port}へのSYN（{times}）に応答がありません。ほかのパケットも一切届いていません。
No answer to the SYN of {client} to {server} port {port}, sent {times}, though port {other} there
    answers. = {client}から{server}のポート{port}へのSYN（{times}）に応答がありません。同じホストのポート{other}は応答します。
No answer to the SYN of {client} to {server} port {port}, sent {times}, though it answers others.
    = {client}から{server}のポート{port}へのSYN（{times}）に応答がありません。ほかのSYNには応答しています。
No answer to the SYN of {client} to {server} port {port}, sent {times} but a bare ACK: an older
    connection of these ports is still open there, or in a firewall before it.
    = {client}から{server}のポート{port}へのSYN（{times}）への応答がACKのみです。同じポートの古い接続が、サーバーか手前のファイアウォールに
    残っています。
No answer to the SYN of {client} to {server} port {port}, sent {times}, though it arrives on the
    server's segment.
    = {client}から{server}のポート{port}へのSYN（{times}）は、サーバーのセグメントまで届いていますが、応答がありません。
 (TTL {ttl}) = （TTL {ttl}）
 after {ms} ms (TTL {ttl}) = （{ms} ms後、TTL {ttl}）
nobody listens on port {port}, or a firewall says so in its place
    = ポート{port}で待ち受けているプログラムがないか、ファイアウォールが代わりに応答しています
but its SYN/ACKs come with TTL {ttl}: a firewall on the way answers in its place
    = このサーバーのSYN/ACKはTTL {ttl}で届くため、途中のファイアウォールが代わりに応答しています
Allow {client} to port {port} in the rules (or the routes) of {router}.
    = {router}のルール（または経路）で許可してください。対象は{client}からポート{port}への通信です。
Start the service or correct the port: `ss -lunp` there.
    = サービスを起動するか、ポート番号を訂正してください（サーバーで`ss -lunp`）。
, which the client may never see: it goes on asking
    = が、クライアントには届いていない可能性があります（要求が続いています）
Data of {sender} is missing in what arrives: later segments come, but not {size} bytes{passed}.
    = {sender}のデータが{size}バイト欠けています。後続のセグメントは届いています{passed}。
Data of {sender} is acknowledged to {acked} bytes and stuck: sent again {count} times, in vain, are
    segments of {size} bytes{passed}.
    = {sender}のデータが{acked}バイトまでの確認応答で止まっています。{size}バイトのセグメントを{count}回再送しましたが届いていません{passed}。
Data of {sender} is acknowledged to {acked} bytes and stuck: not taken by the other end, which goes
    on, are segments of {size} bytes{passed}.
    = {sender}のデータが{acked}バイトまでの確認応答で止まっています。相手側は通信を続けていますが、{size}バイトのセグメントを
    受け取っていません{passed}。
no = 0
, while segments of {size} bytes got through = （{size}バイトのセグメントは届いています）
Let ICMP 'too big' (3/4; v6 2/0) pass; or clamp the MSS at the tunnel
    (`--clamp-mss-to-pmtu`).
    = ICMP「fragmentation needed」を通すか、トンネルでMSSを調整してください。ICMPは3/4（IPv6は2/0）、
    調整は`--clamp-mss-to-pmtu`です。
Record at {server} as well: do they arrive there, and does an answer leave?
    = {server}でも記録し、到着と応答の有無を確認してください。
 without SO_BINDTODEVICE = （SO_BINDTODEVICEなし）
They arrive here: look at the log of the service and at this host's own firewall (`netdiag.py server
    {port}/udp`).
    = このホストまでは届いています。サービスのログと、このホスト自身のファイアウォール（`netdiag.py server {port}/udp`）を
    確認してください。
Record at the other end as well: do these segments arrive there?
    = 相手側でも記録し、これらのセグメントが届いているかを確認してください。
on the way back from {address}: it got all, and its answer stops after {size} bytes
    = {address}からの復路で（往路はすべて到達、応答は{size}バイトで停止）
on the way to {address} = {address}への往路で
: an address that this host does not have, so NAT is on the way
    = 。このホストにないアドレスのため、途中にNATがあります
{fine} of {all} connections that were recorded went well, and none failed.
    = 記録した接続{all}件中{fine}件が正常で、失敗はありません。
{fine} of {all} connections that were recorded went well; the warnings tell of others.
    = 記録した接続{all}件中{fine}件が正常です。ほかの接続については警告をご覧ください。
No connection was recorded that shows whether it works ({count} flows).
    = 動作を判断できる接続が記録されていません（{count}フロー）。
The packets are cut before their ports: record more of each (tcpdump -s 0).
    = パケットがポート番号の手前で切れています。各パケットを長く記録してください（tcpdump -s 0）。
None of the packets could be read: netdiag reads Ethernet, Linux cooked and raw IP, not radio or
    USB.
    = どのパケットも読めません。netdiagが読めるのはEthernet、Linux cooked、生のIPで、無線やUSBは読めません。
Only one direction of the traffic was recorded ({count} flows).
    = 通信の片方向だけが記録されています（{count}フロー）。
Nothing could be recorded. = 何も記録できませんでした。
See 'not tested' below; record as root, longer (--for 60s), while the client tries; `netdiag.py
    server {port} --for 60s` needs no right.
    = 接続を試す間に、rootで長めに（--for 60s）記録してください。下の「未確認の項目」も参照してください。
    `netdiag.py server {port} --for 60s`なら権限は不要です。
Record while the client tries, from before its first packet.
    = クライアントが接続を試す間に、最初のパケットより前から記録してください。
{packets} packets in {seconds} s by {via} = {packets}パケット（{via}、{seconds}秒間）
{packets} packets by file = {packets}パケット（ファイル）
{packets} packets by {via} = {packets}パケット（{via}）
, {dropped} dropped = 、破棄{dropped}
{n} {state} = {state}{n}件
no flow = フローなし
established = 確立
closed = 終了
answered = 応答あり
opening = 開始直後
partial = 途中から
trace = 経路調査
rejected = ICMP拒否
reset = リセット
abandoned = 放棄
unconfirmed = ACK未着
It breaks off: {why}. = 途中で切れています: {why}。
the file ends in the head of a packet = ファイルがパケットの見出しで終わっています
the file ends in the middle of a packet = ファイルがパケットの途中で終わっています
the file ends in the head of a block = ファイルがブロックの見出しで終わっています
a packet of {size} bytes cannot be = {size}バイトのパケットはあり得ません
a section of no byte order = セクションのバイト順が不明です
a block cannot be so long = ブロックの長さが不正です
an interface that cannot be = インターフェースの記述が不正です
a packet longer than its block = パケットがブロックより長くなっています
only the first {count} packets were read = 先頭の{count}パケットだけを読み取りました
{count} packets belong to more flows than are followed. = {count}パケットは追跡数の上限を超えたフローのものです。
and {count} more = ほか{count}件
and {count} more hosts = ほか{count}ホスト
and {count} more targets = ほか{count}対象
and {count} more outages = ほか障害{count}件
SYN sent {times} = SYN送信{times}
SYN/ACK{more} from TTL {ttl} = SYN/ACK{more}、TTL {ttl}
RST{more} from TTL {ttl} = RST{more}、TTL {ttl}
 {count} times = （{count}回）
 after {ms} ms = （{ms} ms後）
 {count} times after {ms} ms = （{count}回、{ms} ms後）
ICMP {words} from {sender} = {sender}からのICMP「{words}」
no answer = 応答なし
only a bare ACK in answer = 応答はACKのみ
MSS {one} and {two}, window scale {three} and {four}
    = MSSは{one}と{two}、ウィンドウスケールは{three}と{four}
{packets} packets, {there} bytes there and {back} back = {packets}パケット（往路{there}バイト、復路{back}バイト）
{count} segments sent again = 再送{count}セグメント
{count} out of order = 順序の入れ替わり{count}件
{count} zero windows (its program does not read) = ゼロウィンドウ{count}件（プログラムが読み出していない）
data of {sender} acknowledged to {acked} bytes and stuck ({size} bytes behind that never came here)
    = {sender}のデータは{acked}バイトまで確認応答があり、その先の{size}バイトがここに届かず停止
data of {sender} acknowledged to {acked} bytes and stuck ({size} bytes behind that are sent again,
    in vain) = {sender}のデータは{acked}バイトまで確認応答があり、その先の{size}バイトを再送しても届かず停止
data of {sender} acknowledged to {acked} bytes and stuck ({size} bytes behind that are not
    acknowledged) = {sender}のデータは{acked}バイトまで確認応答があり、その先の{size}バイトは確認応答がなく停止
closed by {end} = {end}が終了
reset by {end} = {end}がリセット
abandoned by {end} = {end}が放棄
{end} stopped answering = {end}の応答が途絶
nothing that tells = 特記事項なし
this host as a server = このホスト（サーバーとして）
every port = 全ポート
This host cannot listen on {place}: {why}. = このホストは{place}で待ち受けできません: {why}。
another program listens there already (`ss -ltnp`): the service is not absent
    = 別のプログラムがすでに待ち受けています（`ss -ltnp`）。サービスは存在します
ports below 1024 need root = 1024未満のポートにはrootが必要です
it has no such address = このアドレスを持っていません
Choose another port or address, or run it as root.
    = 別のポートまたはアドレスを指定するか、rootで実行してください。
Nothing arrived at {place}. = {place}には何も届きませんでした。
Run `netdiag.py {url}` on the client meanwhile; --bind ADDR says which address it shall reach
    (without it only this host can).
    = その間にクライアントで`netdiag.py {url}`を実行してください。待ち受けるアドレスは--bind ADDRで指定します（省略時はこのホストからのみ到達できます）。
A connection arrived at {place}: {clients}. = {place}に接続が届きました: {clients}。
{count} connections arrived at {place}: {clients}. = {place}に接続が{count}件届きました: {clients}。
A datagram arrived at {place}: {clients}. = {place}にデータグラムが届きました: {clients}。
{count} datagrams arrived at {place}: {clients}.
    = {place}にデータグラムが{count}件届きました: {clients}。
{count} bytes = {count}バイト
listening on {place} for {seconds} s; Ctrl-C ends it = {place}で{seconds}秒間待ち受けます（Ctrl-Cで終了）
watching {target} for {seconds} s; Ctrl-C ends it = {target}を{seconds}秒間監視します（Ctrl-Cで終了）
works again = 復旧
It ended before the first check. = 最初の確認の前に終了しました。
{target} answered all {checks} checks in {seconds} s, the slowest in {ms} ms.
    = {target}は{seconds}秒間の確認{checks}回すべてに応答しました（最も遅い応答は{ms} ms）。
{checks} checks in {seconds} s, {failed} failed = {seconds}秒間に確認{checks}回、失敗{failed}回
{client} sees {seen}, and the report of {server} says why: {why}.
    = {client}では{seen}。{server}の報告: {why+.}。
{cure} Do that on {server}. = {cure+}。これは{server}で実施してください。
See its report. = その報告を参照してください。
the client = クライアント
What {client} sends arrives at {server} port {port}, which sends its SYN/ACK again and again; the
    answer does not come back.
    = {client}の送信は{server}のポート{port}に届き、SYN/ACKが繰り返し返されていますが、戻ってきません。
What {client} sends arrives at {server} port {port}, which answers; the answer does not come back.
    = {client}の送信は{server}のポート{port}に届き、応答も返されていますが、戻ってきません。
{port} as {came} (NAT) = {port}（NATにより{came}として）
What {client} sends does not arrive at {server} port {port}: {server} listens there, looked at the
    same time and saw nothing of {came}.
    = {client}の送信が{server}のポート{port}に届きません。{server}は待ち受けており同時刻に観測しましたが、{came}からは何も届いていません。
What {client} sends does not arrive at {server} port {port}: {server} captured there at the same
    time and saw nothing of {came}.
    = {client}の送信が{server}のポート{port}に届きません。{server}は同時刻に記録しましたが、{came}からは何も届いていません。
{client} is refused on port {port}, though {server} listens there, looked at the same time and saw
    nothing of {came}: a box in between says no, or another host has this address.
    = {client}はポート{port}で拒否されましたが、待ち受けている{server}の同時刻の観測では{came}から何も届いていません。
    途中の機器が拒否しているか、別のホストがこのアドレスを使っています。
{client} is refused on port {port}, though {server} captured there at the same time and saw nothing
    of {came}: a box in between says no, or another host has this address.
    = {client}はポート{port}で拒否されましたが、{server}の同時刻の記録では{came}から何も届いていません。
    途中の機器が拒否しているか、別のホストがこのアドレスを使っています。
nothing that both runs have seen = 双方の実行で観測された項目にはありません
route ({then} -> {now}) = 経路（{then} -> {now}）
way ({then} -> {now}) = 通過ホップ（{then} -> {now}）
resolvers ({then} -> {now}) = リゾルバー（{then} -> {now}）
addresses of the name ({then} -> {now}) = 名前のアドレス（{then} -> {now}）
HTTP status ({then} -> {now}) = HTTPステータス（{then} -> {now}）
certificate ({then} -> {now}) = 証明書（{then} -> {now}）
system ({then} -> {now}) = システム（{then} -> {now}）
proxy ({then} -> {now}) = プロキシ変数（{then} -> {now}）
No client has reported. = クライアントの報告がありません。
{client} sees {target} ({code}), and the report of {server} was made {apart} apart: at another time
    it proves nothing.
    = {client}から見た{target}は{code}です。{server}の報告は{apart}離れた時刻のもので、証拠になりません。
Run both at the same time: on the server `netdiag.py server {port} --for 30s --client {address}`,
    meanwhile netdiag on the client.
    = 両方を同時に実行してください。サーバーで`netdiag.py server {port} --for 30s --client {address}`、
    その間にクライアントでnetdiagを実行します。
{summary}. ({server}: {code}) = {summary+.}。（{server}: {code}）
{count} of {all} work. = {all}件中{count}件が正常です。
{count} of {all} work, the others are undecided. = {all}件中{count}件が正常で、残りは判定不能です。
{bad} of {all} fail, all with {code}. = {all}件中{bad}件が失敗し、すべて{code+}です。
{bad} of {all} fail, it with {code}. = {all}件中{bad}件が失敗し、原因は{code+}です。
{bad} of {all} fail, {count} with {code}. = {all}件中{bad}件が失敗し、うち{count}件が{code+}です。
{code}; they have nothing in common = {code}（共通点なし）
{code}; what they share is {trait} = {code}（共通点は{trait}）
{code}; what they share is {trait}, and all that lacks it works
    = {code}（共通点は{trait}で、それ以外はすべて正常）
{code}; what they share is {trait}, which {count} others have too, and work
    = {code}（共通点は{trait}。ただし同じ条件の{count}件は正常）
See what is special about {trait}. = {trait}に特有の点を調べてください。
the host {value} = ホスト {value}
the target {value} = 対象 {value}
the target host {value} = 対象ホスト {value}
the source segment {value} = 送信元セグメント {value}
the hop {value} = ホップ {value}
the port {value} = ポート {value}
hosts: {hosts}, targets: {targets} = {hosts}ホスト、{targets}対象
{failed} of those that fail have it, {fine} of the others = 失敗のうち{failed}件、それ以外の{fine}件に該当
The report of {host} about {target} ({code}) belongs to no client's report: another service, or
    another report of it is nearer in time.
    = {host}の{target}についての報告（{code}）は、どのクライアントの報告とも対応しません。
    別のサービスか、時刻のより近い別の報告があります。
{count} unusable files in all = 使用できないファイルは全部で{count}個
no netdiag report in it = netdiagの報告が含まれていません
no netdiag report in it: it is cut short = netdiagの報告が途中で切れています
its report cannot be read: {why} = 報告を読み取れません: {why}
it is merged already = すでにmergeされた報告です
larger than {size} MB = {size} MBを超えています
of other users' processes only root sees them = ほかのユーザーのプロセスの分はrootだけが参照できます
other network namespaces are for root to look into = ほかのネットワーク名前空間の参照にはrootが必要です
root hears it with --lldp 35s = rootで--lldp 35sを指定すると受信できます
listening for LLDP and CDP: {errno} = LLDPとCDPの受信: {errno}
nobody tells of sockets = ソケットの一覧を取得できません
systemd runs here and was not asked = systemdに問い合わせていません
root or CAP_NET_RAW is needed ({errno}) = rootまたはCAP_NET_RAWが必要です（{errno}）
netdiag speaks no TLS within the TLS of an https:// proxy
    = https://のプロキシとのTLSの中では、さらにTLSを使うことができません
this Python has no ssl module = このPythonにはsslモジュールがありません
,  = 、
;  = 、
. = 。
--
the administrator of this host = このホストの管理者
the network team of this site = この拠点のネットワーク担当
the network team (transit) = ネットワーク担当（中継区間）
the network team of the server = サーバー側のネットワーク担当
the administrator of the server = サーバーの管理者
the owner of the service = サービスの担当者
the cloud team ({what}) = クラウド担当（{what}）
the DNS team = DNS担当
the proxy team = プロキシ担当
client = クライアント
client network = クライアント側NW
transit = 中継NW
server network = サーバー側NW
server = サーバー
service = サービス
dns = DNS
proxy = プロキシ
 or  = または
this host = このホスト
certain = 確実
likely = 可能性大
possible = 可能性あり
fail = 障害
warn = 警告
info = 情報
FAULT = 障害
UNDECIDED = 判定不能
at = 場所
do: = 対処:
ask: = 依頼:
the request is in the ticket. = 依頼内容はチケットにあります。
with warnings, see FINDINGS = 警告あり（検出事項を参照）
The run was cut short: this rests on what was seen until then.
    = 調査は途中で打ち切られました。それまでに得られた情報による判定です。
PATH = 経路
TIMES = 所要時間
FINDINGS = 検出事項
NOT TESTED = 未確認の項目
TICKET (copy from here) = チケット（ここからコピー）
TRANSCRIPT = 実行記録
FACTS = 事実
Evidence (probe/subject outcome value), commands and sockets alike:
    = 証拠（probe/subject outcome value、コマンドとソケットの両方）:
* (no answer) = * （応答なし）
it breaks here = ここで途切れています
the MSS of our SYN is lowered from {was} to {now} before hop {ttl}
    = SYNのMSSがホップ{ttl}の手前で{was}から{now}に下げられています
seen in = 根拠
explains = 説明できる事象
first byte = 最初の応答
symptom = 症状
sure = 確度
suspected = 疑い
seen = 観測内容
how often = 頻度
to = 宛先
about = 件名
request = 依頼内容
advice = 対処案
client host = ホスト名
interface = IF
gateway = ゲートウェイ
{summary} The report of the server, {host}: {code}. = {summary+}。サーバー{host}の報告: {code}。
none: on the own segment = なし（同一セグメント）
none: no route leads there = なし（宛先への経路がありません）
layer 2: = レイヤー2:
protocol = プロトコル
time = 発生時刻
way there = 往路
way back = 復路
not visible from here: run netdiag on the server as well
    = ここからは見えません（サーバー側でもnetdiagを実行してください）
ruled out = 切り分け済み
packets sent = 送信数
about {n} to the target = 対象宛てに約{n}パケット
none to the target = 対象宛てにはなし
and so on, to hop {ttl} = 以下同様（ホップ{ttl}まで）
run by = 実行者
environment = 環境
site = 拠点
switch = スイッチ
switch port = SWポート
questions = 問い合わせ
resolvers = リゾルバー
search list = 検索ドメイン
certificate = 証明書
names = 名前
valid = 有効期間
chain = チェーン
answer = 応答
path = パス
times = 所要時間
link = リンク
address = アドレス
route = 経路
tls = TLS
Nothing needs to be sent: the target works. = 送付は不要です。対象は正常に動作しています。
FLOWS = フロー
ENDS = 両端の報告
CHECKS = 確認
ARRIVALS = 到着
LISTENERS = 待ち受け
MATRIX = 一覧表
IN COMMON = 共通点
FAILING = 失敗
NOT JOINED = 対応付けできなかった報告
ports on this host: {n} = このホストのポート: {n}
port = ポート
program, pid, user = 名前 pid ユーザー
queue = キュー
verdict = 判定
listener = 待受
on = 待受:
unit = ユニット
states = 状態
not read = 未取得
any = 不特定
{waiting} waiting of {limit}, {dropped} dropped meanwhile = 待機{waiting}件（上限{limit}）、観測中の破棄{dropped}件
about {n}, to itself = 自身宛てに約{n}パケット
before = 以前
host = ホスト
hop = ホップ
target = 対象
target host = 対象ホスト
source segment = 送信元セグメント
Redacted: names, addresses, users and keys are masked; the same value has the same mask.
    = 秘匿済み: 名前、アドレス、ユーザー、鍵は伏せてあります（同じ値は同じ表記です）。
"""

# == 10 cli: options, modes, exit status ===========================================================

EXIT_OK, EXIT_FAULT, EXIT_UNDECIDED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 3, 64, 130
MODES = "server capture listen watch merge explain".split()
HELP = """usage: netdiag.py [-h | --help] [options] [TARGET...]
       netdiag.py server [PORT...] | capture [TARGET] | listen PORT |
                  watch TARGET | merge REPORT... | explain [CODE]

examples:
  netdiag.py web.example                  is the host there?
  netdiag.py db.example:5432              a port (known ones pick the protocol)
  netdiag.py https://web.example/path     name, way, TCP, TLS and HTTP
  netdiag.py ssh://web.example [2001:db8::1]:22
  netdiag.py                              this host alone: link, route, resolver
  netdiag.py server                       who listens here, what looks wrong
  netdiag.py server 443 --client 192.0.2.9
  netdiag.py capture web.example:443      record what the probes meet
  netdiag.py capture --port 443 --for 60s what comes to this server, what leaves
  netdiag.py listen 8443 --bind 0.0.0.0   stand in for a service
  netdiag.py watch https://web.example/ --for 30m
  netdiag.py merge client.json server.json
  netdiag.py explain tcp.rejected         the manual page of one cause
  ssh box python3 - web.example:443 < netdiag.py

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
  --redact             mask names, addresses, users and keys, each always alike
  --lang en|ja         language of report and ticket (JSON stays English)
  --ticket             only the text to send, for whom the verdict names
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
OPTION_NAMES = table_of("-4=family -6=family -n=numeric -v=verbose --timeout=timeout_s"
                        " --deadline=deadline_s --for=for_s --from=from_dir")
OPTION_MODES = dict(re.findall(r"(?m)^  (--\w+) .*  ([a-z, ]+): ", HELP), **{"--targets": "target"})
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
            mine(known["mode"] in OPTION_MODES.get(flag, known["mode"]).split(", "),
                 "%s goes with %s; see --help" % (flag, OPTION_MODES.get(flag)))
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
        return ((key, re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text.strip())),)
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
            (options.source, lambda source: options.family in (None, 0, is_address(source)),
             "--source %%(value)s is no IPv%s address, as -%s wants" % ((options.family,) * 2)),
            (options.proxy, lambda url: read_proxy(url, "--proxy")["host"] and re.match(
                "(?i)(https?|socks5?h?)://", full_url(url)),
             "--proxy takes a URL such as http://proxy.example:3128 or socks5://...")):
        mine(not value or good(value), words % {"value": value})
    try:
        mine(not options.sni or check_name(options.sni))
    except NotMine as error:
        raise Usage("--sni %s: %s" % (printable(options.sni, 60), error))
    problem = options.cafile and system.check_cafile(options.cafile)
    mine(not problem, "--cafile %s: %s" % (options.cafile, problem))


def read_target(text, family=None):
    """A target as it was typed -> Target; Usage with one clear line where it is absurd."""
    mine(text.strip(), "a target is empty")
    try:
        mine(re.match(r"[^\x00-\x20\x7f-\x9f]{1,2000}\Z", text),
             "spaces, control characters or far too long")
        parts = read_url(text)
        host = usual_form(parts["host"])
        scheme = SAME_PROTOCOL.get(parts["scheme"], parts["scheme"])
        mine(not scheme or scheme in PROTOCOLS, "unknown scheme %s://" % scheme)
        mine(is_address(host) or check_name(host))
        mine(is_address(host) in (0, family or is_address(host)),
             "not an IPv%s address, as -%s or --source wants" % (family, family))
        word = SAME_PROTOCOL.get(parts["port"], parts["port"])
        number = re.match(r"[0-9]{1,6}$", word or "")
        port = int(word) if number else PROTOCOLS[word].port if word in PROTOCOLS else None
        mine(word is None or port in range(1, 65536), "a port is a number from 1 to 65535"
             + ("" if number else " or a known service"))
        protocol = scheme or PORT_PROTOCOL.get(port, "tcp")
        usual = PROTOCOLS[protocol]
        mine(port or usual.port or not scheme, "%s:// needs a port" % scheme)
    except NotMine as error:
        raise Usage("target %s: %s" % (hide_secret(printable(text, 60)), error))
    return Target(hide_secret(printable(text, 300)), host, port or usual.port, protocol,
                  usual.transport, usual.tls, parts["path"],
                  parts["user"] if protocol in ("ssh", "sftp") else None, is_address(host))


def read_port(text):
    """'443', '53/udp' or 'https' -> a port of this host as a Target; Usage where it is absurd."""
    word, slash, transport = text.lower().partition("/")
    word = SAME_PROTOCOL.get(word, word)
    port = PROTOCOLS[word].port if word in PROTOCOLS else to_int(word)
    if port not in range(1, 65536) or slash and transport not in ("tcp", "udp"):
        raise Usage("port %s: a number from 1 to 65535 or a known service, with /udp or /tcp where"
                    " it is needed: 443, 53/udp, https" % printable(text, 60))
    protocol = word if word in PROTOCOLS else PORT_PROTOCOL.get(port, transport or "tcp")
    usual = PROTOCOLS[protocol]
    if transport not in ("", usual.transport) and protocol != "dns":
        protocol = transport
    transport, tls = transport or usual.transport, PROTOCOLS[protocol].tls
    return Target("port %d/%s" % (port, transport), None, port, protocol, transport,
                  tls, None, None, 0, "server")


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
    return Answer("target", target.text, "ok", dict(
        zip(Target._fields[1:], target[1:]), knock_port=target.port or host and 443,
        family=options.family, sni=options.sni or sni_for(host) if named else None,
        source=options.source, interface=options.interface, cafile=options.cafile,
        bound=bool(options.source or options.interface), connect_to=host and usual_form(
            options.connect_to or "") or None,
        proxy=host and options.proxy and full_url(options.proxy), client=options.client,
        asked=not options.overview, watched_s=options.for_s, file=options.read,
        greeting_s=host and PROTOCOLS[target.protocol].greeting_s,
        upgrade=bool(re.match("(?i)wss?://", target.text))))


def diagnose(target, shared, system, options, progress=None):
    """One target: gather, judge, and make the report."""
    began = system.monotonic()
    scopes = [SCOPES[target.mode][1]] + ["target"] * bool(target.mode == "capture" and target.host)
    done, complete = gather(
        probes_of(*scopes), dict(shared, target=[wish_of(target, options)]), system, options,
        began + options.deadline_s, progress)
    if target.mode == "capture":
        done, closed = gather(probes_of("closing"), done, system, options,
                              system.monotonic() + CLOSING_S)
        complete = complete and closed
    answers = number_answers(done)
    return Report(target, *judge(answers), path_of(answers), timings_of(answers), answers,
                  round(system.monotonic() - began, 2), complete)


def main(argv=None, system=None, out=None):
    """Everything: read the command line, diagnose, print; returns the exit status."""
    argv, out = sys.argv[1:] if argv is None else argv, out or sys.stdout
    try:
        words = quick_words(argv)
        if words:
            hand_out(out, words)
            return EXIT_OK
        options, texts = read_arguments(argv)
        system = system or System(options)
        check_options(options, system)
        options = options._replace(family=options.family or is_address(options.source or ""))
        return RUNNERS[options.mode](texts, system, options, out)
    except (Usage, NotMine) as error:
        return complain(error, EXIT_USAGE)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (RuntimeError, MemoryError) as error:  # no thread, no memory
        return complain("cut short: %s" % (error or "out of memory"), EXIT_UNDECIDED)
    except OSError as error:                      # the reader has gone, or the disk is full
        (system or System(None)).hush()
        return EXIT_OK if isinstance(error, BrokenPipeError) else complain(
            failure("the report could not be written", error), EXIT_UNDECIDED)
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
    targets = [read_target(text, options.family) for text in texts] or [THIS_HOST]
    near = [t for t in targets if t.literal and re.match("(?i)fe[89ab]", t.host)]
    if near:                                      # the zone becomes the interface of all sockets
        zones = unique(t.host.partition("%")[2] or options.interface for t in near)
        mine(near == targets and len(zones) == 1 and zones[0] and system.has_interface(zones[0]),
             "link-local targets need one interface that is here, the same for all: fe80::1%eth0")
        targets = [t._replace(host=t.host.partition("%")[0]) for t in near]
        system.options = options = options._replace(interface=zones[0])
    return examine(targets[0].mode, lambda shared: targets, system, options, out)


def run_server(texts, system, options, out):
    """Mode `server`: one verdict for each PORT, or all who listen and what looks wrong there."""
    targets = unique(map(read_port, texts))
    options = options._replace(overview=not targets, deadline_s=options.deadline_s
                               + (options.for_s or 0) + (options.lldp or 0))
    return examine("server", (lambda shared: targets) if targets else listening_targets, system,
                   options, out)


def listening_targets(shared):
    """A target for each port on which somebody listens; UDP sockets of clients are left out."""
    rows = listeners([row for row in shared["sockets"] if row.subject != "-"])
    ports = sorted({(row["port"], row["proto"]) for row in rows if isinstance(row["port"], int)
                    and not (row["proto"] == "udp" and row["port"] >= SERVED_LIMIT)})
    return [read_port("%d/%s" % row) for row in ports] or [
        THIS_HOST._replace(text="this host as a server", mode="server")]


def examine(mode, find_targets, system, options, out):
    """Ask what a mode asks once, find its targets in that, diagnose all; -> exit status."""
    began, started = system.monotonic(), iso_time(system.now())
    shared, complete = gather(probes_of(*SCOPES[mode][0]), {}, system, options,
                              began + options.deadline_s)
    targets = find_targets(shared)
    watched = len(targets) == 1 and sys.stderr and sys.stderr.isatty()
    reports = [unseen(target, shared) for target in targets]
    options = options if complete is not None else options._replace(only=("identity",))
    if complete is not None or mode == "server":  # Ctrl-C: of a server what was seen, without more
        reports = [report._replace(complete=report.complete and complete) for report in
                   diagnose_many(targets, shared, system, options, watched and show_progress)]
    if watched:
        show_progress(())
    return publish(reports, system, options, started, began, out)


def publish(reports, system, options, started, began, out, group=None):
    """Print the document about these reports, or save it where --output says; -> exit status."""
    text = render_document(reports, system, options, started, began, group)
    failed = options.output and system.save(options.output, text)
    if failed:
        complain("--output %s; the report follows on standard output" % failed)
    if failed or not options.output:
        hand_out(out, text)
    return exit_status(reports)


def hand_out(out, text):
    """Print a document; where the locale has no Japanese, in UTF-8 all the same."""
    if not out:
        raise OSError(9, "it is closed")          # EBADF
    try:
        out.write(text)
    except UnicodeEncodeError:                    # before any of it was written
        out.flush()
        out.buffer.write(text.encode("utf-8", "replace"))
    out.flush()


def run_capture(texts, system, options, out):
    """Mode `capture`: packets beside probes, or for a while, or of a file; -> exit status."""
    mine(len(texts) + bool(options.read) < 2, "capture takes one target, or a file to --read")
    mine(not options.read or not options.write, "what is read is in a file already")
    port, words = options.port, "port %d" % options.port if options.port else "every port"
    target = THIS_HOST._replace(text=printable(options.read or words), port=port, mode="capture",
                                protocol=PORT_PROTOCOL.get(port, "tcp"))
    if texts:
        target = read_target(texts[0], options.family)._replace(mode="capture")
    elif not options.read:
        options = options._replace(for_s=options.for_s or CAPTURE_S)
    if options.read:
        problem = system.check_capture(options.read)
        mine(not problem, "--read %s: %s" % (options.read, problem))
        options = options._replace(skip=[           # it says nothing of this host
            item.name for item in probes_of("host") if item.name != "identity"])
    else:
        system.start_recording(target.port or target.host and 443)
    return examine("capture", lambda shared: [target], system, options._replace(
        deadline_s=max(options.deadline_s, (options.for_s or 0) + 1)), out)


def see_host(system, options):
    """What the reports of listen, watch and merge say of the host that they come from."""
    items = [PROBES[name] for name in ("identity", "marks", "clock", "interfaces")]
    shared, complete = gather(items, {}, system, options, system.monotonic() + COMMAND_S)
    if complete is None:
        raise KeyboardInterrupt
    return shared


def report_of(target, given, shared, system, options, began, path=(), complete=True):
    """A report that rests on what was given, and not on probes of its own."""
    answers = number_answers(dict(shared, target=[wish_of(target, options)], **given))
    verdict, findings, unjudged = judge([row for row in answers if row.probe in GIVEN])
    return Report(target, verdict, findings, unjudged, list(path), timings_of([]), answers,
                  round(system.monotonic() - began, 2), complete)


def live_stream(options, out):
    """Where lines go while a mode runs: the report's own stream if it is text, else a terminal;
    nowhere where names are masked, which is done to whole documents."""
    if options.redact:
        return None
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
    port = read_port(texts[0]).port
    kind = "udp" if options.udp or texts[0].lower().endswith("/udp") else "tcp"
    address, seconds = options.bind or "127.0.0.1", options.for_s or STAND_IN_S
    began, started, stream = system.monotonic(), iso_time(system.now()), live_stream(options, out)
    place = "%s/%s" % (endpoint(address, port), kind)
    target = Target(place, address, port, kind, kind, False, None, None, is_address(address),
                    "listen")
    shared = see_host(system, options)
    say = speaker(options.lang)
    first = say("listening on %s for %d s; Ctrl-C ends it" % (place, seconds))
    outcome, facts = system.stand_in(address, port, kind == "udp", seconds, lambda row: tell(
        arrival_line(row, say) if row else first, stream))
    row = Answer("arrivals", place, outcome, facts, "socket")
    report = report_of(target, {"arrivals": [row]}, shared, system, options, began,
                       complete=None if facts["interrupted"] else True)
    return publish([report], system, options, started, began, out)


def run_watch(texts, system, options, out):
    """Mode `watch`: check for a while, diagnose what fails when it fails; -> exit status."""
    mine(len(texts) == 1, "watch takes one target")
    target = read_target(texts[0], options.family)
    began, started = system.monotonic(), iso_time(system.now())
    stream = live_stream(options, out)
    tell(speaker(options.lang)("watching %s for %d s; Ctrl-C ends it" % (
        target.text, options.for_s or WATCH_S)), stream)
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
    return publish([report], system, options, started, began, out)


def pace_s(target):
    """Seconds between two cheap checks; sshd penalises connections without a login, MySQL blocks a
    host after 100 of them, and others that greet may count them."""
    greets = target.port == 22 or PROTOCOLS[target.protocol].greeting_s
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
            tell("  %s  %s" % (clock_text(now), speaker(options.lang)("works again")), stream)
    else:
        facts["failed"] += 1
        if not lasts:
            begin_outage(report, target, seen, facts, system, options)
            tell(outage_line(facts["outages"][-1], speaker(options.lang)), stream)
        facts["outages"][-1].update(to=system.now())
    facts["took_s"] = system.monotonic() - began


def begin_outage(report, target, seen, facts, system, options):
    """Diagnose at the moment of failure; an outage that is over by then has the cheap check's."""
    system.rest(0)
    before, now = len(system.transcript), system.now()
    shared, asked = gather(probes_of(*SCOPES["target"][0]), {}, system, options,
                           system.monotonic() + options.deadline_s)
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
    for outage in facts["outages"]:
        outage["when"] = outage_times(outage)         # by this host's clock, as in the log
    answers = base.answers if base else number_answers(seen[0])
    row = Answer("checks", target.text, "ok", facts, id="e%d" % (len(answers) + 1))
    report = report_of(target, {"checks": [row]}, {}, system, options, began)
    if base and facts["failed"] == facts["checks"]:
        report = base._replace(target=target)
    elif facts["failed"]:
        report = report._replace(findings=[f._replace(proof=[row]) for f in report.findings])
    return report._replace(path=base.path if base else [], answers=answers + [row],
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
    for path in [path for path in texts if path in useless]:
        complain("%s: %s" % (path, useless[path]))
    return publish(reports, system, options, started, began, out, group)


def target_of(client):
    """The target of a client's report, as one of mode `merge`."""
    protocol = client["protocol"] if client["protocol"] in PROTOCOLS else "tcp"
    usual = PROTOCOLS[protocol]
    return Target(client["target"], client["goal"], client["port"], protocol, usual.transport,
                  usual.tls, None, None, is_address(client["goal"]), "merge")


RUNNERS = {"target": run_targets, "server": run_server, "capture": run_capture,
           "listen": run_listen, "watch": run_watch, "merge": run_merge}


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
    return Report(target, undecided(why), [], unjudged, [], timings_of([]), number_answers(shared),
                  0, complete)


def exit_status(reports):
    """130 interrupted, 1 a fault, 3 undecided or cut short, 0 fine."""
    codes = {report.verdict.code for report in reports}
    if any(report.complete is None for report in reports):
        return EXIT_INTERRUPTED
    if codes - set(NO_FAULT):
        return EXIT_FAULT
    return EXIT_OK if codes == {"ok"} and all(r.complete for r in reports) else EXIT_UNDECIDED


def render_document(reports, system, options, started, began, group=None):
    """All reports as one JSON document, as brief lines, as tickets or as text; `group` is what
    mode `merge` says of them together."""
    transcript, filled, say, note = system.transcript, options.set, speaker(options.lang), ""
    if options.redact:
        reports, transcript, filled, group = redacted(reports, transcript, filled, group)
        note = say(REDACTED) + "\n"
    if options.json:
        return render_json(
            reports, started, round(system.monotonic() - began, 2), system.own_digest(), transcript,
            system.packets, redacted=bool(options.redact), **{"group": group} if group else {})
    if options.brief:
        return "".join(render_brief(report, say) for report in reports) + note
    if options.ticket:
        return render_tickets(reports, transcript, system.packets, filled, options, say) + note
    color = options.color == "always" or options.color == "auto" and system.wants_color(
        None if options.output else sys.stdout)
    if group:
        return render_merged(reports, group, filled, color, say) + note
    text = render_reports(reports, transcript, system.packets, filled, options, color, say)
    if options.verbose and not options.redact:
        text += "\n" + pack_report(render_document(
            reports, system, options._replace(json=True), started, began))
    return text + note


if __name__ == "__main__":
    sys.exit(main())

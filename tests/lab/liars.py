"""Servers that misbehave, each in one way; a program that runs inside the lab's namespaces.

    python3 liars.py liars 9001=reset 9002=greet:smtp ...   TCP and UDP liars, both families
    python3 liars.py dns MODE ADDRESS ...                    a resolver with a mind of its own
    python3 liars.py proxy PORT MODE                         an HTTP proxy that speaks CONNECT
    python3 liars.py dated DAYS CERTIFICATE KEY              a web server in another year
    python3 liars.py tun DEVICE                              a tunnel that swallows everything
    python3 liars.py delay SECONDS NAME NAMESPACE NAME       a link of two tunnels, with delay
    python3 liars.py noise                                   multicast and broadcast chatter
    python3 liars.py holdports ADDRESS PORT                  uses up the client's source ports
    python3 liars.py hold ADDRESS PORT COUNT                 occupies places of a server

Each writes "ready" once every socket is open.  Nothing sleeps: where a liar has to be slow it
waits on its own socket with a time limit.
"""
import collections
import ctypes
import fcntl
import functools
import os
import re
import select
import socket
import struct
import sys
import threading
import time

WEB4, WEB6 = "203.0.113.10", "2001:db8:3::10"
TWO4, TWO6 = "203.0.113.11", "2001:db8:3::11"
DEAD4, DEAD6 = "203.0.113.99", "2001:db8:3::99"

# -- the zone ----------------------------------------------------------------------------------

BOTH = (WEB4, WEB6)
TLS_NAMES = ("expired", "notyet", "wrongname", "selfsigned", "untrusted", "nochain", "expiring",
             "purpose")
HTTP_NAMES = ("web", "www", "mail", "private", "slow")
ZONE = {name + ".lab.example": BOTH for name in HTTP_NAMES + TLS_NAMES}
ZONE.update({
    "v4.lab.example": (WEB4,), "v6.lab.example": (WEB6,),
    "two.lab.example": (WEB4, TWO4, WEB6, TWO6), "half.lab.example": (DEAD4, WEB4),
    "dead.lab.example": (DEAD4, DEAD6), "neighbor.lab.example": ("192.0.2.20", "2001:db8:1::20"),
    "proxy.lab.example": ("198.51.100.90", "2001:db8:80::90"), "empty.lab.example": (),
    "example.com": (WEB4, WEB6),
    "portal.lab.example": ("198.51.100.90", "2001:db8:80::90"),
    "portal.guest.example": ("198.51.100.90", "2001:db8:80::90"),
})


# -- conversations ------------------------------------------------------------------------------

LIFE_S = 40                           # no conversation lasts longer, whatever the other end does
ESCAPES = b"\x1b[2J\x1b[31mowned\x1b]0;title\x07\xff\xfe\x00\x9b5m%s%n\r\n" * 4

GREETINGS = {
    "telnet": b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27",
    "dovecotbusy": b"* BYE [UNAVAILABLE] Maximum number of connections from user+IP exceeded\r\n",
    "pop3err": b"-ERR [SYS/TEMP] too many connections\r\n",
    "smtp": b"220 mail.lab.example ESMTP ready\r\n",
    "smtplines": b"220-hello\r\n220-no spam here\r\n220 mail.lab.example ESMTP ready\r\n",
    "smtp554": b"554 mail.lab.example no service for you\r\n",
    "ftp": b"220 FTP server ready\r\n",
    "vsftpd": b"500 OOPS: SSL: cannot load RSA certificate\r\n",
    "ftp421": b"421 Too many connections from your address\r\n",
    "pop3": b"+OK POP3 ready <1@lab.example>\r\n",
    "imap": b"* OK [CAPABILITY IMAP4rev1] ready\r\n",
    "imapbye": b"* BYE overloaded\r\n",
    "ssh": b"SSH-2.0-Liar_1.0\r\n",
    "telnetlogin": b"\r\nrouter (tty0)\r\nlogin: ",
    "ssh1": b"SSH-1.5-Liar_1.0\n", "ftp120": b"120 Service ready in 5 minutes\r\n",
    "sshlate": b"Not allowed at this time\r\n",
    "sshmax": b"Exceeded MaxStartups\r\n",
    "mysql": None, "mysqlblocked": None,
    "h2settings": b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0",       # as a gRPC server greets
    "http400": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "escapes": ESCAPES,
}


def mysql_packet(body):
    """A MySQL packet with sequence number 0."""
    return struct.pack("<I", len(body))[:3] + b"\0" + body


GREETINGS["mysql"] = mysql_packet(
    b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"saltsalt\0" + b"\xff\xff\x21\x02\x00\xff\xdf\x15"
    + b"\0" * 10 + b"saltsaltsalt\0" + b"mysql_native_password\0")
GREETINGS["mysqlblocked"] = mysql_packet(
    b"\xff\x6a\x04Host '192.0.2.10' is not allowed to connect to this MySQL server")

# What a polite server says to any line, so that a client that goes on talking is not left alone.
REPLIES = {"smtp": b"250 ok\r\n", "smtplines": b"250 ok\r\n", "ftp": b"200 ok\r\n",
           "pop3": b"+OK\r\n"}


def hear(conn, wait_s):
    """What the other end says within the time: bytes, b'' when it closed, None when silent."""
    if not select.select([conn], [], [], wait_s)[0]:
        return None
    try:
        return conn.recv(65536)
    except OSError:
        return b""


def wait_for_end(conn, wait_s=LIFE_S):
    """Keep the connection open until the other end leaves or the time is up."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if hear(conn, end - time.monotonic()) in (b"", None):
            return


def reset(conn):
    """Close with a RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def liar_reset(conn, _):
    """Reset at once after accept."""
    reset(conn)


def liar_close(conn, _):
    """Close at once after accept."""
    conn.close()


def liar_silence(conn, _):
    """Accept, read, never say a word."""
    wait_for_end(conn)


def liar_drip(conn, _):
    """One byte of a greeting that never ends, every second."""
    for _ in range(LIFE_S):
        conn.send(b"2")
        if hear(conn, 1.0) == b"":
            return


def liar_flood(conn, _):
    """As many bytes as the other end takes."""
    conn.settimeout(LIFE_S)
    for _ in range(20000):
        conn.sendall(b"flood\x1b[31m " * 1000)


def liar_greet(conn, word):
    """A greeting, then polite answers."""
    conn.sendall(GREETINGS[word])
    end = time.monotonic() + LIFE_S
    while time.monotonic() < end:
        said = hear(conn, end - time.monotonic())
        if not said:
            return
        if word == "imap":
            conn.sendall(said.split(b" ")[0] + b" OK\r\n")
        elif word in REPLIES:
            conn.sendall(REPLIES[word] * max(1, said.count(b"\n")))


def liar_slowgreet(conn, words):
    """A greeting after so many seconds: SECONDS:WORD."""
    seconds, word = words.split(":")
    if hear(conn, float(seconds)) != b"":
        liar_greet(conn, word)


def liar_say(conn, word):
    """A greeting, then the end: drained, so that it is a FIN and not a RST."""
    conn.sendall(GREETINGS[word])
    conn.shutdown(socket.SHUT_WR)
    wait_for_end(conn, 5)


def liar_echo(conn, _):
    """Says back what it hears, and nothing unasked."""
    end = time.monotonic() + LIFE_S
    while time.monotonic() < end:
        said = hear(conn, end - time.monotonic())
        if not said:
            return
        conn.sendall(said)


def liar_heardclose(conn, _):
    """Hears the first words and closes without an answer."""
    hear(conn, LIFE_S)
    conn.shutdown(socket.SHUT_WR)
    wait_for_end(conn, 5)


def liar_heardreset(conn, _):
    """Hears the first words and resets."""
    hear(conn, LIFE_S)
    reset(conn)


def liar_heardgarbage(conn, _):
    """Answers anything with bytes of no protocol."""
    if hear(conn, LIFE_S):
        conn.sendall(ESCAPES)
        conn.shutdown(socket.SHUT_WR)
        wait_for_end(conn, 5)


def liar_slowhttp(conn, seconds):
    """A healthy page whose first byte takes its time."""
    if hear(conn, LIFE_S):
        hear(conn, float(seconds))
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
        conn.shutdown(socket.SHUT_WR)
        wait_for_end(conn, 5)


def liar_redis(conn, _):
    """Enough of redis for a PING."""
    while hear(conn, LIFE_S):
        conn.sendall(b"+PONG\r\n")


def liar_postgres(conn, _):
    """Enough of PostgreSQL: no TLS, then a demand for a password."""
    said = hear(conn, LIFE_S)
    if said and said[4:8] == b"\x04\xd2\x16\x2f":
        conn.sendall(b"N")
        said = hear(conn, LIFE_S)
    if said:
        conn.sendall(b"R\0\0\0\x0c\0\0\0\x05salt")
        wait_for_end(conn)


def liar_tlsalert(conn, number):
    """Answers a ClientHello with a fatal alert."""
    if hear(conn, LIFE_S):
        conn.sendall(b"\x15\x03\x03\x00\x02\x02" + bytes((int(number),)))
        conn.shutdown(socket.SHUT_WR)
        wait_for_end(conn, 5)


# -- pages that a real web server is hard to make to send -----------------------------------------

FORM = b"<html><title>Guest network</title><form method=post><input name=user></form></html>\n"
PAGES = {
    "login": (b"200 OK", b"Content-Type: text/html\r\n", FORM),
    "portal": (b"302 Found", b"Location: http://portal.guest.example/login\r\n", b""),
    "sso": (b"302 Found", b"Location: http://portal.lab.example/login\r\n", b""),
    "511": (b"511 Network Authentication Required", b"Content-Type: text/html\r\n", FORM),
    # What squid says when it is in the way unasked.
    "blocked": (b"403 Forbidden", b"Server: squid/5.7\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n"
                b"Via: 1.1 proxy.lab.example (squid/5.7)\r\nX-Cache: MISS from proxy.lab.example"
                b"\r\nContent-Type: text/html\r\n", b"<h1>Access Denied</h1>\n"),
    "elastic": (b"200 OK", b"X-elastic-product: Elasticsearch\r\nContent-Type: application/json"
                b"\r\n", b'{"name":"lab","version":{"number":"8.11.1"},"tagline":"You Know"}'),
}
RAW_PAGES = {
    "http10": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold and well\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
                b"Connection: close\r\n\r\nok\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
               b"3\r\nok\n\r\n0\r\n\r\n",
    # A cache's answer of last year.
    "cached": b"HTTP/1.1 200 OK\r\nDate: DATE\r\nAge: 31536000\r\nContent-Length: 3\r\n\r\nok\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first words of",
    "cuthead": b"HTTP/1.1 200 OK\r\nContent-Le",
    # Go's net/http, asked in plain HTTP on its TLS port.
    "gotls": b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
    "408": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "http09": b"<html>no status line at all</html>\n",
}


def page(name, head):
    """The bytes of a page; a captive portal has its own way to its own form."""
    if name in RAW_PAGES:
        year_ago = time.gmtime(time.time() - 31536000)
        return RAW_PAGES[name].replace(
            b"DATE", time.strftime("%a, %d %b %Y %H:%M:%S GMT", year_ago).encode())
    if name == "portal" and b" /login" in head.split(b"\r\n")[0]:
        name = "login"
    status, headers, body = PAGES[name]
    return (b"HTTP/1.1 " + status + b"\r\n" + headers + b"Content-Length: %d\r\n"
            b"Connection: close\r\n\r\n" % len(body) + body)


def liar_page(conn, name):
    """One canned answer to a HTTP request; silent to anything else."""
    head = hear(conn, LIFE_S)
    if head and re.match(rb"[A-Z]+ \S+ HTTP/1", head):
        conn.sendall(page(name, head))
        conn.shutdown(socket.SHUT_WR)
        wait_for_end(conn, 5)
    elif head:
        wait_for_end(conn)


def liar_websocket(conn, _):
    """Changes to WebSocket, and turns down all else, as its libraries do (RFC 6455 4.2.2)."""
    head = hear(conn, LIFE_S) or b""
    if head.startswith(b"GET ") and re.search(rb"(?i)\nupgrade: websocket", head):
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\n\r\n")
        wait_for_end(conn)
    elif head:
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def liar_hold(conn, name):
    """A page, and then nothing: the connection stays open whatever the client asked for."""
    head = hear(conn, LIFE_S)
    if head:
        conn.sendall(page(name, head))
        wait_for_end(conn)


def liar_tlspage(conn, cert):
    """A page over TLS; the key leaf.key lies beside the certificate."""
    with tls_side(conn, cert) as safe:
        if safe.recv(65536):
            safe.sendall(page("elastic", b""))


def liar_slowtls(conn, words):
    """SECONDS:CERT: the same after so many seconds."""
    seconds, cert = words.split(":")
    time.sleep(float(seconds))
    liar_tlspage(conn, cert)


def liar_late(conn, words):
    """SECONDS,METHOD: a page after so many seconds; other methods are left without a word."""
    seconds, method = words.split(",")
    head = hear(conn, LIFE_S)
    if head.startswith(method.encode()):
        hear(conn, float(seconds))
        conn.sendall(page("http10", head))
    else:
        wait_for_end(conn)


def liar_cutsname(conn, name):
    """Resets the handshake that asks for a name; else hands on to the port 443 of this host."""
    if name.encode() in conn.recv(4096, socket.MSG_PEEK):
        reset(conn)
    else:
        pump(conn, socket.create_connection(("127.0.0.1", 443), LIFE_S))


def liar_stops(conn, count):
    """So many bytes of the answer of port 443 of this host to a ClientHello, and then silence."""
    hello = hear(conn, LIFE_S)
    with socket.create_connection(("127.0.0.1", 443), LIFE_S) as far:
        far.sendall(hello)
        conn.sendall(hear(far, LIFE_S)[:int(count)])
    wait_for_end(conn)


def liar_noehlo(conn, how):
    """A mail server that greets and then turns the client away, hangs up or says no more, or only
    after so many seconds."""
    conn.sendall(GREETINGS["smtp"])
    said = hear(conn, LIFE_S)
    if how.isdigit():
        while said and hear(conn, float(how)) is None:
            conn.sendall(REPLIES["smtp"])
            said = hear(conn, LIFE_S)
    elif said and not how:
        conn.sendall(b"554 5.7.1 your address has no good name\r\n")
    elif how == "mute":
        wait_for_end(conn)


def liar_postscreen(conn, cert):
    """A mail server that bars who speaks before its greeting is whole; it writes line by line."""
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.sendall(b"220-mail.lab.example ESMTP\r\n")
    if hear(conn, 2):
        return conn.sendall(b"550 5.5.1 Protocol error\r\n")
    conn.sendall(b"220 mail.lab.example ESMTP\r\n")
    if hear(conn, LIFE_S):
        for line in (b"250-mail.lab.example\r\n", b"250-STARTTLS\r\n", b"250 HELP\r\n"):
            conn.sendall(line)
            select.select([], [], [], 0.1)
    if hear(conn, LIFE_S) == b"STARTTLS\r\n":
        conn.sendall(b"220 go ahead\r\n")
    with tls_side(conn, cert) as safe:
        safe.recv(65536)


def liar_sshlines(conn, port):
    """Lines before the version, and then the sshd at that port of this host."""
    conn.sendall(b"Authorized users only!\r\nAll is logged.\r\n")
    pump(conn, socket.create_connection(("127.0.0.1", int(port)), LIFE_S))


def liar_connected(conn, cert):
    """A proxy that says yes to CONNECT, then speaks TLS itself, closes, or (-) says nothing."""
    if hear(conn, LIFE_S):
        conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if cert == "-":
            wait_for_end(conn)
        elif cert:
            liar_tlspage(conn, cert)


def liar_tlsonly(conn, cert):
    """A page over TLS; who says anything else is left without a word."""
    if conn.recv(1, socket.MSG_PEEK) == b"\x16":
        liar_tlspage(conn, cert)
    else:
        liar_heardclose(conn, cert)


def liar_tlssay(conn, cert):
    """Hangs up with IMAP's words, behind TLS."""
    with tls_side(conn, cert) as safe:
        safe.sendall(GREETINGS["dovecotbusy"])


def tls_side(conn, cert):
    """The server's side of a TLS connection."""
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, os.path.join(os.path.dirname(cert), "leaf.key"))
    conn.settimeout(LIFE_S)
    return context.wrap_socket(conn, server_side=True)


def liar_httpdrip(conn, _):
    """A page that comes byte by byte, one in a fifth of a second."""
    if hear(conn, LIFE_S):
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n":
            conn.sendall(bytes((byte,)))
            if hear(conn, 0.2) == b"":
                return


# -- the first answer of servers that wait for the right first words ------------------------------

def ber(*parts):
    """An LDAP message of the pieces; all of ours are short."""
    body = b"".join(parts)
    return b"\x30" + bytes((len(body),)) + body


def say_ldap(result):
    """BindResponse, SearchResultDone or ExtendedResponse with this result code."""
    def say(match):
        answer = {0x60: b"\x61", 0x63: b"\x65", 0x77: b"\x78"}[match.group(2)[0]]
        return ber(match.group(1), answer + b"\x07\x0a\x01" + bytes((result,)) + b"\x04\0\x04\0")
    return say


def say_amqp(_):
    """Connection.Start of AMQP 0-9-1."""
    body = b"\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US"
    return b"\x01\0\0" + struct.pack("!I", len(body)) + body + b"\xce"


def say_mqtt(code):
    """CONNACK, for MQTT 5 with its (empty) properties."""
    def say(match):
        five = match.group(1) == b"\x05"
        reason = {3: 0x88, 5: 0x87}.get(code, code) if five else code
        return b"\x20" + (bytes((3, 0, reason, 0)) if five else bytes((2, 0, reason)))
    return say


def say_kafka(match):
    """ApiVersions: three of them; who asks for a newer form than 2 hears UNSUPPORTED_VERSION."""
    version, correlation = struct.unpack("!h4s", match.group(1) + match.group(2))
    body = correlation + struct.pack("!hi", 35 if version > 2 else 0, 3)
    body += b"".join(struct.pack("!3h", *row) for row in ((0, 0, 9), (3, 0, 12), (18, 0, 3)))
    body += struct.pack("!i", 0) if version in (1, 2) else b""
    return struct.pack("!i", len(body)) + body


def say_mongodb(match):
    """The answer to hello or isMaster, in the form in which it was asked (OP_MSG, OP_QUERY)."""
    request, modern = match.group(1), match.group(2) == b"\xdd\x07"
    body = (b"\x08ismaster\0\x01\x10maxWireVersion\0" + struct.pack("<i", 17)
            + b"\x01ok\0" + struct.pack("<d", 1.0) + b"\0")
    body = struct.pack("<i", len(body) + 4) + body
    body = b"\0\0\0\0\0" + body if modern else struct.pack("<iqii", 8, 0, 0, 1) + body
    return struct.pack("<i4s4si", len(body) + 16, b"liar", request, 2013 if modern else 1) + body


ZOO_STAT = b"Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on " \
           b"2022-02-25 08:49 UTC\nLatency min/avg/max: 0/0.0/0\nMode: standalone\nNode count: 5\n"


def say_zookeeper(healthy):
    """The four letter words of 3.5 and later, where only srvr is allowed unless configured."""
    def say(match):
        word = match.group(0)[:4]
        if word == b"\0\0\0\x2c" or word == b"\0\0\0\x2d":    # a session: ConnectResponse
            return struct.pack("!iii8si", 36, 0, 4000, b"session!", 16) + b"p" * 16
        if word != b"srvr":
            return word + b" is not executed because it is not in the whitelist.\n"
        return ZOO_STAT if healthy else (
            b"This ZooKeeper instance is not currently serving requests\n")
    return say


def say_rdp(answer):
    """X.224 connection confirm: the security that was chosen (2, 8), or why not (3, 8)."""
    return lambda _: (b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0" + answer)


LDAP_WORDS = rb"(?s)\x30(?:\x84....|\x82..|\x81.|[^\x80-\xff])(\x02\x01.)([\x60\x63\x77])"
MQTT_WORDS = rb"(?s)\x10.(?:\x00\x04MQTT|\x00\x06MQIsdp)(.)"
ZOO_WORDS = rb"(?s)(ruok|srvr|stat|mntr|conf|envi|isro)|\0\0\0[\x2c\x2d]\0\0\0\0"
RDP_WORDS = rb"(?s)\x03\0...\xe0"
TALKS = {                             # kind: (the client's first words, what is said to them)
    "ldap": (LDAP_WORDS, say_ldap(0)), "ldapbusy": (LDAP_WORDS, say_ldap(51)),
    "ldapauth": (LDAP_WORDS, say_ldap(48)),
    "amqp": (rb"AMQP\0\0\x09\x01", say_amqp),
    "amqpother": (rb"AMQP\0\0\x09\x01", lambda _: b"AMQP\0\x01\0\0"),
    "mqtt": (MQTT_WORDS, say_mqtt(0)), "mqttauth": (MQTT_WORDS, say_mqtt(5)),
    "mqttdown": (MQTT_WORDS, say_mqtt(3)),
    "kafka": (rb"(?s)\0\0..\x00\x12(..)(....)", say_kafka),
    "mongodb": (rb"(?s)....(....)....(\xdd\x07|\xd4\x07)\0\0", say_mongodb),
    "zookeeper": (ZOO_WORDS, say_zookeeper(True)), "zoodown": (ZOO_WORDS, say_zookeeper(False)),
    "rdp": (RDP_WORDS, say_rdp(b"\x02\x1f\x08\0\x02\0\0\0")),
    "rdpnla": (RDP_WORDS, say_rdp(b"\x03\0\x08\0\x05\0\0\0")),
    "redisloading": (rb"(?i)(\*\d+\r\n\$4\r\n)?ping", lambda _:
                     b"-LOADING Redis is loading the dataset in memory\r\n"),
    "redisdown": (rb"(?i)(\*\d+\r\n\$4\r\n)?ping", lambda _:
                  b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to"
                  b" 'no'.\r\n"),
    "vnc": (rb"RFB 003\.00\d\n", lambda _: b"\x01\x02"),
    "vncfull": (rb"RFB 003\.00\d\n", lambda _: b"\0\0\0\0\x20Too many authentication failures"),
}
ONE_ANSWER = ("zookeeper", "zoodown", "amqpother", "vncfull")     # then the server hangs up


def liar_talk(conn, kind):
    """Answers the proper first words of a protocol; to anything else it is silent."""
    if kind.startswith("vnc"):
        conn.sendall(b"RFB 003.008\n")
    pattern, say = TALKS[kind]
    while True:
        said = hear(conn, LIFE_S)
        match = re.match(pattern, said or b"")
        if not said or not match:
            break
        conn.sendall(say(match))
        if kind in ONE_ANSWER:
            conn.shutdown(socket.SHUT_WR)
            break
    if said:
        wait_for_end(conn)


SSL3_HELLO = (b"\x16\x03\x00\x00\x2a\x02\x00\x00\x26\x03\x00" + b"r" * 32
              + b"\x00\x00\x0a\x00")   # ServerHello: version 3.0, no session, DES-CBC3-SHA


def liar_ssl3(conn, _):
    """A server that knows SSL 3.0 only; who offers nothing so old hears protocol_version."""
    hello = hear(conn, LIFE_S) or b""
    if hello[:1] == b"\x16":
        old = hello[9:11] == b"\x03\x00"
        conn.sendall(SSL3_HELLO if old else b"\x15\x03\x00\x00\x02\x02\x46")
    if hello:
        wait_for_end(conn, 5)


def liar_smallhello(conn, port):
    """A box before the real port that resets a ClientHello of more than 1,000 bytes."""
    hello = hear(conn, LIFE_S) or b""
    if len(hello) > 1000:
        return reset(conn)
    with socket.create_connection(("127.0.0.1", int(port)), 5) as far:
        far.sendall(hello)
        pump(conn, far)


# -- STARTTLS -------------------------------------------------------------------------------------

STARTTLS = {
    # protocol: (greeting, what asks for TLS, yes, [(other words, answer)])
    "smtp": (b"220 mail.lab.example ESMTP\r\n", rb"(?i)STARTTLS", b"220 go ahead\r\n",
             [(rb"(?i)EHLO", b"250-mail.lab.example\r\n250 STARTTLS\r\n"), (rb"", b"250 ok\r\n")]),
    "imap": (b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n",
             rb"(?i)(\S+) STARTTLS", b"\\1 OK begin\r\n",
             [(rb"(?i)(\S+) CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n\\1 OK\r\n"),
              (rb"(\S+)", b"\\1 OK\r\n")]),
    "pop3": (b"+OK POP3 ready\r\n", rb"(?i)STLS", b"+OK begin\r\n",
             [(rb"(?i)CAPA", b"+OK\r\nSTLS\r\n.\r\n"), (rb"", b"+OK\r\n")]),
    "ftp": (b"220 FTP server ready\r\n", rb"(?i)AUTH TLS", b"234 proceed\r\n",
            [(rb"(?i)FEAT", b"211-Features:\r\n AUTH TLS\r\n211 End\r\n"), (rb"", b"200 ok\r\n")]),
    "ldap": (b"", LDAP_WORDS.replace(rb"[\x60\x63\x77]", rb"\x77"), say_ldap(0),
             [(LDAP_WORDS, say_ldap(0))]),
    "xmpp": (b"", rb"(?s).*<starttls", b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
             [(rb"(?s).*<stream:stream", b"<?xml version='1.0'?><stream:stream from='lab.example' "
               b"id='1' version='1.0' xmlns='jabber:client' xmlns:stream="
               b"'http://etherx.jabber.org/streams'><stream:features><starttls xmlns="
               b"'urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")]),
}


def answer_to(said, rows):
    """The answer of the first row whose words these are; None for silence."""
    for pattern, answer in rows:
        match = re.match(pattern, said)
        if match:
            return answer(match) if callable(answer) else match.expand(answer)
    return None


def liar_starttls(conn, words):
    """PROTOCOL:CERTIFICATE: speaks enough of a protocol to change to TLS; leaf.key lies beside."""
    protocol, cert = words.split(":")
    greeting, wish, yes, others = STARTTLS[protocol]
    conn.sendall(greeting)
    while True:
        said = hear(conn, LIFE_S)
        if not said:
            return
        if re.match(wish, said):
            conn.sendall(answer_to(said, [(wish, yes)]))
            break
        conn.sendall(answer_to(said, others) or b"")
    with tls_side(conn, cert) as safe:
        said = safe.recv(65536)
        while said:
            safe.sendall(answer_to(said, others) or b"")
            said = safe.recv(65536)


# -- SOCKS5 ---------------------------------------------------------------------------------------

def liar_socks(conn, code):
    """A SOCKS5 proxy that greets and then says no: 1 failure, 2 not allowed, 5 refused ..."""
    said = hear(conn, LIFE_S)
    if said and said[:1] == b"\x05":
        conn.sendall(b"\x05\x00")
        if hear(conn, LIFE_S):
            conn.sendall(b"\x05" + bytes((int(code),)) + b"\x00\x01" + b"\0" * 6)
            conn.shutdown(socket.SHUT_WR)
    if said:
        wait_for_end(conn)


LIARS = {name[5:]: thing for name, thing in list(globals().items()) if name.startswith("liar_")}


def answer_one(conn, kind, argument):
    """One conversation; the other end may leave at any time."""
    try:
        LIARS[kind](conn, argument)
    except OSError:
        pass
    finally:
        conn.close()


def listen_tcp(port, backlog=50):
    """A listening socket for both families."""
    server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", port))
    server.listen(backlog)
    return server


def fill_backlog(port):
    """A listener that never accepts and whose queue is already full."""
    server, held = listen_tcp(port, 0), []
    for _ in range(4):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        held.append(client)
    select.select([], held[:1], [], 2)          # the first one fits: the queue is full now
    return [server] + held


def open_udp(port):
    """A UDP socket for both families."""
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    server.bind(("::", port))
    return server


def serve_udp(server, answer):
    """Answer for ever, from the very address that was asked."""
    while True:
        said, to_whom, _, peer = server.recvmsg(65535, 64)
        reply = answer(said)
        if reply:
            server.sendmsg([reply], to_whom, 0, peer)


def start_thread(target, *arguments):
    """A thread that does not keep the process alive."""
    threading.Thread(target=target, args=arguments, daemon=True).start()


def serve_tcp(server, kind, argument):
    """Accept for ever."""
    while True:
        conn, _ = server.accept()
        start_thread(answer_one, conn, kind, argument)


def ntp_reply(said, kind):
    """The answer of an NTP server: well, `deny` (kiss of death), `unsynchronised`."""
    if len(said) < 48 or said[0] & 7 != 3:
        return None                             # only a client's request is answered
    leap, stratum, name = {"deny": (3, 0, b"DENY"), "unsynchronised": (3, 16, b"INIT")}.get(
        kind, (0, 2, b"\xc6\x33\x64\x46"))
    now = time.time() + 2208988800              # NTP counts from 1900
    stamp = struct.pack("!II", int(now) & 0xffffffff, int(now % 1 * 2 ** 32))
    return struct.pack("!BBbbII", leap << 6 | said[0] & 0x38 | 4, stratum, 6, -20, 0, 0
                       ) + name + stamp + said[40:48] + stamp + stamp


def main_liars(words):
    """All liars of a fault: PORT=KIND[:ARGUMENT]."""
    kept, work = [], []
    for word in words:
        port, _, kind = word.partition("=")
        kind, _, argument = kind.partition(":")
        if kind == "backlog":
            kept.append(fill_backlog(int(port)))
        elif kind == "udpsilent":
            kept.append(open_udp(int(port)))
        elif kind == "udpecho":
            work.append((serve_udp, open_udp(int(port)), bytes))
        elif kind == "ntp":
            work.append((serve_udp, open_udp(int(port)),
                         functools.partial(ntp_reply, kind=argument)))
        else:
            LIARS[kind]                         # a wrong word ends here, not in a thread
            work.append((serve_tcp, listen_tcp(int(port)), kind, argument))
    for job in work:
        start_thread(*job)
    say_ready()


def say_ready():
    """Tell who started us that every socket is open, then work until killed."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


# -- the resolver that lies -----------------------------------------------------------------------

def question(message):
    """The name, the type and the raw question of a query."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1").lower())
        at += message[at] + 1
    kind = struct.unpack_from("!H", message, at + 1)[0]
    return ".".join(labels), kind, message[12:at + 5]


def reply(message, rcode=0, records=(), flags=0x8580):
    """An answer: header, the question again, the records."""
    _, _, asked = question(message)
    head = message[:2] + struct.pack("!5H", flags | rcode, 1, len(records), 0, 0)
    return head + asked + b"".join(records)


def address_record(address):
    """An A or AAAA record that points back to the question's name."""
    six = ":" in address
    packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
    return struct.pack("!HHHIH", 0xC00C, 28 if six else 1, 1, 60, len(packed)) + packed


def honest(message, zone=None):
    """What the zone holds."""
    name, kind, _ = question(message)
    found = (zone or ZONE).get(name)
    if found is None:
        inside = name.endswith(("lab.example", "example.com")) or name == ""
        return reply(message, 3 if inside and name else 0 if inside else 5)
    wanted = [a for a in found if kind == (28 if ":" in a else 1)]
    return reply(message, 0, [address_record(a) for a in wanted])


def other_zone():
    """The zone as an outdated resolver knows it."""
    zone = dict(ZONE)
    zone["web.lab.example"] = (TWO4, TWO6)
    return zone


def stale_zone():
    """The zone with an address where nobody lives any more."""
    zone = dict(ZONE)
    zone["web.lab.example"] = (DEAD4, DEAD6)
    return zone


SAME_FOR_ALL = {"loopback": ("127.0.0.1", "::1"), "zero": ("0.0.0.0", "::"),
                "linklocal": (None, "fe80::1")}


def lie(message, mode, tcp):
    """The answer of a mode; None for silence."""
    if mode in ("servfail", "refused", "nxdomain", "formerr", "notimp"):
        rcode = {"formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}[mode]
        return reply(message, rcode, flags=0x8180)
    if mode == "servfailaaaa":                  # one type has data, the other one errors
        return reply(message, 2) if question(message)[1] == 28 else honest(message)
    if mode == "silentaaaa":
        return None if question(message)[1] == 28 else honest(message)
    if mode == "empty":
        return reply(message)
    if mode == "garbage":
        return message[:2] + b"\xff" * 30 if not tcp else b"\xff" * 30
    if mode == "wrongid":
        return bytes((message[0] ^ 0x55, message[1])) + honest(message)[2:]
    if mode in ("truncate", "truncateonly"):
        return honest(message) if tcp else reply(message, flags=0x8780)
    if mode == "other":
        return honest(message, other_zone())
    if mode == "stale":
        return honest(message, stale_zone())
    if mode in SAME_FOR_ALL:                    # every name is this host, or good on no link
        four, six = SAME_FOR_ALL[mode]
        wanted = six if question(message)[1] == 28 else four
        return reply(message, 0, [address_record(wanted)] if wanted else [])
    if mode == "nxdomainaaaa":
        return reply(message, 3) if question(message)[1] == 28 else honest(message)
    if mode == "wrongquestion":                 # an answer to what nobody asked
        return message[:2] + honest(message)[2:].replace(b"\x03web", b"\x03wob")
    if mode == "dangling":                      # an alias of a name that is not there
        alias = struct.pack("!HHIH", 5, 1, 60, 7) + b"\x04gone\xc0\x10"
        return reply(message, 3, [b"\xc0\x0c" + alias])
    return honest(message)                      # honest, slow


def dns_udp(server, mode, argument):
    """Answer datagrams; a slow answer waits in a thread of its own."""
    while True:
        message, peer = server.recvfrom(4096)
        answer = lie(message, mode, False) if len(message) > 16 else None
        if answer is not None and mode == "slow":
            threading.Timer(float(argument), server.sendto, (answer, peer)).start()
        elif answer is not None:
            server.sendto(answer, peer)


def dns_tcp_one(conn, mode, argument):
    """Answer the queries of one connection; glibc sends two at once."""
    try:
        conn.settimeout(5)
        stream = conn.makefile("rb")
        for _ in range(10):
            length = stream.read(2)
            if len(length) < 2:
                break
            answer = lie(stream.read(struct.unpack("!H", length)[0]), mode, True)
            if answer is not None:
                if mode == "slow":
                    select.select([], [], [], float(argument))
                conn.sendall(struct.pack("!H", len(answer)) + answer)
    except OSError:
        pass
    finally:
        conn.close()


def dns_tcp(server, mode, argument):
    """Accept for ever."""
    while True:
        conn, _ = server.accept()
        start_thread(dns_tcp_one, conn, mode, argument)


def bound(address, kind):
    """A socket on port 53 of one address."""
    six = ":" in address
    server = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if six:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, 53))
    return server


def main_dns(words):
    """MODE[:ARGUMENT] ADDRESS ...; tcponly, udponly: silent (refused) on the other transport."""
    mode, _, argument = words[0].partition(":")
    kept = []                                   # a socket that nobody holds would be closed
    for address in words[1:]:
        server = bound(address, socket.SOCK_DGRAM)
        kept.append(server)
        if mode not in ("silence", "tcponly"):
            start_thread(dns_udp, server, mode, argument)
        if mode not in ("silence", "udponly", "truncateonly"):
            listener = bound(address, socket.SOCK_STREAM)
            listener.listen(20)
            start_thread(dns_tcp, listener, mode, argument)
    say_ready()


# -- the proxy -----------------------------------------------------------------------------------

PROXY_SAYS = {
    "deny": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "auth": b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=lab"
            b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "badgateway": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "badrequest": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


def split_target(head):
    """Host and port that a proxy request asks for, and whether it is a CONNECT."""
    method, where = head.split(b" ")[:2]
    where = where.decode("latin-1")
    if method != b"CONNECT":
        where = where.partition("://")[2].split("/")[0]
    host, _, port = where.rpartition(":") if ":" in where.split("]")[-1] else (where, "", "80")
    return host.strip("[]"), int(port), method == b"CONNECT"


def pump(one, other):
    """Carry bytes both ways until either side ends."""
    end = time.monotonic() + LIFE_S
    while time.monotonic() < end:
        ready = select.select([one, other], [], [], end - time.monotonic())[0]
        for source in ready:
            piece = source.recv(65536)
            if not piece:
                return
            (other if source is one else one).sendall(piece)


def proxy_one(conn, mode):
    """One proxied conversation."""
    try:
        head = hear(conn, LIFE_S)
        if not head or mode == "silent":
            wait_for_end(conn)
        elif mode in PROXY_SAYS:
            conn.sendall(PROXY_SAYS[mode])
        else:
            host, port, tunnel = split_target(head)
            addresses = ZONE.get(host, (host,))
            with socket.create_connection((addresses[0], port), 5) as far:
                if tunnel:
                    conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = head.split(b" ")[1].decode("latin-1").partition("://")[2]
                    path = "/" + path.partition("/")[2]
                    far.sendall(head.replace(head.split(b" ")[1], path.encode("latin-1"), 1))
                pump(conn, far)
    except OSError:
        pass
    finally:
        conn.close()


def main_proxy(words):
    """PORT MODE: ok, deny, auth, badgateway, badrequest, silent."""
    server, mode = listen_tcp(int(words[0])), words[1]

    def accept():
        while True:
            start_thread(proxy_one, server.accept()[0], mode)
    start_thread(accept)
    say_ready()


def main_noise(_):
    """Talk to groups that nobody joined, as every living segment does (MLD, mDNS, SSDP)."""
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
    four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    four.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    start_thread(say_ready)
    while True:
        six.sendto(b"noise", ("ff02::5555", 5555))
        four.sendto(b"noise", ("224.0.0.77", 5555))
        four.sendto(b"noise", ("192.0.2.63", 5555))
        select.select([], [], [], 0.2)


def main_holdports(words):
    """Connect until the kernel has no source port left towards ADDRESS PORT, and hold them."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as handle:
        handle.write("40000 40015")
    held = []
    for _ in range(100):
        try:
            held.append(socket.create_connection((words[0], int(words[1])), 5))
        except OSError as error:
            sys.stdout.write("ready %s %s\n" % (len(held), error))
            break
    say_ready()


def main_hold(words):
    """ADDRESS PORT COUNT: take so many places of a server and keep them."""
    held = [socket.create_connection((words[0], int(words[1])), 5) for _ in range(int(words[2]))]
    select.select(held[-1:], [], [], 0.1)       # the last is taken once it is spoken to, or soon
    say_ready()


# -- tunnels ---------------------------------------------------------------------------------------

def open_tun(name):
    """A new tunnel interface in this namespace, bare IP packets (TUNSETIFF, IFF_TUN|IFF_NO_PI)."""
    handle = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    return handle


def main_tun(words):
    """Create a tunnel interface that has carrier and leads nowhere."""
    handle = open_tun(words[0])
    start_thread(say_ready)
    while True:
        os.read(handle, 65536)


def enter(path):
    """Go over to another network namespace (setns)."""
    handle = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns " + path)
    os.close(handle)


def write_packet(handle, packet):
    """Hand a packet to an interface; one that is down loses it, as a cable would."""
    try:
        os.write(handle, packet)
    except OSError:
        pass


def main_delay(words):
    """SECONDS NAME NAMESPACE NAME: a link between two namespaces that takes its time."""
    delay_s, ends = float(words[0]), [open_tun(words[1])]
    enter(words[2])
    ends.append(open_tun(words[3]))
    start_thread(say_ready)
    queue = collections.deque()                 # (due, where to, packet): all take the same time
    while True:
        wait_s = max(0, queue[0][0] - time.monotonic()) if queue else None
        for ready in select.select(ends, [], [], wait_s)[0]:
            packet = os.read(ready, 65536)
            queue.append((time.monotonic() + delay_s, ends[ready == ends[0]], packet))
        while queue and queue[0][0] <= time.monotonic():
            _, handle, packet = queue.popleft()
            write_packet(handle, packet)


# -- a server that lives in another year: for the client it is its own clock that is wrong --------
# (libfaketime would shift the client's clock, but makes lock time-outs of Python 3.11 hang.)

def dated_one(conn, context, shift_days):
    """One page with a Date header that is far from ours."""
    try:
        conn.settimeout(LIFE_S)
        if context:
            conn = context.wrap_socket(conn, server_side=True)
        if conn.recv(65536):
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT",
                                 time.gmtime(time.time() + shift_days * 86400))
            conn.sendall(("HTTP/1.1 200 OK\r\nDate: %s\r\nServer: lab\r\nConnection: close\r\n"
                          "Content-Length: 3\r\n\r\nok\n" % date).encode())
    except (OSError, ValueError):
        pass
    finally:
        conn.close()


def dated_port(port, context, shift_days):
    """Accept for ever."""
    server = listen_tcp(port)

    def accept():
        while True:
            start_thread(dated_one, server.accept()[0], context, shift_days)
    start_thread(accept)


def main_dated(words):
    """DAYS CERTIFICATE KEY"""
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(words[1], words[2])
    dated_port(80, None, int(words[0]))
    dated_port(443, context, int(words[0]))
    say_ready()


if __name__ == "__main__":
    {"dated": main_dated, "liars": main_liars, "dns": main_dns, "proxy": main_proxy,
     "holdports": main_holdports, "hold": main_hold, "tun": main_tun,
     "noise": main_noise, "delay": main_delay}[sys.argv[1]](sys.argv[2:])

"""Room 4: real loopback sockets, children of /bin/sh; outcomes, limits, nothing left behind."""

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

import support

netdiag = support.load()
HERE = "127.0.0.1"
DNS_HOST = "127.77.0.53"


class SystemCase(unittest.TestCase):
    """A System of its own per test; descriptors and children must be gone afterwards."""

    def setUp(self):
        """Remember which descriptors were open."""
        self.before = support.open_descriptors()
        self.system = netdiag.System(support.options())

    def tearDown(self):
        """Nothing may be left behind."""
        self.system.close()
        self.assertEqual([c.pid for c in self.system.children if c.poll() is None], [])
        left = {number: what for number, what in support.open_descriptors().items()
                if number not in self.before and "/proc/" not in what}
        self.assertEqual(left, {})

    def with_options(self, **changes):
        """The System with other options."""
        self.system.close()
        self.system = netdiag.System(support.options(**changes))
        return self.system


class Commands(SystemCase):
    """Children: no shell, C locale, closed input, killed and reaped."""

    def sh(self, script, timeout_s=5.0):
        """Run a script; argv is a list, so the shell is what is run and not how."""
        return self.system.run(["sh", "-c", script], timeout_s=timeout_s)

    def test_output(self):
        """What a command prints, on both streams."""
        self.assertEqual(self.sh("echo one; echo two >&2"), ("ok", "one\ntwo\n"))

    def test_transcript(self):
        """Argv, status, time and output are kept."""
        self.sh("echo hello; exit 7")
        entry = self.system.transcript[-1]
        self.assertEqual((entry["argv"][0], entry["status"], entry["output"]),
                         ("sh", 7, "hello\n"))
        self.assertGreaterEqual(entry["ms"], 0)

    def test_surroundings(self):
        """The C locale, and nothing to read on standard input."""
        script = "echo $LC_ALL; cat; echo end"
        self.assertEqual(self.sh(script), ("ok", "C\nend\n"))

    def test_no_shell(self):
        """Arguments are not looked at by any shell."""
        evil = "$(echo evil) ; `echo evil` | *"
        self.assertEqual(self.system.run(["echo", evil])[1], evil + "\n")

    def test_bytes(self):
        """Output that is no UTF-8 is text all the same."""
        outcome, text = self.sh(r"printf '\377\376ok'")
        self.assertEqual(outcome, "ok")
        self.assertIn("ok", text)

    def test_absent(self):
        """A command that is not installed could not be asked."""
        outcome, why = self.system.run(["netdiag-no-such-command"])
        self.assertEqual(outcome, "unknown")
        self.assertIn("netdiag-no-such-command", why)

    def test_no_tools(self):
        """--no-tools starts nothing at all."""
        self.with_options(no_tools=True)
        with mock.patch.object(subprocess, "Popen", side_effect=AssertionError):
            self.assertEqual(self.sh("echo hello")[0], "unknown")
        self.assertEqual(self.system.transcript, [])

    def test_not_runnable(self):
        """A file that cannot be executed could not be asked either."""
        with support.folder() as path:
            tool = os.path.join(path, "netdiag-broken")
            with open(tool, "wb") as stream:
                stream.write(b"\0\1\2")
            os.chmod(tool, 0o755)
            with mock.patch.dict(os.environ, PATH=path):
                outcome, _ = self.system.run(["netdiag-broken"])
        self.assertIn(outcome, ("denied", "unknown"))

    def test_sbin(self):
        """sbin counts even if PATH lacks it; an empty PATH is no error."""
        with mock.patch.dict(os.environ, PATH=""):
            self.assertTrue(netdiag.find_program("sh"))
            self.assertEqual(self.sh("exit 0")[0], "ok")

    def test_killed_and_reaped(self):
        """At its limit a child is killed, and no zombie stays."""
        began = time.monotonic()
        outcome, text = self.sh("trap '' TERM INT HUP; echo $$; sleep 30 >/dev/null 2>&1", 0.4)
        self.assertEqual(outcome, "timeout")
        self.assertLess(time.monotonic() - began, 5)
        self.assertTrue(support.wait_gone(int(text)))

    def test_grandchildren_do_not_hold_us(self):
        """A grandchild that keeps the pipe open does not keep us waiting, nor survive us."""
        began = time.monotonic()
        outcome, text = self.sh("sleep 5 & echo $!; wait", 0.4)
        self.assertLess(time.monotonic() - began, 3.5)
        self.assertEqual(outcome, "timeout")
        self.assertTrue(support.wait_gone(int(text), 1), "the grandchild still runs")

    def test_background_output(self):
        """A command that leaves a background process behind has ended all the same."""
        began = time.monotonic()
        self.sh("sleep 5 & echo done", 1.0)
        self.assertLess(time.monotonic() - began, 4)

    def test_output_limit(self):
        """Output that is cut is no answer; a long one is whole, but not in the transcript."""
        outcome, text = self.sh("yes netdiag | head -c 3000000", 20)
        self.assertEqual((outcome, text[:20]), ("unknown", "sh: it prints more t"))
        outcome, text = self.sh("yes netdiag | head -c 300000", 20)
        self.assertEqual((outcome, len(text)), ("ok", 300000))
        kept = self.system.transcript[-1]["output"]
        self.assertLessEqual(len(kept), netdiag.OUTPUT_LIMIT)

    def test_memory_limit(self):
        """A command that never stops talking does not fill the memory."""
        script = ("import resource, sys; sys.path.insert(0, sys.argv[1]); import support;"
                  "n = support.load(); s = n.System(support.options());"
                  "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
                  "began = peak(); print(s.run(['yes'], timeout_s=0.7)[0], peak() - began)")
        out = subprocess.check_output([sys.executable, "-c", script, support.TESTS])
        outcome, grown_kib = out.decode().split()
        self.assertIn(outcome, ("timeout", "unknown"))
        self.assertLess(int(grown_kib), 20000)

    def test_close_ends_children(self):
        """close() kills and reaps what still runs."""
        thread = threading.Thread(target=self.sh, args=("exec sleep 20", 20))
        thread.start()
        until = time.monotonic() + 5
        while not self.system.children and time.monotonic() < until:
            time.sleep(0.01)
        pids = [child.pid for child in self.system.children]
        self.assertEqual(len(pids), 1)
        self.system.close()
        thread.join(5)
        self.assertFalse(thread.is_alive())
        self.assertTrue(support.wait_gone(pids[0]))


class Files(SystemCase):
    """Reading and writing."""

    def test_read(self):
        """A file, an absent one, a folder, one without rights."""
        with support.folder() as path:
            name = os.path.join(path, "file")
            with open(name, "wb") as stream:
                stream.write(b"one\n\xff")
            self.assertEqual(self.system.read(name), ("ok", u"one\n\ufffd"))
            self.assertEqual(self.system.read(name + "x")[0], "unknown")
            self.assertEqual(self.system.read(path)[0], "unknown")
            self.assertIn("absent", self.system.read(name + "x")[1])
        with mock.patch("builtins.open", side_effect=PermissionError(13, "no")):
            self.assertEqual(self.system.read("/etc/hosts")[0], "denied")

    def test_endless_file(self):
        """At most FILE_LIMIT bytes of an endless file."""
        outcome, text = self.system.read("/dev/zero")
        self.assertEqual((outcome, len(text)), ("ok", netdiag.FILE_LIMIT))

    def test_save(self):
        """A report is for its owner only, also where the file was there before."""
        with support.folder() as path:
            name = os.path.join(path, "report")
            with open(name, "w") as stream:
                stream.write("something longer than the report")
            os.chmod(name, 0o644)
            self.system.save(name, "report\n")
            self.assertEqual(stat.S_IMODE(os.stat(name).st_mode), 0o600)
            with open(name) as stream:
                self.assertEqual(stream.read(), "report\n")

    def test_save_nowhere(self):
        """A full disk and a missing folder: what stood in the way, as one clear line."""
        for name in ("/dev/full", "/no/such/folder/report"):
            if name == "/dev/full" and (not os.path.exists(name) or os.getuid() == 0):
                continue                          # root could change the mode of the device
            try:
                problem = self.system.save(name, "x" * 100000)
            except netdiag.Usage as error:
                problem = str(error)
            self.assertRegex(problem, r"\A[ -~]*E[A-Z]+[ -~]*\Z")

    def test_targets(self):
        """One target a line; # begins a comment; blank lines are nothing."""
        with support.folder() as path:
            name = os.path.join(path, "targets")
            with open(name, "w", encoding="utf-8-sig") as stream:      # as Windows saves it
                stream.write("# all\nweb.example:443  # the web\n\n  192.0.2.1 \r\n")
            self.assertEqual(self.system.target_lines(name), ["web.example:443", "192.0.2.1"])
            with self.assertRaises(netdiag.Usage):
                self.system.target_lines(name + "x")

    def test_environment(self):
        """Only the wanted variables that are set."""
        with mock.patch.dict(os.environ, NETDIAG_ONE="1", NETDIAG_TWO=""):
            found = self.system.environment("NETDIAG_ONE", "NETDIAG_TWO", "NETDIAG_THREE")
        self.assertEqual(found, ("ok", {"NETDIAG_ONE": "1"}))

    def test_clock(self):
        """Seconds since 1970, and ISO 8601 with an offset."""
        outcome, value = self.system.clock()
        self.assertEqual(outcome, "ok")
        self.assertAlmostEqual(value["epoch"], time.time(), delta=30)
        self.assertRegex(value["local"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")

    def test_identity(self):
        """Who runs this, without control characters."""
        outcome, value = self.system.identity()
        self.assertEqual((outcome, value["root"]), ("ok", os.getuid() == 0))
        self.assertEqual(value["python"], "%d.%d.%d" % sys.version_info[:3])


class Connections(SystemCase):
    """A knock and what becomes of it."""

    def settle(self, server, listen_s=0.3):
        """Knock on a server and wait for what it does."""
        outcome, raw = self.system.knock(server.host, server.port)
        self.assertEqual((outcome, raw["state"], raw["errno"]), ("ok", "open", None))
        return self.system.settle(server.host, server.port, listen_s)

    def test_after(self):
        """Silence, a greeting, a close and a reset are told apart."""
        for serve, after in ((support.silent, "open"), (support.says(b"SSH-2.0-x\r\n"), "data"),
                             (support.closes, "closed"), (support.resets, "reset")):
            with support.Server(serve) as server:
                outcome, facts = self.settle(server)
            self.assertEqual((outcome, facts["after"]), ("ok", after))
            self.assertEqual(facts["state"], "open")

    def test_greeting(self):
        """The greeting's words, its protocol, and whether it is a refusal."""
        with support.Server(support.says(b"554 5.7.1 \x1b[31mno\r\n")) as server:
            facts = self.settle(server)[1]
        self.assertEqual((facts["speaks"], facts["refuses"]), ("smtp", "service.error"))
        self.assertRegex(facts["greeting"], r"\A[ -~]+\Z")

    def test_refusals(self):
        """Greetings in which the service says no, and some in which it does not."""
        for data, code in (
                (b"421 too busy\r\n", "service.error"), (b"* BYE full\r\n", "service.error"),
                (b"-ERR down\r\n", "service.error"), (b"220 fine\r\n", None),
                (b"E\0\0\0\xff\x6a\x04Host 'x' is not allowed", "service.error"),
                (b"Not allowed at this time\r\n", "ssh.throttled"),
                (b"Exceeded MaxStartups\r\n", "ssh.throttled"), (b"SSH-2.0-x\r\n", None)):
            with support.Server(support.says(data)) as server:
                self.assertEqual(self.settle(server)[1]["refuses"], code, data)

    def test_greeting_is_not_waited_out(self):
        """A whole greeting ends the waiting; half a line does not."""
        sent = threading.Event()

        def serve(connection):
            connection.sendall(b"220 ")
            sent.wait(10)
            connection.sendall(b"x ESMTP\r\n")
            connection.recv(100)
        with support.Server(serve) as server:
            threading.Timer(0.2, sent.set).start()
            began = time.monotonic()
            facts = self.settle(server, 8.0)[1]
            self.assertLess(time.monotonic() - began, 5)
        self.assertIn("ESMTP", facts["greeting"])

    def test_flood(self):
        """A server that never stops is read up to a limit."""
        def serve(connection):
            while True:
                connection.sendall(b"x" * 65536)
        with support.Server(serve) as server:
            facts = self.settle(server, 5.0)[1]
        self.assertEqual(facts["after"], "data")
        self.assertLess(len(facts["greeting"]), 400)

    def test_refused(self):
        """A closed port refuses with a reset: no ICMP is in the error queue."""
        for host in [HERE] + (["::1"] if support.has_ipv6() else []):
            port = support.closed_port(host=host)
            outcome, raw = self.system.knock(host, port)
            self.assertEqual((outcome, raw["errno"]), ("refused", "ECONNREFUSED"))
            outcome, facts = self.system.settle(host, port, 0.3)
            self.assertEqual((outcome, facts["state"], facts["errno"], facts["icmp"]),
                             ("refused", "error", "ECONNREFUSED", []))
            self.assertEqual(self.system.reset_by_us(host, port), ("ok", {"by_us": True}))

    def test_ipv6(self):
        """The same over IPv6."""
        support.need(support.has_ipv6(), "no IPv6 on loopback")
        with support.Server(support.closes, "::1") as server:
            outcome, facts = self.settle(server)
        self.assertEqual((outcome, facts["after"], facts["local"]), ("ok", "closed", "::1"))

    def test_silence(self):
        """A full accept queue is silence: the knock ends in time and says timeout."""
        with socket.socket() as sock, socket.socket() as one, socket.socket() as two:
            sock.bind((HERE, 0))
            sock.listen(0)
            for client in (one, two):
                client.setblocking(False)
                client.connect_ex(sock.getsockname())
            port = sock.getsockname()[1]
            began = time.monotonic()
            self.with_options(timeout_s=1.3)
            outcome, raw = self.system.knock(HERE, port)
            self.assertEqual((outcome, raw["state"]), ("timeout", "trying"))
            outcome, facts = self.system.settle(HERE, port, 0.3)
            self.assertEqual((outcome, facts["state"], facts["icmp"]), ("timeout", "silent", []))
            self.assertGreaterEqual(facts["info"]["total_retrans"], 1)
            self.assertLess(time.monotonic() - began, 4)

    def test_no_knock(self):
        """Nothing can be said of a connection that was never begun."""
        self.assertEqual(self.system.settle(HERE, 1, 0.1)[0], "unknown")

    def test_foreign_source(self):
        """An address that is not ours: denied before any packet."""
        self.with_options(source="192.0.2.99")
        outcome, raw = self.system.knock(HERE, 9)
        self.assertEqual((outcome, raw["errno"]), ("denied", "EADDRNOTAVAIL"))

    def test_no_descriptors(self):
        """EMFILE is told as such."""
        with mock.patch.object(socket, "socket", side_effect=OSError(24, "Too many open files")):
            outcome, raw = self.system.knock(HERE, 9)
        self.assertEqual((outcome, raw["errno"]), ("denied", "EMFILE"))

    def test_packets_are_counted(self):
        """The report states how many packets it sent."""
        with support.Server(support.closes) as server:
            self.settle(server)
        self.assertGreaterEqual(self.system.packets, 1)


class Datagrams(SystemCase):
    """UDP and the error queue."""

    def test_closed(self):
        """A closed port of loopback: its ICMP error, and who sent it."""
        for host, kind in [(HERE, (3, 3))] + ([("::1", (1, 4))] if support.has_ipv6() else []):
            port = support.closed_port(socket.SOCK_DGRAM, host)
            outcome, facts = self.system.datagram(host, port, b"hello")
            self.assertEqual((outcome, facts["error"]), ("refused", "ECONNREFUSED"))
            error = facts["icmp"][0]
            self.assertEqual((error["type"], error["code"]), kind)
            self.assertEqual((error["from"], error["origin"]), (host, "icmp"))

    def test_silent(self):
        """Silence: asked twice, and no longer than told."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, 0))
            began = time.monotonic()
            outcome, facts = self.system.datagram(HERE, sock.getsockname()[1], b"x", 0.3)
            self.assertLess(time.monotonic() - began, 3)
        self.assertEqual((outcome, facts["reply"], facts["sent"]), ("timeout", None, 2))

    def test_reply(self):
        """A reply, which its parser makes printable."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, 0))
            thread = threading.Thread(target=lambda: sock.sendto(b"\x1b]0;hi\x07",
                                                                 sock.recvfrom(100)[1]))
            thread.start()
            outcome, facts = self.system.datagram(HERE, sock.getsockname()[1], b"x")
            thread.join(5)
        self.assertEqual(outcome, "ok")
        self.assertRegex(netdiag.parse_datagram(facts)["reply"], r"\A[ -~]+\Z")

    def test_echo(self):
        """Loopback answers an echo, where we may send one."""
        outcome, facts = self.system.echo(HERE)
        if outcome != "denied":
            self.assertEqual((outcome, facts["reached"], facts["received"]), ("ok", True, 1))

    def test_trace(self):
        """One hop to ourselves: UDP finds the end, TCP says open or refused."""
        outcome, facts = self.system.trace(HERE, 33434, "udp")
        self.assertEqual((outcome, facts["end"]["ttl"], facts["end"]["kind"]), ("ok", 1, "reply"))
        self.assertEqual(facts["end"]["address"], HERE)
        with support.Server(support.silent) as server:
            self.assertEqual(self.system.trace(HERE, server.port, "tcp")[1]["end"]["kind"], "open")
        closed = self.system.trace(HERE, support.closed_port(), "tcp")[1]
        self.assertEqual(closed["end"]["kind"], "refused")


def dns_reply(packet, flags=0x8180, ident=None, rcode=0):
    """A reply to a question, with one address where there is no error."""
    rows = b"" if rcode or flags & 0x200 else b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc0\0\2\7"
    head = struct.pack("!6H", 0, flags | rcode, 1, 1 if rows else 0, 0, 0)
    end = 12
    while packet[end]:
        end += packet[end] + 1
    head = (ident or packet[:2]) + head[2:]
    return head + packet[12:end + 5] + rows


class Resolver:
    """A resolver on a loopback address: replies(packet) gives what it sends back."""

    def __init__(self, replies, over_tcp=None):
        self.replies = replies
        self.seen = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((DNS_HOST, 53))
        self.tcp = support.Server(self.serve_tcp, DNS_HOST, 53) if over_tcp else None
        self.over_tcp = over_tcp
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        """Answer until an empty datagram comes."""
        while True:
            packet, client = self.sock.recvfrom(4096)
            if not packet:
                return
            self.seen.append(packet)
            for data in self.replies(packet):
                self.sock.sendto(data, client)

    def serve_tcp(self, connection):
        """One question over TCP."""
        packet = connection.recv(4096)[2:]
        data = self.over_tcp(packet)
        connection.sendall(struct.pack("!H", len(data)) + data)
        connection.recv(10)

    def __enter__(self):
        self.thread.start()
        if self.tcp:
            self.tcp.__enter__()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (DNS_HOST, 53))
        self.thread.join(10)
        self.sock.close()
        if self.tcp:
            self.tcp.__exit__()


class Names(SystemCase):
    """The system's look-up, and direct questions to a resolver."""

    def ask(self, timeout_s=2.4):
        """One question to the test's resolver, as a probe would ask it."""
        outcome, raw = self.system.query(DNS_HOST, "web.example", "A", timeout_s)
        return outcome, netdiag.parse_dns_exchange(raw) if outcome == "ok" else raw

    def need_port_53(self):
        """Some tests listen on port 53 of a loopback address."""
        support.need(support.may_bind_low(), "may not listen on port 53 of " + DNS_HOST)

    def test_answer(self):
        """One question, one answer, one packet."""
        self.need_port_53()
        with Resolver(lambda packet: [dns_reply(packet)]) as resolver:
            outcome, facts = self.ask()
        self.assertEqual((outcome, facts["rcode"], facts["addresses"]),
                         ("ok", "NOERROR", ["192.0.2.7"]))
        self.assertEqual(len(resolver.seen), 1)

    def test_strays(self):
        """A reply with another id is not believed; the right one after it is."""
        self.need_port_53()
        with Resolver(lambda packet: [dns_reply(packet, ident=b"\0\0"), b"", dns_reply(packet)]):
            outcome, facts = self.ask()
        self.assertEqual((outcome, facts["addresses"]), ("ok", ["192.0.2.7"]))
        self.assertGreaterEqual(facts["strays"], 1)

    def test_only_strays(self):
        """Somebody answers, but never this question: that is an answer, and a malformed one."""
        self.need_port_53()
        with Resolver(lambda packet: [b"hello"]):
            outcome, facts = self.ask(0.6)
        self.assertEqual((outcome, facts["rcode"]), ("ok", "MALFORMED"))

    def test_truncated(self):
        """A truncated answer is asked again over TCP."""
        self.need_port_53()
        with Resolver(lambda packet: [dns_reply(packet, 0x8380)], dns_reply):
            outcome, facts = self.ask()
        self.assertEqual((outcome, facts["over"], facts["addresses"]),
                         ("ok", "tcp", ["192.0.2.7"]))

    def test_lost_datagram(self):
        """One lost datagram does not condemn a resolver."""
        self.need_port_53()
        seen = []

        def replies(packet):
            seen.append(packet)
            return [] if len(seen) == 1 else [dns_reply(packet)]
        with Resolver(replies):
            outcome, facts = self.ask()
        self.assertEqual((outcome, facts["rcode"]), ("ok", "NOERROR"))

    def test_silence(self):
        """A silent resolver: several datagrams, then timeout."""
        self.need_port_53()
        with Resolver(lambda packet: []) as resolver:
            outcome, raw = self.ask(0.6)
        self.assertEqual((outcome, raw["icmp"]), ("timeout", []))
        self.assertGreater(len(resolver.seen), 1)

    def test_closed(self):
        """Nobody on port 53: refused, by ICMP from the address itself."""
        self.need_port_53()
        outcome, raw = self.ask()
        self.assertEqual((outcome, raw["icmp"][0]["from"]), ("refused", DNS_HOST))

    def test_lookup(self):
        """The system's own answer, and its errors by name."""
        rows = [(2, 1, 6, "", ("192.0.2.7", 0)), (2, 1, 6, "", ("192.0.2.7", 0))]
        with mock.patch.object(socket, "getaddrinfo", return_value=rows):
            self.assertEqual(self.system.resolve("web.example", 0), ("ok", ["192.0.2.7"]))
        error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with mock.patch.object(socket, "getaddrinfo", side_effect=error):
            outcome, raw = self.system.resolve("web.example", 0)
        self.assertEqual((outcome, raw["error"]), ("refused", "EAI_NONAME"))

    def test_lookup_hangs(self):
        """A look-up that never ends is a timeout, in time."""
        release = threading.Event()
        with mock.patch.object(socket, "getaddrinfo",
                               side_effect=lambda *_: [] if release.wait(20) else []):
            began = time.monotonic()
            outcome, raw = self.system.resolve("web.example", 0, 0.3)
            self.assertLess(time.monotonic() - began, 3)
            release.set()
        self.assertEqual((outcome, raw["error"]), ("timeout", "ETIMEDOUT"))

    def test_absurd_names(self):
        """Names that cannot be encoded are refused and do not raise."""
        for name in ("x" * 64 + ".example", u"\udcff.example", "a..b"):
            with mock.patch.object(socket, "getaddrinfo",
                                   side_effect=UnicodeError("label empty or too long")):
                self.assertEqual(self.system.resolve(name, 0)[0], "refused")


class Kernel(SystemCase):
    """rtnetlink, without any command."""

    def test_loopback(self):
        """The loopback interface with its address."""
        question = support.questions("interfaces", "target/A ok")[0]
        source = [s for s in question.sources if s.verb == "netlink"][0]
        outcome, value = netdiag.put(source, self.system, None)
        self.assertEqual(outcome, "ok")
        loopback = [r for r in value["interfaces"] if r["name"] == "lo"][0]
        self.assertTrue(loopback["loopback"])
        self.assertIn("127.0.0.1/8", loopback["inet"])

    def test_route_to_ourselves(self):
        """The kernel's decision for a loopback address, by both ways of asking."""
        for source in netdiag.route_sources(HERE, None):
            outcome, value = netdiag.put(source, self.system, None)
            if outcome != "unknown":
                self.assertEqual((outcome, value["dev"], value["error"]), ("ok", "lo", None))

    def test_every_host_probe(self):
        """What every probe of this host brings is ok or unknown, and never a crash."""
        done, complete = netdiag.gather(
            [p for p in netdiag.PROBES.values() if p.scope == "host"], {}, self.system,
            support.options(), self.system.monotonic() + 30)
        self.assertTrue(complete)
        for rows in done.values():
            for row in rows:
                self.assertIn(row.outcome, ("ok", "unknown", "denied"), row)
                self.assertFalse([t for t in row.tried if "crashed" in t[1]], row)


class Manners(SystemCase):
    """Conversations in turns: STARTTLS, SOCKS, the key exchange of ssh."""

    def test_starttls_not_offered(self):
        """A mail server without STARTTLS is no fault: its words are kept, no handshake is made."""
        turns = (False, b"220 x ESMTP\r\n"), (True, b"250-x\r\n250 SIZE\r\n")
        with support.Server(support.speaks(*turns)) as server:
            outcome, facts = self.system.tls(server.host, server.port, None, True,
                                             netdiag.STARTTLS["smtp"], 2.0)
        self.assertEqual((outcome, facts["ended"]), ("ok", "not_offered"))
        self.assertIn("250 SIZE", facts["error"])

    def test_starttls_silent(self):
        """A server that never greets is bounded in time."""
        began = time.monotonic()
        with support.Server(support.silent) as server:
            _, facts = self.system.tls(server.host, server.port, None, True,
                                       netdiag.STARTTLS["imap"], 0.4)
        self.assertEqual(facts["ended"], "not_offered")
        self.assertLess(time.monotonic() - began, 4)

    def test_socks(self):
        """A proxy that agrees, one that wants a login, one that may not, one that is not there."""
        yes, no = (True, b"\5\0"), (True, b"\5\2\0\1\0\0\0\0\0\0")
        for turns, status in (((yes, (True, b"\5\0\0\1\0\0\0\0\0\0")), 200),
                              (((True, b"\5\xff"),), 407), ((yes, no), 403)):
            with support.Server(support.speaks(*turns)) as server:
                proxy = support.proxy_at(server.host, server.port, "socks5")
                outcome, raw = self.system.socks(proxy, "h.example", 443, timeout_s=2.0)
            self.assertEqual((outcome, netdiag.parse_socks(raw)["status"]), ("ok", status))
        proxy = support.proxy_at(HERE, support.closed_port(), "socks5")
        outcome, raw = self.system.socks(proxy, "h.example", 443)
        self.assertEqual((outcome, raw["stage"]), ("refused", "connect"))

    def test_login_stays_inside(self):
        """The password of a proxy goes to the proxy, and nowhere else."""
        heard = []
        serve = support.answers(b"HTTP/1.1 200 OK\r\n\r\n", heard)
        url = {"x_proxy": "http://me:s%65cret@proxy.example:3128"}
        with mock.patch.dict(os.environ, url), support.Server(serve) as server:
            _, raw = self.system.tunnel(support.proxy_at(server.host, server.port), "h.example", 443)
        self.assertIn(b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n", heard[0])
        self.assertNotIn("secret", repr(raw))

    def test_ssh_keys(self):
        """Banner, lists and host key of a server that speaks in two turns."""
        from test_3_wire import Ssh
        key = netdiag.ssh_packet(b"\x1f" + netdiag.counted(Ssh.KEY, "!I"))
        with support.Server(support.speaks((False, Ssh().kexinit()), (True, key))) as server:
            outcome, raw = self.system.ssh_keys(server.host, server.port, ["ssh-rsa"], 0x48, 2.0)
        facts = netdiag.parse_ssh_exchange(raw)
        self.assertEqual((outcome, facts["key_type"], facts["ended"]), ("ok", "ssh-ed25519", "done"))

    def test_ssh_without_keys(self):
        """A server that is no sshd, and one that hangs up behind its banner."""
        for serve, ended in ((support.answers(b"HTTP/1.1 400 no\r\n\r\n"), "closed"),
                             (support.answers(b"SSH-2.0-x\r\n"), "closed")):
            with support.Server(serve) as server:
                _, raw = self.system.ssh_keys(server.host, server.port, [], None, 1.0)
            facts = netdiag.parse_ssh_exchange(raw)
            self.assertEqual((facts["key"], facts["ended"]), (None, ended))


class Talks(SystemCase):
    """HTTP and proxies."""

    def http(self, server, timeout_s=1.0):
        """One request to a server, parsed."""
        request = netdiag.build_http_request("GET", "/", server.host, server.port, False)
        outcome, raw = self.system.http(server.host, server.port, False, None, request,
                                        timeout_s=timeout_s)
        return outcome, netdiag.parse_http_exchange(raw)

    def test_status(self):
        """A status line and the time of the first byte."""
        with support.Server(support.answers(b"HTTP/1.1 503 No\r\nServer: x\r\n\r\n")) as server:
            outcome, facts = self.http(server)
        self.assertEqual((outcome, facts["status"], facts["stage"]), ("ok", 503, "http"))
        self.assertIsNotNone(facts["first_byte_ms"])

    def test_no_status(self):
        """Silence, a close and a reset in answer to a request."""
        for serve, ended in ((support.silent, "silent"), (support.answers(b""), "closed"),
                             (support.resets_later, "reset")):
            with support.Server(serve) as server:
                outcome, facts = self.http(server, 0.4)
            self.assertEqual((outcome, facts["status"], facts["ended"]), ("ok", None, ended))

    def test_refused(self):
        """No connection is no answer of HTTP."""
        port = support.closed_port()
        outcome, raw = self.system.http(HERE, port, False, None, b"x")
        self.assertEqual((outcome, raw["stage"], raw["error"]),
                         ("refused", "connect", "ECONNREFUSED"))

    def test_bounded(self):
        """Endless heads are read up to a limit, and drips only for so long."""
        def flood(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X: y\r\n" * 4096)

        def drip(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.05):
                connection.sendall(b"X")
        stop = threading.Event()
        for serve in (flood, drip):
            stop.clear()
            with support.Server(serve) as server:
                began = time.monotonic()
                outcome, facts = self.http(server, 0.8)
                self.assertLess(time.monotonic() - began, 4)
                stop.set()
            self.assertEqual((outcome, facts["status"]), ("ok", 200))

    def test_tunnel(self):
        """A proxy that opens a tunnel, one that wants a login, one that is not there."""
        for data, status in ((b"HTTP/1.1 200 OK\r\n\r\n", 200),
                             (b"HTTP/1.1 407 Login\r\n\r\n", 407)):
            with support.Server(support.answers(data)) as server:
                outcome, raw = self.system.tunnel(
                    support.proxy_at(server.host, server.port), "web.example", 443)
            self.assertEqual(outcome, "ok")
            self.assertEqual(netdiag.parse_http_exchange(raw)["status"], status)
        outcome, raw = self.system.tunnel(
            support.proxy_at(HERE, support.closed_port()), "web.example", 443)
        self.assertEqual((outcome, raw["stage"]), ("refused", "connect"))

    def test_connect_line(self):
        """CONNECT names host and port, brackets around IPv6, and carries no secret of ours."""
        seen = []
        serve = support.answers(b"HTTP/1.1 200 OK\r\n\r\n", seen)
        for host, line in (("web.example", b"CONNECT web.example:443 HTTP/1.1\r\n"),
                           ("2001:db8::1", b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n")):
            with support.Server(serve) as server:
                self.system.tunnel(support.proxy_at(server.host, server.port), host, 443)
            self.assertTrue(seen[-1].startswith(line), seen[-1])


class Tls(SystemCase):
    """Handshakes with the ssl module, and clear ClientHellos."""

    def setUp(self):
        """openssl makes the certificate."""
        support.need(shutil.which("openssl"), "no openssl command")
        super().setUp()

    def handshake(self, server, **named):
        """One handshake, parsed."""
        outcome, raw = self.system.tls(server.host, server.port, "web.example",
                                       timeout_s=named.pop("timeout_s", 3.0), **named)
        return outcome, netdiag.parse_handshake(raw)

    def test_certificates(self):
        """Self-signed: untrusted; with its CA file: done; not asked: done with the chain."""
        with support.folder() as path:
            serve, certificate = support.tls_server(path)
            with support.Server(serve) as server:
                outcome, facts = self.handshake(server)
                self.assertEqual((outcome, facts["ended"]), ("ok", "untrusted"))
                self.assertIn(facts["verify_code"], (18, None))        # None on Python 3.6
                facts = self.handshake(server, verify=False)[1]
                self.assertEqual((facts["ended"], len(facts["chain"])), ("done", 1))
                self.with_options(cafile=certificate)
                facts = self.handshake(server)[1]
        self.assertEqual((facts["ended"], facts["error"]), ("done", None))
        self.assertTrue(netdiag.name_matches(facts["chain"][0], "web.example"))
        self.assertIn(facts["version"], ("TLSv1.2", "TLSv1.3"))

    def test_name_is_not_openssls_matter(self):
        """Another name is no failed handshake: a rule judges it."""
        with support.folder() as path:
            serve, certificate = support.tls_server(path)
            self.with_options(cafile=certificate)
            with support.Server(serve) as server:
                outcome, raw = self.system.tls(server.host, server.port, "other.example")
        self.assertEqual((outcome, raw["ended"]), ("ok", "done"))

    def test_endings(self):
        """Plain text, a close, a reset and silence are told apart."""
        for serve, ended in ((support.says(b"SSH-2.0-x\r\n"), "not_tls"),
                             (support.answers(b"HTTP/1.1 400 Bad\r\n\r\n"), "not_tls"),
                             (support.answers(b""), "closed"),
                             (support.resets_later, "reset"), (support.silent, "stalled")):
            with support.Server(serve) as server:
                outcome, facts = self.handshake(server, timeout_s=0.5)
            self.assertEqual((outcome, facts["ended"]), ("ok", ended), facts["error"])
            self.assertEqual(facts["chain"], [])

    def test_refused(self):
        """No connection, no handshake."""
        outcome, raw = self.system.tls(HERE, support.closed_port(), "web.example")
        self.assertEqual((outcome, raw["ended"]), ("refused", "no_connection"))

    def test_hello(self):
        """A clear ClientHello brings the certificate of a real server."""
        with support.folder() as path:
            serve, _ = support.tls_server(path)
            with support.Server(serve) as server:
                outcome, raw = self.system.hello(server.host, server.port, "web.example")
        facts = netdiag.parse_tls_flight(raw)
        self.assertEqual((outcome, facts["version"], len(facts["chain"])), ("ok", "TLSv1.2", 1))

    def test_https(self):
        """One request inside TLS."""
        with support.folder() as path:
            serve, _ = support.tls_server(path)
            request = netdiag.build_http_request("HEAD", "/", "web.example", 443, True)
            with support.Server(serve) as server:
                outcome, raw = self.system.http(server.host, server.port, True, "web.example",
                                                request)
        self.assertEqual((outcome, netdiag.parse_http_exchange(raw)["status"]), ("ok", 200))

    def test_no_ssl(self):
        """A Python without ssl could not ask."""
        with mock.patch.dict(sys.modules, ssl=None):
            self.assertEqual(self.system.tls(HERE, 9, "web.example")[0], "unknown")

    def test_cafile(self):
        """A CA file that is absent or holds no certificate is told before anything runs."""
        with support.folder() as path:
            empty = os.path.join(path, "empty.pem")
            with open(empty, "w"):
                pass
            self.assertTrue(self.system.check_cafile(empty))
            self.assertTrue(self.system.check_cafile(os.path.join(path, "absent")))
            certificate, _ = support.make_certificate(path)
            self.assertIsNone(self.system.check_cafile(certificate))


if __name__ == "__main__":
    unittest.main()

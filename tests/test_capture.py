"""Mode `capture` in the lab's network, at both ends: each port of one server has its own fault.

One lab, and all captures side by side; every row says where it is recorded, and what must come out.
"""

import collections
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))

import support                                                     # noqa: E402
import faults                                                      # noqa: E402
import run                                                         # noqa: E402
import topology                                                    # noqa: E402

netdiag = support.load()
CLIENT, SERVER, NATTED = "192.0.2.10", "203.0.113.10", "198.51.100.1"
FOR_S = 6

SERVE = """
import socket, sys, threading
def serve(listener):
    while True:
        connection = listener.accept()[0]
        if connection.recv(100):
            connection.sendall(b"x" * (5000 if connection.getsockname()[1] == 8006 else 50))
        kept.append(connection)
kept = []
for port in map(int, sys.argv[1:]):
    listener = socket.socket()
    listener.bind(("203.0.113.10", port))
    listener.listen(0 if port == 8012 else 5)
    kept.append(listener)
    if port != 8012:
        threading.Thread(target=serve, args=(listener,)).start()
print("serving", flush=True)
threading.Event().wait()
"""
TALK = """
import socket, sys, threading
def talk(port):
    try:
        with socket.create_connection(("203.0.113.10", port), 9) as sock:
            sock.sendall(b"hello")
            while sock.recv(9999):
                pass
    except OSError:
        pass
for port in map(int, sys.argv[1:]):
    threading.Thread(target=talk, args=(port,), daemon=True).start()
threading.Event().wait(9)
"""
LISTENING = (8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008, 8009, 8011, 8012)
BREAK = (
    faults.rules("transit", "forward",
                 "tcp dport 8001 drop", "tcp sport 8002 drop", "ip saddr 203.0.113.10 icmp type 3 drop",
                 "tcp dport 8005 ct state established reject with tcp reset",
                 "tcp sport 8006 meta length > 900 drop",
                 "tcp dport 8011 tcp flags & syn == 0 drop"),
    faults.rules("server", "input", "tcp dport 8003 drop",
                 "tcp dport 8004 reject with icmp type admin-prohibited"),
    faults.rules("client", "input", "tcp sport 8008 drop"),
    faults.rules("gateway", "forward", "tcp dport 8013 reject with icmp type admin-prohibited"),
    faults.rules("sgw", "forward", "tcp dport 8014 reject with icmp type admin-prohibited"),
    faults.nat("gateway", "postrouting", "tcp dport 8007 masquerade"))

# where it is recorded, port, options; the code, the first suspects that are right, its flow's state
Row = collections.namedtuple("Row", "node port options code where state")
ROWS = (
    Row("server", 8001, ("--client", CLIENT), "oneway.forward", "transit client_network", None),
    Row("server", 8002, (), "oneway.reverse", "server_network transit", "unconfirmed"),
    Row("server", 8003, (), "firewall.local", "server", "silent"),
    Row("server", 8004, (), "tcp.rejected", "server", "rejected"),
    Row("server", 8006, (), "path.mtu_blackhole", "transit server_network", "established"),
    Row("server", 8007, ("--client", CLIENT), "oneway.forward", "transit client_network",
        "established"),
    Row("server", 8009, (), "ok", "", "established"),
    Row("server", 8010, (), "tcp.refused", "service server", "refused"),
    Row("server", 8012, (), "listen.backlog_full", "server service", None),
    Row("client", 8001, (), "path.dead_end", "transit server_network", "silent"),
    Row("client", 8002, (), "path.dead_end", "transit server_network", "silent"),
    Row("client", 8004, (), "path.dead_end", "transit server_network", "silent"),
    Row("client", 8005, (), "tcp.reset", "transit", "reset"),
    Row("client", 8006, (), "path.mtu_blackhole", "transit server_network", "established"),
    Row("client", 8008, (), "firewall.local", "client", "unconfirmed"),
    Row("client", 8013, (), "tcp.rejected", "client_network", "rejected"),
    Row("client", 8014, (), "tcp.rejected", "server_network", "rejected"),
    Row("client", 8011, (), "oneway.forward", "server_network transit", "established"))
TARGETS = {8008: "firewall.local", 8009: "ok", 8010: "tcp.refused", 8005: "tcp.reset"}


class EndsTest(unittest.TestCase):
    """One network, broken in many ways at once."""

    @classmethod
    def setUpClass(cls):
        """Build it, record at both ends while the client talks to every port, keep the reports."""
        support.need(not run.missing(), run.missing())
        cls.lab = topology.Lab()
        lab = cls.lab.__enter__()
        cls.folder = lab.folder
        for node, script in BREAK:
            lab.sh(node, script)
        lab.serve("server", [sys.executable, "-c", SERVE] + list(map(str, LISTENING)), "serving")
        children = [(row, cls.capture(row.node, "--port", str(row.port), "--for", "%ds" % FOR_S,
                                      *row.options)) for row in ROWS]
        for node in ("server", "client"):
            cls.await_sockets(node, sum(row.node == node for row in ROWS))
        ports = sorted({str(row.port) for row in ROWS}) + ["8012"] * 3
        talk = lab.popen("client", [sys.executable, "-c", TALK] + ports, stdin=subprocess.DEVNULL)
        cls.documents = {row: cls.finish(child) for row, child in children}
        talk.wait(20)
        targets = [(port, cls.capture("client", "tcp://%s:%d" % (SERVER, port))) for port in TARGETS]
        cls.targets = {port: cls.finish(child) for port, child in targets}

    @classmethod
    def tearDownClass(cls):
        """Whatever happened, no namespace stays."""
        cls.lab.__exit__()

    @classmethod
    def capture(cls, node, *words):
        """A capture that runs in a node; its pcap file is named after it."""
        path = os.path.join(cls.folder, "%s-%s.pcap" % (node, words[1:2] and words[1]))
        return cls.lab.popen(node, [sys.executable, "-W", "error", "-B", support.PROGRAM, "capture",
                                    "--json", "--write", path] + list(words),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @classmethod
    def await_sockets(cls, node, count):
        """Until so many packet sockets are open in a node."""
        until = time.monotonic() + 10
        while len(cls.lab.sh(node, "cat /proc/net/packet").splitlines()) <= count:
            assert time.monotonic() < until, "no packet sockets in " + node
            time.sleep(0.02)

    @staticmethod
    def finish(child):
        """(exit status, JSON document) of a capture."""
        out, err = child.communicate(timeout=40)
        assert not err, err
        return child.returncode, json.loads(out.decode())

    def test_verdicts(self):
        """The code, its place, the exit status and the state of the flow."""
        for row, (status, document) in self.documents.items():
            with self.subTest(node=row.node, port=row.port):
                verdict = document["targets"][0]["verdict"]
                self.assertIn(verdict["code"], row.code.split(), verdict)
                if row.where:
                    self.assertIn(verdict["suspects"][0], row.where.split(), verdict)
                self.assertEqual(status, verdict["code"] != "ok", verdict)
                if row.port != 8012:                    # whose four connections differ
                    self.assertEqual({flow["state"] for flow in document["flows"]},
                                     {row.state} - {None}, document["flows"])

    def document(self, node, port):
        """The report of one capture."""
        return next(document for row, (_, document) in self.documents.items()
                    if (row.node, row.port) == (node, port))

    def test_flows(self):
        """The contract's keys, and what they hold."""
        flow, = self.document("server", 8002)["flows"]
        self.assertEqual([flow[key] for key in ("protocol", "client", "server", "server_port")],
                         ["tcp", CLIENT, SERVER, 8002])
        self.assertGreater(flow["syn"], 2)
        self.assertEqual(flow["syn"] - 1, flow["syn_retransmits"])
        self.assertGreater(flow["synack"], 2)
        self.assertEqual([flow[key] for key in ("rst", "fin", "retransmits", "icmp")], [0, 0, 0, []])
        flow, = self.document("server", 8004)["flows"]
        self.assertEqual({(e["type"], e["code"], e["from"]) for e in flow["icmp"]},
                         {(3, 13, SERVER)})
        flow, = self.document("client", 8005)["flows"]
        self.assertEqual((flow["ttl"], flow["rst_ttl"][1]), ([64, 61], 63))

    def test_address_translation(self):
        """Behind a NAT the server sees another client: the report says so."""
        document = self.document("server", 8007)
        self.assertEqual(document["flows"][0]["client"], NATTED)
        self.assertIn(NATTED, document["targets"][0]["verdict"]["summary"])

    def test_nothing_is_dropped_and_all_is_written(self):
        """The file holds what the report tells, for its owner only; tshark counts the same."""
        for row, (_, document) in self.documents.items():
            path = os.path.join(self.folder, "%s-%d.pcap" % (row.node, row.port))
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            seen = next(e["value"] for e in document["evidence"] if e["probe"] == "capture")
            self.assertEqual(seen["dropped"], 0)
            with open(path, "rb") as stream:
                told = support.read_capture(netdiag.capture_records(stream.read))
            self.assertEqual(told["packets"], seen["packets"])
            self.assertEqual([flow["packets"] for flow in told["flows"]],
                             [flow["packets"] for flow in document["flows"]])
            if shutil.which("tshark") and row.port in (8002, 8006):
                again = subprocess.run(["tshark", "-r", path, "-Y", "tcp.analysis.retransmission"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                flow, = document["flows"]
                self.assertEqual(len(again.stdout.splitlines()), flow["retransmits"]
                                 + flow["syn_retransmits"] + flow["synack_retransmits"])

    def test_beside_probes(self):
        """`capture TARGET`: the probes' verdict, the flows that they made, and no payload."""
        for port, code in TARGETS.items():
            with self.subTest(port=port):
                _, document = self.targets[port]
                target = document["targets"][0]
                self.assertEqual((document["mode"], target["verdict"]["code"]), ("capture", code))
                flows = [flow for flow in document["flows"] if flow["server_port"] == port]
                self.assertTrue(flows)
                self.assertEqual({flow["client"] for flow in flows}, {CLIENT})
        verdict = self.targets[8005][1]["targets"][0]["verdict"]
        self.assertEqual(verdict["suspects"][0], "transit")


FAKE_TCPDUMP = """#!%s
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with open(%r, "w") as stream:
    stream.write(" ".join(sys.argv[1:]))
with open(%r, "rb") as stream:
    sys.stdout.buffer.write(stream.read())
sys.stdout.buffer.flush()
signal.sigwait([signal.SIGTERM])
sys.stderr.write("9 packets captured\\n3 packets dropped by kernel\\n")
"""
SETPRIV = "setpriv --reuid 65534 --clear-groups --inh-caps=-all --bounding-set=-all".split()


def powerless():
    """The command of a Python that may not record; skips where there is none."""
    front = SETPRIV if os.getuid() == 0 else []
    for path in (sys.executable, "/usr/bin/python3"):        # one under /root is closed to nobody
        try:
            if subprocess.call(front + [path, "-c", "open(%r)" % path],
                               stderr=subprocess.DEVNULL) == 0:
                return front + [path]
        except OSError:
            pass
    raise unittest.SkipTest("setpriv and a Python that others may run are needed")


def may_record():
    """May this process open a packet socket?"""
    try:
        netdiag.open_packet_socket(9, None).close()
    except OSError:
        return False
    return True


class HereTest(unittest.TestCase):
    """On this machine's loopback, with the right and without."""

    def record(self, *words, **named):
        """A capture that has begun, as a Popen with pipes."""
        front = named.pop("front", [sys.executable])
        return subprocess.Popen(
            front + ["-W", "error", "-B", support.PROGRAM, "capture"] + list(words),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=named.pop("stderr", subprocess.PIPE), **named)

    def test_loopback(self):
        """Each packet once, though loopback shows it twice; the service closes at once."""
        support.need(may_record(), "CAP_NET_RAW is needed")
        with support.Server(support.says(b"hello")) as server:
            run = support.finish(self.record("--json", "127.0.0.1:%d" % server.port))
            document = json.loads(run.out)
            self.assertEqual((run.status, document["mode"]), (0, "capture"), run.err)
            flow = document["flows"][0]
            self.assertEqual((flow["syn"], flow["synack"], flow["retransmits"]), (1, 1, 0))
            self.assertGreater(flow["mss"][0], 1000)
            self.assertNotIn("hello", json.dumps(document["flows"]))

    def test_interrupted(self):
        """Ctrl-C ends the wait: the report comes, and 130."""
        support.need(may_record(), "CAP_NET_RAW is needed")
        ours, theirs = os.openpty()                     # progress goes to a terminal only
        child = self.record("--port", "9", "--for", "60s", stderr=theirs)
        os.close(theirs)
        shown = b""
        while b"waiting" not in shown:
            shown += os.read(ours, 4096)
        child.send_signal(signal.SIGINT)
        run = support.finish(child)
        os.close(ours)
        self.assertEqual(run.status, 130)
        self.assertRegex(run.out, "packets in .* by AF_PACKET, 0 dropped: no flow")

    def test_without_the_right(self):
        """A clear line, status 3, and what helps instead; it does not wait for packets in vain."""
        began = time.monotonic()
        run = support.finish(self.record("--port", "9", "--for", "60s", "--no-tools",
                                         front=powerless()))
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(run.status, 3, run.err)
        self.assertRegex(run.out, r"root or\s+CAP_NET_RAW is needed \(EPERM\)")
        self.assertIn("netdiag.py server", run.out)

    def test_probes_without_the_right(self):
        """Beside probes, what these see stands in the packets' place; what is missing is told."""
        run = support.finish(self.record("127.0.0.1:%d" % support.closed_port(), "--no-tools",
                                         "--json", front=powerless()))
        document = json.loads(run.out)
        target, = document["targets"]
        self.assertEqual((run.status, target["verdict"]["code"]), (1, "tcp.refused"), run.err)
        self.assertEqual(document["flows"], [])
        self.assertIn("CAP_NET_RAW", " ".join(row["why"] for row in target["unjudged"]))

    def test_tcpdump(self):
        """tcpdump may have the right that we lack: its packets, its drops, and its end."""
        record = (5.0, 101, bytes.fromhex(
            "4500002800000000400600000a0000010a000002138801bb00000009000000005002038400000000"), 40)
        with support.folder() as folder:
            os.chmod(folder, 0o777)
            capture, told, program = (os.path.join(folder, name) for name in (
                "x.pcap", "told", "tcpdump"))
            with open(capture, "wb") as stream:
                stream.write(support.pcap_file([record], 101))
            with open(program, "w") as stream:
                stream.write(FAKE_TCPDUMP % (powerless()[-1], told, capture))
            os.chmod(program, 0o755)
            child = self.record("--port", "443", "--for", "1s", "--json", front=powerless(),
                                env=dict(os.environ, PATH=folder + ":" + os.environ["PATH"]))
            document = json.loads(support.finish(child).out)
            with open(told) as stream:
                words = stream.read()
        seen = next(row["value"] for row in document["evidence"] if row["probe"] == "capture")
        self.assertEqual((seen["via"], seen["packets"], seen["dropped"]), ("tcpdump", 1, 3))
        self.assertEqual(document["flows"][0]["server_port"], 443)
        self.assertRegex(words, "-s 96 -w - .*port 443 or icmp or icmp6")

    def test_usage(self):
        """What cannot be meant is said in one line, before anything is sent."""
        with support.folder() as folder:
            text = os.path.join(folder, "text")
            with open(text, "w") as stream:
                stream.write("no capture")
            for words, told in (
                    (("a.example", "b.example"), "one target"), (("--port", "0"), "a port"),
                    (("--read", "/nowhere/x"), "ENOENT"), (("--read", text), "no pcap"),
                    (("--read", text, "--write", text), "already"),
                    (("--read", text, "a.example"), "one target"),
                    (("--write", "/nowhere/x", "--port", "9"), "/nowhere/x: ENOENT")):
                run = support.finish(self.record(*words))
                self.assertEqual((run.status, run.out), (64, ""))
                self.assertIn(told, run.err)

    def test_cut_file(self):
        """What could be read is told, and where it breaks off."""
        support.need(os.path.isdir(support.CORPUS), "no corpus beside the checkout")
        with support.folder() as folder:
            path = os.path.join(folder, "cut\x1b[31m.pcap")
            with open(os.path.join(support.CORPUS, "pcap", "lab-refused-rst.pcap"), "rb") as stream:
                data = stream.read()
            with open(path, "wb") as stream:
                stream.write(data[:-9])
            run = support.finish(self.record("--read", path))
        self.assertEqual(run.status, 1, run.err)
        self.assertIn("It breaks off: the file ends in the middle of a packet", run.out)
        self.assertIn("tcp.refused", run.out)
        self.assertNotIn("\x1b", run.out)


class RecordTest(unittest.TestCase):
    """What the kernel says beside a packet."""

    def test_vlan(self):
        """The tag that the kernel took out is put back, and can be read."""
        packet = bytes.fromhex("4500001c00000000401100000a0000010a0000020035003500080000")
        extra = [(1, 35, struct.pack("=qq", 7, 500000000)),
                 (263, 8, struct.pack("=IIIHHHH", 0x50, 1400, 28, 0, 0, 0x6014, 0x8100))]
        head = struct.pack("!HIHBB8s", 0, 2, 1, 4, 6, b"\x02" * 6)
        record = netdiag.cooked_record(packet, extra, head, 0x800)
        self.assertEqual((record[0], record[1], record[3]), (7.5, 276, 1424))
        read = netdiag.read_packet(record)
        self.assertEqual((read.vlans, read.src, read.dport), ((20,), "10.0.0.1", 53))


if __name__ == "__main__":
    unittest.main()

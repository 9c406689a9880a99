"""Mode listen: the stand-in on loopback, and what its client makes of it."""

import contextlib
import json
import select
import signal
import socket
import sys
import threading
import time
import unittest
from unittest import mock

import support

netdiag = support.load()
HERE = "127.0.0.1"
GREETING = ("netdiag listen 1 you=192.0.2.9:51000 me=[2001:db8::1]:80 ttl=57 mss=1380"
            " at=2026-11-21T12:00:00+00:00")


@contextlib.contextmanager
def stand_in(port, *argv):
    """`listen` on loopback, once it listens -> its process; killed afterwards if it still runs."""
    child = support.start("listen", str(port), *argv)
    try:
        select.select([child.stdout], [], [], 10)     # its first line
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()


def free_port(kind=socket.SOCK_STREAM):
    """A port on which nothing listens now."""
    return support.closed_port(kind)


def dial(port):
    """A connection to the stand-in, and its greeting."""
    sock = socket.create_connection((HERE, port), 5)
    sock.settimeout(5)
    return sock, read_line(sock)


def read_line(sock):
    """One line."""
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(1)
        if not more:
            break
        data += more
    return data


class Words(unittest.TestCase):
    """The greeting and the pattern."""

    def test_greeting(self):
        """What is built is read again."""
        told = netdiag.read_greeting(GREETING)
        self.assertEqual((told["you"], told["port"], told["ttl"], told["mss"]),
                         ("192.0.2.9", 51000, 57, 1380))
        arrival = {"from": "2001:db8::7", "port": 5, "me": [HERE, 80], "ttl": None, "mss": None,
                   "at": "2026-11-21T12:00:00+00:00"}
        told = netdiag.read_greeting(netdiag.printable(netdiag.build_greeting(arrival)))
        self.assertEqual((told["you"], told["ttl"]), ("2001:db8::7", None))

    def test_no_greeting(self):
        """Other services, and those that play this one."""
        for text in ("", None, 5, "SSH-2.0-x", "netdiag listen 2 you=1", GREETING[:40],
                     GREETING.replace("192.0.2.9:51000", "x"), GREETING.replace("57", "5\x1b"),
                     GREETING.replace("at=2026", "at=20x6"), "x" + GREETING):
            with self.assertRaises(netdiag.NotMine):
                netdiag.read_greeting(text)

    def test_pattern(self):
        """Announced and come; nothing else is a pattern."""
        line, rest = netdiag.build_pattern(b"size", 3001)
        self.assertEqual(netdiag.read_pattern(b"size", line + rest), (3001, 3001))
        self.assertEqual(netdiag.read_pattern(b"size", line + rest[:7]), (3001, 7))
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"netdiag size 999999\n", b"netdiag got 5\n"):
            self.assertEqual(netdiag.read_pattern(b"size", data), (None, 0))

    def test_saved_syn(self):
        """A SYN with its IP header, of both families."""
        tcp = bytes(12) + b"\x60\x02" + bytes(6) + b"\2\4\5\x64"
        self.assertEqual(netdiag.read_syn(b"\x45" + bytes(7) + b"\x39" + bytes(11) + tcp),
                         {"ttl": 57, "mss": 1380})
        self.assertEqual(netdiag.read_syn(b"\x60" + bytes(6) + b"\x39" + bytes(32) + tcp),
                         {"ttl": 57, "mss": 1380})
        with self.assertRaises(netdiag.NotMine):
            netdiag.read_syn(b"")

    def test_half_open(self):
        """Who has sent a SYN and no more, by address, with what was resent most."""
        found = {"192.0.2.9": 1}
        netdiag.note_half_open(found, [
            {"state": state, "remote": peer, "resent": resent} for state, peer, resent in (
                ("SYN_RECV", "192.0.2.1", 3), ("SYN_RECV", "::ffff:192.0.2.1", 1),
                ("ESTABLISHED", "192.0.2.2", 0))])
        self.assertEqual(found, {"192.0.2.9": 1, "192.0.2.1": 3})


class StandIn(unittest.TestCase):
    """The stand-in as it is met on loopback."""

    def end(self, child, status=None):
        """Its document, after Ctrl-C or by itself."""
        out, err = child.communicate(timeout=20)
        self.assertNotIn(b"Traceback", err)
        if status is not None:
            self.assertEqual(child.returncode, status, out[-800:] + err)
        return out.decode()

    def await_port(self, port):
        """The greeting once it listens (--json says nothing before its end)."""
        until = time.monotonic() + 10
        while True:
            try:
                return dial(port)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def test_talk(self):
        """It greets, returns a pattern, logs the arrival, and tells it all in its document."""
        port = free_port()
        child = support.start("listen", str(port), "--for", "3s", "--json")
        sock, greeting = self.await_port(port)
        with sock:
            told = netdiag.read_greeting(greeting.decode())
            self.assertEqual((told["you"], told["port"]), sock.getsockname())
            if sys.platform == "linux":
                self.assertGreater(told["mss"], 500)
                self.assertGreater(told["ttl"], 30)
            sock.sendall(b"".join(netdiag.build_pattern(b"size", 5000)))
            self.assertEqual(read_line(sock), b"netdiag got 5000\n")
            self.assertEqual(len(sock.recv(5000, socket.MSG_WAITALL)), 5000)
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        document = json.loads(self.end(child, 0))
        target, = document["targets"]
        self.assertEqual((document["mode"], target["port"], target["verdict"]["code"]),
                         ("listen", port, "ok"))
        arrivals, = [row["value"] for row in document["evidence"] if row["probe"] == "arrivals"]
        self.assertEqual([(row["from"], row["ended"]) for row in arrivals["arrivals"]],
                         [(HERE, "closed")])
        self.assertGreater(arrivals["arrivals"][0]["bytes"], 5000)

    def test_serves_nothing_else(self):
        """A client with other words hears the greeting and no more; a large pattern is refused."""
        port = free_port()
        with stand_in(port):
            for words in (b"GET / HTTP/1.0\r\n\r\n", b"netdiag size 99999\n" + bytes(70000)):
                sock, _ = dial(port)
                with sock:
                    with contextlib.suppress(OSError):
                        sock.sendall(words)
                        sock.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionResetError):
                        self.assertEqual(sock.recv(100), b"")

    def test_ctrl_c(self):
        """A summary, and 130."""
        port = free_port()
        with stand_in(port) as child:
            dial(port)[0].close()
            child.send_signal(signal.SIGINT)
            out = self.end(child, 130)
        self.assertIn("A connection arrived at 127.0.0.1:%d/tcp: 127.0.0.1 (1)." % port, out)
        self.assertIn("ARRIVALS", out)

    def test_nothing_arrives(self):
        """Undecided: nobody may have tried."""
        run = support.netdiag_run("listen", str(free_port()), "--for", "1s")
        self.assertEqual(run.status, 3, run.out)
        self.assertIn("Nothing arrived", run.out)

    def test_nothing_arrives_anywhere(self):
        """The client is not sent to 0.0.0.0."""
        run = support.netdiag_run("listen", str(free_port()), "--bind", "0.0.0.0", "--for", "1s")
        self.assertIn("tcp://THIS_HOST:", run.out)

    def test_port_taken(self):
        """The service is there: that is said, in one document."""
        with support.Server(support.silent) as server:
            run = support.netdiag_run("listen", str(server.port), "--json")
        self.assertEqual(run.status, 3)
        result = json.loads(run.out)["targets"][0]["verdict"]
        self.assertIn("listens there already", result["summary"])

    def test_wrong(self):
        """One line and 64."""
        for argv in ((), ("x",), ("0",), ("70000",), ("80", "81"), ("80", "--bind", "x")):
            run = support.netdiag_run("listen", *argv)
            self.assertEqual((run.status, run.out), (64, ""), argv)
            self.assertEqual(run.err.count("\n"), 1, run.err)

    def test_bounded(self):
        """So many at a time, so many in all; then it ends."""
        port, ready, told = free_port(), threading.Event(), []
        system = netdiag.System(support.options(mode="listen"))
        with mock.patch.multiple(netdiag, STAND_IN_AT_ONCE=3, MAX_ARRIVALS=10):
            thread = threading.Thread(target=lambda: told.append(system.stand_in(
                HERE, port, False, 60, lambda row: ready.set())))
            thread.start()
            self.assertTrue(ready.wait(10))
            held = [dial(port) for _ in range(3)]
            for _ in range(7):
                with contextlib.suppress(ConnectionResetError), \
                        socket.create_connection((HERE, port), 5) as sock:
                    self.assertEqual(sock.recv(10), b"")
            thread.join(10)
        for sock, _ in held:
            self.assertEqual(sock.recv(10), b"")
            sock.close()
        (outcome, facts), = told
        self.assertEqual((outcome, len(facts["arrivals"]), facts["turned_away"]), ("ok", 10, 7))

    def test_udp(self):
        """netdiag's own datagram is answered; others are logged only, a greeting above all."""
        port = free_port(socket.SOCK_DGRAM)
        with stand_in(port, "--udp", "--for", "3s") as child:
            with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
                sock.connect((HERE, port))
                sock.settimeout(5)
                for words in (b"hello", b"netdiag listen 1 x\n", b"netdiag\n"):
                    sock.send(words)
                told = netdiag.read_greeting(sock.recv(500).decode())
                self.assertEqual(told["port"], sock.getsockname()[1])
                self.assertTrue(told["ttl"])
                sock.settimeout(0.2)
                with self.assertRaises(socket.timeout):
                    sock.recv(500)
            run = support.netdiag_run("udp://%s:%d" % (HERE, port), "--json")
            self.end(child, 0)
        target, = json.loads(run.out)["targets"]
        self.assertEqual(target["verdict"]["code"], "ok")
        self.assertIn("path.far_end", [f["code"] for f in target["findings"]])

    def test_client_recognises_it(self):
        """`ok`, and how the far end saw us; a service that only talks alike is none."""
        port = free_port()
        with stand_in(port, "--for", "9s"):
            run = support.netdiag_run("tcp://%s:%d" % (HERE, port), "--json")
        target, = json.loads(run.out)["targets"]
        self.assertEqual((run.status, target["verdict"]["code"]), (0, "ok"))
        finding, = [f for f in target["findings"] if f["code"] == "path.far_end"]
        self.assertIn(HERE, finding["summary"])
        with support.Server(support.says(b"netdiag listen 9 you=1.2.3.4:5\r\n")) as server:
            run = support.netdiag_run("tcp://%s:%d" % (HERE, server.port), "--json")
        self.assertEqual(json.loads(run.out)["targets"][0]["findings"], [])


if __name__ == "__main__":
    unittest.main()

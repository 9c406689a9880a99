"""Room 10: the file as a program, run by this interpreter; traffic on loopback only."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

import support

netdiag = support.load()
HERE = "127.0.0.1"
PRINTABLE = r"\A[\n -~]*\Z"


class CliCase(unittest.TestCase):
    """What every run must hold."""

    def run_for(self, *argv, **named):
        """A run whose streams are printable and free of tracebacks."""
        status = named.pop("status", None)
        run = support.netdiag_run(*argv, **named)
        self.check(run, argv, status)
        return run

    def check(self, run, argv, status=None):
        """No traceback, nothing raw, the wanted status."""
        self.assertNotIn("Traceback", run.err, argv)
        self.assertNotIn("Warning", run.err, argv)
        self.assertRegex(run.out, PRINTABLE, argv)
        self.assertRegex(run.err, PRINTABLE, argv)
        if status is not None:
            self.assertEqual(run.status, status, "%s\n%s%s" % (argv, run.out[:600], run.err))


class Wrong(CliCase):
    """A command line that cannot be meant: one line on stderr, status 64, nothing run."""

    ISSUE = (
        ("--no-such-option", HERE), ("",), (HERE + ":0",), (HERE + ":70000",),
        ("--", "-oProxyCommand=x"),
        ("-oProxyCommand=x",), ("ssh://-oProxyCommand=x",), ("web example",),
        ("web\x1b[31m.example",), ("x" * 10000,), ("--cafile", "/no/such/file", HERE),
        ("explain", "\x1b[31m"))
    MORE = (
        ("-x", HERE), (" ",), (HERE + ":-1",), (HERE + ":999999999999999999999",),
        (HERE + ":1e3",), (HERE + ":",), ("user@-oProxyCommand=x",), ("a\nb",), ("a\0b",),
        ("\udcff",),
        ("http://" + "y" * 10000,), ("x" * 64 + ".example",), ("a..b",), ("300.1.1.1",), ("1.2.3",),
        ("[::1",), ("[::1]]:1",), ("::1:2:3:4:5:6:7:8:9",), ("nonsense://web.example",),
        ("http://",), ("://",), ("tcp://h",), ("http://h:0/",), ("h:no-such-service",), ("*",),
        ("$(id)",), ("a;id",), ("--cafile", "/dev/null", HERE), ("--cafile", "/", HERE),
        ("--timeout", "0", HERE), ("--timeout", "-1", HERE), ("--timeout", "nan", HERE),
        ("--timeout", "inf", HERE), ("--timeout", "x", HERE), ("--timeout",),
        ("--deadline", "1e99", HERE), ("--source", "web.example", HERE),
        ("--source", "999.1.1.1", HERE), ("--connect-to", "web.example", HERE),
        ("--only", "no_such_probe", HERE), ("--skip", "tcp,x\x1b[31m", HERE),
        ("--proxy", "::::", HERE), ("--targets", "/no/such/file"), ("--color", "pink", HERE),
        ("--lang", "xx", HERE), ("explain", "no.such_code"), ("explain", "a", "b"),
        ("--interface", "no such device", HERE), ("--sni", "x" * 10000, "https://" + HERE),
        ("--sni", "a b\r\n", "https://" + HERE), (HERE + ":9", "-4", "--port"),
        ("-6", HERE + ":9"), ("-4", "http://[::1]:9/"), ("--proxy", "ftp://p.example", HERE),
        ("--proxy", "socks4://p.example:1080", HERE))

    def test_issue(self):
        """The rows of the issue, as a program (in an empty network: nothing can leave)."""
        for argv in self.ISSUE:
            run = support.netdiag_run(*argv, alone=True)
            with self.subTest(argv=[word[:60] for word in argv]):
                self.check(run, argv, 64)
                self.assertEqual(run.out, "")
                self.assertEqual(run.err.count("\n"), 1, run.err)
                self.assertLess(len(run.err), 700)

    def test_more(self):
        """Many more, in this process; nothing is gathered and nothing is sent."""
        for argv in self.ISSUE + self.MORE:
            out, err = io.StringIO(), io.StringIO()
            with self.subTest(argv=[word[:60] for word in argv]), mock.patch.object(
                    netdiag, "gather", side_effect=AssertionError("something was run")):
                with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
                    status = netdiag.main(list(argv), out=out)
                self.check(support.Run(status, out.getvalue(), err.getvalue()), argv, 64)
                self.assertEqual((out.getvalue(), err.getvalue().count("\n")), ("", 1))

    def test_many_arguments_one_wrong(self):
        """One wrong target among good ones: nothing is run for the others either."""
        accepted = []
        with support.Server(accepted.append) as server:
            self.run_for("%s:%d" % (HERE, server.port), HERE + ":70000", status=64)
        self.assertEqual(accepted, [])

    def test_unreadable_cafile(self):
        """A file that may not be read."""
        support.need(os.getuid() != 0 or shutil.which("setpriv"), "needs a user without rights")
        with support.folder() as path:
            name = os.path.join(path, "ca.pem")
            with open(name, "w") as stream:
                stream.write("x")
            os.chmod(name, 0)
            os.chmod(path, 0o755)
            if os.getuid() == 0:
                text = self.as_nobody("--cafile", name, HERE)
            else:
                text = support.netdiag_run("--cafile", name, HERE)
            self.check(text, "cafile", 64)
            self.assertEqual(text.err.count("\n"), 1)

    def as_nobody(self, *argv):
        """Run the program, read from standard input, without any right."""
        with open(support.PROGRAM, "rb") as stream:
            source = stream.read()
        folder = os.path.dirname(sys.executable)
        python = sys.executable if readable_by_all(sys.executable) else "/usr/bin/python3"
        support.need(os.path.exists(python), "this Python is not for everybody: " + folder)
        child = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-",
             *argv], input=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
        return support.Run(child.returncode, child.stdout.decode(), child.stderr.decode())


def readable_by_all(path):
    """May everybody reach and run this file?"""
    path = os.path.realpath(path)
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


class Status(CliCase):
    """Exit status and streams."""

    def test_fine(self):
        """An open port is 0."""
        with support.Server(support.silent) as server:
            run = self.run_for("%s:%d" % (HERE, server.port), status=0)
        self.assertIn("ok", run.out.splitlines()[1])
        self.assertEqual(run.err, "")

    def test_fault(self):
        """A closed port is 1, and its code is tcp.refused."""
        run = self.run_for("%s:%d" % (HERE, support.closed_port()), status=1)
        self.assertIn("tcp.refused", run.out.splitlines()[1])
        self.assertEqual(run.err, "")

    def test_undecided(self):
        """A silent UDP port is 3: it may be fine."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, 0))
            run = self.run_for("udp://%s:%d" % sock.getsockname(), status=3)
        self.assertIn("udp.no_reply", run.out.splitlines()[1])

    def test_cut_short(self):
        """At the deadline a report comes all the same, and says so."""
        with support.Server(support.silent) as server:
            began = time.monotonic()
            run = self.run_for("ssh://%s:%d" % (HERE, server.port), "--deadline", "0.5", "--json")
            self.assertLess(time.monotonic() - began, 15)
        self.assertIn(run.status, (1, 3))
        self.assertIs(json.loads(run.out)["complete"], False)

    def test_several(self):
        """The worst target counts; reports come in the order of the targets."""
        with support.Server(support.silent) as server:
            targets = ["%s:%d" % (HERE, port) for port in (server.port, support.closed_port())]
            run = self.run_for("--brief", *targets, status=1)
        self.assertEqual([line.split()[0] for line in run.out.splitlines()], targets)

    def test_same_port_twice(self):
        """Two targets at one port of one host: each has its own connection."""
        with support.Server(support.silent) as server:
            targets = [form % (HERE, server.port) for form in ("%s:%d", "tcp://%s:%d")]
            run = self.run_for("--brief", *targets, status=0)
        self.assertEqual([line.split()[1] for line in run.out.splitlines()], ["ok", "ok"])

    def test_warnings_only(self):
        """A bare host that is there is fine, whatever its ports say."""
        self.run_for(HERE, status=0)

    def test_version(self):
        """The version, on standard output."""
        run = self.run_for("--version", status=0)
        self.assertEqual(run.out, "netdiag %s\n" % netdiag.VERSION)

    def test_help(self):
        """Help is 0, within 80 columns, with the exit statuses and every option."""
        run = self.run_for("--help", status=0, env={"COLUMNS": "80"})
        for flags, _ in netdiag.OPTION_TABLE:
            self.assertIn(flags[-1], run.out)
        for word in ("64", "130", "explain"):
            self.assertIn(word, run.out)

    def test_explain(self):
        """The manual page of a cause; in-process for all of them (see test_9_report)."""
        run = self.run_for("explain", "tcp.refused", status=0)
        self.assertTrue(run.out.startswith("tcp.refused\n"))

    def test_https(self):
        """A self-signed certificate is a fault; with --cafile and the right name it is fine."""
        support.need(shutil.which("openssl"), "no openssl command")
        with support.folder() as path:
            serve, certificate = support.tls_server(path)
            with support.Server(serve) as server:
                url = "https://web.example:%d/" % server.port
                there = ("--connect-to", HERE)
                run = self.run_for(url, *there, status=1)
                self.assertIn("tls.self_signed", run.out.splitlines()[1])
                self.run_for(url, "--cafile", certificate, *there, status=0)
                run = self.run_for(url.replace("web", "other"), "--cafile", certificate, *there,
                                   status=1)
                self.assertIn("tls.name_mismatch", run.out.splitlines()[1])


class Json(CliCase):
    """--json prints exactly one document."""

    def test_one_document(self):
        """`json.tool` takes it; it names the same verdict as the text."""
        target = "%s:%d" % (HERE, support.closed_port())
        run = self.run_for("--json", target, status=1)
        tool = subprocess.run([sys.executable, "-m", "json.tool"], input=run.out.encode(),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertEqual((tool.returncode, tool.stderr), (0, b""))
        found = json.loads(run.out)
        self.assertEqual(found["targets"][0]["verdict"]["code"], "tcp.refused")
        self.assertEqual(found["targets"][0]["port"], int(target.rpartition(":")[2]))
        self.assertEqual(found["netdiag"]["version"], netdiag.VERSION)
        self.assertRegex(found["netdiag"]["sha256"], "^[0-9a-f]{64}$")

    def test_schema(self):
        """The document of a real run has every key of the contract."""
        import test_9_report
        with support.Server(support.says(b"SSH-2.0-x\r\n")) as server:
            for target in ("ssh://%s:%d" % (HERE, server.port), "127.0.0.1:1"):
                found = json.loads(self.run_for("--json", target, "-v").out)
                self.assertEqual(list(test_9_report.misfits(found, test_9_report.SCHEMA)), [])

    def test_several_targets(self):
        """One document for several targets."""
        ports = [support.closed_port(), support.closed_port()]
        run = self.run_for("--json", *["%s:%d" % (HERE, port) for port in ports], status=1)
        self.assertEqual([row["port"] for row in json.loads(run.out)["targets"]], ports)


@contextlib.contextmanager
def full_disk():
    """A device of our own that is always full, like /dev/full."""
    support.need(os.getuid() == 0, "only root can make a device")
    with support.folder() as path:
        name = os.path.join(path, "full")
        try:
            os.mknod(name, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
            os.chmod(name, 0o666)
            with open(name, "rb") as stream:
                stream.read(1)
        except OSError as error:
            raise unittest.SkipTest("devices are not allowed here: %s" % error)
        yield name


class Streams(CliCase):
    """Pipes, files, locales."""

    def test_through_a_pipe(self):
        """`python3 - TARGET < netdiag.py`."""
        target = "%s:%d" % (HERE, support.closed_port())
        with open(support.PROGRAM, "rb") as stream:
            child = subprocess.Popen([sys.executable, "-W", "error", "-", "--json", target],
                                     stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            run = support.finish(child)
        self.check(run, "pipe", 1)
        self.assertIsNone(json.loads(run.out)["netdiag"]["sha256"])

    def test_through_a_pipe_in_the_c_locale(self):
        """The same where nothing but ASCII is expected."""
        env = dict(os.environ, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        with open(support.PROGRAM, "rb") as stream:
            child = subprocess.Popen([sys.executable, "-", "%s:%d" % (HERE, support.closed_port())],
                                     stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     env=env)
            self.check(support.finish(child), "pipe", 1)

    def test_c_locale(self):
        """The C locale, without Python's own repairs of it, and a target beyond ASCII."""
        env = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
               "PYTHONIOENCODING": "ascii"}
        self.run_for("%s:%d" % (HERE, support.closed_port()), status=1, env=env)
        name = u"b\xfccher.example:%d" % support.closed_port()
        run = self.run_for(name.encode("utf-8"), "--connect-to", HERE, env=env)
        self.assertIn(run.status, (1, 64))

    def test_closed_pipe(self):
        """A reader who has gone: quiet, whatever was asked."""
        target = "%s:%d" % (HERE, support.closed_port())
        for argv in ((target,), (target, "--json"), ("--version",), ("explain", "tcp.refused"),
                     ("--help",)):
            reader, writer = os.pipe()
            os.close(reader)
            child = support.start(*argv, stdout=writer)
            os.close(writer)
            run = support.finish(child)
            with self.subTest(argv=argv):
                self.assertEqual(run.err, "")

    def test_closed_streams(self):
        """Started without standard input or standard error (cron, daemons)."""
        target = "%s:%d" % (HERE, support.closed_port())
        for redirect in ("<&-", "2>&-", "<&- 2>&-"):
            child = subprocess.run(["sh", "-c", '"$@" ' + redirect, "sh", sys.executable,
                                    support.PROGRAM, target],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with self.subTest(redirect=redirect):
                self.assertEqual(child.returncode, 1, redirect)
                self.assertNotIn(b"Traceback", child.stderr)
                self.assertIn(b"tcp.refused", child.stdout)
        for words in ((target,), ("--version",), ("--targets", "-")):
            child = subprocess.run(["sh", "-c", '"$@" <&- >&-', "sh", sys.executable,
                                    support.PROGRAM] + list(words), stderr=subprocess.PIPE)
            with self.subTest(words=words):
                self.assertEqual(child.returncode, 64 if "-" in words else 3)
                self.assertNotIn(b"Traceback", child.stderr)

    def test_no_threads(self):
        """Where no thread is to be had (ulimit -u, -v), all is done one after the other."""
        def start(thread):
            raise RuntimeError("can't start new thread")
        target, out = "%s:%d" % (HERE, support.closed_port()), io.StringIO()
        with mock.patch("threading.Thread.start", start):
            self.assertEqual(netdiag.main(["--no-tools", "--brief", target, target], out=out), 1)
        self.assertEqual(out.getvalue().count("tcp.refused"), 2)

    def test_full_disk(self):
        """Standard output on a full disk: a line and no traceback."""
        support.need(os.path.exists("/dev/full"), "no /dev/full")
        with open("/dev/full", "wb") as full:
            child = support.start("%s:%d" % (HERE, support.closed_port()), stdout=full)
            run = support.finish(child)
        self.assertNotIn("Traceback", run.err)
        self.assertNotIn("Exception", run.err)
        self.assertNotEqual(run.status, 0)

    def test_output(self):
        """--output: the report in a file of mode 0600, nothing on standard output."""
        target = "%s:%d" % (HERE, support.closed_port())
        with support.folder() as path:
            name = os.path.join(path, "report.txt")
            run = self.run_for("--output", name, target, status=1)
            self.assertEqual(stat.S_IMODE(os.stat(name).st_mode), 0o600)
            with open(name) as stream:
                self.assertIn("tcp.refused", stream.read())
        self.assertEqual(run.out, "")

    def test_output_impossible(self):
        """A report that cannot be saved is not lost: it comes on standard output, with a word."""
        target = "%s:%d" % (HERE, support.closed_port())
        run = support.netdiag_run("--output", "/no/such/folder/report", target)
        self.check(run, "output")
        self.assertTrue(run.err)
        self.assertTrue("tcp.refused" in run.out or run.status == 64 and not run.out, run)
        with full_disk() as name:
            run = support.netdiag_run("--output", name, target)
            self.check(run, "output")
            self.assertTrue(run.err)
            self.assertIn("tcp.refused", run.out)

    def test_output_to_a_device(self):
        """A device (think of /dev/null) keeps its mode: 0600 there would break the machine."""
        with full_disk() as name:
            support.netdiag_run("--output", name, "%s:%d" % (HERE, support.closed_port()))
            self.assertEqual(stat.S_IMODE(os.stat(name).st_mode), 0o666)

    def test_targets_file(self):
        """--targets from a file and from standard input."""
        ports = [support.closed_port(), support.closed_port()]
        text = "# ports\n" + "".join("%s:%d  # closed\n\n" % (HERE, port) for port in ports)
        with support.folder() as path:
            name = os.path.join(path, "targets")
            with open(name, "w") as stream:
                stream.write(text)
            first = self.run_for("--brief", "--targets", name, status=1)
        second = self.run_for("--brief", "--targets", "-", feed=text.encode(), status=1)
        for run in (first, second):
            self.assertEqual([line.split()[0] for line in run.out.splitlines()],
                             ["%s:%d" % (HERE, port) for port in ports])

    def test_empty_targets(self):
        """A list without a target is wrong: this host alone was not what was asked for."""
        self.run_for("--targets", "-", feed=b"# nothing\n", status=64, alone=True)

    def test_strange_targets_file(self):
        """Bytes that are no text are a wrong target and no traceback."""
        self.run_for("--targets", "-", feed=b"\xff\xfe\x00\x1b[31m\n", status=64, alone=True)


class Words(CliCase):
    """--ticket, --lang and --redact, as they are typed."""

    def test_ticket(self):
        """Only the text to send, with what --set fills in; into a file in Japanese."""
        target = "%s:%d" % (HERE, support.closed_port())
        run = self.run_for("--ticket", "--set", "site=Osaka\x1b[31m 3F", target, status=1)
        self.assertRegex(run.out, r"(?m)^  to: +the owner of the service$")
        self.assertRegex(run.out, r"(?m)^  site: +Osaka \[31m 3F$")
        self.assertNotIn("FINDINGS", run.out)
        with support.folder() as folder:
            path = os.path.join(folder, "ticket.txt")
            self.run_for("--ticket", "--lang", "ja", "--output", path, target, status=1,
                         env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
            with open(path, encoding="utf-8") as stream:
                self.assertRegex(stream.read(), u"[\u3040-\u30ff]")

    def test_redact(self):
        """This host's name is nowhere; text and JSON say that they are masked."""
        name, target = socket.gethostname(), "%s:%d" % (HERE, support.closed_port())
        for words in ((), ("--json",), ("--ticket",), ("--brief",)):
            run = self.run_for("--redact", target, *words, status=1)
            self.assertNotRegex(run.out, r"(?i)(?<![\w-])%s(?![\w-])" % re.escape(name))
            self.assertRegex(run.out, r'Redacted:|"redacted": true')


class Interrupt(CliCase):
    """Ctrl-C: the partial report, status 130."""

    def interrupted(self, argv, event, delay_s=0.0):
        """Run; when the event comes (and a while later), send SIGINT -> Run."""
        child = support.start(*argv)
        self.assertTrue(event.wait(20), "netdiag never got there")
        if delay_s:
            time.sleep(delay_s)                       # a moment of the run and no event of ours
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        run = support.finish(child)
        self.assertLess(time.monotonic() - began, 10)
        self.check(run, argv, 130)
        return run

    def waiting(self):
        """(serve, event): a server that tells when somebody has come, and then is silent."""
        event = threading.Event()

        def serve(connection):
            event.set()
            support.silent(connection)
        return serve, event

    def test_moments(self):
        """At several moments of a run that waits for a greeting."""
        for delay_s in (0.0, 0.3, 0.9):
            serve, event = self.waiting()
            with support.Server(serve) as server:
                target = "ssh://%s:%d" % (HERE, server.port)
                run = self.interrupted((target,), event, delay_s)
            self.assertIn("TICKET", run.out)
            self.assertIn("cut short", run.out)

    def test_json(self):
        """The partial report is one whole document, and says that it is not complete."""
        serve, event = self.waiting()
        with support.Server(serve) as server:
            run = self.interrupted(("--json", "ssh://%s:%d" % (HERE, server.port)), event)
        self.assertIs(json.loads(run.out)["complete"], False)

    def test_several_targets(self):
        """Interrupted among several targets: each has its row."""
        serve, event = self.waiting()
        with support.Server(serve) as server:
            targets = ["ssh://%s:%d" % (HERE, server.port), "%s:%d" % (HERE, support.closed_port())]
            run = self.interrupted(["--json"] + targets, event, 0.8)
        found = json.loads(run.out)
        self.assertEqual([row["target"] for row in found["targets"]], targets)
        self.assertIs(found["complete"], False)

    def test_while_looking_at_this_host(self):
        """In the first moments, while commands about this host run: a report comes as well."""
        with support.folder() as path:
            event = threading.Event()
            fifo = os.path.join(path, "started")
            os.mkfifo(fifo)
            with open(os.path.join(path, "ip"), "w") as stream:
                stream.write("#!/bin/sh\necho $$ >%s\nexec sleep 30\n" % fifo)
            os.chmod(os.path.join(path, "ip"), 0o755)
            pids = []

            def read_fifo():
                with open(fifo) as stream:
                    pids.append(int(stream.readline()))
                event.set()
            thread = threading.Thread(target=read_fifo)
            thread.start()
            child_env = {"PATH": path + os.pathsep + os.environ["PATH"]}
            child = support.start("%s:%d" % (HERE, support.closed_port()), env=child_env)
            self.assertTrue(event.wait(20))
            child.send_signal(signal.SIGINT)
            run = support.finish(child)
            thread.join(5)
            self.check(run, "host phase", 130)
            self.assertTrue(support.wait_gone(pids[0]), "the child of netdiag still runs")
        self.assertIn("cut short", run.out)

    def test_children_are_killed(self):
        """A command that runs when we are interrupted does not survive us."""
        # covered by test_while_looking_at_this_host for the host's commands; here: at the deadline
        with support.folder() as path:
            mark = os.path.join(path, "pids")
            with open(os.path.join(path, "ping"), "w") as stream:
                stream.write("#!/bin/sh\necho $$ >>%s\nexec sleep 30\n" % mark)
            os.chmod(os.path.join(path, "ping"), 0o755)
            env = {"PATH": path + os.pathsep + os.environ["PATH"]}
            with support.Server(support.silent) as server:
                self.run_for("ssh://%s:%d" % (HERE, server.port), "--deadline", "1", env=env)
            with open(mark) as stream:
                pids = [int(line) for line in stream]
            self.assertTrue(pids)
            for pid in pids:
                self.assertTrue(support.wait_gone(pid), "ping still runs")

    def test_twice(self):
        """The second Ctrl-C ends it at once."""
        serve, event = self.waiting()
        with support.Server(serve) as server:
            child = support.start("ssh://%s:%d" % (HERE, server.port))
            self.assertTrue(event.wait(20))
            child.send_signal(signal.SIGINT)
            child.send_signal(signal.SIGINT)
            run = support.finish(child, timeout_s=10)
        self.assertNotIn("Traceback", run.err)
        self.assertIn(run.status, (130, -signal.SIGINT))


class Crash(unittest.TestCase):
    """A diagnosis that raises costs its own report, and never the run (in-process)."""

    def test_among_many(self):
        """The crashed target says so, undecided; the others are diagnosed as ever."""
        def diagnose(target, shared, system, options, progress=None):
            if target.port == 1:
                raise ValueError("odd \x1b[31m")
            return netdiag.unseen(target, shared)._replace(complete=True)
        targets = [netdiag.read_target("192.0.2.%d:%d" % (n, n % 3)) for n in range(1, 40) if n % 3]
        with mock.patch.object(netdiag, "diagnose", diagnose):
            reports = netdiag.diagnose_many(targets, {}, support.FakeSystem(), support.options())
        self.assertEqual([report.target for report in reports], targets)
        for target, report in zip(targets, reports):
            lines = [row["why"] for row in report.unjudged]
            self.assertEqual(["ValueError" in line for line in lines], [True] * (target.port == 1))
            self.assertEqual(report.complete, target.port != 1)
            self.assertEqual(report.verdict.code, "undecided")
            self.assertRegex("".join(lines), PRINTABLE)
        self.assertEqual(netdiag.exit_status(reports), 3)
        self.assertIn("ValueError", netdiag.render_text(reports[0], 0))


class Secrets(CliCase):
    """What is secret on the command line or in the environment is in no output."""

    def no_leak(self, run, word, why):
        """No line of either stream holds the word."""
        lines = [line.strip()[:200] for line in (run.out + run.err).splitlines() if word in line]
        self.assertEqual(lines, [], why)

    def check_secret(self, *argv, **named):
        """No output of any kind holds the word."""
        for style in (("-v",), ("--json",), ("--ticket",), ("--redact", "-v")):
            run = self.run_for(*(argv + style), **named)
            self.no_leak(run, "s3cret", style)
            self.no_leak(run, "hunter2", style)

    def test_url(self):
        """User and password, and the query."""
        redirect = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?token=s3cret\r\n\r\n"
        with support.Server(support.answers(redirect)) as server:
            self.check_secret("http://hunter2:s3cret@%s:%d/a?token=s3cret" % (HERE, server.port))

    def test_odd_url(self):
        """An @ in the password, a user alone, a fragment."""
        port = support.closed_port()
        for url in ("http://hunter2:s3@cret:s3cret@%s:%d/", "http://s3cret@%s:%d/",
                    "http://%s:%d/#s3cret?s3cret", "http://%s:%d?s3cret",
                    "hunter2:s3cret@%s:%d", "ssh://hunter2:s3cret@%s:%d"):
            run = self.run_for(url % (HERE, port), "--json", "-v")
            self.no_leak(run, "s3cret", url)

    def test_wrong_url(self):
        """Even a URL that is refused is not repeated with its password."""
        run = self.run_for("http://hunter2:s3cret@%s:70000/" % HERE, status=64)
        self.no_leak(run, "s3cret", "a refused command line")

    def test_proxy_option(self):
        """--proxy with a login."""
        with support.Server(support.answers(b"HTTP/1.1 407 Login\r\n\r\n")) as server:
            self.check_secret("http://%s:%d/" % (HERE, support.closed_port()), "--proxy",
                              "http://hunter2:s3cret@%s:%d" % (HERE, server.port))

    def test_wrong_proxy(self):
        """A proxy URL that is refused."""
        run = self.run_for("--proxy", "http://hunter2:s3cret@[x:y", HERE, status=64)
        self.no_leak(run, "s3cret", "a refused command line")

    def test_proxy_variable(self):
        """A proxy from the environment, used or not."""
        port = support.closed_port()
        env = {"http_proxy": "http://hunter2:s3cret@%s:%d" % (HERE, port), "no_proxy": ""}
        self.check_secret("http://%s:%d/" % (HERE, support.closed_port()), env=env)

    def test_headers(self):
        """Cookies and authentication out of an answer."""
        head = (b"HTTP/1.1 401 No\r\nSet-Cookie: id=s3cret\r\nAuthorization: Basic s3cret\r\n"
                b"X-Token: s3cret\r\nServer: nginx\r\n\r\n")
        with support.Server(support.answers(head)) as server:
            self.check_secret("http://%s:%d/x" % (HERE, server.port))


class Hostile(CliCase):
    """Bytes from the network never reach the terminal raw (see PRINTABLE in every run)."""

    EVIL = b"\x1b]0;evil\x07\x1b[31m\x00\x9b\xff\xe2\x80\xae"

    def test_banner(self):
        """A greeting."""
        for greeting in (b"SSH-2.0-" + self.EVIL + b"\r\n", self.EVIL * 900,
                         b"554 " + self.EVIL + b"\r\n"):
            with support.Server(support.says(greeting)) as server:
                for style in (("--json",), ("-v",), ("--ticket",)):
                    self.run_for("ssh://%s:%d" % (HERE, server.port), *style)

    def test_http(self):
        """Heads, redirects and what is no HTTP."""
        evil = self.EVIL
        for data in (b"HTTP/1.1 500 " + evil + b"\r\nServer: " + evil + b"\r\n\r\n",
                     b"HTTP/1.1 302 x\r\nLocation: /" + evil + b"\r\n\r\n", evil * 50,
                     b"HTTP/1.1 302 x\r\nLocation: http://" + evil + b"/\r\n\r\n",
                     b"HTTP/1.1 302 x\r\nLocation: http://" + HERE.encode() + b":99999/\r\n\r\n",
                     b"HTTP/1.1 302 x\r\nLocation: http://[::1\r\n\r\n"):
            with support.Server(support.answers(data)) as server:
                for style in ((), ("--json",)):
                    run = self.run_for("http://%s:%d/" % (HERE, server.port), *style)
                    crashed = [line for line in run.out.splitlines() if "crashed" in line]
                    self.assertEqual(crashed, [], data)


class Poor(CliCase):
    """Without commands, ssl or /proc a report still comes, and says what it could not do."""

    def test_no_tools(self):
        """--no-tools runs nothing and finds the same."""
        run = self.run_for("--no-tools", "--json", "%s:%d" % (HERE, support.closed_port()),
                           status=1)
        found = json.loads(run.out)
        self.assertEqual(found["transcript"], [])
        self.assertEqual(found["targets"][0]["verdict"]["code"], "tcp.refused")

    def without(self, module, *argv):
        """Run where one module cannot be imported."""
        script = ("import sys, runpy; sys.modules[%r] = None; sys.argv = sys.argv[1:];"
                  "runpy.run_path(sys.argv[0], run_name='__main__')" % module)
        child = subprocess.Popen([sys.executable, "-c", script, support.PROGRAM] + list(argv),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        run = support.finish(child)
        self.check(run, module)
        return run

    def test_no_ssl(self):
        """A Python without ssl says that TLS was not tested."""
        with support.Server(support.silent) as server:
            run = self.without("ssl", "https://%s:%d/" % (HERE, server.port), "--deadline", "8")
        self.assertIn("NOT TESTED", run.out)
        self.assertRegex(" ".join(run.out.split()), r"no ssl")
        self.assertIn(run.status, (1, 3))

    def test_no_extras(self):
        """Modules that a small Python may lack."""
        for module in ("pwd", "hashlib"):
            run = self.without(module, "%s:%d" % (HERE, support.closed_port()))
            self.assertEqual(run.status, 1, module)

    def in_namespace(self, script, *argv):
        """Run in namespaces of its own, after a script; skip where that is not allowed."""
        flags = "-nm" if os.getuid() == 0 else "-rnm"
        support.need(shutil.which("unshare"), "no unshare command")
        command = ["unshare", flags, "sh", "-c", script + ' && exec "$@"', "sh", sys.executable,
                   "-W", "error", support.PROGRAM] + list(argv)
        trial = subprocess.run(["unshare", flags, "sh", "-c", script], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        support.need(trial.returncode == 0, "namespaces are not allowed here")
        run = support.finish(subprocess.Popen(command, stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL))
        self.check(run, (script,) + argv)
        return run

    def test_no_proc(self):
        """Without /proc."""
        run = self.in_namespace("mount -t tmpfs none /proc", "192.0.2.1:80")
        self.assertEqual(run.status, 1)

    def test_no_network(self):
        """In an empty network namespace the fault is on this host."""
        for argv in ((), ("192.0.2.1:80",), ("--no-tools", "192.0.2.1:80")):
            run = self.in_namespace("true", "--json", *argv)
            self.assertEqual(run.status, 1, argv)
            verdict = json.loads(run.out)["targets"][0]["verdict"]
            self.assertEqual(verdict["suspects"][:1], ["client"], verdict)

    def test_this_host_alone(self):
        """Without a target: this host's own state, in a document of the same shape."""
        import test_9_report
        run = self.in_namespace("ip link set lo up", "--json")
        found = json.loads(run.out)
        self.assertEqual(list(test_9_report.misfits(found, test_9_report.SCHEMA)), [])
        self.assertEqual(found["mode"], "host")


class Targets(unittest.TestCase):
    """The ways to write a target (in-process: nothing is run)."""

    TABLE = (
        # text, (host, port, protocol, transport, tls)
        ("web.example", ("web.example", None, "tcp", "tcp", False)),
        ("web.example:443", ("web.example", 443, "https", "tcp", True)),
        ("web.example:12345", ("web.example", 12345, "tcp", "tcp", False)),
        ("db.example:5432", ("db.example", 5432, "postgresql", "tcp", False)),
        ("web.example:ssh", ("web.example", 22, "ssh", "tcp", False)),
        ("192.0.2.1", ("192.0.2.1", None, "tcp", "tcp", False)),
        ("2001:db8::1", ("2001:db8::1", None, "tcp", "tcp", False)),
        ("[2001:db8::1]:22", ("2001:db8::1", 22, "ssh", "tcp", False)),
        ("me@web.example:22", ("web.example", 22, "ssh", "tcp", False)),
        ("https://web.example/x", ("web.example", 443, "https", "tcp", True)),
        ("HTTP://web.example:8080", ("web.example", 8080, "http", "tcp", False)),
        ("postgres://h.example", ("h.example", 5432, "postgresql", "tcp", False)),
        ("udp://h.example:5000", ("h.example", 5000, "udp", "udp", False)),
        ("dns://192.0.2.53", ("192.0.2.53", 53, "dns", "udp", False)),
        ("ldaps://h.example", ("h.example", 636, "ldaps", "tcp", True)),
        ("smtp://h.example:587", ("h.example", 587, "smtp", "tcp", False)),
        ("tcp://h.example:443", ("h.example", 443, "tcp", "tcp", False)),
        ("_sip.h_x.example:5060", ("_sip.h_x.example", 5060, "tcp", "tcp", False)),
        ("web.example.", ("web.example.", None, "tcp", "tcp", False)),
        ("fe80::1%eth0", ("fe80::1%eth0", None, "tcp", "tcp", False)),
    )
    SCHEMES = ("http https ssh smtp smtps imap imaps pop3 ftp ldap ldaps mysql postgresql redis dns"
               ).split()

    def test_table(self):
        """Host, port, protocol, transport, TLS."""
        for text, wanted in self.TABLE:
            target = netdiag.read_target(text)
            self.assertEqual(target[1:6], wanted, text)

    def test_schemes(self):
        """Every scheme of the contract has its port; tcp and udp need one."""
        for scheme in self.SCHEMES:
            target = netdiag.read_target(scheme + "://h.example")
            self.assertEqual((target.protocol, bool(target.port)), (scheme, True))
        for scheme in ("tcp", "udp"):
            with self.assertRaises(netdiag.Usage):
                netdiag.read_target(scheme + "://h.example")

    def test_options(self):
        """Every option of the contract is there."""
        flags = {flag for names, _ in netdiag.OPTION_TABLE for flag in names}
        wanted = ("--json --brief -4 -6 -n --timeout --deadline --source --interface --connect-to"
                  " --sni --no-sni --proxy --cafile --only --skip --no-tools --targets --redact"
                  " --lang --output --color -v --version").split()
        self.assertLessEqual(set(wanted), flags)
        for words, field, value in (
                (["--json"], "json", True), (["-4"], "family", 4), (["-6"], "family", 6),
                (["--only", "tcp,ping"], "only", ("tcp", "ping")), ([], "family", 0),
                (["--timeout", "2.5"], "timeout_s", 2.5), (["--no-sni"], "no_sni", True)):
            self.assertEqual(getattr(netdiag.read_arguments(words)[0], field), value)

    def test_options_of_other_modes(self):
        """What a mode would leave aside is said at once: `--port 80` is no question to `server`."""
        for words in ("server --port 80", "server 80 --udp", "watch h --targets f", "h --for 5s",
                      "capture --bind 127.0.0.1", "listen 80 --client 192.0.2.1", "h --write f"):
            run = support.netdiag_run(*words.split())
            self.assertEqual((run.status, run.out), (64, ""), words)
            self.assertRegex(run.err, r"\Anetdiag: --\w+ goes with [a-z, ]+; see --help\n\Z")
        for words in ("server 80 --client 192.0.2.1 --lldp 3s", "capture --port 80 --write f",
                      "listen 80 --udp --bind ::1", "merge --from d", "--targets f"):
            netdiag.read_arguments(words.split())

    def test_words_of_the_contract(self):
        """A mode is a word in the first place only."""
        self.assertLessEqual({"server", "capture", "listen", "watch", "merge", "explain"},
                             set(netdiag.MODES))
        self.assertEqual(netdiag.read_arguments(["web.example", "server"])[1],
                         ["web.example", "server"])


if __name__ == "__main__":
    unittest.main()

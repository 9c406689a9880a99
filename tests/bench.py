"""How long netdiag takes and what it needs, against the commands that a person would type instead.

    make bench

Everything is measured in one run and in one lab (tests/lab), so that a slow machine is slow for
both sides.  Prints one line per measure; exit status 0, 1 when a limit is missed, 2 without a lab.
"""

import json
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lab"), HERE]

import launch                                                      # noqa: E402
import run                                                         # noqa: E402
import services                                                    # noqa: E402
import small                                                       # noqa: E402
import topology                                                    # noqa: E402

ROUNDS = 3                    # of what waits on the network; the median counts
START_ROUNDS = 15             # of what only starts; the smallest counts, the rest is the machine's
SMALL = "small.py"
HEALTHY, SILENT = "ok-https", "filtered-at-server"
NAME, ADDRESS, RESOLVER = "web.lab.example", "203.0.113.10", services.RESOLVERS[0]
COMMANDS = (
    ["ping", "-n", "-c5", NAME], ["traceroute", "-n", NAME], ["dig", "@" + RESOLVER, NAME],
    ["nc", "-zv", NAME, "443"], ["curl", "-sSI", "--cacert", "FOLDER/root.pem", "https://%s/" % NAME],
    ["openssl", "s_client", "-connect", NAME + ":443", "-servername", NAME, "-CAfile",
     "FOLDER/root.pem"],
    ["ip", "route"], ["ip", "neigh"], ["ip", "addr"])

# Runs in the client's namespace, so that only what it starts is measured: argv lists in, all
# started at once; seconds until the last has ended, peak memory, statuses and outputs come back.
METER = """
import json, resource, subprocess, sys, tempfile, time
began, files = time.monotonic(), [tempfile.TemporaryFile() for _ in json.loads(sys.argv[1])]
children = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            for argv, out in zip(json.loads(sys.argv[1]), files)]
statuses = [child.wait() for child in children]
wall = time.monotonic() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0
texts = []
for out in files:
    out.seek(0)
    texts.append(out.read().decode("utf-8", "replace"))
print(json.dumps({"wall": wall, "peak_mib": peak, "statuses": statuses, "texts": texts}))
"""


class Table:
    """Measures against their limits, printed as they come."""

    def __init__(self):
        self.missed = 0

    def add(self, what, value, unit, limit=None, least=False):
        """One line; a limit is an upper one unless it says otherwise."""
        bad = limit is not None and (value < limit if least else value > limit)
        bound = "" if limit is None else "%s %g" % ("at least" if least else "at most ", limit)
        print("%-52s %8.2f %-4s %-14s %s" % (
            what, value, unit, bound, "" if limit is None else "MISSED" if bad else "ok"))
        sys.stdout.flush()
        self.missed += bad


def measure(lab, *commands):
    """Start these in the client of a lab, all at once -> what METER tells."""
    environment = dict(os.environ, PATH=launch.PATH, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C")
    child = lab.popen("client", [sys.executable, "-I", "-c", METER, json.dumps(commands)],
                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)
    out, _ = child.communicate(timeout=run.RUN_TIMEOUT_S)
    return json.loads(out.decode())


def expect(measured, statuses=(0,)):
    """What is measured must also have worked, or the time means nothing."""
    for status, text in zip(measured["statuses"], measured["texts"]):
        if status not in statuses:
            raise topology.LabError("status %s: %s" % (status, text.strip()[-600:]))
    return measured


def in_lab(name, shared, work):
    """Build the lab of one fault, break it, and do something there."""
    fault = run.pick([name])[0]
    with topology.Lab(fault.resolv, fault.hosts) as lab:
        run.start_services(lab, shared, fault)
        run.inject(lab, fault)
        lab.sh("client", "echo '%s' >/proc/sys/net/ipv4/ping_group_range" % run.OPEN_PING_RANGE)
        return work(lab, [sys.executable, shared.netdiag] + run.arguments(fault, shared, True))


def small_copy(argv):
    """The same command line with the copy that `make small` writes."""
    return argv[:1] + [os.path.join(os.path.dirname(argv[1]), SMALL)] + argv[2:]


def compiled(argv):
    """The same command line with what Python has kept in __pycache__; -m looks in this folder."""
    return argv[:1] + ["-m", "netdiag"] + argv[2:]


def peaks(lab, netdiag, statuses=(0,)):
    """Peak memory of the copy that `make small` writes, and of the compiled file."""
    return [expect(measure(lab, argv), statuses)["peak_mib"]
            for argv in (small_copy(netdiag), compiled(netdiag))]


def healthy(lab, netdiag, folder):
    """A target that works: netdiag alone, then all the commands at once, in turns."""
    commands = [[word.replace("FOLDER", folder) for word in argv] for argv in COMMANDS]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(expect(measure(lab, netdiag)))
        theirs.append(expect(measure(lab, *commands)))
    return (statistics.median(m["wall"] for m in ours),
            statistics.median(m["wall"] for m in theirs),
            [max(m["peak_mib"] for m in ours)] + peaks(lab, netdiag))


def silent(lab, netdiag):
    """A port whose packets vanish: how long, how many SYNs were sent again, how much memory."""
    measured = expect(measure(lab, netdiag), (1, 3))
    rows = [row for row in json.loads(measured["texts"][0])["evidence"] if row["probe"] == "tcp"]
    resent = min((row["value"]["info"]["total_retrans"] for row in rows), default=0)
    return measured["wall"], resent, [measured["peak_mib"]] + peaks(lab, netdiag, (1, 3))


def starts(netdiag):
    """Milliseconds of a Python that does nothing, and of `--version` in three ways, in turns."""
    ours = [sys.executable, netdiag, "--version"]
    commands = [sys.executable, "-I", "-c", "pass"], ours, small_copy(ours), compiled(ours)
    found = [[] for _ in commands]
    for _ in range(START_ROUNDS):
        for argv, times in zip(commands, found):
            began = time.monotonic()
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            times.append((time.monotonic() - began) * 1000)
    return [min(times) for times in found]


def bench(shared, table):
    """All measures."""
    wall, others, memory = in_lab(HEALTHY, shared, lambda lab, argv: healthy(
        lab, argv, shared.folder))
    table.add("healthy https target, netdiag", wall, "s", 1.2)
    table.add("  ping, traceroute, dig, nc, curl, ... all at once", others, "s")
    table.add("  netdiag against them", wall / others, "x", 0.3)
    add_each(table, "  peak memory", memory, "MiB", 40)
    wall, resent, memory = in_lab(SILENT, shared, silent)
    table.add("silently dropped port, netdiag", wall, "s", 4.5)
    table.add("  SYNs sent again that it saw", resent, "", 2, least=True)
    add_each(table, "  peak memory", memory, "MiB", 40)
    nothing, *ours = starts(shared.netdiag)
    table.add("python3 -I -c pass", nothing, "ms")
    table.add("--version", ours[0], "ms")
    add_each(table, "  --version against it", [ms / nothing for ms in ours], "x", 4)


def add_each(table, what, values, unit, limit):
    """One measure of the file itself, of its small copy, and of it compiled."""
    for value, of in zip(values, ("", ", `make small`", ", `-m netdiag`")):
        table.add(what + of, value, unit, limit)


def main():
    """Look for what is needed, measure, judge."""
    absent = sorted({argv[0] for argv in COMMANDS if not shutil.which(argv[0], path=launch.PATH)})
    problem = run.missing() or absent and "the comparison needs " + ", ".join(absent)
    if problem:
        print(problem)
        return 2
    topology.exit_on_signals()
    topology.sweep_stale()
    python, table = run.find_python(sys.executable), Table()
    print("Python %s, load %.1f" % (python.version, os.getloadavg()[0]))
    shared = run.make_shared([python])
    with open(os.path.join(shared.folder, SMALL), "wb") as stream:
        small.write(stream)
    py_compile.compile(shared.netdiag)
    os.chdir(os.path.dirname(shared.netdiag))        # where -m finds it
    try:
        bench(shared, table)
    finally:
        run.remove_shared(shared)
    return int(table.missed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Run netdiag against the faults of the lab and compare what it says with what was broken.

    python3 tests/lab/run.py                             every fault, every environment
    python3 tests/lab/run.py --fault NAME --show         the text report of one fault
    python3 tests/lab/run.py --env root-all nobody-none --python 3.6 3.13 --jobs 8
    python3 tests/lab/run.py --list                      what there is

An environment is a user (root, nobody) and a set of commands (all, busybox, none); nobody has no
capability and none means that no command exists but the Python that runs netdiag.  A word of
--fault may be a pattern (tls-*).  Every run of netdiag gets a network of its own.
Exit status: 0 when every verdict was right, 1 when not, 2 when the lab itself failed.
"""
import argparse
import collections
import fnmatch
import glob
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import faults                                                      # noqa: E402
import launch                                                      # noqa: E402
import services                                                    # noqa: E402
import topology                                                    # noqa: E402

NETDIAG = os.path.join(HERE, os.pardir, os.pardir, "netdiag.py")
ENVIRONMENTS = tuple(user + "-" + tools for user in ("root", "nobody")
                     for tools in ("all", "busybox", "none"))
RUN_TIMEOUT_S = 120                   # a diagnosis that takes longer has hung
OPEN_PING_RANGE = "0 2147483647"      # what systemd sets; the kernel's own default is nobody

Python = collections.namedtuple("Python", "path home version")
Shared = collections.namedtuple("Shared", "folder netdiag suffix lock")
Job = collections.namedtuple("Job", "fault environment python")
Outcome = collections.namedtuple("Outcome", "fault environment python code suspect seconds "
                                            "code_right place_right problems excerpt packets")


# -- once per run ---------------------------------------------------------------------------------

def missing():
    """What this machine lacks for the lab, as one sentence; '' when nothing."""
    if os.geteuid() != 0:
        return "the lab needs root"
    wanted = ("ip", "nft", "ping", "unshare", "openssl", "nginx", "sshd", "dnsmasq", "ssh-keygen")
    absent = [name for name in wanted if not shutil.which(name, path=launch.PATH)]
    absent += services.missing_commands(launch.PATH)
    return "the lab needs " + ", ".join(absent) if absent else ""


def find_python(word):
    """The interpreter that a word means: a path, or a version such as 3.6."""
    found = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/%s*/bin/python3" % word)))
    path = word if os.sep in word else found[-1] if found else shutil.which("python" + word)
    if not path:
        raise SystemExit("no Python %s here" % word)
    script = "import sys; print(sys.executable); print(sys.base_prefix); print(sys.version[:4])"
    lines = topology.check_call([path, "-c", script]).split("\n")
    return Python(os.path.realpath(lines[0]), lines[1], lines[2].strip(". "))


def make_shared(pythons, netdiag=NETDIAG):
    """Certificates, configurations, a readable netdiag.py and the two poor sets of commands."""
    suffix = "run%06x" % int.from_bytes(os.urandom(3), "big")
    lock = topology.hold_lock(suffix)           # or the next run would sweep it away
    folder = topology.make_folder(suffix)
    services.prepare(folder)
    make_command_sets(folder, pythons)
    shutil.copy(netdiag, folder + "/netdiag.py")
    os.chmod(folder + "/netdiag.py", 0o644)
    os.mkdir(folder + "/without-ssl")
    with open(folder + "/without-ssl/ssl.py", "w") as stub:        # found before the real one
        stub.write("raise ImportError('a Python without ssl')\n")
    return Shared(folder, folder + "/netdiag.py", suffix, lock)


def remove_shared(shared):
    """Take away what make_shared made."""
    topology.remove_folders(shared.suffix)
    topology.drop_lock(shared.suffix, shared.lock)


def make_command_sets(folder, pythons):
    """commands-none and commands-busybox; a Python that lives in a hidden folder comes along."""
    hidden = launch.real_folders()
    for kind in ("none", "busybox"):
        target = os.path.join(folder, "commands-" + kind)
        os.mkdir(target)
        for python in pythons:
            if os.path.dirname(python.path) in hidden:
                shutil.copy(python.path, target)
    busybox = shutil.which("busybox", path=launch.PATH)
    if busybox:
        shutil.copy(busybox, target + "/busybox")
        for applet in topology.check_call([busybox, "--list"]).split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(target, applet))


# -- one diagnosis --------------------------------------------------------------------------------

def start_services(lab, shared, fault):
    """The real services, then what the fault asks for; see faults.py for the words."""
    liars = [word.split() for word in fault.serve if word.startswith("dns ")]
    lied = {address for words in liars for address in words[2:]}
    honest = [address for address in services.RESOLVERS if address not in lied]
    if "no-nginx" not in fault.serve:
        services.start_nginx(lab, shared.folder)
    if "no-sshd" not in fault.serve:
        services.start_sshd(lab, shared.folder)
    if "no-dns" not in fault.serve and honest:
        services.start_dnsmasq(lab, shared.folder, honest)
    for words in liars:
        services.start_dns_liar(lab, words[1], words[2:])
    for word in fault.serve:
        start_one(lab, shared, word.split())


def start_one(lab, shared, words):
    """One word of a fault's `serve`."""
    if words[0] == "liars":
        services.start_liars(lab, words[1:], shared=shared.folder)
    elif words[0] == "liars-at":
        services.start_liars(lab, words[2:], words[1], shared.folder)
    elif words[0] == "proxy":
        services.start_proxy(lab, words[1])
    elif words[0] == "s_server":
        services.start_s_server(lab, shared.folder, *words[1:])
    elif words[0] == "delay":
        services.start_delay(lab, words[1])
    elif words[0] == "dated":
        services.start_dated(lab, shared.folder, *words[1:])
    elif words[0] == "noise":
        lab.serve("neighbor", [sys.executable, services.LIARS] + words, "ready")
    elif words[0] in ("holdports", "tun"):
        lab.serve("client", [sys.executable, services.LIARS] + words, "ready")
    elif words[0] in services.STARTERS:
        services.STARTERS[words[0]](lab, shared.folder, *words[1:])


def inject(lab, fault):
    """Break what the fault says."""
    for node, script in fault.do:
        lab.sh(node, script)


def spec(job, shared, arguments):
    """What launch.py is told."""
    user, tools = job.environment.split("-")
    env = {name: text.replace("FOLDER", shared.folder) for name, text in job.fault.env}
    return {"argv": [job.python.path, shared.netdiag] + arguments, "user": user,
            "mask": None if tools == "all" else shared.folder + "/commands-" + tools,
            "home": job.python.home, "nofile": int(env.pop("nofile", 0)), "env": real_env(env)}


def real_env(env):
    """The variables of netdiag itself."""
    env.pop("ping_range", None)
    if "LD_LIBRARY_PATH" in os.environ:         # hosted CI keeps libpython in an odd place
        env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return env


def arguments(fault, shared, json_wanted):
    """netdiag's command line for a fault."""
    words = ["--cafile", shared.folder + "/root.pem"] + list(fault.options)
    return words + (["--json"] if json_wanted else []) + ([fault.target] if fault.target else [])


def ping_range(job):
    """root with all commands may ping through datagram sockets; else the kernel's default."""
    wanted = dict(job.fault.env).get("ping_range")
    return wanted or (OPEN_PING_RANGE if job.environment == "root-all" else "1 0")


def diagnose(job, shared, json_wanted=True):
    """Build a lab, break it, run netdiag in it: status, standard output, errors, seconds."""
    fault = job.fault
    with topology.Lab(fault.resolv, fault.hosts) as lab:
        start_services(lab, shared, fault)
        lab.sh("client", "echo %s >/proc/sys/net/ipv4/ping_group_range" % ping_range(job))
        inject(lab, fault)
        told = json.dumps(spec(job, shared, arguments(fault, shared, json_wanted)))
        started = time.monotonic()
        child = lab.popen("client", [sys.executable, launch.__file__, told], close_fds=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        try:
            out, err = child.communicate(timeout=RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            err += b"\nlab: killed after %d s" % RUN_TIMEOUT_S
        return (child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"),
                time.monotonic() - started)


# -- judging --------------------------------------------------------------------------------------

def judge(fault, document, status):
    """Compare a report with the fault: code right, place right, list of what is wrong."""
    entry = document["targets"][0]
    verdict, found = entry["verdict"], {f["code"] for f in entry["findings"]}
    code, suspects = verdict["code"], verdict["suspects"] or []
    problems = []
    code_right = code in fault.code
    if not code_right:
        problems.append("code %s, not %s" % (code, " or ".join(fault.code)))
    place_right = code == "ok" or not fault.where or bool(suspects and suspects[0] in fault.where)
    if not place_right:
        problems.append("place %s, not %s" % (suspects, " or ".join(fault.where)))
    for wanted in fault.findings:
        if wanted not in found and wanted != code:
            problems.append("finding %s is missing" % wanted)
    for extra in sorted({f["code"] for f in entry["findings"] if f["severity"] == "fail"}):
        if extra not in fault.code + fault.findings:
            problems.append("also blames %s" % extra)
    for unwanted in fault.never:
        if unwanted in found or unwanted == code:
            problems.append("%s must not be said" % unwanted)
    problems += ["crashed: %(question)s (%(why)s)" % u for u in entry["unjudged"]
                 if "crashed" in u["why"]]
    fine = (0,) if document["complete"] else (3,)
    if status not in (fine if code == "ok" else (1, 3)):
        problems.append("exit status %s with verdict %s" % (status, code))
    return code_right, place_right, problems


def excerpt(document, err):
    """The first lines of a report, for whoever has to find out why it is wrong."""
    entry = document["targets"][0]
    lines = ["verdict %(code)s %(suspects)s %(confidence)s: %(summary)s" % entry["verdict"]]
    lines += ["%(severity)s %(code)s %(suspects)s: %(summary)s" % f for f in entry["findings"]]
    lines += ["not judged: %(question)s (%(why)s)" % u for u in entry["unjudged"][:4]]
    return lines + err.strip().split("\n")[-5:]


def run_job(job, shared):
    """One fault in one environment: an Outcome, whatever happens."""
    status, out, err, seconds = diagnose(job, shared)
    names = (job.fault.name, job.environment, job.python.version)
    try:
        document = json.loads(out)
        code_right, place_right, problems = judge(job.fault, document, status)
        verdict = document["targets"][0]["verdict"]
        suspect = (verdict["suspects"] or ["-"])[0]
        lines, packets = excerpt(document, err), document["packets_sent"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        lines = (err.strip() or out.strip()).split("\n")[-12:]
        return Outcome(*names + ("-", "-", seconds, False, False,
                                 ["no report, status %s: %r" % (status, error)], lines, 0))
    return Outcome(*names + (verdict["code"], suspect, seconds, code_right, place_right, problems,
                             lines, packets))


# -- many at a time -------------------------------------------------------------------------------

def in_child(job, shared, pipe):
    """The life of one worker process: run the job, write the outcome, be gone."""
    topology.die_with_parent()
    topology.exit_on_signals()
    try:
        outcome = run_job(job, shared)
    except Exception as error:                  # the lab's own trouble is an outcome as well
        outcome = Outcome(job.fault.name, job.environment, job.python.version, "lab", "-", 0.0,
                          False, False, ["lab: %s: %s" % (type(error).__name__, error)], [], 0)
    topology.reap_orphans()
    with os.fdopen(pipe, "w") as handle:
        json.dump(outcome, handle)


def start_worker(job, shared):
    """Fork a worker; its pipe and process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    status = 1
    try:
        os.close(reader)
        in_child(job, shared, writer)
        status = 0
    finally:
        os._exit(status)                        # never back into the caller's finally blocks


def read_all(reader):
    """Everything up to the end of a pipe."""
    with os.fdopen(reader, "rb") as handle:
        return handle.read()


def run_all(jobs, shared, parallel):
    """Run the jobs so many at a time; yields every Outcome as it comes."""
    waiting, running = collections.deque(jobs), {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.popleft()
                reader, pid = start_worker(job, shared)
                running[reader] = (pid, job)
            for reader in select.select(list(running), [], [])[0]:
                pid, job = running.pop(reader)
                told = read_all(reader)
                os.waitpid(pid, 0)
                yield Outcome(*json.loads(told.decode())) if told else Outcome(
                    job.fault.name, job.environment, job.python.version, "lab", "-", 0.0, False,
                    False, ["lab: the worker died"], [], 0)
    finally:
        for pid, _ in running.values():
            os.kill(pid, signal.SIGTERM)
        for pid, _ in running.values():
            os.waitpid(pid, 0)


def run_matrix(wanted, environments, pythons, parallel, netdiag=NETDIAG, repeat=1):
    """Every fault in every environment on every Python, so many times."""
    topology.sweep_stale()
    shared = make_shared(pythons, netdiag)
    jobs = [Job(fault, environment, python) for python in pythons for environment in environments
            for fault in wanted] * repeat
    try:
        for outcome in run_all(jobs, shared, parallel):
            yield outcome
    finally:
        remove_shared(shared)
        topology.sweep_stale()


# -- the command line -----------------------------------------------------------------------------

def pick(patterns):
    """The faults that the patterns name."""
    chosen = [fault for fault in faults.FAULTS
              if not patterns or any(fnmatch.fnmatch(fault.name, p) for p in patterns)]
    if not chosen:
        raise SystemExit("no such fault; see --list")
    return chosen


def print_list(wanted):
    """The table of faults, one a line."""
    for fault in wanted:
        print("%-34s %-40s %-30s %s" % (fault.name, fault.target or "(no target)",
                                        "|".join(fault.code), "|".join(fault.where)))
    print("%d faults" % len(wanted))


def print_outcome(outcome):
    """One line of the table, and the reasons below it when it is wrong."""
    print("%-34s %-15s %-5s %-22s %-15s %5.1f %4d  %s" % (
        outcome.fault, outcome.environment, outcome.python, outcome.code, outcome.suspect,
        outcome.seconds, outcome.packets, "WRONG" if outcome.problems else "ok"))
    for line in outcome.problems:
        print("    ! " + line)
    if outcome.problems:
        for line in outcome.excerpt:
            print("    | " + line[:300])
    sys.stdout.flush()


def print_accuracy(outcomes, seconds):
    """The bottom line."""
    count = len(outcomes) or 1
    for title, right in (("code", sum(bool(o.code_right) for o in outcomes)),
                         ("place", sum(bool(o.place_right) for o in outcomes)),
                         ("all", sum(not o.problems for o in outcomes))):
        print("%-6s %4d of %4d  %5.1f %%" % (title, right, len(outcomes), 100.0 * right / count))
    slow = sorted(outcomes, key=lambda o: -o.seconds)[:3]
    chatty = sorted(outcomes, key=lambda o: -o.packets)[:3]
    print("%.0f s; median %.1f s, slowest: %s; most packets: %s" % (
        seconds, statistics.median([o.seconds for o in outcomes] or [0]),
        ", ".join("%s %.1f s" % (o.fault, o.seconds) for o in slow),
        ", ".join("%s %d" % (o.fault, o.packets) for o in chatty)))


def print_flicker(outcomes):
    """With --repeat: the faults whose verdict was not the same in every run of one environment."""
    said = collections.OrderedDict()
    for o in outcomes:
        said.setdefault((o.fault, o.environment, o.python), collections.Counter())[o.code] += 1
    for key, codes in said.items():
        if len(codes) > 1:
            print("flickers: %s %s %s: %s" % (key + (dict(codes),)))
    print("%d of %d verdicts flicker" % (sum(len(c) > 1 for c in said.values()), len(said)))


def show(fault, environment, python, netdiag):
    """The text report of one fault, as its reader would get it."""
    shared = make_shared([python], netdiag)
    try:
        status, out, err, seconds = diagnose(Job(fault, environment, python), shared, False)
        print(out + err + "-- exit status %s, %.1f s" % (status, seconds))
    finally:
        remove_shared(shared)


def parse(argv):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fault", nargs="+", action="append", default=[])
    parser.add_argument("--env", nargs="+", choices=ENVIRONMENTS, default=list(ENVIRONMENTS))
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--netdiag", default=NETDIAG, help="another program to put to the test")
    parser.add_argument("--repeat", type=int, default=1, help="so many times: does it flicker?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args(argv)
    options.fault = [word for words in options.fault for word in words]
    return options


def main(argv):
    """Run, print, judge."""
    options = parse(argv)
    wanted = pick(options.fault)
    if options.list:
        return print_list(wanted)
    if missing():
        print(missing())
        return 2
    topology.exit_on_signals()
    pythons = [find_python(word) for word in options.python]
    if options.show:
        return show(wanted[0], options.env[0], pythons[0], options.netdiag)
    started, outcomes = time.monotonic(), []
    for outcome in run_matrix(wanted, options.env, pythons, options.jobs,
                              options.netdiag, options.repeat):
        outcomes.append(outcome)
        print_outcome(outcome)
    print_accuracy(outcomes, time.monotonic() - started)
    if options.repeat > 1:
        print_flicker(outcomes)
    return 2 if any(o.code == "lab" for o in outcomes) else int(any(o.problems for o in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

r"""The network of the lab, as data, and the object that builds it and takes it away again.

    192.0.2.0/26                                            203.0.113.0/25
    2001:db8:1::/64                                         2001:db8:3::/64

    client .10 --+          .1        .2  transit   .9        .10        .1
                 +--[switch]-- gateway ----------------------- sgw ----------- server .10
    neighbor .20-+                |      / .65   \ .81          |              (and .11)
                                  |     /         \             |
                                  |  resolver     proxy         |
                                  |  .70 .71      .90           |
                                  |                             |
                                  +---------- transit2 ---------+
                                  .5       .6          .13     .14

    Everything between the two segments is in 198.51.100.0/24; IPv6 follows the table below.
    transit2 carries nothing until a fault (ECMP, asymmetric way) sends something through it.
    switch is a bridge in a namespace of its own: a port without master is a wrong VLAN, a port
    that is down is a pulled cable.  No namespace has a link to the machine that runs the lab.

All addresses are documentation addresses.  The kernel's ICMP rate limits stay as they are.
"""
import atexit
import collections
import ctypes
import fcntl
import glob
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

Iface = collections.namedtuple("Iface", "node name v4 v6")
Link = collections.namedtuple("Link", "node iface peer peer_iface")
Route = collections.namedtuple("Route", "node destination via")

PREFIX = "nd-"                        # namespaces are named nd-<six hex digits>-<node>
LOCKS = os.path.join(tempfile.gettempdir(), "netdiag-lab.locks")
NETNS_ETC = "/etc/netns"
COMMAND_TIMEOUT_S = 20                # set-up commands take milliseconds; this only bounds a hang

NODES = ("client", "neighbor", "switch", "gateway", "transit", "transit2", "resolver", "proxy",
         "sgw", "server")
ROUTERS = ("gateway", "transit", "transit2", "sgw")

LINKS = (
    Link("client", "eth0", "switch", "client"),
    Link("neighbor", "eth0", "switch", "neighbor"),
    Link("gateway", "lan", "switch", "gateway"),
    Link("gateway", "wan", "transit", "gw"),
    Link("gateway", "wan2", "transit2", "gw"),
    Link("transit", "dns", "resolver", "eth0"),
    Link("transit", "prx", "proxy", "eth0"),
    Link("transit", "sgw", "sgw", "wan"),
    Link("transit2", "sgw", "sgw", "wan2"),
    Link("sgw", "lan", "server", "eth0"),
)

ADDRESSES = (
    Iface("client", "eth0", "192.0.2.10/26", "2001:db8:1::10/64"),
    Iface("neighbor", "eth0", "192.0.2.20/26", "2001:db8:1::20/64"),
    Iface("gateway", "lan", "192.0.2.1/26", "2001:db8:1::1/64"),
    Iface("gateway", "wan", "198.51.100.1/30", "2001:db8:12::1/64"),
    Iface("gateway", "wan2", "198.51.100.5/30", "2001:db8:14::1/64"),
    Iface("transit", "gw", "198.51.100.2/30", "2001:db8:12::2/64"),
    Iface("transit", "sgw", "198.51.100.9/30", "2001:db8:23::1/64"),
    Iface("transit", "dns", "198.51.100.65/28", "2001:db8:53::1/64"),
    Iface("transit", "prx", "198.51.100.81/28", "2001:db8:80::1/64"),
    Iface("transit2", "gw", "198.51.100.6/30", "2001:db8:14::2/64"),
    Iface("transit2", "sgw", "198.51.100.13/30", "2001:db8:43::1/64"),
    Iface("resolver", "eth0", "198.51.100.70/28", "2001:db8:53::70/64"),
    Iface("resolver", "eth0", "198.51.100.71/28", "2001:db8:53::71/64"),
    Iface("proxy", "eth0", "198.51.100.90/28", "2001:db8:80::90/64"),
    Iface("sgw", "wan", "198.51.100.10/30", "2001:db8:23::2/64"),
    Iface("sgw", "wan2", "198.51.100.14/30", "2001:db8:43::2/64"),
    Iface("sgw", "lan", "203.0.113.1/25", "2001:db8:3::1/64"),
    Iface("server", "eth0", "203.0.113.10/25", "2001:db8:3::10/64"),
    Iface("server", "eth0", "203.0.113.11/25", "2001:db8:3::11/64"),
)

# sgw and transit have no default route, so that an unknown network is unknown to them.
ROUTES = (
    Route("client", "default", "192.0.2.1"), Route("client", "default", "2001:db8:1::1"),
    Route("neighbor", "default", "192.0.2.1"), Route("neighbor", "default", "2001:db8:1::1"),
    Route("gateway", "default", "198.51.100.2"), Route("gateway", "default", "2001:db8:12::2"),
    Route("transit", "192.0.2.0/24", "198.51.100.1"),
    Route("transit", "198.51.100.4/30", "198.51.100.1"),
    Route("transit", "198.51.100.12/30", "198.51.100.10"),
    Route("transit", "203.0.113.0/24", "198.51.100.10"),
    Route("transit", "2001:db8:1::/48", "2001:db8:12::1"),
    Route("transit", "2001:db8:14::/48", "2001:db8:12::1"),
    Route("transit", "2001:db8:43::/48", "2001:db8:23::2"),
    Route("transit", "2001:db8:3::/48", "2001:db8:23::2"),
    Route("transit2", "default", "198.51.100.5"), Route("transit2", "default", "2001:db8:14::1"),
    Route("transit2", "203.0.113.0/24", "198.51.100.14"),
    Route("transit2", "2001:db8:3::/48", "2001:db8:43::2"),
    Route("resolver", "default", "198.51.100.65"), Route("resolver", "default", "2001:db8:53::1"),
    Route("proxy", "default", "198.51.100.81"), Route("proxy", "default", "2001:db8:80::1"),
    Route("sgw", "192.0.2.0/24", "198.51.100.9"),
    Route("sgw", "198.51.100.0/24", "198.51.100.9"),
    Route("sgw", "2001:db8:1::/48", "2001:db8:23::1"),
    Route("sgw", "2001:db8:12::/48", "2001:db8:23::1"),
    Route("sgw", "2001:db8:53::/48", "2001:db8:23::1"),
    Route("sgw", "2001:db8:80::/48", "2001:db8:23::1"),
    Route("server", "default", "203.0.113.1"), Route("server", "default", "2001:db8:3::1"),
)

# Who owns an address: for the tests that compare a reported hop with the box that made it.
OWNER = {address.split("/")[0]: iface.node
         for iface in ADDRESSES for address in (iface.v4, iface.v6)}

RESOLV_CONF = "nameserver 198.51.100.70\n"
HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"

# New links need a moment before they carry frames; -w with -c waits for one answer, no longer.
# The way is also walked once, so that every neighbour table is as warm as on a living network.
PRIME = "pids=; for a in %s; do ping -n -q -i 0.02 -c 1 -w 5 $a >/dev/null & pids=\"$pids $!\"; " \
        "done; for p in $pids; do wait $p; done" % " ".join((
            "192.0.2.1 192.0.2.20 198.51.100.70 198.51.100.90 203.0.113.10 203.0.113.11",
            "2001:db8:1::1 2001:db8:1::20 2001:db8:53::70 2001:db8:3::10 2001:db8:3::11"))


class LabError(Exception):
    """The lab could not be built, or a command that must work in it did not."""


def adopt_orphans():
    """Daemons that go to the background become our children again, so that we can reap them."""
    ctypes.CDLL(None).prctl(36, 1)              # PR_SET_CHILD_SUBREAPER


def die_with_parent():
    """In a child before exec: SIGKILL when the process that started it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def check_call(argv, text=None):
    """Run a command that must succeed; its output comes back, its error text in LabError."""
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=COMMAND_TIMEOUT_S)
    if done.returncode:
        raise LabError("%s: %s" % (" ".join(argv), (done.stderr or done.stdout).strip()))
    return done.stdout


def await_file(handle, text, timeout_s):
    """Read a pipe until a line contains the text; the lines read so far come back."""
    fd, seen, end = handle.fileno(), b"", time.monotonic() + timeout_s
    while text.encode() not in seen:
        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            raise LabError("no %r within %s s, only %r" % (text, timeout_s, seen[-400:]))
        piece = os.read(fd, 4096)
        if not piece:
            raise LabError("ended before %r: %r" % (text, seen[-400:]))
        seen += piece
    return seen.decode("utf-8", "replace")


class Lab:
    """One private copy of the drawing above.  A context manager; closing twice does no harm."""

    def __init__(self, resolv_conf=RESOLV_CONF, hosts=""):
        self.suffix = "%06x" % int.from_bytes(os.urandom(3), "big")
        self.files = {"resolv.conf": resolv_conf, "hosts": HOSTS + hosts,
                      "nsswitch.conf": NSSWITCH}
        self.children = []
        self.folder = None
        self.lock = None

    def __enter__(self):
        atexit.register(self.close)
        try:
            return self.build()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()
        atexit.unregister(self.close)

    def name(self, node):
        """The name of a node's namespace in this lab."""
        return "%s%s-%s" % (PREFIX, self.suffix, node)

    def build(self):
        """Namespaces, links, addresses, routes: all there when this returns."""
        adopt_orphans()
        self.lock = hold_lock(self.suffix)
        self.folder = make_folder(self.suffix)
        check_call(["ip", "-batch", "-"], self.skeleton())
        self.write_etc()
        self.everywhere({node: self.node_script(node) for node in NODES})
        self.sh("client", PRIME)
        return self

    def skeleton(self):
        """The batch that makes the empty namespaces and the cables between them."""
        lines = ["netns add " + self.name(node) for node in NODES]
        for link in LINKS:
            lines.append("link add %s netns %s type veth peer name %s netns %s" % (
                link.iface, self.name(link.node), link.peer_iface, self.name(link.peer)))
        return "\n".join(lines) + "\n"

    def node_script(self, node):
        """The shell script that makes an empty namespace one node of the drawing."""
        batch = ["link set lo up"]
        if node == "switch":
            batch += ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
            batch += ["link set %s master br0 up" % link.peer_iface
                      for link in LINKS if link.peer == "switch"]
        for iface in ADDRESSES:
            if iface.node == node:
                batch.append("addr add %s dev %s" % (iface.v4, iface.name))
                batch.append("addr add %s dev %s nodad" % (iface.v6, iface.name))
        if node == "gateway":
            batch.append("addr add fe80::1/64 dev lan nodad")
        batch += ["link set %s up" % name for name in sorted(
            {iface.name for iface in ADDRESSES if iface.node == node})]
        batch += ["route add %s via %s" % (route.destination, route.via)
                  for route in ROUTES if route.node == node]
        return "%s\nip -batch - <<END\n%s\nEND\n" % (sysctls(node), "\n".join(batch))

    def restore(self, node, name):
        """Give a new interface the addresses and the routes that the drawing has for it."""
        batch = ["addr add %s dev %s %s" % (address, name, "nodad" if ":" in address else "")
                 for iface in ADDRESSES if (iface.node, iface.name) == (node, name)
                 for address in (iface.v4, iface.v6)]
        batch += ["link set %s up" % name]
        batch += ["route replace %s via %s" % (route.destination, route.via)
                  for route in ROUTES if route.node == node]
        self.sh(node, "ip -batch - <<END\n%s\nEND" % "\n".join(batch))

    def everywhere(self, scripts):
        """Run one shell script per node, side by side."""
        running = [(node, self.popen(node, ["sh", "-e"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
                   for node in scripts]
        failed = []
        for node, child in running:
            out, _ = child.communicate(scripts[node].encode(), timeout=COMMAND_TIMEOUT_S)
            self.children.remove(child)
            if child.returncode:
                failed.append("%s: %s" % (node, out.decode("utf-8", "replace").strip()))
        if failed:
            raise LabError("; ".join(failed))

    def write_etc(self):
        """What ip netns exec puts over /etc: every node sees the lab's resolver, not ours."""
        for node in NODES:
            folder = os.path.join(NETNS_ETC, self.name(node))
            os.makedirs(folder, exist_ok=True)
            for name, text in self.files.items():
                with open(os.path.join(folder, name), "w") as handle:
                    handle.write(text)

    def popen(self, node, argv, **options):
        """Start a process in a node; it ends with the lab, or with us, whatever ends first."""
        child = subprocess.Popen(["ip", "netns", "exec", self.name(node)] + list(argv),
                                 preexec_fn=die_with_parent, start_new_session=True, **options)
        self.children.append(child)
        return child

    def sh(self, node, script):
        """Run a shell script in a node; it must succeed.  Its output comes back."""
        return check_call(["ip", "netns", "exec", self.name(node), "sh", "-ec", script])

    def nft(self, node, rules):
        """Load an nft script in a node."""
        check_call(["ip", "netns", "exec", self.name(node), "nft", "-f", "-"], rules)

    def serve(self, node, argv, ready, timeout_s=10, **options):
        """Start a service that writes a line holding `ready` once it can be used."""
        child = self.popen(node, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, **options)
        await_file(child.stdout, ready, timeout_s)
        return child

    def close(self):
        """End what we started, remove the namespaces, the files and the lock."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
        for child in self.children:
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe:
                    pipe.close()
        self.children = []
        remove_namespaces(self.suffix)
        remove_folders(self.suffix)
        if self.lock:
            drop_lock(self.suffix, self.lock)
            self.lock = None


def sysctls(node):
    """The kernel switches of a node: no waiting for duplicate addresses, routers forward."""
    lines = ["for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done",
             "for f in /proc/sys/net/ipv6/conf/*/accept_ra; do echo 0 >$f; done"]
    if node in ROUTERS:
        lines += ["echo 1 >/proc/sys/net/ipv4/ip_forward",
                  "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"]
    return "\n".join(lines)


def hold_lock(suffix):
    """A lock that lives as long as we do: whoever can take it may clear up after us."""
    path = os.path.join(LOCKS, suffix)
    os.makedirs(LOCKS, exist_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except FileNotFoundError:                   # the last other lab has just removed the folder
        os.makedirs(LOCKS, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def make_folder(suffix):
    """A folder for a lab's files; nobody must be able to read what lies in it."""
    folder = tempfile.mkdtemp(prefix="netdiag-lab-%s-" % suffix)
    os.chmod(folder, 0o755)
    return folder


def remove_folders(suffix):
    """The folders of a lab, whoever made them."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "netdiag-lab-%s-*" % suffix)):
        shutil.rmtree(folder, ignore_errors=True)


def drop_lock(suffix, handle):
    """Give a lock back."""
    os.unlink(os.path.join(LOCKS, suffix))
    os.close(handle)
    remove_if_empty(LOCKS)


def reap_orphans():
    """Collect the daemons that have become our children and have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def namespaces(suffix):
    """The namespaces of one lab that exist."""
    return [name for name in (PREFIX + suffix + "-" + node for node in NODES)
            if os.path.exists("/run/netns/" + name)]


def remove_namespaces(suffix):
    """Kill what still runs inside a lab's namespaces, by process id, then delete them."""
    names = namespaces(suffix)
    if names:
        for pid in pids_inside(names):
            kill_and_reap(pid)
        check_call(["ip", "-batch", "-"], "".join("netns del %s\n" % name for name in names))
    for node in NODES:
        shutil.rmtree(os.path.join(NETNS_ETC, PREFIX + suffix + "-" + node), ignore_errors=True)
    remove_if_empty(NETNS_ETC)


def kill_and_reap(pid):
    """End one process of ours; it may have ended already, or be another process's child."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def remove_if_empty(folder):
    """Remove a folder that others may still be using."""
    try:
        os.rmdir(folder)
    except OSError:
        pass


def pids_inside(names):
    """Processes whose network namespace is one of these; the namespaces are ours alone."""
    wanted = {(s.st_dev, s.st_ino) for s in (os.stat("/run/netns/" + name) for name in names)}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            space = os.stat("/proc/%s/ns/net" % pid)
        except OSError:                         # it ended meanwhile
            continue
        if (space.st_dev, space.st_ino) in wanted:
            found.append(int(pid))
    return found


def sweep_stale():
    """Remove labs whose owner died without a word (SIGKILL); living ones hold their lock."""
    for suffix in os.listdir(LOCKS) if os.path.isdir(LOCKS) else ():
        try:
            lock = hold_lock(suffix)
        except OSError:
            continue
        remove_namespaces(suffix)
        remove_folders(suffix)
        drop_lock(suffix, lock)


def exit_on_signals():
    """Turn the polite signals into SystemExit, so that every `with Lab()` is left in order."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)

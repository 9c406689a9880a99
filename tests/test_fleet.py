"""Two ends and fleets in the lab: `listen` and its client with something between them, merged; and
the README's recipes: reports of four hosts, collected by Ansible and by ssh through a pipe, merged.

The hosts are namespaces of the lab with a real sshd each.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))

import support                                                     # noqa: E402
import topology                                                    # noqa: E402

netdiag = support.load()
HOSTS = {"gateway": "192.0.2.1", "client": "192.0.2.10", "resolver": "198.51.100.70",
         "proxy": "198.51.100.90"}
SERVER, PORT = "203.0.113.10", 8080
TARGET = "%s:%d" % (SERVER, PORT)
SSHD = """
HostKey FOLDER/host
AuthorizedKeysFile FOLDER/user.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
SSH_OPTIONS = ("-i FOLDER/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
               " -o LogLevel=ERROR -o BatchMode=yes")
# From the segment of the client the server is not to be reached: the fault to be found.
CUT_OFF = ("table ip f {\n chain f { type filter hook forward priority 0\n"
           " ip saddr 192.0.2.0/24 tcp dport 8080 drop\n}\n}\n")

DROP = "table ip f {\n chain f { type filter hook forward priority 0\n tcp %s 8080 %s\n}\n}\n"
NO_ICMP = ("table ip m {\n chain o { type filter hook output priority 0\n"
           " icmp type destination-unreachable drop\n}\n}\n")
NAT = ("table ip n {\n chain p { type nat hook postrouting priority 100\n"
       " oifname wan masquerade\n}\n}\n")
# name: ({node: nft rules}, (node, command), the codes that the client's findings must hold,
# what `merge` says of both ends, its suspects)
FAULTS = {
    "nothing": ({}, None, ["path.far_end"], "ok", []),
    "nat": ({"gateway": NAT}, None, ["path.nat"], "ok", []),
    "forward": ({"sgw": DROP % ("dport", "drop")}, None, ["tcp.filtered"], "oneway.forward",
                ["server_network"]),
    "reverse": ({"sgw": DROP % ("sport", "drop")}, None, ["tcp.filtered"], "oneway.reverse",
                ["server_network", "transit", "client_network"]),
    "reverse behind NAT": ({"gateway": NAT, "sgw": DROP % ("sport", "drop")}, None,
                           ["tcp.filtered"], "oneway.reverse",
                           ["server_network", "transit", "client_network"]),
    "box": ({"sgw": DROP % ("dport", "reject with tcp reset")}, None, ["tcp.refused"],
            "tcp.refused", ["server_network"]),
    "hole going": ({"transit": NO_ICMP}, ("transit", "ip link set sgw mtu 1300"),
                   ["path.mtu_blackhole", "path.far_end"], "path.mtu_blackhole", None),
    "hole coming": ({"sgw": NO_ICMP}, ("sgw", "ip link set wan mtu 1300"),
                    ["path.mtu_blackhole", "path.far_end"], "path.mtu_blackhole", None),
}


class TwoEnds(unittest.TestCase):
    """Both ends in namespaces, with routers between them that do something to the packets."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        support.need(os.getuid() == 0, "namespaces with routers need root")
        for tool in ("ip", "nft", "ping"):
            support.need(netdiag.find_program(tool), "no %s here" % tool)
        topology.adopt_orphans()
        with ThreadPoolExecutor(4) as pool:
            cls.found = dict(zip(FAULTS, pool.map(cls.run_fault, FAULTS)))

    @staticmethod
    def run_fault(name):
        """Reports of client and server, and of both merged, under one fault."""
        rules, command, _, _, _ = FAULTS[name]
        program = [sys.executable, "-W", "error", "-B", support.PROGRAM]
        with topology.Lab() as lab:
            for node, text in rules.items():
                lab.nft(node, text)
            if command:
                lab.sh(*command)
            server = lab.popen("server", program + [
                "listen", str(PORT), "--bind", SERVER, "--for", "30s", "--json"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            lab.sh("server", "until grep -q ':%04X 00000000:0000 0A' /proc/net/tcp; do sleep 0.05;"
                   " done" % PORT)
            client = lab.popen("client", program + ["tcp://%s:%d" % (SERVER, PORT), "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            seen, errors = client.communicate(timeout=40)
            server.send_signal(signal.SIGINT)
            told, more = server.communicate(timeout=20)
        return seen.decode(), told.decode(), (errors + more).decode()

    def test_client(self):
        """What the client alone sees."""
        for name, (_, _, codes, _, _) in FAULTS.items():
            with self.subTest(fault=name):
                seen, _, errors = self.found[name]
                self.assertEqual(errors, "")
                findings = json.loads(seen)["targets"][0]["findings"]
                self.assertLessEqual(set(codes), {found["code"] for found in findings})

    def test_holes(self):
        """Which direction has the hole: the stand-in says how much has come."""
        for name, words in (("hole going", "on the way to " + SERVER),
                            ("hole coming", "on the way back from " + SERVER)):
            findings = json.loads(self.found[name][0])["targets"][0]["findings"]
            self.assertIn(words, " ".join(found["summary"] for found in findings))

    def test_half_open(self):
        """The stand-in itself sees that its answers are lost."""
        target, = json.loads(self.found["reverse"][1])["targets"]
        self.assertEqual(target["verdict"]["code"], "handshake.incomplete")

    def test_merged(self):
        """What both reports together say."""
        for name, (_, _, _, code, suspects) in FAULTS.items():
            with self.subTest(fault=name), support.folder() as path:
                for number, text in enumerate(self.found[name][:2]):
                    with open(os.path.join(path, str(number)), "w") as stream:
                        stream.write(text)
                run = support.netdiag_run("merge", "--json", "--from", path)
                target, = json.loads(run.out)["targets"]
                self.assertEqual(target["verdict"]["code"], code, target["verdict"]["summary"])
                if suspects is not None:
                    self.assertEqual(target["verdict"]["suspects"], suspects)
                nat = [found for found in target["findings"] if found["code"] == "path.nat"]
                self.assertEqual(bool(nat), "nat" in name.lower())


class Fleet(unittest.TestCase):
    """One lab, several ways to collect."""

    @classmethod
    def setUpClass(cls):
        support.need(os.getuid() == 0, "namespaces with sshd need root")
        for tool in ("ip", "nft", "ping", "ssh", "ssh-keygen", "sshd"):
            support.need(netdiag.find_program(tool), "no %s here" % tool)
        topology.adopt_orphans()
        cls.lab = topology.Lab()
        cls.lab.__enter__()
        try:
            cls.prepare()
        except BaseException:                     # 3.6 has no addClassCleanup
            cls.lab.close()
            raise

    @classmethod
    def prepare(cls):
        """An sshd on each host, the service, the fault."""
        folder = cls.folder = cls.lab.folder
        for name in ("host", "user"):
            subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                                   os.path.join(folder, name)])
        with open(folder + "/sshd.conf", "w") as stream:
            stream.write(SSHD.replace("FOLDER", folder))
        for host in HOSTS:
            cls.lab.serve(host, ["sh", "-c", "mount -t tmpfs none /run && mkdir -m 755 /run/sshd &&"
                                 " exec %s -D -e -f %s/sshd.conf" % (
                                     netdiag.find_program("sshd"), folder)], "listening")
        cls.lab.serve("server", [sys.executable, "-u", "-m", "http.server", "8080"], "Serving")
        cls.lab.nft("sgw", CUT_OFF)
        cls.ssh = ["ssh"] + SSH_OPTIONS.replace("FOLDER", folder).split()

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    def run_inside(self, argv, **options):
        """A command of the controller, which is the neighbor."""
        child = self.lab.popen("neighbor", argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               **options)
        out, err = child.communicate(timeout=120)
        return child.returncode, out.decode(), err.decode()

    def check(self, folder):
        """The merged matrix of a folder: the client's segment fails, the others work."""
        run = support.netdiag_run("merge", "--json", "--from", folder)
        self.assertEqual(run.status, 1, run.err)
        group = json.loads(run.out)["group"]
        self.assertEqual(group["unusable"], {})
        codes = {host.rpartition("(")[2].rstrip(")"): row
                 for host, row in zip(group["matrix"]["hosts"], group["matrix"]["codes"])}
        self.assertEqual(len(codes), 4, codes)
        self.assertEqual([codes[HOSTS[host]] for host in ("resolver", "proxy")], [["ok"], ["ok"]])
        self.assertNotEqual(codes[HOSTS["client"]], ["ok"])
        self.assertEqual(group["verdict"]["code"], codes[HOSTS["client"]][0])

    def test_ssh_in_a_loop(self):
        """The program comes through the pipe, the report goes back; kubectl exec -i is the same."""
        with support.folder() as folder:
            for host, address in HOSTS.items():
                with open(support.PROGRAM, "rb") as program:
                    _, out, err = self.run_inside(self.ssh + [
                        "root@" + address, sys.executable, "-B", "-", TARGET, "--json"],
                        stdin=program)
                self.assertEqual(err, "")
                with open(os.path.join(folder, host), "w") as stream:
                    stream.write(out)
            self.check(folder)

    def test_ansible(self):
        """`ansible -m script --tree`: its own JSON around each report."""
        ansible = shutil.which("ansible")
        support.need(ansible, "no ansible here: install ansible-core")
        with support.folder() as folder:
            with open(folder + "/hosts", "w") as stream:
                stream.writelines("%s ansible_user=root ansible_python_interpreter=%s\n" % (
                    address, sys.executable) for address in HOSTS.values())
            environment = dict(os.environ, ANSIBLE_SSH_ARGS=" ".join(self.ssh[1:]), HOME=folder,
                               ANSIBLE_LOCAL_TEMP=folder, ANSIBLE_HOST_KEY_CHECKING="False",
                               LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1")
            status, out, err = self.run_inside([
                ansible, "all", "-i", folder + "/hosts", "-m", "script", "-a",
                "%s %s --json executable=%s" % (support.PROGRAM, TARGET, sys.executable),
                "--tree", folder + "/reports"], env=environment)
            self.assertTrue(os.path.isdir(folder + "/reports"), out + err)
            self.check(folder + "/reports")


if __name__ == "__main__":
    unittest.main()

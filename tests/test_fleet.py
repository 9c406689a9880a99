"""The README's recipes for fleets: reports of four hosts, collected by Ansible, ssh and a pipe, merged.

The hosts are namespaces of the lab with a real sshd each.  Ansible is looked for on the PATH and in
$NETDIAG_ANSIBLE (a folder of commands, such as the bin of a venv with ansible-core).
"""

import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))

import support                                                     # noqa: E402
import topology                                                    # noqa: E402

netdiag = support.load()
HOSTS = {"gateway": "192.0.2.1", "client": "192.0.2.10", "resolver": "198.51.100.70",
         "proxy": "198.51.100.90"}
TARGET = "203.0.113.10:8080"
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
DROP = ("table ip f {\n chain f { type filter hook forward priority 0\n"
        " ip saddr 192.0.2.0/24 tcp dport 8080 drop\n}\n}\n")


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
        cls.lab.nft("sgw", DROP)
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
        path = os.environ.get("NETDIAG_ANSIBLE", "") + os.pathsep + os.environ.get("PATH", "")
        ansible = shutil.which("ansible", path=path)
        if not ansible:
            self.skipTest("no ansible here (pip install ansible-core; NETDIAG_ANSIBLE=its bin)")
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

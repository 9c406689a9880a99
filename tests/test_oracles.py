"""Oracles: where a specialist is installed, netdiag's verdict must agree with what it says.

A row of faults.py is built in a lab of its own; there netdiag and the specialist run one after
the other, in the client's namespace, as the same user, with the same CA file and the same proxy:
curl, `openssl s_client`, sslscan, ssh-keyscan and ssh.  The tables below say what agreement means.

Rows on which the two may differ are not here: curl speaks HTTP/2, and only where TLS offers it
(h2-only-tls, ok-h2-only-plain), takes a header that is cut short for a whole one
(http-cut-head), reads the whole body (http-cut-body), follows a captive portal, knows no port in
NO_PROXY (ok-no-proxy-port), asks only once (tls-one-at-a-time), and with -6 calls a name without
an IPv6 address a failed connection (dns-no-ipv6).
"""

import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab"))

from support import need                                           # noqa: E402
import launch                                                      # noqa: E402
import run                                                         # noqa: E402
import topology                                                    # noqa: E402

JOBS = int(os.environ.get("NETDIAG_LAB_JOBS", 8))
ENVIRONMENT = "root-all"
CURL_LIMIT_S, TOOL_LIMIT_S, ALL_LIMIT_S = 5, 30, 400
# For s_client: a server of TLS 1.3 refuses after the handshake, so one has to wait for an answer.
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
TOOLS = ("curl", "openssl", "sslscan", "ssh-keyscan", "ssh-keygen", "ssh")

ROWS = """
ok-http ok-http-v6 ok-https https-missing ok-redirect-chain ok-redirect-to-https
ok-redirect-to-plain redirect-to-no-name redirect-to-refused redirect-to-expired http-loop
http-missing http-private http-broken http-bad-gateway haproxy-slow http-on-https-port
http-garbage http-on-ssh http-closes http-silent
dns-not-found dns-empty dns-servfail
refused refused-https filtered-at-server rejected-port-unreachable-server route-missing
tls-expired tls-not-yet-valid tls-name-mismatch tls-by-address tls-self-signed tls-untrusted-ca
tls-incomplete-chain clock-ahead clock-behind ok-tls-expiring
ok-tls-1.2-only ok-tls-1.3-only tls-version tls-1.1-only tls-ssl3-only
tls-cipher tls-sni tls-client-cert tls-not-tls-http tls-cut-close
ok-squid ok-squid-login ok-socks-https squid-denies-http squid-wants-login-https
squid-behind-refused socks-behind-refused socks-wants-login socks-down proxy-refused proxy-no-name
ok-no-proxy-suffix
ok-ssh ok-ssh-known-hashed ssh-host-key ssh-host-key-hashed up-ssh-balanced refused-ssh
ssh-max-startups sshd-old-algorithms
""".split()

# netdiag's verdict: what curl may exit with.
CURL = {
    "ok": (0,), "http.client_error": (0,), "http.server_error": (0,), "http.gateway_error": (0,),
    "http.https_expected": (0,), "http.redirect_loop": (47,),
    "http.not_http": (1,), "service.unexpected": (1,),    # what is not HTTP may be HTTP/0.9
    "http.no_response": (28, 52, 56),                     # silence, an end, a reset
    "dns.not_found": (6,), "dns.no_address": (6,), "dns.failing": (6,),
    "tcp.refused": (7,), "tcp.rejected": (7,), "route.missing": (7,), "tcp.filtered": (28,),
    "tls.expired": (60,), "tls.not_yet_valid": (60,), "tls.name_mismatch": (60,),
    "tls.self_signed": (60,), "tls.untrusted_ca": (60,), "tls.incomplete_chain": (60,),
    "clock.skewed": (60,),
    "tls.version": (35,), "tls.cipher": (35,), "tls.sni": (35,), "tls.not_tls": (35,),
    "tls.handshake_cut": (35,), "tls.client_cert": (56,),  # TLS 1.3 says so after the handshake
}
# The same behind a proxy: what it refuses is a page (0), a tunnel (56) or a word of SOCKS (97).
PROXIED = {"ok": (0,), "proxy.denied": (0, 56, 97), "proxy.unreachable": (5, 7),
           "tcp.refused": (0, 97)}
# netdiag's verdict: what status curl may have seen, if any.
STATUSES = {
    "ok": range(200, 300), "http.client_error": range(400, 500),
    "http.server_error": (500, 501, 505), "http.gateway_error": (502, 503, 504),
    "http.https_expected": (400,), "http.redirect_loop": range(300, 400),
    # Where a redirect leads.
    "dns.not_found": (302,), "tls.expired": (302,), "tcp.refused": (302, 503),
    "proxy.denied": (403, 407),
}
# netdiag's verdict: the first error of OpenSSL's verification, 0 for none.
VERIFY = {
    "ok": (0,), "http.client_error": (0,), "tls.not_yet_valid": (9,), "tls.expired": (10,),
    "clock.skewed": (9, 10), "tls.self_signed": (18,), "tls.untrusted_ca": (20,),
    "tls.incomplete_chain": (20,), "tls.name_mismatch": (62, 64),    # a name, an address
}
# netdiag's verdict: what ends the handshake of s_client.
NO_HANDSHAKE = {
    "tls.version": "alert number 70|legacy sigalg|unsupported protocol",
    "tls.not_tls": "wrong version number", "tls.handshake_cut": "errno=|unexpected eof",
    "tls.cipher": "alert number 40", "tls.sni": "alert number 112",
    "tls.client_cert": "alert number 116",
}
# netdiag's verdict: what ssh says.  A stranger without a key gets no further than "ok"; what a
# server says before its banner, ssh keeps to itself.
SSH = {
    "ok": "Permission denied|No .* host key is known", "tcp.refused": "Connection refused",
    "ssh.host_key": "HOST IDENTIFICATION HAS CHANGED",
    "ssh.algorithm": "no matching key exchange method",
    "ssh.throttled": "kex_exchange_identification: .*(closed|reset)",
}

# options: netdiag's own for the row; evidence: its table; said: {tool: Said}; trouble: the lab's.
Seen = collections.namedtuple("Seen", "name options code target evidence said trouble")
Said = collections.namedtuple("Said", "status out err")


# -- both in one lab -------------------------------------------------------------------------------

def look(name, shared):
    """One row: netdiag and the specialists in a lab of their own -> Seen, whatever happens."""
    topology.die_with_parent()
    fault = run.pick([name])[0]
    try:
        with topology.Lab(fault.resolv, fault.hosts) as lab:
            return look_in(lab, fault, shared)
    except (topology.LabError, OSError, ValueError, subprocess.SubprocessError) as error:
        return Seen(name, (), None, {}, [], {}, "lab: %r" % error)
    finally:
        topology.reap_orphans()


def look_in(lab, fault, shared):
    """Break the lab and let everybody look at it."""
    job = run.Job(fault, ENVIRONMENT, run.find_python(sys.executable))
    run.start_services(lab, shared, fault)
    lab.sh("client", "echo %s >/proc/sys/net/ipv4/ping_group_range" % run.ping_range(job))
    run.inject(lab, fault)
    spec = run.spec(job, shared, run.arguments(fault, shared, True))
    told = ask(lab, spec, run.RUN_TIMEOUT_S)
    try:
        document = json.loads(told.out)
    except ValueError:
        raise topology.LabError("netdiag, status %s: %s" % (told.status, told.err[-2000:]))
    target = document["targets"][0]
    code = target["verdict"]["code"]
    said = {tool: ask(lab, dict(spec, argv=argv), TOOL_LIMIT_S, REQUEST)
            for tool, argv in commands(fault, target, code, shared.folder)}
    return Seen(fault.name, fault.options, code, target, document["evidence"], said, "")


def ask(lab, spec, limit_s, feed=b""):
    """Run a command as launch.py is told, in the client -> Said; one that hangs is killed."""
    path = shutil.which(spec["argv"][0], path=launch.PATH) or spec["argv"][0]
    told = json.dumps(dict(spec, argv=[path] + spec["argv"][1:]))
    child = lab.popen("client", [sys.executable, launch.__file__, told], close_fds=True,
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = child.communicate(feed, timeout=limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
    return Said(child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def commands(fault, target, code, folder):
    """The specialists for a row, as (name, command line)."""
    host, port = target["host"], str(target["port"])
    if target["protocol"] == "ssh":
        yield "ssh-keyscan", ["ssh-keyscan", "-T", "5", "-t", "ed25519", "-p", port, host]
        yield "ssh", ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
                      "-o", "ConnectTimeout=5", "-p", port, host, "true"]
        return
    curl = ["curl", "-sS", "-g", "-L", "--max-redirs", "10", "--max-time", str(CURL_LIMIT_S),
            "-o", "/dev/null", "-w", "%{http_code} %{http_connect}"]
    asked = list(fault.options) + [fault.target]          # -6 and --proxy mean the same to both
    yield "curl", curl + ["--cacert", folder + "/root.pem"] + asked
    if code in ("tls.incomplete_chain", "tls.untrusted_ca"):
        # curl trusts whatever certificate stands in its CA file, and the intermediate does here.
        yield "curl with the intermediate", curl + ["--cacert", folder + "/inter.pem"] + asked
    if target["protocol"] == "https" and not fault.options and code != "tcp.refused":
        name = re.search("[a-z]", host)
        yield "s_client", ["openssl", "s_client", "-ign_eof", "-connect", host + ":" + port,
                           "-CAfile", folder + "/root.pem"] + (
            ["-servername", host, "-verify_hostname", host] if name else ["-verify_ip", host])
        yield "sslscan", ["sslscan", "--no-colour", "--no-ciphersuites", "--no-groups",
                          "--no-heartbleed", "--no-renegotiation", "--no-compression",
                          "--no-fallback", "--connect-timeout=4", "--timeout=4",
                          host + ":" + port]


# -- what netdiag saw ------------------------------------------------------------------------------

def values(seen, *probes):
    """What these probes answered, in the order of the evidence."""
    return [row["value"] for row in seen.evidence
            if row["probe"] in probes and isinstance(row["value"], dict)]


def last_status(seen):
    """The HTTP status that netdiag ended with: the proxy's own, or that of the last redirect."""
    refusal = [v["status"] for v in values(seen, "tunnel") if v.get("status") not in (None, 200)]
    pages = [v["status"] for v in values(seen, "http", "redirects") if v["status"] is not None]
    return (refusal or pages or [None])[-1]


def versions(seen):
    """The TLS versions that netdiag met."""
    return {v["version"] for v in values(seen, "tls", "peer", "hello") if v.get("version")}


def enabled(text):
    """The TLS versions that sslscan found, in the words of OpenSSL."""
    return {"TLSv1" if name == "TLSv1.0" else name
            for name in re.findall(r"(?m)^((?:TLS|SSL)v[\d.]+) +enabled", text)}


def fingerprints(text):
    """What ssh-keygen makes of the keys that ssh-keyscan found; needs no network."""
    if not re.search("(?m)^[^#]", text):
        return []
    done = subprocess.run(["ssh-keygen", "-lf", "-"], input=text, stdout=subprocess.PIPE,
                          universal_newlines=True, timeout=TOOL_LIMIT_S)
    return re.findall(r"SHA256:(\S+)", done.stdout)


# -- what agreement means: Seen -> the disagreements, as sentences ---------------------------------

def agree_curl(seen):
    """curl's exit status is one of those that netdiag's verdict stands for."""
    table = PROXIED if "--proxy" in seen.options else CURL
    curl = seen.said["curl"]
    if curl.status not in table.get(seen.code, ()):
        yield "curl exits with %s: %s" % (curl.status, curl.err.strip()[:300])


def agree_status(seen):
    """curl and netdiag have seen the same HTTP status, and the verdict is made for it."""
    page, tunnel = map(int, seen.said["curl"].out.split())
    status = tunnel if tunnel not in (0, 200) else page
    if status and status != last_status(seen):
        yield "curl sees HTTP %d, netdiag %s" % (status, last_status(seen))
    if status and status not in STATUSES.get(seen.code, ()):
        yield "curl sees HTTP %d" % status
    if not status and seen.code in ("ok", "http.client_error", "http.server_error",
                                    "http.gateway_error"):
        yield "curl sees no HTTP status"


def agree_intermediate(seen):
    """With the intermediate at hand curl is content: netdiag must say that just this is missing."""
    status = seen.said["curl with the intermediate"].status
    if status != (0 if seen.code == "tls.incomplete_chain" else 60):
        yield "curl with the intermediate exits with %s" % status


def agree_verify(seen):
    """What s_client stumbles over first is the verdict, and the number in netdiag's evidence."""
    first = int((re.findall(r"verify error:num=(\d+)", seen.said["s_client"].err) + [0])[0])
    if first not in VERIFY.get(seen.code, ()):
        yield "s_client says verify error %d" % first
    for number in {v.get("verify_code") for v in values(seen, "tls")} - {None, first}:
        yield "s_client says verify error %d, netdiag's handshake %s" % (first, number)


def agree_handshake(seen):
    """s_client's handshake fails where netdiag says so, and for that reason."""
    done = seen.said["s_client"]
    failed = "Cipher is (NONE)" in done.out or "SSL alert number" in done.err
    if failed != (seen.code in NO_HANDSHAKE):
        yield "s_client's handshake %s" % ("fails" if failed else "succeeds")
    if not re.search(NO_HANDSHAKE.get(seen.code, ""), done.err):
        yield "s_client says: " + done.err.strip()[-300:]


def agree_versions(seen):
    """sslscan finds the versions that netdiag met; none of today's where that is the verdict."""
    found = enabled(seen.said["sslscan"].out)
    if not versions(seen) <= found:
        yield "sslscan finds %s, netdiag met %s" % (sorted(found), sorted(versions(seen)))
    if seen.code in ("tls.version", "tls.not_tls", "tls.handshake_cut", "tls.sni"):
        if found & {"TLSv1.2", "TLSv1.3"}:
            yield "sslscan finds %s" % sorted(found)
    elif not versions(seen) and seen.code != "tls.cipher":
        yield "netdiag met no version, sslscan finds %s" % sorted(found)
    named = {name for finding in seen.target["findings"] if finding["code"] == "tls.version"
             for name in re.findall(r"(?:TLS|SSL)v[\d.]*\d", finding["summary"])}
    if not named <= found:
        yield "sslscan finds %s, netdiag names %s" % (sorted(found), sorted(named))


def agree_fingerprint(seen):
    """ssh-keyscan gets the key that netdiag got."""
    theirs = set(fingerprints(seen.said["ssh-keyscan"].out))
    ours = {v["sha256"] for v in values(seen, "ssh") if v["sha256"]}
    # ssh-keyscan has no words for the algorithms of old, netdiag speaks one of them.
    if theirs != ours and seen.code != "ssh.algorithm":
        yield "ssh-keyscan gets %s, netdiag %s" % (sorted(theirs), sorted(ours))
    if bool(theirs) != (seen.code in ("ok", "ssh.host_key")):
        yield "ssh-keyscan gets %s" % sorted(theirs)


def agree_ssh(seen):
    """ssh complains of what is netdiag's verdict."""
    if not re.search(SSH.get(seen.code, "$^"), seen.said["ssh"].err):
        yield "ssh says: " + seen.said["ssh"].err.strip()[-300:]


# agreement: the specialist that it needs.
AGREEMENTS = collections.OrderedDict((
    (agree_curl, "curl"), (agree_status, "curl"),
    (agree_intermediate, "curl with the intermediate"), (agree_verify, "s_client"),
    (agree_handshake, "s_client"), (agree_versions, "sslscan"),
    (agree_fingerprint, "ssh-keyscan"), (agree_ssh, "ssh")))


def applies(agreement, seen):
    """Whether the specialist was there, and was asked something that the agreement is about."""
    if AGREEMENTS[agreement] not in seen.said:
        return False
    return agreement is not agree_verify or seen.code not in NO_HANDSHAKE


def disagreements(seen):
    """Everything that is wrong with a row, as sentences."""
    return [seen.trouble] * bool(seen.trouble) + [
        text for agreement in AGREEMENTS if applies(agreement, seen) for text in agreement(seen)]


# -- all rows --------------------------------------------------------------------------------------

def look_at_all(names, shared, parallel):
    """Every row, so many at a time -> {name: Seen}."""
    with concurrent.futures.ProcessPoolExecutor(parallel) as pool:
        found = pool.map(look, names, [shared] * len(names), timeout=ALL_LIMIT_S)
        return collections.OrderedDict(zip(names, found))


class Oracles(unittest.TestCase):
    """Each test is one agreement, over all rows that it is about."""

    @classmethod
    def setUpClass(cls):
        need(not run.missing(), run.missing())
        absent = [name for name in TOOLS if not shutil.which(name, path=launch.PATH)]
        need(not absent, "the oracles need " + ", ".join(absent))
        part, parts = map(int, os.environ.get("NETDIAG_LAB_PART", "0/1").split("/"))
        topology.sweep_stale()
        shared = run.make_shared([run.find_python(sys.executable)])
        try:
            cls.seen = look_at_all(ROWS[part::parts], shared, JOBS)
            # As in test_lab.py: what failed beside seven others has to be right alone.
            late = [name for name in cls.seen if disagreements(cls.seen[name])]
            if late:
                cls.seen.update(look_at_all(late, shared, 1))
        finally:
            run.remove_shared(shared)
            topology.sweep_stale()

    def check(self, agreement):
        """One agreement."""
        rows = [seen for seen in self.seen.values() if applies(agreement, seen)]
        self.assertTrue(rows)
        for seen in rows:
            with self.subTest(fault=seen.name):
                self.assertEqual(list(agreement(seen)), [], "netdiag says " + seen.code)

    def test_every_row_was_built(self):
        self.assertEqual([seen.trouble for seen in self.seen.values() if seen.trouble], [])

    def test_curl_exit_status(self):
        self.check(agree_curl)

    def test_curl_http_status(self):
        self.check(agree_status)

    def test_curl_with_the_intermediate(self):
        self.check(agree_intermediate)

    def test_openssl_verify_code(self):
        self.check(agree_verify)

    def test_openssl_handshake(self):
        self.check(agree_handshake)

    def test_sslscan_versions(self):
        self.check(agree_versions)

    def test_ssh_keyscan_fingerprint(self):
        self.check(agree_fingerprint)

    def test_ssh_complaint(self):
        self.check(agree_ssh)


if __name__ == "__main__":
    unittest.main()

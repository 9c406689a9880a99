"""The services of the lab: real ones (nginx, sshd, dnsmasq, openssl), and the liars of liars.py.

A service is ready when the function that starts it returns.  nginx and dnsmasq bind before their
starter exits; sshd, openssl and the liars write a line once they listen; of the others the kernel
tells when they do (see start_daemon).

STARTERS at the end holds what only some faults ask for: redis, postgres, mariadb, memcached,
squid, haproxy, exim, microsocks, a second sshd.  Each runs on a folder of the lab, as its own user
where it insists, and never touches the machine's own configuration.
"""
import base64
import collections
import fcntl
import glob
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time

from liars import TLS_NAMES, WEB4, WEB6, ZONE
from topology import NETNS_ETC, LabError

RESOLVERS = ("198.51.100.70", "198.51.100.71", "2001:db8:53::70", "2001:db8:53::71")
LIARS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "liars.py")


# -- certificates, once per run ------------------------------------------------------------------

Cert = collections.namedtuple("Cert", "name issuer names start_days end_days chain")
GOOD_NAMES = ("DNS:web.lab.example,DNS:*.lab.example,DNS:example.com,IP:%s,IP:%s,IP:203.0.113.100"
              % (WEB4, WEB6))

CERTS = (
    Cert("web", "inter", GOOD_NAMES, -10, 300, True),
    Cert("expired", "inter", "DNS:expired.lab.example", -100, -2, True),
    Cert("notyet", "inter", "DNS:notyet.lab.example", 2, 300, True),
    Cert("wrongname", "inter", "DNS:other.example.org", -10, 300, True),
    Cert("untrusted", "other", "DNS:untrusted.lab.example", -10, 300, True),
    Cert("intercepted", "other", GOOD_NAMES, -10, 300, True),
    Cert("nochain", "inter", "DNS:nochain.lab.example", -10, 300, False),
    Cert("purpose", "inter", "DNS:purpose.lab.example,DNS:*.purpose.lab.example"
         "\nextendedKeyUsage=clientAuth", -10, 300, True),
    Cert("cnonly", "inter", "", -10, 300, True),
    Cert("expiring", "inter", "DNS:expiring.lab.example", -80, 5, True),
    # What is valid for a server that lives 400 days before or after us; see the liar `dated`.
    Cert("past", "inter", GOOD_NAMES, -700, -200, True),
    Cert("future", "inter", GOOD_NAMES, 200, 700, True),
)

CA_CONF = """
[ca]
default_ca = lab
[lab]
database = {folder}/{name}.index
new_certs_dir = {folder}
certificate = {folder}/{name}.pem
private_key = {folder}/{name}.key
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
email_in_dn = no
[any]
commonName = supplied
"""


CA_EXTENSIONS = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n"


def openssl(*words):
    """Run one openssl command; an error says what it was."""
    done = subprocess.run(("openssl",) + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    if done.returncode:
        raise RuntimeError("openssl %s: %s" % (" ".join(words), done.stdout.decode()))


def stamp(days):
    """A date in the form that openssl ca reads, so many days from now."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


def write(path, text):
    """A small text file."""
    with open(path, "w") as handle:
        handle.write(text)


def read(path):
    """The text of a small file."""
    with open(path) as handle:
        return handle.read()


def make_root(folder, name, common_name):
    """A certification authority of our own, old enough for every clock."""
    make_ca_files(folder, name)
    make_request(folder, name, common_name, name)
    sign(folder, name, name, name, -4000, 4000, CA_EXTENSIONS, "-selfsign")


def make_ca_files(folder, name):
    """What `openssl ca` wants beside a key and a certificate."""
    write("%s/%s.index" % (folder, name), "")
    write("%s/%s.cnf" % (folder, name), CA_CONF.format(folder=folder, name=name))


def sign(folder, issuer, request, out, start_days, end_days, extensions, *words):
    """Sign a request with any dates that are wanted."""
    write("%s/%s.ext" % (folder, out), extensions)
    openssl("ca", "-batch", "-notext", "-config", "%s/%s.cnf" % (folder, issuer),
            "-in", "%s/%s.csr" % (folder, request), "-out", "%s/%s.pem" % (folder, out),
            "-startdate", stamp(start_days), "-enddate", stamp(end_days),
            "-extfile", "%s/%s.ext" % (folder, out), *words)


def make_request(folder, name, common_name, key):
    """A signing request, with a new key when the key is not there yet."""
    path = "%s/%s.key" % (folder, key)
    words = ("-key", path) if os.path.exists(path) else ("-newkey", "rsa:2048", "-nodes",
                                                         "-keyout", path)
    openssl("req", "-new", "-subj", "/CN=" + common_name, "-out", "%s/%s.csr" % (folder, name),
            *words)


def make_certificates(folder):
    """Every certificate of the lab: NAME.pem is what is served, leaf.key the key for all."""
    make_root(folder, "root", "Lab Root CA")
    make_root(folder, "other", "Unknown Root CA")
    make_request(folder, "inter", "Lab Intermediate CA", "inter")
    sign(folder, "root", "inter", "inter", -3000, 3000, CA_EXTENSIONS)
    make_ca_files(folder, "inter")
    for cert in CERTS:
        make_request(folder, cert.name, cert.names.split(",")[0][4:] or "web.lab.example", "leaf")
        sign(folder, cert.issuer, cert.name, cert.name, cert.start_days, cert.end_days,
             "basicConstraints=CA:FALSE\n" + "subjectAltName=%s\n" % cert.names * bool(cert.names))
        if cert.chain and cert.issuer == "inter":
            path = "%s/%s.pem" % (folder, cert.name)
            write(path, read(path) + read(folder + "/inter.pem"))
    openssl("req", "-x509", "-key", folder + "/leaf.key", "-days", "300", "-sha256",
            "-subj", "/CN=selfsigned.lab.example", "-addext",
            "subjectAltName=DNS:selfsigned.lab.example", "-out", folder + "/selfsigned.pem")


# -- nginx ---------------------------------------------------------------------------------------

NGINX = """
user root;
worker_processes 1;
error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off; server_tokens off; default_type text/html; root FOLDER/www;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  ssl_certificate_key FOLDER/leaf.key;
  proxy_connect_timeout 2s;
  server {
    listen 80; listen [::]:80; listen 8080; listen [::]:8080;
    server_name web.lab.example;
    LOCATIONS
  }
  server { listen 80; listen [::]:80; server_name private.lab.example; location / { return 401; } }
  server { listen 80; listen [::]:80; server_name mail.lab.example; return 301 https://$host/; }
  server {
    listen 443 ssl default_server; listen [::]:443 ssl default_server;
    server_name web.lab.example; ssl_certificate FOLDER/web.pem;
    LOCATIONS
  }
  VHOSTS
  server {
    listen 4431 ssl; listen [::]:4431 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;
  }
  server {
    listen 4432 ssl; listen [::]:4432 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1.2; ssl_ciphers NULL-SHA256:@SECLEVEL=0;
  }
  server {
    listen 4433 ssl; listen [::]:4433 ssl; ssl_certificate FOLDER/web.pem;
    ssl_client_certificate FOLDER/other.pem; ssl_verify_client on;
  }
  server {
    listen 4435 ssl default_server; listen [::]:4435 ssl default_server;
    ssl_certificate FOLDER/web.pem; ssl_reject_handshake on;
  }
  server {
    listen 4435 ssl; listen [::]:4435 ssl; server_name known.lab.example;
    ssl_certificate FOLDER/web.pem;
  }
  server { listen 8082 http2; listen [::]:8082 http2; }
  server {
    listen 4441 ssl; listen [::]:4441 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1.2;
  }
  server {
    listen 4442 ssl; listen [::]:4442 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1.3;
  }
  server {
    listen 4443 ssl; listen [::]:4443 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-CHACHA20-POLY1305;
  }
  server {
    listen 4444 ssl; listen [::]:4444 ssl; ssl_certificate FOLDER/web.pem;
    ssl_protocols TLSv1.2; ssl_ciphers ECDHE; ssl_ecdh_curve brainpoolP512r1;
  }
}
"""

LOCATIONS = """
    location = /bad-gateway { proxy_pass http://127.0.0.1:1; }
    location = /private { add_header WWW-Authenticate 'Basic realm="lab"' always; return 401; }
    location = /forbidden { return 403; }
    location = /teapot { return 418; }
    location = /too-many { add_header Retry-After 30 always; return 429; }
    location = /broken { return 500; }
    location = /unavailable { return 503; }
    location = /gateway-timeout { return 504; }
    location = /redirect { return 302 /; }
    location = /loop { return 302 /loop; }
    location = /dead-end { return 302 http://dead.lab.example/; }
    location = /cookie {
      if ($cookie_seen) { return 204; }
      add_header Set-Cookie "seen=1; Path=/"; return 302 /cookie;
    }
    location = /session { add_header Set-Cookie "id=$request_id; Path=/"; return 302 /session; }
    location = /to-missing { return 302 /missing; }
    location = /to-unavailable { return 302 /unavailable; }
    location = /to-login { return 302 /private; }
    location = /method { return 405; }
    location = /misdirected { return 421; }
    location = /chain { return 301 /chain/2; }
    location = /chain/2 { return 307 /chain/3; }
    location = /chain/3 { return 308 /; }
    location ~ ^/further { return 302 $uri/on; }
    location = /to-no-name { return 302 http://nosuch.lab.example/; }
    location = /to-refused { return 302 http://web.lab.example:81/; }
    location = /to-expired { return 302 https://expired.lab.example/; }
    location = /to-wrongname { return 302 https://wrongname.lab.example/; }
    location = /to-selfsigned { return 302 https://selfsigned.lab.example/; }
    location = /to-plain-port { return 302 https://web.lab.example:80/; }
    location = /to-ssh { return 302 http://web.lab.example:22/; }
    location = /to-plain { return 302 http://web.lab.example/; }
"""

VHOST = """
  server {
    listen 443 ssl; listen [::]:443 ssl;
    server_name NAME.lab.example; ssl_certificate FOLDER/NAME.pem;
  }"""


def make_web(folder):
    """The pages and the configuration of nginx."""
    os.makedirs(folder + "/www")
    write(folder + "/www/index.html", "<h1>It works.</h1>\n")
    write(folder + "/www/big", "All work and no play.\n" * 10000)
    text = NGINX.replace("LOCATIONS", LOCATIONS)
    text = text.replace("VHOSTS", "".join(VHOST.replace("NAME", name) for name in TLS_NAMES))
    write(folder + "/nginx.conf", text.replace("FOLDER", folder))


def start_nginx(lab, shared):
    """nginx on the server.  The starter exits once the sockets are bound."""
    lab.sh("server", "exec nginx -p %s -c %s/nginx.conf -e stderr -g 'pid %s/nginx.pid;'"
           " </dev/null >%s/nginx.log 2>&1" % (lab.folder, shared, lab.folder, lab.folder))


# -- sshd ----------------------------------------------------------------------------------------

SSHD = """
Port 22
ListenAddress 0.0.0.0
ListenAddress ::
HostKey FOLDER/host_key
UsePAM no
PasswordAuthentication no
PidFile none
LoginGraceTime 20
"""


def make_ssh(folder):
    """The configuration and the host key of sshd, and a key that is not its own."""
    for name in ("host_key", "foreign_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder + "/" + name],
                       check=True, stdin=subprocess.DEVNULL, timeout=60)
    write(folder + "/sshd.conf", SSHD.replace("FOLDER", folder))


def start_sshd(lab, shared, options="", port=22, before=""):
    """sshd on the server, with a private /run because it wants /run/sshd."""
    script = ("mount -t tmpfs none /run && mkdir -m 755 /run/sshd && %s"
              "exec /usr/sbin/sshd -D -e -f %s/sshd.conf -p %s %s" % (
                  before, shared, port, options))
    lab.serve("server", ["sh", "-c", script], "listening on :: port %s" % port)


# What a second sshd on port 2222 is made to do.  PerSourcePenalties came with OpenSSH 9.8, and
# Debian 12 has 9.2: a liar says its words.
SSHD_MODES = {
    "up": "",
    "deny-users": "-o DenyUsers='*'",
    "max-startups": "-o MaxStartups=1",
    "per-source": "-o PerSourceMaxStartups=1",
    "old-algorithms": "-o KexAlgorithms=diffie-hellman-group1-sha1",
    "hosts-deny": "",
    "password": "-o PasswordAuthentication=yes",
}


def start_second_sshd(lab, shared, mode="up"):
    """sshd on port 2222 that turns its clients away in one way."""
    path = lab.folder + "/hosts.deny"
    write(path, "sshd: ALL\n")
    start_sshd(lab, shared, SSHD_MODES[mode], 2222,
               "mount --bind %s /etc/hosts.deny && " % path if mode == "hosts-deny" else "")


def hashed_name(name):
    """A host name as ssh-keygen -H writes it: |1|salt|HMAC-SHA1."""
    salt = b"twenty bytes of salt"
    words = [salt, hmac.new(salt, name.encode(), hashlib.sha1).digest()]
    return "|1|" + "|".join(base64.b64encode(word).decode() for word in words)


def start_known_hosts(lab, shared, form, key="foreign_key", name="web.lab.example"):
    """The client's /etc/ssh/ssh_known_hosts: FORM is plain or hashed, KEY whose key it holds."""
    folder = "%s/%s/ssh" % (NETNS_ETC, lab.name("client"))
    os.makedirs(folder, exist_ok=True)
    public = " ".join(read("%s/%s.pub" % (shared, key)).split()[:2])
    write(folder + "/ssh_known_hosts", "%s %s\n" % (
        hashed_name(name) if form == "hashed" else name, public))


# -- dnsmasq -------------------------------------------------------------------------------------

def dnsmasq_conf(addresses):
    """The zone in dnsmasq's words; other names in lab.example are NXDOMAIN, the rest REFUSED."""
    lines = ["no-resolv", "no-hosts", "bind-interfaces", "user=root", "pid-file", "no-poll",
             "local=/lab.example/", "local=/example.com/", "log-facility=/dev/null",
             "cname=alias.lab.example,web.lab.example",
             "txt-record=empty.lab.example,no address here"]
    lines += ["listen-address=" + address for address in addresses]
    for name, found in sorted(ZONE.items()):
        lines += ["host-record=%s,%s" % (name, address) for address in found]
    return "\n".join(lines) + "\n"


def start_dnsmasq(lab, _shared, addresses=RESOLVERS):
    """The resolver.  dnsmasq goes to the background once its sockets are bound."""
    path = lab.folder + "/dnsmasq.conf"
    write(path, dnsmasq_conf(addresses))
    lab.sh("resolver", "exec dnsmasq -C %s </dev/null >%s/dnsmasq.log 2>&1" % (path, lab.folder))


# -- what a fault may ask for ---------------------------------------------------------------------

def prepare(folder):
    """Everything that is made once per run."""
    make_certificates(folder)
    make_web(folder)
    make_ssh(folder)
    for top, _, names in os.walk(folder):
        for name in names:
            os.chmod(os.path.join(top, name), 0o600 if name.endswith("_key") else 0o644)


def start_liars(lab, liars, node="server", shared=""):
    """Start the liars of a fault, all in one process: PORT=KIND, see liars.py; FOLDER is shared."""
    lab.serve(node, [sys.executable, LIARS, "liars"] + [
        liar.replace("FOLDER", shared) for liar in liars], "ready")


def start_dns_liar(lab, mode, addresses):
    """Start a resolver that misbehaves in one way."""
    lab.serve("resolver", [sys.executable, LIARS, "dns", mode] + list(addresses), "ready")


def start_delay(lab, milliseconds):
    """Put a link that takes so long, each way, in the place of the one between transit and sgw."""
    lab.sh("transit", "ip link del sgw")
    lab.serve("transit", [sys.executable, LIARS, "delay", str(int(milliseconds) / 1000.0), "sgw",
                          "/run/netns/" + lab.name("sgw"), "wan"], "ready")
    lab.restore("transit", "sgw")
    lab.restore("sgw", "wan")


def start_dated(lab, shared, days):
    """Start a web server on 80 and 443 that lives so many days before (-) or after us."""
    lab.serve("server", [sys.executable, LIARS, "dated", days, "%s/%s.pem" % (
        shared, "past" if int(days) < 0 else "future"), shared + "/leaf.key"], "ready")


def start_proxy(lab, mode):
    """Start an HTTP proxy on port 3128 of the proxy host."""
    lab.serve("proxy", [sys.executable, LIARS, "proxy", "3128", mode], "ready")


def start_s_server(lab, shared, port, *words):
    """An openssl server for the handshakes that nginx does not refuse in the way we want."""
    lab.serve("server", ["openssl", "s_server", "-accept", str(port), "-cert",
                         shared + "/web.pem", "-key", shared + "/leaf.key", "-cert_chain",
                         shared + "/inter.pem", "-www"] + list(words),
              "ACCEPT")


# -- services that only some faults ask for -------------------------------------------------------

START_TIMEOUT_S = 30                  # all are ready within a second; a loaded machine may stall


def once(shared, name, make):
    """A folder that is made the first time that some fault of the run asks for it."""
    path = "%s/%s" % (shared, name)
    with open(path + ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            shutil.rmtree(path + ".new", ignore_errors=True)
            os.makedirs(path + ".new")
            make(path + ".new")
            os.rename(path + ".new", path)
    return path


def quietly(argv):
    """Run a command that must succeed outside of any lab; an error says what it printed."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120, cwd="/")
    if done.returncode:
        raise RuntimeError("%s: %s" % (argv[0], done.stdout.decode("utf-8", "replace")[-2000:]))


def copy_of(lab, original, owner=None):
    """A lab's own copy of a folder that was made once."""
    target = "%s/%s" % (lab.folder, os.path.basename(original))
    quietly(["cp", "-a", original, target])
    if owner:
        quietly(["chown", "-R", owner, target])
    return target


def listens(pid, port, namespace):
    """Whether a port listens where the process is; False until it has entered its namespace."""
    here, there = os.stat("/proc/%d/ns/net" % pid), os.stat(namespace)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        return False
    rows = read("/proc/%d/net/tcp" % pid) + read("/proc/%d/net/tcp6" % pid)
    return any(words[3:4] == ["0A"] and words[1].endswith(":%04X" % port)
               for words in map(str.split, rows.split("\n")))


def start_daemon(lab, node, argv, port):
    """Start a service that does not say when it is ready: it is once its port listens."""
    log = "%s/%s-%d.log" % (lab.folder, os.path.basename(argv[0]), port)
    with open(log, "w") as handle:
        child = lab.popen(node, argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle,
                          cwd="/")
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        try:
            child.wait(0.01)
            break                               # it has ended
        except subprocess.TimeoutExpired:
            if listens(child.pid, port, "/run/netns/" + lab.name(node)):
                return child
    raise LabError("%s does not listen on %d: %s" % (argv[0], port, read(log)[-2000:]))


def start_hold(lab, node, address, port, count):
    """Occupy so many connections to a port, from a node."""
    lab.serve(node, [sys.executable, LIARS, "hold", address, port, count], "ready")


# redis: protected mode refuses whoever comes from another host while no password is set.
REDIS_MODES = {
    "open": "--protected-mode no",
    "protected": "--protected-mode yes",
    "password": "--requirepass secret",
    "full": "--protected-mode no --maxclients 1",
}


def start_redis(lab, shared, mode="open", port="6379"):
    """redis-server; `full` has its only place taken; `tls`, `mtls` serve TLS only (rediss)."""
    words = REDIS_MODES.get(mode, REDIS_MODES["open"]).split() + ["--port", port]
    if mode in ("tls", "mtls"):
        words += ["--tls-port", port, "--port", "0",
                  "--tls-auth-clients", "yes" if mode == "mtls" else "no",
                  "--tls-cert-file", shared + "/web.pem", "--tls-key-file", shared + "/leaf.key",
                  "--tls-ca-cert-file", shared + "/root.pem"]
    lab.serve("server", ["redis-server", "--save", "", "--appendonly", "no", "--dir", lab.folder,
                         "--bind", "0.0.0.0", "::"] + words, "Ready to accept connections")
    if mode == "full":
        start_hold(lab, "server", "127.0.0.1", port, "1")


def postgres_command(name):
    """A program of the newest PostgreSQL that is installed; Debian keeps them off the PATH."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name),
                   key=lambda path: int(path.split("/")[4]))
    return found[-1] if found else shutil.which(name)


AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]


def make_postgres(folder):
    """An empty cluster; it belongs to postgres because the server refuses to run as root."""
    quietly(["chown", "postgres:", folder])
    quietly(AS_POSTGRES + [postgres_command("initdb"), "-D", folder, "--no-sync", "-A", "trust",
                           "-E", "UTF8", "--locale", "C"])


POSTGRES_CONF = """
listen_addresses = '*'
unix_socket_directories = 'DATA'
fsync = off
dynamic_shared_memory_type = mmap
shared_buffers = 1MB
max_wal_senders = 0
autovacuum = off
log_destination = stderr
"""

POSTGRES_HBA = "local all all trust\nhost all all all scram-sha-256\n"
STARTED = "database system is ready to accept connections"
POSTGRES_MODES = collections.OrderedDict((
    # mode: (lines of postgresql.conf, pg_hba.conf, what it says once it is there)
    ("up", ("", POSTGRES_HBA, STARTED)),
    ("trust", ("", "host all all all trust\n", STARTED)),
    ("no-hba", ("", "local all all trust\nhost all all 127.0.0.1/32 trust\n", STARTED)),
    ("hba-reject", ("", "host all all all reject\n", STARTED)),
    ("tls-only", ("ssl = on\n", "hostssl all all all scram-sha-256\n", STARTED)),
    ("full", ("max_connections = 1\nsuperuser_reserved_connections = 0\n", POSTGRES_HBA,
              STARTED)),
    # The first file of the archive never comes.
    ("starting", ("restore_command = 'sleep 100'\n", POSTGRES_HBA, "database system was")),
))


def start_postgres(lab, shared, mode="up", cert=""):
    """PostgreSQL on port 5432; a certificate turns TLS on (CERT.pem, key leaf.key).

    In an IPC namespace of its own, so that its System V segment does not outlive a kill.
    """
    conf, hba, ready = POSTGRES_MODES[mode]
    data = copy_of(lab, once(shared, "postgres", make_postgres))
    text = POSTGRES_CONF.replace("DATA", data) + conf
    if cert or "ssl = on" in conf:
        text += "ssl = on\nssl_cert_file = '%s/%s.pem'\nssl_key_file = '%s/key'\n" % (
            shared, cert or "web", data)
        quietly(["install", "-m", "600", "-o", "postgres", shared + "/leaf.key", data + "/key"])
    write(data + "/postgresql.conf", text)
    write(data + "/pg_hba.conf", hba)
    if mode == "starting":
        write(data + "/recovery.signal", "")
    lab.serve("server", ["unshare", "--ipc"] + AS_POSTGRES + [
        postgres_command("postgres"), "-D", data], ready)
    if mode == "full":
        lab.serve("server", ["psql", "-h", data, "-U", "postgres", "-Atc", "\\echo held", "-c",
                             "select pg_sleep(100)"], "held")


MARIADB = ("--no-defaults --user=root --skip-name-resolve --performance-schema=0 "
           "--innodb-buffer-pool-size=8M --innodb-log-file-size=4M --innodb-use-native-aio=0 "
           "--innodb-flush-log-at-trx-commit=0 --skip-log-bin").split()


def make_mariadb(folder):
    """The system tables; root may come in from this host only."""
    quietly(["mariadb-install-db"] + MARIADB + [
        "--datadir=" + folder, "--skip-test-db", "--auth-root-authentication-method=normal"])


def start_mariadb(lab, shared, mode="up", cert=""):
    """MariaDB on port 3306: up, not-allowed (no account for the client's host), full."""
    data = copy_of(lab, once(shared, "mariadb", make_mariadb))
    write(data + "/first.sql", "" if mode == "not-allowed" else
          "CREATE USER 'app'@'%' IDENTIFIED BY 'secret';\n")
    words = ["--datadir=" + data, "--socket=%s/socket" % data, "--pid-file=%s/pid" % data,
             "--init-file=%s/first.sql" % data, "--port=3306", "--bind-address=*"]
    if cert:
        words += ["--ssl-cert=%s/%s.pem" % (shared, cert), "--ssl-key=%s/leaf.key" % shared]
    if mode == "full":
        words += ["--max-connections=10"]
    lab.serve("server", ["mariadbd"] + MARIADB + words, "ready for connections")
    if mode == "full":
        start_hold(lab, "server", "127.0.0.1", "3306", "11")


def start_memcached(lab, _shared, mode="up"):
    """memcached on port 11211; `full` has its only place taken, `password` wants a login."""
    path = lab.folder + "/memcached.users"
    write(path, "lab:secret\n")
    os.chmod(path, 0o644)
    words = {"up": [], "full": ["-c", "20"], "password": ["-Y", path]}[mode]
    start_daemon(lab, "server", ["memcached", "-u", "nobody", "-U", "0", "-p", "11211", "-t", "1",
                                 "-l", "0.0.0.0,::"] + words, 11211)
    if mode == "full":
        start_hold(lab, "server", "127.0.0.1", "11211", "20")


SQUID = """
http_port 3128
visible_hostname proxy.lab.example
dns_nameservers 198.51.100.70
cache deny all
cache_mem 1 MB
memory_pools off
pinger_enable off
pid_filename none
cache_log /dev/stderr
access_log none
coredump_dir FOLDER
cache_effective_user proxy
connect_timeout 3 seconds
shutdown_lifetime 0 seconds
max_filedescriptors 256
"""

SQUID_MODES = {
    "allow": "http_access allow all\n",
    "patient": "connect_timeout 60 seconds\nhttp_access allow all\n",
    "deny": "http_access deny all\n",
    "deny-host": "acl lab dstdomain .lab.example\nhttp_access deny lab\nhttp_access allow all\n",
    "deny-port": "acl tls port 443\nhttp_access deny CONNECT !tls\nhttp_access allow all\n",
    "auth": "auth_param basic program /usr/lib/squid/basic_ncsa_auth FOLDER/squid.users\n"
            "auth_param basic children 1\nauth_param basic realm lab\n"
            "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
}


def start_squid(lab, _shared, mode="allow"):
    """squid on port 3128 of the proxy host; `auth` knows lab with the password secret."""
    path = lab.folder + "/squid.conf"
    write(path, (SQUID + SQUID_MODES[mode]).replace("FOLDER", lab.folder))
    write(lab.folder + "/squid.users", "lab:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n")
    os.chmod(lab.folder + "/squid.users", 0o644)
    start_daemon(lab, "proxy", ["sh", "-c", "mount -t tmpfs none /dev/shm && "  # it leaves files
                                "exec squid -N -f " + path], 3128)


def start_microsocks(lab, _shared, mode="open"):
    """A SOCKS5 proxy on port 1080 of the proxy host; `auth` knows lab with the password secret."""
    words = ["-u", "lab", "-P", "secret"] if mode == "auth" else []
    start_daemon(lab, "proxy", ["microsocks", "-i", "0.0.0.0", "-p", "1080"] + words, 1080)


HAPROXY = """
defaults
  mode http
  timeout connect 500ms
  timeout client 20s
  timeout server 1s
  retries 1
frontend live
  bind :::8090 v4v6
  use_backend live
backend live
  server web 127.0.0.1:80
frontend dead
  bind :::8091 v4v6
  use_backend dead
backend dead
  server app 127.0.0.1:1
frontend empty
  bind :::8092 v4v6
  default_backend empty
backend empty
frontend cut
  bind :::8093 v4v6
  default_backend cut
backend cut
  server app 127.0.0.1:9001
frontend slow
  bind :::8094 v4v6
  default_backend slow
backend slow
  server app 127.0.0.1:9002
frontend denied
  bind :::8095 v4v6
  http-request deny
frontend inner
  bind :::8096 v4v6 accept-proxy
  default_backend live
frontend tls
  bind :::8443 v4v6 ssl crt CERT alpn h2,http/1.1
  default_backend dead
listen raw
  mode tcp
  bind :::2200 v4v6
  server app 127.0.0.1:1
listen ssh
  mode tcp
  bind :::2201 v4v6
  server app 127.0.0.1:22
"""


def start_haproxy(lab, shared):
    """haproxy: 8090 live, 8091 dead, 8092 empty, 8093 cut, 8094 slow behind it, 8095 denies.

    8096 wants the PROXY protocol; 8443 the dead one behind TLS; 2200 a dead and 2201 a living ssh.
    Its starter exits when bound.
    """
    write(lab.folder + "/haproxy.pem", read(shared + "/web.pem") + read(shared + "/leaf.key"))
    write(lab.folder + "/haproxy.cfg", HAPROXY.replace("CERT", lab.folder + "/haproxy.pem"))
    start_liars(lab, ["9001=heardclose", "9002=silence"])
    lab.sh("server", "exec haproxy -D -q -f %s/haproxy.cfg </dev/null >%s/haproxy.log 2>&1" % (
        lab.folder, lab.folder))


def start_nghttpd(lab, shared):
    """A web server on port 4440 that speaks HTTP/2 over TLS and nothing else."""
    start_daemon(lab, "server", ["nghttpd", "-d", shared + "/www", "4440",
                                 shared + "/leaf.key", shared + "/web.pem"], 4440)


EXIM = """
primary_hostname = mail.lab.example
spool_directory = FOLDER/spool
log_file_path = FOLDER/spool/%slog
pid_file_path = FOLDER/spool/pid
daemon_smtp_ports = 25 : 465 : 587
tls_on_connect_ports = 465
tls_certificate = CERT
tls_privatekey = KEY
tls_advertise_hosts = TLS
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
hosts_connection_nolog = *
smtp_accept_max = PLACES
smtp_enforce_sync = true
acl_smtp_connect = connect
acl_smtp_rcpt = rcpt
begin acl
connect:
  CONNECT
rcpt:
  deny message = relay not permitted
"""

# mode: (what the ACL says to a new connection, who is offered STARTTLS, connections at a time)
EXIM_MODES = {
    "up": ("accept", "*", 20),
    "plain": ("accept", "", 20),
    "refuse": ("deny message = your address is on our block list", "*", 20),
    "busy": ("defer message = too busy", "*", 20),
    "full": ("accept", "*", 1),
}


def start_exim(lab, shared, mode="up", cert="web"):
    """Exim on ports 25 and 587 (STARTTLS) and 465 (TLS at once)."""
    connect, offered, places = EXIM_MODES[mode]
    text = EXIM.replace("FOLDER", lab.folder).replace("CERT", "%s/%s.pem" % (shared, cert))
    text = text.replace("KEY", shared + "/leaf.key").replace("CONNECT", connect)
    text = text.replace("= TLS", "= " + offered).replace("PLACES", str(places))
    write(lab.folder + "/exim.conf", text)
    os.mkdir(lab.folder + "/spool")
    shutil.chown(lab.folder + "/spool", "Debian-exim", "Debian-exim")
    start_daemon(lab, "server", ["exim4", "-bdf", "-C", lab.folder + "/exim.conf"], 587)
    if mode == "full":
        start_hold(lab, "server", "127.0.0.1", "25", "1")


# What a fault asks for by its first word; the rest of the words are the arguments.
STARTERS = {
    "redis": start_redis, "postgres": start_postgres, "mariadb": start_mariadb,
    "memcached": start_memcached, "squid": start_squid, "microsocks": start_microsocks,
    "haproxy": start_haproxy, "exim": start_exim, "sshd": start_second_sshd,
    "known-hosts": start_known_hosts, "nghttpd": start_nghttpd,
    "hold": lambda lab, _shared, *words: start_hold(lab, *words),
}
COMMANDS = ("redis-server", "mariadbd", "mariadb-install-db", "memcached", "squid", "microsocks",
            "haproxy", "exim4", "nghttpd", "psql", "setpriv")


def missing_commands(path):
    """What STARTERS need and this machine does not have."""
    return [name for name in COMMANDS if not shutil.which(name, path=path)] + [
        name for name in ("initdb", "postgres") if not postgres_command(name)]

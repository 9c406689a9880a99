"""The services of the lab: real ones (nginx, sshd, dnsmasq, openssl), and the liars of liars.py.

A service is ready when the function that starts it returns.  nginx and dnsmasq bind before their
starter exits; sshd, openssl and the liars write a line once they listen.  Nothing here sleeps.
"""
import collections
import os
import subprocess
import sys
import time

from liars import TLS_NAMES, WEB4, WEB6, ZONE

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
    Cert("nochain", "inter", "DNS:nochain.lab.example", -10, 300, False),
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
        make_request(folder, cert.name, cert.names.split(",")[0][4:], "leaf")
        sign(folder, cert.issuer, cert.name, cert.name, cert.start_days, cert.end_days,
             "basicConstraints=CA:FALSE\nsubjectAltName=%s\n" % cert.names)
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
    """The configuration and the host key of sshd."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder + "/host_key"],
                   check=True, stdin=subprocess.DEVNULL, timeout=60)
    write(folder + "/sshd.conf", SSHD.replace("FOLDER", folder))


def start_sshd(lab, shared):
    """sshd on the server, with a private /run because it wants /run/sshd."""
    script = ("mount -t tmpfs none /run && mkdir -m 755 /run/sshd && "
              "exec /usr/sbin/sshd -D -e -f %s/sshd.conf" % shared)
    lab.serve("server", ["sh", "-c", script], "listening on :: port 22")


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


def start_liars(lab, liars, node="server"):
    """Start the liars of a fault, all in one process: PORT=KIND, see liars.py."""
    lab.serve(node, [sys.executable, LIARS, "liars"] + list(liars), "ready")


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

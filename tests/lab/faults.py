"""The faults of the lab as a table: what is broken where, and what netdiag has to say about it.

A row is `fault(name, target, code, where, ...)`:

code      the verdict; several words where they are equally honest from the client's side
where     the places that may stand first among the suspects; empty: any place will do
findings  codes that must be there as well (the verdict counts)
never     codes that must not be there, not even as a remark
do        (node, shell script) pairs that break something; see drop(), reject(), rules()
serve     what runs beside nginx, sshd and dnsmasq: "liars PORT=KIND ...", "liars-at NODE ...",
          "dns MODE ADDRESS ..." (takes the address from dnsmasq), "proxy MODE",
          "dated DAYS" (the web server lives in another year), "s_server PORT WORDS",
          "delay MS" (each way, between transit and sgw), "noise" (chatter on the client's
          segment), "tun DEVICE", "holdports ADDRESS PORT"; "no-nginx", "no-sshd", "no-dns";
          "hold NODE ADDRESS PORT COUNT" and the programs in STARTERS of services.py with their
          mode: "redis protected", "exim up expired"; FOLDER holds the certificates
options   netdiag's options
resolv    the client's resolv.conf; hosts: lines for its hosts file
env       variables of netdiag; nofile and ping_range are switches of the lab

Places in the order of the path: client, client_network (gateway), transit, server_network (sgw),
server, service; and dns, proxy.  Linux checks the TTL before its FORWARD chain, so a router that
drops in FORWARD still answers a trace: "the last router that answered, or the next box" is all
that a client can know, and both stand in `where` for such drops.
"""
import collections

from topology import RESOLV_CONF

Fault = collections.namedtuple("Fault", "name target code where findings never do serve options "
                                        "resolv hosts env")

WEB4, WEB6 = "203.0.113.10", "2001:db8:3::10"
DEAD4, DEAD6 = "203.0.113.99", "2001:db8:3::99"
DNS4, DNS6 = "198.51.100.70", "2001:db8:53::70"
ONE_DNS = DNS4 + " " + DNS6                   # both addresses of the first resolver
SEGMENT_ADDRESSES = ("192.0.2.1", "192.0.2.20", "2001:db8:1::1", "2001:db8:1::20")
GATEWAY4, GATEWAY6 = "192.0.2.1", "2001:db8:1::1"

# box: (hook of its firewall, its place, the places that may come first when it drops silently)
BOXES = collections.OrderedDict((
    ("gateway", ("forward", "client_network", "client_network transit")),
    ("transit", ("forward", "transit", "transit server_network")),
    ("sgw", ("forward", "server_network", "server_network server")),
    ("server", ("input", "server", "server server_network")),
))

POOL = "".join("203.0.113.%d pool.lab.example\n" % n for n in range(110, 126))
POOLED = "for n in $(seq 110 125); do ip address add 203.0.113.$n/24 dev eth0; done"

HEALTHY_NEVER = ("tcp.filtered path.dead_end path.loss tcp.refused tcp.rejected gateway.silent "
                 "dns.failing dns.unreachable firewall.local path.mtu_blackhole")


def fault(name, target, code, where="", findings="", never="", do=(), serve=(), options="",
          resolv=RESOLV_CONF, hosts="", env=()):
    """A row, with lists written as words."""
    return Fault(name, target, tuple(code.split()), tuple(where.split()),
                 tuple(findings.split()), tuple(never.split()), tuple(do), tuple(serve),
                 tuple(options.split()), resolv, hosts, tuple(env))


def healthy(name, target, findings="", never=HEALTHY_NEVER, **columns):
    """A set-up that looks odd and works: ok, and nothing may be accused."""
    return fault(name, target, "ok", "", findings, never, **columns)


# -- how things are broken ------------------------------------------------------------------------

def rules(node, hook, *lines):
    """Rules in a firewall hook of a node, IPv4 and IPv6 alike."""
    text = "table inet lab {\nchain lab_%s {\ntype filter hook %s priority 0\n%s\n}\n}" % (
        hook, hook, "\n".join(lines))
    return node, "nft -f - <<'END'\n%s\nEND" % text


def nat(node, hook, line):
    """One rule of address translation."""
    return node, ("nft -f - <<'END'\ntable inet labnat {\nchain nat_%s {\ntype nat hook %s "
                  "priority 0\n%s\n}\n}\nEND" % (hook, hook, line))


def drop(node, hook, match):
    """Drop what matches."""
    return rules(node, hook, match + " drop")


def reject(node, hook, match, kind):
    """Reject what matches: "tcp reset", "icmp type host-prohibited", "icmpx type ..."."""
    return rules(node, hook, "%s reject with %s" % (match, kind))


def sysctl(node, **values):
    """Kernel switches; __ in a name stands for the dot."""
    return node, "\n".join("echo %s >/proc/sys/net/%s" % (value, name.replace("__", "/"))
                           for name, value in values.items())


def unplug(port):
    """Take a port out of the switch: carrier stays, nobody answers (a wrong VLAN)."""
    return "switch", "ip link set %s nomaster" % port


def forget(*addresses):
    """Empty the client's neighbour entries, as after a minute of silence."""
    return "client", "; ".join("ip neigh del %s dev eth0 2>/dev/null || true" % a
                               for a in addresses)


def aged(*addresses):
    """Neighbour entries that were not used for a while."""
    return "client", "; ".join("ip neigh change %s dev eth0 nud stale" % a for a in addresses)


# Neighbour discovery is ICMPv6 and must go on.
ND = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
ICMP = "meta l4proto { icmp, ipv6-icmp }"
ICMP_DEAD = [rules(node, "prerouting", ND + " accept", ICMP + " drop")
             for node in ("gateway", "transit", "transit2", "sgw", "server")] + [
             rules(node, "output", ND + " accept", ICMP + " drop")
             for node in ("gateway", "transit", "transit2", "sgw", "server")]

V6_DEAD_AT_TRANSIT = drop("transit", "forward", "ip6 daddr 2001:db8:3::/48")


# -- this host ---------------------------------------------------------------------------------

LOCAL = [
    fault("link-down", WEB4 + ":80", "link.down", "client",
          do=[("client", "ip link set eth0 down")]),
    fault("link-down-name", "http://web.lab.example/", "link.down", "client",
          do=[("client", "ip link set eth0 down")]),
    fault("link-down-no-target", "", "link.down", "client",
          do=[("client", "ip link set eth0 down")]),
    fault("link-no-carrier", WEB4 + ":80", "link.down", "client client_network",
          do=[("switch", "ip link set client down")]),
    fault("link-no-carrier-v6", "[%s]:80" % WEB6, "link.down", "client client_network",
          do=[("switch", "ip link set client down")]),
    fault("address-missing", WEB4 + ":80", "address.missing", "client",
          do=[("client", "ip addr flush dev eth0")]),
    # A host that found no DHCP server: an address that leads nowhere, and no route.
    fault("address-link-local-only", WEB4 + ":80", "address.missing", "client client_network",
          do=[("client", "ip addr flush dev eth0 scope global; "
               "ip addr add 169.254.7.7/16 dev eth0 scope link")]),
    fault("address-missing-no-target", "", "address.missing", "client",
          do=[("client", "ip addr flush dev eth0")]),
    fault("route-missing", WEB4 + ":80", "route.missing", "client",
          do=[("client", "ip route del default")]),
    fault("route-missing-v6", "[%s]:80" % WEB6, "route.missing", "client",
          do=[("client", "ip -6 route del default")]),
    # By name the resolver is out of reach as well: the cause goes before the consequence.
    fault("route-missing-name", "http://web.lab.example/", "route.missing", "client",
          do=[("client", "ip route del default; ip -6 route del default")]),
    fault("route-missing-no-target", "", "route.missing", "client",
          do=[("client", "ip route del default; ip -6 route del default")]),
    fault("route-blackhole", WEB4 + ":80", "route.blocked", "client",
          do=[("client", "ip route add blackhole 203.0.113.0/24")]),
    fault("route-unreachable", WEB4 + ":80", "route.blocked", "client",
          do=[("client", "ip route add unreachable 203.0.113.10")]),
    fault("route-prohibit", WEB4 + ":80", "route.blocked", "client",
          do=[("client", "ip route add prohibit 203.0.113.0/24")]),
    fault("route-blackhole-v6", "[%s]:80" % WEB6, "route.blocked", "client",
          do=[("client", "ip -6 route add blackhole 2001:db8:3::/48")]),
    fault("route-prohibit-v6", "[%s]:80" % WEB6, "route.blocked", "client",
          do=[("client", "ip -6 route add prohibit 2001:db8:3::/48")]),
    fault("route-rule-prohibit", WEB4 + ":80", "route.blocked", "client",
          do=[("client", "ip rule add to 203.0.113.0/24 prohibit")]),
    fault("route-blackhole-name", "https://web.lab.example/", "route.blocked", "client",
          do=[("client", "ip route add blackhole 203.0.113.0/24; "
               "ip -6 route add blackhole 2001:db8:3::/48")]),
    fault("overlap-bridge", WEB4 + ":80", "route.overlap", "client",
          do=[("client", "ip link add docker0 type bridge; ip link set docker0 up; "
               "ip addr add 203.0.113.129/24 dev docker0")]),
    fault("overlap-bridge-in-use", WEB4 + ":80", "route.overlap", "client",
          do=[("client", "ip link add br-lab type bridge; ip link set br-lab up; "
               "ip link add veth0 type veth peer name veth1; ip link set veth0 master br-lab up; "
               "ip link set veth1 up; ip addr add 203.0.113.129/24 dev br-lab")]),
    # The tunnel swallows what it gets: nothing but the route shows the reason.  Whether its range
    # is wrong or its far end is dead cannot be seen from here.
    fault("overlap-vpn", WEB4 + ":80", "route.overlap path.dead_end", "client client_network",
          serve=["tun tun0"],
          do=[("client", "ip link set tun0 up; ip addr add 203.0.113.200/24 dev tun0")]),
    # The VPN program is gone, its interface stays: without carrier, but with its routes.
    fault("overlap-vpn-down", WEB4 + ":80", "route.overlap link.down", "client",
          do=[("client", "ip tuntap add tun0 mode tun; ip link set tun0 up; "
               "ip addr add 203.0.113.200/24 dev tun0")]),
    # A /24 where the segment is a /26: the far host looks near.  The client cannot know which
    # mask is right, so "nobody answers there" is as honest.
    fault("overlap-wide-mask", "192.0.2.130:80", "route.overlap neighbor.silent", "client server",
          do=[("server", "ip addr add 192.0.2.130/26 dev eth0"),
              ("sgw", "ip addr add 192.0.2.129/26 dev lan"),
              ("transit", "ip route add 192.0.2.128/26 via 198.51.100.10"),
              ("client", "ip addr del 192.0.2.10/26 dev eth0; ip addr add 192.0.2.10/24 dev eth0;"
               "ip route add default via 192.0.2.1")]),
    fault("firewall-output-drop", WEB4 + ":80", "firewall.local", "client",
          do=[drop("client", "output", "tcp dport 80")]),
    fault("firewall-output-drop-v6", "[%s]:80" % WEB6, "firewall.local", "client",
          do=[drop("client", "output", "tcp dport 80")]),
    fault("firewall-output-drop-address", WEB4 + ":80", "firewall.local", "client",
          do=[drop("client", "output", "ip daddr " + WEB4)]),
    fault("firewall-output-reject", WEB4 + ":80", "firewall.local", "client",
          do=[reject("client", "output", "tcp dport 80", "icmpx type port-unreachable")]),
    fault("firewall-output-reject-v6", "[%s]:80" % WEB6, "firewall.local", "client",
          do=[reject("client", "output", "tcp dport 80", "icmpx type admin-prohibited")]),
    fault("firewall-output-admin", WEB4 + ":80", "firewall.local", "client",
          do=[reject("client", "output", "tcp dport 80", "icmp type admin-prohibited")]),
    fault("firewall-output-reset", WEB4 + ":80", "firewall.local", "client",
          do=[reject("client", "output", "tcp dport 80", "tcp reset")]),
    fault("firewall-input-drop", WEB4 + ":80", "firewall.local", "client",
          do=[drop("client", "input", "tcp sport 80")]),
    fault("firewall-input-drop-v6", "[%s]:80" % WEB6, "firewall.local", "client",
          do=[drop("client", "input", "tcp sport 80")]),
    fault("firewall-input-drop-noisy", WEB4 + ":80", "firewall.local", "client",
          serve=["noise"], do=[drop("client", "input", "tcp sport 80")]),
    fault("firewall-input-drop-noisy-v6", "[%s]:80" % WEB6, "firewall.local", "client",
          serve=["noise"], do=[drop("client", "input", "tcp sport 80")]),
    fault("firewall-input-drop-name", "http://web.lab.example/", "firewall.local", "client",
          never="tcp.filtered", do=[drop("client", "input", "tcp flags & (syn | ack) == syn | ack")]),
    fault("firewall-name", "http://web.lab.example/", "firewall.local", "client",
          do=[drop("client", "output", "tcp dport 80")]),
    fault("firewall-dns-drop", "http://web.lab.example/", "firewall.local", "client",
          do=[drop("client", "output", "udp dport 53"), drop("client", "output", "tcp dport 53")]),
    fault("firewall-everything", WEB4 + ":80", "firewall.local", "client",
          do=[drop("client", "output", 'oifname "eth0"')]),
    fault("ports-exhausted", WEB4 + ":80", "host.exhausted", "client",
          serve=["holdports " + WEB4 + " 80"]),
]

# -- the segment -------------------------------------------------------------------------------

SEGMENT = [
    fault("gateway-silent", WEB4 + ":80", "gateway.silent", "client_network",
          do=[unplug("gateway"), forget(GATEWAY4, GATEWAY6)]),
    fault("gateway-silent-v6", "[%s]:80" % WEB6, "gateway.silent", "client_network",
          do=[unplug("gateway"), forget(GATEWAY4, GATEWAY6)]),
    fault("gateway-silent-name", "https://web.lab.example/", "gateway.silent", "client_network",
          do=[unplug("gateway"), forget(GATEWAY4, GATEWAY6)]),
    fault("gateway-silent-no-target", "", "gateway.silent", "client_network",
          do=[unplug("gateway"), forget(GATEWAY4, GATEWAY6)]),
    # The neighbour table still has the gateway, as on a host that was quiet for a minute.
    fault("gateway-died", WEB4 + ":80", "gateway.silent", "client_network",
          do=[unplug("gateway"), aged(GATEWAY4, GATEWAY6)]),
    fault("gateway-died-v6", "[%s]:80" % WEB6, "gateway.silent", "client_network",
          do=[unplug("gateway"), aged(GATEWAY4, GATEWAY6)]),
    # Seconds ago the gateway did answer: the kernel trusts the entry for up to 45 s.
    fault("gateway-died-just-now", WEB4 + ":80", "gateway.silent path.dead_end",
          "client_network", do=[unplug("gateway")]),
    fault("gateway-wrong-address", WEB4 + ":80", "gateway.silent", "client client_network",
          do=[("client", "ip route replace default via 192.0.2.44")]),
    fault("gateway-wrong-address-v6", "[%s]:80" % WEB6, "gateway.silent", "client client_network",
          do=[("client", "ip -6 route replace default via 2001:db8:1::44")]),
    # The neighbour was known a while ago and is silent now, like the gateway.
    fault("segment-isolated", WEB4 + ":80", "segment.isolated", "client client_network",
          do=[unplug("client"), aged(*SEGMENT_ADDRESSES)]),
    fault("segment-isolated-v6", "[%s]:80" % WEB6, "segment.isolated", "client client_network",
          do=[unplug("client"), aged(*SEGMENT_ADDRESSES)]),
    fault("segment-isolated-no-target", "", "segment.isolated", "client client_network",
          do=[unplug("client"), aged(*SEGMENT_ADDRESSES)]),
    # Nothing is known of any neighbour: then it may as well be the gateway alone.
    fault("segment-isolated-cold", WEB4 + ":80", "segment.isolated gateway.silent",
          "client client_network",
          do=[unplug("client"), ("client", "ip neigh flush dev eth0")]),
    fault("neighbor-silent", "192.0.2.33:22", "neighbor.silent", "server",
          never="tcp.filtered gateway.silent"),
    fault("neighbor-silent-v6", "[2001:db8:1::33]:22", "neighbor.silent", "server",
          never="tcp.filtered gateway.silent"),
    fault("neighbor-unplugged", "neighbor.lab.example:22", "neighbor.silent", "server",
          do=[unplug("neighbor"), forget("192.0.2.20", "2001:db8:1::20")]),
    fault("neighbor-refused", "192.0.2.20:22", "tcp.refused", "service server"),
]

# -- names -------------------------------------------------------------------------------------

NO_DNS_TCP_UDP = [drop("gateway", "forward", "udp dport 53"),
                  drop("gateway", "forward", "tcp dport 53")]

NAMES = [
    fault("dns-unconfigured", "http://web.lab.example/", "dns.unconfigured", "client",
          resolv="# nothing here\n"),
    fault("dns-unconfigured-no-target", "", "dns.unconfigured", "client",
          resolv="# nothing here\n"),
    fault("dns-silent", "http://web.lab.example/", "dns.unreachable", "dns",
          serve=["dns silence " + ONE_DNS]),
    fault("dns-down", "http://web.lab.example/", "dns.unreachable", "dns", serve=["no-dns"]),
    fault("dns-down-no-target", "", "dns.unreachable", "dns", serve=["no-dns"]),
    fault("dns-host-down", "http://web.lab.example/", "dns.unreachable", "dns",
          resolv="nameserver 198.51.100.77\n"),
    fault("dns-wrong-address", "http://web.lab.example/", "dns.unreachable", "dns client",
          resolv="nameserver 192.0.2.53\n"),
    fault("dns-blocked-by-gateway", "http://web.lab.example/", "dns.unreachable",
          "dns client_network transit", do=NO_DNS_TCP_UDP),
    fault("dns-rejected-by-gateway", "http://web.lab.example/", "dns.unreachable",
          "dns client_network",
          do=[reject("gateway", "forward", "udp dport 53", "icmpx type admin-prohibited"),
              reject("gateway", "forward", "tcp dport 53", "icmpx type admin-prohibited")]),
    # TCP answers and UDP does not: the system's resolver gets nothing.
    fault("dns-udp-blocked", "http://web.lab.example/", "dns.unreachable",
          "dns client_network transit", do=[drop("gateway", "forward", "udp dport 53")]),
    fault("dns-no-route", "http://web.lab.example/", "dns.unreachable route.missing",
          "dns client",
          do=[("client", "ip route del default; ip route add 203.0.113.0/24 via 192.0.2.1")]),
    fault("dns-two-dead", "http://web.lab.example/", "dns.unreachable", "dns",
          resolv="nameserver 198.51.100.70\nnameserver 198.51.100.71\n", serve=["no-dns"]),
    fault("dns-servfail", "http://web.lab.example/", "dns.failing", "dns",
          serve=["dns servfail " + ONE_DNS]),
    fault("dns-refused", "http://web.lab.example/", "dns.failing", "dns",
          serve=["dns refused " + ONE_DNS]),
    fault("dns-notimp", "http://web.lab.example/", "dns.failing", "dns",
          serve=["dns notimp " + ONE_DNS]),
    fault("dns-garbage", "http://web.lab.example/", "dns.failing", "dns",
          serve=["dns garbage " + ONE_DNS]),
    # An answer with a foreign id has to be ignored; nonsense and silence are both honest.
    fault("dns-wrong-id", "http://web.lab.example/", "dns.failing dns.unreachable", "dns",
          serve=["dns wrongid " + ONE_DNS]),
    fault("dns-truncated-no-tcp", "http://web.lab.example/", "dns.failing dns.unreachable", "dns",
          serve=["dns truncateonly " + ONE_DNS]),
    fault("dns-not-found", "http://nosuch.lab.example/", "dns.not_found", "dns client"),
    fault("dns-not-found-tcp", "nosuch.lab.example:5432", "dns.not_found", "dns client"),
    fault("dns-liar-nxdomain", "http://web.lab.example/", "dns.not_found", "dns client",
          serve=["dns nxdomain " + ONE_DNS]),
    fault("dns-empty", "http://web.lab.example/", "dns.no_address", "dns",
          serve=["dns empty " + ONE_DNS]),
    fault("dns-text-only", "http://empty.lab.example/", "dns.no_address", "dns"),
    fault("dns-no-ipv6", "http://v4.lab.example/", "dns.no_address", "dns client", options="-6"),
    fault("dns-no-ipv4", "http://v6.lab.example/", "dns.no_address", "dns client", options="-4"),
    fault("dns-hosts-dead", "http://web.lab.example/", "dns.hosts_override", "client",
          hosts=DEAD4 + " web.lab.example\n"),
    fault("dns-hosts-refused", "web.lab.example:80", "dns.hosts_override", "client",
          hosts="192.0.2.20 web.lab.example\n"),
    # The first resolver is out of date and sends us to a dead host; the second one knows better.
    fault("dns-inconsistent-dead", "http://web.lab.example/",
          "dns.inconsistent path.host_unreachable", "dns server", findings="dns.inconsistent",
          resolv="nameserver 198.51.100.70\nnameserver 198.51.100.71\n",
          serve=["dns stale " + ONE_DNS]),
    # A sinkhole: the name is this host itself, where nothing listens.
    fault("dns-sinkhole", "http://web.lab.example/", "dns.failing", "dns",
          serve=["dns loopback " + ONE_DNS]),
]

# -- the way -----------------------------------------------------------------------------------

SMALL_MTU = [("transit", "ip link set sgw mtu 1300"), ("sgw", "ip link set wan mtu 1300")]
TOO_BIG = "meta l4proto ipv6-icmp icmpv6 type packet-too-big"
NO_TOO_BIG = [rules(node, "output", "icmp type destination-unreachable icmp code 4 drop",
                    TOO_BIG + " drop") for node in ("transit", "sgw")]
FAR4 = WEB4 + ":80"
FAR6 = "[%s]:80" % WEB6

NO_SSL = [("PYTHONPATH", "FOLDER/without-ssl")]
WAY = [
    fault("no-route-at-gateway", FAR4, "path.net_unreachable", "client_network",
          do=[("gateway", "ip route del default")]),
    # A router without a route ends the trace: it may be the last one before the target or not.
    fault("no-route-at-transit", FAR4, "path.net_unreachable", "transit server_network",
          do=[("transit", "ip route del 203.0.113.0/24")]),
    fault("no-route-at-transit-v6", FAR6, "path.net_unreachable", "transit server_network",
          do=[("transit", "ip -6 route del 2001:db8:3::/48")]),
    fault("no-route-at-transit-name", "https://web.lab.example/", "path.net_unreachable",
          "transit server_network", do=[("transit", "ip route del 203.0.113.0/24; "
                                         "ip -6 route del 2001:db8:3::/48")]),
    fault("no-route-at-sgw", "203.0.113.200:80", "path.net_unreachable",
          "server_network transit"),
    fault("no-route-at-sgw-v6", "[2001:db8:3:9::1]:80", "path.net_unreachable",
          "server_network transit"),
    fault("gateway-uplink-down", FAR4, "path.net_unreachable", "client_network",
          do=[("gateway", "ip link set wan down")]),
    # An `unreachable` route says 3/1 at once over IPv4 (as for a dead host), 1/0 over IPv6.
    fault("unreachable-at-transit", FAR4, "path.host_unreachable path.net_unreachable",
          "transit server_network server",
          do=[("transit", "ip route replace unreachable 203.0.113.0/24")]),
    fault("unreachable-at-transit-v6", FAR6, "path.net_unreachable", "transit server_network",
          do=[("transit", "ip -6 route replace unreachable 2001:db8:3::/48")]),
    fault("reject-net-at-transit", FAR4, "path.net_unreachable", "transit server_network",
          do=[reject("transit", "forward", "ip daddr " + WEB4, "icmp type net-unreachable")]),
    # For one port only it is a firewall, and what the target says of itself is no routing either.
    fault("reject-net-port-at-transit", FAR4, "tcp.rejected", "transit", never="path.net_unreachable",
          do=[reject("transit", "forward", "tcp dport 80", "icmp type net-unreachable")]),
    fault("reject-no-route-at-server-v6", FAR6, "tcp.rejected", "server",
          never="path.net_unreachable",
          do=[reject("server", "input", "tcp dport 80", "icmpv6 type no-route")]),
    fault("reject-net-at-server", FAR4, "tcp.rejected", "server", never="path.net_unreachable",
          do=[reject("server", "input", "tcp dport 80", "icmp type net-unreachable")]),
    fault("prohibit-at-transit", FAR4, "tcp.rejected", "transit server_network",
          do=[("transit", "ip route replace prohibit 203.0.113.0/24")]),
    fault("prohibit-at-transit-v6", FAR6, "tcp.rejected", "transit server_network",
          do=[("transit", "ip -6 route del 2001:db8:3::/48; "
               "ip -6 route add prohibit 2001:db8:3::/48")]),
    fault("host-down", DEAD4 + ":80", "path.host_unreachable", "server"),
    fault("host-down-v6", "[%s]:80" % DEAD6, "path.host_unreachable", "server"),
    fault("host-down-name", "http://dead.lab.example/", "path.host_unreachable", "server"),
    fault("host-down-ssh", "ssh://dead.lab.example", "path.host_unreachable", "server"),
    fault("server-unplugged", FAR4, "path.host_unreachable path.net_unreachable",
          "server server_network", do=[("server", "ip link set eth0 down"),
                                       ("sgw", "ip neigh flush dev lan")]),
    fault("loop-gateway-transit", FAR4, "path.loop", "client_network transit",
          do=[("transit", "ip route replace 203.0.113.0/24 via 198.51.100.1")]),
    fault("loop-transit-sgw", "203.0.113.200:443", "path.loop", "transit server_network",
          do=[("sgw", "ip route add default via 198.51.100.9")]),
    fault("loop-v6", FAR6, "path.loop", "client_network transit",
          do=[("transit", "ip -6 route replace 2001:db8:3::/48 via 2001:db8:12::1")]),
    fault("loop-name", "https://web.lab.example/", "path.loop", "client_network transit",
          do=[("transit", "ip route replace 203.0.113.0/24 via 198.51.100.1; "
               "ip -6 route replace 2001:db8:3::/48 via 2001:db8:12::1")]),
    # A gateway that answers for itself and forwards nothing.
    fault("gateway-not-forwarding", FAR4, "path.dead_end", "client_network transit",
          do=[sysctl("gateway", ipv4__ip_forward="0")]),
    # By name nothing is known of the target but that the resolver, too, lies behind that gateway.
    fault("gateway-not-forwarding-name", "https://v4.lab.example/",
          "path.dead_end dns.unreachable", "client_network transit dns",
          do=[sysctl("gateway", ipv4__ip_forward="0"),
              sysctl("gateway", ipv6__conf__all__forwarding="0")]),
    # The lookup of a blackhole comes before the TTL check: this router does not answer a trace.
    fault("blackhole-at-transit", FAR4, "path.dead_end", "client_network transit",
          do=[("transit", "ip route replace blackhole 203.0.113.0/24")]),
    fault("link-dead-behind-transit", FAR4, "path.dead_end", "transit server_network",
          do=[drop("sgw", "prerouting", 'iifname "wan" ip daddr 203.0.113.0/24')]),
    # Everything towards the server is lost, the server's own answers cannot be told apart.
    fault("server-drops-all", FAR4, "path.dead_end tcp.filtered", "server server_network",
          do=[drop("server", "input", 'iifname "eth0"')]),
    fault("server-drops-all-bare", WEB4, "path.dead_end", "server server_network",
          do=[drop("server", "input", 'iifname "eth0"')]),
    fault("host-down-bare", DEAD4, "path.host_unreachable", "server"),
    fault("server-drops-all-v6", FAR6, "path.dead_end tcp.filtered", "server server_network",
          do=[rules("server", "input", ND + " accept", 'iifname "eth0" drop')]),
    # sgw has no way back: its own answers to a trace are lost like the server's.
    fault("no-return-route-at-sgw", FAR4, "path.dead_end", "transit server_network",
          do=[("sgw", "ip route del 192.0.2.0/24")]),
    # The server has no way back: all its answers are lost, those of the routers are not.
    fault("no-return-route-at-server", FAR4, "path.dead_end tcp.filtered",
          "server server_network", do=[("server", "ip route del default")]),
    fault("no-return-route-at-server-v6", FAR6, "path.dead_end tcp.filtered",
          "server server_network", do=[("server", "ip -6 route del default")]),
    fault("rp-filter", FAR4, "path.dead_end tcp.filtered", "server server_network",
          do=[("server", "ip link add other type veth peer name nowhere; "
               "ip link set other up; ip link set nowhere up; "
               "ip route add 192.0.2.0/24 dev other"),
              sysctl("server", ipv4__conf__all__rp_filter="1",
                     ipv4__conf__eth0__rp_filter="1")]),
    # Every TCP handshake to the server dies on the way back; ping and RST come through.
    fault("synack-lost", FAR4, "tcp.filtered", "server_network server transit",
          do=[drop("sgw", "forward", "tcp flags & (syn|ack) == syn|ack")]),
    # The certificate does not fit in one small packet.
    fault("mtu-both-ways", "https://web.lab.example/", "path.mtu_blackhole",
          "transit server_network", do=SMALL_MTU + NO_TOO_BIG),
    fault("mtu-both-ways-v4", "https://" + WEB4 + "/", "path.mtu_blackhole",
          "transit server_network", do=SMALL_MTU + NO_TOO_BIG),
    fault("mtu-both-ways-v6", "https://[%s]/" % WEB6, "path.mtu_blackhole",
          "transit server_network", do=SMALL_MTU + NO_TOO_BIG),
    fault("mtu-download", "http://%s/big" % WEB4, "path.mtu_blackhole",
          "transit server_network server",
          do=SMALL_MTU[1:] + [("transit", "ip link set sgw mtu 1500")] + NO_TOO_BIG),
    fault("mtu-download-https", "https://web.lab.example/", "path.mtu_blackhole",
          "transit server_network server",
          do=SMALL_MTU[1:] + NO_TOO_BIG),
    # Only what the client sends is too large, and a request for a page is small: it works.
    fault("mtu-upload", "http://%s/" % WEB4, "ok path.mtu_blackhole", "transit server_network",
          do=SMALL_MTU[:1] + NO_TOO_BIG),
    # Random loss, both ways, does not stop a connection for certain, nor is it seen for certain;
    # but nothing else may be blamed for it.
    fault("loss-20", FAR4, "ok path.loss", "",
          do=[drop("transit", "forward", "numgen random mod 100 < 20")]),
    fault("loss-30", FAR4, "ok path.loss", "",
          do=[drop("transit", "forward", "numgen random mod 100 < 30")]),
    # Every third packet: as much loss, but the same in every run, and so it has to be seen.
    fault("loss-every-third", FAR4, "ok path.loss", "", findings="path.loss",
          do=[drop("transit", "forward", "numgen inc mod 3 == 0")]),
    fault("loss-every-third-v6", FAR6, "ok path.loss", "", findings="path.loss",
          do=[drop("transit", "forward", "numgen inc mod 3 == 0")]),
    # By name the same loss first slows the look-up; which packets are hit then differs by run.
    fault("loss-every-third-https", "https://web.lab.example/", "ok path.loss dns.slow",
          "", do=[drop("transit", "forward", "numgen inc mod 3 == 0")]),
    # Half of the flows, by port, go to a router that drops them: works, or does not, by chance.
    fault("ecmp-member-dead", FAR4, "ok path.loss intermittent", "",
          do=[sysctl("gateway", ipv4__fib_multipath_hash_policy="1"),
              ("gateway", "ip route add 203.0.113.0/24 nexthop via 198.51.100.2 "
               "nexthop via 198.51.100.6"),
              drop("transit2", "forward", "ip daddr 203.0.113.0/24")]),
    # Packets marked as ssh marks them die; an unmarked SYN is answered: "nc works, ssh hangs".
    fault("dscp-dropped", WEB4 + ":22", "tcp.filtered", "transit client_network server_network",
          do=[drop("transit", "forward", "ip dscp { af21, cs1, ef, 0x04 }")]),
    fault("dscp-dropped-v6", "ssh://[%s]" % WEB6, "tcp.filtered",
          "transit client_network server_network",
          do=[drop("transit", "forward", "ip6 dscp { af21, cs1, ef, 0x04 }")]),
    # What the web needs is not marked: a remark, and no fault.
    healthy("ok-dscp-dropped-http", "http://%s/" % WEB4, "tcp.filtered", "path.dead_end",
            do=[drop("transit", "forward", "ip dscp { af21, cs1, ef, 0x04 }")]),
    # A gateway that lowers the MSS, as for a tunnel: the SYNs that routers quote show where.
    fault("filtered-mss-clamped", WEB4 + ":8080", "tcp.filtered", "server server_network",
          do=[rules("gateway", "forward", "tcp flags syn tcp option maxseg size set 1200"),
              drop("server", "input", "tcp dport 8080")]),
    # Two hosts of one address: the kernel says so before it lets us use it (IPv6).
    fault("address-twin-v6", FAR6, "address.missing", "client",
          do=[("neighbor", "ip addr add 2001:db8:1::77/64 dev eth0 nodad"),
              sysctl("client", ipv6__conf__eth0__accept_dad="1", ipv6__conf__eth0__dad_transmits="1"),
              ("client", "ip addr flush dev eth0 scope global; "
               "ip addr add 2001:db8:1::77/64 dev eth0; ip -6 route replace default via fe80::1 dev eth0;"
               " for n in 1 2 3 4 5 6 7 8 9 10; do ip -6 addr show dev eth0 | grep -q dadfailed"
               " && break; sleep 0.3; done")]),
    # A filter on the way that resets every ClientHello: it answers what never gets to the server.
    fault("tls-cut-on-the-way", "https://web.lab.example/", "tls.handshake_cut",
          "transit server_network",
          do=[reject("transit", "forward", "tcp dport 443 @th,256,8 0x16", "tcp reset")]),
    fault("tls-cut-on-the-way-v6", "https://[%s]/" % WEB6, "tls.handshake_cut",
          "transit server_network",
          do=[reject("transit", "forward", "tcp dport 443 @th,256,8 0x16", "tcp reset")]),
]

# -- TCP and UDP ---------------------------------------------------------------------------------

REJECTS4 = (("port-unreachable", "gateway transit sgw server"),
            ("host-prohibited", "gateway transit sgw server"),
            ("admin-prohibited", "gateway transit sgw server"),
            ("net-prohibited", "transit sgw"))
REJECTS6 = (("admin-prohibited", "gateway transit sgw server"),
            ("port-unreachable", "gateway transit sgw server"),
            ("policy-fail", "transit"), ("reject-route", "sgw"))


def rejected_by(box, kind, six=False):
    """A box that says no to one port by ICMP."""
    hook, place, _ = BOXES[box]
    return fault("rejected-%s-%s%s" % (kind, box, "-v6" if six else ""), FAR6 if six else FAR4,
                 "tcp.rejected", place,
                 do=[reject(box, hook, "tcp dport 80",
                            ("icmpv6 type " if six else "icmp type ") + kind)])


def reset_by(box, six=False):
    """A box that says no by a RST of its own; the server's own cannot be told from no listener."""
    hook, place, _ = BOXES[box]
    return fault("reset-by-%s%s" % (box, "-v6" if six else ""), FAR6 if six else FAR4,
                 "tcp.refused", "server service" if box == "server" else place,
                 do=[reject(box, hook, "tcp dport 80", "tcp reset")])


def filtered_at(box, target=WEB4 + ":8080", suffix=""):
    """A box that drops one port and lets everything else pass."""
    hook, _, places = BOXES[box]
    return fault("filtered-at-%s%s" % (box, suffix), target, "tcp.filtered", places,
                 do=[drop(box, hook, "tcp dport 8080")])


def dead_end_at(box, target=FAR4, suffix=""):
    """A router that drops everything towards the server."""
    hook, _, places = BOXES[box]
    return fault("dead-end-at-%s%s" % (box, suffix), target, "path.dead_end", places,
                 do=[drop(box, hook, "ip daddr 203.0.113.0/24"),
                     drop(box, hook, "ip6 daddr 2001:db8:3::/48")])


TRANSPORT = (
    [dead_end_at(box) for box in ("gateway", "transit")]
    + [dead_end_at("transit", FAR6, "-v6"), dead_end_at("transit", "https://web.lab.example/",
                                                        "-name")]
    + [rejected_by(box, kind) for kind, boxes in REJECTS4 for box in boxes.split()]
    + [rejected_by(box, kind, True) for kind, boxes in REJECTS6 for box in boxes.split()]
    + [reset_by(box) for box in BOXES] + [reset_by(box, True) for box in BOXES]
    + [filtered_at(box) for box in BOXES]
    + [filtered_at(box, "[%s]:8080" % WEB6, "-v6") for box in ("gateway", "server")]
    + [filtered_at("transit", "http://web.lab.example:8080/", "-name")]
) + [
    # Everything beyond sgw is silent by every protocol: its FORWARD or the server, nobody knows.
    fault("dead-end-at-sgw", FAR4, "path.dead_end tcp.filtered", "server_network server",
          do=[drop("sgw", "forward", "ip daddr 203.0.113.0/24")]),
    fault("refused", WEB4 + ":81", "tcp.refused", "service server", never="tcp.rejected"),
    fault("refused-v6", "[%s]:81" % WEB6, "tcp.refused", "service server", never="tcp.rejected"),
    fault("refused-name", "web.lab.example:5432", "tcp.refused", "service server"),
    fault("refused-https", "https://web.lab.example:8443/", "tcp.refused", "service server"),
    fault("refused-ssh", "ssh://web.lab.example", "tcp.refused", "service server",
          serve=["no-sshd"]),
    fault("refused-loopback", "127.0.0.1:81", "tcp.refused", "service server client"),
    # The server answers one port only and drops the rest, ICMP included.
    fault("filtered-stealth-server", WEB4 + ":8080", "tcp.filtered", "server server_network",
          do=[rules("server", "input", "tcp dport { 22, 80 } accept", 'iifname "eth0" drop')]),
    # The server's answers come from its other address, as past a load balancer.
    fault("answers-from-elsewhere", FAR4, "tcp.filtered", "server server_network",
          do=[("server", "nft -f - <<'END'\ntable ip lab {\nchain o {\ntype filter hook postrouting "
               "priority 400\nip saddr 203.0.113.10 tcp sport 80 ip saddr set 203.0.113.11\n}\n}\nEND")]),
    fault("filtered-name", "web.lab.example:5432", "tcp.filtered", "server server_network",
          do=[rules("server", "input", "tcp dport 5432 drop")]),
    # A filter knows our source address only: the far end cannot be told from the last router.
    fault("filtered-source", FAR4, "path.dead_end tcp.filtered", "server server_network",
          do=[drop("server", "input", "ip saddr 192.0.2.10")]),
    # Multicast that nobody joined is received and not delivered: no sign of a local firewall.
    fault("filtered-noisy-segment", WEB4 + ":8080", "tcp.filtered", "server server_network",
          serve=["noise"], do=[drop("server", "input", "tcp dport 8080")]),
    fault("filtered-noisy-segment-v6", "[%s]:8080" % WEB6, "tcp.filtered",
          "server server_network", serve=["noise"],
          do=[drop("server", "input", "tcp dport 8080")]),
    fault("backlog-full", WEB4 + ":9000", "tcp.filtered", "service server server_network",
          serve=["liars 9000=backlog"]),
    fault("tcp-reset", WEB4 + ":9000", "tcp.reset", "service server",
          serve=["liars 9000=reset"]),
    fault("tcp-reset-name", "tcp://web.lab.example:9000", "tcp.reset", "service server",
          serve=["liars 9000=reset"]),
    fault("tcp-closed", WEB4 + ":9000", "tcp.closed", "service server",
          serve=["liars 9000=close"]),
    fault("tcp-closed-v6", "[%s]:9000" % WEB6, "tcp.closed", "service server",
          serve=["liars 9000=close"]),
    fault("udp-closed", "udp://%s:5000" % WEB4, "udp.closed", "service server"),
    fault("udp-closed-v6", "udp://[%s]:5000" % WEB6, "udp.closed", "service server"),
    fault("udp-silent", "udp://%s:5000" % WEB4, "udp.no_reply ok", "", findings="udp.no_reply",
          serve=["liars 5000=udpsilent"]),
    fault("udp-dropped", "udp://%s:5000" % WEB4, "udp.no_reply ok", "", findings="udp.no_reply",
          do=[drop("server", "input", "udp dport 5000")]),
]

# -- TLS ---------------------------------------------------------------------------------------

TLS = [fault("tls-" + name.replace("_", "-"), "https://%s.lab.example/" % host,
             "tls." + name, "service server")
       for name, host in (("expired", "expired"), ("not_yet_valid", "notyet"),
                          ("name_mismatch", "wrongname"), ("self_signed", "selfsigned"),
                          ("incomplete_chain", "nochain"))] + [
    # Whose fault an unknown authority is depends on the trust store: the client's side counts.
    fault("tls-untrusted-ca", "https://untrusted.lab.example/", "tls.untrusted_ca",
          "service server client"),
    # For clients only (extended key usage): the chain is whole and its CA is known.
    fault("tls-wrong-purpose", "https://purpose.lab.example/", "tls.unacceptable", "service"),
    fault("tls-version", "https://web.lab.example:4431/", "tls.version", "service server"),
    fault("tls-cipher", "https://web.lab.example:4432/", "tls.cipher", "service server"),
    fault("tls-client-cert", "https://web.lab.example:4434/", "tls.client_cert",
          "service server client",
          serve=["s_server 4434 -Verify 2 -verify_return_error"]),
    fault("tls-client-cert-12", "https://web.lab.example:4434/", "tls.client_cert",
          "service server client",
          serve=["s_server 4434 -Verify 2 -verify_return_error -tls1_2"]),
    # TLS 1.3 says so once the handshake is over: only who listens or speaks on hears it.
    fault("tls-client-cert-redis", "rediss://web.lab.example", "tls.client_cert",
          "service client", serve=["redis mtls 6380"]),
    fault("tls-client-cert-13", "tls://web.lab.example:4434", "tls.client_cert", "service client",
          serve=["s_server 4434 -Verify 2 -verify_return_error -tls1_3"]),
    fault("tls-client-cert-imaps", "imaps://web.lab.example:4434", "tls.client_cert",
          "service client", serve=["s_server 4434 -Verify 2 -verify_return_error"]),
    # nginx finishes the handshake and asks for the certificate with a page: 400.
    fault("tls-client-cert-page", "https://web.lab.example:4433/", "tls.client_cert",
          "client service"),
    fault("tls-sni", "https://web.lab.example:4435/", "tls.sni", "service server"),
    fault("tls-not-tls-http", "https://web.lab.example:80/", "tls.not_tls", "service server"),
    # A Python without ssl: the openssl command does the handshake, else a clear ClientHello tells.
    fault("no-ssl-expired", "https://expired.lab.example/", "tls.expired", "service", env=NO_SSL),
    fault("no-ssl-name", "https://wrongname.lab.example/", "tls.name_mismatch", "service",
          env=NO_SSL),
    fault("no-ssl-not-tls", "https://web.lab.example:80/", "tls.not_tls", "service server",
          env=NO_SSL),
    fault("no-ssl-cut", "https://web.lab.example:8443/", "tls.handshake_cut undecided", "service",
          serve=["liars 8443=heardclose"], env=NO_SSL),
    fault("no-ssl-fine", "https://web.lab.example/", "undecided", "service", env=NO_SSL),
    fault("tls-not-tls-ssh", "https://web.lab.example:22/", "tls.not_tls", "service server"),
    fault("tls-not-tls-smtp", "smtps://web.lab.example:465", "tls.not_tls", "service server",
          serve=["liars 465=greet:smtp"]),
    fault("tls-cut-reset", "https://web.lab.example:8443/", "tls.handshake_cut", "",
          serve=["liars 8443=heardreset"]),
    # The trace counts one hop too many (a reply is lost): the server itself cuts, no box before it.
    fault("tls-cut-reply-lost", "https://web.lab.example:8443/", "tls.handshake_cut", "service",
          serve=["liars 8443=heardreset"],
          do=[rules("server", "input", "ip ttl 1 meta l4proto udp drop",
                    "ip6 hoplimit 1 meta l4proto udp drop")]),
    fault("tls-cut-close", "https://web.lab.example:8443/", "tls.handshake_cut", "",
          serve=["liars 8443=heardclose"]),
    fault("tls-stalled", "https://web.lab.example:8443/", "tls.handshake_stalled", "",
          serve=["liars 8443=silence"], never="path.mtu_blackhole"),
    # Garbage instead of a ServerHello.
    fault("tls-garbage", "https://web.lab.example:8443/", "tls.not_tls", "service server",
          serve=["liars 8443=heardgarbage"]),
    fault("tls-by-address", "https://203.0.113.11/", "tls.name_mismatch", "service server client"),
    fault("tls-ldaps-self-signed", "ldaps://selfsigned.lab.example:443", "tls.self_signed",
          "service server"),
    # A box on the way that lets the handshake pass and resets whoever says ClientHello.
    fault("tls-filter-on-the-way", "https://web.lab.example/", "tls.handshake_cut",
          "transit server_network client_network service server",
          do=[rules("transit", "forward",
                    "tcp dport 443 @ih,0,8 0x16 reject with tcp reset")]),
    # The server lives in another year and its certificate is valid there: what the client sees
    # is what it would see with a wrong clock of its own.
    fault("clock-ahead", "https://web.lab.example/", "clock.skewed", "client",
          serve=["no-nginx", "dated -400"]),
    fault("clock-behind", "https://web.lab.example/", "clock.skewed", "client",
          serve=["no-nginx", "dated 400"]),
]

# -- HTTP --------------------------------------------------------------------------------------

WEB = "http://web.lab.example"
HTTP = [fault("http-" + path.strip("/"), WEB + path, code, "service server")
        for path, code in (("/missing", "http.client_error"), ("/private", "http.client_error"),
                           ("/forbidden", "http.client_error"), ("/teapot", "http.client_error"),
                           ("/too-many", "http.client_error"), ("/broken", "http.server_error"),
                           ("/bad-gateway", "http.gateway_error"),
                           ("/unavailable", "http.gateway_error"),
                           ("/gateway-timeout", "http.gateway_error"),
                           ("/loop", "http.redirect_loop"))] + [
    fault("https-missing", "https://web.lab.example/missing", "http.client_error",
          "service server client"),
    fault("https-bad-gateway", "https://web.lab.example/bad-gateway", "http.gateway_error",
          "service server"),
    fault("http-on-https-port", WEB + ":443/", "http.https_expected", "service server client"),
    fault("http-on-go-tls", WEB + ":9000/", "http.https_expected", "service server client",
          serve=["liars 9000=page:gotls"]),
    fault("http-silent", WEB + ":9000/", "http.no_response", "service server",
          serve=["liars 9000=silence"]),
    fault("http-closes", WEB + ":9000/", "http.no_response", "service server",
          serve=["liars 9000=heardclose"]),
    fault("http-resets", WEB + ":9000/", "http.no_response tcp.reset", "service server",
          serve=["liars 9000=heardreset"]),
    fault("http-garbage", WEB + ":9000/", "http.not_http service.unexpected", "service server",
          serve=["liars 9000=heardgarbage"]),
    fault("http-on-ssh", WEB + ":22/", "http.not_http service.unexpected", "service server"),
    fault("http-on-smtp", WEB + ":25/", "http.not_http service.unexpected", "service server",
          serve=["liars 25=greet:smtp"]),
    fault("http-flood", WEB + ":9000/", "http.not_http service.unexpected", "service server",
          serve=["liars 9000=flood"]),
    # The page works and leads to a host that does not: both may be told.
    fault("http-redirect-to-dead", WEB + "/dead-end", "path.host_unreachable", ""),
]

# -- other services, proxies ----------------------------------------------------------------------

PROXY = "http://198.51.100.90:3128"
SERVICES = [
    fault("smtp-silent", "smtp://web.lab.example", "service.silent", "service server",
          serve=["liars 25=silence"]),
    fault("ssh-silent", "ssh://web.lab.example:2222", "service.silent", "service server",
          serve=["liars 2222=silence"]),
    fault("mysql-silent", "mysql://web.lab.example", "service.silent", "service server",
          serve=["liars 3306=silence"]),
    fault("mysql-on-http", "mysql://web.lab.example:80", "service.silent service.unexpected",
          "service server"),
    fault("ssh-on-smtp", "ssh://web.lab.example:25", "service.unexpected", "service server",
          serve=["liars 25=greet:smtp"]),
    fault("smtp-on-ssh", "smtp://web.lab.example:22", "service.unexpected", "service server"),
    # Neither side of these two speaks first: seen only once netdiag says redis's own first words.
    fault("redis-on-http", "redis://web.lab.example:80", "service.unexpected", ""),
    fault("smtp-escapes", "smtp://web.lab.example", "service.unexpected", "service server",
          serve=["liars 25=say:escapes"]),
    fault("smtp-flood", "smtp://web.lab.example", "service.unexpected", "service server",
          serve=["liars 25=flood"]),
    # A greeting that never ends a line is none.
    fault("smtp-drip", "smtp://web.lab.example", "service.silent service.unexpected",
          "service server", serve=["liars 25=drip"]),
    fault("smtp-554", "smtp://web.lab.example", "service.error", "service server",
          serve=["liars 25=say:smtp554"]),
    fault("ftp-oops", "ftp://web.lab.example", "service.error", "service server",
          serve=["liars 21=say:vsftpd"]),
    fault("ftp-421", "ftp://web.lab.example", "service.error", "service server",
          serve=["liars 21=say:ftp421"]),
    fault("imap-bye", "imap://web.lab.example", "service.error", "service server",
          serve=["liars 143=say:imapbye"]),
    fault("mysql-host-blocked", "mysql://web.lab.example", "service.error",
          "service server", serve=["liars 3306=say:mysqlblocked"]),
    fault("ssh-penalty", "ssh://web.lab.example:2222", "ssh.throttled", "service server",
          serve=["liars 2222=say:sshlate"]),
    fault("ssh-max-startups", "ssh://web.lab.example:2222", "ssh.throttled", "service server",
          serve=["liars 2222=say:sshmax"]),
    # sshd behind a wrapper file or a ban: accepted and closed before the banner.
    fault("ssh-closes", "ssh://web.lab.example:2222", "tcp.closed ssh.denied ssh.throttled",
          "service server", serve=["liars 2222=close"]),
    fault("ssh-resets", "ssh://web.lab.example:2222", "tcp.reset ssh.denied ssh.throttled",
          "service server", serve=["liars 2222=reset"]),
    healthy("ok-sixteen-addresses", "https://pool.lab.example/", hosts=POOL, do=[("server", POOLED)]),
    fault("sixteen-last-alive", "https://pool.lab.example/", "ok", "", hosts=POOL,
          do=[("server", "ip address add 203.0.113.125/24 dev eth0")]),
    fault("sixteen-all-dropped", "https://pool.lab.example/", "tcp.filtered", "server server_network", hosts=POOL,
          do=[("server", POOLED), drop("server", "input", "tcp dport 443")]),
    fault("proxy-refused", WEB + "/", "proxy.unreachable", "proxy", options="--proxy " + PROXY),
    fault("proxy-silent", WEB + "/", "proxy.unreachable", "proxy",
          options="--proxy " + PROXY, do=[drop("proxy", "input", "tcp dport 3128")]),
    fault("proxy-no-name", WEB + "/", "proxy.unreachable", "proxy dns",
          options="--proxy http://noproxy.lab.example:3128"),
    fault("proxy-from-environment", WEB + "/", "proxy.unreachable", "proxy",
          env=[("http_proxy", PROXY), ("https_proxy", PROXY)]),
    # The proxy opens the way, and what comes through it is judged.
    fault("proxy-to-self-signed", "https://selfsigned.lab.example/", "tls.self_signed", "service",
          serve=["proxy ok"], options="--proxy " + PROXY),
    fault("proxy-to-expired", "https://expired.lab.example/", "tls.expired", "service",
          serve=["proxy ok"], options="--proxy " + PROXY),
    fault("proxy-inspects", "https://web.lab.example/", "tls.untrusted_ca", "proxy",
          serve=["liars-at proxy 3128=connected:FOLDER/intercepted.pem"],
          options="--proxy " + PROXY),
    fault("proxy-opens-and-closes", "https://web.lab.example/", "tls.handshake_cut", "proxy",
          serve=["liars-at proxy 3128=connected:"], options="--proxy " + PROXY),
    fault("proxy-opens-and-stalls", "https://web.lab.example/", "tls.handshake_stalled", "proxy",
          serve=["liars-at proxy 3128=connected:-"], options="--proxy " + PROXY),
    fault("proxy-to-bad-gateway", "https://web.lab.example/bad-gateway", "http.gateway_error",
          "service", serve=["proxy ok"], options="--proxy " + PROXY,
          do=[drop("gateway", "forward", "ip daddr 203.0.113.0/24"),
              drop("gateway", "forward", "ip6 daddr 2001:db8:3::/48")]),
    fault("proxy-to-missing", "https://web.lab.example/missing", "http.client_error",
          "service client", serve=["proxy ok"], options="--proxy " + PROXY),
    # The page of plain HTTP is asked for without CONNECT, which many proxies keep for port 443.
    fault("proxy-to-plain-missing", WEB + "/missing", "http.client_error", "service client",
          serve=["proxy ok"], options="--proxy " + PROXY),
    fault("proxy-only-way-to-bad-gateway", WEB + "/bad-gateway", "http.gateway_error",
          "service proxy", serve=["proxy ok"], options="--proxy " + PROXY,
          do=[drop("gateway", "forward", "tcp dport 80")]),
    healthy("ok-squid-no-connect", WEB + "/", serve=["squid deny-port"],
            options="--proxy " + PROXY),
    fault("proxy-is-none", WEB + "/", "proxy.unreachable", "proxy",
          serve=["proxy badrequest"], options="--proxy " + PROXY),
    # An https:// proxy is spoken to in TLS; a plain one is none, as curl finds as well.
    fault("proxy-no-tls", "https://web.lab.example/", "proxy.unreachable", "proxy client",
          serve=["proxy ok"], options="--proxy https://198.51.100.90:3128"),
    # The direct way is closed, the proxy would work, and no_proxy keeps us from it.
    fault("proxy-excluded", WEB + "/", "proxy.required",
          "client client_network transit proxy", serve=["proxy ok"],
          do=[drop("gateway", "forward", "ip daddr 203.0.113.0/24"),
              drop("gateway", "forward", "ip6 daddr 2001:db8:3::/48")],
          env=[("http_proxy", PROXY), ("https_proxy", PROXY), ("no_proxy", ".lab.example")]),
    fault("proxy-denies", "https://web.lab.example/", "proxy.denied", "proxy",
          serve=["proxy deny"], options="--proxy " + PROXY),
    fault("proxy-wants-login", "https://web.lab.example/", "proxy.denied", "proxy client",
          serve=["proxy auth"], options="--proxy " + PROXY),
]

# -- healthy, though it may not look so -----------------------------------------------------------

CLIENT_V6_ONLY = ("client", "ip -4 addr flush dev eth0; ip -4 route flush table main")
WARM_NEVER = HEALTHY_NEVER.replace("dns.unreachable", "")
ASYMMETRIC = [("sgw", "ip route replace 192.0.2.0/24 via 198.51.100.13; "
               "ip -6 route replace 2001:db8:1::/48 via 2001:db8:43::1")]
EQUAL_PATHS = [("gateway", "ip route add 203.0.113.0/24 nexthop via 198.51.100.2 "
                "nexthop via 198.51.100.6"),
               sysctl("gateway", ipv4__fib_multipath_hash_policy="1")]
NO_TTL_EXCEEDED = [rules(node, "output", "icmp type time-exceeded drop",
                         "icmpv6 type time-exceeded drop")
                   for node in ("gateway", "transit", "transit2", "sgw")]

HEALTHY = [
    healthy("ok-http", WEB + "/"),
    healthy("ok-https", "https://web.lab.example/"),
    healthy("ok-http-v4", "http://" + WEB4 + "/"),
    healthy("ok-http-v6", "http://[%s]/" % WEB6),
    healthy("ok-host-and-port", "web.lab.example:443"),
    healthy("ok-bare-host", WEB4),
    healthy("ok-bare-name", "web.lab.example"),
    healthy("ok-bare-host-no-ping", WEB4, do=[drop("server", "input", ICMP)]),
    healthy("ok-no-target", ""),
    healthy("ok-ssh", "web.lab.example:22"),
    # Lines before the version (RFC 4253 4.2); a telnet server that negotiates nothing.
    healthy("ok-ssh-lines-first", "ssh://web.lab.example:2222",
            serve=["liars 2222=sshlines:22"]),
    healthy("ok-telnet-plain", "telnet://web.lab.example", serve=["liars 23=greet:telnetlogin"]),
    healthy("ok-smtp", "smtp://web.lab.example", serve=["liars 25=greet:smtp"]),
    healthy("ok-smtp-lines", "smtp://web.lab.example", serve=["liars 25=greet:smtplines"]),
    # Some mail servers let spammers wait: longer than one probe's usual patience.
    healthy("ok-smtp-late", "smtp://web.lab.example", serve=["liars 25=slowgreet:2:smtp"]),
    healthy("ok-smtp-greet-pause", "smtp://web.lab.example",
            serve=["liars 25=slowgreet:6:smtp"]),
    # A server that looks this client up first, by a resolver that is dead.
    healthy("ok-mysql-late", "mysql://web.lab.example", serve=["liars 3306=slowgreet:5:mysql"]),
    healthy("ok-ftp-late", "ftp://web.lab.example", serve=["liars 21=slowgreet:5:ftp"]),
    healthy("ok-ftp", "ftp://web.lab.example", serve=["liars 21=greet:ftp"]),
    healthy("ok-pop3", "pop3://web.lab.example", serve=["liars 110=greet:pop3"]),
    healthy("ok-imap", "imap://web.lab.example", serve=["liars 143=greet:imap"]),
    healthy("ok-mysql", "mysql://web.lab.example", serve=["liars 3306=greet:mysql"]),
    healthy("ok-postgresql", "postgresql://web.lab.example", serve=["liars 5432=postgres"]),
    healthy("ok-redis", "redis://web.lab.example", serve=["liars 6379=redis"]),
    healthy("ok-tcp-silent", "web.lab.example:7000", serve=["liars 7000=silence"]),
    healthy("ok-tcp-echo", "tcp://%s:7000" % WEB4, serve=["liars 7000=echo"]),
    healthy("ok-udp-echo", "udp://%s:7000" % WEB4, serve=["liars 7000=udpecho"]),
    healthy("ok-dns-server", "dns://" + DNS4),
    healthy("ok-neighbor", "192.0.2.20:9000", serve=["liars-at neighbor 9000=echo"]),
    healthy("ok-loopback", "127.0.0.1:9000", serve=["liars-at client 9000=echo"]),
    healthy("ok-no-icmp-anywhere", WEB + "/", do=ICMP_DEAD),
    healthy("ok-gateway-ignores-ping", WEB + "/",
            do=[drop("gateway", "input", "icmp type echo-request"),
                drop("gateway", "input", "icmpv6 type echo-request")]),
    # Without a local target the gateway is what gets asked.
    healthy("ok-gateway-ignores-ping-no-target", "",
            do=[drop("gateway", "input", "icmp type echo-request"),
                drop("gateway", "input", "icmpv6 type echo-request")]),
    healthy("ok-no-ttl-exceeded", "https://web.lab.example/", do=NO_TTL_EXCEEDED),
    healthy("ok-icmp-loss", WEB + "/",
            do=[rules("transit", "forward", ICMP + " numgen random mod 100 < 60 drop")]),
    healthy("ok-ipv6-only", WEB + "/", do=[CLIENT_V6_ONLY],
            resolv="nameserver %s\n" % DNS6, never=HEALTHY_NEVER + " route.missing link.down"),
    healthy("ok-ipv4-only", WEB + "/",
            do=[sysctl("client", ipv6__conf__eth0__disable_ipv6="1")],
            never=HEALTHY_NEVER + " link.down"),
    healthy("ok-name-has-ipv4-only", "http://v4.lab.example/", never=HEALTHY_NEVER),
    healthy("ok-name-has-ipv6-only", "http://v6.lab.example/", never=HEALTHY_NEVER),
    healthy("ok-slow-resolver", WEB + "/", serve=["dns slow:1.5 " + ONE_DNS]),
    healthy("ok-very-slow-resolver", WEB + "/", findings="dns.slow", never=WARM_NEVER,
            serve=["dns slow:3 " + ONE_DNS]),
    healthy("ok-first-resolver-silent", WEB + "/", findings="dns.slow", never="tcp.filtered",
            serve=["dns silence " + ONE_DNS],
            resolv="nameserver 198.51.100.70\nnameserver 198.51.100.71\n"),
    healthy("ok-resolvers-disagree", WEB + "/", findings="dns.inconsistent",
            serve=["dns other " + ONE_DNS],
            resolv="nameserver 198.51.100.70\nnameserver 198.51.100.71\n"),
    healthy("ok-dns-truncated", WEB + "/", serve=["dns truncate " + ONE_DNS]),
    healthy("ok-dns-servfail-for-ipv6", "http://web.lab.example/", never="tcp.filtered",
            serve=["dns servfailaaaa " + ONE_DNS]),
    healthy("ok-dns-silent-for-ipv6", "http://web.lab.example/", never="tcp.filtered",
            serve=["dns silentaaaa " + ONE_DNS]),
    healthy("ok-alias", "http://alias.lab.example/", never=HEALTHY_NEVER),
    healthy("ok-hosts-name", "http://only-here.lab.example/",
            hosts=WEB4 + " only-here.lab.example\n"),
    healthy("ok-hosts-override", "web.lab.example:80", findings="dns.hosts_override",
            hosts="203.0.113.11 web.lab.example\n"),
    healthy("ok-search-suffix", "web:80", resolv=RESOLV_CONF + "search lab.example\n"),
    healthy("ok-one-address-dead", "http://half.lab.example/", never="dns.failing"),
    healthy("ok-asymmetric", "https://web.lab.example/", do=ASYMMETRIC),
    healthy("ok-ecmp", WEB4 + ":80", do=EQUAL_PATHS),
    healthy("ok-redirect", WEB + "/redirect"),
    healthy("ok-redirect-to-https", "http://mail.lab.example/"),
    # The target is host and port: a server that asks for a password is a server that works.
    healthy("ok-401-on-port", "private.lab.example:80", never="tcp.refused tcp.filtered"),
    healthy("ok-rejects-other-ports", WEB + "/",
            do=[rules("server", "input", ND + " accept", "tcp dport 80 accept",
                      'iifname "eth0" reject with icmpx type admin-prohibited')]),
    healthy("ok-drops-other-ports", WEB + "/",
            do=[rules("server", "input", ND + " accept", "tcp dport 80 accept",
                      'iifname "eth0" drop')]),
    healthy("ok-dnat", "https://203.0.113.100/",
            do=[nat("sgw", "prerouting", "ip daddr 203.0.113.100 dnat ip to 203.0.113.10")]),
    healthy("ok-client-behind-nat", WEB + "/",
            do=[nat("gateway", "postrouting", 'oifname "wan" masquerade')]),
    healthy("ok-ipv6-dead", WEB + "/", findings="path.dead_end", never="tcp.refused",
            do=[V6_DEAD_AT_TRANSIT]),
    healthy("ok-ipv6-refused", "web.lab.example:80", findings="tcp.refused",
            never="path.dead_end",
            do=[reject("server", "input", "meta nfproto ipv6 tcp dport 80", "tcp reset")]),
    healthy("ok-ipv6-rejected", "web.lab.example:80", findings="tcp.rejected",
            never="path.dead_end",
            do=[reject("transit", "forward", "tcp dport 80", "icmpv6 type admin-prohibited")]),
    healthy("ok-ipv4-dead", WEB + "/", findings="path.dead_end", never="tcp.refused",
            do=[drop("transit", "forward", "ip daddr 203.0.113.0/24")]),
    healthy("ok-ipv6-no-route", WEB + "/", never="tcp.filtered gateway.silent",
            do=[("client", "ip -6 route del default")]),
    healthy("ok-ipv6-disabled", WEB + "/", never=HEALTHY_NEVER + " host.exhausted",
            do=[sysctl("client", ipv6__conf__all__disable_ipv6="1")]),
    healthy("ok-ping-closed", WEB + "/", env=[("ping_range", "1 0")]),
    healthy("ok-ping-open", WEB + "/", env=[("ping_range", "0 2147483647")]),
    healthy("ok-slow-http", "http://web.lab.example:8081/", serve=["liars 8081=slowhttp:1.5"]),
    healthy("ok-big-page", WEB + "/big"),
    healthy("ok-small-mtu", "https://web.lab.example/", do=SMALL_MTU),
    healthy("ok-tls-slow", "https://web.lab.example:8443/",
            serve=["liars 8443=slowtls:3.5:FOLDER/web.pem"]),
    healthy("ok-tls-common-name-only", "https://web.lab.example:8443/",
            findings="tls.name_mismatch", serve=["liars 8443=tlspage:FOLDER/cnonly.pem"]),
    healthy("ok-tls-expiring", "https://expiring.lab.example/", findings="tls.expiring"),
    healthy("ok-connect-to", "https://web.lab.example/", options="--connect-to 203.0.113.11"),
    healthy("ok-proxy", WEB + "/", serve=["proxy ok"], options="--proxy " + PROXY),
    healthy("ok-proxy-https", "https://web.lab.example/", serve=["proxy ok"],
            options="--proxy " + PROXY),
    # Only the proxy may reach the server: what counts is that the page comes.
    healthy("ok-proxy-only-way", WEB + "/", serve=["proxy ok"], options="--proxy " + PROXY,
            do=[drop("gateway", "forward", "ip daddr 203.0.113.0/24"),
                drop("gateway", "forward", "ip6 daddr 2001:db8:3::/48")], never="dns.failing"),
    healthy("ok-gateway-link-local", "http://[%s]/" % WEB6,
            do=[("client", "ip -6 route replace default via fe80::1 dev eth0")]),
    # Cloud hosts have a /32 and a gateway that is on-link by decree.
    healthy("ok-cloud-slash-32", FAR4,
            do=[("client", "ip addr del 192.0.2.10/26 dev eth0; ip addr add 192.0.2.10/32 dev "
                 "eth0; ip route replace 192.0.2.1 dev eth0 scope link; "
                 "ip route replace default via 192.0.2.1 dev eth0")]),
    healthy("ok-no-default-route", FAR4,
            do=[("client", "ip route del default; ip route add 203.0.113.0/24 via 192.0.2.1")]),
    healthy("ok-policy-routing", FAR4,
            do=[("client", "ip route del default; ip route add default via 192.0.2.1 table 77; "
                 "ip rule add from all to 203.0.113.0/24 lookup 77")]),
    healthy("ok-docker-bridge", WEB + "/",
            do=[("client", "ip link add docker0 type bridge; ip link set docker0 up; "
                 "ip addr add 172.17.0.1/16 dev docker0")]),
    healthy("ok-local-firewall", WEB + "/",
            do=[rules("client", "input", "ct state established,related accept", ND + " accept",
                      'iifname "lo" accept', "drop"),
                rules("client", "output", "tcp dport { 25, 6667 } reject")]),
    healthy("ok-second-link-down", WEB + "/",
            do=[("client", "ip link add eth1 type veth peer name gone; "
                 "ip addr add 10.1.2.3/24 dev eth1")]),
    healthy("ok-clock-wrong-plain-http", WEB + "/", findings="clock.skewed",
            serve=["no-nginx", "dated -400"]),
]

# -- above TCP: services --------------------------------------------------------------------------

# name: (target, what runs): the real program, or a liar that waits for the right first words.
# Each is asked once while it runs and once while nothing does.
RUNNING = (
    ("redis", "redis://web.lab.example", "redis open"),
    ("rediss", "rediss://web.lab.example", "redis tls 6380"),
    ("postgresql", "postgresql://web.lab.example", "postgres up"),
    ("mysql", "mysql://web.lab.example", "mariadb up"),
    ("memcached", "memcached://web.lab.example", "memcached up"),
    ("smtp", "smtp://web.lab.example", "exim up"),
    ("smtps", "smtps://web.lab.example", "exim up"),
    ("submission", "submission://web.lab.example", "exim up"),
    ("imap", "imap://web.lab.example", "liars 143=starttls:imap:FOLDER/web.pem"),
    ("pop3", "pop3://web.lab.example", "liars 110=starttls:pop3:FOLDER/web.pem"),
    ("ftp", "ftp://web.lab.example", "liars 21=starttls:ftp:FOLDER/web.pem"),
    ("ldap", "ldap://web.lab.example", "liars 389=talk:ldap"),
    ("amqp", "amqp://web.lab.example", "liars 5672=talk:amqp"),
    ("mqtt", "mqtt://web.lab.example", "liars 1883=talk:mqtt"),
    ("kafka", "kafka://web.lab.example", "liars 9092=talk:kafka"),
    ("mongodb", "mongodb://web.lab.example", "liars 27017=talk:mongodb"),
    ("zookeeper", "zookeeper://web.lab.example", "liars 2181=talk:zookeeper"),
    ("xmpp", "xmpp://web.lab.example", "liars 5222=starttls:xmpp:FOLDER/web.pem"),
    ("rdp", "rdp://web.lab.example", "liars 3389=talk:rdp"),
    ("vnc", "vnc://web.lab.example", "liars 5900=talk:vnc"),
    ("telnet", "telnet://web.lab.example", "liars 23=greet:telnet"),
    ("elasticsearch", "http://web.lab.example:9200/", "liars 9200=page:elastic"),
    ("ssh-2222", "ssh://web.lab.example:2222", "sshd up"),
    ("http-balanced", "http://web.lab.example:8090/", "haproxy"),
    ("ssh-balanced", "ssh://web.lab.example:2201", "haproxy"),
)
STARTED = [healthy("up-" + name, target, serve=[serve]) for name, target, serve in RUNNING] + [
    fault("down-" + name, target, "tcp.refused", "service server")
    for name, target, _ in RUNNING if "2222" not in target and "balanced" not in name] + [
    healthy("up-ntp", "ntp://web.lab.example", serve=["liars 123=ntp"]),
    healthy("up-dns-tcp-too", "dns://" + DNS6),
    fault("down-ntp", "ntp://web.lab.example", "udp.closed", "service server"),
    fault("down-dns", "dns://web.lab.example", "udp.closed", "service server"),
    fault("snmp-silent", "snmp://web.lab.example", "udp.no_reply ok", "", findings="udp.no_reply",
          serve=["liars 161=udpsilent"]),
    fault("ntp-silent", "ntp://web.lab.example", "udp.no_reply", "", serve=["liars 123=udpsilent"]),
    # A password that is wanted, or an account, is how such a service looks when it is well.
    healthy("up-redis-password", "redis://web.lab.example", serve=["redis password"]),
    healthy("up-memcached-password", "memcached://web.lab.example", serve=["memcached password"]),
    healthy("up-postgresql-tls-only", "postgresql://web.lab.example", serve=["postgres tls-only"]),
    healthy("up-ldap-login", "ldap://web.lab.example", serve=["liars 389=talk:ldapauth"]),
    healthy("up-mqtt-login", "mqtt://web.lab.example", serve=["liars 1883=talk:mqttauth"]),
    healthy("up-rdp-nla", "rdp://web.lab.example", serve=["liars 3389=talk:rdpnla"]),
    healthy("up-smtp-plain", "smtp://web.lab.example", serve=["exim plain"]),
    healthy("up-ssh-password", "ssh://web.lab.example:2222", serve=["sshd password"]),
]

REFUSING = [fault(name, scheme + "://web.lab.example", "service.error", "service server",
                  serve=[serve]) for name, scheme, serve in (
    ("redis-protected", "redis", "redis protected"),
    ("redis-full", "redis", "redis full"),
    ("redis-loading", "redis", "liars 6379=talk:redisloading"),
    ("redis-master-down", "redis", "liars 6379=talk:redisdown"),
    ("postgresql-no-hba", "postgresql", "postgres no-hba"),
    ("postgresql-rejects", "postgresql", "postgres hba-reject"),
    ("postgresql-full", "postgresql", "postgres full"),
    ("postgresql-starting", "postgresql", "postgres starting"),
    ("mysql-not-allowed", "mysql", "mariadb not-allowed"),
    ("mysql-full", "mysql", "mariadb full"),
    ("memcached-full", "memcached", "memcached full"),
    ("smtp-blocked", "smtp", "exim refuse"),
    ("smtp-busy", "smtp", "exim busy"),
    ("smtp-full", "smtp", "exim full"),
    ("imap-full", "imap", "liars 143=say:dovecotbusy"),
    ("imaps-full", "imaps", "liars 993=tlssay:FOLDER/web.pem"),
    ("pop3-full", "pop3", "liars 110=say:pop3err"),
    ("ldap-busy", "ldap", "liars 389=talk:ldapbusy"),
    ("mqtt-unavailable", "mqtt", "liars 1883=talk:mqttdown"),
    ("zookeeper-not-serving", "zookeeper", "liars 2181=talk:zoodown"),
    ("ntp-denies", "ntp", "liars 123=ntp:deny"),
    ("ntp-unsynchronised", "ntp", "liars 123=ntp:unsynchronised"),
)] + [
    # An authoritative server refuses questions about the root, and is well.
    healthy("ok-dns-server-refuses-root", "dns://" + DNS4, serve=["dns refused " + ONE_DNS]),
] + [  # takes the connection and the first words, and hangs up
    fault(scheme + "-hangs-up", scheme + "://web.lab.example", "tcp.closed service.error",
          "service server", serve=["liars %d=heardclose" % port])
    for scheme, port in (("redis", 6379), ("ldap", 389), ("rdp", 3389), ("kafka", 9092),
                         ("postgresql", 5432))
] + [  # takes them and says nothing
    fault(scheme + "-silent", scheme + "://web.lab.example", "service.silent", "service server",
          serve=["liars %d=silence" % port])
    for scheme, port in (("redis", 6379), ("ldap", 389), ("mongodb", 27017),
                         ("postgresql", 5432))]

# Who asks for one protocol where another one answers; both are the real thing.  Some pairs wait for
# each other, and redis hangs up on whoever says "Host:" (it takes that for an attack).
QUIET_PAIRS = ("ssh-on-tls", "mysql-on-redis", "mysql-on-postgresql", "smtp-on-smtps")
ELSEWHERE = [fault("%s-on-%s" % (scheme, name), "%s://web.lab.example:%d" % (scheme, port),
                   "service.unexpected http.not_http" + (
                       " service.silent" if "%s-on-%s" % (scheme, name) in QUIET_PAIRS else ""),
                   "service server", serve=[serve] if serve else [])
             for scheme, name, port, serve in (
                 ("postgresql", "http", 80, ""), ("ldap", "http", 80, ""),
                 ("memcached", "http", 80, ""), ("kafka", "ssh", 22, ""),
                 ("mongodb", "http", 80, ""), ("amqp", "http", 80, ""), ("mqtt", "ssh", 22, ""),
                 ("rdp", "ssh", 22, ""), ("ssh", "tls", 443, ""), ("redis", "tls", 443, ""),
                 ("redis", "memcached", 11211, "memcached up"),
                 ("memcached", "redis", 6379, "redis open"),
                 ("redis", "mysql", 3306, "mariadb up"), ("mysql", "redis", 6379, "redis open"),
                 ("mysql", "postgresql", 5432, "postgres up"),
                 ("smtp", "smtps", 465, "exim up"), ("http", "mysql", 3306, "mariadb up"),
                 ("http", "vnc", 5900, "liars 5900=talk:vnc"),
                 ("amqp", "amqp-1.0", 5672, "liars 5672=talk:amqpother"))] + [
    fault("http-on-redis", WEB + ":6379/", "http.no_response http.not_http service.unexpected",
          "service server", serve=["redis open"])]

REFUSING += [
    fault("smtp-refuses-ehlo", "smtp://web.lab.example", "service.error", "service",
          serve=["liars 25=noehlo:"]),
    fault("smtp-hangs-up-at-ehlo", "smtp://web.lab.example", "service.error", "service",
          serve=["liars 25=noehlo:close"]),
    fault("smtp-mute-at-ehlo", "smtp://web.lab.example", "service.silent", "service",
          serve=["liars 25=noehlo:mute"]),
    healthy("ok-smtp-slow-ehlo", "smtp://web.lab.example", serve=["liars 25=noehlo:4"],
            never="service.error service.silent"),
    fault("ftp-not-yet", "ftp://web.lab.example", "service.error", "service",
          serve=["liars 21=greet:ftp120"]),
    fault("ssh-old-protocol", "ssh://web.lab.example:2222", "ssh.algorithm", "service client",
          serve=["liars 2222=greet:ssh1"]),
]
# The certificate behind STARTTLS, or behind a protocol's own wish for TLS.
STARTTLS = [fault("starttls-%s-expired" % scheme, scheme + "://expired.lab.example", "tls.expired",
                  "service server", serve=[serve]) for scheme, serve in (
    ("smtp", "exim up expired"), ("submission", "exim up expired"), ("smtps", "exim up expired"),
    ("postgresql", "postgres up expired"), ("mysql", "mariadb up expired"),
    ("imap", "liars 143=starttls:imap:FOLDER/expired.pem"),
    ("pop3", "liars 110=starttls:pop3:FOLDER/expired.pem"),
    ("ftp", "liars 21=starttls:ftp:FOLDER/expired.pem"),
    ("ldap", "liars 389=starttls:ldap:FOLDER/expired.pem"),
    ("xmpp", "liars 5222=starttls:xmpp:FOLDER/expired.pem"))] + [
    fault("starttls-smtp-wrong-name", "smtp://wrongname.lab.example", "tls.name_mismatch",
          "service server", serve=["exim up wrongname"]),
    # Who speaks before the greeting is whole is barred by postscreen.
    healthy("ok-smtp-postscreen", "smtp://web.lab.example",
            serve=["liars 25=postscreen:FOLDER/web.pem"]),
    fault("starttls-postscreen-expired", "smtp://expired.lab.example", "tls.expired", "service",
          serve=["liars 25=postscreen:FOLDER/expired.pem"]),
    # Mail servers take what certificate they get: a remark.
    healthy("ok-starttls-smtp-untrusted", "smtp://untrusted.lab.example", "tls.untrusted_ca",
            serve=["exim up untrusted"]),
]

GATES = [
    # The gate before authentication; whom it admits cannot be seen from here.
    # A single place, and nobody holds it: netdiag's own connections must not take it from each other.
    healthy("ok-sshd-one-place", "ssh://web.lab.example:2222", serve=["sshd max-startups"]),
    healthy("ok-sshd-one-place-each", "ssh://web.lab.example:2222", serve=["sshd per-source"]),
    fault("sshd-max-startups", "ssh://web.lab.example:2222", "ssh.throttled", "service server",
          serve=["sshd max-startups", "hold server 127.0.0.1 2222 1"]),
    fault("sshd-per-source", "ssh://web.lab.example:2222", "ssh.throttled", "service server",
          serve=["sshd per-source", "hold client %s 2222 1" % WEB4,
                 "hold client %s 2222 1" % WEB6]),
    # libwrap sleeps for 5 s before it hangs up.
    fault("sshd-hosts-deny", "ssh://web.lab.example:2222",
          "tcp.closed tcp.reset ssh.denied ssh.throttled service.silent", "service server",
          serve=["sshd hosts-deny"]),
    # A banner, and then nothing that sshd has to say: out of memory, or lost on the way.
    fault("ssh-banner-only", "ssh://web.lab.example:2222", "service.error", "service",
          serve=["liars 2222=say:ssh"]),
    fault("ssh-banner-and-silence", "ssh://web.lab.example:2222", "service.silent", "service",
          serve=["liars 2222=greet:ssh"]),
    fault("ssh-balancer-empty", "ssh://web.lab.example:2200", "tcp.closed ssh.throttled",
          "service server", serve=["haproxy"]),
    # Needs the ssh command: without one nobody has tried to log in, and the server is well.
    fault("sshd-deny-users", "ssh://root@web.lab.example:2222", "ssh.denied ok",
          "service server client", serve=["sshd deny-users"]),
    fault("sshd-old-algorithms", "ssh://web.lab.example:2222", "ssh.algorithm", "",
          serve=["sshd old-algorithms"]),
    fault("ssh-host-key", "ssh://web.lab.example", "ssh.host_key", "",
          serve=["known-hosts plain"]),
    fault("ssh-host-key-hashed", "ssh://web.lab.example", "ssh.host_key", "",
          serve=["known-hosts hashed"]),
    healthy("ok-ssh-known-host", "ssh://web.lab.example", serve=["known-hosts plain host_key"]),
    healthy("ok-ssh-known-hashed", "ssh://web.lab.example",
            serve=["known-hosts hashed host_key"]),
]


def intercepted(port):
    """The client's gateway leads what is for a port of the server to the proxy host."""
    rule = "%s daddr %s tcp dport %d dnat %s to %s"
    return [nat("gateway", "prerouting", rule % ("ip", WEB4, port, "ip", "198.51.100.90")),
            nat("gateway", "prerouting", rule % ("ip6", WEB6, port, "ip6", "2001:db8:80::90"))]


VERSIONS = [
    healthy("ok-tls-1.2-only", "https://web.lab.example:4441/"),
    healthy("ok-tls-1.3-only", "https://web.lab.example:4442/"),
    healthy("ok-tls-chacha-only", "https://web.lab.example:4443/"),
    # Serves one connection after the other: netdiag's own second connection has to wait.
    fault("tls-one-at-a-time", "https://web.lab.example:4440/",
          "ok http.no_response tls.handshake_stalled", "", never="path.mtu_blackhole path.loss",
          serve=["s_server 4440"]),
    # Speaks HTTP/2 only, over TLS (by ALPN) and in the clear (by its preface).
    healthy("h2-only-tls", "https://web.lab.example:4440/", serve=["nghttpd"]),
    healthy("ok-h2-only-plain", "http://web.lab.example:8082/"),
    healthy("ok-h2-greets", "http://web.lab.example:9000/", serve=["liars 9000=say:h2settings"]),
    fault("tls-odd-curve", "https://web.lab.example:4444/", "tls.cipher", "service server"),
    fault("tls-1.1-only", "https://web.lab.example:4440/", "tls.version", "service server",
          serve=["s_server 4440 -tls1_1 -cipher ALL:@SECLEVEL=0"]),
    # It would take a client certificate, and needs none: that is not what fails.
    fault("tls-1.1-only-asks", "https://web.lab.example:4440/", "tls.version", "service server",
          serve=["s_server 4440 -tls1_1 -cipher ALL:@SECLEVEL=0 -verify 1"]),
    fault("tls-ssl3-only", "https://web.lab.example:4440/", "tls.version", "service server",
          serve=["liars 4440=ssl3"]),
    fault("tls-alert-version", "https://web.lab.example:4440/", "tls.version", "service server",
          serve=["liars 4440=tlsalert:70"]),
    fault("tls-alert-cipher", "https://web.lab.example:4440/", "tls.cipher", "service server",
          serve=["liars 4440=tlsalert:40"]),
    fault("tls-alert-name", "https://web.lab.example:4440/", "tls.sni", "service server",
          serve=["liars 4440=tlsalert:112"]),
    fault("tls-alert-certificate", "https://web.lab.example:4440/", "tls.client_cert",
          "service server client", serve=["liars 4440=tlsalert:116"]),
    # The server wants another key share (HelloRetryRequest), and sends tickets afterwards.
    healthy("ok-tls-hello-retry", "https://web.lab.example:4450/",
            serve=["s_server 4450 -tls1_3 -groups P-521 -num_tickets 4 -www"]),
    # No alert: a filter on the way that knows the name would look the same.
    fault("tls-sni-reset", "https://web.lab.example:4440/", "tls.sni", "service server_network",
          serve=["liars 4440=cutsname:web.lab.example"]),
    fault("tls-stops", "https://web.lab.example:4440/", "tls.handshake_stalled", "service server",
          serve=["liars 4440=stops:1000"]),
    # A box that stumbles over a ClientHello with post-quantum key shares; smaller ones pass.
    fault("tls-large-hello", "https://web.lab.example:4440/", "ok", "",
          findings="tls.large_hello", serve=["liars 4440=smallhello:443"]),
    # redis waits for the end of the first line, which a ClientHello need not have.
    fault("tls-on-redis", "rediss://web.lab.example:6379", "tls.not_tls tls.handshake_stalled",
          "service server", serve=["redis open"]),
    # Somebody on the way answers with a certificate of his own making, or swallows the handshake.
    fault("tls-intercepted", "https://web.lab.example/", "tls.untrusted_ca",
          "service server client client_network proxy",
          serve=["liars-at proxy 443=tlspage:FOLDER/intercepted.pem"],
          do=intercepted(443)),
    fault("tls-swallowed-on-the-way", "https://web.lab.example/", "tls.handshake_stalled", "",
          never="path.mtu_blackhole",
          do=[drop("transit", "forward", "tcp dport 443 @ih,0,8 0x16")]),
    # A port that wants TLS and meets plain words with nothing.
    fault("http-on-tls-that-closes", WEB + ":8443/", "http.https_expected", "client service",
          serve=["liars 8443=tlsonly:FOLDER/web.pem"]),
    fault("smtp-on-smtps-port", "smtp://web.lab.example:465", "service.unexpected", "service client",
          serve=["exim up"]),
    fault("redis-on-tls-port", "redis://web.lab.example:6380", "service.unexpected",
          "service client", serve=["redis tls 6380"]),
    fault("tls-on-mysql", "tls://web.lab.example:3306", "tls.not_tls", "service server",
          serve=["mariadb up"]),
]

PAGES = [fault("http-" + path.strip("/"), WEB + path, code, "service server")
         for path, code in (("/method", "http.client_error"), ("/misdirected", "http.client_error"),
                            ("/further", "http.redirect_loop"))] + [
    fault("haproxy-dead", WEB + ":8091/", "http.gateway_error", "service server",
          serve=["haproxy"]),
    fault("haproxy-empty", WEB + ":8092/", "http.gateway_error", "service server",
          serve=["haproxy"]),
    fault("haproxy-cut", WEB + ":8093/", "http.gateway_error", "service server",
          serve=["haproxy"]),
    fault("haproxy-slow", WEB + ":8094/", "http.gateway_error", "service server",
          serve=["haproxy"]),
    fault("haproxy-wants-proxy-line", WEB + ":8096/", "http.no_response tcp.closed", "service",
          serve=["haproxy"]),
    fault("haproxy-denies", WEB + ":8095/", "http.client_error", "service server",
          serve=["haproxy"]),
    fault("haproxy-tls-dead", "https://web.lab.example:8443/", "http.gateway_error",
          "service server", serve=["haproxy"]),
    healthy("ok-redirect-chain", WEB + "/chain"),
    healthy("ok-redirect-to-plain", "https://web.lab.example/to-plain"),
    healthy("ok-redirect-to-login", WEB + "/to-login"),
    # A site that sets a cookie and looks whether it comes back; one that never lets it be enough.
    healthy("ok-redirect-cookie", "https://web.lab.example/cookie"),
    fault("redirect-cookie-loop", WEB + "/session", "http.redirect_loop", "service server"),
    fault("redirect-to-missing", WEB + "/to-missing", "http.client_error", "service server"),
    fault("redirect-to-unavailable", WEB + "/to-unavailable", "http.gateway_error",
          "service server"),
    # Every hop is a connection of its own: the one that fails is what the user meets.
    fault("redirect-to-no-name", WEB + "/to-no-name", "dns.not_found", "service dns"),
    fault("redirect-to-refused", WEB + "/to-refused", "tcp.refused", "service server"),
    fault("redirect-to-wrong-name", WEB + "/to-wrongname", "tls.name_mismatch", "service server"),
    fault("redirect-to-self-signed", WEB + "/to-selfsigned", "tls.self_signed", "service server"),
    fault("redirect-to-ssh", WEB + "/to-ssh", "http.not_http", "service server"),
    fault("redirect-to-plain-port", WEB + "/to-plain-port", "tls.not_tls", "service server"),
    fault("redirect-to-expired", WEB + "/to-expired", "tls.expired", "service server"),
    healthy("ok-http-1.0", WEB + ":9000/", serve=["liars 9000=page:http10"]),
    # A WebSocket server has nothing to say to a plain request.
    healthy("ok-websocket", "ws://web.lab.example:9000/chat", serve=["liars 9000=websocket"]),
    fault("websocket-refused", "ws://web.lab.example/missing", "http.client_error", "service"),
    healthy("ok-http-cached", WEB + ":9000/", never=HEALTHY_NEVER + " clock.skewed",
            serve=["liars 9000=page:cached"]),
    healthy("ok-http-continue", WEB + ":9000/", serve=["liars 9000=page:continue"]),
    healthy("ok-http-chunked", WEB + ":9000/", serve=["liars 9000=page:chunked"]),
    healthy("ok-http-drip", WEB + ":9000/", serve=["liars 9000=httpdrip"]),
    # The page is cut short; the answer itself was fine, and so may be the verdict.
    fault("http-cut-body", WEB + ":9000/", "ok http.no_response", "",
          serve=["liars 9000=page:cut"]),
    fault("http-cut-head", WEB + ":9000/", "http.no_response http.not_http", "service server",
          serve=["liars 9000=page:cuthead"]),
    healthy("ok-http-slow", WEB + ":9000/", serve=["liars 9000=late:3,HEAD"]),
    healthy("ok-http-head-unheard", WEB + ":9000/", serve=["liars 9000=late:0,GET"]),
    fault("http-too-slow", WEB + ":9000/", "http.no_response", "service",
          serve=["liars 9000=late:7,HEAD"]),
    # Large probes vanish, and the page that comes in their place is over before its connection is.
    healthy("ok-http-stays-open", WEB + ":9000/", serve=["liars 9000=hold:chunked"],
            do=[rules("transit", "forward", ICMP + " meta length > 1400 drop",
                      "meta l4proto udp meta length > 1400 drop")]),
    fault("http-stalled-head", WEB + ":9000/", "http.no_response", "service server",
          serve=["liars 9000=hold:cuthead"]),
    fault("http-late", WEB + ":9000/", "http.client_error", "service server",
          serve=["liars 9000=page:408"]),
    fault("http-0.9", WEB + ":9000/", "http.not_http", "service server",
          serve=["liars 9000=page:http09"]),
    # The redirect's own host is asked on its other address as well.
    fault("ok-redirect-ipv6-refused", WEB + "/redirect", "ok", "",
          do=[reject("server", "input", "ip6 nexthdr tcp tcp dport 80", "tcp reset")]),
    fault("ok-redirect-ipv6-silent", WEB + "/redirect", "ok", "",
          do=[drop("server", "input", "ip6 nexthdr tcp tcp dport 80")]),
    # A certificate for others behind SNI: who comes by the address has no name to ask for.
    fault("tls-sni-by-address", "https://203.0.113.10:4435/", "tls.sni", "client service"),
    # IPv6 is refused or silent, IPv4 gets further: its failure is what the user meets.
    fault("http-missing-ipv6-refused", WEB + "/missing", "http.client_error", "service",
          do=[reject("server", "input", "ip6 nexthdr tcp tcp dport 80", "tcp reset")]),
    fault("tls-expired-ipv6-silent", "https://expired.lab.example/", "tls.expired", "service",
          do=[drop("server", "input", "ip6 nexthdr tcp tcp dport 443")]),
    # Somebody on the way answers in the place of the server.
    fault("captive-portal", WEB + "/", "http.captive", "client_network proxy",
          serve=["liars-at proxy 80=page:portal"], do=intercepted(80)),
    healthy("ok-own-login-portal", WEB + ":9000/", serve=[
        "liars 9000=page:sso", "liars-at proxy 80=page:login"]),
    fault("captive-portal-511", WEB + "/", "http.captive", "client_network proxy",
          serve=["liars-at proxy 80=page:511"], do=intercepted(80)),
    fault("proxy-in-the-way-blocks", WEB + "/", "proxy.denied", "proxy client_network",
          serve=["liars-at proxy 80=page:blocked"], do=intercepted(80)),
]

SOCKS = "socks5h://198.51.100.90:1080"
PROXIES = [
    healthy("ok-squid", WEB + "/", serve=["squid allow"], options="--proxy " + PROXY),
    healthy("ok-squid-https", "https://web.lab.example/", serve=["squid allow"],
            options="--proxy " + PROXY),
    healthy("ok-squid-login", "https://web.lab.example/", serve=["squid auth"],
            options="--proxy http://lab:secret@198.51.100.90:3128"),
    # CONNECT to a port other than 443 is what squid.conf as delivered forbids.
    fault("squid-denies-port", "https://web.lab.example:4441/", "proxy.denied", "proxy",
          serve=["squid deny-port"], options="--proxy " + PROXY),
    fault("squid-wrong-login", WEB + "/", "proxy.denied", "proxy client", serve=["squid auth"],
          options="--proxy http://lab:wrong@198.51.100.90:3128"),
    # Its own rules, as delivered, forbid CONNECT to port 80 and fetch the page.
    healthy("ok-squid-no-tunnel-to-80", WEB + "/", serve=["squid deny-port"],
            options="--proxy " + PROXY),
    # The direct way works, and that is not the way that was asked for.
    fault("proxy-is-a-web-server", "https://web.lab.example/", "proxy.unreachable", "proxy",
          serve=["liars-at proxy 3128=greet:http400"], options="--proxy " + PROXY),
    fault("proxy-does-not-get-there", "https://web.lab.example/", "http.gateway_error", "proxy",
          serve=["squid allow"], options="--proxy " + PROXY,
          do=[reject("proxy", "output", "ip daddr 203.0.113.0/24", "icmp type host-unreachable"),
              reject("proxy", "output", "ip6 daddr 2001:db8:3::/48", "icmpv6 type no-route")]),
    fault("socks-does-not-get-there", "https://web.lab.example/", "http.gateway_error", "proxy",
          serve=["liars-at proxy 1080=socks:1"], options="--proxy " + SOCKS),
    # What the proxy says about the far end: the page is its own, the trouble is not.
    fault("squid-behind-refused", WEB + ":81/", "http.gateway_error tcp.refused",
          "service server proxy", serve=["squid allow"], options="--proxy " + PROXY),
    fault("squid-behind-no-name", "http://nosuch.lab.example/",
          "http.gateway_error dns.not_found", "", serve=["squid allow"],
          options="--proxy " + PROXY),
    fault("squid-behind-dead", "https://dead.lab.example/",
          "http.gateway_error path.host_unreachable", "", serve=["squid allow"],
          options="--proxy " + PROXY),
    # As delivered, squid waits for a minute before it says that the target is silent.
    fault("squid-behind-silent", "https://web.lab.example/", "http.gateway_error", "proxy",
          serve=["squid patient"], options="--proxy " + PROXY,
          do=[drop("server", "input", "tcp dport 443")]),
    fault("proxy-hangs", "https://web.lab.example/", "proxy.unreachable", "proxy",
          serve=["proxy silent"], options="--proxy " + PROXY),
    fault("proxy-is-not-one", WEB + "/", "proxy.unreachable service.unexpected proxy.denied",
          "proxy client", serve=["liars-at proxy 3128=greet:ssh"], options="--proxy " + PROXY),
    healthy("ok-socks", WEB + "/", serve=["microsocks open"], options="--proxy " + SOCKS),
    healthy("ok-socks-https", "https://web.lab.example/", serve=["microsocks open"],
            options="--proxy " + SOCKS),
    healthy("ok-socks-login", WEB + "/", serve=["microsocks auth"],
            options="--proxy socks5h://lab:secret@198.51.100.90:1080"),
    fault("socks-to-missing", WEB + "/missing", "http.client_error", "service client",
          serve=["microsocks open"], options="--proxy " + SOCKS),
    fault("socks-down", WEB + "/", "proxy.unreachable", "proxy", options="--proxy " + SOCKS),
    fault("socks-wants-login", WEB + "/", "proxy.denied", "proxy client",
          serve=["microsocks auth"], options="--proxy " + SOCKS),
    fault("socks-denies", WEB + "/", "proxy.denied", "proxy",
          serve=["liars-at proxy 1080=socks:2"], options="--proxy " + SOCKS),
    fault("socks-behind-refused", WEB + ":81/", "tcp.refused", "service server proxy",
          serve=["microsocks open"], options="--proxy " + SOCKS),
    # NO_PROXY in its dialects: each of these keeps a dead proxy out of the way.
] + [healthy("ok-no-proxy-" + name, target, env=[("http_proxy", PROXY), ("no_proxy", words)])
     for name, target, words in (
         ("suffix", WEB + "/", "localhost,lab.example"), ("dot", WEB + "/", ".lab.example"),
         ("star", WEB + "/", "*"), ("port", WEB + ":80/", "web.lab.example:80"),
         ("cidr", "http://%s/" % WEB4, "203.0.113.0/24"), ("v6", "http://[%s]/" % WEB6,
                                                           "2001:db8:3::/48"))
] + [fault("squid-%s-%s" % (mode, scheme), scheme + "://web.lab.example/", "proxy.denied",
           "proxy client", serve=["squid " + word], options="--proxy " + PROXY)
     for mode, word in (("denies", "deny-host"), ("wants-login", "auth"))
     for scheme in ("http", "https")]

# -- the same causes in other clothes: own rules, next hops, names, NAT, UDP -----------------------

TWO_RESOLVERS = "nameserver 198.51.100.70\nnameserver 198.51.100.71\n"
BY_PORT = "ip rule add ipproto tcp dport 80 "
SYN_PROXY = [("sgw", "echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose; "
              "P='-p tcp -m multiport --dports 80,443'; "
              "iptables -t raw -A PREROUTING -i wan $P --syn -j CT --notrack; "
              "iptables -A FORWARD -i wan $P -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY "
              "--sack-perm --timestamp --wscale 7 --mss 1460; "
              "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP")]
SECOND_LINK = ("ip link add eth1 type veth peer name gone; ip link set eth1 up; "
               "ip link set gone up; ip addr add %s dev eth1")
SECOND_MAC = ("ip link add eth1 link eth0 type macvlan mode bridge; ip link set eth1 up; "
              "ip addr add 192.0.2.14/26 dev eth1")
ONE_RETRY = ("cd /proc/sys/net/ipv4; echo 1 >tcp_syn_retries; test ! -e tcp_syn_linear_timeouts || "
             "echo 0 >tcp_syn_linear_timeouts")
PROXY_ARP = [("client", "ip route add 203.0.113.0/24 dev eth0"),
             sysctl("gateway", ipv4__conf__lan__proxy_arp="1")]
DEAD_TABLE = "ip route add default via 192.0.2.44 dev eth0 table 99; "


NO_ADDRESS = "ip addr flush dev eth0 scope global; "


def on_client(name, target, code, script, where="client", **columns):
    """A fault that one script on the client makes."""
    return fault(name, target, code, where, do=[("client", script)], **columns)


def dns_lies(name, mode, code, where="dns", resolv=RESOLV_CONF, **columns):
    """A fault (or, as ok, none) of the first resolver."""
    return fault(name, WEB + "/", code, where, serve=["dns %s %s" % (mode, ONE_DNS)],
                 resolv=resolv, **columns)


VARIANTS = [
    on_client("lo-down", "127.0.0.1:80", "link.down", "ip link set lo down"),
    on_client("lo-down-v6", "[::1]:80", "link.down", "ip link set lo down"),
    on_client("lo-down-own-address", "192.0.2.10:80", "link.down", "ip link set lo down"),
    on_client("lo-without-address", "127.0.0.1:80", "address.missing",
              "ip addr del 127.0.0.1/8 dev lo"),
    healthy("ok-lo-down", WEB + "/", do=[("client", "ip link set lo down")]),
    # What every host has beside 127.0.0.1.
    fault("refused-any-address", "0.0.0.0:81", "tcp.refused", "service", never="firewall.local"),
    fault("refused-any-address-v6", "[::]:81", "tcp.refused", "service", never="firewall.local"),
    fault("refused-127.0.1.1", "127.0.1.1:81", "tcp.refused", "service"),
    fault("rejected-by-own-input", "192.0.2.10:9000", "firewall.local", "client",
          serve=["liars-at client 9000=echo"],
          do=[reject("client", "input", "tcp dport 9000", "icmpx type port-unreachable")]),
    # Rules that look at more than the address: the route decision alone knows nothing of them.
    on_client("rule-port-blackhole", FAR4, "route.blocked", BY_PORT + "blackhole"),
    on_client("rule-port-unreachable", FAR4, "route.blocked", BY_PORT + "unreachable"),
    on_client("rule-port-prohibit", FAR4, "route.blocked firewall.local", BY_PORT + "prohibit"),
    on_client("rule-unreachable", FAR4, "route.blocked",
              "ip rule add to 203.0.113.0/24 unreachable"),
    on_client("rule-unreachable-no-target", "", "route.blocked", "ip rule add pref 99 unreachable"),
    on_client("rule-port-v6", FAR6, "route.blocked",
              "ip -6 rule add ipproto tcp dport 80 unreachable"),
    on_client("rule-port-dead-gateway", FAR4, "gateway.silent",
              DEAD_TABLE + BY_PORT + "lookup 99", "client client_network"),
    on_client("rule-mark-dead-gateway", FAR4, "gateway.silent", DEAD_TABLE + "iptables -t mangle "
              "-A OUTPUT -p tcp --dport 80 -j MARK --set-mark 7; ip rule add fwmark 7 lookup 99",
              "client client_network"),
    on_client("rule-source-dead-gateway", FAR4, "gateway.silent",
              DEAD_TABLE + "ip rule add from 192.0.2.10 lookup 99", "client client_network"),
    on_client("default-twice-first-dead", FAR4, "gateway.silent", "ip route del default; "
              "ip route add default via 192.0.2.44 metric 50; ip route add default via 192.0.2.1 metric 100",
              "client client_network"),
    healthy("ok-default-twice-second-dead", FAR4,
            do=[("client", "ip route add default via 192.0.2.44 metric 500")]),
    healthy("ok-default-via-inet6", FAR4,
            do=[("client", "ip -4 route replace default via inet6 fe80::1 dev eth0")]),
    on_client("gateway-inet6-dead", FAR4, "gateway.silent",
              "ip -4 route replace default via inet6 fe80::99 dev eth0", "client_network"),
    healthy("ok-nexthop-object", FAR4, do=[(
        "client", "ip route del default; ip nexthop add id 5 via 192.0.2.1 dev eth0; "
        "ip route add default nhid 5")]),
    # Default routes that are not one line of `ip route` with a gateway.
    healthy("ok-default-multipath-no-target", "", do=[(
        "client", "ip route del default; for n in 1 2 3 4; do ip addr add 10.66.$n.1/24 dev eth0; "
        "done; ip route add default nexthop via 192.0.2.1 nexthop via 192.0.2.1 weight 2")]),
    healthy("ok-default-in-another-table-no-target", "", do=[(
        "client", "ip route del default; ip route add default via 192.0.2.1 table 77; "
        "ip rule add from all lookup 77 pref 40000; ip -6 route del default")]),
    healthy("ok-default-in-halves-no-target", "", do=[(
        "client", "ip route del default; ip route add 0.0.0.0/1 via 192.0.2.1; "
        "ip route add 128.0.0.0/1 via 192.0.2.1; ip -6 route del default")]),
    on_client("default-blackhole-no-target", "", "route.blocked route.missing",
              "ip route del default; ip route add blackhole default"),
    fault("firewall-dns-no-target", "", "firewall.local", "client",
          do=[drop("client", "output", "meta l4proto { tcp, udp } th dport 53")]),
    # Our own firewall eats what neighbor discovery says, and IPv4 is well: no wrong VLAN.
    fault("icmpv6-dropped-here", FAR6, "gateway.silent firewall.local", "client client_network",
          never="segment.isolated",
          do=[forget(GATEWAY4, GATEWAY6), drop("client", "input", "meta l4proto ipv6-icmp")]),
    # Spelt as nobody else spells them: no answer names these addresses so.
    fault("spelling-v6-rejected", "[2001:DB8:3:0::0010]:82", "tcp.rejected", "server",
          do=[reject("server", "input", "tcp dport 82", "icmpv6 type admin-prohibited")]),
    fault("spelling-v6-refused", "[2001:DB8:3:0::0010]:81", "tcp.refused", "service server"),
    # A name of IPv6 alone, on a host that has none.
    fault("name-of-ipv6-without-ipv6", "http://v6.lab.example/", "address.missing", "client",
          never="host.exhausted", do=[sysctl("client", ipv6__conf__all__disable_ipv6="1")]),
    fault("mapped-refused", "[::ffff:203.0.113.10]:81", "tcp.refused", "service server"),
    fault("mapped-dead", "[::ffff:203.0.113.99]:80", "path.host_unreachable", "server"),
    healthy("ok-mapped", "[::FFFF:cb00:710a]:80"),
    healthy("ok-hosts-spelling", WEB + "/", never=HEALTHY_NEVER + " dns.hosts_override",
            hosts="2001:DB8:3:0::10 web.lab.example\n203.0.113.10 web.lab.example\n",
            resolv="nameserver 2001:DB8:53:0::70\n"),
    fault("link-local-refused", "[fe80::1%eth0]:80", "tcp.refused", "service server"),
    fault("link-local-filtered", "[fe80::1%eth0]:80", "tcp.filtered", "server",
          do=[drop("gateway", "input", "tcp dport 80")]),
    fault("link-local-silent", "[fe80::77%eth0]:80", "neighbor.silent", "server"),
    dns_lies("dns-zero", "zero", "dns.failing"),
    dns_lies("dns-link-local", "linklocal", "dns.failing"),
    dns_lies("dns-wrong-question", "wrongquestion", "dns.failing dns.unreachable"),
    dns_lies("dns-alias-dangling", "dangling", "dns.not_found"),
    dns_lies("ok-dns-nxdomain-for-ipv6", "nxdomainaaaa", "ok", never=HEALTHY_NEVER),
    dns_lies("ok-dns-udp-only", "udponly", "ok", never=HEALTHY_NEVER),
    dns_lies("dns-first-nxdomain", "nxdomain", "dns.not_found", findings="dns.inconsistent",
             resolv=TWO_RESOLVERS),
    dns_lies("ok-dns-first-servfail", "servfail", "ok", resolv=TWO_RESOLVERS),
    dns_lies("ok-dns-first-refused", "refused", "ok", resolv=TWO_RESOLVERS),
    fault("dns-use-vc-blocked", WEB + "/", "dns.unreachable", "dns client_network transit",
          resolv=RESOLV_CONF + "options use-vc\n",
          do=[drop("gateway", "forward", "tcp dport 53")]),
    healthy("ok-dns-use-vc", WEB + "/", resolv=RESOLV_CONF + "options use-vc\n"),
    fault("dns-resolver-by-name", WEB + "/", "dns.unconfigured", "client",
          resolv="nameserver ns1.example\n"),
    fault("dns-resolv-conf-of-windows", WEB + "/", "dns.unconfigured", "client",
          resolv="nameserver 198.51.100.70\r\noptions timeout:2\r\n"),
    fault("dns-resolv-conf-of-windows-no-target", "", "dns.unconfigured", "client",
          resolv="nameserver 198.51.100.70\r\n"),
    fault("dns-resolv-conf-indented", WEB + "/", "dns.unconfigured", "client",
          resolv="  nameserver 198.51.100.70\n"),
    fault("dns-resolver-with-port", WEB + "/", "dns.unconfigured", "client",
          resolv="nameserver 198.51.100.70:53\n"),
    healthy("ok-nsswitch-dns-first", WEB + "/", never=HEALTHY_NEVER + " dns.hosts_override",
            hosts=DEAD4 + " web.lab.example\n",
            do=[("client", "printf 'hosts: dns files\\n' >/etc/nsswitch.conf")]),
    on_client("dns-nsswitch-files", WEB + "/", "dns.failing",
              "printf 'hosts: files\\n' >/etc/nsswitch.conf"),
    # A port forward whose inner host is dead: the 'no' is translated as well.
    fault("dnat-dead", "203.0.113.100:80", "path.host_unreachable", "server server_network",
          never="tcp.rejected",
          do=[nat("sgw", "prerouting", "ip daddr 203.0.113.100 dnat ip to 203.0.113.99")]),
    # A box that gives every TCP packet a new TTL: a reset seems to come from next door.
    fault("refused-ttl-rewritten", WEB4 + ":81", "tcp.refused", "service server",
          do=[rules("gateway", "forward", 'iifname "lan" meta l4proto tcp ip ttl set 64')]),
    fault("udp-host-down", "udp://%s:514" % DEAD4, "path.host_unreachable", "server"),
    fault("udp-host-down-v6", "syslog://[%s]" % DEAD6, "path.host_unreachable", "server"),
    fault("udp-rejected-gateway", "udp://%s:514" % WEB4, "tcp.rejected", "client_network",
          do=[reject("gateway", "forward", "udp dport 514", "icmp type admin-prohibited")]),
    fault("udp-loop", "snmp://" + WEB4, "path.loop", "client_network transit",
          do=[("transit", "ip route replace 203.0.113.0/24 via 198.51.100.1")]),
    # The packets are as good as dead when they come to the next router: no loop.
    fault("ttl-set-too-low", FAR4, "path.dead_end", "client_network", never="path.loop",
          do=[rules("gateway", "postrouting", 'oifname "wan" ip ttl set 1')]),
    fault("ttl-rule-of-this-host", FAR4, "path.dead_end", "client", never="path.loop",
          do=[rules("client", "output", "ip ttl set 2")]),
    fault("ttl-of-this-host", FAR4, "path.dead_end", "client", never="path.loop",
          do=[sysctl("client", ipv4__ip_default_ttl="2")]),
    fault("hop-limit-of-this-host", FAR6, "path.dead_end", "client", never="path.loop",
          do=[sysctl("client", ipv6__conf__eth0__hop_limit="2")]),
    # The next router is dead: its predecessor says no more than of a dead host.
    fault("router-silent-for-router", FAR4, "path.host_unreachable", "server server_network",
          do=[("sgw", "nft -f - <<'E'\ntable arp lab {\nchain i {\ntype filter hook input "
               "priority 0\niifname wan drop\n}\nchain o {\ntype filter hook output "
               "priority 0\noifname wan drop\n}\n}\nE"),
              ("transit", "ip neigh flush dev sgw")]),
    fault("udp-dns-garbage", "dns://" + DNS4, "service.unexpected", "service",
          serve=["dns garbage " + ONE_DNS]),
    fault("udp-ntp-echo", "ntp://" + WEB4, "service.unexpected", "service",
          serve=["liars 123=udpecho"]),
    fault("to-broadcast", "192.0.2.63:80", "route.blocked", "client"),
    fault("to-everybody", "255.255.255.255:80", "route.blocked", "client"),
    fault("to-multicast", "224.0.0.5:80", "route.blocked", "client"),
    fault("to-multicast-v6", "[ff02::1%eth0]:80", "route.blocked route.missing", "client"),
    fault("udp-dead-transit", "ntp://" + WEB4, "udp.no_reply path.dead_end",
          "transit server_network", do=[drop("transit", "forward", "ip daddr 203.0.113.0/24")]),
    # A local proxy is gone, and the rule that sends everything to it is still there.
    fault("own-redirect-dead", FAR4, "firewall.local tcp.refused", "client",
          do=[nat("client", "output", "tcp dport 80 redirect to :3129")]),
    # The same on the gateway; and an address of the gateway where nobody listens: no rule of ours.
    fault("gateway-redirect-dead", FAR4, "tcp.refused", "client_network", never="firewall.local",
          do=[nat("gateway", "prerouting", "tcp dport 80 redirect to :3129")]),
    fault("refused-gateway-far-side", "198.51.100.1:81", "tcp.refused",
          "service server client_network", never="firewall.local"),
    fault("own-reset-next-door", "192.0.2.20:22", "firewall.local", "client",
          do=[rules("client", "output", "tcp dport 22 reject with tcp reset")]),
    fault("ipsec-policy-blocks", FAR4, "firewall.local", "client",
          do=[("client", "ip xfrm policy add dir out dst 203.0.113.0/24 action block")]),
    # A tunnel that is not up takes every packet, and no counter of TCP or of the route tells.
    fault("ipsec-without-tunnel", FAR4, "path.dead_end firewall.local", "",
          do=[("client", "ip xfrm policy add dir out dst 203.0.113.0/24 tmpl src 192.0.2.10 "
               "dst 203.0.113.1 proto esp mode tunnel")]),
    # One connection a minute: the first works, and none after it.
    fault("syn-limit", FAR4, "path.loss tcp.filtered", "server server_network", do=[rules(
        "server", "input",
        "tcp flags & (syn|ack) == syn limit rate over 1/minute burst 1 packets drop")]),
    fault("udp-firewall", "udp://%s:514" % WEB4, "firewall.local", "client",
          do=[drop("client", "output", "udp dport 514")]),
    # The kernel gives up before netdiag does: ETIMEDOUT is silence, and no error of its own.
    fault("filtered-one-retry", WEB4 + ":8080", "tcp.filtered", "server server_network",
          do=[("client", ONE_RETRY), drop("server", "input", "tcp dport 8080")]),
    fault("firewall-one-retry", FAR4, "firewall.local", "client",
          do=[("client", ONE_RETRY), drop("client", "output", "tcp dport 80")]),
    fault("udp-rejected-server", "udp://%s:514" % WEB4, "tcp.rejected", "server",
          never="udp.closed",
          do=[reject("server", "input", "udp dport 514", "icmp type admin-prohibited")]),
    # Nobody says anything by ICMP, and the service says nothing by UDP: who knows?
    fault("udp-silent-no-icmp", "ntp://" + WEB4, "udp.no_reply", "service",
          never="gateway.silent", do=ICMP_DEAD + [drop("server", "input", "udp dport 123")]),
    fault("udp-gateway-died", "ntp://" + WEB4, "gateway.silent", "client_network",
          do=[unplug("gateway"), aged(GATEWAY4, GATEWAY6)]),
    healthy("ok-udp-gateway-aged", "udp://%s:7000" % WEB4, serve=["liars 7000=udpecho"],
            do=[aged(GATEWAY4, GATEWAY6)]),
    # A SYN proxy accepts in the place of a server that does not answer it.
    fault("syn-proxy-server-silent", FAR4, "http.no_response", "server_network server",
          do=SYN_PROXY + [drop("server", "input", "tcp dport 80")]),
    fault("syn-proxy-server-silent-tcp", "tcp://" + FAR4, "service.silent",
          "server_network server", do=SYN_PROXY + [drop("server", "input", "tcp dport 80")]),
    fault("syn-proxy-server-silent-tls", "https://%s/" % WEB4, "tls.handshake_stalled",
          "server_network server", do=SYN_PROXY + [drop("server", "input", "tcp dport 443")]),
    healthy("ok-syn-proxy", "https://%s/" % WEB4, never="tcp.filtered", do=SYN_PROXY),
    healthy("ok-syn-proxy-tcp", "tcp://" + FAR4, do=SYN_PROXY),
    # --interface: the way by that one is what counts, and not the usual one.
    on_client("interface-without-route", FAR4, "route.missing", SECOND_LINK % "10.1.2.3/24",
              options="--interface eth1"),
    on_client("interface-down", FAR4, "link.down", SECOND_LINK % "10.1.2.3/24" +
              "; ip link set eth1 down", options="--interface eth1"),
    on_client("interface-dead-gateway", FAR4, "gateway.silent", SECOND_MAC + "; ip route add "
              "default via 192.0.2.44 dev eth1 metric 900", "client_network",
              options="--interface eth1"),
    healthy("ok-interface", FAR4, options="--interface eth1", do=[(
        "client", SECOND_MAC + "; ip route add default via 192.0.2.1 dev eth1 metric 900")]),
    # No way back to this source: what answers pings from another one says nothing.
    fault("source-without-way-back", FAR4, "gateway.silent path.dead_end", "client_network client",
          never="tcp.filtered", options="--source 10.1.2.9",
          do=[("client", "ip addr add 10.1.2.9/32 dev lo")]),
    # The same, not by wish but by the route.
    on_client("route-of-wrong-source", FAR4, "address.missing", "ip addr add 10.1.2.9/32 dev lo; "
              "ip route replace default via 192.0.2.1 src 10.1.2.9"),
    on_client("route-of-wrong-source-v6", FAR6, "address.missing", "ip addr add 2001:db8:9::9/128 "
              "dev eth0 nodad; ip -6 route replace default via 2001:db8:1::1 src 2001:db8:9::9"),
    # A rule of this host that looks into packets: the handshake passes, what follows does not leave.
    fault("own-rule-on-content", "http://%s/" % WEB4, "firewall.local", "client",
          never="http.no_response", do=[("client", "iptables -A OUTPUT -p tcp --dport 80 -m string "
                                         "--algo bm --string Host: -j DROP")]),
    fault("own-rule-on-size", "https://%s/" % WEB4, "firewall.local", "client",
          never="tls.handshake_stalled path.mtu_blackhole",
          do=[drop("client", "output", "tcp dport 443 ip length > 400")]),
    # Duplicate address detection is not over, or DHCP gave nothing: only a link-local source is left.
    fault("address-tentative-v6", FAR6, "address.missing", "client", never="tcp.rejected",
          do=[sysctl("client", ipv6__conf__eth0__accept_dad="1",
                     ipv6__conf__eth0__dad_transmits="30"),
              ("client", "ip addr del 2001:db8:1::10/64 dev eth0; ip addr add 2001:db8:1::10/64 dev"
               " eth0; ip -6 route replace default via 2001:db8:1::1 dev eth0 onlink")]),
    on_client("address-link-local-with-route", FAR4, "address.missing", NO_ADDRESS + "ip addr add "
              "169.254.7.7/16 dev eth0; ip route add 192.0.2.1 dev eth0; ip route add default via "
              "192.0.2.1"),
    # The local stub that resolv.conf names is not running.
    fault("dns-stub-down", WEB + "/", "dns.unreachable", "client",
          resolv="nameserver 127.0.0.53\noptions edns0 trust-ad\n"),
    fault("dns-stub-down-no-target", "", "dns.unreachable", "client",
          resolv="nameserver 127.0.0.53\n"),
    # The address stayed on the port when the bridge was made.
    on_client("address-on-bridge-port", FAR4, "address.missing", "ip link add br0 type bridge; ip "
              "link set br0 up; ip link set eth0 master br0; ip neigh flush dev eth0; sleep 1"),
    # The resolver needs longer than resolv.conf lets a look-up wait.
    dns_lies("dns-slower-than-timeout", "slow:1.6", "dns.slow",
             resolv=RESOLV_CONF + "options timeout:1 attempts:1\n"),
    healthy("ok-dead-ipv6-gateway-no-target", "", findings="gateway.silent", never="dns.unreachable",
            do=[("client", "ip -6 route replace default via 2001:db8:1::44")]),
    healthy("ok-two-gateways-no-target", "", never="gateway.silent dns.slow",
            do=[("client", "ip route add default via 192.0.2.20 metric 900")]),
    healthy("ok-dns-second-silent-no-target", "", findings="dns.slow", never="dns.unreachable",
            resolv="nameserver 198.51.100.70\nnameserver 198.51.100.77\n"),
    healthy("ok-dns-first-silent-no-target", "", findings="dns.slow", never="dns.unreachable",
            resolv="nameserver 198.51.100.77\nnameserver 198.51.100.70\n"),
    # A gateway that answers ARP for all the world: what seems next door is far away.
    fault("proxy-arp-filtered", WEB4 + ":8080", "tcp.filtered", "transit server_network",
          do=PROXY_ARP + [drop("transit", "forward", "tcp dport 8080")]),
    fault("proxy-arp-dead-end", FAR4, "path.dead_end", "transit server_network",
          do=PROXY_ARP + [drop("transit", "forward", "ip daddr 203.0.113.0/24")]),
    healthy("ok-proxy-arp", FAR4, do=PROXY_ARP),
    # A MAC address that was entered by hand once, of a gateway that has another one now.
    on_client("gateway-mac-by-hand", FAR4, "path.dead_end", "ip neigh replace 192.0.2.1 lladdr "
              "02:00:00:00:00:99 dev eth0 nud permanent", "client_network client"),
    fault("filtered-gateway-itself", "198.51.100.1:8080", "tcp.filtered", "client_network",
          do=[drop("gateway", "input", "tcp dport 8080")]),
    fault("neighbor-drops-all", "192.0.2.20:9000", "path.dead_end tcp.filtered", "server",
          do=[drop("neighbor", "input", "ip protocol { tcp, udp, icmp }")]),
    on_client("veth-peer-down", "10.1.2.2:80", "link.down", "ip link add veth0 type veth peer name "
              "veth1; ip addr add 10.1.2.1/24 dev veth0; ip link set veth0 up"),
    # All traffic goes into a tunnel whose far end is dead: its range is as it should be.
    fault("tunnel-for-everything", FAR4, "path.dead_end", "client_network client",
          never="route.overlap", serve=["tun clat4"],
          do=[("client", "ip link set clat4 up; ip addr add 10.1.2.4/32 dev clat4; "
               "ip route replace default dev clat4")]),
    # A default route that forgot its gateway: every host of the world seems to be next door.
    on_client("default-without-gateway", FAR4, "route.overlap",
              "ip route replace default dev eth0"),
    on_client("default-without-gateway-v6", FAR6, "route.overlap",
              "ip -6 route replace default dev eth0"),
    # A port forward that leads back into the own segment: the answer comes from a stranger.
    fault("hairpin", "198.51.100.1:8080", "tcp.filtered", "client_network server",
          never="gateway.silent", serve=["liars-at neighbor 9000=echo"],
          do=[nat("gateway", "prerouting",
                  "ip daddr 198.51.100.1 tcp dport 8080 dnat ip to 192.0.2.20:9000")]),
]

# -- healthy in surroundings that look odd ---------------------------------------------------------

MOVE_TO = ("ip link set {0} up; ip addr flush dev eth0 scope global; ip addr add 192.0.2.12/26 dev"
           " {0}; ip addr add 2001:db8:1::12/64 dev {0} nodad; ip route add default via 192.0.2.1;"
           " ip -6 route replace default via 2001:db8:1::1")
HTTPS = "https://web.lab.example/"
SECRETIVE = "".join("echo %d >/proc/sys/net/ipv4/icmp_%s; " % pair for pair in (
    (1000, "ratelimit"), (1, "msgs_per_sec"), (1, "msgs_burst"), (65535, "ratemask")))
SURROUNDINGS = [healthy("ok-" + name, target, do=[("client", script)]) for name, target, script in (
    ("own-bridge", HTTPS, "ip link add br0 type bridge; ip link set eth0 master br0; "
     + MOVE_TO.format("br0") + "; sleep 1"),
    ("macvlan", HTTPS, "ip link add mv0 link eth0 type macvlan mode bridge; "
     + MOVE_TO.format("mv0")),
    ("slash-32", FAR4, NO_ADDRESS + "ip addr add 192.0.2.10/32 dev eth0; "
     "ip route add 192.0.2.1 dev eth0; ip route add default via 192.0.2.1"),
    ("unnumbered", FAR4, NO_ADDRESS + "ip addr add 192.0.2.10/32 dev lo; ip route add 192.0.2.1 "
     "dev eth0 src 192.0.2.10; ip route add default via 192.0.2.1 dev eth0 src 192.0.2.10"),
    ("200-addresses", HTTPS, "for i in $(seq 200); do echo addr add 10.20.$i.1/24 dev eth0; done"
     " | ip -batch -"),
    ("500-routes", HTTPS, "for i in $(seq 250); do echo route add 10.30.$i.0/24 via 192.0.2.1; "
     "echo route add blackhole 10.31.$i.0/24; done | ip -batch -"),
    ("200-interfaces", "", "for i in $(seq 100); do echo link add va$i type veth peer name vb$i; "
     "echo link set va$i up; echo addr add 10.40.$i.1/24 dev va$i; done | ip -batch -"),
    ("source-routing", FAR4, "ip link add eth1 link eth0 type macvlan mode bridge; ip link set eth1"
     " up; ip addr add 192.0.2.14/26 dev eth1; ip route add default via 192.0.2.1 dev eth0 table "
     "11; ip route add default via 192.0.2.1 dev eth1 table 12; ip rule add from 192.0.2.10 table "
     "11; ip rule add from 192.0.2.14 table 12"),
    ("mtu-1280", HTTPS, "ip link set eth0 mtu 1280"),
    ("strict-reverse-path", HTTPS, "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter"),
    ("no-tcp-options", HTTPS, "cd /proc/sys/net/ipv4; echo 0 >tcp_timestamps; echo 0 >tcp_sack; "
     "echo 0 >tcp_window_scaling"))] + [
    healthy("ok-icmp-once-a-second", HTTPS, do=[(node, SECRETIVE) for node in (
        "gateway", "transit", "sgw", "server")]),
    healthy("ok-no-icmp-here-either", HTTPS,
            do=ICMP_DEAD + [drop("client", "input", "meta l4proto icmp")]),
    healthy("ok-carrier-nat", FAR4, resolv="nameserver %s\n" % DNS4, do=[
        ("client", "ip addr del 192.0.2.10/26 dev eth0; ip addr add 100.64.3.10/26 dev eth0; "
         "ip route add default via 100.64.3.1"), ("gateway", "ip addr add 100.64.3.1/26 dev lan"),
        nat("gateway", "postrouting", 'ip saddr 100.64.0.0/10 oifname "wan" masquerade')]),
    healthy("ok-ttl-set", HTTPS, do=[rules("gateway", "prerouting", "ip ttl set 64")]),
    healthy("ok-own-redirect", "http://%s:9000/" % WEB4, serve=["liars-at client 3129=page:http10"],
            do=[nat("client", "output", "ip daddr 203.0.113.10 tcp dport 9000 redirect to :3129")]),
]

ABOVE = STARTED + REFUSING + ELSEWHERE + STARTTLS + GATES + VERSIONS + PAGES + PROXIES

# -- the same with a distance of 40 ms: nothing comes back within the call that asked -------------

FAR_AWAY = ("host-down host-down-v6 refused refused-v6 reset-by-sgw reset-by-transit "
            "reset-by-server rejected-port-unreachable-server rejected-host-prohibited-sgw "
            "rejected-admin-prohibited-server-v6 no-route-at-sgw filtered-at-sgw "
            "filtered-at-server server-drops-all loop-transit-sgw mtu-both-ways tcp-reset "
            "tcp-reset-name tcp-closed udp-closed tls-expired tls-cut-reset http-bad-gateway "
            "http-resets ok-https ok-ssh ok-no-icmp-anywhere ok-ipv6-dead ok-big-page "
            "ok-small-mtu ok-ecmp").split()


def far_away(row, milliseconds=20):
    """A row on a longer way."""
    return row._replace(name="far-" + row.name, serve=row.serve + ("delay %d" % milliseconds,))


NEAR = (LOCAL + SEGMENT + NAMES + WAY + TRANSPORT + TLS + HTTP + SERVICES + HEALTHY + ABOVE
        + VARIANTS + SURROUNDINGS)
FAR = [far_away(row) for row in NEAR if row.name in FAR_AWAY] + [
    # Farther than a SYN waits until it is sent again: nothing is lost.
    far_away(healthy("ok-very-far", FAR4), 600),
    # Over a satellite: 600 ms there and back.
    far_away(healthy("ok-satellite", "https://web.lab.example/"), 300),
    far_away(fault("refused-satellite", WEB4 + ":81", "tcp.refused", "service server"), 300),
]

FAULTS = NEAR + FAR
assert len({row.name for row in FAULTS}) == len(FAULTS), "two faults of one name"

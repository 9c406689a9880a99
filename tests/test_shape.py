"""The shape of netdiag.py: two laws, the numbers, the registries, and what README.md names."""

import ast
import os
import re
import statistics
import string
import subprocess
import sys
import time
import unittest

import support

netdiag = support.load()

# DESIGN section 4 says 6,000 lines; its section 1, which must hold, has seven modes and two
# languages, and they do not fit (1,200 lines are Japanese).  No more than there is now.
LINES, COLUMNS = 14428, 100
MEDIAN, NINE_IN_TEN, LONGEST = 10, 30, 50
CHEAP = {"collections", "os", "re", "socket", "struct", "sys", "time"}
LATE = {"base64", "hmac", "calendar", "ctypes", "errno", "hashlib", "ipaddress", "json", "pwd",
        "queue", "select", "signal", "ssl", "stat", "subprocess", "threading", "unicodedata", "zlib"}
DEAR = {"argparse", "ipaddress", "json", "ssl", "subprocess", "threading"}
NEVER = ("asyncio", "http.client", "urllib.request", "concurrent.futures", "logging",
         "dataclasses", "typing", "inspect", "tempfile")
# Law 1: what touches the machine.  Addresses and constants of `socket` are pure.
MACHINE_MODULES = {"os", "subprocess", "select", "ssl", "pwd", "shutil", "signal", "fcntl"}
PURE_SOCKET = {"inet_pton", "inet_ntop", "inet_aton", "inet_ntoa", "error", "gaierror", "timeout",
               "htons", "ntohs"}
PURE_TIME = {"gmtime", "strftime", "strptime"}
CODES = """
ok link.down address.missing route.missing route.blocked route.overlap firewall.local
host.exhausted gateway.silent segment.isolated neighbor.silent dns.unconfigured dns.unreachable
dns.failing dns.not_found dns.no_address dns.hosts_override dns.inconsistent dns.slow
path.net_unreachable path.host_unreachable path.loop path.dead_end path.mtu_blackhole path.loss
tcp.refused tcp.rejected tcp.filtered tcp.reset tcp.closed udp.closed udp.no_reply tls.expired
tls.not_yet_valid tls.name_mismatch tls.self_signed tls.untrusted_ca tls.incomplete_chain
tls.expiring tls.version tls.cipher tls.client_cert tls.sni tls.not_tls tls.handshake_cut
tls.handshake_stalled clock.skewed http.client_error http.server_error http.gateway_error
http.no_response http.not_http http.redirect_loop http.https_expected proxy.unreachable
proxy.denied proxy.required service.silent service.unexpected service.error ssh.denied
ssh.throttled ssh.host_key listen.none listen.loopback_only listen.other_address
listen.backlog_full handshake.incomplete route.return_missing oneway.forward oneway.reverse
intermittent""".split()


def source():
    """The text of the program."""
    with open(support.PROGRAM, encoding="utf-8") as stream:
        return stream.read()


TREE = ast.parse(source())


def banners():
    """[(number of the room, its name, line)] in the order of the file."""
    return [(int(found.group(1)), found.group(2), line)
            for line, text in enumerate(source().splitlines(), 1)
            for found in [re.match(r"# == (\d+) (\w+)", text)] if found]


BANNERS = banners()


def room_of(line):
    """The room in which a line stands (0: above the first)."""
    return max([number for number, _, start in BANNERS if start <= line] or [0])


def dotted(node):
    """'os.path.join' of an attribute chain, 'open' of a name, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        front = dotted(node.value)
        return front and front + "." + node.attr
    return None


def uses():
    """(room, line, dotted name) of every name and attribute that is read in the program."""
    inner = {id(node.value) for node in ast.walk(TREE) if isinstance(node, ast.Attribute)}
    for node in ast.walk(TREE):
        if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in inner:
            name = dotted(node)
            if name:
                yield room_of(node.lineno), node.lineno, name


def functions():
    """Every function and method."""
    return [node for node in ast.walk(TREE)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def touches_machine(name):
    """Does this name touch the machine?"""
    first, _, rest = name.partition(".")
    rest = rest.partition(".")[0]
    if first == "socket":
        return bool(rest) and rest not in PURE_SOCKET and not rest.isupper()
    if first == "time":
        return hasattr(time, rest) and rest not in PURE_TIME
    return first in MACHINE_MODULES and bool(rest) or name in (
        "open", "input", "sys.stdin", "sys.stdin.read", "sys.stdin.buffer")


class Laws(unittest.TestCase):
    """Only room 4 touches the machine; only room 10 prints and exits."""

    def test_only_room_4_touches_the_machine(self):
        """No socket, file, process, environment or clock elsewhere."""
        found = ["line %d (room %d): %s" % (line, room, name) for room, line, name in uses()
                 if room != 4 and touches_machine(name)]
        self.assertEqual(found, [])

    def test_machine_modules_are_imported_in_room_4(self):
        """Nor are their modules imported elsewhere, inside a function or not."""
        found = ["line %d (room %d): %s" % (node.lineno, room_of(node.lineno), alias.name)
                 for node in ast.walk(TREE) if isinstance(node, ast.Import)
                 for alias in node.names if room_of(node.lineno) not in (0, 4)
                 and alias.name in MACHINE_MODULES]
        self.assertEqual(found, [])

    def test_only_room_10_prints_and_exits(self):
        """No print, no standard stream, no exit elsewhere."""
        words = ("print", "exit", "quit", "sys.exit", "os._exit")
        found = ["line %d (room %d): %s" % (line, room, name) for room, line, name in uses()
                 if room != 10 and (name in words or re.match(r"sys\.(stdout|stderr)\b", name))]
        self.assertEqual(found, [])

    def test_banners(self):
        """Ten banners, in order, with the names that the docstring lists."""
        listed = re.findall(r"(?m)^ +== (\d+) (\w+) ", netdiag.__doc__)
        self.assertEqual([(str(number), name) for number, name, _ in banners()], listed)
        self.assertEqual([number for number, _, _ in banners()], list(range(1, 11)))


def last_line(node):
    """Where a function ends; before 3.8 the ast does not say, and its last named line does."""
    return getattr(node, "end_lineno", None) or max(
        getattr(part, "lineno", 0) for part in ast.walk(node))


class Numbers(unittest.TestCase):
    """Size and width."""

    def test_lines(self):
        """At most so many lines."""
        self.assertLessEqual(len(source().splitlines()), LINES)

    def test_columns(self):
        """No line is wider; no tabs, no blanks at the end."""
        for number, line in enumerate(source().splitlines(), 1):
            self.assertLessEqual(len(line), COLUMNS, "line %d" % number)
            self.assertEqual(line, line.rstrip().replace("\t", "    "), "line %d" % number)

    def sizes(self):
        """[(lines, name)] of all functions, without their decorators."""
        return sorted((last_line(node) - node.lineno + 1, node.name) for node in functions())

    def test_median(self):
        """Half of the functions are short."""
        self.assertLessEqual(statistics.median(size for size, _ in self.sizes()), MEDIAN)

    def test_nine_in_ten(self):
        """Nine in ten fit on a screen."""
        rows = self.sizes()
        self.assertLessEqual(rows[len(rows) * 9 // 10][0], NINE_IN_TEN)

    def test_longest(self):
        """None is longer."""
        self.assertEqual([row for row in self.sizes() if row[0] > LONGEST], [])


class Habits(unittest.TestCase):
    """What the program never does."""

    def test_no_global(self):
        """No `global`, no `nonlocal`."""
        found = [node.lineno for node in ast.walk(TREE)
                 if isinstance(node, (ast.Global, ast.Nonlocal))]
        self.assertEqual(found, [])

    def test_no_bare_except(self):
        """Each `except` says what it expects."""
        found = [node.lineno for node in ast.walk(TREE)
                 if isinstance(node, ast.ExceptHandler) and node.type is None]
        self.assertEqual(found, [])

    def test_no_shell(self):
        """No shell, no eval, no privilege."""
        text = source()
        for word in ("shell=True", "os.system", "os.popen", "eval(", "exec(", '"sudo"', "pickle"):
            self.assertNotIn(word, re.sub(r"#.*", "", text), word)

    def test_docstrings(self):
        """Every function, method and class says what it is for (inner ones may go without)."""
        inner = {id(child) for node in functions() for child in ast.walk(node)
                 if child is not node}
        missing = [node.name for node in ast.walk(TREE)
                   if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and id(node) not in inner
                   and not ast.get_docstring(node) and not node.name.startswith("__")]
        self.assertEqual(missing, [])

    def test_imports(self):
        """Cheap ones at the top, the others where they are used, and nothing but these."""
        top = {alias.name for node in TREE.body if isinstance(node, ast.Import)
               for alias in node.names}
        self.assertEqual(top, CHEAP)
        every = {alias.name for node in ast.walk(TREE) if isinstance(node, ast.Import)
                 for alias in node.names}
        self.assertEqual(every - CHEAP - LATE, set())
        self.assertEqual([n.lineno for n in ast.walk(TREE) if isinstance(n, ast.ImportFrom)], [])

    def test_blank_lines(self):
        """Two blank lines part a function from what stands before and after it (PEP 8)."""
        lines = source().splitlines()
        for node, after in zip(TREE.body, TREE.body[1:]):
            if isinstance(node, ast.FunctionDef) or isinstance(after, ast.FunctionDef):
                top = min([after.lineno] + [d.lineno for d in getattr(after, "decorator_list", ())])
                while (lines[top - 2] or lines[top - 3]).startswith("#"):    # comment, heading
                    top -= 1
                self.assertEqual(lines[top - 3:top - 1], ["", ""], "line %d" % top)

    def test_definitions_are_unique(self):
        """No top-level name is defined twice: the second would hide the first."""
        names = [node.name for node in TREE.body
                 if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        names += [target.id for node in TREE.body if isinstance(node, ast.Assign)
                  for target in node.targets if isinstance(target, ast.Name)]
        self.assertEqual(sorted({name for name in names if names.count(name) > 1}), [])

    def test_nothing_is_dead(self):
        """Every top-level function and constant is used somewhere (room 2 holds words for all)."""
        loads = {node.id for node in ast.walk(TREE)
                 if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        dead = [node.name for node in TREE.body if isinstance(node, ast.FunctionDef)
                and node.name not in loads and not node.decorator_list]
        dead += [target.id for node in TREE.body
                 if isinstance(node, ast.Assign) and room_of(node.lineno) != 2
                 for target in node.targets if isinstance(target, ast.Name)
                 and target.id not in loads]
        self.assertEqual(dead, [])

    def test_parsers_are_used(self):
        """Every parse_ function is used by a source, another parser or a renderer."""
        loads = {node.id for node in ast.walk(TREE)
                 if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        defined = [node.name for node in TREE.body if isinstance(node, ast.FunctionDef)
                   and node.name.startswith("parse_")]
        self.assertTrue(defined)
        self.assertEqual([name for name in defined if name not in loads], [])


SHOW = "import sys; print(' '.join(sorted(sys.modules)))"


def modules(script, *argv):
    """The modules that an interpreter has loaded after a script."""
    out = subprocess.check_output([sys.executable, "-B", "-c", script] + list(argv),
                                  stderr=subprocess.DEVNULL, cwd=support.ROOT)
    return set(out.decode().splitlines()[-1].split())


class Start(unittest.TestCase):
    """The program is compiled and imports anew at every start: only what is cheap."""

    def test_import(self):
        """`import netdiag` loads none of the costly modules."""
        extra = modules("import sys; sys.path.insert(0, sys.argv[1]); import netdiag; " + SHOW,
                        os.path.dirname(support.PROGRAM)) - modules("import sys; " + SHOW)
        self.assertEqual(sorted(extra & (set(NEVER) | DEAR)), [])

    def test_run(self):
        """Nor does a run load any of the never-list."""
        script = ("import atexit, sys; sys.argv = sys.argv[1:];"
                  "atexit.register(lambda: print(' '.join(sorted(sys.modules))));"
                  "exec(compile(open(sys.argv[0], 'rb').read(), sys.argv[0], 'exec'))")
        port = str(support.closed_port())
        child = subprocess.Popen([sys.executable, "-B", "-c", script, support.PROGRAM, "--json",
                                  "127.0.0.1:" + port], stdout=subprocess.PIPE)
        found = set(child.communicate()[0].decode().splitlines()[-1].split())
        self.assertIn("json", found)
        bare = modules("import atexit, sys; " + SHOW)
        self.assertEqual(sorted((found - bare) & set(NEVER)), [])


def hides_of():
    """{code: the codes that any of its rules hides}."""
    found = {}
    for rule in netdiag.RULES.values():
        for code in rule.codes:
            found.setdefault(code, set()).update(rule.hides)
    return found


def known_codes():
    """Every code that the program can say."""
    return {code for rule in netdiag.RULES.values() for code in rule.codes} \
        | set(netdiag.OTHER_CODES)


class Rules(unittest.TestCase):
    """The registry of rules."""

    def test_cases(self):
        """Every rule has a case that fires and one that is quiet."""
        for name, rule in netdiag.RULES.items():
            kinds = {kind for kind, _ in support.docstring_cases(rule.function.__doc__)}
            self.assertEqual(kinds, {"fires", "quiet"}, name)

    def test_templates(self):
        """Words are templates that format, with plain names as holes."""
        for name, rule in netdiag.RULES.items():
            for words in filter(None, (rule.says, rule.fix, rule.ask)):
                for _, hole, form, _ in string.Formatter().parse(words):
                    self.assertTrue(hole is None or re.match(r"[a-z_]+$", hole), name)
                    self.assertTrue(not form or re.match(r"\.\d[fd]$", form), name)

    def test_words(self):
        """Places, severities and confidences of the contract; words for the reader."""
        for name, rule in netdiag.RULES.items():
            self.assertLessEqual(set(rule.where), set(netdiag.PLACES), name)
            self.assertIn(rule.severity, ("fail", "warn", "info"), name)
            self.assertIn(rule.sure, netdiag.SURE, name)
            self.assertTrue(rule.says and rule.fix and rule.where and rule.codes, name)

    def test_codes(self):
        """Codes are two words with a dot; the contract's special ones aside."""
        for code in known_codes() - {"ok", "undecided", "intermittent"}:
            self.assertRegex(code, r"^[a-z]+\.[a-z_]+$")

    def test_hides_real_codes(self):
        """A rule hides codes that exist."""
        for name, rule in netdiag.RULES.items():
            self.assertEqual(set(rule.hides) - known_codes(), set(), name)

    def test_hides_without_circles(self):
        """Causes and consequences have an order: two findings never explain each other away."""
        hides = hides_of()
        while hides:
            free = [code for code, below in hides.items() if not below & set(hides)]
            self.assertTrue(free, "a circle among %s" % {
                code: sorted(below & set(hides)) for code, below in hides.items()})
            for code in free:
                del hides[code]

    def test_contract_codes(self):
        """Every code of the contract has its manual page."""
        self.assertEqual([code for code in CODES if code not in known_codes()], [])


class Readme(unittest.TestCase):
    """README.md names everything that there is, and nothing that there is not."""

    def table(self):
        """The text of README.md."""
        support.need(os.path.exists(support.README), "no README.md yet")
        with open(support.README, encoding="utf-8") as stream:
            return stream.read()

    def test_codes(self):
        """Its table of causes is the registry's."""
        rows = re.findall(r"(?m)^\| `([a-z]+\.[a-z_]+|ok|undecided|intermittent)` \|",
                          self.table())
        self.assertEqual(len(rows), len(set(rows)))
        self.assertEqual(set(rows), known_codes())

    def test_places(self):
        """The places beside a code are places, and the first is one that a rule of it names."""
        usual = {code: set() for code in known_codes()}
        for rule in netdiag.RULES.values():
            for code in rule.codes:
                usual[code].update(rule.where)
        for code, text in re.findall(r"(?m)^\| `([a-z]+\.[a-z_]+)` \|.*\| ([a-z_, ]+) \|$",
                                     self.table()):
            places = text.split(", ")
            self.assertLessEqual(set(places), set(netdiag.PLACES), code)
            self.assertIn(places[0], usual.get(code) or places, code)

    def test_probes(self):
        """Its table of probes is the registry's."""
        part = self.table().split("| probes |")[1].split("\n\n")[0]
        rows = re.findall(r"`([a-z_0-9]+)`", part.split("\n", 1)[1])
        self.assertEqual(sorted(rows), sorted(netdiag.PROBES))

    def test_options(self):
        """Every option is named."""
        text = self.table()
        for flags, _ in netdiag.OPTION_TABLE:
            for flag in flags:
                self.assertIn("`" + flag, text.replace(", `", "`").replace("`, ", "`"))


if __name__ == "__main__":
    unittest.main()

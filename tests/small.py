"""A copy of netdiag.py for a box with little memory, a pod with a limit say: 25 MiB, not 60.

    make small >small.py                 then scp, ssh and kubectl as with netdiag.py

Python compiles a whole script before its first line runs, and what its parser needs for that grows
with the file: about 40 MiB here, given back too late.  In the copy the rooms are a text that is
compiled a section at a time, so that only the longest section counts.  netdiag.py itself stays
plain code, for editors, linters and debuggers; the copy is made, never edited.
"""

import os
import sys

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "netdiag.py")
FIRST, LAST = "\n\n# == 1 knobs", '\n\nif __name__ == "__main__":\n'
OPENING = "\nROOMS = r'''"                       # takes an empty line: line numbers stay the same
CLOSING = """'''
if __name__ == "__main__" and sys.argv[1:] == ["--version"]:
    sys.exit(print("netdiag", VERSION))          # nothing of the rooms is needed for that
for SECTION in re.finditer(r"(?s).+?(?=\\n# (?:==|--) |\\Z)", ROOMS):
    ABOVE = "\\n" * ({first_line} + ROOMS.count("\\n", 0, SECTION.start()) - 1)
    exec(compile(ABOVE + SECTION.group(), globals().get("__file__", "<stdin>"), "exec"))
"""


def small(text):
    """The text of netdiag.py -> the text of its copy that needs little memory."""
    head, rooms = text.split(FIRST)
    rooms, tail = (FIRST[1:] + rooms).rsplit(LAST, 1)
    if "'''" in rooms:
        raise ValueError("the rooms hold three quotes")
    first_line = head.count("\n") + 2
    return head + OPENING + rooms + CLOSING.format(first_line=first_line) + LAST + tail


def write(stream):
    """Write the copy to a binary stream."""
    with open(PROGRAM, encoding="utf-8") as program:
        stream.write(small(program.read()).encode("utf-8"))


if __name__ == "__main__":
    write(sys.stdout.buffer)

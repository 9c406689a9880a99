"""Start netdiag as somebody else, on a machine with fewer commands.

    ip netns exec NAMESPACE python launch.py SPEC

SPEC is JSON: argv, user (root, nobody), mask (a folder that takes the place of every folder of
commands, or null), home (the interpreter's prefix, which nobody must be able to read), env,
nofile.  ip netns exec has given us a mount namespace of our own; nothing done here leaves it.
"""
import ctypes
import json
import os
import resource
import sys

BIN_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PATH = ":".join(BIN_FOLDERS)
NOBODY = 65534
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
LIBC = ctypes.CDLL(None, use_errno=True)


def must(status, what):
    """Raise what errno says when a system call failed."""
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def mount(source, target, kind, flags, options=""):
    """mount(2)"""
    must(LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags),
                    options.encode()), "mount %s on %s" % (source, target))


def real_folders():
    """The folders of commands, each once: /bin is often a link to /usr/bin."""
    return sorted({os.path.realpath(name) for name in BIN_FOLDERS if os.path.isdir(name)})


def mask_commands(folder):
    """Put one folder in the place of all folders of commands."""
    for target in real_folders():
        mount(folder, target, "none", MS_BIND)


def closed_parent(path):
    """The topmost folder above path that strangers may not enter, or None."""
    parts = path.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        folder = "/" + "/".join(parts[:count])
        if not os.stat(folder).st_mode & 0o001:
            return folder
    return None


def open_way_to(path):
    """Let strangers reach path: an empty folder over the closed one, with only path inside."""
    closed = closed_parent(path)
    if not closed:
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)   # stays valid when path is hidden
    mount("none", closed, "tmpfs", 0, "mode=0755")
    os.makedirs(path, exist_ok=True)
    mount("/proc/self/fd/%d" % handle, path, "none", MS_BIND | MS_REC)
    os.close(handle)


def become_nobody():
    """uid and gid 65534, no capability left, and none to be had from any program."""
    capability = 0
    while LIBC.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        must(LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "capability %d" % capability)
        capability += 1
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def main(spec):
    """Change the surroundings, then become netdiag."""
    must(LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "none", MS_REC | MS_PRIVATE)
    if spec["user"] == "nobody":
        open_way_to(spec["home"])
    if spec["mask"]:
        mask_commands(spec["mask"])
    if spec["nofile"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spec["nofile"], spec["nofile"]))
    os.chdir("/")
    if spec["user"] == "nobody":
        become_nobody()
    environment = {"PATH": PATH, "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.update(spec["env"])
    os.execve(spec["argv"][0], spec["argv"], environment)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

# SPDX-License-Identifier: Apache-2.0
"""The runtime under test: how a bundle is run by it, and what it must not leave behind."""

import collections
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

DEADLINE_S = 240
Result = collections.namedtuple("Result", "code out err")


def text(data):
    return data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")


class Runtime:
    def __init__(self, name, program, flags):
        self.name = name
        self.program = program
        self.flags = flags
        self.ours = name == "bulkhead"

    def argv(self, case, state):
        flags = case.words("options") if self.ours else []
        return [self.program, "--root", state, *self.flags, *flags]

    def run(self, case, bundle, config, state):
        """The container in the foreground, or in the background with what the case executes in it in the foreground."""
        os.makedirs(state)
        argv = self.argv(case, state)
        terminal = config.get("process", {}).get("terminal")
        if case.has("exec.json"):
            return self.exec(case, argv, bundle, config)
        argv += ["run", "--bundle", bundle, case.id]
        return on_terminal(argv) if terminal else plain(argv)

    def exec(self, case, argv, bundle, config):
        process = dict(config["process"])
        process.update(json.loads(case.text("exec.json")))
        path = os.path.join(bundle, "process.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(process, f)
        started = plain(argv + ["run", "--detach", "--bundle", bundle, case.id], subprocess.DEVNULL)
        if started.code:
            return started
        result = plain(argv + ["exec", "--process", path, case.id])
        deleted = plain(argv + ["delete", "--force", case.id])
        return deleted if deleted.code else result


def plain(argv, out=subprocess.PIPE):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.PIPE if out == subprocess.PIPE else out, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return Result(-1, "", f"no end after {DEADLINE_S} seconds")
    return Result(done.returncode, text(done.stdout or b""), text(done.stderr or b""))


def on_terminal(argv):
    """With a terminal of 40 rows and 100 columns as the caller's."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=subprocess.PIPE, start_new_session=True,
                          preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as child:
        os.close(slave)
        out = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # EIO: all of the other end's users have gone
                break
            if not data:
                break
            out += data
        err = child.stderr.read()
        child.wait()
    os.close(master)
    return Result(child.returncode, text(out), text(err))


def left_behind(state):
    """Processes, mounts and files that name the state directory of a case that is over."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state in words and pid != str(os.getpid()):
            left.append(f"process {pid}: {words}")
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as f:
        left += ["mount " + line for line in f if state in line]
    for directory in ("containers", "pods"):
        path = os.path.join(state, directory)
        left += [os.path.join(path, name) for name in (os.listdir(path) if os.path.isdir(path) else [])]
    return left


def choose():
    """The runtime that RUNTIME names: ours if it names none."""
    name = os.environ.get("RUNTIME") or "bulkhead"
    if name == "bulkhead":
        folder = os.environ.get("BULKHEAD_BIN") or f"build/{os.environ.get('MODE') or 'dev'}/bin"
        # The cases are about what a container sees: no path of theirs has to be possible on this host too.
        options = ["--hypervisor", "soft", "--vcpus", "1", "--cgroup-manager", "disabled"]
        return Runtime(name, os.path.abspath(os.path.join(folder, name)), options)
    flags = os.environ.get("RUNTIME_FLAGS", "").split()
    if os.path.basename(name) == "crun" and not flags and not controllers():
        flags = ["--cgroup-manager=disabled"]  # it wants a device program and a controller or none at all
    return Runtime(os.path.basename(name), name, flags)


def controllers():
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as f:
            return "memory" in f.read()
    except OSError:
        return False

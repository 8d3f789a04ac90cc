#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The other end of a terminal, for the terminal tests.

  console.py socket PATH STEP... -- COMMAND...   listens at PATH for a terminal's master, while COMMAND runs
  console.py own STEP... -- COMMAND...           COMMAND has a terminal of its own

Steps: expect:TEXT waits for it, send:TEXT writes it (\\n, \\x03 and so on), size:COLUMNSxROWS resizes, hangup closes.
Prints what came. The exit code is COMMAND's; 90: a step failed, 91: the terminal's mode was not restored."""
import array, fcntl, os, select, signal, socket, struct, subprocess, sys, termios, time

SECONDS = 60


def fail(text):
    sys.stdout.flush()
    print("console.py: " + text, file=sys.stderr)
    os._exit(90)


def receive(listener):
    listener.settimeout(SECONDS)
    conn, _ = listener.accept()
    fds = array.array("i")
    data, ancillary, _, _ = conn.recvmsg(256, socket.CMSG_SPACE(4 * 8))
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % 4])
    if len(fds) != 1 or not data:
        fail("expected one descriptor and a name, got %d and %r" % (len(fds), data))
    if not os.isatty(fds[0]):
        fail("not a terminal")
    return fds[0]


class Console:
    def __init__(self, fd):
        self.fd, self.text = fd, b""

    def read(self, seconds):
        """False at the end."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            self.text += data
            return bool(data)
        return True

    def step(self, step):
        word, _, arg = step.partition(":")
        raw = arg.encode().decode("unicode_escape").encode("latin-1")
        if word == "expect":
            end = time.monotonic() + SECONDS
            while raw not in self.text:
                if time.monotonic() > end or not self.read(0.1) and raw not in self.text:
                    fail("%r did not come, but %r" % (raw, self.text))
            self.text = self.text[self.text.index(raw) + len(raw):]
            print("saw", arg)
        elif word == "send":
            os.write(self.fd, raw)
        elif word == "size":
            columns, rows = map(int, arg.split("x"))
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        elif word == "hangup":
            os.close(self.fd)
            self.fd = -1
        elif word == "pause":
            time.sleep(float(arg))
        else:
            fail("unknown step " + step)


def drain(console, process):
    end = time.monotonic() + SECONDS
    while console.fd >= 0 and time.monotonic() < end:
        if not console.read(0.1) or process and process.poll() is not None and not select.select([console.fd], [], [], 0.2)[0]:
            break
    sys.stdout.write(console.text.decode(errors="replace").replace("\r", ""))


def with_socket(path, steps, command):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    console = Console(receive(listener))
    for step in steps:
        console.step(step)
    drain(console, None)
    return process.wait(SECONDS)


def with_own(steps, command):
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)

    def child():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=child)
    console = Console(master)
    for step in steps:
        console.step(step)
    drain(console, process)
    code = process.wait(SECONDS)
    if console.fd >= 0 and termios.tcgetattr(slave) != before:
        return 91
    return code if code >= 0 else 128 - code


signal.alarm(2 * SECONDS)
cut = sys.argv.index("--")
first = 3 if sys.argv[1] == "socket" else 2
steps, command = sys.argv[first:cut], sys.argv[cut + 1:]
sys.exit(with_socket(sys.argv[2], steps, command) if sys.argv[1] == "socket" else with_own(steps, command))

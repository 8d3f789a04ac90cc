#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A bare bulkhead-vmm with an interface plugged while its guest runs, in a network namespace of its own (unshare -n).
net_vmm.py VMM KERNEL VCPUS [egress]: with egress, under a policy that what is not allowed is tried against. Prints what was seen, one fact a line; exits 0 if all came to be."""
import fcntl, hashlib, os, select, socket, struct, subprocess, sys, tempfile, threading, time

VMM, KERNEL, VCPUS = sys.argv[1], sys.argv[2], int(sys.argv[3])
EGRESS = sys.argv[4:] == ["egress"]
DEADLINE = time.monotonic() + 240
BYTES = 2 << 20
PLUG_NET, PLUGGED, NET_GONE, STOP = 3, 20, 21, 2
MSG = 816  # struct vmm_control_msg

POLICY = b"""address 10.9.0.2
address fd00:9::2
resolver 10.9.0.1
allow icmp 10.9.0.1 32 0 0
allow tcp 10.9.0.1 32 7001 7002
name tcp web.example.org 7003 7003
"""
# Tried by the guest: the word that is printed, the command, whether it is to succeed.
TRIES = [
    ("ADDRESS", "nc -w 3 10.9.0.3 7003 < /dev/null | grep web", False),  # before its name was asked for
    ("PORT", "nc -w 3 10.9.0.1 7003 < /dev/null | grep web", False),
    ("IPV6", "nc -w 3 fd00:9::1 7003 < /dev/null | grep web", False),
    ("OTHERNAME", "timeout 5 nslookup -type=a other.example.org 10.9.0.1", False),
    ("OTHERDNS", "timeout 5 nslookup -type=a web.example.org 10.9.0.4", False),
    ("DNSPORT", "timeout 5 nslookup -type=a web.example.org 10.9.0.1:5353", False),
    ("DNSTCP", "nc -w 3 10.9.0.1 53 < /dev/null | grep web", False),
    ("NAME", "timeout 60 nslookup -type=a web.example.org 10.9.0.1", True),
    ("NAMED", "nc -w 60 10.9.0.3 7003 < /dev/null | grep web", True),
    ("STRANGER", "nc -w 3 10.9.0.4 7003 < /dev/null | grep web", False),
] if EGRESS else []
TRY = "\n".join(f"if {c} > /dev/null 2>&1; then echo {w} 1; else echo {w} 0; fi" for w, c, _ in TRIES)

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t sysfs none /sys; mount -t proc none /proc
echo BEFORE $(ls /sys/class/net | grep -v lo | wc -l)
until [ -e /sys/class/net/eth0 ]; do
  for d in /sys/bus/platform/devices/*virtio*; do
    [ -e $d/driver ] || echo ${{d##*/}} > /sys/bus/platform/drivers/virtio-mmio/bind
  done 2> /dev/null
  sleep 0.2
done
ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0
{"ip addr add fd00:9::2/64 dev eth0" if EGRESS else ""}
echo MAC $(cat /sys/class/net/eth0/address) MTU $(cat /sys/class/net/eth0/mtu)
until ping -c 1 -W 5 10.9.0.1 > /dev/null; do :; done
echo PING
head -c {BYTES} /dev/urandom > /up
echo UPSUM $(sha256sum < /up | cut -c1-64)
nc 10.9.0.1 7001 < /up
nc 10.9.0.1 7002 < /dev/null > /down
echo DOWNSUM $(sha256sum < /down | cut -c1-64)
{TRY}
echo READY
while [ $(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done
echo DOWN
while :; do sleep 60; done # the end of init would be a panic
"""


def initrd(path):
    root = tempfile.mkdtemp()
    for d in ("bin", "sys", "proc", "dev"):
        os.mkdir(f"{root}/{d}")
    subprocess.run(["cp", "/bin/busybox", f"{root}/bin/busybox"], check=True)
    with open(f"{root}/init", "w") as f:
        f.write(INIT)
    os.chmod(f"{root}/init", 0o755)
    os.mknod(f"{root}/dev/console", 0o020600, os.makedev(5, 1))
    os.mknod(f"{root}/dev/null", 0o020666, os.makedev(1, 3))
    os.mknod(f"{root}/dev/urandom", 0o020666, os.makedev(1, 9))
    subprocess.run(f"cd {root} && find . | cpio -o -H newc --quiet > {path}; rm -rf {root}", shell=True, check=True)


def tap(multi):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    flags = 0x0002 | 0x1000 | 0x4000 | (0x0100 if multi else 0)  # TAP, NO_PI, VNET_HDR, MULTI_QUEUE
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"bh0", flags))
    return fd


def message(kind, body=b""):
    return struct.pack("<IIq", kind, 0, 0).ljust(16, b"\0") + body.ljust(MSG - 16, b"\0")


def serve(port, fn):
    s = socket.create_server(("10.9.0.1", port))

    def run():
        c, _ = s.accept()
        with c:
            fn(c)

    t = threading.Thread(target=run, daemon=True)
    t.start()
    return t


def answer_dns(s):
    """Any name is 10.9.0.3."""
    while True:
        q, peer = s.recvfrom(512)
        end = q.index(b"\0", 12) + 5
        s.sendto(q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + q[12:end] +
                 b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([10, 9, 0, 3]), peer)


def answer_web(s):
    while True:
        with s.accept()[0] as c:
            c.sendall(b"web\n")


def servers():
    """All that the guest tries is there: what does not come was refused."""
    for a in ("10.9.0.3/24", "10.9.0.4/24", "fd00:9::1/64 nodad"):
        subprocess.run(f"ip addr add {a.replace('nodad', '')} dev bh0 {'nodad' if 'nodad' in a else ''}", shell=True, check=True)
    for a, port in (("10.9.0.1", 53), ("10.9.0.4", 53), ("10.9.0.1", 5353)):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((a, port))
        threading.Thread(target=answer_dns, args=(s,), daemon=True).start()
    for a, port in (("10.9.0.1", 7003), ("10.9.0.3", 7003), ("10.9.0.4", 7003), ("10.9.0.1", 53), ("fd00:9::1", 7003)):
        s = socket.create_server((a, port), family=socket.AF_INET6 if ":" in a else socket.AF_INET)
        threading.Thread(target=answer_web, args=(s,), daemon=True).start()


def check_refused(log):
    """The log names each of them."""
    for what in ("10.9.0.3 protocol 6 port 7003", "10.9.0.1 protocol 6 port 7003", "fd00:9::1 protocol 6 port 7003",
                 "the name is not allowed: to 10.9.0.1 protocol 17 port 53 name other.example.org",
                 "10.9.0.4 protocol 17 port 53", "10.9.0.1 protocol 17 port 5353",
                 "DNS over TCP: to 10.9.0.1 protocol 6 port 53", "10.9.0.4 protocol 6 port 7003"):
        assert f"{what}" in log, f"the log does not tell: {what}"


def policy():
    fd = os.memfd_create("egress")
    os.write(fd, POLICY)
    return fd


def wait_control(sock, kind):
    while True:
        if not select.select([sock], [], [], max(0, DEADLINE - time.monotonic()))[0]:
            sys.exit(f"no message {kind} came")
        m = sock.recv(4096)
        if not m:
            sys.exit("bulkhead-vmm has gone")
        if struct.unpack("<I", m[:4])[0] == kind:
            slot, error = struct.unpack("<Ii", m[16:24])
            return slot, error, m[24:].split(b"\0")[0].decode()


def main():
    taps = [tap(VCPUS > 1) for _ in range(VCPUS)]
    subprocess.run("ip link set lo up; ip addr add 10.9.0.1/24 dev bh0; ip link set bh0 up", shell=True, check=True)
    if EGRESS:
        servers()
    path = tempfile.mktemp()
    initrd(path)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    console_r, console_w = os.pipe()
    p = subprocess.Popen(
        [VMM, "--kernel", KERNEL, "--initrd", path, "--vcpus", str(VCPUS), "--cmdline", "console=hvc0 panic=-1 quiet",
         "--control-fd", str(theirs.fileno()), "--console-fd", str(console_w), "--counters"],
        pass_fds=[theirs.fileno(), console_w], stderr=subprocess.PIPE, text=True)
    theirs.close()
    os.close(console_w)
    up, down = hashlib.sha256(), os.urandom(BYTES)

    def take(c):
        while data := c.recv(1 << 16):
            up.update(data)

    taker = serve(7001, take)
    serve(7002, lambda c: c.sendall(down))
    seen, text = [], b""
    while time.monotonic() < DEADLINE:
        if not select.select([console_r], [], [], 1)[0]:
            continue
        data = os.read(console_r, 4096)
        if not data:
            break
        text += data
        *lines, text = text.split(b"\n")
        for line in (x.decode(errors="replace").strip() for x in lines):
            seen.append(line)
            print("guest:", line, flush=True)
            if line.startswith("BEFORE"):
                net = struct.pack("<I6sHII", 0, bytes([2, 0, 0, 0, 0, 7]), 1400, 1, EGRESS)
                taps += [policy()] if EGRESS else []
                socket.send_fds(ours, [message(PLUG_NET, net)], taps)
                print("plugged:", wait_control(ours, PLUGGED), flush=True)
                for fd in taps:
                    os.close(fd)
            if line == "READY":
                taker.join(60)
                assert f"UPSUM {up.hexdigest()}" in seen, "what the guest sent is not what came"
                assert f"DOWNSUM {hashlib.sha256(down).hexdigest()}" in seen, "the guest got something else"
                assert "BEFORE 0" in seen and "MAC 02:00:00:00:00:07 MTU 1400" in seen, "interface"
                for word, command, good in TRIES:
                    assert f"{word} {int(good)}" in seen, command
                subprocess.run(["ip", "link", "del", "bh0"], check=True)
                print("gone:", wait_control(ours, NET_GONE), flush=True)
            if line == "DOWN":
                ours.send(message(STOP))
                log = p.communicate(timeout=60)[1]
                print(log, end="")
                if EGRESS:
                    check_refused(log)
                return 0
    p.kill()
    print(p.communicate()[1])
    return 1


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A bare bulkhead-vmm with an interface plugged while its guest runs, in a network namespace of its own (unshare -n).
net_vmm.py VMM KERNEL VCPUS: prints what was seen, one fact a line; exits 0 if all came to be."""
import fcntl, hashlib, os, select, socket, struct, subprocess, sys, tempfile, threading, time

VMM, KERNEL, VCPUS = sys.argv[1], sys.argv[2], int(sys.argv[3])
DEADLINE = time.monotonic() + 240
BYTES = 2 << 20
PLUG_NET, PLUGGED, NET_GONE, STOP = 3, 20, 21, 2
MSG = 816  # struct vmm_control_msg

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
echo MAC $(cat /sys/class/net/eth0/address) MTU $(cat /sys/class/net/eth0/mtu)
until ping -c 1 -W 5 10.9.0.1 > /dev/null; do :; done
echo PING
head -c {BYTES} /dev/urandom > /up
echo UPSUM $(sha256sum < /up | cut -c1-64)
nc 10.9.0.1 7001 < /up
nc 10.9.0.1 7002 < /dev/null > /down
echo DOWNSUM $(sha256sum < /down | cut -c1-64)
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
                net = struct.pack("<I6sHI", 0, bytes([2, 0, 0, 0, 0, 7]), 1400, 1)
                socket.send_fds(ours, [message(PLUG_NET, net)], taps)
                print("plugged:", wait_control(ours, PLUGGED), flush=True)
                for fd in taps:
                    os.close(fd)
            if line == "READY":
                taker.join(60)
                assert f"UPSUM {up.hexdigest()}" in seen, "what the guest sent is not what came"
                assert f"DOWNSUM {hashlib.sha256(down).hexdigest()}" in seen, "the guest got something else"
                assert "BEFORE 0" in seen and "MAC 02:00:00:00:00:07 MTU 1400" in seen, "interface"
                subprocess.run(["ip", "link", "del", "bh0"], check=True)
                print("gone:", wait_control(ours, NET_GONE), flush=True)
            if line == "DOWN":
                ours.send(message(STOP))
                print(p.communicate(timeout=60)[1], end="")
                return 0
    p.kill()
    print(p.communicate()[1])
    return 1


sys.exit(main())

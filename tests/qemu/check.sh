#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An independent client on the software partition, as TAP: QEMU's -accel mshv boots unmodified kernels. What the guest says
# on its serial port decides; each boot has its time.
#   O=BUILD_DIR [QEMU_MSHV=QEMU] check.sh
set -u
here=$(cd "$(dirname "$0")" && pwd)
O=$(cd "$O" && pwd)
preload=$O/lib/libmshv-preload.so
work=$(mktemp -d)
qemu_pid=
trap '[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2> /dev/null; rm -rf "$work"' EXIT

skip_all() {
  echo "1..0 # SKIP $1"
  exit 0
}

debian=
if [ -z "${QEMU_MSHV:-}" ]; then
  command -v mmdebstrap > /dev/null || skip_all "no mmdebstrap, and QEMU_MSHV names no QEMU"
  root=$("$here/root.sh" 2> "$work/root.err") ||
    skip_all "no Debian 13 root: $(tail -n 1 "$work/root.err")"
  # The root's own loader and libraries: no chroot, no privilege.
  qemu=("$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" --preload "$preload"
    "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios")
  debian=$root/boot/vmlinuz
else
  qemu=(env "LD_PRELOAD=$preload" "$QEMU_MSHV")
fi
"${qemu[@]}" -accel help 2> /dev/null | grep -qx mshv || skip_all "this QEMU knows no -accel mshv"

mkdir "$work/root"
cp "$O/tests/qemu/init" "$work/root/init"
(cd "$work/root" && mkdir dev && find . | cpio --quiet -o -H newc) > "$work/initrd"
truncate -s 16M "$work/disk"

# boot SECONDS QEMU_ARGUMENTS...: runs QEMU until the guest has said all, or the time is over. The serial lines are in
# $work/serial. QEMU is ended then: it may have lost the signal that stops its processor (docs/soft-partition.md).
boot() {
  local deadline=$((SECONDS + $1))
  shift
  : > "$work/serial"
  "${qemu[@]}" -accel mshv -m 256 -nodefaults -display none -no-reboot -serial "file:$work/serial" "$@" \
    > "$work/qemu.log" 2>&1 < /dev/null &
  qemu_pid=$!
  while [ $SECONDS -lt $deadline ] && kill -0 $qemu_pid 2> /dev/null && ! grep -q "$last" "$work/serial"; do
    sleep 0.2
  done
  sleep 0.2
  kill -KILL $qemu_pid 2> /dev/null
  wait $qemu_pid 2> /dev/null
  qemu_pid=
}

n=0
# result NAME PATTERN...: every pattern stands in the serial output.
result() {
  local name=$1 missing=
  shift
  n=$((n + 1))
  for p in "$@"; do grep -qE "$p" "$work/serial" || missing="$missing '$p'"; done
  if [ -z "$missing" ]; then
    echo "ok $n - $name"
  else
    echo "not ok $n - $name"
    echo "# not on the serial port:$missing"
    { tail -n 15 "$work/qemu.log"; tail -n 25 "$work/serial"; } | sed 's/^/# /'
  fi
}

echo "1..5"
ours=$O/share/bulkhead/vmlinux
last='^guest: done'
boot 60 -machine microvm -kernel "$ours" -initrd "$work/initrd" -append quiet
result "our kernel, microvm" '^guest: Linux .*-bulkhead, 1 processors' '^guest: time ok' '^guest: done'
boot 60 -machine q35 -kernel "$ours" -initrd "$work/initrd" -append quiet
result "our kernel, q35" '^guest: Linux .*-bulkhead, 1 processors' '^guest: time ok' '^guest: done'
boot 60 -machine q35 -smp 2 -kernel "$ours" -initrd "$work/initrd" -append quiet
result "our kernel, q35, two processors" '^guest: Linux .*-bulkhead, 2 processors' '^guest: time ok' '^guest: done'

if [ -z "$debian" ]; then
  echo "ok 4 - Debian's kernel, microvm # SKIP it comes with the Debian root, QEMU_MSHV was given"
  echo "ok 5 - Debian's kernel, q35 # SKIP it comes with the Debian root, QEMU_MSHV was given"
  exit 0
fi
boot 120 -machine microvm -kernel "$debian" -initrd "$work/initrd" -append "console=ttyS0 quiet"
result "Debian's kernel, microvm" '^guest: Linux .*-cloud-amd64, 1 processors' '^guest: time ok' '^guest: done'
last='reboot: machine restart'
boot 120 -machine q35 -kernel "$debian" -initrd "$work/initrd" -append "console=ttyS0 -- disk reboot" \
  -drive "if=none,id=d,format=raw,cache=unsafe,file=$work/disk" -device nvme,drive=d,serial=1
result "Debian's kernel, q35: firmware, PCI, a disk by MSI-X, reboot" '^guest: Linux .*-cloud-amd64, 1 processors' \
  '^guest: time ok' '^guest: disk ok' '^guest: done' 'reboot: machine restart'

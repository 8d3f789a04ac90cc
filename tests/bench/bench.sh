#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make bench: the measures, side by side where there is something to stand beside. Prints a table; judges nothing.
#   bench.sh BIN_DIR SHARE_DIR
set -euo pipefail
bin=$1
share=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/lib/bundle.bash
BATS_TEST_DIRNAME=$here BULKHEAD_BIN=$bin source "$here/../lib/bundle.bash"
debian=$(sh "$here/../lib/debian-root.sh")

echo "== bulkhead run /bin/true (busybox bundle, soft partition), 10 runs"
bundle_busybox "$work/true"
bundle_args "$work/true" /bin/true
: > "$work/runs"
for i in $(seq 11); do
  a=$(date +%s%N)
  "$BULKHEAD" --root "$work/state" --hypervisor soft run --bundle "$work/true" bench
  b=$(date +%s%N)
  [ "$i" = 1 ] || echo $(((b - a) / 1000)) >> "$work/runs" # the first one warms the page cache
done
sort -n "$work/runs" | awk '{v[NR]=$1} END {printf "min %.1f ms, median %.1f ms, max %.1f ms (bound: median 1000)\n", v[1]/1000, (v[5]+v[6])/2000, v[NR]/1000}'

echo
echo "== where the time goes (--timings)"
"$BULKHEAD" --root "$work/state" --hypervisor soft --timings run --bundle "$work/true" bench

echo
echo "== bulkhead exec /bin/true in a running pod, 20 runs"
bundle_args "$work/true" /bin/sleep 1000
"$BULKHEAD" --root "$work/state" --hypervisor soft --debug run --detach --bundle "$work/true" running < /dev/null > /dev/null 2>&1
: > "$work/execs"
calls() { grep -c 'agent: ' "$work/state/pods/running/supervisor.log"; }
for i in $(seq 21); do
  [ "$i" != 2 ] || before=$(calls) # the first one warms the page cache
  a=$(date +%s%N)
  "$BULKHEAD" --root "$work/state" exec running /bin/true
  b=$(date +%s%N)
  [ "$i" = 1 ] || echo $(((b - a) / 1000)) >> "$work/execs"
done
sleep 0.5
sort -n "$work/execs" | awk '{v[NR]=$1} END {printf "min %.1f ms, median %.1f ms, max %.1f ms (bound: median 60)\n", v[1]/1000, (v[10]+v[11])/2000, v[NR]/1000}'
echo "calls of the agent an exec: $((($(calls) - before + 19) / 20)) (bound: 3)"
"$BULKHEAD" --root "$work/state" delete --force running

echo
echo "== host memory of an idle 128 MiB pod beyond the guest's RAM"
bundle_args "$work/true" /bin/sleep 1000
"$BULKHEAD" --root "$work/state" --hypervisor soft create --bundle "$work/true" idle < /dev/null > /dev/null 2>&1
"$BULKHEAD" --root "$work/state" start idle
sleep 1
total=0
for p in $(pgrep -f "bulkhead.*(idle|$work/state)"); do
  name=$(tr '\0' ' ' < "/proc/$p/cmdline" | cut -c1-60)
  case $name in *bulkhead*) ;; *) continue ;; esac
  kb=$(awk '/^[0-9a-f]+-/ {ram = /bulkhead-ram/} /^Pss:/ && !ram {s += $2} END {print s+0}' "/proc/$p/smaps")
  printf '%8d KiB  %s\n' "$kb" "$name"
  case $name in *"run "* | *"create "*) ;; *) total=$((total + kb)) ;; esac
done
echo "sum of supervisor, vmm, fs and proxy: $((total / 1024)).$(((total % 1024) * 10 / 1024)) MiB PSS (bound: 12)"
"$BULKHEAD" --root "$work/state" delete --force idle

echo
echo "== the processor beside qemu-system-x86_64 -accel tcg: the same kernel and initramfs, in turn"
root=$work/initrd
mkdir -p "$root"/{proc,lib64,usr/bin,usr/lib/x86_64-linux-gnu,lib/x86_64-linux-gnu}
gcc -O2 -static -o "$root/init" "$here/guest_init.c"
gcc -O2 -static -o "$root/usr/bin/workloads" "$here/workloads.c" -lm
cp "$debian/usr/bin/python3.11" "$root/usr/bin/"
for l in $(ldd "$debian/usr/bin/python3.11" | grep -o '/[^ ]*'); do cp -L "$l" "$root$(dirname "$l" | sed 's#^/usr##')/" 2> /dev/null || cp -L "$l" "$root/lib/x86_64-linux-gnu/"; done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
mkdir -p "$root/usr/lib/python3.11"
(cd "$debian/usr/lib/python3.11" && cp -r encodings collections importlib ./*.py "$root/usr/lib/python3.11/")
cat > "$root/loop.py" << 'P'
s = 0
for i in range(2000000):
    s += i * i % 7
print(s)
P
printf 'cpython\t/usr/bin/python3.11\t-S\t-E\t/loop.py\nc\t/usr/bin/workloads\n' > "$root/workloads"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) > "$work/initrd.cpio"
stamp() { # prints "WORD NS" for each line of a run
  while IFS= read -r line; do echo "$(date +%s%N) $line"; done
}
soft_run() {
  date +%s%N
  "$bin/bulkhead-vmm" --hypervisor soft --memory 512M --kernel "$share/vmlinux" --initrd "$work/initrd.cpio" --counters \
    --cmdline "quiet panic=-1 mitigations=off" 2> "$work/counters" | stamp
}
tcg_run() {
  date +%s%N
  timeout 300 qemu-system-x86_64 -M pc,hpet=off -accel tcg -cpu Nehalem,+rdrand,+rdtscp,+x2apic,+tsc-deadline -m 512 -nodefaults \
    -display none -serial stdio -device isa-debug-exit,iobase=0xf4 -no-reboot -kernel "$share/vmlinux" -initrd "$work/initrd.cpio" \
    -append "quiet panic=-1 mitigations=off tsc=reliable no_timer_check lpj=10000000" 2> /dev/null | stamp || true
}
figures() { # NAME FILE: boot ms, cpython ms
  awk -v n="$1" 'NR==1 {t=$1} /INIT/ {boot=$1-t} /START cpython/ {s=$1} /END cpython/ {loop=$1-s} /FAIL/ {print "FAIL " $0 > "/dev/stderr"}
    END {printf "%-6s boot to init %7.0f ms   CPython loop %8.0f ms\n", n, boot/1e6, loop/1e6; print boot, loop > (FILENAME ".n")}' "$2"
}
for i in 1 2 3; do
  soft_run > "$work/soft.$i"
  figures soft "$work/soft.$i"
  grep -h instructions "$work/counters" || true
  tcg_run > "$work/tcg.$i"
  figures tcg "$work/tcg.$i"
done
cat "$work"/soft.?.n | awk '{b+=$1; l+=$2} END {print b, l}' > "$work/s"
cat "$work"/tcg.?.n | awk '{b+=$1; l+=$2} END {print b, l}' > "$work/t"
paste "$work/s" "$work/t" | awk '{printf "ratio tcg/soft: boot %.2f, CPython %.2f (above 1: soft is faster)\n", $3/$1, $4/$2}'
awk '/instructions/ {print $2}' "$work/counters" | while read -r n; do
  tail -n 1 "$work/soft.3" > /dev/null
  awk -v n="$n" 'NR==1 {t=$1} /DONE/ {printf "soft: %.0f million guest instructions in %.2f s: %.0f million a second (bound: 200)\n", n/1e6, ($1-t)/1e9, n/1e6/(($1-t)/1e9)}' "$work/soft.3"
done

# Each workload's time is the host's, from the line before to its own; what it computed must be the same on both.
works() { # FILE: "NAME MS CHECK" a line
  awk '/START c$/ {t=$1} /WORK/ {printf "%s %.1f %s\n", $3, ($1-t)/1e6, $5; t=$1}' "$1"
}
for i in 1 2 3; do
  works "$work/soft.$i" | sed 's/^/soft /'
  works "$work/tcg.$i" | sed 's/^/tcg /'
done > "$work/works"
echo
echo "== workloads, in turn, medians of 3 (ms)"
awk '
  function median(k,   a, b, c) { a=v[k,1]; b=v[k,2]; c=v[k,3]; return a<b ? (b<c ? b : (a<c ? c : a)) : (a<c ? a : (b<c ? c : b)) }
  function line(name, s, t, bound) { printf "%-12s %10.0f %10.0f %10.2f   %s\n", name, s, t, s ? t/s : 0, bound }
  { k=$1 SUBSEP $2; v[k,++n[k]]=$3; if (!($2 in sum)) { sum[$2]=$4; order[++m]=$2 } else if (sum[$2]!=$4) wrong[$2]=1 }
  END {
    printf "%-12s %10s %10s %10s\n", "workload", "soft", "tcg", "tcg/soft"
    bound["double"]="(bound: 3)"
    for (i=1; i<=m; i++) {
      w=order[i]; s="soft" SUBSEP w; t="tcg" SUBSEP w
      if (n[s]!=3 || n[t]!=3) { printf "%-12s did not end in each run\n", w; continue }
      line(w, median(s), median(t), (w in wrong ? "RESULTS DIFFER " : "") bound[w])
    }
  }' "$work/works"
paste "$work/s" "$work/t" | awk '{printf "%-12s %10.0f %10.0f %10.2f   (bound: 1.5)\n", "boot", $1/3e6, $3/3e6, $3/$1; printf "%-12s %10.0f %10.0f %10.2f   (bound: 0.3, and 350 million a second)\n", "cpython", $2/3e6, $4/3e6, $4/$2}'

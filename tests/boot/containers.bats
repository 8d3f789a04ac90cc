# SPDX-License-Identifier: Apache-2.0
# Containers in real pods: what they print, what they see, how they end.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
}

teardown() {
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

# Two processors unless a test says otherwise.
pod() {
  timeout 120 "$BULKHEAD" --root "$STATE" --hypervisor soft --vcpus "${VCPUS:-2}" "$@"
}

@test "static busybox: output, exit code" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" /bin/sh -c 'echo out; echo err >&2; exit 7'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" && rc=0 || rc=$?
  [ "$rc" = 7 ]
  [ "$(cat "$WORK/out")" = out ]
  grep -qx err "$WORK/err"
}

@test "static busybox: standard input reaches the container and ends" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" /bin/md5sum
  head -c 300000 /dev/urandom > "$WORK/in"
  pod run --bundle "$BUNDLE" one < "$WORK/in" > "$WORK/out"
  [ "$(cut -d' ' -f1 "$WORK/out")" = "$(md5sum < "$WORK/in" | cut -d' ' -f1)" ]
}

@test "static busybox: a megabyte of output compares equal" {
  bundle_busybox "$BUNDLE"
  head -c 1000000 /dev/urandom > "$BUNDLE/rootfs/data"
  bundle_args "$BUNDLE" /bin/cat /data
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  cmp "$WORK/out" "$BUNDLE/rootfs/data"
}

@test "the container has namespaces, a hostname, a user and limits of its own" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["hostname"] = "podhost"; c["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7]}; c["process"]["cwd"] = "/tmp"; c["process"]["env"] = ["PATH=/bin", "COLOUR=blue"]; c["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]'
  bundle_args "$BUNDLE" sh -c 'hostname; echo $$; id -u; id -g; id -G; pwd; echo $COLOUR; ulimit -n; grep NoNewPrivs /proc/self/status'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf 'podhost\n1\n1000\n1001\n1001 7\n/tmp\nblue\n64\nNoNewPrivs:\t1\n' > "$WORK/want"
  diff "$WORK/want" "$WORK/out"
}

@test "the root is read-only when the bundle says so" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = True'
  bundle_args "$BUNDLE" sh -c 'touch /x 2>&1; echo $?'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  grep -q 'Read-only file system' "$WORK/out"
  [ ! -e "$BUNDLE/rootfs/x" ]
}

@test "files written in the container are in the bundle, with their owner and mode" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False; c["process"]["capabilities"] = {k: ["CAP_CHOWN", "CAP_FOWNER", "CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}'
  bundle_args "$BUNDLE" sh -c 'echo text > /made; chmod 640 /made; chown 12:34 /made; ln -s made /link; mkdir /d; mv /d /e'
  pod run --bundle "$BUNDLE" one
  [ "$(cat "$BUNDLE/rootfs/made")" = text ]
  [ "$(stat -c '%a %u %g' "$BUNDLE/rootfs/made")" = "640 12 34" ]
  [ "$(readlink "$BUNDLE/rootfs/link")" = made ]
  [ -d "$BUNDLE/rootfs/e" ]
}

@test "a signalled container exits 128 + signal" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'sh -c "kill -9 \$\$"; echo $?; exit 3'
  pod run --bundle "$BUNDLE" one > "$WORK/out" && rc=0 || rc=$?
  [ "$rc" = 3 ]
  [ "$(cat "$WORK/out")" = 137 ]
}

@test "create, start, state, kill, delete" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'trap "exit 5" TERM; echo up; while :; do sleep 0.1; done'
  pod create --bundle "$BUNDLE" --pid-file "$WORK/pid" two > "$WORK/out" 2> "$WORK/err" < /dev/null
  [ "$(pod state two | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')" = created ]
  kill -0 "$(cat "$WORK/pid")"
  pod start two
  [ "$(pod state two | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')" = running ]
  for i in $(seq 100); do grep -q up "$WORK/out" && break; sleep 0.1; done
  grep -qx up "$WORK/out"
  run pod delete two
  [ "$status" = 1 ]
  [[ "$output" == *"is not stopped: running"* ]]
  pod kill two TERM
  for i in $(seq 100); do pod state two | grep -q '"status": "stopped"' && break; sleep 0.1; done
  pod state two | grep -q '"status": "stopped"'
  pod delete two
  run pod state two
  [ "$status" = 1 ]
  [[ "$output" == *"container does not exist"* ]]
}

@test "dynamic Debian with python3" {
  bundle_debian "$BUNDLE"
  bundle_args "$BUNDLE" /usr/bin/python3 -c 'import math, sys; print(sys.version_info[:2], sum(i * i % 7 for i in range(100000)), round(math.sin(1) ** 2 + math.cos(1) ** 2, 12), 10 ** 30 // 7, "%.17g" % (0.1 + 0.2))'
  pod run --bundle "$BUNDLE" three > "$WORK/out"
  python3 -c 'import math; print((3, 11), sum(i * i % 7 for i in range(100000)), round(math.sin(1) ** 2 + math.cos(1) ** 2, 12), 10 ** 30 // 7, "%.17g" % (0.1 + 0.2))' > "$WORK/want"
  diff "$WORK/want" "$WORK/out"
}

@test "dynamic Debian: shell, coreutils, perl" {
  bundle_debian "$BUNDLE"
  bundle_args "$BUNDLE" /bin/bash -c 'set -e; seq 1000 | sort -rn | head -n 3 | tr "\n" " "; cat /etc/debian_version | cut -d. -f1; perl -e "printf qq(%s %.3f\n), join(q(,), map { \$_ ** 2 } 1..5), exp(1)"; sha256sum /etc/hostname | wc -c'
  pod run --bundle "$BUNDLE" four > "$WORK/out"
  printf '1000 999 998 12\n1,4,9,16,25 2.718\n80\n' > "$WORK/want"
  diff "$WORK/want" "$WORK/out"
}

@test "static musl: threads, long double, signals" {
  bundle_busybox "$BUNDLE"
  cat > "$WORK/m.c" << 'C'
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
static void *add(void *p) { for (int i = 0; i < 100000; i++) __atomic_fetch_add((long *)p, 1, __ATOMIC_SEQ_CST); return 0; }
static volatile int got;
static void on(int s) { got = s; }
int main(void) {
  pthread_t t[4]; long n = 0; long double x = 2;
  for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, add, &n);
  for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
  signal(SIGUSR1, on); raise(SIGUSR1);
  printf("%ld %.15Lf %.12f %d\n", n, sqrtl(x), pow(1.5, 2.5), got == SIGUSR1);
}
C
  musl-gcc -O2 -static -o "$BUNDLE/rootfs/bin/m" "$WORK/m.c" -lm
  bundle_args "$BUNDLE" /bin/m
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  "$BUNDLE/rootfs/bin/m" > "$WORK/want"
  diff "$WORK/want" "$WORK/out"
}

@test "32-bit program: system calls by int 0x80, signals, exit code" {
  bundle_busybox "$BUNDLE"
  cat > "$WORK/p.c" << 'C'
static int call(int n, int a, const void *b, int c)
{
	int r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}
static volatile int caught;
static void handler(int signo) { caught = signo; }
struct { void (*fn)(int); unsigned long flags; void *restorer; unsigned mask[2]; } action = { handler, 0, 0, { 0, 0 } };
void _start(void)
{
	static const char text[] = "thirty-two bits\n";
	int pid = call(20, 0, 0, 0);

	__asm__ volatile("int $0x80" : : "a"(174), "b"(10), "c"(&action), "d"(0), "S"(8) : "memory"); // rt_sigaction
	call(37, pid, (void *)10, 0);                                                             // kill
	call(4, 1, text, sizeof(text) - 1);
	call(1, caught == 10 && sizeof(long) == 4 ? 42 : 1, 0, 0);
	for (;;)
		;
}
C
  gcc -m32 -O1 -w -ffreestanding -fno-pie -fno-stack-protector -nostdlib -static -no-pie -o "$BUNDLE/rootfs/bin/p32" "$WORK/p.c"
  bundle_args "$BUNDLE" /bin/p32
  pod run --bundle "$BUNDLE" one > "$WORK/out" && rc=0 || rc=$?
  [ "$rc" = 42 ]
  [ "$(cat "$WORK/out")" = "thirty-two bits" ]
}

@test "file locks keep another process out" {
  bundle_debian "$BUNDLE"
  bundle_args "$BUNDLE" /bin/sh -c 'flock /dev/shm/lock sh -c "flock -n /dev/shm/lock true; echo \$?"; flock -n /dev/shm/lock echo free'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  [ "$(cat "$WORK/out")" = "$(printf '1\nfree')" ]
}

@test "two pods side by side" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'sleep 0.5; hostname'
  cp -a "$BUNDLE" "$WORK/other"
  bundle_edit "$BUNDLE" 'c["hostname"] = "left"'
  bundle_edit "$WORK/other" 'c["hostname"] = "right"'
  pod run --bundle "$BUNDLE" left > "$WORK/out1" &
  pod run --bundle "$WORK/other" right > "$WORK/out2"
  wait $!
  [ "$(cat "$WORK/out1" "$WORK/out2" | tr '\n' ' ')" = "left right " ]
}

@test "a guest that panics is reported stopped and deletes" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["readonlyPaths"] = []; c["linux"]["maskedPaths"] = []; c["process"]["capabilities"] = {k: ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}'
  bundle_args "$BUNDLE" sh -c 'sleep 1; echo c > /proc/sysrq-trigger; sleep 60'
  pod run --bundle "$BUNDLE" five && rc=0 || rc=$?
  [ "$rc" = 137 ]
}

@test "VMM killed: stopped with 137 within a second, delete works" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  pod create --bundle "$BUNDLE" six < /dev/null > /dev/null 2>&1
  pod start six
  pkill -KILL -f "bulkhead-vmm.*six"
  sleep 1
  pod state six | grep -q '"status": "stopped"'
  pod delete six
}

@test "file server killed: stopped with 137 within a second, delete works" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  pod create --bundle "$BUNDLE" seven < /dev/null > /dev/null 2>&1
  pod start seven
  pkill -KILL -f "bulkhead-fs.*seven"
  sleep 1
  pod state seven | grep -q '"status": "stopped"'
  pod delete seven
}

@test "seccomp: a refused call gets its errno, others work" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}; c["root"]["readonly"] = False'
  bundle_args "$BUNDLE" sh -c 'grep Seccomp: /proc/self/status; mkdir /d 2>&1; touch /f && echo made'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  cat "$WORK/out"
  grep -q $'Seccomp:\t2' "$WORK/out"
  grep -q 'No space left on device' "$WORK/out"
  grep -qx made "$WORK/out"
}

@test "capabilities, masked and read-only paths, devices" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["capabilities"] = {k: ["CAP_KILL", "CAP_MKNOD"] for k in ("bounding", "effective", "permitted")}'
  bundle_args "$BUNDLE" sh -c 'grep CapEff /proc/self/status; cat /proc/kcore | wc -c; echo 1 2>/dev/null > /proc/sys/vm/swappiness || echo ro; echo x > /dev/null && echo null; [ -c /dev/urandom ] && echo dev; mknod /dev/kmsg c 1 11 && (cat < /dev/kmsg) 2>&1 | head -c 100'
  pod run --bundle "$BUNDLE" one > "$WORK/out" || true
  cat "$WORK/out"
  grep -q $'CapEff:\t0000000008000020' "$WORK/out"
  grep -qx 0 "$WORK/out"
  grep -qx ro "$WORK/out"
  grep -qx null "$WORK/out"
  grep -qx dev "$WORK/out"
  grep -q 'Operation not permitted' "$WORK/out"
}

@test "memory limit: the cgroup's OOM killer ends the container with 137" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["resources"]["memory"] = {"limit": 16777216}'
  bundle_args "$BUNDLE" sh -c 'cat /sys/fs/cgroup/memory.max; exec tail -c 100m /dev/zero'
  pod run --bundle "$BUNDLE" one > "$WORK/out" && rc=0 || rc=$?
  [ "$(head -n 1 "$WORK/out")" = 16777216 ]
  [ "$rc" = 137 ]
}

@test "what is not supported is refused by name, and nothing stays" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["apparmorProfile"] = "docker-default"'
  run pod run --bundle "$BUNDLE" one
  [ "$status" != 0 ]
  [[ "$output" == *"process.apparmorProfile"* ]]
}

@test "the pod's processes have no_new_privs, few capabilities and no descriptors of ours" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  exec 9< /etc/hostname
  pod create --bundle "$BUNDLE" eight < /dev/null > /dev/null 2>&1
  vmm=$(pgrep -f "bulkhead-vmm.*eight")
  fs=$(pgrep -f "bulkhead-fs.*eight")
  grep -q $'NoNewPrivs:\t1' "/proc/$vmm/status"
  grep -q $'CapEff:\t0000000000000000' "/proc/$vmm/status"
  grep -q $'CapPrm:\t0000000000000000' "/proc/$vmm/status"
  grep -q $'CapBnd:\t0000000000000000' "/proc/$vmm/status"
  grep -q $'NoNewPrivs:\t1' "/proc/$fs/status"
  [ $((0x$(awk '/CapEff/ {print $2}' "/proc/$fs/status") & 0x200000)) = 0 ] # no CAP_SYS_ADMIN
  for p in "$vmm" "$fs"; do
    [ -z "$(ls -l "/proc/$p/fd" | grep -E '/etc/hostname|/dev/pts')" ]
  done
  pod delete --force eight
}

@test "one, two, four and eight processors: all of them work" {
  bundle_busybox "$BUNDLE"
  # Each worker is bound to its processor and hashes; the sums have to be the same.
  bundle_args "$BUNDLE" sh -c 'n=$(nproc); echo $n; i=0; while [ $i -lt $n ]; do taskset -c $i sh -c "yes bulkhead | head -c 20000 | md5sum" > /tmp/$i & i=$((i + 1)); done; wait; cat /tmp/[0-9] | sort | uniq -c | while read c sum rest; do echo $c $sum; done'
  bundle_edit "$BUNDLE" 'c["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})'
  want=$(yes bulkhead | head -c 20000 | md5sum | cut -d' ' -f1)
  for n in 1 2 4 8; do
    VCPUS=$n pod run --bundle "$BUNDLE" smp > "$WORK/out"
    [ "$(cat "$WORK/out")" = "$n
$n $want" ]
  done
}

# SPDX-License-Identifier: Apache-2.0
# linux.seccomp: every action, operator and flag as a small program sees them, other architectures, calls newer than the
# profile, and filters that do not let a container start.
load ../lib/bundle

setup_file() {
  export PROBES=$(mktemp -d)
  # call NUMBER [ARG...]: makes the call in a child, prints its errno (0: none) or the signal that ended it
  cat > "$PROBES/call.c" << 'C'
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void on_sys(int s, siginfo_t *i, void *u) { (void)u; printf("trap %d\n", s == SIGSYS && i->si_code == 1); _exit(0); }
int main(int c, char **v) {
  long a[7] = { 0 };
  int compat = v[0][strlen(v[0]) - 1] == '2';
  for (int i = 1; i < c && i < 8; i++) a[i - 1] = strtoul(v[i], 0, 0);
  setvbuf(stdout, 0, _IONBF, 0);
  if (fork() == 0) {
    struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
    long r;
    if (getenv("TRAP")) sigaction(SIGSYS, &sa, 0);
    if (compat) __asm__ volatile("int $0x80" : "=a"(r) : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3]) : "memory", "r8", "r9", "r10", "r11");
    else { r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]); if (r < 0) r = -errno; }
    printf("%ld\n", r < 0 ? -r : 0);
    _exit(0);
  }
  int st; wait(&st);
  if (WIFSIGNALED(st)) printf("signal %d\n", WTERMSIG(st));
  return 0;
}
C
  gcc -O1 -static -o "$PROBES/call" "$PROBES/call.c"
}

teardown_file() {
  rm -rf "$PROBES"
}

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  cp "$PROBES/call" "$BUNDLE/rootfs/bin/call"
  cp "$PROBES/call" "$BUNDLE/rootfs/bin/call32"
}

teardown() {
  for id in $(pod list --quiet); do pod delete --force "$id"; done
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

pod() {
  timeout 300 "$BULKHEAD" --root "$STATE" --hypervisor soft --vcpus 2 "$@"
}

# profile JSON: linux.seccomp
profile() {
  bundle_edit "$BUNDLE" 'c["linux"]["seccomp"] = json.loads(sys.argv[3])' "$1"
}

@test "every action, and arguments by every operator" {
  profile '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X", "SCMP_ARCH_AARCH64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_M68K"],
    "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], "syscalls": [
    {"names": ["getppid", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33}, {"names": ["getpgrp"], "action": "SCMP_ACT_ERRNO"},
    {"names": ["getpgid"], "action": "SCMP_ACT_KILL"}, {"names": ["getsid"], "action": "SCMP_ACT_KILL_PROCESS"}, {"names": ["sync"], "action": "SCMP_ACT_TRAP"},
    {"names": ["sched_yield"], "action": "SCMP_ACT_TRACE"}, {"names": ["getuid"], "action": "SCMP_ACT_LOG"},
    {"names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 40, "args": [{"index": 0, "value": 1001, "op": "SCMP_CMP_EQ"}]},
    {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 41, "args": [{"index": 0, "value": 5000000000, "op": "SCMP_CMP_GT"}]},
    {"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42, "args": [{"index": 0, "value": 2000, "op": "SCMP_CMP_GE"}]},
    {"names": ["fdatasync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 43, "args": [{"index": 0, "value": 3000, "op": "SCMP_CMP_LT"}]},
    {"names": ["fchdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 44, "args": [{"index": 0, "value": 3000, "op": "SCMP_CMP_LE"}]},
    {"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 45, "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_NE"}]},
    {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 46, "args": [{"index": 0, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["ftruncate"], "action": "SCMP_ACT_ERRNO", "errnoRet": 47, "args": [{"index": 0, "value": 999, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]},
    {"names": ["flock"], "action": "SCMP_ACT_ERRNO", "errnoRet": 48, "args": [{"index": 0, "value": 901, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 902, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 77, "op": "SCMP_CMP_EQ"}]}]}'
  bundle_args "$BUNDLE" sh -c 'call 110; call 111; call 121 0; call 124 0; call 162; TRAP=1 call 162; call 24; call 102
    call 3 1001; call 3 1002; call 32 5000000001; call 32 5000000000; call 74 2000; call 74 1999; call 75 2999; call 75 3000; call 81 3000; call 81 3001; call 95 8; call 95 7
    call 135 0x11; call 135 0; call 77 999 5; call 77 999 6; call 73 901 1; call 73 902 1; call 73 903 77; call 73 903 1; grep Seccomp_filters: /proc/self/status'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" || { cat "$WORK/err"; false; }
  cat "$WORK/out"
  printf '%s\n' 33 1 'signal 31' 'signal 31' 'signal 31' 'trap 1' 38 0 40 9 41 9 42 9 43 9 44 9 45 0 46 0 47 9 48 48 48 9 $'Seccomp_filters:\t1' | diff - "$WORK/out"
}

@test "another architecture: a 32-bit call is judged by its own numbers, and killed where the profile does not name it" {
  local rules='"syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 33}]'
  profile '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], '"$rules"'}'
  bundle_args "$BUNDLE" sh -c 'call 110; call32 64; call32 20'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> /dev/null
  cat "$WORK/out"
  if grep -q 'signal 11' "$WORK/out"; then
    echo "# this guest kernel runs no 32-bit calls" >&3
    return
  fi
  printf '%s\n' 33 33 0 | diff - "$WORK/out"
  profile '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], '"$rules"'}'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> /dev/null
  printf '%s\n' 33 'signal 31' 'signal 31' | diff - "$WORK/out"
}

@test "a call newer than the profile is not implemented, one that it leaves out is refused" {
  # By number: all but getppid, up to clone3 (435).
  bundle_edit "$BUNDLE" 'import subprocess
names = [l.split()[1][5:] for l in subprocess.run("echo \"#include <sys/syscall.h>\" | gcc -E -dM - | grep \"define __NR_\"", shell=True, capture_output=True, text=True).stdout.splitlines() if l.split()[2].isdigit() and int(l.split()[2]) <= 435]
c["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": [n for n in names if n != "getppid"], "action": "SCMP_ACT_ALLOW"}]}'
  bundle_args "$BUNDLE" sh -c 'call 110; call 436 99; call 2000; call 39'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" || { cat "$WORK/err"; false; }
  printf '%s\n' 1 38 38 0 | diff - "$WORK/out"
  bundle_edit "$BUNDLE" 'c["linux"]["seccomp"]["defaultErrnoRet"] = 61; c["process"]["noNewPrivileges"] = False'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf '%s\n' 61 38 38 0 | diff - "$WORK/out"
}

@test "with no_new_privs the profile needs execve only; a filter that kills the set-up is an error of create, and the pod ends" {
  profile '{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]}'
  bundle_edit "$BUNDLE" 'c["process"]["noNewPrivileges"] = True'
  bundle_args "$BUNDLE" true
  run pod run --bundle "$BUNDLE" one
  [ "$status" = 159 ] # it ran, and died of its first call
  bundle_edit "$BUNDLE" 'c["process"]["noNewPrivileges"] = False'
  run pod create --bundle "$BUNDLE" two
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"linux.seccomp does not let it set itself up"* ]]
  [ -z "$(pod list --quiet)" ]
}

@test "what nobody outside a guest could answer is refused" {
  profile '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}'
  run pod create --bundle "$BUNDLE" two
  [ "$status" = 1 ]
  [[ "$output" == *"linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY"* ]]
}

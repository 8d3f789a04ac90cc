# SPDX-License-Identifier: Apache-2.0
# Limits hold in the guest, from config.json and after an update: memory, pids, processors, devices, huge pages, raw files.
load ../cli/helper

# limited JSON COMMAND: runs sh -c COMMAND in a container with these resources; its output is in $WORK/out
limited() {
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = dict({"devices": [{"allow": False, "access": "rwm"}]}, **json.loads(sys.argv[3]))' "$1"
  bundle_args "$BUNDLE" sh -c "$2"
  bulkhead --cgroup-manager "${MANAGER:-cgroupfs}" run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" < /dev/null
}

# detached JSON [COMMAND]: as limited, but stays, and then takes lines of shell by `inside`
detached() {
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = dict({"devices": [{"allow": False, "access": "rwm"}]}, **json.loads(sys.argv[3]))' "$1"
  bundle_args "$BUNDLE" sh -c "${2:-:}"'
while read -r line; do eval "$line"; echo "rc $?"; done'
  rm -f "$WORK/in" "$WORK/out"
  mkfifo "$WORK/in"
  exec 7<> "$WORK/in"
  bulkhead --vcpus "${VCPUS:-1}" --memory 128 run --detach --bundle "$BUNDLE" one >> "$WORK/out" 2>&1 < "$WORK/in"
}

# inside LINE: the container's shell runs it; its output, then its exit status as "rc N"
inside() {
  : > "$WORK/out"
  echo "$1" >&7
  for _ in $(seq 10); do # what runs into a limit may take its time
    soon grep -q '^rc ' "$WORK/out" && break
  done
  cat "$WORK/out"
}

# stat PATH: of `events --stats`, such as cpu.usage.total
stat_of() {
  bulkhead events --stats one | python3 -c 'import functools, json, sys
print(functools.reduce(lambda d, k: d[k], sys.argv[1].split("."), json.load(sys.stdin)["data"]))' "$1"
}

@test "every field is in its file, below the configuration's cgroupsPath" {
  MANAGER=disabled # on the host, that path may not be possible
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = "/kubepods/pod7/abc"; c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "cgroup"]'
  limited '{"memory": {"limit": 33554432, "reservation": 16777216, "swap": 67108864}, "cpu": {"shares": 512, "quota": 50000, "period": 200000, "burst": 10000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 40}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "unified": {"memory.high": "30000000", "cgroup.max.depth": "3"}}' \
    'cat /proc/self/cgroup; for f in memory.max memory.low memory.high cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems pids.max hugetlb.2MB.max hugetlb.2MB.rsvd.max cgroup.max.depth; do cat /sys/fs/cgroup/$f; done'
  [ "$(tr '\n' ' ' < "$WORK/out")" = "0::/kubepods/pod7/abc 33554432 16777216 29999104 59 50000 200000 10000 0 0 40 4194304 4194304 3 " ]
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = "system.slice:bulk:abc"'
  limited '{}' 'cat /proc/self/cgroup'
  [ "$(cat "$WORK/out")" = 0::/system.slice/bulk-abc.scope ]
}

@test "what the guest kernel has not got is an error of create that names the field, and so is a bad path" {
  bundle_busybox "$BUNDLE"
  for case in '{"rdma": {"mlx5_1": {"hcaHandles": 3}}}|linux.resources.rdma: the guest kernel has no rdma.max' \
    '{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]}}|linux.resources.blockIO.throttleReadBpsDevice: the guest kernel has no io.max' \
    '{"blockIO": {"weight": 100}}|linux.resources.blockIO.weight: the guest kernel has no io.weight' \
    '{"hugepageLimits": [{"pageSize": "1GB", "limit": 0}]}|linux.resources.hugepageLimits: the guest kernel has no hugetlb.1GB.max' \
    '{"unified": {"memory.nonesuch": "1"}}|linux.resources.unified: the guest kernel has no memory.nonesuch' \
    '{"unified": {"memory.high": "much"}}|linux.resources.unified: writing '"'much'"' to memory.high: invalid argument' \
    '{"cpu": {"realtimeRuntime": 1}}|linux.resources.cpu.realtimeRuntime: not supported'; do
    bundle_edit "$BUNDLE" 'c["linux"]["resources"] = json.loads(sys.argv[3])' "${case%|*}"
    refused 1 "${case##*|}" run --bundle "$BUNDLE" x
  done
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {}; c["linux"]["cgroupsPath"] = "/a/../../b"'
  refused 1 'linux.cgroupsPath: "/a/../../b" is not a path of a group' run --bundle "$BUNDLE" x
}

@test "memory: a hog is killed, its neighbours live, the event is told; the init's death is 137" {
  bundle_busybox "$BUNDLE"
  detached '{"memory": {"limit": 16777216}}' 'sleep 1000 &'
  bulkhead events --interval 1h one > "$WORK/events" &
  events=$!
  soon grep -q stats "$WORK/events"
  [ "$(inside 'tail -c 100m /dev/zero > /dev/null' | tail -n 1)" = "rc 137" ]
  soon grep -qx '{"type":"oom","id":"one"}' "$WORK/events"
  state_is one running
  [ "$(inside 'kill -0 $! && echo lives' | head -n 1)" = lives ]
  # With more room it does not come to that; with less again it does.
  bulkhead update --memory 80m one
  [ "$(stat_of memory.usage.limit)" = 83886080 ]
  [ "$(inside 'head -c 24m /dev/zero | tail -c 24m > /dev/null' | tail -n 1)" = "rc 0" ]
  bulkhead update --memory 16m one
  [ "$(inside 'head -c 24m /dev/zero | tail -c 24m > /dev/null' | tail -n 1)" = "rc 137" ]
  soon test "$(grep -c oom "$WORK/events")" = 2
  bulkhead update --memory -1 one
  [ "$(stat_of memory.usage.limit)" = 18446744073709551615 ]
  bulkhead kill one KILL
  wait $events
  bulkhead delete one
  limited '{"memory": {"limit": 16777216}}' 'exec tail -c 100m /dev/zero' && rc=0 || rc=$?
  [ "$rc" = 137 ]
}

@test "memory: checkBeforeUpdate refuses a limit below the use" {
  bundle_busybox "$BUNDLE"
  detached '{"memory": {"limit": 67108864}}'
  echo '{"memory": {"limit": 4096, "checkBeforeUpdate": true}}' > "$WORK/r"
  EXPECT_LIST=one
  refused 1 "rejecting memory limit 4096 <= usage" update -r "$WORK/r" one
  [ "$(stat_of memory.usage.limit)" = 67108864 ]
  bulkhead delete --force one
}

@test "pids: fork fails at the limit, and at another one after an update" {
  bundle_busybox "$BUNDLE"
  cat > "$WORK/forks.c" << 'C'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
/* Forks until it fails, again after each second. */
int main(void) {
  for (int n = 1;; sleep(1)) {
    pid_t p = 0;
    while ((p = fork()) > 0) n++;
    if (p == 0) { pause(); return 0; }
    printf("%d %s\n", n, strerror(errno));
    fflush(stdout);
  }
}
C
  musl-gcc -O1 -static -o "$BUNDLE/rootfs/bin/forks" "$WORK/forks.c"
  detached '{"pids": {"limit": 6}}' 'exec forks'
  soon grep -qx "6 Resource temporarily unavailable" "$WORK/out"
  bulkhead update --pids-limit 9 one
  soon grep -qx "9 Resource temporarily unavailable" "$WORK/out"
  [ "$(stat_of pids.current)" = 9 ]
  [ "$(stat_of pids.limit)" = 9 ]
  [ "$(bulkhead ps one | wc -l)" = 10 ]
  bulkhead update --pids-limit -1 one
  soon grep -qE "^[0-9]{2,} " "$WORK/out" || soon test "$(stat_of pids.current)" -gt 9
  bulkhead delete --force one
}

@test "cpu: a quota holds within a tenth, over seconds, and so does another one after an update" {
  bundle_busybox "$BUNDLE"
  detached '{"cpu": {"quota": 20000, "period": 100000}}' '(while :; do :; done) &'
  # The kernel's own count: periods that have passed, and what was used in them.
  share() {
    local u0 u1 p0 p1
    sleep 0.5
    u0=$(bulkhead events --stats one)
    sleep "$1"
    u1=$(bulkhead events --stats one)
    python3 - "$u0" "$u1" << 'P'
import json, sys
a, b = (json.loads(x)["data"]["cpu"] for x in sys.argv[1:])
used = b["usage"]["total"] - a["usage"]["total"]
periods = b["throttling"]["periods"] - a["throttling"].get("periods", 0)
assert b["throttling"]["throttledPeriods"] > 0
print(round(used / (periods * 100e6) * 100))
P
  }
  got=$(share 2)
  [ "$got" -ge 18 ] && [ "$got" -le 22 ] || { echo "used $got %, not 20"; false; }
  bulkhead update --cpu-quota 50000 one
  got=$(share 2)
  [ "$got" -ge 45 ] && [ "$got" -le 55 ] || { echo "used $got %, not 50"; false; }
  # The burst is below the quota; a smaller quota needs a smaller burst first, and gets it.
  bulkhead update --cpu-burst 40000 one
  bulkhead update --cpu-quota 10000 --cpu-burst 5000 one
  bulkhead update --cpu-period 50000 one
  [ "$(inside 'cd /sys/fs/cgroup; cat cpu.max cpu.max.burst cpu.weight' | tr '\n' ' ')" = "10000 50000 5000 100 rc 0 " ]
  bulkhead update --cpu-quota -1 --cpu-share 2048 one
  bulkhead update --cpu-idle 1 one
  [ "$(inside 'cat cpu.max cpu.idle' | tr '\n' ' ')" = "max 50000 1 rc 0 " ]
  bulkhead delete --force one
}

@test "cpuset: a process runs only there, from the start and after an update" {
  bundle_busybox "$BUNDLE"
  where='for i in 1 2 3 4 5 6 7 8 9; do : | :; cut -d" " -f39 /proc/self/stat; done | sort -u'
  VCPUS=2 detached '{"cpu": {"cpus": "1"}}' '(while :; do :; done) &'
  [ "$(inside "$where" | tr '\n' ' ')" = "1 rc 0 " ]
  bulkhead update --cpuset-cpus 0 one
  [ "$(inside "$where" | tr '\n' ' ')" = "0 rc 0 " ]
  bulkhead update --cpuset-cpus 0-1 one
  [ "$(inside 'grep Cpus_allowed_list /proc/self/status' | tr '\n\t' '  ')" = "Cpus_allowed_list: 0-1 rc 0 " ]
  # Numbers that the guest has not got are folded onto those it has.
  bulkhead update --cpuset-cpus 6-7 --cpuset-mems 3 one
  [ "$(inside 'cat /sys/fs/cgroup/cpuset.cpus /sys/fs/cgroup/cpuset.mems' | tr '\n' ' ')" = "0-1 0 rc 0 " ]
  bulkhead delete --force one
}

@test "devices: what is not allowed gives EPERM, until an update allows it, and again after the next" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["capabilities"] = {k: ["CAP_MKNOD", "CAP_SYSLOG"] for k in ("bounding", "effective", "permitted")}'
  bundle_edit "$BUNDLE" 'c["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})'
  detached '{}' 'mknod /tmp/kmsg c 1 11'
  allowed() { # OPERATOR: of the shell, < or >
    case $(inside "(: $1 /tmp/kmsg)") in
    *"not permitted"*) echo no ;;
    "rc 0") echo yes ;;
    esac
  }
  [ "$(allowed '<') $(allowed '>')" = "no no" ]
  echo '{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}' | bulkhead update -r - one
  [ "$(allowed '<') $(allowed '>') $(allowed '<>')" = "yes no no" ]
  bulkhead update --pids-limit 100 one # says nothing of devices
  [ "$(allowed '<') $(allowed '>')" = "yes no" ]
  echo '{"devices": [{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "access": "r"}]}' | bulkhead update -r - one
  [ "$(allowed '<') $(allowed '>') $(allowed '<>')" = "no yes no" ]
  [ "$(inside 'echo x > /dev/null && head -c 1 /dev/zero > /dev/null')" = "rc 0" ]
  bulkhead delete --force one
}

@test "hugetlb: pages beyond the limit are refused" {
  bundle_busybox "$BUNDLE"
  cat > "$WORK/huge.c" << 'C'
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
  int n = 0;
  while (n < 8) {
    char *p = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (p == MAP_FAILED) break;
    *p = 1;
    n++;
  }
  printf("%d pages, %s\n", n, strerror(errno));
}
C
  musl-gcc -O1 -static -o "$BUNDLE/rootfs/bin/huge" "$WORK/huge.c"
  bundle_edit "$BUNDLE" 'c["linux"]["readonlyPaths"] = []; c["mounts"] = [m for m in c["mounts"] if m["destination"] != "/proc"] + [{"destination": "/proc", "type": "proc", "source": "proc"}]'
  limited '{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}' 'echo 6 > /proc/sys/vm/nr_hugepages; cat /proc/sys/vm/nr_hugepages; huge'
  [ "$(tr '\n' ' ' < "$WORK/out")" = "6 2 pages, Out of memory " ]
}

# SPDX-License-Identifier: Apache-2.0
# The guest is as large as its containers' limits, and using all of it up kills a process, not the guest.
load ../cli/helper

umask 022 # a configuration that others can write is refused

# total LIMIT_MIB [OPTION...]: boots, and compares MemTotal with the limit
total() {
  local limit=$1 got
  shift
  got=$(bulkhead "$@" run --bundle "$BUNDLE" one < /dev/null)
  [ $((got * 100)) -ge $((limit * 1024 * 98)) ] && [ $((got * 100)) -le $((limit * 1024 * 102)) ] ||
    { echo "MemTotal $got KiB for a limit of $limit MiB"; return 1; }
}

@test "MemTotal is within two percent of the limit, from 64 MiB to 2 GiB, with 1 and 8 processors" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
  echo '{"maxima": {"memory": "8Gi"}}' > "$WORK/config.json"
  for limit in 64 101 250 1024 2048; do
    bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": int(sys.argv[3]) << 20}}' $limit
    total $limit --config "$WORK/config.json"
    total $limit --config "$WORK/config.json" --vcpus 8
  done
}

@test "a sandbox's sizes are in its annotations" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'nproc >&2; sed -n "s/^MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo'
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": 512 << 20}, "cpu": {"quota": 800000}}
c["annotations"] = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-memory": str(90 << 20),
  "io.kubernetes.cri.sandbox-cpu-quota": "250000", "io.kubernetes.cri.sandbox-cpu-period": "100000"}'
  total 90 2> "$WORK/err"
  [ "$(cat "$WORK/err")" = 3 ]
  bundle_edit "$BUNDLE" 'c["annotations"]["io.kubernetes.cri.sandbox-memory"] = "lots"'
  refused 1 'annotations["io.kubernetes.cri.sandbox-memory"]: "lots" is not a number' run --bundle "$BUNDLE" one
}

@test "processes that together want more than there is are killed, and the guest goes on" {
  bundle_busybox "$BUNDLE"
  cat > "$WORK/hog.c" << 'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* Uses N MiB, a page at a time, then says so. */
int main(int argc, char **argv) {
  size_t n = (size_t)atoi(argv[argc - 1]) << 20;
  char *p = malloc(n);
  if (!p) return 1;
  for (size_t i = 0; i < n; i += 4096) p[i] = 1;
  return p[n / 2] == 0 ? 0 : puts("used") < 0;
}
C
  musl-gcc -O1 -static -o "$BUNDLE/rootfs/bin/hog" "$WORK/hog.c"
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": 64 << 20}}'
  bundle_args "$BUNDLE" sh -c 'for i in 1 2 3; do (hog 38 > /dev/null; echo "rc $?") & done; wait
    hog 63; echo "alone $?"; hog 20; cat /sys/fs/cgroup/memory.max; hog 900; echo "beyond $?"'
  bulkhead run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" < /dev/null
  cat "$WORK/out" "$WORK/err"
  [ "$(grep -c '^rc 137' "$WORK/out")" -ge 1 ]
  [ "$(grep -cE '^rc (0|137)' "$WORK/out")" = 3 ] # the kernel may kill all three, when the first is slow to go
  # As much as the limit cannot be had in a guest as large: the kernel and the agent need some.
  grep -qx 'alone 137' "$WORK/out"
  grep -qx used "$WORK/out"
  grep -qx 67108864 "$WORK/out"
  grep -qx 'beyond 137' "$WORK/out"
}

@test "a limit beyond the guest's memory is refused by update, with both figures" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  bulkhead --memory 96 run --detach --bundle "$BUNDLE" one < /dev/null > /dev/null
  EXPECT_LIST=one
  refused 1 "memory.limit: 104857600 bytes are more than the guest has (86" update --memory 100m one
  bulkhead update --memory 80m one
  bulkhead update --memory -1 one
  bulkhead delete --force one
}

@test "a kill by the limit of all containers is told as one by the container's own" {
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": 64 << 20}}'
  bundle_args "$BUNDLE" sh -c 'head -c 63m /dev/zero > /dev/shm/all; sleep 1000'
  bulkhead create --bundle "$BUNDLE" one < /dev/null > /dev/null 2>&1
  bulkhead events --interval 1h one > "$WORK/events" &
  events=$!
  for _ in $(seq 30); do soon grep -q stats "$WORK/events" && break; done
  bulkhead start one
  for _ in $(seq 60); do soon grep -qx '{"type":"oom","id":"one"}' "$WORK/events" && break; done
  grep -qx '{"type":"oom","id":"one"}' "$WORK/events"
  bulkhead delete --force one
  wait $events
}

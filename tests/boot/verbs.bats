# SPDX-License-Identifier: Apache-2.0
# Verbs around a running container: pause, resume, ps, events, kill --all, update, and what they say of the others' states.
load ../cli/helper

# A container whose shell says how often it has been round, and which has a child that waits.
busy_bundle() {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'sleep 1000 & trap "echo term" TERM; while :; do echo x; sleep 0.05; done'
}

lines() {
  wc -l < "$WORK/console"
}

grows() {
  [ "$(lines)" -gt "$1" ]
}

@test "pause stops progress, resume continues; who is told what meanwhile" {
  busy_bundle
  bulkhead run --detach --bundle "$BUNDLE" p > "$WORK/console" 2>&1 < /dev/null
  EXPECT_LIST=p
  soon grows 0
  bulkhead pause p
  state_is p paused
  bulkhead list | grep -q "^p .* paused "
  [ "$(bulkhead list -f json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["status"])')" = paused ]
  before=$(lines)
  sleep 0.5
  [ "$(lines)" = "$before" ]
  refused 1 "container not running" pause p
  refused 1 "cannot delete container p that is not stopped: paused" delete p
  refused 1 "cannot start a container in the paused state" start p
  bulkhead events --stats p | grep -q '"type":"stats"' # a paused one can be looked at
  bulkhead update --pids-limit 50 p                      # and limited
  bulkhead kill p TERM                                   # waits for resume
  sleep 0.2
  [ "$(lines)" = "$before" ]
  bulkhead resume p
  state_is p running
  soon grep -qx term "$WORK/console"
  soon grows "$((before + 2))"
  refused 1 "container not paused" resume p
  bulkhead pause p
  bulkhead kill p KILL # takes effect
  soon state_is p stopped
  refused 1 "container not running" pause p
  refused 1 "container not paused" resume p
  refused 1 "container not running" update --memory 64m p
  refused 1 "container not running" events p
  refused 1 "container not running" events --stats p
  refused 1 "container not running" kill p
  [ "$(bulkhead ps p)" = "UID          PID    PPID     TIME CMD" ]
  [ "$(bulkhead ps -f json p)" = null ]
  bulkhead kill --all p
  bulkhead delete p
  EXPECT_LIST=
  for verb in pause resume ps events update; do refused 1 "container does not exist" $verb p; done
}

@test "a created container pauses, and does not start before it is resumed; delete --force takes a paused one" {
  busy_bundle
  bulkhead create --bundle "$BUNDLE" c > "$WORK/console" 2>&1 < /dev/null
  EXPECT_LIST=c
  bulkhead pause c
  state_is c paused
  refused 1 "cannot start a container in the paused state" start c
  bulkhead resume c
  state_is c created
  bulkhead start c
  soon grows 0
  bulkhead pause c
  bulkhead delete --force c
  EXPECT_LIST=
  refused 1 "container does not exist" state c
}

@test "ps: the guest's processes as a table, the host's pids as JSON" {
  busy_bundle
  bulkhead run --detach --pid-file "$WORK/pid" --bundle "$BUNDLE" q > "$WORK/console" 2>&1 < /dev/null
  soon grows 1
  bulkhead ps q > "$WORK/ps"
  head -n 1 "$WORK/ps" | grep -qE '^UID +PID +PPID +TIME +CMD$'
  grep -qE '^0 +1 +0 +00:00:0[0-9] sh -c sleep 1000' "$WORK/ps"
  grep -qE '^0 +[0-9]+ +1 +00:00:00 sleep 1000$' "$WORK/ps"
  [ "$(bulkhead ps --format json q)" = "[$(cat "$WORK/pid")]" ]
  EXPECT_LIST=q
  refused 1 "invalid format option" ps -f xml q
  refused 1 "-ef: options of ps(1) are not supported" ps q -ef
  bulkhead delete --force q
}

@test "ps: what a container calls its processes does not reach the terminal as it is" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'sleep "$(printf "1000\033[31m\200")" 2> /dev/null; exec sleep 1000' "$(printf 'a\tb')"
  bulkhead run --detach --bundle "$BUNDLE" r > "$WORK/console" 2>&1 < /dev/null
  bulkhead ps r > "$WORK/ps"
  [ -z "$(LC_ALL=C tr -d '\n -~' < "$WORK/ps")" ]
  bulkhead delete --force r
}

@test "events: stats at intervals, until the container's end" {
  busy_bundle
  bulkhead run --detach --bundle "$BUNDLE" e > "$WORK/console" 2>&1 < /dev/null
  bulkhead events --interval 200ms e > "$WORK/events" &
  sleep 1
  bulkhead kill e KILL
  wait $!
  python3 - "$WORK/events" << 'P'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
assert 3 <= len(lines) <= 8, len(lines)
for l in lines:
    assert l["type"] == "stats" and l["id"] == "e", l
    d = l["data"]
    assert sorted(d) == ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"], d
    assert d["pids"]["current"] >= 1 and d["memory"]["usage"]["usage"] > 0 and "anon" in d["memory"]["raw"], d
    assert d["memory"]["usage"]["limit"] == 2 ** 64 - 1 and "limit" not in d["pids"]
usage = [l["data"]["cpu"]["usage"]["total"] for l in lines]
assert usage == sorted(usage) and usage[-1] > usage[0], usage
P
  bulkhead delete e
  bundle_args "$BUNDLE" sleep 1000
  bulkhead run --detach --bundle "$BUNDLE" e > "$WORK/console" 2>&1 < /dev/null
  EXPECT_LIST=e
  [ "$(bulkhead events --stats e | wc -l)" = 1 ]
  for bad in x 5 5x 1.2.3q s; do refused 1 "invalid value \"$bad\" for flag -interval: parse error" events --interval "$bad" e; done
  for bad in 0 0s -5s; do refused 1 "duration interval must be greater than 0" events --interval="$bad" e; done
  bulkhead delete --force e
}

@test "kill --all reaches every process, also while they fork; by name, by number, in any case" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sh -c 'trap "echo one" USR1; (trap "echo two" USR1; while :; do sleep 0.05; done) & mkdir /sys/fs/cgroup/sub 2> /dev/null; echo up; while :; do sleep 0.05; done'
  bulkhead run --detach --bundle "$BUNDLE" k > "$WORK/console" 2>&1 < /dev/null
  soon grep -qx up "$WORK/console"
  bulkhead kill --all k SIGUSR1
  soon grep -qx one "$WORK/console"
  soon grep -qx two "$WORK/console"
  state_is k running
  bulkhead kill k 10
  bulkhead kill k usr1
  bulkhead kill k sigusr1
  EXPECT_LIST=k
  for bad in BAD SIGBAD 65 -1 1x ""; do refused 1 "unknown signal \"$bad\"" kill -- k "$bad"; done
  bulkhead kill -a k 9
  soon state_is k stopped
  bulkhead delete k
}

@test "update: bad input for every flag, and nothing changes" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  bulkhead run --detach --bundle "$BUNDLE" u > "$WORK/console" 2>&1 < /dev/null
  EXPECT_LIST=u
  for flag in blkio-weight cpu-period cpu-quota cpu-burst cpu-share cpu-rt-period cpu-rt-runtime cpu-idle memory \
    memory-reservation memory-swap pids-limit; do
    refused 1 "invalid value for $flag: \"1x\"" update --$flag 1x u
  done
  for flag in cpu-quota cpu-share memory; do
    for bad in x "" 99999999999999999999999 0x10 -; do
      refused 1 "invalid value for $flag: \"$bad\"" update --$flag "$bad" u
    done
  done
  for flag in cpu-period blkio-weight; do refused 1 "invalid value for $flag" update --$flag=-1 u; done
  for flag in cpuset-cpus cpuset-mems; do refused 1 "is not a list such as 0-3,5" update --$flag 1-x u; done
  refused 1 "blockIO.weight: 5 is out of range" update --blkio-weight 5 u
  refused 1 "linux.resources.blockIO.weight: the guest kernel has no io.weight" update --blkio-weight 500 u
  refused 1 "cpu.idle: 2 is out of range" update --cpu-idle 2 u
  refused 1 "linux.resources.cpu.realtimeRuntime: not supported on cgroup v2" update --cpu-rt-period 5 u
  refused 1 "linux.resources.cpu.realtimeRuntime: not supported on cgroup v2" update --cpu-rt-runtime 5 u
  refused 1 "l3-cache-schema: not supported" update --l3-cache-schema L3:0=f u
  refused 1 "mem-bw-schema: not supported" update --mem-bw-schema MB:0=10 u
  refused 1 "linux.resources.memory.swap: cannot be set without a memory limit" update --memory-swap 1g u
  refused 1 "memory.swap: below the memory limit" update --memory 64m --memory-swap 32m u
  refused 1 "cpu.quota: writing '1' to cpu.max: invalid argument" update --memory 32m --cpu-quota 1 u
  refused 1 "no such file or directory" update --resources "$WORK/none" u
  echo '{"memory":{"limit":"64m"}}' > "$WORK/bad.json"
  refused 1 "memory.limit: " update --resources "$WORK/bad.json" u
  echo '{"memory":' > "$WORK/bad.json"
  refused 1 "" update -r "$WORK/bad.json" u
  echo '{"hugepageLimits":[{"pageSize":"1GB","limit":0}],"memory":{"limit":33554432}}' > "$WORK/bad.json"
  refused 1 "linux.resources.hugepageLimits: the guest kernel has no hugetlb.1GB.max" update -r "$WORK/bad.json" u
  bulkhead events --stats u | grep -q '"usage":{"limit":18446744073709551615'
  echo '{}' | bulkhead update --resources=- u # nothing asked for
  bulkhead delete --force u
}

# SPDX-License-Identifier: Apache-2.0
# Several containers in one guest: where a container goes, what it shares, who outlives whom.
load ../lib/bundle

CRI_TYPE=io.kubernetes.cri.container-type CRI_ID=io.kubernetes.cri.sandbox-id
CRIO_TYPE=io.kubernetes.cri-o.ContainerType CRIO_ID=io.kubernetes.cri-o.SandboxID

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
}

teardown() {
  "$BULKHEAD" --root "$STATE" list --quiet 2> /dev/null | while read -r id; do
    timeout 120 "$BULKHEAD" --root "$STATE" delete --force "$id" || true
  done
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

bulkhead() {
  timeout 120 "$BULKHEAD" --root "$STATE" --hypervisor soft "$@"
}

# bundle ID ARG...: a bundle of busybox that runs ARGs
bundle() {
  bundle_busybox "$WORK/$1"
  bundle_args "$WORK/$@"
}

annotate() { # ID KEY VALUE...
  local dir=$WORK/$1
  shift
  bundle_edit "$dir" 'c.setdefault("annotations", {}).update(zip(sys.argv[3::2], sys.argv[4::2]))' "$@"
}

path() { # ID TYPE PATH: the namespace's path
  bundle_edit "$WORK/$1" 'c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != sys.argv[3]] + [{"type": sys.argv[3], "path": sys.argv[4]}]' "$2" "$3"
}

create() { # ID; what it says is shown when it fails
  bulkhead create --bundle "$WORK/$1" --pid-file "$WORK/$1.pid" "$1" > "$WORK/$1.out" 2> "$WORK/$1.err" < /dev/null || { cat "$WORK/$1.err"; return 1; }
}

begin() { # ID: created and started
  create "$1"
  bulkhead start "$1"
}

state() { # ID: its status
  bulkhead state "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'
}

pod_of() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pod"])' "$STATE/containers/$1/state.json"
}

# within COMMAND...: becomes true within a minute
within() {
  for _ in $(seq 600); do
    "$@" && return
    sleep 0.1
  done
  echo "never: $*"
  return 1
}

is() { # ID STATUS
  [ "$(state "$1")" = "$2" ]
}

# ended ID: stopped, and its proxy has written what there was
ended() {
  is "$1" stopped && [[ "$(ps -o stat= -p "$(cat "$WORK/$1.pid")")" =~ ^(Z.*)?$ ]]
}

more() { # ID N: it has written more than N lines
  [ "$(wc -l < "$WORK/$1.out")" -gt "$2" ]
}

# ns ID TYPE: a namespace of the process that stands for it
ns() {
  readlink "/proc/$(cat "$WORK/$1.pid")/ns/$2"
}

# sandbox ID: a pod as CRI makes it
sandbox() {
  bundle "$1" sleep 1000
  annotate "$1" $CRI_TYPE sandbox $CRI_ID "$1"
  begin "$1"
}

# member ID SANDBOX ARG...: not created yet; with the sandbox's network, ipc and uts, as CRI asks
member() {
  local id=$1 sandbox=$2 type name
  shift 2
  bundle "$id" "$@"
  annotate "$id" $CRI_TYPE container $CRI_ID "$sandbox"
  bundle_edit "$WORK/$id" 'c.pop("hostname", None)'
  for type in network:net ipc:ipc uts:uts; do
    path "$id" "${type%:*}" "/proc/$(cat "$WORK/$sandbox.pid")/ns/${type#*:}"
  done
}

@test "containers of a pod share network, ipc and uts, and have pids of their own" {
  bundle box sh -c 'hostname inside; echo 4321 > /proc/sys/kernel/msgmnb; nc -l -p 99 < /etc/word; exec sleep 1000'
  echo word > "$WORK/box/rootfs/etc/word"
  bundle_edit "$WORK/box" 'c["process"]["capabilities"] = {k: ["CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SYS_RESOURCE", "CAP_IPC_OWNER"] for k in ("bounding", "effective", "permitted")}; c["linux"]["readonlyPaths"] = []'
  annotate box $CRI_TYPE sandbox $CRI_ID box
  begin box
  member one box sh -c 'until nc 127.0.0.1 99; do sleep 0.2; done; hostname; cat /proc/sys/kernel/msgmnb; echo $$; ls /proc | grep -c "^[0-9]"'
  create one
  [ "$(pod_of one)" = box ]
  [ "$(pgrep -fc -- "--root=$STATE .*supervisor --memory-bytes")" = 1 ]
  for type in net ipc uts; do
    [ "$(ns one $type)" = "$(ns box $type)" ]
    [ "$(ns one $type)" != "$(readlink /proc/self/ns/$type)" ]
  done
  bulkhead start one
  within ended one
  printf 'word\ninside\n4321\n1\n' > "$WORK/want"
  head -n 4 "$WORK/one.out" | diff "$WORK/want" -
  [ "$(tail -n 1 "$WORK/one.out")" -le 5 ]
  bulkhead delete one
  [ "$(state box)" != "" ]
  run bulkhead state one
  [ "$status" = 1 ]
  [ ! -e "$STATE/containers/one" ]
}

@test "a pod's pid namespace, when its path is given" {
  sandbox box
  member one box sh -c 'echo $$; cat /proc/1/cmdline | tr "\0" " "'
  path one pid "/proc/$(cat "$WORK/box.pid")/ns/pid"
  begin one
  within ended one
  [ "$(head -n 1 "$WORK/one.out")" -gt 1 ]
  [ "$(tail -n 1 "$WORK/one.out")" = "sleep 1000 " ]
  is box running
}

@test "a container's end and its deletion leave the others alone" {
  sandbox box
  member one box sleep 1000
  member two box sh -c 'while sleep 0.2; do echo alive; done'
  member hog box sh -c 'x=x; while :; do x=$x$x; done'
  bundle_edit "$WORK/hog" 'c["linux"]["resources"] = {"memory": {"limit": 8 << 20, "swap": 8 << 20}}'
  begin one
  begin two
  begin hog
  bulkhead events hog > "$WORK/events" &
  bulkhead kill one KILL
  within ended one
  within ended hog
  bulkhead delete one
  bulkhead delete hog
  wait %1
  grep -q '"type":"oom"' "$WORK/events"
  n=$(wc -l < "$WORK/two.out")
  within more two "$n"
  is box running
  is two running
  bulkhead pause two
  is two paused
  is box running
  bulkhead resume two
  [ "$(bulkhead exec two cat /proc/1/comm)" = sh ]
  [ "$(bulkhead ps two | grep -c 'sleep 1000')" = 0 ]
  bulkhead delete --force two
  [ "$(bulkhead list --quiet)" = box ]
  # The id is free again, in the same pod.
  begin two
  is two running
}

@test "the pod ends with its sandbox, and its directory with the last container, in any order" {
  sandbox box
  member one box sleep 1000
  member two box sleep 1000
  begin one
  create two
  bulkhead delete --force box
  within is one stopped
  within is two stopped
  run bulkhead exec one true
  [ "$status" != 0 ]
  bulkhead state one > /dev/null
  # Its name stays taken as long as its containers are there, and nothing goes into it.
  run bulkhead create --bundle "$WORK/box" box
  [ "$status" = 1 ]
  [[ "$output" == *"pod with given ID already exists"* ]]
  bulkhead delete one
  bulkhead delete two
  [ -z "$(find "$STATE" -mindepth 2)" ]
  begin box
  is box running
}

@test "a pod that is not there, or has ended, is an error that names the annotation" {
  bundle one true
  annotate one $CRI_TYPE container $CRI_ID box
  run create one
  [ "$status" = 1 ]
  [[ "$output" == *"annotations: $CRI_ID: there is no pod sandbox box"* ]]
  annotate one $CRI_TYPE other
  run create one
  [[ "$output" == *"annotations: $CRI_TYPE: \\\"other\\\" is neither sandbox nor container"* ]]
  bundle box true
  annotate box $CRIO_TYPE sandbox $CRIO_ID box
  begin box
  within ended box
  bundle two true
  annotate two $CRIO_TYPE container $CRIO_ID box
  run create two
  [ "$status" = 1 ]
  [[ "$output" == *"annotations: $CRIO_ID: the pod sandbox box has ended"* ]]
  bundle three true
  path three ipc /proc/1/ns/ipc
  run create three
  [[ "$output" == *"linux.namespaces: ipc: /proc/1/ns/ipc: not of a container here"* ]]
  bundle four true
  path four network "$WORK/four/config.json"
  run create four
  [[ "$output" == *"linux.namespaces: network: $WORK/four/config.json: is no such namespace"* ]]
  [ "$(bulkhead list --quiet)" = box ]
  [ "$(ls "$STATE/containers")" = box ]
}

@test "a reader that never reads holds up neither its container's end nor a neighbour" {
  sandbox box
  member never box sh -c 'cat /dev/zero'
  member ended box sh -c 'head -c 200000 /dev/zero'
  member other box sh -c 'while sleep 0.2; do echo alive; done'
  mkfifo "$WORK/pipe"
  exec 8<> "$WORK/pipe"
  for id in never ended; do
    bulkhead create --bundle "$WORK/$id" --pid-file "$WORK/$id.pid" "$id" > "$WORK/pipe" 2> /dev/null < /dev/null 8<&-
    bulkhead start "$id"
  done
  # The second finds the pipe full: it has ended all the same, and its proxy waits for the reader.
  within is ended stopped
  kill -0 "$(cat "$WORK/ended.pid")"
  begin other 8<&-
  within more other 3
  is never running
  bulkhead kill never KILL
  within is never stopped
  n=$(wc -l < "$WORK/other.out")
  within more other "$n"
  bulkhead delete never
  bulkhead delete --force ended
  is other running
  is box running
  exec 8<&-
}

@test "one that stopped with output unread loses none of it to a slow reader, neighbours or not" {
  sandbox box
  member slow box head -c 300000 /dev/zero
  mkfifo "$WORK/pipe"
  (sleep 6; cat) < "$WORK/pipe" > "$WORK/got" &
  bulkhead create --bundle "$WORK/slow" --pid-file "$WORK/slow.pid" slow > "$WORK/pipe" 2> /dev/null < /dev/null
  bulkhead start slow
  wait %1
  [ "$(stat -c %s "$WORK/got")" = 300000 ]
  within ended slow
}

@test "CRI-O's annotations, podman's pods by path, and two pods that do not mix" {
  bundle infra sleep 1000
  begin infra
  bundle two sleep 1000
  annotate two $CRIO_TYPE sandbox $CRIO_ID two
  begin two
  # podman: the id of its infra container without a type, and its namespaces' paths
  bundle one sleep 1000
  bundle_edit "$WORK/one" 'c.pop("hostname", None)'
  annotate one $CRIO_ID infra
  for type in network:net ipc:ipc uts:uts; do
    path one "${type%:*}" "/proc/$(cat "$WORK/infra.pid")/ns/${type#*:}"
  done
  begin one
  [ "$(pod_of one)" = infra ]
  # by a path alone, of a member's
  bundle three sleep 1000
  path three pid "/proc/$(cat "$WORK/one.pid")/ns/pid"
  begin three
  [ "$(pod_of three)" = infra ]
  [ "$(bulkhead exec three sh -c 'ls /proc | grep -c "^[0-9]"')" -ge 3 ]
  bundle four true
  path four ipc "/proc/$(cat "$WORK/one.pid")/ns/ipc"
  path four network "/proc/$(cat "$WORK/two.pid")/ns/net"
  run create four
  [ "$status" = 1 ]
  [[ "$output" == *"linux.namespaces: ipc: /proc/"*"but the others are of pod two"* ]]
  annotate four $CRIO_ID two
  run create four
  [[ "$output" == *"linux.namespaces: ipc: /proc/"*"but the others are of pod two"* ]]
  bundle five true
  path five cgroup "/proc/$(cat "$WORK/one.pid")/ns/cgroup"
  run create five
  [[ "$output" == *"linux.namespaces: cgroup: "*": joining that of container one is not supported"* ]]
  # the host's network is the proxy's alone
  bundle six sh -c 'ls /sys/class/net'
  path six network /proc/self/ns/net
  create six
  [ "$(pod_of six)" = six ]
  [ "$(ns six net)" = "$(readlink /proc/self/ns/net)" ]
  bulkhead start six
  within ended six
  grep -qx lo "$WORK/six.out" || { cat "$WORK/six.out" "$WORK/six.err"; return 1; }
}

@test "containers are created in parallel in one pod, and a create that is killed leaves nothing" {
  sandbox box
  for i in 1 2 3 4 5 6; do
    member "c$i" box sh -c "echo $i"
  done
  for i in 1 2 3 4 5 6; do
    begin "c$i" &
    pids[i]=$!
  done
  for i in 1 2 3 4 5 6; do
    wait "${pids[i]}"
  done
  for i in 1 2 3 4 5 6; do
    within ended "c$i"
    [ "$(cat "$WORK/c$i.out")" = "$i" ]
    bulkhead delete "c$i" &
    pids[i]=$!
  done
  for i in 1 2 3 4 5 6; do
    wait "${pids[i]}"
  done
  [ "$(bulkhead list --quiet)" = box ]
  for delay in 0.02 0.05 0.1; do
    "$BULKHEAD" --root "$STATE" create --bundle "$WORK/c1" c1 > /dev/null 2>&1 < /dev/null &
    sleep $delay
    kill -9 $! 2> /dev/null || true
    wait $! || true
    bulkhead delete --force c1
  done
  is box running
}

# anonymous PID: KiB that are the process's own; the guest's RAM is not
anonymous() {
  awk '$1 == "Anonymous:" { print $2 }' "/proc/$1/smaps_rollup"
}

# host_program NAME: the pid of bulkhead-NAME below the pod's supervisor
host_program() {
  pgrep -P "$(pgrep -f -- "--root=$STATE .*supervisor --memory-bytes")" -x "bulkhead-$1"
}

measure() { # supervisor, vmm, fs, agent: KiB; descriptors of fs
  echo "$(anonymous "$(pgrep -f -- "--root=$STATE .*supervisor --memory-bytes")")" \
    "$(anonymous "$(host_program vmm)")" "$(anonymous "$(host_program fs)")" \
    "$(bulkhead exec box awk '$1 == "VmRSS:" { print $2 }' /proc/1/status)" \
    "$(ls "/proc/$(host_program fs)/fd" | wc -l)"
}

round() { # N: that many containers at once, which run, end and are deleted
  local i
  for i in $(seq "$1"); do
    cp "$WORK/member/config.json" "$WORK/bundle$i/config.json"
    bulkhead run --bundle "$WORK/bundle$i" --detach --pid-file "$WORK/m$i.pid" "m$i" > "$WORK/m$i.out" 2>&1 < /dev/null
  done
  [ "$(bulkhead list --quiet | grep -c '^m')" = "$1" ]
  for i in $(seq "$1"); do
    bulkhead kill "m$i" KILL
    bulkhead delete --force "m$i"
  done
}

@test "many containers in a pod, twice: nothing grows, and nothing of the host is held" {
  case ${MODE:-dev} in asan | tsan) skip "a sanitizer keeps what is freed" ;; esac
  n=${BULKHEAD_POD_CONTAINERS:-4}
  bundle box sleep 100000
  # with the guest's pids, to look at the agent
  bundle_edit "$WORK/box" 'c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "pid"]'
  annotate box $CRI_TYPE sandbox $CRI_ID box
  bulkhead --memory 256 create --bundle "$WORK/box" --pid-file "$WORK/box.pid" box > /dev/null 2>&1 < /dev/null
  bulkhead start box
  member member box sh -c 'cat /etc/group /etc/passwd 2> /dev/null; echo here; sleep 100000'
  for i in $(seq "$n"); do
    mkdir "$WORK/bundle$i"
    cp -a "$WORK/member/rootfs" "$WORK/bundle$i/rootfs"
  done
  round "$n" # caches fill
  round "$n"
  first=$(measure)
  round "$n"
  second=$(measure)
  echo "KiB of supervisor, vmm, fs, agent; descriptors of fs: $first, then $second"
  [ -z "${BULKHEAD_POD_CONTAINERS:-}" ] || echo "# $first -> $second" >&3
  # 5 %, and a few pages for what is small
  python3 -c 'import sys
a, b = ([int(x) for x in s.split()] for s in sys.argv[1:])
assert all(y <= x * 1.05 + 64 for x, y in zip(a[:4], b[:4])), (a, b)
assert b[4] <= a[4], (a, b)' "$first" "$second"
}

# SPDX-License-Identifier: Apache-2.0
# The pod's processes in a cgroup of the host: on the hierarchies that this machine really has.
load ../cli/helper

# dir_of CONTROLLER: where its hierarchy is mounted; fails if there is none that can be written
dir_of() {
  python3 - "$1" << 'P'
import os, sys
for line in open("/proc/self/mountinfo"):
    left, right = line.split(" - ")
    mount, (kind, _, options) = left.split()[4], right.split()[:3]
    if kind == "cgroup" and sys.argv[1] in options.split(",") or \
       kind == "cgroup2" and sys.argv[1] in open(mount + "/cgroup.controllers").read().split():
        print(mount)
        try:
            os.mkdir(mount + "/bulkhead-probe-%d" % os.getpid())
            os.rmdir(mount + "/bulkhead-probe-%d" % os.getpid())
        except OSError: sys.exit(1)
        sys.exit(0)
sys.exit(1)
P
}

# A place for this test, below a hierarchy with the cpu controller; or the test has nothing to look at here.
begin() {
  CPU=$(dir_of cpu) || { echo "# no cpu controller that can be written: nothing to test" >&3; return 1; }
  [ "$(id -u)" = 0 ] || return 1
  # In v2 a group with processes hands on no controllers, save the root of all.
  if [ -e "$CPU/cgroup.type" ] && [ -n "$(cat "$CPU/cgroup.procs")" ]; then
    echo "# the cpu controller cannot be handed on: nothing to test" >&3
    return 1
  fi
  GROUP=/bulkhead-test.${WORK##*.}/$BATS_TEST_NUMBER
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = sys.argv[3]' "$GROUP"
  bundle_args "$BUNDLE" "$@"
}

# resources JSON
resources() {
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = dict({"devices": [{"allow": False, "access": "rwm"}]}, **json.loads(sys.argv[3]))' "$1"
}

# members FILE: how many lines
members() {
  wc -l < "$1" 2> /dev/null || echo 0
}

has_members() {
  [ "$(members "$1")" = "$2" ]
}

vcpu_threads() {
  if [ -e "$CPU$GROUP/vcpus/cgroup.threads" ]; then echo "$CPU$GROUP/vcpus/cgroup.threads"; else echo "$CPU$GROUP/vcpus/tasks"; fi
}

quota() { # "QUOTA PERIOD", in both layouts; no quota is max
  if [ -e "$CPU$GROUP/vcpus/cpu.max" ]; then cat "$CPU$GROUP/vcpus/cpu.max"; else
    echo "$(cat "$CPU$GROUP/vcpus/cpu.cfs_quota_us") $(cat "$CPU$GROUP/vcpus/cpu.cfs_period_us")"
  fi | sed 's/^-1 /max /'
}

# minute COMMAND...: true within a minute
minute() {
  for _ in $(seq 600); do
    "$@" && return 0
    sleep 0.1
  done
  echo "not within a minute: $*"
  return 1
}

# nowhere: no hierarchy has the group
nowhere() {
  local dirs
  dirs=$(awk '$0 ~ / - cgroup2? / { print $5 }' /proc/self/mountinfo | sort -u | sed "s|\$|$GROUP|")
  # shellcheck disable=SC2086
  ! ls -d $dirs 2> /dev/null
}

teardown() {
  "$BULKHEAD" --root "$STATE" list --quiet 2> /dev/null | while read -r id; do
    timeout 120 "$BULKHEAD" --root "$STATE" delete --force "$id" || true
  done
  left=$(pods_left "$STATE")
  awk '$0 ~ / - cgroup2? / { print $5 }' /proc/self/mountinfo | sort -u | sed "s|\$|/bulkhead-test.${WORK##*.}|" | xargs -r rmdir 2> /dev/null || true
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

@test "all processes of a pod are in its group, the vCPUs under the quota, and an update changes that" {
  begin sleep 1000 || return 0
  resources '{"cpu": {"quota": 50000, "period": 100000, "shares": 512}}'
  bulkhead --vcpus 2 run --detach --bundle "$BUNDLE" --pid-file "$WORK/pid" one < /dev/null > "$WORK/out" 2>&1
  minute has_members "$(vcpu_threads)" 2
  grep -q "$GROUP\$" "/proc/$(cat "$WORK/pid")/cgroup"
  # Supervisor, VMM, file server, proxy.
  has_members "$CPU$GROUP/cgroup.procs" 4
  [ "$(quota)" = "50000 100000" ]
  # A process added to the container, in the background, has a proxy that belongs there too.
  bulkhead exec --detach --pid-file "$WORK/pid2" one sleep 1000 < /dev/null > "$WORK/out" 2>&1
  grep -q "$GROUP\$" "/proc/$(cat "$WORK/pid2")/cgroup"
  has_members "$CPU$GROUP/cgroup.procs" 5
  bulkhead update --cpu-quota 20000 one
  [ "$(quota)" = "20000 100000" ]
  bulkhead update --cpu-quota -1 one
  [ "$(quota)" = "max 100000" ]
  bulkhead delete --force one
  nowhere
}

@test "a container in another's pod has its proxy at its own path, or with the pod" {
  begin sleep 1000 || return 0
  cp -r "$BUNDLE" "$WORK/two"
  bundle_edit "$WORK/two" 'c["linux"]["cgroupsPath"] += "-two"; c.setdefault("annotations", {}).update({"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "one"})'
  cp -r "$WORK/two" "$WORK/three"
  bundle_edit "$WORK/three" 'del c["linux"]["cgroupsPath"]'
  bulkhead run --detach --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1
  for id in two three; do
    bulkhead run --detach --bundle "$WORK/$id" --pid-file "$WORK/pid-$id" $id < /dev/null > "$WORK/out" 2>&1
  done
  grep -q "$GROUP-two\$" "/proc/$(cat "$WORK/pid-two")/cgroup"
  grep -q "$GROUP\$" "/proc/$(cat "$WORK/pid-three")/cgroup"
  has_members "$CPU$GROUP-two/cgroup.procs" 1
  [ ! -e "$CPU$GROUP-two/vcpus" ]
  bulkhead delete --force two
  [ ! -e "$CPU$GROUP-two" ]
  has_members "$CPU$GROUP/cgroup.procs" 5
  bulkhead delete --force three
  bulkhead delete --force one
  nowhere
}

@test "a guest that is throttled to 5 % does not throttle the supervisor" {
  begin sh -c 'while :; do :; done' || return 0
  bulkhead run --detach --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1
  minute has_members "$(vcpu_threads)" 1
  # On the host alone: in the guest the same quota would see to it that there is nothing left to throttle.
  if [ -e "$CPU$GROUP/vcpus/cpu.max" ]; then echo 5000 > "$CPU$GROUP/vcpus/cpu.max"; else echo 5000 > "$CPU$GROUP/vcpus/cpu.cfs_quota_us"; fi
  [ "$(quota)" = "5000 100000" ]
  python3 - "$CPU$GROUP/vcpus" "$BULKHEAD" --root "$STATE" state one << 'P' >&3
import os, subprocess, sys, time
def used(): # seconds
    if os.path.exists(sys.argv[1] + "/cpu.max"): return int(dict(l.split() for l in open(sys.argv[1] + "/cpu.stat"))["usage_usec"]) / 1e6
    # v1 counts in another hierarchy: by the threads themselves
    def of(tid):
        try: return int(open("/proc/%s/schedstat" % tid).read().split()[0]) / 1e9
        except OSError: return sum(map(int, open("/proc/%s/stat" % tid).read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return sum(map(of, open(sys.argv[1] + "/tasks").read().split()))
took, u0, t0 = [], used(), time.time()
while len(took) < 40:
    t = time.time()
    assert b"running" in subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, check=True).stdout
    took.append(time.time() - t)
    time.sleep(0.05)
print("# vCPU used %.1f %% of a processor (quota 5 %%); state took %.0f ms, at most %.0f ms" %
      (100 * (used() - u0) / (time.time() - t0), 1000 * sorted(took)[20], 1000 * max(took)))
P
  minute grep -q '^nr_throttled [1-9]' "$CPU$GROUP/vcpus/cpu.stat"
  bulkhead delete --force one
  nowhere
}

@test "whatever is killed, delete --force leaves nothing" {
  begin sleep 1000 || return 0
  bulkhead run --detach --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1
  # shellcheck disable=SC2046
  kill -KILL $(head -n 1 "$CPU$GROUP/cgroup.procs")
  bulkhead delete --force one
  nowhere
  [ -z "$(bulkhead list -q)" ]
  # A create that is killed half-way: the supervisor cleans up, and is in the group itself.
  "$BULKHEAD" --root "$STATE" --hypervisor soft create --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1 3>&- &
  minute test -e "$CPU$GROUP/cgroup.procs"
  kill -KILL $!
  wait $! || true
  [ -z "$(bulkhead list -q)" ] || bulkhead delete --force one # it was quicker
  minute nowhere
}

@test "a run in the foreground, and a create that fails, leave no group" {
  begin true || return 0
  bulkhead run --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1
  nowhere
  bundle_args "$BUNDLE" /no/such/program
  ! bulkhead create --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1
  nowhere
}

@test "a place that is somebody's is refused, and left alone" {
  begin true || return 0
  mkdir -p "$CPU$GROUP"
  sleep 1000 3>&- &
  echo $! > "$CPU$GROUP/cgroup.procs"
  refused 1 "container's cgroup is not empty: 1 process(es) found in $CPU$GROUP" run --bundle "$BUNDLE" one
  [ "$(cat "$CPU$GROUP/cgroup.procs")" = $! ]
  # Not asked to place anything, it does not look.
  bulkhead --cgroup-manager disabled run --bundle "$BUNDLE" one < /dev/null
  kill $!
  wait $! || true
  minute rmdir "$CPU$GROUP"
}

@test "a path that leaves its place is refused; without a path there is a group by the id" {
  begin sleep 1000 || return 0
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = "/a/../b"'
  refused 1 'linux.cgroupsPath: "/a/../b" is not a path of a group' run --bundle "$BUNDLE" one
  bundle_edit "$BUNDLE" 'del c["linux"]["cgroupsPath"]'
  id=one-${WORK##*.}
  bulkhead run --detach --bundle "$BUNDLE" --pid-file "$WORK/pid" "$id" < /dev/null > "$WORK/out" 2>&1
  grep -q "/$id\$" "/proc/$(cat "$WORK/pid")/cgroup"
  GROUP=/$id
  bulkhead delete --force "$id"
  nowhere
}

@test "read-only cgroups, and none at all: no error, unless a place is asked for" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" true
  [ "$(id -u)" = 0 ] || return 0
  [ -n "$(awk '/ - cgroup2? /' /proc/self/mountinfo)" ] || { echo "# no cgroups: nothing to take away" >&3; return 0; }
  cp -r "$BUNDLE" "$WORK/placed"
  bundle_edit "$WORK/placed" 'c["linux"]["cgroupsPath"] = "/bulkhead-test/x"'
  local ro='awk "/ - cgroup2? / { print \$5 }" /proc/self/mountinfo | sort -r | while read -r m; do mount -o remount,bind,ro "$m" || exit 77; done || exit 77'
  local none='awk "/ - cgroup2? / { print \$5 }" /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m" || exit 77; done || exit 77'
  local bh="timeout 120 $BULKHEAD --root $STATE --hypervisor soft"
  for how in ro none; do
    rc=0
    unshare -m --propagation private sh -c "${!how}; $bh run --bundle $BUNDLE one; echo rc \$?; $bh check; $bh run --bundle $WORK/placed one" > "$WORK/out" 2> "$WORK/err" < /dev/null || rc=$?
    [ $rc != 77 ] || { echo "# not to be had here: $how" >&3; continue; }
    grep -qx "rc 0" "$WORK/out" || { cat "$WORK/out" "$WORK/err"; return 1; }
    grep -q "^cgroups  *no .*: not used" "$WORK/out" || { cat "$WORK/out"; return 1; }
    if [ $how = ro ]; then want="linux.cgroupsPath: mkdir .*/bulkhead-test/x: read-only file system"; else want="linux.cgroupsPath: cgroup mountpoint does not exist"; fi
    grep -q "$want" "$WORK/err" || { cat "$WORK/err"; return 1; }
  done
}

@test "v2: the same on the kernel of a guest, where this machine has v1" {
  unit=${O:-$BATS_TEST_DIRNAME/../../build/${MODE:-dev}}/tests/unit
  [ -x "$unit/test_runtime_host_cgroup" ] || { echo "# $unit is not built: nothing to run" >&3; return 0; }
  case ${MODE:-dev} in dev | rel) ;; *) echo "# a program with a sanitizer does not run in a guest" >&3; return 0 ;; esac
  bundle_busybox "$BUNDLE"
  # The host's own libraries, as volumes. No cgroup namespace, and all rights on the guest's hierarchy.
  bundle_edit "$BUNDLE" 'import os
c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "cgroup"]
for m in c["mounts"]:
    if m["destination"] == "/sys/fs/cgroup": m["options"] = [o for o in m["options"] if o != "ro"]
for k in c["process"]["capabilities"]: c["process"]["capabilities"][k] = sorted(set(c["process"]["capabilities"][k] + ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_KILL"]))
c["root"]["readonly"] = False
for d in ["/usr", "/lib", "/lib64"]: c["mounts"].append({"destination": d, "type": "bind", "source": os.path.realpath(d), "options": ["rbind", "ro"]})
c["mounts"].append({"destination": "/unit", "type": "bind", "source": os.path.abspath(sys.argv[3]), "options": ["bind", "ro"]})' "$unit"
  # What has processes hands nothing on: out of the way first.
  bundle_args "$BUNDLE" sh -c 'mkdir /sys/fs/cgroup/us; echo $$ > /sys/fs/cgroup/us/cgroup.procs; exec /unit/test_runtime_host_cgroup real_hierarchies'
  bulkhead run --bundle "$BUNDLE" one < /dev/null > "$WORK/out" 2>&1 || { cat "$WORK/out"; return 1; }
  grep -q "^# a pod's group was made on the real v2" "$WORK/out" || { cat "$WORK/out"; return 1; }
}

@test "systemd: a scope of its own, its quota on the vCPUs alone, and its end" {
  manager=${O:-$BATS_TEST_DIRNAME/../../build/${MODE:-dev}}/tests/unit/test_runtime_systemd
  [ -x "$manager" ] || { echo "# $manager is not built: nothing to talk to" >&3; return 0; }
  begin sleep 1000 || return 0
  slice=bulkheadtest${WORK##*.}
  GROUP=/$slice.slice/p-one.scope
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = sys.argv[3]; c.setdefault("annotations", {})["org.systemd.property.TimeoutStopUSec"] = "uint64 5000000"' "$slice.slice:p:one"
  resources '{"cpu": {"quota": 50000, "period": 100000, "shares": 1024}, "memory": {"limit": 67108864}}'
  mkfifo "$WORK/stop"
  "$manager" "$WORK/bus" "$WORK/calls" "$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)" < "$WORK/stop" 3>&- &
  exec 8> "$WORK/stop"
  minute test -S "$WORK/bus"
  export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/bus
  bulkhead --systemd-cgroup run --detach --bundle "$BUNDLE" --pid-file "$WORK/pid" one < /dev/null > "$WORK/out" 2>&1
  minute has_members "$(vcpu_threads)" 1
  supervisor=$(sed -n 's/^PIDs au //p' "$WORK/calls")
  grep -q "$GROUP\$" "/proc/$supervisor/cgroup"
  grep -q "$GROUP\$" "/proc/$(cat "$WORK/pid")/cgroup"
  [ "$(quota)" = "50000 100000" ]
  for line in "StartTransientUnit p-one.scope replace" "Slice s $slice.slice" "Delegate b 1" "CPUWeight t 100" "TasksMax t 4096" \
    "TimeoutStopUSec t 5000000"; do
    grep -qxF "$line" "$WORK/calls" || { echo "not called: $line"; cat "$WORK/calls"; return 1; }
  done
  [ "$(sed -n 's/^MemoryMax t //p' "$WORK/calls")" -gt 268435456 ] # the limit, the guest's own, and what its programs need
  bulkhead update --cpu-quota 30000 --cpu-share 2 one
  [ "$(quota)" = "30000 100000" ]
  grep -qxF "SetUnitProperties p-one.scope 1" "$WORK/calls"
  grep -qxF "CPUWeight t 1" "$WORK/calls"
  bulkhead delete --force one
  grep -qxF "StopUnit p-one.scope" "$WORK/calls"
  nowhere
  # What systemd refuses is an error that says so, and makes no container.
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = sys.argv[3]' "$slice.slice:p:refused"
  refused 1 'systemd refused StartTransientUnit: Unit p-refused.scope was already loaded.' --systemd-cgroup run --bundle "$BUNDLE" one
  exec 8>&-
  wait
  awk '$0 ~ / - cgroup2? / { print $5 }' /proc/self/mountinfo | sort -u | sed "s|\$|/$slice.slice|" | xargs -r rmdir 2> /dev/null || true
}

@test "systemd: no bus, and a path of another form, are told" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" true
  export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/no-bus
  refused 1 '--systemd-cgroup: the system bus: no such file or directory' --systemd-cgroup run --bundle "$BUNDLE" one
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = "/a/b"'
  refused 1 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead' --systemd-cgroup run --bundle "$BUNDLE" one
  bundle_edit "$BUNDLE" 'c["linux"]["cgroupsPath"] = "sys:a:b"'
  refused 1 'linux.cgroupsPath: "sys" is not the name of a slice' --cgroup-manager systemd run --bundle "$BUNDLE" one
  refused 1 'unknown cgroup manager "files" (cgroupfs, systemd or disabled)' --cgroup-manager files run --bundle "$BUNDLE" one
}

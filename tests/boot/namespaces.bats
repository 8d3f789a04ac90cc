# SPDX-License-Identifier: Apache-2.0
# User and time namespaces, the container's own names and kernel settings, as processes in real pods see them.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
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

# userns BUNDLE: ids 0..65535 of the container are 100000..165535 of the guest and the host
userns() {
  bundle_edit "$1" 'c["linux"]["namespaces"].append({"type": "user"}); m = [{"containerID": 0, "hostID": 100000, "size": 65536}]; c["linux"]["uidMappings"] = m; c["linux"]["gidMappings"] = m'
  chown -Rh 100000:100000 "$1/rootfs"
}

# refused TEXT: create fails and says TEXT; nothing stays
refused() {
  local rc=0
  pod create --bundle "$BUNDLE" refused > "$WORK/out" 2> "$WORK/err" < /dev/null || rc=$?
  cat "$WORK/err"
  [ "$rc" = 1 ]
  grep -qF -- "$1" "$WORK/err"
}

@test "user namespace: maps, root, mounts, devices, streams, files, exec" {
  userns "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False; c["hostname"] = "mapped"; c["process"]["user"] = {"uid": 1, "gid": 2, "additionalGids": [3]}; c["process"]["oomScoreAdj"] = 77; c["linux"]["devices"] = [{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2}]; c["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}); c["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "81", "kernel.msgmax": "4444"}'
  mkdir "$BUNDLE/rootfs/mine"
  chown 100001:100002 "$BUNDLE/rootfs/mine"
  bundle_args "$BUNDLE" sh -c 'cat /proc/self/uid_map /proc/self/gid_map; id -u; id -G; hostname; stat -c "%u:%g" /bin/busybox /proc/1 /tmp /dev/pts/ptmx
    stat -c "%t:%T %a %u:%g" /dev/extra /dev/null; echo x > /dev/null && echo null; head -c 4 /dev/zero | wc -c; echo x > /dev/extra && echo extra
    echo again > /dev/stdout; cat /proc/self/oom_score_adj; echo made > /mine/file; touch /tmp/there && echo tmp; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; sleep 10000' 
  pod run --detach --bundle "$BUNDLE" one > "$WORK/out" 2>&1 < /dev/null || { cat "$WORK/out"; false; }
  for _ in $(seq 600); do grep -q 4444 "$WORK/out" && break; sleep 0.1; done
  cat "$WORK/out"
  tr -s ' ' < "$WORK/out" | sed 's/^ //' > "$WORK/got"
  printf '%s\n' '0 100000 65536' '0 100000 65536' 1 '2 3' mapped 0:0 1:2 0:0 0:0 '1:3 640 1:2' '1:3 666 0:0' null 4 extra again 77 tmp 81 4444 > "$WORK/want"
  diff "$WORK/want" "$WORK/got"
  [ "$(stat -c %u:%g "$BUNDLE/rootfs/mine/file")" = 100001:100002 ]
  pod exec -u 0:0 one sh -c 'cat /proc/self/uid_map | tr -s " "; id -u; echo via > /dev/stdout; touch /by-root && echo touched' > "$WORK/out"
  cat "$WORK/out"
  printf ' 0 100000 65536\n0\nvia\ntouched\n' | diff - "$WORK/out"
  [ "$(stat -c %u:%g "$BUNDLE/rootfs/by-root")" = 100000:100000 ]
  pod delete --force one
}

@test "user namespace: what has no id, or no maps, is refused by its field" {
  userns "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["process"]["user"] = {"uid": 70000, "gid": 0}'
  refused 'process.user.uid: 70000 has no id'
  bundle_edit "$BUNDLE" 'c["process"]["user"] = {"uid": 0, "gid": 70000}'
  refused 'process.user.gid: setresgid: invalid argument'
  bundle_edit "$BUNDLE" 'c["process"]["user"] = {"uid": 0, "gid": 0}; c["linux"]["devices"] = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": 70000}]'
  refused 'linux.devices: /dev/x: 70000 has no id'
  bundle_edit "$BUNDLE" 'c["linux"]["devices"] = []; c["linux"]["gidMappings"] = []'
  refused 'linux.gidMappings: none for the container'
  bundle_edit "$BUNDLE" 'c["linux"]["gidMappings"] = [{"containerID": 1, "hostID": 5, "size": 5}]'
  refused 'linux.gidMappings: none for the container'
}

@test "user namespace: the cgroup is the user's to divide, its limits are not" {
  userns "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["mounts"] = [m for m in c["mounts"] if m["type"] != "cgroup"] + [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "nosuid", "noexec", "nodev"]}]'
  bundle_args "$BUNDLE" sh -c 'stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory.max; mkdir /sys/fs/cgroup/below && echo $$ > /sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup; echo max > /sys/fs/cgroup/memory.max || echo kept'
  pod run --bundle "$BUNDLE" one > "$WORK/out" 2> /dev/null < /dev/null
  printf '%s\n' 0 0 65534 0::/below kept | diff - "$WORK/out"
}

@test "time namespace: offsets of both clocks, and exec joins it" {
  bundle_edit "$BUNDLE" 'c["linux"]["namespaces"].append({"type": "time"}); c["linux"]["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": 864000}}'
  bundle_args "$BUNDLE" sh -c 'cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; sleep 10000'
  pod run --detach --bundle "$BUNDLE" one > "$WORK/out" 2>&1 < /dev/null
  for _ in $(seq 600); do [ "$(wc -l < "$WORK/out")" = 3 ] && break; sleep 0.1; done
  cat "$WORK/out"
  [ "$(head -n 2 "$WORK/out" | tr -s ' ' | tr '\n' ,)" = 'monotonic 86400 5,boottime 864000 0,' ]
  up=$(tail -n 1 "$WORK/out")
  [ "$up" -ge 864000 ] && [ "$up" -lt 900000 ]
  [ "$(pod exec one cut -d. -f1 /proc/uptime)" -ge "$up" ]
}

@test "time namespace in a user namespace" {
  userns "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["linux"]["namespaces"].append({"type": "time"}); c["linux"]["timeOffsets"] = {"boottime": {"secs": 864000}}'
  bundle_args "$BUNDLE" sh -c 'cut -d. -f1 /proc/uptime'
  [ "$(pod run --bundle "$BUNDLE" one)" -ge 864000 ]
  bundle_edit "$BUNDLE" 'c["linux"]["timeOffsets"] = {"boottime": {"secs": -864000}}'
  refused 'linux.timeOffsets: boottime: numerical result out of range'
}

@test "kernel settings: only those of a namespace, each checked" {
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"kernel.shmmni": "99", "kernel/msgmni": "98", "net.core.somaxconn": "97", "kernel.domainname": "there", "fs.mqueue.msg_max": "11"}'
  bundle_args "$BUNDLE" sh -c 'cd /proc/sys; cat kernel/shmmni kernel/msgmni net/core/somaxconn kernel/domainname fs/mqueue/msg_max'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf '99\n98\n97\nthere\n11\n' | diff - "$WORK/out"
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"vm.swappiness": "1"}'
  refused 'linux.sysctl: vm.swappiness: is not in a separate kernel namespace'
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"net/../vm/swappiness": "1"}'
  refused 'linux.sysctl: net/../vm/swappiness: not a name'
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"net.none": "1"}'
  refused 'linux.sysctl: net.none: no such file or directory'
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"kernel.hostname": "1"}'
  refused 'linux.sysctl: kernel.hostname: use hostname'
  bundle_edit "$BUNDLE" 'c["linux"]["sysctl"] = {"kernel.sem": "1"}; c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "ipc"]'
  refused 'linux.sysctl: kernel.sem: needs a container'
}

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
  pod run --detach --bundle "$BUNDLE" one > "$WORK/out" 2>&1 < /dev/null
  for _ in $(seq 600); do grep -q 4444 "$WORK/out" && break; sleep 0.1; done
  cat "$WORK/out"
  tr -s ' ' < "$WORK/out" | sed 's/^ //' > "$WORK/got"
  printf '%s\n' '0 100000 65536' '0 100000 65536' 1 '2 3' mapped 0:0 1:2 0:0 0:0 '1:3 640 1:2' '1:3 666 0:0' null 4 extra again 77 tmp 81 4444 > "$WORK/want"
  diff "$WORK/want" "$WORK/got"
  [ "$(stat -c %u:%g "$BUNDLE/rootfs/mine/file")" = 100001:100002 ]
  pod exec -u 0 one sh -c 'readlink /proc/1/ns/user | cmp - /proc/self/none 2> /dev/null; [ "$(readlink /proc/1/ns/user)" = "$(readlink /proc/self/ns/user)" ] && echo same; id -u; grep CapBnd /proc/self/status; echo via > /dev/stdout; touch /by-root && echo touched' > "$WORK/out"
  cat "$WORK/out"
  printf 'same\n0\n' > "$WORK/want"
  head -n 2 "$WORK/out" | diff "$WORK/want" -
  grep -qx via "$WORK/out"
  [ "$(stat -c %u:%g "$BUNDLE/rootfs/by-root")" = 100000:100000 ]
  pod delete --force one
}

# SPDX-License-Identifier: Apache-2.0
# Mounts of containers: options, copies, links, propagation; and bundles that try to get out or to wear the guest down.
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

# refused TEXT: create fails and says TEXT; nothing stays
refused() {
  local rc=0
  pod create --bundle "$BUNDLE" refused > "$WORK/out" 2> "$WORK/err" < /dev/null || rc=$?
  cut -c1-400 "$WORK/err"
  [ "$rc" = 1 ]
  grep -qF -- "$1" "$WORK/err"
  [ -z "$(pod list --quiet)" ]
}

# mount DESTINATION TYPE SOURCE OPTION...: one more mount
mount_add() {
  bundle_edit "$BUNDLE" 'c["mounts"].append({"destination": sys.argv[3], "type": sys.argv[4], "source": sys.argv[5], "options": sys.argv[6:]})' "$@"
}
mount_drop() {
  bundle_edit "$BUNDLE" 'c["mounts"].pop()'
}

@test "options of tmpfs and of bind mounts arrive as flags; what is below a bind mount has them by the r- forms only" {
  mkdir -p "$WORK/volume/sub" "$BUNDLE/rootfs"/{a,b,c,d,e}
  chmod 750 "$BUNDLE/rootfs/a"
  mount_add /a tmpfs tmpfs nosuid nodev noexec noatime size=64k
  mount_add /b tmpfs tmpfs mode=711 ro strictatime nosymfollow
  mount_add /c bind "$WORK/volume" rbind ro nosuid noexec nodiratime
  mount_add /d bind "$WORK/volume" rbind rro rnoatime
  mount_add /e bind "$WORK/volume" bind rw relatime
  mount_add /b tmpfs none remount rw nosuid
  bundle_args "$BUNDLE" sh -c 'stat -c %a /a /b; while read _ _ _ _ at flags _; do case $at in /[abcde]) echo $at $flags;; esac; done < /proc/self/mountinfo; touch /b/x && echo b; touch /c/x 2> /dev/null || echo c; touch /d/x 2> /dev/null || echo d; touch /e/x && echo e'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  cat "$WORK/out"
  cat > "$WORK/want" << 'W'
750
711
/a rw,nosuid,nodev,noexec,noatime
/b rw,nosuid,nosymfollow
/c ro,nosuid,noexec,nodiratime,relatime
/d ro,noatime
/e rw,relatime
b
c
d
e
W
  sort "$WORK/want" > "$WORK/want.sorted"
  sort "$WORK/out" | diff "$WORK/want.sorted" -
}

@test "tmpcopyup: contents, links, modes, owners and times; not for others" {
  mkdir -p "$BUNDLE/rootfs/data/deep/er"
  echo text > "$BUNDLE/rootfs/data/file"
  ln -s ../file "$BUNDLE/rootfs/data/deep/link"
  head -c 3000000 /dev/urandom > "$BUNDLE/rootfs/data/deep/er/big"
  mkfifo "$BUNDLE/rootfs/data/fifo"
  chmod 4751 "$BUNDLE/rootfs/data/file"
  chown 12:34 "$BUNDLE/rootfs/data/deep"
  touch -d @1000000000 "$BUNDLE/rootfs/data/file"
  mount_add /data tmpfs tmpfs tmpcopyup ro
  bundle_args "$BUNDLE" sh -c 'cd /data; cat file; readlink deep/link; md5sum < deep/er/big | cut -d" " -f1; stat -c "%a %Y" file; stat -c %u:%g deep; [ -p fifo ] && echo fifo; touch x 2> /dev/null || echo ro; grep " /data " /proc/mounts | cut -d" " -f1'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf '%s\n' text ../file "$(md5sum < "$BUNDLE/rootfs/data/deep/er/big" | cut -d' ' -f1)" '4751 1000000000' 12:34 fifo ro tmpfs | diff - "$WORK/out"
  mount_drop
  mount_add /data tmpfs tmpfs tmpcopyup size=1m
  refused 'mounts: /data: tmpcopyup: no space left on device'
  mount_drop
  mount_add /data mqueue mqueue tmpcopyup
  refused 'mounts: /data: tmpcopyup goes with tmpfs only'
}

@test "what the kernel does not know is refused in its words" {
  mount_add /a tmpfs tmpfs size=nonsense
  refused "mounts: /a: mounting tmpfs: tmpfs: Bad value for 'size'"
  mount_drop
  mount_add /a tmpfs tmpfs colour=blue
  refused "mounts: /a: mounting tmpfs: tmpfs: Unknown parameter 'colour'"
  mount_drop
  mount_add /a nonesuchfs none
  refused 'mounts: /a: mounting nonesuchfs: no such device'
}

@test "propagation of mounts and of the root" {
  local kinds='private slave shared unbindable'
  for k in $kinds; do mkdir "$BUNDLE/rootfs/$k"; mount_add /$k tmpfs tmpfs "r$k"; done
  bundle_edit "$BUNDLE" 'c["linux"]["rootfsPropagation"] = "rshared"; c["mounts"] = [m for m in c["mounts"] if m["destination"] in ("/proc", "/dev") or m["destination"][1:] in sys.argv[3:]]' $kinds
  bundle_args "$BUNDLE" sh -c 'while read _ _ _ _ at _ more; do case $at in / | /private | /slave | /shared | /unbindable) more=" $more"; echo $at ${more%% - *};; esac; done < /proc/self/mountinfo'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  cat "$WORK/out"
  grep -Eqx '/ shared:[0-9]+' "$WORK/out"
  [ "$(grep -c shared: "$WORK/out")" = 5 ] # the root's is recursive and last
  bundle_edit "$BUNDLE" 'c["linux"]["rootfsPropagation"] = "private"'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  cat "$WORK/out"
  grep -qx '/' "$WORK/out"
  grep -qx '/private' "$WORK/out"
  grep -Eqx '/shared shared:[0-9]+' "$WORK/out"
  grep -qx '/unbindable unbindable' "$WORK/out"
}

@test "links as source and as destination: copied, covered, followed inside the root" {
  ln -s nowhere "$WORK/dangling"
  mkdir "$WORK/volume"
  echo in > "$WORK/volume/file"
  ln -s /real "$BUNDLE/rootfs/alias"
  ln -s / "$BUNDLE/rootfs/up"
  mkdir "$BUNDLE/rootfs/real"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False'
  mount_add /copied bind "$WORK/dangling" bind copy-symlink
  mount_add /alias bind "$WORK/volume" bind
  mount_add /up/../../../../new/deep bind "$WORK/volume/file" bind
  bundle_args "$BUNDLE" sh -c 'readlink /copied; cat /real/file; cat /new/deep; grep -c " /real " /proc/mounts'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf '%s\n' nowhere in in 1 | diff - "$WORK/out"
  [ -e "$BUNDLE/rootfs/new/deep" ]
  ln -sfn elsewhere "$BUNDLE/rootfs/copied"
  refused 'mounts: /copied: copy-symlink: is there already, and is something else'
}

@test "links as source and as destination without following" {
  ln -s target "$WORK/link"
  ln -s original "$BUNDLE/rootfs/place"
  mount_add /place bind "$WORK/link" bind src-nofollow dest-nofollow
  bundle_args "$BUNDLE" sh -c 'readlink /place'
  [ "$(pod run --bundle "$BUNDLE" one)" = target ]
  [ "$(readlink "$BUNDLE/rootfs/place")" = original ]
}

@test "proc, sysfs and cgroup: with and without namespaces; a read-only /dev" {
  bundle_edit "$BUNDLE" 'c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] not in ("cgroup", "network")]; c["mounts"] = [m for m in c["mounts"] if m["destination"] != "/dev"] + [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "ro"]}]; c["linux"]["cgroupsPath"] = "/a/b"; c["mounts"] = sorted(c["mounts"], key=lambda m: m["destination"])'
  bundle_args "$BUNDLE" sh -c 'ls /sys/class/net | grep -x lo; cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -x -e cgroup.procs -e pids.max; echo $$ 2> /dev/null > /sys/fs/cgroup/cgroup.procs || echo ro; touch /dev/x 2> /dev/null || echo dev; echo x > /dev/null && echo null'
  pod --cgroup-manager disabled run --bundle "$BUNDLE" one > "$WORK/out"
  cat "$WORK/out"
  printf '%s\n' lo 0::/a/b cgroup.procs pids.max ro dev null > "$WORK/want"
  sed 's|^0::.*/a/b|0::/a/b|' "$WORK/out" | diff "$WORK/want" -
}

@test "masked and read-only paths: also through links, and never outside; a false /dev/null is not used" {
  mkdir "$BUNDLE/rootfs/secret"
  echo s > "$BUNDLE/rootfs/secret/file"
  ln -s ../../../../secret "$BUNDLE/rootfs/way"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False; c["linux"]["maskedPaths"] = ["/way", "/etc/word", "/none"]; c["linux"]["readonlyPaths"] = ["/tmp", "/none/either"]'
  echo w > "$BUNDLE/rootfs/etc/word"
  bundle_args "$BUNDLE" sh -c 'ls -A /secret | wc -l; wc -c < /etc/word; touch /tmp/x 2> /dev/null || echo ro'
  pod run --bundle "$BUNDLE" one > "$WORK/out"
  printf '%s\n' 0 0 ro | diff - "$WORK/out"
  bundle_edit "$BUNDLE" 'c["mounts"] = [m for m in c["mounts"] if not m["destination"].startswith("/dev")]'
  mkdir -p "$BUNDLE/rootfs/dev"
  ln -sf /etc/word "$BUNDLE/rootfs/dev/null"
  refused '/dev/null: is there already, and is something else'
}

@test "a proc, or part of it, that is something else is refused" {
  for at in /proc /up/proc /proc/sys/vm; do
    mount_add $at tmpfs tmpfs
    [ -e "$BUNDLE/rootfs/up" ] || ln -s / "$BUNDLE/rootfs/up"
    refused 'cannot be mounted because it is'
    mount_drop
  done
  mount_add /proc/uptime bind /etc/hostname bind
  bundle_args "$BUNDLE" cat /proc/uptime
  [ "$(pod run --bundle "$BUNDLE" one)" = "$(cat /etc/hostname)" ]
  rmdir "$BUNDLE/rootfs/proc"
  ln -s tmp "$BUNDLE/rootfs/proc"
  refused 'must be mounted on ordinary directory'
}

@test "id-mapped mounts: of a volume by the host, of a tmpfs in the guest" {
  mkdir "$WORK/volume"
  echo x > "$WORK/volume/file"
  chown -R 5:6 "$WORK/volume"
  bundle_edit "$BUNDLE" 'c["mounts"].append({"destination": "/v", "type": "bind", "source": sys.argv[3], "options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}], "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 100}]}); c["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 100}], "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 100}]}); c["process"]["user"] = {"uid": 1005, "gid": 2006}' "$WORK/volume"
  bundle_args "$BUNDLE" sh -c 'stat -c %u:%g /v/file /t; echo y > /v/new; stat -c %u:%g /v/new'
  run pod run --bundle "$BUNDLE" one
  echo "$output"
  if [[ "$output" == *"id mapping"*"not"* ]]; then
    echo "# the file system of $WORK has no id-mapped mounts" >&3
    return
  fi
  [ "$output" = $'1005:2006\n1000:2000\n1005:2006' ]
  [ "$(stat -c %u:%g "$WORK/volume/new")" = 5:6 ]
}

@test "ten thousand mounts, a long environment: an error or a container; then the next one runs" {
  bundle_edit "$BUNDLE" 'c["keep"] = c["mounts"]; c["mounts"] = c["mounts"] + [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}] * 10000'
  refused 'mounts'
  bundle_edit "$BUNDLE" 'c["mounts"] = c["keep"] + [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}] * 1000'
  bundle_args "$BUNDLE" sh -c 'grep -c " /tmp " /proc/mounts'
  [ "$(pod run --bundle "$BUNDLE" many)" = 1000 ]
  bundle_edit "$BUNDLE" 'c["mounts"] = c["keep"]; c["process"]["env"] = ["PATH=/bin", "LONG=" + "x" * 1000000]'
  run pod run --bundle "$BUNDLE" long
  echo "${output:0:300}"
  [ "$status" != 0 ]
  [[ "$output" == *"argument list too long"* ]]
  for id in $(pod list --quiet); do pod delete --force "$id"; done
  bundle_edit "$BUNDLE" 'c["process"]["env"] = ["PATH=/bin"] + ["V%d=%s" % (i, "x" * 1000) for i in range(1000)]'
  bundle_args "$BUNDLE" sh -c 'echo ${#V7}'
  [ "$(pod run --bundle "$BUNDLE" next)" = 1000 ]
}

@test "a link that changes while containers are created leads none of them out" {
  mkdir "$WORK/outside" "$BUNDLE/rootfs/outside"
  mount_add /race/deep/er tmpfs tmpfs
  mount_add /race/deep/er/est tmpfs tmpfs
  bundle_args "$BUNDLE" true
  python3 -c 'import itertools, os, shutil, sys
path, outside = sys.argv[1:]
for target in itertools.cycle(["/outside", outside, "../../outside"]):
    try:
        os.symlink(target, path)
        os.unlink(path)
        os.mkdir(path)
        shutil.rmtree(path)
    except OSError:
        os.unlink(path) if os.path.islink(path) else shutil.rmtree(path, ignore_errors=True)' "$BUNDLE/rootfs/race" "$WORK/outside" 3>&- &
  racer=$!
  for i in 1 2 3 4 5; do pod run --bundle "$BUNDLE" race$i || true; done
  kill $racer
  wait $racer || true
  rm -rf "$BUNDLE/rootfs/race"
  [ -z "$(ls -A "$WORK/outside")" ]
  [ -z "$(pod list --quiet)" ]
  pod run --bundle "$BUNDLE" after
}

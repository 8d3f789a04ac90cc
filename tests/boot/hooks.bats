# SPDX-License-Identifier: Apache-2.0
# Hooks: where they run, what they are told, and what their failure does.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  bundle_edit "$BUNDLE" 'c["root"]["readonly"] = False'
}

teardown() {
  for id in $(pod list --quiet); do pod delete --force "$id"; done
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

pod() {
  timeout 300 "$BULKHEAD" --root "$STATE" --hypervisor soft "$@"
}

# hook KIND SCRIPT [TIMEOUT]: adds a hook that runs SCRIPT by sh
hook() {
  bundle_edit "$BUNDLE" 'h = {"path": "/bin/sh", "args": ["sh", "-c", sys.argv[4]], "env": ["PATH=/bin:/usr/bin", "NAME=value"]}
if len(sys.argv) > 5: h["timeout"] = int(sys.argv[5])
c.setdefault("hooks", {}).setdefault(sys.argv[3], []).append(h)' "$@"
}

@test "startContainer: in the container, before its program, with the state on standard input" {
  bundle_edit "$BUNDLE" 'c["annotations"] = {"colour": "blue"}; c["hostname"] = "inside"'
  hook startContainer 'cat > /state; echo "$(tr "\\0" " " < /proc/$$/environ)$(hostname)" > /first; cat /proc/1/cmdline | tr "\0" " " > /before'
  hook startContainer 'cat /first > /second'
  bundle_args "$BUNDLE" cat /second
  pod create --bundle "$BUNDLE" one > /dev/null 2>&1 < /dev/null
  [ ! -e "$BUNDLE/rootfs/state" ]
  pod start one
  [ "$(cat "$BUNDLE/rootfs/second")" = "PATH=/bin:/usr/bin NAME=value inside" ]
  ! grep -q "cat /second" "$BUNDLE/rootfs/before"
  python3 - "$BUNDLE" << 'P'
import json, os, sys
s = json.load(open(sys.argv[1] + "/rootfs/state"))
assert s["id"] == "one" and s["status"] == "created" and s["pid"] == 1, s
assert s["bundle"] == os.path.realpath(sys.argv[1]) and s["annotations"] == {"colour": "blue"} and s["ociVersion"][0] == "1", s
P
}

@test "startContainer: a hook that fails, or takes too long, is an error of start, and the container stops" {
  hook startContainer 'echo no luck >&2; exit 3'
  bundle_args "$BUNDLE" touch /ran
  run pod run --bundle "$BUNDLE" one
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"startContainer hook #0: /bin/sh: exit status 3: no luck"* ]]
  bundle_edit "$BUNDLE" 'del c["hooks"]'
  hook startContainer 'sleep 1000' 1
  pod create --bundle "$BUNDLE" two > /dev/null 2>&1 < /dev/null
  run pod start two
  echo "$output"
  [ "$status" = 1 ]
  [[ "$output" == *"startContainer hook #0: /bin/sh: "*"timed out"* ]]
  for i in $(seq 60); do
    [[ "$(pod state two)" == *'"status": "stopped"'* ]] && break
    sleep 1
  done
  [[ "$(pod state two)" == *'"status": "stopped"'* ]]
  pod delete two
  [ ! -e "$BUNDLE/rootfs/ran" ]
}

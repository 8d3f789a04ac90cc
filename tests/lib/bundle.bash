# SPDX-License-Identifier: Apache-2.0
# Helpers of the bats files that boot pods. BULKHEAD_BIN names the programs' folder.
BULKHEAD_BIN=${BULKHEAD_BIN:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build/${MODE:-dev}/bin}
BULKHEAD=$BULKHEAD_BIN/bulkhead

# bundle_busybox DIR: a bundle with Debian's static busybox
bundle_busybox() {
  mkdir -p "$1"/rootfs/{bin,proc,sys,dev,tmp,etc,root}
  cp /bin/busybox "$1/rootfs/bin/busybox"
  /bin/busybox --list | python3 -c 'import os, sys
for name in sys.stdin.read().split():
    if name != "busybox": os.symlink("busybox", sys.argv[1] + "/" + name)' "$1/rootfs/bin"
  bundle_spec "$1"
}

# bundle_debian DIR: a bundle whose root is the cached Debian, shared by all tests: never write to it
bundle_debian() {
  mkdir -p "$1"
  bundle_spec "$1"
  bundle_edit "$1" 'c["root"] = {"path": sys.argv[3], "readonly": True}' "$(sh "$BATS_TEST_DIRNAME/../lib/debian-root.sh")"
}

bundle_spec() {
  (cd "$1" && "$BULKHEAD" spec)
  bundle_edit "$1" 'c["process"]["terminal"] = False'
}

# bundle_edit DIR PYTHON [ARG...]: runs PYTHON on the parsed config.json as c; ARGs are sys.argv[3:]
bundle_edit() {
  local dir=$1 code=$2
  shift 2
  python3 - "$dir/config.json" "$code" "$@" << 'P'
import json, sys
path, code = sys.argv[1:3]
c = json.load(open(path))
exec(code)
json.dump(c, open(path, "w"), indent=2)
P
}

# bundle_args DIR ARG...
bundle_args() {
  local dir=$1
  shift
  bundle_edit "$dir" 'c["process"]["args"] = sys.argv[3:]' "$@"
}

# pods_left ROOT: prints what a finished pod must not leave: processes with ROOT in their arguments, mounts, files
pods_left() {
  pgrep -af -- "$1" | grep -v pgrep || true
  grep -F "$1" /proc/self/mounts || true
  find "$1" -mindepth 2 2> /dev/null || true
}

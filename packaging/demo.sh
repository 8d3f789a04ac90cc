#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make demo` runs: an OCI bundle with Debian's static busybox as its root, in a pod of its own.
set -eu
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bundle/rootfs/bin" "$work/bundle/rootfs/proc" "$work/bundle/rootfs/sys" "$work/bundle/rootfs/dev"
cp /bin/busybox "$work/bundle/rootfs/bin/busybox"
for applet in sh uname cat hostname ps id free echo; do ln -s busybox "$work/bundle/rootfs/bin/$applet"; done
(cd "$work/bundle" && "$bin/bulkhead" spec)
python3 - "$work/bundle/config.json" <<'P'
import json, sys
path = sys.argv[1]
c = json.load(open(path))
c["process"]["terminal"] = False
c["process"]["args"] = ["/bin/sh", "-c",
  "echo \"Hello from $(hostname), pid $$, on $(uname -sr)\"; echo; cat /proc/cpuinfo | grep -m1 'model name'; free -m; echo; ps"]
c["hostname"] = "first-pod"
json.dump(c, open(path, "w"), indent=2)
P
echo "--- bulkhead run (the container's output follows)"
"$bin/bulkhead" --root "$work/state" --timings run --bundle "$work/bundle" demo

# SPDX-License-Identifier: Apache-2.0
# The host's configuration file: where it is, whose it is, what is wrong with it, and what it does not allow a bundle.
load helper

umask 022 # a configuration that others can write is refused

# config JSON: the configuration of this test
config() {
  printf '%s' "$1" > "$WORK/config.json"
  chmod 644 "$WORK/config.json"
  export BULKHEAD_CONFIG=$WORK/config.json
}

# refuses TEXT JSON: what create says of this configuration
refuses() {
  config "$2"
  refused 1 "$1" run --bundle "$BUNDLE" x
}

@test "a bad configuration is an error that names the file and the key" {
  bundle_busybox "$BUNDLE"
  while IFS='|' read -r json text; do
    refuses "$WORK/config.json: $text" "$json"
  done << 'T'
[]|expected an object
{"defaults": {"ram": 1}}|defaults.ram: unknown key
{"limits": {}}|limits: unknown key
{"defaults": []}|defaults: expected an object
{"defaults": {"hypervisor": "xen"}}|defaults.hypervisor: unknown value "xen"
{"defaults": {"kernel": "vmlinux"}}|defaults.kernel: "vmlinux" is not an absolute path
{"defaults": {"vcpus": 0}}|defaults.vcpus: must be greater than 0
{"maxima": {"vcpus": 9}}|maxima.vcpus: 9 is out of range (at most 8)
{"defaults": {"memory": "1.5G"}}|defaults.memory: "1.5G" is not a size
{"defaults": {"memory": 4096}}|defaults.memory: 4096 is out of range
{"defaults": {"vcpus": 2}, "maxima": {"vcpus": 1}}|defaults.vcpus is above maxima.vcpus
{"allow": {"vm": ["image"]}}|allow.vm[0]: unknown value "image"
{"allow": {"annotations": "all"}}|allow.annotations: expected an array
{"allow": {"kernelPaths": ["boot/"]}}|allow.kernelPaths[0]: "boot/" is not an absolute path
{"allow": {"kernelPaths": ["/boot/../"]}}|allow.kernelPaths[0]: "/boot/../" has a component
{"allow": {"kernelParameters": [1]}}|allow.kernelParameters[0]: expected a string
{} /* and no more|a comment without an end at offset 3
{} / {}|invalid character '/'
{|parse error
T
}

@test "the file that is asked for must be there, the usual one need not" {
  bundle_busybox "$BUNDLE"
  refused 1 "$WORK/none.json: no such file" --config "$WORK/none.json" run --bundle "$BUNDLE" x
  BULKHEAD_CONFIG=$WORK/none.json refused 1 "$WORK/none.json: no such file" run --bundle "$BUNDLE" x
  mkdir "$WORK/dir.json"
  refused 1 "$WORK/dir.json: not a regular file" --config "$WORK/dir.json" run --bundle "$BUNDLE" x
  mkfifo "$WORK/fifo.json"
  refused 1 "$WORK/fifo.json: not a regular file" --config "$WORK/fifo.json" run --bundle "$BUNDLE" x
}

@test "what others can write is refused" {
  bundle_busybox "$BUNDLE"
  config '{}'
  for mode in 666 664 622; do
    chmod $mode "$WORK/config.json"
    refused 1 "$WORK/config.json: others than its owner can write it (mode 0$mode)" run --bundle "$BUNDLE" x
  done
  chmod 600 "$WORK/config.json"
  mkdir "$WORK/config.json.d"
  chmod 777 "$WORK/config.json.d"
  refused 1 "$WORK/config.json.d: others than its owner can write it" run --bundle "$BUNDLE" x
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$WORK/config.json.d"
    chown 1234 "$WORK/config.json"
    refused 1 "$WORK/config.json: owned by user 1234, not by root" run --bundle "$BUNDLE" x
  fi
}

@test "drop-ins: sorted, a later key wins, lists are replaced, others are left out" {
  bundle_busybox "$BUNDLE"
  config '{"maxima": {"vcpus": 4}, "allow": {"vm": ["hwConfig.vcpus", "hwConfig.memory"]}} // the first'
  mkdir "$WORK/config.json.d"
  echo '/* 10 */ {"maxima": {"vcpus": 2}}' > "$WORK/config.json.d/10.json"
  echo '{"maxima": {"vcpus": 3}}' > "$WORK/config.json.d/20.json"
  echo 'not read' > "$WORK/config.json.d/30.json.bak"
  echo 'not read' > "$WORK/config.json.d/.40.json"
  bundle_edit "$BUNDLE" 'c["vm"] = {"hwConfig": {"vcpus": 5}}'
  refused 1 "vm.hwConfig.vcpus: 5 is more than maxima.vcpus (3) of $WORK/config.json" run --bundle "$BUNDLE" x
  echo '{"allow": {"vm": ["hwConfig.memory"]}}' > "$WORK/config.json.d/25.json"
  refused 1 "vm.hwConfig.vcpus: not allowed here: \"hwConfig.vcpus\" is not in allow.vm of $WORK/config.json" run --bundle "$BUNDLE" x
  echo '{"x": 1}' > "$WORK/config.json.d/50.json"
  refused 1 "$WORK/config.json.d/50.json: x: unknown key" run --bundle "$BUNDLE" x
}

@test "what a bundle asks for and may not have: the error names the path, and the key that would allow it" {
  bundle_busybox "$BUNDLE"
  mkdir "$WORK/kernels" "$WORK/other"
  cp /bin/busybox "$WORK/other/vmlinux"
  ln -s ../other/vmlinux "$WORK/kernels/link"
  config '{}'
  while IFS='|' read -r vm text; do
    bundle_edit "$BUNDLE" 'c["vm"] = json.loads(sys.argv[3].replace("WORK", sys.argv[4]))' "$vm" "$WORK"
    refused 1 "${text//WORK/$WORK}" run --bundle "$BUNDLE" x
  done << 'T'
{"kernel": {"path": "/boot/vmlinux"}}|config.json: vm.kernel.path: not allowed here: "kernel.path" is not in allow.vm of WORK/config.json
{"hypervisor": {"path": "/bin/sh"}}|config.json: vm.hypervisor.path: not allowed here: "hypervisor.path" is not in allow.vm
{"hypervisor": {"path": "/bin/sh", "parameters": ["-c"]}}|vm.hypervisor.parameters: not supported
{"image": {"path": "/image", "format": "raw"}}|vm.image: not supported
{"hwConfig": {"deviceTree": "/dt"}}|vm.hwConfig.deviceTree: not supported
{"hwconfig": {"dtdevs": ["/soc"]}}|vm.hwconfig.dtdevs: not supported
{"hwConfig": {"iomems": [{"firstGFN": 1}]}}|vm.hwConfig.iomems: not supported
{"hwConfig": {"irqs": [3]}}|vm.hwConfig.irqs: not supported
{"hwConfig": {"memory": 9000000000000000000}}|vm.hwConfig.memory: 9000000000000000000 is more than maxima.memory (
{"hwConfig": {"memory": 1048576}}|vm.hwConfig.memory: too little memory for a guest: 1048576 bytes (at least 48 MiB)
T
  config "{\"allow\": {\"vm\": [\"kernel.path\", \"kernel.initrd\"], \"kernelPaths\": [\"$WORK/kernels/\", \"$WORK/*.elf\"]}}"
  while IFS='|' read -r vm text; do
    bundle_edit "$BUNDLE" 'c["vm"] = json.loads(sys.argv[3].replace("WORK", sys.argv[4]))' "$vm" "$WORK"
    refused 1 "${text//WORK/$WORK}" run --bundle "$BUNDLE" x
  done << 'T'
{"kernel": {"path": "WORK/other/vmlinux"}}|vm.kernel.path: WORK/other/vmlinux: not there, or nothing in allow.kernelPaths of WORK/config.json matches it
{"kernel": {"path": "WORK/kernels/../other/vmlinux"}}|nothing in allow.kernelPaths
{"kernel": {"path": "WORK/kernels/link"}}|nothing in allow.kernelPaths
{"kernel": {"path": "WORK/kernels/none"}}|nothing in allow.kernelPaths
{"kernel": {"path": "WORK/other/x.elf"}}|nothing in allow.kernelPaths
T
  cp "$WORK/other/vmlinux" "$WORK/kernels/vmlinux"
  bundle_edit "$BUNDLE" 'c["vm"] = {"kernel": {"path": sys.argv[3], "initrd": sys.argv[3], "parameters": ["debug"]}}' "$WORK/kernels/vmlinux"
  refused 1 'vm.kernel.initrd: ' run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'del c["vm"]["kernel"]["initrd"]'
  refused 1 'vm.kernel.parameters[0]: not allowed here: "kernel.parameters" is not in allow.vm' run --bundle "$BUNDLE" x
}

@test "kernel parameters: no others' words, no quotes, none of ours" {
  bundle_busybox "$BUNDLE"
  cp /bin/busybox "$WORK/vmlinux"
  config "{\"allow\": {\"vm\": [\"kernel.path\", \"kernel.parameters\"], \"kernelPaths\": [\"$WORK/vmlinux\"], \"kernelParameters\": [\"*\"]}}"
  for p in init=/bin/sh rdinit=/x root=/dev/vda console=ttyS0 panic=0 mem=1G cgroup_disable=memory virtio_mmio.device=4K@0 quiet; do
    bundle_edit "$BUNDLE" 'c["vm"] = {"kernel": {"path": sys.argv[3], "parameters": ["loglevel=7", sys.argv[4]]}}' "$WORK/vmlinux" "$p"
    refused 1 "vm.kernel.parameters[1]: \"$p\" is not a bundle's to set" run --bundle "$BUNDLE" x
  done
  for p in 'a b' 'a"b' "a'b" -- '' 'a\b' $'a\tb' 'ä'; do
    bundle_edit "$BUNDLE" 'c["vm"] = {"kernel": {"path": sys.argv[3], "parameters": [sys.argv[4]]}}' "$WORK/vmlinux" "$p"
    refused 1 "is not a kernel parameter" run --bundle "$BUNDLE" x
  done
  bundle_edit "$BUNDLE" 'c["vm"]["kernel"]["parameters"] = ["a=" + "b" * 500] * 3'
  refused 1 "vm.kernel.parameters: longer than 1023 bytes together" run --bundle "$BUNDLE" x
  config "{\"allow\": {\"vm\": [\"kernel.path\", \"kernel.parameters\"], \"kernelPaths\": [\"$WORK/vmlinux\"], \"kernelParameters\": [\"loglevel=?\"]}}"
  bundle_edit "$BUNDLE" 'c["vm"]["kernel"]["parameters"] = ["loglevel=77"]'
  refused 1 "vm.kernel.parameters[0]: nothing in allow.kernelParameters of $WORK/config.json matches \"loglevel=77\"" run --bundle "$BUNDLE" x
}

@test "annotations: typed, allowed, and none unknown" {
  bundle_busybox "$BUNDLE"
  config '{"maxima": {"memory": "256Mi"}}'
  while IFS='|' read -r key value text; do
    bundle_edit "$BUNDLE" 'c["annotations"] = {sys.argv[3]: sys.argv[4], "org.other": "x"}' "$key" "$value"
    refused 1 "$text" run --bundle "$BUNDLE" x
  done << 'T'
io.bulkhead.vcpu|1|config.json: annotations["io.bulkhead.vcpu"]: unknown annotation
io.bulkhead.|1|annotations["io.bulkhead."]: unknown annotation
io.bulkhead.vcpus|two|annotations["io.bulkhead.vcpus"]: "two" is not a number
io.bulkhead.vcpus|0|annotations["io.bulkhead.vcpus"]: must be greater than 0
io.bulkhead.vcpus|9|annotations["io.bulkhead.vcpus"]: 9 is more than maxima.vcpus (8)
io.bulkhead.memory|much|annotations["io.bulkhead.memory"]: "much" is not a size such as 512Mi
io.bulkhead.memory|1Gi|annotations["io.bulkhead.memory"]: 1073741824 is more than maxima.memory (268435456)
io.bulkhead.hypervisor|soft|annotations["io.bulkhead.hypervisor"]: not allowed here: "io.bulkhead.hypervisor" is not in allow.annotations of
T
  config '{"allow": {"annotations": ["io.bulkhead.hypervisor"]}}'
  bundle_edit "$BUNDLE" 'c["annotations"] = {"io.bulkhead.hypervisor": "xen"}'
  refused 1 'annotations["io.bulkhead.hypervisor"]: unknown value "xen"' run --bundle "$BUNDLE" x
  bundle_edit "$BUNDLE" 'c["annotations"] = {"io.bulkhead.vcpus": "1"}'
  refused 1 'annotations["io.bulkhead.vcpus"]: not allowed here' run --bundle "$BUNDLE" x
}

@test "check says whether the configuration is good" {
  config '{"maxima": {"vcpus": 4}}'
  bulkhead check > "$WORK/out" || true
  grep -qE "^configuration +ok +$WORK/config.json" "$WORK/out"
  config '{"maxima": {"vcpus": 40}}'
  ! bulkhead check > "$WORK/out"
  grep -qE "^configuration +no +$WORK/config.json: maxima.vcpus: 40 is out of range" "$WORK/out"
}

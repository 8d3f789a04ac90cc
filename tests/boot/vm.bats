# SPDX-License-Identifier: Apache-2.0
# The vm object, annotations and the host's defaults reach the machine, each over what counts less.
load ../cli/helper

umask 022 # a configuration that others can write is refused

# sees [OPTION...] -- : prints the guest's RAM class in MiB (of MemTotal, rounded up to 64), and its processors
sees() {
  bundle_args "$BUNDLE" sh -c 'set -- $(grep MemTotal /proc/meminfo); echo $((($2 / 1024 + 63) / 64 * 64)) $(nproc)'
  bulkhead "$@" run --bundle "$BUNDLE" one < /dev/null
}

@test "option, annotation, vm object, resources, default: the first that is there" {
  bundle_busybox "$BUNDLE"
  echo '{"defaults": {"memory": "192Mi", "vcpus": 2}}' > "$WORK/config.json"
  export BULKHEAD_CONFIG=$WORK/config.json
  [ "$(sees)" = "192 2" ]
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": 250 << 20}, "cpu": {"quota": 300000, "period": 100000}}'
  [ "$(sees)" = "256 3" ]
  bundle_edit "$BUNDLE" 'c["vm"] = {"hwconfig": {"memory": 320 << 20, "vcpus": 1}}'
  [ "$(sees)" = "320 1" ]
  bundle_edit "$BUNDLE" 'c["annotations"] = {"io.bulkhead.memory": "448Mi", "io.bulkhead.vcpus": "4"}'
  [ "$(sees)" = "448 4" ]
  [ "$(sees --memory 128 --vcpus 2)" = "128 2" ]
}

@test "a missing dimension takes the default; a maximum cuts off what limits come to" {
  bundle_busybox "$BUNDLE"
  echo '{"maxima": {"memory": "128Mi", "vcpus": 2}}' > "$WORK/config.json"
  export BULKHEAD_CONFIG=$WORK/config.json
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"cpu": {"quota": 800000}}'
  [ "$(sees)" = "128 2" ]
  bundle_edit "$BUNDLE" 'c["linux"]["resources"] = {"memory": {"limit": 1 << 40}}'
  [ "$(sees)" = "128 1" ]
}

@test "kernel, initramfs, parameters and the VMM are those of the vm object, where it may say so" {
  kernel=$(realpath "${BULKHEAD_KERNEL:-$BULKHEAD_BIN/../share/bulkhead/vmlinux}")
  bundle_busybox "$BUNDLE"
  mkdir "$WORK/images"
  cp "$BULKHEAD_BIN/../share/bulkhead/initrd.cpio" "$WORK/images/initrd"
  printf '#!/bin/sh\necho "$@" > %s/vmm-args\nexec %s "$@"\n' "$WORK" "$BULKHEAD_BIN/bulkhead-vmm" > "$WORK/images/vmm"
  chmod +x "$WORK/images/vmm"
  cat > "$WORK/config.json" << C
{
  // all of it
  "allow": {
    "vm": ["kernel.path", "kernel.initrd", "kernel.parameters", "hypervisor.path"],
    "kernelPaths": ["$kernel"], "initrdPaths": ["$WORK/images/"], "hypervisorPaths": ["$WORK/images/v*"],
    "kernelParameters": ["loglevel=?", "x.*=*"] /* the second is the kernel's to ignore */
  }
}
C
  bundle_edit "$BUNDLE" 'c["vm"] = {"kernel": {"path": sys.argv[3], "initrd": sys.argv[4] + "/initrd", "parameters": ["loglevel=3", "x.y=1,2:z"]},
    "hypervisor": {"path": sys.argv[4] + "/vmm"}}' "$kernel" "$WORK/images"
  bundle_args "$BUNDLE" cat /proc/cmdline
  out=$(BULKHEAD_KERNEL='' bulkhead --config "$WORK/config.json" run --bundle "$BUNDLE" one < /dev/null)
  [[ "$out" == *" loglevel=3 x.y=1,2:z"* ]]
  grep -q -- "--name one" "$WORK/vmm-args"
}

@test "a container that joins a pod cannot choose its machine" {
  bundle_busybox "$BUNDLE"
  bundle_args "$BUNDLE" sleep 1000
  bundle_edit "$BUNDLE" 'c["annotations"] = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "one"}'
  bulkhead run --detach --bundle "$BUNDLE" one < /dev/null > /dev/null 2>&1
  bundle_edit "$BUNDLE" 'c["annotations"]["io.kubernetes.cri.container-type"] = "container"; c["vm"] = {"hwConfig": {"vcpus": 2}}'
  EXPECT_LIST=one
  refused 1 "config.json: vm: the container joins a pod whose machine is there" run --bundle "$BUNDLE" two
  bulkhead delete --force one
}

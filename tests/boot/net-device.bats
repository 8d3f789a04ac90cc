# SPDX-License-Identifier: Apache-2.0
# virtio-net with Linux as its driver, and nothing between the VMM and a tap: an interface plugged while the guest runs.
load ../cli/helper

plugged() {
  timeout 300 unshare -n python3 "$BATS_TEST_DIRNAME/../lib/net_vmm.py" "$BULKHEAD_BIN/bulkhead-vmm" \
    "$BULKHEAD_BIN/../share/bulkhead/vmlinux" "$1"
}

@test "an interface plugged into a running guest: ping, TCP both ways compared, its end is seen on both sides" {
  plugged 1
}

@test "the same with two pairs of queues" {
  plugged 2
}

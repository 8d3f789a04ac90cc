# SPDX-License-Identifier: Apache-2.0
# An egress policy around a Linux guest on a tap: one name and two ports allowed, everything else tried and refused.
load ../cli/helper

@test "egress: one name is allowed; other names, addresses, IPv6, DNS by other ways are refused, and the log tells" {
  timeout 300 unshare -n python3 "$BATS_TEST_DIRNAME/../lib/net_vmm.py" "$BULKHEAD_BIN/bulkhead-vmm" \
    "$BULKHEAD_BIN/../share/bulkhead/vmlinux" 1 egress
}

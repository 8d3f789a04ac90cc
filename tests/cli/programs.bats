# SPDX-License-Identifier: Apache-2.0
# bulkhead-vmm and bulkhead-fs by hand: help, and errors that say what to do.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
}

teardown() {
  rm -rf "$WORK"
}

@test "bulkhead-vmm and bulkhead-fs help" {
  "$BULKHEAD_BIN/bulkhead-vmm" --help | grep -q -- --kernel
  "$BULKHEAD_BIN/bulkhead-fs" --help | grep -q -- --share
}

refuses() { # WORDS COMMAND...: fails with one line that has WORDS
  local words=$1
  shift
  run "$@"
  echo "$output"
  [ "$status" = 1 ]
  [ "${#lines[@]}" = 1 ]
  [[ "$output" == *"$words"* ]]
}

@test "bulkhead-vmm refuses what cannot be" {
  local vmm=$BULKHEAD_BIN/bulkhead-vmm
  local kernel=$BULKHEAD_BIN/../share/bulkhead/vmlinux
  refuses "no kernel given" "$vmm"
  refuses "kernel /nowhere: no such file or directory" "$vmm" --kernel /nowhere
  refuses "not an ELF file" "$vmm" --kernel /etc/passwd
  refuses "--memory lots" "$vmm" --kernel "$kernel" --memory lots
  refuses "needs memory up to" "$vmm" --kernel "$kernel" --memory 8M
  refuses "from 1 to 8 are supported" "$vmm" --kernel "$kernel" --vcpus 9
  refuses "expected auto, mshv, kvm or soft" "$vmm" --kernel "$kernel" --hypervisor xen
  refuses "not supported yet" "$vmm" --kernel "$kernel" --hypervisor kvm
  head -c 2000000 "$kernel" > "$WORK/cut"
  refuses "guest kernel" "$vmm" --kernel "$WORK/cut"
}

@test "a guest that panics ends its VMM with a reason" {
  run timeout 60 "$BULKHEAD_BIN/bulkhead-vmm" --hypervisor soft --kernel "$BULKHEAD_BIN/../share/bulkhead/vmlinux" \
    --cmdline "console=hvc0 quiet panic=-1"
  [ "$status" = 1 ]
  [[ "$output" == *"Unable to mount root fs"* ]]
  [[ "$output" == *"the guest kernel panicked"* ]]
}

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints the table of docs/sizing.md: MemTotal of a guest, in KiB, by RAM and processors. Usage: calibrate-sizing.sh BIN
set -eu
BULKHEAD_BIN=$1 BATS_TEST_DIRNAME=$(dirname "$0")
. "$BATS_TEST_DIRNAME/../lib/bundle.bash"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/state"
bundle_busybox "$work/bundle"
bundle_args "$work/bundle" sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
echo '| RAM, MiB | 1 | 2 | 4 | 8 |'
echo '| --- | --- | --- | --- | --- |'
for ram in 48 64 80 96 128 192 256 512 1024 2048 4096; do
  row="| $ram |"
  for vcpus in 1 2 4 8; do
    row+=" $("$BULKHEAD" --root "$work/state" --hypervisor soft --memory $ram --vcpus $vcpus run --bundle "$work/bundle" calibrate < /dev/null) |"
  done
  echo "$row"
done

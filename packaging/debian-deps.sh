#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Debian packages that Bulkhead needs, by purpose.
#   debian-deps.sh check [build|test|demo|qemu]...   names what is missing; exit 1 if anything is
#   debian-deps.sh [install] [...]              installs it (root; `apt-get update` must have run)
set -eu

build="gcc make pkg-config libc6-dev libseccomp-dev libyajl-dev libcap-dev libsystemd-dev libfdt-dev
  libprotobuf-c-dev libmd-dev protobuf-c-compiler protobuf-compiler
  linux-source-6.12 bc bison cpio flex libelf-dev xz-utils"
demo="busybox-static python3-minimal"
test="bats busybox-static clang clang-format debootstrap libclang-rt-14-dev
  iproute2 libcmocka-dev libzydis-dev musl-tools perl procps python3 qemu-system-x86"
qemu="mmdebstrap debian-archive-keyring cpio"

action=install
case "${1:-}" in check | install) action=$1; shift ;; esac
[ $# -gt 0 ] || set -- build demo test
want=
for set in "$@"; do
  case $set in
  build) want="$want $build" ;;
  demo) want="$want $demo" ;;
  test) want="$want $test" ;;
  qemu) want="$want $qemu" ;;
  *) echo "debian-deps.sh: unknown set '$set' (build, demo, test, qemu)" >&2; exit 2 ;;
  esac
done

missing=
for p in $want; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$action" = check ]; then
  echo "missing packages:$missing" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "missing packages:$missing" >&2
  echo "install them with: sudo apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing

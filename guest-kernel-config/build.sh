#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the guest kernel from Debian's linux-source-6.12 (or the tree in KERNEL_SRC) and the fragments beside this file.
#   build.sh [-j N]     builds if needed; prints the path of vmlinux, cached by a hash of source version and fragments
#   build.sh --path     prints where it would be
#   build.sh --config   prints where the merged .config is
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}
tarball=/usr/src/linux-source-6.12.tar.xz
jobs=$(nproc)
mode=build
while [ $# -gt 0 ]; do
  case $1 in
  -j) jobs=$2; shift ;;
  --path | --config) mode=${1#--} ;;
  *) echo "build.sh: unknown argument '$1'" >&2; exit 2 ;;
  esac
  shift
done

if [ -n "${KERNEL_SRC:-}" ]; then
  [ -f "$KERNEL_SRC/Makefile" ] || { echo "build.sh: KERNEL_SRC=$KERNEL_SRC: no kernel tree there" >&2; exit 1; }
  version="tree:$KERNEL_SRC:$(make -s -C "$KERNEL_SRC" kernelversion)"
else
  version=$(dpkg-query -W -f '${Version}' linux-source-6.12 2>/dev/null) ||
    { echo "build.sh: linux-source-6.12 is not installed (packaging/debian-deps.sh installs it)" >&2; exit 1; }
fi
# Kconfig reads "# reason" after a value as part of it: strip the reasons.
options() { cat "$here"/*.config | sed 's/[[:space:]]*#.*$//' | grep .; }
hash=$({ echo "$version"; gcc -dumpfullversion; options; sed -n '/^# BUILD$/,$p' "$0"; } | sha256sum | cut -c1-16)
out=$cache/kernel-$hash
case $mode in
path) echo "$out/vmlinux"; exit 0 ;;
config) echo "$out/config"; exit 0 ;;
esac
if [ -f "$out/vmlinux" ]; then
  echo "$out/vmlinux"
  exit 0
fi

# BUILD
mkdir -p "$cache"
work=$(mktemp -d "$cache/kernel-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
echo "building the guest kernel ($version); this takes a few minutes, once" >&2
if [ -n "${KERNEL_SRC:-}" ]; then
  src=$KERNEL_SRC
else
  src=$work/src
  mkdir "$src"
  # Only what the build can reach: the Kconfig files of everything, the code of little.
  tar -xJf "$tarball" -C "$src" --strip-components=1 \
    --exclude='*/arch/a[lr]*/*.[chS]' --exclude='*/arch/[cmprs]*/*.[chS]' --exclude='*/boot/dts/*' \
    --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
    --exclude='*/drivers/scsi/*.[ch]' --exclude='*/drivers/staging/*.[ch]' --exclude='*/drivers/infiniband/*.[ch]' \
    --exclude='*/sound/*.[ch]' --exclude='*/Documentation/*.rst' --exclude='*/tools/testing/*' --exclude='*/tools/perf/*'
fi
obj=$work/obj
mkdir "$obj"
options > "$work/fragments"
make -s -C "$src" O="$obj" ARCH=x86_64 tinyconfig > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
"$src/scripts/kconfig/merge_config.sh" -m -O "$obj" "$obj/.config" "$work/fragments" > "$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }
make -s -C "$src" O="$obj" ARCH=x86_64 olddefconfig > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
sh "$here/check-config.sh" "$obj/.config" >&2
make -C "$src" O="$obj" ARCH=x86_64 KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=bulkhead KBUILD_BUILD_HOST=bulkhead \
  -j "$jobs" vmlinux > "$work/log" 2>&1 || { grep -E 'error|\*\*\*' "$work/log" >&2; exit 1; }
mkdir "$work/done"
cp "$obj/vmlinux" "$work/done/vmlinux.debug"
strip -s -o "$work/done/vmlinux" "$obj/vmlinux"
cp "$obj/.config" "$work/done/config"
cp "$obj/System.map" "$work/done/System.map"
rm -rf "$out"
mv "$work/done" "$out"
echo "$out/vmlinux"

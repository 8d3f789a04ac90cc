#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Debian root file system with python3, made once by debootstrap in the cache.
set -eu
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}
root=$cache/debian-bookworm-python3
if [ ! -d "$root" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/debian.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  debootstrap --variant=minbase --include=python3-minimal bookworm "$work/root" > "$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
  rm -rf "$work/root/var/cache/apt" "$work/root/var/lib/apt/lists" "$work/root/dev"
  mkdir "$work/root/dev"
  mv "$work/root" "$root"
fi
echo "$root"

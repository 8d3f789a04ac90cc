#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the folder of valgrind's amd64 instruction tests, built as they are: Debian's source package (fetched once into the
# cache, by an apt configuration of its own), each program static, with its .vgtest and expected output beside it.
#   valgrind.sh [--cached]   --cached: fail rather than fetch or build
set -eu
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}/suites
out=$cache/valgrind-amd64
[ -f "$out/done" ] && { echo "$out"; exit 0; }
[ "${1:-}" != --cached ] || exit 1
mkdir -p "$cache"
work=$(mktemp -d "$cache/valgrind.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
# shellcheck source=/dev/null
. /etc/os-release
echo "deb-src ${DEBIAN_MIRROR:-http://deb.debian.org/debian} $VERSION_CODENAME main" > "$work/apt/sources.list"
echo "fetching valgrind's source package" >&2
private="-o Dir::Etc::sourcelist=$work/apt/sources.list -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root
  -o Dir::State::lists=$work/apt/lists -o Dir::Cache=$work/apt/cache"
# shellcheck disable=SC2086
(cd "$work" && apt-get -q $private update && apt-get -q $private source --download-only valgrind) > "$work/log" 2>&1 ||
  { tail -n 5 "$work/log" >&2; exit 1; }
top=$(tar tjf "$work"/valgrind_*.orig.tar.bz2 | head -n 1 | cut -d/ -f1)
tar xjf "$work"/valgrind_*.orig.tar.bz2 -C "$work" "$top/none/tests/amd64" "$top/tests" "$top/include"
src=$work/$top
tests=$src/none/tests/amd64
: > "$work/config.h" # what configure would have found out is only asked for by other systems
for def in "$tests"/*.def; do perl "$tests/gen_insn_test.pl" < "$def" > "${def%.def}.c"; done

echo "building $top's amd64 instruction tests" >&2
dir=$work/out/none/tests/amd64
mkdir -p "$dir" "$work/out/tests"
build() { # SOURCE TARGET
  gcc -w -g -O0 -static -no-pie -DVGO_linux=1 -DVGA_amd64=1 -DVGP_amd64_linux=1 \
    -I"$work" -I"$src" -I"$src/include" -I"$tests" -o "$2" "$1" -lm -lpthread
}
build "$src/tests/x86_amd64_features.c" "$work/out/tests/x86_amd64_features"
for vg in "$tests"/*.vgtest; do
  name=$(basename "$vg" .vgtest)
  prog=$(basename "$(sed -n 's/^prog: *//p' "$vg")")
  [ -x "$dir/$prog" ] || build "$tests/$prog.c" "$dir/$prog" || echo "$prog does not build here" >&2
  cp "$vg" "$dir/"
  cp "$tests/$name".stdout.exp* "$dir/"
done
cp "$tests"/filter_* "$dir/"
echo "$top" > "$work/out/version"
: > "$work/out/done"
rm -rf "$out"
mv "$work/out" "$out"
echo "$out"

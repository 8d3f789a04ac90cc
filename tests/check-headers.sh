#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each header compiles alone; each .c includes its own header first; SPDX line and size limits of docs/style.
#   check-headers.sh CC FLAGS...
set -u
bad=0
n=0
for h in $(find base oci proto vmm agent runtime shim -name '*.h' | sort); do
  n=$((n + 1))
  echo "#include \"$h\"" | "$@" -fsyntax-only -x c - || { echo "headers: $h does not compile alone" >&2; bad=1; }
done
for c in $(find base oci proto vmm agent runtime shim -name '*.[chS]' | sort); do
  head -n 1 "$c" | grep -q '^// SPDX-License-Identifier: Apache-2.0$' || { echo "headers: $c: no SPDX line" >&2; bad=1; }
  own=${c%.c}.h
  if [ "$own" != "$c" ] && [ -f "$own" ]; then
    first=$(grep -m1 '^#include' "$c")
    [ "$first" = "#include \"$own\"" ] || { echo "headers: $c: includes $first before its own header" >&2; bad=1; }
  fi
  lines=$(wc -l < "$c")
  case $c in
  *_table.c | *_abi.h | *table*.h) ;;
  *) [ "$lines" -le 1000 ] || { echo "headers: $c: $lines lines (1000 at most)" >&2; bad=1; } ;;
  esac
done
[ $n -gt 0 ] || bad=1
[ $bad = 0 ] && echo "headers: $n hold"
exit $bad

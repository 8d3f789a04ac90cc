# SPDX-License-Identifier: Apache-2.0
# Each fuzz target over its committed corpus.
n=0
for target in "${O:-build/dev}"/tests/fuzz/fuzz_*[a-z0-9]; do
  name=${target##*/fuzz_}
  case $name in *.*) continue ;; esac
  n=$((n + 1))
  if [ "${MODE:-}" = fuzz ]; then set -- "$target" -runs=0 "tests/fuzz/corpus-$name"; else
    set -- "$target" "tests/fuzz/corpus-$name"/*
  fi
  if out=$("$@" 2>&1); then echo "ok $n - $name: $(printf '%s\n' "$out" | tail -n 1)"; else
    echo "not ok $n - $name"
    printf '%s\n' "$out" | tail -n 40 | sed 's/^/# /'
  fi
done
[ $n -gt 0 ] || echo "not ok 1 - no fuzz targets are built"
echo "1..$n"

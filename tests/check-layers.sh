#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Holds the modules to DESIGN's table of who may include what, from the compiler's own dependency files, so that what a
# public header drags in counts. Also: across modules only X/X.h is public (base/ and proto/ headers all are).
#   check-layers.sh BUILD_DIR
set -eu
out=$1
bad=0
may() { # module -> modules it may include
  case $1 in
  base) echo "base" ;;
  oci) echo "oci base" ;;
  proto) echo "proto base" ;;
  vmm) echo "vmm base" ;;
  agent) echo "agent proto oci base" ;;
  runtime) echo "runtime vmm proto oci base" ;;
  shim) echo "shim runtime proto oci base" ;;
  esac
}
files=0
for module in base oci proto vmm agent runtime shim; do
  allowed=" $(may $module) "
  dir=$out/$module
  [ $module = agent ] && dir=$out/agent-static/agent
  [ -d "$dir" ] || continue
  for d in $(find "$dir" -name '*.d'); do
    files=$((files + 1))
    for dep in $(tr -d '\\\n' < "$d" | sed 's/^[^:]*: //; s/[^ ]*:.*//' | tr ' ' '\n' |
      grep -E '^(base|oci|proto|vmm|agent|runtime|shim)/.*\.h$' | sort -u); do
      case "$allowed" in
      *" ${dep%%/*} "*) ;;
      *) echo "layers: $d: $module may not include $dep" >&2; bad=1 ;;
      esac
    done
  done
  # Private headers of other modules, by what the sources themselves say.
  found=$(grep -rnoE '#include "(oci|vmm|agent|runtime|shim)/[^"]+"' --include='*.[ch]' "$module" 2>/dev/null |
    grep -vE "#include \"$module/" | grep -vE '#include "(oci/oci|vmm/vmm|runtime/runtime)\.h"' || true)
  # The two device programs are mains over one library folder each: their folder's public header counts.
  found=$(printf '%s\n' "$found" | grep -vE '^(runtime/fs_main\.c:.*"vmm/fs/fs\.h"|)$' || true)
  if [ -n "$found" ]; then
    echo "layers: only X/X.h is public across modules:" >&2
    echo "$found" >&2
    bad=1
  fi
done
[ $files -gt 0 ] || { echo "layers: no dependency files under $out" >&2; exit 1; }
[ $bad = 0 ] && echo "layers: $files files hold"
exit $bad

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Holds a merged .config against the fragments, and against the options that the devices in vmm/ and the agent name
# ("// needs CONFIG_X"). Also holds the fragments to one reason per line.
#   check-config.sh [CONFIG]     without CONFIG only the fragments are checked
set -eu
here=$(cd "$(dirname "$0")" && pwd)
config=${1:-}
bad=0
say() { echo "check-config: $*" >&2; bad=1; }

for f in "$here"/*.config; do
  grep -nvE '^(# .*|CONFIG_[A-Z0-9_]+=[^#]*[^# ] +# .+)$' "$f" | while IFS= read -r line; do
    echo "$(basename "$f"):$line: expected CONFIG_NAME=value # reason"
  done
done > "${TMPDIR:-/tmp}/check-config.$$"
if [ -s "${TMPDIR:-/tmp}/check-config.$$" ]; then cat "${TMPDIR:-/tmp}/check-config.$$" >&2; bad=1; fi
rm -f "${TMPDIR:-/tmp}/check-config.$$"

if [ -n "$config" ]; then
  for want in $(sed -n 's/^\(CONFIG_[A-Z0-9_]*=[^# ]*\).*/\1/p' "$here"/*.config); do
    name=${want%%=*}
    case $want in
    *=n) grep -q "^$name=" "$config" && say "$name is set, a fragment says n" ;;
    *) grep -qxF "$want" "$config" || say "$want is not in the merged configuration" ;;
    esac
  done
  for name in $(grep -rhoE '// needs CONFIG_[A-Z0-9_]+' "$here/../vmm" "$here/../agent" 2>/dev/null | sed 's/.* //' | sort -u); do
    grep -qE "^$name=y" "$config" || say "$name is needed (see: grep -rn '$name' vmm agent) and not set"
  done
fi
exit $bad

# SPDX-License-Identifier: Apache-2.0
# Setup of the command-line tests: a state directory and a busybox bundle for each, and a look at what a test leaves.
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  mkdir "$STATE"
}

teardown() {
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

# bulkhead ARG...: with this test's state directory, on the hypervisor that is always there
bulkhead() {
  timeout 120 "$BULKHEAD" --root "$STATE" --hypervisor soft "$@"
}

# refused RC TEXT ARG...: the command fails with RC, says TEXT, in one line on stderr, and makes no container
refused() {
  local rc=0 want_rc=$1 text=$2
  shift 2
  bulkhead "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null || rc=$?
  [ "$rc" = "$want_rc" ] || { echo "exit status $rc, not $want_rc:"; cat "$WORK/err"; return 1; }
  sed -i 's/\\"/"/g' "$WORK/err" # as the log quotes
  grep -qF -- "$text" "$WORK/err" || { echo "does not say '$text':"; cat "$WORK/err"; return 1; }
  [ "$(wc -l < "$WORK/err")" = 1 ] || { echo "more than a line:"; cat "$WORK/err"; return 1; }
  [ ! -s "$WORK/out" ] || { echo "on stdout:"; cat "$WORK/out"; return 1; }
  [ "$(bulkhead list -q)" = "${EXPECT_LIST-}" ] || { echo "list: $(bulkhead list)"; return 1; }
}

# status_of ID
status_of() {
  bulkhead state "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'
}

# soon COMMAND...: true within a second
soon() {
  for _ in $(seq 20); do
    "$@" && return 0
    sleep 0.05
  done
  return 1
}

# state_is ID STATUS
state_is() {
  [ "$(status_of "$1")" = "$2" ]
}

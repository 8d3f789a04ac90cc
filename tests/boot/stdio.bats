# SPDX-License-Identifier: Apache-2.0
# The standard streams: every byte, in both directions, also when one side is slow, closes, or never reads.
# BULKHEAD_STDIO_MIB: how much goes through (make soak-stdio: 1024).
load ../lib/bundle

setup() {
  WORK=$(mktemp -d)
  STATE=$WORK/state
  BUNDLE=$WORK/bundle
  bundle_busybox "$BUNDLE"
  MIB=${BULKHEAD_STDIO_MIB:-32}
}

teardown() {
  left=$(pods_left "$STATE")
  rm -rf "$WORK"
  [ -z "$left" ] || { echo "left behind: $left"; return 1; }
}

pod() {
  timeout $((300 + MIB * 5)) "$BULKHEAD" --root "$STATE" --hypervisor soft --vcpus 2 "$@"
}

@test "what goes in comes out" {
  bundle_args "$BUNDLE" cat
  mkfifo "$WORK/copy"
  md5sum < "$WORK/copy" > "$WORK/want" &
  head -c "${MIB}M" /dev/urandom | tee "$WORK/copy" | pod run --bundle "$BUNDLE" one | md5sum > "$WORK/seen"
  wait
  diff "$WORK/want" "$WORK/seen"
}

@test "a half-closed stdin: the container sees its end and goes on writing" {
  bundle_args "$BUNDLE" sh -c 'wc -c; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i + 1)); done; echo error >&2; exit 9'
  head -c 100000 /dev/zero | pod run --bundle "$BUNDLE" one > "$WORK/out" 2> "$WORK/err" && rc=0 || rc=$?
  [ "$rc" = 9 ]
  { echo 100000; seq -f 'line %g' 0 1999; } | diff - "$WORK/out"
  grep -qx error "$WORK/err"
}

@test "stdin that nobody reads keeps no container from its end" {
  bundle_args "$BUNDLE" sh -c 'echo done'
  [ "$(head -c 8M /dev/zero | pod run --bundle "$BUNDLE" one)" = done ]
}

@test "a reader that goes away: the writer gets SIGPIPE, or an error" {
  bundle_args "$BUNDLE" sh -c 'while :; do echo some text of some length || exit 8; done'
  pod run --bundle "$BUNDLE" one 2> /dev/null | head -n 3 > "$WORK/out" && true
  [ "$(sort -u "$WORK/out")" = "some text of some length" ]
  [ "$(wc -l < "$WORK/out")" = 3 ]
}

# SPDX-License-Identifier: Apache-2.0
# A share of `make check-suites` that takes seconds: programs of other people's suites in a pod. What would have to be
# fetched first is skipped.
BIN=${BULKHEAD_BIN:-$BATS_TEST_DIRNAME/../../build/${MODE:-dev}/bin}
SUITES=$BATS_TEST_DIRNAME/../suites

@test "valgrind's instruction tests: integer, x87, SSE2, strings" {
  "$SUITES/valgrind.sh" --cached > /dev/null || skip "not in the cache: make check-suites fetches and builds them"
  SUITE_SECONDS=60 "$SUITES/pod.bash" "$BIN" valgrind insn_basic insn_fpu insn_sse2 pcmpstr64 shrld smc1
}

@test "Linux's selftests: system call entry, signals, single step, x87" {
  "$SUITES/selftests.sh" --cached > /dev/null || skip "not in the cache: make check-suites builds them"
  SUITE_SECONDS=60 "$SUITES/pod.bash" "$BIN" selftests sysret_rip sigreturn single_step_syscall syscall_nt iopl test_FCMOV
}

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the folder of Linux's tools/testing/selftests/x86, the 64-bit programs, built static from the source package that
# the guest's kernel is built from.
#   selftests.sh [--cached]   --cached: fail rather than build
set -eu
cache=${BULKHEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead}/suites
tarball=/usr/src/linux-source-6.12.tar.xz
out=$cache/selftests-x86
[ -f "$out/done" ] && { echo "$out"; exit 0; }
[ "${1:-}" != --cached ] || exit 1
[ -f "$tarball" ] || { echo "selftests.sh: no $tarball (packaging/debian-deps.sh installs it)" >&2; exit 1; }
mkdir -p "$cache"
work=$(mktemp -d "$cache/selftests.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
echo "building Linux's x86 selftests" >&2
tar xJf "$tarball" -C "$work" --strip-components=1 --wildcards '*/tools/testing/selftests/x86' \
  '*/tools/testing/selftests/kselftest*.h' '*/arch/x86/include/asm/desc_defs.h'
src=$work/tools/testing/selftests/x86
mkdir "$work/out"
# The Makefile's TARGETS_C_BOTHBITS, TARGETS_C_64BIT_ONLY, and of those for 32 bits the ones that a 64-bit compiler takes.
names="single_step_syscall sysret_ss_attrs syscall_nt test_mremap_vdso check_initial_reg_state sigreturn iopl ioperm
  test_vsyscall mov_ss_trap sigtrap_loop syscall_arg_fault fsgsbase_restore sigaltstack nx_stack fsgsbase sysret_rip
  syscall_numbering corrupt_xstate_header amx lam test_shadow_stack ldt_gdt ptrace_syscall test_FCMOV test_FCOMI
  test_FISTTP"
for t in $names; do
  set --
  case $t in
  sysret_ss_attrs) set -- "$src/thunks.S" ;;
  fsgsbase_restore | sysret_rip) set -- "$src/clang_helpers_64.S" ;;
  check_initial_reg_state) set -- -Wl,-ereal_start ;;
  nx_stack) set -- -Wl,-z,noexecstack ;;
  esac
  gcc -m64 -w -O2 -g -std=gnu99 -pthread -static -no-pie -DCAN_BUILD_64 -I"$src" -o "$work/out/$t" "$src/$t.c" "$@" -lrt -ldl -lm 2> "$work/log" ||
    echo "$t does not build here" >&2
done
: > "$work/out/done"
rm -rf "$out"
mv "$work/out" "$out"
echo "$out"

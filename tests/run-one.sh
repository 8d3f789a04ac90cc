#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs one test file as TAP, whatever kind it is (for prove --exec).
# TSan needs the address space laid out as its authors knew it; the setting is inherited by what the test starts.
[ "${MODE:-}" = tsan ] && [ -z "${TSAN_PLAIN:-}" ] && TSAN_PLAIN=1 exec setarch -R "$0" "$@"
case $1 in
*.bats) exec bats --formatter tap "$1" ;;
*.sh) exec sh "$1" ;;
*) CMOCKA_MESSAGE_OUTPUT=TAP exec "$1" ;;
esac

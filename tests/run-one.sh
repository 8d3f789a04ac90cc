#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs one test file as TAP, whatever kind it is (for prove --exec).
case $1 in
*.bats) exec bats --formatter tap "$1" ;;
*.sh) exec sh "$1" ;;
*) CMOCKA_MESSAGE_OUTPUT=TAP exec "$1" ;;
esac

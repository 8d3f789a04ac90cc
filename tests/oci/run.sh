#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The conformance suite as TAP, a line per case; docs/conformance.md says what a case is.
#   CASES='mounts/* process/umask'   only these            JOBS=2      how many at a time
#   RUNTIME=runc|crun|PATH           another runtime       ACCEPT=1    writes the expectation of cases that have none
cd "$(dirname "$0")/../.." || exit 1
exec python3 tests/lib/oci_suite.py tests/oci

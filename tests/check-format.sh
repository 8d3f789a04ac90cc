#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C file is as clang-format (.clang-format) prints it.
files=$(find base oci proto vmm agent runtime shim tests -name '*.[ch]' | sort)
# shellcheck disable=SC2086
exec clang-format --dry-run -Werror $files

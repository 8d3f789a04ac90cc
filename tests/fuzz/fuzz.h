// SPDX-License-Identifier: Apache-2.0
// What a fuzz target defines. libFuzzer calls it (MODE=fuzz); replay.c does with the files of a corpus otherwise.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif

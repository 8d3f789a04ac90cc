// SPDX-License-Identifier: Apache-2.0
// Guests that make no sense, for bare processors: random instructions, page tables, descriptors and state, from a seed or
// from a fuzzer's bytes. What is checked is that they end: by themselves, or when they are told to.
#ifndef TESTS_ORACLE_GARBAGE_H
#define TESTS_ORACLE_GARBAGE_H

#include <stddef.h>
#include <stdint.h>

#include "tests/oracle/oracle.h"

// Bytes that decide: those given first, then random ones.
struct garbage_source {
	const uint8_t *p;
	size_t left;
	struct oracle_rng rng;
};
uint64_t garbage_draw(struct garbage_source *s);
// Writes a stream of instructions: random bytes, or opcodes with fitting ModRM and prefixes.
void garbage_code(struct garbage_source *s, uint8_t *code, unsigned len);

struct garbage;
// Starts a thread that ends streams after a millisecond or two and, if one does not end, the process, with its name.
// NULL without memory.
struct garbage *garbage_new(void);
void garbage_free(struct garbage *g);
// One guest from power-on to its end. name is printed if it hangs.
void garbage_stream(struct garbage *g, struct garbage_source *s, uint64_t name);
// One instruction, behind an exit, with operands that are devices, faults or refused.
void garbage_mmio(struct garbage *g, struct garbage_source *s, uint64_t name);

struct garbage_counts {
	uint64_t instructions, exits[16];
};
const struct garbage_counts *garbage_counted(struct garbage *g);

#endif

// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a guest whose page tables, descriptors, state and code come from the input, on a bare processor.
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "tests/oracle/garbage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct garbage *g; // one for all inputs: it is large
	struct garbage_source s = { .p = data, .left = size, .rng = { 0x9e3779b97f4a7c15ull } };

	if (!g)
		g = garbage_new();
	if (!g)
		abort();
	garbage_stream(g, &s, size);
	return 0;
}

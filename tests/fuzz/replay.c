// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over the files named: make check replays the corpora so, in every mode.
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20 };

static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!f) {
		perror(path);
		return -1;
	}
	data = malloc(INPUT_MAX);
	n = data ? fread(data, 1, INPUT_MAX, f) : 0;
	(void)fclose(f); // was only read
	if (data)
		(void)LLVMFuzzerTestOneInput(data, n); // always 0
	free(data);
	return data ? 0 : -1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			return 1;
	printf("%d inputs\n", argc - 1);
	return argc > 1 ? 0 : 1;
}

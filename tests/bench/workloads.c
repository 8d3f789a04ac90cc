// SPDX-License-Identifier: Apache-2.0
// The bench's guest workloads, one static program: each is run once, timed by the guest's own clock, and prints its name, its
// milliseconds and a check of what it computed, which must not depend on where it ran.
//   workloads [NAME]...
#include <inttypes.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed = 1;

static uint32_t next_random(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33);
}

// Five instructions an iteration, all on registers.
static uint64_t registers(void)
{
	uint64_t n = 60000000, a = 1, b = 2;

	__asm__ volatile(
		"1:\n\tadd %[b], %[a]\n\txor %[a], %[b]\n\tlea 3(%[a]), %[a]\n\tdec %[n]\n\tjnz 1b"
		: [n] "+r"(n), [a] "+r"(a), [b] "+r"(b)
		:
		: "cc");
	return a ^ b;
}

static uint64_t doubles(void)
{
	double s = 0;

	for (int i = 1; i <= 600000; i++)
		s += sin(i * 0.001) * sqrt(i);
	return (uint64_t)(int64_t)(s * 1e6);
}

static uint64_t sieve(void)
{
	enum { N = 2000000 };
	static unsigned char composite[N];
	uint64_t primes = 0;

	for (int round = 0; round < 3; round++) {
		memset(composite, 0, N);
		for (uint64_t i = 2; i * i < N; i++)
			for (uint64_t k = i * i; !composite[i] && k < N; k += i)
				composite[k] = 1;
		for (unsigned i = 2; i < N; i++)
			primes += !composite[i];
	}
	return primes;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t sorting(void)
{
	enum { N = 200000 };
	static uint32_t v[N];
	uint64_t check = 0;

	for (unsigned i = 0; i < N; i++)
		v[i] = next_random();
	qsort(v, N, sizeof(*v), compare);
	for (unsigned i = 0; i < N; i++)
		check = check * 31 + v[i];
	return check;
}

static uint64_t expressions(void)
{
	regex_t re;
	uint64_t found = 0;
	char text[80];

	if (regcomp(&re, "^([a-f]+[0-9]*)+-(x|yz)*[^q]$", REG_EXTENDED | REG_NOSUB))
		return 0;
	for (int i = 0; i < 8000; i++) {
		(void)snprintf(text, sizeof(text), "abc%ufed%u-xyzx%c", next_random() % 1000,
			       next_random(), 'p' + (int)(next_random() % 3)); // fits
		found += regexec(&re, text, 0, NULL, 0) == 0;
	}
	regfree(&re);
	return found;
}

static uint64_t copying(void)
{
	enum { BYTES = 1 << 20 };
	static unsigned char from[BYTES], to[BYTES];
	uint64_t check = 0;

	for (unsigned i = 0; i < BYTES; i++)
		from[i] = (unsigned char)next_random();
	for (int i = 0; i < 300; i++) {
		memcpy(to, from, BYTES);
		__asm__ volatile("" : : "r"(to) : "memory"); // each copy is made
		from[i] ^= to[i + 1];
	}
	for (unsigned i = 0; i < BYTES; i++)
		check = check * 31 + to[i];
	return check;
}

static const struct {
	const char *name;
	uint64_t (*run)(void);
} workloads[] = {
	{ "registers", registers }, { "double", doubles },    { "sieve", sieve },
	{ "qsort", sorting },       { "regex", expressions }, { "memcpy", copying },
};

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); // always there
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int wanted(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	for (unsigned i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
		double begin = now_ms();
		uint64_t check;

		if (!wanted(argc, argv, workloads[i].name))
			continue;
		check = workloads[i].run();
		printf("WORK %s %.1f %" PRIx64 "\n", workloads[i].name, now_ms() - begin, check);
		(void)fflush(stdout); // the reader sees that it is cut
	}
	return 0;
}

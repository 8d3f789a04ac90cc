// SPDX-License-Identifier: Apache-2.0
// Sizes: RAM against what guests were seen to have, processors from quotas, sizes as text.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/sizing.h"

#define MIB (1ull << 20)

// MemTotal in KiB as measured (docs/sizing.md).
static const struct {
	unsigned vcpus, ram_mib;
	uint64_t total_kib;
} seen[] = {
	{ 1, 48, 35232 },     { 1, 64, 51568 },     { 1, 96, 84240 },     { 1, 128, 117008 },
	{ 1, 192, 180304 },   { 1, 256, 245840 },   { 1, 512, 503504 },   { 1, 1024, 1018832 },
	{ 1, 2048, 2049484 }, { 1, 4096, 4044492 }, { 2, 64, 51388 },     { 2, 512, 503324 },
	{ 2, 2048, 2049308 }, { 4, 64, 51036 },     { 4, 1024, 1018300 }, { 8, 64, 50328 },
	{ 8, 192, 179064 },   { 8, 2048, 2048248 }, { 8, 4096, 4043256 },
};

static void total_is_as_measured(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		uint64_t got = sizing_total(seen[i].ram_mib * MIB, seen[i].vcpus) / 1024;
		uint64_t off =
			got > seen[i].total_kib ? got - seen[i].total_kib : seen[i].total_kib - got;

		if (off > seen[i].total_kib / 400)
			fail_msg("%u MiB, %u vcpus: %llu KiB, not %llu", seen[i].ram_mib,
				 seen[i].vcpus, (unsigned long long)got,
				 (unsigned long long)seen[i].total_kib);
	}
}

static void ram_is_for_the_limit(void **state)
{
	(void)state;
	for (uint64_t limit = 64 * MIB; limit <= 4096 * MIB; limit += 5 * MIB + 4096) {
		for (unsigned vcpus = 1; vcpus <= 8; vcpus++) {
			uint64_t ram = sizing_ram(limit, vcpus), total = sizing_total(ram, vcpus);

			assert_int_equal(ram % 4096, 0);
			assert_in_range(total, limit, limit + limit / 50);
		}
	}
	assert_int_equal(sizing_ram(1, 1), SIZING_MEMORY_LIMITED);
	assert_int_equal(sizing_ram(UINT64_MAX, 8), SIZING_MEMORY_MAX);
	assert_int_equal(sizing_ram(SIZING_MEMORY_MAX - 1, 1), SIZING_MEMORY_MAX);
	assert_int_equal(sizing_total(MIB, 1), 0);
}

static void processors(void **state)
{
	(void)state;
	assert_int_equal(sizing_vcpus(0, 0, 8), 1);
	assert_int_equal(sizing_vcpus(-1, 100000, 8), 1);
	assert_int_equal(sizing_vcpus(1, 100000, 8), 1);
	assert_int_equal(sizing_vcpus(100000, 100000, 8), 1);
	assert_int_equal(sizing_vcpus(100001, 100000, 8), 2);
	assert_int_equal(sizing_vcpus(150000, 0, 8), 2);
	assert_int_equal(sizing_vcpus(400000, 50000, 8), 8);
	assert_int_equal(sizing_vcpus(INT64_MAX, 1, 8), 8);
	assert_int_equal(sizing_vcpus(300000, 100000, 2), 2);
}

static void sizes_as_text(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "1K", 1024 },
		{ "1k", 1024 },
		{ "512Mi", 512 * MIB },
		{ "512MiB", 512 * MIB },
		{ "2G", 2048 * MIB },
		{ "1Ti", 1ull << 40 },
		{ "16B", 16 },
		{ "18446744073709551615", UINT64_MAX },
	};
	static const char *const bad[] = { "",         "-1",  "M",   "1.5G", "1 M",
					   "1Mx",      "1Pi", "1iB", "0x10", "18446744073709551616",
					   "99999999T" };
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(sizing_parse_bytes(good[i].text, &v));
		assert_int_equal(v, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (sizing_parse_bytes(bad[i], &v))
			fail_msg("\"%s\" is taken for a size", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(total_is_as_measured),
		cmocka_unit_test(ram_is_for_the_limit),
		cmocka_unit_test(processors),
		cmocka_unit_test(sizes_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

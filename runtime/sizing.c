// SPDX-License-Identifier: Apache-2.0
#include "runtime/sizing.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024ull
#define MIB (1024ull * KIB)

// What the kernel takes before it counts, from docs/sizing.md: its image and what it allocates first; an array of struct
// page for each section of 128 MiB that is begun; hash tables and bitmaps that grow with RAM; the areas of each further
// processor; and, once there is RAM above 4 GiB, a bounce buffer.
#define RESERVE_FIXED (11800 * KIB)
#define SECTION (128 * MIB)
#define RESERVE_SECTION (2 * MIB)
#define RESERVE_MIB (3 * KIB / 2) // for each MiB
#define RESERVE_VCPU (177 * KIB)
#define LOW_RAM (3072 * MIB)
#define RESERVE_HIGH (64 * MIB)

#define PAGE 4096ull
#define PERIOD_DEFAULT 100000

static uint64_t reserve(uint64_t ram, unsigned vcpus)
{
	return RESERVE_FIXED + (ram + SECTION - 1) / SECTION * RESERVE_SECTION +
	       ram / MIB * RESERVE_MIB + (vcpus - 1) * RESERVE_VCPU +
	       (ram > LOW_RAM ? RESERVE_HIGH : 0);
}

uint64_t sizing_total(uint64_t ram, unsigned vcpus)
{
	uint64_t taken = reserve(ram, vcpus);

	return ram > taken ? ram - taken : 0;
}

uint64_t sizing_ram(uint64_t limit, unsigned vcpus)
{
	uint64_t want, ram;

	if (limit >= SIZING_MEMORY_MAX)
		return SIZING_MEMORY_MAX;
	// The reserve is a little more for the RAM that the reserve adds: the third round changes nothing any more.
	want = limit + limit / 100;
	ram = want;
	for (unsigned i = 0; i < 4; i++)
		ram = want + reserve(ram, vcpus);
	ram = (ram + PAGE - 1) & ~(PAGE - 1);
	if (ram < SIZING_MEMORY_LIMITED)
		return SIZING_MEMORY_LIMITED;
	return ram < SIZING_MEMORY_MAX ? ram : SIZING_MEMORY_MAX;
}

unsigned sizing_vcpus(int64_t quota, uint64_t period, unsigned max)
{
	uint64_t n;

	if (quota <= 0)
		return 1;
	if (period == 0)
		period = PERIOD_DEFAULT;
	n = (uint64_t)quota / period + ((uint64_t)quota % period != 0);
	return n < max ? (unsigned)n : max;
}

bool sizing_parse_bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	unsigned long long v;
	const char *unit;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return false;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = (unsigned)(unit - units + 1) * 10;
		end++;
		end += *end == 'i';
	}
	end += *end == 'B' || *end == 'b';
	if (*end || v > UINT64_MAX >> shift)
		return false;
	*ret = v << shift;
	return true;
}

bool sizing_is_hypervisor(const char *name)
{
	return strcmp(name, "auto") == 0 || strcmp(name, "mshv") == 0 ||
	       strcmp(name, "soft") == 0 || strcmp(name, "kvm") == 0;
}

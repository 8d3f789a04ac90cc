// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/boot.h"
#include "vmm/mem/mem.h"

_Static_assert(MEM_REGIONS_MAX + 2 <= BOOT_RANGES_MAX, "each region has its range");

unsigned boot_memory_map(const struct mem *mem, struct boot_range ret[BOOT_RANGES_MAX])
{
	const struct mem_region *r;
	unsigned n = mem_regions(mem, &r), out = 0;

	// The first page holds nothing; real-mode trampolines want room below 640 KiB.
	ret[out++] = (struct boot_range){ 0, 0x9fc00, BOOT_RANGE_RAM };
	ret[out++] = (struct boot_range){ 0x9fc00, 0x60400, BOOT_RANGE_RESERVED };
	for (unsigned i = 0; i < n; i++) {
		uint64_t base = r[i].gpa ? r[i].gpa : BOOT_KERNEL_MIN;

		ret[out++] =
			(struct boot_range){ base, r[i].gpa + r[i].len - base, BOOT_RANGE_RAM };
	}
	return out;
}

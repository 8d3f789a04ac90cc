// SPDX-License-Identifier: Apache-2.0
// struct boot_params (Documentation/arch/x86/zero-page.rst and boot.rst), by offset.
#include "vmm/boot/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "vmm/mem/mem.h"

enum {
	E820_ENTRIES = 0x1e8,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMDLINE = 0x228,
	HDR_SUBARCH = 0x23c,
	HDR_SETUP_DATA = 0x250,
	E820_TABLE = 0x2d0,
	SUBARCH_CE4100 = 4,
	SETUP_DTB = 2,
	SETUP_RNG_SEED = 9,
	SEED_BYTES = 32,
};

static void put(uint8_t *zp, unsigned at, uint64_t v, unsigned bytes)
{
	memcpy(zp + at, &v, bytes);
}

static void e820(uint8_t *zp, const struct mem *mem)
{
	struct boot_range r[BOOT_RANGES_MAX];
	unsigned n = boot_memory_map(mem, r);

	for (unsigned i = 0; i < n; i++) {
		put(zp, E820_TABLE + i * 20, r[i].base, 8);
		put(zp, E820_TABLE + i * 20 + 8, r[i].len, 8);
		put(zp, E820_TABLE + i * 20 + 16, r[i].type, 4);
	}
	zp[E820_ENTRIES] = (uint8_t)n;
}

// struct setup_data { u64 next; u32 type; u32 len; u8 data[]; }
static int setup_data(struct mem *mem, const struct boot_info *info, struct err *e)
{
	uint8_t *seed = mem_slice(mem, BOOT_SETUP_DATA, 4096),
		*dtb = mem_slice(mem, BOOT_FDT, BOOT_FDT_MAX);
	int len;

	if (!seed || !dtb)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	memset(seed, 0, 64);
	put(seed, 0, BOOT_FDT, 8);
	put(seed, 8, SETUP_RNG_SEED, 4);
	put(seed, 12, SEED_BYTES, 4);
	if (getrandom(seed + 16, SEED_BYTES, 0) != SEED_BYTES)
		return err_errno(e, errno, "getrandom");
	len = boot_fdt_build(info, dtb + 16, BOOT_FDT_MAX - 16, e);
	if (len < 0)
		return len;
	put(dtb, 0, 0, 8);
	put(dtb, 8, SETUP_DTB, 4);
	put(dtb, 12, (uint64_t)len, 4);
	return 0;
}

int boot_zero_page(struct mem *mem, const struct boot_info *info, struct err *e)
{
	uint8_t *zp = mem_slice(mem, BOOT_ZERO_PAGE, 4096);
	char *cmdline = mem_slice(mem, BOOT_CMDLINE, BOOT_CMDLINE_MAX);
	size_t len = strlen(info->cmdline);

	if (!zp || !cmdline)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	if (len >= BOOT_CMDLINE_MAX)
		return err_set(e, E2BIG, "kernel command line: longer than %d bytes",
			       BOOT_CMDLINE_MAX - 1);
	memset(zp, 0, 4096);
	memcpy(cmdline, info->cmdline, len + 1);
	put(zp, HDR_BOOT_FLAG, 0xaa55, 2);
	put(zp, HDR_MAGIC, 0x53726448, 4); // "HdrS"
	put(zp, HDR_VERSION, 0x020f, 2);
	put(zp, HDR_LOADER, 0xff, 1);
	put(zp, HDR_LOADFLAGS, 1, 1);
	put(zp, HDR_CMDLINE, BOOT_CMDLINE, 4);
	put(zp, HDR_RAMDISK, info->initrd_gpa, 4);
	put(zp, HDR_RAMDISK_SIZE, info->initrd_bytes, 4);
	// The platform with a device tree and neither RTC nor 8042: Linux would wait a second for the RTC.
	put(zp, HDR_SUBARCH, SUBARCH_CE4100, 4);
	put(zp, HDR_SETUP_DATA, BOOT_SETUP_DATA, 8);
	e820(zp, mem);
	return setup_data(mem, info, e);
}

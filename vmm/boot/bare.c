// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/bare.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "vmm/boot/elf.h"
#include "vmm/mem/mem.h"

enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_TSS = 0x18, TSS_AT = 0x100, TSS_LIMIT = 0x67 };

static int load_pvh(struct mem *mem, int fd, struct boot_bare *ret, struct err *e)
{
	struct boot_elf elf;
	uint32_t entry;
	int r = boot_elf_read(fd, true, &elf, e);

	r = r < 0 ? r : boot_pvh_find(fd, &elf, &entry, e);
	if (r == 0)
		return err_set(e, ENOEXEC,
			       "guest kernel: neither a multiboot header nor a PVH entry note");
	if (r < 0)
		return r;
	*ret = (struct boot_bare){ .pvh = true, .entry = entry };
	return boot_elf_segments(mem, fd, &elf, true, &ret->end, e);
}

int boot_bare_load(struct mem *mem, int fd, struct boot_bare *ret, struct err *e)
{
	struct boot_multiboot mb;
	struct boot_bare bare = { 0 };
	int r = boot_multiboot_find(fd, &mb, e);

	if (r >= 0)
		r = r ? boot_multiboot_load(mem, fd, &mb, &bare, e) : load_pvh(mem, fd, &bare, e);
	r = r < 0 ? r : boot_elf_check_entry(mem, bare.entry, bare.end, e);
	if (r == 0)
		*ret = bare;
	return r;
}

// Flat 32-bit segments, protection on, paging off: what both protocols ask for. The descriptors are in memory too, for a
// guest that reloads a segment before it has a table of its own.
static int protected_mode(struct mem *mem, uint64_t entry, struct x86_state *ret, struct err *e)
{
	uint64_t *gdt = mem_slice(mem, BOOT_BARE_TABLES, 4096);
	struct x86_state s = { .rip = entry, .rflags = 2, .cr0 = 0x11 /* ET PE */ };

	if (!gdt)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	memset(gdt, 0, 4096);
	gdt[SEL_CODE / 8] = 0x00cf9b000000ffffull;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffull;
	gdt[SEL_TSS / 8] = 0x00008b0000000067ull | (uint64_t)(BOOT_BARE_TABLES + TSS_AT) << 16;
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		s.seg[i] = (struct x86_seg){ .selector = SEL_DATA,
					     .limit = 0xffffffff,
					     .attributes = 0xc093 };
	s.seg[X86_CS] =
		(struct x86_seg){ .selector = SEL_CODE, .limit = 0xffffffff, .attributes = 0xc09b };
	s.seg[X86_TR] = (struct x86_seg){ .selector = SEL_TSS,
					  .base = BOOT_BARE_TABLES + TSS_AT,
					  .limit = TSS_LIMIT,
					  .attributes = 0x8b };
	s.seg[X86_LDTR] = (struct x86_seg){ .limit = 0xffff, .attributes = 0x82 };
	s.gdtr = (struct x86_table){ .limit = 4 * 8 - 1, .base = BOOT_BARE_TABLES };
	s.pat = 0x0007040600070406ull;
	s.dr[6] = 0xffff0ff0;
	s.dr[7] = 0x400;
	s.fxsave[0] = 0x7f; // FCW 0x37f
	s.fxsave[1] = 0x03;
	s.fxsave[24] = 0x80; // MXCSR 0x1f80
	s.fxsave[25] = 0x1f;
	*ret = s;
	return 0;
}

int boot_bare_state(struct mem *mem, const struct boot_bare *bare, const struct boot_info *info,
		    struct x86_state *ret, struct err *e)
{
	char *cmdline = mem_slice(mem, BOOT_BARE_CMDLINE, BOOT_CMDLINE_MAX);
	size_t len = strlen(info->cmdline);
	int r = protected_mode(mem, bare->entry, ret, e);

	if (r < 0)
		return r;
	if (!cmdline)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	if (len >= BOOT_CMDLINE_MAX)
		return err_set(e, E2BIG, "kernel command line: longer than %d bytes",
			       BOOT_CMDLINE_MAX - 1);
	memcpy(cmdline, info->cmdline, len + 1);
	return bare->pvh ? boot_pvh_info(mem, info, ret, e)
			 : boot_multiboot_info(mem, info, ret, e);
}

// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/boot.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "vmm/mem/mem.h"

enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20 };

int boot_cpu_state(struct mem *mem, uint64_t entry, struct x86_state *ret, struct err *e)
{
	uint64_t *gdt = mem_slice(mem, BOOT_GDT, 4096),
		 *tables = mem_slice(mem, BOOT_TABLES, 4096 * 2);
	struct x86_state s = { .rip = entry, .rflags = 2 };

	if (!gdt || !tables)
		return err_set(e, ENOMEM, "too little guest memory for the boot tables");
	memset(gdt, 0, 4096);
	gdt[SEL_CODE / 8] = 0x00af9b000000ffffull; // 64-bit code
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffull;
	gdt[SEL_TSS / 8] = 0x00008b0000000067ull | (uint64_t)BOOT_TSS << 16;
	// PML4, and a PDPT of four 1 GiB pages: the first 4 GiB as they are.
	memset(tables, 0, 4096 * 2);
	tables[0] = BOOT_TABLES + 4096 + 3;
	for (unsigned i = 0; i < 4; i++)
		tables[512 + i] = (uint64_t)i << 30 | 0x83;
	for (unsigned i = 0; i < 6; i++)
		s.seg[i] = (struct x86_seg){ .selector = SEL_DATA,
					     .limit = 0xffffffff,
					     .attributes = 0xc093 };
	s.seg[X86_CS] =
		(struct x86_seg){ .selector = SEL_CODE, .limit = 0xffffffff, .attributes = 0xa09b };
	s.seg[X86_TR] = (struct x86_seg){
		.selector = SEL_TSS, .base = BOOT_TSS, .limit = 0x67, .attributes = 0x8b
	};
	s.seg[X86_LDTR] = (struct x86_seg){ .limit = 0xffff, .attributes = 0x82 };
	s.gdtr = (struct x86_table){ .limit = 0xfff, .base = BOOT_GDT };
	s.cr0 = 0x80050033; // PG AM WP NE ET MP PE
	s.cr3 = BOOT_TABLES;
	s.cr4 = 0x6a0;  // OSXMMEXCPT OSFXSR PGE PAE
	s.efer = 0xd01; // NXE LMA LME SCE
	s.pat = 0x0007040600070406ull;
	s.gpr[X86_RSI] = BOOT_ZERO_PAGE;
	s.gpr[X86_RSP] = 0x7000;
	s.fxsave[0] = 0x7f; // FCW 0x37f
	s.fxsave[1] = 0x03;
	s.fxsave[24] = 0x80; // MXCSR 0x1f80
	s.fxsave[25] = 0x1f;
	*ret = s;
	return 0;
}

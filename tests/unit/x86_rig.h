// SPDX-License-Identifier: Apache-2.0
// A processor with identity-like paging over a few buffers, for tests: code at RIG_CODE, data at RIG_DATA, stack below
// RIG_STACK. Everything else is absent.
#ifndef TESTS_UNIT_X86_RIG_H
#define TESTS_UNIT_X86_RIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/x86/x86.h"

#define RIG_CODE 0x10000000ull
#define RIG_DATA 0x20000000ull
#define RIG_STACK 0x30002000ull
enum { RIG_PAGES = 16, RIG_RAM = RIG_PAGES * 4096 };
// GPA layout: 0 PML4, 1 PDPT, 2-4 PDs are folded into tables below; 8 code, 9 code2, 10-11 data, 12-13 stack.
enum { RIG_GPA_CODE = 8, RIG_GPA_DATA = 10, RIG_GPA_STACK = 12 };

struct rig {
	struct x86_cpu *cpu;
	uint8_t *ram;
	uint32_t out_port, out_value;
};

static void *rig_ram(void *arg, uint64_t gpa, bool *writable)
{
	struct rig *r = arg;

	*writable = true;
	return gpa < RIG_RAM ? r->ram + gpa : NULL;
}

static const struct x86_env rig_env = { .ram = rig_ram };

static inline void rig_map(struct rig *r, uint64_t va, unsigned page, uint64_t flags)
{
	// One table per level and per region: PML4 page 0, PDPT page 1, PD page 2, PT pages 3, 4, 5 by region.
	uint64_t *pml4 = (uint64_t *)(void *)r->ram, *pdpt = pml4 + 512, *pd = pml4 + 1024;
	unsigned region = (unsigned)(va >> 28) - 1;
	uint64_t *pt = pml4 + 512 * (3 + region);

	pml4[va >> 39 & 511] = 4096 | 7;
	pdpt[va >> 30 & 511] = 2 * 4096 | 7;
	pd[va >> 21 & 511] = (uint64_t)(3 + region) * 4096 | 7;
	pt[va >> 12 & 511] = (uint64_t)page * 4096 | flags;
}

static inline void rig_init(struct rig *r)
{
	struct x86_state s;

	memset(r, 0, sizeof(*r));
	r->ram = aligned_alloc(4096, RIG_RAM);
	memset(r->ram, 0, RIG_RAM);
	r->cpu = x86_cpu_new(&rig_env, r);
	for (unsigned i = 0; i < 2; i++) {
		rig_map(r, RIG_CODE + i * 4096, RIG_GPA_CODE + i, 7);
		rig_map(r, RIG_DATA + i * 4096, RIG_GPA_DATA + i, 7);
		rig_map(r, RIG_STACK - 8192 + i * 4096, RIG_GPA_STACK + i, 7);
	}
	x86_get_state(r->cpu, &s);
	s.cr0 = 0x80050033;
	s.cr4 = 0x6b0 | 0x10000;
	s.efer = 0xd01;
	s.cr3 = 0;
	for (unsigned i = 0; i < 6; i++)
		s.seg[i] = (struct x86_seg){ .selector = 16,
					     .limit = 0xffffffff,
					     .attributes = 0xc093 };
	s.seg[X86_CS] =
		(struct x86_seg){ .selector = 8, .limit = 0xffffffff, .attributes = 0xa09b };
	s.seg[X86_TR] = (struct x86_seg){ .limit = 0x67, .attributes = 0x8b };
	s.rip = RIG_CODE;
	s.gpr[X86_RSP] = RIG_STACK;
	s.rflags = 2;
	x86_set_state(r->cpu, &s);
}

static inline void rig_done(struct rig *r)
{
	x86_cpu_free(r->cpu);
	free(r->ram);
}

#endif

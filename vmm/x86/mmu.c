// SPDX-License-Identifier: Apache-2.0
// Guest-virtual memory: the page walk (Intel SDM vol. 3, chapter 4, 4-level paging), the software TLB, and the accesses
// that miss it: devices, page crossings, pages that hold decoded code.
#include "vmm/x86/cpu.h"

#include <stdlib.h>

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
// What CPUID 80000008h offers: 46 physical bits.
#define PTE_RSVD 0x000fc00000000000ull

static int walk_fault(struct x86_cpu *cpu, uint64_t va, unsigned access, bool present, bool rsvd,
		      struct x86_exception *x)
{
	uint32_t code = (present ? 1u : 0u) | (access & X86_WRITE ? 2u : 0u) |
			(access & X86_USER ? 4u : 0u) | (rsvd ? 8u : 0u);

	if ((access & X86_EXEC) && ((cpu->efer & EFER_NXE) || (cpu->cr4 & CR4_SMEP)))
		code |= 16;
	*x = (struct x86_exception){
		.vector = EXC_PF, .has_error = true, .error = code, .cr2 = va
	};
	return 1;
}

// Sets bits in a PTE that the guest may be changing: only if it is still what was read.
static bool pte_set(uint64_t *pte, uint64_t was, uint64_t bits)
{
	return (was & bits) == bits ||
	       __atomic_compare_exchange_n(pte, &was, was | bits, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

int x86_walk(struct x86_cpu *cpu, uint64_t va, unsigned access, bool set_ad, uint64_t *ret_gpa,
	     unsigned *ret_flags, struct x86_exception *x)
{
	uint64_t table, pte = 0, size = 0, rights,
			rsvd = PTE_RSVD | (cpu->efer & EFER_NXE ? 0 : PTE_NX);
	uint64_t *entry = NULL;
	bool writable;
	int shift;

	if (!(cpu->cr0 & CR0_PG)) {
		*ret_gpa = va & 0xffffffff;
		*ret_flags = WALK_WRITABLE | WALK_DIRTY;
		return 0;
	}
again:
	table = cpu->cr3 & PTE_ADDR;
	rights = PTE_W | PTE_U | PTE_NX;
	for (shift = 39;; shift -= 9) {
		bool w;
		uint8_t *page = cpu->env->ram ? cpu->env->ram(cpu->arg, table, &w) : NULL;

		if (!page)
			return walk_fault(cpu, va, access, false, false, x); // tables outside RAM
		entry = (uint64_t *)(void *)(page + ((va >> shift & 511) << 3));
		pte = __atomic_load_n(entry, __ATOMIC_RELAXED);
		if (!(pte & PTE_P))
			return walk_fault(cpu, va, access, false, false, x);
		if ((pte & rsvd) || (shift == 39 && (pte & PTE_PS)))
			return walk_fault(cpu, va, access, true, true, x);
		rights &= (pte & (PTE_W | PTE_U)) | (~pte & PTE_NX);
		if (shift == 12 || (pte & PTE_PS))
			break;
		if (!pte_set(entry, pte, set_ad ? PTE_A : 0))
			goto again;
		table = pte & PTE_ADDR;
	}
	size = 1ull << shift;
	if (shift != 12 && (pte & (size - 1) & PTE_ADDR & ~0x1000ull))
		return walk_fault(cpu, va, access, true, true, x);
	writable = (rights & PTE_W) || (!(access & X86_USER) && !(cpu->cr0 & CR0_WP));
	if (((access & X86_USER) && !(rights & PTE_U)) || ((access & X86_WRITE) && !writable) ||
	    ((access & X86_EXEC) && !(rights & PTE_NX)) ||
	    ((access & X86_EXEC) && !(access & X86_USER) && (rights & PTE_U) &&
	     (cpu->cr4 & CR4_SMEP)))
		return walk_fault(cpu, va, access, true, false, x);
	if (set_ad && !pte_set(entry, pte, PTE_A | (access & X86_WRITE ? PTE_D : 0)))
		goto again;
	*ret_gpa = (pte & PTE_ADDR & ~(size - 1)) | (va & (size - 1));
	*ret_flags = (pte & PTE_G ? TLB_GLOBAL : 0) | (shift != 12 ? TLB_LARGE : 0) |
		     (writable ? WALK_WRITABLE : 0) |
		     ((pte & PTE_D) || (access & X86_WRITE) ? WALK_DIRTY : 0);
	if (!(cpu->cr4 & CR4_PGE))
		*ret_flags &= ~(unsigned)TLB_GLOBAL;
	return 0;
}

int x86_translate(struct x86_cpu *cpu, uint64_t gva, unsigned access, bool set_ad,
		  uint64_t *ret_gpa, struct x86_exception *fault)
{
	unsigned flags;

	return x86_walk(cpu, gva, access, set_ad, ret_gpa, &flags, fault);
}

// ---- the TLB

static void entry_clear(struct x86_tlb_entry *e)
{
	e->tag_r = e->tag_w = 1;
	e->flags = 0;
}

static void generation_new(struct x86_cpu *cpu, bool global)
{
	cpu->gen[0]++;
	if (global)
		cpu->gen[1]++;
	x86_update_mode(cpu);
}

void x86_tlb_flush_all(struct x86_cpu *cpu)
{
	cpu->large_seen = 0;
	memset(cpu->code_seen, 0, sizeof(cpu->code_seen));
	for (unsigned m = 0; m < 2; m++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			entry_clear(&cpu->tlbs[m][i]);
	generation_new(cpu, true);
}

void x86_tlb_flush_nonglobal(struct x86_cpu *cpu)
{
	for (unsigned m = 0; m < 2; m++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			if (!(cpu->tlbs[m][i].flags & TLB_GLOBAL))
				entry_clear(&cpu->tlbs[m][i]);
	generation_new(cpu, false);
}

static uint64_t large_bit(uint64_t va)
{
	return 1ull << ((va >> 30 ^ va >> 36) & 63);
}

void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t va)
{
	struct x86_itlb_entry *t = &cpu->itlb[(va >> 12) & (ITLB_ENTRIES - 1)];
	unsigned code = code_seen_bit(va);

	for (unsigned m = 0; m < 2; m++) {
		entry_clear(&cpu->tlbs[m][(va >> 12) & TLB_MASK]);
		// A large page was cached in 4 KiB pieces: all of them go (within 1 GiB, whatever its size was).
		for (unsigned i = 0; (cpu->large_seen & large_bit(va)) && i < TLB_ENTRIES; i++) {
			struct x86_tlb_entry *e = &cpu->tlbs[m][i];

			if ((e->flags & TLB_LARGE) && ((e->tag_r & ~1ull) >> 30) == va >> 30)
				entry_clear(e);
		}
	}
	if (t->va == (va & PAGE_MASK_))
		t->va = 1;
	// Only where code came from does the jump cache hold anything; a large page may have brought code from afar.
	if ((cpu->code_seen[code >> 6] >> (code & 63) & 1) || (cpu->large_seen & large_bit(va)))
		generation_new(cpu, va >> 63);
}

void x86_tlb_drop_writes(struct x86_cpu *cpu, const void *host_page)
{
	for (unsigned m = 0; m < 2; m++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++) {
			struct x86_tlb_entry *e = &cpu->tlbs[m][i];

			if (e->tag_w != 1 && e->tag_w + e->addend == (uintptr_t)host_page)
				e->tag_w = 1;
		}
}

void x86_flush_tlb(struct x86_cpu *cpu)
{
	x86_tlb_flush_all(cpu);
}

// Where an access to one page goes.
struct place {
	uint8_t *host; // RAM at va, or NULL
	uint64_t gpa;
};

// Translates va for access within one page, fills the TLB if it is plain RAM. Raises faults.
static struct place locate(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			   unsigned access)
{
	struct place p = { 0 };
	struct x86_exception x;
	bool writable = false;
	unsigned flags = 0;
	int r;

	if (cpu->mode & MODE_USER)
		access |= X86_USER;
	if (unlikely((cpu->mode & MODE_LONG) && !va_canonical(va)))
		x86_raise(cpu, op,
			  op && (op->base == X86_RSP || op->base == X86_RBP) ? EXC_SS : EXC_GP, 0);
	if (!(cpu->mode & MODE_LONG))
		va &= 0xffffffff;
	if (cpu->env->translate) {
		r = cpu->env->translate(cpu->arg, va, access, &p.gpa, &x);
		if (r == X86_ENV_EXIT) {
			cpu->exit->gva = va;
			cpu->exit->gpa = 0;
			cpu->exit->access = access;
			x86_leave(cpu, op, X86_EXIT_MMIO);
		}
	} else {
		r = x86_walk(cpu, va, access, true, &p.gpa, &flags, &x);
	}
	if (r)
		x86_raise_pf(cpu, op, &x);
	p.host = cpu->env->ram ? cpu->env->ram(cpu->arg, p.gpa & PAGE_MASK_, &writable) : NULL;
	if (p.host && (access & X86_WRITE) && !writable)
		p.host = NULL; // read-only to the guest: an exit for the VMM
	if (p.host) {
		bool watched = x86_code_in_page(cpu, p.gpa);

		if (!cpu->env->translate) {
			struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

			e->addend = (uint64_t)(uintptr_t)p.host - (va & PAGE_MASK_);
			e->tag_r = va & PAGE_MASK_;
			// Without D set in the PTE the first store has to come here to set it.
			e->tag_w = writable && !watched && (flags & WALK_WRITABLE) &&
						   (flags & WALK_DIRTY)
					   ? e->tag_r
					   : 1;
			e->flags = flags & (TLB_GLOBAL | TLB_LARGE);
			if (flags & TLB_LARGE)
				cpu->large_seen |= large_bit(va);
		}
		p.host += p.gpa & 0xfff;
		if (watched && (access & X86_WRITE))
			p.host = NULL; // the caller goes by gpa, so that the code is dropped
	}
	return p;
}

static uint8_t *ram_at(struct x86_cpu *cpu, uint64_t gpa, bool write)
{
	bool writable = false;
	uint8_t *page = cpu->env->ram ? cpu->env->ram(cpu->arg, gpa & PAGE_MASK_, &writable) : NULL;

	return page && (!write || writable) ? page + (gpa & 0xfff) : NULL;
}

// Leaves for the VMM, or returns if the environment did the access.
static void device(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, uint64_t gpa,
		   void *data, unsigned len, bool write)
{
	int r;

	if (write)
		r = cpu->env->write ? cpu->env->write(cpu->arg, gpa, data, len) : X86_ENV_EXIT;
	else
		r = cpu->env->read ? cpu->env->read(cpu->arg, gpa, data, len) : X86_ENV_EXIT;
	if (r == 0)
		return;
	cpu->exit->gva = va;
	cpu->exit->gpa = gpa;
	cpu->exit->access = write ? X86_WRITE : X86_READ;
	cpu->exit->size = len;
	x86_leave(cpu, op, X86_EXIT_MMIO);
}

// Within one page.
static void read_part(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, uint8_t *buf,
		      unsigned len)
{
	struct place p = locate(cpu, op, va, X86_READ);

	if (p.host) {
		memcpy(buf, p.host, len);
		return;
	}
	for (unsigned done = 0; done < len;) {
		unsigned n = len - done > 8 ? 8 : len - done;

		device(cpu, op, va + done, p.gpa + done, buf + done, n, false);
		done += n;
	}
}

static void write_part(struct x86_cpu *cpu, const struct x86_op *op, struct place p, uint64_t va,
		       const uint8_t *buf, unsigned len)
{
	uint8_t *ram = p.host ? p.host : ram_at(cpu, p.gpa, true);

	if (ram) {
		memcpy(ram, buf, len);
		if (!p.host)
			x86_code_written(cpu, p.gpa, len);
		return;
	}
	for (unsigned done = 0; done < len;) {
		unsigned n = len - done > 8 ? 8 : len - done;
		uint8_t data[8];

		memcpy(data, buf + done, n);
		device(cpu, op, va + done, p.gpa + done, data, n, true);
		done += n;
	}
}

static unsigned first_part(uint64_t va, unsigned len)
{
	unsigned room = 4096 - (unsigned)(va & 0xfff);

	return len < room ? len : room;
}

void x86_read(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, void *buf, unsigned len)
{
	unsigned n = first_part(va, len);

	read_part(cpu, op, va, buf, n);
	if (n < len)
		read_part(cpu, op, va + n, (uint8_t *)buf + n, len - n);
}

void x86_write(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, const void *buf,
	       unsigned len)
{
	unsigned n = first_part(va, len);
	struct place a = locate(cpu, op, va, X86_WRITE), b = { 0 };

	if (n < len)
		b = locate(cpu, op, va + n, X86_WRITE); // both pages, before either is written
	write_part(cpu, op, a, va, buf, n);
	if (n < len)
		write_part(cpu, op, b, va + n, (const uint8_t *)buf + n, len - n);
}

void x86_write_probe(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned len)
{
	unsigned n = first_part(va, len);

	(void)locate(cpu, op, va, X86_WRITE); // for its faults
	if (n < len)
		(void)locate(cpu, op, va + n, X86_WRITE); // as above
}

uint64_t x86_ld_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size)
{
	uint64_t v = 0;

	x86_read(cpu, op, va, &v, size);
	return v;
}

void x86_st_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size,
		 uint64_t v)
{
	x86_write(cpu, op, va, &v, size);
}

void *x86_rmw_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size)
{
	struct place p;

	if (first_part(va, size) < size) {
		x86_write_probe(cpu, op, va, size);
		return NULL;
	}
	p = locate(cpu, op, va, X86_WRITE);
	return p.host;
}

uint8_t *x86_host_span(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, bool write)
{
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if ((write ? e->tag_w : e->tag_r) == (va & PAGE_MASK_))
		return (uint8_t *)(uintptr_t)(va + e->addend);
	return locate(cpu, op, va, write ? X86_WRITE : X86_READ).host;
}

int x86_sys_access(struct x86_cpu *cpu, uint64_t va, void *buf, unsigned len, bool write,
		   struct x86_exception *x)
{
	while (len) {
		unsigned n = first_part(va, len), flags;
		uint64_t gpa;
		uint8_t *ram;

		if (x86_walk(cpu, va, write ? X86_WRITE : X86_READ, true, &gpa, &flags, x))
			return 1;
		ram = ram_at(cpu, gpa, write);
		if (!ram) { // a descriptor table or stack in a device: as an access that finds nothing
			*x = (struct x86_exception){ .vector = EXC_GP, .has_error = true };
			return 1;
		}
		if (write) {
			memcpy(ram, buf, n);
			if (x86_code_in_page(cpu, gpa))
				x86_code_written(cpu, gpa, n);
		} else {
			memcpy(buf, ram, n);
		}
		va += n;
		buf = (uint8_t *)buf + n;
		len -= n;
	}
	return 0;
}

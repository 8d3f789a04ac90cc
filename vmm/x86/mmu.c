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

// A page-table entry in guest RAM: 8 bytes, or 4 with 32-bit paging.
struct entry {
	void *at;
	uint64_t table;
	bool wide, writable;
	uint64_t value;
};

// False: the table is not in RAM.
static bool entry_read(struct x86_cpu *cpu, uint64_t table, uint64_t index, bool wide,
		       struct entry *e)
{
	uint8_t *page =
		cpu->env->ram ? cpu->env->ram(cpu->arg, table & PAGE_MASK_, &e->writable) : NULL;

	if (!page)
		return false;
	e->at = page + (table & 0xfff) + index * (wide ? 8 : 4);
	e->table = table & PAGE_MASK_;
	e->wide = wide;
	e->value = wide ? __atomic_load_n((uint64_t *)e->at, __ATOMIC_RELAXED)
			: __atomic_load_n((uint32_t *)e->at, __ATOMIC_RELAXED);
	return true;
}

// Sets bits in an entry that the guest may be changing: only if it is still what was read.
static bool entry_set(struct x86_cpu *cpu, const struct entry *e, uint64_t bits)
{
	uint64_t was = e->value;
	uint32_t was32 = (uint32_t)was;

	if ((was & bits) == bits || !e->writable)
		return true; // tables in read-only memory have no A and D bits
	if (cpu->env->touch)
		(void)cpu->env->touch(cpu->arg, e->table, X86_WRITE); // only to be counted
	if (e->wide)
		return __atomic_compare_exchange_n((uint64_t *)e->at, &was, was | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint32_t *)e->at, &was32, (uint32_t)(was | bits), false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

// What a walk has found: the last entry, the page's size as a shift, and the rights of all levels (PTE_W, PTE_U, PTE_NX
// as "may execute").
struct leaf {
	struct entry e;
	int shift;
	uint64_t rights, frame;
};
enum { WALK_FAULT = 1, WALK_AGAIN = 2 };

// 32-bit paging (SDM 4.3): two levels of 4-byte entries, 4 MiB pages with 40-bit addresses.
static int walk_32(struct x86_cpu *cpu, uint64_t va, unsigned access, bool set_ad, struct leaf *l,
		   struct x86_exception *x)
{
	uint64_t pde;

	l->rights = PTE_W | PTE_U | PTE_NX;
	if (!entry_read(cpu, cpu->cr3 & 0xfffff000, va >> 22 & 1023, false, &l->e) ||
	    !(l->e.value & PTE_P))
		return walk_fault(cpu, va, access, false, false, x);
	pde = l->e.value;
	l->rights &= pde | PTE_NX;
	l->shift = 22;
	if ((pde & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
		if (pde & 1 << 21)
			return walk_fault(cpu, va, access, true, true, x);
		l->frame = (pde & 0xffc00000) | (pde >> 13 & 0xff) << 32;
		return 0;
	}
	if (set_ad && !entry_set(cpu, &l->e, PTE_A))
		return WALK_AGAIN;
	if (!entry_read(cpu, pde & 0xfffff000, va >> 12 & 1023, false, &l->e) ||
	    !(l->e.value & PTE_P))
		return walk_fault(cpu, va, access, false, false, x);
	l->rights &= l->e.value | PTE_NX;
	l->shift = 12;
	l->frame = l->e.value & 0xfffff000;
	return 0;
}

// PAE and 4-level paging (SDM 4.4, 4.5): 8-byte entries; the four PDPTEs of PAE have a present bit and no rights.
static int walk_64(struct x86_cpu *cpu, uint64_t va, unsigned access, bool set_ad, struct leaf *l,
		   struct x86_exception *x)
{
	uint64_t rsvd = PTE_RSVD | (cpu->efer & EFER_NXE ? 0 : PTE_NX), table = cpu->cr3 & PTE_ADDR;
	bool pae = !(cpu->efer & EFER_LMA);

	if (pae) {
		if (!entry_read(cpu, cpu->cr3 & 0xffffffe0, va >> 30 & 3, true, &l->e) ||
		    !(l->e.value & PTE_P))
			return walk_fault(cpu, va, access, false, false, x);
		table = l->e.value & PTE_ADDR;
	}
	l->rights = PTE_W | PTE_U | PTE_NX;
	for (l->shift = pae ? 21 : 39;; l->shift -= 9) {
		uint64_t pte;

		if (!entry_read(cpu, table, va >> l->shift & 511, true, &l->e) ||
		    !(l->e.value & PTE_P))
			return walk_fault(cpu, va, access, false, false, x);
		pte = l->e.value;
		if ((pte & rsvd) || (l->shift == 39 && (pte & PTE_PS)))
			return walk_fault(cpu, va, access, true, true, x);
		l->rights &= (pte & (PTE_W | PTE_U)) | (~pte & PTE_NX);
		if (l->shift == 12 || (pte & PTE_PS))
			break;
		if (set_ad && !entry_set(cpu, &l->e, PTE_A))
			return WALK_AGAIN;
		table = pte & PTE_ADDR;
	}
	l->frame = l->e.value & PTE_ADDR & ~((1ull << l->shift) - 1);
	if (l->shift != 12 && (l->e.value & ((1ull << l->shift) - 1) & PTE_ADDR & ~0x1000ull))
		return walk_fault(cpu, va, access, true, true, x);
	return 0;
}

// SDM 4.6: whether the rights allow the access; *writable: whether they would allow a write.
static bool rights_allow(const struct x86_cpu *cpu, uint64_t rights, unsigned access,
			 bool *writable)
{
	bool user = access & X86_USER;

	*writable = (rights & PTE_W) || (!user && !(cpu->cr0 & CR0_WP));
	if ((user && !(rights & PTE_U)) || ((access & X86_WRITE) && !*writable))
		return false;
	if (access & X86_EXEC)
		return (rights & PTE_NX) && (user || !(rights & PTE_U) || !(cpu->cr4 & CR4_SMEP));
	if (!user && (rights & PTE_U) && (cpu->cr4 & CR4_SMAP))
		return !(access & X86_IMPLICIT) && (cpu->rflags & F_AC);
	return true;
}

int x86_walk(struct x86_cpu *cpu, uint64_t va, unsigned access, bool set_ad, uint64_t *ret_gpa,
	     unsigned *ret_flags, struct x86_exception *x)
{
	struct leaf l;
	bool writable;
	int r;

	if (!(cpu->cr0 & CR0_PG)) {
		*ret_gpa = va & 0xffffffff;
		*ret_flags = WALK_WRITABLE | WALK_DIRTY;
		return 0;
	}
	do {
		r = cpu->cr4 & CR4_PAE ? walk_64(cpu, va, access, set_ad, &l, x)
				       : walk_32(cpu, va, access, set_ad, &l, x);
		if (r == WALK_FAULT)
			return 1;
		if (r == 0 && !rights_allow(cpu, l.rights, access, &writable))
			return walk_fault(cpu, va, access, true, false, x);
	} while (r == WALK_AGAIN ||
		 (set_ad && !entry_set(cpu, &l.e, PTE_A | (access & X86_WRITE ? PTE_D : 0))));
	*ret_gpa = l.frame | (va & ((1ull << l.shift) - 1));
	*ret_flags = (l.e.value & PTE_G && (cpu->cr4 & CR4_PGE) ? TLB_GLOBAL : 0) |
		     (l.shift != 12 ? TLB_LARGE : 0) | (writable ? WALK_WRITABLE : 0) |
		     ((l.e.value & PTE_D) || (access & X86_WRITE) ? WALK_DIRTY : 0);
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
	for (unsigned m = 0; m < TLBS; m++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			entry_clear(&cpu->tlbs[m][i]);
	generation_new(cpu, true);
}

void x86_tlb_flush_nonglobal(struct x86_cpu *cpu)
{
	for (unsigned m = 0; m < TLBS; m++)
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

	for (unsigned m = 0; m < TLBS; m++) {
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

void x86_drop_writes(struct x86_cpu *cpu, const void *host_page)
{
	for (unsigned m = 0; m < TLBS; m++)
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

// Data breakpoints (SDM 17.2.4). True if one of them lies in the page.
static bool page_watched(const struct x86_cpu *cpu, uint64_t va)
{
	for (unsigned i = 0; i < 4; i++)
		if ((cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[i] & PAGE_MASK_) == (va & PAGE_MASK_))
			return true;
	return false;
}

static void watch(struct x86_cpu *cpu, uint64_t va, unsigned len, bool write)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned type = cpu->dr[7] >> (16 + 4 * i) & 3,
			 size = cpu->dr[7] >> (18 + 4 * i) & 3;
		uint64_t bytes = size == 2 ? 8 : size + 1, at = cpu->dr[i] & ~(bytes - 1);

		if ((cpu->dr[7] >> (2 * i) & 3) && (type == 3 || (type == 1 && write)) &&
		    va < at + bytes && at < va + len)
			cpu->db_hits |= (uint8_t)(1u << i);
	}
}

// Where an access to one page goes.
struct place {
	uint8_t *host; // RAM at va, or NULL
	uint64_t gpa;
};

// True if stores must be told to processors that have code from the page. Otherwise, and if this one is about to store
// there unseen, that is marked first and then looked again: whoever decodes code marks first and then looks here.
static bool others_have_code(struct x86_cpu *cpu, uint64_t gpa, bool stores)
{
	struct x86_page *page = cpu_page(cpu, gpa);

	if (!page || !stores)
		return false;
	if (!(atomic_load(&page->written) & cpu->mark))
		atomic_fetch_or(&page->written, cpu->mark);
	return atomic_load(&page->code) & ~cpu->mark;
}

// Accessed and written pages are counted outside. True: stores to this one may go unseen.
static bool touch(struct x86_cpu *cpu, uint64_t gpa, unsigned access)
{
	return !cpu->env->touch ||
	       (cpu->env->touch(cpu->arg, gpa & PAGE_MASK_, access & (X86_READ | X86_WRITE)) &
		X86_TOUCH_WRITTEN);
}

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
			  op && op->seg == 0 && (op->base == X86_RSP || op->base == X86_RBP)
				  ? EXC_SS
				  : EXC_GP,
			  0);
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
		bool written = touch(cpu, p.gpa, access);
		bool watched = x86_code_in_page(cpu, p.gpa) ||
			       others_have_code(cpu, p.gpa, writable && (flags & WALK_DIRTY));

		if (!cpu->env->translate && !(cpu->watching && page_watched(cpu, va))) {
			struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

			e->addend = (uint64_t)(uintptr_t)p.host - (va & PAGE_MASK_);
			e->tag_r = va & PAGE_MASK_;
			// Without D set in the PTE the first store has to come here to set it.
			e->tag_w = writable && written && !watched && (flags & WALK_WRITABLE) &&
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

	if (!page || (write && !writable))
		return NULL;
	(void)touch(cpu, gpa, write ? X86_WRITE : X86_READ); // only to be counted
	return page + (gpa & 0xfff);
}

// Leaves for the VMM, or returns if the environment did the access.
static void device(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, uint64_t gpa,
		   void *data, unsigned len, bool write)
{
	int r;

	if (unlikely(cpu->n_untold)) // it may be a local APIC's command register
		x86_code_tell(cpu);
	if (write)
		r = cpu->env->write ? cpu->env->write(cpu->arg, gpa, data, len) : X86_ENV_EXIT;
	else
		r = cpu->env->read ? cpu->env->read(cpu->arg, gpa, data, len) : X86_ENV_EXIT;
	if (r == 0)
		return;
	if (r == X86_ENV_FAULT)
		x86_raise(cpu, op, EXC_GP, 0);
	cpu->exit->gva = va;
	cpu->exit->gpa = gpa;
	cpu->exit->access = write ? X86_WRITE : X86_READ;
	cpu->exit->size = len;
	x86_leave(cpu, op, X86_EXIT_MMIO);
}

// Operands of instructions are one access each, as other processors see it.
static void copy_operand(void *to, const void *from, unsigned len)
{
	switch (len) {
	case 1:
		*(volatile uint8_t *)to = *(const volatile uint8_t *)from;
		break;
	case 2:
		*(volatile u16u *)to = *(const volatile u16u *)from;
		break;
	case 4:
		*(volatile u32u *)to = *(const volatile u32u *)from;
		break;
	case 8:
		*(volatile u64u *)to = *(const volatile u64u *)from;
		break;
	default:
		guest_copy(to, from, len);
		break;
	}
}

// Within one page.
static void read_part(struct x86_cpu *cpu, const struct x86_op *op, struct place p, uint64_t va,
		      uint8_t *buf, unsigned len)
{
	if (p.host) {
		copy_operand(buf, p.host, len);
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
		copy_operand(ram, buf, len);
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
	struct place a, b = { 0 };

	if (unlikely(cpu->watching))
		watch(cpu, va, len, false);
	a = locate(cpu, op, va, X86_READ);
	if (n < len)
		b = locate(cpu, op, va + n, X86_READ); // before a device sees the first part
	read_part(cpu, op, a, va, buf, n);
	if (n < len)
		read_part(cpu, op, b, va + n, (uint8_t *)buf + n, len - n);
}

void x86_write(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, const void *buf,
	       unsigned len)
{
	unsigned n = first_part(va, len);
	struct place a = locate(cpu, op, va, X86_WRITE), b = { 0 };

	if (n < len)
		b = locate(cpu, op, va + n, X86_WRITE); // both pages, before either is written
	if (unlikely(cpu->watching))
		watch(cpu, va, len, true);
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

void x86_read_probe(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va)
{
	(void)locate(cpu, op, va, X86_READ); // for its faults
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
	if (!p.host) { // a device, or a page with code
		p.host = ram_at(cpu, p.gpa, true);
		if (p.host)
			x86_code_will_change(cpu, p.gpa, size);
	}
	if (unlikely(cpu->watching) && p.host)
		watch(cpu, va, size, true);
	return p.host;
}

uint8_t *x86_host_span(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, bool write)
{
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if ((write ? e->tag_w : e->tag_r) == (va & PAGE_MASK_))
		return (uint8_t *)(uintptr_t)(va + e->addend);
	if (unlikely(cpu->watching) && page_watched(cpu, va))
		return NULL;
	return locate(cpu, op, va, write ? X86_WRITE : X86_READ).host;
}

// The same by what env says of addresses and memory: the processor that emulates single instructions.
static int sys_access_env(struct x86_cpu *cpu, uint64_t va, uint8_t *buf, unsigned len, bool write,
			  struct x86_exception *x)
{
	while (len) {
		unsigned part = first_part(va, len), n;
		uint64_t gpa;
		int r = cpu->env->translate(cpu->arg, va, write ? X86_WRITE : X86_READ, &gpa, x);

		n = part >= 8 ? 8 : part >= 4 ? 4 : part >= 2 ? 2 : 1;
		if (r == 0)
			r = write ? cpu->env->write(cpu->arg, gpa, buf, n)
				  : cpu->env->read(cpu->arg, gpa, buf, n);
		if (r == X86_ENV_EXIT) {
			cpu->exit->reason = X86_EXIT_UNSUPPORTED;
			longjmp(cpu->unwind, UNWIND_EXIT);
		}
		if (r)
			return 1;
		va += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int x86_sys_access(struct x86_cpu *cpu, uint64_t va, void *buf, unsigned len, bool write,
		   struct x86_exception *x)
{
	if (cpu->env->translate)
		return sys_access_env(cpu, va, buf, len, write, x);
	while (len) {
		unsigned n = first_part(va, len), flags;
		uint64_t gpa;
		uint8_t *ram;

		if (x86_walk(cpu, va, X86_IMPLICIT | (write ? X86_WRITE : X86_READ), true, &gpa,
			     &flags, x))
			return 1;
		ram = ram_at(cpu, gpa, write);
		if (!ram) { // a descriptor table or stack in a device: as an access that finds nothing
			*x = (struct x86_exception){ .vector = EXC_GP, .has_error = true };
			return 1;
		}
		if (write) {
			guest_copy(ram, buf, n);
			if (cpu->shared) // the store comes before the look at the page's marks
				atomic_thread_fence(memory_order_seq_cst);
			x86_code_written(cpu, gpa, n);
		} else {
			guest_copy(buf, ram, n);
		}
		va += n;
		buf = (uint8_t *)buf + n;
		len -= n;
	}
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Blocks of decoded code: an arena, a hash by guest-physical address and mode, and the pages they came from.
//
// A block never leaves its page, save for a last instruction that crosses the end; such a block is looked up each time
// it is entered, and entered by no direct link. Stores by this processor to a page with code come through mmu.c's slow
// path, which drops the page's blocks when a 128-byte line with code is hit. Other processors of the guest do the same and
// tell (struct x86_page). Stores by anybody else (a disk's DMA) are not seen: so a page's lines are compared with a
// checksum whenever it is entered by a new translation, or for the first time after x86_notify_write.
#include "vmm/x86/cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ARENA_BYTES = 6 << 20, HASH = 8192, PAGE_HASH = 1024, BLOCK_INSNS = 32, PAGES_MAX = 4096 };
enum { HOT = 64 }; // entries before a block is translated

enum { SCRATCH_BYTES = 4096 };
_Static_assert(sizeof(struct x86_block) + 4 * sizeof(struct x86_op) < SCRATCH_BYTES,
	       "one instruction");

struct code_page {
	uint64_t gpa;
	uint32_t lines; // bit per 128 bytes that holds code
	uint32_t sum;   // of those lines
	struct x86_block *blocks;
	struct code_page *next;
};

struct x86_code {
	uint8_t *arena;
	size_t used;
	struct x86_block *hash[HASH];
	struct code_page *pages[PAGE_HASH];
	struct code_page page_store[PAGES_MAX];
	unsigned n_pages;
	struct x86_block *scratch; // for x86_step
};

static unsigned block_hash(uint64_t gpa, uint32_t mode)
{
	return (unsigned)((gpa ^ gpa >> 13 ^ (uint64_t)mode << 9) & (HASH - 1));
}

int x86_code_init(struct x86_cpu *cpu)
{
	struct x86_code *c =
		mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (c == MAP_FAILED)
		return -ENOMEM;
	c->arena = mmap(NULL, ARENA_BYTES + SCRATCH_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cpu->code = c;
	if (c->arena == MAP_FAILED)
		return -ENOMEM; // x86_code_done frees
	c->scratch = (struct x86_block *)(void *)(c->arena + ARENA_BYTES);
	x86_native_init(cpu); // without, every operation is interpreted
	cpu->hot = HOT;
	return 0;
}

void x86_code_done(struct x86_cpu *cpu)
{
	struct x86_code *c = cpu->code;

	if (!c)
		return;
	x86_native_done(cpu);
	if (c->arena != MAP_FAILED)
		(void)munmap(c->arena,
			     ARENA_BYTES + SCRATCH_BYTES); // cannot fail on what mmap gave
	(void)munmap(c, sizeof(*c));                       // as above
	cpu->code = NULL;
}

void x86_code_flush(struct x86_cpu *cpu)
{
	struct x86_code *c = cpu->code;

	memset(c->hash, 0, sizeof(c->hash));
	memset(c->pages, 0, sizeof(c->pages));
	c->n_pages = 0;
	c->used = 0;
	x86_native_flush(cpu);
	cpu->block = NULL;
	cpu->link_from = NULL;
	cpu->gen[0]++; // the jump cache names blocks
	cpu->gen[1]++;
	x86_update_mode(cpu);
}

static struct code_page *page_find(struct x86_code *c, uint64_t gpa)
{
	struct code_page *p = c->pages[(gpa >> 12) & (PAGE_HASH - 1)];

	while (p && p->gpa != (gpa & PAGE_MASK_))
		p = p->next;
	return p;
}

bool x86_code_in_page(struct x86_cpu *cpu, uint64_t gpa)
{
	struct code_page *p = page_find(cpu->code, gpa);

	return p && p->lines;
}

static uint32_t page_sum(const struct code_page *p, const uint8_t *host)
{
	uint64_t sum[4] = { 0 };

	for (unsigned i = 0; i < 32; i++)
		if (p->lines >> i & 1)
			for (unsigned j = 0; j < 128;
			     j += 32) // four chains, which the host computes side by side
				for (unsigned k = 0; k < 4; k++) {
					uint64_t v = *(const u64u *)(const void *)(host + i * 128 +
										   j + 8 * k);

					sum[k] = (sum[k] ^ v) * 0x9e3779b97f4a7c15ull;
					sum[k] ^= sum[k] >> 29;
				}
	sum[0] ^= sum[1] * 3 ^ sum[2] * 5 ^ sum[3] * 7;
	return (uint32_t)(sum[0] ^ sum[0] >> 32);
}

// What is left of a dropped block: whoever still names it (a link, the jump cache) comes here and looks anew.
OPH(op_dead)
{
	(void)op;
	cpu->rip = cpu->gpr[X86_REG_BVA];
	return NULL;
}

// The rest of a running block that has changed under itself: the next instruction is decoded anew.
OPH(op_stale)
{
	cpu->icount -= (uint64_t)(cpu->block->insns - op->idx);
	cpu->rip = op_rip(cpu, op);
	return NULL;
}

static void page_drop(struct x86_cpu *cpu, struct code_page *p)
{
	struct x86_code *c = cpu->code;
	struct x86_page *page = cpu_page(cpu, p->gpa);

	for (struct x86_block *b = p->blocks; b; b = b->page_next) {
		struct x86_block **at = &c->hash[block_hash(b->gpa, b->mode)];

		while (*at && *at != b)
			at = &(*at)->hash_next;
		if (*at)
			*at = b->hash_next;
		b->ops[0].fn = op_dead;
		b->ops[1].fn = op_stale;
		for (unsigned i = 2; b == cpu->block && i < b->n_ops; i++)
			b->ops[i].fn = op_stale;
	}
	p->blocks = NULL;
	p->lines = 0;
	cpu->link_from = NULL;
	if (page)
		atomic_fetch_and(&page->code, (uint8_t)~cpu->mark);
}

// Drops the page's blocks if one of the lines written holds code. p may be NULL.
static void drop_written(struct x86_cpu *cpu, struct code_page *p, uint64_t gpa, unsigned len)
{
	unsigned first = (unsigned)(gpa & 0xfff) >> 7,
		 last = ((unsigned)(gpa & 0xfff) + len - 1) >> 7;

	if (!p)
		return;
	for (unsigned i = first; i <= last && i < 32; i++)
		if (p->lines >> i & 1) {
			page_drop(cpu, p);
			return;
		}
}

void x86_code_written(struct x86_cpu *cpu, uint64_t gpa, unsigned len)
{
	struct code_page *p = page_find(cpu->code, gpa);
	struct x86_page *page = cpu_page(cpu, gpa);

	if (page && (atomic_load(&page->code) & ~cpu->mark))
		cpu->env->code_changed(cpu->arg, gpa & PAGE_MASK_);
	drop_written(cpu, p, gpa, len);
}

void x86_code_will_change(struct x86_cpu *cpu, uint64_t gpa, unsigned len)
{
	enum { ROOM = sizeof(cpu->untold) / sizeof(*cpu->untold) };
	struct x86_page *page = cpu_page(cpu, gpa);

	drop_written(cpu, page_find(cpu->code, gpa), gpa, len);
	if (!page || !(atomic_load(&page->code) & ~cpu->mark))
		return;
	if (cpu->n_untold == ROOM)
		x86_code_tell(cpu);
	cpu->untold[cpu->n_untold++] = gpa & PAGE_MASK_;
	atomic_store_explicit(&cpu->attn, 1, memory_order_relaxed);
}

void x86_code_tell(struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < cpu->n_untold; i++)
		cpu->env->code_changed(cpu->arg, cpu->untold[i]);
	cpu->n_untold = 0;
}

void x86_code_verify(struct x86_cpu *cpu, uint64_t gpa, const uint8_t *host)
{
	struct code_page *p = page_find(cpu->code, gpa);

	if (p && p->lines && p->sum != page_sum(p, host))
		page_drop(cpu, p);
}

void x86_code_changed(struct x86_cpu *cpu, uint64_t gpa)
{
	enum { ROOM = sizeof(cpu->changed) / sizeof(*cpu->changed) };

	pthread_mutex_lock(&cpu->changed_lock);
	if (cpu->n_changed < ROOM)
		cpu->changed[cpu->n_changed] = gpa;
	if (cpu->n_changed <= ROOM)
		cpu->n_changed++;
	pthread_mutex_unlock(&cpu->changed_lock);
	atomic_fetch_or(&cpu->notify, NOTIFY_PAGES);
	atomic_store(&cpu->attn, 1);
}

// Whatever of these pages is not what was decoded goes, and with it this processor's mark.
bool x86_code_take_changes(struct x86_cpu *cpu)
{
	enum { ROOM = sizeof(cpu->changed) / sizeof(*cpu->changed) };
	uint64_t gpas[ROOM];
	unsigned n;
	bool w;

	pthread_mutex_lock(&cpu->changed_lock);
	n = cpu->n_changed;
	cpu->n_changed = 0;
	memcpy(gpas, cpu->changed, sizeof(gpas));
	pthread_mutex_unlock(&cpu->changed_lock);
	for (unsigned i = 0; i < n && i < ROOM; i++) {
		struct code_page *p = page_find(cpu->code, gpas[i]);
		struct x86_page *page = cpu_page(cpu, gpas[i]);
		const uint8_t *host = cpu->env->ram(cpu->arg, gpas[i], &w);

		if (p && p->lines && (!host || p->sum != page_sum(p, host)))
			page_drop(cpu, p);
		else if (page && (!p || !p->lines))
			atomic_fetch_and(&page->code, (uint8_t)~cpu->mark);
	}
	return n > ROOM;
}

// Marks the page before anything is read of it to be decoded. Whoever may store there unseen is made to tell from now on.
static void page_claim(struct x86_cpu *cpu, uint64_t gpa, const uint8_t *host_page)
{
	struct x86_page *page = cpu_page(cpu, gpa);

	if (!page || (atomic_load(&page->code) & cpu->mark))
		return;
	atomic_fetch_or(&page->code, cpu->mark);
	if (!(atomic_load(&page->written) & ~cpu->mark))
		return;
	cpu->env->exclusive(cpu->arg, true);
	cpu->env->drop_writes(cpu->arg, host_page);
	atomic_fetch_and(&page->written, cpu->mark);
	cpu->env->exclusive(cpu->arg, false);
}

// The code page of gpa with the given byte range marked; NULL when the store is full.
static struct code_page *page_mark(struct x86_cpu *cpu, uint64_t gpa, unsigned len,
				   const uint8_t *host_page)
{
	struct x86_code *c = cpu->code;
	struct code_page *p = page_find(c, gpa);
	unsigned first = (unsigned)(gpa & 0xfff) >> 7,
		 last = ((unsigned)(gpa & 0xfff) + len - 1) >> 7;
	uint32_t before;

	if (!p) {
		if (c->n_pages == PAGES_MAX)
			return NULL;
		p = &c->page_store[c->n_pages++];
		*p = (struct code_page){ .gpa = gpa & PAGE_MASK_,
					 .next = c->pages[(gpa >> 12) & (PAGE_HASH - 1)] };
		c->pages[(gpa >> 12) & (PAGE_HASH - 1)] = p;
	}
	before = p->lines;
	for (unsigned i = first; i <= last && i < 32; i++)
		p->lines |= 1u << i;
	if (!before)
		x86_drop_writes(cpu, host_page);
	if (p->lines != before)
		p->sum = page_sum(p, host_page);
	return p;
}

// ---- fetching

// Translation of the page va for fetching; raises faults. *ret_host is the start of the page.
static uint64_t fetch_page(struct x86_cpu *cpu, uint64_t va, const uint8_t **ret_host)
{
	uint64_t page = (cpu->mode & MODE_LONG ? va : (uint32_t)va) & PAGE_MASK_, gpa;
	struct x86_itlb_entry *t = &cpu->itlb[(page >> 12) & (ITLB_ENTRIES - 1)];
	struct x86_exception x;
	unsigned flags;
	bool writable;

	if (t->va == page && t->key == cpu->jkey[va >> 63]) {
		*ret_host = t->host;
		return t->gpa;
	}
	if ((cpu->mode & MODE_LONG) && !va_canonical(va))
		x86_raise(cpu, NULL, EXC_GP, 0);
	if (x86_walk(cpu, page, X86_EXEC | (cpu->mode & MODE_USER ? X86_USER : 0), true, &gpa,
		     &flags, &x)) {
		x.cr2 = va;
		x86_raise_pf(cpu, NULL, &x);
	}
	*ret_host = cpu->env->ram ? cpu->env->ram(cpu->arg, gpa, &writable) : NULL;
	if (*ret_host && cpu->env->touch &&
	    (cpu->env->touch(cpu->arg, gpa, X86_EXEC) & X86_TOUCH_DENIED))
		*ret_host = NULL;
	if (!*ret_host) {
		cpu->exit->gva = va;
		cpu->exit->gpa = gpa | (va & 0xfff);
		cpu->exit->access = X86_EXEC;
		cpu->exit->size = 1;
		x86_leave(cpu, NULL, X86_EXIT_MMIO);
	}
	x86_code_verify(cpu, gpa, *ret_host); // may start a new generation
	*t = (struct x86_itlb_entry){ .va = page, .gpa = gpa, .host = *ret_host };
	// The upper half keeps its entries over CR3 writes: only global pages may.
	t->key = va >> 63 && !(flags & TLB_GLOBAL) ? ~0ull : cpu->jkey[va >> 63];
	return gpa;
}

// ---- decoding a block

OPH(op_enter)
{
	if (unlikely(atomic_load_explicit(&cpu->attn, memory_order_relaxed))) {
		cpu->rip = cpu->gpr[X86_REG_BVA];
		return NULL;
	}
	cpu->block = (struct x86_block *)(uintptr_t)op->imm;
	cpu->icount += op->aux;
	NEXT;
}

// First operation of a block that is not translated: counts, and translates it when it is worth it.
OPH(op_warm)
{
	struct x86_block *b = cpu->block;

	if (++b->heat < cpu->hot)
		return b->first(cpu, op);
	b->ops[1].fn = b->first;
	x86_native_translate(cpu, b);
	return op->fn(cpu, op);
}

// After the last instruction of a block that ends for length.
OPH(op_fall)
{
	if (likely(op->link != NULL)) {
		cpu->gpr[X86_REG_BVA] += (uint64_t)(int64_t)op->disp;
		ENTER(op->link);
	}
	cpu->link_from = op;
	cpu->rip = cpu->gpr[X86_REG_BVA] + (uint64_t)(int64_t)op->disp;
	return NULL;
}

OPH(op_fall_far)
{
	JUMP_TO(cpu->gpr[X86_REG_BVA] + (uint64_t)(int64_t)op->disp);
}

OPH(op_fall_one)
{
	cpu->rip = cpu->gpr[X86_REG_BVA] + (uint64_t)(int64_t)op->disp;
	if (!(cpu->mode & MODE_LONG))
		cpu->rip &= 0xffffffff;
	return NULL;
}

// 67-prefixed and 32-bit addresses are computed by an operation of their own, which leaves the address in a register.
OPH(op_ea32)
{
	uint64_t a = cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) +
		     (uint64_t)(int64_t)op->disp;

	cpu->gpr[X86_REG_EA] = (uint32_t)a;
	NEXT;
}

OPH(op_ea16)
{
	uint64_t a = cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) +
		     (uint64_t)(int64_t)op->disp;

	cpu->gpr[X86_REG_EA] = (uint16_t)a;
	NEXT;
}

// Outside 64-bit mode: the linear address, with the segment's checks. aux: address size; imm: bytes, and bit 16 = write
OPH(op_linear)
{
	uint64_t off = cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) +
		       (uint64_t)(int64_t)op->disp;

	off = op->aux == 2 ? (uint16_t)off : (uint32_t)off;
	if (unlikely(!(cpu->flat >> (op->seg - 1) & 1)) && op->imm)
		x86_seg_check(cpu, op, op->seg - 1u, off, (unsigned)op->imm & 0xffff,
			      op->imm >> 16);
	cpu->gpr[X86_REG_EA] = (uint32_t)(off + cpu->sbase[op->seg]);
	NEXT;
}

OPH(op_moffs)
{
	cpu->gpr[X86_REG_EA] = op->imm;
	NEXT;
}

static unsigned mode_bits(uint32_t mode)
{
	return mode & MODE_LONG ? 64 : mode & MODE_CS32 ? 32 : 16;
}

// Segment to add: in 64-bit mode only FS and GS; otherwise the override or the default of the base register.
static uint8_t seg_of(const struct x86_insn *in)
{
	if (in->mode == 64)
		return in->seg >= 1 + X86_FS ? in->seg : 0;
	if (in->seg)
		return in->seg;
	return 1 + (in->base == X86_RSP || in->base == X86_RBP ? X86_SS : X86_DS);
}

// op[0] computes the address that op[1] uses.
static void bind_address(const struct x86_insn *in, struct x86_op *op, bool moffs)
{
	bool lea = in->map == 0 && in->opcode == 0x8d, write;

	op[0].fn = moffs ? op_moffs : in->addrsize == 4 ? op_ea32 : op_ea16;
	op[0].imm = in->imm;
	// POP to memory: an address with the stack pointer in it uses the value after the pop.
	if (in->map == 0 && in->opcode == 0x8f && in->base == X86_RSP)
		op[0].disp += in->opsize;
	if (in->mode != 64 && !lea) {
		op[0].fn = op_linear;
		op[0].aux = in->addrsize;
		if (moffs)
			op[0].disp = (int32_t)in->imm;
		op[0].imm = x86_insn_access(in, &write);
		op[0].imm |= (uint64_t)write << 16;
		op[1].seg = 0;
	}
	op[1].base = X86_REG_EA;
	op[1].index = X86_REG_ZERO;
	op[1].scale = 0;
	op[1].disp = 0;
}

// Instructions whose only operand in memory is on the stack.
static bool stack_only(const struct x86_insn *in)
{
	uint8_t o = in->opcode, sub = in->modrm >> 3 & 7;

	if (in->map == 1)
		return (o & 0xf6) == 0xa0;
	if (in->map || (in->has_modrm && in->mod != 3))
		return false;
	return (o >= 0x50 && o <= 0x5f) || o == 0x68 || o == 0x6a || o == 0x8f || o == 0x9c ||
	       o == 0x9d || o == 0xc2 || o == 0xc3 || o == 0xc8 || o == 0xc9 || o == 0xe8 ||
	       (o == 0xff && (sub == 2 || sub == 6));
}

// Fills the operations of one instruction. Returns how many.
static unsigned bind(struct x86_cpu *cpu, const struct x86_insn *in, struct x86_op *op,
		     unsigned off, unsigned idx, uint32_t mode, uint64_t gpa, bool *ends,
		     bool *no_fall)
{
	unsigned n = 1;
	bool moffs = in->map == 0 && in->opcode >= 0xa0 && in->opcode <= 0xa3;
	struct x86_bind b = { .cpu = cpu, .insn = in, .mode = mode, .gpa = gpa };

	memset(op, 0, 2 * sizeof(*op));
	for (unsigned i = 0; i < 2; i++) {
		op[i].off = (uint16_t)off;
		op[i].len = in->len;
		op[i].idx = (uint8_t)idx;
		op[i].base = in->base;
		op[i].index = in->index;
		op[i].scale = in->scale;
		op[i].disp = in->disp;
		op[i].seg = seg_of(in);
		op[i].reg = in->reg;
		op[i].rm = in->rm;
	}
	for (unsigned i = 0; i < 2 && in->base == X86_REG_BVA; i++)
		op[i].disp = (int32_t)(in->disp + (int)off +
				       in->len); // RIP-relative: from the block's start
	b.op = op;
	if (moffs || (in->has_modrm && in->mod != 3 && in->addrsize != 8)) {
		bind_address(in, op, moffs);
		b.op = op + 1;
		n = 2;
	}
	if (!x86_bind_insn(&b)) {
		op->fn = x86_op_ud;
		*ends = *no_fall = true;
		return 1;
	}
	if (in->mode == 64 && stack_only(in)) {
		b.op->base = X86_RSP; // says whose fault is a bad address
		b.op->seg = 0;
	}
	*ends = b.ends;
	*no_fall = b.no_fall;
	return n;
}

static void finish(struct x86_block *b, struct x86_op *op, unsigned n_ops, uint32_t mode,
		   bool no_fall)
{
	unsigned to = (unsigned)(b->gpa & 0xfff) + b->bytes;

	b->ops[0] = (struct x86_op){ .fn = op_enter, .imm = (uintptr_t)b, .aux = b->insns };
	if (!no_fall) {
		*op = (struct x86_op){ .disp = b->bytes, .off = b->bytes, .idx = b->insns };
		op->fn = mode & MODE_ONE            ? op_fall_one
			 : to < 4096 && !b->crosses ? op_fall
						    : op_fall_far;
		n_ops++;
	}
	b->n_ops = (uint8_t)n_ops;
	b->first = b->ops[1].fn;
}

struct fetch {
	const uint8_t *host;  // page of the block
	const uint8_t *host2; // next page, once needed
	uint64_t va, gpa, gpa2;
};

// Decodes one instruction at offset off of the block, fetching from a second page if need be. As x86_decode.
static int fetch_decode(struct x86_cpu *cpu, struct fetch *f, unsigned off, unsigned bits,
			bool first, struct x86_insn *in, bool *crosses)
{
	unsigned at = (unsigned)(f->va & 0xfff) + off, room = at < 4096 ? 4096 - at : 0;
	uint8_t buf[16];
	int r;

	if (room >= 15)
		return x86_decode(f->host + at, 15, bits, in);
	if (room == 0)
		return 1;
	r = x86_decode(f->host + at, room, bits, in);
	if (r != 1 || !first)
		return r;
	f->gpa2 = fetch_page(cpu, (f->va & PAGE_MASK_) + 4096, &f->host2);
	page_claim(cpu, f->gpa2, f->host2);
	guest_copy(buf, f->host + at, room);
	guest_copy(buf + room, f->host2, 15 - room);
	*crosses = true;
	return x86_decode(buf, 15, bits, in);
}

// A conditional jump of 64-bit mode.
static bool is_jcc(const struct x86_insn *in)
{
	return in->mode == 64 && (in->map ? in->map == 1 && (in->opcode & 0xf0) == 0x80
					  : (in->opcode & 0xf0) == 0x70);
}

static struct x86_block *decode_block(struct x86_cpu *cpu, struct fetch *f, uint32_t mode)
{
	struct x86_code *c = cpu->code;
	unsigned bits = mode_bits(mode), off = 0, n = 1, max = mode & MODE_ONE ? 1 : BLOCK_INSNS;
	uint8_t bytes[BLOCK_INSNS * 15];
	size_t worst = sizeof(struct x86_block) + (BLOCK_INSNS * 2 + 4) * sizeof(struct x86_op) +
		       sizeof(bytes);
	bool ends = false, no_fall = false, crosses = false;
	struct x86_block *b;

	if (c->used + worst > ARENA_BYTES || c->n_pages + 2 > PAGES_MAX || x86_native_full(cpu))
		x86_code_flush(cpu);
	b = (struct x86_block *)(void *)(c->arena + c->used);
	*b = (struct x86_block){ .gpa = f->gpa | (f->va & 0xfff), .mode = mode };
	while (b->insns < max && !ends) {
		struct x86_insn in;
		int r = fetch_decode(cpu, f, off, bits, b->insns == 0, &in, &crosses);

		if (r == 1 && b->insns)
			break; // the next instruction goes on in the next page: a block of its own
		if (r) {
			b->ops[n] = (struct x86_op){ .fn = x86_op_ud,
						     .off = (uint16_t)off,
						     .idx = b->insns };
			n++;
			b->insns++;
			off++;
			ends = no_fall = true;
			break;
		}
		n += bind(cpu, &in, &b->ops[n], off, b->insns, mode, b->gpa, &ends, &no_fall);
		if (b->insns && is_jcc(&in))
			x86_fuse(&b->ops[n - 2], &b->ops[n - 1], in.opcode & 15);
		memcpy(bytes + off, in.bytes, in.len);
		off += in.len;
		b->insns++;
		if (crosses)
			break;
	}
	b->bytes = (uint16_t)off;
	b->crosses = crosses;
	b->gpa2 = f->gpa2;
	finish(b, &b->ops[n], n, mode, no_fall);
	memcpy(&b->ops[b->n_ops], bytes, off);
	if (cpu->native && cpu->hot && (mode & (MODE_LONG | MODE_ONE)) == MODE_LONG)
		b->ops[1].fn = op_warm;
	c->used += (sizeof(*b) + b->n_ops * sizeof(struct x86_op) + off + 63) & ~(size_t)63;
	return b;
}

static void block_insert(struct x86_cpu *cpu, struct x86_block *b, const struct fetch *f)
{
	struct x86_code *c = cpu->code;
	unsigned h = block_hash(b->gpa, b->mode), in_page = 4096 - (unsigned)(b->gpa & 0xfff);
	struct code_page *p =
		page_mark(cpu, b->gpa, b->bytes < in_page ? b->bytes : in_page, f->host);

	if (b->crosses)
		(void)page_mark(cpu, b->gpa2, b->bytes - in_page,
				f->host2); // room was checked for two
	b->page_next = p->blocks;
	p->blocks = b;
	b->hash_next = c->hash[h];
	c->hash[h] = b;
}

// A crossing block stands as long as both its pages hold the same bytes: the second page's blocks do not list it, so it
// is decoded again whenever that page changed since.
static bool crossing_valid(struct x86_cpu *cpu, struct x86_block *b, uint64_t va)
{
	const uint8_t *host2;

	return fetch_page(cpu, (va & PAGE_MASK_) + 4096, &host2) == b->gpa2 &&
	       x86_code_in_page(cpu, b->gpa2);
}

static struct x86_block *block_get(struct x86_cpu *cpu, uint32_t mode)
{
	struct x86_code *c = cpu->code;
	const struct x86_op *from = cpu->link_from;
	struct fetch f = { .va = linear_rip(cpu, cpu->rip) };
	struct x86_jump_entry *j;
	struct x86_block *b;
	uint64_t gpa;

	cpu->link_from = NULL;
	f.gpa = fetch_page(cpu, f.va, &f.host);
	gpa = f.gpa | (f.va & 0xfff);
	for (b = c->hash[block_hash(gpa, mode)]; b; b = b->hash_next)
		if (b->gpa == gpa && b->mode == mode &&
		    (!b->crosses || crossing_valid(cpu, b, f.va)))
			break;
	if (!b) {
		size_t used = c->used;

		page_claim(cpu, f.gpa, f.host);
		b = decode_block(cpu, &f, mode);
		if (c->used < used)
			from = NULL; // flushed meanwhile
		block_insert(cpu, b, &f);
	}
	if (b->crosses || (mode & MODE_ONE))
		return b;
	if (from && cpu->block && (cpu->block->gpa & PAGE_MASK_) == (gpa & PAGE_MASK_))
		((struct x86_op *)(uintptr_t)from)->link = b;
	// The jump cache goes by RIP, which is an address in 64-bit mode only.
	if ((mode & MODE_LONG) && cpu->itlb[(f.va >> 12) & (ITLB_ENTRIES - 1)].key != ~0ull) {
		unsigned code = code_seen_bit(f.va);

		cpu->code_seen[code >> 6] |= 1ull << (code & 63);
		j = jump_slot(cpu, f.va);
		*j = (struct x86_jump_entry){ .va = f.va,
					      .key = cpu->jkey[f.va >> 63],
					      .block = b };
	}
	return b;
}

struct x86_block *x86_block_get(struct x86_cpu *cpu, uint32_t mode)
{
	uint32_t limit = cpu->seg[X86_CS].limit;
	struct x86_block *b;

	if (likely(mode & MODE_LONG))
		return block_get(cpu, mode);
	if (cpu->rip > limit)
		x86_raise(cpu, NULL, EXC_GP, 0);
	b = block_get(cpu, mode);
	if (likely(cpu->rip + b->bytes - 1 <= limit))
		return b;
	b = block_get(cpu, mode | MODE_ONE); // the segment ends in the middle of the block
	if (cpu->rip + b->bytes - 1 > limit)
		x86_raise(cpu, NULL, EXC_GP, 0);
	return b;
}

// One instruction from bytes given by the caller (x86_step); more are fetched if they do not suffice.
struct x86_block *x86_block_from_bytes(struct x86_cpu *cpu)
{
	struct x86_block *b = cpu->code->scratch;
	unsigned bits = mode_bits(cpu->mode), count = cpu->step_count > 15 ? 15 : cpu->step_count;
	bool ends = false, no_fall = false;
	uint8_t bytes[15];
	struct x86_insn in;
	unsigned n = 1;
	int r;

	memcpy(bytes, cpu->step_bytes, count);
	for (;;) {
		r = x86_decode(bytes, count, bits, &in);
		if (r != 1)
			break;
		x86_read(cpu, NULL, linear_rip(cpu, cpu->rip + count), bytes + count, 1);
		count++;
	}
	*b = (struct x86_block){ .mode = cpu->mode | MODE_ONE, .insns = 1 };
	if (r) {
		b->ops[1] = (struct x86_op){ .fn = x86_op_ud };
		no_fall = true;
	} else {
		n += bind(cpu, &in, &b->ops[1], 0, 0, b->mode, 0, &ends, &no_fall);
		b->bytes = in.len;
	}
	finish(b, &b->ops[n], n, b->mode, no_fall);
	return b;
}

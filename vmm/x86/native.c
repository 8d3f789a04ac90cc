// SPDX-License-Identifier: Apache-2.0
// The translator's frame: its buffer, segments, registers, flags, and the way to memory. See native.h.
#include "vmm/x86/native.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	CODE_BYTES = 2 << 20,
	BLOCK_WORST = 24 << 10, // of one block's code
	POOL = 0xff28,          // rbx, rbp, r8-r15
	INSN_REGISTERS = 4,     // guest registers that one instruction may want
	SEGMENT_MIN = 2,        // shorter ones do not pay
};

struct x86_native {
	uint8_t *write, *exec; // the same pages, writable and executable
	size_t used, start;    // start: after the tails
	size_t tail_leave, tail_jump;
};

_Static_assert(TLB_ENTRIES == 1024 && sizeof(struct x86_tlb_entry) == 32, "native_memory");
_Static_assert(sizeof(struct x86_jump_entry) == 24, "tail_jump");
_Static_assert(offsetof(struct x86_cpu, gpr) == 0, "short offsets");

// ---- the buffer

static void tails(struct native_run *n, struct x86_native *c)
{
	uint8_t *miss1, *miss2, *attn;

	// An entry that something wants attention before: RIP is the block's start.
	c->tail_leave = (size_t)(n->p - c->write);
	emit_cpu(n, 0, true, 0x8b, RAX, CPU_FIELD(gpr[X86_REG_BVA]));
	emit_cpu(n, 0, true, 0x89, RAX, CPU_FIELD(rip));
	emit_rr(n, 0, false, false, 0x31, RAX, RAX);
	emit1(n, 0xc3);

	// JUMP_TO(rdx).
	c->tail_jump = (size_t)(n->p - c->write);
	emit_rr(n, 0, true, false, 0x89, RDX, RAX);
	emit_rr(n, 0, true, false, 0xc1, 5, RAX); // shr rax, 12
	emit1(n, 12);
	emit_rr(n, 0, false, false, 0x31, RDX, RAX);
	emit_rr(n, 0, false, false, 0x81, 4, RAX); // and eax, JUMP_ENTRIES - 1
	emit4(n, JUMP_ENTRIES - 1);
	emit1(n, 0x48); // lea rax, [rax + rax * 2]
	emit1(n, 0x8d);
	emit1(n, 0x04);
	emit1(n, 0x40);
	emit_rr(n, 0, true, false, 0xc1, 4, RAX); // shl rax, 3
	emit1(n, 3);
	emit_cpu(n, 0, true, 0x03, RAX, CPU_FIELD(jump));
	emit_rm(n, 0, true, false, 0x39, RDX, RAX, offsetof(struct x86_jump_entry, va));
	miss1 = emit_jcc(n, 5);
	emit_rr(n, 0, true, false, 0x89, RDX, RCX);
	emit_rr(n, 0, true, false, 0xc1, 5, RCX); // shr rcx, 63
	emit1(n, 63);
	emit1(n, 0x48); // mov rcx, [rdi + rcx * 8 + jkey]
	emit1(n, 0x8b);
	emit1(n, 0x8c);
	emit1(n, 0xcf);
	emit4(n, offsetof(struct x86_cpu, jkey));
	emit_rm(n, 0, true, false, 0x3b, RCX, RAX, offsetof(struct x86_jump_entry, key));
	miss2 = emit_jcc(n, 5);
	emit_cpu(n, 0, true, 0x89, RDX, CPU_FIELD(gpr[X86_REG_BVA]));
	emit_cpu(n, 0, false, 0x83, 7, CPU_FIELD(attn)); // cmp dword [attn], 0
	emit1(n, 0);
	attn = emit_jcc(n, 5);
	native_to(attn, c->write + c->tail_leave);
	emit_rm(n, 0, true, false, 0x8b, RAX, RAX, offsetof(struct x86_jump_entry, block));
	emit_cpu(n, 0, true, 0x89, RAX, CPU_FIELD(block));
	emit_rm(n, 0, false, false, 0x0fb6, RCX, RAX, offsetof(struct x86_block, insns));
	emit_cpu(n, 0, true, 0x01, RCX, CPU_FIELD(icount));
	emit_rm(n, 0, true, false, 0x8d, RSI, RAX, offsetof(struct x86_block, ops[1]));
	emit1(n, 0xff); // jmp [rsi]
	emit1(n, 0x26);
	native_here(n, miss1);
	native_here(n, miss2);
	emit_cpu(n, 0, true, 0x89, RDX, CPU_FIELD(rip));
	emit_rr(n, 0, false, false, 0x31, RAX, RAX);
	emit1(n, 0xc3);
}

// Pages that are written by one address and run by another: no page is both.
static int map_twice(struct x86_native *c)
{
	int fd = memfd_create("bulkhead-code", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, CODE_BYTES) == 0) {
		c->write = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		c->exec = mmap(NULL, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	close(fd);
	return c->write == MAP_FAILED || c->exec == MAP_FAILED ? -ENOMEM : 0;
}

void x86_native_init(struct x86_cpu *cpu)
{
	struct x86_native *c = calloc(1, sizeof(*c));
	struct native_run n = { .code = c };

	if (!c)
		return;
	c->write = c->exec = MAP_FAILED;
	cpu->native = c;
	if (map_twice(c) < 0) {
		x86_native_done(cpu); // where that is refused every operation is interpreted
		return;
	}
	n.p = c->write;
	tails(&n, c);
	c->used = c->start = ((size_t)(n.p - c->write) + 63) & ~(size_t)63;
}

void x86_native_done(struct x86_cpu *cpu)
{
	struct x86_native *c = cpu->native;

	if (!c)
		return;
	if (c->write != MAP_FAILED)
		(void)munmap(c->write, CODE_BYTES); // cannot fail on what mmap gave
	if (c->exec != MAP_FAILED)
		(void)munmap(c->exec, CODE_BYTES); // as above
	free(c);
	cpu->native = NULL;
}

void x86_native_flush(struct x86_cpu *cpu)
{
	if (cpu->native)
		cpu->native->used = cpu->native->start;
}

bool x86_native_full(const struct x86_cpu *cpu)
{
	return cpu->native && cpu->native->used + BLOCK_WORST > CODE_BYTES;
}

const uint8_t *native_tail_leave(struct native_run *n)
{
	return n->code->write + n->code->tail_leave;
}

const uint8_t *native_tail_jump(struct native_run *n)
{
	return n->code->write + n->code->tail_jump;
}

// ---- registers and flags

void native_load(struct native_run *n, unsigned reg, uint64_t v)
{
	uint64_t here = (uint64_t)(uintptr_t)(n->code->exec + (n->p - n->code->write)) + 7;

	if (v == (uint32_t)v) {
		emit_opcode(n, 0, false, false, 0xb8 | (reg & 7), 0, 0, reg);
		emit4(n, (uint32_t)v);
	} else if ((int64_t)(v - here) == (int32_t)(v - here)) { // lea reg, [rip + ...]
		emit_opcode(n, 0, true, false, 0x8d, reg, 0, 0);
		emit1(n, (reg & 7) << 3 | 5);
		emit4(n, (uint32_t)(v - here));
	} else {
		emit_opcode(n, 0, true, false, 0xb8 | (reg & 7), 0, 0, reg);
		emit8(n, v);
	}
}

unsigned native_gpr(struct native_run *n, unsigned g, bool read)
{
	unsigned h;

	if (n->guests >> g & 1)
		return n->host[g];
	h = (unsigned)__builtin_ctz(n->pool); // native_room has seen to it that there is one
	n->pool &= (uint16_t)(n->pool - 1);
	n->host[g] = (uint8_t)h;
	n->guests |= (uint16_t)(1u << g);
	if (read)
		emit_cpu(n, 0, true, 0x8b, h, CPU_FIELD(gpr) + 8 * (int)g);
	return h;
}

void native_xmm(struct native_run *n, unsigned x, bool read)
{
	if (n->xloaded >> x & 1)
		return;
	n->xloaded |= (uint16_t)(1u << x);
	if (read) // movaps
		emit_cpu(n, 0, false, 0x0f28, x, CPU_FIELD(fx.xmm) + 16 * (int)x);
}

void native_flags_save(struct native_run *n)
{
	if (n->in_cc)
		return;
	emit1(n, 0x9f);                              // lahf
	emit_rr(n, 0, false, false, 0x0f90, 0, RAX); // seto al
	emit_cpu(n, 0x66, false, 0x89, RAX, CPU_FIELD(cc));
	n->in_cc = true;
}

void native_flags_to_host(struct native_run *n)
{
	if (n->in_host)
		return;
	emit_cpu(n, 0, false, 0x0fb7, RAX, CPU_FIELD(cc));
	emit1(n, 0x04); // add al, 127: overflows if al is 1
	emit1(n, 0x7f);
	emit1(n, 0x9e); // sahf
	n->in_host = true;
}

static void store_registers(struct native_run *n, const uint8_t host[16], uint16_t gprs,
			    uint16_t xmms)
{
	for (unsigned g = 0; g < 16; g++)
		if (gprs >> g & 1)
			emit_cpu(n, 0, true, 0x89, host[g], CPU_FIELD(gpr) + 8 * (int)g);
	for (unsigned x = 0; x < 16; x++)
		if (xmms >> x & 1)
			emit_cpu(n, 0, false, 0x0f29, x, CPU_FIELD(fx.xmm) + 16 * (int)x);
}

void native_spill(struct native_run *n)
{
	native_flags_save(n);
	store_registers(n, n->host, n->gdirty, n->xdirty);
}

static void forget(struct native_run *n)
{
	n->pool = POOL;
	n->guests = n->gdirty = n->xloaded = n->xdirty = 0;
	n->in_host = false;
	n->in_cc = true;
}

// ---- leaving

static void go_to(struct native_run *n, const struct x86_op *op, x86_fn *fn)
{
	native_load(n, RSI, (uintptr_t)op);
	native_load(n, RAX, (uintptr_t)fn);
	emit1(n, 0xff); // jmp rax
	emit1(n, 0xe0);
}

x86_fn *native_handler(const struct native_run *n, const struct x86_op *op)
{
	return op == &n->b->ops[1] ? n->b->first : op->fn;
}

void native_exit_to(struct native_run *n, uint8_t *rel, const struct x86_op *op)
{
	n->exits[n->n_exits++] = (struct native_exit){ .rel = rel,
						       .op = op,
						       .fn = native_handler(n, op),
						       .gdirty = n->gdirty,
						       .xdirty = n->xdirty };
	memcpy(n->exits[n->n_exits - 1].host, n->host, sizeof(n->host));
}

void native_leave(struct native_run *n, const struct x86_op *op)
{
	native_spill(n);
	go_to(n, op, native_handler(n, op));
	n->open = false;
}

// The ends of all jumps out of the segment. Neighbours that leave alike share one.
static void emit_exits(struct native_run *n)
{
	const uint8_t *at = NULL;

	for (unsigned i = 0; i < n->n_exits; i++) {
		const struct native_exit *x = &n->exits[i], *last = i ? x - 1 : NULL;

		if (!last || last->op != x->op || last->gdirty != x->gdirty ||
		    last->xdirty != x->xdirty || memcmp(last->host, x->host, sizeof(x->host))) {
			at = n->p;
			store_registers(n, x->host, x->gdirty, x->xdirty);
			go_to(n, x->op, x->fn);
		}
		native_to(x->rel, at);
	}
	n->n_exits = 0;
}

// ---- memory

void native_lea(struct native_run *n, bool w, unsigned dst, const struct x86_op *op)
{
	unsigned base = op->base, index = op->index, i = RSP, mod = 0x80;

	if (base == X86_REG_BVA) {
		emit_cpu(n, 0, true, 0x8b, RDX, CPU_FIELD(gpr[X86_REG_BVA]));
		base = RDX;
	} else if (base != X86_REG_ZERO) {
		base = native_gpr(n, base, true);
	} else {
		base = RBP; // with mod 0: none
		mod = 0;
	}
	if (index != X86_REG_ZERO)
		i = native_gpr(n, index, true);
	if (mod && op->disp == (int8_t)op->disp)
		mod = op->disp == 0 && (base & 7) != RBP ? 0 : 0x40;
	emit_opcode(n, 0, w, false, 0x8d, dst, i, base);
	if (index == X86_REG_ZERO && op->base != X86_REG_ZERO && (base & 7) != RSP) {
		emit1(n, mod | (dst & 7) << 3 | (base & 7));
	} else {
		emit1(n, mod | (dst & 7) << 3 | 4);
		emit1(n, (unsigned)op->scale << 6 | (i & 7) << 3 | (base & 7));
	}
	if (mod == 0x40)
		emit1(n, (uint8_t)op->disp);
	else if (mod || op->base == X86_REG_ZERO)
		emit4(n, (uint32_t)op->disp);
}

// rdx: the address. Its page's entry of the TLB has to be the one, and to allow the access.
static void translate(struct native_run *n, const struct x86_op *op, unsigned size, bool write)
{
	emit_rr(n, 0, false, false, 0x89, RDX, RAX);
	emit_rr(n, 0, false, false, 0xc1, 5, RAX); // shr eax, 7
	emit1(n, 7);
	emit1(n, 0x25); // and eax, TLB_MASK << 5
	emit4(n, TLB_MASK << 5);
	emit_cpu(n, 0, true, 0x03, RAX, CPU_FIELD(tlb));
	if (size > 1)
		emit_rm(n, 0, true, false, 0x8d, RSI, RDX, size - 1);
	else
		emit_rr(n, 0, true, false, 0x89, RDX, RSI);
	emit_rr(n, 0, true, false, 0x81, 4, RSI); // and rsi, PAGE_MASK_
	emit4(n, (uint32_t)PAGE_MASK_);
	emit_rm(n, 0, true, false, 0x3b, RSI, RAX,
		write ? offsetof(struct x86_tlb_entry, tag_w)
		      : offsetof(struct x86_tlb_entry, tag_r));
	native_exit_to(n, emit_jcc(n, 5), op);
	emit_rm(n, 0, true, false, 0x03, RDX, RAX, offsetof(struct x86_tlb_entry, addend));
	n->in_host = false;
}

void native_memory(struct native_run *n, const struct x86_op *op, unsigned size, bool write,
		   bool aligned)
{
	native_flags_save(n);
	native_lea(n, true, RDX, op);
	if (op->seg)
		emit_cpu(n, 0, true, 0x03, RDX, CPU_FIELD(sbase) + 8 * (int)op->seg);
	if (aligned) {
		emit1(n, 0xf6); // test dl, 15
		emit1(n, 0xc2);
		emit1(n, 15);
		native_exit_to(n, emit_jcc(n, 5), op);
	}
	translate(n, op, size, write);
}

void native_stack(struct native_run *n, const struct x86_op *op, unsigned g, int32_t disp,
		  bool write)
{
	struct x86_op at = { .base = (uint8_t)g, .index = X86_REG_ZERO, .disp = disp };

	native_flags_save(n);
	native_lea(n, true, RDX, &at);
	translate(n, op, 8, write);
}

// ---- blocks

static bool one_insn(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	return native_integer(n, in, op) || native_simd(n, in, op);
}

// Registers for one more instruction; without, those in use go back to memory and the segment goes on with none.
static void make_room(struct native_run *n)
{
	if (__builtin_popcount(n->pool) >= INSN_REGISTERS || n->loop)
		return;
	native_spill(n);
	forget(n);
	n->spilled++;
}

struct head {
	struct x86_op *op;
	uint8_t *at;
	unsigned insns;
};

struct plan {
	struct head heads[NATIVE_HEADS];
	unsigned n_heads;
};

static void begin_segment(struct native_run *n, struct plan *plan, const struct x86_op *op)
{
	forget(n);
	n->open = true;
	n->n_segments++;
	plan->heads[plan->n_heads++] =
		(struct head){ .op = (struct x86_op *)(uintptr_t)op, .at = n->p };
}

// The operation's own handler goes on. A segment that is too short is taken back.
static void end_segment(struct native_run *n, struct plan *plan, const struct x86_op *op)
{
	const struct head *h = &plan->heads[plan->n_heads - 1];

	if (h->insns < SEGMENT_MIN) {
		n->p = h->at;
		n->n_exits = 0;
		n->open = false;
		plan->n_heads--;
		return;
	}
	native_leave(n, op);
	emit_exits(n);
}

// Emits the code of all instructions that have one.
static void emit_block(struct native_run *n, struct plan *plan)
{
	const struct x86_block *b = n->b;
	const uint8_t *bytes = (const uint8_t *)&b->ops[b->n_ops];
	const struct x86_op *end = &b->ops[b->n_ops], *op = &b->ops[1];
	bool done = false, simple;

	for (unsigned k = 0, off = 0; k < b->insns && !done; k++) {
		const struct x86_op *next = op + 1;
		struct x86_insn in;

		if (x86_decode(bytes + off, b->bytes - off, 64, &in))
			break;
		while (next < end && next->idx == k && next->off == op->off)
			next++;
		if (!n->open)
			begin_segment(n, plan, op);
		make_room(n);
		// One operation, and an instruction of ours, whatever the host thinks.
		simple = next == op + 1 && native_handler(n, op) != x86_op_ud;
		if (simple && one_insn(n, &in, op)) {
			plan->heads[plan->n_heads - 1].insns++;
		} else if (simple && native_branch(n, &in, op, next)) {
			plan->heads[plan->n_heads - 1].insns++;
			n->open = false;
			done = true;
		} else {
			end_segment(n, plan, op);
		}
		off += in.len;
		op = next;
	}
	if (n->open && op < end)
		native_fall(n, op);
	n->open = false;
	emit_exits(n);
}

static void start(struct native_run *n, struct plan *plan, uint8_t *at)
{
	plan->n_heads = 0;
	n->p = at;
	n->open = false;
	n->n_exits = n->n_segments = n->spilled = 0;
	n->loop = n->wants_loop = false;
	forget(n);
}

// A block that is one segment and jumps to its own start keeps its registers while it does: all that the first try has used
// are loaded before, and all that it has changed are stored after.
static void emit_loop(struct native_run *n, struct plan *plan, uint8_t *at)
{
	uint16_t guests = n->guests, xmms = n->xloaded, gdirty = n->gdirty, xdirty = n->xdirty;

	start(n, plan, at);
	begin_segment(n, plan, &n->b->ops[1]);
	for (unsigned i = 0; i < 16; i++) {
		if (guests >> i & 1)
			(void)native_gpr(n, i, true); // for what it emits
		if (xmms >> i & 1)
			native_xmm(n, i, true);
	}
	n->gdirty = gdirty;
	n->xdirty = xdirty;
	n->loop = true;
	n->loop_head = n->p;
	emit_block(n, plan);
}

void x86_native_translate(struct x86_cpu *cpu, struct x86_block *b)
{
	struct x86_native *c = cpu->native;
	struct native_run n = { .cpu = cpu, .b = b, .code = c };
	struct plan plan;
	uint8_t *at;

	if (!c || x86_native_full(cpu))
		return;
	at = c->write + c->used;
	start(&n, &plan, at);
	emit_block(&n, &plan);
	if (n.n_segments == 1 && !n.spilled && n.wants_loop)
		emit_loop(&n, &plan, at);
	c->used = ((size_t)(n.p - c->write) + 15) & ~(size_t)15;
	for (unsigned i = 0; i < plan.n_heads; i++) {
		uintptr_t exec = (uintptr_t)(c->exec + (plan.heads[i].at - c->write));

		memcpy(&plan.heads[i].op->fn, &exec, sizeof(exec));
	}
}

// SPDX-License-Identifier: Apache-2.0
// MOVS STOS LODS CMPS SCAS INS OUTS, with REP. Each chunk that lies within pages of plain RAM is done at once; the
// registers stand right after each chunk, so a fault or an interrupt in the middle restarts where it was.
#include "vmm/x86/alu.h"

// op->aux: element bytes; op->aux2: bit 0 REP/REPE, bit 1 REPNE, bits 2-3 address size index (2, 4, 8)
struct str {
	struct x86_cpu *cpu;
	const struct x86_op *op;
	unsigned size;
	uint64_t mask;
	int64_t step;
	bool rep;
	unsigned elements; // done one by one
};
enum { STR_ELEMENTS = 4096 };

static struct str str_begin(struct x86_cpu *cpu, const struct x86_op *op)
{
	unsigned as = op->aux2 >> 2 & 3;
	struct str s = { .cpu = cpu, .op = op, .size = op->aux };

	s.mask = as == 2 ? ~0ull : as == 1 ? 0xffffffffull : 0xffffull;
	s.step = cpu->rflags & F_DF ? -(int64_t)op->aux : (int64_t)op->aux;
	s.rep = op->aux2 & 3;
	return s;
}

// Linear address of the element at reg in the segment of index seg (as op->seg counts).
static uint64_t str_va(const struct str *s, unsigned reg, unsigned seg, bool write)
{
	struct x86_cpu *cpu = s->cpu;
	uint64_t off = cpu->gpr[reg] & s->mask;

	if (likely(cpu->mode & MODE_LONG))
		return off + cpu->sbase[seg];
	if (!(cpu->flat >> (seg - 1) & 1))
		x86_seg_check(cpu, s->op, seg - 1, off, s->size, write);
	return (uint32_t)(off + cpu->sbase[seg]);
}

static uint64_t str_src(const struct str *s)
{
	return str_va(s, X86_RSI, s->op->seg, false);
}

static uint64_t str_dst(const struct str *s, bool write)
{
	return str_va(s, X86_RDI, 1 + X86_ES, write);
}

// Several elements at a time: only where each need not be checked for itself.
static bool str_bulk(const struct str *s)
{
	const struct x86_cpu *cpu = s->cpu;

	if (!s->rep || s->step < 0)
		return false;
	if (likely(cpu->mode & MODE_LONG))
		return true;
	return s->mask != 0xffff && (cpu->flat >> X86_ES & 1) &&
	       (!s->op->seg || (cpu->flat >> (s->op->seg - 1) & 1));
}

static void str_add(const struct str *s, unsigned reg, int64_t by)
{
	uint64_t v = s->cpu->gpr[reg] + (uint64_t)by;

	if (s->mask == 0xffff)
		s->cpu->gpr[reg] = (s->cpu->gpr[reg] & ~0xffffull) | (v & 0xffff);
	else
		s->cpu->gpr[reg] = v & s->mask;
}

static uint64_t str_count(const struct str *s)
{
	return s->rep ? s->cpu->gpr[X86_RCX] & s->mask : 1;
}

static void str_done(const struct str *s, uint64_t n)
{
	if (s->rep)
		str_add(s, X86_RCX, -(int64_t)n);
}

// Elements from va to the end of its page.
static uint64_t page_room(uint64_t va, unsigned size)
{
	return (4096 - (va & 0xfff)) / size;
}

// An interrupt is waiting: stop between chunks, to be restarted at this instruction.
#define STR_INTERRUPTED(cpu) (unlikely(atomic_load_explicit(&(cpu)->attn, memory_order_relaxed)))
// The instruction is not done: it counts when it ends.
#define STR_AGAIN                                                       \
	do {                                                            \
		cpu->icount -= (uint64_t)(cpu->block->insns - op->idx); \
		cpu->rip = op_rip(cpu, op);                             \
		return NULL;                                            \
	} while (0)
// After an element that was done by itself: a guest may ask for 2^64 of them, on a device, where every one takes long.
#define STR_NEXT_ELEMENT                                                             \
	if (!s.rep)                                                                  \
		break;                                                               \
	if ((++s.elements == STR_ELEMENTS || STR_INTERRUPTED(cpu)) && str_count(&s)) \
	STR_AGAIN

OPH(movs)
{
	struct str s = str_begin(cpu, op);
	uint64_t n;

	while ((n = str_count(&s)) != 0) {
		uint64_t from = str_src(&s), to = str_dst(&s, true), v, chunk = 1;

		if (n > 1 && str_bulk(&s)) {
			uint64_t a = page_room(from, s.size), b = page_room(to, s.size);

			chunk = n < a ? n : a;
			chunk = chunk < b ? chunk : b;
		}
		if (chunk > 1) {
			uint8_t *f = x86_host_span(cpu, op, from, false), // faults first
				*d = f ? x86_host_span(cpu, op, to, true) : NULL;
			uint64_t bytes = chunk * s.size;

			if (f && d) {
				// The source may overlap the destination from below: then the pattern repeats, by element.
				if (d > f && d < f + bytes)
					for (uint64_t i = 0; i < bytes; i += s.size)
						guest_copy(d + i, f + i, s.size);
				else
					guest_copy(
						d, f,
						bytes); // forwards, which an overlap from above allows
				str_add(&s, X86_RSI, (int64_t)bytes);
				str_add(&s, X86_RDI, (int64_t)bytes);
				str_done(&s, chunk);
				if (STR_INTERRUPTED(cpu) && str_count(&s))
					STR_AGAIN;
				continue;
			}
		}
		v = x86_ld_slow(cpu, op, from, s.size);
		x86_st_slow(cpu, op, to, s.size, v);
		str_add(&s, X86_RSI, s.step);
		str_add(&s, X86_RDI, s.step);
		str_done(&s, 1);
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

static void fill(uint8_t *d, uint64_t v, unsigned size, uint64_t n)
{
	switch (size) {
	case 1:
		guest_fill(d, (uint8_t)v, n);
		break;
	case 2:
		for (uint64_t i = 0; i < n; i++)
			((u16u *)(void *)d)[i] = (uint16_t)v;
		break;
	case 4:
		for (uint64_t i = 0; i < n; i++)
			((u32u *)(void *)d)[i] = (uint32_t)v;
		break;
	default:
		if (v == 0) {
			guest_fill(d, 0, n * 8);
			break;
		}
		for (uint64_t i = 0; i < n; i++)
			((u64u *)(void *)d)[i] = v;
		break;
	}
}

OPH(stos)
{
	struct str s = str_begin(cpu, op);
	uint64_t n;

	while ((n = str_count(&s)) != 0) {
		uint64_t to = str_dst(&s, true), chunk = page_room(to, s.size);
		uint8_t *d = NULL;

		chunk = chunk < n ? chunk : n;
		if (chunk > 1 && str_bulk(&s))
			d = x86_host_span(cpu, op, to, true);
		if (d) {
			fill(d, cpu->gpr[X86_RAX], s.size, chunk);
			str_add(&s, X86_RDI, (int64_t)(chunk * s.size));
			str_done(&s, chunk);
			if (STR_INTERRUPTED(cpu) && str_count(&s))
				STR_AGAIN;
			continue;
		}
		x86_st_slow(cpu, op, to, s.size, cpu->gpr[X86_RAX]);
		str_add(&s, X86_RDI, s.step);
		str_done(&s, 1);
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

OPH(lods)
{
	struct str s = str_begin(cpu, op);

	while (str_count(&s) != 0) {
		uint64_t v = x86_ld_slow(cpu, op, str_src(&s), s.size);

		switch (s.size) {
		case 1:
			R8(0) = (uint8_t)v;
			break;
		case 2:
			R16(X86_RAX) = (uint16_t)v;
			break;
		default:
			R64(X86_RAX) = v;
			break;
		}
		str_add(&s, X86_RSI, s.step);
		str_done(&s, 1);
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

static void compare(struct x86_cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
	uint16_t cc;

	switch (size) {
	case 1:
		__asm__("cmpb %b2, %b1\n\t" FLAGS_OUT : "=&a"(cc) : "q"(a), "q"(b) : "cc");
		break;
	case 2:
		__asm__("cmpw %w2, %w1\n\t" FLAGS_OUT : "=&a"(cc) : "r"(a), "r"(b) : "cc");
		break;
	case 4:
		__asm__("cmpl %k2, %k1\n\t" FLAGS_OUT : "=&a"(cc) : "r"(a), "r"(b) : "cc");
		break;
	default:
		__asm__("cmpq %2, %1\n\t" FLAGS_OUT : "=&a"(cc) : "r"(a), "r"(b) : "cc");
		break;
	}
	cpu->cc = cc;
}

// REPE stops at ZF = 0, REPNE at ZF = 1.
static bool compare_ends(const struct str *s)
{
	return !s->rep || ((s->cpu->cc & CC_ZF) != 0) == ((s->op->aux2 & 2) != 0);
}

OPH(cmps)
{
	struct str s = str_begin(cpu, op);

	while (str_count(&s) != 0) {
		uint64_t a = x86_ld_slow(cpu, op, str_src(&s), s.size),
			 b = x86_ld_slow(cpu, op, str_dst(&s, false), s.size);

		compare(cpu, a, b, s.size);
		str_add(&s, X86_RSI, s.step);
		str_add(&s, X86_RDI, s.step);
		str_done(&s, 1);
		if (compare_ends(&s))
			break;
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

OPH(scas)
{
	struct str s = str_begin(cpu, op);

	while (str_count(&s) != 0) {
		uint64_t b = x86_ld_slow(cpu, op, str_dst(&s, false), s.size);

		compare(cpu, cpu->gpr[X86_RAX], b, s.size);
		str_add(&s, X86_RDI, s.step);
		str_done(&s, 1);
		if (compare_ends(&s))
			break;
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

// ---- ports
static void port_check(struct x86_cpu *cpu, const struct x86_op *op, uint16_t port, unsigned size)
{
	uint8_t bits[2];
	uint16_t map;
	struct x86_exception x;
	uint64_t tss = cpu->seg[X86_TR].base;

	if (!(cpu->cr0 & CR0_PE) || cpu_cpl(cpu) <= (cpu->rflags >> 12 & 3))
		return;
	if (cpu->seg[X86_TR].limit < 103 || x86_sys_access(cpu, tss + 102, &map, 2, false, &x) ||
	    map + port / 8u + 1 > cpu->seg[X86_TR].limit ||
	    x86_sys_access(cpu, tss + map + port / 8u, bits, 2, false, &x) ||
	    ((bits[0] | bits[1] << 8) >> (port & 7) & ((1u << size) - 1)))
		GP0();
}

static _Noreturn void port_exit(struct x86_cpu *cpu, const struct x86_op *op, uint16_t port,
				unsigned size, bool write)
{
	struct x86_exit *ex = cpu->exit;

	ex->port = port;
	ex->size = size;
	ex->is_write = write;
	ex->insn_len = op->len;
	ex->is_string = op->aux2 & 0x80;
	ex->is_rep = op->aux2 & 3;
	x86_leave(cpu, op, X86_EXIT_IO);
}

static uint32_t port_in(struct x86_cpu *cpu, const struct x86_op *op, uint16_t port, unsigned size)
{
	uint32_t v = 0;

	port_check(cpu, op, port, size);
	if (!cpu->env->in || cpu->env->in(cpu->arg, port, size, &v))
		port_exit(cpu, op, port, size, false);
	return v;
}

static void port_out(struct x86_cpu *cpu, const struct x86_op *op, uint16_t port, unsigned size,
		     uint32_t v)
{
	port_check(cpu, op, port, size);
	if (!cpu->env->out || cpu->env->out(cpu->arg, port, size, v))
		port_exit(cpu, op, port, size, true);
}

// imm: port, or DX when aux2 bit 4 is set
OPH(in_op)
{
	uint16_t port = op->aux2 & 0x10 ? R16(X86_RDX) : (uint16_t)op->imm;
	uint32_t v = port_in(cpu, op, port, op->aux);

	switch (op->aux) {
	case 1:
		R8(0) = (uint8_t)v;
		break;
	case 2:
		R16(X86_RAX) = (uint16_t)v;
		break;
	default:
		R64(X86_RAX) = v;
		break;
	}
	NEXT_BACK;
}

OPH(out_op)
{
	uint16_t port = op->aux2 & 0x10 ? R16(X86_RDX) : (uint16_t)op->imm;
	uint32_t v = R32(X86_RAX);

	port_out(cpu, op, port, op->aux, op->aux == 4 ? v : v & ((1u << (8 * op->aux)) - 1));
	NEXT_BACK;
}

OPH(ins)
{
	struct str s = str_begin(cpu, op);

	while (str_count(&s) != 0) {
		uint64_t to;

		port_check(cpu, op, R16(X86_RDX), s.size); // comes before the memory's faults
		to = str_dst(&s, true);
		x86_write_probe(cpu, op, to, s.size);
		x86_st_slow(cpu, op, to, s.size, port_in(cpu, op, R16(X86_RDX), s.size));
		str_add(&s, X86_RDI, s.step);
		str_done(&s, 1);
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

OPH(outs)
{
	struct str s = str_begin(cpu, op);

	while (str_count(&s) != 0) {
		port_check(cpu, op, R16(X86_RDX), s.size); // as above
		port_out(cpu, op, R16(X86_RDX), s.size,
			 (uint32_t)x86_ld_slow(cpu, op, str_src(&s), s.size));
		str_add(&s, X86_RSI, s.step);
		str_done(&s, 1);
		STR_NEXT_ELEMENT;
	}
	NEXT_BACK;
}

bool x86_bind_string(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;
	struct x86_op *op = b->op;

	if (in->lock)
		return false;
	op->aux = (uint8_t)(o & 1 ? in->opsize : 1);
	if (((o & 0xfc) == 0xe4 || (o & 0xfc) == 0xec || (o & 0xfc) == 0x6c) && op->aux == 8)
		op->aux = 4; // ports are at most 32 bits wide
	op->aux2 = (uint8_t)((in->rep ? 1 : 0) | (in->repne ? 2 : 0) |
			     (in->addrsize == 8   ? 2
			      : in->addrsize == 4 ? 1
						  : 0)
				     << 2);
	if (in->mode == 64)
		op->seg = in->seg >= 1 + X86_FS ? in->seg : 0;
	else
		op->seg = in->seg ? in->seg : 1 + X86_DS;
	switch (o) {
	case 0xa4:
	case 0xa5:
		op->fn = movs;
		return true;
	case 0xa6:
	case 0xa7:
		op->fn = cmps;
		return true;
	case 0xaa:
	case 0xab:
		op->fn = stos;
		return true;
	case 0xac:
	case 0xad:
		op->fn = lods;
		return true;
	case 0xae:
	case 0xaf:
		op->fn = scas;
		return true;
	case 0x6c:
	case 0x6d:
		op->aux2 |= 0x80;
		op->fn = ins;
		return true;
	case 0x6e:
	case 0x6f:
		op->aux2 |= 0x80;
		op->fn = outs;
		return true;
	case 0xe4:
	case 0xe5:
	case 0xec:
	case 0xed:
		op->fn = in_op;
		break;
	case 0xe6:
	case 0xe7:
	case 0xee:
	case 0xef:
		op->fn = out_op;
		break;
	default:
		return false;
	}
	op->imm = in->imm & 0xff;
	op->aux2 = o >= 0xec ? 0x10 : 0;
	return true;
}

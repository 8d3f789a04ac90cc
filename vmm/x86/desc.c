// SPDX-License-Identifier: Apache-2.0
// Descriptors: segment loads, far transfers and returns in IA-32e mode (Intel SDM vol. 3, chapters 3, 5, 6).
#include "vmm/x86/cpu.h"

static int fault(struct x86_exception *x, unsigned vector, uint16_t selector)
{
	*x = (struct x86_exception){ .vector = (uint8_t)vector,
				     .has_error = true,
				     .error = selector & 0xfffcu };
	return 1;
}

int x86_read_descriptor(struct x86_cpu *cpu, uint16_t selector, uint64_t out[2], bool wide,
			struct x86_exception *x)
{
	uint64_t base = cpu->gdtr.base, limit = cpu->gdtr.limit, at = selector & 0xfff8u;
	unsigned bytes = wide ? 16 : 8;

	if (selector & 4) {
		base = cpu->seg[X86_LDTR].base;
		limit = cpu->seg[X86_LDTR].attributes >> 7 & 1 ? cpu->seg[X86_LDTR].limit : 0;
	}
	if (at + bytes - 1 > limit)
		return fault(x, EXC_GP, selector);
	out[1] = 0;
	return x86_sys_access(cpu, base + at, out, bytes, false, x);
}

static struct x86_seg unpack(uint64_t d, uint16_t selector)
{
	struct x86_seg s = { .selector = selector };

	s.base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
	s.limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));
	s.attributes = (uint16_t)(d >> 40 & 0xf0ff);
	if (s.attributes >> 15)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

static int set_accessed(struct x86_cpu *cpu, uint16_t selector, uint64_t d, struct x86_exception *x)
{
	uint64_t base = selector & 4 ? cpu->seg[X86_LDTR].base : cpu->gdtr.base;
	uint8_t type = (uint8_t)(d >> 40);

	if (type & 1)
		return 0;
	type |= 1;
	return x86_sys_access(cpu, base + (selector & 0xfff8u) + 5, &type, 1, true, x);
}

int x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), rpl = selector & 3, dpl, type;
	struct x86_seg s;
	uint64_t d[2];

	if (!(selector & 0xfffc)) {
		if (seg == X86_SS && (!(cpu->mode & MODE_LONG) || cpl == 3 || rpl != cpl))
			return fault(x, EXC_GP, selector);
		// A null segment; its base is cleared as current processors do.
		s = (struct x86_seg){ .selector = selector };
		if (seg == X86_SS)
			s.attributes = (uint16_t)(0x93 | cpl << 5);
		cpu->seg[seg] = s;
		x86_update_bases(cpu);
		return 0;
	}
	if (x86_read_descriptor(cpu, selector, d, false, x))
		return 1;
	s = unpack(d[0], selector);
	type = s.attributes & 0x1f;
	dpl = s.attributes >> 5 & 3;
	if (seg == X86_SS) {
		if (rpl != cpl || dpl != cpl || (type & 0x1a) != 0x12)
			return fault(x, EXC_GP, selector);
		if (!(s.attributes & 0x80))
			return fault(x, EXC_SS, selector);
	} else {
		bool code = (type & 0x18) == 0x18, conforming = code && (type & 4);

		if (!(type & 0x10) || (code && !(type & 2)) ||
		    (!conforming && (rpl > dpl || cpl > dpl)))
			return fault(x, EXC_GP, selector);
		if (!(s.attributes & 0x80))
			return fault(x, EXC_NP, selector);
	}
	if (set_accessed(cpu, selector, d[0], x))
		return 1;
	s.attributes |= 1;
	cpu->seg[seg] = s;
	x86_update_bases(cpu);
	return 0;
}

int x86_load_ldtr_tr(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x)
{
	unsigned want = seg == X86_TR ? 9 : 2;
	struct x86_seg s;
	uint64_t d[2];

	if (!(selector & 0xfffc)) {
		if (seg == X86_TR)
			return fault(x, EXC_GP, selector);
		cpu->seg[seg] = (struct x86_seg){ .selector = selector };
		return 0;
	}
	if ((selector & 4) || x86_read_descriptor(cpu, selector, d, true, x))
		return selector & 4 ? fault(x, EXC_GP, selector) : 1;
	s = unpack(d[0], selector);
	s.base |= d[1] << 32;
	if ((s.attributes & 0x1f) != want)
		return fault(x, EXC_GP, selector);
	if (!(s.attributes & 0x80))
		return fault(x, EXC_NP, selector);
	if (seg == X86_TR) {
		uint8_t type = (uint8_t)(d[0] >> 40) | 2; // busy

		if (x86_sys_access(cpu, cpu->gdtr.base + (selector & 0xfff8u) + 5, &type, 1, true,
				   x))
			return 1;
		s.attributes |= 2;
	}
	cpu->seg[seg] = s;
	return 0;
}

// Checks a code segment for a transfer to privilege cpl. 0 with *ret.
static int code_segment(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, bool ret,
			struct x86_seg *out, struct x86_exception *x)
{
	unsigned dpl, type;
	uint64_t d[2];

	if (!(selector & 0xfffc))
		return fault(x, EXC_GP, 0);
	if (x86_read_descriptor(cpu, selector, d, false, x))
		return 1;
	*out = unpack(d[0], selector);
	type = out->attributes & 0x1f;
	dpl = out->attributes >> 5 & 3;
	if ((type & 0x18) != 0x18)
		return fault(x, EXC_GP, selector);
	if ((type & 4) ? dpl > cpl : dpl != cpl || (!ret && (selector & 3) > cpl))
		return fault(x, EXC_GP, selector);
	if (!(out->attributes & 0x80))
		return fault(x, EXC_NP, selector);
	if ((out->attributes >> 13 & 1) && (out->attributes >> 14 & 1))
		return fault(x, EXC_GP, selector); // L and D both
	if (set_accessed(cpu, selector, d[0], x))
		return 1;
	out->attributes |= 1;
	return 0;
}

int x86_far_jump(struct x86_cpu *cpu, uint16_t sel, uint64_t rip, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu);
	struct x86_seg cs;

	if (code_segment(cpu, sel, cpl, false, &cs, x))
		return 1;
	if (!va_canonical(rip))
		return fault(x, EXC_GP, 0);
	cs.selector = (uint16_t)((sel & ~3u) | cpl);
	cpu->seg[X86_CS] = cs;
	cpu->rip = rip;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	return 0;
}

// Stack segment for a return to an outer or the same privilege.
static int return_stack(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, bool long_mode,
			struct x86_seg *out, struct x86_exception *x)
{
	uint64_t d[2];

	if (!(sel & 0xfffc)) {
		if (!long_mode || cpl == 3)
			return fault(x, EXC_GP, 0);
		*out = (struct x86_seg){ .selector = sel,
					 .attributes = (uint16_t)(0x93 | cpl << 5) };
		return 0;
	}
	if (x86_read_descriptor(cpu, sel, d, false, x))
		return 1;
	*out = unpack(d[0], sel);
	if ((sel & 3u) != cpl || (out->attributes >> 5 & 3u) != cpl ||
	    (out->attributes & 0x1a) != 0x12)
		return fault(x, EXC_GP, sel);
	if (!(out->attributes & 0x80))
		return fault(x, EXC_SS, sel);
	if (set_accessed(cpu, sel, d[0], x))
		return 1;
	out->attributes |= 1;
	return 0;
}

// Data segments that the new privilege may not use become null.
static void drop_inner_segments(struct x86_cpu *cpu, unsigned cpl)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < 4; i++) {
		struct x86_seg *s = &cpu->seg[data[i]];
		unsigned type = s->attributes & 0x1f, dpl = s->attributes >> 5 & 3;

		if ((s->attributes & 0x80) && dpl < cpl && (type & 0x1c) != 0x1c)
			*s = (struct x86_seg){ 0 };
	}
}

static void enter_outer(struct x86_cpu *cpu, const struct x86_seg *cs, const struct x86_seg *ss,
			uint64_t rip, uint64_t rsp, unsigned from)
{
	unsigned to = cs->selector & 3;

	cpu->seg[X86_CS] = *cs;
	cpu->seg[X86_SS] = *ss;
	cpu->seg[X86_SS].attributes = (uint16_t)((ss->attributes & ~0x60u) | to << 5);
	cpu->rip = rip;
	cpu->gpr[X86_RSP] = rsp;
	if (to > from)
		drop_inner_segments(cpu, to);
	x86_update_mode(cpu);
	x86_update_bases(cpu);
}

// Reads n values of opsize bytes from the stack.
static int stack_read(struct x86_cpu *cpu, unsigned opsize, unsigned n, uint64_t *out,
		      struct x86_exception *x)
{
	uint64_t sp = cpu->gpr[X86_RSP] + (cpu->mode & MODE_LONG ? 0 : cpu->seg[X86_SS].base);

	for (unsigned i = 0; i < n; i++) {
		out[i] = 0;
		// The stack is read with the privilege of the code that returns.
		if (cpu->mode & MODE_USER) {
			uint64_t gpa;

			if (x86_translate(cpu, sp + i * opsize, X86_READ | X86_USER, true, &gpa, x))
				return 1;
		}
		if (x86_sys_access(cpu, sp + i * opsize, &out[i], opsize, false, x))
			return 1;
	}
	return 0;
}

int x86_iret(struct x86_cpu *cpu, unsigned opsize, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), rpl;
	uint64_t v[5], allowed = F_ARITH | F_TF | F_DF | F_NT | F_RF | F_AC | F_ID, flags;
	struct x86_seg cs, ss;
	bool was = cpu->rflags & F_IF, wide = cpu->mode & MODE_LONG;

	if (cpu->rflags & F_NT)
		return fault(x, EXC_GP, 0);
	if (stack_read(cpu, opsize, 3, v, x))
		return 1;
	rpl = v[1] & 3;
	if (rpl < cpl)
		return fault(x, EXC_GP, (uint16_t)v[1]);
	if (wide || rpl > cpl) { // 64-bit mode always pops SS:RSP
		if (stack_read(cpu, opsize, 5, v, x))
			return 1;
	}
	if (code_segment(cpu, (uint16_t)v[1], rpl, true, &cs, x))
		return 1;
	ss = cpu->seg[X86_SS];
	if ((wide || rpl > cpl) &&
	    return_stack(cpu, (uint16_t)v[4], rpl, cs.attributes >> 13 & 1, &ss, x))
		return 1;
	if (!va_canonical(v[0]))
		return fault(x, EXC_GP, 0);
	if (cpl == 0)
		allowed |= F_IOPL;
	if (cpl <= (cpu->rflags >> 12 & 3))
		allowed |= F_IF;
	flags = (cpu_rflags(cpu) & ~allowed) | (v[2] & allowed);
	if (opsize == 2)
		flags = (cpu_rflags(cpu) & ~0xffffull) | (flags & 0xffff);
	cs.selector = (uint16_t)v[1];
	enter_outer(cpu, &cs, &ss, v[0], wide || rpl > cpl ? v[3] : cpu->gpr[X86_RSP] + 3 * opsize,
		    cpl);
	cpu_set_rflags(cpu, flags);
	cpu->nmi_masked = false;
	if (!was && (flags & F_IF))
		x86_irq_enabled(cpu);
	return 0;
}

int x86_far_ret(struct x86_cpu *cpu, unsigned opsize, unsigned pop, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), rpl;
	struct x86_seg cs, ss;
	uint64_t v[2], w[2], rsp = cpu->gpr[X86_RSP];
	int r;

	if (stack_read(cpu, opsize, 2, v, x))
		return 1;
	rpl = v[1] & 3;
	if (rpl < cpl)
		return fault(x, EXC_GP, (uint16_t)v[1]);
	if (code_segment(cpu, (uint16_t)v[1], rpl, true, &cs, x))
		return 1;
	if (!va_canonical(v[0]))
		return fault(x, EXC_GP, 0);
	cs.selector = (uint16_t)v[1];
	if (rpl == cpl) {
		ss = cpu->seg[X86_SS];
		enter_outer(cpu, &cs, &ss, v[0], rsp + 2 * opsize + pop, cpl);
		return 0;
	}
	cpu->gpr[X86_RSP] = rsp + 2 * opsize + pop;
	r = stack_read(cpu, opsize, 2, w, x);
	cpu->gpr[X86_RSP] = rsp;
	if (r || return_stack(cpu, (uint16_t)w[1], rpl, cs.attributes >> 13 & 1, &ss, x))
		return 1;
	enter_outer(cpu, &cs, &ss, v[0], w[0] + pop, cpl);
	return 0;
}

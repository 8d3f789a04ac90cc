// SPDX-License-Identifier: Apache-2.0
// Descriptors and what is loaded from them: segment registers, LDTR, TR (Intel SDM vol. 3, chapters 3 and 5).
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

struct x86_seg x86_unpack_descriptor(uint64_t d, uint16_t selector)
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

// A segment register that has changed: bases, and the stack's size.
static int loaded(struct x86_cpu *cpu, unsigned seg, const struct x86_seg *s)
{
	cpu->seg[seg] = *s;
	if (seg == X86_SS)
		x86_update_mode(cpu);
	x86_update_bases(cpu);
	return 0;
}

int x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), rpl = selector & 3, dpl, type;
	struct x86_seg s;
	uint64_t d[2];

	if (!(cpu->cr0 & CR0_PE)) { // limit and attributes stay what they were
		s = cpu->seg[seg];
		s.selector = selector;
		s.base = (uint32_t)selector << 4;
		return loaded(cpu, seg, &s);
	}
	if (!(selector & 0xfffc)) {
		if (seg == X86_SS && (!(cpu->mode & MODE_LONG) || cpl == 3 || rpl != cpl))
			return fault(x, EXC_GP, selector);
		// A null segment; its base is cleared as current processors do.
		s = (struct x86_seg){ .selector = selector };
		if (seg == X86_SS)
			s.attributes = (uint16_t)(0x93 | cpl << 5);
		return loaded(cpu, seg, &s);
	}
	if (x86_read_descriptor(cpu, selector, d, false, x))
		return 1;
	s = x86_unpack_descriptor(d[0], selector);
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
	return loaded(cpu, seg, &s);
}

int x86_load_ldtr_tr(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x)
{
	unsigned want = seg == X86_TR ? 9 : 2, type;
	bool ia32e = cpu->efer & EFER_LMA;
	struct x86_seg s;
	uint64_t d[2];

	if (!(selector & 0xfffc)) {
		if (seg == X86_TR)
			return fault(x, EXC_GP, selector);
		cpu->seg[seg] = (struct x86_seg){ .selector = selector };
		return 0;
	}
	if ((selector & 4) || x86_read_descriptor(cpu, selector, d, ia32e, x))
		return selector & 4 ? fault(x, EXC_GP, selector) : 1;
	s = x86_unpack_descriptor(d[0], selector);
	s.base |= d[1] << 32;
	type = s.attributes & 0x1f;
	if (type != want && !(seg == X86_TR && type == 1 && !ia32e)) // 1: a 16-bit TSS
		return fault(x, EXC_GP, selector);
	if (!(s.attributes & 0x80))
		return fault(x, EXC_NP, selector);
	if (seg == X86_TR) {
		uint8_t busy = (uint8_t)(d[0] >> 40) | 2;

		if (x86_sys_access(cpu, cpu->gdtr.base + (selector & 0xfff8u) + 5, &busy, 1, true,
				   x))
			return 1;
		s.attributes |= 2;
	}
	cpu->seg[seg] = s;
	return 0;
}

// Checks a code segment for a transfer to privilege cpl. 0 with *ret.
int x86_code_segment(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, bool ret,
		     struct x86_seg *out, struct x86_exception *x)
{
	unsigned dpl, type;
	uint64_t d[2];

	if (!(selector & 0xfffc))
		return fault(x, EXC_GP, 0);
	if (x86_read_descriptor(cpu, selector, d, false, x))
		return 1;
	*out = x86_unpack_descriptor(d[0], selector);
	type = out->attributes & 0x1f;
	dpl = out->attributes >> 5 & 3;
	if ((type & 0x18) != 0x18)
		return fault(x, EXC_GP, selector);
	if ((type & 4) ? dpl > cpl : dpl != cpl || (!ret && (selector & 3) > cpl))
		return fault(x, EXC_GP, selector);
	if (!(out->attributes & 0x80))
		return fault(x, EXC_NP, selector);
	if (cpu->efer & EFER_LMA) {
		if ((out->attributes >> 13 & 1) && (out->attributes >> 14 & 1))
			return fault(x, EXC_GP, selector); // L and D both
	} else {
		out->attributes &= (uint16_t) ~(1u << 13); // L means nothing
	}
	if (set_accessed(cpu, selector, d[0], x))
		return 1;
	out->attributes |= 1;
	return 0;
}

// Stack segment for a return to an outer or the same privilege; of an inner one for a gate.
int x86_stack_segment(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, bool long_mode,
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
	*out = x86_unpack_descriptor(d[0], sel);
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

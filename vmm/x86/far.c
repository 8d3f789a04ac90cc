// SPDX-License-Identifier: Apache-2.0
// Far transfers: JMP, CALL, RET and IRET between segments and privileges, in real mode, protected mode and IA-32e mode
// (Intel SDM vol. 3, 5.8 and 6.12). Tasks are not switched: a far transfer to a TSS or a task gate, and IRET with NT set
// outside IA-32e mode, leave as unsupported.
#include "vmm/x86/cpu.h"

static _Noreturn void gp(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector,
			 uint16_t selector)
{
	x86_raise(cpu, op, vector, selector & 0xfffcu);
}

static uint64_t rip_of(uint64_t v, unsigned opsize)
{
	return opsize == 2 ? (uint16_t)v : opsize == 4 ? (uint32_t)v : v;
}

// Value i (counted in opsize units upwards from the stack pointer).
static uint64_t stack_at(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize, uint64_t at)
{
	return x86_ld_slow(cpu, op, sp_va(cpu, op, cpu->gpr[X86_RSP] + at, opsize, false), opsize);
}

static void check_rip(struct x86_cpu *cpu, const struct x86_op *op, const struct x86_seg *cs,
		      uint64_t rip)
{
	bool wide = (cpu->efer & EFER_LMA) && (cs->attributes >> 13 & 1);

	if (wide ? !va_canonical(rip) : rip > cs->limit)
		x86_raise(cpu, op, EXC_GP, 0);
}

static void enter(struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip)
{
	cpu->seg[X86_CS] = *cs;
	cpu->rip = rip;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
}

// ---- real mode
static void real_code(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel, uint64_t rip,
		      struct x86_seg *cs)
{
	*cs = cpu->seg[X86_CS];
	cs->selector = sel;
	cs->base = (uint32_t)sel << 4;
	if (rip > cs->limit)
		x86_raise(cpu, op, EXC_GP, 0);
}

static void push_return(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize)
{
	uint64_t sp = cpu->gpr[X86_RSP], cs = sp - opsize, ip = sp - 2 * opsize;

	x86_write_probe(cpu, op, sp_va(cpu, op, ip, opsize, true), opsize);
	x86_st_slow(cpu, op, sp_va(cpu, op, cs, opsize, true), opsize, cpu->seg[X86_CS].selector);
	x86_st_slow(cpu, op, sp_va(cpu, op, ip, opsize, true), opsize, op_next_rip(cpu, op));
	sp_set(cpu, ip);
}

// ---- call gates
int x86_tss_stack(struct x86_cpu *cpu, unsigned dpl, uint16_t *ret_ss, uint64_t *ret_rsp,
		  struct x86_exception *x)
{
	const struct x86_seg *tr = &cpu->seg[X86_TR];
	bool ia32e = cpu->efer & EFER_LMA, small = !ia32e && (tr->attributes & 0xd) == 1;
	unsigned at = ia32e   ? 4 + dpl * 8
		      : small ? 2 + dpl * 4
			      : 4 + dpl * 8,
		 bytes = ia32e   ? 8
			 : small ? 4
				 : 6;
	uint8_t buf[8] = { 0 };

	*x = (struct x86_exception){ .vector = EXC_TS,
				     .has_error = true,
				     .error = tr->selector & 0xfffcu };
	if (at + bytes - 1 > tr->limit)
		return 1;
	if (x86_sys_access(cpu, tr->base + at, buf, bytes, false, x))
		return 1;
	*ret_rsp = 0;
	*ret_ss = (uint16_t)dpl; // in IA-32e mode: null
	memcpy(ret_rsp, buf, ia32e ? 8 : small ? 2 : 4);
	if (!ia32e)
		memcpy(ret_ss, buf + (small ? 2 : 4), 2);
	return 0;
}

struct call_gate {
	uint16_t selector;
	uint64_t target;
	unsigned words, size; // parameters to copy; bytes of each value pushed
};

// The inner stack of a call through a gate, with the caller's SS:RSP, parameters and return address on it.
static void gate_inner(struct x86_cpu *cpu, const struct x86_op *op, const struct call_gate *g,
		       struct x86_seg *cs, unsigned dpl)
{
	uint64_t v[36], rsp, old = cpu->gpr[X86_RSP];
	unsigned n = 0;
	struct x86_seg ss = { .attributes = (uint16_t)(0x93 | dpl << 5) };
	struct x86_exception x;
	uint16_t sel;

	if (x86_tss_stack(cpu, dpl, &sel, &rsp, &x))
		x86_raise_pf(cpu, op, &x);
	ss.selector = sel;
	if (!(cpu->efer & EFER_LMA) && x86_stack_segment(cpu, sel, dpl, false, &ss, &x)) {
		x.vector = x.vector == EXC_GP ? EXC_TS : x.vector;
		x86_raise_pf(cpu, op, &x);
	}
	v[n++] = op_next_rip(cpu, op);
	v[n++] = cpu->seg[X86_CS].selector;
	for (unsigned i = 0; i < g->words; i++)
		v[n++] = stack_at(cpu, op, g->size, i * g->size);
	v[n++] = old;
	v[n++] = cpu->seg[X86_SS].selector;
	for (unsigned i = n; i-- > 0;) {
		rsp -= g->size;
		if (x86_sys_access(cpu, ss.base + rsp, &v[i], g->size, true, &x))
			x86_raise_pf(cpu, op, &x);
	}
	cpu->seg[X86_SS] = ss;
	cs->selector = (uint16_t)((g->selector & ~3u) | dpl);
	enter(cpu, cs, g->target);
	sp_set(cpu, rsp);
}

static void through_gate(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel,
			 const uint64_t d[2], bool call)
{
	unsigned cpl = cpu_cpl(cpu), dpl = d[0] >> 45 & 3, type = d[0] >> 40 & 15;
	bool ia32e = cpu->efer & EFER_LMA;
	struct call_gate g = { .selector = (uint16_t)(d[0] >> 16),
			       .target = (d[0] & 0xffff) | (type & 8 ? d[0] >> 32 & 0xffff0000 : 0),
			       .words = ia32e ? 0 : d[0] >> 32 & 31,
			       .size = ia32e      ? 8
				       : type & 8 ? 4
						  : 2 };
	struct x86_exception x;
	struct x86_seg cs;
	uint64_t t[2];

	if (dpl < cpl || dpl < (sel & 3u))
		gp(cpu, op, EXC_GP, sel);
	if (!(d[0] >> 47 & 1))
		gp(cpu, op, EXC_NP, sel);
	if (ia32e)
		g.target |= d[1] << 32;
	if (!(g.selector & 0xfffc))
		gp(cpu, op, EXC_GP, 0);
	if (x86_read_descriptor(cpu, g.selector, t, false, &x))
		x86_raise_pf(cpu, op, &x);
	dpl = t[0] >> 45 & 3;
	if ((t[0] >> 43 & 3) != 3 || dpl > cpl || (ia32e && !(t[0] >> 53 & 1)))
		gp(cpu, op, EXC_GP, g.selector);
	if (!(t[0] >> 47 & 1))
		gp(cpu, op, EXC_NP, g.selector);
	cs = x86_unpack_descriptor(t[0], g.selector);
	check_rip(cpu, op, &cs, g.target);
	if (call && !(t[0] >> 42 & 1) && dpl < cpl) {
		gate_inner(cpu, op, &g, &cs, dpl);
		return;
	}
	if (!call && !(t[0] >> 42 & 1) && dpl != cpl)
		gp(cpu, op, EXC_GP, g.selector);
	if (call)
		push_return(cpu, op, g.size);
	cs.selector = (uint16_t)((g.selector & ~3u) | cpl);
	enter(cpu, &cs, g.target);
}

// ---- JMP and CALL
void x86_far_transfer(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel, uint64_t off,
		      unsigned opsize, bool call)
{
	unsigned cpl = cpu_cpl(cpu), type;
	struct x86_exception x;
	struct x86_seg cs;
	uint64_t d[2];

	if (!(cpu->cr0 & CR0_PE)) {
		real_code(cpu, op, sel, off, &cs);
		if (call)
			push_return(cpu, op, opsize);
		enter(cpu, &cs, off);
		return;
	}
	if (!(sel & 0xfffc))
		gp(cpu, op, EXC_GP, 0);
	if (x86_read_descriptor(cpu, sel, d, false, &x))
		x86_raise_pf(cpu, op, &x);
	type = d[0] >> 40 & 0x1f;
	if (type == 12 || (type == 4 && !(cpu->efer & EFER_LMA))) {
		if (type == 12 && (cpu->efer & EFER_LMA) &&
		    x86_read_descriptor(cpu, sel, d, true, &x))
			x86_raise_pf(cpu, op, &x);
		through_gate(cpu, op, sel, d, call);
		return;
	}
	if (!(cpu->efer & EFER_LMA) && (type == 1 || type == 5 || type == 9))
		x86_leave(cpu, op, X86_EXIT_UNSUPPORTED); // a task
	if (x86_code_segment(cpu, sel, cpl, false, &cs, &x))
		x86_raise_pf(cpu, op, &x);
	check_rip(cpu, op, &cs, off);
	if (call)
		push_return(cpu, op, opsize);
	cs.selector = (uint16_t)((sel & ~3u) | cpl);
	enter(cpu, &cs, off);
}

// ---- returns

// Data segments that the new privilege may not use become null.
static void drop_inner_segments(struct x86_cpu *cpu, unsigned cpl)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < 4; i++) {
		struct x86_seg *s = &cpu->seg[data[i]];
		unsigned type = s->attributes & 0x1f, dpl = s->attributes >> 5 & 3;

		if ((s->attributes & 0x80) && dpl < cpl && (type & 0x1c) != 0x1c) {
			s->selector = 0; // the base stays, which 64-bit code goes on using
			s->attributes = 0;
		}
	}
}

static void enter_outer(struct x86_cpu *cpu, const struct x86_seg *cs, const struct x86_seg *ss,
			uint64_t rip, uint64_t rsp)
{
	unsigned from = cpu_cpl(cpu), to = cs->selector & 3;

	cpu->seg[X86_SS] = *ss;
	cpu->seg[X86_SS].attributes = (uint16_t)((ss->attributes & ~0x60u) | to << 5);
	if (to > from)
		drop_inner_segments(cpu, to);
	enter(cpu, cs, rip);
	sp_set(cpu, rsp);
}

void x86_far_ret(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize, unsigned pop)
{
	unsigned cpl = cpu_cpl(cpu), rpl;
	uint64_t rip = rip_of(stack_at(cpu, op, opsize, 0), opsize), rsp;
	uint16_t sel = (uint16_t)stack_at(cpu, op, opsize, opsize), ss_sel;
	struct x86_seg cs, ss = cpu->seg[X86_SS];
	struct x86_exception x;

	rsp = cpu->gpr[X86_RSP] + 2 * opsize + pop;
	if (!(cpu->cr0 & CR0_PE)) {
		real_code(cpu, op, sel, rip, &cs);
		enter(cpu, &cs, rip);
		sp_set(cpu, rsp);
		return;
	}
	rpl = sel & 3;
	if (rpl < cpl)
		gp(cpu, op, EXC_GP, sel);
	if (x86_code_segment(cpu, sel, rpl, true, &cs, &x))
		x86_raise_pf(cpu, op, &x);
	check_rip(cpu, op, &cs, rip);
	cs.selector = sel;
	if (rpl > cpl) {
		rsp = stack_at(cpu, op, opsize, 2 * opsize + pop) + pop;
		ss_sel = (uint16_t)stack_at(cpu, op, opsize, 3 * opsize + pop);
		if (x86_stack_segment(cpu, ss_sel, rpl, cs.attributes >> 13 & 1, &ss, &x))
			x86_raise_pf(cpu, op, &x);
	}
	enter_outer(cpu, &cs, &ss, rip, rsp);
}

static void iret_flags(struct x86_cpu *cpu, unsigned cpl, unsigned iopl, unsigned opsize,
		       uint64_t v)
{
	uint64_t allowed = F_ARITH | F_TF | F_DF | F_NT | F_RF | F_AC | F_ID, flags;
	bool was = cpu->rflags & F_IF;

	if (cpl == 0)
		allowed |= F_IOPL;
	if (cpl <= iopl)
		allowed |= F_IF;
	if (opsize == 2)
		allowed &= 0xffff;
	flags = (cpu_rflags(cpu) & ~allowed) | (v & allowed);
	if (!cpu->watching) // it would be over after one instruction, which is not looked at
		flags &= ~(uint64_t)F_RF;
	cpu_set_rflags(cpu, flags);
	x86_update_mode(cpu);
	x86_nmi_unmask(cpu);
	if (!was && (flags & F_IF))
		x86_irq_enabled(cpu);
}

static void iret_real(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize)
{
	uint64_t rip = rip_of(stack_at(cpu, op, opsize, 0), opsize),
		 flags = stack_at(cpu, op, opsize, 2 * opsize);
	struct x86_seg cs;

	real_code(cpu, op, (uint16_t)stack_at(cpu, op, opsize, opsize), rip, &cs);
	enter(cpu, &cs, rip);
	sp_set(cpu, cpu->gpr[X86_RSP] + 3 * opsize);
	iret_flags(cpu, 0, 3, opsize, flags);
}

void x86_iret(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize)
{
	unsigned cpl = cpu_cpl(cpu), rpl, iopl = cpu->rflags >> 12 & 3;
	bool wide = cpu->mode & MODE_LONG, outer;
	uint64_t rip, flags, rsp = cpu->gpr[X86_RSP] + 3 * opsize;
	struct x86_seg cs, ss = cpu->seg[X86_SS];
	struct x86_exception x;
	uint16_t sel;

	if (!(cpu->cr0 & CR0_PE)) {
		iret_real(cpu, op, opsize);
		return;
	}
	if (cpu->rflags & F_NT) {
		if (!(cpu->efer & EFER_LMA))
			x86_leave(cpu, op, X86_EXIT_UNSUPPORTED); // a nested task
		gp(cpu, op, EXC_GP, 0);
	}
	rip = rip_of(stack_at(cpu, op, opsize, 0), opsize);
	sel = (uint16_t)stack_at(cpu, op, opsize, opsize);
	flags = stack_at(cpu, op, opsize, 2 * opsize);
	if ((flags & F_VM) && cpl == 0 && opsize == 4 && !(cpu->efer & EFER_LMA))
		x86_leave(cpu, op, X86_EXIT_UNSUPPORTED); // virtual-8086 mode
	rpl = sel & 3;
	if (rpl < cpl)
		gp(cpu, op, EXC_GP, sel);
	if (x86_code_segment(cpu, sel, rpl, true, &cs, &x))
		x86_raise_pf(cpu, op, &x);
	outer = wide || rpl > cpl; // 64-bit mode always pops SS:RSP
	if (outer) {
		rsp = stack_at(cpu, op, opsize, 3 * opsize);
		if (x86_stack_segment(cpu, (uint16_t)stack_at(cpu, op, opsize, 4 * opsize), rpl,
				      cs.attributes >> 13 & 1, &ss, &x))
			x86_raise_pf(cpu, op, &x);
	}
	check_rip(cpu, op, &cs, rip);
	cs.selector = sel;
	enter_outer(cpu, &cs, &ss, rip, rsp);
	iret_flags(cpu, cpl, iopl, opsize, flags);
}

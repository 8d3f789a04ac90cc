// SPDX-License-Identifier: Apache-2.0
// Exceptions and interrupts (Intel SDM vol. 3, chapter 6): through the 64-bit IDT with IST, through 16- and 32-bit gates,
// and through the real-mode vector table; nesting to #DF and to the triple fault.
#include "vmm/x86/cpu.h"

struct gate {
	uint64_t target;
	uint16_t selector;
	unsigned ist, type, dpl;
	bool present;
};

// What is being delivered.
struct delivery {
	unsigned vector;
	bool has_error, software;
	uint32_t error;
	uint64_t return_rip, flags; // as pushed
};

static int fault(struct x86_exception *x, unsigned vector, uint32_t error)
{
	*x = (struct x86_exception){ .vector = (uint8_t)vector, .has_error = true, .error = error };
	return 1;
}

static int read_gate(struct x86_cpu *cpu, unsigned vector, struct gate *g, struct x86_exception *x)
{
	unsigned bytes = cpu->efer & EFER_LMA ? 16 : 8;
	uint64_t d[2] = { 0 };

	if (vector * bytes + bytes - 1 > cpu->idtr.limit)
		return fault(x, EXC_GP, vector * 8 + 2);
	if (x86_sys_access(cpu, cpu->idtr.base + vector * bytes, d, bytes, false, x))
		return 1;
	g->type = d[0] >> 40 & 0x1f;
	g->target = (d[0] & 0xffff) | d[1] << 32;
	if (g->type & 8)
		g->target |= d[0] >> 32 & 0xffff0000;
	g->selector = (uint16_t)(d[0] >> 16);
	g->ist = bytes == 16 ? d[0] >> 32 & 7 : 0;
	g->dpl = d[0] >> 45 & 3;
	g->present = d[0] >> 47 & 1;
	return 0;
}

static bool gate_type_ok(const struct x86_cpu *cpu, unsigned type)
{
	if (type == 14 || type == 15)
		return true;
	return !(cpu->efer & EFER_LMA) && (type == 5 || type == 6 || type == 7);
}

static int check_gate(struct x86_cpu *cpu, const struct delivery *v, const struct gate *g,
		      struct x86_exception *x)
{
	bool trap = v->software || v->vector == EXC_BP || v->vector == EXC_OF;
	uint32_t code = v->vector * 8 + 2 + !trap;

	if (!gate_type_ok(cpu, g->type) || (v->software && g->dpl < cpu_cpl(cpu)))
		return fault(x, EXC_GP, code);
	if (!g->present)
		return fault(x, EXC_NP, code);
	if (!(g->selector & 0xfffc) && g->type != 5)
		return fault(x, EXC_GP, !v->software);
	return 0;
}

// The handler's code segment, and the privilege it runs at.
static int handler_code(struct x86_cpu *cpu, const struct gate *g, uint64_t d[2], unsigned *ret_dpl,
			struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), dpl;
	bool ia32e = cpu->efer & EFER_LMA;

	if (x86_read_descriptor(cpu, g->selector, d, false, x))
		return 1;
	dpl = d[0] >> 45 & 3;
	if ((d[0] >> 43 & 3) != 3 || dpl > cpl ||
	    (ia32e && (!(d[0] >> 53 & 1) || (d[0] >> 54 & 1))))
		return fault(x, EXC_GP, g->selector & 0xfffcu);
	if (!(d[0] >> 47 & 1))
		return fault(x, EXC_NP, g->selector & 0xfffcu);
	*ret_dpl = d[0] >> 42 & 1 ? cpl : dpl; // conforming code keeps the privilege
	return 0;
}

static void enter_handler(struct x86_cpu *cpu, const struct gate *g, uint64_t d, unsigned dpl)
{
	cpu->rip = g->target;
	cpu->seg[X86_CS] =
		x86_unpack_descriptor(d | 1ull << 40, (uint16_t)((g->selector & ~3u) | dpl));
	cpu->rflags &= ~(uint64_t)(F_TF | F_NT | F_RF | F_VM | (g->type & 1 ? 0 : F_IF));
	x86_update_mode(cpu);
	x86_update_bases(cpu);
}

// ---- IA-32e mode
static int stack_64(struct x86_cpu *cpu, const struct gate *g, unsigned dpl, uint64_t *rsp,
		    struct x86_exception *x)
{
	unsigned at = 36 + (g->ist - 1) * 8;
	uint16_t ss;

	*rsp = cpu->gpr[X86_RSP];
	if (!g->ist && dpl == cpu_cpl(cpu))
		return 0;
	if (!g->ist)
		return x86_tss_stack(cpu, dpl, &ss, rsp, x);
	if (at + 7 > cpu->seg[X86_TR].limit)
		return fault(x, EXC_TS, cpu->seg[X86_TR].selector & 0xfffcu);
	return x86_sys_access(cpu, cpu->seg[X86_TR].base + at, rsp, 8, false, x);
}

static int deliver_64(struct x86_cpu *cpu, const struct delivery *v, const struct gate *g,
		      struct x86_exception *x)
{
	uint64_t d[2], rsp, frame[6];
	unsigned dpl, n = 0;

	if (handler_code(cpu, g, d, &dpl, x) || stack_64(cpu, g, dpl, &rsp, x))
		return 1;
	if (!va_canonical(rsp) || !va_canonical(g->target))
		return fault(x, va_canonical(rsp) ? EXC_GP : EXC_SS, 0);
	rsp &= ~15ull;
	if (v->has_error)
		frame[n++] = v->error;
	frame[n++] = v->return_rip;
	frame[n++] = cpu->seg[X86_CS].selector;
	frame[n++] = v->flags;
	frame[n++] = cpu->gpr[X86_RSP];
	frame[n++] = cpu->seg[X86_SS].selector;
	rsp -= n * 8;
	if (x86_sys_access(cpu, rsp, frame, n * 8, true, x))
		return 1;
	cpu->gpr[X86_RSP] = rsp;
	if (dpl != cpu_cpl(cpu))
		cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)dpl,
						     .attributes = (uint16_t)(0x93 | dpl << 5) };
	enter_handler(cpu, g, d[0], dpl);
	return 0;
}

// ---- protected mode
static int deliver_32(struct x86_cpu *cpu, const struct delivery *v, const struct gate *g,
		      struct x86_exception *x)
{
	unsigned size = g->type & 8 ? 4 : 2, dpl, n = 0;
	uint64_t d[2], rsp = cpu->gpr[X86_RSP], frame[6];
	struct x86_seg ss = cpu->seg[X86_SS];
	bool inner;
	uint16_t sel;

	if (handler_code(cpu, g, d, &dpl, x))
		return 1;
	inner = dpl != cpu_cpl(cpu);
	if (inner) {
		if (x86_tss_stack(cpu, dpl, &sel, &rsp, x))
			return 1;
		if (x86_stack_segment(cpu, sel, dpl, false, &ss, x)) {
			x->vector = x->vector == EXC_GP ? EXC_TS : x->vector;
			return 1;
		}
	}
	if (v->has_error)
		frame[n++] = v->error;
	frame[n++] = v->return_rip;
	frame[n++] = cpu->seg[X86_CS].selector;
	frame[n++] = v->flags;
	if (inner) {
		frame[n++] = cpu->gpr[X86_RSP];
		frame[n++] = cpu->seg[X86_SS].selector;
	}
	for (unsigned i = n; i-- > 0;) {
		rsp -= size;
		rsp = ss.attributes >> 14 & 1 ? (uint32_t)rsp : (uint16_t)rsp;
		if (rsp + size - 1 > ss.limit && !(ss.attributes & 4))
			return fault(x, EXC_SS, inner ? ss.selector & 0xfffcu : 0);
		if (x86_sys_access(cpu, (uint32_t)(ss.base + rsp), &frame[i], size, true, x))
			return 1;
	}
	cpu->seg[X86_SS] = ss;
	enter_handler(cpu, g, d[0], dpl);
	sp_set(cpu, rsp);
	return 0;
}

// ---- real mode: four bytes a vector, no error codes
static int deliver_real(struct x86_cpu *cpu, const struct delivery *v, struct x86_exception *x)
{
	uint64_t sp = cpu->gpr[X86_RSP];
	uint16_t target[2], frame[3] = { (uint16_t)v->return_rip, cpu->seg[X86_CS].selector,
					 (uint16_t)v->flags };

	if (v->vector * 4 + 3 > cpu->idtr.limit)
		return fault(x, EXC_GP, 0);
	if (x86_sys_access(cpu, cpu->idtr.base + v->vector * 4, target, 4, false, x))
		return 1;
	for (unsigned i = 3; i-- > 0;) {
		sp -= 2;
		if (((uint16_t)sp) + 1u > cpu->seg[X86_SS].limit)
			return fault(x, EXC_SS, 0);
		if (x86_sys_access(cpu, (uint32_t)(cpu->seg[X86_SS].base + (uint16_t)sp), &frame[i],
				   2, true, x))
			return 1;
	}
	sp_set(cpu, sp);
	cpu->seg[X86_CS].selector = target[1];
	cpu->seg[X86_CS].base = (uint32_t)target[1] << 4;
	cpu->rip = target[0];
	cpu->rflags &= ~(uint64_t)(F_TF | F_IF | F_AC | F_RF);
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	return 0;
}

static int try_deliver(struct x86_cpu *cpu, const struct delivery *v, struct x86_exception *x)
{
	struct gate g;

	if (!(cpu->cr0 & CR0_PE))
		return deliver_real(cpu, v, x);
	if (read_gate(cpu, v->vector, &g, x) || check_gate(cpu, v, &g, x))
		return 1;
	if (g.type == 5) { // a task gate
		cpu->exit->reason = X86_EXIT_UNSUPPORTED;
		longjmp(cpu->unwind, UNWIND_EXIT);
	}
	return cpu->efer & EFER_LMA ? deliver_64(cpu, v, &g, x) : deliver_32(cpu, v, &g, x);
}

static bool contributory(unsigned v)
{
	return v == EXC_DE || (v >= EXC_TS && v <= EXC_GP);
}

// Faults restart their instruction: the image of RFLAGS has RF set, so that an instruction breakpoint is not hit again.
static bool sets_rf(const struct x86_cpu *cpu, unsigned vector, bool exception)
{
	if (!exception)
		return false;
	return vector == EXC_DB ? cpu->db_fault
				: vector != EXC_BP && vector != EXC_OF && vector != EXC_DF;
}

bool x86_deliver(struct x86_cpu *cpu, unsigned vector, bool has_error, uint32_t error,
		 bool software, uint64_t return_rip)
{
	bool exception = vector < 32 && vector != EXC_NMI && !software;
	struct delivery v = { vector, has_error, software, error, return_rip, 0 };

	cpu->halted = false;
	cpu->stepping = false;
	if (vector == EXC_DB &&
	    exception) { // with it go the data breakpoints that a load of SS held back
		cpu->dr[6] |= cpu->db_hits;
		cpu->db_hits = 0;
	}
	cpu->link_from = NULL; // the jump that was taken last does not lead to the handler
	for (unsigned depth = 0; depth < 8; depth++) {
		struct x86_exception x;

		v.flags = cpu_rflags(cpu) | (sets_rf(cpu, v.vector, exception) ? F_RF : 0);
		if (!try_deliver(cpu, &v, &x)) {
			cpu->db_fault = false;
			return true;
		}
		if (exception && v.vector == EXC_DF)
			return false;
		if (x.vector == EXC_PF)
			cpu->cr2 = x.cr2;
		// Two faults that cannot be served one after the other are a double fault.
		if (exception &&
		    ((contributory(v.vector) && contributory(x.vector)) ||
		     (v.vector == EXC_PF && (x.vector == EXC_PF || contributory(x.vector))))) {
			v.vector = EXC_DF;
			v.has_error = true;
			v.error = 0;
		} else {
			v.vector = x.vector;
			v.has_error = x.has_error;
			v.error = x.error;
			// A software interrupt that faults is restarted: its own RIP, not the one after it.
			if (v.software)
				v.return_rip = cpu->rip;
		}
		v.software = false;
		exception = true;
	}
	return false;
}

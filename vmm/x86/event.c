// SPDX-License-Identifier: Apache-2.0
// Exceptions and interrupts through the 64-bit IDT (Intel SDM vol. 3, 6.14), with IST, stack switch and nesting to #DF.
#include "vmm/x86/cpu.h"

struct gate {
	uint64_t target;
	uint16_t selector;
	unsigned ist, type, dpl;
	bool present;
};

static int read_gate(struct x86_cpu *cpu, unsigned vector, struct gate *g, struct x86_exception *x)
{
	uint64_t d[2];

	if (vector * 16 + 15 > cpu->idtr.limit) {
		*x = (struct x86_exception){ .vector = EXC_GP,
					     .has_error = true,
					     .error = vector * 8 + 2 };
		return 1;
	}
	if (x86_sys_access(cpu, cpu->idtr.base + vector * 16, d, 16, false, x))
		return 1;
	g->target = (d[0] & 0xffff) | (d[0] >> 32 & 0xffff0000) | d[1] << 32;
	g->selector = (uint16_t)(d[0] >> 16);
	g->ist = d[0] >> 32 & 7;
	g->type = d[0] >> 40 & 0x1f;
	g->dpl = d[0] >> 45 & 3;
	g->present = d[0] >> 47 & 1;
	return 0;
}

static int check_gate(struct x86_cpu *cpu, unsigned vector, const struct gate *g, bool software,
		      struct x86_exception *x)
{
	uint32_t code = vector * 8 + 2 + (software || vector == EXC_BP || vector == EXC_OF ? 0 : 1);

	*x = (struct x86_exception){ .vector = EXC_GP, .has_error = true, .error = code };
	if ((g->type != 14 && g->type != 15) || (software && g->dpl < cpu_cpl(cpu)))
		return 1;
	if (!g->present) {
		x->vector = EXC_NP;
		return 1;
	}
	return 0;
}

// New stack pointer from the TSS, or the present one.
static int new_stack(struct x86_cpu *cpu, const struct gate *g, unsigned dpl, uint64_t *rsp,
		     struct x86_exception *x)
{
	unsigned at;

	*rsp = cpu->gpr[X86_RSP];
	if (!g->ist && dpl == cpu_cpl(cpu))
		return 0;
	at = g->ist ? 36 + (g->ist - 1) * 8 : 4 + dpl * 8;
	if (at + 7 > cpu->seg[X86_TR].limit) {
		*x = (struct x86_exception){ .vector = EXC_TS,
					     .has_error = true,
					     .error = cpu->seg[X86_TR].selector & 0xfffc };
		return 1;
	}
	return x86_sys_access(cpu, cpu->seg[X86_TR].base + at, rsp, 8, false, x);
}

static int try_deliver(struct x86_cpu *cpu, unsigned vector, bool has_error, uint32_t error,
		       bool software, uint64_t return_rip, struct x86_exception *x)
{
	unsigned cpl = cpu_cpl(cpu), dpl, n = 0;
	struct gate g;
	uint64_t cs[2], rsp, frame[6], flags = cpu_rflags(cpu);
	int r;

	if (read_gate(cpu, vector, &g, x) || check_gate(cpu, vector, &g, software, x))
		return 1;
	if (!(g.selector & 0xfffc)) {
		*x = (struct x86_exception){ .vector = EXC_GP,
					     .has_error = true,
					     .error = !software };
		return 1;
	}
	if (x86_read_descriptor(cpu, g.selector, cs, false, x))
		return 1;
	dpl = cs[0] >> 45 & 3;
	if ((cs[0] >> 43 & 3) != 3 || dpl > cpl || !(cs[0] >> 53 & 1) || (cs[0] >> 54 & 1)) {
		*x = (struct x86_exception){ .vector = EXC_GP,
					     .has_error = true,
					     .error = g.selector & 0xfffcu };
		return 1;
	}
	if (!(cs[0] >> 47 & 1)) {
		*x = (struct x86_exception){ .vector = EXC_NP,
					     .has_error = true,
					     .error = g.selector & 0xfffcu };
		return 1;
	}
	if (cs[0] >> 42 & 1)
		dpl = cpl; // conforming
	if (new_stack(cpu, &g, dpl, &rsp, x))
		return 1;
	if (!va_canonical(rsp) || !va_canonical(g.target)) {
		*x = (struct x86_exception){ .vector = va_canonical(rsp) ? EXC_GP : EXC_SS,
					     .has_error = true };
		return 1;
	}
	rsp &= ~15ull;
	if (has_error)
		frame[n++] = error;
	frame[n++] = return_rip;
	frame[n++] = cpu->seg[X86_CS].selector;
	frame[n++] = flags;
	frame[n++] = cpu->gpr[X86_RSP];
	frame[n++] = cpu->seg[X86_SS].selector;
	rsp -= n * 8;
	r = x86_sys_access(cpu, rsp, frame, n * 8, true, x);
	if (r)
		return 1;
	cpu->gpr[X86_RSP] = rsp;
	cpu->rip = g.target;
	cpu->seg[X86_CS] = (struct x86_seg){ .selector = (uint16_t)((g.selector & ~3u) | dpl),
					     .attributes = (uint16_t)(cs[0] >> 40 & 0xf0ff) | 1,
					     .limit = 0xffffffff };
	if (dpl != cpl)
		cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)dpl,
						     .attributes = (uint16_t)(0x93 | dpl << 5) };
	cpu->rflags &= ~(uint64_t)(F_TF | F_NT | F_RF | F_VM | (g.type == 14 ? F_IF : 0));
	cpu->stepping = false;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	return 0;
}

static bool contributory(unsigned v)
{
	return v == EXC_DE || (v >= EXC_TS && v <= EXC_GP);
}

bool x86_deliver(struct x86_cpu *cpu, unsigned vector, bool has_error, uint32_t error,
		 bool software, uint64_t return_rip)
{
	bool exception = vector < 32 && vector != EXC_NMI && !software;

	cpu->halted = false;
	for (unsigned depth = 0; depth < 8; depth++) {
		struct x86_exception x;

		if (!try_deliver(cpu, vector, has_error, error, software, return_rip, &x))
			return true;
		if (exception && vector == EXC_DF)
			return false;
		if (x.vector == EXC_PF)
			cpu->cr2 = x.cr2;
		// Two faults that cannot be served one after the other are a double fault.
		if (exception &&
		    ((contributory(vector) && contributory(x.vector)) ||
		     (vector == EXC_PF && (x.vector == EXC_PF || contributory(x.vector))))) {
			vector = EXC_DF;
			has_error = true;
			error = 0;
		} else {
			vector = x.vector;
			has_error = x.has_error;
			error = x.error;
			// A software interrupt that faults is restarted: its own RIP, not the one after it.
			if (software)
				return_rip = cpu->rip;
		}
		software = false;
		exception = true;
	}
	return false;
}

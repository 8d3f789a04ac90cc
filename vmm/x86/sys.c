// SPDX-License-Identifier: Apache-2.0
// System instructions: MSRs, descriptor tables, SYSCALL and SYSRET, interrupts by software, time,
// random numbers, CPUID, halting.
#include "vmm/x86/alu.h"

#include <sched.h>

OPH(nop)
{
	NEXT;
}
// Whoever spins waits for another processor, which may be waiting for this one's place on the host.
OPH(pause_)
{
	enum { SPINS = 64 };

	if (cpu->shared && (++cpu->pauses & (SPINS - 1)) == 0)
		(void)sched_yield(); // cannot fail on Linux
	NEXT;
}
OPH(mfence)
{
	__asm__ volatile("mfence" : : : "memory");
	NEXT;
}

// CLFLUSH, CLFLUSHOPT: memory is coherent, but it has to be there.
OPH(clflush)
{
	x86_read_probe(cpu, op, op_ea(cpu, op));
	NEXT;
}

OPH(hlt)
{
	PRIVILEGED;
	cpu->halted = true;
	LEAVE;
}

OPH(cli)
{
	if (cpu_cpl(cpu) > (cpu->rflags >> 12 & 3))
		GP0();
	cpu->rflags &= ~(uint64_t)F_IF;
	NEXT;
}

OPH(sti)
{
	if (cpu_cpl(cpu) > (cpu->rflags >> 12 & 3))
		GP0();
	if (cpu->rflags & F_IF)
		NEXT;
	cpu->rflags |= F_IF;
	x86_irq_enabled(cpu);
	cpu->shadow = true; // "sti; hlt" must not lose an interrupt in between
	LEAVE;
}

OPH(pushf)
{
	uint64_t v = cpu_rflags(cpu) & ~(uint64_t)(F_RF | F_VM), sp = cpu->gpr[X86_RSP] - op->aux;

	x86_st_slow(cpu, op, sp_va(cpu, op, sp, op->aux, true), op->aux, v);
	sp_set(cpu, sp);
	NEXT;
}

OPH(popf)
{
	uint64_t sp = cpu->gpr[X86_RSP], old = cpu_rflags(cpu),
		 allowed = F_ARITH | F_TF | F_DF | F_NT | F_AC | F_ID;
	uint64_t v = x86_ld_slow(cpu, op, sp_va(cpu, op, sp, op->aux, false), op->aux);

	if (cpu_cpl(cpu) == 0)
		allowed |= F_IOPL;
	if (cpu_cpl(cpu) <= (old >> 12 & 3))
		allowed |= F_IF;
	if (op->aux == 2)
		allowed &= 0xffff;
	v = (old & ~allowed) | (v & allowed);
	sp_set(cpu, sp + op->aux);
	cpu_set_rflags(cpu, v);
	if ((old ^ v) & F_AC)
		x86_update_mode(cpu);
	if (!(old & F_IF) && (v & F_IF))
		x86_irq_enabled(cpu);
	if ((old ^ v) & (F_IF | F_TF))
		LEAVE;
	NEXT;
}

OPH(invlpg)
{
	PRIVILEGED;
	x86_tlb_flush_page(cpu, op_ea(cpu, op));
	LEAVE;
}

OPH(wbinvd)
{
	PRIVILEGED;
	NEXT;
}

// ---- MSRs
static uint64_t *msr_slot(struct x86_cpu *cpu, uint32_t msr)
{
	switch (msr) {
	case 0x174:
		return &cpu->sysenter_cs;
	case 0x175:
		return &cpu->sysenter_esp;
	case 0x176:
		return &cpu->sysenter_eip;
	case 0x277:
		return &cpu->pat;
	case 0xc0000081:
		return &cpu->star;
	case 0xc0000082:
		return &cpu->lstar;
	case 0xc0000083:
		return &cpu->cstar;
	case 0xc0000084:
		return &cpu->sfmask;
	case 0xc0000100:
		return &cpu->seg[X86_FS].base;
	case 0xc0000101:
		return &cpu->seg[X86_GS].base;
	case 0xc0000102:
		return &cpu->kernel_gs_base;
	case 0xc0000103:
		return &cpu->tsc_aux;
	default:
		return NULL;
	}
}

static bool pat_valid(uint64_t v)
{
	for (unsigned i = 0; i < 8; i++, v >>= 8)
		if ((v & 0xff) > 7 || (v & 0xff) == 2 || (v & 0xff) == 3)
			return false;
	return true;
}

static bool msr_value_ok(uint32_t msr, uint64_t v)
{
	switch (msr) {
	case 0x175:
	case 0x176:
	case 0xc0000082:
	case 0xc0000083:
	case 0xc0000100:
	case 0xc0000101:
	case 0xc0000102:
		return va_canonical(v);
	case 0x277:
		return pat_valid(v);
	case 0xc0000103:
	case 0xc0000084:
		return v >> 32 == 0;
	default:
		return true;
	}
}

static void msr_leave(struct x86_cpu *cpu, const struct x86_op *op, uint32_t msr, bool write)
{
	cpu->exit->msr = msr;
	cpu->exit->is_write = write;
	cpu->exit->insn_len = op->len;
	x86_leave(cpu, op, X86_EXIT_MSR);
}

OPH(rdmsr)
{
	uint32_t msr = R32(X86_RCX);
	uint64_t *slot = msr_slot(cpu, msr), v = 0;

	PRIVILEGED;
	if (cpu->env->msr_intercept && cpu->env->msr_intercept(cpu->arg, msr, false))
		msr_leave(cpu, op, msr, false);
	if (msr == 0xc0000080) {
		v = cpu->efer;
	} else if (slot) {
		v = *slot;
	} else {
		int r = cpu->env->rdmsr ? cpu->env->rdmsr(cpu->arg, msr, &v) : 1;

		if (r == X86_ENV_EXIT)
			msr_leave(cpu, op, msr, false);
		if (r)
			GP0();
	}
	R64(X86_RAX) = (uint32_t)v;
	R64(X86_RDX) = v >> 32;
	NEXT_BACK;
}

OPH(wrmsr)
{
	uint32_t msr = R32(X86_RCX);
	uint64_t v = (uint64_t)R32(X86_RDX) << 32 | R32(X86_RAX), *slot = msr_slot(cpu, msr);

	PRIVILEGED;
	if (unlikely(cpu->n_untold)) // it may send an interrupt
		x86_code_tell(cpu);
	if (cpu->env->msr_intercept && cpu->env->msr_intercept(cpu->arg, msr, true))
		msr_leave(cpu, op, msr, true);
	if (msr == 0xc0000080) {
		uint64_t changed = cpu->efer ^ v;

		if ((v & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) ||
		    ((changed & EFER_LME) && (cpu->cr0 & CR0_PG)))
			GP0();
		cpu->efer = (v & ~EFER_LMA) | (cpu->efer & EFER_LMA);
		if (changed & EFER_NXE)
			x86_tlb_flush_all(cpu);
	} else if (slot) {
		if (!msr_value_ok(msr, v))
			GP0();
		*slot = v;
		x86_update_bases(cpu);
	} else {
		int r = cpu->env->wrmsr ? cpu->env->wrmsr(cpu->arg, msr, v) : 1;

		if (r == X86_ENV_EXIT)
			msr_leave(cpu, op, msr, true);
		if (r)
			GP0();
	}
	LEAVE;
}

OPH(cpuid)
{
	uint32_t out[4] = { 0 };
	int r = cpu->env->cpuid ? cpu->env->cpuid(cpu->arg, R32(X86_RAX), R32(X86_RCX), out) : 0;

	if (r == X86_ENV_EXIT) {
		cpu->exit->insn_len = op->len;
		x86_leave(cpu, op, X86_EXIT_CPUID);
	}
	R64(X86_RAX) = out[0];
	R64(X86_RBX) = out[1];
	R64(X86_RCX) = out[2];
	R64(X86_RDX) = out[3];
	NEXT_BACK;
}

// There are no counters: every number is one that does not exist.
OPH(rdpmc)
{
	GP0();
}

OPH(rdtsc)
{
	uint64_t v = __builtin_ia32_rdtsc() + (uint64_t)cpu->tsc_offset;

	if ((cpu->cr4 & CR4_TSD) && cpu_cpl(cpu))
		GP0();
	R64(X86_RAX) = (uint32_t)v;
	R64(X86_RDX) = v >> 32;
	if (op->aux)
		R64(X86_RCX) = (uint32_t)cpu->tsc_aux;
	NEXT;
}

OPH(rdpid)
{
	R64(op->rm) = cpu->tsc_aux;
	NEXT;
}

// The host's generator; CF says whether it had a value. aux: operand size; aux2: RDSEED
OPH(rdrand)
{
	unsigned long long v = 0;
	bool ok;

	if (op->aux2)
		__asm__ volatile("rdseed %0" : "=r"(v), "=@ccc"(ok));
	else
		__asm__ volatile("rdrand %0" : "=r"(v), "=@ccc"(ok));
	cpu->cc = ok ? CC_CF : 0;
	switch (op->aux) {
	case 2:
		R16(op->rm) = (uint16_t)v;
		break;
	case 4:
		R64(op->rm) = (uint32_t)v;
		break;
	default:
		R64(op->rm) = v;
		break;
	}
	NEXT;
}

// ---- SYSCALL, SYSRET, SWAPGS, FS and GS bases
OPH(syscall)
{
	uint16_t cs = (uint16_t)(cpu->star >> 32 & 0xfffc);
	uint64_t flags = cpu_rflags(cpu);

	if (!(cpu->efer & EFER_SCE) || !(cpu->mode & MODE_LONG))
		UD();
	R64(X86_RCX) = op_next_rip(cpu, op);
	R64(11) = flags & ~(uint64_t)F_RF;
	cpu->seg[X86_CS] =
		(struct x86_seg){ .selector = cs, .limit = 0xffffffff, .attributes = 0xa09b };
	cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)(cs + 8),
					     .limit = 0xffffffff,
					     .attributes = 0xc093 };
	cpu_set_rflags(cpu, flags & ~cpu->sfmask & ~(uint64_t)(F_RF | F_VM));
	cpu->icount -= (uint64_t)(cpu->block->insns - 1 - op->idx);
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	if (unlikely((cpu->rflags & F_TF) || (cpu->block->mode & MODE_ONE))) {
		cpu->stepping = cpu->rflags & F_TF; // SFMASK cleared it: no trap
		cpu->rip = cpu->lstar;
		return NULL;
	}
	JUMP_TO(cpu->lstar);
}

OPH(sysret)
{
	uint16_t cs = (uint16_t)(cpu->star >> 48);
	bool wide = op->aux == 8;
	uint64_t flags = R64(11), rip = R64(X86_RCX);
	bool was = cpu->rflags & F_IF;

	if (!(cpu->efer & EFER_SCE))
		UD();
	PRIVILEGED;
	if (wide && !va_canonical(rip))
		GP0();
	cpu->seg[X86_CS] = (struct x86_seg){ .selector = (uint16_t)((cs + (wide ? 16 : 0)) | 3),
					     .limit = 0xffffffff,
					     .attributes = wide ? 0xa0fb : 0xc0fb };
	cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)((cs + 8) | 3),
					     .limit = 0xffffffff,
					     .attributes = 0xc0f3 };
	cpu_set_rflags(cpu, flags & (F_ARITH | F_TF | F_IF | F_DF | F_IOPL | F_NT | F_AC | F_ID |
				     F_VIF | F_VIP));
	cpu->icount -= (uint64_t)(cpu->block->insns - 1 - op->idx);
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	if (!was && (cpu->rflags & F_IF))
		x86_irq_enabled(cpu);
	if (unlikely((cpu->rflags & F_TF) || !wide || (cpu->block->mode & MODE_ONE))) {
		cpu->rip = wide ? rip : (uint32_t)rip;
		return NULL;
	}
	JUMP_TO(rip);
}

// SYSENTER and SYSEXIT (SDM vol. 2): flat segments by number, RSP and RIP from MSRs or from RCX and RDX.
OPH(sysenter)
{
	uint16_t cs = (uint16_t)(cpu->sysenter_cs & 0xfffc);
	bool wide = cpu->efer & EFER_LMA;

	if (!(cpu->cr0 & CR0_PE) || !cs)
		GP0();
	cpu->rflags &= ~(uint64_t)(F_VM | F_IF);
	cpu->seg[X86_CS] = (struct x86_seg){ .selector = cs,
					     .limit = 0xffffffff,
					     .attributes = wide ? 0xa09b : 0xc09b };
	cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)(cs + 8),
					     .limit = 0xffffffff,
					     .attributes = 0xc093 };
	cpu->gpr[X86_RSP] = wide ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	LEAVE_AT(wide ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip);
}

OPH(sysexit)
{
	uint16_t cs = (uint16_t)((cpu->sysenter_cs & 0xfffc) + (op->aux == 8 ? 32 : 16));
	uint64_t rip = op->aux == 8 ? R64(X86_RDX) : R32(X86_RDX),
		 rsp = op->aux == 8 ? R64(X86_RCX) : R32(X86_RCX);

	if (!(cpu->cr0 & CR0_PE) || !(cpu->sysenter_cs & 0xfffc))
		GP0();
	PRIVILEGED;
	if (op->aux == 8 && (!va_canonical(rip) || !va_canonical(rsp)))
		GP0();
	cpu->seg[X86_CS] = (struct x86_seg){ .selector = cs | 3,
					     .limit = 0xffffffff,
					     .attributes = op->aux == 8 ? 0xa0fb : 0xc0fb };
	cpu->seg[X86_SS] = (struct x86_seg){ .selector = (uint16_t)((cs + 8) | 3),
					     .limit = 0xffffffff,
					     .attributes = 0xc0f3 };
	cpu->gpr[X86_RSP] = rsp;
	x86_update_mode(cpu);
	x86_update_bases(cpu);
	LEAVE_AT(rip);
}

// STAC, CLAC. aux: set
OPH(stac)
{
	if (cpu_cpl(cpu))
		UD();
	if (op->aux)
		cpu->rflags |= F_AC;
	else
		cpu->rflags &= ~(uint64_t)F_AC;
	cpu->tlb = cpu->tlbs[op->aux && (cpu->cr4 & CR4_SMAP) ? 2 : 0];
	NEXT;
}

OPH(swapgs)
{
	uint64_t v = cpu->kernel_gs_base;

	PRIVILEGED;
	cpu->kernel_gs_base = cpu->seg[X86_GS].base;
	cpu->seg[X86_GS].base = v;
	cpu->sbase[1 + X86_GS] = v;
	NEXT;
}

// aux: operand size; aux2: 0 RDFSBASE, 1 RDGSBASE, 2 WRFSBASE, 3 WRGSBASE
OPH(fsgsbase)
{
	unsigned seg = op->aux2 & 1 ? X86_GS : X86_FS;
	uint64_t v;

	if (!(cpu->cr4 & CR4_FSGSBASE))
		UD();
	if (op->aux2 < 2) {
		v = cpu->seg[seg].base;
		R64(op->rm) = op->aux == 8 ? v : (uint32_t)v;
	} else {
		v = op->aux == 8 ? R64(op->rm) : R32(op->rm);
		if (!va_canonical(v))
			GP0();
		cpu->seg[seg].base = v;
		cpu->sbase[1 + seg] = v;
	}
	NEXT;
}

// ---- descriptor tables
static void umip(struct x86_cpu *cpu, const struct x86_op *op)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu_cpl(cpu))
		GP0();
}

// aux: 0 SGDT, 1 SIDT
OPH(store_table)
{
	const struct x86_table *t = op->aux ? &cpu->idtr : &cpu->gdtr;
	uint8_t buf[10];

	umip(cpu, op);
	memcpy(buf, &t->limit, 2);
	memcpy(buf + 2, &t->base, 8);
	x86_write(cpu, op, op_ea(cpu, op), buf, cpu->mode & MODE_LONG ? 10 : 6);
	NEXT_BACK;
}

OPH(load_table)
{
	struct x86_table *t = op->aux ? &cpu->idtr : &cpu->gdtr;
	uint8_t buf[10] = { 0 };
	uint64_t base;
	uint16_t limit;

	PRIVILEGED;
	x86_read(cpu, op, op_ea(cpu, op), buf, cpu->mode & MODE_LONG ? 10 : 6);
	if (op->imm == 2 && !(cpu->mode & MODE_LONG))
		buf[5] = 0; // 24 bits with a 16-bit operand
	memcpy(&limit, buf, 2);
	memcpy(&base, buf + 2, 8);
	if ((cpu->mode & MODE_LONG) && !va_canonical(base))
		GP0();
	t->limit = limit;
	t->base = base;
	NEXT_BACK;
}

// aux: 0 SLDT, 1 STR; aux2: memory
OPH(store_sel)
{
	uint16_t sel = cpu->seg[op->aux ? X86_TR : X86_LDTR].selector;

	if (!(cpu->cr0 & CR0_PE))
		UD();
	umip(cpu, op);
	if (op->aux2)
		st16(cpu, op, op_ea(cpu, op), sel);
	else if (op->imm == 2)
		R16(op->rm) = sel;
	else
		R64(op->rm) = sel;
	NEXT;
}

OPH(load_sel)
{
	uint16_t sel;
	struct x86_exception x;

	if (!(cpu->cr0 & CR0_PE))
		UD();
	PRIVILEGED;
	sel = op->aux2 ? ld16(cpu, op, op_ea(cpu, op)) : R16(op->rm);
	if (x86_load_ldtr_tr(cpu, op->aux ? X86_TR : X86_LDTR, sel, &x))
		x86_raise_pf(cpu, op, &x);
	NEXT_BACK;
}

// LAR, LSL, VERR, VERW: ZF says whether the descriptor may be seen. aux: 0 LAR, 1 LSL, 2 VERR, 3 VERW; aux2: memory
OPH(descriptor_query)
{
	uint16_t sel = op->aux2 ? ld16(cpu, op, op_ea(cpu, op)) : R16(op->rm);
	unsigned cpl = cpu_cpl(cpu), rpl = sel & 3, type, dpl;
	struct x86_exception x;
	uint64_t d[2], limit;
	bool ok;

	if (!(cpu->cr0 & CR0_PE))
		UD();
	ok = (sel & 0xfffc) && !x86_read_descriptor(cpu, sel, d, false, &x);

	if (ok) {
		bool code, conforming;

		type = d[0] >> 40 & 0x1f;
		dpl = d[0] >> 45 & 3;
		code = (type & 0x18) == 0x18;
		conforming = code && (type & 4);
		if (!(type & 0x10))
			ok = op->aux < 2 &&
			     (type == 2 || type == 9 || type == 11 || (op->aux == 0 && type == 12));
		if (!conforming && (cpl > dpl || rpl > dpl))
			ok = false;
		if (op->aux == 2 && code && !(type & 2))
			ok = false;
		if (op->aux == 3 && (code || !(type & 2)))
			ok = false;
		if (ok && op->aux == 0) {
			uint32_t v = (uint32_t)(d[0] >> 32) & 0x00f0ff00;

			if (op->imm == 2)
				R16(op->reg) = (uint16_t)v;
			else
				R64(op->reg) = v;
		}
		if (ok && op->aux == 1) {
			limit = (d[0] & 0xffff) | (d[0] >> 32 & 0xf0000);
			if (d[0] >> 55 & 1)
				limit = limit << 12 | 0xfff;
			if (op->imm == 2)
				R16(op->reg) = (uint16_t)limit;
			else
				R64(op->reg) = (uint32_t)limit;
		}
	}
	cpu->cc = (uint16_t)((cpu->cc & ~CC_ZF) | (ok ? CC_ZF : 0));
	NEXT_BACK;
}

// ---- software interrupts
const struct x86_op *x86_op_interrupt(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector,
				      bool software)
{
	cpu->rip = op_rip(cpu, op); // where a fault in delivery restarts
	cpu->icount -= (uint64_t)(cpu->block->insns - 1 - op->idx);
	if (!x86_deliver(cpu, vector, false, 0, software, op_next_rip(cpu, op))) {
		cpu->exit->reason = X86_EXIT_TRIPLE_FAULT;
		longjmp(cpu->unwind, UNWIND_EXIT);
	}
	return NULL;
}

OPH(int_op)
{
	unsigned vector = (unsigned)op->imm;
	struct x86_exception x = { .vector = (uint8_t)vector };

	if (vector == EXC_BP && cpu->env->exception &&
	    cpu->env->exception(cpu->arg, &x) == X86_ENV_EXIT) {
		cpu->exit->fault = x;
		cpu->exit->insn_len = op->len;
		x86_leave(cpu, op, X86_EXIT_EXCEPTION);
	}
	return x86_op_interrupt(cpu, op, vector, true);
}

// INT1 asks no gate for its privilege.
OPH(int1)
{
	return x86_op_interrupt(cpu, op, EXC_DB, false);
}

OPH(vmcall)
{
	if (!cpu->env->vmcall)
		UD();
	cpu->rip = op_next_rip(cpu, op);
	if (cpu->env->vmcall(cpu->arg, cpu))
		UD();
	LEAVE_AT(cpu->rip);
}

const struct x86_op *x86_op_ud(struct x86_cpu *cpu, const struct x86_op *op)
{
	UD();
}

// ---- binding

static bool group_0f01(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;
	unsigned sub = in->modrm >> 3 & 7;

	op->aux = in->opsize;
	op->aux2 = in->mod != 3;
	if (in->mod != 3) {
		switch (sub) {
		case 0:
		case 1:
			op->aux = (uint8_t)sub;
			op->fn = store_table;
			return true;
		case 2:
		case 3:
			op->aux = sub == 3;
			op->imm = in->opsize;
			op->fn = load_table;
			return true;
		case 4:
		case 6:
			return x86_bind_control(b);
		case 7:
			b->ends = true;
			op->fn = invlpg;
			return true;
		default:
			return false;
		}
	}
	if (sub == 4 || sub == 6)
		return x86_bind_control(b);
	switch (in->modrm) {
	case 0xc1:
		b->ends = true;
		op->fn = vmcall;
		return !in->pfx;
	case 0xca:
	case 0xcb:
		op->aux = in->modrm & 1;
		op->fn = stac;
		return !in->pfx;
	case 0xf8:
		op->fn = swapgs;
		return in->mode == 64;
	case 0xf9:
		op->aux = 1;
		op->fn = rdtsc;
		return true;
	default:
		return false;
	}
}

static bool group_0f00(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	unsigned sub = in->modrm >> 3 & 7;

	b->op->aux2 = in->mod != 3;
	b->op->imm = in->opsize;
	switch (sub) {
	case 0:
	case 1:
		b->op->aux = (uint8_t)sub;
		b->op->fn = store_sel;
		return true;
	case 2:
	case 3:
		b->op->aux = sub == 3;
		b->op->fn = load_sel;
		return true;
	case 4:
	case 5:
		b->op->aux = sub == 4 ? 2 : 3;
		b->op->fn = descriptor_query;
		return true;
	default:
		return false;
	}
}

// 0F AE: fences and FS/GS bases; FXSAVE and MXCSR are in the SIMD part.
static bool group_0fae(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	unsigned sub = in->modrm >> 3 & 7;

	if (in->mod == 3 && in->rep && sub < 4 && in->mode == 64) {
		b->op->aux = in->opsize;
		b->op->aux2 = (uint8_t)sub;
		b->op->fn = fsgsbase;
		return true;
	}
	if (in->mod == 3 && sub >= 5 && !in->pfx) {
		b->op->fn = sub == 6 || sub == 7 ? mfence : nop;
		return true;
	}
	if (in->mod != 3 && sub == 7) {
		b->op->fn = clflush;
		return !in->rep && !in->repne;
	}
	return x86_bind_simd(b);
}

static bool bind_map1(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;

	op->aux = in->opsize;
	op->aux2 = in->mod != 3;
	switch (in->opcode) {
	case 0x00:
		return group_0f00(b);
	case 0x01:
		return group_0f01(b);
	case 0x02:
	case 0x03:
		op->aux = in->opcode & 1;
		op->imm = in->opsize;
		op->fn = descriptor_query;
		return true;
	case 0x05:
		b->ends = b->no_fall = true;
		op->fn = syscall;
		return true;
	case 0x07:
		b->ends = b->no_fall = true;
		op->aux = in->rex & 8 ? 8 : 4;
		op->fn = sysret;
		return true;
	case 0x08:
	case 0x09:
		op->fn = wbinvd;
		return true;
	case 0x0d:
	case 0x18:
	case 0x19:
	case 0x1a:
	case 0x1b:
	case 0x1c:
	case 0x1d:
	case 0x1e:
	case 0x1f:
		op->fn = nop; // prefetches, ENDBR, long NOPs
		return true;
	case 0x06:
	case 0x20:
	case 0x21:
	case 0x22:
	case 0x23:
		return x86_bind_control(b);
	case 0x30:
		b->ends = true;
		op->fn = wrmsr;
		return true;
	case 0x31:
		op->aux = 0;
		op->fn = rdtsc;
		return true;
	case 0x32:
		op->fn = rdmsr;
		return true;
	case 0x34:
		b->ends = b->no_fall = true;
		op->fn = sysenter;
		return true;
	case 0x35:
		b->ends = b->no_fall = true;
		op->aux = in->rex & 8 ? 8 : 4;
		op->fn = sysexit;
		return true;
	case 0x33:
		op->fn = rdpmc;
		return true;
	case 0xa2:
		op->fn = cpuid;
		return true;
	case 0xae:
		return group_0fae(b);
	case 0xc7:
		if (in->mod != 3 || (in->modrm >> 3 & 7) < 6)
			return false;
		if (in->rep) {
			op->fn = rdpid;
			return (in->modrm >> 3 & 7) == 7;
		}
		op->aux2 = (in->modrm >> 3 & 7) == 7;
		op->fn = rdrand;
		return !in->repne;
	default:
		return false;
	}
}

bool x86_bind_sys(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;

	if (in->lock)
		return false;
	if (in->map == 1)
		return bind_map1(b);
	op->aux = in->opsize;
	switch (in->opcode) {
	case 0x90:
		op->fn = in->rep ? pause_ : nop;
		return true;
	case 0x9c:
		op->fn = pushf;
		return true;
	case 0x9d:
		b->ends = true;
		op->fn = popf;
		return true;
	case 0xcc:
		b->ends = b->no_fall = true;
		op->imm = EXC_BP;
		op->fn = int_op;
		return true;
	case 0xcd:
		b->ends = b->no_fall = true;
		op->imm = in->imm & 0xff;
		op->fn = int_op;
		return true;
	case 0xf1:
		b->ends = b->no_fall = true;
		op->fn = int1;
		return true;
	case 0xf4:
		b->ends = true;
		op->fn = hlt;
		return true;
	case 0xfa:
		op->fn = cli;
		return true;
	case 0xfb:
		b->ends = true;
		op->fn = sti;
		return true;
	default:
		return false;
	}
}

// SPDX-License-Identifier: Apache-2.0
// Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW (Intel SDM vol. 3, 2.5 and 17.2).
#include "vmm/x86/alu.h"

// PAE paging loads its four top entries when CR3 is loaded (SDM 4.4.1): reserved bits are found then.
static bool pdptes_ok(struct x86_cpu *cpu, uint64_t cr3)
{
	uint64_t e[4];
	bool writable;
	uint8_t *page = cpu->env->ram ? cpu->env->ram(cpu->arg, cr3 & 0xfffff000, &writable) : NULL;

	if (!page)
		return true; // each walk finds nothing there
	memcpy(e, page + (cr3 & 0xfe0), sizeof(e));
	for (unsigned i = 0; i < 4; i++)
		if ((e[i] & 1) && (e[i] & 0xffffc000000001e6ull))
			return false;
	return true;
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

static void cr_write(struct x86_cpu *cpu, const struct x86_op *op, unsigned n, uint64_t v)
{
	uint64_t changed;

	switch (n) {
	case 0:
		if ((v >> 32) || ((v & CR0_PG) && !(v & CR0_PE)) ||
		    ((v >> 29 & 1) && !(v >> 30 & 1)))
			GP0();
		if ((v & CR0_PG) && !(cpu->cr0 & CR0_PG)) {
			bool lme = cpu->efer & EFER_LME;

			if (lme ? !(cpu->cr4 & CR4_PAE) || (cpu->seg[X86_CS].attributes >> 13 & 1)
				: pae_paging(v, cpu->cr4, cpu->efer) && !pdptes_ok(cpu, cpu->cr3))
				GP0();
			cpu->efer |= lme ? EFER_LMA : 0;
		}
		if (!(v & CR0_PG) && (cpu->cr0 & CR0_PG)) {
			if (cpu->mode & MODE_LONG)
				GP0();
			cpu->efer &= ~EFER_LMA;
		}
		changed = cpu->cr0 ^ v;
		cpu->cr0 = v | CR0_ET;
		if (changed & (CR0_PG | CR0_WP | CR0_PE))
			x86_tlb_flush_all(cpu);
		break;
	case 3:
		if (v >> 46 || (pae_paging(cpu->cr0, cpu->cr4, cpu->efer) && !pdptes_ok(cpu, v)))
			GP0();
		cpu->cr3 = v;
		x86_tlb_flush_nonglobal(cpu);
		break;
	case 4:
		if ((v & ~CR4_MASK) || ((cpu->efer & EFER_LMA) && !(v & CR4_PAE)))
			GP0();
		changed = cpu->cr4 ^ v;
		if ((changed & CR4_PAE) && pae_paging(cpu->cr0, v, cpu->efer) &&
		    !pdptes_ok(cpu, cpu->cr3))
			GP0();
		cpu->cr4 = v;
		if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP))
			x86_tlb_flush_all(cpu);
		break;
	case 8:
		if (v >> 4)
			GP0();
		if (cpu->env->cr8_write)
			cpu->env->cr8_write(cpu->arg, v);
		break;
	default:
		break; // refused when bound
	}
	x86_update_mode(cpu);
	x86_update_bases(cpu);
}

// The general register of a MOV CR or DR: 32 bits outside 64-bit mode.
static uint64_t wide_reg(const struct x86_cpu *cpu, unsigned r)
{
	return cpu->mode & MODE_LONG ? cpu->gpr[r] : (uint32_t)cpu->gpr[r];
}

OPH(mov_to_cr)
{
	PRIVILEGED;
	cr_write(cpu, op, op->reg, wide_reg(cpu, op->rm));
	LEAVE;
}

OPH(mov_from_cr)
{
	uint64_t v;

	PRIVILEGED;
	switch (op->reg) {
	case 0:
		v = cpu->cr0;
		break;
	case 2:
		v = cpu->cr2;
		break;
	case 3:
		v = cpu->cr3;
		break;
	case 4:
		v = cpu->cr4;
		break;
	default:
		v = cpu->env->cr8_read ? cpu->env->cr8_read(cpu->arg) : 0;
		break;
	}
	R64(op->rm) = cpu->mode & MODE_LONG ? v : (uint32_t)v;
	NEXT;
}

OPH(mov_to_cr2)
{
	PRIVILEGED;
	cpu->cr2 = wide_reg(cpu, op->rm);
	NEXT;
}

OPH(mov_dr)
{
	unsigned n = op->reg == 4 ? 6 : op->reg == 5 ? 7 : op->reg;

	PRIVILEGED;
	if ((op->reg == 4 || op->reg == 5) && (cpu->cr4 & CR4_DE))
		UD();
	if (cpu->dr[7] & 1 << 13) { // GD: general detect
		cpu->dr[6] |= 1 << 13;
		x86_raise_noerr(cpu, op, EXC_DB);
	}
	if (op->aux) {
		uint64_t v = wide_reg(cpu, op->rm);

		if (n >= 6 && v >> 32)
			GP0();
		cpu->dr[n] = n == 6   ? (v & 0xe00f) | 0xffff0ff0
			     : n == 7 ? (v & 0xffff2fff) | 0x400
				      : v;
		cpu->watching = cpu->dr[7] & 0xff;
		x86_tlb_flush_all(cpu); // pages with data breakpoints are not cached
		LEAVE;
	}
	R64(op->rm) = cpu->dr[n];
	NEXT;
}

OPH(clts)
{
	PRIVILEGED;
	cpu->cr0 &= ~CR0_TS;
	x86_update_mode(cpu);
	LEAVE;
}

OPH(smsw_r)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu_cpl(cpu))
		GP0();
	if (op->aux == 2)
		R16(op->rm) = (uint16_t)cpu->cr0;
	else
		R64(op->rm) = op->aux == 4 ? (uint32_t)cpu->cr0 : cpu->cr0;
	NEXT;
}
OPH(smsw_m)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu_cpl(cpu))
		GP0();
	st16(cpu, op, op_ea(cpu, op), (uint16_t)cpu->cr0);
	NEXT;
}
OPH(lmsw)
{
	uint64_t v = op->aux2 ? ld16(cpu, op, op_ea(cpu, op)) : R16(op->rm);

	PRIVILEGED;
	cr_write(cpu, op, 0, (cpu->cr0 & ~0xeull) | (v & 0xf)); // sets PE, never clears it
	LEAVE;
}

// ---- binding
static bool bind_cr(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	unsigned n = in->reg;

	if (in->opcode & 1) { // debug registers
		b->op->aux = in->opcode == 0x23;
		b->op->fn = mov_dr;
		b->ends = in->opcode == 0x23;
		return n < 8;
	}
	if (n != 0 && n != 2 && n != 3 && n != 4 && n != 8)
		return false;
	b->ends = in->opcode == 0x22 && n != 2;
	b->op->fn = in->opcode == 0x20 ? mov_from_cr : n == 2 ? mov_to_cr2 : mov_to_cr;
	return true;
}

bool x86_bind_control(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;

	if (in->opcode >= 0x20)
		return bind_cr(b);
	op->aux = in->opsize;
	op->aux2 = in->mod != 3;
	if (in->opcode == 0x06) {
		b->ends = true;
		op->fn = clts;
	} else if ((in->modrm >> 3 & 7) == 4) {
		op->fn = in->mod == 3 ? smsw_r : smsw_m;
	} else {
		b->ends = true;
		op->fn = lmsw;
	}
	return true;
}

// SPDX-License-Identifier: Apache-2.0
// What only 16- and 32-bit code has: PUSHA and POPA, segment pushes and pops and far pointers (those of FS and GS, and LSS,
// in 64-bit code too), BOUND, ARPL, INTO, and arithmetic on decimal digits.
#include "vmm/x86/alu.h"

// ---- segments
OPH(push_seg)
{
	uint64_t sp = cpu->gpr[X86_RSP] - op->aux;

	x86_st_slow(cpu, op, sp_va(cpu, op, sp, op->aux, true), op->aux,
		    cpu->seg[op->reg].selector);
	sp_set(cpu, sp);
	NEXT;
}

OPH(pop_seg)
{
	uint64_t sp = cpu->gpr[X86_RSP],
		 v = x86_ld_slow(cpu, op, sp_va(cpu, op, sp, op->aux, false), op->aux);
	uint32_t wide = cpu->mode;
	struct x86_exception x;

	if (x86_load_seg(cpu, op->reg, (uint16_t)v, &x))
		x86_raise_pf(cpu, op, &x);
	// The pop itself is by the stack's old size.
	if (wide & MODE_LONG)
		cpu->gpr[X86_RSP] = sp + op->aux;
	else if (wide & MODE_SS32)
		cpu->gpr[X86_RSP] = (uint32_t)(sp + op->aux);
	else
		R16(X86_RSP) = (uint16_t)(sp + op->aux);
	if (op->reg == X86_SS) {
		cpu->shadow = cpu->shadow_ss = true;
		LEAVE;
	}
	NEXT_BACK;
}

// LES LDS LSS LFS LGS. aux: operand size; aux2: segment
OPH(load_far)
{
	uint64_t va = op_ea(cpu, op), off = x86_ld_slow(cpu, op, va, op->aux);
	uint16_t sel = (uint16_t)x86_ld_slow(cpu, op, va + op->aux, 2);
	struct x86_exception x;

	if (x86_load_seg(cpu, op->aux2, sel, &x))
		x86_raise_pf(cpu, op, &x);
	if (op->aux == 2)
		R16(op->reg) = (uint16_t)off;
	else
		R64(op->reg) = off;
	if (op->aux2 == X86_SS)
		LEAVE;
	NEXT_BACK;
}

// ---- PUSHA, POPA
OPH(pusha)
{
	uint64_t sp = cpu->gpr[X86_RSP], at = sp;

	for (unsigned i = 0; i < 8; i++)
		x86_write_probe(cpu, op, sp_va(cpu, op, sp - (i + 1) * op->aux, op->aux, true),
				op->aux);
	for (unsigned i = 0; i < 8; i++) {
		at -= op->aux;
		x86_st_slow(cpu, op, sp_va(cpu, op, at, op->aux, true), op->aux, cpu->gpr[i]);
	}
	sp_set(cpu, at);
	NEXT;
}

OPH(popa)
{
	uint64_t sp = cpu->gpr[X86_RSP], v[8];

	for (unsigned i = 0; i < 8; i++)
		v[i] = x86_ld_slow(cpu, op, sp_va(cpu, op, sp + i * op->aux, op->aux, false),
				   op->aux);
	for (unsigned i = 0; i < 8; i++) {
		unsigned r = 7 - i;

		if (r == X86_RSP)
			continue;
		if (op->aux == 2)
			R16(r) = (uint16_t)v[i];
		else
			R64(r) = v[i];
	}
	sp_set(cpu, sp + 8u * op->aux);
	NEXT;
}

// ---- checks and traps
OPH(bound)
{
	uint64_t va = op_ea(cpu, op), lo = x86_ld_slow(cpu, op, va, op->aux),
		 hi = x86_ld_slow(cpu, op, va + op->aux, op->aux), i = cpu->gpr[op->reg];
	bool out = op->aux == 2 ? (int16_t)i < (int16_t)lo || (int16_t)i > (int16_t)hi
				: (int32_t)i < (int32_t)lo || (int32_t)i > (int32_t)hi;

	if (out)
		x86_raise_noerr(cpu, op, EXC_BR);
	NEXT;
}

// aux2: memory
OPH(arpl)
{
	uint64_t va = op->aux2 ? op_ea(cpu, op) : 0;
	uint16_t d, s = R16(op->reg);
	bool raise;

	if (!(cpu->cr0 & CR0_PE))
		UD();
	if (op->aux2)
		x86_write_probe(cpu, op, va, 2);
	d = op->aux2 ? ld16(cpu, op, va) : R16(op->rm);
	raise = (d & 3) < (s & 3);
	if (raise)
		d = (uint16_t)((d & ~3u) | (s & 3));
	if (raise && op->aux2)
		st16(cpu, op, va, d);
	else if (raise)
		R16(op->rm) = d;
	cpu->cc = (uint16_t)((cpu->cc & ~CC_ZF) | (raise ? CC_ZF : 0));
	NEXT;
}

OPH(into)
{
	if (!(cpu->cc & CC_OF))
		NEXT;
	return x86_op_interrupt(cpu, op, EXC_OF, true);
}

// ---- decimal digits (Intel SDM vol. 2: AAA AAD AAM AAS DAA DAS). Flags that are undefined are left as processors do.
static uint16_t result_cc(uint8_t v)
{
	return (uint16_t)((v ? 0 : CC_ZF) | (v & 0x80 ? CC_SF : 0) |
			  (__builtin_parity(v) ? 0 : CC_PF));
}

// aux2: subtract
OPH(daa)
{
	uint8_t al = R8(0), was = al;
	bool cf = cpu->cc & CC_CF, af = (al & 15) > 9 || (cpu->cc & CC_AF), out = false;

	if (af) {
		out = cf || (op->aux2 ? was < 6 : was > 0xf9);
		al = (uint8_t)(op->aux2 ? al - 6 : al + 6);
	}
	if (was > 0x99 || cf) {
		al = (uint8_t)(op->aux2 ? al - 0x60 : al + 0x60);
		out = true;
	} else if (!op->aux2) {
		out = false;
	}
	R8(0) = al;
	cpu->cc = (uint16_t)(result_cc(al) | (af ? CC_AF : 0) | (out ? CC_CF : 0));
	NEXT;
}

OPH(aaa)
{
	bool adjust = (R8(0) & 15) > 9 || (cpu->cc & CC_AF);

	if (adjust)
		R16(X86_RAX) = (uint16_t)(op->aux2 ? R16(X86_RAX) - 0x106 : R16(X86_RAX) + 0x106);
	R8(0) &= 15;
	cpu->cc = (uint16_t)(result_cc(R8(0)) | (adjust ? CC_AF | CC_CF : 0));
	NEXT;
}

OPH(aam)
{
	uint8_t al = R8(0), base = (uint8_t)op->imm;

	if (!base)
		x86_raise_noerr(cpu, op, EXC_DE);
	R8(1) = al / base;
	R8(0) = al % base;
	cpu->cc = result_cc(R8(0));
	NEXT;
}

OPH(aad)
{
	R8(0) = (uint8_t)(R8(0) + R8(1) * (uint8_t)op->imm);
	R8(1) = 0;
	cpu->cc = result_cc(R8(0));
	NEXT;
}

OPH(salc)
{
	R8(0) = cpu->cc & CC_CF ? 0xff : 0;
	NEXT;
}

// ---- binding
static bool bind_far(struct x86_bind *b, unsigned seg)
{
	b->op->aux2 = (uint8_t)seg;
	b->op->fn = load_far;
	b->ends = seg == X86_SS;
	return b->insn->mod != 3;
}

bool x86_bind_legacy(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;

	if (in->lock)
		return false;
	op->aux = in->opsize;
	op->aux2 = 0;
	if (in->map == 1 && in->opcode < 0xb0) { // PUSH and POP of FS and GS
		op->reg = in->opcode >= 0xa8 ? X86_GS : X86_FS;
		op->fn = in->opcode & 1 ? pop_seg : push_seg;
		return true;
	}
	if (in->map == 1)
		return bind_far(b, in->opcode == 0xb2   ? X86_SS
				   : in->opcode == 0xb4 ? X86_FS
							: X86_GS);
	switch (in->opcode) {
	case 0x06:
	case 0x0e:
	case 0x16:
	case 0x1e:
		op->reg = in->opcode >> 3;
		op->fn = push_seg;
		return true;
	case 0x07:
	case 0x17:
	case 0x1f:
		op->reg = in->opcode >> 3;
		b->ends = op->reg == X86_SS;
		op->fn = pop_seg;
		return true;
	case 0x27:
	case 0x2f:
		op->aux2 = in->opcode == 0x2f;
		op->fn = daa;
		return true;
	case 0x37:
	case 0x3f:
		op->aux2 = in->opcode == 0x3f;
		op->fn = aaa;
		return true;
	case 0x60:
		op->fn = pusha;
		return true;
	case 0x61:
		op->fn = popa;
		return true;
	case 0x62:
		op->fn = bound;
		return in->mod != 3;
	case 0x63:
		op->aux2 = in->mod != 3;
		op->fn = arpl;
		return true;
	case 0xc4:
	case 0xc5:
		return bind_far(b, in->opcode == 0xc4 ? X86_ES : X86_DS);
	case 0xce:
		b->ends = true;
		op->fn = into;
		return true;
	case 0xd4:
	case 0xd5:
		op->imm = in->imm;
		op->fn = in->opcode == 0xd4 ? aam : aad;
		return true;
	case 0xd6:
		op->fn = salc;
		return true;
	default:
		op->aux = 0; // as it was given
		return false;
	}
}

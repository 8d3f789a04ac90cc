// SPDX-License-Identifier: Apache-2.0
// MMX and SSE: from opcode to handler, and what stands before the handler in special cases: FPU switched off, no operating
// system support, unmasked floating-point exceptions.
#include "vmm/x86/simd.h"

OPHX(none)
{
	UD();
}

#define ROW(n, op, pfx, r, m, flags) \
	[op][pfx] = { x86_simd_##r, x86_simd_##m, #r, flags, n, op, pfx },
#define ROW1(op, pfx, r, m, flags) ROW(1, op, pfx, r, m, flags)
#define ROW2(op, pfx, r, m, flags) ROW(2, op, pfx, r, m, flags)
#define ROW3(op, pfx, r, m, flags) ROW(3, op, pfx, r, m, flags)
static const struct simd_row map1[256][4] = { SIMD_MAP1(ROW1) };
static const struct simd_row map2[0x42][4] = { SIMD_MAP2(ROW2) };
static const struct simd_row map3[0x64][4] = { SIMD_MAP3(ROW3) };

const struct simd_row *x86_simd_row(unsigned map, unsigned opcode, enum simd_prefix prefix)
{
	const struct simd_row *row = NULL;

	if (map == 1 && opcode < 256)
		row = &map1[opcode][prefix];
	else if (map == 2 && opcode < 0x42)
		row = &map2[opcode][prefix];
	else if (map == 3 && opcode < 0x64)
		row = &map3[opcode][prefix];
	return row && row->r ? row : NULL;
}

// CR0.EM comes before CR0.TS; without CR4.OSFXSR there is no SSE. aux2: this is MMX
OPH(simd_off)
{
	if ((cpu->cr0 & CR0_EM) || !(cpu->cr0 & CR0_TS))
		UD();
	if (!op->aux2 && !(cpu->cr4 & CR4_OSFXSR))
		UD();
	x86_raise_noerr(cpu, op, EXC_NM);
}

static const struct x86_op *stop(struct x86_cpu *cpu, const struct x86_op *op)
{
	(void)cpu;
	(void)op;
	return NULL;
}

enum {
	MX_FLAGS = 0x3f,
	MX_BEFORE = 7
}; // MX_BEFORE: IE, DE, ZE, which are found before anything is computed

// A floating-point instruction of a guest that has unmasked exceptions: done with all masked; where one of those is then
// found flagged, its effects are taken back. op->ptr: the row.
// Four things differ from hardware: a result that is tiny but exact does not raise an unmasked underflow; flush to zero
// acts even if underflow is unmasked; with an unmasked overflow the inexact flag is always set; DPPS and DPPD flag what all
// their products and sums raise, not the first of them only.
OPH(fp_checked)
{
	const struct simd_row *row = op->ptr;
	struct x86_op one[2] = { *op, { .fn = stop } };
	uint32_t mxcsr = x86_mxcsr_read(cpu), raised, unmasked;
	uint64_t gpr = cpu->gpr[op->reg];
	uint16_t cc = cpu->cc;
	struct x86_fx fx;

	if (cpu->fpu_loaded)
		x86_fpu_sync(cpu); // conversions to MMX would, and could not be taken back
	fx = cpu->fx;
	one[0].ptr = row->flags & S_IMM
			     ? x86_simd_stub(row->map, row->opcode, row->prefix, false, op->aux2)
			     : NULL;
	x86_mxcsr_load(cpu, mxcsr & ~(uint32_t)MX_FLAGS);
	cpu->fx.mxcsr = mxcsr;                                  // for a memory operand that faults
	(void)(op->aux & SIMD_MEM ? row->m : row->r)(cpu, one); // goes as far as stop()
	raised = x86_mxcsr_raised();
	unmasked = raised & ~(mxcsr >> 7) & MX_FLAGS;
	if (unmasked & MX_BEFORE)
		raised &= MX_BEFORE;
	if (unmasked) {
		cpu->fx = fx;
		cpu->gpr[op->reg] = gpr;
		cpu->cc = cc;
	}
	x86_mxcsr_load(cpu, mxcsr | raised);
	if (unmasked)
		x86_raise_noerr(cpu, op, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
	NEXT_BACK;
}

static enum simd_prefix prefix_of(const struct x86_insn *in)
{
	return in->pfx == 0x66 ? P66 : in->pfx == 0xf3 ? PF3 : in->pfx == 0xf2 ? PF2 : NP;
}

static bool bind_off(struct x86_bind *b, bool mmx)
{
	if (!(b->mode & MODE_NOFPU) && (mmx || !(b->mode & MODE_NOSSE)))
		return false;
	b->op->aux2 = mmx;
	b->op->fn = simd_off;
	return true;
}

static bool bind_shift(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	enum simd_prefix p = prefix_of(in);

	b->op->fn = x86_simd_shift(in->opcode, in->modrm >> 3 & 7, p == NP);
	if (!b->op->fn || in->mod != 3 || p > P66)
		return false;
	b->op->aux2 = (uint8_t)in->imm;
	(void)bind_off(b, p == NP); // replaces the handler if it applies
	return true;
}

bool x86_bind_simd(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;
	const struct simd_row *row;
	bool mem = in->mod != 3;

	if (in->map == 1 && in->opcode == 0xae)
		return x86_bind_fxsave(b);
	if (in->map == 1 && in->opcode >= 0x71 && in->opcode <= 0x73)
		return bind_shift(b);
	row = x86_simd_row(in->map, in->opcode, prefix_of(in));
	if (!row)
		return false;
	op->fn = mem && in->has_modrm ? row->m : row->r;
	if (op->fn == x86_simd_none)
		return false;
	if (bind_off(b, row->flags & S_MMX))
		return true;
	op->aux = (uint8_t)((in->rex & 8 ? SIMD_W : 0) | (mem ? SIMD_MEM : 0) |
			    (in->addrsize != 8 ? SIMD_A32 : 0));
	op->aux2 = (uint8_t)in->imm;
	if (row->r == x86_simd_insertps_r && mem)
		op->aux2 &= 0x3f; // the source has one element
	if (row->flags & S_IMM)
		op->ptr = x86_simd_stub(row->map, row->opcode, row->prefix, in->rex & 8, op->aux2);
	if ((row->flags & S_FP) && (b->mode & MODE_FPX)) {
		op->ptr = row;
		op->fn = fp_checked;
	} else if (mem) {
		op->fn = x86_simd_fast(op->fn, op->index == X86_REG_ZERO && op->seg == 0);
	} else if (op->reg == op->rm && (op->fn == x86_simd_pxor_r || op->fn == x86_simd_xorps_r ||
					 op->fn == x86_simd_xorpd_r)) {
		op->fn = x86_simd_zero;
	}
	return true;
}

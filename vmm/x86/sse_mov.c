// SPDX-License-Identifier: Apache-2.0
// Moves between XMM registers, general registers and memory.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

// Register forms: 6F/10/28 move rm to reg, 7F/11/29 reg to rm.
OPHX(movups_r) { X(op->reg) = X(op->rm); NEXT; }
OPHX(movups_sr) { X(op->rm) = X(op->reg); NEXT; }
OPHX(movups_m) { X(op->reg) = ldx_any(cpu, op); NEXT; }
OPHX(movaps_m) { X(op->reg) = ldx16(cpu, op); NEXT; }
OPHX(movups_s) { stx(cpu, op, op_ea(cpu, op), op->reg); NEXT; }
OPHX(movaps_s)
{
	uint64_t va = op_ea(cpu, op);

	if (unlikely(va & 15))
		GP0();
	stx(cpu, op, va, op->reg);
	NEXT;
}

// Whole registers are stored even where half changes: a narrow store would stall the next wide load.
OPHX(movsd_r) { X(op->reg) = (xmm_v){ X(op->rm)[0], X(op->reg)[1] }; NEXT; }
OPHX(movsd_sr) { X(op->rm) = (xmm_v){ X(op->reg)[0], X(op->rm)[1] }; NEXT; }
OPHX(movsd_m) { X(op->reg) = ldx8(cpu, op); NEXT; }
OPHX(movsd_s) { st64(cpu, op, op_ea(cpu, op), cpu->fx.xmm[op->reg].q[0]); NEXT; }

static inline xmm_v merge_ss(xmm_v d, xmm_v s)
{
	__asm__("movss %1, %0" : "+x"(d) : "x"(s));
	return d;
}
OPHX(movss_r) { X(op->reg) = merge_ss(X(op->reg), X(op->rm)); NEXT; }
OPHX(movss_sr) { X(op->rm) = merge_ss(X(op->rm), X(op->reg)); NEXT; }
OPHX(movss_m) { X(op->reg) = ldx4(cpu, op); NEXT; }
OPHX(movss_s) { st32(cpu, op, op_ea(cpu, op), cpu->fx.xmm[op->reg].d[0]); NEXT; }

OPHX(movlps_m) { xmm_v s = ldx8(cpu, op); X(op->reg) = (xmm_v){ s[0], X(op->reg)[1] }; NEXT; }
OPHX(movhps_m) { xmm_v s = ldx8(cpu, op); X(op->reg) = (xmm_v){ X(op->reg)[0], s[0] }; NEXT; }
OPHX(movlps_s) { st64(cpu, op, op_ea(cpu, op), cpu->fx.xmm[op->reg].q[0]); NEXT; }
OPHX(movhps_s) { st64(cpu, op, op_ea(cpu, op), cpu->fx.xmm[op->reg].q[1]); NEXT; }
OPHX(movhlps_r) { X(op->reg) = (xmm_v){ X(op->rm)[1], X(op->reg)[1] }; NEXT; }
OPHX(movlhps_r) { X(op->reg) = (xmm_v){ X(op->reg)[0], X(op->rm)[0] }; NEXT; }

OPHX(movq_r) { X(op->reg) = (xmm_v){ X(op->rm)[0], 0 }; NEXT; }
OPHX(movq_m) { X(op->reg) = ldx8(cpu, op); NEXT; }
OPHX(movq_sr) { X(op->rm) = (xmm_v){ X(op->reg)[0], 0 }; NEXT; }

// MOVD and, with REX.W, MOVQ
OPHX(movd_r)
{
	uint64_t v = R64(op->rm);

	X(op->reg) = (xmm_v){ (long long)(op->aux & SIMD_W ? v : (uint32_t)v), 0 };
	NEXT;
}
OPHX(movd_m)
{
	X(op->reg) = op->aux & SIMD_W ? ldx8(cpu, op) : ldx4(cpu, op);
	NEXT;
}
OPHX(movd_sr)
{
	uint64_t v = cpu->fx.xmm[op->reg].q[0];

	R64(op->rm) = op->aux & SIMD_W ? v : (uint32_t)v;
	NEXT;
}
OPHX(movd_s)
{
	uint64_t v = cpu->fx.xmm[op->reg].q[0];

	if (op->aux & SIMD_W)
		st64(cpu, op, op_ea(cpu, op), v);
	else
		st32(cpu, op, op_ea(cpu, op), (uint32_t)v);
	NEXT;
}

// Bytes with their mask bit set go to [RDI]; op's address is bound to it.
OPHX(maskmovdqu_r)
{
	union x86_xmm v = cpu->fx.xmm[op->reg], m = cpu->fx.xmm[op->rm];
	uint64_t va = cpu->gpr[X86_RDI];

	va = (op->aux & SIMD_A32 ? (uint32_t)va : va) + cpu->sbase[op->seg];
	for (unsigned i = 0; i < 16; i++)
		if (m.b[i] & 0x80)
			x86_write_probe(cpu, op, va + i, 1);
	for (unsigned i = 0; i < 16; i++)
		if (m.b[i] & 0x80)
			st8(cpu, op, va + i, v.b[i]);
	NEXT;
}

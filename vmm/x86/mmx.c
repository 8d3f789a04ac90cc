// SPDX-License-Identifier: Apache-2.0
// MMX. The guest's registers are in cpu->fx (x86_fpu_sync), so the host's are free: each instruction is done in them and
// leaves them empty.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

void x86_mmx_check(struct x86_cpu *cpu, const struct x86_op *op)
{
	if (cpu->fpu_loaded)
		x86_fpu_sync(cpu);
	if (unlikely(cpu->fx.fsw & 0x80))
		x86_raise_noerr(cpu, op, EXC_MF);
}

void x86_mmx_commit(struct x86_cpu *cpu)
{
	x86_x87_set_fsw(&cpu->fx, cpu->fx.fsw & (uint16_t)~0x3800);
	cpu->fx.ftw = 0xff;
}

#define MMX_DO(insn, d, s)                                                                         \
	__asm__("movq %1, %%mm1\n\tmovq %0, %%mm0\n\t" insn " %%mm1, %%mm0\n\tmovq %%mm0, %0\n\temms" \
		: "+r"(d)                                                                          \
		: "rm"(s)                                                                          \
		: "mm0", "mm1")

#define MMX_BIN(name, bits)                                                                        \
	OPHX(mmx_##name##_r)                                                                       \
	{                                                                                          \
		uint64_t d;                                                                        \
		x86_mmx_check(cpu, op);                                                            \
		x86_mmx_commit(cpu);                                                               \
		d = MM(op->reg);                                                                   \
		MMX_DO(#name, d, MM(op->rm));                                                      \
		mm_set(cpu, op->reg, d);                                                           \
		NEXT_BACK;                                                                         \
	}                                                                                          \
	OPHX(mmx_##name##_m)                                                                       \
	{                                                                                          \
		uint64_t d, s;                                                                     \
		x86_mmx_check(cpu, op);                                                            \
		s = ld##bits(cpu, op, op_ea(cpu, op));                                             \
		x86_mmx_commit(cpu);                                                               \
		d = MM(op->reg);                                                                   \
		MMX_DO(#name, d, s);                                                               \
		mm_set(cpu, op->reg, d);                                                           \
		NEXT_BACK;                                                                         \
	}
#define M8(name) MMX_BIN(name, 64)
MMX_BIN(punpcklbw, 32) MMX_BIN(punpcklwd, 32) MMX_BIN(punpckldq, 32) M8(punpckhbw) M8(punpckhwd) M8(punpckhdq)
M8(packsswb) M8(packuswb) M8(packssdw) M8(pcmpgtb) M8(pcmpgtw) M8(pcmpgtd) M8(pcmpeqb) M8(pcmpeqw) M8(pcmpeqd)
M8(psrlw) M8(psrld) M8(psrlq) M8(psraw) M8(psrad) M8(psllw) M8(pslld) M8(psllq)
M8(paddb) M8(paddw) M8(paddd) M8(paddq) M8(psubb) M8(psubw) M8(psubd) M8(psubq)
M8(paddsb) M8(paddsw) M8(paddusb) M8(paddusw) M8(psubsb) M8(psubsw) M8(psubusb) M8(psubusw)
M8(pminub) M8(pminsw) M8(pmaxub) M8(pmaxsw) M8(pand) M8(pandn) M8(por) M8(pxor) M8(pavgb) M8(pavgw)
M8(pmulhuw) M8(pmulhw) M8(pmullw) M8(pmuludq) M8(pmaddwd) M8(psadbw)
M8(pshufb) M8(phaddw) M8(phaddd) M8(phaddsw) M8(pmaddubsw) M8(phsubw) M8(phsubd) M8(phsubsw)
M8(psignb) M8(psignw) M8(psignd) M8(pmulhrsw) M8(pabsb) M8(pabsw) M8(pabsd)

typedef void mmx_stub(void *d, const void *s);

#define MMX_IMM(name)                                                                              \
	OPHX(mmx_##name##_r)                                                                       \
	{                                                                                          \
		uint64_t d, s;                                                                     \
		x86_mmx_check(cpu, op);                                                            \
		x86_mmx_commit(cpu);                                                               \
		d = MM(op->reg);                                                                   \
		s = MM(op->rm);                                                                    \
		((mmx_stub *)(uintptr_t)op->ptr)(&d, &s);                                          \
		mm_set(cpu, op->reg, d);                                                           \
		NEXT_BACK;                                                                         \
	}                                                                                          \
	OPHX(mmx_##name##_m)                                                                       \
	{                                                                                          \
		uint64_t d, s;                                                                     \
		x86_mmx_check(cpu, op);                                                            \
		s = ld64(cpu, op, op_ea(cpu, op));                                                 \
		x86_mmx_commit(cpu);                                                               \
		d = MM(op->reg);                                                                   \
		((mmx_stub *)(uintptr_t)op->ptr)(&d, &s);                                          \
		mm_set(cpu, op->reg, d);                                                           \
		NEXT_BACK;                                                                         \
	}
MMX_IMM(pshufw) MMX_IMM(palignr)

// Body with the checks before and the change to MMX after `before`, which may fault.
#define MMX_OP(name, before, after)                                                                \
	OPHX(mmx_##name)                                                                           \
	{                                                                                          \
		uint64_t v = 0;                                                                    \
		x86_mmx_check(cpu, op);                                                            \
		before;                                                                            \
		x86_mmx_commit(cpu);                                                               \
		after;                                                                             \
		(void)v; /* some have no use for it */                                             \
		NEXT_BACK;                                                                         \
	}
MMX_OP(movd_r, v = op->aux & SIMD_W ? R64(op->rm) : R32(op->rm), mm_set(cpu, op->reg, v))
MMX_OP(movd_m, v = op->aux & SIMD_W ? ld64(cpu, op, op_ea(cpu, op)) : ld32(cpu, op, op_ea(cpu, op)), mm_set(cpu, op->reg, v))
MMX_OP(movd_sr, , R64(op->rm) = op->aux & SIMD_W ? MM(op->reg) : (uint32_t)MM(op->reg))
MMX_OP(movq_r, , mm_set(cpu, op->reg, MM(op->rm)))
MMX_OP(movq_sr, , mm_set(cpu, op->rm, MM(op->reg)))
MMX_OP(movq_m, v = ld64(cpu, op, op_ea(cpu, op)), mm_set(cpu, op->reg, v))

static uint64_t sign_mask(uint64_t v)
{
	uint64_t m = 0;

	for (unsigned i = 0; i < 8; i++)
		m |= (v >> (8 * i + 7) & 1) << i;
	return m;
}
MMX_OP(pmovmskb_r, , R64(op->reg) = sign_mask(MM(op->rm)))

// Before the change to MMX a register is found by TOP.
static uint64_t mm_peek(struct x86_cpu *cpu, unsigned r)
{
	return MM((r & 7) + 8 - (cpu->fx.fsw >> 11 & 7));
}
MMX_OP(movd_s, v = mm_peek(cpu, op->reg); if (op->aux & SIMD_W) st64(cpu, op, op_ea(cpu, op), v);
       else st32(cpu, op, op_ea(cpu, op), (uint32_t)v), )
MMX_OP(movq_s, st64(cpu, op, op_ea(cpu, op), mm_peek(cpu, op->reg)), )

static uint64_t insert_word(uint64_t to, uint64_t w, unsigned at)
{
	unsigned shift = (at & 3) * 16;

	return (to & ~(0xffffull << shift)) | (w & 0xffff) << shift;
}
MMX_OP(pinsrw_r, v = R64(op->rm), mm_set(cpu, op->reg, insert_word(MM(op->reg), v, op->aux2)))
MMX_OP(pinsrw_m, v = ld16(cpu, op, op_ea(cpu, op)), mm_set(cpu, op->reg, insert_word(MM(op->reg), v, op->aux2)))
MMX_OP(pextrw_r, , R64(op->reg) = (uint16_t)(MM(op->rm) >> (op->aux2 & 3) * 16))

static void mask_store(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v = mm_peek(cpu, op->reg), m = mm_peek(cpu, op->rm), va = cpu->gpr[X86_RDI];

	va = (op->aux & SIMD_A32 ? (uint32_t)va : va) + cpu->sbase[op->seg];
	for (unsigned i = 0; i < 8; i++)
		if (m >> (8 * i + 7) & 1)
			x86_write_probe(cpu, op, va + i, 1);
	for (unsigned i = 0; i < 8; i++)
		if (m >> (8 * i + 7) & 1)
			st8(cpu, op, va + i, (uint8_t)(v >> 8 * i));
}
MMX_OP(maskmovq_r, mask_store(cpu, op), )

OPHX(emms)
{
	x86_mmx_check(cpu, op);
	x86_mmx_commit(cpu); // TOP becomes 0 here, too
	cpu->fx.ftw = 0;
	NEXT_BACK;
}

// Between MMX and XMM.
OPHX(movq2dq_r)
{
	x86_mmx_check(cpu, op);
	x86_mmx_commit(cpu);
	X(op->reg) = (xmm_v){ (long long)MM(op->rm), 0 };
	NEXT_BACK;
}
OPHX(movdq2q_r)
{
	x86_mmx_check(cpu, op);
	x86_mmx_commit(cpu);
	mm_set(cpu, op->reg, cpu->fx.xmm[op->rm].q[0]);
	NEXT_BACK;
}

// From memory there is no change to MMX, and CVTPI2PD does not look for pending exceptions.
#define TO_XMM(name, check_m)                                                                      \
	OPHX(name##_r)                                                                             \
	{                                                                                          \
		xmm_v d;                                                                           \
		x86_mmx_check(cpu, op);                                                            \
		x86_mmx_commit(cpu);                                                               \
		d = X(op->reg);                                                                    \
		__asm__(#name " %1, %0" : "+x"(d) : "m"(MM(op->rm)));                              \
		X(op->reg) = d;                                                                    \
		NEXT_BACK;                                                                         \
	}                                                                                          \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		uint64_t s;                                                                        \
		xmm_v d;                                                                           \
		if (check_m)                                                                       \
			x86_mmx_check(cpu, op);                                                    \
		s = ld64(cpu, op, op_ea(cpu, op));                                                 \
		d = X(op->reg);                                                                    \
		__asm__(#name " %1, %0" : "+x"(d) : "m"(s));                                       \
		X(op->reg) = d;                                                                    \
		NEXT_BACK;                                                                         \
	}
TO_XMM(cvtpi2ps, true) TO_XMM(cvtpi2pd, false)

#define TO_MMX(name, n)                                                                            \
	static uint64_t name##_do(xmm_v s)                                                         \
	{                                                                                          \
		uint64_t v;                                                                        \
		__asm__(#name " %1, %%mm0\n\tmovq %%mm0, %0\n\temms" : "=m"(v) : "x"(s) : "mm0");  \
		return v;                                                                          \
	}                                                                                          \
	OPHX(name##_r)                                                                             \
	{                                                                                          \
		x86_mmx_check(cpu, op);                                                            \
		x86_mmx_commit(cpu);                                                               \
		mm_set(cpu, op->reg, name##_do(X(op->rm)));                                        \
		NEXT_BACK;                                                                         \
	}                                                                                          \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		xmm_v s;                                                                           \
		x86_mmx_check(cpu, op);                                                            \
		s = ldx##n(cpu, op);                                                               \
		x86_mmx_commit(cpu);                                                               \
		mm_set(cpu, op->reg, name##_do(s));                                                \
		NEXT_BACK;                                                                         \
	}
TO_MMX(cvttps2pi, 8) TO_MMX(cvtps2pi, 8) TO_MMX(cvttpd2pi, 16) TO_MMX(cvtpd2pi, 16)

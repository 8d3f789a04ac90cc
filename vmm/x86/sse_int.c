// SPDX-License-Identifier: Apache-2.0
// Packed integers in XMM registers, logic and shuffles without immediates, shifts.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

#define BIN16(name) SSE_BIN(name, 16)

BIN16(andps) BIN16(andpd) BIN16(andnps) BIN16(andnpd) BIN16(orps) BIN16(orpd) BIN16(xorps) BIN16(xorpd)
BIN16(unpcklps) BIN16(unpcklpd) BIN16(unpckhps) BIN16(unpckhpd) BIN16(movsldup) BIN16(movshdup)
BIN16(punpcklbw) BIN16(punpcklwd) BIN16(punpckldq) BIN16(punpcklqdq)
BIN16(punpckhbw) BIN16(punpckhwd) BIN16(punpckhdq) BIN16(punpckhqdq)
BIN16(packsswb) BIN16(packuswb) BIN16(packssdw) BIN16(packusdw)
BIN16(pcmpgtb) BIN16(pcmpgtw) BIN16(pcmpgtd) BIN16(pcmpgtq) BIN16(pcmpeqb) BIN16(pcmpeqw) BIN16(pcmpeqd) BIN16(pcmpeqq)
BIN16(psrlw) BIN16(psrld) BIN16(psrlq) BIN16(psraw) BIN16(psrad) BIN16(psllw) BIN16(pslld) BIN16(psllq)
BIN16(paddb) BIN16(paddw) BIN16(paddd) BIN16(paddq) BIN16(psubb) BIN16(psubw) BIN16(psubd) BIN16(psubq)
BIN16(paddsb) BIN16(paddsw) BIN16(paddusb) BIN16(paddusw) BIN16(psubsb) BIN16(psubsw) BIN16(psubusb) BIN16(psubusw)
BIN16(pminub) BIN16(pminsw) BIN16(pmaxub) BIN16(pmaxsw) BIN16(pand) BIN16(pandn) BIN16(por)
BIN16(pavgb) BIN16(pavgw) BIN16(pmulhuw) BIN16(pmulhw) BIN16(pmullw) BIN16(pmuludq) BIN16(pmaddwd) BIN16(psadbw)
BIN16(pshufb) BIN16(phaddw) BIN16(phaddd) BIN16(phaddsw) BIN16(pmaddubsw) BIN16(phsubw) BIN16(phsubd) BIN16(phsubsw)
BIN16(psignb) BIN16(psignw) BIN16(psignd) BIN16(pmulhrsw) BIN16(pabsb) BIN16(pabsw) BIN16(pabsd)
BIN16(pmuldq) BIN16(pminsb) BIN16(pminsd) BIN16(pminuw) BIN16(pminud) BIN16(pmaxsb) BIN16(pmaxsd) BIN16(pmaxuw)
BIN16(pmaxud) BIN16(pmulld) BIN16(phminposuw)
SSE_BIN(movddup, 8)
SSE_BIN(pmovsxbw, 8) SSE_BIN(pmovsxbd, 4) SSE_BIN(pmovsxbq, 2) SSE_BIN(pmovsxwd, 8) SSE_BIN(pmovsxwq, 4) SSE_BIN(pmovsxdq, 8)
SSE_BIN(pmovzxbw, 8) SSE_BIN(pmovzxbd, 4) SSE_BIN(pmovzxbq, 2) SSE_BIN(pmovzxwd, 8) SSE_BIN(pmovzxwq, 4) SSE_BIN(pmovzxdq, 8)

BIN16(pxor)

// XOR of a register with itself: no loads.
OPHX(zero)
{
	X(op->reg) = (xmm_v){ 0, 0 };
	NEXT;
}

// The mask is XMM0.
#define BLENDV(name)                                                                               \
	OPHX(name##_r)                                                                             \
	{                                                                                          \
		xmm_v d = X(op->reg), s = X(op->rm), m = X(0);                                     \
		__asm__(#name " %%xmm0, %1, %0" : "+x"(d) : "x"(s), "Yz"(m));                      \
		X(op->reg) = d;                                                                    \
		NEXT;                                                                              \
	}                                                                                          \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		xmm_v s = ldx16(cpu, op), d = X(op->reg), m = X(0);                                \
		__asm__(#name " %%xmm0, %1, %0" : "+x"(d) : "x"(s), "Yz"(m));                      \
		X(op->reg) = d;                                                                    \
		NEXT;                                                                              \
	}
BLENDV(pblendvb) BLENDV(blendvps) BLENDV(blendvpd)

static inline uint16_t ptest(xmm_v a, xmm_v b)
{
	uint16_t cc;

	__asm__("ptest %2, %1\n\tlahf\n\tseto %%al" : "=a"(cc) : "x"(a), "x"(b) : "cc");
	return cc;
}
OPHX(ptest_r) { cpu->cc = ptest(X(op->reg), X(op->rm)); NEXT; }
OPHX(ptest_m) { cpu->cc = ptest(X(op->reg), ldx16(cpu, op)); NEXT; }

#define MASK(name, insn)                                                                           \
	OPHX(name##_r)                                                                             \
	{                                                                                          \
		uint32_t v;                                                                        \
		__asm__(insn " %1, %0" : "=r"(v) : "x"(X(op->rm)));                                \
		R64(op->reg) = v;                                                                  \
		NEXT;                                                                              \
	}
MASK(pmovmskb, "pmovmskb") MASK(movmskps, "movmskps") MASK(movmskpd, "movmskpd")

// Shifts by an immediate: the same as by a register that holds it. op->aux2: count.
#define SHIFT(name)                                                                                \
	static const struct x86_op *name##_i(struct x86_cpu *cpu, const struct x86_op *op)         \
	{                                                                                          \
		xmm_v d = X(op->rm), n = { op->aux2, 0 };                                          \
		__asm__(#name " %1, %0" : "+x"(d) : "x"(n));                                       \
		X(op->rm) = d;                                                                     \
		NEXT;                                                                              \
	}                                                                                          \
	static const struct x86_op *mmx_##name##_i(struct x86_cpu *cpu, const struct x86_op *op)   \
	{                                                                                          \
		xmm_v d, n = { op->aux2, 0 };                                                      \
		x86_mmx_check(cpu, op);                                                            \
		x86_mmx_commit(cpu);                                                               \
		d = (xmm_v){ (long long)MM(op->rm), 0 };                                           \
		__asm__(#name " %1, %0" : "+x"(d) : "x"(n));                                       \
		mm_set(cpu, op->rm, (uint64_t)d[0]);                                               \
		NEXT;                                                                              \
	}
SHIFT(psrlw) SHIFT(psraw) SHIFT(psllw) SHIFT(psrld) SHIFT(psrad) SHIFT(pslld) SHIFT(psrlq) SHIFT(psllq)

typedef xmm_v unary_stub(xmm_v a);
extern const uint8_t x86_stub_psrldq[], x86_stub_pslldq[];

#define SHIFT_BYTES(name)                                                                          \
	static const struct x86_op *name##_i(struct x86_cpu *cpu, const struct x86_op *op)         \
	{                                                                                          \
		unary_stub *stub = (unary_stub *)(uintptr_t)(x86_stub_##name + op->aux2 * 16u);    \
		X(op->rm) = stub(X(op->rm));                                                       \
		NEXT;                                                                              \
	}
SHIFT_BYTES(psrldq) SHIFT_BYTES(pslldq)

x86_fn *x86_simd_shift(unsigned opcode, unsigned reg, bool mmx)
{
	static x86_fn *const fns[3][8][2] = {
		{ [2] = { psrlw_i, mmx_psrlw_i }, [4] = { psraw_i, mmx_psraw_i }, [6] = { psllw_i, mmx_psllw_i } },
		{ [2] = { psrld_i, mmx_psrld_i }, [4] = { psrad_i, mmx_psrad_i }, [6] = { pslld_i, mmx_pslld_i } },
		{ [2] = { psrlq_i, mmx_psrlq_i }, [3] = { psrldq_i }, [6] = { psllq_i, mmx_psllq_i }, [7] = { pslldq_i } },
	};

	return fns[opcode - 0x71][reg & 7][mmx];
}

// SPDX-License-Identifier: Apache-2.0
// Floating-point arithmetic, comparison and conversion in XMM registers.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

#define ARITH(name) SSE_BIN(name##ps, 16) SSE_BIN(name##pd, 16) SSE_BIN(name##ss, 4) SSE_BIN(name##sd, 8)
ARITH(add) ARITH(sub) ARITH(mul) ARITH(div) ARITH(min) ARITH(max) ARITH(sqrt)
SSE_BIN(rsqrtps, 16) SSE_BIN(rsqrtss, 4) SSE_BIN(rcpps, 16) SSE_BIN(rcpss, 4)
SSE_BIN(haddps, 16) SSE_BIN(haddpd, 16) SSE_BIN(hsubps, 16) SSE_BIN(hsubpd, 16) SSE_BIN(addsubps, 16) SSE_BIN(addsubpd, 16)

SSE_BIN(cvtps2pd, 8) SSE_BIN(cvtpd2ps, 16) SSE_BIN(cvtss2sd, 4) SSE_BIN(cvtsd2ss, 8)
SSE_BIN(cvtdq2ps, 16) SSE_BIN(cvtps2dq, 16) SSE_BIN(cvttps2dq, 16)
SSE_BIN(cvttpd2dq, 16) SSE_BIN(cvtdq2pd, 8) SSE_BIN(cvtpd2dq, 16)

#define COMPARE(name, n)                                                                           \
	static inline uint16_t name##_flags(xmm_v a, xmm_v b)                                      \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__(#name " %2, %1\n\tlahf\n\tseto %%al" : "=a"(cc) : "x"(a), "x"(b) : "cc");  \
		return cc;                                                                         \
	}                                                                                          \
	OPHX(name##_r) { cpu->cc = name##_flags(X(op->reg), X(op->rm)); NEXT; }                    \
	OPHX(name##_m) { cpu->cc = name##_flags(X(op->reg), ldx##n(cpu, op)); NEXT; }
COMPARE(ucomiss, 4) COMPARE(comiss, 4) COMPARE(ucomisd, 8) COMPARE(comisd, 8)

// From a general register or memory of 32 or 64 bits.
#define FROM_INT(name)                                                                             \
	static inline xmm_v name##_do(xmm_v d, uint64_t v, unsigned w)                             \
	{                                                                                          \
		if (w & SIMD_W)                                                                    \
			__asm__(#name "q %1, %0" : "+x"(d) : "r"(v));                              \
		else                                                                               \
			__asm__(#name "l %k1, %0" : "+x"(d) : "r"(v));                             \
		return d;                                                                          \
	}                                                                                          \
	OPHX(name##_r) { X(op->reg) = name##_do(X(op->reg), R64(op->rm), op->aux); NEXT; }         \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		uint64_t va = op_ea(cpu, op);                                                      \
		uint64_t v = op->aux & SIMD_W ? ld64(cpu, op, va) : ld32(cpu, op, va);             \
		X(op->reg) = name##_do(X(op->reg), v, op->aux);                                    \
		NEXT;                                                                              \
	}
FROM_INT(cvtsi2ss) FROM_INT(cvtsi2sd)

#define TO_INT(name, n)                                                                            \
	static inline uint64_t name##_do(xmm_v s, unsigned w)                                      \
	{                                                                                          \
		uint64_t v;                                                                        \
		if (w & SIMD_W)                                                                    \
			__asm__(#name " %1, %0" : "=r"(v) : "x"(s));                               \
		else                                                                               \
			__asm__(#name " %1, %k0" : "=r"(v) : "x"(s));                              \
		return v;                                                                          \
	}                                                                                          \
	OPHX(name##_r) { R64(op->reg) = name##_do(X(op->rm), op->aux); NEXT; }                     \
	OPHX(name##_m) { R64(op->reg) = name##_do(ldx##n(cpu, op), op->aux); NEXT; }
TO_INT(cvttss2si, 4) TO_INT(cvtss2si, 4) TO_INT(cvttsd2si, 8) TO_INT(cvtsd2si, 8)

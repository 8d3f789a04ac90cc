// SPDX-License-Identifier: Apache-2.0
// CMP or TEST and the conditional jump after it as one operation: an eighth of what programs execute are such pairs. The
// jump's own operation stays behind it and lends its target and its link; the flags are what they would be.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"
#include "vmm/x86/jump.h"

#define COMPARE(asmop, bits)                                                                       \
	__asm__(asmop SFX##bits " %[s], %[d]\n\t" FLAGS_OUT                                        \
		: [cc] "=&a"(cc)                                                                   \
		: [d] CON##bits((uint##bits##_t)d), [s] CON##bits((uint##bits##_t)s)               \
		: "cc");                                                                           \
	cpu->cc = cc;                                                                              \
	op++; /* the jump */

#define C cc
#define PAIR(name, bits, asmop, form, dst, src, cname, cond)                                       \
	OPH(name##bits##_##form##_##cname##_near)                                                  \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)(dst), s = (uint##bits##_t)(src);               \
		uint16_t cc;                                                                       \
		COMPARE(asmop, bits)                                                               \
		if (cond)                                                                          \
			TAKE_LINK;                                                                 \
		FALL;                                                                              \
	}                                                                                          \
	OPH(name##bits##_##form##_##cname##_far)                                                   \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)(dst), s = (uint##bits##_t)(src);               \
		uint16_t cc;                                                                       \
		COMPARE(asmop, bits)                                                               \
		if (cond)                                                                          \
			JUMP_TO(FAR_TARGET);                                                       \
		FALL;                                                                              \
	}
#define LOAD(bits) ld##bits(cpu, op, op_ea(cpu, op))

// The conditions that follow each, save parity and overflow.
#define CONDITIONS(P, ...)                                                                         \
	P(__VA_ARGS__, b, C & CC_CF) P(__VA_ARGS__, ae, !(C & CC_CF)) P(__VA_ARGS__, z, C & CC_ZF)  \
	P(__VA_ARGS__, nz, !(C & CC_ZF)) P(__VA_ARGS__, be, C & (CC_CF | CC_ZF))                   \
	P(__VA_ARGS__, a, !(C & (CC_CF | CC_ZF))) P(__VA_ARGS__, s, C & CC_SF)                     \
	P(__VA_ARGS__, ns, !(C & CC_SF)) P(__VA_ARGS__, l, COND_L(C)) P(__VA_ARGS__, ge, !COND_L(C)) \
	P(__VA_ARGS__, le, (C & CC_ZF) || COND_L(C)) P(__VA_ARGS__, g, !((C & CC_ZF) || COND_L(C)))
#define RR(name, bits) CONDITIONS(PAIR, name, bits, #name, rr, REG##bits(op->rm), REG##bits(op->reg))
#define RM(name, bits) CONDITIONS(PAIR, name, bits, #name, rm, REG##bits(op->reg), LOAD(bits))
#define MR(name, bits) CONDITIONS(PAIR, name, bits, #name, mr, LOAD(bits), REG##bits(op->reg))
#define RI(name, bits) CONDITIONS(PAIR, name, bits, #name, ri, REG##bits(op->rm), op->imm)
#define MI(name, bits) CONDITIONS(PAIR, name, bits, #name, mi, LOAD(bits), op->imm)
#define FORMS_OF(X)                                                                                \
	X(RR, rr, cmp, 8) X(RR, rr, cmp, 32) X(RR, rr, cmp, 64) X(RI, ri, cmp, 8) X(RI, ri, cmp, 16) X(RI, ri, cmp, 32) \
	X(RI, ri, cmp, 64) X(RM, rm, cmp, 32) X(RM, rm, cmp, 64) X(MR, mr, cmp, 32) X(MR, mr, cmp, 64) X(MI, mi, cmp, 8) \
	X(MI, mi, cmp, 16) X(MI, mi, cmp, 32) X(MI, mi, cmp, 64) X(RR, rr, test, 8) X(RR, rr, test, 32) X(RR, rr, test, 64) \
	X(RI, ri, test, 8) X(RI, ri, test, 32) X(MI, mi, test, 8) X(MI, mi, test, 32)
#define MAKE(M, form, name, bits) M(name, bits)
FORMS_OF(MAKE)

#define BOTH(name, bits, form, cname) { name##bits##_##form##_##cname##_near, name##bits##_##form##_##cname##_far }
#define SIZE8 0
#define SIZE16 1
#define SIZE32 2
#define SIZE64 3
#define ROW(M, form, name, bits)                                                                   \
	{ ALU_##name, SIZE##bits, FORM_##form, {                                                   \
		[2] = BOTH(name, bits, form, b), [3] = BOTH(name, bits, form, ae), [4] = BOTH(name, bits, form, z), \
		[5] = BOTH(name, bits, form, nz), [6] = BOTH(name, bits, form, be), [7] = BOTH(name, bits, form, a), \
		[8] = BOTH(name, bits, form, s), [9] = BOTH(name, bits, form, ns), [12] = BOTH(name, bits, form, l), \
		[13] = BOTH(name, bits, form, ge), [14] = BOTH(name, bits, form, le), [15] = BOTH(name, bits, form, g) } },
static const struct {
	uint8_t which, size, form;
	x86_fn *fn[16][2];
} pairs[] = { FORMS_OF(ROW) };

void x86_fuse(struct x86_op *first, const struct x86_op *jump, unsigned cond)
{
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		if (first->fn == x86_alu_fn(pairs[i].which, pairs[i].size, pairs[i].form)) {
			x86_fn *fn = pairs[i].fn[cond][!x86_jcc_is_near(jump->fn, cond)];

			if (fn)
				first->fn = fn;
			return;
		}
}

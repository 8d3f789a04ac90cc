// SPDX-License-Identifier: Apache-2.0
// ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT, MUL IMUL DIV IDIV, XADD CMPXCHG, in every size and form.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"

// d OP= s with all flags out; c-in variants take CF.
#define BIN(name, bits, asmop, pre)                                                                \
	static inline void bin_##name##bits(struct x86_cpu *cpu, uint##bits##_t *d, uint##bits##_t s) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		uint##bits##_t v = *d;                                                             \
		__asm__(pre asmop SFX##bits " %[s], %[d]\n\t" FLAGS_OUT                            \
			: [d] "+" CON##bits(v), [cc] "=&a"(cc)                                     \
			: [s] CON##bits(s), [in] "r"(cpu->cc)                                      \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		*d = v;                                                                            \
	}
// The same on memory with a LOCK prefix.
#define LOCKED(name, bits, asmop, pre)                                                             \
	static inline void lock_##name##bits(struct x86_cpu *cpu, u##bits##u *p, uint##bits##_t s) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__ volatile(pre "lock " asmop SFX##bits " %[s], %[m]\n\t" FLAGS_OUT           \
				 : [m] "+m"(*p), [cc] "=&a"(cc)                                    \
				 : [s] CON##bits(s), [in] "r"(cpu->cc)                             \
				 : "cc", "memory");                                                \
		cpu->cc = cc;                                                                      \
	}
#define CMPLIKE(name, bits, asmop)                                                                 \
	static inline void bin_##name##bits(struct x86_cpu *cpu, uint##bits##_t d, uint##bits##_t s) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__(asmop SFX##bits " %[s], %[d]\n\t" FLAGS_OUT                                \
			: [cc] "=&a"(cc)                                                           \
			: [d] CON##bits(d), [s] CON##bits(s)                                       \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
	}
#define IMM(bits) ((uint##bits##_t)op->imm)

#define FORMS(name, bits)                                                                          \
	OPH(name##bits##_rr)                                                                       \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->rm);                              \
		bin_##name##bits(cpu, &d, (uint##bits##_t)REG##bits(op->reg));                     \
		REG##bits(op->rm) = d;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_rm)                                                                       \
	{                                                                                          \
		uint##bits##_t s = ld##bits(cpu, op, op_ea(cpu, op));                              \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->reg);                             \
		bin_##name##bits(cpu, &d, s);                                                      \
		REG##bits(op->reg) = d;                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_mr)                                                                       \
	{                                                                                          \
		RMW_BEGIN(bits)                                                                    \
		uint##bits##_t d = *p;                                                             \
		uint16_t was = cpu->cc, now;                                                       \
		bin_##name##bits(cpu, &d, (uint##bits##_t)REG##bits(op->reg));                     \
		now = cpu->cc;                                                                     \
		cpu->cc = was; /* the slow store below may leave */                                \
		*p = d;                                                                            \
		RMW_END(bits)                                                                      \
		cpu->cc = now;                                                                     \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_ri)                                                                       \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->rm);                              \
		bin_##name##bits(cpu, &d, IMM(bits));                                              \
		REG##bits(op->rm) = d;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_mi)                                                                       \
	{                                                                                          \
		RMW_BEGIN(bits)                                                                    \
		uint##bits##_t d = *p;                                                             \
		uint16_t was = cpu->cc, now;                                                       \
		bin_##name##bits(cpu, &d, IMM(bits));                                              \
		now = cpu->cc;                                                                     \
		cpu->cc = was;                                                                     \
		*p = d;                                                                            \
		RMW_END(bits)                                                                      \
		cpu->cc = now;                                                                     \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_lmr)                                                                      \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		lock_##name##bits(cpu, p, (uint##bits##_t)REG##bits(op->reg));                     \
		RMW_END(bits)                                                                      \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_lmi)                                                                      \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		lock_##name##bits(cpu, p, IMM(bits));                                              \
		RMW_END(bits)                                                                      \
		NEXT;                                                                              \
	}

#define READ_FORMS(name, bits)                                                                     \
	OPH(name##bits##_rr)                                                                       \
	{                                                                                          \
		bin_##name##bits(cpu, (uint##bits##_t)REG##bits(op->rm), (uint##bits##_t)REG##bits(op->reg)); \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_rm)                                                                       \
	{                                                                                          \
		uint##bits##_t s = ld##bits(cpu, op, op_ea(cpu, op));                              \
		bin_##name##bits(cpu, (uint##bits##_t)REG##bits(op->reg), s);                      \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_mr)                                                                       \
	{                                                                                          \
		uint##bits##_t d = ld##bits(cpu, op, op_ea(cpu, op));                              \
		bin_##name##bits(cpu, d, (uint##bits##_t)REG##bits(op->reg));                      \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_ri)                                                                       \
	{                                                                                          \
		bin_##name##bits(cpu, (uint##bits##_t)REG##bits(op->rm), IMM(bits));               \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_mi)                                                                       \
	{                                                                                          \
		uint##bits##_t d = ld##bits(cpu, op, op_ea(cpu, op));                              \
		bin_##name##bits(cpu, d, IMM(bits));                                               \
		NEXT;                                                                              \
	}

#define ALL_SIZES(macro, name) macro(name, 8) macro(name, 16) macro(name, 32) macro(name, 64)
#define DEF4(name, asmop, pre)                                                                     \
	BIN(name, 8, asmop, pre) BIN(name, 16, asmop, pre) BIN(name, 32, asmop, pre) BIN(name, 64, asmop, pre) \
	LOCKED(name, 8, asmop, pre) LOCKED(name, 16, asmop, pre) LOCKED(name, 32, asmop, pre)      \
	LOCKED(name, 64, asmop, pre) ALL_SIZES(FORMS, name)
#define DEFCMP4(name, asmop)                                                                       \
	CMPLIKE(name, 8, asmop) CMPLIKE(name, 16, asmop) CMPLIKE(name, 32, asmop) CMPLIKE(name, 64, asmop) \
	ALL_SIZES(READ_FORMS, name)

DEF4(add, "add", "")
DEF4(or, "or", "")
DEF4(adc, "adc", CF_IN)
DEF4(sbb, "sbb", CF_IN)
DEF4(and, "and", "")
DEF4(sub, "sub", "")
DEF4(xor, "xor", "")
DEFCMP4(cmp, "cmp")
DEFCMP4(test, "test")

enum form { RR = FORM_rr, RM = FORM_rm, MR = FORM_mr, RI = FORM_ri, MI = FORM_mi, LMR, LMI, FORM_COUNT };
#define ROW(name, bits)                                                                            \
	{ name##bits##_rr, name##bits##_rm, name##bits##_mr, name##bits##_ri, name##bits##_mi,     \
	  name##bits##_lmr, name##bits##_lmi }
#define ROWC(name, bits)                                                                           \
	{ name##bits##_rr, name##bits##_rm, name##bits##_mr, name##bits##_ri, name##bits##_mi, NULL, NULL }
#define ROWS(name) { ROW(name, 8), ROW(name, 16), ROW(name, 32), ROW(name, 64) }
#define ROWSC(name) { ROWC(name, 8), ROWC(name, 16), ROWC(name, 32), ROWC(name, 64) }
enum { ALU_TEST = ALU_test };
static x86_fn *const alu[9][4][FORM_COUNT] = {
	ROWS(add), ROWS(or), ROWS(adc), ROWS(sbb), ROWS(and), ROWS(sub), ROWS(xor), ROWSC(cmp), ROWSC(test),
};

x86_fn *x86_alu_fn(unsigned which, unsigned size, unsigned form)
{
	return alu[which][size][form];
}

// ---- one operand
#define UN(name, bits, asmop, pre)                                                                 \
	static inline void un_##name##bits(struct x86_cpu *cpu, uint##bits##_t *d)                 \
	{                                                                                          \
		uint16_t cc;                                                                       \
		uint##bits##_t v = *d;                                                             \
		__asm__(pre asmop SFX##bits " %[d]\n\t" FLAGS_OUT                                  \
			: [d] "+" CON##bits(v), [cc] "=&a"(cc)                                     \
			: [in] "r"(cpu->cc)                                                        \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		*d = v;                                                                            \
	}                                                                                          \
	static inline void lock_##name##bits(struct x86_cpu *cpu, u##bits##u *p)                   \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__ volatile(pre "lock " asmop SFX##bits " %[m]\n\t" FLAGS_OUT                 \
				 : [m] "+m"(*p), [cc] "=&a"(cc)                                    \
				 : [in] "r"(cpu->cc)                                               \
				 : "cc", "memory");                                                \
		cpu->cc = cc;                                                                      \
	}                                                                                          \
	OPH(name##bits##_r)                                                                        \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->rm);                              \
		un_##name##bits(cpu, &d);                                                          \
		REG##bits(op->rm) = d;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_m)                                                                        \
	{                                                                                          \
		RMW_BEGIN(bits)                                                                    \
		uint##bits##_t d = *p;                                                             \
		uint16_t was = cpu->cc, now;                                                       \
		un_##name##bits(cpu, &d);                                                          \
		now = cpu->cc;                                                                     \
		cpu->cc = was;                                                                     \
		*p = d;                                                                            \
		RMW_END(bits)                                                                      \
		cpu->cc = now;                                                                     \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_lm)                                                                       \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		lock_##name##bits(cpu, p);                                                         \
		RMW_END(bits)                                                                      \
		NEXT;                                                                              \
	}
#define UN4(name, asmop, pre) UN(name, 8, asmop, pre) UN(name, 16, asmop, pre) UN(name, 32, asmop, pre) UN(name, 64, asmop, pre)
UN4(inc, "inc", CF_IN)
UN4(dec, "dec", CF_IN)
UN4(neg, "neg", "")

// NOT leaves the flags alone.
#define NOTOP(bits)                                                                                \
	OPH(not##bits##_r)                                                                         \
	{                                                                                          \
		REG##bits(op->rm) = (uint##bits##_t)~REG##bits(op->rm);                            \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(not##bits##_m)                                                                         \
	{                                                                                          \
		RMW_BEGIN(bits)                                                                    \
		*p = (uint##bits##_t)~*p;                                                          \
		RMW_END(bits)                                                                      \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(not##bits##_lm)                                                                        \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		__asm__ volatile("lock not" SFX##bits " %0" : "+m"(*p) : : "memory");              \
		RMW_END(bits)                                                                      \
		NEXT;                                                                              \
	}
NOTOP(8) NOTOP(16) NOTOP(32) NOTOP(64)

#define UROW(name) { { name##8_r, name##8_m, name##8_lm }, { name##16_r, name##16_m, name##16_lm }, \
		     { name##32_r, name##32_m, name##32_lm }, { name##64_r, name##64_m, name##64_lm } }
static x86_fn *const unary[4][4][3] = { UROW(inc), UROW(dec), UROW(neg), UROW(not) };

// ---- MUL, IMUL, DIV, IDIV on RDX:RAX. src is the operand; aux says which.
static void muldiv(struct x86_cpu *cpu, const struct x86_op *op, unsigned which, unsigned size, uint64_t src)
{
	uint64_t a = cpu->gpr[X86_RAX], d = cpu->gpr[X86_RDX];

	switch (which << 2 | size) {
	case 0 << 2 | 0: case 1 << 2 | 0: {
		uint16_t r = which ? (uint16_t)((int8_t)a * (int8_t)src) : (uint16_t)((uint8_t)a * (uint8_t)src);
		bool over = which ? (int16_t)r != (int8_t)r : r > 0xff;

		R16(X86_RAX) = r;
		cpu->cc = (uint16_t)((cpu->cc & ~(CC_CF | CC_OF)) | (over ? CC_CF | CC_OF : 0));
		break;
	}
	case 0 << 2 | 1: case 1 << 2 | 1: {
		uint32_t r = which ? (uint32_t)((int16_t)a * (int16_t)src) : (uint32_t)(uint16_t)a * (uint16_t)src;
		bool over = which ? (int32_t)r != (int16_t)r : r > 0xffff;

		R16(X86_RAX) = (uint16_t)r;
		R16(X86_RDX) = (uint16_t)(r >> 16);
		cpu->cc = (uint16_t)((cpu->cc & ~(CC_CF | CC_OF)) | (over ? CC_CF | CC_OF : 0));
		break;
	}
	case 0 << 2 | 2: case 1 << 2 | 2: {
		uint64_t r = which ? (uint64_t)((int64_t)(int32_t)a * (int32_t)src) : (uint64_t)(uint32_t)a * (uint32_t)src;
		bool over = which ? (int64_t)r != (int32_t)r : r >> 32;

		R64(X86_RAX) = (uint32_t)r;
		R64(X86_RDX) = r >> 32;
		cpu->cc = (uint16_t)((cpu->cc & ~(CC_CF | CC_OF)) | (over ? CC_CF | CC_OF : 0));
		break;
	}
	case 0 << 2 | 3: case 1 << 2 | 3: {
		unsigned __int128 r = which ? (unsigned __int128)((__int128)(int64_t)a * (int64_t)src) : (unsigned __int128)a * src;
		bool over = which ? (__int128)r != (int64_t)r : (uint64_t)(r >> 64) != 0;

		R64(X86_RAX) = (uint64_t)r;
		R64(X86_RDX) = (uint64_t)(r >> 64);
		cpu->cc = (uint16_t)((cpu->cc & ~(CC_CF | CC_OF)) | (over ? CC_CF | CC_OF : 0));
		break;
	}
	case 2 << 2 | 0: {
		uint16_t n = (uint16_t)a, q;

		src &= 0xff;
		if (!src || (q = (uint16_t)(n / src)) > 0xff)
			x86_raise_noerr(cpu, op, EXC_DE);
		R16(X86_RAX) = (uint16_t)((n % src) << 8 | q);
		break;
	}
	case 2 << 2 | 1: {
		uint32_t n = (uint32_t)(d & 0xffff) << 16 | (uint16_t)a;

		src &= 0xffff;
		if (!src || n / src > 0xffff)
			x86_raise_noerr(cpu, op, EXC_DE);
		R16(X86_RAX) = (uint16_t)(n / src);
		R16(X86_RDX) = (uint16_t)(n % src);
		break;
	}
	case 2 << 2 | 2: {
		uint64_t n = d << 32 | (uint32_t)a;

		src = (uint32_t)src;
		if (!src || n / src > 0xffffffff)
			x86_raise_noerr(cpu, op, EXC_DE);
		R64(X86_RAX) = n / src;
		R64(X86_RDX) = n % src;
		break;
	}
	case 2 << 2 | 3: {
		uint64_t q, r;

		if (!src || d >= src)
			x86_raise_noerr(cpu, op, EXC_DE);
		__asm__("divq %[s]" : "=a"(q), "=d"(r) : "a"(a), "d"(d), [s] "r"(src) : "cc");
		R64(X86_RAX) = q;
		R64(X86_RDX) = r;
		break;
	}
	case 3 << 2 | 0: {
		int16_t n = (int16_t)a, s = (int8_t)src;

		if (!s || n / s != (int8_t)(n / s))
			x86_raise_noerr(cpu, op, EXC_DE);
		R16(X86_RAX) = (uint16_t)((uint8_t)(n % s) << 8 | (uint8_t)(n / s));
		break;
	}
	case 3 << 2 | 1: {
		int64_t n = (int32_t)((uint32_t)(d & 0xffff) << 16 | (uint16_t)a), s = (int16_t)src;

		if (!s || n / s != (int16_t)(n / s))
			x86_raise_noerr(cpu, op, EXC_DE);
		R16(X86_RAX) = (uint16_t)(n / s);
		R16(X86_RDX) = (uint16_t)(n % s);
		break;
	}
	case 3 << 2 | 2: {
		__int128 n = (int64_t)(d << 32 | (uint32_t)a);
		int64_t s = (int32_t)src;

		if (!s || n / s != (int32_t)(n / s))
			x86_raise_noerr(cpu, op, EXC_DE);
		R64(X86_RAX) = (uint32_t)(n / s);
		R64(X86_RDX) = (uint32_t)(n % s);
		break;
	}
	case 3 << 2 | 3: {
		unsigned __int128 u = (unsigned __int128)d << 64 | a, mag;
		uint64_t s = (int64_t)src < 0 ? 0 - src : src, q, r;
		bool neg = (int64_t)d < 0, qneg = neg != ((int64_t)src < 0);

		mag = neg ? -u : u;
		// The quotient fits only if the magnitude's upper half is below the divisor's magnitude.
		if (!src || (uint64_t)(mag >> 64) >= s)
			x86_raise_noerr(cpu, op, EXC_DE);
		__asm__("divq %[s]" : "=a"(q), "=d"(r) : "a"((uint64_t)mag), "d"((uint64_t)(mag >> 64)), [s] "r"(s) : "cc");
		if (qneg ? q > 1ull << 63 : q >> 63)
			x86_raise_noerr(cpu, op, EXC_DE);
		R64(X86_RAX) = qneg ? 0 - q : q;
		R64(X86_RDX) = neg ? 0 - r : r;
		break;
	}
	}
}

OPH(op_muldiv_r)
{
	muldiv(cpu, op, op->aux, op->aux2, op->aux2 == 0 ? R8(op->rm) : R64(op->rm));
	NEXT;
}

OPH(op_muldiv_m)
{
	muldiv(cpu, op, op->aux, op->aux2, x86_ld_slow(cpu, op, op_ea(cpu, op), 1u << op->aux2));
	NEXT;
}

// IMUL r, r/m [, imm]: aux2 set if there is an immediate
#define IMUL(bits)                                                                                 \
	static inline uint##bits##_t imul##bits(struct x86_cpu *cpu, uint##bits##_t a, uint##bits##_t s) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__("imul" SFX##bits " %[s], %[d]\n\t" FLAGS_OUT                               \
			: [d] "+r"(a), [cc] "=&a"(cc)                                              \
			: [s] "r"(s)                                                               \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		return a;                                                                          \
	}                                                                                          \
	OPH(imul##bits##_rr)                                                                       \
	{                                                                                          \
		uint##bits##_t s = (uint##bits##_t)REG##bits(op->rm);                              \
		uint##bits##_t a = op->aux2 ? IMM(bits) : (uint##bits##_t)REG##bits(op->reg);      \
		REG##bits(op->reg) = imul##bits(cpu, a, s);                                        \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(imul##bits##_rm)                                                                       \
	{                                                                                          \
		uint##bits##_t s = ld##bits(cpu, op, op_ea(cpu, op));                              \
		uint##bits##_t a = op->aux2 ? IMM(bits) : (uint##bits##_t)REG##bits(op->reg);      \
		REG##bits(op->reg) = imul##bits(cpu, a, s);                                        \
		NEXT;                                                                              \
	}
IMUL(16) IMUL(32) IMUL(64)
static x86_fn *const imul_fn[3][2] = { { imul16_rr, imul16_rm }, { imul32_rr, imul32_rm }, { imul64_rr, imul64_rm } };

// ---- XADD, CMPXCHG, CMPXCHG8B/16B. Memory forms are atomic whether or not LOCK is given, which is allowed.
#define EXCH(bits)                                                                                 \
	OPH(xadd##bits##_r)                                                                        \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->rm), was = d;                     \
		bin_add##bits(cpu, &d, (uint##bits##_t)REG##bits(op->reg));                        \
		REG##bits(op->reg) = was;                                                          \
		REG##bits(op->rm) = d;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(xadd##bits##_m)                                                                        \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		uint##bits##_t s = (uint##bits##_t)REG##bits(op->reg);                             \
		uint16_t cc;                                                                       \
		__asm__ volatile("lock xadd" SFX##bits " %[s], %[m]\n\t" FLAGS_OUT                 \
				 : [s] "+" CON##bits(s), [m] "+m"(*p), [cc] "=&a"(cc)              \
				 :                                                                 \
				 : "cc", "memory");                                                \
		RMW_END(bits)                                                                      \
		cpu->cc = cc;                                                                      \
		REG##bits(op->reg) = s;                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(cmpxchg##bits##_r)                                                                     \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->rm);                              \
		bin_cmp##bits(cpu, (uint##bits##_t)cpu->gpr[X86_RAX], d);                          \
		if (cpu->cc & CC_ZF)                                                               \
			REG##bits(op->rm) = (uint##bits##_t)REG##bits(op->reg);                    \
		else                                                                               \
			REG##bits(X86_RAX) = d;                                                    \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(cmpxchg##bits##_m)                                                                     \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		uint##bits##_t a = (uint##bits##_t)cpu->gpr[X86_RAX], expect = a;                  \
		__asm__ volatile("lock cmpxchg" SFX##bits " %[s], %[m]"                            \
				 : "+a"(a), [m] "+m"(*p)                                           \
				 : [s] CON##bits((uint##bits##_t)REG##bits(op->reg))               \
				 : "cc", "memory");                                                \
		RMW_END(bits)                                                                      \
		bin_cmp##bits(cpu, expect, a);                                                     \
		if (!(cpu->cc & CC_ZF))                                                            \
			REG##bits(X86_RAX) = a;                                                    \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(xchg##bits##_r)                                                                        \
	{                                                                                          \
		uint##bits##_t a = (uint##bits##_t)REG##bits(op->reg), d = (uint##bits##_t)REG##bits(op->rm); \
		REG##bits(op->reg) = d;                                                            \
		REG##bits(op->rm) = a;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(xchg##bits##_m)                                                                        \
	{                                                                                          \
		RMW_LOCKED(bits)                                                                   \
		uint##bits##_t s = (uint##bits##_t)REG##bits(op->reg);                             \
		__asm__ volatile("xchg" SFX##bits " %[s], %[m]" : [s] "+" CON##bits(s), [m] "+m"(*p) : : "memory"); \
		RMW_END(bits)                                                                      \
		REG##bits(op->reg) = s;                                                            \
		NEXT;                                                                              \
	}
EXCH(8) EXCH(16) EXCH(32) EXCH(64)
#define XROW(name) { { name##8_r, name##8_m }, { name##16_r, name##16_m }, { name##32_r, name##32_m }, { name##64_r, name##64_m } }
static x86_fn *const xadd[4][2] = XROW(xadd), *const cmpxchg[4][2] = XROW(cmpxchg), *const xchg[4][2] = XROW(xchg);

OPH(op_cmpxchg8b)
{
	RMW_LOCKED(64)
	uint64_t expect = (uint64_t)(uint32_t)R64(X86_RDX) << 32 | (uint32_t)R64(X86_RAX), was = expect;
	uint64_t with = (uint64_t)(uint32_t)R64(X86_RCX) << 32 | (uint32_t)R64(X86_RBX);

	__asm__ volatile("lock cmpxchgq %[s], %[m]" : "+a"(was), [m] "+m"(*p) : [s] "r"(with) : "cc", "memory");
	RMW_END(64)
	cpu->cc = (uint16_t)(cpu->cc & ~CC_ZF);
	if (was == expect) {
		cpu->cc |= CC_ZF;
	} else {
		R64(X86_RAX) = (uint32_t)was;
		R64(X86_RDX) = was >> 32;
	}
	NEXT;
}

OPH(op_cmpxchg16b)
{
	uint64_t va = op_ea(cpu, op), lo = R64(X86_RAX), hi = R64(X86_RDX), old[2];
	unsigned __int128 *p;
	bool ok;

	if (va & 15)
		GP0();
	p = x86_rmw_slow(cpu, op, va, 16);
	if (p) {
		__asm__ volatile("lock cmpxchg16b %[m]"
				 : "+a"(lo), "+d"(hi), [m] "+m"(*p), "=@ccz"(ok)
				 : "b"(R64(X86_RBX)), "c"(R64(X86_RCX))
				 : "memory");
	} else {
		uint64_t with[2] = { R64(X86_RBX), R64(X86_RCX) };

		x86_exclusive(cpu, op);
		x86_read(cpu, op, va, old, 16);
		ok = old[0] == lo && old[1] == hi;
		lo = old[0];
		hi = old[1];
		x86_write(cpu, op, va, ok ? with : old, 16);
	}
	cpu->cc = (uint16_t)((cpu->cc & ~CC_ZF) | (ok ? CC_ZF : 0));
	if (!ok) {
		R64(X86_RAX) = lo;
		R64(X86_RDX) = hi;
	}
	NEXT_BACK;
}

// ---- binding

static bool alu_bind(struct x86_bind *b, unsigned which, bool bytes, enum form f)
{
	const struct x86_insn *in = b->insn;
	unsigned s = size_index(bytes, in->opsize);

	bind_regs(b, bytes);
	if (in->lock) {
		if (f != MR && f != MI)
			return false;
		f = f == MR ? LMR : LMI;
	}
	b->op->fn = alu[which][s][f];
	if (f == RI || f == MI || f == LMI)
		b->op->imm = imm_of_size(in->imm, s);
	return b->op->fn != NULL;
}

static bool bind_group3(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	bool bytes = in->opcode == 0xf6, mem = in->mod != 3;
	unsigned sub = in->modrm >> 3 & 7, s = size_index(bytes, in->opsize);

	if (sub < 2)
		return alu_bind(b, ALU_TEST, bytes, mem ? MI : RI);
	bind_regs(b, bytes);
	if (sub < 4) {
		if (in->lock && !mem)
			return false;
		b->op->fn = unary[sub == 2 ? 3 : 2][s][mem ? 1 + in->lock : 0];
		return true;
	}
	b->op->aux = (uint8_t)(sub == 4 ? 0 : sub == 5 ? 1 : sub == 6 ? 2 : 3);
	b->op->aux2 = (uint8_t)s;
	b->op->fn = mem ? op_muldiv_m : op_muldiv_r;
	return !in->lock;
}

static bool bind_map1(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	bool bytes = !(in->opcode & 1), mem = in->mod != 3;

	switch (in->opcode) {
	case 0xaf:
		b->op->fn = imul_fn[size_index(false, in->opsize) - 1][mem];
		return !in->lock;
	case 0xb0: case 0xb1: case 0xc0: case 0xc1:
		if (in->lock && !mem)
			return false;
		bind_regs(b, bytes);
		b->op->fn = (in->opcode >= 0xc0 ? xadd : cmpxchg)[size_index(bytes, in->opsize)][mem];
		return true;
	case 0xc7:
		if ((in->modrm >> 3 & 7) != 1 || !mem)
			return false; // RDRAND and RDSEED are in sys.c
		b->op->fn = in->rex & 8 ? op_cmpxchg16b : op_cmpxchg8b;
		return true;
	default: return false;
	}
}

bool x86_bind_alu(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;
	bool bytes = !(o & 1), mem = in->mod != 3;

	if (in->map == 1)
		return bind_map1(b);
	if (o < 0x40) {
		unsigned which = o >> 3 & 7;

		switch (o & 7) {
		case 0: case 1: return alu_bind(b, which, bytes, mem ? MR : RR);
		case 2: case 3:
			if (mem)
				return alu_bind(b, which, bytes, RM);
			// RR has the destination in rm: swap
			if (!alu_bind(b, which, bytes, RR))
				return false;
			o = b->op->reg;
			b->op->reg = b->op->rm;
			b->op->rm = o;
			return true;
		default: // AL/AX/EAX/RAX, imm
			if (!alu_bind(b, which, bytes, RI))
				return false;
			b->op->rm = 0;
			return true;
		}
	}
	switch (o) {
	case 0x69: case 0x6b:
		b->op->fn = imul_fn[size_index(false, in->opsize) - 1][mem];
		b->op->imm = in->imm;
		b->op->aux2 = 1;
		return !in->lock;
	case 0x80: case 0x81: case 0x82: case 0x83: // 82 is 80 again, outside 64-bit mode
		return alu_bind(b, in->modrm >> 3 & 7, bytes, mem ? MI : RI);
	case 0x84: case 0x85: return alu_bind(b, ALU_TEST, bytes, mem ? MR : RR);
	case 0x86: case 0x87:
		if (in->lock && !mem)
			return false;
		bind_regs(b, bytes);
		b->op->fn = xchg[size_index(bytes, in->opsize)][mem];
		return true;
	case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97: case 0x90:
		b->op->reg = 0;
		b->op->rm = (uint8_t)((o & 7) | (in->rex & 1) << 3);
		b->op->fn = xchg[size_index(false, in->opsize)][0];
		return !in->lock;
	case 0xa8: case 0xa9:
		if (!alu_bind(b, ALU_TEST, bytes, RI))
			return false;
		b->op->rm = 0;
		return true;
	case 0xf6: case 0xf7: return bind_group3(b);
	case 0xfe: case 0xff:
		if ((in->modrm >> 3 & 7) > 1 || (in->lock && !mem))
			return false;
		bind_regs(b, bytes);
		b->op->fn = unary[in->modrm >> 3 & 7][size_index(bytes, in->opsize)][mem ? 1 + in->lock : 0];
		return true;
	case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
	case 0x48: case 0x49: case 0x4a: case 0x4b: case 0x4c: case 0x4d: case 0x4e: case 0x4f:
		b->op->rm = o & 7; // INC, DEC outside 64-bit mode
		b->op->fn = unary[o >> 3 & 1][size_index(false, in->opsize)][0];
		return !in->lock;
	default: return false;
	}
}

// SPDX-License-Identifier: Apache-2.0
// ROL ROR RCL RCR SHL SHR SAR by 1, imm8 and CL; SHLD, SHRD. A count of zero leaves flags alone.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"

// Loads all the guest's arithmetic flags into the host's: OF by an addition that overflows or not, the rest by SAHF.
#define ALL_FLAGS_IN "movw %w[in], %%ax\n\taddb $0x7f, %%al\n\tsahf\n\t"

#define SHIFT(name, bits)                                                                          \
	static inline uint##bits##_t do_##name##bits(struct x86_cpu *cpu, uint##bits##_t v, uint8_t n) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__(ALL_FLAGS_IN #name SFX##bits " %%cl, %[v]\n\t" FLAGS_OUT                   \
			: [v] "+" CON##bits(v), [cc] "=&a"(cc)                                     \
			: "c"(n), [in] "r"(cpu->cc)                                                \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		return v;                                                                          \
	}                                                                                          \
	OPH(name##bits##_ri)                                                                       \
	{                                                                                          \
		REG##bits(op->rm) = do_##name##bits(cpu, (uint##bits##_t)REG##bits(op->rm), op->aux); \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_rc)                                                                       \
	{                                                                                          \
		uint8_t n = (uint8_t)(cpu->gpr[X86_RCX] & (bits == 64 ? 63 : 31));                 \
		uint##bits##_t v = (uint##bits##_t)REG##bits(op->rm);                              \
		if (n)                                                                             \
			v = do_##name##bits(cpu, v, n);                                            \
		REG##bits(op->rm) = v;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_m)                                                                        \
	{                                                                                          \
		uint8_t n = op->aux2 ? (uint8_t)(cpu->gpr[X86_RCX] & (bits == 64 ? 63 : 31)) : op->aux; \
		RMW_BEGIN(bits)                                                                    \
		uint16_t was = cpu->cc, now = was;                                                 \
		if (n) {                                                                           \
			uint##bits##_t v = do_##name##bits(cpu, *p, n);                            \
			now = cpu->cc;                                                             \
			cpu->cc = was;                                                             \
			*p = v;                                                                    \
		}                                                                                  \
		RMW_END(bits)                                                                      \
		cpu->cc = now;                                                                     \
		NEXT;                                                                              \
	}
#define SHIFT4(name) SHIFT(name, 8) SHIFT(name, 16) SHIFT(name, 32) SHIFT(name, 64)
SHIFT4(rol) SHIFT4(ror) SHIFT4(rcl) SHIFT4(rcr) SHIFT4(shl) SHIFT4(shr) SHIFT4(sar)

#define SROW(name) { { name##8_ri, name##8_rc, name##8_m }, { name##16_ri, name##16_rc, name##16_m }, \
		     { name##32_ri, name##32_rc, name##32_m }, { name##64_ri, name##64_rc, name##64_m } }
static x86_fn *const shifts[8][4][3] = {
	SROW(rol), SROW(ror), SROW(rcl), SROW(rcr), SROW(shl), SROW(shr), SROW(shl), SROW(sar),
};

// A count of 0 that is known: the register form still clears the upper half of a 32-bit register.
OPH(shift_none32)
{
	R64(op->rm) = (uint32_t)R64(op->rm);
	NEXT;
}

OPH(shift_none)
{
	NEXT;
}

#define DOUBLE(name, bits)                                                                         \
	static inline uint##bits##_t do_##name##bits(struct x86_cpu *cpu, uint##bits##_t v, uint##bits##_t s, uint8_t n) \
	{                                                                                          \
		uint16_t cc;                                                                       \
		__asm__(ALL_FLAGS_IN #name SFX##bits " %%cl, %[s], %[v]\n\t" FLAGS_OUT             \
			: [v] "+r"(v), [cc] "=&a"(cc)                                              \
			: "c"(n), [s] "r"(s), [in] "r"(cpu->cc)                                    \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		return v;                                                                          \
	}                                                                                          \
	OPH(name##bits##_r)                                                                        \
	{                                                                                          \
		uint8_t n = (uint8_t)((op->aux2 ? cpu->gpr[X86_RCX] : op->aux) & (bits == 64 ? 63 : 31)); \
		uint##bits##_t v = (uint##bits##_t)REG##bits(op->rm);                              \
		if (n)                                                                             \
			v = do_##name##bits(cpu, v, (uint##bits##_t)REG##bits(op->reg), n);        \
		REG##bits(op->rm) = v;                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(name##bits##_m)                                                                        \
	{                                                                                          \
		uint8_t n = (uint8_t)((op->aux2 ? cpu->gpr[X86_RCX] : op->aux) & (bits == 64 ? 63 : 31)); \
		RMW_BEGIN(bits)                                                                    \
		uint16_t was = cpu->cc, now = was;                                                 \
		if (n) {                                                                           \
			uint##bits##_t v = do_##name##bits(cpu, *p, (uint##bits##_t)REG##bits(op->reg), n); \
			now = cpu->cc;                                                             \
			cpu->cc = was;                                                             \
			*p = v;                                                                    \
		}                                                                                  \
		RMW_END(bits)                                                                      \
		cpu->cc = now;                                                                     \
		NEXT;                                                                              \
	}
DOUBLE(shld, 16) DOUBLE(shld, 32) DOUBLE(shld, 64) DOUBLE(shrd, 16) DOUBLE(shrd, 32) DOUBLE(shrd, 64)
static x86_fn *const doubles[2][3][2] = {
	{ { shld16_r, shld16_m }, { shld32_r, shld32_m }, { shld64_r, shld64_m } },
	{ { shrd16_r, shrd16_m }, { shrd32_r, shrd32_m }, { shrd64_r, shrd64_m } },
};

static bool bind_double(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;

	b->op->aux = (uint8_t)in->imm;
	b->op->aux2 = in->opcode & 1;
	b->op->fn = doubles[in->opcode >= 0xac][size_index(false, in->opsize) - 1][in->mod != 3];
	return !in->lock;
}

bool x86_bind_shift(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;
	bool bytes = !(o & 1), mem = in->mod != 3, by_cl = o >= 0xd2;
	unsigned s = size_index(bytes, in->opsize), n;

	if (in->map == 1)
		return bind_double(b);
	bind_regs(b, bytes);
	n = o >= 0xd0 ? 1 : (unsigned)in->imm & (s == 3 ? 63 : 31);
	b->op->aux = (uint8_t)n;
	b->op->aux2 = by_cl;
	if (!mem && !by_cl && n == 0)
		b->op->fn = s == 2 ? shift_none32 : shift_none;
	else
		b->op->fn = shifts[in->modrm >> 3 & 7][s][mem ? 2 : by_cl];
	return !in->lock;
}

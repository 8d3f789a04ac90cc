// SPDX-License-Identifier: Apache-2.0
// SSE with an 8-bit immediate: each goes by a function of simd_stubs.S that has the immediate in it (op->ptr).
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/simd.h"

typedef xmm_v bin_stub(xmm_v a, xmm_v b);
typedef uint64_t out_stub(xmm_v a);
typedef xmm_v in_stub(xmm_v a, uint64_t v);
typedef xmm_v mask_stub(xmm_v a, xmm_v b, uint16_t *cc, int64_t len_a, int64_t len_b);
typedef uint64_t index_stub(xmm_v a, xmm_v b, uint16_t *cc, int64_t len_a, int64_t len_b);

#define STUB(type) ((type *)(uintptr_t)op->ptr)

#define IMM(name, n)                                                                               \
	OPHX(name##_r) { X(op->reg) = STUB(bin_stub)(X(op->reg), X(op->rm)); NEXT; }               \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		xmm_v s = ldx##n(cpu, op);                                                         \
		X(op->reg) = STUB(bin_stub)(X(op->reg), s);                                        \
		NEXT;                                                                              \
	}
IMM(pshufd, 16) IMM(pshufhw, 16) IMM(pshuflw, 16) IMM(shufps, 16) IMM(shufpd, 16)
IMM(cmpps, 16) IMM(cmppd, 16) IMM(cmpss, 4) IMM(cmpsd, 8)
IMM(roundps, 16) IMM(roundpd, 16) IMM(roundss, 4) IMM(roundsd, 8)
IMM(blendps, 16) IMM(blendpd, 16) IMM(pblendw, 16) IMM(palignr, 16) IMM(dpps, 16) IMM(dppd, 16) IMM(mpsadbw, 16)
IMM(insertps, 4) // bound without the source element's number where the source is memory

#define EXTRACT(name, store)                                                                       \
	OPHX(name##_r) { R64(op->rm) = STUB(out_stub)(X(op->reg)); NEXT; }                         \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		uint64_t v = STUB(out_stub)(X(op->reg));                                           \
		store;                                                                             \
		NEXT;                                                                              \
	}
EXTRACT(pextrb, st8(cpu, op, op_ea(cpu, op), (uint8_t)v))
EXTRACT(pextrw3, st16(cpu, op, op_ea(cpu, op), (uint16_t)v))
EXTRACT(extractps, st32(cpu, op, op_ea(cpu, op), (uint32_t)v))

static void store_d_or_q(struct x86_cpu *cpu, const struct x86_op *op, uint64_t v)
{
	if (op->aux & SIMD_W)
		st64(cpu, op, op_ea(cpu, op), v);
	else
		st32(cpu, op, op_ea(cpu, op), (uint32_t)v);
}
EXTRACT(pextrd, store_d_or_q(cpu, op, v))

OPHX(pextrw_r) { R64(op->reg) = STUB(out_stub)(X(op->rm)); NEXT; }

#define INSERT(name, load)                                                                         \
	OPHX(name##_r) { X(op->reg) = STUB(in_stub)(X(op->reg), R64(op->rm)); NEXT; }              \
	OPHX(name##_m)                                                                             \
	{                                                                                          \
		uint64_t va = op_ea(cpu, op), v = load;                                            \
		X(op->reg) = STUB(in_stub)(X(op->reg), v);                                         \
		NEXT;                                                                              \
	}
INSERT(pinsrb, ld8(cpu, op, va))
INSERT(pinsrw, ld16(cpu, op, va))
INSERT(pinsrd, (op->aux & SIMD_W ? ld64(cpu, op, va) : ld32(cpu, op, va)))

// Explicit lengths are signed, 32 bits without REX.W.
static int64_t length(const struct x86_cpu *cpu, const struct x86_op *op, unsigned r)
{
	return op->aux & SIMD_W ? (int64_t)cpu->gpr[r] : (int32_t)cpu->gpr[r];
}

static void string_mask(struct x86_cpu *cpu, const struct x86_op *op, xmm_v b)
{
	uint16_t cc;

	X(0) = STUB(mask_stub)(X(op->reg), b, &cc, length(cpu, op, X86_RAX), length(cpu, op, X86_RDX));
	cpu->cc = cc;
}

static void string_index(struct x86_cpu *cpu, const struct x86_op *op, xmm_v b)
{
	uint16_t cc;

	R64(X86_RCX) = STUB(index_stub)(X(op->reg), b, &cc, length(cpu, op, X86_RAX), length(cpu, op, X86_RDX));
	cpu->cc = cc;
}

#define STRING(name, f)                                                                            \
	OPHX(name##_r) { f(cpu, op, X(op->rm)); NEXT; }                                            \
	OPHX(name##_m) { f(cpu, op, ldx_any(cpu, op)); NEXT; }
STRING(pcmpestrm, string_mask) STRING(pcmpistrm, string_mask)
STRING(pcmpestri, string_index) STRING(pcmpistri, string_index)

#define S(name) x86_stub_##name
extern const uint8_t S(pshufd)[], S(pshufhw)[], S(pshuflw)[], S(cmpps)[], S(cmppd)[], S(cmpss)[], S(cmpsd)[], S(shufps)[],
	S(shufpd)[], S(roundps)[], S(roundpd)[], S(roundss)[], S(roundsd)[], S(blendps)[], S(blendpd)[], S(pblendw)[],
	S(palignr)[], S(insertps)[], S(dpps)[], S(dppd)[], S(mpsadbw)[], S(pextrb)[], S(pextrw)[], S(pextrd)[], S(pextrq)[],
	S(extractps)[], S(pinsrb)[], S(pinsrw)[], S(pinsrd)[], S(pinsrq)[], S(pcmpestrm)[], S(pcmpestri)[], S(pcmpistrm)[],
	S(pcmpistri)[], S(mmx_pshufw)[], S(mmx_palignr)[];

struct stub {
	uint8_t map, opcode, prefix, stride;
	const uint8_t *base, *base_w; // base_w: with REX.W, if another
};

static const struct stub stubs[] = {
	{ 1, 0x70, NP, 32, S(mmx_pshufw) }, { 1, 0x70, P66, 16, S(pshufd) },
	{ 1, 0x70, PF3, 16, S(pshufhw) }, { 1, 0x70, PF2, 16, S(pshuflw) },
	{ 1, 0xc2, NP, 16, S(cmpps) }, { 1, 0xc2, P66, 16, S(cmppd) },
	{ 1, 0xc2, PF3, 16, S(cmpss) }, { 1, 0xc2, PF2, 16, S(cmpsd) },
	{ 1, 0xc4, P66, 16, S(pinsrw) }, { 1, 0xc5, P66, 16, S(pextrw) },
	{ 1, 0xc6, NP, 16, S(shufps) }, { 1, 0xc6, P66, 16, S(shufpd) },
	{ 3, 0x08, P66, 16, S(roundps) }, { 3, 0x09, P66, 16, S(roundpd) },
	{ 3, 0x0a, P66, 16, S(roundss) }, { 3, 0x0b, P66, 16, S(roundsd) },
	{ 3, 0x0c, P66, 16, S(blendps) }, { 3, 0x0d, P66, 16, S(blendpd) }, { 3, 0x0e, P66, 16, S(pblendw) },
	{ 3, 0x0f, P66, 16, S(palignr) }, { 3, 0x0f, NP, 32, S(mmx_palignr) },
	{ 3, 0x14, P66, 16, S(pextrb) }, { 3, 0x15, P66, 16, S(pextrw) },
	{ 3, 0x16, P66, 16, S(pextrd), S(pextrq) }, { 3, 0x17, P66, 16, S(extractps) },
	{ 3, 0x20, P66, 16, S(pinsrb) }, { 3, 0x21, P66, 16, S(insertps) }, { 3, 0x22, P66, 16, S(pinsrd), S(pinsrq) },
	{ 3, 0x40, P66, 16, S(dpps) }, { 3, 0x41, P66, 16, S(dppd) }, { 3, 0x42, P66, 16, S(mpsadbw) },
	{ 3, 0x60, P66, 32, S(pcmpestrm) }, { 3, 0x61, P66, 32, S(pcmpestri) },
	{ 3, 0x62, P66, 32, S(pcmpistrm) }, { 3, 0x63, P66, 32, S(pcmpistri) },
};

const void *x86_simd_stub(unsigned map, unsigned opcode, enum simd_prefix prefix, bool w, uint8_t imm)
{
	for (size_t i = 0; i < sizeof(stubs) / sizeof(stubs[0]); i++) {
		const struct stub *s = &stubs[i];

		if (s->map == map && s->opcode == opcode && s->prefix == prefix)
			return (w && s->base_w ? s->base_w : s->base) + (size_t)imm * s->stride;
	}
	return NULL; // PINSRW and PEXTRW of MMX need none
}

// SPDX-License-Identifier: Apache-2.0
// BT BTS BTR BTC, BSF BSR, POPCNT, BSWAP, SETcc, CMOVcc, CRC32, MOVBE, LAHF SAHF, flag instructions, and the conditions.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"

#define COND_O(c) ((c) & CC_OF)
#define COND_B(c) ((c) & CC_CF)
#define COND_Z(c) ((c) & CC_ZF)
#define COND_BE(c) ((c) & (CC_CF | CC_ZF))
#define COND_S(c) ((c) & CC_SF)
#define COND_P(c) ((c) & CC_PF)
#define COND_L(c) (((c) >> 15 ^ (c)) & 1)
#define COND_LE(c) (((c) & CC_ZF) || COND_L(c))

#define PER_CONDITION(X)                                                                           \
	X(o, COND_O(cpu->cc)) X(no, !COND_O(cpu->cc)) X(b, COND_B(cpu->cc)) X(ae, !COND_B(cpu->cc)) \
	X(z, COND_Z(cpu->cc)) X(nz, !COND_Z(cpu->cc)) X(be, COND_BE(cpu->cc)) X(a, !COND_BE(cpu->cc)) \
	X(s, COND_S(cpu->cc)) X(ns, !COND_S(cpu->cc)) X(p, COND_P(cpu->cc)) X(np, !COND_P(cpu->cc)) \
	X(l, COND_L(cpu->cc)) X(ge, !COND_L(cpu->cc)) X(le, COND_LE(cpu->cc)) X(g, !COND_LE(cpu->cc))
#define COND_ROW(prefix, suffix)                                                                   \
	{ prefix##o##suffix, prefix##no##suffix, prefix##b##suffix, prefix##ae##suffix, prefix##z##suffix, \
	  prefix##nz##suffix, prefix##be##suffix, prefix##a##suffix, prefix##s##suffix, prefix##ns##suffix, \
	  prefix##p##suffix, prefix##np##suffix, prefix##l##suffix, prefix##ge##suffix, prefix##le##suffix, \
	  prefix##g##suffix }

#define SETCC(name, cond)                                                                          \
	OPH(set##name##_r)                                                                         \
	{                                                                                          \
		R8(op->rm) = (cond) != 0;                                                          \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(set##name##_m)                                                                         \
	{                                                                                          \
		st8(cpu, op, op_ea(cpu, op), (cond) != 0);                                         \
		NEXT;                                                                              \
	}
PER_CONDITION(SETCC)
static x86_fn *const set_r[16] = COND_ROW(set, _r), *const set_m[16] = COND_ROW(set, _m);

#define CMOV(name, cond)                                                                           \
	OPH(cmov##name##_16r) { if (cond) R16(op->reg) = R16(op->rm); NEXT; }                      \
	OPH(cmov##name##_32r) { R64(op->reg) = (cond) ? R32(op->rm) : R32(op->reg); NEXT; }        \
	OPH(cmov##name##_64r) { if (cond) R64(op->reg) = R64(op->rm); NEXT; }                      \
	OPH(cmov##name##_16m) { uint16_t v = ld16(cpu, op, op_ea(cpu, op)); if (cond) R16(op->reg) = v; NEXT; } \
	OPH(cmov##name##_32m) { uint32_t v = ld32(cpu, op, op_ea(cpu, op)); R64(op->reg) = (cond) ? v : R32(op->reg); NEXT; } \
	OPH(cmov##name##_64m) { uint64_t v = ld64(cpu, op, op_ea(cpu, op)); if (cond) R64(op->reg) = v; NEXT; }
PER_CONDITION(CMOV)
static x86_fn *const cmov[3][2][16] = {
	{ COND_ROW(cmov, _16r), COND_ROW(cmov, _16m) },
	{ COND_ROW(cmov, _32r), COND_ROW(cmov, _32m) },
	{ COND_ROW(cmov, _64r), COND_ROW(cmov, _64m) },
};

// ---- bit tests. aux: 0 BT, 1 BTS, 2 BTR, 3 BTC; aux2: bit 0 immediate, bit 1 LOCK. Only CF is defined to change.
static inline void bit_cc(struct x86_cpu *cpu, bool cf)
{
	cpu->cc = (uint16_t)((cpu->cc & ~CC_CF) | (cf ? CC_CF : 0));
}

// Address of the operand, off bytes on: with a 32-bit address size of 64-bit mode the sum stays within that size.
enum { BIT_IMM = 1, BIT_LOCK = 2, BIT_A32 = 4 };
static inline uint64_t bit_ea(const struct x86_cpu *cpu, const struct x86_op *op, int64_t off)
{
	uint64_t a;

	if (likely(!(op->aux2 & BIT_A32)))
		return op_ea(cpu, op) + (uint64_t)off;
	a = cpu->gpr[X86_REG_EA] + (uint64_t)off;
	return (uint32_t)a + cpu->sbase[op->seg];
}

// Instructions rather than builtins: guest operands need not be aligned.
#define LOCK_BIT(insn, bits)                                                                       \
	__asm__ volatile("lock " insn SFX##bits " %[n], %[m]"                                      \
			 : "=@ccc"(was), [m] "+m"(*p)                                              \
			 : [n] "r"((uint##bits##_t)n)                                              \
			 : "memory")

#define BITOPS(bits)                                                                               \
	static inline uint##bits##_t bit_do##bits(uint##bits##_t v, unsigned n, unsigned what)     \
	{                                                                                          \
		uint##bits##_t m = (uint##bits##_t)((uint##bits##_t)1 << n);                       \
		return (uint##bits##_t)(what == 1 ? v | m : what == 2 ? v & (uint##bits##_t)~m : what == 3 ? v ^ m : v); \
	}                                                                                          \
	OPH(bit##bits##_r)                                                                         \
	{                                                                                          \
		unsigned n = (unsigned)((op->aux2 & BIT_IMM ? op->imm : R64(op->reg)) & (bits - 1));   \
		uint##bits##_t v = (uint##bits##_t)REG##bits(op->rm);                              \
		bit_cc(cpu, v >> n & 1);                                                           \
		if (op->aux)                                                                       \
			REG##bits(op->rm) = bit_do##bits(v, n, op->aux);                           \
		NEXT;                                                                              \
	}                                                                                          \
	OPH(bit##bits##_m)                                                                         \
	{                                                                                          \
		int##bits##_t at = (int##bits##_t)(op->aux2 & BIT_IMM ? (op->imm & (bits - 1)) : (uint##bits##_t)R64(op->reg)); \
		unsigned n = (unsigned)at & (bits - 1);                                            \
		uint64_t va = bit_ea(cpu, op, ((int64_t)at >> (bits == 64 ? 6 : bits == 32 ? 5 : 4)) * (bits / 8)); \
		uint##bits##_t v;                                                                  \
		u##bits##u *p;                                                                     \
		if (!op->aux) {                                                                    \
			v = ld##bits(cpu, op, va);                                                 \
		} else if ((p = rmw##bits(cpu, op, va))) {                                         \
			bool was;                                                                  \
			if (op->aux == 1)                                                          \
				LOCK_BIT("bts", bits);                                             \
			else if (op->aux == 2)                                                     \
				LOCK_BIT("btr", bits);                                             \
			else                                                                       \
				LOCK_BIT("btc", bits);                                             \
			v = (uint##bits##_t)((uint##bits##_t)was << n);                            \
		} else {                                                                           \
			if (op->aux2 & 2)                                                          \
				x86_exclusive(cpu, op);                                            \
			v = (uint##bits##_t)x86_ld_slow(cpu, op, va, bits / 8);                    \
			x86_st_slow(cpu, op, va, bits / 8, bit_do##bits(v, n, op->aux));           \
		}                                                                                  \
		bit_cc(cpu, v >> n & 1);                                                           \
		NEXT;                                                                              \
	}
BITOPS(16) BITOPS(32) BITOPS(64)
static x86_fn *const bit_fn[3][2] = { { bit16_r, bit16_m }, { bit32_r, bit32_m }, { bit64_r, bit64_m } };

// ---- scans. With a source of zero the destination keeps its value, as processors do.
#define SCAN(name, bits)                                                                           \
	static inline void do_##name##bits(struct x86_cpu *cpu, const struct x86_op *op, uint##bits##_t s) \
	{                                                                                          \
		uint##bits##_t d = (uint##bits##_t)REG##bits(op->reg);                             \
		uint16_t cc;                                                                       \
		__asm__(#name SFX##bits " %[s], %[d]\n\t" FLAGS_OUT                                \
			: [d] "+r"(d), [cc] "=&a"(cc)                                              \
			: [s] "r"(s)                                                               \
			: "cc");                                                                   \
		cpu->cc = cc;                                                                      \
		if (s)                                                                             \
			REG##bits(op->reg) = d;                                                    \
	}                                                                                          \
	OPH(name##bits##_r) { do_##name##bits(cpu, op, (uint##bits##_t)REG##bits(op->rm)); NEXT; } \
	OPH(name##bits##_m) { do_##name##bits(cpu, op, ld##bits(cpu, op, op_ea(cpu, op))); NEXT; }
SCAN(bsf, 16) SCAN(bsf, 32) SCAN(bsf, 64) SCAN(bsr, 16) SCAN(bsr, 32) SCAN(bsr, 64)
static x86_fn *const scan[2][3][2] = {
	{ { bsf16_r, bsf16_m }, { bsf32_r, bsf32_m }, { bsf64_r, bsf64_m } },
	{ { bsr16_r, bsr16_m }, { bsr32_r, bsr32_m }, { bsr64_r, bsr64_m } },
};

static uint64_t operand(struct x86_cpu *cpu, const struct x86_op *op, unsigned bytes, bool mem)
{
	uint64_t v = mem ? x86_ld_slow(cpu, op, op_ea(cpu, op), bytes) : bytes == 1 ? R8(op->rm) : R64(op->rm);

	return bytes == 8 ? v : v & ((1ull << (8 * bytes)) - 1);
}

// aux: operand bytes; aux2: memory
OPH(op_popcnt)
{
	uint64_t v = operand(cpu, op, op->aux, op->aux2);

	cpu->cc = v ? 0 : CC_ZF;
	v = (uint64_t)__builtin_popcountll(v);
	if (op->aux == 2)
		R16(op->reg) = (uint16_t)v;
	else
		R64(op->reg) = v;
	NEXT;
}

OPH(op_crc32)
{
	uint64_t v = operand(cpu, op, op->aux, op->aux2), c = R32(op->reg);

	switch (op->aux) {
	case 1: __asm__("crc32b %b1, %k0" : "+r"(c) : "q"(v)); break;
	case 2: __asm__("crc32w %w1, %k0" : "+r"(c) : "r"(v)); break;
	case 4: __asm__("crc32l %k1, %k0" : "+r"(c) : "r"(v)); break;
	default: __asm__("crc32q %1, %0" : "+r"(c) : "r"(v)); break;
	}
	R64(op->reg) = c;
	NEXT;
}

static uint64_t swap(uint64_t v, unsigned bytes)
{
	return bytes == 2 ? __builtin_bswap16((uint16_t)v) : bytes == 4 ? __builtin_bswap32((uint32_t)v) : __builtin_bswap64(v);
}

OPH(op_movbe_load)
{
	uint64_t v = swap(x86_ld_slow(cpu, op, op_ea(cpu, op), op->aux), op->aux);

	if (op->aux == 2)
		R16(op->reg) = (uint16_t)v;
	else
		R64(op->reg) = v;
	NEXT;
}

OPH(op_movbe_store)
{
	x86_st_slow(cpu, op, op_ea(cpu, op), op->aux, swap(R64(op->reg), op->aux));
	NEXT;
}

OPH(op_bswap16) { R16(op->rm) = 0; NEXT; } // undefined: what processors do
OPH(op_bswap32) { R64(op->rm) = __builtin_bswap32(R32(op->rm)); NEXT; }
OPH(op_bswap64) { R64(op->rm) = __builtin_bswap64(R64(op->rm)); NEXT; }
OPH(op_clc) { cpu->cc = (uint16_t)(cpu->cc & ~CC_CF); NEXT; }
OPH(op_stc) { cpu->cc |= CC_CF; NEXT; }
OPH(op_cmc) { cpu->cc ^= CC_CF; NEXT; }
OPH(op_cld) { cpu->rflags &= ~(uint64_t)F_DF; NEXT; }
OPH(op_std) { cpu->rflags |= F_DF; NEXT; }
OPH(op_lahf) { R8(1) = (uint8_t)(((cpu->cc >> 8) & 0xd5) | 2); NEXT; }
OPH(op_sahf) { cpu->cc = (uint16_t)((cpu->cc & CC_OF) | (R8(1) & 0xd5) << 8); NEXT; }

static bool bind_bit(struct x86_bind *b, unsigned what, bool imm)
{
	const struct x86_insn *in = b->insn;
	bool mem = in->mod != 3;

	if (in->lock && (!mem || what == 0))
		return false;
	b->op->aux = (uint8_t)what;
	b->op->aux2 = (uint8_t)((imm ? BIT_IMM : 0) | (in->lock ? BIT_LOCK : 0) |
				(in->mode == 64 && in->addrsize == 4 ? BIT_A32 : 0));
	b->op->imm = in->imm & 0xff;
	b->op->fn = bit_fn[size_index(false, in->opsize) - 1][mem];
	return true;
}

bool x86_bind_bits(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	bool mem = in->mod != 3;
	uint8_t o = in->opcode;

	if (in->map == 0) {
		switch (o) {
		case 0x9e: b->op->fn = op_sahf; return true;
		case 0x9f: b->op->fn = op_lahf; return true;
		case 0xf5: b->op->fn = op_cmc; return true;
		case 0xf8: b->op->fn = op_clc; return true;
		case 0xf9: b->op->fn = op_stc; return true;
		case 0xfc: b->op->fn = op_cld; return true;
		case 0xfd: b->op->fn = op_std; return true;
		default: return false;
		}
	}
	if (in->map == 2) { // MOVBE, CRC32
		b->op->aux = in->opsize;
		b->op->aux2 = mem;
		if (in->repne) {
			b->op->aux = o == 0xf0 ? 1 : in->opsize;
			if (o == 0xf0)
				b->op->rm = reg8_offset(in, in->rm);
			b->op->fn = op_crc32;
			return !in->lock;
		}
		b->op->fn = o == 0xf0 ? op_movbe_load : op_movbe_store;
		return mem && !in->rep && !in->lock;
	}
	if (o >= 0x40 && o <= 0x4f) {
		b->op->fn = cmov[size_index(false, in->opsize) - 1][mem][o & 15];
		return !in->lock;
	}
	if (o >= 0x90 && o <= 0x9f) {
		b->op->rm = reg8_offset(in, in->rm);
		b->op->fn = (mem ? set_m : set_r)[o & 15];
		return !in->lock;
	}
	if (o >= 0xc8 && o <= 0xcf) {
		b->op->rm = (uint8_t)((o & 7) | (in->rex & 1) << 3);
		b->op->fn = in->opsize == 8 ? op_bswap64 : in->opsize == 4 ? op_bswap32 : op_bswap16;
		return !in->lock;
	}
	switch (o) {
	case 0xa3: return bind_bit(b, 0, false);
	case 0xab: return bind_bit(b, 1, false);
	case 0xb3: return bind_bit(b, 2, false);
	case 0xbb: return bind_bit(b, 3, false);
	case 0xba: return (in->modrm >> 3 & 7) >= 4 && bind_bit(b, in->modrm >> 3 & 3, true);
	case 0xbc: case 0xbd: // F3: TZCNT and LZCNT are not offered, and so are BSF and BSR
		b->op->fn = scan[o & 1][size_index(false, in->opsize) - 1][mem];
		return !in->lock;
	case 0xb8:
		b->op->aux = in->opsize;
		b->op->aux2 = mem;
		b->op->fn = op_popcnt;
		return in->rep && !in->lock;
	default: return false;
	}
}

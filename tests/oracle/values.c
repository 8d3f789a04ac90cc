// SPDX-License-Identifier: Apache-2.0
// Operands for the oracle: random ones, and those at which something changes.
#include "tests/oracle/oracle.h"

#define PICK(r, list) ((list)[oracle_rnd(r) % (sizeof(list) / sizeof((list)[0]))])

uint64_t oracle_rnd(struct oracle_rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s * 0x2545f4914f6cdd1dull >> 1 ^ r->s << 63;
}

uint64_t oracle_integer(struct oracle_rng *r)
{
	static const uint64_t v[] = { 0,
				      1,
				      0x7f,
				      0x80,
				      0xff,
				      0x7fff,
				      0x8000,
				      0xffff,
				      0x7fffffff,
				      0x80000000,
				      0xffffffff,
				      0x7fffffffffffffff,
				      0x8000000000000000,
				      ~0ull };

	if (oracle_rnd(r) % 3 == 0)
		return PICK(r, v);
	return oracle_rnd(r) >> (oracle_rnd(r) & 63);
}

uint64_t oracle_value(struct oracle_rng *r)
{
	static const uint64_t d[] = {
		0,
		1ull << 63,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0x7ff0000000000001,
		0xfff4000000000000,
		1,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x3ff8000000000000,
		0x41dfffffffc00000,
		0xc1e0000000000000,
		0x43e0000000000000,
		0xc3e0000000000000,
		0x36a0000000000000,
		0x47efffffe0000000,
		0x3fe0000000000000,
		~0ull,
		0x7fffffffffffffff,
		0x8080808080808080,
		0x00ff00ff00ff00ff,
		0x7fff80007fff8000,
		0x6162636465666768,
	};
	static const uint32_t f[] = {
		0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffa00000,
		1,          0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x3fc00000,
		0x4f000000, 0xcf000000, 0x3f000000, 0x5f000000, 0x33000000,
	};

	switch (oracle_rnd(r) % 6) {
	case 0:
		return oracle_rnd(r);
	case 1: // a double of moderate size
		return (oracle_rnd(r) & 0x800fffffffffffff) | (0x3f0 + oracle_rnd(r) % 60) << 52;
	case 2:
		return PICK(r, d);
	case 3:
		return (uint64_t)PICK(r, f) << 32 | PICK(r, f);
	case 4:
		return oracle_integer(r);
	default:
		return (oracle_rnd(r) & 0x807fffff807fffff) | (0x70 + oracle_rnd(r) % 32) << 23 |
		       (0x70 + oracle_rnd(r) % 32) << 55;
	}
}

static void random_st(struct oracle_rng *r, uint8_t st[16])
{
	static const uint64_t mantissa[] = { 1ull << 63,        0, ~0ull,
					     3ull << 62,        1, (1ull << 63) | 1,
					     0xa000000000000000 };
	static const uint16_t exponent[] = { 0,      1,      0x3fff, 0x7ffe, 0x7fff, 0x3ffe,
					     0x4000, 0x3fc0, 0x403e, 0x3c00, 0x3f80 };
	uint64_t k = oracle_rnd(r), m = k & 1 ? PICK(r, mantissa) : oracle_rnd(r) | 1ull << 63;
	uint16_t e = k & 2    ? (uint16_t)(0x3ff0 + oracle_rnd(r) % 64)
		     : k & 60 ? PICK(r, exponent)
			      : (uint16_t)(oracle_rnd(r) & 0x7fff);

	if (k & 64)
		e |= 0x8000;
	memset(st, 0, 16);
	memcpy(st, &m, 8);
	memcpy(st + 8, &e, 2);
}

// plain: nothing is unmasked, the x87 stack is full and nothing is pending.
void oracle_random_fx(struct oracle_rng *r, struct x86_fx *fx, bool plain)
{
	uint64_t k = oracle_rnd(r);

	memset(fx, 0, sizeof(*fx));
	fx->fcw = (uint16_t)(0x7f | (k & 1 ? 0x300 : oracle_rnd(r) & 0xf00));
	fx->fsw = (uint16_t)(k & 6 ? oracle_rnd(r) & 0x4700 : oracle_rnd(r) & 0x7f00);
	fx->ftw = k & 0x38 ? 0xff : (uint8_t)oracle_rnd(r);
	fx->mxcsr = 0x1f80 | (oracle_rnd(r) & 0x3f) | (k & 0xc0 ? 0 : oracle_rnd(r) & 0xe040);
	fx->mxcsr_mask = 0xffff;
	if (plain)
		fx->ftw = 0xff;
	if (!plain && !(k & 0x700))
		fx->fcw &= (uint16_t) ~(oracle_rnd(r) & 0x3f);
	if (!plain && !(k & 0x3800))
		fx->mxcsr &= ~(uint32_t)(oracle_rnd(r) & 0x1f80);
	fx->fsw |= (uint16_t)(oracle_rnd(r) & 0x7f & (plain || k & 0x1c000 ? fx->fcw : 0x7f));
	if (fx->fsw & ~fx->fcw & 0x3f)
		fx->fsw |= 0x8080;
	else
		fx->fsw &= (uint16_t)~0x8080;
	for (unsigned i = 0; i < 8; i++)
		random_st(r, fx->st[i].b);
	for (unsigned i = 0; i < 16; i++) {
		fx->xmm[i].q[0] = oracle_value(r);
		fx->xmm[i].q[1] = oracle_value(r);
	}
}

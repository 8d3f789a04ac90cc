// SPDX-License-Identifier: Apache-2.0
// Instruction bytes to fields: prefixes, opcode, ModRM, SIB, displacement, immediates (Intel SDM vol. 2, chapter 2).
// Knows nothing of the processor's state but the code segment's size.
#include "vmm/x86/cpu.h"

#include <errno.h>

// What follows each opcode.
enum {
	M = 1,  // ModRM
	I8 = 2, // 8-bit immediate, sign-extended
	IZ = 4, // 16 or 32 bits, sign-extended
	I16 = 8,
	IV = 16, // 16, 32 or 64 bits (MOV r, imm)
	MO = 32, // memory offset of address size
	FP = 64, // far pointer
	X = 128, // no such instruction
	// In 64-bit mode no such instruction:
	N = 256,
};

static const uint16_t map0[256] = {
	/* 00 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	N,
	N,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	N,
	X,
	/* 10 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	N,
	N,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	N,
	N,
	/* 20 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	X,
	N,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	X,
	N,
	/* 30 */ M,
	M,
	M,
	M,
	I8,
	IZ,
	X,
	N,
	M,
	M,
	M,
	M,
	I8,
	IZ,
	X,
	N,
	/* 40 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	/* 50 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	/* 60 */ N,
	N,
	M | N,
	M,
	X,
	X,
	X,
	X,
	IZ,
	M | IZ,
	I8,
	M | I8,
	0,
	0,
	0,
	0,
	/* 70 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	/* 80 */ M | I8,
	M | IZ,
	M | I8 | N,
	M | I8,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 90 */ 0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	FP | N,
	0,
	0,
	0,
	0,
	0,
	/* a0 */ MO,
	MO,
	MO,
	MO,
	0,
	0,
	0,
	0,
	I8,
	IZ,
	0,
	0,
	0,
	0,
	0,
	0,
	/* b0 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	IV,
	IV,
	IV,
	IV,
	IV,
	IV,
	IV,
	IV,
	/* c0 */ M | I8,
	M | I8,
	I16,
	0,
	M | N,
	M | N,
	M | I8,
	M | IZ,
	I16 | I8,
	0,
	I16,
	0,
	0,
	I8,
	N,
	0,
	/* d0 */ M,
	M,
	M,
	M,
	I8 | N,
	I8 | N,
	N,
	0,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* e0 */ I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	I8,
	IZ,
	IZ,
	FP | N,
	I8,
	0,
	0,
	0,
	0,
	/* f0 */ X,
	0,
	X,
	X,
	0,
	0,
	M,
	M,
	0,
	0,
	0,
	0,
	0,
	0,
	M,
	M,
};

static const uint16_t map1[256] = {
	/* 00 */ M,
	M,
	M,
	M,
	X,
	0,
	0,
	0,
	0,
	0,
	X,
	0,
	X,
	M,
	X,
	X,
	/* 10 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 20 */ M,
	M,
	M,
	M,
	X,
	X,
	X,
	X,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 30 */ 0,
	0,
	0,
	0,
	0,
	0,
	X,
	X,
	X,
	X,
	X,
	X,
	X,
	X,
	X,
	X,
	/* 40 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 50 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 60 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* 70 */ M | I8,
	M | I8,
	M | I8,
	M | I8,
	M,
	M,
	M,
	0,
	X,
	X,
	X,
	X,
	M,
	M,
	M,
	M,
	/* 80 */ IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	IZ,
	/* 90 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* a0 */ 0,
	0,
	0,
	M,
	M | I8,
	M,
	X,
	X,
	0,
	0,
	0,
	M,
	M | I8,
	M,
	M,
	M,
	/* b0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M | I8,
	M,
	M,
	M,
	M,
	M,
	/* c0 */ M,
	M,
	M | I8,
	M,
	M | I8,
	M | I8,
	M | I8,
	M,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	/* d0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* e0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	/* f0 */ M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
	M,
};

struct cursor {
	const uint8_t *p;
	unsigned at, count;
};

// Little-endian, sign-extended. False: more bytes are needed.
static bool take(struct cursor *c, unsigned n, uint64_t *ret)
{
	uint64_t v = 0;

	if (c->count - c->at < n)
		return false;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)c->p[c->at + i] << (8 * i);
	c->at += n;
	*ret = n < 8 ? (uint64_t)((int64_t)(v << (64 - 8 * n)) >> (64 - 8 * n)) : v;
	return true;
}

// Legacy prefixes in any order, then REX just before the opcode. 0 with *ret_byte the opcode, or 1.
static int prefixes(struct cursor *c, struct x86_insn *in, uint8_t *ret_byte)
{
	for (;;) {
		uint8_t b;

		if (c->at >= c->count)
			return 1;
		b = c->p[c->at++];
		if (in->mode == 64 && (b & 0xf0) == 0x40) {
			in->rex = b;
			continue;
		}
		switch (b) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e: // ES, CS, SS, DS; in 64-bit mode they do not even undo FS or GS
			if (in->mode != 64)
				in->seg = 1 + (b >> 3 & 3);
			break;
		case 0x64:
			in->seg = 1 + X86_FS;
			break;
		case 0x65:
			in->seg = 1 + X86_GS;
			break;
		case 0x66:
			in->opsize16 = true;
			break;
		case 0x67:
			in->addrsize_prefix = true;
			break;
		case 0xf0:
			in->lock = true;
			break;
		case 0xf2:
			in->repne = true;
			in->rep = false;
			break;
		case 0xf3:
			in->rep = true;
			in->repne = false;
			break;
		default:
			*ret_byte = b;
			return 0;
		}
		in->rex = 0; // a REX that is not last counts for nothing
	}
}

static int modrm16(struct cursor *c, struct x86_insn *in)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
					 X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[8] = { X86_RSI,      X86_RDI,      X86_RSI,      X86_RDI,
					  X86_REG_ZERO, X86_REG_ZERO, X86_REG_ZERO, X86_REG_ZERO };
	unsigned rm = in->modrm & 7;
	uint64_t disp = 0;

	in->base = base[rm];
	in->index = index[rm];
	if (in->mod == 0 && rm == 6) {
		in->base = X86_REG_ZERO;
		if (!take(c, 2, &disp))
			return 1;
		disp &= 0xffff;
	} else if (in->mod && !take(c, in->mod == 1 ? 1 : 2, &disp)) {
		return 1;
	}
	in->disp = (int32_t)disp;
	return 0;
}

static int modrm(struct cursor *c, struct x86_insn *in)
{
	unsigned rm;
	uint64_t disp = 0;

	if (c->at >= c->count)
		return 1;
	in->modrm = c->p[c->at++];
	in->has_modrm = true;
	in->mod = in->modrm >> 6;
	in->reg = (uint8_t)((in->modrm >> 3 & 7) | (in->rex & 4) << 1);
	rm = in->modrm & 7;
	in->rm = (uint8_t)(rm | (in->rex & 1) << 3);
	// MOV to and from CR and DR: ModRM always names registers.
	if (in->map == 1 && in->opcode >= 0x20 && in->opcode <= 0x23)
		in->mod = 3;
	if (in->mod == 3)
		return 0;
	if (in->addrsize == 2)
		return modrm16(c, in);
	in->base = in->rm;
	if (rm == 4) {
		uint8_t sib;

		if (c->at >= c->count)
			return 1;
		sib = c->p[c->at++];
		in->scale = sib >> 6;
		in->index = (uint8_t)((sib >> 3 & 7) | (in->rex & 2) << 2);
		if (in->index == 4)
			in->index = X86_REG_ZERO;
		in->base = (uint8_t)((sib & 7) | (in->rex & 1) << 3);
		if ((sib & 7) == 5 && in->mod == 0) {
			in->base = X86_REG_ZERO;
			if (!take(c, 4, &disp))
				return 1;
		}
	} else if (rm == 5 && in->mod == 0) {
		in->base = in->mode == 64 ? X86_REG_BVA : X86_REG_ZERO;
		if (!take(c, 4, &disp))
			return 1;
	}
	if (in->mod && !take(c, in->mod == 1 ? 1 : 4, &disp))
		return 1;
	in->disp = (int32_t)disp;
	return 0;
}

static int immediates(struct cursor *c, struct x86_insn *in, unsigned what)
{
	uint64_t v = 0;

	if ((what & I16) && !take(c, 2, &in->imm))
		return 1;
	if (what & I16)
		in->imm &= 0xffff;
	if (what & I8) {
		if (!take(c, 1, what & I16 ? &v : &in->imm))
			return 1;
		if (what & I16)
			in->imm2 = (uint8_t)v;
	}
	if ((what & IZ) && !take(c, in->opsize == 2 ? 2 : 4, &in->imm))
		return 1;
	if ((what & IV) && !take(c, in->opsize, &in->imm))
		return 1;
	if ((what & MO) && !take(c, in->addrsize, &in->imm))
		return 1;
	if (what & MO && in->addrsize < 8)
		in->imm &= (1ull << (8 * in->addrsize)) - 1;
	if (what & FP) {
		if (!take(c, in->opsize == 2 ? 2 : 4, &in->imm) || !take(c, 2, &v))
			return 1;
		in->imm2 = (uint16_t)v;
	}
	return 0;
}

static int opcode(struct cursor *c, struct x86_insn *in, uint8_t b, unsigned *ret_what)
{
	in->opcode = b;
	if (b != 0x0f) {
		*ret_what = map0[b];
		return 0;
	}
	if (c->at >= c->count)
		return 1;
	in->opcode = c->p[c->at++];
	in->map = 1;
	*ret_what = map1[in->opcode];
	if (in->opcode != 0x38 && in->opcode != 0x3a)
		return 0;
	in->map = in->opcode == 0x38 ? 2 : 3;
	if (c->at >= c->count)
		return 1;
	in->opcode = c->p[c->at++];
	*ret_what = in->map == 2 ? M : M | I8;
	return 0;
}

static void sizes(struct x86_insn *in)
{
	if (in->mode == 64) {
		in->opsize = in->rex & 8 ? 8 : in->opsize16 ? 2 : 4;
		in->addrsize = in->addrsize_prefix ? 4 : 8;
		// Near branches, and pushes and pops, are 64-bit without REX.W; near branches ignore 66.
		if (in->map == 0 && in->opsize == 4 &&
		    ((in->opcode >= 0x50 && in->opcode <= 0x5f) || in->opcode == 0x68 ||
		     in->opcode == 0x6a || in->opcode == 0x8f || in->opcode == 0x9c ||
		     in->opcode == 0x9d || in->opcode == 0xc8 || in->opcode == 0xc9))
			in->opsize = 8;
		if (in->map == 0 &&
		    ((in->opcode >= 0x70 && in->opcode <= 0x7f) || in->opcode == 0xc2 ||
		     in->opcode == 0xc3 || (in->opcode >= 0xe0 && in->opcode <= 0xe3) ||
		     in->opcode == 0xe8 || in->opcode == 0xe9 || in->opcode == 0xeb))
			in->opsize = 8;
		if (in->map == 1 && in->opcode >= 0x80 && in->opcode <= 0x8f)
			in->opsize = 8;
		if (in->map == 1 && (in->opcode & 0xf6) == 0xa0 && in->opsize == 4)
			in->opsize = 8; // PUSH and POP of FS, GS
	} else {
		bool big = in->mode == 32;

		in->opsize = big != in->opsize16 ? 4 : 2;
		in->addrsize = big != in->addrsize_prefix ? 4 : 2;
	}
}

int x86_decode(const uint8_t *bytes, unsigned count, unsigned mode, struct x86_insn *ret)
{
	struct x86_insn in = { .mode = (uint8_t)mode, .base = X86_REG_ZERO, .index = X86_REG_ZERO };
	struct cursor c = { .p = bytes, .count = count > 15 ? 15 : count };
	int more = count >= 15 ? -1 : 1; // what running out of bytes means
	unsigned what;
	uint8_t b;

	if (prefixes(&c, &in, &b) || opcode(&c, &in, b, &what))
		return more;
	if ((what & X) || ((what & N) && mode == 64))
		return -1;
	sizes(&in);
	in.pfx = in.repne ? 0xf2 : in.rep ? 0xf3 : in.opsize16 ? 0x66 : 0;
	if ((what & M) && modrm(&c, &in))
		return more;
	if (in.map == 0 && (in.opcode & 0xfe) == 0xf6 && (in.modrm >> 3 & 7) < 2)
		what |= in.opcode == 0xf6 ? I8 : IZ;
	if (in.map == 0 && in.opcode == 0xff && mode == 64) {
		unsigned r = in.modrm >> 3 & 7;

		if (r == 2 || r == 4 || (r == 6 && in.opsize == 4))
			in.opsize = 8;
	}
	if (immediates(&c, &in, what))
		return more;
	in.len = (uint8_t)c.at;
	memcpy(in.bytes, bytes, c.at);
	*ret = in;
	return 0;
}

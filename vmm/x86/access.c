// SPDX-License-Identifier: Apache-2.0
// Segments as they are checked outside 64-bit mode (Intel SDM vol. 3, 5.3 to 5.5), and what each instruction does to its
// memory operand: the check needs the size and the direction before the handler runs.
#include "vmm/x86/cpu.h"

void x86_seg_check(struct x86_cpu *cpu, const struct x86_op *op, unsigned seg, uint64_t off,
		   unsigned size, bool write)
{
	const struct x86_seg *s = &cpu->seg[seg];
	unsigned type = s->attributes & 15;
	bool code = type & 8, ok = true;
	uint64_t last = off + size - 1;

	if (cpu->cr0 & CR0_PE) {
		ok = (s->attributes & 0x80) && (s->attributes & 0x10);
		if (write)
			ok = ok && !code && (type & 2);
		else if (code)
			ok = ok && (type & 2);
	}
	if (!code && (type & 4)) // expands downwards: what is above the limit
		ok = ok && off > s->limit &&
		     last <= (s->attributes >> 14 & 1 ? 0xffffffff : 0xffff);
	else
		ok = ok && last <= s->limit;
	if (!ok)
		x86_raise(cpu, op, seg == X86_SS ? EXC_SS : EXC_GP, 0);
}

// ---- per opcode
enum {
	NONE = 0,  // an address only, or no memory operand
	B = 1,     // bytes as they stand, up to 31
	V = 32,    // operand size
	FAR = 33,  // operand size and a selector
	PAIR = 34, // two of operand size
	GRP = 35,  // by ModRM.reg: below
	SIMD = 36,
	X87 = 37,
	W = 64, // written
};

static uint8_t map0_access(const struct x86_insn *in)
{
	uint8_t o = in->opcode, sub = in->modrm >> 3 & 7, size = o & 1 ? V : B;

	switch (o) {
	case 0x00 ... 0x37:
		return size | ((o & 7) < 2 ? W : 0);
	case 0x38 ... 0x3b:
	case 0x84 ... 0x85:
	case 0x8a ... 0x8b:
	case 0xa0 ... 0xa1:
		return size;
	case 0x62:
		return PAIR;
	case 0x63:
		return 2 | W;
	case 0x69:
	case 0x6b:
		return V;
	case 0x80 ... 0x83:
		return size | (sub == 7 ? 0 : W);
	case 0x86 ... 0x89:
	case 0xa2 ... 0xa3:
	case 0xc0 ... 0xc1:
	case 0xc6 ... 0xc7:
	case 0xd0 ... 0xd3:
		return size | W;
	case 0x8c:
		return 2 | W;
	case 0x8e:
		return 2;
	case 0x8f:
		return V | W;
	case 0xc4 ... 0xc5:
		return FAR;
	case 0xd8 ... 0xdf:
		return X87;
	case 0xf6 ... 0xf7:
		return size | (sub == 2 || sub == 3 ? W : 0);
	case 0xfe:
		return B | W;
	case 0xff:
		return sub < 2 ? V | W : sub == 3 || sub == 5 ? FAR : V;
	default:
		return NONE;
	}
}

static uint8_t map1_access(const struct x86_insn *in)
{
	uint8_t o = in->opcode, sub = in->modrm >> 3 & 7, size = o & 1 ? V : B;

	switch (o) {
	case 0x00:
		return sub < 2 ? 2 | W : 2;
	case 0x01:
		return sub < 2 ? 6 | W : sub < 4 ? 6 : sub == 4 ? 2 | W : sub == 6 ? 2 : NONE;
	case 0x02 ... 0x03:
		return 2;
	case 0x10 ... 0x17:
	case 0x28 ... 0x2f:
	case 0x50 ... 0x7f:
	case 0xc2:
	case 0xc4 ... 0xc6:
	case 0xd0 ... 0xfe:
		return SIMD;
	case 0x40 ... 0x4f:
	case 0xa3:
	case 0xaf:
	case 0xb8:
	case 0xbc ... 0xbd:
		return V;
	case 0x90 ... 0x9f:
		return B | W;
	case 0xa4 ... 0xa5:
	case 0xab ... 0xad:
	case 0xb3:
	case 0xbb:
	case 0xc3:
		return V | W;
	case 0xae:
		return GRP;
	case 0xb0 ... 0xb1:
	case 0xc0 ... 0xc1:
		return size | W;
	case 0xb2:
	case 0xb4 ... 0xb5:
		return FAR;
	case 0xb6:
	case 0xbe:
		return B;
	case 0xb7:
	case 0xbf:
		return 2;
	case 0xba:
		return sub == 4 ? V : V | W;
	case 0xc7:
		return 8 | W;
	default:
		return NONE;
	}
}

// Bytes of x87 memory operands by opcode and ModRM.reg; negative: written. 0: the environment or the whole state.
static const int8_t x87_bytes[8][8] = {
	{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, 4, -4, -4, 0, 2, 0, -2 },
	{ 4, 4, 4, 4, 4, 4, 4, 4 }, { 4, -4, -4, -4, 4, 10, 4, -10 },
	{ 8, 8, 8, 8, 8, 8, 8, 8 }, { 8, -8, -8, -8, 0, 2, 0, -2 },
	{ 2, 2, 2, 2, 2, 2, 2, 2 }, { 2, -2, -2, -2, 10, 8, -10, -8 },
};

static unsigned x87_access(const struct x86_insn *in, bool *write)
{
	unsigned sub = in->modrm >> 3 & 7;
	int n = x87_bytes[in->opcode & 7][sub];

	*write = n < 0 || (n == 0 && sub == 6);
	if (n)
		return (unsigned)(n < 0 ? -n : n);
	return (in->opsize == 2 ? 14 : 28) + (in->opcode == 0xdd ? 80 : 0);
}

static unsigned simd_access(const struct x86_insn *in, bool *write)
{
	uint8_t o = in->opcode;
	bool mmx = !in->pfx && ((o >= 0x60 && o <= 0x7f) || o >= 0xd0);

	if (in->map == 3 && o >= 0x14 && o <= 0x17) { // PEXTRB, PEXTRW, PEXTRD, EXTRACTPS
		*write = true;
		return o == 0x14 ? 1 : o == 0x15 ? 2 : 4;
	}
	*write = in->map == 1 &&
		 (o == 0x11 || o == 0x13 || o == 0x17 || o == 0x29 || o == 0x2b ||
		  (o == 0x7e && in->pfx != 0xf3) || o == 0x7f || o == 0xd6 || o == 0xe7);
	if (in->map == 1 && (o == 0x6e || (o == 0x7e && in->pfx != 0xf3)))
		return 4;
	if (in->map == 1 &&
	    (o == 0x12 || o == 0x13 || o == 0x16 || o == 0x17 || o == 0x7e || o == 0xd6))
		return 8;
	if (in->map == 1 && o == 0xc4)
		return 2;
	if (in->pfx == 0xf3 && o != 0x6f && o != 0x7f && o != 0xe6)
		return 4;
	if (mmx || (in->pfx == 0xf2 && o != 0xf0) || (in->pfx == 0xf3 && o == 0xe6))
		return 8;
	return 16;
}

unsigned x86_insn_access(const struct x86_insn *in, bool *ret_write)
{
	unsigned what, sub = in->modrm >> 3 & 7;

	*ret_write = false;
	if (in->map == 2 && (in->opcode & 0xfe) == 0xf0) { // MOVBE, CRC32
		*ret_write = in->opcode == 0xf1 && !in->repne;
		return in->repne && in->opcode == 0xf0 ? 1 : in->opsize;
	}
	if (in->map >= 2)
		return simd_access(in, ret_write);
	what = in->map ? map1_access(in) : map0_access(in);
	*ret_write = what & W;
	switch (what & ~(unsigned)W) {
	case V:
		return in->opsize;
	case FAR:
		return in->opsize + 2u;
	case PAIR:
		return in->opsize * 2u;
	case SIMD:
		return simd_access(in, ret_write);
	case X87:
		return x87_access(in, ret_write);
	case GRP: // 0F AE
		*ret_write = sub == 0 || sub == 3;
		return sub < 2 ? 288 : sub < 4 ? 4 : 1;
	default:
		return what & ~(unsigned)W;
	}
}

// SPDX-License-Identifier: Apache-2.0
// The translator's SSE instructions: all of them are the host's, on registers of the same number.
#include "vmm/x86/native.h"
#include "vmm/x86/simd.h"

enum {
	REG_GPR = 1, // ModRM.reg is a general register
	RM_GPR = 2,  // ModRM.rm is, where a register
	STORE = 4,   // ModRM.rm is written, not ModRM.reg
	KEEPS = 8,   // writes no register of its own (compares)
	FRESH = 16,  // the old value of the destination is not read
	FLAGS = 32,
	ALIGNED = 64, // memory of 16 bytes has to be
	GROUP = 128,  // ModRM.reg belongs to the opcode, ModRM.rm is written
	XMM0 = 256,   // reads XMM0 besides
	NONE = 512,   // no translation
};

struct shape {
	unsigned how, bytes; // of memory
};

static struct shape arithmetic(const struct x86_insn *in)
{
	unsigned o = in->opcode;

	if (in->pfx == 0xf3)
		return (struct shape){ o == 0x5b ? ALIGNED : 0, o == 0x5b ? 16 : 4 };
	if (in->pfx == 0xf2)
		return (struct shape){ 0, 8 };
	if (o == 0x5a && !in->pfx)
		return (struct shape){ 0, 8 }; // CVTPS2PD
	return (struct shape){ ALIGNED, 16 };
}

static struct shape moves(const struct x86_insn *in)
{
	unsigned o = in->opcode, store = o & 1 ? STORE : 0;
	bool mem = in->mod != 3;

	switch (o) {
	case 0x10:
	case 0x11:
		if (in->pfx == 0xf3 || in->pfx == 0xf2)
			return (struct shape){ store | (mem && !store ? FRESH : 0),
					       in->pfx == 0xf3 ? 4 : 8 };
		return (struct shape){ store | FRESH, 16 };
	case 0x12:
	case 0x16:
		if (in->pfx == 0xf3)
			return (struct shape){ ALIGNED | FRESH, 16 };
		return (struct shape){ in->pfx == 0xf2 ? FRESH : 0, 8 };
	case 0x13:
	case 0x17:
		return (struct shape){ STORE, 8 };
	case 0x28:
	case 0x29:
		return (struct shape){ ALIGNED | FRESH | store, 16 };
	case 0x2a:
		return (struct shape){ RM_GPR, in->rex & 8 ? 8 : 4 };
	case 0x2b:
		return (struct shape){ STORE | ALIGNED, 16 };
	case 0x2c:
	case 0x2d:
		return (struct shape){ REG_GPR, in->pfx == 0xf3 ? 4 : 8 };
	default: // 2E, 2F
		return (struct shape){ KEEPS | FLAGS, in->pfx ? 8 : 4 };
	}
}

static struct shape map1_shape(const struct x86_insn *in)
{
	unsigned o = in->opcode;

	switch (o) {
	case 0x10 ... 0x13:
	case 0x16 ... 0x17:
	case 0x28 ... 0x2f:
		return moves(in);
	case 0x50:
	case 0xd7:
		return (struct shape){ REG_GPR, 0 };
	case 0x51 ... 0x5f:
	case 0xc2:
		return arithmetic(in);
	case 0x6e:
		return (struct shape){ RM_GPR | FRESH, in->rex & 8 ? 8 : 4 };
	case 0x7e:
		if (in->pfx == 0xf3)
			return (struct shape){ FRESH, 8 };
		return (struct shape){ RM_GPR | STORE, in->rex & 8 ? 8 : 4 };
	case 0x6f:
	case 0x7f:
		return (struct shape){
			(in->pfx == 0xf3 ? 0 : ALIGNED) | FRESH | (o == 0x7f ? STORE : 0), 16
		};
	case 0x71 ... 0x73:
		return (struct shape){ GROUP, 0 };
	case 0xc4:
		return (struct shape){ RM_GPR, 2 };
	case 0xc5:
		return (struct shape){ REG_GPR, 0 };
	case 0xd6:
		return (struct shape){ STORE, 8 };
	case 0xe6:
		return (struct shape){ in->pfx == 0xf3 ? 0 : ALIGNED, in->pfx == 0xf3 ? 8 : 16 };
	case 0xe7:
		return (struct shape){ STORE | ALIGNED, 16 };
	case 0xf0:
		return (struct shape){ FRESH, 16 };
	case 0xf7:
		return (struct shape){ NONE, 0 }; // MASKMOVDQU
	default:
		return (struct shape){ ALIGNED, 16 };
	}
}

static struct shape map2_shape(const struct x86_insn *in)
{
	static const uint8_t extend[6] = { 8, 4, 2, 8, 4, 8 };
	unsigned o = in->opcode;

	if (o >= 0xf0)
		return (struct shape){ NONE, 0 };
	if ((o >= 0x20 && o <= 0x25) || (o >= 0x30 && o <= 0x35))
		return (struct shape){ FRESH, extend[o & 7] };
	if (o == 0x10 || o == 0x14 || o == 0x15)
		return (struct shape){ ALIGNED | XMM0, 16 };
	if (o == 0x17)
		return (struct shape){ ALIGNED | KEEPS | FLAGS, 16 };
	return (struct shape){ ALIGNED, 16 };
}

static struct shape map3_shape(const struct x86_insn *in)
{
	unsigned wide = in->rex & 8 ? 8 : 4;

	switch (in->opcode) {
	case 0x0a:
		return (struct shape){ 0, 4 };
	case 0x0b:
		return (struct shape){ 0, 8 };
	case 0x14:
		return (struct shape){ RM_GPR | STORE, 1 };
	case 0x15:
		return (struct shape){ RM_GPR | STORE, 2 };
	case 0x16:
		return (struct shape){ RM_GPR | STORE, wide };
	case 0x17:
		return (struct shape){ RM_GPR | STORE, 4 };
	case 0x20:
		return (struct shape){ RM_GPR, 1 };
	case 0x21:
		return (struct shape){ 0, 4 };
	case 0x22:
		return (struct shape){ RM_GPR, wide };
	case 0x60 ... 0x63:
		return (struct shape){ NONE, 0 };
	default:
		return (struct shape){ ALIGNED, 16 };
	}
}

static enum simd_prefix prefix_of(const struct x86_insn *in)
{
	return in->pfx == 0xf2 ? PF2 : in->pfx == 0xf3 ? PF3 : in->pfx == 0x66 ? P66 : NP;
}

static bool shape_of(const struct x86_insn *in, struct shape *s)
{
	const struct simd_row *row;

	if (in->lock || in->map == 0)
		return false;
	if (in->map == 1 && in->opcode >= 0x71 && in->opcode <= 0x73) {
		*s = map1_shape(in);
		return in->pfx == 0x66 && in->mod == 3 &&
		       x86_simd_shift(in->opcode, in->modrm >> 3 & 7, false);
	}
	row = x86_simd_row(in->map, in->opcode, prefix_of(in));
	if (!row || (row->flags & (S_MMX | S_MMXREG | S_MMXRM | S_NOMODRM)) ||
	    (in->mod == 3 ? row->r : row->m) == x86_simd_none)
		return false;
	*s = in->map == 1 ? map1_shape(in) : in->map == 2 ? map2_shape(in) : map3_shape(in);
	if (in->mod != 3 && !s->bytes)
		return false;
	return !(s->how & NONE);
}

// XORPS, XORPD, PXOR of a register with itself: its old value does not matter.
static bool clears(const struct x86_insn *in)
{
	return in->map == 1 && (in->opcode == 0x57 || in->opcode == 0xef) && in->mod == 3 &&
	       in->reg == in->rm;
}

static unsigned opcode_of(const struct x86_insn *in)
{
	static const unsigned map[4] = { 0, 0x0f00, 0x0f3800, 0x0f3a00 };

	return map[in->map] | in->opcode;
}

static void dirty(struct native_run *n, bool gpr, unsigned r)
{
	if (gpr)
		n->gdirty |= (uint16_t)(1u << r);
	else
		n->xdirty |= (uint16_t)(1u << r);
}

static unsigned operand(struct native_run *n, bool gpr, unsigned r, bool read)
{
	if (gpr)
		return native_gpr(n, r, read);
	native_xmm(n, r, read);
	return r;
}

bool native_simd(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	bool mem = in->mod != 3, w = in->rex & 8, imm;
	unsigned reg = in->modrm >> 3 & 7, rm = RDX;
	bool store, fresh;
	struct shape s;

	if ((n->b->mode & (MODE_NOFPU | MODE_FPX | MODE_NOSSE)) || !shape_of(in, &s))
		return false;
	store = s.how & STORE;
	fresh = (s.how & FRESH) && (mem || in->reg != in->rm || (s.how & (REG_GPR | RM_GPR)));
	fresh |= clears(in);
	if (mem)
		native_memory(n, op, s.bytes, store, s.how & ALIGNED);
	else
		rm = operand(n, s.how & RM_GPR, in->rm, !(store && fresh));
	if (!(s.how & GROUP))
		reg = operand(n, s.how & REG_GPR, in->reg, store || !fresh);
	if (s.how & XMM0)
		native_xmm(n, 0, true);
	if (mem)
		emit_rm(n, in->pfx, w, s.bytes == 1, opcode_of(in), reg, rm, 0);
	else
		emit_rr(n, in->pfx, w, false, opcode_of(in), reg, rm);
	imm = in->map == 3 || (s.how & GROUP) || in->opcode == 0x70 || in->opcode == 0xc2 ||
	      (in->opcode >= 0xc4 && in->opcode <= 0xc6);
	if (imm && in->map != 2)
		emit1(n, in->bytes[in->len - 1]);
	if (store || (s.how & GROUP)) {
		if (!mem)
			dirty(n, s.how & RM_GPR, in->rm);
	} else if (!(s.how & KEEPS)) {
		dirty(n, s.how & REG_GPR, in->reg);
	}
	if (s.how & FLAGS)
		native_flags_set(n);
	return true;
}

// SPDX-License-Identifier: Apache-2.0
// The translator's integer instructions.
#include "vmm/x86/native.h"

// How an instruction uses its operands.
enum {
	RD_REG = 1,
	WR_REG = 2,
	RD_RM = 4,
	WR_RM = 8,
	FL_NEW = 16,      // writes all flags
	FL_OLD = 32,      // writes some, or none for some operands
	FL_READ = 64,     // reads flags
	BYTES = 128,      // of bytes if bit 0 of the opcode is clear
	IMM8 = 256,       // has an immediate byte
	IMMZ = 512,       // or one of the operand size
	COUNT_CL = 1024,  // count in CL
	RM_BYTE = 2048,   // ModRM.rm is a byte, whatever the rest
	REG_ONLY = 4096,  // no translation of the memory form
	HINT = 8192,      // does nothing
	NOT_WORD = 16384, // no translation of the 16-bit form
};

struct form {
	unsigned opcode, reg, rm, how, size; // size of the operands in bytes
	unsigned pfx;
	bool sub; // ModRM.reg belongs to the opcode
	bool mem;
};

static unsigned alu_flags(unsigned which)
{
	return which == 2 || which == 3 ? FL_OLD | FL_READ : FL_NEW; // ADC and SBB
}

static unsigned shift_how(const struct x86_insn *in, unsigned mask, unsigned count)
{
	unsigned sub = in->modrm >> 3 & 7;

	if ((count & mask) == 0)
		return 0; // changes no flag
	return BYTES | RD_RM | WR_RM | (sub >= 4 ? FL_NEW : FL_OLD);
}

static unsigned group_f6(const struct x86_insn *in)
{
	switch (in->modrm >> 3 & 7) {
	case 0:
		return BYTES | RD_RM | FL_NEW | IMMZ;
	case 2:
		return BYTES | RD_RM | WR_RM;
	case 3:
		return BYTES | RD_RM | WR_RM | FL_NEW;
	default:
		return 0;
	}
}

static unsigned map0_how(const struct x86_insn *in)
{
	unsigned o = in->opcode, sub = in->modrm >> 3 & 7;
	unsigned mask = in->opsize == 8 && (o & 1) ? 63 : 31;

	switch (o) {
	case 0x00 ... 0x3f:
		if ((o & 7) >= 4)
			return 0;
		return BYTES | RD_REG | RD_RM | alu_flags(o >> 3) |
		       (o >> 3 == 7 ? 0
			: o & 2     ? WR_REG
				    : WR_RM);
	case 0x63:
		return in->opsize == 8 ? WR_REG | RD_RM : 0;
	case 0x69:
		return WR_REG | RD_RM | FL_NEW | IMMZ;
	case 0x6b:
		return WR_REG | RD_RM | FL_NEW | IMM8;
	case 0x80:
	case 0x81:
		return BYTES | RD_RM | (sub == 7 ? 0 : WR_RM) | alu_flags(sub) | IMMZ;
	case 0x83:
		return RD_RM | (sub == 7 ? 0 : WR_RM) | alu_flags(sub) | IMM8;
	case 0x84:
	case 0x85:
		return BYTES | RD_REG | RD_RM | FL_NEW;
	case 0x86:
	case 0x87:
		return BYTES | RD_REG | RD_RM | WR_REG | WR_RM | REG_ONLY; // with memory: locked
	case 0x88:
	case 0x89:
		return BYTES | RD_REG | WR_RM;
	case 0x8a:
	case 0x8b:
		return BYTES | WR_REG | RD_RM;
	case 0xc0:
	case 0xc1:
		return shift_how(in, mask, (unsigned)in->imm) ? shift_how(in, mask, 1) | IMM8 : 0;
	case 0xd0:
	case 0xd1:
		return shift_how(in, mask, 1);
	case 0xd2:
	case 0xd3:
		return BYTES | RD_RM | WR_RM | FL_OLD | FL_READ | COUNT_CL;
	case 0xc6:
	case 0xc7:
		return sub == 0 ? BYTES | WR_RM | IMMZ : 0;
	case 0xf6:
	case 0xf7:
		return group_f6(in);
	case 0xfe:
	case 0xff:
		return sub < 2 ? BYTES | RD_RM | WR_RM | FL_OLD : 0;
	default:
		return 0;
	}
}

static unsigned map1_how(const struct x86_insn *in)
{
	unsigned o = in->opcode, sub = in->modrm >> 3 & 7, mask = in->opsize == 8 ? 63 : 31;

	switch (o) {
	case 0x0d:
	case 0x18 ... 0x1f:
		return HINT;
	case 0x40 ... 0x4f:
		return RD_REG | WR_REG | RD_RM | FL_READ;
	case 0x90 ... 0x9f:
		return BYTES | RM_BYTE | WR_RM | FL_READ;
	case 0xa3:
		return RD_REG | RD_RM | FL_OLD | REG_ONLY;
	case 0xab:
	case 0xb3:
	case 0xbb:
		return RD_REG | RD_RM | WR_RM | FL_OLD | REG_ONLY;
	case 0xba:
		if (sub < 4)
			return 0;
		return RD_RM | (sub == 4 ? 0 : WR_RM) | FL_OLD | IMM8 | REG_ONLY;
	case 0xa4:
	case 0xac:
		return in->imm & mask ? RD_REG | RD_RM | WR_RM | FL_NEW | IMM8 | NOT_WORD : 0;
	case 0xa5:
	case 0xad:
		return RD_REG | RD_RM | WR_RM | FL_OLD | COUNT_CL | NOT_WORD;
	case 0xaf:
		return RD_REG | WR_REG | RD_RM | FL_NEW;
	case 0xb6:
	case 0xbe:
		return WR_REG | RD_RM | RM_BYTE;
	case 0xb7:
	case 0xbf:
		return WR_REG | RD_RM;
	case 0xb8:
		return in->rep ? WR_REG | RD_RM | FL_NEW : 0;
	case 0xbc:
	case 0xbd:
		return RD_REG | WR_REG | RD_RM | FL_OLD;
	case 0xc3:
		return RD_REG | WR_RM;
	default:
		return 0;
	}
}

static bool is_group(const struct x86_insn *in)
{
	unsigned o = in->opcode;

	if (in->map)
		return o == 0xba || (o & 0xf0) == 0x90;
	return (o >= 0x80 && o <= 0x83) || (o >= 0xc0 && o <= 0xc7) || (o >= 0xd0 && o <= 0xd3) ||
	       o >= 0xf6;
}

// What is asked of the translation of a form that has one. False: it has none after all.
static bool form_of(const struct x86_insn *in, struct form *f)
{
	bool bytes;

	if (in->lock || (in->rep && !(in->map == 1 && in->opcode == 0xb8)) || in->repne)
		return in->map == 1 && !in->lock && in->opcode >= 0x18 && in->opcode <= 0x1f &&
		       (f->how = HINT);
	f->how = in->map == 0 ? map0_how(in) : in->map == 1 ? map1_how(in) : 0;
	if (!f->how)
		return false;
	bytes = (f->how & BYTES) && (!(in->opcode & 1) || (f->how & RM_BYTE));
	f->opcode = (in->map ? 0x0f00u : 0) | in->opcode;
	f->sub = is_group(in);
	f->reg = f->sub ? in->modrm >> 3 & 7 : in->reg;
	f->rm = in->rm;
	f->mem = in->mod != 3;
	f->size = bytes ? 1 : in->opsize;
	f->pfx = in->rep ? 0xf3 : 0;
	if (((f->how & REG_ONLY) && f->mem) || ((f->how & NOT_WORD) && f->size == 2))
		return false;
	// AH, CH, DH, BH cannot be named beside R8-R15.
	if (!in->rex && ((bytes && !f->sub && f->reg >= 4 && f->reg < 8) ||
			 ((bytes || (f->how & RM_BYTE)) && !f->mem && f->rm >= 4 && f->rm < 8)))
		return false;
	return f->size != 2 || !f->pfx; // POPCNT of words: two prefixes
}

static void emit_form(struct native_run *n, const struct form *f, unsigned reg, unsigned rm)
{
	unsigned pfx = f->size == 2 ? 0x66 : f->pfx;
	bool byte = f->size == 1 || (f->how & RM_BYTE);

	if (f->mem)
		emit_rm(n, pfx, f->size == 8, byte, f->opcode, reg, RDX, 0);
	else
		emit_rr(n, pfx, f->size == 8, byte, f->opcode, reg, rm);
}

static void note_written(struct native_run *n, const struct form *f)
{
	if (f->how & WR_REG)
		n->gdirty |= (uint16_t)(1u << f->reg);
	if ((f->how & WR_RM) && !f->mem)
		n->gdirty |= (uint16_t)(1u << f->rm);
	if (f->how & (FL_NEW | FL_OLD))
		native_flags_set(n);
}

static void translate_form(struct native_run *n, const struct x86_insn *in, const struct x86_op *op,
			   const struct form *f)
{
	unsigned reg = f->reg, rm = 0, imm, size;
	bool partial = f->size < 4, write;

	if (f->mem) {
		size = x86_insn_access(in, &write);
		if (!in->map && in->opcode == 0x63) { // MOVSXD, which that function takes for ARPL
			size = 4;
			write = false;
		}
		native_memory(n, op, size, write, false);
	} else {
		if (!f->sub && f->rm == f->reg)
			partial = true; // read as one, though not as the other
		rm = native_gpr(n, f->rm, (f->how & RD_RM) || partial);
	}
	if (!f->sub)
		reg = native_gpr(n, f->reg, (f->how & RD_REG) || partial);
	if (f->how & COUNT_CL)
		emit_rr(n, 0, false, false, 0x89, native_gpr(n, X86_RCX, true), RCX);
	if (f->how & (FL_OLD | FL_READ))
		native_flags_to_host(n);
	emit_form(n, f, reg, rm);
	imm = f->how & IMM8 ? 1 : !(f->how & IMMZ) ? 0 : f->size > 4 ? 4 : f->size;
	memcpy(n->p, in->bytes + in->len - imm, imm);
	n->p += imm;
	note_written(n, f);
}

// ---- those with registers of their own

static void mov(struct native_run *n, bool w, unsigned to, unsigned from)
{
	emit_rr(n, 0, w, false, 0x89, from, to);
}

static void dirty(struct native_run *n, unsigned g)
{
	n->gdirty |= (uint16_t)(1u << g);
}

static bool mov_imm(struct native_run *n, unsigned g, unsigned size, uint64_t v)
{
	unsigned h = native_gpr(n, g, size < 4);

	if (size >= 4) {
		if (size == 8 && (int64_t)v < 0 && (int64_t)v == (int32_t)v) {
			emit_rr(n, 0, true, false, 0xc7, 0, h);
			emit4(n, (uint32_t)v);
		} else {
			native_load(n, h, size == 4 ? (uint32_t)v : v);
		}
	} else if (size == 2) {
		emit_rr(n, 0x66, false, false, 0xc7, 0, h);
		emit1(n, v & 0xff);
		emit1(n, v >> 8 & 0xff);
	} else {
		emit_rr(n, 0, false, true, 0xc6, 0, h);
		emit1(n, v & 0xff);
	}
	dirty(n, g);
	return true;
}

// ADD to CMP and TEST with the accumulator and an immediate.
static bool accumulator(struct native_run *n, const struct x86_insn *in)
{
	unsigned which = in->opcode >> 3, size = in->opcode & 1 ? in->opsize : 1;
	bool test = in->opcode >= 0xa8;
	unsigned opcode = (test ? 0xf6u : 0x80u) | (in->opcode & 1), imm = size > 4 ? 4 : size;
	unsigned h = native_gpr(n, X86_RAX, true);

	if (!test && (alu_flags(which) & FL_OLD))
		native_flags_to_host(n);
	emit_rr(n, size == 2 ? 0x66 : 0, size == 8, size == 1, opcode, test ? 0 : which, h);
	memcpy(n->p, in->bytes + in->len - imm, imm);
	n->p += imm;
	if (!test && which != 7)
		dirty(n, X86_RAX);
	native_flags_set(n);
	return true;
}

static bool convert(struct native_run *n, const struct x86_insn *in)
{
	unsigned a, d;

	if (in->opcode == 0x99 && in->opsize == 2)
		return false;
	a = native_gpr(n, X86_RAX, true);
	if (in->opcode == 0x98) {
		if (in->opsize == 8)
			emit_rr(n, 0, true, false, 0x63, a, a);
		else
			emit_rr(n, in->opsize == 2 ? 0x66 : 0, false, in->opsize == 2,
				in->opsize == 2 ? 0x0fbe : 0x0fbf, a, a);
		dirty(n, X86_RAX);
		return true;
	}
	d = native_gpr(n, X86_RDX, false);
	mov(n, true, RAX, a);
	emit_opcode(n, 0, in->opsize == 8, false, 0x99, 0, 0, 0);
	mov(n, in->opsize == 8, d, RDX);
	dirty(n, X86_RDX);
	return true;
}

// MUL and IMUL into RDX:RAX.
static bool multiply(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	bool w = in->opsize == 8;
	unsigned src = RCX, a, d;

	if (in->opsize == 2)
		return false;
	if (in->mod != 3) {
		native_memory(n, op, in->opsize, false, false);
		emit_rm(n, 0, w, false, 0x8b, RCX, RDX, 0);
	} else {
		src = native_gpr(n, in->rm, true);
	}
	a = native_gpr(n, X86_RAX, true);
	d = native_gpr(n, X86_RDX, true);
	mov(n, true, RAX, a);
	emit_rr(n, 0, w, false, 0xf7, in->modrm >> 3 & 7, src);
	mov(n, w, a, RAX);
	mov(n, w, d, RDX);
	dirty(n, X86_RAX);
	dirty(n, X86_RDX);
	native_flags_set(n);
	return true;
}

static void add_sp(struct native_run *n, int by)
{
	unsigned sp = native_gpr(n, X86_RSP, true);

	emit_rm(n, 0, true, false, 0x8d, sp, sp, by);
	dirty(n, X86_RSP);
}

static bool push(struct native_run *n, const struct x86_op *op, unsigned g)
{
	unsigned h = native_gpr(n, g, true);

	native_stack(n, op, X86_RSP, -8, true);
	emit_rm(n, 0, true, false, 0x89, h, RDX, 0);
	add_sp(n, -8);
	return true;
}

static bool push_imm(struct native_run *n, const struct x86_op *op)
{
	native_stack(n, op, X86_RSP, -8, true);
	emit_rm(n, 0, true, false, 0xc7, 0, RDX, 0);
	emit4(n, (uint32_t)op->imm);
	add_sp(n, -8);
	return true;
}

static bool pop(struct native_run *n, const struct x86_op *op, unsigned g)
{
	if (g == X86_RSP)
		return false;
	native_stack(n, op, X86_RSP, 0, false);
	emit_rm(n, 0, true, false, 0x8b, native_gpr(n, g, false), RDX, 0);
	dirty(n, g);
	add_sp(n, 8);
	return true;
}

static bool leave(struct native_run *n, const struct x86_op *op)
{
	unsigned bp, sp;

	native_stack(n, op, X86_RBP, 0, false);
	bp = native_gpr(n, X86_RBP, true);
	sp = native_gpr(n, X86_RSP, false);
	emit_rm(n, 0, true, false, 0x8d, sp, bp, 8);
	emit_rm(n, 0, true, false, 0x8b, bp, RDX, 0);
	dirty(n, X86_RBP);
	dirty(n, X86_RSP);
	return true;
}

static bool address(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	unsigned h;

	if (in->opsize == 2 || in->mod == 3)
		return false;
	// The operands first: the destination may be one of them and must not count as loaded.
	if (op->base < 16)
		(void)native_gpr(n, op->base, true); // for what it emits
	if (op->index < 16)
		(void)native_gpr(n, op->index, true); // as above
	h = native_gpr(n, in->reg, false);
	native_lea(n, in->opsize == 8, h, op);
	dirty(n, in->reg);
	return true;
}

static bool exchange_rax(struct native_run *n, const struct x86_insn *in)
{
	unsigned g = (in->opcode & 7u) | (in->rex & 1u) << 3;

	if (g == X86_RAX)
		return true; // NOP
	emit_rr(n, in->opsize == 2 ? 0x66 : 0, in->opsize == 8, false, 0x87,
		native_gpr(n, X86_RAX, true), native_gpr(n, g, true));
	dirty(n, X86_RAX);
	dirty(n, g);
	return true;
}

static bool swap_bytes(struct native_run *n, const struct x86_insn *in, unsigned g)
{
	unsigned h = native_gpr(n, g, true);

	emit_opcode(n, 0, in->opsize == 8, false, 0x0fc8 | (h & 7), 0, 0, h);
	dirty(n, g);
	return true;
}

static bool special(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	unsigned low = (in->opcode & 7u) | (in->rex & 1u) << 3, sub = in->modrm >> 3 & 7;

	if (in->lock || in->rep || in->repne)
		return false;
	if (in->map == 1) {
		if (in->opcode < 0xc8 || in->opcode > 0xcf || in->opsize == 2)
			return false;
		return swap_bytes(n, in, low);
	}
	switch (in->opcode) {
	case 0x00 ... 0x3f:
		return (in->opcode & 7) >= 4 && (in->opcode & 7) < 6 && accumulator(n, in);
	case 0x50 ... 0x57:
		return in->opsize == 8 && push(n, op, low);
	case 0x58 ... 0x5f:
		return in->opsize == 8 && pop(n, op, low);
	case 0x68:
	case 0x6a:
		return in->opsize == 8 && push_imm(n, op);
	case 0x8d:
		return address(n, in, op);
	case 0x90 ... 0x97:
		return exchange_rax(n, in);
	case 0x98:
	case 0x99:
		return convert(n, in);
	case 0xa8:
	case 0xa9:
		return accumulator(n, in);
	case 0xb0 ... 0xb7:
		return (in->rex || low < 4) && mov_imm(n, low, 1, op->imm);
	case 0xb8 ... 0xbf:
		return mov_imm(n, low, in->opsize, op->imm);
	case 0xc9:
		return in->opsize == 8 && leave(n, op);
	case 0xf7:
		return (sub == 4 || sub == 5) && multiply(n, in, op);
	default:
		return false;
	}
}

bool native_integer(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	struct form f = { 0 };

	if (in->map > 1)
		return false;
	if (form_of(in, &f)) {
		if (!(f.how & HINT))
			translate_form(n, in, op, &f);
		return true;
	}
	return special(n, in, op);
}

// SPDX-License-Identifier: Apache-2.0
// MOV, MOVZX, MOVSX, MOVSXD, LEA, PUSH, POP, PUSHA forms that 64-bit mode has, ENTER, LEAVE, CBW family, XLAT, MOVNTI.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"

#define MOVS(bits)                                                                                 \
	OPH(mov##bits##_rr) { REG##bits(op->rm) = (uint##bits##_t)REG##bits(op->reg); NEXT; }      \
	OPH(mov##bits##_rm) { REG##bits(op->reg) = ld##bits(cpu, op, op_ea(cpu, op)); NEXT; }      \
	OPH(mov##bits##_mr) { st##bits(cpu, op, op_ea(cpu, op), (uint##bits##_t)REG##bits(op->reg)); NEXT; } \
	OPH(mov##bits##_ri) { REG##bits(op->rm) = (uint##bits##_t)op->imm; NEXT; }                 \
	OPH(mov##bits##_mi) { st##bits(cpu, op, op_ea(cpu, op), (uint##bits##_t)op->imm); NEXT; }
MOVS(8) MOVS(16) MOVS(32) MOVS(64)
// Plain base + displacement is most of all addresses.
#define MOVD(bits)                                                                                 \
	OPH(mov##bits##_rd) { REG##bits(op->reg) = ld##bits(cpu, op, cpu->gpr[op->base] + (uint64_t)(int64_t)op->disp); NEXT; } \
	OPH(mov##bits##_dr) { st##bits(cpu, op, cpu->gpr[op->base] + (uint64_t)(int64_t)op->disp, (uint##bits##_t)REG##bits(op->reg)); NEXT; }
MOVD(32) MOVD(64)

enum { M_RR, M_RM, M_MR, M_RI, M_MI };
#define MROW(bits) { mov##bits##_rr, mov##bits##_rm, mov##bits##_mr, mov##bits##_ri, mov##bits##_mi }
static x86_fn *const movs[4][5] = { MROW(8), MROW(16), MROW(32), MROW(64) };

// Extensions: from 8 or 16 (or 32) bits to 16, 32, 64.
#define EXT(name, from, to, T)                                                                     \
	OPH(name##from##_##to##r) { REG##to(op->reg) = (uint##to##_t)(T)(uint##from##_t)REG##from(op->rm); NEXT; } \
	OPH(name##from##_##to##m) { REG##to(op->reg) = (uint##to##_t)(T)ld##from(cpu, op, op_ea(cpu, op)); NEXT; }
EXT(zx, 8, 16, uint8_t) EXT(zx, 8, 32, uint8_t) EXT(zx, 8, 64, uint8_t)
EXT(zx, 16, 16, uint16_t) EXT(zx, 16, 32, uint16_t) EXT(zx, 16, 64, uint16_t)
EXT(sx, 8, 16, int8_t) EXT(sx, 8, 32, int8_t) EXT(sx, 8, 64, int8_t)
EXT(sx, 16, 16, int16_t) EXT(sx, 16, 32, int16_t) EXT(sx, 16, 64, int16_t)
EXT(sx, 32, 64, int32_t)
static x86_fn *const ext[2][2][3][2] = {
	{ { { zx8_16r, zx8_16m }, { zx8_32r, zx8_32m }, { zx8_64r, zx8_64m } },
	  { { zx16_16r, zx16_16m }, { zx16_32r, zx16_32m }, { zx16_64r, zx16_64m } } },
	{ { { sx8_16r, sx8_16m }, { sx8_32r, sx8_32m }, { sx8_64r, sx8_64m } },
	  { { sx16_16r, sx16_16m }, { sx16_32r, sx16_32m }, { sx16_64r, sx16_64m } } },
};

static inline uint64_t ea_noseg(const struct x86_cpu *cpu, const struct x86_op *op)
{
	return cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) + (uint64_t)(int64_t)op->disp;
}
OPH(lea16) { R16(op->reg) = (uint16_t)ea_noseg(cpu, op); NEXT; }
OPH(lea32) { R64(op->reg) = (uint32_t)ea_noseg(cpu, op); NEXT; }
OPH(lea64) { R64(op->reg) = ea_noseg(cpu, op); NEXT; }

// ---- the stack
OPH(push64_r)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8;

	st64(cpu, op, sp, R64(op->rm));
	cpu->gpr[X86_RSP] = sp;
	NEXT;
}

OPH(pop64_r)
{
	uint64_t sp = cpu->gpr[X86_RSP], v = ld64(cpu, op, sp);

	cpu->gpr[X86_RSP] = sp + 8;
	R64(op->rm) = v;
	NEXT;
}

static void push(struct x86_cpu *cpu, const struct x86_op *op, unsigned size, uint64_t v)
{
	uint64_t sp = cpu->gpr[X86_RSP] - size;

	if (size == 8)
		st64(cpu, op, sp, v);
	else
		x86_st_slow(cpu, op, sp_va(cpu, op, sp, size, true), size, v);
	sp_set(cpu, sp);
}

// aux: operand size
OPH(push_r) { push(cpu, op, op->aux, R64(op->rm)); NEXT; }
OPH(push_i) { push(cpu, op, op->aux, op->imm); NEXT; }
OPH(push_m)
{
	uint64_t v = x86_ld_slow(cpu, op, op_ea(cpu, op), op->aux);

	sp_check(cpu, op, cpu->gpr[X86_RSP] - op->aux);
	push(cpu, op, op->aux, v);
	NEXT;
}

OPH(pop_r)
{
	uint64_t sp = cpu->gpr[X86_RSP], v = x86_ld_slow(cpu, op, sp_va(cpu, op, sp, op->aux, false), op->aux);

	sp_set(cpu, sp + op->aux);
	if (op->aux == 2)
		R16(op->rm) = (uint16_t)v;
	else
		R64(op->rm) = v;
	NEXT;
}

OPH(pop_m)
{
	uint64_t sp = cpu->gpr[X86_RSP], v;

	sp_check(cpu, op, sp);
	v = x86_ld_slow(cpu, op, sp_va(cpu, op, sp, op->aux, false), op->aux);
	sp_set(cpu, sp + op->aux); // an address with RSP as base uses the value after the pop
	// Restartable all the same: the old RSP comes back if the store faults.
	cpu->gpr[X86_REG_EA] = op_ea(cpu, op);
	cpu->gpr[X86_RSP] = sp;
	x86_st_slow(cpu, op, cpu->gpr[X86_REG_EA], op->aux, v);
	sp_set(cpu, sp + op->aux);
	NEXT;
}

OPH(leave)
{
	uint64_t bp = cpu->gpr[X86_RBP], v = x86_ld_slow(cpu, op, sp_va(cpu, op, bp, op->aux, false), op->aux);

	sp_set(cpu, bp + op->aux);
	if (op->aux == 2)
		R16(X86_RBP) = (uint16_t)v;
	else
		R64(X86_RBP) = v;
	NEXT;
}

OPH(enter)
{
	unsigned size = op->aux, level = op->aux2 & 31;
	uint64_t sp = cpu->gpr[X86_RSP] - size, bp = cpu->gpr[X86_RBP], frame = sp;

	x86_st_slow(cpu, op, sp_va(cpu, op, sp, size, true), size, bp);
	for (unsigned i = 1; i < level; i++) {
		bp -= size;
		sp -= size;
		x86_st_slow(cpu, op, sp_va(cpu, op, sp, size, true), size,
			    x86_ld_slow(cpu, op, sp_va(cpu, op, bp, size, false), size));
	}
	if (level) {
		sp -= size;
		x86_st_slow(cpu, op, sp_va(cpu, op, sp, size, true), size, frame);
	}
	sp -= op->imm;
	x86_write_probe(cpu, op, sp_va(cpu, op, sp, size, true), 1);
	sp_set(cpu, sp);
	if (size == 2 || !(cpu->mode & (MODE_LONG | MODE_SS32)))
		R16(X86_RBP) = (uint16_t)frame;
	else
		R64(X86_RBP) = cpu->mode & MODE_LONG ? frame : (uint32_t)frame;
	NEXT;
}

OPH(cbw) { R16(X86_RAX) = (uint16_t)(int8_t)R8(0); NEXT; }
OPH(cwde) { R64(X86_RAX) = (uint32_t)(int16_t)R16(X86_RAX); NEXT; }
OPH(cdqe) { R64(X86_RAX) = (uint64_t)(int32_t)R32(X86_RAX); NEXT; }
OPH(cwd) { R16(X86_RDX) = (uint16_t)((int16_t)R16(X86_RAX) >> 15); NEXT; }
OPH(cdq) { R64(X86_RDX) = (uint32_t)((int32_t)R32(X86_RAX) >> 31); NEXT; }
OPH(cqo) { R64(X86_RDX) = (uint64_t)((int64_t)R64(X86_RAX) >> 63); NEXT; }

OPH(xlat)
{
	uint64_t off = (cpu->gpr[X86_RBX] + R8(0)) & op->imm;

	if (!(cpu->mode & MODE_LONG) && !(cpu->flat >> (op->seg - 1) & 1))
		x86_seg_check(cpu, op, op->seg - 1u, off, 1, false);
	off += cpu->sbase[op->seg];
	R8(0) = ld8(cpu, op, cpu->mode & MODE_LONG ? off : (uint32_t)off);
	NEXT;
}

// MOV r/m, Sreg: a register gets the zero-extended selector (16 bits with the prefix), memory always 16 bits.
OPH(mov_from_seg_r)
{
	if (op->aux == 2)
		R16(op->rm) = cpu->seg[op->reg].selector;
	else
		R64(op->rm) = cpu->seg[op->reg].selector;
	NEXT;
}
OPH(mov_from_seg_m) { st16(cpu, op, op_ea(cpu, op), cpu->seg[op->reg].selector); NEXT; }

OPH(mov_to_seg)
{
	uint16_t sel = op->aux2 ? ld16(cpu, op, op_ea(cpu, op)) : (uint16_t)R64(op->rm);
	struct x86_exception x;

	if (x86_load_seg(cpu, op->reg, sel, &x))
		x86_raise_pf(cpu, op, &x);
	if (op->reg == X86_SS) {
		cpu->shadow = cpu->shadow_ss = true;
		LEAVE;
	}
	NEXT_BACK;
}

static bool mov_bind(struct x86_bind *b, unsigned form, bool bytes)
{
	const struct x86_insn *in = b->insn;
	unsigned s = size_index(bytes, in->opsize);
	bool plain = b->op->index == X86_REG_ZERO && b->op->seg == 0;

	bind_regs(b, bytes);
	b->op->fn = movs[s][form];
	if (plain && s >= 2 && form == M_RM)
		b->op->fn = s == 2 ? mov32_rd : mov64_rd;
	if (plain && s >= 2 && form == M_MR)
		b->op->fn = s == 2 ? mov32_dr : mov64_dr;
	if (form >= M_RI)
		b->op->imm = imm_of_size(in->imm, s);
	return !in->lock;
}

static bool bind_seg(struct x86_bind *b, bool to)
{
	const struct x86_insn *in = b->insn;

	b->op->reg = in->modrm >> 3 & 7;
	if (b->op->reg > X86_GS || (to && b->op->reg == X86_CS) || in->lock)
		return false;
	b->op->aux = in->opsize;
	b->op->aux2 = in->mod != 3;
	b->op->fn = to ? mov_to_seg : in->mod == 3 ? mov_from_seg_r : mov_from_seg_m;
	b->ends = to && b->op->reg == X86_SS;
	return true;
}

static bool bind_map1(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	bool mem = in->mod != 3, word = in->opcode & 1;

	switch (in->opcode) {
	case 0xb6: case 0xb7: case 0xbe: case 0xbf:
		if (!word)
			b->op->rm = reg8_offset(in, in->rm);
		b->op->fn = ext[in->opcode >= 0xbe][word][size_index(false, in->opsize) - 1][mem];
		return !in->lock;
	case 0xc3: // MOVNTI
		b->op->fn = movs[in->opsize == 8 ? 3 : 2][M_MR];
		return mem && !in->lock && !in->pfx;
	default: return false;
	}
}

bool x86_bind_mov(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;
	bool mem = in->mod != 3, bytes = !(o & 1);

	if (in->lock)
		return false;
	if (in->map == 1)
		return bind_map1(b);
	b->op->aux = in->opsize;
	if (o >= 0x50 && o <= 0x5f) {
		b->op->rm = (uint8_t)((o & 7) | (in->rex & 1) << 3);
		if (o < 0x58)
			b->op->fn = in->opsize == 8 ? push64_r : push_r;
		else
			b->op->fn = in->opsize == 8 ? pop64_r : pop_r;
		return true;
	}
	if (o >= 0xb0 && o <= 0xbf) {
		b->op->rm = (uint8_t)((o & 7) | (in->rex & 1) << 3);
		if (o < 0xb8)
			b->op->rm = reg8_offset(in, b->op->rm);
		b->op->imm = imm_of_size(in->imm, size_index(o < 0xb8, in->opsize));
		b->op->fn = movs[size_index(o < 0xb8, in->opsize)][M_RI];
		return true;
	}
	switch (o) {
	case 0x63: // MOVSXD
		if (in->mode != 64)
			return false;
		b->op->fn = in->opsize == 8 ? (mem ? sx32_64m : sx32_64r) : NULL;
		if (b->op->fn)
			return true;
		if (mem)
			return mov_bind(b, M_RM, false);
		b->op->reg = in->rm;
		b->op->rm = in->reg;
		b->op->fn = movs[size_index(false, in->opsize)][M_RR];
		return true;
	case 0x68: case 0x6a:
		b->op->imm = in->imm;
		b->op->fn = push_i;
		return true;
	case 0x88: case 0x89: return mov_bind(b, mem ? M_MR : M_RR, bytes);
	case 0x8a: case 0x8b:
		if (mem)
			return mov_bind(b, M_RM, bytes);
		(void)mov_bind(b, M_RR, bytes); // only LOCK fails, refused above
		o = b->op->reg;
		b->op->reg = b->op->rm;
		b->op->rm = o;
		return true;
	case 0x8c: return bind_seg(b, false);
	case 0x8d:
		b->op->fn = in->opsize == 2 ? lea16 : in->opsize == 4 ? lea32 : lea64;
		return mem;
	case 0x8e: return bind_seg(b, true);
	case 0x8f:
		b->op->fn = mem ? pop_m : pop_r;
		return (in->modrm >> 3 & 7) == 0;
	case 0x98: b->op->fn = in->opsize == 2 ? cbw : in->opsize == 4 ? cwde : cdqe; return true;
	case 0x99: b->op->fn = in->opsize == 2 ? cwd : in->opsize == 4 ? cdq : cqo; return true;
	case 0xa0: case 0xa1: case 0xa2: case 0xa3:
		b->op->reg = 0;
		b->op->fn = movs[size_index(bytes, in->opsize)][o < 0xa2 ? M_RM : M_MR];
		return true;
	case 0xc6: case 0xc7: return (in->modrm >> 3 & 7) == 0 && mov_bind(b, mem ? M_MI : M_RI, bytes);
	case 0xc8:
		b->op->imm = in->imm;
		b->op->aux2 = (uint8_t)in->imm2;
		b->op->fn = enter;
		return true;
	case 0xc9: b->op->fn = leave; return true;
	case 0xd7:
		b->op->imm = in->addrsize == 8 ? ~0ull : in->addrsize == 4 ? 0xffffffff : 0xffff;
		b->op->fn = xlat;
		return true;
	case 0xff: // PUSH r/m
		b->op->fn = mem ? push_m : push_r;
		return true;
	default: return false;
	}
}

// SPDX-License-Identifier: Apache-2.0
// Jcc, JMP, CALL, RET, LOOP, JRCXZ, and the far forms.
// Macros that make handlers, one row a form: laid out by hand.
// clang-format off
#include "vmm/x86/alu.h"
#include "vmm/x86/jump.h"

#define JCC(name, cond)                                                                            \
	OPH(j##name##_near)                                                                        \
	{                                                                                          \
		if (cond)                                                                          \
			TAKE_LINK;                                                                 \
		FALL;                                                                              \
	}                                                                                          \
	OPH(j##name##_far)                                                                         \
	{                                                                                          \
		if (cond)                                                                          \
			JUMP_TO(FAR_TARGET);                                                       \
		FALL;                                                                              \
	}
#define X(name, cond) JCC(name, cond)
#define C cpu->cc
PER_CONDITION
#undef C
#undef X
#define JROW(name) { j##name##_near, j##name##_far }
static x86_fn *const jcc[16][2] = {
	JROW(o), JROW(no), JROW(b), JROW(ae), JROW(z), JROW(nz), JROW(be), JROW(a),
	JROW(s), JROW(ns), JROW(p), JROW(np), JROW(l), JROW(ge), JROW(le), JROW(g),
};

bool x86_jcc_is_near(x86_fn *fn, unsigned cond)
{
	return fn == jcc[cond][0];
}

OPH(jmp_near) { TAKE_LINK; }
OPH(jmp_far) { JUMP_TO(FAR_TARGET); }

OPH(call_near)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8;

	st64(cpu, op, sp, op_next_rip(cpu, op));
	cpu->gpr[X86_RSP] = sp;
	TAKE_LINK;
}

OPH(call_far)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8;

	st64(cpu, op, sp, op_next_rip(cpu, op));
	cpu->gpr[X86_RSP] = sp;
	JUMP_TO(FAR_TARGET);
}

bool x86_near_jump(x86_fn *fn)
{
	for (unsigned c = 0; c < 16; c++)
		if (fn == jcc[c][0])
			return true;
	return fn == jmp_near || fn == call_near;
}

static inline void check_target(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va)
{
	if (unlikely(!va_canonical(va)))
		GP0();
}

OPH(ret64)
{
	uint64_t sp = cpu->gpr[X86_RSP], va = ld64(cpu, op, sp);

	check_target(cpu, op, va);
	cpu->gpr[X86_RSP] = sp + 8 + op->imm;
	JUMP_TO(va);
}

OPH(jmp64_r)
{
	check_target(cpu, op, R64(op->rm));
	JUMP_TO(R64(op->rm));
}

OPH(jmp64_m)
{
	uint64_t va = ld64(cpu, op, op_ea(cpu, op));

	check_target(cpu, op, va);
	JUMP_TO(va);
}

OPH(call64_r)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8, va = R64(op->rm);

	check_target(cpu, op, va);
	st64(cpu, op, sp, op_next_rip(cpu, op));
	cpu->gpr[X86_RSP] = sp;
	JUMP_TO(va);
}

OPH(call64_m)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8, va = ld64(cpu, op, op_ea(cpu, op));

	check_target(cpu, op, va);
	sp_check(cpu, op, sp);
	st64(cpu, op, sp, op_next_rip(cpu, op));
	cpu->gpr[X86_RSP] = sp;
	JUMP_TO(va);
}

// ---- outside 64-bit mode: 16- and 32-bit forms, by way of x86_run. aux: operand size.
static uint64_t legacy_target(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize, uint64_t va)
{
	va = opsize == 2 ? (uint16_t)va : (uint32_t)va;
	if (unlikely(va > cpu->seg[X86_CS].limit))
		GP0();
	return va;
}

static void legacy_push(struct x86_cpu *cpu, const struct x86_op *op, uint64_t v)
{
	uint64_t sp = cpu->gpr[X86_RSP] - op->aux;

	x86_st_slow(cpu, op, sp_va(cpu, op, sp, op->aux, true), op->aux, v);
	sp_set(cpu, sp);
}

// Condition code c (0..15) by number, for the forms that have no handler per condition.
static bool condition(uint16_t cc, unsigned c)
{
	static const uint16_t any[6] = { CC_OF, CC_CF, CC_ZF, CC_CF | CC_ZF, CC_SF, CC_PF };
	bool t = c < 12 ? cc & any[c >> 1] : COND_L(cc) || (c >= 14 && (cc & CC_ZF));

	return t != (c & 1);
}

#define LEGACY_TARGET legacy_target(cpu, op, op->aux, op_next_rip(cpu, op) + op->imm)
OPH(legacy_jcc)
{
	if (condition(cpu->cc, op->aux2))
		LEAVE_AT(LEGACY_TARGET);
	NEXT;
}

OPH(legacy_jmp) { LEAVE_AT(LEGACY_TARGET); }

OPH(legacy_call)
{
	uint64_t va = LEGACY_TARGET;

	legacy_push(cpu, op, op_next_rip(cpu, op));
	LEAVE_AT(va);
}

OPH(legacy_ret)
{
	uint64_t sp = cpu->gpr[X86_RSP], v = x86_ld_slow(cpu, op, sp_va(cpu, op, sp, op->aux, false), op->aux);

	v = legacy_target(cpu, op, op->aux, v);
	sp_set(cpu, sp + op->aux + op->imm);
	LEAVE_AT(v);
}

// FF /2 and /4: aux2 bit 0 memory, bit 1 call
OPH(legacy_indirect)
{
	uint64_t v = op->aux2 & 1 ? x86_ld_slow(cpu, op, op_ea(cpu, op), op->aux) : R64(op->rm);

	v = legacy_target(cpu, op, op->aux, v);
	if (op->aux2 & 2)
		legacy_push(cpu, op, op_next_rip(cpu, op));
	LEAVE_AT(v);
}

// ---- LOOP family. aux: address size; aux2: 0 LOOPNE, 1 LOOPE, 2 LOOP, 3 JRCXZ; rm: operand size
OPH(loop)
{
	uint64_t mask = op->aux == 8 ? ~0ull : op->aux == 4 ? 0xffffffff : 0xffff, c = cpu->gpr[X86_RCX];
	uint64_t to = op_next_rip(cpu, op) + op->imm;
	bool t;

	if (op->aux2 == 3) {
		t = (c & mask) == 0;
	} else {
		c = (c - 1) & mask;
		t = c && (op->aux2 == 2 || (op->aux2 == 1) == ((cpu->cc & CC_ZF) != 0));
		if (t && !(cpu->mode & MODE_LONG))
			to = legacy_target(cpu, op, op->rm, to); // may fault: before RCX changes
		if (op->aux == 2)
			R16(X86_RCX) = (uint16_t)c;
		else
			cpu->gpr[X86_RCX] = c;
	}
	if (t)
		LEAVE_AT(cpu->mode & MODE_LONG ? to : legacy_target(cpu, op, op->rm, to));
	NEXT;
}

// ---- far transfers
OPH(far_ret)
{
	x86_far_ret(cpu, op, op->aux, (unsigned)op->imm);
	LEAVE_AT(cpu->rip);
}

// FF /3, /5: m16:16/32/64. aux2: call
OPH(far_mem)
{
	uint64_t va = op_ea(cpu, op), off = x86_ld_slow(cpu, op, va, op->aux);
	uint16_t sel = (uint16_t)x86_ld_slow(cpu, op, va + op->aux, 2);

	x86_far_transfer(cpu, op, sel, off, op->aux, op->aux2);
	LEAVE_AT(cpu->rip);
}

// 9A, EA: imm: selector << 32 | offset. aux2: call
OPH(far_imm)
{
	x86_far_transfer(cpu, op, (uint16_t)(op->imm >> 32), (uint32_t)op->imm, op->aux, op->aux2);
	LEAVE_AT(cpu->rip);
}

OPH(iret)
{
	x86_iret(cpu, op, op->aux);
	LEAVE_AT(cpu->rip);
}

// ---- binding

// Fills a direct jump to off_next + rel. True: inside the block's page.
static bool direct(struct x86_bind *b, int64_t *ret_target)
{
	int64_t t = (int64_t)b->op->off + b->op->len + (int64_t)b->insn->imm;
	int64_t at = (int64_t)(b->gpa & 0xfff) + t;

	*ret_target = t;
	b->op->disp = (int32_t)t;
	b->op->link = NULL;
	// A block of one instruction is for stepping: it must come back to x86_run.
	return at >= 0 && at < 4096 && !(b->mode & MODE_ONE) && (b->gpa & 0xfff) + b->op->off + b->op->len <= 4096;
}

OPH(step_jmp) { LEAVE_AT(FAR_TARGET); }
OPH(step_jcc)
{
	if (condition(cpu->cc, op->aux2))
		LEAVE_AT(FAR_TARGET);
	NEXT;
}
OPH(step_call)
{
	uint64_t sp = cpu->gpr[X86_RSP] - 8;

	st64(cpu, op, sp, op_next_rip(cpu, op));
	cpu->gpr[X86_RSP] = sp;
	LEAVE_AT(FAR_TARGET);
}

static bool bind_direct(struct x86_bind *b, unsigned kind, unsigned cond)
{
	const struct x86_insn *in = b->insn;
	struct x86_op *op = b->op;
	bool one = b->mode & MODE_ONE, near;
	int64_t t;

	if (in->lock)
		return false;
	b->ends = true;
	b->no_fall = kind != 0;
	op->aux = in->opsize;
	op->aux2 = (uint8_t)cond;
	if (in->mode != 64) {
		op->imm = in->imm;
		op->fn = kind == 0 ? legacy_jcc : kind == 1 ? legacy_jmp : legacy_call;
		return true;
	}
	near = direct(b, &t);
	if (t != (int32_t)t)
		return false; // 2 GiB minus a block's length: no program
	if (one)
		op->fn = kind == 0 ? step_jcc : kind == 1 ? step_jmp : step_call;
	else if (kind == 0)
		op->fn = jcc[cond][!near];
	else if (kind == 1)
		op->fn = near ? jmp_near : jmp_far;
	else
		op->fn = near ? call_near : call_far;
	return true;
}

OPH(step_indirect)
{
	uint64_t va = op->aux2 & 1 ? ld64(cpu, op, op_ea(cpu, op)) : R64(op->rm), sp = cpu->gpr[X86_RSP] - 8;

	check_target(cpu, op, va);
	if (op->aux2 & 2) {
		st64(cpu, op, sp, op_next_rip(cpu, op));
		cpu->gpr[X86_RSP] = sp;
	}
	LEAVE_AT(va);
}

OPH(step_ret)
{
	uint64_t sp = cpu->gpr[X86_RSP], va = ld64(cpu, op, sp);

	check_target(cpu, op, va);
	cpu->gpr[X86_RSP] = sp + 8 + op->imm;
	LEAVE_AT(va);
}

static bool bind_indirect(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	unsigned sub = in->modrm >> 3 & 7;
	bool mem = in->mod != 3;

	b->ends = b->no_fall = true;
	b->op->aux = in->opsize;
	if (sub == 3 || sub == 5) {
		b->op->aux2 = sub == 3;
		b->op->fn = far_mem;
		return mem && !in->lock;
	}
	b->op->aux2 = (uint8_t)(mem | (sub == 2) << 1);
	if (in->mode != 64)
		b->op->fn = legacy_indirect;
	else if (b->mode & MODE_ONE)
		b->op->fn = step_indirect;
	else if (sub == 2)
		b->op->fn = mem ? call64_m : call64_r;
	else
		b->op->fn = mem ? jmp64_m : jmp64_r;
	return !in->lock;
}

bool x86_bind_branch(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;

	if (in->map == 1)
		return bind_direct(b, 0, o & 15);
	if (o >= 0x70 && o <= 0x7f)
		return bind_direct(b, 0, o & 15);
	if (in->lock)
		return false;
	b->op->aux = in->opsize;
	switch (o) {
	case 0xe8: return bind_direct(b, 2, 0);
	case 0xe9: case 0xeb: return bind_direct(b, 1, 0);
	case 0xe0: case 0xe1: case 0xe2: case 0xe3:
		b->ends = true;
		b->op->aux = in->addrsize;
		b->op->aux2 = o & 3;
		b->op->imm = in->imm;
		b->op->rm = in->opsize;
		b->op->fn = loop;
		return true;
	case 0xc2: case 0xc3:
		b->ends = b->no_fall = true;
		b->op->imm = o == 0xc2 ? in->imm : 0;
		b->op->fn = in->mode != 64 ? legacy_ret : b->mode & MODE_ONE ? step_ret : ret64;
		return true;
	case 0xca: case 0xcb:
		b->ends = b->no_fall = true;
		b->op->imm = o == 0xca ? in->imm : 0;
		b->op->fn = far_ret;
		return true;
	case 0x9a: case 0xea:
		b->ends = b->no_fall = true;
		b->op->imm = (uint64_t)in->imm2 << 32 | (in->opsize == 2 ? (uint16_t)in->imm : (uint32_t)in->imm);
		b->op->aux2 = o == 0x9a;
		b->op->fn = far_imm;
		return true;
	case 0xcf:
		b->ends = b->no_fall = true;
		b->op->fn = iret;
		return true;
	case 0xff: return bind_indirect(b);
	default: return false;
	}
}

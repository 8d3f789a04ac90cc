// SPDX-License-Identifier: Apache-2.0
// The ends of the translator's blocks. A jump inside its page goes to the block it is linked to; one that is not linked
// yet is left to its handler, which links it.
#include "vmm/x86/native.h"

// ENTER: op's address is the block's, op->link is there.
static void enter_link(struct native_run *n, const struct x86_op *op)
{
	struct x86_block *to = op->link;

	emit_cpu(n, 0, true, 0x81, 0, CPU_FIELD(gpr[X86_REG_BVA])); // add
	emit4(n, (uint32_t)op->disp);
	emit_cpu(n, 0, false, 0x83, 7, CPU_FIELD(attn)); // cmp
	emit1(n, 0);
	native_to(emit_jcc(n, 5), native_tail_leave(n));
	native_load(n, RAX, (uintptr_t)to);
	emit_cpu(n, 0, true, 0x89, RAX, CPU_FIELD(block));
	emit_cpu(n, 0, true, 0x81, 0, CPU_FIELD(icount)); // add
	emit4(n, to->insns);
	emit_rm(n, 0, true, false, 0x8d, RSI, RAX, offsetof(struct x86_block, ops[1]));
	emit1(n, 0xff); // jmp [rsi]
	emit1(n, 0x26);
}

// Registers are in memory: rdx is where to go on.
static void jump_rdx(struct native_run *n)
{
	native_to(emit_jump(n), native_tail_jump(n));
}

static void far_target(struct native_run *n, const struct x86_op *op)
{
	emit_cpu(n, 0, true, 0x8b, RDX, CPU_FIELD(gpr[X86_REG_BVA]));
	emit_rm(n, 0, true, false, 0x8d, RDX, RDX, op->disp);
	jump_rdx(n);
}

void native_fall(struct native_run *n, const struct x86_op *fall)
{
	if (!fall->link) {
		native_leave(n, fall);
		return;
	}
	native_spill(n);
	enter_link(n, fall);
}

// To the block's own start, with its registers where they are.
static void loop_back(struct native_run *n)
{
	uint8_t *attn;

	emit_cpu(n, 0, false, 0x83, 7, CPU_FIELD(attn)); // cmp
	emit1(n, 0);
	attn = emit_jcc(n, 5);
	emit_cpu(n, 0, true, 0x81, 0, CPU_FIELD(icount)); // add
	emit4(n, n->b->insns);
	native_to(emit_jump(n), n->loop_head);
	native_here(n, attn);
	native_spill(n);
	native_to(emit_jump(n), native_tail_leave(n));
}

static bool conditional(struct native_run *n, const struct x86_op *op, unsigned cond,
			const struct x86_op *fall)
{
	bool near = x86_near_jump(native_handler(n, op));
	uint8_t *taken;

	if (near && op->link == n->b && op->disp == 0)
		n->wants_loop = true;
	native_flags_to_host(n);
	native_flags_save(n);
	if (n->loop) {
		uint8_t *not_taken = emit_jcc(n, cond ^ 1);

		loop_back(n);
		native_here(n, not_taken);
		native_fall(n, fall);
		return true;
	}
	native_spill(n);
	taken = emit_jcc(n, cond);
	if (fall->link)
		enter_link(n, fall);
	else
		native_leave(n, fall);
	native_here(n, taken);
	if (near && op->link)
		enter_link(n, op);
	else if (near)
		native_leave(n, op);
	else
		far_target(n, op);
	return true;
}

// rdx = the address on the stack for a return address is taken, written, and RSP moved.
static void push_return(struct native_run *n, const struct x86_op *op)
{
	unsigned sp = native_gpr(n, X86_RSP, true);

	emit_cpu(n, 0, true, 0x8b, RAX, CPU_FIELD(gpr[X86_REG_BVA]));
	emit_rm(n, 0, true, false, 0x8d, RAX, RAX, op->off + op->len);
	emit_rm(n, 0, true, false, 0x89, RAX, RDX, 0);
	emit_rm(n, 0, true, false, 0x8d, sp, sp, -8);
	n->gdirty |= 1u << X86_RSP;
}

static bool direct(struct native_run *n, const struct x86_op *op, bool call)
{
	bool near = x86_near_jump(native_handler(n, op));

	if (near && !op->link)
		return false;
	if (call) {
		native_stack(n, op, X86_RSP, -8, true);
		push_return(n, op);
	}
	native_spill(n);
	if (near)
		enter_link(n, op);
	else
		far_target(n, op);
	return true;
}

// Leaves for op's handler if the address in reg is not canonical.
static void check_target(struct native_run *n, const struct x86_op *op, unsigned reg)
{
	native_flags_save(n);
	n->in_host = false;
	emit_rr(n, 0, true, false, 0x89, reg, RAX);
	emit_rr(n, 0, true, false, 0xc1, 4, RAX); // shl
	emit1(n, 16);
	emit_rr(n, 0, true, false, 0xc1, 7, RAX); // sar
	emit1(n, 16);
	emit_rr(n, 0, true, false, 0x39, reg, RAX);
	native_exit_to(n, emit_jcc(n, 5), op);
}

static bool indirect(struct native_run *n, const struct x86_insn *in, const struct x86_op *op)
{
	bool call = (in->modrm >> 3 & 7) == 2;

	if (in->mod != 3) {
		native_memory(n, op, 8, false, false);
		emit_rm(n, 0, true, false, 0x8b, RCX, RDX, 0);
	} else {
		emit_rr(n, 0, true, false, 0x89, native_gpr(n, in->rm, true), RCX);
	}
	check_target(n, op, RCX);
	if (call) {
		native_stack(n, op, X86_RSP, -8, true);
		push_return(n, op);
	}
	native_spill(n);
	emit_rr(n, 0, true, false, 0x89, RCX, RDX);
	jump_rdx(n);
	return true;
}

static bool near_return(struct native_run *n, const struct x86_op *op)
{
	unsigned sp;

	native_stack(n, op, X86_RSP, 0, false);
	emit_rm(n, 0, true, false, 0x8b, RDX, RDX, 0);
	check_target(n, op, RDX);
	sp = native_gpr(n, X86_RSP, true);
	emit_rm(n, 0, true, false, 0x8d, sp, sp, 8 + (int64_t)op->imm);
	n->gdirty |= 1u << X86_RSP;
	native_spill(n);
	jump_rdx(n);
	return true;
}

bool native_branch(struct native_run *n, const struct x86_insn *in, const struct x86_op *op,
		   const struct x86_op *fall)
{
	unsigned o = in->opcode, sub = in->modrm >> 3 & 7;

	if (in->lock)
		return false;
	if (in->map == 1)
		return (o & 0xf0) == 0x80 && conditional(n, op, o & 15, fall);
	if (in->map != 0)
		return false;
	switch (o) {
	case 0x70 ... 0x7f:
		return conditional(n, op, o & 15, fall);
	case 0xe8:
		return direct(n, op, true);
	case 0xe9:
	case 0xeb:
		return direct(n, op, false);
	case 0xc2:
	case 0xc3:
		return near_return(n, op);
	case 0xff:
		return (sub == 2 || sub == 4) && in->opsize == 8 && indirect(n, in, op);
	default:
		return false;
	}
}

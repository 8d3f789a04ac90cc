// SPDX-License-Identifier: Apache-2.0
// The host's instructions on the guest's operands, with the flags taken into cpu->cc. Private to the integer handlers.
#ifndef VMM_X86_ALU_H
#define VMM_X86_ALU_H

#include "vmm/x86/cpu.h"

#define FLAGS_OUT "lahf\n\tseto %%al"
// Loads the guest's CF into the host's.
#define CF_IN "btw $8, %w[in]\n\t"

// Read-modify-write of a memory operand: p is the place, cpu->scratch stands in where there is none
// (device, page crossing).
#define RMW_AS(bits, before_parts)                                 \
	uint64_t va = op_ea(cpu, op);                              \
	u##bits##u *p = rmw##bits(cpu, op, va);                    \
	bool whole = p != NULL;                                    \
	if (unlikely(!whole)) {                                    \
		before_parts;                                      \
		cpu->scratch = x86_ld_slow(cpu, op, va, bits / 8); \
		p = (u##bits##u *)&cpu->scratch;                   \
	}
#define RMW_BEGIN(bits) RMW_AS(bits, )
// The same for an atomic one.
#define RMW_LOCKED(bits) RMW_AS(bits, x86_exclusive(cpu, op))
#define RMW_END(bits)         \
	if (unlikely(!whole)) \
		x86_st_slow(cpu, op, va, bits / 8, *p);

// Per size: suffix, register constraint, register access from op->reg and op->rm.
#define REG8(r) R8(r)
#define REG16(r) R16(r)
#define REG32(r) R64(r) // a 32-bit result clears the upper half
#define REG64(r) R64(r)
#define SFX8 "b"
#define SFX16 "w"
#define SFX32 "l"
#define SFX64 "q"
#define CON8 "q"
#define CON16 "r"
#define CON32 "r"
#define CON64 "r"

// The handler of a two-operand instruction by number, size index and form (alu.c); whether a handler is that of the
// condition's jump within the page (branch.c).
enum { ALU_cmp = 7, ALU_test = 8 };
enum { FORM_rr, FORM_rm, FORM_mr, FORM_ri, FORM_mi };
x86_fn *x86_alu_fn(unsigned which, unsigned size, unsigned form);
bool x86_jcc_is_near(x86_fn *fn, unsigned cond);

// Fills both register numbers for the operand size (byte registers are offsets).
static inline void bind_regs(struct x86_bind *b, bool bytes)
{
	if (bytes) {
		b->op->reg = reg8_offset(b->insn, b->insn->reg);
		b->op->rm = reg8_offset(b->insn, b->insn->rm);
	}
}

// 0..3 for 8, 16, 32, 64 bits.
static inline unsigned size_index(bool bytes, unsigned opsize)
{
	return bytes ? 0 : opsize == 2 ? 1 : opsize == 4 ? 2 : 3;
}

static inline uint64_t imm_of_size(uint64_t imm, unsigned size_idx)
{
	return size_idx == 3 ? imm : imm & ((1ull << (8u << size_idx)) - 1);
}

#endif

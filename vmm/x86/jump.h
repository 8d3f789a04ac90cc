// SPDX-License-Identifier: Apache-2.0
// How a handler goes on somewhere else: links, falls, and the conditions.
#ifndef VMM_X86_JUMP_H
#define VMM_X86_JUMP_H

#include "vmm/x86/cpu.h"

// clang-format off
#define COND_L(c) (((c) >> 15 ^ (c)) & 1)

// A direct jump inside its page: by the link once it is known.
#define TAKE_LINK                                                                                  \
	do {                                                                                       \
		if (likely(op->link != NULL)) {                                                    \
			cpu->gpr[X86_REG_BVA] += (uint64_t)(int64_t)op->disp;                      \
			ENTER(op->link);                                                           \
		}                                                                                  \
		cpu->link_from = op;                                                               \
		cpu->rip = cpu->gpr[X86_REG_BVA] + (uint64_t)(int64_t)op->disp;                    \
		return NULL;                                                                       \
	} while (0)
#define FAR_TARGET (cpu->gpr[X86_REG_BVA] + (uint64_t)(int64_t)op->disp)

// A branch that is not taken ends its block: op_fall follows, and is done here once it has its link.
#define FALL                                                                                       \
	do {                                                                                       \
		const struct x86_op *fall_ = op + 1;                                               \
		if (likely(fall_->link != NULL)) {                                                 \
			cpu->gpr[X86_REG_BVA] += (uint64_t)(int64_t)fall_->disp;                   \
			ENTER(fall_->link);                                                        \
		}                                                                                  \
		NEXT;                                                                              \
	} while (0)

// X(name, condition on C) in the order of their numbers.
#define PER_CONDITION                                                                              \
	X(o, C & CC_OF) X(no, !(C & CC_OF)) X(b, C & CC_CF) X(ae, !(C & CC_CF)) X(z, C & CC_ZF) X(nz, !(C & CC_ZF)) \
	X(be, C & (CC_CF | CC_ZF)) X(a, !(C & (CC_CF | CC_ZF))) X(s, C & CC_SF) X(ns, !(C & CC_SF)) \
	X(p, C & CC_PF) X(np, !(C & CC_PF)) X(l, COND_L(C)) X(ge, !COND_L(C))                      \
	X(le, (C & CC_ZF) || COND_L(C)) X(g, !((C & CC_ZF) || COND_L(C)))
// clang-format on

#endif

// SPDX-License-Identifier: Apache-2.0
// SIMD inside the processor: rows of instructions, and what their handlers share. Private to vmm/x86.
//
// Every value is computed by the host's own instruction on the guest's operands. While the processor runs, MXCSR is the
// guest's with all exceptions masked; its sticky flags are read back on leaving. A guest that unmasks some (MODE_FPX)
// has its floating-point instructions run one at a time by a handler that looks at the flags after each.
#ifndef VMM_X86_SIMD_H
#define VMM_X86_SIMD_H

#include "vmm/x86/cpu.h"
#include "vmm/x86/simd_ops.h"

enum simd_prefix { NP, P66, PF3, PF2 };

enum {
	S_FP = 1,     // may set MXCSR flags
	S_IMM = 2,    // imm8 in op->aux2; op->ptr is the stub for it
	S_MMX = 4,    // both operands, where registers, are MMX
	S_MMXREG = 8, // ModRM.reg is an MMX register
	S_MMXRM = 16, // ModRM.rm is, where a register
	S_NOMODRM = 32,
};

// op->aux of a handler of these rows.
enum { SIMD_W = 1, SIMD_MEM = 2, SIMD_A32 = 4 };

struct simd_row {
	x86_fn *r, *m;    // register and memory form, x86_simd_none: no such form
	const char *name; // of the register form's handler
	uint8_t flags, map, opcode, prefix;
};

// The row of an opcode in map 1..3, or NULL.
const struct simd_row *x86_simd_row(unsigned map, unsigned opcode, enum simd_prefix prefix);
// The handler of a memory form by its faster equal, where there is one. plain: base and displacement only.
x86_fn *x86_simd_fast(x86_fn *fn, bool plain);
// Groups 0F 71, 72, 73: handler or NULL. reg: ModRM.reg.
x86_fn *x86_simd_shift(unsigned opcode, unsigned reg, bool mmx);
// Stub of an S_IMM row's immediate (sse_imm.c).
const void *x86_simd_stub(unsigned map, unsigned opcode, enum simd_prefix prefix, bool w,
			  uint8_t imm);

bool x86_bind_fxsave(struct x86_bind *b); // fpu.c: 0F AE /0 to /3

// Takes cpu->fx.mxcsr for the host; to be followed by x86_update_mode().
void x86_mxcsr_load(struct x86_cpu *cpu, uint32_t mxcsr);
// cpu->fx.mxcsr with the flags that the host has gathered.
uint32_t x86_mxcsr_read(struct x86_cpu *cpu);
// Those flags alone.
uint32_t x86_mxcsr_raised(void);

x86_fn x86_simd_none; // "no such form" in the rows
x86_fn x86_simd_zero;
#define SIMD_DECLARE(op, pfx, r, m, flags) x86_fn x86_simd_##r, x86_simd_##m;
SIMD_MAP1(SIMD_DECLARE)
SIMD_MAP2(SIMD_DECLARE)
SIMD_MAP3(SIMD_DECLARE)
#undef SIMD_DECLARE

// Sets or clears the error summary (ES, B) of fx.fsw by flags and masks; returns whether an exception is pending.
bool x86_x87_summary(struct x86_cpu *cpu);

// Sets fx.fsw; the registers stay where they are physically, so that others become ST(0) on if TOP changes.
static inline void x86_x87_set_fsw(struct x86_fx *fx, uint16_t fsw)
{
	unsigned by = ((fsw >> 11) - (fx->fsw >> 11)) & 7;
	uint8_t old[8][16];

	fx->fsw = fsw;
	if (likely(!by))
		return;
	memcpy(old, fx->st, sizeof(old));
	for (unsigned i = 0; i < 8; i++)
		memcpy(fx->st[i].b, old[(i + by) & 7], 16);
}

#define OPHX(name) \
	const struct x86_op *x86_simd_##name(struct x86_cpu *cpu, const struct x86_op *op)

typedef long long xmm_v __attribute__((vector_size(16), may_alias));
typedef long long xmm_u __attribute__((vector_size(16), may_alias, aligned(1)));
typedef int xmm_d __attribute__((vector_size(16), may_alias));
#define X(r) (*(xmm_v *)&cpu->fx.xmm[r])

static inline xmm_v x128_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va)
{
	union x86_xmm t;

	x86_read(cpu, op, va, &t, 16);
	return t.v;
}

// Memory operands, into a whole register: 16 bytes of any alignment, 16 aligned bytes, 8, 4, 2.
static inline xmm_v ldx_any(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t va = op_ea(cpu, op);
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if (likely(e->tag_r == ((va + 15) & PAGE_MASK_)))
		return *(const xmm_u *)(uintptr_t)(va + e->addend);
	return x128_slow(cpu, op, va);
}

static inline xmm_v ldx16(struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t va = op_ea(cpu, op);
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if (likely(e->tag_r == ((va + 15) & PAGE_MASK_) && !(va & 15)))
		return *(const xmm_u *)(uintptr_t)(va + e->addend);
	if (va & 15)
		GP0();
	return x128_slow(cpu, op, va);
}

static inline xmm_v ldx8(struct x86_cpu *cpu, const struct x86_op *op)
{
	return (xmm_v){ (long long)ld64(cpu, op, op_ea(cpu, op)), 0 };
}

static inline xmm_v ldx4(struct x86_cpu *cpu, const struct x86_op *op)
{
	return (xmm_v)(xmm_d){ (int)ld32(cpu, op, op_ea(cpu, op)), 0, 0, 0 };
}

static inline xmm_v ldx2(struct x86_cpu *cpu, const struct x86_op *op)
{
	return (xmm_v){ ld16(cpu, op, op_ea(cpu, op)), 0 };
}

static inline void stx(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned r)
{
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if (likely(e->tag_w == ((va + 15) & PAGE_MASK_)))
		*(xmm_u *)(uintptr_t)(va + e->addend) = X(r);
	else
		x86_write(cpu, op, va, &cpu->fx.xmm[r], 16);
}

// dst = insn(dst, src), memory operand of n bytes (ldx<n>).
#define SSE_RR(name, insn)                                           \
	OPHX(name##_r)                                               \
	{                                                            \
		xmm_v d = X(op->reg);                                \
		__asm__(insn " %1, %0" : "+x"(d) : "xm"(X(op->rm))); \
		X(op->reg) = d;                                      \
		NEXT;                                                \
	}
#define SSE_RM(name, insn, n)                               \
	OPHX(name##_m)                                      \
	{                                                   \
		xmm_v s = ldx##n(cpu, op), d = X(op->reg);  \
		__asm__(insn " %1, %0" : "+x"(d) : "x"(s)); \
		X(op->reg) = d;                             \
		NEXT;                                       \
	}
#define SSE_BIN(name, n) SSE_RR(name, #name) SSE_RM(name, #name, n)

// MMX registers are the low 64 bits of the x87 ones; TOP is 0 once MMX is in use.
static inline uint64_t *mm_reg(struct x86_cpu *cpu, unsigned r)
{
	return (uint64_t *)(void *)cpu->fx.st[r & 7].b;
}
#define MM(r) (*mm_reg(cpu, (r)))
// Raises a pending x87 exception; before memory is read.
void x86_mmx_check(struct x86_cpu *cpu, const struct x86_op *op);
// The change to MMX: TOP = 0, all registers valid; after memory was read.
void x86_mmx_commit(struct x86_cpu *cpu);

static inline void mm_set(struct x86_cpu *cpu, unsigned r, uint64_t v)
{
	MM(r) = v;
	cpu->fx.st[r & 7].b[8] = 0xff;
	cpu->fx.st[r & 7].b[9] = 0xff;
}

#endif

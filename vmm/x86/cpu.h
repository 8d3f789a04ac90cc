// SPDX-License-Identifier: Apache-2.0
// Inside the processor: state, decoded operations, blocks, translations, and how a handler is written.
//
// Guest code is decoded into blocks of 32-byte operations, each with the address of its handler. A handler does one
// instruction and calls the next one as its last act (a sibling call, which the compiler turns into a jump); under
// sanitizers, where that is not certain, it returns the next operation to a loop instead. OPH and NEXT hide which.
//
//	OPH(inc_eax) { cpu->gpr[0] = (uint32_t)(cpu->gpr[0] + 1); NEXT; }
//
// RIP is not kept: cpu->bva is the virtual address of the running block's first byte (it is gpr[X86_REG_BVA], so that
// RIP-relative operands need no case of their own), and op->off the operation's offset in it. A handler that faults does
// not return: x86_raise() leaves by longjmp to x86_run(), so everything that can fault comes before anything changes.
//
// Flags are those of the host: each arithmetic handler does the guest's operation with the host's instruction and takes
// the flags by LAHF and SETO into cpu->cc (AH: SF ZF AF PF CF, AL: OF). Undefined flags are so what this CPU makes them.
#ifndef VMM_X86_CPU_H
#define VMM_X86_CPU_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/x86/x86.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

// Copies to and from guest memory. The guest's races on it are its own: a race detector must not see them, so its build
// (X86_GUEST_RACES) does without the C library here.
static inline void guest_copy(void *to, const void *from, size_t n)
{
#ifdef X86_GUEST_RACES
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
#else
	memmove(to, from, n); // may overlap
#endif
}

static inline void guest_fill(void *to, uint8_t v, size_t n)
{
#ifdef X86_GUEST_RACES
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
#else
	memset(to, v, n);
#endif
}

// Guest memory is not aligned and has any type.
typedef uint16_t __attribute__((aligned(1), may_alias)) u16u;
typedef uint32_t __attribute__((aligned(1), may_alias)) u32u;
typedef uint64_t __attribute__((aligned(1), may_alias)) u64u;

enum {
	X86_REG_ZERO = 16, // always 0: "no base", "no index"
	X86_REG_BVA = 17,  // VA of the block's start
	X86_REG_EA = 18,   // an address that a preparing operation computed
	X86_REG_COUNT = 20,
};

// Flags in cpu->cc.
enum { CC_OF = 1, CC_CF = 0x100, CC_PF = 0x400, CC_AF = 0x1000, CC_ZF = 0x4000, CC_SF = 0x8000 };

enum {
	F_CF = 1u << 0,
	F_PF = 1u << 2,
	F_AF = 1u << 4,
	F_ZF = 1u << 6,
	F_SF = 1u << 7,
	F_TF = 1u << 8,
	F_IF = 1u << 9,
	F_DF = 1u << 10,
	F_OF = 1u << 11,
	F_IOPL = 3u << 12,
	F_NT = 1u << 14,
	F_RF = 1u << 16,
	F_VM = 1u << 17,
	F_AC = 1u << 18,
	F_VIF = 1u << 19,
	F_VIP = 1u << 20,
	F_ID = 1u << 21,
	F_ARITH = F_CF | F_PF | F_AF | F_ZF | F_SF | F_OF,
};

enum {
	EXC_DE = 0,
	EXC_DB = 1,
	EXC_NMI = 2,
	EXC_BP = 3,
	EXC_OF = 4,
	EXC_BR = 5,
	EXC_UD = 6,
	EXC_NM = 7,
	EXC_DF = 8,
	EXC_TS = 10,
	EXC_NP = 11,
	EXC_SS = 12,
	EXC_GP = 13,
	EXC_PF = 14,
	EXC_MF = 16,
	EXC_AC = 17,
	EXC_XM = 19,
};

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_PG (1ull << 31)
#define CR4_DE (1ull << 3)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_PGE (1ull << 7)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_TSD (1ull << 2)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_MASK (0x7ffull | CR4_UMIP | CR4_FSGSBASE | CR4_SMEP | CR4_SMAP)
#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

// Block key: what of the processor's mode the decoded code depends on.
enum {
	MODE_USER = 1,   // CPL 3
	MODE_LONG = 2,   // 64-bit code segment
	MODE_ONE = 4,    // a block of one instruction (shadow, single step)
	MODE_NOFPU = 8,  // CR0.EM or CR0.TS: SIMD and x87 raise
	MODE_FPX = 16,   // MXCSR has unmasked exceptions
	MODE_NOSSE = 32, // CR4.OSFXSR is clear
	MODE_CS32 = 64,  // outside 64-bit mode: CS.D
	MODE_SS32 = 128, // and SS.B: the stack pointer is ESP
	MODE_BITS = 10,
};

struct x86_op;
struct x86_insn;
typedef const struct x86_op *x86_fn(struct x86_cpu *cpu, const struct x86_op *op);

struct x86_op {
	x86_fn *fn;
	union {
		uint64_t imm;
		struct x86_block *link; // direct jump within the page, once known
		const void *ptr;
	};
	int32_t disp;                    // of the address; of a direct jump: target minus bva
	uint8_t base, index, scale, seg; // address; seg indexes cpu->sbase
	uint8_t reg,
		rm;  // register numbers (8-bit forms: byte offsets into gpr); rm unused with memory
	uint8_t len; // bytes of the instruction
	uint8_t idx; // instruction's number in the block
	uint16_t off; // offset of its first byte in the block
	uint8_t aux, aux2;
};
_Static_assert(sizeof(struct x86_op) == 32, "two operations a cache line");

struct x86_block {
	uint64_t gpa; // of the first byte
	uint32_t mode;
	uint16_t bytes;
	uint8_t insns;
	uint8_t crosses; // its last instruction goes on in gpa2's page
	uint8_t n_ops;   // with the first and the last, which are no instructions
	uint8_t heat;    // times entered, until it is translated
	x86_fn *first;   // handler of ops[1] as decoded
	uint64_t gpa2;
	struct x86_block *hash_next;
	struct x86_block *page_next; // of the same code page
	struct x86_op ops[];         // behind them: the guest's bytes
};

struct x86_tlb_entry {
	uint64_t tag_r, tag_w; // page VA, or 1 (never equal to a page VA)
	uint64_t addend;       // host address minus VA
	uint64_t flags;        // TLB_*
};
enum { TLB_GLOBAL = 1, TLB_LARGE = 2 };
enum { TLBS = 3 };
enum { TLB_ENTRIES = 1024, TLB_MASK = TLB_ENTRIES - 1 };
#define PAGE_MASK_ 0xfffffffffffff000ull

struct x86_jump_entry {
	uint64_t va, key;
	struct x86_block *block;
};
enum { JUMP_ENTRIES = 4096, ITLB_ENTRIES = 256 };

struct x86_itlb_entry {
	uint64_t va, key; // page VA
	uint64_t gpa;
	const uint8_t *host;
};

// The FXSAVE64 image is the processor's own x87, MMX and SSE state; XMM registers are used in place.
struct x86_fx {
	uint16_t fcw, fsw;
	uint8_t ftw, pad;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	struct {
		uint8_t b[16];
	} st[8];
	union x86_xmm {
		uint8_t b[16];
		uint16_t w[8];
		uint32_t d[4];
		uint64_t q[2];
		float f[4];
		double lf[2];
		long long v __attribute__((vector_size(16)));
	} xmm[16];
	uint8_t rest[96];
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct x86_fx) == 512, "FXSAVE image");

struct x86_code; // block.c: arena, hash, code pages

struct x86_cpu {
	uint64_t gpr[X86_REG_COUNT];
	uint16_t cc;
	_Atomic uint32_t attn;
	uint64_t scratch; // stands in for memory that is not there to be pointed at
	uint64_t icount;
	struct x86_block *block;   // running
	struct x86_tlb_entry *tlb; // of the current privilege
	uint64_t jkey[2];          // by VA bit 63: generation << MODE_BITS | mode
	struct x86_jump_entry *jump;
	uint64_t sbase[8]; // segment bases by op->seg: 0 = none (0), 1 + X86_ES ... 1 + X86_GS
	uint8_t flat;      // bit per segment: nothing to check outside 64-bit mode
	uint64_t rip;      // valid outside blocks
	uint64_t rflags;   // without the arithmetic flags (those are in cc)
	struct x86_fx fx;

	const struct x86_env *env;
	void *arg;
	uint32_t mode;
	uint64_t gen[2];
	struct x86_seg seg[X86_SEG_COUNT];
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t dr[8];
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip, pat, tsc_aux;
	int64_t tsc_offset;
	bool shadow, nmi_masked, halted, irq_waiting, fpu_loaded, stepping;
	bool shadow_ss;  // the shadow is of a load of SS: it holds debug exceptions back too
	bool db_fault;   // the #DB being delivered is a fault
	bool watching;   // DR7 has breakpoints: one instruction at a time
	bool exclusive;  // no other processor of the guest runs
	uint8_t db_hits; // data breakpoints hit by the running instruction
	bool pending;    // an event to deliver
	struct x86_event event;
	const struct x86_op *link_from; // a direct jump that wants its link
	jmp_buf unwind;
	struct x86_exit *exit;
	struct x86_exception exc; // being raised
	int delivering;           // vector being delivered, or -1
	const uint8_t *step_bytes;
	unsigned step_count;
	struct x86_tlb_entry
		*tlbs[3]; // supervisor, user, supervisor that may reach user pages (SMAP and AC)
	struct x86_itlb_entry *itlb;
	uint64_t large_seen; // bit per hash of a GiB: the TLB may hold pieces of large pages there
	uint64_t code_seen[64]; // bit per hash of a page: the jump cache may hold code from there
	struct x86_code *code;
	struct x86_native *native; // NULL: no memory for code to be had
	uint8_t hot;               // entries after which a block is translated; 0: never
	_Atomic uint32_t notify;   // x86_notify_write happened, or changed pages wait
	bool shared;               // with other processors
	uint32_t pauses;           // PAUSEs so far
	uint64_t untold[4]; // pages with code of others that an atomic operation has stored to
	unsigned n_untold;
	uint8_t mark;                 // this one's bit in struct x86_page
	pthread_mutex_t changed_lock; // guards the two below
	uint64_t changed[16];         // pages with code that others stored to
	unsigned n_changed;           // more than there is room for: any page
};

// Bits of cpu->notify.
enum { NOTIFY_PAGES = 1, NOTIFY_ALL = 2 };

// How x86_run's setjmp is left.
enum { UNWIND_EXC = 1, UNWIND_EXIT = 2, UNWIND_EXCLUSIVE = 3 };

// clang makes fewer of the calls jumps than gcc does, and one that is none uses up the host's stack.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__) || \
	defined(__clang__)
#define X86_LOOP_DISPATCH 1
#endif

#define OPH(name)                                                                     \
	static const struct x86_op *name(struct x86_cpu *cpu __attribute__((unused)), \
					 const struct x86_op *op)
#ifdef X86_LOOP_DISPATCH
#define X86_GO(cpu, o) return (o)
#else
#define X86_GO(cpu, o) return (o)->fn((cpu), (o))
#endif
#define NEXT                                         \
	do {                                         \
		const struct x86_op *next_ = op + 1; \
		X86_GO(cpu, next_);                  \
	} while (0)

// The same for a handler with a local variable whose address is known outside it: there the compiler cannot make the call
// the last act, and a guest's loop would use up the host's stack. The next operation is returned to run_block instead.
// tests/checks/tailcalls.sh holds every handler to one or the other.
#define NEXT_BACK return op + 1

static inline uint64_t op_rip(const struct x86_cpu *cpu, const struct x86_op *op)
{
	return cpu->gpr[X86_REG_BVA] + op->off;
}

static inline uint64_t op_next_rip(const struct x86_cpu *cpu, const struct x86_op *op)
{
	uint64_t v = cpu->gpr[X86_REG_BVA] + op->off + op->len;

	return cpu->mode & MODE_LONG ? v : (uint32_t)v;
}

// Leaves the block after this instruction: x86_run looks at RIP, mode and events anew.
#define LEAVE_AT(va)                                                        \
	do {                                                                \
		cpu->icount -= (uint64_t)(cpu->block->insns - 1 - op->idx); \
		cpu->rip = (va);                                            \
		return NULL;                                                \
	} while (0)
#define LEAVE LEAVE_AT(op_next_rip(cpu, op))

static inline uint64_t op_ea(const struct x86_cpu *cpu, const struct x86_op *op)
{
	return cpu->gpr[op->base] + (cpu->gpr[op->index] << op->scale) +
	       (uint64_t)(int64_t)op->disp + cpu->sbase[op->seg];
}

// Where the instruction at offset rip lies, in linear addresses.
static inline uint64_t linear_rip(const struct x86_cpu *cpu, uint64_t rip)
{
	return cpu->mode & MODE_LONG ? rip : (uint32_t)(rip + cpu->seg[X86_CS].base);
}

// ---- raising (run.c). op gives RIP; they do not return.
_Noreturn void x86_raise(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector,
			 uint32_t error);
_Noreturn void x86_raise_noerr(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector);
_Noreturn void x86_raise_pf(struct x86_cpu *cpu, const struct x86_op *op,
			    const struct x86_exception *x);
_Noreturn void x86_leave(struct x86_cpu *cpu, const struct x86_op *op, enum x86_exit_reason reason);
// Before a locked operation that has to be done in parts: returns if no other processor can see them; else the
// instruction is started again with the others stopped.
void x86_exclusive(struct x86_cpu *cpu, const struct x86_op *op);
#define UD() x86_raise_noerr(cpu, op, EXC_UD)
#define GP0() x86_raise(cpu, op, EXC_GP, 0)
#define PRIVILEGED                                                   \
	do {                                                         \
		if (unlikely(cpu->mode & MODE_USER) || cpu_cpl(cpu)) \
			GP0();                                       \
	} while (0)

// ---- memory (mmu.c). Slow paths of what is inline below.
uint64_t x86_ld_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size);
void x86_st_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size,
		 uint64_t v);
// Host address for a read-modify-write within one page of RAM without code, or NULL: then load and store by parts
// (the write permission has been checked).
void *x86_rmw_slow(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned size);
// Any length up to a page. write_probe checks that a write of len bytes will not fault.
void x86_read(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, void *buf, unsigned len);
void x86_write(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, const void *buf,
	       unsigned len);
void x86_write_probe(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, unsigned len);
// The same for a read of one byte.
void x86_read_probe(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va);
// System structures (descriptor tables, TSS, interrupt stacks of CPL 0): with supervisor rights. 0, or 1 with *x filled.
int x86_sys_access(struct x86_cpu *cpu, uint64_t va, void *buf, unsigned len, bool write,
		   struct x86_exception *x);
void x86_tlb_flush_all(struct x86_cpu *cpu);
void x86_tlb_flush_nonglobal(struct x86_cpu *cpu);
void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t va);
// Page walk. access of x86.h, and X86_IMPLICIT for what the processor itself reads. 0 with *ret_gpa, *ret_pte_flags (TLB_*, and writable in bit 8), or 1 with *x.
enum { WALK_WRITABLE = 0x100, WALK_DIRTY = 0x200, X86_IMPLICIT = 16 };
int x86_walk(struct x86_cpu *cpu, uint64_t va, unsigned access, bool set_ad, uint64_t *ret_gpa,
	     unsigned *ret_flags, struct x86_exception *x);
// For string instructions: host address of va if [va, va+1) is plain RAM with that access, and how many bytes of the
// page follow it; NULL otherwise (devices, code pages).
uint8_t *x86_host_span(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, bool write);

// The same three by a stub that keeps every register (mem_stubs.S), for the misses of the fast paths below: with a call that
// the compiler knows of, each handler would save registers on its stack for it, hit or miss.
static inline uint64_t ld_miss(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			       uint64_t size)
{
	uint64_t v;

	__asm__ volatile("call x86_ld_stub"
			 : "=a"(v)
			 : "D"(cpu), "S"(op), "d"(va), "c"(size)
			 : "memory", "cc");
	return v;
}

static inline void *rmw_miss(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			     uint64_t size)
{
	void *p;

	__asm__ volatile("call x86_rmw_stub"
			 : "=a"(p)
			 : "D"(cpu), "S"(op), "d"(va), "c"(size)
			 : "memory", "cc");
	return p;
}

static inline void st_miss(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, uint64_t size,
			   uint64_t v)
{
	register uint64_t value __asm__("r8") = v;

	__asm__ volatile("call x86_st_stub"
			 :
			 : "D"(cpu), "S"(op), "d"(va), "c"(size), "r"(value)
			 : "memory", "cc");
}

#define X86_LD(bits, bytes)                                                                    \
	static inline uint##bits##_t ld##bits(struct x86_cpu *cpu, const struct x86_op *op,    \
					      uint64_t va)                                     \
	{                                                                                      \
		const struct x86_tlb_entry *e_ = &cpu->tlb[(va >> 12) & TLB_MASK];             \
		if (likely(e_->tag_r == ((va + (bytes - 1)) & PAGE_MASK_)))                    \
			return *(const u##bits##u *)(uintptr_t)(va + e_->addend);              \
		return (uint##bits##_t)ld_miss(cpu, op, va, bytes);                            \
	}                                                                                      \
	static inline void st##bits(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va, \
				    uint##bits##_t v)                                          \
	{                                                                                      \
		const struct x86_tlb_entry *e_ = &cpu->tlb[(va >> 12) & TLB_MASK];             \
		if (likely(e_->tag_w == ((va + (bytes - 1)) & PAGE_MASK_)))                    \
			*(u##bits##u *)(uintptr_t)(va + e_->addend) = v;                       \
		else                                                                           \
			st_miss(cpu, op, va, bytes, v);                                        \
	}                                                                                      \
	static inline u##bits##u *rmw##bits(struct x86_cpu *cpu, const struct x86_op *op,      \
					    uint64_t va)                                       \
	{                                                                                      \
		const struct x86_tlb_entry *e_ = &cpu->tlb[(va >> 12) & TLB_MASK];             \
		if (likely(e_->tag_w == ((va + (bytes - 1)) & PAGE_MASK_)))                    \
			return (u##bits##u *)(uintptr_t)(va + e_->addend);                     \
		return rmw_miss(cpu, op, va, bytes);                                           \
	}
typedef uint8_t u8u;
X86_LD(8, 1)
X86_LD(16, 2)
X86_LD(32, 4)
X86_LD(64, 8)
#undef X86_LD

static inline void ld128(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			 union x86_xmm *v)
{
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if (likely(e->tag_r == ((va + 15) & PAGE_MASK_)))
		memcpy(v, (const void *)(uintptr_t)(va + e->addend), 16);
	else
		x86_read(cpu, op, va, v, 16);
}

static inline void st128(struct x86_cpu *cpu, const struct x86_op *op, uint64_t va,
			 const union x86_xmm *v)
{
	const struct x86_tlb_entry *e = &cpu->tlb[(va >> 12) & TLB_MASK];

	if (likely(e->tag_w == ((va + 15) & PAGE_MASK_)))
		memcpy((void *)(uintptr_t)(va + e->addend), v, 16);
	else
		x86_write(cpu, op, va, v, 16);
}

// ---- segments outside 64-bit mode (access.c)
// Checks an access of size bytes at offset off of a segment that is not flat: limit, type, presence. Raises #GP or #SS.
void x86_seg_check(struct x86_cpu *cpu, const struct x86_op *op, unsigned seg, uint64_t off,
		   unsigned size, bool write);
// How many bytes of memory an instruction's ModRM or offset operand has (0: it is an address only), and whether it is
// written.
unsigned x86_insn_access(const struct x86_insn *in, bool *ret_write);

static inline bool va_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}
// For an instruction that has an operand in memory besides the stack: op->base does not tell that it is the stack.
static inline void sp_check(struct x86_cpu *cpu, const struct x86_op *op, uint64_t rsp)
{
	if (unlikely((cpu->mode & MODE_LONG) && !va_canonical(rsp)))
		x86_raise(cpu, op, EXC_SS, 0);
}

// Linear address of size bytes at stack pointer rsp, checked.
static inline uint64_t sp_va(struct x86_cpu *cpu, const struct x86_op *op, uint64_t rsp,
			     unsigned size, bool write)
{
	uint32_t off;

	if (likely(cpu->mode & MODE_LONG))
		return rsp;
	off = cpu->mode & MODE_SS32 ? (uint32_t)rsp : (uint16_t)rsp;
	if (unlikely(!(cpu->flat >> X86_SS & 1)))
		x86_seg_check(cpu, op, X86_SS, off, size, write);
	return (uint32_t)(off + cpu->seg[X86_SS].base);
}

// Only SP changes where the stack is a 16-bit one.
static inline void sp_set(struct x86_cpu *cpu, uint64_t rsp)
{
	if (likely(cpu->mode & MODE_LONG))
		cpu->gpr[X86_RSP] = rsp;
	else if (cpu->mode & MODE_SS32)
		cpu->gpr[X86_RSP] = (uint32_t)rsp;
	else
		*(u16u *)&cpu->gpr[X86_RSP] = (uint16_t)rsp;
}

// ---- jumps (block.c)
// Goes to va in the same mode: by the jump cache, or back to x86_run.
static inline unsigned code_seen_bit(uint64_t va)
{
	return (unsigned)((va >> 12 ^ va >> 24) & 4095);
}

static inline struct x86_jump_entry *jump_slot(struct x86_cpu *cpu, uint64_t va)
{
	return &cpu->jump[(va ^ (va >> 12)) & (JUMP_ENTRIES - 1)];
}

// Goes on in block b_, whose first byte is at the address in X86_REG_BVA, unless something wants attention first. What
// op_enter does, without a jump of its own.
#define ENTER(b_)                                                                       \
	do {                                                                            \
		struct x86_block *in_ = (b_);                                           \
		const struct x86_op *first_ = in_->ops + 1;                             \
		if (unlikely(atomic_load_explicit(&cpu->attn, memory_order_relaxed))) { \
			cpu->rip = cpu->gpr[X86_REG_BVA];                               \
			return NULL;                                                    \
		}                                                                       \
		cpu->block = in_;                                                       \
		cpu->icount += in_->insns;                                              \
		X86_GO(cpu, first_);                                                    \
	} while (0)

#define JUMP_TO(target)                                                         \
	do {                                                                    \
		uint64_t va_ = (target);                                        \
		const struct x86_jump_entry *j_ = jump_slot(cpu, va_);          \
		if (likely(j_->va == va_ && j_->key == cpu->jkey[va_ >> 63])) { \
			cpu->gpr[X86_REG_BVA] = va_;                            \
			ENTER(j_->block);                                       \
		}                                                               \
		cpu->rip = va_;                                                 \
		return NULL;                                                    \
	} while (0)

// ---- decoding (decode.c): no processor state
struct x86_insn {
	uint8_t bytes[15];
	uint8_t len;
	uint8_t map; // 0 one byte, 1 0F, 2 0F38, 3 0F3A
	uint8_t opcode;
	uint8_t modrm, mod, reg, rm; // reg, rm with REX bits
	bool has_modrm, lock, rep, repne, opsize16, addrsize_prefix;
	uint8_t rex;      // 0x40 if present with its bits, 0 if none
	uint8_t seg;      // override: 1 + X86_ES.., 0 none
	uint8_t opsize;   // 2, 4, 8 by prefixes and mode (not the 8-bit forms)
	uint8_t addrsize; // 2, 4, 8
	uint8_t mode;     // 16, 32, 64
	uint8_t pfx;      // mandatory prefix: 0, 0x66, 0xf3, 0xf2
	uint8_t base, index,
		scale; // registers, X86_REG_ZERO if none; base X86_REG_BVA if RIP-relative
	int32_t disp;
	uint64_t imm; // sign-extended; second immediate of ENTER, far pointers in imm2
	uint16_t imm2;
};

// Decodes one instruction in mode 16, 32 or 64. 0; 1 = more bytes are needed; -1 = no such instruction or over 15 bytes.
int x86_decode(const uint8_t *bytes, unsigned count, unsigned mode, struct x86_insn *ret);

// ---- binding: instruction to operation. Each returns false where it is not an instruction of this processor.
struct x86_bind {
	struct x86_cpu *cpu;
	const struct x86_insn *insn;
	struct x86_op *op; // handler and operands to fill; off, len, idx are set already
	bool ends;         // the block ends here
	bool no_fall;      // and does not fall through
	uint32_t mode;
	uint64_t gpa; // of the block's start
};
bool x86_bind_insn(struct x86_bind *b);    // bind.c
bool x86_bind_alu(struct x86_bind *b);     // alu.c
bool x86_bind_shift(struct x86_bind *b);   // shift.c
bool x86_bind_mov(struct x86_bind *b);     // mov.c
bool x86_bind_branch(struct x86_bind *b);  // branch.c
bool x86_bind_string(struct x86_bind *b);  // string.c
bool x86_bind_sys(struct x86_bind *b);     // sys.c
bool x86_bind_control(struct x86_bind *b); // control.c
// fuse.c: first may become one with the conditional jump that follows it.
void x86_fuse(struct x86_op *first, const struct x86_op *jump, unsigned cond);
bool x86_bind_bits(struct x86_bind *b);   // bits.c
bool x86_bind_simd(struct x86_bind *b);   // simd_bind.c: SSE and MMX
bool x86_bind_x87(struct x86_bind *b);    // x87.c
bool x86_bind_legacy(struct x86_bind *b); // legacy.c: what 64-bit mode lacks, and LSS, LFS, LGS
x86_fn x86_op_ud;                         // raises #UD
bool x86_near_jump(x86_fn *fn);           // branch.c: the handler of a jump or call within its page

// 8-bit register operand as byte offset into gpr.
static inline uint8_t reg8_offset(const struct x86_insn *in, unsigned r)
{
	return (uint8_t)(!in->rex && r >= 4 && r < 8 ? (r - 4) * 8 + 1 : r * 8);
}
#define R8(o) (*((uint8_t *)cpu->gpr + (o)))
#define R16(r) (*(u16u *)&cpu->gpr[r])
#define R32(r) (*(u32u *)&cpu->gpr[r])
#define R64(r) (cpu->gpr[r])

// ---- blocks (block.c)
int x86_code_init(struct x86_cpu *cpu);
void x86_code_done(struct x86_cpu *cpu);
// The block at cpu->rip; raises page faults. Never NULL.
struct x86_block *x86_block_get(struct x86_cpu *cpu, uint32_t mode);
struct x86_block *x86_block_from_bytes(struct x86_cpu *cpu);
void x86_code_flush(struct x86_cpu *cpu);
// The page at gpa has decoded code, perhaps in [off, off + len): true if stores there must be watched.
bool x86_code_in_page(struct x86_cpu *cpu, uint64_t gpa);
void x86_code_written(struct x86_cpu *cpu, uint64_t gpa, unsigned len);
void x86_code_verify(struct x86_cpu *cpu, uint64_t gpa, const uint8_t *host);
// Handles what x86_code_changed left.
bool x86_code_take_changes(struct x86_cpu *cpu); // true: too many to know
// Before an atomic operation on [gpa, gpa + len), which has no store of its own to come after: own code goes now, the other
// processors are told by x86_code_tell, at the next attention or before an interrupt is sent to one of them.
void x86_code_will_change(struct x86_cpu *cpu, uint64_t gpa, unsigned len);
void x86_code_tell(struct x86_cpu *cpu);
// The shared marks of a page, or NULL where memory is not shared.
static inline struct x86_page *cpu_page(struct x86_cpu *cpu, uint64_t gpa)
{
	return cpu->shared ? cpu->env->page(cpu->arg, gpa & PAGE_MASK_) : NULL;
}

// ---- translation (native.c)
void x86_native_init(struct x86_cpu *cpu);
void x86_native_done(struct x86_cpu *cpu);
void x86_native_flush(struct x86_cpu *cpu);
bool x86_native_full(const struct x86_cpu *cpu); // no room for another block
// Once a block, before it is entered: installs host code as handlers of some of its operations.
void x86_native_translate(struct x86_cpu *cpu, struct x86_block *b);
// Calls op's handler from C: translated code keeps no register for its caller. Returns what the handler does.
const struct x86_op *x86_enter(struct x86_cpu *cpu, const struct x86_op *op);

// ---- state helpers
void x86_update_mode(
	struct x86_cpu *cpu); // after CS, SS, CR0, CR4, EFER changes, or a new generation
void x86_update_bases(struct x86_cpu *cpu);
static inline unsigned cpu_cpl(const struct x86_cpu *cpu)
{
	return (cpu->seg[X86_SS].attributes >> 5) & 3;
}
static inline uint64_t cpu_rflags(const struct x86_cpu *cpu)
{
	return cpu->rflags | ((cpu->cc >> 8) & 0xd5) | (uint64_t)(cpu->cc & 1) << 11;
}
static inline void cpu_set_rflags(struct x86_cpu *cpu, uint64_t v)
{
	cpu->cc = (uint16_t)((v & 0xd5) << 8 | (v >> 11 & 1));
	cpu->rflags = (v & ~(uint64_t)F_ARITH) | 2;
}
// The rest of an instruction that is an interrupt or a trap (sys.c).
const struct x86_op *x86_op_interrupt(struct x86_cpu *cpu, const struct x86_op *op, unsigned vector,
				      bool software);
void x86_irq_enabled(struct x86_cpu *cpu); // IF went from 0 to 1
void x86_nmi_unmask(struct x86_cpu *cpu);

// event.c: delivers an exception or interrupt through the IDT; faults during delivery nest to #DF, then triple fault.
// Returns false on triple fault.
bool x86_deliver(struct x86_cpu *cpu, unsigned vector, bool has_error, uint32_t error,
		 bool software, uint64_t return_rip);
// desc.c: 0 or 1 with *x
int x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x);
struct x86_seg x86_unpack_descriptor(uint64_t d, uint16_t selector);
int x86_code_segment(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, bool ret,
		     struct x86_seg *out, struct x86_exception *x);
int x86_stack_segment(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, bool long_mode,
		      struct x86_seg *out, struct x86_exception *x);
// far.c: they set cpu->rip, or raise before anything changes.
void x86_iret(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize);
void x86_far_transfer(struct x86_cpu *cpu, const struct x86_op *op, uint16_t sel, uint64_t off,
		      unsigned opsize, bool call);
void x86_far_ret(struct x86_cpu *cpu, const struct x86_op *op, unsigned opsize, unsigned pop);
// Stack of privilege dpl from the TSS, for legacy (ss, esp) and 64-bit (rsp) tasks.
int x86_tss_stack(struct x86_cpu *cpu, unsigned dpl, uint16_t *ret_ss, uint64_t *ret_rsp,
		  struct x86_exception *x);
int x86_read_descriptor(struct x86_cpu *cpu, uint16_t selector, uint64_t out[2], bool wide,
			struct x86_exception *x);
int x86_load_ldtr_tr(struct x86_cpu *cpu, unsigned seg, uint16_t selector, struct x86_exception *x);

// fpu: the host runs with the guest's MXCSR (exceptions masked) and x87 state while in x86_run.
void x86_fpu_enter(struct x86_cpu *cpu);
void x86_fpu_leave(struct x86_cpu *cpu);
void x86_fpu_reset(struct x86_cpu *cpu);
// x87 state from the host into cpu->fx, if it is in the host.
void x86_fpu_sync(struct x86_cpu *cpu);

#endif

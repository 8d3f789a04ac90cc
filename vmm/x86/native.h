// SPDX-License-Identifier: Apache-2.0
// The translator: hot blocks become host code. Private to native*.c.
//
// The host's instruction set is the guest's, so most instructions are emitted as they are, with other registers in them.
// A run of operations that are all translatable becomes one segment: host code that is installed as the handler of its
// first operation. Inside it, guest registers live in host registers and flags in the host's; at its end they are back in
// struct x86_cpu and it goes on as a handler does. Whatever is not simple leaves the segment for the operation's own
// handler, with everything back in place: an instruction without translation, a miss of the TLB, a store to code, an
// address that is not canonical. So a fault is always raised by a handler, which knows how.
//
//	rdi  struct x86_cpu           rax, rcx, rdx, rsi  scratch; rdx: address of the memory operand
//	rbx, rbp, r8-r15              guest registers, as they come (x86_enter has saved those of the caller)
//	xmm0-15                       the guest's own
#ifndef VMM_X86_NATIVE_H
#define VMM_X86_NATIVE_H

#include "vmm/x86/cpu.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
enum { NO_HOST = 0xff, NATIVE_EXITS = 96, NATIVE_HEADS = 33 };

// A jump out of a segment that is still to be given its end: back to operation k.
struct native_exit {
	uint8_t *rel; // the jump's last four bytes
	const struct x86_op *op;
	x86_fn *fn;
	uint16_t gdirty, xdirty;
	uint8_t host[16]; // as in struct native_run
};

struct native_run {
	struct x86_cpu *cpu;
	struct x86_block *b;
	struct x86_native *code;
	uint8_t *p;       // where the next byte goes
	uint8_t host[16]; // of a guest register, or NO_HOST
	uint16_t pool;    // host registers not in use
	uint16_t guests;  // guest registers that have a host register
	uint16_t gdirty;  // differ from memory
	uint16_t xloaded, xdirty;
	bool in_host, in_cc; // where the flags are right
	bool open;           // inside a segment
	bool loop;           // registers stay while the block's last jump goes to its own start
	bool wants_loop;     // it does
	uint8_t *loop_head;
	unsigned n_exits, n_segments, spilled; // spilled: registers ran out
	struct native_exit exits[NATIVE_EXITS];
};

// ---- bytes
static inline void emit1(struct native_run *n, unsigned v)
{
	*n->p++ = (uint8_t)v;
}

static inline void emit4(struct native_run *n, uint32_t v)
{
	memcpy(n->p, &v, 4);
	n->p += 4;
}

static inline void emit8(struct native_run *n, uint64_t v)
{
	memcpy(n->p, &v, 8);
	n->p += 8;
}

// An opcode of any map: 0xNN, 0x0fNN, 0x0f38NN, 0x0f3aNN; pfx: 0x66, 0xf2, 0xf3 or 0. byte: REX even if empty.
static inline void emit_opcode(struct native_run *n, unsigned pfx, bool w, bool byte,
			       unsigned opcode, unsigned reg, unsigned index, unsigned base)
{
	unsigned rex =
		(unsigned)w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);

	if (pfx)
		emit1(n, pfx);
	if (rex || byte)
		emit1(n, 0x40 | rex);
	if (opcode > 0xffff)
		emit1(n, opcode >> 16);
	if (opcode > 0xff)
		emit1(n, opcode >> 8 & 0xff);
	emit1(n, opcode & 0xff);
}

static inline void emit_rr(struct native_run *n, unsigned pfx, bool w, bool byte, unsigned opcode,
			   unsigned reg, unsigned rm)
{
	emit_opcode(n, pfx, w, byte, opcode, reg, 0, rm);
	emit1(n, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

// Memory at [base + disp].
static inline void emit_rm(struct native_run *n, unsigned pfx, bool w, bool byte, unsigned opcode,
			   unsigned reg, unsigned base, int64_t disp)
{
	bool none = disp == 0 && (base & 7) != RBP, small = disp == (int8_t)disp;

	emit_opcode(n, pfx, w, byte, opcode, reg, 0, base);
	emit1(n, (none ? 0u : small ? 0x40u : 0x80u) | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		emit1(n, 0x24); // no index
	if (none)
		return;
	if (small)
		emit1(n, (uint8_t)disp);
	else
		emit4(n, (uint32_t)disp);
}

// A field of struct x86_cpu.
#define CPU_FIELD(f) ((int64_t)offsetof(struct x86_cpu, f))
static inline void emit_cpu(struct native_run *n, unsigned pfx, bool w, unsigned opcode,
			    unsigned reg, int64_t field)
{
	emit_rm(n, pfx, w, false, opcode, reg, RDI, field);
}

// Jumps: the place of their four bytes, to be filled by native_here or native_to.
static inline uint8_t *emit_jump(struct native_run *n)
{
	emit1(n, 0xe9);
	emit4(n, 0);
	return n->p - 4;
}

static inline uint8_t *emit_jcc(struct native_run *n, unsigned cond)
{
	emit1(n, 0x0f);
	emit1(n, 0x80 | cond);
	emit4(n, 0);
	return n->p - 4;
}

static inline void native_to(uint8_t *rel, const uint8_t *to)
{
	int32_t d = (int32_t)(to - (rel + 4));

	memcpy(rel, &d, 4);
}

static inline void native_here(struct native_run *n, uint8_t *rel)
{
	native_to(rel, n->p);
}

// ---- native.c
// reg = v.
void native_load(struct native_run *n, unsigned reg, uint64_t v);
// The host register of guest register g; its value is there if it is to be read.
unsigned native_gpr(struct native_run *n, unsigned g, bool read);
void native_xmm(struct native_run *n, unsigned x, bool read);
void native_flags_save(struct native_run *n);    // cpu->cc is right; the host's flags stay
void native_flags_to_host(struct native_run *n); // changes rax
static inline void native_flags_set(struct native_run *n)
{
	n->in_host = true;
	n->in_cc = false;
}
// Everything back to struct x86_cpu; changes rax, not the host's flags.
void native_spill(struct native_run *n);
// What the last jump does if taken: leave for op's handler.
void native_exit_to(struct native_run *n, uint8_t *rel, const struct x86_op *op);
// dst = the address of op's memory operand without its segment.
void native_lea(struct native_run *n, bool w, unsigned dst, const struct x86_op *op);
// rdx = host address of size bytes at op's memory operand, or op's handler.
void native_memory(struct native_run *n, const struct x86_op *op, unsigned size, bool write,
		   bool aligned);
// The same for [guest register g + disp].
void native_stack(struct native_run *n, const struct x86_op *op, unsigned g, int32_t disp,
		  bool write);
// As it was decoded, whatever has been installed since.
x86_fn *native_handler(const struct native_run *n, const struct x86_op *op);
// Goes to op's handler.
void native_leave(struct native_run *n, const struct x86_op *op);
const uint8_t *native_tail_leave(struct native_run *n); // RIP = X86_REG_BVA, back to x86_run
const uint8_t *native_tail_jump(struct native_run *n);  // JUMP_TO rdx

// One instruction each; false: it has no translation, and nothing was emitted or noted.
// native_int.c, native_simd.c:
bool native_integer(struct native_run *n, const struct x86_insn *in, const struct x86_op *op);
bool native_simd(struct native_run *n, const struct x86_insn *in, const struct x86_op *op);
// native_branch.c: the last of a block. fall: the operation after it.
bool native_branch(struct native_run *n, const struct x86_insn *in, const struct x86_op *op,
		   const struct x86_op *fall);
void native_fall(struct native_run *n, const struct x86_op *fall);

#endif

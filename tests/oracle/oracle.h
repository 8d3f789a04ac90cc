// SPDX-License-Identifier: Apache-2.0
// The real processor as oracle for vmm/x86: user-mode instructions run natively and in software from the same registers,
// flags, FPU state and memory, at the same addresses, and everything that they leave is compared.
//
// Both worlds have the same user address space: code (read-only) at RIG_CODE, two pages of data and a read-only third at RIG_DATA,
// two pages of stack below RIG_STACK, nothing around them. Natively every run ends in a signal, of the instruction under
// test or of the INT3 that stands everywhere else on the code page; its context is the result. In software the rest of
// the page holds HLT, which user mode may not execute.
#ifndef TESTS_ORACLE_ORACLE_H
#define TESTS_ORACLE_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/x86_rig.h"
#include "vmm/x86/cpu.h"

enum { ORACLE_AT = 0x800 }; // code begins here in its page
enum { ORACLE_DATA_PAGES = 3, ORACLE_STACK_PAGES = 2 };
#define ORACLE_GS (RIG_DATA + 0x400) // base of GS in both worlds

struct oracle_state {
	uint64_t gpr[16], flags, rip; // offsets are known to the trampoline
	struct x86_fx fx;
	int vector; // exception, or ORACLE_ENDED
	uint32_t error;
	uint64_t cr2;
};
enum { ORACLE_ENDED = -1, ORACLE_HANGS = -2, ORACLE_OTHER = -3 };

// xorshift64*: one stream a run, from the seed.
struct oracle_rng {
	uint64_t s;
};
uint64_t oracle_rnd(struct oracle_rng *r);
uint64_t oracle_value(struct oracle_rng *r);   // 64 bits that are often an edge of some type
uint64_t oracle_integer(struct oracle_rng *r); // often an edge of an integer
void oracle_random_fx(struct oracle_rng *r, struct x86_fx *fx, bool plain);

// ---- native.c
// Maps the address space and takes the signals. 0, or -1 where the addresses are taken. One at a time in a process.
int oracle_native_open(void);
void oracle_native_close(void);
// Runs from *s until a signal; *s gets what it left. Watched: a run of over some seconds is ORACLE_HANGS.
void oracle_native_run(struct oracle_state *s);
uint8_t *oracle_native_code(void); // the code page
// Native memory of a page by its index: code, data 0-2, stack 0-1.
enum { ORACLE_PAGES = 1 + ORACLE_DATA_PAGES + ORACLE_STACK_PAGES };
extern const uint64_t oracle_page_va[ORACLE_PAGES];
void oracle_native_write(uint64_t va, const void *data, unsigned len); // also where it is read-only

// ---- guest.c
struct oracle_guest;
// devices: no page is RAM to the processor; it emulates single instructions by translation, read and write, as behind an
// MMIO exit of a hypervisor.
struct oracle_guest *oracle_guest_new(bool devices);
void oracle_guest_free(struct oracle_guest *g);
uint8_t *oracle_guest_page(struct oracle_guest *g, unsigned page);
struct x86_cpu *oracle_guest_cpu(struct oracle_guest *g);
// Runs from *s: one instruction, given as bytes, by x86_step; or, with len 0, what is on the code page.
void oracle_guest_run(struct oracle_guest *g, struct oracle_state *s, const uint8_t *bytes,
		      unsigned len);
// Whether a byte was read, or written, more than once by the last single instruction with devices.
bool oracle_guest_twice(const struct oracle_guest *g);
// Whether it read or wrote any.
bool oracle_guest_touched(const struct oracle_guest *g);

// ---- forms.c
// A form of instruction: all that decides which handler gets it.
struct oracle_form {
	uint8_t map, opcode, pfx, w, reg, rm;
	bool modrm, mem, lock, rm_fixed;
};
struct oracle_forms {
	struct oracle_form *form;
	unsigned count, excluded;
};
// Every form that the processor accepts in 64-bit mode, but those that oracle_excluded() names.
int oracle_forms_all(struct x86_cpu *cpu, struct oracle_forms *ret);
void oracle_forms_done(struct oracle_forms *f);
bool oracle_accepts(struct x86_cpu *cpu, const uint8_t *bytes, unsigned count,
		    struct x86_insn *ret_insn);
// Writes one instruction of the form, with prefixes, registers, addresses and immediates at random, and makes the
// registers of *s and the memory behind them (native only) fit. Returns its length, or 0 if this one is to be skipped.
unsigned oracle_encode(struct oracle_rng *r, struct x86_cpu *cpu, const struct oracle_form *f,
		       uint64_t rip, struct oracle_state *s, uint8_t *bytes,
		       struct x86_insn *ret_insn);

// ---- table.c
// Why an instruction is not compared, or NULL.
const char *oracle_excluded(const struct x86_insn *in);
// Whether AMD and Intel processors differ in what it does from *s; the one in software is like Intel's.
bool oracle_vendor_specific(const struct x86_insn *in, const struct oracle_state *s);
// Whether they differ in what is left when it faults: in software with *s, natively with *a.
bool oracle_vendor_fault(const struct x86_insn *in, const struct oracle_state *a,
			 const struct oracle_state *s);
// Whether it is known to differ from *s, and left so.
bool oracle_known_to_differ(const struct x86_insn *in, const struct oracle_state *s);
// Flags that it leaves undefined from these registers.
uint32_t oracle_undefined(const struct x86_insn *in, const uint64_t gpr[16]);
// Whether its operand is reached in parts, in an order of the processor's choice: which byte faults is not told.
bool oracle_in_parts(const struct x86_insn *in);
// Bytes of what it stores that processors fill in different ways: [*ret_at, + *ret_len) of the operand, or 0.
unsigned oracle_undefined_memory(const struct x86_insn *in, unsigned *ret_at);

#endif

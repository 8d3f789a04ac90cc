// SPDX-License-Identifier: Apache-2.0
// One x86-64 processor in software: decoder and executor. Used as the processor of vmm/soft, and, with a translating
// environment, to emulate the single instruction behind an MMIO exit of a hypervisor.
// Numbers follow the Intel SDM (vol. 1-4); segment and table layouts are those of the Hyper-V register values.
#ifndef VMM_X86_X86_H
#define VMM_X86_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x86_cpu;

enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI
}; // R8..R15 follow
enum x86_seg_index {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
	X86_LDTR,
	X86_TR,
	X86_SEG_COUNT
};

// As hv_x64_segment_register: attributes = type:4 s:1 dpl:2 p:1 reserved:4 avl:1 l:1 d_b:1 g:1.
struct x86_seg {
	uint64_t base;
	uint32_t limit; // in bytes, granularity applied
	uint16_t selector;
	uint16_t attributes;
};

struct x86_table {
	uint16_t limit;
	uint64_t base;
};

// The whole architectural state that a hypervisor's register interface can name. Copied in and out.
struct x86_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct x86_seg seg[X86_SEG_COUNT];
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
	uint64_t dr[8];
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux;
	uint8_t fxsave[512] __attribute__((aligned(16))); // FXSAVE64 image: x87, MXCSR, XMM0-15
	bool interrupt_shadow, nmi_masked, halted;
};

// How a memory access is meant; also the low bits of a page-fault error code where they coincide.
enum x86_access { X86_READ = 1, X86_WRITE = 2, X86_EXEC = 4, X86_USER = 8 };

// An exception on its way into the guest.
struct x86_exception {
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t cr2; // for vector 14
};

// What the processor needs from around it. Every function is called on the thread that runs the processor.
struct x86_env {
	// Host address of the 4 KiB guest page at gpa (page aligned), valid until x86_flush_tlb; *writable says whether
	// stores may go there. NULL: not RAM, use read/write below. NULL function: nothing is RAM.
	void *(*ram)(void *arg, uint64_t gpa, bool *writable);
	// Guest-physical access outside RAM (local APIC page, doorbells, devices). len 1..8 (never crosses a page).
	// 0 = done. X86_ENV_EXIT = stop before this instruction has any effect and leave with X86_EXIT_MMIO.
	int (*read)(void *arg, uint64_t gpa, void *data, unsigned len);
	int (*write)(void *arg, uint64_t gpa, const void *data, unsigned len);
	// Guest-virtual to guest-physical. NULL: the processor walks the guest's page tables itself. Otherwise 0 with
	// *ret_gpa, or 1 with *fault filled (to be raised in the guest), or X86_ENV_EXIT.
	int (*translate)(void *arg, uint64_t gva, unsigned access, uint64_t *ret_gpa,
			 struct x86_exception *fault);
	// 0, or 1: raise #GP(0). MSRs held in x86_state (EFER, STAR, FS_BASE...) are handled inside and do not come here;
	// EFER, PAT and the rest of those the state holds do not come here. TSC (0x10), APIC_BASE, x2APIC, Hyper-V,
	// 0x6e0 and everything else do. X86_ENV_EXIT = leave with X86_EXIT_MSR (an intercept is installed).
	int (*rdmsr)(void *arg, uint32_t msr, uint64_t *value);
	int (*wrmsr)(void *arg, uint32_t msr, uint64_t value);
	// Fills out[4] = EAX EBX ECX EDX. X86_ENV_EXIT = leave with X86_EXIT_CPUID.
	int (*cpuid)(void *arg, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	// Port I/O. 0 = done; X86_ENV_EXIT = leave with X86_EXIT_IO. size 1, 2, 4.
	int (*in)(void *arg, uint16_t port, unsigned size, uint32_t *value);
	int (*out)(void *arg, uint16_t port, unsigned size, uint32_t value);
	// CR8 (task priority, bits 3:0) lives in the local APIC.
	uint64_t (*cr8_read)(void *arg);
	void (*cr8_write)(void *arg, uint64_t value);
	// VMCALL in 64-bit mode: the hypercall. 0 = done (registers updated by the callee), 1 = raise #UD.
	int (*vmcall)(void *arg, struct x86_cpu *cpu);
	// Called when x86_attention was seen, at an instruction boundary. 0 = go on; otherwise leave with
	// X86_EXIT_ATTENTION.
	int (*attention)(void *arg);
	// Interrupts are deliverable now (IF = 1, no shadow): the vector to take and acknowledge, or -1.
	int (*interrupt)(void *arg);
	// True if an interrupt would be taken were IF = 1: then the processor asks again when IF becomes 1.
	bool (*interrupt_waiting)(void *arg);
	// A translation to the RAM page at gpa is about to serve access (X86_READ, X86_WRITE or X86_EXEC). Returns
	// X86_TOUCH_*. NULL: nobody keeps count.
	unsigned (*touch)(void *arg, uint64_t gpa, unsigned access);
	// True: leave with X86_EXIT_MSR instead of the access, for the MSRs that do not come to rdmsr and wrmsr too.
	bool (*msr_intercept)(void *arg, uint32_t msr, bool write);
	// An exception is about to be delivered. X86_ENV_EXIT = leave with X86_EXIT_EXCEPTION, RIP at the instruction.
	int (*exception)(void *arg, const struct x86_exception *x);
	// The next three only for processors of one guest that share its memory (x86_share); NULL without.
	// Marks of the RAM page at gpa, the same for all of them; NULL: no RAM. Valid as ram's answer.
	struct x86_page *(*page)(void *arg, uint64_t gpa);
	// true: returns when every other processor has stopped between instructions; false: they go on.
	void (*exclusive)(void *arg, bool begin);
	// x86_drop_writes or x86_code_changed for every other processor; the first only within exclusive.
	void (*drop_writes)(void *arg, const void *host_page);
	void (*code_changed)(void *arg, uint64_t gpa);
};

// What processors that share memory tell each other of a page: a bit per processor (its index modulo 8).
struct x86_page {
	_Atomic uint8_t code;    // has decoded code from it, perhaps
	_Atomic uint8_t written; // may store to it without telling
};

// WRITTEN: the page counts as written, stores may go there unseen. DENIED: not for this access, leave for the VMM.
enum { X86_TOUCH_WRITTEN = 1, X86_TOUCH_DENIED = 2 };
// write may also return X86_ENV_FAULT: #GP(0).
enum { X86_ENV_EXIT = -1, X86_ENV_FAULT = 1 };

enum x86_exit_reason {
	X86_EXIT_NONE, // x86_step only: the instruction completed (or raised an exception that was delivered)
	X86_EXIT_HLT, // RIP is after HLT
	X86_EXIT_MMIO, // env->read/write/translate refused; RIP is at the instruction; nothing has changed
	X86_EXIT_IO,
	X86_EXIT_MSR,
	X86_EXIT_CPUID, // RIP at the instruction for these three
	X86_EXIT_ATTENTION,
	X86_EXIT_TRIPLE_FAULT,
	X86_EXIT_FAULT, // translating environments only: the instruction faults; *fault says with what
	X86_EXIT_UNSUPPORTED, // an instruction this processor does not have, in a translating environment; a task switch
	X86_EXIT_EXCEPTION, // env->exception wants it: *fault; by INT3 if insn_len is not 0
};

struct x86_exit {
	enum x86_exit_reason reason;
	uint8_t insn_len;   // IO, MSR, CPUID, HLT: length of the instruction
	uint8_t insn_bytes; // how many of insn[] were fetched (MMIO, IO)
	uint8_t insn[15];
	// MMIO
	uint64_t gva, gpa;
	unsigned access; // X86_READ / X86_WRITE / X86_EXEC
	unsigned size;
	// IO
	uint16_t port;
	bool is_write, is_string, is_rep;
	// MSR, CPUID
	uint32_t msr;
	struct x86_exception fault; // FAULT, EXCEPTION
};

// env and arg are borrowed for the processor's life. features: bits the decoder honours are fixed (x86-64-v2 and
// those of softcpu.md 3.3 stage 1). Returns NULL without memory. State is that of RESET with CS:RIP left zero; set it.
struct x86_cpu *x86_cpu_new(const struct x86_env *env, void *arg);
void x86_cpu_free(struct x86_cpu *cpu);

void x86_get_state(struct x86_cpu *cpu, struct x86_state *ret_state);
void x86_set_state(struct x86_cpu *cpu,
		   const struct x86_state *state); // flushes translations as needed

// Cheap access for exits: the 16 GPRs in place; RIP and RFLAGS (lazy flags are materialised).
uint64_t *x86_gprs(struct x86_cpu *cpu);
uint64_t x86_rip(const struct x86_cpu *cpu);
void x86_halt(struct x86_cpu *cpu);                  // between runs: as after HLT
void x86_set_rip(struct x86_cpu *cpu, uint64_t rip); // also ends an interrupt shadow and a halt
uint64_t x86_rflags(struct x86_cpu *cpu);
void x86_set_rflags(struct x86_cpu *cpu, uint64_t rflags);
unsigned x86_cpl(const struct x86_cpu *cpu);

// Runs until an exit; never returns X86_EXIT_NONE. May be called again after any exit but TRIPLE_FAULT.
void x86_run(struct x86_cpu *cpu, struct x86_exit *ret_exit);
// Executes exactly one instruction (REP string forms: some thousand iterations; RIP stays if there are more). bytes, if count > 0, are the instruction's
// bytes and are used instead of fetching; if they are too few the rest is fetched.
void x86_step(struct x86_cpu *cpu, const uint8_t *bytes, unsigned count, struct x86_exit *ret_exit);

// Blocks of 64-bit code become host code after that many entries; 0: never. Default: where host memory can be made
// executable, some tens. Before the first run.
void x86_set_translate(struct x86_cpu *cpu, uint8_t after);

// Makes a running processor call env->attention soon (tens of instructions). Any thread, async-signal-safe.
void x86_attention(struct x86_cpu *cpu);

// Delivers an event at the next instruction boundary of x86_run: an exception, NMI (vector 2, is_nmi) or a vector that
// the caller has already acknowledged. Only between runs or from env callbacks.
struct x86_event {
	uint8_t vector;
	bool is_nmi, is_exception, has_error;
	bool is_software; // INT n, INT3: it returns to after the instruction
	uint8_t insn_len; // of that
	uint32_t error;
	uint64_t cr2;
};
void x86_inject(struct x86_cpu *cpu, const struct x86_event *ev);
bool x86_event_pending(const struct x86_cpu *cpu);
bool x86_event_get(const struct x86_cpu *cpu, struct x86_event *ret); // false: none is pending
void x86_event_clear(struct x86_cpu *cpu);
bool x86_nmi_masked(const struct x86_cpu *cpu); // until IRET
bool x86_interrupt_shadow(
	const struct x86_cpu *cpu); // after STI or a load of SS: attention comes again

// Guest RAM mappings changed (env->ram answers differ): forget every host address. Between runs or from attention.
void x86_flush_tlb(struct x86_cpu *cpu);
// Guest RAM may have been written by somebody who is not one of the guest's processors (a device, the VMM): decoded code
// is compared with memory before it is next entered. Any thread.
void x86_notify_write(struct x86_cpu *cpu);

// Several processors, one guest: before any of them runs. index tells them apart.
void x86_share(struct x86_cpu *cpu, unsigned index);
// Another processor stored to a page that has this one's code. Any thread.
void x86_code_changed(struct x86_cpu *cpu, uint64_t gpa);
// Stores to the page at host_page must be seen again. The processor is stopped.
void x86_drop_writes(struct x86_cpu *cpu, const void *host_page);

// The state after INIT (SDM vol. 3, table 9-1): MSRs but EFER, x87 and SSE stay. Between runs.
void x86_init(struct x86_cpu *cpu);
// Starts after INIT at vector << 12. Between runs.
void x86_sipi(struct x86_cpu *cpu, uint8_t vector);

// Page walk as the guest would do it, without setting A/D bits unless set_ad. access: X86_READ/WRITE/EXEC | X86_USER.
// 0 with *ret_gpa, or 1 with *fault.
int x86_translate(struct x86_cpu *cpu, uint64_t gva, unsigned access, bool set_ad,
		  uint64_t *ret_gpa, struct x86_exception *fault);

// TSC = host TSC + offset. env->rdmsr(0x10) and RDTSC agree through this.
void x86_set_tsc_offset(struct x86_cpu *cpu, int64_t offset);
int64_t x86_tsc_offset(const struct x86_cpu *cpu);

// Instructions retired since creation; a REP string instruction counts one.
uint64_t x86_instructions(const struct x86_cpu *cpu);

#endif

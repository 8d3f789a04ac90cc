// SPDX-License-Identifier: Apache-2.0
// Runs one instruction on the real processor and in software from the same registers, FPU state and memory, and compares
// all that it leaves. For tests of vmm/x86; the including file is one program.
#ifndef TESTS_UNIT_X86_NATIVE_H
#define TESTS_UNIT_X86_NATIVE_H

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tests/unit/x86_rig.h"
#include "vmm/x86/cpu.h"

enum { NATIVE_DATA = 1024, NATIVE_AT = 256 }; // operands start about NATIVE_AT in the data

struct native {
	uint64_t gpr[16], flags, pad; // offsets are known to the trampoline
	struct x86_fx fx;
};

// rdi = struct native, rsi = code, which ends with RET. RSP is not loaded.
__asm__(".text\n"
	"native_fx_run:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rdi; push %rsi\n"
	"	fxrstor64 144(%rdi)\n"
	"	push 128(%rdi); popf\n"
	"	mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp; mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"
	"	call *(%rsp)\n"
	"	pushf; push %rdi\n"
	"	mov 24(%rsp), %rdi\n"
	"	pop 56(%rdi); pop 128(%rdi)\n"
	"	mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi); mov %rsi, 48(%rdi); mov %r8, 64(%rdi); mov %r9, 72(%rdi)\n"
	"	mov %r10, 80(%rdi); mov %r11, 88(%rdi); mov %r12, 96(%rdi); mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
	"	fxsave64 144(%rdi)\n"
	"	fninit\n"
	"	push $0x1f80; ldmxcsr (%rsp); add $24, %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");
void native_fx_run(struct native *n, const void *code);

struct bench {
	struct rig rig;
	uint8_t *code; // native, executable
	uint8_t *data; // native operands; the rig's are at RIG_DATA
	unsigned skew; // where the rig's operands begin in its data page
	unsigned ran, faulted;
};

static sigjmp_buf native_unwind;
static volatile sig_atomic_t native_signal;
static volatile uint32_t native_mxcsr;

static void native_trap(int sig, siginfo_t *info, void *uc)
{
	(void)info;
	native_signal = sig;
	native_mxcsr = ((ucontext_t *)uc)->uc_mcontext.fpregs->mxcsr;
	siglongjmp(native_unwind, 1);
}

static uint64_t bench_rng_state = 88172645463325252ull;
static uint64_t rnd(void)
{
	bench_rng_state ^= bench_rng_state << 13;
	bench_rng_state ^= bench_rng_state >> 7;
	bench_rng_state ^= bench_rng_state << 17;
	return bench_rng_state * 0x2545f4914f6cdd1dull;
}

// 64 bits that are often an edge of some type.
static uint64_t rnd_value(void)
{
	static const uint64_t d[] = {
		0,
		1ull << 63,
		0x7ff0000000000000,
		0xfff0000000000000,
		0x7ff8000000000000,
		0x7ff0000000000001,
		0xfff4000000000000,
		1,
		0x000fffffffffffff,
		0x0010000000000000,
		0x7fefffffffffffff,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x3ff8000000000000,
		0x4000000000000000,
		0x41dfffffffc00000,
		0xc1e0000000000000,
		0x43e0000000000000,
		0xc3e0000000000000,
		0x36a0000000000000,
		0x47efffffe0000000,
		0x3fe0000000000000,
		~0ull,
		0x7fffffffffffffff,
		0x8080808080808080,
		0x00ff00ff00ff00ff,
		0x7fff80007fff8000,
		5,
		0x40,
	};
	static const uint32_t f[] = {
		0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffa00000,
		1,          0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x3fc00000,
		0x4f000000, 0xcf000000, 0x3f000000, 0x5f000000, 0x33000000,
	};
	unsigned k = rnd() % 5;

	if (k == 0)
		return rnd();
	if (k == 1) // a double of moderate size
		return (rnd() & 0x800fffffffffffff) | (0x3f0 + rnd() % 60) << 52;
	if (k == 2)
		return d[rnd() % (sizeof(d) / sizeof(d[0]))];
	if (k == 3)
		return (uint64_t)f[rnd() % 19] << 32 | f[rnd() % 19];
	return (rnd() & 0x807fffff807fffff) | (0x70 + rnd() % 32) << 23 | (0x70 + rnd() % 32) << 55;
}

static inline void bench_init(struct bench *b)
{
	struct sigaction sa = { .sa_sigaction = native_trap, .sa_flags = SA_SIGINFO | SA_NODEFER };

	memset(b, 0, sizeof(*b));
	rig_init(&b->rig);
	b->code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	b->data = aligned_alloc(64, NATIVE_DATA);
	(void)sigaction(SIGILL, &sa, NULL); // these four have valid arguments
	(void)sigaction(SIGSEGV, &sa, NULL);
	(void)sigaction(SIGBUS, &sa, NULL);
	(void)sigaction(SIGFPE, &sa, NULL);
}

static inline void bench_done(struct bench *b)
{
	for (int s = 0; s < 4; s++)
		(void)signal((const int[]){ SIGILL, SIGSEGV, SIGBUS, SIGFPE }[s],
			     SIG_DFL); // cannot fail
	(void)munmap(b->code, 4096);   // as mapped above
	free(b->data);
	rig_done(&b->rig);
}

static inline uint8_t *bench_guest_data(struct bench *b)
{
	return b->rig.ram + RIG_GPA_DATA * 4096 + b->skew;
}

// Registers for one run: random but RSP, with RDI left for bench_run.
static inline void bench_random(struct native *n)
{
	memset(n, 0, sizeof(*n));
	for (unsigned i = 0; i < 16; i++)
		n->gpr[i] = rnd_value();
	n->flags = (rnd() & F_ARITH) | 2;
	n->fx.fcw = (uint16_t)(0x37f & ~0xf00) |
		    (rnd() % 4 == 0 ? (rnd() & 3) << 10 | (rnd() & 1 ? 0x200 : 0x300) : 0x300);
	n->fx.mxcsr = 0x1f80 | (rnd() & 0x3f & rnd()) | (rnd() % 3 == 0 ? rnd() & 0xe040 : 0);
	n->fx.mxcsr_mask = 0xffff;
	for (unsigned i = 0; i < 16; i++) {
		n->fx.xmm[i].q[0] = rnd_value();
		n->fx.xmm[i].q[1] = rnd_value();
	}
}

// Error summary by flags and masks, as the processor has it.
static inline void fx_summary(struct native *n)
{
	bool pending = n->fx.fsw & ~n->fx.fcw & 0x3f;

	n->fx.fsw = (uint16_t)((n->fx.fsw & ~0x8080) | (pending ? 0x8080 : 0));
}

// Runs natively from *n, which gets the result. Signal, or 0.
static inline int bench_native(struct bench *b, struct native *n, const uint8_t *bytes,
			       unsigned len)
{
	memcpy(b->code, bytes, len);
	b->code[len] = 0xc3;
	native_signal = 0;
	if (sigsetjmp(native_unwind, 1) == 0)
		native_fx_run(n, b->code);
	return native_signal;
}

// Runs in software. Vector + 1 of the exception, or 0.
static inline int bench_soft(struct bench *b, struct native *n, const uint8_t *bytes, unsigned len)
{
	struct x86_cpu *cpu = b->rig.cpu;
	struct x86_exit ex;
	uint64_t rsp = cpu->gpr[X86_RSP];

	memcpy(cpu->gpr, n->gpr, sizeof(n->gpr));
	cpu->gpr[X86_RSP] = rsp;
	cpu->fx = n->fx;
	cpu->rip = RIG_CODE;
	cpu_set_rflags(cpu, n->flags);
	x86_update_mode(cpu);
	x86_step(cpu, bytes, len, &ex);
	memcpy(n->gpr, cpu->gpr, sizeof(n->gpr));
	n->gpr[X86_RSP] = 0;
	n->fx = cpu->fx;
	n->flags = cpu_rflags(cpu);
	if (ex.reason == X86_EXIT_TRIPLE_FAULT)
		return cpu->exc.vector + 1;
	return ex.reason == X86_EXIT_NONE ? 0 : -1;
}

static inline void fx_print(const char *who, const struct native *n)
{
	printf("%s: cw %04x sw %04x tag %02x mxcsr %04x flags %04x\n", who, n->fx.fcw, n->fx.fsw,
	       n->fx.ftw, n->fx.mxcsr, (unsigned)n->flags);
	for (unsigned i = 0; i < 8; i++)
		printf("  st%u %02x%02x%016lx", i, n->fx.st[i].b[9], n->fx.st[i].b[8],
		       *(const uint64_t *)(const void *)n->fx.st[i].b);
	printf("\n");
	for (unsigned i = 0; i < 16; i++)
		printf("  r%-2u %016lx x %016lx%016lx%s", i, n->gpr[i], n->fx.xmm[i].q[1],
		       n->fx.xmm[i].q[0], i & 1 ? "\n" : "");
}

static inline bool fx_equal(const struct native *a, const struct native *s)
{
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(a->fx.st[i].b, s->fx.st[i].b, 10))
			return false;
	for (unsigned i = 0; i < 16; i++)
		if (i != X86_RSP && i != X86_RDI && a->gpr[i] != s->gpr[i])
			return false;
	return a->fx.fcw == s->fx.fcw && a->fx.fsw == s->fx.fsw && a->fx.ftw == s->fx.ftw &&
	       a->fx.mxcsr == s->fx.mxcsr && !memcmp(a->fx.xmm, s->fx.xmm, sizeof(a->fx.xmm)) &&
	       !((a->flags ^ s->flags) & F_ARITH);
}

static inline int vector_of(int sig, int got)
{
	switch (sig) {
	case 0:
		return 0;
	case SIGILL:
		return EXC_UD + 1;
	case SIGFPE:
		return got == EXC_XM + 1 ? got : EXC_MF + 1;
	default:
		return EXC_GP + 1;
	}
}

// One instruction from *start, RDI pointing at data + at in both worlds. mask, if given, makes the two memories comparable
// (instruction pointers in x87 images). True if all is equal; prints the difference otherwise.
static inline bool bench_run(struct bench *b, const char *name, const struct native *start,
			     const uint8_t *bytes, unsigned len, unsigned at,
			     void (*mask)(uint8_t *data))
{
	struct native a = *start, s = *start;
	uint8_t *guest = bench_guest_data(b);
	int sig, vec;

	memcpy(guest, b->data, NATIVE_DATA);
	a.gpr[X86_RDI] = (uintptr_t)b->data + at;
	s.gpr[X86_RDI] = RIG_DATA + b->skew + at;
	sig = bench_native(b, &a, bytes, len);
	vec = bench_soft(b, &s, bytes, len);
	b->ran++;
	b->faulted += sig != 0;
	if (mask) {
		mask(b->data);
		mask(guest);
	}
	if (vec == vector_of(sig, vec) && (sig || fx_equal(&a, &s)) &&
	    !memcmp(b->data, guest, NATIVE_DATA))
		return true;
	printf("%s:", name);
	for (unsigned i = 0; i < len; i++)
		printf(" %02x", bytes[i]);
	printf("\nsignal %d, exception %d, memory %s\n", sig, vec - 1,
	       memcmp(b->data, guest, NATIVE_DATA) ? "differs" : "same");
	fx_print("before", start);
	fx_print("native", &a);
	fx_print("soft  ", &s);
	for (unsigned i = 0; i < NATIVE_DATA; i++)
		if (b->data[i] != guest[i])
			printf("  data[%u]: native %02x soft %02x\n", i, b->data[i], guest[i]);
	return false;
}

#endif

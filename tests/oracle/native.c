// SPDX-License-Identifier: Apache-2.0
// The native half of the oracle: the address space, the way into the code under test, and the signals that end it.
#include "tests/oracle/oracle.h"

#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { ALT_STACK = 256 << 10, WATCH_MS = 2000 };

const uint64_t oracle_page_va[ORACLE_PAGES] = {
	RIG_CODE,          RIG_DATA,           RIG_DATA + 0x1000,
	RIG_DATA + 0x2000, RIG_STACK - 0x2000, RIG_STACK - 0x1000,
};

// rdi = struct oracle_state. Loads everything and goes there by IRET, which also makes the processor look at the code anew
// (it was written by another address). oracle_leave, in a signal handler, comes back as its return.
__asm__(".text\n"
	"oracle_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, oracle_stack(%rip)\n"
	"	pushq $2; popfq\n" // a code before may have left NT, with which IRET faults
	"	fxrstor64 144(%rdi)\n"
	"	mov %ss, %eax; push %rax; push 32(%rdi); push 128(%rdi); mov %cs, %eax; push %rax\n"
	"	push 136(%rdi)\n"
	"	mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp; mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"
	"	iretq\n"
	"oracle_leave:\n"
	"	mov oracle_stack(%rip), %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".local oracle_stack\n"
	".comm oracle_stack, 8, 8\n");
void oracle_enter(const struct oracle_state *s);
void oracle_leave(void);

static struct {
	struct oracle_state *result; // while a run is on
	void *alt;
	uint8_t *code; // the code page, writable
	unsigned runs;
} native;

static const int signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
static const int gregs[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

// It is left without a return: AddressSanitizer would not understand.
__attribute__((no_sanitize("address", "undefined"))) static void on_signal(int sig, siginfo_t *info,
									   void *context)
{
	const mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
	struct oracle_state *s = native.result;

	(void)info;
	if (!s) { // the test itself is at fault
		(void)signal(sig, SIG_DFL);
		(void)raise(sig); // cannot fail
		return;
	}
	if (sig == SIGALRM && (m->gregs[REG_RIP] & ~0xfffll) != RIG_CODE)
		return; // between runs, or nearly
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = (uint64_t)m->gregs[gregs[i]];
	s->flags = (uint64_t)m->gregs[REG_EFL];
	s->rip = (uint64_t)m->gregs[REG_RIP];
	memcpy(&s->fx, m->fpregs, sizeof(s->fx));
	s->vector = (int)m->gregs[REG_TRAPNO];
	s->error = (uint32_t)m->gregs[REG_ERR];
	s->cr2 = (uint64_t)m->gregs[REG_CR2];
	if (sig == SIGALRM)
		s->vector = ORACLE_HANGS;
	if (sig == SIGTRAP && s->vector == EXC_BP) {
		s->vector = ORACLE_ENDED;
		s->rip--;
	}
	oracle_leave();
}

static int map_all(void)
{
	// What runs must not be able to write its own page: that goes by another mapping of it.
	int fd = memfd_create("oracle code", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 4096) < 0)
		return -1;
	native.code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (native.code == MAP_FAILED)
		return -1;
	for (unsigned i = 0; i < ORACLE_PAGES; i++) {
		void *want = (void *)(uintptr_t)oracle_page_va[i];
		int prot = PROT_READ | (i == 0 ? PROT_EXEC : PROT_WRITE);
		int flags =
			MAP_FIXED_NOREPLACE | (i == 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);

		if (mmap(want, 4096, prot, flags, i == 0 ? fd : -1, 0) != want)
			return -1;
	}
	(void)close(fd); // the mappings keep it
	memset(native.code, 0xcc, 4096);
	return mprotect((void *)(uintptr_t)oracle_page_va[ORACLE_DATA_PAGES], 4096, PROT_READ);
}

int oracle_native_open(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	stack_t alt = { .ss_size = ALT_STACK };

	native.alt = malloc(ALT_STACK);
	alt.ss_sp = native.alt;
	if (!native.alt || map_all() < 0 || sigaltstack(&alt, NULL) < 0 ||
	    syscall(SYS_arch_prctl, ARCH_SET_GS, ORACLE_GS) < 0)
		return -1;
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL); // the arguments are valid
	return 0;
}

void oracle_native_close(void)
{
	stack_t off = { .ss_flags = SS_DISABLE };

	(void)setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL); // valid arguments
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_DFL); // cannot fail
	(void)sigaltstack(&off, NULL);             // as above
	free(native.alt);
	(void)munmap(native.code, 4096); // as mapped
	for (unsigned i = 0; i < ORACLE_PAGES; i++)
		(void)munmap((void *)(uintptr_t)oracle_page_va[i], 4096); // as mapped
}

uint8_t *oracle_native_code(void)
{
	return native.code;
}

// The timer is set anew now and then only: it has to end a hang, not to measure it.
static void watch(void)
{
	const struct itimerval t = { .it_interval = { .tv_sec = 1 },
				     .it_value = { .tv_sec = WATCH_MS / 1000 } };

	if (native.runs++ % 4096 == 0)
		(void)setitimer(ITIMER_REAL, &t, NULL); // valid arguments
}

void oracle_native_run(struct oracle_state *s)
{
	struct oracle_state from = *s;

	watch();
	native.result = s;
	oracle_enter(&from);
	native.result = NULL;
}

void oracle_native_write(uint64_t va, const void *data, unsigned len)
{
	const uint8_t *p = data;

	for (unsigned i = 0; i < len; i++)
		for (unsigned k = 0; k < ORACLE_PAGES; k++)
			if (k && k != ORACLE_DATA_PAGES &&
			    (va + i) >> 12 == oracle_page_va[k] >> 12)
				*(uint8_t *)(uintptr_t)(va + i) = p[i];
}

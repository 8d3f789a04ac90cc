// SPDX-License-Identifier: Apache-2.0
// Signals of the program. In the kernel a signal ends RUN_VP with EINTR, and its handler runs once the call has returned.
// Here the call is a function, so every handler the program installs is kept in a table and ours takes its place:
//
//   the thread is outside the partition     the program's handler runs, nothing else happens
//   in RUN_VP                               the VP is told to stop; the signal is sent again when RUN_VP has returned
//   in another call                         the signal is sent again when that has returned
//
// So no handler runs while the partition's locks are held, and none finds the processor half-way. What the kernel would not
// notice, a blocked or ignored signal, is not noticed here either: then our handler does not run. A signal that comes just
// before RUN_VP is lost to it, as in the kernel. Faults of the thread itself are never put off.
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/hv/mshv_sys.h"
#include "vmm/preload/preload.h"

#define EXPORT __attribute__((visibility("default")))
enum { SIGNALS = 65, DEFERRED = 16 };

static struct {
	_Atomic uintptr_t handler; // the program's
	_Atomic int flags;
} program[SIGNALS];

static _Thread_local struct {
	volatile sig_atomic_t call; // enum preload_call
	volatile sig_atomic_t n;
	siginfo_t deferred[DEFERRED];
} here;

bool preload_inside(void)
{
	return here.call != PRELOAD_NONE;
}

enum preload_call preload_enter(enum preload_call call)
{
	enum preload_call before = (enum preload_call)here.call;

	here.call = call;
	return before;
}

void preload_leave(enum preload_call before)
{
	siginfo_t again[DEFERRED];
	int n, saved = errno;

	here.call = before;
	n = before == PRELOAD_NONE ? here.n : 0;
	if (!n)
		return;
	memcpy(again, here.deferred, sizeof(*again) * (size_t)n);
	here.n = 0;
	for (int i = 0; i < n;
	     i++) // a signal to oneself cannot fail but for a full queue, which loses it
		(void)syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), again[i].si_signo,
			      &again[i]);
	errno = saved;
}

static void program_handle(int sig, siginfo_t *info, void *context)
{
	uintptr_t fn = atomic_load(&program[sig].handler);

	if (atomic_load(&program[sig].flags) & SA_SIGINFO)
		((void (*)(int, siginfo_t *, void *))fn)(sig, info, context);
	else
		((void (*)(int))fn)(sig);
}

static bool can_wait(int sig, const siginfo_t *info)
{
	bool fault = info->si_code > 0 && info->si_code != SI_KERNEL &&
		     (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
		      sig == SIGTRAP);

	// A handler for one signal only is gone by now: sent again it would be the default action.
	return !fault && !(atomic_load(&program[sig].flags) & SA_RESETHAND) && here.n < DEFERRED;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	bool later = here.call == PRELOAD_SHORT;

	// False where no VP runs on this thread yet: the signal came before RUN_VP.
	if (here.call == PRELOAD_RUN)
		later = mshv_sys_soft.interrupted();
	if (later && can_wait(sig, info)) {
		here.deferred[here.n] = *info;
		here.n = here.n + 1;
		return;
	}
	program_handle(sig, info, context);
}

static bool is_function(uintptr_t handler)
{
	return handler != (uintptr_t)SIG_DFL && handler != (uintptr_t)SIG_IGN;
}

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	static _Atomic uintptr_t next;
	uintptr_t fn = atomic_load(&next), was = 0;
	struct sigaction ours, before;
	int was_flags = 0, r;

	if (!fn) {
		fn = (uintptr_t)preload_next("sigaction");
		atomic_store(&next, fn);
	}
	if (sig > 0 && sig < SIGNALS) {
		was = atomic_load(&program[sig].handler);
		was_flags = atomic_load(&program[sig].flags);
	}
	if (act && sig > 0 && sig < SIGNALS && is_function((uintptr_t)act->sa_handler)) {
		ours = *act;
		// Before it is installed: it may be called at once.
		atomic_store(&program[sig].handler, (uintptr_t)act->sa_handler);
		atomic_store(&program[sig].flags, act->sa_flags);
		ours.sa_sigaction = on_signal;
		ours.sa_flags |= SA_SIGINFO;
		act = &ours;
	}
	r = ((__typeof__(&sigaction))fn)(sig, act, &before);
	if (r == 0 && old) {
		*old = before;
		if (before.sa_sigaction == on_signal) {
			old->sa_handler = (void (*)(int))was;
			old->sa_flags = (before.sa_flags & ~SA_SIGINFO) | (was_flags & SA_SIGINFO);
		}
	}
	return r;
}

// As the C library's: a handler that stays, and calls that are restarted.
EXPORT void (*signal(int sig, void (*handler)(int)))(int)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;

	(void)sigemptyset(&act.sa_mask);    // cannot fail
	(void)sigaddset(&act.sa_mask, sig); // a bad number fails below
	return sigaction(sig, &act, &old) == 0 ? old.sa_handler : SIG_ERR;
}

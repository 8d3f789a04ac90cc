// SPDX-License-Identifier: Apache-2.0
// fork + exec with descriptors by number. The child's failure comes back over a close-on-exec pipe as errno and step.
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

enum { SPAWN_FDS_MAX = 64 };

struct spawn_failure {
	int code;
	char step[32];
};

static _Noreturn void child_fail(int report, const char *step)
{
	struct spawn_failure f = { .code = errno };

	strncpy(f.step, step, sizeof(f.step) - 1);
	(void)io_write_full(report, &f, sizeof(f)); // the parent sees the exit status anyway
	_exit(127);
}

// Puts map[i] at descriptor i. All sources are first lifted above the targets so that none is overwritten before use.
static int child_place_fds(const int *map, unsigned nmap, int *report)
{
	int high[SPAWN_FDS_MAX];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -1;
	*report = fcntl(*report, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
	if (*report < 0)
		return -1;
	for (unsigned i = 0; i < nmap || i < 3; i++) {
		int src = i < nmap ? map[i] : -1;

		if (src < 0 && i < 3)
			src = null;
		high[i] = src < 0 ? -1 : fcntl(src, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
		if (src >= 0 && high[i] < 0)
			return -1;
	}
	for (unsigned i = 0; i < nmap || i < 3; i++) {
		if (high[i] < 0)
			close_fd((int)i);
		else if (dup2(high[i], (int)i) < 0)
			return -1;
	}
	// Everything else goes at exec; the report pipe must stay until then.
	return (int)syscall(SYS_close_range, nmap > 3 ? nmap : 3, ~0u, CLOSE_RANGE_CLOEXEC);
}

static int child_drop_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	// Bounding set first: dropping it needs CAP_SETPCAP. A caller without it has nothing to drop.
	for (int cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno == EINVAL)
			break;
	}
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
		    0); // absent only on kernels without ambient sets
	// Permitted and effective go too: a program exec'd by uid 0 gets the (now empty) bounding set, and no more.
	memset(d, 0, sizeof(d));
	return (int)syscall(SYS_capset, &h, d);
}

static _Noreturn void child_run(const char *path, char *const argv[], char *const envp[],
				const int *map, unsigned nmap, unsigned flags, int report)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &sa, NULL); // SIGKILL, SIGSTOP and the C library's own refuse
	(void)sigemptyset(&none);              // cannot fail
	(void)sigprocmask(SIG_SETMASK, &none, NULL); // cannot fail with these arguments
	if (setsid() < 0)
		child_fail(report, "setsid");
	if (child_place_fds(map, nmap, &report) < 0)
		child_fail(report, "placing descriptors");
	if ((flags & IO_SPAWN_PDEATH_KILL) && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_fail(report, "PR_SET_PDEATHSIG");
	if ((flags & IO_SPAWN_DROP_CAPS) && child_drop_caps() < 0)
		child_fail(report, "dropping capabilities");
	if ((flags & IO_SPAWN_NNP) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		child_fail(report, "PR_SET_NO_NEW_PRIVS");
	(void)execve(path, argv, envp); // returns only on failure
	child_fail(report, "exec");
}

int io_spawn(const char *path, char *const argv[], char *const envp[], const int *map,
	     unsigned nmap, unsigned flags, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	int rd AUTO_CLOSE = -1, wr AUTO_CLOSE = -1, pidfd AUTO_CLOSE = -1;
	struct spawn_failure f;
	int p[2], r;
	pid_t pid;

	if (nmap > SPAWN_FDS_MAX)
		return err_set(e, EINVAL, "%s: more than %d descriptors", path, SPAWN_FDS_MAX);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	rd = p[0];
	wr = p[1];
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid == 0)
		child_run(path, argv, envp, map, nmap, flags, wr);
	close_fd(take_fd(&wr));
	r = io_read_full(rd, &f, sizeof(f));
	if (r == 0) {
		f.step[sizeof(f.step) - 1] = '\0';
		return err_errno(e, f.code, "%s %s", f.step, path);
	}
	if (ret_pidfd) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pidfd < 0) {
			r = errno;
			(void)kill(pid, SIGKILL); // it must not outlive a call that failed
			return err_errno(e, r, "pidfd_open");
		}
		*ret_pidfd = take_fd(&pidfd);
	}
	if (ret_pid)
		*ret_pid = pid;
	return 0;
}

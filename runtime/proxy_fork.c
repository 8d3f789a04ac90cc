// SPDX-License-Identifier: Apache-2.0
#include "runtime/proxy_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/placement.h"
#include "runtime/proxy.h"
#include "runtime/tty.h"

enum { PROXY_CONNECT_MS = 60000 };

// The word, or the error and the end.
static void tell(int sock, const char *word, int r, const struct err *e)
{
	char text[ERR_MSG_BYTES + 1];
	int n = snprintf(text, sizeof(text), "%s%s", r < 0 ? "E" : word, r < 0 ? e->msg : "");

	if (send(sock, text, (size_t)n, MSG_NOSIGNAL) != n || r < 0)
		_exit(255); // the parent also sees the end
}

static _Noreturn void child(const struct proxy_config *cfg, int sock)
{
	struct proxy *p = NULL;
	struct err e = { 0 };
	uint32_t code;
	char word;
	int r;

	log_init(NULL, -1, LOG_TEXT, LOG_ERROR); // stderr is the container's from here on
	log_plain_stderr(false);
	r = cfg->place ? placement_enter(cfg->place, &e) : 0; // while their descriptors are there
	tell(sock, "N", r, &e); // hooks look at them by this process's pid
	// The log, locks, the client's socket, what the caller leaked to us: none of it may be held open.
	if (dup2(sock, 3) < 0 || syscall(SYS_close_range, 4, ~0u, 0) < 0 ||
	    fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
		_exit(255);
	(void)setsid();     // fails only for a leader, which a child is not
	if (chdir("/") < 0) // hold no directory of the caller's
		_exit(255);
	(void)prctl(PR_SET_NAME, "bulkhead-proxy"); // for people
	if (recv(3, &word, 1, 0) != 1)
		_exit(255);
	r = cfg->console_socket ? tty_take_pty(cfg->console_socket, &e) : 0;
	r = r < 0 ? r : proxy_new(cfg, &p, &e);
	r = r < 0 ? r : proxy_connect(p, &e);
	tell(3, "K", r, &e);
	close_fd(3);
	code = proxy_run(p);
	_exit((int)(code & 0xff));
}

static int await_word(int sock, char word, struct err *e)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	char text[ERR_MSG_BYTES + 1];
	ssize_t n;
	int r;

	do
		r = poll(&pfd, 1, PROXY_CONNECT_MS);
	while (r < 0 && errno == EINTR);
	n = r > 0 ? recv(sock, text, sizeof(text) - 1, 0) : 0;
	if (n <= 0)
		return err_set(e, EIO, "the proxy process did not connect to the container");
	text[n] = '\0';
	return text[0] == word ? 0 : err_set(e, EIO, "%s", text + 1);
}

int proxy_fork(const struct proxy_config *cfg, struct proxy_child *ret, struct err *e)
{
	int pair[2], ours AUTO_CLOSE = -1, theirs AUTO_CLOSE = -1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid == 0) {
		close_fd(ours);
		child(cfg, theirs);
	}
	close_fd(take_fd(&theirs)); // its end must be seen
	*ret = (struct proxy_child){ .pid = pid, .sock = take_fd(&ours) };
	return await_word(ret->sock, 'N', e);
}

int proxy_fork_go(struct proxy_child *p, struct err *e)
{
	int r;

	if (send(p->sock, "G", 1, MSG_NOSIGNAL) != 1)
		return err_errno(e, errno, "proxy process");
	r = await_word(p->sock, 'K', e);
	if (r == 0)
		close_fd(take_fd(&p->sock));
	return r;
}

void proxy_fork_kill(struct proxy_child *p)
{
	if (p->pid <= 0)
		return;
	(void)kill(p->pid, SIGKILL); // our child, not reaped yet
	(void)waitpid(p->pid, NULL, 0);
	close_fd(take_fd(&p->sock));
	p->pid = 0;
}

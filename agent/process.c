// SPDX-License-Identifier: Apache-2.0
#include "agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

enum { STALL_MS = 2000 };

void process_init(struct process *p, struct agent *a, struct container *c, const uint32_t stream[3],
		  bool terminal)
{
	p->a = a;
	p->container = c;
	p->terminal = terminal;
	memcpy(p->stream, stream, sizeof(p->stream));
	p->ctl = p->master = p->pipe[0] = p->pipe[1] = p->pipe[2] = -1;
}

static void fail_call(struct ttrpc_call **call)
{
	if (*call)
		ttrpc_call_fail(take_ptr(call), TTRPC_NOT_FOUND, "process does not exist");
}

void process_done(struct process *p)
{
	process_drop_streams(p);
	fail_call(&p->pending);
	fail_call(&p->deleting);
	for (unsigned i = 0; i < p->n_waiters; i++)
		fail_call(&p->waiters[i]);
	p->n_waiters = 0;
	loop_remove(take_ptr(&p->stall_timer));
	loop_remove(p->ctl_source);
	p->ctl_source = NULL;
	close_fd(take_fd(&p->ctl));
	free(take_ptr(&p->exec_id));
}

// ---- standard streams
static void stream_ended(struct process *p, unsigned i)
{
	p->relay[i] = NULL;
	if (i)
		container_settle(p->container);
}

static void relay_done0(void *arg)
{
	stream_ended(arg, 0);
}

static void relay_done1(void *arg)
{
	stream_ended(arg, 1);
}

static void relay_done2(void *arg)
{
	stream_ended(arg, 2);
}

void process_attach(struct process *p)
{
	static void (*const done[3])(void *) = { relay_done0, relay_done1, relay_done2 };

	for (int i = 0; i < 3; i++) {
		int pipe_end, stream;

		if (p->pipe[i] < 0 || !streams_has(p->a->streams, p->stream[i]))
			continue;
		pipe_end = take_fd(&p->pipe[i]);
		stream = streams_take(p->a->streams, p->stream[i]);
		// Without memory the stream just ends.
		if (relay_new(p->a->loop, i ? pipe_end : stream, i ? stream : pipe_end, done[i], p,
			      &p->relay[i], NULL) == 0 &&
		    i && p->state == PROCESS_STOPPED)
			relay_finish(p->relay[i]);
	}
}

void process_drop_streams(struct process *p)
{
	for (unsigned i = 0; i < 3; i++) {
		relay_free(take_ptr(&p->relay[i]));
		close_fd(take_fd(&p->pipe[i]));
	}
	close_fd(take_fd(&p->master));
}

int process_stdio(struct process *p, uint32_t owner, int fds[3], int *ret_ctl, struct err *e)
{
	int pair[2];

	// Messages, not bytes: a report arrives whole, with its descriptor.
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	p->ctl = pair[0];
	*ret_ctl = pair[1];
	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (p->terminal || !p->stream[i]) {
			fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (fds[i] < 0)
				return err_errno(e, errno, "/dev/null");
			continue;
		}
		if (pipe2(ends, O_CLOEXEC) < 0)
			return err_errno(e, errno, "pipe");
		// Opened by name (/dev/stdout) it is the process's user who opens it.
		if (fchown(ends[0], owner, (gid_t)-1) < 0) {
			close_fd(ends[0]);
			close_fd(ends[1]);
			return err_errno(e, errno, "standard stream %d", i);
		}
		fds[i] = ends[i != 0];
		p->pipe[i] = ends[i == 0];
	}
	process_attach(p);
	return 0;
}

// The terminal's other end has come with the report: from here on it is what the streams are joined with.
static int take_master(struct process *p, int fd, struct err *e)
{
	p->master = fd;
	for (int i = 0; i < 2; i++) {
		if (!p->stream[i])
			continue;
		p->pipe[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (p->pipe[i] < 0)
			return err_errno(e, errno, "process.terminal");
	}
	process_attach(p);
	return 0;
}

int process_resize(struct process *p, uint32_t width, uint32_t height)
{
	struct winsize ws = { .ws_col = (uint16_t)width, .ws_row = (uint16_t)height };

	if (p->master < 0)
		return -ENOTTY;
	return ioctl(p->master, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}

// ---- the child's reports
static void end_channel(struct process *p)
{
	loop_remove(take_ptr(&p->ctl_source));
	close_fd(take_fd(&p->ctl));
}

static void report_failed(struct process *p, struct child_report *rep)
{
	struct err e;

	end_channel(p);
	rep->msg[sizeof(rep->msg) - 1] = '\0';
	(void)err_set(&e, rep->code > 0 ? rep->code : EIO, "%s", rep->msg); // told by who waits
	container_process_failed(p, &e);
}

static void report_ready(struct process *p, int fd)
{
	struct err e;

	if (fd >= 0 && take_master(p, fd, &e) < 0)
		container_process_failed(p, &e);
	else
		container_process_ready(p);
}

// The end of the channel: by close-on-exec, so it runs, or because the child has ended too early.
static void channel_ended(struct process *p)
{
	struct err e;

	end_channel(p);
	if (p->state == PROCESS_CREATING) {
		if (p->pid > 0 && waitpid(p->pid, &p->status, 0) == p->pid)
			p->pid = 0;
		(void)err_set(&e, ECHILD,
			      "the container's process ended before it ran: %s %d%s", // as above
			      WIFSIGNALED(p->status) ? "signal" : "exit status",
			      WIFSIGNALED(p->status) ? WTERMSIG(p->status) : WEXITSTATUS(p->status),
			      WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGSYS
				      ? ": linux.seccomp does not let it set itself up"
				      : "");
		container_process_failed(p, &e);
	} else if (p->state == PROCESS_STARTING) {
		p->state = PROCESS_RUNNING;
		container_process_runs(p);
	}
}

static void on_ctl(void *arg, uint32_t events)
{
	struct process *p = arg;
	struct child_report rep;
	unsigned nfds = 1;
	int fd = -1;
	ssize_t n = io_recv_fds(p->ctl, &rep, sizeof(rep), &fd, &nfds);

	(void)events;
	if (n != (ssize_t)sizeof(rep))
		channel_ended(p);
	else if (rep.code)
		report_failed(p, &rep);
	else
		report_ready(p, fd);
}

void process_hear(struct process *p)
{
	on_ctl(p, 0);
}

int process_watch(struct process *p, struct err *e)
{
	return loop_add_fd(p->a->loop, "process set-up", p->ctl, EPOLLIN, on_ctl, p, &p->ctl_source,
			   e);
}

// ---- the end
static uint64_t moved(const struct process *p)
{
	return relay_moved(p->relay[1]) + relay_moved(p->relay[2]);
}

// A reader that takes nothing holds back the end no longer. What there is stays for it, until the process is deleted.
static void on_stall(void *arg)
{
	struct process *p = arg;
	bool killed = WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL;

	// Who kills waits for the end, and takes the machine down when it does not come: a slow reader is no reason for that.
	if (!killed && moved(p) != p->moved) {
		p->moved = moved(p);
		(void)loop_timer_set(p->stall_timer, STALL_MS); // a timer of ours: cannot fail
		return;
	}
	p->stalled = true;
	container_settle(p->container);
}

void process_ended(struct process *p, int status)
{
	if (p->pending) // it was killed between its creation and its start
		ttrpc_call_fail(take_ptr(&p->pending), TTRPC_UNKNOWN,
				"the process ended before it ran");
	p->status = status;
	p->state = PROCESS_STOPPED;
	relay_free(take_ptr(&p->relay[0]));
	close_fd(take_fd(&p->pipe[0]));
	// What it has written is there. Others that hold the streams open, if any, are not waited for.
	for (unsigned i = 1; i < 3; i++)
		if (p->relay[i])
			relay_finish(p->relay[i]);
	p->moved = moved(p);
	if ((p->relay[1] || p->relay[2]) && loop_add_timer(p->a->loop, "stalled output", STALL_MS,
							   on_stall, p, &p->stall_timer, NULL) < 0)
		p->stalled = true; // without memory: not waited for at all
}

bool process_settled(const struct process *p)
{
	return p->state == PROCESS_STOPPED && (p->stalled || (!p->relay[1] && !p->relay[2]));
}

void process_answer_waiters(struct process *p)
{
	Agent__WaitResponse r;
	uint8_t buf[32];
	size_t len;

	agent__wait_response__init(&r);
	r.exit_status = WIFSIGNALED(p->status) ? 128 + (uint32_t)WTERMSIG(p->status)
					       : (uint32_t)WEXITSTATUS(p->status);
	len = agent__wait_response__pack(&r, buf);
	for (unsigned i = 0; i < p->n_waiters; i++)
		ttrpc_call_reply(take_ptr(&p->waiters[i]), buf, len);
	p->n_waiters = 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

enum loop_kind { LOOP_FD, LOOP_TIMER, LOOP_SIGNAL };

struct loop_source {
	struct loop *loop;
	struct loop_source *prev, *next;
	const char *name;
	enum loop_kind kind;
	int fd;    // owned for timers and signals
	bool dead; // removed while events of this round may still name it
	union {
		loop_fd_fn *on_fd;
		loop_timer_fn *on_timer;
		loop_signal_fn *on_signal;
	} fn;
	void *arg;
};

struct loop {
	int epoll_fd;
	bool stop, dispatching;
	struct loop_source *first; // live
	struct loop_source *grave; // removed during dispatch, freed after it
};

int loop_new(struct loop **ret_loop, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return err_errno(e, ENOMEM, "event loop");
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		int code = errno;

		free(l);
		return err_errno(e, code, "epoll_create1");
	}
	*ret_loop = l;
	return 0;
}

static void source_free(struct loop_source *s)
{
	if (s->kind != LOOP_FD)
		close_fd(s->fd);
	free(s);
}

static void bury(struct loop *l)
{
	while (l->grave) {
		struct loop_source *s = l->grave;

		l->grave = s->next;
		source_free(s);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->first)
		loop_remove(l->first);
	bury(l);
	close_fd(l->epoll_fd);
	free(l);
}

static int source_add(struct loop *l, const char *name, enum loop_kind kind, int fd,
		      uint32_t events, void *arg, struct loop_source **ret_src, struct err *e)
{
	struct epoll_event ev = { .events = events };
	struct loop_source *s = calloc(1, sizeof(*s));

	if (!s)
		return err_errno(e, ENOMEM, "%s", name);
	*s = (struct loop_source){ .loop = l, .name = name, .kind = kind, .fd = fd, .arg = arg };
	ev.data.ptr = s;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int code = errno;

		free(s);
		return err_errno(e, code, "watching %s", name);
	}
	s->next = l->first;
	if (s->next)
		s->next->prev = s;
	l->first = s;
	*ret_src = s;
	return 0;
}

int loop_add_fd(struct loop *l, const char *name, int fd, uint32_t events, loop_fd_fn *fn,
		void *arg, struct loop_source **ret_src, struct err *e)
{
	struct loop_source *s;
	int r = source_add(l, name, LOOP_FD, fd, events, arg, &s, e);

	if (r < 0)
		return r;
	s->fn.on_fd = fn;
	if (ret_src)
		*ret_src = s;
	return 0;
}

int loop_mod_fd(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

int loop_timer_set(struct loop_source *s, int after_ms)
{
	struct itimerspec it = { 0 };

	if (after_ms == 0)
		it.it_value.tv_nsec = 1; // zero would disarm
	else if (after_ms > 0) {
		it.it_value.tv_sec = after_ms / 1000;
		it.it_value.tv_nsec = (long)(after_ms % 1000) * 1000000;
	}
	return timerfd_settime(s->fd, 0, &it, NULL) < 0 ? -errno : 0;
}

int loop_add_timer(struct loop *l, const char *name, int after_ms, loop_timer_fn *fn, void *arg,
		   struct loop_source **ret_src, struct err *e)
{
	int fd AUTO_CLOSE = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct loop_source *s;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "timer %s", name);
	r = source_add(l, name, LOOP_TIMER, fd, EPOLLIN, arg, &s, e);
	if (r < 0)
		return r;
	(void)take_fd(&fd); // the source's now
	s->fn.on_timer = fn;
	r = loop_timer_set(s, after_ms);
	if (r < 0) {
		loop_remove(s);
		return err_errno(e, -r, "timer %s", name);
	}
	if (ret_src)
		*ret_src = s;
	return 0;
}

int loop_add_signal(struct loop *l, const char *name, int signo, loop_signal_fn *fn, void *arg,
		    struct loop_source **ret_src, struct err *e)
{
	sigset_t set;

	(void)sigemptyset(&set); // cannot fail
	if (sigaddset(&set, signo) < 0)
		return err_errno(e, errno, "signal %s", name);
	return loop_add_signals(l, name, &set, fn, arg, ret_src, e);
}

int loop_add_signals(struct loop *l, const char *name, const sigset_t *set, loop_signal_fn *fn,
		     void *arg, struct loop_source **ret_src, struct err *e)
{
	int fd AUTO_CLOSE = -1;
	struct loop_source *s;
	int r = pthread_sigmask(SIG_BLOCK, set, NULL);

	if (r)
		return err_errno(e, r, "signal %s", name);
	fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_errno(e, errno, "signal %s", name);
	r = source_add(l, name, LOOP_SIGNAL, fd, EPOLLIN, arg, &s, e);
	if (r < 0)
		return r;
	(void)take_fd(&fd); // the source's now
	s->fn.on_signal = fn;
	if (ret_src)
		*ret_src = s;
	return 0;
}

void loop_remove(struct loop_source *s)
{
	struct loop *l;

	if (!s || s->dead)
		return;
	l = s->loop;
	(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd,
			NULL); // fails only if the owner closed fd before
	if (s->prev)
		s->prev->next = s->next;
	else
		l->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->dead = true;
	s->prev = NULL;
	if (l->dispatching) {
		s->next = l->grave;
		l->grave = s;
	} else {
		source_free(s);
	}
}

static void source_dispatch(struct loop_source *s, uint32_t events)
{
	switch (s->kind) {
	case LOOP_FD:
		s->fn.on_fd(s->arg, events);
		break;
	case LOOP_TIMER: {
		uint64_t n;

		if (read(s->fd, &n, sizeof(n)) ==
		    (ssize_t)sizeof(n)) // else: disarmed or set again since
			s->fn.on_timer(s->arg);
		break;
	}
	case LOOP_SIGNAL: {
		struct signalfd_siginfo si;

		while (!s->dead && read(s->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
			s->fn.on_signal(s->arg, (int)si.ssi_signo);
		break;
	}
	}
}

int loop_once(struct loop *l, int timeout_ms, struct err *e)
{
	struct epoll_event ev[32];
	int n = epoll_wait(l->epoll_fd, ev, 32, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : err_errno(e, errno, "epoll_wait");
	l->dispatching = true;
	for (int i = 0; i < n; i++) {
		struct loop_source *s = ev[i].data.ptr;

		if (!s->dead)
			source_dispatch(s, ev[i].events);
	}
	l->dispatching = false;
	bury(l);
	return 0;
}

int loop_run(struct loop *l, struct err *e)
{
	l->stop = false;
	while (!l->stop) {
		int r = loop_once(l, -1, e);

		if (r < 0)
			return r;
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

// SPDX-License-Identifier: Apache-2.0
// The caller's descriptors stay as they are: O_NONBLOCK would change them for everybody who shares them. One read after
// "readable" does not block, and neither does writing what a pipe guarantees room for after "writable".
#include "runtime/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"

static void pump_end(struct pump *p)
{
	if (p->done)
		return;
	p->done = true;
	loop_remove(p->src);
	p->src = NULL;
	p->on_end(p->arg);
}

static int pump_arm(struct pump *p, struct err *e);

static void pump_read(struct pump *p)
{
	ssize_t n = read(p->from, p->buf, sizeof(p->buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->at = 0;
	p->len = n > 0 ? (size_t)n : 0;
	if (n <= 0 || pump_arm(p, NULL) < 0)
		pump_end(p); // an error of the source is its end
}

static void pump_write(struct pump *p)
{
	size_t room = p->len - p->at;
	ssize_t n;

	if (room > PIPE_BUF && !(fcntl(p->to, F_GETFL) & O_NONBLOCK))
		room = PIPE_BUF;
	n = write(p->to, p->buf + p->at, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		pump_end(p); // the reader is gone
		return;
	}
	p->at += (size_t)n;
	if (p->at == p->len && pump_arm(p, NULL) < 0)
		pump_end(p);
}

static void on_fd(void *arg, uint32_t events)
{
	struct pump *p = arg;

	(void)events;
	if (p->at < p->len)
		pump_write(p);
	else
		pump_read(p);
}

// Files, and /dev/null, are always ready and refuse epoll.
static void on_ready(void *arg)
{
	struct pump *p = arg;
	struct loop_source *timer = p->src;

	on_fd(p, 0);
	if (!p->done && p->src == timer)
		(void)loop_timer_set(timer, 0); // a timer of ours: cannot fail
}

// One source at a time: the side that is waited for.
static int pump_arm(struct pump *p, struct err *e)
{
	bool writing = p->at < p->len;
	struct err local = { 0 };
	int r;

	loop_remove(p->src);
	p->src = NULL;
	r = loop_add_fd(p->loop, p->name, writing ? p->to : p->from, writing ? EPOLLOUT : EPOLLIN,
			on_fd, p, &p->src, &local);
	if (r == -EPERM)
		r = loop_add_timer(p->loop, p->name, 0, on_ready, p, &p->src, &local);
	return r < 0 ? err_set(e, -r, "%s: %s", p->name, local.msg) : 0;
}

int pump_init(struct pump *p, struct loop *l, const char *name, int from, int to,
	      void (*on_end)(void *arg), void *arg, struct err *e)
{
	p->loop = l;
	p->name = name;
	p->from = from;
	p->to = to;
	p->on_end = on_end;
	p->arg = arg;
	p->done = false;
	p->at = p->len = 0;
	return pump_arm(p, e);
}

bool pump_holds(const struct pump *p)
{
	return !p->done && p->at < p->len;
}

void pump_done(struct pump *p)
{
	loop_remove(p->src);
	p->src = NULL;
	p->done = true;
}

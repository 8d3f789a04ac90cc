// SPDX-License-Identifier: Apache-2.0
// Standard streams: connections of the host that say which stream they are, and relays with back-pressure.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"

enum {
	STREAMS_MAX = 256,
	HEADER_BYTES = 8,
	RELAY_BYTES = 64 << 10,
	RELAY_ROUNDS = 16,
	PIPE_MAX_BYTES = 1 << 20
};

struct pending {
	struct streams *s;
	int fd;                     // owned
	struct loop_source *source; // until the header is there
	uint8_t header[HEADER_BYTES];
	unsigned have;
	uint32_t id;
	struct pending *next;
};

struct streams {
	struct loop *loop;
	struct pending *first;
	unsigned count;
	void (*on_arrival)(void *arg);
	void *arg;
};

int streams_new(struct loop *l, struct streams **ret, struct err *e)
{
	struct streams *s = calloc(1, sizeof(*s));

	if (!s)
		return err_errno(e, ENOMEM, "streams");
	s->loop = l;
	*ret = s;
	return 0;
}

void streams_discard(struct streams *s, const uint32_t ids[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (ids[i])
			close_fd(streams_take(s, ids[i]));
}

void streams_on_arrival(struct streams *s, void (*fn)(void *arg), void *arg)
{
	s->on_arrival = fn;
	s->arg = arg;
}

static void pending_remove(struct pending *p)
{
	struct pending **at = &p->s->first;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->s->count--;
	loop_remove(p->source);
	close_fd(p->fd);
	free(p);
}

static void on_abandoned(void *arg, uint32_t events)
{
	(void)events; // nothing is watched for but the connection's end in both directions
	pending_remove(arg);
}

static void on_header(void *arg, uint32_t events)
{
	struct pending *p = arg;
	struct streams *s = p->s;
	ssize_t n = read(p->fd, p->header + p->have, HEADER_BYTES - p->have);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		pending_remove(p);
		return;
	}
	p->have += (unsigned)n;
	if (p->have < HEADER_BYTES)
		return;
	memcpy(&p->id, p->header + 4, 4);
	if (memcmp(p->header, "BHS1", 4) != 0 || !p->id) {
		pending_remove(p);
		return;
	}
	loop_remove(p->source);
	p->source = NULL;
	// Its peer may go before anybody has asked for it.
	if (loop_add_fd(s->loop, "stream", p->fd, 0, on_abandoned, p, &p->source, NULL) < 0)
		pending_remove(p);
	else if (s->on_arrival)
		s->on_arrival(s->arg);
}

void streams_accept(struct streams *s, int fd)
{
	struct pending *p = s->count < STREAMS_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p) {
		close_fd(fd);
		return;
	}
	*p = (struct pending){ .s = s, .fd = fd, .next = s->first };
	s->first = p;
	s->count++;
	if (loop_add_fd(s->loop, "stream header", fd, EPOLLIN, on_header, p, &p->source, NULL) < 0)
		pending_remove(p);
}

bool streams_has(const struct streams *s, uint32_t id)
{
	for (const struct pending *p = s->first; p; p = p->next)
		if (p->have == HEADER_BYTES && p->id == id)
			return true;
	return false;
}

int streams_take(struct streams *s, uint32_t id)
{
	for (struct pending *p = s->first; p; p = p->next)
		if (p->have == HEADER_BYTES && p->id == id) {
			int fd;

			loop_remove(take_ptr(&p->source)); // while its descriptor is this one
			fd = take_fd(&p->fd);
			pending_remove(p);
			return fd;
		}
	return -1;
}

// ---- relays
struct relay {
	struct loop *loop;
	int src, dst;                 // owned
	int rounds_left;              // -1: until src ends; else reads that are still done
	struct loop_source *in, *out; // in: NULL while data waits to be written
	size_t at, len;
	uint64_t moved;
	void (*done)(void *arg);
	void *arg;
	uint8_t *buf; // RELAY_BYTES, while data waits: most relays of a pod are idle
};

void relay_free(struct relay *r)
{
	if (!r)
		return;
	loop_remove(r->in);
	loop_remove(r->out);
	close_fd(r->src);
	close_fd(r->dst);
	free(r->buf);
	free(r);
}

uint64_t relay_moved(const struct relay *r)
{
	return r ? r->moved : 0;
}

static void relay_end(struct relay *r)
{
	void (*done)(void *) = r->done;
	void *arg = r->arg;

	relay_free(r);
	if (done)
		done(arg);
}

static void on_relay_in(void *arg, uint32_t events);

// While data waits for the reader the source is not watched at all: epoll tells of a hang-up whether asked or not, and a
// container that has ended with its output unread would keep the loop turning.
static int relay_watch(struct relay *r)
{
	if (r->len) {
		loop_remove(r->in);
		r->in = NULL;
	} else if (!r->in) {
		int rc = loop_add_fd(r->loop, "stream in", r->src, EPOLLIN, on_relay_in, r, &r->in,
				     NULL);

		if (rc < 0)
			return rc;
	}
	return loop_mod_fd(r->out, r->len ? EPOLLOUT : 0);
}

// False: the relay has ended. Leaves off after some rounds, so that two fast ends do not keep the loop to themselves.
static bool relay_copy(struct relay *r)
{
	for (unsigned round = 0; round < RELAY_ROUNDS || r->rounds_left >= 0; round++) {
		ssize_t n;

		while (r->len) {
			n = write(r->dst, r->buf + r->at, r->len);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN)
				return true;
			if (n < 0)
				return false; // nobody reads any more
			r->at += (size_t)n;
			r->moved += (uint64_t)n;
			r->len -= (size_t)n;
		}
		if (r->rounds_left == 0)
			return false;
		n = read(r->src, r->buf, RELAY_BYTES);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return r->rounds_left < 0;
		if (r->rounds_left > 0)
			r->rounds_left--;
		if (n <= 0)
			return false;
		r->at = 0;
		r->len = (size_t)n;
	}
	return true;
}

static bool relay_step(struct relay *r)
{
	bool on;

	if (!r->buf && !(r->buf = malloc(RELAY_BYTES)))
		return false; // without memory the stream just ends
	on = relay_copy(r);
	if (!r->len)
		free(take_ptr(&r->buf));
	return on;
}

static void on_relay_in(void *arg, uint32_t events)
{
	struct relay *r = arg;

	(void)events;
	if (!relay_step(r) || relay_watch(r) < 0)
		relay_end(r);
}

// The reader's end: when nothing is to be written, only its going away wakes it.
static void on_relay_out(void *arg, uint32_t events)
{
	struct relay *r = arg;

	if ((events & (EPOLLERR | EPOLLHUP)) && !r->len)
		relay_end(r);
	else
		on_relay_in(r, 0);
}

// Someone else may hold the source open and go on writing: as many reads as the largest pipe can need are done.
void relay_finish(struct relay *r)
{
	r->rounds_left = PIPE_MAX_BYTES / RELAY_BYTES;
	on_relay_in(r, 0);
}

int relay_new(struct loop *l, int src, int dst, void (*done)(void *arg), void *arg,
	      struct relay **ret, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	int rc;

	if (!r) {
		close_fd(src);
		close_fd(dst);
		return err_errno(e, ENOMEM, "stream");
	}
	r->loop = l;
	r->rounds_left = -1;
	r->src = src;
	r->dst = dst;
	r->done = done;
	r->arg = arg;
	(void)fcntl(src, F_SETFL, O_NONBLOCK); // sockets and pipes take it
	(void)fcntl(dst, F_SETFL, O_NONBLOCK); // as above
	rc = loop_add_fd(l, "stream in", src, EPOLLIN, on_relay_in, r, &r->in, e);
	rc = rc < 0 ? rc : loop_add_fd(l, "stream out", dst, 0, on_relay_out, r, &r->out, e);
	if (rc < 0) {
		relay_free(r);
		return rc;
	}
	*ret = r;
	return 0;
}

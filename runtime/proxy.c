// SPDX-License-Identifier: Apache-2.0
#include "runtime/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/task.h"
#include "proto/ttrpc.h"
#include "runtime/pump.h"
#include "runtime/store.h"
#include "runtime/tty.h"
#include "runtime/usock.h"

enum {
	STREAM_PORT = 1025,
	STREAM_CONNECT_S = 30,
	DRAIN_MS =
		10000, // after the exit, for a guest that does not end a stream; a reader may take its time
	CALL_MS = 10000,
	EXIT_LOST = 128 + SIGKILL,
};

struct proxy_stream {
	struct proxy *proxy;
	int fd;
	bool ended;
	struct pump pump;
};

struct proxy {
	struct loop *loop;
	struct ttrpc_client *rpc;
	char *id, *exec_id; // exec_id "": the first process
	int tty_fd;
	struct proxy_stream in, out, err;
	struct loop_source *drain_timer;
	bool exited, release, terminal;
	uint32_t code;
};

// What is not forwarded, as with runc: our own affairs, and the size of the terminal, which is passed on as such. What
// cannot be caught is not there to be forwarded. A fault of ours ends us although its signal is blocked.
static const int kept[] = { SIGCHLD, SIGPIPE, SIGURG, SIGWINCH };

OWN_DEFINE(struct proxy *, proxy_free)

// Asks for a stream of the container. What is written behind the line is the stream's once the guest has accepted it, so
// its answer need not be waited for here.
static int ask_stream(const char *dir, uint32_t stream, struct err *e)
{
	int fd AUTO_CLOSE = usock_guest_connect(dir, STREAM_PORT, e), r;
	uint8_t hello[8] = { 'B', 'H', 'S', '1' };

	if (fd < 0)
		return fd;
	for (int i = 0; i < 4; i++)
		hello[4 + i] = (uint8_t)(stream >> (8 * i));
	r = io_write_full(fd, hello, sizeof(hello));
	return r < 0 ? err_errno(e, -r, "standard stream of the container") : take_fd(&fd);
}

// Blocking until the guest has answered.
static int await_stream(int fd, struct err *e)
{
	struct timeval limit = { .tv_sec = STREAM_CONNECT_S };
	struct usock_line line = { .len = 0 };
	int r = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0
			? -errno
			: usock_guest_answer(fd, &line);

	if (r == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, r == -EAGAIN ? ETIMEDOUT : -r,
				 "standard stream of the container")
		     : 0;
}

static void maybe_end(struct proxy *p)
{
	if (p->exited && p->out.ended && p->err.ended)
		loop_stop(p->loop);
}

// Takes the caller's descriptor away from us, so that a reader of its other end sees the end.
static void release_fd(int fd)
{
	int null AUTO_CLOSE = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0)
		(void)dup2(null,
			   fd); // keeps the number taken; the worst is an end that is seen later
}

static void on_in_end(void *arg)
{
	struct proxy_stream *s = arg;

	s->ended = true;
	(void)shutdown(s->fd,
		       SHUT_WR); // the container's end of file; it may have closed its side already
	release_fd(STDIN_FILENO);
}

static void on_out_end(void *arg)
{
	struct proxy_stream *s = arg;

	s->ended = true;
	close_fd(take_fd(&s->fd)); // a reader that is gone is felt by the container
	if (s->proxy->release)
		release_fd(s == &s->proxy->out ? STDOUT_FILENO : STDERR_FILENO);
	maybe_end(s->proxy);
}

static void on_drain_deadline(void *arg)
{
	struct proxy *p = arg;

	if (pump_holds(&p->out.pump) || pump_holds(&p->err.pump))
		(void)loop_timer_set(p->drain_timer, DRAIN_MS); // a timer of ours: cannot fail
	else
		loop_stop(p->loop);
}

static void on_wait_reply(void *arg, int code, const char *message, const uint8_t *payload,
			  size_t len)
{
	struct proxy *p = arg;
	Task__WaitResponse *resp =
		code == TTRPC_OK ? task__wait_response__unpack(NULL, len, payload) : NULL;

	(void)message;
	p->exited = true;
	p->code = resp ? resp->exit_status : EXIT_LOST;
	if (resp)
		task__wait_response__free_unpacked(resp, NULL);
	if (loop_add_timer(p->loop, "drain", DRAIN_MS, on_drain_deadline, p, &p->drain_timer,
			   NULL) < 0)
		loop_stop(p->loop);
	maybe_end(p);
}

static void on_reply(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	(void)arg; // what could not be delivered has no one to be told
	(void)code;
	(void)message;
	(void)payload;
	(void)len;
}

// Calls the supervisor about our process. timeout_ms as in ttrpc.
static int call(struct proxy *p, const char *method, const ProtobufCMessage *q, int timeout_ms,
		ttrpc_reply_fn *fn, struct err *e)
{
	return ttrpc_client_call_message(p->rpc, TASK_SERVICE, method, q, timeout_ms, fn, p, e);
}

static void on_signal(void *arg, int signo)
{
	struct proxy *p = arg;
	Task__KillRequest q;

	task__kill_request__init(&q);
	q.id = p->id;
	q.exec_id = p->exec_id;
	q.signal = (uint32_t)signo;
	(void)call(p, "Kill", &q.base, CALL_MS, on_reply,
		   NULL); // a supervisor that is gone ends us anyway
}

static void on_resize(void *arg, int signo)
{
	struct proxy *p = arg;
	Task__ResizePtyRequest q;
	uint16_t width, height;

	(void)signo;
	if (!tty_size(p->tty_fd, &width, &height))
		return;
	task__resize_pty_request__init(&q);
	q.id = p->id;
	q.exec_id = p->exec_id;
	q.width = width;
	q.height = height;
	(void)call(p, "ResizePty", &q.base, CALL_MS, on_reply, NULL); // as above
}

static int begin_wait(struct proxy *p, struct err *e)
{
	Task__WaitRequest q;

	task__wait_request__init(&q);
	q.id = p->id;
	q.exec_id = p->exec_id;
	return call(p, "Wait", &q.base, -1, on_wait_reply, e);
}

static int ask_streams(struct proxy *p, const char *dir, struct err *e)
{
	struct proxy_stream *s[] = { &p->in, &p->out, &p->err };

	for (unsigned i = 0; i < (p->terminal ? 2 : 3); i++) {
		s[i]->fd = ask_stream(dir, proxy_stream(getpid(), i), e);
		if (s[i]->fd < 0)
			return s[i]->fd;
	}
	p->err.ended = p->terminal;
	return 0;
}

int proxy_connect(struct proxy *p, struct err *e)
{
	int r = await_stream(p->in.fd, e);

	r = r < 0 ? r : await_stream(p->out.fd, e);
	r = r < 0 || p->terminal ? r : await_stream(p->err.fd, e);
	if (r < 0 ||
	    (r = pump_init(&p->in.pump, p->loop, "stdin", STDIN_FILENO, p->in.fd, on_in_end, &p->in,
			   e)) < 0 ||
	    (r = pump_init(&p->out.pump, p->loop, "stdout", p->out.fd, STDOUT_FILENO, on_out_end,
			   &p->out, e)) < 0)
		return r;
	if (p->terminal)
		return 0;
	return pump_init(&p->err.pump, p->loop, "stderr", p->err.fd, STDERR_FILENO, on_out_end,
			 &p->err, e);
}

static int take_signals(struct proxy *p, struct err *e)
{
	sigset_t set;
	int r;

	(void)sigfillset(&set); // cannot fail
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		(void)sigdelset(&set, kept[i]); // nor this, of a number that exists
	r = loop_add_signals(p->loop, "signals", &set, on_signal, p, NULL, e);
	if (r == 0 && p->terminal)
		r = loop_add_signal(p->loop, "resize", SIGWINCH, on_resize, p, NULL, e);
	return r;
}

int proxy_new(const struct proxy_config *cfg, struct proxy **ret_proxy, struct err *e)
{
	struct proxy *p AUTO(proxy_free) = calloc(1, sizeof(*p));
	char dir[STORE_PATH_BYTES];
	int fd, r;

	if (!p)
		return err_errno(e, ENOMEM, "proxy");
	p->in = (struct proxy_stream){ .proxy = p, .fd = -1 };
	p->out = p->err = p->in;
	p->release = cfg->release;
	p->terminal = cfg->terminal;
	p->tty_fd = cfg->tty_fd;
	p->id = strdup(cfg->id);
	p->exec_id = strdup(cfg->exec_id ? cfg->exec_id : "");
	if (!p->id || !p->exec_id)
		return err_errno(e, ENOMEM, "proxy");
	if ((r = store_pod_path(cfg->root, cfg->pod, NULL, dir, e)) < 0 ||
	    (r = loop_new(&p->loop, e)) < 0 || (r = take_signals(p, e)) < 0)
		return r;
	fd = usock_connect(dir, "supervisor.sock", e);
	if (fd < 0)
		return fd;
	if ((r = ttrpc_client_new(p->loop, fd, NULL, NULL, &p->rpc, e)) < 0 ||
	    (r = begin_wait(p, e)) < 0 || (r = ask_streams(p, dir, e)) < 0)
		return r;
	if (p->terminal)
		on_resize(p, SIGWINCH); // the size it has now
	*ret_proxy = take_ptr(&p);
	return 0;
}

uint32_t proxy_run(struct proxy *p)
{
	struct err e;

	if (loop_run(p->loop, &e) < 0)
		return EXIT_LOST;
	return p->code;
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	pump_done(&p->in.pump);
	pump_done(&p->out.pump);
	pump_done(&p->err.pump);
	ttrpc_client_free(p->rpc); // may call on_wait_reply
	loop_remove(p->drain_timer);
	loop_free(p->loop);
	close_fd(p->in.fd);
	close_fd(p->out.fd);
	close_fd(p->err.fd);
	free(p->id);
	free(p->exec_id);
	free(p);
}

// SPDX-License-Identifier: Apache-2.0
// The supervisor's end of bulkhead-vmm's control socket: why the guest ended, and counters for the marks of --timings. The
// VMM is not trusted with more than that: it has read the guest's bytes.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "runtime/host_cgroup.h"
#include "runtime/pod_priv.h"
#include "runtime/vmm_control.h"

// A mark whose counters never came is written without.
static void put_mark(struct pod *p, const struct vmm_control_counters *c)
{
	char line[2048];
	int n;

	n = snprintf(line, sizeof(line), "%lld %s", (long long)p->marks[0].ns, p->marks[0].name);
	if (c)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "\t%llu",
			      (unsigned long long)c->instructions);
	for (unsigned i = 0;
	     c && i < c->n_intercepts && i < VMM_CONTROL_REASONS && n < (int)sizeof(line) - 64;
	     i++) {
		if (c->intercepts[i].count)
			n += snprintf(line + n, sizeof(line) - (size_t)n, "\t%.*s=%llu",
				      VMM_CONTROL_REASON_BYTES - 1, c->intercepts[i].reason,
				      (unsigned long long)c->intercepts[i].count);
	}
	line[n++] = '\n';
	(void)io_write_full(p->timings_fd, line,
			    (size_t)n); // a reader that is gone, or slow, loses marks
	memmove(&p->marks[0], &p->marks[1], sizeof(p->marks) - sizeof(p->marks[0]));
	p->n_marks--;
}

void pod_mark(struct pod *p, const char *name)
{
	struct vmm_control_msg q = { .type = VMM_CONTROL_GET_COUNTERS };

	if (p->timings_fd < 0)
		return;
	if (p->n_marks == POD_MARKS_MAX)
		put_mark(p, NULL);
	p->marks[p->n_marks++] = (struct pod_mark){ .name = name, .ns = io_now_ns() };
	q.now_ns = io_now_ns();
	// Without a guest yet, or any more, there is nothing to count. Marks wait their turn behind those that are asked for.
	if (p->vmm.pid == 0 || p->gone ||
	    send(p->control_fd, &q, sizeof(q), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		while (p->n_marks)
			put_mark(p, NULL);
}

static void on_started(struct pod *p, struct vmm_control_msg *m)
{
	m->u.text[sizeof(m->u.text) - 1] = '\0';
	log_info("guest started on %s", m->u.text);
	pod_mark(p, "guest entered");
}

// Once: whoever has the guest's bytes in its hands shall not have us move threads forever.
static void on_vcpus(struct pod *p, const struct vmm_control_vcpus *m)
{
	pid_t tids[VMM_CONTROL_VCPUS_MAX];
	struct err e;

	if (!p->cgroup || p->vcpus_placed || m->n > VMM_CONTROL_VCPUS_MAX)
		return;
	p->vcpus_placed = true;
	for (unsigned i = 0; i < m->n; i++)
		tids[i] = m->tids[i];
	if (host_cgroup_add_vcpus(p->cgroup, p->vmm.pid, tids, m->n, &e) < 0)
		log_error("vCPU threads: %s", e.msg);
}

static void on_net_gone(struct pod *p, struct vmm_control_net_answer *a)
{
	a->text[sizeof(a->text) - 1] = '\0';
	if (!p->end_text[0])
		(void)snprintf(p->end_text, sizeof(p->end_text), "network interface %u: %s",
			       a->slot, a->text); // cut is fine
	log_error("%s", p->end_text);
	pod_kill_vmm(p); // its end is the pod's
}

static void on_message(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct vmm_control_msg m;
	ssize_t n = recv(p->control_fd, &m, sizeof(m), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		pod_control_end(p); // the process's end follows, and is what counts
		return;
	}
	if (n != (ssize_t)sizeof(m))
		return;
	switch (m.type) {
	case VMM_CONTROL_STARTED:
		on_started(p, &m);
		break;
	case VMM_CONTROL_VCPUS:
		on_vcpus(p, &m.u.vcpus);
		break;
	case VMM_CONTROL_COUNTERS:
		if (p->n_marks)
			put_mark(p, &m.u.counters);
		break;
	case VMM_CONTROL_PLUGGED:
		if (p->plug_answer) {
			*p->plug_answer = m.u.net_answer;
			p->plug_answered = true;
		}
		break;
	case VMM_CONTROL_NET_GONE:
		on_net_gone(p, &m.u.net_answer);
		break;
	case VMM_CONTROL_END:
		m.u.text[sizeof(m.u.text) - 1] = '\0';
		(void)snprintf(p->end_text, sizeof(p->end_text), "%s", m.u.text); // fits
		break;
	default:
		break; // a newer VMM
	}
}

enum { PLUG_TIMEOUT_MS = 60000 };

int pod_plug_net(struct pod *p, const struct vmm_control_net *net, const int *fds, unsigned n,
		 unsigned *ret_slot, struct err *e)
{
	struct vmm_control_msg m = { .type = VMM_CONTROL_PLUG_NET, .now_ns = io_now_ns() };
	struct vmm_control_net_answer answer = { 0 };
	int64_t end = io_now_ns() + PLUG_TIMEOUT_MS * 1000000ll;
	ssize_t sent;

	if (p->gone || !p->control_src)
		return err_set(e, ESRCH, "network interface: the pod's machine is not running");
	m.u.net = *net;
	sent = io_send_fds(p->control_fd, &m, sizeof(m), fds, n);
	if (sent < 0)
		return err_errno(e, (int)-sent, "network interface: bulkhead-vmm");
	p->plug_answered = false;
	p->plug_answer = &answer;
	// Other messages that come first are handled as ever.
	while (!p->plug_answered && !p->gone && p->control_src) {
		struct pollfd f = { .fd = p->control_fd, .events = POLLIN };
		int64_t left = (end - io_now_ns()) / 1000000;

		if (left <= 0 || poll(&f, 1, (int)left) == 0)
			break;
		on_message(p, 0);
	}
	p->plug_answer = NULL;
	if (!p->plug_answered)
		return err_set(e, p->gone || !p->control_src ? ESRCH : ETIMEDOUT,
			       "network interface: bulkhead-vmm did not answer");
	answer.text[sizeof(answer.text) - 1] = '\0';
	if (answer.error)
		return err_set(e, answer.error > 0 ? answer.error : EPROTO, "%s", answer.text);
	*ret_slot = answer.slot;
	return 0;
}

void pod_control_drain(struct pod *p)
{
	// What it said before it ended. Bounded by what a socket holds.
	for (int i = 0; i < 64 && p->control_src; i++)
		on_message(p, 0);
}

int pod_control_begin(struct pod *p, struct err *e)
{
	return loop_add_fd(p->loop, "vmm control", p->control_fd, EPOLLIN, on_message, p,
			   &p->control_src, e);
}

void pod_control_end(struct pod *p)
{
	loop_remove(p->control_src);
	p->control_src = NULL;
	while (p->n_marks)
		put_mark(p, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// BULKHEAD_MSHV_TRACE=FILE: what a program asks of the device, one line a call, appended to FILE. For finding out what a
// client that is not ours needs; off, it costs one test a call.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/preload/preload.h"

enum { TRACE_UNKNOWN = -2, TRACE_OFF = -1, LINE = 4096 };

struct line {
	char text[LINE];
	size_t n;
};

static int trace_fd(void)
{
	static _Atomic int fd = TRACE_UNKNOWN;
	int now = atomic_load_explicit(&fd, memory_order_relaxed);
	const char *path;

	if (now != TRACE_UNKNOWN)
		return now;
	path = getenv("BULKHEAD_MSHV_TRACE");
	now = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : TRACE_OFF;
	atomic_store(&fd, now); // two threads at once: one descriptor more is open
	return now;
}

bool trace_enabled(void)
{
	return trace_fd() >= 0;
}

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->n, sizeof(l->text) - l->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->n += (size_t)n < sizeof(l->text) - l->n ? (size_t)n : sizeof(l->text) - l->n - 1;
}

static void put(struct line *l)
{
	l->text[l->n < LINE - 1 ? l->n++ : LINE - 1] = '\n';
	(void)write(trace_fd(), l->text,
		    l->n); // a trace that cannot be written is no reason to stop
}

void trace_call(const char *what, int fd, long result)
{
	struct line l = { .n = 0 };

	if (!trace_enabled())
		return;
	add(&l, "%d %s fd %d = %ld", gettid(), what, fd, result);
	put(&l);
}

static void registers(struct line *l, const struct mshv_root_hvcall *a)
{
	const struct hv_input_vp_registers *in = (const void *)(uintptr_t)a->in_ptr;
	const struct hv_register_assoc *e = (const void *)(in + 1);
	const uint32_t *names = (const void *)(in + 1);
	const union hv_register_value *out = (const void *)(uintptr_t)a->out_ptr;
	bool set = a->code == HVCALL_SET_VP_REGISTERS;

	// A call that failed says how far it came; what it was asked for is of interest then.
	unsigned n = set && a->status ? (a->in_sz - 16u) / 32 : a->reps;

	add(l, " vp %u", in->vp_index);
	for (unsigned i = 0; i < n; i++) {
		const union hv_register_value *v = set ? &e[i].value : &out[i];

		add(l, " %x=%llx:%llx", set ? e[i].name : names[i],
		    (unsigned long long)v->reg128.high, (unsigned long long)v->reg128.low);
	}
}

static void words(struct line *l, uint64_t at, unsigned bytes)
{
	const uint64_t *w = (const void *)(uintptr_t)at;

	for (unsigned i = 0; at && i < bytes / 8 && i < 16; i++)
		add(l, " %llx", (unsigned long long)w[i]);
}

static void hypercall(struct line *l, const struct mshv_root_hvcall *a)
{
	add(l, " hvcall %#x reps %u in %u out %u status %#x:", a->code, a->reps, a->in_sz,
	    a->out_sz, a->status);
	if (a->code == HVCALL_GET_VP_REGISTERS || a->code == HVCALL_SET_VP_REGISTERS) {
		registers(l, a);
		return;
	}
	words(l, a->in_ptr, a->in_sz);
	if (!a->status && a->out_ptr) {
		add(l, " ->");
		words(l, a->out_ptr, a->out_sz);
	}
}

static void message(struct line *l, const struct hv_message *m)
{
	add(l, " message %#x", (unsigned)m->header.message_type);
	switch (m->header.message_type) {
	case HVMSG_UNMAPPED_GPA:
	case HVMSG_GPA_INTERCEPT:
		add(l, " rip %llx access %u gva %llx gpa %llx bytes %u:",
		    (unsigned long long)m->u.intercept.rip, m->u.intercept.intercept_access_type,
		    (unsigned long long)m->u.memory.guest_virtual_address,
		    (unsigned long long)m->u.memory.guest_physical_address,
		    m->u.memory.instruction_byte_count);
		for (unsigned i = 0; i < m->u.memory.instruction_byte_count && i < 16; i++)
			add(l, " %02x", m->u.memory.instruction_bytes[i]);
		break;
	case HVMSG_X64_IO_PORT_INTERCEPT:
		add(l, " rip %llx port %x %s info %x rax %llx",
		    (unsigned long long)m->u.intercept.rip, m->u.io.port_number,
		    m->u.intercept.intercept_access_type ? "out" : "in", m->u.io.access_info,
		    (unsigned long long)m->u.io.rax);
		break;
	case HVMSG_X64_APIC_EOI:
		add(l, " vector %x", m->u.eoi.interrupt_vector);
		break;
	default:
		add(l, " rip %llx", (unsigned long long)m->u.intercept.rip);
		break;
	}
}

void trace_ioctl(int fd, unsigned long request, const void *arg, int result)
{
	struct line l = { .n = 0 };
	int saved = errno;

	add(&l, "%d ioctl fd %d", gettid(), fd);
	if (request == MSHV_ROOT_HVCALL) {
		hypercall(&l, arg);
	} else if (request == MSHV_RUN_VP) {
		add(&l, " RUN_VP");
		if (result == 0)
			message(&l, arg);
	} else {
		add(&l, " %#lx:", request);
		if (_IOC_DIR(request) & _IOC_WRITE)
			words(&l, (uintptr_t)arg, (unsigned)_IOC_SIZE(request));
	}
	add(&l, " = %d", result);
	if (result < 0)
		add(&l, " errno %d", saved);
	put(&l);
	errno = saved;
}

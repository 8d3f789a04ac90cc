// SPDX-License-Identifier: Apache-2.0
// A virtual processor of the /dev/mshv back end: its state at start, its run loop, kicks by signal.
#include "vmm/hv/mshv.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "vmm/bus.h"

#define KICK_SIGNAL SIGUSR1

static struct mshv_vcpu *of(struct hv_vcpu *v)
{
	return (struct mshv_vcpu *)v;
}

// ---- registers
int mshv_get_registers(struct mshv_vcpu *v, const uint32_t *names, union hv_register_value *values,
		       unsigned n, struct err *e)
{
	uint64_t buf[2 + 64];
	struct hv_input_vp_registers in = { .vp_index = v->index };

	if (n > 64)
		return err_set(e, EINVAL, "more than 64 registers at once");
	memcpy(buf, &in, sizeof(in));
	memcpy(buf + 2, names, n * sizeof(*names));
	return mshv_hvcall(v->m, HVCALL_GET_VP_REGISTERS, buf,
			   (uint16_t)(sizeof(in) + n * sizeof(*names)), values,
			   (uint16_t)(n * sizeof(*values)), (uint16_t)n, e);
}

int mshv_set_registers(struct mshv_vcpu *v, const struct hv_register_assoc *regs, unsigned n,
		       struct err *e)
{
	uint64_t buf[2 + 64 * 4];
	struct hv_input_vp_registers in = { .vp_index = v->index };

	if (n > 64)
		return err_set(e, EINVAL, "more than 64 registers at once");
	memcpy(buf, &in, sizeof(in));
	memcpy(buf + 2, regs, n * sizeof(*regs));
	return mshv_hvcall(v->m, HVCALL_SET_VP_REGISTERS, buf,
			   (uint16_t)(sizeof(in) + n * sizeof(*regs)), NULL, 0, (uint16_t)n, e);
}

static const struct {
	uint32_t name;
	uint32_t offset;
} plain[] = {
#define R(name, field)                                  \
	{                                               \
		name, offsetof(struct x86_state, field) \
	}
	R(HV_X64_REGISTER_RIP, rip), R(HV_X64_REGISTER_RFLAGS, rflags),
	R(HV_X64_REGISTER_CR0, cr0), R(HV_X64_REGISTER_CR3, cr3),
	R(HV_X64_REGISTER_CR4, cr4), R(HV_X64_REGISTER_EFER, efer),
	R(HV_X64_REGISTER_PAT, pat),
#undef R
};

int mshv_vcpu_set_state(struct hv_vcpu *vcpu, const struct x86_state *s, struct err *e)
{
	struct hv_register_assoc a[48];
	unsigned n = 0;

	memset(a, 0, sizeof(a));
	for (unsigned i = 0; i < 16; i++) {
		a[n].name = HV_X64_REGISTER_RAX + i;
		a[n++].value.reg64 = s->gpr[i];
	}
	for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		a[n].name = plain[i].name;
		memcpy(&a[n++].value.reg64, (const uint8_t *)s + plain[i].offset, 8);
	}
	for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
		a[n].name = HV_X64_REGISTER_ES + i;
		a[n++].value.segment = (struct hv_x64_segment_register){
			s->seg[i].base, s->seg[i].limit, s->seg[i].selector, s->seg[i].attributes
		};
	}
	a[n].name = HV_X64_REGISTER_GDTR;
	a[n].value.table.base = s->gdtr.base;
	a[n++].value.table.limit = s->gdtr.limit;
	a[n].name = HV_X64_REGISTER_IDTR;
	a[n].value.table.base = s->idtr.base;
	a[n++].value.table.limit = s->idtr.limit;
	a[n].name = HV_X64_REGISTER_FP_CONTROL_STATUS;
	memcpy(&a[n++].value, s->fxsave, 16);
	a[n].name = HV_X64_REGISTER_XMM_CONTROL_STATUS;
	memcpy(&a[n++].value, s->fxsave + 16, 16);
	return mshv_set_registers(of(vcpu), a, n, e);
}

// LINT0 = ExtINT, LINT1 = NMI, as firmware leaves them.
static int lapic_init(struct mshv_vcpu *v, struct err *e)
{
	struct hv_local_interrupt_controller_state *s =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mshv_get_set_vp_state a = { .type = MSHV_VP_STATE_LAPIC,
					   .buf_sz = 4096,
					   .buf_ptr = (uintptr_t)s };
	int r = 0;

	if (s == MAP_FAILED)
		return err_errno(e, ENOMEM, "local APIC state");
	if (v->m->sys->ioctl(v->fd, MSHV_GET_VP_STATE, &a) < 0) {
		r = err_errno(e, errno, "reading the local APIC");
	} else {
		s->lvt_lint0 = 7 << 8;
		s->lvt_lint1 = 4 << 8;
		if (v->m->sys->ioctl(v->fd, MSHV_SET_VP_STATE, &a) < 0)
			r = err_errno(e, errno, "setting the local APIC");
	}
	(void)munmap(s, 4096); // cannot fail on what mmap gave
	return r;
}

int mshv_vcpu_new(struct hv *hv, unsigned index, struct hv_vcpu **ret, struct err *e)
{
	struct mshv_hv *m = (struct mshv_hv *)hv;
	struct mshv_create_vp c = { .vp_index = index };
	struct mshv_vcpu *v = calloc(1, sizeof(*v));
	void *page;
	int r;

	if (!v)
		return err_errno(e, ENOMEM, "vcpu %u", index);
	v->m = m;
	v->index = index;
	v->fd = m->sys->ioctl(m->part_fd, MSHV_CREATE_VP, &c);
	if (v->fd < 0) {
		r = err_errno(e, errno, "creating vcpu %u", index);
		free(v);
		return r;
	}
	page = m->sys->mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	v->regs = page == MAP_FAILED ? NULL : page; // then by hypercall
	v->emul = mshv_emulator_new(v);
	r = v->emul ? lapic_init(v, e) : err_errno(e, ENOMEM, "vcpu %u", index);
	if (r < 0) {
		mshv_vcpu_free((struct hv_vcpu *)v);
		return r;
	}
	*ret = (struct hv_vcpu *)v;
	return 0;
}

void mshv_vcpu_free(struct hv_vcpu *vcpu)
{
	struct mshv_vcpu *v = of(vcpu);

	if (v->regs)
		(void)v->m->sys->munmap(v->regs, 4096); // cannot fail on what mmap gave
	x86_cpu_free(v->emul);
	(void)v->m->sys->close(v->fd); // nothing to do about an error
	free(v);
}

// ---- exits
static void count(struct mshv_vcpu *v, enum mshv_count which)
{
	atomic_fetch_add_explicit(&v->counts[which], 1, memory_order_relaxed);
}

// Advances RIP and sets RAX, by the page if it is valid.
static int finish_io(struct mshv_vcpu *v, const struct hv_x64_io_port_intercept_message *io,
		     uint64_t rax, bool set_rax, struct err *e)
{
	uint64_t rip = io->header.rip + (io->header.instruction_length & 15);
	struct hv_register_assoc a[2] = { { .name = HV_X64_REGISTER_RIP, .value.reg64 = rip },
					  { .name = HV_X64_REGISTER_RAX, .value.reg64 = rax } };

	if (v->regs && v->regs->isvalid) {
		v->regs->rip = rip;
		v->regs->dirty |= 1 << HV_X64_REGISTER_CLASS_IP;
		if (set_rax) {
			v->regs->gp_registers[0] = rax;
			v->regs->dirty |= 1 << HV_X64_REGISTER_CLASS_GENERAL;
		}
		return 0;
	}
	return mshv_set_registers(v, a, set_rax ? 2 : 1, e);
}

static int handle_io(struct mshv_vcpu *v, const struct hv_message *msg, struct err *e)
{
	const struct hv_x64_io_port_intercept_message *io = &msg->u.io;
	unsigned size = io->access_info & 7;
	uint32_t data = 0;
	uint64_t rax = io->rax;

	if (io->access_info & 8)
		return mshv_emulate(v, msg, e); // INS, OUTS
	if (size != 1 && size != 2 && size != 4)
		return err_set(e, EPROTO, "port access of %u bytes", size);
	if (io->header.intercept_access_type == HV_INTERCEPT_ACCESS_WRITE) {
		data = (uint32_t)rax;
		bus_write(v->m->client->bus, BUS_PIO, io->port_number, &data, size);
		return finish_io(v, io, rax, false, e);
	}
	bus_read(v->m->client->bus, BUS_PIO, io->port_number, &data, size);
	if (size == 4)
		rax = data;
	else
		memcpy(&rax, &data, size); // AL or AX: the rest stays
	return finish_io(v, io, rax, true, e);
}

static int handle_msr(struct mshv_vcpu *v, const struct hv_message *msg, struct err *e)
{
	// Nothing is installed, so a message here means an MSR the hypervisor does not have: as if it did not exist.
	struct hv_register_assoc a = { .name = HV_REGISTER_PENDING_EVENT0,
				       .value.reg64 = 1 | 1u << 8 | (uint64_t)13 << 16 };

	log_debug("vp%u: MSR %#x", v->index, msg->u.msr.msr_number);
	return mshv_set_registers(v, &a, 1, e);
}

// The guest steps by single instructions, and this one was finished here: its debug exception (SDM vol. 3, 17.3.1.4) is too.
static int single_step(struct mshv_vcpu *v, const struct hv_x64_intercept_message_header *h,
		       struct err *e)
{
	enum { TF = 1 << 8, DR6_BS = 1 << 14, VECTOR_DB = 1 };
	const uint32_t name = HV_X64_REGISTER_DR6;
	struct hv_register_assoc a[2] = { { .name = name },
					  { .name = HV_REGISTER_PENDING_EVENT0,
					    .value.reg64 = 1 | (uint64_t)VECTOR_DB << 16 } };
	int r;

	if (!(h->rflags & TF))
		return 0;
	r = mshv_get_registers(v, &name, &a[0].value, 1, e);
	a[0].value.reg64 = (a[0].value.reg64 & ~15ull) | DR6_BS;
	return r < 0 ? r : mshv_set_registers(v, a, 2, e);
}

// HV_STOP_NONE: run on.
static enum hv_stop handle(struct mshv_vcpu *v, const struct hv_message *msg, struct err *e)
{
	int r;

	switch (msg->header.message_type) {
	case HVMSG_UNMAPPED_GPA:
	case HVMSG_GPA_INTERCEPT:
		count(v, MSHV_COUNT_MMIO);
		r = mshv_emulate(v, msg, e);
		r = r ? r : single_step(v, &msg->u.intercept, e);
		break;
	case HVMSG_X64_IO_PORT_INTERCEPT:
		count(v, MSHV_COUNT_IO);
		r = handle_io(v, msg, e);
		r = r ? r : single_step(v, &msg->u.intercept, e);
		break;
	case HVMSG_X64_MSR_INTERCEPT:
		count(v, MSHV_COUNT_MSR);
		r = handle_msr(v, msg, e);
		break;
	case HVMSG_X64_APIC_EOI:
		count(v, MSHV_COUNT_EOI);
		v->m->client->eoi(v->m->client->arg, (uint8_t)msg->u.eoi.interrupt_vector);
		r = 0;
		break;
	case HVMSG_X64_HALT:
		count(v, MSHV_COUNT_HALT);
		return HV_STOP_HALT;
	case HVMSG_UNRECOVERABLE_EXCEPTION:
		return HV_STOP_TRIPLE_FAULT;
	default:
		r = err_set(e, EPROTO, "vcpu %u: unexpected message %#x", v->index,
			    (unsigned)msg->header.message_type);
		break;
	}
	return r < 0 ? HV_STOP_ERROR : HV_STOP_NONE;
}

// ---- running and kicking. A signal that comes just before RUN_VP is lost, so a kick is sent again until it is seen.
static _Thread_local const struct mshv_sys *thread_sys;

static void on_kick(int signo)
{
	(void)signo;
	if (thread_sys && thread_sys->interrupted)
		thread_sys->interrupted();
}

enum hv_stop mshv_vcpu_run(struct hv_vcpu *vcpu, struct err *e)
{
	struct mshv_vcpu *v = of(vcpu);
	struct sigaction sa = { .sa_handler = on_kick };
	enum hv_stop stop = HV_STOP_NONE;
	struct hv_message msg;
	sigset_t set;

	thread_sys = v->m->sys;
	(void)sigaction(KICK_SIGNAL, &sa, NULL);        // a valid signal
	(void)sigemptyset(&set);                        // cannot fail
	(void)sigaddset(&set, KICK_SIGNAL);             // nor this
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL); // nor this
	v->thread = pthread_self();
	atomic_store(&v->in_run, true);
	while (stop == HV_STOP_NONE) {
		if (atomic_load(&v->kick)) {
			stop = HV_STOP_KICKED;
		} else if (v->m->sys->ioctl(v->fd, MSHV_RUN_VP, &msg) < 0) {
			if (errno != EINTR) {
				(void)err_errno(e, errno, "running vcpu %u",
						v->index); // stop says it
				stop = HV_STOP_ERROR;
			}
		} else {
			stop = handle(v, &msg, e);
		}
	}
	atomic_store(&v->in_run, false);
	return stop;
}

void mshv_vcpu_kick(struct hv_vcpu *vcpu)
{
	struct mshv_vcpu *v = of(vcpu);
	struct timespec ms = { .tv_nsec = 1000000 };

	atomic_store(&v->kick, true);
	while (atomic_load(&v->in_run)) {
		(void)pthread_kill(v->thread,
				   KICK_SIGNAL); // the thread lives until it has been joined
		(void)nanosleep(&ms, NULL);      // a short sleep is as good
	}
}

void mshv_vcpu_counters(struct hv_vcpu *vcpu, struct vmm_counters *c)
{
	static const char *const names[MSHV_COUNTS] = { "mmio",     "port I/O", "msr",
							"apic eoi", "halt",     "other" };
	struct mshv_vcpu *v = of(vcpu);
	struct mshv_counters k;

	if (v->m->sys->counters && v->m->sys->counters(v->fd, &k) == 0) {
		c->instructions += k.instructions;
		c->doorbells += k.doorbells;
		c->interrupts += k.interrupts;
	}
	for (unsigned i = 0; i < MSHV_COUNTS; i++) {
		unsigned j = 0;

		while (j < c->n_intercepts && strcmp(c->intercepts[j].reason, names[i]) != 0)
			j++;
		if (j == VMM_EXIT_REASONS_MAX)
			continue;
		if (j == c->n_intercepts) {
			c->intercepts[j].reason = names[i];
			c->intercepts[j].count = 0;
			c->n_intercepts++;
		}
		c->intercepts[j].count += atomic_load_explicit(&v->counts[i], memory_order_relaxed);
	}
}

bool mshv_vcpu_crashed(struct hv_vcpu *vcpu, uint64_t crash[5])
{
	uint32_t names[6];
	union hv_register_value v[6];

	for (unsigned i = 0; i < 6; i++)
		names[i] = HV_REGISTER_GUEST_CRASH_P0 + i;
	if (mshv_get_registers(of(vcpu), names, v, 6, NULL) < 0 || !(v[5].reg64 >> 63))
		return false;
	for (unsigned i = 0; i < 5; i++)
		crash[i] = v[i].reg64;
	return true;
}

// SPDX-License-Identifier: Apache-2.0
// A virtual processor: RUN_VP, the messages it ends with, the register page, sleeping in HLT.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/own.h"

// The VP that runs on this thread, for the kick signal's handler.
static _Thread_local struct soft_vp *running;

void soft_vp_wake(struct soft_vp *vp)
{
	uint64_t one = 1;

	x86_attention(vp->cpu);
	if (atomic_load(&vp->waiting))
		(void)write(vp->wake_fd, &one, sizeof(one)); // a full counter wakes as well
}

bool soft_vp_interrupted(void)
{
	struct soft_vp *vp = running;
	uint64_t one = 1;
	int saved = errno;

	if (vp) {
		atomic_store(&vp->kicked, true);
		x86_attention(vp->cpu);
		(void)write(vp->wake_fd, &one, sizeof(one)); // as above
	}
	errno = saved;
	return vp;
}

// ---- the processor's environment
static void regions_refresh(struct soft_vp *vp)
{
	struct soft_partition *p = vp->p;

	pthread_mutex_lock(&p->mem_lock);
	vp->regions_seen = atomic_load(&p->regions_changed);
	vp->n_regions = p->n_regions;
	memcpy(vp->regions, p->regions, p->n_regions * sizeof(*vp->regions));
	pthread_mutex_unlock(&p->mem_lock);
}

static void *env_ram(void *arg, uint64_t gpa, bool *writable)
{
	struct soft_vp *vp = arg;

	if (vp->regions_seen != atomic_load_explicit(&vp->p->regions_changed, memory_order_acquire))
		regions_refresh(vp);
	for (unsigned i = 0; i < vp->n_regions; i++) {
		const struct soft_region *r = &vp->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size) {
			*writable = r->writable;
			return r->hva + (gpa - r->gpa);
		}
	}
	return NULL;
}

static struct x86_page *env_page(void *arg, uint64_t gpa)
{
	struct soft_vp *vp = arg;

	if (vp->regions_seen != atomic_load_explicit(&vp->p->regions_changed, memory_order_acquire))
		regions_refresh(vp);
	for (unsigned i = 0; i < vp->n_regions; i++) {
		const struct soft_region *r = &vp->regions[i];

		if (r->pages && gpa >= r->gpa && gpa - r->gpa < r->size)
			return r->pages + ((gpa - r->gpa) >> 12);
	}
	return NULL;
}

static void env_exclusive(void *arg, bool begin)
{
	struct soft_vp *vp = arg;

	if (begin)
		soft_stop_begin(vp->p, true);
	else
		soft_stop_end(vp->p, true);
}

static void env_drop_writes(void *arg, const void *host_page)
{
	struct soft_vp *vp = arg;

	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (vp->p->vps[i] && vp->p->vps[i] != vp)
			x86_drop_writes(vp->p->vps[i]->cpu, host_page);
}

static void env_code_changed(void *arg, uint64_t gpa)
{
	struct soft_vp *vp = arg;

	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (vp->p->vps[i] && vp->p->vps[i] != vp)
			x86_code_changed(vp->p->vps[i]->cpu, gpa);
}

static bool apic_page(const struct soft_vp *vp, uint64_t gpa)
{
	return (vp->lapic.base & 3 << 10) == 1 << 11 &&
	       (gpa & ~4095ull) == (vp->lapic.base & ~4095ull & 0xfffffffffffull);
}

static int env_read(void *arg, uint64_t gpa, void *data, unsigned len)
{
	struct soft_vp *vp = arg;
	uint64_t v;

	if (!apic_page(vp, gpa))
		return X86_ENV_EXIT;
	memset(data, 0, len);
	if ((gpa & 15) + len <= 4 &&
	    soft_lapic_read(&vp->lapic, (unsigned)(gpa & 0xfff) >> 4, false, &v) == 0)
		memcpy(data, (uint8_t *)&v + (gpa & 15), len);
	return 0;
}

static int env_write(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	struct soft_vp *vp = arg;
	uint64_t v = 0;

	memcpy(&v, data, len);
	if (apic_page(vp, gpa)) {
		if (!(gpa & 15) && len == 4)
			(void)soft_lapic_write(&vp->lapic, (unsigned)(gpa & 0xfff) >> 4, false,
					       v); // no #GP for MMIO
		return 0;
	}
	if (soft_doorbell_ring(vp->p, gpa, len, v)) {
		atomic_fetch_add_explicit(&vp->doorbells, 1, memory_order_relaxed);
		return 0;
	}
	return X86_ENV_EXIT;
}

static int env_rdmsr(void *arg, uint32_t msr, uint64_t *v)
{
	return soft_rdmsr(arg, msr, v);
}

static int env_wrmsr(void *arg, uint32_t msr, uint64_t v)
{
	return soft_wrmsr(arg, msr, v);
}

static int env_cpuid(void *arg, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	soft_cpuid(arg, leaf, sub, out);
	return 0;
}

static uint64_t env_cr8_read(void *arg)
{
	return soft_lapic_tpr(&((struct soft_vp *)arg)->lapic);
}

static void env_cr8_write(void *arg, uint64_t v)
{
	soft_lapic_set_tpr(&((struct soft_vp *)arg)->lapic, v);
}

// A guest's hypercall: none is implemented, and no hint asks for one.
static int env_vmcall(void *arg, struct x86_cpu *cpu)
{
	(void)arg;
	x86_gprs(cpu)[X86_RAX] = HV_STATUS_INVALID_HYPERCALL_CODE;
	return 0;
}

// Level interrupts that have ended: those with a resampler are told there. True if the VMM is to be told of one.
static bool eoi_waiting(struct soft_vp *vp)
{
	for (unsigned i = 0; i < 8; i++) {
		uint32_t bits = atomic_load(&vp->eoi[i]);

		while (bits) {
			unsigned v = i * 32 + (unsigned)__builtin_ctz(bits);

			if (!soft_resample(vp->p, (uint8_t)v))
				return true;
			atomic_fetch_and(&vp->eoi[i], ~(1u << (v & 31)));
			bits &= bits - 1;
		}
	}
	return false;
}

// One of them, for its message; -1: none.
static int eoi_take(struct soft_vp *vp)
{
	for (unsigned i = 0; i < 8; i++) {
		uint32_t bits = atomic_load(&vp->eoi[i]);

		if (bits) {
			atomic_fetch_and(&vp->eoi[i], ~(bits & -bits));
			return (int)(i * 32) + __builtin_ctz(bits);
		}
	}
	return -1;
}

static int env_attention(void *arg)
{
	struct soft_vp *vp = arg;

	if (vp->lapic.nmi && !x86_event_pending(vp->cpu) && !x86_nmi_masked(vp->cpu)) {
		struct x86_event ev = { .vector = 2, .is_nmi = true };

		vp->lapic.nmi = false;
		x86_inject(vp->cpu, &ev);
	}
	soft_stop_pause(&vp->p->stop);
	return atomic_load(&vp->kicked) || atomic_load(&vp->suspended) || eoi_waiting(vp) ||
	       atomic_load(&vp->init);
}

static int env_interrupt(void *arg)
{
	struct soft_vp *vp = arg;
	int v = soft_lapic_take(&vp->lapic);

	if (v >= 0)
		atomic_fetch_add_explicit(&vp->interrupts, 1, memory_order_relaxed);
	return v;
}

static bool env_interrupt_waiting(void *arg)
{
	return soft_lapic_waiting(&((struct soft_vp *)arg)->lapic);
}

static const struct x86_env vp_env = {
	.ram = env_ram,
	.read = env_read,
	.write = env_write,
	.rdmsr = env_rdmsr,
	.wrmsr = env_wrmsr,
	.cpuid = env_cpuid,
	.cr8_read = env_cr8_read,
	.cr8_write = env_cr8_write,
	.vmcall = env_vmcall,
	.attention = env_attention,
	.interrupt = env_interrupt,
	.interrupt_waiting = env_interrupt_waiting,
	.page = env_page,
	.exclusive = env_exclusive,
	.drop_writes = env_drop_writes,
	.code_changed = env_code_changed,
};

// ---- life
int soft_vp_new(struct soft_partition *p, uint32_t index, struct soft_vp **ret)
{
	struct soft_vp *vp = calloc(1, sizeof(*vp));
	uint8_t *pages = MAP_FAILED;
	int r = -ENOMEM;

	if (!vp)
		return -ENOMEM;
	(void)pthread_mutex_init(&vp->lock, NULL); // cannot fail with default attributes
	vp->p = p;
	vp->index = index;
	vp->fd = memfd_create("mshv-vp", MFD_CLOEXEC);
	vp->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vp->cpu = x86_cpu_new(&vp_env, vp);
	vp->regions = calloc(SOFT_REGIONS, sizeof(*vp->regions));
	if (vp->fd >= 0 && ftruncate(vp->fd, 8192) == 0)
		pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, vp->fd, 0);
	if (pages != MAP_FAILED) {
		vp->regs = (void *)pages;
		vp->message = (void *)(pages + 4096);
		vp->regs->version = 1;
	}
	if (vp->wake_fd >= 0 && vp->cpu && vp->regs && vp->regions)
		r = soft_lapic_init(&vp->lapic, vp, index);
	if (r < 0) {
		if (!vp->lapic.vp)
			vp->lapic.timer_fd = -1;
		soft_vp_free(vp);
		return r;
	}
	x86_set_tsc_offset(vp->cpu, (int64_t)(0 - p->tsc_zero));
	vp->wait_sipi = index != 0 && (p->flags >> MSHV_PT_BIT_LAPIC & 1);
	*ret = vp;
	return 0;
}

void soft_vp_free(struct soft_vp *vp)
{
	x86_cpu_free(vp->cpu);
	soft_lapic_done(&vp->lapic);
	if (vp->regs)
		(void)munmap(vp->regs, 8192); // cannot fail on what mmap gave
	close_fd(vp->fd);
	close_fd(vp->wake_fd);
	free(vp->regions);
	free(vp);
}

// ---- messages
static void seg_out(struct hv_x64_segment_register *to, const struct x86_seg *from)
{
	to->base = from->base;
	to->limit = from->limit;
	to->selector = from->selector;
	to->attributes = from->attributes;
}

static void regs_out(struct soft_vp *vp, const struct x86_state *s)
{
	struct hv_vp_register_page *r = vp->regs;

	memcpy(r->gp_registers, s->gpr, sizeof(r->gp_registers));
	r->rip = s->rip;
	r->rflags = s->rflags;
	for (unsigned i = 0; i < 6; i++) {
		memcpy(&r->xmm[i], s->fxsave + 160 + 16 * i, 16);
		seg_out(&r->segment[i], &s->seg[i]);
	}
	r->cr0 = s->cr0;
	r->cr3 = s->cr3;
	r->cr4 = s->cr4;
	r->cr8 = s->cr8;
	r->efer = s->efer;
	r->dr7 = s->dr[7];
	r->interrupt_state = s->interrupt_shadow | (uint64_t)s->nmi_masked << 1;
	r->dirty = 0;
	r->isvalid = 1;
}

static void regs_in(struct soft_vp *vp)
{
	struct hv_vp_register_page *r = vp->regs;
	uint32_t dirty = r->isvalid ? r->dirty : 0;

	r->isvalid = 0;
	r->dirty = 0;
	if (dirty >> HV_X64_REGISTER_CLASS_XMM & 1 || dirty >> HV_X64_REGISTER_CLASS_SEGMENT & 1) {
		struct x86_state s;

		x86_get_state(vp->cpu, &s);
		for (unsigned i = 0; i < 6; i++) {
			if (dirty >> HV_X64_REGISTER_CLASS_XMM & 1)
				memcpy(s.fxsave + 160 + 16 * i, &r->xmm[i], 16);
			if (dirty >> HV_X64_REGISTER_CLASS_SEGMENT & 1)
				s.seg[i] =
					(struct x86_seg){ r->segment[i].base, r->segment[i].limit,
							  r->segment[i].selector,
							  r->segment[i].attributes };
		}
		x86_set_state(vp->cpu, &s);
	}
	if (dirty >> HV_X64_REGISTER_CLASS_GENERAL & 1)
		memcpy(x86_gprs(vp->cpu), r->gp_registers, sizeof(r->gp_registers));
	if (dirty >> HV_X64_REGISTER_CLASS_FLAGS & 1)
		x86_set_rflags(vp->cpu, r->rflags);
	if (dirty >> HV_X64_REGISTER_CLASS_IP & 1)
		x86_set_rip(vp->cpu, r->rip);
}

static void intercept_header(struct soft_vp *vp, struct hv_message *m, int32_t type,
			     uint8_t payload, const struct x86_state *s, unsigned insn_len,
			     unsigned access)
{
	struct hv_x64_intercept_message_header *h = &m->u.intercept;

	memset(m, 0, sizeof(*m));
	m->header.message_type = type;
	m->header.payload_size = payload;
	h->vp_index = vp->index;
	h->instruction_length = (uint8_t)(insn_len | (s->cr8 & 15) << 4);
	h->intercept_access_type = (uint8_t)access;
	h->execution_state = (uint16_t)((s->seg[X86_SS].attributes >> 5 & 3) | (s->cr0 & 1) << 2 |
					(s->cr0 >> 18 & 1) << 3 | (s->efer >> 10 & 1) << 4 |
					(uint16_t)s->interrupt_shadow << 12);
	seg_out(&h->cs_segment, &s->seg[X86_CS]);
	h->rip = s->rip;
	h->rflags = s->rflags;
}

static void memory_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
			   const struct x86_state *s)
{
	unsigned access = ex->access & X86_WRITE  ? HV_INTERCEPT_ACCESS_WRITE
			  : ex->access & X86_EXEC ? HV_INTERCEPT_ACCESS_EXECUTE
						  : HV_INTERCEPT_ACCESS_READ;
	bool writable;
	bool ram = soft_ram(vp->p, ex->gpa & ~4095ull, 4096, &writable) != NULL;

	// Memory that is there but not writable is a permission intercept; what is not there an unmapped one.
	intercept_header(vp, m, ram ? HVMSG_GPA_INTERCEPT : HVMSG_UNMAPPED_GPA, sizeof(m->u.memory),
			 s, 0, access);
	m->u.memory.instruction_byte_count = ex->insn_bytes;
	m->u.memory.memory_access_info =
		HV_MEMORY_ACCESS_GVA_VALID | HV_MEMORY_ACCESS_GVA_GPA_VALID;
	m->u.memory.guest_virtual_address = ex->gva;
	m->u.memory.guest_physical_address = ex->gpa;
	memcpy(m->u.memory.instruction_bytes, ex->insn, ex->insn_bytes);
}

static void io_message(struct soft_vp *vp, struct hv_message *m, const struct x86_exit *ex,
		       const struct x86_state *s)
{
	intercept_header(vp, m, HVMSG_X64_IO_PORT_INTERCEPT, sizeof(m->u.io), s, ex->insn_len,
			 ex->is_write ? HV_INTERCEPT_ACCESS_WRITE : HV_INTERCEPT_ACCESS_READ);
	m->u.io.port_number = ex->port;
	m->u.io.access_info = (uint8_t)(ex->size | ex->is_string << 3 | ex->is_rep << 4);
	m->u.io.instruction_byte_count = ex->insn_bytes;
	memcpy(m->u.io.instruction_bytes, ex->insn, ex->insn_bytes);
	m->u.io.rax = s->gpr[X86_RAX];
	m->u.io.rcx = s->gpr[X86_RCX];
	m->u.io.rsi = s->gpr[X86_RSI];
	m->u.io.rdi = s->gpr[X86_RDI];
	seg_out(&m->u.io.ds_segment, &s->seg[X86_DS]);
	seg_out(&m->u.io.es_segment, &s->seg[X86_ES]);
}

// Halted with interrupts off, every one of them: nothing in this partition can go on.
static bool all_dead(struct soft_partition *p)
{
	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (p->vps[i] && !atomic_load(&p->vps[i]->dead) &&
		    !atomic_load(&p->vps[i]->wait_sipi))
			return false;
	return true;
}

// Something has come for a halted processor.
static bool woken(struct soft_vp *vp)
{
	return (!vp->dead && soft_lapic_waiting(&vp->lapic)) ||
	       (vp->lapic.nmi && !x86_nmi_masked(vp->cpu)) || eoi_waiting(vp);
}

static bool wake_up(struct soft_vp *vp)
{
	if (atomic_load(&vp->kicked) || atomic_load(&vp->suspended) || atomic_load(&vp->init) ||
	    atomic_load(&vp->sipi))
		return true;
	return !vp->wait_sipi && woken(vp);
}

// Sleeps until an interrupt may be taken, a kick, or a signal.
static void halt_wait(struct soft_vp *vp)
{
	struct pollfd pfd = { .fd = vp->wake_fd, .events = POLLIN };
	uint64_t n;

	soft_stop_leave(&vp->p->stop);
	atomic_store(&vp->waiting, true);
	while (!wake_up(vp)) {
		if (poll(&pfd, 1, -1) > 0)
			(void)read(vp->wake_fd, &n, sizeof(n)); // only to empty it
	}
	atomic_store(&vp->waiting, false);
	soft_stop_enter(&vp->p->stop);
}

// INIT and SIPI as far as they have come. False: leave, kicked.
static bool start_up(struct soft_vp *vp)
{
	for (;;) {
		uint32_t sipi;

		if (atomic_exchange(&vp->init, false)) {
			x86_init(vp->cpu);
			soft_lapic_reset(&vp->lapic);
			vp->wait_sipi = vp->index != 0; // the first starts at the reset vector
		}
		sipi = atomic_exchange(&vp->sipi, 0);
		if (sipi && vp->wait_sipi) {
			x86_sipi(vp->cpu, (uint8_t)sipi);
			vp->wait_sipi = false;
		}
		if (!vp->wait_sipi)
			return true;
		if (atomic_exchange(&vp->kicked, false) || atomic_load(&vp->suspended))
			return false;
		halt_wait(vp);
	}
}

void soft_vp_init(struct soft_vp *vp)
{
	atomic_store(&vp->sipi, 0);
	atomic_store(&vp->init, true);
	soft_vp_wake(vp);
}

void soft_vp_sipi(struct soft_vp *vp, uint8_t vector)
{
	atomic_store(&vp->sipi, 0x100 | vector);
	soft_vp_wake(vp);
}

// False: run on. True: *m or -EINTR is the result.
static bool handle_exit(struct soft_vp *vp, const struct x86_exit *ex, struct hv_message *m,
			int *ret)
{
	struct x86_state s;

	*ret = 0;
	if (ex->reason == X86_EXIT_HLT) {
		// With interrupts off only another VP's NMI or INIT ends it; when all are so, the VMM is told.
		atomic_store(&vp->dead, !(x86_rflags(vp->cpu) & 1 << 9));
		if (!vp->dead || !all_dead(vp->p)) {
			halt_wait(vp);
			if (!woken(vp))
				x86_halt(
					vp->cpu); // only kicked: it goes on sleeping at the next run
			atomic_store(&vp->dead, false);
			return false; // attention is looked at first thing
		}
	}
	if (ex->reason == X86_EXIT_ATTENTION &&
	    (atomic_exchange(&vp->kicked, false) || atomic_load(&vp->suspended))) {
		*ret = -EINTR;
		return true;
	}
	if (ex->reason == X86_EXIT_ATTENTION && !eoi_waiting(vp))
		return false; // INIT, or what has gone again
	x86_get_state(vp->cpu, &s);
	regs_out(vp, &s);
	switch (ex->reason) {
	case X86_EXIT_MMIO:
		memory_message(vp, m, ex, &s);
		break;
	case X86_EXIT_IO:
		io_message(vp, m, ex, &s);
		break;
	case X86_EXIT_HLT:
		intercept_header(vp, m, HVMSG_X64_HALT, sizeof(m->u.intercept), &s, 1, 0);
		break;
	case X86_EXIT_ATTENTION: // a level interrupt ended
		memset(m, 0, sizeof(*m));
		m->header.message_type = HVMSG_X64_APIC_EOI;
		m->header.payload_size = sizeof(m->u.eoi);
		m->u.eoi.vp_index = vp->index;
		m->u.eoi.interrupt_vector = (uint32_t)eoi_take(vp);
		break;
	case X86_EXIT_TRIPLE_FAULT:
		intercept_header(vp, m, HVMSG_UNRECOVERABLE_EXCEPTION, sizeof(m->u.intercept), &s,
				 0, 0);
		break;
	default:
		memset(m, 0, sizeof(*m));
		m->header.message_type = HVMSG_UNSUPPORTED_FEATURE;
		m->header.payload_size = 16;
		m->u.eoi.vp_index = vp->index;
		break;
	}
	return true;
}

int soft_vp_run(struct soft_vp *vp, struct hv_message *msg)
{
	int r = 0;

	regs_in(vp);
	running = vp;
	soft_stop_enter(&vp->p->stop);
	x86_notify_write(vp->cpu); // the VMM may have written anywhere while this VP was out
	for (;;) {
		struct x86_exit ex;

		if (!start_up(vp)) {
			r = -EINTR;
			break;
		}
		x86_run(vp->cpu, &ex);
		if (handle_exit(vp, &ex, vp->message, &r))
			break;
	}
	soft_stop_leave(&vp->p->stop);
	running = NULL;
	if (r == 0)
		memcpy(msg, vp->message, sizeof(*msg));
	return r;
}

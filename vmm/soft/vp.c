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

#include "base/io.h"
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
static void *env_ram(void *arg, uint64_t gpa, bool *writable)
{
	const struct soft_region *r = soft_vp_region(arg, gpa);
	uint8_t *state;

	if (!r)
		return NULL;
	state = r->states ? &r->states[(gpa - r->gpa) >> 12] : NULL;
	if (state && !(__atomic_load_n(state, __ATOMIC_RELAXED) & HV_GPA_STATE_ACCESSED))
		__atomic_fetch_or(state, HV_GPA_STATE_ACCESSED, __ATOMIC_SEQ_CST);
	*writable = r->writable;
	return r->hva + (gpa - r->gpa);
}

static unsigned env_touch(void *arg, uint64_t gpa, unsigned access)
{
	const struct soft_region *r = soft_vp_region(arg, gpa);
	uint8_t *state = r && r->states ? &r->states[(gpa - r->gpa) >> 12] : NULL;

	if ((access & X86_EXEC) && r && !r->executable)
		return X86_TOUCH_DENIED;
	if (!state)
		return X86_TOUCH_WRITTEN; // an overlay: nobody keeps count
	if (__atomic_load_n(state, __ATOMIC_RELAXED) & HV_GPA_STATE_DIRTY)
		return X86_TOUCH_WRITTEN;
	if (!(access & X86_WRITE))
		return 0;
	__atomic_fetch_or(state, HV_GPA_STATE_DIRTY, __ATOMIC_SEQ_CST);
	return X86_TOUCH_WRITTEN;
}

static struct x86_page *env_page(void *arg, uint64_t gpa)
{
	const struct soft_region *r = soft_vp_region(arg, gpa);

	return r && r->pages ? r->pages + ((gpa - r->gpa) >> 12) : NULL;
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
	const struct soft_region *r = soft_vp_region(vp, gpa);
	uint64_t v = 0;

	if (r && r->overlay) // the hypercall page is the hypervisor's to write (TLFS 3.13)
		return X86_ENV_FAULT;

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

static bool env_msr_intercept(void *arg, uint32_t msr, bool write)
{
	return soft_intercept_msr(((struct soft_vp *)arg)->p, msr, write);
}

static int env_exception(void *arg, const struct x86_exception *x)
{
	struct soft_vp *vp = arg;

	return x->vector < 32 && atomic_load(&vp->p->intercepts.exceptions) >> x->vector & 1
		       ? X86_ENV_EXIT
		       : 0;
}

static int env_cpuid(void *arg, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	if (soft_intercept_cpuid(((struct soft_vp *)arg)->p, leaf))
		return X86_ENV_EXIT;
	soft_cpuid(arg, leaf, sub, out);
	return 0;
}

static uint64_t env_cr8_read(void *arg)
{
	return soft_lapic_tpr(&((struct soft_vp *)arg)->lapic);
}

static void env_cr8_write(void *arg, uint64_t v)
{
	struct soft_lapic *l = &((struct soft_vp *)arg)->lapic;

	if (soft_lapic_tpr(l) != v) // a state written back keeps the lower half of TPR
		soft_lapic_set_tpr(l, v);
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

int soft_eoi_take(struct soft_vp *vp)
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

// While one is handled another may wait; before that there may be two, one to be taken and one to wait (SDM 6.7.1).
static void take_nmi(struct soft_vp *vp)
{
	const struct x86_event ev = { .vector = 2, .is_nmi = true };
	bool masked = x86_nmi_masked(vp->cpu);
	unsigned n = vp->nmis + atomic_exchange(&vp->lapic.nmis, 0), most = masked ? 1 : 2;

	vp->nmis = n < most ? n : most;
	if (!vp->nmis || masked || x86_event_pending(vp->cpu) || x86_interrupt_shadow(vp->cpu))
		return;
	vp->nmis--;
	x86_inject(vp->cpu, &ev);
}

static int env_attention(void *arg)
{
	struct soft_vp *vp = arg;

	take_nmi(vp);
	soft_stop_pause(&vp->p->stop);
	if (atomic_exchange(&vp->flush, false))
		x86_flush_tlb(vp->cpu);
	if ((vp->notify & HV_NOTIFY_NMI) && !x86_nmi_masked(vp->cpu))
		vp->window = true;
	return atomic_load(&vp->kicked) || atomic_load(&vp->suspended) || eoi_waiting(vp) ||
	       atomic_load(&vp->init) || vp->window || atomic_load(&vp->synic.free_now);
}

// An external interrupt goes before the local APIC's: the VMM's 8259 has answered for its vector already.
static int env_interrupt(void *arg)
{
	struct soft_vp *vp = arg;
	int v = (int)atomic_exchange(&vp->extint, 0);

	if (v)
		v &= 0xff;
	else
		v = soft_lapic_take(&vp->lapic);
	if (v >= 0) {
		atomic_fetch_add_explicit(&vp->interrupts, 1, memory_order_relaxed);
	} else if (vp->notify & HV_NOTIFY_INTERRUPT) {
		vp->window = true; // seen before the next instruction
		x86_attention(vp->cpu);
	}
	return v;
}

static bool env_interrupt_waiting(void *arg)
{
	struct soft_vp *vp = arg;

	return soft_lapic_waiting(&vp->lapic) || atomic_load(&vp->extint) ||
	       (vp->notify & HV_NOTIFY_INTERRUPT);
}

static const struct x86_env vp_env = {
	.ram = env_ram,
	.touch = env_touch,
	.msr_intercept = env_msr_intercept,
	.exception = env_exception,
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
	vp->regions = calloc(SOFT_REGIONS + SOFT_OVERLAYS, sizeof(*vp->regions));
	(void)pthread_mutex_init(&vp->cpu_lock, NULL); // as above
	if (vp->fd >= 0 && ftruncate(vp->fd, 8192) == 0)
		pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, vp->fd, 0);
	if (pages != MAP_FAILED) {
		vp->regs = (void *)pages;
		vp->message = (void *)(pages + 4096);
		vp->regs->version = 1;
	}
	if (vp->wake_fd >= 0 && vp->cpu && vp->regs && vp->regions)
		r = soft_lapic_init(&vp->lapic, vp, index);
	if (r == 0)
		r = soft_synic_init(&vp->synic, vp);
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
	soft_synic_done(&vp->synic);
	if (vp->regs)
		(void)munmap(vp->regs, 8192); // cannot fail on what mmap gave
	close_fd(vp->fd);
	close_fd(vp->wake_fd);
	free(vp->regions);
	free(vp);
}

// ---- visits
void soft_vp_enter(struct soft_vp *vp)
{
	pthread_mutex_lock(&vp->p->visit_lock);
	// A VP in RUN_VP holds this lock all the time, and executes only between soft_stop_enter and _leave.
	vp->visit_stops = pthread_mutex_trylock(&vp->cpu_lock) != 0;
	if (vp->visit_stops)
		soft_stop_begin(vp->p, false);
}

void soft_vp_leave(struct soft_vp *vp)
{
	if (vp->visit_stops)
		soft_stop_end(vp->p, false);
	else
		pthread_mutex_unlock(&vp->cpu_lock);
	pthread_mutex_unlock(&vp->p->visit_lock);
}

// ---- halted, suspended, waiting for SIPI
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
	return (!vp->dead && (soft_lapic_waiting(&vp->lapic) || atomic_load(&vp->extint))) ||
	       ((vp->nmis || atomic_load(&vp->lapic.nmis)) && !x86_nmi_masked(vp->cpu)) ||
	       eoi_waiting(vp);
}

static bool wake_up(struct soft_vp *vp)
{
	if (atomic_load(&vp->kicked))
		return true;
	if (atomic_load(&vp->suspended))
		return false;
	if (atomic_load(&vp->init) || atomic_load(&vp->sipi) || atomic_load(&vp->synic.free_now) ||
	    atomic_load(&vp->activity))
		return true;
	return !vp->wait_sipi && woken(vp);
}

static bool resumed(struct soft_vp *vp)
{
	return atomic_load(&vp->kicked) || !atomic_load(&vp->suspended);
}

// Sleeps until done says so, looking again at each wake-up.
static void sleep_until(struct soft_vp *vp, bool (*done)(struct soft_vp *))
{
	struct pollfd pfd = { .fd = vp->wake_fd, .events = POLLIN };
	uint64_t n;

	soft_stop_leave(&vp->p->stop);
	atomic_store(&vp->waiting, true);
	while (!done(vp)) {
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
			vp->nmis = 0;
			vp->wait_sipi = vp->index != 0; // the first starts at the reset vector
		}
		sipi = atomic_exchange(&vp->sipi, 0);
		if (sipi && vp->wait_sipi) {
			x86_sipi(vp->cpu, (uint8_t)sipi);
			vp->wait_sipi = false;
		}
		if (!vp->wait_sipi)
			return true;
		if (atomic_exchange(&vp->kicked, false))
			return false;
		sleep_until(vp, wake_up);
		atomic_store(&vp->activity,
			     false); // it stays in wait-for-SIPI unless told otherwise
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

static void halt(struct soft_vp *vp)
{
	atomic_store(&vp->halted, true);
	sleep_until(vp, wake_up);
	if (!atomic_exchange(&vp->activity, false) && !woken(vp))
		x86_halt(vp->cpu); // only kicked: it goes on sleeping at the next run
	atomic_store(&vp->halted, false);
	atomic_store(&vp->dead, false);
}

// False: run on. True: *m or -EINTR is the result.
static bool handle_exit(struct soft_vp *vp, const struct x86_exit *ex, struct hv_message *m,
			int *ret)
{
	*ret = 0;
	if (ex->reason == X86_EXIT_HLT) {
		// With interrupts off only another VP's NMI or INIT ends it; when all are so, the VMM is told.
		atomic_store(&vp->dead, !(x86_rflags(vp->cpu) & 1 << 9));
		if (!vp->dead || !all_dead(vp->p)) {
			halt(vp);
			return false; // attention is looked at first thing
		}
	}
	if (ex->reason == X86_EXIT_ATTENTION) {
		if (soft_message_notice(vp, m))
			return true; // what is in flight goes before a signal
		if (atomic_exchange(&vp->kicked, false)) {
			*ret = -EINTR;
			return true;
		}
		if (atomic_load(&vp->suspended))
			sleep_until(vp, resumed);
		return false;
	}
	soft_message_exit(vp, ex, m);
	return true;
}

static int run_loop(struct soft_vp *vp)
{
	int r = 0;

	if (!soft_message_valid(vp, vp->message))
		return 0;
	x86_notify_write(vp->cpu); // the VMM may have written anywhere while this VP was out
	for (;;) {
		struct x86_exit ex;

		if (!start_up(vp))
			return -EINTR;
		x86_run(vp->cpu, &ex);
		if (handle_exit(vp, &ex, vp->message, &r))
			return r;
	}
}

int soft_vp_run(struct soft_vp *vp, struct hv_message *msg)
{
	int64_t start = io_now_ns();
	int r;

	pthread_mutex_lock(&vp->cpu_lock);
	running = vp;
	soft_stop_enter(&vp->p->stop);
	atomic_store(&vp->suspended, false);
	atomic_store(&vp->intercepted, false);
	soft_page_in(vp);
	r = run_loop(vp);
	atomic_store(&vp->suspended, r < 0);
	atomic_store(&vp->intercepted, r == 0);
	soft_stop_leave(&vp->p->stop);
	running = NULL;
	vp->runtime += (uint64_t)(io_now_ns() - start) / 100;
	pthread_mutex_unlock(&vp->cpu_lock);
	if (r == 0)
		memcpy(msg, vp->message, sizeof(*msg));
	return r;
}

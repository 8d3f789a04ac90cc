// SPDX-License-Identifier: Apache-2.0
// A partition: its memory, routes, irqfds, doorbells, and the thread that waits for their descriptors.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "vmm/soft/user.h"

// ---- time
static void cpuid_host(uint32_t leaf, uint32_t out[4])
{
	__asm__("cpuid"
		: "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
		: "a"(leaf), "c"(0));
}

// The host's TSC frequency: told by a hypervisor below us (the timing leaf) or by the processor, else measured.
static uint64_t host_tsc_hz(void)
{
	uint32_t r[4];
	int64_t t0, t1;
	uint64_t a, b;

	cpuid_host(1, r);
	if (r[2] >> 31) {
		cpuid_host(0x40000000, r);
		if (r[0] >= 0x40000010) {
			cpuid_host(0x40000010, r);
			if (r[0])
				return r[0] * 1000ull;
		}
	}
	cpuid_host(0, r);
	if (r[0] >= 0x15) {
		cpuid_host(0x15, r);
		if (r[0] && r[1] && r[2])
			return (uint64_t)r[2] * r[1] / r[0];
	}
	t0 = io_now_ns();
	a = __builtin_ia32_rdtsc();
	do {
		t1 = io_now_ns();
		b = __builtin_ia32_rdtsc();
	} while (t1 - t0 < 5000000);
	return (uint64_t)((unsigned __int128)(b - a) * 1000000000 / (uint64_t)(t1 - t0));
}

uint64_t soft_guest_tsc(const struct soft_partition *p)
{
	return p->frozen ? p->frozen_at : __builtin_ia32_rdtsc() - p->tsc_zero;
}

uint64_t soft_reference_time(const struct soft_partition *p)
{
	return (uint64_t)((unsigned __int128)soft_guest_tsc(p) * 10000000 / p->tsc_hz) +
	       p->ref_adjust;
}

// ---- the thread
int soft_watch(struct soft_partition *p, int fd, uint64_t key)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = key };

	return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

// A device is about to interrupt: it may have written code to memory.
void soft_device_wrote(struct soft_partition *p)
{
	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (p->vps[i])
			x86_notify_write(p->vps[i]->cpu);
}

static void *partition_thread(void *arg)
{
	struct soft_partition *p = arg;

	for (;;) {
		struct epoll_event ev[16];
		int n = epoll_wait(p->epoll_fd, ev, 16, -1);

		for (int i = 0; i < n; i++) {
			uint64_t key = ev[i].data.u64;

			if (key == WATCH_STOP)
				return NULL;
			if (key & WATCH_IRQFD)
				soft_irqfd_fire(p, key);
			else if (key & WATCH_TIMER)
				soft_lapic_timer(&p->vps[key & 0xffff]->lapic);
			else if (key & WATCH_STIMER)
				soft_stimer_fire(&p->vps[key & 0xffff]->synic);
		}
	}
}

// ---- life
static void partition_free(struct soft_partition *p)
{
	uint64_t one = 1;

	if (p->thread_started) {
		(void)write(p->stop_fd, &one, sizeof(one)); // an eventfd takes a one
		(void)pthread_join(p->thread, NULL);        // it is ours and joinable
	}
	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (p->vps[i])
			soft_vp_free(p->vps[i]);
	soft_eventfd_done(p);
	soft_memory_done(p);
	free(p->pages);
	soft_stop_done(&p->stop);
	close_fd(p->epoll_fd);
	close_fd(p->stop_fd);
	close_fd(p->fd);
	free(p);
}

int soft_partition_new(uint64_t flags, struct soft_partition **ret)
{
	struct soft_partition *p = calloc(1, sizeof(*p));
	sigset_t all, old;
	int r = 0;

	if (!p)
		return -ENOMEM;
	(void)pthread_mutex_init(&p->lock, NULL); // none of these fails with default attributes
	(void)pthread_mutex_init(&p->mem_lock, NULL);
	(void)pthread_mutex_init(&p->irq_lock, NULL);
	(void)pthread_mutex_init(&p->visit_lock, NULL);
	soft_stop_init(&p->stop);
	p->flags = flags;
	p->refs = 1;
	p->per_socket = SOFT_VPS;
	p->pages = aligned_alloc(4096, 8192);
	p->fd = memfd_create("mshv-partition", MFD_CLOEXEC);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->tsc_hz = host_tsc_hz();
	p->tsc_zero = __builtin_ia32_rdtsc();
	if (p->fd < 0 || p->epoll_fd < 0 || p->stop_fd < 0)
		r = -errno;
	else if (!p->pages)
		r = -ENOMEM;
	else
		r = soft_watch(p, p->stop_fd, WATCH_STOP);
	if (r == 0) {
		memset(p->pages, 0, 8192);
		// Signals are for the program's own threads.
		(void)sigfillset(&all);                         // cannot fail
		(void)pthread_sigmask(SIG_SETMASK, &all, &old); // nor this
		r = -pthread_create(&p->thread, NULL, partition_thread, p);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL); // as above
		p->thread_started = r == 0;
	}
	if (r < 0) {
		partition_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void soft_partition_ref(struct soft_partition *p)
{
	atomic_fetch_add(&p->refs, 1);
}

void soft_partition_unref(struct soft_partition *p)
{
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		partition_free(p);
}

// ---- interrupts
void soft_vp_interrupt(struct soft_vp *vp, unsigned type, uint8_t vector, bool level)
{
	switch (type) {
	case HV_X64_INTERRUPT_TYPE_FIXED:
	case HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY:
		soft_lapic_raise(&vp->lapic, vector, level);
		break;
	case HV_X64_INTERRUPT_TYPE_EXTINT:
		atomic_store(&vp->extint, 0x100u | vector);
		soft_vp_wake(vp);
		break;
	case HV_X64_INTERRUPT_TYPE_NMI:
		atomic_fetch_add(&vp->lapic.nmis, 1);
		soft_vp_wake(vp);
		break;
	case HV_X64_INTERRUPT_TYPE_INIT:
		soft_vp_init(vp);
		break;
	case HV_X64_INTERRUPT_TYPE_SIPI:
		soft_vp_sipi(vp, vector);
		break;
	default:
		break; // SMI: there is no such mode
	}
}

int soft_interrupt(struct soft_partition *p, unsigned type, uint32_t dest, bool logical,
		   uint8_t vector, bool level)
{
	bool found = false;

	for (unsigned i = 0; i < SOFT_VPS; i++) {
		struct soft_vp *vp = p->vps[i];

		if (!vp || !soft_lapic_match(&vp->lapic, dest, logical))
			continue;
		found = true;
		soft_vp_interrupt(vp, type, vector, level);
		if (type == HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY)
			break;
	}
	return found ? 0 : -EINVAL;
}

int soft_msi(struct soft_partition *p, uint32_t address, uint32_t data)
{
	return soft_interrupt(p, data >> 8 & 7, address >> 12 & 0xff, address >> 2 & 1,
			      (uint8_t)data, data >> 15 & 1);
}

static long create_vp(struct soft_partition *p, const struct mshv_create_vp *a)
{
	struct soft_vp *vp;
	int r;

	if (a->vp_index >= SOFT_VPS)
		return -EINVAL;
	if (p->vps[a->vp_index])
		return -EEXIST;
	r = p->n_vps == 1 ? soft_memory_share(p) : 0;
	r = r < 0 ? r : soft_vp_new(p, a->vp_index, &vp);
	if (r < 0)
		return r;
	if (p->n_vps)
		x86_share(vp->cpu, a->vp_index);
	r = soft_handle_add_vp(vp->fd, vp);
	if (r == 0) {
		p->vps[a->vp_index] = vp;
		r = soft_watch(p, vp->lapic.timer_fd, WATCH_TIMER | a->vp_index);
		if (r == 0)
			r = soft_watch(p, vp->synic.timer_fd, WATCH_STIMER | a->vp_index);
	}
	if (r < 0) {
		p->vps[a->vp_index] = NULL;
		soft_vp_free(vp);
		return r;
	}
	p->n_vps++;
	p->refs++;
	return vp->fd;
}

static long set_routes(struct soft_partition *p, uint64_t arg)
{
	struct mshv_user_irq_entry *entries = NULL;
	struct mshv_user_irq_table head;
	long r = 0;

	if (soft_copy_in(&head, arg, sizeof(head)) < 0)
		return -EFAULT;
	if (head.nr > SOFT_GSIS || head.rsvd)
		return -EINVAL;
	if (head.nr) {
		entries = calloc(head.nr, sizeof(*entries));
		r = entries ? soft_copy_in(entries, arg + sizeof(head), head.nr * sizeof(*entries))
			    : -ENOMEM;
	}
	if (r == 0)
		r = soft_set_msi_routing(p, &head, entries);
	free(entries);
	return r;
}

static long access_bitmap(struct soft_partition *p, uint64_t arg, struct mshv_gpap_access_bitmap *a)
{
	long r = soft_gpap_access_bitmap(p, a);

	return r < 0 ? r : soft_copy_out(arg, a, sizeof(*a));
}

static long with_argument(struct soft_partition *p, unsigned long req, uint64_t arg)
{
	union {
		struct mshv_create_vp vp;
		struct mshv_user_mem_region region;
		struct mshv_user_irqfd irqfd;
		struct mshv_user_ioeventfd ioeventfd;
		struct mshv_gpap_access_bitmap bitmap;
	} a;

	if (soft_copy_in(&a, arg, _IOC_SIZE(req)) < 0)
		return -EFAULT;
	switch (req) {
	case MSHV_CREATE_VP:
		return create_vp(p, &a.vp);
	case MSHV_SET_GUEST_MEMORY:
		return soft_set_guest_memory(p, &a.region);
	case MSHV_IRQFD:
		return soft_irqfd(p, &a.irqfd);
	case MSHV_IOEVENTFD:
		return soft_ioeventfd(p, &a.ioeventfd);
	default:
		return access_bitmap(p, arg, &a.bitmap);
	}
}

long soft_partition_ioctl(struct soft_partition *p, unsigned long req, uint64_t arg)
{
	long r;

	pthread_mutex_lock(&p->lock);
	switch (req) {
	case MSHV_INITIALIZE_PARTITION:
		p->initialized = true;
		r = 0;
		break;
	case MSHV_CREATE_VP:
	case MSHV_SET_GUEST_MEMORY:
	case MSHV_IRQFD:
	case MSHV_IOEVENTFD:
	case MSHV_GET_GPAP_ACCESS_BITMAP:
		r = with_argument(p, req, arg);
		break;
	case MSHV_SET_MSI_ROUTING:
		r = set_routes(p, arg);
		break;
	case MSHV_ROOT_HVCALL:
		r = soft_hvcall(p, arg);
		break;
	default:
		r = -ENOTTY;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

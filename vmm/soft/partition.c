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
	return (uint64_t)((unsigned __int128)soft_guest_tsc(p) * 10000000 / p->tsc_hz);
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

static void irqfd_fire(struct soft_partition *p, unsigned slot)
{
	struct soft_route route = { 0 };
	uint64_t n;

	pthread_mutex_lock(&p->irq_lock);
	if (p->irqfds[slot].used && read(p->irqfds[slot].fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		route = p->routes[p->irqfds[slot].gsi];
	pthread_mutex_unlock(&p->irq_lock);
	if (!route.valid)
		return;
	soft_device_wrote(p);
	(void)soft_msi(p, route.address, route.data); // nobody to deliver to: lost, as on a bus
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
				irqfd_fire(p, key & 0xffff);
			else if (key & WATCH_TIMER)
				soft_lapic_timer(&p->vps[key & 0xffff]->lapic);
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
	for (unsigned i = 0; i < p->n_doorbells; i++)
		close_fd(p->doorbells[i].fd);
	for (unsigned i = 0; i < SOFT_IRQFDS; i++)
		if (p->irqfds[i].used) {
			close_fd(p->irqfds[i].fd);
			close_fd(p->irqfds[i].resample);
		}
	for (unsigned i = 0; i < p->n_regions; i++)
		free(p->regions[i].pages);
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
	soft_stop_init(&p->stop);
	p->flags = flags;
	p->refs = 1;
	p->fd = memfd_create("mshv-partition", MFD_CLOEXEC);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->tsc_hz = host_tsc_hz();
	p->tsc_zero = __builtin_ia32_rdtsc();
	if (p->fd < 0 || p->epoll_fd < 0 || p->stop_fd < 0)
		r = -errno;
	else
		r = soft_watch(p, p->stop_fd, WATCH_STOP);
	if (r == 0) {
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

void soft_partition_unref(struct soft_partition *p)
{
	unsigned left;

	pthread_mutex_lock(&p->lock);
	left = --p->refs;
	pthread_mutex_unlock(&p->lock);
	if (!left)
		partition_free(p);
}

// ---- memory
void *soft_ram(struct soft_partition *p, uint64_t gpa, uint64_t len, bool *writable)
{
	void *hva = NULL;

	pthread_mutex_lock(&p->mem_lock);
	for (unsigned i = 0; i < p->n_regions; i++) {
		const struct soft_region *r = &p->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size && len <= r->size - (gpa - r->gpa)) {
			hva = r->hva + (gpa - r->gpa);
			*writable = r->writable;
			break;
		}
	}
	pthread_mutex_unlock(&p->mem_lock);
	return hva;
}

// Marks for the pages of a region, once there is more than one VP to mark them.
static int pages_new(struct soft_region *r)
{
	if (!r->pages)
		r->pages = calloc(r->size >> 12, sizeof(*r->pages));
	return r->pages ? 0 : -ENOMEM;
}

static bool mapped(uint64_t addr, uint64_t size)
{
	unsigned char vec[1];

	// Only the ends are looked at: the middle is the caller's promise.
	return mincore((void *)(uintptr_t)addr, 4096, vec) == 0 &&
	       mincore((void *)(uintptr_t)(addr + size - 4096), 4096, vec) == 0;
}

static long set_guest_memory(struct soft_partition *p, const struct mshv_user_mem_region *a)
{
	static const uint8_t zero[7];
	uint64_t gpa = a->guest_pfn << 12;
	long r = 0;

	if (!a->size || (a->size & 4095) || (a->userspace_addr & 4095) ||
	    a->flags >> MSHV_SET_MEM_BIT_COUNT || memcmp(a->rsvd, zero, sizeof(zero)) ||
	    gpa >> 12 != a->guest_pfn || gpa + a->size < gpa)
		return -EINVAL;
	soft_stop_begin(p, false); // what goes is used by nobody when this returns
	pthread_mutex_lock(&p->mem_lock);
	if (a->flags >> MSHV_SET_MEM_BIT_UNMAP & 1) {
		r = -ENOENT;
		for (unsigned i = 0; i < p->n_regions; i++) {
			struct soft_region *m = &p->regions[i];

			if (gpa < m->gpa || gpa - m->gpa >= m->size)
				continue;
			r = -EINVAL;
			if (m->gpa == gpa && m->size == a->size &&
			    (uint64_t)(uintptr_t)m->hva == a->userspace_addr) {
				free(m->pages);
				*m = p->regions[--p->n_regions];
				r = 0;
			}
			break;
		}
	} else {
		for (unsigned i = 0; i < p->n_regions; i++)
			if (gpa < p->regions[i].gpa + p->regions[i].size &&
			    p->regions[i].gpa < gpa + a->size)
				r = -EEXIST;
		if (r == 0 && !mapped(a->userspace_addr, a->size))
			r = -EINVAL;
		if (r == 0 && p->n_regions == SOFT_REGIONS)
			r = -ENOMEM;
		if (r == 0) {
			struct soft_region *m = &p->regions[p->n_regions];

			*m = (struct soft_region){
				.gpa = gpa,
				.size = a->size,
				.hva = (uint8_t *)(uintptr_t)a->userspace_addr,
				.writable = a->flags >> MSHV_SET_MEM_BIT_WRITABLE & 1,
			};
			r = p->n_vps > 1 ? pages_new(m) : 0;
			p->n_regions += r == 0;
		}
	}
	pthread_mutex_unlock(&p->mem_lock);
	for (unsigned i = 0; r == 0 && i < SOFT_VPS; i++)
		if (p->vps[i])
			x86_flush_tlb(p->vps[i]->cpu);
	if (r == 0)
		atomic_fetch_add(&p->regions_changed, 1);
	soft_stop_end(p, false);
	return r;
}

// ---- doorbells
static bool same_doorbell(const struct soft_doorbell *d, const struct mshv_user_ioeventfd *a,
			  bool any)
{
	return d->gpa == a->addr && d->len == a->len && d->any == any &&
	       (any || d->match == a->datamatch);
}

static long ioeventfd(struct soft_partition *p, const struct mshv_user_ioeventfd *a)
{
	bool any = !(a->flags >> MSHV_IOEVENTFD_BIT_DATAMATCH & 1);
	long r = 0;
	int fd;

	if (a->flags >> MSHV_IOEVENTFD_BIT_COUNT || a->rsvd[0] || a->rsvd[1] || a->rsvd[2] ||
	    a->rsvd[3])
		return -EINVAL;
	if (a->flags >> MSHV_IOEVENTFD_BIT_PIO & 1)
		return -EOPNOTSUPP;
	if (a->len != 0 && a->len != 1 && a->len != 2 && a->len != 4 && a->len != 8)
		return -EINVAL;
	if (a->addr + a->len < a->addr)
		return -EINVAL;
	pthread_mutex_lock(&p->mem_lock);
	if (a->flags >> MSHV_IOEVENTFD_BIT_DEASSIGN & 1) {
		r = -ENOENT;
		for (unsigned i = 0; i < p->n_doorbells; i++)
			if (same_doorbell(&p->doorbells[i], a, any) &&
			    p->doorbells[i].given == a->fd) {
				close_fd(p->doorbells[i].fd);
				p->doorbells[i] = p->doorbells[--p->n_doorbells];
				r = 0;
				break;
			}
	} else {
		for (unsigned i = 0; i < p->n_doorbells; i++) {
			const struct soft_doorbell *d = &p->doorbells[i];

			if (d->gpa == a->addr && d->len == a->len &&
			    (d->any || any || d->match == a->datamatch))
				r = -EEXIST;
		}
		if (r == 0 && p->n_doorbells == SOFT_DOORBELLS)
			r = -ENOSPC;
		fd = r == 0 ? fcntl(a->fd, F_DUPFD_CLOEXEC, 0) : -1;
		if (r == 0 && fd < 0)
			r = -EBADF;
		if (r == 0)
			p->doorbells[p->n_doorbells++] = (struct soft_doorbell){
				.gpa = a->addr,
				.match = a->datamatch,
				.len = a->len,
				.any = any,
				.fd = fd,
				.given = a->fd,
			};
	}
	pthread_mutex_unlock(&p->mem_lock);
	return r;
}

bool soft_doorbell_ring(struct soft_partition *p, uint64_t gpa, unsigned len, uint64_t value)
{
	uint64_t one = 1;
	bool rang = false;

	pthread_mutex_lock(&p->mem_lock);
	for (unsigned i = 0; i < p->n_doorbells; i++) {
		const struct soft_doorbell *d = &p->doorbells[i];

		if (d->gpa == gpa && (d->len == 0 || d->len == len) &&
		    (d->any || d->match == value)) {
			(void)write(d->fd, &one,
				    sizeof(one)); // a full counter is as good as one more
			rang = true;
			break;
		}
	}
	pthread_mutex_unlock(&p->mem_lock);
	return rang;
}

// ---- interrupts
int soft_interrupt(struct soft_partition *p, unsigned type, uint32_t dest, bool logical,
		   uint8_t vector, bool level)
{
	bool found = false;

	for (unsigned i = 0; i < SOFT_VPS; i++) {
		struct soft_vp *vp = p->vps[i];
		bool hit;

		if (!vp)
			continue;
		if (!logical)
			hit = dest == vp->lapic.id || dest == 0xff || dest == 0xffffffff;
		else if (vp->lapic.base & 1 << 10)
			hit = dest >> 16 == vp->lapic.id >> 4 &&
			      (dest & 0xffff) >> (vp->lapic.id & 15) & 1;
		else
			hit = (vp->lapic.ldr >> 24 & dest & 0xff) != 0; // flat model
		if (!hit)
			continue;
		found = true;
		switch (type) {
		case HV_X64_INTERRUPT_TYPE_FIXED:
		case HV_X64_INTERRUPT_TYPE_LOWESTPRIORITY:
		case HV_X64_INTERRUPT_TYPE_EXTINT:
			soft_lapic_raise(&vp->lapic, vector, level);
			break;
		case HV_X64_INTERRUPT_TYPE_NMI:
			vp->lapic.nmi = true;
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

bool soft_resample(struct soft_partition *p, uint8_t vector)
{
	uint64_t one = 1;
	bool told = false;

	pthread_mutex_lock(&p->irq_lock);
	for (unsigned i = 0; i < SOFT_IRQFDS; i++) {
		const struct soft_irqfd *f = &p->irqfds[i];

		if (f->used && f->resample >= 0 && p->routes[f->gsi].valid &&
		    (uint8_t)p->routes[f->gsi].data == vector) {
			(void)write(f->resample, &one, sizeof(one)); // as for doorbells
			told = true;
		}
	}
	pthread_mutex_unlock(&p->irq_lock);
	return told;
}

static long set_msi_routing(struct soft_partition *p, const struct mshv_user_irq_table *t)
{
	if (t->nr > SOFT_GSIS || t->rsvd)
		return -EINVAL;
	for (uint32_t i = 0; i < t->nr; i++) {
		if (t->entries[i].gsi >= SOFT_GSIS || t->entries[i].address_hi)
			return -EINVAL;
		for (uint32_t j = 0; j < i; j++)
			if (t->entries[j].gsi == t->entries[i].gsi)
				return -EINVAL;
	}
	pthread_mutex_lock(&p->irq_lock);
	memset(p->routes, 0, sizeof(p->routes));
	for (uint32_t i = 0; i < t->nr; i++)
		p->routes[t->entries[i].gsi] =
			(struct soft_route){ true, t->entries[i].address_lo, t->entries[i].data };
	pthread_mutex_unlock(&p->irq_lock);
	return 0;
}

static long irqfd_remove(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	long r = -ENOENT;

	pthread_mutex_lock(&p->irq_lock);
	for (unsigned i = 0; i < SOFT_IRQFDS; i++) {
		struct soft_irqfd *f = &p->irqfds[i];

		if (!f->used || f->given != a->fd || f->gsi != a->gsi)
			continue;
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL); // it is there
		close_fd(f->fd);
		close_fd(f->resample);
		f->used =
			false; // the thread takes irq_lock before it looks: nothing fires after this
		r = 0;
	}
	pthread_mutex_unlock(&p->irq_lock);
	return r;
}

static long irqfd_add(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	bool resample = a->flags >> MSHV_IRQFD_BIT_RESAMPLE & 1;
	struct soft_irqfd *f = NULL;
	unsigned slot = 0;
	long r = 0;

	if (a->gsi >= SOFT_GSIS)
		return -EINVAL;
	pthread_mutex_lock(&p->irq_lock);
	for (unsigned i = SOFT_IRQFDS; i-- > 0;) {
		if (!p->irqfds[i].used) {
			f = &p->irqfds[i];
			slot = i;
		} else if (p->irqfds[i].given == a->fd) {
			r = -EBUSY;
		}
	}
	if (r == 0 && resample && !(p->routes[a->gsi].valid && p->routes[a->gsi].data >> 15 & 1))
		r = -EINVAL; // the route has to be there, and level-triggered
	if (r == 0 && !f)
		r = -ENOSPC;
	if (r == 0) {
		*f = (struct soft_irqfd){ .resample = -1, .given = a->fd, .gsi = a->gsi };
		f->fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
		if (f->fd >= 0 && resample)
			f->resample = fcntl(a->resamplefd, F_DUPFD_CLOEXEC, 0);
		if (f->fd < 0 || (resample && f->resample < 0)) {
			close_fd(f->fd);
			r = -EBADF;
		} else {
			(void)fcntl(
				f->fd, F_SETFL,
				O_NONBLOCK); // an eventfd's flag is shared with the giver, who polls it too
			f->used = true;
			r = soft_watch(p, f->fd, WATCH_IRQFD | slot);
			if (r < 0) {
				f->used = false;
				close_fd(f->fd);
				close_fd(f->resample);
			}
		}
	}
	pthread_mutex_unlock(&p->irq_lock);
	return r;
}

static long irqfd(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	if (a->flags >> MSHV_IRQFD_BIT_COUNT)
		return -EINVAL;
	return a->flags >> MSHV_IRQFD_BIT_DEASSIGN & 1 ? irqfd_remove(p, a) : irqfd_add(p, a);
}

// Before a second VP comes: memory is shared from now on.
static int share_memory(struct soft_partition *p)
{
	int r = 0;

	soft_stop_begin(p, false);
	pthread_mutex_lock(&p->mem_lock);
	for (unsigned i = 0; i < p->n_regions && r == 0; i++)
		r = pages_new(&p->regions[i]);
	pthread_mutex_unlock(&p->mem_lock);
	for (unsigned i = 0; i < SOFT_VPS && r == 0; i++)
		if (p->vps[i])
			x86_share(p->vps[i]->cpu, i);
	if (r == 0)
		atomic_fetch_add(&p->regions_changed, 1);
	soft_stop_end(p, false);
	return r;
}

static long create_vp(struct soft_partition *p, const struct mshv_create_vp *a)
{
	struct soft_vp *vp;
	int r;

	if (a->vp_index >= SOFT_VPS)
		return -EINVAL;
	if (p->vps[a->vp_index])
		return -EEXIST;
	r = p->n_vps == 1 ? share_memory(p) : 0;
	r = r < 0 ? r : soft_vp_new(p, a->vp_index, &vp);
	if (r < 0)
		return r;
	if (p->n_vps)
		x86_share(vp->cpu, a->vp_index);
	r = soft_handle_add_vp(vp->fd, vp);
	if (r == 0) {
		p->vps[a->vp_index] = vp;
		r = soft_watch(p, vp->lapic.timer_fd, WATCH_TIMER | a->vp_index);
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

long soft_partition_ioctl(struct soft_partition *p, unsigned long req, void *arg)
{
	long r;

	pthread_mutex_lock(&p->lock);
	switch (req) {
	case MSHV_INITIALIZE_PARTITION:
		p->initialized = true;
		r = 0;
		break;
	case MSHV_CREATE_VP:
		r = create_vp(p, arg);
		break;
	case MSHV_SET_GUEST_MEMORY:
		r = set_guest_memory(p, arg);
		break;
	case MSHV_IRQFD:
		r = irqfd(p, arg);
		break;
	case MSHV_IOEVENTFD:
		r = ioeventfd(p, arg);
		break;
	case MSHV_SET_MSI_ROUTING:
		r = set_msi_routing(p, arg);
		break;
	case MSHV_ROOT_HVCALL:
		r = soft_hvcall(p, NULL, arg);
		break;
	case MSHV_GET_GPAP_ACCESS_BITMAP:
		r = -EOPNOTSUPP;
		break;
	default:
		r = -ENOTTY;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

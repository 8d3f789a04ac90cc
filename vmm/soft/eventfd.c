// SPDX-License-Identifier: Apache-2.0
#include "vmm/soft/eventfd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/own.h"
#include "vmm/soft/soft.h"

// 0, -EBADF, or -EINVAL for another kind of file (where /proc says what kind).
static long check_eventfd(int fd)
{
	char path[40], to[64];
	ssize_t n;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); // it fits
	n = readlink(path, to, sizeof(to) - 1);
	if (n < 0)
		return 0;
	to[n] = 0;
	return strcmp(to, "anon_inode:[eventfd]") == 0 ? 0 : -EINVAL;
}

// Two descriptors of one open file. Where the kernel cannot compare, by number.
static bool same_file(int a, int b)
{
	long r = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);

	return r < 0 ? a == b : r == 0;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	(void)write(fd, &one, sizeof(one)); // a full counter is as good as one more
}

// ---- doorbells
static bool same_doorbell(const struct soft_doorbell *d, const struct mshv_user_ioeventfd *a,
			  bool any)
{
	return d->gpa == a->addr && d->len == a->len && d->any == any &&
	       (any || d->match == a->datamatch) && same_file(d->fd, a->fd);
}

static long doorbell_remove_locked(struct soft_partition *p, const struct mshv_user_ioeventfd *a,
				   bool any)
{
	for (unsigned i = 0; i < p->n_doorbells; i++)
		if (same_doorbell(&p->doorbells[i], a, any)) {
			close_fd(p->doorbells[i].fd);
			p->doorbells[i] = p->doorbells[--p->n_doorbells];
			return 0;
		}
	return -ENOENT;
}

static long doorbell_add_locked(struct soft_partition *p, const struct mshv_user_ioeventfd *a,
				bool any)
{
	int fd;

	for (unsigned i = 0; i < p->n_doorbells; i++) {
		const struct soft_doorbell *d = &p->doorbells[i];

		if (d->gpa == a->addr && d->len == a->len &&
		    (d->any || any || d->match == a->datamatch))
			return -EEXIST;
	}
	if (p->n_doorbells == SOFT_DOORBELLS)
		return -ENOSPC;
	fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	p->doorbells[p->n_doorbells++] = (struct soft_doorbell){
		.gpa = a->addr, .match = a->datamatch, .len = a->len, .any = any, .fd = fd
	};
	return 0;
}

long soft_ioeventfd(struct soft_partition *p, const struct mshv_user_ioeventfd *a)
{
	static const uint8_t zero[4];
	bool any = !(a->flags >> MSHV_IOEVENTFD_BIT_DATAMATCH & 1);
	bool remove = a->flags >> MSHV_IOEVENTFD_BIT_DEASSIGN & 1;
	long r;

	if (a->flags >> MSHV_IOEVENTFD_BIT_COUNT || memcmp(a->rsvd, zero, sizeof(zero)))
		return -EINVAL;
	if (a->flags >> MSHV_IOEVENTFD_BIT_PIO & 1)
		return -EOPNOTSUPP;
	if (!remove && ((a->len != 0 && a->len != 1 && a->len != 2 && a->len != 4 && a->len != 8) ||
			a->addr + a->len < a->addr))
		return -EINVAL;
	r = check_eventfd(a->fd);
	if (r < 0)
		return r;
	pthread_mutex_lock(&p->mem_lock);
	r = remove ? doorbell_remove_locked(p, a, any) : doorbell_add_locked(p, a, any);
	pthread_mutex_unlock(&p->mem_lock);
	return r;
}

bool soft_doorbell_ring(struct soft_partition *p, uint64_t gpa, unsigned len, uint64_t value)
{
	bool rang = false;

	pthread_mutex_lock(&p->mem_lock);
	for (unsigned i = 0; i < p->n_doorbells && !rang; i++) {
		const struct soft_doorbell *d = &p->doorbells[i];

		rang = d->gpa == gpa && (d->len == 0 || d->len == len) &&
		       (d->any || d->match == value);
		if (rang)
			signal_fd(d->fd);
	}
	pthread_mutex_unlock(&p->mem_lock);
	return rang;
}

// ---- routes
long soft_set_msi_routing(struct soft_partition *p, const struct mshv_user_irq_table *head,
			  const struct mshv_user_irq_entry *entries)
{
	static const struct soft_route none;
	bool seen[SOFT_GSIS] = { false };

	if (head->nr > SOFT_GSIS || head->rsvd)
		return -EINVAL;
	for (uint32_t i = 0; i < head->nr; i++) {
		if (entries[i].gsi >= SOFT_GSIS || entries[i].address_hi || seen[entries[i].gsi])
			return -EINVAL;
		seen[entries[i].gsi] = true;
	}
	pthread_mutex_lock(&p->irq_lock);
	for (uint32_t i = 0; i < SOFT_GSIS; i++)
		p->routes[i] = none;
	for (uint32_t i = 0; i < head->nr; i++)
		p->routes[entries[i].gsi] =
			(struct soft_route){ true, entries[i].address_lo, entries[i].data };
	pthread_mutex_unlock(&p->irq_lock);
	return 0;
}

static bool route_locked(const struct soft_partition *p, uint32_t gsi, struct soft_route *ret)
{
	if (gsi >= SOFT_GSIS || !p->routes[gsi].valid)
		return false;
	*ret = p->routes[gsi];
	return true;
}

bool soft_resample(struct soft_partition *p, uint8_t vector)
{
	struct soft_route route;
	bool told = false;

	pthread_mutex_lock(&p->irq_lock);
	for (unsigned i = 0; i < SOFT_IRQFDS; i++) {
		const struct soft_irqfd *f = &p->irqfds[i];

		if (f->used && f->resample >= 0 && route_locked(p, f->gsi, &route) &&
		    (uint8_t)route.data == vector) {
			signal_fd(f->resample);
			told = true;
		}
	}
	pthread_mutex_unlock(&p->irq_lock);
	return told;
}

// ---- irqfds. Edge-triggered: each write to the eventfd is one event, whether or not its count can be taken.
static struct epoll_event event_of(const struct soft_partition *p, const struct soft_irqfd *f)
{
	return (struct epoll_event){ .events = EPOLLIN | EPOLLET,
				     .data.u64 = WATCH_IRQFD | (uint64_t)(f - p->irqfds) |
						 (uint64_t)f->generation << 32 };
}

// The caller's number still names the file that was registered: epoll knows its files by both.
static bool names_it_locked(const struct soft_partition *p, const struct soft_irqfd *f)
{
	struct epoll_event ev = event_of(p, f);

	return epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, f->given, &ev) == 0;
}

// Takes the count, as the driver does at each event; false if there was none or the number is not that file's any more.
static bool consume_locked(const struct soft_partition *p, const struct soft_irqfd *f)
{
	int fd = fcntl(f->given, F_DUPFD_CLOEXEC, 0);
	uint64_t n;
	struct iovec v = { &n, sizeof(n) };
	bool taken = false;

	// Asked after the duplicate was made, so that the duplicate is what the answer is about.
	if (fd >= 0 && names_it_locked(p, f))
		taken = preadv2(fd, &v, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(n);
	close_fd(fd);
	return taken;
}

static void deliver_locked(struct soft_partition *p, uint32_t gsi)
{
	struct soft_route route;

	if (!route_locked(p, gsi, &route))
		return;
	soft_device_wrote(p);
	(void)soft_msi(p, route.address, route.data); // nobody to deliver to: lost, as on a bus
}

void soft_irqfd_fire(struct soft_partition *p, uint64_t key)
{
	struct soft_irqfd *f = &p->irqfds[key & 0xffff];

	// Under the lock to the end: after a deassignment nothing more comes.
	pthread_mutex_lock(&p->irq_lock);
	if (f->used && f->generation == (uint32_t)(key >> 32)) {
		(void)consume_locked(p, f); // an event is an interrupt, whoever has taken its count
		deliver_locked(p, f->gsi);
	}
	pthread_mutex_unlock(&p->irq_lock);
}

static void drop_locked(struct soft_irqfd *f)
{
	close_fd(f->resample);
	f->used = false;
	f->generation++;
}

static long irqfd_remove_locked(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	for (unsigned i = 0; i < SOFT_IRQFDS; i++) {
		struct soft_irqfd *f = &p->irqfds[i];

		if (!f->used || f->gsi != a->gsi || !names_it_locked(p, f) ||
		    !same_file(f->given, a->fd))
			continue;
		if (consume_locked(p, f)) // came before this call, and is not seen by the thread
			deliver_locked(p, f->gsi);
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, f->given, NULL); // it is there
		drop_locked(f);
	}
	return 0;
}

// Frees the places of irqfds whose eventfd nobody has any more: epoll's list of files is without them. Without /proc they
// stay.
static void collect_locked(struct soft_partition *p)
{
	bool alive[SOFT_IRQFDS] = { false };
	char path[48], line[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", p->epoll_fd); // it fits
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		const char *data = strstr(line, "data:");
		uint64_t key;

		if (data && sscanf(data + 5, "%" SCNx64, &key) == 1 && (key & WATCH_IRQFD) &&
		    (key & 0xffff) < SOFT_IRQFDS)
			alive[key & 0xffff] = true;
	}
	(void)fclose(f); // only read
	for (unsigned i = 0; i < SOFT_IRQFDS; i++)
		if (p->irqfds[i].used && !alive[i])
			drop_locked(&p->irqfds[i]);
}

static struct soft_irqfd *unused_locked(struct soft_partition *p)
{
	for (unsigned i = 0; i < SOFT_IRQFDS; i++)
		if (!p->irqfds[i].used)
			return &p->irqfds[i];
	return NULL;
}

static long irqfd_add_locked(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	bool resample = a->flags >> MSHV_IRQFD_BIT_RESAMPLE & 1;
	struct soft_irqfd *f;
	struct epoll_event ev;
	struct soft_route route;
	int fd = -1;

	for (unsigned i = 0; i < SOFT_IRQFDS; i++)
		if (p->irqfds[i].used && names_it_locked(p, &p->irqfds[i]) &&
		    same_file(p->irqfds[i].given, a->fd))
			return -EBUSY;
	// The route has to be there, and level-triggered.
	if (resample && !(route_locked(p, a->gsi, &route) && route.data >> 15 & 1))
		return -EINVAL;
	f = unused_locked(p);
	if (!f) {
		collect_locked(p);
		f = unused_locked(p);
	}
	if (!f)
		return -ENOSPC;
	if (resample) {
		fd = fcntl(a->resamplefd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
	}
	f->given = a->fd;
	f->gsi = a->gsi;
	f->resample = fd;
	ev = event_of(p, f);
	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, a->fd, &ev) <
	    0) { // a pending event is seen at once
		close_fd(fd);
		return -errno;
	}
	f->used = true;
	return 0;
}

long soft_irqfd(struct soft_partition *p, const struct mshv_user_irqfd *a)
{
	bool remove = a->flags >> MSHV_IRQFD_BIT_DEASSIGN & 1;
	long r;

	if (a->flags >> MSHV_IRQFD_BIT_COUNT)
		return -EINVAL;
	r = check_eventfd(a->fd);
	if (r == 0 && !remove && (a->flags >> MSHV_IRQFD_BIT_RESAMPLE & 1))
		r = check_eventfd(a->resamplefd);
	if (r < 0)
		return r;
	pthread_mutex_lock(&p->irq_lock);
	r = remove ? irqfd_remove_locked(p, a) : irqfd_add_locked(p, a);
	pthread_mutex_unlock(&p->irq_lock);
	return r;
}

void soft_eventfd_done(struct soft_partition *p)
{
	for (unsigned i = 0; i < p->n_doorbells; i++)
		close_fd(p->doorbells[i].fd);
	for (unsigned i = 0; i < SOFT_IRQFDS; i++)
		if (p->irqfds[i].used)
			close_fd(p->irqfds[i].resample);
}

// SPDX-License-Identifier: Apache-2.0
// open, ioctl, mmap and close of the software /dev/mshv: descriptors to objects.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/soft/user.h"

enum handle_kind { HANDLE_NONE, HANDLE_DEVICE, HANDLE_PARTITION, HANDLE_VP };

// What each descriptor number stands for. The table is process-wide because descriptor numbers are, and grows with them.
struct handle {
	enum handle_kind kind;
	void *object;
};
static struct {
	pthread_mutex_t lock;
	struct handle *at; // owned
	int n;
} handles = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int handle_add(int fd, enum handle_kind kind, void *object)
{
	int r = 0;

	pthread_mutex_lock(&handles.lock);
	if (fd >= handles.n) {
		int n = fd + 64;
		struct handle *at = realloc(handles.at, (size_t)n * sizeof(*at));

		if (at) {
			memset(at + handles.n, 0, (size_t)(n - handles.n) * sizeof(*at));
			handles.at = at;
			handles.n = n;
		} else {
			r = -ENOMEM;
		}
	}
	if (r == 0)
		handles.at[fd] = (struct handle){ kind, object };
	pthread_mutex_unlock(&handles.lock);
	return r;
}

static struct soft_partition *partition_of(const struct handle *h)
{
	return h->kind == HANDLE_PARTITION ? h->object
	       : h->kind == HANDLE_VP      ? ((struct soft_vp *)h->object)->p
					   : NULL;
}

// What fd stands for; its partition stays until handle_put, whoever closes descriptors meanwhile.
static struct handle handle_get(int fd)
{
	struct handle h = { HANDLE_NONE, NULL };

	pthread_mutex_lock(&handles.lock);
	if (fd >= 0 && fd < handles.n)
		h = handles.at[fd];
	if (partition_of(&h))
		soft_partition_ref(partition_of(&h));
	pthread_mutex_unlock(&handles.lock);
	return h;
}

static void handle_put(const struct handle *h)
{
	if (partition_of(h))
		soft_partition_unref(partition_of(h));
}

int soft_handle_add_vp(int fd, struct soft_vp *vp)
{
	return handle_add(fd, HANDLE_VP, vp);
}

static int fail(int r)
{
	errno = -r;
	return -1;
}

static int soft_open(const char *path, int flags)
{
	int fd, r;

	(void)flags; // O_RDWR | O_CLOEXEC is all there is
	if (strcmp(path, "/dev/mshv") != 0)
		return fail(-ENOENT);
	fd = memfd_create("mshv", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	r = handle_add(fd, HANDLE_DEVICE, NULL);
	if (r < 0) {
		(void)close(fd);
		return fail(r);
	}
	return fd;
}

// Unknown features of the client are no features of this partition: what it has not cannot be taken away.
static long create_partition(uint64_t arg)
{
	static const uint8_t zero[16];
	struct mshv_create_partition_v2 a = { 0 };
	struct soft_partition *p;
	int r;

	if (soft_copy_in(&a, arg, sizeof(struct mshv_create_partition)) < 0)
		return -EFAULT;
	if (a.pt_flags >> MSHV_PT_BIT_COUNT || a.pt_isolation)
		return -EINVAL;
	if (a.pt_flags >> MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES & 1) {
		if (soft_copy_in(&a, arg, sizeof(a)) < 0)
			return -EFAULT;
		if (a.pt_num_cpu_fbanks != 2 || memcmp(a.pt_rsvd, zero, sizeof(a.pt_rsvd)) ||
		    memcmp(a.pt_rsvd1, zero, sizeof(a.pt_rsvd1)))
			return -EINVAL;
	}
	r = soft_partition_new(a.pt_flags, &p);
	if (r < 0)
		return r;
	p->disabled[0] = a.pt_cpu_fbanks[0];
	p->disabled[1] = a.pt_cpu_fbanks[1];
	p->disabled_xsave = a.pt_disabled_xsave;
	r = handle_add(p->fd, HANDLE_PARTITION, p);
	if (r < 0) {
		soft_partition_unref(p);
		return r;
	}
	return p->fd;
}

static long device_ioctl(unsigned long req, uint64_t arg)
{
	switch (req) {
	case MSHV_CREATE_PARTITION:
		return create_partition(arg);
	case MSHV_ROOT_HVCALL:
		return soft_hvcall(NULL, arg);
	default:
		return -ENOTTY;
	}
}

static long run_vp(struct soft_vp *vp, uint64_t arg)
{
	struct hv_message msg;
	long r = soft_vp_run(vp, &msg);

	return r < 0 ? r : soft_copy_out(arg, &msg, sizeof(msg));
}

static long vp_ioctl(struct soft_vp *vp, unsigned long req, uint64_t arg)
{
	long r;

	pthread_mutex_lock(&vp->lock);
	switch (req) {
	case MSHV_RUN_VP:
		r = run_vp(vp, arg);
		break;
	case MSHV_ROOT_HVCALL:
		pthread_mutex_lock(&vp->p->lock);
		r = soft_hvcall(vp->p, arg);
		pthread_mutex_unlock(&vp->p->lock);
		break;
	case MSHV_GET_VP_STATE:
	case MSHV_SET_VP_STATE:
		r = soft_vp_state(vp, arg, req == MSHV_SET_VP_STATE);
		break;
	default:
		r = -ENOTTY;
		break;
	}
	pthread_mutex_unlock(&vp->lock);
	return r;
}

static int soft_ioctl(int fd, unsigned long req, void *argp)
{
	struct handle h = handle_get(fd);
	uint64_t arg = (uint64_t)(uintptr_t)argp;
	long r;

	switch (h.kind) {
	case HANDLE_DEVICE:
		r = device_ioctl(req, arg);
		break;
	case HANDLE_PARTITION:
		r = soft_partition_ioctl(h.object, req, arg);
		break;
	case HANDLE_VP:
		r = vp_ioctl(h.object, req, arg);
		break;
	default:
		r = -EBADF;
		break;
	}
	handle_put(&h);
	return r < 0 ? fail((int)r) : (int)r;
}

static void *soft_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	struct handle h = handle_get(fd);
	int e = h.kind == HANDLE_NONE                       ? EBADF
		: h.kind != HANDLE_VP                       ? ENODEV
		: offset == MSHV_VP_MMAP_OFFSET_GHCB * 4096 ? ENODEV // plain partitions have none
		: offset != 0 && offset != 4096             ? EINVAL
							    : 0;
	void *at = MAP_FAILED;

	if (e)
		errno = e;
	else
		at = mmap(addr, length, prot, flags, fd, offset);
	handle_put(&h);
	return at;
}

// The VP stays until the partition dies, and that with its last descriptor; the number itself is free at once.
static int soft_close(int fd)
{
	struct handle h = handle_get(fd);

	if (h.kind == HANDLE_NONE)
		return fail(-EBADF);
	(void)handle_add(fd, HANDLE_NONE, NULL); // the table reaches to fd
	if (h.kind == HANDLE_PARTITION)
		((struct soft_partition *)h.object)->fd = -1;
	if (h.kind == HANDLE_VP)
		((struct soft_vp *)h.object)->fd = -1;
	(void)close(fd); // ours, with nothing to be written
	if (h.kind != HANDLE_DEVICE)
		soft_partition_unref(partition_of(&h)); // the descriptor's own
	handle_put(&h);
	return 0;
}

static int soft_counters(int vp_fd, struct mshv_counters *ret)
{
	struct handle h = handle_get(vp_fd);
	struct soft_vp *vp = h.object;

	if (h.kind != HANDLE_VP) {
		handle_put(&h);
		return fail(-EBADF);
	}
	ret->instructions = x86_instructions(vp->cpu);
	ret->doorbells = atomic_load(&vp->doorbells);
	ret->interrupts = atomic_load(&vp->interrupts);
	handle_put(&h);
	return 0;
}

const struct mshv_sys mshv_sys_soft = {
	.name = "soft",
	.open = soft_open,
	.ioctl = soft_ioctl,
	.mmap = soft_mmap,
	.munmap = munmap,
	.close = soft_close,
	.interrupted = soft_vp_interrupted,
	.counters = soft_counters,
};

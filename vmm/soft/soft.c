// SPDX-License-Identifier: Apache-2.0
// open, ioctl, mmap and close of the software /dev/mshv: descriptors to objects.
#include "vmm/soft/soft.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum handle_kind { HANDLE_NONE, HANDLE_DEVICE, HANDLE_PARTITION, HANDLE_VP };
enum { HANDLES = 1024 };

// What each descriptor number stands for. The table is process-wide because descriptor numbers are.
static struct {
	pthread_mutex_t lock;
	struct {
		enum handle_kind kind;
		void *object;
	} at[HANDLES];
} handles = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int handle_add(int fd, enum handle_kind kind, void *object)
{
	if (fd < 0 || fd >= HANDLES)
		return -EMFILE;
	pthread_mutex_lock(&handles.lock);
	handles.at[fd].kind = kind;
	handles.at[fd].object = object;
	pthread_mutex_unlock(&handles.lock);
	return 0;
}

static enum handle_kind handle_get(int fd, void **ret_object)
{
	enum handle_kind kind = HANDLE_NONE;

	if (fd < 0 || fd >= HANDLES)
		return HANDLE_NONE;
	pthread_mutex_lock(&handles.lock);
	kind = handles.at[fd].kind;
	*ret_object = handles.at[fd].object;
	pthread_mutex_unlock(&handles.lock);
	return kind;
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

static long create_partition(const struct mshv_create_partition *a)
{
	const struct mshv_create_partition_v2 *v2 = (const void *)a;
	struct soft_partition *p;
	int r;

	if (a->pt_flags >> MSHV_PT_BIT_COUNT || a->pt_isolation)
		return -EINVAL;
	if (a->pt_flags >> MSHV_PT_BIT_CPU_AND_XSAVE_FEATURES & 1) {
		static const uint8_t zero[16];

		if (v2->pt_num_cpu_fbanks != 2 || memcmp(v2->pt_rsvd, zero, sizeof(v2->pt_rsvd)) ||
		    memcmp(v2->pt_rsvd1, zero, sizeof(v2->pt_rsvd1)))
			return -EINVAL;
	}
	r = soft_partition_new(a->pt_flags, &p);
	if (r < 0)
		return r;
	r = handle_add(p->fd, HANDLE_PARTITION, p);
	if (r < 0) {
		soft_partition_unref(p);
		return r;
	}
	return p->fd;
}

static long device_ioctl(unsigned long req, void *arg)
{
	switch (req) {
	case MSHV_CREATE_PARTITION:
		return create_partition(arg);
	case MSHV_ROOT_HVCALL:
		return soft_hvcall(NULL, NULL, arg);
	default:
		return -ENOTTY;
	}
}

static long vp_ioctl(struct soft_vp *vp, unsigned long req, void *arg)
{
	long r;

	pthread_mutex_lock(&vp->lock);
	switch (req) {
	case MSHV_RUN_VP:
		r = soft_vp_run(vp, arg);
		break;
	case MSHV_ROOT_HVCALL:
		r = soft_hvcall(vp->p, vp, arg);
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

static int soft_ioctl(int fd, unsigned long req, void *arg)
{
	void *object = NULL;
	long r;

	switch (handle_get(fd, &object)) {
	case HANDLE_DEVICE:
		r = device_ioctl(req, arg);
		break;
	case HANDLE_PARTITION:
		r = soft_partition_ioctl(object, req, arg);
		break;
	case HANDLE_VP:
		r = vp_ioctl(object, req, arg);
		break;
	default:
		r = -EBADF;
		break;
	}
	return r < 0 ? fail((int)r) : (int)r;
}

static void *soft_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *object;

	if (handle_get(fd, &object) != HANDLE_VP) {
		errno = EBADF;
		return MAP_FAILED;
	}
	if (offset != 0 && offset != 4096) {
		errno = offset == 8192 ? ENODEV : EINVAL;
		return MAP_FAILED;
	}
	return mmap(addr, length, prot, flags, fd, offset);
}

static int soft_close(int fd)
{
	void *object = NULL;
	enum handle_kind kind = handle_get(fd, &object);

	if (kind == HANDLE_NONE)
		return fail(-EBADF);
	(void)handle_add(fd, HANDLE_NONE, NULL); // fd is in the table
	if (kind == HANDLE_DEVICE)
		return close(fd);
	// The VP stays until the partition dies, and that with its last descriptor; the descriptors go with them.
	soft_partition_unref(kind == HANDLE_VP ? ((struct soft_vp *)object)->p : object);
	return 0;
}

static int soft_counters(int vp_fd, struct mshv_counters *ret)
{
	void *object;
	struct soft_vp *vp;

	if (handle_get(vp_fd, &object) != HANDLE_VP)
		return fail(-EBADF);
	vp = object;
	ret->instructions = x86_instructions(vp->cpu);
	ret->doorbells = atomic_load(&vp->doorbells);
	ret->interrupts = atomic_load(&vp->interrupts);
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

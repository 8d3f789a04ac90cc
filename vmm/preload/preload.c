// SPDX-License-Identifier: Apache-2.0
// The interposed functions. A descriptor the partition gave is a real one (a memfd), so poll, fcntl and fstat need nothing; a
// bit per number says which calls go to vmm/soft. The partition itself calls these functions too: a thread inside one of its
// calls, and any descriptor without a bit, gets the C library's.
#include "vmm/preload/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"

#define EXPORT __attribute__((visibility("default")))
#define DEVICE "/dev/mshv"
enum { DESCRIPTORS = 65536 };

static _Atomic uint64_t ours[DESCRIPTORS / 64];

static bool is_ours(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && !preload_inside() &&
	       atomic_load_explicit(&ours[fd / 64], memory_order_acquire) >> (fd % 64) & 1;
}

static void mark(int fd, bool on)
{
	if (fd < 0 || fd >= DESCRIPTORS)
		return;
	if (on)
		atomic_fetch_or(&ours[fd / 64], 1ull << (fd % 64));
	else
		atomic_fetch_and(&ours[fd / 64], ~(1ull << (fd % 64)));
}

void *preload_next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

// The C library's own function of that name, looked up once: two threads may both look, and find the same.
#define NEXT(name, ...)                                                             \
	({                                                                          \
		static _Atomic uintptr_t next_;                                     \
		uintptr_t fn_ = atomic_load_explicit(&next_, memory_order_relaxed); \
		if (!fn_) {                                                         \
			fn_ = (uintptr_t)preload_next(#name);                       \
			atomic_store_explicit(&next_, fn_, memory_order_relaxed);   \
		}                                                                   \
		((__typeof__(&name))fn_)(__VA_ARGS__);                              \
	})

static int device_open(int flags)
{
	enum preload_call before = preload_enter(PRELOAD_SHORT);
	int fd = mshv_sys_soft.open(DEVICE, flags);

	mark(fd, true);
	preload_leave(before);
	trace_call("open", fd, fd);
	return fd;
}

static bool is_device(const char *path)
{
	return !preload_inside() && path && strcmp(path, DEVICE) == 0;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return is_device(path) ? device_open(flags) : NEXT(open, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return is_device(path) ? device_open(flags) : NEXT(open64, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return is_device(path) ? device_open(flags) : NEXT(openat, dir, path, flags, mode);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	enum preload_call before;
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!is_ours(fd))
		return NEXT(ioctl, fd, request, arg);
	before = preload_enter(request == MSHV_RUN_VP ? PRELOAD_RUN : PRELOAD_SHORT);
	r = mshv_sys_soft.ioctl(fd, request, arg);
	if (r >= 0 && (request == MSHV_CREATE_PARTITION || request == MSHV_CREATE_VP))
		mark(r, true);
	if (trace_enabled())
		trace_ioctl(fd, request, arg, r);
	preload_leave(before);
	return r;
}

static void *device_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	enum preload_call before = preload_enter(PRELOAD_SHORT);
	void *p = mshv_sys_soft.mmap(addr, length, prot, flags, fd, offset);

	preload_leave(before);
	trace_call("mmap", fd, p == MAP_FAILED ? -1 : 0);
	return p;
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return is_ours(fd) ? device_mmap(addr, length, prot, flags, fd, offset)
			   : NEXT(mmap, addr, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
	return is_ours(fd) ? device_mmap(addr, length, prot, flags, fd, offset)
			   : NEXT(mmap64, addr, length, prot, flags, fd, offset);
}

EXPORT int close(int fd)
{
	enum preload_call before;
	int r;

	if (!is_ours(fd))
		return NEXT(close, fd);
	mark(fd, false);
	before = preload_enter(PRELOAD_SHORT);
	r = mshv_sys_soft.close(fd);
	preload_leave(before);
	trace_call("close", fd, r);
	return r;
}

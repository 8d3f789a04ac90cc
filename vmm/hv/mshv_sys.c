// SPDX-License-Identifier: Apache-2.0
#include "vmm/hv/mshv_sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(const char *path, int flags)
{
	return open(path, flags);
}

static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

const struct mshv_sys mshv_sys_kernel = {
	.name = "mshv",
	.open = kernel_open,
	.ioctl = kernel_ioctl,
	.mmap = mmap,
	.munmap = munmap,
	.close = close,
};

// SPDX-License-Identifier: Apache-2.0
// The four calls through which hv/mshv.c reaches /dev/mshv. The kernel's are the C library's; vmm/soft has its own set
// with the same meaning (a return of -1 and errno). Nothing else distinguishes the two.
#ifndef VMM_HV_MSHV_SYS_H
#define VMM_HV_MSHV_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What only the software partition can count.
struct mshv_counters {
	uint64_t instructions;
	uint64_t doorbells;  // writes consumed by a doorbell
	uint64_t interrupts; // vectors delivered
};

struct mshv_sys {
	const char *name; // "mshv", "soft"
	int (*open)(const char *path, int flags);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t length);
	int (*close)(int fd);
	// Called by the kick signal's handler on the thread it interrupted; NULL where the kernel sees signals by itself.
	// Async-signal-safe. True if a VP was running on this thread: its RUN_VP ends with EINTR.
	bool (*interrupted)(void);
	// Counters of one VP; NULL where there are none. Any thread. 0 or -1 with errno.
	int (*counters)(int vp_fd, struct mshv_counters *ret);
};

extern const struct mshv_sys mshv_sys_kernel; // hv/mshv_sys.c
extern const struct mshv_sys mshv_sys_soft;   // soft/

#endif

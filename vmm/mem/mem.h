// SPDX-License-Identifier: Apache-2.0
// Guest RAM: one sealed memfd, mapped shared. RAM lies below 3 GiB, the rest from 4 GiB up.
#ifndef VMM_MEM_MEM_H
#define VMM_MEM_MEM_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct mem;

struct mem_region {
	uint64_t gpa;
	uint64_t len; // bytes, multiple of 4096
	uint64_t fd_offset;
	void *hva;
	int fd; // borrowed
};

enum { MEM_REGIONS_MAX = 8 };
#define MEM_GAP_START 0xC0000000ull // 3 GiB
#define MEM_GAP_END 0x100000000ull  // 4 GiB

// New RAM of `bytes` (multiple of 4096, at least 1 MiB else -EINVAL).
int mem_new(uint64_t bytes, struct mem **ret_mem, struct err *e);
// Maps somebody else's RAM (a vhost-user memory table): each region's fd is borrowed for the call only.
int mem_new_from_regions(const struct mem_region *regions, unsigned count, struct mem **ret_mem,
			 struct err *e);
void mem_free(struct mem *m);

// The one way to guest memory. Host address of [gpa, gpa+len), or NULL if any byte of it is not RAM (or len is 0).
void *mem_slice(const struct mem *m, uint64_t gpa, uint64_t len);

unsigned mem_regions(const struct mem *m, const struct mem_region **ret_regions);
int mem_fd(const struct mem *m); // borrowed; -1 if made from regions
uint64_t mem_bytes(const struct mem *m);

#endif

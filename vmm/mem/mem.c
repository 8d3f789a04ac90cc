// SPDX-License-Identifier: Apache-2.0
#include "vmm/mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

struct mem {
	struct mem_region regions[MEM_REGIONS_MAX];
	unsigned count;
	int fd; // owned; -1 if made from others' regions
	uint64_t bytes;
};

static int map_region(struct mem *m, int fd, uint64_t gpa, uint64_t len, uint64_t offset,
		      struct err *e)
{
	void *hva = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
			 (off_t)offset);

	if (hva == MAP_FAILED)
		return err_errno(e, errno, "mapping %llu MiB of guest memory",
				 (unsigned long long)(len >> 20));
	m->regions[m->count++] = (struct mem_region){
		.gpa = gpa, .len = len, .fd_offset = offset, .hva = hva, .fd = fd
	};
	m->bytes += len;
	return 0;
}

int mem_new(uint64_t bytes, struct mem **ret_mem, struct err *e)
{
	uint64_t low = bytes < MEM_GAP_START ? bytes : MEM_GAP_START;
	struct mem *m;
	int r;

	if (bytes < 1 << 20 || bytes & 4095 || bytes > 1ull << 44)
		return err_set(
			e, EINVAL,
			"guest memory of %llu bytes: expected a multiple of 4096, at least 1 MiB",
			(unsigned long long)bytes);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_errno(e, ENOMEM, "guest memory");
	m->fd = memfd_create("bulkhead-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)bytes) < 0 ||
	    fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = err_errno(e, errno, "guest memory of %llu MiB",
			      (unsigned long long)(bytes >> 20));
		mem_free(m);
		return r;
	}
	r = map_region(m, m->fd, 0, low, 0, e);
	if (r == 0 && bytes > low)
		r = map_region(m, m->fd, MEM_GAP_END, bytes - low, low, e);
	if (r < 0) {
		mem_free(m);
		return r;
	}
	*ret_mem = m;
	return 0;
}

int mem_new_from_regions(const struct mem_region *regions, unsigned count, struct mem **ret_mem,
			 struct err *e)
{
	struct mem *m;
	int r = 0;

	if (!count || count > MEM_REGIONS_MAX)
		return err_set(e, EINVAL, "memory table of %u regions: expected 1 to %d", count,
			       MEM_REGIONS_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_errno(e, ENOMEM, "guest memory");
	m->fd = -1;
	for (unsigned i = 0; i < count && r == 0; i++) {
		if (!regions[i].len || (regions[i].len & 4095) ||
		    regions[i].gpa + regions[i].len < regions[i].gpa)
			r = err_set(e, EINVAL, "memory table: bad region %u", i);
		else
			r = map_region(m, regions[i].fd, regions[i].gpa, regions[i].len,
				       regions[i].fd_offset, e);
		if (r == 0)
			m->regions[i].fd = -1; // borrowed for the call only
	}
	if (r < 0) {
		mem_free(m);
		return r;
	}
	*ret_mem = m;
	return 0;
}

void mem_free(struct mem *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->count; i++)
		(void)munmap(m->regions[i].hva, m->regions[i].len); // cannot fail on what mmap gave
	close_fd(m->fd);
	free(m);
}

void *mem_slice(const struct mem *m, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct mem_region *r = &m->regions[i];

		if (len && gpa >= r->gpa && gpa - r->gpa < r->len && len <= r->len - (gpa - r->gpa))
			return (char *)r->hva + (gpa - r->gpa);
	}
	return NULL;
}

unsigned mem_regions(const struct mem *m, const struct mem_region **ret_regions)
{
	*ret_regions = m->regions;
	return m->count;
}

int mem_fd(const struct mem *m)
{
	return m->fd;
}

uint64_t mem_bytes(const struct mem *m)
{
	return m->bytes;
}

// What TSan is told: guest memory is shared with a guest that takes no lock of ours. Reports whose device side is one of
// these functions are about that memory and nothing else; each reads once and checks, whatever the guest does meanwhile.
#if defined(__SANITIZE_THREAD__)
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
	return "race:^queue_\nrace:^walk$\nrace:^copy$\nrace:^avail_idx$\nrace:^used_event$\nrace:^console_kick$\n"
	       "race:^conn_data$\nrace:^conn_send_data$\nrace:^write_page$\n";
}
#endif

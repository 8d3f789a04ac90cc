// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUS_RANGES = 64 };

struct bus_range {
	uint64_t base, len;
	const struct bus_ops *ops;
	void *dev;
};

struct bus {
	struct {
		struct bus_range at[BUS_RANGES];
		unsigned count;
	} space[2];
};

struct bus *bus_new(void)
{
	return calloc(1, sizeof(struct bus));
}

void bus_free(struct bus *b)
{
	free(b);
}

int bus_add(struct bus *b, enum bus_space space, uint64_t base, uint64_t len,
	    const struct bus_ops *ops, void *dev)
{
	unsigned n = b->space[space].count;

	if (!len || base + len < base)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		const struct bus_range *r = &b->space[space].at[i];

		if (base < r->base + r->len && r->base < base + len)
			return -EEXIST;
	}
	if (n == BUS_RANGES)
		return -ENOSPC;
	b->space[space].at[n] = (struct bus_range){ base, len, ops, dev };
	b->space[space].count++;
	return 0;
}

static const struct bus_range *find(const struct bus *b, enum bus_space space, uint64_t addr,
				    unsigned len)
{
	for (unsigned i = 0; i < b->space[space].count; i++) {
		const struct bus_range *r = &b->space[space].at[i];

		if (addr >= r->base && addr - r->base < r->len && len <= r->len - (addr - r->base))
			return r;
	}
	return NULL;
}

void bus_read(struct bus *b, enum bus_space space, uint64_t addr, void *data, unsigned len)
{
	const struct bus_range *r = find(b, space, addr, len);

	memset(data, 0xff, len);
	if (r)
		r->ops->read(r->dev, addr - r->base, data, len);
}

void bus_write(struct bus *b, enum bus_space space, uint64_t addr, const void *data, unsigned len)
{
	const struct bus_range *r = find(b, space, addr, len);

	if (r)
		r->ops->write(r->dev, addr - r->base, data, len);
}

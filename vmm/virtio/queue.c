// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <string.h>

#include "vmm/mem/mem.h"

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1
};

// All little-endian, as this machine is (virtio 1.2, 2.7.5 to 2.7.8).
struct ring_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct ring_avail {
	uint16_t flags, idx, ring[]; // then used_event
};

struct ring_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[]; // then avail_event
};

int queue_start(struct queue *q, const struct mem *mem, uint16_t size, uint64_t desc_gpa,
		uint64_t avail_gpa, uint64_t used_gpa, uint64_t features)
{
	void *desc, *avail, *used;

	if (!size || size > QUEUE_SIZE_MAX || (size & (size - 1)) || (desc_gpa & 15) ||
	    (avail_gpa & 1) || (used_gpa & 3))
		return -EINVAL;
	desc = mem_slice(mem, desc_gpa, 16u * size);
	avail = mem_slice(mem, avail_gpa, 6u + 2u * size);
	used = mem_slice(mem, used_gpa, 6u + 8u * size);
	if (!desc || !avail || !used)
		return -EFAULT;
	*q = (struct queue){ .size = size,
			     .ready = true,
			     .desc_gpa = desc_gpa,
			     .avail_gpa = avail_gpa,
			     .used_gpa = used_gpa,
			     .mem = mem,
			     .desc = desc,
			     .avail = avail,
			     .used = used };
	q->event_idx = features & VIRTIO_F_EVENT_IDX;
	q->indirect = features & VIRTIO_F_INDIRECT_DESC;
	return 0;
}

void queue_stop(struct queue *q)
{
	*q = (struct queue){ 0 };
}

static int broken(struct queue *q)
{
	q->broken = true;
	return -EPROTO;
}

static uint16_t avail_idx(const struct queue *q)
{
	const struct ring_avail *a = q->avail;

	// Acquire: the entries and descriptors that the index covers are read after it (2.7.13.3).
	return __atomic_load_n(&a->idx, __ATOMIC_ACQUIRE);
}

// Where the event indexes lie: after the rings.
static uint16_t *used_event(const struct queue *q)
{
	return &((struct ring_avail *)q->avail)->ring[q->size];
}

static uint16_t *avail_event(const struct queue *q)
{
	return (uint16_t *)(void *)&((struct ring_used *)q->used)->ring[q->size];
}

// Adds one buffer; the direction may change only once, from readable to writable (2.7.4.2).
static int add_buffer(struct queue *q, struct queue_chain *c, const struct ring_desc *d)
{
	unsigned n = c->n_out + c->n_in;
	bool write = d->flags & DESC_WRITE;
	void *p;

	if (n == QUEUE_IOV_MAX || (!write && c->n_in) || d->len == 0)
		return -1;
	p = mem_slice(q->mem, d->addr, d->len);
	if (!p)
		return -1;
	c->iov[n] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	if (write) {
		c->n_in++;
		c->in_bytes += d->len;
	} else {
		c->n_out++;
		c->out_bytes += d->len;
	}
	return 0;
}

static int walk(struct queue *q, struct queue_chain *c, const struct ring_desc *table,
		unsigned size, unsigned at, bool nested)
{
	for (unsigned seen = 0; seen < size; seen++) {
		struct ring_desc d;

		if (at >= size)
			return -1;
		memcpy(&d, &table[at], sizeof(d)); /* guest: read once */
		if (d.flags & DESC_INDIRECT) {
			const struct ring_desc *inner;

			if (nested || !q->indirect || (d.flags & DESC_NEXT) || d.len == 0 ||
			    d.len % sizeof(d) || d.len / sizeof(d) > QUEUE_SIZE_MAX)
				return -1;
			inner = mem_slice(q->mem, d.addr, d.len);
			return inner ? walk(q, c, inner, d.len / sizeof(d), 0, true) : -1;
		}
		if (add_buffer(q, c, &d))
			return -1;
		if (!(d.flags & DESC_NEXT))
			return 0;
		at = d.next;
	}
	return -1; // longer than its table: a loop
}

int queue_pop(struct queue *q, struct queue_chain *ret_chain)
{
	const struct ring_avail *a = q->avail;
	uint16_t idx, head;

	if (!q->ready || q->broken)
		return q->broken ? -EPROTO : 0;
	idx = avail_idx(q);
	if (idx == q->last_avail)
		return 0;
	if ((uint16_t)(idx - q->last_avail) > q->size)
		return broken(q);
	head = __atomic_load_n(&a->ring[q->last_avail & (q->size - 1)], __ATOMIC_RELAXED);
	ret_chain->head = head;
	ret_chain->n_out = ret_chain->n_in = 0;
	ret_chain->out_bytes = ret_chain->in_bytes = 0;
	if (head >= q->size || walk(q, ret_chain, q->desc, q->size, head, false))
		return broken(q);
	q->last_avail++;
	return 1;
}

void queue_unpop(struct queue *q)
{
	q->last_avail--;
}

void queue_stage(struct queue *q, uint16_t head, uint32_t written)
{
	struct ring_used *u = q->used;
	unsigned at = q->used_idx & (q->size - 1);

	if (!q->ready)
		return;
	u->ring[at].id = head;
	u->ring[at].len = written;
	q->used_idx++;
}

void queue_publish(struct queue *q)
{
	struct ring_used *u = q->used;

	if (!q->ready)
		return;
	// Release: the element, and the data before it, are visible before the index that covers them (2.7.8.2).
	__atomic_store_n(&u->idx, q->used_idx, __ATOMIC_RELEASE);
}

void queue_push(struct queue *q, uint16_t head, uint32_t written)
{
	queue_stage(q, head, written);
	queue_publish(q);
}

bool queue_needs_notify(struct queue *q)
{
	uint16_t was = q->signalled, now = q->used_idx;

	if (!q->ready || was == now)
		return false;
	// The index must be visible before the driver's wish is read, or both sides may decide to sleep (2.7.7.2).
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->signalled = now;
	if (q->event_idx) {
		uint16_t event = __atomic_load_n(used_event(q), __ATOMIC_RELAXED);

		return (uint16_t)(now - event - 1) < (uint16_t)(now - was);
	}
	return !(__atomic_load_n(&((const struct ring_avail *)q->avail)->flags, __ATOMIC_RELAXED) &
		 AVAIL_NO_INTERRUPT);
}

bool queue_kicks_on(struct queue *q)
{
	struct ring_used *u = q->used;

	if (!q->ready || q->broken)
		return false;
	if (q->event_idx)
		__atomic_store_n(avail_event(q), q->last_avail, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&u->flags, 0, __ATOMIC_RELAXED);
	// The wish must be visible before the ring is looked at a last time (2.7.10.1).
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return avail_idx(q) != q->last_avail;
}

void queue_kicks_off(struct queue *q)
{
	struct ring_used *u = q->used;

	// With event indexes an old avail_event does it.
	if (q->ready && !q->event_idx)
		__atomic_store_n(&u->flags, USED_NO_NOTIFY, __ATOMIC_RELAXED);
}

static size_t copy(const struct iovec *iov, unsigned n, size_t skip, void *buf, size_t len, bool in)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part;
		uint8_t *p = iov[i].iov_base;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - skip;
		part = part < len - done ? part : len - done;
		if (in)
			memcpy(p + skip, (uint8_t *)buf + done, part);
		else
			memcpy((uint8_t *)buf + done, p + skip, part);
		done += part;
		skip = 0;
	}
	return done;
}

size_t queue_copy_out(const struct queue_chain *c, size_t skip, void *buf, size_t len)
{
	return copy(c->iov, c->n_out, skip, buf, len, false);
}

size_t queue_copy_in(const struct queue_chain *c, size_t skip, const void *buf, size_t len)
{
	void *source;

	memcpy(&source, &buf, sizeof(source)); // only read from
	return copy(c->iov + c->n_out, c->n_in, skip, source, len, true);
}

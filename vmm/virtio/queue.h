// SPDX-License-Identifier: Apache-2.0
// Split virtqueues (virtio 1.2, 2.7), device side. The one place that walks rings: indexes, chain length, loops, direction
// and addresses are checked here; devices get bounded vectors of host memory. Usable in any process that has the memory.
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct mem;

enum { QUEUE_SIZE_MAX = 1024, QUEUE_IOV_MAX = 260 };

// Feature bits that change how a queue works (virtio 1.2, 6).
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

// Plain state, so that a snapshot can copy it. Rings are looked up again by gpa when it is restored.
struct queue {
	uint16_t size; // a power of two, 0 = not set up
	bool ready, event_idx, indirect;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	uint16_t last_avail, used_idx;
	uint16_t signalled; // used_idx when the driver was last looked at for a notification
	bool broken;        // the guest broke the rules: nothing more is taken until reset
	const struct mem *mem;
	void *desc, *avail, *used; // host addresses, checked for the whole ring
};

// Buffers of one chain: first what the device reads, then what it writes.
struct queue_chain {
	uint16_t head;
	unsigned n_out, n_in; // of iov: device-readable, device-writable
	size_t out_bytes, in_bytes;
	struct iovec iov[QUEUE_IOV_MAX];
};

// Looks the rings up in mem (borrowed). size: power of two up to QUEUE_SIZE_MAX. -EINVAL, or -EFAULT if a ring is not RAM.
int queue_start(struct queue *q, const struct mem *mem, uint16_t size, uint64_t desc_gpa,
		uint64_t avail_gpa, uint64_t used_gpa, uint64_t features);
void queue_stop(struct queue *q);

// Takes the next chain. 1 = one was taken, 0 = none is there, -EPROTO = the guest broke the rules (q->broken is set).
int queue_pop(struct queue *q, struct queue_chain *ret_chain);
// Puts the last chain taken back, as if it had not been popped.
void queue_unpop(struct queue *q);
// Gives a chain back with `written` bytes in its writable part.
void queue_push(struct queue *q, uint16_t head, uint32_t written);
// The same in two steps, for several chains that the driver must see at once.
void queue_stage(struct queue *q, uint16_t head, uint32_t written);
void queue_publish(struct queue *q);
// After pushes: must the driver be notified?
bool queue_needs_notify(struct queue *q);
// Kicks wanted or not. queue_kicks_on returns true if chains arrived meanwhile: look again.
bool queue_kicks_on(struct queue *q);
void queue_kicks_off(struct queue *q);

// Copies between a flat buffer and part of a chain's vector; return how much.
size_t queue_copy_out(const struct queue_chain *c, size_t skip, void *buf, size_t len);
size_t queue_copy_in(const struct queue_chain *c, size_t skip, const void *buf, size_t len);

#endif

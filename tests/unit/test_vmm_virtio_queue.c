// SPDX-License-Identifier: Apache-2.0
// Rings as a good driver makes them, and as a hostile one does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "vmm/mem/mem.h"
#include "vmm/virtio/queue.h"

enum {
	SIZE = 8,
	DESC = 0x1000,
	AVAIL = 0x2000,
	USED = 0x3000,
	DATA = 0x10000,
	TABLE = 0x20000,
	NEXT = 1,
	WRITE = 2,
	INDIRECT = 4
};
#define RAM (1u << 20)

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct rig {
	struct mem *mem;
	struct queue q;
	struct desc *desc, *table;
	uint16_t *avail; // flags, idx, ring, used_event
	uint16_t *used;  // flags, idx, pairs of u32, avail_event
};

static void rig_start(struct rig *r, uint64_t features)
{
	r->desc = mem_slice(r->mem, DESC, SIZE * 16);
	r->table = mem_slice(r->mem, TABLE, 4096);
	r->avail = mem_slice(r->mem, AVAIL, 64);
	r->used = mem_slice(r->mem, USED, 128);
	memset(mem_slice(r->mem, 0, RAM), 0, RAM);
	assert_int_equal(queue_start(&r->q, r->mem, SIZE, DESC, AVAIL, USED, features), 0);
}

static int setup(void **state)
{
	static struct rig r;

	*state = &r;
	return mem_new(RAM, &r.mem, NULL);
}

static int teardown(void **state)
{
	mem_free(((struct rig *)*state)->mem);
	return 0;
}

static void offer(struct rig *r, uint16_t head)
{
	r->avail[2 + (r->avail[1] & (SIZE - 1))] = head;
	r->avail[1]++;
}

static void set(struct desc *d, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	*d = (struct desc){ addr, len, flags, next };
}

static void test_good_chain(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;
	char buf[8] = { 0 };

	rig_start(r, 0);
	memcpy(mem_slice(r->mem, DATA, 6), "abcdef", 6);
	set(&r->desc[2], DATA, 4, NEXT, 5);
	set(&r->desc[5], DATA + 4, 2, NEXT, 1);
	set(&r->desc[1], DATA + 64, 16, WRITE, 0);
	assert_int_equal(queue_pop(&r->q, &c), 0);
	offer(r, 2);
	assert_int_equal(queue_pop(&r->q, &c), 1);
	assert_int_equal(c.n_out, 2);
	assert_int_equal(c.n_in, 1);
	assert_int_equal(c.out_bytes, 6);
	assert_int_equal(c.in_bytes, 16);
	assert_int_equal(queue_copy_out(&c, 1, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "bcdef");
	assert_int_equal(queue_copy_in(&c, 2, "xy", 2), 2);
	assert_memory_equal((char *)mem_slice(r->mem, DATA + 66, 2), "xy", 2);
	queue_push(&r->q, c.head, 4);
	assert_int_equal(r->used[1], 1);
	assert_int_equal(((uint32_t *)(void *)(r->used + 2))[0], 2);
	assert_int_equal(((uint32_t *)(void *)(r->used + 2))[1], 4);
	assert_true(queue_needs_notify(&r->q));
	assert_false(queue_needs_notify(&r->q)); // once
	assert_int_equal(queue_pop(&r->q, &c), 0);
}

static void test_unpop_and_wrap(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;

	rig_start(r, 0);
	set(&r->desc[0], DATA, 4, 0, 0);
	for (unsigned i = 0; i < 70000; i++) { // past the 16-bit index
		offer(r, 0);
		assert_int_equal(queue_pop(&r->q, &c), 1);
		if (i == 5) {
			queue_unpop(&r->q);
			assert_int_equal(queue_pop(&r->q, &c), 1);
		}
		queue_push(&r->q, c.head, 0);
	}
	assert_int_equal(r->used[1], (uint16_t)70000);
}

static void test_indirect(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;

	rig_start(r, VIRTIO_F_INDIRECT_DESC);
	set(&r->desc[0], TABLE, 3 * 16, INDIRECT, 0);
	set(&r->table[0], DATA, 8, NEXT, 2);
	set(&r->table[2], DATA + 8, 8, WRITE, 0);
	offer(r, 0);
	assert_int_equal(queue_pop(&r->q, &c), 1);
	assert_int_equal(c.out_bytes, 8);
	assert_int_equal(c.in_bytes, 8);
}

static void test_event_index(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;

	rig_start(r, VIRTIO_F_EVENT_IDX);
	set(&r->desc[0], DATA, 4, 0, 0);
	r->avail[2 + SIZE] = 2; // used_event: tell me when the third is used
	for (unsigned i = 0; i < 3; i++) {
		offer(r, 0);
		assert_int_equal(queue_pop(&r->q, &c), 1);
		queue_push(&r->q, 0, 0);
		assert_int_equal(queue_needs_notify(&r->q), i == 2);
	}
	assert_false(queue_kicks_on(&r->q));
	assert_int_equal(r->used[2 + SIZE * 4], 3); // avail_event: kick me at the next
	offer(r, 0);
	assert_true(queue_kicks_on(&r->q)); // it came in between
}

static void test_flags_without_event_index(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;

	rig_start(r, 0);
	set(&r->desc[0], DATA, 4, 0, 0);
	r->avail[0] = 1; // no interrupt
	offer(r, 0);
	assert_int_equal(queue_pop(&r->q, &c), 1);
	queue_push(&r->q, 0, 0);
	assert_false(queue_needs_notify(&r->q));
	queue_kicks_off(&r->q);
	assert_int_equal(r->used[0], 1);
	(void)queue_kicks_on(&r->q);
	assert_int_equal(r->used[0], 0);
}

// Each makes one chain that must be refused.
static void loop_of_two(struct rig *r)
{
	set(&r->desc[0], DATA, 4, NEXT, 1);
	set(&r->desc[1], DATA, 4, NEXT, 0);
}
static void next_outside(struct rig *r)
{
	set(&r->desc[0], DATA, 4, NEXT, SIZE);
}
static void address_outside(struct rig *r)
{
	set(&r->desc[0], RAM - 2, 4, 0, 0);
}
static void address_wraps(struct rig *r)
{
	set(&r->desc[0], UINT64_MAX - 1, 4, 0, 0);
}
static void no_length(struct rig *r)
{
	set(&r->desc[0], DATA, 0, 0, 0);
}
static void read_after_write(struct rig *r)
{
	set(&r->desc[0], DATA, 4, NEXT | WRITE, 1);
	set(&r->desc[1], DATA, 4, 0, 0);
}
static void nested(struct rig *r)
{
	set(&r->desc[0], TABLE, 16, INDIRECT, 0);
	set(&r->table[0], TABLE, 16, INDIRECT, 0);
}
static void odd_table(struct rig *r)
{
	set(&r->desc[0], TABLE, 17, INDIRECT, 0);
}
static void table_and_next(struct rig *r)
{
	set(&r->desc[0], TABLE, 16, INDIRECT | NEXT, 1);
}
static void table_outside(struct rig *r)
{
	set(&r->desc[0], RAM - 8, 16, INDIRECT, 0);
}
static void table_loops(struct rig *r)
{
	set(&r->desc[0], TABLE, 2 * 16, INDIRECT, 0);
	set(&r->table[0], DATA, 4, NEXT, 1);
	set(&r->table[1], DATA, 4, NEXT, 0);
}

static void test_hostile_chains(void **state)
{
	static void (*const make[])(struct rig *) = { loop_of_two,   next_outside, address_outside,
						      address_wraps, no_length,    read_after_write,
						      nested,        odd_table,    table_and_next,
						      table_outside, table_loops };
	struct rig *r = *state;
	struct queue_chain c;

	for (unsigned i = 0; i < sizeof(make) / sizeof(*make); i++) {
		rig_start(r, VIRTIO_F_INDIRECT_DESC);
		make[i](r);
		offer(r, 0);
		assert_int_equal(queue_pop(&r->q, &c), -EPROTO);
		assert_true(r->q.broken);
		assert_int_equal(queue_pop(&r->q, &c), -EPROTO); // and nothing more until a reset
		assert_false(queue_kicks_on(&r->q));
	}
}

static void test_hostile_indexes(void **state)
{
	struct rig *r = *state;
	struct queue_chain c;

	rig_start(r, 0);
	offer(r, SIZE); // no such descriptor
	assert_int_equal(queue_pop(&r->q, &c), -EPROTO);
	rig_start(r, 0);
	r->avail[1] = SIZE + 1; // more than the ring holds
	assert_int_equal(queue_pop(&r->q, &c), -EPROTO);
	rig_start(r, 0);
	set(&r->desc[0], TABLE, 16, INDIRECT, 0); // not negotiated
	offer(r, 0);
	assert_int_equal(queue_pop(&r->q, &c), -EPROTO);
}

static void test_start_checks(void **state)
{
	struct rig *r = *state;
	struct queue q;

	assert_int_equal(queue_start(&q, r->mem, 0, DESC, AVAIL, USED, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, 6, DESC, AVAIL, USED, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, 2048, DESC, AVAIL, USED, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, SIZE, DESC + 8, AVAIL, USED, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, SIZE, DESC, AVAIL + 1, USED, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, SIZE, DESC, AVAIL, USED + 2, 0), -EINVAL);
	assert_int_equal(queue_start(&q, r->mem, SIZE, RAM - 16, AVAIL, USED, 0), -EFAULT);
	assert_int_equal(queue_start(&q, r->mem, SIZE, DESC, RAM, USED, 0), -EFAULT);
	assert_int_equal(queue_start(&q, r->mem, SIZE, DESC, AVAIL, UINT64_MAX & ~3ull, 0),
			 -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_chain),
		cmocka_unit_test(test_unpop_and_wrap),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_event_index),
		cmocka_unit_test(test_hostile_chains),
		cmocka_unit_test(test_flags_without_event_index),
		cmocka_unit_test(test_hostile_indexes),
		cmocka_unit_test(test_start_checks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

// SPDX-License-Identifier: Apache-2.0
// Descriptors, eventfds, access states, and several threads at one partition.
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "soft_rig.h"

// ---- descriptors
static void test_high_descriptors(void **state)
{
	struct rlimit was, now;
	static int taken[2048];
	unsigned n = 0;
	struct rig r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = was;
	if (now.rlim_cur < 4096)
		now.rlim_cur = now.rlim_max < 4096 ? now.rlim_max : 4096;
	if (now.rlim_cur <= 2048) {
		print_message("# not tested: not so many descriptors for this process\n");
		return;
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	// Every number below 2000 is taken, so that what comes is above.
	do {
		taken[n] = fcntl(0, F_DUPFD_CLOEXEC, 0);
		assert_true(taken[n] >= 0);
	} while (taken[n++] < 2000);
	rig_init(&r);
	assert_true(r.part > 2000 && r.vp > 2000);
	rig_begin(&r);
	rig_imm(&r, 0xb8, 5);
	rig_out(&r);
	assert_int_equal(rig_run_out(&r), 5);
	rig_done(&r);
	while (n)
		assert_int_equal(close(taken[--n]), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

static void test_close_in_any_order(void **state)
{
	(void)state;
	for (unsigned order = 0; order < 6; order++) {
		static const uint8_t which[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
						     { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
		struct rig r;
		int fds[3];

		rig_init(&r);
		fds[0] = r.dev;
		fds[1] = r.part;
		fds[2] = r.vp;
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(r.sys->close(fds[which[order][i]]), 0);
			assert_int_equal(fcntl(fds[which[order][i]], F_GETFD),
					 -1); // the number is free
			assert_int_equal(r.sys->close(fds[which[order][i]]), -1);
			if (which[order][i] == 1 && fcntl(r.vp, F_GETFD) >= 0) {
				// Without its partition's descriptor a VP goes on.
				r.at = RIG_CODE;
				rig_imm(&r, 0xb8, 6);
				rig_out(&r);
				assert_int_equal(rig_run_out(&r), 6);
			}
		}
		(void)munmap(r.page, 4096); // the mapping is the caller's, and still there
		(void)munmap(r.ram, RIG_RAM);
	}
}

static void test_vp_closed(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	rig_init(&r);
	assert_int_equal(r.sys->close(r.vp), 0);
	assert_int_equal(rig_vp(&r, 0, &fd), EEXIST); // it lives as long as the partition
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_RIP), RIG_CODE);
	r.vp = -1;
	rig_done(&r);
}

// ---- eventfds
static int irqfd(struct rig *r, int fd, int resample, uint32_t gsi, uint32_t flags)
{
	struct mshv_user_irqfd a = { fd, resample, gsi, flags };

	return rig_ioctl(r, r->part, MSHV_IRQFD, &a);
}

static void route(struct rig *r, uint32_t gsi, uint32_t data)
{
	struct mshv_user_irq_table *t = calloc(1, sizeof(*t) + sizeof(t->entries[0]));

	assert_non_null(t);
	t->nr = 1;
	t->entries[0] = (struct mshv_user_irq_entry){ gsi, 0xfee00000, 0, data };
	assert_int_equal(rig_ioctl(r, r->part, MSHV_SET_MSI_ROUTING, t), 0);
	free(t);
}

static void sleep_code(struct rig *r)
{
	rig_begin(r);
	RIG_EMIT(r, 0xfb, 0xf4, 0xfa); // STI; HLT; CLI
	rig_wrmsr(r, 0x40000070, 0);   // EOI
	rig_out(r);
}

static void raise(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, 8), 8);
}

static void test_irqfd(void **state)
{
	struct rig r;
	int a = eventfd(0, EFD_CLOEXEC), b = eventfd(0, EFD_CLOEXEC),
	    resample = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), again;
	struct pollfd pfd = { .fd = resample, .events = POLLIN };

	(void)state;
	rig_init(&r);
	assert_int_equal(irqfd(&r, a, -1, 5, 4), EINVAL); // no such flag
	assert_int_equal(irqfd(&r, -1, -1, 5, 0), EBADF);
	assert_int_equal(irqfd(&r, r.dev, -1, 5, 0), EINVAL); // no eventfd
	// Resampling wants its route first, and level-triggered.
	assert_int_equal(irqfd(&r, b, resample, 6, 2), EINVAL);
	route(&r, 6, 0x42);
	assert_int_equal(irqfd(&r, b, resample, 6, 2), EINVAL);
	assert_int_equal(irqfd(&r, b, -1, 6, 2), EBADF);
	// Registered before its route, it works from then on; and once is enough for an eventfd.
	assert_int_equal(irqfd(&r, a, -1, 5, 0), 0);
	assert_int_equal(irqfd(&r, a, -1, 6, 0), EBUSY);
	again = dup(a);
	assert_int_equal(irqfd(&r, again, -1, 6, 0), EBUSY); // by any of its numbers
	route(&r, 5, 0x41);
	raise(a);
	sleep_code(&r);
	assert_int_equal(rig_run_out(&r), 0x41);
	(void)rig_run_out(&r);
	// Taken away, by another number of the same file; what was pending then has been delivered.
	raise(a);
	assert_int_equal(irqfd(&r, again, -1, 5, 1), 0);
	sleep_code(&r);
	assert_int_equal(rig_run_out(&r), 0x41);
	(void)rig_run_out(&r);
	assert_int_equal(irqfd(&r, a, -1, 5, 1), 0); // nothing to take away is no error
	// A pending event is delivered by registering.
	raise(a);
	assert_int_equal(irqfd(&r, a, -1, 5, 0), 0);
	sleep_code(&r);
	assert_int_equal(rig_run_out(&r), 0x41);
	(void)rig_run_out(&r);
	assert_int_equal(irqfd(&r, a, -1, 5, 1), 0);
	// Level: the end of the interrupt is told.
	route(&r, 6, 0x8042);
	assert_int_equal(irqfd(&r, b, resample, 6, 2), 0);
	raise(b);
	sleep_code(&r);
	assert_int_equal(rig_run_out(&r), 0x42);
	(void)rig_run_out(&r);
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	rig_done(&r);
	(void)close(a);
	(void)close(again);
	(void)close(b);
	(void)close(resample);
}

// The last close of an eventfd ends its irqfd: as many may follow as one likes, mostly by the same number.
static void test_irqfd_closed(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	rig_init(&r);
	route(&r, 5, 0x41);
	for (unsigned i = 0; i < 500; i++) {
		fd = eventfd(0, EFD_CLOEXEC);
		assert_int_equal(irqfd(&r, fd, -1, 5, 0), 0);
		assert_int_equal(close(fd), 0);
	}
	// Closed under this number only, it is still the same eventfd.
	fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(irqfd(&r, fd, -1, 5, 0), 0);
	{
		int other = dup(fd);

		assert_int_equal(close(fd), 0);
		raise(other);
		sleep_code(&r);
		assert_int_equal(rig_run_out(&r), 0x41);
		(void)rig_run_out(&r);
		(void)close(other);
	}
	rig_done(&r);
}

static int doorbell(struct rig *r, uint64_t addr, uint32_t len, uint64_t match, int fd,
		    uint32_t flags)
{
	struct mshv_user_ioeventfd a = { match, addr, len, fd, flags, { 0 } };

	return rig_ioctl(r, r->part, MSHV_IOEVENTFD, &a);
}

static void test_doorbells(void **state)
{
	enum { MATCH = 1, PIO = 2, DEASSIGN = 4, AT = 0x900000 };
	struct rig r;
	int a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), b = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n = 0;

	(void)state;
	rig_init(&r);
	assert_int_equal(doorbell(&r, AT, 4, 0, a, 8), EINVAL);
	assert_int_equal(doorbell(&r, AT, 4, 0, a, PIO), EOPNOTSUPP);
	assert_int_equal(doorbell(&r, AT, 3, 0, a, 0), EINVAL);
	assert_int_equal(doorbell(&r, UINT64_MAX, 4, 0, a, 0), EINVAL);
	assert_int_equal(doorbell(&r, AT, 4, 0, -1, 0), EBADF);
	assert_int_equal(doorbell(&r, AT, 4, 0, r.dev, 0), EINVAL);
	assert_int_equal(doorbell(&r, AT, 4, 7, a, MATCH), 0);
	assert_int_equal(doorbell(&r, AT, 4, 7, b, MATCH), EEXIST);
	assert_int_equal(doorbell(&r, AT, 4, 0, b, 0), EEXIST);
	assert_int_equal(doorbell(&r, AT, 4, 8, b, MATCH), 0);
	assert_int_equal(doorbell(&r, AT, 4, 7, b, MATCH | DEASSIGN), ENOENT); // another's
	assert_int_equal(doorbell(&r, AT, 4, 7, a, DEASSIGN), ENOENT);
	assert_int_equal(doorbell(&r, AT, 2, 7, a, MATCH | DEASSIGN), ENOENT);
	rig_begin(&r);
	rig_store(&r, AT, 7);
	rig_store(&r, AT, 8);
	rig_store(&r, AT, 9); // nobody's: an intercept
	assert_int_equal(rig_run(&r), 0);
	assert_int_equal(r.msg.header.message_type, HVMSG_UNMAPPED_GPA);
	assert_int_equal(r.msg.u.intercept.rip, r.at - 11);
	assert_int_equal(read(a, &n, 8), 8);
	assert_int_equal(n, 1);
	assert_int_equal(read(b, &n, 8), 8);
	assert_int_equal(doorbell(&r, AT, 4, 7, a, MATCH | DEASSIGN), 0);
	assert_int_equal(doorbell(&r, AT, 4, 7, a, MATCH | DEASSIGN), ENOENT);
	rig_done(&r);
	(void)close(a);
	(void)close(b);
}

// ---- accessed and dirty
enum { ACCESSED, DIRTY };
enum { NOOP, CLEAR, SET };

static int bitmap(struct rig *r, uint8_t type, uint8_t op, uint64_t first, uint64_t count,
		  void *bits)
{
	struct mshv_gpap_access_bitmap a = { type, op, { 0 }, count, first, (uintptr_t)bits };

	return rig_ioctl(r, r->part, MSHV_GET_GPAP_ACCESS_BITMAP, &a);
}

static bool bit(struct rig *r, uint8_t type, uint8_t op, uint64_t page)
{
	uint8_t b = 0xff;

	assert_int_equal(bitmap(r, type, op, page, 1, &b), 0);
	assert_int_equal(b & 0xfe, 0); // those beyond are zero
	return b & 1;
}

static void test_access(void **state)
{
	struct rig r;
	uint8_t bits[64];
	struct hv_input_get_gpa_pages_access_state in = { .gpa_page_number = 0x150 };
	uint8_t states[2];

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	rig_load(&r, 0x150000);
	rig_out(&r);
	rig_store(&r, 0x150000, 1);
	rig_out(&r);
	rig_store(&r, 0x150004, 1);
	rig_out(&r);
	rig_load(&r, 0x150008);
	rig_out(&r);
	assert_false(bit(&r, ACCESSED, NOOP, 0x150));
	(void)rig_run_out(&r);
	assert_true(bit(&r, ACCESSED, NOOP, 0x150));
	assert_false(bit(&r, DIRTY, NOOP, 0x150));
	assert_true(bit(&r, ACCESSED, NOOP, RIG_CODE >> 12)); // by being executed
	assert_true(
		bit(&r, DIRTY, NOOP, (RIG_PML4 >> 12) + 1)); // the walk set an accessed bit there
	(void)rig_run_out(&r);
	assert_true(bit(&r, DIRTY, CLEAR, 0x150)); // as it was
	assert_false(bit(&r, DIRTY, NOOP, 0x150));
	(void)rig_run_out(&r);
	assert_true(bit(&r, DIRTY, NOOP, 0x150)); // seen again, though the processor had it cached
	assert_true(bit(&r, ACCESSED, CLEAR, 0x150));
	assert_false(bit(&r, DIRTY, NOOP, 0x150)); // not accessed implies not dirty
	(void)rig_run_out(&r);
	assert_true(bit(&r, ACCESSED, NOOP, 0x150));
	assert_false(bit(&r, DIRTY, NOOP, 0x150));
	assert_false(bit(&r, ACCESSED, NOOP, 0x151));
	assert_false(bit(&r, DIRTY, SET, 0x151));
	assert_true(bit(&r, ACCESSED, NOOP, 0x151)); // dirty implies accessed
	assert_int_equal(
		rig_hvcall(&r, HVCALL_GET_GPA_PAGES_ACCESS_STATES, &in, sizeof(in), states, 2, 2),
		0);
	assert_int_equal(states[0], 1);
	assert_int_equal(states[1], 3);
	assert_int_equal(r.done, 2);
	in.flags = HV_GPA_SET_DIRTY | HV_GPA_CLEAR_DIRTY;
	assert_int_equal(
		rig_hvcall(&r, HVCALL_GET_GPA_PAGES_ACCESS_STATES, &in, sizeof(in), states, 2, 2),
		EINVAL);
	assert_int_equal(bitmap(&r, 2, NOOP, 0, 8, bits), EINVAL);
	assert_int_equal(bitmap(&r, DIRTY, 3, 0, 8, bits), EINVAL);
	assert_int_equal(bitmap(&r, DIRTY, NOOP, 0, 0, bits), EINVAL);
	assert_int_equal(bitmap(&r, DIRTY, NOOP, 0, 8, NULL), EINVAL);
	assert_int_equal(bitmap(&r, DIRTY, NOOP, UINT64_MAX, 8, bits), E2BIG);
	assert_int_equal(bitmap(&r, DIRTY, CLEAR, 0x151, 8, (void *)8), EFAULT);
	assert_true(bit(&r, DIRTY, NOOP, 0x151)); // and nothing was cleared
	// RAM ends in the middle of these: what is not RAM has neither.
	memset(bits, 0xff, sizeof(bits));
	assert_int_equal(bitmap(&r, DIRTY, SET, 0x1fe, 20, bits), 0);
	memset(bits, 0xff, sizeof(bits));
	assert_int_equal(bitmap(&r, DIRTY, NOOP, 0x1fe, 20, bits), 0);
	assert_int_equal(bits[0], 3);
	assert_int_equal(bits[1], 0);
	assert_int_equal(bits[2], 0);
	assert_int_equal(bits[3], 0xff);
	rig_done(&r);
}

// ---- threads
struct runner {
	struct rig *r;
	_Atomic bool stop;
	_Atomic unsigned outs;
};

// A guest that counts in memory and says so again and again.
static void *run(void *arg)
{
	struct runner *t = arg;
	struct hv_message m;

	while (!atomic_load(&t->stop)) {
		if (t->r->sys->ioctl(t->r->vp, MSHV_RUN_VP, &m) < 0)
			return t; // not expected
		if (m.header.message_type != HVMSG_X64_IO_PORT_INTERCEPT)
			return t;
		t->r->page->rip = m.u.io.header.rip + 2;
		t->r->page->dirty = 1 << HV_X64_REGISTER_CLASS_IP;
		atomic_fetch_add(&t->outs, 1);
	}
	return NULL;
}

static void test_concurrent(void **state)
{
	struct rig r;
	struct runner t = { .r = &r };
	uint64_t last = 0;
	pthread_t thread;
	void *result;
	uint8_t *extra =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned from;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	from = r.at;
	rig_imm(&r, 0xb9, 20000);
	RIG_EMIT(&r, 0x48, 0xff, 0xc3);                      // INC RBX
	RIG_EMIT(&r, 0x48, 0xff, 0x04, 0x25, 0, 0, 0x15, 0); // INC QWORD [0x150000]
	RIG_EMIT(&r, 0xe2, 0xf3);                            // LOOP
	rig_out(&r);
	{
		uint8_t jmp = 0xe9;
		int32_t back = (int32_t)from - (int32_t)(r.at + 5);

		rig_bytes(&r, &jmp, 1);
		rig_bytes(&r, &back, 4);
	}
	assert_int_equal(pthread_create(&thread, NULL, run, &t), 0);
	for (unsigned i = 0; i < 200 || atomic_load(&t.outs) < 20; i++) {
		struct hv_input_translate_virtual_address in = { .control_flags = 0x41,
								 .gva_page = 0x150 };
		struct hv_output_translate_virtual_address out;
		uint64_t now = rig_get(&r, HV_X64_REGISTER_RAX + 3);

		assert_true(now >= last); // a state between two instructions, and never an old one
		last = now;
		assert_int_equal(rig_set(&r, HV_X64_REGISTER_RAX + 15, i), 0);
		assert_int_equal(rig_get(&r, HV_X64_REGISTER_RAX + 15), i);
		assert_int_equal(rig_hvcall(&r, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in),
					    &out, sizeof(out), 0),
				 0);
		assert_int_equal(out.gpa_page, 0x150);
		assert_int_equal(rig_map(&r, 0x5000000, extra, 4096, 3), 0);
		assert_int_equal(rig_map(&r, 0x5000000, extra, 4096, 4), 0);
		(void)bit(&r, DIRTY, CLEAR, 0x150);
	}
	// Stopped from outside, and going on again: by the other thread's next RUN_VP, if that comes first.
	assert_int_equal(rig_set(&r, HV_REGISTER_EXPLICIT_SUSPEND, 1), 0);
	assert_int_equal(rig_set(&r, HV_REGISTER_EXPLICIT_SUSPEND, 0), 0);
	atomic_store(&t.stop, true);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_null(result);
	assert_true(rig_get(&r, HV_X64_REGISTER_RAX + 3) ==
		    *(uint64_t *)(void *)(r.ram + 0x150000)); // nothing was lost or done twice
	rig_done(&r);
	(void)munmap(extra, 4096); // ours
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_high_descriptors), cmocka_unit_test(test_close_in_any_order),
		cmocka_unit_test(test_vp_closed),        cmocka_unit_test(test_irqfd),
		cmocka_unit_test(test_irqfd_closed),     cmocka_unit_test(test_doorbells),
		cmocka_unit_test(test_access),           cmocka_unit_test(test_concurrent),
	};

	return cmocka_run_group_tests_name("soft_life", tests, NULL, NULL);
}

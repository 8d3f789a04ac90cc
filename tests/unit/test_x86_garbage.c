// SPDX-License-Identifier: Apache-2.0
// Guests of garbage: on bare processors, behind MMIO exits, and on a processor of a whole software partition with a device
// and doorbells. Each has to end, by itself or when told, with nothing broken (MODE=asan) and nothing left over.
// STREAMS and SEED change how many; make soak-garbage runs a million.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/oracle/garbage.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/hv/hv.h"
#include "vmm/mem/mem.h"

enum { STREAMS = 8000, PARTITION_RAM = 2 << 20, CODE_GPA = 1 << 20, DEV_BYTES = 4096 };
#define DEV_GPA 0xd0000000ull

static uint64_t option(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); // cannot fail
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct garbage_source source(uint64_t seed)
{
	struct garbage_source s = { .rng = { (seed + 1) * 0x9e3779b97f4a7c15ull | 1 } };

	return s;
}

static const struct garbage_counts *streams(struct garbage *g, const char *what, uint64_t n,
					    void (*one)(struct garbage *g, struct garbage_source *s,
							uint64_t name))
{
	uint64_t seed = option("SEED", 1);
	const struct garbage_counts *c = garbage_counted(g);
	double t = now();

	for (uint64_t i = 0; i < n; i++) {
		struct garbage_source s = source(seed + i);

		one(g, &s, seed + i);
	}
	t = now() - t;
	print_message("%llu %s, %.0f a second, %llu instructions; seed %llu; exits:",
		      (unsigned long long)n, what, (double)n / t,
		      (unsigned long long)c->instructions, (unsigned long long)seed);
	for (unsigned i = 0; i < 16; i++)
		if (c->exits[i])
			print_message(" %u: %llu", i, (unsigned long long)c->exits[i]);
	print_message("\n");
	return c;
}

static void bare(void **state)
{
	uint64_t n = option("STREAMS", STREAMS);
	struct garbage *g = garbage_new();
	const struct garbage_counts *c;

	(void)state;
	assert_non_null(g);
	c = streams(g, "streams", n, garbage_stream);
	// Otherwise they would be the same end again and again.
	assert_true(c->instructions > 4 * n);
	assert_true(c->exits[X86_EXIT_TRIPLE_FAULT] > n / 8);
	assert_true(c->exits[X86_EXIT_MMIO] > n / 100);
	garbage_free(g);
}

static void mmio(void **state)
{
	uint64_t n = option("STREAMS", STREAMS);
	struct garbage *g = garbage_new();
	const struct garbage_counts *c;

	(void)state;
	assert_non_null(g);
	c = streams(g, "emulated instructions", n, garbage_mmio);
	assert_true(c->exits[X86_EXIT_NONE] > n / 8);
	assert_true(c->exits[X86_EXIT_FAULT] > n / 100);
	garbage_free(g);
}

// ---- a whole partition
struct partition {
	struct mem *mem;
	struct bus *bus;
	struct hv *hv;
	struct hv_vcpu *vcpu;
	struct hv_client client;
	_Atomic bool stop;
	_Atomic unsigned running; // number of the stream, 0 between
	pthread_mutex_t kicking;  // held while the vCPU may be kicked, or is made anew
	uint64_t accesses, rings, stops[8];
	int doorbell;
	struct err e;
};

static void dev_read(void *dev, uint64_t off, void *data, unsigned len)
{
	((struct partition *)dev)->accesses++;
	memset(data, (int)off, len);
}

static void dev_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	((struct partition *)dev)->accesses++;
	(void)off, (void)data, (void)len;
}

static const struct bus_ops dev_ops = { "device", dev_read, dev_write };

static void on_eoi(void *arg, uint8_t vector)
{
	(void)arg, (void)vector;
}

static void *kicker(void *arg)
{
	struct partition *p = arg;
	unsigned seen = 0;

	while (!atomic_load(&p->stop)) {
		unsigned is = atomic_load(&p->running);

		(void)nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL); // any time will do
		(void)pthread_mutex_lock(&p->kicking);
		if (is && is == seen && is == atomic_load(&p->running))
			p->hv->ops->vcpu_kick(p->vcpu);
		(void)pthread_mutex_unlock(&p->kicking);
		seen = is;
	}
	return NULL;
}

static void machine_open(struct partition *p)
{
	assert_int_equal(hv_open(VMM_HV_SOFT, &p->client, &p->hv, &p->e), 0);
	assert_int_equal(p->hv->ops->map(p->hv, 0, mem_slice(p->mem, 0, PARTITION_RAM),
					 PARTITION_RAM, &p->e),
			 0);
	p->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(p->doorbell >= 0);
	assert_int_equal(
		p->hv->ops->doorbell(p->hv, DEV_GPA + 0x50, 4, 7, p->doorbell, true, &p->e), 0);
	assert_int_equal(p->hv->ops->vcpu_new(p->hv, 0, &p->vcpu, &p->e), 0);
	assert_int_equal(p->hv->ops->start_time(p->hv, &p->e), 0);
}

static void machine_close(struct partition *p)
{
	uint64_t rings = 0;

	if (read(p->doorbell, &rings, 8) == 8)
		p->rings += rings;
	p->hv->ops->vcpu_free(p->vcpu);
	p->hv->ops->free(p->hv);
	(void)close(p->doorbell); // an eventfd has nothing to lose
}

static void partition_open(struct partition *p)
{
	memset(p, 0, sizeof(*p));
	assert_int_equal(pthread_mutex_init(&p->kicking, NULL), 0);
	assert_int_equal(mem_new(PARTITION_RAM, &p->mem, &p->e), 0);
	p->bus = bus_new();
	assert_non_null(p->bus);
	assert_int_equal(bus_add(p->bus, BUS_MMIO, DEV_GPA, DEV_BYTES, &dev_ops, p), 0);
	p->client = (struct hv_client){ .bus = p->bus, .mem = p->mem, .eoi = on_eoi, .arg = p };
	machine_open(p);
}

static void partition_close(struct partition *p)
{
	machine_close(p);
	bus_free(p->bus);
	mem_free(p->mem);
	(void)pthread_mutex_destroy(&p->kicking);
}

// The boot state and its page tables, most of the time with some damage; registers name the device and its doorbell.
static void partition_stream(struct partition *p, struct garbage_source *s, unsigned number)
{
	uint64_t *ram = mem_slice(p->mem, 0, PARTITION_RAM);
	struct x86_state st;
	uint64_t k = garbage_draw(s);
	enum hv_stop stop;

	memset(ram, 0, 64 << 10);
	assert_int_equal(boot_cpu_state(p->mem, CODE_GPA, &st, &p->e), 0);
	garbage_code(s, (uint8_t *)ram + CODE_GPA, 512);
	for (unsigned i = 0; i < (k & 7); i++)
		ram[garbage_draw(s) % (64 << 7)] = garbage_draw(s);
	for (unsigned i = 0; i < 16; i++)
		st.gpr[i] = k >> i & 1 ? DEV_GPA + (k >> 32 & 0x7f) : garbage_draw(s) & 0x1fffff;
	st.gpr[X86_RAX] = 7;
	if (k & 1 << 20) // rings without end
		memcpy((uint8_t *)ram + CODE_GPA,
		       "\xbb\x50\x00\x00\xd0\xb8\x07\0\0\0\x89\x03\xeb\xfc", 14);
	st.idtr = (struct x86_table){ .limit = (uint16_t)(k >> 48), .base = k >> 8 & 0x1ff000 };
	if (p->hv->ops->vcpu_set_state(p->vcpu, &st, &p->e) < 0)
		fail_msg("%s", p->e.msg);
	atomic_store(&p->running, number);
	stop = p->hv->ops->vcpu_run(p->vcpu, &p->e);
	atomic_store(&p->running, 0);
	p->stops[stop]++;
	if (stop != HV_STOP_KICKED && stop != HV_STOP_ERROR)
		return;
	(void)pthread_mutex_lock(&p->kicking); // such a vCPU has stopped for good
	machine_close(p);
	machine_open(p);
	(void)pthread_mutex_unlock(&p->kicking);
}

static void partition(void **state)
{
	uint64_t n = option("STREAMS", STREAMS) / 40, seed = option("SEED", 1);
	struct partition p;
	pthread_t t;
	double begun = now();

	(void)state;
	partition_open(&p);
	assert_int_equal(pthread_create(&t, NULL, kicker, &p), 0);
	for (unsigned i = 0; i < n; i++) {
		struct garbage_source s = source(seed + i);

		partition_stream(&p, &s, i + 1);
	}
	atomic_store(&p.stop, true);
	assert_int_equal(pthread_join(t, NULL), 0);
	print_message(
		"%llu streams on a partition, %.0f a second; %llu rings, %llu accesses; stops:",
		(unsigned long long)n, (double)n / (now() - begun), (unsigned long long)p.rings,
		(unsigned long long)p.accesses);
	for (unsigned i = 0; i < 8; i++)
		print_message(" %u: %llu", i, (unsigned long long)p.stops[i]);
	print_message("\n");
	assert_true(p.stops[HV_STOP_KICKED] && p.stops[HV_STOP_TRIPLE_FAULT]);
	assert_true(p.rings > 1000 && p.accesses);
	partition_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bare),
		cmocka_unit_test(mmio),
		cmocka_unit_test(partition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

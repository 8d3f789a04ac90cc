// SPDX-License-Identifier: Apache-2.0
// Stats from files as the kernel prints them, and from files that are not there or are nonsense.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/stats.h"
#include "base/err.h"
#include "proto/metrics.pb-c.h"

static const char *const files[][2] = {
	{ "pids.current", "3\n" },
	{ "pids.max", "max\n" },
	{ "cpu.stat", "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 4\n"
		      "nr_throttled 2\nthrottled_usec 77\nnr_bursts 1\nburst_usec 6\nnew_key 9\n" },
	{ "cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\n"
			  "full avg10=0.00 avg60=0.00 avg300=0.75 total=45\n" },
	{ "memory.current", "4096\n" },
	{ "memory.max", "8192\n" },
	{ "memory.peak", "6000\n" },
	{ "memory.stat",
	  "anon 1\nfile 2\nkernel_stack 3\ninactive_file 4\nworkingset_refault_anon 5\n"
	  "workingset_refault_file 6\nworkingset_nodereclaim 7\npgfault 8\n"
	  "thp_collapse_alloc 9\nnonsense\nusage_later 1\n" },
	{ "memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n" },
	{ "io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\nrubbish\n"
		     "253:1 rbytes=5\n" },
	{ "hugetlb.2MB.current", "2097152\n" },
	{ "hugetlb.2MB.max", "max\n" },
	{ "hugetlb.2MB.events", "max 12\n" },
	{ "hugetlb.2MB.rsvd.current", "1\n" }, // another kind of file
	{ "rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\n" },
	{ "rdma.max", "mlx4_0 hca_handle=max hca_object=9\nocrdma1 hca_handle=3 hca_object=max\n" },
	{ "net", "Inter-|   Receive                                                |  Transmit\n"
		 " face |bytes    packets errs drop fifo frame compressed multicast|bytes\n"
		 "    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n"
		 "  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n" },
};
enum { N_FILES = sizeof(files) / sizeof(*files) };

static Metrics__Metrics *read_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	Metrics__Metrics *m;
	uint8_t *packed = NULL;
	char net[128];
	size_t len = 0;
	struct err e;

	(void)snprintf(net, sizeof(net), "%s/net", dir);
	assert_int_equal(stats_read(fd, net, &packed, &len, &e), 0);
	m = metrics__metrics__unpack(NULL, len, packed);
	assert_non_null(m);
	free(packed);
	(void)close(fd);
	return m;
}

static void values(void **state)
{
	char dir[] = "/tmp/stats-XXXXXX", path[128];
	Metrics__Metrics *m;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < N_FILES; i++) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i][0]);
		f = fopen(path, "w");
		assert_non_null(f);
		(void)fputs(files[i][1], f);
		(void)fclose(f);
	}
	m = read_dir(dir);
	assert_int_equal(m->pids->current, 3);
	assert_true(m->pids->limit == UINT64_MAX);
	assert_int_equal(m->cpu->usage_usec, 5000);
	assert_int_equal(m->cpu->nr_throttled, 2);
	assert_int_equal(m->cpu->throttled_usec, 77);
	assert_int_equal(m->cpu->burst_usec, 6);
	assert_true(m->cpu->psi->some->avg10 == 1.5 && m->cpu->psi->full->avg300 == 0.75);
	assert_int_equal(m->cpu->psi->full->total, 45);
	assert_null(m->memory->psi);
	assert_int_equal(m->memory->usage, 4096);
	assert_int_equal(m->memory->usage_limit, 8192);
	assert_int_equal(m->memory->max_usage, 6000);
	assert_int_equal(m->memory->anon, 1);
	assert_int_equal(m->memory->inactive_file, 4);
	assert_int_equal(m->memory->workingset_refault, 11);
	assert_int_equal(m->memory->workingset_nodereclaim, 7);
	assert_int_equal(m->memory->thp_collapse_alloc, 9);
	assert_int_equal(m->memory_events->oom_kill, 5);
	assert_int_equal(m->memory_events->oom_group_kill, 6);
	assert_int_equal(m->io->n_usage, 2);
	assert_int_equal(m->io->usage[0]->major, 8);
	assert_int_equal(m->io->usage[0]->wbytes, 20);
	assert_int_equal(m->io->usage[1]->minor, 1);
	assert_int_equal(m->n_hugetlb, 1);
	assert_string_equal(m->hugetlb[0]->pagesize, "2MB");
	assert_int_equal(m->hugetlb[0]->current, 2097152);
	assert_true(m->hugetlb[0]->max == UINT64_MAX);
	assert_int_equal(m->hugetlb[0]->failcnt, 12);
	assert_int_equal(m->rdma->n_current, 1);
	assert_int_equal(m->rdma->n_limit, 2);
	assert_int_equal(m->rdma->limit[0]->hca_handles, UINT32_MAX);
	assert_string_equal(m->rdma->limit[1]->device, "ocrdma1");
	assert_int_equal(m->n_network, 1);
	assert_string_equal(m->network[0]->name, "eth0");
	assert_int_equal(m->network[0]->tx_dropped, 8);
	metrics__metrics__free_unpacked(m, NULL);
	for (unsigned i = 0; i < N_FILES; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i][0]);
		(void)unlink(path);
	}
	// An empty directory: a kernel without any of it. The parts that callers look into without asking are there.
	m = read_dir(dir);
	assert_non_null(m->pids);
	assert_non_null(m->cpu);
	assert_non_null(m->memory);
	assert_non_null(m->memory_events);
	assert_null(m->rdma);
	assert_int_equal(m->n_network + m->n_hugetlb + m->io->n_usage, 0);
	metrics__metrics__free_unpacked(m, NULL);
	(void)rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

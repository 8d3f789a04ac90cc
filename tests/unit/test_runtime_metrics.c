// SPDX-License-Identifier: Apache-2.0
// What a guest says it has used: refused when it makes no sense, and the exact line of `events` when it does.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "runtime/metrics.h"

struct guest {
	Metrics__Metrics m;
	Metrics__Pids pids;
	Metrics__Cpu cpu;
	Metrics__Memory memory;
	Metrics__Io io;
	Metrics__IoEntry entry, *entries[1];
	Metrics__Hugetlb huge, *huges[METRICS_LIST_MAX + 1];
	Metrics__Network net, *nets[1];
	Metrics__Psi psi;
	Metrics__PsiData some;
};

static void fill(struct guest *g)
{
	static char size[] = "2MB", name[] = "eth0";

	metrics__metrics__init(&g->m);
	metrics__pids__init(&g->pids);
	metrics__cpu__init(&g->cpu);
	metrics__memory__init(&g->memory);
	metrics__io__init(&g->io);
	metrics__io_entry__init(&g->entry);
	metrics__hugetlb__init(&g->huge);
	metrics__network__init(&g->net);
	metrics__psi__init(&g->psi);
	metrics__psi_data__init(&g->some);
	g->pids.current = 2;
	g->pids.limit = UINT64_MAX;
	g->cpu.usage_usec = 3;
	g->cpu.user_usec = 1;
	g->cpu.nr_periods = 5;
	g->cpu.psi = &g->psi;
	g->some.avg10 = 0.0 / 0.0; // what a hostile guest could say
	g->some.total = 4;
	g->psi.some = &g->some;
	g->memory.usage = 4096;
	g->memory.usage_limit = UINT64_MAX;
	g->memory.anon = 7;
	g->entry.major = 8;
	g->entry.rbytes = 9;
	g->entries[0] = &g->entry;
	g->io.usage = g->entries;
	g->io.n_usage = 1;
	g->huge.pagesize = size;
	g->huge.max = 1;
	for (unsigned i = 0; i <= METRICS_LIST_MAX; i++)
		g->huges[i] = &g->huge;
	g->net.name = name;
	g->net.rx_bytes = 6;
	g->nets[0] = &g->net;
	g->m.pids = &g->pids;
	g->m.cpu = &g->cpu;
	g->m.memory = &g->memory;
	g->m.io = &g->io;
	g->m.hugetlb = g->huges;
	g->m.n_hugetlb = 1;
	g->m.network = g->nets;
	g->m.n_network = 1;
}

static int read_back(const struct guest *g, Metrics__Metrics **ret, struct err *e)
{
	uint8_t *buf = malloc(metrics__metrics__get_packed_size(&g->m));
	int r = metrics_read(buf, metrics__metrics__pack(&g->m, buf), ret, e);

	free(buf);
	return r;
}

// The line without what is the same in every one.
static void cut(char *line, const char *from, const char *to)
{
	char *a = strstr(line, from), *b = a ? strstr(a, to) : NULL;

	assert_non_null(b);
	memmove(a + strlen(from), b, strlen(b) + 1);
}

static void the_line(void **state)
{
	Metrics__Metrics *m = NULL;
	struct guest g = { 0 };
	yajl_val tree = NULL;
	char *line = NULL;
	struct err e;
	size_t len;

	(void)state;
	fill(&g);
	assert_int_equal(read_back(&g, &m, &e), 0);
	assert_int_equal(metrics_stats_line("box", m, &line, &len, &e), 0);
	assert_int_equal(json_parse(line, len, 16, &tree, &e), 0);
	yajl_tree_free(tree);
	assert_null(strchr(line, '\n'));
	assert_non_null(strstr(line, "\"raw\":{\"anon\":7,\"file\":0,"));
	assert_non_null(strstr(line, "\"thp_collapse_alloc\":0}"));
	cut(line, "\"cpuset\":{", "}");
	cut(line, "\"raw\":{", "}");
	assert_string_equal(
		line,
		"{\"type\":\"stats\",\"id\":\"box\",\"data\":{\"cpu\":{\"usage\":{\"total\":3000,"
		"\"kernel\":0,\"user\":1000},\"throttling\":{\"periods\":5},\"psi\":{\"some\":{"
		"\"avg10\":0.00,\"avg60\":0.00,\"avg300\":0.00,\"total\":4}}},\"cpuset\":{},"
		"\"memory\":{\"usage\":{\"limit\":18446744073709551615,\"usage\":4096,"
		"\"failcnt\":0},\"swap\":{\"limit\":0,\"failcnt\":0},\"kernel\":{\"limit\":0,"
		"\"failcnt\":0},\"kernelTCP\":{\"limit\":0,\"failcnt\":0},\"raw\":{}},"
		"\"pids\":{\"current\":2},\"blkio\":{\"ioServiceBytesRecursive\":["
		"{\"major\":8,\"op\":\"Read\",\"value\":9},{\"major\":8,\"op\":\"Write\"}],"
		"\"ioServicedRecursive\":[{\"major\":8,\"op\":\"Read\"},"
		"{\"major\":8,\"op\":\"Write\"}]},\"hugetlb\":{\"2MB\":{\"max\":1,"
		"\"failcnt\":0}},\"intel_rdt\":{},\"network_interfaces\":[{\"Name\":\"eth0\","
		"\"RxBytes\":6,\"RxPackets\":0,\"RxErrors\":0,\"RxDropped\":0,\"TxBytes\":0,"
		"\"TxPackets\":0,\"TxErrors\":0,\"TxDropped\":0}]}}");
	free(line);
	metrics__metrics__free_unpacked(m, NULL);
}

static void refused(const struct guest *g, const char *what)
{
	Metrics__Metrics *m = NULL;
	struct err e = { .msg = "" };

	if (read_back(g, &m, &e) == 0)
		fail_msg("%s: taken", what);
	assert_string_equal(e.msg, "the guest's stats make no sense");
}

static void hostile(void **state)
{
	static char blank[] = "a b", escape[] = "\033[2J", longer[100], utf8[] = "\xff";
	char *const names[] = { blank, escape, longer, utf8 };
	Metrics__Metrics *m = NULL;
	struct guest g;
	struct err e;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		fill(&g);
		g.net.name = names[i];
		refused(&g, "name of an interface");
		fill(&g);
		g.huge.pagesize = names[i];
		refused(&g, "size of a page");
	}
	fill(&g);
	g.m.n_hugetlb = METRICS_LIST_MAX + 1;
	refused(&g, "too many sizes");
	fill(&g);
	g.m.cpu = NULL;
	refused(&g, "no cpu");
	fill(&g);
	g.m.memory = NULL;
	refused(&g, "no memory");
	fill(&g);
	g.m.pids = NULL;
	refused(&g, "no pids");
	assert_true(metrics_read((const uint8_t *)"\xff\xff\xff", 3, &m, &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line),
		cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
// The keys of the kernel's files are the names of the message's fields: the message's own description is the table.
#include "agent/stats.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "proto/metrics.pb-c.h"

enum { HUGETLB_MAX = 8, IO_MAX = 64, RDMA_MAX = 16, NETWORK_MAX = 64, FILE_BYTES = 1 << 18 };

// All parts in one piece of memory.
struct stats {
	Metrics__Metrics m;
	Metrics__Pids pids;
	Metrics__Cpu cpu;
	Metrics__Memory memory;
	Metrics__MemoryEvents events;
	Metrics__Io io;
	Metrics__Rdma rdma;
	Metrics__Psi psi[3];
	Metrics__PsiData psi_data[3][2];
	Metrics__Hugetlb hugetlb[HUGETLB_MAX], *hugetlb_list[HUGETLB_MAX];
	Metrics__IoEntry io_entry[IO_MAX], *io_list[IO_MAX];
	Metrics__RdmaEntry rdma_entry[2][RDMA_MAX], *rdma_list[2][RDMA_MAX];
	Metrics__Network network[NETWORK_MAX], *network_list[NETWORK_MAX];
	char name[HUGETLB_MAX + 2 * RDMA_MAX + NETWORK_MAX][64];
	unsigned n_names;
};

static char *name_of(struct stats *s, const char *text, size_t len)
{
	char *name = s->name[s->n_names++];

	(void)snprintf(name, sizeof(s->name[0]), "%.*s", (int)len, text); // cut is fine
	return name;
}

// A field of 64 bits by its name, or NULL.
static uint64_t *number(ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

	if (!f || f->type != PROTOBUF_C_TYPE_UINT64 || f->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	return (uint64_t *)(void *)((char *)m + f->offset);
}

static void add_key(ProtobufCMessage *m, const char *key, const char *value)
{
	uint64_t *at = number(m, key);

	if (at)
		*at += strtoull(value, NULL, 10);
}

// Lines "key value". The kernel counts refaults and the like apart for anonymous memory and files: one field has the sum.
static void flat_keys(ProtobufCMessage *m, int group, const char *file)
{
	char *text AUTO_FREE = NULL, *save = NULL;

	if (io_read_file(group, file, FILE_BYTES, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');
		size_t len;

		if (!space)
			continue;
		*space = '\0';
		len = (size_t)(space - line);
		if (strncmp(line, "workingset_", 11) == 0 && len > 5 &&
		    (strcmp(space - 5, "_anon") == 0 || strcmp(space - 5, "_file") == 0))
			space[-5] = '\0';
		add_key(m, line, space + 1);
	}
}

static uint64_t single(int group, const char *file)
{
	char *text AUTO_FREE = NULL;

	if (io_read_file(group, file, 4096, &text, NULL, NULL) < 0)
		return 0;
	return strncmp(text, "max", 3) == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
}

static Metrics__Psi *pressure(struct stats *s, unsigned i, int group, const char *file)
{
	char *text AUTO_FREE = NULL;
	const char *full;

	if (io_read_file(group, file, 4096, &text, NULL, NULL) < 0)
		return NULL;
	metrics__psi__init(&s->psi[i]);
	full = strstr(text, "full ");
	for (unsigned k = 0; k < 2; k++) {
		Metrics__PsiData *d = &s->psi_data[i][k];
		unsigned long long total = 0;

		metrics__psi_data__init(d);
		if ((k && !full) || sscanf(k ? full + 5 : text + strcspn(text, " "),
					   " avg10=%lf avg60=%lf avg300=%lf total=%llu", &d->avg10,
					   &d->avg60, &d->avg300, &total) != 4)
			continue;
		d->total = total;
		*(k ? &s->psi[i].full : &s->psi[i].some) = d;
	}
	return &s->psi[i];
}

// Lines "NAME key=value ...": each becomes an entry.
static void read_io(struct stats *s, int group)
{
	char *text AUTO_FREE = NULL, *save = NULL;

	metrics__io__init(&s->io);
	s->io.usage = s->io_list;
	s->io.psi = pressure(s, 2, group, "io.pressure");
	if (io_read_file(group, "io.stat", FILE_BYTES, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line && s->io.n_usage < IO_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		Metrics__IoEntry *d = &s->io_entry[s->io.n_usage];
		char *inner = NULL, *word = strtok_r(line, " ", &inner);
		unsigned major, minor;

		if (!word || sscanf(word, "%u:%u", &major, &minor) != 2)
			continue;
		metrics__io_entry__init(d);
		d->major = major;
		d->minor = minor;
		while ((word = strtok_r(NULL, " ", &inner))) {
			char *equals = strchr(word, '=');

			if (!equals)
				continue;
			*equals = '\0';
			add_key(&d->base, word, equals + 1);
		}
		s->io_list[s->io.n_usage++] = d;
	}
}

static uint32_t rdma_number(const char *line, const char *key)
{
	const char *at = strstr(line, key);
	unsigned long v;

	if (!at)
		return 0;
	at += strlen(key);
	v = strncmp(at, "max", 3) == 0 ? UINT32_MAX : strtoul(at, NULL, 10);
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static size_t read_rdma(struct stats *s, unsigned which, int group, const char *file)
{
	char *text AUTO_FREE = NULL, *save = NULL;
	size_t n = 0;

	if (io_read_file(group, file, FILE_BYTES, &text, NULL, NULL) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line && n < RDMA_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		Metrics__RdmaEntry *d = &s->rdma_entry[which][n];

		metrics__rdma_entry__init(d);
		d->device = name_of(s, line, strcspn(line, " "));
		d->hca_handles = rdma_number(line, "hca_handle=");
		d->hca_objects = rdma_number(line, "hca_object=");
		s->rdma_list[which][n++] = d;
	}
	return n;
}

// One set of files for each size of page: hugetlb.SIZE.current and so on.
static void read_hugetlb(struct stats *s, int group)
{
	int fd = openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (!d)
		close_fd(fd);
	while (d && s->m.n_hugetlb < HUGETLB_MAX && (entry = readdir(d))) {
		Metrics__Hugetlb *h = &s->hugetlb[s->m.n_hugetlb];
		const char *size = entry->d_name + 8, *dot;
		char file[300], *events AUTO_FREE = NULL;

		if (strncmp(entry->d_name, "hugetlb.", 8) != 0)
			continue;
		dot = strchr(size, '.');
		if (!dot || strcmp(dot, ".current") != 0)
			continue;
		metrics__hugetlb__init(h);
		h->pagesize = name_of(s, size, (size_t)(dot - size));
		h->current = single(group, entry->d_name);
		(void)snprintf(file, sizeof(file), "hugetlb.%s.max", h->pagesize); // fits
		h->max = single(group, file);
		(void)snprintf(file, sizeof(file), "hugetlb.%s.events", h->pagesize); // fits
		if (io_read_file(group, file, 4096, &events, NULL, NULL) == 0 &&
		    strncmp(events, "max ", 4) == 0)
			h->failcnt = strtoull(events + 4, NULL, 10);
		s->hugetlb_list[s->m.n_hugetlb++] = h;
	}
	if (d)
		(void)closedir(d); // read only
}

// /proc/net/dev: two lines of heads, then "name: 16 numbers". The loopback is no traffic of anybody's.
static void read_network(struct stats *s, const char *file)
{
	char *text AUTO_FREE = NULL, *save = NULL;

	if (io_read_file(AT_FDCWD, file, FILE_BYTES, &text, NULL, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line && s->m.n_network < NETWORK_MAX;
	     line = strtok_r(NULL, "\n", &save)) {
		Metrics__Network *d = &s->network[s->m.n_network];
		const char *name = line + strspn(line, " "), *colon = strchr(name, ':');
		unsigned long long rx[4], tx[4];

		if (!colon || strncmp(name, "lo:", 3) == 0 ||
		    sscanf(colon + 1, "%llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu",
			   &rx[0], &rx[1], &rx[2], &rx[3], &tx[0], &tx[1], &tx[2], &tx[3]) != 8)
			continue;
		metrics__network__init(d);
		d->name = name_of(s, name, (size_t)(colon - name));
		d->rx_bytes = rx[0];
		d->rx_packets = rx[1];
		d->rx_errors = rx[2];
		d->rx_dropped = rx[3];
		d->tx_bytes = tx[0];
		d->tx_packets = tx[1];
		d->tx_errors = tx[2];
		d->tx_dropped = tx[3];
		s->network_list[s->m.n_network++] = d;
	}
}

static void read_memory(struct stats *s, int group)
{
	metrics__memory__init(&s->memory);
	metrics__memory_events__init(&s->events);
	flat_keys(&s->memory.base, group, "memory.stat");
	flat_keys(&s->events.base, group, "memory.events");
	s->memory.usage = single(group, "memory.current");
	s->memory.usage_limit = single(group, "memory.max");
	s->memory.max_usage = single(group, "memory.peak");
	s->memory.swap_usage = single(group, "memory.swap.current");
	s->memory.swap_limit = single(group, "memory.swap.max");
	s->memory.swap_max_usage = single(group, "memory.swap.peak");
	s->memory.psi = pressure(s, 1, group, "memory.pressure");
	s->m.memory = &s->memory;
	s->m.memory_events = &s->events;
}

int stats_read(int group, const char *net_dev, uint8_t **ret, size_t *ret_len, struct err *e)
{
	struct stats *s AUTO_FREE = calloc(1, sizeof(*s));
	uint8_t *buf;

	if (!s)
		return err_errno(e, ENOMEM, "stats");
	metrics__metrics__init(&s->m);
	metrics__pids__init(&s->pids);
	metrics__cpu__init(&s->cpu);
	metrics__rdma__init(&s->rdma);
	s->pids.current = single(group, "pids.current");
	s->pids.limit = single(group, "pids.max");
	flat_keys(&s->cpu.base, group, "cpu.stat");
	s->cpu.psi = pressure(s, 0, group, "cpu.pressure");
	read_memory(s, group);
	read_io(s, group);
	s->rdma.n_current = read_rdma(s, 0, group, "rdma.current");
	s->rdma.n_limit = read_rdma(s, 1, group, "rdma.max");
	s->rdma.current = s->rdma_list[0];
	s->rdma.limit = s->rdma_list[1];
	read_hugetlb(s, group);
	if (net_dev)
		read_network(s, net_dev);
	s->m.pids = &s->pids;
	s->m.cpu = &s->cpu;
	s->m.io = &s->io;
	s->m.rdma = s->rdma.n_current + s->rdma.n_limit ? &s->rdma : NULL;
	s->m.hugetlb = s->hugetlb_list;
	s->m.network = s->network_list;
	buf = malloc(metrics__metrics__get_packed_size(&s->m) + 1);
	if (!buf)
		return err_errno(e, ENOMEM, "stats");
	*ret_len = metrics__metrics__pack(&s->m, buf);
	*ret = buf;
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
// One cgroup v2 group per container, below the root: limits, signals, removal.
#include "agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

// /sys/fs/cgroup/c-ID: the prefix keeps ids apart from the kernel's files.
static int group_open(const char *id)
{
	char path[1200];

	(void)snprintf(path, sizeof(path), CGROUP_ROOT "/c-%s", id); // ids are at most 1024 bytes
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int put(int group, const char *file, const char *text, struct err *e, const char *field)
{
	int fd AUTO_CLOSE = openat(group, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return err_errno(e, errno, "%s: writing '%s' to %s", field, text, file);
	return 0;
}

static int put_limit(int group, const char *file, int64_t v, struct err *e, const char *field)
{
	char text[32];

	(void)snprintf(text, sizeof(text), v < 0 ? "max" : "%lld", (long long)v); // fits
	return put(group, file, text, e, field);
}

static int memory(int g, const struct oci_resources *r, struct err *e)
{
	int rc = 0;

	if (r->memory_limit.set && r->memory_limit.v)
		rc = put_limit(g, "memory.max", r->memory_limit.v, e,
			       "linux.resources.memory.limit");
	if (rc == 0 && r->memory_reservation.set && r->memory_reservation.v)
		rc = put_limit(g, "memory.low", r->memory_reservation.v, e,
			       "linux.resources.memory.reservation");
	// There is no swap in the guest: any value is honoured.
	return rc;
}

// runc's present conversion: 1024 shares are weight 100, the ends meet.
static unsigned cpu_weight(uint64_t shares)
{
	double l;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log2((double)shares);
	return (unsigned)ceil(pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0));
}

static int cpu(int g, const struct oci_resources *r, struct err *e)
{
	char text[64];
	int rc = 0;

	if (r->has_cpu_realtime)
		return err_set(e, EOPNOTSUPP,
			       "linux.resources.cpu.realtimeRuntime: not supported on cgroup v2");
	if (r->cpu_shares.set && r->cpu_shares.v)
		rc = put_limit(g, "cpu.weight", cpu_weight(r->cpu_shares.v), e,
			       "linux.resources.cpu.shares");
	if (rc == 0 && (r->cpu_quota.set || r->cpu_period.set)) {
		uint64_t period = r->cpu_period.set && r->cpu_period.v ? r->cpu_period.v : 100000;

		if (r->cpu_quota.set && r->cpu_quota.v > 0)
			(void)snprintf(text, sizeof(text), "%lld %llu", (long long)r->cpu_quota.v,
				       (unsigned long long)period); // fits
		else
			(void)snprintf(text, sizeof(text), "max %llu",
				       (unsigned long long)period); // fits
		rc = put(g, "cpu.max", text, e, "linux.resources.cpu.quota");
	}
	if (rc == 0 && r->cpu_burst.set)
		rc = put_limit(g, "cpu.max.burst", (int64_t)r->cpu_burst.v, e,
			       "linux.resources.cpu.burst");
	if (rc == 0 && r->cpu_idle.set)
		rc = put_limit(g, "cpu.idle", r->cpu_idle.v, e, "linux.resources.cpu.idle");
	// cpuset numbers are the host's: they say where the machine may run, not what is inside.
	return rc;
}

static int others(int g, const struct oci_resources *r, struct err *e)
{
	int rc = 0;

	if (r->pids_limit.set && r->pids_limit.v)
		rc = put_limit(g, "pids.max", r->pids_limit.v, e, "linux.resources.pids.limit");
	if (rc == 0 && r->blkio_weight.set)
		rc = err_set(e, EOPNOTSUPP, "linux.resources.blockIO.weight: not supported yet");
	if (rc == 0 && r->has_blkio_devices)
		rc = err_set(e, EOPNOTSUPP,
			     "linux.resources.blockIO: limits per device are not supported yet");
	if (rc == 0 && r->has_rdma)
		rc = err_set(e, EOPNOTSUPP, "linux.resources.rdma: not supported");
	for (size_t i = 0; rc == 0 && i < r->n_hugepages; i++) {
		char file[64];

		(void)snprintf(file, sizeof(file), "hugetlb.%s.max",
			       r->hugepages[i].page_size); // a name too long is not found
		rc = put_limit(g, file, (int64_t)r->hugepages[i].limit, e,
			       "linux.resources.hugepageLimits");
	}
	for (size_t i = 0; rc == 0 && i < r->unified.n; i++)
		rc = put(g, r->unified.v[i].key, r->unified.v[i].value, e,
			 "linux.resources.unified");
	return rc;
}

int cgroup_make(const char *id, const struct oci_resources *r, struct err *e)
{
	int g AUTO_CLOSE = -1;
	char path[1200];
	int rc;

	(void)snprintf(path, sizeof(path), CGROUP_ROOT "/c-%s", id); // ids are at most 1024 bytes
	if (mkdir(path, 0755) < 0)
		return err_errno(e, errno, "mkdir %s", path);
	g = group_open(id);
	if (g < 0)
		return err_errno(e, errno, "open %s", path);
	rc = memory(g, r, e);
	rc = rc < 0 ? rc : cpu(g, r, e);
	rc = rc < 0 ? rc : others(g, r, e);
	return rc < 0 ? rc : devices_filter(g, r, e);
}

int cgroup_enter(const char *id, pid_t pid, struct err *e)
{
	int g AUTO_CLOSE = group_open(id);
	char text[24];

	if (g < 0)
		return err_errno(e, errno, "cgroup of %s", id);
	(void)snprintf(text, sizeof(text), "%d", pid); // fits
	return put(g, "cgroup.procs", text, e, "cgroup");
}

int cgroup_open(const char *id, const char *below, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	int g AUTO_CLOSE = group_open(id), sub;

	if (g < 0)
		return err_errno(e, errno, "cgroup of %s", id);
	while (*below == '/')
		below++;
	if (!*below)
		return take_fd(&g);
	sub = (int)syscall(SYS_openat2, g, below, &how, sizeof(how));
	return sub < 0 ? err_errno(e, errno, "cgroup %s", below) : sub;
}

bool cgroup_frozen(const char *id)
{
	int g AUTO_CLOSE = group_open(id);
	char *text AUTO_FREE = NULL;

	return g >= 0 && io_read_file(g, "cgroup.freeze", 64, &text, NULL, NULL) == 0 &&
	       text[0] == '1';
}

void cgroup_kill(const char *id)
{
	int g AUTO_CLOSE = group_open(id);

	if (g >= 0)
		(void)put(g, "cgroup.kill", "1", NULL,
			  "cgroup"); // an empty group has nothing to kill
}

int cgroup_signal(const char *id, int signo)
{
	int g AUTO_CLOSE = group_open(id);
	char *text AUTO_FREE = NULL, *save = NULL;
	int r;

	if (g < 0)
		return -errno;
	if (signo == SIGKILL) { // the groups below it too, and no race with fork
		cgroup_kill(id);
		return 0;
	}
	r = io_read_file(g, "cgroup.procs", 1 << 20, &text, NULL, NULL);
	if (r < 0)
		return r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		(void)kill((pid_t)atoi(line), signo); // one that has just ended needs no signal
	return 0;
}

// Bottom up: a container may have made groups of its own.
static void remove_below(int dir, unsigned depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (!d) {
		close_fd(fd);
		return;
	}
	while (depth < 32 && (entry = readdir(d))) {
		int sub AUTO_CLOSE = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			remove_below(sub, depth + 1);
		(void)unlinkat(dir, entry->d_name, AT_REMOVEDIR); // as for the group itself
	}
	(void)closedir(d); // read only
}

void cgroup_remove(const char *id)
{
	int g AUTO_CLOSE = group_open(id);
	char path[1200];

	if (g >= 0)
		remove_below(g, 0);
	(void)snprintf(path, sizeof(path), CGROUP_ROOT "/c-%s", id); // ids are at most 1024 bytes
	(void)rmdir(path); // a group that still holds a dying process goes with the guest
}

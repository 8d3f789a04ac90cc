// SPDX-License-Identifier: Apache-2.0
#include "agent/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

struct proc {
	Agent__PidsResponse__Process p;
	char command[PROCS_COMMAND_BYTES];
};

static unsigned long last_number(const char *line)
{
	const char *end = line + strcspn(line, "\n");

	while (end > line && end[-1] != '\t' && end[-1] != ' ')
		end--;
	return strtoul(end, NULL, 10);
}

static void from_status(struct proc *d, const char *text)
{
	const char *at;

	if ((at = strstr(text, "\nPPid:")))
		d->p.parent = (uint32_t)strtoul(at + 6, NULL, 10);
	if ((at = strstr(text, "\nUid:")))
		d->p.uid = (uint32_t)strtoul(at + 5, NULL, 10);
	if ((at = strstr(text, "\nNSpid:"))) // from the agent's namespace to its own
		d->p.inner_pid = (uint32_t)last_number(at + 1);
}

// The name may hold anything; the last parenthesis ends it. utime and stime are the 12th and 13th after it.
static void from_stat(struct proc *d, const char *text)
{
	const char *name = strchr(text, '('), *end = strrchr(text, ')');
	unsigned long user, system;

	if (!name || !end || end < name)
		return;
	(void)snprintf(d->command, sizeof(d->command), "[%.*s]", (int)(end - name - 1), name + 1);
	if (sscanf(end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user,
		   &system) == 2)
		d->p.cpu_usec =
			(uint64_t)(user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void from_cmdline(struct proc *d, int dir)
{
	int fd AUTO_CLOSE = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, d->command, sizeof(d->command) - 1);

	while (n > 0 && d->command[n - 1] == '\0')
		n--;
	if (n <= 0)
		return; // the name stays
	for (ssize_t i = 0; i < n; i++)
		if (d->command[i] == '\0')
			d->command[i] = ' ';
	d->command[n] = '\0';
}

static struct proc *proc_read(pid_t pid)
{
	struct proc *d = calloc(1, sizeof(*d));
	char *status AUTO_FREE = NULL, *stat AUTO_FREE = NULL, name[32];
	int dir AUTO_CLOSE = -1;

	if (!d)
		return NULL;
	agent__pids_response__process__init(&d->p);
	d->p.pid = (uint32_t)pid;
	d->p.command = d->command;
	(void)snprintf(name, sizeof(name), "/proc/%d", pid); // fits
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && io_read_file(dir, "status", 1 << 16, &status, NULL, NULL) == 0)
		from_status(d, status);
	if (dir >= 0 && io_read_file(dir, "stat", 1 << 16, &stat, NULL, NULL) == 0)
		from_stat(d, stat);
	from_cmdline(d, dir);
	return d;
}

int procs_read(const struct cgroup *g, struct procs *ret, struct err *e)
{
	pid_t *pids AUTO_FREE = NULL;
	size_t n = 0;
	int r;

	*ret = (struct procs){ 0 };
	r = cgroup_pids(g, &pids, &n, e);
	if (r < 0)
		return r;
	n = n < PROCS_MAX ? n : PROCS_MAX;
	ret->v = calloc(n + 1, sizeof(*ret->v));
	if (!ret->v)
		return err_errno(e, ENOMEM, "processes");
	for (size_t i = 0; i < n; i++) {
		struct proc *d = proc_read(pids[i]);

		if (!d)
			return err_errno(e, ENOMEM, "processes");
		ret->v[ret->n++] = &d->p;
	}
	return 0;
}

void procs_done(struct procs *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i]); // the message is the first member of its struct
	free(p->v);
	*p = (struct procs){ 0 };
}

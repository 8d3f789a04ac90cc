// SPDX-License-Identifier: Apache-2.0
#include "shim/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "runtime/runtime.h"
#include "shim/shim.h"

enum { JOB_ARGS_MAX = 32, JOB_LOG_MAX = 64 << 10 };

extern char **environ;

struct job {
	struct job *next;
	pid_t pid;
	int log_fd;
	job_done_fn *done;
	unsigned long long serial;
};

static void job_free(struct job *j)
{
	close_fd(j->log_fd);
	free(j);
}

// The last error of the log: lines of JSON.
static void last_error(int fd, char *buf, size_t size)
{
	char *text AUTO_FREE = calloc(1, JOB_LOG_MAX + 1), *save = NULL;
	ssize_t n = text ? pread(fd, text, JOB_LOG_MAX, 0) : 0;

	(void)snprintf(buf, size, "bulkhead failed and said nothing"); // fits
	if (n <= 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		yajl_val tree = NULL;
		struct json_at top, level, msg;
		const char *l, *m;
		struct err ignored;

		if (json_parse(line, strlen(line), 4, &tree, &ignored) < 0)
			continue;
		top = json_top(tree);
		if (json_member(&top, "level", &level) && json_member(&top, "msg", &msg) &&
		    json_string(&level, 16, &l, &ignored) == 0 && strcmp(l, "error") == 0 &&
		    json_string(&msg, 4096, &m, &ignored) == 0)
			(void)snprintf(buf, size, "%s", m); // cut is fine
		yajl_tree_free(tree);
	}
}

static int memory_file(const void *data, size_t len, int *ret, struct err *e)
{
	int fd AUTO_CLOSE = memfd_create("shim", MFD_CLOEXEC), r;

	if (fd < 0)
		return err_errno(e, errno, "memfd_create");
	r = len ? io_write_full(fd, data, len) : 0;
	if (r < 0)
		return err_errno(e, -r, "memory file");
	*ret = take_fd(&fd);
	return 0;
}

static int spawn(const struct shim *s, const struct shim_task *t, const struct job_request *q,
		 int log_fd, int input_fd, pid_t *ret_pid, struct err *e)
{
	const char *argv[JOB_ARGS_MAX] = { "bulkhead", "--root",          t->runtime_root,
					   "--log",    "/proc/self/fd/3", "--log-format",
					   "json" };
	char path[RUNTIME_PATH_BYTES], *args[JOB_ARGS_MAX];
	int map[] = { q->stdio ? q->stdio[0] : -1, q->stdio ? q->stdio[1] : -1,
		      q->stdio ? q->stdio[2] : -1, log_fd, input_fd };
	unsigned n = 7;
	int r = runtime_locate("bulkhead", path, e);

	if (r < 0)
		return r;
	if (t->config) {
		argv[n++] = "--config";
		argv[n++] = t->config;
	}
	if (t->systemd_cgroup)
		argv[n++] = "--systemd-cgroup";
	if (s->options->debug)
		argv[n++] = "--debug";
	for (const char *const *a = q->args; *a && n < JOB_ARGS_MAX - 1; a++)
		argv[n++] = *a;
	for (unsigned i = 0; i <= n; i++)
		args[i] = i < n ? unconst(argv[i]) : NULL;
	return io_spawn(path, args, environ, map, input_fd < 0 ? 4 : 5, 0, ret_pid, NULL, e);
}

int job_start(struct shim *s, const struct shim_task *t, const struct job_request *q, struct err *e)
{
	int log_fd AUTO_CLOSE = -1, input AUTO_CLOSE = -1;
	struct job *j = calloc(1, sizeof(*j));
	int r = j ? memory_file(NULL, 0, &log_fd, e) : err_errno(e, ENOMEM, "job");

	if (r == 0 && q->input)
		r = memory_file(q->input, q->input_len, &input, e);
	r = r < 0 ? r : spawn(s, t, q, log_fd, input, &j->pid, e);
	if (r < 0) {
		free(j);
		return r;
	}
	j->log_fd = take_fd(&log_fd);
	j->done = q->done;
	j->serial = q->serial;
	j->next = s->jobs;
	s->jobs = j;
	return 0;
}

bool job_ended(struct shim *s, pid_t pid, int status)
{
	char text[ERR_MSG_BYTES];

	for (struct job **at = &s->jobs; *at; at = &(*at)->next) {
		struct job *j = *at;
		bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

		if (j->pid != pid)
			continue;
		*at = j->next;
		if (!good)
			last_error(j->log_fd, text, sizeof(text));
		j->done(s, j->serial, good ? NULL : text);
		job_free(j);
		return true;
	}
	return false;
}

void job_free_all(struct shim *s)
{
	while (s->jobs) {
		struct job *j = s->jobs;

		s->jobs = j->next;
		job_free(j);
	}
}

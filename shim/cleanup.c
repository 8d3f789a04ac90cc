// SPDX-License-Identifier: Apache-2.0
// "delete": what containerd runs when a shim has gone, for whatever reason. Removes what is left, as often as it is called.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "proto/task.h"
#include "runtime/runtime.h"
#include "shim/bundle.h"
#include "shim/rootfs.h"
#include "shim/shim.h"

extern char **environ;

static int run_delete(const char *root, const char *id, struct err *e)
{
	char path[RUNTIME_PATH_BYTES], name[512], where[SHIM_PATH_BYTES];
	char *argv[] = { path,
			 (char[]){ "--root" },
			 where,
			 (char[]){ "delete" },
			 (char[]){ "--force" },
			 name,
			 NULL };
	int map[] = { -1, -1, STDERR_FILENO }, status, r = runtime_locate("bulkhead", path, e);
	pid_t pid;

	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%s", id);     // checked by it
	(void)snprintf(where, sizeof(where), "%s", root); // checked by it
	r = io_spawn(path, argv, environ, map, 3, 0, &pid, NULL, e);
	if (r < 0)
		return r;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0
		       ? 0
		       : err_set(e, EIO, "bulkhead delete --force %s failed", id);
}

static int print_response(void)
{
	Task__DeleteResponse resp;
	Task__Timestamp at;
	uint8_t buf[128];
	struct timespec now;

	task__delete_response__init(&resp);
	(void)clock_gettime(CLOCK_REALTIME, &now); // cannot fail for this clock
	task_timestamp(&at, &now);
	resp.exit_status = 128 + SIGKILL;
	resp.exited_at = &at;
	return io_write_full(STDOUT_FILENO, buf, task__delete_response__pack(&resp, buf)) < 0;
}

int shim_action_delete(const struct shim_options *o)
{
	const char *bundle = o->bundle && *o->bundle ? o->bundle : ".";
	char *root AUTO_FREE = NULL, rootfs[SHIM_PATH_BYTES];
	struct err e;

	if (bundle_root(bundle, o->ns, &root, &e) < 0 || run_delete(root, o->id, &e) < 0)
		(void)fprintf(stderr, "%s\n", e.msg); // told, and not in the way of the rest
	if (snprintf(rootfs, sizeof(rootfs), "%s/rootfs", bundle) < (int)sizeof(rootfs))
		rootfs_unmount(rootfs);
	return print_response();
}

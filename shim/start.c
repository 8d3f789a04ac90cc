// SPDX-License-Identifier: Apache-2.0
// "start": finds the pod's shim, or starts it, and prints its address.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "proto/shim.pb-c.h"
#include "shim/address.h"
#include "shim/bundle.h"
#include "shim/shim.h"

enum { STDIN_MAX = 10 << 20, OOM_SCORE_MAX = 1000 };

extern char **environ;

// What containerd hands over: options of before 2.3 (which come again with Create), or parameters of which the socket's
// directory is news. *ret_dir is owned, or NULL.
static int read_parameters(const struct shim_options *o, char **ret_dir, struct err *e)
{
	char *data AUTO_FREE = NULL;
	size_t len = 0, room = 0;
	Shim__BootstrapParams *q;
	ssize_t n = 1;

	while (n > 0) {
		if (len == room) {
			char *more = room < STDIN_MAX ? realloc(data, room += 64 << 10) : NULL;

			if (!more)
				return err_set(e, E2BIG, "standard input: too much");
			data = more;
		}
		n = read(STDIN_FILENO, data + len, room - len);
		len += n > 0 ? (size_t)n : 0;
	}
	*ret_dir = NULL;
	q = shim__bootstrap_params__unpack(NULL, len, (const uint8_t *)data);
	if (q && strcmp(q->instance_id, o->id) == 0 && strcmp(q->namespace_, o->ns) == 0 &&
	    *q->socket_dir)
		*ret_dir = strdup(q->socket_dir);
	if (q)
		shim__bootstrap_params__free_unpacked(q, NULL);
	return 0;
}

// The daemon is one step easier to kill than containerd.
static void adjust_oom_score(pid_t pid)
{
	char path[64], *text AUTO_FREE = NULL, digits[16];
	size_t len;
	long score;

	(void)snprintf(path, sizeof(path), "/proc/%ld/oom_score_adj", (long)getppid()); // fits
	if (io_read_file(AT_FDCWD, path, 16, &text, &len, NULL) < 0)
		return;
	score = strtol(text, NULL, 10) + 1;
	(void)snprintf(path, sizeof(path), "/proc/%ld/oom_score_adj", (long)pid); // fits
	(void)snprintf(digits, sizeof(digits), "%ld",
		       score > OOM_SCORE_MAX ? OOM_SCORE_MAX : score);
	{
		int fd AUTO_CLOSE = open(path, O_WRONLY | O_CLOEXEC);

		if (fd >= 0)
			(void)io_write_full(fd, digits,
					    strlen(digits)); // an unprivileged one may not
	}
}

static int start_daemon(const struct shim_options *o, const char *group, const char *socket,
			int listen_fd, struct err *e)
{
	const char *args[] = { "containerd-shim-bulkhead-v2",
			       "-namespace",
			       o->ns,
			       "-id",
			       group,
			       "-address",
			       o->address,
			       "-publish-binary",
			       o->publish_binary,
			       "-socket",
			       socket,
			       o->debug ? "-debug" : NULL };
	char *argv[sizeof(args) / sizeof(args[0]) + 1] = { NULL };
	int map[] = { -1, -1, -1, listen_fd, -1 };
	unsigned n = sizeof(map) / sizeof(map[0]);
	int log_fd AUTO_CLOSE = open("log", O_RDWR | O_CLOEXEC | O_NONBLOCK), r;
	pid_t pid;

	map[4] = log_fd;
	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
		argv[i] = args[i] ? unconst(args[i]) : NULL;
	r = io_spawn("/proc/self/exe", argv, environ, map, log_fd < 0 ? n - 1 : n, 0, &pid, NULL,
		     e);
	if (r == 0)
		adjust_oom_score(pid);
	return r;
}

static int start(const struct shim_options *o, char address[ADDRESS_BYTES + 8], struct err *e)
{
	char *group AUTO_FREE = NULL, *dir AUTO_FREE = NULL, path[ADDRESS_BYTES];
	int fd AUTO_CLOSE = -1, r;

	if ((r = read_parameters(o, &dir, e)) < 0 ||
	    (r = bundle_group(".", o->id, &group, e)) < 0 ||
	    (r = address_of(dir, o->address, o->ns, group, path, e)) < 0)
		return r;
	fd = address_listen(path, e);
	if (fd < 0 && fd != -EEXIST)
		return fd;
	r = fd < 0 ? 0 : start_daemon(o, group, path, fd, e);
	if (r < 0) {
		(void)unlink(path); // nobody listens there
		return r;
	}
	(void)snprintf(address, ADDRESS_BYTES + 8, "unix://%s", path); // fits
	// Where a restarted containerd of before 2.0, and CRI-O, look.
	return io_write_file(AT_FDCWD, "address", address, strlen(address), 0600, e);
}

int shim_action_start(const struct shim_options *o)
{
	char address[ADDRESS_BYTES + 8];
	struct err e;

	if (start(o, address, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	(void)printf("%s", address); // plain: a form that every version knows
	return fflush(stdout) == 0 ? 0 : 1;
}

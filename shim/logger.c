// SPDX-License-Identifier: Apache-2.0
#include "shim/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

enum { LOGGER_ARGS_MAX = 64, LOGGER_READY_MS = 10000 };

extern char **environ;

static int hex(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

// In place: %XX and + of a query.
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
			*to++ = (char)(hex(s[1]) << 4 | hex(s[2]));
			s += 2;
		} else {
			*to++ = *s == '+' ? ' ' : *s;
		}
	}
	*to = '\0';
}

// Cuts url into the path and key, value, key, value, ...; a key without a value stands alone.
static int split(char *url, char **argv, struct err *e)
{
	char *query = strchr(url, '?'), *save = NULL;
	int n = 1;

	argv[0] = url;
	if (query)
		*query++ = '\0';
	for (char *pair = query ? strtok_r(query, "&", &save) : NULL; pair;
	     pair = strtok_r(NULL, "&", &save)) {
		char *value = strchr(pair, '=');

		if (n + 2 >= LOGGER_ARGS_MAX)
			return err_set(e, E2BIG, "binary://%s: too many arguments", url);
		if (value)
			*value++ = '\0';
		unescape(pair);
		argv[n++] = pair;
		if (value && *value) {
			unescape(value);
			argv[n++] = value;
		}
	}
	argv[n] = NULL;
	unescape(url);
	return url[0] == '/' ? 0 : err_set(e, EINVAL, "binary://%s: not an absolute path", url);
}

static int await_ready(int fd, const char *path, struct err *e)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, LOGGER_READY_MS);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : err_set(e, ETIMEDOUT, "binary://%s: not ready in time", path);
}

static char **environment(const char *id, const char *ns, char *id_var, char *ns_var)
{
	size_t n = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 3, sizeof(*env));
	if (!env)
		return NULL;
	memcpy(env, environ, n * sizeof(*env));
	(void)snprintf(id_var, 512, "CONTAINER_ID=%s", id);        // an id is a file name
	(void)snprintf(ns_var, 512, "CONTAINER_NAMESPACE=%s", ns); // as above
	env[n] = id_var;
	env[n + 1] = ns_var;
	return env;
}

static int pipe_pair(int *ret_read, int *ret_write, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	*ret_read = p[0];
	*ret_write = p[1];
	return 0;
}

int logger_start(const char *url, const char *id, const char *ns, int *ret_err, int *ret_out,
		 struct err *e)
{
	int out_r AUTO_CLOSE = -1, out_w AUTO_CLOSE = -1, err_r AUTO_CLOSE = -1,
		  err_w AUTO_CLOSE = -1, ready_r AUTO_CLOSE = -1, ready_w AUTO_CLOSE = -1;
	char *copy AUTO_FREE = strdup(url), *argv[LOGGER_ARGS_MAX], id_var[512], ns_var[512];
	char **env AUTO_FREE = environment(id, ns, id_var, ns_var);
	pid_t pid;
	int r;

	if (!copy || !env)
		return err_errno(e, ENOMEM, "binary://");
	if ((r = split(copy, argv, e)) < 0 || (r = pipe_pair(&out_r, &out_w, e)) < 0 ||
	    (r = pipe_pair(&err_r, &err_w, e)) < 0 || (r = pipe_pair(&ready_r, &ready_w, e)) < 0)
		return r;
	{
		int map[] = { -1, -1, -1, out_r, err_r, ready_w };

		r = io_spawn(argv[0], argv, env, map, 6, 0, &pid, NULL, e);
	}
	if (r < 0)
		return r;
	close_fd(take_fd(&ready_w)); // its end must be seen
	r = await_ready(ready_r, argv[0], e);
	if (r < 0)
		return r;
	*ret_out = take_fd(&out_w);
	if (ret_err)
		*ret_err = take_fd(&err_w);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "shim/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "shim/logger.h"

int shim_stdio_init(struct shim_stdio *s, const char *in, const char *out, const char *err,
		    bool terminal, struct err *e)
{
	*s = SHIM_STDIO_NONE;
	s->terminal = terminal;
	s->in = strdup(in ? in : "");
	s->out = strdup(out ? out : "");
	s->err = strdup(err && !terminal ? err : "");
	return s->in && s->out && s->err ? 0 : err_errno(e, ENOMEM, "standard streams");
}

static const char *strip(const char *name, const char *scheme)
{
	size_t n = strlen(scheme);

	return strncmp(name, scheme, n) == 0 ? name + n : NULL;
}

// A plain path, or fifo://path; NULL for another scheme.
static const char *path_of(const char *name)
{
	const char *path = strip(name, "fifo://");

	return path ? path : strstr(name, "://") ? NULL : name;
}

// Both ends are opened here, so no open blocks, a writer never meets a pipe without a reader, and a reader that goes away
// can come back. Another kind of file has one end.
static int open_pipe(const char *path, int ours, int theirs, int *ret_ours, int *ret_theirs,
		     struct err *e)
{
	int a AUTO_CLOSE = -1, b AUTO_CLOSE = -1;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(e, errno, "standard stream %s", path);
	if (S_ISFIFO(st.st_mode)) {
		int both AUTO_CLOSE = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

		if (both < 0 || (a = open(path, ours | O_CLOEXEC | O_NONBLOCK)) < 0 ||
		    (b = open(path, theirs | O_CLOEXEC)) < 0)
			return err_errno(e, errno, "open %s", path);
	} else if ((b = open(path, theirs | O_CLOEXEC | O_NOCTTY |
					   (theirs == O_WRONLY ? O_APPEND : 0))) < 0) {
		return err_errno(e, errno, "open %s", path);
	}
	*ret_ours = take_fd(&a);
	*ret_theirs = take_fd(&b);
	return 0;
}

// With the directories on the way, as containerd's own shim does.
static int open_file(const char *path, int *ret, struct err *e)
{
	char dir[4096];
	int n = snprintf(dir, sizeof(dir), "%s", path);

	if (path[0] != '/' || n >= (int)sizeof(dir))
		return err_set(e, EINVAL, "file://%s: not an absolute path", path);
	for (char *at = strchr(dir + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_errno(e, errno, "mkdir %s", dir);
		*at = '/';
	}
	*ret = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	return *ret < 0 ? err_errno(e, errno, "open %s", path) : 0;
}

static int open_out(const char *name, int *ret_hold, int *ret_fd, struct err *e)
{
	const char *path = path_of(name), *file = strip(name, "file://");

	if (!*name)
		return 0;
	if (path)
		return open_pipe(path, O_RDONLY, O_WRONLY, ret_hold, ret_fd, e);
	if (file)
		return open_file(file, ret_fd, e);
	return err_set(e, ENOTSUP, "standard stream %s: unknown scheme (fifo, file, binary)", name);
}

static int open_in(struct shim_stdio *s, struct err *e)
{
	if (!*s->in)
		return 0;
	if (!path_of(s->in))
		return err_set(e, ENOTSUP, "standard input %s: not a fifo", s->in);
	return open_pipe(path_of(s->in), O_WRONLY, O_RDONLY, &s->hold_in, &s->fd[0], e);
}

int shim_stdio_open(struct shim_stdio *s, const char *id, const char *ns, struct err *e)
{
	const char *logger = strip(s->out, "binary://");
	int r = open_in(s, e);

	if (r < 0)
		return r;
	if (logger)
		return logger_start(logger, id, ns, s->terminal ? NULL : &s->fd[2], &s->fd[1], e);
	r = open_out(s->out, &s->hold_out, &s->fd[1], e);
	return r < 0 ? r : open_out(s->err, &s->hold_err, &s->fd[2], e);
}

void shim_stdio_given(struct shim_stdio *s)
{
	for (unsigned i = 0; i < 3; i++)
		close_fd(take_fd(&s->fd[i]));
}

void shim_stdio_close_in(struct shim_stdio *s)
{
	close_fd(take_fd(&s->hold_in));
}

void shim_stdio_close(struct shim_stdio *s)
{
	shim_stdio_given(s);
	shim_stdio_close_in(s);
	close_fd(take_fd(&s->hold_out));
	close_fd(take_fd(&s->hold_err));
}

void shim_stdio_done(struct shim_stdio *s)
{
	shim_stdio_close(s);
	free(take_ptr(&s->in));
	free(take_ptr(&s->out));
	free(take_ptr(&s->err));
}

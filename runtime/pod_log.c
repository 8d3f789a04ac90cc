// SPDX-License-Identifier: Apache-2.0
// What the guest and the programs say: from a pipe into a file of bounded size.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "runtime/pod_priv.h"

enum { POD_LOG_BYTES_MAX = 1 << 20 }; // then the file starts over: a guest must not fill /run

static void end_line(struct pod_log *log)
{
	log->line[log->line_len] = '\0';
	if (log->line_len > 0 &&
	    (!log->errors_only || strstr(log->line, "level=error") || !strstr(log->line, "level=")))
		memcpy(log->last, log->line, log->line_len + 1);
	log->line_len = 0;
}

static void take(struct pod_log *log, const char *buf, size_t n)
{
	if (log->written + n > POD_LOG_BYTES_MAX) {
		if (ftruncate(log->file_fd, 0) < 0)
			return; // rather no log than one without bound
		log->written = 0;
	}
	(void)io_write_full(log->file_fd, buf, n); // a full file system costs the log, not the pod
	log->written += n;
	for (size_t i = 0; i < n; i++) {
		if (buf[i] == '\n')
			end_line(log);
		else if (log->line_len < sizeof(log->line) - 1 && (unsigned char)buf[i] >= 0x20)
			log->line[log->line_len++] = buf[i];
	}
}

void pod_log_drain(struct pod_log *log)
{
	char buf[4096];

	// Bounded, because a guest can write as fast as it is read.
	for (int i = 0; i < 16 && log->pipe_fd >= 0; i++) {
		ssize_t n = read(log->pipe_fd, buf, sizeof(buf));

		if (n > 0) {
			take(log, buf, (size_t)n);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		end_line(log);
		loop_remove(log->src);
		log->src = NULL;
		close_fd(take_fd(&log->pipe_fd));
	}
}

static void on_readable(void *arg, uint32_t events)
{
	(void)events;
	pod_log_drain(arg);
}

int pod_log_open(struct pod *p, struct pod_log *log, const char *name, int *ret_write_fd,
		 struct err *e)
{
	char path[STORE_PATH_BYTES + 64];
	int fds[2], wr AUTO_CLOSE = -1, r;

	(void)snprintf(path, sizeof(path), "%s/%s", p->dir, name); // fits
	log->file_fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->file_fd < 0)
		return err_errno(e, errno, "open %s", path);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	log->pipe_fd = fds[0];
	wr = fds[1];
	// Only our end: the programs' ends are theirs to configure.
	if (fcntl(log->pipe_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(e, errno, "pipe");
	r = loop_add_fd(p->loop, name, log->pipe_fd, EPOLLIN, on_readable, log, &log->src, e);
	if (r == 0)
		*ret_write_fd = take_fd(&wr);
	return r;
}

void pod_log_close(struct pod_log *log)
{
	loop_remove(log->src);
	log->src = NULL;
	close_fd(take_fd(&log->pipe_fd));
	close_fd(take_fd(&log->file_fd));
}

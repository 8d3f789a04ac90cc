// SPDX-License-Identifier: Apache-2.0
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"

int64_t io_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); // cannot fail for this clock
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int io_read_full(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len,
		 struct err *e)
{
	int fd AUTO_CLOSE = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *data AUTO_FREE = NULL;
	size_t room = 0, len = 0;

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	for (;;) {
		ssize_t n;

		if (room - len < 2) {
			char *bigger;

			room = room ? room * 2 : 4096;
			bigger = realloc(data, room);
			if (!bigger)
				return err_errno(e, ENOMEM, "read %s", path);
			data = bigger;
		}
		n = read(fd, data + len, room - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "read %s", path);
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return err_set(e, EFBIG, "%s: larger than %zu bytes", path, max);
	}
	data[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret_data = take_ptr(&data);
	return 0;
}

int io_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
		  struct err *e)
{
	int fd AUTO_CLOSE = -1;
	char tmp[4096];
	int r;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp.%ld", path, (long)getpid()) >= (int)sizeof(tmp))
		return err_set(e, ENAMETOOLONG, "%s: path too long", path);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_errno(e, errno, "open %s", tmp);
	r = io_write_full(fd, data, len);
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0); // best effort: the error that counts is r
		return err_errno(e, -r, "write %s", path);
	}
	return 0;
}

ssize_t io_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned nfds)
{
	union {
		char raw[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > IO_MAX_FDS)
		return -EINVAL;
	memcpy(&iov.iov_base, &buf, sizeof(buf)); // iov_base is not const, and is not written to
	if (nfds) {
		struct cmsghdr *c;

		memset(&ctl, 0, sizeof(ctl));
		msg.msg_control = ctl.raw;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t io_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned *nfds)
{
	union {
		char raw[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = ctl.raw,
			      .msg_controllen = sizeof(ctl.raw) };
	unsigned room = nfds ? *nfds : 0, got = 0;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		unsigned count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < room)
				fds[got++] = fd;
			else
				close_fd(fd); // more than asked for: not kept
		}
	}
	if (nfds)
		*nfds = got;
	return n;
}

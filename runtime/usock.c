// SPDX-License-Identifier: Apache-2.0
#include "runtime/usock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

// *ret_dirfd must stay open while the address is in use.
static int address(const char *dir, const char *name, struct sockaddr_un *ret_addr, int *ret_dirfd,
		   struct err *e)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open %s", dir);
	*ret_addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "/proc/self/fd/%d/%s", fd,
		       name); // fits: names are short and ours
	*ret_dirfd = fd;
	return 0;
}

int usock_listen(const char *dir, const char *name, struct err *e)
{
	int dirfd AUTO_CLOSE = -1, fd AUTO_CLOSE = -1;
	struct sockaddr_un addr;
	mode_t old;
	int r = address(dir, name, &addr, &dirfd, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "socket");
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_errno(e, errno, "unlink %s/%s", dir, name);
	old = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	(void)umask(old); // cannot fail
	if (r == 0 && listen(fd, 64) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, -r, "listening on %s/%s", dir, name) : take_fd(&fd);
}

int usock_connect(const char *dir, const char *name, struct err *e)
{
	int dirfd AUTO_CLOSE = -1, fd AUTO_CLOSE = -1;
	struct sockaddr_un addr;
	int r = address(dir, name, &addr, &dirfd, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, errno, "socket");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_errno(e, errno, "connect %s/%s", dir, name);
	return take_fd(&fd);
}

int usock_guest_connect(const char *pod_dir, uint32_t port, struct err *e)
{
	int fd AUTO_CLOSE = usock_connect(pod_dir, "vsock.sock", e);
	char line[32];
	int n, r;

	if (fd < 0)
		return fd;
	n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	r = io_write_full(fd, line, (size_t)n); // a new socket's buffer takes it at once
	return r < 0 ? err_errno(e, -r, "vsock.sock") : take_fd(&fd);
}

int usock_guest_answer(int fd, struct usock_line *line)
{
	for (;;) {
		char c;
		ssize_t n = read(fd, &c,
				 1); // byte by byte: what follows the line belongs to the stream

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET || errno == EPIPE ? -ECONNREFUSED : -errno;
		if (n == 0)
			return -ECONNREFUSED;
		if (c == '\n')
			break;
		if (line->len == sizeof(line->text) - 1)
			return -EPROTO;
		line->text[line->len++] = c;
	}
	line->text[line->len] = '\0';
	return strncmp(line->text, "OK ", 3) == 0 ? 0 : -EPROTO;
}

// SPDX-License-Identifier: Apache-2.0
#include "runtime/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

int tty_send_fd(const char *option, const char *path, const char *text, int fd, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock AUTO_CLOSE = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	if (sock < 0)
		return err_errno(e, errno, "socket");
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG, "%s %s: longer than %zu bytes", option, path,
			       sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_errno(e, errno, "%s: connect %s", option, path);
	n = io_send_fds(sock, text, strlen(text), &fd, 1);
	return n < 0 ? err_errno(e, (int)-n, "%s: sending to %s", option, path) : 0;
}

int tty_send_pidfd(const char *path, int pid, struct err *e)
{
	int fd AUTO_CLOSE = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return err_errno(e, errno, "--pidfd-socket: pidfd_open");
	return tty_send_fd("--pidfd-socket", path, "pidfd", fd, e);
}

// What the container's own terminal does to its input and output must not be done twice.
static int set_raw(int fd, struct termios *ret_before)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return -errno;
	*ret_before = t;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

int tty_take_pty(const char *console_socket, struct err *e)
{
	int master AUTO_CLOSE = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave AUTO_CLOSE = -1;
	struct termios ignored;
	char name[64];
	int r;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof(name)) != 0)
		return err_errno(e, errno, "--console-socket: making a pty");
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_errno(e, errno, "--console-socket: %s", name);
	r = set_raw(slave, &ignored);
	if (r < 0)
		return err_errno(e, -r, "--console-socket: %s", name);
	// Only then ours: the loss of a controlling terminal whose master nobody has taken would end this process.
	r = tty_send_fd("--console-socket", console_socket, name, master, e);
	if (r == 0 && ioctl(slave, TIOCSCTTY, 0) < 0)
		r = err_errno(e, errno, "--console-socket: %s", name);
	for (int i = 0; r == 0 && i < 3; i++)
		if (dup2(slave, i) < 0)
			r = err_errno(e, errno, "--console-socket: %s", name);
	return r;
}

int tty_check(bool terminal, bool detach, const char *console_socket, struct err *e)
{
	if (terminal && detach && !console_socket)
		return err_set(
			e, EINVAL,
			"cannot allocate tty if runc will detach without setting console socket");
	if (console_socket && !(detach && terminal))
		return err_set(e, EINVAL,
			       "cannot use console socket if runc will not detach or allocate tty");
	return 0;
}

bool tty_open(struct tty *t)
{
	*t = (struct tty){ .fd = -1 };
	for (int fd = 0; fd < 3 && t->fd < 0; fd++)
		t->fd = isatty(fd) ? fd : -1;
	if (t->fd >= 0)
		return true;
	t->fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	t->owned = t->fd >= 0;
	return t->owned;
}

int tty_missing(struct err *e)
{
	return err_set(
		e, ENOTTY,
		"a terminal is asked for, and neither a standard stream nor /dev/tty is one");
}

int tty_make_raw(struct tty *t, struct err *e)
{
	int r = t->fd < 0 ? 0 : set_raw(t->fd, &t->before);

	if (r < 0)
		return err_errno(e, -r, "making the terminal raw");
	t->raw = t->fd >= 0;
	return 0;
}

void tty_done(struct tty *t)
{
	if (t->raw)
		(void)tcsetattr(t->fd, TCSADRAIN, &t->before); // one that is gone needs no mode
	if (t->owned)
		close_fd(t->fd);
	*t = (struct tty){ .fd = -1 };
}

bool tty_size(int fd, uint16_t *ret_width, uint16_t *ret_height)
{
	struct winsize ws;

	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &ws) < 0 || (!ws.ws_col && !ws.ws_row))
		return false;
	*ret_width = ws.ws_col;
	*ret_height = ws.ws_row;
	return true;
}

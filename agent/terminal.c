// SPDX-License-Identifier: Apache-2.0
// The child's side of a terminal. The pty is one of the container's own devpts, so that ttyname and /dev/pts agree inside.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

// needs CONFIG_UNIX98_PTYS

static int open_pty(int *ret_master, int *ret_slave, struct err *e)
{
	int master AUTO_CLOSE = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;

	if (master < 0)
		return err_errno(e, errno, "process.terminal: /dev/ptmx");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_errno(e, errno, "process.terminal: unlocking the pty");
	*ret_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ret_slave < 0)
		return err_errno(e, errno, "process.terminal: opening the pty");
	*ret_master = take_fd(&master);
	return 0;
}

static int bind_console(int master, struct err *e)
{
	char name[32];
	unsigned number;

	// A place for the mount. What is there already serves, and a failure is the mount's to tell.
	close_fd(open("/dev/console", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_EXCL, 0600));
	if (ioctl(master, TIOCGPTN, &number) < 0)
		return err_errno(e, errno, "process.terminal: the pty's number");
	(void)snprintf(name, sizeof(name), "/dev/pts/%u", number); // fits
	if (mount(name, "/dev/console", NULL, MS_BIND, NULL) < 0)
		return err_errno(e, errno, "process.terminal: mounting %s on /dev/console", name);
	return 0;
}

int child_terminal(const struct oci_process *p, bool console, struct err *e)
{
	struct winsize ws = { .ws_row = p->console_size.height, .ws_col = p->console_size.width };
	int master AUTO_CLOSE = -1, slave AUTO_CLOSE = -1, r = open_pty(&master, &slave, e);

	if (r < 0)
		return r;
	if (p->console_size.set && ioctl(master, TIOCSWINSZ, &ws) < 0)
		return err_errno(e, errno, "process.consoleSize");
	if (fchown(slave, p->uid, (gid_t)-1) < 0)
		return err_errno(e, errno, "process.terminal: giving the pty to uid %u", p->uid);
	if (console && (r = bind_console(master, e)) < 0)
		return r;
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_errno(e, errno, "process.terminal: controlling terminal");
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return err_errno(e, errno, "standard stream %d", i);
	return take_fd(&master);
}
